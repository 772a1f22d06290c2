"""Checkers of cluster `paraphrase`, written from the definitions alone."""

import collections
import re


def _yes(condition):
    return "yes" if condition else "no"


def _same_words(fields):
    lines = [collections.Counter(re.findall(r"\S+", fields[key])) for key in ("text", "other")]
    return _yes(not (lines[0] - lines[1]) and not (lines[1] - lines[0]))


def _same_line(fields):
    first, second = (re.findall(r"\S+", fields[key]) for key in ("text", "other"))
    return _yes(len(first) == len(second) and all(map(str.__eq__, first, second)))


def _same_fact(fields):
    # A fact here is a person, who is the only name in the sentence, and a thing, which follows
    # "the" or "The", unless that is the owner.
    facts = []
    for key in ("text", "other"):
        name = re.search(r"\b(?!The\b)[A-Z]\w+", fields[key]).group()
        facts.append((name, re.search(r"\b[Tt]he (?!owner\b)(\w+) (\w+)", fields[key]).groups()))
    return _yes(facts[0] == facts[1])


def _same_meaning(fields):
    equal = {frozenset(re.findall(r"\w+", pair)) for pair in fields["pairs"].split(",")}
    first, second = fields["text"].split(), fields["other"].split()
    return _yes(
        len(first) == len(second)
        and all(a == b or frozenset((a, b)) in equal for a, b in zip(first, second, strict=True))
    )


CHECKERS = {
    "same_words": _same_words,
    "same_line": _same_line,
    "same_fact": _same_fact,
    "same_meaning": _same_meaning,
}
