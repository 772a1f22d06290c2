"""Answers of the cluster `ordering`, computed anew from the definitions."""

import re
from collections import deque


def _words(fields):
    return re.findall(r"\S+", fields["text"])


def _reverse_words(fields):
    return " ".join(reversed(_words(fields)))


def _sort_words(fields):
    left, answer = _words(fields), []
    while left:
        answer.append(min(left))
        left.remove(answer[-1])
    return " ".join(answer)


def _swap_ends(fields):
    return re.sub(r"^(\S+) (.* )?(\S+)$", r"\3 \2\1", fields["text"])


def _last_to_front(fields):
    words = deque(_words(fields))
    words.rotate(1)
    return " ".join(words)


def _swap_halves(fields):
    half = len(_words(fields)) // 2
    block = r"\S+" + r" \S+" * (half - 1)
    # A middle word is there where the halves leave one over.
    return re.sub(rf"^({block}) (\S+ )?({block})$", r"\3 \2\1", fields["text"])


def _first_to_end(fields):
    words = deque(_words(fields))
    words.rotate(-1)
    return " ".join(words)


CHECKERS = {
    "reverse_words": _reverse_words,
    "sort_words": _sort_words,
    "swap_ends": _swap_ends,
    "last_to_front": _last_to_front,
    "swap_halves": _swap_halves,
    "first_to_end": _first_to_end,
}
