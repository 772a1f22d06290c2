"""T5: parameters, packing, dropout, dtypes, size of the compiled program, published sizes."""

import dataclasses
import math
import pathlib

import framed
import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from flan_jax.config import read_own
from flan_jax.errors import ConfigError
from flan_jax.models import attention
from flan_jax.models.families import Model
from flan_jax.models.layers import dropout, fold, scan_layers
from flan_jax.models.t5 import T5, T5Config

GIN_MODELS = pathlib.Path(__file__).parents[2] / "gin_configs" / "models"

TINY = T5Config(
    vocab_size=40,
    emb_dim=16,
    num_heads=2,
    head_dim=12,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=40,
)
TINY_1_0 = dataclasses.replace(TINY, mlp_activations=("relu",), logits_via_embedding=True)
TINY_UMT5 = dataclasses.replace(TINY, relative_attention_per_layer=True)


def make_model(config=TINY):
    # Not under jit: op by op, models of the same shapes after the first are built in no time.
    return T5(config, nnx.Rngs(0))


@jax.jit
def forward(model, batch):
    return model(batch)


def random_batch(seed=0, rows=3, source=9, target=6):
    """An unpacked batch with rows of differing length."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(2, 40, (rows, source))
    targets = rng.integers(2, 40, (rows, target))
    for row in range(rows):
        inputs[row, source - row :] = 0
        targets[row, target - row :] = 0
    return {
        "encoder_input_tokens": jnp.asarray(inputs, jnp.int32),
        "encoder_segment_ids": framed.segments(inputs),
        "decoder_segment_ids": jnp.ones(targets.shape, jnp.int32),
        "decoder_input_tokens": jnp.asarray(np.roll(targets, 1, axis=1), jnp.int32).at[:, 0].set(0),
        "decoder_target_tokens": jnp.asarray(targets, jnp.int32),
        "decoder_loss_weights": jnp.asarray(targets > 0, jnp.float32),
    }


def pack(examples, source, target):
    """Packs (inputs, targets) pairs into one row, as T5X's trimming packer lays them out."""
    names = ("tokens", "segment_ids", "positions")
    encoder = {name: np.zeros((1, source), np.int32) for name in names}
    decoder = {name: np.zeros((1, target), np.int32) for name in names}
    ends = [0, 0]
    for segment, pair in enumerate(examples, start=1):
        shifted = np.concatenate([[0], pair[1][:-1]])
        for side, (part, tokens) in enumerate(((encoder, pair[0]), (decoder, shifted))):
            where = slice(ends[side], ends[side] + len(tokens))
            part["tokens"][0, where] = tokens
            part["segment_ids"][0, where] = segment
            part["positions"][0, where] = np.arange(len(tokens))
            ends[side] += len(tokens)
    batch = {}
    for side, part in (("encoder", encoder), ("decoder", decoder)):
        batch[f"{side}_input_tokens"] = jnp.asarray(part["tokens"])
        batch[f"{side}_segment_ids"] = jnp.asarray(part["segment_ids"])
        batch[f"{side}_positions"] = jnp.asarray(part["positions"])
    return batch


def params_of(model):
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Param)
    }


@pytest.mark.parametrize("config", [TINY, TINY_1_0, TINY_UMT5], ids=["1.1", "1.0", "umT5"])
def test_every_parameter_has_an_axis_name_per_axis(config):
    known = {"layers", "embed", "heads", "mlp", "vocab", "buckets"}
    for name, param in params_of(make_model(config)).items():
        axes = param.get_metadata("axes")
        assert len(axes) == param.ndim, name
        assert set(axes) <= known, name
        assert ("layers" in axes) == (".layers." in name), name
        assert param.dtype == jnp.float32, name


def test_axes_survive_split_and_abstract_construction():
    abstract = nnx.eval_shape(lambda: T5(TINY, nnx.Rngs(0)))
    assert params_of(abstract)["embed.embedding"].get_metadata("axes") == ("vocab", "embed")
    graphdef, state = nnx.split(make_model())
    merged = params_of(nnx.merge(graphdef, state))
    assert merged["encoder.layers.mlp.wo.kernel"].get_metadata("axes") == ("layers", "mlp", "embed")


def test_initial_scales():
    params = params_of(make_model())
    expected = {
        "embed.embedding": 1.0,
        "head.kernel": 16**-0.5,
        "encoder.layers.attention.query.kernel": (16 * 12) ** -0.5,
        "encoder.layers.attention.key.kernel": 16**-0.5,
        "decoder.layers.cross_attention.out.kernel": 24**-0.5,
        "decoder.layers.mlp.wi_1.kernel": 16**-0.5,
        "decoder.layers.mlp.wo.kernel": 40**-0.5,
    }
    for name, std in expected.items():
        assert np.std(params[name][...]) == pytest.approx(std, rel=0.15), name
    assert np.all(params["encoder.norm.scale"][...] == 1)
    first, second = params["encoder.layers.mlp.wo.kernel"][...]
    assert not np.array_equal(first, second)


def test_logits_are_finite_float32_and_depend_on_no_padding():
    model, batch = make_model(), random_batch()
    logits = forward(model, batch)
    assert logits.shape == (3, 6, 40)
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()
    wider = dict(batch)
    for key in (key for key in batch if key.endswith(("input_tokens", "segment_ids"))):
        wider[key] = jnp.pad(batch[key], ((0, 1), (0, 4)))
    wide_logits = forward(model, wider)
    assert np.isfinite(wide_logits).all()  # also the row without a single token
    weights = batch["decoder_loss_weights"][..., None]
    np.testing.assert_allclose(wide_logits[:3, :6] * weights, logits * weights, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_packed_rows_give_the_logits_of_unpacked_rows(seed):
    rng = np.random.default_rng(seed)
    examples = [
        tuple(rng.integers(2, 40, rng.integers(1, 7)).astype(np.int32) for _ in range(2))
        for _ in range(3)
    ]
    model = make_model()
    packed = forward(model, pack(examples, source=20, target=20))[0]
    assert np.isfinite(packed).all()
    start = 0
    for inputs, targets in examples:
        # The same shapes for every example, so that it compiles once.
        alone = {
            "encoder_segment_ids": jnp.zeros((1, 8), jnp.int32).at[0, : len(inputs)].set(1),
            "decoder_segment_ids": jnp.ones((1, 8), jnp.int32),
            "encoder_input_tokens": jnp.zeros((1, 8), jnp.int32).at[0, : len(inputs)].set(inputs),
            "decoder_input_tokens": jnp.zeros((1, 8), jnp.int32)
            .at[0, 1 : len(targets)]
            .set(targets[:-1]),
        }
        expected = forward(model, alone)[0, : len(targets)]
        np.testing.assert_allclose(packed[start : start + len(targets)], expected, atol=1e-5)
        start += len(targets)


def test_half_packed_batch_is_an_error():
    batch = random_batch()
    del batch["decoder_segment_ids"]
    with pytest.raises(ValueError, match="encoder_segment_ids but not its counterpart"):
        jax.eval_shape(make_model(), batch)


def test_encode_then_decode_is_call():
    model, batch = make_model(), random_batch()
    inputs = batch["encoder_input_tokens"], batch["encoder_segment_ids"]
    encoded = jax.jit(T5.encode)(model, *inputs)
    logits = jax.jit(T5.decode)(model, encoded, batch)
    np.testing.assert_allclose(logits, forward(model, batch), atol=1e-6)


def test_dropout_is_a_function_of_its_key():
    model, batch = make_model(dataclasses.replace(TINY, dropout_rate=0.3)), random_batch()
    call = jax.jit(lambda key: model(batch, dropout_key=key))
    first = call(jax.random.key(1))
    np.testing.assert_array_equal(first, call(jax.random.key(1)))
    assert not np.allclose(first, call(jax.random.key(2)))
    np.testing.assert_allclose(forward(model, batch), forward(make_model(), batch), atol=1e-6)
    assert not np.allclose(first, forward(model, batch))


def test_dropout_shares_its_draws_along_the_length_only():
    key = jax.random.key(0)
    ones = jnp.ones((2, 5, 64))
    first, second = (dropout(ones, 0.5, fold(key, site)) for site in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, jnp.broadcast_to(first[:, :1], first.shape))
    assert not np.array_equal(first[0], first[1])
    assert set(np.unique(first)) == {0.0, 2.0}
    assert dropout(ones, 0.0, key) is ones


def test_scanned_layers_have_their_own_dropout_and_weights():
    def body(layer, index, carry, inputs):
        drawn = dropout(jnp.ones((1, 64)), 0.5, fold(jax.random.key(0), index))
        return carry + inputs, (drawn, layer.mlp.wo.kernel[...])

    layers = make_model().encoder.layers
    carry, (drawn, kernels) = scan_layers(body, layers, jnp.zeros(()), jnp.array([1.0, 2.0]))
    assert carry == 3
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(kernels, layers.mlp.wo.kernel[...])


@pytest.mark.parametrize("config", [TINY, TINY_UMT5], ids=["1.1", "umT5"])
def test_every_parameter_gets_a_gradient(config):
    batch = random_batch()

    def loss(model):
        log_probs = jax.nn.log_softmax(model(batch))
        targets = jax.nn.one_hot(batch["decoder_target_tokens"], 40)
        return -jnp.sum(log_probs * targets * batch["decoder_loss_weights"][..., None])

    for name, grad in params_of(jax.jit(jax.grad(loss))(make_model(config))).items():
        assert np.isfinite(grad[...]).all(), name
        assert np.any(grad[...] != 0), name


@pytest.mark.parametrize("config", [TINY, TINY_1_0], ids=["1.1", "1.0"])
def test_bfloat16_compute_gives_float32_logits_near_float32_ones(config):
    batch = random_batch()
    expected = forward(make_model(config), batch)
    model = make_model(dataclasses.replace(config, dtype="bfloat16"))
    assert all(p.dtype == jnp.float32 for p in params_of(model).values())
    encoded = jax.eval_shape(model.encode, batch["encoder_input_tokens"])
    assert encoded.dtype == jnp.bfloat16
    logits = forward(model, batch)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected, atol=0.05 * float(jnp.std(expected)) + 0.05)


def count_equations(jaxpr):
    total = 0
    for equation in jaxpr.eqns:
        total += 1 + sum(map(count_equations, jaxprs_in_params(equation.params)))
    return total


def test_program_does_not_grow_with_depth():
    def size(num_layers):
        config = dataclasses.replace(
            TINY, num_encoder_layers=num_layers, num_decoder_layers=num_layers, dropout_rate=0.1
        )
        graphdef, state = nnx.split(nnx.eval_shape(lambda: T5(config, nnx.Rngs(0))))

        def loss(state):
            model = nnx.merge(graphdef, state)
            return model(random_batch(), dropout_key=jax.random.key(0)).sum()

        return count_equations(jax.make_jaxpr(jax.grad(loss))(state).jaxpr)

    assert size(2) == size(7)
    assert size(2) > 100


def test_token_beyond_the_vocabulary_is_not_silent():
    batch = random_batch()
    batch["decoder_input_tokens"] = batch["decoder_input_tokens"].at[0, 1].set(40)
    assert np.isnan(forward(make_model(), batch)).any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mlp_activations": ("gelo",)}, "gelo.*gelu"),
        ({"mlp_activations": ()}, "MLP_ACTIVATIONS"),
        ({"num_heads": 0}, "NUM_HEADS must be .*, not 0"),
        ({"dropout_rate": 1.0}, "DROPOUT_RATE must be .*, not 1.0"),
    ],
)
def test_config_errors_name_the_field(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **change)


def test_checkpoints_from_before_umt5_are_of_the_same_model():
    assert "relative_attention_per_layer" not in Model(TINY).describe()
    assert Model(TINY_UMT5).describe()["relative_attention_per_layer"]


def test_config_is_hashable_with_activations_from_json():
    assert hash(dataclasses.replace(TINY, mlp_activations=["gelu", "linear"])) == hash(TINY)


GIN_FIELDS = (
    "vocab_size",
    "emb_dim",
    "num_heads",
    "head_dim",
    "num_encoder_layers",
    "num_decoder_layers",
    "mlp_dim",
    "mlp_activations",
    "logits_via_embedding",
    "relative_attention_per_layer",
)

PARAMETER_COUNTS = {
    "t5_1_1/small": 76_961_152,
    "t5_1_1/base": 247_577_856,
    "t5_1_1/large": 783_150_080,
    "t5_1_1/xl": 2_849_757_184,
    "t5_1_1/xxl": 11_135_332_352,
    "t5_1_1/tiny": 197_632 + 128 * 32_128,
    "t5_1_0/small": 60_506_624,
    "t5_1_0/base": 222_903_552,
    "t5_1_0/large": 737_668_096,
    "t5_1_0/3b": 2_851_598_336,
    "t5_1_0/11b": 11_307_321_344,
    "t5_1_0/tiny": 164_864 + 64 * 32_128,
    "mt5/small": 300_176_768,
    "mt5/base": 582_401_280,
    "mt5/large": 1_229_581_312,
    "mt5/xl": 3_742_619_648,
    "mt5/xxl": 12_921_057_280,
    "umt5/small": 306_601_984,
    "umt5/base": 592_043_520,
    "umt5/xl": 3_768_356_864,
    "umt5/xxl": 12_972_531_712,
    "byt5/small": 299_637_760,
    "byt5/base": 581_653_248,
    "byt5/large": 1_228_183_552,
    "byt5/xl": 3_737_801_728,
    "byt5/xxl": 12_906_899_328,
}
for _size in ("small", "base", "large", "xl", "xxl"):  # T5 1.1, trained further
    for _family in ("t5_1_1_lm", "flan_t5"):
        PARAMETER_COUNTS[f"{_family}/{_size}"] = PARAMETER_COUNTS[f"t5_1_1/{_size}"]


@pytest.fixture
def clean_gin():
    """Gin's configuration is global: what a test parses must not reach the next."""
    gin.clear_config()
    yield
    gin.clear_config()


def config_of(size):
    """The configuration that a file of the package makes, with 32,128 rows if it names none."""
    gin.parse_config("VOCAB_SIZE = 32128\nRELATIVE_ATTENTION_PER_LAYER = False\n")
    gin.parse_config(read_own(f"gin_configs/models/{size}.gin").text)
    assert gin.query_parameter("%MODEL_FAMILY") == "t5"
    return T5Config(**{name: gin.query_parameter(f"%{name.upper()}") for name in GIN_FIELDS})


@pytest.mark.parametrize("size", PARAMETER_COUNTS)
def test_gin_sizes_have_the_published_parameter_counts(size, clean_gin):
    model = nnx.eval_shape(lambda: T5(config_of(size), nnx.Rngs(0)))
    assert sum(math.prod(p.shape) for p in params_of(model).values()) == PARAMETER_COUNTS[size]


def test_every_size_file_is_covered():
    published = ("t5_1_*", "flan_t5", "mt5", "umt5", "byt5")
    files = [file for family in published for file in GIN_MODELS.glob(f"{family}/*.gin")]
    assert {f"{file.parent.name}/{file.stem}" for file in files} == set(PARAMETER_COUNTS)


@pytest.mark.parametrize("dropout", [False, True])
def test_attention_in_chunks_is_attention(dropout):
    """With its gradients; a chunk that does not divide the queries is not used."""
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v = (jax.random.normal(key, (2, 3, 12, 8)) for key in keys[:3])
    bias = jax.random.normal(keys[3], (1, 3, 12, 12))
    mask = attention.causal_mask(12) & (jnp.arange(12) < 10)[None, None, None]

    def run(chunk):
        def loss(q, k, v, bias):
            out = attention.attend(
                q,
                attention.Seen(attention.KeysValues(k, v), mask, bias),
                dropout_rate=0.5 if dropout else 0.0,
                # Dropped weights are shared along queries, and drawn anew for each chunk.
                dropout_key=jax.random.key(1) if dropout else None,
                chunk=chunk,
            )
            return jnp.sum(jnp.sin(out)), out

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(q, k, v, bias)

    whole, parts, undivided = run(None), run(4), run(5)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(undivided), strict=True):
        np.testing.assert_array_equal(one, other)
    if dropout:
        assert np.isfinite(parts[0][0]) and not np.allclose(whole[0][1], parts[0][1])
        return
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_softmax_attention_against_numpy():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 3, 5, 4)).astype(np.float32) for _ in range(3))
    bias, mask = rng.normal(size=(1, 3, 5, 5)), np.tril(np.ones((5, 5), bool))[None, None]
    scores = np.where(mask, np.einsum("bhtk,bhsk->bhts", q, k) + bias, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhts,bhsk->bhtk", weights / weights.sum(-1, keepdims=True), v)
    for given in (jnp.asarray(mask), attention.additive(jnp.asarray(mask))):
        seen = attention.Seen(attention.KeysValues(k, v), given, jnp.asarray(bias))
        out = attention.attend(q, seen)
        np.testing.assert_allclose(out, expected, atol=1e-5)
