"""What the training examples of a mixture share with the examples of a suite.

Tests are indexed once (`ngrams`). The training tasks are looked up one after the other; what one
has in common with the tests is a *part*, which is written when the task is done, so that a run that
was killed goes on with the tasks that are left. A part is named by all that it depends on. The
report is made of the parts.
"""

import array
import bisect
import collections
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from flan_jax import files
from flan_jax.data.ngrams import Index, batches, runs
from flan_jax.data.prepare import PreparedMixture
from flan_jax.data.records import Example, Unit
from flan_jax.data.words import PHRASE, Item, hashed, learnt, words
from flan_jax.errors import DataError, border

# Bump by hand whenever the code here, in `ngrams` or in `words` finds other things.
FORMAT = 1
# Of each training example, and of each test, so many that it has most in common with are named.
MOST_NAMED = 5
# Tests of a task whose shared words are quoted, and characters of each quotation.
MOST_QUOTED, QUOTATION = 5, 160
_MOST_PART = 1 << 32


class Part(NamedTuple):
    """What one training task has in common with the tests.

    Attributes:
        examples: int64 [1], number of training examples.
        ids: bytes [found], ids of those that have something in common with a test.
        tests: int64 [found], number of tests of each.
        pairs: int64 [pairs, 4], at most `MOST_NAMED` of each: position in `ids`, test, n-grams in
            common, 1 for duplicates and else 0; most first.
        by_test: int64 [tests found, 5]: test, number of training examples, position in `ids` of
            the one with which it has most in common, n-grams in common with that, duplicate.
        grams: int64, numbers of the n-grams that were found.
    """

    examples: Any
    ids: Any
    tests: Any
    pairs: Any
    by_test: Any
    grams: Any


def _strongest(pairs: Any, by: int, most: int) -> Any:
    """Returns of each value of a column the `most` strongest pairs: duplicates, then n-grams."""
    order = np.lexsort((pairs[:, 1 - by], -pairs[:, 2], -pairs[:, 3], pairs[:, by]))
    pairs = pairs[order]
    first = np.searchsorted(pairs[:, by], pairs[:, by])
    return pairs[np.arange(len(pairs)) - first < most]


class _Collector:
    """Puts a part together, batch by batch."""

    def __init__(self, index: Index):
        self._index = index
        self._examples = 0
        self._ids: list[str] = []
        self._tests: list[Any] = [np.zeros(0, np.int64)]
        self._pairs: list[Any] = [np.zeros((0, 4), np.int64)]
        self._by_test: Any = np.zeros((0, 5), np.int64)
        self._grams: Any = np.zeros(index.count, bool)

    def add(self, batch: Sequence[Item], phrasing: Any) -> None:
        """Looks a batch up."""
        found = self._index.look_up(batch, phrasing)
        self._examples += len(batch)
        self._grams[found.grams] = True
        if not len(found.pairs):
            return
        rows, place, counts = np.unique(found.pairs[:, 0], return_inverse=True, return_counts=True)
        pairs = found.pairs.copy()
        pairs[:, 0] = place + len(self._ids)
        self._ids += [batch[row].id for row in rows]
        self._tests.append(counts)
        self._pairs.append(_strongest(pairs, 0, MOST_NAMED))
        self._count_tests(pairs)

    def _count_tests(self, pairs: Any) -> None:
        tests, counts = np.unique(pairs[:, 1], return_counts=True)
        best = _strongest(pairs, 1, 1)
        mine = np.stack([tests, counts, best[:, 0], best[:, 2], best[:, 3]], axis=1)
        rows = np.concatenate([self._by_test, mine])
        rows = rows[np.lexsort((rows[:, 2], -rows[:, 3], -rows[:, 4], rows[:, 0]))]
        tests, first, place = np.unique(rows[:, 0], return_index=True, return_inverse=True)
        sums: Any = np.zeros(len(tests), np.int64)
        np.add.at(sums, place, rows[:, 1])
        self._by_test = rows[first]
        self._by_test[:, 1] = sums

    def part(self) -> Part:
        """Returns what was found."""
        return Part(
            examples=np.array([self._examples], np.int64),
            ids=np.array([one.encode() for one in self._ids], dtype=np.bytes_),
            tests=np.concatenate(self._tests),
            pairs=np.concatenate(self._pairs),
            by_test=self._by_test,
            grams=np.flatnonzero(self._grams),
        )


def training_items(unit: Unit) -> Iterator[Item]:
    """Yields the examples of a unit; each option to be ranked is one, with an id of its own."""
    for example in unit:
        yield _item(example.id, example)


def test_items(unit: Unit) -> Iterator[tuple[int, Item]]:
    """Yields position and words of the examples of a unit that is answered.

    Options that are ranked follow each other; they count as one example, with the right answer.
    """
    waiting: tuple[int, Item] | None = None
    for position, example in enumerate(unit):
        if example.ranked is None:
            yield position, _item(example.id, example)
            continue
        example_id, _, right = example.ranked
        item = _item(example_id, example)
        if waiting is None or waiting[1].id != example_id:
            if waiting is not None:
                yield waiting
            waiting = position, item if right else item._replace(target=item.target[:0])
        elif right:
            waiting = waiting[0], waiting[1]._replace(target=item.target)
    if waiting is not None:
        yield waiting


def _item(example_id: str, example: Example) -> Item:
    return Item(example_id, example.template, hashed(example.prompt), hashed(example.target))


@dataclasses.dataclass(frozen=True)
class Sides:
    """What is compared.

    Attributes:
        test: units of the suite, in one rendering.
        train: units of what is trained on.
        numbers: of each test unit, the numbers of its examples in the index.
        positions: of each test unit, where the records of these lie.
        index: n-grams of all tests.
    """

    test: Sequence[Unit]
    train: Sequence[Unit]
    numbers: Sequence[range]
    positions: Sequence[Sequence[int]]
    index: Index

    def named(self, test: int) -> tuple[str, str]:
        """Returns task and id of a test."""
        unit = bisect.bisect_right(self._firsts, test) - 1
        return self.test[unit].spec.task, self.index.ids[test]

    @functools.cached_property
    def _firsts(self) -> list[int]:
        return [one.start for one in self.numbers]


def sides(
    test: Sequence[PreparedMixture],
    train: Sequence[PreparedMixture],
    length: int,
    advance: Callable[[int], None],
) -> Sides:
    """Indexes the tests.

    Args:
        test: mixtures of the suite, in one rendering; a task of several counts once.
        train: mixtures that are trained on.
        length: words of an n-gram.
        advance: called with the number of examples that were read.
    """
    index, numbers, positions = Index(length), [], []
    units = _distinct(test)
    for unit in units:
        positions.append(array.array("q"))
        numbers.append(index.add(_noting(test_items(unit), positions[-1])))
        advance(len(unit))
    return Sides(units, _distinct(train), numbers, positions, index)


def _noting(items: Iterable[tuple[int, Item]], positions: Any) -> Iterator[Item]:
    for position, item in items:
        positions.append(position)
        yield item


def _distinct(mixtures: Sequence[PreparedMixture]) -> list[Unit]:
    units = [units[0] for mixture in mixtures for units in mixture.units]
    return list({unit.spec: unit for unit in units}.values())


def parts(
    found: Sides, folder: epath.Path | None, advance: Callable[[int], None]
) -> Iterator[Part]:
    """Yields the part of each training task, read where it is there and else made.

    Args:
        found: what is compared.
        folder: where parts are kept; None keeps none.
        advance: called with the number of examples that are done.
    """
    for unit in found.train:
        path = None if folder is None else folder / f"{_part_key(found, unit)}.npz"
        part = _read_part(path, found.index.count, len(found.index.ids)) if path else None
        if part is not None:
            advance(len(unit))
        else:
            part = _make_part(found.index, unit, advance)
            if path:
                content = io.BytesIO()
                np.savez(content, **part._asdict())
                files.replace_bytes(path, content.getvalue())
        yield part


def _make_part(index: Index, unit: Unit, advance: Callable[[int], None]) -> Part:
    collector = _Collector(index)
    phrasing, everything = learnt(training_items(unit))
    for batch in batches(everything):
        collector.add(batch, phrasing)
        advance(len(batch))
    return collector.part()


def _part_key(found: Sides, unit: Unit) -> str:
    """Returns 32 hex digits over all that a part depends on."""
    tests = [[one.spec.task, one.spec.split, one.content] for one in found.test]
    mine = [unit.spec.task, unit.spec.split, unit.content]
    text = json.dumps([FORMAT, found.index.length, tests, mine])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_part(path: epath.Path, grams: int, tests: int) -> Part | None:
    """Returns a part that a run before has made, None where none is there or it is damaged."""
    if not path.exists():
        return None
    try:
        with border(str(path)), np.load(io.BytesIO(files.read_bytes(path, _MOST_PART))) as table:
            part = Part(**{name: table[name] for name in Part._fields})
            count = len(part.ids)
            bounds = ((part.grams, grams), (part.by_test[:, 0], tests), (part.pairs[:, 1], tests),
                      (part.by_test[:, 2], count), (part.pairs[:, 0], count))  # fmt: skip
            if len(part.tests) != count or part.examples.shape != (1,):
                raise DataError(f"{path} is no part")
            if any(len(column) and not 0 <= column.min() <= column.max() < bound
                   for column, bound in bounds):  # fmt: skip
                raise DataError(f"{path} is of other tests")
            return part
    except DataError:
        return None


class Source(NamedTuple):
    """What a test has most in common with: training task, id, n-grams, whether a duplicate."""

    task: str
    id: str
    ngrams: int
    duplicate: bool


class Report:
    """What was found, by test task and by training task."""

    def __init__(self, found: Sides, done: Sequence[Part]):
        self._sides, self._parts = found, done
        marks: Any = np.zeros(found.index.count, bool)
        for part in done:
            marks[part.grams] = True
        self._coverage = found.index.coverage(marks)
        self._marked = found.index.marked(marks)
        self._sources: dict[int, list[Source]] = collections.defaultdict(list)
        self._training: dict[int, int] = collections.Counter()
        self._read_sources()

    def _read_sources(self) -> None:
        for unit, part in zip(self._sides.train, self._parts, strict=True):
            for test, count, row, grams, duplicate in part.by_test.tolist():
                one = Source(unit.spec.task, part.ids[row].decode(), grams, bool(duplicate))
                self._sources[test].append(one)
                self._training[test] += count
        for sources in self._sources.values():
            sources.sort(key=lambda one: (-one.duplicate, -one.ngrams, one.task))

    def by_test_task(self) -> dict[str, dict[str, Any]]:
        """Returns what was found of each test task, JSON values by its name.

        See docs/contamination.md for the fields.
        """
        return {
            unit.spec.task: self._test_task(unit, numbers, positions)
            for unit, numbers, positions in zip(
                self._sides.test, self._sides.numbers, self._sides.positions, strict=True
            )
        }

    def _test_task(self, unit: Unit, numbers: range, positions: Sequence[int]) -> dict[str, Any]:
        part = slice(numbers.start, numbers.stop)
        covered = type(self._coverage)(*(column[part] for column in self._coverage))
        there = covered.looked_for > 0
        shares = covered.found[there] / covered.looked_for[there]
        found = [test for test in numbers if test in self._sources]
        tasks = collections.Counter(one.task for test in found for one in self._sources[test])
        return {
            "split": unit.spec.split,
            "examples": len(numbers),
            "too_short": int((~there & (covered.own > 0)).sum()),
            "wordless": int((covered.own == 0).sum()),
            "found": len(found),
            "duplicates": sum(any(s.duplicate for s in self._sources[t]) for t in found),
            "words_found": float(shares.mean()) if len(shares) else 0.0,
            "phrasing": 1 - float(covered.own.sum()) / max(1, int(covered.words.sum())),
            "training_tasks": dict(sorted(tasks.items(), key=lambda one: (-one[1], one[0]))),
            "examples_found": self._worst_first(found, unit, numbers.start, positions),
        }

    def _worst_first(
        self, found: list[int], unit: Unit, first: int, positions: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Returns the tests that were found, the first ones with words that they share."""
        rows = sorted(
            ((self._test(test), test) for test in found),
            key=lambda one: (-one[0]["duplicate"], -one[0]["words_found"], one[1]),
        )
        worst = [test for _, test in rows[:MOST_QUOTED]]
        records = unit.read([positions[test - first] for test in worst])
        for (row, test), record in zip(rows, records, strict=False):
            row["shared"] = self._longest_run(test, record)
        return [row for row, _ in rows]

    def _test(self, test: int) -> dict[str, Any]:
        there, share = self._coverage.looked_for[test], self._coverage.found[test]
        sources = self._sources[test]
        return {
            "id": self._sides.index.ids[test],
            "words_found": float(share / there) if there else 0.0,
            "duplicate": any(one.duplicate for one in sources),
            "training_examples": self._training[test],
            "sources": [one._asdict() for one in sources[:MOST_NAMED]],
        }

    def _longest_run(self, test: int, record: Example) -> str:
        """Returns the longest run of words that was found, cut; empty for a short duplicate."""
        text = words(record.prompt)
        if record.ranked is None:  # else the record may be one of another option
            text += words(record.target)
        marked = self._marked[self._sides.index.places(test)][: len(text)]
        low, high = max(runs(marked), key=lambda run: run[1] - run[0], default=(0, 0))
        return " ".join(text[low:high])[:QUOTATION]

    def by_training_task(self) -> dict[str, dict[str, Any]]:
        """Returns of each training task how many examples it has, and in how many was found."""
        return {
            unit.spec.task: {
                "split": unit.spec.split,
                "examples": int(part.examples[0]),
                "found": len(part.ids),
            }
            for unit, part in zip(self._sides.train, self._parts, strict=True)
        }

    def training_examples(self) -> Iterator[dict[str, Any]]:
        """Yields the training examples that have something in common with a test.

        Each says the tests with which it has most in common.
        """
        for unit, part in zip(self._sides.train, self._parts, strict=True):
            order = np.argsort(part.pairs[:, 0], kind="stable")
            pairs = part.pairs[order]
            bounds: Any = np.searchsorted(pairs[:, 0], np.arange(len(part.ids) + 1))
            for row, example_id in enumerate(part.ids):
                mine = pairs[bounds[row] : bounds[row + 1]].tolist()
                yield {
                    "task": unit.spec.task,
                    "split": unit.spec.split,
                    "id": example_id.decode(),
                    "tests": int(part.tests[row]),
                    "most_alike": [self._named(*pair[1:]) for pair in mine],
                }

    def _named(self, test: int, grams: int, duplicate: int) -> dict[str, Any]:
        task, example_id = self._sides.named(test)
        return Source(task, example_id, grams, bool(duplicate))._asdict()

    def to_json(self) -> dict[str, Any]:
        """Returns all but the training examples."""
        return {
            "format": FORMAT,
            "ngram": self._sides.index.length,
            "shortest": self._sides.index.shortest,
            "shortest_duplicate": PHRASE,
            "test_tasks": self.by_test_task(),
            "training_tasks": self.by_training_task(),
        }
