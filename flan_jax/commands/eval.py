"""Score checkpoints on tasks and mixtures, by generation or rank classification.

Prints what each task reports (ROUGE-L and exact match, or accuracy, F1, BLEU, ...) by task, by
category and overall, and leaves metrics.json and predictions.jsonl (one object an example) in
--out; of several mixtures in a folder each, and of several checkpoints in a folder each, with one
table of all. A checkpoint carries its own configuration, which is data: it imports, reads and runs
nothing that the command line does not name.

flan-jax eval --checkpoint=runs/nli --mixture=flan_nli_eval_rank --out=runs/nli/eval
flan-jax eval --checkpoint=runs/a,runs/b@best,hf:FOLDER --mixture=flan_rte_rank,mine --out=runs/all
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    inherit.add_checkpoint_argument(parser, "; several with commas between")
    parser.add_argument(
        "--engine", default="flan_jax", help="flan_jax (default), or t5x where it is installed"
    )
    parser.add_argument(
        "--mixture",
        required=True,
        type=common.path,
        help="SeqIO task or mixture; several with commas between",
    )
    parser.add_argument("--out", required=True, type=common.path, help="folder for the results")
    inherit.add_arguments(parser)
    common.add_fresh_argument(parser)
    common.add_gin_arguments(parser)
    common.add_distributed_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates."""
    from flan_jax import files
    from flan_jax.errors import ConfigError

    files.check_out_folder(args.out)
    checkpoints = common.names(args.checkpoint)
    if args.engine != "flan_jax":
        if len(checkpoints) > 1 or len(common.names(args.mixture)) > 1:
            raise ConfigError(f"{args.engine} evaluates one checkpoint on one mixture")
        return _on_t5x(args)
    if len(checkpoints) > 1:
        return _compare(args, checkpoints)
    return _evaluate(args)


def _evaluate(args: argparse.Namespace) -> int:
    """Asks one checkpoint everything, in this process."""
    from flan_jax import config
    from flan_jax.errors import ConfigError, border

    common.start_distributed(args)
    # What training is configured by rides along in the macros; its loop does not.
    modules = ["flan_jax.training.config", "flan_jax.evaluation.evaluate"]
    common.register(modules)
    names = common.names(args.mixture)
    overrides = [f"MIXTURE_OR_TASK_NAME={names[0]}", *args.gin_overrides]
    found = inherit.configure(args, "eval", modules, overrides)
    from flan_jax.evaluation.evaluate import EvalConfig, Examinee, evaluate
    from flan_jax.instructions import mixtures
    from flan_jax.scoring import report
    from flan_jax.training import processes

    with border(f"settings of checkpoint {found.path}", ConfigError):
        chosen = EvalConfig()  # type: ignore[call-arg]
    # Processes that prepare data import all of them.
    named = [*config.module_list(chosen.modules), *args.module]
    chosen = dataclasses.replace(chosen, modules=named)
    folders = _folders(names, args.out)
    if len(names) > 1:
        for name in names:  # before the first is asked
            mixtures.resolve(name)
    examinee = Examinee(chosen, str(found.path))
    for name, folder in zip(names, folders, strict=True):
        chosen = dataclasses.replace(chosen, mixture=name)
        summary = evaluate(chosen, examinee, folder, fresh=args.fresh)
        if processes.is_first():
            report.print_tables(summary)
            terminal.say(f"wrote {report.METRICS_FILE} and {report.PREDICTIONS_FILE} in {folder}")
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


def _print_comparison(rows: Sequence[dict[str, Any]]) -> None:
    """Prints one table a mixture: what each checkpoint scored."""
    from flan_jax.scoring import report

    for name in rows[0]["mixtures"]:
        scores = {row["checkpoint"]: dict(row["mixtures"][name]) for row in rows}
        for of_row in scores.values():
            del of_row["out"]
        table = report.score_table(name, "checkpoint", scores, total=False)
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
