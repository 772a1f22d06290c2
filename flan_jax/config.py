"""Gin configuration: composition, command-line values, and errors that name the nearest name.

A run is composed of parts, each overriding the ones before it:

1. the model: `gin_configs/models/<MODEL>.gin`, macros for family and size;
2. the run: `gin_configs/runs/<engine>/<run>.gin`, a default for every macro, and the bindings of
   macros to an engine, with those of the model's family in `families/<MODEL_FAMILY>.gin`;
3. the experiment: a file that sets macros only, so that it runs on any engine;
4. the command line: `--gin.NAME=value`.
"""

import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.modules import ROOT, import_modules, known_task_modules, ships_with_package

__all__ = ["ROOT", "import_modules", "known_task_modules", "ships_with_package"]

ENGINES = ("flan_jax", "t5x")
# Macros whose command-line value is always a string, whatever it looks like to gin.
PATH_MACROS = frozenset(
    [
        "MODEL_DIR",
        "INITIAL_CHECKPOINT_PATH",
        "PREPARED_DIR",
        "SUPER_NI_DIR",
        "VOCABULARY",
        "MODEL",
        "MIXTURE_OR_TASK_NAME",
        "PROFILE_STEPS",
        "INITIAL_CHECKPOINT_PART",
        "BEST_METRIC",
        "STOP_METRIC",
        "TFDS_DATA_DIR",
        "FLAN_TEMPLATES",
        "NI_V1_DIR",
        "EMBEDDINGS_DIR",
    ]
)
_INCLUDE = re.compile(r"""^include\s+(['"])(?P<path>.+?)\1\s*(#.*)?$""", re.MULTILINE)
_REFERENCE = re.compile(r"%([A-Za-z_]\w*)")
_IMPORT = re.compile(r"^(?:from\s+[\w.]+\s+)?import\s+.+$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a composed configuration.

    Attributes:
        origin: file it comes from, or "the command line".
        text: gin text without include statements.
    """

    origin: str
    text: str


def find_gin_file(name: str) -> Path:
    """Returns the path of a gin file named relative to the working directory or the package.

    Raises:
        ConfigError: there is none; the nearest gin files are offered.
    """
    for candidate in (Path(name), ROOT / name, ROOT / "gin_configs" / name):
        if candidate.is_file():
            return candidate
    folder = ROOT / "gin_configs"
    known = [str(path.relative_to(ROOT)) for path in sorted(folder.rglob("*.gin"))]
    hint = did_you_mean(name, known) or did_you_mean(f"gin_configs/experiments/{name}", known)
    raise ConfigError(f"no gin file {name!r}, neither here nor in the package{hint}")


def read_gin_file(name: str, _seen: tuple[Path, ...] = ()) -> str:
    """Returns the text of a gin file with its includes put in place."""
    path = find_gin_file(name)
    if path in _seen:
        raise ConfigError(f"gin file {name!r} includes itself")
    inline = lambda match: read_gin_file(match["path"], (*_seen, path))  # noqa: E731
    return _INCLUDE.sub(inline, path.read_text())


def packaged(path: str) -> str:
    """Returns a path that does not exist here as one into the package, where it exists there.

    So gin files can name what ships with the project, wherever it is installed.
    """
    inside = ROOT / path
    return str(inside) if not Path(path).exists() and inside.exists() else path


class Reference(str):
    """A reference to a configurable (`@f()`) or macro (`%NAME`), as it is written in gin."""

    def __repr__(self) -> str:
        return str(self)


class _Symbols:
    """Reads references and macros as what they are written as; nothing is resolved."""

    def configurable_reference(self, name: str, evaluate: bool) -> Reference:
        return Reference(f"@{name}" + "()" * evaluate)

    def macro(self, name: str) -> Reference:
        return Reference(f"%{name}")


def _statements(part: Part) -> Iterator[Any]:
    """Yields gin's parsed statements.

    Raises:
        ConfigError: a syntax error; names the origin.
    """
    from gin import config_parser

    try:
        yield from config_parser.ConfigParser(io.StringIO(part.text), _Symbols())
    except (SyntaxError, ValueError, EOFError) as error:
        raise ConfigError(f"{part.origin}: {_first_line(error)}") from None
    except Exception as error:  # tokenize raises its own, unrelated types
        raise ConfigError(f"{part.origin}: not gin: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__


def macros(parts: Iterable[Part]) -> dict[str, Any]:
    """Returns the value each macro ends with; references stay what they are, see `Reference`."""
    values: dict[str, Any] = {}
    for part in parts:
        for statement in _statements(part):
            if hasattr(statement, "selector") and not getattr(statement, "arg_name", "x"):
                values[statement.selector] = getattr(statement, "value", None)
    return values


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns macros with references to other macros of `values` replaced by their values.

    Raises:
        ConfigError: a macro refers to itself.
    """

    def resolve(value: Any, seen: tuple[str, ...]) -> Any:
        if isinstance(value, Reference) and value[1:] in values and value[0] == "%":
            if value[1:] in seen:
                raise ConfigError(f"macro {value[1:]} refers to itself")
            return resolve(values[value[1:]], (*seen, value[1:]))
        if isinstance(value, dict):
            return {key: resolve(item, seen) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(resolve(item, seen) for item in value)
        return value

    return {name: resolve(value, (name,)) for name, value in values.items()}


def parse_override(argument: str) -> tuple[str, str]:
    """Splits `NAME=value` and returns the name and the value as gin text.

    A value that gin cannot parse is a string, and so is any value of a path-like macro but None;
    quotes around a string may be given or left out.

    Raises:
        ConfigError: there is no `=`, no name before it, or the value is a misspelt constant.
    """
    name, equals, raw = argument.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--gin.{argument}: expected --gin.NAME=value")
    name, raw = name.strip(), raw.strip()
    value = _parse_value(raw)
    if name in PATH_MACROS:
        quoted = raw[:1] in ("'", '"') and isinstance(value, str)
        return name, raw if quoted or raw == "None" else repr(raw)
    if value is not _UNPARSABLE:
        return name, raw
    if raw.lower() in _CONSTANTS:  # as a string, `false` would be true
        meant = _CONSTANTS[raw.lower()]
        raise ConfigError(f"--gin.{argument}: gin knows no {raw}; did you mean {meant}?")
    return name, repr(raw)


_UNPARSABLE = object()
_CONSTANTS = {"true": "True", "false": "False", "none": "None", "null": "None"}


def _parse_value(raw: str) -> Any:
    """Returns the value of gin text, or _UNPARSABLE unless all of it is one value."""
    import tokenize

    from gin import config_parser

    try:
        parser = config_parser.ConfigParser(raw, _Symbols())
        value = parser.parse_value()
        rest = {parser._current_token.type, *(token.type for token in parser._token_generator)}
    except Exception:
        return _UNPARSABLE
    ends = rest <= {tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER}
    return value if ends else _UNPARSABLE


def _override_part(overrides: Sequence[str]) -> Part:
    pairs = [parse_override(argument) for argument in overrides]
    text = "".join(f"{name} = {value}\n" for name, value in pairs)
    return Part("the command line", text)


def _check_names(base: Sequence[Part], experiments: Sequence[Part], overrides: Part | None) -> None:
    """Refuses a macro that nobody reads: a misspelt one would be ignored by gin."""
    everything = [*base, *experiments]
    known = set(macros(base))
    for part in everything:
        known.update(_REFERENCE.findall(part.text))
    for part in experiments:
        for name in macros([part]):
            if name not in known and (hint := did_you_mean(name, known)):
                raise ConfigError(f"{part.origin}: unknown macro {name}{hint}")
            known.add(name)
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
        for statement in _statements(part):
            if hasattr(statement, "value"):
                key = (statement.scope, statement.selector, statement.arg_name)
                bindings[key] = (part, statement.value)
    for part, value in bindings.values():
        for name in [] if part is lenient else _macros_in(value):
            # Names with a dot are constants, which gin resolves itself.
            if name not in known and "." not in name:
                hint = did_you_mean(name, known)
                if name == "MODEL_CONFIG":
                    hint = ", as MODEL does: --gin.MODEL=t5_1_1/small"
                raise ConfigError(f"{part.origin}: nothing sets macro {name}{hint}")


def _macros_in(value: Any) -> Iterator[str]:
    """Yields the macros that a value refers to."""
    if isinstance(value, Reference) and value[0] == "%":
        yield value[1:]
    elif isinstance(value, dict):
        yield from _macros_in([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _macros_in(item)


def check_overrides(parts: Sequence[Part], text: str) -> None:
    """Refuses gin text of the command line that sets a macro `parts` do not define.

    Raises:
        ConfigError: names the macro and the nearest one.
    """
    _check_names(parts, [], Part("the command line", text))


def compose_parts(
    experiments: Sequence[str],
    engine: str,
    run: str = "train",
    overrides: Sequence[str] = (),
    inherited: Part | None = None,
) -> list[Part]:
    """Returns the parts of a configuration, in the order in which they are parsed.

    Args:
        experiments: gin files, later ones overriding earlier ones.
        engine: "flan_jax" or "t5x".
        run: name of the engine's run file.
        overrides: `NAME=value` as on the command line, without `--gin.`.
        inherited: macros that come with a checkpoint; they override the run's defaults and are
            overridden by experiments.

    Raises:
        ConfigError: a file is missing, is not gin, sets a macro that nobody reads, or refers to
            one that nobody sets; or names for T5X a mixture that only we can make.
    """
    if engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}{did_you_mean(engine, ENGINES)}")
    experiment_parts = [Part(name, read_gin_file(name)) for name in experiments]
    override_part = _override_part(overrides)
    run_name = f"gin_configs/runs/{engine}/{run}.gin"
    run_part = Part(run_name, read_gin_file(run_name))
    given = [*([inherited] if inherited else []), *experiment_parts, override_part]
    own = macros([run_part, *given])

    base = []
    # A checkpoint's macros already say what the model is; MODEL is then only its name.
    own_model = macros([*experiment_parts, override_part]).get("MODEL")
    model = own_model if inherited else own.get("MODEL")
    if model and not str(model).startswith("%"):
        base.append(_model_part(str(model)))
    family = macros([*base, *given]).get("MODEL_FAMILY")
    base.append(run_part)
    family_name = f"gin_configs/runs/{engine}/families/{family}.gin"
    if family and (ROOT / family_name).is_file():
        base.append(Part(family_name, read_gin_file(family_name)))
    _check_names([*base, *([inherited] if inherited else [])], experiment_parts, override_part)
    if inherited:
        base.append(inherited)
    parts = [*base, *experiment_parts, *([override_part] if overrides else [])]
    # Preparing needs no model, so what a model sets may be missing there.
    _check_references(parts, run_part if run == "prepare" else None)
    if engine == "t5x":
        _refuse_selected(parts)
    return parts


def _refuse_selected(parts: Sequence[Part]) -> None:
    """Refuses `selected:MANIFEST` where a program that is not ours looks the mixture up.

    Raises:
        ConfigError: that is so; says what to do.
    """
    name = str(macros(parts).get("MIXTURE_OR_TASK_NAME"))
    if name.startswith("selected:"):
        raise ConfigError(
            f"T5X looks names up in SeqIO's registry and does not know {name!r}: call "
            "flan_jax.selector.register_mixture(MANIFEST, name=NAME) in a module of yours, and "
            "give NAME and that module as MIXTURE_OR_TASK_NAME and MIXTURE_OR_TASK_MODULE"
        )


def _model_part(model: str) -> Part:
    name = f"gin_configs/models/{model}.gin"
    folder = ROOT / "gin_configs" / "models"
    if not (ROOT / name).is_file() and not Path(name).is_file():
        known = [str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.gin")]
        raise ConfigError(
            f"MODEL {model!r}: no file {name}{did_you_mean(model, known)}; "
            f"there are {', '.join(sorted(known))}"
        )
    return Part(name, read_gin_file(name))


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
    known = _bindings(parts)
    for part in parts:
        try:
            gin.parse_config(part.text)
        except (ValueError, SyntaxError, KeyError, ModuleNotFoundError) as error:
            message = _first_line(error)
            quoted = re.search(r"(?:matching|named|reference) '@?([\w.]+)(?:\(\))?'", message)
            near = [name for name in known if quoted and name != quoted[1]]
            hint = did_you_mean(quoted[1], near) if quoted else ""
            raise ConfigError(f"{part.origin}: {message}{hint}") from None
    missing = [name for name, value in macros(parts).items() if _is_required(value)]
    if missing:
        arguments = " ".join(f"--gin.{name}=..." for name in missing)
        raise ConfigError(f"required: {', '.join(missing)}; set in the gin file or by {arguments}")


def _bindings(parts: Sequence[Part]) -> list[str]:
    names: set[str] = set()
    for part in parts:
        for statement in _statements(part):
            if getattr(statement, "arg_name", ""):
                names.update((statement.selector, statement.arg_name))
                if isinstance(statement.value, Reference) and statement.value[0] == "@":
                    names.add(statement.value[1:].removesuffix("()"))
    return sorted(names)


def describe(values: Mapping[str, Any]) -> str:
    """Returns macros as an aligned list for the terminal."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{name:<{width}} = {value!r}" for name, value in sorted(values.items()))
