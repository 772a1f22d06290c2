"""`flan-jax vocab`: trains a SentencePiece vocabulary on the texts of a mixture."""

import argparse

from flan_jax import terminal
from flan_jax.commands import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    parser.description = (
        "Trains a SentencePiece vocabulary on the prompts and targets of a task or mixture. "
        "VOCABULARY=FILE then makes every task use it."
    )
    parser.add_argument(
        "--mixture", required=True, type=common.path, help="task or mixture to read"
    )
    parser.add_argument(
        "--module",
        action="append",
        required=True,
        type=common.module,
        help="task module that registers it, as tasks.minilab; may be given several times",
    )
    parser.add_argument(
        "--size",
        type=common.whole(),
        required=True,
        help="number of pieces, 260 of which are fixed",
    )
    parser.add_argument(
        "--out", required=True, type=common.path, help="file to write; its name ends in .model"
    )
    parser.add_argument("--split", default="train", help="split to read (default: train)")
    parser.add_argument(
        "--max_examples",
        type=common.whole(0),
        default=0,
        help="read at most this many examples, spread evenly over the tasks (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    """Trains and writes the model, and says what it is.

    Raises:
        ConfigError: the file name, a number or a module is wrong.
        DataError: the mixture is unknown, or its texts do not fit the size.
        OutputError: the model cannot be written.
    """
    _check(args)
    from flan_jax import config, files
    from flan_jax.instructions import train_vocabulary, vocabulary

    files.check_out(args.out)
    config.import_modules(args.module)
    texts = train_vocabulary.mixture_texts(
        args.mixture, split=args.split, max_examples=args.max_examples
    )
    train_vocabulary.train_vocabulary(texts, args.out, size=args.size)
    terminal.say(f"{args.out}: {args.size} pieces, {vocabulary.vocabulary_fingerprint(args.out)}")
    return 0


def _check(args: argparse.Namespace) -> None:
    from flan_jax.errors import ConfigError

    if not args.out.endswith(".model"):
        raise ConfigError(f"--out={args.out}: the name of a SentencePiece file ends in .model")
