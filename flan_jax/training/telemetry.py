"""What a run tells of itself: how fast, how full, where time goes, and what it learned."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import DataError
from flan_jax.terminal import Progress
from flan_jax.training import state as state_lib
from flan_jax.training.trackers import Tracker

# Dense bfloat16 FLOP/s of one device as jax counts devices, by a piece of `device_kind`; from the
# vendors' data sheets. The first piece found counts.
PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "TPU v6 lite": 918e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
    "TPU v3": 61.5e12,
    "TPU v2": 22.5e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Returns the peak FLOP/s of a kind of device, None where it is not known (as for CPUs)."""
    return next((flops for kind, flops in PEAK_FLOPS.items() if kind in device_kind), None)


@dataclasses.dataclass
class Window:
    """Host-side sums since the last report.

    Attributes:
        started: `time.perf_counter()` at its start.
        seconds: time in named parts of the loop: "data" waits for the next batch, "host" hands
            it over and keeps the books, "aside" validates and saves. What is left is compute:
            the host waits for the device, or runs ahead of it at no cost.
        tokens: input and target tokens of all rows, padding left out.
        positions: positions of those rows, padding included.
        examples: examples in them.
        steps: number of steps.
    """

    started: float = dataclasses.field(default_factory=time.perf_counter)
    seconds: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"data": 0.0, "host": 0.0, "aside": 0.0}
    )
    tokens: float = 0.0
    positions: int = 0
    examples: int = 0
    steps: int = 0

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time inside to a part."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - before

    def stepping(self) -> float:
        """Returns the seconds since the start but for those aside."""
        return max(time.perf_counter() - self.started - self.seconds["aside"], 1e-9)

    def report(self, flops_per_step: float = 0.0) -> dict[str, float]:
        """Returns rates and shares since the start of the window; nothing of an empty one.

        Args:
            flops_per_step: of the model, over all devices, see `forward_flops` of a family.
        """
        if not self.steps:
            return {}
        seconds = self.stepping()
        data, host = self.seconds["data"] / seconds, self.seconds["host"] / seconds
        values = {
            "tokens_per_second": self.tokens / seconds,
            "examples_per_second": self.examples / seconds,
            "step_seconds": seconds / self.steps,
            "compute_share": max(1.0 - data - host, 0.0),
            "data_wait_share": data,
            "host_share": host,
            "fill": self.tokens / max(self.positions, 1),
        }
        if flops_per_step:
            flops = flops_per_step * self.steps / seconds
            values["model_flops_per_second"] = flops
            if peak := peak_flops(jax.devices()[0].device_kind):
                values["mfu"] = flops / (peak * jax.device_count())
        return values


class Goodput:
    """Share of the time since a run's first start that went into steps it kept.

    Starting, compiling, validating and saving are not steps, and neither are steps that a killed
    run took after its last checkpoint; nor is the time in which it did not run.
    """

    FILE = "first_start.json"

    def __init__(self, model_dir: str, kept: float = 0.0):
        """Args:
        model_dir: directory of the run; keeps when it was first started.
        kept: seconds of steps, from the checkpoint that the run goes on from.
        """
        self.kept = kept
        path = epath.Path(model_dir) / self.FILE
        try:
            note = json_files.Fields(str(path), json_files.read_json(path))
            self._first = note.number("unix_seconds")
        except DataError:
            self._first = time.time()
            json_files.write_json(path, {"unix_seconds": self._first})

    def share(self) -> float:
        """Returns the goodput so far."""
        return min(self.kept / max(time.time() - self._first, 1e-9), 1.0)


def read_metrics(sums: state_lib.StepMetrics, steps: int) -> dict[str, float]:
    """Returns means over a window's target tokens, and mean norms over its steps."""
    tokens = max(float(sums.tokens), 1.0)
    return {
        "loss": float(sums.loss) / tokens,
        "z_loss": float(sums.z_loss) / tokens,
        "accuracy": float(sums.correct) / tokens,
        "target_tokens": tokens,
        "gradient_norm": float(sums.gradient_norm) / steps,
        "params_norm": float(sums.params_norm) / steps,
    }


def memory_report(compiled: Any) -> str:
    """Returns what a compiled step holds on each device, in words."""
    facts = compiled.memory_analysis()
    if facts is None:
        return "memory unknown"
    kept, temporary = facts.argument_size_in_bytes, facts.temp_size_in_bytes
    return f"{size(kept)} of state and batch, {size(temporary)} temporary on each device"


def peak_memory() -> dict[str, float]:
    """Returns the most memory that was in use on the fullest device, where the backend tells."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [facts["peak_bytes_in_use"] for facts in stats if "peak_bytes_in_use" in facts]
    return {"peak_memory_gib": max(peaks) / 2**30} if peaks else {}


def size(count: float) -> str:
    """Returns bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def console_line(step: int, steps: int, values: Mapping[str, float]) -> str:
    """Returns one line for people: what is learned, how fast, how full."""
    if "loss" not in values:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        return f"step {step}/{steps}  {shown}"
    line = f"step {step}/{steps}  loss {values['loss']:.4f}  accuracy {values['accuracy']:.3f}"
    if "tokens_per_second" in values:
        line += (
            f"  {values['tokens_per_second']:,.0f} tokens/s  {values['step_seconds']:.3f} s/step"
            f"  data wait {100 * values['data_wait_share']:.1f} %"
            f"  fill {100 * values['fill']:.1f} %"
        )
    if "mfu" in values:
        line += f"  MFU {100 * values['mfu']:.1f} %"
    return line


class Telemetry:
    """Writes the metrics of a run; everything but errors is for process 0 alone."""

    def __init__(self, steps: int, start_step: int, trackers: Sequence[Tracker], enabled: bool):
        """Args:
        steps: step the run ends at.
        start_step: step it starts from.
        trackers: where metrics go beside the console.
        enabled: whether this process writes.
        """
        self._steps = steps
        self._enabled = enabled
        self._trackers = trackers
        self.latest: dict[str, float] = {}
        if enabled:
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
        """Writes metrics of a step to the console and all trackers."""
        self.latest |= values
        if not self._enabled:
            return
        self.say(console_line(step, self._steps, values))
        for tracker in self._trackers:
            tracker.write(step, values)

    def close(self) -> None:
        """Ends the progress bar and writes what is buffered."""
        if self._enabled:
            with contextlib.ExitStack() as stack:
                for tracker in self._trackers:
                    stack.callback(tracker.close)
                self._progress.close()


class Profiler:
    """Traces a range of steps into MODEL_DIR/profile, for TensorBoard's profiler or Perfetto."""

    def __init__(self, model_dir: str, steps: tuple[int, int] | None):
        """Args:
        model_dir: directory of the run.
        steps: first and last step to trace; None for no trace.

        Raises:
            OutputError: nothing can be written there.
        """
        self._folder = str(epath.Path(model_dir) / "profile")
        self._steps = steps
        self._running = False
        if steps:
            files.check_out_folder(self._folder)

    def before(self, step: int) -> None:
        """Starts the trace where `step` is in its range."""
        if self._steps and not self._running and self._steps[0] <= step <= self._steps[1]:
            with files.writing(self._folder):
                jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, step: int, outputs: Any) -> str | None:
        """Ends the trace after its last step; returns what to tell."""
        if not self._running or not self._steps or step < self._steps[1]:
            return None
        jax.block_until_ready(outputs)
        self.close()
        return f"trace of steps {self._steps[0]} to {step}: {self._folder}"

    def close(self) -> None:
        """Ends a trace that is still running."""
        if self._running:
            self._running = False
            with files.writing(self._folder):
                jax.profiler.stop_trace()
