"""Low-rank adapters, LoRA (Hu et al. 2022): a matrix W [in, out] becomes W + scale * A B.

Only A [in, rank] and B [rank, out] train. B begins at zero, so that training begins at the model
that the weights are of; A begins as in PEFT, the library whose files `interop.peft_files` reads and
writes, uniformly in (-1, 1) / sqrt(in).
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros
from flan_jax.errors import ConfigError, did_you_mean, quoted
from flan_jax.models.layers import Linear, dropout, flat_matmul

# What names of parameters of adapters end in.
A, B = "lora/a", "lora/b"
NAMES = rf".*/({A}|{B})"


@dataclasses.dataclass(frozen=True)
class LoRA:
    """Low-rank adapters.

    Attributes:
        rank: columns of A.
        alpha: what the product is multiplied by, times 1 / rank.
        rank_stabilized: whether it is times 1 / sqrt(rank) instead, which keeps updates of large
            ranks from vanishing (Kalajdzievski 2023).
        targets: regular expression that the whole name of a linear layer has to match, such as
            ".*/(query|value)"; None takes all but the output head.
        dropout: share of what A reads that is dropped, each number on its own.
    """

    rank: int = 16
    alpha: float = 32.0
    rank_stabilized: bool = False
    targets: str | None = None
    dropout: float = 0.0
    numerics: ClassVar[tuple[str, ...]] = ("dropout",)

    def __post_init__(self) -> None:
        macros.check(
            LORA_RANK=self.rank,
            LORA_ALPHA=self.alpha,
            LORA_RANK_STABILIZED=self.rank_stabilized,
            LORA_TARGETS=self.targets,
            LORA_DROPOUT=self.dropout,
        )

    @property
    def scale(self) -> float:
        """What the product of A and B is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def attach(self, module: nnx.Module, rngs: nnx.Rngs) -> None:
        """Gives the linear layers of a model that are targets an adapter each.

        Raises:
            ConfigError: none is.
        """
        found = dict(linears(module))
        chosen = [name for name, linear in found.items() if self._is_target(name, linear)]
        if not chosen:
            near = did_you_mean(str(self.targets), found)
            raise ConfigError(
                f"LORA_TARGETS={quoted(self.targets)} matches no linear layer{near}; it has to "
                f"match a whole name, such as '.*/({'|'.join(sorted(_last_parts(found))[:4])})'"
            )
        for name in chosen:
            found[name].lora = LowRank(self, found[name], rngs)

    def _is_target(self, name: str, linear: Linear) -> bool:
        if self.targets is None:
            return "vocab" not in linear.kernel.get_metadata("axes")
        return re.fullmatch(self.targets, name) is not None


def linears(module: nnx.Module) -> Iterator[tuple[str, Linear]]:
    """Yields the linear layers of a model by name, stacked ones as one."""
    for path, node in nnx.iter_graph(module):
        if isinstance(node, Linear):
            yield "/".join(map(str, path)), node


def _last_parts(names: Any) -> set[str]:
    return {name.rpartition("/")[2] for name in names}


class LowRank(nnx.Module):
    """The adapter of one linear layer, or of a stack of them."""

    def __init__(self, lora: LoRA, linear: Linear, rngs: nnx.Rngs):
        *stack, in_dim, out_dim = linear.kernel.shape
        *stack_axes, in_axis, out_axis = linear.kernel.get_metadata("axes")
        self.scale = lora.scale
        self.dropout_rate = lora.dropout
        self.dtype = linear.dtype
        bound = in_dim**-0.5
        a = jax.random.uniform(
            rngs.params(), (*stack, in_dim, lora.rank), jnp.float32, -bound, bound
        )
        b: jax.Array = jnp.zeros((*stack, lora.rank, out_dim), jnp.float32)
        self.a = nnx.Param(a, axes=(*stack_axes, in_axis, "rank"))
        self.b = nnx.Param(b, axes=(*stack_axes, "rank", out_axis))

    def __call__(self, x: jax.Array, out_dtype: Any, key: jax.Array | None = None) -> jax.Array:
        """Returns what is added to the product with W, [..., out], for x [..., in].

        Args:
            x: what the layer reads.
            out_dtype: of the result.
            key: of dropout; None drops nothing.
        """
        x = dropout(x.astype(self.dtype), self.dropout_rate, key, shared_axes=())
        reduced = flat_matmul(x, self.a[...].astype(self.dtype), self.dtype)
        return self.scale * flat_matmul(reduced, self.b[...].astype(self.dtype), out_dtype)


def delta(lora: LoRA, a: Any, b: Any) -> Any:
    """Returns what adapters add to a kernel, [..., in, out] in float32.

    Args:
        lora: how they are scaled.
        a: [..., in, rank].
        b: [..., rank, out].
    """
    product = jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float32)
    return lora.scale * product
