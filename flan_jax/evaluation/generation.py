"""Answers of a model to the examples of a mixture."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax.data.loader import trim
from flan_jax.data.prepare import PreparedMixture
from flan_jax.data.records import Example
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models import decoding
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model, Params

SMALLEST_BUCKET = 32


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One answer, and all that is needed to see what was asked.

    Attributes:
        task: SeqIO task.
        id: example id.
        template: id of the template or encoding of the prompt.
        options: answers shown in the prompt.
        prompt: the prompt in words, before truncation.
        prediction: what the model said.
        targets: all acceptable answers.
    """

    task: str
    id: str
    template: str
    options: tuple[str, ...]
    prompt: str
    prediction: str
    targets: tuple[str, ...]

    @classmethod
    def from_json(cls, text: str) -> "Prediction":
        """Inverse of `json.dumps(dataclasses.asdict(...))`."""
        fields = json.loads(text)
        for name in ("options", "targets"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def bucket_length(length: int, longest: int) -> int:
    """Returns the padded length: a power of two, or halfway between two, up to `longest`.

    Each bucket compiles once, and pads by at most half.
    """
    size = SMALLEST_BUCKET
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
    return min(size, longest)


def draw_number(task: str, example_id: str) -> int:
    """Returns the number, below 2**32, that names the random numbers of one example's answer."""
    digest = hashlib.blake2b(f"{task}\x1f{example_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


@functools.lru_cache(maxsize=4)
def _compiled_decode(
    model: Model, chosen: Decoding, max_length: int, eos_id: int, pad_id: int
) -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
    """Kept between generators, so that one program that scores many checkpoints compiles once."""
    options: dict[str, Any] = {"max_length": max_length, "eos_id": eos_id, "pad_id": pad_id}
    beams = chosen.method == "beam"
    if beams:
        options |= {"num_beams": chosen.num_beams, "length_penalty": chosen.length_penalty}

    def decode(params: Params, tokens_BxS: jax.Array, draws_B: jax.Array) -> jax.Array:
        module = model.bind(params)
        if beams:
            return beam_search(module, tokens_BxS, **options)[0][:, 0]
        return decoding.decode(module, tokens_BxS, chosen.chooser(draws_B), **options)

    return jax.jit(decode)


@dataclasses.dataclass(frozen=True)
class Generator:
    """Decoding with one model, compiled once for each bucket of lengths of prompts.

    Attributes:
        model: the model.
        params: its parameters.
        inputs_length: tokens that a prompt is cut to.
        targets_length: most tokens to generate, EOS included.
        batch_size: prompts decoded together.
        sharding: how rows are spread over devices; None for one device.
        decoding: how answers are chosen.
    """

    model: Model
    params: Params
    inputs_length: int
    targets_length: int
    batch_size: int
    sharding: Any = None
    decoding: Decoding = Decoding()

    @property
    def _decode(self) -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
        ids = VOCABULARY.eos_id, VOCABULARY.pad_id
        return _compiled_decode(self.model, self.decoding, self.targets_length, *ids)

    def batches(self, examples: Sequence[Example]) -> Iterator[list[int]]:
        """Yields positions of examples of similar length, longest first."""
        order = np.argsort([-len(example.inputs) for example in examples], kind="stable")
        for start in range(0, len(order), self.batch_size):
            yield [int(i) for i in order[start : start + self.batch_size]]

    def answer(self, examples: Sequence[tuple[str, Example]]) -> list[str]:
        """Returns the answers to at most `batch_size` examples, each given with its task.

        Fewer are filled up with padding, so that they do not compile anew.
        """
        rows = [trim(e.inputs, self.inputs_length, VOCABULARY.eos_id) for _, e in examples]
        length = bucket_length(max(map(len, rows)), self.inputs_length)
        tokens_BxS: np.ndarray = np.full((self.batch_size, length), VOCABULARY.pad_id, np.int32)
        draws_B: np.ndarray = np.zeros(self.batch_size, np.uint32)
        for row, (inputs, (task, example)) in enumerate(zip(rows, examples, strict=True)):
            tokens_BxS[row, : len(inputs)] = inputs
            draws_B[row] = draw_number(task, example.id)
        placed = jax.device_put((tokens_BxS, draws_B), self.sharding)
        answers = np.asarray(self._decode(self.params, *placed))[: len(rows)]
        return [decode_tokens(answer) for answer in answers]


def decode_tokens(tokens: np.ndarray) -> str:
    """Returns the words of generated tokens, up to EOS."""
    ids = [int(token) for token in tokens if token != VOCABULARY.pad_id]
    if VOCABULARY.eos_id in ids:
        ids = ids[: ids.index(VOCABULARY.eos_id)]
    return VOCABULARY.decode(ids)


def examples_of(mixture: PreparedMixture, most: int | None = None) -> list[tuple[str, Example]]:
    """Returns (task, example) pairs of a mixture prepared in one rendering.

    Args:
        mixture: the mixture.
        most: of each task, so many from the first; None for all.
    """
    return [
        (units[0].spec.task, example)
        for units in mixture.units
        for example in itertools.islice(units[0], most)
    ]


def predict(
    generator: Generator,
    examples: Sequence[tuple[str, Example]],
    partial: epath.Path,
    identity: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Prediction]:
    """Answers examples.

    Args:
        generator: the model.
        examples: each with its task.
        partial: file to which answers are written as they come, so that an evaluation that was
            killed goes on where it stopped; the caller removes it.
        identity: hash of what the answers depend on; a partial file of another one is not used.
        progress: called with the number of answers and of examples.

    Returns:
        Predictions in the order of the examples.
    """
    answers = _read_partial(partial, identity)
    todo = [pair for pair in examples if (pair[0], pair[1].id) not in answers]
    done = len(examples) - len(todo)
    progress(done, len(examples))
    with partial.open("a") as file:
        for positions in generator.batches([example for _, example in todo]):
            batch = [todo[position] for position in positions]
            for (task, example), text in zip(batch, generator.answer(batch), strict=True):
                answers[task, example.id] = text
                file.write(json.dumps([task, example.id, text]) + "\n")
            file.flush()
            done += len(batch)
            progress(done, len(examples))
    return [
        Prediction(
            task=task,
            id=example.id,
            template=example.template,
            options=example.options,
            prompt=example.prompt,
            prediction=answers[task, example.id],
            targets=example.references,
        )
        for task, example in examples
    ]


def _read_partial(path: epath.Path, identity: str) -> dict[tuple[str, str], str]:
    """Reads answers of an earlier attempt; starts the file anew where it is of another one."""
    header = json.dumps(["flan_jax", identity])
    lines = path.read_text().splitlines() if path.exists() else []
    found: dict[tuple[str, str], str] = {}
    if lines[:1] == [header]:
        for line in lines[1:]:
            try:
                task, example_id, text = json.loads(line)
            except ValueError:  # cut off in the middle
                continue
            found[task, example_id] = text
    rows = [json.dumps([*key, text]) for key, text in found.items()]
    path.write_text("\n".join([header, *rows]) + "\n")
    return found
