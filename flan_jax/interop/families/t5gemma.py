"""T5Gemma, as transformers keeps it: a configuration within it for encoder and decoder each."""

from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import ConfigError
from flan_jax.interop.families import decoder as decoder_table
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Entry, Table
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.t5gemma import T5GemmaConfig

MODEL_TYPES = ("t5gemma",)
CONFIG = T5GemmaConfig
# What a part of a layer is called that has another name in a Gemma 2.
_RENAMED = {
    "input_layernorm": "pre_self_attn_layernorm",
    "post_attention_layernorm": "post_self_attn_layernorm",
}
_MODULE = "t5_gemma_module"


def read_config(fields: Fields) -> T5GemmaConfig:
    """Returns the configuration of a `config.json`; see `published.PublishedFamily`."""
    fields.refuse("tie_word_embeddings", True)
    fields.refuse("attention_dropout", 0.0)
    dropout = fields.number("dropout_rate", 0.0)
    encoder = decoder_table.read_gemma2(fields.object("encoder"))
    decoder = decoder_table.read_gemma2(fields.object("decoder"))
    # Their encoder's windows leave out the query's own position, which ours count.
    encoder |= {"window": encoder["window"] + 1, "dropout_rate": dropout}
    with fields.border():
        return T5GemmaConfig(
            DecoderConfig(**encoder), DecoderConfig(**decoder, dropout_rate=dropout)
        )


def write_config(config: T5GemmaConfig) -> Mapping[str, Any]:
    """Returns the `config.json` of a configuration; see `published.PublishedFamily`."""
    return {
        "architectures": ["T5GemmaForConditionalGeneration"],
        "model_type": "t5gemma",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": True,
        "dropout_rate": config.dropout_rate,
        "encoder": _written(config.encoder, own=1),
        "decoder": {
            **_written(config.decoder),
            "is_decoder": True,
            "cross_attention_hidden_size": config.encoder.emb_dim,
        },
    }


def _written(config: DecoderConfig, own: int = 0) -> dict[str, Any]:
    if config.window is None:
        raise ConfigError("transformers has no T5Gemma without windows of attention")
    written = decoder_table.write_gemma2(config)
    return {
        **written,
        "model_type": _MODULE,
        "sliding_window": config.window - own,
    }


def table(config: T5GemmaConfig) -> Table:
    """Returns the tensors of transformers' class for conditional generation."""
    found: list[Entry] = []
    for stack in ("encoder", "decoder"):
        theirs = f"model.{stack}"
        found += [
            Entry(f"{stack}/embed/embedding", f"{theirs}.embed_tokens.weight"),
            Entry(f"{stack}/norm/scale", f"{theirs}.norm.weight"),
            *decoder_table.entries(getattr(config, stack), _namer(theirs), f"{stack}/layers"),
        ]
    layer, ours = "model.decoder.layers.{layer}", "decoder/layers"
    for name, part in (("cross_norm", "pre"), ("post_cross_norm", "post")):
        found.append(Entry(f"{ours}/{name}/scale", f"{layer}.{part}_cross_attn_layernorm.weight"))
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        found.append(
            Entry(
                f"{ours}/cross_attention/{name}/kernel",
                f"{layer}.cross_attn.{letter}_proj.weight",
                transposed=True,
            )
        )
    copies = {"lm_head.out_proj.weight": "model.decoder.embed_tokens.weight"}
    return Table(tuple(found), copies)


def _namer(stack: str) -> Callable[[str], str]:
    def name(part: str) -> str:
        first, dot, rest = part.partition(".")
        return f"{stack}.layers.{{layer}}.{_RENAMED.get(first, first)}{dot}{rest}"

    return name
