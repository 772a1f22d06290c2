"""Scores of predictions: overall, by category, by task; as JSON and as tables.

A task is scored by its own SeqIO metric functions. A category, and all tasks together, have of each
metric the mean over the tasks that report it, weighted by their instances: for a metric that is a
mean over instances, that is the mean over all of them, as benchmarks publish it.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from flan_jax import files, json_files, metrics, terminal
from flan_jax.errors import DataError
from flan_jax.instructions import cards
from flan_jax.scoring.predictions import MOST_BYTES, Prediction, score_targets
from flan_jax.scoring.references import is_published

Scores = dict[str, float]
METRICS_FILE, PREDICTIONS_FILE = "metrics.json", "predictions.jsonl"
IDENTITY_FILE = ".evaluated"
# Bump whenever the same predictions get other scores: those of before are then computed anew.
SCORES_FORMAT = 2
# What is added up and not averaged.
COUNTS = ("ties", "not_finite", "n")
LOWER_IS_BETTER = ("edit_distance",)
_LABELS = {
    "rougeL": "ROUGE-L", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeLsum": "ROUGE-Lsum",
    "bleu": "BLEU", "em": "EM", "f1": "F1", "macro_f1": "macro F1",
}  # fmt: skip
_INTERVAL = "_ci95"
_LONGEST_NAME = 200
# A table with more metrics than these has a row for each instead of a column.
_MOST_COLUMNS = 7


def score(prediction: Prediction) -> Scores:
    """Returns ROUGE-L and exact match of one prediction's text, 0..100, whatever its task reports.

    Exact match is the published one for tasks of Natural Instructions.
    """
    said, targets = prediction.prediction, prediction.targets
    published = is_published(prediction.task)
    return {
        "rougeL": metrics.rouge_l(said, targets),
        "exact_match": metrics.exact_match(said, targets, published=published),
    }


def text_scores(predictions: Sequence[Prediction]) -> Scores:
    """Returns the means of `score`; 0 where there are no predictions."""
    found = [score(prediction) for prediction in predictions]
    names = ("rougeL", "exact_match")
    return {name: sum(one[name] for one in found) / max(len(found), 1) for name in names}


def category(task: str) -> str:
    """Returns the cluster on a task's card, or "uncategorized" where it has none."""
    card = cards.find_card(task)
    return card.cluster if card else "uncategorized"


def summarize(mixture: str, step: int, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Returns the content of metrics.json; see the module."""
    tasks = [prediction.task for prediction in predictions]
    categories = {task: category(task) for task in tasks}
    metrics_of = {
        task: task_metrics(task, [predictions[position] for position in positions])
        for task, positions in positions_by(tasks).items()
    }

    def scores_of(positions: Sequence[int]) -> dict[str, Any]:
        members = sorted({tasks[position] for position in positions})
        return together([metrics_of[task] for task in members])

    return summary_of(mixture, step, tasks, [categories[task] for task in tasks], scores_of)


def summary_of(
    name: str,
    step: int | None,
    tasks: Sequence[str],
    categories: Sequence[str],
    scores_of: Callable[[Sequence[int]], dict[str, Any]],
) -> dict[str, Any]:
    """Returns the scores of instances: of all of them, of each category and of each task.

    Args:
        name: what was scored on; "mixture" of the results.
        step: of the checkpoint; None where nobody knows.
        tasks: task of each instance.
        categories: category of each instance.
        scores_of: returns the scores of the instances at some positions together.
    """
    return {
        "mixture": name,
        "step": step,
        "overall": scores_of(range(len(tasks))),
        "by_category": {key: scores_of(at) for key, at in positions_by(categories).items()},
        "by_task": {key: scores_of(at) for key, at in positions_by(tasks).items()},
    }


def positions_by(keys: Iterable[str]) -> dict[str, list[int]]:
    """Returns the positions at which each key stands, the keys sorted."""
    positions: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, []).append(position)
    return {key: positions[key] for key in sorted(positions)}


def task_metrics(name: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Returns what a task reports, unrounded, and "n", its number of instances.

    A task that ranks options also has "ties" and "not_finite", see `metrics.rank_classification`;
    predictions of a task that is not registered have ROUGE-L and exact match, or accuracy.
    """
    import seqio

    task = seqio.TaskRegistry.get(name) if name in seqio.TaskRegistry.names() else None
    found: dict[str, Any] = {}
    if any(prediction.scores for prediction in predictions):
        targets, scores = score_targets(predictions)
        found = metrics.rank_classification(targets, scores)
        if task and task.score_metric_fns:
            found.pop("accuracy")
            for score_fn in task.score_metric_fns:
                found |= score_fn(targets, scores)
    else:
        default = metrics.PUBLISHED_METRICS if is_published(name) else metrics.GENERATION_METRICS
        answers = [prediction.prediction for prediction in predictions]
        for metric_fn in (task and task.predict_metric_fns) or default:
            found |= metric_fn([list(p.targets) for p in predictions], answers)
    values = {metric: _value(value) for metric, value in found.items() if metric not in COUNTS}
    counts = {metric: int(found[metric]) for metric in COUNTS if metric in found}
    return values | counts | {"n": len(predictions)}


def _value(value: Any) -> float | None:
    """Returns a metric's value; None, as files have it, where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def together(tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the scores of several tasks together, with four decimals, counts last.

    Args:
        tasks: scores of each, see `task_metrics`; or of groups of tasks.
    """
    together: dict[str, Any] = {}
    for name in _names(tasks):
        reporting = [scores for scores in tasks if scores.get(name) is not None]
        if name in COUNTS:
            together[name] = sum(scores[name] for scores in reporting)
        else:
            weights = sum(scores["n"] for scores in reporting)
            total = math.fsum(scores["n"] * scores[name] for scores in reporting)
            together[name] = round(total / weights, 4) if weights else None
    return together or {"n": 0}


def _names(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the metrics of any group, in the order in which they come, counts last."""
    names = list(dict.fromkeys(name for group in groups for name in group))
    return [n for n in names if n not in COUNTS] + [n for n in COUNTS if n in names]


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Returns a sentence on each thing that a reader of the scores has to know."""
    words = {
        "ties": "have several best options and count by the share of these that is right: equal "
        "scores, or options that are the same tokens to the vocabulary",
        "not_finite": "have scores that are NaN or infinite, which never win",
    }
    found = []
    for name, text in words.items():
        tasks = {task: s[name] for task, s in summary["by_task"].items() if s.get(name)}
        if tasks:
            most = sorted(tasks, key=lambda task: -tasks[task])[:3]
            shown = ", ".join(f"{task}: {tasks[task]:,}" for task in most)
            more = ", ..." if len(tasks) > 3 else ""
            found.append(f"{sum(tasks.values()):,} ranked examples {text} ({shown}{more})")
    return found


# Tables


def print_tables(summary: Mapping[str, Any]) -> None:
    """Prints the scores by task, by category and, where there are several, by prediction set."""
    for key in ("by_task", "by_category", "by_prediction_set"):
        if key in summary:
            print_table(summary, key)


def print_table(summary: Mapping[str, Any], key: str, *, total: bool = True) -> None:
    """Prints one of the tables of a summary.

    Args:
        summary: see `summary_of`; where it says what metric categories report, they are read by it.
        key: of the table, such as "by_task".
        total: whether all instances together have a row, the last one.
    """
    heading = key.removeprefix("by_").replace("_", " ")
    rows = {**summary[key], **({"overall": summary["overall"]} if total else {})}
    reported = None
    if key == "by_category" and "reported" in summary:
        reported = {name: value["metric"] for name, value in summary["reported"].items()}
    title = f"{summary['mixture']}: by {heading}"
    terminal.console().print(score_table(title, heading, rows, reported, total))


def score_table(
    title: str,
    heading: str,
    rows: Mapping[str, Mapping[str, Any]],
    reported: Mapping[str, str] | None = None,
    total: bool = True,
) -> Any:
    """Returns a table of scores whose columns are what the rows report.

    Where several rows have intervals, that of the metric a row reports, or else of the first one,
    stands beside it.

    Args:
        title: above it.
        heading: what the rows are.
        rows: scores by name.
        reported: the metric that rows are read by, where they differ in that; the first one else.
        total: whether the last row stands below a line.
    """
    named = [n for n in _names(rows.values()) if not n.endswith(_INTERVAL)]
    names = [n for n in named if n == "n" or _is_worth_a_column(n, rows)]
    if len(names) > _MOST_COLUMNS + 1:
        columns = [("metric", "left"), ("score", "right"), ("n", "right")]
        lines = [
            (row, [label(name), _cell(name, scores), _cell("n", scores)])
            for row, scores in rows.items()
            for name in names[:-1]
            if name in scores
        ]
    else:
        first = names[0]
        metrics_of = {row: (reported or {}).get(row, first) for row in rows}
        spans = {row: _span(metrics_of[row], scores) for row, scores in rows.items()}
        wide = sum(map(bool, spans.values())) > 1
        columns = [(label(name), "right") for name in names]
        lines = [(row, [_cell(name, rows[row]) for name in names]) for row in rows]
        if reported is not None:
            columns[:0] = [("metric", "left"), ("score", "right"), *[("95 %", "right")] * wide]
            for row, cells in lines:
                name = metrics_of[row]
                cells[:0] = [label(name), _cell(name, rows[row]), *[spans[row]] * wide]
        elif wide:
            columns.insert(1, ("95 %", "right"))
            for row, cells in lines:
                cells.insert(1, spans[row])
    table = terminal.table(title)
    table.add_column(heading, overflow="fold")
    for name, justify in columns:
        table.add_column(name, justify=justify)
    last = list(rows)[-1] if rows else None
    for position, (row, cells) in enumerate(lines):
        if total and row == last and (position == 0 or lines[position - 1][0] != row):
            table.add_section()
        table.add_row(row[:_LONGEST_NAME], *cells)
    return table


def _span(name: str, scores: Mapping[str, Any]) -> str:
    """Returns an interval in words; nothing where there is none."""
    ends = scores.get(f"{name}{_INTERVAL}")
    return f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else ""


def _is_worth_a_column(name: str, rows: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a metric says anything; counts of what should not happen do where it does."""
    return name not in COUNTS or any(scores.get(name) for scores in rows.values())


def label(name: str) -> str:
    """Returns how people write a metric."""
    return _LABELS.get(name, name.replace("_", " "))


def _cell(name: str, scores: Mapping[str, Any]) -> str:
    if name not in scores:
        return ""
    value = scores[name]
    if not isinstance(value, int | float):
        return "-"
    return f"{value:,}" if name in COUNTS else f"{value:.2f}"


# Files


class Finished(NamedTuple):
    """What a folder holds of an evaluation that has ended.

    Attributes:
        predictions: its answers.
        summary: its scores; None where they were computed in another way than today.
    """

    predictions: list[Prediction]
    summary: dict[str, Any] | None


def read(out: str, identity: str) -> Finished | None:
    """Returns the results in a folder, or None where they are not of this identity, or not whole.

    Args:
        out: the folder.
        identity: see `write`.
    """
    folder = epath.Path(out)
    try:
        facts = _facts(folder)
        if facts.get("identity") != identity:
            return None
        predictions = read_predictions(out)
        whole = facts.get("predictions", "") in ("", files.file_digest(folder / PREDICTIONS_FILE))
    except (DataError, OSError):
        return None
    return Finished(predictions, _read_scores(folder, facts)) if predictions and whole else None


def _read_scores(folder: epath.Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the content of metrics.json where it is what was written, by today's rules."""
    try:
        text = files.read_text(folder / METRICS_FILE)
    except DataError:
        return None
    if [SCORES_FORMAT, _digest(text)] != [facts.get("format"), facts.get("metrics")]:
        return None
    return json_files.loads(text, folder / METRICS_FILE)


def _facts(folder: epath.Path) -> Mapping[str, Any]:
    """Returns what `.evaluated` says; before it was JSON, it was the identity alone."""
    text = files.read_text(folder / IDENTITY_FILE)
    return json_files.first_object(text) or {"identity": text}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_predictions(out: str) -> list[Prediction]:
    """Returns the predictions in a folder.

    Raises:
        DataError: they are missing or damaged; names file, line and field.
    """
    rows = json_files.read_rows(epath.Path(out) / PREDICTIONS_FILE, most=MOST_BYTES)
    return [Prediction.from_fields(row) for row in rows]


def write(
    out: str, summary: Mapping[str, Any], predictions: Sequence[Prediction], identity: str
) -> None:
    """Writes metrics.json and predictions.jsonl, replacing older ones once there is room for all.

    Args:
        out: the folder.
        summary: content of metrics.json.
        predictions: lines of predictions.jsonl.
        identity: of all that the results depend on, see `read`.

    Raises:
        OutputError: they cannot be written; those of before are what they were.
    """
    answers = "".join(prediction.to_json() + "\n" for prediction in predictions)
    scores = json_files.dumps(summary, indent=1) + "\n"
    facts = {
        "identity": identity,
        "format": SCORES_FORMAT,
        "predictions": _digest(answers),
        "metrics": _digest(scores),
    }
    folder = epath.Path(out)
    files.replace_texts({
        folder / PREDICTIONS_FILE: answers,
        folder / METRICS_FILE: scores,
        # Last: of files that do not belong together, its digests are not those.
        folder / IDENTITY_FILE: json_files.dumps(facts) + "\n",
    })  # fmt: skip
