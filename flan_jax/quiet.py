"""Libraries that say too much: TensorFlow's greetings, and a failed save in a thousand lines."""

import functools
import logging
import os
import sys
from typing import Any


def import_tensorflow() -> None:
    """Imports TensorFlow without its greetings and keeps it off accelerators.

    It reads and tokenizes here, and must not take the memory of the device. What it prints on
    import comes from C++, before any log level applies, so standard error is elsewhere meanwhile.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        tf.config.set_visible_devices([], "GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def quiet_saves() -> None:
    """Keeps threads of Orbax and TensorStore from printing what a failed save raises anyway.

    On a full disk they print a thousand lines, in which the cause is lost.
    """
    # Its logger asks no filter.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    _skip_closed_loops()


@functools.lru_cache(maxsize=1)
def _skip_closed_loops() -> None:
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
