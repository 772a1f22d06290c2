"""Our parameters as a native checkpoint of T5X, which `t5x.checkpoints` restores."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files
from flan_jax.errors import OutputError
from flan_jax.interop import t5x_index, t5x_optimizer, tables
from flan_jax.interop.t5x_files import PARAMETERS, STATE, place
from flan_jax.interop.tables import Table

# Of the list of a checkpoint; since 2021 bfloat16 is stored as such.
_VERSION = 3
# Bytes of a chunk of an array, as T5X chooses them.
_CHUNK_BYTES = 1 << 26


def export_t5x(
    table: Table,
    shapes: Mapping[str, Any],
    read: Callable[[str], np.ndarray],
    folder: epath.PathLike,
    step: int = 0,
    optimizer: Any = None,
) -> epath.Path:
    """Writes a checkpoint of T5X, whole or not at all.

    It holds what T5X's trainer, evaluation and inference restore: parameters, step, and the state
    of its Adafactor.

    Args:
        table: of the model's family and configuration, of layers that are not scanned.
        shapes: of our parameters (`Model.shapes`).
        read: returns one of our parameters by name.
        folder: where `checkpoint_<step>` is made.
        step: steps that the model was trained for.
        optimizer: state of ours to go on with in T5X; without Adafactor's moments in it, T5X starts
            with fresh ones.

    Returns:
        The checkpoint's folder.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    if files.is_remote(folder):
        raise OutputError(f"cannot write {folder}: write to a local folder and copy it")
    final = epath.Path(folder) / f"checkpoint_{step}"
    if final.exists():
        raise OutputError(f"cannot write {final}: it is there already")
    files.sweep(folder)
    with files.scratch_folder(folder) as scratch, files.writing(final):
        made = scratch / final.name
        made.mkdir()
        listed = dict(_written(made, table, shapes, read, step, optimizer))
        (made / t5x_index.NATIVE).write_bytes(_packed(listed))
        made.rename(final)
    return final


def _written(
    folder: epath.Path,
    table: Table,
    shapes: Mapping[str, Any],
    read: Callable[[str], np.ndarray],
    step: int,
    optimizer: Any,
) -> Iterator[tuple[str, Any]]:
    """Writes arrays, and yields what the checkpoint's list has of each."""
    yield f"{STATE}step", np.asarray(step, np.int32)
    for name, value in tables.unload(table, read):
        yield name, _write(folder, name, value)
    for name, value in t5x_optimizer.unload(table, shapes, optimizer):
        # As T5X, which shards parameters and moments of their shape, and lists all others.
        is_sharded = name.endswith("/v") and value.shape != (1,)
        yield name, _write(folder, name, value) if is_sharded else value


def _write(folder: epath.Path, name: str, value: np.ndarray) -> dict[str, Any]:
    """Writes an array in a folder of its own and returns its spec, relative to the checkpoint."""
    import tensorstore

    key = name.replace("/", ".")
    spec = {
        "driver": "zarr",
        "dtype": value.dtype.name,
        "kvstore": {"driver": "file", "path": f"{key}/"},
        "metadata": {
            "compressor": {"id": "gzip", "level": 1},
            "shape": list(value.shape),
            "chunks": _chunks(value.shape, value.dtype.itemsize),
        },
    }
    made = {**spec, "kvstore": place(folder / key)}
    tensorstore.open(made, create=True).result().write(value).result()
    return spec


def _chunks(shape: tuple[int, ...], itemsize: int) -> list[int]:
    """Rows enough for a chunk of the size that is wanted, but at least one."""
    row = math.prod(shape[1:]) * itemsize
    return [min(shape[0], max(1, _CHUNK_BYTES // max(row, 1))), *shape[1:]]


def _packed(listed: Mapping[str, Any]) -> bytes:
    from flax import serialization, traverse_util

    assert all(name.startswith((PARAMETERS, STATE)) for name in listed)
    tree = traverse_util.unflatten_dict(dict(listed), sep="/")
    return bytes(serialization.msgpack_serialize({"version": _VERSION, "optimizer": tree}))
