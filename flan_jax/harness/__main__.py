r"""The command line of lm-evaluation-harness, with models of ours.

    python -m flan_jax.harness --model_args checkpoint=hf:FOLDER --batch_size 16 \
        --include_path my_tasks --tasks my_task

Everything is an option of `lm_eval`, and `--model flan_jax` need not be said. model_args:

    checkpoint  what --checkpoint of flan-jax takes: a run, RUN@best, hf:, gguf:, t5x:, peft:
    batch_size  contexts read together (goes before --batch_size)
    max_length  tokens of the longest sequence (default: what config.json says, or 2048)
    base        the model that an adapter is on
    dtype       float32 (default) or bfloat16
    sharding    how several devices share the model
    module      a module that registers the model's family
    seed        of sampling

`python -m flan_jax.harness run --help` tells the options of lm_eval.
"""

import os
import sys

# Before anything is imported that a file in the working directory could stand in for.
if sys.path and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0))

from flan_jax import modules, terminal  # noqa: E402
from flan_jax.errors import FlanJaxError  # noqa: E402

# What says the model, or is answered without one.
_NAMED = ("--model", "-M", "--config", "-C", "--help", "-h")


def main() -> int:
    """Runs it; errors meant for people go to standard error without a traceback, status 2."""
    modules.working_directory_last()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:]
    if arguments in ([], ["-h"], ["--help"]):
        terminal.say((__doc__ or "").strip())
        return 0
    try:
        from flan_jax.harness import lm_eval

        named = any(argument.split("=")[0] in _NAMED for argument in arguments)
        if not named and arguments[0] not in ("ls", "validate"):
            sys.argv += ["--model", lm_eval.NAME]
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except FlanJaxError as error:
        terminal.warn(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
