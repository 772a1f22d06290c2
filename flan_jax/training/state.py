"""The state of training and the one step that advances it."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from flan_jax.models.families import Model, Params
from flan_jax.training import losses
from flan_jax.training import mesh as mesh_lib


class TrainState(NamedTuple):
    """What changes from step to step; randomness is a function of the step and not in here.

    Attributes:
        params: parameters by name.
        optimizer: state of the optimizer.
    """

    params: Params
    optimizer: Any


class StepMetrics(NamedTuple):
    """Sums over one step's batch; float32 scalars on the device until they are read.

    Attributes:
        loss: see `losses.LossSums`, like `z_loss`, `correct` and `tokens`.
        gradient_norm: Euclidean norm of the whole gradient.
        params_norm: of all parameters after the step; not finite once any of them is not.
    """

    loss: jax.Array
    z_loss: jax.Array
    correct: jax.Array
    tokens: jax.Array
    gradient_norm: jax.Array
    params_norm: jax.Array

    def __add__(self, other: "StepMetrics") -> "StepMetrics":  # type: ignore[override]
        return StepMetrics(*(a + b for a, b in zip(self, other, strict=True)))


def state_shardings(
    model: Model, optimizer: optax.GradientTransformation, mesh: Mesh, preset: str = "data"
) -> TrainState:
    """Returns the sharding of every array of a train state.

    A piece of optimizer state that is as large as a parameter lies as that parameter does; all
    others (counts, factored statistics) are small and replicated.
    """
    by_name = mesh_lib.parameter_shardings(model.axes, mesh, preset)
    shapes = model.shapes
    optimizer_state = jax.eval_shape(optimizer.init, shapes)

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Any:
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
        if names and names[-1] in by_name and shapes[names[-1]].shape == leaf.shape:
            return by_name[names[-1]]
        return mesh_lib.replicated(mesh)

    return TrainState(by_name, jax.tree_util.tree_map_with_path(place, optimizer_state))


def abstract_state(
    model: Model, optimizer: optax.GradientTransformation, shardings: TrainState
) -> TrainState:
    """Returns shapes, dtypes and shardings of a train state, for restoring into."""
    state = TrainState(model.shapes, jax.eval_shape(optimizer.init, model.shapes))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )


def init_state(
    model: Model, optimizer: optax.GradientTransformation, shardings: TrainState, seed: int
) -> TrainState:
    """Returns a fresh state, made where it will lie."""

    def init(key: jax.Array) -> TrainState:
        params = model.init(key)
        return TrainState(params, optimizer.init(params))

    return jax.jit(init, out_shardings=shardings)(jax.random.key(seed))


def train_step(
    state: TrainState,
    batch: Mapping[str, jax.Array],
    step: jax.Array,
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    seed: int,
    z_loss: float,
) -> tuple[TrainState, StepMetrics]:
    """Returns the next state and this step's metrics.

    The gradient is that of the mean loss over the batch's target tokens. The dropout key is a
    function of seed and step, so that a resumed run draws what an uninterrupted one would.
    """
    dropout_key = None
    if model.config.dropout_rate > 0:
        dropout_key = jax.random.fold_in(jax.random.key(seed), step)

    def mean_loss(params: Params) -> tuple[jax.Array, losses.LossSums]:
        logits = model.apply(params, batch, dropout_key)
        sums = losses.cross_entropy(
            logits, batch["decoder_target_tokens"], batch["decoder_loss_weights"], z_loss
        )
        return sums.loss / jnp.maximum(sums.tokens, 1.0), sums

    gradients, sums = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = StepMetrics(
        sums.loss,
        sums.z_loss,
        sums.correct,
        sums.tokens,
        gradient_norm=optax.global_norm(gradients),
        params_norm=optax.global_norm(params),
    )
    return TrainState(params, optimizer_state), metrics


def compile_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    shardings: TrainState,
    mesh: Mesh,
    *,
    seed: int,
    z_loss: float,
) -> Any:
    """Returns the jitted step `(state, batch, step) -> (state, metrics)`.

    The old state is donated: it is gone after the call.
    """
    step = functools.partial(train_step, model=model, optimizer=optimizer, seed=seed, z_loss=z_loss)
    everywhere = mesh_lib.replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(shardings, mesh_lib.batch_sharding(mesh), everywhere),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )
