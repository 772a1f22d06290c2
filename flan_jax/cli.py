"""`flan-jax VERB`: the command line.

Only the module of the verb that was asked for is imported, and even that imports nothing heavy
before it runs, so that `--help` answers at once.
"""

import argparse
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from flan_jax import __version__, modules, terminal
from flan_jax.errors import ConfigError, FlanJaxError, did_you_mean, printable

# verb -> what it does; the code of a verb is flan_jax/commands/<verb>.py, with _ for -.
VERBS = {
    "demo": "train a tiny model on tasks made by code and score it before and after",
    "train": "train a model on a task or mixture",
    "eval": "score a checkpoint on a task or mixture",
    "infer": "answer instructions, from a file or typed in",
    "score": "score anybody's predictions, without a model",
    "report": "set runs and published predictions side by side, on a page",
    "baseline": "write the predictions of a heuristic, to be scored",
    "tasks": "list tasks, or show what a model sees of one",
    "select": "choose tasks to train on from instructions alone",
    "study": "answer a question with runs side by side, and say how sure that is",
    "launch": "start train or eval here, on TPUs, GKE, Slurm or SkyPilot, in many processes",
    "prepare": "write the tokens of a mixture ahead of training",
    "vocab": "train a vocabulary on a mixture",
    "model-info": "print every parameter, where it lies and how large it is",
    "merge": "merge adapters into the weights they were trained on",
    "convert": "convert a model: Hugging Face, GGUF, T5X, PEFT, ours",
    "digest": "print what a checkpoint holds in one line, or how far two are apart",
    "gin": "print the complete configuration of an experiment",
}


def _usage() -> str:
    lines = [f"  {verb:<10} {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "usage: flan-jax VERB [options]",
            "",
            "Instruction tuning of language models in JAX, from task to table.",
            "",
            "verbs:",
            *lines,
            "",
            "`flan-jax VERB --help` tells the options of a verb.",
        ]
    )


def split_gin_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes `--gin.NAME=value` and `--gin.NAME value` out of the arguments.

    Returns:
        The other arguments, and the overrides as `NAME=value`.
    """
    rest, overrides = [], []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--gin."):
            rest.append(argument)
        elif "=" in argument or not waiting or waiting[0].startswith("--"):
            overrides.append(argument.removeprefix("--gin."))
        else:
            overrides.append(f"{argument.removeprefix('--gin.')}={waiting.pop(0)}")
    return rest, overrides


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Returns the options of a parser and of its subparsers."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _options(below)
    return found


class _Parser(argparse.ArgumentParser):
    """Offers the nearest option where one is misspelt.

    Raises:
        ConfigError: an option has a value that it cannot have.
    """

    def error(self, message: str) -> None:  # type: ignore[override]
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            option = message.removeprefix(prefix).split()[0].split("=")[0]
            message += did_you_mean(option, _options(self))
        if message.startswith("argument "):  # a value, and not how the command is written
            raise ConfigError(message.removeprefix("argument "))
        super().error(printable(message))


def parse(arguments: Sequence[str]) -> tuple[Any, argparse.Namespace]:
    """Returns the module of a verb and the options it is asked with; runs nothing.

    Args:
        arguments: the verb and what follows. Of a verb that starts another one (`TAKES_COMMAND`),
            what follows `--` is left as it stands, in the option `command`.

    Raises:
        FlanJaxError: there is no such verb, or an option has a value that it cannot have.
    """
    verb = arguments[0]
    if verb not in VERBS:
        raise FlanJaxError(f"no verb {verb!r}{did_you_mean(verb, VERBS)}\n\n{_usage()}")
    module = importlib.import_module(f"flan_jax.commands.{verb.replace('-', '_')}")
    parser = _Parser(prog=f"flan-jax {verb}", description=module.__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.add_arguments(parser)
    given, command = list(arguments[1:]), []
    if getattr(module, "TAKES_COMMAND", False) and "--" in given:
        at = given.index("--")
        given, command = given[:at], given[at + 1 :]
    rest, overrides = split_gin_arguments(given)
    if overrides and not getattr(module, "TAKES_GIN", False):
        raise FlanJaxError(f"flan-jax {verb} takes no --gin. options: --gin.{overrides[0]}")
    options = parser.parse_args(rest)
    options.gin_overrides, options.command = overrides, command
    return module, options


def run(arguments: Sequence[str]) -> int:
    """Runs one verb and returns its exit status.

    Raises:
        FlanJaxError: bad input.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        terminal.say(_usage())
        return 0
    if arguments[0] in ("-V", "--version"):
        terminal.say(f"flan-jax {__version__}")
        return 0
    module, options = parse(arguments)
    # Libraries below warn about what is no news to the person who typed the command.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return int(module.run(options) or 0)


def main() -> None:
    """Entry point: errors meant for people go to stderr without a traceback, status 2."""
    modules.working_directory_last()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        # A virtual device that waits in a collective holds a thread of XLA's pool, which has as
        # many as there are devices or cores: two collectives at once can leave none to arrive.
        os.environ.setdefault("NPROC", "32")
    try:
        status = run(sys.argv[1:])
    except FlanJaxError as error:
        terminal.warn(str(error))
        status = 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except KeyboardInterrupt:
        terminal.warn("interrupted")
        status = 130
    if status:
        # tf.data waits forever at exit for Python functions of a pipeline that failed.
        with contextlib.suppress(OSError):  # what could not be written cannot be now
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
