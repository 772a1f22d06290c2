"""The page that the study of selection leaves."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import pages
from flan_jax.pages import charts

_LABELS = {"exact_match": "exact match, %", "rougeL": "ROUGE-L, %"}
_CSS = {"selected": "series-0", "random": "series-1", "all": "series-2", "base": "series-3"}
_TITLES = {
    "selected": "Top k by instruction",
    "random": "k by chance",
    "all": "All tasks",
    "base": "Base, untuned",
}


def arms(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns title, arm and k of every row of the table, in the order in which they are read."""
    means = metrics["means"]["exact_match"]
    rows = [("base, untuned", "base", "0")]
    rows += [(f"all {metrics['candidates']} tasks", "all", k) for k in means["all"]]
    for k in map(str, metrics["ks"]):
        plural = "task" if k == "1" else "tasks"
        rows.append((f"{k} {plural} by chance", "random", k))
        rows.append((f"top {k} by instruction", "selected", k))
    return rows


def render(
    metrics: Mapping[str, Any],
    chosen: Mapping[str, Sequence[Mapping[str, Any]]],
    command: str,
    facts: Sequence[str],
) -> str:
    """Returns the page.

    Args:
        metrics: content of metrics.json.
        chosen: for every target the best tasks, with score and nearest instruction.
        command: what makes the page.
        facts: versions, seeds, times.
    """
    budget = f"{metrics['train_steps']} steps of {metrics['batch_size']} rows"
    return pages.render(
        "selection",
        title="Choosing tasks by their instructions",
        summary=(
            f"For each of {len(metrics['targets'])} tasks that are never trained on, the same "
            f"pretrained model was tuned for {budget} on the tasks whose instructions are most "
            "like the target's, on as many by chance, and on all of them."
        ),
        figures=_figures(metrics),
        rows=[_row(metrics, *arm) for arm in arms(metrics)],
        charts=[_chart(metrics, metric) for metric in _LABELS],
        legend=[{"title": title, "css": _CSS[arm]} for arm, title in _TITLES.items()],
        columns=[{"title": title, "css": _CSS[arm]} for title, arm, _ in arms(metrics)],
        tables=[_by_target(metrics, metric) for metric in ("rougeL", "exact_match")],
        targets=[{"name": name, "chosen": chosen[name]} for name in metrics["targets"]],
        command=command,
        facts=[
            *facts,
            f"encoder {metrics['encoder']['name']}",
            f"aggregation {metrics['aggregation']}",
            f"transform {metrics['transform']}",
            f"{metrics['examples_of_a_target']} instances of each target",
        ],
    )


def _figures(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """What selection gains in ROUGE-L over chance and over all tasks, at the middle k."""
    k = str(metrics["ks"][len(metrics["ks"]) // 2])
    found = []
    for other, text in (("random", f"{k} by chance"), ("all", "all tasks")):
        one = metrics["selected_less"]["rougeL"][other][k]
        ends = f"{one['low']:+.1f} to {one['high']:+.1f}"
        label = f"points of ROUGE-L: top {k} by instruction over {text} (95 %: {ends})"
        found.append({"value": f"{one['mean']:+.1f}", "label": label})
    return found


def _row(metrics: Mapping[str, Any], title: str, arm: str, k: str) -> dict[str, Any]:
    cells = [metrics["means"][metric][arm][k] for metric in _LABELS]
    return {"title": title, "css": _CSS[arm], "cells": cells}


def _chart(metrics: Mapping[str, Any], metric: str) -> str:
    """Mean by number of tasks; what does not depend on it is a level line."""
    means = metrics["means"][metric]
    low, high = 0.0, float(max(metrics["ks"]))
    series: dict[str, charts.Points] = {}
    for arm, title in _TITLES.items():
        values = [(float(k), one["mean"]) for k, one in means[arm].items()]
        flat = arm in ("all", "base")
        series[title] = [(low, values[0][1]), (high, values[0][1])] if flat else values
    classes = {title: _CSS[arm] for arm, title in _TITLES.items()}
    return charts.line_chart(series, "k, tasks trained on", _LABELS[metric], classes)


def _by_target(metrics: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Scores by target and arm, the best of each target marked."""
    rows = []
    for name in metrics["targets"]:
        scores = metrics["by_target"][name][metric]
        values = [scores[arm][k] for _, arm, k in arms(metrics)]
        best = max(values)
        cells = [{"value": value, "best": value == best > 0} for value in values]
        rows.append({"name": name, "cells": cells})
    return {"title": _LABELS[metric], "rows": rows}
