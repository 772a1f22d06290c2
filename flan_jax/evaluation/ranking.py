"""Rank classification: the option that a model finds most likely, given the prompt.

The score of an option is the sum of the log-likelihoods of its tokens, EOS included and not
divided by their number, as FLAN and T0 rank (Wei et al. 2022, section 2.4; Sanh et al. 2022,
section 5.2). RANK_SCORE chooses another: `per_token` divides it by that number, `per_character` by
the characters of the option, and `unconditional` takes from it the log-likelihood after "Answer:"
alone (Brown et al. 2020, section 2.4, has the first and the last).

All options of an example share one encoding of its prompt. What equal scores and scores that are
not finite count is said in `metrics.rank_choices`; options with equal token ids have an equal
score, whatever a batch's rounding makes of them.
"""

import collections
import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax import metrics
from flan_jax.data.records import Example
from flan_jax.evaluation.generation import Partial, bucket_length, compiled_on, placed_on
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Framing, Sequences, pad
from flan_jax.scoring.predictions import Prediction
from flan_jax.training import mesh as mesh_lib

Record = tuple[str, Example]
SCORES = ("sum", "per_token", "per_character", "unconditional")
# What stands before an option whose prompt is left out, and under which name its scores are kept.
_UNCONDITIONAL = "Answer:"
_WITHOUT_PROMPT = "\x1fwithout prompt"


@functools.lru_cache(maxsize=4)
def _compiled_score(model: Model, framing: Framing, mesh: Any) -> Callable[..., jax.Array]:
    """Kept between scorers, as `generation._compiled_decode` is."""

    def score(
        params: Params, prompts: Sequences, prompt_B: jax.Array, answers: Sequences
    ) -> jax.Array:
        module = model.bind(params)
        return jnp.sum(module.score_answers(prompts, prompt_B, answers, framing), axis=-1)

    return compiled_on(mesh, score)


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Scores options with one model, compiled once for each pair of buckets of lengths.

    Attributes:
        model: the model.
        params: its parameters.
        inputs_length: tokens that a prompt is cut to.
        targets_length: tokens that an option is cut to, EOS included.
        batch_size: options scored together.
        mesh: what rows are spread over; None for one device.
    """

    model: Model
    params: Params
    inputs_length: int
    targets_length: int
    batch_size: int
    mesh: Any = None

    @property
    def prompts(self) -> int:
        """Prompts encoded together: an example has two options or more."""
        half = -(-self.batch_size // 2)
        shards = 1 if self.mesh is None else mesh_lib.row_shards(self.mesh)
        return -(-half // shards) * shards

    def batches(self, records: Sequence[Record]) -> Iterator[list[Record]]:
        """Yields records that are scored together: whole examples where they fit, longest first."""
        by_example: dict[tuple[str, str], list[Record]] = collections.defaultdict(list)
        for task, record in records:
            by_example[task, example_id(record)].append((task, record))
        groups = sorted(by_example.values(), key=lambda group: -len(group[0][1].inputs))
        batch: list[Record] = []
        examples = 0
        for group in groups:
            while group:
                if examples == self.prompts or len(batch) == self.batch_size:
                    yield batch
                    batch, examples = [], 0
                room = self.batch_size - len(batch)
                batch, group = [*batch, *group[:room]], group[room:]
                examples += 1
        if batch:
            yield batch

    def score(self, records: Sequence[Record]) -> list[float]:
        """Returns the log-likelihood, in nats, of each of the records of one batch."""
        layout = self.model.layout(VOCABULARY)
        framing = layout.framing
        rows: dict[tuple[str, str], int] = {}
        asked: list[np.ndarray] = []
        prompt_B: np.ndarray = np.zeros(self.batch_size, np.int32)
        for index, (task, record) in enumerate(records):
            key = task, example_id(record)
            if key not in rows:
                rows[key] = len(asked)
                asked.append(framing.prompt(record.inputs, self.inputs_length))
            prompt_B[index] = rows[key]
        options = [framing.answer(record.targets, self.targets_length) for _, record in records]
        length = bucket_length(max(map(len, asked)), self.inputs_length)
        prompts = layout.prompts(asked, self.prompts, length)
        length = bucket_length(max(map(len, options)), self.targets_length)
        answers = pad(options, self.batch_size, length, framing.pad_id)
        placed = placed_on(self.mesh, (prompts, prompt_B, answers))
        scores = np.asarray(_compiled_score(self.model, framing, self.mesh)(self.params, *placed))
        return [float(score) for score in scores[: len(records)]]


def example_id(record: Example) -> str:
    """Returns the id of the example that a ranked option belongs to."""
    assert record.ranked is not None
    return record.ranked[0]


def rank(
    scorer: Scorer,
    records: Sequence[Record],
    scores: Partial,
    progress: Callable[[int], None] = lambda done: None,
    normalization: str = "sum",
) -> list[Prediction]:
    """Ranks the options of examples.

    Args:
        scorer: the model.
        records: options, each with its task.
        scores: those of an earlier attempt; gets the new ones.
        progress: called with the number of options that were scored at a time.
        normalization: one of `SCORES`.

    Returns:
        One prediction an example, in the order of the records.
    """
    _score_all(scorer, records, scores, progress)
    framing = scorer.model.layout(VOCABULARY).framing
    alone = None
    if normalization == "unconditional":
        alone = [_without_prompt(record) for _, record in records]
        _score_all(scorer, list(dict(zip(map(_key, alone), alone, strict=True)).values()), scores)
    examples: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for position, (task, record) in enumerate(records):
        examples[task, example_id(record)].append(position)
    found = []
    for (task, _), positions in examples.items():
        ordered = sorted(positions, key=lambda position: _index(records[position][1]))
        options = [records[position][1] for position in ordered]
        tokens = [framing.answer(o.targets, scorer.targets_length) for o in options]
        own = [_number(scores[task, option.id]) for option in options]
        before = [_number(scores[_key(alone[position])]) for position in ordered] if alone else None
        values = _as_tokens_differ(tokens, _normalized(normalization, own, options, tokens, before))
        found.append(_prediction(task, options, values))
    return found


def _score_all(
    scorer: Scorer,
    records: Sequence[Record],
    scores: Partial,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Scores the records that have no score yet."""
    todo = [record for record in records if _key(record) not in scores]
    progress(len(records) - len(todo))
    for batch in scorer.batches(todo):
        scores.add(dict(zip(map(_key, batch), scorer.score(batch), strict=True)))
        progress(len(batch))


def _key(record: Record) -> tuple[str, str]:
    task, example = record
    return task, example.id


def _without_prompt(record: Example) -> Record:
    """Returns an option after nothing that is asked; one for all examples that have it."""
    tokens = np.array([*VOCABULARY.encode(_UNCONDITIONAL), VOCABULARY.eos_id], np.int32)
    name = hashlib.sha256(record.targets.astype(np.int64).tobytes()).hexdigest()
    # Options of one prompt are scored together, as those of an example are.
    return _WITHOUT_PROMPT, dataclasses.replace(
        record, id=name, inputs=tokens, ranked=("", 0, False)
    )


def _normalized(
    normalization: str,
    sums: Sequence[float],
    options: Sequence[Example],
    tokens: Sequence[np.ndarray],
    before: Sequence[float] | None,
) -> list[float]:
    """Returns what options are ranked by.

    Args:
        normalization: one of `SCORES`.
        sums: summed log-likelihoods.
        options: the options.
        tokens: of each.
        before: summed log-likelihoods without the prompt.
    """
    if normalization == "per_token":
        return [total / max(len(own), 1) for total, own in zip(sums, tokens, strict=True)]
    if normalization == "per_character":
        return [total / max(len(o.target), 1) for total, o in zip(sums, options, strict=True)]
    if before is not None:
        return [total - alone for total, alone in zip(sums, before, strict=True)]
    return list(sums)


def _as_tokens_differ(tokens: Sequence[np.ndarray], scores: Sequence[float]) -> list[float]:
    """Returns the scores, where token ids are equal that of the first option with them."""
    first: dict[bytes, float] = {}
    return [
        first.setdefault(ids.astype(np.int64).tobytes(), score)
        for ids, score in zip(tokens, scores, strict=True)
    ]


def _number(score: float | None) -> float:
    """Files have null for what is not finite."""
    return math.nan if score is None else score


def _index(record: Example) -> int:
    assert record.ranked is not None
    return record.ranked[1]


def _prediction(task: str, options: Sequence[Example], scores: Sequence[float]) -> Prediction:
    first = options[0]
    targets = [option.ranked for option in options if option.ranked is not None]
    best = metrics.rank_choices(targets, scores)[example_id(first)].best
    by_index = {_index(option): option for option in options}
    return Prediction(
        task=task,
        id=example_id(first),
        template=first.template,
        options=tuple(option.target for option in options),
        prompt=first.prompt,
        prediction=by_index[best[0]].target if len(best) == 1 else "",
        targets=first.references,
        form=first.form,
        scores=tuple(scores),
    )
