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
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax import metrics
from flan_jax.data.records import Example
from flan_jax.evaluation.generation import Partial, bucket_length, compiled_on, placed_on
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models import decoding
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Framing, Sequences, pad
from flan_jax.scoring.predictions import Prediction
from flan_jax.training import mesh as mesh_lib

Record = tuple[str, Example]
# What stands before an option whose prompt is left out, and under which name its scores are kept.
_UNCONDITIONAL = "Answer:"
_WITHOUT_PROMPT = "\x1fwithout prompt"


@functools.lru_cache(maxsize=4)
def _compiled_score(model: Model, framing: Framing, mesh: Any) -> Callable[..., Any]:
    """Kept between scorers, as `generation._compiled_decode` is."""

    def score(
        params: Params, prompts: Sequences, prompt_B: jax.Array, answers: Sequences
    ) -> tuple[jax.Array, jax.Array]:
        module = model.bind(params)
        found = decoding.score_answers(module, prompts, prompt_B, answers, framing)
        return jnp.sum(found.log_probs_BxT, axis=-1), jnp.all(found.greedy_BxT, axis=-1)

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

    def batches(self, records: Sequence[Record]) -> Iterator[list[Record]]:
        """Yields records that are scored together, see `batches`."""
        keys = [(task, example_id(record)) for task, record in records]
        lengths = [len(record.inputs) for _, record in records]
        for positions in batches(keys, lengths, lambda options: self.batch_size):
            yield [records[position] for position in positions]

    def score(self, records: Sequence[Record]) -> list[float]:
        """Returns the log-likelihood, in nats, of each of the records of one batch."""
        framing = self.model.layout(VOCABULARY).framing
        rows: dict[tuple[str, str], int] = {}
        asked: list[np.ndarray] = []
        for task, record in records:
            key = task, example_id(record)
            if key not in rows:
                rows[key] = len(asked)
                asked.append(framing.prompt(record.inputs, self.inputs_length))
        own = [rows[task, example_id(record)] for task, record in records]
        options = [framing.answer(record.targets, self.targets_length) for _, record in records]
        return [score for score, _ in self.score_tokens(asked, own, options)]

    def score_tokens(
        self, asked: Sequence[np.ndarray], own: Sequence[int], options: Sequence[np.ndarray]
    ) -> list[tuple[float, bool]]:
        """Scores at most `batch_size` options.

        Args:
            asked: framed prompts.
            own: which of them each option follows.
            options: tokens of options.

        Returns:
            Of each option its log-likelihood in nats, and whether greedy decoding would say it.
        """
        layout = self.model.layout(VOCABULARY)
        prompt_B: np.ndarray = np.zeros(self.batch_size, np.int32)
        prompt_B[: len(own)] = own
        length = bucket_length(max(map(len, asked)), self.inputs_length)
        prompts = layout.prompts(asked, self._prompts(own), length)
        length = bucket_length(max(map(len, options)), self.targets_length)
        answers = pad(options, self.batch_size, length, layout.framing.pad_id)
        placed = placed_on(self.mesh, (prompts, prompt_B, answers))
        score = _compiled_score(self.model, layout.framing, self.mesh)
        scores, greedy = map(np.asarray, score(self.params, *placed))
        return [(float(scores[row]), bool(greedy[row])) for row in range(len(options))]

    def _prompts(self, own: Sequence[int]) -> int:
        """Prompts read together: as many as fill a batch with options, so that none is filler."""
        options = max(collections.Counter(own).values())
        count = max(self.batch_size // options, len(set(own)))
        shards = 1 if self.mesh is None else mesh_lib.row_shards(self.mesh)
        return -(-count // shards) * shards


def batches(
    keys: Sequence[Hashable], lengths: Sequence[int], size: Callable[[int], int]
) -> Iterator[list[int]]:
    """Yields positions of options that are scored together, each prompt once where it fits.

    Prompts with as many options come together, the longest first: so batches are of few shapes.

    Args:
        keys: of each option, what names its prompt.
        lengths: of each option, the tokens of its prompt.
        size: given the options of a prompt, the most of a batch.
    """
    by_prompt: dict[Hashable, list[int]] = collections.defaultdict(list)
    for position, key in enumerate(keys):
        by_prompt[key].append(position)
    alike: dict[int, list[list[int]]] = collections.defaultdict(list)
    for group in sorted(by_prompt.values(), key=lambda group: -lengths[group[0]]):
        alike[len(group)].append(group)
    for options, groups in sorted(alike.items()):
        most = size(options)
        room = max(1, most // options)
        for first in range(0, len(groups), room):
            positions = [position for group in groups[first : first + room] for position in group]
            for start in range(0, len(positions), most):
                yield positions[start : start + most]


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
        normalization: what RANK_SCORE says.

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
        normalization: what RANK_SCORE says.
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
