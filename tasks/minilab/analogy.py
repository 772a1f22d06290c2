"""Cluster `analogy`: what is to be done must be read off worked examples. A held-out cluster.

The instruction only says that there is a rule, or of what sort it is; the rule itself is drawn
anew for each instance and shows in the instance alone.
"""

from collections.abc import Callable, Mapping

from tasks.minilab import forms
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import ANIMALS, CLOTHES, FOODS, JOBS, WORDS

CLUSTER = "analogy"
HELDOUT_CLUSTER = True

# Not the animals that are eaten under the same name: they would be of two kinds.
_KINDS = (
    tuple(word for word in ANIMALS if word not in ("fish", "chicken", "duck")),
    FOODS,
    JOBS,
    CLOTHES,
)
# What a kind may be called. Which of the two it is can be seen in the worked pairs only.
_KIND_NAMES = (("animal", "food", "job", "clothing"), ("animals", "foods", "jobs", "clothes"))
_KIND_OF_WORD = {
    word: number for number, words in enumerate((ANIMALS, *_KINDS[1:])) for word in words
}


def _make_analogy_kind(dice: Dice, label: str) -> Fields:
    names = dice.pick(_KIND_NAMES)
    kinds = dice.sample(range(len(_KINDS)), 3)
    asked = dice.pick(kinds)
    shown, word = dice.sample(_KINDS[asked], 2)
    pairs = [
        f"{shown if kind == asked else dice.pick(_KINDS[kind])} : {names[kind]}" for kind in kinds
    ]
    return {"text": ", ".join(pairs), "word": word, "answer": names[asked]}


def _rule_analogy_kind(fields: Mapping[str, str]) -> str:
    kind = _KIND_OF_WORD.get(fields["word"])
    for pair in fields["text"].split(", "):
        left, colon, right = pair.partition(" : ")
        if colon and kind is not None and _KIND_OF_WORD.get(left) == kind:
            return right
    return ""


ANALOGY_KIND = MiniTask(
    name="analogy_kind",
    cluster=CLUSTER,
    kind="generation",
    skills=("rule", "kind"),
    fields=forms.LINE_WORD_FIELDS,
    layout=forms.LINE_WORD_LAYOUT,
    make=_make_analogy_kind,
    rule=_rule_analogy_kind,
    definitions=(
        "You are given three pairs and one more word. The right side of each pair says what kind "
        "of thing the left side is. Answer with the right side that the new word would have, "
        "exactly as it is written in the pairs.",
        "Find out from the pairs what the word behind each colon has to do with the word before "
        "it. Then write what belongs behind a colon after the last word.",
        "Every pair names a thing and the kind it belongs to. Name the kind of the word at the "
        "end; it is one of the kinds in the pairs and is called as it is there.",
        "Complete the last pair like the others.",
    ),
    avoid="Do not answer with another thing of the same kind, only with the name of the kind.",
    emphasis="Call the kind what the pairs call it, with an s where they have one.",
    templates=ask(
        "Pairs: {text}\n\nWhat belongs to {word} in the same way?",
        "Complete the last pair like the others: {text}, {word} :",
        "In each pair the right side says what kind of thing the left side is.\n> {text}\n\n"
        "What is the right side for {word}?",
        "Task: find the rule in the pairs and use it on the word.\nPairs: {text}\nWord: {word}\n"
        "Output:",
        "My sister wrote {text} in her book. What will she write behind {word} by the same rule?",
        "Please look at the pairs {text} and tell me what goes with {word}.",
        "Which of the kinds in / {text} / is right for {word}? Write the name of the kind, not "
        "another word of that kind.",
        "Word: {word}\nWorked pairs: {text}\n\nGive the answer for the word as the pairs do.",
        "This is how it works: {text}. Now do the same for {word}. Use one of the names behind "
        "the colons, not a name of your own.",
        "If we put {text} together, what do we have to put together with {word}?",
    ),
    examples=(
        Example(
            {"text": "lion : animal, apple : food, sailor : job", "word": "goat"},
            "animal",
            "The right sides are kinds; a goat is an animal, as the lion in the first pair is.",
        ),
        Example(
            {"text": "boots : clothes, pilot : jobs, cheese : foods", "word": "teacher"},
            "jobs",
            "A teacher belongs with the pilot, whose kind is called jobs here.",
        ),
    ),
    negatives=(
        Example(
            {"text": "lion : animal, apple : food, sailor : job", "word": "goat"},
            "lion",
            "The lion is of the same kind, but what belongs behind the colon is animal.",
        ),
        Example(
            {"text": "boots : clothes, pilot : jobs, cheese : foods", "word": "teacher"},
            "job",
            "The kind is right, but in the pairs it is called jobs.",
        ),
    ),
)


Edit = Callable[[list[str]], list[str]]

# On the words of a line; the rule below works on its text instead.
_EDITS: tuple[Edit, ...] = (
    lambda words: words[::-1],
    lambda words: words[1:],
    lambda words: words[:-1],
    lambda words: [*words, words[0]],
    lambda words: words[:1],
    lambda words: words[-1:],
)


def _worked(edit: Edit, first: list[str], second: list[str], last: list[str]) -> Fields:
    """Returns an instance in which two lines and their results show `edit`."""
    lines = [" ".join(words) for words in (first, second, last)]
    results = [" ".join(edit(words)) for words in (first, second, last)]
    text = f"{lines[0]} -> {results[0]} ; {lines[1]} -> {results[1]} ; {lines[2]} ->"
    return {"text": text, "answer": results[2]}


def _make_analogy_edit(dice: Dice, label: str) -> Fields:
    edit = dice.pick(_EDITS)
    # One example of three words and one of four: with a single length, "reverse" may be "swap the
    # ends" and "keep the last word" may be "keep the third".
    first, last = 3 + dice.below(2), 3 + dice.below(2)
    words = dice.sample(WORDS, 7 + last)
    return _worked(edit, words[:first], words[first:7], words[7:])


def _examples(text: str) -> tuple[list[tuple[str, str]], str]:
    """Returns the worked examples of a text, and the line without a result; ([], "") if none."""
    *shown, last = text.split(" ; ")
    parts = [example.partition(" -> ") for example in shown]
    line = last.removesuffix(" ->")
    if not parts or not all(arrow for _, arrow, _ in parts) or line == last:
        return [], ""
    return [(shown_line, result) for shown_line, _, result in parts], line


_TEXT_EDITS: tuple[Callable[[str], str], ...] = (
    lambda line: " ".join(reversed(line.split(" "))),
    lambda line: line.partition(" ")[2],
    lambda line: line.rpartition(" ")[0],
    lambda line: f"{line} {line.partition(' ')[0]}",
    lambda line: line.partition(" ")[0],
    lambda line: line.rpartition(" ")[2],
)


def _rule_analogy_edit(fields: Mapping[str, str]) -> str:
    pairs, last = _examples(fields["text"])
    answers = {
        edit(last)
        for edit in _TEXT_EDITS
        if pairs and all(edit(line) == result for line, result in pairs)
    }
    return answers.pop() if len(answers) == 1 else ""


ANALOGY_EDIT = MiniTask(
    name="analogy_edit",
    cluster=CLUSTER,
    kind="generation",
    skills=("rule", "order", "position", "edit"),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_analogy_edit,
    rule=_rule_analogy_edit,
    definitions=(
        "You are given two lines that were changed by the same rule, each with its result behind "
        "an arrow, and a third line without a result. Find the rule, use it on the third line and "
        "write only the result.",
        "Each arrow stands for one and the same change. See from the first two lines what it is, "
        "and write what belongs behind the last arrow.",
        "Words of a line are put in another order, left out or written again, always in the same "
        "way. Two worked examples show how; do it with the last line.",
        "Change the last line as the others were changed.",
    ),
    avoid="Do not write the last line again before the result, and use no word of other lines.",
    emphasis="The rule is the same for short and long lines; it fits both worked examples.",
    templates=ask(
        "Two lines were changed by the same rule. Change the third line too.\n\nLines: {text}",
        "{text}\n\nWhat belongs behind the last arrow?",
        "Find the rule in the two worked examples and use it on the last line: {text}",
        "Task: do with the third line what was done with the first two.\nInput: {text}\nOutput:",
        "My brother makes a new line out of every line, always in the same way. What does he make "
        "out of the last one?\n> {text}",
        "Please look at what the arrows do in / {text} / and write the result that is missing.",
        "Do not copy a result that is already there. Find out how the results were made and make "
        "the missing one.\n> {text}",
        "> {text}\n\nWhat happens to the words here? Do the same with the words of the last line, "
        "no more and no less.",
        "Complete this so that all three arrows mean the same: {text}",
        "Words may be moved, left out or written twice, but always by one rule. What is the third "
        "result?\nExamples: {text}",
    ),
    examples=(
        Example(
            {
                "text": "apple river chair -> chair river apple ; stone cloud horse lamp -> lamp "
                "horse cloud stone ; table light green ->"
            },
            "green light table",
            "Both lines come out in reverse order.",
        ),
        Example(
            {
                "text": "milk sofa engine violet -> sofa engine violet ; pizza cabin zero -> cabin "
                "zero ; north kitten stone lamp ->"
            },
            "kitten stone lamp",
            "Each time the first word is left out and the others stay.",
        ),
        Example(
            {
                "text": "milk sofa engine -> milk sofa engine milk ; pizza cabin zero lamp -> "
                "pizza cabin zero lamp pizza ; north kitten stone ->"
            },
            "north kitten stone north",
            "The first word is written again at the end.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "apple river chair -> chair river apple ; stone cloud horse lamp -> lamp "
                "horse cloud stone ; table light green window ->"
            },
            "window light green table",
            "Only the ends are swapped; in the second example the middle is turned around too.",
        ),
    ),
)


def _make_analogy_position(dice: Dice, label: str) -> Fields:
    place = dice.below(3)
    words = dice.sample(WORDS, 12)
    return _worked(lambda line: [line[place]], words[:4], words[4:8], words[8:])


def _rule_analogy_position(fields: Mapping[str, str]) -> str:
    pairs, last = _examples(fields["text"])
    if not pairs or any(result not in line.split(" ") for line, result in pairs):
        return ""
    places = {line.split(" ").index(result) for line, result in pairs}
    words = last.split(" ")
    return words[min(places)] if len(places) == 1 and min(places) < len(words) else ""


ANALOGY_POSITION = MiniTask(
    name="analogy_position",
    cluster=CLUSTER,
    kind="generation",
    skills=("rule", "position"),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_analogy_position,
    rule=_rule_analogy_position,
    definitions=(
        "You are given two lines, each with one of its words behind an arrow, and a third line "
        "with nothing behind its arrow. The word was always taken from the same place in the "
        "line. Answer with the word at that place in the third line.",
        "Count at which place in its line the word behind each arrow stands. Write the word that "
        "stands at the same place in the last line.",
        "From every line one word is picked by where it stands, first, second or third. See from "
        "the worked examples which one it is, and pick it from the last line.",
        "Pick a word of the last line as in the examples.",
    ),
    avoid="Do not answer with a word of the worked examples or with more than one word.",
    emphasis="The meaning of the words has nothing to do with it, only their place.",
    templates=ask(
        "From each line the word at one and the same place was taken. Take it from the last line "
        "too.\n\nLines: {text}",
        "{text}\n\nOne word was picked from each line, always at the same place. Which word of the "
        "last line is picked?",
        "Find out at which place in the line the word behind the arrow stands, and give the word "
        "at that place in the last line: {text}",
        "Task: pick a word of the third line by its place, as it was done in the first two.\n"
        "Input: {text}\nOutput:",
        "My sister likes one place in a line best and always takes the word that stands there. "
        "Which word of the last line does she take?\n> {text}",
        "Please see which word of its line comes behind the arrow in / {text} / and give me the "
        "word that is missing at the end.",
        "What the words mean is of no use here, only where they stand. Which word belongs behind "
        "the last arrow?\n> {text}",
        "The first, the second or the third word? The examples show which one is taken. Take the "
        "same one from the last line.\nExamples: {text}",
        "I want one word, but not one that is already behind an arrow. Which word of the last line "
        "stands where those words stand in theirs?\n> {text}",
        "Complete this so that every arrow gives the word at the same place in the line: {text}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine violet -> sofa ; pizza cabin zero lamp -> cabin ; "
                "north kitten stone cloud ->"
            },
            "kitten",
            "sofa and cabin are the second words of their lines, and so is kitten.",
        ),
        Example(
            {
                "text": "apple river chair horse -> chair ; table light green window -> green ; "
                "music paper field glass ->"
            },
            "field",
            "Always the third word is taken.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "apple river chair horse -> chair ; table light green window -> green ; "
                "music paper field glass ->"
            },
            "glass",
            "glass is the fourth word, but the examples take the third.",
        ),
        Example(
            {
                "text": "milk sofa engine violet -> sofa ; pizza cabin zero lamp -> cabin ; "
                "north kitten stone cloud ->"
            },
            "sofa",
            "The place is right, but sofa is of the first line; the last line is asked for.",
        ),
    ),
)


def _pattern(unit: str, *counts: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Returns how many words a pattern has, and which of them to show and to answer with, in turn.

    Args:
        unit: one round, with a letter for each word.
        counts: how many words to show; one of these is drawn.
    """
    order = ["abcd".index(letter) for letter in unit] * 5
    return len(set(unit)), tuple(tuple(order[: count + 1]) for count in counts)


# With so many words shown no other round fits and leaves as many as two words of a second round.
# The counts stop at every place in the round equally often, or nearly so, lest the word after a
# full round is the answer too often.
_PATTERNS = (
    _pattern("ab", 6, 7, 8, 9),
    *[_pattern(unit, 6, 7, 8, 9, 7, 8) for unit in ("abc", "abc", "aab", "abb")],
    *[_pattern("abcd", 6, 7, 8, 9)] * 2,
    *[_pattern(unit, 7, 8, 9) for unit in ("aabb", "abbc", "abcc")],
)


def _make_next_in_pattern(dice: Dice, label: str) -> Fields:
    distinct, orders = dice.pick(_PATTERNS)
    words = dice.sample(WORDS, distinct)
    *shown, answer = [words[i] for i in dice.pick(orders)]
    return {"text": " ".join(shown), "answer": answer}


def _rule_next_in_pattern(fields: Mapping[str, str]) -> str:
    words = fields["text"].split(" ")
    for period in range(2, min(4, len(words) - 2) + 1):
        if all(words[i] == words[i - period] for i in range(period, len(words))):
            return words[-period]
    return ""


NEXT_IN_PATTERN = MiniTask(
    name="next_in_pattern",
    cluster=CLUSTER,
    kind="generation",
    skills=("rule", "position"),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_next_in_pattern,
    rule=_rule_next_in_pattern,
    definitions=(
        "You are given a line in which the same two, three or four words come again and again in "
        "the same order. The line may break off in the middle of a round. Write the one word that "
        "comes next.",
        "Find the pattern that repeats in the line and write the next word of it.",
        "A group of words is repeated without a change. See which word of the group would follow "
        "the last word of the line, and answer with that word only.",
        "Which word comes next in the pattern?",
    ),
    avoid="Do not write more than one word, and no word that is not in the line.",
    emphasis="A word may come twice within one round, so look at more than the last word.",
    templates=ask(
        "The same words come again and again in the same order. Which word comes next?\n\n"
        "Words: {text}",
        "{text}\n\nHow does the pattern go on? Write the next word.",
        "Find the pattern and add one more word, but write only that word: {text}",
        "Task: give the next word of a repeating pattern.\nInput: {text}\nOutput:",
        "I say the same few words over and over, and I have just said / {text} /. Which word do I "
        "say next?",
        "Please tell me which word must follow {text} if the words go on as they do.",
        "Do not begin the pattern again before a round is complete. What is the next word?\n"
        "> {text}",
        "A row of words repeats itself, and its last round may be cut short. Which word goes on "
        "with it?\nRow: {text}",
        "One word is missing at the end of / {text} /. Go by the whole pattern, not by the last "
        "word alone. Which word is it?",
        "Write the one word that keeps the repetition going: {text}",
    ),
    examples=(
        Example(
            {"text": "red blue blue red blue blue red"},
            "blue",
            "red blue blue is repeated; the third round has begun with red, so blue follows.",
        ),
        Example(
            {"text": "milk sofa engine violet milk sofa"},
            "engine",
            "Four words make a round, and after milk sofa comes engine.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine milk sofa engine milk sofa"},
            "milk",
            "The last round is not complete: engine comes before milk does.",
        ),
    ),
)


def _make_odd_one_out(dice: Dice, label: str) -> Fields:
    kind, other = dice.sample(_KINDS, 2)
    odd = dice.pick(other)
    return {"text": " ".join(dice.shuffled([odd, *dice.sample(kind, 3)])), "answer": odd}


def _rule_odd_one_out(fields: Mapping[str, str]) -> str:
    words = fields["text"].split(" ")
    kinds = [_KIND_OF_WORD.get(word, -1) for word in words]
    if len(words) != 4 or -1 in kinds or sorted(map(kinds.count, kinds)) != [1, 3, 3, 3]:
        return ""
    return next(word for word, kind in zip(words, kinds, strict=True) if kinds.count(kind) == 1)


ODD_ONE_OUT = MiniTask(
    name="odd_one_out",
    cluster=CLUSTER,
    kind="generation",
    skills=("kind", "rule"),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_odd_one_out,
    rule=_rule_odd_one_out,
    definitions=(
        "You are given four words. Three of them are of one kind, such as animals, foods, jobs or "
        "clothes, and one is of another kind. Answer with that one word.",
        "Find out what three of the four words have in common, and write the word that does not "
        "share it.",
        "Three words belong together by what they name. Write the fourth, which does not belong "
        "with them.",
        "Which word is the odd one out?",
    ),
    avoid="Do not name a kind, and do not write the three words that belong together.",
    emphasis="What counts is the kind of thing a word names, not its place or its letters.",
    templates=ask(
        "Three of these words are of one kind. Which word is not?\n\nWords: {text}",
        "{text}\n\nWhich of the four words does not belong with the others?",
        "Find the odd one out by what the words mean: {text}",
        "Task: write the one word that is of another kind than the other three.\nInput: {text}\n"
        "Output:",
        "I wanted to write four animals, or four foods, jobs or clothes, and got one word wrong. "
        "Which one?\n> {text}",
        "Please look at {text} and tell me which word names another kind of thing than the rest.",
        "Do not tell me what the three have in common, only which word does not share it.\n"
        "Line: {text}",
        "Take a word away from / {text} / so that only words of one kind are left. Which word do "
        "you take away?",
        "Not the place of a word and not its letters count here, only the kind of thing it names. "
        "Which word stands alone?\n> {text}",
        "Out of these four, write the one that the other three do not fit: {text}",
    ),
    examples=(
        Example(
            {"text": "tiger goat lemon penguin"},
            "lemon",
            "Three words name animals; a lemon is a food.",
        ),
        Example(
            {"text": "pilot jacket boots apron"},
            "pilot",
            "One wears a jacket, boots and an apron; a pilot is a job.",
        ),
    ),
    negatives=(
        Example(
            {"text": "tiger goat lemon penguin"},
            "penguin",
            "A penguin is a bird, but birds are animals too; lemon is the one that is not.",
        ),
    ),
)

TASKS = (ANALOGY_KIND, ANALOGY_EDIT, ANALOGY_POSITION, NEXT_IN_PATTERN, ODD_ONE_OUT)
