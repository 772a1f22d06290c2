"""Decoding: the cache against full recomputation, early exit, the loop, and sampling."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from framed import ENDLESS, FRAMING, ending, prompts
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError
from flan_jax.models.decoding import Decoding, decode, greedy_decode, keep_likely
from flan_jax.models.framing import Sequences
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


jitted_greedy = jax.jit(greedy_decode, static_argnames=("framing", "max_length"))


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def inputs():
    tokens = np.random.default_rng(0).integers(2, 40, (4, 7))
    tokens[1, 4:] = 0
    tokens[2, 1:] = 0
    return prompts(tokens)


def full_logits(model, inputs, tokens_BxL):
    """Logits of every position by running the whole decoder on the whole target."""
    shifted = jnp.pad(tokens_BxL, ((0, 0), (1, 0)))[:, :-1]
    batch = {
        "encoder_input_tokens": inputs.tokens_BxS,
        "encoder_segment_ids": inputs.real_BxS.astype(jnp.int32),
        "decoder_input_tokens": shifted,
        "decoder_segment_ids": jnp.ones_like(shifted),
    }
    return jax.jit(T5.__call__)(model, batch)


@pytest.mark.parametrize(
    "changes",
    [{}, {"logits_via_embedding": True}, {"relative_attention_per_layer": True}],
    ids=["1.1", "tied", "umT5"],
)
def test_cached_logits_equal_recomputed_ones(inputs, changes):
    model = make_model(**changes)
    targets = jnp.asarray(np.random.default_rng(1).integers(2, 40, (4, LENGTH)), jnp.int32)
    cache = jax.jit(T5.start_decoding, static_argnames="max_length")(
        model, inputs, max_length=LENGTH
    )
    step = jax.jit(T5.decode_step)
    tokens, cached = model.decoding_start_tokens(inputs, FRAMING), []
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
    tokens = jitted_greedy(model, inputs, max_length=LENGTH, framing=ENDLESS)
    assert tokens.shape == (4, LENGTH)
    assert tokens.dtype == jnp.int32
    np.testing.assert_array_equal(tokens, full_logits(model, inputs, tokens).argmax(-1))


def test_rows_that_have_ended_stay_padding(model, inputs):
    """Whatever token row 0 produces third is declared EOS; other rows go on."""
    free = np.asarray(jitted_greedy(model, inputs, max_length=LENGTH, framing=ENDLESS))
    eos = int(free[0, 2])
    tokens = np.asarray(jitted_greedy(model, inputs, max_length=LENGTH, framing=ending(eos)))
    for before, after in zip(free, tokens, strict=True):
        hits = np.flatnonzero(before == eos)
        end = hits[0] + 1 if len(hits) else LENGTH
        np.testing.assert_array_equal(after[:end], before[:end])
        assert np.all(after[end:] == 0)
    assert np.any(tokens[0] == eos)


def test_jitted_equals_plain(model, inputs):
    expected = greedy_decode(model, inputs, max_length=LENGTH, framing=FRAMING)
    np.testing.assert_array_equal(
        jitted_greedy(model, inputs, max_length=LENGTH, framing=FRAMING), expected
    )


def test_bfloat16_decodes(inputs):
    model = make_model(dtype="bfloat16")
    cache = jax.eval_shape(lambda: model.start_decoding(inputs, max_length=4))
    assert cache.self_kv.keys.dtype == jnp.bfloat16
    assert jitted_greedy(model, inputs, max_length=4, framing=FRAMING).shape == (4, 4)


class Script:
    """A model that recites one given sequence a row, and counts the steps asked of it."""

    def __init__(self, script_BxN):
        self.script_BxN = jnp.asarray(script_BxN)
        self.steps = 0

    def _count(self):
        self.steps += 1

    def decoding_start_tokens(self, prompts, framing):
        return jnp.full(len(prompts.lengths_B), framing.start_id, jnp.int32)

    def start_decoding(self, prompts, *, max_length):
        return jnp.zeros((), jnp.int32)

    def decode_step(self, cache, tokens_B):
        jax.debug.callback(self._count)
        return jax.nn.one_hot(self.script_BxN[:, cache], 20), cache + 1


def recite(script, inputs=None, framing=FRAMING, **options):
    model = Script(script)
    inputs = np.ones((len(script), 2), int) if inputs is None else inputs
    tokens = greedy_decode(model, prompts(inputs, framing.pad_id), framing=framing, **options)
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
    tokens, steps = recite([[5, 2, 7], [2, 1, 7]], max_length=3, framing=ending(2, pad_id=9))
    assert tokens == [[5, 2, 9], [2, 9, 9]]
    assert steps == 2


@functools.partial(jax.jit, static_argnames="decoding")
def sampled(model, inputs, draws, decoding):
    return decode(model, inputs, decoding.chooser(draws), max_length=LENGTH, framing=ENDLESS)


DRAWS = jnp.asarray([11, 22, 33, 44], jnp.uint32)


def test_samples_are_drawn_from_the_logits_of_each_step(model, inputs):
    choose = Decoding("sample", seed=5).chooser(DRAWS)
    tokens = sampled(model, inputs, DRAWS, Decoding("sample", seed=5))
    logits = full_logits(model, inputs, tokens)
    again = jnp.stack([choose(logits[:, step], step) for step in range(LENGTH)], axis=1)
    np.testing.assert_array_equal(tokens, again)
    assert not np.array_equal(
        tokens, jitted_greedy(model, inputs, max_length=LENGTH, framing=ENDLESS)
    )
    other = sampled(model, inputs, DRAWS, Decoding("sample", seed=6))
    assert not np.array_equal(tokens, other)


@pytest.mark.parametrize(
    "changes", [{"top_k": 1}, {"temperature": 1e-6}, {"top_p": 1e-6}, {"top_k": 1, "top_p": 0.3}]
)
def test_samples_of_one_token_are_greedy(model, inputs, changes):
    tokens = sampled(model, inputs, DRAWS, Decoding("sample", **changes))
    expected = jitted_greedy(model, inputs, max_length=LENGTH, framing=ENDLESS)
    np.testing.assert_array_equal(tokens, expected)


def test_a_sample_does_not_depend_on_its_batch(model, inputs):
    decoding = Decoding("sample", temperature=1.3, top_p=0.9)
    tokens = np.asarray(sampled(model, inputs, DRAWS, decoding))
    order = np.array([2, 0, 3])
    wider = Sequences(jnp.pad(inputs.tokens_BxS, ((0, 0), (0, 5)))[order], inputs.lengths_B[order])
    moved = sampled(model, wider, DRAWS[order], decoding)
    np.testing.assert_array_equal(moved, tokens[order])
    renamed = np.asarray(sampled(model, inputs, DRAWS.at[0].set(7), decoding))
    np.testing.assert_array_equal(renamed[1:], tokens[1:])
    assert not np.array_equal(renamed[0], tokens[0])


@pytest.mark.parametrize("temperature, top_k, top_p", [(1.0, 0, 1.0), (0.7, 4, 1.0), (2.0, 5, 0.8)])
def test_frequencies_follow_the_softmax(temperature, top_k, top_p):
    logits = np.array([0.3, -1.0, 2.0, 1.4, 0.0, -2.0])
    count = 40_000
    choose = Decoding("sample", temperature, top_k, top_p, seed=1).chooser(jnp.arange(count))
    drawn = choose(jnp.tile(jnp.asarray(logits, jnp.float32), (count, 1)), jnp.int32(3))
    observed = np.bincount(drawn, minlength=len(logits))
    expected = reference_probabilities(logits / temperature, top_k, top_p) * count
    assert np.all(observed[expected == 0] == 0)
    chi_square = np.sum((observed - expected)[expected > 0] ** 2 / expected[expected > 0])
    assert chi_square < 20.5  # one in a thousand, at five degrees of freedom


def test_steps_and_rows_draw_independently():
    uniform = jnp.zeros((2000, 4))
    choose = Decoding("sample").chooser(jnp.arange(2000))
    first, second = (np.asarray(choose(uniform, jnp.int32(step))) for step in (0, 1))
    for left, right in ((first, second), (first[1:], first[:-1])):
        assert np.mean(left == right) == pytest.approx(0.25, abs=0.04)


def reference_probabilities(logits, top_k, top_p):
    """What is left of a softmax, one token at a time."""
    order = np.argsort(-logits, kind="stable")[: top_k or len(logits)]
    weights = np.exp(logits[order] - logits.max())
    weights /= weights.sum()
    count = 1
    while count < len(order) and weights[:count].sum() < top_p:
        count += 1
    left = np.zeros(len(logits))
    left[order[:count]] = weights[:count] / weights[:count].sum()
    return left


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.integers(-40, 40), min_size=8, max_size=8, unique=True),
    top_k=st.integers(0, 9),
    top_p=st.floats(0.01, 1.0),
)
def test_the_right_tokens_are_kept(logits, top_k, top_p):
    logits = np.array(logits) / 8
    expected = reference_probabilities(logits, top_k, top_p)
    # Where a sum of probabilities is next to top_p, rounding decides.
    below = reference_probabilities(logits, top_k, top_p - 1e-5)
    above = reference_probabilities(logits, top_k, min(top_p + 1e-5, 1.0))
    assume(np.array_equal(below > 0, above > 0))
    kept = np.asarray(keep_likely(jnp.asarray(logits, jnp.float32)[None], top_k, top_p))[0]
    np.testing.assert_array_equal(np.isfinite(kept), expected > 0)
    np.testing.assert_array_equal(kept[np.isfinite(kept)], np.float32(logits[expected > 0]))


def test_equally_likely_tokens_are_kept_together():
    logits = jnp.asarray([[1.0, 0.0, 1.0, 1.0]])
    for top_k, top_p in ((1, 1.0), (2, 1.0), (0, 0.2)):
        kept = keep_likely(logits, top_k, top_p)
        assert np.isfinite(kept).tolist() == [[True, False, True, True]]


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"method": "beem"},
            "must be 'greedy', 'sample' or 'beam', not 'beem'; did you mean 'beam'",
        ),
        ({"method": "Greedy"}, "did you mean 'greedy'"),
        ({"method": None}, "DECODING must be .*, not None"),
        ({"temperature": 0}, "TEMPERATURE must be a number from 1e-06, not 0"),
        ({"temperature": float("nan")}, "TEMPERATURE"),
        ({"temperature": "hot"}, "TEMPERATURE must be a number .* not 'hot'"),
        ({"top_k": -1}, "TOP_K must be a whole number from 0, not -1"),
        ({"top_k": 2.5}, "TOP_K"),
        ({"top_p": 1.5}, "TOP_P must be a number from 1e-06 to 1, not 1.5"),
        ({"top_p": 0.0}, "TOP_P"),
        ({"num_beams": 0}, "NUM_BEAMS must be a whole number above 0, not 0"),
        ({"num_beams": True}, "NUM_BEAMS"),
        ({"length_penalty": float("inf")}, "LENGTH_PENALTY must be a finite number, not inf"),
        ({"seed": 0.5}, "SEED must be a whole number from 0 .*, not 0.5"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        Decoding(**changes)


def test_a_record_holds_what_the_method_reads():
    assert Decoding().describe() == {"method": "greedy"}
    beams = Decoding("beam", num_beams=2, temperature=3.0).describe()
    assert beams == {"method": "beam", "num_beams": 2, "length_penalty": 1.0}
    assert set(Decoding("sample").describe()) == {"method", "temperature", "top_k", "top_p", "seed"}
    with pytest.raises(ConfigError, match="'beam' is not a choice"):
        Decoding("beam").chooser(DRAWS)
