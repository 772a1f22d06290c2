"""Score a checkpoint on a task or mixture, by generation.

Prints what each task reports (ROUGE-L and exact match, or accuracy, F1, BLEU, ...) by task, by
category and overall, and leaves metrics.json and predictions.jsonl (one object an example) in
--out. A checkpoint carries its own configuration, which is data: it imports, reads and runs nothing
that the command line does not name.
"""

import argparse
import dataclasses

from flan_jax import terminal
from flan_jax.commands import common, inherit

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    inherit.add_checkpoint_argument(parser)
    parser.add_argument(
        "--engine", default="flan_jax", help="flan_jax (default), or t5x where it is installed"
    )
    parser.add_argument("--mixture", required=True, type=common.path, help="SeqIO task or mixture")
    parser.add_argument("--out", required=True, type=common.path, help="folder for the results")
    inherit.add_arguments(parser)
    common.add_fresh_argument(parser)
    common.add_gin_arguments(parser)
    common.add_distributed_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates."""
    from flan_jax import config, files
    from flan_jax.errors import ConfigError, border

    files.check_out_folder(args.out)
    if args.engine != "flan_jax":
        return _on_t5x(args)
    common.start_distributed(args)
    # What training is configured by rides along in the macros; its loop does not.
    modules = ["flan_jax.training.config", "flan_jax.evaluation.evaluate"]
    common.register(modules)
    overrides = [f"MIXTURE_OR_TASK_NAME={args.mixture}", *args.gin_overrides]
    found = inherit.configure(args, "eval", modules, overrides)
    from flan_jax.evaluation.evaluate import EvalConfig, evaluate
    from flan_jax.scoring import report
    from flan_jax.training import processes

    with border(f"settings of checkpoint {found.path}", ConfigError):
        chosen = EvalConfig()  # type: ignore[call-arg]
    # Processes that prepare data import all of them.
    named = [*config.module_list(chosen.modules), *args.module]
    chosen = dataclasses.replace(chosen, modules=named)
    summary = evaluate(chosen, str(found.path), args.out, fresh=args.fresh)
    if processes.is_first():
        report.print_tables(summary)
        terminal.say(f"wrote {report.METRICS_FILE} and {report.PREDICTIONS_FILE} in {args.out}")
    return 0


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
