"""Optimizers through optax, with scanned layers treated as the separate matrices they are."""

import dataclasses
from collections.abc import Mapping

import gin
import jax
import optax

from flan_jax import macros
from flan_jax.training.schedules import Schedule

OPTIMIZERS = macros.choices("OPTIMIZER")
Axes = Mapping[str, tuple[str | None, ...]]


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How gradients become updates.

    Attributes:
        name: "adafactor" with T5's settings (Shazeer & Stern 2018; Raffel et al. 2020, section
            3.1.2: factored second moments, updates relative to the parameter's scale, no
            momentum), or "adamw" (Loshchilov & Hutter 2019).
        schedule: the learning rate; for Adafactor relative to the root mean square of each
            parameter.
        weight_decay: share of each weight taken off per unit of learning rate; norms and
            relative position biases are left out.
        clip_norm: gradients whose norm over all parameters is larger are scaled down to it;
            None leaves them.
        b1: AdamW's decay of the mean.
        b2: AdamW's decay of the mean square.
    """

    name: str = "adafactor"
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    weight_decay: float = 0.0
    clip_norm: float | None = None
    b1: float = 0.9
    b2: float = 0.999

    def __post_init__(self) -> None:
        macros.check(
            OPTIMIZER=self.name,
            WEIGHT_DECAY=self.weight_decay,
            GRADIENT_CLIP_NORM=self.clip_norm,
        )

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate after `step` finished steps."""
        return float(self.schedule.build()(step))

    def build(self, axes: Axes) -> optax.GradientTransformation:
        """Returns the optax optimizer for parameters with these logical axes."""
        parts = []
        if self.clip_norm is not None:
            parts.append(optax.clip_by_global_norm(self.clip_norm))
        if self.name == "adafactor":
            parts.append(per_layer(_scale_by_adafactor(), axes))
        else:
            parts.append(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=1e-8))
        if self.weight_decay:
            parts.append(
                optax.add_decayed_weights(
                    self.weight_decay,
                    lambda params: {name: is_decayed(axes[name]) for name in params},
                )
            )
        parts.append(optax.scale_by_learning_rate(self.schedule.build()))
        return optax.chain(*parts)


def is_decayed(axes: tuple[str | None, ...]) -> bool:
    """Whether weight decay applies: to matrices, not to norms and relative position biases."""
    own = [axis for axis in axes if axis != "layers"]
    return len(own) > 1 and "buckets" not in own


def _scale_by_adafactor() -> optax.GradientTransformation:
    return optax.chain(
        optax.scale_by_factored_rms(min_dim_size_to_factor=128, decay_rate=0.8),
        optax.clip_by_block_rms(1.0),
        optax.scale_by_param_block_rms(),
    )


def per_layer(optimizer: optax.GradientTransformation, axes: Axes) -> optax.GradientTransformation:
    """Applies an optimizer to each layer of a stacked parameter on its own.

    Adafactor's statistics (which two axes are factored, the scale of a parameter, clipping by
    the size of an update) are those of one matrix; over a whole stack they would couple layers
    and change with depth.
    """
    over_layers = optax.GradientTransformation(
        init=jax.vmap(optimizer.init),
        update=jax.vmap(optimizer.update),
    )

    def label(params: Mapping[str, jax.Array]) -> dict[str, str]:
        # Stacks of different depth cannot share one vmap.
        return {
            name: f"layers{value.shape[0]}" if axes[name][:1] == ("layers",) else "single"
            for name, value in params.items()
        }

    def build(params: Mapping[str, jax.Array]) -> optax.GradientTransformation:
        labels = label(params)
        members = {name: over_layers for name in set(labels.values()) if name != "single"}
        return optax.partition({**members, "single": optimizer}, labels)

    def update(updates, state, params=None):
        return build(updates).update(updates, state, params)

    return optax.GradientTransformation(lambda params: build(params).init(params), update)
