"""Following a run: its checkpoints as they come, and scores of them as curves."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flan_jax import terminal

_POLL_SECONDS = 2.0


def checkpoints_of(
    model_dir: str, patience: float
) -> Iterator[tuple[int, str, Callable[[Any], bool]]]:
    """Yields the checkpoints of a run that are sound, those that are there first, oldest first.

    Args:
        model_dir: the run; it may not have begun.
        patience: seconds without a new checkpoint after which there are no more.

    Yields:
        Step, name of the checkpoint, and what tells whether it is the last that the run wants to
        make, given the settings of one of them (`checkpoints.Found`).

    Raises:
        ConfigError: the name is that of one checkpoint, or of a published model.
    """
    from flan_jax.errors import CheckpointError, ConfigError, quoted
    from flan_jax.training import checkpoints

    if ":" in model_dir.partition("/")[0] or "@" in os.path.basename(model_dir.rstrip("/")):
        raise ConfigError(f"--watch follows a run, a MODEL_DIR, not {quoted(model_dir)}")
    done: set[int] = set()
    quiet_since = time.monotonic()
    waiting = False
    while time.monotonic() - quiet_since < patience:
        new = sorted(set(checkpoints.list_steps(model_dir)) - done)
        for step in new:
            name = f"{model_dir}@{step}"
            try:
                checkpoints.require(name, lambda text: None, weights_only=True).release()
            except CheckpointError:
                continue  # it is being written, or went before it was looked at
            done.add(step)
            waiting = False
            yield step, name, lambda found, step=step: step >= last_step(found)  # type: ignore[misc]
            quiet_since = time.monotonic()
            break
        else:
            if not waiting:
                terminal.say_aside(f"waiting for checkpoints in {model_dir}")
                waiting = True
            time.sleep(_POLL_SECONDS)


def last_step(found: Any) -> float:
    """Returns the step that a run wants to reach, infinity where its checkpoint does not say."""
    from flan_jax.training import stored_settings

    steps = stored_settings.decode(found.run, str(found.path)).get("TRAIN_STEPS")
    return steps if isinstance(steps, int) else float("inf")


class Scalars:
    """Scores as TensorBoard shows them, in a folder `tensorboard`, written from the first on."""

    def __init__(self, out: str):
        self._out = out
        self._writer: Any = None

    def __enter__(self) -> "Scalars":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, step: int, mixtures: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes the scores of a checkpoint: `eval/<mixture>/<metric>`."""
        from flan_jax.training import trackers

        if self._writer is None:
            self._writer = trackers.TensorBoard(self._out)
        values = {
            f"eval/{name}/{metric}": float(value)
            for name, scores in mixtures.items()
            for metric, value in scores.items()
            if isinstance(value, int | float)
        }
        self._writer.write(step, values)
