"""The header of a GGUF file: metadata, and where each tensor lies.

The format (version 2 and 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): "GGUF",
a version, the numbers of tensors and of metadata; the metadata, each a key, a type and a value; of
each tensor name, dimensions (fastest first), type and offset; then, aligned, their bytes. A file is
somebody else's: every length is compared with what is left of it before anything is read or made
room for.
"""

import dataclasses
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flan_jax.errors import CheckpointError, border, quoted

MAGIC = b"GGUF"
VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
# No published header comes near: a tokenizer of 262,144 tokens takes 7 MB.
_MOST_BYTES = 1 << 28
# ggml has no tensors of more dimensions, and none of more elements fits in a file.
_MOST_DIMS, _MOST_ELEMENTS = 4, 1 << 48
_STRING, _ARRAY, _FLOAT32 = 8, 9, 6
# Of the other types of values, by number.
_SCALARS = {
    0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", _FLOAT32: "<f4", 7: "?",
    10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where a tensor lies.

    Attributes:
        shape: in torch's order, slowest first.
        kind: number of its ggml type.
        start: of its first byte in the file.
        size: bytes.
    """

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself.

    Attributes:
        metadata: by key; arrays of numbers are NumPy's, those of texts lists.
        tensors: by name.
        size: bytes of all this.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    size: int


class _Cursor:
    """Reads the header from its start to its end."""

    def __init__(self, content: Any, where: str):
        self.at, self._where = 0, where
        self._content, self._end = content, min(len(content), _MOST_BYTES)

    def take(self, size: int) -> bytes:
        """Returns the next `size` bytes."""
        self._have(size)
        self.at += size
        return self._content[self.at - size : self.at]

    def _have(self, size: int) -> None:
        if size > self._end - self.at:
            raise CheckpointError(
                f"{self._where}: its header does not end within the file, which is damaged or was "
                "not copied whole"
            )

    def number(self, code: str) -> int:
        """Returns the next number, "I" of 4 bytes or "Q" of 8."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        """Returns the next text."""
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, key: str) -> Any:
        """Returns the next value of the metadata."""
        kind = self.number("I")
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return _plain(self._scalars(key, kind, 1))
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            self._have(count * 8)  # the lengths alone
            return [self.text() for _ in range(count)]
        return self._scalars(key, kind, count)

    def _scalars(self, key: str, kind: int, count: int) -> np.ndarray:
        if kind not in _SCALARS:
            raise CheckpointError(
                f"{self._where}: {quoted(key)} is of type {kind}, which GGUF does not have there"
            )
        dtype = np.dtype(_SCALARS[kind])
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)


def _plain(one: np.ndarray) -> Any:
    """Returns a number as Python's; of a float32 the shortest that rounds to it (1e-6)."""
    return float(str(one[0])) if one.dtype == np.float32 else one[0].item()


def read(
    content: Any, where: str, bytes_of: Callable[[int, tuple[int, ...]], int | None]
) -> Header:
    """Returns the header of a file.

    Args:
        content: the file, mapped to memory.
        where: the file, for errors.
        bytes_of: returns the bytes of a tensor of a ggml type and a shape in torch's order; None
            where there is no such type, or no such tensor of it.

    Raises:
        CheckpointError: it is no GGUF file, of another version, damaged or cut off.
    """
    with border(f"{where} is no GGUF file that can be read", CheckpointError):
        cursor = _Cursor(content, where)
        tensors, pairs = _preamble(cursor, where)
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = cursor.text()
            _once(key, metadata, where)
            metadata[key] = cursor.value(key)
        listed: dict[str, Stored] = {}
        for _ in range(tensors):
            name = cursor.text()
            _once(name, listed, where)
            listed[name] = _stored(cursor, name, where, bytes_of)
        start = _aligned(cursor.at, metadata.get(_ALIGNMENT, 32), where)
        return Header(metadata, _placed(listed, start, len(content), where), cursor.at)


def _preamble(cursor: _Cursor, where: str) -> tuple[int, int]:
    """Returns the numbers of tensors and of metadata."""
    magic = cursor.take(4)
    if magic != MAGIC:
        raise CheckpointError(f"{where} is no GGUF file: it begins with {quoted(magic)}")
    version = cursor.number("I")
    if version not in VERSIONS:
        other = int.from_bytes(version.to_bytes(4, "big"), "little") in VERSIONS
        why = "big-endian" if other else f"of version {version}"
        raise CheckpointError(f"{where} is a GGUF file {why}; versions 2 and 3 are read")
    return cursor.number("Q"), cursor.number("Q")


def _once(name: str, there: Mapping[str, Any], where: str) -> None:
    if name in there:
        raise CheckpointError(f"{where}: {quoted(name)} is there twice")


def _stored(
    cursor: _Cursor,
    name: str,
    where: str,
    bytes_of: Callable[[int, tuple[int, ...]], int | None],
) -> Stored:
    """Returns the next tensor, its start not yet counted from that of the file."""
    dims = cursor.number("I")
    if dims > _MOST_DIMS:
        raise CheckpointError(f"{where}: tensor {quoted(name)} has {dims} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dims))[::-1]
    if not 0 < math.prod(shape) < _MOST_ELEMENTS:
        raise CheckpointError(f"{where}: tensor {quoted(name)} has the shape {quoted(shape)}")
    kind, offset = cursor.number("I"), cursor.number("Q")
    size = bytes_of(kind, shape)
    if size is None:
        raise CheckpointError(
            f"{where}: tensor {quoted(name)}, {quoted(shape)}, is of type {kind}, which the "
            "package gguf does not know or cannot turn into numbers (pip install -U gguf)"
        )
    return Stored(shape, kind, offset, size)


def _aligned(at: int, alignment: Any, where: str) -> int:
    if not isinstance(alignment, int) or not 0 < alignment <= _MOST_BYTES:
        raise CheckpointError(f"{where}: {_ALIGNMENT!r} is {quoted(alignment)}")
    return -(-at // alignment) * alignment


def _placed(
    listed: Mapping[str, Stored], start: int, whole: int, where: str
) -> Mapping[str, Stored]:
    """Returns tensors with their starts in the file."""
    found = {}
    for name, stored in listed.items():
        begin = start + stored.start
        if begin + stored.size > whole:
            raise CheckpointError(
                f"{where}: tensor {quoted(name)} lies at bytes {begin:,} to "
                f"{begin + stored.size:,} of a file of {whole:,}, which is damaged or was not "
                "copied whole"
            )
        found[name] = dataclasses.replace(stored, start=begin)
    return found
