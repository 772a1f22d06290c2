"""The first release of Natural Instructions (Mishra et al. 2022): 61 subtasks and their splits.

Importing this module registers the folder that NI_V1_DIR names (gin macro or environment
variable): the release's `subtask*.json`, or a folder that holds them in `dataset_jsons`. A part
of them will do; a mixture whose subtasks are all absent is left out, and that is logged.

* Tasks `ni_v1_<subtask>`: "test" is the hundred instances that the release tests on
  (`test_indices`), "train" is all others.
* Mixtures `ni_v1_<split>_train` and `ni_v1_<split>_test`, all subtasks alike:
  `random` tests on the study's 12 subtasks and trains on all others; `leave_category_<qg>`,
  `leave_dataset_<qasc>` and `leave_task_<040>` test on what they name and train on all others;
  `supervised` trains and tests on the 12, which is the study's upper bound (there, one model a
  subtask: train on a task by its own name).

NI_V1_ENCODING names the encoding (`encodings_v1.get_encoding`; `full` where unset, `full_no_neg`
without negative examples) and NI_V1_BUDGET the most tokens of a prompt with its end-of-sequence
token (PROMPT_BUDGET, or else 1024). A prompt that is too long loses examples and instructions,
never its query.
"""

import dataclasses
import functools
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from absl import logging
from etils import epath

from flan_jax import files, metrics, settings
from flan_jax.errors import DataError
from flan_jax.instructions import cards, file_index, mixtures, registration
from flan_jax.instructions.budgets import Budget
from flan_jax.instructions.draws import Draws
from flan_jax.instructions.long_prompts import prompt_budget
from flan_jax.instructions.rendering import Rendered
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.natural_instructions import encodings_v1, schema, schema_v1
from flan_jax.scoring import references
from tasks.natural_instructions import index

PREFIX = "ni_v1_"
DEFAULT_ENCODING = "full"
DEFAULT_BUDGET = 1024
# The release's instances to test on: a hundred, spread evenly from this position on.
TEST_INSTANCES = 100
_FIRST_TESTED = 60
# Prompts that show so many instances as examples may pass over some for later ones, up to these.
_PASSED_OVER = 100
_KEPT_FILES = 4
_FOLDERS = ("", "dataset_jsons", "Dataset_Jsons")
_NAME = re.compile(r"subtask([0-9]{3})_[A-Za-z0-9_]+")

# Numbers of the subtasks of each category and of each source dataset (Mishra et al. 2022,
# section 3.3 and appendix): question and answer generation, classification, incorrect answer
# generation, minimal modification, verification.
CATEGORIES = references.V1_CATEGORIES
DATASETS: Mapping[str, range] = {
    "quoref": range(1, 3),
    "mctaco": range(3, 22),
    "cosmosqa": range(22, 26),
    "drop": range(26, 29),
    "winogrande": range(29, 36),
    "qasc": range(36, 43),
    "essential_terms": range(43, 45),
    "miscellaneous": range(45, 48),
    "multirc": range(48, 59),
    "ropes": range(59, 62),
}
# The subtasks that the study's random split tests on, two a category.
EVALUATION = (2, 3, 5, 8, 22, 33, 34, 39, 40, 44, 45, 52)
_CATEGORY_OF = {number: name for name, numbers in CATEGORIES.items() for number in numbers}
_DATASET_OF = {number: name for name, numbers in DATASETS.items() for number in numbers}


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How instances become prompts."""

    encoding: encodings_v1.Encoding
    name: str
    budget: int

    @classmethod
    def from_settings(cls) -> "Rendering":
        """Returns what NI_V1_ENCODING and NI_V1_BUDGET say.

        Raises:
            ConfigError: no such encoding, or the budget is no number that holds a query.
        """
        name = str(settings.setting("NI_V1_ENCODING", DEFAULT_ENCODING))
        encoding = encodings_v1.get_encoding(name)
        budget = settings.setting("NI_V1_BUDGET", prompt_budget() or DEFAULT_BUDGET)
        return cls(encoding, name, budget)

    def facts(self) -> dict[str, Any]:
        """What of it shapes prompts."""
        return {"encoding": str(self.encoding), "name": self.name, "budget": self.budget}


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is kept of one file: all but most instances.

    Attributes:
        path: the file.
        sha256: hash of its bytes.
        number: the subtask's number.
        subtask: the subtask, with the instances that prompts may show as examples.
        count: number of all instances.
        options: the answers where the subtask is a classification, else empty.
    """

    path: str
    sha256: str
    number: int
    subtask: schema_v1.Subtask
    count: int
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the SeqIO task."""
        return PREFIX + self.subtask.name

    @functools.cached_property
    def statement(self) -> dict[str, Any]:
        """What prompts need of the subtask beside the instance."""
        return self.subtask.prompt_object(len(self.subtask.instances))


@dataclasses.dataclass(frozen=True)
class Registered:
    """What was registered, from where and how."""

    folder: str
    rendering: Rendering
    tasks: tuple[str, ...]
    mixtures: tuple[str, ...]


_registered: Registered | None = None
_load_lock = threading.Lock()


def register(folder: str) -> Registered:
    """Registers the subtasks and mixtures of a folder; a second time it does nothing.

    Args:
        folder: a folder of the first release, see this module.

    Raises:
        DataError: the folder is not as it should be, or another folder, or this one with other
            settings, is registered in this process.
        ConfigError: see `Rendering.from_settings`.
    """
    global _registered
    folder = folder if files.is_remote(folder) else os.path.realpath(folder)
    rendering = Rendering.from_settings()
    if _registered is not None and _live(_registered):
        return _same(_registered, folder, rendering)
    unregister()  # cards, say, that stayed when the registry was emptied by hand
    entries = read_folder(folder, rendering)
    _registered = Registered(folder, rendering, _free_names(entries), ())
    try:
        for entry in entries:
            _register_entry(entry, rendering)
        for name in _register_mixtures(entries):
            mixed = (*_registered.mixtures, name)
            _registered = dataclasses.replace(_registered, mixtures=mixed)
    except Exception:
        unregister()
        raise
    return _registered


def _same(registered: Registered, folder: str, rendering: Rendering) -> Registered:
    """Returns what is registered.

    Raises:
        DataError: something else is asked for.
    """
    if (registered.folder, registered.rendering) != (folder, rendering):
        raise DataError(
            f"Natural Instructions v1 is registered already from {registered.folder} with "
            f"{registered.rendering}, so not from {folder} with {rendering}; one process reads "
            "one folder in one way (`unregister` undoes it)"
        )
    return registered


def unregister() -> None:
    """Removes everything that `register` added, so that another folder can be registered."""
    global _registered
    if _registered is not None:
        for name in _registered.mixtures:
            seqio.MixtureRegistry.remove(name)
        for name in _registered.tasks:
            seqio.TaskRegistry.remove(name)
            cards.remove_card(name)
    _registered = None


def _live(registered: Registered) -> bool:
    """Whether the registry still has what was registered; tests and notebooks empty it."""
    known = set(seqio.TaskRegistry.names())
    return all(task in known for task in registered.tasks)


def _free_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Returns the SeqIO names of subtasks.

    Raises:
        DataError: one is taken.
    """
    taken = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *cards.card_names()}
    names = tuple(entry.name for entry in entries)
    for name in names:
        if name in taken:
            raise DataError(f"a task or mixture named {name!r} is registered already")
    return names


def read_folder(folder: str, rendering: Rendering) -> list[Entry]:
    """Returns the entries of all files of a folder, by number.

    Raises:
        DataError: there are none, two have the same number, or files are wrong; the message
            lists the first of those.
    """
    where = [epath.Path(folder) / part for part in _FOLDERS]
    paths = next((found for found in map(_files, where) if found), None)
    if paths is None:
        raise DataError(f"{folder} holds no subtask*.json, nor does a dataset_jsons in it")
    entries: dict[int, Entry] = {}
    errors = []
    for path in paths:
        try:
            entry = _read_entry(path, rendering)
            twin = entries.setdefault(entry.number, entry)
            if twin is not entry:
                raise DataError(f"{path.name}: {twin.subtask.name} has its number already")
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError(file_index.summary(errors, len(paths)))
    return [entries[number] for number in sorted(entries)]


def _files(folder: epath.Path) -> list[epath.Path]:
    """The JSON files of a folder with subtasks; one beside them that is none will be refused."""
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    known = any(path.name.startswith("subtask") for path in found)
    return [path for path in found if known and not path.name.startswith(".")]


def _read_entry(path: epath.Path, rendering: Rendering) -> Entry:
    """Reads one file and keeps what prompts may show of it.

    Raises:
        DataError: the file cannot be read, is no subtask, or not one of the first release.
    """
    match = _NAME.fullmatch(path.name.removesuffix(".json"))
    if match is None or int(match[1]) not in _CATEGORY_OF:
        raise DataError(f"{path.name}: not the name of a subtask of the first release, 001 to 061")
    task, sha256 = _read(path)
    examples = rendering.encoding.examples
    shown = examples + _PASSED_OVER if examples else 0
    plain = [schema.Instance("", row.input, row.references) for row in task.instances]
    kept = dataclasses.replace(task, instances=task.instances[:shown])
    options = index.find_options(plain)
    return Entry(str(path), sha256, int(match[1]), kept, len(plain), options)


def _read(path: epath.Path) -> tuple[schema_v1.Subtask, str]:
    """Returns a file's subtask and the hash of its bytes."""
    content = files.read_bytes(path)
    return schema_v1.parse_subtask(content, file=path.name), hashlib.sha256(content).hexdigest()


def test_indices(count: int) -> tuple[int, ...]:
    """Returns the positions of the instances that a subtask of so many is tested on.

    Where a subtask has fewer than 160, which none of the 12 evaluation subtasks has, the
    original's step is 0; then it is every position from 60 on.

    Source: the released encoder, which publishes predictions by these positions.
    """
    step = max(1, (count - _FIRST_TESTED) // TEST_INSTANCES)
    return tuple(range(_FIRST_TESTED, count - 1, step))[:TEST_INSTANCES]


def split_indices(count: int) -> dict[str, tuple[int, ...]]:
    """Returns the positions of each split; a subtask of up to 61 instances has no "test"."""
    test = test_indices(count)
    train = tuple(sorted(set(range(count)).difference(test)))
    return {"train": train, "test": test} if test else {"train": train}


def _register_entry(entry: Entry, rendering: Rendering) -> None:
    """Registers the task and the card of one file."""
    counts = {split: len(found) for split, found in split_indices(entry.count).items()}
    registration.register_task(
        entry.name,
        source=registration.rows_source(
            functools.partial(_rows, entry.path, entry.sha256),
            fields={"input": "string", "output": "strings", "position": "int"},
            counts=counts,
        ),
        render=functools.partial(_render, entry, rendering),
        facts={
            "sha256": entry.sha256,
            "splits": counts,
            "overflow": "keep_query",
            **rendering.facts(),
        },
        metric_fns=metrics.PUBLISHED_METRICS,
    )
    cards.register_card(_card(entry))


def _card(entry: Entry) -> cards.Card:
    """Returns the card of a subtask."""
    subtask = entry.subtask
    texts = (subtask.text(key) for key in ("Definition", "Prompt", "Title"))
    return cards.Card(
        name=entry.name,
        cluster=_CATEGORY_OF[entry.number],
        kind="classification" if entry.options else "generation",
        instructions=tuple(text for text in texts if text is not None),
        sources=(_DATASET_OF[entry.number],),
        licence="Apache-2.0",
        language="English",
        version=entry.sha256[:16],
        options=entry.options,
        variants=(entry.name,),
        module=__name__,
        attributes={
            "task": subtask.name,
            "category": _CATEGORY_OF[entry.number],
            "dataset": _DATASET_OF[entry.number],
            "title": subtask.text("Title"),
            "split": {"random": "test" if entry.number in EVALUATION else "train"},
        },
    )


def splits(numbers: Iterable[int]) -> dict[str, tuple[list[int], list[int]]]:
    """Returns the numbers of the subtasks that each split trains on and tests on.

    Args:
        numbers: subtasks that are there.
    """
    numbers = sorted(numbers)

    def leave(name: Callable[[int], str], left: str) -> tuple[list[int], list[int]]:
        out = [number for number in numbers if name(number) == left]
        return [number for number in numbers if number not in out], out

    chosen = [number for number in numbers if number in EVALUATION]
    found = {
        "random": ([number for number in numbers if number not in chosen], chosen),
        "supervised": (chosen, chosen),
    }
    kinds = (("category", _CATEGORY_OF.__getitem__), ("dataset", _DATASET_OF.__getitem__),
             ("task", "{:03}".format))  # fmt: skip
    for kind, name in kinds:
        for left in dict.fromkeys(map(name, numbers)):
            found[f"leave_{kind}_{left.lower()}"] = leave(name, left)
    return found


def _register_mixtures(entries: Sequence[Entry]) -> Iterator[str]:
    """Registers the mixtures of all splits, one after the other, and yields their names."""
    by_number = {entry.number: entry.name for entry in entries}
    for split, parts in splits(by_number).items():
        for part, numbers in zip(("train", "test"), parts, strict=True):
            name = f"{PREFIX}{split}_{part}"
            tasks = [by_number[number] for number in numbers]
            members = [task for task in tasks if part in seqio.TaskRegistry.get(task).splits]
            if not members:
                logging.warning("no mixture %s: no subtask of it is there to %s on", name, part)
                continue
            if len(members) < len(tasks):
                short = ", ".join(sorted(set(tasks).difference(members)))
                logging.warning("%s lacks %s: too few instances to test on any", name, short)
            mixtures.register_mixture(name, members, rates="uniform")
            yield name


class _Rows(Sequence[registration.Row]):
    """Some of a file's instances as rows of a source; a row is made when it is read."""

    def __init__(self, subtask: schema_v1.Subtask, indices: Sequence[int]):
        self._subtask = subtask
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: Any) -> Any:
        instance = self._subtask.instances[self._indices[position]]
        example_id = f"{self._subtask.name}-{instance.position}"
        return {"id": example_id, "position": instance.position, **instance.to_object()}


def _rows(path: str, sha256: str, split: str) -> _Rows:
    """Returns the rows of a split."""
    with _load_lock:
        subtask = _parse(path, sha256)
    return _Rows(subtask, split_indices(len(subtask.instances))[split])


@functools.lru_cache(maxsize=_KEPT_FILES)
def _parse(path: str, sha256: str) -> schema_v1.Subtask:
    """Returns a file's subtask.

    Raises:
        DataError: the file is not the one that was registered.
    """
    subtask, found = _read(epath.Path(path))
    if found != sha256:
        raise DataError(f"{path} has changed since it was registered: start the process anew")
    return subtask


def _render(
    entry: Entry, rendering: Rendering, example: Mapping[str, Any], draws: Draws
) -> Rendered:
    """Renders one instance; the target is one of its references."""
    inputs = encodings_v1.encode(
        entry.statement,
        {**example, "position": int(example["position"])},
        rendering.encoding,
        Budget.of_prompts(VOCABULARY, rendering.budget, "keep_query"),
    )
    references = example["output"]
    return Rendered(
        inputs=inputs,
        targets=draws.choice("reference", references),
        template=rendering.name,
        references=references,
    )


def _folder_from_settings() -> str:
    """Returns the folder that NI_V1_DIR names; see `settings.folder_setting`."""
    what = "the folder of the first release of Natural Instructions (subtask*.json)"
    return settings.folder_setting("NI_V1_DIR", what)


register(_folder_from_settings())
