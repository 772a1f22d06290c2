"""What a MiniLab task is, and how its instances are drawn.

An instance is a function of (seed, task, split, index) and of nothing else. Its main text alone
decides the split it may appear in, so splits are disjoint by content, under any seed and in any
number of rows: whoever wants a test instance draws until one falls into the test split.
"""

import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions.cards import Card, Kind
from flan_jax.instructions.templates import Template, substitute

T = TypeVar("T")
Fields = dict[str, str]

# What a published MiniLab number refers to; instances are without limit, these are declared.
SEED = 2026
COUNTS = {"train": 1000, "validation": 50, "test": 50}
VERSION = "3"
LICENCE = "Apache-2.0"

# Of four shares of all possible main texts, two train, one validates and one tests.
_SPLIT_OF_SHARE = ("test", "validation", "train", "train")

# What a task asks of whoever does it. Tasks that share a skill are related by construction, the
# others are not, so transfer between them can be measured.
SKILLS = {
    "order": "puts words in another order",
    "position": "takes words by where they stand",
    "edit": "changes a text at a place that is named",
    "format": "writes words in a stated form",
    "kind": "knows what kind of thing a word names",
    "spelling": "knows the letters of a word",
    "count": "counts",
    "number": "calculates with numbers, or compares them",
    "find": "finds a fact that is stated",
    "judge": "weighs a claim against what is stated",
    "match": "sees whether two texts or words are the same",
    "lexicon": "goes by a list of words that is stated",
    "dictionary": "replaces words by what a list gives for them",
    "sentence": "writes a sentence from facts",
    "question": "writes a question",
    "rule": "finds the rule behind worked examples",
}


class Dice:
    """Random choices that are the same on any machine and any Python.

    Only `random.Random.random` is used: its sequence for an integer seed is promised not to
    change, which is not said of `choice`, `sample` and `shuffle`.
    """

    def __init__(self, *keys: object):
        """Args:
        keys: what the choices depend on; by their text.
        """
        self._random = random.Random(_hash64("\x1f".join(map(str, keys)))).random

    def below(self, n: int) -> int:
        """Returns an integer in [0, n)."""
        return int(self._random() * n)

    def between(self, low: int, high: int) -> int:
        """Returns an integer in [low, high]."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """Returns one of `items`."""
        return items[int(self._random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Returns `count` items from different positions, in a random order."""
        if count > len(items):
            raise ValueError(f"cannot draw {count} of {len(items)} items")
        random_, total = self._random, len(items)
        positions: dict[int, None] = {}
        while len(positions) < count:
            positions[int(random_() * total)] = None
        return [items[position] for position in positions]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Returns `items` in a random order."""
        return self.sample(items, len(items))


@dataclasses.dataclass(frozen=True)
class Example:
    """A worked example that a definition may be shown with.

    Attributes:
        fields: the instance, without its answer.
        output: the answer.
        explanation: why that is the answer.
    """

    fields: Mapping[str, str]
    output: str
    explanation: str


def ask(*prompts: str) -> tuple[Template, ...]:
    """Returns one template a prompt; its target is the task's own answer."""
    return tuple(Template(prompt, "{answer}") for prompt in prompts)


def turned(prompt: str, target: str) -> Template:
    """Returns a template that turns the task around, so that something else is the answer."""
    return Template(prompt, target, reversed=True)


@dataclasses.dataclass(frozen=True)
class MiniTask:
    """One task of the laboratory.

    Attributes:
        name: short name; the registered entry is `minilab_<name>`.
        cluster: tasks that share a topic and are held out together.
        kind: whether the answer is one of `labels` or free text.
        skills: names in `SKILLS`.
        fields: names of the input fields; the first is the main text, which decides the split.
        layout: pattern that lays the input fields out as one plain text, without a word on what
            is to be done. Tasks with the same layout cannot be told apart by their input.
        make: draws the fields, and "answer", of one instance; gets the label that the instance
            is to have, or "" where there are no labels.
        rule: computes the answer from the input fields alone, by other means than `make`; "" for
            fields that it has no answer to.
        definitions: differently worded statements of the task, most complete first.
        avoid: what an answer must not be or do.
        emphasis: what is easily overlooked.
        templates: ten ways of wording a prompt around one instance. Where a field is put it begins
            the prompt or follows a space, since a word right after a newline or a quotation mark
            is another token than the same word in the answer.
        new_wordings: further prompts that are never trained on, for tasks that are.
        examples: worked examples.
        negatives: examples with a wrong output, and why it is wrong.
        labels: the answers of a classification.
    """

    name: str
    cluster: str
    kind: Kind
    skills: tuple[str, ...]
    fields: tuple[str, ...]
    layout: str
    make: Callable[[Dice, str], Fields]
    rule: Callable[[Mapping[str, str]], str]
    definitions: tuple[str, ...]
    avoid: str
    emphasis: str
    templates: tuple[Template, ...]
    examples: tuple[Example, ...]
    negatives: tuple[Example, ...]
    new_wordings: tuple[Template, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def entry(self) -> str:
        """Name of the card and of the SeqIO task."""
        return f"minilab_{self.name}"

    def card(self, module: str) -> Card:
        """Returns the task's card; `module` is the task module that registers it."""
        return Card(
            name=self.entry,
            cluster=self.cluster,
            kind=self.kind,
            instructions=self.definitions,
            # Each task draws texts of its own, and no text is in two splits of any of them.
            sources=(self.entry,),
            licence=LICENCE,
            version=VERSION,
            options=self.labels,
            module=module,
            attributes={
                "skills": list(self.skills),
                "things_to_avoid": self.avoid,
                "emphasis": self.emphasis,
                "positive_examples": [self._as_json(example) for example in self.examples],
                "negative_examples": [self._as_json(example) for example in self.negatives],
            },
        )

    def _as_json(self, example: Example) -> dict[str, str]:
        return {
            "input": substitute(self.layout, example.fields),
            "output": example.output,
            "explanation": example.explanation,
        }


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def split_of(main_text: str) -> str:
    """Returns the one split in which an instance with this main text may appear."""
    return _SPLIT_OF_SHARE[_hash64(main_text) % len(_SPLIT_OF_SHARE)]


def _label(task: MiniTask, split: str, index: int, seed: int) -> str:
    """Returns the label of an instance; every run of len(labels) instances has each label once."""
    if not task.labels:
        return ""
    block, position = divmod(index, len(task.labels))
    order = Dice(seed, task.name, split, "labels", block).shuffled(task.labels)
    return order[position]


def instance(task: MiniTask, split: str, index: int, seed: int = SEED) -> Fields:
    """Returns instance `index` of a split: "id", the task's fields and "answer".

    Args:
        task: the task.
        split: "train", "validation" or "test".
        index: any integer from 0.
        seed: seed of the laboratory.

    Raises:
        DataError: there is no such split.
    """
    if split not in COUNTS:
        raise DataError(f"task {task.entry!r}: no split {split!r}" + did_you_mean(split, COUNTS))
    dice = Dice(seed, task.name, split, index)
    label = _label(task, split, index, seed)
    while True:
        fields = task.make(dice, label)
        if split_of(fields[task.fields[0]]) == split:
            return {"id": f"{task.entry}/{split}/{index}", **fields}


class Rows(Sequence[Fields]):
    """Rows that are made when they are looked at."""

    def __init__(self, make: Callable[[int], Fields], count: int):
        """Args:
        make: makes the row of an index.
        count: number of rows.
        """
        self._make, self._indices = make, range(count)

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Fields: ...
    @overload
    def __getitem__(self, index: slice) -> list[Fields]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._make(i) for i in self._indices[index]]
        return self._make(self._indices[index])

    def __iter__(self) -> Iterator[Fields]:
        return map(self._make, self._indices)


class Instances(Rows):
    """The declared instances of a split."""

    def __init__(self, task: MiniTask, split: str, seed: int = SEED, count: int | None = None):
        """Args:
        task: the task.
        split: "train", "validation" or "test".
        seed: seed of the laboratory.
        count: number of instances; `COUNTS[split]` where None.
        """
        count = COUNTS[split] if count is None else count
        super().__init__(lambda index: instance(task, split, index, seed), count)


def definition_templates(task: MiniTask) -> tuple[Template, ...]:
    """Returns prompts made of the card: a definition before or after the input, some with more."""
    options = "\n{options_}" if task.labels else ""
    before = "{said}\n\n" + task.layout + options
    after = task.layout + "\n\n{said}" + options
    said = [
        *task.definitions,
        f"{task.definitions[0]} {task.emphasis}",
        f"{task.definitions[1]} {task.avoid}",
    ]
    return tuple(
        Template((before, after)[i % 2].replace("{said}", text), "{answer}")
        for i, text in enumerate(said)
    )


def content_version(task: MiniTask, rows: int = 3) -> str:
    """Returns a hash over the first rows of every split.

    Prepared records are rebuilt when it changes, so a change of a generator or of the lexicon
    shows even where nobody thought of the version.
    """
    first = [instance(task, split, index) for split in COUNTS for index in range(rows)]
    return f"{VERSION}-{_hash64(repr(first)):016x}"
