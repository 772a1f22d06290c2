"""Instructed tasks as ordinary SeqIO tasks.

`register_task` turns a source of raw examples and a `render` function into a SeqIO task whose
examples carry, beside token ids, everything that shaped them: example id, template id, options
and references. Whoever knows SeqIO or T5X needs to know nothing else.
"""

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions import cards, pipelines
from flan_jax.instructions.pipelines import Row
from flan_jax.instructions.rendering import Draws, current_rendering
from flan_jax.instructions.templates import Template, check_templates
from flan_jax.instructions.vocabulary import VOCABULARY

# Bump by hand whenever the code below, or a renderer, changes what it makes of the same inputs.
RENDERING_FORMAT = 1

# Columns of a rendered example and their ranks.
RENDERED_RANKS = {
    "inputs": 0, "targets": 0, "id": 0, "template": 0, "options": 1, "references": 1,
}  # fmt: skip
OUTPUT_FEATURES = {
    "inputs": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
    "targets": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
}


@dataclasses.dataclass(frozen=True)
class Rendered:
    """One example in words.

    Attributes:
        inputs: the prompt.
        targets: the answer to train on.
        template: id of the template or encoding that was used.
        options: the answers shown, in the order shown.
        references: all acceptable answers; `targets` is one of them unless reversed.
    """

    inputs: str
    targets: str
    template: str
    options: Sequence[str] = ()
    references: Sequence[str] = ()


RenderFn = Callable[[Mapping[str, Any], Draws], Rendered]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What shapes the renderings of a task, for the fingerprint of prepared records."""

    facts: Mapping[str, Any]

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the facts and the rendering format number."""
        text = json.dumps([RENDERING_FORMAT, self.facts], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_RECIPES: dict[str, Recipe] = {}


def get_recipe(task: str) -> Recipe:
    """Returns the recipe of a task; for a task from elsewhere, what SeqIO says of its source."""
    if task in _RECIPES:
        return _RECIPES[task]
    found = seqio.TaskRegistry.get(task)
    return Recipe(
        {
            "name": task,
            "source": repr(found.source),
            "splits": sorted(found.splits),
            "preprocessors": [_describe_function(step) for step in found.preprocessors],
        }
    )


def _describe_function(step: Any) -> str:
    """The source text of a preprocessor, or what else tells it from another one."""
    inner = getattr(step, "func", step)  # functools.partial
    arguments = [getattr(step, "args", ()), getattr(step, "keywords", {})]
    try:
        return f"{inspect.getsource(inner)}{arguments}"
    except (OSError, TypeError):
        return f"{getattr(inner, '__qualname__', type(inner).__qualname__)}{arguments}"


def rows_source(
    rows: Callable[[str], Sequence[Row]],
    fields: Mapping[str, str],
    counts: Mapping[str, int],
) -> seqio.FunctionDataSource:
    """Returns a SeqIO source of rows made by Python.

    Every example also gets the string field "split", the name of the split it was read from.

    Args:
        rows: the rows of a split, by position; called when a dataset is built, not before. Each
            row has a unique string "id".
        fields: the kind of each field: "string" or "strings" (a list of any length).
        counts: number of rows by split.
    """
    ranks = {"id": 0, **{name: {"string": 0, "strings": 1}[fields[name]] for name in fields}}

    def dataset_fn(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del shuffle_files, seed  # the order of rows is the source's own
        dataset = pipelines.rows_dataset(rows(split), ranks, counts[split])
        return dataset.map(lambda row: {**row, "split": tf.constant(split)})

    return seqio.FunctionDataSource(
        dataset_fn, splits=tuple(counts), num_input_examples=dict(counts)
    )


def render_preprocessor(task: str, render: RenderFn) -> Callable[..., tf.data.Dataset]:
    """Returns the SeqIO preprocessor that maps raw examples to rendered ones.

    The rendering in force when the dataset is built (`rendering.current_rendering`) is the one
    its examples get, however late and in whatever thread they are made.
    """

    def preprocess(dataset: tf.data.Dataset) -> tf.data.Dataset:
        key = current_rendering()

        def call(example: Row) -> Row:
            out = render(example, Draws(key, task, example["id"]))
            return {
                "inputs": out.inputs,
                "targets": out.targets,
                "id": example["id"],
                "template": out.template,
                "options": out.options,
                "references": out.references or [out.targets],
            }

        return pipelines.map_rows(dataset, call, RENDERED_RANKS)

    return preprocess


def _postprocess(output: Any, example: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
    """Predictions stay as they are; a target becomes the list of its references."""
    if kwargs.get("is_target") and example is not None and "references" in example:
        return [pipelines.to_python(reference) for reference in example["references"]]
    return output


def register_task(
    name: str,
    *,
    source: seqio.DataSource,
    render: RenderFn,
    facts: Mapping[str, Any],
    clean: Sequence[Callable[..., tf.data.Dataset]] = (),
    metric_fns: Sequence[Callable[..., Any]] | None = None,
) -> seqio.Task:
    """Registers one SeqIO task.

    Args:
        name: name in the SeqIO registry.
        source: raw examples; each has a unique string "id".
        render: makes words of a raw example; pure, so equal keys give equal words.
        facts: JSON-able facts that `render` and `source` depend on (templates, definition,
            source version or content hash): prepared records are rebuilt when they change.
        clean: SeqIO preprocessors over raw examples, before rendering.
        metric_fns: SeqIO metric functions; ROUGE-L and exact match where None.

    Raises:
        DataError: the name is taken.
    """
    from flan_jax.evaluation import metrics

    if name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names():
        raise DataError(f"a task or mixture named {name!r} is registered already")
    _RECIPES[name] = Recipe({"name": name, **facts})
    return seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            *clean,
            render_preprocessor(name, render),
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features=OUTPUT_FEATURES,
        postprocess_fn=_postprocess,
        metric_fns=list(metrics.GENERATION_METRICS if metric_fns is None else metric_fns),
    )


def templated_renderer(
    templates: Sequence[Template],
    fields: Sequence[str],
    options: Sequence[str] = (),
    answer: str = "answer",
) -> RenderFn:
    """Returns a renderer that draws one template per example.

    Reversed templates are drawn in the split "train" only: elsewhere a prompt has to ask for the
    task's own answer. Where a template is reversed, examples therefore need a string field
    "split", which `rows_source` writes.

    Args:
        templates: the ways of wording; the id of a template is its position, as `t<i>`.
        fields: names of the string fields of a raw example that templates may use.
        options: answers of a classification; where empty, the example's own field "options".
        answer: the field whose text is the reference; a reversed template's reference is its
            own target.
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
        template = templates[index]
        shown = tuple(options) or tuple(example.get("options", ()))
        texts = {field: example[field] for field in fields}
        inputs, targets = template.render(texts, shown)
        return Rendered(
            inputs=inputs,
            targets=targets,
            template=f"t{index}",
            options=shown if template.has_options else (),
            references=(targets,) if template.reversed else (texts[answer],),
        )

    return render


def register_templated_task(
    card: cards.Card,
    *,
    source: seqio.DataSource,
    fields: Sequence[str],
    templates: Sequence[Template],
    version: str,
    answer: str = "answer",
    clean: Sequence[Callable[..., tf.data.Dataset]] = (),
    variants: Mapping[str, Sequence[Template]] = MappingProxyType({}),
) -> cards.Card:
    """Registers a dataset with templates: its card and the SeqIO task of the same name.

    Args:
        card: what the dataset is; `templates` and `variants` are filled in here.
        source: raw examples with a string "id" and the string fields named in `fields`; also
            "split" where a template is reversed (see `templated_renderer`).
        fields: fields that templates may name.
        templates: at least one; see `templates.check_templates`.
        version: anything that changes when the source's rows change.
        answer: field with the reference answer.
        clean: see `register_task`.
        variants: templates of further SeqIO tasks over the same examples, by what is added to
            the name: "input" registers `<card.name>_input`.

    Raises:
        DataError: a template is wrong (task, template and field are named), or a name is taken.
    """
    if answer not in fields:
        raise DataError(f"task {card.name!r}: no field {answer!r}" + did_you_mean(answer, fields))
    sets = {card.name: templates}
    sets |= {f"{card.name}_{suffix}": own for suffix, own in variants.items()}
    as_json = {
        name: tuple(dataclasses.asdict(template) for template in own) for name, own in sets.items()
    }
    for name, own in sets.items():
        check_templates(name, own, fields)
    for name, own in sets.items():
        register_task(
            name,
            source=source,
            render=templated_renderer(own, fields, card.options, answer),
            facts={"templates": as_json[name], "options": list(card.options), "version": version},
            clean=clean,
        )
    return cards.register_card(
        dataclasses.replace(card, templates=as_json[card.name], variants=tuple(sets))
    )
