"""What pairs of steps do, by regular expressions, position by position."""

import re


def _numbered(words):
    parts = [str(1 + place // 2) if place % 2 == 0 else "" for place in range(2 * len(words))]
    parts[1::2] = words
    return " ".join(parts)


STEPS = {
    "reverse": lambda t: " ".join(re.findall(r"\w+", t)[::-1]),
    "sort": lambda t: " ".join(sorted(re.findall(r"\w+", t), key=lambda w: [ord(c) for c in w])),
    "swap_ends": lambda t: re.sub(r"^(\w+)((?: \w+)*) (\w+)$", r"\3\2 \1", t),
    "last_to_front": lambda t: re.sub(r"^(.*) (\w+)$", r"\2 \1", t),
    "drop_first": lambda t: re.sub(r"^\w+ ", "", t),
    "keep_ends": lambda t: re.sub(r"^(\w+) .*\b(\w+)$", r"\1 \2", t),
    "repeat_first": lambda t: re.sub(r"^(\w+)(.*)$", r"\1\2 \1", t),
    "first_word": lambda t: re.match(r"\w+", t)[0],
    "commas": lambda t: re.sub(r"(\w)(?= )", r"\1,", t),
    "and": lambda t: re.sub(r"(?<=\w) (?=\w)", " and ", t),
    "numbers": lambda t: _numbered(re.findall(r"\w+", t)),
    "double": lambda t: re.sub(r"(\w+)", r"\1 \1", t),
    "last_word": lambda t: re.search(r"\w+$", t)[0],
}
PAIRS = """
    sort first_word, reverse commas, reverse repeat_first, drop_first sort, swap_ends
    drop_first, last_to_front and, last_to_front swap_ends, reverse drop_first, swap_ends
    numbers, sort keep_ends, swap_ends reverse, drop_first commas, repeat_first reverse,
    last_to_front last_word, reverse double, reverse last_to_front, sort drop_first, drop_first
    keep_ends, repeat_first numbers, last_to_front repeat_first, sort reverse, sort and,
    swap_ends repeat_first, keep_ends repeat_first, reverse keep_ends, repeat_first and,
    swap_ends double, last_to_front numbers, keep_ends commas, drop_first double, sort commas,
    reverse and, drop_first numbers, swap_ends commas, last_to_front double, keep_ends and, sort
    repeat_first, sort last_word, drop_first reverse, drop_first repeat_first, drop_first
    last_to_front, last_to_front reverse, swap_ends last_to_front, reverse numbers, sort
    swap_ends, sort last_to_front, sort numbers, sort double, swap_ends and, last_to_front
    keep_ends, last_to_front commas, drop_first and, keep_ends numbers, keep_ends double,
    repeat_first sort, repeat_first last_to_front, repeat_first keep_ends, repeat_first commas,
    repeat_first double
"""


def _checker(first, second):
    return lambda f: STEPS[second](STEPS[first](f["text"]))


CHECKERS = {
    "{}_then_{}".format(*pair.split()): _checker(*pair.split()) for pair in PAIRS.split(",")
}
