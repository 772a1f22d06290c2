"""When to save."""

import dataclasses
import time
from collections.abc import Callable

import gin
import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax import macros

STEP = "step"
TEMPORARY = "temporary"


@gin.configurable
@dataclasses.dataclass(frozen=True)
class SaveSchedule:
    """When checkpoints are due.

    Attributes:
        step_period: steps between checkpoints that retention decides about.
        period_seconds: most seconds between saves, or None; what it adds is temporary.
        stride: steps between looks at the clock, the log period in training. There the metrics
            of a window are read anyway, so every process has just waited for the device, and
            reports fall on the same steps with and without a save.
    """

    step_period: int
    period_seconds: float | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        macros.check(
            CHECKPOINT_PERIOD=self.step_period,
            CHECKPOINT_SECONDS=self.period_seconds,
            LOG_PERIOD=self.stride,
        )


class SaveTimer:
    """Says, step by step, whether to save. All processes of a run get the same answer."""

    def __init__(self, schedule: SaveSchedule, clock: Callable[[], float] = time.monotonic):
        """Args:
        schedule: when checkpoints are due.
        clock: seconds since whenever; only process 0's is listened to.
        """
        self._schedule = schedule
        self._clock = clock
        self._saved = clock()

    def due(self, step: int, last: bool = False, stopped: bool = False) -> str | None:
        """Returns STEP, TEMPORARY or None; call it once a step, and save where it is not None.

        Args:
            step: number of finished steps.
            last: whether the run ends with this step.
            stopped: whether it was asked to stop. That makes a temporary checkpoint: it lets the
                run go on, which then keeps what a run left alone would have kept.
        """
        by_step = last or step % self._schedule.step_period == 0
        if not (by_step or stopped or self._is_late(step)):
            return None
        self._saved = self._clock()
        return STEP if by_step else TEMPORARY

    def _is_late(self, step: int) -> bool:
        """Whether the wall clock asks for a save.

        Clocks of hosts drift apart, and a save is collective. So process 0 decides and tells the
        others. That costs a round trip between hosts, so it is done only every `stride` steps.
        """
        seconds = self._schedule.period_seconds
        if seconds is None or step % self._schedule.stride:
            return False
        late = self._clock() - self._saved >= seconds
        if jax.process_count() > 1:
            late = bool(multihost_utils.broadcast_one_to_all(np.asarray(late)))
        return late
