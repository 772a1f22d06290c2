"""Print what a checkpoint holds in one line, or how far two are apart.

One directory: `step <n> params <sha256> data <sha256>` of its newest sound checkpoint. Equal
weights and an equal sequence of examples trained on give an equal line. Two directories: both
lines and `max relative difference <x>`, the largest over parameters of |a-b| / |a|.
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "directory",
        nargs="+",
        type=common.path,
        help="one or two MODEL_DIRs; MODEL_DIR@1200 for a step",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the lines."""
    from flan_jax.errors import CheckpointError
    from flan_jax.training import checkpoints, digest

    if len(args.directory) > 2:
        raise CheckpointError("digest takes one or two directories")
    found = [
        checkpoints.require(directory, terminal.warn, weights_only=True)
        for directory in args.directory
    ]
    for one in found:
        terminal.say(digest.line(one))
    if len(found) == 2:
        a, b = (checkpoints.load_params_on_host(one.path) for one in found)
        terminal.say(f"max relative difference {digest.relative_difference(a, b):.3g}")
    return 0
