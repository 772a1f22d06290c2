"""Independent checkers of the cluster `entailment`, written from the definitions."""

import itertools
from collections.abc import Mapping


def _sentences(passage: str) -> list[list[str]]:
    return [sentence.split() for sentence in passage.removesuffix(".").split(". ")]


def _check_fact(fields: Mapping[str, str]) -> str:
    return "yes" if f" {fields['claim']}." in f" {fields['passage']}" else "no"


def _same_place(fields: Mapping[str, str]) -> str:
    asked = {fields["thing"], fields["other"]}
    places = [s[-1] for s in _sentences(fields["passage"]) if s[1] in asked]
    first, second = places
    return "yes" if first == second else "no"


def _speaks_truth(fields: Mapping[str, str]) -> str:
    name, thing = fields["claim"].split()[0], " ".join(fields["claim"].split()[-2:])
    (stated,) = [" ".join(s[3:]) for s in _sentences(fields["passage"]) if s[0] == name]
    denied = " not " in fields["claim"]
    return "true" if (stated != thing) is denied else "false"


def _stated_or_open(fields: Mapping[str, str]) -> str:
    known = [s[0] for s in _sentences(fields["passage"])]
    return "stated" if fields["claim"].split()[0] in known else "open"


def _taller(fields: Mapping[str, str]) -> str:
    """Tries every order of the people that the passage allows."""
    facts = [(s[0], s[-1]) for s in _sentences(fields["passage"])]
    people = sorted({person for fact in facts for person in fact})
    a, *_, b = fields["claim"].split()
    verdicts = {
        order.index(a) < order.index(b)
        for order in itertools.permutations(people)
        if all(order.index(x) < order.index(y) for x, y in facts)
    }
    return "yes" if verdicts == {True} else "no"


def _contradicts(fields: Mapping[str, str]) -> str:
    person, *_, colour, thing = fields["claim"].split()
    other_things = [s for s in _sentences(fields["passage"]) if s[-2:] != [colour, thing]]
    return "yes" if person in [s[0] for s in other_things] else "no"


CHECKERS = {
    "check_fact": _check_fact,
    "same_place": _same_place,
    "speaks_truth": _speaks_truth,
    "stated_or_open": _stated_or_open,
    "taller": _taller,
    "contradicts": _contradicts,
}
