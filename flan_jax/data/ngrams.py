"""An index of the word n-grams of tests, and which training examples share them.

An n-gram is looked for within a stretch of own words (see `words`). A stretch that is shorter, but
no shorter than `SHORTEST`, is looked for whole. Shorter prompts still count where they are
duplicates: where all their words, or all their own words, are those of a training prompt.

The n-grams of all tests are kept, as hashes, some 120 bytes a word. Training examples are looked up
in batches, and nothing is kept of them but what was found.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_jax.data.words import PHRASE, Item, Phrasing, Texts, learnt, pairs_of, spread

# Words of the shortest stretch that is looked for: fewer are in many a text by chance.
SHORTEST = 8
# Words that are looked up at once, and pairs of examples that are counted at once.
_BATCH = 1 << 16
_MOST_PAIRS = 1 << 22
# Bits of a hash that a table of flags is indexed by: what it rules out need not be searched for.
_FLAG_BITS = 24


class _Table(NamedTuple):
    """The n-grams of all tests.

    Attributes:
        hashes: uint64 [n-grams], ascending, each once.
        bounds: int64 [n-grams + 1], where the owners of each begin.
        owners: int64, the tests that have it, each once.
        flags: bool [2**_FLAG_BITS], whether any hash begins with these bits.
        number: int64 [occurrences], the n-gram that each is of.
        starts: int64 [occurrences], its first word, counted over all tests.
        lengths: int64 [occurrences], its words.
    """

    hashes: Any
    bounds: Any
    owners: Any
    flags: Any
    number: Any
    starts: Any
    lengths: Any

    def find(self, wanted: Any) -> tuple[Any, Any]:
        """Returns which of some hashes are there, and the numbers of those."""
        place: Any = np.searchsorted(self.hashes, wanted).clip(max=len(self.hashes) - 1)
        there = self.hashes[place] == wanted
        return there, place[there]


class Found(NamedTuple):
    """What a batch of training examples has in common with tests.

    Attributes:
        pairs: int64 [pairs, 4]: training example, test, n-grams in common, 1 for duplicates and
            else 0; ascending, each pair of examples once.
        grams: numbers of the n-grams that were found, ascending.
    """

    pairs: Any
    grams: Any


class Coverage(NamedTuple):
    """How much of each test was looked for and found.

    Attributes:
        words: int64 [tests], words of prompt and answer.
        own: int64 [tests], those that are its own.
        looked_for: int64 [tests], those in an n-gram that is looked for.
        found: int64 [tests], those in an n-gram that was found.
    """

    words: Any
    own: Any
    looked_for: Any
    found: Any


class Index:
    """The n-grams of all tests: add those of every task, then look training examples up."""

    def __init__(self, length: int):
        """Args:
        length: words of an n-gram.
        """
        self.length = length
        self.shortest = min(SHORTEST, length)
        self.ids: list[str] = []
        self._sizes: list[tuple[int, int]] = []  # of each test: words, own words
        self._words = 0
        self._duplicates: dict[bytes, list[int]] = {}
        self._lengths: set[int] = set()
        self._occurrences: list[tuple[Any, Any, Any, Any]] = []

    def add(self, items: Iterable[Item]) -> range:
        """Adds the tests of one task; returns their numbers."""
        first = len(self.ids)
        phrasing, everything = learnt(items)
        for batch in batches(everything):
            stretches: list[tuple[Any, int, int]] = []
            for item in batch:
                stretches += self._stretches(item, phrasing)
            self._hash(stretches)
        for made in ("_table", "_begins"):
            self.__dict__.pop(made, None)
        return range(first, len(self.ids))

    def _stretches(self, item: Item, phrasing: Phrasing) -> Iterator[tuple[Any, int, int]]:
        """Counts a test, and yields its stretches: words, the first one's place, the test."""
        test, begin = len(self.ids), self._words
        own = [phrasing.own(item.template, text) for text in (item.prompt, item.target)]
        for key in _duplicate_keys(item, own[0]):
            self._duplicates.setdefault(key, []).append(test)
        self.ids.append(item.id)
        self._sizes.append((sum(map(len, own)), int(sum(mask.sum() for mask in own))))
        self._words += self._sizes[-1][0]
        for text, mask in zip((item.prompt, item.target), own, strict=True):
            for low, high in runs(mask):
                if high - low >= self.shortest:
                    yield text[low:high], begin + low, test
            begin += len(text)

    def _hash(self, stretches: Sequence[tuple[Any, int, int]]) -> None:
        """Keeps the n-grams of some stretches."""
        for length in range(self.shortest, self.length + 1):
            chosen = [one for one in stretches if min(len(one[0]), self.length) == length]
            if not chosen:
                continue
            texts = Texts([words for words, _, _ in chosen])
            hashes, starts, of = texts.grams(length)
            begins, tests = np.array([(begin, test) for _, begin, test in chosen], np.int64).T
            starts = starts - texts.begins[of] + begins[of]
            lengths: Any = np.full(len(hashes), length, np.int64)
            self._occurrences.append((hashes, starts, lengths, tests[of]))
            self._lengths.add(length)

    @functools.cached_property
    def _table(self) -> _Table | None:
        """All n-grams, None where there are none."""
        if not self._occurrences:
            return None
        hashes, starts, lengths, tests = map(np.concatenate, zip(*self._occurrences, strict=True))
        self._occurrences = [(hashes, starts, lengths, tests)]
        distinct, number = np.unique(hashes, return_inverse=True)
        pairs = pairs_of(number, tests)
        counts = np.bincount(pairs >> 32, minlength=len(distinct))
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        flags: Any = np.zeros(1 << _FLAG_BITS, bool)
        flags[distinct >> np.uint64(64 - _FLAG_BITS)] = True
        return _Table(distinct, bounds, pairs & 0xFFFFFFFF, flags, number, starts, lengths)

    @property
    def count(self) -> int:
        """Number of different n-grams."""
        return len(self._table.hashes) if self._table else 0

    def look_up(self, batch: Sequence[Item], phrasing: Phrasing) -> Found:
        """Returns what training examples have in common with tests.

        Args:
            batch: the examples, numbered from 0 in what is returned.
            phrasing: of their task.
        """
        grams, pairs = self._shared(batch)
        return Found(_merged([self._alike(batch, phrasing), *pairs]), grams)

    def _alike(self, batch: Sequence[Item], phrasing: Phrasing) -> Any:
        """Returns the pairs that are duplicates."""
        parts: list[Any] = [np.zeros((0, 4), np.int64)]
        for row, item in enumerate(batch):
            keys = _duplicate_keys(item, phrasing.own(item.template, item.prompt))
            tests = sorted({test for key in keys for test in self._duplicates.get(key, ())})
            if tests:
                parts.append(np.full((len(tests), 4), (row, 0, 0, 1)))
                parts[-1][:, 1] = tests
        return np.concatenate(parts)

    def _shared(self, batch: Sequence[Item]) -> tuple[Any, list[Any]]:
        """Returns the n-grams that some of a batch have, and the pairs that have them."""
        table = self._table
        if table is None:
            return np.zeros(0, np.int64), []
        texts = Texts([text for item in batch for text in (item.prompt, item.target)])
        keys: list[Any] = [np.zeros(0, np.int64)]
        for length in sorted(self._lengths):
            hashes, _, of = texts.grams(length)
            maybe = table.flags[hashes >> np.uint64(64 - _FLAG_BITS)]
            hashes, of = hashes[maybe], of[maybe]
            there, number = table.find(hashes)
            keys.append(pairs_of(of[there] // 2, number))
        found = np.unique(np.concatenate(keys))
        rows, grams = found >> 32, found & 0xFFFFFFFF
        return np.unique(grams), list(_expanded(table, rows, grams))

    def coverage(self, found: Any) -> Coverage:
        """Returns how much was found of each test.

        Args:
            found: bool [n-grams], which were.
        """
        words, own = np.array(self._sizes, np.int64).reshape(-1, 2).T
        nothing: Any = np.zeros(len(words), np.int64)
        if self._table is None:
            return Coverage(words, own, nothing, nothing)
        totals = (self._per_test(self.marked(which)) for which in (np.ones_like(found), found))
        return Coverage(words, own, *totals)

    def marked(self, grams: Any) -> Any:
        """Returns the words of all tests that are in one of these n-grams: bool [words]."""
        table = self._table
        if table is None:
            return np.zeros(self._words, bool)
        which = grams[table.number]
        return spread(table.starts[which], table.lengths[which], self._words)

    def places(self, test: int) -> slice:
        """Returns where the words of a test are among those of all tests."""
        low = int(self._begins[test])
        return slice(low, low + self._sizes[test][0])

    @functools.cached_property
    def _begins(self) -> Any:
        sizes = np.array([size for size, _ in self._sizes], np.int64)
        return np.cumsum(sizes) - sizes

    def _per_test(self, marked: Any) -> Any:
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(marked)])
        sizes = np.array([size for size, _ in self._sizes], np.int64)
        return sums[self._begins + sizes] - sums[self._begins]


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yields examples, as many at once as have some number of words."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.prompt) + len(item.target)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _duplicate_keys(item: Item, own: Any) -> list[bytes]:
    """Returns what a prompt and its duplicates have in common: any of these.

    Args:
        item: the example.
        own: which words of its prompt are its own; few of them say nothing by themselves.
    """
    if not own.any():
        return []
    keys = [b"all" + item.prompt.tobytes()]
    if own.sum() >= PHRASE:
        keys.append(b"own" + item.prompt[own].tobytes())
    return [hashlib.blake2b(key, digest_size=16).digest() for key in keys]


def runs(mask: Any) -> list[tuple[int, int]]:
    """Returns first and end of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(low), int(high)) for low, high in edges.reshape(-1, 2)]


def _expanded(table: _Table, rows: Any, grams: Any) -> Iterator[Any]:
    """Yields pairs as `Found` has them, those of some rows at once.

    Args:
        table: of the tests.
        rows: int64 [found], ascending: who has an n-gram.
        grams: int64 [found]: which.
    """
    counts = table.bounds[grams + 1] - table.bounds[grams]
    ends = np.cumsum(counts)
    low = 0
    while low < len(rows):
        done = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + _MOST_PAIRS, side="right")))
        high = int(np.searchsorted(rows, rows[high - 1], side="right"))  # a row stays whole
        part = slice(low, high)
        starts: Any = np.repeat(
            table.bounds[grams[part]] - ends[part] + counts[part] + done, counts[part]
        )
        owners = table.owners[starts + np.arange(counts[part].sum())]
        keys = np.repeat(rows[part], counts[part]) << 32 | owners
        pairs, shared = np.unique(keys, return_counts=True)
        yield np.stack([pairs >> 32, pairs & 0xFFFFFFFF, shared, np.zeros_like(pairs)], axis=1)
        low = high


def _merged(parts: Sequence[Any]) -> Any:
    """Returns pairs of all parts, each once: n-grams are added up, and a duplicate stays one."""
    rows = np.concatenate(parts)
    keys, place = np.unique(rows[:, 0] << 32 | rows[:, 1], return_inverse=True)
    merged: Any = np.zeros((len(keys), 4), np.int64)
    merged[:, 0], merged[:, 1] = keys >> 32, keys & 0xFFFFFFFF
    np.add.at(merged[:, 2], place, rows[:, 2])
    np.maximum.at(merged[:, 3], place, rows[:, 3])
    return merged
