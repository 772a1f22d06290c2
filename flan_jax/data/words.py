"""Words of prompts and answers: what they are, their hashes, and which are an example's own.

**Words** are what stands between blanks and punctuation after lower case; of scripts
without blanks every character is one. **Own words** of an example are those that its task does not
put into every prompt: a run of `PHRASE` words that many examples of one template share is phrasing
(instruction, template, OPTIONS) and separates what stands before it from what stands after.

Hashes are the same in every process: BLAKE2 of a word, and a polynomial of those of an n-gram (Karp
and Rabin 1987).
"""

import contextlib
import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from flan_jax import rolling_hash
from flan_jax.errors import DataError
from flan_jax.texts import nfc

# Words of a run that may be phrasing.
PHRASE = 4
# Phrasing is in at least so many of the examples of a template, and in such a share of them...
_LEAST, _SHARE = 3, 0.25
# ... and the words before and after it nearly never stand without it.
_BOUND = 0.9
# Examples of a task that its phrasing is learnt from.
SAMPLE = 2048
# Words whose hashes are kept.
_MOST_WORDS = 1 << 20
# Thai and Lao, Burmese, Khmer, kana, Chinese: written without blanks.
_NO_BLANKS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF),
              (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip


class _Characters(dict[int, str]):
    """What becomes of each character: itself, a blank, or itself between blanks."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = character if unicodedata.category(character)[0] in "LNM" else " "
        if any(low <= code <= high for low, high in _NO_BLANKS):
            kept = f" {kept} "
        self[code] = kept
        return kept


class _Hashes(dict[str, int]):
    """64 bits of each word."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_WORDS:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self[word] = int.from_bytes(digest, "little")
        return self[word]


_CHARACTERS, _HASHES = _Characters(), _Hashes()


def words(text: str) -> list[str]:
    """Returns the words of a text, see the module."""
    with contextlib.suppress(DataError):  # marks that nobody writes stay as they are
        text = nfc(text)
    return text.casefold().translate(_CHARACTERS).split()


def hashed(text: str) -> Any:
    """Returns the hash of each word of a text: uint64 [words]."""
    found = words(text)
    return np.fromiter(map(_HASHES.__getitem__, found), np.uint64, len(found))


class Item(NamedTuple):
    """An example.

    Attributes:
        id: its id.
        template: its template; phrasing is what examples of one share.
        prompt: hashes of its words, uint64 [words].
        target: the same of its answer.
    """

    id: str
    template: str
    prompt: Any
    target: Any


class Texts:
    """Several texts side by side, whose n-grams are hashed at once."""

    def __init__(self, texts: Sequence[Any]):
        self.lengths = np.array([len(text) for text in texts], np.int64)
        joined = np.concatenate([np.zeros(0, np.uint64), *texts])
        size = 1 << max(17, int(len(joined)).bit_length())
        powers, self._inverses = rolling_hash.powers(size)
        self._sums: Any = np.zeros(len(joined) + 1, np.uint64)
        np.cumsum(joined * powers[: len(joined)], out=self._sums[1:])
        self.begins: Any = np.cumsum(self.lengths) - self.lengths

    def grams(self, length: int) -> tuple[Any, Any, Any]:
        """Returns all n-grams of so many words that lie within a text.

        Returns:
            Their hashes, uint64; where each begins among all words, and the text that it is of.
        """
        counts: Any = np.maximum(self.lengths - length + 1, 0)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = np.repeat(self.begins, counts) + within
        hashes = (self._sums[starts + length] - self._sums[starts]) * self._inverses[starts]
        # Words of another number are another n-gram, also where hashes of words are small.
        hashes ^= np.uint64(length * rolling_hash.BASE & (1 << 64) - 1)
        return hashes, starts, np.repeat(np.arange(len(counts)), counts)


def spread(starts: Any, lengths: Any, size: int) -> Any:
    """Returns which of `size` places lie in one of these stretches: bool [size]."""
    changes: Any = np.zeros(size + 1, np.int64)
    np.add.at(changes, starts, 1)
    np.add.at(changes, starts + lengths, -1)
    return np.cumsum(changes[:-1]) > 0


class Phrasing:
    """What the examples of each template share, learnt of some of them."""

    def __init__(self, items: Iterable[Item]):
        by_template: dict[str, list[Item]] = {}
        for item in items:
            by_template.setdefault(item.template, []).append(item)
        self._common = {name: _common(found) for name, found in by_template.items()}

    def own(self, template: str, text: Any) -> Any:
        """Returns which words of a prompt or an answer are its own: bool [words]."""
        common = self._common.get(template)
        if common is None or not len(common) or len(text) < PHRASE:
            return np.ones(len(text), bool)
        hashes, starts, _ = Texts([text]).grams(PHRASE)
        shared = starts[is_in(hashes, common)]
        return ~spread(shared, PHRASE, len(text))


def _common(items: Sequence[Item]) -> Any:
    """Returns the hashes of what is phrasing in examples of one template, ascending.

    A sentence of a template is in all of them. `conclude that the` is in those whose own text goes
    on with `the`, so a run of words counts only where its first and its last words, one left
    off, are nearly always followed or preceded by the one that is left off.
    """
    texts = Texts([text for item in items for text in (item.prompt, item.target)])
    hashes, starts, of = texts.grams(PHRASE)
    shorter, places, of_shorter = texts.grams(PHRASE - 1)
    counts, around = _documents(hashes, of // 2), _documents(shorter, of_shorter // 2)
    first: Any = np.searchsorted(places, starts)
    bound = counts >= _BOUND * np.maximum(around[first], around[first + 1])
    return np.unique(hashes[bound & (counts >= max(_LEAST, _SHARE * len(items)))])


def _documents(hashes: Any, of: Any) -> Any:
    """Returns of each n-gram how many examples have it: int64 [n-grams]."""
    distinct, number = np.unique(hashes, return_inverse=True)
    counts: Any = np.bincount(pairs_of(number, of) >> 32, minlength=len(distinct))
    return counts[number]


def pairs_of(left: Any, right: Any) -> Any:
    """Returns pairs of numbers below 2**31, each once and in order, as left * 2**32 + right."""
    return np.unique(left.astype(np.int64) << 32 | right.astype(np.int64))


def is_in(wanted: Any, ascending: Any) -> Any:
    """Returns which of some hashes are among others, which ascend: bool [wanted]."""
    if not len(ascending):
        return np.zeros(len(wanted), bool)
    place = np.searchsorted(ascending, wanted).clip(max=len(ascending) - 1)
    return ascending[place] == wanted


def learnt(items: Iterable[Item]) -> tuple[Phrasing, Iterator[Item]]:
    """Learns the phrasing of a task from its first examples; returns it and all examples."""
    waiting = iter(items)
    first = [item for _, item in zip(range(SAMPLE), waiting, strict=False)]

    def everything() -> Iterator[Item]:
        yield from first
        yield from waiting

    return Phrasing(first), everything()
