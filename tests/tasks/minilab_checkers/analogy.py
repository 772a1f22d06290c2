"""What the definitions of cluster `analogy` say, computed from the shown fields."""

import re

from tasks.minilab import lexicon

_TABLES = (lexicon.ANIMALS, lexicon.FOODS, lexicon.JOBS, lexicon.CLOTHES)

_EDITS = (
    lambda line: " ".join(re.findall(r"\w+", line)[::-1]),
    lambda line: re.sub(r"^\w+ ", "", line),
    lambda line: re.sub(r" \w+$", "", line),
    lambda line: re.sub(r"^(\w+)(.*)$", r"\1\2 \1", line),
    lambda line: re.match(r"\w+", line)[0],
    lambda line: re.search(r"\w+$", line)[0],
)


def _analogy_kind(fields):
    (table,) = (table for table in _TABLES if fields["word"] in table)
    (name,) = re.findall(rf"\b(?:{'|'.join(table)}) : (\w+)", fields["text"])
    return name


def _analogy_edit(fields):
    first, result, second, other_result, last = re.fullmatch(
        r"([\w ]+) -> ([\w ]+) ; ([\w ]+) -> ([\w ]+) ; ([\w ]+) ->", fields["text"]
    ).groups()
    # One rule only, also among rules that tell apart lines of three words and lines of four.
    (edit,) = (edit for edit in _EDITS if edit(first) == result and edit(second) == other_result)
    assert {first.count(" "), second.count(" ")} == {2, 3}
    return edit(last)


def _analogy_position(fields):
    """The word that has as many words before it as the results have in both worked examples."""
    shown = re.match(
        r"((?:\w+ )*)(\w+) [\w ]*-> \2 ; ((?:\w+ )*)(\w+) [\w ]*-> \4 ; ", fields["text"]
    )
    places = {len(before.split()) for before in shown.group(1, 3)}
    (place,) = places
    return re.match(rf"(?:\w+ ){{{place}}}(\w+)", fields["text"][shown.end() :])[1]


def _next_in_pattern(fields):
    """The one word that every round of at most four words would go on with."""
    words = fields["text"].split()
    following = set()
    for size in (2, 3, 4):
        rounds = words[:size] * len(words)
        if rounds[: len(words)] == words:
            following.add(rounds[len(words)])
    (word,) = following
    return word


def _odd_one_out(fields):
    words = fields["text"].split()
    assert len(words) == 4
    (odd,) = (
        word
        for word in words
        if any(word not in table and set(words) - {word} <= set(table) for table in _TABLES)
    )
    return odd


CHECKERS = {
    "analogy_kind": _analogy_kind,
    "analogy_edit": _analogy_edit,
    "analogy_position": _analogy_position,
    "next_in_pattern": _next_in_pattern,
    "odd_one_out": _odd_one_out,
}
