"""Answers of the cluster `arithmetic`: numbers as heaps of strokes, stories by their verbs."""

import re


def _heaps(text):
    return ["|" * int(number) for number in re.findall(r"\d+", text)]


def _subtract(text):
    first, *others = _heaps(text)
    for heap in others:
        assert first.startswith(heap)
        first = first.removeprefix(heap)
    return first


def _by_value(text):
    """The numbers as written, in order, compared as texts of equal length."""
    return sorted(re.findall(r"\d+", text), key=lambda number: number.zfill(3))


def _before(story):
    return re.search(r"\b(?:were|had|held) (\d+) \w+", story)[1]


def _moved(story):
    return re.search(r"\b[A-Z]\w+ (?:put|added|took|removed) (\d+) \w+ ", story)[1]


def _total(story):
    came = re.search(r" \w+ (?:into|to) (?:it|the \w+)\.", story)
    went = re.search(r" \w+ (?:out of|from) (?:it|the \w+)\.", story)
    assert bool(came) != bool(went)
    heap, moved = "|" * int(_before(story)), "|" * int(_moved(story))
    return str(len(heap + moved if came else heap.replace(moved, "", 1)))


CHECKERS = {
    "add_numbers": lambda f: str(len("".join(_heaps(f["text"])))),
    "subtract_numbers": lambda f: str(len(_subtract(f["text"]))),
    "largest_number": lambda f: _by_value(f["text"])[-1],
    "smallest_number": lambda f: _by_value(f["text"])[0],
    "story_total": lambda f: _total(f["story"]),
    "story_change": lambda f: _moved(f["story"]),
    "story_before": lambda f: _before(f["story"]),
}
