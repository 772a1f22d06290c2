"""The page of a report: one HTML file that needs nothing from anywhere else."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flan_jax
from flan_jax import pages
from flan_jax.pages import charts
from flan_jax.scoring import report
from flan_jax.scoring.references import UNCATEGORIZED
from flan_jax.scoring.summaries import EXACT_CATEGORIES, Bootstrap
from flan_jax.studies import report_tables as tables
from flan_jax.studies.report_runs import Points
from flan_jax.studies.report_summary import COLOURS, Report
from flan_jax.studies.report_tables import Pair, Scored, Spread

# A longer table is folded, and more charts than these of one kind are not drawn.
_MOST_OPEN, _MOST_CHARTS = 30, 8
_MOST_POINTS = 300
_LONGEST_PROMPT, _LONGEST_ANSWER = 8000, 2000
# Numbers over so wide a range are drawn by their logarithm.
_WIDE_RANGE = 20
_CURVES = {"loss": "loss, nats a token", "accuracy": "target tokens right, share"}


def render(made: Report) -> str:
    """Returns the page."""
    tasks = _task_rows(made)
    return pages.render(
        "report",
        title=_title(made),
        summary=_summary(made),
        figures=[],
        legend=[{"title": one.name, "css": made.css(one.name)} for one in made.runs],
        columns=[{"title": one.name, "css": made.css(one.name)} for one in made.asked],
        notes=made.notes,
        overall=_overall(made),
        pairs=[_pair(made, one) for one in made.pairs],
        first=made.answered[0].name if made.answered else "",
        categories=_category_rows(made),
        tasks=tasks,
        tasks_open=len(tasks) <= _MOST_OPEN,
        all_metrics=_all_metrics(made),
        spreads=_spread_groups(made),
        curves=_curves(made),
        scaling=_scaling(made),
        samples=_samples(made),
        runs=[_facts(made, one) for one in made.runs],
        facts=[
            f"flan-jax {flan_jax.__version__}",
            f"{made.bootstrap.samples:,} bootstrap samples, seed {made.bootstrap.seed}",
        ],
    )


def _title(made: Report) -> str:
    names = [one.name for one in made.runs]
    if len(names) == 1:
        return names[0]
    return " and ".join(names) if len(names) == 2 else f"{len(names)} runs side by side"


def _summary(made: Report) -> str:
    tasks = {task for one in made.asked for task in one.tasks}
    categories = set(made.categories.values())
    on = f"{len(made.asked)} evaluated on {len(tasks):,} task{'s' * (len(tasks) > 1)}"
    if len(categories) > 1:
        on += f" in {len(categories)} categories"
    trained = sum(bool(one.run.curves) for one in made.runs)
    parts = [on] * bool(tasks) + [f"{trained} with learning curves"] * bool(trained)
    count = len(made.runs)
    return f"{count} run{'s' * (count > 1)}: {', '.join(parts) or 'nothing in any of them'}."


# Scores


def _overall(made: Report) -> dict[str, Any]:
    found = made.overall
    same = len({frozenset(one.tasks) for one in made.asked}) == 1
    best = {
        name: _best([cells.get(name, {}).get("value") for cells in found.values()], name)
        for name in made.reported
    }
    rows = [
        {
            "title": one.name,
            "css": made.css(one.name),
            "tasks": len(one.tasks),
            "n": sum(scores["n"] for scores in one.tasks.values()),
            "cells": [
                _cell(found[one.name].get(name), same and best[name]) for name in made.reported
            ],
        }
        for one in made.asked
    ]
    return {"labels": [report.label(name) for name in made.reported], "rows": rows}


def _best(values: Iterable[float | None], metric: str) -> float | None:
    """Returns the best of several values; None where there are not several, or all are alike."""
    there = {value for value in values if value is not None}
    if len(there) < 2:
        return None
    return min(there) if metric in tables.LOWER else max(there)


def _cell(found: Mapping[str, Any] | None, best: float | None | bool = None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "best": False, "ci95": None}
    value = found["value"]
    return {"value": value, "best": best is not False and value == best, "ci95": found.get("ci95")}


def _row(
    name: str, groups: Sequence[Mapping[str, Any] | None], preferred: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns a row of one task or category: the metric that most runs have, and their values."""
    there = [group for group in groups if group]
    metric = tables.shared_metric(there, preferred)
    values = [group.get(metric) if group else None for group in groups]
    best = _best(values, metric)
    return {
        "name": name,
        "metric": report.label(metric),
        "n": max(group["n"] for group in there),
        "cells": [{"value": value, "best": best is not None and value == best} for value in values],
    }


def _task_names(made: Report) -> dict[str, str]:
    """Returns the tasks of all runs in order, and what the first run that has one calls it."""
    found: dict[str, str] = {}
    for one in made.asked:
        for task, key in one.run.keys.items():
            found.setdefault(key, task)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _task_rows(made: Report) -> list[dict[str, Any]]:
    return [
        _row(name, [one.tasks.get(key) for one in made.asked])
        for key, name in _task_names(made).items()
    ]


def _all_metrics(made: Report) -> list[dict[str, Any]]:
    """Returns a row for each task and metric, where tasks have more than the one that is shown."""
    rows = []
    for key, name in _task_names(made).items():
        groups = [one.tasks.get(key, {}) for one in made.asked]
        for metric in tables.names_of(groups):
            values = [group.get(metric) for group in groups]
            rows.append({"name": name, "metric": report.label(metric), "figures": values})
    return rows


def _category_rows(made: Report) -> list[dict[str, Any]]:
    """Returns a row for each category; none where no run knows categories."""
    groups = [tables.by_category(one, made.categories) for one in made.asked]
    names = sorted({name for group in groups for name in group})
    if not set(names) - {UNCATEGORIZED}:
        return []
    # Some of Super-NI's are read by exact match, as the benchmark publishes them.
    exact = {name: ("exact_match",) for name in names if name in EXACT_CATEGORIES}
    return [
        _row(name, [group.get(name) for group in groups], exact.get(name, ())) for name in names
    ]


# Comparisons


def _pair(made: Report, found: Pair) -> dict[str, Any]:
    widest = max((abs(end) for e in found.less.values() for end in (e.low, e.high, e.mean)
                  if math.isfinite(end)), default=0.0)  # fmt: skip
    return {
        **dataclasses.asdict(found),
        "shared": len(found.shared),
        "css": made.css(found.name),
        "shares": {
            who: 100 * count / max(len(found.shared), 1) for who, count in found.counts.items()
        },
        "less": [
            {
                "label": report.label(name),
                "mean": one.mean,
                "ends": None if math.isnan(one.low) else (one.low, one.high),
                "kind": "open" if not one.shown else ("worse" if one.mean < 0 else "shown"),
                "at": [_along(end, -widest, widest) for end in (one.low, one.high, one.mean)],
            }
            for name, one in found.less.items()
        ],
    }


def _along(value: float, low: float, high: float) -> float:
    """Returns how far along a bar a value lies, in percent."""
    return 100 * (value - low) / (high - low) if math.isfinite(value) and high > low else 50.0


def _spread_groups(made: Report) -> list[dict[str, Any]]:
    """Returns the spreads of each dataset on one scale."""
    groups = []
    for dataset in dict.fromkeys(one.dataset for one in made.spreads):
        members = [one for one in made.spreads if one.dataset == dataset]
        values = [value for one in members for value in one.values.values()]
        low = min(0.0, *values)
        high = 100.0 if max(values) > 1 else 1.0
        rows = [_spread(made, one, low, high) for one in members]
        label = report.label(members[0].metric)
        groups.append({"dataset": dataset, "metric": label, "low": low, "high": high, "rows": rows})
    return groups


def _spread(made: Report, found: Spread, low: float, high: float) -> dict[str, Any]:
    figures = found.figures
    templates = list(found.values)
    if found.metric in tables.LOWER:
        templates.reverse()
    return {
        "title": found.run,
        "css": made.css(found.run),
        "figures": figures,
        "count": len(found.values),
        "best": templates[-1],
        "worst": templates[0],
        "at": {name: _along(value, low, high) for name, value in figures.items()},
        "points": [
            {"at": _along(value, low, high), "text": f"{template}: {value:.1f}"}
            for template, value in found.values.items()
        ],
    }


def _samples(made: Report) -> list[dict[str, Any]]:
    """Returns examples that each run won and lost against the first."""
    if not made.pairs:
        return []
    first, *others = made.answered
    groups = []
    for other, found in zip(others, made.pairs, strict=True):
        drawn = tables.won_and_lost(first, other, found, made.examples, made.bootstrap.seed)
        groups.append(
            {
                "title": other.name,
                "css": made.css(other.name),
                "won": [_sample(made, first, other, key) for key in drawn["won"]],
                "lost": [_sample(made, first, other, key) for key in drawn["lost"]],
            }
        )
    return groups


def _sample(made: Report, first: Scored, other: Scored, key: tuple[str, str]) -> dict[str, Any]:
    asked = tables.answer_of(first, key)
    again = tables.answer_of(other, key)
    return {
        "task": asked.task,
        "id": asked.id,
        "prompt": _cut(asked.prompt or again.prompt, _LONGEST_PROMPT),
        "expected": _cut(" / ".join(asked.targets[:5]), _LONGEST_ANSWER),
        "answers": [
            {
                "title": one.name,
                "css": made.css(one.name),
                "text": _cut(tables.answer_of(one, key).text, _LONGEST_ANSWER),
                "right": one.scores_Nx2[one.positions[key], 1] > 0,
            }
            for one in (first, other)
        ],
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} […]"


# Curves


def _curves(made: Report) -> dict[str, Any]:
    """Returns charts of what was measured while training: loss, accuracy, validation."""
    runs = [one for one in made.runs if one.run.curves]
    names = [*_CURVES, *sorted({n for one in runs for n in one.run.curves if "/" in n}, key=_order)]
    there = [name for name in names if any(name in one.run.curves for one in runs)]
    drawn = [
        _chart(made, {one.name: one.run.curves.get(name, []) for one in runs}, name)
        for name in there[:_MOST_CHARTS]
    ]
    left = there[_MOST_CHARTS:]
    return {"charts": drawn, "left_out": left, "legend": _legend(made, runs)}


def _order(name: str) -> tuple[bool, str]:
    """Losses of validation first."""
    return not name.endswith("/loss"), name


def _chart(made: Report, series: Mapping[str, Points], name: str) -> str:
    thin = {run: _thinned(points) for run, points in series.items()}
    classes = {run: made.css(run) for run in thin}
    return charts.line_chart(thin, "step", _CURVES.get(name, name), classes)


def _thinned(points: Points) -> Points:
    """Returns at most some hundred of the points, the last among them."""
    every = -(-len(points) // _MOST_POINTS) or 1
    return [*points[:-1][::every], *points[-1:]]


def _legend(made: Report, runs: Sequence[Scored]) -> list[dict[str, str]]:
    return [{"title": one.name, "css": made.css(one.name)} for one in runs]


def _scaling(made: Report) -> dict[str, Any]:
    """Returns charts of the mean over the tasks that all numbered runs have, by their numbers."""
    runs = [one for one in made.asked if one.name in made.numbers]
    tasks = sorted(set.intersection(*(set(one.tasks) for one in runs))) if runs else []
    if len(set(made.numbers[one.name] for one in runs)) < 2 or not tasks:
        return {"charts": [], "legend": [], "tasks": 0, "left_out": []}
    runs.sort(key=lambda one: made.numbers[one.name])
    metrics = [name for name in made.reported if all(_mean(one, name, tasks) for one in runs)]
    drawn = [_over(made, runs, {"all": tasks}, name) for name in metrics[:_MOST_CHARTS]]
    groups = _by_category(tasks, made.categories)
    if metrics and 1 < len(groups) <= COLOURS:
        drawn.append(_over(made, runs, groups, metrics[0], " by category"))
    else:
        groups = {}
    return {
        "charts": drawn,
        "legend": [{"title": g, "css": f"series-{i}"} for i, g in enumerate(groups)],
        "tasks": len(tasks),
        "left_out": [one.name for one in made.asked if one.name not in made.numbers],
    }


def _by_category(tasks: Iterable[str], known: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(known.get(task, UNCATEGORIZED), []).append(task)
    return dict(sorted(found.items()))


def _mean(one: Scored, metric: str, tasks: Sequence[str]) -> dict[str, Any] | None:
    return tables.overall(one, metric, Bootstrap(0), tasks)


def _over(
    made: Report,
    runs: Sequence[Scored],
    groups: Mapping[str, Sequence[str]],
    metric: str,
    more: str = "",
) -> str:
    """Returns a chart of a metric over the numbers of runs, with a line for each group of tasks."""
    series = {
        group: [
            (made.numbers[one.name], found["value"])
            for one in runs
            if (found := _mean(one, metric, tasks))
        ]
        for group, tasks in groups.items()
    }
    xs = [made.numbers[one.name] for one in runs]
    classes = {group: f"series-{i}" for i, group in enumerate(groups)}
    wide = min(xs) > 0 and max(xs) / min(xs) >= _WIDE_RANGE
    label = report.label(metric) + more
    return charts.line_chart(series, made.x or "run", label, classes, log_x=wide)


# Facts


def _facts(made: Report, one: Scored) -> dict[str, Any]:
    run, facts = one.run, dict(one.run.facts)
    counts = {name: sum(scores.get(name, 0) for scores in run.scores.values())
              for name in report.COUNTS if name != "n"}  # fmt: skip
    facts |= {name.replace("_", " "): count for name, count in counts.items() if count}
    if run.answers:
        facts["answers"] = len(run.answers)
    return {
        "title": one.name,
        "css": made.css(one.name),
        "facts": [
            ("read from", ", ".join(run.places)),
            *((n, _shown(v)) for n, v in facts.items()),
        ],
    }


def _shown(value: Any) -> str:
    return f"{value:,}" if type(value) is int else str(value)
