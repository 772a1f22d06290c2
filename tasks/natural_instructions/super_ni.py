"""Super-NaturalInstructions (Wang et al. 2022): one task a file, mixtures for its tracks.

Importing this module registers the folder that SUPER_NI_DIR names (gin macro or environment
variable), a clone of the benchmark's repository or a part of it: `tasks/*.json` and
`splits/<track>/*_tasks.txt`.

* Tasks `super_ni_<task>` (hyphens become underscores). A task that a track tests on has the
  split "test", its first 100 instances as in the paper, and "train" with the rest where there is
  one, which is for supervised upper bounds. One that a track develops on has "validation"
  likewise. All others have "train".
* Mixtures `super_ni_<track>_{train,test,dev}`, all tasks alike.

SUPER_NI_ENCODING names the encoding of the prompts (`encodings.ENCODINGS`; Tk-Instruct's
`def_pos2` where unset) and SUPER_NI_BUDGET the most tokens of a prompt with its end-of-sequence
token (1024). A prompt that is too long loses instructions, never its query.
"""

import dataclasses
import functools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import seqio
from absl import logging
from etils import epath

from flan_jax import settings
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import cards, encodings, mixtures, registration
from flan_jax.instructions.rendering import Draws
from flan_jax.instructions.schema import Instance, SchemaTask
from flan_jax.instructions.vocabulary import VOCABULARY
from tasks.natural_instructions import index

PREFIX = "super_ni_"
# Test tasks are tested on their first 100 instances (Wang et al. 2022, section 5.1).
TEST_INSTANCES = 100
DEFAULT_ENCODING = "def_pos2"
DEFAULT_BUDGET = 1024
# In the byte vocabulary the query with nothing in it takes 55 tokens.
_LEAST_BUDGET = 64
# The split of a task that is in this part of any track; test wins over dev.
_HELD_OUT = {"test": "test", "dev": "validation"}
_MIXED_SPLITS = {"train": "train", **_HELD_OUT}
# Parsed files kept for the next split or rendering of the same task; one may take 50 MB.
_KEPT_FILES = 4
# Every vocabulary that VOCABULARY takes has at most as many tokens as the text has bytes.
_TOKENS_PER_BYTE = 1


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How instances become prompts."""

    encoding: str
    budget: int

    @classmethod
    def from_settings(cls) -> "Rendering":
        """Returns what SUPER_NI_ENCODING and SUPER_NI_BUDGET say.

        Raises:
            ConfigError: no such encoding, or the budget is no number that holds a query.
        """
        encoding = str(settings.setting("SUPER_NI_ENCODING", DEFAULT_ENCODING))
        encodings.get_encoding(encoding)
        budget = settings.setting("SUPER_NI_BUDGET", DEFAULT_BUDGET)
        digits = str(budget).strip()
        if not digits.isdecimal() or int(digits) < _LEAST_BUDGET:
            raise ConfigError(
                f"SUPER_NI_BUDGET is a number of tokens, at least {_LEAST_BUDGET}, not {budget!r}"
            )
        return cls(encoding, int(digits))


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
    """Registers the tasks and mixtures of a folder; a second time it does nothing.

    Args:
        folder: a Super-NaturalInstructions folder.

    Raises:
        DataError: the folder is not as it should be, or another folder, or this one with other
            settings, is registered in this process.
        ConfigError: see `Rendering.from_settings`.
    """
    global _registered
    folder = folder if "://" in folder else os.path.realpath(folder)
    rendering = Rendering.from_settings()
    if _registered is not None and _live(_registered):
        return _same(_registered, folder, rendering)
    unregister()  # cards, say, that stayed when the registry was emptied by hand
    entries = index.build_index(folder)
    tracks = index.read_tracks(folder, entries)
    _registered = Registered(folder, rendering, _free_names(entries), ())
    try:
        for entry in entries.values():
            _register_entry(folder, entry, tracks, rendering)
        for track in tracks:
            for name in _register_mixtures(track):
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
            f"Super-NI is registered already from {registered.folder} with "
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


def seqio_name(task: str) -> str:
    """Returns the SeqIO name of a task file; SeqIO takes no hyphens."""
    return PREFIX + task.replace("-", "_")


def _free_names(tasks: Iterable[str]) -> tuple[str, ...]:
    """Returns the SeqIO names of tasks.

    Raises:
        DataError: two tasks get the same one, or one is taken.
    """
    taken = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *cards.card_names()}
    owners: dict[str, str] = {}
    for task in tasks:
        name = seqio_name(task)
        if owners.setdefault(name, task) != task:
            raise DataError(f"tasks {owners[name]!r} and {task!r} would both be named {name!r}")
        if name in taken:
            raise DataError(f"a task or mixture named {name!r} is registered already")
    return tuple(owners)


def split_counts(entry: index.Entry, tracks: Sequence[index.Track]) -> dict[str, int]:
    """Returns the number of instances by split; the held-out split holds the first ones."""
    parts = {track.part_of(entry.name) for track in tracks}
    held_out = next((split for part, split in _HELD_OUT.items() if part in parts), None)
    if held_out is None:
        return {"train": entry.instances}
    held = min(TEST_INSTANCES, entry.instances)
    rest = {"train": entry.instances - held} if entry.instances > held else {}
    return {held_out: held, **rest}


def _register_entry(
    folder: str, entry: index.Entry, tracks: Sequence[index.Track], rendering: Rendering
) -> None:
    """Registers the task and the card of one file."""
    name = seqio_name(entry.name)
    counts = split_counts(entry, tracks)
    path = str(epath.Path(folder) / "tasks" / f"{entry.name}.json")
    registration.register_task(
        name,
        source=registration.rows_source(
            functools.partial(_rows, path, entry.sha256, counts),
            fields={"input": "string", "output": "strings"},
            counts=counts,
        ),
        render=functools.partial(_render, path, entry.sha256, rendering),
        facts={
            "sha256": entry.sha256,
            "splits": counts,
            "overflow": "keep_query",
            **dataclasses.asdict(rendering),
        },
    )
    cards.register_card(_card(name, entry, tracks))


def _card(name: str, entry: index.Entry, tracks: Sequence[index.Track]) -> cards.Card:
    """Returns the card of a task file."""
    return cards.Card(
        name=name,
        cluster=entry.categories[0],
        kind="classification" if entry.options else "generation",
        instructions=(entry.definition,),
        sources=entry.sources,
        licence="; ".join(entry.licences) or "unknown",
        language=entry.input_languages[0],
        version=entry.sha256[:16],
        options=entry.options,
        variants=(name,),
        module=__name__,
        attributes={
            "task": entry.name,
            "category": entry.categories[0],
            "domains": list(entry.domains),
            "reasoning": list(entry.reasoning),
            "input_language": list(entry.input_languages),
            "output_language": list(entry.output_languages),
            "split": {track.name: track.part_of(entry.name) for track in tracks},
        },
    )


def _register_mixtures(track: index.Track) -> Iterator[str]:
    """Registers the mixtures of a track, one after the other, and yields their names."""
    for part, split in _MIXED_SPLITS.items():
        if part not in track.listed:
            continue
        name = f"{PREFIX}{track.name.replace('-', '_')}_{part}"
        tasks = [seqio_name(task) for task in track.present[part]]
        members = [task for task in tasks if split in seqio.TaskRegistry.get(task).splits]
        _log_members(name, track, part, len(members), len(tasks))
        if members:
            mixtures.register_mixture(name, members, rates="uniform")
            yield name


def _log_members(name: str, track: index.Track, part: str, members: int, present: int) -> None:
    """Says what a mixture lacks, loudest where it is not even registered."""
    file = f"splits/{track.name}/{part}_tasks.txt"
    listed = len(track.listed[part])
    if not listed:
        logging.warning("%s is empty: there is no mixture %s", file, name)
    elif not present:
        logging.warning("%s: none of its %d tasks is in tasks/: no mixture %s", file, listed, name)
    elif members < present:
        held_out = present - members
        logging.warning("%s lacks %d tasks that other tracks hold out whole", name, held_out)
    logging.info("%s: %d of the %d tasks of %s", name, members, listed, file)


class _Rows(Sequence[registration.Row]):
    """Instances as rows of a source; a row is made when it is read."""

    def __init__(self, instances: Sequence[Instance]):
        self._instances = instances

    def __len__(self) -> int:
        return len(self._instances)

    def __getitem__(self, position: Any) -> Any:
        return self._instances[position].to_object()


def _rows(path: str, sha256: str, counts: Mapping[str, int], split: str) -> _Rows:
    """Returns the rows of a split: the held-out one comes first in the file."""
    instances = _load(path, sha256).instances
    # tf.data's threads, where an error is hard to see, find this made.
    _statement(path, sha256)
    if split == "train":
        return _Rows(instances[len(instances) - counts["train"] :])
    return _Rows(instances[: counts[split]])


def _load(path: str, sha256: str) -> SchemaTask:
    """Returns a task file, parsed once however many threads ask.

    Raises:
        DataError: the file is not the one that was registered.
    """
    with _load_lock:
        return _parse(path, sha256)


@functools.lru_cache(maxsize=_KEPT_FILES)
def _parse(path: str, sha256: str) -> SchemaTask:
    task, found = index.read_task(path)
    if found != sha256:
        raise DataError(f"{path} has changed since it was registered: start the process anew")
    return task


@functools.cache
def _statement(path: str, sha256: str) -> Mapping[str, Any]:
    """Returns what prompts need of a task beside the instance; small, so kept for good."""
    return _load(path, sha256).prompt_object()


def _render(
    path: str, sha256: str, rendering: Rendering, example: Mapping[str, Any], draws: Draws
) -> registration.Rendered:
    """Renders one instance; the target is one of its references."""
    inputs = encodings.encode(
        _statement(path, sha256),
        example,
        rendering.encoding,
        budget=rendering.budget - 1,  # for the end-of-sequence token
        tokenize=VOCABULARY.encode,
        detokenize=VOCABULARY.decode,
        overflow="keep_query",
        max_tokens_per_byte=_TOKENS_PER_BYTE,
    )
    references = example["output"]
    return registration.Rendered(
        inputs=inputs,
        targets=draws.choice("reference", references),
        template=rendering.encoding,
        references=references,
    )


def _folder_from_settings() -> str:
    """Returns the folder that SUPER_NI_DIR names.

    Raises:
        DataError: it is not set, or there is no such folder.
    """
    folder = settings.setting("SUPER_NI_DIR")
    how = (
        "give the folder of a clone of Super-NaturalInstructions (it holds tasks/ and splits/) "
        "as --gin.SUPER_NI_DIR=FOLDER or in the environment variable SUPER_NI_DIR"
    )
    if not folder:
        raise DataError(f"SUPER_NI_DIR is not set: {how}")
    if not epath.Path(folder).is_dir():
        raise DataError(f"SUPER_NI_DIR is {str(folder)!r}, which is not a folder: {how}")
    return str(folder)


register(_folder_from_settings())
