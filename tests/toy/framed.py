"""T5's framing with token 0 as padding and 1 as EOS, and prompts of it, for tests of models."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from flan_jax.models.framing import Framing, Sequences

FRAMING = Framing(pad_id=0, eos_id=1, start_id=0)
# EOS is a token that no model says.
ENDLESS = dataclasses.replace(FRAMING, eos_id=-1)


def ending(eos_id, pad_id=0):
    """T5's framing with another EOS or padding."""
    return Framing(pad_id=pad_id, eos_id=eos_id, start_id=0)


def prompts(tokens, pad_id=0):
    """Rows that are padded at their end, as prompts."""
    tokens = np.asarray(tokens)
    real = np.cumsum((tokens != pad_id)[:, ::-1], axis=1)[:, ::-1] > 0
    return Sequences(jnp.asarray(tokens, jnp.int32), jnp.asarray(real.sum(axis=1), jnp.int32))


def segments(tokens, pad_id=0):
    """Segment ids of such rows."""
    return prompts(tokens, pad_id).real_BxS.astype(jnp.int32)
