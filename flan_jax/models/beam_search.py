"""Beam search with a cache, for any model family.

It finds what transformers' `generate(num_beams=n, do_sample=False, early_stopping=False)` finds on
the same weights and with the same length penalty; tests compare them sequence for sequence.

Shape suffixes beside those of `flan_jax.models.layers`: N beams of an example, C = 2 N candidates
for its next beams, L tokens at most, R = B * N rows that the model sees.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.models.decoding import DecodingModel
from flan_jax.models.framing import Framing, Sequences


class _Hypotheses(NamedTuple):
    """Token sequences, best first; -inf stands for one that is not there."""

    scores_BxN: jax.Array
    tokens_BxNxL: jax.Array

    def best(self, count: int) -> tuple["_Hypotheses", jax.Array]:
        """Returns the `count` best of each example, and which they were, [B, count]."""
        scores, chosen = jax.lax.top_k(self.scores_BxN, count)
        return _Hypotheses(scores, _take(self.tokens_BxNxL, chosen)), chosen


class _State(NamedTuple):
    step: jax.Array
    running: _Hypotheses  # scores are sums of log probabilities
    ended: _Hypotheses  # scores are divided by the length penalty
    last_BxN: jax.Array
    open_B: jax.Array  # whether an example can still improve
    cache: Any


def _take(x_BxN: jax.Array, chosen_BxM: jax.Array) -> jax.Array:
    """Selects along the second axis of x [B, N, ...]."""
    indices = chosen_BxM.reshape(*chosen_BxM.shape, *[1] * (x_BxN.ndim - 2))
    return jnp.take_along_axis(x_BxN, indices, axis=1, mode="promise_in_bounds")


def _candidates(
    running: _Hypotheses, logits_RxV: jax.Array, step: jax.Array, ends: int
) -> tuple[_Hypotheses, jax.Array, jax.Array]:
    """Continues running hypotheses by every token and keeps the best.

    So many more than there are beams that enough go on, however many end with one of `ends` tokens.

    Returns:
        C candidates, and the beam and the token [B, C] that each came from.
    """
    batch_size, num_beams = running.scores_BxN.shape
    log_probs_RxV = jax.nn.log_softmax(logits_RxV.astype(jnp.float32), axis=-1)
    log_probs_BxNxV = log_probs_RxV.reshape(batch_size, num_beams, -1)
    sums_BxNxV = running.scores_BxN[..., None] + log_probs_BxNxV
    vocab_size = sums_BxNxV.shape[-1]
    scores_BxC, flat_BxC = jax.lax.top_k(sums_BxNxV.reshape(batch_size, -1), (1 + ends) * num_beams)
    beams_BxC, new_BxC = jnp.divmod(flat_BxC, vocab_size)
    tokens_BxCxL = jax.lax.dynamic_update_slice_in_dim(
        _take(running.tokens_BxNxL, beams_BxC), new_BxC[..., None], step, axis=2
    )
    return _Hypotheses(scores_BxC, tokens_BxCxL), beams_BxC, new_BxC


def _with_ended(
    ended: _Hypotheses, candidates: _Hypotheses, ends_BxC: jax.Array, divisor: jax.Array
) -> _Hypotheses:
    """Returns the best of what had ended before and of the candidates that end now.

    A candidate that ends counts only among the best N: below them, N more probable ones go on.
    """
    num_beams = ended.scores_BxN.shape[1]
    counted_BxC = ends_BxC & (np.arange(ends_BxC.shape[1]) < num_beams)
    scores_BxC = jnp.where(counted_BxC, candidates.scores_BxN / divisor, -jnp.inf)
    pairs = (ended, _Hypotheses(scores_BxC, candidates.tokens_BxNxL))
    merged = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *pairs)
    return merged.best(num_beams)[0]


def _start(
    model: DecodingModel, prompts: Sequences, num_beams: int, max_length: int, framing: Framing
) -> _State:
    start_B = model.decoding_start_tokens(prompts, framing).astype(jnp.int32)
    last_BxN = jnp.repeat(start_B[:, None], num_beams, axis=1)
    tokens_BxNxL = jnp.full((*last_BxN.shape, max_length), framing.pad_id, jnp.int32)
    nothing_BxN = jnp.full(last_BxN.shape, -jnp.inf, jnp.float32)
    cache = model.start_decoding(prompts, max_length=max_length)
    return _State(
        step=jnp.zeros((), jnp.int32),
        # All beams begin alike: were more than one of them to count, they would stay alike.
        running=_Hypotheses(nothing_BxN.at[:, 0].set(0.0), tokens_BxNxL),
        ended=_Hypotheses(nothing_BxN, tokens_BxNxL),
        last_BxN=last_BxN,
        open_B=prompts.lengths_B > 0,
        cache=model.gather_beams(cache, jnp.zeros_like(last_BxN)),
    )


def beam_search(
    model: DecodingModel,
    prompts: Sequences,
    *,
    framing: Framing,
    num_beams: int,
    max_length: int,
    length_penalty: float | jax.Array = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Searches for the most probable answers.

    An example is done when it has `num_beams` ended hypotheses and its best running one, were it
    to end now, would rank below all of them. At `max_length` running hypotheses count as ended.

    Args:
        model: Any `DecodingModel`.
        prompts: What `layouts.Layout.prompts` makes. A row of length 0 is filler: it is done from
            the start and comes back as padding.
        framing: Names the tokens that begin and end an answer, and the one that follows EOS.
        num_beams: Hypotheses followed for each example; 1 finds what greedy decoding finds.
        max_length: Most tokens to produce, EOS included.
        length_penalty: Ended hypotheses rank by the sum of their log probabilities, divided by
            their number of tokens (EOS included) to this power. A number, or a scalar array, with
            which one compilation serves several penalties.

    Returns:
        int32 tokens [B, N, max_length], best first, the start token left out, EOS kept; and their
        float32 scores [B, N] after the length penalty, -inf for filler.
    """
    # On the host where the penalty is a number: powers differ in the last bit between backends.
    divisors_L = jnp.asarray(np.arange(1.0, max_length + 1) ** length_penalty, jnp.float32)

    def unfinished(state: _State) -> jax.Array:
        return (state.step < max_length) & jnp.any(state.open_B)

    def advance(state: _State) -> _State:
        logits_RxV, cache = model.decode_step(state.cache, state.last_BxN.reshape(-1))
        candidates, beams_BxC, new_BxC = _candidates(
            state.running, logits_RxV, state.step, len(framing.ends)
        )
        ends_BxC = jnp.isin(new_BxC, jnp.asarray(framing.ends)) | (state.step + 1 == max_length)
        divisor = divisors_L[state.step]
        ended = _with_ended(state.ended, candidates, ends_BxC & state.open_B[:, None], divisor)
        going_on = jnp.where(ends_BxC, -jnp.inf, candidates.scores_BxN)
        running, chosen_BxN = candidates._replace(scores_BxN=going_on).best(num_beams)
        improves_B = running.scores_BxN[:, 0] / divisor > ended.scores_BxN[:, -1]
        return _State(
            step=state.step + 1,
            running=running,
            ended=ended,
            last_BxN=_take(new_BxC, chosen_BxN),
            open_B=state.open_B & improves_B,
            cache=model.gather_beams(cache, _take(beams_BxC, chosen_BxN)),
        )

    state = _start(model, prompts, num_beams, max_length, framing)
    ended = jax.lax.while_loop(unfinished, advance, state).ended
    return ended.tokens_BxNxL, ended.scores_BxN
