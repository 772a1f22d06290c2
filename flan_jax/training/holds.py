"""Holds on checkpoints: what one program reads, no other removes meanwhile.

A reader shares a lock of the system on a checkpoint's folder, and whoever retires checkpoints takes
it alone, or leaves the folder for later. The system lets go when a process ends, however it does.
Storage without such locks (gs://, some network file systems) is not held; there a reader may find
that what it reads is gone.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from etils import epath

from flan_jax import files


class Hold:
    """A shared lock on a folder, until `release` or the end of the object."""

    def __init__(self, folder: epath.PathLike):
        """Args:
        folder: of the checkpoint.

        Raises:
            FileNotFoundError: it is gone, or is being removed.
        """
        self._handle: int | None = None
        if files.is_remote(folder):
            return
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise FileNotFoundError(f"{folder} is being removed") from None
        except OSError:  # no locks here
            return
        if not _is_still(folder, self._handle):
            self.release()
            raise FileNotFoundError(str(folder))

    def release(self) -> None:
        """Lets go."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        self.release()


def _is_still(folder: epath.PathLike, handle: int) -> bool:
    """Whether a name still stands for what was opened by it."""
    try:
        return os.path.samestat(os.stat(folder), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def alone(folder: epath.PathLike) -> Iterator[bool]:
    """Yields whether nobody holds a folder; while the body runs, nobody can."""
    if files.is_remote(folder):
        yield True
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:  # no locks here
            free = True
        yield free
    finally:
        os.close(handle)
