"""Errors that are meant for the person at the keyboard.

Every `FlanJaxError` says in one message what is wrong, where (file, field, task or macro) and,
where a name was misspelt, the nearest right one. The command line prints the message alone;
any other exception is a bug and keeps its traceback.

A message may quote what somebody else wrote, so it is made printable as it is raised: no control
character reaches a terminal, and none is longer than a screen or two. `border` is where foreign
input comes in: whatever goes wrong while it is read becomes one such error.
"""

import contextlib
import difflib
import itertools
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

# Characters of a message, and of one quoted value.
MOST = 2000
MOST_QUOTED = 80
# Nobody's name is longer, and comparing names takes quadratic time.
_LONGEST_NAME = 200
# Names that a misspelt one is looked for among, and those that are compared letter by letter.
_MOST_KNOWN, _MOST_COMPARED = 50_000, 2000
# Control, format (they reorder text), surrogate, line and paragraph separators.
_UNPRINTABLE = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])


def printable(text: str) -> str:
    """Returns a text with all that could steer a terminal written as escapes.

    Line ends and tabs stay.

    Zero-width joiners, which belong to letters and emoji, stay as well.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t\u200c\u200d" or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape").decode("ascii")


def quoted(value: Any, most: int = MOST_QUOTED) -> str:
    """Returns a value of elsewhere as one line of a message: its `repr`, cut to `most` characters.

    It costs no more than what is shown, whatever the value is.
    """
    if isinstance(value, str | bytes):
        text = repr(value[:most])
        return f"{text}..." if len(value) > most else text
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):  # Python refuses to print 5,000 digits
        return repr(value) if value.bit_length() < 3 * most else "a number of very many digits"
    if isinstance(value, dict | list | tuple | set | frozenset):
        kind = "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
        if len(value) > 8 or any(isinstance(item, dict | list | tuple) for item in value):
            return f"{kind} of {len(value):,} items"
        if isinstance(value, dict):
            pairs = (f"{quoted(key, 20)}: {quoted(item, 20)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        return "[" + ", ".join(quoted(item, 20) for item in value) + "]"
    text = repr(value)
    return text if len(text) <= most else text[:most] + "..."


class FlanJaxError(Exception):
    """Base of all errors caused by input rather than by a defect of this package.

    The message is made printable and cut to `most` characters, beginning and end kept.
    """

    def __init__(self, message: str = "", *, most: int = MOST):
        message = str(message)
        if len(message) > most:
            half = (most - 20) // 2
            message = f"{message[:half]} [...] {message[-half:]}"
        message = printable(message)
        if len(message) > most:  # escapes are longer than what they stand for
            message = f"{message[: most - 6]} [...]"
        super().__init__(message)


class ConfigError(FlanJaxError):
    """A gin file, macro or command-line argument is wrong."""


class DataError(FlanJaxError):
    """A task file, split file, vocabulary or prepared folder is wrong."""


class CheckpointError(FlanJaxError):
    """A checkpoint directory cannot be used as asked."""


class OutputError(FlanJaxError):
    """A file or folder cannot be written: a full disk, no permission, another kind of path."""


def first_line(error: BaseException) -> str:
    """Returns what an exception says, in one line that fits in a message."""
    lines = [line.strip() for line in str(error).strip()[:4000].splitlines() if line.strip()]
    return " ".join(lines[:3])[:300] or type(error).__name__


@contextlib.contextmanager
def border(where: str, error: type[FlanJaxError] = DataError) -> Iterator[None]:
    """Turns whatever goes wrong while foreign input is read into an error that says where.

    Libraries that parse what others wrote raise anything (OverflowError for 10**400,
    RecursionError for deep nesting, csv.Error, struct.error), and that input is bad is all that
    there is to say. Errors that are meant for people pass as they are.

    Args:
        where: file, line and field, as far as they are known.
        error: what to raise.
    """
    try:
        yield
    except FlanJaxError:
        raise
    except RecursionError:
        raise error(f"{where}: nested too deeply") from None
    except MemoryError:
        raise error(f"{where}: too large for this machine's memory") from None
    except UnicodeDecodeError as wrong:
        raise error(f"{where}: not UTF-8 text (at byte {wrong.start})") from None
    except OSError as wrong:
        raise error(f"{where}: {wrong.strerror or first_line(wrong)}") from wrong
    except BaseException as wrong:
        if not (isinstance(wrong, Exception) or is_panic(wrong)):
            raise
        raise error(f"{where}: {first_line(wrong)}") from wrong


@contextlib.contextmanager
def within(where: str) -> Iterator[None]:
    """Puts where it happened before the message of an error that is meant for people.

    Args:
        where: file, task or field, as far as the body does not know them.
    """
    try:
        yield
    except FlanJaxError as error:
        raise type(error)(f"{where}: {error}") from None


def is_panic(error: BaseException) -> bool:
    """Whether this is how libraries written in Rust say that an assertion of theirs failed.

    It is no `Exception`, so that nobody hides it by accident.
    """
    return type(error).__name__ == "PanicException"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Returns up to `count` names of `known` that resemble `name`, nearest first.

    Whatever `known` holds, this takes a second at most: it is for a message.
    """
    if len(name) > _LONGEST_NAME:
        return []
    short = (one for one in itertools.islice(known, _MOST_KNOWN) if len(one) <= _LONGEST_NAME)
    by_lower = {candidate.lower(): candidate for candidate in short}
    name, candidates = name.lower(), list(by_lower)
    if len(candidates) > _MOST_COMPARED:
        parts = _pairs(name)
        shared = {one: len(parts & _pairs(one)) for one in candidates}
        candidates = sorted(candidates, key=lambda one: -shared[one])[:_MOST_COMPARED]
    matches = difflib.get_close_matches(name, candidates, n=count, cutoff=0.6)
    return [by_lower[match] for match in matches]


def _pairs(name: str) -> set[str]:
    return {name[i : i + 2] for i in range(len(name) - 1)}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"`, or an empty string where nothing is near."""
    names = nearest(name, known)
    return f"; did you mean {' or '.join(repr(n) for n in names)}?" if names else ""
