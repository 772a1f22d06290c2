"""Choosing tasks that are near to the target and not all alike.

Both ways are greedy. Facility location is submodular, so the greedy choice is within 1 - 1/e of
the best one (Nemhauser et al. 1978).
"""

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np

Diversity = Literal["none", "mmr", "facility"]
DIVERSITIES = get_args(Diversity)


def by_score(scores: np.ndarray) -> Iterator[int]:
    """Yields tasks from the highest score to the lowest; equal ones in their order."""
    yield from (int(task) for task in np.argsort(-scores, kind="stable"))


def by_mmr(
    scores: np.ndarray, similarity: np.ndarray, weight: float, accepted: Callable[[], list[int]]
) -> Iterator[int]:
    """Yields tasks by maximal marginal relevance (Carbonell and Goldstein 1998).

    The next one has the highest weight * score - (1 - weight) * similarity to the nearest one
    that was accepted.

    Args:
        scores: [N].
        similarity: [N, N] of the tasks.
        weight: between 0 and 1; 1 is the score alone.
        accepted: returns the tasks that were accepted so far, of those yielded.
    """
    left: np.ndarray = np.ones(len(scores), bool)
    for _ in range(len(scores)):
        chosen = accepted()
        nearest = similarity[:, chosen].max(axis=1) if chosen else np.zeros(len(scores))
        gain = np.where(left, weight * scores - (1 - weight) * nearest, -np.inf)
        task = int(gain.argmax())
        left[task] = False
        yield task


def by_facility(
    scores: np.ndarray, similarity: np.ndarray, weight: float, accepted: Callable[[], list[int]]
) -> Iterator[int]:
    """Yields tasks that stand best for all tasks that are near to the target.

    Scores above the lowest one, divided by their sum, are what tasks weigh. The next one adds most
    to weight * (weights of the accepted ones) + (1 - weight) * (mean over all tasks, as they
    weigh, of the similarity to the nearest accepted one).

    Args:
        scores: [N].
        similarity: [N, N] of the tasks.
        weight: between 0 and 1; 1 is the score alone.
        accepted: returns the tasks that were accepted so far, of those yielded.
    """
    relevance = scores - scores.min()
    total = relevance.sum()
    relevance = relevance / total if total > 0 else np.full(len(scores), 1 / len(scores))
    closeness = np.maximum(similarity, 0.0)
    left: np.ndarray = np.ones(len(scores), bool)
    for _ in range(len(scores)):
        chosen = accepted()
        covered = closeness[:, chosen].max(axis=1) if chosen else np.zeros(len(scores))
        added = np.einsum("i,ij->j", relevance, np.maximum(closeness - covered[:, None], 0.0))
        gain = np.where(left, weight * relevance + (1 - weight) * added, -np.inf)
        task = int(gain.argmax())
        left[task] = False
        yield task
