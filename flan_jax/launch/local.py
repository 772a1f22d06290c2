"""Several processes of this machine, with virtual CPU devices: a cluster before one is paid.

They end together: where one fails or is killed, the others would wait for it without end, so they
are asked to stop, and killed once they had time for it.
"""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.errors import OutputError
from flan_jax.launch.work import BAD_INPUT, MANY, PREEMPTED, Work

_POLL_SECONDS = 0.1
# Of one piece of output; a line that is longer is printed in several.
_MOST_LINE = 1 << 16


@dataclasses.dataclass(frozen=True)
class Local:
    """How many processes.

    Attributes:
        processes: number of them.
        devices_per_process: virtual CPU devices of each.
        grace: seconds that the others have once one has failed.
        restarts: how often all are started again after one failed or was killed.
    """

    processes: int = 1
    devices_per_process: int = 1
    grace: float = 30.0
    restarts: int = 0


def commands(local: Local, work: Work, address: str) -> list[list[str]]:
    """Returns the arguments of each process.

    Args:
        local: how many.
        work: what they do.
        address: where the first waits for the others, `host:port`.
    """
    verb, *rest = work.own
    joined = [f"--coordinator_address={address}", f"--process_count={local.processes}"]
    found = []
    for index in range(local.processes):
        place = [*joined, f"--process_index={index}"] if verb in MANY else []
        found.append([sys.executable, "-m", "flan_jax", verb, *place, *rest])
    return found


def environment(local: Local) -> dict[str, str]:
    """Returns the variables that give a process its virtual devices."""
    others = re.sub(
        r"--xla_force_host_platform_device_count=\S*", "", os.environ.get("XLA_FLAGS", "")
    )
    count = f"--xla_force_host_platform_device_count={local.devices_per_process}"
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{others} {count}".strip()}


def free_address() -> str:
    """Returns a port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def run(local: Local, work: Work) -> int:
    """Runs the processes until all have ended, again where that is asked for.

    Returns:
        0 where all ended well, else the status of the first that did not, 128 + n where signal n
        ended it.
    """
    for start in range(local.restarts + 1):
        with Group(commands(local, work, free_address()), environment(local)) as group:
            status = group.wait(local.grace)
        if status in (0, BAD_INPUT) or group.asked or start == local.restarts:
            break
        terminal.warn(f"status {status}: starting all again, {start + 1} of {local.restarts}")
    if status == PREEMPTED:
        terminal.warn(f"stopped and saved: status {status}, the same command goes on from there")
    return status


class Group:
    """Processes that end together.

    Attributes:
        asked: whether SIGTERM or Ctrl-C asked all of them to stop.
    """

    def __init__(self, commands: Sequence[Sequence[str]], more: dict[str, str]):
        self.asked = False
        self._killing = False
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._before: dict[int, Any] = {}
        self._commands, self._more = commands, more

    def __enter__(self) -> "Group":
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._note)
                for number in (signal.SIGTERM, signal.SIGINT)
            }
        try:
            for command in self._commands:
                self._start(command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, command: Sequence[str]) -> None:
        # A session of its own: Ctrl-C reaches it through us alone, and its children end with it.
        process = subprocess.Popen(
            command,
            env={**os.environ, **self._more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        index = len(self._readers)
        reader = threading.Thread(target=self._print, args=(index, process), daemon=True)
        reader.start()
        self._readers.append(reader)
        if self.asked:  # while the ones before it were started
            process.terminate()

    def __exit__(self, *exc: object) -> None:
        for process in self._processes:
            _signal(process, signal.SIGKILL)
            process.wait()
        for reader in self._readers:
            reader.join(5.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, *_: object) -> None:
        """Passes SIGTERM on; a second Ctrl-C means now."""
        self._killing = self.asked and number == signal.SIGINT
        self.asked = True
        for process in self._processes:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGKILL if self._killing else signal.SIGTERM)

    def _print(self, index: int, process: "subprocess.Popen[bytes]") -> None:
        """Prints what a process says, line by line under its number."""
        for line in _lines(process.stdout):
            with self._lock, contextlib.suppress(BrokenPipeError, OutputError):
                terminal.say(f"[{index}] {line}")

    def wait(self, grace: float) -> int:
        """Waits for all; see `run`."""
        first, until = None, None
        while running := [one for one in self._processes if one.poll() is None]:
            if first is None and (first := self._failed()) is not None:
                self._tell(first, grace)
                until = time.monotonic() + grace
                for process in running:
                    _signal(process, signal.SIGTERM)
            if until is not None and time.monotonic() > until:
                for process in running:
                    _signal(process, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        first = self._failed() if first is None else first
        return 0 if first is None else _status(self._processes[first])

    def _failed(self) -> int | None:
        """Returns the number of a process that did not end well."""
        ended = enumerate(self._processes)
        return next((index for index, one in ended if one.poll() not in (None, 0)), None)

    def _tell(self, index: int, grace: float) -> None:
        if (status := _status(self._processes[index])) != PREEMPTED:
            terminal.warn(f"process {index} ended with status {status}; others have {grace:g} s")


def _lines(stream: Any) -> Iterator[str]:
    while line := stream.readline(_MOST_LINE):
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Tells a process and its children, also those that it left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _status(process: "subprocess.Popen[bytes]") -> int:
    code = process.returncode
    return 128 - code if code < 0 else code
