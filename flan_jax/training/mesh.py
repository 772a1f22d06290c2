"""The device mesh, and how logical axes of parameters and activations map onto it.

There are three mesh axes: rows of a batch are spread over `data` and `fsdp`, parameters over
`fsdp` (each device holds a slice and gathers a layer when it needs it) and `tensor` (heads, hidden
units and vocabulary are computed where they lie). One table of rules says so. A preset says how
many devices each axis gets, and with one device an axis is as good as not there; so a rule is
written once and every combination follows.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from flan_jax import macros
from flan_jax.errors import ConfigError, did_you_mean, quoted
from flan_jax.kinds import require
from flan_jax.models.sharding import partition_spec

MESH_AXES = ("data", "fsdp", "tensor")
# Rows of a batch are spread over these, in this order.
BATCH_AXES = ("data", "fsdp")
# Logical axis (of parameters, then of activations) -> mesh axes. Others are not sharded.
RULES: dict[str, str | tuple[str, ...]] = {
    "embed": "fsdp",
    "heads": "tensor",
    "mlp": "tensor",
    "vocab": "tensor",
    "batch": BATCH_AXES,
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A way to spread training over devices.

    Attributes:
        shape: devices of each mesh axis that takes part, in the order of `MESH_AXES`; -1 for all
            that the others leave.
        use: for people, when to choose it.
    """

    shape: Mapping[str, int]
    use: str


PRESETS: dict[str, Preset] = {
    "data": Preset({"data": -1}, "every device holds the whole model"),
    "fsdp": Preset({"fsdp": -1}, "parameters and optimizer spread over all devices"),
    "tensor": Preset({"tensor": -1}, "each layer spread over all devices, rows over none"),
    "data_fsdp": Preset({"data": -1, "fsdp": 2}, "several groups, each holding one model"),
    "data_tensor": Preset({"data": -1, "tensor": 2}, "tensor within a fast link, data across"),
    "fsdp_tensor": Preset({"fsdp": -1, "tensor": 2}, "for models that fsdp alone cannot hold"),
    "data_fsdp_tensor": Preset({"data": -1, "fsdp": 2, "tensor": 2}, "all three"),
}


def mesh_shape(preset: str, devices: int, shape: Mapping[str, int] | None = None) -> dict[str, int]:
    """Returns the number of devices on every mesh axis.

    Args:
        preset: name in `PRESETS`.
        devices: number of devices.
        shape: overrides the preset's numbers, such as {"tensor": 4}.

    Raises:
        ConfigError: no such preset or axis, or the devices cannot be divided like that.
    """
    if preset not in PRESETS:
        near = did_you_mean(str(preset), PRESETS)
        raise ConfigError(f"no sharding preset {quoted(preset)}{near}")
    if shape is not None and not isinstance(shape, Mapping):
        macros.check(MESH_SHAPE=shape)
    wanted = {**dict.fromkeys(MESH_AXES, 1), **PRESETS[preset].shape, **(shape or {})}
    for axis, size in wanted.items():
        if axis not in MESH_AXES:
            near = did_you_mean(str(axis), MESH_AXES)
            raise ConfigError(f"MESH_SHAPE: no axis {quoted(axis)}{near}")
        require(f"MESH_SHAPE: {axis}", size, macros.DEVICES)
    free = [axis for axis, size in wanted.items() if size == -1]
    if len(free) > 1:
        raise ConfigError(f"MESH_SHAPE: only one of {' and '.join(free)} can be -1")
    fixed = int(np.prod([size for size in wanted.values() if size > 0]))
    if free and devices % fixed == 0:
        wanted[free[0]] = devices // fixed
    if int(np.prod(list(wanted.values()))) != devices:
        parts = " x ".join(f"{axis} {size}" for axis, size in wanted.items() if size != 1)
        raise ConfigError(
            f"SHARDING {preset!r}: {devices} device(s) cannot be divided into {parts or 'one'}; "
            "set MESH_SHAPE, such as {'fsdp': 4, 'tensor': 2}"
        )
    return wanted


def make_mesh(
    preset: str = "data",
    shape: Mapping[str, int] | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh:
    """Returns a mesh over the devices (all where None); see `mesh_shape`."""
    devices = jax.devices() if devices is None else devices
    sizes = mesh_shape(preset, len(devices), shape)
    if jax.process_count() == 1 and devices[0].platform == "cpu":
        return Mesh(np.asarray(devices).reshape(tuple(sizes.values())), MESH_AXES)
    # Knows the links of accelerators: neighbours on the last axis are near each other.
    grid = jax.make_mesh(tuple(sizes.values()), MESH_AXES, devices=devices).devices
    return Mesh(grid, MESH_AXES)


def abstract_mesh(
    preset: str, devices: int, shape: Mapping[str, int] | None = None
) -> AbstractMesh:
    """Returns a mesh of devices that need not be there, to plan with."""
    sizes = mesh_shape(preset, devices, shape)
    return AbstractMesh(tuple(sizes.values()), MESH_AXES)


def parameter_shardings(
    axes: Mapping[str, tuple[str | None, ...]],
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    mesh: Any,
) -> dict[str, NamedSharding]:
    """Returns the sharding of every parameter.

    Args:
        axes: logical axes by parameter name (`Model.axes`).
        shapes: shapes by parameter name (`Model.shapes`).
        mesh: see `make_mesh` and `abstract_mesh`.

    Raises:
        ConfigError: a mesh axis does not divide the axis it shards; names a size that would.
    """
    found = {}
    for name, shape in shapes.items():
        names = axes[name]
        spec = partition_spec(names, RULES)
        for axis, mesh_axis, size in zip(names, spec, shape.shape, strict=True):
            parts = mesh.shape[mesh_axis] if mesh_axis else 1
            if size % parts:
                near = max(n for n in range(1, parts) if size % n == 0)
                raise ConfigError(
                    f"MESH_SHAPE: {mesh_axis} {parts} does not divide {axis} of {name}, which is "
                    f"{size}; {{{mesh_axis!r}: {near}}} would"
                )
        found[name] = NamedSharding(mesh, spec)
    return found


def replicated(mesh: Any) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch's rows."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def row_shards(mesh: Any) -> int:
    """Returns the number of devices that hold different rows."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))


def check_batch_size(batch_size: int, mesh: Mesh, microbatches: int = 1) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        ConfigError: names the nearest batch sizes that would do.
    """
    shards = row_shards(mesh)
    step = shards * microbatches
    if batch_size % step:
        below = batch_size // step * step
        near = " or ".join(str(n) for n in (below, below + step) if n)
        times = f" times {microbatches} microbatches" if microbatches > 1 else ""
        raise ConfigError(
            f"BATCH_SIZE {batch_size} is not divisible by {shards} devices{times}; {near} would do"
        )


def local_rows(batch_size: int, mesh: Mesh) -> slice:
    """Returns the rows of each batch that this process reads.

    Processes that share rows (their devices differ only along `tensor`) each read them.

    Raises:
        ConfigError: the mesh gives this process rows that do not lie side by side.
    """
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    spans = sorted({index[0].indices(batch_size)[:2] for index in indices.values() if index})
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        if start != end:
            raise ConfigError(
                "MESH_SHAPE: a process has to hold neighbouring rows; put fewer of the devices of "
                "one process on the tensor axis"
            )
    return slice(spans[0][0], spans[-1][1])


def place_whole(tree: Any, mesh: Mesh) -> Any:
    """Returns arrays that every process has whole, their rows spread over the mesh."""
    sharding = batch_sharding(mesh)

    def place(rows: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(rows.shape, sharding, lambda index: rows[index])

    return jax.tree.map(place, tree)


def place_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, batch_size: int
) -> dict[str, jax.Array]:
    """Returns this process's rows as part of arrays over the whole mesh.

    Args:
        batch: this process's rows.
        mesh: see `make_mesh`.
        batch_size: rows over all processes.
    """
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows, (batch_size, *rows.shape[1:]))
        for name, rows in batch.items()
    }
