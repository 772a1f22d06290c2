"""Every way to shard gives the numbers of one device; shapes that cannot be are refused."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from flan_jax.errors import ConfigError
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import model_info
from flan_jax.training import state as state_lib
from flan_jax.training.optimizers import Optimizer

HERE = pathlib.Path(__file__).parent
FLAGS = "--xla_force_host_platform_device_count=8"
# A device that waits for others in a collective holds a thread of XLA's pool, which has as many as
# there are devices: two collectives at once can leave none to arrive. NPROC makes the pool larger.
CASES = [
    *(f"plain/{preset}" for preset in mesh_lib.PRESETS),
    *("dropout/data", "dropout/tensor", "dropout/data_fsdp_tensor"),
    "adafactor/fsdp",
]


@pytest.fixture(scope="module")
def cases() -> dict:
    done = subprocess.run(
        [sys.executable, str(HERE / "mesh_losses.py"), *CASES],
        env={**os.environ, "XLA_FLAGS": FLAGS, "NPROC": "32", "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # XLA says so where it had to gather a whole array to change its layout.
    assert "Involuntary full rematerialization" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_one_device(cases, case):
    expected = cases[f"{case.partition('/')[0]}/one"]
    np.testing.assert_allclose(cases[case]["losses"], expected["losses"], rtol=0, atol=1e-5)
    assert len(expected["losses"]) == 20
    assert expected["losses"][0] - expected["losses"][-1] > 0.2


@pytest.mark.slow
def test_each_device_holds_its_share(cases):
    """Optimizer state included; what stays whole are counts and a few small statistics."""
    whole = cases["plain/one"]["bytes"]
    for preset, parts in {"data": 1, "fsdp": 8, "data_fsdp": 2, "data_fsdp_tensor": 4}.items():
        assert whole / parts <= cases[f"plain/{preset}"]["bytes"] < 1.1 * whole / parts
    factored = cases["adafactor/one"]["bytes"]
    assert cases["adafactor/fsdp"]["bytes"] < 1.1 * factored / 8


LARGE = T5Config(
    vocab_size=512,
    emb_dim=256,
    num_heads=6,
    head_dim=64,
    num_encoder_layers=3,
    num_decoder_layers=2,
    mlp_dim=256,
)


def recipe() -> state_lib.StepRecipe:
    model = Model(LARGE)
    return state_lib.StepRecipe(model, Optimizer().build(model.axes))


def test_factored_statistics_lie_as_their_parameter_does():
    """Rows and columns of Adafactor keep the sharding of the axis that they kept."""
    mesh = mesh_lib.abstract_mesh("fsdp_tensor", 8)
    shardings = state_lib.state_shardings(recipe(), mesh)
    state = state_lib.abstract_state(recipe(), shardings)
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.optimizer)[0]:
        key = jax.tree_util.keystr(path)
        for name in ("mlp/wi_0/kernel", "encoder/layers/attention/out/kernel"):
            if name in key and ("v_row" in key or "v_col" in key) and leaf.ndim == 2:
                found[name.split("/")[-2], key.split(".v_")[1][:3]] = tuple(leaf.sharding.spec)
    # wi_0 is square (256 x 256): the last axis counts as the larger one, as in optax.
    assert found["wi_0", "row"] == (None, "fsdp") and found["wi_0", "col"] == (None, "tensor")
    # out is 384 x 256: heads are averaged away in v_row.
    assert found["out", "row"] == (None, "fsdp") and found["out", "col"] == (None, "tensor")


def test_model_info_adds_up():
    mesh = mesh_lib.abstract_mesh("data_fsdp_tensor", 8)
    shardings = state_lib.state_shardings(recipe(), mesh)
    rows = {row.name: row for row in model_info.rows(recipe(), mesh)}
    assert rows["embed/embedding"].sharding == ("tensor", "fsdp")
    assert rows["embed/embedding"].bytes == 512 * 256 * 4 // 4
    assert rows["encoder/layers/mlp/wo/kernel"].sharding == ("-", "tensor", "fsdp")
    assert rows["encoder/norm/scale"].bytes == 256 * 4 // 2
    text = model_info.table(recipe(), shardings, mesh)
    count = sum(int(np.prod(shape.shape)) for shape in Model(LARGE).shapes.values())
    assert f"parameters: {count:,} in {len(rows)} arrays" in text
    assert "mesh: data 2, fsdp 2, tensor 2 (8 devices)" in text


@pytest.mark.parametrize(
    "preset, devices, shape, message",
    [
        ("fsdpp", 8, None, "no sharding preset 'fsdpp'; did you mean 'fsdp'"),
        ("data_tensor", 7, None, "7 device.* cannot be divided into data -1 x tensor 2"),
        ("fsdp", 8, {"fdsp": 4}, "no axis 'fdsp'; did you mean 'fsdp'"),
        ("fsdp", 8, {"fsdp": 0}, "fsdp must be -1 or a whole number"),
        ("fsdp", 8, {"data": -1}, "only one of data and fsdp can be -1"),
        ("fsdp", 8, {"fsdp": 3}, "8 device.* cannot be divided into fsdp 3"),
    ],
)
def test_meshes_that_cannot_be(preset, devices, shape, message):
    with pytest.raises(ConfigError, match=message):
        mesh_lib.mesh_shape(preset, devices, shape)


def test_mesh_shape_overrides_the_preset():
    assert mesh_lib.mesh_shape("fsdp_tensor", 16, {"tensor": 4}) == {
        "data": 1,
        "fsdp": 4,
        "tensor": 4,
    }


def test_a_mesh_that_does_not_divide_the_model_names_one_that_does():
    mesh = mesh_lib.abstract_mesh("tensor", 4)
    with pytest.raises(ConfigError, match="tensor 4 does not divide heads of .*, which is 6; "):
        state_lib.state_shardings(recipe(), mesh)


def test_a_batch_that_microbatches_do_not_divide():
    mesh = mesh_lib.abstract_mesh("data", 4)
    with pytest.raises(ConfigError, match="4 devices times 3 microbatches; 12 or 24 would do"):
        mesh_lib.check_batch_size(16, mesh, 3)
