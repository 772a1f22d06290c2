"""Beam search: against transformers', against recomputation without a cache, and its edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.interop.huggingface import load_t5_state_dict, t5_config_from_huggingface
from flan_jax.models.beam_search import beam_search
from flan_jax.models.t5 import T5

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH, EOS = 60, 12, 1
SIZES = dict(
    vocab_size=VOCAB, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
    decoder_start_token_id=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
)  # fmt: skip
SEEDS = range(4)
PENALTIES = (0.0, 0.6, 1.0, 2.0)
STATIC = ("num_beams", "max_length", "length_penalty", "eos_id", "pad_id")
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
        head[EOS] *= (1.0, 1.6, 2.2, 2.8)[seed % 4]
        theirs.lm_head.weight = torch.nn.Parameter(head)
    state_dict = {name: value.numpy() for name, value in theirs.state_dict().items()}
    ours = T5(t5_config_from_huggingface(theirs.config.to_dict()), nnx.Rngs(0))
    load_t5_state_dict(ours, state_dict)
    return theirs, ours


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


@pytest.mark.parametrize("length_penalty", PENALTIES)
@pytest.mark.parametrize("num_beams", [1, 2, 3, 4])
def test_equals_transformers(num_beams, length_penalty):
    for seed in SEEDS:
        theirs, ours = pair(seed)
        inputs = inputs_of(seed)
        expected, expected_scores = transformers_beams(theirs, inputs, num_beams, length_penalty)
        tokens, scores = jitted(
            ours,
            jnp.asarray(inputs),
            num_beams=num_beams,
            max_length=LENGTH,
            length_penalty=length_penalty,
        )
        np.testing.assert_array_equal(tokens, expected)
        if num_beams > 1:
            np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-5)
