"""T5Gemma against transformers' on the same random weights, and what others got wrong in it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from published import Example, load_params, said

from flan_jax.errors import CheckpointError
from flan_jax.interop import tables
from flan_jax.interop.families import t5gemma as published
from flan_jax.interop.fields import Fields
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.families import Model
from flan_jax.models.framing import pad

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Encoder and decoder of different sizes and windows, which rows and answers go beyond.
SHARED = dict(vocab_size=70, attn_logit_softcapping=5.0, final_logit_softcapping=3.0, head_dim=12)
ENCODER = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, sliding_window=6, query_pre_attn_scalar=20, **SHARED,
)  # fmt: skip
DECODER = dict(
    hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2,
    num_key_value_heads=1, sliding_window=4, query_pre_attn_scalar=9, **SHARED,
)  # fmt: skip
LENGTHS = (23, 9, 1)


class Special:
    pad_id, eos_id, bos_id = 0, 1, 2


@dataclasses.dataclass
class Pair:
    theirs: object
    model: Model
    params: dict

    @property
    def module(self):
        return self.model.bind(self.params)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    config = transformers.T5GemmaConfig(encoder=ENCODER, decoder=DECODER, vocab_size=70)
    config._attn_implementation = "eager"
    theirs = transformers.T5GemmaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name:
                parameter += torch.randn_like(parameter) * 0.3
            else:
                parameter *= 8.0
    theirs.generation_config.pad_token_id = 0
    ours = published.read_config(Fields(json.loads(config.to_json_string(False)), "config.json"))
    model = Model(ours)
    return Pair(theirs, model, load_params(model, published.table(ours), theirs.state_dict()))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return [np.append(2, rng.integers(3, 70, length - 1)) for length in LENGTHS]


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(1)
    return [np.append(rng.integers(3, 70, n), 1) for n in (11, 2, 7)]


def their_logits(pair, row, answer):
    decoder = torch.tensor([[2, *answer[:-1]]])
    with torch.no_grad():
        found = pair.theirs(
            input_ids=torch.tensor(row[None]), decoder_input_ids=decoder,
            attention_mask=torch.ones(1, len(row), dtype=torch.long),
            decoder_attention_mask=torch.ones_like(decoder), use_cache=False,
        )  # fmt: skip
    return found.logits[0].numpy()


def test_nested_configuration_is_honoured(pair):
    encoder, decoder = pair.model.config.encoder, pair.model.config.decoder
    assert (encoder.emb_dim, decoder.emb_dim) == (32, 24)
    assert (encoder.num_layers, decoder.num_layers) == (4, 3)
    assert (encoder.window, decoder.window) == (7, 4)  # with the query's own, and without
    assert (encoder.query_scale, decoder.query_scale) == (20, 9)
    content = {"model_type": "t5gemma", "encoder": ENCODER, "decoder": DECODER}
    wrong = content | {"decoder": DECODER | {"hidden_size": "24"}}
    with pytest.raises(CheckpointError, match="config.json: decoder: 'hidden_size'"):
        published.read_config(Fields(wrong, "config.json"))
    with pytest.raises(CheckpointError, match="has no 'encoder'|'encoder' must be an object"):
        published.read_config(Fields({"model_type": "t5gemma"}, "config.json"))


def test_logits_alone_and_packed(pair, rows, answers):
    """Rows longer than windows; packed and padded, each example is as if it were alone."""
    layout = pair.model.layout(Special)
    apply = jax.jit(pair.model.apply)
    examples = [Example(row[1:], answer) for row, answer in zip(rows, answers, strict=True)]
    packed = apply(pair.params, jax.tree.map(jnp.asarray, layout.rows([examples], 40, 30, True)))
    padded = apply(
        pair.params, jax.tree.map(jnp.asarray, layout.rows([[e] for e in examples], 40, 30, False))
    )
    start = 0
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        expected = their_logits(pair, row, answer)
        assert np.std(expected) > 0.1
        length = len(answer)
        np.testing.assert_allclose(padded[number, :length], expected, atol=1e-4)
        np.testing.assert_allclose(packed[0, start : start + length], expected, atol=1e-4)
        start += length


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_beyond_the_window(pair, rows, beams):
    """More tokens than the decoder's window, from prompts longer than the encoder's."""
    longest = max(LENGTHS)
    tokens = torch.tensor(np.stack([np.pad(row, (0, longest - len(row))) for row in rows]))
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in LENGTHS])
    options = dict(
        max_new_tokens=14, do_sample=False, num_beams=beams, decoder_start_token_id=2,
        attention_mask=mask, use_cache=False, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    theirs = pair.theirs.generate(tokens, **options)[:, 1:].numpy()
    framing = pair.model.layout(Special).framing
    prompts = jax.tree.map(jnp.asarray, pad(rows, 4, 30, 0))
    module = pair.module

    @jax.jit
    def decode(prompts):
        if beams == 1:
            return greedy_decode(module, prompts, framing=framing, max_length=14)
        search = dict(framing=framing, num_beams=beams, max_length=14)
        return beam_search(module, prompts, **search)[0][:, 0]

    ours = np.asarray(decode(prompts))
    assert [said(row) for row in ours[:3]] == [said(row) for row in theirs]
    assert max(len(said(row)) for row in theirs) > 5
    assert (ours[3] == 0).all()


def test_scores_of_answers(pair, rows, answers):
    prompt_B = np.array([1, 0, 2])
    prompts = jax.tree.map(jnp.asarray, pad(rows, 3, 30, 0))
    given = jax.tree.map(jnp.asarray, pad(answers, 3, 14, 0))
    framing = pair.model.layout(Special).framing
    scores = jax.jit(lambda *args: pair.module.score_answers(*args, framing))(
        prompts, jnp.asarray(prompt_B), given
    )
    for score, answer, prompt in zip(scores, answers, prompt_B, strict=True):
        logits = torch.tensor(their_logits(pair, rows[prompt], answer)).log_softmax(-1).numpy()
        expected = logits[np.arange(len(answer)), answer]
        np.testing.assert_allclose(score[: len(answer)], expected, atol=1e-4)


def test_out_and_in_again(pair, rows, answers):
    read = {name: np.asarray(value) for name, value in pair.params.items()}
    table = published.table(pair.model.config)
    written = dict(tables.unload(table, read.__getitem__))
    content = dict(published.write_config(pair.model.config))
    again = published.read_config(Fields(content, "config.json"))
    assert again == pair.model.config
    for name, value in load_params(Model(again), table, written).items():
        np.testing.assert_array_equal(value, read[name])
    config = transformers.AutoConfig.for_model(**content)
    config._attn_implementation = "eager"
    theirs = transformers.T5GemmaForConditionalGeneration(config)
    state = {name: torch.tensor(value) for name, value in written.items()}
    missing = theirs.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) <= {"lm_head.out_proj.weight"}
    theirs.tie_weights()
    other = dataclasses.replace(pair, theirs=theirs.eval())
    np.testing.assert_allclose(
        their_logits(other, rows[0], answers[0]), their_logits(pair, rows[0], answers[0]), atol=1e-5
    )


def test_training_loss_is_there_and_falls(pair, rows, answers):
    """On packed rows, with gradients in every parameter."""
    from flan_jax.training import state

    layout = pair.model.layout(Special)
    examples = [Example(row[1:], answer) for row, answer in zip(rows, answers, strict=True)]
    batch = jax.tree.map(jnp.asarray, layout.rows([examples, examples[::-1]], 40, 30, True))
    recipe = state.StepRecipe(pair.model, optax.adam(1e-2))
    params = jax.tree.map(jnp.copy, pair.params)
    now = state.TrainState(params, recipe.optimizer.init(params))
    step = jax.jit(lambda now, number: state.train_step(now, batch, number, recipe=recipe))
    losses = []
    for number in range(4):
        now, metrics = step(now, number)
        losses.append(float(metrics.loss / metrics.tokens))
        assert (np.asarray(metrics.gradient_norms) > 0).all()
    assert losses[0] > 1 and losses[-1] < losses[0]
