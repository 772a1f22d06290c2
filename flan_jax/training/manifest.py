"""The manifest that proves a checkpoint whole: size and SHA-256 of every file.

Orbax alone restores flipped bits silently and reports a truncated file in thousands of lines.
A manifest lists every file that is read of a checkpoint, or it proves nothing: what is there and
not listed is as wrong as what is listed and not there. It is written last, when all that it lists
is on the disk, so a folder without one is a save that was not finished.
"""

import functools
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any

from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import CheckpointError, printable, quoted

MANIFEST = "MANIFEST.json"
OPTIMIZER = "optimizer/"
# Without these there is nothing to restore.
NEEDED = ("run/metadata", "params/_METADATA", "params/manifest.ocdbt")
_MOST_BYTES = 1 << 24
# Times of files are as fine as the system's clock ticks.
_SETTLED_NS = 2_000_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _hash_file(path: epath.Path) -> str:
    """Returns a file's SHA-256; its bytes are read once a process, as long as it is the same."""
    if files.is_remote(path):
        return files.file_digest(path)
    stat_ = os.stat(path)
    stamp = (stat_.st_ino, stat_.st_size, stat_.st_mtime_ns, stat_.st_ctime_ns)
    # What changed just now may change again without another time.
    if time.time_ns() - stat_.st_ctime_ns < _SETTLED_NS:
        return files.file_digest(path)
    return _hash_once(str(path), stamp)


@functools.lru_cache(maxsize=1 << 14)
def _hash_once(path: str, stamp: tuple[int, ...]) -> str:
    return files.file_digest(path)


def manifest_files(folder: epath.Path) -> list[epath.Path]:
    """Returns all files below a checkpoint's folder but the manifest, sorted.

    Raises:
        CheckpointError: there is a link, a pipe or a device, which could lead anywhere.
    """
    found = sorted(_below(folder, folder))
    return [path for path in found if MANIFEST not in path.name or path.parent != folder]


def _below(folder: epath.Path, root: epath.Path) -> Iterator[epath.Path]:
    # epath has no recursive glob, and glob would follow links.
    for path in folder.iterdir():
        kind = _kind(path)
        if kind == "folder":
            yield from _below(path, root)
        elif kind == "file":
            yield path
        else:
            raise CheckpointError(f"{path.relative_to(root)} is {kind}")


def _kind(path: epath.Path) -> str:
    if files.is_remote(path):
        return "folder" if path.is_dir() else "file"
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return "a link, and a checkpoint's files lie in its own folder"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "not a regular file"


def write_manifest(path: epath.Path) -> None:
    """Records size and hash of every file of a finished checkpoint, atomically.

    All of them are on the disk before it is, so that a power cut leaves no manifest of files that
    it emptied.

    Raises:
        OutputError: it cannot be written.
    """
    with files.writing(path):
        facts = {}
        for file in manifest_files(path):
            _sync(file)
            size = file.stat().length
            facts[str(file.relative_to(path))] = {"size": size, "sha256": _hash_file(file)}
        for folder in {file.parent for file in manifest_files(path)} | {path}:
            _sync(folder)
    json_files.write_json(path / MANIFEST, facts)
    with files.writing(path):
        _sync(path)
        _sync(path.parent)


def _sync(path: epath.Path) -> None:
    if files.is_remote(path):
        return
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(path: epath.PathLike) -> dict[str, dict[str, Any]]:
    """Returns the size and hash of every file of a checkpoint, by name.

    Raises:
        CheckpointError: there is no manifest, or it is none.
    """
    folder = epath.Path(path)
    if not (folder / MANIFEST).exists():
        raise CheckpointError(f"it has no {MANIFEST}, so it was not finished or is not whole")
    facts = json_files.read_json(folder / MANIFEST, _MOST_BYTES, CheckpointError)
    if not isinstance(facts, dict):
        raise CheckpointError(f"{MANIFEST} is no object")
    for name, fact in facts.items():
        if not isinstance(fact, dict) or not _is_proof(fact.get("size"), fact.get("sha256")):
            raise CheckpointError(f"{MANIFEST} has no size and SHA-256 of {quoted(name)}")
    return facts


def _is_proof(size: Any, digest: Any) -> bool:
    right = type(size) is int and size >= 0 and isinstance(digest, str)
    return right and _SHA256.fullmatch(digest) is not None


def verify(path: epath.PathLike, *, weights_only: bool = False, hashes: bool = True) -> str | None:
    """Returns why a checkpoint cannot be counted on, or None where it is proven whole.

    Args:
        path: directory of the checkpoint.
        weights_only: leave out the optimizer's state, often two thirds of the bytes.
        hashes: compare hashes, which reads every byte, beside presence and size. Without, it is
            cheap enough for every save; truncated or missing files are what a full disk or a
            kill leaves, and flipped bits are found when the checkpoint is read.

    Raises:
        FileNotFoundError: its folder is gone, maybe since this began.
    """
    folder = epath.Path(path)
    try:
        # Only what was seen to be a regular file in the folder is ever opened, whatever is listed.
        there = {str(file.relative_to(folder)): file for file in manifest_files(folder)}
        facts = read_manifest(folder)
        for name in sorted({*facts, *filter(_is_read, there), *NEEDED}):
            if weights_only and name.startswith(OPTIMIZER):
                continue
            if why := _differs(there.get(name), facts.get(name), hashes):
                return f"{printable(name)} {why}"
    except (CheckpointError, OSError) as error:
        if not folder.exists():
            raise FileNotFoundError(str(folder)) from None
        return str(error) if isinstance(error, CheckpointError) else files.cause(error)
    return None


def _is_read(name: str) -> bool:
    """Whether something reads a file; beside the folders there may be a README."""
    return "/" in name or name.startswith("_")


def _differs(file: epath.Path | None, facts: dict[str, Any] | None, hashes: bool) -> str | None:
    if file is None:
        return "is missing"
    if facts is None:
        return f"is not in {MANIFEST}"
    if (size := file.stat().length) != facts["size"]:
        return f"has {size} of {facts['size']} bytes"
    if hashes and _hash_file(file) != facts["sha256"]:
        return "does not match its hash"
    return None
