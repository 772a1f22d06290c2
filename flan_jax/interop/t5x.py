"""Which of our families a checkpoint of T5X is of, by the names of its arrays."""

from typing import Any

from flan_jax.errors import ConfigError
from flan_jax.interop.families import decoder_t5x, t5_t5x
from flan_jax.interop.tables import Shapes, Table, TensorFiles
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.t5 import T5Config


def config_of(files: TensorFiles) -> Any:
    """Returns our configuration for a checkpoint of T5X, dtypes left at their defaults.

    Raises:
        CheckpointError: it is of no model that we compute; says what it lacks.
    """
    family = decoder_t5x if decoder_t5x.is_of(files.shapes) else t5_t5x
    return family.config_of(files)


def table(config: Any, shapes: Shapes | None = None) -> Table:
    """Returns the table of a configuration's arrays as T5X names them.

    Args:
        config: of one of our models.
        shapes: of the checkpoint that is read, which says whether layers are scanned; None for one
            that is written, whose layers are not.

    Raises:
        ConfigError: T5X has no such model.
    """
    if isinstance(config, T5Config):
        return t5_t5x.table(config, scanned=shapes is not None and t5_t5x.is_scanned(shapes))
    if isinstance(config, DecoderConfig) and decoder_t5x.is_one(config):
        return decoder_t5x.table(config)
    raise ConfigError(
        "T5X has T5, mT5, ByT5, umT5 and its own decoder: relative positions, RMS norms, unscaled "
        f"scores, a head of its own; this {type(config).__name__} is none of them"
    )
