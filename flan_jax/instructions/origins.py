"""Whose code something is: a user's own program's, a library's, or this package's."""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import sysconfig
import types
from typing import Any

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_PATHS = sysconfig.get_paths()
_STANDARD = tuple(os.path.realpath(_PATHS[name]) for name in ("stdlib", "platstdlib"))
_INSTALLED = frozenset(["site-packages", "dist-packages"])
# Libraries whose results are taken to be the same in any version: what everything here runs on.
_STEADY = ("absl", "etils", "flan_jax", "numpy", "seqio", "tensorflow", "tensorflow_datasets")


def is_own(module: Any, filename: str = "") -> bool:
    """Whether something is of a user's own program: not of Python, a library or this package.

    Args:
        module: name of its module, if it says one.
        filename: its file, where no such module is imported.
    """
    found = sys.modules.get(module) if isinstance(module, str) else None
    if found is None:
        return not filename or _is_own_file(filename)
    file = getattr(found, "__file__", None)
    return module not in sys.builtin_module_names if file is None else _is_own_file(file)


@functools.lru_cache(maxsize=1024)
def _is_own_file(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return False
    path = pathlib.Path(os.path.realpath(filename))
    if path.is_relative_to(PACKAGE.parent / "tasks"):  # where a checkout's users write theirs
        return True
    if path.is_relative_to(PACKAGE) or _INSTALLED & set(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _STANDARD)


def own_module(name: str, package: str) -> types.ModuleType | None:
    """Returns a module that a function imports when it runs, if it is of the same program.

    Args:
        name: with a leading dot for each level of a relative import.
        package: of the function's module.
    """
    try:
        absolute = importlib.util.resolve_name(name, package)
        spec = importlib.util.find_spec(absolute)
        if spec is not None and spec.origin and _is_own_file(spec.origin):
            return importlib.import_module(absolute)
    except Exception:  # it will say so itself
        return None
    return None


@functools.lru_cache(maxsize=1024)
def library(module: Any) -> tuple[str, str]:
    """Returns the name of a library's module, and its version where results may depend on that."""
    top = str(module).partition(".")[0]
    if top in _STEADY or top in sys.stdlib_module_names:
        return str(module), ""
    return str(module), _version(top)


def _version(top: str) -> str:
    """By what is installed: the same whether the library is imported yet or not."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        return importlib.metadata.version(top)
    names = _distributions().get(top, ())
    return " ".join(importlib.metadata.version(name) for name in sorted(set(names)))


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
