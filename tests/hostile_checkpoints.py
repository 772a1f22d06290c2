"""Evaluates checkpoints that were made to harm, and notes what that touches.

    python tests/hostile_checkpoints.py CASES.json SECRETS OUT

For each case, a JSON line: what was said, which modules were imported that are not this project's
or a library's, which processes were started, and which files of SECRETS were opened, by whatever
code: Python's audit hooks see the former, inotify sees all of the latter.
"""

import ctypes
import json
import os
import pathlib
import struct
import sys

_IN_ACCESS_OR_OPEN = 0x1 | 0x20
_PROCESSES = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "pty.spawn", "ctypes.dlopen",
)  # fmt: skip
# Modules of the attacker.
THEIRS = ("canary", "evil")
events: list[str] = []


def hook(event: str, arguments: tuple) -> None:
    if event in _PROCESSES:
        events.append(f"{event} {str(arguments)[:200]}")
    elif event == "open" and SECRETS in str(arguments[0]):
        events.append(f"open {arguments[0]}")


class Watch:
    """inotify on all folders below one, and the files in them."""

    def __init__(self, folder: str):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        self._names = {}
        for place in [folder, *(str(path) for path in pathlib.Path(folder).rglob("*"))]:
            number = self._libc.inotify_add_watch(self._handle, place.encode(), _IN_ACCESS_OR_OPEN)
            assert number >= 0, place
            self._names[number] = place

    def seen(self) -> list[str]:
        """Returns what was opened or read since the last call."""
        found, data = set(), b""
        while True:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return sorted(found)
            at = 0
            while at < len(data):
                number, _, _, length = struct.unpack_from("iIII", data, at)
                name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
                found.add(os.path.join(self._names[number], name))
                at += 16 + length


def main() -> None:
    from flan_jax.cli import run
    from flan_jax.errors import FlanJaxError

    cases = json.loads(pathlib.Path(sys.argv[1]).read_text())
    watch = Watch(SECRETS)
    sys.addaudithook(hook)
    results = {}
    for name, arguments in cases.items():
        events.clear()
        watch.seen()
        try:
            run(arguments)
            said = "done"
        except FlanJaxError as error:
            said = str(error)
        seen = watch.seen()
        # importlib.import_module audits no import. The next case would have to import them anew.
        for module in [name for name in sys.modules if name.startswith(THEIRS)]:
            events.append(f"import {module}")
            del sys.modules[module]
        results[name] = {"said": said, "events": list(events), "opened": seen}
        pathlib.Path(sys.argv[3]).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    SECRETS = sys.argv[2]
    main()
    os._exit(0)
