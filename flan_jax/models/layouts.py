"""Batches of rows, for the two kinds of models: encoder-decoders, and decoders of one sequence.

A batch is a dictionary of int32 arrays under T5X's names. For an encoder-decoder they are [rows,
inputs_length] or [rows, targets_length]: encoder_input_tokens, encoder_segment_ids,
decoder_input_tokens (targets shifted right within each example), decoder_target_tokens,
decoder_segment_ids, decoder_loss_weights, and where rows are packed encoder_positions and
decoder_positions. For a decoder they are [rows, inputs_length + targets_length], the decoder's
alone: an example is its prompt and its answer in one sequence, the loss counts the answer (of a
conversation, where the answer is all that follows the first prompt, the model's own turns),
decoder_causal_attention marks the prompt, which a prefix language model reads in both directions,
and decoder_loss_positions [rows, targets_length], ours, are the positions that a loss may count.

Segments number the examples of a row from 1 on; segment 0, and nothing else, is padding.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from flan_jax.models.framing import Framing, Sequences, pad, shift_right

Batch = dict[str, np.ndarray]


class Tokenized(Protocol):
    """What is laid out: an example's prepared tokens."""

    @property
    def inputs(self) -> np.ndarray:
        """int32 tokens of the prompt."""

    @property
    def targets(self) -> np.ndarray:
        """int32 tokens of the answer."""

    @property
    def counted(self) -> np.ndarray | None:
        """Of each target 1 where it counts, else 0; None where all count."""


class Targets(NamedTuple):
    """What a loss needs of a batch.

    Attributes:
        tokens_BxT: int32 target tokens.
        counted_BxT: 1 where a target counts, else 0.
        segments_BxT: which example of its row a position belongs to, 0 at padding; None where
            every row is one example without padding.
    """

    tokens_BxT: Any
    counted_BxT: Any
    segments_BxT: Any


class Layout(Protocol):
    """How examples become the batches of a family, and prompts and answers its sequences."""

    name: ClassVar[str]

    @property
    def framing(self) -> Framing:
        """The special tokens."""

    def rows(
        self, rows: Sequence[Sequence[Tokenized]], inputs: int, targets: int, packed: bool
    ) -> Batch:
        """Lays examples out side by side in rows.

        Args:
            rows: the examples of each row, which together fit it (after trimming each to a row).
            inputs: input tokens of a row.
            targets: target tokens of a row.
            packed: whether to add positions, which restart in each example.

        Returns:
            A batch, see the module.
        """

    @staticmethod
    def count_tokens(batch: Mapping[str, np.ndarray]) -> int:
        """Returns the number of input and target tokens of a batch, padding left out."""

    @staticmethod
    def targets(batch: Mapping[str, Any]) -> Targets:
        """Returns what a loss needs of a batch."""

    @staticmethod
    def at_targets(batch: Mapping[str, Any], states: Any) -> Any:
        """Returns of an array [B, T, ...] over a batch's positions those of `targets`."""

    def prompts(self, rows: Sequence[np.ndarray], count: int, length: int) -> Sequences:
        """Returns framed prompts as `decoding` and `score_answers` read them.

        Args:
            rows: what `framing.prompt` made.
            count: rows to make.
            length: of the longest prompt that may come.
        """


def _answer(framing: Framing, example: Tokenized, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns an example's targets as the model reads them, and which of them count.

    Where not all count, what is cut off ends in no EOS: it would be one within somebody's turn.
    """
    if example.counted is None:
        answer = framing.answer(example.targets, length)
        return answer, np.ones(len(answer), np.int32)
    before = framing.answer(example.targets[:0], length)
    room = max(length - len(before), 0)
    answer = np.append(before, example.targets[:room]).astype(np.int32)
    return answer, np.append(np.ones(len(before)), example.counted[:room]).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class EncoderDecoder:
    """Prompts for an encoder, answers for a decoder."""

    framing: Framing
    name: ClassVar[str] = "encoder_decoder"

    def rows(
        self, rows: Sequence[Sequence[Tokenized]], inputs: int, targets: int, packed: bool
    ) -> Batch:
        """See `Layout.rows`."""
        framing, start_id = self.framing, self.framing.start_id
        assert start_id is not None  # an encoder's decoder has to begin with something
        encoder = _Rows(len(rows), inputs, framing.pad_id, ("tokens",))
        decoder = _Rows(len(rows), targets, framing.pad_id, ("tokens", "inputs", "weights"))
        for row, examples in enumerate(rows):
            for segment, example in enumerate(examples, start=1):
                prompt = framing.prompt(example.inputs, inputs)
                answer, counted = _answer(framing, example, targets)
                encoder.append(row, segment, tokens=prompt)
                shifted = shift_right(answer, start_id)
                decoder.append(row, segment, tokens=answer, inputs=shifted, weights=counted)
        batch = {
            "encoder_input_tokens": encoder["tokens"],
            "encoder_segment_ids": encoder["segment"],
            "decoder_input_tokens": decoder["inputs"],
            "decoder_target_tokens": decoder["tokens"],
            "decoder_segment_ids": decoder["segment"],
            "decoder_loss_weights": decoder["weights"],
        }
        if packed:
            batch["encoder_positions"] = encoder["position"]
            batch["decoder_positions"] = decoder["position"]
        return batch

    @staticmethod
    def count_tokens(batch: Mapping[str, np.ndarray]) -> int:
        """See `Layout.count_tokens`."""
        segments = (batch["encoder_segment_ids"], batch["decoder_segment_ids"])
        return int(sum(np.count_nonzero(side) for side in segments))

    @staticmethod
    def targets(batch: Mapping[str, Any]) -> Targets:
        """See `Layout.targets`."""
        return Targets(
            batch["decoder_target_tokens"],
            batch["decoder_loss_weights"],
            batch.get("decoder_segment_ids"),
        )

    @staticmethod
    def at_targets(batch: Mapping[str, Any], states: Any) -> Any:
        """See `Layout.at_targets`."""
        return states

    def prompts(self, rows: Sequence[np.ndarray], count: int, length: int) -> Sequences:
        """See `Layout.prompts`."""
        return pad(rows, count, length, self.framing.pad_id)


@dataclasses.dataclass(frozen=True)
class OneSequence:
    """Prompt and answer one after the other, for a decoder alone."""

    framing: Framing
    name: ClassVar[str] = "decoder"

    @property
    def _start(self) -> list[int]:
        return [] if self.framing.start_id is None else [self.framing.start_id]

    def rows(
        self, rows: Sequence[Sequence[Tokenized]], inputs: int, targets: int, packed: bool
    ) -> Batch:
        """See `Layout.rows`.

        Without a start token the first token of a prompt is read and never predicted.
        """
        framing, start = self.framing, self._start
        names = ("tokens", "inputs", "weights", "prefix")
        decoder = _Rows(len(rows), inputs + targets, framing.pad_id, names)
        for row, examples in enumerate(rows):
            for segment, example in enumerate(examples, start=1):
                prompt: np.ndarray = np.append(start, framing.prompt(example.inputs, inputs))
                answer, counted = _answer(framing, example, targets)
                sequence = np.concatenate([prompt, answer]).astype(np.int32)
                decoder.append(
                    row,
                    segment,
                    tokens=sequence[1:],
                    inputs=sequence[:-1],
                    weights=np.append(np.zeros(len(prompt)), counted)[1:],
                    prefix=np.arange(len(sequence) - 1) < len(prompt),
                )
        if decoder["weights"].sum(axis=1).max(initial=0) > targets:
            raise ValueError(f"the answers of a row have more than {targets} tokens")
        batch = {
            "decoder_input_tokens": decoder["inputs"],
            "decoder_target_tokens": decoder["tokens"],
            "decoder_segment_ids": decoder["segment"],
            "decoder_loss_weights": decoder["weights"],
            "decoder_causal_attention": decoder["prefix"],
            # Answers of a row have at most `targets` tokens; no other position needs logits.
            "decoder_loss_positions": np.argsort(-decoder["weights"], axis=1, kind="stable")[
                :, :targets
            ].astype(np.int32),
        }
        if packed:
            batch["decoder_positions"] = decoder["position"]
        return batch

    @staticmethod
    def count_tokens(batch: Mapping[str, np.ndarray]) -> int:
        """See `Layout.count_tokens`."""
        return int(np.count_nonzero(batch["decoder_segment_ids"]))

    @classmethod
    def targets(cls, batch: Mapping[str, Any]) -> Targets:
        """See `Layout.targets`."""
        names = ("decoder_target_tokens", "decoder_loss_weights", "decoder_segment_ids")
        return Targets(*(cls.at_targets(batch, batch[name]) for name in names))

    @staticmethod
    def at_targets(batch: Mapping[str, Any], states: Any) -> Any:
        """See `Layout.at_targets`."""
        positions = batch["decoder_loss_positions"]
        positions = positions.reshape(*positions.shape, *[1] * (states.ndim - 2))
        return jnp.take_along_axis(states, positions, axis=1)

    def prompts(self, rows: Sequence[np.ndarray], count: int, length: int) -> Sequences:
        """See `Layout.prompts`."""
        start = self._start
        started: list[np.ndarray] = [np.append(start, row).astype(np.int32) for row in rows]
        return pad(started, count, length + len(start), self.framing.pad_id)


class _Rows:
    """Rows that are filled from the left, several arrays in step, with segments and positions."""

    def __init__(self, rows: int, length: int, pad_id: int, names: Sequence[str]):
        filled = {"tokens": pad_id, "inputs": pad_id}
        self._arrays: dict[str, np.ndarray] = {
            name: np.full((rows, length), filled.get(name, 0), np.int32)
            for name in (*names, "segment", "position")
        }
        self._used = [0] * rows

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def append(self, row: int, segment: int, **values: np.ndarray) -> None:
        count = len(values["tokens"])
        span = slice(self._used[row], self._used[row] + count)
        for name, value in values.items():
            self._arrays[name][row, span] = value
        self._arrays["segment"][row, span] = segment
        self._arrays["position"][row, span] = np.arange(count)
        self._used[row] += count
