"""docs/natural_instructions.md shows what the encoders make of the tasks that it states."""

import json
import pathlib
import re

import pytest

from flan_jax.instructions.budgets import Budget
from flan_jax.natural_instructions import encodings, encodings_v1
from flan_jax.natural_instructions.schema import parse_task

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "natural_instructions.md"
_BLOCK = re.compile(r"^`(\S+)`\n\n```text\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def section(name):
    """The prompts of a section by the names of their encodings."""
    text = DOCS.read_text().split(f"<!-- {name} -->")[1].split("<!-- end")[0]
    return dict(_BLOCK.findall(text))


def stated_tasks():
    return [json.loads(t) for t in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)]


def rendered(module, task, name):
    arguments = task, task["Instances"][0], name, Budget(10**6, str.split, " ".join)
    if module is encodings:
        return module.encode_prompt(*arguments).text
    return module.encode(*arguments)


@pytest.mark.parametrize(
    ("name", "module", "number"),
    [("encodings", encodings, 0), ("encodings v1", encodings_v1, 1)],
)
def test_every_encoding_is_shown_as_it_is(name, module, number):
    task = stated_tasks()[number] | {"Task": "task9001_garden_diary"}
    shown = section(name)
    assert list(shown) == list(module.ENCODINGS)
    assert shown == {encoding: rendered(module, task, encoding) for encoding in shown}


def test_the_stated_task_is_one():
    assert parse_task(stated_tasks()[0], file="task9001_garden_diary.json").definition
