"""How much a task's score depends on the template it is asked in.

Of a task that was asked in several templates: mean, standard deviation, median and interquartile
range of what its templates score, as Sanh et al. 2022 (section 6.1) and Wei et al. 2022 (section
3) report them.
"""

import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax.instructions.protocols import template_sets
from flan_jax.scoring import report


def spreads(by_task: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the spread of each set of templates, by the name of its task.

    Args:
        by_task: scores by task, see `report.summarize`; a set is read by the first metric that its
            tasks report.

    Returns:
        By set: "metric", "templates" (how many), "mean", "std" (with n - 1), "median", "q1", "q3"
        (quartiles, interpolated), "lowest" and "highest".
    """
    found = {}
    for name, tasks in template_sets(by_task).items():
        metric = main_metric(by_task[tasks[0]])
        scores = {t: by_task[t][metric] for t in tasks if by_task[t].get(metric) is not None}
        if len(scores) > 1:
            found[name] = {"metric": metric, **_spread(scores)}
    return found


def main_metric(scores: Mapping[str, Any]) -> str:
    """Returns the first metric of a task's scores, which it is read by."""
    return next(name for name in scores if name not in report.COUNTS)


def _spread(scores: Mapping[str, float]) -> dict[str, Any]:
    values = list(scores.values())
    quartiles = np.quantile(np.asarray(values), [0.25, 0.75]).tolist()
    numbers: dict[str, float] = {
        "mean": statistics.fmean(values), "std": statistics.stdev(values),
        "median": statistics.median(values), "q1": quartiles[0], "q3": quartiles[1],
        "lowest": min(values), "highest": max(values),
    }  # fmt: skip
    rounded = {name: round(float(value), 4) for name, value in numbers.items()}
    return {"templates": len(values), **rounded}


def best_of(by_task: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the best task of each set of templates, of equal ones the first, and its score.

    Args:
        by_task: scores by task on the development split.

    Returns:
        By set: "task", "metric" and "score"; a set none of whose tasks has a score is left out.
    """
    found = {}
    for name, tasks in template_sets(by_task).items():
        metric = main_metric(by_task[tasks[0]])
        scores = {t: by_task[t][metric] for t in tasks if by_task[t].get(metric) is not None}
        if scores:
            sign = -1 if metric in report.LOWER_IS_BETTER else 1
            best = max(scores, key=lambda task: sign * scores[task])
            found[name] = {"task": best, "metric": metric, "score": scores[best]}
    return found


def table(title: str, found: Mapping[str, Mapping[str, Any]]) -> Any:
    """Returns a table of spreads, for the terminal."""
    from flan_jax import terminal

    made = terminal.table(title)
    made.add_column("task", overflow="fold")
    made.add_column("metric")
    for name in ("templates", "mean", "std", "median", "q1 to q3", "lowest to highest"):
        made.add_column(name, justify="right")
    for name, one in found.items():
        made.add_row(
            name, report.label(one["metric"]), str(one["templates"]),
            *(f"{one[key]:.2f}" for key in ("mean", "std", "median")),
            f"{one['q1']:.2f} to {one['q3']:.2f}", f"{one['lowest']:.2f} to {one['highest']:.2f}",
        )  # fmt: skip
    return made
