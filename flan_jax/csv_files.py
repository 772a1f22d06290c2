"""CSV as others wrote it: the one place that reads it.

The first line names the columns. Whatever is wrong (a column that is missing, a line with too many
fields, a quotation mark without its partner, which would swallow the rest of the file) is one
`DataError` with file and line.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, border, did_you_mean, quoted
from flan_jax.macros import COUNT

# Digits of a whole number; Python reads 4,300 and no more.
_MOST_DIGITS = 18


class Row:
    """The fields of a line by column; every method raises a DataError that says where."""

    def __init__(self, where: str, fields: dict[str, str]):
        self.where = where
        self.fields = fields

    def fail(self, column: str, wrong: str) -> NoReturn:
        """Raises the error."""
        raise DataError(f"{self.where}: {column!r} {wrong}, found {quoted(self.text(column))}")

    def text(self, column: str) -> str:
        """Returns a field without blanks around it, empty where there is no such column."""
        return self.fields.get(column, "").strip()

    def name(self, column: str) -> str:
        """Returns a field that is not blank."""
        return self.text(column) or self.fail(column, "must not be empty")

    def count(self, column: str) -> int:
        """Returns a whole number that is not 0."""
        text = self.text(column)
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text)):
            self.fail(column, f"must be {COUNT.words(text)}")
        return int(text)

    def number(self, column: str) -> float:
        """Returns a finite number."""
        try:
            value = float(self.text(column)[:1000])
        except ValueError:
            value = float("nan")
        return value if abs(value) < 1e300 else self.fail(column, "must be a finite number")


def read_csv(
    path: epath.PathLike, needed: Sequence[str], known: Sequence[str] | None = None
) -> Iterator[Row]:
    """Yields the rows of a CSV file; blank lines are none.

    Args:
        path: the file.
        needed: columns that have to be there.
        known: all columns that may be there; others pass where None.

    Raises:
        DataError: the file cannot be read, lacks a column, or a line does not fit the first one.
    """
    # A line may end in a lone carriage return too.
    lines = csv.reader(io.StringIO(files.read_text(path), newline=""), strict=True)
    columns: list[str] | None = None
    while (fields := _next(lines, path)) is not None:
        if columns is None:
            columns = [name.strip() for name in fields]
            _check_columns(path, columns, needed, known)
        elif any(field.strip() for field in fields):
            where = f"{path}, line {lines.line_num}"
            more = [field for field in fields[len(columns) :] if field.strip()]
            if more:
                raise DataError(
                    f"{where}: {len(fields)} fields, and {len(columns)} columns in the first line; "
                    "a comma within a field stands in quotation marks"
                )
            yield Row(where, dict(zip(columns, fields, strict=False)))
    if columns is None:
        raise DataError(f"{path}: is empty; its first line names {','.join(needed)}")


def _next(lines: Any, path: epath.PathLike) -> list[str] | None:
    with border(f"{path}, line {lines.line_num + 1}"):
        return next(lines, None)


def _check_columns(
    path: epath.PathLike, found: list[str], needed: Sequence[str], known: Sequence[str] | None
) -> None:
    for name in needed:
        if name not in found:
            hint = did_you_mean(name, found)
            raise DataError(
                f"{path}: no column {name!r} in its first line{hint} (needed: {', '.join(needed)})"
            )
    for name in found if known else ():
        if known and name and name not in known:
            hint = did_you_mean(name, known) or f"; there may be {', '.join(known)}"
            raise DataError(f"{path}: unknown column {quoted(name)}{hint}")
    for name in known or needed:
        if found.count(name) > 1:
            raise DataError(f"{path}: the column {name!r} is there twice in its first line")
