"""Which decoder a GGUF file holds, and where its tensors are.

Keys and names are llama.cpp's (gguf-py's constants and tensor names); what it computes without
saying so in the file (Gemma's windows, bases of rotations and scales of queries) is what it does
for the architecture. What `DecoderConfig` cannot say is refused rather than half read.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from flan_jax.errors import CheckpointError, quoted
from flan_jax.interop.families import decoder as family
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import LAYER, Entry, Table, TensorFiles
from flan_jax.models.decoder import DecoderConfig, rope_frequencies

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3")
_ARCHITECTURE = "general.architecture"
_EMBEDDING, _HEAD, _NORM = "token_embd.weight", "output.weight", "output_norm.weight"
# What Llama 3.1's frequencies are divided by, a factor a pair of a head: there is no key for it.
_FACTORS = "rope_freqs.weight"
_LLAMA3: dict[str, Any] = dict(
    rope_scaling="llama3",
    rope_low_frequency=1.0,
    rope_high_frequency=4.0,
    rope_original_length=8192,
)
_PLAIN = {"llama": {}, "qwen2": {"attention_bias": True}, "qwen3": {"qk_norm": True}}
_GEMMA = dict(
    norm_offset=True,
    post_norms=True,
    scaled_embeddings=True,
    mlp_activations=("gelu", "linear"),
)
# Layers of the models of 27 billion, whose queries are scaled by the width of all heads.
_LARGEST_GEMMA = {"gemma2": 46, "gemma3": 62}
# Bounds of attention scores and of logits where the file has none.
_CAPS = {"gemma2": (50.0, 30.0), "gemma3": (None, None)}
_WINDOWS = "attention.sliding_window_pattern"
# Of a value that is a number a layer, so many are looked at.
_MOST_LAYERS = 4096
# Parts of a layer: transformers' names, as `families.decoder` has them, and llama.cpp's.
_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GEMMA_PARTS = {
    **_PARTS,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def architecture_of(metadata: Mapping[str, Any], where: str) -> str:
    """Returns what the file says that it is.

    Raises:
        CheckpointError: it is none of `ARCHITECTURES`, or does not say.
    """
    return Fields(metadata, where).text(_ARCHITECTURE, ARCHITECTURES)


def read_config(metadata: Mapping[str, Any], files: TensorFiles) -> DecoderConfig:
    """Returns the configuration of a GGUF file, dtypes left at their defaults.

    Args:
        metadata: of the file.
        files: its tensors; whether the head is tied, and how many tokens there are, is theirs to
            say.

    Raises:
        CheckpointError: it is of a model that we cannot compute to the digit; says why.
    """
    architecture = architecture_of(metadata, files.name)
    prefix = f"{architecture}."
    own = {key.removeprefix(prefix): _small(value) for key, value in metadata.items()}
    fields = Fields(own, f"{files.name}: {architecture}")
    _refuse(fields)
    heads, width = fields.whole("attention.head_count"), fields.whole("embedding_length")
    head_dim = fields.whole("attention.key_length", width // heads or 1)
    for name in ("attention.value_length", "rope.dimension_count"):
        fields.refuse(name, head_dim)
    if len(files.shapes.get(_EMBEDDING, ())) != 2:
        raise CheckpointError(f"{files.name} has no table {_EMBEDDING!r}")
    common = dict(
        vocab_size=files.shapes[_EMBEDDING][0],
        emb_dim=width,
        num_layers=fields.whole("block_count"),
        num_heads=heads,
        num_kv_heads=fields.whole("attention.head_count_kv", heads),
        head_dim=head_dim,
        mlp_dim=fields.whole("feed_forward_length"),
        norm_epsilon=fields.number("attention.layer_norm_rms_epsilon"),
        tied_head=_HEAD not in files.shapes,
    )
    special = (
        _gemma(fields, architecture, own.get(_WINDOWS))
        if _is_gemma(architecture)
        else _PLAIN[architecture]
    )
    biased = architecture == "llama" and "blk.0.ffn_down.bias" in files.shapes
    with fields.border():
        config = DecoderConfig(**{**common, **_rope(fields), **special, "bias": biased})
        return _with_factors(config, files) if _FACTORS in files.shapes else config


def _small(value: Any) -> Any:
    """Returns arrays as lists, as `Fields` takes them."""
    return value[:_MOST_LAYERS].tolist() if isinstance(value, np.ndarray) else value


def _is_gemma(architecture: str) -> bool:
    return architecture.startswith("gemma")


def _refuse(fields: Fields) -> None:
    """Refuses what these architectures may have and our models do not."""
    fields.refuse("expert_count", 0)
    fields.refuse("attention.causal", True)
    fields.refuse("use_parallel_residual", False)


def _rope(fields: Fields) -> dict[str, Any]:
    """Reads rotary positions; a factor without a type is linear, as in llama.cpp."""
    theta = {"rope_theta": fields.number("rope.freq_base", 10_000.0)}
    kind = fields.text("rope.scaling.type", ("none", "linear"), "linear")
    factor = fields.number("rope.scaling.factor", fields.number("rope.scale_linear", 1.0))
    if kind == "none" or factor in (0.0, 1.0):
        return theta
    return {**theta, "rope_scaling": "linear", "rope_factor": factor}


def _gemma(fields: Fields, architecture: str, windows: Any) -> dict[str, Any]:
    heads, width = fields.whole("attention.head_count"), fields.whole("embedding_length")
    largest = fields.whole("block_count") == _LARGEST_GEMMA[architecture]
    scores, logits = _CAPS[architecture]
    common = dict(
        **_GEMMA,
        query_scale=float(width // heads) if largest else None,
        attention_softcap=fields.number("attn_logit_softcapping", scores),
        final_softcap=fields.number("final_logit_softcapping", logits),
    )
    if architecture == "gemma2":
        return dict(
            **common,
            rope_local_theta=fields.number("rope.freq_base_swa", None),
            window=fields.whole("attention.sliding_window", 4096),
            global_every=_period(fields, windows, 2),
        )
    return dict(
        **common,
        qk_norm=True,
        rope_theta=fields.number("rope.freq_base"),
        # In few files: all of Gemma 3 have this one.
        rope_local_theta=fields.number("rope.freq_base_swa", 10_000.0),
        window=fields.whole("attention.sliding_window"),
        global_every=_period(fields, windows, 6),
    )


def _period(fields: Fields, windows: Any, usual: int) -> int:
    """Returns every so manieth layer sees all positions.

    Args:
        fields: of the architecture.
        windows: that number, or of each layer whether it has a window; None for neither.
        usual: that number of the architecture.

    Raises:
        CheckpointError: the layers without a window have no period.
    """
    if not isinstance(windows, list):
        return fields.whole(_WINDOWS, usual)
    layers = fields.whole("block_count")
    every = windows.index(False) + 1 if False in windows else layers + 1
    if windows != [(layer + 1) % every != 0 for layer in range(min(layers, _MOST_LAYERS))]:
        raise CheckpointError(
            f"{fields.where}: {_WINDOWS!r} is not {layers} layers of which every so manieth has "
            "no window"
        )
    return every


def _with_factors(config: DecoderConfig, files: TensorFiles) -> DecoderConfig:
    """Returns the configuration with Llama 3.1's frequencies, where the tensor holds those.

    Raises:
        CheckpointError: it holds others.
    """
    pairs = config.head_dim // 2
    there = files.shapes[_FACTORS]
    factors = files.read(_FACTORS, (slice(0, pairs),)) if there == (pairs,) else np.zeros(1)
    scaled = dataclasses.replace(config, **_LLAMA3, rope_factor=float(factors.max()))
    ours = rope_frequencies(config, True) / rope_frequencies(scaled, True)
    if config.rope_scaling != "none" or there != (pairs,) or not np.allclose(factors, ours, 1e-4):
        raise CheckpointError(
            f"{files.name}: {_FACTORS!r} is {quoted(_small(factors))}, which are not Llama 3.1's "
            "factors of frequencies; others are not supported"
        )
    return scaled


def table(config: DecoderConfig, architecture: str) -> Table:
    """Returns the tensors of a GGUF file.

    Args:
        config: of the file, see `read_config`.
        architecture: see `architecture_of`.
    """
    parts = _GEMMA_PARTS if _is_gemma(architecture) else _PARTS

    def name(part: str) -> str:
        stem, _, kind = part.rpartition(".")
        return f"blk.{LAYER}.{parts[stem]}.{kind}"

    found = [
        Entry("embed/embedding", _EMBEDDING),
        Entry("norm/scale", _NORM),
        *family.entries(config, name),
    ]
    if not config.tied_head:
        found.append(Entry("head/kernel", _HEAD, transposed=True))
    return Table(
        tuple(_as_kept(entry, config, architecture) for entry in found),
        ignored=lambda name: name == _FACTORS,
    )


def _as_kept(entry: Entry, config: DecoderConfig, architecture: str) -> Entry:
    """Returns an entry that undoes what llama.cpp does to tensors of transformers.

    To the norms of Gemma it adds the 1 that they are offsets from. Rows of queries and keys of
    Llama it keeps pair by pair, as it rotates them; ours are in halves.
    """
    if config.norm_offset and entry.ours.endswith("norm/scale"):
        return dataclasses.replace(entry, shift=1.0)
    part = entry.ours.split("/")[-2]
    heads = {"query": config.num_heads, "key": config.kv_heads}.get(part)
    if architecture != "llama" or heads is None:
        return entry
    return dataclasses.replace(entry, convert=functools.partial(_halves, heads=heads))


def _halves(theirs: np.ndarray, heads: int) -> np.ndarray:
    """Returns rows [heads * head_dim, ...], of each head the firsts of its pairs first."""
    pairs = theirs.reshape(heads, -1, 2, *theirs.shape[1:])
    return pairs.swapaxes(1, 2).reshape(theirs.shape)
