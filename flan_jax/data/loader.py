"""Reads what the plan says, and has the model's layout lay it out in batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from flan_jax.data.plan import Plan
from flan_jax.data.records import Example, Unit

Batch = dict[str, np.ndarray]


class Layout(Protocol):
    """What a batch is laid out by; see `flan_jax.models.layouts`."""

    def rows(
        self, rows: Sequence[Sequence[Example]], inputs: int, targets: int, packed: bool
    ) -> Batch:
        """Lays the examples of each row side by side."""

    def count_tokens(self, batch: Mapping[str, np.ndarray]) -> int:
        """Returns the number of input and target tokens of a batch."""


@dataclass(frozen=True)
class LoadedBatch:
    """A batch and what to remember of it.

    Attributes:
        step: the step it is for.
        arrays: this host's rows.
        digest: SHA-256 over the example ids of all hosts' rows (`Plan.batch_digest`).
        examples: number of examples in all hosts' rows.
        tokens: input and target tokens in this host's rows.
    """

    step: int
    arrays: Batch
    digest: bytes
    examples: int
    tokens: int


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
        layout: of the model that reads the batches; has the name that the plan packs for.
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
        lengths = config.inputs_length, config.targets_length
        arrays = self._layout.rows(rows, *lengths, config.packing)
        tokens = self._layout.count_tokens(arrays)
        return LoadedBatch(step, arrays, self._plan.batch_digest(step), len(placed), tokens)

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
