"""Prints, as JSON, the losses of 20 steps under sharding presets, and what each state weighs.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python mesh_losses.py plain/fsdp ...

A program of its own: the number of virtual devices is fixed when a process starts.
"""

import dataclasses
import json
import sys
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from flan_jax.models.families import Model
from flan_jax.models.framing import Framing
from flan_jax.models.layouts import EncoderDecoder
from flan_jax.models.t5 import T5Config
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.losses import Loss
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.schedules import Schedule

STEPS, ROWS, INPUTS, TARGETS = 20, 16, 32, 16
CONFIG = T5Config(
    vocab_size=64,
    emb_dim=32,
    num_heads=8,
    head_dim=4,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=64,
    logits_via_embedding=True,
)


def packed_batch(seed: int) -> dict[str, np.ndarray]:
    """Rows of two or three short examples each."""
    rng = np.random.default_rng(seed)

    def tokens(low: int, high: int) -> np.ndarray:
        return rng.integers(2, 64, rng.integers(low, high)).astype(np.int32)

    rows = [
        [
            SimpleNamespace(inputs=tokens(5, 11), targets=tokens(2, 6), counted=None)
            for _ in range(rng.integers(2, 4))
        ]
        for _ in range(ROWS)
    ]
    return EncoderDecoder(Framing(0, 1, start_id=0)).rows(rows, INPUTS, TARGETS, packed=True)


def recipe_of(dropout: float, optimizer: str) -> state_lib.StepRecipe:
    """What is trained."""
    model = Model(dataclasses.replace(CONFIG, dropout_rate=dropout))
    rule = Optimizer(optimizer, Schedule(peak=0.003 if optimizer == "adamw" else 0.03))
    return state_lib.StepRecipe(model, rule.build(model.axes), Loss(chunk=8))


def losses(recipe: state_lib.StepRecipe, start: Any, mesh: Any) -> dict:
    """Trains 20 steps; returns losses and the bytes of the state on the first device."""
    shardings = state_lib.state_shardings(recipe, mesh)
    state = jax.tree.map(jax.device_put, start, shardings)
    held = sum(
        piece.data.nbytes
        for leaf in jax.tree.leaves(state)
        for piece in leaf.addressable_shards
        if piece.device == mesh.devices.flat[0]
    )
    step = state_lib.compile_train_step(recipe, shardings, mesh)
    found = []
    for number in range(STEPS):
        batch = mesh_lib.place_batch(packed_batch(number), mesh, ROWS)
        state, metrics = step(state, batch, np.int32(number))
        found.append(float(metrics.loss / metrics.tokens))
    return {"losses": found, "bytes": held}


def main() -> None:
    """Runs the cases KIND/PRESET that are named: kinds are plain, dropout and adafactor."""
    cases: dict[str, dict] = {}
    one = mesh_lib.make_mesh("data", devices=jax.devices()[:1])
    for kind in dict.fromkeys(name.partition("/")[0] for name in sys.argv[1:]):
        recipe = recipe_of(
            dropout=0.1 if kind == "dropout" else 0.0,
            optimizer="adafactor" if kind == "adafactor" else "adamw",
        )
        start = state_lib.init_state(recipe, state_lib.state_shardings(recipe, one))
        start = jax.device_get(start)
        cases[f"{kind}/one"] = losses(recipe, start, one)
        for name in sys.argv[1:]:
            if name.startswith(f"{kind}/"):
                mesh = mesh_lib.make_mesh(name.partition("/")[2])
                cases[name] = losses(recipe, start, mesh)
    # Fresh weights do not depend on where they are made either.
    mesh = mesh_lib.make_mesh("fsdp_tensor")
    there = state_lib.init_state(recipe, state_lib.state_shardings(recipe, mesh))
    for leaf, elsewhere in zip(jax.tree.leaves(start), jax.tree.leaves(there), strict=True):
        np.testing.assert_array_equal(leaf, elsewhere)
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
