"""Instructed tasks as ordinary SeqIO tasks.

`register_task` turns a source of raw examples and a `render` function into a SeqIO task whose
examples carry, beside token ids, everything that shaped them: example id, template id, options
and references. Whoever knows SeqIO or T5X needs to know nothing else.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions import cards, long_prompts, mixtures, pipelines, recipes
from flan_jax.instructions.options import OptionsForm
from flan_jax.instructions.pipelines import Row

# A task file finds what its renderer returns here.
from flan_jax.instructions.rendering import (
    COUNTED,
    FIT,
    RANKED,
    RENDERED,
    AtBuild,
    RenderFn,
    render_preprocessor,
    templated_renderer,
)
from flan_jax.instructions.rendering import (
    RankedOption as RankedOption,
)
from flan_jax.instructions.rendering import (
    Rendered as Rendered,
)
from flan_jax.instructions.templates import Template, check_templates
from flan_jax.instructions.vocabulary import SENTINEL_VOCABULARY, VOCABULARY


def _features(vocabulary: seqio.Vocabulary) -> dict[str, seqio.Feature]:
    return {k: seqio.Feature(vocabulary, add_eos=True) for k in ("inputs", "targets")}


OUTPUT_FEATURES = _features(VOCABULARY)
# Columns of an example that comes in tokens.
TOKENIZED: dict[str, pipelines.Kind] = {
    **RENDERED, "inputs": "ints", "targets": "ints",
    "inputs_pretokenized": "string", "targets_pretokenized": "string",
}  # fmt: skip


def rows_source(
    rows: Callable[[str], Sequence[Row]],
    fields: Mapping[str, pipelines.Kind],
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
    kinds: dict[str, pipelines.Kind] = {"id": "string", **fields}

    def dataset_fn(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del shuffle_files, seed  # the order of rows is the source's own
        dataset = pipelines.rows_dataset(rows(split), kinds, counts[split])
        return dataset.map(lambda row: {**row, "split": tf.constant(split)})

    return seqio.FunctionDataSource(
        dataset_fn, splits=tuple(counts), num_input_examples=dict(counts)
    )


class LateRows(seqio.DataSource):
    """As `rows_source`, made when it is read.

    Of thousands few are read, and SeqIO's own source inspects signatures when it is made.
    """

    def __init__(
        self,
        rows: Callable[[str], Sequence[Row]],
        fields: Mapping[str, pipelines.Kind],
        splits: Sequence[str],
        counts: Callable[[], Mapping[str, int]],
    ):
        """Args:
        rows: see `rows_source`, like `fields`.
        fields: see there.
        splits: names of the splits.
        counts: returns the number of rows by split.
        """
        super().__init__(splits=tuple(splits), num_input_examples=None)
        self._late = rows, fields, counts

    @functools.cached_property
    def _made(self) -> seqio.FunctionDataSource:
        rows, fields, counts = self._late
        return rows_source(rows, fields, counts())

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Whether it can be cut into any number of shards: no."""
        return False

    def num_input_examples(self, split: str) -> int:
        """Returns the number of rows of a split."""
        return self._late[2]()[split]

    def list_shards(self, split: str) -> Sequence[str]:
        """Returns the names of its shards, of which there is one."""
        return [split]

    def get_dataset(self, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """Returns the raw examples of a split."""
        return self._made.get_dataset(*args, **kwargs)


def _postprocess(output: Any, example: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
    """Predictions stay as they are; a target becomes the list of its references."""
    if kwargs.get("is_target") and example is not None and "references" in example:
        return [pipelines.to_python(reference) for reference in example["references"]]
    return output


def _postprocess_ranked(output: Any, example: Mapping[str, Any] | None = None, **_: Any) -> Any:
    """A target becomes what `metrics.rank_classification` reads: (id, option, whether right)."""
    if example is None or "example_id" not in example:
        return output
    values = (example[name] for name in RANKED)
    example_id, index, is_correct = (pipelines.to_python(value) for value in values)
    return example_id, index, bool(is_correct)


def register_task(
    name: str,
    *,
    source: seqio.DataSource,
    render: RenderFn | AtBuild,
    facts: Mapping[str, Any],
    clean: Sequence[Callable[..., tf.data.Dataset]] = (),
    metric_fns: Sequence[Callable[..., Any]] | None = None,
    more_facts: Callable[[], Mapping[str, Any]] = dict,
    ranked: bool = False,
    sentinels: bool = False,
) -> seqio.Task:
    """Registers one SeqIO task.

    Args:
        name: name in the SeqIO registry.
        source: raw examples; each has a unique string "id".
        render: makes words of a raw example; pure, so equal keys give equal words.
        facts: JSON-able facts that `render` and `source` depend on (templates, definition,
            source version or content hash): prepared records are rebuilt when they change.
        clean: SeqIO preprocessors over raw examples, before rendering.
        metric_fns: SeqIO metric functions; where None, ROUGE-L and exact match, or rank
            classification.
        more_facts: called for further facts when prepared records are looked for.
        ranked: `render` returns `RankedOption`s, which are scored and not generated.
        sentinels: `<extra_id_0>` and the like in a text are tokens, as in span corruption; only
            where no text is somebody else's.

    Raises:
        DataError: the name is taken.
    """
    from flan_jax import metrics

    _declare(name, facts, more_facts)
    if metric_fns is None:
        metric_fns = [metrics.rank_classification] if ranked else metrics.GENERATION_METRICS
    return seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            *clean,
            render_preprocessor(name, render, ranked),
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features=_features(SENTINEL_VOCABULARY) if sentinels else OUTPUT_FEATURES,
        postprocess_fn=_postprocess_ranked if ranked else _postprocess,
        metric_fns=list(metric_fns),
    )


def _declare(
    name: str, facts: Mapping[str, Any], more_facts: Callable[[], Mapping[str, Any]]
) -> None:
    mixtures.check_free(name)
    recipes.declare(
        name,
        recipes.Recipe({"name": name, **facts}, lambda: {**more_facts(), **long_prompts.facts()}),
    )


def register_tokenized_task(
    name: str,
    *,
    source: seqio.DataSource,
    encoder: Callable[[], Callable[[Row], Sequence[Row]]],
    facts: Mapping[str, Any],
    more_facts: Callable[[], Mapping[str, Any]],
    counted: bool = False,
) -> seqio.Task:
    """Registers a SeqIO task whose tokens are made at once, since a text would not do.

    Args:
        name: see `register_task`, like `source`, `facts` and `more_facts`.
        source: raw examples.
        encoder: called whenever a dataset is built; what it returns makes of a raw example any
            number of examples with the columns `TOKENIZED`, and `FIT` where PROMPT_BUDGET is given.
        facts: JSON-able facts.
        more_facts: further ones; the vocabulary's fingerprint is not among what they have to say.
        counted: whether examples say which of their targets count, in a column `COUNTED`.

    Raises:
        DataError: the name is taken.
    """
    from flan_jax import metrics

    def preprocess(dataset: tf.data.Dataset) -> tf.data.Dataset:
        columns: dict[str, pipelines.Kind] = {**TOKENIZED}
        columns |= {COUNTED: "ints"} if counted else {}
        columns |= {FIT: "int"} if long_prompts.prompt_budget() else {}
        return pipelines.map_rows(dataset, encoder(), columns)

    _declare(name, facts, more_facts)
    features = {key: seqio.Feature(VOCABULARY, add_eos=False) for key in ("inputs", "targets")}
    return seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[preprocess],
        output_features=features,
        postprocess_fn=_postprocess,
        metric_fns=list(metrics.GENERATION_METRICS),
    )


def _templated(
    templates: Sequence[Template], fields: Sequence[str], options: Sequence[str], answer: str
) -> RenderFn:
    return templated_renderer(templates, fields, options, answer, OptionsForm.from_settings())


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
    for name, own in sets.items():
        check_templates(name, own, fields)
    for name, own in sets.items():
        _register_templates(name, source, fields, own, version, card.options, answer, clean)
    as_json = tuple(dataclasses.asdict(template) for template in templates)
    return cards.register_card(dataclasses.replace(card, templates=as_json, variants=tuple(sets)))


def _register_templates(
    name: str,
    source: seqio.DataSource,
    fields: Sequence[str],
    templates: Sequence[Template],
    version: str,
    options: Sequence[str],
    answer: str,
    clean: Sequence[Callable[..., tf.data.Dataset]] = (),
) -> None:
    """Registers one SeqIO task with templates."""
    as_json = tuple(dataclasses.asdict(template) for template in templates)
    register_task(
        name,
        source=source,
        render=AtBuild(functools.partial(_templated, templates, fields, options, answer)),
        facts={"templates": as_json, "options": list(options), "version": version},
        more_facts=lambda: OptionsForm.from_settings().facts(),
        clean=clean,
    )


def register_variant(
    entry: str,
    suffix: str,
    *,
    source: seqio.DataSource,
    fields: Sequence[str],
    templates: Sequence[Template],
    version: str,
    answer: str = "answer",
) -> None:
    """Registers one more SeqIO task of an entry, `<entry>_<suffix>`, with a source of its own.

    Args:
        entry: name on a registered card.
        suffix: what the task's name adds.
        source: raw examples, see `register_templated_task`.
        fields: fields that templates may name.
        templates: at least one.
        version: anything that changes when the source's rows change.
        answer: field with the reference answer.

    Raises:
        DataError: there is no such entry, a template is wrong, or the name is taken.
    """
    name = f"{entry}_{suffix}"
    check_templates(name, templates, fields)
    card = cards.add_variant(entry, name)
    _register_templates(name, source, fields, templates, version, card.options, answer)
