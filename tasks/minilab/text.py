"""MiniLab's untasked text: what the base model is pretrained on.

Short documents about the same world that the tasks are made of: lines of words and what can be
observed of them, facts told twice, sums, dictionaries, records. They are statements throughout: no
document asks for anything, names an answer, or has options. Only skills of tasks that are trained
on are described, one at a time: no held-out task, no held-out cluster and no two steps in a row.

A document is a function of (seed, split, index). The SeqIO task `minilab_text` shows it either as a
beginning that is to be continued (prefix language modelling; Raffel et al. 2020, section 3.2.1)
or with spans of words replaced by sentinels (span corruption, section 3.1.4).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.instructions.draws import Draws
from flan_jax.instructions.registration import register_task, rows_source
from flan_jax.instructions.rendering import Rendered
from tasks.minilab.forms import line
from tasks.minilab.lab import SEED, Dice, Rows, split_of
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
VERSION = "3"

_ANIMAL_SET = frozenset(ANIMALS)
_KINDS = {"an animal": ANIMALS, "food": FOODS, "a job": JOBS, "something to wear": CLOTHES}

Words = list[str]


def _join(words: Sequence[str]) -> str:
    return " ".join(words)


@dataclasses.dataclass(frozen=True)
class _Fact:
    """Something that can be said of a line of words, and ways of saying it.

    Attributes:
        find: what it is for these words, or None where it cannot be said.
        said: patterns with `{}` for it, and {first}, {last}, {word}, {new} for words to mention.
        same_words: whether it is clear where a word occurs twice.
    """

    find: Callable[[Words, str, str], str | None]
    said: tuple[str, ...]
    same_words: bool = True


def _longest(words: Words) -> str | None:
    long = sorted(words, key=len)
    return long[-1] if len(long[-1]) > len(long[-2]) else None


def _only_animal(words: Words) -> str | None:
    animals = [word for word in words if word in _ANIMAL_SET]
    return animals[0] if len(animals) == 1 else None


def _animals(words: Words) -> str | None:
    animals = [word for word in words if word in _ANIMAL_SET]
    return f"{len(animals)}, {_join(animals)}" if animals else "0"


def _copies(words: Words) -> str | None:
    repeated = [word for word in dict.fromkeys(words) if words.count(word) > 1]
    return f"{repeated[0]} is there {words.count(repeated[0])} times" if repeated else None


# What the base learns of the words in which people speak of lines: several dozen expressions, each
# beside what it means. A model that reads an instruction has to know them from somewhere.
_FACTS = (
    _Fact(
        lambda words, word, new: _join(words[::-1]),
        (
            "Backwards: {}.", "In reverse order: {}.", "The other way around: {}.",
            "From the last to the first: {}.", "The same words, last word first: {}.",
            "Turned around, the line reads: {}.", "Reversed: {}.", "In the opposite order: {}.",
            "From the end to the beginning: {}.", "Read from the wrong end: {}.",
            "Going back from the end, one word at a time: {}.", "With the order reversed: {}.",
            "Not sorted, but backwards: {}.", "All words in the opposite order: {}.",
            "Who starts with {last} and goes back to {first} reads: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _join(sorted(words)),
        (
            "In alphabetical order: {}.", "From a to z: {}.", "Sorted: {}.",
            "Sorted by the alphabet: {}.", "Arranged alphabetically: {}.",
            "In the order of the alphabet: {}.", "As in a dictionary: {}.",
            "Put into alphabetical order: {}.", "By their first letters: {}.",
            "Not backwards, but by the alphabet: {}.", "Ordered from a to z: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: words[0],
        (
            "It begins with {}.", "The first word is {}.", "At the beginning stands {}.",
            "It starts with {}.", "The opening word is {}.", "At the front is {}.",
            "In front of all the rest stands {}.", "The word before all others is {}.",
            "It does not begin with {last} but with {}.", "Not {last}, the first word is {}.",
            "Whoever reads it comes to this word first: {}.", "The line opens with {}.",
            "The word at the beginning of the line: {}.", "First: {}.",
            "The word in front, not the one at the end: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: words[-1],
        (
            "It ends with {}.", "The last word is {}.", "At the end stands {}.",
            "The final word is {}.", "The closing word is {}.", "Behind all others stands {}.",
            "The word after all the rest is {}.", "It does not end with {first} but with {}.",
            "Not {first}, the last word is {}.", "Whoever reads it comes to this word last: {}.",
            "The line closes with {}.", "The word at the end of the line: {}.", "Last: {}.",
            "The word at the end, not the one in front: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: words[len(words) // 2] if len(words) % 2 else None,
        (
            "In the middle stands {}.", "The middle word is {}.", "Halfway is {}.",
            "The word with as many words before it as after it: {}.", "Right in the middle: {}.",
            "Neither at the front nor at the end but in the middle: {}.", "The central word is {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _longest(words),
        (
            "The longest word is {}.", "The word with the most letters is {}.",
            "No word is longer than {}.", "Most letters: {}.", "The word that takes most room: {}.",
            "Longer than all others is {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: str(len(words)),
        (
            "Number of words: {}.", "How many words there are: {}.", "Words in it: {}.",
            "The number of words is {}.", "Whoever counts the words gets {}.",
            "The length of the line in words: {}.", "In all, its words are {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: "even" if len(words) % 2 == 0 else "odd",
        ("The number of words is {}.", "Even or odd: {}.", "Its number of words is {}."),
    ),
    _Fact(
        lambda words, word, new: _join([other for other in words if other != word]),
        (
            "Without {word}: {}.", "Leaving out {word}: {}.", "All but {word}: {}.",
            "With {word} deleted: {}.", "With {word} taken out: {}.", "Once {word} is removed: {}.",
            "What is left when {word} goes: {}.", "Minus {word}: {}.", "Dropping {word}: {}.",
        ),
        same_words=False,
    ),
    _Fact(
        lambda words, word, new: _join([new if other == word else other for other in words]),
        (
            "With {new} in place of {word}: {}.", "With {new} for {word}: {}.",
            "{word} replaced by {new}: {}.", "With {new} where {word} stood: {}.",
            "With {word} exchanged for {new}: {}.", "{new} instead of {word}: {}.",
        ),
        same_words=False,
    ),
    _Fact(
        lambda words, word, new: _join(
            [copy for other in words for copy in [other] * (1 + (other == word))]
        ),
        (
            "With {word} twice: {}.", "With {word} doubled: {}.", "With {word} two times: {}.",
            "{word} written twice in a row: {}.", "With {word} repeated where it stands: {}.",
        ),
        same_words=False,
    ),
    _Fact(
        lambda words, word, new: _join([words[-1], *words[1:-1], words[0]]),
        (
            "With both ends swapped: {}.", "With the first and the last word exchanged: {}.",
            "The two outermost words having traded places: {}.",
            "With {first} where {last} was and {last} where {first} was: {}.",
            "The two ends change places: {}.", "First and last word swapped, the middle kept: {}.",
            "Not all is turned around, only the two ends: {}.",
            "With the outermost words exchanged: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _join([words[-1], *words[:-1]]),
        (
            "With the last word moved to the front: {}.", "With {last} put before all others: {}.",
            "With the word from the end at the beginning: {}.",
            "When the last word comes first and the others follow as they are: {}.",
            "{last} moves to the front: {}.", "The word at the end goes to the beginning: {}.",
            "With the last word taken to the front: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _join(_halves(words)),
        (
            "With the halves swapped: {}.", "The second half before the first half: {}.",
            "With the two halves exchanged: {}.", "Second half first: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _join([*words, words[0]]),
        (
            "With the first word repeated at the end: {}.",
            "With the first word again behind the last: {}.",
            "With {first} once more at the end: {}.",
            "The first word is added again at the end: {}.",
            "It begins and ends with {first} now: {}.",
            "A copy of the first word closes the line: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: f"{words[0]} {words[-1]}",
        (
            "Only the first and the last word: {}.", "The two outermost words: {}.",
            "Both ends alone: {}.", "Without all that stands between the ends: {}.",
            "The ends are kept and the middle is left out: {}.", "Nothing but the two ends: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _join(words[1:]),
        (
            "Without the first word: {}.", "What follows the first word: {}.",
            "After the first word: {}.", "With the first word dropped: {}.",
            "All but the word at the beginning: {}.", "With the opening word taken away: {}.",
            "What is left when the first word is deleted: {}.", "The line without {first}: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: ", ".join(words),
        (
            "With commas: {}.", "Separated by commas: {}.",
            "A comma behind each word but the last: {}.",
            "With a comma between any two words: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: " and ".join(words),
        (
            "Joined by and: {}.", "With and between the words: {}.", "With and in between: {}.",
            "Connected by and: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: " ".join(f"{i} {x}" for i, x in enumerate(words, start=1)),
        (
            "Numbered: {}.", "With numbers: {}.", "Each word behind its number: {}.",
            "Counted through from 1: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: " ".join(f"{x} {x}" for x in words),
        (
            "Each word twice: {}.", "Every word doubled: {}.", "With every word written twice: {}.",
            "Each word two times in a row: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _only_animal(words),
        (
            "The only animal is {}.", "The animal in it is {}.", "One word is an animal: {}.",
            "The word that names an animal: {}.", "Among these words, one animal: {}.",
        ),
    ),
    _Fact(
        lambda words, word, new: _animals(words),
        ("Animals: {}.", "How many animals, and which: {}.", "Words that name animals: {}."),
    ),
    _Fact(
        lambda words, word, new: _copies(words),
        ("One word is repeated: {}.", "Not all words differ: {}.", "Twice or more: {}."),
    ),
    _Fact(
        lambda words, word, new: "none" if len(set(words)) == len(words) else None,
        ("Words that occur twice: {}.", "Repeated words: {}."),
    ),
)  # fmt: skip
_OPENINGS = ("{}.", "Line: {}.", "The line {} .", "Words: {}.", "{}:", "A line of words: {}.")


def _halves(words: Words) -> Words:
    half = len(words) // 2
    return [*words[-half:], *words[half : len(words) - half], *words[:half]]


def _say(dice: Dice, fact: _Fact, words: Words) -> str | None:
    if not fact.same_words and len(set(words)) < len(words):
        return None
    word, new = dice.pick(words), dice.pick(WORDS)
    found = fact.find(words, word, new)
    if found is None:
        return None
    return dice.pick(fact.said).format(found, first=words[0], last=words[-1], word=word, new=new)


def _line_document(dice: Dice) -> str:
    words = line(dice, 3, 7)
    if dice.below(4) == 0:  # animals are a small part of all words
        words[dice.below(len(words))] = dice.pick(ANIMALS)
    if dice.below(5) == 0:
        words[dice.below(len(words))] = dice.pick(words)
    said = [_say(dice, fact, words) for fact in dice.sample(_FACTS, dice.between(2, 4))]
    return " ".join([dice.pick(_OPENINGS).format(_join(words)), *filter(None, said)])


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
    return f"{told} {other} took {change} of them out. Now there are {before - change} {thing}."


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
        opening = text.partition(".")[0]
        for pattern in _OPENINGS:
            opening = opening.removeprefix(pattern.partition("{}")[0])
        opening = opening.partition(":")[0].strip()
        if split_of(opening) == split:
            return text


def documents(split: str) -> Rows:
    """Returns the declared documents of a split."""
    return Rows(
        lambda index: {"id": f"{NAME}/{split}/{index}", "text": document(split, index)},
        COUNTS[split],
    )


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
        source=rows_source(documents, {"text": "string"}, COUNTS),
        render=render,
        facts={"version": VERSION, "first": [document("train", i) for i in range(50)]},
        sentinels=True,
    )
