"""What a run tells of itself: console lines and progress, JSON lines, TensorBoard."""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from flan_jax.terminal import Progress

METRICS_FILE = "metrics.jsonl"


@dataclasses.dataclass
class Window:
    """Host-side sums since the last report.

    Attributes:
        started: `time.perf_counter()` at its start.
        waited: seconds spent waiting for the next batch.
        tokens: input and target tokens of all rows, padding left out.
        positions: positions of those rows, padding included.
        examples: examples in them.
        steps: number of steps.
    """

    started: float = dataclasses.field(default_factory=time.perf_counter)
    waited: float = 0.0
    tokens: int = 0
    positions: int = 0
    examples: int = 0
    steps: int = 0

    def report(self) -> dict[str, float]:
        """Returns rates and shares since the start of the window; nothing of an empty one."""
        if not self.steps:
            return {}
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return {
            "tokens_per_second": self.tokens / seconds,
            "examples_per_second": self.examples / seconds,
            "step_seconds": seconds / self.steps,
            "data_wait_share": self.waited / seconds,
            "fill": self.tokens / max(self.positions, 1),
        }


def console_line(step: int, steps: int, values: Mapping[str, float]) -> str:
    """Returns one line for people: what is learned, how fast, how full."""
    line = f"step {step}/{steps}  loss {values['loss']:.4f}  accuracy {values['accuracy']:.3f}"
    if "tokens_per_second" in values:
        line += (
            f"  {values['tokens_per_second']:,.0f} tokens/s  {values['step_seconds']:.3f} s/step"
            f"  data wait {100 * values['data_wait_share']:.1f} %"
            f"  fill {100 * values['fill']:.1f} %"
        )
    return line


class Telemetry:
    """Writes the metrics of a run; everything but errors is for process 0 alone."""

    def __init__(self, model_dir: str, start_step: int, steps: int, enabled: bool = True):
        """Args:
        model_dir: directory of the run.
        start_step: step the run resumes from; lines of later steps, from a run that was killed
            after its last checkpoint, are dropped, so that the file is what an uninterrupted
            run would have written.
        steps: step the run ends at, for the progress bar.
        enabled: whether this process writes.
        """
        self._steps = steps
        self._enabled = enabled
        if not enabled:
            return
        self._path = epath.Path(model_dir) / METRICS_FILE
        _drop_later_lines(self._path, start_step)
        self._tensorboard = _tensorboard_writer(model_dir)
        self._progress = Progress("training", steps, start_step)

    def say(self, text: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        if self._enabled:
            self._progress.say(text)

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        if self._enabled:
            self._progress.advance(1)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Writes metrics of a step to the console, JSON lines and TensorBoard."""
        if not self._enabled:
            return
        self.say(console_line(step, self._steps, values))
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        import tensorflow as tf

        with self._tensorboard.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"train/{name}", value)

    def close(self) -> None:
        """Ends the progress bar and writes what is buffered."""
        if self._enabled:
            self._progress.close()
            self._tensorboard.close()


def _drop_later_lines(path: epath.Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for text in path.read_text().splitlines():
        try:
            if json.loads(text)["step"] <= step:
                kept.append(text + "\n")
        except (ValueError, KeyError, TypeError):  # the line a killed run was writing
            continue
    path.write_text("".join(kept))


def _tensorboard_writer(model_dir: str) -> Any:
    """TensorFlow's own writer: SeqIO has imported TensorFlow already, and it knows gs://."""
    import tensorflow as tf

    return tf.summary.create_file_writer(os.path.join(model_dir, "tensorboard"))
