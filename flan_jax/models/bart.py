"""BART (Lewis et al., 2020, arXiv:1910.13461): an encoder-decoder with learned positions.

Norms follow each block instead of going before it, every linear layer has a bias, and embeddings of
tokens and positions are normed as well. Batches are those of `layouts.EncoderDecoder`; where rows
are packed, positions restart in each example. An example longer than the table of positions gives
NaN, which stops a run. Numerics are pinned to transformers' implementation by tests. Shape suffixes
are those of `flan_jax.models.layers`.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros
from flan_jax.errors import ConfigError
from flan_jax.models import attention, layers
from flan_jax.models.attention import Attention, KeysValues, Seen, segment_mask
from flan_jax.models.encoder_decoder import Cache, EncoderDecoderModel
from flan_jax.models.framing import Framing, SpecialTokens
from flan_jax.models.layers import dropout, fold
from flan_jax.models.layouts import EncoderDecoder
from flan_jax.models.sharding import constrain

_STATES = ("batch", "length", "activation_embed")
# Rows of the position tables that no position has: fairseq kept them for padding.
_UNUSED_POSITIONS = 2
_EPSILON = 1e-5  # torch's LayerNorm


@dataclasses.dataclass(frozen=True)
class BartConfig:
    """Sizes and numerics of a BART.

    Attributes:
        vocab_size: rows of the embedding table, which is the output head as well.
        emb_dim: width of the hidden states.
        num_heads: attention heads of every layer, of emb_dim / num_heads units each.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        mlp_dim: hidden width of the feed-forward blocks.
        mlp_activations: ("gelu_exact",) in published models.
        max_positions: tokens that an example may have on each side.
        scaled_embeddings: whether embedded tokens are multiplied by the root of emb_dim.
        dropout_rate: used where a call is given a dropout key.
        dtype: of the computation, "bfloat16" on accelerators. Softmax, norm statistics and logits
            are float32 in any case.
        param_dtype: of the parameters.
        remat: name in `layers.REMAT`: what training computes again to save memory.
        attention_chunk: queries whose attention scores are held at once; None holds all.
    """

    vocab_size: int
    emb_dim: int = 768
    num_heads: int = 12
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    mlp_dim: int = 3072
    mlp_activations: tuple[str, ...] = ("gelu_exact",)
    max_positions: int = 1024
    scaled_embeddings: bool = False
    dropout_rate: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: str = "none"
    attention_chunk: int | None = None

    numerics: ClassVar[tuple[str, ...]] = (
        "dtype",
        "param_dtype",
        "dropout_rate",
        "remat",
        "attention_chunk",
    )
    row_layout: ClassVar[type[EncoderDecoder]] = EncoderDecoder
    prompt_parameters: ClassVar[str] = r"(?!decoder/).*"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        macros.check(
            VOCAB_SIZE=self.vocab_size,
            EMB_DIM=self.emb_dim,
            NUM_HEADS=self.num_heads,
            NUM_ENCODER_LAYERS=self.num_encoder_layers,
            NUM_DECODER_LAYERS=self.num_decoder_layers,
            MLP_DIM=self.mlp_dim,
            MLP_ACTIVATIONS=self.mlp_activations,
            MAX_POSITIONS=self.max_positions,
            SCALED_EMBEDDINGS=self.scaled_embeddings,
            DROPOUT_RATE=self.dropout_rate,
            COMPUTE_DTYPE=self.dtype,
            PARAM_DTYPE=self.param_dtype,
            REMAT=self.remat,
            ATTENTION_CHUNK=self.attention_chunk,
        )
        layers.check_activations(self.mlp_activations)
        if self.emb_dim % self.num_heads:
            raise ConfigError(f"NUM_HEADS {self.num_heads} does not divide EMB_DIM {self.emb_dim}")

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.emb_dim // self.num_heads

    def build(self, rngs: nnx.Rngs) -> "Bart":
        """Returns a BART of this configuration with fresh parameters."""
        return Bart(self, rngs)

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns `<s> text </s>` on both sides; the decoder reads `</s>` first.

        Published models generate `<s>` before an answer, so answers have it when they are learnt.
        """
        return Framing(
            special.pad_id,
            special.eos_id,
            start_id=special.eos_id,
            bos_id=special.bos_id,
            answer_bos_id=special.bos_id,
        )

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row; see `T5Config`."""
        s, t, d = inputs_length, targets_length, self.emb_dim
        mlp = (len(self.mlp_activations) + 1) * d * self.mlp_dim
        encoder = s * (4 * d * d + mlp) + 2 * s * s * d
        decoder = t * (6 * d * d + mlp) + 2 * s * d * d + 2 * t * (t + s) * d
        stacks = self.num_encoder_layers * encoder + self.num_decoder_layers * decoder
        return 2.0 * (stacks + t * d * self.vocab_size)


def _dtypes(config: BartConfig) -> dict[str, Any]:
    return dict(dtype=jnp.dtype(config.dtype), param_dtype=jnp.dtype(config.param_dtype))


def _norm(config: BartConfig) -> layers.LayerNorm:
    return layers.LayerNorm(config.emb_dim, epsilon=_EPSILON, **_dtypes(config))


def _attention(config: BartConfig, rngs: nnx.Rngs) -> Attention:
    return Attention(
        config.emb_dim,
        config.num_heads,
        config.head_dim,
        dropout_rate=config.dropout_rate,
        bias=True,
        out_bias=True,
        scale=config.head_dim**-0.5,
        chunk=config.attention_chunk,
        rngs=rngs,
        **_dtypes(config),
    )


class EncoderLayer(nnx.Module):
    """Self attention and feed-forward, each followed by a norm."""

    def __init__(self, config: BartConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.self_attention = _attention(config, rngs)
        self.self_attention_norm = _norm(config)
        self.mlp = layers.MLP(
            config.emb_dim,
            config.mlp_dim,
            activations=config.mlp_activations,
            dropout_rate=config.dropout_rate,
            bias=True,
            rngs=rngs,
            **_dtypes(config),
        )
        self.mlp_norm = _norm(config)

    def __call__(
        self, x_BxSxD: jax.Array, *, mask: jax.Array, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns hidden states [B, S, D] under a mask broadcastable to [B, H, S, S]."""
        kv = self.self_attention.keys_values(x_BxSxD)
        return self.fed(self.attended(x_BxSxD, Seen(kv, mask), dropout_key), dropout_key)

    def attended(self, x_BxTxD: jax.Array, seen: Seen, key: jax.Array | None) -> jax.Array:
        """Self attention and its norm."""
        queries = self.self_attention.queries(x_BxTxD)
        y = self.self_attention.look(queries, seen, dropout_key=fold(key, 0))
        return self.self_attention_norm(x_BxTxD + dropout(y, self.dropout_rate, fold(key, 1)))

    def fed(self, x_BxTxD: jax.Array, key: jax.Array | None) -> jax.Array:
        """Feed-forward and its norm."""
        y = self.mlp(x_BxTxD, dropout_key=fold(key, 2))
        return self.mlp_norm(x_BxTxD + dropout(y, self.dropout_rate, fold(key, 3)))


class DecoderLayer(EncoderLayer):
    """The same with cross attention in between."""

    def __init__(self, config: BartConfig, rngs: nnx.Rngs):
        super().__init__(config, rngs)
        self.cross_attention = _attention(config, rngs)
        self.cross_attention_norm = _norm(config)

    def __call__(  # type: ignore[override]
        self,
        x_BxTxD: jax.Array,
        seen: Seen,
        cross: Seen,
        *,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns hidden states [B, T, D], given what is seen of the row and of the encoder."""
        key = dropout_key
        x_BxTxD = self.attended(x_BxTxD, seen, key)
        queries = self.cross_attention.queries(x_BxTxD)
        y = self.cross_attention.look(queries, cross, dropout_key=fold(key, 4))
        y = dropout(y, self.dropout_rate, fold(key, 5))
        return self.fed(self.cross_attention_norm(x_BxTxD + y), key)


class Stack(nnx.Module):
    """Layers of one kind over embedded tokens and positions."""

    def __init__(self, config: BartConfig, rngs: nnx.Rngs, layer: type, count: int):
        self.config = config
        rows = config.max_positions + _UNUSED_POSITIONS
        self.positions = layers.Embed(
            rows, config.emb_dim, rngs=rngs, stddev=0.02, **_dtypes(config)
        )
        self.embedding_norm = _norm(config)
        self.layers = layers.stack_layers(lambda rngs: layer(config, rngs), count, rngs)

    def embedded(
        self, x_BxTxD: jax.Array, positions_BxT: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Adds positions [B, T] or [1, T] to embedded tokens, and norms the sum."""
        if self.config.scaled_embeddings:
            x_BxTxD = x_BxTxD * jnp.asarray(self.config.emb_dim**0.5, x_BxTxD.dtype)
        x_BxTxD = x_BxTxD + self.positions(positions_BxT + _UNUSED_POSITIONS)
        x_BxTxD = dropout(self.embedding_norm(x_BxTxD), self.config.dropout_rate, key)
        return constrain(x_BxTxD, *_STATES)


class Bart(EncoderDecoderModel):
    """BART; see the module docstring for the batch."""

    def __init__(self, config: BartConfig, rngs: nnx.Rngs):
        self.config = config
        self.embed = layers.Embed(
            config.vocab_size, config.emb_dim, rngs=rngs, stddev=0.02, **_dtypes(config)
        )
        self.encoder = Stack(config, rngs, EncoderLayer, config.num_encoder_layers)
        self.decoder = Stack(config, rngs, DecoderLayer, config.num_decoder_layers)

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""
        return layers.TiedHead(self.embed)

    def cross_layers(self) -> nnx.Module:
        """Returns the decoder's stacked layers."""
        return self.decoder.layers

    def encoded(
        self,
        tokens_BxS: jax.Array,
        segments_BxS: jax.Array,
        positions_BxS: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        mask = attention.additive(segment_mask(segments_BxS, segments_BxS))
        layers_key = fold(key, 1)

        def body(layer: EncoderLayer, index: jax.Array, x: jax.Array, _: None) -> Any:
            x = layer(x, mask=mask, dropout_key=fold(layers_key, index))
            return constrain(x, *_STATES), None

        x_BxSxD = self.encoder.embedded(
            self.embed(tokens_BxS), _places(tokens_BxS, positions_BxS), fold(key, 0)
        )
        return layers.scan_layers(body, self.encoder.layers, x_BxSxD, remat=self.config.remat)[0]

    def decoded(
        self,
        encoded_BxSxD: jax.Array,
        encoder_segments_BxS: jax.Array,
        tokens_BxT: jax.Array,
        segments_BxT: jax.Array,
        positions_BxT: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns what the head reads of whole rows, [B, T, D]."""
        causal_1x1xTxT = attention.causal_mask(tokens_BxT.shape[1])
        mask = attention.additive(segment_mask(segments_BxT, segments_BxT) & causal_1x1xTxT)
        cross_mask = attention.additive(segment_mask(segments_BxT, encoder_segments_BxS))
        layers_key = fold(key, 1)

        def body(layer: DecoderLayer, index: jax.Array, x: jax.Array, _: None) -> Any:
            seen = Seen(layer.self_attention.keys_values(x), mask)
            cross = Seen(layer.cross_attention.keys_values(encoded_BxSxD), cross_mask)
            x = layer(x, seen, cross, dropout_key=fold(layers_key, index))
            return constrain(x, *_STATES), None

        x_BxTxD = self.decoder.embedded(
            self.embed(tokens_BxT), _places(tokens_BxT, positions_BxT), fold(key, 0)
        )
        return layers.scan_layers(body, self.decoder.layers, x_BxTxD, remat=self.config.remat)[0]

    def step(self, cache: Cache, tokens_B: jax.Array) -> tuple[jax.Array, KeysValues]:
        """Runs one position; see `EncoderDecoderModel`."""
        cross_mask = self.cross_mask(cache, tokens_B.shape[0])
        mask = (jnp.arange(cache.kv.keys.shape[3]) <= cache.step)[None, None, None]

        def body(layer: DecoderLayer, index: jax.Array, x: jax.Array, inputs: Any) -> Any:
            old, cross_kv = inputs
            new = layer.self_attention.keys_values(x)
            seen = Seen(old.insert(new, cache.step), mask)
            return layer(x, seen, Seen(cross_kv, cross_mask)), new

        x_Bx1xD = self.decoder.embedded(self.embed(tokens_B[:, None]), cache.step[None, None])
        return layers.scan_layers(body, self.decoder.layers, x_Bx1xD, (cache.kv, cache.cross_kv))


def _places(tokens_BxT: jax.Array, positions_BxT: jax.Array | None) -> jax.Array:
    """Positions [B, T], or [1, T] where rows are one example each."""
    return jnp.arange(tokens_BxT.shape[1])[None] if positions_BxT is None else positions_BxT
