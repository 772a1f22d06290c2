"""Rank classification: scores of options, and what is made of them."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from hypothesis import given
from hypothesis import strategies as st

from flan_jax import metrics
from flan_jax.data.records import Example
from flan_jax.evaluation import generation, ranking
from flan_jax.evaluation.generation import Partial
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.scoring import report
from flan_jax.scoring.predictions import score_targets

EOS = 1


@pytest.fixture(scope="module")
def model():
    config = T5Config(
        vocab_size=256, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=32,
        num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.0,
    )  # fmt: skip
    return Model(config)


@pytest.fixture(scope="module")
def params(model):
    return jax.jit(model.init)(jax.random.key(3))


def records(count=7, seed=0):
    """Examples of two to five options with random tokens."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        prompt = rng.integers(3, 250, rng.integers(2, 50)).tolist()
        options = [rng.integers(3, 250, rng.integers(1, 6)).tolist() for _ in range(2 + number % 4)]
        for index, option in enumerate(options):
            example = Example(
                id=f"x/{number}#{index}",
                template="t0",
                inputs=np.array([*prompt, EOS], np.int32),
                targets=np.array([*option, EOS], np.int32),
                prompt=f"prompt {number}",
                target=f"option {number}.{index}",
                references=(f"option {number}.1",),
                ranked=(f"x/{number}", index, index == 1),
            )
            found.append(("task", example))
    return found


def alone(model, params, record):
    """Log-likelihood of one option, by the whole model on one unpadded row."""
    targets = record.targets[None]
    batch = {
        "encoder_input_tokens": record.inputs[None],
        "decoder_input_tokens": np.concatenate([[[0]], targets[:, :-1]], axis=1),
        "decoder_target_tokens": targets,
    }
    log_probs = jax.nn.log_softmax(model.bind(params)(jax.tree.map(jnp.asarray, batch)))
    return sum(float(log_probs[0, i, token]) for i, token in enumerate(targets[0]))


def rank(model, params, tmp_path, batch_size, found=None):
    scorer = ranking.Scorer(model, params, 64, 16, batch_size)
    partial = Partial(epath.Path(tmp_path) / f"partial-{batch_size}", "identity")
    return ranking.rank(scorer, found or records(), partial)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 32])
def test_scores_are_those_of_each_option_alone(model, params, tmp_path, batch_size):
    """However options are batched and padded."""
    predictions = rank(model, params, tmp_path, batch_size)
    expected: dict[str, list[float]] = {}
    for _, record in records():
        expected.setdefault(record.ranked[0], []).append(alone(model, params, record))
    assert [prediction.id for prediction in predictions] == list(expected)
    for prediction in predictions:
        assert prediction.scores == pytest.approx(expected[prediction.id], abs=1e-3)
        best = int(np.argmax(expected[prediction.id]))
        number = prediction.id.removeprefix("x/")
        assert prediction.prediction == f"option {number}.{best}"
        assert prediction.options[best] == prediction.prediction
        assert prediction.targets == (f"option {number}.1",)


def test_batches_hold_examples_together_and_everything_once(model, params):
    scorer = ranking.Scorer(model, params, 64, 16, 6)
    batches = list(scorer.batches(records(20)))
    assert sorted(r.id for batch in batches for _, r in batch) == sorted(
        r.id for _, r in records(20)
    )
    for batch in batches:
        assert len(batch) <= 6
    parts = [{r.ranked[0] for _, r in batch} for batch in batches]
    assert sum(map(len, parts)) == 20  # none in two
    assert max(map(len, parts)) == 3  # of two options


def test_the_metric_reads_what_predictions_say(model, params, tmp_path):
    predictions = rank(model, params, tmp_path, 8)
    targets, scores = score_targets(predictions)
    assert len(targets) == len(scores) == len(records())
    right = [prediction.prediction in prediction.targets for prediction in predictions]
    accuracy = metrics.rank_classification(targets, scores)["accuracy"]
    assert accuracy == pytest.approx(100.0 * np.mean(right))


def test_an_evaluation_that_was_killed_goes_on(model, params, tmp_path, monkeypatch):
    whole = rank(model, params, tmp_path, 4)
    path = epath.Path(tmp_path) / "partial-4"
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(records())
    path.write_text("\n".join(lines[:9]) + '\n["task", "x/')
    asked = []
    original = ranking.Scorer.score

    def counted(self, batch):
        asked.extend(batch)
        return original(self, batch)

    monkeypatch.setattr(ranking.Scorer, "score", counted)
    again = rank(model, params, tmp_path, 4)
    assert len(asked) == len(records()) - 8
    assert [p.prediction for p in again] == [p.prediction for p in whole]
    assert [json.loads(p.to_json())["scores"] for p in again] == [
        pytest.approx(p.scores, abs=1e-4) for p in whole
    ]


def test_a_tie_counts_by_the_share_of_its_options_that_is_right():
    targets = [("a", 0, False), ("a", 1, True), ("b", 0, True), ("b", 1, False), ("b", 2, True)]
    found = metrics.rank_choices(targets, [-1.0, -1.0, -3.0, -1.0, -1.0])
    assert found["a"] == metrics.Ranked((0, 1), 0.5, not_finite=False) and found["a"].tied
    assert found["b"] == metrics.Ranked((1, 2), 0.5, not_finite=False)
    assert metrics.rank_classification(targets, [-2.0, -1.0, -1.0, -2.0, -2.0]) == {
        "accuracy": 100.0, "ties": 0, "not_finite": 0,
    }  # fmt: skip
    assert metrics.rank_classification(targets, [0.0] * 5) == {
        "accuracy": pytest.approx(100 * (1 / 2 + 2 / 3) / 2), "ties": 2, "not_finite": 0,
    }  # fmt: skip
    assert metrics.rank_classification([], []) == {"accuracy": 0.0, "ties": 0, "not_finite": 0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_wins(bad):
    targets = [("a", 0, True), ("a", 1, False), ("b", 0, True), ("b", 1, False)]
    found = metrics.rank_classification(targets, [bad, -9.0, bad, bad])
    assert found == {"accuracy": 0.0, "ties": 0, "not_finite": 2}
    assert metrics.rank_choices(targets, [bad] * 4)["b"] == metrics.Ranked((), 0.0, True)
    assert metrics.rank_classification(targets, [-9.0, bad, -9.0, bad])["accuracy"] == 100.0


few_scores = st.sampled_from([-1.0, -2.0, math.nan, -math.inf])


@given(st.lists(st.tuples(few_scores, st.booleans()), min_size=1, max_size=6), st.randoms())
def test_the_order_of_options_decides_nothing(options, random):
    targets = [("a", i, right) for i, (_, right) in enumerate(options)]
    expected = metrics.rank_classification(targets, [score for score, _ in options])
    random.shuffle(options)
    targets = [("a", i, right) for i, (_, right) in enumerate(options)]
    assert metrics.rank_classification(targets, [score for score, _ in options]) == expected


def test_options_with_equal_tokens_are_a_tie(model, params, tmp_path):
    """Whatever rounding makes of their scores: also where both were cut to the same tokens."""
    found = records(2)
    for index in (0, 1):
        task, record = found[index]
        longer = np.array([*range(9, 30 + index), EOS], np.int32)
        found[index] = task, dataclasses.replace(record, targets=longer)
    partial = tmp_path / "partial-8"
    rows = [["flan_jax", "identity"], ["task", "x/0#0", -1.0], ["task", "x/0#1", -1.5]]
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tied, other = rank(model, params, tmp_path, 8, found)
    assert tied.scores == (-1.0, -1.0) and tied.prediction == ""
    assert len(set(other.scores)) == 3 and other.prediction in other.options
    summary = report.summarize("m", 0, [tied, other])
    assert summary["overall"]["ties"] == 1 and summary["overall"]["n"] == 2
    (note,) = report.notes(summary)
    assert note.startswith("1 ranked examples have several best options") and "(task: 1)" in note


def test_a_model_whose_scores_are_not_numbers_wins_nothing(model, params, tmp_path):
    broken = jax.tree.map(lambda weights: weights * jnp.nan, params)
    predictions = rank(model, broken, tmp_path, 8)
    assert {p.prediction for p in predictions} == {""}
    summary = report.summarize("m", 0, predictions)
    expected = {"accuracy": 0.0, "ties": 0, "not_finite": 7, "n": 7}
    assert summary["overall"] == summary["by_task"]["task"] == expected
    assert "NaN or infinite, which never win (task: 7)" in report.notes(summary)[0]
    report.write(str(tmp_path), summary, predictions, "identity")
    for name in ("partial-8", "predictions.jsonl", "metrics.json"):
        text = (tmp_path / name).read_text()
        assert "NaN" not in text
        for line in text.splitlines() if name != "metrics.json" else [text]:
            json.loads(line, parse_constant=pytest.fail)
    # Null reads as what it was.
    again = report.read(str(tmp_path), "identity")
    assert all(math.isnan(score) for p in again.predictions for score in p.scores)
    assert again.summary == summary == report.summarize("m", 0, again.predictions)
    assert {p.prediction for p in rank(model, broken, tmp_path, 8)} == {""}


def test_so_many_examples_of_a_task_are_examples_and_not_options(tmp_path):
    """EVAL_EXAMPLES = 2 of a task that ranks two options: four records, of two examples."""
    import toy_ranked  # noqa: F401  (registers toy_choice_rank)

    from flan_jax.data.prepare import prepare
    from flan_jax.data.units import Renderings

    mixture = prepare("toy_choice_rank", "test", Renderings(1, 0), str(tmp_path))
    whole = generation.examples_of(mixture)
    assert len(whole) == 12
    first = generation.examples_of(mixture, 2)
    assert [example.id for _, example in first] == [example.id for _, example in whole[:4]]
    assert {example.ranked[0] for _, example in first} == {"test/0", "test/1"}
    assert len(generation.examples_of(mixture, 99)) == 12
