"""MiniLab's untasked text: what the base model is pretrained on.

Short documents about the same world that the tasks are made of: lines of words and what can be
observed of them, facts told twice, sums, dictionaries, records. They are statements throughout: no
document asks for anything, names an answer, or has options. Only skills of tasks that are trained
on are described, one at a time: no held-out task, no held-out cluster and no two steps in a row.

A document is a function of (seed, split, index). The SeqIO task `minilab_text` shows it either as a
beginning that is to be continued (prefix language modelling; Raffel et al. 2020, section 3.2.1)
or with spans of words replaced by sentinels (span corruption, section 3.1.4).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.instructions.registration import Rendered, register_task, rows_source
from flan_jax.instructions.rendering import Draws
from tasks.minilab.forms import line
from tasks.minilab.lab import SEED, Dice, split_of
from tasks.minilab.lexicon import (
    ANIMALS,
    CLOTHES,
    COLOURS,
    FOODS,
    FOREIGN,
    JOBS,
    NAMES,
    OBJECTS,
    OTHERS,
    PLACES,
    WORDS,
)

NAME = "minilab_text"
COUNTS = {"train": 200_000, "validation": 1000}
VERSION = "2"

_ANIMAL_SET = frozenset(ANIMALS)
_KINDS = {"an animal": ANIMALS, "food": FOODS, "a job": JOBS, "something to wear": CLOTHES}

Words = list[str]


def _join(words: Sequence[str]) -> str:
    return " ".join(words)


def _swapped(words: Words) -> Words:
    return [words[-1], *words[1:-1], words[0]]


def _halves(words: Words) -> Words:
    half = len(words) // 2
    return [*words[-half:], *words[half : len(words) - half], *words[:half]]


def _about_backwards(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("Backwards", "In reverse order", "The other way around", "From the last to the first",
         "The same words, last word first")
    )  # fmt: skip
    return f"{said}: {_join(words[::-1])}."


def _about_alphabet(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("In alphabetical order", "From a to z", "Sorted", "Sorted by the alphabet",
         "Arranged alphabetically")
    )  # fmt: skip
    return f"{said}: {_join(sorted(words))}."


def _about_first(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("It begins with", "The first word is", "At the beginning stands", "It starts with",
         "The opening word is", "At the front is")
    )  # fmt: skip
    return f"{said} {words[0]}."


def _about_last(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("It ends with", "The last word is", "At the end stands", "The final word is",
         "The closing word is")
    )  # fmt: skip
    return f"{said} {words[-1]}."


def _about_middle(dice: Dice, words: Words) -> str:
    if len(words) % 2 == 0:
        return _about_first(dice, words)
    said = dice.pick(("In the middle stands", "The middle word is", "Halfway is"))
    return f"{said} {words[len(words) // 2]}."


def _about_longest(dice: Dice, words: Words) -> str:
    long = sorted(words, key=len)
    if len(long[-1]) == len(long[-2]):
        return _about_last(dice, words)
    said = dice.pick(("The longest word is", "The word with the most letters is"))
    return f"{said} {long[-1]}."


def _about_number(dice: Dice, words: Words) -> str:
    pattern = dice.pick(
        ("It has {n} words.", "There are {n} words.", "That makes {n} words.",
         "The number of words is {n}.", "It is {n} words long, which is {p}.")
    )  # fmt: skip
    return pattern.format(n=len(words), p="odd" if len(words) % 2 else "even")


def _about_deletion(dice: Dice, words: Words) -> str:
    word = dice.pick(words)
    rest = _join([other for other in words if other != word])
    said = dice.pick(("Without", "Leaving out", "All but"))
    return f"{said} {word}: {rest}."


def _about_replacement(dice: Dice, words: Words) -> str:
    word, new = dice.pick(words), dice.pick(WORDS)
    said = dice.pick(
        (f"With {new} in place of {word}", f"With {new} for {word}", f"{word} replaced by {new}")
    )
    return f"{said}: {_join([new if other == word else other for other in words])}."


def _about_doubling(dice: Dice, words: Words) -> str:
    word = dice.pick(words)
    twice = [copy for other in words for copy in ([other] * (1 + (other == word)))]
    return f"{dice.pick((f'With {word} twice', f'With {word} doubled'))}: {_join(twice)}."


def _about_ends_swapped(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("With both ends swapped", "With the first and the last word exchanged",
         "The two outermost words having traded places")
    )  # fmt: skip
    return f"{said}: {_join(_swapped(words))}."


def _about_last_to_front(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("With the last word moved to the front", "The last word put before all others",
         "With the word from the end at the beginning")
    )  # fmt: skip
    return f"{said}: {_join([words[-1], *words[:-1]])}."


def _about_halves(dice: Dice, words: Words) -> str:
    said = dice.pick(("With the halves swapped", "The second half before the first half"))
    return f"{said}: {_join(_halves(words))}."


def _about_first_again(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("With the first word repeated at the end", "With the first word again behind the last")
    )
    return f"{said}: {_join([*words, words[0]])}."


def _about_ends(dice: Dice, words: Words) -> str:
    said = dice.pick(
        ("Only the first and the last word", "The two outermost words", "Both ends alone")
    )
    return f"{said}: {words[0]} {words[-1]}."


def _about_rest(dice: Dice, words: Words) -> str:
    said = dice.pick(("Without the first word", "What follows the first word", "After the first"))
    return f"{said}: {_join(words[1:])}."


def _about_animals(dice: Dice, words: Words) -> str:
    animals = [word for word in words if word in _ANIMAL_SET]
    if len(animals) == 1:
        said = dice.pick(("The only animal is", "The animal in it is", "One word is an animal:"))
        return f"{said} {animals[0]}."
    if not animals:
        return dice.pick(("There is no animal.", "No word names an animal.", "Animals: 0."))
    return f"Animals: {len(animals)}, namely {_join(animals)}."


def _about_copies(dice: Dice, words: Words) -> str:
    del dice
    repeated = [word for word in dict.fromkeys(words) if words.count(word) > 1]
    if not repeated:
        return "No word is in it twice."
    return " ".join(f"{word} is in it {words.count(word)} times." for word in repeated)


_ABOUT_LINES: tuple[Callable[[Dice, Words], str], ...] = (
    _about_backwards, _about_alphabet, _about_first, _about_last, _about_middle, _about_longest,
    _about_number, _about_deletion, _about_replacement, _about_doubling, _about_ends_swapped,
    _about_last_to_front, _about_halves, _about_first_again, _about_ends, _about_rest,
    _about_animals, _about_copies,
)  # fmt: skip
# What would read oddly, or mean another thing, where a word occurs twice.
_NEEDS_DIFFERENT_WORDS = (_about_deletion, _about_replacement, _about_doubling)


def _line_document(dice: Dice) -> str:
    words = line(dice, 3, 7)
    if dice.below(4) == 0:  # animals are a small part of all words
        words[dice.below(len(words))] = dice.pick(ANIMALS)
    if dice.below(5) == 0:
        words[dice.below(len(words))] = dice.pick(words)
    text = _join(words)
    abouts = dice.sample(_ABOUT_LINES, dice.between(2, 3))
    if len(set(words)) < len(words):
        abouts = [about for about in abouts if about not in _NEEDS_DIFFERENT_WORDS]
        abouts = abouts or [_about_copies]
    opening = dice.pick(("{}.", "Line: {}.", "The line {} .", "Words: {}.", "{}:"))
    return " ".join([opening.format(text), *(about(dice, words) for about in abouts)])


def _echo_document(dice: Dice) -> str:
    text = _join(line(dice, 3, 7))
    said = dice.pick(("Once more:", "Again:", "The same line:", "The same words again:"))
    return f"{text}. {said} {text}."


def _owner_again(dice: Dice, name: str, colour: str, thing: str) -> str:
    return dice.pick(
        (
            f"The {colour} {thing} belongs to {name}.",
            f"The owner of the {colour} {thing} is {name}.",
            f"It is {name} who has the {colour} {thing}.",
            f"The {colour} {thing} is what {name} has.",
            f"What {name} has is the {colour} {thing}.",
            f"The {thing} of {name} is {colour}.",
            f"It is true that {name} has the {colour} {thing}.",
        )
    )


def _owners_document(dice: Dice) -> str:
    count = dice.between(2, 4)
    names, things = dice.sample(NAMES, count + 1), dice.sample(OBJECTS, count)
    colours = dice.sample(COLOURS, count)
    facts = list(zip(names, colours, things, strict=False))
    told = [f"{name} has the {colour} {thing}." for name, colour, thing in facts]
    again = [_owner_again(dice, *fact) for fact in dice.sample(facts, dice.between(1, 2))]
    name, colour, thing = dice.pick(facts)
    if dice.below(3) == 0:
        other = dice.pick([fact for fact in facts if fact[0] != name])
        again.append(
            dice.pick(
                (
                    f"It is false that {name} has the {other[1]} {other[2]}.",
                    f"{name} does not have the {other[1]} {other[2]}.",
                    f"Of {names[-1]} nothing is said.",
                    f"What {names[-1]} has is open.",
                )
            )
        )
    return " ".join([*told, *again])


def _places_document(dice: Dice) -> str:
    count = dice.between(2, 4)
    things, places = dice.sample(OBJECTS, count), dice.sample(PLACES, count)
    if dice.below(2):
        places[1] = places[0]
    facts = list(zip(things, places, strict=True))
    told = dice.shuffled([f"The {thing} is in the {place}." for thing, place in facts])
    thing, place = dice.pick(facts)
    same = "the same place" if places[0] == places[1] else "different places"
    again = (
        f"The place of the {thing} is the {place}.",
        f"So the {thing} can be found in the {place}.",
        f"The {things[0]} and the {things[1]} are in {same}.",
        f"The {things[1]} and the {things[0]} are in {same}.",
    )
    return " ".join([*told, *dice.sample(again, 2)])


def _heights_document(dice: Dice) -> str:
    first, second, third = dice.sample(NAMES, 3)
    told = dice.shuffled([f"{first} is taller than {second}.", f"{second} is taller than {third}."])
    again = dice.sample(
        (
            f"So {first} is taller than {third}.",
            f"So {third} is not taller than {first}.",
            f"{second} is not taller than {first}.",
        ),
        2,
    )
    return " ".join([*told, *again])


def _sums_document(dice: Dice) -> str:
    parts = []
    for _ in range(dice.between(2, 4)):
        a, b = dice.between(1, 40), dice.between(1, 20)
        a, b = max(a, b), min(a, b)
        c = dice.between(1, 20)
        numbers = dice.sample(range(100), 4)
        parts.append(
            dice.pick(
                (
                    f"{a} + {b} = {a + b}.",
                    f"{b} and {a} make {a + b}.",
                    f"The sum of {a} {b} is {a + b}.",
                    f"{a} {b} {c}: together {a + b + c}.",
                    f"{a} - {b} = {a - b}.",
                    f"{a} less {b} is {a - b}.",
                    f"{b} taken from {a} leaves {a - b}.",
                    f"{_join([str(n) for n in numbers])}: the largest is {max(numbers)}.",
                    f"{numbers[0]} is {'more' if numbers[0] > numbers[1] else 'less'} than "
                    f"{numbers[1]}.",
                )
            )
        )
    return " ".join(parts)


def _stock_document(dice: Dice) -> str:
    name, other = dice.sample(NAMES, 2)
    thing = dice.pick(("coins", "balls", "books", "cups", "keys", "rings", "spoons", "pencils"))
    place = dice.pick(("box", "bag", "basket", "bucket"))
    before, change = dice.between(5, 30), dice.between(1, 10)
    before = max(before, change)
    told = f"{name} had {before} {thing} in the {place}."
    if dice.below(2):
        return f"{told} {other} put {change} more into it. Now there are {before + change} {thing}."
    return f"{told} {other} took {min(change, before)} of them out. Now there are " + (
        f"{before - min(change, before)} {thing}."
    )


def _dictionary_document(dice: Dice) -> str:
    count = dice.between(3, 5)
    foreign, meanings = dice.sample(FOREIGN, count), dice.sample(WORDS, count)
    entries = ", ".join(f"{a} = {b}" for a, b in zip(foreign, meanings, strict=True))
    used = dice.sample(range(count), dice.between(1, count))
    there, here = _join([foreign[i] for i in used]), _join([meanings[i] for i in used])
    if dice.below(2):
        there, here = here, there
    said = dice.pick(("{a}: {b}.", "{a} means {b}.", "{a} is {b} in the other language."))
    return f"{entries}. " + said.format(a=there, b=here)


def _feelings_document(dice: Dice) -> str:
    words = dice.sample(WORDS, 8)
    good, bad, rest = words[:2], words[2:4], words[4:]
    positive = bool(dice.below(2))
    text = _join(dice.shuffled([dice.pick(good if positive else bad), *rest[: dice.between(2, 4)]]))
    return (
        f"Good: {', '.join(good)}. Bad: {', '.join(bad)}. {text}: "
        f"{'positive' if positive else 'negative'}."
    )


def _kinds_document(dice: Dice) -> str:
    parts = []
    for _ in range(dice.between(3, 5)):
        kind = dice.pick(tuple(_KINDS))
        parts.append(f"{dice.pick(_KINDS[kind])} is {kind}.")
    if dice.below(2):
        parts.append(f"{dice.pick(OTHERS)} is none of these.")
    return " ".join(parts)


def _record_document(dice: Dice) -> str:
    name, thing = dice.pick(NAMES), dice.pick(OBJECTS)
    colour, place = dice.pick(COLOURS), dice.pick(PLACES)
    record = dice.shuffled(
        (f"name: {name}", f"thing: {thing}", f"colour: {colour}", f"place: {place}")
    )
    said = dice.pick(
        (
            f"{name} has the {colour} {thing}.",
            f"The {colour} {thing} is in the {place}.",
            f"{name} is in the {place} with the {colour} {thing}.",
            f"{name} has the {thing}.",
        )
    )
    return f"{' ; '.join(record)} . {said}"


# Kinds of document and how many of 28 they are.
_DOCUMENTS: tuple[tuple[Callable[[Dice], str], int], ...] = (
    (_line_document, 13),
    (_echo_document, 3),
    (_owners_document, 2),
    (_places_document, 1),
    (_heights_document, 1),
    (_sums_document, 2),
    (_stock_document, 1),
    (_dictionary_document, 2),
    (_feelings_document, 1),
    (_kinds_document, 1),
    (_record_document, 1),
)
_DRAWN_FROM = tuple(document for document, share in _DOCUMENTS for _ in range(share))


def document(split: str, index: int, seed: int = SEED) -> str:
    """Returns document `index` of a split.

    Its text as a whole decides the split, as in the tasks; lines of words that a task may be
    tested on stay out of it, since a line is checked by itself, too.
    """
    dice = Dice(seed, NAME, split, index)
    while True:
        text = dice.pick(_DRAWN_FROM)(dice)
        opening = text.partition(".")[0].removeprefix("Line: ").removeprefix("Words: ")
        opening = opening.removeprefix("The line ").partition(":")[0].strip()
        if split_of(opening) == ("train" if split == "train" else split):
            return text


class Documents(Sequence[dict[str, str]]):
    """The declared documents of a split, made when they are looked at."""

    def __init__(self, split: str, seed: int = SEED):
        """Args:
        split: "train" or "validation".
        seed: seed of the laboratory.
        """
        self._split, self._seed = split, seed

    def __len__(self) -> int:
        return COUNTS[self._split]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        text = document(self._split, index, self._seed)
        return {"id": f"{NAME}/{self._split}/{index}", "text": text}


def _continued(text: str, draws: Draws) -> tuple[str, str]:
    """(text up to somewhere in a sentence, rest of that sentence).

    The opening sentence is never what is left to write, since nothing tells what it says. In half
    of the cases only what follows the colon, or the last word, is left, which the text decides.
    """
    sentences = text.split(". ")
    chosen = draws.integer("sentence", len(sentences) - 1) + 1 if len(sentences) > 1 else 0
    before = "".join(f"{sentence}. " for sentence in sentences[:chosen])
    words = sentences[chosen].split(" ")
    colons = [i + 1 for i, word in enumerate(words[:-1]) if word.endswith(":")]
    if draws.integer("place", 2):
        cut = colons[-1] if colons else len(words) - 1
    else:
        cut = draws.integer("cut", len(words))
    rest = words[cut:]
    end = "" if rest[-1].endswith(".") else "."
    return (before + _join(words[:cut])).strip() or _join(words[:1]), _join(rest) + end


def _corrupted(words: Words, draws: Draws) -> tuple[str, str]:
    """(text with sentinels, what they stand for); one to three spans of one to five words."""
    spans = 1 + draws.integer("spans", 3)
    inputs: Words = []
    targets: Words = []
    segment = max(len(words) // spans, 2)
    for number in range(spans):
        part = words[number * segment : (number + 1) * segment if number < spans - 1 else None]
        if not part:
            break
        length = min(1 + draws.integer(f"length {number}", 5), max(len(part) - 1, 1))
        start = draws.integer(f"start {number}", len(part) - length + 1)
        sentinel = f"<extra_id_{number}>"
        inputs += [*part[:start], sentinel, *part[start + length :]]
        targets += [sentinel, *part[start : start + length]]
    return _join(inputs), _join(targets)


def render(example: Mapping[str, Any], draws: Draws) -> Rendered:
    """Shows a document as a beginning to continue, or, one in four, with spans to fill."""
    text = example["text"]
    prefix = draws.integer("objective", 4) > 0
    inputs, targets = _continued(text, draws) if prefix else _corrupted(text.split(" "), draws)
    return Rendered(inputs, targets, template="prefix" if prefix else "spans")


def register() -> None:
    """Registers the SeqIO task; it has no card, since it has no instruction."""
    register_task(
        NAME,
        source=rows_source(Documents, {"text": "string"}, COUNTS),
        render=render,
        facts={"version": VERSION, "first": [document("train", i) for i in range(50)]},
    )
