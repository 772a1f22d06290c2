"""Where activations lie: logical axis names inside models, mesh axes outside.

Models name the axes of their larger activations with `constrain`; whoever runs them under a mesh
says with `axis_rules` what the names stand for. Without rules, as in a notebook, `constrain`
does nothing.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping, Sequence

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Rules = Mapping[str, str | tuple[str, ...] | None]
_ACTIVE: contextvars.ContextVar[tuple[Mesh, Rules] | None] = contextvars.ContextVar(
    "axis_rules", default=None
)


def partition_spec(axes: Sequence[str | None], rules: Rules) -> PartitionSpec:
    """Returns the mesh axes of an array with these logical axes; unknown names are not sharded."""
    return PartitionSpec(*(rules.get(axis) if axis else None for axis in axes))


@contextlib.contextmanager
def axis_rules(mesh: Mesh, rules: Rules) -> Iterator[None]:
    """Lets `constrain` place activations on `mesh`; to be entered inside a traced function."""
    token = _ACTIVE.set((mesh, rules))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Pins the layout of an activation where rules are active.

    Args:
        x: array with as many axes as are named.
        axes: one logical axis name (or None: not sharded) per axis of x. "batch" stands for rows;
            activations use "activation_embed" for their width, since parameters may be sharded
            along "embed" over the very devices that hold different rows.
    """
    active = _ACTIVE.get()
    if active is None:
        return x
    mesh, rules = active
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, partition_spec(axes, rules)))
