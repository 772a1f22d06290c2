"""Programs of others that launching asks: argument lists, never through a shell here."""

import shlex
import subprocess
from collections.abc import Sequence

from flan_jax import files, terminal
from flan_jax.errors import FlanJaxError, quoted

# Where to look for a program that is not there.
_COME_FROM = {
    "gcloud": "the Google Cloud CLI",
    "kubectl": "Kubernetes, or `gcloud components install kubectl`",
    "xpk": "pip install xpk",
    "sbatch": "Slurm; run this where jobs are submitted",
    "sky": "pip install skypilot",
}


class Programs:
    """Runs programs, or says what would be run.

    Attributes:
        dry_run: whether nothing is run or written.
    """

    def __init__(self, dry_run: bool):
        self.dry_run = dry_run

    def run(self, arguments: Sequence[str]) -> None:
        """Runs a program, which prints what it has to say.

        Raises:
            FlanJaxError: it is not there, or fails.
        """
        if status := self.status(arguments):
            raise FlanJaxError(f"status {status} of {said(arguments)}")

    def status(self, arguments: Sequence[str]) -> int:
        """Runs a program and returns its exit status, 0 where nothing is run.

        Raises:
            FlanJaxError: it is not there.
        """
        terminal.say(f"$ {shlex.join(arguments)}")
        if self.dry_run:
            return 0
        return self._started(arguments, capture=False).returncode

    def output(self, arguments: Sequence[str]) -> str:
        """Returns what a program prints, nothing where none is run.

        Raises:
            FlanJaxError: it is not there, or fails; has its last words.
        """
        if self.dry_run:
            terminal.say(f"$ {shlex.join(arguments)}")
            return ""
        done = self._started(arguments, capture=True)
        if done.returncode:
            words = done.stderr.strip()[-500:]
            raise FlanJaxError(f"status {done.returncode} of {said(arguments)}: {words}")
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Writes a file, or prints it with its name.

        Raises:
            OutputError: it cannot be written.
        """
        if self.dry_run:
            terminal.say(f"# --- {path}\n{text.rstrip()}\n# --- end of {path}")
            return
        files.replace_text(path, text)
        terminal.say(f"wrote {path}")

    def _started(
        self, arguments: Sequence[str], capture: bool
    ) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                arguments, capture_output=capture, text=True, errors="replace", check=False
            )
        except FileNotFoundError:
            program = arguments[0]
            source = f": it comes with {_COME_FROM[program]}" if program in _COME_FROM else ""
            raise FlanJaxError(f"no program {program!r} on the PATH{source}") from None
        except OSError as error:
            raise FlanJaxError(f"cannot run {said(arguments)}: {error.strerror}") from error


def said(arguments: Sequence[str]) -> str:
    """Returns a command for a message: its first words in one line."""
    return quoted(shlex.join(arguments), 200)


def exports(environment: dict[str, str]) -> list[str]:
    """Returns the lines of a shell script that set variables."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
