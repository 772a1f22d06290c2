"""How good a selector is, where true transfer is known: regret, NDCG and rank correlation.

Every measure stands beside what a random choice gets on average, computed and not drawn, and has
an interval by bootstrap over targets.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted
from flan_jax.selector.baselines import ranking
from flan_jax.selector.transfer import Transfer, read_transfer

KS = (1, 3, 5, 10)
# Scores by source: what a selector says of a target.
Scores = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over targets.

    Attributes:
        mean: the mean; None where no target has a value.
        low: lower end of its interval; None where there are fewer than two targets.
        high: upper end.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of a selector beside chance.

    Attributes:
        name: `regret@k`, `ndcg` or `spearman`.
        higher_is_better: False for regret.
        selector: its mean.
        random: the expected value of a random order.
        difference: selector less random, target by target.
        targets: number of targets that have a value.
    """

    name: str
    higher_is_better: bool
    selector: Estimate
    random: Estimate
    difference: Estimate
    targets: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """All measures of a selector.

    Attributes:
        measures: regret for rising k, NDCG, rank correlation.
        by_target: value of each measure by target; NaN where it is not defined.
        sources: number of sources that were ranked, by target.
        level: coverage of the intervals.
    """

    measures: tuple[Measure, ...]
    by_target: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, int]
    level: float

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `flan-jax select evaluate --json` prints; NaN is null."""
        return {
            "level": self.level,
            "targets": len(self.by_target),
            "sources": dict(self.sources),
            "measures": [dataclasses.asdict(measure) for measure in self.measures],
            "by_target": {
                target: {name: None if math.isnan(x) else x for name, x in values.items()}
                for target, values in self.by_target.items()
            },
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Returns a table: measure, selector, random, difference, targets; a heading first."""
        heading = ("measure", "selector", "random", "difference", "targets")
        return [heading] + [
            (
                f"{m.name} {'(higher is better)' if m.higher_is_better else '(lower is better)'}",
                *(_shown(one) for one in (m.selector, m.random, m.difference)),
                str(m.targets),
            )
            for m in self.measures
        ]


def evaluate(
    transfer: str | Transfer,
    scores: Mapping[str, Scores] | Callable[[str], Scores],
    ks: Sequence[int] = KS,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Returns how well a selector's scores agree with true transfer.

    Args:
        transfer: CSV file with the columns source, target and score, or what
            `transfer.read_transfer` returns.
        scores: what the selector says, by target and source, or a function of the target. Sources
            that the table does not have are passed over; for a target, only sources with both a
            true and a predicted score can be compared, so all of the table's must be predicted.
        ks: numbers of tasks chosen; those above a target's number of sources mean all of them.
        samples: bootstrap samples of the targets.
        level: coverage of the intervals, between 0 and 1.
        seed: of the bootstrap.

    Raises:
        DataError: the table is wrong, or a source or target has no score.
        ConfigError: `ks`, `samples`, `level` or `seed` is out of range.
    """
    _check(ks, samples, level, seed)
    table = read_transfer(transfer) if isinstance(transfer, str) else transfer
    ask = scores if callable(scores) else lambda target: _of_target(scores, target)
    pairs = {target: _aligned(table[target], ask(target), target) for target in sorted(table)}
    found = {target: _values(*pair, ks) for target, pair in pairs.items()}
    names = list(next(iter(found.values())))
    draws = np.random.default_rng(seed).integers(len(found), size=(samples, len(found)))
    return Evaluation(
        tuple(
            _measure(name, np.array([found[target][name] for target in found]), draws, level)
            for name in names
        ),
        {target: {name: found[target][name][0] for name in names} for target in found},
        {target: len(true) for target, (true, _) in pairs.items()},
        level,
    )


def regret(true: np.ndarray, order: np.ndarray, k: int) -> float:
    """Returns the best true score less the best among the first k, in the scores' own unit.

    Args:
        true: true scores of all sources, float[sources].
        order: indices of the sources, the selector's first choice first.
        k: how many are chosen.
    """
    return float(true.max() - true[order[:k]].max())


def random_regret(true: np.ndarray, k: int) -> float:
    """Returns the mean of `regret` over all choices of k sources.

    The i-th smallest of n scores is the greatest of k in C(i - 1, k - 1) of C(n, k) choices.
    """
    n, rising = len(true), np.sort(true)
    k = min(k, n)
    chance = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
    return float(rising[-1] - rising @ np.array(chance))


def ndcg(true: np.ndarray, order: np.ndarray) -> float:
    """Returns the normalised discounted cumulative gain of an order, 0..1.

    The gain of a source is its true score, 0 for the worst and 1 for the best; place i (from 0)
    counts 1 / log2(i + 2) (Järvelin and Kekäläinen 2002). NaN where all scores are equal.
    """
    scores = np.empty(len(order))
    scores[order] = -np.arange(len(order))
    return _ndcg(true, scores)


def random_ndcg(true: np.ndarray) -> float:
    """Returns the mean of `ndcg` over all orders."""
    return _ndcg(true, np.zeros(len(true)))  # equal scores get the mean of their orders


def _ndcg(true: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import ndcg_score

    span = true.max() - true.min()
    return float(ndcg_score([(true - true.min()) / span], [scores])) if span > 0 else math.nan


def spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    """Returns Spearman's rank correlation, equal scores sharing their mean rank.

    NaN where all true scores are equal; 0 where all predicted ones are, which say nothing.
    """
    from scipy import stats

    if np.ptp(true) == 0:
        return math.nan
    if np.ptp(predicted) == 0:
        return 0.0
    return float(stats.spearmanr(true, predicted).statistic)


def _check(ks: Sequence[int], samples: int, level: float, seed: int) -> None:
    if not ks or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in ks):
        raise ConfigError(f"k must be whole numbers above 0, not {quoted(list(ks))}")
    if samples < 1:
        raise ConfigError(f"samples must be above 0, not {samples!r}")
    if not 0 < level < 1:
        raise ConfigError(f"level must be between 0 and 1, not {quoted(level)}")
    if seed < 0:
        raise ConfigError(f"seed must be a whole number from 0 on, not {quoted(seed)}")


def _of_target(scores: Mapping[str, Scores], target: str) -> Scores:
    if target not in scores:
        raise DataError(f"no scores for target {target!r}{did_you_mean(target, scores)}")
    return scores[target]


def _aligned(true: Scores, predicted: Scores, target: str) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted scores of the sources, which are in order of their names."""
    names = sorted(true)
    for name in names:
        if name not in predicted:
            hint = did_you_mean(name, predicted)
            raise DataError(f"no score of source {name!r} for target {target!r}{hint}")
    arrays = tuple(np.array([of[name] for name in names], np.float64) for of in (true, predicted))
    if not np.isfinite(arrays[1]).all():
        raise DataError(f"a score for target {target!r} is not a finite number")
    return arrays[0], arrays[1]


def _values(
    true: np.ndarray, predicted: np.ndarray, ks: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """Of each measure the selector's value and that of chance."""
    names = [f"{i:09d}" for i in range(len(true))]
    chosen = ranking(dict(zip(names, predicted.tolist(), strict=True)))
    order = np.array([int(name) for name, _ in chosen])
    found = {
        f"regret@{k}": (regret(true, order, k), random_regret(true, k)) for k in sorted(set(ks))
    }
    chance = 0.0 if len(set(true.tolist())) > 1 else math.nan
    found["ndcg"] = (ndcg(true, order), random_ndcg(true))
    found["spearman"] = (spearman(true, predicted), chance)
    return found


def _measure(name: str, values: np.ndarray, draws: np.ndarray, level: float) -> Measure:
    """Args: values: selector and chance, float[targets, 2]; draws: int[samples, targets]."""
    defined = np.isfinite(values).all(axis=1)
    columns = (values[:, 0], values[:, 1], values[:, 0] - values[:, 1])
    own, chance, less = (_estimate(column, defined, draws, level) for column in columns)
    return Measure(name, not name.startswith("regret"), own, chance, less, int(defined.sum()))


def _estimate(values: np.ndarray, defined: np.ndarray, draws: np.ndarray, level: float) -> Estimate:
    """Mean of the defined values, and its percentile interval."""
    if not defined.any():
        return Estimate(None)
    mean = float(values[defined].mean())
    if defined.sum() < 2:
        return Estimate(mean)
    weights = defined[draws]
    sums = np.where(defined, values, 0.0)[draws].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / weights.sum(axis=1)  # NaN where a sample has no defined target
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(mean, float(low), float(high))


def _shown(one: Estimate) -> str:
    if one.mean is None:
        return "-"
    ends = "" if one.low is None else f" [{one.low:.3f}, {one.high:.3f}]"
    return f"{one.mean:.3f}{ends}"
