"""Rank classification: scores of options, and what is made of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from flan_jax.data.records import Example
from flan_jax.evaluation import metrics, ranking
from flan_jax.evaluation.generation import Partial
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config

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
        assert len(batch) <= 6 and len({r.ranked[0] for _, r in batch}) <= scorer.prompts == 3
    parts = [{r.ranked[0] for _, r in batch} for batch in batches]
    assert sum(map(len, parts)) < 40  # not each example in two


def test_the_metric_reads_what_predictions_say(model, params, tmp_path):
    predictions = rank(model, params, tmp_path, 8)
    targets, scores = ranking.score_targets(predictions)
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


def test_of_equal_scores_the_first_option_wins():
    targets = [("a", 0, False), ("a", 1, True), ("b", 0, True), ("b", 1, False), ("b", 2, True)]
    assert metrics.rank_choices(targets, [-1.0, -1.0, -3.0, -1.0, -1.0]) == {
        "a": (0, False),
        "b": (1, False),
    }
    assert metrics.rank_classification(targets, [-2.0, -1.0, -1.0, -2.0, -2.0])["accuracy"] == 100
    assert metrics.rank_classification([], []) == {"accuracy": 0.0}
