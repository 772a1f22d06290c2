"""What a report is made of: evaluations, anybody's predictions, and training folders, read alike.

A place is told by what lies in it: `metrics.json` and `predictions.jsonl` are an evaluation,
`metrics.jsonl` is a training run, `results.json` several checkpoints, and everything else is read
as `flan-jax score` reads predictions. All of it may be anybody's, so all of it is data.
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from flan_jax import files, json_files, metrics
from flan_jax.errors import DataError, did_you_mean, quoted
from flan_jax.instructions import cards
from flan_jax.json_files import Fields
from flan_jax.scoring import prediction_files, report
from flan_jax.scoring.prediction_files import PredictionSet
from flan_jax.scoring.predictions import MOST_BYTES, Prediction, score_targets
from flan_jax.scoring.references import UNCATEGORIZED, Reference, References, is_published
from flan_jax.studies.report_runs import Answer, Points, Run, common_name, joined
from flan_jax.training.trackers import METRICS_FILE as TRAINING_FILE

RESULTS_FILE = "results.json"
# Of metrics.json: what is scores, and not a fact about the run.
_SCORES = ("overall", "by_category", "by_task", "by_prediction_set", "reported")
# Of an encoding of the first release in which a task was asked with other numbers of examples.
_FEWER = ("", ", fewer examples", ", fewest examples")
_FIELDS = tuple(field.name for field in dataclasses.fields(Prediction))
# Bytes of a file that its first object is looked for in.
_BEGINNING = 1 << 22
_MOST_FACTS, _LONGEST_FACT = 60, 300


class Asked(NamedTuple):
    """A run as the command line names it.

    Attributes:
        name: the user's name for it; empty where there is none.
        path: file or folder, maybe with `@SET` behind it.
    """

    name: str
    path: str


def read(asked: Sequence[Asked], format: str, references: References | None) -> list[Run]:
    """Returns the runs, in order; those of one name are put together.

    Args:
        asked: what was named.
        format: of predictions that are not ours, see `prediction_files.read_predictions`.
        references: what these are scored against, where they do not bring their own.

    Raises:
        DataError: a place holds no run, something in it is wrong, or two have one name and are
            not parts of one run.
    """
    found: list[tuple[bool, Run]] = []
    for one in asked:
        runs = list(_runs(one.path, format, references))
        for run in runs:
            own = f"{one.name}: {run.name}" if len(runs) > 1 else one.name
            named = dataclasses.replace(run, name=own) if one.name else run
            found.append((bool(one.name), named))
    labels = iter(_short([run.name for named, run in found if not named]))
    runs = [run if named else dataclasses.replace(run, name=next(labels)) for named, run in found]
    return joined(_categorized(run, references) for run in runs)


def _categorized(run: Run, references: References | None) -> Run:
    """Returns a run with the categories that references have for its tasks, whoever wrote them."""
    if references is None:
        return run
    known = {
        common_name(task): category for task, category in _categories(references.instances).items()
    }
    found = {task: known[common_name(task)] for task in run.tasks if common_name(task) in known}
    return dataclasses.replace(run, categories={**found, **run.categories})


def _short(paths: Sequence[str]) -> list[str]:
    """Returns the last parts of paths, as many as it takes to tell them apart."""
    parts = [path.rstrip("/").split("/") for path in paths]
    for count in range(1, max(map(len, parts), default=0) + 1):
        short = ["/".join(part[-count:]) for part in parts]
        if len(set(short)) == len(set(paths)):
            return short
    return list(paths)


def _runs(path: str, format: str, references: References | None) -> Iterator[Run]:
    """Yields the runs that lie at a path, named by it.

    Raises:
        DataError: there is none.
    """
    place, chosen = _place(path)
    if place.is_dir():
        if chosen:
            raise DataError(f"{path}: @{chosen} names a set of a file, and {place} is a folder")
        if runs := list(_of_folder(place)):
            yield from runs
            return
        if not list(place.glob("*.json")):
            raise DataError(_no_run(place))
    yield from _outside(place, chosen, format, references)


def _place(path: str) -> tuple[epath.Path, str]:
    """Returns a file or folder, and the prediction set of it that is meant, if one is named."""
    before, at, behind = path.rpartition("@")
    if at and before and not os.path.exists(path) and os.path.isfile(before):
        return epath.Path(before), behind
    return epath.Path(path), ""


def _no_run(place: epath.Path) -> str:
    names = ", ".join(sorted(one.name for one in place.iterdir())[:5]) or "nothing"
    return (
        f"{place} is no run: a folder of `flan-jax eval` has {report.METRICS_FILE} or "
        f"{report.PREDICTIONS_FILE}, or folders with them, one of `flan-jax train` has "
        f"{TRAINING_FILE}; it has {names}"
    )


def _of_folder(folder: epath.Path) -> Iterator[Run]:
    """Yields the runs of a folder of `eval` or `train`; none where it is neither."""
    if (folder / RESULTS_FILE).exists():
        results = Fields(f"{folder / RESULTS_FILE}", json_files.read_json(folder / RESULTS_FILE))
        if "checkpoints" in results.object:
            yield from _of_checkpoints(folder, results)
            return
    parts = [_of_evaluation(place) for place in _evaluations(folder)]
    if (folder / TRAINING_FILE).exists():
        parts.append(_of_training(folder))
    yield from joined(dataclasses.replace(part, name=str(folder)) for part in parts)


def _evaluations(folder: epath.Path) -> list[epath.Path]:
    """Returns the folders of an evaluation: this one, or those in it."""

    def is_one(place: epath.Path) -> bool:
        names = (report.METRICS_FILE, report.PREDICTIONS_FILE)
        return any((place / name).is_file() for name in names)

    if is_one(folder):
        return [folder]
    return [place for place in sorted(folder.iterdir()) if place.is_dir() and is_one(place)]


def _of_checkpoints(folder: epath.Path, results: Fields) -> Iterator[Run]:
    """Yields a run for each checkpoint that `flan-jax eval` asked, named by it."""
    for row in results.items("checkpoints"):
        fields = Fields(f"{results.where}: 'checkpoints'", row)
        name, mixtures = fields.name("checkpoint"), fields.inner("mixtures")
        parts = [
            _of_evaluation(_moved(folder, mixtures.inner(mixture), len(mixtures.object)))
            for mixture in mixtures.object
        ]
        named = [
            dataclasses.replace(part, name=name, facts={"checkpoint": name, **part.facts})
            for part in parts
        ]
        yield from joined(named)


def _moved(folder: epath.Path, mixture: Fields, mixtures: int) -> epath.Path:
    """Returns where the results of a mixture are, also where the folder was moved or copied.

    Raises:
        DataError: they are not below the folder.
    """
    parts = mixture.name("out").rstrip("/").split("/")
    below = "/".join(parts[-2 if mixtures > 1 else -1 :])
    place = files.inside(folder, below, mixture.where)
    if not place.is_dir():
        names = [str(one.relative_to(folder)) for one in folder.glob("*") if one.is_dir()]
        raise DataError(f"{mixture.where}: {place} is not there{did_you_mean(below, names)}")
    return place


# Evaluations


def _of_evaluation(folder: epath.Path) -> Run:
    """Returns the run in a folder of `flan-jax eval`; one of its two files may be missing."""
    file, notes = folder / report.METRICS_FILE, []
    summary = Fields(str(file), json_files.read_json(file) if file.exists() else {})
    scores = _scores(summary, "by_task") if file.exists() else {}
    answers: tuple[Answer, ...] = ()
    if (folder / report.PREDICTIONS_FILE).exists():
        answers = tuple(_own_answers(folder / report.PREDICTIONS_FILE))
    else:
        notes.append(f"{folder} has no {report.PREDICTIONS_FILE}: single examples are not compared")
    if not file.exists():
        notes.append(f"{folder} has no {report.METRICS_FILE}: scored by ROUGE-L and exact match")
    else:
        notes += report.notes({"by_task": scores})
        notes += _unscored(folder, scores, answers)
    return Run(
        str(folder),
        (str(folder),),
        scores,
        _scores(summary, "by_category") if "by_category" in summary.object else {},
        answers,
        _cards_of([*scores, *(answer.task for answer in answers)]),
        facts=_facts(summary.object),
        notes=tuple(notes),
    )


def _unscored(
    folder: epath.Path, scores: Mapping[str, Any], answers: Iterable[Answer]
) -> list[str]:
    tasks = sorted({answer.task for answer in answers} - scores.keys())
    if not tasks:
        return []
    named = ", ".join(tasks[:3]) + (", ..." if len(tasks) > 3 else "")
    return [f"{folder}: {report.METRICS_FILE} says nothing of {len(tasks)} tasks ({named})"]


def _scores(summary: Fields, key: str) -> dict[str, dict[str, Any]]:
    """Returns the scores by task or by category: what is a number, or null, and no interval.

    Raises:
        DataError: it is not there, or a number is none that can be drawn.
    """
    groups, found = summary.inner(key), {}
    for name in groups.object:
        group = groups.inner(name)
        found[name] = {
            metric: None if value is None else group.number(metric)
            for metric, value in group.object.items()
            if value is None or type(value) in (int, float)
        }
        counts = {"n", *report.COUNTS} & (group.object.keys() | {"n"})
        found[name] |= {metric: group.count(metric) for metric in counts}
    return found


def _own_answers(file: epath.Path) -> Iterator[Answer]:
    """Yields the answers of a predictions.jsonl; what is not scored may be missing."""
    for row in json_files.read_rows(file, most=MOST_BYTES):
        given = {name: row.object[name] for name in _FIELDS if name in row.object}
        known = {"template": "", "options": [], "prompt": "", **given}
        yield _own_answer(Prediction.from_fields(Fields(row.where, known)))


def _own_answer(said: Prediction) -> Answer:
    text = prediction_files.as_scored(said.task, said.prediction)
    published = is_published(said.task)
    return Answer(said.task, said.id, text, said.targets, said.prompt, said.template, published,
                  _credit(said))  # fmt: skip


def _credit(said: Prediction) -> float | None:
    """Returns how much of a ranked answer is right; nothing is said where several are best."""
    if not said.scores:
        return None
    if said.prediction:
        return float(said.prediction in said.targets)
    return metrics.rank_choices(*score_targets([said]))[said.id].credit


def _cards_of(tasks: Iterable[str]) -> dict[str, str]:
    """Returns the category of the tasks whose module was imported."""
    found = {task: cards.find_card(task) for task in dict.fromkeys(tasks)}
    return {task: card.cluster for task, card in found.items() if card}


def _facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what metrics.json says beside scores."""
    facts = {key: value for key, value in summary.items() if key not in _SCORES}
    return dict(list(_flat("", facts))[:_MOST_FACTS])


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the fields of an object and of those in it, by dotted name; a list is one text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value[:20]))[:_LONGEST_FACT]
    elif value is not None:
        yield prefix, value[:_LONGEST_FACT] if isinstance(value, str) else value


# Training


def _of_training(folder: epath.Path) -> Run:
    """Returns the curves in a folder of `flan-jax train`."""
    curves: dict[str, Points] = {}
    notes: tuple[str, ...] = ()
    try:
        for row in json_files.read_rows(folder / TRAINING_FILE):
            step = row.count("step")
            for name, value in row.object.items():
                if name != "step" and type(value) in (int, float) and math.isfinite(value):
                    curves.setdefault(name, []).append((step, value))
    except DataError as error:  # such as the line that a killed run was writing
        notes = (f"its curves end early: {error}",)
    steps = [points[-1][0] for points in curves.values()]
    facts = {"trained_steps": max(steps)} if steps else {}
    return Run(str(folder), (str(folder),), curves=curves, facts=facts, notes=notes)


# Predictions of anybody


def _outside(
    place: epath.Path, chosen: str, format: str, references: References | None
) -> Iterator[Run]:
    """Yields the runs of predictions that `flan-jax score` reads, one of each setting."""
    if place.is_file() and _is_ours(place, format):
        answers = tuple(_own_answers(place))
        known = _cards_of(answer.task for answer in answers)
        yield Run(str(place), (str(place),), answers=answers, categories=known)
        return
    sets, found_format = prediction_files.read_predictions(str(place), format)
    settings = _settings(sets, found_format, place)
    if chosen:
        if chosen not in settings:
            near = did_you_mean(chosen, settings) or f"; there are {', '.join(settings)}"
            raise DataError(f"{place} has no set {quoted(chosen)}{near}")
        settings = {chosen: settings[chosen]}
    for name, of_setting in settings.items():
        label = name if len(settings) > 1 or chosen else str(place)
        yield _of_sets(label, place, of_setting, found_format, references)


def _is_ours(place: epath.Path, format: str) -> bool:
    """Whether a file is one of `flan-jax eval`, whose prompts and templates are read as well."""
    if format != "auto":
        return format == "flan_jax"
    begin = files.read_bytes(place, _BEGINNING, whole=False).decode("utf-8-sig", "replace")
    head = json_files.first_object(begin) or {}
    return {"task", "id", "prediction", "targets"} <= head.keys() and "Instance" not in head


def _settings(
    sets: Sequence[PredictionSet], format: str, place: epath.Path
) -> dict[str, list[PredictionSet]]:
    """Returns the sets of a file by the setting in which a system was asked.

    Those of the first release are named <task>@<encoding>@<examples>_<count>. Sets of one encoding
    belong together; where a task was asked in one with more and with fewer examples, the most go
    with the most that other tasks have room for.
    """
    if format != "ni_v1":
        return {str(place): list(sets)}
    by_encoding: dict[str, dict[str, list[PredictionSet]]] = {}
    for one in sorted(sets, key=_examples, reverse=True):
        encoding = one.name.partition("@")[2].rpartition("@")[0].strip("_") or one.name
        by_encoding.setdefault(encoding, {}).setdefault(one.task, []).append(one)
    found: dict[str, list[PredictionSet]] = {}
    for encoding, of_tasks in sorted(by_encoding.items()):
        for of_task in of_tasks.values():
            for place_of, one in enumerate(of_task):
                less = _FEWER[min(place_of, len(_FEWER) - 1)]
                found.setdefault(encoding + less, []).append(one)
    return found


def _examples(one: PredictionSet) -> int:
    """Returns how many examples its prompts had, as its name says."""
    number = one.name.rpartition("@")[2].partition("_")[0]
    return int(number) if number.isdecimal() and len(number) < 7 else 0


def _of_sets(
    name: str,
    place: epath.Path,
    sets: Sequence[PredictionSet],
    format: str,
    references: References | None,
) -> Run:
    matched = _matched(sets, references)
    pairs = [pair for one in matched for pair in one.pairs]
    answers = tuple(
        Answer(r.task, r.id, text, r.references, r.input, published=r.published)
        for r, text in pairs
    )
    counts = prediction_files.counts(matched)
    facts = {"format": format, **{what: n for what, n in counts.items() if n}}
    return Run(
        name,
        (str(place),),
        answers=answers,
        categories={**_categories(r for r, _ in pairs), **_cards_of(r.task for r, _ in pairs)},
        facts=facts,
        notes=tuple(prediction_files.notes(matched)),
    )


def _matched(
    sets: Sequence[PredictionSet], references: References | None
) -> list[prediction_files.Matched]:
    """Returns predictions with references: those that are given, or else their own.

    Raises:
        DataError: they have none of their own, and are for none of those given.
    """
    if references is not None:
        matched = [prediction_files.match(one, references) for one in sets]
        carried = all(answer.carried for one in sets for answer in one.answers)
        if not carried or any(len(one.missing) < len(one.pairs) for one in matched):
            prediction_files.check_overlap(matched, references)
            return [one for one in matched if one.pairs]
    own = prediction_files.carried_references(sets)
    return [prediction_files.match(one, _of_set(one, own), carried=True) for one in sets]


def _of_set(one: PredictionSet, own: References) -> References:
    keys = {answer.carried.key for answer in one.answers if answer.carried}
    return References(own.name, tuple(r for r in own.instances if r.key in keys))


def _categories(references: Iterable[Reference]) -> dict[str, str]:
    return {r.task: r.category for r in references if r.category != UNCATEGORIZED}
