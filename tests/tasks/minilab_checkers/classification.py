"""What the definitions of cluster `classification` say, computed from the shown fields."""

import collections
import re

from tasks.minilab import lexicon


def _any_of(table):
    return re.compile(rf"(?<!\S)(?:{'|'.join(table)})(?!\S)")


_KINDS = {
    "animals": _any_of(lexicon.ANIMALS),
    "foods": _any_of(lexicon.FOODS),
    "jobs": _any_of(lexicon.JOBS),
}


def _kind_of_line(fields):
    found = {kind: len(pattern.findall(fields["text"])) for kind, pattern in _KINDS.items()}
    most = max(found, key=found.__getitem__)
    # Of one kind only, and more than half of the words.
    assert sum(found.values()) == found[most] > len(re.findall(r"\w+", fields["text"])) / 2
    return most


def _yes(found):
    return "yes" if found else "no"


CHECKERS = {
    "in_list": lambda f: _yes(re.search(rf"\b{f['word']}\b", f["items"])),
    "same_ends": lambda f: _yes(re.match(r"^(\w+) .*(?<=\s)\1$", f["text"])),
    "kind_of_line": _kind_of_line,
    "even_count": lambda f: "even" if re.fullmatch(r"(\w+ \w+(?: |$))+", f["text"]) else "odd",
    "has_animal": lambda f: _yes(_KINDS["animals"].search(f["text"])),
    "repeats": lambda f: _yes(2 in collections.Counter(re.findall(r"\w+", f["text"])).values()),
    "has_food": lambda f: _yes(_KINDS["foods"].search(f["text"])),
    "longer_line": lambda f: (
        "first" if len(f["text"].split()) > len(f["other"].split()) else "second"
    ),
}
