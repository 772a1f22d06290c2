"""The commands of a study, one after another, each in a process of its own.

What a command registers and configures ends with its process. Processes are copies of one that has
imported what all of them need, and share compiled programs, so that a short command is short.
"""

import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from flan_jax import config, files, json_files, terminal
from flan_jax.errors import ConfigError, DataError, FlanJaxError
from flan_jax.json_files import Fields
from flan_jax.studies.declared import Job

# Imports what takes a process seconds to import.
_PRELOADED = "flan_jax.studies.preloaded"
_POLL_SECONDS = 0.5
_LAST_LINES = 12


class StoppedError(Exception):
    """SIGTERM came while a command ran; what it did is kept."""


def marker(out: str, job: Job) -> epath.Path:
    """Returns the file that says that a command has ended well."""
    return epath.Path(out) / job.folder / f"{job.kind}.done.json"


def is_done(out: str, job: Job) -> bool:
    """Whether a command has ended well before.

    Raises:
        ConfigError: another one has, of the same arm and seed; names what differs.
    """
    file = marker(out, job)
    if not file.exists():
        return False
    then = Fields(str(file), json_files.read_json(file)).texts("arguments", least=0)
    if then != job.arguments:
        changed = sorted({*then} ^ {*job.arguments})
        raise ConfigError(
            f"{file.parent} holds {job} as another command made it ({', '.join(changed[:4])}): "
            "choose another --out, or remove it"
        )
    return True


def seconds(out: str, job: Job) -> float:
    """Returns how long a command took that has ended well, in its last session.

    Raises:
        DataError: the file that says so is damaged.
    """
    file = marker(out, job)
    return Fields(str(file), json_files.read_json(file)).number("seconds")


def log_file(out: str, job: Job) -> str:
    """Returns the file of all that a command says."""
    return os.path.join(out, job.folder, f"{job.kind}.log")


def command(job: Job) -> str:
    """Returns a job as a person would type it."""
    return "flan-jax " + shlex.join(job.arguments)


def run(out: str, jobs: Sequence[Job], say: Callable[[str], None]) -> None:
    """Runs those commands that have not ended well before.

    Raises:
        StoppedError: SIGTERM came; the command that ran has saved what it did.
        ConfigError: see `is_done`, before anything is run.
        FlanJaxError: a command failed; has its last words.
    """
    left = [job for job in jobs if not is_done(out, job)]
    if not left:
        return
    os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", os.path.abspath(os.path.join(out, "compiled"))
    )
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    with _Stop() as stop:
        for number, job in enumerate(left, 1):
            say(f"{number}/{len(left)}  {job}")
            started = time.perf_counter()
            _run(context, out, job, stop)
            seconds = round(time.perf_counter() - started, 1)
            json_files.write_json(
                marker(out, job), {"arguments": job.arguments, "seconds": seconds}
            )


class _Stop:
    """Whether SIGTERM came, and whom to tell."""

    def __init__(self) -> None:
        self.asked = False
        self.process: Any = None

    def __enter__(self) -> "_Stop":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_: object) -> None:
        self.asked = True
        if self.process is not None and self.process.is_alive():
            self.process.terminate()


def _run(context: Any, out: str, job: Job, stop: _Stop) -> None:
    """Runs one command and waits for it."""
    files.make_folder(os.path.join(out, job.folder))
    log = log_file(out, job)
    process = context.Process(target=_work, args=(job.arguments, log, sys.path), name=str(job))
    process.start()
    stop.process = process
    try:
        with terminal.Progress(job.kind, _steps(job) or 1) as bar:
            shown = 0
            while process.is_alive():
                process.join(_POLL_SECONDS)
                now = _step(job) if _steps(job) else 0
                bar.advance(now - shown)
                shown = now
    except KeyboardInterrupt:
        process.join()
        raise
    finally:
        stop.process = None
    if stop.asked:
        raise StoppedError
    if process.exitcode:
        raise FlanJaxError(f"{job} failed; {log} ends with\n{_tail(log)}")
    if job.kind == "train" and _step(job) < _steps(job):
        raise StoppedError  # only it was asked to stop, and has saved


def _work(arguments: Sequence[str], log: str, path: Sequence[str]) -> None:
    """What a process does: one command, all that it says going to a file."""
    sys.path[:] = path
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    sys.argv = ["flan-jax", *arguments]
    from flan_jax import cli

    cli.main()


def _tail(log: str) -> str:
    try:
        lines = files.read_text(log, error=DataError).splitlines()
    except DataError:
        return "(nothing)"
    return "\n".join(lines[-_LAST_LINES:])


def _macros(job: Job) -> dict[str, Any]:
    experiments = [
        a.removeprefix("--gin_file=") for a in job.arguments if a.startswith("--gin_file=")
    ]
    overrides = [a.removeprefix("--gin.") for a in job.arguments if a.startswith("--gin.")]
    return config.given(experiments, overrides)


def _steps(job: Job) -> int:
    """Returns the step at which a run ends; 0 where that is not known beforehand."""
    values = _macros(job) if job.kind == "train" else {}
    return 0 if values.get("STOP_METRIC") else int(values.get("TRAIN_STEPS") or 0)


def _step(job: Job) -> int:
    """Returns the last step that a run has reported."""
    rows = list(_reports(job))
    return int(rows[-1]["step"]) if rows else 0


def _reports(job: Job) -> Iterator[dict[str, Any]]:
    from flan_jax.training import trackers

    try:
        yield from trackers.read_reports(str(_macros(job)["MODEL_DIR"]))
    except DataError:
        return
