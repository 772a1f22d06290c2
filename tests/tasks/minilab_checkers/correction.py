"""Answers of the cluster `correction`: by regular expressions, counting strokes, and sorting."""

import re


def _fix_double(text):
    fixed, count = re.subn(r"\b(\w+) \1\b", r"\1", text)
    assert count == 1
    return fixed


def _fix_sum(text):
    a, b, wrong = re.findall(r"\d+", text)
    right = ("|" * int(a) + "|" * int(b)).count("|")
    assert right != int(wrong)
    return re.sub(r"\d+$", str(right), text)


def _fix_order(text):
    words = re.findall(r"\w+", text)
    ordered = sorted(words, key=lambda word: [ord(letter) for letter in word])
    assert len({word[0] for word in words}) == len(words)
    assert sum(a != b for a, b in zip(words, ordered, strict=True)) == 2
    return " ".join(ordered)


def _fix_fact(text, fact):
    assert fact not in text
    name = fact.split()[0]
    return re.search(rf"\b{name} [^.]*\.", text)[0]


CHECKERS = {
    "fix_double": lambda f: _fix_double(f["text"]),
    "fix_sum": lambda f: _fix_sum(f["text"]),
    "fix_order": lambda f: _fix_order(f["text"]),
    "fix_fact": lambda f: _fix_fact(f["text"], f["fact"]),
}
