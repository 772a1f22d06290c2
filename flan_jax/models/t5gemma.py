"""T5Gemma and T5Gemma 2: encoder-decoders made of two Gemmas.

T5Gemma (Zhang et al., 2025, arXiv:2504.06225) is made of two Gemma 2s, which may be of different
sizes. Its encoder is a Gemma whose every position sees both directions; its decoder has cross
attention between self attention and feed-forward, with norms before and after like its others.

T5Gemma 2 (Zhang et al., 2025, arXiv:2512.14856) is made of two Gemma 3s of one width; its vision
tower is left out. In its decoder one attention, of one softmax and the same projections, sees the
decoder's own positions and the encoder's output; one embedding table serves encoder, decoder and
head.

Batches are those of `layouts.EncoderDecoder`; where rows are packed, positions restart in each
example. Numerics are pinned to transformers' implementation by tests. Shape suffixes are those of
`flan_jax.models.decoder`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros
from flan_jax.errors import ConfigError
from flan_jax.models import attention
from flan_jax.models import decoder as decoder_lib
from flan_jax.models.attention import Attention, KeysValues, Rotation, Seen, segment_mask
from flan_jax.models.decoder import Decoder, DecoderConfig, DecoderLayer
from flan_jax.models.encoder_decoder import Cache, EncoderDecoderModel
from flan_jax.models.framing import Framing, SpecialTokens
from flan_jax.models.layers import TiedHead, dropout, fold
from flan_jax.models.layouts import EncoderDecoder


@dataclasses.dataclass(frozen=True)
class T5GemmaConfig:
    """Sizes and numerics of a T5Gemma.

    Attributes:
        encoder: of the encoder. `window` counts positions to one side and the query's own, as in a
            decoder: for T5Gemma one more than transformers' `sliding_window`, which leaves the own
            one out; for T5Gemma 2, whose `sliding_window` counts both sides, half of it.
        decoder: of the decoder, whose vocabulary, dropout and dtypes are the encoder's as well.
        merged_attention: whether self and cross attention are one and the embedding table is
            shared (T5Gemma 2); encoder and decoder then have one width.
    """

    encoder: DecoderConfig
    decoder: DecoderConfig
    merged_attention: bool = dataclasses.field(default=False, metadata={"unstated": True})

    numerics: ClassVar[tuple[str, ...]] = ()
    row_layout: ClassVar[type[EncoderDecoder]] = EncoderDecoder
    prompt_parameters: ClassVar[str] = r"encoder/.*"

    def __post_init__(self) -> None:
        for name in ("encoder", "decoder"):
            value = getattr(self, name)
            if isinstance(value, Mapping):  # from JSON
                object.__setattr__(self, name, DecoderConfig(**value))
        if self.encoder.vocab_size != self.decoder.vocab_size:
            raise ConfigError(
                f"an encoder of {self.encoder.vocab_size} tokens and a decoder of "
                f"{self.decoder.vocab_size} do not speak the same language"
            )
        macros.check(MERGED_ATTENTION=self.merged_attention)
        if self.merged_attention and self.encoder.emb_dim != self.decoder.emb_dim:
            raise ConfigError(
                f"MERGED_ATTENTION needs one width: ENCODER_EMB_DIM is {self.encoder.emb_dim}, "
                f"and EMB_DIM {self.decoder.emb_dim}"
            )
        both = dataclasses.replace(self.encoder, prefix_attention=True, tied_head=True)
        object.__setattr__(self, "encoder", both)

    @property
    def vocab_size(self) -> int:
        """Rows of each embedding table."""
        return self.decoder.vocab_size

    @property
    def emb_dim(self) -> int:
        """Width of prompt states; hidden states have the decoder's."""
        return self.encoder.emb_dim

    @property
    def dropout_rate(self) -> float:
        """Used where a call is given a dropout key."""
        return self.decoder.dropout_rate

    @property
    def param_dtype(self) -> str:
        """Dtype of the parameters."""
        return self.decoder.param_dtype

    def build(self, rngs: nnx.Rngs) -> "T5Gemma":
        """Returns a model of this configuration with fresh parameters."""
        return T5Gemma(self, rngs)

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns Gemma's: BOS begins prompts, without EOS at their end, and the decoder."""
        bos_id = special.bos_id
        start_id = special.pad_id if bos_id is None else bos_id
        return Framing(special.pad_id, special.eos_id, start_id, bos_id, prompt_eos=False)

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row; see `T5Config`."""
        s, t, one = inputs_length, targets_length, self.decoder
        inner, kv_inner = one.num_heads * one.head_dim, one.kv_heads * one.head_dim
        cross = s * 2 * self.encoder.emb_dim * kv_inner + 2 * t * s * inner
        if not self.merged_attention:  # queries and output of their own
            cross += t * 2 * one.emb_dim * inner
        alone = self.encoder.forward_flops(s, 0) + one.forward_flops(0, t)
        return alone + 2.0 * one.num_layers * cross


class CrossLayer(DecoderLayer):
    """A decoder layer with cross attention between self attention and feed-forward."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs, source_dim: int):
        super().__init__(config, rngs)
        self.cross_norm = decoder_lib.norm(config)
        self.cross_attention = Attention(
            config.emb_dim,
            config.num_heads,
            config.head_dim,
            num_kv_heads=config.num_kv_heads,
            source_dim=source_dim,
            dropout_rate=config.dropout_rate,
            scale=(config.query_scale or config.head_dim) ** -0.5,
            softcap=config.attention_softcap,
            chunk=config.attention_chunk,
            rngs=rngs,
            **decoder_lib.dtypes(config),
        )
        self.post_cross_norm = decoder_lib.norm(config)

    def __call__(  # type: ignore[override]
        self,
        x_BxTxD: jax.Array,
        see: Callable[[KeysValues], tuple[Seen, ...]],
        cross: Seen,
        *,
        rotation: Rotation | None,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Runs the layer; see `DecoderLayer`, and `cross` is what is seen of the encoder."""
        key = dropout_key
        x_BxTxD, kv = self.attended(x_BxTxD, see, rotation, key)
        queries = self.cross_attention.queries(self.cross_norm(x_BxTxD))
        y = self.cross_attention.look(queries, cross, dropout_key=fold(key, 4))
        x_BxTxD += dropout(self.post_cross_norm(y), self.dropout_rate, fold(key, 5))
        return self.fed(x_BxTxD, key), kv


class MergedLayer(DecoderLayer):
    """A decoder layer whose one attention sees the encoder's output beside its own positions."""

    @property
    def cross_attention(self) -> Attention:
        """What projects the encoder's output to keys and values, which are not rotated."""
        return self.attention

    def __call__(  # type: ignore[override]
        self,
        x_BxTxD: jax.Array,
        see: Callable[[KeysValues], tuple[Seen, ...]],
        cross: Seen,
        *,
        rotation: Rotation | None,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Runs the layer; see `CrossLayer`."""
        return super().__call__(
            x_BxTxD, lambda kv: (*see(kv), cross), rotation=rotation, dropout_key=dropout_key
        )


class T5Gemma(EncoderDecoderModel):
    """T5Gemma; see the module docstring for the batch."""

    def __init__(self, config: T5GemmaConfig, rngs: nnx.Rngs):
        self.config = config
        self.encoder = Decoder(config.encoder, rngs)
        if config.merged_attention:
            self.decoder = Decoder(config.decoder, rngs, MergedLayer, has_table=False)
            return
        width = config.encoder.emb_dim
        self.decoder = Decoder(
            config.decoder, rngs, lambda config, rngs: CrossLayer(config, rngs, width)
        )

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""
        if self.config.merged_attention:
            return TiedHead(self.encoder.embed, softcap=self.config.decoder.final_softcap)
        return self.decoder.output_head()

    def _decoder_embedded(self, tokens_BxT: jax.Array) -> jax.Array:
        """Embedded tokens [B, T, D] of the decoder."""
        stack = self.encoder if self.config.merged_attention else self.decoder
        return stack.embedded(tokens_BxT)

    def encoded(
        self,
        tokens_BxS: jax.Array,
        segments_BxS: jax.Array,
        positions_BxS: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        everywhere = jnp.ones_like(tokens_BxS)
        x_BxSxD, _ = self.encoder.forward(
            tokens_BxS, segments_BxS, positions_BxS, everywhere, dropout_key=fold(key, 0)
        )
        return dropout(x_BxSxD, self.config.encoder.dropout_rate, fold(key, 1))

    def decoded(
        self,
        encoded_BxSxD: jax.Array,
        encoder_segments_BxS: jax.Array,
        tokens_BxT: jax.Array,
        segments_BxT: jax.Array,
        positions_BxT: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns hidden states [B, T, D] of whole rows."""
        place_T = jnp.arange(tokens_BxT.shape[1])
        positions_BxT = place_T[None] if positions_BxT is None else positions_BxT
        seen = segment_mask(segments_BxT, segments_BxT) & attention.causal_mask(len(place_T))
        cross_mask = attention.additive(segment_mask(segments_BxT, encoder_segments_BxS))

        def call(layer: Any, x: jax.Array, see: Any, _: Any, **options: Any) -> Any:
            cross_kv = layer.cross_attention.keys_values(encoded_BxSxD)
            return layer(x, see, Seen(cross_kv, cross_mask), **options)

        x_BxTxD, _ = self.decoder.run(
            self._decoder_embedded(tokens_BxT),
            positions_BxT,
            self.decoder.masks(seen, place_T, place_T),
            lambda kv, mask, _: (Seen(kv, mask),),
            dropout_key=fold(key, 0),
            call=call,
        )
        return dropout(x_BxTxD, self.config.dropout_rate, fold(key, 1))

    def cross_layers(self) -> nnx.Module:
        """Returns the decoder's stacked layers."""
        return self.decoder.layers

    def step(self, cache: Cache, tokens_B: jax.Array) -> tuple[jax.Array, KeysValues]:
        """Runs one position; see `EncoderDecoderModel`."""
        cross_mask = self.cross_mask(cache, tokens_B.shape[0])
        place_M = jnp.arange(cache.kv.keys.shape[3])
        seen = (place_M <= cache.step)[None, None, None]

        def call(layer: Any, x: jax.Array, see: Any, inputs: Any, **options: Any) -> Any:
            return layer(x, see, Seen(inputs[1], cross_mask), **options)

        return self.decoder.run(
            self._decoder_embedded(tokens_B[:, None]),
            cache.step[None, None],
            self.decoder.masks(seen, cache.step[None], place_M),
            lambda kv, mask, inputs: (Seen(inputs[0].insert(kv, cache.step), mask),),
            (cache.kv, cache.cross_kv),
            keep_kv=True,
            call=call,
        )
