"""Answers of the cluster `selection`, computed anew from the definitions."""

import re

# Written by hand, not taken from the lexicon: any of these in a line counts, even where the lexicon
# does not list it as an animal or as food.
_ANIMAL = re.compile(
    r"\b(?:horse|mouse|bird|fish|lion|tiger|zebra|camel|donkey|goat|sheep|duck|goose|chicken|rabbit"
    r"|squirrel|monkey|elephant|giraffe|dolphin|penguin|turtle|spider|beetle|butterfly|fly|ant|owl"
    r"|fox|cow|pig|bee|cat|dog|wolf|bear|frog|snake|eagle|crane|bat|seal|mole|worm)\b"
)
_FOOD = re.compile(
    r"\b(?:apple|bread|cherry|lemon|melon|banana|grape|peach|plum|carrot|potato|tomato|onion|pepper"
    r"|garlic|mushroom|butter|cheese|honey|sugar|salt|rice|soup|pie|cake|cookie|biscuit|chocolate"
    r"|sandwich|egg|fish|duck|goose|chicken|rabbit|goat|turtle|water|ice|oil|seed|root|leaf|rocket"
    r"|milk|pizza|nut|bean|corn|meat|ham|pear|date)\b"
)


def _only(pattern, text):
    found = pattern.findall(text)
    return found[0] if len(found) == 1 else f"{len(found)} words found"


def _longest_word(fields):
    by_length = sorted(re.findall(r"[a-z]+", fields["text"]), key=len)
    # By two letters at least, as the task promises that the answer is plain to see.
    return by_length[-1] if len(by_length[-1]) >= len(by_length[-2]) + 2 else "none is longest"


def _middle_word(fields):
    spaces = [match.start() for match in re.finditer(" ", fields["text"])]
    half = len(spaces) // 2
    return fields["text"][spaces[half - 1] + 1 : spaces[half]]


CHECKERS = {
    "first_word": lambda fields: re.match(r"\S+", fields["text"]).group(),
    "last_word": lambda fields: re.search(r"\S+$", fields["text"]).group(),
    "longest_word": _longest_word,
    "middle_word": _middle_word,
    "find_animal": lambda fields: _only(_ANIMAL, fields["text"]),
    "second_word": lambda fields: fields["text"].split(" ")[1],
    "find_food": lambda fields: _only(_FOOD, fields["text"]),
}
