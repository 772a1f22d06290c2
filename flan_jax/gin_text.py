"""Gin text as statements and macros, without resolving a reference or importing a module.

Text of any origin is read here before gin itself sees it. Both parsers recurse and join strings
one by one, so what would cost them more than a moment is refused before it is parsed: text that is
too long, too deep, numbers of very many digits. The same holds for macros that multiply when
they are put in place of each other.
"""

import contextlib
import dataclasses
import functools
import io
import math
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flan_jax.errors import ConfigError, first_line, quoted

# Characters of a file with all that it includes; the longest of this package has 8,000.
MOST_TEXT = 1 << 17
# Brackets inside brackets; macros in place of macros.
DEEPEST = 40
# Values and characters that a macro may stand for.
MOST_VALUES = 1 << 18
_DIGITS = 400
_NEIGHBOURS = 200


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a composed configuration.

    Attributes:
        origin: file it comes from, or "the command line".
        text: gin text without include statements.
    """

    origin: str
    text: str


class Reference(str):
    """A reference to a configurable (`@f()`) or macro (`%NAME`), as it is written in gin."""

    def __repr__(self) -> str:
        return str(self)


class _Symbols:
    """Reads references and macros as what they are written as; nothing is resolved."""

    def configurable_reference(self, name: str, evaluate: bool) -> Reference:
        return Reference(f"@{name}" + "()" * evaluate)

    def macro(self, name: str) -> Reference:
        return Reference(f"%{name}")


def _refuse_costly(text: str) -> None:
    """Reads tokens alone, in linear time.

    Raises:
        ConfigError: parsing them would not be linear, or recurse too deeply.
    """
    if len(text) > MOST_TEXT:
        raise ConfigError(f"more than {MOST_TEXT:,} characters, with all that is included")
    depth = neighbours = 0
    for token in _tokens(text):
        here = f"(line {token.start[0]})"
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if depth > DEEPEST:
            raise ConfigError(f"brackets are nested more than {DEEPEST} deep {here}")
        if token.type == tokenize.NUMBER and len(token.string) > _DIGITS:
            raise ConfigError(f"a number of more than {_DIGITS} digits {here}")
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            neighbours = neighbours + 1 if token.type == tokenize.STRING else 0
        if neighbours > _NEIGHBOURS:
            raise ConfigError(f"more than {_NEIGHBOURS} strings side by side {here}")


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    """Yields tokens up to where there are none; the parser comes to that place, too."""
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        yield from tokenize.generate_tokens(io.StringIO(text).readline)


def _refuse_numbers(value: Any) -> None:
    """Refuses numbers that could not be written down as text and read back.

    Raises:
        ConfigError: there is one.
    """
    if isinstance(value, dict):
        _refuse_numbers([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_numbers(item)
    elif isinstance(value, int) and value.bit_length() > 1024:
        raise ConfigError(f"{quoted(value)} is larger than any that can be computed with")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{value} is no finite number")


def _parser(text: str) -> Any:
    from gin import config_parser

    _refuse_costly(text)
    return config_parser.ConfigParser(io.StringIO(text), _Symbols())


@functools.lru_cache(maxsize=64)
def statements(part: Part) -> tuple[Any, ...]:
    """Returns gin's parsed statements.

    Raises:
        ConfigError: it is no gin; names the origin, and the line where there is one.
    """
    try:
        found = tuple(_parser(part.text))
    except (SyntaxError, ValueError, EOFError, ConfigError) as error:
        raise ConfigError(f"{part.origin}: {first_line(error)}") from None
    except tokenize.TokenError as error:
        message, place = error.args
        raise ConfigError(f"{part.origin}: not gin: {message} (line {place[0]})") from None
    except Exception as error:
        raise ConfigError(f"{part.origin}: not gin: {first_line(error)}") from None
    for statement in found:
        line = statement.location.line_num
        if hasattr(statement, "filename"):
            raise ConfigError(
                f"{part.origin}: an include has a line of its own, include 'FILE' (line {line})"
            )
        try:
            _refuse_numbers(getattr(statement, "value", None))
        except ConfigError as error:
            name = statement.selector if not statement.arg_name else statement.arg_name
            raise ConfigError(f"{part.origin}: {name}: {error} (line {line})") from None
    return found


UNPARSABLE = object()


def parse_value(raw: str) -> Any:
    """Returns the value of gin text, or UNPARSABLE unless all of it is one value."""
    try:
        parser = _parser(raw)
        value = parser.parse_value()
        rest = {parser._current_token.type, *(token.type for token in parser._token_generator)}
    except Exception:
        return UNPARSABLE
    ends = rest <= {tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER}
    return value if ends else UNPARSABLE


def macros(parts: Iterable[Part]) -> dict[str, Any]:
    """Returns the value each macro ends with; references stay what they are, see `Reference`."""
    return {name: value for name, (value, _) in origins(parts).items()}


def origins(parts: Iterable[Part]) -> dict[str, tuple[Any, str]]:
    """Returns the value each macro ends with, and the origin of the part that sets it."""
    found = {}
    for part in parts:
        for statement in statements(part):
            if hasattr(statement, "selector") and not getattr(statement, "arg_name", "x"):
                found[statement.selector] = (getattr(statement, "value", None), part.origin)
    return found


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns macros with references to other macros of `values` replaced by their values.

    A macro that several others name is one object in all of them, and none is made that would be
    larger than `MOST_VALUES`.

    Raises:
        ConfigError: a macro refers to itself, or grows too large or too deep.
    """
    resolver = _Resolver(values)
    return {name: resolver.macro(name)[0] for name in values}


class _Resolver:
    """Puts macros in place of references, each once."""

    def __init__(self, values: Mapping[str, Any]):
        self._values = values
        self._done: dict[str, tuple[Any, int, int]] = {}
        self._waiting: list[str] = []
        self._level = 0

    def macro(self, name: str) -> tuple[Any, int, int]:
        """Returns a macro's value, how many values and characters are in it, and how deep."""
        if name in self._done:
            return self._done[name]
        if name in self._waiting:
            raise ConfigError(f"macro {name} refers to itself")
        if len(self._waiting) > DEEPEST:
            raise ConfigError(f"macro {self._waiting[0]} refers to more than {DEEPEST} in a row")
        self._waiting.append(name)
        value, size, depth = self._value(self._values[name])
        self._waiting.pop()
        if size > MOST_VALUES:
            raise ConfigError(f"macro {name} stands for more than {MOST_VALUES:,} values")
        if depth > 2 * DEEPEST:
            raise ConfigError(f"macro {name} is nested more than {2 * DEEPEST} deep")
        self._done[name] = (value, size, depth)
        return self._done[name]

    def _value(self, value: Any) -> tuple[Any, int, int]:
        if isinstance(value, Reference) and value[0] == "%" and value[1:] in self._values:
            return self.macro(value[1:])
        if isinstance(value, dict):
            items, size, depth = self._all(value.values())
            return dict(zip(value, items, strict=True)), size + len(value), depth
        if isinstance(value, list | tuple):
            items, size, depth = self._all(value)
            return type(value)(items), size, depth
        return value, 1 + (len(value) if isinstance(value, str | bytes) else 0), 0

    def _all(self, values: Iterable[Any]) -> tuple[list[Any], int, int]:
        self._level += 1
        if self._level > 2 * DEEPEST:
            raise ConfigError(f"macro {self._waiting[0]} is nested more than {2 * DEEPEST} deep")
        found = [self._value(value) for value in values]
        self._level -= 1
        return (
            [value for value, _, _ in found],
            1 + sum(size for _, size, _ in found),
            1 + max((depth for *_, depth in found), default=0),
        )


def references(value: Any, sign: str) -> Iterator[str]:
    """Yields the macros ("%") or configurables ("@") that a value refers to, without the sign."""
    if isinstance(value, Reference):
        if value[0] == sign:
            yield value[1:]
    elif isinstance(value, dict):
        yield from references([*value.keys(), *value.values()], sign)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item, sign)
