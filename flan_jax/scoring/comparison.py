"""How sure a score is, and a difference of two, where several runs answered the same instances.

Intervals are percentiles of a bootstrap over tasks and over runs: tasks differ far more from each
other than the instances of one, and runs (seeds) differ, too. A difference is of the same tasks in
each sample, so that what makes a task hard for both does not count (a paired bootstrap, Efron and
Tibshirani 1993, chapter 10; Koehn 2004).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.errors import DataError
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction
from flan_jax.scoring.summaries import METRICS, Bootstrap

# (task, example id)
Instance = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean, and the interval it lies in.

    Attributes:
        mean: 0..100, or a difference of such means.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval of a difference excludes 0."""
        return self.low > 0 or self.high < 0

    def to_object(self) -> dict[str, object]:
        """Returns it as results.json has it."""
        return {"mean": round(self.mean, 4), "ci95": [round(self.low, 4), round(self.high, 4)]}


@dataclasses.dataclass(frozen=True)
class Runs:
    """The scores of runs that answered the same instances.

    Attributes:
        instances: task and id of each.
        scores_RxNxM: of each run, instance and metric (`summaries.METRICS`), 0..100.
    """

    instances: tuple[Instance, ...]
    scores_RxNxM: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[Sequence[Prediction]]) -> "Runs":
        """Scores the answers of runs, see `report.score`.

        Raises:
            DataError: there are none, or they are not to the same instances.
        """
        scored = [{(p.task, p.id): report.score(p) for p in run} for run in runs]
        if not scored or not scored[0]:
            raise DataError("there are no answers to compare")
        instances = tuple(sorted(scored[0]))
        if any(set(run) != set(instances) for run in scored):
            raise DataError("runs that are compared did not answer the same instances")
        rows = [[[run[key][name] for name in METRICS] for key in instances] for run in scored]
        return cls(instances, np.array(rows, float))

    def only(self, instances: set[Instance]) -> "Runs":
        """Returns the scores of some instances."""
        kept = [i for i, key in enumerate(self.instances) if key in instances]
        return Runs(tuple(self.instances[i] for i in kept), self.scores_RxNxM[:, kept])

    def of_tasks(self, tasks: set[str]) -> "Runs":
        """Returns the scores of the instances of some tasks."""
        return self.only({key for key in self.instances if key[0] in tasks})


def estimate(runs: Runs, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Returns the mean of each metric over runs and instances.

    Args:
        runs: the scores.
        bootstrap: how intervals are made.
    """
    return _estimates(_samples(runs, bootstrap), _mean(runs), bootstrap)


def difference(first: Runs, second: Runs, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Returns by how much the mean of each metric of the first exceeds that of the second.

    Args:
        first: scores of one arm's runs.
        second: of the other's; they need not be as many.
        bootstrap: how intervals are made.

    Raises:
        DataError: they share no instance.
    """
    shared = set(first.instances) & set(second.instances)
    if not shared:
        raise DataError("runs that are compared have no instance in common")
    first, second = first.only(shared), second.only(shared)
    # The same seed draws the same tasks for both; runs of the two are drawn apart.
    samples = _samples(first, bootstrap) - _samples(second, bootstrap, 1)
    return _estimates(samples, _mean(first) - _mean(second), bootstrap)


def _mean(runs: Runs) -> np.ndarray:
    return runs.scores_RxNxM.mean((0, 1))


def _estimates(
    samples_SxM: np.ndarray, mean_M: np.ndarray, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    tail = (1 - bootstrap.level) / 2
    low_M, high_M = np.quantile(samples_SxM, [tail, 1 - tail], axis=0)
    return {
        name: Estimate(float(mean_M[i]), float(low_M[i]), float(high_M[i]))
        for i, name in enumerate(METRICS)
    }


def _samples(runs: Runs, bootstrap: Bootstrap, which: int = 0) -> np.ndarray:
    """Returns means [samples, metrics] over tasks and runs that are drawn.

    Args:
        runs: the scores.
        bootstrap: number of samples, and seed of the tasks.
        which: of two arms; draws their runs apart.
    """
    tasks, of_task_N = np.unique([task for task, _ in runs.instances], return_inverse=True)
    count = len(runs.scores_RxNxM)
    sums_RxTxM = np.zeros((count, len(tasks), len(METRICS)))
    for run, scores_NxM in enumerate(runs.scores_RxNxM):
        np.add.at(sums_RxTxM[run], of_task_N, scores_NxM)
    sizes_T = np.bincount(of_task_N).astype(float)
    drawing_tasks = np.random.Generator(np.random.PCG64(bootstrap.seed))
    drawing_runs = np.random.Generator(np.random.PCG64([bootstrap.seed, 1 + which]))
    times_SxT = drawing_tasks.multinomial(
        len(tasks), np.full(len(tasks), 1 / len(tasks)), bootstrap.samples
    )
    share_SxR = (
        drawing_runs.multinomial(count, np.full(count, 1 / count), bootstrap.samples) / count
    )
    means_SxM = np.einsum("st,sr,rtm->sm", times_SxT, share_SxR, sums_RxTxM, optimize=True)
    return means_SxM / (times_SxT @ sizes_T)[:, None]
