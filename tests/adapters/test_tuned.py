"""Models of which not everything trains, in every family: what trains, and what it costs."""

import dataclasses
import functools

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import Example

from flan_jax.adapters import frozen, lora
from flan_jax.adapters.tuned import TunedConfig, tuned_model
from flan_jax.errors import ConfigError
from flan_jax.models.bart import BartConfig
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.models.t5gemma import T5GemmaConfig
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.losses import Loss
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.restore import _config_of

DECODER = DecoderConfig(
    vocab_size=64, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=32, num_layers=2, window=4,
    global_every=2,
)  # fmt: skip
FAMILIES = {
    "t5": T5Config(vocab_size=64, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=32,
                   num_encoder_layers=2, num_decoder_layers=2),
    "decoder": DECODER,
    "t5gemma": T5GemmaConfig(encoder=DECODER, decoder=DECODER),
    "bart": BartConfig(vocab_size=64, emb_dim=16, num_heads=2, mlp_dim=32, num_encoder_layers=2,
                       num_decoder_layers=2, max_positions=64),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Special:
    pad_id: int = 0
    bos_id: int = 2
    eos_id: int = 1


@pytest.fixture(autouse=True)
def no_gin():
    """Whatever verbs have bound in this process."""
    gin.clear_config()


def batch_of(model: Model, packed: bool = True):
    rng = np.random.default_rng(0)
    rows = [
        [Example([*rng.integers(3, 64, n), 1], [*rng.integers(3, 64, 3), 1]) for n in lengths]
        for lengths in ((5, 7), (9,))
    ]
    # A soft prompt of 6 in front of every prompt.
    return jax.tree.map(jnp.asarray, model.layout(Special()).rows(rows, 34, 10, packed))


@functools.cache
def tuned(family: str, trainable: str = "lora", frozen_dtype: str = "float32", **changes):
    options = dict(lora_rank=4, soft_prompt_length=6, soft_prompt_init="random", **changes)
    return Model(tuned_model(FAMILIES[family], trainable, frozen_dtype, **options))


def drawn(model: Model, base=None):
    """Parameters with adapters that do something, on the base's weights."""
    params = dict(model.init(jax.random.key(1)))
    for number, name in enumerate(sorted(model.trained)):
        key = jax.random.fold_in(jax.random.key(2), number)
        params[name] = 0.1 * jax.random.normal(key, params[name].shape)
    return {**params, **{name: value for name, value in (base or {}).items() if name in params}}


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_begin_at_the_base_and_merge_into_it(family):
    base = Model(FAMILIES[family])
    weights = base.init(jax.random.key(0))
    model = tuned(family)
    begun = {**model.init(jax.random.key(1)), **weights}
    batch = batch_of(model)
    before = jax.jit(base.apply)(weights, batch)
    np.testing.assert_array_equal(jax.jit(model.apply)(begun, batch), before)
    assert {name.rpartition("/lora/")[0] for name in model.trained} == {
        name.removesuffix("/kernel")
        for name in base.shapes
        if name.endswith("kernel") and "vocab" not in base.axes[name]
    }
    params = drawn(model, weights)
    merged = dict(weights)
    for name in model.trained:
        if name.endswith(lora.A):
            layer = name.removesuffix(lora.A)
            product = lora.delta(model.config.lora, params[name], params[f"{layer}{lora.B}"])
            merged[f"{layer}kernel"] += product
    after = jax.jit(model.apply)(params, batch)
    assert float(jnp.abs(after - before).max()) > 0.05
    np.testing.assert_allclose(jax.jit(base.apply)(merged, batch), after, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_soft_prompt_stands_before_each_packed_example(family):
    """Packed as apart, and its tokens lie in no vocabulary; without it all is as before."""
    model = tuned(family, "prompt")
    params = drawn(model)
    (name,) = model.trained
    assert name.endswith("soft_prompt") and params[name].shape == (6, 16)
    framing = model.layout(Special()).framing
    has_bos = framing.bos_id is not None
    prompt = framing.prompt(np.array([7, 8, 1]), 20).tolist()
    assert prompt[int(has_bos) : int(has_bos) + 6] == list(range(64, 70))
    assert framing.added[0] == 6 + has_bos
    apply = jax.jit(model.apply)
    packed = apply(params, batch_of(model))
    layout = model.layout(Special())
    rng = np.random.default_rng(0)
    examples = [Example([*rng.integers(3, 64, n), 1], [*rng.integers(3, 64, 3), 1]) for n in (5, 7)]
    alone = jax.tree.map(jnp.asarray, layout.rows([[one] for one in examples], 34, 10, False))
    apart = apply(params, alone)
    tokens = model.targets(batch_of(model))
    spans = [np.flatnonzero(np.asarray(tokens.segments_BxT[0]) == n) for n in (1, 2)]
    if "decoder_loss_positions" in alone:  # of one sequence only answers are looked at
        spans = [np.arange(4), np.arange(4, 8)]
    for row, span in enumerate(spans):
        np.testing.assert_allclose(packed[0, span], apart[row, : len(span)], atol=2e-5)
    other = dict(params)
    other[name] = -params[name]
    assert float(jnp.abs(apply(other, alone) - apart).max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_is_near_and_its_adapters_learn(family):
    base = Model(FAMILIES[family])
    weights = base.init(jax.random.key(0))
    model = tuned(family, frozen_dtype="int8")
    held = {}
    for name, leaf in model.shapes.items():
        if name in weights and leaf.dtype == jnp.int8:
            axis = frozen.axis_of(name)
            value, scale = frozen.quantize(weights[name], axis)
            held |= {name: value, f"{name}{frozen.SCALE}": scale}
            error = jnp.abs(frozen.dequantize(value, scale, axis) - weights[name])
            assert float((error / jnp.expand_dims(scale, axis)).max()) <= 0.5 + 1e-3
        elif name in weights:
            held[name] = weights[name]
    assert sum(leaf.dtype == jnp.int8 for leaf in model.shapes.values()) > 4
    batch = batch_of(model)
    params = {**model.init(jax.random.key(1)), **held}
    exact = jax.jit(base.apply)(weights, batch)
    off = jnp.abs(jax.jit(model.apply)(params, batch) - exact)
    assert 0 < float(off.max()) < 0.1 * float(jnp.abs(exact).max())
    # As the weights they stand for, to the digit.
    plain = {n: frozen.dequantize(held[n], held[f"{n}{frozen.SCALE}"], frozen.axis_of(n))
             if f"{n}{frozen.SCALE}" in held else held[n] for n in weights}  # fmt: skip
    stood_for = jax.jit(base.apply)(plain, batch)
    np.testing.assert_allclose(jax.jit(model.apply)(params, batch), stood_for, atol=2e-4)


def steps_of(model: Model, count: int = 3, **changes):
    here = mesh_lib.make_mesh(devices=jax.devices()[:1])
    recipe = state_lib.StepRecipe(
        model, Optimizer("adamw").build(model.axes), Loss(chunk=4), **changes
    )
    shardings = state_lib.state_shardings(recipe, here)
    state = state_lib.init_state(recipe, shardings)
    drawn_params = model.init(jax.random.key(3))
    held = {name: value for name, value in drawn_params.items() if name not in model.trained}
    batch = batch_of(model)
    step = state_lib.compile_train_step(recipe, shardings, here)
    compiled = step.lower(state, batch, jnp.int32(0), held).compile()
    before = {name: np.asarray(value) for name, value in held.items()}
    for number in range(count):
        state, metrics = compiled(state, batch, jnp.int32(number), held)
    for name, value in before.items():
        np.testing.assert_array_equal(value, held[name])
    return compiled, state, metrics, held


def bytes_of(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("trainable", ["lora", "prompt", r".*/attention/.*"])
@pytest.mark.parametrize("frozen_dtype", ["float32", "int8"])
def test_only_what_trains_has_gradients_state_and_outputs(trainable, frozen_dtype):
    """Asserted from the buffers of the compiled step: Adam's two moments, and nothing else."""
    model = tuned("decoder", trainable, frozen_dtype)
    compiled, state, metrics, held = steps_of(model)
    assert set(state.params) == set(model.trained) and len(held) + len(state.params) == len(
        model.shapes
    )
    assert metrics.gradient_norms.shape == (len(model.trained),)
    trained, optimizer = bytes_of(state.params), bytes_of(state.optimizer)
    assert 2 * trained <= optimizer < 2 * trained + 64
    buffers = compiled.memory_analysis()
    # Beside state and metrics there is a pointer a buffer.
    outputs = trained + optimizer + bytes_of(metrics)
    assert outputs <= buffers.output_size_in_bytes <= outputs + 16 * 80
    assert buffers.alias_size_in_bytes == trained + optimizer  # the old state's memory is reused
    batch = bytes_of(batch_of(model))
    inputs = trained + optimizer + bytes_of(held) + batch
    assert buffers.argument_size_in_bytes <= inputs + 64


def test_dropout_of_adapters_differs_by_layer_and_step():
    model = tuned("decoder", lora_dropout=0.5)
    assert model.config.dropout_rate == 0.5
    params = drawn(model)
    # Both layers alike: without dropout, or with one mask for both, they would stay so.
    batch = batch_of(model)
    apply = jax.jit(model.apply)
    plain = apply(params, batch)
    first, again, second = (apply(params, batch, jax.random.key(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert float(jnp.abs(first - second).max()) > 1e-3 < float(jnp.abs(first - plain).max())
    gradient = jax.jit(
        jax.grad(lambda a, key: jnp.sum(model.apply({**params, name: a}, batch, key) ** 2))
    )
    name = "layers/mlp/wi_0/lora/a"
    masked = np.asarray(gradient(params[name], jax.random.key(1)))
    assert np.isfinite(masked).all() and not np.allclose(masked[0], masked[1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trainable", ["lora", "prompt"])
def test_described_and_built_again(family, trainable):
    """What a checkpoint says of a tuned model makes that model again."""
    import json

    config = tuned(family, trainable, "int8").config
    described = json.loads(json.dumps(Model(config).describe()))
    again = _config_of(described)
    assert Model(again).describe() == Model(config).describe()
    assert Model(again).shapes == Model(config).shapes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainable": "loar"}, "TRAINABLE='loar' matches no parameter; did you mean 'lora'"),
        ({"trainable": "embed/.*/x"}, "matches no parameter"),
        ({"trainable": "(a+)+"}, "TRAINABLE must be a regular expression in which only single"),
        ({"trainable": "lora", "lora_targets": "query"}, "LORA_TARGETS='query' matches no linear"),
        ({"trainable": "lora", "lora_rank": 0}, "LORA_RANK must be"),
        ({"frozen_dtype": "int8"}, "with TRAINABLE='all' nothing is frozen"),
        ({"trainable": "prompt", "soft_prompt_init": "labels"}, "go together"),
        (
            {"trainable": "prompt", "soft_prompt_init": "labels", "soft_prompt_length": 1,
             "soft_prompt_labels": ("yes", "no")},
            "2 labels do not fit",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        _ = Model(tuned_model(DECODER, **changes)).shapes


def test_a_tuned_model_of_a_tuned_model_is_one():
    once = tuned_model(DECODER, "lora")
    again = tuned_model(once, "lora", lora_rank=2)
    assert isinstance(again, TunedConfig) and again.base == DECODER and again.lora.rank == 2
    assert tuned_model(once, "all") is once
