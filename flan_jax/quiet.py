"""Importing TensorFlow without its greetings."""

import os
import sys


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
