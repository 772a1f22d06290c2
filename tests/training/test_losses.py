"""The objective: against optax, against definitions in NumPy, whole and in chunks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flan_jax.errors import ConfigError
from flan_jax.models import layers
from flan_jax.training.losses import Loss

B, T, D, V = 3, 10, 8, 17


def head_of(tied: bool, dtype=jnp.float32) -> nnx.Module:
    options = dict(dtype=dtype, param_dtype=jnp.float32, rngs=nnx.Rngs(1))
    if tied:
        return layers.TiedHead(layers.Embed(V, D, **options), 0.7)
    return layers.OutputHead(layers.Linear(D, V, axes=("embed", "vocab"), **options))


@pytest.fixture(scope="module")
def arrays():
    keys = jax.random.split(jax.random.key(0), 3)
    hidden = 3 * jax.random.normal(keys[0], (B, T, D))
    targets = jax.random.randint(keys[1], (B, T), 0, V)
    counted = jax.random.bernoulli(keys[2], 0.7, (B, T)).astype(jnp.int32)
    return hidden, targets, counted


def test_sums_are_those_of_optax(arrays):
    hidden, targets, counted = arrays
    head = head_of(tied=False)
    logits = head(hidden)
    plain = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    sums = Loss(z_loss=0.01).sums(head, hidden, targets, counted, 2.0 * counted)
    z_loss = 0.01 * jnp.sum(jax.nn.logsumexp(logits, axis=-1) ** 2 * counted)
    np.testing.assert_allclose(sums.z_loss, z_loss, rtol=1e-6)
    np.testing.assert_allclose(sums.loss, jnp.sum(plain * counted) + z_loss, rtol=1e-6)
    np.testing.assert_allclose(sums.objective, 2 * sums.loss, rtol=1e-6)
    assert sums.tokens == counted.sum()
    assert sums.correct == ((logits.argmax(-1) == targets) * counted).sum()


def test_label_smoothing_is_cross_entropy_with_smoothed_targets(arrays):
    hidden, targets, counted = arrays
    head, smoothing = head_of(tied=True), 0.2
    low = smoothing / (V - 1)
    soft = jnp.where(jax.nn.one_hot(targets, V) > 0, 1 - smoothing, low)
    plain = optax.softmax_cross_entropy(head(hidden), soft)
    entropy = -(soft[0, 0] * jnp.log(soft[0, 0])).sum()
    sums = Loss(z_loss=0.0, label_smoothing=smoothing).sums(head, hidden, targets, counted, counted)
    np.testing.assert_allclose(sums.loss, jnp.sum((plain - entropy) * counted), rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 5, 9])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_chunks_change_neither_loss_nor_gradient(arrays, tied, chunk, dtype):
    """Also where the chunk does not divide the length, and for bfloat16 products."""
    hidden, targets, counted = arrays
    hidden = hidden.astype(dtype)
    weights = counted * jnp.linspace(0.5, 2.0, B)[:, None]
    graph, params = nnx.split(head_of(tied, jnp.dtype(dtype)))
    loss = Loss(z_loss=0.01, label_smoothing=0.1)

    def run(loss):
        def objective(params, hidden):
            head = nnx.merge(graph, params)
            sums = loss.sums(head, hidden, targets, counted, weights)
            return 3.0 * sums.objective / 100, sums

        return jax.jit(jax.value_and_grad(objective, argnums=(0, 1), has_aux=True))(params, hidden)

    (whole, sums), gradients = run(loss)
    (parts, part_sums), part_gradients = run(dataclasses.replace(loss, chunk=chunk))
    np.testing.assert_allclose(whole, parts, rtol=1e-6)
    np.testing.assert_allclose(np.stack(sums), np.stack(part_sums), rtol=1e-6)
    assert jax.tree.map(jnp.dtype, gradients) == jax.tree.map(jnp.dtype, part_gradients)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(part_gradients), strict=True):
        # In bfloat16 one rounding of the last bit is allowed.
        tolerance = 1e-6 if dtype == "float32" else 1e-2
        np.testing.assert_allclose(
            one.astype(jnp.float32), other.astype(jnp.float32), rtol=tolerance, atol=tolerance / 2
        )


def test_logits_of_all_positions_never_stand_together():
    """The largest array of the compiled gradient, chunked, is smaller than the logits."""
    rows, length, vocab, chunk = 4, 64, 512, 8
    options = dict(dtype=jnp.float32, param_dtype=jnp.float32, rngs=nnx.Rngs(1))
    graph, params = nnx.split(
        layers.OutputHead(layers.Linear(D, vocab, axes=("embed", "vocab"), **options))
    )
    ones = jnp.ones((rows, length), jnp.int32)
    memory = {}
    for name, loss in (("whole", Loss()), ("chunked", Loss(chunk=chunk))):

        def objective(params, hidden, loss=loss):
            return loss.sums(nnx.merge(graph, params), hidden, ones, ones, ones).objective

        gradient = jax.jit(jax.grad(objective, argnums=(0, 1)))
        compiled = gradient.lower(params, jnp.ones((rows, length, D))).compile()
        memory[name] = compiled.memory_analysis().temp_size_in_bytes
    assert memory["whole"] >= rows * length * vocab * 4
    assert memory["chunked"] < rows * length * vocab * 4 / 2, memory


def packed_batch() -> dict[str, jax.Array]:
    segments = jnp.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 2]])
    counted = jnp.array([[1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]])
    return counted, segments


def test_normalizing_factors():
    counted, segments = packed_batch()
    weights, divisor = Loss(normalizing_factor="NUM_REAL_TARGET_TOKENS").weights(counted, segments)
    np.testing.assert_array_equal(weights, counted)
    assert divisor == 10
    assert Loss(normalizing_factor="NUM_TOTAL_TARGET_TOKENS").weights(counted, segments)[1] == 12
    assert Loss(normalizing_factor=7).weights(counted, segments)[1] == 7
    assert Loss(normalizing_factor=None).weights(counted, segments)[1] == 1
    weights, divisor = Loss(normalizing_factor="AVERAGE_PER_SEQUENCE").weights(counted, segments)
    third, half, quarter = 1 / 3, 1 / 2, 1 / 4
    expected = [[third, third, third, half, half, 0], [1, 0, *[quarter] * 4]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert divisor == pytest.approx(4)
    weights, divisor = Loss(normalizing_factor="AVERAGE_PER_SEQUENCE").weights(counted)
    np.testing.assert_allclose(weights.sum(axis=1), [1, 1], rtol=1e-6)
    assert divisor == pytest.approx(2)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(normalizing_factor="AVERAGE_PER_SEQENCE"), "did you mean 'AVERAGE_PER_SEQUENCE'"),
        (dict(normalizing_factor=0), "above 0"),
        (dict(label_smoothing=1.0), "LABEL_SMOOTHING"),
        (dict(chunk=0), "LOSS_CHUNK"),
    ],
)
def test_bad_values(fields, message):
    with pytest.raises(ConfigError, match=message):
        Loss(**fields)
