"""What an evaluation reports: each task its own metrics, one table for all of them."""

import math

import pytest

from flan_jax import terminal
from flan_jax.errors import DataError
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction
from tasks.flan import nli, reading_comprehension, text_formatting, translation  # noqa: F401


def said(task, prediction, *targets, scores=(), options=()):
    number = len(targets)
    return Prediction(task, f"{prediction}/{number}", "t0", options, "?", prediction, targets,
                      scores=scores)  # fmt: skip


def ranked(number, scores, right="yes", task="flan_rte_rank"):
    options = ("yes", "no")
    best = options[scores[0] < scores[1]] if scores[0] != scores[1] else ""
    return Prediction(task, str(number), "t0", options, "?", best, (right,), scores=scores)


MIXED = [
    said("flan_cb", "yes", "Yes"),
    said("flan_cb", "no", "yes"),
    ranked(0, (-1.0, -2.0)),
    ranked(1, (-1.0, -1.0)),
    ranked(2, (math.nan, -1.0)),
    ranked(3, (math.nan, math.inf)),
    said("flan_squad_v1", "the bridge", "bridge"),
    said("task5_published", "5", "-5"),
    said("elsewhere", "5", "-5"),
    said("elsewhere", "] ]", "] ]"),
    said("elsewhere", "same words", "same words"),
]


def test_each_task_reports_its_own_metrics():
    found = report.summarize("mixed", 3, MIXED)
    assert found["by_task"] == {
        "elsewhere": {"rougeL": 100.0, "exact_match": pytest.approx(200 / 3, abs=1e-4), "n": 3},
        "flan_cb": {"exact_match": 50.0, "macro_f1": pytest.approx(200 / 3, abs=1e-4), "n": 2},
        "flan_rte_rank": {"accuracy": 37.5, "ties": 1, "not_finite": 2, "n": 4},
        "flan_squad_v1": {"em": 100.0, "f1": 100.0, "n": 1},
        "task5_published": {"rougeL": 100.0, "exact_match": 100.0, "n": 1},
    }
    # Of each metric the mean over the instances of the tasks that report it.
    assert found["overall"] == {
        "rougeL": 100.0,
        "exact_match": pytest.approx(100 * (2 + 1 + 1) / 6, abs=1e-4),
        "macro_f1": pytest.approx(200 / 3, abs=1e-4),
        "accuracy": 37.5,
        "em": 100.0,
        "f1": 100.0,
        "ties": 1,
        "not_finite": 2,
        "n": 11,
    }
    assert found["by_category"]["nli"] == {
        name: found["overall"][name] for name in ("macro_f1", "accuracy", "ties", "not_finite")
    } | {"exact_match": 50.0, "n": 6}
    assert report.summarize("none", 0, [])["overall"] == {"n": 0}


def printed(summary, capsys):
    report.print_tables(summary)
    return capsys.readouterr().out


def test_columns_are_what_the_tasks_report(capsys):
    summary = report.summarize("mixed", 3, MIXED[:6])
    shown = printed(summary, capsys)
    by_task = shown[: shown.index("by category")].splitlines()
    heads = [cell.strip() for cell in by_task[2].split("┃")[1:-1]]
    assert heads == ["task", "exact match", "macro F1", "accuracy", "ties", "not finite", "n"]
    row = next(line for line in by_task if "flan_rte_rank" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "flan_rte_rank", "", "", "37.50", "1", "2", "4",
    ]  # fmt: skip
    # Counts of what did not happen take no room.
    calm = printed(report.summarize("calm", 0, MIXED[:3]), capsys)
    assert "accuracy" in calm and "ties" not in calm and "not finite" not in calm


def test_many_metrics_have_a_row_each(capsys):
    more = [said("flan_true_case", "A b.", "A b."), said("flan_wmt14_enfr", "a b", "a b")]
    summary = report.summarize("all", 0, [*MIXED, *more])
    shown = printed(summary, capsys)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
    assert ["flan_cb", "macro F1", "66.67", "2"] in rows
    assert ["flan_rte_rank", "accuracy", "37.50", "4"] in rows
    assert ["flan_rte_rank", "not finite", "2", "4"] in rows
    assert ["flan_squad_v1", "F1", "100.00", "1"] in rows
    assert max(map(len, shown.splitlines())) <= terminal.WIDTH_ELSEWHERE


def test_a_metric_that_is_not_finite_is_null(capsys):
    assert report._value(math.nan) is report._value(-math.inf) is None
    tasks = [{"f1": None, "n": 3}, {"f1": 10.0, "n": 1}, {"other": None, "n": 1}]
    assert report.together(tasks) == {"f1": 10.0, "other": None, "n": 5}
    summary = {"mixture": "m", "by_task": {"a": tasks[0]}, "by_category": {}, "overall": tasks[0]}
    assert "-" in printed(summary, capsys)


def test_foreign_names_are_printed_as_they_are(capsys):
    shown = printed(report.summarize("[red]m", 0, [said("[/b]\x1b[31m", "a", "a")]), capsys)
    assert "[red]m: by task" in shown and "[/b]" in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": 3}, "'task' must be a string, found a number"),
        ({"targets": []}, "'targets' must be a list of at least one string"),
        ({"options": {}}, "'options' must be a list"),
        ({"scores": "x"}, "'scores' must be a list, found a string"),
        ({"scores": ["x"]}, "'scores' must be a list of numbers, found 'x' in it"),
        ({"scores": [10**400]}, "'scores' must be a list of numbers, found a number of very many"),
        ({"prompt": None}, "'prompt' must be a string, found null"),
        ({"promt": ""}, "'promt' is not known; did you mean 'prompt'"),
        ({"targets": [None]}, "'targets' must be a list of strings, found null in it"),
    ],
)
def test_a_wrong_prediction_names_file_line_and_field(tmp_path, changes, message):
    from flan_jax import json_files

    row = json_files.loads(said("t", "a", "b").to_json(), "row") | changes
    json_files.write_lines(tmp_path / "predictions.jsonl", [row])
    with pytest.raises(DataError, match=f"predictions.jsonl, line 1: {message}"):
        report.read_predictions(str(tmp_path))
