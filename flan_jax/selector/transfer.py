"""Tables of true transfer scores: what training on a source task alone brings on a target task."""

import csv
import io
import math
from collections.abc import Mapping

from etils import epath

from flan_jax.errors import DataError, did_you_mean

COLUMNS = ("source", "target", "score")
# Score by source, by target.
Transfer = dict[str, dict[str, float]]


def read_transfer(path: str) -> Transfer:
    """Returns the table of a CSV file with the columns source, target and score (others pass).

    A task's row on itself is left out: a selector chooses from what else there is.

    Raises:
        DataError: there is no such file, a column or name is missing, a score is not a finite
            number, or a pair is there twice; file and line are named.
    """
    reader = csv.DictReader(io.StringIO(_text(path)))
    _check_columns(path, [name.strip() for name in reader.fieldnames or []])
    table: Transfer = {}
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            source, target, score = _row(row, where)
            if source in table.setdefault(target, {}):
                raise DataError(f"{where}: {source!r} on {target!r} is there twice")
            table[target][source] = score
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    for target, scores in table.items():
        scores.pop(target, None)
    table = {target: scores for target, scores in table.items() if scores}
    if not table:
        raise DataError(f"{path}: no row of a source on another task")
    return table


def scores_on(transfer: Mapping[str, Mapping[str, float]], target: str) -> Mapping[str, float]:
    """Returns the scores of all sources on a target.

    Raises:
        DataError: the table has no such target; the nearest ones are offered.
    """
    if target not in transfer:
        hint = did_you_mean(target, transfer)
        raise DataError(f"the transfer table has no target {target!r}{hint}")
    return transfer[target]


def _text(path: str) -> str:
    try:
        return epath.Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise DataError(f"no transfer table at {path}: {error.strerror or error}") from error


def _check_columns(path: str, found: list[str]) -> None:
    for name in COLUMNS:
        if name not in found:
            raise DataError(
                f"{path}: no column {name!r} in its first line{did_you_mean(name, found)} "
                f"(needed: {', '.join(COLUMNS)})"
            )


def _row(row: Mapping[str | None, str | None], where: str) -> tuple[str, str, float]:
    clean = {(key or "").strip(): row[key] for key in row}
    source, target, score = ((clean[name] or "").strip() for name in COLUMNS)
    if not source or not target:
        raise DataError(f"{where}: {'target' if source else 'source'} is empty")
    try:
        value = float(score)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: score must be a number, not {score!r}")
    return source, target, value
