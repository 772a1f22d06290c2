"""Intervals of runs and of their differences."""

import numpy as np
import pytest

from flan_jax.errors import DataError
from flan_jax.scoring.comparison import Runs, difference, estimate
from flan_jax.scoring.predictions import Prediction
from flan_jax.scoring.summaries import Bootstrap

BOOTSTRAP = Bootstrap(samples=4000)


def runs_of(scores_RxTxI):
    """Runs with the same score in both metrics, of so many instances in each task."""
    _, tasks, instances = np.shape(scores_RxTxI)
    names = tuple((f"t{t}", str(i)) for t in range(tasks) for i in range(instances))
    flat_RxN = np.reshape(scores_RxTxI, (len(scores_RxTxI), -1))
    return Runs(names, np.stack([flat_RxN] * 2, axis=-1).astype(float))


def test_an_interval_is_what_statistics_says_of_means_of_tasks():
    rng = np.random.default_rng(0)
    scores_T = rng.normal(50, 10, 400)
    found = estimate(runs_of(scores_T[None, :, None]), BOOTSTRAP)["rougeL"]
    half = 1.96 * scores_T.std() / 20
    assert found.mean == pytest.approx(scores_T.mean())
    assert found.low == pytest.approx(found.mean - half, abs=0.1)
    assert found.high == pytest.approx(found.mean + half, abs=0.1)
    # Of tasks that agree within themselves, more instances say nothing more.
    same = estimate(runs_of(np.repeat(scores_T[None, :, None], 5, axis=2)), BOOTSTRAP)["rougeL"]
    assert same.low == pytest.approx(found.low) and same.high == pytest.approx(found.high)


def test_runs_that_differ_widen_it():
    flat = np.full((1, 50, 2), 50.0)
    assert estimate(runs_of(flat), BOOTSTRAP)["rougeL"].low == 50
    three = estimate(runs_of(np.concatenate([flat - 6, flat, flat + 6])), BOOTSTRAP)["rougeL"]
    assert three.mean == 50 and 44 <= three.low < 47 and 53 < three.high <= 56


def test_a_difference_is_of_the_same_tasks():
    rng = np.random.default_rng(1)
    hard_T = rng.normal(50, 20, 60)
    first = runs_of((hard_T + rng.normal(2, 1, 60))[None, :, None])
    second = runs_of(hard_T[None, :, None])
    found = difference(first, second, BOOTSTRAP)["exact_match"]
    assert found.shown and 1.5 < found.low < found.mean < found.high < 2.5
    back = difference(second, first, BOOTSTRAP)["exact_match"]
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert not difference(first, first, BOOTSTRAP)["rougeL"].shown
    # Each alone is far less sure.
    alone = estimate(first, BOOTSTRAP)["exact_match"]
    assert alone.high - alone.low > 5 * (found.high - found.low)


def test_only_what_both_answered_is_compared():
    first, second = runs_of(np.ones((2, 3, 2))), runs_of(np.zeros((1, 2, 2)))
    found = difference(first, second, BOOTSTRAP)["rougeL"]
    assert (found.mean, found.low, found.high) == (1, 1, 1)
    with pytest.raises(DataError, match="no instance in common"):
        difference(first.of_tasks({"t2"}), second, BOOTSTRAP)


def test_scores_are_those_of_the_report():
    def answers(texts):
        return [
            Prediction("task", str(i), "def", (), "prompt", text, ("the red fox",))
            for i, text in enumerate(texts)
        ]

    runs = Runs.of([answers(["the red fox", "fox"]), answers(["The red fox.", ""])])
    assert runs.scores_RxNxM[:, :, 1].tolist() == [[100, 0], [100, 0]]
    assert runs.scores_RxNxM[0, 1, 0] == pytest.approx(50)
    with pytest.raises(DataError, match="not answer the same instances"):
        Runs.of([answers(["a", "b"]), answers(["a"])])
    with pytest.raises(DataError, match="no answers"):
        Runs.of([[]])
