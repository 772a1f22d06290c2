"""Optimizers through optax, with scanned layers treated as the separate matrices they are."""

from collections.abc import Mapping

import jax
import optax

from flan_jax.errors import ConfigError, did_you_mean

OPTIMIZERS = ("adafactor", "adamw")


def make_optimizer(
    name: str, learning_rate: float, axes: Mapping[str, tuple[str | None, ...]]
) -> optax.GradientTransformation:
    """Returns an optimizer at a constant learning rate.

    Args:
        name: "adafactor" with T5's settings (Shazeer & Stern 2018; Raffel et al. 2020, section
            3.1.2: factored second moments, updates relative to the parameter's scale, no
            momentum), or "adamw".
        learning_rate: for Adafactor relative to the root mean square of each parameter.
        axes: logical axes by parameter name; those that begin with "layers" are stacks.

    Raises:
        ConfigError: no such optimizer.
    """
    if name == "adafactor":
        optimizer = optax.adafactor(
            learning_rate,
            min_dim_size_to_factor=128,
            decay_rate=0.8,
            multiply_by_parameter_scale=True,
            clipping_threshold=1.0,
            momentum=None,
        )
        return per_layer(optimizer, axes)
    if name == "adamw":
        return optax.adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0)
    raise ConfigError(f"no optimizer {name!r}{did_you_mean(name, OPTIMIZERS)}")


def per_layer(
    optimizer: optax.GradientTransformation, axes: Mapping[str, tuple[str | None, ...]]
) -> optax.GradientTransformation:
    """Applies an optimizer to each layer of a stacked parameter on its own.

    Adafactor's statistics (which two axes are factored, the scale of a parameter, clipping by
    the size of an update) are those of one matrix; over a whole stack they would couple layers
    and change with depth.
    """

    def over_layers() -> optax.GradientTransformation:
        return optax.GradientTransformation(
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
        members = {name: over_layers() for name in set(labels.values()) if name != "single"}
        return optax.partition({**members, "single": optimizer}, labels)

    def update(updates, state, params=None):
        return build(updates).update(updates, state, params)

    return optax.GradientTransformation(lambda params: build(params).init(params), update)
