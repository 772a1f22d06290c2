"""ROUGE-L as rouge_score computes it, in time and memory that long texts do not exhaust.

Tokens are rouge_score's own: lower case, cut at what is neither letter nor digit, Porter stems. The
longest common subsequence is found by the bits of whole numbers (Hyyrö 2004), a row of the table at
a time, where the library keeps all of the table.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

Tokenize = Callable[[str], Sequence[str]]
_KEPT_TEXTS, _KEPT_STEMS = 1 << 15, 1 << 17


class EnglishTokens:
    """rouge_score's own tokens, for its scorers; stems of words and tokens of texts are kept."""

    def __init__(self) -> None:
        from nltk.stem import porter
        from rouge_score import tokenize

        self.stem = functools.lru_cache(_KEPT_STEMS)(porter.PorterStemmer().stem)
        self.tokenize = functools.lru_cache(_KEPT_TEXTS)(lambda text: tokenize.tokenize(text, self))


@functools.cache
def english() -> Any:
    """Returns the tokens that all English scores share."""
    return EnglishTokens()


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence of two lists of tokens."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every  # a bit is 0 where the length grows by one
    for token in second:
        if token in places:
            common = row & places[token]
            row = (row + common | row - common) & every
    return len(first) - row.bit_count()


def f_measure(reference: Sequence[str], prediction: Sequence[str]) -> float:
    """Returns ROUGE-L of lists of tokens, 0..1; 0 where either is empty."""
    common = lcs_length(reference, prediction)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)
