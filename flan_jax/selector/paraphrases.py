"""Whether wordings of one task find each other: what an encoder is worth where nothing is trained.

Only instructions are needed, so this can be asked of any library.
"""

import dataclasses
from collections.abc import Collection, Iterator

import numpy as np

from flan_jax.errors import DataError
from flan_jax.selector import scoring
from flan_jax.selector.encoders import Embedder
from flan_jax.selector.library import Library
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import all_instructions
from flan_jax.selector.vectors import Transformer

_FEW = 5


@dataclasses.dataclass(frozen=True)
class Found:
    """How often a wording found its task among all of a library.

    Attributes:
        asked: wordings that were looked for.
        tasks: tasks among which.
        first: share of them whose own task came first. Where another task has the very same
            instruction, either counts.
        among_five: share whose own task was among the first five.
        cluster: share where the first task was of the own cluster.
        chance: what `first` would be by chance.
        missed: wording, own task and the task that came first, of those that did not find it.
    """

    asked: int
    tasks: int
    first: float
    among_five: float
    cluster: float
    chance: float
    missed: tuple[tuple[str, str, str], ...]


def find(
    library: Library,
    embedder: Embedder,
    parameters: Parameters,
    wordings: Library | None = None,
    asked_tasks: Collection[str] | None = None,
    fold: int | None = None,
) -> Found:
    """Returns how often wordings find their own task.

    Args:
        library: the tasks among which they are looked for.
        embedder: gives vectors.
        parameters: aggregation and transform; the transform is learned without the wordings
            that are asked.
        wordings: other wordings of tasks of the library; None asks every instruction of tasks that
            have two or more, in turn, while its task keeps the others.
        asked_tasks: asks only wordings of these tasks, still among all; None asks all.
        fold: asks only the instruction of this number of each task; None asks all.

    Raises:
        DataError: `wordings` has a task that the library lacks, or there is nothing to ask.
    """
    index = {task.name: i for i, task in enumerate(library.tasks)}
    counts = [len(task.instructions) for task in library.tasks]
    raw = embedder.embed(all_instructions(library))
    right = five = cluster = asked = 0
    missed = []
    for number, part in enumerate(_folds(library, wordings)):
        queries = [q for q in part if asked_tasks is None or q.task in asked_tasks]
        if not queries or fold not in (None, number):
            continue
        rows = [query.row for query in queries if query.row is not None]
        transformer = _transformer(parameters.transform, raw, counts, rows)
        sources = raw if transformer is None else transformer(raw)
        targets = embedder.embed([query.text for query in queries])
        targets = targets if transformer is None else transformer(targets)
        for query, vector in zip(queries, targets, strict=True):
            pairs = _without(vector, sources, counts, index[query.task], query.row)
            scores = scoring.aggregate(pairs, parameters.aggregation, top_p=parameters.top_p)
            order = np.argsort(-scores, kind="stable")
            first, own = library.tasks[order[0]], library.tasks[index[query.task]]
            found = first is own or bool(set(first.instructions) & set(own.instructions))
            asked += 1
            right += found
            five += found or index[query.task] in order[:_FEW]
            cluster += found or (own.cluster is not None and own.cluster == first.cluster)
            missed += [] if found else [(query.text, own.name, first.name)]
    if not asked:
        raise DataError(
            f"library {library.origin}: no task has two instructions; none can be asked"
        )
    return Found(
        asked, len(counts), right / asked, five / asked, cluster / asked,
        1 / len(counts), tuple(missed),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Query:
    """A wording that is looked for: its task, and its row where it is the library's own."""

    task: str
    text: str
    row: int | None = None


def _folds(library: Library, wordings: Library | None) -> Iterator[list[_Query]]:
    """Yields what is asked, in parts that a transform is learned without."""
    if wordings is not None:
        yield [
            _Query(library.get(task.name).name, text)
            for task in wordings.tasks
            for text in task.instructions
        ]
        return
    starts = scoring.starts_of([len(task.instructions) for task in library.tasks])
    several = [(t, int(s)) for t, s in zip(library.tasks, starts, strict=True)]
    several = [(task, start) for task, start in several if len(task.instructions) > 1]
    for fold in range(max((len(task.instructions) for task, _ in several), default=0)):
        yield [
            _Query(task.name, task.instructions[fold], start + fold)
            for task, start in several
            if len(task.instructions) > fold
        ]


def _transformer(
    how: str, raw: np.ndarray, counts: list[int], left_out: list[int]
) -> Transformer | None:
    """Returns the transform that all rows but some give."""
    owners: np.ndarray = np.repeat(np.arange(len(counts)), counts)
    kept: np.ndarray = np.delete(owners, left_out)
    return Transformer.fit(
        how, np.delete(raw, left_out, axis=0), np.unique(kept, return_index=True)[1]
    )


def _without(
    vector: np.ndarray, sources: np.ndarray, counts: list[int], task: int, row: int | None
) -> scoring.Pairs:
    """Returns a wording beside all instructions but itself."""
    if row is None:
        return scoring.Pairs(vector[None], sources, scoring.starts_of(counts))
    left = [n - (i == task) for i, n in enumerate(counts)]
    return scoring.Pairs(vector[None], np.delete(sources, row, axis=0), scoring.starts_of(left))
