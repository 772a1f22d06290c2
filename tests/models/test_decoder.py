"""The decoder's options that no published model has, published sizes, and large models unmade."""

import dataclasses
import math
import os
import pathlib
import re
import subprocess
import sys

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from published import Example

from flan_jax.errors import ConfigError
from flan_jax.models import decoding
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.families import Model
from flan_jax.models.framing import Framing, pad

ROOT = pathlib.Path(__file__).parents[2]
TINY = DecoderConfig(
    vocab_size=40, emb_dim=16, num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, mlp_dim=24
)
CONFIGS = {
    # FLAN's base: relative positions, EOS between prompt and answer.
    "flan": dict(positions="relative", mlp_activations=("gelu", "linear"), prompt_eos=True),
    "prefix": dict(prefix_attention=True),
    "prefix_flan": dict(positions="relative", prefix_attention=True, prompt_eos=True),
    "none": dict(positions="none", norm="layer", bias=True, mlp_activations=("gelu",)),
    "windows": dict(positions="relative", window=4, global_every=3, qk_norm=True),
    "all_windows": dict(window=3, attention_softcap=2.0, post_norms=True, attention_chunk=4),
}


class Special:
    pad_id, bos_id, eos_id = 5, 2, 1


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return Model(dataclasses.replace(TINY, **CONFIGS[request.param]))


@pytest.fixture(scope="module")
def params(model):
    found = model.init(jax.random.key(0))
    # Livelier than fresh ones, so that a wrong mask or position shows.
    return {name: value * 4 if value.ndim > 1 else value + 0.2 for name, value in found.items()}


EXAMPLES = [
    Example([9, 7, 4, 30, 31, 32, 1], [11, 12, 1]),
    Example([8, 1], [5, 5, 5, 5, 5, 1]),
    Example([3, 6, 9, 12, 15, 18, 21, 24, 1], [13, 1]),
]


def test_packed_is_alone(model, params):
    """Logits of each answer, in a row with others and in one of its own; only answers have any."""
    layout = model.layout(Special)
    apply = jax.jit(model.apply)
    packed = jax.tree.map(jnp.asarray, layout.rows([EXAMPLES], 24, 16, packed=True))
    logits = np.asarray(apply(params, packed)[0])
    tokens, counted, segments = (np.asarray(x)[0] for x in model.targets(packed))
    assert logits.shape == (16, 40) and counted.sum() == 11
    for segment, example in enumerate(EXAMPLES, start=1):
        alone = jax.tree.map(jnp.asarray, layout.rows([[example]], 24, 16, packed=False))
        expected = np.asarray(apply(params, alone)[0])
        here = (segments == segment) & (counted > 0)
        assert tokens[here].tolist() == example.targets.tolist()
        np.testing.assert_allclose(logits[here], expected[: here.sum()], atol=2e-5)


def test_decoding_and_scores_are_teacher_forcing(model, params, monkeypatch):
    layout = model.layout(Special)
    framing: Framing = layout.framing
    module = model.bind(params)
    rows = [framing.prompt(example.inputs, 16) for example in EXAMPLES]
    prompts = jax.tree.map(jnp.asarray, layout.prompts(rows, 4, 16))
    decode = jax.jit(lambda p: greedy_decode(module, p, framing=framing, max_length=6))
    found = np.asarray(decode(prompts))
    assert (found[3] == framing.pad_id).all()
    said = [row[: list(row).index(1) + 1] if 1 in row else row for row in found[:3]]
    answers = jax.tree.map(jnp.asarray, pad(said, 3, 6, framing.pad_id))
    score = jax.jit(lambda p, a: decoding.score_answers(module, p, jnp.arange(3), a, framing))
    scores, greedy = map(np.asarray, score(prompts, answers))
    assert greedy.all()  # of what greedy decoding said
    monkeypatch.setattr(decoding, "_MOST_LOGITS", 5 * 3 * model.config.vocab_size)
    chunked = jax.jit(lambda p, a: decoding.score_answers(module, p, jnp.arange(3), a, framing))
    np.testing.assert_allclose(chunked(prompts, answers)[0], scores, atol=1e-5)
    apply = jax.jit(model.apply)
    for number, (example, answer) in enumerate(zip(EXAMPLES, said, strict=True)):
        batch = layout.rows([[Example(example.inputs, answer)]], 16, 8, packed=False)
        log_probs = jax.nn.log_softmax(apply(params, jax.tree.map(jnp.asarray, batch))[0])
        length = len(answer)
        assert log_probs[:length].argmax(axis=-1).tolist() == answer.tolist()
        expected = log_probs[np.arange(length), answer]
        np.testing.assert_allclose(scores[number, :length], expected, atol=1e-4)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(num_kv_heads=3), "NUM_KV_HEADS 3 does not divide NUM_HEADS 4"),
        (dict(head_dim=7), "HEAD_DIM 7 is odd"),
        (dict(positions="rotery"), "POSITIONS.*did you mean 'rotary'"),
        (dict(mlp_activations=("swiglu",)), "MLP_ACTIVATIONS"),
        (dict(window=0), "ATTENTION_WINDOW"),
    ],
)
def test_what_makes_no_model(change, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(TINY, **change)


# As published, but for FLAN's, of which no shape below 2B was.
PARAMETER_COUNTS = {
    "llama3/1b": 1_235_814_400, "llama3/3b": 3_212_749_824, "llama3/8b": 8_030_261_248,
    "llama3/70b": 70_553_706_496, "qwen2_5/0.5b": 494_032_768, "qwen2_5/1.5b": 1_543_714_304,
    "qwen2_5/3b": 3_085_938_688, "qwen2_5/7b": 7_615_616_512, "qwen3/0.6b": 596_049_920,
    "qwen3/1.7b": 1_720_574_976, "qwen3/4b": 4_022_468_096, "qwen3/8b": 8_190_735_360,
    "qwen3/14b": 14_768_307_200, "qwen3/32b": 32_762_123_264, "smollm2/135m": 134_515_008,
    "smollm2/360m": 361_821_120, "smollm2/1.7b": 1_711_376_384, "gemma2/2b": 2_614_341_888,
    "gemma2/9b": 9_241_705_984, "gemma2/27b": 27_227_128_320, "gemma3/270m": 268_098_176,
    "gemma3/1b": 999_885_952, "gemma3/4b": 3_880_263_168, "gemma3/12b": 11_766_034_176,
    "gemma3/27b": 27_009_346_304, "flan/137b": 137_474_617_344, "flan/68b": 68_754_616_320,
    "flan/8b": 8_607_373_312, "flan/2b": 2_108_020_480, "flan/422m": 407_004_672,
    "flan/tiny": 1_590_528, "t5gemma/2b_2b": 5_596_853_760,
    "t5gemma/9b_2b": 12_292_375_296, "t5gemma/9b_9b": 20_333_401_088,
    "t5gemma2/270m_270m": 368_424_192, "t5gemma2/1b_1b": 1_697_782_016,
    "t5gemma2/4b_4b": 7_089_110_016,
}  # fmt: skip


def test_published_sizes():
    from flan_jax import config
    from flan_jax.commands import common

    folder = ROOT / "gin_configs" / "models"
    family = re.compile("FAMILY = '(decoder|t5gemma)'")
    own = [path for path in folder.rglob("*.gin") if family.search(path.read_text())]
    names = {path.relative_to(folder).with_suffix("").as_posix() for path in own}
    assert names == set(PARAMETER_COUNTS)
    for name, count in PARAMETER_COUNTS.items():
        parts = config.compose_parts([], "flan_jax", "model_info", [f"MODEL={name}"])
        common.configure(parts, ["flan_jax.training.config", "flan_jax.training.model_info"])
        shapes = Model(gin.query_parameter("%MODEL_CONFIG").scoped_configurable_fn()).shapes
        assert sum(math.prod(leaf.shape) for leaf in shapes.values()) == count, name


LARGE = """
import sys
import gin, jax, jax.numpy as jnp
from flan_jax import config
from flan_jax.commands import common
MODULES = ["flan_jax.training.config", "flan_jax.training.model_info"]
common.register(MODULES)
from flan_jax.models.families import Model
from flan_jax.training import mesh as mesh_lib, state
from flan_jax.training.model_info import ModelInfoConfig

class Special: pad_id, bos_id, eos_id = 0, 2, 1
class Example: inputs = targets = jnp.arange(8); counted = None

mesh = mesh_lib.make_mesh("fsdp_tensor", {"fsdp": 32, "tensor": 2})
for name in sys.argv[1:]:
    gin.clear_config()
    parts = config.compose_parts(
        [], "flan_jax", "model_info", [f"MODEL={name}", "VOCABULARY=byte"]
    )
    common.configure(parts, MODULES)
    chosen = ModelInfoConfig()
    model = Model(chosen.model)
    recipe = state.StepRecipe(model, chosen.optimizer.build(model.axes))
    shardings = state.state_shardings(recipe, mesh)
    rows = model.layout(Special).rows([[Example]] * 64, 256, 64, packed=True)
    batch = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in rows.items()}
    step = jax.ShapeDtypeStruct((), jnp.int32)
    abstract = state.abstract_state(recipe, shardings)
    lowered = state.compile_train_step(recipe, shardings, mesh).lower(abstract, batch, step)
    text = lowered.as_text()
    assert "sdy.sharding" in text or "mhlo.sharding" in text, name
    print("lowered", name, sum(leaf.size for leaf in model.shapes.values()))
"""


def test_large_models_are_sharded_and_lowered_without_being_made():
    """On 64 virtual devices: shapes, shardings and the train step, and no weights."""
    names = ["llama3/8b", "t5_1_1/xxl", "t5gemma/9b_9b", "t5gemma2/4b_4b"]
    env = {"XLA_FLAGS": "--xla_force_host_platform_device_count=64", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", LARGE, *names]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    lowered = [line.split() for line in done.stdout.splitlines() if line.startswith("lowered")]
    assert [name for _, name, _ in lowered] == names
    assert all(int(size) > 7e9 for _, _, size in lowered)
