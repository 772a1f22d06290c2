"""The one training loop. It knows neither a dataset nor a model family by name."""

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax import terminal
from flan_jax.data import exclusion, loader
from flan_jax.errors import OutputError
from flan_jax.files import lock_folder, replace_text
from flan_jax.instructions.vocabulary import VOCABULARY, check_vocabulary
from flan_jax.models.families import Model
from flan_jax.training import (
    carried_vocabulary,
    checkpoints,
    digest,
    inputs,
    model_info,
    own_runs,
    resume,
    stored_settings,
    telemetry,
    tuned_weights,
)
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import start as start_lib
from flan_jax.training import state as state_lib
from flan_jax.training.config import TrainConfig
from flan_jax.training.finite import Guard
from flan_jax.training.hooks import Hook, Moment
from flan_jax.training.preemption import Preemption
from flan_jax.training.save_schedule import STEP, TEMPORARY, SaveTimer
from flan_jax.training.saver import Saver
from flan_jax.training.trackers import JsonLines, TensorBoard, Tracker, WeightsAndBiases

__all__ = ["Result", "TrainConfig", "train"]


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        step: number of finished steps.
        preempted: whether SIGTERM ended it before its last step.
        digest: the data digest.
        stopped: why a stop rule ended it; empty if none did.
    """

    step: int
    preempted: bool
    digest: str
    stopped: str = ""


def train(
    config: TrainConfig,
    parts_text: str = "",
    settings: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> Result:
    """Trains until `train_steps`, from wherever an earlier run in `model_dir` got to.

    Args:
        config: the run.
        parts_text: the whole configuration as gin text, kept beside the checkpoints.
        settings: the value of every macro, kept as data in each checkpoint, so that it can be
            evaluated without the files it came from.
        fresh: prepare the data again, also where it is prepared; not for a run that is resumed,
            which goes on with what it began with.

    Raises:
        FlanJaxError: bad input, an incompatible or damaged checkpoint, a loss, gradient or state
            that is not finite, or a path that cannot be written.
    """
    main = jax.process_index() == 0
    with lock_folder(config.model_dir) if main else contextlib.nullcontext():
        return _train(config, parts_text, settings or {}, fresh)


def _train(
    config: TrainConfig, parts_text: str, settings: Mapping[str, Any], fresh: bool
) -> Result:
    # 1. Devices. Refuse what cannot run before any work is done.
    mesh = mesh_lib.make_mesh(config.sharding, config.mesh_shape)
    mesh_lib.check_batch_size(config.batch_size, mesh, config.microbatches)
    main = jax.process_index() == 0
    vocabulary = carried_vocabulary.content(VOCABULARY.spec)
    spec = {stored_settings.VOCABULARY: None if vocabulary else VOCABULARY.spec}
    stored = stored_settings.encode({**settings, **spec})

    def say(text: str) -> None:
        if main:
            terminal.say(text)

    # 2. Model, optimizer and objective, as shapes only.
    model = Model(config.model)
    check_vocabulary(config.model.vocab_size)
    optimizer = config.optimizer.build(model.axes)
    recipe = state_lib.StepRecipe(model, optimizer, config.loss, config.microbatches, config.seed)
    shardings = state_lib.state_shardings(recipe, mesh)
    info = model_info.table(recipe, shardings, mesh)
    if main:
        replace_text(epath.Path(config.model_dir) / model_info.FILE, info)
    *_, count, axes, memory = info.splitlines()
    say(f"{count}; {axes}; {memory}")

    # 3. Data: what is not prepared is prepared now; the plan says which example goes where.
    fresh = fresh and not checkpoints.list_steps(config.model_dir)
    of_training = (config.mixture, config.split, config.renderings)
    unwanted = exclusion.read(config.exclude_examples)  # a wrong file is told before the work
    mixture = inputs.prepare_once(config, *of_training, say, fresh)
    mixture = exclusion.leave_out(mixture, unwanted, say)
    layout = model.layout(VOCABULARY)
    plan = inputs.make_plan(config, mixture, layout)
    say(f"{config.mixture}: {len(plan.tables)} tasks; an epoch is {plan.stats()}")

    # 4. Where to start, in this order: the newest sound checkpoint of model_dir, the weights of
    #    initial_checkpoint_path, fresh weights. Nothing is read of a checkpoint of another run.
    frozen = start_lib.read_frozen(config, model, mesh, say)
    facts = inputs.run_identity(config, model, plan, mixture)
    if (base := frozen.facts) is not None:
        facts["base"] = start_lib.digest(base)
    target = state_lib.abstract_state(recipe, shardings)
    guard = Guard(config, mesh)
    start, data_digest, kept_seconds, before = 0, digest.DATA_START, 0.0, {}
    if (going_on := resume.newest(config.model_dir, facts, target, guard, say)) is not None:
        (found, state), before = going_on, going_on[0].run
        start, data_digest = found.step, before["data"]["digest"]
        plan.recall_rows(before["data"]["rows_before"])
        kept_seconds = before.get("kept_seconds") or 0.0
        say(f"resuming at step {start} from {found.path}, the newest checkpoint of MODEL_DIR")
        found.release()
        if main:
            checkpoints.set_aside(config.model_dir, found.step, say)
    else:
        state = start_lib.first_state(config, recipe, shardings, frozen, say)
        if main:  # saves that were killed before they were proven
            checkpoints.set_aside(config.model_dir, -1, say)
    watch = config.stop.start(before.get("stop_rule")) if config.stop else None
    if start >= config.train_steps:
        say(f"nothing to do: step {start} of {config.train_steps} is reached already")
        return Result(start, False, data_digest)

    # 5. Hooks, the compiled step, telemetry, checkpoints, batches.
    eval_step = state_lib.compile_eval_step(recipe, mesh)
    validations = inputs.make_validations(config, layout, mesh, eval_step, say, fresh)
    hooks = [*(Hook(one, config.validation.period) for one in validations), *config.hooks]
    source_of = inputs.batch_source(config, plan, mixture, layout, mesh, config.train_steps)
    batches = loader.prefetch(source_of, start)
    local_share = config.batch_size / len(range(*source_of.rows.indices(config.batch_size)))
    lengths = config.feature_lengths["inputs"], config.feature_lengths["targets"]
    # The gradients of weights cost what the forward pass does, where all of them train.
    share = sum(leaf.size for leaf in recipe.trained.values()) / sum(
        leaf.size for leaf in model.shapes.values()
    )
    flops = (2 + share) * config.batch_size * model.forward_flops(*lengths)
    jitted = state_lib.compile_train_step(recipe, shardings, mesh)
    step_fn, rest = None, (frozen.params,) if frozen.params else ()
    trackers: list[Tracker] = []
    run_id: dict[str, str] = {}
    if main:
        replace_text(epath.Path(config.model_dir) / "config.gin", parts_text)
        run_id = _remember(config.model_dir, before, frozen.source, say)
        trackers = [JsonLines(config.model_dir, start), TensorBoard(config.model_dir)]
        if config.wandb_project:
            summary = {"config": parts_text, "mixture": config.mixture}
            trackers.append(WeightsAndBiases(config.model_dir, config.wandb_project, summary))
    goodput = telemetry.Goodput(config.model_dir, kept_seconds)
    told = telemetry.Telemetry(config.train_steps, start, trackers, main)
    profiler = telemetry.Profiler(config.model_dir, config.profiled if main else None)
    saver = Saver(config.model_dir, config.retention, told.say, vocabulary)
    timer = SaveTimer(config.save)
    preemption = Preemption()

    def save(step: int, due: str, metrics: Mapping[str, float]) -> None:
        guard.check_state(state, step)
        run = {
            "step": step,
            "data": {
                "plan": plan.fingerprint,
                "next_batch": step,
                "digest": data_digest,
                "rows_before": plan.known_rows,
            },
            "fingerprint": facts,
            **({} if base is None else {tuned_weights.FIELD: base}),
            **stored,
            **run_id,
            "kept_seconds": goodput.kept,
            "stop_rule": watch.state() if watch else None,
        }
        temporary = due == TEMPORARY
        saver.save(step, state.params, state.optimizer, run, temporary=temporary, metrics=metrics)

    # 6. The loop. Metrics stay on the device until their window ends, so that between reports the
    #    device never waits for the host. They are also read before each save: what is not finite
    #    is never saved.
    window, sums, saved, reason = telemetry.Window(), None, start, ""
    step, window_start, preempted = start, start, False
    with contextlib.ExitStack() as closing:
        # 7. Whatever ends the loop, what is being saved is finished; the last one here is closed
        #    first, and one that fails keeps none of the others from it.
        for close in (preemption.close, told.close, saver.close, profiler.close):
            closing.callback(close)
        for step in range(start + 1, config.train_steps + 1):
            profiler.before(step)
            with window.measure("data"):
                batch = next(batches)
            with window.measure("host"):
                arrays = mesh_lib.place_batch(batch.arrays, mesh, config.batch_size)
                number = np.int32(step - 1)
            if step_fn is None:
                clock = time.perf_counter()
                step_fn = jitted.lower(state, arrays, number, *rest).compile()
                seconds = time.perf_counter() - clock
                told.say(f"compiled in {seconds:.1f} s; {telemetry.memory_report(step_fn)}")
                window = telemetry.Window()
            state, metrics = step_fn(state, arrays, number, *rest)
            with window.measure("host"):
                sums = metrics if sums is None else sums + metrics
                data_digest = digest.chain(data_digest, batch.digest)
                window.steps += 1
                window.examples += batch.examples
                window.tokens += batch.tokens * local_share
                window.positions += config.batch_size * sum(lengths)
                told.advance()
            if text := profiler.after(step, sums):
                told.say(text)

            # What is due after this step: a report, hooks, a reason to stop, a checkpoint.
            last = step == config.train_steps
            preempted = preemption.reached(step) and not last
            due = timer.due(step, last, preempted)
            calls = [hook for hook in hooks if hook.due(step, last)]
            seen: dict[str, float] = {}
            if step % config.log_period == 0 or due or calls:
                values = jax.device_get(sums)
                guard.check_window(values, sorted(model.trained), window_start + 1, step)
                seen |= telemetry.read_metrics(values, step - window_start)
                goodput.kept += window.stepping()
                extra = {**telemetry.peak_memory(), "goodput": goodput.share()}
                extra["learning_rate"] = config.optimizer.learning_rate(step - 1)
                told.metrics(step, {**seen, **window.report(flops), **extra})
                window, sums, window_start = telemetry.Window(), None, step
            with window.measure("aside"):
                for hook in calls:
                    moment = Moment(
                        step,
                        {**frozen.params, **state.params},
                        told.latest,
                        config.model_dir,
                        told.say,
                    )
                    if news := hook.call(moment):
                        told.metrics(step, news)
                        seen |= news
                if watch:
                    reason = watch.see(seen) or ""
                    watch.check(told.latest, step, hooks)
                saver.poll()
                if due or reason:
                    save(step, due or STEP, seen)
                    saved = step
            if preempted or reason:
                told.say(f"{reason or 'SIGTERM'}: saving at step {step} and stopping")
                break
    told.say(f"saved step {saved} in {config.model_dir}")
    return Result(step, preempted, data_digest, reason)


def _remember(
    model_dir: str, before: Mapping[str, Any], base: str | None, say: inputs.Say
) -> dict[str, str]:
    """Notes what this machine gave the run; a run goes on without."""
    try:
        return {"run_id": own_runs.remember(model_dir, before, base)}
    except OutputError as error:
        say(f"{error}: an evaluation of this run will have to name its folders of data again")
        return {}
