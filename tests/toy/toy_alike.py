"""A task whose examples are all alike, so that any order of them makes the same batches."""

import seqio

from flan_jax.instructions import cards
from flan_jax.instructions.registration import register_templated_task, rows_source
from flan_jax.instructions.templates import Template

COUNTS = {"train": 64, "test": 4}
ROW = {"text": "one two three", "answer": "three two one"}

if "toy_alike" not in seqio.TaskRegistry.names():
    register_templated_task(
        cards.Card(
            name="toy_alike",
            cluster="copying",
            kind="generation",
            instructions=("Turn the words around.",),
            module=__name__,
        ),
        source=rows_source(
            lambda split: [{"id": f"{split}/{i}", **ROW} for i in range(COUNTS[split])],
            {"text": "string", "answer": "string"},
            COUNTS,
        ),
        fields=["text", "answer"],
        templates=[Template("{text}?", "{answer}")],
        version="1",
    )
