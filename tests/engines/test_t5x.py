"""T5X runs our experiments: the composed file is complete, and two steps train for real."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from t5x_processes import needs_t5x, run_python

from flan_jax import config
from flan_jax.engines import t5x as engine
from flan_jax.errors import ConfigError, FlanJaxError
from flan_jax.training.schedules import Schedule

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("FLAN_JAX_SHARED_DATA", ROOT.parent / "shared" / "data"))
EXPERIMENT = """
MODEL = 't5_1_1/tiny'
MIXTURE_OR_TASK_NAME = 'minilab_tiny_train'
MIXTURE_OR_TASK_MODULE = 'tasks.minilab'
TASK_FEATURE_LENGTHS = {'inputs': 128, 'targets': 32}
BATCH_SIZE = 4
COMPUTE_DTYPE = 'float32'
"""
LOSS = re.compile(r"\[(\d+)\] collection=train .*?\bloss=([^,\s]+)")


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.gin"
    path.write_text(EXPERIMENT)
    return str(path)


def two_steps(experiment, model_dir, *overrides):
    """Runs plain t5x.train on the composed file; returns the loss of each step."""
    shared = [f"MODEL_DIR={model_dir}", "TRAIN_STEPS=2", "CHECKPOINT_PERIOD=2", "LOG_PERIOD=1"]
    gin_file = model_dir.with_suffix(".gin")
    gin_file.write_text(config.compose(experiment, "t5x", "train", [*shared, *overrides]))
    done = run_python("-m", "t5x.train", f"--gin_file={gin_file}", cwd=model_dir.parent)
    return {int(step): float(loss) for step, loss in LOSS.findall(done.stderr)}


def check_trained(losses, model_dir):
    assert sorted(losses) == [1, 2]
    assert all(math.isfinite(loss) for loss in losses.values())
    assert {"checkpoint_0", "checkpoint_2"} <= {path.name for path in model_dir.iterdir()}
    assert (model_dir / "checkpoint_2" / "state").is_dir()


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
def test_minilab_trains_two_steps_the_same_each_time(experiment, tmp_path):
    first = two_steps(experiment, tmp_path / "first")
    check_trained(first, tmp_path / "first")
    assert two_steps(experiment, tmp_path / "second") == pytest.approx(first, rel=1e-5)


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
@pytest.mark.skipif(not (SHARED_DATA / "super_ni").is_dir(), reason="no shared data")
def test_super_ni_trains_two_steps(tmp_path):
    losses = two_steps(
        "gin_configs/experiments/super_ni_tiny.gin",
        tmp_path / "run",
        f"SUPER_NI_DIR={SHARED_DATA / 'super_ni'}",
        "BATCH_SIZE=2",
    )
    check_trained(losses, tmp_path / "run")


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
def test_flan_trains_and_is_ranked(tmp_path, monkeypatch, capfd):
    """T5X feeds the score metric of rank classification."""
    tfds = tmp_path / "tfds"
    write = [sys.executable, "scripts/write_flan_samples.py", str(tfds), "rte"]
    subprocess.run(write, cwd=ROOT, check=True, timeout=300)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds))
    model_dir, out = tmp_path / "run", tmp_path / "out"
    shared = ["MODEL=t5_1_1/tiny", "COMPUTE_DTYPE=float32", f"MODEL_DIR={model_dir}"]
    steps = [*shared, "TRAIN_STEPS=1", "CHECKPOINT_PERIOD=1", "BATCH_SIZE=2"]
    experiment = "gin_configs/experiments/flan_tiny.gin"
    assert engine.launch(config.compose(experiment, "t5x", "train", steps), "train") == 0
    chosen = [
        *shared,
        f"CHECKPOINT_PATH='{model_dir}/checkpoint_1'",
        f"EVAL_OUTPUT_DIR='{out}'",
        "MIXTURE_OR_TASK_NAME=flan_rte_rank",
        "EVAL_SPLIT=test",
        "EVAL_EXAMPLES=8",
        "EVAL_BATCH_SIZE=2",
    ]
    assert engine.launch(config.compose(experiment, "t5x", "eval", chosen), "eval") == 0
    (metrics,) = (out / "inference_eval").glob("flan_rte_rank*-metrics.jsonl")
    assert 0 <= json.loads(metrics.read_text().splitlines()[-1])["accuracy"] <= 100
    capfd.readouterr()


@pytest.mark.parametrize("run", ["train", "eval", "infer"])
def test_composed_file_defines_every_macro_it_reads(experiment, run):
    text = config.compose(experiment, "t5x", run, ["OPTIMIZER=adamw"])
    assert text.startswith("from __gin__ import dynamic_registration\n")
    assert "\ninclude" not in text
    macros = config.macros([config.Part("composed", text)])
    code = re.sub(r"#.*", "", text)
    assert set(re.findall(r"%([A-Z_]\w*)", code)) <= set(macros)
    assert macros["EMB_DIM"] == 64
    assert macros["MIXTURE_OR_TASK_NAME"] == "minilab_tiny_train"
    assert macros["OPTIMIZER"] == "adamw"


def test_a_misspelt_optimizer_is_answered_with_the_nearest():
    makers = {"adafactor": lambda: 1, "adamw": lambda: 2}
    assert engine.choose("OPTIMIZER", "adamw", makers) == 2
    with pytest.raises(ConfigError, match="did you mean 'adafactor'"):
        engine.choose("OPTIMIZER", "adafctor", makers)


def test_what_t5x_cannot_start_from_or_run_is_refused():
    assert engine.restore_path(None) == []
    assert engine.restore_path("gs://bucket/checkpoint_1") == "gs://bucket/checkpoint_1"
    assert engine.restore_path("t5x:/a/checkpoint_1") == "/a/checkpoint_1"
    with pytest.raises(ConfigError, match="flan-jax convert hf:.* --to=t5x"):
        engine.restore_path("hf:google/flan-t5-base")
    overrides = ["MODEL=umt5/small", "MODEL_DIR=x"]
    experiment = "gin_configs/experiments/minilab_tiny.gin"
    with pytest.raises(ConfigError, match="RELATIVE_ATTENTION_PER_LAYER.*engine flan_jax"):
        config.compose(experiment, "t5x", "train", overrides)


def test_decoding_means_on_t5x_what_it_means_here():
    def decoder(method, top_p=1.0):
        made = engine.decoder(method, 0.7, 5, top_p, 0.6, sample=print, beam=repr)
        return made.func, made.keywords

    assert decoder("greedy") == (print, {"temperature": 0.0})
    assert decoder("sample") == (print, {"temperature": 0.7, "topk": 5, "topp": 0.0})
    assert decoder("sample", 0.9)[1]["topp"] == 0.9
    assert decoder("beam") == (repr, {"alpha": 0.6})
    assert engine.beams("beam", 3) == 3 and engine.beams("sample", 3) == 1
    with pytest.raises(ConfigError, match="DECODING 'beem'.*did you mean 'beam'"):
        decoder("beem")


def test_data_order_is_fixed_and_changes_on_resumption(tmp_path):
    assert engine.data_seed(3, str(tmp_path / "absent")) == 3
    (tmp_path / "checkpoint_20.orbax-checkpoint-tmp").mkdir()
    assert engine.data_seed(3, str(tmp_path)) == 3
    (tmp_path / "checkpoint_10").mkdir()
    ten = engine.data_seed(3, str(tmp_path))
    (tmp_path / "checkpoint_20").mkdir()
    assert len({3, ten, engine.data_seed(3, str(tmp_path))}) == 3
    assert engine.data_seed(None, str(tmp_path)) is None


def test_an_error_ends_the_process_whatever_still_runs():
    code = """
import threading, time
from flan_jax.engines.t5x import end_on_error
assert end_on_error("config") == "config"
threading.Thread(target=time.sleep, args=(600,)).start()
raise ValueError("what went wrong")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=engine.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ValueError: what went wrong" in done.stderr


def test_missing_t5x_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv(engine.PATH_VARIABLE, str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(FlanJaxError, match="requirements-t5x.txt.*T5X_PATH"):
        engine.launch("", "train")


def test_the_root_of_a_checkout_does_not_pass_for_the_package(monkeypatch, tmp_path):
    (tmp_path / "t5x" / "t5x").mkdir(parents=True)
    (tmp_path / "t5x" / "t5x" / "__init__.py").touch()
    (tmp_path / "t5x" / "t5x" / "train.py").touch()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv(engine.PATH_VARIABLE, str(tmp_path))
    assert "t5x.train" in engine.missing_modules()
    monkeypatch.setenv(engine.PATH_VARIABLE, str(tmp_path / "t5x"))
    assert "t5x.train" not in engine.missing_modules()


def test_an_unknown_verb_is_answered_with_the_nearest():
    with pytest.raises(FlanJaxError, match="did you mean 'train'"):
        engine.launch("", "trian")


LOSSES = """
import json
import jax.numpy as jnp
import numpy as np
from t5x import losses

rng = np.random.default_rng(0)
logits = 3 * rng.normal(size=(2, 6, 11)).astype(np.float32)
targets = rng.integers(0, 11, (2, 6)).astype(np.int32)
batch = {
    "decoder_target_tokens": targets,
    "decoder_segment_ids": np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]], np.int32),
    "decoder_positions": np.array([[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]], np.int32),
    "decoder_loss_weights": np.array([[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]], np.float32),
}
found = {}
for name in ("NUM_REAL_TARGET_TOKENS", "NUM_TOTAL_TARGET_TOKENS", "AVERAGE_PER_SEQUENCE"):
    factor, weights = losses.get_loss_normalizing_factor_and_weights(name, batch)
    loss, z_loss, _ = losses.compute_weighted_cross_entropy(
        logits, targets, weights, 0.1, 0.01, factor
    )
    found[name] = float(loss)
print(json.dumps(found))
"""


@pytest.mark.t5x
@needs_t5x
def test_losses_are_those_of_t5x():
    """Label smoothing, z-loss and each way to normalise, on packed rows."""
    import jax.numpy as jnp
    import numpy as np

    from flan_jax.training.losses import Loss

    theirs = json.loads(run_python("-c", LOSSES).stdout.splitlines()[-1])
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * rng.normal(size=(2, 6, 11)).astype(np.float32))
    targets = jnp.asarray(rng.integers(0, 11, (2, 6)).astype(np.int32))
    batch = {
        "decoder_segment_ids": jnp.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]]),
        "decoder_loss_weights": jnp.array([[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]]),
    }
    for name, expected in theirs.items():
        loss = Loss(z_loss=0.01, label_smoothing=0.1, normalizing_factor=name)
        weights, divisor = loss.weights(batch)
        counted = batch["decoder_loss_weights"]
        # The "hidden states" are the logits, under a head that passes them on.
        sums = loss.sums(lambda hidden: hidden, logits, targets, counted, weights)
        assert math.isclose(sums.objective / divisor, expected, rel_tol=1e-5), name


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "rsqrt"])
def test_schedules_are_those_of_the_built_in_engine(name):
    learning_rate = engine.learning_rate(name, peak=0.5, warmup_steps=3, decay_steps=20, end=0.1)
    schedule = Schedule(name, peak=0.5, warmup_steps=3, decay_steps=20, end=0.1).build()
    for step in (0, 2, 3, 10, 20, 50):
        assert float(learning_rate(step)) == pytest.approx(float(schedule(step)))
