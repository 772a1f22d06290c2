"""Task modules: which ship with the package, and how those that are named get imported."""

import functools
from collections.abc import Sequence
from pathlib import Path

from flan_jax.errors import ConfigError, did_you_mean

# The folder that holds flan_jax/, tasks/ and gin_configs/, in a checkout and in a wheel alike.
ROOT = Path(__file__).resolve().parent.parent


def import_modules(names: str | Sequence[str] | None) -> None:
    """Imports task modules by name.

    Raises:
        ConfigError: a module is not found; errors inside a module pass through.
    """
    import importlib
    import sys

    modules = [names] if isinstance(names, str) else list(names or ())
    # The console script does not put the working directory on the path as `python -m` does.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, "")
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + ".")):
                hint = did_you_mean(module, known_task_modules())
                raise ConfigError(f"no task module {module!r}{hint}") from None
            raise


def known_task_modules() -> list[str]:
    """Returns the modules under tasks/, for suggestions and for `flan-jax tasks`."""
    folder = ROOT / "tasks"
    found = []
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(ROOT).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        found.append(".".join(parts))
    return found


def ships_with_package(module: str) -> bool:
    """Whether a task module is one of this package's own, whatever lies in other folders."""
    return isinstance(module, str) and module in _shipped()


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(known_task_modules())
