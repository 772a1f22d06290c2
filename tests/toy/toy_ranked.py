"""A task of rank classification for tests: two options an example, one of them right."""

import seqio

from flan_jax import metrics
from flan_jax.instructions import registration
from flan_jax.instructions.rendering import RankedOption

COUNT = 6
OPTIONS = ("red", "green")


def _rows(split):
    return [{"id": f"{split}/{i}", "text": f"{OPTIONS[i % 2]} {i}"} for i in range(COUNT)]


def _render(example, draws):
    right = example["text"].split()[0]
    return [
        RankedOption(
            f"Which colour: {example['text']}", option, "t0", OPTIONS, (right,),
            option_index=i, is_correct=option == right,
        )
        for i, option in enumerate(OPTIONS)
    ]  # fmt: skip


if "toy_choice_rank" not in seqio.TaskRegistry.names():
    registration.register_task(
        "toy_choice_rank",
        source=registration.rows_source(_rows, {"text": "string"}, {"test": COUNT}),
        render=_render,
        facts={"version": "1"},
        ranked=True,
        metric_fns=[metrics.rank_classification],
    )
