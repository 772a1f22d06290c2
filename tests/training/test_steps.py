"""Losses, optimizers and the train step on small arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import ConfigError
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.training import losses, mesh, optimizers
from flan_jax.training import state as state_lib

TINY = T5Config(
    vocab_size=50,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    num_encoder_layers=3,
    num_decoder_layers=2,
    mlp_dim=16,
)


def test_cross_entropy_is_optax_with_weights_and_z_loss():
    keys = jax.random.split(jax.random.key(0), 3)
    logits = 3 * jax.random.normal(keys[0], (2, 5, 7))
    targets = jax.random.randint(keys[1], (2, 5), 0, 7)
    weights = jax.random.bernoulli(keys[2], 0.6, (2, 5)).astype(jnp.int32)
    plain = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    sums = losses.cross_entropy(logits, targets, weights, z_loss=0.01)
    z_loss = 0.01 * jnp.sum(jax.nn.logsumexp(logits, axis=-1) ** 2 * weights)
    np.testing.assert_allclose(sums.z_loss, z_loss, rtol=1e-6)
    np.testing.assert_allclose(sums.loss, jnp.sum(plain * weights) + z_loss, rtol=1e-6)
    assert sums.tokens == weights.sum()
    assert sums.correct == ((logits.argmax(-1) == targets) * weights).sum()


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_stack_of_layers_is_updated_as_its_layers_are(name):
    """Three steps on a stacked parameter equal three steps on each layer alone."""
    keys = iter(jax.random.split(jax.random.key(0), 20))
    # Large enough for Adafactor to factor, at very different scales.
    scales = jnp.array([1e-3, 1.0, 30.0])[:, None, None]
    stacked = {"w": jax.random.normal(next(keys), (3, 128, 130)) * scales}
    together = optimizers.make_optimizer(name, 0.01, {"w": ("layers", "embed", "mlp")})
    alone = optimizers.make_optimizer(name, 0.01, {"w": ("embed", "mlp")})
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
    optimizer = optimizers.make_optimizer("adafactor", 0.01, model.axes)
    params = model.init(jax.random.key(0))
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert {k: v.shape for k, v in updates.items()} == {k: v.shape for k, v in params.items()}
    assert all(float(jnp.abs(update).max()) > 0 for update in updates.values())


def test_unknown_names():
    with pytest.raises(ConfigError, match="did you mean 'adafactor'"):
        optimizers.make_optimizer("adafacter", 0.1, {})
    with pytest.raises(ConfigError, match="no sharding preset 'dataa'; did you mean 'data'"):
        mesh.parameter_shardings({}, mesh.make_mesh(), "dataa")


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


def make_step(config: T5Config, seed: int = 0):
    model, here = Model(config), mesh.make_mesh()
    optimizer = optimizers.make_optimizer("adamw", 0.01, model.axes)
    shardings = state_lib.state_shardings(model, optimizer, here)
    step = state_lib.compile_train_step(model, optimizer, shardings, here, seed=seed, z_loss=0.0)
    return step, lambda: state_lib.init_state(model, optimizer, shardings, seed)


def test_loss_of_one_batch_falls_to_nothing():
    step, init = make_step(TINY)
    state, batch = init(), batch_of(2)
    values = []
    for number in range(150):
        state, metrics = step(state, batch, jnp.int32(number))
        values.append(float(metrics.loss / metrics.tokens))
    assert values[0] > 2 and values[-1] < 0.2


def test_dropout_is_a_function_of_seed_and_step():
    import dataclasses

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
