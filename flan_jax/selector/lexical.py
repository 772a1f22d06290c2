"""An encoder without weights: TF-IDF of words and characters, reduced by an SVD.

It learns its weights from the instructions of the library (latent semantic analysis, Deerwester
et al. 1990), so it always works, and knows no more than which words occur together.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Bump by hand whenever vectors of the same texts change.
FORMAT = 2
_WORD = re.compile(r"\w+(?:['’]\w+)*")
# Lengths of n-grams, the shortest and the longest.
WORDS = (1, 2)
CHARACTERS = (3, 5)
# How much words count beside characters, as squared lengths.
WORD_SHARE = 0.3
WIDTH = 256
# Of the greatest singular value; directions with less are rounding errors.
_LEAST = 1e-6


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
        self._terms: Any = None
        self._directions: np.ndarray | None = None

    @property
    def width(self) -> int:
        """Components of a vector: as many as there are texts, at most as asked for."""
        return max(1, min(self._width, len(self._corpus)))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width]; zero for a text that shares nothing with the corpus."""
        if self._directions is None:
            self._fit()
        if not texts:
            return np.zeros((0, self.width))
        # A sparse row times a dense matrix is added up entry by entry, row by row.
        return self._terms.transform(texts) @ self._directions

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
        # Where no text has a word there is nothing to learn from, and nothing is like anything.
        corpus = [text for text in self._corpus if _WORD.search(text)] or ["nothing"]
        self._terms = _fitted(corpus)
        self._directions = _directions(self._terms.transform(corpus), self.width)


def _fitted(corpus: Sequence[str]) -> Any:
    """Returns what makes of texts a sparse matrix [n, terms], rows of length 1, or zero."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    words = TfidfVectorizer(
        preprocessor=_plain,
        tokenizer=str.split,
        token_pattern=None,
        ngram_range=WORDS,
        sublinear_tf=True,
    )
    characters = TfidfVectorizer(
        preprocessor=_plain, analyzer="char_wb", ngram_range=CHARACTERS, sublinear_tf=True
    )
    shares = {"words": WORD_SHARE**0.5, "characters": (1 - WORD_SHARE) ** 0.5}
    union = FeatureUnion([("words", words), ("characters", characters)], transformer_weights=shares)
    union.fit(corpus)
    for vectorizer in (words, characters):
        vectorizer.idf_ = _rarity(vectorizer.idf_, len(corpus))
    return union


def _plain(text: str) -> str:
    """Words alone, one space between them: the marks beside a word tell little of the task."""
    return " ".join(_WORD.findall(text.lower()))


def _rarity(idf: np.ndarray, count: int) -> np.ndarray:
    """Returns the inverse document frequencies of BM25 for sklearn's, of a corpus of `count`.

    sklearn's log((1 + n) / (1 + df)) + 1 never falls below 1, so the words that all instructions
    share would fill their vectors; log((1 + n) / (0.5 + df)) falls to almost 0 (Robertson and
    Zaragoza 2009, section 3.1, with 1 added inside the logarithm).
    """
    having = (1 + count) / np.exp(idf - 1) - 1
    return np.log((1 + count) / (0.5 + having))


def _directions(features: Any, width: int) -> np.ndarray:
    """Returns the first right singular vectors [terms, width], always with the same signs."""
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    rank = min(width, *features.shape)
    # ARPACK is exact and the quicker one, but does not give all singular vectors; a random
    # projection does, and is exact where it leaves nothing out.
    how = "arpack" if rank < min(features.shape) else "randomized"
    # Small products gain nothing from threads, and round differently with their number. The
    # share of the variance, which nothing asks for, is x / 0 where all texts are alike.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
        svd = TruncatedSVD(rank, algorithm=how, random_state=0).fit(features)
    directions = np.zeros((features.shape[1], width))
    kept = np.flatnonzero(svd.singular_values_ > _LEAST * svd.singular_values_.max())
    directions[:, kept] = svd.components_[kept].T
    return directions
