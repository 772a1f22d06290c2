"""What a T5X checkpoint holds, by the file that lists it: names, and arrays that are in it.

A native checkpoint lists its state in a msgpack file `checkpoint`, written by flax.serialization: a
tree whose leaves are arrays, or the tensorstore spec of a folder beside it. Only the shape is taken
from a spec; that a folder has the name of its parameter is T5X's rule, and no path, driver or
option of a spec is followed. Checkpoints that T5X writes through Orbax have `_METADATA`, JSON.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import CheckpointError, DataError, border, quoted
from flan_jax.json_files import Fields

NATIVE, ORBAX = "checkpoint", "_METADATA"
DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in ("bfloat16", "float16", "float32", "float64", "int32", "int64", "uint32", "bool")
}
# Names of parameters, each part a module of flax; "." parts them in names of folders.
_PART = re.compile(r"[A-Za-z0-9_\-]{1,200}")
_MOST_BYTES = 1 << 28
# Items of the tree: T5 11B has some 10,000 with the state of its optimizer.
_MOST_ITEMS = 1 << 20
_MOST_DEPTH = 32
_MOST_AXES, _LARGEST = 8, 1 << 40
_NDARRAY, _SCALAR = 1, 3  # extension types of flax.serialization
_SPEC = {"driver", "kvstore", "metadata"}
_PLACEHOLDER = "PLACEHOLDER://"

# An array that is in the list itself, the shape of one in a folder, or None where only that folder
# says its shape.
Listed = np.ndarray | tuple[int, ...] | None


def read(folder: epath.Path) -> dict[str, Listed]:
    """Returns what a checkpoint's folder holds, by names such as "target/encoder/...".

    Args:
        folder: the one with the list in it.

    Raises:
        CheckpointError: the list is missing, damaged, or no such list.
    """
    if (folder / ORBAX).exists():
        return dict.fromkeys(_orbax_names(folder / ORBAX))
    where = str(folder / NATIVE)
    content = files.read_bytes(where, _MOST_BYTES, CheckpointError)
    with border(where, CheckpointError):
        tree = _unpack(content, where)
    if not isinstance(tree, Mapping):
        raise CheckpointError(
            f"{where}: not a T5X checkpoint: {quoted(tree)} where a tree has to be"
        )
    # The older form of Orbax has no such root.
    root = tree.get("optimizer", tree)
    version = tree.get("version", 3)
    if isinstance(version, bool) or version not in (2, 3):
        raise CheckpointError(f"{where}: version {quoted(version)}; 2 and 3 can be read")
    if not isinstance(root, Mapping) or "target" not in root:
        raise CheckpointError(f"{where}: not a T5X checkpoint: it has no 'target', its parameters")
    return dict(_leaves(root, (), where))


def _unpack(content: bytes, where: str) -> Any:
    """Decodes msgpack; as many items as its limits allow take a fraction of a GB."""
    import msgpack

    seen = 0

    def of_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        nonlocal seen
        seen += len(pairs) + 1
        if seen > _MOST_ITEMS:
            raise CheckpointError(f"{where}: more than {_MOST_ITEMS:,} items")
        found = dict(pairs)
        if len(found) != len(pairs) or not all(isinstance(key, str) for key in found):
            raise CheckpointError(f"{where}: keys that are no names, or are there twice")
        return found

    limits = dict(max_map_len=1 << 16, max_array_len=64, max_ext_len=_MOST_BYTES)
    return msgpack.unpackb(
        content,
        object_pairs_hook=of_map,
        ext_hook=lambda code, data: _array(code, data, where),
        raw=False,
        strict_map_key=True,
        **limits,
    )


def _array(code: int, data: bytes, where: str) -> np.ndarray:
    """The array of an extension of flax.serialization: shape, name of a dtype, bytes."""
    import msgpack

    if code not in (_NDARRAY, _SCALAR):
        raise CheckpointError(f"{where}: a value of extension type {code}, which is no array")
    parts = msgpack.unpackb(data, raw=False, max_array_len=64, max_map_len=0, max_ext_len=0)
    if not isinstance(parts, list) or len(parts) != 3:
        raise CheckpointError(f"{where}: an array without shape, dtype and bytes")
    sizes, name, buffer = shape(parts[0], where), parts[1], parts[2]
    if not isinstance(name, str) or name not in DTYPES or not isinstance(buffer, bytes):
        raise CheckpointError(f"{where}: an array of dtype {quoted(name)}")
    dtype = DTYPES[name]
    if len(buffer) != math.prod(sizes) * dtype.itemsize:
        raise CheckpointError(
            f"{where}: an array of shape {sizes} and {name} with {len(buffer)} bytes"
        )
    return np.frombuffer(buffer, dtype).reshape(sizes)


def shape(value: Any, where: str) -> tuple[int, ...]:
    """Returns the shape that a list of others says.

    Raises:
        CheckpointError: it is none.
    """
    sizes = value if isinstance(value, list | tuple) and len(value) <= _MOST_AXES else [None]
    if not all(type(size) is int and 0 <= size < _LARGEST for size in sizes):
        raise CheckpointError(f"{where}: {quoted(value)} is no shape")
    return tuple(sizes)


def _leaves(
    tree: Mapping[str, Any], above: tuple[str, ...], where: str
) -> Iterator[tuple[str, Listed]]:
    for key, value in tree.items():
        parts = (*above, key)
        name = "/".join(map(str, parts))
        if not _PART.fullmatch(key) or len(parts) > _MOST_DEPTH:
            raise CheckpointError(f"{where}: {quoted(name)} is no name of a parameter")
        if isinstance(value, Mapping) and not set(value) >= _SPEC:
            yield from _leaves(value, parts, where)
        elif isinstance(value, Mapping):
            said = value["metadata"]
            yield name, shape(said.get("shape") if isinstance(said, Mapping) else said, where)
        elif isinstance(value, np.ndarray):
            yield name, value
        elif type(value) in (int, float):
            yield name, np.asarray(value)
        elif isinstance(value, str) and value.startswith(_PLACEHOLDER):
            yield name, None
        elif value is not None:
            raise CheckpointError(f"{where}: {name} is {quoted(value)}, neither array nor folder")


def _orbax_names(file: epath.Path) -> Iterator[str]:
    """Names of the arrays of an Orbax checkpoint."""
    try:
        said = Fields(str(file), json_files.read_json(file, 1 << 24, CheckpointError))
        if said.object.get("use_zarr3"):
            raise CheckpointError(f"{file}: arrays in zarr's version 3, which T5X does not write")
        for entry in said.inner("tree_metadata").object.values():
            fields = Fields(str(file), entry)
            keys = [Fields(str(file), key).text("key") for key in fields.items("key_metadata")]
            if not fields.optional_inner("value_metadata").flag("skip_deserialize", False):
                if not all(_PART.fullmatch(key) for key in keys):
                    raise CheckpointError(f"{file}: {quoted(keys)} is no name of a parameter")
                yield "/".join(keys)
    except DataError as error:
        raise CheckpointError(str(error)) from None


def is_one_store(folder: epath.Path) -> bool:
    """Whether Orbax keeps all arrays of a folder in one store, rather than in a folder each."""
    if not (folder / ORBAX).exists():
        return False
    said = json_files.read_json(folder / ORBAX, 1 << 24, CheckpointError)
    return isinstance(said, Mapping) and said.get("use_ocdbt") is not False
