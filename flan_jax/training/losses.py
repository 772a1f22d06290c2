"""Cross-entropy with z-loss, and what is reported of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class LossSums(NamedTuple):
    """Sums over the target tokens of a batch; float32 scalars.

    Attributes:
        loss: cross-entropy plus z-loss.
        z_loss: the part of `loss` that is z-loss.
        correct: number of tokens predicted right.
        tokens: number of target tokens.
    """

    loss: jax.Array
    z_loss: jax.Array
    correct: jax.Array
    tokens: jax.Array


def cross_entropy(
    logits_BxTxV: jax.Array, targets_BxT: jax.Array, weights_BxT: jax.Array, z_loss: float = 0.0
) -> LossSums:
    """Returns summed cross-entropy in nats.

    The z-loss `z_loss * log(Z)**2` keeps the softmax's normaliser near 1 (Chowdhery et al. 2022,
    section 5; T5X uses 1e-4).

    Args:
        logits_BxTxV: float32 scores.
        targets_BxT: int32 target tokens.
        weights_BxT: 1 where a target counts, else 0.
        z_loss: coefficient.
    """
    weights = weights_BxT.astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    chosen = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
    z_term = z_loss * jnp.square(log_z)
    correct = jnp.argmax(logits_BxTxV, axis=-1) == targets_BxT
    return LossSums(
        loss=jnp.sum((log_z - chosen + z_term) * weights),
        z_loss=jnp.sum(z_term * weights),
        correct=jnp.sum(correct * weights),
        tokens=jnp.sum(weights),
    )
