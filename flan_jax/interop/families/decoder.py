"""Llama 3, Qwen 2.5 and 3, SmolLM2, Gemma 2 and 3 (text), as transformers keeps them.

A `config.json` that asks for what `DecoderConfig` cannot say is refused rather than half read.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Entry, Table
from flan_jax.models.decoder import DecoderConfig

MODEL_TYPES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "gemma3")
CONFIG = DecoderConfig
_GATED = {
    "silu": ("silu", "linear"),
    "gelu_pytorch_tanh": ("gelu", "linear"),
    "gelu": ("gelu_exact", "linear"),
}
_ACTIVATIONS: Mapping[tuple[str, ...], str] = {o: t for t, o in _GATED.items()}
# Gemma's: norms kept as offsets from 1 and on both sides of a block, scaled embeddings.
_GEMMA = dict(norm_offset=True, post_norms=True, scaled_embeddings=True)
_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_config(fields: Fields) -> DecoderConfig:
    """Returns the configuration of a `config.json`; see `published.PublishedFamily`."""
    model_type = fields.text("model_type", MODEL_TYPES)
    if model_type == "gemma3":  # with a vision tower, which is left out
        fields = fields.object("text_config")
        model_type = "gemma3_text"
    with fields.border():
        return DecoderConfig(**read_as(model_type, fields))


def read_as(model_type: str, fields: Fields) -> dict[str, Any]:
    """Returns the fields of a `DecoderConfig` for a configuration of a model_type, or like it."""
    special = {
        "llama": _llama,
        "qwen2": _qwen2,
        "qwen3": _qwen3,
        "gemma2": _gemma2,
        "gemma3_text": _gemma3,
    }[model_type]
    return {**_sizes(fields), **special(fields)}


def _sizes(fields: Fields) -> dict[str, Any]:
    heads = fields.whole("num_attention_heads")
    fields.refuse("attention_dropout", 0.0)
    return dict(
        vocab_size=fields.whole("vocab_size"),
        emb_dim=fields.whole("hidden_size"),
        num_layers=fields.whole("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=fields.whole("num_key_value_heads", heads),
        head_dim=fields.whole("head_dim", fields.whole("hidden_size") // heads),
        mlp_dim=fields.whole("intermediate_size"),
        norm_epsilon=fields.number("rms_norm_eps", 1e-6),
    )


def _llama(fields: Fields) -> dict[str, Any]:
    bias = fields.flag("attention_bias", False)
    if bias != fields.flag("mlp_bias", False):
        raise CheckpointError(
            f"{fields.where}: 'attention_bias' and 'mlp_bias' have to be alike: no model here has "
            "one without the other"
        )
    return {
        "bias": bias,
        "mlp_activations": _activations(fields, "hidden_act"),
        "tied_head": fields.flag("tie_word_embeddings", False),
        **_rope(fields),
    }


def _qwen2(fields: Fields) -> dict[str, Any]:
    return {**_llama(fields), "bias": False, "attention_bias": True, **_windows(fields)}


def _qwen3(fields: Fields) -> dict[str, Any]:
    fields.refuse("attention_bias", False)
    return {**_llama(fields), "qk_norm": True, **_windows(fields)}


def _gemma(fields: Fields) -> dict[str, Any]:
    fields.refuse("attention_bias", False)
    fields.refuse("use_bidirectional_attention", False)
    return {
        **_GEMMA,
        "mlp_activations": _activations(fields, "hidden_activation", "gelu_pytorch_tanh"),
        "tied_head": fields.flag("tie_word_embeddings", True),
        "query_scale": fields.number("query_pre_attn_scalar", 256.0),
        "head_dim": fields.whole("head_dim", 256),
        "attention_softcap": fields.number("attn_logit_softcapping", None),
        "final_softcap": fields.number("final_logit_softcapping", None),
    }


def _gemma2(fields: Fields) -> dict[str, Any]:
    window = {"window": fields.whole("sliding_window", 4096)}
    return {**_gemma(fields), **_rope(fields), **window, "global_every": _period(fields, 2)}


def _gemma3(fields: Fields) -> dict[str, Any]:
    period = fields.whole("sliding_window_pattern", None) or fields.whole(
        "_sliding_window_pattern", 6
    )
    if "rope_parameters" in fields:  # transformers 5 keeps both kinds of layers there
        both = fields.object("rope_parameters")
        rope = _scaling(both.object(_FULL), 1_000_000.0)
        local = both.object(_SLIDING)
        local.refuse("rope_type", "default")
        theta = local.number("rope_theta", 10_000.0)
    else:
        rope = _rope(fields, 1_000_000.0)
        theta = fields.number("rope_local_base_freq", 10_000.0)
    return {
        **_gemma(fields),
        **rope,
        "rope_local_theta": theta,
        "qk_norm": True,
        "window": fields.whole("sliding_window", 4096),
        "global_every": _period(fields, period),
    }


def _activations(fields: Fields, name: str, default: str = "silu") -> tuple[str, ...]:
    return _GATED[fields.text(name, tuple(_GATED), default)]


def _rope(fields: Fields, theta: float = 10_000.0) -> dict[str, Any]:
    """Reads rotary positions from where either transformers 5 or earlier versions keep them."""
    if "rope_parameters" in fields:
        return _scaling(fields.object("rope_parameters"), theta)
    theta = fields.number("rope_theta", theta)
    if "rope_scaling" not in fields:
        return {"rope_theta": theta}
    return _scaling(fields.object("rope_scaling"), theta) | {"rope_theta": theta}


def _scaling(fields: Fields, theta: float) -> dict[str, Any]:
    theta = fields.number("rope_theta", theta)
    fields.refuse("partial_rotary_factor", 1.0)
    name = "type" if "rope_type" not in fields and "type" in fields else "rope_type"
    kind = fields.text(name, ("default", "linear", "llama3"), "default")
    if kind == "default":
        return {"rope_theta": theta}
    found = {
        "rope_theta": theta,
        "rope_scaling": kind,
        "rope_factor": fields.number("factor"),
    }
    if kind == "llama3":
        found |= {
            "rope_low_frequency": fields.number("low_freq_factor"),
            "rope_high_frequency": fields.number("high_freq_factor"),
            "rope_original_length": fields.whole("original_max_position_embeddings"),
        }
    return found


def _windows(fields: Fields) -> dict[str, Any]:
    """Windows of Qwen, which published models have switched off."""
    fields.refuse("use_sliding_window", False)
    if set(fields.texts("layer_types", ())) - {_FULL}:
        raise CheckpointError(f"{fields.where}: 'layer_types' other than {_FULL} are not supported")
    return {}


def _period(fields: Fields, usual: int) -> int | None:
    """Every so manieth layer sees all positions; None where none does."""
    layers = fields.whole("num_hidden_layers")
    kinds = fields.texts("layer_types", None)
    if kinds is None:
        return usual if usual <= layers else None
    every = next((i + 1 for i, kind in enumerate(kinds) if kind == _FULL), None)
    expected = [_FULL if every and (i + 1) % every == 0 else _SLIDING for i in range(layers)]
    if list(kinds) != expected:
        raise CheckpointError(
            f"{fields.where}: 'layer_types' are not {layers} layers of which every so manieth is "
            f"{_FULL} and all others are {_SLIDING}"
        )
    return every


def _type_of(config: DecoderConfig) -> str:
    """Returns the model_type that transformers has for a configuration.

    Raises:
        ConfigError: it has none.
    """
    gemma = all(getattr(config, name) == value for name, value in _GEMMA.items())
    plain = not any(getattr(config, name) for name in _GEMMA)
    capped = config.attention_softcap or config.final_softcap
    same = (config.positions, config.norm, config.prefix_attention, config.prompt_eos)
    if config.mlp_activations not in _ACTIVATIONS or same != ("rotary", "rms", False, False):
        raise ConfigError(
            "transformers has no such decoder: one with gated feed-forward, rotary positions, RMS "
            "norms and prompts read from left to right could be written"
        )
    if gemma and config.window and not config.bias and not config.attention_bias:
        return "gemma3_text" if config.qk_norm else "gemma2"
    if plain and config.window is None and not capped and config.query_scale is None:
        if config.qk_norm and not config.bias and not config.attention_bias:
            return "qwen3"
        if config.attention_bias and not config.bias and not config.qk_norm:
            return "qwen2"
        if not config.qk_norm and not config.attention_bias:
            return "llama"
    raise ConfigError("transformers has no decoder with this combination of norms and attention")


_CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}


def write_config(config: DecoderConfig) -> Mapping[str, Any]:
    """Returns the `config.json` of a configuration; see `published.PublishedFamily`."""
    return _written(config, _type_of(config))


def write_as(model_type: str, config: DecoderConfig) -> dict[str, Any] | None:
    """Returns the configuration of a model_type, whichever way prompts are read; None of others.

    Raises:
        ConfigError: transformers has no such decoder.
    """
    read_from_left = dataclasses.replace(config, prefix_attention=False)
    return _written(config, model_type) if _type_of(read_from_left) == model_type else None


def _written(config: DecoderConfig, model_type: str) -> dict[str, Any]:
    activation = _ACTIVATIONS[config.mlp_activations]
    gemma = model_type.startswith("gemma")
    written: dict[str, Any] = {
        "architectures": [_CLASSES[model_type]],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.emb_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_dim,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_activation" if gemma else "hidden_act": activation,
        "tie_word_embeddings": config.tied_head,
        "attention_bias": config.bias,
    }
    if model_type == "llama":
        written["mlp_bias"] = config.bias
    if not gemma:
        return written | _written_rope(config)
    kinds = [_FULL if config.is_global(i) else _SLIDING for i in range(config.num_layers)]
    written |= {
        "query_pre_attn_scalar": _whole(config.query_scale or config.head_dim),
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.final_softcap,
        "sliding_window": config.window,
        "layer_types": kinds,
    }
    if model_type == "gemma2":
        return written | _written_rope(config)
    local = config.rope_local_theta or config.rope_theta
    # As versions before 5 read it, and as later ones do.
    written |= {**_written_rope(config), "rope_local_base_freq": local}
    both = {
        _FULL: written["rope_parameters"],
        _SLIDING: {"rope_type": "default", "rope_theta": local},
    }
    return written | {"rope_parameters": both}


def _whole(value: float) -> float:
    """Returns a whole number as one, which is all that transformers takes for some fields."""
    return int(value) if value == int(value) else value


def _written_rope(config: DecoderConfig) -> dict[str, Any]:
    """Rotary positions for transformers 5, and for earlier versions."""
    scaling: dict[str, Any] = {"rope_type": "default"}
    if config.rope_scaling != "none":
        scaling = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        scaling |= {
            "low_freq_factor": config.rope_low_frequency,
            "high_freq_factor": config.rope_high_frequency,
            "original_max_position_embeddings": config.rope_original_length,
        }
    old = {} if config.rope_scaling == "none" else {"rope_scaling": scaling}
    parameters = {**scaling, "rope_theta": config.rope_theta}
    return {"rope_theta": config.rope_theta, **old, "rope_parameters": parameters}


def entries(config: DecoderConfig, name: Callable[[str], str], ours: str = "layers") -> list[Entry]:
    """Returns the entries of a stack of decoder layers.

    Args:
        config: of the model.
        name: of a part of a layer as transformers calls it, such as "self_attn.q_proj.weight", the
            name in their files, with `{layer}` in it.
        ours: what our stack is called.
    """
    # Gemma's norm before the feed-forward has the name that others' after attention might have.
    second = "pre_feedforward_layernorm" if config.post_norms else "post_attention_layernorm"
    norms = {"attention_norm": "input_layernorm", "mlp_norm": second}
    if config.post_norms:
        norms |= {
            "post_attention_norm": "post_attention_layernorm",
            "post_mlp_norm": "post_feedforward_layernorm",
        }
    if config.qk_norm:
        norms |= {
            "attention/query_norm": "self_attn.q_norm",
            "attention/key_norm": "self_attn.k_norm",
        }
    projections = {
        f"attention/{part}": f"self_attn.{theirs}_proj"
        for part, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o"))
    }
    feed = {"mlp/wi_0": "mlp.gate_proj", "mlp/wi_1": "mlp.up_proj", "mlp/wo": "mlp.down_proj"}
    biased = set(projections) | set(feed) if config.bias else set()
    if config.attention_bias:
        biased |= {f"attention/{part}" for part in ("query", "key", "value")}
    found = [Entry(f"{ours}/{n}/scale", name(f"{t}.weight")) for n, t in norms.items()]
    for n, t in {**projections, **feed}.items():
        found.append(Entry(f"{ours}/{n}/kernel", name(f"{t}.weight"), transposed=True))
        if n in biased:
            found.append(Entry(f"{ours}/{n}/bias", name(f"{t}.bias")))
    return found


def table(config: DecoderConfig) -> Table:
    """Returns the tensors of transformers' classes for causal language models."""
    embedding = "model.embed_tokens.weight"
    found = [
        Entry("embed/embedding", embedding),
        Entry("norm/scale", "model.norm.weight"),
        *entries(config, lambda part: f"model.layers.{{layer}}.{part}"),
    ]
    if not config.tied_head:
        found.append(Entry("head/kernel", "lm_head.weight", transposed=True))
    copies = {"lm_head.weight": embedding} if config.tied_head else {}
    return Table(tuple(found), copies, ignored=lambda name: name.endswith("rotary_emb.inv_freq"))
