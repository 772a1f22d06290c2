"""JSON as others wrote it, and JSON as we write it: one reader and one writer for all of it.

Read: whatever is wrong (no JSON, nested too deeply, a number of 5,000 digits, a field of another
kind) is one `DataError` with file, line and field. Written: what RFC 8259 allows and no more. A
number that is not finite is null, and line separators, control characters and halves of surrogate
pairs, which some programs end a line at or cannot encode, are escapes. So a line is a line for
everybody, and what was written is read back as it was.
"""

import collections
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, FlanJaxError, did_you_mean, quoted

_BLANK = re.compile(r"\s*")
# Not what str.splitlines takes for one: JSON may hold U+2028 and the like as they are.
_LINE = re.compile("[^\n]+")
# Characters that JSON allows as they are, and that end a line or cannot be encoded elsewhere.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


def loads(
    text: str | bytes,
    where: object,
    error: type[FlanJaxError] = DataError,
    *,
    strict: bool = False,
) -> Any:
    """Returns the value of a JSON text.

    Args:
        text: of one value; bytes are UTF-8, with or without a byte order mark.
        where: file, and line where it is one of many, for the message.
        error: what to raise.
        strict: refuse what Python reads although it says nothing certain: a key that is there
            twice, NaN and Infinity.

    Raises:
        FlanJaxError: of the kind `error`; it is no JSON.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        if strict:
            return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        return json.loads(text)
    except RecursionError:
        raise error(f"{where}: nested too deeply") from None
    except UnicodeDecodeError as wrong:
        raise error(f"{where}: not UTF-8 text (at byte {wrong.start})") from None
    except ValueError as wrong:  # also an integer of 4,300 digits
        raise error(f"{where}: not JSON: {wrong}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that is there twice would silently lose its first value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = collections.Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {quoted(twice)} is there twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def dumps(value: Any, indent: int | None = None) -> str:
    """Returns a value as JSON text: one line where `indent` is None.

    Numbers that are not finite become null; see the module for characters.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_json(
    path: epath.PathLike, most: int = files.MOST_BYTES, error: type[FlanJaxError] = DataError
) -> Any:
    """Returns the value of a JSON file.

    Raises:
        FlanJaxError: of the kind `error`; see `files.read_text` and `loads`.
    """
    return loads(files.read_text(path, most, error), path, error)


def write_json(path: epath.PathLike, value: Any, indent: int | None = 1) -> None:
    """Writes a JSON file whole or not at all, see `files.replace_bytes`."""
    files.replace_text(path, dumps(value, indent) + "\n")


def read_values(
    path: epath.PathLike, text: str | None = None, most: int = files.MOST_BYTES
) -> Iterator[tuple[str, Any]]:
    """Yields where each line of a file of JSON lines is, and its value; blank lines are none.

    Args:
        path: the file.
        text: its content, where that was read already.
        most: bytes that are read of it.

    Raises:
        DataError: the file cannot be read, or a line is no JSON; names file and line.
    """
    content = files.read_text(path, most) if text is None else text
    number, last = 1, 0
    for found in _LINE.finditer(content):
        number += content.count("\n", last, found.start())
        last = found.start()
        if found[0].strip():
            where = f"{path}, line {number}"
            yield where, loads(found[0], where)


def read_rows(
    path: epath.PathLike, text: str | None = None, most: int = files.MOST_BYTES
) -> Iterator["Fields"]:
    """Yields the objects of a file of JSON lines, see `read_values`.

    Raises:
        DataError: see `read_values`, or a line is no object.
    """
    for where, value in read_values(path, text, most):
        yield Fields(where, value)


def lines(values: Iterable[Any]) -> str:
    """Returns values as JSON lines."""
    return "".join(dumps(value) + "\n" for value in values)


def write_lines(path: epath.PathLike, values: Iterable[Any]) -> None:
    """Writes a file of JSON lines whole or not at all, see `files.replace_bytes`."""
    files.replace_text(path, lines(values))


def append_lines(path: epath.PathLike, values: Iterable[Any]) -> None:
    """Appends JSON lines to a file, which need not be there.

    Raises:
        OutputError: it cannot be written; its last line may be half one.
    """
    text = lines(values)
    with files.writing(path), epath.Path(path).open("ab") as file:
        file.write(text.encode())


class Fields:
    """Fields of a JSON object; every method raises a DataError that says where."""

    def __init__(self, where: str, obj: Any):
        self.where = where
        if not isinstance(obj, dict):
            raise DataError(f"{where} must be an object, found {kind(obj)}")
        self.object = obj

    def fail(self, field: str, wrong: str) -> NoReturn:
        """Raises the error."""
        raise DataError(f"{self.where}: {field!r} {wrong}")

    def get(self, field: str) -> Any:
        """Returns a field that has to be there."""
        if field not in self.object:
            hint = did_you_mean(field, map(str, self.object))
            self.fail(field, f"is missing, there are {some_fields(self.object)}{hint}")
        return self.object[field]

    def text(self, field: str) -> str:
        """Returns a string, maybe an empty one."""
        value = self.get(field)
        if not isinstance(value, str):
            self.fail(field, f"must be a string, found {kind(value)}")
        return value

    def flag(self, field: str, default: bool | None) -> bool | None:
        """Returns true or false; `default` where it is absent or null."""
        value = self.object.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(field, f"must be true or false, found {quoted(value)}")
        return value

    def name(self, field: str, default: str | None = None) -> str:
        """Returns a string that can be printed and is not blank; `default` where it is absent."""
        if default is not None and field not in self.object:
            return default
        value = self.text(field)
        if not value.strip() or not encodable(value):
            self.fail(field, f"must be a name, found {quoted(value)}")
        return value

    def items(self, field: str) -> list[Any]:
        """Returns a list, maybe an empty one."""
        value = self.get(field)
        if not isinstance(value, list):
            self.fail(field, f"must be a list, found {kind(value)}")
        return value

    def optional_name(self, field: str) -> str | None:
        """Returns a string that is not blank, None where it is absent or null."""
        return None if self.object.get(field) is None else self.name(field)

    def texts(self, field: str, least: int = 1) -> tuple[str, ...]:
        """Returns a list of at least `least` strings, 0 or 1; a plain string counts as one."""
        value = self.get(field)
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or len(value) < least:
            self.fail(field, "must be a list of at least one string" if least else "must be a list")
        for item in value:
            if not isinstance(item, str):
                self.fail(field, f"must be a list of strings, found {kind(item)} in it")
        return tuple(value)

    def count(self, field: str, least: int = 0) -> int:
        """Returns a whole number of at least `least`."""
        value = self.get(field)
        if type(value) is not int or value < least:
            self.fail(field, f"must be a whole number from {least} on, found {quoted(value)}")
        return value

    def number(self, field: str) -> float:
        """Returns a finite number."""
        value = self.get(field)
        if type(value) not in (int, float) or abs(value) > 1e300 or not math.isfinite(value):
            self.fail(field, f"must be a finite number, found {quoted(value)}")
        return float(value)

    def inner(self, field: str) -> "Fields":
        """Returns the fields of an object within this one."""
        return Fields(f"{self.where}: {field!r}", self.get(field))

    def optional_inner(self, field: str) -> "Fields":
        """Returns the fields of an object within this one, none where it is absent or null."""
        value = self.object.get(field)
        return Fields(f"{self.where}: {field!r}", {} if value is None else value)


def some_fields(obj: Mapping[str, Any]) -> str:
    """Returns the first fields of an object, for messages."""
    names = [quoted(str(key), 40) for key in list(obj)[:8]]
    return ", ".join(names) + (", ..." if len(obj) > 8 else "") if names else "no fields"


def first_object(text: str) -> dict[str, Any] | None:
    """Returns the first JSON object of a text, None where it does not begin with one."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text, skip_blanks(text, 0))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def kind(value: Any) -> str:
    """Returns what a JSON value is, in words."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a string",
             list: "a list", dict: "an object"}  # fmt: skip
    return kinds.get(type(value), f"a Python {type(value).__name__}")


def encodable(value: str) -> bool:
    """Whether a text could be written as UTF-8: half a surrogate pair could not."""
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def skip_blanks(text: str, at: int) -> int:
    """Returns the first position from `at` on that holds no blank."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at
