"""How tasks are chosen: every choice that a user can make, checked when it is made."""

import dataclasses
from typing import Literal, get_args

from flan_jax.errors import ConfigError, did_you_mean, quoted
from flan_jax.selector import diversity, scoring
from flan_jax.selector.baselines import METHODS
from flan_jax.selector.vectors import TRANSFORMS

Combine = Literal["mean", "max", "turns"]
INSTRUCTIONS = "instructions"


# What whole numbers may be, least and most.
_WHOLE = {
    **dict.fromkeys(("k", "most", "per_cluster", "least"), (1, 10**9)),
    "budget": (1, 10**18),
    "bootstrap": (0, 100_000),
    "seed": (0, 2**64 - 1),
}


@dataclasses.dataclass(frozen=True)
class Parameters:
    """How tasks are chosen.

    Attributes:
        method: what scores are: "instructions", or a baseline, see `baselines.METHODS`.
        k: number of tasks; None where `threshold`, `z` or `budget` decides.
        aggregation: how pairs of instructions become a score, see `scoring.aggregate`.
        top_p: share of the pairs, for "top_p".
        transform: "none", "center", "whiten" or "within", see `vectors.Transformer`.
        combine: how several targets become one ranking: "mean" or "max" of their scores, or
            "turns", in which they take tasks one after the other.
        threshold: least score.
        z: least score in standard deviations above chance, see `scoring.z_scores`.
        least: tasks that are chosen even where `threshold` or `z` would leave fewer.
        most: most tasks that `threshold`, `z` or `budget` may choose.
        diversity: "none", "mmr" or "facility".
        weight: weight of the score against diversity.
        per_cluster: most tasks of one cluster.
        budget: most tokens that the tasks may have together.
        share_sources: whether tasks that share a source dataset with a target may be chosen.
        exclude: names of tasks that may not be chosen.
        bootstrap: number of resamplings that stability is estimated from.
        seed: seed of these, and of the sample of targets that stands for chance.
    """

    method: str = "instructions"
    k: int | None = 5
    aggregation: str = "mean"
    top_p: float = scoring.TOP_P
    transform: str = "none"
    combine: str = "mean"
    threshold: float | None = None
    z: float | None = None
    least: int = 1
    most: int | None = None
    diversity: str = "none"
    weight: float = 0.7
    per_cluster: int | None = None
    budget: int | None = None
    share_sources: bool = False
    exclude: tuple[str, ...] = ()
    bootstrap: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("method", (INSTRUCTIONS, *METHODS)),
            ("transform", TRANSFORMS),
            ("combine", get_args(Combine)),
            ("diversity", diversity.DIVERSITIES),
            ("aggregation", scoring.AGGREGATIONS),
        ):
            value = getattr(self, name)
            if value not in known:
                hint = did_you_mean(value, known) or f"; there are {', '.join(known)}"
                raise ConfigError(f"{name} {value!r} is not known{hint}")
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not least <= value <= most):
                limits = f"a whole number from {least} to {most:,}"
                raise ConfigError(f"{name} = {quoted(value)} must be {limits}")
        for name in ("threshold", "z"):
            value = getattr(self, name)
            if value is not None and not -1e300 < value < 1e300:
                raise ConfigError(f"{name} = {quoted(value)} must be a finite number")
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"weight = {quoted(self.weight)} must be between 0 and 1")
        rules = (self.k, self.threshold, self.z, self.budget)
        if self.z is not None and self.method != INSTRUCTIONS:
            raise ConfigError(f"z is for scores of instructions, not for method {self.method!r}")
        if all(rule is None for rule in rules):
            raise ConfigError("one of k, threshold, z and budget must say how many tasks to choose")
