"""Whether a run was asked to stop."""

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Whether the run was asked to stop by SIGTERM.

    With several processes all must stop at the same step, so jax's own service, which agrees on
    one, handles the signal; alone, a handler sets a flag.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: Any) -> None:
        self._asked = True

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def close(self) -> None:
        """Puts the handler of before back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
