"""Templates: a prompt and its target as two strings with `{field}` placeholders.

A template names fields of an example and nothing else: no attribute access, no format
specification, no code, so a template file from anywhere is safe to load. `{{` and `}}` write
braces. The field `options_` stands for the OPTIONS block (see `options`).
"""

import dataclasses
import functools
import re
import string
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.errors import DataError, did_you_mean, quoted
from flan_jax.instructions.options import DEFAULT_FORM, OptionsForm

OPTIONS_FIELD = "options_"
_BLANK_LINES = re.compile(r"\n{3,}")


@functools.lru_cache(maxsize=65536)
def _parse(pattern: str) -> tuple[tuple[str, str | None], ...]:
    """Splits a pattern into (literal text, field or None) pairs.

    Raises:
        DataError: unbalanced braces, or a placeholder that is more than a field name.
    """
    try:
        pieces = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise DataError(f"template {quoted(pattern)}: {error}") from None
    parsed = []
    for literal, field, spec, conversion in pieces:
        if field is not None and (spec or conversion or not field.isidentifier()):
            wrong = f"placeholder {quoted(field)} must be a plain field name"
            raise DataError(f"template {quoted(pattern)}: {wrong}")
        parsed.append((literal, field))
    return tuple(parsed)


def pattern_fields(pattern: str) -> tuple[str, ...]:
    """Returns the fields a pattern names, in order of first use."""
    return tuple(dict.fromkeys(field for _, field in _parse(pattern) if field is not None))


def substitute(pattern: str, fields: Mapping[str, str]) -> str:
    """Returns `pattern` with its placeholders replaced by `fields`.

    Raises:
        DataError: the pattern names a field that is not there.
    """
    out = []
    for literal, field in _parse(pattern):
        out.append(literal)
        if field is not None:
            if field not in fields:
                raise DataError(
                    f"template {quoted(pattern)}: no field {field!r} among {sorted(fields)}"
                    + did_you_mean(field, fields)
                )
            out.append(fields[field])
    return "".join(out)


@dataclasses.dataclass(frozen=True)
class Template:
    """One way of wording a task.

    Attributes:
        inputs: the prompt, with placeholders.
        targets: the answer, with placeholders.
        reversed: the template asks for something else than the task's own answer (FLAN, section
            2.1: "up to three templates that turned the task around"), so it is used to train and
            never to evaluate.
    """

    inputs: str
    targets: str
    reversed: bool = False

    def __post_init__(self) -> None:
        _parse(self.inputs)
        if not _parse(self.targets):
            raise DataError(f"template {quoted(self.inputs)} has an empty target")

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields the template names."""
        return tuple(dict.fromkeys((*pattern_fields(self.inputs), *pattern_fields(self.targets))))

    @property
    def instruction(self) -> str:
        """What the prompt says beside its fields, white space folded."""
        return " ".join(re.sub(r"\{\w+\}", " ", self.inputs).split())

    @property
    def has_options(self) -> bool:
        """Whether the prompt ends in, or contains, the OPTIONS block."""
        return OPTIONS_FIELD in pattern_fields(self.inputs)

    def render(
        self,
        fields: Mapping[str, str],
        options: Sequence[str] = (),
        form: OptionsForm = DEFAULT_FORM,
    ) -> tuple[str, str]:
        """Returns (prompt, target).

        Args:
            fields: text of each field.
            options: the answers to choose from, in the order to show; needed where the template
                has an OPTIONS block.
            form: form of the OPTIONS block.
        """
        if self.has_options:
            fields = {**fields, OPTIONS_FIELD: form.block(options)}
        inputs = substitute(self.inputs, fields)
        if self.has_options and not fields[OPTIONS_FIELD]:  # leaves blank lines where it stood
            inputs = _BLANK_LINES.sub("\n\n", inputs).strip("\n")
        return inputs, substitute(self.targets, fields)


def check_templates(
    task: str, templates: Sequence[Template], fields: Iterable[str], kept: Iterable[str] = ()
) -> None:
    """Refuses templates that cannot be rendered or that repeat one another.

    Args:
        task: the task.
        templates: its templates.
        fields: that they may name.
        kept: those of them that are never shortened.

    Raises:
        DataError: names the task, the template's index and the field.
    """
    if not templates:
        raise DataError(f"task {task!r} has no templates")
    known = [*fields, OPTIONS_FIELD]
    if unknown := [field for field in kept if field not in known]:
        hint = did_you_mean(unknown[0], known)
        raise DataError(f"task {task!r}: unknown field {unknown[0]!r} to keep{hint}")
    seen: dict[tuple[str, str], int] = {}
    for index, template in enumerate(templates):
        for field in template.fields:
            if field not in known:
                raise DataError(
                    f"task {task!r}, template {index}: unknown field {field!r}"
                    + did_you_mean(field, known)
                )
        pair = (template.inputs, template.targets)
        if pair in seen:
            raise DataError(f"task {task!r}: templates {seen[pair]} and {index} are equal")
        seen[pair] = index
    if all(template.reversed for template in templates):
        raise DataError(f"task {task!r}: every template is reversed, none states the task")
