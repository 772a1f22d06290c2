"""What a run starts from: fresh weights, those of a checkpoint, or adapters on frozen ones."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.adapters.frozen import SCALE
from flan_jax.adapters.soft_prompt import SoftPrompt
from flan_jax.errors import ConfigError
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.families import Model, Params
from flan_jax.training import checkpoints, own_runs, restore, tuned_weights
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.config import TrainConfig
from flan_jax.training.state import StepRecipe, TrainState
from flan_jax.training.tuned_weights import OnBase

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Frozen:
    """The weights of a run that do not train, and where they are from.

    Attributes:
        params: the weights by name, where they are to lie; none where all train.
        source: what they were read from, as a person names it.
    """

    params: Params = dataclasses.field(default_factory=dict)
    source: str | None = None

    @property
    def facts(self) -> dict[str, Any] | None:
        """What a checkpoint says of them; None where there are none."""
        if self.source is None:
            return None
        sums = tuned_weights.checksums(self.params)
        return {tuned_weights.NAMED: _name(self.source), tuned_weights.CHECKSUMS: sums}


def _name(source: str) -> str:
    """Returns how a checkpoint names its base: no place of this machine."""
    prefix, colon, rest = source.rpartition(":")
    return f"{prefix}{colon}{rest.rstrip('/').rpartition('/')[2]}"


def digest(facts: Mapping[str, Any]) -> str:
    """Returns one word for the frozen weights that a checkpoint tells of."""
    text = json.dumps(facts[tuned_weights.CHECKSUMS], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_frozen(config: TrainConfig, model: Model, mesh: Any, say: Say) -> Frozen:
    """Reads the weights that do not train.

    Args:
        config: of the run.
        model: what it trains.
        mesh: on which they are to lie.
        say: told what they are of.

    Raises:
        ConfigError: nothing says where they are.
        CheckpointError: see `restore.open_part`; or they are of another model.
    """
    if not tuned_weights.is_tuned(model):
        if config.base_checkpoint_path:
            raise ConfigError(
                "BASE_CHECKPOINT_PATH is for frozen weights; with TRAINABLE='all' "
                "INITIAL_CHECKPOINT_PATH says what a run starts from"
            )
        return Frozen()
    source = config.base_checkpoint_path or _base_of(config, model, say)
    base = restore.open_part(source, None, tuned_weights.base_model(model), say)
    shardings = mesh_lib.parameter_shardings(model.axes, model.shapes, mesh)
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shardings[name])
        for name, leaf in model.shapes.items()
        if name not in model.trained
    }
    params = tuned_weights.read_frozen(base, model, wanted)
    base.release()
    say(f"frozen: {len(params)} of {len(model.shapes)} arrays, as in {base.path}")
    return Frozen(params, source)


def _base_of(config: TrainConfig, model: Model, say: Say) -> str:
    """Returns what to read frozen weights from, where BASE_CHECKPOINT_PATH does not say."""
    initial = config.initial_checkpoint_path
    if checkpoints.list_steps(config.model_dir):  # of a run that goes on
        found = checkpoints.find(config.model_dir, weights_only=True)
        remembered = (own_runs.recall(found.run, found.path) if found else None) or {}
        initial = remembered.get(own_runs.BASE) or initial
    if not initial:
        raise ConfigError(
            "INITIAL_CHECKPOINT_PATH must name the weights that TRAINABLE="
            f"{model.config.trainable!r} leaves as they are, such as hf:google/gemma-3-270m"
        )
    found = restore.require(initial, say)
    remembered = own_runs.recall(found.run, found.path) or {}
    found.release()
    if isinstance(found, OnBase) and found.model.describe() == model.describe():
        if own_runs.BASE not in remembered:
            raise ConfigError(f"BASE_CHECKPOINT_PATH must name what {initial} was tuned on")
        return remembered[own_runs.BASE]
    return initial


def first_state(
    config: TrainConfig,
    recipe: StepRecipe,
    shardings: TrainState,
    frozen: Frozen,
    say: Say,
) -> TrainState:
    """Returns the state that a new run starts from.

    Args:
        config: of the run.
        recipe: what a step is made of.
        shardings: of the state.
        frozen: what does not train.
        say: told what it is.

    Raises:
        CheckpointError: INITIAL_CHECKPOINT_PATH does not fit.
    """
    model, where, part = (
        recipe.model,
        config.initial_checkpoint_path,
        config.initial_checkpoint_part,
    )
    state = state_lib.init_state(recipe, shardings)
    if not where:
        if frozen.source is None:
            say(f"starting at step 0 with fresh weights (seed {config.seed})")
            return state
        where = frozen.source
    if not tuned_weights.is_tuned(model):
        source = restore.open_part(where, part, model, say)
        params = checkpoints.restore_params(source, state.params, part)
        say(f"starting at step 0 with {part or 'the weights'} of {source.path}")
        source.release()
        return state._replace(params=params)
    if part is not None:
        raise ConfigError(
            "INITIAL_CHECKPOINT_PART goes with TRAINABLE='all'; all that is frozen "
            "is read from one checkpoint"
        )
    params = _tuned_params(where, model, state.params, frozen, config.seed, say)
    say(f"starting at step 0; {len(params)} of {len(model.shapes)} arrays train")
    return state._replace(params=params)


def _tuned_params(
    where: str, model: Model, fresh: Params, frozen: Frozen, seed: int, say: Say
) -> Params:
    """Returns what trains of a tuned model, as it begins."""
    found = restore.require(where, say, frozen.source)
    if isinstance(found, OnBase) and found.model.describe() == model.describe():
        wanted = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in fresh.items()
        }
        params = found.read(wanted, whole=False)
        found.release()
        say(f"what trains starts as it is in {found.path}")
        return params
    found.release()
    if (prompt := model.config.soft_prompt) is not None:
        return {
            name: _prompt_vectors(prompt, name, value, model, frozen.params, seed)
            for name, value in fresh.items()
        }
    own = tuned_weights.base_model(model)
    of_base = {name: leaf for name, leaf in fresh.items() if name in own.shapes}
    if not of_base:
        return fresh
    base = restore.open_part(where, None, own, say)
    read = base.read(
        {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in of_base.items()
        },
        whole=False,
    )
    base.release()
    return {**fresh, **read}


def _prompt_vectors(
    prompt: SoftPrompt, name: str, fresh: jax.Array, model: Model, frozen: Params, seed: int
) -> jax.Array:
    """Returns the vectors of a soft prompt as they begin."""
    labels = [VOCABULARY.encode(label) for label in prompt.labels]
    rows = prompt.rows(labels, model.config.vocab_size, VOCABULARY, seed)
    if rows is None:
        return fresh
    table = f"{name.rpartition('/')[0]}/embedding"

    def vectors(params: Params) -> jax.Array:
        found = []
        for tokens in map(np.asarray, rows):
            looked_up = params[table][tokens].astype(jnp.float32)
            if (scale := params.get(f"{table}{SCALE}")) is not None:
                looked_up *= scale[tokens][:, None]
            found.append(jnp.mean(looked_up, axis=0))
        return jnp.stack(found).astype(fresh.dtype)

    return jax.jit(vectors, out_shardings=fresh.sharding)(frozen)
