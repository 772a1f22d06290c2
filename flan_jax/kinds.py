"""What values may be: each kind knows which values fit, how a person would say so, and how text
of an environment variable is read as one.

Nothing heavy is imported, so that a value is refused before anything slow begins.
"""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from flan_jax.errors import ConfigError, FlanJaxError, did_you_mean, quoted

# Steps and sizes are counted in 32 bits; float32 is what numbers are computed in.
MOST_WHOLE = 2**31 - 1
MOST_NUMBER = 3.4028234e38
# Linux's PATH_MAX and NAME_MAX: beyond them asking whether a file is there raises.
MOST_PATH_BYTES = 4096
MOST_NAME_BYTES = 255
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


class Kind(Protocol):
    """What a value may be."""

    def fits(self, value: Any) -> bool:
        """Whether a value is one of this kind."""

    def words(self, value: Any) -> str:
        """Returns what is expected, for the message that `value` is not it."""

    def read(self, text: str) -> Any:
        """Returns what the text of an environment variable stands for; itself where nothing."""


class _Literal:
    """A kind whose text is itself."""

    def read(self, text: str) -> Any:
        """Returns the text."""
        return text


def require(
    name: str,
    value: Any,
    kind: Kind,
    *,
    none: bool = False,
    error: type[FlanJaxError] = ConfigError,
) -> None:
    """Refuses a value that is not of a kind.

    Args:
        name: what it is the value of: a macro, an option, a field.
        value: the value.
        kind: what it has to be.
        none: whether None will do as well.
        error: what to raise.

    Raises:
        FlanJaxError: of the kind `error`; names the value and what is expected.
    """
    if (none and value is None) or kind.fits(value):
        return
    hint = did_you_mean(value, _names(kind)) if isinstance(value, str) else ""
    either = "None or " if none else ""
    raise error(f"{name} must be {either}{kind.words(value)}, not {quoted(value)}{hint}")


def _names(kind: Kind) -> tuple[str, ...]:
    """Returns the names that a kind offers."""
    kinds = kind.kinds if isinstance(kind, Either) else (kind,)
    return tuple(name for one in kinds if isinstance(one, OneOf) for name in one.names)


def whole_number(
    name: str, value: Any, least: int = 1, *, error: type[FlanJaxError] = ConfigError
) -> None:
    """Refuses what is no whole number of at least `least`; see `require`."""
    require(name, value, Whole(least), error=error)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        least: smallest one that fits.
        most: largest one that fits; what 32 bits hold is told only of a value above it.
    """

    least: int = 1
    most: int = MOST_WHOLE

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return _is_whole(value) and self.least <= value <= self.most

    def words(self, value: Any) -> str:
        """See `Kind`."""
        if self.most != MOST_WHOLE or (_is_whole(value) and value > self.most):
            return f"a whole number from {self.least} to {self.most:,}"
        return "a whole number above 0" if self.least == 1 else f"a whole number from {self.least}"

    def read(self, text: str) -> Any:
        """See `Kind`."""
        stripped = text.strip()
        plain = stripped.isascii() and stripped.isdecimal() and len(stripped) < 400
        return int(stripped) if plain else text


# Seeds go to generators that take 32 bits.
SEED = Whole(0, 2**32 - 1)


@dataclasses.dataclass(frozen=True)
class Number:
    """A number that float32 can hold.

    Attributes:
        low: least value.
        high: largest value.
        above: whether `low` itself is too small.
        below: whether `high` itself is too large.
    """

    low: float = -MOST_NUMBER
    high: float = MOST_NUMBER
    above: bool = False
    below: bool = False

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        # A whole number of 400 digits compares with a float, but is not made one.
        inside = self.low <= value <= self.high and -MOST_NUMBER <= value <= MOST_NUMBER
        return inside and not (
            (self.above and value == self.low) or (self.below and value == self.high)
        )

    def words(self, value: Any) -> str:
        """See `Kind`."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        finite = not isinstance(value, float) or math.isfinite(value)
        noun = "a number" if finite else "a finite number"
        low = "" if self.low <= -MOST_NUMBER else f" {'above' if self.above else 'from'} {self.low}"
        high = "" if self.high >= MOST_NUMBER else f" {'below' if self.below else 'to'} {self.high}"
        joint = " and" if low and high and (self.above or self.below) else ""
        large = number and finite and not -MOST_NUMBER <= value <= MOST_NUMBER
        return f"{noun}{low}{joint}{high}{' that float32 can hold' if large else ''}"

    def read(self, text: str) -> Any:
        """See `Kind`."""
        try:
            return float(text) if len(text) < 400 else text
        except ValueError:
            return text


@dataclasses.dataclass(frozen=True)
class YesNo:
    """True or False."""

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, bool)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return "True or False"

    def read(self, text: str) -> Any:
        """See `Kind`."""
        return _TRUTHS.get(text.strip().lower(), text)


@dataclasses.dataclass(frozen=True)
class OneOf(_Literal):
    """One of a few names."""

    names: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, str) and value in self.names

    def words(self, value: Any) -> str:
        """See `Kind`."""
        *first, last = map(repr, self.names)
        return f"{', '.join(first)} or {last}" if first else last


def is_text(value: Any) -> bool:
    """Whether a value is text that the system takes: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _text_words(value: Any, what: str) -> str:
    if isinstance(value, str) and "\0" in value:
        return f"{what} without NUL"
    return f"{what} of Unicode characters" if isinstance(value, str) and value else what


@dataclasses.dataclass(frozen=True)
class Text(_Literal):
    """Text, not empty."""

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return is_text(value) and bool(value)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return _text_words(value, "text")


@dataclasses.dataclass(frozen=True)
class Pattern(Text):
    """A regular expression for names, such as ".*/attention/.*".

    It may be a checkpoint's, and so anybody's: only single characters repeat, and at most `_MOST`
    parts of it do without end, so that a name is matched or not in a moment.
    """

    _MOST: ClassVar[int] = 4
    _SINGLE: ClassVar[tuple[str, ...]] = ("LITERAL", "NOT_LITERAL", "ANY", "IN")

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if not super().fits(value) or len(value) > 1000:
            return False
        try:
            re.compile(value)
            return self._unbounded(re._parser.parse(value)) <= self._MOST  # type: ignore[attr-defined]
        except (re.error, ValueError, OverflowError, RecursionError):
            return False

    def _unbounded(self, tree: Any) -> int:
        """Parts that repeat without end; ValueError where what repeats is no single character."""
        count = 0
        for what, argument in tree:
            if "REPEAT" in str(what):
                _, most, repeated = argument
                if most > 1 and any(str(kind) not in self._SINGLE for kind, _ in repeated):
                    raise ValueError
                count += (most > 1) + self._unbounded(repeated)
            else:
                count += sum(self._unbounded(part) for part in _trees(argument))
        return count

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return (
            "a regular expression in which only single characters repeat, in at most "
            f"{self._MOST} places"
        )


def _trees(argument: Any) -> Iterator[Any]:
    """Yields the parts of a regular expression within an argument of one of them."""
    if isinstance(argument, re._parser.SubPattern):  # type: ignore[attr-defined]
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _trees(part)


@dataclasses.dataclass(frozen=True)
class Place(_Literal):
    """A path, or the name of a place that may be one, such as 'default' for a vocabulary."""

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if not is_text(value) or not 0 < len(os.fsencode(value)) <= MOST_PATH_BYTES:
            return False
        names = value.split("/") if "://" not in value else []  # remote storage has its own rules
        return all(len(os.fsencode(name)) <= MOST_NAME_BYTES for name in names)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        if is_text(value) and len(os.fsencode(value)) <= MOST_PATH_BYTES and value:
            return f"a path with names of at most {MOST_NAME_BYTES} bytes"
        if is_text(value) and value:
            return f"a path of at most {MOST_PATH_BYTES:,} bytes"
        return _text_words(value, "a path")


@dataclasses.dataclass(frozen=True)
class Names:
    """Names in a list, or one alone.

    Attributes:
        alone: whether a name need not be in a list.
        each: what a name is, for the message.
    """

    alone: bool = True
    each: str = "names"

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if isinstance(value, list | tuple):
            return all(is_text(name) and name for name in value)
        return self.alone and is_text(value) and bool(value)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return f"a list of {self.each}" if not self.alone else f"one or a list of {self.each}"

    def read(self, text: str) -> Any:
        """See `Kind`; whoever uses it knows what separates names."""
        return text


@dataclasses.dataclass(frozen=True)
class Wholes:
    """Whole numbers in a list; as text with commas between them."""

    least: int = 1
    alone: bool = False

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if self.alone and not isinstance(value, list | tuple):
            value = [value]
        return isinstance(value, list | tuple) and all(map(Whole(self.least).fits, value))

    def words(self, value: Any) -> str:
        """See `Kind`."""
        one = Whole(self.least).words(None)
        if self.alone:
            return f"{one}, or several with commas between them"
        return f"a list of whole numbers {one.removeprefix('a whole number ')}"

    def read(self, text: str) -> Any:
        """See `Kind`; brackets and quotes, as a list in gin has them, are passed over."""
        words = [word.strip(" \t\n'\"") for word in text.strip(" ()[]").split(",") if word.strip()]
        read = [Whole().read(word) for word in words]
        return tuple(read) if all(_is_whole(number) for number in read) else text


@dataclasses.dataclass(frozen=True)
class Table(_Literal):
    """A mapping of names.

    Attributes:
        to: kind of what they are mapped to.
        example: for the message, what such a mapping is.
        names: names that have to be there, and no others; any where empty.
    """

    to: Kind
    example: str
    names: tuple[str, ...] = ()

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        if not isinstance(value, Mapping) or (self.names and set(value) != set(self.names)):
            return False
        return all(map(is_text, value)) and all(map(self.to.fits, value.values()))

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return self.example


@dataclasses.dataclass(frozen=True)
class Either:
    """Any of several kinds; the first one that fits a text reads it."""

    kinds: tuple[Kind, ...]

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return any(kind.fits(value) for kind in self.kinds)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return " or ".join(kind.words(value) for kind in self.kinds)

    def read(self, text: str) -> Any:
        """See `Kind`."""
        for kind in self.kinds:
            if kind.fits(read := kind.read(text)):
                return read
        return text


@dataclasses.dataclass(frozen=True)
class Checked(_Literal):
    """What a function says."""

    test: Callable[[Any], bool]
    expected: str

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return self.test(value)

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return self.expected


def first_and_last(value: Any) -> tuple[int, int] | None:
    """Returns a and b of `a:b`, whole numbers above 0 that do not fall; None of anything else."""
    first, colon, last = value.partition(":") if isinstance(value, str) else ("", "", "")
    numbers = [Whole().read(first), Whole().read(last)]
    if not colon or not all(map(Whole().fits, numbers)) or numbers[0] > numbers[1]:
        return None
    return numbers[0], numbers[1]


def is_list_of_calls(value: Any) -> bool:
    """Whether a value is a list, whatever objects are in it, but no plain values."""
    plain = str | int | float | bool | None | Mapping | Sequence
    return isinstance(value, list | tuple) and not any(isinstance(one, plain) for one in value)
