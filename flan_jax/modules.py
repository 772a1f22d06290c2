"""Task modules: which ship with the package, and how those that are named get imported.

A module is named as Python names it (`tasks.minilab`, `my_tasks`) or by its file
(`./tasks.py`, `~/data/my_tasks.py`). Those that ship with the package are what their name says
wherever a command runs. A module in the working directory comes before an installed one, but
never takes the place of another module in this process: where its name is taken it is imported
under a name of its own, so a user may have a `tasks.py` or even a `json.py`.
"""

import contextlib
import functools
import importlib.util
import os
import sys
import sysconfig
import traceback
import types
from collections.abc import Sequence
from pathlib import Path

from flan_jax.errors import ConfigError, FlanJaxError, did_you_mean, first_line, quoted
from flan_jax.kinds import Place, require

# The folder that holds flan_jax/, tasks/ and gin_configs/, in a checkout and in a wheel alike.
ROOT = Path(__file__).resolve().parent.parent
OWN = ("flan_jax", "tasks", "gin_configs")
# Of a module whose name is taken.
PREFIX = "user_"
_MOST_FRAMES = 6


def known_task_modules() -> list[str]:
    """Returns the modules below tasks/, for suggestions and for `flan-jax tasks`.

    The bare name `tasks` is none of them: it registers nothing, and people call their own so.
    """
    folder = ROOT / "tasks"
    found = []
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(ROOT).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        found.append(".".join(parts))
    return [name for name in found if name != "tasks"]


def ships_with_package(module: str) -> bool:
    """Whether a task module is one of this package's own, whatever lies in other folders."""
    return isinstance(module, str) and module in _shipped()


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(known_task_modules())


def is_file_name(name: str) -> bool:
    """Whether a module is named by its file."""
    return name.endswith(".py") or "/" in name or name.startswith("~") or _is_data(name)


def _is_data(name: str) -> bool:
    """Whether a name is `jsonl:FILE`, data that becomes tasks without code of its own."""
    from flan_jax import registry

    return name.partition(":")[0] in registry.MODULES and ":" in name


def as_named(name: str) -> str:
    """Returns the one name of a module in settings and messages: its file in full, or its name.

    That means the same in every process and folder.

    Raises:
        ConfigError: it is no name of a module or a file.
    """
    require("a task module", name, Place())
    if _is_data(name):
        kind, _, path = name.partition(":")
        return f"{kind}:{path if '://' in path else os.path.abspath(os.path.expanduser(path))}"
    if is_file_name(name):
        return os.path.abspath(os.path.expanduser(name))
    return name


def working_directory_last() -> None:
    """Lets files in the working directory shadow nothing, in this process and its children.

    `python -m` puts that folder before the standard library, where a `random.py` would be found
    by whoever imports random.
    """
    if sys.path and sys.path[0] in ("", os.getcwd()):
        sys.path.append(sys.path.pop(0))
    os.environ.setdefault("PYTHONSAFEPATH", "1")


def add_working_directory() -> None:
    """Lets modules in the working directory be found, after all others."""
    with contextlib.suppress(FileNotFoundError):  # somebody removed it
        if "" not in sys.path:
            _add_folder(os.getcwd())


def _add_folder(folder: str) -> None:
    if folder not in sys.path:
        sys.path.append(folder)


def module_list(names: str | Sequence[str] | None) -> list[str]:
    """Returns what MIXTURE_OR_TASK_MODULE names, a module, several or none, as a list."""
    return [names] if isinstance(names, str) else list(names or ())


def import_modules(names: str | Sequence[str] | None) -> list[types.ModuleType]:
    """Imports task modules by name or by file; returns them.

    Raises:
        ConfigError: a module is not found, or fails while it is imported; says where. What a
            module itself says to people (`FlanJaxError`) passes through.
    """
    add_working_directory()
    _import_own("tasks")
    return [_import(name) for name in module_list(names)]


def _import(name: str) -> types.ModuleType:
    named = as_named(name)
    if _is_data(name):
        from flan_jax import registry

        make, path = registry.by_prefix(registry.MODULES, named)  # type: ignore[misc]
        return make(path)
    if is_file_name(name):
        return _import_file(named)
    here = _in_working_directory(named)
    if ships_with_package(named) or here is None or _is_own(here):
        if here is not None and not _is_own(here):
            _say(f"{named} is this package's own, not {here}; --module={here} would be that one")
        return _import_name(named)
    if _is_elsewhere(named.partition(".")[0]):
        _say(f"module {named} is taken from {here}")
    return _import_file(os.path.abspath(here), named)


def _say(text: str) -> None:
    import multiprocessing

    from flan_jax import terminal

    if multiprocessing.parent_process() is None:  # workers need not repeat it
        terminal.say_aside(text)


def _in_working_directory(name: str) -> str | None:
    """Returns the file that a module of this name has here, as `./a/b.py`, or None."""
    path = os.path.join(".", *name.split("."))
    for file in (f"{path}.py", os.path.join(path, "__init__.py")):
        if os.path.isfile(file):
            return file
    return None


def _is_own(file: str) -> bool:
    """Whether a file is one of this package's, as where commands run in a checkout of it."""
    path = os.path.realpath(file)
    return any(path.startswith(os.path.join(ROOT, name, "")) for name in OWN)


def _is_elsewhere(top: str) -> bool:
    """Whether a name would mean something even without the working directory."""
    if top in OWN or top in sys.stdlib_module_names:
        return True
    path = [folder for folder in sys.path if folder not in ("", os.getcwd())]
    return importlib.machinery.PathFinder.find_spec(top, path) is not None


def _import_name(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            here = sorted(path.stem for path in Path().glob("*.py"))
            hint = did_you_mean(name, [*known_task_modules(), *here])
            raise ConfigError(f"no task module {quoted(name, 300)}{hint}") from None
        raise _failure(name, error) from error
    except FlanJaxError:
        raise
    except (Exception, SystemExit) as error:
        if ships_with_package(name):  # a bug of ours
            raise
        raise _failure(name, error) from error


def _import_own(top: str) -> None:
    """Imports one of this package's top-level packages, whatever else has its name.

    Raises:
        ConfigError: this process has another one already.
    """
    there = sys.modules.get(top)
    # pytest's mode importlib puts empty modules in place of folders.
    if there is not None and (hasattr(there, "__path__") or getattr(there, "__file__", None)):
        if not _lies_in(there, str(ROOT), top):
            raise ConfigError(
                f"{getattr(there, '__file__', None) or top} was imported as {top!r} in this "
                "process, which is the name of flan-jax's own tasks; name it by its file instead"
            )
        return
    spec = importlib.machinery.PathFinder.find_spec(top, [str(ROOT)])
    assert spec and spec.loader, f"{ROOT} lacks {top}"
    _load(spec, top)


def _load(spec: importlib.machinery.ModuleSpec, name: str) -> types.ModuleType:
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        assert spec.loader
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_file(path: str, name: str | None = None) -> types.ModuleType:
    """Imports the module in a file, or in a folder with an `__init__.py`, once.

    Args:
        path: the file in full.
        name: its name, where that does not follow from the folders that it is in.

    Raises:
        ConfigError: see `import_modules`.
    """
    file = os.path.join(path, "__init__.py") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise ConfigError(f"no task module {quoted(path, 300)}: {_why_not(path, file)}")
    for known, module in list(sys.modules.items()):
        if known != "__main__" and _is_file(module, file):
            return module
    folder, (top, *rest) = _root_of(file) if name is None else _below(file, name)
    _add_folder(folder)
    try:
        alias = top if _is_free(top, folder) else _alias(top, folder)
        return importlib.import_module(".".join([alias, *rest]))
    except FlanJaxError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(path, error) from error


def _why_not(path: str, file: str) -> str:
    if os.path.isdir(path):
        return "a folder without an __init__.py"
    if os.path.exists(file):
        return "not a file"
    folder = os.path.dirname(path)
    try:
        near = did_you_mean(os.path.basename(path), os.listdir(folder))
    except OSError:
        near = ""
    return f"there is no such file{near}"


def _is_file(module: types.ModuleType, file: str) -> bool:
    its = getattr(module, "__file__", None)
    if not isinstance(its, str) or os.path.basename(its) != os.path.basename(file):
        return False
    return os.path.realpath(its) == os.path.realpath(file)


def _lies_in(module: types.ModuleType, folder: str, top: str) -> bool:
    """Whether a module is the one that `top` names in a folder."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return _are_in(places, folder, top)


def _are_in(places: Sequence[str], folder: str, top: str) -> bool:
    path = os.path.realpath(os.path.join(folder, top))
    ours = {f"{path}.py", os.path.join(path, "__init__.py"), path}
    return bool(ours.intersection(map(os.path.realpath, places)))


def _root_of(file: str) -> tuple[str, list[str]]:
    """Returns the folder that a module is found in, and its packages and itself by name."""
    folder, base = os.path.split(file)
    names = [] if base == "__init__.py" else [base.removesuffix(".py")]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        names.insert(0, package)
    return folder, names


def _below(file: str, name: str) -> tuple[str, list[str]]:
    """Returns the folder in which a file has a given name, and the name's parts."""
    path = Path(file).parent if file.endswith("__init__.py") else Path(file)
    return str(path.parents[name.count(".")]), name.split(".")


def _is_free(top: str, folder: str) -> bool:
    """Whether a name means the module in that folder and nothing else in this process."""
    if not top.isidentifier() or top in OWN or top in sys.stdlib_module_names:
        return False
    if top in sys.modules:
        return _lies_in(sys.modules[top], folder, top)
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(top)
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return _are_in(places, folder, top)


def _alias(top: str, folder: str) -> str:
    """Imports a top-level module of a user under a name that nobody has; returns the name.

    Names follow the order of imports, so that a worker process that imports the same modules
    gives them the same names.
    """
    plain = PREFIX + "".join(c if c.isalnum() else "_" for c in top)
    number, alias = 1, plain
    while alias in sys.modules:
        if _lies_in(sys.modules[alias], folder, top):
            return alias
        number += 1
        alias = f"{plain}_{number}"
    path = os.path.join(folder, top)
    file = f"{path}.py" if os.path.isfile(f"{path}.py") else os.path.join(path, "__init__.py")
    below = None if file.startswith(f"{path}.py") else [path]
    if below and not os.path.isfile(file):  # a folder of modules, no package
        module = types.ModuleType(alias)
        module.__path__ = below
        sys.modules[alias] = module
        return alias
    spec = importlib.util.spec_from_file_location(alias, file, submodule_search_locations=below)
    assert spec
    _load(spec, alias)
    return alias


def _failure(name: str, error: BaseException) -> ConfigError:
    """Returns what is to be said of a module that cannot be imported.

    What a user can see from one line (something is not installed, a file is missing, a word is
    misspelt) is told in one line. Any other error is a bug of the module, and whoever wrote it
    wants to see the way there.
    """
    what = f"task module {quoted(name, 200)} cannot be imported: {type(error).__name__}"
    if isinstance(error, SyntaxError):
        return ConfigError(f"{what}: {error.msg} ({error.filename}, line {error.lineno})")
    what += (f": {first_line(error)}" if str(error) else "") + whence(error)
    if isinstance(error, ImportError | OSError | SystemExit):
        return ConfigError(what)
    return ConfigError("\n".join([what, *traceback.format_list(_frames(error)[-_MOST_FRAMES:])]))


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Returns where an error passed, without the machinery of imports."""
    ours = (__file__, importlib.__file__)
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if not f.filename.startswith("<frozen") and f.filename not in ours]


def whence(error: BaseException) -> str:
    """Returns ` (file, line 3)`, the innermost place in code of a user; empty if there is none."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    elsewhere = (*libraries, str(ROOT / "flan_jax"))
    own = [frame for frame in _frames(error) if not frame.filename.startswith(elsewhere)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
