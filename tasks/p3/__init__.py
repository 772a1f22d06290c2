"""P3 (Sanh et al. 2022): the templates of promptsource over rows of their datasets.

Importing this module registers the folder of `templates.yaml` files that PROMPTSOURCE_DIR names
(gin macro or environment variable). Rows come from P3_DATA_DIR: `<dataset>[/<configuration>]/` with
a `<split>.jsonl`, or what `datasets` saved to disk, for each split, and the fields that the hub's
dataset has. Of datasets that are not there, TFDS is asked where its rows have the same fields. All
others are registered too, for selectors see their cards, and cannot be read.

With D the dataset, its configuration and the template's name as one word (what is no letter or
digit becomes one underscore), there are

* `p3_<dataset>`: each example in a drawn template; outside training, in one that asks for the
  dataset's own task;
* `p3_<dataset>_<template>`: one template; answers are generated, and judged as promptsource says;
* `p3_<dataset>_<template>_rank`: where the template has options, these are ranked.

Mixtures: `p3_<dataset>_eval_rank` has the ranked templates of a dataset's own task, `t0_eval`
those of T0's 11 held-out sets. `t0_train`, `t0_plus_train` and `t0_pp_train` have all templates of
what T0, T0+ and T0++ are trained on, at T0's rates (`t0.rate`). The split "test" of a held-out set
is the one that T0 was tested on, its validation rows; ANLI's rounds are datasets of their own.

A rendering depends on the example's id, the template and nothing else, also where a template draws.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from etils import epath

from flan_jax import files, json_files, metrics, settings
from flan_jax.errors import DataError, quoted, within
from flan_jax.instructions import (
    cards,
    checks,
    pipelines,
    promptsource,
    protocols,
    rendering,
    row_files,
    sandbox,
)
from flan_jax.instructions.draws import Draws, current_rendering
from flan_jax.instructions.file_index import FileIndex
from flan_jax.instructions.promptsource import Template
from flan_jax.instructions.rendering import AtBuild, Rendered
from flan_jax.instructions.suite import Suite
from flan_jax.instructions.tfds_source import AbsentSource, TfdsSource
from tasks.p3 import t0

PREFIX, RANK = "p3_", "_rank"
# Bumped by hand when the same files give other prompts, or something else is kept of them.
_FORMAT = 1
# By what promptsource calls them; of AUC, mean squared error and "Other" there is none.
METRICS: Mapping[str, Callable[..., dict[str, float]]] = {
    "accuracy": metrics.exact_match_metric,
    "rouge": metrics.rouge_metric,
    "bleu": metrics.bleu_metric,
    "squad": metrics.squad_metric,
    "coqa f1": metrics.squad_metric,
    "trivia qa": metrics.squad_metric,
    "edit distance": metrics.edit_distance_metric,
    "pearson correlation": metrics.correlation_metric,
    "spearman correlation": metrics.correlation_metric,
}
_PLAIN = {split: split for split in ("train", "validation", "test")}
_NO_TEST = {split: split for split in ("train", "validation")}
# Datasets that TFDS has with the fields of the hub's, and splits of theirs by ours.
TFDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    **{
        f"super_glue_{name.replace('.', '_')}": (f"super_glue/{name}:1.0.2", _NO_TEST)
        for name in ("rte", "cb", "copa", "wic", "wsc.fixed", "boolq", "multirc", "record")
    },
    "glue_mrpc": ("glue/mrpc:2.0.0", _NO_TEST),
    "glue_qqp": ("glue/qqp:2.0.0", _NO_TEST),
    "imdb": ("imdb_reviews/plain_text:1.0.0", {"train": "train", "test": "test"}),
    "paws_labeled_final": ("paws_wiki/labeled_final_tokenized:1.1.0", _PLAIN),
    "cosmos_qa": ("cosmos_qa:1.0.0", _NO_TEST),
    "piqa": ("piqa:1.0.0", _NO_TEST),
    "squad_v2": ("squad/v2.0:3.0.0", _NO_TEST),
    "trivia_qa_unfiltered": ("trivia_qa/unfiltered:1.1.0", _NO_TEST),
    "web_questions": ("web_questions:1.0.0", {"train": "train", "test": "test"}),
    "cnn_dailymail_3_0_0": ("cnn_dailymail:3.4.0", _PLAIN),
    "gigaword": ("gigaword:1.2.0", _PLAIN),
    "multi_news": ("multi_news:2.1.0", _PLAIN),
    "samsum": ("samsum:1.0.0", _PLAIN),
    "xsum": ("xsum:1.1.0", _PLAIN),
}
_ROUNDS = ("r1", "r2", "r3")  # of ANLI, as splits of its rows
_TRIED_ROWS = 20


def slug(text: str) -> str:
    """Returns a name as T0 writes it: what is no letter or digit becomes one underscore."""
    return re.sub(r"\W+", "_", text)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A dataset with its templates and rows.

    Attributes:
        name: slug of the dataset and its configuration.
        dataset: as promptsource names it, with its configuration.
        sources: names of the dataset, for cards.
        templates: by the slug of their names.
        words: what each of them says beside its fields.
        source: the rows.
    """

    name: str
    dataset: str
    sources: tuple[str, ...]
    templates: Mapping[str, Template]
    words: Mapping[str, str]
    source: seqio.DataSource

    @property
    def original(self) -> dict[str, Template]:
        """The templates of the dataset's own task."""
        return {key: t for key, t in self.templates.items() if t.original_task}

    @property
    def ranked(self) -> list[str]:
        """Those of them whose options are ranked."""
        return [key for key, template in self.original.items() if template.answer_choices]


# Files


def _read_entry(path: epath.Path) -> dict[str, Any]:
    """Returns what the index keeps of a file of templates.

    Raises:
        DataError: it is none, or a template could not be run safely.
    """
    file = promptsource.read_file(path)
    kept = []
    for template in file.templates:
        with within(f"{path}: template {quoted(template.name)}"):
            for text in filter(None, (template.jinja, template.answer_choices)):
                sandbox.check(text)
            words = promptsource.instruction_side(template.jinja)
        kept.append({"template": dataclasses.asdict(template), "words": words})
    if not kept:
        raise DataError(f"{path}: 'templates' is empty")
    dataset = "/".join(filter(None, (file.dataset, file.subset)))
    return {"dataset": dataset, "sources": list(file.sources), "templates": kept}


_INDEX = FileIndex("promptsource", _FORMAT, _read_entry, "files of templates")


def read_folder(folder: str, data: str | None) -> list[Entry]:
    """Returns the entries of all files below a folder.

    Args:
        folder: of `templates.yaml` files.
        data: of rows.

    Raises:
        DataError: there are none, files are wrong, or two are of the same dataset.
    """
    paths = {str(path): path for path in promptsource.find_files(epath.Path(folder))}
    found: dict[str, tuple[str, Entry]] = {}
    for path, kept in _INDEX.build(folder, paths).items():
        for entry in _entries(path, kept, data):
            first, _ = found.setdefault(entry.name, (path, entry))
            if first != path:
                raise DataError(f"{path}: {first} has templates of {entry.dataset!r} already")
    return [entry for _, entry in found.values()]


def _entries(path: str, kept: Mapping[str, Any], data: str | None) -> Iterator[Entry]:
    templates: dict[str, Template] = {}
    words: dict[str, str] = {}
    for one in kept["templates"]:
        fields = {**one["template"], "metrics": tuple(one["template"]["metrics"])}
        template = Template(**fields)
        key = slug(template.name)
        if key in templates:
            raise DataError(f"{path}: two templates are named {quoted(template.name)}")
        templates[key], words[key] = template, one["words"]
    dataset, sources = kept["dataset"], tuple(kept["sources"])
    for part in _ROUNDS if dataset == "anli" else ("",):
        name = slug("_".join(filter(None, (dataset, part))))
        source = _source(name, dataset, part, data, path)
        yield Entry(name, dataset, sources, templates, words, source)


def _source(name: str, dataset: str, part: str, data: str | None, path: str) -> seqio.DataSource:
    """Returns the rows of a dataset: files, TFDS, or what says that there are none."""
    folder = files.inside(data, dataset, path) if data else None
    there = row_files.find_splits(folder) if folder else {}
    if part:
        there = {s.removesuffix(f"_{part}"): p for s, p in there.items() if s.endswith(f"_{part}")}
        there = {"validation" if split == "dev" else split: p for split, p in there.items()}
    if there:
        return row_files.RowFiles(_as_tested(name, there))
    if name in TFDS:
        builder, splits = TFDS[name]
        return TfdsSource(builder, _as_tested(name, splits))
    where = folder or f"P3_DATA_DIR/{dataset}"
    why = f"no rows: put them into {where} as <split>.jsonl, or as `save_to_disk` writes them"
    held_out = name in t0.DATASETS and t0.DATASETS[name].held_out
    return AbsentSource(dataset, ["train", *["test"] * held_out], why)


def _as_tested(name: str, splits: Mapping[str, Any]) -> dict[str, Any]:
    """Returns splits where "test" is what T0 was tested on."""
    if name in t0.DATASETS and t0.DATASETS[name].held_out and "validation" in splits:
        rest = {split: where for split, where in splits.items() if split != "validation"}
        return rest | {"test": splits["validation"]}
    return dict(splits)


# Rendering


Render = Callable[[Mapping[str, Any], Draws], Sequence[Rendered]]


def _renderer(entry: Entry, keys: Sequence[str], ranked: bool) -> Render:
    """Returns the renderer of some templates; generated and ranked prompts are the same."""
    rendering_key = current_rendering()

    def render(example: Mapping[str, Any], draws: Draws) -> Sequence[Rendered]:
        del draws  # keyed by the task, that of ranks another one
        key = keys[0]
        if len(keys) > 1:
            own = Draws(rendering_key, f"{PREFIX}{entry.name}", example["id"])
            usable = [k for k in keys if k in entry.original] or keys
            key = own.choice("template", keys if example["split"] == "train" else usable)
        own = Draws(rendering_key, f"{PREFIX}{entry.name}_{key}", example["id"])
        with within(f"{entry.dataset}, {example['id']}"):
            return _render(entry.templates[key], key, _row(example), own, ranked)

    return render


def _row(example: Mapping[str, Any]) -> Mapping[str, Any]:
    row = example["row"]
    return json_files.loads(row, "row") if isinstance(row, str) else pipelines.to_python_tree(row)


def _render(
    template: Template, key: str, row: Mapping[str, Any], draws: Draws, ranked: bool
) -> Sequence[Rendered]:
    if row.get("label") == -1:  # so datasets write that it is not told
        return ()
    prompt = promptsource.render(template, row, draws)
    if prompt is None:
        return ()
    rendered = Rendered(
        prompt.inputs,
        prompt.targets,
        key,
        prompt.options,
        (prompt.targets,),
        draft=promptsource.draft(template, row, draws, prompt),
    )
    if not ranked:
        return (rendered,)
    if prompt.targets not in prompt.options:
        raise DataError(
            f"template {quoted(template.name)}: the target {quoted(prompt.targets)} is none of the "
            f"options {quoted(list(prompt.options))}"
        )
    return rendering.rank_answers(rendered, prompt.options, (prompt.targets,))


# Registering

_SUITE = Suite("P3")
unregister = _SUITE.unregister


def register(folder: str, data: str | None = None) -> Suite:
    """Registers the templates of a folder; a second time it does nothing.

    Args:
        folder: of `templates.yaml` files.
        data: of rows.

    Raises:
        DataError: a folder is not as it should be, or others are registered in this process.
    """
    return _SUITE.register(_fill, folder, data)


def _fill(folder: str, data: str | None) -> None:
    entries = read_folder(folder, data)
    for entry in entries:
        _register_entry(entry)
    for mixture, groups in t0.MIXTURES.items():
        _SUITE.add_mixture(mixture, train_rates(entries, groups))
    held_out = (e for e in entries if e.name in t0.DATASETS and t0.DATASETS[e.name].held_out)
    _SUITE.add_mixture(
        t0.EVAL_MIXTURE, {name: 1.0 for entry in held_out for name in _ranked_tasks(entry)}
    )


def train_rates(entries: Sequence[Entry], groups: Sequence[t0.Group]) -> dict[str, float]:
    """Returns the rates of the tasks that T0 mixes, by `t0.rate`."""
    rates: dict[str, float] = {}
    for entry in entries:
        known = t0.DATASETS.get(entry.name)
        if known and known.group in groups:
            rate = float(t0.rate(known.size, len(entry.templates)))
            rates |= {f"{PREFIX}{entry.name}_{key}": rate for key in entry.templates}
    return rates


def _ranked_tasks(entry: Entry) -> list[str]:
    return [f"{PREFIX}{entry.name}_{key}{RANK}" for key in entry.ranked]


def _generated(entry: Entry) -> list[str]:
    return [f"{PREFIX}{entry.name}_{key}" for key in entry.original or entry.templates]


def _register_entry(entry: Entry) -> None:
    whole = f"{PREFIX}{entry.name}"
    variants: list[tuple[str, list[str], bool]] = [(whole, list(entry.templates), False)]
    for key, template in entry.templates.items():
        variants.append((f"{whole}_{key}", [key], False))
        if template.answer_choices is not None:
            variants.append((f"{whole}_{key}{RANK}", [key], True))
    for name, keys, ranked in variants:
        _SUITE.add_task(
            name,
            source=entry.source,
            render=AtBuild(functools.partial(_renderer, entry, keys, ranked)),
            facts={"p3": entry.dataset, "ranked": ranked, "format": _FORMAT},
            more_facts=functools.partial(_facts, entry, keys),
            metric_fns=None if ranked else _metrics(entry, keys),
            ranked=ranked,
        )
    _SUITE.add_card(
        _card(entry, tuple(name for name, _, _ in variants)),
        functools.partial(_problems, entry),
        functools.partial(_texts, entry),
        lambda: rendering.fits(_rendered_rows(entry)),
    )
    _SUITE.add_mixture(f"{whole}_eval_rank", dict.fromkeys(_ranked_tasks(entry), 1.0))
    for drawing, alone in ((f"{whole}{RANK}", _ranked_tasks(entry)), (whole, _generated(entry))):
        if alone:
            protocols.declare_templates(drawing, alone)


def _facts(entry: Entry, keys: Sequence[str]) -> dict[str, Any]:
    source = entry.source
    rows = source.facts() if isinstance(source, row_files.RowFiles) else {}
    if isinstance(source, TfdsSource):
        rows = {"tfds": source.tfds_name}
    return {"templates": {key: dataclasses.asdict(entry.templates[key]) for key in keys}, **rows}


def _metrics(entry: Entry, keys: Sequence[str]) -> list[Callable[..., dict[str, float]]] | None:
    """Returns what answers are judged by; ROUGE-L and exact match where promptsource names none."""
    own = {key: entry.templates[key] for key in keys}
    judged = [t for t in own.values() if t.original_task] or list(own.values())
    named = [METRICS.get(name.lower()) for template in judged for name in template.metrics]
    return list(dict.fromkeys(filter(None, named))) or None


def _card(entry: Entry, variants: tuple[str, ...]) -> cards.Card:
    known = t0.DATASETS.get(entry.name)
    stating = entry.original or entry.templates
    texts = [" ".join(entry.words[key].split()) for key in stating]
    ranked = all(template.answer_choices is not None for template in stating.values())
    return cards.Card(
        name=variants[0],
        cluster=slug(entry.dataset),
        kind="classification" if ranked else "generation",
        instructions=tuple(dict.fromkeys(filter(None, texts))) or (entry.dataset,),
        sources=entry.sources,
        templates=tuple(dataclasses.asdict(template) for template in entry.templates.values()),
        variants=variants,
        module=__name__,
        attributes={
            "suite": "p3",
            "dataset": entry.dataset,
            "t0_task": known.task if known else None,
            "t0_group": known.group if known else None,
            "t0_held_out": bool(known and known.held_out),
        },
    )


# What `flan-jax tasks check` asks


def _some_rows(entry: Entry) -> list[Mapping[str, Any]]:
    """Returns the first rows, none where there are none on this machine."""
    if isinstance(entry.source, AbsentSource):
        return []
    if isinstance(entry.source, TfdsSource) and not entry.source.is_there:
        return []
    split = "train" if "train" in entry.source.splits else sorted(entry.source.splits)[0]
    if isinstance(entry.source, row_files.RowFiles):
        rows = entry.source.rows(split)
        return [{**rows[i], "split": split} for i in range(min(len(rows), _TRIED_ROWS))]
    dataset = entry.source.get_dataset(split, shuffle=False).take(_TRIED_ROWS)
    return [pipelines.to_python_tree(row) for row in pipelines.read_rows(dataset)]


def _problems(entry: Entry) -> list[str]:
    """Returns which templates fail on the first rows; all were read when they were registered."""
    rows, found = _some_rows(entry), []
    for key, template in entry.templates.items():
        render = _renderer(entry, [key], template.answer_choices is not None)
        try:
            if rows and not any(render(row, Draws(current_rendering(), "", "")) for row in rows):
                found.append(f"{template.name}: has nothing to ask of the first {len(rows)} rows")
        except DataError as error:
            found.append(str(error))
    return found


def _texts(entry: Entry) -> Iterator[str]:
    yield from entry.words.values()
    yield from checks.texts_of(_rendered_rows(entry))


def _rendered_rows(entry: Entry) -> Iterator[Rendered]:
    """Yields the first rows in each template."""
    for key in entry.templates:
        for row in _some_rows(entry):
            with contextlib.suppress(DataError):  # which is a problem of its own
                yield from _renderer(entry, [key], False)(row, Draws(current_rendering(), "", ""))


def _settings() -> tuple[str, str | None]:
    what = "the folder of promptsource's templates (promptsource/templates of a clone)"
    folder = settings.folder_setting("PROMPTSOURCE_DIR", what)
    if not settings.setting("P3_DATA_DIR"):
        return folder, None
    return folder, settings.folder_setting("P3_DATA_DIR", "the folder of the datasets' rows")


register(*_settings())
