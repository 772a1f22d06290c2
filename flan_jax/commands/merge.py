"""Merge what trained into the weights it was trained on: one model that needs no adapter.

    flan-jax merge MODEL_DIR ~/models/mine             (a checkpoint of ours)
    flan-jax merge MODEL_DIR@best ~/models/mine --to=hf

Low-rank adapters are added to the matrices they belong to, in float32, and int8 weights become what
they stand for. A soft prompt is no weight of the model and cannot be merged.
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common, convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "run",
        metavar="RUN",
        type=common.path,
        help="MODEL_DIR, MODEL_DIR@best, MODEL_DIR@1200, peft:FOLDER",
    )
    parser.add_argument("dst", metavar="DST", type=common.path, help="folder to make")
    convert.add_base_argument(parser)
    parser.add_argument(
        "--to", choices=("flan_jax", "hf", "t5x"), default="flan_jax", help="format of DST"
    )
    parser.add_argument("--dtype", choices=convert.DTYPES, help="of the weights")


def run(args: argparse.Namespace) -> int:
    """Merges."""
    from flan_jax import files

    files.check_new_folder(args.dst)
    common.register(["flan_jax.training.config"])
    from flan_jax.interop.convert import convert as convert_model

    report = convert_model(
        args.run,
        args.dst,
        to=args.to,
        dtype=args.dtype,
        say=terminal.say_aside,
        base=args.base,
        merge=True,
    )
    terminal.say(report)
    return 0
