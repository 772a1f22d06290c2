"""What runs say side by side: means with intervals, differences on the same examples, spread.

Each task keeps the metrics that it reports. Beside them every run with predictions has ROUGE-L and
exact match of its words, so that anybody's answers can stand beside an evaluation that says more.
Of options that were ranked, exact match is whether the best one is right, and of k equally good
ones each counts 1/k.

Tasks that are one dataset in different templates are drawn together where intervals are made: ten
templates of a dataset are not ten datasets.
"""

import collections
import dataclasses
import functools
import hashlib
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import ConfigError, did_you_mean, quoted
from flan_jax.scoring import report, summaries
from flan_jax.scoring.comparison import Estimate, Instance, Runs, difference
from flan_jax.scoring.references import UNCATEGORIZED
from flan_jax.scoring.summaries import METRICS, Bootstrap
from flan_jax.studies.report_runs import Answer, Run

# Of which less is better.
LOWER = frozenset({"edit_distance"})
# Intervals are over datasets where there are so many, and over examples else.
FEWEST_DATASETS = 5
# By so much ROUGE-L differs where two answers to one example are called different.
_ROUGE_STEP = 20.0
_SIZE = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?) ?([KMBT]?)", re.IGNORECASE)
_POWERS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
Scores = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A run whose answers have scores, its tasks by the names that all runs share.

    Attributes:
        run: as it was read.
        scores_Nx2: ROUGE-L and exact match of each answer, 0..100.
    """

    run: Run
    scores_Nx2: np.ndarray

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.name

    @functools.cached_property
    def positions(self) -> dict[Instance, int]:
        """Where the answer to each example stands; of several to one the last one counts."""
        keys = self.run.keys
        return {(keys[one.task], one.id): at for at, one in enumerate(self.run.answers)}

    @functools.cached_property
    def tasks(self) -> dict[str, Scores]:
        """Scores by task: what it reports, then those of the words of its answers."""
        at_of: dict[str, list[int]] = collections.defaultdict(list)
        for (task, _), at in self.positions.items():
            at_of[task].append(at)
        found: dict[str, Scores] = {}
        for task, key in self.run.keys.items():
            words = _of_words(self.scores_Nx2[at_of[key]]) if at_of[key] else {}
            own = self.run.scores.get(task, {})
            found[key] = {**own, **{k: v for k, v in words.items() if k not in own}}
        return found

    @property
    def reported(self) -> list[str]:
        """The metrics that its tasks report; those of words where it reports none."""
        own = names_of(self.run.scores.values())
        unscored = any(task not in self.run.scores for task in self.run.tasks)
        return list(dict.fromkeys([*own, *(METRICS if unscored else ())]))

    @functools.cached_property
    def datasets(self) -> dict[str, tuple[str, str]]:
        """Dataset and template of each task; of one that is not about one template, no template."""
        templates: dict[str, set[str]] = collections.defaultdict(set)
        for one in self.run.answers:
            templates[one.task].add(one.template)
        keys = self.run.keys
        return {key: _dataset(key, templates.get(task, set())) for task, key in keys.items()}


def _of_words(scores_Nx2: np.ndarray) -> dict[str, Any]:
    means = {name: math.fsum(scores_Nx2[:, i]) / len(scores_Nx2) for i, name in enumerate(METRICS)}
    return {**means, "n": len(scores_Nx2)}


def _dataset(task: str, templates: set[str]) -> tuple[str, str]:
    """Returns the name of a task without its only template, and the template."""
    template = next(iter(templates)) if len(templates) == 1 else ""
    part = "_" + re.sub(r"\W+", "_", template).strip("_")
    found = re.search(re.escape(part) + r"(?=_|$)", task, re.IGNORECASE) if part != "_" else None
    if found is None or found.start() == 0:
        return task, ""
    return task[: found.start()] + task[found.end() :], template


def scored(
    runs: Sequence[Run], tokenizer: str | None = None, processes: int | None = None
) -> list[Scored]:
    """Scores the answers of runs, each pair of answer and references once.

    Args:
        runs: what was read.
        tokenizer: see `summaries.score_pairs`.
        processes: see `summaries.score_pairs`.
    """
    answers = [one for run in runs for one in run.answers]
    scores_Nx2 = summaries.score_pairs(
        [(one.text, one.targets) for one in answers],
        published=[one.published for one in answers],
        tokenizer=tokenizer,
        processes=processes,
    )
    for at, one in enumerate(answers):
        if one.credit is not None:
            scores_Nx2[at, 1] = 100.0 * one.credit
    ends = np.cumsum([len(run.answers) for run in runs])
    return [Scored(run, part) for run, part in zip(runs, np.split(scores_Nx2, ends), strict=False)]


def names_of(groups: Iterable[Scores]) -> list[str]:
    """Returns the metrics of any group, in the order in which they come, without counts."""
    names = dict.fromkeys(name for group in groups for name in group)
    return [name for name in names if name not in report.COUNTS]


def shared_metric(groups: Sequence[Scores], preferred: Iterable[str] = ()) -> str:
    """Returns the metric that groups are read by: the first of those that most of them have.

    Args:
        groups: scores of the same thing by different runs.
        preferred: metrics that come first among equals.
    """
    names = dict.fromkeys([*preferred, *names_of(groups), *reversed(METRICS)])
    count = {name: sum(group.get(name) is not None for group in groups) for name in names}
    return max(count, key=lambda name: count[name])


# Means


def overall(
    one: Scored, metric: str, bootstrap: Bootstrap, tasks: Iterable[str] | None = None
) -> dict[str, Any] | None:
    """Returns the mean of a metric over the tasks that have it, weighted by their examples.

    Args:
        one: the run.
        metric: its name.
        bootstrap: how intervals are made, see `_sums`.
        tasks: which; all where None.

    Returns:
        "value", "n", "tasks", and "ci95" where there is one; None where no task has the metric.
    """
    chosen = one.tasks if tasks is None else [task for task in tasks if task in one.tasks]
    having = [task for task in chosen if one.tasks[task].get(metric) is not None]
    count = sum(one.tasks[task]["n"] for task in having)
    if not count:
        return None
    total = math.fsum(one.tasks[task]["n"] * one.tasks[task][metric] for task in having)
    found: dict[str, Any] = {"value": total / count, "n": count, "tasks": len(having)}
    sums_UxM, counts_U = _sums(one, metric, having)
    if bootstrap.samples and len(counts_U) > 1:
        found["ci95"] = bootstrap.intervals(sums_UxM, counts_U)[:, 0].tolist()
    return found


def _sums(one: Scored, metric: str, tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum of a metric in each of what intervals draw, and the number of its examples.

    Those are datasets where there are enough: ends that are those of two or three say little. Else
    they are examples, each in all of its templates, where the metric has a value of each; else
    none.
    """
    datasets = {task: one.datasets[task][0] for task in tasks}
    parts: Iterable[tuple[str, float, int]]
    if len(set(datasets.values())) >= FEWEST_DATASETS:
        scores = one.tasks
        parts = ((datasets[t], scores[t]["n"] * scores[t][metric], scores[t]["n"]) for t in tasks)
    else:
        column = _column(one, metric, set(tasks))
        parts = (
            (f"{datasets[task]}\0{name}", float(one.scores_Nx2[at, column]), 1)
            for (task, name), at in one.positions.items()
            if column is not None and task in datasets
        )
    sums: dict[str, list[float]] = {}
    for unit, total, count in parts:
        of_unit = sums.setdefault(unit, [0.0, 0.0])
        of_unit[0] += total
        of_unit[1] += count
    both_Ux2 = np.array([sums[unit] for unit in sorted(sums)]).reshape(-1, 2)
    return both_Ux2[:, :1], both_Ux2[:, 1]


def _column(one: Scored, metric: str, tasks: set[str]) -> int | None:
    """Returns where each example's value of a metric is, None where it has none."""
    if metric in METRICS:
        return METRICS.index(metric)
    keys = one.run.keys
    ranked = all(a.credit is not None for a in one.run.answers if keys[a.task] in tasks)
    return METRICS.index("exact_match") if metric == "accuracy" and ranked else None


def category_of(runs: Sequence[Scored]) -> dict[str, str]:
    """Returns the category of each task, as far as any run knows it."""
    found: dict[str, str] = {}
    for one in reversed(runs):
        known = one.run.categories
        found |= {key: known[task] for task, key in one.run.keys.items() if task in known}
    return found


def by_category(one: Scored, known: Mapping[str, str]) -> dict[str, Scores]:
    """Returns the scores of a run by category.

    They are computed where the category of every task is known, so that runs are cut in the same
    way, and else are those that the run says itself.
    """
    groups: dict[str, list[Scores]] = collections.defaultdict(list)
    for task, scores in one.tasks.items():
        groups[known.get(task, UNCATEGORIZED)].append(scores)
    if UNCATEGORIZED in groups and one.run.by_category:
        return dict(one.run.by_category)
    return {name: report.together(groups[name]) for name in sorted(groups)}


# Differences


@dataclasses.dataclass(frozen=True)
class Pair:
    """A run and the first one on the examples that both answered.

    Attributes:
        name: of the run.
        shared: the examples; not those whose references have nothing in common.
        different: number of examples of one name with other references: not the same ones.
        only_first: number of examples that only the first answered.
        only_this: the same of this one.
        units: what intervals draw: how many, and of what; none where there are no intervals.
        less: by how much the run's mean exceeds the first's, by metric.
        counts: examples by who was right: "both", "this", "first", "neither".
    """

    name: str
    shared: tuple[Instance, ...]
    different: int
    only_first: int
    only_this: int
    units: str
    less: Mapping[str, Estimate]
    counts: Mapping[str, int]

    def sentence(self, first: str) -> str:
        """Returns the difference in words that follow from its numbers alone."""
        if not self.shared:
            return f"{self.name} and {first} have no example in common."
        figures = "; ".join(f"{report.label(name)} {_in_words(e)}" for name, e in self.less.items())
        return f"{self.name} less {first}, {len(self.shared):,} examples: {figures}."


def _in_words(one: Estimate) -> str:
    ends = "" if math.isnan(one.low) else f" [{one.low:+.1f}, {one.high:+.1f}]"
    return f"{one.mean:+.1f}{ends}"


def pair(first: Scored, other: Scored, bootstrap: Bootstrap) -> Pair:
    """Compares a run with the first one, example by example."""
    both = sorted(first.positions.keys() & other.positions.keys())
    same = tuple(key for key in both if not _targets(first, key).isdisjoint(_targets(other, key)))
    units, less = _less(first, other, same, bootstrap) if same else ("", {})
    return Pair(
        other.name,
        same,
        len(both) - len(same),
        len(first.positions) - len(both),
        len(other.positions) - len(both),
        units,
        less,
        _who_is_right(first, other, same),
    )


def _targets(one: Scored, key: Instance) -> set[str]:
    return {target.strip() for target in answer_of(one, key).targets}


def answer_of(one: Scored, key: Instance) -> Answer:
    """Returns what a run said to an example."""
    return one.run.answers[one.positions[key]]


def _less(
    first: Scored, other: Scored, shared: Sequence[Instance], bootstrap: Bootstrap
) -> tuple[str, dict[str, Estimate]]:
    """Returns the differences, and what their intervals are over.

    Those are datasets, or where these are few examples, whose answers in several templates are
    drawn together.
    """
    datasets = {key: first.datasets[key[0]][0] for key in shared}
    several = len(set(datasets.values())) >= FEWEST_DATASETS
    drawn = [
        (datasets[key] if several else f"{datasets[key]}\0{key[1]}", "\0".join(key))
        for key in shared
    ]
    count = len({unit for unit, _ in drawn})
    if not bootstrap.samples or count < 2:
        means_M = (_scores(other, shared) - _scores(first, shared)).mean(0)
        return "", {
            name: Estimate(float(means_M[i]), math.nan, math.nan) for i, name in enumerate(METRICS)
        }
    now, before = (Runs(tuple(drawn), _scores(one, shared)[None]) for one in (other, first))
    units = f"{count:,} {'datasets' if several else 'examples'}"
    return units, difference(now, before, bootstrap)


def _scores(one: Scored, keys: Sequence[Instance]) -> np.ndarray:
    return one.scores_Nx2[[one.positions[key] for key in keys]]


def _who_is_right(first: Scored, other: Scored, shared: Sequence[Instance]) -> dict[str, int]:
    counts = dict.fromkeys(("both", "this", "first", "neither"), 0)
    if not shared:
        return counts
    for before, now in zip(_scores(first, shared)[:, 1], _scores(other, shared)[:, 1], strict=True):
        if before != now:
            counts["this" if now > before else "first"] += 1
        else:
            counts["both" if now else "neither"] += 1
    return counts


def won_and_lost(
    first: Scored, other: Scored, found: Pair, count: int, seed: int
) -> dict[str, list[Instance]]:
    """Returns some examples that a run got right and the first did not, and the other way round.

    Where neither is ever right alone, as in long texts, they are those whose ROUGE-L differs much.

    Args:
        first: the first run.
        other: the run.
        found: the two compared.
        count: how many of either kind.
        seed: of the draw, which is a function of it and of the example's name.
    """
    keys = list(found.shared)
    if not keys or not count:
        return {"won": [], "lost": []}
    gains_Nx2 = _scores(other, keys) - _scores(first, keys)
    gains_N = gains_Nx2[:, 1] if gains_Nx2[:, 1].any() else gains_Nx2[:, 0]
    least = 0.0 if gains_Nx2[:, 1].any() else _ROUGE_STEP
    return {
        "won": _drawn(
            [k for k, gain in zip(keys, gains_N, strict=True) if gain > least], count, seed
        ),
        "lost": _drawn(
            [k for k, gain in zip(keys, gains_N, strict=True) if gain < -least], count, seed
        ),
    }


def _drawn(keys: Iterable[Instance], count: int, seed: int) -> list[Instance]:
    def number(key: Instance) -> bytes:
        return hashlib.sha256("\0".join([str(seed), *key]).encode("utf-8", "replace")).digest()

    return sorted(keys, key=number)[:count]


# Templates


@dataclasses.dataclass(frozen=True)
class Spread:
    """The scores of one dataset in several templates.

    Attributes:
        run: name of the run.
        dataset: the dataset.
        metric: what is scored.
        values: by template, in rising order.
    """

    run: str
    dataset: str
    metric: str
    values: Mapping[str, float]

    @property
    def figures(self) -> dict[str, float]:
        """Mean, median, first and third quartile (linear between values), least and most."""
        values = sorted(self.values.values())
        low, high = map(float, np.quantile(values, [0.25, 0.75]))
        return {
            "mean": statistics.fmean(values), "median": statistics.median(values),
            "low": low, "high": high, "min": values[0], "max": values[-1],
        }  # fmt: skip


def spreads(runs: Sequence[Scored]) -> list[Spread]:
    """Returns the spread over templates of each dataset and run that has several."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for number, one in enumerate(runs):
        for task, (dataset, template) in one.datasets.items():
            if template:
                found.setdefault((dataset, number), {})[template] = task
    several = {key: tasks for key, tasks in found.items() if len(tasks) > 1}
    result = []
    for (dataset, number), tasks in sorted(several.items(), key=lambda item: item[0]):
        groups = [
            runs[other].tasks[task]
            for (name, other), tasks_of in several.items()
            if name == dataset
            for task in tasks_of.values()
        ]
        metric, scores = shared_metric(groups), runs[number].tasks
        values = {t: scores[task].get(metric) for t, task in tasks.items()}
        kept = {t: v for t, v in values.items() if v is not None}
        if len(kept) > 1:
            ordered = dict(sorted(kept.items(), key=lambda item: item[1]))
            result.append(Spread(runs[number].name, dataset, metric, ordered))
    return result


# Scale


def scale(runs: Sequence[Scored], key: str | None) -> dict[str, float]:
    """Returns the number that each run is drawn at; nothing where runs have no numbers.

    Args:
        runs: the runs.
        key: dotted field of what they say of themselves; None takes names that are numbers, such
            as 512, 1e6 or 60M.

    Raises:
        ConfigError: a key is given that no run has a number for.
    """
    if key is None:
        found = {one.name: _size(one.name) for one in runs}
    else:
        found = {one.name: _number(one.run.facts.get(key)) for one in runs}
    numbers = {name: value for name, value in found.items() if value is not None}
    if key is not None and not numbers:
        known = sorted(
            {
                name
                for one in runs
                for name in one.run.facts
                if _number(one.run.facts[name]) is not None
            }
        )
        near = did_you_mean(key, known) or f"; there are {', '.join(known) or 'none'}"
        raise ConfigError(f"--x={key}: no run says a number {quoted(key)} of itself{near}")
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _size(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def _size(text: str) -> float | None:
    found = _SIZE.fullmatch(text.strip()) if len(text) < 40 else None
    value = float(found[1]) * _POWERS[found[2].upper()] if found else math.nan
    return value if math.isfinite(value) else None
