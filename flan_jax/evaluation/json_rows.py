"""JSON files of elsewhere, read field by field: what is wrong is said with file, line and field."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from etils import epath

from flan_jax.errors import DataError, did_you_mean

_BLANK = re.compile(r"\s*")


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

    def name(self, field: str, default: str | None = None) -> str:
        """Returns a string that can be printed and is not blank; `default` where it is absent."""
        if default is not None and field not in self.object:
            return default
        value = self.text(field)
        if not value.strip() or not _encodable(value):
            self.fail(field, "must be a name, found " + repr(value[:60]))
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """Returns a list of at least one string; a plain string counts as one."""
        value = self.get(field)
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not value:
            self.fail(field, "must be a list of at least one string")
        for item in value:
            if not isinstance(item, str):
                self.fail(field, f"must be a list of strings, found {kind(item)} in it")
        return tuple(value)

    def inner(self, field: str) -> "Fields":
        """Returns the fields of an object within this one."""
        return Fields(f"{self.where}: {field!r}", self.get(field))


def some_fields(obj: Mapping[str, Any]) -> str:
    """Returns the first fields of an object, for messages."""
    names = [repr(str(key)[:40]) for key in list(obj)[:8]]
    return ", ".join(names) + (", ..." if len(obj) > 8 else "") if names else "no fields"


def read_text(file: epath.Path) -> str:
    """Returns the text of a file.

    Raises:
        DataError: it is not there, or no UTF-8 text.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        near = [path.name for path in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"{file} does not exist{did_you_mean(file.name, near)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def load_json(file: epath.Path, text: str) -> Any:
    """Returns the value of a JSON file."""
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{file}: nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}") from None


def first_object(text: str) -> dict[str, Any] | None:
    """Returns the first JSON object of a text, None where it does not begin with one."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text, skip_blanks(text, 0))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_rows(file: epath.Path, text: str) -> Iterator[Fields]:
    """Yields the objects of a JSONL text; blank lines are none."""
    # Not splitlines: JSON may hold U+2028 and the like as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            value = json.loads(line)
        except RecursionError:
            raise DataError(f"{where}: nested too deeply") from None
        except ValueError as error:
            raise DataError(f"{where}: not JSON: {error}") from None
        yield Fields(where, value)


def kind(value: Any) -> str:
    """Returns what a JSON value is, in words."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "an object")


def _encodable(value: str) -> bool:
    """Whether a text could be printed: half a surrogate pair could not."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def skip_blanks(text: str, at: int) -> int:
    """Returns the first position from `at` on that holds no blank."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at
