"""The encoder of texts from a checkpoint: transformers' numbers, whatever a text is with."""

import json
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from published import load_params

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.evaluation import embedding
from flan_jax.evaluation.embedding import CheckpointEncoder
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.interop.families import t5
from flan_jax.interop.fields import Fields
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.selector import vectors
from flan_jax.selector.encoders import Embedder, Encoder
from flan_jax.training import checkpoints, manifest
from flan_jax.training.saver import Saver

BASE = "tasks/minilab/base"
TEXTS = [
    "Add the numbers.",
    "Sum all of the given numbers.",
    "No.",
    "Übersetze den Satz ins Französische, " * 4,
    "Is the review positive or negative?",
]
TINY = T5Config(
    vocab_size=384, emb_dim=32, num_heads=3, head_dim=8, num_encoder_layers=2,
    num_decoder_layers=2, mlp_dim=48,
)  # fmt: skip


@pytest.fixture(autouse=True)
def bytes_as_tokens(monkeypatch):
    monkeypatch.setenv("VOCABULARY", "byte")


def save(folder, params, config=TINY, steps=(7,), vocabulary="byte") -> str:
    """Writes a run with these weights, as training does; returns its MODEL_DIR."""
    VOCABULARY.use(vocabulary)
    fingerprint = {"model": Model(config).describe(), "vocabulary": VOCABULARY.fingerprint}
    VOCABULARY.use(None)
    run = {"fingerprint": fingerprint, "macros": f"SEED = 0\nVOCABULARY = {vocabulary!r}\n"}
    saver = Saver(str(folder), 9)
    for step in steps:
        params = {name: leaf + 0.001 * step for name, leaf in params.items()}
        saver.save(step, params, {"count": jnp.zeros(3)}, {**run, "step": step})
    saver.close()
    return str(folder)


def change(folder, **fields):
    """Makes a checkpoint say something else of its run."""
    path = epath.Path(folder) / "checkpoints" / "7"
    run = json.loads((path / "run/metadata").read_text())
    run["fingerprint"] |= fields
    (path / "run/metadata").write_text(json.dumps(run))
    manifest.write_manifest(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    params = jax.jit(Model(TINY).init)(jax.random.key(0))
    return save(tmp_path_factory.mktemp("runs") / "tiny", params, steps=(7, 9))


@pytest.fixture
def copy(tiny, tmp_path) -> str:
    """A run of its own, with the first step alone."""
    shutil.copytree(tiny, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/checkpoints/9")
    return str(tmp_path / "copy")


# What vectors are.


@pytest.fixture(scope="module", params=["1.0", "1.1"])
def theirs(request, tmp_path_factory):
    """transformers' encoder with random weights, and a checkpoint of the same."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    version = {"1.0": ("relu", True), "1.1": ("gated-gelu", False)}[request.param]
    config = transformers.T5Config(
        vocab_size=384, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_decoder_layers=2,
        num_heads=3, feed_forward_proj=version[0], tie_word_embeddings=version[1],
    )  # fmt: skip
    whole = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            if "norm" in name or "relative" in name:  # which would be all ones, or tiny
                parameter += torch.randn_like(parameter) * 0.5
    state_dict = whole.state_dict()
    ours = Model(t5.read_config(Fields(config.to_dict(), "config.json")))
    encoder = transformers.T5EncoderModel(config).eval()
    encoder.load_state_dict({k: v for k, v in state_dict.items() if k in encoder.state_dict()})
    params = load_params(ours, t5.table(ours.config), state_dict)
    folder = tmp_path_factory.mktemp("parity") / "run"
    return encoder, save(folder, params, ours.config, steps=(0,))


@pytest.mark.parametrize("letters", [0, 15, 16, 300])
def test_vectors_equal_the_means_of_transformers_states(theirs, letters):
    torch = pytest.importorskip("torch")
    encoder, folder = theirs
    text = "".join(chr(97 + int(i)) for i in np.random.default_rng(letters).integers(26, size=300))
    tokens = [*VOCABULARY.encode(text[:letters]), VOCABULARY.eos_id]
    assert len(tokens) == letters + 1
    with torch.no_grad():  # not padded, so ours shows that padding changes nothing
        states = encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0].numpy()
    found = CheckpointEncoder(folder).encode([text[:letters]])[0]
    np.testing.assert_allclose(found, states.mean(axis=0), rtol=1e-4, atol=2e-5)


def test_padding_changes_nothing_but_noise(tiny, monkeypatch):
    short = CheckpointEncoder(tiny).encode(TEXTS)
    monkeypatch.setattr(embedding, "SMALLEST_BUCKET", 256)
    np.testing.assert_allclose(CheckpointEncoder(tiny).encode(TEXTS), short, rtol=1e-4, atol=1e-5)


def test_a_vector_depends_on_its_text_alone(tiny):
    encoder = CheckpointEncoder(tiny)
    whole = encoder.encode(TEXTS)
    assert (whole.shape, whole.dtype) == ((len(TEXTS), encoder.width), np.float32)
    assert (encoder.encode(TEXTS[::-1])[::-1] == whole).all()
    assert (encoder.encode(TEXTS + TEXTS[:2])[: len(TEXTS)] == whole).all()
    again = CheckpointEncoder(tiny)
    for text, vector in zip(TEXTS, whole, strict=True):
        assert (again.encode([text])[0] == vector).all()
    assert len(np.unique(whole, axis=0)) == len(TEXTS)
    assert encoder.encode([]).shape == (0, 32)


def test_long_texts_are_cut_and_still_end(tiny):
    encoder = CheckpointEncoder(tiny, max_tokens=20)
    long, cut, other = encoder.encode(["a" * 40, "a" * 19, "a" * 18])
    assert (long == cut).all()
    assert (long != other).any()
    plain = CheckpointEncoder(tiny)
    assert (plain.encode(["a" * 19]) == encoder.encode(["a" * 19])).all()
    assert (plain.encode(["a" * 2000]) == plain.encode(["a" * 511])).all()
    with pytest.raises(ConfigError, match="max_tokens=1"):
        CheckpointEncoder(tiny, max_tokens=1)


def test_only_the_encoder_is_read_and_only_when_needed(copy):
    encoder = CheckpointEncoder(copy)
    assert encoder.width == 32
    assert "_params" not in vars(encoder)
    expected = encoder.encode(TEXTS)
    assert {name.partition("/")[0] for name in encoder._params} == {"embed", "encoder"}
    alone = save(f"{copy}-encoder", encoder._params, steps=(0,))
    assert (CheckpointEncoder(alone).encode(TEXTS) == expected).all()


def test_the_base_model_of_minilab(monkeypatch, tmp_path):
    monkeypatch.delenv("VOCABULARY")
    encoder: Encoder = CheckpointEncoder(BASE)
    assert encoder.describe() == {
        "name": f"t5:{BASE}",
        "kind": "mean of T5 encoder states",
        "hash": encoder.hash,
        "width": 128,
        "step": 5000,
    }
    found = Embedder(encoder, root=str(tmp_path)).embed(TEXTS)
    later = Embedder(CheckpointEncoder(BASE), root=str(tmp_path))
    assert (later.embed(TEXTS) == found).all()
    assert later.encoded == 0
    cosine = vectors.cosines(found, found)
    assert cosine[0, 1] == max(cosine[0, 1:])  # the two about numbers


# What it goes by.


def test_steps_are_named_as_elsewhere(tiny):
    assert CheckpointEncoder(tiny).step == 9
    first, last = CheckpointEncoder(f"{tiny}@7"), CheckpointEncoder(f"{tiny}/checkpoints/9")
    assert (first.step, last.step) == (7, 9)
    assert first.hash != last.hash
    assert CheckpointEncoder(tiny).hash == last.hash
    assert (first.encode(TEXTS) != last.encode(TEXTS)).any()


def test_the_hash_is_of_the_weights_and_not_of_their_place(tiny, copy, tmp_path):
    original = CheckpointEncoder(f"{tiny}@7")
    assert len(original.hash) == 64
    assert CheckpointEncoder(copy).hash == original.hash
    checkpoints.export_weights(checkpoints.require(copy), str(tmp_path / "exported"))
    exported = CheckpointEncoder(str(tmp_path / "exported"))
    assert exported.hash == original.hash
    assert (exported.encode(TEXTS) == original.encode(TEXTS)).all()
    assert CheckpointEncoder(copy, max_tokens=64).hash != original.hash
    other = save(tmp_path / "other", jax.jit(Model(TINY).init)(jax.random.key(1)))
    assert CheckpointEncoder(other).hash != original.hash


def test_without_a_manifest_there_is_no_encoder(copy):
    (pathlib.Path(copy) / "checkpoints/7/MANIFEST.json").unlink()
    assert "has no MANIFEST.json" in refusal(f"{copy}@7")
    assert "no checkpoint in" in refusal(copy)


@pytest.mark.parametrize(
    "fields",
    [
        {"emb_dim": "32"},
        {"num_heads": None},
        {"mlp_activations": [["gelu"]]},
        {"vocab_size": 10**400},
        {"family": ["T5Config"]},
        {"layer_norm_epsilon": {"a": 1}},
    ],
)
def test_fields_of_other_types(copy, fields):
    change(copy, model={**Model(TINY).describe(), **fields})
    with pytest.raises(CheckpointError) as raised:
        CheckpointEncoder(copy).encode(TEXTS[:1])
    assert len(str(raised.value)) <= 2000


# What is refused.


def refusal(*args) -> str:
    with pytest.raises(CheckpointError) as raised:
        CheckpointEncoder(*args)
    message = str(raised.value)
    assert message.startswith(f"encoder 't5:{args[0]}': ")
    assert "\n" not in message
    return message


def test_folders_that_are_no_checkpoints(tiny, tmp_path):
    for where in (str(tmp_path), str(tmp_path / "absent"), f"{tiny}@8", f"{tiny}@best"):
        assert "give the MODEL_DIR of a `flan-jax train`" in refusal(where)
    assert "no such directory" in refusal(str(tmp_path / "absent"))
    assert "there are 7, 9" in refusal(f"{tiny}@8")


def test_a_damaged_checkpoint(copy):
    weights = max(pathlib.Path(copy).glob("checkpoints/7/params/**/d/*"), key=os.path.getsize)
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "none of the checkpoints" in refusal(copy)
    assert f"{weights.name} has " in refusal(f"{copy}@7")


def test_another_vocabulary(tiny, copy, monkeypatch):
    assert "set VOCABULARY=default, as --gin.VOCABULARY=" in refusal(BASE)  # written as None
    change(copy, vocabulary="0123456789abcdef")
    # It is written as "byte", which is in use: no advice.
    assert "set VOCABULARY to the one it was trained with" in refusal(copy)
    path = pathlib.Path(copy) / "checkpoints/7/run/metadata"
    path.write_text(path.read_text().replace("'byte'", "'/there/own.model'"))
    manifest.write_manifest(epath.Path(path.parents[1]))
    assert "set VOCABULARY=/there/own.model, " in refusal(copy)
    monkeypatch.delenv("VOCABULARY")
    assert "set VOCABULARY=byte, as --gin.VOCABULARY=" in refusal(tiny)


def test_models_of_a_family_that_is_not_known(copy):
    fields = Model(TINY).describe()
    change(copy, model={**fields, "family": "OtherConfig"})
    assert "family 'OtherConfig', and this version knows T5Config" in refusal(copy)


def test_models_of_another_version(copy):
    path = pathlib.Path(copy) / "checkpoints/7/run/metadata"
    change(copy, model={**Model(TINY).describe(), "experts": 4})
    assert "does not know: T5Config.__init__() got an unexpected" in refusal(copy)
    path.write_text(json.dumps({"step": 7, "fingerprint": {}, "macros": ""}))
    manifest.write_manifest(epath.Path(path.parents[1]))
    assert "family None" in refusal(copy)


def test_weights_that_do_not_fit_what_the_checkpoint_says(copy):
    change(copy, model={**Model(TINY).describe(), "num_encoder_layers": 3})
    with pytest.raises(CheckpointError, match="parameter encoder/layers/.* has shape"):
        CheckpointEncoder(copy).encode(TEXTS)
