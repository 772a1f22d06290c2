"""The device mesh, and how logical axes of parameters and batches map onto it.

A preset is a table from logical axis names (the `axes` of every parameter) to mesh axes; a name
that it lacks is not sharded. Adding a way to shard is adding a table.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import ConfigError, did_you_mean

MESH_AXES = ("data", "fsdp", "tensor")
# Rows of a batch are spread over these, in this order.
BATCH_AXES = ("data", "fsdp")
PRESETS: dict[str, dict[str, str]] = {
    # Data parallel: every device holds all parameters.
    "data": {},
}


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over the devices (all where None), all of them on the data axis."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices).reshape(len(devices), 1, 1), MESH_AXES)


def parameter_shardings(
    axes: Mapping[str, tuple[str | None, ...]], mesh: Mesh, preset: str = "data"
) -> dict[str, NamedSharding]:
    """Returns the sharding of every parameter.

    Args:
        axes: logical axes by parameter name (`Model.axes`).
        mesh: see `make_mesh`.
        preset: name in `PRESETS`.

    Raises:
        ConfigError: no such preset.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no sharding preset {preset!r}{did_you_mean(preset, PRESETS)}")
    rules = PRESETS[preset]
    return {
        name: NamedSharding(mesh, PartitionSpec(*(rules.get(axis or "") for axis in names)))
        for name, names in axes.items()
    }


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch's rows."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Refuses a batch that the devices cannot share evenly.

    Raises:
        ConfigError: names the nearest batch sizes that would do.
    """
    shards = int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))
    if batch_size % shards:
        below = batch_size // shards * shards
        near = " or ".join(str(n) for n in (below, below + shards) if n)
        raise ConfigError(
            f"BATCH_SIZE {batch_size} is not divisible by {shards} devices; {near} would do"
        )


def local_rows(batch_size: int) -> slice:
    """Returns the rows of each batch that this process reads."""
    share = batch_size // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Returns this process's rows as part of arrays over the whole mesh."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
