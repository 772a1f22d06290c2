"""Gin configuration: composition, command-line values, and errors that name the nearest name.

A run is composed of parts, each overriding the ones before it:

1. the run: `gin_configs/runs/<engine>/<run>.gin`, a default for every macro, and the bindings of
   macros to an engine, with those of the model's family in `families/<MODEL_FAMILY>.gin`;
2. the model: `gin_configs/models/<MODEL>.gin`, macros for family and size;
3. the experiment: a file that sets macros only, so that it runs on any engine;
4. the command line: `--gin.NAME=value`.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax import macros as declared
from flan_jax.errors import ConfigError, did_you_mean, first_line, quoted
from flan_jax.gin_text import (
    MOST_TEXT,
    UNPARSABLE,
    Part,
    Reference,
    macros,
    origins,
    parse_value,
    references,
    resolved,
    statements,
)
from flan_jax.modules import (
    ROOT,
    add_working_directory,
    as_named,
    import_modules,
    is_file_name,
    known_task_modules,
    module_list,
    ships_with_package,
    whence,
)

__all__ = [
    "ROOT", "Part", "Reference", "as_named", "import_modules", "known_task_modules", "macros",
    "module_list", "resolved", "ships_with_package",
]  # fmt: skip
ENGINES = ("flan_jax", "t5x")
# The family that is whatever a checkpoint says, where MODEL does not.
OF_CHECKPOINT = "of_checkpoint"
COMMAND_LINE = "the command line"
# What says of macros that others set where their paths lead.
IN_FULL = "paths in full"
_INCLUDE = re.compile(
    r"""^include[ \t]+(['"])(?P<path>.+?)\1[ \t]*(#.*)?$""",
    re.MULTILINE,
)
_REFERENCE = re.compile(r"%([A-Za-z_]\w*)")
_IMPORT = re.compile(r"^(?:from\s+[\w.]+\s+)?import\s+.+$", re.MULTILINE)
_DEEPEST_INCLUDE = 20
# Names that nobody reads and that are compared with all known ones, which takes time.
_MOST_COMPARED = 100


def find_gin_file(name: str, own: bool = False) -> Path:
    """Returns the path of a gin file named relative to the working directory or the package.

    Args:
        name: the name.
        own: whether the package's own file comes before one of that name here.

    Raises:
        ConfigError: there is none; the nearest gin files are offered.
    """
    here = [Path(declared.in_full(name))]
    there = [ROOT / name, ROOT / "gin_configs" / name]
    for candidate in [*there, *here] if own else [*here, *there]:
        # Names that the system refuses name no file: too long, or with a NUL.
        with contextlib.suppress(OSError, ValueError):
            if candidate.exists() and not candidate.is_dir():
                return candidate
    folder = ROOT / "gin_configs"
    known = [str(path.relative_to(ROOT)) for path in sorted(folder.rglob("*.gin"))]
    hint = did_you_mean(name, known) or did_you_mean(f"gin_configs/experiments/{name}", known)
    raise ConfigError(f"no gin file {quoted(name, 200)}, neither here nor in the package{hint}")


def read_gin_file(name: str, own: bool = False) -> str:
    """Returns the text of a gin file with its includes put in place.

    Args:
        name: see `find_gin_file`.
        own: see `find_gin_file`; a file of the package includes files of the package.

    Raises:
        ConfigError: there is none, it is not gin (names the file and the line), includes itself,
            or is too large with what it includes.
    """
    return "".join(_read(name, find_gin_file(name, own), (), [MOST_TEXT]))


def read_own(name: str) -> Part:
    """Returns a gin file of the package, whatever lies in the working directory."""
    return Part(name, read_gin_file(name, own=True))


def _read(name: str, path: Path, above: tuple[Path, ...], left: list[int]) -> list[str]:
    """Returns the pieces of a gin file's text.

    Args:
        name: as which it is told of.
        path: where it is.
        above: the files that include it.
        left: one number, of characters that it and all further files may have.

    Raises:
        ConfigError: see `read_gin_file`.
    """
    from flan_jax.files import read_text

    first = above[0] if above else path
    if path in above:
        raise ConfigError(f"gin file {quoted(name, 200)} includes itself")
    if len(above) >= _DEEPEST_INCLUDE:
        raise ConfigError(f"{first}: includes are more than {_DEEPEST_INCLUDE} deep")
    text = read_text(path, 4 * MOST_TEXT, ConfigError)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    left[0] -= len(text)
    if left[0] < 0:
        raise ConfigError(f"{first}: more than {MOST_TEXT:,} characters, with all it includes")
    statements(Part(name, _INCLUDE.sub("", text)))
    pieces, done = [], 0
    for match in _INCLUDE.finditer(text):
        own = path.is_relative_to(ROOT / "gin_configs")
        included = find_gin_file(match["path"], own)
        pieces.append(text[done : match.start()])
        pieces += _read(match["path"], included, (*above, path), left)
        done = match.end()
    return [*pieces, text[done:]]


def packaged(path: str) -> str:
    """Returns a path that does not exist here as one into the package, where it exists there.

    So gin files can name what ships with the project, wherever it is installed.
    """
    inside = ROOT / path
    with contextlib.suppress(OSError, ValueError):  # no path that the system knows
        return str(inside) if not Path(path).exists() and inside.exists() else path
    return path


def parse_override(argument: str) -> tuple[str, str]:
    """Splits `NAME=value` and returns the name and the value as gin text.

    A value that gin cannot parse is a string, and so is any value of a path-like macro but None;
    quotes around a string may be given or left out.

    Raises:
        ConfigError: there is no `=`, no name before it, or the value is a misspelt constant.
    """
    name, equals, raw = argument.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--gin.{quoted(argument)[1:-1]}: expected --gin.NAME=value")
    name, raw = name.strip(), raw.strip()
    value = parse_value(raw)
    macro = declared.TABLE.get(name)
    if macro and macro.verbatim and raw != "None":
        text = value if raw[:1] in ("'", '"') and isinstance(value, str) else raw
        return name, repr(declared.in_full(text) if macro.path else text)
    if value is not UNPARSABLE:
        return name, raw
    if raw.lower() in _CONSTANTS:  # as a string, `false` would be true
        meant = _CONSTANTS[raw.lower()]
        raise ConfigError(f"--gin.{argument}: gin knows no {raw}; did you mean {meant}?")
    return name, repr(raw)


_CONSTANTS = {"true": "True", "false": "False", "none": "None", "null": "None"}


def _override_part(overrides: Sequence[str]) -> Part:
    pairs = [parse_override(argument) for argument in overrides]
    text = "".join(f"{name} = {value}\n" for name, value in pairs)
    return Part(COMMAND_LINE, text)


def _check_names(base: Sequence[Part], experiments: Sequence[Part], overrides: Part | None) -> None:
    """Refuses a macro that nobody reads: a misspelt one would be ignored by gin."""
    everything = [*base, *experiments]
    known = set(macros(base))
    for part in everything:
        known.update(_REFERENCE.findall(part.text))
    read = frozenset(known)
    for part in experiments:
        new = [name for name in macros([part]) if name not in known]
        for name in new[:_MOST_COMPARED]:
            if hint := did_you_mean(name, read):
                raise ConfigError(f"{part.origin}: unknown macro {name}{hint}")
        known.update(new)
    if overrides is None:
        return
    for name in macros([overrides]):
        if name not in known:
            raise ConfigError(f"--gin.{name}: unknown macro{did_you_mean(name, known)}")


def _check_references(parts: Sequence[Part], lenient: Part | None) -> None:
    """Refuses a reference to a macro that nothing sets, in any binding that is not overridden.

    Args:
        parts: all parts, in order.
        lenient: a part whose bindings need not all be complete.

    Raises:
        ConfigError: names the origin, the macro and the nearest one.
    """
    known = macros(parts)
    bindings = {}
    for part in parts:
        for statement in statements(part):
            if hasattr(statement, "value"):
                key = (statement.scope, statement.selector, statement.arg_name)
                bindings[key] = (part, statement.value)
    for part, value in bindings.values():
        for name in [] if part is lenient else references(value, "%"):
            # Names with a dot are constants, which gin resolves itself.
            if name not in known and "." not in name:
                hint = did_you_mean(name, known)
                if name == "MODEL_CONFIG":
                    hint = ", as MODEL does: --gin.MODEL=t5_1_1/small"
                raise ConfigError(f"{part.origin}: nothing sets macro {name}{hint}")


def _check_values(parts: Sequence[Part], run_part: Part) -> dict[str, Any]:
    """Refuses values that macros cannot have, before anything is done with them.

    A value that refers to a configurable is known only later, and checked by what takes it.

    Args:
        parts: all parts, in order.
        run_part: where its own default of a macro is None, None is no mistake.

    Returns:
        The value of every macro, see `resolved`.

    Raises:
        ConfigError: names what set the macro, the macro, the value and what is expected.
    """
    found = origins(parts)
    values = resolved({name: value for name, (value, _) in found.items()})
    defaults = resolved(macros([run_part]))
    # What is written out comes first: a macro that names another is wrong because that one is.
    for name in sorted(values, key=lambda name: isinstance(found[name][0], Reference)):
        macro, value, origin = declared.TABLE.get(name), values[name], found[name][1]
        if macro is None or (value is None and defaults.get(name, 0) is None):
            continue
        if macro.kind is declared.HOOKS and isinstance(value, list | tuple):
            value = [object() if isinstance(one, Reference) else one for one in value]
        if not any(next(references(value, sign), None) for sign in "%@"):
            macro.check(value, "--gin." if origin == COMMAND_LINE else f"{origin}: ")
    declared.check_environment(name for name, value in values.items() if value not in (None, ""))
    return values


def _in_full(values: Mapping[str, Any]) -> list[Part]:
    """Returns a part with the paths that mean another one elsewhere, or later: none, or one."""
    found = declared.places(values)
    modules = found.get("MIXTURE_OR_TASK_MODULE", values.get("MIXTURE_OR_TASK_MODULE"))
    named = module_list(modules)
    if any(is_file_name(name) for name in named):
        full = [as_named(name) for name in named]
        found["MIXTURE_OR_TASK_MODULE"] = full if len(full) > 1 else full[0]
    text = "".join(f"{name} = {value!r}\n" for name, value in found.items())
    return [Part(IN_FULL, text)] if found else []


def given(experiments: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the macros that a person sets: in gin files, then on the command line.

    Raises:
        ConfigError: a file is missing or is not gin, or a value is not one.
    """
    parts = [Part(name, read_gin_file(name)) for name in experiments]
    return macros([*parts, _override_part(overrides)])


def compose_parts(
    experiments: Sequence[str | Part],
    engine: str,
    run: str = "train",
    overrides: Sequence[str] = (),
    inherited: Part | None = None,
) -> list[Part]:
    """Returns the parts of a configuration, in the order in which they are parsed.

    Args:
        experiments: gin files, or what `read_own` returns, later ones overriding earlier ones.
        engine: "flan_jax" or "t5x".
        run: name of the engine's run file.
        overrides: `NAME=value` as on the command line, without `--gin.`.
        inherited: macros that come with a checkpoint; they override the run's defaults and are
            overridden by experiments.

    Raises:
        ConfigError: a file is missing, is not gin, sets a macro that nobody reads or to what it
            cannot be, or refers to one that nobody sets; or names for T5X a mixture that only we
            can make.
    """
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}{did_you_mean(engine, ENGINES)}")
    experiment_parts = [
        one if isinstance(one, Part) else Part(one, read_gin_file(one)) for one in experiments
    ]
    override_part = _override_part(overrides)
    run_part = read_own(f"gin_configs/runs/{engine}/{run}.gin")
    given = [*([inherited] if inherited else []), *experiment_parts, override_part]
    own = macros([run_part, *given])

    # A checkpoint's macros already say what the model is; MODEL is then only its name.
    own_model = macros([*experiment_parts, override_part]).get("MODEL")
    model = own_model if inherited else own.get("MODEL")
    named = model and not isinstance(model, Reference)
    model_parts = [_model_part(model)] if named else []
    family = macros([*model_parts, *given]).get("MODEL_FAMILY") or _of_checkpoint(own)
    base = [run_part, *(_family_parts(family, engine) if family else []), *model_parts]
    _check_names([*base, *([inherited] if inherited else [])], experiment_parts, override_part)
    if inherited:
        base.append(inherited)
    parts = [*base, *experiment_parts, *([override_part] if overrides else [])]
    # Preparing needs no model, so what a model sets may be missing there.
    _check_references(parts, run_part if run == "prepare" else None)
    values = _check_values(parts, run_part)
    if engine == "t5x":
        _refuse_ours(values)
    return [*parts, *_in_full(values)]


def _of_checkpoint(values: Mapping[str, Any]) -> str | None:
    """Returns OF_CHECKPOINT where nothing says what the model is but weights to start from."""
    said = values.get("MODEL") or values.get("MODEL_CONFIG")
    return None if said or not values.get("INITIAL_CHECKPOINT_PATH") else OF_CHECKPOINT


def _family_parts(family: Any, engine: str) -> list[Part]:
    """Returns how an engine binds the macros of a family; nothing of a family it lacks."""
    declared.check(MODEL_FAMILY=family)
    name = f"gin_configs/runs/{engine}/families/{family}.gin"
    return [read_own(name)] if (ROOT / name).is_file() else []


def compose_settings(overrides: Sequence[str]) -> list[Part]:
    """Returns the parts of a configuration of settings alone, for verbs without a run file.

    Args:
        overrides: `NAME=value` as on the command line, without `--gin.`.

    Raises:
        ConfigError: one is no setting, or cannot have this value.
    """
    known = Part("settings", "".join(f"{name} = None\n" for name in declared.SETTINGS))
    given = _override_part(overrides)
    _check_names([known], [], given)
    return [known, given, *_in_full(_check_values([known, given], known))]


def _refuse_ours(values: Mapping[str, Any]) -> None:
    """Refuses for T5X what the built-in engine alone knows: umT5, and `selected:MANIFEST`.

    Raises:
        ConfigError: that is so; says what to do.
    """
    if values.get("RELATIVE_ATTENTION_PER_LAYER"):
        raise ConfigError(
            "RELATIVE_ATTENTION_PER_LAYER is True, as umT5 has it, and all layers of the T5 that "
            "runs on T5X share a table: train it on the engine flan_jax"
        )
    name = str(values.get("MIXTURE_OR_TASK_NAME"))
    if name.startswith("selected:"):
        raise ConfigError(
            f"T5X looks names up in SeqIO's registry and does not know {quoted(name)}: call "
            "flan_jax.selector.register_mixture(MANIFEST, name=NAME) in a module of yours, and "
            "give NAME and that module as MIXTURE_OR_TASK_NAME and MIXTURE_OR_TASK_MODULE"
        )


def _model_part(model: Any) -> Part:
    """Returns the macros of a model: the package's, or a user's file in the same place here."""
    declared.check(MODEL=model)
    name = f"gin_configs/models/{model}.gin"
    folder = ROOT / "gin_configs" / "models"
    try:
        find_gin_file(name, own=True)
    except ConfigError:
        pass
    else:
        return read_own(name)
    known = [str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.gin")]
    raise ConfigError(
        f"MODEL {quoted(model)}: no file {name[:200]}{did_you_mean(model, known)}; "
        f"there are {', '.join(sorted(known))}"
    )


def compose(experiment: str, engine: str, run: str = "train", overrides: Sequence[str] = ()) -> str:
    """Returns one complete gin file, each part under a comment that names its origin.

    Import statements of all parts come first, as gin demands.

    Raises:
        ConfigError: see `compose_parts`.
    """
    return join_parts(compose_parts([experiment], engine, run, overrides))


def join_parts(parts: Sequence[Part]) -> str:
    """Returns the parts as one gin text, imports first."""
    imports = dict.fromkeys(line for part in parts for line in _IMPORT.findall(part.text))
    # `from __gin__ import dynamic_registration` has to be the first statement of all.
    ordered = sorted(imports, key=lambda line: "__gin__" not in line)
    body = [f"# --- {part.origin}\n{_IMPORT.sub('', part.text).strip()}\n" for part in parts]
    return "\n".join([*ordered, "", *body]) if ordered else "\n".join(body)


def macros_text(parts: Sequence[Part]) -> str:
    """Returns gin text that sets every macro to the value it ends with."""
    lines = []
    for name, value in sorted(macros(parts).items()):
        if not _is_required(value):
            lines.append(f"{name} = {value!r}\n")
    return "".join(lines)


def _is_required(value: Any) -> bool:
    return isinstance(value, Reference) and value == "%gin.REQUIRED"


def parse(parts: Sequence[Part]) -> None:
    """Clears gin and parses the parts.

    The configurables that the parts bind have to be imported before.

    Raises:
        ConfigError: an unknown configurable or parameter, with the nearest one the run file
            binds; an import that fails; a required macro that nothing sets.
    """
    import gin

    gin.clear_config()
    add_working_directory()
    known = _bindings(parts)
    for part in parts:
        try:
            gin.parse_config(part.text)
        except (Exception, SystemExit) as error:  # of modules that it imports, too
            message = f"{first_line(error)}{whence(error)}"
            named = re.search(r"(?:matching|named|reference) '@?([\w.]+)(?:\(\))?'", message)
            near = [name for name in known if named and name != named[1]]
            hint = did_you_mean(named[1], near) if named else ""
            raise ConfigError(f"{part.origin}: {message}{hint}") from None
    missing = [name for name, value in macros(parts).items() if _is_required(value)]
    if missing:
        arguments = " ".join(f"--gin.{name}=..." for name in missing)
        raise ConfigError(f"required: {', '.join(missing)}; set in the gin file or by {arguments}")


def run_imports(files: Sequence[str]) -> None:
    """Imports what gin files of the user's import, before anything else is known of them.

    A checkpoint may be of a model family that one of these modules makes known.

    Raises:
        ConfigError: a file is missing or no gin, or an import fails.
    """
    parts = [Part(name, read_gin_file(name)) for name in files]
    imports = [Part(part.origin, "\n".join(_IMPORT.findall(part.text))) for part in parts]
    if any(part.text for part in imports):
        parse(imports)


def _bindings(parts: Sequence[Part]) -> list[str]:
    names: set[str] = set()
    for part in parts:
        for statement in statements(part):
            if getattr(statement, "arg_name", ""):
                names.update((statement.selector, statement.arg_name))
                if isinstance(statement.value, Reference) and statement.value[0] == "@":
                    names.add(statement.value[1:].removesuffix("()"))
    return sorted(names)


def describe(values: Mapping[str, Any]) -> str:
    """Returns macros as an aligned list for the terminal."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{name:<{width}} = {value!r}" for name, value in sorted(values.items()))
