"""Tables and progress bars: for people at a terminal, plain or silent elsewhere."""

import sys
from typing import Any

# Output that goes to a file or a pipe is not cut to the width of a screen nobody has.
WIDTH_ELSEWHERE = 110


def console() -> Any:
    """Returns rich's console for tables on standard output."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)


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
        from rich.console import Console

        columns = (
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
        )
        self._bar = rich.Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=total, completed=done)
        self._bar.start()

    def advance(self, count: int) -> None:
        """Counts `count` more things as done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def say(self, text: str) -> None:
        """Prints a line on standard output, or above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
