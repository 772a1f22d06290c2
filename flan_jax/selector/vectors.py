"""Unit vectors whose products are the same however they are batched.

A matrix product rounds differently with the shape of its operands, so scores would depend on how
texts are batched, and ties would be broken by noise. Components are therefore kept in steps of
2**-20: a product of two is a whole number of 2**-40, a sum of products of unit vectors at most
about 2**40 of them, and float64 adds whole numbers below 2**53 without any rounding, in every
order. The step moves a cosine by less than 1e-6.
"""

import dataclasses
from typing import Literal, get_args

import numpy as np

from flan_jax.errors import ConfigError, DataError, did_you_mean

STEPS = float(2**20)
Transform = Literal["none", "center", "whiten", "within"]
TRANSFORMS = get_args(Transform)
# Of the variance; directions with less are noise that whitening would blow up.
_LEAST_VARIANCE = 1e-6
_BLOCK = 1 << 16


def to_grid(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors [n, d] scaled to length 1, components in steps of 2**-20, as float32.

    A vector of zeros stays one.

    Raises:
        DataError: a component is not finite.
    """
    vectors = np.asarray(vectors, np.float64)
    if not np.isfinite(vectors).all():
        raise DataError("an embedding holds NaN or infinity: the encoder is broken")
    # einsum adds up each row by itself, in one order.
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    units = vectors / np.where(lengths > 0, lengths, 1.0)[:, None]
    return (np.rint(units * STEPS) / STEPS).astype(np.float32)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cosines [n, m] in float64 of vectors [n, d] and [m, d] that `to_grid` made."""
    found = np.empty((len(a), len(b)))
    left: np.ndarray = a.astype(np.float64)
    for start in range(0, len(b), _BLOCK):
        stop = min(start + _BLOCK, len(b))
        found[:, start:stop] = left @ b[start:stop].astype(np.float64).T
    return np.clip(found, -1.0, 1.0, out=found)


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Takes out of vectors what all of a library share.

    Attributes:
        mean: [d], what is subtracted.
        matrix: [d, e], what the rest is multiplied with, or None.
    """

    mean: np.ndarray
    matrix: np.ndarray | None = None

    @classmethod
    def fit(cls, how: str, vectors: np.ndarray, starts: np.ndarray) -> "Transformer | None":
        """Returns what `how` does to vectors, learned from vectors [n, d]; None for nothing.

        * center: subtracts their mean.
        * whiten: also evens out the variances of all directions (Su et al. 2021, arXiv
          2103.15316, section 3; with their mean added, without which few texts would be equally
          far from each other).
        * within: evens out the variances inside tasks, likewise, so that directions in which
          wordings of one task differ count less (within-class covariance normalisation, Hatch et
          al. 2006): an alignment in closed form.

        Args:
            how: see above.
            vectors: [n, d], those of one task side by side.
            starts: [tasks] the first row of each task.

        Raises:
            ConfigError: there is no such transform, or no task has two instructions for "within".
        """
        if how not in TRANSFORMS:
            hint = did_you_mean(how, TRANSFORMS) or f"; there are {', '.join(TRANSFORMS)}"
            raise ConfigError(f"transform {how!r} is not known{hint}")
        if how == "none" or len(vectors) < 2:
            return None
        mean = vectors.astype(np.float64).sum(axis=0) / len(vectors)
        if how == "center":
            return cls(mean)
        spread = vectors - (mean if how == "whiten" else _task_means(vectors, starts))
        variances, directions = np.linalg.eigh(spread.T @ spread / len(vectors))
        if how == "within":
            if not variances.sum() > 0:
                raise ConfigError("transform 'within' needs tasks with two instructions or more")
            return cls(mean, directions / np.sqrt(variances.clip(0) + variances.mean()))
        kept = variances > _LEAST_VARIANCE * variances.sum()
        return cls(mean, directions[:, kept] / np.sqrt(variances[kept] + variances.mean()))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the transformed vectors on the grid; each depends on itself only."""
        moved = vectors.astype(np.float64) - self.mean
        if self.matrix is not None:
            moved = np.stack([row @ self.matrix for row in moved])
        return to_grid(moved)


def _task_means(vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns for each row the mean of its task's, [n, d]."""
    counts: np.ndarray = np.diff(np.append(starts, len(vectors)))
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)
    return np.repeat(sums / counts[:, None], counts, axis=0)


def top_k(matrix: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k rows nearest to a query, exactly, and their cosines.

    All rows are scored in float32, whose error is bounded; those that could be among the first
    k are scored again without error. Rows with equal cosines come in their order.

    Args:
        matrix: [n, d] float32 that `to_grid` made; may be a memory map.
        query: [d] that `to_grid` made.
        k: number of rows.

    Returns:
        Row numbers [k] and cosines [k], nearest first.

    Raises:
        ConfigError: k is not between 1 and n.
    """
    rows, width = matrix.shape
    if not 1 <= k <= rows:
        raise ConfigError(f"k = {k} must be between 1 and the library's {rows} instructions")
    rough = matrix @ query.astype(np.float32)
    # A sum of d products, each below 1, of vectors of length 1, is off by at most d roundings.
    error = (width + 2) * 2.0**-24 * 1.01
    least = np.partition(rough, rows - k)[rows - k] - 2 * error
    candidates = np.flatnonzero(rough >= least)
    exact = cosines(query[None], matrix[candidates])[0]
    order = np.lexsort((candidates, -exact))[:k]
    return candidates[order], exact[order]
