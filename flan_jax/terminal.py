"""What is printed: lines, tables and progress bars; plain or silent where nobody looks.

Everything that is printed may hold what somebody else wrote (instructions, names, predictions), so
nothing here reads a text as markup, and what could steer a terminal is printed as an escape. All
output of the project goes through this module; tests/test_import_rules.py says so.
"""

import contextlib
import functools
import json
import sys
from collections.abc import Iterator
from typing import Any

from flan_jax.errors import OutputError, printable

# Output that goes to a file or a pipe is not cut to the width of a screen nobody has.
WIDTH_ELSEWHERE = 110


def say(text: str = "", end: str = "\n") -> None:
    """Prints a text on standard output at once."""
    _write(sys.stdout, printable(text) + end)


def warn(text: str) -> None:
    """Prints a line of news on standard error, under the program's name."""
    _write(sys.stderr, f"flan-jax: {printable(text)}\n")


def say_aside(text: str) -> None:
    """Prints a line of progress on standard error, so that results can be piped."""
    _write(sys.stderr, printable(text) + "\n")


def say_json(value: Any, indent: int | None = 1) -> None:
    """Prints a value as JSON for programs and people, see `json_files.dumps`."""
    from flan_jax.json_files import dumps

    text = dumps(value, indent=indent)
    if not text.isascii():
        text = "".join(c if c == "\n" or printable(c) == c else json.dumps(c)[1:-1] for c in text)
    _write(sys.stdout, text + "\n")


def _write(stream: Any, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    with _writing(stream):
        # A terminal of another encoding gets escapes for what it lacks, not a traceback.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


@contextlib.contextmanager
def _writing(stream: Any) -> Iterator[None]:
    """Turns a full disk behind standard output into an error; news that get lost are none.

    A reader that has gone is not one: the command line ends quietly then.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if stream is not sys.stderr:
            raise OutputError(f"cannot write standard output: {error.strerror}") from error


@functools.lru_cache(maxsize=1)
def _console_class() -> Any:
    from rich.console import Console

    class Plain(Console):
        """Prints strings (also those in tables) as they are written, but for control characters."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(printable(text), **options)

        def print(self, *objects: Any, **options: Any) -> None:
            with _writing(self.file):
                super().print(*objects, **options)

    return Plain


def _console(**options: Any) -> Any:
    return _console_class()(markup=False, emoji=False, highlight=False, **options)


def console() -> Any:
    """Returns a rich console for tables on standard output; strings are printed as they are.

    What is to be bold or coloured is a `rich.text.Text`, made of `printable` text.
    """
    return _console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)


def table(title: str = "", **options: Any) -> Any:
    """Returns an empty rich table in the project's looks; print it with `console().print`."""
    from rich.table import Table

    return Table(title=title or None, title_justify="left", **options)


class Progress:
    """A progress bar on standard error; nothing where that is not a terminal."""

    def __init__(self, what: str, total: int, done: int = 0):
        """Args:
        what: one word for what is going on.
        total: number of things to do.
        done: number of them that are done already.
        """
        self._bar: Any = None
        if not sys.stderr.isatty():
            return
        import rich.progress as rich

        columns = (
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
        )
        self._bar = rich.Progress(*columns, console=_console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=total, completed=done)
        self._bar.start()

    def advance(self, count: int) -> None:
        """Counts `count` more things as done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        """Prints a line on standard output, or above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            say(text)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
