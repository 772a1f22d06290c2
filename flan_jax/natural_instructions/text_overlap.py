"""Which training inputs share text with held-out ones, over collections of any size.

Two measures, both after lower case and with white space collapsed: whole inputs that are equal,
and passages that two inputs have in common. A passage is `WINDOW` characters, about a dozen English
words; characters and not words, since many languages of Super-NaturalInstructions put no blanks
between words.

Every window of every held-out input is kept as a 64-bit polynomial hash (Karp and Rabin 1987),
about 12 bytes a character. Of training inputs every `STRIDE`-th window is looked up, in batches,
and nothing is kept. So a common run of `WINDOW + STRIDE - 1` characters is always found, and one of
`WINDOW` characters one time in `STRIDE` at worst.
"""

import collections
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_jax import rolling_hash

WINDOW = 64
STRIDE = 4
# Windows that so large a part of a task's held-out inputs (and at least so many of them) have in
# common are the task's own phrasing, not a text that could leak.
_BOILERPLATE_SHARE = 0.25
_BOILERPLATE_LEAST = 4
# Characters hashed at once, and the longest piece of one input among them; together they bound
# the memory, some 100 bytes a character. Pieces begin at multiples of STRIDE.
_BATCH = 1 << 19
_PIECE = 1 << 18
# Bits of a hash that a table of flags is indexed by: what it rules out need not be searched for.
_FLAG_BITS = 26


class Shared(NamedTuple):
    """What the inputs of one training task share with those of one held-out task.

    Attributes:
        training: number of training inputs concerned.
        held_out: positions of the held-out inputs concerned.
    """

    training: int
    held_out: frozenset[int]


class Overlap(NamedTuple):
    """What a training task shares with each held-out task, by the name of the latter."""

    equal: Mapping[str, Shared]
    passages: Mapping[str, Shared]


def normalised(text: str) -> str:
    """Returns a text in lower case with white space collapsed."""
    return " ".join(text.casefold().split())


class _Table(NamedTuple):
    """Windows of held-out inputs.

    Attributes:
        hashes: uint64 [windows], ascending; one for each input that has such a window, however
            often (a line of hyphens has it at every place).
        owners: int32 [windows], number of the input that each is of.
        flags: bool [2**_FLAG_BITS], whether any hash begins with these bits.
    """

    hashes: Any
    owners: Any
    flags: Any

    def matches(self, wanted: Any, of: Any) -> Any:
        """Returns distinct pairs (held-out input, training input) with a window in common.

        Args:
            wanted: uint64 [looked up].
            of: int32 [looked up], training input of each.
        """
        maybe = self.flags[wanted >> np.uint64(64 - _FLAG_BITS)]
        wanted, of = _distinct_windows(wanted[maybe], of[maybe])
        left: Any = np.searchsorted(self.hashes, wanted)
        found = self.hashes[left.clip(max=len(self.hashes) - 1)] == wanted
        left, of = left[found], of[found]
        counts: Any = np.searchsorted(self.hashes, wanted[found], side="right") - left
        starts: Any = np.repeat(left - np.cumsum(counts) + counts, counts)
        numbers = self.owners[starts + np.arange(counts.sum())]
        return _distinct_pairs(numbers, np.repeat(of, counts))


class HeldOut:
    """The inputs that are tested on; add all of them, then look training inputs up."""

    def __init__(self) -> None:
        self._tasks: list[str] = []
        self._owners: list[tuple[int, int]] = []  # of each input: its task, its position there
        self._equal: dict[str, list[int]] = collections.defaultdict(list)
        self._parts: list[tuple[Any, Any]] = []

    def add(self, task: str, inputs: Sequence[str]) -> None:
        """Adds the held-out inputs of one task, in their order."""
        texts = [normalised(text) for text in inputs]
        first = len(self._owners)
        self._owners += [(len(self._tasks), i) for i in range(len(texts))]
        self._tasks.append(task)
        for number, text in enumerate(texts, start=first):
            if text:
                self._equal[text].append(number)
        parts = list(_windows(texts, stride=1))
        if parts:
            hashes, inputs_of = (np.concatenate(column) for column in zip(*parts, strict=True))
            hashes, inputs_of = _without_boilerplate(hashes, inputs_of, len(texts))
            self._parts.append((hashes, inputs_of + np.int32(first)))
        self.__dict__.pop("_table", None)

    @functools.cached_property
    def _table(self) -> "_Table | None":
        """The windows of all inputs, None where there are none."""
        if not self._parts:
            return None
        columns = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        hashes, owners = _distinct_windows(*columns)
        self._parts = [(hashes, owners)]
        flags: Any = np.zeros(1 << _FLAG_BITS, bool)
        flags[hashes >> np.uint64(64 - _FLAG_BITS)] = True
        return _Table(hashes, owners, flags)

    def overlap(self, inputs: Sequence[str]) -> Overlap:
        """Returns what the inputs of one training task share with each held-out task."""
        texts = [normalised(text) for text in inputs]
        places: dict[str, list[int]] = collections.defaultdict(list)
        for position, text in enumerate(texts):
            places[text].append(position)
        equal = ((self._equal[text], of) for text, of in places.items() if text in self._equal)
        table = self._table
        batches = _windows(texts, STRIDE) if table else ()
        passages = [table.matches(wanted, of).tolist() for wanted, of in batches if table]
        pairs = (([number], [of]) for found in passages for number, of in found)
        return Overlap(self._by_task(equal), self._by_task(pairs))

    def _by_task(self, groups: Iterable[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Shared]:
        """Sums up groups of numbers of held-out inputs and positions of training inputs.

        What is in a group has something in common, each with each.
        """
        training: dict[str, set[int]] = collections.defaultdict(set)
        held_out: dict[str, set[int]] = collections.defaultdict(set)
        for numbers, positions in groups:
            for task in {self._owners[number][0] for number in numbers}:
                training[self._tasks[task]].update(positions)
            for task, i in (self._owners[number] for number in numbers):
                held_out[self._tasks[task]].add(i)
        return {task: Shared(len(training[task]), frozenset(held_out[task])) for task in training}


def _without_boilerplate(hashes: Any, inputs_of: Any, inputs: int) -> tuple[Any, Any]:
    """Returns windows and their inputs without what too many inputs of the task have in common.

    Windows that are half such phrasing go as well: a few letters after it agree by chance.

    Args:
        hashes: uint64 [windows], in the order of the inputs and of their characters.
        inputs_of: int32 [windows].
        inputs: number of inputs.
    """
    common = _common(hashes, inputs_of, max(_BOILERPLATE_LEAST, _BOILERPLATE_SHARE * inputs))
    near = common | _follows(common, inputs_of)
    near |= _follows(common[::-1], inputs_of[::-1])[::-1]
    return hashes[~near], inputs_of[~near]


def _common(hashes: Any, inputs_of: Any, least: float) -> Any:
    """Returns for each window whether at least so many inputs have it: bool [windows]."""
    distinct, inverse = np.unique(hashes, return_inverse=True)
    pairs = _distinct_pairs(inverse, inputs_of)
    counts: Any = np.bincount(pairs[:, 0], minlength=len(distinct))
    return counts[inverse] >= least


def _distinct_pairs(left: Any, right: Any) -> Any:
    """Returns int64 [pairs, 2], each pair once; all numbers are below 2**31."""
    keys = np.unique(left.astype(np.int64) << 32 | right.astype(np.int64))
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def _distinct_windows(hashes: Any, inputs_of: Any) -> tuple[Any, Any]:
    """Returns windows in ascending order, each once for each input that has it.

    Args:
        hashes: uint64 [windows].
        inputs_of: int32 [windows]; ascending among equal hashes.
    """
    order = np.argsort(hashes, kind="stable")
    hashes, inputs_of = hashes[order], inputs_of[order]
    first: Any = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (inputs_of[1:] != inputs_of[:-1])
    return hashes[first], inputs_of[first]


def _follows(marked: Any, inputs_of: Any) -> Any:
    """Returns for each window whether one at most half a window before it is marked."""
    places = np.arange(len(marked))
    last: Any = np.maximum.accumulate(np.where(marked, places, -WINDOW))
    near = places - last <= WINDOW // 2
    return near & (inputs_of[last.clip(0)] == inputs_of)


def _windows(texts: Sequence[str], stride: int) -> Iterator[tuple[Any, Any]]:
    """Yields batches of (hashes uint64, positions of the texts int32) of windows."""
    batch: list[tuple[int, str]] = []
    size = 0
    for position, text in enumerate(texts):
        for start in range(0, max(1, len(text) - WINDOW + 1), _PIECE):
            piece = text[start : start + _PIECE + WINDOW - 1]
            if len(piece) < WINDOW:
                continue
            if size + len(piece) > _BATCH and batch:
                yield _hashes(batch, stride)
                batch, size = [], 0
            batch.append((position, piece))
            size += len(piece)
    if batch:
        yield _hashes(batch, stride)


def _hashes(batch: Sequence[tuple[int, str]], stride: int) -> tuple[Any, Any]:
    """Returns the hash and the text's position of every `stride`-th window of some texts.

    See `rolling_hash`; the items are characters.
    """
    joined = "".join(piece for _, piece in batch)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    powers, inverses = rolling_hash.powers(max(_BATCH, _PIECE + WINDOW))
    sums: Any = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    lengths = np.array([len(piece) for _, piece in batch])
    counts = (lengths - WINDOW) // stride + 1
    begins: Any = np.repeat(np.cumsum(lengths) - lengths, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = begins + stride * within
    positions = np.array([position for position, _ in batch], np.int32)
    hashes = (sums[starts + WINDOW] - sums[starts]) * inverses[starts]
    return hashes, np.repeat(positions, counts)
