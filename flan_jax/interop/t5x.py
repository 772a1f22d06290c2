"""Checkpoints of T5X as published models: which of our families one is of, by its arrays' names."""

import hashlib
import os
from typing import Any

from etils import epath

from flan_jax import files as files_lib
from flan_jax.errors import ConfigError
from flan_jax.interop import t5x_files
from flan_jax.interop.families import decoder_t5x, t5_t5x
from flan_jax.interop.published import Published
from flan_jax.interop.tables import Shapes, Table, TensorFiles
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.t5 import T5Config

PREFIX = "t5x:"


def open_folder(where: str) -> Published:
    """Opens a checkpoint of T5X, or the newest of a folder of them.

    It names no vocabulary: T5 1.0 and 1.1 have T5's own, others are for the user to name.

    Args:
        where: the folder, without "t5x:".

    Raises:
        CheckpointError: there is none, it is damaged, or it is of no model that we compute.
    """
    files = t5x_files.open_folder(files_lib.user_path(where))
    config = config_of(files)
    content = {"arrays": _digest(epath.Path(files.name)), "step": files.step}
    return Published(f"{PREFIX}{where}", config, table(config, files.shapes), files, (), content)


def _digest(folder: epath.Path) -> str:
    """Sizes and times of what parameters are read from, as one word."""
    seen = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=str):
        is_state = path.name.startswith("state.")
        inside = sorted(path.iterdir(), key=str) if path.is_dir() and not is_state else []
        for one in [path, *inside]:
            name = os.path.relpath(one, folder)
            seen.update(repr((name, *files_lib.stamp(one))).encode("utf-8", "surrogateescape"))
    return seen.hexdigest()


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
