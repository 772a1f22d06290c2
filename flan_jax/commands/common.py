"""What verbs that read gin files have in common."""

import argparse
import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax import config, terminal
from flan_jax.errors import ConfigError
from flan_jax.quiet import import_tensorflow

# Macros that code outside gin's reach looks up (`settings.setting`); children see them as
# environment variables.
SETTINGS = (
    "SUPER_NI_DIR", "SUPER_NI_ENCODING", "SUPER_NI_BUDGET", "SUPER_NI_OVERFLOW", "SUPER_NI_TASKS",
    "SUPER_NI_TRAIN_TASKS", "SUPER_NI_TRAIN_INSTANCES", "SUPER_NI_SEED",
    "NI_V1_DIR", "NI_V1_ENCODING", "NI_V1_BUDGET", "PREPARED_DIR", "VOCABULARY",
    "OPTIONS_STYLE", "OPTIONS_TARGET", "OPTIONS_ORDER", "FEWSHOT_EXEMPLARS", "FEWSHOT_TOKENS",
    "FLAN_TEMPLATES", "SKIP_UNAVAILABLE", "TFDS_DATA_DIR",
    "EMBEDDINGS_DIR",
)  # fmt: skip


def add_gin_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Adds --gin_file; `--gin.NAME=value` is taken out before argparse sees it."""
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        required=required,
        metavar="FILE",
        help="gin file, relative to here or to the package; later ones override earlier ones",
    )
    parser.epilog = "Any macro of the gin files can be set with --gin.NAME=value."


def add_fresh_argument(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Adds --fresh, for what no fingerprint can know to have changed."""
    text = "prepare again what is prepared: for changes that cannot be seen, and damaged records"
    parser.add_argument("--fresh", action="store_true", help=text + more)


def add_distributed_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what several processes need to find each other; TPU pods need none of it."""
    group = parser.add_argument_group("several processes")
    group.add_argument("--coordinator_address", metavar="HOST:PORT")
    group.add_argument("--process_count", type=int)
    group.add_argument("--process_index", type=int)


def start_distributed(args: argparse.Namespace) -> None:
    """Joins the other processes where the arguments say that there are some.

    Raises:
        ConfigError: only some of the three arguments were given.
    """
    given = (args.coordinator_address, args.process_count, args.process_index)
    if all(value is None for value in given):
        return
    if any(value is None for value in given):
        raise ConfigError("--coordinator_address, --process_count and --process_index go together")
    import jax

    jax.distributed.initialize(*given)


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
    from flan_jax.models import families

    families.register_families()


def apply_settings(overrides: Sequence[str], more: Sequence[tuple[str, str]] = ()) -> None:
    """Puts settings such as SUPER_NI_DIR where task modules look for them, without a run file.

    Args:
        overrides: `NAME=value` as on the command line, without `--gin.`.
        more: further names and values, as gin text.

    Raises:
        ConfigError: one is not among `SETTINGS`.
    """
    known = config.Part("the command line", "".join(f"{name} = None\n" for name in SETTINGS))
    pairs = [*(config.parse_override(text) for text in overrides), *more]
    given = "".join(f"{name} = {value}\n" for name, value in pairs)
    config.check_overrides([known], given)
    _export(config.resolved(config.macros([known, config.Part("the command line", given)])))


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


def start_study(name: str, out: str, experiments: Sequence[str], overrides: Sequence[str]) -> Any:
    """Configures a study and returns its `flan_jax.studies.runs.Setup`.

    Args:
        name: of the run file.
        out: folder of everything.
        experiments: gin files.
        overrides: `NAME=value` of the command line.

    Raises:
        FlanJaxError: see `configure`.
    """
    given = [f"PREPARED_DIR={os.path.join(out, 'prepared')}", *overrides]

    def compose(*more: str) -> list[config.Part]:
        return config.compose_parts(experiments, "flan_jax", name, [*given, *more])

    parts = compose(f"MODEL_DIR={os.path.join(out, 'run')}")
    terminal.say("importing SeqIO, TensorFlow and JAX ...")
    values = configure(parts, ["flan_jax.training.train", "flan_jax.evaluation.evaluate"])

    from flan_jax.studies import runs

    text = config.macros_text(parts)
    return runs.Setup(out, values, compose, text, experiments, overrides)


def as_modules(value: Any) -> list[str]:
    """Returns MIXTURE_OR_TASK_MODULE, a name or several, as a list."""
    return [value] if isinstance(value, str) else list(value or ())
