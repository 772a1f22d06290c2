"""Folders of promptsource `templates.yaml` files, read as a library: no template is ever run.

A file holds the templates of one dataset, or of one of its configurations, as jinja text with the
separator `|||` between what a model reads and what it has to write. Templates are cut apart with
jinja's lexer only; the YAML is read by a safe loader that knows the two tags of the format.
"""

import ast
import dataclasses
import functools
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from flan_jax.errors import DataError
from flan_jax.selector.library import SEPARATOR, Counts, Library, LibraryTask, refine_all

FILE = "templates.yaml"
_TAGS = ("!Template", "!TemplateMetadata")
# Collections whose configurations are datasets of their own; elsewhere a configuration is another
# version or portion of one dataset.
_SUITES = ("glue", "super_glue", "tweet_eval", "kilt_tasks", "xtreme", "xglue", "blimp", "lex_glue")
# Folders are collection, dataset and configuration below the one that is named, or above it.
_DEPTH = 5
_BEGINS = {"variable_begin": "variable_end", "block_begin": "block_end"}


@dataclasses.dataclass(frozen=True)
class Template:
    """A template as the file has it.

    Attributes:
        name: its name, unique in its file or not.
        jinja: input and target as one jinja template, parted by `|||`.
        original_task: False where it asks for something other than the dataset's own task, such
            as writing the question of an answer; None where the file does not say.
        choices: pattern of the answers, parted by `|||`; None for free text.
        languages: codes of the languages it is written in.
    """

    name: str
    jinja: str
    original_task: bool | None = None
    choices: str | None = None
    languages: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TemplateFile:
    """The templates of a dataset, or of one configuration of it.

    Attributes:
        dataset: name of the dataset.
        subset: name of the configuration, or None.
        templates: in the order of the file.
    """

    dataset: str
    subset: str | None
    templates: tuple[Template, ...]

    @property
    def task(self) -> str:
        """Name of the task, one that SeqIO accepts where the dataset's is: `glue_mrpc`."""
        parts = [self.dataset] + ([self.subset] if self.subset else [])
        return "_".join(parts).replace("/", "_")

    @property
    def sources(self) -> tuple[str, ...]:
        """The dataset that instances come from, as `glue/mrpc` or `anli`."""
        suite = self.dataset in _SUITES and self.subset
        return (f"{self.dataset}/{self.subset}" if suite else self.dataset,)


def read_promptsource(folder: str, only_original: bool = True) -> Library:
    """Returns the library of all `templates.yaml` files below a folder (or of one such file).

    Templates that are marked as another task than their dataset's are left out, of the others
    the instruction side is kept and refined (`library.refine`); what is dropped is counted. A
    dataset without an original task (app_reviews, quarel) is left out as a whole.

    Args:
        folder: `templates` of promptsource's checkout or package, or a part of it.
        only_original: False keeps the templates of other tasks too.

    Raises:
        DataError: there is no such file, one is not what it should be, or none has an instruction.
    """
    tasks, counts = [], Counts()
    for path in _files(epath.Path(folder)):
        task, count = _task_of(read_file(path), path, only_original)
        counts += count
        tasks += [task] if task else []
    return Library.of(tasks, f"promptsource:{folder}", counts)


def read_file(path: epath.Path) -> TemplateFile:
    """Returns the content of one `templates.yaml`.

    Raises:
        DataError: the file is not YAML of that format; file, template and field are named.
    """
    data = _mapping(_load(path), path, "the file")
    templates = _mapping(_field(data, "templates", path, "the file"), path, "field 'templates'")
    dataset, subset = data.get("dataset"), data.get("subset")
    if not isinstance(dataset, str) or not dataset.strip():
        raise DataError(f"{path}: field 'dataset' must be a name, not {_short(dataset)}")
    if subset is not None and (isinstance(subset, Mapping | list) or not str(subset).strip()):
        raise DataError(f"{path}: field 'subset' must be a name, not {_short(subset)}")
    found = tuple(_template(key, value, path) for key, value in templates.items())
    return TemplateFile(dataset, None if subset is None else str(subset), found)


def instruction_side(jinja: str) -> str:
    """Returns the words of a template's input side, without what jinja would fill in.

    Every branch of a condition is kept, each up to its own `|||`. An expression that is one string
    in quotes stands for its words; all others, statements and comments leave a space. Of lines
    without a letter or digit, such as the bullet of a placeholder, nothing is left.

    Raises:
        DataError: jinja cannot read the template.
    """
    words: list[str] = []
    depth, target_depth = 0, None  # of conditions and loops; that at which `|||` was met
    for kind, text in _pieces(jinja):
        if kind == "block":
            depth += (text in ("if", "for")) - (text in ("endif", "endfor"))
            if target_depth is not None:
                target_depth = min(target_depth, depth)
                if text in ("else", "elif") and target_depth == depth:
                    target_depth = None
            words.append(" ")
        elif target_depth is None:
            before, separator, _ = text.partition(SEPARATOR) if kind == "data" else (text, "", "")
            words.append(before)
            target_depth = depth if separator else None
    lines = "".join(words).splitlines()
    return "\n".join(line for line in lines if any(letter.isalnum() for letter in line))


def _pieces(jinja: str) -> Iterator[tuple[str, str]]:
    """Pairs of kind and text: words are "data" or a literal's "words", a "block" its keyword."""
    inside, tokens = "", []
    for kind, value in _tokens(jinja):
        if inside:
            if kind != _BEGINS[inside]:
                tokens += [] if kind == "whitespace" else [(kind, value)]
                continue
            if inside == "block_begin":
                yield "block", tokens[0][1] if tokens else ""
            else:
                yield "words", _literal(tokens)
            inside, tokens = "", []
        elif kind in _BEGINS:
            inside = kind
        elif kind == "data":
            yield "data", value
        elif kind == "comment":
            yield "words", " "
    if inside:
        raise DataError("an expression or statement is not closed")


def _tokens(jinja: str) -> list[tuple[str, str]]:
    import jinja2

    try:
        return [(kind, value) for _, kind, value in _environment().lex(jinja)]
    except jinja2.TemplateSyntaxError as error:
        raise DataError(f"jinja says: {error.message}") from error


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment()  # only its lexer is used


def _literal(tokens: list[tuple[str, str]]) -> str:
    """Words of an expression that is one string in quotes; a space for any other."""
    if [kind for kind, _ in tokens] != ["string"]:
        return " "
    try:
        return str(ast.literal_eval(tokens[0][1]))
    except (SyntaxError, ValueError):
        return " "


def _files(folder: epath.Path) -> list[epath.Path]:
    if folder.is_file():
        return [folder]
    found = list(_below(folder, _DEPTH)) if folder.is_dir() else []
    if not found:
        what = "has no such file below it" if folder.is_dir() else "is not a folder"
        raise DataError(
            f"{folder} {what}: give a folder with promptsource's {FILE} files, such as "
            "promptsource/templates of a checkout"
        )
    return found


def _below(folder: epath.Path, depth: int) -> Iterator[epath.Path]:
    for path in sorted(folder.iterdir()):
        if path.name == FILE:
            yield path
        elif depth and not path.name.startswith(".") and path.is_dir():
            yield from _below(path, depth - 1)


def _task_of(
    file: TemplateFile, path: epath.Path, only_original: bool
) -> tuple[LibraryTask | None, Counts]:
    """The task, None where no instruction remains, and what became of the templates."""
    own = [t for t in file.templates if not only_original or t.original_task is not False]
    inverting = len(file.templates) - len(own)
    instructions, counts = refine_all(_instruction(template, path) for template in own)
    counts += Counts(read=inverting, inverting=inverting, tasks_without=int(not instructions))
    task = LibraryTask(file.task, instructions, None, file.sources) if instructions else None
    return task, counts


def _instruction(template: Template, path: epath.Path) -> str:
    try:
        return instruction_side(template.jinja)
    except DataError as error:
        raise DataError(f"{path}: template {template.name!r}: {error}") from error


def _template(key: Any, value: Any, path: epath.Path) -> Template:
    where = f"template {_short(key)}"
    fields = _mapping(value, path, where)
    metadata = _mapping(fields.get("metadata") or {}, path, f"{where}, field 'metadata'")
    jinja = _field(fields, "jinja", path, where)
    if not isinstance(jinja, str):
        raise DataError(f"{path}: {where}, field 'jinja' must be text, not {_short(jinja)}")
    original = metadata.get("original_task")
    if original is not None and not isinstance(original, bool):
        raise DataError(
            f"{path}: {where}, field 'original_task' must be true or false, not {_short(original)}"
        )
    choices, languages = fields.get("answer_choices"), metadata.get("languages")
    return Template(
        name=str(fields.get("name") or key),
        jinja=unicodedata.normalize("NFC", jinja),
        original_task=original,
        choices=None if choices is None else str(choices),
        languages=tuple(map(str, languages)) if isinstance(languages, list) else (),
    )


def _field(data: Mapping[Any, Any], field: str, path: epath.Path, where: str) -> Any:
    if field not in data:
        raise DataError(f"{path}: {where} has no field {field!r}")
    return data[field]


def _mapping(value: Any, path: epath.Path, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{path}: {where} must be a mapping, not {_short(value)}")
    return value


def _short(value: Any) -> str:
    """What a value is, in a few characters."""
    if isinstance(value, Mapping | list | tuple | set):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _load(path: epath.Path) -> Any:
    import yaml

    try:
        return yaml.load(path.read_bytes(), Loader=_loader())  # a subclass of the safe one
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not a promptsource file: {' '.join(str(error).split())}") from (
            error
        )
    except (ValueError, LookupError, RecursionError, TypeError, AttributeError) as error:
        # What PyYAML raises on tagged dates and numbers that are none, and on nests of lists.
        raise DataError(f"{path} is not a promptsource file: {_short(str(error))}") from error


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader, the compiled one where there is one, that knows the format's tags."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Reads a tagged template as the mapping that it is."""

    for tag in _TAGS:
        Loader.add_constructor(tag, lambda loader, node: loader.construct_mapping(node, deep=True))
    return Loader
