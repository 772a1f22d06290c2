"""Texts of another harness in a model's tokens, as that harness makes them for published models.

Its texts are whole prompts, written by tasks and chat templates; which part of one a person wrote
is not known. So names of special tokens are those tokens here, as they are to transformers, and
unlike in tasks of ours, where text is text.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import DataError, quoted
from flan_jax.instructions.tokenizer_folders import HuggingFaceVocabulary
from flan_jax.instructions.vocabulary import SENTINEL_VOCABULARY, VOCABULARY
from flan_jax.models.layouts import Layout, OneSequence

Pair = tuple[list[int], list[int]]


@dataclasses.dataclass(frozen=True)
class Texts:
    """How one model reads contexts and continuations.

    Attributes:
        layout: of the model with its vocabulary.
        max_length: tokens of the longest sequence; an encoder-decoder has two of them.
    """

    layout: Layout
    max_length: int

    @property
    def is_decoder(self) -> bool:
        """Whether context and continuation are one sequence."""
        return isinstance(self.layout, OneSequence)

    @property
    def _is_one_text(self) -> bool:
        """Whether they are one text, too: nothing parts prompt and answer."""
        return self.is_decoder and not self.layout.framing.prompt_eos

    def context(self, text: str) -> list[int]:
        """Returns a context as the model reads it: BOS in front and EOS behind where it wants them.

        A text that names BOS at its beginning, as chat templates write it, gets no second one.
        """
        framing = self.layout.framing
        tokens = SENTINEL_VOCABULARY.encode(text)
        if framing.bos_id is not None and [*tokens[:1]] == [framing.bos_id]:
            tokens = tokens[1:]
        # Prepared prompts end in EOS, which framing takes away where a model wants none.
        ended = np.array([*tokens, framing.eos_id], np.int32)
        return framing.prompt(ended, len(ended) + framing.added[0]).tolist()

    @property
    def prefix(self) -> list[int]:
        """What is read where there is no context: the tokenizer's BOS, else EOS."""
        return [self._prefix_id, *self.layout.framing.soft_prompt]

    @property
    def _prefix_id(self) -> int:
        resolved: Any = VOCABULARY.resolved
        named: Mapping[str, str] = getattr(resolved, "named", {})
        if "bos_token" in named:  # also where texts do not begin with it
            return resolved.special[named["bos_token"]]
        bos_id = VOCABULARY.bos_id
        return self.layout.framing.eos_id if bos_id is None else bos_id

    def pair(self, context: str, continuation: str) -> Pair:
        """Returns the tokens of a context and of its continuation, cut to what the model reads.

        White space at the end of a context is the continuation's, for tokens of words begin with
        it. Where both are one text, the continuation's tokens are those that it adds to the
        context's.

        Raises:
            DataError: the continuation adds no token, or has too many.
        """
        if not context:
            return self._cut(*self._alone(continuation), continuation)
        bare = context.rstrip()
        continuation = context[len(bare) :] + continuation
        before = self.context(bare) or self.prefix
        if self._is_one_text:
            after = self.context(bare + continuation)[len(self.context(bare)) :]
        else:
            after = self._answer(continuation)
        return self._cut(before, after, continuation)

    def _answer(self, continuation: str) -> list[int]:
        """Returns the tokens of a text that is not one with its context.

        A tokenizer folder is asked as transformers asks it. In a model of our own vocabulary an
        answer begins as it did in training, with no blank before it.
        """
        folder = isinstance(VOCABULARY.resolved, HuggingFaceVocabulary)
        return [*SENTINEL_VOCABULARY.encode(continuation if folder else continuation.lstrip())]

    def _alone(self, continuation: str) -> Pair:
        """Returns a continuation of nothing; its own first token is read where that is BOS."""
        if self._is_one_text:
            tokens = [*SENTINEL_VOCABULARY.encode(continuation)]
        else:
            tokens = self._answer(continuation)
        if tokens[:1] == [self._prefix_id]:
            return self.prefix, tokens[1:]
        return self.prefix, tokens

    def _cut(self, before: list[int], after: list[int], continuation: str) -> Pair:
        if not after:
            raise DataError(f"the continuation {quoted(continuation)} adds no token to its context")
        if len(after) > self.max_length:
            raise DataError(
                f"the continuation {quoted(continuation)} has {len(after):,} tokens, and "
                f"max_length is {self.max_length:,}"
            )
        # The last token of a sequence is predicted, and never read.
        room = self.max_length + 1 - len(after) if self.is_decoder else self.max_length
        return self.shortened(before, room), after

    def shortened(self, tokens: list[int], room: int) -> list[int]:
        """Returns the end of a context; of its beginning, a soft prompt alone is kept."""
        if len(tokens) <= room:
            return tokens
        soft = self.layout.framing.soft_prompt
        return [*soft, *tokens[len(tokens) - max(room - len(soft), 1) :]]

    def windows(self, text: str) -> list[Pair]:
        """Returns a whole text in pieces of contexts and continuations, each token scored once.

        The first is predicted from `prefix`; later pieces are as long as the model reads, and all
        but the last token of what they predict is read with them.
        """
        soft = self.layout.framing.soft_prompt
        if self._is_one_text:
            tokens = [token for token in self.context(text) if token not in soft]
        else:
            tokens = [*SENTINEL_VOCABULARY.encode(text)]
        found: list[Pair] = []
        for start in range(0, len(tokens), self.max_length):
            end = min(start + self.max_length, len(tokens))
            # A last piece that is short has more before it.
            more = tokens[max(end - self.max_length, 1) - 1 : start]
            found.append(([*soft, *more] if start else self.prefix, tokens[start:end]))
        return found


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Returns a text up to the first place where one of some others begins."""
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text
