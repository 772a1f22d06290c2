"""Independent checkers of the cluster `lookup`: they walk over the words of the sentences."""

from collections.abc import Mapping


def _sentences(passage: str) -> list[list[str]]:
    return [sentence.split() for sentence in passage.removesuffix(".").split(". ")]


def _who_has(fields: Mapping[str, str]) -> str:
    return next(s[0] for s in _sentences(fields["passage"]) if s[-1] == fields["thing"])


def _what_has(fields: Mapping[str, str]) -> str:
    return next(" ".join(s[3:]) for s in _sentences(fields["passage"]) if s[0] == fields["name"])


def _colour_of(fields: Mapping[str, str]) -> str:
    words = fields["passage"].replace(".", "").split()
    return words[words.index(fields["thing"]) - 1]


def _where_is(fields: Mapping[str, str]) -> str:
    start = ["The", fields["thing"]]
    return next(s[-1] for s in _sentences(fields["passage"]) if s[:2] == start)


def _who_is_in(fields: Mapping[str, str]) -> str:
    there = [s[0] for s in _sentences(fields["passage"]) if s[-1] == fields["place"]]
    (person,) = [word for word in there if word != "The"]
    return person


def _neighbour(fields: Mapping[str, str], step: int) -> str:
    items = fields["items"].split(", ")
    return items[items.index(fields["word"]) + step]


CHECKERS = {
    "who_has": _who_has,
    "what_has": _what_has,
    "colour_of": _colour_of,
    "where_is": _where_is,
    "who_is_in": _who_is_in,
    "next_item": lambda fields: _neighbour(fields, 1),
    "previous_item": lambda fields: _neighbour(fields, -1),
}
