"""Settings of a run as data: what a checkpoint holds of the configuration it was made with.

Settings are names and literals, as JSON; nothing in them is code, and nothing in them names a
place. A value is null, true or false, a number, a string, a list of values, or an object that says
what JSON has no word for:

    {"tuple": [...]}   {"dict": [[key, value], ...]}
    {"macro": "NAME"}   {"configurable": "models.T5Config", "call": true}

Checkpoints of before there was this format hold gin text. Of that only `NAME = value` is read, a
value being one of the above; imports, includes, scopes and bindings of parameters are refused.
"""

import ast
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from flan_jax import macros
from flan_jax.config import Reference
from flan_jax.errors import CheckpointError, ConfigError, border, quoted

FORMAT = 1
FORMAT_FIELD, FIELD, LEFT_OUT_FIELD, OLD_FIELD = "settings_format", "settings", "left_out", "macros"
MODULE = "MIXTURE_OR_TASK_MODULE"
VOCABULARY = "VOCABULARY"
# Settings of which the machine, or what was done on it, is the reason: places, reports, hooks.
# A checkpoint neither holds them nor hands them on.
LOCAL = frozenset(macros.LOCAL)
# Those of them that prompts depend on: whoever evaluates may need them.
SHAPING = frozenset(
    ["SUPER_NI_DIR", "NI_V1_DIR", "BBH_DIR", "BIGBENCH_DIR", "PROMPTSOURCE_DIR", "P3_DATA_DIR",
     "SUPER_NI_TASKS", "FLAN_TEMPLATES", VOCABULARY]
)  # fmt: skip
# Vocabularies that are names; any other is a place.
VOCABULARY_NAMES = ("default", "byte")
_MIXTURES = ("MIXTURE_OR_TASK_NAME", "VALIDATION_MIXTURES", "CANDIDATES", "TARGETS")
_SELECTED = "selected:"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONFIGURABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_STATEMENTS = frozenset(["import", "from", "include"])
_FAMILY = re.compile(r"\w{1,50}", re.ASCII)
# More than any run has; what expands to more is a bomb.
_MOST_SETTINGS = 2000
_MOST_VALUES = 20_000
_LONGEST_TEXT = 1 << 18
_DEEPEST = 20
_LARGEST = 2**63
_CONSTANTS = {"None": None, "True": True, "False": False}


class _NoDataError(Exception):
    """What is wrong with a value, without its place."""


def encode(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a checkpoint says of settings, as JSON.

    Local ones are left out, and so are values that are not data; the names of those that
    somebody may miss are in `left_out`.

    Args:
        settings: the macros of a configuration, see `config.macros`.

    Raises:
        ConfigError: they are more, or nested more deeply, than can be read again.
    """
    kept, local = split(settings)
    stored, left_out = {}, {name for name in local if name in SHAPING}
    for name, value in kept.items():
        if value == "%gin.REQUIRED" and isinstance(value, Reference):
            continue
        try:
            stored[name] = _encoded(value, 0)
        except _NoDataError:
            left_out.add(name)
    said = {FORMAT_FIELD: FORMAT, FIELD: stored, LEFT_OUT_FIELD: sorted(left_out)}
    try:
        decode(said, "settings")
    except CheckpointError as error:
        raise ConfigError(f"a checkpoint cannot hold these settings: {error}") from None
    return said


def decode(run: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns the settings that the JSON of a checkpoint holds, references as `Reference`.

    Args:
        run: the object, with settings of either format.
        where: whose they are, for messages.

    Raises:
        CheckpointError: they are not data, or are of a newer format.
    """
    if FIELD not in run and OLD_FIELD in run:
        return _checked(_parse(run[OLD_FIELD], where), where)
    number, stored = run.get(FORMAT_FIELD), run.get(FIELD)
    if type(number) is int and number > FORMAT:
        raise CheckpointError(
            f"{where}: settings of format {quoted(number)}, and this version knows {FORMAT}: "
            "it was written by a newer version"
        )
    if number != FORMAT or not isinstance(stored, dict):
        raise CheckpointError(f"{where}: no settings of format {FORMAT}")
    if _is_large(stored):
        raise CheckpointError(f"{where}: settings of more than {_MOST_VALUES:,} values")
    settings = {}
    for name, value in stored.items():
        try:
            settings[_checked_name(name)] = _decoded(value, 0)
        except _NoDataError as wrong:
            raise CheckpointError(f"{where}: setting {quoted(name)} {wrong}") from None
    return _checked(settings, where)


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the settings that a checkpoint hands on, and those that are local and given."""
    kept, local = {}, {}
    for name, value in settings.items():
        if _is_local(name, value):
            local[name] = value
        elif name not in LOCAL:
            kept[name] = value
    return kept, local


def _is_local(name: str, value: Any) -> bool:
    if value in (None, "", ()):
        return False
    if name == VOCABULARY:
        return value not in VOCABULARY_NAMES
    if name in _MIXTURES:
        return any(text.startswith(_SELECTED) for text in _texts(value))
    return name in LOCAL


def _texts(value: Any) -> Iterator[str]:
    """Yields the strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def as_gin(settings: Mapping[str, Any]) -> str:
    """Returns gin text of nothing but `NAME = value`, for settings that `decode` returned."""
    return "".join(f"{name} = {ascii(value)}\n" for name, value in settings.items())


def modules_of(settings: Mapping[str, Any], where: str) -> list[str]:
    """Returns the task modules that settings name.

    Raises:
        CheckpointError: they are no names of modules.
    """
    value = settings.get(MODULE)
    names = list(value) if isinstance(value, list | tuple) else [value] if value else []
    if not all(isinstance(name, str) and not isinstance(name, Reference) for name in names):
        raise CheckpointError(f"{where}: {MODULE} is no name of a module: {quoted(value)}")
    return names


def check_configurables(
    settings: Mapping[str, Any], where: str, families: Collection[str] = ()
) -> None:
    """Refuses references to anything but the configurables of this package.

    Those have to be registered by now.

    Args:
        settings: what a checkpoint says.
        where: the checkpoint, for the message.
        families: model families that the user's own modules made known by now.

    Raises:
        CheckpointError: names setting and reference.
    """
    import gin

    for name, value in settings.items():
        for reference in _references(value):
            if reference[0] == "%":
                continue
            try:
                owner = gin.get_configurable(reference[1:].removesuffix("()")).__module__
            except (ValueError, KeyError):  # none, or several
                owner = ""
            own_family = reference[1:].removesuffix("()").rpartition(".")[2] in families
            if not owner.startswith("flan_jax.") and not own_family:
                raise CheckpointError(
                    f"{where}: setting {name} refers to {quoted(str(reference))}, which is not of "
                    f"this package; a checkpoint may name nothing else (give --gin.{name}=...)"
                )


def _references(value: Any) -> Iterator[Reference]:
    return (text for text in _texts(value) if isinstance(text, Reference))


# To JSON and back.


def _encoded(value: Any, depth: int) -> Any:
    if isinstance(value, Reference):
        return _encoded_reference(value)
    if isinstance(value, str | bool | int | float) or value is None:
        return _scalar(value)
    if depth == _DEEPEST:
        raise _NoDataError("is nested too deeply")
    if isinstance(value, list | tuple):
        items = [_encoded(item, depth + 1) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        pairs = [(_checked_key(key), item) for key, item in value.items()]
        return {"dict": [[_encoded(k, depth + 1), _encoded(v, depth + 1)] for k, v in pairs]}
    raise _NoDataError(f"is {quoted(value)}, which is not data")


def _encoded_reference(value: Reference) -> dict[str, Any]:
    kind, name, called = value[0], value[1:].removesuffix("()"), value.endswith("()")
    if kind == "%" and _NAME.fullmatch(name):
        return {"macro": name}
    if kind == "@" and _CONFIGURABLE.fullmatch(name):
        return {"configurable": name, "call": called}
    raise _NoDataError(f"is {quoted(str(value))}, which is not data")


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LARGEST:
        raise _NoDataError(f"is {quoted(value)}, which is out of range")
    if isinstance(value, float) and not math.isfinite(value):
        raise _NoDataError(f"is {quoted(value)}, and must be finite")
    return value


def _decoded(value: Any, depth: int) -> Any:
    if isinstance(value, str | bool | int | float) or value is None:
        return _scalar(value)
    if depth == _DEEPEST:
        raise _NoDataError("is nested too deeply")
    if isinstance(value, list):
        return [_decoded(item, depth + 1) for item in value]
    keys = sorted(map(str, value))
    if keys == ["tuple"] and isinstance(value["tuple"], list):
        return tuple(_decoded(item, depth + 1) for item in value["tuple"])
    if keys == ["dict"] and isinstance(value["dict"], list):
        return _decoded_dict(value["dict"], depth)
    if keys == ["macro"] and isinstance(value["macro"], str):
        return Reference(f"%{_checked_name(value['macro'])}")
    if keys == ["call", "configurable"] and isinstance(value["call"], bool):
        name = value["configurable"]
        if isinstance(name, str) and _CONFIGURABLE.fullmatch(name):
            return Reference(f"@{name}" + "()" * value["call"])
    raise _NoDataError(f"is {quoted(value)}, which is not data")


def _is_large(value: Any) -> bool:
    """Whether JSON holds more values than are read, at the cost of no more than those."""
    waiting, count = [value], 0
    while waiting and count <= _MOST_VALUES:
        one = waiting.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += 1 + len(inner)
        waiting.extend(itertools.islice(inner, _MOST_VALUES))
    return count > _MOST_VALUES


def _decoded_dict(pairs: list[Any], depth: int) -> dict[Any, Any]:
    found = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _NoDataError("holds a dictionary whose items are no pairs")
        key = _checked_key(_decoded(pair[0], depth + 1))
        found[key] = _decoded(pair[1], depth + 1)
    return found


def _checked_key(key: Any) -> Any:
    if not isinstance(key, str | bool | int | float) or isinstance(key, Reference):
        raise _NoDataError("holds a dictionary whose keys are no strings or numbers")
    return key


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or name in _STATEMENTS:
        raise _NoDataError(f"names {quoted(name)}, which is no name of a setting")
    return name


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Refuses what is data and yet does harm where it is used."""
    family = settings.get("MODEL_FAMILY")
    if family is not None and not (isinstance(family, str) and _FAMILY.fullmatch(family)):
        # It is the name of a file of bindings.
        raise CheckpointError(f"{where}: setting MODEL_FAMILY is {quoted(family)}, and no family")
    sizes: dict[str, int] = {}
    if sum(_size(name, settings, sizes, 0, where) for name in settings) > _MOST_VALUES:
        raise CheckpointError(f"{where}: settings of more than {_MOST_VALUES:,} values")
    return settings


def _size(
    name: str, settings: Mapping[str, Any], sizes: dict[str, int], depth: int, where: str
) -> int:
    """Returns how many values a setting has once its macros are put in place."""
    if name not in sizes:
        if depth > _DEEPEST:
            raise CheckpointError(f"{where}: setting {name} refers to itself, or through too many")
        total = 0
        for value in _leaves(settings.get(name)):
            inner = isinstance(value, Reference) and value[0] == "%" and value[1:] in settings
            total += _size(value[1:], settings, sizes, depth + 1, where) if inner else 1
            if total > _MOST_VALUES:
                raise CheckpointError(f"{where}: setting {name} expands to too many values")
        sizes[name] = total
    return sizes[name]


def _leaves(value: Any) -> Iterator[Any]:
    """Yields the values in a value; an empty or a nested one counts as one more."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        yield None
        for item in value:
            yield from _leaves(item)
    else:
        yield value


# The text of before.


def _parse(text: Any, where: str) -> dict[str, Any]:
    """Returns the settings of the text that older versions wrote: lines of `NAME = value`."""
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise CheckpointError(f"{where}: settings are no text of {_LONGEST_TEXT:,} characters")
    settings: dict[str, Any] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, equals, rest = line.partition("=")
        place = f"{where}: line {number} of its settings"
        name = name.strip()
        if not equals or not _NAME.fullmatch(name) or len(settings) == _MOST_SETTINGS:
            raise CheckpointError(
                f"{place} is {quoted(line)}, and nothing but NAME = value is read of a checkpoint"
            )
        with border(f"{place}, {quoted(line)}", CheckpointError):
            settings[_checked_name(name)] = _Reader(rest).whole()
    return settings


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
      | (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)
      | (?P<constant>None|True|False)
      | (?P<macro>%[A-Za-z_][A-Za-z0-9_]*)
      | (?P<configurable>@[A-Za-z_][A-Za-z0-9_.]*(?:\(\))?)
      | (?P<sign>[][(){},:])
    )""",
    re.VERBOSE | re.ASCII,
)
_END = re.compile(r"\s*\Z")


class _Reader:
    """Reads one value: literals, `%MACRO`, `@configurable` and `@configurable()`."""

    def __init__(self, text: str):
        self._text = text
        self._at = 0
        self._kind = self._token = ""
        self._next()

    def _next(self) -> None:
        if _END.match(self._text, self._at):
            self._kind, self._token = "end", "the end"
            return
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            raise _NoDataError("is no literal and no reference")
        self._at, self._kind, self._token = found.end(), found.lastgroup, found[found.lastgroup]

    def whole(self) -> Any:
        """Returns the value, which has to be all there is."""
        value = self._value(0)
        if self._kind != "end":
            raise _NoDataError("is no literal and no reference")
        return value

    def _value(self, depth: int) -> Any:
        kind, token = self._kind, self._token
        if kind == "sign" and token in "([{" and depth < _DEEPEST:
            return self._container(token, depth)
        self._next()
        if kind == "string":
            return ast.literal_eval(token)
        if kind == "number":
            return _scalar(int(token) if token.lstrip("+-").isdecimal() else float(token))
        if kind == "constant":
            return _CONSTANTS[token]
        if kind in ("macro", "configurable"):
            return _decoded(_encoded_reference(Reference(token)), 0)
        raise _NoDataError("is no literal and no reference")

    def _container(self, opening: str, depth: int) -> Any:
        closing = {"(": ")", "[": "]", "{": "}"}[opening]
        items, pairs, comma = [], {}, False
        self._next()
        while self._token != closing or self._kind != "sign":
            item = self._value(depth + 1)
            if opening == "{":
                self._take(":")
                pairs[_checked_key(item)] = self._value(depth + 1)
            items.append(item)
            comma = self._kind == "sign" and self._token == ","
            if comma:
                self._next()
            elif self._kind != "sign" or self._token != closing:
                raise _NoDataError("is no literal and no reference")
        self._next()
        if opening == "{":
            return pairs
        if opening == "(" and len(items) == 1 and not comma:
            return items[0]
        return tuple(items) if opening == "(" else items

    def _take(self, sign: str) -> None:
        if self._kind != "sign" or self._token != sign:
            raise _NoDataError("is no literal and no reference")
        self._next()
