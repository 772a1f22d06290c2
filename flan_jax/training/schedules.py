"""Learning rates by step, as the papers use them; each schedule is an optax one."""

import dataclasses

import gin
import jax.numpy as jnp
import optax

from flan_jax import macros
from flan_jax.errors import ConfigError


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the learning rate changes.

    Attributes:
        name: "constant"; "rsqrt", which falls with the inverse square root of the step (Raffel
            et al. 2020, section 3.1.2: there 1/sqrt(max(n, 10^4)), which is a peak of 0.01 and
            10,000 warm-up steps here, but for the flat start); "linear" or "cosine", which fall
            from the peak to `end` times the peak at `decay_steps`.
        peak: the largest learning rate.
        warmup_steps: steps in which it rises linearly from 0 to the peak.
        decay_steps: step at which "linear" and "cosine" reach their end, warm-up included.
        end: what is left then, as a share of the peak.
    """

    name: str = "constant"
    peak: float = 1e-3
    warmup_steps: int = 0
    decay_steps: int = 0
    end: float = 0.0

    def __post_init__(self) -> None:
        macros.check(
            LEARNING_RATE_SCHEDULE=self.name,
            LEARNING_RATE=self.peak,
            WARMUP_STEPS=self.warmup_steps,
            LEARNING_RATE_DECAY_STEPS=self.decay_steps,
            LEARNING_RATE_END=self.end,
        )
        if self.name == "rsqrt" and self.warmup_steps == 0:
            raise ConfigError("LEARNING_RATE_SCHEDULE 'rsqrt' needs WARMUP_STEPS above 0")
        if self.name in ("linear", "cosine") and self.decay_steps <= self.warmup_steps:
            raise ConfigError(
                f"LEARNING_RATE_SCHEDULE {self.name!r} has {self.decay_steps} steps to decay, "
                f"{self.warmup_steps} of them warm-up: set LEARNING_RATE_DECAY_STEPS above that"
            )

    def build(self) -> optax.Schedule:
        """Returns the learning rate as a function of the number of finished steps."""
        warmup, after = self.warmup_steps, self.decay_steps - self.warmup_steps
        if self.name == "constant":
            decay = optax.constant_schedule(self.peak)
        elif self.name == "rsqrt":
            # optax asks for it during warm-up as well, with steps below 0, and drops the answer.
            decay = lambda step: self.peak * (warmup / jnp.maximum(step + warmup, 1)) ** 0.5  # noqa: E731
        elif self.name == "linear":
            decay = optax.linear_schedule(self.peak, self.end * self.peak, after)
        else:
            decay = optax.cosine_decay_schedule(self.peak, after, self.end)
        if warmup == 0:
            return decay
        # Step 0 is trained too: it gets 1 / warmup of the peak rather than nothing.
        rise = lambda step: self.peak * (step + 1) / warmup  # noqa: E731
        return optax.join_schedules([rise, decay], [warmup])
