"""Score a checkpoint on a task or mixture, by generation.

Prints ROUGE-L and exact match by task, by category and overall, and leaves metrics.json and
predictions.jsonl (one object an example) in --out. A checkpoint carries its own configuration.
"""

import argparse
import dataclasses

from flan_jax import terminal
from flan_jax.commands import common

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=common.path,
        help="MODEL_DIR (its newest), MODEL_DIR@best, MODEL_DIR@1200",
    )
    parser.add_argument("--mixture", required=True, type=common.path, help="SeqIO task or mixture")
    parser.add_argument("--out", required=True, type=common.path, help="folder for the results")
    common.add_module_argument(parser)
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates."""
    from flan_jax import config
    from flan_jax.training import checkpoints

    found = checkpoints.require(args.checkpoint, terminal.warn, weights_only=True)
    inherited = config.Part(str(found.path), found.run["macros"])
    overrides = [f"MIXTURE_OR_TASK_NAME={args.mixture}", *args.gin_overrides]
    parts = config.compose_parts(args.gin_file, "flan_jax", "eval", overrides, inherited)
    # Training's own bindings ride along with the macros.
    common.configure(parts, ["flan_jax.training.train", "flan_jax.evaluation.evaluate"])
    config.import_modules(args.module)
    from flan_jax.evaluation import report
    from flan_jax.evaluation.evaluate import EvalConfig, evaluate

    chosen = EvalConfig()  # type: ignore[call-arg]
    # Processes that prepare data import all of them.
    modules = [*common.as_modules(chosen.modules), *args.module]
    summary = evaluate(dataclasses.replace(chosen, modules=modules), str(found.path), args.out)
    report.print_tables(summary)
    terminal.say(f"wrote {report.METRICS_FILE} and {report.PREDICTIONS_FILE} in {args.out}")
    return 0
