"""What studies of several runs have in common: one folder, one configuration, tune, ask."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from flan_jax import config, files, json_files, terminal
from flan_jax.errors import ConfigError
from flan_jax.evaluation.evaluate import EvalConfig, evaluate
from flan_jax.training.train import Result, TrainConfig, train

SETTINGS_FILE = "settings.json"
# Returns the configuration with further `NAME=value` overrides.
Compose = Callable[..., list[config.Part]]


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a study is started with.

    Attributes:
        out: folder of everything.
        values: the macros.
        compose: returns the configuration with further `NAME=value` overrides.
        macros_text: all macros; a folder of another text is not continued.
        experiments: gin files, for the commands that a report shows.
        overrides: `NAME=value` of the command line, for the same.
    """

    out: str
    values: Mapping[str, Any]
    compose: Compose
    macros_text: str
    experiments: Sequence[str]
    overrides: Sequence[str]


def begin(setup: Setup) -> None:
    """Refuses to mix studies, and lets runs share compiled programs.

    A run that is done would stand beside one of other settings. Runs of a study differ in their
    data alone, so all but the first find their programs compiled.

    Raises:
        ConfigError: the folder holds a study with other settings; names one.
    """
    file = epath.Path(setup.out) / SETTINGS_FILE
    pairs = (line.split(" = ", 1) for line in setup.macros_text.splitlines())
    now = {name: value for name, value in pairs if name not in ("MODEL_DIR", "PREPARED_DIR")}
    if file.exists():
        then = json_files.Fields(str(file), json_files.read_json(file)).object
        changed = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
        if changed:
            name = changed[0]
            raise ConfigError(
                f"{setup.out} holds a study with other settings ({name} is {then.get(name)!s:.200} "
                f"there and {now.get(name)} here): choose another --out, or remove it"
            )
    files.make_folder(setup.out)
    json_files.write_json(file, now)
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", os.path.join(setup.out, "compilations"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def tune(compose: Compose, mixture: str, model_dir: str) -> Result:
    """Trains on a mixture, or goes on, as gin says otherwise."""
    parts = compose(f"MIXTURE_OR_TASK_NAME={mixture}", f"MODEL_DIR={model_dir}")
    chosen = dataclasses.replace(TrainConfig(), mixture=mixture, model_dir=model_dir)  # type: ignore[call-arg]
    return train(chosen, parts_text=config.join_parts(parts), settings=config.macros(parts))


def ask(mixture: str, checkpoint: str, folder: str) -> dict[str, Any]:
    """Evaluates a checkpoint on a mixture, or finds that done; returns its metrics."""
    chosen = dataclasses.replace(EvalConfig(), mixture=mixture)  # type: ignore[call-arg]
    with terminal.Progress("asking", 10) as bar:
        return evaluate(
            chosen, checkpoint, folder, say=lambda text: bar.advance("answered" in text)
        )
