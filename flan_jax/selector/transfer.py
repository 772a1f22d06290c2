"""Tables of true transfer scores: what training on a source task alone brings on a target task."""

from collections.abc import Mapping

from flan_jax.csv_files import read_csv
from flan_jax.errors import DataError, did_you_mean, quoted

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
    table: Transfer = {}
    for row in read_csv(path, COLUMNS):
        source, target = row.name("source"), row.name("target")
        if source in table.setdefault(target, {}):
            raise DataError(f"{row.where}: {quoted(source)} on {quoted(target)} is there twice")
        table[target][source] = row.number("score")
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
