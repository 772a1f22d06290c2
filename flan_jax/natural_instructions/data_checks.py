"""Checks of Super-NaturalInstructions folders: a report of what is odd, never a refusal.

Each task is checked by itself (`task_checks`), and the training tasks of a track against the tasks
that it tests or develops on: sources in common, which the benchmark excludes, equal inputs, and
passages in common (`text_overlap`).

Task files are read one at a time and only fingerprints of held-out inputs are kept, so the whole
benchmark (3 GB, 1,600 files) needs little more memory than its largest file.
"""

import collections
import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from flan_jax.errors import DataError, did_you_mean, printable
from flan_jax.files import read_bytes
from flan_jax.natural_instructions import encodings
from flan_jax.natural_instructions.schema import SchemaTask, parse_task
from flan_jax.natural_instructions.task_checks import (
    CHECKS,
    MOST_QUOTED,
    Finding,
    Prompts,
    check_task,
)
from flan_jax.natural_instructions.text_overlap import HeldOut, Shared

# What a track tests on: the first 100 instances (Wang et al. 2022, section 5.1).
HELD_OUT_INSTANCES = 100
_HELD_OUT_PARTS = ("test", "dev")
# Pairs of names that are compared for misspellings.
_MOST_PAIRS = 10_000
# Training tasks that the note of an overlap names.
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Report:
    """What the checks found in a folder.

    Attributes:
        folder: the folder.
        tasks: number of tasks read.
        instances: number of their instances.
        findings: all findings, in the order of `CHECKS`, then by track and task.
        splits: by track and part, (tasks that are there, tasks listed).
        encoding: encoding of the prompts that were counted, None where none were.
        budget: largest number of tokens of a prompt, with its end-of-sequence token.
        vocabulary: what these tokens are of.
        seconds: time taken.
    """

    folder: str
    tasks: int
    instances: int
    findings: tuple[Finding, ...]
    splits: Mapping[str, Mapping[str, tuple[int, int]]]
    encoding: str | None
    budget: int | None
    vocabulary: str | None
    seconds: float

    def summary(self) -> dict[str, tuple[int, int]]:
        """Returns (tasks concerned, sum of counts) of each check that found something."""
        of_check: dict[str, list[Finding]] = collections.defaultdict(list)
        for finding in self.findings:
            of_check[finding.check].append(finding)
        return {
            check: (len({f.task for f in found}), sum(f.count for f in found))
            for check, found in of_check.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON object."""
        obj = dataclasses.asdict(self)
        obj["summary"] = {
            check: {"meaning": CHECKS[check], "tasks": tasks, "count": count}
            for check, (tasks, count) in self.summary().items()
        }
        return obj


def check_folder(
    folder: str,
    names: Collection[str] = (),
    *,
    prompts: Prompts | None = None,
    watch: Callable[[Sequence["Visit"]], Iterable["Visit"]] = iter,
) -> Report:
    """Checks the task files of a folder.

    Args:
        folder: holds `tasks/*.json` and `splits/<track>/*_tasks.txt`, or task files themselves.
        names: tasks to check; all where empty. Training tasks among them are compared with all
            held-out tasks of the folder.
        prompts: how to make and count prompts; they are not counted where None.
        watch: passes on the files to read, in order; for progress bars.

    Raises:
        DataError: there is no such folder or task. What is wrong within a file is a finding.
        ConfigError: no such encoding.
    """
    if prompts is not None:
        encodings.get_encoding(prompts.encoding)
    start = time.monotonic()
    checker = _Checker(folder, names, prompts)
    findings = checker.run(watch)
    order = list(CHECKS)
    findings.sort(key=lambda f: (order.index(f.check), f.track, f.task))
    return Report(
        folder=printable(folder),
        tasks=checker.tasks,
        instances=checker.instances,
        findings=tuple(findings),
        splits=checker.splits.counts(checker.files),
        encoding=prompts.encoding if prompts else None,
        budget=prompts.budget if prompts else None,
        vocabulary=prompts.vocabulary if prompts else None,
        seconds=round(time.monotonic() - start, 2),
    )


class _Splits:
    """The split files of a folder, read leniently: what is wrong with them is a finding."""

    def __init__(self, folder: epath.Path):
        self.listed: dict[str, dict[str, list[str]]] = {}
        self.part_of: dict[str, dict[str, str]] = {}
        self.findings: list[Finding] = []
        splits = folder / "splits"
        for track in sorted(splits.iterdir()) if splits.is_dir() else ():
            if track.is_dir() and not track.name.startswith("."):
                self._read(track)

    def _read(self, track: epath.Path) -> None:
        """Reads one track; a task is in the first part that names it, held-out ones first."""
        part_of: dict[str, str] = {}
        self.listed[track.name], self.part_of[track.name] = {}, part_of
        for part in (*_HELD_OUT_PARTS, "train", "excluded"):
            file = track / f"{part}_tasks.txt"
            if not file.exists():
                continue
            text = read_bytes(file).decode("utf-8-sig", errors="replace")
            names = [line.strip() for line in text.splitlines() if line.strip()]
            for name in names:
                if name in part_of:
                    note = f"listed in {part}_tasks.txt, and before in {part_of[name]}_tasks.txt"
                    self.findings.append(Finding("split_files", name, 1, 0, note, track.name))
                part_of.setdefault(name, part)
            self.listed[track.name][part] = list(dict.fromkeys(names))

    def counts(self, files: Collection[str]) -> dict[str, dict[str, tuple[int, int]]]:
        """Returns by track and part how many tasks are there, and how many are listed."""
        return {
            track: {part: (sum(n in files for n in names), len(names)) for part, names in p.items()}
            for track, p in self.listed.items()
        }

    def tracks_of(self, task: str, *parts: str) -> set[str]:
        """Returns the tracks that have a task in one of some parts."""
        return {track for track, part_of in self.part_of.items() if part_of.get(task) in parts}

    def unlisted(self, files: Collection[str]) -> Iterator[Finding]:
        """Finds the tasks that no split file names, perhaps because one misspells them."""
        named = {name for part_of in self.part_of.values() for name in part_of}
        absent, unlisted = named.difference(files), set(files) - named if named else set()
        # Where most names differ, none is a misspelling, and all would be compared with all.
        misspelt = len(absent) * len(unlisted) <= _MOST_PAIRS
        for task in unlisted:
            hint = did_you_mean(task, absent) if misspelt else ""
            yield Finding("split_files", task, 1, 0, f"no split file names it{hint}")


class Visit(NamedTuple):
    """One reading of a file: whether to check it, and to keep its held-out inputs."""

    name: str
    check: bool
    keep: bool


class _Checker:
    """One walk over a folder: held-out tasks first, then those that are trained on."""

    def __init__(
        self,
        folder: str,
        names: Collection[str],
        prompts: Prompts | None,
    ):
        root = epath.Path(folder)
        self.files = _task_files(root)
        self.wanted = _known_names(names, self.files) or list(self.files)
        self.splits = _Splits(root)
        self.prompts = prompts
        self.tasks = self.instances = 0
        self.findings: list[Finding] = []
        self.held_out = HeldOut()
        self.held_out_ids: dict[str, list[str]] = {}
        self.held_out_sources: dict[str, dict[str, list[tuple[str, str]]]] = {}
        # By check, track and held-out task: what each training task shares with it.
        self.shared: dict[tuple[str, str, str], dict[str, Shared]] = collections.defaultdict(dict)

    def run(self, watch: Callable[[Sequence[Visit]], Iterable[Visit]]) -> list[Finding]:
        """Checks everything and returns what was found."""
        wanted = set(self.wanted)
        of_splits = [*self.splits.findings, *self.splits.unlisted(self.files)]
        self.findings = [finding for finding in of_splits if finding.task in wanted]
        trained = {name for name in self.wanted if self.splits.tracks_of(name, "train")}
        held_out = self._held_out_files(trained)
        rest = [name for name in self.wanted if name not in held_out or name in trained]
        visits = [
            *(Visit(name, check=name in wanted, keep=True) for name in held_out),
            *(Visit(name, check=name not in held_out, keep=False) for name in rest),
        ]
        for visit in watch(visits):
            self._visit(visit)
        return [*self.findings, *self._overlaps()]

    def _held_out_files(self, trained: Collection[str]) -> dict[str, None]:
        """Returns the tasks to read first: held out and either wanted or compared with."""
        tracks = {track for name in trained for track in self.splits.tracks_of(name, "train")}
        return {
            name: None
            for name in self.files
            if (found := self.splits.tracks_of(name, *_HELD_OUT_PARTS))
            and (name in self.wanted or found & tracks)
        }

    def _visit(self, visit: Visit) -> None:
        """Reads one file once, for all that is wanted of it at this point of the walk."""
        task = self._read(visit)
        if task is None:
            return
        held_out = self.splits.tracks_of(task.name, *_HELD_OUT_PARTS)
        if visit.check:
            self.tasks += 1
            self.instances += len(task.instances)
            count = HELD_OUT_INSTANCES if held_out else 0
            self.findings += check_task(task, held_out=count, prompts=self.prompts)
        if visit.keep:
            self._keep(task, held_out)
        elif tracks := self.splits.tracks_of(task.name, "train"):
            self._compare(task, tracks)

    def _read(self, visit: Visit) -> SchemaTask | None:
        """Returns a task, None where its file is not one, which is a finding, but only once."""
        try:
            content = read_bytes(self.files[visit.name])
            return parse_task(content, file=f"{visit.name}.json")
        except DataError as error:
            if visit.check or visit.keep:
                self.findings.append(Finding("unreadable", visit.name, 1, 1, str(error)))
        return None

    def _keep(self, task: SchemaTask, tracks: Iterable[str]) -> None:
        """Keeps of a held-out task what training tasks are compared with."""
        instances = task.instances[:HELD_OUT_INSTANCES]
        self.held_out.add(task.name, [instance.input for instance in instances])
        self.held_out_ids[task.name] = [instance.id for instance in instances]
        for track in tracks:
            sources = self.held_out_sources.setdefault(track, {})
            for source in task.sources:
                if key := _source_key(source):
                    sources.setdefault(key, []).append((task.name, source))

    def _compare(self, task: SchemaTask, tracks: Iterable[str]) -> None:
        """Compares a training task with all tasks that its tracks hold out."""
        overlap = self.held_out.overlap([instance.input for instance in task.instances])
        for track in tracks:
            self.findings += _shared_sources(task, track, self.held_out_sources.get(track, {}))
            for check, shared in zip(("equal_inputs", "shared_passages"), overlap, strict=True):
                for other, found in shared.items():
                    if track in self.splits.tracks_of(other, *_HELD_OUT_PARTS):
                        self.shared[check, track, other][task.name] = found

    def _overlaps(self) -> Iterator[Finding]:
        """Sums up, for each held-out task of a track, what training tasks share with it."""
        for (check, track, task), by_task in self.shared.items():
            ids = self.held_out_ids[task]
            found = sorted(set.union(*(set(shared.held_out) for shared in by_task.values())))
            ranked = sorted(by_task, key=lambda name: (-len(by_task[name].held_out), name))
            named = [f"{name} ({by_task[name].training})" for name in ranked[:_MOST_NAMED]]
            more = [f"{len(ranked) - _MOST_NAMED} more"] if len(ranked) > _MOST_NAMED else []
            where = tuple(ids[i] for i in found[:MOST_QUOTED])
            note = "training inputs in " + ", ".join(named + more)
            yield Finding(check, task, len(found), len(ids), note, track, where)


def _task_files(root: epath.Path) -> dict[str, epath.Path]:
    """Returns the task files of a folder by name, sorted.

    Raises:
        DataError: there are none.
    """
    folder = root / "tasks" if (root / "tasks").is_dir() else root
    if not folder.is_dir():
        raise DataError(f"{root} is not a folder")
    files = {
        printable(path.name.removesuffix(".json")): path
        for path in sorted(folder.glob("*.json"))
        if not path.name.startswith(".")
    }
    if not files:
        raise DataError(f"{folder} holds no task files (*.json)")
    return files


def _known_names(names: Collection[str], files: Mapping[str, Any]) -> list[str]:
    """Returns distinct names of tasks, which may be given as file names.

    Raises:
        DataError: there is no such task; the nearest names are offered.
    """
    known = []
    for name in names:
        task = name.rsplit("/", 1)[-1].removesuffix(".json")
        if task not in files:
            raise DataError(f"no task {task!r} in the folder{did_you_mean(task, files)}")
        known.append(task)
    return list(dict.fromkeys(known))


def _source_key(source: str) -> str:
    """Returns what two spellings of a dataset's name have in common."""
    return "".join(char for char in source.casefold() if char.isalnum())


def _shared_sources(
    task: SchemaTask, track: str, held_out: Mapping[str, list[tuple[str, str]]]
) -> Iterator[Finding]:
    """Finds the held-out tasks of a track that name a source of a training task.

    The benchmark excludes training tasks by equal names; a name that is spelt otherwise has
    escaped it before (natural-instructions issue 773).
    """
    for source in dict.fromkeys(task.sources):
        others = [pair for pair in held_out.get(_source_key(source), ()) if pair[0] != task.name]
        if not others:
            continue
        spelt = sorted({written for _, written in others})
        note = f"source {source!r}" + ("" if spelt == [source] else f", there {spelt}")
        names = tuple(dict.fromkeys(name for name, _ in others))
        where = names[:MOST_QUOTED]
        yield Finding("shared_source", task.name, len(names), 0, note, track, where)
