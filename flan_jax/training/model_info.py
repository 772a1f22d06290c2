"""The table of all parameters: shape, logical axes, sharding, bytes on each device."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import gin
import jax

from flan_jax.models.families import Model
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.telemetry import size

FILE = "model-info.txt"


@gin.configurable
@dataclasses.dataclass(frozen=True)
class ModelInfoConfig:
    """What the table depends on; see `config.TrainConfig`."""

    model: Any
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    sharding: str = "data"
    mesh_shape: Mapping[str, int] | None = None
    batch_size: int | None = None
    microbatches: int = 1


def describe(config: ModelInfoConfig, devices: int | None = None) -> str:
    """Returns the table for a number of devices, which need not be there (those here if None).

    Raises:
        ConfigError: the devices cannot be divided, or do not divide a parameter or the batch.
    """
    mesh = mesh_lib.abstract_mesh(config.sharding, devices or jax.device_count(), config.mesh_shape)
    if config.batch_size is not None:
        mesh_lib.check_batch_size(config.batch_size, mesh, config.microbatches)
    model = Model(config.model)
    recipe = state_lib.StepRecipe(model, config.optimizer.build(model.axes))
    return table(recipe, state_lib.state_shardings(recipe, mesh), mesh)


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter.

    Attributes:
        name: of the parameter.
        shape: of the whole array.
        dtype: of its elements.
        axes: logical axis names.
        sharding: mesh axis of each array axis, "-" where it is not sharded.
        bytes: on each device.
        trains: whether it does.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str | None, ...]
    sharding: tuple[str, ...]
    bytes: int
    trains: bool


def bytes_per_device(leaf: Any, sharding: Any) -> int:
    """Returns the bytes of an array's part on one device."""
    return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def rows(recipe: state_lib.StepRecipe, mesh: Any) -> list[Row]:
    """Returns one row a parameter."""
    found = []
    shardings = state_lib.parameter_shardings(recipe, mesh)
    trained = recipe.model.trained
    for name, leaf in recipe.model.shapes.items():
        sharding = shardings[name]
        spec = [*sharding.spec, *[None] * (len(leaf.shape) - len(sharding.spec))]
        found.append(
            Row(
                name,
                tuple(leaf.shape),
                leaf.dtype.name,
                recipe.model.axes[name],
                tuple(_mesh_axis(axis, sharding.mesh) for axis in spec),
                bytes_per_device(leaf, sharding),
                name in trained,
            )
        )
    return found


def _mesh_axis(axis: Any, mesh: Any) -> str:
    names = [axis] if isinstance(axis, str) else list(axis or ())
    return ",".join(name for name in names if mesh.shape[name] > 1) or "-"


def table(recipe: state_lib.StepRecipe, shardings: state_lib.TrainState, mesh: Any) -> str:
    """Returns the table as text, with totals below."""
    parameters = rows(recipe, mesh)
    lines = [("parameter", "shape", "axes", "sharding", "dtype", "bytes/device")]
    for row in parameters:
        lines.append(
            (
                row.name if row.trains else f"{row.name} (frozen)",
                " x ".join(map(str, row.shape)),
                " ".join(axis or "-" for axis in row.axes),
                " ".join(row.sharding),
                row.dtype,
                f"{row.bytes:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(_cells(line, widths)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*text, "", *_totals(recipe, shardings, mesh, parameters)]) + "\n"


def _cells(line: tuple[str, ...], widths: Iterable[int]) -> list[str]:
    cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
    return [*cells[:-1], line[-1].rjust(len(cells[-1]))]


def _totals(
    recipe: state_lib.StepRecipe, shardings: state_lib.TrainState, mesh: Any, parameters: list[Row]
) -> list[str]:
    count = sum(math.prod(row.shape) for row in parameters)
    trained = sum(math.prod(row.shape) for row in parameters if row.trains)
    share = f", of which {trained:,} ({100 * trained / count:.2g} %) train"
    optimizer = jax.eval_shape(recipe.optimizer.init, recipe.trained)
    state = sum(
        bytes_per_device(leaf, sharding)
        for leaf, sharding in zip(
            jax.tree.leaves(optimizer), jax.tree.leaves(shardings.optimizer), strict=True
        )
    )
    weights = sum(row.bytes for row in parameters)
    axes = ", ".join(f"{name} {count}" for name, count in mesh.shape.items())
    return [
        f"parameters: {count:,} in {len(parameters)} arrays{share if trained < count else ''}",
        f"mesh: {axes} ({math.prod(mesh.shape.values())} devices)",
        f"on each device: {size(weights)} of parameters, {size(state)} of optimizer state",
    ]
