"""Tasks as the selector sees them: names and instructions, without one instance.

Instructions are refined before they are compared: of a prompt template only what the task says
is kept, for placeholders and template code are alike between tasks that have nothing else in
common (Lee et al. 2024, section 4.3; how they did it is not published, these rules are ours).
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions.promptsource import SEPARATOR
from flan_jax.texts import nfc

# Bump by hand whenever `refine` gives another text for some input.
REFINEMENT = 1

# What ends what begins so.
_JINJA = {"{#": "#}", "{%": "%}", "{{": "}}"}
_STRAY = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][\w.\- ]{0,63}\}")
_EMPTY_PAIR = re.compile(r"\"\s*\"|``\s*''|“\s*”|‘\s*’|\(\s*\)|\[\s*\]|(?<!\w)'\s*'(?!\w)")
# Each round of refinement takes away what was empty or a placeholder, the innermost first.
_MOST_ROUNDS = 12
_SPACE_BEFORE = re.compile(r"\s+([,.;?!])(?=\s|$)")


@dataclasses.dataclass(frozen=True)
class LibraryTask:
    """A task that can be chosen, or be chosen for.

    Attributes:
        name: the task's name; in the SeqIO registry too where it is trained on.
        instructions: refined texts that state it, at least one, none twice.
        cluster: cluster or category, where one is known.
        sources: names of the datasets its instances come from.
        tokens: how many tokens its training examples have, where somebody said so.
    """

    name: str
    instructions: tuple[str, ...]
    cluster: str | None = None
    sources: tuple[str, ...] = ()
    tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise DataError("a task of a library has no name")
        if not self.instructions or not all(text.strip() for text in self.instructions):
            raise DataError(f"task {self.name!r} needs at least one instruction, none of it blank")


@dataclasses.dataclass(frozen=True)
class Counts:
    """What became of the instructions that were read.

    Attributes:
        read: texts that were read.
        kept: instructions of the library.
        inverting: templates left out since they state another task than their dataset's.
        empty: texts of which refinement left nothing.
        repeated: texts that equal another one of their task after refinement.
        tasks_without: tasks left out since no instruction of theirs remained.
    """

    read: int = 0
    kept: int = 0
    inverting: int = 0
    empty: int = 0
    repeated: int = 0
    tasks_without: int = 0

    def lost(self) -> str:
        """Returns what was left out, for people; empty where nothing was."""
        found = {
            "templates of other tasks than their dataset's": self.inverting,
            "empty instructions": self.empty,
            "repeated instructions": self.repeated,
            "tasks without an instruction": self.tasks_without,
        }
        return ", ".join(f"{count} {what}" for what, count in found.items() if count)

    def __add__(self, other: "Counts") -> "Counts":
        """Returns the sums."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Counts(*(a + b for a, b in pairs))


def source_key(source: str) -> str:
    """Returns what two spellings of one dataset's name share."""
    return source.strip().lower().replace("-", "_")


def refine(text: str) -> str:
    """Returns the instruction in a text, in one line; empty where there is none.

    Of a promptsource template the input side is kept, what precedes `|||`. Jinja comments,
    statements and expressions and `{placeholders}` are removed, with the quotation marks and
    brackets that stood around them; whitespace is folded. What then has no letter or digit is
    empty. Refining twice changes nothing more.

    Raises:
        DataError: what is empty is nested deeper than anybody writes.
    """
    text = nfc(text)
    for _ in range(_MOST_ROUNDS):
        refined = _refine_once(text)
        if refined == text:
            return refined if any(character.isalnum() for character in refined) else ""
        text = refined
    raise DataError(
        f"an instruction has brackets or quotation marks nested more than {_MOST_ROUNDS} deep, "
        "with nothing in them"
    )


def _refine_once(text: str) -> str:
    text = _without_jinja(text).partition(SEPARATOR)[0]
    text = _PLACEHOLDER.sub(" ", _STRAY.sub(" ", text))
    text = _EMPTY_PAIR.sub(" ", text)
    return _SPACE_BEFORE.sub(r"\1", " ".join(text.split()))


def _without_jinja(text: str) -> str:
    """Returns a text with a space for each comment, statement and expression.

    No pattern could do so in linear time: from each beginning it would look for an end that is
    not there.
    """
    begins = dict(_JINJA)
    kept, position = [], 0  # up to where the text is dealt with
    place = 0
    while begins and (place := text.find("{", place)) >= 0:
        kind = text[place : place + 2]
        end = text.find(begins[kind], place + 2) if kind in begins else -1
        if end < 0:
            begins.pop(kind, None)  # no later one ends either
            place += 1
            continue
        end += 2
        while kind == "{{" and text[end : end + 1] == "}":
            end += 1
        kept += [text[position:place], " "]
        place = position = end
    return "".join([*kept, text[position:]])


def refine_all(texts: Iterable[str]) -> tuple[tuple[str, ...], Counts]:
    """Returns the refined texts of one task, without empty and repeated ones, and counts."""
    refined = [refine(text) for text in texts]
    kept = tuple(dict.fromkeys(text for text in refined if text))
    empty = sum(not text for text in refined)
    counts = Counts(len(refined), len(kept), 0, empty, len(refined) - empty - len(kept))
    return kept, counts


@dataclasses.dataclass(frozen=True)
class Library:
    """Tasks sorted by name.

    Attributes:
        tasks: the tasks.
        origin: where they come from, as it was asked for.
        counts: what became of the instructions that were read.
    """

    tasks: tuple[LibraryTask, ...]
    origin: str
    counts: Counts = Counts()

    @classmethod
    def of(
        cls, tasks: Iterable[LibraryTask], origin: str, counts: Counts | None = None
    ) -> "Library":
        """Returns a library of tasks in any order.

        Raises:
            DataError: there is no task, or two have one name.
        """
        ordered = tuple(sorted(tasks, key=lambda task: task.name))
        if not ordered:
            raise DataError(f"library {origin}: no task with an instruction in it")
        for before, task in zip(ordered, ordered[1:], strict=False):
            if before.name == task.name:
                raise DataError(f"library {origin}: there are two tasks named {task.name!r}")
        number = sum(len(task.instructions) for task in ordered)
        return cls(ordered, origin, counts or Counts(number, number))

    @functools.cached_property
    def by_name(self) -> dict[str, LibraryTask]:
        """The tasks by name."""
        return {task.name: task for task in self.tasks}

    def get(self, name: str) -> LibraryTask:
        """Returns a task.

        Raises:
            DataError: there is none of that name; the nearest ones are offered.
        """
        if name not in self.by_name:
            hint = did_you_mean(name, self.by_name)
            raise DataError(f"no task {name!r} in library {self.origin}{hint}")
        return self.by_name[name]

    def without(self, names: Collection[str]) -> "Library":
        """Returns the library without some tasks."""
        left = tuple(task for task in self.tasks if task.name not in names)
        return dataclasses.replace(self, tasks=left)

    def only(self, names: Collection[str], why: Sequence[str]) -> "Library":
        """Returns the library with some of its tasks only.

        Args:
            names: of the tasks that stay.
            why: what they were asked for as, for `origin`.

        Raises:
            DataError: none stays.
        """
        kept = (task for task in self.tasks if task.name in names)
        return Library.of(kept, f"{self.origin} among {', '.join(why)}", self.counts)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of names, instructions, clusters and sources, as hexadecimal digits."""
        return library_hash(self.tasks)


def library_hash(tasks: Sequence[LibraryTask]) -> str:
    """Returns the SHA-256 of tasks in any order; token counts do not enter it."""
    rows = sorted(
        [task.name, list(task.instructions), task.cluster, list(task.sources)] for task in tasks
    )
    text = json.dumps([REFINEMENT, rows], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
