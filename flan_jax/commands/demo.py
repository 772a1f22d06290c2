"""Show in minutes what instruction tuning does, on a laptop and with nothing to download.

Tunes a small pretrained T5 three times on tasks of MiniLab: with instructions in ten wordings each,
on the inputs alone, and with instructions on those tasks only that are related to a target. Scores
each, and the model before tuning, on new wordings, new compositions, new tasks and new clusters;
prints one table and writes report.html. Interrupted and started again, it goes on where it was.

flan-jax demo --out=runs/demo
flan-jax demo --fast                                                  # to see that it runs
flan-jax demo --gin_file=gin_configs/experiments/minilab_full.gin     # all tasks; for a GPU
"""

import argparse

from flan_jax.commands import common

TAKES_GIN = True
EXPERIMENT = "gin_configs/experiments/minilab_demo.gin"
FAST = "gin_configs/experiments/minilab_tiny.gin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "--out",
        type=common.path,
        help="folder of runs and report (default: runs/demo, with --fast runs/demo_fast)",
    )
    parser.add_argument(
        "--fast", action="store_true", help="a few steps and examples: to see that it runs"
    )
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo."""
    out = args.out or ("runs/demo_fast" if args.fast else "runs/demo")
    own = [EXPERIMENT, *([FAST] if args.fast else [])]
    with common.study(out):
        setup = common.start_study("demo", out, own, args.gin_file, args.gin_overrides)

        from flan_jax.studies import tuning

        tuning.run(setup)
    return 0
