"""T5Gemma (Zhang et al., 2025, arXiv:2504.06225): an encoder-decoder made of two Gemma 2s.

The encoder is a Gemma whose every position sees both directions; the decoder has cross attention
between self attention and feed-forward, with norms before and after like its others. The two may be
of different sizes. Batches are those of `layouts.EncoderDecoder`; where rows are packed, positions
restart in each example. Numerics are pinned to transformers' implementation by tests. Shape
suffixes are those of `flan_jax.models.decoder`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.errors import ConfigError
from flan_jax.models import attention, decoding, layers
from flan_jax.models import decoder as decoder_lib
from flan_jax.models.attention import Attention, KeysValues, Rotation, Seen, segment_mask
from flan_jax.models.decoder import Decoder, DecoderConfig, DecoderLayer
from flan_jax.models.framing import Framing, Sequences, SpecialTokens
from flan_jax.models.layers import dropout, fold
from flan_jax.models.layouts import EncoderDecoder


@dataclasses.dataclass(frozen=True)
class T5GemmaConfig:
    """Sizes and numerics of a T5Gemma.

    Attributes:
        encoder: of the encoder. `window` counts positions to one side and the query's own, as in a
            decoder: one more than transformers' `sliding_window`, which leaves the own one out.
        decoder: of the decoder, whose vocabulary, dropout and dtypes are the encoder's as well.
    """

    encoder: DecoderConfig
    decoder: DecoderConfig

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
        cross = t * 2 * one.emb_dim * inner + s * 2 * self.encoder.emb_dim * kv_inner
        cross += 2 * t * s * inner
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


class T5GemmaCache(NamedTuple):
    """State of decoding a batch; a tree of arrays, fit for `lax.while_loop`.

    Attributes:
        step: int32 [], tokens fed so far.
        kv: keys and values of the fed tokens, [L, B, G, max_length, K]; in beam search B times the
            number of beams.
        cross_kv: those of the encoder's output, [L, B, G, S, K], all of it in every layer, whatever
            the window of the layer's self attention.
        encoder_mask_Bx1x1xS: True at input tokens.
    """

    step: jax.Array
    kv: KeysValues
    cross_kv: KeysValues
    encoder_mask_Bx1x1xS: jax.Array


class T5Gemma(nnx.Module):
    """T5Gemma; see the module docstring for the batch."""

    def __init__(self, config: T5GemmaConfig, rngs: nnx.Rngs):
        self.config = config
        self.encoder = Decoder(config.encoder, rngs)
        width = config.encoder.emb_dim
        self.decoder = Decoder(
            config.decoder, rngs, lambda config, rngs: CrossLayer(config, rngs, width)
        )

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""
        return self.decoder.output_head()

    def hidden_states(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what the output head reads, [B, T, D] in the compute dtype."""
        encoder_segments_BxS, segments_BxT = attention.batch_segments(batch)
        encoded_BxSxD = self._encode(
            batch["encoder_input_tokens"],
            encoder_segments_BxS,
            batch.get("encoder_positions"),
            fold(dropout_key, 0),
        )
        return self._decode(
            encoded_BxSxD,
            encoder_segments_BxS,
            batch["decoder_input_tokens"],
            segments_BxT,
            batch.get("decoder_positions"),
            fold(dropout_key, 1),
        )

    def _encode(
        self,
        tokens_BxS: jax.Array,
        segments_BxS: jax.Array,
        positions_BxS: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        everywhere = jnp.ones_like(tokens_BxS)
        x_BxSxD, _ = self.encoder.forward(
            tokens_BxS, segments_BxS, positions_BxS, everywhere, dropout_key=fold(key, 0)
        )
        return dropout(x_BxSxD, self.config.encoder.dropout_rate, fold(key, 1))

    def _decode(
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

        def call(layer: CrossLayer, x: jax.Array, see: Any, _: Any, **options: Any) -> Any:
            cross_kv = layer.cross_attention.keys_values(encoded_BxSxD)
            return layer(x, see, Seen(cross_kv, cross_mask), **options)

        x_BxTxD, _ = self.decoder.run(
            self.decoder.embedded(tokens_BxT),
            positions_BxT,
            self.decoder.masks(seen, place_T, place_T),
            lambda kv, mask, _: (Seen(kv, mask),),
            dropout_key=fold(key, 0),
            call=call,
        )
        return dropout(x_BxTxD, self.config.dropout_rate, fold(key, 1))

    def prompt_states(self, prompts: Sequences) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        return self._encode(prompts.tokens_BxS, prompts.real_BxS.astype(jnp.int32))

    def score_answers(
        self, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
    ) -> jax.Array:
        """Returns the log-probabilities [B, T] of answers; see `families.FamilyModule`."""
        start_Bx1 = jnp.full_like(answers.tokens_BxS[:, :1], framing.start_id)
        tokens_BxT = jnp.concatenate([start_Bx1, answers.tokens_BxS[:, :-1]], axis=1)
        hidden_BxTxD = self._decode(
            self.prompt_states(prompts)[prompt_B],
            prompts.real_BxS[prompt_B].astype(jnp.int32),
            tokens_BxT,
            jnp.ones_like(tokens_BxT),  # padding comes last, and no earlier position sees it
        )
        return decoding.chosen_log_probs(self.output_head()(hidden_BxTxD), answers)

    def decoding_start_tokens(self, prompts: Sequences, framing: Framing) -> jax.Array:
        """Returns the tokens [B] to feed to the first `decode_step`: the start token."""
        return jnp.full(prompts.lengths_B.shape, framing.start_id, jnp.int32)

    def start_decoding(self, prompts: Sequences, *, max_length: int) -> T5GemmaCache:
        """Encodes prompts and makes room for `max_length` decoding steps."""
        encoded_BxSxD = self.prompt_states(prompts)

        def body(layer: CrossLayer, index: jax.Array, carry: None, _: None) -> Any:
            return carry, layer.cross_attention.keys_values(encoded_BxSxD)

        cross_kv = layers.scan_layers(body, self.decoder.layers, None)[1]
        (*outer, _, head_dim), dtype = cross_kv.keys.shape, cross_kv.keys.dtype
        room = jnp.zeros((*outer, max_length, head_dim), dtype)
        return T5GemmaCache(
            step=jnp.zeros((), jnp.int32),
            kv=KeysValues(room, room),
            cross_kv=cross_kv,
            encoder_mask_Bx1x1xS=prompts.real_BxS[:, None, None],
        )

    def decode_step(
        self, cache: T5GemmaCache, tokens_B: jax.Array
    ) -> tuple[jax.Array, T5GemmaCache]:
        """Feeds one token a row; returns float32 logits_BxV of the next, and the new cache.

        At most `max_length` steps fit a cache; a further one overwrites its last entry.
        """
        rows, count = tokens_B.shape[0], cache.encoder_mask_Bx1x1xS.shape[0]
        cross_mask = jnp.repeat(cache.encoder_mask_Bx1x1xS, rows // count, axis=0)
        place_M = jnp.arange(cache.kv.keys.shape[3])
        seen = (place_M <= cache.step)[None, None, None]

        def call(layer: CrossLayer, x: jax.Array, see: Any, inputs: Any, **options: Any) -> Any:
            return layer(x, see, Seen(inputs[1], cross_mask), **options)

        hidden_Bx1xD, new_kv = self.decoder.run(
            self.decoder.embedded(tokens_B[:, None]),
            cache.step[None, None],
            self.decoder.masks(seen, cache.step[None], place_M),
            lambda kv, mask, inputs: (Seen(inputs[0].insert(kv, cache.step), mask),),
            (cache.kv, cache.cross_kv),
            keep_kv=True,
            call=call,
        )
        kv = cache.kv.insert(new_kv, cache.step, axis=3)
        logits_BxV = self.output_head()(hidden_Bx1xD)[:, 0]
        return logits_BxV, cache._replace(step=cache.step + 1, kv=kv)

    def gather_beams(self, cache: T5GemmaCache, beams_BxN: jax.Array) -> T5GemmaCache:
        """Rearranges the rows of each example; see `DecodingModel.gather_beams`."""
        return cache._replace(
            kv=KeysValues(*(decoding.gather_beams(x, beams_BxN, axis=1) for x in cache.kv))
        )
