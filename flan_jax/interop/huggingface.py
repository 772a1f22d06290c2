"""Hugging Face weights and configurations, as plain dicts: neither torch nor transformers needed.

Arrays come in as numpy, however they were read: safetensors' numpy loader, or a torch state dict
converted by the caller.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from flan_jax.models.t5 import T5, T5Config

_ACTIVATIONS = {
    "relu": ("relu",),
    "gated-gelu": ("gelu", "linear"),
    "gated-silu": ("silu", "linear"),
}

# transformers names submodules by their place: of a block's `layer` list, 0 is self attention, 1 is
# cross attention in a decoder, and the last is feed-forward. Ours on the left.
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
_ENCODER_SUBLAYERS = {
    "attention": "layer.0.SelfAttention",
    "attention_norm": "layer.0.layer_norm",
    "mlp": "layer.1.DenseReluDense",
    "mlp_norm": "layer.1.layer_norm",
}
_DECODER_SUBLAYERS = {
    "self_attention": "layer.0.SelfAttention",
    "self_attention_norm": "layer.0.layer_norm",
    "cross_attention": "layer.1.EncDecAttention",
    "cross_attention_norm": "layer.1.layer_norm",
    "mlp": "layer.2.DenseReluDense",
    "mlp_norm": "layer.2.layer_norm",
}

# Written by early versions of transformers, never used: cross attention has no position bias.
_IGNORED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)


def t5_config_from_huggingface(hf_config_dict: Mapping[str, Any]) -> T5Config:
    """Reads a T5Config from the content of a `config.json`.

    Args:
        hf_config_dict: The parsed file, or `config.to_dict()`.

    Returns:
        The configuration; dtypes are left at their defaults.

    Raises:
        ValueError: Another model type, an activation T5 does not have here, or a missing field.
    """
    hf = hf_config_dict
    if hf.get("model_type", "t5") != "t5":
        raise ValueError(f"model_type={hf['model_type']!r} is not 't5'.")
    required = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    missing = [name for name in required if hf.get(name) is None]
    if missing:
        raise ValueError(f"The Hugging Face config lacks {', '.join(missing)}.")
    projection = hf.get("feed_forward_proj", "relu")
    if projection not in _ACTIVATIONS:
        raise ValueError(
            f"feed_forward_proj={projection!r} is not among {', '.join(_ACTIVATIONS)}."
        )
    decoder_layers = hf.get("num_decoder_layers")
    # transformers 5 writes tie_word_embeddings=True for every T5 and keeps what the field used to
    # say in scale_decoder_outputs; older files have only the former.
    tied = hf.get("scale_decoder_outputs", hf.get("tie_word_embeddings", True))
    return T5Config(
        vocab_size=hf["vocab_size"],
        emb_dim=hf["d_model"],
        num_heads=hf["num_heads"],
        head_dim=hf["d_kv"],
        num_encoder_layers=hf["num_layers"],
        num_decoder_layers=hf["num_layers"] if decoder_layers is None else decoder_layers,
        mlp_dim=hf["d_ff"],
        mlp_activations=_ACTIVATIONS[projection],
        logits_via_embedding=bool(tied),
        dropout_rate=hf.get("dropout_rate", 0.1),
        relative_attention_num_buckets=hf.get("relative_attention_num_buckets", 32),
        relative_attention_max_distance=hf.get("relative_attention_max_distance", 128),
        layer_norm_epsilon=hf.get("layer_norm_epsilon", 1e-6),
    )


def load_t5_state_dict(model: T5, state_dict: Mapping[str, np.ndarray]) -> None:
    """Overwrites the parameters of `model` with those of a T5ForConditionalGeneration.

    Values are cast to the dtype, and placed with the sharding, of the parameters they replace.

    Args:
        model: Model of the configuration the weights belong to, real or abstract (`nnx.eval_shape`,
            which spares initialising what is overwritten). Unchanged if an error is raised.
        state_dict: Arrays by transformers' names. Copies of the embedding table
            (`encoder.embed_tokens.weight` and the like) may be there or not.

    Raises:
        ValueError: Names every missing, unexpected and misshapen key, all at once.
    """
    sources = _sources(model.config)
    params = {_name(path): param for path, param in nnx.iter_graph(model) if _is_param(param)}
    _check(model.config, sources, params, state_dict)
    for name, source in sources.items():
        old = params[name].get_value()
        # Arrays never placed by the user stay free to move; device_put to their present device
        # would pin them to it.
        sharding = old.sharding if getattr(old, "committed", False) else None
        value = source.read(state_dict).astype(old.dtype)
        params[name].set_value(jax.device_put(value, sharding))


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where one of our parameters comes from: one key, or one a layer to be stacked."""

    keys: tuple[str, ...]
    stacked: bool
    transposed: bool

    def key_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the array under each key, given our parameter's shape."""
        shape = shape[1:] if self.stacked else shape
        return shape[::-1] if self.transposed else shape

    def read(self, state_dict: Mapping[str, np.ndarray]) -> np.ndarray:
        """Assembles our parameter. torch keeps linear weights as [out, in]; ours are [in, out]."""
        arrays = [np.asarray(state_dict[key]) for key in self.keys]
        arrays = [array.T for array in arrays] if self.transposed else arrays
        return np.stack(arrays) if self.stacked else arrays[0]


def _sources(config: T5Config) -> dict[str, _Source]:
    """The source of each parameter by its name in our model ("encoder.layers.mlp.wo.kernel")."""
    sources = {"embed.embedding": _Source(("shared.weight",), stacked=False, transposed=False)}
    if not config.logits_via_embedding:
        sources["head.kernel"] = _Source(("lm_head.weight",), stacked=False, transposed=True)
    stacks = {
        "encoder": (_ENCODER_SUBLAYERS, config.num_encoder_layers),
        "decoder": (_DECODER_SUBLAYERS, config.num_decoder_layers),
    }
    for stack, (sublayers, num_layers) in stacks.items():
        unstacked = {
            "norm.scale": f"{stack}.final_layer_norm.weight",
            "relative_position_bias.embedding": (
                f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            ),
        }
        for ours, theirs in unstacked.items():
            sources[f"{stack}.{ours}"] = _Source((theirs,), stacked=False, transposed=False)
        for ours, theirs in _layer_names(sublayers, len(config.mlp_activations)):
            keys = tuple(f"{stack}.block.{i}.{theirs}.weight" for i in range(num_layers))
            sources[f"{stack}.layers.{ours}"] = _Source(
                keys, stacked=True, transposed=ours.endswith("kernel")
            )
    return sources


def _layer_names(sublayers: Mapping[str, str], num_wi: int) -> Iterable[tuple[str, str]]:
    """Pairs of our name and theirs for each parameter of one layer."""
    for ours, theirs in sublayers.items():
        if ours.endswith("norm"):
            yield f"{ours}.scale", theirs
        elif ours.endswith("attention"):
            for projection, letter in _PROJECTIONS.items():
                yield f"{ours}.{projection}.kernel", f"{theirs}.{letter}"
        else:
            yield f"{ours}.wo.kernel", f"{theirs}.wo"
            for i in range(num_wi):
                yield f"{ours}.wi_{i}.kernel", f"{theirs}.wi" if num_wi == 1 else f"{theirs}.wi_{i}"


def _is_param(node: Any) -> bool:
    return isinstance(node, nnx.Param)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)


def _check(
    config: T5Config,
    sources: Mapping[str, _Source],
    params: Mapping[str, nnx.Param],
    state_dict: Mapping[str, np.ndarray],
) -> None:
    """Raises one ValueError that names everything wrong with the state dict."""
    expected = {
        key: source.key_shape(params[name].shape)
        for name, source in sources.items()
        for key in source.keys
    }
    copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    if config.logits_via_embedding:
        copies.append("lm_head.weight")
    missing = [key for key in expected if key not in state_dict]
    unexpected = [key for key in state_dict if key not in (*expected, *copies, *_IGNORED)]
    misshapen = [
        f"{key} has shape {tuple(state_dict[key].shape)}, the model needs {shape}"
        for key, shape in expected.items()
        if key in state_dict and tuple(state_dict[key].shape) != shape
    ]
    table = state_dict.get("shared.weight")
    differing = [
        f"{key} differs from shared.weight, but this model has one table for both"
        for key in copies
        if table is not None and key in state_dict and not np.array_equal(state_dict[key], table)
    ]
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "misshapen": misshapen,
        "not tied": differing,
    }
    lines = [f"  {kind}: {entry}" for kind, entries in problems.items() for entry in entries]
    if lines:
        raise ValueError(
            "The state dict does not fit this T5 "
            f"({config.num_encoder_layers}+{config.num_decoder_layers} layers, "
            f"mlp_activations={config.mlp_activations}, "
            f"logits_via_embedding={config.logits_via_embedding}):\n" + "\n".join(lines)
        )
