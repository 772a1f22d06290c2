"""Answer instructions with a model.

    flan-jax infer --checkpoint=hf:google/flan-t5-base --input=asked.jsonl --output=answered.jsonl
    flan-jax infer --checkpoint=MODEL_DIR                    (type instructions in)

A line of the input is {"inputs": "..."} or {"messages": [{"role": "user", "content": "..."}]}, the
latter for models with a chat template. It comes back with "output" added, or "outputs" with
--gin.NUM_OUTPUTS above 1. A job that was killed goes on when it is started again.
"""

import argparse
import sys

from flan_jax import terminal
from flan_jax.commands import common, inherit

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    inherit.add_checkpoint_argument(parser)
    parser.add_argument(
        "--input", type=common.path, help="file of JSON lines, - for standard input (default: "
        "what is typed in, where that is a terminal)",
    )  # fmt: skip
    parser.add_argument(
        "--output", default="-", type=common.path, help="file, - for standard output (default)"
    )
    inherit.add_arguments(parser)
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Answers."""
    from flan_jax import files
    from flan_jax.errors import ConfigError, border

    typed = args.input is None and sys.stdin.isatty()
    if args.output != "-":
        files.check_out(args.output)
    modules = ["flan_jax.training.config", "flan_jax.evaluation.inference"]
    common.register(modules)
    from flan_jax.evaluation import inference

    requests = [] if typed else _requests(args.input)
    found = inherit.configure(args, "infer", modules, args.gin_overrides)
    with border(f"settings of checkpoint {found.path}", ConfigError):
        chosen = inference.InferConfig()  # type: ignore[call-arg]
    if chosen.decoding.method == "beam" and typed:
        raise ConfigError("DECODING=beam has no answer to stream: greedy or sample, or an --input")
    found.release()
    answerer = inference.Answerer(chosen, str(found.path), terminal.warn)
    if typed:
        return _converse(answerer)
    output = None if args.output == "-" else args.output
    inference.answer_lines(answerer, requests, chosen.outputs > 1, output)
    return 0


def _requests(name: str | None):
    from flan_jax.evaluation import inference

    if name in (None, "-"):
        return inference.read_requests("standard input", sys.stdin.read())
    return inference.read_requests(name)


def _converse(answerer) -> int:
    """Answers what is typed in, line by line; Ctrl-C ends an answer, Ctrl-D the conversation."""
    from flan_jax.evaluation.inference import Request
    from flan_jax.instructions import chat
    from flan_jax.instructions.vocabulary import VOCABULARY

    chats = chat.template_of(VOCABULARY.resolved) is not None
    number = 0
    while True:
        try:
            terminal.say("> ", end="")  # input() would say it on standard error
            line = input().strip()
        except (EOFError, KeyboardInterrupt):
            terminal.say()
            return 0
        if not line:
            continue
        message = [{"role": "user", "content": line}]
        request = Request({}, None, message) if chats else Request({}, line)
        try:
            for piece in answerer.stream(request, number):
                terminal.say(piece, end="")
        except KeyboardInterrupt:
            pass
        terminal.say()
        number += 1
