"""Beam search: against transformers', against recomputation without a cache, and its edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from framed import FRAMING, ending, prompts
from published import load_params

from flan_jax.interop.families import t5
from flan_jax.interop.fields import Fields
from flan_jax.models import decoding
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.families import Model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH, EOS = 60, 12, 1
SIZES = dict(
    vocab_size=VOCAB, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
    decoder_start_token_id=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
)  # fmt: skip
SEEDS = range(2)
PENALTIES = (0.0, 0.6, 1.0, 2.0)
OPTIONS = dict(num_beams=3, max_length=LENGTH, length_penalty=0.6, framing=FRAMING)
STATIC = ("num_beams", "max_length", "framing")
jitted = jax.jit(beam_search, static_argnames=STATIC)


def randomised(seed):
    """A random T5 whose answers vary in length: some models say EOS soon, some seldom."""
    torch.manual_seed(seed)
    theirs = transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZES)).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name or "relative" in name:
                parameter += torch.randn_like(parameter) * 0.5
            elif "shared" in name:
                parameter *= 0.3  # a large table repeats the last token for ever
            else:
                parameter *= 1.5
        head = torch.randn_like(theirs.lm_head.weight) * 0.3
        head[EOS] *= (1.6, 2.8)[seed % 2]
        theirs.lm_head.weight = torch.nn.Parameter(head)
    model = Model(t5.read_config(Fields(theirs.config.to_dict(), "config.json")))
    return theirs, model.bind(load_params(model, t5.table(model.config), theirs.state_dict()))


@functools.cache
def pair(seed):
    return randomised(seed)


def inputs_of(seed):
    tokens = np.random.default_rng(seed).integers(2, VOCAB, (6, 9))
    for row, length in enumerate((9, 4, 1, 7, 2, 9)):
        tokens[row, length:] = 0
    return tokens


def transformers_beams(theirs, inputs, num_beams, length_penalty):
    """Tokens [B, N, LENGTH], padded after EOS, and scores [B, N]; one beam has no score."""
    found = theirs.generate(
        input_ids=torch.tensor(inputs),
        attention_mask=torch.tensor(inputs != 0).long(),
        max_new_tokens=LENGTH,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        do_sample=False,
        length_penalty=length_penalty,
        early_stopping=False,
        pad_token_id=0,
        eos_token_id=EOS,
        return_dict_in_generate=True,
        output_scores=True,
    )
    sequences = found.sequences.numpy()[:, 1:]
    tokens = np.zeros((len(sequences), LENGTH), int)
    for row, sequence in zip(tokens, sequences, strict=True):
        hits = np.flatnonzero(sequence == EOS)
        end = hits[0] + 1 if len(hits) else len(sequence)
        row[:end] = sequence[:end]  # transformers goes on with EOS where padding is token 0
    scores = found.sequences_scores.numpy().reshape(-1, num_beams) if num_beams > 1 else None
    return tokens.reshape(len(inputs), num_beams, LENGTH), scores


@pytest.mark.parametrize(
    # One beam, which no length penalty concerns, is transformers' greedy decoding.
    "num_beams, length_penalty",
    [(1, 0.0), (1, 2.0), *((beams, penalty) for beams in (2, 3, 4) for penalty in PENALTIES)],
)
def test_equals_transformers(num_beams, length_penalty):
    """All hypotheses and their scores, not the best alone."""
    lengths = set()
    for seed in SEEDS:
        theirs, ours = pair(seed)
        inputs = inputs_of(seed)
        expected, expected_scores = transformers_beams(theirs, inputs, num_beams, length_penalty)
        tokens, scores = jitted(
            ours,
            prompts(inputs),
            num_beams=num_beams,
            max_length=LENGTH,
            length_penalty=length_penalty,
            framing=FRAMING,
        )
        np.testing.assert_array_equal(tokens, expected)
        if num_beams > 1:
            np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-5)
        for hypothesis in expected.reshape(-1, LENGTH):
            lengths.add(int(np.flatnonzero(hypothesis == EOS)[0]) if EOS in hypothesis else LENGTH)
    assert LENGTH in lengths  # some are cut off,
    assert length_penalty > 1 or min(lengths) < LENGTH / 2  # and some end early


class Recomputing:
    """The same model without a cache: every step runs the whole decoder on all tokens so far."""

    def __init__(self, model):
        self.model = model

    def decoding_start_tokens(self, prompts, framing):
        return self.model.decoding_start_tokens(prompts, framing)

    def start_decoding(self, prompts, *, max_length):
        fed_BxL = jnp.zeros((len(prompts.lengths_B), max_length), jnp.int32)
        return prompts.tokens_BxS, fed_BxL, jnp.zeros((), jnp.int32)

    def decode_step(self, cache, tokens_R):
        inputs_RxS, fed_RxL, step = cache
        fed_RxL = fed_RxL.at[:, step].set(tokens_R)
        batch = {
            "encoder_input_tokens": inputs_RxS,
            "encoder_segment_ids": (inputs_RxS > 0).astype(jnp.int32),
            "decoder_input_tokens": fed_RxL,
            "decoder_segment_ids": jnp.ones_like(fed_RxL),
        }
        return self.model(batch)[:, step], (inputs_RxS, fed_RxL, step + 1)

    def gather_beams(self, cache, beams_BxN):
        inputs, fed, step = cache
        return (*(decoding.gather_beams(x, beams_BxN) for x in (inputs, fed)), step)


def test_cached_equals_recomputed():
    ours = pair(1)[1]
    inputs = prompts(inputs_of(1))
    recomputed = jax.jit(lambda model: beam_search(Recomputing(model), inputs, **OPTIONS))(ours)
    tokens, scores = jitted(ours, inputs, **OPTIONS)
    np.testing.assert_array_equal(tokens, recomputed[0])
    np.testing.assert_allclose(scores, recomputed[1], rtol=1e-4)


def test_an_example_does_not_depend_on_its_batch():
    ours = pair(1)[1]
    inputs = inputs_of(1)
    tokens, scores = jitted(ours, prompts(inputs), **OPTIONS)
    order = [4, 1, 3]
    moved = np.pad(inputs, ((0, 1), (0, 4)))[[*order, -1]]  # the last one is filler
    moved_tokens, moved_scores = jitted(ours, prompts(moved), **OPTIONS)
    np.testing.assert_array_equal(moved_tokens[:3], tokens[np.array(order)])
    np.testing.assert_allclose(moved_scores[:3], scores[np.array(order)], rtol=1e-5)
    assert not np.any(moved_tokens[3]) and np.all(np.isneginf(moved_scores[3]))


def test_one_beam_is_greedy():
    ours = pair(0)[1]
    inputs = prompts(inputs_of(0))
    tokens, _ = jitted(ours, inputs, num_beams=1, max_length=LENGTH, framing=FRAMING)
    greedy = jax.jit(greedy_decode, static_argnames=("framing", "max_length"))(
        ours, inputs, max_length=LENGTH, framing=FRAMING
    )
    np.testing.assert_array_equal(tokens[:, 0], greedy)


def test_cross_attention_is_held_once_for_all_beams():
    ours, beams = pair(0)[1], jnp.zeros((6, 3), jnp.int32)
    start = functools.partial(ours.start_decoding, prompts(inputs_of(0)), max_length=LENGTH)
    cache = jax.eval_shape(lambda: ours.gather_beams(start(), beams))
    assert cache.self_kv.keys.shape == (2, 18, 2, LENGTH, 8)
    assert cache.cross_kv.keys.shape == (2, 6, 2, 9, 8)


class Chain:
    """A model whose next token depends on the last one alone; counts the steps asked of it."""

    def __init__(self, probabilities_VxV):
        self.log_VxV = jnp.log(jnp.asarray(probabilities_VxV))
        self.steps = 0

    def _count(self):
        self.steps += 1

    def decoding_start_tokens(self, prompts, framing):
        return jnp.full(len(prompts.lengths_B), framing.start_id, jnp.int32)

    def start_decoding(self, prompts, *, max_length):
        return ()

    def decode_step(self, cache, tokens_R):
        jax.debug.callback(self._count)
        return self.log_VxV[tokens_R], cache

    def gather_beams(self, cache, beams_BxN):
        return cache


# From 0 to 2 (greedily) or 3; 2 leads on to a poor ending, 3 to a good one.
GARDEN_PATH = [
    [0.01, 0.01, 0.58, 0.40],
    [0.25, 0.25, 0.25, 0.25],
    [0.33, 0.34, 0.32, 0.01],
    [0.01, 0.97, 0.01, 0.01],
]


def walk(inputs, framing=FRAMING, **options):
    model = Chain(GARDEN_PATH)
    asked = prompts(inputs, framing.pad_id)
    tokens, scores = beam_search(model, asked, framing=framing, **options)
    jax.effects_barrier()
    return tokens.tolist(), np.exp(np.float64(scores)).round(3).tolist(), model.steps


def test_finds_what_greedy_decoding_misses():
    tokens, scores, steps = walk([[5, 1]], num_beams=2, max_length=5, length_penalty=0.0)
    assert tokens == [[[3, 1, 0, 0, 0], [2, 1, 0, 0, 0]]]
    assert scores == [[0.388, 0.197]]
    assert steps == 2  # the best that goes on, 0.191, cannot better either
    greedy = greedy_decode(Chain(GARDEN_PATH), prompts([[5, 1]]), max_length=5, framing=FRAMING)
    assert greedy.tolist() == [[2, 1, 0, 0, 0]]


def test_filler_rows_end_at_once():
    tokens, scores, steps = walk([[0, 0], [5, 1]], num_beams=2, max_length=5, length_penalty=0.0)
    assert tokens[0] == [[0] * 5] * 2 and scores[0] == [0.0, 0.0] and steps == 2
    assert walk([[0, 0]], num_beams=2, max_length=5)[2] == 0


def test_ends_at_max_length():
    tokens, scores, steps = walk([[5, 1]], num_beams=2, max_length=1)
    assert tokens == [[[2], [3]]] and scores == [[0.58, 0.4]] and steps == 1


def test_other_ids():
    options = dict(num_beams=2, max_length=4, length_penalty=0.0, framing=ending(3, pad_id=9))
    tokens, _, _ = walk([[5, 9], [9, 9]], **options)
    assert tokens == [[[3, 9, 9, 9], [2, 0, 3, 9]], [[9] * 4] * 2]


def test_more_beams_than_continuations():
    tokens, scores, _ = walk([[5, 1]], num_beams=6, max_length=1)
    assert tokens[0][:2] == [[2], [3]] and scores[0][4:] == [0.0, 0.0]
