"""Heuristics that need no model: what a model has to beat (Wang et al. 2022, section 5.2).

`copy_demo` answers with the output of the task's first positive example, `copy_input` with the
instance's input. Both need tasks that state themselves: their instances have an `input`, and
their file has positive examples.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import seqio
from etils import epath

from flan_jax import files, settings
from flan_jax.errors import DataError
from flan_jax.instructions import cards, mixtures, pipelines
from flan_jax.json_files import first_object
from flan_jax.natural_instructions import schema, schema_v1
from flan_jax.scoring.references import task_head

# Where the file of a task lies: the setting that names a folder, and a folder in that one.
_PLACES = (
    ("SUPER_NI_DIR", "tasks"),
    ("NI_V1_DIR", ""),
    ("NI_V1_DIR", "dataset_jsons"),
    ("NI_V1_DIR", "Dataset_Jsons"),
)
Row = dict[str, Any]


def copy_demo(task: str, row: Row) -> str:
    """Returns the output of the task's first positive example; nothing where it has none."""
    del row
    examples = positive_outputs(task)
    return examples[0] if examples else ""


def copy_input(task: str, row: Row) -> str:
    """Returns the input.

    Raises:
        DataError: instances of this task have none.
    """
    if "input" not in row:
        raise DataError(f"{task}: its instances have no 'input' to copy, they have {sorted(row)}")
    return row["input"]


METHODS: dict[str, Callable[[str, Row], str]] = {"copy_demo": copy_demo, "copy_input": copy_input}


@functools.lru_cache(maxsize=4096)
def positive_outputs(task: str) -> tuple[str, ...]:
    """Returns the outputs of a task's positive examples, in the order of its file.

    Raises:
        DataError: the task was not made from a task file, or the file is not where it was.
    """
    file = _task_file(task)
    text = files.read_text(file)
    name = f"{file.parent.name}/{file.name}"
    head = first_object(text) or {}
    if "Examples" in head:
        subtask = schema_v1.parse_subtask(text, file=name)
        return tuple(example.output for example in subtask.positive_examples)
    task_of_file = schema.parse_task(task_head(text, 1), file=name)
    return tuple(example.output for example in task_of_file.positive_examples)


def _task_file(task: str) -> epath.Path:
    """Returns the file a SeqIO task was made from."""
    card = cards.find_card(task)
    name = card.attributes.get("task") if card else None
    if not name:
        raise DataError(
            f"{task} was not made from a task file, so it has no demonstration to copy; tasks of "
            "tasks.natural_instructions are"
        )
    tried = []
    for setting, folder in _PLACES:
        where = settings.setting(setting)
        file = epath.Path(where) / folder / f"{name}.json" if where else None
        if file is not None and file.exists():
            return file
        tried.append(setting)
    raise DataError(f"{task}: no {name}.json where {' or '.join(dict.fromkeys(tried))} says")


def predict(method: str, mixture: str, split: str) -> Iterator[Row]:
    """Yields the predictions of a heuristic, as `flan-jax eval` writes them.

    Args:
        method: one of METHODS.
        mixture: SeqIO task or mixture; members without the split are left out.
        split: its split.

    Raises:
        DataError: no member has the split, or the heuristic cannot be used on one.
    """
    members = [task for task in mixtures.member_tasks(mixture) if split in task.splits]
    if not members:
        splits = sorted({s for task in mixtures.member_tasks(mixture) for s in task.splits})
        raise DataError(f"{mixture!r} has no split {split!r}; there are {', '.join(splits)}")
    for task in members:
        for row in _rows(task, split):
            yield {
                "task": task.name,
                "id": row["id"],
                "template": method,
                "options": [],
                "prompt": row.get("input", ""),
                "prediction": METHODS[method](task.name, row),
                "targets": _references(task.name, row),
            }


def _rows(task: seqio.Task, split: str) -> Iterator[Row]:
    """Yields the instances of a task before they are rendered."""
    dataset = task.source.get_dataset(split=split, shuffle=False)
    for row in pipelines.read_rows(dataset):
        yield pipelines.to_python_tree(row)


def _references(task: str, row: Row) -> list[str]:
    if "id" not in row or not isinstance(row.get("output"), list):
        raise DataError(f"{task}: its instances have no 'id' and 'output', but {sorted(row)}")
    return row["output"]
