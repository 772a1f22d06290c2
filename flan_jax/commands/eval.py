"""Score checkpoints on tasks and mixtures, by generation or rank classification.

Prints what each task reports (ROUGE-L and exact match, or accuracy, F1, BLEU, ...) by task, by
category and overall, and leaves metrics.json and predictions.jsonl (one object an example) in
--out; of several mixtures in a folder each, and of several checkpoints, or those of a run that is
watched, in a folder each, with one table of all. A checkpoint carries its own configuration, which
is data: it imports, reads and runs nothing that the command line does not name.

flan-jax eval --checkpoint=runs/nli --mixture=flan_nli_eval_rank --out=runs/nli/eval
flan-jax eval --checkpoint=hf:FOLDER --data=mine.jsonl --num_shots=4 --out=runs/mine
flan-jax eval --checkpoint=runs/a,runs/b@best --mixture=flan_rte_rank --templates=all --out=runs/all
"""

import argparse
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common, inherit

TAKES_GIN = True
RESULTS_FILE = "results.json"
# On which templates are compared (Wei et al. 2022, section 3).
DEVELOPMENT = "validation"
MOST_SHOTS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    inherit.add_checkpoint_argument(parser, "; several with commas between")
    parser.add_argument(
        "--engine", default="flan_jax", help="flan_jax (default), or t5x where it is installed"
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--mixture", type=common.path, help="SeqIO task or mixture; several with commas between"
    )
    asked.add_argument(
        "--data",
        type=common.path,
        metavar="FILE",
        help='a test set of yours: JSON lines {"instruction", "input", "targets": [...], '
        '"options": [...]}; input and options may be missing',
    )
    parser.add_argument("--out", required=True, type=common.path, help="folder for the results")
    parser.add_argument(
        "--num_shots",
        type=common.whole(0, MOST_SHOTS),
        metavar="K",
        help=f"exemplars before each query, 0 to {MOST_SHOTS}; as the tasks' names say by default",
    )
    parser.add_argument(
        "--templates",
        choices=("one", "all", "best"),
        default="one",
        help="ask in a template drawn for each example (one, default); in all, with mean and "
        f"spread; or in the one that is best on the split {DEVELOPMENT!r}",
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        const=float("inf"),
        type=common.number(0, above=True),
        metavar="SECONDS",
        help="evaluate each checkpoint of a run as it comes, up to the run's last step, or until "
        "for so many seconds none came",
    )
    inherit.add_arguments(parser)
    common.add_fresh_argument(parser)
    common.add_gin_arguments(parser)
    common.add_distributed_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates."""
    from flan_jax import files
    from flan_jax.errors import ConfigError

    files.check_out_folder(args.out)
    _take_data(args)
    checkpoints = common.names(args.checkpoint)
    several = len(checkpoints) > 1
    if args.engine != "flan_jax":
        if several or len(common.names(args.mixture)) > 1:
            raise ConfigError(f"{args.engine} evaluates one checkpoint on one mixture")
        if args.num_shots is not None or args.templates != "one" or args.watch:
            raise ConfigError(f"{args.engine} knows no --num_shots, --templates and --watch")
        return _on_t5x(args)
    if args.watch is not None:
        if several:
            raise ConfigError("--watch follows one run, not several checkpoints")
        return _watch(args)
    if several:
        return _compare(args, checkpoints)
    return _evaluate(args)


def _take_data(args: argparse.Namespace) -> None:
    """Makes of --data a module and a mixture, which are asked like others."""
    from flan_jax import config

    if args.data is None:
        return
    common.import_tensorflow()
    from flan_jax.instructions import jsonl, test_sets

    test_sets.read_test_set(args.data)  # before anything is loaded
    args.module = [*args.module, config.as_named(f"data:{args.data}")]
    args.mixture = jsonl.task_name(args.data)


def _evaluate(args: argparse.Namespace) -> int:
    """Asks one checkpoint everything, in this process."""
    common.start_distributed(args)
    examination = _Examination(args)
    examination.ask(str(examination.found.path), args.out)
    return 0


class _Examination:
    """What is asked, configured by a first checkpoint, for this one and later ones of its run."""

    def __init__(self, args: argparse.Namespace):
        from flan_jax import config
        from flan_jax.errors import ConfigError, border

        # What training is configured by rides along in the macros; its loop does not.
        modules = ["flan_jax.training.config", "flan_jax.evaluation.evaluate"]
        common.register(modules)
        self._names = common.names(args.mixture)
        overrides = [f"MIXTURE_OR_TASK_NAME={self._names[0]}", *args.gin_overrides]
        if args.num_shots:
            overrides.append(f"FEWSHOT_EXEMPLARS={args.num_shots}")
        self.found = inherit.configure(args, "eval", modules, overrides)
        from flan_jax.evaluation.evaluate import EvalConfig

        with border(f"settings of checkpoint {self.found.path}", ConfigError):
            chosen = EvalConfig()  # type: ignore[call-arg]
        # Processes that prepare data import all of them.
        named = [*config.module_list(chosen.modules), *args.module]
        self._config = dataclasses.replace(chosen, modules=named)
        self._args = args
        self._mixtures = [self._asked_as(name) for name in self._names]  # before the first is asked

    def _asked_as(self, name: str) -> str:
        """Returns the mixture that asks another one as the command line says."""
        from flan_jax.errors import ConfigError
        from flan_jax.instructions import mixtures, protocols

        mixtures.resolve(name)
        if self._args.num_shots is not None:
            name = protocols.with_shots(name, self._args.num_shots)
        if self._args.templates == "best" and self._config.split == DEVELOPMENT:
            raise ConfigError(
                f"--templates=best chooses on the split {DEVELOPMENT!r}, so EVAL_SPLIT is another"
            )
        return name if self._args.templates == "one" else protocols.in_all_templates(name)

    def ask(self, checkpoint: str, out: str) -> dict[str, str]:
        """Evaluates a checkpoint; returns the folder of the results of each mixture by name."""
        from flan_jax.evaluation.evaluate import Examinee, evaluate
        from flan_jax.scoring import report, template_spread
        from flan_jax.training import processes

        examinee = Examinee(self._config, checkpoint)
        folders = dict(zip(self._names, _folders(self._names, out), strict=True))
        for (name, folder), mixture in zip(folders.items(), self._mixtures, strict=True):
            chosen = dataclasses.replace(self._config, mixture=mixture)
            protocol: dict[str, Any] = {}
            if self._args.templates == "best":
                chosen, protocol = self._best_templates(name, chosen, examinee, folder)
            summary = evaluate(chosen, examinee, folder, fresh=self._args.fresh, protocol=protocol)
            if not processes.is_first():
                continue
            report.print_tables(summary)
            if "by_templates" in summary:
                title = f"{summary['mixture']}: by template"
                terminal.console().print(template_spread.table(title, summary["by_templates"]))
            terminal.say(f"wrote {report.METRICS_FILE} and {report.PREDICTIONS_FILE} in {folder}")
        return folders

    def _best_templates(
        self, name: str, config: Any, examinee: Any, folder: str
    ) -> tuple[Any, dict[str, Any]]:
        """Chooses templates on the development split; returns how these are asked, and why."""
        from flan_jax.evaluation.evaluate import evaluate
        from flan_jax.instructions import mixtures, protocols
        from flan_jax.scoring import template_spread
        from flan_jax.training import processes

        config = dataclasses.replace(config, split=DEVELOPMENT)
        where = os.path.join(folder, DEVELOPMENT)
        summary = evaluate(config, examinee, where, fresh=self._args.fresh)
        best = template_spread.best_of(summary["by_task"])
        tasks = [task.name for task in mixtures.member_tasks(config.mixture)]
        compared = {task for found in protocols.template_sets(tasks).values() for task in found}
        kept = [one["task"] for one in best.values()]
        kept += [task for task in tasks if task not in compared]
        if processes.is_first():
            title = f"{config.mixture}: by template, {DEVELOPMENT}"
            terminal.console().print(template_spread.table(title, summary["by_templates"]))
            for task, one in best.items():
                terminal.say(f"best template of {task}: {one['task']} ({one['score']:.2f})")
        mixture = protocols.mixture_of(f"{name}_best_templates", kept, name)
        asked = dataclasses.replace(self._config, mixture=mixture)
        return asked, {"best_templates": {"split": DEVELOPMENT, "by_task": best}}


def _watch(args: argparse.Namespace) -> int:
    """Evaluates the checkpoints of a run as they come."""
    from flan_jax import json_files
    from flan_jax.commands import watching
    from flan_jax.errors import ConfigError

    if args.coordinator_address is not None:
        raise ConfigError("--watch runs in one process")
    common.import_tensorflow()
    examination, rows = None, []
    with watching.Scalars(args.out) as scalars:
        for step, checkpoint, is_last in watching.checkpoints_of(args.checkpoint, args.watch):
            args.checkpoint = checkpoint
            examination = examination or _Examination(args)
            terminal.say(f"step {step:,}:")
            folders = examination.ask(checkpoint, os.path.join(args.out, str(step)))
            rows.append({"step": step, **_row(checkpoint, folders)})
            scalars.write(step, rows[-1]["mixtures"])
            json_files.write_json(os.path.join(args.out, RESULTS_FILE), {"checkpoints": rows})
            if is_last(examination.found):
                break
    if rows:
        _print_comparison(rows, "step")
        terminal.say(f"wrote {RESULTS_FILE} and tensorboard in {args.out}")
    return 0


def _folders(names: Sequence[str], out: str) -> list[str]:
    """Returns a folder for the results of each of several things: of one thing, that of all."""
    if len(names) == 1:
        return [out]
    folders: list[str] = []
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", os.path.basename(name.rstrip("/"))).strip("_.") or "_"
        folder, number = os.path.join(out, plain), 1
        while folder in folders:
            number += 1
            folder = os.path.join(out, f"{plain}_{number}")
        folders.append(folder)
    return folders


def _compare(args: argparse.Namespace, checkpoints: Sequence[str]) -> int:
    """Asks several checkpoints the same, each in a process of its own, and sets them side by side.

    Their settings differ, and with them what tasks and vocabularies are; a process knows one of
    each.
    """
    from flan_jax import json_files
    from flan_jax.errors import ConfigError

    if args.coordinator_address is not None:
        raise ConfigError("several processes evaluate one checkpoint at a time")
    mixtures = common.names(args.mixture)
    rest = [f"--mixture={args.mixture}", *(f"--gin_file={name}" for name in args.gin_file)]
    rest += [f"--module={name}" for name in args.module]
    rest += [f"--gin.{text}" for text in args.gin_overrides]
    rest += [f"--{flag}" for flag in ("trust", "fresh") if getattr(args, flag)]
    rest += [f"--templates={args.templates}"]
    rest += [] if args.num_shots is None else [f"--num_shots={args.num_shots}"]
    rows = []
    for checkpoint, folder in zip(checkpoints, _folders(checkpoints, args.out), strict=True):
        terminal.say(f"{checkpoint}:")
        arguments = ["eval", f"--checkpoint={checkpoint}", f"--out={folder}", *rest]
        status = subprocess.run([sys.executable, "-m", "flan_jax", *arguments]).returncode
        if status:
            return status  # what is wrong stands above
        rows.append(_row(checkpoint, dict(zip(mixtures, _folders(mixtures, folder), strict=True))))
    _print_comparison(rows)
    json_files.write_json(os.path.join(args.out, RESULTS_FILE), {"checkpoints": rows})
    terminal.say(f"wrote {RESULTS_FILE} in {args.out}")
    return 0


def _row(checkpoint: str, folders: dict[str, str]) -> dict[str, Any]:
    """Returns what a checkpoint scored on each mixture."""
    from flan_jax import json_files
    from flan_jax.scoring import report

    mixtures = {}
    for name, folder in folders.items():
        path = os.path.join(folder, report.METRICS_FILE)
        fields = json_files.Fields(path, json_files.read_json(path))
        mixtures[name] = {"out": folder, **fields.inner("overall").object}
    return {"checkpoint": checkpoint, "mixtures": mixtures}


def _print_comparison(rows: Sequence[dict[str, Any]], heading: str = "checkpoint") -> None:
    """Prints one table a mixture: what each checkpoint scored."""
    from flan_jax.scoring import report

    for name in rows[0]["mixtures"]:
        scores = {str(row[heading]): dict(row["mixtures"][name]) for row in rows}
        for of_row in scores.values():
            del of_row["out"]
        table = report.score_table(name, heading, scores, total=False)
        terminal.console().print(table)


def _on_t5x(args: argparse.Namespace) -> int:
    """Evaluates on T5X, whose checkpoints do not say their model: an experiment file does."""
    from flan_jax import config
    from flan_jax.engines import t5x
    from flan_jax.interop import t5x_files

    where = args.checkpoint.removeprefix("t5x:")
    overrides = [
        f"CHECKPOINT_PATH={str(t5x_files.newest(where))!r}",
        f"EVAL_OUTPUT_DIR={args.out!r}",
        f"MIXTURE_OR_TASK_NAME={args.mixture}",
    ]
    if args.module:
        overrides.append(f"MIXTURE_OR_TASK_MODULE={list(args.module)!r}")
    parts = config.compose_parts(
        args.gin_file, args.engine, "eval", [*overrides, *args.gin_overrides]
    )
    status = t5x.launch(config.join_parts(parts), "eval")
    if status == 0:
        terminal.say(f"wrote what T5X found in {args.out}/inference_eval")
    return status
