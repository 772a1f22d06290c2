"""Checkers of cluster `sentiment`: one search pattern for each list."""

import re
from collections.abc import Mapping


def _hits(fields: Mapping[str, str], side: str) -> list[int]:
    """Returns where in the text the words of a list begin."""
    pattern = r"\b(?:" + fields[side].replace(", ", "|") + r")\b"
    return [hit.start() for hit in re.finditer(pattern, fields["text"])]


def _sign(is_positive: bool) -> str:
    return "positive" if is_positive else "negative"


CHECKERS = {
    "sentiment": lambda f: _sign(bool(_hits(f, "good"))),
    "sentiment_liar": lambda f: _sign(bool(_hits(f, "bad"))),
    "sentiment_majority": lambda f: _sign(len(_hits(f, "good")) > len(_hits(f, "bad"))),
    "sentiment_first": lambda f: _sign(min(_hits(f, "good")) < min(_hits(f, "bad"))),
    "sentiment_last": lambda f: _sign(max(_hits(f, "good")) > max(_hits(f, "bad"))),
    "has_opinion": lambda f: "yes" if _hits(f, "good") or _hits(f, "bad") else "no",
}
