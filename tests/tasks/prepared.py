"""The examples of a task as they are prepared."""

from flan_jax.data.units import Renderings, task_examples, unit_specs


def examples(task, split="test"):
    """Those of one split."""
    return list(task_examples(unit_specs(task, split, Renderings())[-1]))
