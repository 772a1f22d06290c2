"""Scores of predictions: overall, by category, by task; as JSON and as tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax import terminal
from flan_jax.evaluation import metrics, ranking
from flan_jax.evaluation.generation import Prediction
from flan_jax.files import replace_text
from flan_jax.instructions import cards

Scores = dict[str, float]
METRICS_FILE, PREDICTIONS_FILE = "metrics.json", "predictions.jsonl"
IDENTITY_FILE = ".evaluated"


def score(prediction: Prediction) -> Scores:
    """Returns the scores of one prediction, 0..100."""
    return {
        "rougeL": metrics.rouge_l(prediction.prediction, prediction.targets),
        "exact_match": metrics.exact_match(prediction.prediction, prediction.targets),
    }


def _mean(scores: Sequence[Scores]) -> dict[str, float | int]:
    names = scores[0].keys() if scores else ()
    means = {name: round(sum(s[name] for s in scores) / len(scores), 4) for name in names}
    return {**means, "n": len(scores)}


def category(task: str) -> str:
    """Returns the cluster on a task's card, or "uncategorized" where it has none."""
    card = cards.find_card(task)
    return card.cluster if card else "uncategorized"


def summarize(mixture: str, step: int, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Returns the content of metrics.json.

    Every group's score is the mean over its instances, as the benchmark publishes it.
    """
    scored = [(prediction.task, score(prediction)) for prediction in predictions]
    by_task = _grouped(scored)
    for task, own in task_metrics(predictions).items():
        by_task[task] = own | by_task[task]
    return {
        "mixture": mixture,
        "step": step,
        "overall": _mean([scores for _, scores in scored]),
        "by_category": _grouped((category(task), scores) for task, scores in scored),
        "by_task": by_task,
    }


def task_metrics(predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Returns what the SeqIO metric functions of each task say, beside those of every task."""
    by_task: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_task.setdefault(prediction.task, []).append(prediction)
    return {task: _own_metrics(task, own) for task, own in by_task.items()}


def _own_metrics(name: str, predictions: Sequence[Prediction]) -> dict[str, float]:
    import seqio

    if name not in seqio.TaskRegistry.names():  # predictions of elsewhere
        return {}
    task = seqio.TaskRegistry.get(name)
    found: dict[str, float] = {}
    if predictions[0].scores:
        targets, scores = ranking.score_targets(predictions)
        for score_fn in task.score_metric_fns:
            found |= score_fn(targets, scores)
    else:
        for metric_fn in task.predict_metric_fns:
            if metric_fn not in metrics.GENERATION_METRICS:
                answers = [prediction.prediction for prediction in predictions]
                found |= metric_fn([list(p.targets) for p in predictions], answers)
    return {metric: round(float(value), 4) for metric, value in found.items()}


def _grouped(pairs: Iterable[tuple[str, Scores]]) -> dict[str, dict[str, float | int]]:
    groups: dict[str, list[Scores]] = {}
    for name, scores in pairs:
        groups.setdefault(name, []).append(scores)
    return {name: _mean(groups[name]) for name in sorted(groups)}


def print_tables(summary: Mapping[str, Any]) -> None:
    """Prints the scores overall, by category and by task."""
    console = terminal.console()
    for title, key in (("by task", "by_task"), ("by category", "by_category")):
        table = terminal.table(f"{summary['mixture']}: {title}")
        table.add_column(key.removeprefix("by_"), overflow="fold")
        for name in ("ROUGE-L", "exact match", "n"):
            table.add_column(name, justify="right")
        for name, scores in summary[key].items():
            table.add_row(name, *_cells(scores))
        table.add_section()
        table.add_row("overall", *_cells(summary["overall"]))
        console.print(table)


def _cells(scores: Mapping[str, float]) -> tuple[str, str, str]:
    return f"{scores['rougeL']:.2f}", f"{scores['exact_match']:.2f}", f"{scores['n']:,}"


def read(out: str, identity: str) -> dict[str, Any] | None:
    """Returns the summary in a folder, or None where it is not of this identity, or not whole."""
    folder = epath.Path(out)
    try:
        if (folder / IDENTITY_FILE).read_text() == identity and read_predictions(out):
            return json.loads((folder / METRICS_FILE).read_text())
    except (OSError, ValueError, TypeError):
        pass
    return None


def read_predictions(out: str) -> list[Prediction]:
    """Returns the predictions in a folder.

    Raises:
        OSError, ValueError, TypeError: they are missing or damaged.
    """
    lines = (epath.Path(out) / PREDICTIONS_FILE).read_text().splitlines()
    return [Prediction.from_json(line) for line in lines]


def write(
    out: str, summary: Mapping[str, Any], predictions: Sequence[Prediction], identity: str
) -> None:
    """Writes metrics.json and predictions.jsonl, each replacing an older one in one move.

    Args:
        out: the folder.
        summary: content of metrics.json.
        predictions: lines of predictions.jsonl.
        identity: of all that the results depend on; written last, see `read`.
    """
    folder = epath.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IDENTITY_FILE).unlink(missing_ok=True)
    lines = [prediction.to_json() for prediction in predictions]
    for name, text in (
        (PREDICTIONS_FILE, "".join(line + "\n" for line in lines)),
        (METRICS_FILE, json.dumps(summary, indent=1, ensure_ascii=False) + "\n"),
        (IDENTITY_FILE, identity),
    ):
        replace_text(folder / name, text)
