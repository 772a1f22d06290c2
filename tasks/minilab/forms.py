"""Forms of input that several tasks share, so that the input alone does not say what to do."""

from tasks.minilab.lab import Dice
from tasks.minilab.lexicon import COLOURS, NAMES, OBJECTS, WORDS

# A line of words.
LINE_FIELDS = ("text",)
LINE_LAYOUT = "{text}"

# A line of words and one word beside it.
LINE_WORD_FIELDS = ("text", "word")
LINE_WORD_LAYOUT = "{text} / {word}"

# Two lines of words.
TWO_LINES_FIELDS = ("text", "other")
TWO_LINES_LAYOUT = "{text} / {other}"


def line(dice: Dice, low: int = 4, high: int = 6) -> list[str]:
    """Returns the words of a line: `low` to `high` of them, no word twice."""
    return dice.sample(WORDS, dice.between(low, high))


# Facts of a passage.
FACTS = 3


def owners(dice: Dice, count: int = FACTS) -> list[tuple[str, str]]:
    """Returns (name, coloured thing) pairs, no name, object or colour twice."""
    colours, objects = dice.sample(COLOURS, count), dice.sample(OBJECTS, count)
    things = [f"{colour} {thing}" for colour, thing in zip(colours, objects, strict=True)]
    return list(zip(dice.sample(NAMES, count), things, strict=True))


def owner_passage(pairs: list[tuple[str, str]]) -> str:
    """Returns sentences that say who has what."""
    return " ".join([f"{name} has the {thing}." for name, thing in pairs])
