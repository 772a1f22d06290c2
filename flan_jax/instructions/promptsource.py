"""promptsource's `templates.yaml` files: read, cut apart, and rendered for one row.

A file holds the templates of one dataset, or of one of its configurations, as Jinja text with the
separator `|||` between what a model reads and what it has to write. What a template says of its
task is found with Jinja's lexer alone; `render` runs it (see `sandbox`).
"""

import ast
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from flan_jax.errors import DataError, quoted, within
from flan_jax.instructions import sandbox
from flan_jax.instructions.draws import Draws
from flan_jax.instructions.long_prompts import Draft, Texts
from flan_jax.json_files import Fields
from flan_jax.texts import nfc
from flan_jax.yaml_files import read_yaml

# What parts the input of a template from its target.
SEPARATOR = "|||"
# Stands for a separator in what a row says. promptsource's own choice, which some of its templates
# (those of multi_news) look for.
_NO_SEPARATOR = "3ed2dface8203c4c9dfb1a5dc58e41e0"
FILE = "templates.yaml"
# Texts of a row that may be shortened; each costs a rendering where a prompt is too long.
_MOST_TRIED = 32
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
        answer_choices: a Jinja template of the options, parted by `|||`; None where the answer is
            any text.
        metrics: names that promptsource gives to what an answer is judged by.
        choices_in_prompt: whether the prompt lists the options.
    """

    name: str
    jinja: str
    original_task: bool | None = None
    answer_choices: str | None = None
    metrics: tuple[str, ...] = ()
    choices_in_prompt: bool | None = None


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


def _template(path: epath.Path, key: Any, value: Any) -> Template:
    fields = Fields(f"{path}: template {quoted(key)}", value)
    metadata = fields.optional_inner("metadata")
    original = metadata.flag("original_task", None)
    name = "" if fields.object.get("name") is None else fields.text("name")
    choices = None if fields.object.get("answer_choices") is None else "answer_choices"
    metrics = metadata.object.get("metrics") and metadata.texts("metrics", least=0)
    with within(fields.where):
        return Template(
            name or (key if isinstance(key, str) else quoted(key)),
            nfc(fields.text("jinja")),
            original,
            nfc(fields.text(choices)) if choices else None,
            metrics or (),
            metadata.flag("choices_in_prompt", None),
        )


class Prompt(NamedTuple):
    """What a template makes of a row.

    Attributes:
        inputs: what a model reads.
        targets: what it has to write.
        options: what may be written, where the template says so.
    """

    inputs: str
    targets: str
    options: tuple[str, ...]


def render(template: Template, row: Mapping[str, Any], draws: Draws) -> Prompt | None:
    """Returns what a template makes of a row; None where it has nothing to ask of that row.

    As in promptsource, both parts are stripped, what an expression writes is cut after 2,048
    characters, and a row of which no two parts, or an empty one, are made is passed over.

    Args:
        template: the template.
        row: fields as the dataset has them.
        draws: of the example; what promptsource draws unseeded is drawn of these.

    Raises:
        DataError: the template cannot be run on the row, or an option is empty; names the template.
    """
    with within(f"template {quoted(template.name)}"):
        if "answer_choices" in row:
            raise DataError("the row has a field 'answer_choices', which is a template's own")
        told = {name: _kept_apart(value) for name, value in row.items()}
        options: list[str] | None = None
        if template.answer_choices is not None:
            with within("answer_choices"):
                options = _parts(sandbox.render(template.answer_choices, told, draws))
                if not all(options):
                    raise DataError(f"an option is empty: {quoted(options)}")
        told["answer_choices"] = options
        parts = _parts(sandbox.render(template.jinja, told, draws, truncate=True))
        if len(parts) != 2 or not all(parts):
            return None
        inputs, targets, *choices = (
            part.replace(_NO_SEPARATOR, SEPARATOR) for part in (*parts, *(options or ()))
        )
        return Prompt(inputs, targets, tuple(choices))


def draft(template: Template, row: Mapping[str, Any], draws: Draws, prompt: Prompt) -> Draft:
    """Returns how a prompt is written anew of shorter texts of its row.

    What may be shortened are texts, however deep in the row, without which target and options stay
    what they are. Only the `_MOST_TRIED` longest are tried, and lists that hold an answer are left.

    Args:
        template: the template.
        row: see `render`.
        draws: see `render`.
        prompt: what the template makes of the row.
    """

    def write(texts: Texts, dropped: int) -> str | None:
        try:
            made = render(template, _with(row, texts), draws)
        except DataError:  # there is a text that it cannot do without
            return None
        return made.inputs if made is not None and made[1:] == prompt[1:] else None

    def texts() -> Texts:
        read = sandbox.reads(template.jinja)
        leaves = {path: text for path, text in _texts(row) if path[0] in read and text}
        longest = sorted(leaves, key=lambda path: -len(leaves[path]))[:_MOST_TRIED]
        said = {prompt.targets, *prompt.options}
        free = {
            path
            for path in longest
            if leaves[path].strip() not in said
            and write({path: leaves[path][: len(leaves[path]) // 2]}, 0) is not None
        }
        fixed = {path[:-1] for path in {*longest} - free if isinstance(path[-1], int)}
        return {path: leaves[path] for path in longest if path in free and path[:-1] not in fixed}

    return Draft(texts, write)


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yields the texts in a value with the keys and positions that lead to each."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _texts(item, (*path, key))


def _with(value: Any, texts: Texts, path: tuple[Any, ...] = ()) -> Any:
    """Returns a value with other texts at some of its paths."""
    if isinstance(value, str):
        return texts.get(path, value)
    if isinstance(value, list):
        return [_with(item, texts, (*path, at)) for at, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {key: _with(item, texts, (*path, key)) for key, item in value.items()}
    return value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR)]


def _kept_apart(value: Any) -> Any:
    """Returns a value of a row without separators in its texts."""
    if isinstance(value, str):
        return value.replace(SEPARATOR, _NO_SEPARATOR)
    if isinstance(value, list):
        return [_kept_apart(item) for item in value]
    if isinstance(value, dict):
        return {key: _kept_apart(item) for key, item in value.items()}
    return value


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


def find_files(folder: epath.Path) -> list[epath.Path]:
    """Returns the files below a folder, sorted, or the one file that is named.

    Raises:
        DataError: there are none.
    """
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
