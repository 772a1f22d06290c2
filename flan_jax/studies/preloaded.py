"""What the processes of a study's commands are copies of: see `jobs`."""

from flan_jax.quiet import import_tensorflow

import_tensorflow()

import seqio  # noqa: E402, F401

import flan_jax.cli  # noqa: E402
import flan_jax.evaluation.evaluate  # noqa: E402
import flan_jax.training.train  # noqa: E402, F401
