"""What is odd in one task of Super-NaturalInstructions (see `data_checks` for whole folders).

Some of the checks are those that the benchmark's own repository runs on a contribution (number of
instances and examples, repeated inputs, positive examples among the instances, skewed labels;
src/test_all.py there). The others look for what makes results doubtful: blank inputs or references,
equal inputs with different answers, prompts that a budget of tokens does not hold.
"""

import collections
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.instructions.budgets import Budget
from flan_jax.natural_instructions import encodings
from flan_jax.natural_instructions.schema import Example, Instance, SchemaTask
from flan_jax.texts import most_bytes

# What is counted by each check, in the order of reports.
CHECKS: Mapping[str, str] = {
    "unreadable": "files that are no task",
    "split_files": "tasks that split files name wrongly",
    "few_instances": "tasks with 25 instances or fewer",
    "many_instances": "tasks with more than 6,500 instances",
    "few_examples": "tasks with fewer than two positive examples or no negative one",
    "single_answer": "tasks with one answer to everything",
    "label_imbalance": "tasks with few labels, unevenly distributed",
    "duplicate_inputs": "instances whose input an earlier one has",
    "conflicting_references": "inputs that come with different answers",
    "examples_among_instances": "instances whose input is that of a positive example",
    "contradicting_examples": "negative examples that are positive ones too",
    "blank_inputs": "instances with a blank input",
    "blank_references": "instances with a blank reference",
    "test_inputs_in_rest": "held-out instances whose input is among the others of the task",
    "shared_source": "test tasks that name a source dataset of a training task",
    "equal_inputs": "held-out instances whose input a training task has",
    "shared_passages": "held-out instances that share a passage with a training task",
    "long_prompts": "instances whose prompt loses examples to the budget",
    "cut_prompts": "instances whose prompt exceeds the budget even without examples",
}
# The benchmark's own bounds (src/test_all.py).
LEAST_INSTANCES = 26
MOST_INSTANCES = 6500
LABELS_BELOW = 15
LEAST_ENTROPY = 0.8
# Ids or task names quoted in a finding.
MOST_QUOTED = 5
# Tokens by which a prompt may exceed the sum of its parts; nearer than this it is counted whole.
_SPARE_TOKENS = 8


@dataclasses.dataclass(frozen=True)
class Finding:
    """One oddity of one task.

    Attributes:
        check: a key of `CHECKS`, which says what is counted.
        task: the task concerned.
        count: how many of them.
        of: out of how many; 0 where there is no such number.
        note: what was found, in words.
        track: the track, where the finding is about its splits.
        where: up to five ids of instances, or names of tasks.
    """

    check: str
    task: str
    count: int
    of: int
    note: str = ""
    track: str = ""
    where: tuple[str, ...] = ()


class Prompts(NamedTuple):
    """How prompts are made and counted.

    Attributes:
        encoding: a name in `encodings.ENCODINGS`.
        budget: largest number of tokens of a prompt, with its end-of-sequence token.
        tokenize: a text's tokens, without special tokens; at most one a UTF-8 byte, as in every
            vocabulary with a byte fallback.
        vocabulary: what the tokens are of, for reports.
    """

    encoding: str
    budget: int
    tokenize: Callable[[str], Sequence[Any]]
    vocabulary: str = ""


def check_task(
    task: SchemaTask, *, held_out: int = 0, prompts: Prompts | None = None
) -> list[Finding]:
    """Returns what is odd in one task.

    Args:
        task: the task.
        held_out: number of its first instances that are tested on; 0 for a training task.
        prompts: how to make and count prompts; they are not counted where None.
    """
    findings = [
        *_check_sizes(task),
        *_check_labels(task),
        *_check_inputs(task, held_out),
        *_check_examples(task),
        *_check_blanks(task),
    ]
    return findings + (_check_prompts(task, prompts) if prompts else [])


def _finding(check: str, task: SchemaTask, found: Sequence[Instance], note: str = "") -> Finding:
    """Returns the finding that some instances of a task are odd."""
    where = tuple(instance.id for instance in found[:MOST_QUOTED])
    return Finding(check, task.name, len(found), len(task.instances), note, where=where)


def _check_sizes(task: SchemaTask) -> Iterator[Finding]:
    """The benchmark's bounds on instances and examples."""
    count = len(task.instances)
    if count < LEAST_INSTANCES:
        yield Finding("few_instances", task.name, 1, 1, f"{count} instances")
    if count > MOST_INSTANCES:
        yield Finding("many_instances", task.name, 1, 1, f"{count} instances")
    positive, negative = len(task.positive_examples), len(task.negative_examples)
    if positive < 2 or negative < 1:
        note = f"{positive} positive, {negative} negative"
        yield Finding("few_examples", task.name, 1, 1, note)


def _check_labels(task: SchemaTask) -> Iterator[Finding]:
    """Labels by the benchmark's rule: fewer than 15 distinct references are labels."""
    counts = collections.Counter(ref for instance in task.instances for ref in instance.references)
    if len(counts) >= LABELS_BELOW:
        return
    common = ", ".join(f"{_short(label)} {count}" for label, count in counts.most_common(4))
    if len(counts) == 1:
        yield Finding("single_answer", task.name, 1, 1, common)
        return
    entropy = label_entropy(list(counts.values()))
    if entropy <= LEAST_ENTROPY:
        note = f"entropy {entropy:.2f} of {len(counts)} labels: {common}"
        yield Finding("label_imbalance", task.name, 1, 1, note)


def label_entropy(counts: Sequence[int]) -> float:
    """Returns the entropy of label counts over that of a uniform distribution, 0..1."""
    total = sum(counts)
    entropy = -sum(count / total * math.log(count / total) for count in counts if count)
    return entropy / math.log(len(counts)) if len(counts) > 1 else 0.0


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "...")


def _check_inputs(task: SchemaTask, held_out: int) -> Iterator[Finding]:
    """Equal inputs, which prompts make of inputs that differ in outer white space only."""
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for i, instance in enumerate(task.instances):
        groups[instance.input.strip()].append(i)
    several = {text: group for text, group in groups.items() if len(group) > 1}
    if not several:
        return
    repeated = [task.instances[i] for group in several.values() for i in group[1:]]
    same = sum(
        len(group) - len({task.instances[i].references for i in group})
        for group in several.values()
    )
    note = f"{same} of them with its references too"
    yield _finding("duplicate_inputs", task, repeated, note)
    conflicts = [group for group in several.values() if _conflict(task, group)]
    if conflicts:
        first = [task.instances[group[0]] for group in conflicts]
        note = "no reference is right for all instances of the input"
        yield dataclasses.replace(
            _finding("conflicting_references", task, first, note), of=len(groups)
        )
    leaked = [task.instances[g[0]] for g in several.values() if g[0] < held_out <= g[-1]]
    if leaked:
        note = f"the first {held_out} instances are tested on"
        found = _finding("test_inputs_in_rest", task, leaked, note)
        yield dataclasses.replace(found, of=min(held_out, len(task.instances)))


def _conflict(task: SchemaTask, group: Sequence[int]) -> bool:
    """Whether instances have no reference in common."""
    sets = ({ref.strip() for ref in task.instances[i].references} for i in group)
    return not set.intersection(*sets)


def _check_examples(task: SchemaTask) -> Iterator[Finding]:
    """Examples against instances, and against each other."""
    shown = {example.input.strip() for example in task.positive_examples}
    among = [instance for instance in task.instances if instance.input.strip() in shown]
    if among:
        yield _finding("examples_among_instances", task, among)

    def pair(example: Example) -> tuple[str, str]:
        return example.input.strip(), example.output.strip()

    right = {pair(example) for example in task.positive_examples}
    both = sum(pair(example) in right for example in task.negative_examples)
    if both:
        of = len(task.negative_examples)
        yield Finding("contradicting_examples", task.name, both, of)


def _check_blanks(task: SchemaTask) -> Iterator[Finding]:
    """Inputs and references with nothing but white space."""
    blank = [instance for instance in task.instances if not instance.input.strip()]
    if blank:
        yield _finding("blank_inputs", task, blank)
    blank = [i for i in task.instances if not all(ref.strip() for ref in i.references)]
    if blank:
        only = sum(not any(ref.strip() for ref in i.references) for i in blank)
        yield _finding("blank_references", task, blank, f"{only} of them have no other")


def _check_prompts(task: SchemaTask, prompts: Prompts) -> list[Finding]:
    """Counts the tokens of the prompts that could exceed the budget, and only of those."""
    limit = prompts.budget - 1  # for the end-of-sequence token
    statement = task.prompt_object()
    bare = {**statement, "Positive Examples": [], "Negative Examples": []}

    def size(obj: Mapping[str, Any], text: str) -> int:
        return len(prompts.tokenize(_whole_prompt(obj, text, prompts.encoding)))

    around = size(statement, "") + _SPARE_TOKENS
    sizes = {
        i: size(statement, instance.input)
        for i, instance in enumerate(task.instances)
        if around + most_bytes(instance.input) > limit
    }
    over = [i for i, tokens in sizes.items() if tokens > limit]
    cut = [i for i in over if size(bare, task.instances[i].input) > limit]
    note = f"the longest has {max(sizes.values(), default=0) + 1} tokens"
    kinds = {"long_prompts": over, "cut_prompts": cut}
    return [
        _finding(check, task, [task.instances[i] for i in found], note)
        for check, found in kinds.items()
        if found
    ]


def _whole_prompt(task: Mapping[str, Any], text: str, encoding: str) -> str:
    """Returns a prompt as it is where the budget has no bound."""
    unbounded = Budget(sys.maxsize, tokenize=lambda _: (), detokenize=lambda _: "")
    return encodings.encode_prompt(task, {"input": text}, encoding, unbounded).text
