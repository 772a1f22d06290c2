"""The training objective: cross-entropy with z-loss and label smoothing, and what is reported."""

import dataclasses
from typing import Any, NamedTuple

import gin
import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros


class LossSums(NamedTuple):
    """Sums over the target tokens of a batch; float32 scalars.

    Attributes:
        objective: weighted cross-entropy plus z-loss, in nats; its gradient is followed.
        loss: the same with every target token weighing 1.
        z_loss: the part of `loss` that is z-loss.
        correct: number of tokens predicted right.
        tokens: number of target tokens.
    """

    objective: jax.Array
    loss: jax.Array
    z_loss: jax.Array
    correct: jax.Array
    tokens: jax.Array

    @classmethod
    def zeros(cls) -> "LossSums":
        """Returns the sums over nothing."""
        return cls(*(jnp.zeros((), jnp.float32) for _ in cls._fields))

    def __add__(self, other: "LossSums") -> "LossSums":  # type: ignore[override]
        return LossSums(*(a + b for a, b in zip(self, other, strict=True)))


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Loss:
    """How tokens become one number.

    Attributes:
        z_loss: coefficient of log(Z)**2, which keeps the softmax's normaliser near 1 (Chowdhery
            et al. 2022, section 5; T5X uses 1e-4).
        label_smoothing: probability taken from the target and spread evenly over all other
            tokens (Szegedy et al. 2016, section 7); the entropy of that distribution is
            subtracted, so that a perfect prediction has loss 0.
        normalizing_factor: what the objective is divided by. As T5X defines it: a name that
            LOSS_NORMALIZING_FACTOR may be, a number, or None for the plain sum.
            AVERAGE_PER_SEQUENCE weighs every example alike, whatever its length.
        chunk: target positions whose logits are held at once; None holds all.
    """

    z_loss: float = 1e-4
    label_smoothing: float = 0.0
    normalizing_factor: str | float | None = "NUM_REAL_TARGET_TOKENS"
    chunk: int | None = None

    def __post_init__(self) -> None:
        macros.check(
            Z_LOSS=self.z_loss,
            LABEL_SMOOTHING=self.label_smoothing,
            LOSS_NORMALIZING_FACTOR=self.normalizing_factor,
            LOSS_CHUNK=self.chunk,
        )

    def weights(
        self, counted_BxT: jax.Array, segments_BxT: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the weight of every target token [B, T], and what their sum is divided by.

        Both depend on the whole batch, so they are taken before it is cut into microbatches.

        Args:
            counted_BxT: 1 where a target counts, else 0.
            segments_BxT: which sequence of its row a target belongs to; None: a row is one.
        """
        counted = counted_BxT.astype(jnp.float32)
        factor = self.normalizing_factor
        if factor == "AVERAGE_PER_SEQUENCE":
            lengths_BxT = _sequence_weights(counted, segments_BxT)
            weights = counted / jnp.maximum(lengths_BxT, 1.0)
            return weights, jnp.maximum(jnp.sum(weights), 1.0)
        if factor == "NUM_REAL_TARGET_TOKENS":
            return counted, jnp.maximum(jnp.sum(counted), 1.0)
        if factor == "NUM_TOTAL_TARGET_TOKENS":
            return counted, jnp.float32(counted.size)
        return counted, jnp.float32(1.0 if factor is None else factor)

    def sums(
        self,
        head: nnx.Module,
        hidden_BxTxD: jax.Array,
        targets_BxT: jax.Array,
        counted_BxT: jax.Array,
        weights_BxT: jax.Array,
    ) -> LossSums:
        """Returns the summed loss of hidden states under an output head.

        Args:
            head: maps hidden states [B, T, D] to float32 logits [B, T, V].
            hidden_BxTxD: what the head reads.
            targets_BxT: int32 target tokens.
            counted_BxT: 1 where a target counts, else 0.
            weights_BxT: see `weights`.
        """
        per_token = (targets_BxT, counted_BxT.astype(jnp.float32), weights_BxT)
        if self.chunk is None or self.chunk >= targets_BxT.shape[1]:
            return self._of_logits(head(hidden_BxTxD), *per_token)
        return _chunked(self, head, hidden_BxTxD, per_token)

    def _of_logits(
        self,
        logits_BxTxV: jax.Array,
        targets_BxT: jax.Array,
        counted_BxT: jax.Array,
        weights_BxT: jax.Array,
    ) -> LossSums:
        largest = jax.lax.stop_gradient(jnp.max(logits_BxTxV, axis=-1))
        log_z = largest + jnp.log(jnp.sum(jnp.exp(logits_BxTxV - largest[..., None]), axis=-1))
        chosen = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
        z_term = self.z_loss * jnp.square(log_z)
        loss = log_z - chosen + z_term
        if self.label_smoothing:
            loss += self._smoothing(logits_BxTxV, chosen)
        # Not by argmax, which would read all logits once more; a tie for the largest counts.
        correct = chosen >= largest
        return LossSums(
            objective=jnp.sum(loss * weights_BxT),
            loss=jnp.sum(loss * counted_BxT),
            z_loss=jnp.sum(z_term * counted_BxT),
            correct=jnp.sum(correct * counted_BxT),
            tokens=jnp.sum(counted_BxT),
        )

    def _smoothing(self, logits_BxTxV: jax.Array, chosen_BxT: jax.Array) -> jax.Array:
        """What smoothing adds to the cross-entropy of the target alone."""
        vocab_size = logits_BxTxV.shape[-1]
        low = self.label_smoothing / (vocab_size - 1)
        entropy = -(
            (1 - self.label_smoothing) * jnp.log(1 - self.label_smoothing)
            + self.label_smoothing * jnp.log(low)
        )
        others = jnp.sum(logits_BxTxV, axis=-1) - chosen_BxT
        return self.label_smoothing * chosen_BxT - low * others - entropy


def _sequence_weights(counted_BxT: jax.Array, segments_BxT: jax.Array | None) -> jax.Array:
    """Number of counted tokens in the sequence of each token [B, T]."""
    if segments_BxT is None:
        return jnp.broadcast_to(jnp.sum(counted_BxT, axis=1, keepdims=True), counted_BxT.shape)
    same_BxTxT = segments_BxT[:, :, None] == segments_BxT[:, None, :]
    return jnp.einsum("bts,bs->bt", same_BxTxT.astype(jnp.float32), counted_BxT)


def _chunked(loss: Loss, head: nnx.Module, hidden_BxTxD: jax.Array, per_token: Any) -> LossSums:
    """`Loss.sums` with the logits of only `loss.chunk` positions at a time.

    The gradient of a chunk is taken while its logits are there, in the forward pass: one number
    comes back from the backward pass, which scales it. So logits are neither kept nor computed
    twice, which a rematerialised chunk would do.
    """
    graph, params = nnx.split(head)
    chunks = jax.tree.map(lambda x: _split(x, loss.chunk or 1), (hidden_BxTxD, *per_token))

    def of_chunk(params: Any, hidden: jax.Array, rest: Any) -> tuple[jax.Array, LossSums]:
        sums = loss._of_logits(nnx.merge(graph, params)(hidden), *rest)
        return sums.objective, sums

    @jax.custom_vjp
    def total(params: Any, hidden_chunks: jax.Array, rest: Any) -> LossSums:
        def step(sums: LossSums, chunk: Any) -> tuple[LossSums, None]:
            return sums + of_chunk(params, chunk[0], chunk[1])[1], None

        return jax.lax.scan(step, LossSums.zeros(), (hidden_chunks, rest))[0]

    def forward(*primals: Any) -> tuple[LossSums, Any]:
        params, hidden_chunks, rest = jax.tree.map(lambda x: x.value, primals)
        leaves, tree = jax.tree.flatten(params)
        # A head that is frozen has no gradient; that of an embedding table is as large as it.
        trained = [x.perturbed for x in jax.tree.leaves(primals[0])]

        def of_trained(some: Any, hidden: jax.Array, rest: Any) -> tuple[jax.Array, LossSums]:
            some = iter(some)
            both = [next(some) if one else leaf for one, leaf in zip(trained, leaves, strict=True)]
            return of_chunk(jax.tree.unflatten(tree, both), hidden, rest)

        some = [leaf for one, leaf in zip(trained, leaves, strict=True) if one]
        gradient = jax.grad(of_trained, argnums=(0, 1), has_aux=True)

        def step(carry: Any, chunk: Any) -> tuple[Any, jax.Array]:
            sums, d_some = carry
            (more, d_hidden), chunk_sums = gradient(some, *chunk)
            return (sums + chunk_sums, jax.tree.map(jnp.add, d_some, more)), d_hidden

        start = (LossSums.zeros(), jax.tree.map(jnp.zeros_like, some))
        (sums, d_some), d_hidden = jax.lax.scan(step, start, (hidden_chunks, rest))
        found = iter(d_some)
        return sums, (
            jax.tree.unflatten(tree, [next(found) if one else None for one in trained]),
            d_hidden,
        )

    def backward(gradients: Any, cotangent: LossSums) -> Any:
        # Of its sums the objective alone is differentiated.
        scaled = jax.tree.map(lambda g: (g * cotangent.objective).astype(g.dtype), gradients)
        return *scaled, None

    total.defvjp(forward, backward, symbolic_zeros=True)
    return total(params, chunks[0], chunks[1:])


def _split(x: jax.Array, chunk: int) -> jax.Array:
    """Cuts [B, T, ...] into [ceil(T / chunk), B, chunk, ...], padded with zeros."""
    rows, length, *rest = x.shape
    count = -(-length // chunk)
    x = jnp.pad(x, [(0, 0), (0, count * chunk - length), *[(0, 0)] * len(rest)])
    return jnp.moveaxis(x.reshape(rows, count, chunk, *rest), 1, 0)
