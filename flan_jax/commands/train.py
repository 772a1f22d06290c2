"""Train a model on a task or mixture.

The same command started again continues where the newest sound checkpoint in MODEL_DIR left
off; SIGTERM saves and exits with status 0, or with --preempted_status.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from flan_jax.commands import common

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    common.add_gin_arguments(parser, required=True)
    parser.add_argument(
        "--engine", default="flan_jax", help="flan_jax (default), or t5x where it is installed"
    )
    parser.add_argument(
        "--profile_steps", metavar="A:B", help="write a trace of steps A to B to MODEL_DIR/profile"
    )
    common.add_fresh_argument(parser, "; a run that is resumed uses what it began with")
    parser.add_argument(
        "--preempted_status",
        type=common.whole(0, 255),
        default=0,
        metavar="N",
        help="exit status where SIGTERM ended the run before its last step (0); `flan-jax launch` "
        "asks for 75, by which clusters know that it is to be started again",
    )
    common.add_distributed_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains."""
    from flan_jax import config

    overrides = list(args.gin_overrides)
    if args.profile_steps:
        overrides.append(f"PROFILE_STEPS={args.profile_steps}")
    parts = config.compose_parts(args.gin_file, args.engine, "train", overrides)
    if args.engine == "t5x":
        from flan_jax.engines import t5x

        return t5x.launch(config.join_parts(parts), "train")
    common.start_distributed(args)
    if found := _vocabulary_of_checkpoint(parts):
        experiments = [config.Part("the initial checkpoint", f"VOCABULARY = {found!r}\n")]
        parts = config.compose_parts([*experiments, *args.gin_file], "flan_jax", "train", overrides)
    common.configure(parts, ["flan_jax.training.train"])
    from flan_jax.training.train import TrainConfig, train

    text = config.join_parts(parts)
    settings = config.macros(parts)
    done = train(TrainConfig(), parts_text=text, settings=settings, fresh=args.fresh)  # type: ignore[call-arg]
    if not done.preempted or not args.preempted_status:
        return 0
    common.leave_distributed()
    return int(args.preempted_status)


def _vocabulary_of_checkpoint(parts: Sequence[Any]) -> str | None:
    """Returns the vocabulary of the weights that a run starts from, where nothing else names one.

    Their embeddings stand for its tokens, so that no other could be meant.
    """
    from flan_jax import config

    values = config.resolved(config.macros(parts))
    where = values.get("INITIAL_CHECKPOINT_PATH")
    part = values.get("INITIAL_CHECKPOINT_PART")
    if not where or part or values.get("VOCABULARY") or os.environ.get("VOCABULARY"):
        return None
    from flan_jax.quiet import import_tensorflow

    import_tensorflow()
    from flan_jax.training import restore

    found = restore.require(where)
    found.release()
    return found.vocabulary
