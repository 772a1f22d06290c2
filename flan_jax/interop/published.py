"""What reads and writes published models asks of a family."""

from collections.abc import Mapping
from typing import Any, Protocol

from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Table


class PublishedFamily(Protocol):
    """A module of `interop.families`."""

    # Values of "model_type" in config.json.
    MODEL_TYPES: tuple[str, ...]
    # Our config class.
    CONFIG: type

    def read_config(self, fields: Fields) -> Any:
        """Returns our configuration for a `config.json`, dtypes left at their defaults.

        Raises:
            CheckpointError: it is of a model that we cannot compute to the digit; says why.
        """

    def write_config(self, config: Any) -> Mapping[str, Any]:
        """Returns the `config.json` of one of our configurations, as transformers reads it.

        Raises:
            ConfigError: transformers has no such model.
        """

    def table(self, config: Any) -> Table:
        """Returns the table of its tensors as transformers names them."""
