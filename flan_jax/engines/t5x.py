"""T5X as an engine: what its gin files refer to, and how its binaries are started.

`flan_jax.config` composes a complete gin file from the same macros that the built-in engine
reads (gin_configs/runs/t5x); `launch` hands it to `t5x.train`, `t5x.eval` or `t5x.infer` in a
process of its own, since T5X registers its binaries with gin as `__main__`. T5X is on no package
index: it is found where requirements-t5x.txt has installed it, or in the source folders that
the environment variable T5X_PATH lists.
"""

import functools
import importlib.machinery
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from flan_jax.errors import ConfigError, FlanJaxError, did_you_mean, quoted
from flan_jax.files import user_path

T = TypeVar("T")

PATH_VARIABLE = "T5X_PATH"
VERBS = ("train", "eval", "infer")
# Modules, not packages: airio's folder has no __init__, and the root of a checkout of t5x,
# itself a folder named t5x, would pass for a package.
_NEEDED = ("t5x.train", "airio.core", "jestimator.amos", "cached_property", "fiddle", "libcst")
_ROOT = Path(__file__).resolve().parents[2]


def choose(what: str, name: str, among: Mapping[str, Callable[[], T]]) -> T:
    """Returns what the function that `name` stands for makes.

    Args:
        what: the macro that gives the name, for the error message.
        name: a key of `among`.
        among: functions without arguments.

    Raises:
        ConfigError: there is no such name; the nearest one is offered.
    """
    if name not in among:
        known = ", ".join(map(repr, among))
        raise ConfigError(f"{what} {name!r} is not one of {known}{did_you_mean(name, among)}")
    return among[name]()


def only_if(condition: Any, value: T) -> T | None:
    """Returns `value` where the condition holds, else None, which turns a part of T5X off."""
    return value if condition else None


def decoder(
    method: str,
    temperature: float,
    top_k: int,
    top_p: float,
    length_penalty: float,
    sample: Callable[..., Any],
    beam: Callable[..., Any],
) -> Callable[..., Any]:
    """Returns T5X's decoding function with the settings of our macros.

    Args:
        method: macro DECODING.
        temperature: macro TEMPERATURE.
        top_k: macro TOP_K; T5X takes it or `top_p`, not both.
        top_p: macro TOP_P, of which T5X calls 1.0 zero.
        length_penalty: macro LENGTH_PENALTY. T5X divides by ((5 + tokens) / 6) ** length_penalty.
        sample: `t5x.decoding.temperature_sample`.
        beam: `t5x.decoding.beam_search`.

    Raises:
        ConfigError: there is no such method.
    """
    top_p = top_p if top_p < 1.0 else 0.0
    makers: dict[str, Callable[[], Callable[..., Any]]] = {
        "greedy": lambda: functools.partial(sample, temperature=0.0),
        "sample": lambda: functools.partial(
            sample, temperature=temperature, topk=top_k, topp=top_p
        ),
        "beam": lambda: functools.partial(beam, alpha=length_penalty),
    }
    return choose("DECODING", method, makers)


def beams(method: str, num_beams: int) -> int:
    """Returns how many sequences T5X follows: NUM_BEAMS where DECODING is 'beam', else one."""
    return num_beams if method == "beam" else 1


def end_on_error(config: T) -> T:
    """Returns `config`, and sees to it that from now on an error ends the process.

    The traceback of an error keeps T5X's input pipeline alive into the interpreter's exit, where
    tf.data waits, often forever, for the Python functions of our tasks.
    """

    def print_and_end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        sys.__excepthook__(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    sys.excepthook = print_and_end
    return config


def task_module(names: str | Sequence[str] | None) -> str | None:
    """Imports task modules as the built-in engine does, by name or by file.

    Args:
        names: macro MIXTURE_OR_TASK_MODULE.

    Returns:
        What T5X, which imports one module by its name, finds imported already.
    """
    from flan_jax.config import import_modules

    modules = import_modules(names)
    return modules[-1].__name__ if modules else None


def restore_path(path: str | None) -> str | list[str]:
    """Returns the path of the checkpoint to start from, or T5X's way of saying: none.

    Raises:
        ConfigError: it is of a format that T5X does not read.
    """
    kind, colon, rest = (path or "").partition(":")
    if colon and kind in ("hf", "gguf"):
        raise ConfigError(
            f"INITIAL_CHECKPOINT_PATH {quoted(path)}: T5X reads its own checkpoints alone; "
            f"`flan-jax convert {kind}:... FOLDER --to=t5x` makes one, and published ones are "
            "named in gin_configs/models"
        )
    return (rest if kind == "t5x" else path) or []


def learning_rate(
    name: str, peak: float, warmup_steps: int, decay_steps: int, end: float
) -> Callable[[Any], Any]:
    """Returns the built-in engine's schedule as T5X wants one: of arrays, by finished steps.

    See `flan_jax.training.schedules.Schedule`.
    """
    import jax.numpy as jnp

    from flan_jax.training.schedules import Schedule

    schedule = Schedule(name, peak, warmup_steps, decay_steps or 0, end).build()
    return lambda step: jnp.asarray(schedule(step), jnp.float32)


def data_seed(seed: int | None, model_dir: str) -> int | None:
    """Returns the seed of the data's order: fixed, but another one after each resumption.

    T5X reads a stream and saves no position in it, so a run that resumed with the same seed would
    see the examples it began with again.

    Args:
        seed: the run's seed; None lets T5X draw one.
        model_dir: folder of the run; the step of its newest checkpoint is mixed in.
    """
    from etils import epath

    folder = epath.Path(model_dir)
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    steps = [int(name.removeprefix("checkpoint_")) for name in names if _is_checkpoint(name)]
    return None if seed is None else (seed + 7919 * max(steps, default=0)) % 2**31


def _is_checkpoint(name: str) -> bool:
    return name.startswith("checkpoint_") and name.removeprefix("checkpoint_").isdecimal()


def source_folders() -> list[str]:
    """Returns the folders that T5X_PATH lists."""
    listed = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    return [user_path(folder) for folder in listed if folder]


def missing_modules() -> list[str]:
    """Returns what T5X needs and cannot be found, without importing any of it."""
    path = [*source_folders(), *sys.path]
    return [name for name in _NEEDED if not _is_found(name, path)]


def _is_found(name: str, path: Iterable[str]) -> bool:
    """Tells whether a module is found below the folders of a path."""
    find = importlib.machinery.PathFinder.find_spec
    folders = list(path)
    parent, _, rest = name.partition(".")
    spec = find(parent, folders)
    if spec is None or not rest:
        return spec is not None
    return find(rest, list(spec.submodule_search_locations or ())) is not None


def check_available() -> None:
    """Makes sure that T5X can be started.

    Raises:
        FlanJaxError: it cannot; says what is missing and how to get it.
    """
    if missing := missing_modules():
        raise FlanJaxError(
            f"the engine t5x needs {', '.join(missing)}, which cannot be imported. Install it by "
            "`pip install --no-deps -r requirements-t5x.txt`, or name the source folders of t5x, "
            f"airio and jestimator in {PATH_VARIABLE} (separated by {os.pathsep!r})"
        )


def environment() -> dict[str, str]:
    """Returns the environment in which T5X finds itself, this package and the task modules."""
    # PYTHONPATH comes before the standard library, where an installation's own folder must not.
    own = [] if _ROOT.name in ("site-packages", "dist-packages") else [str(_ROOT)]
    folders = [*source_folders(), *own, os.environ.get("PYTHONPATH", "")]
    pythonpath = os.pathsep.join(folder for folder in folders if folder)
    # Modules of the working directory are found as by plain `python -m t5x.train`.
    own_path = {"PYTHONPATH": pythonpath, "PYTHONSAFEPATH": ""}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **own_path}


def launch(gin_text: str, verb: str) -> int:
    """Runs a binary of T5X on a complete gin file and returns its exit status.

    Args:
        gin_text: what `flan_jax.config.compose(..., engine="t5x")` returns.
        verb: "train", "eval" or "infer".

    Raises:
        FlanJaxError: T5X cannot be imported, or has no such binary.
    """
    if verb not in VERBS:
        raise FlanJaxError(f"the engine t5x has no {verb!r}{did_you_mean(verb, VERBS)}")
    check_available()
    with tempfile.TemporaryDirectory(prefix="flan_jax_t5x_") as folder:
        gin_file = Path(folder) / f"{verb}.gin"
        gin_file.write_text(gin_text)
        command = [sys.executable, "-m", f"t5x.{verb}", f"--gin_file={gin_file}"]
        return subprocess.run(command, env=environment(), check=False).returncode
