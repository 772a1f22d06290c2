"""Convert a model between the formats that people keep models in.

    flan-jax convert hf:google/flan-t5-base ~/models/flan_t5    (a checkpoint of ours)
    flan-jax convert MODEL_DIR@best ~/models/mine --to=hf       (a folder that transformers loads)
    flan-jax convert MODEL_DIR ~/models/adapter --to=peft       (adapters alone, as PEFT loads them)

The model is read back from what was written, and its answers to random tokens are compared with
those of the source, before DST appears.
"""

import argparse

from flan_jax import terminal
from flan_jax.commands import common

DTYPES = ("float32", "bfloat16", "float16")
FORMATS = ("hf", "t5x", "gguf", "peft", "flan_jax")
WRITTEN = ("hf", "t5x", "peft", "flan_jax")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "src",
        metavar="SRC",
        type=common.path,
        help="MODEL_DIR, MODEL_DIR@best, MODEL_DIR@1200; hf:FOLDER_OR_NAME, gguf:FILE, t5x:FOLDER, "
        "peft:FOLDER",
    )
    parser.add_argument("dst", metavar="DST", type=common.path, help="folder to make")
    add_base_argument(parser)
    parser.add_argument(
        "--from", dest="source", choices=FORMATS, help="format of SRC, where its name says none"
    )
    parser.add_argument(
        "--to", choices=WRITTEN, help="format of DST (default: hf for a checkpoint of ours, else "
        "flan_jax)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights (default: float32 for what is published)"
    )


def add_base_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --base."""
    parser.add_argument(
        "--base",
        type=common.path,
        help="what the frozen weights of a tuned model are read from, such as "
        "hf:google/gemma-3-270m (default: what SRC was tuned on, if on this machine)",
    )


def run(args: argparse.Namespace) -> int:
    """Converts."""
    from flan_jax import files

    files.check_new_folder(args.dst)
    common.register(["flan_jax.training.config"])
    from flan_jax.interop import convert

    report = convert.convert(
        args.src,
        args.dst,
        args.source,
        args.to,
        args.dtype,
        say=terminal.say_aside,
        base=args.base,
    )
    terminal.say(report)
    return 0
