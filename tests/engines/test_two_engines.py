"""Both engines take the same two steps from one checkpoint, and score what they made alike."""

import json
import pathlib

import jax
import numpy as np
import pytest
from t5x_processes import needs_t5x, run_python

from flan_jax.instructions.vocabulary import padded_vocab_size
from flan_jax.interop import convert, t5x, t5x_export, t5x_files
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPERIMENT = """
MODEL = 't5_1_1/tiny'
MIXTURE_OR_TASK_NAME = 'toy_alike'
MIXTURE_OR_TASK_MODULE = '{module}'
TASK_FEATURE_LENGTHS = {{'inputs': 32, 'targets': 16}}
BATCH_SIZE = 4
PACKING = False
COMPUTE_DTYPE = 'float32'
TRAIN_STEPS = 2
CHECKPOINT_PERIOD = 2
LOG_PERIOD = 1
"""
TESTED = ("--mixture=toy_alike", "--gin.EVAL_SPLIT='test'", "--gin.EVAL_BATCH_SIZE=2")
pytestmark = [pytest.mark.t5x, pytest.mark.slow, needs_t5x]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with runs of both engines from one checkpoint, and the experiment's file."""
    folder = tmp_path_factory.mktemp("two")
    module = ROOT / "tests" / "toy" / "toy_alike.py"
    experiment = folder / "experiment.gin"
    experiment.write_text(EXPERIMENT.format(module=module))
    config = T5Config(
        padded_vocab_size(), emb_dim=64, num_heads=4, head_dim=16, num_encoder_layers=2,
        num_decoder_layers=2, mlp_dim=128, mlp_activations=("gelu", "linear"),
    )  # fmt: skip
    model = Model(config)
    params = model.init(jax.random.key(0))
    start = t5x_export.export_t5x(
        t5x.table(config), model.shapes, lambda name: np.asarray(params[name]), folder / "start"
    )
    starts = {"t5x": start, "flan_jax": f"t5x:{folder / 'start'}"}
    for name, where in starts.items():
        run_python(
            "-m", "flan_jax", "train", f"--engine={name}", f"--gin_file={experiment}",
            f"--gin.MODEL_DIR='{folder / name}'", f"--gin.INITIAL_CHECKPOINT_PATH='{where}'",
            cwd=folder,
        )  # fmt: skip
    return folder


def parameters(where):
    """Parameters of a checkpoint of T5X."""
    files = t5x_files.open_folder(where)
    whole = {name: tuple(slice(0, size) for size in shape) for name, shape in files.shapes.items()}
    return {name: files.read(name, index) for name, index in whole.items()}


def test_two_steps_are_the_same(trained):
    convert.convert(str(trained / "flan_jax"), str(trained / "ours"), to="t5x", say=print)
    before, ours = parameters(trained / "start"), parameters(trained / "ours")
    theirs = parameters(trained / "t5x")
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        moved = np.abs(value - before[name]).max()
        assert moved > 0, name
        np.testing.assert_allclose(ours[name], value, atol=0.01 * moved, rtol=0, err_msg=name)


def test_scores_are_the_same(trained):
    module = ROOT / "tests" / "toy" / "toy_alike.py"
    run_python(
        "-m", "flan_jax", "eval", f"--checkpoint={trained / 'flan_jax'}",
        f"--out={trained / 'own'}", f"--module={module}", *TESTED, cwd=trained,
    )  # fmt: skip
    found = evaluated_by_t5x(trained, "scored")
    theirs = json.loads((found / "toy_alike-metrics.jsonl").read_text().splitlines()[-1])
    ours = json.loads((trained / "own" / "metrics.json").read_text())["overall"]
    assert {name: theirs[name] for name in ("rougeL", "exact_match")} == {
        name: ours[name] for name in ("rougeL", "exact_match")
    }
    said = [predictions(found / "toy_alike-000002.jsonl"), predictions(trained / "own")]
    assert said[0] == said[1] and len(said[0]) == 4


def evaluated_by_t5x(trained, name, *overrides):
    """The folder of what T5X evaluates of its run."""
    run_python(
        "-m", "flan_jax", "eval", "--engine=t5x", f"--checkpoint={trained / 't5x'}",
        f"--out={trained / name}", f"--gin_file={trained / 'experiment.gin'}", *TESTED, *overrides,
        cwd=trained,
    )  # fmt: skip
    return trained / name / "inference_eval"


@pytest.mark.parametrize(
    "decoding", [("DECODING=beam", "NUM_BEAMS=2"), ("DECODING=sample", "TOP_P=0.9")]
)
def test_t5x_decodes_in_other_ways(trained, decoding):
    found = evaluated_by_t5x(trained, decoding[0], *(f"--gin.{setting}" for setting in decoding))
    assert len(predictions(found / "toy_alike-000002.jsonl")) == 4


def predictions(path):
    """What was generated, of each example in the order of their names."""
    path = path / "predictions.jsonl" if path.is_dir() else path
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    named = {row.get("id") or row["input"]["id"]: row["prediction"] for row in rows}
    return [named[name] for name in sorted(named)]
