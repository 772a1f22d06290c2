"""What a run trains and validates on: prepared mixtures, their plans and their batches."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh

from flan_jax.data import loader
from flan_jax.data.plan import Plan, PlanConfig
from flan_jax.data.prepare import PreparedMixture, prepare
from flan_jax.data.units import Renderings
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.families import Model
from flan_jax.models.layouts import Layout
from flan_jax.modules import module_list
from flan_jax.training import losses
from flan_jax.training import mesh as mesh_lib
from flan_jax.training.config import TrainConfig
from flan_jax.training.processes import first_then_all

Say = Callable[[str], None]


def prepare_once(
    config: TrainConfig, mixture: str, split: str, renderings: int, say: Say, fresh: bool = False
) -> PreparedMixture:
    """Prepares on process 0 while the others wait, then opens everywhere."""

    def go(fresh: bool = False) -> PreparedMixture:
        return prepare(
            mixture,
            split,
            Renderings(renderings, config.render_seed),
            config.prepared_dir,
            modules=module_list(config.modules),
            fresh=fresh,
            layout=config.model.row_layout.name,
            report=say,
        )

    return first_then_all(lambda: go(fresh), go, f"prepared {mixture} {split}")


def make_plan(config: TrainConfig, mixture: PreparedMixture, layout: Layout) -> Plan:
    """Returns which examples go where, in rows of the model's layout."""
    rows = PlanConfig(
        inputs_length=config.feature_lengths["inputs"],
        targets_length=config.feature_lengths["targets"],
        batch_size=config.batch_size,
        packing=config.packing,
        seed=config.seed,
        layout=layout.name,
    )
    return Plan(mixture.tables_for(layout.framing.added), mixture.rates, rows)


def batch_source(
    config: TrainConfig,
    plan: Plan,
    mixture: PreparedMixture,
    layout: Layout,
    mesh: Mesh,
    steps: int,
) -> loader.BatchSource:
    """Returns this process's rows of every batch, by step."""
    rows = mesh_lib.local_rows(config.batch_size, mesh)
    return loader.BatchSource(plan, mixture.units, layout, steps, rows)


def run_identity(config: TrainConfig, model: Model, plan: Plan, mixture: PreparedMixture) -> dict:
    """Returns the facts that a continued run must share with its checkpoint; see `identity`."""
    facts = {
        "model": json.loads(json.dumps(model.describe())),
        "vocabulary": VOCABULARY.fingerprint,
        "tasks": mixture.recipes,
        "left_out": list(mixture.left_out),
        "rates": {table.name: mixture.rates[table.name] for table in plan.tables},
        "plan": {
            "format": plan.config.format,
            **dataclasses.asdict(plan.config),
            "split": config.split,
            "renderings": config.renderings,
            "render_seed": config.render_seed,
        },
        "optimizer": config.optimizer.name,
        "seed": config.seed,
    }
    # Runs that leave nothing out are what they were before there was a choice.
    return {**facts, "excluded": dict(mixture.excluded)} if mixture.excluded else facts


@dataclasses.dataclass(frozen=True)
class Validation:
    """Loss and accuracy on the first batches of a mixture's plan, which never change.

    Attributes:
        mixture: its name.
        source: its batches.
        eval_step: see `state.compile_eval_step`.
        mesh: of the step.
        batch_size: rows of a batch.
    """

    mixture: str
    source: loader.BatchSource
    eval_step: Any
    mesh: Mesh
    batch_size: int

    def __call__(self, moment: Any) -> dict[str, float]:
        """Returns `validation/<mixture>/loss` (nats a token) and `.../accuracy`."""
        sums: Any = None
        for arrays in self._batches():
            one = self.eval_step(moment.params, arrays)
            sums = one if sums is None else sums + one
        values: losses.LossSums = jax.device_get(sums)
        tokens = max(float(values.tokens), 1.0)
        return {
            f"validation/{self.mixture}/loss": float(values.loss - values.z_loss) / tokens,
            f"validation/{self.mixture}/accuracy": float(values.correct) / tokens,
        }

    def _batches(self) -> Iterator[dict[str, jax.Array]]:
        for step in range(len(self.source)):
            yield mesh_lib.place_batch(self.source[step].arrays, self.mesh, self.batch_size)


def make_validations(
    config: TrainConfig,
    layout: Layout,
    mesh: Mesh,
    eval_step: Any,
    say: Say,
    fresh: bool = False,
) -> Iterator[Validation]:
    """Yields one `Validation` for each mixture that the configuration names.

    A mixture that is smaller than the asked number of batches is seen once, and the rest of its
    last batch is filled from its start.
    """
    for name in config.validation.mixtures:
        mixture = prepare_once(config, name, config.validation.split, 1, say, fresh)
        plan = make_plan(config, mixture, layout)
        batches = min(config.validation.batches, -(-plan.rows_before(1) // config.batch_size))
        source = batch_source(config, plan, mixture, layout, mesh, batches)
        yield Validation(name, source, eval_step, mesh, config.batch_size)
