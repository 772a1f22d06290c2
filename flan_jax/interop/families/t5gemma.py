"""T5Gemma and T5Gemma 2, as transformers keeps them: configurations within one for both stacks.

Of T5Gemma 2, the text model is read. A folder's vision tower, its projector and the embedding that
stands for the end of an image are left out, and a folder that is written has zeros in their place:
transformers has no class without them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import ConfigError
from flan_jax.interop.families import decoder as decoder_table
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Entry, Table
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.t5gemma import T5GemmaConfig

MODEL_TYPES = ("t5gemma", "t5gemma2")
CONFIG = T5GemmaConfig
# What a part of a layer is called that has another name in a Gemma.
_RENAMED = {
    "input_layernorm": "pre_self_attn_layernorm",
    "post_attention_layernorm": "post_self_attn_layernorm",
}
_MODULE = "t5_gemma_module"
_ENCODER, _DECODER = "model.encoder.", "model.decoder."
_EMBEDDING = "embed_tokens.weight"
_VISION = (f"{_ENCODER}vision_tower.", f"{_ENCODER}multi_modal_projector.")
_END_OF_IMAGE = "embed_tokens.eoi_embedding"
# The smallest vision tower: of no layer and one grey pixel, so that no image fits it.
_NO_VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1,
    "intermediate_size": 1,
    "num_hidden_layers": 0,
    "num_attention_heads": 1,
    "num_channels": 1,
    "image_size": 1,
    "patch_size": 1,
    "vision_use_head": False,
}
_NO_VISION_SHAPES = {
    f"{_VISION[0]}embeddings.patch_embedding.weight": (1, 1, 1, 1),
    f"{_VISION[0]}embeddings.patch_embedding.bias": (1,),
    f"{_VISION[0]}embeddings.position_embedding.weight": (1, 1),
    f"{_VISION[0]}post_layernorm.weight": (1,),
    f"{_VISION[0]}post_layernorm.bias": (1,),
    f"{_VISION[1]}mm_soft_emb_norm.weight": (1,),
}


def read_config(fields: Fields) -> T5GemmaConfig:
    """Returns the configuration of a `config.json`; see `published.PublishedFamily`."""
    merged = fields.text("model_type", MODEL_TYPES) == "t5gemma2"
    fields.refuse("tie_word_embeddings", True)
    fields.refuse("attention_dropout", 0.0)
    dropout = fields.number("dropout_rate", 0.0)
    theirs = [fields.object("encoder"), fields.object("decoder")]
    if merged:
        theirs[0].refuse("tie_word_embeddings", True)
        theirs[0] = theirs[0].object("text_config")
        for part in theirs:
            part.refuse("tie_word_embeddings", True)
            part.refuse("attn_logit_softcapping", None)  # transformers reads it and does nothing
    encoder, decoder = (decoder_table.read_as(_kind(merged), part) for part in theirs)
    encoder |= _read_window(encoder["window"], merged)
    with fields.border():
        return T5GemmaConfig(
            DecoderConfig(**encoder, dropout_rate=dropout),
            DecoderConfig(**decoder, dropout_rate=dropout),
            merged,
        )


def _kind(merged: bool) -> str:
    """Returns the model_type of the decoders that a T5Gemma is made of."""
    return "gemma3_text" if merged else "gemma2"


def _read_window(window: int, both_sides: bool) -> dict[str, Any]:
    """Returns the fields of an encoder's window; see `T5GemmaConfig`."""
    if not both_sides:
        return {"window": window + 1}
    # Where it is even, the side after a position has one more.
    return {"window": (window + 1) // 2, "window_ahead": None if window % 2 else window // 2}


def _written_window(encoder: DecoderConfig, both_sides: bool) -> int:
    """Returns the `sliding_window` of an encoder.

    Raises:
        ConfigError: transformers has no such window.
    """
    if encoder.window is None:
        raise ConfigError("transformers has no T5Gemma without windows of attention")
    before = encoder.window - 1
    ahead = before if encoder.window_ahead is None else encoder.window_ahead
    if ahead not in ((before, before + 1) if both_sides else (before,)):
        raise ConfigError(
            f"transformers has no T5Gemma with ENCODER_WINDOW {encoder.window} and "
            f"ENCODER_WINDOW_AHEAD {ahead}"
        )
    return before + 1 + ahead if both_sides else before


def write_config(config: T5GemmaConfig) -> Mapping[str, Any]:
    """Returns the `config.json` of a configuration; see `published.PublishedFamily`."""
    merged = config.merged_attention
    window = _written_window(config.encoder, merged)
    encoder = {**_written(config.encoder, merged), "sliding_window": window}
    decoder = _written(config.decoder, merged)
    whole = {
        "architectures": [f"T5Gemma{'2' if merged else ''}ForConditionalGeneration"],
        "model_type": "t5gemma2" if merged else "t5gemma",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": True,
        "dropout_rate": config.dropout_rate,
    }
    if not merged:
        crossing = {"is_decoder": True, "cross_attention_hidden_size": config.encoder.emb_dim}
        return {**whole, "encoder": encoder, "decoder": {**decoder, **crossing}}
    with_vision = {
        "model_type": "t5gemma2_encoder",
        "text_config": {**encoder, "model_type": "t5gemma2_text"},
        "vision_config": _NO_VISION,
        "mm_tokens_per_image": 1,
        "eoi_token_index": -1,  # no token has the embedding that is left out
    }
    return {
        **whole,
        "encoder": with_vision,
        "decoder": {**decoder, "model_type": "t5gemma2_decoder"},
    }


def _written(config: DecoderConfig, merged: bool) -> dict[str, Any]:
    written = decoder_table.write_as(_kind(merged), config)
    if written is None:
        raise ConfigError(
            f"transformers has T5Gemmas of {'Gemma 3' if merged else 'Gemma 2'}s alone, and this "
            "is made of others"
        )
    if merged and config.attention_softcap is not None:
        raise ConfigError("transformers has no T5Gemma 2 with ATTENTION_SOFTCAP")
    return {**written, "model_type": _MODULE}


def table(config: T5GemmaConfig) -> Table:
    """Returns the tensors of transformers' class for conditional generation."""
    found: list[Entry] = []
    for stack, theirs in (("encoder", _ENCODER), ("decoder", _DECODER)):
        if stack == "encoder" or not config.merged_attention:
            found.append(Entry(f"{stack}/embed/embedding", f"{theirs}{_EMBEDDING}"))
        found += [
            Entry(f"{stack}/norm/scale", f"{theirs}norm.weight"),
            *decoder_table.entries(getattr(config, stack), _namer(theirs), f"{stack}/layers"),
        ]
    head = "lm_head.out_proj.weight"
    if config.merged_attention:
        projection = f"{_VISION[1]}mm_input_projection_weight"
        width = config.encoder.emb_dim
        return Table(
            tuple(found),
            dict.fromkeys((f"{_DECODER}{_EMBEDDING}", head), f"{_ENCODER}{_EMBEDDING}"),
            ignored=_is_of_images,
            fillers={
                **_NO_VISION_SHAPES,
                projection: (1, width),
                f"{_ENCODER}{_END_OF_IMAGE}": (width,),
            },
            in_class=_in_class,
        )
    layer, ours = f"{_DECODER}layers.{{layer}}", "decoder/layers"
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
    return Table(tuple(found), {head: f"{_DECODER}{_EMBEDDING}"})


def _is_of_images(name: str) -> bool:
    """Whether a tensor of T5Gemma 2 is of no use to text."""
    ends = (f"{_ENCODER}{_END_OF_IMAGE}", f"{_DECODER}{_END_OF_IMAGE}")
    return name.startswith(_VISION) or name in ends


def _in_class(name: str) -> str:
    """Returns the name in T5Gemma 2's class of a tensor, whose files leave out the text model."""
    is_text = name.startswith(_ENCODER) and not _is_of_images(name)
    return name.replace(_ENCODER, f"{_ENCODER}text_model.") if is_text else name


def _namer(stack: str) -> Callable[[str], str]:
    def name(part: str) -> str:
        first, dot, rest = part.partition(".")
        return f"{stack}layers.{{layer}}.{_RENAMED.get(first, first)}{dot}{rest}"

    return name
