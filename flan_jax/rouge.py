"""ROUGE-L as rouge_score computes it, in time and memory that long texts do not exhaust.

rouge_score fills a table of all pairs of words in Python, a second for 1,000 words each and a
gigabyte for 10,000. The length of the longest common subsequence needs no table: a row of it is one
number with a bit for each word (Hyyrö 2004), and a row is made of the one before by a sum. Tokens
are rouge_score's own: lower case, cut at what is neither letter nor digit, Porter stems.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.errors import DataError

Tokenize = Callable[[str], Sequence[str]]
_KEPT_TEXTS, _KEPT_STEMS = 1 << 15, 1 << 17
# Pairs of words; a bit each is kept at worst.
_MOST_PAIRS = 2_000_000_000
# No word is longer, and the stemmer takes quadratic time for a row of the letter y.
_LONGEST_WORD = 200


class EnglishTokens:
    """rouge_score's own tokens, for its scorers; stems of words and tokens of texts are kept."""

    def __init__(self) -> None:
        from nltk.stem import porter
        from rouge_score import tokenize

        stem = functools.lru_cache(_KEPT_STEMS)(porter.PorterStemmer().stem)
        self.stem = lambda word: stem(word) if len(word) <= _LONGEST_WORD else word
        self.tokenize = functools.lru_cache(_KEPT_TEXTS)(lambda text: tokenize.tokenize(text, self))


@functools.cache
def english() -> Any:
    """Returns the tokens that all English scores share."""
    return EnglishTokens()


def f_measure(reference: Sequence[str], prediction: Sequence[str]) -> float:
    """Returns ROUGE-L of lists of tokens, 0..1; 0 where either is empty.

    Raises:
        DataError: both are too long to be compared.
    """
    common = lcs_length(reference, prediction)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def lcs_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence.

    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited".

    Raises:
        DataError: both are too long to be compared.
    """
    if len(one) * len(other) > _MOST_PAIRS:
        raise DataError(
            f"a reference of {len(one):,} words and a prediction of {len(other):,} are more than "
            "ROUGE-L compares"
        )
    short, long = sorted((one, other), key=len)
    places: dict[str, bytearray] = {token: bytearray() for token in short}
    for place, token in enumerate(long):
        if token in places:
            bits = places[token]
            bits.extend(bytes(place // 8 + 1 - len(bits)))
            bits[place // 8] |= 1 << place % 8
    masks = {token: int.from_bytes(bits, "little") for token, bits in places.items()}
    everything = (1 << len(long)) - 1
    row = everything  # a bit is 0 where the length grows by one
    for token in short:
        matched = row & masks[token]
        row = ((row + matched) | (row - matched)) & everything
    return len(long) - row.bit_count()
