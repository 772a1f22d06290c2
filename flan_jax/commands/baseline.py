"""Write the predictions of a heuristic, for `flan-jax score`.

copy_demo answers with the output of a task's first positive example, copy_input with the input.

flan-jax baseline copy_demo --mixture=super_ni_default_test --out=copy_demo.jsonl
flan-jax score --predictions=copy_demo.jsonl --references=$SUPER_NI_DIR
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common

TAKES_GIN = True
_MODULES = "tasks.natural_instructions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("method", choices=("copy_demo", "copy_input"))
    parser.add_argument("--mixture", required=True, type=common.path, help="SeqIO task or mixture")
    parser.add_argument(
        "--out", required=True, type=common.path, metavar="FILE", help="JSONL to write"
    )
    parser.add_argument("--split", default="test", help="split (default: test)")
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        type=common.module,
        help=f"task module to import; those of {_MODULES} that can be where not given",
    )
    parser.epilog = "Settings such as SUPER_NI_DIR are given as --gin.NAME=value or exported."


def run(args: argparse.Namespace) -> int:
    """Predicts and writes."""
    import collections

    from flan_jax import config, files

    files.check_out(args.out)
    common.configure(config.compose_settings(args.gin_overrides))
    _import(args.module)
    from flan_jax.json_files import write_lines
    from flan_jax.scoring import baselines

    rows = list(baselines.predict(args.method, args.mixture, args.split))
    write_lines(args.out, rows)
    empty = collections.Counter(row["task"] for row in rows if not row["prediction"])
    if empty:
        terminal.warn(
            f"{empty.total():,} predictions are empty, for there is nothing to copy: "
            f"{', '.join(list(empty)[:3])}{', ...' if len(empty) > 3 else ''}"
        )
    tasks = len({row["task"] for row in rows})
    terminal.say(f"wrote {len(rows):,} predictions for {tasks} tasks to {args.out}")
    return 0


def _import(modules: list[str]) -> None:
    """Imports the given modules, or all of natural instructions whose data is there.

    Raises:
        DataError: none could be imported.
    """
    from flan_jax import config
    from flan_jax.errors import DataError

    if modules:
        config.import_modules(modules)
        return
    errors, found = [], 0
    for module in config.known_task_modules():
        if not module.startswith(f"{_MODULES}."):
            continue
        try:
            config.import_modules(module)
            found += _registers(module)
        except DataError as error:
            errors.append(str(error))
    if not found:
        raise DataError("; or ".join(errors) or f"no task module in {_MODULES}")


def _registers(module: str) -> bool:
    """Whether a module registers tasks and is not there for those that do."""
    import sys

    return hasattr(sys.modules[module], "register")
