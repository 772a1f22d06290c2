"""`flan-jax eval` end to end on a toy run, and its parts."""

import json
import pathlib

import jax
import numpy as np
import pytest

from flan_jax.cli import run
from flan_jax.data.records import Example
from flan_jax.errors import CheckpointError, ConfigError, DataError
from flan_jax.evaluation import generation, report
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config


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
    assert list(metrics) == ["mixture", "step", "overall", "by_category", "by_task", "decoding"]
    assert metrics["decoding"] == {"method": "greedy"}
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


def test_what_is_evaluated_already_stands(trained, tmp_path, capsys):
    evaluate(trained, tmp_path)
    stamp = (tmp_path / "predictions.jsonl").stat().st_mtime_ns
    first = evaluate(trained, tmp_path)
    assert "has these results already" in capsys.readouterr().err
    assert (tmp_path / "predictions.jsonl").stat().st_mtime_ns == stamp
    # Other settings, or a damaged file, are answered anew.
    fewer = evaluate(trained, tmp_path, "--gin.EVAL_EXAMPLES=2")
    assert fewer["overall"]["n"] == 4 and len(predictions_of(tmp_path)) == 4
    assert {row["id"] for row in predictions_of(tmp_path)} == {"test/0", "test/1"}
    assert evaluate(trained, tmp_path) == first
    (tmp_path / "predictions.jsonl").write_text('{"task"')
    assert evaluate(trained, tmp_path) == first and len(predictions_of(tmp_path)) == 12


def test_the_number_of_examples_is_checked(trained, tmp_path):
    with pytest.raises(ConfigError, match="EVAL_EXAMPLES must be None or a whole number"):
        evaluate(trained, tmp_path, "--gin.EVAL_EXAMPLES=0")


def test_metrics_are_those_of_the_predictions(trained, tmp_path):
    metrics = evaluate(trained, tmp_path)
    rows = [generation.Prediction.from_json(json.dumps(p)) for p in predictions_of(tmp_path)]
    del metrics["decoding"]
    assert report.summarize("toy_train", 150, rows) == metrics
    assert any(row.prediction for row in rows)


SAMPLING = ["--gin.DECODING=sample", "--gin.TEMPERATURE=1.5", "--gin.TOP_K=40", "--gin.TOP_P=0.95"]


def test_batch_size_changes_no_prediction(trained, tmp_path):
    evaluate(trained, tmp_path / "a")
    evaluate(trained, tmp_path / "b", "--gin.EVAL_BATCH_SIZE=5")
    assert predictions_of(tmp_path / "a") == predictions_of(tmp_path / "b")


def test_samples_and_beams(trained, tmp_path):
    found = {}
    for name, arguments in {
        "greedy": [],
        "beam": ["--gin.DECODING=beam", "--gin.NUM_BEAMS=2", "--gin.LENGTH_PENALTY=0.6"],
        "sample": SAMPLING,
        "other batches": [*SAMPLING, "--gin.EVAL_BATCH_SIZE=5"],
        "other seed": [*SAMPLING, "--gin.SEED=7"],
    }.items():
        metrics = evaluate(trained, tmp_path / name, *arguments)
        found[name] = metrics["decoding"], predictions_of(tmp_path / name)
    assert found["beam"][0] == {"method": "beam", "num_beams": 2, "length_penalty": 0.6}
    assert found["sample"][0] == {
        "method": "sample",
        "temperature": 1.5,
        "top_k": 40,
        "top_p": 0.95,
        "seed": 0,
    }
    assert found["other batches"] == found["sample"]
    assert found["other seed"][1] != found["sample"][1] != found["greedy"][1]
    assert Decoding().method == "greedy"  # gin's bindings reach no one else


def test_answers_of_another_method_are_not_used(trained, tmp_path, monkeypatch):
    """An evaluation that was killed does not go on with answers chosen in another way."""
    answer, calls = generation.Generator.answer, []

    def dies_once(self, examples):
        calls.append(len(examples))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, examples)

    monkeypatch.setattr(generation.Generator, "answer", dies_once)
    arguments = ["--mixture=toy_copy", "--gin.EVAL_BATCH_SIZE=4"]
    with pytest.raises(KeyboardInterrupt):
        evaluate(trained, tmp_path, *arguments)
    evaluate(trained, tmp_path, *arguments, "--gin.DECODING=sample")
    assert calls == [4, 2, 4, 2]


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
        (["--gin.DECODING=beem"], ConfigError, "did you mean 'beam'"),
        (["--gin.DECODING=beam", "--gin.NUM_BEAMS=0"], ConfigError, "NUM_BEAMS must be"),
        (["--gin.NUM_BEEMS=2"], ConfigError, "did you mean 'NUM_BEAMS'"),
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


@pytest.mark.parametrize("method", ["sample", "beam"])
def test_one_compilation_a_bucket(method):
    from flan_jax.instructions.vocabulary import VOCABULARY

    VOCABULARY.use("byte")
    config = T5Config(384, 8, 2, 4, num_encoder_layers=1, num_decoder_layers=1, mlp_dim=8)
    model = Model(config)
    decoding = Decoding(method, num_beams=2)
    params = model.init(jax.random.key(0))
    generator = generation.Generator(model, params, 50, 3, batch_size=4, decoding=decoding)
    lengths = [1, 3, 31, 32, 33, 40, 47, 48, 49, 50, 51, 500] * 4 + [20]
    np.random.default_rng(0).shuffle(lengths)
    examples = [
        Example(str(i), "t", np.full(n, 9, np.int32), np.array([1]), "", "")
        for i, n in enumerate(lengths)
    ]
    seen, answers = set(), {}
    for positions in generator.batches(examples):
        longest = max(lengths[position] for position in positions)
        seen.add(generation.bucket_length(min(longest, 50), 50))
        batch = [("task", examples[position]) for position in positions]
        answers |= zip(positions, generator.answer(batch), strict=True)
        assert generator._decode._cache_size() == len(seen)
    assert seen == {32, 48, 50} and len(positions) == 1  # the last batch is a short one
    # The shortest gets the same answer alone and among the longest ones.
    last, shortest, longest = (("task", examples[i]) for i in np.argsort(lengths)[[-2, 0, -1]])
    assert generator.answer([shortest]) == [answers[int(shortest[1].id)]]
    assert generator.answer([last, shortest, longest])[1] == answers[int(shortest[1].id)]


def test_decoding_stops_at_eos_and_skips_padding():
    from flan_jax.instructions.vocabulary import VOCABULARY

    VOCABULARY.use("byte")
    tokens = np.array([*VOCABULARY.encode("hi"), 1, *VOCABULARY.encode("no"), 0, 0])
    assert generation.decode_tokens(tokens) == "hi"
