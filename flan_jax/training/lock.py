"""A lock on MODEL_DIR: two runs that write one directory would destroy each other's work."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator

from flan_jax.errors import CheckpointError


@contextlib.contextmanager
def lock_directory(folder: str) -> Iterator[None]:
    """Holds `folder` for this process; the system lets go of it whatever way the process ends.

    Remote storage has no such locks and is not locked.

    Raises:
        CheckpointError: another process holds it; names the process.
    """
    if "://" in folder:
        yield
        return
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, ".lock")
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CheckpointError(f"{folder} is in use by {_holder(file.read())}") from None
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        facts = json.loads(text)
        return f"process {facts['pid']} on {facts['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
