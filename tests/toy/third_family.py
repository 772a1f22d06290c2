"""A family of somebody's own, in one file: a decoder-only toy with BOS, padded by any token.

A position's state is the mean over all positions of its example up to it, through one layer.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx

from flan_jax.models import attention, decoding, families, layers
from flan_jax.models.framing import Framing
from flan_jax.models.layouts import OneSequence


@families.register
@dataclasses.dataclass(frozen=True)
class ToyConfig:
    vocab_size: int
    emb_dim: int = 16
    dropout_rate: float = 0.0
    numerics: ClassVar[tuple[str, ...]] = ()
    row_layout: ClassVar[type] = OneSequence
    prompt_parameters: ClassVar[str] = ".*"

    def build(self, rngs):
        return Toy(self, rngs)

    def framing(self, special):
        return Framing(special.pad_id, special.eos_id, bos_id=special.bos_id, prompt_eos=False)

    def forward_flops(self, inputs_length, targets_length):
        return 2.0 * (inputs_length + targets_length) * self.emb_dim * self.vocab_size


class Toy(nnx.Module):
    def __init__(self, config, rngs):
        kinds = dict(dtype=jnp.float32, param_dtype=jnp.float32, rngs=rngs)
        self.embed = layers.Embed(config.vocab_size, config.emb_dim, **kinds)
        self.mix = layers.Linear(config.emb_dim, config.emb_dim, axes=("embed", "mlp"), **kinds)

    def output_head(self):
        return layers.TiedHead(self.embed, 1.0)

    def _state(self, sums, counts):
        return jnp.tanh(self.mix(sums / jnp.maximum(counts, 1)[..., None]))

    def hidden_states(self, batch, *, dropout_key=None):
        segments = batch["decoder_segment_ids"]
        seen = attention.segment_mask(segments, segments)[:, 0]
        seen = (seen & attention.causal_mask(segments.shape[1])[0]).astype(jnp.float32)
        return self._state(seen @ self.embed(batch["decoder_input_tokens"]), seen.sum(axis=2))

    def prompt_states(self, prompts):
        segments = prompts.real_BxS.astype(jnp.int32)
        batch = {"decoder_input_tokens": prompts.tokens_BxS, "decoder_segment_ids": segments}
        return self.hidden_states(batch)

    def _sums(self, prompts):
        return jnp.sum(self.embed(prompts.tokens_BxS) * prompts.real_BxS[..., None], axis=1)

    def answer_states(self, prompts, prompt_B, answers, framing):
        answered = jnp.cumsum(self.embed(answers.tokens_BxS[:, :-1]), axis=1)
        sums = jnp.pad(answered, ((0, 0), (1, 0), (0, 0))) + self._sums(prompts)[prompt_B][:, None]
        counts = prompts.lengths_B[prompt_B][:, None] + jnp.arange(answers.tokens_BxS.shape[1])
        return self._state(sums, counts)

    def decoding_start_tokens(self, prompts, framing):
        last_Bx1 = jnp.maximum(prompts.lengths_B - 1, 0)[:, None]
        return jnp.take_along_axis(prompts.tokens_BxS, last_Bx1, axis=1)[:, 0]

    def start_decoding(self, prompts, *, max_length):
        before = prompts._replace(lengths_B=jnp.maximum(prompts.lengths_B - 1, 0))
        return self._sums(before), before.lengths_B

    def decode_step(self, cache, tokens_B):
        sums, counts = cache[0] + self.embed(tokens_B), cache[1] + 1
        return self.output_head()(self._state(sums, counts)), (sums, counts)

    def gather_beams(self, cache, beams_BxN):
        return tuple(decoding.gather_beams(x, beams_BxN) for x in cache)
