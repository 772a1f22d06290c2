"""Files as other people leave them, and files as we leave them to other people.

What is read: regular files only (a FIFO would hang, a device never ends), of a bounded size, and,
where a file of somebody else names another one, inside its own folder. What is written: whole or
not at all, beside its final place and renamed into it, so that neither a kill nor a full disk
damages what was there; and what goes wrong is one error that names path and cause.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from etils import epath

from flan_jax.errors import CheckpointError, DataError, FlanJaxError, OutputError, did_you_mean

# Bytes of a text file that is read at once; task files of 50 MB exist.
MOST_BYTES = 1 << 28
LOCK = ".lock"
WRITING = ".writing-"
# What a scratch folder begins with before it is held, and how old one gets that nobody will hold.
_NEW, _NEW_SECONDS = ".new", 3600
# A file system that knows no locks, such as some that are mounted over a network.
_LOCKLESS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
# What a full disk or a forbidden path is called inside messages of libraries.
_CAUSES = {
    errno.ENOSPC: ("No space left on device", "ENOSPC", "RESOURCE_EXHAUSTED"),
    errno.EDQUOT: ("Disk quota exceeded", "EDQUOT"),
    errno.EROFS: ("Read-only file system", "EROFS"),
    errno.EACCES: ("Permission denied", "EACCES", "PERMISSION_DENIED"),
    errno.ENOTDIR: ("Not a directory", "ENOTDIR"),
    errno.EISDIR: ("Is a directory", "EISDIR"),
    errno.ENAMETOOLONG: ("File name too long", "ENAMETOOLONG"),
    errno.EFBIG: ("File too large", "EFBIG"),
}


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is on storage that only etils.epath reaches (gs:// and the like)."""
    return "://" in os.fspath(path)


def user_path(path: str) -> str:
    """Returns a path that a person typed, with `~` and `~name` at its start replaced by a home.

    The shell does that only where the path stands alone, not in `--out=~/results`.
    """
    return os.path.expanduser(path) if path.startswith("~") else path


def inside(folder: epath.PathLike, name: object, what: str = "entry") -> epath.Path:
    """Returns the path of a file that a file of somebody else names, below `folder`.

    Args:
        folder: where it has to be.
        name: a relative path, as foreign data.
        what: what names it, for messages.

    Raises:
        DataError: it is no relative path, or leads out of the folder, also through links.
    """
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name or is_remote(name):
        raise DataError(f"{what} names {name!r:.80}, which is no path below {folder}")
    parts = name.split("/")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise DataError(f"{what} names {name!r:.80}, which is not inside {folder}")
    path = epath.Path(folder) / name
    if not is_remote(folder):
        root = os.path.realpath(os.fspath(folder))
        if os.path.commonpath([root, os.path.realpath(os.fspath(path))]) != root:
            raise DataError(f"{what} names {name!r:.80}, a link that leads out of {folder}")
    return path


def read_bytes(
    path: epath.PathLike,
    most: int = MOST_BYTES,
    error: type[FlanJaxError] = DataError,
    *,
    whole: bool = True,
) -> bytes:
    """Returns the content of a regular file of at most `most` bytes.

    Args:
        path: the file.
        most: bytes.
        error: what to raise.
        whole: False returns the first `most` bytes of a larger file, and refuses none.

    Raises:
        FlanJaxError: of the kind `error`; it is not there (the nearest names in its folder are
            offered), cannot be read, is no regular file, or is larger.
    """
    file = epath.Path(path)
    try:
        if is_remote(file):
            if whole and file.stat().length > most:
                raise error(f"{file}: larger than the {most:,} bytes that are read of such a file")
            return file.read_bytes()[:most]
        # Without O_NONBLOCK opening a FIFO waits for somebody to write into it.
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise error(f"{file}: not a regular file")
            # Not `most` at once, for which room would be made.
            content = opened.read(min(facts.st_size, most) + 1)
            while len(content) <= most and (more := opened.read(1 << 20)):
                content += more
    except FileNotFoundError:
        raise error(f"{file} does not exist{_near(file)}") from None
    except (OSError, ValueError) as wrong:  # ValueError: a NUL in the name
        raise error(f"{file}: cannot be read: {cause(wrong)}") from None
    if whole and len(content) > most:
        raise error(f"{file}: larger than the {most:,} bytes that are read of such a file")
    return content[:most]


def _near(file: epath.Path) -> str:
    try:
        names = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
    except OSError:
        names = []
    return did_you_mean(file.name, names)


def read_text(
    path: epath.PathLike, most: int = MOST_BYTES, error: type[FlanJaxError] = DataError
) -> str:
    """Returns the text of a regular file, without a byte order mark.

    Raises:
        FlanJaxError: of the kind `error`; see `read_bytes`, or it is no UTF-8 text.
    """
    try:
        return read_bytes(path, most, error).decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: not UTF-8 text (at byte {wrong.start})") from None


class Stamp(NamedTuple):
    """What changes when a file does; 0 where storage does not say."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp(path: epath.PathLike) -> Stamp:
    """Returns the stamp of a file, of what it leads to where it is a link.

    The times of a file can be set to what they were, but not the time at which that was done.

    Raises:
        OSError: there is no such file.
    """
    if is_remote(path):
        remote = epath.Path(path).stat()
        return Stamp(remote.length, int(remote.mtime * 10**9), 0, 0)
    local = os.stat(path)
    return Stamp(local.st_size, local.st_mtime_ns, local.st_ctime_ns, local.st_ino)


def file_digest(path: epath.PathLike) -> str:
    """Returns the SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with epath.Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cause(error: BaseException) -> str:
    """Returns why the system refused, in its own words, from however deep in an exception.

    Libraries wrap it in exceptions of their own, with pages of text in which it is lost.
    """
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(seen) < 50:
        one = waiting.pop(0)
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    for one in seen:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    for one in seen:
        text = str(one)
        for said in _CAUSES.values():
            if any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in said):
                return said[0]
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def is_system_refusal(error: BaseException) -> bool:
    """Whether an exception, or what it was raised from, is the system's refusal to write."""
    return cause(error) in {said[0] for said in _CAUSES.values()}


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
    """Turns what the system says while something is written into an error with path and cause.

    Raises:
        OutputError: the body could not write. Exceptions that are not the system's pass.
    """
    try:
        yield
    except FlanJaxError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {cause(error)}") from error
    except Exception as error:
        if not is_system_refusal(error):
            raise
        raise OutputError(f"cannot write {path}: {cause(error)}") from error


def make_folder(path: epath.PathLike) -> epath.Path:
    """Makes a folder and those above it; it may be there already.

    Raises:
        OutputError: it cannot be made, or is a file.
    """
    folder = epath.Path(path)
    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    return folder


def check_out(path: epath.PathLike) -> None:
    """Refuses a file to write that could not be written, before hours are spent on its content.

    Raises:
        OutputError: it is a folder, or its folder is not there and cannot be made, or nothing
            can be written in it.
    """
    file = epath.Path(path)
    if is_remote(file):
        return
    if file.is_dir():
        raise OutputError(f"cannot write {file}: Is a directory")
    check_out_folder(file.parent)


def check_out_folder(path: epath.PathLike) -> epath.Path:
    """Makes a folder for results, and sees whether something can be written in it.

    Raises:
        OutputError: no.
    """
    folder = make_folder(path)
    if not is_remote(folder):
        probe = folder / _scratch_name("probe")
        with writing(folder):
            try:
                probe.write_bytes(b"\n")
            finally:
                probe.unlink(missing_ok=True)
    return folder


def check_new_folder(path: epath.PathLike) -> None:
    """Sees whether a folder can be made that is not there yet, on this machine's disks.

    Raises:
        OutputError: it is there, or cannot be made.
    """
    if is_remote(path):
        raise OutputError(f"{path} is not on this machine: name a folder here, and copy it")
    if os.path.lexists(path):
        raise OutputError(f"{path} exists already")
    check_out_folder(epath.Path(path).parent)


def _scratch_name(name: str) -> str:
    return f".{name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def replace_bytes(path: epath.PathLike, content: bytes) -> None:
    """Writes a file, replacing an older one in one move; a link is replaced, not followed.

    Raises:
        OutputError: it cannot be written; an older one is what it was.
    """
    _replace({epath.Path(path): content})


def replace_text(path: epath.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, see `replace_bytes`; what is no character is written as `?`."""
    replace_texts({path: text})


def replace_texts(texts: Mapping[epath.PathLike, str]) -> None:
    """Writes several text files as `replace_text` does, in their order.

    None of them is replaced before there is room for all.
    """
    _replace({epath.Path(path): text.encode("utf-8", "replace") for path, text in texts.items()})


def _replace(contents: Mapping[epath.Path, bytes]) -> None:
    scratches: dict[epath.Path, epath.Path] = {}
    try:
        for file, content in contents.items():
            scratches[file] = file.parent / _scratch_name(file.name[:100])
            with writing(file):
                _write_new(scratches[file], content)
        for file, scratch in scratches.items():
            with writing(file):
                scratch.replace(file)
    finally:
        with contextlib.suppress(OSError):
            for scratch in scratches.values():
                scratch.unlink(missing_ok=True)


def _write_new(path: epath.Path, content: bytes) -> None:
    if is_remote(path):
        path.write_bytes(content)
        return
    with open(path, "xb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


@contextlib.contextmanager
def lock_folder(folder: epath.PathLike, name: str = LOCK, *, wait: bool = False) -> Iterator[None]:
    """Holds `folder` for this process; the system lets go of it whatever way the process ends.

    Two programs that write one folder would destroy each other's work. Remote storage has no
    such locks and is not locked.

    Args:
        folder: the folder.
        name: of the file in it that is locked.
        wait: whether to wait for another process, which holds it for a moment.

    Raises:
        CheckpointError: another process holds it; names the process.
        OutputError: the lock cannot be made; a link in its place is refused, not followed.
    """
    if is_remote(folder):
        yield
        return
    path = os.path.join(make_folder(folder), name)
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputError(f"cannot write {path}: not a regular file")
    with open(handle, "r+") as file:
        if wait:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{folder} is in use by {_holder(file.read(1000))}") from None
        with writing(path):
            file.truncate()
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
            file.flush()
        yield


def _holder(text: str) -> str:
    try:
        facts = json.loads(text)
        return f"process {int(facts['pid'])} on {str(facts['host'])[:80]}"
    except (ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def scratch_folder(parent: epath.PathLike, prefix: str = WRITING) -> Iterator[epath.Path]:
    """Makes a folder of a unique name for what is being written, and removes it in the end.

    It is locked while the body runs, so that `sweep` of another process leaves it alone. The body
    renames what is inside, or the folder itself, into place.

    Raises:
        OutputError: it cannot be made.
    """
    folder = make_folder(parent) / f"{prefix}{os.getpid()}-{secrets.token_hex(6)}"
    with writing(folder):
        # Locked before it has the name that `sweep` looks for.
        first = folder.parent / f"{_NEW}{folder.name}"
        first.mkdir()
    try:
        with holding(first):
            with writing(folder):
                first.rename(folder)
            yield folder
    finally:
        shutil.rmtree(first, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def holding(folder: epath.PathLike) -> Iterator[None]:
    """Holds a folder itself, for as long as it takes to rename something into it.

    Unlike `lock_folder` it waits for whoever holds it, and leaves no file. Where the file system
    knows no locks it holds nothing.
    """
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _LOCKLESS:
                raise
        yield
    finally:
        os.close(handle)


def sweep(parent: epath.PathLike, prefix: str = WRITING) -> None:
    """Removes what killed processes left of `scratch_folder`: folders that nobody holds."""
    folder = epath.Path(parent)
    if is_remote(folder) or not folder.is_dir():
        return
    for path in folder.iterdir():
        new = path.name.startswith(_NEW + prefix)
        if not new and not path.name.startswith(prefix):
            continue
        with contextlib.suppress(OSError):
            made = os.lstat(path)
            if not stat.S_ISDIR(made.st_mode) or new and time.time() - made.st_mtime < _NEW_SECONDS:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
