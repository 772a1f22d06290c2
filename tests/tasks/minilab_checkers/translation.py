"""Checkers of cluster `translation`: the dictionary is searched as a text, word by word."""

import re
from collections.abc import Callable, Mapping


def _english(word: str, dictionary: str) -> str:
    (meaning,) = re.findall(rf"\b{word} = (\w+)", dictionary)
    return meaning


def _foreign(word: str, dictionary: str) -> str:
    (name,) = re.findall(rf"(\w+) = {word}\b", dictionary)
    return name


def _each(fields: Mapping[str, str], look_up: Callable[[str, str], str]) -> str:
    return re.sub(r"\w+", lambda hit: look_up(hit[0], fields["dictionary"]), fields["text"])


def _backwards(line: str) -> str:
    out = ""
    for word in re.findall(r"\w+", line):
        out = f"{word} {out}"
    return out.rstrip()


def _unknown(fields: Mapping[str, str]) -> str:
    (word,) = (
        word
        for word in re.findall(r"\w+", fields["text"])
        if f", {word} =" not in ", " + fields["dictionary"]
    )
    return word


CHECKERS = {
    "translate_words": lambda f: _each(f, _english),
    "translate_reversed": lambda f: _backwards(_each(f, _english)),
    "translate_back": lambda f: _each(f, _foreign),
    "translate_last": lambda f: _english(re.search(r"\w+$", f["text"])[0], f["dictionary"]),
    "translate_first": lambda f: _english(re.match(r"\w+", f["text"])[0], f["dictionary"]),
    "unknown_word": _unknown,
}
