"""Cluster `arithmetic`: small numbers, in a line or in a story, are calculated with or compared.

All numbers are digits from 0 to 99. The tasks on lines share their form and, for a part of their
instances, even the way the numbers are drawn; the tasks on stories differ in nothing but what is
asked.
"""

import re
from collections.abc import Mapping

from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import NAMES

CLUSTER = "arithmetic"
HELDOUT = ("smallest_number", "story_before")
TOP = 99

_NUMBERS = re.compile(r"\d{1,2}(?: \d{1,2})+")


def _falling(dice: Dice, others: int) -> list[int]:
    """Returns a number and `others` more that can all be taken away from it.

    Such a line fits every task on lines: all its numbers together make no more than `TOP`.
    """
    taken = [dice.between(1, 20) for _ in range(others)]
    left = dice.below(min(60, TOP + 1 - 2 * sum(taken)))
    return [sum(taken) + left, *taken]


def _two_or_three(dice: Dice) -> int:
    return 3 if dice.below(5) else 2


def _different(dice: Dice) -> list[int]:
    """Returns three to five different numbers in any order.

    A third of the lines could be ones to add or to subtract but for the order; in the others small
    numbers, or numbers of any size, have to be compared in earnest.
    """
    drawn = dice.below(3)
    while drawn == 0:
        numbers = _falling(dice, 2)
        if len(set(numbers)) == len(numbers):
            return dice.shuffled(numbers)
    return dice.sample(range(1, 21) if drawn == 1 else range(TOP + 1), dice.between(3, 5))


def _line(numbers: list[int], answer: int) -> Fields:
    return {"text": " ".join(map(str, numbers)), "answer": str(answer)}


def _read(fields: Mapping[str, str]) -> list[int]:
    """Returns the numbers of a line; none where it is not a line of numbers."""
    text = fields["text"]
    return [int(number) for number in text.split(" ")] if _NUMBERS.fullmatch(text) else []


def _make_add_numbers(dice: Dice, label: str) -> Fields:
    count = _two_or_three(dice)
    if dice.below(2):
        numbers = _falling(dice, count - 1)
    else:
        numbers = [dice.between(1, 20) for _ in range(count)]
    return _line(numbers, sum(numbers))


def _rule_add_numbers(fields: Mapping[str, str]) -> str:
    total = 0
    for number in _read(fields):
        total += number
    return str(total) if _read(fields) and total <= TOP else ""


ADD_NUMBERS = MiniTask(
    name="add_numbers",
    cluster=CLUSTER,
    kind="generation",
    skills=("number",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_add_numbers,
    rule=_rule_add_numbers,
    definitions=(
        "You are given a line of two or three numbers. Add all of them up and answer with their "
        "sum, in digits.",
        "Put the numbers of the line together: the answer is how much they make in all.",
        "The input is two or three numbers with spaces between them. Calculate the total, and "
        "write nothing but the total.",
        "Answer with the sum of the numbers.",
    ),
    avoid="Do not choose one of the numbers and do not subtract any of them.",
    emphasis="Every number of the line counts, the last one too.",
    templates=ask(
        "Add these numbers.\n\nNumbers: {text}",
        "{text}\n\nWhat is the sum of all these numbers?",
        "Task: add all the numbers\nInput: {text}\nOutput:",
        "How much do the numbers {text} make together?",
        "I have some numbers here: {text}. Please add them all and tell me the total.",
        "Do not take anything away and do not choose one number. Just add them all: {text}",
        "{text}\n\nNot the largest of these numbers, but their sum, please.",
        "Calculate the total of the line below. Answer in digits.\n> {text}",
        "Sum of all: {text} ->",
        "On each day I wrote down how many pages I had read: {text}. How many pages did I read "
        "in all?",
    ),
    new_wordings=ask(
        "I do not want to know which of the numbers {text} is the largest. What do they make "
        "when all of them are added?",
        "All the numbers of this line go into one sum. Please write the result.\n\nLine: {text}",
        "{text}\n\nNothing is to be subtracted here: take all the numbers together and give the "
        "total.",
    ),
    examples=(
        Example({"text": "30 5 2"}, "37", "30 and 5 make 35, and 2 more make 37."),
        Example({"text": "8 14"}, "22", "The line has only two numbers, and 8 plus 14 is 22."),
    ),
    negatives=(
        Example({"text": "30 5 2"}, "35", "The last number, 2, was left out."),
        Example({"text": "30 5 2"}, "23", "5 and 2 were taken away instead of added."),
    ),
)


def _make_subtract_numbers(dice: Dice, label: str) -> Fields:
    first, *others = _falling(dice, _two_or_three(dice) - 1)
    return _line([first, *others], first - sum(others))


def _rule_subtract_numbers(fields: Mapping[str, str]) -> str:
    left, *others = _read(fields) or [-1]
    for number in others:
        left -= number
    return str(left) if left >= 0 else ""


SUBTRACT_NUMBERS = MiniTask(
    name="subtract_numbers",
    cluster=CLUSTER,
    kind="generation",
    skills=("number",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_subtract_numbers,
    rule=_rule_subtract_numbers,
    definitions=(
        "You are given a line of two or three numbers. Take every number after the first away "
        "from the first number, and answer with what is left.",
        "Begin with the first number and subtract all the other numbers of the line from it. The "
        "answer is the result, in digits; it is never below 0.",
        "The first number of the line says how much there is at the start, and each number behind "
        "it says how much is taken away. Answer with what remains.",
        "The first number minus all the others.",
    ),
    avoid="Do not add up the whole line, and do not stop before its last number.",
    emphasis="Every number but the first is taken away, also the third where there is one.",
    templates=ask(
        "Subtract all the other numbers from the first number.\n\nNumbers: {text}",
        "{text}\n\nStart with the first number and take every other number away from it. What is "
        "left?",
        "Task: first number minus all the others\nInput: {text}\nOutput:",
        "Of the numbers {text} the first is what I had, and the others are what I gave away. How "
        "much do I still have?",
        "Please calculate the first number minus the rest of this line: {text}",
        "Do not add all these numbers. Take those after the first away from the first, and write "
        "what remains.\n> {text}",
        "Line: {text}\n\nNot the sum, please: I want the first number less all the numbers that "
        "come after it.",
        "How much is left of the first number when all the others are subtracted from it?\n"
        "Line: {text}\nResult:",
        "First number minus the rest: {text} ->",
        "The first number says how many books there were on a shelf. Each number after it says "
        "how many a visitor took. How many books are left?\n\n> {text}",
    ),
    new_wordings=ask(
        "I am not asking for the sum of {text} here. What is left of the first number after the "
        "others are taken away?",
        "Line: {text}\n\nMake the first number smaller by each of the numbers behind it, and give "
        "the result.",
        "There was as much as the first number says. Then as much as each of the other numbers "
        "says was given away. How much is still there? {text}",
    ),
    examples=(
        Example({"text": "30 5 2"}, "23", "30 minus 5 is 25, and 25 minus 2 is 23."),
        Example({"text": "14 8"}, "6", "Only 8 is taken away from 14."),
    ),
    negatives=(
        Example({"text": "30 5 2"}, "25", "The 2 was not taken away."),
        Example({"text": "30 5 2"}, "37", "That is the sum of the three numbers."),
    ),
)


def _make_largest_number(dice: Dice, label: str) -> Fields:
    numbers = _different(dice)
    return _line(numbers, sorted(numbers)[-1])


def _rule_largest_number(fields: Mapping[str, str]) -> str:
    return str(max(_read(fields), default=""))


LARGEST_NUMBER = MiniTask(
    name="largest_number",
    cluster=CLUSTER,
    kind="generation",
    skills=("number",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_largest_number,
    rule=_rule_largest_number,
    definitions=(
        "You are given a line of three to five different numbers. Answer with the largest of them, "
        "just as it is written.",
        "Find the number of the line that is higher than every other number. There is nothing to "
        "add or to subtract.",
        "Compare the numbers with one another and write down the one that is greater than all the "
        "rest, wherever it stands.",
        "Name the largest number.",
    ),
    avoid="Do not add the numbers up and do not count them.",
    emphasis="The largest number may stand anywhere in the line.",
    templates=ask(
        "Which number is the largest?\n\nNumbers: {text}",
        "{text}\n\nWrite the largest of these numbers.",
        "Task: find the largest number\nInput: {text}\nOutput:",
        "Please compare the numbers {text} and tell me which one is greater than all the others.",
        "I can keep one number only, and it should be the greatest of these: {text}. Which one do "
        "I keep?",
        "Do not add anything. Just copy the largest number of this line.\n> {text}",
        "I do not need the smallest of the numbers {text} but the largest. Which one is it?",
        "Line: {text}\n\nOne number of this line is higher than every other. Answer with that "
        "number.",
        "Largest number: {text} ->",
        "The players got these points: {text}. The one with the most points wins. How many points "
        "does the winner have?",
    ),
    new_wordings=ask(
        "Not the sum of the line, please: give me its greatest number.\n\nLine: {text}",
        "If I put {text} in order, with the smallest number first, which number comes last?",
        "Somebody is looking for the highest of all these numbers. Which one is it?\n> {text}",
    ),
    examples=(
        Example({"text": "17 64 9 46"}, "64", "64 is greater than 17, 9 and 46."),
        Example({"text": "5 30 2"}, "30", "Of 5, 30 and 2, the number 30 is the greatest."),
    ),
    negatives=(
        Example({"text": "17 64 9 46"}, "9", "9 is the smallest number; its digit misleads."),
        Example({"text": "5 30 2"}, "37", "The numbers were added up instead of compared."),
    ),
)


def _make_smallest_number(dice: Dice, label: str) -> Fields:
    numbers = _different(dice)
    return _line(numbers, sorted(numbers)[0])


def _rule_smallest_number(fields: Mapping[str, str]) -> str:
    return str(min(_read(fields), default=""))


SMALLEST_NUMBER = MiniTask(
    name="smallest_number",
    cluster=CLUSTER,
    kind="generation",
    skills=("number",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_smallest_number,
    rule=_rule_smallest_number,
    definitions=(
        "You are given a line of three to five different numbers. Answer with the smallest of "
        "them, just as it is written.",
        "Find the number of the line that is lower than every other number. There is nothing to "
        "add or to subtract.",
        "Compare the numbers with one another and write down the one that is less than all the "
        "rest, wherever it stands.",
        "Name the smallest number.",
    ),
    avoid="Do not answer with the largest number, and do not calculate anything.",
    emphasis="The smallest number may stand anywhere in the line.",
    templates=ask(
        "Which number is the smallest?\n\nNumbers: {text}",
        "{text}\n\nWrite the smallest of these numbers.",
        "Task: find the smallest number\nInput: {text}\nOutput:",
        "Please compare the numbers {text} and tell me which one is less than all the others.",
        "I give away every number but the smallest of these: {text}. Which one do I keep?",
        "Do not subtract anything. Just copy the smallest number of this line.\n> {text}",
        "I do not need the largest of the numbers {text} but the smallest. Which one is it?",
        "Line: {text}\n\nOne number of this line is lower than every other. Answer with that "
        "number.",
        "Smallest number: {text} ->",
        "The runners took so many minutes: {text}. The one with the fewest minutes wins. How many "
        "minutes did the winner take?",
    ),
    examples=(
        Example({"text": "17 64 9 46"}, "9", "9 is less than 17, 64 and 46."),
        Example({"text": "5 30 2"}, "2", "Of 5, 30 and 2, the number 2 is the least."),
    ),
    negatives=(
        Example({"text": "17 64 9 46"}, "17", "9 is still smaller; it has only one digit."),
        Example({"text": "5 30 2"}, "30", "That is the largest number."),
    ),
)


STORY_FIELDS = ("story",)
STORY_LAYOUT = "{story}"

# Things that lie in any of the holders, and only in the plural: stated numbers are 2 or more.
THINGS = (
    "balls", "books", "brushes", "buttons", "candles", "coins", "cookies", "cups", "dolls", "eggs",
    "forks", "gloves", "keys", "lemons", "pencils", "plums", "ribbons", "rings", "rulers",
    "scarves", "shoes", "spoons", "stones", "toys",
)  # fmt: skip
HOLDERS = ("box", "bag", "basket", "bucket")

# What somebody does, and to which.
_DEEDS = {
    "in": ("{b} put {m} {things} into", "{b} added {m} {things} to"),
    "out": ("{b} took {m} {things} out of", "{b} removed {m} {things} from"),
}
# The number before is told first in one half and last in the other, so no number is known by its
# place.
_STORIES = (
    "There were {{n}} {{things}} in the {{holder}}. {} it.",
    "{{a}} had {{n}} {{things}} in the {{holder}}. {} it.",
    "The {{holder}} held {{n}} {{things}}. Then {} it.",
    "{} the {{holder}}. Before that there were {{n}} {{things}} in it.",
    "{} the {{holder}}. {{a}} had {{n}} {{things}} in it before.",
    "{} the {{holder}}. Before that it held {{n}} {{things}}.",
)
_PATTERNS = {
    way: tuple(story.format(deed) for story in _STORIES for deed in deeds)
    for way, deeds in _DEEDS.items()
}


def _story(dice: Dice) -> tuple[str, int, int, int]:
    """Returns a story and how many there were before, were moved, and are there now."""
    way = ("in", "out")[dice.below(2)]
    # Before, moved and now are three different numbers, so that the answer shows which of them was
    # understood to be asked for.
    before = moved = 0
    while before == 2 * moved or moved == 2 * before:
        before, moved = dice.sample(range(2, 21), 2)
    if way == "out" and before < moved:
        before, moved = moved, before
    a, b = dice.sample(NAMES, 2)
    story = dice.pick(_PATTERNS[way]).format(
        a=a, b=b, n=before, m=moved, things=dice.pick(THINGS), holder=dice.pick(HOLDERS)
    )
    return story, before, moved, before + moved if way == "in" else before - moved


def _told(fields: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Reads before, moved and now back out of a story; None where it is no such story."""
    words = fields["story"].split()
    numbers = {
        before: int(word)
        for before, word in zip(words, words[1:], strict=False)
        if word.isdecimal() and word.isascii()
    }
    befores = [n for verb, n in numbers.items() if verb in ("were", "had", "held")]
    changes = [
        n if verb in ("put", "added") else -n
        for verb, n in numbers.items()
        if verb in ("put", "added", "took", "removed")
    ]
    if len(befores) != 1 or len(changes) != 1 or befores[0] + changes[0] < 0:
        return None
    return befores[0], abs(changes[0]), befores[0] + changes[0]


def _make_story_total(dice: Dice, label: str) -> Fields:
    story, _, _, now = _story(dice)
    return {"story": story, "answer": str(now)}


def _rule_story_total(fields: Mapping[str, str]) -> str:
    told = _told(fields)
    return str(told[2]) if told else ""


STORY_TOTAL = MiniTask(
    name="story_total",
    cluster=CLUSTER,
    kind="generation",
    skills=("find", "number"),
    fields=STORY_FIELDS,
    layout=STORY_LAYOUT,
    make=_make_story_total,
    rule=_rule_story_total,
    definitions=(
        "You are given a short story: there are some things in a box, a bag, a basket or a bucket, "
        "and somebody puts some in or takes some out. Answer with how many are in there at the "
        "end, in digits.",
        "Find in the story how many things there were before. Add to it what somebody put in, or "
        "subtract what somebody took out, and answer with the result.",
        "A story tells of things that come or go. Work out the number that is there now, after "
        "what happened; the story may tell it in any order.",
        "How many are there now?",
    ),
    avoid="Do not answer with one of the two numbers of the story.",
    emphasis="See whether things are put in or taken out; only then add or subtract.",
    templates=ask(
        "{story}\n\nHow many are there now?",
        "Read the story and answer the question.\n\nStory: {story}\nQuestion: How many things are "
        "in there at the end?\nAnswer:",
        "Task: number of things at the end\nInput: {story}\nOutput:",
        "I was told this: {story} Please work out how many there are now.",
        "Add what was put in, or subtract what was taken out. How many are in there after that?\n\n"
        "Story: {story}",
        "{story}\n\nI do not ask how many there were before. How many are there at the end?",
        "Not how many somebody moved, but how many are there after it: that is what I want to "
        "know. Story: {story}",
        "Story: {story}\n\nNow somebody counts what is in there. What number do they get?",
        "{story} Number now:",
        "What number of things do we have in there when this story is over?\n> {story}",
    ),
    new_wordings=ask(
        "{story}\n\nWe look in there now. How many do we find? I do not mean how many there were "
        "at the start.",
        "Count the things at the end of the story, when all of it has happened.\nStory: {story}",
        "Here is a story. {story} Not the number that somebody moved, please, but the number that "
        "is there after it.",
    ),
    examples=(
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "11",
            "To the 7 coins in the box, 4 are added, which makes 11.",
        ),
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "9",
            "There were 12 eggs, and 3 of them were taken out, so 9 are left.",
        ),
    ),
    negatives=(
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "15",
            "The eggs were taken out, so 3 has to be subtracted and not added.",
        ),
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "7",
            "That is how many there were before Ben came.",
        ),
    ),
)


def _make_story_change(dice: Dice, label: str) -> Fields:
    story, _, moved, _ = _story(dice)
    return {"story": story, "answer": str(moved)}


def _rule_story_change(fields: Mapping[str, str]) -> str:
    told = _told(fields)
    return str(told[1]) if told else ""


STORY_CHANGE = MiniTask(
    name="story_change",
    cluster=CLUSTER,
    kind="generation",
    skills=("find", "number"),
    fields=STORY_FIELDS,
    layout=STORY_LAYOUT,
    make=_make_story_change,
    rule=_rule_story_change,
    definitions=(
        "You are given a short story: there are some things in a box, a bag, a basket or a bucket, "
        "and somebody puts some in or takes some out. Answer with how many were put in or taken "
        "out, in digits.",
        "By how many does the number of things in the story change? Answer with that number, "
        "whether things come or go.",
        "Find the sentence in which somebody moves things, and write how many are moved. It may "
        "be the first or the second sentence.",
        "How many were put in or taken out?",
    ),
    avoid="Do not answer with the number of things before or after the change.",
    emphasis="The number is written without a sign, also where things are taken out.",
    templates=ask(
        "{story}\n\nHow many were put in or taken out?",
        "Read the story and answer the question.\n\nStory: {story}\nQuestion: By how many did the "
        "number change?\nAnswer:",
        "Task: number of things that somebody moved\nInput: {story}\nOutput:",
        "I was told this: {story} Please say how many things were put in or taken out.",
        "Somebody moved things in this story. How many did they move?\n\nStory: {story}",
        "{story}\n\nI do not ask how many there are now. By how many did the number go up or down?",
        "Not how many there were before, but how many came in or went out: that is what I want to "
        "know.\n> {story}",
        "Story: {story}\n\nHow large is the change? Answer in digits.",
        "{story} Number moved:",
        "How many more or how many fewer are in there now than before?\nStory: {story}",
    ),
    new_wordings=ask(
        "{story}\n\nCompare how many there were before with how many there are now. What is the "
        "difference between the two?",
        "Do not work out the total. I only want to know how many things somebody moved in or out. "
        "Story: {story}",
        "From the number at the start to the number at the end: how large is that step?\n> {story}",
    ),
    examples=(
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "4",
            "Ben puts in 4 coins, so the number grows by 4.",
        ),
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "3",
            "Ben takes out 3 eggs; the 12 were there before.",
        ),
    ),
    negatives=(
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "11",
            "That is how many coins are in the box now, not how many were put in.",
        ),
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "12",
            "That is how many eggs there were before, not how many were taken out.",
        ),
    ),
)


def _make_story_before(dice: Dice, label: str) -> Fields:
    story, before, _, _ = _story(dice)
    return {"story": story, "answer": str(before)}


def _rule_story_before(fields: Mapping[str, str]) -> str:
    told = _told(fields)
    return str(told[0]) if told else ""


STORY_BEFORE = MiniTask(
    name="story_before",
    cluster=CLUSTER,
    kind="generation",
    skills=("find", "number"),
    fields=STORY_FIELDS,
    layout=STORY_LAYOUT,
    make=_make_story_before,
    rule=_rule_story_before,
    definitions=(
        "You are given a short story: there are some things in a box, a bag, a basket or a bucket, "
        "and somebody puts some in or takes some out. Answer with how many were in there before "
        "that, in digits.",
        "Find in the story how many things there were at the beginning, and answer with that "
        "number. What somebody does later does not count.",
        "A story tells of things that come or go. Write the number that was there before any of "
        "them came or went.",
        "How many were there before?",
    ),
    avoid="Do not answer with the number of things that are moved, and do not calculate anything.",
    emphasis="What was there at the beginning may be told in the first or in the second sentence.",
    templates=ask(
        "{story}\n\nHow many were there before?",
        "Read the story and answer the question.\n\nStory: {story}\nQuestion: How many things were "
        "in there at the start?\nAnswer:",
        "Task: number of things at the start\nInput: {story}\nOutput:",
        "I was told this: {story} Please say how many there were before anything was moved.",
        "Somebody moved things in this story. How many were in there before that?\n\n"
        "Story: {story}",
        "{story}\n\nI do not ask how many there are now. How many were there at the start?",
        "Not how many somebody moved, but how many were there before it: that is what I want to "
        "know. Story: {story}",
        "Story: {story}\n\nSay what number of things there was before the number changed. Answer "
        "in digits.",
        "{story} Number before:",
        "With how many things in there does all of this begin?\n> {story}",
    ),
    examples=(
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "7",
            "Before Ben came, Anna had 7 coins in the box.",
        ),
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "12",
            "The second sentence says that there were 12 eggs before.",
        ),
    ),
    negatives=(
        Example(
            {"story": "Anna had 7 coins in the box. Ben put 4 coins into it."},
            "11",
            "That is how many coins are in the box now.",
        ),
        Example(
            {"story": "Ben took 3 eggs out of the bag. Before that there were 12 eggs in it."},
            "3",
            "That is how many eggs were taken out.",
        ),
    ),
)

TASKS = (
    ADD_NUMBERS,
    SUBTRACT_NUMBERS,
    LARGEST_NUMBER,
    SMALLEST_NUMBER,
    STORY_TOTAL,
    STORY_CHANGE,
    STORY_BEFORE,
)
