"""The plan of a run: which examples go into which row of which batch, by step alone.

A mixture's *epoch* is a fixed set of draws: task i contributes rate_i * scale of them (with
fractions carried over to the next epoch), where scale is 1 if rates are counts of examples, and
else such that an epoch has as many draws as there are examples. The draws of an epoch are
permuted, cut into windows, and each window is packed into rows, which are permuted again. A
task's own examples are drawn without replacement, in a new order each time it is exhausted; its
k-th pass uses rendering k mod R. A batch is B consecutive rows of the endless row stream.

Nothing depends on a stream's state: resuming is a step number, and the order is the same for
any number of hosts. Randomness is Philox counters, sorted, whose values NumPy guarantees never
to change.
"""

import bisect
import dataclasses
import functools
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.data import packing
from flan_jax.errors import DataError, did_you_mean
from flan_jax.kinds import whole_number

# By layout; bump by hand whenever the code here or in `packing` makes other batches of the same
# inputs.
FORMATS = {"encoder_decoder": 1, "decoder": 2}
LAYOUTS = tuple(FORMATS)


@dataclasses.dataclass(frozen=True)
class TaskTable:
    """What a plan knows of a task: lengths and ids, no tokens.

    Attributes:
        name: SeqIO task.
        lengths_RxNx2: untrimmed input and target length of every example in every rendering.
        ids: example ids, [N] bytes.
        fingerprint: of the prepared units behind it.
    """

    name: str
    lengths_RxNx2: np.ndarray
    ids: np.ndarray
    fingerprint: str

    @property
    def count(self) -> int:
        """Number of examples."""
        return self.lengths_RxNx2.shape[1]

    @property
    def renderings(self) -> int:
        """Number of renderings."""
        return self.lengths_RxNx2.shape[0]


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """How a mixture is laid out.

    Attributes:
        inputs_length: input tokens of a row.
        targets_length: target tokens of a row, in both layouts: no more of its positions have
            logits.
        batch_size: rows of a batch, over all hosts.
        packing: whether rows hold several examples.
        seed: of every order in the plan.
        window: examples that are packed together; more fill rows better and take longer.
        layout: "encoder_decoder" has inputs and targets side by side; "decoder" has the two of
            an example one after the other, in rows of inputs_length + targets_length tokens.
    """

    inputs_length: int
    targets_length: int
    batch_size: int
    packing: bool = True
    seed: int = 0
    window: int = 4096
    layout: str = "encoder_decoder"

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise DataError(
                f"layout is one of {', '.join(LAYOUTS)}, not {self.layout!r}"
                + did_you_mean(str(self.layout), LAYOUTS)
            )
        for field in ("inputs_length", "targets_length", "batch_size", "window"):
            whole_number(field, getattr(self, field), error=DataError)
        if not isinstance(self.packing, bool):
            raise DataError(f"packing must be True or False, got {self.packing!r}")

    @property
    def row_length(self) -> int:
        """Tokens of a row of the layout "decoder"."""
        return self.inputs_length + self.targets_length

    @property
    def format(self) -> int:
        """Number of the layout's format, see `FORMATS`."""
        return FORMATS[self.layout]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Examples placed in rows, in the order of rows; all arrays are [number of examples].

    Attributes:
        row: row within the batch or epoch, ascending.
        task: index into the plan's tables.
        example: position within the task.
        rendering: rendering number.
    """

    row: np.ndarray
    task: np.ndarray
    example: np.ndarray
    rendering: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, index: np.ndarray | slice) -> "Placement":
        """Returns the examples at `index`."""
        return Placement(
            self.row[index], self.task[index], self.example[index], self.rendering[index]
        )


@dataclasses.dataclass(frozen=True)
class PlanStats:
    """How well rows are filled over one planned epoch.

    Attributes:
        examples: number of examples drawn.
        rows: number of rows they fill.
        inputs_fill: share of input positions that hold a token, 0..1; in the layout "decoder",
            share of all positions that hold an input token.
        targets_fill: the same for targets.
        truncated_inputs: examples whose prompt is longer than a row and was cut.
        truncated_targets: examples whose target was cut.
    """

    examples: int
    rows: int
    inputs_fill: float
    targets_fill: float
    truncated_inputs: int
    truncated_targets: int

    def __str__(self) -> str:
        return (
            f"{self.examples:,} examples in {self.rows:,} rows, "
            f"inputs {100 * self.inputs_fill:.1f} % and "
            f"targets {100 * self.targets_fill:.1f} % full; "
            f"truncated: {self.truncated_inputs:,} inputs, {self.truncated_targets:,} targets"
        )


def are_counts(rates: np.ndarray, counts: np.ndarray) -> bool:
    """Whether rates are numbers of examples, capped or not, and no weights.

    Weights may be whole as well, such as 1 and 2, or all 1.

    Args:
        rates: mixing rate of each task.
        counts: number of examples of each.
    """
    capped = (rates == np.minimum(counts, rates.max())).all()
    return bool(capped and (rates == counts).any() and (rates != 1).any())


def stable_permutation(n: int, *key: Any) -> np.ndarray:
    """Returns a permutation of n that depends on `key` alone, in any version of NumPy."""
    text = "\x1f".join(map(str, key))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    counters = np.random.Philox(key=int.from_bytes(digest, "big")).random_raw(n)
    return np.argsort(counters, kind="stable")


class Plan:
    """batch(step) of a mixture."""

    def __init__(self, tables: Sequence[TaskTable], rates: Mapping[str, float], config: PlanConfig):
        """Args:
        tables: the member tasks.
        rates: mixing rate by task name.
        config: see `PlanConfig`.

        Raises:
            DataError: no tables, a task without examples, or a rate that is not positive.
        """
        if not tables:
            raise DataError("a plan needs at least one task")
        self.tables = sorted(tables, key=lambda table: table.name)
        self.config = config
        self._rates = np.array([float(rates[table.name]) for table in self.tables])
        for table, rate in zip(self.tables, self._rates, strict=True):
            if not rate > 0 or not np.isfinite(rate):
                raise DataError(f"task {table.name!r} has mixing rate {rate}")
            if not table.count:
                raise DataError(f"task {table.name!r} has no examples")
        counts = np.array([table.count for table in self.tables])
        scale = 1.0 if are_counts(self._rates, counts) else counts.sum() / self._rates.sum()
        self._draws_per_epoch = self._rates * scale
        # Both grow as steps are asked for, by whatever thread asks.
        self._lock = threading.RLock()
        self._epochs: dict[int, Placement] = {}
        self._rows_before = [0]

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits over tables, rates, layout and the format number."""
        parts = [
            self.config.format,
            dataclasses.asdict(self.config),
            [[t.name, t.fingerprint, t.renderings] for t in self.tables],
            self._rates.tolist(),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _draws(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """First draw and number of draws of each task in an epoch."""
        # The tolerance keeps whole numbers whole where rate * scale rounds below them.
        start = np.floor(epoch * self._draws_per_epoch + 1e-6).astype(np.int64)
        end = np.floor((epoch + 1) * self._draws_per_epoch + 1e-6).astype(np.int64)
        return start, end - start

    def _task_draws(self, task: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples and renderings of draws [start, start + count) of a task."""
        table = self.tables[task]
        examples, renderings = [], []
        position, end = start, start + count
        while position < end:
            lap, offset = divmod(position, table.count)
            order = self._lap_order(task, lap)
            taken = order[offset : offset + end - position]
            examples.append(taken)
            renderings.append(np.full(len(taken), lap % table.renderings))
            position += len(taken)
        if not examples:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(examples), np.concatenate(renderings)

    def _lap_order(self, task: int, lap: int) -> np.ndarray:
        table = self.tables[task]
        return stable_permutation(table.count, self.config.seed, "lap", table.name, lap)

    def _trimmed(self, placement: Placement) -> np.ndarray:
        """Lengths [N, 2] of placed examples, no longer than a row."""
        return np.minimum(
            self._lengths(placement), (self.config.inputs_length, self.config.targets_length)
        )

    def _lengths(self, placement: Placement) -> np.ndarray:
        lengths: np.ndarray = np.empty((len(placement), 2), np.int64)
        for task in np.unique(placement.task):
            here = placement.task == task
            table = self.tables[task].lengths_RxNx2
            lengths[here] = table[placement.rendering[here], placement.example[here]]
        return lengths

    def epoch(self, epoch: int) -> Placement:
        """Returns all examples of an epoch, placed in rows numbered from 0."""
        with self._lock:
            if epoch not in self._epochs:
                placement = self._place(epoch)
                while len(self._epochs) > 1:  # a batch reaches from one epoch into the next
                    del self._epochs[next(iter(self._epochs))]
                self._epochs[epoch] = placement
            return self._epochs[epoch]

    def _place(self, epoch: int) -> Placement:
        start, counts = self._draws(epoch)
        draws = [
            self._task_draws(task, int(start[task]), int(counts[task]))
            for task in range(len(self.tables))
        ]
        drawn = Placement(
            row=np.zeros(int(counts.sum()), np.int64),
            task=np.repeat(np.arange(len(self.tables)), counts),
            example=np.concatenate([examples for examples, _ in draws]),
            rendering=np.concatenate([renderings for _, renderings in draws]),
        )
        order = stable_permutation(len(drawn), self.config.seed, "epoch", epoch)
        drawn = drawn.take(order)
        if not self.config.packing:
            return dataclasses.replace(drawn, row=np.arange(len(drawn)))
        row = self._pack(drawn, epoch)
        by_row = np.argsort(row, kind="stable")
        return dataclasses.replace(drawn, row=row).take(by_row)

    def _pack(self, drawn: Placement, epoch: int) -> np.ndarray:
        """Rows of the drawn examples, windows one after the other."""
        sizes = self._trimmed(drawn)
        capacity = (self.config.inputs_length, self.config.targets_length)
        if self.config.layout == "decoder":  # all tokens on one side, and answers on the other
            sizes = np.stack([sizes.sum(axis=1), sizes[:, 1]], axis=1)
            capacity = (self.config.row_length, self.config.targets_length)
        rows, first = [], 0
        for start in range(0, len(drawn), self.config.window):
            row = packing.pack(sizes[start : start + self.config.window], capacity)
            count = int(row.max()) + 1
            # Packing puts long examples into the first rows; batches must not see it.
            place = stable_permutation(count, self.config.seed, "rows", epoch, start)
            rows.append(first + place[row])
            first += count
        return np.concatenate(rows)

    def rows_before(self, epoch: int) -> int:
        """Returns the number of rows in all epochs before `epoch`."""
        with self._lock:
            while len(self._rows_before) <= epoch:
                placed = self.epoch(len(self._rows_before) - 1)
                self._rows_before.append(self._rows_before[-1] + int(placed.row[-1]) + 1)
            return self._rows_before[epoch]

    @property
    def known_rows(self) -> list[int]:
        """Rows before each epoch packed so far; see `recall_rows`."""
        with self._lock:
            return list(self._rows_before)

    def recall_rows(self, known: Sequence[int]) -> None:
        """Takes over `known_rows` of a plan with the same fingerprint.

        Without it, the first batch of a resumed run packs every epoch before.
        """
        with self._lock:
            if len(known) > len(self._rows_before):
                self._rows_before = [int(rows) for rows in known]

    def epoch_of(self, step: int) -> int:
        """Returns the epoch that the first row of batch `step` belongs to."""
        row = step * self.config.batch_size
        with self._lock:
            while self._rows_before[-1] <= row:
                self.rows_before(len(self._rows_before))
            return bisect.bisect_right(self._rows_before, row) - 1

    def batch(self, step: int) -> Placement:
        """Returns the examples of batch `step`, placed in rows 0 .. batch_size - 1."""
        begin = step * self.config.batch_size
        end = begin + self.config.batch_size
        pieces, epoch = [], self.epoch_of(step)
        while self.rows_before(epoch) < end:
            base = self.rows_before(epoch)
            placed = self.epoch(epoch)
            low, high = (
                int(np.searchsorted(placed.row, row)) for row in (begin - base, end - base)
            )
            piece = placed.take(slice(low, high))
            pieces.append(dataclasses.replace(piece, row=piece.row + base - begin))
            epoch += 1
        fields = [f.name for f in dataclasses.fields(Placement)]
        return Placement(*(np.concatenate([getattr(p, f) for p in pieces]) for f in fields))

    def batch_digest(self, step: int) -> bytes:
        """Returns SHA-256 of the tasks, ids and renderings of batch `step`, in order."""
        placed = self.batch(step)
        digest = hashlib.sha256()
        for task, example, rendering in zip(
            placed.task, placed.example, placed.rendering, strict=True
        ):
            table = self.tables[task]
            digest.update(table.name.encode() + b"\x1f" + bytes(table.ids[example]))
            digest.update(b"\x1f%d\x1e" % rendering)
        return digest.digest()

    def stats(self, epoch: int = 0) -> PlanStats:
        """Returns how an epoch fills its rows; a truncated example counts as what is left."""
        placed = self.epoch(epoch)
        lengths = self._lengths(placed)
        rows = int(placed.row[-1]) + 1
        filled = self._trimmed(placed).sum(axis=0)
        row = (self.config.inputs_length, self.config.targets_length)
        if self.config.layout == "decoder":
            row = (self.config.row_length, self.config.row_length)
        return PlanStats(
            examples=len(placed),
            rows=rows,
            inputs_fill=filled[0] / (rows * row[0]),
            targets_fill=filled[1] / (rows * row[1]),
            truncated_inputs=int((lengths[:, 0] > self.config.inputs_length).sum()),
            truncated_targets=int((lengths[:, 1] > self.config.targets_length).sum()),
        )
