"""BART against transformers' on the same random weights."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import Example, load_params, said
from safetensors.numpy import load_file, save_file

from flan_jax.errors import CheckpointError
from flan_jax.interop import hf_files
from flan_jax.interop.families import bart as published
from flan_jax.interop.fields import Fields
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import greedy_decode, score_answers
from flan_jax.models.families import Model
from flan_jax.models.framing import pad
from flan_jax.training import restore

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = dict(
    vocab_size=70, d_model=32, encoder_layers=3, decoder_layers=2, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=40,
    pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, dropout=0.0,
)  # fmt: skip
LENGTHS = (23, 9, 3)


class Special:
    pad_id, bos_id, eos_id = 1, 0, 2


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
    theirs = transformers.BartForConditionalGeneration(transformers.BartConfig(**SIZES)).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name or "bias" in name:
                parameter += torch.randn_like(parameter) * 0.3
            else:
                parameter *= 8.0
        theirs.model.shared.weight *= 0.5
    config = published.read_config(Fields(theirs.config.to_dict(), "config.json"))
    model = Model(config)
    return Pair(theirs, model, load_params(model, published.table(config), theirs.state_dict()))


@pytest.fixture(scope="module")
def rows():
    """Prompts as the model reads them: <s> text </s>."""
    rng = np.random.default_rng(0)
    return [np.concatenate([[0], rng.integers(3, 70, n - 2), [2]]) for n in LENGTHS]


@pytest.fixture(scope="module")
def answers():
    """Answers as the model says them: <s> text </s>."""
    rng = np.random.default_rng(1)
    return [np.concatenate([[0], rng.integers(3, 70, n), [2]]) for n in (11, 2, 7)]


def their_logits(pair, row, answer):
    given = torch.tensor([[2, *answer[:-1]]])
    with torch.no_grad():
        found = pair.theirs(input_ids=torch.tensor(row[None]), decoder_input_ids=given)
    return found.logits[0].numpy()


def test_logits_alone_and_packed(pair, rows, answers):
    layout = pair.model.layout(Special)
    apply = jax.jit(pair.model.apply)
    examples = [Example(row[1:], answer[1:]) for row, answer in zip(rows, answers, strict=True)]
    packed_rows = layout.rows([examples], 40, 30, True)
    packed = apply(pair.params, jax.tree.map(jnp.asarray, packed_rows))
    padded_rows = layout.rows([[e] for e in examples], 40, 30, False)
    padded = apply(pair.params, jax.tree.map(jnp.asarray, padded_rows))
    assert padded_rows["decoder_input_tokens"][0, :2].tolist() == [2, 0]  # </s> <s>
    assert padded_rows["decoder_target_tokens"][0, :13].tolist() == answers[0].tolist()
    start = 0
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        expected = their_logits(pair, row, answer)
        assert np.std(expected) > 0.1
        length = len(answer)
        np.testing.assert_allclose(padded[number, :length], expected, atol=1e-4)
        np.testing.assert_allclose(packed[0, start : start + length], expected, atol=1e-4)
        start += length


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_token_for_token(pair, rows, beams):
    longest = max(LENGTHS)
    tokens = np.stack([np.pad(row, (0, longest - len(row)), constant_values=1) for row in rows])
    options = dict(max_new_tokens=14, do_sample=False, num_beams=beams, early_stopping=False)
    theirs = pair.theirs.generate(
        torch.tensor(tokens), attention_mask=torch.tensor(tokens != 1).long(), **options,
        forced_bos_token_id=None, forced_eos_token_id=None,
    )[:, 1:].numpy()  # fmt: skip
    framing = pair.model.layout(Special).framing
    prompts = jax.tree.map(jnp.asarray, pad(rows, 4, 30, 1))
    module = pair.module

    @jax.jit
    def decode(prompts):
        if beams == 1:
            return greedy_decode(module, prompts, framing=framing, max_length=14)
        search = dict(framing=framing, num_beams=beams, max_length=14)
        return beam_search(module, prompts, **search)[0][:, 0]

    ours = np.asarray(decode(prompts))
    assert [said(row, 2) for row in ours[:3]] == [said(row, 2) for row in theirs]
    assert (ours[3] == 1).all()
    assert framing.spoken(np.array([0, 5, 6, 2, 1])) == [5, 6]


def test_scores_of_answers(pair, rows, answers):
    prompt_B = np.array([1, 0, 2])
    prompts = jax.tree.map(jnp.asarray, pad(rows, 3, 30, 1))
    given = jax.tree.map(jnp.asarray, pad(answers, 3, 14, 1))
    framing = pair.model.layout(Special).framing
    score = jax.jit(lambda *args: score_answers(pair.module, *args, framing))
    scores, _ = score(prompts, jnp.asarray(prompt_B), given)
    for score, answer, prompt in zip(scores, answers, prompt_B, strict=True):
        logits = torch.tensor(their_logits(pair, rows[prompt], answer)).log_softmax(-1).numpy()
        expected = logits[np.arange(len(answer)), answer]
        np.testing.assert_allclose(score[: len(answer)], expected, atol=1e-4)


def test_out_and_in_again(pair, rows, answers, tmp_path):
    """As a folder, which transformers loads; and as the class without a head writes it."""
    read = {name: np.asarray(value) for name, value in pair.params.items()}
    framing = pair.model.layout(Special).framing
    hf_files.write_folder(tmp_path, pair.model.config, read.__getitem__, framing)
    theirs = transformers.BartForConditionalGeneration.from_pretrained(tmp_path).eval()
    other = dataclasses.replace(pair, theirs=theirs)
    np.testing.assert_allclose(
        their_logits(other, rows[0], answers[0]), their_logits(pair, rows[0], answers[0]), atol=1e-5
    )
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def again():
        found = restore.require(f"hf:{tmp_path}")
        assert restore.model_of(found).describe() == pair.model.describe()
        for name, value in restore.weights(found, pair.model, device).items():
            np.testing.assert_array_equal(value, read[name])

    again()
    file = tmp_path / "model.safetensors"
    bare = {name.removeprefix("model."): value for name, value in load_file(file).items()}
    save_file(bare, file)
    again()
    save_file(bare | {"final_logits_bias": np.zeros((1, 70), np.float32)}, file)
    again()
    save_file(bare | {"final_logits_bias": np.ones((1, 70), np.float32)}, file)
    with pytest.raises(CheckpointError, match="not zeros: .*final_logits_bias"):
        again()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"decoder_ffn_dim": 64}))
    with pytest.raises(CheckpointError, match="'encoder_ffn_dim' 48 and 'decoder_ffn_dim' 64"):
        again()


def test_beyond_the_table_is_no_number(pair):
    """As a token beyond the vocabulary: never the last row in silence."""
    layout = pair.model.layout(Special)
    batch = layout.rows([[Example(np.full(50, 5), np.array([5, 2]))]], 60, 10, False)
    logits = pair.model.apply(pair.params, jax.tree.map(jnp.asarray, batch))
    assert np.isnan(np.asarray(logits)).any()
