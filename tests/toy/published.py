"""Published models for tests: tensors of a torch model, and our model with them."""

import jax
import numpy as np

from flan_jax.interop import hf_files, tables
from flan_jax.models.families import Model, Params


class TorchTensors:
    """A torch state dict as `tables.TensorFiles`."""

    def __init__(self, state_dict, name="a state dict"):
        self.name = name
        self._arrays = {key: np.asarray(value) for key, value in state_dict.items()}

    @property
    def shapes(self):
        return {key: value.shape for key, value in self._arrays.items()}

    def read(self, name, index):
        return self._arrays[name][index]


def load_params(model: Model, table: tables.Table, state_dict, sharding=None):
    """Parameters of ours from a torch state dict, on one device or sharded."""
    files = TorchTensors(state_dict)
    tables.check(table, files, model.shapes)
    return tables.load(table, files, _target(model, sharding))


def _target(model: Model, sharding=None):
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in model.shapes.items()
    }


def open_folder(folder) -> tuple[Model, Params]:
    """A model of ours and its parameters from a folder of transformers, on one device."""
    found = hf_files.open_folder(str(folder))
    return found.model, found.params(_target(found.model))


def unloaded(table: tables.Table, params):
    """The published tensors of parameters of ours, by name."""
    return dict(tables.unload(table, lambda name: np.asarray(params[name])))


class Example:
    """See `layouts.Tokenized`."""

    def __init__(self, inputs, targets, counted=None):
        self.inputs, self.targets = np.asarray(inputs), np.asarray(targets)
        self.counted = None if counted is None else np.asarray(counted)


def said(row, eos_id=1):
    """Up to EOS; what fills a row behind it is each library's own."""
    row = [int(token) for token in row]
    return row[: row.index(eos_id) + 1] if eos_id in row else row
