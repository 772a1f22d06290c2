"""Embeddings on disk, by encoder and by text: nothing is embedded twice.

One folder an encoder, named by its hash, with two files that only grow: `vectors.f32`, rows of
float32 that can be memory-mapped, and `texts.bin`, for each row the SHA-256 of its text and a
checksum of the row. A row counts once its entry in `texts.bin` is complete, so a killed program
leaves at most vectors that nobody refers to, which the next one overwrites.
"""

import contextlib
import hashlib
import os
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax import files, json_files, settings
from flan_jax.errors import ConfigError, DataError, OutputError

FORMAT = 1
# numpy's byte strings drop trailing zeros, so digests are compared as four numbers.
_ENTRY = np.dtype([("text", "<u8", (4,)), ("checksum", "<u4")])


def embeddings_root() -> str:
    """Returns the folder of all embeddings: EMBEDDINGS_DIR, else below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return str(settings.setting("EMBEDDINGS_DIR") or os.path.join(base, "flan_jax", "embeddings"))


class EmbeddingCache:
    """The embeddings of one encoder.

    Attributes:
        folder: where they lie.
        width: components of a vector.
    """

    def __init__(self, encoder_hash: str, width: int, *, root: str | None = None):
        """Opens the folder of an encoder, or makes it.

        Raises:
            ConfigError: the root is not a local folder.
            DataError: the folder is of another format, or its files do not fit together.
            OutputError: nothing can be written there.
        """
        root = root or embeddings_root()
        if "://" in root:
            raise ConfigError(f"EMBEDDINGS_DIR={root}: embeddings are kept in a local folder")
        self.folder = pathlib.Path(root) / encoder_hash[:32]
        self.width = width
        self._vectors = self.folder / "vectors.f32"
        self._texts = self.folder / "texts.bin"
        with self._locked():
            self._check_facts({"format": FORMAT, "encoder": encoder_hash, "width": width})
        self._read_entries()

    def __len__(self) -> int:
        """Returns how many texts have a vector."""
        return len(self._entries)

    def matrix(self) -> np.ndarray:
        """Returns all vectors [n, width], memory-mapped."""
        if not len(self):
            return np.zeros((0, self.width), np.float32)
        return np.memmap(self._vectors, np.float32, "r", shape=(len(self), self.width))

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Returns for each text the number of its row, or -1."""
        if not len(self) or not texts:
            return np.full(len(texts), -1)
        wanted = _digests(texts)
        first: Any = np.searchsorted(self._sorted, wanted[:, 0]).tolist()
        return np.array([self._row(i, d) for i, d in zip(first, wanted, strict=True)], int)

    def refresh(self) -> None:
        """Looks whether another process, or object, added texts."""
        size = self._texts.stat().st_size if self._texts.is_file() else 0
        if size // _ENTRY.itemsize != len(self):
            self._read_entries()

    def _row(self, position: int, digest: np.ndarray) -> int:
        """Returns the row of a digest, from the first position of its first number on, or -1."""
        while position < len(self) and self._sorted[position] == digest[0]:
            row = int(self._order[position])
            if (self._entries["text"][row] == digest).all():
                return row
            position += 1
        return -1

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Returns the vectors [n, width] of some rows.

        Raises:
            DataError: a vector is not what was written.
        """
        vectors = np.asarray(self.matrix()[rows])
        checksums = [zlib.crc32(vector.tobytes()) for vector in vectors]
        if (self._entries["checksum"][rows] != np.array(checksums, np.uint32)).any():
            raise self._corrupt("a vector does not have its checksum")
        return vectors

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Appends the vectors [n, width] of texts that have none yet.

        Raises:
            DataError: the files do not fit together.
            OutputError: they cannot be written; what they held they still hold.
        """
        with self._locked():
            self._read_entries()  # another process may have added some
            new: list[int] = np.flatnonzero(self.rows(texts) < 0).tolist()
            data = np.ascontiguousarray(vectors[new], np.float32)
            entries: np.ndarray = np.zeros(len(new), _ENTRY)
            entries["text"] = _digests([texts[i] for i in new])
            entries["checksum"] = [zlib.crc32(vector.tobytes()) for vector in data]
            _append(self._vectors, len(self) * self.width * 4, data.tobytes())
            _append(self._texts, len(self) * _ENTRY.itemsize, entries.tobytes())
        self._read_entries()

    def _read_entries(self) -> None:
        raw = self._texts.read_bytes() if self._texts.is_file() else b""
        whole = len(raw) // _ENTRY.itemsize
        self._entries = np.frombuffer(raw, _ENTRY, whole)
        size = self._vectors.stat().st_size if self._vectors.is_file() else 0
        if size < whole * self.width * 4:
            raise self._corrupt(f"{self._vectors.name} holds fewer vectors than {self._texts.name}")
        self._order = np.argsort(self._entries["text"][:, 0], kind="stable")
        self._sorted = self._entries["text"][:, 0][self._order]

    def _check_facts(self, facts: dict[str, Any]) -> None:
        file = self.folder / "facts.json"
        if not file.exists():
            json_files.write_json(file, facts)
            return
        try:
            found = json_files.read_json(file)
        except DataError:
            found = None
        if found != facts:
            raise self._corrupt(f"{file.name} does not describe this encoder")

    def _corrupt(self, wrong: str) -> DataError:
        return DataError(
            f"the embeddings in {self.folder} are corrupt: {wrong}; remove that folder, and they "
            "are made again"
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            # Which makes the folder.
            with files.lock_folder(self.folder, "lock", wait=True):
                yield
        except OutputError as error:
            raise OutputError(f"{error}; EMBEDDINGS_DIR names another folder") from None


def _append(path: pathlib.Path, position: int, data: bytes) -> None:
    """Writes data at a position, over what a killed program left behind it."""
    with files.writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        with open(handle, "r+b") as file:
            file.seek(position)
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())


def _digests(texts: Sequence[str]) -> np.ndarray:
    """Returns the SHA-256 of each text as [n, 4] numbers."""
    raw = b"".join(hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
    return np.frombuffer(raw, "<u8").reshape(len(texts), 4)
