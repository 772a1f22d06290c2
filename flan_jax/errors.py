"""Errors that are meant for the person at the keyboard.

Every `FlanJaxError` says in one message what is wrong, where (file, field, task or macro) and,
where a name was misspelt, the nearest right one. The command line prints the message alone;
any other exception is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class FlanJaxError(Exception):
    """Base of all errors caused by input rather than by a defect of this package."""


class ConfigError(FlanJaxError):
    """A gin file, macro or command-line argument is wrong."""


class DataError(FlanJaxError):
    """A task file, split file, vocabulary or prepared folder is wrong."""


class CheckpointError(FlanJaxError):
    """A checkpoint directory cannot be used as asked."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Returns up to `count` names of `known` that resemble `name`, nearest first."""
    known = list(known)
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)
    return [by_lower[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"`, or an empty string where nothing is near."""
    names = nearest(name, known)
    return f"; did you mean {' or '.join(repr(n) for n in names)}?" if names else ""
