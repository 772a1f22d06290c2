"""ROUGE-L as rouge_score has it, to the last digit, in the time that long texts need.

rouge_score fills a table of all pairs of words in Python, a second for 1,000 words each and a
gigabyte for 10,000. The length of the longest common subsequence needs no table: a row of it is
one number with a bit for each word (Hyyrö 2004), and a row is made of the one before by a sum.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from flan_jax.errors import DataError, quoted

# Pairs of words; a bit each is kept at worst.
_MOST_PAIRS = 2_000_000_000
# No word is longer, and the stemmer takes quadratic time for a row of the letter y.
_LONGEST_WORD = 200
_KEPT_TOKENS = 1 << 15


class Tokens(Protocol):
    """What cuts a text into tokens."""

    def tokenize(self, text: str) -> Sequence[str]:
        """Returns the tokens of a text."""


class EnglishTokens:
    """rouge_score's own tokens, stemmed; stems of words and tokens of texts are kept."""

    def __init__(self) -> None:
        from nltk.stem import porter
        from rouge_score import tokenize

        stem = porter.PorterStemmer().stem
        self.stem = functools.cache(lambda word: stem(word) if len(word) <= _LONGEST_WORD else word)
        self.tokenize = functools.lru_cache(_KEPT_TOKENS)(
            lambda text: tokenize.tokenize(text, self)
        )


class RougeL:
    """Scores of predictions, with the interface of rouge_score's `RougeScorer(["rougeL"])`."""

    def __init__(self, tokens: Tokens):
        """Args:
        tokens: cuts texts into tokens.
        """
        self._tokens = tokens

    def score(self, target: str, prediction: str) -> dict[str, Any]:
        """Returns precision, recall and F-measure of one prediction, under "rougeL".

        Raises:
            DataError: both texts are too long to be compared.
        """
        from rouge_score import scoring

        wanted, said = self._tokens.tokenize(target), self._tokens.tokenize(prediction)
        if not wanted or not said:
            return {"rougeL": scoring.Score(0, 0, 0)}
        if len(wanted) * len(said) > _MOST_PAIRS:
            raise DataError(
                f"the prediction {quoted(prediction)} has {len(said):,} words and the reference "
                f"{len(wanted):,}, more than ROUGE-L compares"
            )
        common = lcs_length(wanted, said)
        precision, recall = common / len(said), common / len(wanted)
        return {"rougeL": scoring.Score(precision, recall, scoring.fmeasure(precision, recall))}


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence.

    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """
    short, long = sorted((one, other), key=len)
    places: dict[str, bytearray] = {token: bytearray() for token in short}
    for place, token in enumerate(long):
        if token in places:
            bits = places[token]
            bits.extend(bytes(place // 8 + 1 - len(bits)))
            bits[place // 8] |= 1 << place % 8
    masks = {token: int.from_bytes(bits, "little") for token, bits in places.items()}
    everything = (1 << len(long)) - 1
    row = everything
    for token in short:
        matched = row & masks[token]
        row = ((row + matched) | (row - matched)) & everything
    return len(long) - row.bit_count()
