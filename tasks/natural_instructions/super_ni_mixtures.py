"""What tasks and mixtures a folder of Super-NaturalInstructions gives, by name.

Nothing is registered here: `Catalogue` says what there is, `super_ni.register` registers it. Beside
the tasks of the files and the mixtures of the split files there are, for each track `<t>`:

* `super_ni_<t>_train_<n>tasks_<m>inst`: n training tasks, m instances of each; either part of the
  name may be left out. The n tasks are the first n of one order, and the m instances the first m
  of one order (both are hashes under SUPER_NI_SEED), so each is part of every larger one. A task
  with fewer instances gives all. Tk-Instruct's own data is `_100inst_proportional`: 100 instances
  of every task, all instances alike.
* `super_ni_<t>_supervised_train`: 1,000 instances of each test task, none of them a test instance.
* `super_ni_<t>_dev` and `super_ni_<t>_train_less_dev`, where the folder has no dev_tasks.txt: the
  benchmark has no development split, so this is ours. The training tasks of `DEV_CATEGORIES` are
  developed on, but for those that share a source with a test task; all other training tasks are
  trained on, but for those that share a source with a task developed on.
* `super_ni_<t>_train_except_<category>`: training tasks but for one category, and for tasks that
  share a source with it; `..._train_without_<task>`: but for that task and those that share a
  source with it. Both also with `_100inst`.
* `super_ni_category_<category>_{train,test}` (of other tracks than "default",
  `super_ni_<t>_category_...`): the tasks of a category that the track trains or tests on, never
  the same instances in both: of a task that is not tested on, the first 100 instances, at most
  half, are set apart.
* `super_ni_custom_{train,test}`: the tasks that SUPER_NI_TASKS names.

All tasks of a mixture are drawn alike. Of training mixtures but those by category and without
tasks there is another one, `..._proportional`, where a task counts as often as it has instances.
"""

import dataclasses
import functools
import hashlib
import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import seqio
from absl import logging
from etils import epath

from flan_jax import settings
from flan_jax.errors import DataError, did_you_mean
from flan_jax.natural_instructions.schema import Instance
from tasks.natural_instructions import index

PREFIX = "super_ni_"
# Test tasks are tested on their first 100 instances (Wang et al. 2022, section 5.1).
TEST_INSTANCES = 100
# Numbers of the scaling study of Wang et al. 2022, and Tk-Instruct's 100 instances.
TRAIN_TASKS = (8, 32, 64, 128, 256, 512, 756)
TRAIN_INSTANCES = (8, 32, 64, 100, 128, 256, 512)
TK_INSTANCES = 100
# The supervised upper bound trains on so many instances of each test task.
SUPERVISED_INSTANCES = 1000
# Training categories of the default track that are like those it tests on: entailment, cause and
# effect, coreference, dialogue acts (two), answerability, word analogy, question rewriting, title
# generation, data to text, grammar correction.
DEV_CATEGORIES = (
    "Fact Verification", "Commonsense Classification", "Gender Classification",
    "Intent Identification", "Negotiation Strategy Detection", "Answer Verification",
    "Word Semantics", "Question Decomposition", "Summarization", "Code to Text",
    "Text Simplification",
)  # fmt: skip
# The split of a task that is in this part of any track; test wins over dev.
HELD_OUT = {"test": "test", "dev": "validation"}


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the settings ask for beyond what is always there.

    Attributes:
        train_tasks: further numbers of training tasks.
        train_instances: further numbers of instances a task.
        tasks: names of the tasks of `super_ni_custom_train`.
        seed: of the orders of tasks and of instances.
    """

    train_tasks: tuple[int, ...] = ()
    train_instances: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def from_settings(cls) -> "Choices":
        """Returns what SUPER_NI_TRAIN_TASKS, _TRAIN_INSTANCES, _TASKS and _SEED say.

        Raises:
            ConfigError: numbers that are none.
            DataError: the file that SUPER_NI_TASKS names cannot be read.
        """
        return cls(
            train_tasks=_numbers("SUPER_NI_TRAIN_TASKS"),
            train_instances=_numbers("SUPER_NI_TRAIN_INSTANCES"),
            tasks=_listed_tasks(),
            seed=settings.setting("SUPER_NI_SEED", 0),
        )


def _words(value: Any) -> list[str]:
    """Returns the words of a setting: text with commas, or a gin list, or the text of one."""
    return [word.strip(" \t\n'\"") for word in str(value).strip("()[]").split(",") if word.strip()]


def _numbers(name: str) -> tuple[int, ...]:
    """Returns the numbers that a setting gives, sorted.

    Raises:
        ConfigError: it gives something else.
    """
    given = settings.setting(name, ())
    return tuple(sorted({given} if isinstance(given, int) else set(given)))


def _listed_tasks() -> tuple[str, ...]:
    """Returns the names that SUPER_NI_TASKS gives, or those in the file that it names.

    Raises:
        DataError: there is no such file, or it names no task.
    """
    value = settings.setting("SUPER_NI_TASKS")
    if not value:
        return ()
    if not isinstance(value, str) or not ("/" in value or value.endswith(".txt")):
        return tuple(_words(value))
    file = epath.Path(value).expanduser()
    if not file.exists():
        raise DataError(f"SUPER_NI_TASKS names the file {value!r}, which does not exist")
    names = tuple(name for _, name in index.read_names(file))
    if not names:
        raise DataError(f"{value}, which SUPER_NI_TASKS names, lists no tasks")
    return names


def seqio_name(task: str) -> str:
    """Returns the SeqIO name of a task file; SeqIO takes no hyphens."""
    return PREFIX + task.replace("-", "_")


def slug(text: str) -> str:
    """Returns a category's or track's name as part of a mixture's name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _same_source(source: str) -> str:
    """Returns what names of one source have in common: a stray comma once hid a leak."""
    return "".join(filter(str.isalnum, source.casefold())) or source


def _rank(seed: int, *what: str) -> bytes:
    """Returns the place of a thing in the order of its kind, the same wherever it is asked for."""
    return hashlib.blake2b("\x1f".join((str(seed), *what)).encode(), digest_size=16).digest()


@dataclasses.dataclass(frozen=True)
class Part:
    """Which instances of a file a SeqIO task has.

    Attributes:
        counts: number of instances by split. A held-out split has the first ones of the file,
            "train" the last ones.
        pool: where above 0, "train" has the first ones of a seeded order of so many last ones.
        seed: of that order.
    """

    counts: Mapping[str, int]
    pool: int = 0
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """Returns what tells it from other parts of the same file."""
        drawn = {"pool": self.pool, "order_seed": self.seed} if self.pool else {}
        return {"splits": dict(self.counts), **drawn}

    def select(self, task: str, instances: Sequence[Instance], split: str) -> Sequence[Instance]:
        """Returns the instances of a split; `task` names the file's task."""
        if split != "train":
            return instances[: self.counts[split]]
        last = instances[len(instances) - (self.pool or self.counts["train"]) :]
        if not self.pool:
            return last

        def place(instance: Instance) -> bytes:
            return _rank(self.seed, task, instance.id)

        return heapq.nsmallest(self.counts["train"], last, key=place)


def split_counts(entry: index.Entry, tracks: Sequence[index.Track]) -> dict[str, int]:
    """Returns the number of instances by split; the held-out split holds the first ones."""
    parts = {track.part_of(entry.name) for track in tracks}
    held_out = next((split for part, split in HELD_OUT.items() if part in parts), None)
    if held_out is None:
        return {"train": entry.instances}
    held = min(TEST_INSTANCES, entry.instances)
    rest = {"train": entry.instances - held} if entry.instances > held else {}
    return {held_out: held, **rest}


class LateMixture(seqio.Mixture):
    """A mixture whose members are looked up when it is first used; there are thousands."""

    def __init__(self, name: str, members: Callable[[], Sequence[str]], proportional: bool):
        """Takes a function that returns the names of registered tasks, at least one."""
        self._name = name
        self._late = (members, proportional)

    def __getattr__(self, attribute: str) -> Any:
        """Becomes a whole mixture; whatever SeqIO asks for but the name is not there before."""
        if attribute.startswith("__") or "_late" not in self.__dict__:
            raise AttributeError(attribute)
        members, proportional = self._late
        rate = seqio.mixing_rate_num_examples if proportional else 1.0
        super().__init__(self._name, [(task, rate) for task in members()])
        del self._late
        return getattr(self, attribute)


class Members(NamedTuple):
    """Which SeqIO tasks a mixture has, and whether in proportion to their instances."""

    tasks: Callable[[], Sequence[str]]
    proportional: bool = False


Named = Iterator[tuple[str, Members]]


class Catalogue:
    """The tasks and mixtures of a folder beyond those of its split files."""

    def __init__(
        self,
        entries: Mapping[str, index.Entry],
        tracks: Sequence[index.Track],
        choices: Choices,
    ):
        """Looks the tasks over.

        Raises:
            DataError: SUPER_NI_TASKS names a task that is not there or twice, or more training
                tasks are asked for than any track has.
        """
        self._entries, self._tracks, self._choices = entries, tracks, choices
        self.counts = {name: split_counts(entry, tracks) for name, entry in entries.items()}
        self._by_source: dict[str, set[str]] = {}
        for name, entry in entries.items():
            for source in map(_same_source, entry.sources):
                self._by_source.setdefault(source, set()).add(name)
        self._custom = self._find_custom()
        self._instances = tuple(sorted({*TRAIN_INSTANCES, *choices.train_instances}))
        self._trained = {name for track in tracks for name in self._training(track)}
        self._tested = {name for track in tracks for name in track.present.get("test", ())}
        self._dev = {track.name: self._development(track) for track in tracks}
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Refuses a number of tasks for which there would be no mixture."""
        choices = self._choices
        most = max((len(self._training(track)) for track in self._tracks), default=0)
        if choices.train_tasks and choices.train_tasks[-1] > most:
            raise DataError(
                f"SUPER_NI_TRAIN_TASKS asks for {choices.train_tasks[-1]} tasks, but no track of "
                f"this folder trains on more than {most}"
            )

    def parts(self, task: str) -> dict[str, Part]:
        """Returns the SeqIO tasks made from a file by name, the whole one first."""
        name, counts = seqio_name(task), self.counts[task]
        rest = counts.get("train", 0)
        found = {name: Part(counts)}
        for number in self._numbers_of(task):
            if self._more(task, number):
                drawn = Part({"train": number}, pool=rest, seed=self._choices.seed)
                found[f"{name}_{number}inst"] = drawn
        held = self._held_apart(task)
        if held:
            found[f"{name}_heldout"] = Part({"test": held, "train": rest - held})
        if any(task in dev for dev in self._dev.values()):
            found[f"{name}_dev"] = Part({"validation": min(TEST_INSTANCES, rest)})
        return found

    def mixtures(self) -> Named:
        """Yields the mixtures that have members, by name."""
        for track in self._tracks:
            prefix = PREFIX + track.name.replace("-", "_")
            yield from self._sized(f"{prefix}_train", track)
            yield from self._developed(prefix, track)
            yield from self._reduced(f"{prefix}_train", track)
            yield from self._categories(track)
            taught = tuple(t for t in track.present.get("test", ()) if "train" in self.counts[t])
            if taught:
                name = f"{prefix}_supervised_train"
                yield from self._rates(name, taught, SUPERVISED_INSTANCES)
        yield from self._customised()

    def _customised(self) -> Named:
        """Yields the mixtures of the tasks that SUPER_NI_TASKS names."""
        taught = tuple(task for task in self._custom if "train" in self.counts[task])
        tested = tuple(task for task in self._custom if "test" in self.counts[task])
        if len(taught) < len(self._custom):
            lost = len(self._custom) - len(taught)
            logging.warning("%scustom_train lacks %d tasks that are held out whole", PREFIX, lost)
        if taught:
            yield from self._grid(f"{PREFIX}custom_train", taught)
        if tested:
            yield f"{PREFIX}custom_test", self._members(tested)

    def _find_custom(self) -> tuple[str, ...]:
        """Returns the tasks of SUPER_NI_TASKS, which may be named as SeqIO does.

        Raises:
            DataError: one is not there, or is named twice.
        """
        known = {seqio_name(name): name for name in self._entries}
        found: dict[str, None] = {}
        for word in self._choices.tasks:
            name = word if word in self._entries else known.get(word)
            if name is None:
                hint = did_you_mean(word, self._entries)
                raise DataError(f"SUPER_NI_TASKS names {word!r}, which is not in tasks/{hint}")
            if name in found:
                raise DataError(f"SUPER_NI_TASKS names {name!r} twice")
            found[name] = None
        return tuple(found)

    def _training(self, track: index.Track) -> tuple[str, ...]:
        """Returns the training tasks of a track that have instances to train on."""
        return tuple(t for t in track.present.get("train", ()) if "train" in self.counts[t])

    def _ordered(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Returns tasks in the seeded order, which does not depend on which of them are there."""
        return tuple(sorted(tasks, key=lambda task: _rank(self._choices.seed, task)))

    def _numbers_of(self, task: str) -> Iterable[int]:
        """Returns the numbers of instances for which mixtures may ask of a task."""
        numbers = self._instances if task in self._trained or task in self._custom else ()
        return (*numbers, SUPERVISED_INSTANCES) if task in self._tested else numbers

    def _held_apart(self, task: str) -> int:
        """Returns how many instances mixtures by category set apart, 0 where others do."""
        if task not in self._trained or set(self.counts[task]) != {"train"}:
            return 0
        return min(TEST_INSTANCES, self.counts[task]["train"] // 2)

    def _category(self, task: str) -> str:
        return slug(self._entries[task].categories[0])

    def _related(self, tasks: Iterable[str]) -> set[str]:
        """Returns all tasks that share a source with one of these, and these."""
        tasks = set(tasks)
        sources = {_same_source(s) for task in tasks for s in self._entries[task].sources}
        return tasks.union(*(self._by_source[source] for source in sources))

    def _development(self, track: index.Track) -> tuple[str, ...]:
        """Returns the tasks of our development split, none where the folder has one."""
        if "dev" in track.listed:
            return ()
        wanted = {slug(category) for category in DEV_CATEGORIES}
        tested = self._related(track.present.get("test", ()))
        of_kind = [task for task in self._training(track) if self._category(task) in wanted]
        return tuple(task for task in of_kind if task not in tested)

    def _names(self, tasks: Sequence[str], number: int | None, suffix: str = "") -> list[str]:
        """Returns SeqIO tasks of so many instances each; the whole task where it has no more."""
        return [
            seqio_name(task) + (f"_{number}inst" if number and self._more(task, number) else suffix)
            for task in tasks
        ]

    def _more(self, task: str, number: int) -> bool:
        """Whether a task has more instances to train on."""
        return self.counts[task].get("train", 0) > number

    def _members(
        self, tasks: Sequence[str], number: int | None = None, proportional: bool = False
    ) -> Members:
        return Members(functools.partial(self._names, tasks, number), proportional)

    def _rates(self, name: str, tasks: Sequence[str], number: int | None) -> Named:
        """Yields a mixture, drawn uniformly and in proportion."""
        yield name, self._members(tasks, number)
        yield f"{name}_proportional", self._members(tasks, number, proportional=True)

    def _grid(self, name: str, tasks: Sequence[str]) -> Named:
        """Yields mixtures of all instances, and of each number of them."""
        yield from self._rates(name, tasks, None)
        for number in self._instances:
            yield from self._rates(f"{name}_{number}inst", tasks, number)

    def _sized(self, name: str, track: index.Track) -> Named:
        """Yields the mixtures of n tasks and m instances; the whole split is not among them."""
        tasks = self._training(track)
        if not tasks:
            return
        yield from (found for found in self._grid(name, tasks) if found[0] != name)
        ordered = self._ordered(tasks)
        for count in sorted({*TRAIN_TASKS, *self._choices.train_tasks}):
            if count <= len(ordered):
                yield from self._grid(f"{name}_{count}tasks", ordered[:count])

    def _developed(self, prefix: str, track: index.Track) -> Named:
        """Yields our development split, and the training tasks that stay beside it."""
        dev = self._dev[track.name]
        if not dev:
            return
        yield f"{prefix}_dev", Members(functools.partial(self._names, dev, None, "_dev"))
        wanted = {slug(category) for category in DEV_CATEGORIES}
        left_out = self._related(dev)
        rest = tuple(
            task
            for task in self._training(track)
            if task not in left_out and self._category(task) not in wanted
        )
        if rest:
            yield from self._grid(f"{prefix}_train_less_dev", rest)

    def _reduced(self, name: str, track: index.Track) -> Named:
        """Yields the training tasks without a category, and without each single task."""
        tasks = self._training(track)
        by_category: dict[str, list[str]] = {}
        for task in tasks:
            by_category.setdefault(self._category(task), []).append(task)
        targets = {f"{name}_except_{key}": group for key, group in by_category.items()}
        for target in (*track.present.get("train", ()), *track.present.get("test", ())):
            targets[f"{name}_without_{target.replace('-', '_')}"] = [target]
        for reduced, group in targets.items():
            left_out = self._related(group)
            if not left_out.issuperset(tasks):
                rest = functools.partial(self._rest, tasks, left_out)
                for suffix, number in (("", None), (f"_{TK_INSTANCES}inst", TK_INSTANCES)):
                    yield reduced + suffix, Members(functools.partial(rest, number))

    def _rest(self, tasks: Sequence[str], left_out: set[str], number: int | None) -> list[str]:
        return self._names([task for task in tasks if task not in left_out], number)

    def _categories(self, track: index.Track) -> Named:
        """Yields the mixtures by category."""
        prefix = PREFIX if track.name == "default" else f"{PREFIX}{track.name.replace('-', '_')}_"
        found: dict[str, list[str]] = {}
        for task in (*track.present.get("train", ()), *track.present.get("test", ())):
            held = self._held_apart(task)
            name = seqio_name(task) + ("_heldout" if held else "")
            for split in ("train", "test"):
                if held or split in self.counts[task]:
                    key = f"{prefix}category_{self._category(task)}_{split}"
                    found.setdefault(key, []).append(name)
        for name, tasks in found.items():
            yield name, Members(functools.partial(list, tasks))
