"""Encodings of the first release of Natural Instructions.

An encoding is an ordered list of components (Mishra et al. 2022, section 4.2 and the released
encoder), which have the names that published prediction files carry. Texts become lines such as
`Definition: ...`, examples become lines of `input: ` and `output: `, with or without their
reasons, and the query closes the prompt with `output:`. The words are the original's, byte for
byte, with what looks odd: a negative example's suggestion follows its reason without a blank, and
a text that is "- " and not "-" is given as if it were one.

The original has no budget: whoever called it chose a number of examples that fits, the same for
both signs, and the tokenizer cut off the end of the prompt, query first. That stays the default
here; `overflow="keep_query"` takes the largest number of examples that fits, then gives up
instructions, and keeps the query.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import ConfigError, DataError, did_you_mean
from flan_jax.instructions import budgets
from flan_jax.instructions.budgets import Budget, Fitter
from flan_jax.natural_instructions.schema_v1 import MISSING, TEXTS

POSITIVE = "Positive Examples Full Only"
POSITIVE_EXPLAINED = "Positive Examples Full Explanations"
NEGATIVE_EXPLAINED = "Negative Examples Full Explanations"
COMPONENTS = (*TEXTS, POSITIVE, POSITIVE_EXPLAINED, NEGATIVE_EXPLAINED)
QUERY_TAIL = "output:"
# Where examples run out, instances follow from the first one on. The original passes over this
# position, the first one that is tested on, for a later one.
_SHIFTED, _SHIFT = 60, 20


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What a prompt puts before the query.

    Attributes:
        components: names of `COMPONENTS`, in the order in which they are given.
        examples: number of positive and of negative examples; instances follow where a subtask
            has fewer positive ones. None: all that the subtask has, and no instances.
    """

    components: tuple[str, ...] = ()
    examples: int | None = None

    def __str__(self) -> str:
        """The name in the form of published files; `get_encoding` reads it."""
        count = "" if self.examples is None else f"@{self.examples}"
        return "".join(f"_{component}" for component in self.components) + count


_AROUND = ("Things to Avoid", "Emphasis & Caution")
_ALL_TEXTS = ("Definition", "Prompt", *_AROUND)
# Rows of the BART study's table, and what else predictions were published for.
ENCODINGS: Mapping[str, Encoding] = {
    "input_only": Encoding(),
    "prompt": Encoding(("Prompt",)),
    "def_prompt": Encoding(("Definition", "Prompt")),
    "prompt_avoid": Encoding(("Prompt", "Things to Avoid")),
    "prompt_emphasis": Encoding(("Prompt", "Emphasis & Caution")),
    "prompt_pos": Encoding(("Prompt", POSITIVE)),
    "def_prompt_pos": Encoding(("Definition", "Prompt", POSITIVE)),
    "pos": Encoding((POSITIVE,)),
    "prompt_neg_pos_expl": Encoding(("Prompt", NEGATIVE_EXPLAINED, POSITIVE_EXPLAINED)),
    "all_texts": Encoding(_ALL_TEXTS),
    # The published one without negative examples has no reasons either; the other one has.
    "full_no_neg": Encoding((*_ALL_TEXTS, POSITIVE)),
    "full_no_neg_expl": Encoding((*_ALL_TEXTS, POSITIVE_EXPLAINED)),
    "full": Encoding((*_ALL_TEXTS, NEGATIVE_EXPLAINED, POSITIVE_EXPLAINED)),
}
_PUBLISHED = re.compile(r"(?P<subtask>[^@]+)@(?P<encoding>_[^@]+@[0-9]+)_(?P<instances>[0-9]+)")


def get_encoding(name: str) -> Encoding:
    """Returns the encoding that a name says.

    Args:
        name: one of `ENCODINGS`, or components, each after an underscore, as in published files
            (`_Definition_Prompt`); both with the number of examples where `@2`, say, follows.

    Raises:
        ConfigError: there is no such name or component; the nearest ones are offered.
    """
    base, at, digits = name.partition("@")
    if at and not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise ConfigError(f"encoding {name!r}: after '@' stands a number of examples")
    if base.startswith("_"):
        found = Encoding(_components(name, base))
    elif base in ENCODINGS:
        found = ENCODINGS[base]
    else:
        hint = did_you_mean(base, ENCODINGS) or f"; known are {', '.join(ENCODINGS)}"
        raise ConfigError(f"no encoding named {base!r}{hint}")
    return dataclasses.replace(found, examples=int(digits)) if at else found


def _components(name: str, base: str) -> tuple[str, ...]:
    """Returns the components in a name of the published form."""
    components = tuple(base[1:].split("_"))
    for component in components:
        if component not in COMPONENTS:
            hint = did_you_mean(component, COMPONENTS) or f"; known are {', '.join(COMPONENTS)}"
            raise ConfigError(f"encoding {name!r}: no component {component!r}{hint}")
    if len(set(components)) != len(components):
        raise ConfigError(f"encoding {name!r} names a component twice")
    return components


@dataclasses.dataclass(frozen=True)
class PublishedSet:
    """What the name of a published prediction set says.

    Attributes:
        subtask: name of the subtask.
        encoding: how its prompts were made.
        instances: number of instances.
    """

    subtask: str
    encoding: Encoding
    instances: int

    def __str__(self) -> str:
        """The published name."""
        return f"{self.subtask}@{self.encoding}_{self.instances}"


def parse_published(name: str) -> PublishedSet:
    """Returns what `<subtask>@<components>@<examples>_<instances>` says.

    Raises:
        DataError: a name is not of this form, or has a component that is not known.
    """
    match = _PUBLISHED.fullmatch(name)
    if match is None:
        raise DataError(f"{name!r} is not <subtask>@<components>@<examples>_<instances>")
    try:
        encoding = get_encoding(match["encoding"])
        return PublishedSet(match["subtask"], encoding, int(match["instances"]))
    except (ConfigError, ValueError) as error:  # ValueError: a number of 4,300 digits
        raise DataError(f"{name!r}: {error}") from None


def encode(
    task: Mapping[str, Any],
    instance: Mapping[str, Any],
    encoding: str | Encoding,
    budget: Budget,
) -> str:
    """Returns the prompt of one instance.

    Args:
        task: the subtask's JSON object (see `schema_v1`).
        instance: one of its Instances; where it also says its "position", it is not given to
            itself as an example, as the original would outside of the instances tested on.
        encoding: what to put before the query, or a name of it (`get_encoding`).
        budget: of its tokens. Where the query is kept, the largest number of examples that fits
            is given before anything is shortened.

    Raises:
        ConfigError: no such encoding, or the budget does not even hold `output:`.

    Source: Mishra et al. 2022, section 4.2; separators are the released encoder's.
    """
    parts = get_encoding(encoding) if isinstance(encoding, str) else encoding
    fitter = Fitter(budget)
    blocks = _Blocks(task, parts, instance.get("position"))
    query = _query(instance["input"])
    prompt = blocks.text(blocks.most) + query
    if fitter.holds(prompt):
        return prompt
    if budget.overflow == "original":
        return budget.cut(prompt)
    return _keep_query(blocks, instance["input"], fitter)


def _query(text: str) -> str:
    return f"\ninput: {text}\n{QUERY_TAIL}"


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """What stands before the query of one instance.

    Attributes:
        task: the subtask's JSON object.
        parts: which components, in which order.
        own: position of the instance that is asked for, which is no example to itself.
    """

    task: Mapping[str, Any]
    parts: Encoding
    own: int | None

    @property
    def most(self) -> int:
        """The number of examples of either sign where nothing limits it."""
        signs = {name.partition(" Full ")[0] for name in self.parts.components} - {*TEXTS}
        own = max((len(self.task["Examples"][sign]) for sign in signs), default=0)
        if self.parts.examples is None:
            return own
        return min(self.parts.examples, own + len(self.task["Instances"])) if signs else 0

    def text(self, count: int) -> str:
        """Returns all components, with so many examples of either sign."""
        text = ""
        for component in self.parts.components:
            if component in TEXTS:
                if self.task[component] != MISSING:
                    text += "\n" * bool(text) + f"{component}: {self.task[component].strip()}"
            elif component == NEGATIVE_EXPLAINED:
                text += "".join(self.negatives(count))
            elif component == POSITIVE_EXPLAINED:
                text += "".join(self.positives(count, explained=True))
            else:
                examples = "".join(self.positives(count, explained=False))
                own = bool(self.task["Examples"]["Positive Examples"])
                # Of a subtask without examples even the first line opens with a line break.
                text += examples if text or not own else examples.removeprefix("\n")
        return text

    def positives(self, count: int, explained: bool) -> Iterator[str]:
        """Yields blocks of positive examples, then of instances, which have no reasons."""
        examples = self.task["Examples"]["Positive Examples"][:count]
        for number, example in enumerate(examples, start=1):
            head = f"\nPositive Example{number}- " if explained else ""
            reason = f"\nreason: {example['reason']}" if explained else ""
            yield f"{head}\ninput: {example['input']}\noutput: {example['output']}{reason}"
        for number, shown in enumerate(self.instances(count - len(examples)), len(examples) + 1):
            head = f"\nPositive Example{number}- " if explained else ""
            yield f"{head}\ninput: {shown['input']}\noutput: {shown['output'][0]}"

    def negatives(self, count: int) -> Iterator[str]:
        """Yields blocks of negative examples; in files, "-" may stand in place of all."""
        examples = self.task["Examples"]["Negative Examples"]
        if examples and isinstance(examples[0], str):
            return
        for number, example in enumerate(examples[:count], start=1):
            lines = (f"\nNegative Example{number}- ", f"input: {example['input']}",
                     f"output: {example['output']}", f"reason: {example['reason']}")  # fmt: skip
            suggestion = example["suggestion"]
            yield "\n".join(lines) + (f"suggestion: {suggestion}" if suggestion != " " else "")

    def instances(self, count: int) -> list[Mapping[str, Any]]:
        """Returns instances that stand for further positive examples, as many as there are."""
        if self.parts.examples is None or count < 1:
            return []
        known = self.task["Instances"]
        order = [at + _SHIFT * (at == _SHIFTED) for at in range(min(count + 1, len(known)))]
        return [known[at] for at in order if at != self.own and at < len(known)][:count]


def _keep_query(blocks: _Blocks, source: str, fitter: Fitter) -> str:
    """Returns a prompt within the budget that gives up examples and texts before the query.

    Raises:
        ConfigError: the budget does not hold `output:`.
    """
    query = _query(source)
    longest = fitter.longest(lambda count: blocks.text(count) + query, blocks.most)
    if longest is None:
        texts = blocks.text(0)
        longest = fitter.longest(lambda size: budgets.head(texts, size) + query, len(texts))
    if longest is None:
        longest = budgets.shortened_query(_query, source, QUERY_TAIL, fitter)
    return longest
