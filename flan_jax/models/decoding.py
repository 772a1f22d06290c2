"""Token by token decoding with a cache, for any model family and any way to choose a token.

A family takes part by having the three methods of `DecodingModel`; a sampler by being a function
from logits to tokens (see `decode`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


class DecodingModel(Protocol):
    """What decoding asks of a model. A cache is any tree of arrays whose shapes stay the same."""

    def decoding_start_tokens(self, inputs_BxS: jax.Array) -> jax.Array:
        """Returns the tokens [B] fed first: a start symbol, or the last token of each prompt."""

    def start_decoding(self, inputs_BxS: jax.Array, *, max_length: int) -> Any:
        """Reads the inputs and returns a cache with room for `max_length` steps."""

    def decode_step(self, cache: Any, tokens_B: jax.Array) -> tuple[jax.Array, Any]:
        """Feeds one token a row; returns logits_BxV of the next and the new cache."""


class _State(NamedTuple):
    step: jax.Array
    last_B: jax.Array
    done_B: jax.Array
    tokens_BxL: jax.Array
    cache: Any


def decode(
    model: DecodingModel,
    encoder_input_tokens_BxS: jax.Array,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    max_length: int,
    eos_id: int = 1,
    pad_id: int = 0,
) -> jax.Array:
    """Decodes until every row has produced EOS, at most `max_length` tokens.

    Args:
        model: Any `DecodingModel`.
        encoder_input_tokens_BxS: Inputs, padded with `pad_id`. A row of padding alone is filler:
            it counts as ended from the start and comes back as padding.
        choose: `choose(logits_BxV, step) -> tokens_B`, step an int32 scalar to fold into a key.
        max_length: Most tokens to produce, EOS included.
        eos_id: Token that ends a row.
        pad_id: Token that follows EOS.

    Returns:
        int32 tokens [B, max_length], the start token left out, EOS kept.
    """
    last_B = model.decoding_start_tokens(encoder_input_tokens_BxS)
    state = _State(
        step=jnp.zeros((), jnp.int32),
        last_B=last_B.astype(jnp.int32),
        done_B=jnp.all(encoder_input_tokens_BxS == pad_id, axis=1),
        tokens_BxL=jnp.full((last_B.shape[0], max_length), pad_id, jnp.int32),
        cache=model.start_decoding(encoder_input_tokens_BxS, max_length=max_length),
    )

    def unfinished(state: _State) -> jax.Array:
        return (state.step < max_length) & ~jnp.all(state.done_B)

    def advance(state: _State) -> _State:
        logits_BxV, cache = model.decode_step(state.cache, state.last_B)
        chosen_B = choose(logits_BxV, state.step).astype(jnp.int32)
        chosen_B = jnp.where(state.done_B, pad_id, chosen_B)
        tokens_BxL = jax.lax.dynamic_update_slice_in_dim(
            state.tokens_BxL, chosen_B[:, None], state.step, axis=1
        )
        done_B = state.done_B | (chosen_B == eos_id)
        return _State(state.step + 1, chosen_B, done_B, tokens_BxL, cache)

    return jax.lax.while_loop(unfinished, advance, state).tokens_BxL


def greedy_decode(
    model: DecodingModel,
    encoder_input_tokens_BxS: jax.Array,
    *,
    max_length: int,
    eos_id: int = 1,
    pad_id: int = 0,
) -> jax.Array:
    """Decodes with the most probable token at every step; see `decode`.

    Called plainly it compiles anew each time; in a loop over batches wrap it once:
    `jax.jit(greedy_decode, static_argnames=("max_length", "eos_id", "pad_id"))`.

    Returns:
        int32 tokens [B, max_length], padding after EOS.
    """
    return decode(
        model,
        encoder_input_tokens_BxS,
        lambda logits_BxV, step: jnp.argmax(logits_BxV, axis=-1),
        max_length=max_length,
        eos_id=eos_id,
        pad_id=pad_id,
    )
