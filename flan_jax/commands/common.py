"""What verbs that read gin files have in common."""

import argparse
import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax import config, terminal
from flan_jax.errors import ConfigError, first_line, quoted
from flan_jax.kinds import MOST_NUMBER, MOST_WHOLE, Kind, Number, Place, Whole
from flan_jax.macros import SETTINGS, in_full
from flan_jax.quiet import import_tensorflow


def path(text: str) -> str:
    """Returns a path as it was meant, `~` in full, as a type of an option.

    So is the path in `selected:~/manifest.json` and `t5:~/run`.
    """
    return str(_typed(Place(), in_full(text)))


def names(text: str) -> list[str]:
    """Returns what stands between commas; a name that is there as it stands is one.

    Raises:
        ConfigError: there is nothing between two of them.
    """
    if os.path.exists(text):
        return [text]
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"{quoted(text)} has nothing between two commas, or before or after one")
    return list(dict.fromkeys(map(path, parts)))


def module(text: str) -> str:
    """Returns the name of a task module, or its file in full, as a type of an option."""
    _typed(Place(), text)
    return config.as_named(text)


def whole(least: int = 1, most: int = MOST_WHOLE) -> Callable[[str], int]:
    """Returns a type of options that are whole numbers; seeds are `SEED`."""
    return functools.partial(_typed, Whole(least, most))


def number(
    low: float = -MOST_NUMBER, high: float = MOST_NUMBER, *, above: bool = False
) -> Callable[[str], float]:
    """Returns a type of options that are numbers, see `kinds.Number`."""
    return functools.partial(_typed, Number(low, high, above))


def _typed(kind: Kind, text: str) -> Any:
    value = kind.read(text)
    if not kind.fits(value):
        raise argparse.ArgumentTypeError(f"must be {kind.words(value)}, not {quoted(text)}")
    return value


SEED = whole(0, 2**32 - 1)


def add_gin_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Adds --gin_file; `--gin.NAME=value` is taken out before argparse sees it."""
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        required=required,
        type=path,
        metavar="FILE",
        help="gin file, relative to here or to the package; later ones override earlier ones",
    )
    parser.epilog = "Any macro of the gin files can be set with --gin.NAME=value."


def add_fresh_argument(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Adds --fresh, for what no fingerprint can know to have changed."""
    text = "prepare again what is prepared: for changes that cannot be seen, and damaged records"
    parser.add_argument("--fresh", action="store_true", help=text + more)


def add_module_argument(parser: Any, what: str = "task module to import, by name or file") -> None:
    """Adds --module, which may come repeatedly."""
    parser.add_argument("--module", action="append", default=[], type=module, help=what)


def add_distributed_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what several processes need to find each other."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="find the others by what a TPU pod, GKE or Slurm says (`flan-jax launch` sets it)",
    )
    group.add_argument("--coordinator_address", metavar="HOST:PORT")
    group.add_argument("--process_count", type=whole())
    group.add_argument("--process_index", type=whole(0))


def start_distributed(args: argparse.Namespace) -> None:
    """Joins the other processes where the arguments say that there are some.

    Raises:
        ConfigError: only some of the three arguments were given, or nothing here says where the
            others are.
    """
    given = (args.coordinator_address, args.process_count, args.process_index)
    if args.distributed:
        _find_the_others(given)
        return
    if all(value is None for value in given):
        return
    if any(value is None for value in given):
        raise ConfigError("--coordinator_address, --process_count and --process_index go together")
    import jax

    jax.distributed.initialize(*given)


def _find_the_others(given: Sequence[Any]) -> None:
    """Joins the processes that JAX finds in what the cluster put into the environment."""
    if any(value is not None for value in given):
        raise ConfigError("--distributed finds what --coordinator_address and the like would say")
    import jax

    try:
        jax.distributed.initialize()
    except ValueError as error:
        raise ConfigError(
            f"--distributed: no TPU pod, GKE job or Slurm step is here ({first_line(error)})"
        ) from None


def leave_distributed() -> None:
    """Waits until all processes are about to end, so that none is missed while it saves.

    Ending with a status other than 0 skips what JAX does at exit.
    """
    import jax

    if jax.process_count() > 1:
        jax.distributed.shutdown()


def configure(parts: Sequence[config.Part], configurables: Sequence[str] = ()) -> dict[str, Any]:
    """Parses a composed configuration and imports what it names.

    Args:
        parts: see `config.compose_parts`.
        configurables: modules that define what the parts bind.

    Returns:
        The value of every macro.

    Raises:
        FlanJaxError: see `config.parse` and `config.import_modules`.
    """
    values = config.resolved(config.macros(parts))
    _export(values)
    register(configurables)
    from flan_jax.instructions.vocabulary import VOCABULARY

    config.parse(parts)
    if values.get("VOCABULARY"):
        VOCABULARY.use(str(values["VOCABULARY"]))
    config.import_modules(values.get("MIXTURE_OR_TASK_MODULE"))
    return values


def register(configurables: Sequence[str]) -> None:
    """Makes known to gin what modules define, and all families of models."""
    import_tensorflow()
    for module in configurables:
        importlib.import_module(module)
    importlib.import_module("flan_jax.training.checkpoint_model")
    from flan_jax.models import families

    families.register_families()


def apply_settings(overrides: Sequence[str]) -> None:
    """Puts settings such as SUPER_NI_DIR where task modules look for them, without a run file.

    Args:
        overrides: `NAME=value` as on the command line, without `--gin.`.

    Raises:
        ConfigError: one is no setting, or cannot have this value.
    """
    _export(config.resolved(config.macros(config.compose_settings(overrides))))


def _export(values: Mapping[str, Any]) -> None:
    for name in SETTINGS:
        if values.get(name) not in (None, ""):
            os.environ[name] = str(values[name])


@contextlib.contextmanager
def study(out: str) -> Iterator[None]:
    """Holds the folder of a study for this process.

    Raises:
        FlanJaxError: it cannot be written, or another study is at work in it.
    """
    from flan_jax import files

    with files.lock_folder(files.check_out_folder(out)):
        yield


def start_study(
    name: str, out: str, own: Sequence[str], given: Sequence[str], overrides: Sequence[str]
) -> Any:
    """Configures a study and returns its `flan_jax.studies.runs.Setup`.

    Args:
        name: of the run file.
        out: folder of everything.
        own: gin files of the package.
        given: gin files that the user names, which override these.
        overrides: `NAME=value` of the command line.

    Raises:
        FlanJaxError: see `configure`.
    """
    settings = [f"PREPARED_DIR={os.path.join(out, 'prepared')}", *overrides]

    def compose(*more: str) -> list[config.Part]:
        experiments: list[str | config.Part] = [*map(config.read_own, own), *given]
        return config.compose_parts(experiments, "flan_jax", name, [*settings, *more])

    parts = compose(f"MODEL_DIR={os.path.join(out, 'run')}")
    terminal.say("importing SeqIO, TensorFlow and JAX ...")
    values = configure(parts, ["flan_jax.training.train", "flan_jax.evaluation.evaluate"])

    from flan_jax.studies import runs

    text = config.macros_text(parts)
    return runs.Setup(out, values, compose, text, [*own, *given], overrides)
