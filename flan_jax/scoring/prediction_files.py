"""Predictions of any system, read from the forms in which they are published.

* `leaderboard`: JSONL of `id` and `prediction`.
* `tk_instruct`: JSONL of `Task`, `Instance` and `prediction` (predicted_examples.jsonl); older
  files have no ids, so there the input tells which instance is meant.
* `ni_v1`: one JSON object of prediction sets by name, `<task>@<encoding>@<examples>_<count>`, each
  a list of `index` (into the task's instances) and `output`; or one set under "predictions".
* `bbh`: one JSON object with "outputs", a list of `prediction` and `target`, as those of a task of
  BIG-Bench Hard are published, or a folder of such files. Of a chain of thought the answer is
  scored.
* `flan_jax`: predictions.jsonl of `flan-jax eval`, or the folder it lies in.

`match` puts predictions and references together. It drops nothing silently: what is missing
counts as an empty answer, of several answers to one instance the last one counts, as in the
published scorer, and all of that is counted.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from etils import epath

from flan_jax import files
from flan_jax.errors import MOST_QUOTED, ConfigError, DataError, border, did_you_mean, quoted
from flan_jax.json_files import (
    Fields,
    first_object,
    kind,
    loads,
    read_rows,
    some_fields,
)
from flan_jax.metrics import final_answer
from flan_jax.scoring.references import (
    UNCATEGORIZED,
    Reference,
    References,
    is_published,
    task_key,
    v1_id,
)

Format = Literal["leaderboard", "tk_instruct", "ni_v1", "bbh", "flan_jax"]
FORMATS: tuple[str, ...] = get_args(Format)
PREDICTIONS_FILE = "predictions.jsonl"
# Ids quoted in messages.
_QUOTED = 3
# Instances of a task that the first release evaluates on.
V1_COUNT = 100
_MOST_INDEX = 10**9
# Of a file of BIG-Bench Hard: its task.
_BBH_NAME = re.compile(r"(?P<task>.+?)_(?:few|zero)_shot_.*", re.DOTALL)
# A task of it whose answers are chains of thought.
_COT_NAME = re.compile(r"bbh_.+_cot", re.DOTALL)
_V1_NAME = re.compile(r"(?P<task>[^@]+)@.*_(?P<count>[1-9][0-9]{0,5})", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One prediction as a file has it.

    Attributes:
        prediction: the text.
        id: id of the instance, empty where the file gives none.
        task: its task, empty where the file does not say.
        input: the instance's input, empty where the file does not say.
        index: position among the task's instances, where the file says that instead of an id.
        carried: the instance itself, where the file has its references.
    """

    prediction: str
    id: str = ""
    task: str = ""
    input: str = ""
    index: int | None = None
    carried: Reference | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        if self.index is not None:
            return v1_id(self.task, self.index)
        return self.id or f"{self.task}: {quoted(self.input, 40)}"


@dataclasses.dataclass(frozen=True)
class PredictionSet:
    """The predictions of one system in one setting.

    Attributes:
        name: of the set.
        answers: in the order of the file.
        task: the only task it is about, empty where it is about all of the references.
        count: number of predictions that it was meant to have, where its name says so.
    """

    name: str
    answers: tuple[Answer, ...]
    task: str = ""
    count: int = V1_COUNT


@dataclasses.dataclass(frozen=True)
class Matched:
    """A prediction set with its references.

    Attributes:
        name: of the set.
        pairs: what is scored, in the order of the references.
        predictions: number of answers in the file.
        missing: ids of instances without an answer; they are scored as empty.
        duplicate: ids of answers that a later one replaced.
        unknown: ids of answers to what is no instance; not scored.
        other_track: ids of answers to instances of another track; not scored.
    """

    name: str
    pairs: tuple[tuple[Reference, str], ...]
    predictions: int
    missing: tuple[str, ...] = ()
    duplicate: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    other_track: tuple[str, ...] = ()


COUNTED = ("missing", "duplicate", "unknown", "other_track")


def read_predictions(path: str, format: str = "auto") -> tuple[list[PredictionSet], str]:
    """Returns the prediction sets of a file, and its format.

    Args:
        path: the file, or a folder of `flan-jax eval`.
        format: one of FORMATS, or "auto".

    Raises:
        ConfigError: no such format.
        DataError: there is no such file, it is of another format, or something in it is wrong.
    """
    if format not in (*FORMATS, "auto"):
        known = (*FORMATS, "auto")
        raise ConfigError(f"no format {format!r}{did_you_mean(format, known)}; there are {known}")
    where = epath.Path(path)
    with border(str(path)):  # a name may be too long for the system to look for
        several = _files(where)
    sets: list[PredictionSet] = []
    for file in several:
        text = files.read_text(file)
        if format == "auto":
            format = _detect(file, text)
        found = list(_READERS[format](file, text))
        if not any(one.answers for one in found):
            raise DataError(f"{file} holds no predictions")
        sets += found
    if len(several) > 1:  # of one system
        answers = itertools.chain.from_iterable(one.answers for one in sets)
        sets = [PredictionSet(where.name, tuple(answers))]
    return sets, format


def _files(where: epath.Path) -> list[epath.Path]:
    """Returns the files that are named: one, or those of BIG-Bench Hard in a folder."""
    if not where.is_dir():
        return [where]
    single = where / PREDICTIONS_FILE
    return ([] if single.exists() else sorted(where.glob("*.json"))) or [single]


def _detect(file: epath.Path, text: str) -> str:
    """Returns the format of a file, judged by its first object."""
    head = first_object(text)
    if head is not None:
        if "prediction" in head:
            if "Instance" in head:
                return "tk_instruct"
            return "flan_jax" if "targets" in head and "task" in head else "leaderboard"
        if isinstance(head.get("outputs"), list):
            return "bbh"
        if head and all(isinstance(value, list) for value in head.values()):
            return "ni_v1"
    found = "no JSON object" if head is None else some_fields(head)
    raise DataError(
        f"{file} is in none of the formats {', '.join(FORMATS)}: it begins with {found}; "
        "see `flan-jax score --help`"
    )


def _read_leaderboard(file: epath.Path, text: str) -> Iterator[PredictionSet]:
    rows = read_rows(file, text)
    yield PredictionSet(
        file.stem, tuple(Answer(row.text("prediction"), row.name("id")) for row in rows)
    )


def _read_tk_instruct(file: epath.Path, text: str) -> Iterator[PredictionSet]:
    yield PredictionSet(file.stem, tuple(map(_tk_answer, read_rows(file, text))))


def _tk_answer(row: Fields) -> Answer:
    instance, task = row.inner("Instance"), row.name("Task")
    given = next((fields for fields in (row, instance) if "id" in fields.object), None)
    found_id = given.name("id") if given else ""
    carried = None
    if "output" in instance.object:
        categories = row.texts("Categories") if "Categories" in row.object else (UNCATEGORIZED,)
        # Without an id, the input tells one instance of a task from another.
        carried = Reference(
            task,
            found_id or instance.text("input"),
            categories[0],
            instance.texts("output"),
            published=True,
        )
    asked = "" if found_id else instance.text("input")
    return Answer(row.text("prediction"), found_id, task, asked, carried=carried)


def _read_flan_jax(file: epath.Path, text: str) -> Iterator[PredictionSet]:
    yield PredictionSet(file.stem, tuple(map(_flan_jax_answer, read_rows(file, text))))


def _flan_jax_answer(row: Fields) -> Answer:
    task, found_id = row.name("task"), row.name("id")
    carried = Reference(
        task, found_id, UNCATEGORIZED, row.texts("targets"), published=is_published(task)
    )
    return Answer(as_scored(task, row.text("prediction")), found_id, task, carried=carried)


def as_scored(task: str, said: str) -> str:
    """Returns what counts of an answer of ours, as the task itself is scored."""
    return final_answer(said) if _COT_NAME.fullmatch(task) else said


def _read_ni_v1(file: epath.Path, text: str) -> Iterator[PredictionSet]:
    """Yields the sets of the first release's file, named by task and encoding."""
    obj = loads(text, file)
    if not isinstance(obj, dict):
        raise DataError(f"{file}: not an object of prediction sets by name")
    if list(obj) == ["predictions"]:
        obj = {file.stem: obj["predictions"]}
    for name, rows in obj.items():
        if not isinstance(rows, list):
            raise DataError(f"{file}: the set {quoted(name)} is not a list of predictions")
        parts = _V1_NAME.fullmatch(name)
        task, count = (parts["task"], int(parts["count"])) if parts else (name, V1_COUNT)
        where = f"{file}: {name[:MOST_QUOTED]}"
        answers = [_v1_answer(f"{where}[{i}]", task, row) for i, row in enumerate(rows)]
        yield PredictionSet(name, tuple(answers), task, count)


def _v1_answer(where: str, task: str, row: Any) -> Answer:
    fields = Fields(where, row)
    index = fields.get("index")
    if type(index) is not int:
        fields.fail("index", f"must be a whole number, found {kind(index)}")
    if abs(index) > _MOST_INDEX:
        fields.fail("index", f"must be a position among instances, found {quoted(index)}")
    return Answer(fields.text("output"), task=task, index=index)


def _read_bbh(file: epath.Path, text: str) -> Iterator[PredictionSet]:
    named = _BBH_NAME.fullmatch(file.stem)
    task = f"bbh_{named['task'] if named else file.stem}"
    rows = Fields(str(file), loads(text, file)).items("outputs")
    answers = [_bbh_answer(file, task, *row) for row in enumerate(rows)]
    yield PredictionSet(file.stem, tuple(answers), task)


def _bbh_answer(file: epath.Path, task: str, position: int, row: Any) -> Answer:
    fields = Fields(f"{file}: outputs[{position}]", row)
    target, said = fields.name("target").strip(), final_answer(fields.text("prediction"))
    own_id = f"{task.removeprefix('bbh_')}/{position}"
    return Answer(said, own_id, task, carried=Reference(task, own_id, UNCATEGORIZED, (target,)))


_READERS: Mapping[str, Callable[[epath.Path, str], Iterable[PredictionSet]]] = {
    "leaderboard": _read_leaderboard,
    "tk_instruct": _read_tk_instruct,
    "ni_v1": _read_ni_v1,
    "bbh": _read_bbh,
    "flan_jax": _read_flan_jax,
}


def carried_references(sets: Sequence[PredictionSet]) -> References:
    """Returns the references that predictions carry with them.

    Raises:
        DataError: some carry none, or two that should agree do not.
    """
    found: dict[tuple[str, str], Reference] = {}
    for answer in itertools.chain.from_iterable(one.answers for one in sets):
        if answer.carried is None:
            raise DataError(
                f"the prediction {quoted(answer.label)} carries no references: give the folder or "
                "file that has them as --references"
            )
        first = found.setdefault(answer.carried.key, answer.carried)
        if first.references != answer.carried.references:
            raise DataError(f"{quoted(answer.label)} is there twice with different references")
    return References("predictions", tuple(found.values()))


def match(predictions: PredictionSet, references: References, *, carried: bool = False) -> Matched:
    """Puts each prediction to its references.

    Args:
        predictions: one set.
        references: what it is scored against.
        carried: whether these are its own.

    Raises:
        DataError: an id is used in several tasks, and the file does not say which is meant.
    """
    said: dict[tuple[str, str], str] = {}
    lost: dict[str, list[str]] = {"duplicate": [], "unknown": []}
    for answer in predictions.answers:
        instance = answer.carried if carried else _find(answer, references)
        if instance is None:
            lost["unknown"].append(answer.label)
            continue
        if instance.key in said:
            lost["duplicate"].append(answer.label)
        said[instance.key] = answer.prediction
    scored = _scored(predictions, references, said)
    others = references.elsewhere() if lost["unknown"] else frozenset()
    return Matched(
        predictions.name,
        tuple((instance, said.get(instance.key, "")) for instance in scored),
        len(predictions.answers),
        tuple(instance.id for instance in scored if instance.key not in said),
        tuple(lost["duplicate"]),
        tuple(name for name in lost["unknown"] if name not in others),
        tuple(name for name in lost["unknown"] if name in others),
    )


def _scored(
    predictions: PredictionSet, references: References, said: Mapping[tuple[str, str], str]
) -> list[Reference]:
    """Returns what counts: what the set should answer, and what it answered beside that."""
    if references.expected is None:
        return list(references.instances)
    tasks = [predictions.task] if predictions.task else dict.fromkeys(task for task, _ in said)
    due = {r.key for task in tasks for r in references.expected_of(task, predictions.count)}
    due |= said.keys()
    of_tasks = itertools.chain.from_iterable(references.by_task.get(task, ()) for task in tasks)
    return [instance for instance in of_tasks if instance.key in due]


def _find(answer: Answer, references: References) -> Reference | None:
    """Returns the instance that an answer is about, None where there is none."""
    if answer.index is not None:
        instances = references.by_task.get(answer.task, ())
        return instances[answer.index] if 0 <= answer.index < len(instances) else None
    if not answer.id:
        return references.by_input.get((task_key(answer.task), answer.input))
    candidates = references.by_id.get(answer.id, ())
    if len(candidates) > 1:
        key = task_key(answer.task)
        candidates = [found for found in candidates if task_key(found.task) == key]
        if not candidates and not answer.task:
            raise DataError(
                f"several tasks have an instance {quoted(answer.id)}: which one is meant?"
            )
    return candidates[0] if candidates else None


def counts(matched: Sequence[Matched]) -> dict[str, Any]:
    """Returns how many ids were found, missing, there twice, unknown or of another track."""
    found: dict[str, Any] = {
        "predictions": sum(one.predictions for one in matched),
        "scored": sum(len(one.pairs) for one in matched),
    }
    for what in COUNTED:
        found[what] = sum(len(getattr(one, what)) for one in matched)
    return found


_WORDS = {
    "missing": "instances without a prediction count as empty answers",
    "duplicate": "predictions were replaced by later ones with the same id",
    "unknown": "predictions have ids that the references do not have and are not scored",
    "other_track": "predictions are for another track and are not scored",
}


def notes(matched: Sequence[Matched]) -> list[str]:
    """Returns a sentence on each kind of id that was not simply scored, with examples."""
    found = []
    for what, words in _WORDS.items():
        ids = [name for one in matched for name in getattr(one, what)]
        if ids:
            shown = ", ".join(dict.fromkeys(name[:MOST_QUOTED] for name in ids[:_QUOTED]))
            found.append(f"{len(ids):,} {words}: {shown}{', ...' if len(ids) > _QUOTED else ''}")
    return found


def check_overlap(matched: Sequence[Matched], references: References) -> None:
    """Refuses predictions of which none is for any of the references.

    Raises:
        DataError: the two are of different things, surely.
    """
    if any(len(one.missing) < len(one.pairs) for one in matched):
        return
    lost = [name for one in matched for name in (*one.unknown, *one.other_track)]
    known = quoted(references.instances[0].id) if references.instances else "none"
    raise DataError(
        f"no prediction is for an instance of the references {quoted(references.name)}: the first "
        f"is for {quoted(lost[0])}, the references have {known} and others"
    )
