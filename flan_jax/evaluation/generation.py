"""Answers of a model to the examples of a mixture."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax.data.prepare import PreparedMixture
from flan_jax.data.records import Example
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models import decoding
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Framing, Sequences
from flan_jax.models.layouts import Layout

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
        prediction: what the model said; where options are ranked, the one with the best score.
        targets: all acceptable answers.
        form: form of the OPTIONS block.
        scores: where options are ranked, log-likelihood of each, in the dataset's order.
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
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Prediction":
        """Inverse of `to_json`."""
        fields = json.loads(text)
        for name in ("options", "targets", "scores"):
            fields[name] = tuple(fields.get(name, ()))
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
    model: Model, chosen: Decoding, max_length: int, framing: Framing
) -> Callable[[Params, Sequences, jax.Array], jax.Array]:
    """Kept between generators, so that one program that scores many checkpoints compiles once."""
    options: dict[str, Any] = {"max_length": max_length, "framing": framing}
    beams = chosen.method == "beam"
    if beams:
        options |= {"num_beams": chosen.num_beams, "length_penalty": chosen.length_penalty}

    def decode(params: Params, prompts: Sequences, draws_B: jax.Array) -> jax.Array:
        module = model.bind(params)
        if beams:
            return beam_search(module, prompts, **options)[0][:, 0]
        return decoding.decode(module, prompts, chosen.chooser(draws_B), **options)

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

    @functools.cached_property
    def _layout(self) -> Layout:
        return self.model.layout(VOCABULARY)

    @property
    def _decode(self) -> Callable[[Params, Sequences, jax.Array], jax.Array]:
        framing = self._layout.framing
        return _compiled_decode(self.model, self.decoding, self.targets_length, framing)

    def batches(self, examples: Sequence[Example]) -> Iterator[list[int]]:
        """Yields positions of examples of similar length, longest first."""
        order = np.argsort([-len(example.inputs) for example in examples], kind="stable")
        for start in range(0, len(order), self.batch_size):
            yield [int(i) for i in order[start : start + self.batch_size]]

    def answer(self, examples: Sequence[tuple[str, Example]]) -> list[str]:
        """Returns the answers to at most `batch_size` examples, each given with its task.

        Fewer are filled up with padding, so that they do not compile anew.
        """
        framing = self._layout.framing
        rows = [framing.prompt(example.inputs, self.inputs_length) for _, example in examples]
        length = bucket_length(max(map(len, rows)), self.inputs_length)
        prompts = self._layout.prompts(rows, self.batch_size, length)
        draws_B: np.ndarray = np.zeros(self.batch_size, np.uint32)
        for row, (task, example) in enumerate(examples):
            draws_B[row] = draw_number(task, example.id)
        placed = jax.device_put((prompts, draws_B), self.sharding)
        answers = np.asarray(self._decode(self.params, *placed))[: len(rows)]
        return [VOCABULARY.decode(framing.spoken(answer)) for answer in answers]


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
    answers: "Partial",
    progress: Callable[[int], None] = lambda done: None,
) -> list[Prediction]:
    """Answers examples.

    Args:
        generator: the model.
        examples: each with its task.
        answers: those of an earlier attempt; gets the new ones.
        progress: called with the number of examples that were answered at a time.

    Returns:
        Predictions in the order of the examples.
    """
    todo = [pair for pair in examples if (pair[0], pair[1].id) not in answers]
    progress(len(examples) - len(todo))
    for positions in generator.batches([example for _, example in todo]):
        batch = [todo[position] for position in positions]
        keys = [(task, example.id) for task, example in batch]
        answers.add(dict(zip(keys, generator.answer(batch), strict=True)))
        progress(len(batch))
    return [
        Prediction(
            task=task,
            id=example.id,
            template=example.template,
            options=example.options,
            prompt=example.prompt,
            prediction=answers[task, example.id],
            targets=example.references,
            form=example.form,
        )
        for task, example in examples
    ]


class Partial:
    """Answers by task and record, on disk as they come, so that a killed evaluation goes on."""

    def __init__(self, path: epath.Path, identity: str):
        """Reads answers of an earlier attempt; starts the file anew where it is of another one.

        Args:
            path: the file; the caller removes it at the end.
            identity: hash of what the answers depend on.
        """
        self._path = path
        header = json.dumps(["flan_jax", identity])
        lines = path.read_text().splitlines() if path.exists() else []
        self._found: dict[tuple[str, str], Any] = {}
        if lines[:1] == [header]:
            for line in lines[1:]:
                try:
                    task, record, value = json.loads(line)
                except ValueError:  # cut off in the middle
                    continue
                self._found[task, record] = value
        path.write_text("\n".join([header, *map(self._line, self._found)]) + "\n")

    def _line(self, key: tuple[str, str]) -> str:
        return json.dumps([*key, self._found[key]])

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._found

    def __getitem__(self, key: tuple[str, str]) -> Any:
        return self._found[key]

    def add(self, answers: Mapping[tuple[str, str], Any]) -> None:
        """Keeps answers: texts, or scores of options."""
        self._found.update(answers)
        with self._path.open("a") as file:
            file.write("".join(self._line(key) + "\n" for key in answers))
