"""From a raw example to words: renderers, and the SeqIO preprocessor that applies one.

A renderer is a function of a raw example and its draws; what it returns is a `Rendered`, whose
columns travel with the token ids.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from flan_jax.errors import DataError
from flan_jax.instructions import long_prompts, pipelines
from flan_jax.instructions.budgets import Fit
from flan_jax.instructions.draws import Draws, current_rendering
from flan_jax.instructions.long_prompts import Draft, Texts
from flan_jax.instructions.options import DEFAULT_FORM, OptionsForm
from flan_jax.instructions.pipelines import Row
from flan_jax.instructions.templates import OPTIONS_FIELD, Template, pattern_fields

# Columns of a rendered example.
RENDERED: dict[str, pipelines.Kind] = {
    "inputs": "string", "targets": "string", "id": "string", "template": "string",
    "form": "string", "options": "strings", "references": "strings",
}  # fmt: skip


# What a record of rank classification, one pair of prompt and option, has beside them.
RANKED: dict[str, pipelines.Kind] = {
    "example_id": "string", "option_index": "int", "is_correct": "int",
}  # fmt: skip


# Feature beside "targets": 1 where a loss counts a target, else 0. Without it all count.
COUNTED = "targets_counted"
# What became of a prompt, a `budgets.Fit`; there where PROMPT_BUDGET is given.
FIT = "prompt_fit"
_FITTED: dict[str, pipelines.Kind] = {FIT: "int"}


@dataclasses.dataclass(frozen=True)
class Rendered:
    """One example in words.

    Attributes:
        inputs: the prompt.
        targets: the answer to train on.
        template: id of the template or encoding that was used.
        options: the answers shown, in the order shown.
        references: all acceptable answers; `targets` is one of them unless reversed.
        form: form of the OPTIONS block (`options.OptionsForm.name`); empty where there is none.
        draft: how the prompt is written anew where it is too long.
        fit: what became of the prompt.
    """

    inputs: str
    targets: str
    template: str
    options: Sequence[str] = ()
    references: Sequence[str] = ()
    form: str = ""
    draft: Draft | None = dataclasses.field(default=None, compare=False, repr=False)
    fit: Fit = Fit.WHOLE


@dataclasses.dataclass(frozen=True)
class RankedOption(Rendered):
    """One option of an example in words: the prompt, and the option as target.

    Attributes:
        option_index: position of the option in the dataset's own order.
        is_correct: whether it is the right one (or one of them).
    """

    option_index: int = 0
    is_correct: bool = False


def rank_answers(
    rendered: Rendered, answers: Sequence[str], references: Sequence[str]
) -> list[RankedOption]:
    """Returns one record an option of an example.

    Args:
        rendered: the example; its target is left out.
        answers: what a model is to say for each option, in the dataset's order.
        references: those of them that are right.
    """
    shared = {**vars(rendered), "references": references}
    return [
        RankedOption(
            **{**shared, "targets": answer}, option_index=index, is_correct=answer in references
        )
        for index, answer in enumerate(answers)
    ]


# No rendering drops the example, several make several of it (one a ranked option).
RenderFn = Callable[[Mapping[str, Any], Draws], Rendered | Sequence[Rendered]]


@dataclasses.dataclass(frozen=True)
class AtBuild:
    """A renderer that is made whenever a dataset is built: by the settings that then hold."""

    make: Callable[[], RenderFn]


def render_preprocessor(
    task: str, render: RenderFn | AtBuild, ranked: bool = False
) -> Callable[..., tf.data.Dataset]:
    """Returns the SeqIO preprocessor that maps raw examples to rendered ones.

    The rendering in force when the dataset is built (`draws.current_rendering`) is the one
    its examples get, however late and in whatever thread they are made.
    """

    def preprocess(dataset: tf.data.Dataset) -> tf.data.Dataset:
        key = current_rendering()
        function = render.make() if isinstance(render, AtBuild) else render
        budget = long_prompts.prompt_budget()
        kinds = RENDERED | (RANKED if ranked else {}) | (_FITTED if budget else {})

        def call(example: Row) -> list[Row]:
            rendered = function(example, Draws(key, task, example["id"]))
            return [_to_row(example["id"], out) for out in within_budget(rendered, budget)]

        return pipelines.map_rows(dataset, call, kinds)

    return preprocess


def within_budget(
    rendered: Rendered | Sequence[Rendered], budget: int | None
) -> Sequence[Rendered]:
    """Returns what a renderer made, its prompts shortened where they are longer than a budget.

    Args:
        rendered: of one example; options of it share a prompt.
        budget: most tokens of a prompt; None for any number.
    """
    made = [rendered] if isinstance(rendered, Rendered) else rendered
    if budget is None:
        return made
    fitted: dict[str, tuple[str, Fit]] = {}
    for out in made:
        if out.inputs not in fitted:
            fitted[out.inputs] = long_prompts.fit(out.inputs, out.draft, budget)
    return [_fitted(out, *fitted[out.inputs]) for out in made]


def fits(examples: Iterable[Rendered | Sequence[Rendered]]) -> Iterator[Fit]:
    """Yields what becomes of the prompts of examples under PROMPT_BUDGET."""
    budget = long_prompts.prompt_budget()
    for rendered in examples:
        yield from (out.fit for out in within_budget(rendered, budget)[:1])


def _fitted(out: Rendered, inputs: str, fit: Fit) -> Rendered:
    return dataclasses.replace(out, inputs=inputs, fit=max(fit, out.fit))


def _to_row(example_id: str, out: Rendered) -> Row:
    """The columns of a rendered example, and some that only some of them have."""
    row: Row = {
        "inputs": out.inputs,
        "targets": out.targets,
        "id": example_id,
        "template": out.template,
        "form": out.form,
        "options": out.options,
        "references": out.references or [out.targets],
        FIT: int(out.fit),
    }
    if isinstance(out, RankedOption):
        row |= {
            "id": f"{example_id}#{out.option_index}",
            "example_id": example_id,
            "option_index": out.option_index,
            "is_correct": int(out.is_correct),
            # Of options that share a prompt the first tells of it.
            FIT: 0 if out.option_index else int(out.fit),
        }
    return row


def render_template(
    template: Template,
    template_id: str,
    fields: Mapping[str, Any],
    draws: Draws,
    options: Sequence[str] = (),
    answer: str = "answer",
    form: OptionsForm = DEFAULT_FORM,
    kept: Sequence[str] = (),
) -> Rendered:
    """Returns one example in the words of one template.

    Args:
        template: the wording.
        template_id: its id.
        fields: texts by field; may have "options" and "references", lists.
        draws: choices of this rendering.
        options: answers of a classification; where empty, the example's own field "options".
        answer: the field whose text is the answer; a reversed template's reference is its own
            target.
        form: form of the OPTIONS block.
        kept: fields that are never shortened.

    Raises:
        DataError: labels are asked for and the answer is none of the options.
    """
    if not template.has_options:
        inputs, targets = template.render(fields)
        references = _references(template, targets, fields, answer)
        said = (targets, *references, *options, *fields.get("options", ()))
        draft = _draft(template, fields, (), form, {answer, *kept}, said)
        return Rendered(inputs, targets, template_id, references=references, draft=draft)
    shown = list(options) or list(fields["options"])
    if form.order == "shuffled":
        shown = [shown[index] for index in draws.permutation("options", len(shown))]
    if form.target == "label" and not template.reversed:
        if fields[answer] not in shown:
            raise DataError(f"the answer {fields[answer]!r} is none of the options {shown}")
        label = form.answers(shown)[shown.index(fields[answer])]
        fields = {**fields, answer: label, "references": (label,)}
    inputs, targets = template.render(fields, shown, form)
    references = _references(template, targets, fields, answer)
    said = (targets, *references, *shown)
    return Rendered(
        inputs,
        targets,
        template_id,
        options=tuple(shown) if form.style != "none" else (),
        references=references,
        form=form.name,
        draft=_draft(template, fields, shown, form, {answer, *kept}, said),
    )


def _draft(
    template: Template,
    fields: Mapping[str, Any],
    options: Sequence[str],
    form: OptionsForm,
    kept: Collection[str],
    said: Sequence[str],
) -> Draft:
    """Returns how a template's prompt is written of shorter fields.

    Args:
        template: the wording.
        fields: see `render_template`.
        options: the answers shown.
        form: form of the OPTIONS block.
        kept: fields that are never shortened.
        said: texts that are no matter of the prompt alone, the answer and the options.
    """

    def texts() -> Texts:
        fixed = {OPTIONS_FIELD, *kept, *pattern_fields(template.targets)}
        written = [name for name in pattern_fields(template.inputs) if name not in fixed]
        return {name: fields[name] for name in written if fields[name] not in said}

    def write(shorter: Texts, dropped: int) -> str:
        return template.render({**fields, **shorter}, options, form)[0]

    return Draft(texts, write)


def _references(
    template: Template, targets: str, fields: Mapping[str, Any], answer: str
) -> Sequence[str]:
    if template.reversed:
        return (targets,)
    return tuple(fields.get("references", ())) or (fields[answer],)


def templated_renderer(
    templates: Sequence[Template],
    fields: Sequence[str],
    options: Sequence[str] = (),
    answer: str = "answer",
    form: OptionsForm = DEFAULT_FORM,
) -> RenderFn:
    """Returns a renderer that draws one template per example.

    Reversed templates are drawn in the split "train" only: elsewhere a prompt has to ask for the
    task's own answer. Where a template is reversed, examples therefore need a string field
    "split", which `rows_source` writes.

    Args:
        templates: the ways of wording; the id of a template is its position, as `t<i>`.
        fields: names of the string fields of a raw example that templates may use.
        options: see `render_template`.
        answer: see `render_template`.
        form: see `render_template`.
    """
    straight = [index for index, template in enumerate(templates) if not template.reversed]

    def eligible(example: Mapping[str, Any]) -> Sequence[int]:
        if len(straight) < len(templates) and "split" not in example:
            raise DataError(
                f"example {example['id']!r} has no field 'split', which reversed templates need"
            )
        return range(len(templates)) if example.get("split") == "train" else straight

    def render(example: Mapping[str, Any], draws: Draws) -> Rendered:
        index = draws.choice("template", eligible(example))
        texts = {field: example[field] for field in fields}
        if "options" in example:
            texts["options"] = example["options"]
        return render_template(templates[index], f"t{index}", texts, draws, options, answer, form)

    return render
