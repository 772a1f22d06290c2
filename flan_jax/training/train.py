"""The one training loop. It knows neither a dataset nor a model family by name."""

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from flan_jax.data import loader
from flan_jax.data import plan as plan_lib
from flan_jax.data.plan import Plan, PlanConfig
from flan_jax.data.prepare import PreparedMixture, Renderings, prepare
from flan_jax.errors import ConfigError, FlanJaxError
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.families import Model
from flan_jax.training import checkpoints, digest, identity, optimizers
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.lock import lock_directory
from flan_jax.training.telemetry import Telemetry, Window


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on; gin binds it from macros (gin_configs/runs/flan_jax).

    Attributes:
        model: config of a model family, such as `T5Config`.
        mixture: SeqIO task or mixture.
        model_dir: where checkpoints, metrics and configuration go; an earlier run there is
            continued.
        train_steps: number of steps, those of earlier runs in `model_dir` included.
        feature_lengths: tokens of a row, {"inputs": ..., "targets": ...}.
        batch_size: rows of a step over all devices.
        learning_rate: constant; for Adafactor relative to the scale of each parameter.
        optimizer: "adafactor" or "adamw".
        z_loss: see `losses.cross_entropy`.
        packing: whether rows hold several examples.
        split: split of the tasks to train on.
        renderings: renderings of each task; epoch e trains on rendering e mod this.
        render_seed: of templates and other draws.
        seed: of initial weights, dropout and the order of data.
        modules: task modules, for worker processes that prepare data.
        prepared_dir: where prepared records are; see `settings.cache_root`.
        initial_checkpoint_path: run or checkpoint whose weights a new run starts from.
        checkpoint_period: steps between checkpoints.
        keep_checkpoints: number of checkpoints to keep.
        log_period: steps between reports.
        sharding: preset in `mesh.PRESETS`.
    """

    model: Any
    mixture: str
    model_dir: str
    train_steps: int
    feature_lengths: Mapping[str, int]
    batch_size: int
    learning_rate: float = 1e-3
    optimizer: str = "adafactor"
    z_loss: float = 1e-4
    packing: bool = True
    split: str = "train"
    renderings: int = 1
    render_seed: int = 0
    seed: int = 0
    modules: Any = ()
    prepared_dir: str | None = None
    initial_checkpoint_path: str | None = None
    checkpoint_period: int = 1000
    keep_checkpoints: int = 3
    log_period: int = 10
    sharding: str = "data"

    def __post_init__(self) -> None:
        for field in ("train_steps", "batch_size", "checkpoint_period", "log_period"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 1:
                raise ConfigError(f"{field} must be a whole number above 0")
        lengths = self.feature_lengths
        if not isinstance(lengths, Mapping) or set(lengths) != {"inputs", "targets"}:
            raise ConfigError("TASK_FEATURE_LENGTHS needs 'inputs' and 'targets' and no others")


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        step: number of finished steps.
        preempted: whether SIGTERM ended it before its last step.
        digest: the data digest.
    """

    step: int
    preempted: bool
    digest: str


def make_plan(config: TrainConfig, mixture: PreparedMixture) -> Plan:
    """Returns which examples go where."""
    layout = PlanConfig(
        inputs_length=config.feature_lengths["inputs"],
        targets_length=config.feature_lengths["targets"],
        batch_size=config.batch_size,
        packing=config.packing,
        seed=config.seed,
    )
    return Plan(mixture.tables, mixture.rates, layout)


def prepare_once(config: TrainConfig, say: Any) -> PreparedMixture:
    """Prepares on process 0 while the others wait, then opens everywhere."""

    def go() -> PreparedMixture:
        return prepare(
            config.mixture,
            config.split,
            Renderings(config.renderings, config.render_seed),
            config.prepared_dir,
            modules=[config.modules] if isinstance(config.modules, str) else config.modules or (),
            report=say,
        )

    prepared = go() if jax.process_index() == 0 else None
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("prepared")
    return prepared or go()


def run_identity(config: TrainConfig, model: Model, plan: Plan, mixture: PreparedMixture) -> dict:
    """Returns the facts that a continued run must share with its checkpoint; see `identity`."""
    return {
        "model": json.loads(json.dumps(model.describe())),
        "vocabulary": VOCABULARY.fingerprint,
        "tasks": mixture.recipes,
        "rates": {table.name: mixture.rates[table.name] for table in plan.tables},
        "plan": {
            "format": plan_lib.FORMAT,
            **dataclasses.asdict(plan.config),
            "split": config.split,
            "renderings": config.renderings,
            "render_seed": config.render_seed,
        },
        "optimizer": config.optimizer,
        "seed": config.seed,
    }


class Preemption:
    """Whether the run was asked to stop by SIGTERM.

    With several processes all must stop at the same step, so jax's own service, which agrees on
    one, handles the signal; alone, a handler sets a flag.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: Any) -> None:
        self._asked = True

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def close(self) -> None:
        """Puts the handler of before back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def read_metrics(sums: state_lib.StepMetrics, first: int, last: int) -> dict[str, float]:
    """Waits for a window's metrics and returns means over its target tokens.

    Raises:
        FlanJaxError: the loss is not finite; names the window.
    """
    values = jax.device_get(sums)
    tokens = max(float(values.tokens), 1.0)
    loss = float(values.loss) / tokens
    for what, value in (("loss", loss), ("norm of the weights", float(values.params_norm))):
        if not np.isfinite(value):
            raise FlanJaxError(
                f"the {what} became {value} in steps {first} to {last}; the newest checkpoint is "
                "from before. Lower LEARNING_RATE, or look at the examples of these steps"
            )
    steps = last - first + 1
    return {
        "loss": loss,
        "z_loss": float(values.z_loss) / tokens,
        "accuracy": float(values.correct) / tokens,
        "target_tokens": tokens,
        "gradient_norm": float(values.gradient_norm) / steps,
        "params_norm": float(values.params_norm) / steps,
    }


def train(config: TrainConfig, parts_text: str = "", macros_text: str = "") -> Result:
    """Trains until `train_steps`, from wherever an earlier run in `model_dir` got to.

    Args:
        config: the run.
        parts_text: the whole configuration as gin text, kept beside the checkpoints.
        macros_text: values of all macros as gin text, kept in each checkpoint, so that it can
            be evaluated without the files it came from.

    Raises:
        FlanJaxError: bad input, an incompatible or damaged checkpoint, a loss that is not finite.
    """
    with lock_directory(config.model_dir) if jax.process_index() == 0 else _nothing():
        return _train(config, parts_text, macros_text)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _train(config: TrainConfig, parts_text: str, macros_text: str) -> Result:
    # 1. Devices. Refuse what cannot run before any work is done.
    mesh = mesh_lib.make_mesh()
    mesh_lib.check_batch_size(config.batch_size, mesh)
    main = jax.process_index() == 0

    def say(text: str) -> None:
        if main:
            print(text, flush=True)

    # 2. Data: what is not prepared is prepared now; the plan says which example goes where.
    mixture = prepare_once(config, say)
    plan = make_plan(config, mixture)
    stats = plan.stats()
    say(f"{config.mixture}: {len(plan.tables)} tasks; an epoch is {stats}")

    # 3. Model and optimizer, as shapes only.
    model = Model(config.model)
    optimizer = optimizers.make_optimizer(config.optimizer, config.learning_rate, model.axes)
    shardings = state_lib.state_shardings(model, optimizer, mesh, config.sharding)
    parameters = sum(int(np.prod(leaf.shape)) for leaf in model.shapes.values())
    say(f"model: {parameters:,} parameters on {mesh.size} {jax.devices()[0].platform} device(s)")

    # 4. Where to start, in this order: the newest sound checkpoint of model_dir, the weights of
    #    initial_checkpoint_path, fresh weights. Nothing is read of a checkpoint of another run.
    facts = run_identity(config, model, plan, mixture)
    found = checkpoints.find(config.model_dir, say)
    start, data_digest = 0, digest.DATA_START
    target = state_lib.abstract_state(model, optimizer, shardings)
    if found is not None:
        identity.check_unchanged(found.run["fingerprint"], facts, str(found.path))
        state = state_lib.TrainState(
            checkpoints.restore_params(found.path, target.params),
            checkpoints.restore_optimizer(found.path, target.optimizer),
        )
        start, data_digest = found.step, found.run["data"]["digest"]
        plan.recall_rows(found.run["data"]["rows_before"])
        say(f"resuming at step {start} from {found.path}, the newest checkpoint of MODEL_DIR")
        if main:
            checkpoints.set_aside(config.model_dir, found.step, say)
    else:
        state = state_lib.init_state(model, optimizer, shardings, config.seed)
        if config.initial_checkpoint_path:
            source = checkpoints.require(config.initial_checkpoint_path, say)
            identity.check_vocabulary(source.run["fingerprint"], facts, str(source.path))
            params = checkpoints.restore_params(source.path, target.params)
            state = state._replace(params=params)
            say(f"starting at step 0 with the weights of {source.path}")
        else:
            say(f"starting at step 0 with fresh weights (seed {config.seed})")
    if start >= config.train_steps:
        say(f"nothing to do: step {start} of {config.train_steps} is reached already")
        return Result(start, False, data_digest)

    # 5. Telemetry, checkpoints, the compiled step.
    if main:
        (epath.Path(config.model_dir) / "config.gin").write_text(parts_text)
    telemetry = Telemetry(config.model_dir, start, config.train_steps, main)
    saver = checkpoints.Saver(config.model_dir, config.keep_checkpoints)
    preemption = Preemption()
    step_fn = state_lib.compile_train_step(
        model, optimizer, shardings, mesh, seed=config.seed, z_loss=config.z_loss
    )
    special = loader.Layout(VOCABULARY.pad_id, VOCABULARY.eos_id)
    rows = mesh_lib.local_rows(config.batch_size)
    source_of = loader.BatchSource(plan, mixture.units, special, config.train_steps, rows)
    batches = loader.prefetch(source_of, start)
    row_length = sum(config.feature_lengths.values())

    def save(step: int) -> None:
        run = {
            "step": step,
            "data": {
                "plan": plan.fingerprint,
                "next_batch": step,
                "digest": data_digest,
                "rows_before": plan.known_rows,
            },
            "fingerprint": facts,
            "macros": macros_text,
        }
        saver.save(step, state.params, state.optimizer, run)

    # 6. The loop. Metrics stay on the device until their window ends, so that between reports the
    #    device never waits for the host. They are also read before each save: what is not finite
    #    is never saved.
    window, sums, saved = Window(), None, start
    step, window_start, stopped = start, start, False
    try:
        for step in range(start + 1, config.train_steps + 1):
            before = time.perf_counter()
            batch = next(batches)
            window.waited += time.perf_counter() - before
            arrays = mesh_lib.place_batch(batch.arrays, mesh)
            state, metrics = step_fn(state, arrays, jnp.asarray(step - 1, jnp.int32))
            sums = metrics if sums is None else sums + metrics
            data_digest = digest.chain(data_digest, batch.digest)
            window.steps += 1
            window.examples += batch.examples
            window.tokens += loader.count_tokens(batch.arrays) * jax.process_count()
            window.positions += config.batch_size * row_length
            if step == start + 1:  # it compiles: its time would hide that of all others
                jax.block_until_ready(sums)
                seconds = time.perf_counter() - window.started
                telemetry.say(f"first step: {seconds:.1f} s, most of it compilation")
                window = Window()
            telemetry.advance()
            saver.poll()

            last = step == config.train_steps
            stopped = preemption.reached(step) and not last
            due = step % config.checkpoint_period == 0 or last or stopped
            if step % config.log_period == 0 or due:
                means = read_metrics(sums, window_start + 1, step)
                telemetry.metrics(step, {**means, **window.report()})
                window, sums, window_start = Window(), None, step
            if due:
                save(step)
                saved = step
            if stopped:
                telemetry.say(f"SIGTERM: saving at step {step} and stopping")
                break
    finally:
        # 7. Whatever ended the loop, what was being saved is finished.
        saver.close()
        telemetry.close()
        preemption.close()
    telemetry.say(f"saved step {saved} in {config.model_dir}")
    return Result(step, stopped, data_digest)
