"""Checkpoints of T5X (Roberts et al., 2022), native ones and those it writes through Orbax.

    files = t5x_files.open_folder("runs/t5/checkpoint_1000000")
    config = t5_t5x.config_of(files)

Arrays are read slice by slice through tensorstore, from places that this package names by T5X's
rules. A checkpoint is data of others: see `t5x_index` for its list; in its folders only regular
files are read, and what their `.zarray` says is looked at before tensorstore reads it.
"""

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files as files_lib
from flan_jax import json_files
from flan_jax.errors import CheckpointError, DataError, border, did_you_mean, quoted
from flan_jax.interop import t5x_index
from flan_jax.interop.t5x_index import Listed
from flan_jax.interop.tables import Slices

PARAMETERS, STATE = "target/", "state/"
_STEP = re.compile(r"checkpoint_(\d{1,12})")
# Lists of a checkpoint, below its folder; Orbax keeps one of each item, T5X's item is "state".
_LISTS = (
    f"state/{t5x_index.ORBAX}", f"state/{t5x_index.NATIVE}", t5x_index.ORBAX, t5x_index.NATIVE,
)  # fmt: skip
_ZARRAY, _MOST_ZARRAY = ".zarray", 1 << 16
_COMPRESSORS = ("gzip", "zlib", "blosc", "bz2", "zstd")
# Numbers as zarr names them; T5X refuses "<u2" as well, by which version 2 meant bfloat16.
_ZARR_DTYPES = {
    "bfloat16": "bfloat16", "<f2": "float16", "<f4": "float32", "<f8": "float64",
    "<i4": "int32", "<i8": "int64", "<u4": "uint32", "|b1": "bool",
}  # fmt: skip
_MOST_FILES = 1 << 20


class T5xFiles:
    """Arrays of a checkpoint of T5X, as `tables.TensorFiles`.

    Attributes:
        name: the folder, for errors.
        shapes: of the parameters, named as T5X names them ("target/encoder/...").
        state: of the optimizer and what else there is ("state/param_states/...").
    """

    def __init__(self, folder: epath.Path, listed: Mapping[str, Listed]):
        self.name = str(folder)
        self._folder, self._listed = folder, listed
        self._one_store = t5x_index.is_one_store(folder)
        self._opened: dict[str, Any] = {}
        self.shapes = self._shapes(PARAMETERS)

    def _shapes(self, prefix: str) -> dict[str, tuple[int, ...]]:
        names = [name for name in self._listed if name.startswith(prefix)]
        return {name: self._shape(name) for name in names}

    def _shape(self, name: str) -> tuple[int, ...]:
        listed = self._listed[name]
        if isinstance(listed, np.ndarray):
            return listed.shape
        return self._open(name).shape if listed is None else listed

    @property
    def state(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of what there is beside the parameters."""
        return self._shapes(STATE)

    @property
    def step(self) -> int:
        """Steps that it was trained for, 0 where it does not say."""
        name = f"{STATE}step"
        if name not in self._listed or math.prod(self._shape(name)) != 1:
            return 0
        whole = tuple(slice(0, size) for size in self._shape(name))
        return max(int(self.read(name, whole).item()), 0)

    def read(self, name: str, index: Slices) -> np.ndarray:
        """Returns a part of an array, in the dtype that it is stored in."""
        listed = self._listed[name]
        if isinstance(listed, np.ndarray):
            return listed[index]
        array = self._open(name)
        with border(f"{self.name}: {name}", CheckpointError):
            return np.asarray(array[index].read().result())

    def _open(self, name: str) -> Any:
        """The tensorstore array of a parameter, looked at before."""
        if name not in self._opened:
            where = f"{self.name}: {name}"
            with border(where, CheckpointError):
                listed = self._listed[name]
                assert not isinstance(listed, np.ndarray)
                self._opened[name] = _open(self._store(name, where), listed, where)
        return self._opened[name]

    def _store(self, name: str, where: str) -> Mapping[str, Any]:
        """Where the array of a parameter is, as tensorstore says it."""
        key = name.replace("/", ".")
        if self._one_store:
            return {"driver": "ocdbt", "base": place(self._folder), "path": f"{key}/"}
        folder = self._folder / key
        if not folder.is_dir():
            there = [path.name for path in self._folder.iterdir()]
            raise CheckpointError(f"{where}: its folder is missing{did_you_mean(key, there)}")
        _check_regular(folder)
        return place(folder)


def open_folder(where: epath.PathLike) -> T5xFiles:
    """Opens a checkpoint of T5X; of a folder of checkpoints, the newest.

    On gs:// its files are listed and read through etils.epath and tensorstore.

    Args:
        where: a folder `checkpoint_<step>`, or one that such folders are in.

    Raises:
        CheckpointError: there is none, or it is damaged or made to lead elsewhere.
    """
    folder = _with_list(where)
    if t5x_index.is_one_store(folder):
        _check_regular(folder, deep=True)
    return T5xFiles(folder, t5x_index.read(folder))


def is_checkpoint(where: epath.PathLike) -> bool:
    """Whether `open_folder` would find the list of a checkpoint there."""
    try:
        _with_list(where)
    except CheckpointError:
        return False
    return True


def newest(where: epath.PathLike) -> epath.Path:
    """Returns the folder of a checkpoint, of a folder of checkpoints the newest.

    Raises:
        CheckpointError: there is none.
    """
    folder = epath.Path(where)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder")
    steps = {
        int(found[1]): path.name
        for path in folder.iterdir()
        if (found := _STEP.fullmatch(path.name))
    }
    chosen = _inside(folder, steps[max(steps)]) if steps else folder
    if not any((chosen / name).is_file() for name in _LISTS):
        raise CheckpointError(
            f"{chosen} is no checkpoint of T5X: none of {', '.join(_LISTS)} is in it, and no "
            "folder checkpoint_<step>"
        )
    return chosen


def _with_list(where: epath.PathLike) -> epath.Path:
    """The folder that a checkpoint's list is in."""
    folder = newest(where)
    name = next(name for name in _LISTS if (folder / name).is_file())
    return _inside(folder, name).parent


def _inside(folder: epath.Path, name: str) -> epath.Path:
    try:
        return files_lib.inside(folder, name)
    except DataError as error:
        raise CheckpointError(str(error)) from None


def place(folder: epath.Path) -> dict[str, str]:
    """Returns a folder as tensorstore names it."""
    path = os.fspath(folder)
    if not files_lib.is_remote(path):
        return {"driver": "file", "path": os.path.join(os.path.abspath(path), "")}
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "gs":
        raise CheckpointError(f"{path}: of remote storage gs:// alone can be read")
    return {"driver": "gcs", "bucket": bucket, "path": key.rstrip("/") + "/"}


def _check_regular(folder: epath.Path, *, deep: bool = False) -> None:
    """Refuses links and what is no file: a FIFO would hang, and a link could lead anywhere."""
    if files_lib.is_remote(folder):
        return
    seen = 0
    waiting = [os.fspath(folder)]
    if os.path.islink(waiting[0]):
        raise CheckpointError(f"{folder} is a link, which is not followed")
    while waiting:
        for entry in os.scandir(waiting.pop()):
            seen += 1
            facts = entry.stat(follow_symlinks=False)
            if deep and stat.S_ISDIR(facts.st_mode):
                waiting.append(entry.path)
            elif not stat.S_ISREG(facts.st_mode):
                raise CheckpointError(f"{entry.path} is no regular file")
            elif entry.name == _ZARRAY and facts.st_size > _MOST_ZARRAY:
                raise CheckpointError(f"{entry.path}: larger than {_MOST_ZARRAY:,} bytes")
            if seen > _MOST_FILES:
                raise CheckpointError(f"{folder}: more than {_MOST_FILES:,} files")


def _open(store: Mapping[str, Any], shape: tuple[int, ...] | None, where: str) -> Any:
    """Opens an array in zarr's format.

    Args:
        store: where it is.
        shape: that it has to have; None where only it says.
        where: for errors.

    Raises:
        CheckpointError: it is not what T5X writes, of another shape, or not all there.
    """
    import tensorstore

    kvstore = tensorstore.KvStore.open(store).result()
    found = kvstore.read(_ZARRAY).result()
    if found.state != "value":
        raise CheckpointError(f"{where} is missing: there is no {_ZARRAY} of it")
    stored, chunks = _described(bytes(found.value), where)
    if shape is not None and stored != shape:
        raise CheckpointError(f"{where} has shape {stored}, and {shape} by the checkpoint's list")
    _check_chunks(kvstore, stored, chunks, where)
    return tensorstore.open({"driver": "zarr", "kvstore": store}, read=True, open=True).result()


def _described(content: bytes, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of an array and of its chunks by a `.zarray` that T5X could have written."""
    said = json_files.loads(content, f"{where}: {_ZARRAY}", CheckpointError)
    if not isinstance(said, dict) or said.get("zarr_format") != 2:
        raise CheckpointError(f"{where}: {_ZARRAY} does not describe an array")
    dtype, compressor = said.get("dtype"), said.get("compressor")
    if not isinstance(dtype, str) or dtype not in _ZARR_DTYPES:
        raise CheckpointError(f"{where} is stored as {quoted(dtype)}, which T5X does not read")
    method = compressor.get("id") if isinstance(compressor, dict) else compressor
    if method is not None and method not in _COMPRESSORS:
        raise CheckpointError(f"{where} is compressed by {quoted(method)}")
    if said.get("filters") or said.get("dimension_separator", ".") != ".":
        raise CheckpointError(f"{where} has filters or chunks in folders, which T5X does not write")
    shape, chunks = (t5x_index.shape(said.get(key), where) for key in ("shape", "chunks"))
    # A chunk is read at once: larger than the array, it would take memory that nothing fills.
    if len(shape) != len(chunks) or any(
        not 1 <= chunk <= max(size, 1) for chunk, size in zip(chunks, shape, strict=True)
    ):
        raise CheckpointError(f"{where} has chunks of {chunks} for shape {shape}")
    return shape, chunks


def _check_chunks(
    kvstore: Any, shape: tuple[int, ...], chunks: tuple[int, ...], where: str
) -> None:
    """Refuses an array some of whose chunks are missing: they would be read as zeros."""
    there = {bytes(key).decode("latin-1") for key in kvstore.list().result()}
    grid = [math.ceil(size / chunk) for size, chunk in zip(shape, chunks, strict=True)]
    missing = next((name for name in _chunk_names(grid) if name not in there), None)
    if missing is not None:
        raise CheckpointError(
            f"{where}: chunk {missing} is missing, of {math.prod(grid)}; the checkpoint is not "
            "whole"
        )


def _chunk_names(grid: list[int]) -> Iterator[str]:
    """Yields the names of chunks; the caller ends where one is not there."""
    if not grid:
        yield "0"
        return
    for number in range(math.prod(grid)):
        rest, parts = number, []
        for count in reversed(grid):
            rest, part = divmod(rest, count)
            parts.append(str(part))
        yield ".".join(reversed(parts))
