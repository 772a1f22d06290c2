"""Our T5 against transformers' T5, mT5 and umT5 on the same random weights, both ways."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from framed import ENDLESS, FRAMING, ending, prompts, segments
from published import TorchTensors, load_params, unloaded

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop import hf_files, tables
from flan_jax.interop.families import t5
from flan_jax.interop.fields import Fields
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.families import Model
from flan_jax.models.layers import relative_position_buckets
from flan_jax.models.t5 import T5, T5Config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = dict(
    vocab_size=60,
    d_model=32,
    d_kv=8,
    d_ff=48,
    num_layers=3,
    num_decoder_layers=2,  # not more: transformers 5.23 sizes its cache by the encoder
    num_heads=3,
    decoder_start_token_id=0,
)
OWN_HEAD = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
# The class, and what is special in the file. ByT5 has a deep encoder and a shallow decoder.
VERSIONS = {
    "T5 1.0": ("T5", dict(feed_forward_proj="relu", tie_word_embeddings=True)),
    "T5 1.1": ("T5", OWN_HEAD),
    "FLAN-T5": ("T5", OWN_HEAD | dict(dense_act_fn="gelu_new", is_gated_act=True)),
    "FLAN-UL2": ("T5", dict(feed_forward_proj="gated-silu", tie_word_embeddings=False)),
    "mT5": ("MT5", OWN_HEAD),
    "umT5": ("UMT5", OWN_HEAD),
    "ByT5": ("T5", OWN_HEAD | dict(num_layers=4, num_decoder_layers=1, vocab_size=384)),
}


def class_of(kind):
    return getattr(transformers, f"{kind}ForConditionalGeneration")


def unscaled(theirs, fields):
    """transformers 5.23 scales the states before every umT5's head, trained or not with that.

    T5X, which trained umT5, and transformers 4 do not where the head is one of its own.
    """
    if theirs.config.model_type == "umt5":
        theirs.config.tie_word_embeddings = fields["tie_word_embeddings"]
    return theirs


def randomised(kind, fields):
    """A random model of transformers whose every weight matters."""
    torch.manual_seed(0)
    theirs = class_of(kind)(getattr(transformers, f"{kind}Config")(**fields)).eval()
    with torch.no_grad():
        if not fields["tie_word_embeddings"]:
            # transformers 5 ties the head of a fresh model whatever the config says; published
            # weights have their own.
            theirs.lm_head.weight = torch.nn.Parameter(
                torch.randn_like(theirs.lm_head.weight) * 0.3
            )
        for name, parameter in theirs.named_parameters():
            if "norm" in name or "relative" in name:  # which would be all ones, or tiny
                parameter += torch.randn_like(parameter) * 0.5
            elif "shared" in name:
                parameter *= 0.3  # a large table repeats the last token for ever
            elif "lm_head" not in name:
                parameter *= 1.5  # livelier attention, so that a wrong mask or bias shows
    return unscaled(theirs, fields)


@dataclasses.dataclass
class Pair:
    theirs: Any
    kind: str
    model: Model
    table: tables.Table
    params: dict
    tied: bool

    @property
    def state_dict(self):
        return self.theirs.state_dict()


def read(content):
    return t5.read_config(Fields(content, "config.json"))


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request):
    kind, special = VERSIONS[request.param]
    fields = SIZES | special
    theirs = randomised(kind, fields)
    config = read(fields | {"model_type": kind.lower()})
    assert config == read(theirs.config.to_dict())  # as transformers 5 would write it
    model, table = Model(config), t5.table(config)
    params = load_params(model, table, theirs.state_dict())
    return Pair(theirs, kind, model, table, params, fields["tie_word_embeddings"])


@pytest.fixture(scope="module")
def inputs():
    tokens = np.random.default_rng(0).integers(2, 60, (4, 150))  # beyond the largest bucket
    tokens[1, 100:] = 0
    tokens[2, 3:] = 0
    return tokens


@pytest.fixture(scope="module")
def targets():
    tokens = np.random.default_rng(1).integers(2, 60, (4, 140))
    tokens[0, 5:] = 0
    return tokens


def shifted(targets):
    shifted = np.roll(targets, 1, axis=-1)
    shifted[..., 0] = 0
    return shifted


def theirs_of(theirs, inputs, targets):
    with torch.no_grad():
        return theirs(
            input_ids=torch.tensor(inputs),
            attention_mask=torch.tensor(inputs != 0),
            decoder_input_ids=torch.tensor(shifted(targets)),
            labels=torch.tensor(np.where(targets == 0, -100, targets)),
        )


forward = jax.jit(T5.__call__)


def test_versions_differ_as_they_should(pair):
    config = pair.model.config
    assert config.logits_via_embedding == pair.tied == (config.mlp_activations == ("relu",))
    assert config.num_encoder_layers > config.num_decoder_layers
    assert config.num_heads * config.head_dim != config.emb_dim
    own = "encoder/layers/relative_position_bias/embedding" in pair.params
    assert own == config.relative_attention_per_layer == (pair.kind == "UMT5")


def test_logits_and_loss_equal_transformers(pair, inputs, targets):
    expected = theirs_of(pair.theirs, inputs, targets)
    batch = {
        "encoder_input_tokens": inputs,
        "encoder_segment_ids": segments(inputs),
        "decoder_input_tokens": shifted(targets),
        "decoder_segment_ids": np.ones_like(targets),
    }
    logits = forward(pair.model.bind(pair.params), jax.tree.map(jnp.asarray, batch))
    valid = targets != 0
    np.testing.assert_allclose(
        np.asarray(logits)[valid], expected.logits.numpy()[valid], atol=1e-4, rtol=1e-4
    )
    log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
    loss = -np.asarray(log_probs)[valid].mean()
    assert loss == pytest.approx(expected.loss.item(), abs=1e-4)


def test_packed_rows_equal_transformers_on_each_example(pair, inputs, targets):
    """Three examples in a row, whose positions begin anew for transformers."""
    lengths = ((40, 9), (7, 30), (60, 4))
    examples = [(inputs[0, :s], targets[1, :t]) for s, t in lengths]
    ids = [np.repeat([1, 2, 3, 0], [*sizes, 5]) for sizes in zip(*lengths, strict=True)]
    batch = {
        "encoder_input_tokens": np.concatenate([*(one for one, _ in examples), [0] * 5]),
        "encoder_segment_ids": ids[0],
        "decoder_input_tokens": np.concatenate([*(shifted(one) for _, one in examples), [0] * 5]),
        "decoder_segment_ids": ids[1],
    }
    batch = {key: jnp.asarray(row[None]) for key, row in batch.items()}
    logits = np.asarray(forward(pair.model.bind(pair.params), batch))[0]
    for number, (source, target) in enumerate(examples, start=1):
        expected = theirs_of(pair.theirs, source[None], target[None]).logits.numpy()[0]
        np.testing.assert_allclose(logits[ids[1] == number], expected, atol=1e-4, rtol=1e-4)


def test_greedy_decoding_equals_generate(pair, inputs):
    arguments = dict(
        input_ids=torch.tensor(inputs),
        attention_mask=torch.tensor(inputs != 0).long(),
        max_new_tokens=20,
        num_beams=1,
        do_sample=False,
        pad_token_id=0,
    )
    decode = jax.jit(greedy_decode, static_argnames=("framing", "max_length"))
    ours = pair.model.bind(pair.params)
    # Random weights seldom produce token 1, so a token that some rows do produce is made EOS.
    free = pair.theirs.generate(**arguments, eos_token_id=None).numpy()[:, 1:]
    assert len(np.unique(free)) > 4
    np.testing.assert_array_equal(
        decode(ours, prompts(inputs), max_length=20, framing=ENDLESS), free
    )
    eos = int(free[0, 5])
    generated = pair.theirs.generate(**arguments, eos_token_id=eos).numpy()[:, 1:]
    tokens = np.asarray(decode(ours, prompts(inputs), max_length=20, framing=ending(eos)))
    width = generated.shape[1]
    np.testing.assert_array_equal(tokens[:, :width], generated)
    assert not tokens[:, width:].any()
    assert (tokens == 0).any()


def test_what_is_read_is_written_again_to_the_bit(pair):
    written = unloaded(pair.table, pair.params)
    assert set(pair.state_dict) - set(written) == set(pair.table.copies)
    for name, value in written.items():
        np.testing.assert_array_equal(value, pair.state_dict[name].numpy())
    again = load_params(
        pair.model, pair.table, {name: torch.tensor(value) for name, value in written.items()}
    )
    for name, value in pair.params.items():
        assert np.asarray(value).tobytes() == np.asarray(again[name]).tobytes(), name


def test_what_we_write_is_the_same_model_in_transformers(pair, inputs, targets, tmp_path):
    content = t5.write_config(pair.model.config)
    assert read(content) == pair.model.config
    hf_files.write_folder(
        epath.Path(tmp_path), pair.model.config, lambda name: np.asarray(pair.params[name]), FRAMING
    )
    # An mT5 is a T5 1.1 there as well.
    theirs = class_of("T5" if pair.kind == "MT5" else pair.kind).from_pretrained(tmp_path)
    unscaled(theirs.eval(), content)
    expected, found = (
        theirs_of(one, inputs, targets).logits.numpy() for one in (pair.theirs, theirs)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_what_transformers_writes_is_the_same_model_here(pair, tmp_path):
    pair.theirs.save_pretrained(tmp_path)
    published = hf_files.open_folder(str(tmp_path))
    assert published.config == pair.model.config
    there = {name: torch.tensor(published.files.read(name, ())) for name in published.files.shapes}
    for name, value in load_params(published.model, published.table, there).items():
        np.testing.assert_array_equal(value, pair.params[name])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (16, 50), (64, 256)])
def test_relative_position_buckets_equal_transformers(bidirectional, num_buckets, max_distance):
    attention = transformers.models.t5.modeling_t5.T5Attention
    distance = np.arange(max_distance + 40)
    expected = attention._relative_position_bucket(
        -torch.tensor(distance), bidirectional, num_buckets, max_distance
    )
    table = relative_position_buckets(num_buckets // (1 + bidirectional), max_distance)
    np.testing.assert_array_equal(table[np.minimum(distance, max_distance)], expected.numpy())


def test_values_take_dtype_and_place_of_what_they_replace(pair):
    model = Model(dataclasses.replace(pair.model.config, param_dtype="bfloat16"))
    mesh = jax.make_mesh((1,), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    params = load_params(model, pair.table, pair.state_dict, sharding)
    kernel = params["decoder/layers/cross_attention/query/kernel"]
    assert (kernel.dtype, kernel.sharding) == (jnp.bfloat16, sharding)
    last = pair.model.config.num_decoder_layers - 1
    theirs = pair.state_dict[f"decoder.block.{last}.layer.1.EncDecAttention.q.weight"].numpy().T
    np.testing.assert_array_equal(kernel[last], theirs.astype(jnp.bfloat16))


# What does not fit is named


@pytest.fixture(scope="module")
def untied():
    """A small T5 1.1 and its tensors."""
    config = read(SIZES | OWN_HEAD | {"model_type": "t5"})
    shapes = Model(config).shapes
    params = {
        name: np.full(leaf.shape, i, np.float32) for i, (name, leaf) in enumerate(shapes.items())
    }
    written = unloaded(t5.table(config), params)
    return config, {name: torch.tensor(value) for name, value in written.items()}


def refusal(config, state_dict):
    with pytest.raises(CheckpointError) as raised:
        tables.check(t5.table(config), TorchTensors(state_dict), Model(config).shapes)
    return str(raised.value)


def test_one_error_names_every_wrong_tensor(untied):
    config, state_dict = untied
    state_dict = dict(state_dict)
    del state_dict["encoder.block.1.layer.0.SelfAttention.q.weight"]
    del state_dict["decoder.final_layer_norm.weight"]
    state_dict["decoder.block.1.layer.2.DenseReluDense.wo.weight"] = torch.zeros((48, 32))
    state_dict["encoder.block.3.layer.0.layer_norm.weight"] = torch.zeros(32)
    missing, extra, misshapen = refusal(config, state_dict).split("; ", 2)
    assert "missing: 'encoder.block.1.layer.0.SelfAttention.q.weight', " in missing
    assert "'decoder.final_layer_norm.weight'" in missing
    assert extra.startswith("of no such model: 'encoder.block.3.layer.0.layer_norm.weight'")
    assert misshapen.endswith(
        "of another shape: decoder.block.1.layer.2.DenseReluDense.wo.weight is 48 x 32, and has "
        "to be 32 x 48"
    )


def test_untied_weights_do_not_load_into_a_tied_model(untied):
    config, state_dict = untied
    tied = dataclasses.replace(config, logits_via_embedding=True)
    assert "not the copies they should be: lm_head.weight (of shared.weight)" in refusal(
        tied, state_dict
    )
    state_dict = state_dict | {"lm_head.weight": state_dict["shared.weight"]}
    tables.check(t5.table(tied), TorchTensors(state_dict), Model(tied).shapes)


def test_copies_of_the_table_and_unused_tensors_are_optional(untied):
    config, state_dict = untied
    assert not any("embed_tokens" in name for name in state_dict)
    extra = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    copy = {"encoder.embed_tokens.weight": state_dict["shared.weight"], extra: torch.zeros((32, 3))}
    load_params(Model(config), t5.table(config), state_dict | copy)


# Fields as in the config.json of google/t5-v1_1-small, and of t5-small, which has fewer.
NEW = {
    "model_type": "t5",
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "dropout_rate": 0.1,
}
OLD = {k: NEW[k] for k in ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")}


def test_config_of_a_published_file():
    assert read(NEW) == T5Config(vocab_size=32128, dropout_rate=0.1)
    config = read(OLD)
    assert config.mlp_activations == ("relu",)
    assert config.logits_via_embedding
    assert config.num_decoder_layers == 8


@pytest.mark.parametrize("kind", ["mt5", "umt5"])
def test_mt5_and_umt5_have_heads_of_their_own_whatever_the_file_says(kind):
    for said in ({}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}):
        config = read(OLD | {"model_type": kind} | said)
        assert not config.logits_via_embedding
        assert config.mlp_activations == ("gelu", "linear")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "bart"}, "config.json: 'model_type' is 'bart', which is not supported"),
        ({"feed_forward_proj": "gelu"}, "'feed_forward_proj' is 'gelu'.*did you mean.*gated-gelu"),
        ({"dense_act_fn": "gelu"}, "'dense_act_fn' is 'gelu'; supported is 'gelu_new'"),
        ({"d_kv": None}, "has no 'd_kv'"),
        ({"d_model": "512"}, "'d_model' must be a whole number"),
        ({"is_encoder_decoder": False}, "'is_encoder_decoder' is False"),
        ({"decoder_start_token_id": 2}, "'decoder_start_token_id' is 2; supported is 0"),
        ({"dropout_rate": 1}, "config.json: DROPOUT_RATE"),
        ({"relative_attention_num_buckets": 1}, "relative_attention_num_buckets must be"),
        ({"relative_attention_max_distance": 2**31 - 1}, "relative_attention_max_distance must"),
        ({"relative_attention_max_distance": 16}, "relative_attention_max_distance must"),
    ],
)
def test_config_errors_name_the_field(change, message):
    with pytest.raises(CheckpointError, match=message):
        read(NEW | change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mlp_activations": ("gelu", "relu")}, "MLP_ACTIVATIONS"),
        ({"relative_attention_per_layer": True, "logits_via_embedding": True}, "no umT5"),
    ],
)
def test_what_transformers_does_not_have_is_not_written(change, message):
    with pytest.raises(ConfigError, match=message):
        t5.write_config(dataclasses.replace(read(NEW), **change))
