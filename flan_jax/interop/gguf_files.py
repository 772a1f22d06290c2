"""GGUF files, the form in which llama.cpp keeps models, as published tensors.

Tensors are dequantised with the package gguf, a part of one at a time and to float32. What models
their metadata describes is in `gguf_decoders`, their tokenizers in `gguf_tokenizer`; `gguf_models`
opens all of a file.
"""

import functools
import hashlib
import math
import mmap
import os
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files
from flan_jax.errors import CheckpointError, border, quoted
from flan_jax.interop import gguf_header
from flan_jax.interop.tables import Shapes, Slices


class GGUFTensors:
    """The tensors of a GGUF file, as `tables.TensorFiles`.

    Attributes:
        name: the file.
        metadata: its metadata by key, see `gguf_header.Header`.
    """

    def __init__(self, path: epath.PathLike):
        """Args:
        path: of the file.

        Raises:
            CheckpointError: the package gguf is missing, or the file is, is damaged, or has
                tensors of types that cannot be read.
        """
        self.name = os.fspath(path)
        _require_gguf(self.name)
        self._content = _mapped(path)
        header = gguf_header.read(self._content, self.name, _bytes_of)
        self.metadata: Mapping[str, Any] = header.metadata
        self._header = header
        self._tensors = header.tensors
        # A stack that is placed in parts along another axis asks for the same rows again.
        self._rows = functools.lru_cache(maxsize=1)(self._dequantised)

    @property
    def digest(self) -> str:
        """SHA-256 of all that the file says before its tensors, as hex digits."""
        return hashlib.sha256(self._content[: self._header.size]).hexdigest()

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor by name, in torch's order."""
        return {name: stored.shape for name, stored in self._tensors.items()}

    def read(self, name: str, index: Slices) -> np.ndarray:
        """See `tables.TensorFiles.read`; float32, only the rows of the part dequantised."""
        shape = self._tensors[name].shape
        if len(shape) == 1:
            return self._rows(name, 0, 1)[0][index]
        start, stop, _ = index[0].indices(shape[0])
        return self._rows(name, start, stop).reshape(-1, *shape[1:])[(slice(None), *index[1:])]

    def _dequantised(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns rows of a tensor, [rows, elements of a row]; one of one dimension is a row."""
        stored = self._tensors[name]
        size = stored.size // (stored.shape[0] if len(stored.shape) > 1 else 1)
        with border(f"{self.name}: tensor {quoted(name)}", CheckpointError):
            begin = stored.start + start * size
            data = np.frombuffer(self._content, np.uint8, (stop - start) * size, begin)
            return _numbers(data, stored.kind).reshape(stop - start, -1)


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
