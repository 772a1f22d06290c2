"""Our T5 against transformers' on the same random weights, and the loader's errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from framed import ENDLESS, ending, prompts, segments

from flan_jax.interop.huggingface import load_t5_state_dict, t5_config_from_huggingface
from flan_jax.models.decoding import greedy_decode
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
VERSIONS = {
    "1.0": dict(feed_forward_proj="relu", tie_word_embeddings=True),
    "1.1": dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
}


def make_model(config):
    return T5(config, nnx.Rngs(7))


@dataclasses.dataclass
class Pair:
    theirs: "transformers.T5ForConditionalGeneration"
    ours: T5
    state_dict: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request):
    torch.manual_seed(0)
    hf_config = transformers.T5Config(**SIZES, **VERSIONS[request.param])
    theirs = transformers.T5ForConditionalGeneration(hf_config).eval()
    with torch.no_grad():
        if request.param == "1.1":
            # transformers 5 ties the head of a fresh model whatever the config says; published
            # 1.1 weights have their own.
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
    state_dict = {name: value.numpy() for name, value in theirs.state_dict().items()}
    ours = make_model(t5_config_from_huggingface(hf_config.to_dict()))
    load_t5_state_dict(ours, state_dict)
    return Pair(theirs, ours, state_dict)


@pytest.fixture(scope="module")
def inputs():
    tokens = np.random.default_rng(0).integers(2, 60, (4, 150))  # beyond the largest bucket
    tokens[1, 100:] = 0
    tokens[2, 3:] = 0
    return tokens


def test_versions_differ_as_they_should(pair):
    config = pair.ours.config
    gated = config.mlp_activations == ("gelu", "linear")
    assert gated != config.logits_via_embedding
    assert (config.num_encoder_layers, config.num_decoder_layers) == (3, 2)
    assert config.num_heads * config.head_dim != config.emb_dim


def test_logits_and_loss_equal_transformers(pair, inputs):
    targets = np.random.default_rng(1).integers(2, 60, (4, 140))
    targets[0, 5:] = 0
    labels = np.where(targets == 0, -100, targets)
    with torch.no_grad():
        expected = pair.theirs(
            input_ids=torch.tensor(inputs),
            attention_mask=torch.tensor(inputs != 0),
            labels=torch.tensor(labels),
        )
    shifted = np.roll(targets, 1, axis=1)
    shifted[:, 0] = 0
    batch = {
        "encoder_input_tokens": inputs,
        "encoder_segment_ids": segments(inputs),
        "decoder_input_tokens": shifted,
        "decoder_segment_ids": np.ones_like(shifted),
    }
    logits = jax.jit(T5.__call__)(pair.ours, jax.tree.map(jnp.asarray, batch))
    valid = targets != 0
    np.testing.assert_allclose(
        np.asarray(logits)[valid], expected.logits.numpy()[valid], atol=1e-4, rtol=1e-4
    )
    log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
    loss = -np.asarray(log_probs)[valid].mean()
    assert loss == pytest.approx(expected.loss.item(), abs=1e-4)


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
    # Random weights seldom produce token 1, so a token that some rows do produce is made EOS.
    free = pair.theirs.generate(**arguments, eos_token_id=None).numpy()[:, 1:]
    assert len(np.unique(free)) > 4
    np.testing.assert_array_equal(
        decode(pair.ours, prompts(inputs), max_length=20, framing=ENDLESS), free
    )
    eos = int(free[0, 5])
    generated = pair.theirs.generate(**arguments, eos_token_id=eos).numpy()[:, 1:]
    tokens = np.asarray(decode(pair.ours, prompts(inputs), max_length=20, framing=ending(eos)))
    width = generated.shape[1]
    np.testing.assert_array_equal(tokens[:, :width], generated)
    assert not tokens[:, width:].any()
    assert (tokens == 0).any()


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


def test_values_keep_dtype_and_axes(pair):
    config = dataclasses.replace(pair.ours.config, param_dtype="bfloat16")
    model = nnx.eval_shape(lambda: make_model(config))
    load_t5_state_dict(model, pair.state_dict)
    kernel = model.decoder.layers.cross_attention.query.kernel
    assert kernel.dtype == jnp.bfloat16
    assert kernel.get_metadata("axes") == ("layers", "embed", "heads")
    last = pair.state_dict["decoder.block.1.layer.1.EncDecAttention.q.weight"].T
    np.testing.assert_array_equal(kernel[1], last.astype(jnp.bfloat16))


def test_abstract_and_sharded_models_load(pair):
    mesh = jax.make_mesh((1,), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    placed = make_model(pair.ours.config)
    kernel = placed.encoder.layers.mlp.wo.kernel
    kernel.set_value(jax.device_put(kernel[...], sharding))
    abstract = nnx.eval_shape(lambda: make_model(pair.ours.config))
    for model in (placed, abstract):
        load_t5_state_dict(model, pair.state_dict)
        expected, loaded = (jax.tree.leaves(nnx.state(m)) for m in (pair.ours, model))
        for left, right in zip(expected, loaded, strict=True):
            np.testing.assert_array_equal(left, right)
    assert placed.encoder.layers.mlp.wo.kernel[...].sharding == sharding
    assert not placed.embed.embedding[...].committed  # free to follow wherever a batch lies


def test_one_error_names_every_wrong_key(pair):
    state_dict = dict(pair.state_dict)
    del state_dict["encoder.block.1.layer.0.SelfAttention.q.weight"]
    del state_dict["decoder.final_layer_norm.weight"]
    state_dict["decoder.block.1.layer.2.DenseReluDense.wo.weight"] = np.zeros((48, 32))
    state_dict["encoder.block.3.layer.0.layer_norm.weight"] = np.zeros(32)
    model = make_model(pair.ours.config)
    before = np.asarray(model.embed.embedding[...])
    with pytest.raises(ValueError) as raised:
        load_t5_state_dict(model, state_dict)
    message = str(raised.value)
    assert "missing: encoder.block.1.layer.0.SelfAttention.q.weight" in message
    assert "missing: decoder.final_layer_norm.weight" in message
    assert "unexpected: encoder.block.3.layer.0.layer_norm.weight" in message
    assert (
        "misshapen: decoder.block.1.layer.2.DenseReluDense.wo.weight has shape (48, 32), "
        "the model needs (32, 48)" in message
    )
    assert len(message.splitlines()) == 5
    np.testing.assert_array_equal(model.embed.embedding[...], before)


def test_untied_weights_do_not_load_into_a_tied_model(pair):
    tied = dataclasses.replace(pair.ours.config, logits_via_embedding=True)
    model = make_model(tied)
    if pair.ours.config.logits_via_embedding:
        load_t5_state_dict(model, pair.state_dict)
    else:
        with pytest.raises(ValueError, match=r"not tied: lm_head\.weight differs"):
            load_t5_state_dict(model, pair.state_dict)


def test_copies_of_the_table_and_unused_keys_are_optional(pair):
    state_dict = {k: v for k, v in pair.state_dict.items() if "embed_tokens" not in k}
    state_dict["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = np.zeros(
        (32, 3)
    )
    load_t5_state_dict(make_model(pair.ours.config), state_dict)


def test_config_of_a_published_file():
    """Fields as in the config.json of google/t5-v1_1-small, and of t5-small, which has fewer."""
    new = {
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
    assert t5_config_from_huggingface(new) == T5Config(vocab_size=32128, dropout_rate=0.1)
    old = {k: new[k] for k in ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")}
    config = t5_config_from_huggingface(old)
    assert config.mlp_activations == ("relu",)
    assert config.logits_via_embedding
    assert config.num_decoder_layers == 8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "bart"}, "model_type='bart'"),
        ({"feed_forward_proj": "gelu"}, "feed_forward_proj='gelu'.*gated-gelu"),
        ({"d_kv": None}, "lacks d_kv"),
    ],
)
def test_config_errors_name_the_field(change, message):
    with pytest.raises(ValueError, match=message):
        t5_config_from_huggingface(SIZES | change)
