"""What the cluster files share: readers of rows, splits, and the paper's clusters."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.instructions.datasets import Dataset, Fields, Row
from flan_jax.instructions.templates import Template

__all__ = [
    "Dataset", "Fields", "Row", "Template", "choose", "classes", "splits", "texts", "tidy",
]  # fmt: skip

# Six clusters of ours are the paper's "misc" (figure 3); all others have its names.
MISC = (
    "math", "conversational_qa", "word_sense", "linguistic_acceptability",
    "question_classification", "text_formatting",
)  # fmt: skip
# Entries that the paper counts as one dataset: 69 entries are its 62 datasets.
FAMILIES = {
    "squad": ("squad_v1", "squad_v2"),
    "arc": ("arc_challenge", "arc_easy"),
    "anli": ("anli_r1", "anli_r2", "anli_r3"),
    "mnli": ("mnli_matched", "mnli_mismatched"),
    "fix_punctuation": ("true_case", "fix_punct", "word_segment"),
}


def family(name: str) -> str:
    """Returns the name under which the paper counts an entry."""
    return next((known for known, names in FAMILIES.items() if name in names), name)


def with_attributes(dataset: Dataset) -> Dataset:
    """Returns the dataset with what the paper says of it."""
    paper = "misc" if dataset.cluster in MISC else dataset.cluster
    facts = {"paper_cluster": paper, "family": family(dataset.name)}
    return dataclasses.replace(dataset, attributes={**dataset.attributes, **facts})


def splits(train: str, validation: str, test: str) -> Mapping[str, str]:
    """Returns TFDS slices by our names of splits."""
    return {"train": train, "validation": validation, "test": test}


def texts(row: Row, **names: str) -> dict[str, str]:
    """Returns text fields of a row, stripped: `texts(row, premise="sentence1")`."""
    return {field: str(row[name]).strip() for field, name in names.items()}


def classes(
    options: Sequence[str], label: str = "label", **names: str
) -> Callable[[Row], Fields | None]:
    """Returns a reader of rows that have texts and the number of a class.

    Rows without a label (-1, hidden test labels) are dropped.

    Args:
        options: the answer of each class, by number.
        label: the feature with the number.
        names: feature by field, see `texts`.
    """

    def read(row: Row) -> dict[str, Any] | None:
        index = int(row[label])
        return {**texts(row, **names), "answer": options[index]} if index >= 0 else None

    return read


def tidy(text: str) -> str:
    """Returns text with its white space folded."""
    return " ".join(text.split())


def choose(options: Sequence[str], index: int) -> dict[str, Any] | None:
    """Returns options and answer of an example with options of its own.

    None where there is no label, or where options are empty or alike.
    """
    if not 0 <= index < len(options) or not all(options):
        return None
    if len(options) < 2 or len({option.lower() for option in options}) != len(options):
        return None
    return {"options": list(options), "answer": options[index]}
