"""What registering needs of a folder's files, kept, so that they are not read each time.

A folder of tasks may be 3 GB in 1,600 files. It is read once; after that only files are read again
whose size, times or inode changed (a time can be put back, but not the one at which that was done),
and files that turned out not to be what the index says. An index lies under the cache folder, not
beside the data, which may be read-only.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging
from etils import epath

from flan_jax import files, json_files, settings, terminal
from flan_jax.errors import DataError, OutputError, border

_MOST_REPORTED = 10
# Reading waits for disk or network; parsing holds the interpreter lock.
_READERS = 8


class _Kept(NamedTuple):
    """What is kept of one file: its stamp (`files.Stamp`), and what was read of it."""

    stamp: tuple[int, ...]
    content: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FileIndex:
    """One kind of files, and what is kept of each.

    Attributes:
        name: of the kind; names of index files begin with it.
        format: bumped by hand whenever what is kept of a file, or how it is found out, changes.
        read: returns what is kept of a file, a JSON object.
        what: the files in words, for messages.
    """

    name: str
    format: int
    read: Callable[[epath.Path], dict[str, Any]]
    what: str = "task files"

    def build(self, folder: str, paths: Mapping[str, epath.Path]) -> dict[str, dict[str, Any]]:
        """Returns what is kept of each file.

        Args:
            folder: they lie in, local or on any file system epath knows.
            paths: the files by a name of theirs.

        Raises:
            DataError: files are wrong; all are read before this is said, and the first ten of them
                are listed.
        """
        file, found = self._file(folder), {name: (p, _stamp(p)) for name, p in paths.items()}
        known = self._read(file)
        fresh = {
            name: known[name]
            for name, (_, stamp) in found.items()
            if name in known and known[name].stamp == stamp
        }
        read = self._read_all({name: one for name, one in found.items() if name not in fresh})
        kept = {name: fresh.get(name) or read[name] for name in found}
        if read or known.keys() != kept.keys():
            self._write(file, kept)
        return {name: one.content for name, one in kept.items()}

    def forget(self, folder: str, name: str) -> None:
        """Lets the next process read a file again that is not what the index says of it."""
        file = self._file(folder)
        known = self._read(file)
        if known.pop(name, None) is not None:
            self._write(file, known)

    def _read_all(
        self, found: Mapping[str, tuple[epath.Path, tuple[int, ...]]]
    ) -> dict[str, _Kept]:
        read: dict[str, _Kept] = {}
        errors: list[str] = []
        paths = [path for path, _ in found.values()]
        bar = terminal.Progress(f"indexing {self.what}", len(paths))
        with bar, concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
            tried = pool.map(self._try, paths)
            for (name, (_, stamp)), content in zip(found.items(), tried, strict=True):
                bar.advance(1)
                if isinstance(content, DataError):
                    errors.append(str(content))
                else:
                    read[name] = _Kept(stamp, content)
        if errors:
            raise DataError(summary(errors, len(found), self.what))
        return read

    def _try(self, path: epath.Path) -> dict[str, Any] | DataError:
        """Returns what is kept of a file, or what is wrong with the file."""
        try:
            return self.read(path)
        except DataError as error:
            return error

    def _file(self, folder: str) -> epath.Path:
        """Returns where the index of a folder lies; equal names in two places are two folders."""
        where = folder if files.is_remote(folder) else os.path.realpath(folder)
        digest = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return epath.Path(settings.cache_root()) / "index" / f"{self.name}_{digest}.json"

    def _read(self, file: epath.Path) -> dict[str, _Kept]:
        """Returns what was kept, nothing where there is no index or it is of no use."""
        if not file.exists():
            return {}
        try:
            with border(str(file)):
                obj = json_files.read_json(file)
                if obj["format"] != self.format:
                    return {}
                if obj["check"] != _check(obj["files"]):
                    raise DataError(f"{file}: its checksum does not match")
                return {
                    name: _Kept(tuple(stamp), dict(content))
                    for name, (stamp, content) in obj["files"].items()
                }
        except DataError as error:
            logging.warning("%s: the index is of no use and is made anew", error)
            return {}

    def _write(self, file: epath.Path, kept: Mapping[str, _Kept]) -> None:
        """Writes an index that readers see whole or not at all; without one all still works."""
        obj = {"format": self.format, "check": _check(kept), "files": kept}
        try:
            files.make_folder(file.parent)
            json_files.write_json(file, obj, indent=None)
        except OutputError as error:
            logging.warning("%s; the folder's files are read anew each time", error)


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file of a folder: where it is, and the hash of what it held when it was registered."""

    path: str
    sha256: str

    def read(self) -> bytes:
        """Returns its content.

        Raises:
            DataError: it cannot be read, or has changed.
        """
        content = files.read_bytes(self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DataError(
                f"{self.path} has changed since it was registered: start the process anew"
            )
        return content


def _stamp(path: epath.Path) -> tuple[int, ...]:
    """Returns the stamp of a file, nothing where it has none: reading it will say why."""
    try:
        return tuple(files.stamp(path))
    except OSError:
        return ()


def _check(kept: Mapping[str, Any]) -> str:
    """Returns a checksum: a damaged index must not pass for a folder's content."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def summary(errors: Sequence[str], count: int, what: str = "task files") -> str:
    """Returns what is wrong with some of so many files, one a line."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"{len(errors)} of {count} {what} are wrong:", *errors[:_MOST_REPORTED]]
    if len(errors) > _MOST_REPORTED:
        lines.append(f"... and {len(errors) - _MOST_REPORTED} more")
    return "\n  ".join(lines)
