"""Print the complete configuration of an experiment, as one gin file.

The file holds the model's macros, the engine's run file and the experiment, in the order in
which they are parsed. For `--engine=t5x` it is what `t5x.train --gin_file` accepts.
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "experiment", type=common.path, help="gin file, relative to here or to the package"
    )
    parser.add_argument("--engine", default="flan_jax", help="flan_jax (default) or t5x")
    parser.add_argument("--run", default="train", help="run file of the engine (default: train)")


def run(args: argparse.Namespace) -> int:
    """Prints the file."""
    from flan_jax import config

    terminal.say(config.compose(args.experiment, args.engine, args.run, args.gin_overrides), end="")
    return 0
