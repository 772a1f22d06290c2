"""Layers every family is built from, and the two helpers that stack and scan them.

Shape suffixes: B batch, T query or target positions, S key or source positions, D emb_dim, H heads,
K head_dim, M mlp_dim, V vocabulary, L layers. `...` in a docstring shape means any leading axes.

Every parameter is an `nnx.Param` with the metadata key `axes`, one logical axis name per array axis
("embed", "mlp", "heads", "vocab", "buckets", "layers"). Training code maps these names to a mesh.
The key is ours: flax's own sharding metadata demands an active mesh whenever a model is built.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax.errors import ConfigError, quoted
from flan_jax.models.sharding import constrain

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),  # the tanh form T5 1.1 was trained with
    "gelu_exact": lambda x: jax.nn.gelu(x, approximate=False),  # that of BART
    "silu": jax.nn.silu,
    "linear": lambda x: x,
}


def check_activations(names: Sequence[str]) -> None:
    """Refuses activations (MLP_ACTIVATIONS) that there are not.

    Raises:
        ConfigError: names those that there are.
    """
    if not names or any(name not in ACTIVATIONS for name in names):
        raise ConfigError(
            f"MLP_ACTIVATIONS {quoted(names)}: names must be among {', '.join(ACTIVATIONS)}, such "
            "as ('gelu', 'linear')"
        )


# What the forward pass of a layer keeps for the backward pass, from all to nearly nothing.
REMAT: dict[str, Callable[..., Any] | None] = {
    "none": None,
    # Products with parameters; attention scores and all that is elementwise are computed again.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    # Only the input of each layer.
    "full": jax.checkpoint_policies.nothing_saveable,
}

fan_in_normal = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")


def fold(key: jax.Array | None, data: int | jax.Array) -> jax.Array | None:
    """Derives the dropout key of one layer or site; None (no dropout) stays None."""
    return None if key is None else jax.random.fold_in(key, data)


def dropout(
    x: jax.Array, rate: float, key: jax.Array | None, *, shared_axes: Sequence[int] = (-2,)
) -> jax.Array:
    """Zeroes entries with probability `rate` and scales the rest by 1 / (1 - rate).

    Args:
        x: Array of any shape.
        rate: Probability of a zero, in [0, 1).
        key: Random key, or None to return `x` unchanged.
        shared_axes: Axes along which one draw is shared. The original T5 shares draws along the
            length axis (-2), which also draws far fewer random bits.

    Returns:
        Array shaped and typed like `x`.
    """
    if key is None or rate == 0.0:
        return x
    mask_shape = list(x.shape)
    for axis in shared_axes:
        mask_shape[axis] = 1
    keep = jax.random.bernoulli(key, 1.0 - rate, mask_shape)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


class RMSNorm(nnx.Module):
    """Root mean square layer norm: scale only, no mean, no bias (Zhang and Sennrich, 2019).

    With `offset` the parameter is what the scale is more than 1, as Gemma stores it.
    """

    def __init__(
        self,
        dim: int,
        *,
        epsilon: float,
        dtype: Any,
        param_dtype: Any,
        offset: bool = False,
        axis: str = "embed",
    ):
        self.epsilon = epsilon
        self.dtype = dtype
        self.offset = offset
        initial = jnp.zeros if offset else jnp.ones
        self.scale = nnx.Param(initial((dim,), param_dtype), axes=(axis,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the last axis of x [..., D]; statistics are float32 whatever the dtype."""
        x = x.astype(jnp.float32)
        inverse_rms = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        scale = self.scale[...] + 1.0 if self.offset else self.scale[...]
        return (x * inverse_rms * scale).astype(self.dtype)


class LayerNorm(nnx.Module):
    """Layer norm with scale and bias (Ba et al., 2016)."""

    def __init__(self, dim: int, *, epsilon: float, dtype: Any, param_dtype: Any):
        self.epsilon = epsilon
        self.dtype = dtype
        self.scale = nnx.Param(jnp.ones((dim,), param_dtype), axes=("embed",))
        self.bias = nnx.Param(jnp.zeros((dim,), param_dtype), axes=("embed",))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the last axis of x [..., D]; statistics are float32 whatever the dtype."""
        x = x.astype(jnp.float32)
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(variance + self.epsilon)
        return (normed * self.scale[...] + self.bias[...]).astype(self.dtype)


def flat_matmul(x: jax.Array, kernel_DxM: jax.Array, out_dtype: Any) -> jax.Array:
    """Maps x [..., D] to [..., M] in `out_dtype`, as one 2-D product."""
    product = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel_DxM, preferred_element_type=out_dtype)
    return product.reshape(*x.shape[:-1], kernel_DxM.shape[1])


class Linear(nnx.Module):
    """Matrix multiplication, and a bias where there is to be one.

    Kernels are 2-D, also where the output is split into heads, and so is the product: XLA's CPU
    backend runs the backward pass of 2-D products two to three times faster, and accelerators do
    not mind. Rows of a batch come first, so merging axes moves nothing between devices.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        axes: tuple[str, str],
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
        kernel_init: Initializer = fan_in_normal,
        bias: bool = False,
    ):
        self.dtype = dtype
        kernel = kernel_init(rngs.params(), (in_dim, out_dim), param_dtype)
        self.kernel = nnx.Param(kernel, axes=axes)
        self.bias = nnx.Param(jnp.zeros((out_dim,), param_dtype), axes=axes[1:]) if bias else None
        # What `flan_jax.adapters` adds: of an int8 kernel the scale of each output, an adapter, and
        # the key of its dropout.
        self.kernel_scale: Any = nnx.data(None)
        self.lora: Any = nnx.data(None)
        self.lora_key: Any = nnx.data(None)

    def __call__(self, x: jax.Array, *, out_dtype: Any = None) -> jax.Array:
        """Maps x [..., in_dim] to [..., out_dim], accumulated in `out_dtype` (default: dtype)."""
        out_dtype = out_dtype or self.dtype
        y = flat_matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype), out_dtype)
        if self.kernel_scale is not None:
            y = y * self.kernel_scale[...].astype(out_dtype)
        if self.lora is not None:
            key = None if self.lora_key is None else self.lora_key[...]
            y = y + self.lora(x, out_dtype, key)
        return y if self.bias is None else y + self.bias[...].astype(out_dtype)


class Embed(nnx.Module):
    """Token embedding table [V, D] that can double as the output head."""

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
        stddev: float = 1.0,
    ):
        self.dtype = dtype
        table = stddev * jax.random.normal(rngs.params(), (vocab_size, dim), param_dtype)
        self.embedding = nnx.Param(table, axes=("vocab", "embed"))
        # What `flan_jax.adapters` adds: of an int8 table the scale of each row, and further rows.
        self.embedding_scale: Any = nnx.data(None)
        self.soft_prompt: Any = nnx.data(None)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Looks up tokens [...] and returns [..., D].

        A token beyond the vocabulary gives NaN (`jnp.take` fills, indexing would clamp), so a
        vocabulary that does not fit the model cannot train silently on wrong rows.
        """
        # Where devices hold pieces of rows, the pieces are gathered first: rows looked up by pieces
        # would have to change places with those of other tokens.
        table_VxD = constrain(self.embedding[...], "vocab", "activation_embed")
        # Rows are cast after the lookup: the gradient is then summed over tokens in float32.
        rows = _rows(table_VxD, tokens, self.embedding_scale).astype(self.dtype)
        if self.soft_prompt is None:
            return rows
        size = self.embedding.shape[0]
        # Of what lies in the vocabulary no row is looked up, so none has a gradient.
        beyond = jnp.where(tokens < size, self.soft_prompt.shape[0], tokens - size)
        further = jnp.take(self.soft_prompt[...], beyond, axis=0).astype(self.dtype)
        return jnp.where((tokens < size)[..., None], rows, further)

    def attend(self, x: jax.Array) -> jax.Array:
        """Scores x [..., D] against every row of the table; returns float32 [..., V]."""
        table_VxD = self.embedding[...].astype(self.dtype)
        logits = flat_matmul(x.astype(self.dtype), table_VxD.T, jnp.float32)
        return logits if self.embedding_scale is None else logits * self.embedding_scale[...]


def _rows(table_VxD: jax.Array, tokens: jax.Array, scale_V: nnx.Param | None) -> jax.Array:
    """Looks up tokens [...]; integers have no NaN to fill with, their scales have."""
    rows = jnp.take(table_VxD, tokens, axis=0)
    return rows if scale_V is None else rows * jnp.take(scale_V[...], tokens)[..., None]


def _constrain_logits(logits: jax.Array) -> jax.Array:
    """Pins logits [B, V] or [B, T, V]."""
    return constrain(logits, *("batch", "length")[: logits.ndim - 1], "vocab")


def soft_cap(x: jax.Array, cap: float | None) -> jax.Array:
    """Bounds x smoothly to (-cap, cap) by a scaled tanh (Gemma 2, section 2); None leaves it."""
    return x if cap is None else cap * jnp.tanh(x / cap)


class TiedHead(nnx.Module):
    """Output head that is the embedding table, on hidden states times `scale`."""

    def __init__(self, embed: Embed, scale: float = 1.0, softcap: float | None = None):
        self.embed = embed
        self.scale = scale
        self.softcap = softcap

    def __call__(self, hidden: jax.Array) -> jax.Array:
        """Maps hidden states [B, T, D] to float32 logits [B, T, V]."""
        hidden = hidden if self.scale == 1.0 else hidden * self.scale
        return _constrain_logits(soft_cap(self.embed.attend(hidden), self.softcap))


class OutputHead(nnx.Module):
    """Output head with a kernel of its own."""

    def __init__(self, kernel: Linear, softcap: float | None = None):
        self.kernel = kernel
        self.softcap = softcap

    def __call__(self, hidden: jax.Array) -> jax.Array:
        """Maps hidden states [B, T, D] to float32 logits [B, T, V]."""
        logits = self.kernel(hidden, out_dtype=jnp.float32)
        return _constrain_logits(soft_cap(logits, self.softcap))


class DropoutKey(nnx.Variable):
    """The random key of one adapter's dropout, or of a stack of them."""


def give_dropout_keys(module: nnx.Module, key: jax.Array) -> None:
    """Gives each adapter of a model that drops a key of its own; those of a stack one each."""
    for number, (_, node) in enumerate(nnx.iter_graph(module)):
        if isinstance(node, Linear) and node.lora is not None and node.lora.dropout_rate > 0:
            own = jax.random.fold_in(key, number)
            stack = node.kernel.shape[:-2]
            node.lora_key = DropoutKey(jax.random.split(own, stack) if stack else own)


def relative_position_buckets(num_buckets: int, max_distance: int) -> np.ndarray:
    """Bucket of each distance 0..max_distance (Raffel et al., 2020, section 2.1).

    The first half of the buckets hold one distance each, the second half grow logarithmically.
    Computed once on the host in float64: the logarithm of an exact power must not fall a rounding
    error short of its bucket, which differs between backends' float32 logarithms.

    Args:
        num_buckets: Buckets of one direction.
        max_distance: Distance from which on all share the last bucket.

    Returns:
        int32 [max_distance + 1].
    """
    num_exact = num_buckets // 2
    distance = np.arange(max_distance + 1)
    ratio = np.log(np.maximum(distance, num_exact) / num_exact) / math.log(max_distance / num_exact)
    logarithmic = num_exact + np.floor(ratio * (num_buckets - num_exact) + 1e-9)
    logarithmic = np.minimum(logarithmic, num_buckets - 1)
    return np.where(distance < num_exact, distance, logarithmic).astype(np.int32)


class RelativePositionBias(nnx.Module):
    """T5's learned attention bias: one number per head and bucket of relative position."""

    def __init__(
        self,
        *,
        num_buckets: int,
        max_distance: int,
        num_heads: int,
        bidirectional: bool,
        param_dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        init = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        table = init(rngs.params(), (num_buckets, num_heads), param_dtype)
        self.embedding = nnx.Param(table, axes=("buckets", "heads"))

    def _bucket(self, query_T: jax.Array, key_S: jax.Array) -> jax.Array:
        offset_TxS = key_S[None, :] - query_T[:, None]
        if self.bidirectional:
            num_buckets = self.num_buckets // 2
            distance_TxS = jnp.abs(offset_TxS)
            first_bucket_TxS = jnp.where(offset_TxS > 0, num_buckets, 0)
        else:
            num_buckets = self.num_buckets
            distance_TxS = jnp.maximum(-offset_TxS, 0)
            first_bucket_TxS = 0
        table = jnp.asarray(relative_position_buckets(num_buckets, self.max_distance))
        return first_bucket_TxS + table[jnp.minimum(distance_TxS, self.max_distance)]

    def __call__(self, query_positions_T: jax.Array, key_positions_S: jax.Array) -> jax.Array:
        """Returns float32 bias_1xHxTxS for int32 positions [T] and [S].

        Positions are offsets in the row, in packed rows too: a segment lies in one piece, so
        differences inside a segment are the same, and pairs across segments are masked.
        """
        bucket_TxS = self._bucket(query_positions_T, key_positions_S)
        # A one-hot product rather than a lookup: its gradient is a product as well, where that of
        # a lookup adds T * S rows into a few dozen addresses.
        one_hot = jax.nn.one_hot(bucket_TxS, self.num_buckets, dtype=jnp.float32)
        bias_TxSxH = one_hot @ self.embedding[...].astype(jnp.float32)
        return jnp.transpose(bias_TxSxH, (2, 0, 1))[None]

    def of_rows(self, query_positions_BxT: jax.Array, key_positions_BxS: jax.Array) -> jax.Array:
        """Returns float32 bias_BxHxTxS where every row has positions of its own."""
        one_row = jax.vmap(lambda query_T, key_S: self(query_T, key_S)[0])
        return one_row(query_positions_BxT, key_positions_BxS)


class MLP(nnx.Module):
    """Feed-forward block; with two activations the product of both is taken (Shazeer, 2020)."""

    def __init__(
        self,
        emb_dim: int,
        mlp_dim: int,
        *,
        activations: tuple[str, ...],
        dropout_rate: float,
        dtype: Any,
        param_dtype: Any,
        rngs: nnx.Rngs,
        bias: bool = False,
    ):
        self.activations = activations
        self.dropout_rate = dropout_rate
        init = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        options = dict(dtype=dtype, param_dtype=param_dtype, rngs=rngs, kernel_init=init, bias=bias)
        for i in range(len(activations)):
            setattr(self, f"wi_{i}", Linear(emb_dim, mlp_dim, axes=("embed", "mlp"), **options))
        self.wo = Linear(mlp_dim, emb_dim, axes=("mlp", "embed"), **options)

    def __call__(self, x: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Maps x [..., D] to [..., D]."""
        hidden = 1
        for i, name in enumerate(self.activations):
            hidden = hidden * ACTIVATIONS[name](getattr(self, f"wi_{i}")(x))
        hidden = constrain(hidden, "batch", "length", "mlp")
        return self.wo(dropout(hidden, self.dropout_rate, dropout_key))


def stack_layers(
    make_layer: Callable[[nnx.Rngs], nnx.Module], num_layers: int, rngs: nnx.Rngs
) -> nnx.Module:
    """Builds one layer whose every parameter carries a leading axis "layers".

    Args:
        make_layer: Builds a single layer from its own random streams.
        num_layers: Length of the leading axis.
        rngs: Source of one key per layer.

    Returns:
        The stacked layer, to be run by `scan_layers`.
    """
    keys_L = jax.random.split(rngs.params(), num_layers)
    stacked = nnx.vmap(lambda key: make_layer(nnx.Rngs(params=key)))(keys_L)
    for _, node in nnx.iter_graph(stacked):
        if isinstance(node, nnx.Param):
            node.set_metadata(axes=("layers", *node.get_metadata("axes")))
    return stacked


def scan_layers(
    body: Callable[[Any, jax.Array, Any, Any], tuple[Any, Any]],
    layers: nnx.Module,
    carry: Any,
    per_layer: Any = None,
    *,
    remat: str = "none",
) -> tuple[Any, Any]:
    """Runs stacked layers one after another, compiled once whatever their number.

    Args:
        body: `body(layer, index, carry, inputs) -> (carry, outputs)`, with `layer` a single layer.
        layers: What `stack_layers` built.
        carry: First carry, such as the hidden states.
        per_layer: Tree of arrays [L, ...]; a layer's slice is its `inputs`.
        remat: Name in `REMAT`: what the backward pass computes again instead of keeping.

    Returns:
        The last carry, and the outputs of all layers stacked on a leading axis.
    """
    graphdef, params = nnx.split(layers)
    num_layers = jax.tree.leaves(params)[0].shape[0]

    def step(carry: Any, xs: Any) -> tuple[Any, Any]:
        layer_params, index, inputs = xs
        return body(nnx.merge(graphdef, layer_params), index, carry, inputs)

    if remat != "none":
        # Inside a scan the loop itself keeps XLA from undoing the recomputation.
        step = jax.checkpoint(step, policy=REMAT[remat], prevent_cse=False)
    return jax.lax.scan(step, carry, (params, jnp.arange(num_layers), per_layer))
