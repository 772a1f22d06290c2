"""How a prompt and its answer become the token sequences of a model.

Which token fills a row, begins a prompt, begins a decoder and ends an answer is a matter of the
family and of the vocabulary together, declared once, in a `Framing`. Data layout, ranking and
decoding read it; none of them tells padding by a token's number.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class SpecialTokens(Protocol):
    """What a framing is made of beside the family: a vocabulary's own tokens."""

    @property
    def pad_id(self) -> int:
        """Fills rows."""

    @property
    def bos_id(self) -> int | None:
        """Begins a sequence, where the vocabulary has such a token."""

    @property
    def eos_id(self) -> int:
        """Ends a sequence. It may have further ones, `end_ids`, that end an answer."""


class Sequences(NamedTuple):
    """Token sequences side by side, each at the left of its row; a tree of arrays.

    Attributes:
        tokens_BxS: int32 tokens; what stands beyond a sequence's length is padding.
        lengths_B: int32 number of tokens of each; 0 is a row that only fills a batch.
    """

    tokens_BxS: Any
    lengths_B: Any

    @property
    def real_BxS(self) -> Any:
        """True at tokens, False at padding."""
        return np.arange(self.tokens_BxS.shape[1]) < self.lengths_B[:, None]


def pad(rows: Sequence[np.ndarray], count: int, length: int, pad_id: int) -> Sequences:
    """Returns token sequences as rows of one length.

    Args:
        rows: sequences of at most `length` tokens.
        count: rows to make; those beyond `rows` are empty.
        length: of a row.
        pad_id: what fills a row.
    """
    tokens: np.ndarray = np.full((count, length), pad_id, np.int32)
    lengths: np.ndarray = np.zeros(count, np.int32)
    for row, sequence in enumerate(rows):
        tokens[row, : len(sequence)] = sequence
        lengths[row] = len(sequence)
    return Sequences(tokens, lengths)


def trim(tokens: np.ndarray, length: int, eos_id: int) -> np.ndarray:
    """Returns at most `length` tokens; one that ends in EOS still does when cut, as SeqIO's."""
    if len(tokens) <= length:
        return tokens
    if tokens[-1] != eos_id:
        return tokens[:length]
    return np.append(tokens[: length - 1], np.int32(eos_id))


def shift_right(targets: np.ndarray, start_id: int) -> np.ndarray:
    """Returns decoder inputs for one example: the start token, then all targets but the last."""
    return np.concatenate([[start_id], targets[:-1]]).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Framing:
    """The special tokens of a model's sequences.

    Attributes:
        pad_id: fills rows; any token, for padding is told by lengths and segments.
        eos_id: ends an answer.
        end_ids: further tokens that end an answer where a model says them, such as the end of a
            turn in a conversation.
        start_id: what a decoder reads first: T5's padding token; None in a decoder-only model
            whose sequences begin with the prompt itself.
        bos_id: what a prompt begins with; None: nothing.
        prompt_eos: whether EOS ends a prompt too, as T5's, and FLAN's, which parts prompt and
            answer by it (Wei et al. 2022, section 2.4).
        answer_bos_id: what an answer begins with, learnt and generated like the rest of it, as
            BART's; None: nothing.
        soft_prompt: tokens of trained vectors in front of a prompt, behind BOS.
    """

    pad_id: int
    eos_id: int
    start_id: int | None = None
    bos_id: int | None = None
    prompt_eos: bool = True
    answer_bos_id: int | None = None
    soft_prompt: tuple[int, ...] = ()
    end_ids: tuple[int, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return self.eos_id, *self.end_ids

    @property
    def added(self) -> tuple[int, int]:
        """Tokens by which a prompt and an answer may become longer than what was prepared."""
        return len(self._before_prompt), len(self._before_answer)

    @property
    def _before_prompt(self) -> tuple[int, ...]:
        return (*(() if self.bos_id is None else (self.bos_id,)), *self.soft_prompt)

    @property
    def _before_answer(self) -> tuple[int, ...]:
        return () if self.answer_bos_id is None else (self.answer_bos_id,)

    def prompt(self, tokens: np.ndarray, length: int) -> np.ndarray:
        """Returns a prepared prompt, which may end in EOS, as the model reads it.

        Args:
            tokens: int32 tokens of the prompt.
            length: most tokens of the result; the prompt loses its end.
        """
        if not self.prompt_eos and len(tokens) and tokens[-1] == self.eos_id:
            tokens = tokens[:-1]
        return self._after(self._before_prompt, tokens, length)

    def answer(self, tokens: np.ndarray, length: int) -> np.ndarray:
        """Returns a prepared answer, which ends in EOS, cut to `length` tokens."""
        return self._after(self._before_answer, tokens, length)

    def _after(self, before: tuple[int, ...], tokens: np.ndarray, length: int) -> np.ndarray:
        """Returns tokens behind others, cut to a length, as `trim` cuts."""
        cut = trim(tokens, max(length - len(before), 0), self.eos_id)
        return np.concatenate([before, cut]).astype(np.int32) if before else cut

    def said(self, tokens: np.ndarray) -> list[int]:
        """Returns what a model generated up to its end."""
        ids = [int(token) for token in tokens]
        return ids[: next((at for at, token in enumerate(ids) if token in self.ends), None)]

    def spoken(self, tokens: np.ndarray) -> list[int]:
        """Returns what a model generated up to its end, but for what answers begin with.

        Padding comes behind the end; a token of its number before that is a word: where a
        tokenizer names none, rows are filled with its first token, "!" in Llama 3.
        """
        return [token for token in self.said(tokens) if token != self.answer_bos_id]
