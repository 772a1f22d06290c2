"""From cosines of instruction pairs to one score a task.

A target has T instructions and a source task several, so there are many pairs; how they become
one number is the choice that matters most after the encoder (Lee et al. 2024, section 3.2, use
the mean or a vote of ranks).
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.selector.vectors import cosines, to_grid

Aggregation = Literal["mean", "max", "top_p", "centroid", "rank_vote", "round_robin"]
AGGREGATIONS = get_args(Aggregation)
TOP_P = 0.25
VOTE_DEPTH = 10
# A vote counts a thousandth of one a rank above it, so later ranks hardly do more than decide
# between equals.
_VOTE_BASE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The instructions of one target beside those of all source tasks.

    Attributes:
        targets: [T, d] vectors on the grid.
        sources: [M, d] vectors on the grid, those of one task side by side.
        starts: [N] the first row of each task.
    """

    targets: np.ndarray
    sources: np.ndarray
    starts: np.ndarray

    @functools.cached_property
    def cosines(self) -> np.ndarray:
        """Cosines [T, M]."""
        return cosines(self.targets, self.sources)

    @property
    def counts(self) -> np.ndarray:
        """How many instructions each task has, [N]."""
        return np.diff(np.append(self.starts, len(self.sources)))

    def of_task(self, task: int) -> np.ndarray:
        """Returns the cosines [T, m] of one task."""
        return self.cosines[:, self.starts[task] : self.starts[task] + self.counts[task]]

    def nearest(self, task: int) -> tuple[int, int, float]:
        """Returns the nearest pair: target instruction, that of the task, and their cosine."""
        block = self.of_task(task)
        row, column = np.unravel_index(block.argmax(), block.shape)
        return int(row), int(column), float(block[row, column])

    def resampled(self, generator: np.random.Generator) -> "Pairs":
        """Returns as many instructions of target and tasks, drawn with replacement."""
        rows = generator.integers(len(self.targets), size=len(self.targets))
        counts: np.ndarray = np.repeat(self.counts, self.counts)
        columns = np.repeat(self.starts, self.counts) + generator.integers(counts)
        drawn = Pairs(self.targets[rows], self.sources[columns], self.starts)
        drawn.__dict__["cosines"] = self.cosines[rows][:, columns]
        return drawn


def starts_of(counts: Sequence[int]) -> np.ndarray:
    """Returns the first row of each task from the number of rows of each."""
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)


def aggregate(pairs: Pairs, how: str, *, top_p: float = TOP_P) -> np.ndarray:
    """Returns the score [N] of every task.

    * mean, max: of the cosines of all pairs.
    * top_p: mean of the highest share `top_p` of them, at least one.
    * centroid: cosine of the mean vectors.
    * rank_vote: every target instruction gives its ten nearest source instructions votes, each a
      thousandth of the one before, times the cosine.
    * round_robin: target instructions take turns, each taking its nearest task that is left; the
      score is the place, 1 for the first.

    Raises:
        ConfigError: no such aggregation, or `top_p` is not a share.
    """
    if how not in AGGREGATIONS:
        hint = did_you_mean(how, AGGREGATIONS) or f"; there are {', '.join(AGGREGATIONS)}"
        raise ConfigError(f"aggregation {how!r} is not known{hint}")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p = {top_p} must be above 0 and at most 1")
    if how == "mean":
        sums = np.add.reduceat(pairs.cosines.sum(axis=0), pairs.starts)
        return sums / (pairs.counts * len(pairs.targets))
    if how == "max":
        return best_of_instructions(pairs).max(axis=0)
    if how == "top_p":
        return _top_share(pairs, top_p)
    return {"centroid": _centroid, "rank_vote": _rank_vote, "round_robin": _round_robin}[how](pairs)


def best_of_instructions(pairs: Pairs) -> np.ndarray:
    """Returns for each target instruction and task the highest cosine, [T, N]."""
    return np.maximum.reduceat(pairs.cosines, pairs.starts, axis=1)


def _top_share(pairs: Pairs, share: float) -> np.ndarray:
    scores = np.empty(len(pairs.starts))
    for task in range(len(scores)):
        ordered = np.sort(pairs.of_task(task), axis=None)[::-1]
        # A hair less, so that 0.1 of 30 pairs are three of them.
        scores[task] = ordered[: max(1, math.ceil(share * ordered.size - 1e-9))].mean()
    return scores


def centroids(vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns the mean vector [N, d] of each task, on the grid."""
    return to_grid(np.add.reduceat(vectors.astype(np.float64), starts, axis=0))


def _centroid(pairs: Pairs) -> np.ndarray:
    target = centroids(pairs.targets, np.array([0]))
    return cosines(target, centroids(pairs.sources, pairs.starts))[0]


def _rank_vote(pairs: Pairs) -> np.ndarray:
    owner: np.ndarray = np.repeat(np.arange(len(pairs.starts)), pairs.counts)
    # Tasks without a vote come behind those that have one, by their nearest instruction.
    scores = (1 + best_of_instructions(pairs).max(axis=0)) * _VOTE_BASE ** (VOTE_DEPTH + 1)
    for row in pairs.cosines:
        for rank, column in enumerate(np.argsort(-row, kind="stable")[:VOTE_DEPTH]):
            scores[owner[column]] += _VOTE_BASE**rank * max(row[column], 0.0) / len(pairs.cosines)
    return scores


def _round_robin(pairs: Pairs) -> np.ndarray:
    return places(take_turns(best_of_instructions(pairs)))


def take_turns(scores: np.ndarray) -> list[int]:
    """Returns columns in the order in which rows, in turns, take their best one that is left."""
    orders = [iter(np.argsort(-row, kind="stable")) for row in scores]
    taken: dict[int, None] = {}
    while len(taken) < scores.shape[1]:
        for order in orders:
            for column in order:
                if int(column) not in taken:
                    taken[int(column)] = None
                    break
    return list(taken)


def places(order: Sequence[int]) -> np.ndarray:
    """Returns scores that fall evenly along an order, from 1 for the first to above 0."""
    scores = np.empty(len(order))
    scores[list(order)] = 1 - np.arange(len(order)) / len(order)
    return scores


def z_scores(scores: np.ndarray, null: np.ndarray, related: np.ndarray) -> np.ndarray:
    """Returns how far scores lie above what each task scores for targets it is not related to.

    Some tasks are near to everything; this takes that out.

    Args:
        scores: [N] of the target.
        null: [G, N] scores of the same tasks for other targets.
        related: [G, N] whether task and other target belong together, and so do not count.

    Returns:
        (score - mean) / standard deviation over what counts, [N]; NaN where fewer than two do.
    """
    values = np.where(related, np.nan, null)
    number = (~related).sum(axis=0)
    enough = number >= 2
    values = np.where(enough, values, 0.0)
    mean = np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0) * np.sqrt(number / np.maximum(number - 1, 1))
    return np.where(enough, (scores - mean) / np.maximum(spread, 1e-9), np.nan)
