"""T5Gemma and T5Gemma 2 against transformers' on the same random weights: what others got wrong."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from published import Example, TorchTensors, open_folder, said
from safetensors.numpy import load_file

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop import hf_files, tables
from flan_jax.interop.families import t5gemma as published
from flan_jax.interop.fields import Fields
from flan_jax.models.attention import window_mask
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import greedy_decode, score_answers
from flan_jax.models.families import Model
from flan_jax.models.framing import pad

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Encoder and decoder of different sizes and windows, which rows and answers go beyond.
SHARED = dict(vocab_size=70, final_logit_softcapping=3.0, head_dim=12)
ENCODER = dict(
    intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    sliding_window=6, query_pre_attn_scalar=20, **SHARED,
)  # fmt: skip
DECODER = dict(
    intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
    sliding_window=4, query_pre_attn_scalar=9, **SHARED,
)  # fmt: skip
# Of T5Gemma 2 they have one width and two rotary bases, and there is a vision tower.
SLIDING, FULL = "sliding_attention", "full_attention"
ROPE = {
    FULL: {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0},
    SLIDING: {"rope_type": "default", "rope_theta": 30.0},
}
VISION = dict(
    model_type="siglip_vision_model", hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    num_attention_heads=1, image_size=4, patch_size=2, vision_use_head=False,
)  # fmt: skip
LENGTHS = (23, 9, 1)


def content_of(kind):
    """The nested configurations of a kind, as transformers' class takes them."""
    if kind == "t5gemma":
        capped = {"attn_logit_softcapping": 5.0}
        wide, narrow = {"hidden_size": 32, **capped}, {"hidden_size": 24, **capped}
        return {"encoder": ENCODER | wide, "decoder": DECODER | narrow, "vocab_size": 70}
    both = {"hidden_size": 32, "rope_parameters": ROPE}
    text = ENCODER | both | {"layer_types": [SLIDING, FULL] * 2}
    encoder = {"text_config": text, "vision_config": VISION, "mm_tokens_per_image": 4}
    return {
        "encoder": encoder,
        "decoder": DECODER | both | {"layer_types": [SLIDING, FULL, SLIDING]},
    }


class Special:
    pad_id, eos_id, bos_id = 0, 1, 2


@dataclasses.dataclass
class Pair:
    kind: str
    folder: object  # as transformers writes it
    theirs: object
    model: Model
    params: dict

    @property
    def module(self):
        return self.model.bind(self.params)


@pytest.fixture(scope="module", params=["t5gemma", "t5gemma2"])
def pair(request, tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(request.param, **content_of(request.param))
    config._attn_implementation = "eager"
    theirs = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name or "eoi" in name:
                parameter += torch.randn_like(parameter) * 0.3
            else:  # so that an answer is no repetition, though its head is its embedding table
                parameter *= 3.0 if "embed_tokens" in name else 8.0
    theirs.generation_config.pad_token_id = 0
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    return Pair(request.param, folder, theirs, *open_folder(folder))


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
    assert (encoder.num_layers, decoder.num_layers) == (4, 3)
    assert (encoder.query_scale, decoder.query_scale) == (20, 9)
    if pair.kind == "t5gemma":
        assert (encoder.emb_dim, decoder.emb_dim) == (32, 24)
        assert (encoder.window, decoder.window) == (7, 4)  # with the query's own, and without
    else:
        assert (encoder.window, encoder.window_ahead, decoder.window) == (3, 3, 4)
        assert (encoder.rope_factor, decoder.rope_local_theta) == (2, 30)
    content = {"model_type": pair.kind, **content_of(pair.kind)}
    wrong = content | {"decoder": content["decoder"] | {"hidden_size": "24"}}
    with pytest.raises(CheckpointError, match="config.json: decoder: 'hidden_size'"):
        published.read_config(Fields(wrong, "config.json"))
    with pytest.raises(CheckpointError, match="has no 'encoder'|'encoder' must be an object"):
        published.read_config(Fields({"model_type": pair.kind}, "config.json"))


def their_logits_padded_on_the_left(pair, rows, answers):
    """Logits of all examples in one batch; answers, whose positions count, are padded behind."""
    length, most = max(LENGTHS), max(map(len, answers))
    starts = [np.append(2, answer[:-1]) for answer in answers]
    with torch.no_grad():
        found = pair.theirs(
            input_ids=torch.tensor(np.stack([np.pad(r, (length - len(r), 0)) for r in rows])),
            attention_mask=torch.tensor([[0] * (length - n) + [1] * n for n in LENGTHS]),
            decoder_input_ids=torch.tensor(
                np.stack([np.pad(s, (0, most - len(s))) for s in starts])
            ),
            use_cache=False,
        )
    return found.logits.numpy()


def test_logits_alone_padded_and_packed(pair, rows, answers):
    """Rows longer than windows; packed and padded, each example is as if it were alone."""
    layout = pair.model.layout(Special)
    apply = jax.jit(pair.model.apply)
    examples = [Example(row[1:], answer) for row, answer in zip(rows, answers, strict=True)]
    packed = apply(pair.params, jax.tree.map(jnp.asarray, layout.rows([examples], 40, 30, True)))
    padded = apply(
        pair.params, jax.tree.map(jnp.asarray, layout.rows([[e] for e in examples], 40, 30, False))
    )
    on_the_left = their_logits_padded_on_the_left(pair, rows, answers)
    start = 0
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        expected = their_logits(pair, row, answer)
        assert np.std(expected) > 0.1
        length = len(answer)
        np.testing.assert_allclose(padded[number, :length], expected, atol=1e-4)
        np.testing.assert_allclose(padded[number, :length], on_the_left[number, :length], atol=1e-4)
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
    score = jax.jit(lambda *args: score_answers(pair.module, *args, framing))
    scores, _ = score(prompts, jnp.asarray(prompt_B), given)
    for score, answer, prompt in zip(scores, answers, prompt_B, strict=True):
        logits = torch.tensor(their_logits(pair, rows[prompt], answer)).log_softmax(-1).numpy()
        expected = logits[np.arange(len(answer)), answer]
        np.testing.assert_allclose(score[: len(answer)], expected, atol=1e-4)


def test_out_and_in_again(pair, rows, answers, tmp_path):
    """The same bytes, and transformers finds all that it looks for and nothing else."""
    read = {name: np.asarray(value) for name, value in pair.params.items()}
    framing = pair.model.layout(Special).framing
    hf_files.write_folder(tmp_path, pair.model.config, read.__getitem__, framing)
    again, params = open_folder(tmp_path)
    assert again == pair.model
    for name, value in params.items():
        np.testing.assert_array_equal(value, read[name])
    theirs, found = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not any(found.values()), found
    other = dataclasses.replace(pair, theirs=theirs.eval())
    np.testing.assert_allclose(
        their_logits(other, rows[0], answers[0]), their_logits(pair, rows[0], answers[0]), atol=1e-5
    )
    in_class = set(theirs.state_dict())
    table = published.table(pair.model.config)
    for entry in table.entries:
        assert {table.in_class(name) for name in entry.names(3)} <= in_class


def test_images_are_left_out_and_nothing_else(pair):
    """Of T5Gemma 2 the tensors of images may be there; what else is wrong is named."""
    table = published.table(pair.model.config)
    tensors = dict(load_file(pair.folder / "model.safetensors"))
    if pair.kind == "t5gemma2":
        left_out = [name for name in tensors if table.ignored(name)]
        parts = {name.split(".")[2] for name in left_out}
        assert parts == {"vision_tower", "multi_modal_projector", "embed_tokens"}
        for name in left_out:
            del tensors[name]
    norm = "model.decoder.layers.1.pre_feedforward_layernorm.weight"
    for changes, words in [
        ({}, None),
        ({norm: None}, f"missing: '{norm}'"),
        ({norm: np.zeros(5, np.float32)}, f"of another shape: {norm} is 5, and has to be"),
        ({"model.encoder.vision.weight": np.zeros(5)}, "of no such model: 'model.encoder.vision"),
        ({"lm_head.out_proj.weight": np.zeros((70, 32))}, "not the copies they should be: lm_head"),
    ]:
        changed = {
            name: value for name, value in {**tensors, **changes}.items() if value is not None
        }
        if words is None:
            tables.check(table, TorchTensors(changed), pair.model.shapes)
            continue
        with pytest.raises(CheckpointError, match=re.escape(words)):
            tables.check(table, TorchTensors(changed), pair.model.shapes)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"tie_word_embeddings": False}, "'tie_word_embeddings' is False"),
        ({"attn_logit_softcapping": 50.0}, "'attn_logit_softcapping' is 50.0; supported is None"),
        ({"hidden_size": 16}, "MERGED_ATTENTION needs one width: ENCODER_EMB_DIM is 32, and EMB"),
        ({"vocab_size": 71}, "an encoder of 70 tokens and a decoder of 71"),
    ],
)
def test_configurations_of_t5gemma_2_that_are_refused(change, words):
    content = {"model_type": "t5gemma2", **content_of("t5gemma2")}
    content["decoder"] = content["decoder"] | change
    with pytest.raises(CheckpointError, match=words):
        published.read_config(Fields(content, "config.json"))


def test_models_that_transformers_does_not_have(pair):
    config = pair.model.config
    for part, change, words in [
        ("encoder", {"window_ahead": 9}, "no T5Gemma with ENCODER_WINDOW . and .*_AHEAD 9"),
        ("encoder", {"window": None}, "without windows"),
        ("decoder", {"qk_norm": not config.decoder.qk_norm}, "T5Gemmas of Gemma .s alone"),
    ]:
        changed = dataclasses.replace(getattr(config, part), **change)
        with pytest.raises(ConfigError, match=words):
            published.write_config(dataclasses.replace(config, **{part: changed}))


def test_windows_on_both_sides():
    """An even one has one position more behind the query, an odd one none."""
    from transformers.models.t5gemma2.modeling_t5gemma2 import sliding_window_mask_function

    content = {"model_type": "t5gemma2", **content_of("t5gemma2")}
    places = np.arange(12)
    for window in range(1, 8):
        content["encoder"]["text_config"]["sliding_window"] = window
        config = published.read_config(Fields(content, "config.json"))
        ours = window_mask(places, places, config.encoder.window, config.encoder.window_ahead)
        theirs = sliding_window_mask_function(window, is_causal=False)
        expected = [[theirs(0, 0, query, key) for key in places] for query in places]
        np.testing.assert_array_equal(ours, expected)
        written = published.write_config(config)["encoder"]["text_config"]
        assert written["sliding_window"] == window


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
