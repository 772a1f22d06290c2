"""Two tasks and a mixture for tests: made with the kit, tiny, with an evaluation split."""

import os

import seqio

from flan_jax.instructions import cards, mixtures
from flan_jax.instructions.registration import register_templated_task, rows_source
from flan_jax.instructions.templates import Template

COUNTS = {"train": 40, "test": 6}
# Tests that change a template between two runs set this.
VERB = os.environ.get("TOY_VERB", "Copy")


def _rows(task: str, split: str) -> list[dict[str, str]]:
    words = ["red", "green", "blue", "white", "black", "brown"]
    rows = []
    for i in range(COUNTS[split]):
        text = " ".join(words[(i + k * 5) % 6] for k in range(1 + i % 3))
        answer = text if task == "copy" else text.upper()
        rows.append({"id": f"{split}/{i}", "text": text, "answer": answer})
    return rows


def _register(task: str, cluster: str, verb: str) -> None:
    card = cards.Card(
        name=f"toy_{task}",
        cluster=cluster,
        kind="generation",
        instructions=(f"{verb} the words.",),
        module=__name__,
    )
    register_templated_task(
        card,
        source=rows_source(
            lambda split: _rows(task, split), {"text": "string", "answer": "string"}, COUNTS
        ),
        fields=["text", "answer"],
        templates=[Template(f"{verb}: {{text}}", "{answer}"), Template("{text}?", "{answer}")],
        version="1",
    )


if "toy_copy" not in seqio.TaskRegistry.names():
    _register("copy", "copying", VERB)
    _register("upper", "casing", "Upper-case")
    mixtures.register_mixture("toy_train", ["toy_copy", "toy_upper"])
