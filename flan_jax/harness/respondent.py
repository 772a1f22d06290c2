"""A checkpoint that other harnesses ask: opened once, scoring and answering texts."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax import json_files, macros, terminal
from flan_jax.errors import ConfigError, DataError, did_you_mean
from flan_jax.evaluation import generation, ranking
from flan_jax.harness.texts import Pair, Texts, cut_at
from flan_jax.instructions import chat
from flan_jax.instructions.vocabulary import VOCABULARY, check_vocabulary
from flan_jax.kinds import whole_number
from flan_jax.models import families
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import restore

# Tokens of the longest sequence where nothing says it, and what config.json may call them.
MAX_LENGTH = 2048
_SAYS_LENGTH = ("n_positions", "max_position_embeddings", "n_ctx")
# Continuations of one context that are scored together.
_MOST_OPTIONS = 32
_TASK = "harness"


@dataclasses.dataclass(frozen=True)
class Asked:
    """How a text is to be continued.

    Attributes:
        until: texts that end an answer, and are not part of it.
        most: tokens of the longest answer.
        decoding: how tokens are chosen.
    """

    until: tuple[str, ...] = ()
    most: int = 256
    decoding: Decoding = Decoding()


class Respondent:
    """A model with its weights and its vocabulary.

    Attributes:
        found: the checkpoint.
        model: its model.
        batch_size: contexts read together.
        texts: how it reads texts.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        batch_size: int = 1,
        max_length: int | None = None,
        base: str | None = None,
        dtype: str | None = None,
        sharding: str = "data",
    ):
        """Opens a checkpoint and reads its weights.

        Args:
            checkpoint: see `restore.require`.
            batch_size: contexts read together.
            max_length: see `Texts`; None for what the model's config.json says, or 2,048.
            base: what an adapter is on, see `restore.require`.
            dtype: of the computation; None for float32.
            sharding: preset in `mesh.PRESETS`.

        Raises:
            FlanJaxError: there is no such checkpoint, it is damaged, or an argument is wrong.
        """
        whole_number("batch_size", batch_size)
        if max_length is not None:
            whole_number("max_length", max_length, 2)
        macros.check(SHARDING=sharding, COMPUTE_DTYPE=dtype or "float32")
        self.found = restore.require(checkpoint, terminal.warn, base)
        self._spec = restore.vocabulary_of(self.found) or VOCABULARY.spec
        self.use_vocabulary()
        restore.check_vocabulary(self.found)
        config = restore.model_of(self.found).config
        self.model = Model(families.with_numerics(config, dtype=dtype) if dtype else config)
        check_vocabulary(self.model.config.vocab_size)
        self._mesh = mesh_lib.make_mesh(sharding)
        self._params = restore.weights(self.found, self.model, self._mesh)
        self.found.release()
        shards = mesh_lib.row_shards(self._mesh)
        self.batch_size = -(-batch_size // shards) * shards
        layout = self.model.layout(VOCABULARY)
        self.texts = Texts(layout, max_length or _said_length() or MAX_LENGTH)

    def use_vocabulary(self) -> None:
        """Makes its vocabulary the one in use: a program may ask several models in turn."""
        VOCABULARY.use(self._spec)

    def facts(self) -> dict[str, Any]:
        """Returns what tells the model from others, for a record of an evaluation."""
        count = sum(int(np.prod(leaf.shape)) for leaf in self.model.shapes.values())
        return {
            "model_num_parameters": count,
            "model_family": type(self.model.config).__name__,
            "model_step": self.found.step,
            "model_weights": self.found.weights_hash,
            "model_vocabulary": VOCABULARY.fingerprint,
        }

    def score(self, pairs: Sequence[Pair]) -> Iterator[tuple[int, tuple[float, bool]]]:
        """Yields the position of pairs with their scores, as they come.

        Continuations of one context share one reading of it.

        Args:
            pairs: tokens of contexts and continuations.

        Returns:
            Log-likelihood of a continuation in nats, and whether it is what greedy decoding says.
        """
        keys = [tuple(before) for before, _ in pairs]
        options = collections.Counter(keys)
        lengths = [len(before) for before, _ in pairs]
        for positions in ranking.batches(keys, lengths, self._batch):
            size = self._batch(options[keys[positions[0]]])
            scores = self._score([pairs[position] for position in positions], size)
            yield from zip(positions, scores, strict=True)

    def _batch(self, options: int) -> int:
        """Continuations scored together, given those that a context has."""
        return self.batch_size * min(options, _MOST_OPTIONS)

    def _score(self, pairs: Sequence[Pair], size: int) -> list[tuple[float, bool]]:
        rows: dict[tuple[int, ...], int] = {}
        own = [rows.setdefault(tuple(before), len(rows)) for before, _ in pairs]
        # Both lengths bound what is padded; pairs are cut already.
        longest = self.texts.max_length + len(self.texts.prefix)
        scorer = ranking.Scorer(self.model, self._params, longest, longest, size, self._mesh)
        asked = [np.array(before, np.int32) for before in rows]
        return scorer.score_tokens(asked, own, [np.array(after, np.int32) for _, after in pairs])

    def answer(self, contexts: Sequence[str], asked: Asked) -> Iterator[tuple[int, str]]:
        """Yields the position of contexts with their continuations, as they come.

        What is drawn for a context is a function of it, of the seed and of how often it came
        before, whatever others there are.

        Raises:
            DataError: an answer may be longer than what the model reads.
        """
        room = self.texts.max_length
        if self.texts.is_decoder:
            room -= asked.most
        if room < 1:
            raise DataError(
                f"max_gen_toks {asked.most:,} leaves no room for a context: max_length is "
                f"{self.texts.max_length:,}"
            )
        rows = [self.texts.shortened(self.texts.context(text), room) for text in contexts]
        rows = [row or self.texts.prefix for row in rows]
        draws = _draws(contexts)
        for batch in generation.by_length([len(row) for row in rows], self.batch_size):
            answers = self._answers([rows[p] for p in batch], [draws[p] for p in batch], asked)
            yield from zip(batch, answers, strict=True)

    def _answers(self, rows: Sequence[list[int]], draws: Sequence[int], asked: Asked) -> list[str]:
        generator = generation.Generator(
            self.model,
            self._params,
            self.texts.max_length + len(self.texts.prefix),
            asked.most,
            self.batch_size,
            self._mesh,
            asked.decoding,
        )
        ends = _special(asked.until)

        def has_ended(row: int, tokens: list[int]) -> bool:
            text = VOCABULARY.decode(tokens)
            return not ends.isdisjoint(tokens) or any(s and s in text for s in asked.until)

        prompts = [np.array(row, np.int32) for row in rows]
        found = generator.decode_until(prompts, draws, has_ended)
        return [cut_at(VOCABULARY.decode(_before(ends, one)), asked.until) for one in found]


def _said_length() -> int | None:
    """Returns the tokens that the model's config.json says it reads, where its tokenizer lies."""
    file = epath.Path(getattr(VOCABULARY.resolved, "folder", "")) / "config.json"
    content = json_files.read_json(file) if file.exists() else {}
    content = content.get("text_config", content) if isinstance(content, dict) else {}
    said = [content.get(name) for name in _SAYS_LENGTH] if isinstance(content, dict) else []
    return next((value for value in said if type(value) is int and value > 1), None)


def _draws(contexts: Sequence[str]) -> list[int]:
    """Returns the number that names the random numbers of each answer."""
    times: dict[str, int] = collections.Counter()
    found = []
    for text in contexts:
        found.append(generation.draw_number(_TASK, f"{times[text]}/{text}"))
        times[text] += 1
    return found


def _special(texts: Sequence[str]) -> set[int]:
    """Returns the special tokens that are named by texts; no decoded text has their names."""
    special: Mapping[str, int] = getattr(VOCABULARY.resolved, "special", {})
    return {special[text] for text in texts if text in special}


def _before(ends: set[int], tokens: Sequence[int]) -> list[int]:
    """Returns tokens up to the first of some."""
    at = next((at for at, token in enumerate(tokens) if token in ends), None)
    return [*tokens[:at]]


_BEAMS = ("num_beams", "length_penalty")
_SAMPLING = ("temperature", "top_k", "top_p")
_KNOWN = ("until", "max_gen_toks", "do_sample", "seed", *_BEAMS, *_SAMPLING)


def asked_for(options: Mapping[str, Any], seed: int = 0) -> Asked:
    """Returns what `generation_kwargs` of a task ask for, as transformers understands them.

    Args:
        options: until, max_gen_toks, do_sample, temperature, top_k, top_p, num_beams,
            length_penalty, seed. Sampling is asked for by do_sample, or by a temperature above 0
            without it.
        seed: of sampling, where options name none.

    Raises:
        ConfigError: one is not known, or has a value that it cannot have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in _KNOWN:
            raise ConfigError(
                f"generation option {name!r} is not known{did_you_mean(name, _KNOWN)}; there are "
                f"{', '.join(_KNOWN)}"
            )
    whole_number("max_gen_toks", given.get("max_gen_toks", 256))
    until = given.get("until", ())
    until = (until,) if isinstance(until, str) else tuple(until)
    temperature = given.get("temperature", 0.0)
    settings: dict[str, Any] = {"method": "greedy"}
    if given.get("num_beams", 1) != 1:
        settings = {"method": "beam", **{n: given[n] for n in _BEAMS if n in given}}
    elif given.get("do_sample", temperature != 0.0):
        settings = {n: given[n] for n in _SAMPLING if n in given}
        settings |= {"method": "sample", "seed": given.get("seed", seed)}
    return Asked(until, given.get("max_gen_toks", 256), Decoding(**settings))


def template_in_use() -> chat.ChatTemplate:
    """Returns the chat template that the vocabulary in use brings.

    Raises:
        DataError: it brings none.
    """
    vocabulary = VOCABULARY.resolved
    text = chat.template_of(vocabulary)
    if text is None:
        raise DataError(f"vocabulary {VOCABULARY.spec!r} brings no chat template to apply")
    return chat.ChatTemplate(vocabulary, text)


def render_chat(messages: Sequence[chat.Message], answering: bool) -> str:
    """Returns a conversation in the words of the vocabulary's chat template.

    Args:
        messages: the conversation.
        answering: whether an answer is to begin where the text ends; else the last message is to
            go on there.

    Raises:
        DataError: there is no template, or it refuses the conversation, also without what the
            system says.
    """
    template = template_in_use()
    messages = chat.check_messages([*messages], "a conversation")
    try:
        text = template.render(messages, answering)
    except DataError:
        rest = [message for message in messages if message["role"] != "system"]
        if len(rest) == len(messages):
            raise
        terminal.warn("the chat template refuses a system message; it is left out")
        text = template.render(rest, answering)
    if answering:
        return text
    last = messages[-1]["content"].strip()
    return text[: text.rindex(last) + len(last)] if last in text else text
