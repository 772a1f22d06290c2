"""Python functions inside tf.data, called for many rows at a time.

A call from TensorFlow into Python costs as much as rendering several prompts, so rows cross the
border in chunks: they are batched, changed by one call, and unbatched. Order is kept, and a row's
result does not depend on its chunk.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

CHUNK = 64
Kind = Literal["string", "strings", "int", "ints"]  # in the plural a list of any length
Row = dict[str, Any]


def rows_dataset(
    rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind], count: int
) -> tf.data.Dataset:
    """Returns a dataset of fields of the first `count` rows.

    Args:
        rows: read by position as the dataset is read.
        kinds: kind of each field.
        count: number of rows.
    """

    def read(start: np.int64) -> list[np.ndarray]:
        positions = range(int(start), min(int(start) + CHUNK, count))
        return _encode_columns([rows[position] for position in positions], kinds)

    def map_fn(start: tf.Tensor) -> dict[str, tf.Tensor]:
        return _call(read, [start], kinds)

    return tf.data.Dataset.range(0, count, CHUNK).map(map_fn).unbatch()


def map_rows(
    dataset: tf.data.Dataset, function: Callable[[Row], Iterable[Row]], kinds: Mapping[str, Kind]
) -> tf.data.Dataset:
    """Maps each example to any number of examples with a Python function.

    Args:
        dataset: examples of any structure of dense and ragged tensors.
        function: gets an example with str, numbers and (nested) lists; returns the new ones.
        kinds: kind of each field that those have.
    """
    batched = dataset.ragged_batch(CHUNK)
    structure = batched.element_spec

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        rows = itertools.chain.from_iterable(map(function, _decode(structure, arrays)))
        return _encode_columns(list(rows), kinds)

    def map_fn(batch: Any) -> dict[str, tf.Tensor]:
        return _call(call, tf.nest.flatten(batch, expand_composites=True), kinds)

    mapped = batched.map(map_fn, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return mapped.unbatch()


def read_rows(dataset: tf.data.Dataset) -> Iterator[Row]:
    """Yields the examples of a dataset: strings as bytes, arrays as (nested) lists.

    They cross into Python in chunks, since one by one takes several times as long.
    """
    batched = dataset.ragged_batch(CHUNK)
    for batch in batched:
        columns = tf.nest.flatten(batch, expand_composites=True)
        arrays = [column.numpy() for column in columns]
        yield from _decode(batched.element_spec, arrays, np.ndarray.tolist)


def _encode_columns(
    rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]
) -> list[np.ndarray]:
    """One array a field of one value; values and row lengths a field of a list."""
    columns: list[np.ndarray] = []
    for name, kind in kinds.items():
        values = [row[name] for row in rows]
        if kind == "int":
            columns.append(np.array(values, dtype=np.int64))
        elif kind == "string":
            columns.append(np.array([text.encode("utf-8") for text in values], dtype=object))
        else:
            flat = list(itertools.chain.from_iterable(values))
            if kind == "ints":
                columns.append(np.array(flat, dtype=np.int32))
            else:
                columns.append(np.array([text.encode("utf-8") for text in flat], dtype=object))
            columns.append(np.array([len(items) for items in values], dtype=np.int64))
    return columns


def _call(
    function: Callable[..., Any], args: Sequence[tf.Tensor], kinds: Mapping[str, Kind]
) -> dict[str, tf.Tensor]:
    """Calls Python and puts its columns together as (ragged) tensors."""
    types: list[Any] = []
    of_kind: dict[Kind, list[Any]] = {
        "string": [tf.string], "strings": [tf.string, tf.int64],
        "int": [tf.int64], "ints": [tf.int32, tf.int64],
    }  # fmt: skip
    for kind in kinds.values():
        types += of_kind[kind]
    columns = iter(tf.numpy_function(function, args, types, stateful=False))
    tensors = {}
    for name, kind in kinds.items():
        values = tf.ensure_shape(next(columns), [None])
        if kind in ("strings", "ints"):
            lengths = tf.ensure_shape(next(columns), [None])
            values = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
        tensors[name] = values
    return tensors


def to_python(value: Any) -> Any:
    """Bytes become str, arrays become lists or scalars."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if hasattr(value, "tolist"):
        return to_python(value.tolist())
    if isinstance(value, list):
        return [to_python(item) for item in value]
    return value


def to_python_tree(value: Any) -> Any:
    """`to_python` of every leaf of nested dicts."""
    if isinstance(value, dict):
        return {key: to_python_tree(item) for key, item in value.items()}
    return to_python(value)


def _decode(
    structure: Any,
    arrays: Sequence[np.ndarray],
    convert: Callable[[np.ndarray], Any] = to_python,
) -> Iterator[Any]:
    """Yields the rows of a batch that was flattened with its composites expanded."""
    waiting = iter(arrays)
    columns = []
    for spec in tf.nest.flatten(structure):
        values = convert(next(waiting))
        if isinstance(spec, tf.RaggedTensorSpec):
            splits = [next(waiting) for _ in range(spec.ragged_rank)]
            for row_splits in reversed(splits):
                bounds = itertools.pairwise(row_splits.tolist())
                values = [values[low:high] for low, high in bounds]
        columns.append(values)
    for row in zip(*columns, strict=True):
        yield tf.nest.pack_sequence_as(structure, list(row))
