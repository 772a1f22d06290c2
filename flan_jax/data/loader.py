"""Reads what the plan says and lays it out for an encoder-decoder or a decoder.

A batch is a dictionary of int32 arrays under T5X's names. For an encoder-decoder they are [rows,
inputs_length] or [rows, targets_length]: encoder_input_tokens, decoder_input_tokens (targets
shifted right within each example), decoder_target_tokens, decoder_loss_weights, and where rows are
packed encoder_segment_ids, encoder_positions, decoder_segment_ids, decoder_positions. For a decoder
they are [rows, inputs_length + targets_length], the decoder's alone: an example is its prompt and
its answer in one sequence, the loss counts the answer, and decoder_causal_attention marks the
prompt, which a prefix language model reads in both directions. Segment 0 and token 0 are padding.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flan_jax.data.plan import Plan
from flan_jax.data.records import Example, Unit

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What is needed to lay out rows beside the plan: the vocabulary's special tokens."""

    pad_id: int
    eos_id: int


@dataclasses.dataclass(frozen=True)
class LoadedBatch:
    """A batch and what to remember of it.

    Attributes:
        step: the step it is for.
        arrays: this host's rows.
        digest: SHA-256 over the example ids of all hosts' rows (`Plan.batch_digest`).
        examples: number of examples in all hosts' rows.
    """

    step: int
    arrays: Batch
    digest: bytes
    examples: int


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


def encoder_decoder_rows(
    rows: Sequence[Sequence[Example]],
    inputs_length: int,
    targets_length: int,
    layout: Layout,
    packed: bool,
) -> Batch:
    """Lays examples out side by side in rows.

    Args:
        rows: the examples of each row, which together fit it (after trimming each to a row).
        inputs_length: input tokens of a row.
        targets_length: target tokens of a row.
        layout: special tokens; T5 starts decoding with the padding token.
        packed: whether to add segment ids and positions.

    Returns:
        A batch, see the module.
    """
    encoder = _Rows(len(rows), inputs_length, layout.pad_id, ("tokens", "segment", "position"))
    decoder = _Rows(
        len(rows), targets_length, layout.pad_id, ("tokens", "inputs", "segment", "position")
    )
    for row, examples in enumerate(rows):
        for segment, example in enumerate(examples, start=1):
            inputs = trim(example.inputs, inputs_length, layout.eos_id)
            targets = trim(example.targets, targets_length, layout.eos_id)
            encoder.append(row, segment, tokens=inputs)
            decoder.append(row, segment, tokens=targets, inputs=shift_right(targets, layout.pad_id))
    batch = {
        "encoder_input_tokens": encoder["tokens"],
        "decoder_input_tokens": decoder["inputs"],
        "decoder_target_tokens": decoder["tokens"],
        "decoder_loss_weights": (decoder["segment"] > 0).astype(np.int32),
    }
    if packed:
        batch |= {
            "encoder_segment_ids": encoder["segment"],
            "encoder_positions": encoder["position"],
            "decoder_segment_ids": decoder["segment"],
            "decoder_positions": decoder["position"],
        }
    return batch


def decoder_rows(
    rows: Sequence[Sequence[Example]],
    inputs_length: int,
    targets_length: int,
    layout: Layout,
    packed: bool,
) -> Batch:
    """Lays examples out in rows, prompt and answer one after the other.

    The prompt's EOS parts the two, as FLAN's does (Wei et al. 2022, section 2.4). Arguments and
    result are those of `encoder_decoder_rows`.
    """
    names = ("tokens", "inputs", "weights", "prefix", "segment", "position")
    decoder = _Rows(len(rows), inputs_length + targets_length, layout.pad_id, names)
    for row, examples in enumerate(rows):
        for segment, example in enumerate(examples, start=1):
            inputs = trim(example.inputs, inputs_length, layout.eos_id)
            targets = trim(example.targets, targets_length, layout.eos_id)
            tokens = np.concatenate([inputs, targets]).astype(np.int32)
            place = np.arange(len(tokens))
            decoder.append(
                row,
                segment,
                tokens=tokens,
                inputs=shift_right(tokens, layout.pad_id),
                weights=place >= len(inputs),
                # One more than the prompt: what is read is shifted right by the start token.
                prefix=place <= len(inputs),
            )
    batch = {
        "decoder_input_tokens": decoder["inputs"],
        "decoder_target_tokens": decoder["tokens"],
        "decoder_loss_weights": decoder["weights"],
        "decoder_causal_attention": decoder["prefix"],
    }
    if packed:
        batch["decoder_segment_ids"] = decoder["segment"]
        batch["decoder_positions"] = decoder["position"]
    return batch


_LAY_OUT = {"encoder_decoder": encoder_decoder_rows, "decoder": decoder_rows}


class _Rows:
    """Rows that are filled from the left, several arrays in step."""

    def __init__(self, rows: int, length: int, pad_id: int, names: Sequence[str]):
        self._arrays: dict[str, np.ndarray] = {
            name: np.zeros((rows, length), np.int32) for name in names
        }
        for name in ("tokens", "inputs"):
            if name in self._arrays:
                self._arrays[name] += pad_id
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


class BatchSource:
    """Random access to batches by step: what grain prefetches from."""

    def __init__(
        self,
        plan: Plan,
        units: Sequence[Sequence[Unit]],
        layout: Layout,
        steps: int,
        rows: slice | None = None,
    ):
        """Args:
        plan: the plan; its tables are in the order of `units`.
        units: prepared records of each task, one unit a rendering.
        layout: special tokens.
        steps: number of batches.
        rows: this host's rows of each batch; all where None.

        Raises:
            ValueError: tables and units are of different tasks.
        """
        if [table.name for table in plan.tables] != [unit[0].spec.task for unit in units]:
            raise ValueError("the units are not those of the plan's tables, in their order")
        self._plan = plan
        self._units = units
        self._layout = layout
        self._steps = steps
        self.rows = rows or slice(0, plan.config.batch_size)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> LoadedBatch:
        config = self._plan.config
        placed = self._plan.batch(step)
        low, high, _ = self.rows.indices(config.batch_size)
        first, last = (int(np.searchsorted(placed.row, row)) for row in (low, high))
        mine = placed.take(slice(first, last))
        rows: list[list[Example]] = [[] for _ in range(high - low)]
        for row, example in zip(mine.row, self._read(mine), strict=True):
            rows[row - low].append(example)
        arrays = _LAY_OUT[config.layout](
            rows, config.inputs_length, config.targets_length, self._layout, config.packing
        )
        return LoadedBatch(step, arrays, self._plan.batch_digest(step), len(placed))

    def _read(self, placed: Any) -> list[Example]:
        """Reads placed examples, one call a unit."""
        found: list[Any] = [None] * len(placed)
        keys = placed.task * (1 + placed.rendering.max(initial=0)) + placed.rendering
        for key in np.unique(keys):
            where = np.flatnonzero(keys == key)
            unit = self._units[placed.task[where[0]]][placed.rendering[where[0]]]
            for index, example in zip(where, unit.read(placed.example[where]), strict=True):
                found[index] = example
        return found


def prefetch(source: BatchSource, start: int, buffer: int = 4) -> Iterator[LoadedBatch]:
    """Yields batches from step `start` on, read ahead by a thread of grain.

    Args:
        source: batches by step.
        start: first step.
        buffer: batches held ready.
    """
    import grain

    # One thread: batches of one epoch share its packing, which is computed once.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=buffer)
    dataset = grain.MapDataset.source(source)[start:]
    yield from dataset.to_iter_dataset(options)


def count_tokens(batch: Batch) -> int:
    """Returns the number of input and target tokens of a batch, padding left out."""
    if "encoder_input_tokens" not in batch:
        name = "decoder_segment_ids" if "decoder_segment_ids" in batch else "decoder_target_tokens"
        return int(np.count_nonzero(batch[name]))
    if "encoder_segment_ids" in batch:
        inputs = np.count_nonzero(batch["encoder_segment_ids"])
    else:
        inputs = np.count_nonzero(batch["encoder_input_tokens"])
    return int(inputs + np.count_nonzero(batch["decoder_loss_weights"]))
