"""The one training loop. It knows neither a dataset nor a model family by name."""

import contextlib
import dataclasses
import re
import time
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath

from flan_jax import terminal
from flan_jax.data import loader
from flan_jax.files import lock_folder
from flan_jax.models.families import Model, check_vocabulary
from flan_jax.training import checkpoints, digest, identity, inputs, model_info, telemetry
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import state as state_lib
from flan_jax.training.config import TrainConfig
from flan_jax.training.hooks import Hook, Moment
from flan_jax.training.preemption import Preemption
from flan_jax.training.save_schedule import STEP, TEMPORARY, SaveTimer
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
    main = jax.process_index() == 0
    with lock_folder(config.model_dir) if main else contextlib.nullcontext():
        return _train(config, parts_text, macros_text)


def _train(config: TrainConfig, parts_text: str, macros_text: str) -> Result:
    # 1. Devices. Refuse what cannot run before any work is done.
    mesh = mesh_lib.make_mesh(config.sharding, config.mesh_shape)
    mesh_lib.check_batch_size(config.batch_size, mesh, config.microbatches)
    main = jax.process_index() == 0

    def say(text: str) -> None:
        if main:
            terminal.say(text)

    # 2. Model, optimizer and objective, as shapes only.
    model = Model(config.model)
    check_vocabulary(config.model.vocab_size)
    optimizer = config.optimizer.build(model.axes)
    recipe = state_lib.Recipe(model, optimizer, config.loss, config.microbatches, config.seed)
    shardings = state_lib.state_shardings(recipe, mesh)
    info = model_info.table(recipe, shardings, mesh)
    if main:
        (epath.Path(config.model_dir) / model_info.FILE).write_text(info)
    *_, count, layout, memory = info.splitlines()
    say(f"{count}; {layout}; {memory}")

    # 3. Data: what is not prepared is prepared now; the plan says which example goes where.
    mixture = inputs.prepare_once(config, config.mixture, config.split, config.renderings, say)
    plan = inputs.make_plan(config, mixture)
    say(f"{config.mixture}: {len(plan.tables)} tasks; an epoch is {plan.stats()}")

    # 4. Where to start, in this order: the newest sound checkpoint of model_dir, the weights of
    #    initial_checkpoint_path, fresh weights. Nothing is read of a checkpoint of another run.
    facts = inputs.run_identity(config, model, plan, mixture)
    found = checkpoints.find(config.model_dir, say)
    start, data_digest, kept_seconds = 0, digest.DATA_START, 0.0
    watched = found.run.get("stop_rule") if found else None
    watch = config.stop.start(watched) if config.stop else None
    target = state_lib.abstract_state(recipe, shardings)
    if found is not None:
        identity.check_unchanged(found.run["fingerprint"], facts, str(found.path))
        state = state_lib.TrainState(
            checkpoints.restore_params(found.path, target.params),
            checkpoints.restore_optimizer(found.path, target.optimizer),
        )
        start, data_digest = found.step, found.run["data"]["digest"]
        plan.recall_rows(found.run["data"]["rows_before"])
        kept_seconds = found.run.get("kept_seconds", 0.0)
        say(f"resuming at step {start} from {found.path}, the newest checkpoint of MODEL_DIR")
        if main:
            checkpoints.set_aside(config.model_dir, found.step, say)
    else:
        state = state_lib.init_state(recipe, shardings)
        if config.initial_checkpoint_path:
            part = config.initial_checkpoint_part
            source = checkpoints.require(config.initial_checkpoint_path, say, weights_only=True)
            if part is None or any(re.fullmatch(part, name) for name in model.token_parameters):
                identity.check_vocabulary(source.run["fingerprint"], facts, str(source.path))
            params = checkpoints.restore_params(source.path, state.params, part)
            state = state._replace(params=params)
            say(f"starting at step 0 with {part or 'the weights'} of {source.path}")
        else:
            say(f"starting at step 0 with fresh weights (seed {config.seed})")
    if start >= config.train_steps:
        say(f"nothing to do: step {start} of {config.train_steps} is reached already")
        return Result(start, False, data_digest)

    # 5. Hooks, the compiled step, telemetry, checkpoints, batches.
    eval_step = state_lib.compile_eval_step(recipe, shardings, mesh)
    validations = inputs.make_validations(config, mesh, eval_step, say)
    hooks = [*(Hook(one, config.validation.period) for one in validations), *config.hooks]
    source_of = inputs.batch_source(config, plan, mixture, mesh, config.train_steps)
    batches = loader.prefetch(source_of, start)
    local_share = config.batch_size / len(range(*source_of.rows.indices(config.batch_size)))
    lengths = config.feature_lengths["inputs"], config.feature_lengths["targets"]
    flops = 3 * config.batch_size * model.forward_flops(*lengths)
    jitted = state_lib.compile_train_step(recipe, shardings, mesh)
    step_fn = None
    trackers: list[Tracker] = []
    if main:
        (epath.Path(config.model_dir) / "config.gin").write_text(parts_text)
        trackers = [JsonLines(config.model_dir, start), TensorBoard(config.model_dir)]
        if config.wandb_project:
            summary = {"config": parts_text, "mixture": config.mixture}
            trackers.append(WeightsAndBiases(config.model_dir, config.wandb_project, summary))
    goodput = telemetry.Goodput(config.model_dir, kept_seconds)
    told = telemetry.Telemetry(config.train_steps, start, trackers, main)
    profiler = telemetry.Profiler(config.model_dir, config.profiled if main else None)
    saver = checkpoints.Saver(config.model_dir, config.retention, told.say)
    timer = SaveTimer(config.save)
    preemption = Preemption()

    def save(step: int, due: str, metrics: Mapping[str, float]) -> None:
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
    try:
        for step in range(start + 1, config.train_steps + 1):
            profiler.before(step)
            with window.measure("data"):
                batch = next(batches)
            with window.measure("host"):
                arrays = mesh_lib.place_batch(batch.arrays, mesh, config.batch_size)
                number = np.int32(step - 1)
            if step_fn is None:
                before = time.perf_counter()
                step_fn = jitted.lower(state, arrays, number).compile()
                seconds = time.perf_counter() - before
                told.say(f"compiled in {seconds:.1f} s; {telemetry.memory_report(step_fn)}")
                window = telemetry.Window()
            state, metrics = step_fn(state, arrays, number)
            with window.measure("host"):
                sums = metrics if sums is None else sums + metrics
                data_digest = digest.chain(data_digest, batch.digest)
                window.steps += 1
                window.examples += batch.examples
                window.tokens += loader.count_tokens(batch.arrays) * local_share
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
                seen |= telemetry.read_metrics(sums, window_start + 1, step)
                goodput.kept += window.stepping()
                extra = {**telemetry.peak_memory(), "goodput": goodput.share()}
                extra["learning_rate"] = config.optimizer.learning_rate(step - 1)
                told.metrics(step, {**seen, **window.report(flops), **extra})
                window, sums, window_start = telemetry.Window(), None, step
            with window.measure("aside"):
                for hook in calls:
                    moment = Moment(step, state.params, told.latest, config.model_dir, told.say)
                    if values := hook.call(moment):
                        told.metrics(step, values)
                        seen |= values
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
    finally:
        # 7. Whatever ended the loop, what was being saved is finished.
        profiler.close()
        saver.close()
        told.close()
        preemption.close()
    told.say(f"saved step {saved} in {config.model_dir}")
    return Result(step, preempted, data_digest, reason)
