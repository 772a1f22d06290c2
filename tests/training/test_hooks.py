"""What happens between steps: hooks, stop rules, validation, traces, and what is told of a run."""

import json
import math
import pathlib
import time

import gin
import jax
import pytest

from flan_jax import json_files
from flan_jax.cli import run
from flan_jax.errors import ConfigError, DataError, FlanJaxError, OutputError
from flan_jax.training import checkpoints, telemetry, trackers
from flan_jax.training.hooks import Hook, StopRule, stop_rule


@pytest.fixture(autouse=True)
def no_bindings_from_elsewhere():
    """What a run bound would else be the default of the next test's `stop_rule()`."""
    gin.clear_config()


def toy(model_dir, prepared_dir, *gin: str, **options: str) -> int:
    arguments = ["train", "--gin_file=gin_configs/test/toy.gin", f"--gin.MODEL_DIR={model_dir}"]
    arguments += [f"--{name}={value}" for name, value in options.items()]
    return run([*arguments, f"--gin.PREPARED_DIR={prepared_dir}", *(f"--gin.{g}" for g in gin)])


def metrics_of(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


VALIDATED = ("VALIDATION_MIXTURES=toy_train", "VALIDATION_SPLIT=test", "VALIDATION_PERIOD=2")


def test_a_run_with_everything(tmp_path, prepared_dir, capsys):
    """Validation, best checkpoint, trace, microbatches, chunks: one run has them all."""
    folder = tmp_path / "run"
    everything = (
        *VALIDATED,
        "TRAIN_STEPS=6",
        "BEST_METRIC=validation/toy_train/loss",
        "CHECKPOINT_PERIOD=2",
        "KEEP_CHECKPOINTS=1",
        "MICROBATCHES=2",
        "LOSS_CHUNK=4",
        "REMAT=full",
        "ATTENTION_CHUNK=16",
        "LABEL_SMOOTHING=0.1",
        "LEARNING_RATE_SCHEDULE=cosine",
        "GRADIENT_CLIP_NORM=1.0",
        "WEIGHT_DECAY=0.01",
        "LOSS_NORMALIZING_FACTOR=AVERAGE_PER_SEQUENCE",
    )
    assert toy(folder, prepared_dir, *everything, profile_steps="3:4") == 0
    said = capsys.readouterr().out
    assert "trace of steps 3 to 4" in said and "temporary on each device" in said
    assert any((folder / "profile").rglob("*.xplane.pb"))
    lines = metrics_of(folder)
    validations = [line for line in lines if "validation/toy_train/loss" in line]
    assert [line["step"] for line in validations] == [2, 4, 6]
    assert all(0 < line["validation/toy_train/loss"] < 20 for line in validations)
    steps = [line for line in lines if "loss" in line]
    rates = [line["learning_rate"] for line in steps]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.1 * rates[0]
    for line in steps[1:]:
        shares = line["compute_share"] + line["data_wait_share"] + line["host_share"]
        assert math.isclose(shares, 1.0, abs_tol=1e-6)
        assert line["model_flops_per_second"] > 0 and 0 < line["goodput"] < 1
    best = min(validations, key=lambda line: line["validation/toy_train/loss"])["step"]
    assert set(checkpoints.list_steps(str(folder))) == {best, 6}
    assert checkpoints.require(f"{folder}@best").step == best
    assert "parameters:" in (folder / "model-info.txt").read_text()


def test_validation_is_the_same_after_a_resume(tmp_path, prepared_dir):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert toy(whole, prepared_dir, *VALIDATED, "TRAIN_STEPS=4", "CHECKPOINT_PERIOD=2") == 0
    for steps in (2, 4):
        toy(parts, prepared_dir, *VALIDATED, f"TRAIN_STEPS={steps}", "CHECKPOINT_PERIOD=2")
    name = "validation/toy_train/loss"
    found = [[line[name] for line in metrics_of(run) if name in line] for run in (whole, parts)]
    assert found[0] == found[1] and len(found[0]) == 2


def test_a_target_ends_the_run_with_a_checkpoint(tmp_path, prepared_dir, capsys):
    stop = ("STOP_METRIC=loss", "STOP_TARGET=100.0", "TRAIN_STEPS=9", "LOG_PERIOD=2")
    assert toy(tmp_path / "run", prepared_dir, *stop) == 0
    assert "loss reached" in capsys.readouterr().out
    assert checkpoints.list_steps(str(tmp_path / "run")) == [2]


def test_a_stop_metric_that_never_comes_is_named(tmp_path, prepared_dir):
    stop = ("STOP_METRIC=acuracy", "STOP_PATIENCE=2", "TRAIN_STEPS=9")
    with pytest.raises(FlanJaxError, match="no metric 'acuracy'; did you mean 'accuracy'"):
        toy(tmp_path / "run", prepared_dir, *stop)


def test_wall_time_makes_temporary_checkpoints(tmp_path, prepared_dir):
    """With next to no time between saves each report saves; only the last one stays."""
    late = ("CHECKPOINT_SECONDS=0.001", "CHECKPOINT_PERIOD=100", "TRAIN_STEPS=5", "LOG_PERIOD=2")
    assert toy(tmp_path / "run", prepared_dir, *late) == 0
    assert checkpoints.list_steps(str(tmp_path / "run")) == [5]


def test_part_of_a_checkpoint_starts_a_run(tmp_path, prepared_dir, capsys):
    import numpy as np

    first, second = tmp_path / "first", tmp_path / "second"
    toy(first, prepared_dir, "TRAIN_STEPS=2")
    part = (f"INITIAL_CHECKPOINT_PATH={first}", "INITIAL_CHECKPOINT_PART=encoder/.*")
    tiny = ("LEARNING_RATE=1e-30", "TRAIN_STEPS=1", "SEED=3")
    toy(second, prepared_dir, *part, *tiny)
    assert "starting at step 0 with encoder/.* of" in capsys.readouterr().out
    a, b = (
        checkpoints.load_params_on_host(checkpoints.require(str(folder)).path)
        for folder in (first, second)
    )
    for name in a:
        same = np.array_equal(a[name], b[name])
        assert same == (name.startswith("encoder/") or name.endswith("scale") and same), name
    with pytest.raises(FlanJaxError, match="INITIAL_CHECKPOINT_PART|matches no|no parameter"):
        toy(tmp_path / "third", prepared_dir, part[0], "INITIAL_CHECKPOINT_PART=encodr/.*", *tiny)


def test_hooks_are_called_when_due():
    hook = Hook(lambda moment: None, every=3)
    assert [hook.due(step, last=step == 7) for step in range(1, 8)] == [
        False,
        False,
        True,
        False,
        False,
        True,
        True,
    ]
    with pytest.raises(ConfigError, match="every"):
        Hook(lambda moment: None, every=0)


def test_patience_counts_values_that_are_no_better():
    watch = StopRule("loss", patience=2, min_delta=0.1).start()
    assert [watch.see({"loss": v}) for v in (3.0, 2.0, 1.95)] == [None] * 3
    assert watch.see({"other": 1.0}) is None
    saved = watch.state()
    # A run that goes on from a checkpoint stops where one that was left alone does.
    for one in (watch, StopRule("loss", patience=2, min_delta=0.1).start(saved)):
        assert one.see({"loss": 1.93}) == "loss has not been better than 2 2 times"
    up = StopRule("accuracy", mode="max", target=0.5).start()
    assert up.see({"accuracy": 0.4}) is None and "reached 0.5" in up.see({"accuracy": 0.5})


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(target=1.0), "need STOP_METRIC"),
        (dict(metric="loss"), "needs STOP_TARGET or STOP_PATIENCE"),
        (dict(metric="loss", target=1.0, mode="least"), "STOP_MODE"),
        (dict(metric="loss", patience=0), "STOP_PATIENCE"),
    ],
)
def test_stop_rules_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        stop_rule(**fields)
    assert stop_rule() is None


def test_goodput_counts_kept_steps_against_the_first_start(tmp_path):
    first = telemetry.Goodput(str(tmp_path))
    time.sleep(0.05)
    again = telemetry.Goodput(str(tmp_path), kept=0.02)
    assert first.share() == 0.0
    assert 0 < again.share() < 0.02 / 0.05


def test_a_window_splits_its_time():
    window = telemetry.Window()
    for part in ("data", "host", "aside"):
        with window.measure(part):
            time.sleep(0.02)
    time.sleep(0.04)
    window.steps, window.tokens, window.positions = 2, 10, 20
    report = window.report(flops_per_step=1e6)
    assert report["step_seconds"] * 2 >= 0.08 and report["fill"] == 0.5
    assert report["compute_share"] > report["data_wait_share"] > 0
    assert ("mfu" in report) == (telemetry.peak_flops(jax.devices()[0].device_kind) is not None)


@pytest.mark.parametrize(
    "kind, flops",
    [("NVIDIA H100 80GB HBM3", 989e12), ("TPU v5 lite", 197e12), ("TPU v5", 459e12), ("cpu", None)],
)
def test_peak_of_known_devices(kind, flops):
    assert telemetry.peak_flops(kind) == flops


def test_profile_steps_that_cannot_be(tmp_path, prepared_dir):
    with pytest.raises(FlanJaxError, match="PROFILE_STEPS must be .* first:last, .*, not '5'"):
        toy(tmp_path / "run", prepared_dir, profile_steps="5")


def test_weights_and_biases(tmp_path, prepared_dir, monkeypatch):
    """Without the library one clear error; with it, the real one writes an offline run."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    arguments = (tmp_path / "run", prepared_dir, "WANDB_PROJECT=toy", "TRAIN_STEPS=2")
    try:
        import wandb  # noqa: F401
    except ImportError:
        with pytest.raises(FlanJaxError, match=r"pip install 'flan-jax\[wandb\]'"):
            toy(*arguments)
        return
    assert toy(*arguments) == 0
    assert any((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_metrics_are_json_whatever_they_hold(tmp_path):
    path = tmp_path / trackers.METRICS_FILE
    lines = trackers.JsonLines(str(tmp_path), 0)
    lines.write(1, {"loss": 1.5, "validation/a\u2028b": math.nan})
    lines.write(2, {"loss": math.inf})
    lines.write(5, {"loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # what a killed run was writing
    with pytest.raises(DataError, match="metrics.jsonl, line 4: not JSON"):
        trackers.read_reports(str(tmp_path))
    trackers.JsonLines(str(tmp_path), 2)
    assert len(path.read_text().splitlines()) == 2
    assert trackers.read_reports(str(tmp_path)) == [
        {"step": 1, "loss": 1.5, "validation/a\u2028b": None},
        {"step": 2, "loss": None},
    ]
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=f"cannot write {path}: Is a directory"):
        lines.write(3, {})


def test_goodput_bears_a_damaged_file(tmp_path):
    (tmp_path / telemetry.Goodput.FILE).write_text('{"unix_seconds": 1' + "0" * 5000 + "}")
    assert telemetry.Goodput(str(tmp_path)).share() == 0
    assert json_files.read_json(tmp_path / telemetry.Goodput.FILE)["unix_seconds"] > 1e9
