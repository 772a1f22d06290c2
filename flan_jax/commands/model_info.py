"""Print every parameter: shape, logical axes, sharding and bytes on each device.

The devices need not be there: `--devices=64` plans for 64 of them.

    flan-jax model-info --gin.MODEL=t5_1_1/xl --gin.SHARDING=fsdp --devices=64
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    common.add_gin_arguments(parser)
    parser.add_argument(
        "--devices", type=common.whole(), help="number of devices (default: those here)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    from flan_jax import config

    parts = config.compose_parts(args.gin_file, "flan_jax", "model_info", args.gin_overrides)
    common.configure(parts, ["flan_jax.training.config", "flan_jax.training.model_info"])
    from flan_jax.instructions.vocabulary import check_vocabulary
    from flan_jax.training.model_info import ModelInfoConfig, describe

    chosen = ModelInfoConfig()  # type: ignore[call-arg]
    check_vocabulary(chosen.model.vocab_size)
    terminal.say(describe(chosen, args.devices), end="")
    return 0
