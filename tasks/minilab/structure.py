"""What of MiniLab is trained on, what is held out and how, and what is related to what.

Everything here follows from the clusters' own tables (`TASKS`, `HELDOUT`, `HELDOUT_CLUSTER`), so
that a task says in one place where it belongs. `fingerprint` covers all of it; the one in
FINGERPRINT beside this module is that of the laboratory that published figures refer to.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence

from tasks.minilab import (
    analogy,
    arithmetic,
    classification,
    composition,
    correction,
    counting,
    data_to_text,
    entailment,
    formatting,
    lookup,
    ordering,
    paraphrase,
    question_writing,
    selection,
    sentiment,
    string_edits,
    translation,
)
from tasks.minilab.lab import COUNTS, SEED, Dice, MiniTask, instance

CLUSTERS = (
    ordering,
    selection,
    string_edits,
    formatting,
    counting,
    arithmetic,
    lookup,
    entailment,
    sentiment,
    translation,
    classification,
    data_to_text,
    question_writing,
    composition,
    correction,
    analogy,
    paraphrase,
)
TASKS: dict[str, MiniTask] = {task.name: task for module in CLUSTERS for task in module.TASKS}

_HELDOUT_CLUSTERS = [module for module in CLUSTERS if getattr(module, "HELDOUT_CLUSTER", False)]
HELDOUT_CLUSTERS = tuple(task.name for module in _HELDOUT_CLUSTERS for task in module.TASKS)
COMPOSITIONS = composition.HELDOUT
HELDOUT_TASKS = tuple(
    name
    for module in CLUSTERS
    if module not in _HELDOUT_CLUSTERS and module is not composition
    for name in getattr(module, "HELDOUT", ())
)
_HELDOUT = {*HELDOUT_CLUSTERS, *COMPOSITIONS, *HELDOUT_TASKS}
# Trained on, in the order in which tasks join: the first n of them are `minilab_train_<n>tasks`.
# The order is drawn, so that small numbers of tasks are not chosen to suit any target.
TRAIN = tuple(
    Dice(SEED, "order of training tasks").shuffled([name for name in TASKS if name not in _HELDOUT])
)
NUMBERS_OF_TASKS = (8, 16, 32, len(TRAIN))

# The four ways in which something is held out.
STRUCTURES = {
    "heldout_clusters": HELDOUT_CLUSTERS,
    "heldout_tasks": HELDOUT_TASKS,
    "compositions": COMPOSITIONS,
    "new_wordings": TRAIN,
}

# A slice that shows the same in minutes: most of it works on lines of words, in all ways that a
# held-out part needs, and some on other things.
DEMO_TRAIN = (
    "reverse_words",
    "swap_ends",
    "last_to_front",
    "separate_by_commas",
    "join_with_and",
    "number_words",
    "double_each",
    "reverse_then_commas",
    "reverse_then_double",
    "swap_ends_then_numbers",
    "swap_ends_then_double",
    "last_to_front_then_and",
    "last_to_front_then_numbers",
    "who_has",
    "has_animal",
    "count_words",
)
DEMO_STRUCTURES = {
    "heldout_clusters": ("fix_double", "same_line", "analogy_edit"),
    "heldout_tasks": ("first_to_end", "second_word", "join_with_or"),
    "compositions": ("reverse_then_and", "swap_ends_then_commas", "last_to_front_then_double"),
    "new_wordings": DEMO_TRAIN,
}
# The least that has everything, for tests.
TINY_TRAIN = ("swap_ends", "drop_first", "has_animal", "swap_ends_then_drop_first")
TINY_STRUCTURES = {
    "heldout_clusters": ("fix_double",),
    "heldout_tasks": ("drop_last",),
    "compositions": ("drop_first_then_reverse",),
    "new_wordings": TINY_TRAIN,
}

# Prefix of the mixtures' names, what is trained on, what is held out.
SIZES = (
    ("minilab", TRAIN, STRUCTURES),
    ("minilab_demo", DEMO_TRAIN, DEMO_STRUCTURES),
    ("minilab_tiny", TINY_TRAIN, TINY_STRUCTURES),
)
# What the specialist is made for.
SPECIALIST_TARGET = "compositions"


def related(targets: Sequence[str], among: Sequence[str] = TRAIN) -> tuple[str, ...]:
    """Returns the tasks of `among` that share a skill with any of `targets`."""
    wanted = {skill for name in targets for skill in TASKS[name].skills}
    return tuple(name for name in among if name not in targets and wanted & set(TASKS[name].skills))


def conflicting(name: str, among: Sequence[str] = TRAIN) -> tuple[str, ...]:
    """Returns the tasks of `among` whose input looks like this task's, under another rule."""
    form = TASKS[name].fields, TASKS[name].layout
    return tuple(
        other
        for other in among
        if other != name and (TASKS[other].fields, TASKS[other].layout) == form
    )


def fingerprint(rows: int = 20) -> str:
    """Returns a SHA-256 over every task's texts and first rows and over the held-out structure."""
    tasks = []
    for task in TASKS.values():
        texts = {
            field.name: getattr(task, field.name)
            for field in dataclasses.fields(task)
            if field.name not in ("make", "rule", "templates", "new_wordings")
        }
        texts["examples"], texts["negatives"] = (
            [[dict(one.fields), one.output, one.explanation] for one in examples]
            for examples in (task.examples, task.negatives)
        )
        for name in ("templates", "new_wordings"):
            texts[name] = [dataclasses.astuple(template) for template in getattr(task, name)]
        first = [instance(task, split, index) for split in COUNTS for index in range(rows)]
        tasks.append([texts, first])
    facts = [tasks, COUNTS, TRAIN, STRUCTURES, DEMO_TRAIN, DEMO_STRUCTURES]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def frozen_fingerprint() -> str:
    """Returns the fingerprint that published figures refer to."""
    return (pathlib.Path(__file__).parent / "FINGERPRINT").read_text().strip()
