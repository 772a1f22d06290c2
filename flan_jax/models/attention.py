"""Multi-head attention on explicit masks and biases, with a key-value cache for decoding.

Shape suffixes are those of `flan_jax.models.layers`. A mask is boolean, True where a query may look
at a key, and broadcasts to [B, H, T, S]; so does a bias, which is added to the scores.
"""

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
    """Projected keys and values [B, S, H, K]; stacks of layers put the layer axis in front."""

    keys: jax.Array
    values: jax.Array

    def insert(self, new: "KeysValues", position: jax.Array, *, axis: int = 1) -> "KeysValues":
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
    """Segment ids [B, S]; an unpacked row is one segment, 1 at its tokens and 0 at padding."""
    return (tokens_BxS > 0).astype(jnp.int32) if segment_ids_BxS is None else segment_ids_BxS


def batch_segments(batch: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Segment ids [B, S] and [B, T] of a packed or unpacked encoder-decoder batch.

    Raises:
        ValueError: Only one of the encoder's and decoder's segment ids is in the batch.
    """
    packed = [key for key in ("encoder_segment_ids", "decoder_segment_ids") if key in batch]
    if len(packed) == 1:
        raise ValueError(
            f"The batch has {packed[0]} but not its counterpart: packed batches need "
            "encoder_segment_ids and decoder_segment_ids, unpacked ones neither."
        )
    encoder_segments_BxS = row_segments(
        batch["encoder_input_tokens"], batch.get("encoder_segment_ids")
    )
    if packed:
        return encoder_segments_BxS, batch["decoder_segment_ids"]
    # Token 0 also begins every target, so padding cannot be told from the decoder's inputs. It need
    # not be: padding comes last, and no earlier position sees it.
    return encoder_segments_BxS, jnp.ones_like(batch["decoder_input_tokens"])


def segment_mask(query_segments_BxT: jax.Array, key_segments_BxS: jax.Array) -> jax.Array:
    """True [B, 1, T, S] where query and key are of one segment.

    Padding is segment 0, so it sees padding and is seen by nothing else.
    """
    return (query_segments_BxT[:, :, None] == key_segments_BxS[:, None, :])[:, None]


def causal_mask(length: int) -> jax.Array:
    """True [1, 1, T, T] where the key does not lie after the query."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


def attend(
    q_BxTxHxK: jax.Array,
    kv: KeysValues,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Softmax attention; scores and softmax are float32 whatever the dtype of the inputs.

    Scores are not scaled: T5 folds the scale into the initialisation of the query kernel, and other
    families scale their queries.

    Args:
        q_BxTxHxK: Queries.
        kv: Keys and values [B, S, H, K].
        mask: Boolean, broadcastable to [B, H, T, S]; None lets every query see every key.
        bias: Float, broadcastable to [B, H, T, S].
        dropout_rate: Probability of dropping an attention weight.
        dropout_key: Random key; None drops nothing.

    Returns:
        [B, T, H, K] in the dtype of the queries.
    """
    scores_BxHxTxS = jnp.einsum(
        "bthk,bshk->bhts", q_BxTxHxK, kv.keys, preferred_element_type=jnp.float32
    )
    if bias is not None:
        scores_BxHxTxS += bias
    if mask is not None:
        scores_BxHxTxS = jnp.where(mask, scores_BxHxTxS, _MASKED_SCORE)
    weights_BxHxTxS = jax.nn.softmax(scores_BxHxTxS, axis=-1).astype(q_BxTxHxK.dtype)
    weights_BxHxTxS = layers.dropout(weights_BxHxTxS, dropout_rate, dropout_key)
    return jnp.einsum("bhts,bshk->bthk", weights_BxHxTxS, kv.values)


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
    ):
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
        x = x.reshape(*x.shape[:-1], self.num_heads, self.head_dim)
        return constrain(x, "batch", "length", "heads", "head_dim")

    def keys_values(self, x_BxSxD: jax.Array) -> KeysValues:
        """Projects the attended-to states to keys and values [B, S, H, K]."""
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
        q_BxTxHxK = self._split_heads(self.query(x_BxTxD))
        attended_BxTxHxK = attend(
            q_BxTxHxK,
            kv,
            mask=mask,
            bias=bias,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
        )
        return self.out(attended_BxTxHxK.reshape(*x_BxTxD.shape[:-1], -1))
