"""`flan-jax eval` end to end on a toy run, and its parts."""

import json
import pathlib

import numpy as np
import pytest

from flan_jax.cli import run
from flan_jax.errors import CheckpointError, DataError
from flan_jax.evaluation import generation, report


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared_dir) -> pathlib.Path:
    """A run that has learned the toy tasks well enough to get some of them right."""
    folder = tmp_path_factory.mktemp("eval") / "run"
    gin = {
        "MODEL_DIR": folder,
        "PREPARED_DIR": prepared_dir,
        "TRAIN_STEPS": 150,
        "CHECKPOINT_PERIOD": 1000,
        "LOG_PERIOD": 50,
        "LEARNING_RATE": 0.05,
        "DROPOUT_RATE": 0.0,
        "EMB_DIM": 32,
    }
    flags = [f"--gin.{name}={value}" for name, value in gin.items()]
    run(["train", "--gin_file=gin_configs/test/toy.gin", *flags])
    return folder


def evaluate(trained, out, *arguments: str) -> dict:
    command = ["eval", f"--checkpoint={trained}", f"--out={out}", *arguments]
    if not any(text.startswith("--mixture") for text in arguments):
        command.append("--mixture=toy_train")
    assert run(command) == 0
    return json.loads((pathlib.Path(out) / "metrics.json").read_text())


def predictions_of(out) -> list[dict]:
    lines = (pathlib.Path(out) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_tables_metrics_and_predictions(trained, tmp_path, capsys):
    metrics = evaluate(trained, tmp_path)
    assert list(metrics) == ["mixture", "step", "overall", "by_category", "by_task"]
    assert metrics["mixture"] == "toy_train" and metrics["step"] == 150
    assert set(metrics["by_task"]) == {"toy_copy", "toy_upper"}
    assert set(metrics["by_category"]) == {"copying", "casing"}
    for scores in [metrics["overall"], *metrics["by_task"].values()]:
        assert set(scores) == {"rougeL", "exact_match", "n"}
        assert 0 <= scores["rougeL"] <= 100
    assert metrics["overall"]["n"] == 12

    predictions = predictions_of(tmp_path)
    assert len(predictions) == 12
    one = predictions[0]
    fields = ["task", "id", "template", "options", "prompt", "prediction", "targets"]
    assert list(one) == fields
    assert one["task"] == "toy_copy" and one["id"] == "test/0" and one["targets"] == ["red"]
    assert "red" in one["prompt"] and one["template"] in ("t0", "t1")
    said = capsys.readouterr().out
    for text in ("by task", "by category", "toy_upper", "casing", "overall", "ROUGE-L"):
        assert text in said
    assert not (tmp_path / "predictions.partial.jsonl").exists()


def test_metrics_are_those_of_the_predictions(trained, tmp_path):
    metrics = evaluate(trained, tmp_path)
    rows = [generation.Prediction.from_json(json.dumps(p)) for p in predictions_of(tmp_path)]
    assert report.summarize("toy_train", 150, rows) == metrics
    assert any(row.prediction for row in rows)


def test_batch_size_changes_no_prediction(trained, tmp_path):
    evaluate(trained, tmp_path / "a")
    evaluate(trained, tmp_path / "b", "--gin.EVAL_BATCH_SIZE=5")
    assert predictions_of(tmp_path / "a") == predictions_of(tmp_path / "b")


def test_one_task_another_split_and_one_checkpoint(trained, tmp_path):
    checkpoint = trained / "checkpoints" / "150"
    metrics = evaluate(checkpoint, tmp_path, "--mixture=toy_copy", "--gin.EVAL_SPLIT=train")
    assert metrics["overall"]["n"] == 40


def test_goes_on_where_it_was_killed(trained, tmp_path, monkeypatch):
    evaluate(trained, tmp_path / "whole")
    answer, calls = generation.Generator.answer, []

    def dies(self, examples):
        calls.append(len(examples))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, examples)

    monkeypatch.setattr(generation.Generator, "answer", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate(trained, tmp_path / "cut", "--gin.EVAL_BATCH_SIZE=4")
    partial = tmp_path / "cut" / "predictions.partial.jsonl"
    assert len(partial.read_text().splitlines()) == 1 + 4
    with partial.open("a") as file:
        file.write('["toy_copy", "test/')  # killed in the middle of a line
    evaluate(trained, tmp_path / "cut", "--gin.EVAL_BATCH_SIZE=4")
    assert sum(calls[2:]) == 8
    assert predictions_of(tmp_path / "cut") == predictions_of(tmp_path / "whole")


def test_answers_of_another_evaluation_are_not_used(trained, tmp_path):
    partial = tmp_path / "predictions.partial.jsonl"
    partial.write_text('["flan_jax", "another"]\n["toy_copy", "test/0", "from elsewhere"]\n')
    evaluate(trained, tmp_path)
    assert all(p["prediction"] != "from elsewhere" for p in predictions_of(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--mixture=toy_tran"], DataError, "did you mean 'toy_train'"),
        (["--gin.EVAL_SPLIT=tset"], DataError, "no split 'tset'; there are test, train"),
        (["--gin.VOCABULARY=default"], CheckpointError, "vocabulary"),
        (["--gin.EMB_DIM=16"], CheckpointError, r"model emb_dim \(32 -> 16\)"),
    ],
)
def test_what_does_not_fit_is_refused(trained, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(trained, tmp_path, *arguments)
    assert not (tmp_path / "metrics.json").exists()


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in .* \\(no such directory\\)"):
        evaluate(tmp_path / "nowhere", tmp_path / "out")


def test_buckets_pad_by_at_most_half_and_are_few():
    buckets = {generation.bucket_length(n, 1024) for n in range(1, 1025)}
    assert buckets == {32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}
    for n in range(33, 1025):
        assert n <= generation.bucket_length(n, 1024) <= 1.5 * n + 1
    assert generation.bucket_length(500, 300) == 300


def test_decoding_stops_at_eos_and_skips_padding():
    from flan_jax.instructions.vocabulary import VOCABULARY

    VOCABULARY.use("byte")
    tokens = np.array([*VOCABULARY.encode("hi"), 1, *VOCABULARY.encode("no"), 0, 0])
    assert generation.decode_tokens(tokens) == "hi"
