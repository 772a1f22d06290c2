"""What a vocabulary cannot say: characters of a text that are gone once it was tokens.

T5's published SentencePiece models have no newline, no braces and no backslash, so a template that
parts its lines by newlines is one line to such a model.
"""

import collections
from collections.abc import Iterable
from typing import Any

# Characters that are named; a vocabulary that lacks a script lacks thousands.
_MOST = 12


def lost(vocabulary: Any, texts: Iterable[str]) -> tuple[dict[str, int], int]:
    """Returns the characters that are lost, each with the number of texts that lose it.

    Args:
        vocabulary: a `seqio.Vocabulary`.
        texts: what is to be said.

    Returns:
        Numbers of texts by character, those that most texts lose first; and the number of texts.
    """
    counts: collections.Counter[str] = collections.Counter()
    total = 0
    for text in texts:
        total += 1
        kept = collections.Counter(vocabulary.decode(vocabulary.encode(text)))
        counts.update(character for character in collections.Counter(text) - kept)
    return dict(counts.most_common()), total


def describe(spec: str, counts: dict[str, int], total: int) -> str:
    """Returns a line about what `lost` found, for people."""
    shown = [f"{ascii(character)} in {count}" for character, count in counts.items()]
    more = f" and {len(shown) - _MOST} more characters" if len(shown) > _MOST else ""
    return f"VOCABULARY {spec} loses, of {total} texts: {', '.join(shown[:_MOST])}{more}"
