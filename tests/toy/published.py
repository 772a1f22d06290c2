"""Published models for tests: torch's own tensors as files, read into our parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from flan_jax.interop import tables


@dataclasses.dataclass
class TorchTensors:
    """The tensors of a torch `state_dict`, as if they lay in files."""

    state_dict: Mapping[str, Any]
    name: str = "toy"

    @property
    def shapes(self):
        return {name: tuple(tensor.shape) for name, tensor in self.state_dict.items()}

    def read(self, name, index):
        tensor = self.state_dict[name].detach()[index]
        return (tensor.numpy() if tensor.dtype.itemsize >= 4 else tensor.float().numpy()).copy()


def load_params(model, table, state_dict, sharding=None):
    """Checks published tensors and reads them into the parameters of a `Model`.

    Args:
        model: our model of the same sizes.
        table: of its family and configuration.
        state_dict: of the torch module.
        sharding: where they will lie; on the first device if None.
    """
    files = TorchTensors(state_dict)
    tables.check(table, files, model.shapes)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in model.shapes.items()
    }
    return tables.load(table, files, target)


def unloaded(table, params):
    """Returns the published tensors of our parameters by name."""
    return dict(tables.unload(table, lambda name: np.asarray(params[name])))
