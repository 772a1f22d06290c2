"""T5X's decoder-only network (t5x/examples/decoder_only): relative positions, no scale of scores.

Its layers are kept one at a time. A network whose head is the table of tokens divides logits by
the root of emb_dim, as T5 does; `DecoderConfig` has no such scale, so it is refused.
"""

from typing import Any

from flan_jax.errors import CheckpointError, border
from flan_jax.interop.families.t5_t5x import PREFIX, count_layers, layer_names, sizes
from flan_jax.interop.tables import LAYER, Entry, Shapes, Table, TensorFiles
from flan_jax.models.decoder import DecoderConfig

_SUBLAYERS = {
    "attention": "self_attention",
    "attention_norm": "pre_self_attention_layer_norm",
    "mlp": "mlp",
    "mlp_norm": "pre_mlp_layer_norm",
}
_STACK = f"{PREFIX}decoder"
_EMBEDDING, _HEAD = f"{_STACK}/token_embedder/embedding", f"{_STACK}/logits_dense/kernel"
_BIAS = f"{_STACK}/relpos_bias/rel_embedding"

# What the network has whatever its size, and what may differ among such networks.
_FIXED: dict[str, Any] = dict(positions="relative", query_scale=1.0, tied_head=False)
_FREE = (
    "emb_dim", "num_layers", "num_heads", "head_dim", "mlp_dim", "mlp_activations",
    "relative_attention_num_buckets", "prefix_attention", "prompt_eos", *DecoderConfig.numerics,
)  # fmt: skip


def table(config: DecoderConfig) -> Table:
    """Returns the table of its arrays."""
    entries = [
        Entry("embed/embedding", _EMBEDDING),
        Entry("head/kernel", _HEAD),
        Entry("norm/scale", f"{_STACK}/decoder_norm/scale"),
        Entry("relative_position_bias/embedding", _BIAS, transposed=True),
    ]
    for ours, theirs in layer_names(_SUBLAYERS, len(config.mlp_activations)):
        entries.append(Entry(f"layers/{ours}", f"{_STACK}/layers_{LAYER}/{theirs}"))
    return Table(tuple(entries))


def is_of(shapes: Shapes) -> bool:
    """Whether a checkpoint is of such a network, by its names."""
    return _EMBEDDING in shapes


def is_one(config: DecoderConfig) -> bool:
    """Whether T5X's network computes what a configuration says."""
    sized = DecoderConfig(
        config.vocab_size,
        **{name: getattr(config, name) for name in _FREE},
        **_FIXED,
    )
    return sized == config


def config_of(files: TensorFiles) -> DecoderConfig:
    """Returns the configuration that the arrays of a checkpoint are of; see `t5_t5x.config_of`.

    Raises:
        CheckpointError: they are of no such network; names the first array that is missing.
    """
    shapes = files.shapes
    if _HEAD not in shapes:
        raise CheckpointError(
            f"{files.name} has no {_HEAD}: a decoder of T5X whose head is the table of tokens "
            "divides logits by the root of their width, which no decoder here does"
        )
    first = f"{_STACK}/layers_0"
    wi = "wi" if f"{first}/mlp/wi/kernel" in shapes else "wi_0"
    vocab_size, emb_dim = sizes(files, _EMBEDDING, 2)
    heads, buckets = sizes(files, _BIAS, 2)
    with border(files.name, CheckpointError):
        return DecoderConfig(
            vocab_size=vocab_size,
            emb_dim=emb_dim,
            num_layers=count_layers(shapes, "decoder"),
            num_heads=heads,
            head_dim=sizes(files, f"{first}/self_attention/query/kernel", 2)[-1] // heads,
            mlp_dim=sizes(files, f"{first}/mlp/{wi}/kernel", 2)[-1],
            mlp_activations=("relu",) if wi == "wi" else ("gelu", "linear"),
            relative_attention_num_buckets=buckets,
            **_FIXED,
        )
