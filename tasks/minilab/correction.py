"""Cluster `correction`: a text has one mistake and is written without it. A held-out cluster.

Every mistake is about something that other clusters train on: a repetition, a sum, the alphabet, a
fact. What is new is that it has to be found and put right.
"""

import re
from collections.abc import Mapping

from tasks.minilab.forms import FACTS, LINE_FIELDS, LINE_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import COLOURS, NAMES, OBJECTS, WORDS

CLUSTER = "correction"
HELDOUT_CLUSTER = True

_LINE = re.compile(r"[a-z]+(?: [a-z]+)+")


def _make_fix_double(dice: Dice, label: str) -> Fields:
    words = line(dice, 3, 5)
    place = dice.below(len(words))
    shown = [*words[:place], words[place], *words[place:]]
    return {"text": " ".join(shown), "answer": " ".join(words)}


def _rule_fix_double(fields: Mapping[str, str]) -> str:
    if not _LINE.fullmatch(fields["text"]):
        return ""
    words = fields["text"].split(" ")
    kept = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    return " ".join(kept) if len(kept) == len(words) - 1 else ""


FIX_DOUBLE = MiniTask(
    name="fix_double",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit", "match"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_fix_double,
    rule=_rule_fix_double,
    definitions=(
        "You are given a line in which one word stands twice in a row by mistake. Write the line "
        "with this word only once, and keep all the other words as they are.",
        "Find the two equal words that stand side by side, delete one of them, and write the line "
        "that is left.",
        "Somebody wrote a word and then the same word again. Correct the line: no word is to "
        "follow itself, and no other word changes.",
        "Write the doubled word only once.",
    ),
    avoid="Do not leave the doubled word out altogether, and do not change the order of the words.",
    emphasis="The answer is the whole line, with one word less than before.",
    templates=ask(
        "One word of this line stands twice in a row by mistake. Write the line correctly, with "
        "that word once.\n\nLine: {text}",
        "{text}\n\nA word stands here twice, one right after the other. Leave out one of the two "
        "and keep everything else.",
        "Task: write the doubled word only once\nInput: {text}\nOutput:",
        "Please correct the line / {text} / so that no word is followed by the same word again.",
        "I wrote / {text} / too fast, and one word got in there two times. What did I want to "
        "write?",
        "How should this line read, with each word only once?\n> {text}",
        "Line: {text}\n\nFind the two equal words side by side and delete one of them, not both.",
        "Do not take the repeated word away altogether: it should stay once.\n\nLine: {text}\n"
        "Correct line:",
        "No word twice: {text} ->",
        "Copy this line, but where a word comes again right after itself, write it only once: "
        "{text}",
    ),
    examples=(
        Example(
            {"text": "milk sofa sofa engine violet"},
            "milk sofa engine violet",
            "sofa stands twice in a row, so one of the two is deleted.",
        ),
        Example(
            {"text": "north pizza cabin kitten kitten"},
            "north pizza cabin kitten",
            "The line ends with kitten twice; once is enough.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa sofa engine violet"},
            "milk engine violet",
            "sofa is gone altogether, but it should stay once.",
        ),
    ),
)


# The mistake is this large at most, so that the wrong result looks like a right one.
_OFF = 10
_SUM = re.compile(r"(\d{1,2}) \+ (\d{1,2}) = (\d{1,2})")


def _make_fix_sum(dice: Dice, label: str) -> Fields:
    a, b = dice.between(1, 40), dice.between(1, 40)
    right = a + b
    wrong = dice.between(max(0, right - _OFF), right + _OFF - 1)
    if wrong >= right:
        wrong += 1
    return {"text": f"{a} + {b} = {wrong}", "answer": f"{a} + {b} = {right}"}


def _rule_fix_sum(fields: Mapping[str, str]) -> str:
    if not _SUM.fullmatch(fields["text"]):
        return ""
    a, plus, b, equals, result = fields["text"].split(" ")
    right = str(int(a) + int(b))
    return " ".join((a, plus, b, equals, right)) if result != right and len(right) < 3 else ""


FIX_SUM = MiniTask(
    name="fix_sum",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit", "number"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_fix_sum,
    rule=_rule_fix_sum,
    definitions=(
        "You are given a sum with a wrong result. Write the whole sum again in the same form, with "
        "the right result after the equals sign.",
        "Two numbers are added, but what comes out is not right. Keep the two numbers, calculate "
        "how much they really make, and write the sum correctly.",
        "Somebody added two numbers and made a mistake. Correct it: only the last number may "
        "change, all the rest is copied.",
        "Write the sum with the right result.",
    ),
    avoid="Do not change the two numbers that are added, and do not answer with the result alone.",
    emphasis="The result is always wrong, even where it is wrong by only 1.",
    templates=ask(
        "This sum has a wrong result. Write the whole sum with the right one.\n\nSum: {text}",
        "{text}\n\nThat is not right. Keep the two numbers that are added and correct the result; "
        "write the whole sum.",
        "Task: write the sum again with the right result\nInput: {text}\nOutput:",
        "A child wrote {text} and that is wrong. Please write how the whole line should read, with "
        "another number at the end.",
        "The last number here is a mistake: {text}. Write the whole line again, corrected.",
        "What should this line be, from the first number to the right result?\n> {text}",
        "Do not write the result alone, but all of the sum, and make its last number right.\n\n"
        "Sum: {text}",
        "Line: {text}\n\nAdd the first two numbers yourself, then copy the line with your total in "
        "place of the wrong one.",
        "Whole sum with the right total: {text} ->",
        "Check the total of {text}. It is wrong, so change it, leave the rest as it is, and write "
        "the line.",
    ),
    examples=(
        Example({"text": "7 + 5 = 13"}, "7 + 5 = 12", "7 and 5 make 12, not 13."),
        Example({"text": "30 + 4 = 24"}, "30 + 4 = 34", "30 and 4 make 34, so 24 is wrong by ten."),
    ),
    negatives=(
        Example({"text": "7 + 5 = 13"}, "8 + 5 = 13", "The sum is right, but 7 was changed."),
        Example({"text": "7 + 5 = 13"}, "12", "The rest of the sum is missing."),
    ),
)


_BY_LETTER = {
    letter: tuple(word for word in WORDS if word[0] == letter)
    for letter in sorted({word[0] for word in WORDS})
}
_LETTERS = tuple(_BY_LETTER)


def _make_fix_order(dice: Dice, label: str) -> Fields:
    letters = sorted(dice.sample(_LETTERS, dice.between(4, 6)))
    words = [dice.pick(_BY_LETTER[letter]) for letter in letters]
    place = dice.below(len(words) - 1)
    shown = [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
    return {"text": " ".join(shown), "answer": " ".join(words)}


def _rule_fix_order(fields: Mapping[str, str]) -> str:
    if not _LINE.fullmatch(fields["text"]):
        return ""
    words = fields["text"].split(" ")
    falls = [i for i in range(len(words) - 1) if words[i] > words[i + 1]]
    if len(falls) != 1:
        return ""
    i = falls[0]
    words[i], words[i + 1] = words[i + 1], words[i]
    # Sorted by now, unless more than two neighbours were out of place.
    return " ".join(words) if all(map(str.__le__, words, words[1:])) else ""


FIX_ORDER = MiniTask(
    name="fix_order",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit", "order", "spelling"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_fix_order,
    rule=_rule_fix_order,
    definitions=(
        "You are given a line of words in alphabetical order, but two words side by side have been "
        "swapped. Swap them back and write the whole line.",
        "The words of the line should be sorted by their first letters, from A to Z. Two "
        "neighbours are in the wrong order: put them right and leave the others where they are.",
        "Somebody sorted the words of a line alphabetically and made a mistake with two words that "
        "stand next to each other. Write the line as it should be.",
        "Put the two words that are out of alphabetical order right.",
    ),
    avoid="Do not leave a word out, and do not move any words but the two.",
    emphasis="The answer is the whole line, and its words are in alphabetical order.",
    templates=ask(
        "This line should be in alphabetical order, but two neighbours are swapped. Write the line "
        "correctly.\n\nLine: {text}",
        "{text}\n\nTwo words side by side are not in the order of the alphabet. Let them trade "
        "places and write the whole line.",
        "Task: swap back the two words that are out of alphabetical order\nInput: {text}\nOutput:",
        "Please correct the line / {text} / so that all its words are in order from A to Z.",
        "I sorted these words by the alphabet, but two of them got mixed up: {text}. What is the "
        "right line?",
        "How should this line read, with its words sorted by their first letters?\n> {text}",
        "Line: {text}\n\nFind the word that comes too early in the alphabetical line, move it "
        "behind the next word, and write all the words.",
        "Do not turn the whole line around. Only two neighbours must be swapped to put it in "
        "alphabetical order.\n\nLine: {text}\nCorrect line:",
        "All words from A to Z, with the one mistake corrected: {text} ->",
        "A school has a line of words that goes from A to Z, and somebody has swapped two words "
        "that stand together. Write the line as it was before: {text}",
    ),
    examples=(
        Example(
            {"text": "cabin kitten engine sofa"},
            "cabin engine kitten sofa",
            "engine begins with e and comes before kitten with k, so the two are swapped.",
        ),
        Example(
            {"text": "milk apple north pizza zero"},
            "apple milk north pizza zero",
            "milk and apple, at the beginning, were in the wrong order.",
        ),
    ),
    negatives=(
        Example(
            {"text": "cabin kitten engine sofa"},
            "sofa engine kitten cabin",
            "The whole line was turned around; only kitten and engine had to be swapped.",
        ),
        Example(
            {"text": "milk apple north pizza zero"},
            "apple milk",
            "The words that were right have to be written as well.",
        ),
    ),
)


def _make_fix_fact(dice: Dice, label: str) -> Fields:
    names, colours, objects = (dice.sample(x, FACTS) for x in (NAMES, COLOURS, OBJECTS))
    facts = [
        f"{name} has the {colour} {thing}."
        for name, colour, thing in zip(names, colours, objects, strict=True)
    ]
    right, other = dice.sample(range(FACTS), 2)
    # Colour and thing are wrong, or only one of the two is; what is wrong belongs to another.
    place = dice.below(3)
    colour = colours[right if place == 1 else other]
    thing = objects[right if place == 2 else other]
    return {
        "text": " ".join(facts),
        "fact": f"{names[right]} has the {colour} {thing}.",
        "answer": facts[right],
    }


_FACT = re.compile(r"(\w+) has the (\w+ \w+)\.")


def _rule_fix_fact(fields: Mapping[str, str]) -> str:
    claim = _FACT.fullmatch(fields["fact"])
    things = dict(_FACT.findall(fields["text"]))
    if claim is None or things.get(claim[1], claim[2]) == claim[2]:
        return ""
    return f"{claim[1]} has the {things[claim[1]]}."


FIX_FACT = MiniTask(
    name="fix_fact",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit", "find"),
    fields=("text", "fact"),
    layout="{text} / {fact}",
    make=_make_fix_fact,
    rule=_rule_fix_fact,
    definitions=(
        "You are given a text that says who has what, and a sentence about one of the people that "
        "does not agree with it. Write the sentence about the same person as it should be.",
        "Compare the sentence with the text. The person stays, but what he or she has is wrong: "
        "correct it and write the whole sentence.",
        "A sentence gives somebody the wrong thing. Find in the text what this person really has, "
        "and answer with the right sentence, full stop included.",
        "Correct the sentence so that it says of the same person what the text says.",
    ),
    avoid="Do not change the name in the sentence, and do not write about any other person.",
    emphasis="The colour, the thing or both can be wrong; the name never is.",
    templates=ask(
        "Text: {text}\nSentence: {fact}\n\nThe sentence is wrong. Write the right sentence about "
        "the same person.",
        "Read this: {text}\n\nSomebody then wrote: {fact} Keep the person, correct what he or she "
        "has, and write the whole sentence.",
        "Task: correct what the person has\nText: {text}\nWrong sentence: {fact}\nRight sentence:",
        "I said: {fact} That was wrong, as you can see here: {text} What should I have said about "
        "this person?",
        "The sentence does not agree with the text. Change the thing, not the name, and write the "
        "sentence.\n\nText: {text}\nSentence: {fact}",
        "{text}\n\nWhich of these sentences should stand in place of the wrong one about the same "
        "person? The wrong one is: {fact}",
        "Please check the sentence / {fact} / against the text / {text} / and write it with what "
        "that person really has.",
        "Do not look for another person with this thing. Say in a sentence what the same person "
        "really has.\n\nWrong: {fact}\nText: {text}",
        "{text} So this is wrong: {fact} The truth about that person, in a sentence:",
        "A friend told me: {fact} But the truth is here: {text} Write my friend's sentence again, "
        "about the same person and without the mistake.",
    ),
    examples=(
        Example(
            {
                "text": "Rita has the green hat. Tom has the silver pen. Ole has the old map.",
                "fact": "Tom has the green hat.",
            },
            "Tom has the silver pen.",
            "The text says that Tom has the silver pen; the green hat is Rita's.",
        ),
        Example(
            {
                "text": "Lin has the new bike. Ole has the old map. Rita has the green hat.",
                "fact": "Lin has the old bike.",
            },
            "Lin has the new bike.",
            "Lin does have the bike, but the bike is new; the map is old.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "Rita has the green hat. Tom has the silver pen. Ole has the old map.",
                "fact": "Tom has the green hat.",
            },
            "Rita has the green hat.",
            "That is true, but the sentence has to stay one about Tom.",
        ),
    ),
)

TASKS = (FIX_DOUBLE, FIX_SUM, FIX_ORDER, FIX_FACT)
