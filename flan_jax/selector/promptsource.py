"""Folders of promptsource `templates.yaml` files, read as a library: no template is ever run.

A file holds the templates of one dataset, or of one of its configurations, as jinja text with the
separator `|||` between what a model reads and what it has to write. Templates are cut apart with
jinja's lexer only.
"""

import ast
import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

from flan_jax.errors import DataError, quoted, within
from flan_jax.json_files import Fields
from flan_jax.selector.library import SEPARATOR, Counts, Library, LibraryTask, refine_all
from flan_jax.texts import nfc
from flan_jax.yaml_files import read_yaml

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
    """

    name: str
    jinja: str
    original_task: bool | None = None


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
    data = Fields(str(path), read_yaml(path, _TAGS))
    templates = data.inner("templates")
    dataset, subset = data.name("dataset"), data.optional_name("subset")
    found = tuple(_template(path, *entry) for entry in templates.object.items())
    return TemplateFile(dataset, subset, found)


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
    found = list(_below(folder, _DEPTH, set())) if folder.is_dir() else []
    if not found:
        what = "has no such file below it" if folder.is_dir() else "is not a folder"
        raise DataError(
            f"{folder} {what}: give a folder with promptsource's {FILE} files, such as "
            "promptsource/templates of a checkout"
        )
    return found


def _below(folder: epath.Path, depth: int, seen: set[str]) -> Iterator[epath.Path]:
    """Yields the files below a folder, each folder once however many links lead to it."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    for path in sorted(folder.iterdir()):
        if path.name == FILE:
            yield path
        elif depth and not path.name.startswith(".") and path.is_dir():
            yield from _below(path, depth - 1, seen)


def _task_of(
    file: TemplateFile, path: epath.Path, only_original: bool
) -> tuple[LibraryTask | None, Counts]:
    """The task, None where no instruction remains, and what became of the templates."""
    own = [t for t in file.templates if not only_original or t.original_task is not False]
    inverting = len(file.templates) - len(own)
    with within(str(path)):
        instructions, counts = refine_all(map(_instruction, own))
    counts += Counts(read=inverting, inverting=inverting, tasks_without=int(not instructions))
    task = LibraryTask(file.task, instructions, None, file.sources) if instructions else None
    return task, counts


def _instruction(template: Template) -> str:
    with within(f"template {quoted(template.name)}"):
        return instruction_side(template.jinja)


def _template(path: epath.Path, key: Any, value: Any) -> Template:
    fields = Fields(f"{path}: template {quoted(key)}", value)
    metadata = fields.optional_inner("metadata")
    original = metadata.flag("original_task", None)
    name = "" if fields.object.get("name") is None else fields.text("name")
    with within(fields.where):
        jinja = nfc(fields.text("jinja"))
    return Template(name or (key if isinstance(key, str) else quoted(key)), jinja, original)
