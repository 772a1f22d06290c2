"""Multi-head attention on explicit masks and biases, with a key-value cache for decoding.

Shape suffixes are those of `flan_jax.models.layers`, and G heads of keys and values. A mask is
boolean, True where a query may look at a key, and broadcasts to [B, H, T, S]; so does a bias, which
is added to the scores. Heads come before positions, so that products are batches of plain matrices,
which XLA's CPU backend computes up to twice as fast as with heads inside.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax.models import layers
from flan_jax.models.sharding import constrain

# Finite, so that a query with nothing to look at (padding) averages everything instead of giving
# NaN, yet so low that the softmax weight of a masked key is exactly zero beside any other key.
_MASKED_SCORE = -1e9


class KeysValues(NamedTuple):
    """Projected keys and values [B, G, S, K]; stacks of layers put the layer axis in front."""

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


def window_mask(
    query_positions: jax.Array, key_positions: jax.Array, window: int, ahead: int | None = None
) -> jax.Array:
    """True [..., T, S] where the key is less than `window` positions before or after the query.

    Args:
        query_positions: int32 [..., T].
        key_positions: int32 [..., S].
        window: positions seen on each side, the query's own among them.
        ahead: positions seen after the query's own, where they are not as many as before it.
    """
    before = query_positions[..., :, None] - key_positions[..., None, :]
    return (before < window) & (-before <= (window - 1 if ahead is None else ahead))


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


def _folded(q_BxHxTxK: jax.Array, kv: KeysValues) -> jax.Array:
    """Queries as further queries of the rows and heads whose keys they look at, [R, G, N, K].

    Heads that share keys (Ainslie et al., 2023), and rows that do (beams of one prompt), then read
    them once.
    """
    rows, groups = kv.keys.shape[:2]
    count, heads, length, width = q_BxHxTxK.shape
    if count == rows:
        return q_BxHxTxK.reshape(rows, groups, -1, width)
    q = q_BxHxTxK.reshape(rows, count // rows, groups, heads // groups * length, width)
    return q.swapaxes(1, 2).reshape(rows, groups, -1, width)


def _unfolded(x_RxGxNxS: jax.Array, count: int, heads: int) -> jax.Array:
    """Undoes `_folded` for `count` rows: [B, H, T, S]."""
    rows, groups, _, width = x_RxGxNxS.shape
    if count != rows:
        shape = (rows, groups, count // rows, -1, width)
        x_RxGxNxS = x_RxGxNxS.reshape(shape).swapaxes(1, 2)
    return x_RxGxNxS.reshape(count, heads, -1, width)


class Seen(NamedTuple):
    """Keys and values that queries look at, and how.

    Attributes:
        kv: keys and values [R, G, S, K]; R divides the queries' rows and G their heads: rows and
            heads side by side share them.
        mask: boolean, or float from `additive`, broadcastable to [B, H, T, S]; None lets every
            query see every key.
        bias: float, broadcastable to [B, H, T, S].
    """

    kv: KeysValues
    mask: jax.Array | None = None
    bias: jax.Array | None = None


def _scores(q_BxHxTxK: jax.Array, seen: Seen, softcap: float | None) -> jax.Array:
    """Float32 scores [B, H, T, S], what is masked very low."""
    kv, mask, bias = seen
    rows, heads = q_BxHxTxK.shape[:2]
    product_RxGxNxS = jnp.matmul(
        _folded(q_BxHxTxK, kv), kv.keys.swapaxes(2, 3), preferred_element_type=jnp.float32
    )
    scores_BxHxTxS = layers.soft_cap(_unfolded(product_RxGxNxS, rows, heads), softcap)
    if bias is not None:
        one_for_all = bias.ndim == 4 and bias.shape[0] == 1
        scores_BxHxTxS += _for_all_rows(bias, rows) if one_for_all else bias
    if mask is not None:
        scores_BxHxTxS += additive(mask) if mask.dtype == bool else mask
    return scores_BxHxTxS


def attend(
    q_BxHxTxK: jax.Array,
    *seen: Seen,
    softcap: float | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    chunk: int | None = None,
) -> jax.Array:
    """Softmax attention; scores and softmax are float32 whatever the dtype of the inputs.

    Scores are not scaled: T5 folds the scale into the initialisation of the query kernel, and other
    families scale their queries.

    Args:
        q_BxHxTxK: Queries.
        *seen: What they look at, all under one softmax: such as a prompt and what follows it.
        softcap: Bounds scores, see `layers.soft_cap`.
        dropout_rate: Probability of dropping an attention weight.
        dropout_key: Random key; None drops nothing.
        chunk: Queries whose scores are held at once, where it divides T; None holds all. Scores
            of chunks are computed again in the backward pass.

    Returns:
        [B, H, T, K] in the dtype of the queries.
    """
    rows, heads, length = q_BxHxTxK.shape[:3]
    options = dict(softcap=softcap, dropout_rate=dropout_rate)
    if chunk and length > chunk and length % chunk == 0:
        return _attend_in_chunks(q_BxHxTxK, seen, chunk, dropout_key, options)
    scores = [_scores(q_BxHxTxK, one, softcap) for one in seen]
    # The softmax is divided by its sum after the product with values: a row of K numbers instead
    # of one of S.
    largest = functools.reduce(jnp.maximum, [jnp.max(s, axis=-1, keepdims=True) for s in scores])
    largest = jax.lax.stop_gradient(largest)
    weights = [jnp.exp(part_BxHxTxS - largest) for part_BxHxTxS in scores]
    sum_BxHxTx1 = sum(jnp.sum(part, axis=-1, keepdims=True) for part in weights)
    attended: Any = 0
    for number, (one, part) in enumerate(zip(seen, weights, strict=True)):
        key = dropout_key if len(seen) == 1 else layers.fold(dropout_key, number)
        part = layers.dropout(part, dropout_rate, key).astype(q_BxHxTxK.dtype)
        product_RxGxNxK = jnp.matmul(
            _folded(part, one.kv), one.kv.values, preferred_element_type=jnp.float32
        )
        attended += _unfolded(product_RxGxNxK, rows, heads)
    return (attended / sum_BxHxTx1).astype(q_BxHxTxK.dtype)


def _attend_in_chunks(
    q_BxHxTxK: jax.Array,
    seen: Sequence[Seen],
    chunk: int,
    dropout_key: jax.Array | None,
    options: Mapping[str, Any],
) -> jax.Array:
    """`attend` for one chunk of queries after another."""
    count = q_BxHxTxK.shape[2] // chunk

    def split(x: jax.Array | None) -> jax.Array | None:
        """[.., T, ..] -> [chunks, .., chunk, ..]; what all queries share is repeated."""
        if x is None:
            return None
        if x.shape[2] == 1:
            return jnp.broadcast_to(x, (count, *x.shape))
        return jnp.moveaxis(x.reshape(*x.shape[:2], count, chunk, x.shape[3]), 2, 0)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(_: None, inputs: tuple) -> tuple[None, jax.Array]:
        q, how, index = inputs
        here = [Seen(part.kv, *pair) for part, pair in zip(seen, how, strict=True)]
        return None, attend(q, *here, dropout_key=layers.fold(dropout_key, index), **options)

    how = [(split(part.mask), split(part.bias)) for part in seen]
    _, attended = jax.lax.scan(one, None, (split(q_BxHxTxK), how, jnp.arange(count)))
    return jnp.moveaxis(attended, 0, 2).reshape(q_BxHxTxK.shape)


class Rotation(NamedTuple):
    """Rotary positions (Su et al., 2021): cosines and sines, broadcastable to [B, 1, T, K / 2]."""

    cos: jax.Array
    sin: jax.Array

    def __call__(self, x_BxHxTxK: jax.Array) -> jax.Array:
        """Rotates the pairs (i, i + K / 2) of queries or keys, in float32."""
        low, high = jnp.split(x_BxHxTxK.astype(jnp.float32), 2, axis=-1)
        turned = (low * self.cos - high * self.sin, high * self.cos + low * self.sin)
        return jnp.concatenate(turned, axis=-1).astype(x_BxHxTxK.dtype)


def rotation(positions_BxT: jax.Array, frequencies_F: np.ndarray) -> Rotation:
    """Returns the rotation of positions [B, T] (or [1, T]), for frequencies [K / 2] in radians."""
    frequencies = jnp.asarray(frequencies_F, jnp.float32)
    angles_Bx1xTxF = positions_BxT[:, None, :, None].astype(jnp.float32) * frequencies
    return Rotation(jnp.cos(angles_Bx1xTxF), jnp.sin(angles_Bx1xTxF))


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
        num_kv_heads: int | None = None,
        bias: bool = False,
        out_bias: bool = False,
        scale: float = 1.0,
        softcap: float | None = None,
        head_norm: Callable[[], nnx.Module] | None = None,
        source_dim: int | None = None,
    ):
        """Args:
        emb_dim: width D of states.
        num_heads: of queries.
        head_dim: width K of a head.
        dropout_rate: of attention weights.
        dtype: of the computation.
        param_dtype: of the parameters.
        rngs: of initial values.
        query_init: of the query kernel.
        chunk: see `attend`.
        num_kv_heads: heads of keys and values, each shared by as many query heads; None for one
            a query head.
        bias: of queries, keys and values.
        out_bias: of the output.
        scale: what queries are multiplied by.
        softcap: see `attend`.
        head_norm: makes a norm [..., K] of queries, and one of keys; None for none.
        source_dim: width of the states that keys and values are of; None for emb_dim.
        """
        self.chunk = chunk
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads or num_heads
        self.head_dim = head_dim
        self.dropout_rate = dropout_rate
        self.scale = scale
        self.softcap = softcap
        options = dict(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        inner_dim, kv_dim = num_heads * head_dim, self.num_kv_heads * head_dim
        inwards = dict(axes=("embed", "heads"), bias=bias, **options)
        self.query = layers.Linear(emb_dim, inner_dim, kernel_init=query_init, **inwards)
        self.key = layers.Linear(source_dim or emb_dim, kv_dim, **inwards)
        self.value = layers.Linear(source_dim or emb_dim, kv_dim, **inwards)
        self.out = layers.Linear(
            inner_dim, emb_dim, axes=("heads", "embed"), bias=out_bias, **options
        )
        self.query_norm = head_norm() if head_norm else None
        self.key_norm = head_norm() if head_norm else None

    def _split_heads(self, x: jax.Array, heads: int) -> jax.Array:
        x = x.reshape(*x.shape[:-1], heads, self.head_dim).swapaxes(1, 2)
        return constrain(x, "batch", "heads", "length", "head_dim")

    def queries(self, x_BxTxD: jax.Array, rotation: Rotation | None = None) -> jax.Array:
        """Projects the looking states to queries [B, H, T, K]."""
        q = self._split_heads(self.query(x_BxTxD), self.num_heads)
        q = q if self.query_norm is None else self.query_norm(q)
        q = q if rotation is None else rotation(q)
        return q if self.scale == 1.0 else q * jnp.asarray(self.scale, q.dtype)

    def keys_values(self, x_BxSxD: jax.Array, rotation: Rotation | None = None) -> KeysValues:
        """Projects the attended-to states to keys and values [B, G, S, K]."""
        keys = self._split_heads(self.key(x_BxSxD), self.num_kv_heads)
        keys = keys if self.key_norm is None else self.key_norm(keys)
        keys = keys if rotation is None else rotation(keys)
        return KeysValues(keys, self._split_heads(self.value(x_BxSxD), self.num_kv_heads))

    def look(
        self, q_BxHxTxK: jax.Array, *seen: Seen, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Attends from queries to all that is seen and returns [B, T, D]."""
        attended_BxHxTxK = attend(
            q_BxHxTxK,
            *seen,
            softcap=self.softcap,
            dropout_rate=self.dropout_rate,
            dropout_key=dropout_key,
            chunk=self.chunk,
        )
        rows, _, length, _ = q_BxHxTxK.shape
        return self.out(attended_BxHxTxK.swapaxes(1, 2).reshape(rows, length, -1))

    def __call__(
        self,
        x_BxTxD: jax.Array,
        kv: KeysValues,
        *,
        mask: jax.Array | None = None,
        bias: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
        rotation: Rotation | None = None,
    ) -> jax.Array:
        """Attends from x_BxTxD to `kv` and returns [B, T, D]; see `Seen` for the arguments."""
        q_BxHxTxK = self.queries(x_BxTxD, rotation)
        return self.look(q_BxHxTxK, Seen(kv, mask, bias), dropout_key=dropout_key)
