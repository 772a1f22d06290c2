"""What shaped the examples of a task, for the fingerprint of its prepared records.

A task of this package declares it (`registration.register_task`). Of a task from elsewhere it is
found out: the files that its source reads, by content where they are small; what its source and
its preprocessors do (see `descriptions`); and its features with their vocabularies. Where that is
not all, the recipe says what is missing, and whoever changed that prepares with `--fresh`.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import seqio
from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, border
from flan_jax.instructions import descriptions
from flan_jax.instructions.origins import is_own
from flan_jax.instructions.vocabulary import HuggingFaceVocabulary, LateVocabulary

# Bump by hand whenever the code of `registration`, or a renderer, changes what it makes of the
# same inputs.
RENDERING_FORMAT = 1
# The same for what is found out of tasks from elsewhere.
FOREIGN_FORMAT = 2
# Files of a source that together have more bytes count by size, time and inode.
MOST_HASHED = 64 << 20
# Attributes of a vocabulary that say what it is; others are models, loaded when it is used.
_PLAIN = (bool, int, float, str, bytes, list, tuple, dict)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What shapes the renderings of a task, for the fingerprint of prepared records.

    Attributes:
        facts: JSON-able facts, and `descriptions.Description`s.
        more: further ones that are looked up when the fingerprint is asked for (settings, or
            what takes time to put together for thousands of tasks).
    """

    facts: Mapping[str, Any]
    more: Callable[[], Mapping[str, Any]] = dict

    def fingerprint(self) -> str:
        """Returns 16 hex digits over the facts and the rendering format number.

        Raises:
            DataError: a fact cannot be described; names the task.
        """
        described = functools.partial(_described, self.facts.get("name"))
        facts = [RENDERING_FORMAT, {**self.facts, **self.more()}]
        text = json.dumps(facts, sort_keys=True, default=described)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What shapes the renderings as well, and no fingerprint can hold; a phrase each."""
        facts = {**self.facts, **self.more()}.values()
        found = [fact.unknown for fact in facts if isinstance(fact, descriptions.Description)]
        return tuple(dict.fromkeys(phrase for phrases in found for phrase in phrases))


def _described(task: Any, value: Any) -> str:
    """Returns the text of a fact that is not JSON.

    Raises:
        DataError: it would be another one in the next process.
    """
    if isinstance(value, descriptions.Description):
        return value.digest
    if isinstance(value, os.PathLike | np.generic):
        return str(value)
    found = descriptions.describe(value, f"a {type(value).__name__} among its facts")
    if found.unknown:
        raise DataError(
            f"task {task!r}: {found.unknown[0]}, which no fingerprint can hold; give a version or "
            "a hash of it instead"
        )
    return found.digest


_RECIPES: dict[str, Recipe] = {}


def declare(task: str, recipe: Recipe) -> None:
    """Says what shapes a task; once more replaces what was said."""
    _RECIPES[task] = recipe


def get_recipe(task: str) -> Recipe:
    """Returns the recipe of a task: what was declared of it, else what can be found out.

    Raises:
        DataError: its dataset of TFDS cannot be had.
    """
    if task in _RECIPES:
        return _RECIPES[task]
    found = seqio.TaskRegistry.get(task)
    walker = _TaskWalker(task)
    walker.add(found.source, "its source")
    for number, step in enumerate(found.preprocessors, start=1):
        walker.add(step, f"preprocessor {number}")
    walker.add(dict(found.output_features), "its features")
    facts = {"format": FOREIGN_FORMAT, "name": task, "splits": sorted(found.splits)}
    return Recipe({**facts, "described": walker.description()})


class _TaskWalker(descriptions.Walker):
    """Knows sources and vocabularies, wherever in a task they are."""

    def __init__(self, task: str = ""):
        super().__init__()
        self._task = task

    def special(self, value: Any, where: str) -> bool:
        """Takes sources and vocabularies; see `Walker.special`."""
        if isinstance(value, seqio.DataSource):
            return self._source(value, where)
        if isinstance(value, seqio.Vocabulary):
            return self._vocabulary(value, where)
        return False

    def _source(self, source: Any, where: str) -> bool:
        name = type(source).__name__
        given = getattr(source, "fingerprint", None)
        if given is not None:
            self.say("fingerprint", name, given() if callable(given) else given)
        elif isinstance(source, seqio.TfdsDataSource):
            with border(f"task {self._task!r}: {source.tfds_dataset} cannot be had"):
                self._tfds(source)
        elif isinstance(source, seqio.FileDataSource):
            self._files(source, where)
        elif type(source) is seqio.FunctionDataSource:
            self.say(name)
            self.add(source._dataset_fn, where)
        else:
            if is_own(type(source).__module__):
                self.cannot_know(f"{where} is a {name}, which has no attribute 'fingerprint'")
            return False
        return True

    def _files(self, source: Any, where: str) -> None:
        """What is read, and how; how it is shuffled does not matter here."""
        self.say(type(source).__name__)
        self.add(type(source), where)
        found = {split: _shards(source, split) for split in sorted(source.splits)}
        self.say(json.dumps(file_facts(found, self.cannot_know)))
        # It is there to read files, and these are known.
        self.names_readers, names_readers = False, self.names_readers
        self.add(source._reader, f"the reader of {where}")
        self.names_readers = names_readers

    def _tfds(self, source: Any) -> None:
        """By name, version and data, which is downloaded as reading it would."""
        loader = source.tfds_dataset
        self.add(loader._decoders, "its decoders")
        for split in sorted(source.splits):
            self.say(split, loader._map_split(split))
            builder = loader._get_builder(split)
            if not builder.info.splits and not loader._read_only:
                builder.download_and_prepare()
            folder = epath.Path(builder.data_path)
            paths = sorted(map(str, folder.iterdir())) if folder.is_dir() else []
            counts = {key: info.num_examples for key, info in builder.info.splits.items()}
            facts = file_facts({split: paths}, self.cannot_know)
            self.say(builder.info.full_name, json.dumps([counts, facts]))

    def _vocabulary(self, vocabulary: Any, where: str) -> bool:
        """By its model's file and its numbers; what else it holds is made of these when used."""
        if isinstance(vocabulary, LateVocabulary):  # beside the recipe, see `records.UnitSpec`
            self.say("late")
            return True
        if is_own(type(vocabulary).__module__):
            return False
        plain = {key: value for key, value in vars(vocabulary).items() if type(value) in _PLAIN}
        if isinstance(vocabulary, seqio.SentencePieceVocabulary):
            path = plain.pop("_sentencepiece_model_file", "")
            overrides = vocabulary._normalizer_spec_overrides
            plain["overrides"] = overrides and overrides.SerializeToString(deterministic=True)
        elif isinstance(vocabulary, HuggingFaceVocabulary):
            path = os.path.join(plain.pop("_folder"), "tokenizer.json")
        else:
            path = ""
        # One on the network is not fetched for this; those do not change.
        near = [] if files.is_remote(path) else [path]
        self.say(path if files.is_remote(path) else "", type(vocabulary).__name__)
        self.say(json.dumps(file_facts({"": near}, self.cannot_know)))
        self.add(dict(sorted(plain.items())), where)
        return True


def _shards(source: Any, split: str) -> list[str]:
    """Returns the files of a split; reading it will say why there are none."""
    try:
        return [os.fspath(path) for path in source.list_shards(split)]
    except Exception:
        return []


def file_facts(
    found: Mapping[str, Iterable[str]], cannot_know: Callable[[str], None] = lambda phrase: None
) -> dict[str, list[list[Any]]]:
    """Returns what tells files from what they were, by split, in the order of reading.

    Where they lie is not among it: data may be moved.
    """
    stamps = {path: _stamp(path) for paths in found.values() for path in paths}
    small = sum(one.size for one in stamps.values() if one is not None) <= MOST_HASHED

    def facts(path: str) -> list[Any]:
        one, name = stamps[path], os.path.basename(path)
        if one is None:
            return [name]
        if not _is_regular(path):
            cannot_know(f"{path} is no regular file")
            return [name]
        if small:
            return [name, files.file_digest(path)]
        return [name, one.size, one.mtime_ns, one.inode]

    return {split: [facts(path) for path in paths] for split, paths in found.items()}


def _stamp(path: str) -> files.Stamp | None:
    try:
        return files.stamp(path)
    except Exception:  # of any storage; there is no such file
        return None


def _is_regular(path: str) -> bool:
    return files.is_remote(path) or stat.S_ISREG(os.stat(path).st_mode)


def describe_reader(read: Any) -> Any:
    """Returns the fact that describes how a declared dataset reads its rows.

    FLAN's own readers are described as they always were, so that what was prepared stays in use.
    """
    if str(getattr(read, "func", read).__module__).startswith("tasks.flan."):
        parts: dict[str, str] = {}
        _describe_flan(read, parts)
        return "\n".join(parts.values())
    return descriptions.describe(read, "its reader")


def _describe_flan(function: Any, parts: dict[str, str]) -> None:
    """By source, closed-over values, and the functions and constants of its module it names."""
    made = getattr(function, "args", ()), getattr(function, "keywords", {})
    function = getattr(function, "func", function)  # of a functools.partial
    key = f"{function.__module__}.{function.__qualname__}"
    if key in parts:
        return
    parts[key] = f"{inspect.getsource(function)}{made[0]}{made[1]}"
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    named = [function.__globals__.get(name) for name in sorted(_all_names(function.__code__))]
    for value in [*closed, *named]:
        if inspect.isfunction(value):
            if value.__module__ == function.__module__:
                _describe_flan(value, parts)
        elif isinstance(
            value, str | int | float | bool | tuple | list | dict | frozenset | re.Pattern
        ):
            text = repr(sorted(value) if isinstance(value, frozenset) else value)
            # Longer ones, tables of templates, count by their length.
            parts[key] += text if len(text) < 10_000 else str(len(text))


def _all_names(code: Any) -> set[str]:
    inside = (const for const in code.co_consts if inspect.iscode(const))
    return set(code.co_names).union(*map(_all_names, inside))
