"""The model that a checkpoint says it is of, where MODEL does not say (families/of_checkpoint.gin).

A module of its own, so that gin's name for it is registered wherever a model is configured.
"""

from typing import Any

import gin

from flan_jax.errors import ConfigError
from flan_jax.models import families
from flan_jax.training import checkpoints, restore


@gin.configurable(module="models")
def checkpoint_model(
    path: str | None, model_dir: str | None = None, base: str | None = None, **numerics: Any
) -> Any:
    """Returns the configuration of the model of a checkpoint.

    Args:
        path: as a person names it, see `restore.require`.
        model_dir: a run that may have begun with it: what it has saved comes first, so that it
            goes on where `path` is gone by then.
        base: BASE_CHECKPOINT_PATH, which an adapter may need.
        **numerics: fields that its checkpoint has no say in, such as dtype; those that the family
            lacks are left out.

    Raises:
        ConfigError: there is no path.
        CheckpointError: there is no such checkpoint, or its model is not known here.
    """
    if model_dir and checkpoints.list_steps(model_dir):
        path = model_dir
    if not path:
        raise ConfigError(
            "MODEL is not set, and neither is INITIAL_CHECKPOINT_PATH, which might say it: "
            "--gin.MODEL=t5_1_1/small"
        )
    found = restore.require(path, base=base)
    config = restore.model_of(found).config
    found.release()
    return families.with_numerics(config, **numerics)
