"""Runs that tune adapters, as a person starts them: killed, moved, evaluated, merged."""

import pathlib
import random
import shutil

import jax
import kill_and_resume as lab
import numpy as np
import pytest

from flan_jax.cli import run
from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.training import checkpoints, own_runs, restore, tuned_weights

TOY = (
    "--gin_file=gin_configs/test/toy.gin", "--gin.TRAIN_STEPS=12", "--gin.CHECKPOINT_PERIOD=3",
    "--gin.OPTIMIZER=adamw",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def train(model_dir, folder, *gin):
    """Trains in this process."""
    assert run([*command(model_dir, folder)[3:], *gin]) == 0
    return model_dir


def command(model_dir, folder):
    return lab.command(str(model_dir), str(folder / "prepared"), TOY)


@pytest.fixture(scope="module")
def base(folder):
    return train(folder / "base", folder, "--gin.TRAIN_STEPS=3")


def tuning(base):
    # Dropout of adapters as well, so that what is drawn has to be what would have been.
    return (
        f"--gin.INITIAL_CHECKPOINT_PATH={base}", "--gin.TRAINABLE=lora", "--gin.LORA_RANK=2",
        "--gin.LORA_DROPOUT=0.2", "--gin.FROZEN_DTYPE=int8", "--gin.LORA_TARGETS=.*/(query|wo)",
    )  # fmt: skip


@pytest.fixture(scope="module")
def tuned(folder, base):
    return train(folder / "tuned", folder, *tuning(base))


def test_killed_and_resumed_ends_the_same(folder, base, tuned):
    argv = [*command(folder / "killed", folder), *tuning(base)]
    killed = lab.kill_at(
        argv, lab.environment(1), str(folder / "killed"), random.Random(0).randrange(4, 9)
    )
    assert killed >= 0
    lab.run(argv, lab.environment(1))
    first, second, _ = lab.digest(str(folder / "killed"), str(tuned)).splitlines()
    assert first == second


def test_a_checkpoint_holds_what_trains_and_sums_of_the_rest(base, tuned):
    found = restore.require(str(tuned))
    model = restore.model_of(found)
    stored = checkpoints.stored_shapes(found.path)
    assert set(stored) == set(model.trained) and all("/lora/" in name for name in stored)
    facts = found.run[tuned_weights.FIELD]
    assert facts["named"] == "base" and set(facts["checksums"]) == {*model.shapes} - {*stored}
    weights = weights_of(tuned)
    assert set(weights) == set(model.shapes)
    here = weights["encoder/norm/scale"]
    there = checkpoints.load_params_on_host(checkpoints.require(str(base)).path)
    np.testing.assert_array_equal(here, there["encoder/norm/scale"])
    size = sum(p.stat().st_size for p in pathlib.Path(found.path).rglob("*") if p.is_file())
    assert size < 3_000_000


def weights_of(where, base=None):
    found = restore.require(str(where), base=base)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return restore.weights(found, restore.model_of(found), here)


def evaluate(where, out, *more):
    return run(
        ["eval", f"--checkpoint={where}", f"--out={out}", "--mixture=toy_train",
         "--module=toy_tasks",
         "--gin.EVAL_SPLIT=train", "--gin.EVAL_EXAMPLES=3", *more]
    )  # fmt: skip


def test_evaluated_moved_and_merged(folder, base, tuned, tmp_path):
    """On its machine the base is remembered; elsewhere it is named, and has to be the right one."""
    prepared = f"--gin.PREPARED_DIR={folder / 'prepared'}"
    moved = tmp_path / "moved"
    shutil.copytree(tuned, moved)
    with pytest.raises(CheckpointError, match="its run called 'base': name them, as --gin.BASE"):
        weights_of(moved)
    other = train(folder / "other", folder, "--gin.TRAIN_STEPS=1", "--gin.SEED=1")
    with pytest.raises(CheckpointError, match="was trained on another base than .*other.*: parame"):
        weights_of(moved, str(other))
    assert evaluate(moved, tmp_path / "named", prepared, f"--gin.BASE_CHECKPOINT_PATH={base}") == 0
    assert run(["merge", str(tuned), str(tmp_path / "merged")]) == 0
    assert evaluate(tmp_path / "merged", tmp_path / "whole", prepared) == 0
    said = [(tmp_path / n / "predictions.jsonl").read_text() for n in ("named", "whole")]
    assert said[0] == said[1] and len(said[0].splitlines()) == 6
    # What was merged is a model like any other: all of it may be tuned.
    merged = f"--gin.INITIAL_CHECKPOINT_PATH={tmp_path / 'merged'}"
    again = train(folder / "again", folder, merged, "--gin.TRAIN_STEPS=1")
    stored = checkpoints.stored_shapes(checkpoints.require(str(again)).path)
    assert stored == restore.require(str(base)).shapes()


def test_goes_on_from_adapters_and_refuses_what_it_cannot_know(folder, base, tuned, tmp_path):
    on = tuning(tuned)
    train(tmp_path / "on", folder, *on, "--gin.TRAIN_STEPS=1", "--gin.LEARNING_RATE=0")
    params = [
        checkpoints.load_params_on_host(checkpoints.require(str(where)).path)
        for where in (tuned, tmp_path / "on")
    ]
    for name, value in params[0].items():
        np.testing.assert_array_equal(value, params[1][name])
    found = checkpoints.require(str(tmp_path / "on"))
    assert own_runs.recall(found.run, found.path)[own_runs.BASE] == str(base)
    with pytest.raises(
        ConfigError, match="INITIAL_CHECKPOINT_PATH must name the weights that TRAIN"
    ):
        train(tmp_path / "none", folder, "--gin.TRAINABLE=prompt")
    with pytest.raises(CheckpointError, match="was trained with other settings: .*model lora"):
        train(tuned, folder, *tuning(base), "--gin.LORA_RANK=3", "--gin.TRAIN_STEPS=15")
