"""A task of rank classification in three templates, and one of them with exemplars, for tests."""

import functools

import seqio

from flan_jax.instructions import protocols, registration
from flan_jax.instructions.rendering import Rendered, rank_answers

COUNTS = {"validation": 5, "test": 7}
OPTIONS = ("red", "green")
WORDINGS = ("Which colour: {}", "{}?", "Name the colour of {}")


def _rows(split):
    return [{"id": f"{split}/{i}", "text": f"{OPTIONS[i % 2]} {i}"} for i in range(COUNTS[split])]


def _render(before, ids, example, draws):
    number = ids[0] if len(ids) == 1 else draws.choice("template", ids)
    right = example["text"].split()[0]
    asked = before + WORDINGS[number].format(example["text"])
    return rank_answers(Rendered(asked, right, f"t{number}"), OPTIONS, [right])


def _register(name, ids, before=""):
    registration.register_task(
        name,
        source=registration.rows_source(_rows, {"text": "string"}, COUNTS),
        render=functools.partial(_render, before, ids),
        facts={"wording": [before, ids]},
        ranked=True,
    )


if "worded_rank" not in seqio.TaskRegistry.names():
    _register("worded_rank", (0, 1, 2))
    _register("worded_rank_fewshot", (0,), "red 1? red\n")
    for i in range(3):
        _register(f"worded_t{i}_rank", (i,))
    protocols.declare_templates("worded_rank", [f"worded_t{i}_rank" for i in range(3)])
    protocols.declare_shots("worded_rank_fewshot", 1)
