"""Adapters in PEFT's format, with peft and transformers as oracles, and merged models."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import Example
from safetensors.numpy import load_file, save_file

from flan_jax.adapters.tuned import tuned_model
from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop import peft_files
from flan_jax.interop.convert import convert
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.families import Model
from flan_jax.training import restore, tuned_weights

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def quietly(text):
    del text


def published(kind, folder):
    """A tiny random model as transformers writes it."""
    torch.manual_seed(0)
    if kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, pad_token_id=0, eos_token_id=1,
            bos_token_id=2,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.T5Config(
            vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", decoder_start_token_id=0,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    return model.eval()


def loaded(kind, folder):
    auto = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    return auto.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    return "llama", folder, published("llama", folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    return "t5", folder, published("t5", folder)


@pytest.fixture(scope="module", params=["llama", "t5"])
def base(request):
    return request.getfixturevalue(request.param)


def adapted_by_peft(base, out, **changes):
    """The base with an adapter that does something, made and saved by PEFT."""
    kind, folder, _ = base
    model = published(kind, folder)
    targets = ["q_proj", "v_proj", "up_proj"] if kind == "llama" else ["q", "v", "wi_0"]
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, use_rslora=True, lora_dropout=0.1, **changes
    )
    adapted = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    adapted.save_pretrained(out)
    return adapted


def batch_and_logits(kind, theirs, model, params):
    """Logits of ours and of theirs at the answer's positions."""
    rng = np.random.default_rng(1)
    prompt, answer = rng.integers(3, 64, 9), np.append(rng.integers(3, 64, 5), 1)
    layout = model.layout(Special)
    batch = jax.tree.map(jnp.asarray, layout.rows([[Example(prompt, answer)]], 12, 6, False))
    ours = jax.jit(model.apply)(params, batch)[0]
    framed = layout.framing.prompt(prompt, 12)
    with torch.no_grad():
        if kind == "llama":
            tokens = torch.tensor(np.concatenate([framed, answer])[None, :-1])
            logits = theirs(tokens).logits[0, len(framed) - 1 :]
        else:
            decoder = torch.tensor(np.append(0, answer[:-1])[None])
            logits = theirs(input_ids=torch.tensor(framed[None]), decoder_input_ids=decoder).logits[
                0
            ]
    return np.asarray(ours)[: len(answer)], logits.numpy()


class Special:
    pad_id, bos_id, eos_id = 0, 2, 1


def opened(where, base):
    found = restore.require(f"peft:{where}", quietly, f"hf:{base[1]}")
    model = restore.model_of(found)
    return found, model, restore.weights(found, model, HERE)


def test_peft_to_ours_and_back(base, tmp_path):
    """PEFT's adapter computes the same here, and is written again byte for byte."""
    kind = base[0]
    theirs = adapted_by_peft(base, tmp_path / "theirs")
    found, model, params = opened(tmp_path / "theirs", base)
    assert (model.config.lora.rank, model.config.lora.scale) == (4, 3.0)
    ours, oracle = batch_and_logits(kind, theirs, model, params)
    np.testing.assert_allclose(ours, oracle, atol=1e-4)
    plain, _ = batch_and_logits(kind, theirs, tuned_weights.base_model(model), params)
    assert np.abs(plain - oracle).max() > 0.1

    convert(
        f"peft:{tmp_path / 'theirs'}", str(tmp_path / "ours"), base=f"hf:{base[1]}", say=quietly
    )
    convert(str(tmp_path / "ours"), str(tmp_path / "again"), to="peft", say=quietly)
    before, after = (load_file(tmp_path / n / peft_files.TENSORS) for n in ("theirs", "again"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])
    config = json.loads((tmp_path / "again" / peft_files.CONFIG).read_text())
    assert set(config["target_modules"]) == set(theirs.peft_config["default"].target_modules)
    # And what we wrote, PEFT reads.
    again = peft.PeftModel.from_pretrained(loaded(kind, base[1]), tmp_path / "again").eval()
    np.testing.assert_allclose(batch_and_logits(kind, again, model, params)[1], oracle, atol=1e-6)


def test_merged_generates_the_same_64_tokens_in_transformers(base, tmp_path):
    kind = base[0]
    adapted_by_peft(base, tmp_path / "theirs")
    _, model, params = opened(tmp_path / "theirs", base)
    said_of = convert(
        f"peft:{tmp_path / 'theirs'}", str(tmp_path / "merged"), to="hf", base=f"hf:{base[1]}",
        merge=True, say=quietly,
    )  # fmt: skip
    assert "(hf)" in said_of
    merged = loaded(kind, tmp_path / "merged")
    ours, oracle = batch_and_logits(kind, merged, model, params)
    np.testing.assert_allclose(ours, oracle, atol=1e-4)
    prompt = np.append(np.random.default_rng(2).integers(3, 64, 8), 1).astype(np.int32)
    layout = model.layout(Special)
    row = layout.framing.prompt(prompt, 12)
    prompts = jax.tree.map(jnp.asarray, layout.prompts([row], 1, 12))
    module = model.bind(params)
    # Neither ends before 64 tokens: no token is EOS.
    endless = dataclasses.replace(layout.framing, eos_id=-1)
    decode = jax.jit(lambda p: greedy_decode(module, p, framing=endless, max_length=64))
    tokens = torch.tensor(row[None])
    theirs = merged.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=64, min_new_tokens=64,
        do_sample=False, eos_token_id=None,
    )[0].numpy()  # fmt: skip
    assert np.asarray(decode(prompts))[0].tolist() == theirs[-64:].tolist()


def changed(folder, **fields):
    path = folder / peft_files.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def without(folder, name):
    tensors = load_file(folder / peft_files.TENSORS)
    del tensors[next(one for one in tensors if name in one)]
    save_file(tensors, folder / peft_files.TENSORS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: changed(f, peft_type="LOHA"), "'peft_type' is 'LOHA', which is not supported"),
        (lambda f: changed(f, use_dora=True), "'use_dora' is True; supported is False"),
        (lambda f: changed(f, r="4"), "'r' must be a whole number"),
        (lambda f: changed(f, r=8), "of another shape: base_model.model.model.layers.0"),
        (lambda f: changed(f, alpha_pattern={"q_proj": 3}), "'alpha_pattern' is"),
        (lambda f: without(f, "layers.1.self_attn.q_proj.lora_B"), "missing: .*q_proj.lora_B"),
        (lambda f: (f / peft_files.CONFIG).unlink(), "it is no adapter of PEFT"),
        (lambda f: (f / peft_files.TENSORS).write_bytes(b"x" * 99), "is no whole safetensors file"),
    ],
)  # fmt: skip
def test_adapters_that_are_refused(llama, tmp_path, damage, message):
    adapted_by_peft(llama, tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path / "a", llama)


def test_an_adapter_needs_its_base(llama, tmp_path):
    base = llama
    adapted_by_peft(base, tmp_path / "a")
    with pytest.raises(
        CheckpointError, match="is an adapter: name the model that it adapts, as --g"
    ):
        restore.require(f"peft:{tmp_path / 'a'}", quietly)
    with pytest.raises(ConfigError, match="has nothing to merge"):
        convert(f"hf:{base[1]}", str(tmp_path / "b"), merge=True, say=quietly)
    soft = Model(tuned_model(restore.model_of(restore.require(f"hf:{base[1]}")).config, "prompt"))
    with pytest.raises(ConfigError, match="only low-rank adapters"):
        peft_files.write_folder(tmp_path, soft.config, lambda name: np.zeros(1), "x")
