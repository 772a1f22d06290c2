"""The state of training and the one step that advances it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.models.families import Model, Params
from flan_jax.models.sharding import axis_rules
from flan_jax.training import losses
from flan_jax.training import mesh as mesh_lib

Batch = Mapping[str, jax.Array]
Shapes = dict[str, jax.ShapeDtypeStruct]
# Rows of a batch, and the weights of their target tokens.
Part = tuple[Batch, jax.Array]


class TrainState(NamedTuple):
    """What changes from step to step; randomness is a function of the step and not in here.

    Attributes:
        params: the parameters that train, by name.
        optimizer: state of the optimizer.
    """

    params: Params
    optimizer: Any


class StepMetrics(NamedTuple):
    """Sums over one step's batch; float32 scalars on the device until they are read.

    Attributes:
        loss: see `losses.LossSums`, like `z_loss`, `correct` and `tokens`.
        gradient_norm: Euclidean norm of the whole gradient, before it is clipped.
        params_norm: of all parameters that train after the step; not finite once any of them is
            not.
        update_norm: of what the step adds to the parameters.
        gradient_norms: of the gradient of each parameter that trains, by sorted name [parameters].
    """

    loss: jax.Array
    z_loss: jax.Array
    correct: jax.Array
    tokens: jax.Array
    gradient_norm: jax.Array
    params_norm: jax.Array
    update_norm: jax.Array
    gradient_norms: jax.Array

    def __add__(self, other: "StepMetrics") -> "StepMetrics":  # type: ignore[override]
        return StepMetrics(*(a + b for a, b in zip(self, other, strict=True)))


@dataclasses.dataclass(frozen=True)
class StepRecipe:
    """All that makes a step, but for where it runs.

    Attributes:
        model: the model.
        optimizer: what turns gradients into updates.
        loss: the objective.
        microbatches: parts of the batch whose gradients are summed one after another; each holds
            its own activations, so memory falls and the result stays.
        seed: of initial weights and dropout.
    """

    model: Model
    optimizer: optax.GradientTransformation
    loss: losses.Loss = dataclasses.field(default_factory=losses.Loss)
    microbatches: int = 1
    seed: int = 0

    @property
    def trained(self) -> Shapes:
        """Shape and dtype of every parameter that trains."""
        shapes = self.model.shapes
        return {name: shapes[name] for name in self.model.trained}


def state_shardings(recipe: StepRecipe, mesh: Any) -> TrainState:
    """Returns the sharding of every array of a train state.

    Statistics of a parameter lie as it does: one as large as the parameter in the same way, a
    factored one along the axes that it kept. Counts are replicated.
    """
    axes, shapes = recipe.model.axes, recipe.trained
    by_name = mesh_lib.parameter_shardings(axes, shapes, mesh)
    optimizer_state = jax.eval_shape(recipe.optimizer.init, shapes)

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        if not names or names[-1] not in by_name:
            return mesh_lib.replicated(mesh)
        name, statistic = names[-1], [getattr(key, "name", None) for key in path]
        spec = tuple(by_name[name].spec)
        if shapes[name].shape == leaf.shape:
            return by_name[name]
        for kind in ("v_row", "v_col"):
            if kind in statistic and leaf.ndim == len(spec) - 1:
                gone = _reduced_axis(shapes[name].shape, axes[name], kind)
                if leaf.shape == tuple(np.delete(shapes[name].shape, gone)):
                    return NamedSharding(mesh, PartitionSpec(*spec[:gone], *spec[gone + 1 :]))
        return mesh_lib.replicated(mesh)

    return TrainState(by_name, jax.tree_util.tree_map_with_path(place, optimizer_state))


def _reduced_axis(shape: tuple[int, ...], axes: tuple[str | None, ...], kind: str) -> int:
    """Axis that optax averages over: the largest for v_row, the second largest for v_col."""
    own = [axis for axis, name in enumerate(axes) if name != "layers"]
    by_size = sorted(own, key=lambda axis: shape[axis])
    return by_size[-1 if kind == "v_row" else -2]


def abstract_state(recipe: StepRecipe, shardings: TrainState) -> TrainState:
    """Returns shapes, dtypes and shardings of a train state, for restoring into."""
    shapes = recipe.trained
    state = TrainState(shapes, jax.eval_shape(recipe.optimizer.init, shapes))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )


def init_state(recipe: StepRecipe, shardings: TrainState) -> TrainState:
    """Returns a fresh state, made where it will lie; the same on every mesh."""

    def init(key: jax.Array) -> TrainState:
        drawn = recipe.model.init(key)
        params = {name: drawn[name] for name in recipe.model.trained}
        return TrainState(params, recipe.optimizer.init(params))

    return jax.jit(init, out_shardings=shardings)(jax.random.key(recipe.seed))


def train_step(
    state: TrainState,
    batch: Batch,
    step: jax.Array,
    frozen: Params | None = None,
    *,
    recipe: StepRecipe,
) -> tuple[TrainState, StepMetrics]:
    """Returns the next state and this step's metrics.

    The dropout key is a function of seed and step, so that a resumed run draws what an
    uninterrupted one would.

    Args:
        state: the state.
        batch: what the model's layout makes.
        step: number of finished steps.
        frozen: the parameters that do not train, by name.
        recipe: all that makes a step.
    """
    key = None
    if recipe.model.config.dropout_rate > 0:
        key = jax.random.fold_in(jax.random.key(recipe.seed), step)
    gradients, sums = loss_gradients(state.params, batch, key, recipe, frozen)
    updates, optimizer = recipe.optimizer.update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = StepMetrics(
        sums.loss,
        sums.z_loss,
        sums.correct,
        sums.tokens,
        gradient_norm=optax.global_norm(gradients),
        params_norm=optax.global_norm(params),
        update_norm=optax.global_norm(updates),
        gradient_norms=jnp.stack([optax.global_norm(gradients[n]) for n in sorted(gradients)]),
    )
    return TrainState(params, optimizer), metrics


def loss_gradients(
    params: Params,
    batch: Batch,
    key: jax.Array | None,
    recipe: StepRecipe,
    frozen: Params | None = None,
) -> tuple[Params, losses.LossSums]:
    """Returns the gradient of the objective over a batch, and the sums of `loss_sums`."""
    targets = recipe.model.targets(batch)
    weights, divisor = recipe.loss.weights(targets.counted_BxT, targets.segments_BxT)
    whole = (batch, weights)

    def objective(params: Params, part: Part, key: Any) -> tuple[jax.Array, losses.LossSums]:
        sums = loss_sums({**(frozen or {}), **params}, *part, key, recipe)
        return sums.objective / divisor, sums

    gradient = jax.grad(objective, has_aux=True)
    if recipe.microbatches == 1:
        return gradient(params, whole, key)

    def add(total: Any, numbered: tuple[jax.Array, Part]) -> tuple[Any, None]:
        number, part = numbered
        part_key = None if key is None else jax.random.fold_in(key, number)
        return jax.tree.map(jnp.add, total, gradient(params, part, part_key)), None

    parts = jax.tree.map(lambda x: _interleave(x, recipe.microbatches), whole)
    zeros = (jax.tree.map(jnp.zeros_like, params), losses.LossSums.zeros())
    return jax.lax.scan(add, zeros, (jnp.arange(recipe.microbatches), parts))[0]


def _interleave(x: jax.Array, parts: int) -> jax.Array:
    """Cuts rows [B, ...] into [parts, B / parts, ...], every device giving some to each part."""
    return jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)


def loss_sums(
    params: Params,
    batch: Batch,
    weights_BxT: jax.Array | None,
    key: jax.Array | None,
    recipe: StepRecipe,
) -> losses.LossSums:
    """Returns the loss of a batch, summed over its tokens.

    Args:
        params: parameters by name.
        batch: what the model's layout makes.
        weights_BxT: of each target token in the objective; all alike where None.
        key: of dropout; None drops nothing.
        recipe: the model and its loss.
    """
    hidden, head = recipe.model.hidden_and_head(params, batch, key)
    tokens, counted, _ = recipe.model.targets(batch)
    weights = counted if weights_BxT is None else weights_BxT
    return recipe.loss.sums(head, hidden, tokens, counted, weights)


def parameter_shardings(recipe: StepRecipe, mesh: Any) -> dict[str, NamedSharding]:
    """Returns the sharding of every parameter, whether it trains or not."""
    return mesh_lib.parameter_shardings(recipe.model.axes, recipe.model.shapes, mesh)


def compile_train_step(recipe: StepRecipe, shardings: TrainState, mesh: Mesh) -> Any:
    """Returns the jitted step `(state, batch, step, frozen) -> (state, metrics)`.

    `frozen` are the parameters that do not train, left out where all do. The old state is donated:
    it is gone after the call.
    """
    everywhere = mesh_lib.replicated(mesh)
    trained = recipe.model.trained
    frozen_shardings = {
        name: sharding
        for name, sharding in parameter_shardings(recipe, mesh).items()
        if name not in trained
    }

    def step_fn(state: TrainState, batch: Batch, step: jax.Array, frozen: Params = {}) -> Any:  # noqa: B006 - a tree without leaves
        with axis_rules(mesh, mesh_lib.RULES):
            return train_step(state, batch, step, frozen, recipe=recipe)

    in_shardings = (shardings, mesh_lib.batch_sharding(mesh), everywhere)
    return jax.jit(
        step_fn,
        in_shardings=(*in_shardings, frozen_shardings) if frozen_shardings else in_shardings,
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )


def compile_eval_step(recipe: StepRecipe, mesh: Mesh) -> Any:
    """Returns the jitted `(params, batch) -> LossSums`, without dropout, of all parameters."""

    @functools.partial(
        jax.jit,
        in_shardings=(parameter_shardings(recipe, mesh), mesh_lib.batch_sharding(mesh)),
        out_shardings=mesh_lib.replicated(mesh),
    )
    def step_fn(params: Params, batch: Batch) -> losses.LossSums:
        with axis_rules(mesh, mesh_lib.RULES):
            return loss_sums(params, batch, None, None, recipe)

    return step_fn
