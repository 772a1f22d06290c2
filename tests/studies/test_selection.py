"""The study of selection: its plan, and what it makes of scores that are known."""

import pytest

from flan_jax.errors import ConfigError
from flan_jax.selector.manifest import read_manifest
from flan_jax.studies import selection, selection_page
from flan_jax.studies.selection import ALL, BASE, RANDOM, SELECTED, Score, Study

VALUES = {
    "LIBRARY": "tasks.minilab",
    "CANDIDATES": "minilab_tiny_train",
    "TARGETS": ["minilab_tiny_heldout_tasks", "minilab_tiny_compositions"],
    "TARGETS_EACH": None,
    "KS": (2, 1),
    "RANDOM_DRAWS": 2,
    "ENCODER": "lexical",
    "AGGREGATION": "mean",
    "TRANSFORM": "none",
    "DIVERSITY": "none",
    "SEED": 0,
    "TRAIN_STEPS": 1,
    "BATCH_SIZE": 1,
    "EVAL_EXAMPLES": 1,
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    import tasks.minilab  # noqa: F401

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Study.of(str(tmp_path), VALUES)


def test_the_plan(study):
    plan = list(study.plan())
    assert [one.arm for one in plan[:2]] == [BASE, ALL]
    assert len(plan) == 2 + 2 * 2 * (1 + 2) and len({one.folder for one in plan}) == len(plan)
    candidates = set(study.library.by_name)
    assert set(plan[1].tasks) == candidates and not candidates & set(study.targets)
    for one in plan[2:]:
        assert len(one.tasks) == one.k and set(one.tasks) <= candidates
    # Of one draw, fewer tasks are among more; of two targets, draws differ.
    by_draw = {(one.target, one.k, one.draw): set(one.tasks) for one in plan if one.arm == RANDOM}
    for target in study.targets:
        for draw in range(2):
            assert by_draw[target, 1, draw] < by_draw[target, 2, draw]
    assert list(study.plan()) == plan


def test_every_run_has_a_manifest_of_its_tasks(study):
    for one in list(study.plan())[1:]:
        found = read_manifest(study.manifest_of(one))
        assert {row["task"] for row in found["selected"]} == set(one.tasks)
        names = {SELECTED: "instructions", RANDOM: "random", ALL: "all"}
        assert found["parameters"]["method"] == names[one.arm]


def test_scores_become_means_and_differences(study):
    worth = {BASE: 1.0, ALL: 30.0, SELECTED: 40.0, RANDOM: 10.0}
    scores = []
    for one in study.plan():
        for target in [one.target] if one.target else study.targets:
            value = worth[one.arm] + 2 * one.draw + (10 if target == study.targets[1] else 0)
            scores.append(Score(one, target, {"exact_match": value, "rougeL": value}))
    metrics = selection.summarize(scores, study, VALUES, 1.0)
    means = metrics["means"]["rougeL"]
    assert means[SELECTED]["2"] == {"mean": 45.0, "low": 40.0, "high": 50.0}
    assert means[RANDOM]["1"]["mean"] == 16.0 and means[ALL]["4"]["mean"] == 35.0
    less = metrics["selected_less"]["exact_match"]
    assert less[RANDOM]["1"] == {"mean": 29.0, "low": 29.0, "high": 29.0}
    assert less[ALL]["2"]["mean"] == 10.0
    titles = [title for title, _, _ in selection_page.arms(metrics)]
    assert titles[:4] == [
        "base, untuned", "all 4 tasks", "1 task by chance", "top 1 by instruction",
    ]  # fmt: skip
    page = selection_page.render(
        metrics, selection._chosen(list(study.plan())), "a command", ["a fact"]
    )
    assert "+29.0" in page and "a command" in page and study.targets[0] in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"KS": ()}, "KS="),
        ({"KS": (1, 2.5)}, "whole numbers from 1 to 4"),
        ({"TARGETS": "minilab_drop_last"}, "a list of tasks and mixtures"),
        ({"TARGETS": ["minilab_drop_first"]}, "is in CANDIDATES"),
        ({"AGGREGATION": "maen"}, "did you mean 'mean'"),
        ({"RANDOM_DRAWS": 0}, "RANDOM_DRAWS"),
    ],
)
def test_wrong_macros(tmp_path, monkeypatch, changes, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=message):
        Study.of(str(tmp_path), VALUES | changes)
