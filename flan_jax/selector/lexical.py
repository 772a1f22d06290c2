"""An encoder without weights: TF-IDF of words and characters, reduced by an SVD.

It learns its weights from the instructions of the library (latent semantic analysis, Deerwester
et al. 1990), so it always works, and knows no more than which words occur together.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Bump by hand whenever vectors of the same texts change.
FORMAT = 1
_WORD = re.compile(r"\w+(?:['’]\w+)*")
WORDS = (1, 2)
CHARACTERS = (3, 4, 5)
# How much words count beside characters, as squared lengths.
WORD_SHARE = 0.3
WIDTH = 256
# Above this number of texts the SVD is of the sparse matrix itself.
_MOST_DENSE = 2500


class LexicalEncoder:
    """TF-IDF with an SVD, both from a corpus.

    Attributes:
        name: "lexical".
        hash: SHA-256 of the parameters and the corpus.
    """

    name = "lexical"

    def __init__(self, corpus: Iterable[str], *, width: int = WIDTH):
        """Takes the corpus; nothing is computed before it is needed.

        Args:
            corpus: texts; their order and repetitions do not matter.
            width: most components of a vector.
        """
        self._corpus = sorted(set(corpus))
        self._width = width
        facts = [FORMAT, WORDS, CHARACTERS, WORD_SHARE, width, self._corpus]
        text = json.dumps(facts, ensure_ascii=False)
        self.hash = hashlib.sha256(text.encode("utf-8")).hexdigest()
        self._blocks: list[_Block] = []
        self._directions: np.ndarray | None = None

    @property
    def width(self) -> int:
        """Components of a vector: one less than there are texts, at most as asked for."""
        return max(1, min(self._width, len(self._corpus) - 1))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width]; zero for a text that shares nothing with the corpus."""
        if self._directions is None:
            self._fit()
        # A sparse row times a dense matrix is added up entry by entry, row by row.
        return self._features(texts) @ self._directions

    def describe(self) -> dict[str, Any]:
        """Returns what a manifest says of it."""
        return {
            "name": self.name,
            "kind": "TF-IDF of words and characters with SVD",
            "hash": self.hash,
            "width": self.width,
            "texts": len(self._corpus),
        }

    def _fit(self) -> None:
        corpus = self._corpus or ["nothing"]
        self._blocks = [
            _Block(_words, corpus, WORD_SHARE),
            _Block(_characters, corpus, 1 - WORD_SHARE),
        ]
        self._directions = _directions(self._features(corpus), self.width)

    def _features(self, texts: Sequence[str]) -> Any:
        from scipy import sparse

        return sparse.hstack([block.features(texts) for block in self._blocks], "csr")


class _Block:
    """TF-IDF of one kind of terms."""

    def __init__(self, terms: Any, corpus: Sequence[str], share: float):
        self._terms, self._scale = terms, share**0.5
        frequency: Counter[str] = Counter()
        for text in corpus:
            frequency.update(terms(text).keys())
        self._column = {term: i for i, term in enumerate(sorted(frequency))}
        counts = np.array([frequency[term] for term in self._column], float)
        # Above zero even for a term of every text, so that one text alone is not nothing.
        self._idf = np.log((1 + len(corpus)) / (0.5 + counts))

    def features(self, texts: Sequence[str]) -> Any:
        """Returns a sparse matrix [n, terms] with rows of length `share` ** 0.5, or zero."""
        from scipy import sparse

        columns, values, ends = [], [], [0]
        for text in texts:
            found = self._row(text)
            columns += found[0]
            values += found[1]
            ends.append(len(columns))
        shape = (len(texts), len(self._column))
        return sparse.csr_matrix((values, columns, ends), shape, dtype=np.float64)

    def _row(self, text: str) -> tuple[list[int], list[float]]:
        known = sorted(
            (self._column[t], n) for t, n in self._terms(text).items() if t in self._column
        )
        columns = [column for column, _ in known]
        weights = self._idf[columns] * (1 + np.log([n for _, n in known])) if known else np.zeros(0)
        length = float(np.sqrt((weights**2).sum()))
        return columns, list(weights * (self._scale / length)) if known else []


def _words(text: str) -> Counter[str]:
    words = _WORD.findall(text.lower())
    return _grams(words, WORDS, " ".join)


def _characters(text: str) -> Counter[str]:
    """Counts n-grams inside words, whose ends are marked with spaces."""
    found: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        found += _grams(f" {word} ", CHARACTERS, "".join)
    return found


def _grams(items: Sequence[str], lengths: Iterable[int], join: Any) -> Counter[str]:
    return Counter(
        join(items[start : start + n]) for n in lengths for start in range(len(items) - n + 1)
    )


def _directions(features: Any, width: int) -> np.ndarray:
    """Returns the first right singular vectors [terms, width], always with the same signs."""
    rows, terms = features.shape
    if rows <= _MOST_DENSE:
        # Of the products of all rows: far quicker than of the rows, which are long and sparse.
        squares, left = np.linalg.eigh((features @ features.T).toarray())
        kept = [i for i in range(rows - 1, -1, -1) if squares[i] > 1e-9 * squares[-1]][:width]
        right = features.T @ (left[:, kept] / np.sqrt(squares[kept]))
    else:
        from scipy.sparse.linalg import svds

        start = np.random.default_rng(0).standard_normal(min(rows, terms))
        right = svds(features, width, v0=start, return_singular_vectors="vh")[2][::-1].T
    padded = np.zeros((terms, width))
    padded[:, : right.shape[1]] = right
    largest = padded[np.abs(padded).argmax(axis=0), np.arange(width)]
    return padded * np.where(largest < 0, -1.0, 1.0)
