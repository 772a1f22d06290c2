"""What pairs of steps do, by regular expressions, position by position."""

import re

STEPS = {
    "reverse": lambda t: " ".join(re.findall(r"\w+", t)[::-1]),
    "sort": lambda t: " ".join(sorted(re.findall(r"\w+", t), key=lambda w: [ord(c) for c in w])),
    "swap_ends": lambda t: re.sub(r"^(\w+)((?: \w+)*) (\w+)$", r"\3\2 \1", t),
    "last_to_front": lambda t: re.sub(r"^(.*) (\w+)$", r"\2 \1", t),
    "drop_first": lambda t: re.sub(r"^\w+ ", "", t),
    "keep_ends": lambda t: re.sub(r"^(\w+) .*\b(\w+)$", r"\1 \2", t),
    "repeat_first": lambda t: re.sub(r"^(\w+)(.*)$", r"\1\2 \1", t),
    "first_word": lambda t: re.match(r"\w+", t)[0],
    "last_word": lambda t: re.search(r"\w+$", t)[0],
}
PAIRS = """
    sort first_word, reverse repeat_first, drop_first sort, swap_ends drop_first,
    last_to_front swap_ends, reverse drop_first, sort keep_ends, swap_ends reverse,
    repeat_first reverse, last_to_front last_word, reverse last_to_front, sort drop_first,
    drop_first keep_ends, last_to_front repeat_first, sort reverse, swap_ends repeat_first,
    keep_ends repeat_first, reverse keep_ends, sort repeat_first, sort swap_ends, sort last_word,
    drop_first reverse, drop_first repeat_first, drop_first swap_ends, drop_first last_to_front,
    swap_ends last_to_front, last_to_front reverse, last_to_front keep_ends
"""


def _checker(first, second):
    return lambda f: STEPS[second](STEPS[first](f["text"]))


CHECKERS = {
    "{}_then_{}".format(*pair.split()): _checker(*pair.split()) for pair in PAIRS.split(",")
}
