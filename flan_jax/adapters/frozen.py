"""Weights that do not train, in fewer bytes: bfloat16, or int8 with a scale a channel.

int8 is for kernels and embedding tables, symmetric around 0 (Dettmers et al. 2022, section 2, by
absolute maximum): of a kernel [in, out] each output has a scale, of a table each row. Other weights
stay as they are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax.models.layers import Embed, Linear

# What the names of scales end in, after the name of what they are of.
SCALE = "_scale"
_MOST = 127.0


def reduce(module: nnx.Module, trains: Callable[[str], bool], dtype: Any) -> None:
    """Gives the weights of a model that do not train another dtype.

    Args:
        module: the model.
        trains: whether a parameter trains, by name.
        dtype: bfloat16 or int8.
    """
    for path, node in list(nnx.iter_graph(module)):
        for name, param in list(vars(node).items()) if isinstance(node, nnx.Module) else ():
            if not isinstance(param, nnx.Param) or trains("/".join(map(str, [*path, name]))):
                continue
            if dtype != jnp.int8:
                axes = param.get_metadata("axes")
                setattr(node, name, nnx.Param(param[...].astype(dtype), axes=axes))
            elif isinstance(node, Linear | Embed) and name in ("kernel", "embedding"):
                _quantize(node, name)


def _quantize(node: nnx.Module, name: str) -> None:
    axis, param = axis_of(name), getattr(node, name)
    axes = list(param.get_metadata("axes"))
    value, scale = quantize(param[...], axis)
    setattr(node, name, nnx.Param(value, axes=tuple(axes)))
    del axes[axis]
    setattr(node, f"{name}{SCALE}", nnx.Param(scale, axes=tuple(axes)))


def quantize(value: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Returns int8 numbers and the float32 scales that give a weight again.

    Args:
        value: weights.
        axis: that which the numbers of one scale lie along.
    """
    value = value.astype(jnp.float32)
    scale = jnp.max(jnp.abs(value), axis=axis) / _MOST
    # Of a channel of zeros any scale will do.
    safe = jnp.where(scale > 0, scale, 1.0)
    return jnp.round(value / jnp.expand_dims(safe, axis)).astype(jnp.int8), safe


def dequantize(value: jax.Array, scale: jax.Array, axis: int) -> jax.Array:
    """Returns weights in float32; see `quantize`."""
    return value.astype(jnp.float32) * jnp.expand_dims(scale, axis)


def axis_of(name: str) -> int:
    """Returns the axis that the numbers of one scale lie along, by a parameter's name."""
    return -1 if name.endswith("embedding") else -2
