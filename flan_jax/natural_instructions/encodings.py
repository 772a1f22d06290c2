"""Encodings: how a task in the declarative schema becomes a prompt.

The words and their order are those of Tk-Instruct (Wang et al. 2022, "Super-NaturalInstructions",
section 4 and the released collator), byte for byte: an optional task name, the definition,
numbered positive and negative examples, and the query, which ends in `Output: `. As there,
examples are added for as long as the prompt stays within a budget of tokens.

`ENCODINGS` has the published combinations under their names. Any other one is named by its
parts, in the order in which a prompt has them: `def_pos3_neg1_expl`, `name_def_pos2`, and `trim`
last (`def_trim`), which leaves the blank after `Output:` to the answer. The meta-encoding `meta`
is none of them but a draw among five, example by example (`draw`).

Where even the definition and the query exceed the budget, the original keeps the first tokens,
which loses the end of the input and the word `Output:`. That stays the default here, so that
published prompts can be reproduced; `overflow="keep_query"` gives up instructions instead.
"""

import dataclasses
import itertools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.instructions import budgets
from flan_jax.instructions.budgets import Budget, Fitter
from flan_jax.instructions.draws import Draws

QUERY_HEAD = "Now complete the following example -\n"
QUERY_TAIL = "Output: "


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What an encoding puts before the query.

    Attributes:
        task_name: whether the task's name opens the prompt.
        definition: whether the definition is given.
        positives: largest number of positive examples.
        negatives: largest number of negative examples.
        explanations: whether examples are given with their explanations.
        trimmed: whether the blank that ends the published prompt is the answer's instead. Most
            tokenizers join it to the word that follows, so that a pretrained decoder seldom goes
            on as it should after a blank that stands alone.
    """

    task_name: bool = False
    definition: bool = False
    positives: int = 0
    negatives: int = 0
    explanations: bool = False
    trimmed: bool = False


ENCODINGS: Mapping[str, Encoding] = {
    "input_only": Encoding(),
    "task_name": Encoding(task_name=True),
    "def": Encoding(definition=True),
    "pos1": Encoding(positives=1),
    "pos2": Encoding(positives=2),
    "pos4": Encoding(positives=4),
    "def_pos1": Encoding(definition=True, positives=1),
    "def_pos2": Encoding(definition=True, positives=2),
    "def_pos4": Encoding(definition=True, positives=4),
    "def_pos2_neg2": Encoding(definition=True, positives=2, negatives=2),
    "def_pos2_expl": Encoding(definition=True, positives=2, explanations=True),
    "def_pos2_neg2_expl": Encoding(definition=True, positives=2, negatives=2, explanations=True),
}


# The meta-encoding: each example gets one of these, all alike (Wang et al. 2022; the collator's
# option `tk_instruct`).
META = "meta"
META_ENCODINGS = ("def", "pos2", "def_pos2", "def_pos2_neg2", "def_pos2_expl")
# A composed name: parts in the order of the prompt, at least one, and no part twice.
_COMPOSED = re.compile(
    r"(?=[a-z])(?:(?P<name>(?:task_)?name)(?:_|$))?(?:(?P<def>def)(?:_|$))?"
    r"(?:pos(?P<pos>[1-9][0-9]?)(?:_|$))?(?:neg(?P<neg>[1-9][0-9]?)(?:_|$))?"
    r"(?:(?P<expl>expl)(?:_|$))?(?P<trim>trim)?"
)


def get_encoding(name: str) -> Encoding:
    """Returns the encoding of that name, published or composed of parts.

    Raises:
        ConfigError: there is none, and the nearest names are offered; or it is `META`, which
            stands for several.
    """
    if name == META:
        raise ConfigError(
            f"the encoding {META!r} is drawn example by example from {', '.join(META_ENCODINGS)}; "
            "`encodings.draw` draws, an encoding of its own it is not"
        )
    found = ENCODINGS.get(name) or _composed(name)
    if found is None:
        known = (META, *ENCODINGS)
        hint = _reordered(name) or did_you_mean(name, (*known, *_resembling(name)))
        hint = hint or f"; known are {', '.join(known)}, and parts as in 'name_def_pos3_neg1_expl'"
        raise ConfigError(f"no encoding named {name!r}{hint}")
    return found


def check_encoding(name: str) -> str:
    """Returns the name of an encoding or `META`.

    Raises:
        ConfigError: see `get_encoding`.
    """
    if name != META:
        get_encoding(name)
    return name


def draw(name: str, draws: Draws) -> str:
    """Returns the encoding that one rendering of an example gets; for all but `META`, `name`."""
    return draws.choice("encoding", META_ENCODINGS) if name == META else name


def _composed(name: str) -> Encoding | None:
    """Returns the encoding that a name is composed of, None where it is no such name."""
    match = _COMPOSED.fullmatch(name)
    if match is None or name.endswith("_"):
        return None
    found = Encoding(
        task_name=match["name"] is not None,
        definition=match["def"] is not None,
        positives=int(match["pos"] or 0),
        negatives=int(match["neg"] or 0),
        explanations=match["expl"] is not None,
        trimmed=match["trim"] is not None,
    )
    # Explanations belong to examples; alone they would change nothing.
    return None if found.explanations and not found.positives + found.negatives else found


def _reordered(name: str) -> str:
    """Returns a hint where the parts of a name are right and only their order is not."""
    parts = name.removeprefix("task_").split("_")
    order = ("name", "def", "pos", "neg", "expl", "trim")
    kinds = [part.rstrip("0123456789") for part in parts]
    if not set(kinds) <= set(order):
        return ""
    ordered = "_".join(sorted(parts, key=lambda part: order.index(part.rstrip("0123456789"))))
    return f"; did you mean {ordered!r}?" if _composed(ordered) else ""


def _resembling(name: str) -> Iterator[str]:
    """Yields composed names with the numbers that a misspelt name has."""
    numbers = [number for number in re.findall(r"\d+", name)[:4] if number.isascii()]
    parts = (
        ("", "name"),
        ("", "def"),
        ("", *(f"pos{number}" for number in numbers)),
        ("", *(f"neg{number}" for number in numbers)),
        ("", "expl"),
        ("", "trim"),
    )
    for chosen in itertools.product(*parts):
        candidate = "_".join(filter(None, chosen))
        if candidate and _composed(candidate):
            yield candidate


class Prompt(NamedTuple):
    """A prompt, and what became of it on the way into its budget.

    Attributes:
        text: the prompt.
        examples: number of worked examples in it, where it is whole.
        whole: whether definition and query are there unshortened. Examples that the budget does
            not hold are no loss: the encoding asks for at most so many.
    """

    text: str
    examples: int
    whole: bool


def encode_prompt(
    task: Mapping[str, Any], instance: Mapping[str, Any], encoding: str, budget: Budget
) -> Prompt:
    """Returns the prompt of one instance, and whether anything of it was lost.

    Args:
        task: the task's JSON object (see `schema`), with its name under "Task".
        instance: one of its Instances.
        encoding: a name that `get_encoding` knows.
        budget: of its tokens. Examples are left out before anything overflows; what it says of
            instructions holds for task name and definition.

    Raises:
        ConfigError: no such encoding, or the budget does not even hold `Output: `.

    Source: Wang et al. 2022, section 4; the order in which examples are tried, and that the
    task name is not counted while they are, is the released collator's.
    """
    parts = get_encoding(encoding)
    prompt = _published(task, instance, parts, budget)
    return prompt._replace(text=prompt.text.rstrip(" ")) if parts.trimmed else prompt


def _published(
    task: Mapping[str, Any], instance: Mapping[str, Any], parts: Encoding, budget: Budget
) -> Prompt:
    """Returns the prompt as it was published, within a budget."""
    fitter = Fitter(budget)
    name = f"{task['Task']}. " if parts.task_name else ""
    definition = _definition(task) if parts.definition else ""
    query = _query(instance["input"])
    examples = _fitting_examples(task, parts, definition, query, fitter)
    prompt = name + definition + "".join(examples) + query
    if fitter.holds(prompt):
        return Prompt(prompt, len(examples), whole=True)
    if budget.overflow == "original":
        return Prompt(budget.cut(prompt), len(examples), whole=False)
    return _keep_query(name + definition, examples, instance["input"], fitter)


def _stopped(line: str) -> str:
    """Closes a line with a full stop unless it ends in ASCII punctuation."""
    return line if line[-1] in string.punctuation else line + "."


def _definition(task: Mapping[str, Any]) -> str:
    """Returns the block of the definition; of several, the first one counts."""
    definition = task["Definition"]
    text = definition if isinstance(definition, str) else definition[0]
    return _stopped(f"Definition: {text.strip()}") + "\n\n"


def _query(text: str) -> str:
    return QUERY_HEAD + _stopped(f"Input: {text.strip()}") + "\n" + QUERY_TAIL


def _example(sign: str, number: int, example: Mapping[str, Any], explained: bool) -> str:
    """Returns the block of one example; only the line of its input opens without a blank."""
    lines = [
        f" {sign} Example {number} -",
        _stopped(f"Input: {example['input'].strip()}"),
        _stopped(f" Output: {example['output'].strip()}"),
    ]
    if explained and "explanation" in example:
        lines.append(_stopped(f" Explanation: {example['explanation'].strip()}"))
    return "\n".join([*lines, "", ""])


def _fitting_examples(
    task: Mapping[str, Any], parts: Encoding, definition: str, query: str, fitter: Fitter
) -> list[str]:
    """Returns the blocks of the examples that the budget holds.

    The first one that does not fit ends the examples of its sign, not those of the other sign.
    """
    kept: list[str] = []
    before = definition
    for sign, most in (("Positive", parts.positives), ("Negative", parts.negatives)):
        # An encoding without examples of a sign must not even need the field.
        examples = task[f"{sign} Examples"][:most] if most else ()
        blocks = [
            _example(sign, number, example, parts.explanations)
            for number, example in enumerate(examples, start=1)
        ]
        of_sign = blocks[: _count_fitting(before, blocks, query, fitter)]
        kept += of_sign
        before += " ".join(of_sign)
    return kept


def _count_fitting(before: str, blocks: Sequence[str], after: str, fitter: Fitter) -> int:
    """Returns how many of the blocks fit between two texts, one after the other.

    While they are counted, blocks that fit are joined with a blank, as in the original.
    """

    def fits(count: int) -> bool:
        return fitter.holds(before + " ".join(blocks[: count - 1]) + blocks[count - 1] + after)

    # Usually all fit, and where they do, fewer do too.
    if not blocks or fits(len(blocks)):
        return len(blocks)
    return next(count for count in range(len(blocks)) if not fits(count + 1))


def _keep_query(instructions: str, examples: Sequence[str], source: str, fitter: Fitter) -> Prompt:
    """Returns a prompt within the budget that gives up instructions before the query.

    Args:
        instructions: task name and definition, with the blanks that close them.
        examples: blocks between instructions and query; the last ones go first.
        source: the input of the instance.
        fitter: of the budget.

    Raises:
        ConfigError: the budget does not hold `Output: `.
    """
    query = _query(source)
    for count in range(len(examples), -1, -1):
        prompt = instructions + "".join(examples[:count]) + query
        if fitter.holds(prompt):
            return Prompt(prompt, count, whole=True)
    text = instructions.rstrip()
    closing = instructions[len(text) :]

    def shortened(size: int) -> str:
        head = budgets.head(text, size)
        return head + closing + query if head else query

    longest = fitter.longest(shortened, len(text))
    if longest is None:
        longest = budgets.shortened_query(_query, source.strip(), QUERY_TAIL, fitter)
    return Prompt(longest, 0, whole=False)
