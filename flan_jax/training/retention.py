"""Which checkpoints stay: a pure function of what is known of each. No arrays, no files."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import gin

from flan_jax import macros
from flan_jax.errors import ConfigError, did_you_mean

NOTE = "retention"


@dataclasses.dataclass(frozen=True)
class Known:
    """What the policy knows of a checkpoint.

    Attributes:
        step: number of finished steps.
        proven: whether it can be counted on, see `manifest.verify`.
        temporary: saved for the wall clock or a preemption, not for its step.
        metrics: of its weights, by name.
    """

    step: int
    proven: bool = True
    temporary: bool = False
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Retention:
    """What to keep. A checkpoint stays for any one of these reasons, and for the newest of all.

    Attributes:
        keep: number of newest checkpoints that are not temporary.
        keep_period: steps; every checkpoint at a multiple is permanent. None for none.
        best_metric: metric to keep the best by, such as "eval/minilab_heldout/loss", or None.
        best_mode: "min" or "max", which values of it are good.
        keep_best: number of best checkpoints.
    """

    keep: int = 3
    keep_period: int | None = None
    best_metric: str | None = None
    best_mode: str = "min"
    keep_best: int = 1

    def __post_init__(self) -> None:
        macros.check(
            KEEP_CHECKPOINTS=self.keep,
            KEEP_CHECKPOINT_PERIOD=self.keep_period,
            BEST_METRIC=self.best_metric,
            BEST_MODE=self.best_mode,
            KEEP_BEST_CHECKPOINTS=self.keep_best,
        )

    def check_period(self, step_period: int) -> None:
        """Refuses a `keep_period` that no checkpoint would fall on, or only some.

        Raises:
            ConfigError: it is no multiple of `step_period`, the steps between checkpoints.
        """
        if self.keep_period is not None and self.keep_period % step_period:
            raise ConfigError(
                f"KEEP_CHECKPOINT_PERIOD={self.keep_period} is no multiple of "
                f"CHECKPOINT_PERIOD={step_period}, so no checkpoint is made at some of its steps"
            )

    def ranked(self, checkpoints: Iterable[Known]) -> list[int]:
        """Returns the steps that have a finite `best_metric`, best first; of equals the newest."""
        sign = 1.0 if self.best_mode == "min" else -1.0
        values = [(known.metrics.get(self.best_metric or ""), known.step) for known in checkpoints]
        finite = [(sign * v, -step) for v, step in values if v is not None and math.isfinite(v)]
        return [-step for _, step in sorted(finite)]

    def removable(self, checkpoints: Iterable[Known]) -> list[int]:
        """Returns the steps to remove, oldest first, so that a kill in between spares the new.

        Nothing goes without a proven newer one. What is not proven counts as nothing: it takes no
        place among those kept, and goes like any other once it is older than a proven one.
        """
        checkpoints = sorted(checkpoints, key=lambda known: known.step)
        proven = [known for known in checkpoints if known.proven]
        if not proven:
            return []
        newest = proven[-1].step
        by_step = [known.step for known in proven if not known.temporary]
        stay = {newest, *by_step[-self.keep :], *self.ranked(proven)[: self.keep_best]}
        return [
            known.step
            for known in checkpoints
            if known.step < newest and known.step not in stay and not self._permanent(known.step)
        ]

    def _permanent(self, step: int) -> bool:
        return self.keep_period is not None and step % self.keep_period == 0

    def missing_metric(self, metrics: Mapping[str, float]) -> str | None:
        """Returns what is wrong with `best_metric`, given the metrics of a step, or None."""
        if not metrics or self.best_metric is None or self.best_metric in metrics:
            return None
        near = did_you_mean(self.best_metric, metrics)
        near = near or f"; there are {', '.join(sorted(metrics)[:10])}"
        return f"BEST_METRIC={self.best_metric!r} is not among the metrics of this step{near}"


def write_note(
    retention: Retention, temporary: bool, metrics: Mapping[str, float]
) -> dict[str, Any]:
    """Returns what a checkpoint records for later decisions, as JSON.

    A resumed run reads it and decides as an uninterrupted one would; the rule for the best is in
    it so that `MODEL_DIR@best` needs no configuration.
    """
    return {
        "temporary": bool(temporary),
        # JSON has no word for what is not finite.
        "metrics": {
            name: float(value) if math.isfinite(value) else None for name, value in metrics.items()
        },
        "best_metric": retention.best_metric,
        "best_mode": retention.best_mode,
    }


def read_note(step: int, run: Mapping[str, Any], proven: bool = True) -> Known:
    """Returns what a checkpoint's metadata says; those of before there were notes say nothing."""
    note = run.get(NOTE) or {}
    given = note.get("metrics", {}).items()
    metrics = {name: float(value) for name, value in given if value is not None}
    return Known(step, proven, note.get("temporary", False), metrics)
