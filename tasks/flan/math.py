"""Mathematics: linear equations in one unknown."""

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tasks.flan.common import Dataset, Fields, Row, Template, splits, texts

CLUSTER = "math"

_NUMBER = re.compile(r"(?:[a-zA-Z] ?= ?)?([-+\u2212]?\d+(?:[./]\d+)?)\.?")


def _number(text: str) -> Fraction | None:
    """The number that is all a text says, perhaps as `x = 3.`; None where there is none."""
    found = _NUMBER.fullmatch(text.strip())
    try:
        return Fraction(found[1].replace("\u2212", "-")) if found else None
    except ZeroDivisionError:
        return None


def number_match_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: how often a prediction is the right number, sign included, 0..100.

    A target is a string or a list of references. `exact_match_metric` cannot be used here: it
    drops punctuation, so that 1/2 would be 12.
    """
    right = []
    for target, prediction in zip(targets, predictions, strict=True):
        references = [target] if isinstance(target, str) else target
        said = _number(prediction)
        right.append(said is not None and said in map(_number, references))
    return {"number_match": 100.0 * sum(right) / max(len(right), 1)}


_TEMPLATES = (
    Template("{question} Give only the number.", "{answer}"),
    Template("What number is {variable} if {equation}?", "{answer}"),
    Template("Find the value of {variable}: {equation}", "{answer}"),
    Template(
        "Algebra homework\n\nIsolate {variable} in the equation below and write down its value.\n\n"
        "{equation}\n\n{variable} =",
        "{answer}",
    ),
    Template(
        "{equation}\n\nThis holds for exactly one number {variable}. Which number is it?",
        "{answer}",
    ),
    Template(
        "I'm stuck on this one, can you help me? {question} Skip the steps, I just need the "
        "result.",
        "{answer}",
    ),
    Template(
        "Solve for the unknown.\nEquation: {equation}\nUnknown: {variable}\nSolution:",
        "{answer}",
    ),
    Template(
        "You are a calculator that is given a linear equation and the letter to solve it for. You "
        "reply with a number and nothing else.\n> {question}",
        "{answer}",
    ),
    Template(
        "Make up a linear equation whose solution is {variable} = {answer}.",
        "{equation}",
        reversed=True,
    ),
    Template(
        "A teacher needs an exercise in which a linear equation has to be solved for a letter. The "
        "correct result should be {answer}. Write the exercise.",
        "{question}",
        reversed=True,
    ),
)
_QUESTION = re.compile(r"Solve (.+) for ([a-z])\.?")


def _read_math(row: Row) -> Fields | None:
    fields = texts(row, question="question", answer="answer")
    found = _QUESTION.fullmatch(fields["question"])
    if found is None or _number(fields["answer"]) is None:
        return None
    return {**fields, "equation": found[1], "variable": found[2]}


DATASETS = (
    Dataset(
        name="math_dataset",
        title="Mathematics Dataset (linear equations)",
        cluster=CLUSTER,
        tfds="math_dataset/algebra__linear_1d:1.0.0",
        splits=splits("train[:30000]", "train[-200:]", "test"),
        read=_read_math,
        fields=("question", "equation", "variable"),
        plain="{question}",
        instruction="Solve a linear equation in one unknown.",
        templates=_TEMPLATES,
        metrics=(number_match_metric,),
        notes="One module of the dataset, as in the original. Answers are compared as numbers, "
        "since the usual exact match ignores signs.",
    ),
)
