"""BART, as transformers keeps it."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Entry, Table
from flan_jax.models.bart import BartConfig

MODEL_TYPES = ("bart",)
CONFIG = BartConfig
_ACTIVATIONS = {"gelu": "gelu_exact", "gelu_new": "gelu", "relu": "relu", "silu": "silu"}


def read_config(fields: Fields) -> BartConfig:
    """Returns the configuration of a `config.json`; see `published.PublishedFamily`."""
    for name in ("attention_heads", "ffn_dim"):
        sides = [fields.whole(f"{side}_{name}") for side in ("encoder", "decoder")]
        if sides[0] != sides[1]:
            raise CheckpointError(
                f"{fields.where}: 'encoder_{name}' {sides[0]} and 'decoder_{name}' {sides[1]} "
                "have to be alike"
            )
    fields.refuse("tie_word_embeddings", True)
    fields.refuse("normalize_before", False)
    fields.refuse("add_final_layer_norm", False)
    fields.refuse("normalize_embedding", True)
    activation = fields.text("activation_function", tuple(_ACTIVATIONS), "gelu")
    with fields.border():
        return BartConfig(
            vocab_size=fields.whole("vocab_size"),
            emb_dim=fields.whole("d_model"),
            num_heads=fields.whole("encoder_attention_heads"),
            num_encoder_layers=fields.whole("encoder_layers"),
            num_decoder_layers=fields.whole("decoder_layers"),
            mlp_dim=fields.whole("encoder_ffn_dim"),
            mlp_activations=(_ACTIVATIONS[activation],),
            max_positions=fields.whole("max_position_embeddings", 1024),
            scaled_embeddings=fields.flag("scale_embedding", False),
            dropout_rate=fields.number("dropout", 0.1),
        )


def write_config(config: BartConfig) -> Mapping[str, Any]:
    """Returns the `config.json` of a configuration; see `published.PublishedFamily`."""
    theirs = {(ours,): name for name, ours in _ACTIVATIONS.items()}
    if config.mlp_activations not in theirs:
        raise ConfigError("transformers has no BART with a gated feed-forward")
    both = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("attention_heads", config.num_heads), ("ffn_dim", config.mlp_dim))
    }
    return {
        "architectures": ["BartForConditionalGeneration"],
        "model_type": "bart",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.emb_dim,
        "encoder_layers": config.num_encoder_layers,
        "decoder_layers": config.num_decoder_layers,
        "num_hidden_layers": config.num_encoder_layers,
        **both,
        "activation_function": theirs[config.mlp_activations],
        "max_position_embeddings": config.max_positions,
        "scale_embedding": config.scaled_embeddings,
        "dropout": config.dropout_rate,
        "tie_word_embeddings": True,
    }


def table(config: BartConfig) -> Table:
    """Returns the tensors of transformers' class for conditional generation."""
    found = [Entry("embed/embedding", "model.shared.weight")]
    for stack in ("encoder", "decoder"):
        theirs = f"model.{stack}"
        found.append(Entry(f"{stack}/positions/embedding", f"{theirs}.embed_positions.weight"))
        found += _norm(f"{stack}/embedding_norm", f"{theirs}.layernorm_embedding")
        layer, ours = f"{theirs}.layers.{{layer}}", f"{stack}/layers"
        found += _attention(f"{ours}/self_attention", f"{layer}.self_attn")
        found += _norm(f"{ours}/self_attention_norm", f"{layer}.self_attn_layer_norm")
        if stack == "decoder":
            found += _attention(f"{ours}/cross_attention", f"{layer}.encoder_attn")
            found += _norm(f"{ours}/cross_attention_norm", f"{layer}.encoder_attn_layer_norm")
        found += _linear(f"{ours}/mlp/wi_0", f"{layer}.fc1")
        found += _linear(f"{ours}/mlp/wo", f"{layer}.fc2")
        found += _norm(f"{ours}/mlp_norm", f"{layer}.final_layer_norm")
    copies = dict.fromkeys(
        ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
         "lm_head.weight"),
        "model.shared.weight",
    )  # fmt: skip
    return Table(tuple(found), copies, zeros=("final_logits_bias", "model.final_logits_bias"))


def _norm(ours: str, theirs: str) -> list[Entry]:
    return [Entry(f"{ours}/scale", f"{theirs}.weight"), Entry(f"{ours}/bias", f"{theirs}.bias")]


def _linear(ours: str, theirs: str) -> list[Entry]:
    return [
        Entry(f"{ours}/kernel", f"{theirs}.weight", transposed=True),
        Entry(f"{ours}/bias", f"{theirs}.bias"),
    ]


def _attention(ours: str, theirs: str) -> list[Entry]:
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
    return [entry for o, t in names.items() for entry in _linear(f"{ours}/{o}", f"{theirs}.{t}")]
