"""Models that somebody published, opened but not read: what every format makes of its files."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Protocol

import jax

from flan_jax.interop import tables
from flan_jax.interop.fields import Fields
from flan_jax.interop.tables import Table, TensorFiles
from flan_jax.models.families import Model, Params


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


@dataclasses.dataclass(frozen=True)
class Published:
    """A published model, proven to have the tensors that its configuration asks for.

    Of a tuned model (`adapters.tuned`) these are of what trained.

    Attributes:
        name: as a person names it, such as "hf:google/flan-t5-base".
        config: configuration of our family.
        table: where its parameters are.
        files: its tensors.
        vocabularies: specifications (VOCABULARY) of its tokenizer, the one to use first; all of
            them stand for the same tokens. None where it brings none.
        content: what tells its weights from others of that name: sizes and times of files.
    """

    name: str
    config: Any
    table: Table
    files: TensorFiles
    vocabularies: tuple[str, ...] = ()
    content: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = self.model.shapes
        tables.check(self.table, self.files, {name: shapes[name] for name in self.model.trained})

    @functools.cached_property
    def model(self) -> Model:
        """The model that it is."""
        return Model(self.config)

    def params(self, target: Mapping[str, jax.ShapeDtypeStruct]) -> Params:
        """Reads parameters to where `target` (shapes, dtypes, shardings by name) wants them."""
        return tables.load(self.table, self.files, target)
