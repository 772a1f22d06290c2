"""Answers to instructions that anybody gives: lines of a file, or a line typed in.

A request is a JSON object with `inputs`, a text, or `messages`, a conversation. Its answer is the
same object with `output` added; or `outputs`, a list, where several are asked for.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from flan_jax import json_files, macros, terminal
from flan_jax.errors import ConfigError, DataError
from flan_jax.evaluation import generation
from flan_jax.instructions import chat
from flan_jax.instructions.vocabulary import VOCABULARY, check_vocabulary
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model, Params
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import restore

# Batches that are sorted by length together; then their answers go out.
_WINDOW = 16
_TASK = "infer"


@gin.configurable
@dataclasses.dataclass(frozen=True)
class InferConfig:
    """How to answer; gin binds it from macros (gin_configs/runs/flan_jax/infer.gin).

    Attributes:
        model: config of a model family.
        feature_lengths: tokens that prompts are cut to, and most tokens of an answer.
        batch_size: prompts decoded together.
        outputs: answers to each request.
        decoding: how answers are chosen.
        sharding: preset in `mesh.PRESETS`.
        mesh_shape: overrides the preset's devices by mesh axis.
        base_checkpoint_path: what the frozen weights of a tuned model are read from; None where
            this machine remembers it.
    """

    model: Any
    feature_lengths: Mapping[str, int]
    batch_size: int = 32
    outputs: int = 1
    decoding: Decoding = Decoding()
    sharding: str = "data"
    mesh_shape: Mapping[str, int] | None = None
    base_checkpoint_path: str | None = None

    def __post_init__(self) -> None:
        macros.check(
            TASK_FEATURE_LENGTHS=self.feature_lengths,
            EVAL_BATCH_SIZE=self.batch_size,
            NUM_OUTPUTS=self.outputs,
        )
        method, beams = self.decoding.method, self.decoding.num_beams
        if self.outputs > 1 and method == "greedy":
            raise ConfigError(
                f"NUM_OUTPUTS {self.outputs}: greedy decoding has one answer; "
                "DECODING=sample or beam has several"
            )
        if method == "beam" and self.outputs > beams:
            raise ConfigError(f"NUM_OUTPUTS {self.outputs} is more than NUM_BEAMS {beams}")


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be answered.

    Attributes:
        line: the object that asks.
        inputs: a text; None where it is a conversation.
        messages: the conversation.
    """

    line: Mapping[str, Any]
    inputs: str | None
    messages: Sequence[chat.Message] = ()

    def tokens(self) -> np.ndarray:
        """Returns the prompt as prepared ones are: a text ends in EOS, a conversation is its own.

        Raises:
            DataError: the model brings no chat template, or it refuses the conversation.
        """
        if self.inputs is not None:
            return np.array([*VOCABULARY.encode(self.inputs), VOCABULARY.eos_id], np.int32)
        tokens = chat.encode(VOCABULARY.resolved, self.messages)
        return np.array(chat.as_prompt(VOCABULARY, tokens), np.int32)

    def answered(self, outputs: Sequence[str], several: bool) -> dict[str, Any]:
        """Returns the object with its answer."""
        return {**self.line, **({"outputs": list(outputs)} if several else {"output": outputs[0]})}


def read_requests(name: str, text: str | None = None) -> list[Request]:
    """Returns the requests of a file of JSON lines.

    Args:
        name: the file, or what errors call `text`.
        text: the content, where it was read already.

    Raises:
        DataError: a line is no request; names file, line and field.
    """
    found = []
    for row in json_files.read_rows(name, text):
        line = row.object
        has = [key for key in ("inputs", "messages") if key in line]
        if len(has) != 1:
            raise DataError(f"{row.where}: a request has 'inputs' or 'messages', and not both")
        if has == ["inputs"]:
            found.append(Request(line, row.text("inputs")))
        else:
            found.append(Request(line, None, chat.check_messages(line["messages"], row.where)))
    return found


class Answerer:
    """A model with its weights, answering."""

    def __init__(self, config: InferConfig, checkpoint: str, say: Callable[[str], None]):
        """Args:
        config: how to answer.
        checkpoint: see `restore.require`.
        say: called with what was passed over.

        Raises:
            CheckpointError: there is none, or it does not fit.
        """
        mesh = mesh_lib.make_mesh(config.sharding, config.mesh_shape)
        self._model = Model(config.model)
        check_vocabulary(config.model.vocab_size)
        found = restore.open_as(checkpoint, self._model, say, config.base_checkpoint_path)
        self.identity = [found.run, dict(config.feature_lengths), config.decoding.describe()]
        self._params: Params = restore.weights(found, self._model, mesh)
        found.release()
        shards = mesh_lib.row_shards(mesh)
        self._config = config
        self._size = -(-config.batch_size // shards) * shards
        beams = config.decoding.method == "beam"
        self._draws = 1 if beams else config.outputs
        self._generator = generation.Generator(
            self._model,
            self._params,
            config.feature_lengths["inputs"],
            config.feature_lengths["targets"],
            self._size,
            mesh,
            config.decoding,
            config.outputs if beams else 1,
        )

    def answers(
        self, requests: Sequence[tuple[int, np.ndarray]]
    ) -> Iterator[tuple[int, list[str]]]:
        """Yields number and answers of requests, as they come.

        Args:
            requests: each with the number that names its random numbers, as prompts.
        """
        rows = [
            (number, draw, tokens) for number, tokens in requests for draw in range(self._draws)
        ]
        waiting: dict[int, dict[int, list[str]]] = {}
        for batch in generation.by_length([len(row[2]) for row in rows], self._size):
            asked = [rows[position] for position in batch]
            draws = [generation.draw_number(_TASK, f"{n}/{draw}") for n, draw, _ in asked]
            decoded = self._generator.decode([tokens for *_, tokens in asked], draws)
            for (number, draw, _), found in zip(asked, decoded, strict=True):
                texts = waiting.setdefault(number, {})
                texts[draw] = [VOCABULARY.decode(tokens) for tokens in found]
                if len(texts) == self._draws:
                    yield number, [text for _, some in sorted(texts.items()) for text in some]

    def windows(self, count: int) -> Iterator[range]:
        """Yields numbers of requests that are sorted by length together."""
        size = max(1, _WINDOW * self._size // self._draws)
        for start in range(0, count, size):
            yield range(start, min(start + size, count))

    def stream(self, request: Request, number: int) -> Iterator[str]:
        """Yields pieces of the answer to one request, as its tokens come.

        Beams are not followed: by the time that the best is known, there is nothing to stream.
        """
        framing = self._model.layout(VOCABULARY).framing
        length = self._config.feature_lengths["inputs"]
        prompt = framing.prompt(request.tokens(), length)
        room = generation.bucket_length(len(prompt), length)
        prompts = self._model.layout(VOCABULARY).prompts([prompt], 1, room)
        most = self._config.feature_lengths["targets"]
        start, step = generation.compiled_steps(
            self._model, self._config.decoding, most, framing, None, 1
        )
        state = start(self._params, jax.device_put(prompts))
        draw = jnp.asarray([generation.draw_number(_TASK, f"{number}/0")], jnp.uint32)
        tokens: list[int] = []
        said = ""
        for _ in range(most):
            state = step(self._params, state, draw)
            token = int(state.last_B[0])
            if token in framing.ends:
                break
            tokens.append(token)
            text = VOCABULARY.decode(framing.spoken(np.array(tokens)))
            if text.startswith(said) and not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[len(said) :]
                said = text
        whole = VOCABULARY.decode(framing.spoken(np.array(tokens, np.int32)))
        yield whole[len(said) :] if whole.startswith(said) else ""


def answer_lines(
    answerer: Answerer, requests: Sequence[Request], several: bool, output: str | None
) -> None:
    """Answers requests in their order, to a file or standard output.

    A file appears whole at the end; until then, answers are beside it, and a killed job goes on.

    Args:
        answerer: the model.
        requests: what is asked.
        several: whether a list of answers is written.
        output: the file; None for standard output.

    Raises:
        OutputError: it cannot be written.
    """
    prompts = [request.tokens() for request in requests]
    progress = terminal.Progress("answering", len(requests))
    facts = [answerer.identity, several, [prompt.tolist() for prompt in prompts]]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    kept = None
    if output is not None:
        kept = generation.Partial(epath.Path(f"{output}.partial.jsonl"), digest)
    found: dict[int, list[str]] = {}
    for window in answerer.windows(len(requests)):
        asked = []
        for number in window:
            key = (_TASK, str(number))
            if kept is not None and key in kept:
                found[number] = json.loads(kept[key])
            else:
                asked.append((number, prompts[number]))
        progress.advance(len(window) - len(asked))
        for number, texts in answerer.answers(asked):
            found[number] = texts
            if kept is not None:
                kept.add({(_TASK, str(number)): json.dumps(texts)})
            progress.advance(1)
        if output is None:
            for number in window:
                answered = requests[number].answered(found[number], several)
                terminal.say_json(answered, indent=None)
    progress.close()
    if output is not None:
        rows = [r.answered(found[number], several) for number, r in enumerate(requests)]
        json_files.write_lines(epath.Path(output), rows)
        epath.Path(f"{output}.partial.jsonl").unlink(missing_ok=True)
