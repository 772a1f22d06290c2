"""Where libraries come from: cards, JSONL and CSV files, Super-NI folders, promptsource folders.

Nothing here reads an instance. Of a Super-NI file, whose instances come late in it, only what
precedes them is read.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from flan_jax import files, json_files
from flan_jax.csv_files import Row, read_csv
from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted, within
from flan_jax.json_files import Fields
from flan_jax.selector.library import Counts, Library, LibraryTask, refine_all

PREFIXES = ("super_ni", "promptsource")
_FIELDS = ("task", "instructions", "cluster", "sources", "tokens")
_COLUMNS = ("task", "instruction", "cluster", "source", "tokens")
_SUFFIXES = (".jsonl", ".json", ".csv")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Of a task file: its first bytes, which hold all but the instances in nearly every one.
_HEAD = 1 << 18
_NEEDED = ("Definition", "Categories", "Source")
# Tokens of a task; sums of more are no exact floats.
_MOST_TOKENS = 10**15
# Commas in the name of a path that are looked for.
_MOST_COMMAS = 20


def load_library(spec: str) -> Library:
    """Returns the library that a text names.

    Args:
        spec: a task module, whose cards are read (`tasks.minilab`); a file of one JSON object a
            line (`FILE.jsonl`); a table of one instruction a line (`FILE.csv`); `super_ni:DIR`;
            `promptsource:DIR`; or several of them with commas between. Where a path that is there
            has a comma or colon in it, it is that path.

    Raises:
        ConfigError: the text names none of these.
        DataError: what it names is not there or wrong.
    """
    parts = _parts(spec)
    if len(parts) == 1:
        return _load_one(parts[0])
    if not parts:
        raise ConfigError("no library was named; --library=tasks.minilab, say")
    loaded = [_load_one(part) for part in parts]
    counts = sum((library.counts for library in loaded), Counts())
    return Library.of((task for library in loaded for task in library.tasks), spec, counts)


def _parts(spec: str) -> list[str]:
    """Cuts a text at its commas, but for those in the name of something that is there."""
    pieces, parts = spec.split(","), []
    while pieces:
        most = min(len(pieces), _MOST_COMMAS + 1)
        joined = (",".join(pieces[:count]).strip() for count in range(most, 1, -1))
        part = next(filter(_is_there, joined), pieces[0].strip())
        pieces = pieces[part.count(",") + 1 :]
        parts += [part] if part else []
    return parts


def _is_there(spec: str) -> bool:
    prefix, colon, rest = spec.partition(":")
    path = rest if colon and prefix in PREFIXES else spec
    return epath.Path(files.user_path(path)).exists()


def _load_one(spec: str) -> Library:
    prefix, colon, rest = spec.partition(":")
    if prefix == "super_ni" and colon:
        return read_super_ni(files.user_path(rest))
    if prefix == "promptsource" and colon:
        return _read_promptsource(files.user_path(rest))
    if colon and not rest.startswith("//") and not _is_there(spec):
        hint = did_you_mean(prefix, PREFIXES)
        raise ConfigError(f"--library={spec}: no kind of library is named {quoted(prefix)}{hint}")
    if spec.lower().endswith(_SUFFIXES) or "/" in spec or epath.Path(spec).is_file():
        return read_file(spec)
    if not _MODULE.fullmatch(spec):
        raise ConfigError(
            f"--library={spec} is neither a task module nor a .jsonl or .csv file, super_ni:DIR or "
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


_Row = tuple[str, Iterable[str], str | None, tuple[str, ...], int | None]


def _library(rows: Iterable[_Row], origin: str) -> Library:
    """Refines instructions and leaves out tasks that have none then."""
    tasks, counts = [], Counts()
    for name, texts, cluster, sources, tokens in rows:
        with within(f"library {origin}, task {quoted(name)}"):
            kept, of_task = refine_all(texts)
        counts += of_task
        if kept:
            tasks.append(LibraryTask(name, kept, cluster, sources, tokens))
        else:
            counts += Counts(tasks_without=1)
    return Library.of(tasks, origin, counts)


def read_file(path: str) -> Library:
    """Returns the library of a file, which is a table where its name ends in `.csv`.

    Raises:
        ConfigError: it is a folder, or a file of another kind.
        DataError: see `read_jsonl` and `read_table`.
    """
    path = files.user_path(path)
    if epath.Path(path).is_dir():
        raise ConfigError(
            f"--library={path} is a folder: write super_ni:{path} or promptsource:{path} for "
            "what it holds"
        )
    if path.lower().endswith((".yaml", ".yml")):
        raise ConfigError(f"--library={path}: write promptsource:{path} for a file of templates")
    return read_table(path) if path.lower().endswith(".csv") else read_jsonl(path)


def read_jsonl(path: str) -> Library:
    """Returns the library of a file of one JSON object a line.

    An object is `{"task", "instructions": [...], "cluster"?, "sources"?, "tokens"?}`; blank
    lines are skipped.

    Raises:
        DataError: the file is not there, or a line is wrong; names file, line and field.
    """
    return _library(map(_jsonl_row, json_files.read_rows(path)), path)


def _jsonl_row(row: Fields) -> _Row:
    for key in row.object:
        if key not in _FIELDS:
            hint = did_you_mean(key, _FIELDS)
            raise DataError(f"{row.where}: unknown field {quoted(key)}{hint}")
    name, instructions = row.name("task"), _texts(row, "instructions")
    if not all(text.strip() for text in instructions):
        row.fail("instructions", "must hold at least one text, none of it blank")
    cluster = row.optional_name("cluster")
    tokens = None if row.object.get("tokens") is None else row.count("tokens", 1)
    if tokens is not None and tokens > _MOST_TOKENS:
        row.fail("tokens", f"must be at most {_MOST_TOKENS:,}, found {quoted(tokens)}")
    return name, instructions, cluster, _texts(row, "sources", needed=False), tokens


def _texts(row: Fields, field: str, needed: bool = True) -> tuple[str, ...]:
    """Returns a list of texts that can be written as UTF-8; it may be empty unless needed."""
    if not needed and row.object.get(field) in (None, []):
        return ()
    found = row.texts(field)
    if not all(map(json_files.encodable, found)):
        row.fail(field, "holds half a surrogate pair, which is no character")
    return found


def read_table(path: str) -> Library:
    """Returns the library of a CSV file of one instruction a line.

    Its columns are `task` and `instruction`, and maybe `cluster`, `source` and `tokens`; the lines
    of one task need not follow one another, nor repeat what another one says.

    Raises:
        DataError: the file is not there, lacks a column, or a line is wrong; names file and line.
    """
    tasks: dict[str, list[Row]] = {}
    for row in read_csv(path, _COLUMNS[:2], _COLUMNS):
        row.name("instruction")
        tasks.setdefault(row.name("task"), []).append(row)
    return _library((_table_row(name, rows) for name, rows in tasks.items()), path)


def _table_row(name: str, rows: list[Row]) -> _Row:
    clusters, tokens = ([row for row in rows if row.text(c)] for c in ("cluster", "tokens"))
    for column, given in (("cluster", clusters), ("tokens", tokens)):
        for row in given[1:]:
            if row.text(column) != given[0].text(column):
                row.fail(column, f"of task {quoted(name)} is another one in {given[0].where}")
    return (
        name,
        [row.text("instruction") for row in rows],
        clusters[0].text("cluster") if clusters else None,
        tuple(dict.fromkeys(row.text("source") for row in rows if row.text("source"))),
        tokens[0].count("tokens") if tokens else None,
    )


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
    found = sorted((inside if inside.is_dir() else root).glob("*.json"))
    if not found:
        raise DataError(f"--library=super_ni:{folder}: no task files (tasks/*.json) in it")
    return _library(map(_super_ni_row, found), f"super_ni:{folder}")


def _super_ni_row(file: epath.Path) -> _Row:
    fields = Fields(str(file), read_fields(file))
    instructions = _texts(fields, "Definition")
    fields.get("Categories")
    categories = _texts(fields, "Categories", needed=False)
    sources = _texts(fields, "Source", needed=False)
    name = "super_ni_" + file.name.removesuffix(".json").replace("-", "_")
    return name, instructions, categories[0] if categories else None, sources, None


def read_fields(file: epath.Path) -> Mapping[str, Any]:
    """Returns the fields of a task file that precede its instances.

    Where something that is needed comes behind them, the whole file is parsed and the instances
    are thrown away.

    Raises:
        DataError: the file is not a JSON object.
    """
    head = files.read_bytes(file, _HEAD, whole=False)
    fields = _leading_fields(head.decode("utf-8", "ignore"))
    if fields is not None and all(name in fields for name in _NEEDED):
        return fields
    whole = Fields(str(file), json_files.read_json(file)).object
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
    rows = read_csv(path, ("task", "tokens"))
    sizes = {row.text("task"): row.count("tokens") for row in rows}
    tasks = (
        dataclasses.replace(task, tokens=sizes.get(task.name, task.tokens))
        for task in library.tasks
    )
    return dataclasses.replace(library, tasks=tuple(tasks))
