"""Decoder-only models against transformers' on the same random weights."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import load_params, said

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop import tables
from flan_jax.interop.families import decoder as published
from flan_jax.interop.fields import Fields
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.decoding import greedy_decode, score_answers
from flan_jax.models.families import Model
from flan_jax.models.framing import Framing, pad

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = dict(
    vocab_size=70, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, head_dim=12, max_position_embeddings=256,
    pad_token_id=0, eos_token_id=1, bos_token_id=2,
)  # fmt: skip
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32, rope_theta=500_000.0,
)  # fmt: skip
KINDS = {
    "llama": (transformers.LlamaConfig, dict(rope_parameters=LLAMA3)),
    "smollm2": (transformers.LlamaConfig, dict(tie_word_embeddings=True)),
    "biased": (transformers.LlamaConfig, dict(attention_bias=True, mlp_bias=True)),
    "qwen2": (transformers.Qwen2Config, dict(tie_word_embeddings=False)),
    "qwen3": (transformers.Qwen3Config, dict(tie_word_embeddings=True)),
    "gemma2": (
        transformers.Gemma2Config,
        dict(sliding_window=8, query_pre_attn_scalar=20, attn_logit_softcapping=5.0,
             final_logit_softcapping=3.0),
    ),
    "gemma3": (
        transformers.Gemma3TextConfig,
        dict(sliding_window=8, query_pre_attn_scalar=20,
             layer_types=["sliding_attention", "full_attention"] * 2,
             rope_parameters={
                 "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
                 "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
             }),
    ),
}  # fmt: skip
FRAMING = Framing(pad_id=0, eos_id=1, bos_id=2, prompt_eos=False)
LENGTHS = (23, 9, 1)


@dataclasses.dataclass
class Pair:
    theirs: Any
    model: Model
    params: dict
    table: tables.Table

    @property
    def module(self):
        return self.model.bind(self.params)


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    torch.manual_seed(0)
    make, more = KINDS[request.param]
    config = make(**SIZES, **more, attn_implementation="eager")
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name:  # which would be all ones
                parameter += torch.randn_like(parameter) * 0.3
            elif "bias" in name:
                parameter += torch.randn_like(parameter) * 0.5
            else:  # livelier than fresh ones, so that a wrong mask or rotation shows
                parameter *= 10.0
    ours = published.read_config(Fields(config.to_dict(), "config.json"))
    model, table = Model(ours), published.table(ours)
    return Pair(theirs, model, load_params(model, table, theirs.state_dict()), table)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return [np.append(2, rng.integers(3, 70, length - 1)) for length in LENGTHS]


def their_logits(pair, row, left=0):
    """Of one row, padded on the left."""
    tokens = torch.tensor([[0] * left + list(row)])
    mask = (torch.arange(tokens.shape[1]) >= left).long()[None]
    positions = torch.clamp(torch.cumsum(mask, 1) - 1, min=0)
    with torch.no_grad():
        found = pair.theirs(input_ids=tokens, attention_mask=mask, position_ids=positions)
    return found.logits[0, left:].numpy()


def test_logits_padded_and_packed(pair, rows):
    """Theirs padded on the left; ours on the right, and all rows packed into one."""
    module = pair.module
    forward = jax.jit(lambda batch: module.output_head()(module.hidden_states(batch)))
    expected = [their_logits(pair, row, left) for left, row in enumerate(rows)]
    assert np.std(expected[0]) > 0.1
    padded = pad(rows, 3, 30, 0)
    right = forward(
        {
            "decoder_input_tokens": jnp.asarray(padded.tokens_BxS),
            "decoder_segment_ids": jnp.asarray(padded.real_BxS.astype(np.int32)),
        }
    )
    packed = forward(
        {
            "decoder_input_tokens": jnp.asarray(np.append(np.concatenate(rows), [0, 0])[None]),
            "decoder_segment_ids": jnp.asarray(
                [sum(([i + 1] * n for i, n in enumerate(LENGTHS)), []) + [0, 0]]
            ),
            "decoder_positions": jnp.asarray([sum((list(range(n)) for n in LENGTHS), []) + [0, 0]]),
        }
    )
    start = 0
    for number, logits in enumerate(expected):
        length = len(logits)
        np.testing.assert_allclose(right[number, :length], logits, atol=1e-4)
        np.testing.assert_allclose(packed[0, start : start + length], logits, atol=1e-4)
        start += length


def test_generation_token_for_token(pair, rows):
    """Greedy and by beams, past the windows, with prompts of different lengths in one batch."""
    longest = max(LENGTHS)
    tokens = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in LENGTHS])
    prompts = jax.tree.map(jnp.asarray, pad(rows, 4, 30, 0))
    length = 16
    options = dict(max_new_tokens=length, do_sample=False, attention_mask=mask, pad_token_id=0)
    theirs = pair.theirs.generate(tokens, **options)[:, longest:].numpy()
    module = pair.module
    decode = jax.jit(
        lambda prompts: greedy_decode(module, prompts, framing=FRAMING, max_length=length)
    )
    ours = np.asarray(decode(prompts))
    assert [said(row) for row in ours[:3]] == [said(row) for row in theirs]
    assert (ours[3] == 0).all()  # filler
    theirs = pair.theirs.generate(tokens, num_beams=3, **options)[:, longest:].numpy()
    search = jax.jit(
        lambda prompts: beam_search(
            module, prompts, framing=FRAMING, num_beams=3, max_length=length
        )[0][:, 0]
    )
    ours = np.asarray(search(prompts))
    assert [said(row) for row in ours[:3]] == [said(row) for row in theirs]


@pytest.mark.parametrize("pair", ["llama"], indirect=True)
def test_several_tokens_end_an_answer(pair, rows):
    """Greedy and by beams: the first of them, as in transformers."""
    longest = max(LENGTHS)
    tokens = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in LENGTHS])
    options = dict(max_new_tokens=16, do_sample=False, attention_mask=mask, pad_token_id=0)
    free = pair.theirs.generate(tokens, **options)[:, longest:].numpy()
    ends = [1, int(free[0][3]), int(free[1][5])]
    framing = dataclasses.replace(FRAMING, end_ids=tuple(ends[1:]))
    prompts = jax.tree.map(jnp.asarray, pad(rows, 3, 30, 0))
    module = pair.module
    decode = jax.jit(lambda p: greedy_decode(module, p, framing=framing, max_length=16))
    search = jax.jit(
        lambda p: beam_search(module, p, framing=framing, num_beams=3, max_length=16)[0][:, 0]
    )
    for beams, ours in ((1, decode(prompts)), (3, search(prompts))):
        theirs = pair.theirs.generate(tokens, num_beams=beams, eos_token_id=ends, **options)
        theirs = theirs[:, longest:].numpy()
        for mine, row in zip(np.asarray(ours), theirs, strict=True):
            assert framing.spoken(mine) == framing.spoken(row)
            if beams == 1:
                assert len(framing.spoken(mine)) < 16 or not set(ends) & {*map(int, mine)}
    assert len(framing.spoken(np.asarray(decode(prompts))[0])) <= 3


def test_scores_of_answers_are_those_of_whole_sequences(pair, rows):
    rng = np.random.default_rng(1)
    prompt_B = np.array([1, 0, 0, 2, 1])
    said = [rng.integers(3, 70, n) for n in (5, 12, 1, 12, 3)]
    prompts = jax.tree.map(jnp.asarray, pad(rows, 3, 30, 0))
    answers = jax.tree.map(jnp.asarray, pad(said, 5, 13, 0))
    score = jax.jit(lambda *args: score_answers(pair.module, *args, FRAMING))
    found = score(prompts, jnp.asarray(prompt_B), answers)
    for scores, greedy, answer, prompt in zip(*found, said, prompt_B, strict=True):
        whole = np.concatenate([rows[prompt], answer])
        logits = torch.tensor(their_logits(pair, whole)).log_softmax(-1).numpy()
        at = np.arange(len(rows[prompt]) - 1, len(whole) - 1)
        np.testing.assert_allclose(scores[: len(answer)], logits[at, answer], atol=1e-4)
        assert (np.asarray(scores[len(answer) :]) == 0).all()
        likeliest = logits[at].argmax(axis=-1) == answer
        assert greedy.tolist() == [*likeliest, *[True] * (13 - len(answer))]


def test_out_and_in_again(pair, rows):
    """Our tensors and config.json make the same model in transformers, and here the same bytes."""
    read = {name: np.asarray(value) for name, value in pair.params.items()}
    written = dict(tables.unload(pair.table, read.__getitem__))
    content = dict(published.write_config(pair.model.config))
    again = published.read_config(Fields(content, "config.json"))
    assert again == pair.model.config
    for name, value in load_params(Model(again), published.table(again), written).items():
        np.testing.assert_array_equal(value, read[name])
    config = transformers.AutoConfig.for_model(**content)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    missing = theirs.load_state_dict(
        {name: torch.tensor(value) for name, value in written.items()}, strict=False
    )
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}
    theirs.tie_weights()
    other = dataclasses.replace(pair, theirs=theirs.eval())
    np.testing.assert_allclose(their_logits(other, rows[0]), their_logits(pair, rows[0]), atol=1e-5)


def test_older_files_say_the_same():
    """config.json as transformers 4 wrote it."""
    base = {key: value for key, value in SIZES.items() if not key.endswith("token_id")}
    scaling = {key: value for key, value in LLAMA3.items() if key != "rope_theta"}
    old = base | {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": scaling}
    new = base | {"model_type": "llama", "rope_parameters": LLAMA3}
    read = [published.read_config(Fields(content, "c")) for content in (old, new)]
    assert read[0] == read[1] and read[0].rope_scaling == "llama3"
    old = base | {
        "model_type": "gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "sliding_window": 8, "sliding_window_pattern": 2, "query_pre_attn_scalar": 20,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    }  # fmt: skip
    new = KINDS["gemma3"][0](**SIZES, **KINDS["gemma3"][1]).to_dict()
    whole = {"model_type": "gemma3", "text_config": old, "vision_config": {}}
    read = [published.read_config(Fields(content, "c")) for content in (old, new, whole)]
    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model_type": "lama"}, "'model_type' is 'lama'.*did you mean 'llama'"),
        ({"hidden_size": -1}, "'hidden_size' must be"),
        ({"hidden_size": None}, "has no 'hidden_size'"),
        ({"num_attention_heads": 3}, "does not divide"),
        ({"hidden_act": "swish9"}, "'hidden_act' is 'swish9'"),
        ({"mlp_bias": True}, "have to be alike"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'rope_type' is 'yarn'"),
        ({"attention_dropout": 0.1}, "'attention_dropout' is 0.1"),
    ],
)
def test_what_cannot_be_computed_is_refused(change, words):
    content = {"model_type": "llama", **SIZES} | change
    with pytest.raises(CheckpointError, match=words):
        published.read_config(Fields(content, "config.json"))


def test_what_transformers_lacks_is_not_written():
    for change in ({"positions": "relative"}, {"post_norms": True}, {"mlp_activations": ("gelu",)}):
        with pytest.raises(ConfigError, match="transformers has no"):
            published.write_config(DecoderConfig(vocab_size=70, **change))
