"""Examples that a run leaves out of its training mixture: EXCLUDE_EXAMPLES names their file.

The file has a JSON object a line with "task" and "id", and "split" where it is not every one; other
fields are not looked at. `overlap.jsonl` of `flan-jax tasks overlap` is such a file. Nothing is
prepared anew: the tables that a plan is made of lack these examples.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.data.plan import are_counts
from flan_jax.data.prepare import PreparedMixture
from flan_jax.data.records import Unit
from flan_jax.errors import DataError, did_you_mean, quoted

# A line is some 200 bytes, and a task may have millions.
_MOST_BYTES = 1 << 32


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """What is to be left out.

    Attributes:
        path: the file.
        ids: example ids by task and split; the split is empty where all are meant.
    """

    path: str
    ids: dict[tuple[str, str], set[bytes]]

    def of(self, task: str, split: str) -> set[bytes]:
        """Returns the ids that are left out of a split of a task."""
        return self.ids.get((task, split), set()) | self.ids.get((task, ""), set())


def read(path: epath.PathLike | None) -> Exclusion | None:
    """Reads a file of examples to leave out; None where there is none.

    Raises:
        DataError: it cannot be read, or a line is wrong; names file, line and field.
    """
    if not path:
        return None
    ids: dict[tuple[str, str], set[bytes]] = {}
    text = files.read_text(path, _MOST_BYTES)
    for row in json_files.read_rows(path, text):
        key = row.name("task"), row.name("split", default="")
        ids.setdefault(key, set()).add(row.name("id").encode())
    return Exclusion(str(path), ids)


def leave_out(
    mixture: PreparedMixture, exclusion: Exclusion | None, report: Callable[[str], None]
) -> PreparedMixture:
    """Returns a mixture without some of its examples.

    A task of which nothing is left goes, too. Rates that are numbers of examples become those of
    what is left, and others stay. What the file says of other tasks is counted and passed over,
    since one file serves every mixture of the tasks that were compared.

    Args:
        mixture: the mixture.
        exclusion: what to leave out; nothing where None.
        report: called with what was left out, a line at a time.

    Raises:
        DataError: the file says nothing of any task of the mixture, a task has no such example, or
            nothing is left.
    """
    if exclusion is None:
        return mixture
    kept, excluded, left, total = [], {}, 0, 0
    for units in mixture.units:
        spec = units[0].spec
        total += len(units[0])
        ids = exclusion.of(spec.task, spec.split)
        rest = _without(units, ids, exclusion.path) if ids else units
        if ids:
            excluded[spec.task] = f"{len(ids)} of {len(units[0])} {_digest(ids)}"
            left += len(ids)
        if len(rest[0]):
            kept.append(rest)
    _check_tasks(exclusion, mixture, excluded)
    if not kept:
        raise DataError(f"{exclusion.path} leaves nothing of {mixture.name!r}")
    gone = len(mixture.units) - len(kept)
    report(
        f"left out, as {exclusion.path} says: {left:,} of {total:,} examples, of {len(excluded)} "
        f"of {len(mixture.units)} tasks"
        + (f", and nothing is left of {gone} of these" if gone else "")
    )
    if others := sum(map(len, exclusion.ids.values())) - left:
        report(f"{others:,} examples of {exclusion.path} are none of {mixture.name!r}")
    rates = _rates(mixture, tuple(kept))
    return dataclasses.replace(mixture, units=tuple(kept), rates=rates, excluded=excluded)


def _without(units: Sequence[Unit], ids: set[bytes], path: str) -> tuple[Unit, ...]:
    """Returns the units of a task without some examples, the same ones of each rendering.

    Raises:
        DataError: there is no such example.
    """
    unwanted = np.isin(units[0].ids, np.array(sorted(ids)))
    if unwanted.sum() != len(ids):
        known = set(units[0].ids.tolist())
        missing = min(ids - known).decode()
        hint = did_you_mean(missing, (one.decode() for one in known))
        spec = units[0].spec
        raise DataError(
            f"{path}: task {spec.task!r}, split {spec.split!r}, has no example "
            f"{quoted(missing)}{hint}; was the file made of other data?"
        )
    return tuple(unit.only(np.flatnonzero(~unwanted)) for unit in units)


def _digest(ids: set[bytes]) -> str:
    """Returns 12 hex digits over which examples."""
    return hashlib.sha256(b"\n".join(sorted(ids))).hexdigest()[:12]


def _check_tasks(exclusion: Exclusion, mixture: PreparedMixture, found: dict[str, str]) -> None:
    """Refuses a file of other mixtures, which would silently leave nothing out.

    Raises:
        DataError: it says something, and nothing of a task of this one.
    """
    if found or not exclusion.ids:
        return
    task, split = min(exclusion.ids)
    known = [units[0].spec.task for units in mixture.units]
    what = f"split {split!r} of task {task!r}" if task in known else f"task {task!r}"
    raise DataError(
        f"{exclusion.path} names no example of {mixture.name!r} ({mixture.split}), but such as "
        f"those of {what}{did_you_mean(task, known)}"
    )


def _rates(mixture: PreparedMixture, kept: Sequence[Sequence[Unit]]) -> dict[str, float]:
    """Returns the mixing rates of the tasks that are left."""
    before = np.array([len(units[0]) for units in mixture.units])
    rates = np.array([mixture.rates[units[0].spec.task] for units in mixture.units])
    counted = are_counts(rates, before)
    found = {}
    for units in kept:
        task = units[0].spec.task
        rate = mixture.rates[task]
        found[task] = min(rate, float(len(units[0]))) if counted else rate
    return found
