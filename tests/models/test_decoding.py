"""Decoding: the cache against full recomputation, early exit, and the model-agnostic loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models.decoding import decode, greedy_decode
from flan_jax.models.t5 import T5, T5Config

CONFIG = T5Config(
    vocab_size=40,
    emb_dim=16,
    num_heads=2,
    head_dim=12,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=40,
    relative_attention_num_buckets=8,  # few and near, so that decoding passes the last bucket
    relative_attention_max_distance=6,
)
LENGTH = 9


def make_model(**changes):
    return T5(dataclasses.replace(CONFIG, **changes), nnx.Rngs(3))


jitted_greedy = jax.jit(greedy_decode, static_argnames=("max_length", "eos_id", "pad_id"))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def inputs():
    tokens = np.random.default_rng(0).integers(2, 40, (4, 7))
    tokens[1, 4:] = 0
    tokens[2, 1:] = 0
    return jnp.asarray(tokens, jnp.int32)


def full_logits(model, inputs, tokens_BxL):
    """Logits of every position by running the whole decoder on the whole target."""
    shifted = jnp.pad(tokens_BxL, ((0, 0), (1, 0)))[:, :-1]
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": shifted}
    return jax.jit(T5.__call__)(model, batch)


@pytest.mark.parametrize("tied", [False, True])
def test_cached_logits_equal_recomputed_ones(inputs, tied):
    model = make_model(logits_via_embedding=tied)
    targets = jnp.asarray(np.random.default_rng(1).integers(2, 40, (4, LENGTH)), jnp.int32)
    cache = jax.jit(T5.start_decoding, static_argnames="max_length")(
        model, inputs, max_length=LENGTH
    )
    step = jax.jit(T5.decode_step)
    tokens, cached = model.decoding_start_tokens(inputs), []
    for position in range(LENGTH):
        logits, cache = step(model, cache, tokens)
        assert logits.dtype == jnp.float32
        cached.append(logits)
        tokens = targets[:, position]
    assert int(cache.position) == LENGTH
    np.testing.assert_allclose(
        jnp.stack(cached, axis=1), full_logits(model, inputs, targets), atol=1e-5
    )


def test_greedy_tokens_equal_recomputed_ones(model, inputs):
    tokens = jitted_greedy(model, inputs, max_length=LENGTH, eos_id=-1)
    assert tokens.shape == (4, LENGTH)
    assert tokens.dtype == jnp.int32
    np.testing.assert_array_equal(tokens, full_logits(model, inputs, tokens).argmax(-1))


def test_rows_that_have_ended_stay_padding(model, inputs):
    """Whatever token row 0 produces third is declared EOS; other rows go on."""
    free = np.asarray(jitted_greedy(model, inputs, max_length=LENGTH, eos_id=-1))
    eos = int(free[0, 2])
    tokens = np.asarray(jitted_greedy(model, inputs, max_length=LENGTH, eos_id=eos))
    for before, after in zip(free, tokens, strict=True):
        hits = np.flatnonzero(before == eos)
        end = hits[0] + 1 if len(hits) else LENGTH
        np.testing.assert_array_equal(after[:end], before[:end])
        assert np.all(after[end:] == 0)
    assert np.any(tokens[0] == eos)


def test_jitted_equals_plain(model, inputs):
    expected = greedy_decode(model, inputs, max_length=LENGTH)
    np.testing.assert_array_equal(jitted_greedy(model, inputs, max_length=LENGTH), expected)


def test_bfloat16_decodes(inputs):
    model = make_model(dtype="bfloat16")
    cache = jax.eval_shape(lambda: model.start_decoding(inputs, max_length=4))
    assert cache.self_kv.keys.dtype == jnp.bfloat16
    assert jitted_greedy(model, inputs, max_length=4).shape == (4, 4)


class Script:
    """A model that recites one given sequence a row, and counts the steps asked of it."""

    def __init__(self, script_BxN):
        self.script_BxN = jnp.asarray(script_BxN)
        self.steps = 0

    def _count(self):
        self.steps += 1

    def decoding_start_tokens(self, inputs_BxS):
        return jnp.zeros(inputs_BxS.shape[0], jnp.int32)

    def start_decoding(self, inputs_BxS, *, max_length):
        return jnp.zeros((), jnp.int32)

    def decode_step(self, cache, tokens_B):
        jax.debug.callback(self._count)
        return jax.nn.one_hot(self.script_BxN[:, cache], 20), cache + 1


def recite(script, inputs=None, **options):
    model = Script(script)
    inputs = jnp.ones((len(script), 2), jnp.int32) if inputs is None else jnp.asarray(inputs)
    tokens = greedy_decode(model, inputs, **options)
    jax.effects_barrier()
    return tokens.tolist(), model.steps


def test_ends_with_the_last_row():
    tokens, steps = recite([[5, 1, 7, 7, 7, 7], [6, 8, 9, 1, 7, 7]], max_length=6)
    assert tokens == [[5, 1, 0, 0, 0, 0], [6, 8, 9, 1, 0, 0]]
    assert steps == 4


def test_ends_at_once_when_all_rows_do():
    tokens, steps = recite([[1, 5, 5], [1, 6, 6]], max_length=3)
    assert tokens == [[1, 0, 0], [1, 0, 0]]
    assert steps == 1


def test_ends_at_max_length():
    tokens, steps = recite([[5, 6, 7, 8]], max_length=3)
    assert tokens == [[5, 6, 7]]
    assert steps == 3


def test_filler_rows_do_not_keep_the_batch_going():
    tokens, steps = recite([[5, 1, 7], [8, 8, 8]], inputs=[[3, 1], [0, 0]], max_length=3)
    assert tokens == [[5, 1, 0], [0, 0, 0]]
    assert steps == 2


def test_other_ids():
    tokens, steps = recite([[5, 2, 7], [2, 1, 7]], max_length=3, eos_id=2, pad_id=9)
    assert tokens == [[5, 2, 9], [2, 9, 9]]
    assert steps == 2


def test_a_sampler_plugs_in(model, inputs):
    def sample(logits_BxV, step):
        return jax.random.categorical(jax.random.fold_in(jax.random.key(0), step), logits_BxV)

    tokens = decode(model, inputs, sample, max_length=LENGTH, eos_id=-1)
    logits = full_logits(model, inputs, tokens)
    again = jnp.stack([sample(logits[:, step], step) for step in range(LENGTH)], axis=1)
    np.testing.assert_array_equal(tokens, again)
    assert not np.array_equal(tokens, jitted_greedy(model, inputs, max_length=LENGTH))
