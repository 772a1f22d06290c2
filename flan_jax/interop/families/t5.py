"""T5, mT5, umT5 and ByT5 as transformers publishes them: T5 1.0, 1.1, LM-adapted and FLAN-T5 alike.

What a `config.json` means is pinned to transformers' implementation by tests.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import ConfigError, quoted
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Entry, Table
from flan_jax.models.t5 import T5Config

MODEL_TYPES = ("t5", "mt5", "umt5")
CONFIG = T5Config

# By "feed_forward_proj", what it computes, and the activation's name in "dense_act_fn", which
# overrules it in transformers where a file has both. The exact GELU ("gelu") is not among ours.
_ACTIVATIONS = {
    "relu": (("relu",), "relu"),
    "gated-relu": (("relu", "linear"), "relu"),
    "gated-gelu": (("gelu", "linear"), "gelu_new"),
    "gelu_new": (("gelu",), "gelu_new"),
    "silu": (("silu",), "silu"),
    "gated-silu": (("silu", "linear"), "silu"),
}

# transformers names submodules by their place: of a block's `layer` list, 0 is self attention, 1 is
# cross attention in a decoder, and the last is feed-forward. Ours on the left.
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
_SUBLAYERS = {
    "encoder": {
        "attention": "layer.0.SelfAttention",
        "attention_norm": "layer.0.layer_norm",
        "mlp": "layer.1.DenseReluDense",
        "mlp_norm": "layer.1.layer_norm",
    },
    "decoder": {
        "self_attention": "layer.0.SelfAttention",
        "self_attention_norm": "layer.0.layer_norm",
        "cross_attention": "layer.1.EncDecAttention",
        "cross_attention_norm": "layer.1.layer_norm",
        "mlp": "layer.2.DenseReluDense",
        "mlp_norm": "layer.2.layer_norm",
    },
}

_BIAS = "layer.0.SelfAttention.relative_attention_bias.weight"
# Written by early versions of transformers, never used: cross attention has no position bias.
_IGNORED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


def read_config(fields: Fields) -> T5Config:
    """Returns our configuration for a `config.json`, dtypes left at their defaults.

    Raises:
        CheckpointError: a field is missing or of the wrong kind, or the model is no whole T5, has
            another activation, or begins decoding with another token than padding.
    """
    kind = fields.text("model_type", MODEL_TYPES, "t5")
    fields.refuse("is_encoder_decoder", True)
    fields.refuse("decoder_start_token_id", int(fields.number("pad_token_id", 0)))
    layers = fields.whole("num_layers")
    with fields.border():
        return T5Config(
            vocab_size=fields.whole("vocab_size"),
            emb_dim=fields.whole("d_model"),
            num_heads=fields.whole("num_heads"),
            head_dim=fields.whole("d_kv"),
            num_encoder_layers=layers,
            num_decoder_layers=fields.whole("num_decoder_layers", layers),
            mlp_dim=fields.whole("d_ff"),
            mlp_activations=_activations(fields, "relu" if kind == "t5" else "gated-gelu"),
            logits_via_embedding=kind == "t5" and _is_tied(fields),
            dropout_rate=fields.number("dropout_rate", 0.1),
            relative_attention_num_buckets=fields.whole("relative_attention_num_buckets", 32),
            relative_attention_max_distance=fields.whole("relative_attention_max_distance", 128),
            relative_attention_per_layer=kind == "umt5",
            layer_norm_epsilon=fields.number("layer_norm_epsilon", 1e-6),
        )


def _activations(fields: Fields, default: str) -> tuple[str, ...]:
    projection = fields.text("feed_forward_proj", tuple(_ACTIVATIONS), default)
    activations, name = _ACTIVATIONS[projection]
    fields.refuse("dense_act_fn", name)
    fields.refuse("is_gated_act", len(activations) == 2)
    return activations


def _is_tied(fields: Fields) -> bool:
    """Whether the head is the table of tokens.

    transformers 5 writes tie_word_embeddings=True for every T5 and keeps what the field used to
    say in scale_decoder_outputs; older files have only the former. It says nothing of mT5 and
    umT5, all of which have heads of their own.
    """
    tied: bool = fields.flag("scale_decoder_outputs", fields.flag("tie_word_embeddings", True))
    return tied


def write_config(config: T5Config) -> Mapping[str, Any]:
    """Returns the `config.json` of one of our configurations, as transformers reads it.

    Raises:
        ConfigError: transformers has no T5 with these activations, or no umT5 with a tied head.
    """
    kind = "umt5" if config.relative_attention_per_layer else "t5"
    if kind == "umt5" and config.logits_via_embedding:
        raise ConfigError(
            "RELATIVE_ATTENTION_PER_LAYER and LOGITS_VIA_EMBEDDING are both True: transformers "
            "knows no umT5 whose head is the table of tokens"
        )
    return {
        "architectures": [f"{kind.upper()}ForConditionalGeneration"],
        "model_type": kind,
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.emb_dim,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "num_heads": config.num_heads,
        "feed_forward_proj": _projection(config.mlp_activations),
        "tie_word_embeddings": config.logits_via_embedding,
        "dropout_rate": config.dropout_rate,
        "relative_attention_num_buckets": config.relative_attention_num_buckets,
        "relative_attention_max_distance": config.relative_attention_max_distance,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }


def _projection(activations: tuple[str, ...]) -> str:
    for projection, (theirs, _) in _ACTIVATIONS.items():
        if theirs == activations:
            return projection
    raise ConfigError(f"MLP_ACTIVATIONS {quoted(activations)}: transformers has no such T5")


def table(config: T5Config) -> Table:
    """Returns the table of its tensors as transformers names them."""
    entries = [Entry("embed/embedding", "shared.weight")]
    copies = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    if config.logits_via_embedding:
        copies.append("lm_head.weight")
    else:
        entries.append(Entry("head/kernel", "lm_head.weight", transposed=True))
    for stack in _SUBLAYERS:
        entries += _stack(stack, config)
    return Table(
        tuple(entries),
        copies=dict.fromkeys(copies, "shared.weight"),
        ignored=lambda name: name == _IGNORED,
    )


def _stack(stack: str, config: T5Config) -> Iterator[Entry]:
    """The parameters of the encoder or the decoder."""
    yield Entry(f"{stack}/norm/scale", f"{stack}.final_layer_norm.weight")
    ours, block = f"{stack}/layers", f"{stack}.block.{{layer}}"
    if config.relative_attention_per_layer:
        yield Entry(f"{ours}/relative_position_bias/embedding", f"{block}.{_BIAS}")
    else:
        yield Entry(f"{stack}/relative_position_bias/embedding", f"{stack}.block.0.{_BIAS}")
    for name, theirs in _layer_names(_SUBLAYERS[stack], len(config.mlp_activations)):
        yield Entry(
            f"{ours}/{name}", f"{block}.{theirs}.weight", transposed=name.endswith("kernel")
        )


def _layer_names(sublayers: Mapping[str, str], num_wi: int) -> Iterator[tuple[str, str]]:
    """Pairs of our name and theirs for each parameter of one layer but the position bias."""
    for ours, theirs in sublayers.items():
        if ours.endswith("norm"):
            yield f"{ours}/scale", theirs
        elif ours.endswith("attention"):
            for projection, letter in _PROJECTIONS.items():
                yield f"{ours}/{projection}/kernel", f"{theirs}.{letter}"
        else:
            yield f"{ours}/wo/kernel", f"{theirs}.wo"
            for i in range(num_wi):
                yield f"{ours}/wi_{i}/kernel", f"{theirs}.wi" if num_wi == 1 else f"{theirs}.wi_{i}"
