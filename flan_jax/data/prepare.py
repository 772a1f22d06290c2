"""Prepares what a mixture needs and opens it: SeqIO -> records -> tables for a plan.

SeqIO runs the preprocessors, so whatever a task registers (also one that was not made with the
kit) is what gets prepared. Units that are there and sound are kept; all others are written, in
this process where they are small, in several where they are large, or on Beam.
"""

import concurrent.futures
import dataclasses
import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import seqio

from flan_jax import files, settings
from flan_jax.data import worker
from flan_jax.data.plan import TaskTable
from flan_jax.data.records import Unit, UnitSpec, problem
from flan_jax.data.units import Renderings, count_examples, prepare_unit, unit_specs
from flan_jax.errors import DataError
from flan_jax.instructions import long_prompts, mixtures, tfds_source
from flan_jax.instructions.budgets import Fit
from flan_jax.instructions.recipes import get_recipe
from flan_jax.terminal import Progress

# Starting a process that imports TensorFlow costs as much as preparing this many examples.
EXAMPLES_WORTH_A_PROCESS = 50_000
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PreparedMixture:
    """A mixture's prepared units, one list a task (one unit a rendering), tasks by name.

    Attributes:
        name: the mixture.
        split: split of the member tasks.
        units: see above.
        rates: mixing rate of each task.
        left_out: members whose data could not be had, where the user asked to go on without.
        unknown: of tasks whose recipes do not say everything, what is missing.
        excluded: of tasks some of whose examples are left out, how many and which, see `exclusion`.
    """

    name: str
    split: str
    units: tuple[tuple[Unit, ...], ...]
    rates: dict[str, float]
    left_out: tuple[str, ...] = ()
    unknown: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    excluded: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def tables(self) -> list[TaskTable]:
        """What a plan needs of each task."""
        return [
            TaskTable(
                name=units[0].spec.task,
                lengths_RxNx2=np.stack([unit.lengths for unit in units]),
                ids=units[0].ids,
                fingerprint=self._fingerprint(units),
            )
            for units in self.units
        ]

    def _fingerprint(self, units: Sequence[Unit]) -> str:
        excluded = self.excluded.get(units[0].spec.task)
        prints = [unit.spec.fingerprint for unit in units]
        return "/".join(prints if excluded is None else [*prints, f"without {excluded}"])

    def tables_for(self, added: tuple[int, int]) -> list[TaskTable]:
        """Returns `tables` for a model that adds so many tokens to each prompt and answer."""
        if not any(added):
            return self.tables
        return [
            dataclasses.replace(table, lengths_RxNx2=table.lengths_RxNx2 + added)
            for table in self.tables
        ]

    @property
    def fits(self) -> dict[str, dict[Fit, int]]:
        """How many prompts of each task, in all renderings, were shortened or are too long."""
        return {
            units[0].spec.task: long_prompts.count(fit for unit in units for fit in unit.fits)
            for units in self.units
        }

    @property
    def recipes(self) -> dict[str, str]:
        """Fingerprint of what shaped each task, and of its tokens where that is not known whole."""
        return {
            units[0].spec.task: "-".join([units[0].spec.recipe, *self._contents(units)])
            for units in self.units
        }

    @property
    def fingerprints(self) -> list[list[str]]:
        """The same of each unit."""
        return [
            ["-".join([unit.spec.fingerprint, *self._contents([unit])]) for unit in units]
            for units in self.units
        ]

    def _contents(self, units: Sequence[Unit]) -> list[str]:
        return [unit.content for unit in units if unit.spec.task in self.unknown]


def prepare(
    name: str,
    split: str,
    renderings: Renderings,
    root: str | None = None,
    *,
    modules: Sequence[str] = (),
    workers: int | None = None,
    fresh: bool = False,
    layout: str | None = None,
    report: Callable[[str], None] = log.info,
) -> PreparedMixture:
    """Prepares whatever is missing of a task or mixture, and opens it.

    Args:
        name: SeqIO task or mixture.
        split: split of the member tasks; members without it are left out, which is reported.
        renderings: renderings per task.
        root: folder for records; `settings.cache_root()` where None.
        modules: task modules that worker processes import.
        workers: processes; where None, one for small mixtures and else one a core.
        fresh: prepare again what is there as well.
        layout: of a model that trains on it (some tasks train otherwise than they are answered, see
            `mixtures.train_as`); None where it is answered.
        report: called with what happens, a line at a time.

    Raises:
        DataError: unknown name or split, datasets that cannot be had (all are named), or a task
            whose source or renderer fails.
        OutputError: the records cannot be written; those that are there stay.
    """
    root = root or settings.cache_root()
    specs = unit_specs(name, split, renderings, layout)
    members = {task.name for task in mixtures.member_tasks(name, layout)}
    if without := members - {spec.task for spec in specs}:
        report(f"left out, for want of split {split!r}: {', '.join(sorted(without))}")
    todo = []
    for spec in specs:
        why = "there" if fresh else problem(spec, root)
        if why:
            todo.append(spec)
        if why and why not in ("missing", "there"):
            report(f"preparing {spec.task}/{spec.split} again: records are {why}")
    if todo:
        files.check_out_folder(root)  # before hours are spent on downloads
    left_out = _unavailable(name, todo, report)
    specs = [spec for spec in specs if spec.task not in left_out]
    todo = [spec for spec in todo if spec.task not in left_out]
    if not specs:
        raise DataError(f"{name!r} has no member whose data can be had")
    if todo:
        _prepare_all(todo, root, modules, workers, fresh, report)
        _check_recipes(todo, report)
    prepared = open_prepared(name, split, specs, root, tuple(sorted(left_out)), layout)
    for sentence in long_prompts.describe(prepared.fits):
        report(sentence)
    for tasks, unknown in _by_unknown(prepared.unknown).items():
        report(
            f"not all that shapes the tokens of {tasks} can be known: {unknown}. Where that "
            "changed, --fresh prepares again"
        )
    return prepared


def _check_recipes(done: Sequence[UnitSpec], report: Callable[[str], None]) -> None:
    """Says of which tasks the data, or what a function keeps, changed in the meantime."""
    before = {spec.task: spec.recipe for spec in done}
    changed = [task for task, recipe in before.items() if get_recipe(task).fingerprint() != recipe]
    if changed:
        report(
            f"what shapes the tokens of {_some(changed)} is not what it was before they were "
            "prepared: its data changed, or its functions keep state"
        )


def _by_unknown(unknown: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns what is missing of recipes by the tasks of which the same is missing."""
    tasks: dict[tuple[str, ...], list[str]] = {}
    for task, phrases in unknown.items():
        tasks.setdefault(phrases, []).append(task)
    return {_some(names): _some(phrases, "; ") for phrases, names in tasks.items()}


def _some(names: Sequence[str], comma: str = ", ") -> str:
    """The first three of them, and how many more there are."""
    more = f"{comma}and {len(names) - 3} more" if len(names) > 3 else ""
    return comma.join(names[:3]) + more


def _unavailable(name: str, todo: Sequence[UnitSpec], report: Callable[[str], None]) -> set[str]:
    """Gets the datasets of all units to write; returns the tasks whose data cannot be had.

    Raises:
        DataError: there are some, and SKIP_UNAVAILABLE does not say to go on without.
    """
    tasks = [seqio.TaskRegistry.get(task) for task in dict.fromkeys(spec.task for spec in todo)]
    skip = settings.setting("SKIP_UNAVAILABLE", False)
    # What is sure to fail is told before hours are spent on downloads.
    missing = tfds_source.unavailable(tasks)
    if skip or not missing:
        known = {task for one in missing for task in one.tasks}
        rest = [task for task in tasks if task.name not in known]
        missing += tfds_source.unavailable(rest, download=True, report=report)
    if not missing:
        return set()
    lines = tfds_source.explain(missing)
    if not skip:
        raise DataError(
            f"{len(missing)} of the datasets of {name!r} cannot be had:\n{lines}\n"
            "SKIP_UNAVAILABLE=True (--gin.SKIP_UNAVAILABLE=True) goes on without their tasks"
        )
    report(f"left out, since SKIP_UNAVAILABLE is set:\n{lines}")
    return {task for one in missing for task in one.tasks}


def open_prepared(
    name: str,
    split: str,
    specs: Sequence[UnitSpec],
    root: str,
    left_out: tuple[str, ...] = (),
    layout: str | None = None,
) -> PreparedMixture:
    """Opens units that `prepare` wrote, those of a task together.

    Raises:
        DataError: a unit is missing, damaged or foreign.
    """
    by_task: dict[str, list[Unit]] = {}
    for spec in specs:
        by_task.setdefault(spec.task, []).append(Unit(spec, root))
    for task, units in by_task.items():
        if any(not np.array_equal(unit.ids, units[0].ids) for unit in units):
            raise DataError(f"task {task!r} has other examples in other renderings")
    rates = mixtures.task_rates(name, set(by_task), layout)
    unknown = {task: phrases for task in by_task if (phrases := get_recipe(task).unknown)}
    opened = tuple(map(tuple, by_task.values()))
    return PreparedMixture(name, split, opened, rates, left_out, unknown)


def _prepare_all(
    todo: Sequence[UnitSpec],
    root: str,
    modules: Sequence[str],
    workers: int | None,
    fresh: bool,
    report: Callable[[str], None],
) -> None:
    total = sum(map(count_examples, todo))
    if workers is None:
        workers = 1 if total < EXAMPLES_WORTH_A_PROCESS else os.cpu_count() or 1
    workers = min(workers, len(todo))
    report(f"preparing {total:,} examples of {len({s.task for s in todo})} tasks below {root}")
    written = 0
    with Progress("preparing", total) as progress:
        if workers <= 1:
            for spec in todo:
                written += prepare_unit(spec, root, fresh)
                progress.advance(count_examples(spec))
        else:
            # "spawn": a forked child of a process that runs TensorFlow or JAX threads may hang.
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
                running = {
                    pool.submit(worker.prepare_in_child, spec, root, modules, fresh): spec
                    for spec in todo
                }
                try:
                    for future in concurrent.futures.as_completed(running):
                        written += future.result()
                        progress.advance(count_examples(running[future]))
                except concurrent.futures.BrokenExecutor:
                    raise DataError(
                        "a process that prepared data was killed, perhaps for want of memory; "
                        "what is finished is kept, and fewer --workers need less"
                    ) from None
                finally:  # an error is told at once, not after all other tasks
                    pool.shutdown(wait=False, cancel_futures=True)
    report(f"prepared {written:,} examples")


def prepare_on_beam(
    specs: Sequence[UnitSpec],
    root: str,
    modules: Sequence[str],
    options: Sequence[str] = (),
    fresh: bool = False,
) -> None:
    """Prepares units on Beam: one element a unit, on any runner.

    Args:
        specs: units to write; those that are sound are skipped.
        root: folder that all workers reach.
        modules: task modules that workers import.
        options: Beam's own, such as `--runner=DataflowRunner`.
        fresh: write those that are sound as well.

    Raises:
        DataError: apache-beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise DataError("preparing on Beam needs apache-beam: pip install flan-jax[beam]") from None
    todo = [spec for spec in specs if fresh or problem(spec, root)]
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = (
            pipeline
            | "units" >> beam.Create(todo)
            | "spread" >> beam.Reshuffle()
            | "prepare" >> beam.Map(worker.prepare_in_child, root, list(modules), fresh)
        )
