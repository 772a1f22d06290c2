"""Answers of a model to the examples of a mixture."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gin
import jax
import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.data.prepare import PreparedMixture
from flan_jax.data.records import Example
from flan_jax.errors import DataError
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models import decoding
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Framing, Sequences
from flan_jax.models.layouts import Layout
from flan_jax.models.sharding import axis_rules
from flan_jax.scoring.predictions import MOST_BYTES, Prediction
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import processes

SMALLEST_BUCKET = 32
# Tokens decoded between two looks at where answers end.
_STEPS = 16
# Known to gin without becoming gin's: elsewhere in the program `Decoding()` stays what it says.
gin.external_configurable(Decoding, name="Decoding", module="models")


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
    model: Model, chosen: Decoding, max_length: int, framing: Framing, mesh: Any, best: int = 1
) -> Callable[[Params, Sequences, jax.Array], jax.Array]:
    """Kept between generators, so that one program that scores many checkpoints compiles once."""
    options: dict[str, Any] = {"max_length": max_length, "framing": framing}
    beams = chosen.method == "beam"
    if beams:
        options |= {"num_beams": chosen.num_beams, "length_penalty": chosen.length_penalty}

    def decode(params: Params, prompts: Sequences, draws_B: jax.Array) -> jax.Array:
        module = model.bind(params)
        if beams:
            return beam_search(module, prompts, **options)[0][:, :best]
        return decoding.decode(module, prompts, chosen.chooser(draws_B), **options)[:, None]

    return compiled_on(mesh, decode)


@functools.lru_cache(maxsize=4)
def compiled_steps(
    model: Model, chosen: Decoding, max_length: int, framing: Framing, mesh: Any, steps: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Decoding some tokens at a time, for who looks at them in between.

    Args:
        model: the model.
        chosen: greedy or sampling.
        max_length: most tokens of an answer.
        framing: of the model.
        mesh: see `compiled_on`.
        steps: tokens at a time.

    Returns:
        `start(params, prompts)` and `advance(params, state, draws_B)`, which return a
        `decoding.State`; `advance` reuses the memory of the one it is given.
    """

    def start(params: Params, prompts: Sequences) -> decoding.State:
        return decoding.start(model.bind(params), prompts, framing=framing, max_length=max_length)

    def advance(params: Params, state: decoding.State, draws_B: jax.Array) -> decoding.State:
        choose = chosen.chooser(draws_B)
        return decoding.advance(model.bind(params), state, choose, framing=framing, steps=steps)

    return _compiled_sharded(mesh, start), _compiled_sharded(mesh, advance, donate_argnums=1)


def _compiled_sharded(mesh: Any, function: Callable[..., Any], **options: Any) -> Any:
    """Compiles a function whose result stays where it is."""

    def call(*args: Any) -> Any:
        with axis_rules(mesh, mesh_lib.RULES):
            return function(*args)

    return jax.jit(function if mesh is None else call, **options)


def compiled_on(mesh: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function for a mesh, or one device where None; every process gets its result."""
    options = {} if mesh is None else {"out_shardings": mesh_lib.replicated(mesh)}
    return _compiled_sharded(mesh, function, **options)


def placed_on(mesh: Any, tree: Any) -> Any:
    """Returns arrays with their rows spread over a mesh, or on one device where None."""
    return jax.device_put(tree) if mesh is None else mesh_lib.place_whole(tree, mesh)


@dataclasses.dataclass(frozen=True)
class Generator:
    """Decoding with one model, compiled once for each bucket of lengths of prompts.

    Attributes:
        model: the model.
        params: its parameters.
        inputs_length: tokens that a prompt is cut to.
        targets_length: most tokens to generate, EOS included.
        batch_size: prompts decoded together.
        mesh: what rows are spread over; None for one device.
        decoding: how answers are chosen.
        best: answers to each prompt, the best of its beams.
    """

    model: Model
    params: Params
    inputs_length: int
    targets_length: int
    batch_size: int
    mesh: Any = None
    decoding: Decoding = Decoding()
    best: int = 1

    @functools.cached_property
    def _layout(self) -> Layout:
        return self.model.layout(VOCABULARY)

    @property
    def _decode(self) -> Callable[[Params, Sequences, jax.Array], jax.Array]:
        return _compiled_decode(
            self.model,
            self.decoding,
            self.targets_length,
            self._layout.framing,
            self.mesh,
            self.best,
        )

    def batches(self, examples: Sequence[Example]) -> Iterator[list[int]]:
        """Yields positions of examples of similar length, longest first."""
        return by_length([len(example.inputs) for example in examples], self.batch_size)

    def answer(self, examples: Sequence[tuple[str, Example]]) -> list[str]:
        """Returns the answers to at most `batch_size` examples, each given with its task."""
        draws = [draw_number(task, example.id) for task, example in examples]
        answers = self.decode([example.inputs for _, example in examples], draws)
        return [VOCABULARY.decode(found[0]) for found in answers]

    def decode(self, prompts: Sequence[np.ndarray], draws: Sequence[int]) -> list[list[list[int]]]:
        """Returns the tokens of `best` answers to each of at most `batch_size` prompts.

        Fewer are filled up with padding, so that they do not compile anew.

        Args:
            prompts: prepared prompts, see `Framing.prompt`.
            draws: numbers below 2**32 that name the random numbers of each answer.
        """
        framing = self._layout.framing
        rows = [framing.prompt(prompt, self.inputs_length) for prompt in prompts]
        answers = np.asarray(self._decode(self.params, *self._placed(rows, draws)))[: len(rows)]
        return [[framing.spoken(one) for one in found] for found in answers]

    def decode_until(
        self,
        rows: Sequence[np.ndarray],
        draws: Sequence[int],
        has_ended: Callable[[int, list[int]], bool],
    ) -> list[list[int]]:
        """Returns the tokens of an answer to each of at most `batch_size` prompts.

        Answers may go on for some tokens behind where one was said to have ended. Beams are
        decoded to their end, the best is returned.

        Args:
            rows: framed prompts.
            draws: see `decode`.
            has_ended: told a row and its tokens so far, from time to time, says whether more of
                them are wanted.
        """
        prompts, draws_B = self._placed(rows, draws)
        framing = self._layout.framing
        if self.decoding.method == "beam":
            found = np.asarray(self._decode(self.params, prompts, draws_B))[: len(rows), 0]
            return [framing.said(row) for row in found]
        start, advance = compiled_steps(
            self.model, self.decoding, self.targets_length, framing, self.mesh, _STEPS
        )
        state = start(self.params, prompts)
        ended: np.ndarray = np.arange(self.batch_size) >= len(rows)
        for at in range(0, self.targets_length, _STEPS):
            state = advance(self.params, state, draws_B)
            tokens = np.array(state.tokens_BxL)[:, : at + _STEPS]
            ended |= np.asarray(state.done_B)
            for row in np.flatnonzero(~ended):
                ended[row] = has_ended(int(row), framing.said(tokens[row]))
            if ended.all():
                break
            state = state._replace(done_B=jax.device_put(ended, state.done_B.sharding))
        return [framing.said(row) for row in tokens[: len(rows)]]

    def _placed(self, rows: Sequence[np.ndarray], draws: Sequence[int]) -> Any:
        """Returns framed prompts as a batch, and the draw of each row."""
        length = bucket_length(max(map(len, rows)), self.inputs_length)
        framed = self._layout.prompts(rows, self.batch_size, length)
        draws_B: np.ndarray = np.zeros(self.batch_size, np.uint32)
        draws_B[: len(draws)] = draws
        return placed_on(self.mesh, (framed, draws_B))


def by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yields positions of what is of similar length, longest first, `size` at a time."""
    order = np.argsort([-length for length in lengths], kind="stable")
    for start in range(0, len(order), size):
        yield [int(i) for i in order[start : start + size]]


def examples_of(mixture: PreparedMixture, most: int | None = None) -> list[tuple[str, Example]]:
    """Returns (task, example) pairs of a mixture prepared in one rendering.

    Args:
        mixture: the mixture.
        most: of each task, so many from the first, each with all of its options to be ranked; None
            for all.
    """
    return [
        (units[0].spec.task, example)
        for units in mixture.units
        for example in _first(units[0], most)
    ]


def _first(records: Iterable[Example], most: int | None) -> Iterator[Example]:
    """Yields the records of the first examples; options of one follow each other."""
    ids = set()
    for record in records:
        ids.add(record.ranked[0] if record.ranked else record.id)
        if most is not None and len(ids) > most:
            return
        yield record


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

        Of several processes the first alone reads and writes, and tells the others.

        Args:
            path: the file; the caller removes it at the end.
            identity: hash of what the answers depend on.

        Raises:
            OutputError: the file cannot be written; an older one is what it was.
        """
        self._path = path
        header = ["flan_jax", identity]
        rows: list[Any] = []
        if processes.is_first():
            found = _answers_of(path, header) if path.exists() else {}
            rows = [[*key, value] for key, value in found.items()]
            # A line that a killed attempt was cut off in goes.
            json_files.write_lines(path, [header, *rows])
        self._found = {(task, record): value for task, record, value in processes.from_first(rows)}

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._found

    def __getitem__(self, key: tuple[str, str]) -> Any:
        return self._found[key]

    def add(self, answers: Mapping[tuple[str, str], Any]) -> None:
        """Keeps answers: texts, or scores of options.

        Raises:
            OutputError: the file cannot be written.
        """
        self._found.update(answers)
        if not processes.is_first():
            return
        json_files.append_lines(self._path, ([*key, value] for key, value in answers.items()))


def _answers_of(path: epath.Path, header: Sequence[str]) -> dict[tuple[str, str], Any]:
    """Returns the answers in a file that begins with a header; none where it does not."""
    found: dict[tuple[str, str], Any] = {}
    try:
        first, *lines = files.read_text(path, most=MOST_BYTES).split("\n")
        if json_files.loads(first, path) != list(header):
            return {}
    except DataError:
        return {}
    for line in lines:
        try:
            row = json_files.loads(line, path)
        except DataError:  # cut off in the middle
            continue
        match row:
            case [str(task), str(record), str() | float() | int() | None as answer]:
                found[task, record] = answer
    return found
