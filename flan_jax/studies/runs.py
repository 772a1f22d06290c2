"""What studies of several runs have in common: one folder, one configuration, tune, ask."""

import dataclasses
import itertools
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath

import flan_jax
from flan_jax import config, files, json_files, terminal
from flan_jax.errors import ConfigError
from flan_jax.evaluation.evaluate import EvalConfig, evaluate
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction
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


class StoppedError(Exception):
    """SIGTERM came while a run of a study trained; what it did is saved."""


class Frame:
    """What every study does around its runs: counts its steps, and writes what was found."""

    def __init__(self, setup: Setup, steps: int = 0):
        """Begins a study, see `begin`.

        Args:
            setup: what it is started with.
            steps: number of things that it will say it does; may be set later.
        """
        begin(setup)
        self.setup = setup
        self._started = time.perf_counter()
        self._numbers, self.steps = itertools.count(1), steps

    @property
    def seconds(self) -> float:
        """Since this session began."""
        return time.perf_counter() - self._started

    def say(self, text: str) -> None:
        """Says what is done next."""
        terminal.say(f"[{self.seconds:4.0f} s] {next(self._numbers)}/{self.steps}  {text}")

    def tune(self, mixture: str, *folder: str) -> str:
        """Trains on a mixture in a folder of the study, and returns the run's MODEL_DIR.

        Raises:
            StoppedError: SIGTERM came first.
        """
        model_dir = os.path.join(self.setup.out, *folder)
        if tune(self.setup.compose, mixture, model_dir).preempted:
            terminal.say("stopped; the same command goes on from here")
            raise StoppedError
        return model_dir

    def ask(self, mixture: str, checkpoint: str, *folder: str) -> list[Prediction]:
        """Returns a checkpoint's answers to a mixture, kept in a folder of the study."""
        out = os.path.join(self.setup.out, *folder)
        ask(mixture, checkpoint, out)
        return report.read_predictions(out)

    @property
    def gin_arguments(self) -> str:
        """Overrides of the command line as they were typed."""
        return "".join(" " + shlex.quote(f"--gin.{text}") for text in self.setup.overrides)

    def facts(self, *more: str) -> list[str]:
        """Returns what a page says at its end."""
        return [
            f"flan-jax {flan_jax.__version__}",
            f"jax {jax.__version__} on {jax.devices()[0].device_kind}",
            f"seed {self.setup.values['SEED']}",
            *more,
            f"{self.seconds:.0f} s in the last session",
        ]

    def write(self, metrics: Mapping[str, Any], page: str) -> None:
        """Writes metrics.json and report.html."""
        folder = epath.Path(self.setup.out)
        json_files.write_json(folder / "metrics.json", metrics)
        files.replace_text(folder / "report.html", page)

    def end(self) -> None:
        """Says where everything is."""
        out = self.setup.out
        terminal.say(f"{self.seconds:.0f} s. Scores: {os.path.join(out, 'metrics.json')}")
        terminal.say(f"report: {os.path.join(out, 'report.html')}")
