"""What may happen between steps: calls every so many steps, and rules that end a run."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gin

from flan_jax import macros
from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.kinds import whole_number


@dataclasses.dataclass(frozen=True)
class Moment:
    """What a hook gets to see.

    Attributes:
        step: number of finished steps.
        params: weights after it, on the devices; not to be kept, since the next step reuses
            their memory.
        metrics: the newest value of every metric so far.
        model_dir: directory of the run.
        say: prints a line.
    """

    step: int
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    model_dir: str
    say: Callable[[str], None]


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Hook:
    """A call every so many steps, and at the last one.

    With several processes it runs on all of them, at the same steps.

    Attributes:
        call: gets a `Moment`; returns metrics to be reported, or None.
        every: steps between calls.
    """

    call: Callable[[Moment], Mapping[str, float] | None]
    every: int = 1000

    def __post_init__(self) -> None:
        whole_number("a hook's `every`", self.every)

    def due(self, step: int, last: bool) -> bool:
        """Whether to call after `step`."""
        return last or step % self.every == 0


@gin.configurable
@dataclasses.dataclass(frozen=True)
class StopRule:
    """When a run has learned enough: a metric that reached a target, or no longer gets better.

    Attributes:
        metric: name of a metric, such as "loss" or "validation/<mixture>/loss".
        mode: "min" or "max": which way is better.
        target: stop once it is reached; None for no target.
        patience: stop after so many values in a row that are no better than the best before;
            None for never.
        min_delta: what counts as better.
    """

    metric: str
    mode: str = "min"
    target: float | None = None
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        macros.check(
            STOP_METRIC=self.metric,
            STOP_MODE=self.mode,
            STOP_TARGET=self.target,
            STOP_PATIENCE=self.patience,
        )
        if self.target is None and self.patience is None:
            raise ConfigError("STOP_METRIC needs STOP_TARGET or STOP_PATIENCE")

    def start(self, state: Mapping[str, float] | None = None) -> "Watch":
        """Returns a watch, at the state in which an earlier one was saved."""
        return Watch(self, **(state or {}))  # type: ignore[arg-type]


@gin.configurable
def stop_rule(
    metric: str | None = None,
    mode: str = "min",
    target: float | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
) -> StopRule | None:
    """Returns a `StopRule`, or None where no metric is named (the default of the run file)."""
    if metric is None:
        if target is not None or patience is not None:
            raise ConfigError("STOP_TARGET and STOP_PATIENCE need STOP_METRIC")
        return None
    return StopRule(metric, mode, target, patience, min_delta)


@dataclasses.dataclass
class Watch:
    """A stop rule at work; what it remembers goes into each checkpoint.

    Attributes:
        rule: the rule.
        best: best value so far.
        waited: values since then.
    """

    rule: StopRule
    best: float | None = None
    waited: int = 0

    def see(self, values: Mapping[str, float]) -> str | None:
        """Takes new values in; returns why to stop, or None."""
        rule = self.rule
        if rule.metric not in values:
            return None
        value = values[rule.metric]
        sign = 1 if rule.mode == "min" else -1
        if rule.target is not None and sign * value <= sign * rule.target:
            return f"{rule.metric} reached {value:.4g} (target {rule.target:g})"
        if self.best is None or sign * value < sign * self.best - rule.min_delta:
            self.best, self.waited = value, 0
            return None
        self.waited += 1
        if rule.patience is not None and self.waited >= rule.patience:
            return f"{rule.metric} has not been better than {self.best:.4g} {self.waited} times"
        return None

    def check(self, known: Mapping[str, float], step: int, hooks: Iterable[Hook]) -> None:
        """Refuses a metric that never comes, once all hooks have been called.

        Raises:
            ConfigError: names the nearest metric.
        """
        if known and self.rule.metric not in known and all(hook.every <= step for hook in hooks):
            hint = did_you_mean(self.rule.metric, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"STOP_METRIC: no metric {self.rule.metric!r}{hint}")

    def state(self) -> dict[str, Any]:
        """Returns what to save."""
        best = self.best if self.best is not None and math.isfinite(self.best) else None
        return {"best": best, "waited": self.waited}
