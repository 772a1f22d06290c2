"""Super-NaturalInstructions (Wang et al. 2022): one task a file, mixtures for its tracks.

Importing this module registers the folder that SUPER_NI_DIR names (gin macro or environment
variable), a clone of the benchmark's repository or a part of it: `tasks/*.json` and
`splits/<track>/*_tasks.txt`.

* Tasks `super_ni_<task>` (hyphens become underscores). A task that a track tests on has the
  split "test", its first 100 instances as in the paper, and "train" with the rest where there is
  one, which is for supervised upper bounds. One that a track develops on has "validation"
  likewise. All others have "train".
* Mixtures `super_ni_<track>_{train,test,dev}`, all tasks alike.
* Parts of tasks, such as `super_ni_<task>_100inst`, and mixtures of them: see `super_ni_mixtures`.

SUPER_NI_ENCODING names the encoding of the prompts (`encodings.get_encoding`, or `meta`, which
draws one for each example; Tk-Instruct's `def_pos2` where unset) and SUPER_NI_BUDGET the most
tokens of a prompt with its end-of-sequence token (PROMPT_BUDGET, or else 1024). A prompt whose
definition and query are longer loses instructions, never its query, and that is said once a task;
with SUPER_NI_OVERFLOW=original it loses its end, as in Tk-Instruct.
"""

import dataclasses
import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import seqio
from absl import logging
from etils import epath

from flan_jax import files, metrics, settings
from flan_jax.errors import DataError
from flan_jax.instructions import cards, mixtures, registration
from flan_jax.instructions.budgets import Budget, Fit, Overflow
from flan_jax.instructions.draws import Draws, current_rendering
from flan_jax.instructions.long_prompts import prompt_budget
from flan_jax.instructions.rendering import AtBuild, Rendered, RenderFn
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.natural_instructions import encodings
from flan_jax.natural_instructions.schema import Instance, SchemaTask
from tasks.natural_instructions import index
from tasks.natural_instructions.super_ni_mixtures import (
    HELD_OUT,
    PREFIX,
    TEST_INSTANCES,
    Catalogue,
    Choices,
    LateMixture,
    Part,
    seqio_name,
    split_counts,
)

__all__ = [
    "PREFIX", "TEST_INSTANCES", "Registered", "Rendering", "register", "seqio_name",
    "split_counts", "unregister",
]  # fmt: skip
DEFAULT_ENCODING = "def_pos2"
DEFAULT_BUDGET = 1024
_MIXED_SPLITS = {"train": "train", **HELD_OUT}
# Parsed files kept for the next split or rendering of the same task; one may take 50 MB.
_KEPT_FILES = 4


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How instances become prompts."""

    encoding: str
    budget: int
    overflow: Overflow = "keep_query"

    @classmethod
    def from_settings(cls) -> "Rendering":
        """Returns what SUPER_NI_ENCODING, SUPER_NI_BUDGET and SUPER_NI_OVERFLOW say.

        Raises:
            ConfigError: no such encoding or way to overflow, or the budget is no number that
                holds a query.
        """
        encoding = str(settings.setting("SUPER_NI_ENCODING", DEFAULT_ENCODING))
        encodings.check_encoding(encoding)
        overflow = settings.setting("SUPER_NI_OVERFLOW", "keep_query")
        budget = settings.setting("SUPER_NI_BUDGET", prompt_budget() or DEFAULT_BUDGET)
        return cls(encoding, budget, overflow)

    def facts(self) -> dict[str, Any]:
        """Returns what prompts depend on."""
        among = {"among": encodings.META_ENCODINGS} if self.encoding == encodings.META else {}
        return dataclasses.asdict(self) | among


@dataclasses.dataclass(frozen=True)
class Registered:
    """What was registered, from where and how.

    Attributes:
        folder: the folder.
        rendering: how its instances become prompts.
        tasks: SeqIO tasks, one a file.
        mixtures: mixtures of the split files.
        choices: settings of further mixtures.
        more_tasks: SeqIO tasks of parts of files, for the next.
        more_mixtures: all other mixtures.
    """

    folder: str
    rendering: Rendering
    tasks: tuple[str, ...]
    mixtures: tuple[str, ...]
    choices: Choices = Choices()
    more_tasks: tuple[str, ...] = ()
    more_mixtures: tuple[str, ...] = ()


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
    folder = folder if files.is_remote(folder) else os.path.realpath(folder)
    rendering, choices = Rendering.from_settings(), Choices.from_settings()
    if _registered is not None and _live(_registered):
        return _same(_registered, folder, rendering, choices)
    unregister()  # cards, say, that stayed when the registry was emptied by hand
    entries = index.build_index(folder)
    tracks = index.read_tracks(folder, entries)
    catalogue = Catalogue(entries, tracks, choices)
    parts = {task: catalogue.parts(task) for task in entries}
    _registered = _free_names(Registered(folder, rendering, (), (), choices), parts)
    try:
        for task, entry in entries.items():
            _register_entry(folder, entry, parts[task], tracks, rendering)
        for track in tracks:
            for name in _register_mixtures(track):
                _registered = _with(_registered, mixtures=name)
        _registered = dataclasses.replace(
            _registered, more_mixtures=tuple(_register_more_mixtures(catalogue))
        )
    except Exception:
        unregister()
        raise
    return _registered


def _with(registered: Registered, mixtures: str) -> Registered:
    """Returns what is registered with one mixture more."""
    return dataclasses.replace(registered, mixtures=(*registered.mixtures, mixtures))


def _same(
    registered: Registered, folder: str, rendering: Rendering, choices: Choices
) -> Registered:
    """Returns what is registered.

    Raises:
        DataError: something else is asked for.
    """
    asked = (folder, rendering, choices)
    if (registered.folder, registered.rendering, registered.choices) != asked:
        raise DataError(
            f"Super-NI is registered already from {registered.folder} with "
            f"{registered.rendering} and {registered.choices}, so not from {folder} with "
            f"{rendering} and {choices}; one process reads one folder in one way (`unregister` "
            "undoes it)"
        )
    return registered


def unregister() -> None:
    """Removes everything that `register` added, so that another folder can be registered."""
    global _registered
    if _registered is not None:
        for name in (*_registered.mixtures, *_registered.more_mixtures):
            seqio.MixtureRegistry.remove(name)
        for name in (*_registered.tasks, *_registered.more_tasks):
            seqio.TaskRegistry.remove(name)
        for name in _registered.tasks:
            cards.remove_card(name)
    _registered = None


def _live(registered: Registered) -> bool:
    """Whether the registry still has what was registered; tests and notebooks empty it."""
    known = set(seqio.TaskRegistry.names())
    return all(task in known for task in (*registered.tasks, *registered.more_tasks))


def _free_names(empty: Registered, parts: Mapping[str, Mapping[str, Part]]) -> Registered:
    """Returns what is to be registered: the SeqIO names of task files and of their parts.

    Raises:
        DataError: two tasks get the same name, or one is taken.
    """
    taken = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *cards.card_names()}
    owners: dict[str, str] = {}
    for task, of_task in parts.items():
        for name in of_task:
            if owners.setdefault(name, task) != task:
                raise DataError(f"tasks {owners[name]!r} and {task!r} would both be named {name!r}")
            if name in taken:
                raise DataError(f"a task or mixture named {name!r} is registered already")
    whole = tuple(seqio_name(task) for task in parts)
    files = frozenset(whole)
    more = tuple(name for name in owners if name not in files)
    return dataclasses.replace(empty, tasks=whole, more_tasks=more)


def _register_entry(
    folder: str,
    entry: index.Entry,
    parts: Mapping[str, Part],
    tracks: Sequence[index.Track],
    rendering: Rendering,
) -> None:
    """Registers the task of one file, those of its parts, and their card."""
    path = str(epath.Path(folder) / "tasks" / f"{entry.name}.json")
    whole, facts = seqio_name(entry.name), rendering.facts()
    render = AtBuild(functools.partial(_renderer, path, entry.sha256, rendering, whole))
    for name, part in parts.items():
        registration.register_task(
            name,
            source=registration.LateRows(
                functools.partial(_rows, path, entry.sha256, entry.name, part),
                {"input": "string", "output": "strings"},
                tuple(part.counts),
                functools.partial(dict, part.counts),
            ),
            render=render,
            facts={"sha256": entry.sha256, **part.facts(), **facts},
            metric_fns=metrics.PUBLISHED_METRICS,
        )
    cards.register_card(_card(entry, tuple(parts), tracks))


def _card(
    entry: index.Entry, variants: tuple[str, ...], tracks: Sequence[index.Track]
) -> cards.Card:
    """Returns the card of a task file."""
    return cards.Card(
        name=variants[0],
        cluster=entry.categories[0],
        kind="classification" if entry.options else "generation",
        instructions=(entry.definition,),
        sources=entry.sources,
        licence="; ".join(entry.licences) or "unknown",
        language=entry.input_languages[0],
        version=entry.sha256[:16],
        options=entry.options,
        variants=variants,
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


def _register_more_mixtures(catalogue: Catalogue) -> Iterator[str]:
    """Registers all further mixtures and yields their names.

    Raises:
        DataError: a name is taken; those before it are not registered either.
    """
    found = dict(catalogue.mixtures())
    for name in found:
        if name in seqio.MixtureRegistry.names() or name in seqio.TaskRegistry.names():
            raise DataError(f"a task or mixture named {name!r} is registered already")
    for name, members in found.items():
        seqio.MixtureRegistry.add_provider(name, LateMixture(name, *members))
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


def _rows(path: str, sha256: str, task: str, part: Part, split: str) -> _Rows:
    """Returns the rows of a split of a part of a file."""
    instances = _load(path, sha256).instances
    # tf.data's threads, where an error is hard to see, find this made.
    _statement(path, sha256)
    return _Rows(part.select(task, instances, split))


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
        index.forget(path)
        raise DataError(f"{path} has changed since it was registered: start the process anew")
    return task


@functools.cache
def _statement(path: str, sha256: str) -> Mapping[str, Any]:
    """Returns what prompts need of a task beside the instance; small, so kept for good."""
    return _load(path, sha256).prompt_object()


def _renderer(path: str, sha256: str, rendering: Rendering, whole: str) -> RenderFn:
    """Returns the renderer of a file's instances.

    Whatever part of the file an instance is read in, it draws as in the whole task: so curves
    over numbers of instances differ in these and in nothing else.
    """
    key = current_rendering()

    def render(example: Mapping[str, Any], draws: Draws) -> Rendered:
        del draws  # keyed by the part
        return _render(path, sha256, rendering, example, Draws(key, whole, example["id"]))

    return render


def _render(
    path: str, sha256: str, rendering: Rendering, example: Mapping[str, Any], draws: Draws
) -> Rendered:
    """Renders one instance; the target is one of its references."""
    encoding = encodings.draw(rendering.encoding, draws)
    prompt = encodings.encode_prompt(
        _statement(path, sha256),
        example,
        encoding,
        Budget.of_prompts(VOCABULARY, rendering.budget, rendering.overflow),
    )
    if not prompt.whole:
        _say_shortened(path, rendering)
    references = example["output"]
    blank = " " if encodings.get_encoding(encoding).trimmed else ""
    return Rendered(
        inputs=prompt.text,
        targets=blank + draws.choice("reference", references),
        template=encoding,
        references=references,
        fit=Fit.WHOLE if prompt.whole else Fit.SHORTENED,
    )


@functools.cache
def _say_shortened(path: str, rendering: Rendering) -> None:
    """Says, once a task, that a prompt lost something of its definition or its query."""
    lost = (
        "definitions, and then the middle of inputs, are shortened"
        if rendering.overflow == "keep_query"
        else "prompts are cut at their end, as SUPER_NI_OVERFLOW has it"
    )
    logging.warning(
        "%s: some definitions and queries exceed %d tokens; %s",
        epath.Path(path).name, rendering.budget, lost,
    )  # fmt: skip


def _folder_from_settings() -> str:
    """Returns the folder that SUPER_NI_DIR names; see `settings.folder_setting`."""
    what = "the folder of a clone of Super-NaturalInstructions (it holds tasks/ and splits/)"
    return settings.folder_setting("SUPER_NI_DIR", what)


register(_folder_from_settings())
