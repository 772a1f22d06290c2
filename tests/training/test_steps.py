"""Losses, optimizers and the train step on small arrays."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import ConfigError
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.training import mesh, optimizers
from flan_jax.training import state as state_lib
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.schedules import Schedule

TINY = T5Config(
    vocab_size=50,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    num_encoder_layers=3,
    num_decoder_layers=2,
    mlp_dim=16,
)


def optimizer_of(name, axes, **changes):
    return Optimizer(name, Schedule(peak=0.01), **changes).build(axes)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_stack_of_layers_is_updated_as_its_layers_are(name):
    """Three steps on a stacked parameter equal three steps on each layer alone."""
    keys = iter(jax.random.split(jax.random.key(0), 20))
    # Large enough for Adafactor to factor, at very different scales.
    scales = jnp.array([1e-3, 1.0, 30.0])[:, None, None]
    stacked = {"w": jax.random.normal(next(keys), (3, 128, 130)) * scales}
    together = optimizer_of(name, {"w": ("layers", "embed", "mlp")})
    alone = optimizer_of(name, {"w": ("embed", "mlp")})
    layers = [{"w": stacked["w"][i]} for i in range(3)]
    state, states = together.init(stacked), [alone.init(layer) for layer in layers]
    for _ in range(3):
        gradient = {"w": jax.random.normal(next(keys), (3, 128, 130)) / scales}
        updates, state = together.update(gradient, state, stacked)
        stacked = optax.apply_updates(stacked, updates)
        for i in range(3):
            updates, states[i] = alone.update({"w": gradient["w"][i]}, states[i], layers[i])
            layers[i] = optax.apply_updates(layers[i], updates)
    for i in range(3):
        np.testing.assert_allclose(stacked["w"][i], layers[i]["w"], rtol=1e-6)


def test_stacks_of_different_depth_train_together():
    model = Model(TINY)
    optimizer = optimizer_of("adafactor", model.axes)
    params = model.init(jax.random.key(0))
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert {k: v.shape for k, v in updates.items()} == {k: v.shape for k, v in params.items()}
    assert all(float(jnp.abs(update).max()) > 0 for update in updates.values())


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'adafactor'"):
        Optimizer("adafacter")
    with pytest.raises(ConfigError, match="no sharding preset 'dataa'; did you mean 'data'"):
        mesh.make_mesh("dataa")
    with pytest.raises(ConfigError, match="LEARNING_RATE_SCHEDULE.*did you mean 'cosine'"):
        Schedule("cosin")


def batch_of(rows: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    tokens = {
        "encoder_input_tokens": rng.integers(2, 50, (rows, 6)),
        "decoder_target_tokens": rng.integers(2, 50, (rows, 4)),
        "decoder_loss_weights": np.ones((rows, 4)),
    }
    shifted = np.pad(tokens["decoder_target_tokens"][:, :-1], ((0, 0), (1, 0)))
    tokens["decoder_input_tokens"] = shifted
    return {name: jnp.asarray(value, jnp.int32) for name, value in tokens.items()}


def make_step(config: T5Config, seed: int = 0, **changes):
    model, here = Model(config), mesh.make_mesh()
    optimizer = optimizer_of("adamw", model.axes)
    recipe = state_lib.StepRecipe(model, optimizer, seed=seed, **changes)
    shardings = state_lib.state_shardings(recipe, here)
    step = state_lib.compile_train_step(recipe, shardings, here)
    return step, lambda: state_lib.init_state(recipe, shardings)


def test_loss_of_one_batch_falls_to_nothing():
    step, init = make_step(TINY)
    state, batch = init(), batch_of(2)
    values = []
    for number in range(150):
        state, metrics = step(state, batch, jnp.int32(number))
        values.append(float(metrics.loss / metrics.tokens))
    assert values[0] > 2 and values[-1] < 0.2


def test_dropout_is_a_function_of_seed_and_step():
    step, init = make_step(dataclasses.replace(TINY, dropout_rate=0.3))
    batch = batch_of(2)
    losses_at = [float(step(init(), batch, jnp.int32(n))[1].loss) for n in (0, 0, 1)]
    assert losses_at[0] == losses_at[1] != losses_at[2]


def test_padding_rows_change_no_gradient():
    """Weights of zero take positions out, so a padded batch trains as the smaller one does."""
    step, init = make_step(TINY)
    small, large = batch_of(2), batch_of(4)
    for name in large:
        large[name] = large[name].at[:2].set(small[name])
    large["decoder_loss_weights"] = large["decoder_loss_weights"].at[2:].set(0)
    state_small, metrics_small = step(init(), small, jnp.int32(0))
    state_large, metrics_large = step(init(), large, jnp.int32(0))
    assert metrics_small.tokens == metrics_large.tokens
    for name, value in state_small.params.items():
        np.testing.assert_allclose(value, state_large.params[name], atol=2e-5)


def test_microbatches_change_nothing():
    one, init = make_step(TINY)
    four, _ = make_step(TINY, microbatches=4)
    batch = batch_of(8)
    # Parts of unequal weight: the divisor has to be that of the whole batch.
    batch["decoder_loss_weights"] = batch["decoder_loss_weights"].at[:3, 1:].set(0)
    state, other = init(), init()
    for number in range(5):
        state, metrics = one(state, batch, jnp.int32(number))
        other, parts = four(other, batch, jnp.int32(number))
        assert abs(metrics.loss / metrics.tokens - parts.loss / parts.tokens) < 1e-6
        assert metrics.tokens == parts.tokens and metrics.correct == parts.correct
        np.testing.assert_allclose(metrics.gradient_norm, parts.gradient_norm, rtol=1e-5)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_nothing_but_memory(remat):
    """Values are those without it, and the compiled step needs less temporary memory."""
    config = dataclasses.replace(
        TINY, num_encoder_layers=12, emb_dim=32, mlp_dim=256, head_dim=16, dropout_rate=0.1
    )
    rng = np.random.default_rng(0)
    rows = rng.integers(2, 50, (8, 96))
    batch = {name: jnp.repeat(value, 4, 0) for name, value in batch_of(2).items()}
    batch["encoder_input_tokens"] = jnp.asarray(rows, jnp.int32)
    plain, init = make_step(config)
    frugal, _ = make_step(dataclasses.replace(config, remat=remat))
    memory = {}
    for name, step in (("plain", plain), ("frugal", frugal)):
        compiled = step.lower(init(), batch, np.int32(0)).compile()
        memory[name] = compiled.memory_analysis().temp_size_in_bytes
    assert memory["frugal"] < 0.7 * memory["plain"], memory
    state, metrics = plain(init(), batch, jnp.int32(0))
    other, again = frugal(init(), batch, jnp.int32(0))
    np.testing.assert_allclose(metrics.loss, again.loss, rtol=1e-6)
    np.testing.assert_allclose(metrics.gradient_norm, again.gradient_norm, rtol=1e-5)


def test_the_gradient_is_clipped_and_its_norm_reported_unclipped():
    model = Model(TINY)
    params = model.init(jax.random.key(0))
    gradient = jax.tree.map(jnp.ones_like, params)
    clipped = optimizer_of("adamw", model.axes, clip_norm=1e-3)
    plain = optimizer_of("adamw", model.axes)
    first, _ = clipped.update(gradient, clipped.init(params), params)
    second, _ = plain.update(
        jax.tree.map(lambda g: g * 1e-3 / optax.global_norm(gradient), gradient),
        plain.init(params),
        params,
    )
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weight_decay_leaves_norms_and_biases(name):
    model = Model(TINY)
    optimizer = optimizer_of(name, model.axes, weight_decay=0.1)
    params = jax.tree.map(lambda x: x + 1.0, model.init(jax.random.key(0)))
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    for parameter, update in updates.items():
        decayed = not parameter.endswith("scale") and "position_bias" not in parameter
        expected = -0.01 * 0.1 * params[parameter] if decayed else 0 * update
        np.testing.assert_allclose(update, expected, rtol=1e-5, atol=1e-9)


def rate(step, **fields):
    return float(Schedule(**fields).build()(step))


def test_schedules():
    assert rate(0, peak=0.5) == rate(10**6, peak=0.5) == 0.5
    # Raffel et al. 2020: 1 / sqrt(max(n, 10^4)).
    t5 = dict(name="rsqrt", peak=0.01, warmup_steps=10_000)
    for step in (10_000, 20_000, 10**6):
        assert math.isclose(rate(step, **t5), 1 / math.sqrt(step), rel_tol=1e-5)
    assert math.isclose(rate(4_999, **t5), 0.005, rel_tol=1e-5)
    linear = dict(name="linear", peak=2.0, warmup_steps=10, decay_steps=110, end=0.1)
    assert [round(rate(n, **linear), 4) for n in (0, 9, 10, 60, 110, 500)] == [
        0.2,
        2.0,
        2.0,
        1.1,
        0.2,
        0.2,
    ]
    cosine = dict(name="cosine", peak=1.0, decay_steps=100, end=0.2)
    assert [round(rate(n, **cosine), 4) for n in (0, 50, 100, 200)] == [1.0, 0.6, 0.2, 0.2]


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(name="rsqrt"), "needs WARMUP_STEPS above 0"),
        (dict(name="linear", decay_steps=5, warmup_steps=5), "set LEARNING_RATE_DECAY_STEPS"),
        (dict(warmup_steps=-1), "WARMUP_STEPS must be a whole number from 0, not -1"),
    ],
)
def test_schedules_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        Schedule(**fields)


def test_flops_of_a_forward_pass_are_what_the_compiler_counts():
    """One layer each, so that no loop hides its trips; the rest of the count is elementwise."""
    config = dataclasses.replace(
        TINY, num_encoder_layers=1, num_decoder_layers=1, emb_dim=64, head_dim=32, mlp_dim=128
    )
    config = dataclasses.replace(config, vocab_size=512)
    model, batch = Model(config), batch_of(2)
    batch = {
        name: jnp.tile(value, (1, 32 if name.startswith("encoder") else 16))
        for name, value in batch.items()
    }
    inputs, targets = 6 * 32, 4 * 16
    params = model.init(jax.random.key(0))
    compiled = jax.jit(model.apply).lower(params, batch).compile()
    counted = compiled.cost_analysis()["flops"]
    ours = 2 * model.forward_flops(inputs, targets)
    assert 0.85 < ours / counted < 1.0, (ours, counted)
