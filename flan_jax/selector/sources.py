"""Where libraries come from: cards, JSONL files, Super-NI folders, promptsource folders.

Nothing here reads an instance. Of a Super-NI file, whose instances come late in it, only what
precedes them is read.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from etils import epath

from flan_jax.errors import ConfigError, DataError, did_you_mean
from flan_jax.selector.library import Counts, Library, LibraryTask, refine_all

PREFIXES = ("super_ni", "promptsource")
_FIELDS = ("task", "instructions", "cluster", "sources", "tokens")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Of a task file: its first bytes, which hold all but the instances in nearly every one.
_HEAD = 1 << 18
_NEEDED = ("Definition", "Categories", "Source")


def load_library(spec: str) -> Library:
    """Returns the library that a text names.

    Args:
        spec: a task module, whose cards are read (`tasks.minilab`); a file of one JSON object a
            line (`FILE.jsonl`); `super_ni:DIR`; `promptsource:DIR`; or several of them with
            commas between.

    Raises:
        ConfigError: the text names none of these.
        DataError: what it names is not there or wrong.
    """
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if len(parts) == 1:
        return _load_one(parts[0])
    if not parts:
        raise ConfigError("no library was named; --library=tasks.minilab, say")
    loaded = [_load_one(part) for part in parts]
    counts = sum((library.counts for library in loaded), Counts())
    return Library.of((task for library in loaded for task in library.tasks), spec, counts)


def _load_one(spec: str) -> Library:
    prefix, colon, rest = spec.partition(":")
    if colon and not rest.startswith("//") and prefix not in PREFIXES:
        hint = did_you_mean(prefix, PREFIXES)
        raise ConfigError(f"--library={spec}: no kind of library is named {prefix!r}{hint}")
    if prefix == "super_ni" and colon:
        return read_super_ni(rest)
    if prefix == "promptsource" and colon:
        return _read_promptsource(rest)
    if spec.endswith((".jsonl", ".json")) or "/" in spec:
        return read_jsonl(spec)
    if not _MODULE.fullmatch(spec):
        raise ConfigError(
            f"--library={spec} is neither a task module nor a .jsonl file, super_ni:DIR or "
            "promptsource:DIR"
        )
    return read_cards(spec)


def read_cards(module: str) -> Library:
    """Returns the library of the cards that a task module registers.

    Raises:
        ConfigError: there is no such module.
        DataError: it registers no card.
    """
    from flan_jax import config
    from flan_jax.instructions.cards import cards
    from flan_jax.quiet import import_tensorflow

    import_tensorflow()
    config.import_modules(module)
    found = cards([module])
    if not found:
        raise DataError(f"module {module} registers no tasks (none below this name)")
    rows = [(c.name, c.instructions, c.cluster, c.sources, None) for c in found]
    return _library(rows, module)


Row = tuple[str, Iterable[str], str | None, tuple[str, ...], int | None]


def _library(rows: Iterable[Row], origin: str) -> Library:
    """Refines instructions and leaves out tasks that have none then."""
    tasks, counts = [], Counts()
    for name, texts, cluster, sources, tokens in rows:
        kept, of_task = refine_all(texts)
        counts += of_task
        if kept:
            tasks.append(LibraryTask(name, kept, cluster, sources, tokens))
        else:
            counts += Counts(tasks_without=1)
    return Library.of(tasks, origin, counts)


def read_jsonl(path: str) -> Library:
    """Returns the library of a file of one JSON object a line.

    An object is `{"task", "instructions": [...], "cluster"?, "sources"?, "tokens"?}`; blank
    lines are skipped.

    Raises:
        DataError: the file is not there, or a line is wrong; names file, line and field.
    """
    return _library((_jsonl_row(row, where) for where, row in json_lines(path)), path)


def json_lines(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields where each line of a file is, and the object on it; blank lines are skipped.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object; names file and line.
    """
    try:
        text = epath.Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: not an object")
        yield where, row


def _jsonl_row(row: dict[str, Any], where: str) -> Row:
    for key in row:
        if key not in _FIELDS:
            raise DataError(f"{where}: unknown field {key!r}{did_you_mean(key, _FIELDS)}")
    name = _text(row.get("task"), where, "task")
    if not name.strip():
        _fail(where, "task", "must not be blank")
    instructions = _texts(row.get("instructions"), where, "instructions")
    if not instructions or not all(text.strip() for text in instructions):
        _fail(where, "instructions", "must hold at least one text, none of it blank")
    cluster, tokens = row.get("cluster"), row.get("tokens")
    if cluster is not None:
        _text(cluster, where, "cluster")
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        _fail(where, "tokens", "must be a whole number above 0")
    return name, instructions, cluster, _texts(row.get("sources", []), where, "sources"), tokens


def _fail(where: str, field: str, wrong: str) -> NoReturn:
    raise DataError(f"{where}: field {field!r} {wrong}")


def _text(value: Any, where: str, field: str) -> str:
    if not isinstance(value, str):
        _fail(where, field, "must be a string" if value is not None else "is missing")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        _fail(where, field, "holds half a surrogate pair, which is no character")
    return value


def _texts(value: Any, where: str, field: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        _fail(where, field, "must be a list of strings" if value is not None else "is missing")
    return tuple(_text(item, where, f"{field}[{i}]") for i, item in enumerate(value))


def read_super_ni(folder: str) -> Library:
    """Returns the library of a Super-NaturalInstructions folder: `tasks/*.json`, or `*.json`.

    Tasks are named as `tasks.natural_instructions.super_ni` registers them.

    Raises:
        DataError: there are no task files, or one is wrong; names file and field.
    """
    root = epath.Path(folder)
    if not root.is_dir():
        raise DataError(f"--library=super_ni:{folder}: there is no such folder")
    inside = root / "tasks"
    files = sorted((inside if inside.is_dir() else root).glob("*.json"))
    if not files:
        raise DataError(f"--library=super_ni:{folder}: no task files (tasks/*.json) in it")
    return _library((_super_ni_row(file) for file in files), f"super_ni:{folder}")


def _super_ni_row(file: epath.Path) -> Row:
    fields = read_fields(file)
    for name in ("Definition", "Categories"):
        if name not in fields:
            raise DataError(f"{file}: {name} is missing")
    definition = fields["Definition"]
    if isinstance(definition, str):
        definition = [definition]
    instructions = _texts(definition, str(file), "Definition")
    categories = _texts(fields["Categories"], str(file), "Categories")
    sources = _texts(fields.get("Source", []), str(file), "Source")
    name = "super_ni_" + file.name.removesuffix(".json").replace("-", "_")
    return name, instructions, categories[0] if categories else None, sources, None


def read_fields(file: epath.Path) -> Mapping[str, Any]:
    """Returns the fields of a task file that precede its instances.

    Where something that is needed comes behind them, the whole file is parsed and the instances
    are thrown away.

    Raises:
        DataError: the file is not a JSON object.
    """
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    fields = _leading_fields(head.decode("utf-8", "ignore"))
    if fields is not None and all(name in fields for name in _NEEDED):
        return fields
    try:
        whole = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON: {error}") from None
    if not isinstance(whole, dict):
        raise DataError(f"{file}: not a JSON object")
    whole.pop("Instances", None)
    return whole


def _leading_fields(text: str) -> dict[str, Any] | None:
    """Returns the fields of the object that a text begins with, up to "Instances"."""
    decoder = json.JSONDecoder()
    fields: dict[str, Any] = {}
    position = _skip(text, 0, "\ufeff{ \t\r\n")
    try:
        while True:
            key, position = decoder.raw_decode(text, position)
            if key == "Instances" or not isinstance(key, str):
                return fields
            position = _skip(text, position, ": \t\r\n")
            fields[key], position = decoder.raw_decode(text, position)
            position = _skip(text, position, ", \t\r\n")
    except (ValueError, RecursionError):
        return fields or None


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _read_promptsource(folder: str) -> Library:
    from flan_jax.selector import promptsource

    return promptsource.read_promptsource(folder)


def with_sizes(library: Library, path: str) -> Library:
    """Returns a library whose tasks have the tokens that a CSV file says.

    Its columns are `task` and `tokens`; tasks that the library lacks are ignored.

    Raises:
        DataError: the file is not there, lacks a column, or a size is no whole number above 0.
    """
    import csv
    import io

    try:
        text = epath.Path(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    for column in ("task", "tokens"):
        if column not in (rows.fieldnames or ()):
            raise DataError(f"{path}: no column {column!r}; the first line names task,tokens")
    sizes = {}
    for row in rows:
        tokens = (row["tokens"] or "").strip()
        if not (tokens.isascii() and tokens.isdecimal() and int(tokens) > 0):
            raise DataError(
                f"{path}, line {rows.line_num}: tokens must be a whole number above 0, "
                f"not {row['tokens']!r}"
            )
        sizes[row["task"]] = int(tokens)
    tasks = (
        dataclasses.replace(task, tokens=sizes.get(task.name, task.tokens))
        for task in library.tasks
    )
    return dataclasses.replace(library, tasks=tuple(tasks))
