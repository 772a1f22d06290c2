"""Decoding and scoring as encoder-decoders do both, whatever their layers are.

A model takes part by being an `EncoderDecoderModel`. (T5, whose relative positions are those of
rows, has its own.)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models import attention, decoding, layers
from flan_jax.models.attention import KeysValues
from flan_jax.models.framing import Framing, Sequences
from flan_jax.models.layers import fold


class Cache(NamedTuple):
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


class EncoderDecoderModel(nnx.Module):
    """What such models share; see `families.FamilyModule` for the methods."""

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""
        raise NotImplementedError

    def hidden_states(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what the output head reads, [B, T, D] in the compute dtype."""
        encoder_segments_BxS, segments_BxT = attention.batch_segments(batch)
        encoded_BxSxD = self.encoded(
            batch["encoder_input_tokens"],
            encoder_segments_BxS,
            batch.get("encoder_positions"),
            fold(dropout_key, 0),
        )
        return self.decoded(
            encoded_BxSxD,
            encoder_segments_BxS,
            batch["decoder_input_tokens"],
            segments_BxT,
            batch.get("decoder_positions"),
            fold(dropout_key, 1),
        )

    def encoded(
        self,
        tokens_BxS: jax.Array,
        segments_BxS: jax.Array,
        positions_BxS: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        raise NotImplementedError

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
        raise NotImplementedError

    def cross_layers(self) -> nnx.Module:
        """Returns the decoder's stacked layers, which have a `cross_attention`."""
        raise NotImplementedError

    def step(self, cache: Cache, tokens_B: jax.Array) -> tuple[jax.Array, KeysValues]:
        """Runs one position: hidden states [B, 1, D], its keys and values [L, B, G, 1, K]."""
        raise NotImplementedError

    def prompt_states(self, prompts: Sequences) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        return self.encoded(prompts.tokens_BxS, prompts.real_BxS.astype(jnp.int32))

    def answer_states(
        self, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
    ) -> jax.Array:
        """Returns what the head reads at answers, [B, T, D]."""
        start_Bx1 = jnp.full_like(answers.tokens_BxS[:, :1], framing.start_id)
        tokens_BxT = jnp.concatenate([start_Bx1, answers.tokens_BxS[:, :-1]], axis=1)
        return self.decoded(
            self.prompt_states(prompts)[prompt_B],
            prompts.real_BxS[prompt_B].astype(jnp.int32),
            tokens_BxT,
            jnp.ones_like(tokens_BxT),  # padding comes last, and no earlier position sees it
        )

    def decoding_start_tokens(self, prompts: Sequences, framing: Framing) -> jax.Array:
        """Returns the tokens [B] to feed to the first `decode_step`: the start token."""
        return jnp.full(prompts.lengths_B.shape, framing.start_id, jnp.int32)

    def start_decoding(self, prompts: Sequences, *, max_length: int) -> Cache:
        """Encodes prompts and makes room for `max_length` decoding steps."""
        encoded_BxSxD = self.prompt_states(prompts)

        def body(layer: Any, index: jax.Array, carry: None, _: None) -> Any:
            return carry, layer.cross_attention.keys_values(encoded_BxSxD)

        cross_kv = layers.scan_layers(body, self.cross_layers(), None)[1]
        (*outer, _, head_dim), dtype = cross_kv.keys.shape, cross_kv.keys.dtype
        room = jnp.zeros((*outer, max_length, head_dim), dtype)
        return Cache(
            step=jnp.zeros((), jnp.int32),
            kv=KeysValues(room, room),
            cross_kv=cross_kv,
            encoder_mask_Bx1x1xS=prompts.real_BxS[:, None, None],
        )

    def cross_mask(self, cache: Cache, rows: int) -> jax.Array:
        """Returns the mask of the encoder's output for so many rows, beams being rows."""
        mask = cache.encoder_mask_Bx1x1xS
        return jnp.repeat(mask, rows // mask.shape[0], axis=0)

    def decode_step(self, cache: Cache, tokens_B: jax.Array) -> tuple[jax.Array, Cache]:
        """Feeds one token a row; returns float32 logits_BxV of the next, and the new cache.

        At most `max_length` steps fit a cache; a further one overwrites its last entry.
        """
        hidden_Bx1xD, new_kv = self.step(cache, tokens_B)
        # The layers only read the cache; all new entries are written in one go afterwards, which
        # XLA does in place inside a loop instead of copying the cache every step.
        kv = cache.kv.insert(new_kv, cache.step, axis=3)
        logits_BxV = self.output_head()(hidden_Bx1xD)[:, 0]
        return logits_BxV, cache._replace(step=cache.step + 1, kv=kv)

    def gather_beams(self, cache: Cache, beams_BxN: jax.Array) -> Cache:
        """Rearranges the rows of each example; see `DecodingModel.gather_beams`."""
        return cache._replace(
            kv=KeysValues(*(decoding.gather_beams(x, beams_BxN, axis=1) for x in cache.kv))
        )
