"""Refuses what is not finite: in the metrics of a window of steps, and in a state to be saved.

Weights and loss can stay finite while a gradient overflows; an optimizer that divides by its
statistics then takes steps of 0 from there on, and nothing is learned without a word.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.errors import FlanJaxError
from flan_jax.training import mesh as mesh_lib
from flan_jax.training.config import TrainConfig
from flan_jax.training.state import StepMetrics, TrainState

_SHOWN = 3
# A share of the loss, and a coefficient, that make z-loss the likely cause.
_LARGE_SHARE, _LARGE_Z_LOSS = 0.5, 1e-2


class Guard:
    """Says which tensor is not finite, when that was, and what the likely cause is."""

    def __init__(self, config: TrainConfig, mesh: Any):
        """Args:
        config: of the run; its settings are what is advised about.
        mesh: of the state.
        """
        self._config = config
        self._mesh = mesh

    def check_window(self, values: StepMetrics, names: Sequence[str], first: int, last: int):
        """Refuses the metrics of a window of steps.

        Args:
            values: their sums, on the host.
            names: of the tensors that `gradient_norms` is of.
            first: first step of the window.
            last: its last one.

        Raises:
            FlanJaxError: one is not finite; names it and the window.
        """
        tokens = max(float(values.tokens), 1.0)
        gradients = _named(names, np.isfinite(values.gradient_norms))
        kinds = {
            "loss": float(values.loss) / tokens,
            f"gradient{_of(gradients)}": float(values.gradient_norm),
            "update of the weights": float(values.update_norm),
            "norm of the weights": float(values.params_norm),
        }
        for what, value in kinds.items():
            if not np.isfinite(value):
                when = f"steps {first} to {last}" if first < last else f"step {last}"
                raise FlanJaxError(
                    f"the {what} became {value} in {when}; the newest checkpoint is from before. "
                    f"{self._advice(values)}"
                )

    def check_state(self, state: TrainState, step: int) -> None:
        """Refuses a state that is not finite.

        Raises:
            FlanJaxError: names up to three tensors.
        """
        flags = jax.device_get(self._all_finite(state))
        if bad := _named(_names(state), flags):
            raise FlanJaxError(
                f"after step {step} there are values that are not finite{_of(bad)}; this is not "
                f"saved, and the newest checkpoint is from before. {self._advice()}"
            )

    @functools.cached_property
    def _all_finite(self) -> Any:
        def flags(state: TrainState) -> jax.Array:
            return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)])

        return jax.jit(flags, out_shardings=mesh_lib.replicated(self._mesh))

    def _advice(self, values: StepMetrics | None = None) -> str:
        z_loss, peak = self._config.loss.z_loss, self._config.optimizer.schedule.peak
        share = float(values.z_loss / values.loss) if values is not None else np.nan
        if share > _LARGE_SHARE or (not np.isfinite(share) and z_loss > _LARGE_Z_LOSS):
            how = f", which makes {100 * share:.0f} % of the loss" if np.isfinite(share) else ""
            return f"Lower Z_LOSS={z_loss:g}{how} (1e-4 is usual)"
        return f"Lower LEARNING_RATE={peak:g}, or look at the examples of these steps"


def _named(names: Sequence[str], finite: Any) -> list[str]:
    return [name for name, right in zip(names, finite, strict=True) if not right]


def _of(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" of {', '.join(names[:_SHOWN])}{more}" if names else ""


def _names(state: TrainState) -> list[str]:
    """Names of all leaves, such as `encoder/norm/scale` and `optimizer v of encoder/norm/scale`."""
    found = []
    for path, _ in jax.tree_util.tree_leaves_with_path(state):
        keys = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        attributes = [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)]
        name = str(keys[-1]) if keys else "all"
        found.append(name if attributes[0] == "params" else f"optimizer {attributes[-1]} of {name}")
    return found
