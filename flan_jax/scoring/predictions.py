"""One answer of a model, as a line of predictions.jsonl."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from flan_jax import json_files
from flan_jax.errors import did_you_mean, quoted

# Of a file of answers: all of them are in memory in any case.
MOST_BYTES = 1 << 40


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One answer, and all that is needed to see what was asked.

    Attributes:
        task: SeqIO task.
        id: example id.
        template: id of the template or encoding of the prompt.
        options: answers shown in the prompt.
        prompt: the prompt in words, before truncation.
        prediction: what the model said; where options are ranked, the one with the best score, and
            nothing where none has it alone.
        targets: all acceptable answers.
        form: form of the OPTIONS block.
        scores: where options are ranked, log-likelihood of each, in the dataset's order; NaN where
            it is not finite.
    """

    task: str
    id: str
    template: str
    options: tuple[str, ...]
    prompt: str
    prediction: str
    targets: tuple[str, ...]
    form: str = ""
    scores: tuple[float, ...] = ()

    def to_json(self) -> str:
        """Returns one line; what is empty for most tasks is left out."""
        fields = dataclasses.asdict(self)
        for name in ("form", "scores"):
            if not fields[name]:
                del fields[name]
        return json_files.dumps(fields)

    @classmethod
    def from_json(cls, text: str, where: str = "the prediction") -> "Prediction":
        """Inverse of `to_json`.

        Raises:
            DataError: it is no prediction; names the field.
        """
        return cls.from_fields(json_files.Fields(where, json_files.loads(text, where)))

    @classmethod
    def from_fields(cls, row: json_files.Fields) -> "Prediction":
        """Returns the prediction of one object of predictions.jsonl.

        Raises:
            DataError: see `from_json`.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in row.object if name not in names]:
            row.fail(unknown[0], f"is not known{did_you_mean(unknown[0], names)}")
        given = {"form": "", "scores": [], **row.object}
        filled = json_files.Fields(row.where, given)
        texts = ("task", "id", "template", "prompt", "prediction", "form")
        return cls(
            **{name: filled.text(name) for name in texts},
            options=filled.texts("options", least=0),
            targets=filled.texts("targets"),
            scores=tuple(_score(filled, value) for value in filled.items("scores")),
        )


def _score(row: json_files.Fields, value: Any) -> float:
    """Returns a log-likelihood as files have it."""
    if value is None:
        return math.nan
    if type(value) not in (int, float) or (type(value) is int and abs(value) > 1e300):
        row.fail("scores", f"must be a list of numbers, found {quoted(value)} in it")
    return float(value)


def score_targets(
    predictions: Sequence[Prediction],
) -> tuple[list[tuple[str, int, bool]], list[float]]:
    """Returns what a SeqIO score metric takes: targets and scores, one of each an option."""
    targets = [
        (prediction.id, index, option in prediction.targets)
        for prediction in predictions
        for index, option in enumerate(prediction.options)
    ]
    return targets, [score for prediction in predictions for score in prediction.scores]
