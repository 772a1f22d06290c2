"""A dataset of TFDS as instructed tasks: one declaration, all its SeqIO variants.

A `Dataset` says where rows come from, how a row becomes texts, and how the task can be worded.
`register_dataset` makes of it, with P the prefix of the collection and D the dataset:

* `P_D`: each example in one of the templates, drawn without state;
* `P_D_t<i>`: template i alone; `P_D_<k>templates`: the first k templates;
* `P_D_rank`, `P_D_t<i>_rank` (classification): one record a pair of prompt and option;
* `P_D_notemplate`, `P_D_name`: the ablations of FLAN (Wei et al. 2022, appendix B.2), the input
  alone, and the dataset's name and the input;
* each of them with `_fewshot` added: exemplars before the query (same paper, section 4.4).

Reversed templates are drawn in training only, and are never ranked.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import DataError
from flan_jax.instructions import (
    cards,
    checks,
    pipelines,
    protocols,
    recipes,
    registration,
    rendering,
)
from flan_jax.instructions.draws import Draws, current_rendering
from flan_jax.instructions.fewshot import Exemplars, FewShot
from flan_jax.instructions.long_prompts import kept_facts, prompt_budget
from flan_jax.instructions.options import DEFAULT_FORM, OptionsForm
from flan_jax.instructions.rendering import Rendered, RenderFn
from flan_jax.instructions.samples import sample_rows
from flan_jax.instructions.templates import Template, check_templates, pattern_fields
from flan_jax.instructions.tfds_source import TfdsSource

# A row of the source, as Python: str, numbers, (nested) lists and dicts.
Row = Mapping[str, Any]
# What a row says: a text by field name, "answer" among them, which is what is trained on; "options"
# and "references", all answers that count as right, are lists, where each example has its own.
Fields = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One dataset and how its task is worded.

    Attributes:
        name: short name, such as "rte".
        title: the name that the ablation `_name` shows, such as "RTE".
        cluster: cluster by which it is held out.
        tfds: `builder[/config]:version`.
        splits: TFDS split or slice of "train", "validation" and "test".
        read: makes fields of a row; None drops the row.
        fields: names of the fields beside "answer", "options" and "references".
        kept: those of them that long prompts keep whole, however long (see `long_prompts`).
        plain: the input alone, as a pattern of fields.
        instruction: one sentence that states the task.
        templates: the ways of wording it.
        options: answers of a classification, the same for every example, in the dataset's order.
        own_options: a classification whose examples have options of their own.
        metrics: SeqIO metric functions over generated text.
        rank_metrics: SeqIO metric functions over scores of options; rank classification where
            empty.
        sources: names of what the rows were made from, where it is more than the builder.
        licence: SPDX id, else the source's own words, else "unknown".
        language: ISO 639-1 code of the inputs.
        notes: what was decided about defects of the data or of earlier versions of this task.
        attributes: what the collection says beyond that.
    """

    name: str
    title: str
    cluster: str
    tfds: str
    splits: Mapping[str, str]
    read: Callable[[Row], Fields | None]
    fields: tuple[str, ...]
    plain: str
    instruction: str
    templates: tuple[Template, ...]
    options: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    own_options: bool = False
    metrics: tuple[Callable[..., Any], ...] = ()
    rank_metrics: tuple[Callable[..., Any], ...] = ()
    sources: tuple[str, ...] = ()
    licence: str = "unknown"
    language: str = "en"
    notes: str = ""
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def classification(self) -> bool:
        """Whether answers come from a list."""
        return bool(self.options) or self.own_options

    @property
    def known_fields(self) -> tuple[str, ...]:
        """Fields that templates may name."""
        return (*self.fields, "answer")

    @property
    def named_templates(self) -> dict[str, Template]:
        """Templates by id."""
        return {f"t{index}": template for index, template in enumerate(self.templates)}

    @property
    def ablations(self) -> dict[str, Template]:
        """The paper's two instruction ablations, by id."""
        name = f"[{self.title}] ".replace("{", "{{").replace("}", "}}")
        return {
            "notemplate": Template(self.plain, "{answer}"),
            "name": Template(name + self.plain, "{answer}"),
        }

    def read_fields(self, row: Row) -> dict[str, Any] | None:
        """Returns the fields of a row, checked; None where the row is dropped.

        Raises:
            DataError: a field is missing or is not text; names it.
        """
        found = self.read(row)
        if found is None:
            return None
        fields = dict(found)
        for name in self.known_fields:
            if not isinstance(fields.get(name), str):
                raise DataError(f"{self.name}: field {name!r} is {fields.get(name)!r}, not text")
        if not fields["answer"].strip():
            raise DataError(f"{self.name}: an answer is empty; drop such rows in `read`")
        if self.options:
            fields["options"] = self.options
        return fields


@dataclasses.dataclass(frozen=True)
class Variant:
    """One SeqIO task of a dataset.

    Attributes:
        suffix: what its name adds to the dataset's.
        templates: the templates it draws from, by id.
        ranked: whether options are scored.
        fewshot: whether exemplars come first.
        splits: which of the dataset's splits it has.
    """

    suffix: str
    templates: Mapping[str, Template]
    ranked: bool
    fewshot: bool
    splits: tuple[str, ...]


def variants(dataset: Dataset, template_counts: Sequence[int] = ()) -> Iterator[Variant]:
    """Yields all variants of a dataset.

    Args:
        dataset: the dataset.
        template_counts: k of the variants `_<k>templates`.
    """
    own, splits = dataset.named_templates, tuple(dataset.splits)
    sets: dict[str, Mapping[str, Template]] = {"": own}
    sets |= {f"_{name}": {name: template} for name, template in own.items()}
    for count in template_counts:
        sets[f"_{count}templates"] = dict(itertools.islice(own.items(), count))
    sets |= {f"_{name}": {name: template} for name, template in dataset.ablations.items()}
    for suffix, templates in sets.items():
        # What is only ever turned around is for training.
        reversed_only = all(template.reversed for template in templates.values())
        having = tuple(split for split in splits if split == "train" or not reversed_only)
        if not having:
            continue
        straight = {name: t for name, t in templates.items() if not t.reversed}
        kinds = [(suffix, templates, False)]
        if dataset.classification and straight and "templates" not in suffix:
            kinds.append((f"{suffix}_rank", straight, True))
        for name, chosen, ranked in kinds:
            yield Variant(name, chosen, ranked, False, having)
            if "train" in splits:
                yield Variant(name + protocols.FEWSHOT, chosen, ranked, True, having)


def draw_template(templates: Mapping[str, Template], split: str, draws: Draws) -> str:
    """Returns the id of the template of one example; reversed ones in training only."""
    eligible = [name for name, t in templates.items() if split == "train" or not t.reversed]
    return draws.choice("template", eligible)


@dataclasses.dataclass(frozen=True)
class _Renderer:
    """Makes words of the rows of one variant."""

    dataset: Dataset
    variant: Variant
    form: OptionsForm
    fewshot: FewShot | None

    def __call__(self, example: Mapping[str, Any], draws: Draws) -> Sequence[Rendered]:
        fields = self.dataset.read_fields(example["row"])
        if fields is None:
            return ()
        split = example["split"]
        rendered = self.one(fields, split, draws)
        if self.fewshot is not None:
            make = functools.partial(self._exemplar, split=split)
            rendered = self.fewshot.prompt(rendered, example["id"], draws, make)
        return self._ranked(rendered, fields) if self.variant.ranked else (rendered,)

    def one(self, fields: Fields, split: str, draws: Draws) -> Rendered:
        """Returns one example in one of the templates."""
        name = draw_template(self.variant.templates, split, draws)
        template = self.variant.templates[name]
        options = fields.get("options", ())
        return rendering.render_template(
            template, name, fields, draws, options, form=self.form, kept=self.dataset.kept
        )

    def _exemplar(self, fields: Fields, draws: Draws, split: str) -> tuple[str, str]:
        rendered = self.one(fields, split, draws)
        return rendered.inputs, rendered.targets

    def _ranked(self, rendered: Rendered, fields: Fields) -> Sequence[Rendered]:
        """One record an option, in the dataset's order."""
        options = list(fields["options"])
        right = set(fields.get("references", ())) or {fields["answer"]}
        if not right & set(options):
            raise DataError(f"{self.dataset.name}: none of {sorted(right)} is among {options}")
        said = dict(zip(options, options, strict=True))
        if rendered.options and self.form.target == "label":
            said = dict(zip(rendered.options, self.form.answers(rendered.options), strict=True))
        answers = [said[option] for option in options]
        return rendering.rank_answers(rendered, answers, [said[o] for o in options if o in right])


# Returns id and fields of training rows, which exemplars are drawn from.
TrainingRows = Callable[[], Iterable[tuple[str, Fields]]]


def make_renderer(
    dataset: Dataset, variant: Variant, training_rows: TrainingRows | None = None
) -> RenderFn:
    """Returns the renderer of a variant, by the settings that hold now.

    Args:
        dataset: the dataset.
        variant: one of its variants.
        training_rows: needed by a few-shot variant.
    """
    fewshot = None
    if variant.fewshot and training_rows:
        key = f"{dataset.name} {dataset.tfds} {dataset.splits['train']}"
        fewshot = FewShot.from_settings(Exemplars.of(key, training_rows))
    return _Renderer(dataset, variant, OptionsForm.from_settings(), fewshot)


def render_samples(task: str, rows: Sequence[Row] | None = None) -> list[tuple[str, Rendered]]:
    """Returns example id and rendering of sample rows, as if they were the training split.

    Args:
        task: SeqIO task that `register_dataset` made.
        rows: raw rows; the collection's samples where None.

    Raises:
        DataError: the task is of another kind, or there are no samples.
    """
    made_from = find_registered(task)
    if made_from is None:
        raise DataError(f"task {task!r} has no sample rows")
    rows = made_from.samples if rows is None else rows
    read = made_from.dataset.read_fields
    kept = [(f"sample/{i}", fields) for i, row in enumerate(rows) if (fields := read(row))]
    fewshot = FewShot.from_settings(Exemplars(lambda: kept)) if made_from.variant.fewshot else None
    render = _Renderer(made_from.dataset, made_from.variant, OptionsForm.from_settings(), fewshot)
    found: list[tuple[str, Rendered]] = []
    for example_id, row in ((f"sample/{i}", row) for i, row in enumerate(rows)):
        draws = Draws(current_rendering(), task, example_id)
        made = render({"id": example_id, "split": "train", "row": row}, draws)
        found += [(example_id, o) for o in rendering.within_budget(made, prompt_budget())]
    return found


def _training_rows(dataset: Dataset, source: TfdsSource) -> Iterator[tuple[str, Fields]]:
    """Yields id and fields of the training rows that are kept, in the order of the source."""
    for example in pipelines.read_rows(source.get_dataset("train", shuffle=False)):
        example = pipelines.to_python_tree(example)
        fields = dataset.read_fields(example["row"])
        if fields is not None:
            yield example["id"], fields


@dataclasses.dataclass(frozen=True)
class Registered:
    """What a SeqIO task was made from: the dataset, its entry's name and module, the variant."""

    dataset: Dataset
    variant: Variant
    entry: str
    module: str

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Sample rows of the dataset.

        Raises:
            DataError: its collection has none.
        """
        return sample_rows(self.module, self.dataset.cluster, self.dataset.name)


_REGISTERED: dict[str, Registered] = {}


def find_registered(task: str) -> Registered | None:
    """Returns what a SeqIO task was made from, or None where it is not of this kind."""
    return _REGISTERED.get(task)


def register_dataset(
    dataset: Dataset, *, prefix: str, module: str, template_counts: Sequence[int] = ()
) -> cards.Card:
    """Registers a dataset: its card and all its variants.

    Args:
        dataset: the dataset.
        prefix: what names begin with, such as "flan_".
        module: task module, for the card.
        template_counts: see `variants`.

    Raises:
        DataError: a template is wrong (task, template and field are named), or a name is taken.
    """
    name = prefix + dataset.name
    check_templates(name, dataset.templates, dataset.known_fields, dataset.kept)
    check_templates(name, list(dataset.ablations.values()), dataset.known_fields)
    registered = []
    whole = TfdsSource(dataset.tfds, dataset.splits)
    sources = {tuple(dataset.splits): whole}
    for variant in variants(dataset, template_counts):
        if variant.splits not in sources:
            parts = {split: dataset.splits[split] for split in variant.splits}
            sources[variant.splits] = TfdsSource(dataset.tfds, parts)
        registered.append(name + variant.suffix)
        _REGISTERED[registered[-1]] = Registered(dataset, variant, name, module)
        rows = functools.partial(_training_rows, dataset, whole)
        make = functools.partial(make_renderer, dataset, variant, rows)
        registration.register_task(
            name + variant.suffix,
            source=sources[variant.splits],
            render=rendering.AtBuild(make),
            facts={"tfds": dataset.tfds},
            more_facts=functools.partial(_facts, dataset, variant),
            metric_fns=(dataset.rank_metrics if variant.ranked else dataset.metrics) or None,
            ranked=variant.ranked,
        )
    for drawing, alone in _template_sets(dataset).items():
        protocols.declare_templates(name + drawing, [name + suffix for suffix in alone])
    card = cards.register_card(_card(dataset, name, module, registered))
    made_from = _REGISTERED[name]
    checks.declare(
        name,
        lambda: check_dataset(dataset, made_from.samples),
        lambda: checks.texts_of(rendered_samples(dataset, made_from.samples)),
        lambda: rendering.fits(rendered_samples(dataset, made_from.samples)),
    )
    return card


def _template_sets(dataset: Dataset) -> dict[str, list[str]]:
    """Returns suffixes of tasks that are asked in one template, by that of the one that draws."""
    sets: dict[str, list[str]] = {}
    for variant in variants(dataset):
        (template_id, template), *others = variant.templates.items()
        if others or template.reversed or not variant.suffix.startswith(f"_{template_id}"):
            continue
        if template_id not in dataset.named_templates:
            continue
        drawing = variant.suffix.removeprefix(f"_{template_id}")
        sets.setdefault(drawing, []).append(variant.suffix)
    return sets


def _facts(dataset: Dataset, variant: Variant) -> dict[str, Any]:
    """What shapes the renderings of a variant."""
    return {
        "splits": {split: dataset.splits[split] for split in variant.splits},
        "templates": {id_: dataclasses.asdict(t) for id_, t in variant.templates.items()},
        "options": list(dataset.options),
        "read": recipes.describe_reader(dataset.read),
        **OptionsForm.from_settings().facts(),
        **(FewShot.facts() if variant.fewshot else {}),
        **kept_facts(dataset.kept),
    }


def _card(dataset: Dataset, name: str, module: str, variants: Sequence[str]) -> cards.Card:
    straight = [template for template in dataset.templates if not template.reversed]
    texts = [dataset.instruction, *(template.instruction for template in straight)]
    builder = dataset.tfds.split(":")[0]
    return cards.Card(
        name=name,
        cluster=dataset.cluster,
        kind="classification" if dataset.classification else "generation",
        instructions=tuple(dict.fromkeys(text for text in texts if text)),
        sources=dataset.sources or (builder,),
        licence=dataset.licence,
        language=dataset.language,
        version=dataset.tfds.rpartition(":")[2],
        options=dataset.options,
        templates=tuple(dataclasses.asdict(template) for template in dataset.templates),
        variants=tuple(variants),
        module=module,
        attributes={
            **dataset.attributes,
            "title": dataset.title,
            "tfds": dataset.tfds,
            "splits": dict(dataset.splits),
            "own_options": dataset.own_options,
            "notes": dataset.notes,
        },
    )


def check_dataset(dataset: Dataset, rows: Sequence[Row], count: int = 10) -> list[str]:
    """Returns what is wrong with a dataset's templates, a line each; see `flan-jax tasks check`.

    Args:
        dataset: the dataset.
        rows: raw rows to render.
        count: number of templates it should have.
    """
    found = []
    if len(dataset.templates) != count:
        found.append(f"has {len(dataset.templates)} templates, not {count}")
    turned = sum(template.reversed for template in dataset.templates)
    if turned > 3:
        found.append(f"turns {turned} templates around; at most three")
    if dataset.templates[0].reversed:
        found.append("t0 is reversed; subsets of the templates begin with it")
    kept = [fields for row in rows if (fields := dataset.read_fields(row)) is not None]
    if not kept:
        found.append("none of the sample rows is kept")
    named = [(name, t, False) for name, t in dataset.named_templates.items()]
    named += [(name, t, True) for name, t in dataset.ablations.items()]
    for name, template, ablation in named:
        found += [f"{name}: {p}" for p in _template_problems(dataset, template, ablation)]
    for fields in kept if not found else ():
        found += _rendered_problems(dataset, fields)
    return list(dict.fromkeys(found))


def rendered_samples(dataset: Dataset, rows: Sequence[Row]) -> Iterator[Rendered]:
    """Yields raw rows in every template."""
    draws = Draws(current_rendering(), dataset.name, "check")
    for row in rows:
        if (fields := dataset.read_fields(row)) is None:
            continue
        options = fields.get("options", ())
        for name, template in dataset.named_templates.items():
            kept = dataset.kept
            yield rendering.render_template(template, name, fields, draws, options, kept=kept)


def _template_problems(dataset: Dataset, template: Template, ablation: bool) -> list[str]:
    """What can be seen of a template without any row."""
    known = {*dataset.known_fields, "options_"}
    found = [f"unknown field {f!r}" for f in template.fields if f not in known]
    shown = set(pattern_fields(template.inputs)) - {"options_"}
    asked = set(pattern_fields(template.targets))
    if not asked:
        found.append("the target is the same for every example")
    if leak := shown & asked:
        found.append(f"shows what it asks for: {', '.join(sorted(leak))}")
    if template.has_options and not dataset.classification:
        found.append("promises options, and the dataset has none")
    if template.has_options and template.reversed:
        found.append("is reversed and shows options")
    if dataset.classification and not (ablation or template.reversed or template.has_options):
        found.append("states the task of a classification without {options_}")
    if re.search(r"[^\n]\{options_\}|\{options_\}[^\n]", template.inputs):
        found.append("{options_} does not stand on a line of its own")
    if not template.reversed and "answer" not in asked:
        found.append("does not ask for the answer; is it reversed?")
    if not ablation and not template.reversed and "answer" in shown:
        found.append("shows the answer")
    if template.inputs != template.inputs.strip():
        found.append("begins or ends in white space")
    return found


def _rendered_problems(dataset: Dataset, fields: Fields) -> list[str]:
    """What can be seen of the renderings of one example."""
    found: list[str] = []
    seen: dict[str, str] = {}
    draws = Draws(current_rendering(), dataset.name, "check")
    options = fields.get("options", ())
    if dataset.classification:
        right = set(fields.get("references", ())) or {fields["answer"]}
        if not right & set(options):
            found.append(f"no answer among the options: {sorted(right)} and {list(options)}")
    for name, template in (dataset.named_templates | dataset.ablations).items():
        rendered = rendering.render_template(template, name, fields, draws, options)
        if not rendered.targets.strip() or not rendered.inputs.strip():
            found.append(f"{name}: renders to nothing")
        if template.has_options and DEFAULT_FORM.block(options) not in rendered.inputs:
            found.append(f"{name}: options do not appear")
        if template.reversed and len(rendered.targets) > 12 and rendered.targets in rendered.inputs:
            found.append(f"{name}: the prompt holds the target")
        key = " ".join(rendered.inputs.lower().split())
        if key in seen:
            found.append(f"{name}: renders as {seen[key]} does")
        seen[key] = name
    return found
