"""Cluster `selection`: one word of a line is picked out. A held-out cluster."""

from collections.abc import Mapping

from flan_jax.instructions.templates import Template
from tasks.minilab.lab import Dice, Example, Fields, MiniTask
from tasks.minilab.lexicon import WORDS

CLUSTER = "selection"

# The longest word is longer than the others by two letters or more.
_LONG = tuple(word for word in WORDS if len(word) >= 7)
_SHORT = tuple(word for word in WORDS if len(word) <= 5)


def _make_first_word(dice: Dice, label: str) -> Fields:
    words = dice.sample(WORDS, dice.between(4, 6))
    return {"text": " ".join(words), "answer": words[0]}


def _rule_first_word(fields: Mapping[str, str]) -> str:
    return fields["text"].partition(" ")[0]


FIRST_WORD = MiniTask(
    name="first_word",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_first_word,
    rule=_rule_first_word,
    definitions=(
        "You are given a line of words. Answer with its first word and nothing else.",
        "Write the word that the line begins with.",
        "Only the opening word of the line is wanted. All the words behind it are left out.",
        "Pick out the word at the very beginning of the given line.",
        "Give the first word.",
    ),
    templates=(
        Template("What is the first word of this line?\n\nLine: {text}", "{answer}"),
        Template("Line: {text}\n\nWrite only the word at the beginning:", "{answer}"),
        Template("{text}\n\nWith which word does the line begin?", "{answer}"),
        Template("Keep only the first word: {text}", "{answer}"),
        Template("Input: {text}\nSelect: first word\nOutput:", "{answer}"),
        Template(
            "Please read / {text} / and tell me the opening word, nothing else.",
            "{answer}",
        ),
        Template(
            "I need just one of these words, the one that comes before all the others: {text}",
            "{answer}",
        ),
        Template("Which word stands at the front of the words below?\n> {text}", "{answer}"),
        Template(
            "Throw away every word except the first one and write what is left.\n\nLine: {text}",
            "{answer}",
        ),
        Template("First word only. {text} ->", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk",
            "The line begins with milk.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north",
            "north comes before the other four words.",
        ),
    ),
)


def _make_last_word(dice: Dice, label: str) -> Fields:
    words = dice.sample(WORDS, dice.between(4, 6))
    return {"text": " ".join(words), "answer": words[-1]}


def _rule_last_word(fields: Mapping[str, str]) -> str:
    return fields["text"].rpartition(" ")[2]


LAST_WORD = MiniTask(
    name="last_word",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_last_word,
    rule=_rule_last_word,
    definitions=(
        "You are given a line of words. Answer with its last word and nothing else.",
        "Write the word that the line ends with.",
        "Only the closing word of the line is wanted. All the words before it are left out.",
        "Pick out the word at the very end of the given line.",
        "Give the last word.",
    ),
    templates=(
        Template("What is the last word of this line?\n\nLine: {text}", "{answer}"),
        Template("Line: {text}\n\nWrite only the word at the end:", "{answer}"),
        Template("{text}\n\nWith which word does the line end?", "{answer}"),
        Template("Keep only the last word: {text}", "{answer}"),
        Template("Input: {text}\nSelect: last word\nOutput:", "{answer}"),
        Template(
            "Please read / {text} / and tell me the closing word, nothing else.",
            "{answer}",
        ),
        Template(
            "I need just one of these words, the one that comes after all the others: {text}",
            "{answer}",
        ),
        Template("Which word stands behind all the rest in the line below?\n> {text}", "{answer}"),
        Template(
            "Throw away every word except the final one and write what is left.\n\nLine: {text}",
            "{answer}",
        ),
        Template("Last word only. {text} ->", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet",
            "The line ends with violet.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "kitten",
            "kitten comes after the other four words.",
        ),
    ),
)


def _make_longest_word(dice: Dice, label: str) -> Fields:
    longest = dice.pick(_LONG)
    words = [longest, *dice.sample(_SHORT, dice.between(3, 4))]
    return {"text": " ".join(dice.shuffled(words)), "answer": longest}


def _rule_longest_word(fields: Mapping[str, str]) -> str:
    return max(fields["text"].split(), key=len)


LONGEST_WORD = MiniTask(
    name="longest_word",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_longest_word,
    rule=_rule_longest_word,
    definitions=(
        "You are given a line of words, one of which has more letters than any other. Answer "
        "with that word.",
        "Find the longest word of the line and write it down.",
        "Compare the words of the line by their number of letters. The output is the word that "
        "has the most.",
        "Pick out the word that takes more letters to spell than each of the others.",
        "Give the longest word.",
    ),
    templates=(
        Template("What is the longest word of this line?\n\nLine: {text}", "{answer}"),
        Template("Line: {text}\n\nWrite only the word with the most letters:", "{answer}"),
        Template("{text}\n\nOne of these words is longer than the others. Which?", "{answer}"),
        Template("Keep only the longest word: {text}", "{answer}"),
        Template("Input: {text}\nSelect: longest word\nOutput:", "{answer}"),
        Template(
            "Please compare the words in / {text} / and tell me the longest, nothing else.",
            "{answer}",
        ),
        Template(
            "I am paid by the letter. Which of these words should I choose? {text}",
            "{answer}",
        ),
        Template("Count the letters of each word below and name the winner.\n> {text}", "{answer}"),
        Template(
            "Throw away the short words and write the one long word that is left.\n\nLine: {text}",
            "{answer}",
        ),
        Template("Longest word only. {text} ->", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa envelope cat"},
            "envelope",
            "envelope has eight letters; the others have four at most.",
        ),
        Example(
            {"text": "kitchen north zero bus"},
            "kitchen",
            "With seven letters kitchen is the longest.",
        ),
    ),
)

TASKS = (FIRST_WORD, LAST_WORD, LONGEST_WORD)
