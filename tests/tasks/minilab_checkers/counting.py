"""Answers of cluster `counting`, by regular expressions and word lists of their own."""

import re

ANIMALS = (
    r"ant|bee|beetle|butterfly|spider|bird|owl|duck|goose|chicken|penguin|fish|dolphin|turtle|"
    r"horse|donkey|cow|pig|goat|sheep|camel|zebra|giraffe|elephant|lion|tiger|monkey|fox|rabbit|"
    r"squirrel|mouse"
)
FOODS = (
    r"apple|banana|cherry|grape|lemon|melon|peach|plum|carrot|garlic|mushroom|onion|pepper|potato|"
    r"tomato|bread|biscuit|cake|cookie|pie|chocolate|honey|sugar|salt|butter|cheese|egg|rice|soup|"
    r"sandwich"
)


def _count(pattern, fields):
    return len(re.findall(rf"\b(?:{pattern})\b", fields["text"]))


def _by_count(fields):
    """Returns the two words asked about, the less frequent one first."""
    return sorted((fields["word"], fields["other"]), key=lambda word: _count(word, fields))


CHECKERS = {
    "count_words": lambda f: str(_count(r"\w+", f)),
    "count_animals": lambda f: str(_count(ANIMALS, f)),
    "count_foods": lambda f: str(_count(FOODS, f)),
    "count_word": lambda f: str(_count(f["word"], f)),
    "more_often": lambda f: _by_count(f)[1],
    "less_often": lambda f: _by_count(f)[0],
}
