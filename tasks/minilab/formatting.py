"""Cluster `formatting`: the words of a line stay in order, and are written in a stated form.

All tasks draw their line alike, so that only the instruction says what comes between the words.
Joining with "or" is held out, and nothing in the other tasks asks for it: it takes what joining
with "and" teaches, and another word.
"""

from collections.abc import Mapping

from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned

CLUSTER = "formatting"
HELDOUT = ("join_with_or",)


def _row(words: list[str], answer: str) -> Fields:
    return {"text": " ".join(words), "answer": answer}


def _make_separate_by_commas(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, ", ".join(words))


def _rule_separate_by_commas(fields: Mapping[str, str]) -> str:
    return fields["text"].replace(" ", ", ")


SEPARATE_BY_COMMAS = MiniTask(
    name="separate_by_commas",
    cluster=CLUSTER,
    kind="generation",
    skills=("format",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_separate_by_commas,
    rule=_rule_separate_by_commas,
    definitions=(
        "You are given a line of words. Write the same words in the same order, with a comma and "
        "a space between each word and the next. There is no comma at the end.",
        "Separate the words of the line by commas. Each comma stands directly behind a word and "
        "is followed by one space; the last word has no comma.",
        "Copy the line and add a comma to every word except the last one. One space comes after "
        "each comma.",
        "Turn the line into a list on one line: the words keep their order, and a comma and a "
        "space divide them.",
        "Put a comma and a space between the words.",
    ),
    avoid="Do not put a comma behind the last word, and do not join the words by another word.",
    emphasis="Each comma is followed by one space, and no space comes before it.",
    templates=(
        *ask(
            "Write the words of this line with a comma and a space between them.\n\nLine: {text}",
            "Line: {text}\n\nAdd a comma to every word except the last, with one space after each "
            "comma:",
            "{text}\n\nSeparate these words by commas. Put one space after each comma and no comma "
            "at the end.",
            "Input: {text}\nForm: a comma and a space between words\nOutput:",
            "Please copy / {text} / and put a comma and a space wherever one word ends and the "
            "next begins.",
            "Do not join these words with the word and. Put a comma and a space between them.\n"
            "Line: {text}",
            "How does the line below look when a comma and a space, and not just a space, stand "
            "between its words?\n> {text}",
            "I wrote / {text} / and forgot the commas. One belongs behind each word but the last, "
            "with a space after it. What should I have written?",
            "Comma and space between words, no comma at the end. {text} ->",
        ),
        turned("{answer}\n\nTake out all the commas and leave one space between words.", "{text}"),
    ),
    new_wordings=ask(
        "Make a list with commas out of this line. A space follows each comma, and nothing "
        "follows the last word.\n> {text}",
        "Between one word and the next, a space alone is too little: I want a comma, then a "
        "space.\nLine: {text}",
        "{text}\n\nNo numbers, please, and no word twice: only commas between the words, each "
        "with a space behind it.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk, sofa, engine, violet",
            "A comma and a space stand between the words; violet, the last one, has no comma.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north, pizza, cabin, zero, kitten",
            "Five words need four commas, each followed by a space.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk, sofa, engine, violet,",
            "Commas belong between words only, so there is none at the end.",
        ),
    ),
)


def _make_join_with_and(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, " and ".join(words))


def _rule_join_with_and(fields: Mapping[str, str]) -> str:
    return fields["text"].replace(" ", " and ")


JOIN_WITH_AND = MiniTask(
    name="join_with_and",
    cluster=CLUSTER,
    kind="generation",
    skills=("format",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_join_with_and,
    rule=_rule_join_with_and,
    definitions=(
        "You are given a line of words. Write the same words in the same order, with the word and "
        "between each word and the next. Use single spaces and no commas.",
        "Join all the words of the line with the word and. It stands in every gap between two "
        "words, with one space on each side; there are no other signs.",
        "Copy the line, and after every word except the last one write the word and. Only spaces "
        "separate what you write.",
        "Turn the line into one long chain in which the word and links each word to the one "
        "after it. Write no commas.",
        "Put the word and between all words, without commas.",
    ),
    avoid="Do not write any comma, and do not begin or end with the word and.",
    emphasis="The word and stands in every gap, not only before the last word.",
    templates=(
        *ask(
            "Write the words of this line with the word and between them all. Use no commas."
            "\n\nLine: {text}",
            "Line: {text}\n\nAfter every word except the last, add the word and. Only spaces, no "
            "commas:",
            "{text}\n\nJoin all these words with the word and. Put one space on each side of it.",
            "Input: {text}\nForm: the word and between words, no commas\nOutput:",
            "Please copy / {text} / and write the word and wherever one word ends and the next "
            "begins. Leave out commas.",
            "Do not separate these words by commas. Put the word and in each gap between two "
            "words.\nLine: {text}",
            "How does the line below read when the word and, and no comma, joins each word to the "
            "next?\n> {text}",
            "A child tells me what is in a box and says the word and before everything but the "
            "first thing. The box holds: {text}. What do I hear? Write no commas.",
            "The word and between all words, no commas. {text} ->",
        ),
        turned(
            "{answer}\n\nTake out the word and everywhere. Leave one space between the other "
            "words.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Make one long chain of this line: each word is followed by the word and, but the last "
        "word is not. No commas.\n> {text}",
        "In every gap of this line, a space alone is too little: I want the word and there, with "
        "a space on both sides.\nLine: {text}",
        "{text}\n\nNo commas and no numbers, please. What I want between each word and the next "
        "is only the word and.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk and sofa and engine and violet",
            "The word and stands in each of the three gaps.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north and pizza and cabin and zero and kitten",
            "Five words have four gaps, and there is no comma in any of them.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk, sofa, engine and violet",
            "The word and belongs in every gap, and commas are not wanted.",
        ),
    ),
)


def _make_number_words(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, " ".join([f"{at} {word}" for at, word in enumerate(words, 1)]))


def _rule_number_words(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    # Numbers take the even places and words the odd ones.
    numbered = [""] * (2 * len(words))
    numbered[::2], numbered[1::2] = map(str, range(1, len(words) + 1)), words
    return " ".join(numbered)


NUMBER_WORDS = MiniTask(
    name="number_words",
    cluster=CLUSTER,
    kind="generation",
    skills=("format", "count"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_number_words,
    rule=_rule_number_words,
    definitions=(
        "You are given a line of words. Write each word with its number in front of it, beginning "
        "with 1 for the first word. Numbers are digits, and all is separated by single spaces.",
        "Number the words of the line. Before the first word comes 1, before the second word 2, "
        "and so on, with a space after each number and no dots, brackets and commas.",
        "Copy the line, but before each word write in digits which place it has, counted from 1. "
        "Only single spaces separate the numbers and the words.",
        "Count the words of the line aloud, starting at 1: say a number, then its word, until the "
        "line ends. Write this down in digits and words, with spaces and no other signs.",
        "Put 1, 2, 3 and so on before the words, with single spaces only.",
    ),
    avoid="Write no dots, brackets and commas, and do not put a number behind its word.",
    emphasis="The first number is 1 and each word gets its own number, also the last one.",
    templates=(
        *ask(
            "Number the words of this line from 1. Put each number before its word, with single "
            "spaces and no other signs.\n\nLine: {text}",
            "Line: {text}\n\nWrite 1 and the first word, 2 and the second word, and so on, with "
            "only spaces between:",
            "{text}\n\nPut a number in front of each of these words, starting with 1. Use a space "
            "after each number, without dots and commas.",
            "Input: {text}\nForm: number, space, word, from 1 to the end\nOutput:",
            "Please copy / {text} / and write its place, counted from 1 in digits, before every "
            "word. Single spaces, no dots.",
            "Do not tell me how many words this line has. Write a number before each word: 1, then "
            "2, and so on, with only single spaces.\nLine: {text}",
            "How does the line below look when every word has its number, counted from 1, in front "
            "of it and not behind it? Use just spaces.\n> {text}",
            "I count my things aloud and say each number before its thing, from 1 on. The things: "
            "{text}. Write what I say, in digits and words, with single spaces.",
            "Numbers before words, from 1, spaces only. {text} ->",
        ),
        turned("{answer}\n\nTake out all the numbers and keep only the words.", "{text}"),
    ),
    new_wordings=ask(
        "Which number does each word of this line get when you count from 1? Write number, word, "
        "number, word to the end, with single spaces.\n> {text}",
        "In front of every word I want to see the digits of its place. The first word gets 1. Use "
        "spaces and no dots.\nLine: {text}",
        "{text}\n\nNo commas between the words, please, and not the word and: a number before "
        "each word, beginning with 1, with just spaces.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "1 milk 2 sofa 3 engine 4 violet",
            "Each of the four words has its number in front of it, with single spaces.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "1 north 2 pizza 3 cabin 4 zero 5 kitten",
            "The numbers go from 1 to 5, since the line has five words.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk 1 sofa 2 engine 3 violet 4",
            "A number comes before its word, not behind it.",
        ),
    ),
)


def _make_double_each(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, " ".join([f"{word} {word}" for word in words]))


def _rule_double_each(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    doubled = words * 2
    doubled[::2] = doubled[1::2] = words
    return " ".join(doubled)


DOUBLE_EACH = MiniTask(
    name="double_each",
    cluster=CLUSTER,
    kind="generation",
    skills=("format",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_double_each,
    rule=_rule_double_each,
    definitions=(
        "You are given a line of words. Write every word twice in a row, the words in their "
        "order, with single spaces and no other signs.",
        "Copy the line, but say each word two times before you go on to the next one. Only single "
        "spaces separate the words.",
        "Double all the words of the line: directly behind each word stands a copy of it. Put one "
        "space between words and no commas.",
        "In this task a line becomes twice as long, because each of its words is followed by "
        "itself. Spaces separate the words, and nothing else does.",
        "Write each word twice in a row, with single spaces.",
    ),
    avoid="Do not write the whole line and then the whole line again, and put in no commas.",
    emphasis="The two copies of a word stand side by side; the last word is doubled too.",
    templates=(
        *ask(
            "Write every word of this line twice in a row, with single spaces.\n\nLine: {text}",
            "Line: {text}\n\nPut a copy directly behind each word, with only spaces between:",
            "{text}\n\nDouble each of these words: say it, say it again, then go on to the next. "
            "Use single spaces and no commas.",
            "Input: {text}\nForm: each word two times in a row, single spaces\nOutput:",
            "Please copy / {text} /, but write each word two times before you go on. One space "
            "between words, no other signs.",
            "Do not copy the whole line and then begin again. Repeat each word at once, right "
            "behind itself, with single spaces.\nLine: {text}",
            "How does the line below read when not just one word but every word is followed by "
            "itself? Use only single spaces.\n> {text}",
            "My radio says each word two times before the next one comes. Somebody reads: {text}. "
            "What do I hear? Put one space between words.",
            "Each word twice in a row, single spaces. {text} ->",
        ),
        turned(
            "{answer}\n\nEvery word stands here two times in a row. Write each of them only once.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "What do you get if each word of this line comes with a second one just like it, side by "
        "side? Only single spaces between words.\n> {text}",
        "Once is too little: every word of the line, from the first to the last, is wanted two "
        "times in a row. Single spaces, please.\nLine: {text}",
        "{text}\n\nNo numbers and no commas, please. Before you go on to the next word, repeat the "
        "one you wrote, with a space between.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk milk sofa sofa engine engine violet violet",
            "Each word is followed by a copy of itself before the next word comes.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north north pizza pizza cabin cabin zero zero kitten kitten",
            "All five words are doubled, so the answer has ten words.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk sofa engine violet milk sofa engine violet",
            "The line as a whole was repeated and not each word where it stands.",
        ),
    ),
)


def _make_join_with_or(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, " or ".join(words))


def _rule_join_with_or(fields: Mapping[str, str]) -> str:
    return fields["text"].replace(" ", " or ")


JOIN_WITH_OR = MiniTask(
    name="join_with_or",
    cluster=CLUSTER,
    kind="generation",
    skills=("format",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_join_with_or,
    rule=_rule_join_with_or,
    definitions=(
        "You are given a line of words. Write the same words in the same order, with the word or "
        "between each word and the next. Use single spaces and no commas.",
        "Join all the words of the line with the word or. It stands in every gap between two "
        "words, with one space on each side; there are no other signs.",
        "Copy the line, and after every word except the last one write the word or. Only spaces "
        "separate what you write.",
        "Turn the line into one long choice in which the word or links each word to the one "
        "after it. Write no commas.",
        "Put the word or between all words, without commas.",
    ),
    avoid="Do not write any comma, and do not begin or end with the word or.",
    emphasis="The word or stands in every gap, not only before the last word.",
    templates=ask(
        "Write the words of this line with the word or between them all. Use no commas."
        "\n\nLine: {text}",
        "Line: {text}\n\nAfter every word except the last, add the word or. Only spaces, no "
        "commas:",
        "{text}\n\nJoin all these words with the word or. Put one space on each side of it.",
        "Input: {text}\nForm: the word or between words, no commas\nOutput:",
        "Please copy / {text} / and write the word or wherever one word ends and the next begins. "
        "Leave out commas.",
        "Do not put the word and between these words. Put the word or in each gap, without "
        "commas.\nLine: {text}",
        "How does the line below read when the word or, and no comma, joins each word to the "
        "next?\n> {text}",
        "I may take one of these things: {text}. Offer them all to me on one line, with the word "
        "or before everything but the first thing, and write no commas.",
        "No commas and no numbers, please: the word or is what I want between each word and the "
        "next of / {text} /.",
        "The word or between all words, no commas. {text} ->",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk or sofa or engine or violet",
            "The word or stands in each of the three gaps.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north or pizza or cabin or zero or kitten",
            "Five words have four gaps, and there is no comma in any of them.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk, sofa, engine or violet",
            "The word or belongs in every gap, and commas are not wanted.",
        ),
    ),
)

TASKS = (SEPARATE_BY_COMMAS, JOIN_WITH_AND, NUMBER_WORDS, DOUBLE_EACH, JOIN_WITH_OR)
