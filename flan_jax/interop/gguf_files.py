"""GGUF files, the form in which llama.cpp keeps models, as published tensors.

Tensors are dequantised with the package gguf, a part of one at a time and to float32. A large model
may lie in several files, each with some of its tensors, of which the first says all else. What
models their metadata describes is in `gguf_decoders`, their tokenizers in `gguf_tokenizer`;
`gguf_models` opens all of a model.
"""

import functools
import hashlib
import math
import mmap
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files
from flan_jax.errors import CheckpointError, border, quoted
from flan_jax.interop import gguf_header
from flan_jax.interop.tables import Shapes, Slices

# How the files of one model are told from each other: by metadata, and by name.
_SPLIT_NUMBER, _SPLIT_COUNT, _SPLIT_TENSORS = "split.no", "split.count", "split.tensors.count"
_SPLIT_NAME = re.compile(r"(?P<stem>.+)-00001-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)
_MOST_FILES = 99_999


class _File:
    """One GGUF file, mapped to memory.

    Attributes:
        path: of it.
        content: its bytes.
        header: what it says of itself.
        number, count: which it is of how many files of its model, from 0.
        tensors: of all files of its model together; None where it does not say.
    """

    def __init__(self, path: str):
        self.path, self.content = path, _mapped(path)
        self.header = gguf_header.read(self.content, path, _bytes_of)
        self.count = self._whole(_SPLIT_COUNT, 1, _MOST_FILES) or 1
        self.number = self._whole(_SPLIT_NUMBER, 0, self.count - 1) or 0
        self.tensors = self._whole(_SPLIT_TENSORS, 0, 2**31 - 1)

    def _whole(self, key: str, least: int, most: int) -> int | None:
        value = self.header.metadata.get(key)
        if value is not None and not (type(value) is int and least <= value <= most):
            raise CheckpointError(
                f"{self.path}: {key!r} must be a whole number from {least} to {most:,}, not "
                f"{quoted(value)}"
            )
        return value


class GGUFTensors:
    """The tensors of a model in one GGUF file or several, as `tables.TensorFiles`.

    Attributes:
        name: the file, or the first one.
        paths: all of them.
        metadata: that of the first one by key, see `gguf_header.Header`.
    """

    def __init__(self, path: epath.PathLike):
        """Args:
        path: of the file; of a model in several, that of the first one.

        Raises:
            CheckpointError: the package gguf is missing, or a file is, is damaged, is not of this
                model, or has tensors of types that cannot be read.
        """
        self.name = os.fspath(path)
        _require_gguf(self.name)
        opened = _opened(self.name)
        self._first = opened[0]
        self.paths = [file.path for file in opened]
        self.metadata: Mapping[str, Any] = self._first.header.metadata
        self._file_of = _files_by_tensor(opened)
        # A stack that is placed in parts along another axis asks for the same rows again.
        self._rows = functools.lru_cache(maxsize=1)(self._dequantised)

    @property
    def digest(self) -> str:
        """SHA-256 of all that the (first) file says before its tensors, as hex digits."""
        return hashlib.sha256(self._first.content[: self._first.header.size]).hexdigest()

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor by name, in torch's order."""
        return {name: file.header.tensors[name].shape for name, file in self._file_of.items()}

    def read(self, name: str, index: Slices) -> np.ndarray:
        """See `tables.TensorFiles.read`; float32, only the rows of the part dequantised."""
        shape = self._file_of[name].header.tensors[name].shape
        if len(shape) == 1:
            return self._rows(name, 0, 1)[0][index]
        start, stop, _ = index[0].indices(shape[0])
        return self._rows(name, start, stop).reshape(-1, *shape[1:])[(slice(None), *index[1:])]

    def _dequantised(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns rows of a tensor, [rows, elements of a row]; one of one dimension is a row."""
        file = self._file_of[name]
        stored = file.header.tensors[name]
        size = stored.size // (stored.shape[0] if len(stored.shape) > 1 else 1)
        with border(f"{file.path}: tensor {quoted(name)}", CheckpointError):
            begin = stored.start + start * size
            data = np.frombuffer(file.content, np.uint8, (stop - start) * size, begin)
            return _numbers(data, stored.kind).reshape(stop - start, -1)


def _opened(path: str) -> list[_File]:
    """Returns the files of a model, in order, given the first one.

    Raises:
        CheckpointError: one is missing, cannot be read, or is not the part that its name says.
    """
    first = _File(path)
    if first.count == 1:
        return [first]
    folder, name = os.path.split(path)
    if first.number:
        start = name.replace(f"-{first.number + 1:05}-of-", "-00001-of-")
        raise CheckpointError(
            f"{path} is file {first.number + 1} of the {first.count} of its model: name the first "
            f"one, {start if start != name else '*-00001-of-*.gguf'}"
        )
    named = _SPLIT_NAME.fullmatch(name)
    ending = f"-of-{first.count:05}.gguf"
    if named is None or not name.endswith(ending):
        raise CheckpointError(
            f"{path} is the first of the {first.count} files of its model, and they are found by "
            f"their names: it must be called *-00001{ending}"
        )
    opened = [first]
    for number in range(1, first.count):
        part = os.path.join(folder, f"{named['stem']}-{number + 1:05}{ending}")
        if not os.path.lexists(part):
            raise CheckpointError(
                f"{part} is missing: {name} is the first of {first.count} files of one model"
            )
        opened.append(_File(part))
        _check_part(opened[-1], number, first)
    return opened


def _check_part(part: _File, number: int, first: _File) -> None:
    """Refuses what is not the file `number` of the model that `first` begins."""
    if (part.number, part.count) != (number, first.count):
        raise CheckpointError(
            f"{part.path}: it says that it is file {part.number + 1} of {part.count}, its name "
            f"that it is file {number + 1} of {first.count}"
        )
    if part.tensors != first.tensors:
        raise CheckpointError(
            f"{part.path} is of another model than {first.path}: {_SPLIT_TENSORS!r} is "
            f"{part.tensors} and {first.tensors}"
        )


def _files_by_tensor(opened: Sequence[_File]) -> Mapping[str, _File]:
    """Returns in which file each tensor lies.

    Raises:
        CheckpointError: one lies in two, or there are more or fewer than there should be.
    """
    file_of: dict[str, _File] = {}
    for file in opened:
        for name in file.header.tensors:
            if name in file_of:
                raise CheckpointError(
                    f"{file.path}: tensor {quoted(name)} is in {file_of[name].path} as well"
                )
            file_of[name] = file
    first = opened[0]
    if first.count > 1 and first.tensors not in (None, len(file_of)):
        raise CheckpointError(
            f"{first.path}: its {first.count} files have {len(file_of):,} tensors, and "
            f"{_SPLIT_TENSORS!r} is {first.tensors:,}: they are not of one model"
        )
    return file_of


def _mapped(path: epath.PathLike) -> Any:
    """Returns the content of a file, mapped to memory."""
    if files.is_remote(path):
        raise CheckpointError(f"{path}: a GGUF file is read from this machine; copy it here first")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise CheckpointError(f"{path}: not a regular file")
            if not facts.st_size:
                raise CheckpointError(f"{path} is no GGUF file: it is empty")
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as wrong:
        raise CheckpointError(f"{path}: cannot be read: {files.cause(wrong)}") from None


def _require_gguf(where: str) -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise CheckpointError(f"{where} is a GGUF file: pip install gguf") from None


def _bytes_of(kind: int, shape: tuple[int, ...]) -> int | None:
    """Returns the bytes of a tensor of a ggml type; see `gguf_header.read`."""
    import gguf

    if not _readable(kind) or not shape:
        return None
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    return None if shape[-1] % block else math.prod(shape) // block * size


@functools.cache
def _readable(kind: int) -> bool:
    """Whether the package turns a type into numbers: it does so with a block of zeros."""
    import gguf

    try:
        _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        _numbers(np.zeros(size, np.uint8), kind)
    except (KeyError, ValueError, NotImplementedError):
        return False
    return True


def _numbers(data: np.ndarray, kind: int) -> np.ndarray:
    """Returns what the bytes of a tensor stand for, float32."""
    import gguf

    # Scales may be anything in a damaged file.
    with np.errstate(all="ignore"):
        found = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(kind))
    return found.astype(np.float32, copy=False)
