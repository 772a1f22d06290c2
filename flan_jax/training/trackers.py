"""Where metrics go beside the console: JSON lines, TensorBoard, Weights & Biases."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Protocol

from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import ConfigError, DataError, border, quoted

METRICS_FILE = "metrics.jsonl"


def read_reports(model_dir: str) -> list[dict[str, Any]]:
    """Returns the reports of a run, one mapping for each line of its metrics.jsonl.

    Raises:
        DataError: the file is missing or damaged; names the line.
    """
    return [row.object for row in json_files.read_rows(epath.Path(model_dir) / METRICS_FILE)]


class Tracker(Protocol):
    """Something that takes metrics."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the metrics of a step."""

    def close(self) -> None:
        """Writes what is buffered."""


class JsonLines:
    """One JSON object a report in MODEL_DIR/metrics.jsonl, {"step": ..., name: value, ...}."""

    def __init__(self, model_dir: str, start_step: int):
        """Args:
        model_dir: directory of the run.
        start_step: step the run resumes from; lines of later steps, from a run that was killed
            after its last checkpoint, are dropped, so that the file is what an uninterrupted
            run would have written.
        """
        self._path = epath.Path(model_dir) / METRICS_FILE
        _drop_later_lines(self._path, start_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a line."""
        json_files.append_lines(self._path, [{"step": step, **values}])

    def close(self) -> None:
        """Nothing is buffered."""


class TensorBoard:
    """Scalars in MODEL_DIR/tensorboard, by TensorFlow's own writer.

    SeqIO has imported TensorFlow already, and it knows gs://.
    """

    def __init__(self, model_dir: str):
        import tensorflow as tf

        self._scalar = tf.summary.scalar
        self._folder = os.path.join(model_dir, "tensorboard")
        with files.writing(self._folder):
            self._writer = tf.summary.create_file_writer(self._folder)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one scalar a metric; those of training under `train/`."""
        with files.writing(self._folder), self._writer.as_default(step=step):
            for name, value in values.items():
                self._scalar(name if "/" in name else f"train/{name}", value)

    def close(self) -> None:
        """Flushes."""
        with files.writing(self._folder):
            self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases that goes on when training is resumed.

    Its id is made from MODEL_DIR. The library's own environment variables apply, such as
    WANDB_MODE=offline.
    """

    def __init__(self, model_dir: str, project: str, config: Mapping[str, Any]):
        """Args:
        model_dir: directory of the run.
        project: name of the project.
        config: what to show as the run's configuration.

        Raises:
            ConfigError: the library is not installed, or cannot start.
        """
        try:
            import wandb
        except ImportError:
            raise ConfigError("WANDB_PROJECT needs wandb: pip install 'flan-jax[wandb]'") from None
        where = os.path.abspath(model_dir) if "://" not in model_dir else model_dir
        with border(f"WANDB_PROJECT={quoted(project)}", ConfigError):
            self._run = wandb.init(
                project=project,
                id=hashlib.sha256(where.encode()).hexdigest()[:16],
                name=os.path.basename(model_dir.rstrip("/")),
                dir=model_dir if "://" not in model_dir else None,
                config=dict(config),
                resume="allow",
            )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs metrics."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def _drop_later_lines(path: epath.Path, step: int) -> None:
    if not path.exists():
        return
    text = files.read_text(path)
    kept = []
    for line in text.split("\n"):
        try:
            row = json_files.Fields(str(path), json_files.loads(line, path))
            if row.count("step") <= step:
                kept.append(line + "\n")
        except DataError:  # the line a killed run was writing
            continue
    if (left := "".join(kept)) != text:
        files.replace_text(path, left)
