"""What predictions are scored against: instances with all of their acceptable answers.

They are read from one of

* a Super-NaturalInstructions folder (`tasks/`, `splits/`): the first 100 instances of each test
  task of a track, which are the official test instances (Wang et al. 2022, section 5.1);
* one task file of it;
* a JSONL file in the leaderboard's form: `id`, `references`, and where they are known `task_id`,
  `task_category` and `track`;
* the folder `dataset_jsons` of the first release, or one file of it, whose instances have no id
  and are named `<task>-<position>`;
* or the predictions themselves, where they carry their references.
"""

import collections
import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions import schema, schema_v1
from flan_jax.json_files import (
    first_object,
    read_rows,
    skip_blanks,
    some_fields,
)  # fmt: skip

TRACKS = ("default", "xlingual")
UNCATEGORIZED = "uncategorized"
# Test tasks are tested on their first 100 instances (Wang et al. 2022, section 5.1).
TEST_INSTANCES = 100
# The first release leaves so many instances of a task to examples and samples from the rest.
_V1_FIRST = 60
# The categories of its subtasks, by number, which the files do not name: question and answer
# generation, classification, incorrect answer generation, minimal modification, verification
# (Mishra et al. 2022, section 3.3 and appendix).
V1_CATEGORIES: Mapping[str, tuple[int, ...]] = {
    "QG": (1, 3, 6, 9, 12, 15, 23, 26, 31, 32, 40, 48, 60),
    "AG": (2, 4, 7, 10, 13, 16, 24, 28, 33, 41, 43, 47, 51, 54, 58, 61),
    "CF": (18, 19, 20, 21, 22, 27, 46, 49, 50, 52, 56, 57),
    "IAG": (5, 8, 11, 14, 17, 25, 42, 55),
    "MM": (29, 30, 34, 35, 36, 37, 38, 45, 53, 59),
    "VF": (39, 44),
}
_NUMBERED = re.compile(r"(?:super_ni_)?(task\d+)(?=_)")


class Reference(NamedTuple):
    """One instance to be scored on.

    Attributes:
        task: its task, by the name that the references give it.
        id: its id, unique within the task.
        category: category of the task.
        references: all acceptable answers, at least one.
        input: what was asked, empty where the references do not say.
    """

    task: str
    id: str
    category: str
    references: tuple[str, ...]
    input: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells this instance from all others."""
        return self.task, self.id


@dataclasses.dataclass(frozen=True)
class References:
    """All instances that predictions may be about.

    Attributes:
        name: what they are, in one word; "mixture" of the results.
        instances: in the order of the source.
        absent_tasks: tasks of the track that the source lists and does not hold.
        elsewhere: returns the ids of the other tracks, to tell them from unknown ones.
        expected: where only some instances of a task are to be answered, their positions, given
            the task's number of instances and that of the predictions; all where None.
    """

    name: str
    instances: tuple[Reference, ...]
    absent_tasks: tuple[str, ...] = ()
    elsewhere: Callable[[], frozenset[str]] = frozenset
    expected: Callable[[int, int], Sequence[int]] | None = None

    @functools.cached_property
    def by_id(self) -> Mapping[str, Sequence[Reference]]:
        """Instances by id; one id may be used in several tasks."""
        found: dict[str, list[Reference]] = {}
        for instance in self.instances:
            found.setdefault(instance.id, []).append(instance)
        return found

    @functools.cached_property
    def by_task(self) -> Mapping[str, Sequence[Reference]]:
        """Instances by task."""
        found: dict[str, list[Reference]] = {}
        for instance in self.instances:
            found.setdefault(instance.task, []).append(instance)
        return found

    @functools.cached_property
    def by_input(self) -> Mapping[tuple[str, str], Reference]:
        """Instances by task and input, for predictions without ids."""
        return {(task_key(r.task), r.input): r for r in reversed(self.instances) if r.input}

    def expected_of(self, task: str, count: int) -> Sequence[Reference]:
        """Returns the instances that a set of `count` predictions for one task is about."""
        instances = self.by_task.get(task, ())
        if self.expected is None:
            return instances
        return [instances[position] for position in self.expected(len(instances), count)]


def task_key(task: str) -> str:
    """Returns what a task keeps when it is renamed, as task121 was: its number."""
    numbered = _NUMBERED.match(task)
    return numbered[1] if numbered else task.replace("-", "_")


def read_references(path: str, track: str = "default") -> References:
    """Returns the references that a folder or file holds.

    Args:
        path: see the module.
        track: "default" or "xlingual"; the first release has none.

    Raises:
        DataError: there is no such file, or something in it is wrong.
    """
    where = epath.Path(path)
    if where.is_dir():
        return _read_folder(where, track)
    text = files.read_text(where)
    head = first_object(text)
    if head is None:
        raise DataError(f"{path}: neither a JSON object nor lines of JSON objects")
    if "references" in head:
        return _read_lines(where, text, track)
    if "Instances" not in head:
        raise DataError(
            f"{path}: not a file of references: it has {some_fields(head)}; a line has 'id' and "
            "'references', a task file 'Instances'"
        )
    if "Examples" in head:
        return _v1_references(where.name.removesuffix(".json"), [where])
    return References(where.name.removesuffix(".json"), _read_super_ni_task(where))


def _read_folder(folder: epath.Path, track: str) -> References:
    if (folder / "splits").is_dir() and (folder / "tasks").is_dir():
        return _read_super_ni(folder, track)
    for candidate in (folder / "dataset_jsons", folder):
        files = sorted(candidate.glob("*.json")) if candidate.is_dir() else []
        if files:
            return _v1_references("natural_instructions_v1", files)
    raise DataError(
        f"{folder} holds no references: a Super-NaturalInstructions folder has 'tasks' and "
        "'splits', the first release 'dataset_jsons'"
    )


# Super-NaturalInstructions


def _read_super_ni(folder: epath.Path, track: str) -> References:
    """Returns the official test instances of a track.

    Raises:
        DataError: the track is not there, none of its tasks is, or a task file is wrong.
    """
    listed = _test_tasks(folder, track)
    files = {name: folder / "tasks" / f"{name}.json" for name in listed}
    present = [name for name in listed if files[name].exists()]
    if not present:
        raise DataError(
            f"{folder}/tasks holds none of the {len(listed)} test tasks of the track {track!r}"
        )
    instances = [instance for name in present for instance in _read_super_ni_task(files[name])]
    return References(
        f"super_ni_{track}_test",
        tuple(instances),
        tuple(name for name in listed if name not in set(present)),
        functools.partial(_ids_of_other_tracks, folder, track),
    )


def _test_tasks(folder: epath.Path, track: str) -> list[str]:
    file = folder / "splits" / track / "test_tasks.txt"
    if not file.exists():
        tracks = [path.name for path in (folder / "splits").iterdir() if path.is_dir()]
        raise DataError(f"{file} does not exist{did_you_mean(track, tracks)}")
    return list(dict.fromkeys(files.read_text(file).split()))


def _ids_of_other_tracks(folder: epath.Path, track: str) -> frozenset[str]:
    """Returns the ids of the test instances of all tracks but one."""
    found: set[str] = set()
    for other in sorted((folder / "splits").iterdir()):
        if other.name == track or not (other / "test_tasks.txt").exists():
            continue
        for name in _test_tasks(folder, other.name):
            file = folder / "tasks" / f"{name}.json"
            if file.exists():
                found.update(instance.id for instance in _read_super_ni_task(file))
    return frozenset(found)


def _read_super_ni_task(file: epath.Path) -> tuple[Reference, ...]:
    """Returns the test instances of a task file."""
    name = f"{file.parent.name}/{file.name}"
    task = schema.parse_task(task_head(files.read_text(file), TEST_INSTANCES), file=name)
    category = task.categories[0]
    return tuple(
        Reference(task.name, instance.id, category, instance.references, instance.input)
        for instance in task.instances[:TEST_INSTANCES]
    )


def task_head(text: str, most: int) -> Any:
    """Returns the object of a task file with its first instances only, or the text as it is.

    A file may hold 50 MB of instances of which 100 are wanted, so those behind are not parsed
    where everything else has come before.

    Args:
        text: JSON.
        most: number of instances that are wanted.
    """
    try:
        found = _head(text, most)
    except (ValueError, IndexError, RecursionError):
        return text  # whose errors the full reader names
    return text if found is None or set(schema.REQUIRED_FIELDS) - found.keys() else found


def _head(text: str, most: int) -> dict[str, Any] | None:
    """Returns the fields of an object up to and with its first `most` instances.

    None where the instances are not a list or a field comes twice.
    """
    decoder = json.JSONDecoder()
    found: dict[str, Any] = {}
    at = _after(text, 0, "{")
    while True:
        key, at = decoder.raw_decode(text, skip_blanks(text, at))
        at = skip_blanks(text, _after(text, at, ":"))
        if not isinstance(key, str) or key in found:
            return None
        if key == "Instances":
            found[key] = list(_items(decoder, text, at, most))
            return found
        found[key], at = decoder.raw_decode(text, at)
        at = _after(text, at, ",")


def _items(decoder: json.JSONDecoder, text: str, at: int, most: int) -> Iterator[Any]:
    """Yields the first items of a JSON list that begins at a position."""
    at = _after(text, at, "[")
    for _ in range(most):
        item, at = decoder.raw_decode(text, skip_blanks(text, at))
        yield item
        at = skip_blanks(text, at)
        if text[at] == "]":
            return
        at = _after(text, at, ",")


def _after(text: str, at: int, character: str) -> int:
    """Returns the position behind a character that has to come next but for blanks."""
    at = skip_blanks(text, at)
    if text[at] != character:
        raise ValueError(f"no {character} at {at}")
    return at + 1


# The first release


def v1_positions(instances: int, count: int) -> Sequence[int]:
    """Returns the positions of the instances that the first release evaluates on.

    Args:
        instances: of the task.
        count: how many are wanted; 100 in the paper.

    Source: natural-instructions-v1, src/utils; Mishra et al. 2022, section 5.
    """
    step = max((instances - _V1_FIRST) // count, 1)
    return range(_V1_FIRST, max(instances - 1, _V1_FIRST), step)[:count]


def v1_id(task: str, position: int) -> str:
    """Returns the id of an instance of the first release, which gives it none."""
    return f"{task}-{position}"


def v1_category(task: str) -> str:
    """Returns the category of a subtask of the first release, in the study's letters."""
    number = re.match(r"subtask0*([0-9]+)_", task)
    found = int(number[1]) if number else 0
    of_kind = (category for category, numbers in V1_CATEGORIES.items() if found in numbers)
    return next(of_kind, UNCATEGORIZED)


def _v1_references(name: str, files: Sequence[epath.Path]) -> References:
    instances = [instance for file in files for instance in _read_v1_task(file)]
    return References(name, tuple(instances), expected=v1_positions)


def _read_v1_task(file: epath.Path) -> Iterator[Reference]:
    """Yields all instances of a task file of the first release."""
    task = schema_v1.parse_subtask(files.read_text(file), file=f"{file.parent.name}/{file.name}")
    category = v1_category(task.name)
    for found in task.instances:
        name = v1_id(task.name, found.position)
        yield Reference(task.name, name, category, found.references, found.input)


# The leaderboard's form


def _read_lines(file: epath.Path, text: str, track: str) -> References:
    """Returns the references of a JSONL file that are of a track; lines without one are English."""
    chosen: list[Reference] = []
    elsewhere: set[str] = set()
    for row in read_rows(file, text):
        reference = Reference(
            row.name("task_id", "task"),
            row.name("id"),
            row.name("task_category", UNCATEGORIZED),
            row.texts("references"),
        )
        if row.name("track", "default") == track:
            chosen.append(reference)
        else:
            elsewhere.add(reference.id)
    if not chosen:
        raise DataError(f"{file} has no references of the track {track!r}")
    _check_unique(file, chosen)
    return References(file.stem, tuple(chosen), elsewhere=lambda: frozenset(elsewhere))


def _check_unique(file: epath.Path, references: Iterable[Reference]) -> None:
    """Refuses an instance that is there twice: which references would count?"""
    (key, times) = collections.Counter(r.key for r in references).most_common(1)[0]
    if times > 1:
        raise DataError(f"{file}: the id {key[1]!r} is there {times} times")
