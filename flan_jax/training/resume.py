"""Where a run goes on from."""

from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import CheckpointError, FlanJaxError
from flan_jax.training import checkpoints, identity, run_metadata
from flan_jax.training.checkpoints import Found
from flan_jax.training.finite import Guard
from flan_jax.training.state import TrainState


def newest(
    model_dir: str,
    facts: Mapping[str, Any],
    target: TrainState,
    guard: Guard,
    say: Callable[[str], None],
) -> tuple[Found, TrainState] | None:
    """Restores the newest checkpoint of a run that is sound, restores, and is finite.

    Args:
        model_dir: directory of the run.
        facts: what the run is, see `identity`.
        target: shapes, dtypes and shardings of its state.
        guard: knows what is finite.
        say: told of what is passed over, and why.

    Returns:
        The checkpoint and its state; None where there is none yet.

    Raises:
        CheckpointError: the run was another one, or none of its checkpoints can be restored.
    """
    before = None
    while (found := checkpoints.find(model_dir, say, before=before)) is not None:
        identity.check_unchanged(found.run["fingerprint"], facts, str(found.path))
        run_metadata.data_of(found.run, found.path)
        try:
            state = TrainState(
                checkpoints.restore_params(found, target.params),
                checkpoints.restore_optimizer(found.path, target.optimizer),
            )
            guard.check_state(state, found.step)
            return found, state
        except FlanJaxError as error:
            say(f"checkpoint {found.path} cannot be used ({error}): trying the one before")
            before = found.step
    if before is not None:
        raise CheckpointError(f"none of the checkpoints of {model_dir} can be restored")
    return None
