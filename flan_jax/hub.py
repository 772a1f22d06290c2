"""The hub of published models: whether it answers, and what of it is on this machine.

The hub's client tries for minutes where nothing answers, so that is looked at first.
"""

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Sequence

from flan_jax.errors import CheckpointError, border, quoted


def answers(url: str, seconds: float = 5.0) -> bool:
    """Whether the host of a URL takes connections; behind a proxy that is not asked."""
    parsed = urllib.parse.urlsplit(url)
    if urllib.request.getproxies().get(parsed.scheme):
        return True
    port = parsed.port or (80 if parsed.scheme == "http" else 443)
    try:
        with socket.create_connection((parsed.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False


def cached(name: str, file: str) -> str | None:
    """Returns the folder in which the hub's client keeps a model with this file, or None."""
    import huggingface_hub

    try:
        found = huggingface_hub.try_to_load_from_cache(name, file)
    except ValueError:  # no name that the hub could have
        return None
    return os.path.dirname(found) if isinstance(found, str) else None


def folder(name: str, patterns: Sequence[Sequence[str]], file: str = "config.json") -> str:
    """Returns the folder of a model of the hub, whose files are downloaded where they are missing.

    Args:
        name: such as "google/flan-t5-base".
        patterns: of files, several sets of them: the first that the model has any file of counts.
        file: that the folder has to have.

    Raises:
        CheckpointError: it is not on this machine and cannot be downloaded.
    """
    import huggingface_hub

    endpoint = huggingface_hub.constants.ENDPOINT
    if not answers(endpoint):
        if there := cached(name, file):
            return there
        raise CheckpointError(
            f"model {quoted(name)} is neither a folder here nor kept by the hub's client, and "
            f"{endpoint} does not answer; give the folder of a model"
        )
    with border(f"model {quoted(name)} of {endpoint}", CheckpointError):
        names = huggingface_hub.list_repo_files(name)
        wanted = _matching(names, patterns)
        return str(huggingface_hub.snapshot_download(name, allow_patterns=wanted))


def _matching(names: Sequence[str], patterns: Sequence[Sequence[str]]) -> list[str]:
    """The files at the top of a model that match the first set of patterns that any matches."""
    import fnmatch

    top = [name for name in names if "/" not in name]
    found = [[n for n in top if any(fnmatch.fnmatch(n, p) for p in some)] for some in patterns]
    return next((some for some in found if some), [])
