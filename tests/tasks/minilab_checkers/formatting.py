"""Answers of cluster `formatting`, by regular expressions."""

import itertools
import re


def _numbered(text):
    counter = itertools.count(1)
    return re.sub(r"\w+", lambda word: f"{next(counter)} {word[0]}", text)


CHECKERS = {
    "separate_by_commas": lambda f: re.sub(r"\b(\w+)(?= )", r"\1,", f["text"]),
    "join_with_and": lambda f: re.sub(r"(?<=\w) (\w+)", r" and \1", f["text"]),
    "number_words": lambda f: _numbered(f["text"]),
    "double_each": lambda f: re.sub(r"(\w+)", r"\1 \1", f["text"]),
    "join_with_or": lambda f: re.sub(r"(?<=\w) (\w+)", r" or \1", f["text"]),
}
