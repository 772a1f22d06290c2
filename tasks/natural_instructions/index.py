"""The index of a folder of task files: what registering needs, without the instances.

It is kept as `file_index` says.

Beside the tasks lie the split files of one or more tracks, one task name a line:
`splits/<track>/{train,test}_tasks.txt`, and `excluded_tasks.txt` and `dev_tasks.txt` where there
are any.
"""

import collections
import dataclasses
import difflib
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions.file_index import FileIndex
from flan_jax.natural_instructions.schema import Instance, SchemaTask, parse_task

# Bump by hand whenever what is kept of a file, or how it is found out, changes.
INDEX_FORMAT = 3
# A task whose answers are so few, and each so frequent, is a classification. 15 is the bound that
# the benchmark's own checks use to tell label sets.
MOST_OPTIONS = 15
LEAST_PER_OPTION = 4
# What SeqIO takes as a name, and hyphens, which are written as underscores there.
_NAME = re.compile(r"[A-Za-z0-9_.-]+")

# The split files of a track; the last two are optional.
PARTS = ("train", "test", "excluded", "dev")
_NUMBERED = re.compile(r"(task\d+)_(.+)")
# Names without a number must be this similar (difflib's ratio) to be taken for a misspelling.
_NEAR = 0.9


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is kept of one task file.

    Attributes:
        name: the task's name.
        sha256: hash of the file's bytes.
        instances: number of instances.
        definition: the text that states the task.
        categories: see `schema.SchemaTask`, as all that follow.
        sources: names of the source datasets.
        input_languages: languages of the inputs.
        output_languages: languages of the outputs.
        domains: what the texts are about.
        reasoning: kinds of reasoning.
        licences: licences of the instances.
        options: the answers where the task is a classification, else empty.
    """

    name: str
    sha256: str
    instances: int
    definition: str
    categories: tuple[str, ...]
    sources: tuple[str, ...]
    input_languages: tuple[str, ...]
    output_languages: tuple[str, ...]
    domains: tuple[str, ...]
    reasoning: tuple[str, ...]
    licences: tuple[str, ...]
    options: tuple[str, ...]

    @classmethod
    def from_object(cls, obj: dict[str, Any]) -> "Entry":
        """Returns the entry that `dataclasses.asdict` made an object of.

        Raises:
            TypeError: a field is missing, or there is one too many.
        """
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in obj.items()
        }
        return cls(**fields)


def find_options(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Returns the answers of a classification, sorted; nothing where the task generates.

    A task classifies where every instance has one reference and the distinct references are at
    least two, at most `MOST_OPTIONS`, none blank, and `LEAST_PER_OPTION` times fewer than the
    instances.
    """
    counts: collections.Counter[str] = collections.Counter()
    for instance in instances:
        counts.update(instance.references)
        if len(instance.references) > 1 or len(counts) > MOST_OPTIONS:
            return ()
    few = len(counts) >= 2 and LEAST_PER_OPTION * len(counts) <= len(instances)
    return tuple(sorted(counts)) if few and all(text.strip() for text in counts) else ()


def build_index(folder: str) -> dict[str, Entry]:
    """Returns the entries of all `*.json` files in `<folder>/tasks`, by task name, sorted.

    Args:
        folder: a Super-NaturalInstructions folder, local or on any file system epath knows.

    Raises:
        DataError: there is no such folder, it has no task files, or files are wrong; the
            message lists the first ten of those.
    """
    tasks = epath.Path(folder) / "tasks"
    if not tasks.is_dir():
        raise DataError(f"{folder} has no folder 'tasks'")
    found = {
        path.name.removesuffix(".json"): path
        for path in sorted(tasks.glob("*.json"))
        if not path.name.startswith(".")
    }
    if not found:
        raise DataError(f"{tasks} holds no *.json files")
    return {name: Entry.from_object(kept) for name, kept in _INDEX.build(folder, found).items()}


def _read_entry(path: epath.Path) -> dict[str, Any]:
    """Returns what is kept of a file."""
    task, sha256 = read_task(path)
    return dataclasses.asdict(
        Entry(
            name=task.name,
            sha256=sha256,
            instances=len(task.instances),
            definition=task.definition,
            categories=task.categories,
            sources=task.sources,
            input_languages=task.input_languages,
            output_languages=task.output_languages,
            domains=task.domains,
            reasoning=task.reasoning,
            licences=task.licences,
            options=find_options(task.instances),
        )
    )


_INDEX = FileIndex("super_ni", INDEX_FORMAT, _read_entry)


def read_task(path: epath.PathLike) -> tuple[SchemaTask, str]:
    """Returns a task file's task and the hash of its bytes.

    Raises:
        DataError: the file cannot be read, has a name that SeqIO refuses, or is no task.
    """
    path = epath.Path(path)
    file = f"{path.parent.name}/{path.name}"
    if not _NAME.fullmatch(path.name.removesuffix(".json")):
        raise DataError(f"{file}: the name may hold letters, digits, '_', '-' and '.' only")
    content = files.read_bytes(path)
    return parse_task(content, file=file), hashlib.sha256(content).hexdigest()


def forget(path: epath.PathLike) -> None:
    """Lets the next process read a task file again that is not what the index says of it."""
    path = epath.Path(path)
    _INDEX.forget(str(path.parent.parent), path.name.removesuffix(".json"))


@dataclasses.dataclass(frozen=True)
class Track:
    """The split files of one track.

    Attributes:
        name: name of the folder they lie in.
        listed: all task names by part (`PARTS`), in the order of the file.
        present: those of them that the folder of tasks has.
    """

    name: str
    listed: Mapping[str, tuple[str, ...]]
    present: Mapping[str, tuple[str, ...]]

    def part_of(self, task: str) -> str | None:
        """Returns the part a task is in, None where the track does not name it."""
        return next((part for part in PARTS if task in self.present.get(part, ())), None)


def read_tracks(folder: str, tasks: Collection[str]) -> list[Track]:
    """Returns the tracks of a folder, sorted by name.

    A listed task that the folder lacks is no error, since most folders are parts of the whole;
    how many there are is logged.

    Args:
        folder: a Super-NaturalInstructions folder.
        tasks: names of the tasks that are there.

    Raises:
        DataError: a split file is missing or cannot be read, names a task twice or as part of
            two splits, or a name looks like a misspelling of a task that no file names; or no
            file names any task that is there.
    """
    splits = epath.Path(folder) / "splits"
    if not (splits / "default").is_dir():
        names = [path.name for path in splits.iterdir()] if splits.is_dir() else []
        raise DataError(f"{folder} has no folder 'splits/default'" + did_you_mean("default", names))
    folders = sorted(path for path in splits.iterdir() if path.is_dir())
    tracks = [_read_track(path, tasks) for path in folders if not path.name.startswith(".")]
    _check_misspelt(tracks, tasks)
    if not any(names for track in tracks for names in track.present.values()):
        raise DataError(
            f"none of the {len(tasks)} tasks in {folder}/tasks, such as {min(tasks)!r}, is named "
            f"in a split file of {splits}: are both from the same release?"
        )
    return tracks


def _read_track(folder: epath.Path, tasks: Collection[str]) -> Track:
    """Reads one track; a task that is in two of its parts would leak from one to the other."""
    if not _NAME.fullmatch(folder.name):
        raise DataError(f"{folder}: a track's name may hold letters, digits, '_', '-', '.' only")
    listed: dict[str, tuple[str, ...]] = {}
    where: dict[str, str] = {}
    for part in PARTS:
        file = folder / f"{part}_tasks.txt"
        if part not in ("train", "test") and not file.exists():
            continue
        names = read_names(file)
        for line, name in names:
            at = f"splits/{folder.name}/{file.name}, line {line}"
            if name in where:
                raise DataError(f"{at}: {name!r} is named already in {where[name]}")
            where[name] = at
        listed[part] = tuple(name for _, name in names)
    present = {part: tuple(n for n in names if n in tasks) for part, names in listed.items()}
    for part in listed:
        absent = len(listed[part]) - len(present[part])
        logging.info("%s/%s: %d of %d tasks are absent", folder, part, absent, len(listed[part]))
    return Track(folder.name, listed, present)


def read_names(file: epath.Path) -> list[tuple[int, str]]:
    """Returns the task names of a split file with the numbers of their lines.

    Raises:
        DataError: it is not there, cannot be read, or is no text.
    """
    text = files.read_text(file)
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _check_misspelt(tracks: Sequence[Track], tasks: Collection[str]) -> None:
    """Refuses a listed name that is absent where an unlisted task of nearly that name is there.

    Otherwise the task would silently be missing from its split. A task whose number differs is
    another task, however alike the names are.
    """
    everywhere = {name for track in tracks for names in track.listed.values() for name in names}
    absent = sorted(everywhere.difference(tasks))
    for task in sorted(set(tasks) - everywhere):
        wrong = next((name for name in absent if _is_misspelling(name, task)), None)
        if wrong is not None:
            raise DataError(
                f"splits name a task {wrong!r}, which is absent, and do not name {task!r}, which "
                f"is there; did you mean {task!r}? If it is another task, list it in "
                "splits/default/excluded_tasks.txt"
            )


def _is_misspelling(name: str, task: str) -> bool:
    """Whether two different names seem to mean the same task."""
    left, right = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(task)
    if left and right:
        return left[1] == right[1]
    return difflib.SequenceMatcher(None, name.lower(), task.lower()).ratio() >= _NEAR
