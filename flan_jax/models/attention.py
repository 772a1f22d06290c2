"""Multi-head attention on explicit masks and biases, with a key-value cache for decoding.

Shape suffixes are those of `flan_jax.models.layers`. A mask is boolean, True where a query may look
at a key, and broadcasts to [B, H, T, S]; so does a bias, which is added to the scores. Heads come
before positions, so that products are batches of plain matrices, which XLA's CPU backend computes
up to twice as fast as with heads inside.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models import layers
from flan_jax.models.sharding import constrain

# Finite, so that a query with nothing to look at (padding) averages everything instead of giving
# NaN, yet so low that the softmax weight of a masked key is exactly zero beside any other key.
_MASKED_SCORE = -1e9


class KeysValues(NamedTuple):
    """Projected keys and values [B, H, S, K]; stacks of layers put the layer axis in front."""

    keys: jax.Array
    values: jax.Array

    def insert(self, new: "KeysValues", position: jax.Array, *, axis: int = 2) -> "KeysValues":
        """Overwrites the entries from `position` on along the position axis `axis`.

        The caller keeps `position` inside the cache: like every dynamic slice under jit, a position
        beyond the end is moved back silently.
        """
        update = jax.lax.dynamic_update_slice_in_dim
        return KeysValues(
            update(self.keys, new.keys, position, axis),
            update(self.values, new.values, position, axis),
        )


def row_segments(tokens_BxS: jax.Array, segment_ids_BxS: jax.Array | None) -> jax.Array:
    """Segment ids [B, S]; where there are none, a row is one segment without padding."""
    return jnp.ones_like(tokens_BxS) if segment_ids_BxS is None else segment_ids_BxS


def batch_segments(batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Segment ids [B, S] and [B, T] of an encoder-decoder batch, see `row_segments`.

    Raises:
        ValueError: Only one of the encoder's and decoder's segment ids is in the batch.
    """
    given = [key for key in ("encoder_segment_ids", "decoder_segment_ids") if key in batch]
    if len(given) == 1:
        raise ValueError(
            f"The batch has {given[0]} but not its counterpart: rows that are packed or padded "
            "need encoder_segment_ids and decoder_segment_ids, others neither."
        )
    return (
        row_segments(batch["encoder_input_tokens"], batch.get("encoder_segment_ids")),
        row_segments(batch["decoder_input_tokens"], batch.get("decoder_segment_ids")),
    )


def segment_mask(query_segments_BxT: jax.Array, key_segments_BxS: jax.Array) -> jax.Array:
    """True [B, 1, T, S] where query and key are of one segment.

    Padding is segment 0, so it sees padding and is seen by nothing else.
    """
    return (query_segments_BxT[:, :, None] == key_segments_BxS[:, None, :])[:, None]


def causal_mask(length: int) -> jax.Array:
    """True [1, 1, T, T] where the key does not lie after the query."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


def additive(mask: jax.Array) -> jax.Array:
    """Returns a boolean mask as float32 to add to scores.

    `attend` takes either; where many layers share a mask, it is cheaper made once.
    """
    return jnp.where(mask, 0.0, _MASKED_SCORE).astype(jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _for_all_rows(bias_1xHxTxS: jax.Array, rows: int) -> jax.Array:
    """Repeats a bias for every row of a batch.

    Its gradient sums over rows by a product with ones: XLA's CPU backend takes twenty times as
    long for the plain sum over a leading axis.
    """
    return jnp.broadcast_to(bias_1xHxTxS, (rows, *bias_1xHxTxS.shape[1:]))


def _for_all_rows_forward(bias_1xHxTxS: jax.Array, rows: int) -> tuple[jax.Array, None]:
    return _for_all_rows(bias_1xHxTxS, rows), None


def _for_all_rows_backward(rows: int, _: None, gradient_BxHxTxS: jax.Array) -> tuple[jax.Array]:
    ones_1xB = jnp.ones((1, rows), gradient_BxHxTxS.dtype)
    # Highest: accelerators would round the gradients to bfloat16 first.
    return (jnp.tensordot(ones_1xB, gradient_BxHxTxS, 1, precision="highest"),)


_for_all_rows.defvjp(_for_all_rows_forward, _for_all_rows_backward)


def attend(
    q_BxHxTxK: jax.Array,
    kv: KeysValues,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """Softmax attention; scores and softmax are float32 whatever the dtype of the inputs.

    Scores are not scaled: T5 folds the scale into the initialisation of the query kernel, and other
    families scale their queries.

    Args:
        q_BxHxTxK: Queries.
        kv: Keys and values [B, H, S, K].
        mask: Boolean, or float from `additive`, broadcastable to [B, H, T, S]; None lets every
            query see every key.
        bias: Float, broadcastable to [B, H, T, S].
        dropout_rate: Probability of dropping an attention weight.
        dropout_key: Random key; None drops nothing.
        chunk: Queries whose scores are held at once, where it divides T; None holds all. Scores
            of chunks are computed again in the backward pass.

    Returns:
        [B, H, T, K] in the dtype of the queries.
    """
    if chunk and q_BxHxTxK.shape[2] > chunk and q_BxHxTxK.shape[2] % chunk == 0:
        return _attend_in_chunks(q_BxHxTxK, kv, mask, bias, dropout_rate, dropout_key, chunk)
    float32 = dict(preferred_element_type=jnp.float32)
    scores_BxHxTxS = jnp.matmul(q_BxHxTxK, kv.keys.swapaxes(2, 3), **float32)
    if bias is not None:
        one_for_all = bias.ndim == 4 and bias.shape[0] == 1
        scores_BxHxTxS += _for_all_rows(bias, q_BxHxTxK.shape[0]) if one_for_all else bias
    if mask is not None:
        scores_BxHxTxS += additive(mask) if mask.dtype == bool else mask
    # The softmax is divided by its sum after the product with values: a row of K numbers instead
    # of one of S.
    largest = jax.lax.stop_gradient(jnp.max(scores_BxHxTxS, axis=-1, keepdims=True))
    weights_BxHxTxS = jnp.exp(scores_BxHxTxS - largest)
    sum_BxHxTx1 = jnp.sum(weights_BxHxTxS, axis=-1, keepdims=True)
    weights_BxHxTxS = layers.dropout(weights_BxHxTxS, dropout_rate, dropout_key)
    attended_BxHxTxK = jnp.matmul(weights_BxHxTxS.astype(q_BxHxTxK.dtype), kv.values, **float32)
    return (attended_BxHxTxK / sum_BxHxTx1).astype(q_BxHxTxK.dtype)


def _attend_in_chunks(
    q_BxHxTxK: jax.Array,
    kv: KeysValues,
    mask: jax.Array | None,
    bias: jax.Array | None,
    dropout_rate: float,
    dropout_key: jax.Array | None,
    chunk: int,
) -> jax.Array:
    """`attend` for one chunk of queries after another."""

    def split(x: jax.Array | None) -> jax.Array | None:
        """[.., T, ..] -> [chunks, .., chunk, ..]; what all queries share is repeated."""
        if x is None:
            return None
        count = q_BxHxTxK.shape[2] // chunk
        if x.shape[2] == 1:
            return jnp.broadcast_to(x, (count, *x.shape))
        return jnp.moveaxis(x.reshape(*x.shape[:2], count, chunk, x.shape[3]), 2, 0)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(_: None, inputs: tuple) -> tuple[None, jax.Array]:
        q, mask, bias, index = inputs
        key = layers.fold(dropout_key, index)
        out = attend(q, kv, mask=mask, bias=bias, dropout_rate=dropout_rate, dropout_key=key)
        return None, out

    inputs = (split(q_BxHxTxK), split(mask), split(bias), jnp.arange(q_BxHxTxK.shape[2] // chunk))
    _, attended = jax.lax.scan(one, None, inputs)
    return jnp.moveaxis(attended, 0, 2).reshape(q_BxHxTxK.shape)


class Attention(nnx.Module):
    """Query, key, value and output projections around `attend`.

    The caller projects keys and values with `keys_values` and hands them in, so self attention,
    cross attention and both with a cache are the same call.
    """

    def __init__(
        self,
        emb_dim: int,
        num_heads: int,
        head_dim: int,
        *,
        dropout_rate: float,
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
        query_init: layers.Initializer = layers.fan_in_normal,
        chunk: int | None = None,
    ):
        self.chunk = chunk
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.dropout_rate = dropout_rate
        options = dict(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        inner_dim = num_heads * head_dim
        inwards = dict(axes=("embed", "heads"), **options)
        self.query = layers.Linear(emb_dim, inner_dim, kernel_init=query_init, **inwards)
        self.key = layers.Linear(emb_dim, inner_dim, **inwards)
        self.value = layers.Linear(emb_dim, inner_dim, **inwards)
        self.out = layers.Linear(inner_dim, emb_dim, axes=("heads", "embed"), **options)

    def _split_heads(self, x: jax.Array) -> jax.Array:
        x = x.reshape(*x.shape[:-1], self.num_heads, self.head_dim).swapaxes(1, 2)
        return constrain(x, "batch", "heads", "length", "head_dim")

    def keys_values(self, x_BxSxD: jax.Array) -> KeysValues:
        """Projects the attended-to states to keys and values [B, H, S, K]."""
        return KeysValues(
            self._split_heads(self.key(x_BxSxD)), self._split_heads(self.value(x_BxSxD))
        )

    def __call__(
        self,
        x_BxTxD: jax.Array,
        kv: KeysValues,
        *,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Attends from x_BxTxD to `kv` and returns [B, T, D]; see `attend` for the arguments."""
        attended_BxHxTxK = attend(
            self._split_heads(self.query(x_BxTxD)),
            kv,
            mask=mask,
            bias=bias,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
            chunk=self.chunk,
        )
        return self.out(attended_BxHxTxK.swapaxes(1, 2).reshape(*x_BxTxD.shape[:-1], -1))
