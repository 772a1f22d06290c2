"""`flan-jax eval` end to end on a toy run, and its parts."""

import argparse
import contextlib
import importlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import gin
import jax
import numpy as np
import pytest
import seqio
from etils import epath

from flan_jax import config, files
from flan_jax.cli import run
from flan_jax.commands import inherit
from flan_jax.data.records import Example
from flan_jax.errors import CheckpointError, ConfigError, DataError, OutputError
from flan_jax.evaluation import generation
from flan_jax.evaluation.evaluate import EvalConfig
from flan_jax.evaluation.evaluate import evaluate as evaluate_model
from flan_jax.instructions.vocabulary import DEFAULT_MODEL, VOCABULARY
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model
from flan_jax.models.framing import Framing
from flan_jax.models.t5 import T5Config
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction
from flan_jax.training import checkpoints, stored_settings
from flan_jax.training.manifest import write_manifest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared_dir) -> pathlib.Path:
    """A run that has learned the toy tasks well enough to get some of them right.

    Its vocabulary was said by the environment.
    """
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
        "VOCABULARY": None,
    }
    flags = [f"--gin.{name}={value}" for name, value in gin.items()]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("VOCABULARY", "byte")
        run(["train", "--gin_file=gin_configs/test/toy.gin", *flags])
    return folder


def evaluate(trained, out, *arguments: str) -> dict:
    command = ["eval", f"--checkpoint={trained}", f"--out={out}", "--module=toy_tasks", *arguments]
    if not any(text.startswith("--mixture") for text in arguments):
        command.append("--mixture=toy_train")
    assert run(command) == 0
    return json.loads((pathlib.Path(out) / "metrics.json").read_text())


def predictions_of(out) -> list[dict]:
    lines = (pathlib.Path(out) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_tables_metrics_and_predictions(trained, tmp_path, capsys):
    metrics = evaluate(trained, tmp_path)
    scores = ["mixture", "step", "overall", "by_category", "by_task"]
    assert list(metrics) == [*scores, "decoding", "made_by"]
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


def test_several_checkpoints_are_asked_several_mixtures(trained, tmp_path, capfd):
    """Each as it would be alone, its weights read once, in one table."""
    shutil.copytree(trained, tmp_path / "run")  # two folders of the same name
    out = tmp_path / "out"
    command = [
        "eval", f"--checkpoint={trained},{tmp_path / 'run'}@150", "--mixture=toy_train,toy_upper",
        f"--out={out}", "--module=toy_tasks",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests/toy"))
        assert run(command) == 0
    said = capfd.readouterr()
    assert f"{trained}:" in said.out and said.out.count("by task") == 4
    rows = json.loads((out / "results.json").read_text())["checkpoints"]
    assert [row["checkpoint"] for row in rows] == [str(trained), f"{tmp_path / 'run'}@150"]
    assert rows[0]["mixtures"]["toy_train"]["out"] == str(out / "run" / "toy_train")
    assert rows[1]["mixtures"]["toy_upper"]["out"] == str(out / "run_150" / "toy_upper")
    evaluate(trained, tmp_path / "alone", "--mixture=toy_upper")
    alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())["overall"]
    for row in rows:
        assert {**row["mixtures"]["toy_upper"], "out": 0} == {**alone, "out": 0}
    for folder in ("run/toy_upper", "run_150/toy_upper"):
        assert predictions_of(out / folder) == predictions_of(tmp_path / "alone")
    # Set side by side where they were moved to, mixtures that overlap once.
    shutil.move(out, tmp_path / "moved")
    capfd.readouterr()
    assert run(["report", str(tmp_path / "moved"), f"--out={tmp_path / 'page.html'}"]) == 0
    said = capfd.readouterr()
    assert "run@150 less run, 12 examples: ROUGE-L +0.0 [+0.0, +0.0]" in said.out
    assert not said.err and ">casing</td>" in (tmp_path / "page.html").read_text()
    # Wrong names are told before anything is asked.
    with pytest.raises(DataError, match="no task or mixture named 'toy_uper'; did you mean 'toy_"):
        evaluate(trained, tmp_path / "none", "--mixture=toy_train,toy_uper")
    assert not (tmp_path / "none" / "toy_train").exists()
    with pytest.raises(ConfigError, match="nothing between two commas"):
        evaluate(trained, tmp_path / "none", "--mixture=toy_train,,toy_upper")


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
    rows = [Prediction.from_json(json.dumps(p)) for p in predictions_of(tmp_path)]
    del metrics["decoding"], metrics["made_by"]
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


def test_two_evaluations_do_not_share_a_folder(trained, tmp_path):
    with (
        files.lock_folder(tmp_path),
        pytest.raises(CheckpointError, match=f"{tmp_path} is in use by process {os.getpid()} on"),
    ):
        evaluate(trained, tmp_path)
    evaluate(trained, tmp_path)


def test_what_cannot_be_written_is_said_first(trained, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match=f"cannot write {out}: Not a directory"):
            # Not even a checkpoint is looked for.
            run(["eval", "--checkpoint=nowhere", "--mixture=toy_train", f"--out={out}"])
    assert (tmp_path / "file").read_text() == "mine"


LIMITED = """
import resource, sys
from flan_jax import cli, files
from flan_jax.training import restore
load, size = restore.weights, int(sys.argv[1])
def limited(*args, **options):
    params = load(*args, **options)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return params
restore.weights = limited
sys.argv = ["flan-jax", *sys.argv[2:]]
cli.main()
"""


@pytest.mark.parametrize(("size", "file"), [(300, "predictions.partial"), (1000, "predictions")])
def test_a_full_disk_is_one_error_and_loses_nothing(trained, tmp_path, monkeypatch, size, file):
    """The system refuses files of more bytes than that, as a full disk does."""
    few = evaluate(trained, tmp_path, "--gin.EVAL_EXAMPLES=2")
    command = ["eval", f"--checkpoint={trained}", "--mixture=toy_train", f"--out={tmp_path}"]
    command.append("--module=toy_tasks")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toy")])
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), *command, "--gin.EVAL_BATCH_SIZE=4"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    wrong = f"flan-jax: cannot write {tmp_path / file}.jsonl: File too large"
    assert done.stderr.splitlines()[-1] == wrong and "Traceback" not in done.stderr
    # What was there is there, and what was answered is not asked again.
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".evaluated", ".lock", "metrics.json", "predictions.jsonl", "predictions.partial.jsonl",
    ]  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == few
    assert len(predictions_of(tmp_path)) == 4
    answer, calls = generation.Generator.answer, []

    def counted(self, examples):
        calls.append(len(examples))
        return answer(self, examples)

    monkeypatch.setattr(generation.Generator, "answer", counted)
    whole = evaluate(trained, tmp_path)
    assert whole["overall"]["n"] == 12 and sum(calls) <= {300: 8, 1000: 0}[size]


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


# What comes with a checkpoint, and what does not.


def parts_of(checkpoint, *arguments: str) -> tuple[dict, str]:
    """Settings that an evaluation of a checkpoint has, and what is said of others."""
    parser = argparse.ArgumentParser()
    inherit.add_arguments(parser)
    args = parser.parse_args(arguments)
    found = checkpoints.require(str(checkpoint), weights_only=True)
    part = inherit.part(found, args.trust)
    parts = config.compose_parts([], "flan_jax", "eval", ["MIXTURE_OR_TASK_NAME=a"], part)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        inherit.check(found, parts, part, args)
    return config.macros(parts), said.getvalue()


@pytest.fixture(scope="module")
def with_places(tmp_path_factory, prepared_dir) -> pathlib.Path:
    """A run that was told of folders, and of a vocabulary that is no more."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("tasks", "templates"):
        (folder / name).mkdir()
    vocabulary = shutil.copy(DEFAULT_MODEL, folder / "own.model")
    gin = [
        "TRAIN_STEPS=1", f"PREPARED_DIR={prepared_dir}", f"MODEL_DIR={folder}/run",
        f"SUPER_NI_DIR={folder}/tasks", f"FLAN_TEMPLATES={folder}/templates",
        f"VOCABULARY={vocabulary}",
    ]  # fmt: skip
    flags = [f"--gin.{text}" for text in gin]
    assert run(["train", "--gin_file=gin_configs/test/toy.gin", *flags]) == 0
    vocabulary.unlink()
    return folder / "run"


def test_a_run_of_this_machine_knows_its_folders_and_a_copy_does_not(with_places, tmp_path):
    folder = with_places.parent
    names = {"SUPER_NI_DIR": f"{folder}/tasks", "FLAN_TEMPLATES": f"{folder}/templates"}
    text = (with_places / "checkpoints/1/run/metadata").read_text()
    assert str(folder) not in text
    settings, said = parts_of(with_places, "--module=toy_tasks")
    assert {name: settings[name] for name in names} == names and said == ""
    assert settings["EMB_DIM"] == 16 and settings["MODEL_DIR"] is None

    shutil.copytree(with_places, tmp_path / "copy")
    settings, said = parts_of(tmp_path / "copy", "--module=toy_tasks", "--trust")
    assert settings["SUPER_NI_DIR"] is None and settings["FLAN_TEMPLATES"] is None
    assert "does not hand on: FLAN_TEMPLATES, SUPER_NI_DIR. Give --gin.FLAN_TEMPLATES=" in said


def test_a_checkpoint_carries_its_vocabulary(with_places, tmp_path):
    found = checkpoints.require(str(with_places), weights_only=True)
    copy = checkpoints.export_weights(found, str(tmp_path / "exported"))
    for where in (with_places, copy):
        settings, _ = parts_of(where, "--module=toy_tasks")
        assert pathlib.Path(settings["VOCABULARY"]).parent.parent == found.path or where == copy
        out = tmp_path / where.name
        assert evaluate(where, out, "--gin.EVAL_EXAMPLES=1")["overall"]["n"] == 2
    damaged = shutil.copytree(with_places, tmp_path / "damaged")
    vocabulary = damaged / "checkpoints/1/vocabulary/sentencepiece.model"
    assert vocabulary.read_bytes() == DEFAULT_MODEL.read_bytes()
    vocabulary.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="vocabulary/sentencepiece.model has 5 of"):
        checkpoints.require(f"{damaged}@1", weights_only=True)


def test_a_vocabulary_of_the_environment_is_the_checkpoints(trained, monkeypatch):
    monkeypatch.setenv("VOCABULARY", "default")
    assert parts_of(trained, "--module=toy_tasks")[0]["VOCABULARY"] == "byte"


def test_places_of_the_text_of_before(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained / "checkpoints" / "150", copy)
    metadata = json.loads((copy / "run/metadata").read_text())
    settings = stored_settings.decode(metadata, "copy") | {"MIXTURE_OR_TASK_MODULE": None}
    for field in ("settings", "settings_format", "run_id"):
        del metadata[field]
    text = stored_settings.as_gin({**settings, "SUPER_NI_DIR": "/data", "MODEL_DIR": "/runs"})
    (copy / "run/metadata").write_text(json.dumps({**metadata, "macros": text}))
    write_manifest(epath.Path(copy))
    found, said = parts_of(copy)
    assert found["EMB_DIM"] == 32 and found["SUPER_NI_DIR"] is found["MODEL_DIR"] is None
    assert "SUPER_NI_DIR ('/data'). Give --gin.SUPER_NI_DIR=... where they matter, or --tr" in said
    found, said = parts_of(copy, "--trust")
    assert found["SUPER_NI_DIR"] == "/data" and said == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [([], "wants the task module 'toy_tasks'.*add --module=toy_tasks"),
     (["--module=other"], "wants the task module 'toy_tasks'"),
     (["--module=toy_tasks"], None),
     (["--trust"], None)],
)  # fmt: skip
def test_a_module_that_only_the_checkpoint_names(trained, arguments, why):
    if why is None:
        assert parts_of(trained, *arguments)[0]["MIXTURE_OR_TASK_MODULE"] == "toy_tasks"
        return
    with pytest.raises(CheckpointError, match=why):
        parts_of(trained, *arguments)


def test_a_module_that_gin_names_instead(trained, tmp_path):
    command = ["eval", f"--checkpoint={trained}", f"--out={tmp_path}", "--mixture=toy_copy"]
    module = ["--gin.MIXTURE_OR_TASK_MODULE=toy_tasks", "--gin.EVAL_EXAMPLES=1"]
    assert run([*command, *module]) == 0
    with pytest.raises(CheckpointError, match="wants the task module"):
        run(command)


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
    for pad_id in (0, 1):  # some tokenizers pad with the token that ends
        framing = Framing(pad_id=pad_id, eos_id=1)
        assert VOCABULARY.decode(framing.spoken(tokens)) == "hi"
    # A token that fills rows may be a word as well.
    assert Framing(pad_id=0, eos_id=9).spoken(np.array([5, 0, 6, 9, 0])) == [5, 0, 6]


# What texts and options may be


def ask_untrained(mixture, out, prepared_dir, vocab_size):
    """Evaluates a tiny model with random weights; returns its metrics and what it said."""
    said = []
    gin.clear_config()  # of the runs before
    config = EvalConfig(
        model=T5Config(vocab_size, 8, 2, 4, num_encoder_layers=1, num_decoder_layers=1, mlp_dim=8),
        mixture=mixture,
        feature_lengths={"inputs": 64, "targets": 8},
        prepared_dir=str(prepared_dir),
    )
    return evaluate_model(config, None, str(out), said.append), said


@pytest.fixture
def odd_folder(shared_data, monkeypatch):
    """A Super-NI folder whose texts hold U+2028, U+0085, NUL and blanks alone."""
    folder = str(shared_data / "cases" / "u2028_predictions" / "ni1")
    monkeypatch.setenv("SUPER_NI_DIR", folder)  # the module asks for it where it is imported
    monkeypatch.setenv("VOCABULARY", "byte")
    super_ni = importlib.import_module("tasks.natural_instructions.super_ni")
    super_ni.unregister()
    super_ni.register(folder)
    yield
    super_ni.unregister()


def test_texts_with_line_separators_are_evaluated_once(odd_folder, tmp_path, prepared_dir):
    VOCABULARY.use("byte")
    ask = lambda: ask_untrained("super_ni_default_test", tmp_path, prepared_dir, 384)  # noqa: E731
    first, _ = ask()
    rows = report.read_predictions(str(tmp_path))
    assert len(rows) == first["overall"]["n"] == 6
    prompts = "".join(row.prompt for row in rows)
    assert "\u2028" in prompts and "\x85" in prompts
    text = (tmp_path / "predictions.jsonl").read_text()
    assert len(text.splitlines()) == 6 and "\u2028" not in text
    again, said = ask()
    assert again == first and said[-1] == f"{tmp_path} has these results already"

    # As they were written before: separators as they are, and the identity alone.
    identity = json.loads((tmp_path / ".evaluated").read_text())["identity"]
    (tmp_path / ".evaluated").write_text(identity)
    old = "".join(
        json.dumps(json.loads(row), ensure_ascii=False) + "\n" for row in text.splitlines()
    )
    (tmp_path / "predictions.jsonl").write_text(old)
    (tmp_path / "metrics.json").write_text('{"overall": "as it was"}')
    assert "\u2028" in old and report.read_predictions(str(tmp_path)) == rows
    again, said = ask()
    # The answers stand, their scores are those of today.
    assert again == first and said[-1] == f"{tmp_path} has these results already"
    assert json.loads((tmp_path / "metrics.json").read_text()) == first


@pytest.mark.parametrize("file", ["predictions.jsonl", "metrics.json", ".evaluated"])
def test_damaged_results_are_made_anew(tmp_path, prepared_dir, file):
    import toy_tasks  # noqa: F401

    VOCABULARY.use("byte")
    ask = lambda: ask_untrained("toy_copy", tmp_path, prepared_dir, 384)  # noqa: E731
    first, _ = ask()
    whole = (tmp_path / file).read_bytes()
    for damaged in (b"", whole[:-9], b"\xff" + whole, whole.replace(b"e", b"E"), b"[" * 10**5):
        (tmp_path / file).write_bytes(damaged)
        again, said = ask()
        assert again == first and (tmp_path / file).read_bytes() == whole
        redone = said[-1] != f"{tmp_path} has these results already"
        assert redone == (file != "metrics.json")  # scores follow from answers


def test_options_that_a_vocabulary_does_not_tell_apart(shared_data, tmp_path, prepared_dir, capsys):
    """`{` and `}` are unknown tokens to the tokenizer: each example is a tie."""
    case = shared_data / "cases" / "rank_ties_and_nan"
    if "signs_rank" not in seqio.TaskRegistry.names():
        exec((case / "rk.py").read_text(), {})
    VOCABULARY.use(str(case / "hf"))
    found, _ = ask_untrained("signs_rank", tmp_path, prepared_dir, VOCABULARY.vocab_size)
    expected = {"accuracy": 50.0, "ties": 4, "not_finite": 0, "n": 4}
    assert found["overall"] == found["by_task"]["signs_rank"] == expected
    assert json.loads((tmp_path / "metrics.json").read_text()) == found
    assert {row["prediction"] for row in predictions_of(tmp_path)} == {""}
    said = capsys.readouterr().err
    assert said.count("4 ranked examples have several best options") == 1
    report.print_tables(found)
    shown = capsys.readouterr().out
    assert "accuracy" in shown and "ties" in shown and "exact match" not in shown
