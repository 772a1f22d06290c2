"""Cluster `counting`: words of a line are counted, or two counts are compared.

The tasks on a line alone count all its words, the animals or the foods; their lines mix these
kinds in the same way. The tasks on words that repeat draw their lines alike as well.
"""

from collections.abc import Mapping, Set

from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT, LINE_WORD_FIELDS, LINE_WORD_LAYOUT
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import ANIMALS, FOODS, WORDS

CLUSTER = "counting"
HELDOUT = ("count_foods", "less_often")

# People disagree on whether these name something to eat.
_MEAT = {"chicken", "fish", "duck", "goose", "goat", "rabbit"}
_MAYBE_FOOD = frozenset({*_MEAT, "seed", "leaf", "root", "oil", "water", "ice"})
_UNEATEN = tuple(word for word in ANIMALS if word not in _MAYBE_FOOD)
_NEITHER = tuple(word for word in WORDS if word not in {*ANIMALS, *FOODS, *_MAYBE_FOOD})
_ANIMAL_SET, _FOOD_SET = frozenset(ANIMALS), frozenset(FOODS)

_MOST = 4  # animals, foods or copies of a word in a line
# Counts that leave room for a third word which is more frequent than both.
_UNEVEN = ((2, 1), (3, 1), (3, 2))


def _kinds_line(
    dice: Dice, kind: tuple[str, ...], other_kind: tuple[str, ...], count: int, length: int
) -> str:
    """Returns a line with `count` words of a kind, some of another and some of neither."""
    others = dice.between(0, min(_MOST - 1, length - count))
    words = dice.sample(kind, count) + dice.sample(other_kind, others)
    return " ".join(dice.shuffled(words + dice.sample(_NEITHER, length - count - others)))


def _make_count_words(dice: Dice, label: str) -> Fields:
    length = dice.between(3, 9)
    kind, other_kind = dice.shuffled([ANIMALS, FOODS])
    text = _kinds_line(dice, kind, other_kind, dice.between(0, min(_MOST, length)), length)
    return {"text": text, "answer": str(length)}


def _rule_count_words(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return str(text.count(" ") + 1) if text else ""


COUNT_WORDS = MiniTask(
    name="count_words",
    cluster=CLUSTER,
    kind="generation",
    skills=("count",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_count_words,
    rule=_rule_count_words,
    definitions=(
        "You are given a line of words. Count its words and answer with their number, in digits.",
        "Say how many words the line has. Every word counts, whatever it names.",
        "The output is one number: the length of the line, measured in words and not in letters.",
        "Go through the line from its beginning to its end, add one for each word, and write the "
        "sum in digits.",
        "Count the words.",
    ),
    avoid="Do not write the number as a word, and do not repeat the line.",
    emphasis="All the words count, not only those of some kind.",
    templates=ask(
        "How many words are in this line?\n\nLine: {text}",
        "Line: {text}\n\nCount all the words of the line. Answer with a number:",
        "{text}\n\nWrite in digits how many words stand above.",
        "Input: {text}\nCount: all words\nOutput:",
        "Please count the words of / {text} / and give me only the number.",
        "Do not write the words of this line again. Just say how many there are.\n> {text}",
        "It does not matter here what a word names, since every word counts. How many words are "
        "these? {text}",
        "I pay one coin for each word that I send, and I want to send this: {text}. How many coins "
        "do I need?",
        "What is the length of the line below, counted in words and not in letters?\n> {text}",
        "Number of words: {text} ->",
    ),
    new_wordings=ask(
        "How many words do you say when you read / {text} / aloud?",
        "Give each word of this line a number, beginning with 1. Which number does the last word "
        "get?\n> {text}",
        "{text}\n\nI do not want to know how many animals there are, nor how many foods. How many "
        "words are there in all?",
    ),
    examples=(
        Example(
            {"text": "river tiger lemon button"},
            "4",
            "The four words are river, tiger, lemon and button.",
        ),
        Example(
            {"text": "cheese owl summer bread camel needle walk"},
            "7",
            "All seven words count, whatever they name.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river tiger lemon button"},
            "1",
            "Only the animal was counted, but every word counts.",
        ),
    ),
)


def _count_of_kind(text: str, kind: Set[str], unclear: Set[str]) -> str:
    words = text.split()
    return "" if not unclear.isdisjoint(words) else str(sum(word in kind for word in words))


def _make_count_animals(dice: Dice, label: str) -> Fields:
    count = dice.between(0, _MOST)
    text = _kinds_line(dice, ANIMALS, FOODS, count, dice.between(5, 7))
    return {"text": text, "answer": str(count)}


def _rule_count_animals(fields: Mapping[str, str]) -> str:
    return _count_of_kind(fields["text"], _ANIMAL_SET, frozenset())


COUNT_ANIMALS = MiniTask(
    name="count_animals",
    cluster=CLUSTER,
    kind="generation",
    skills=("count", "kind"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_count_animals,
    rule=_rule_count_animals,
    definitions=(
        "You are given a line of words. Count those that name an animal and answer with their "
        "number, in digits; if no word does, answer 0.",
        "Say how many animals the line names. Birds, fish and insects are animals; people, plants "
        "and things are not.",
        "Some words of the line, or none, stand for an animal. The output is the number of these "
        "words.",
        "Go through the line, add one for each animal, pass over all other words, and write the "
        "sum in digits.",
        "Count the animals.",
    ),
    avoid="Do not name the animals, and do not count words of any other kind.",
    emphasis="A line without animals gets the answer 0.",
    templates=ask(
        "How many words of this line name an animal?\n\nLine: {text}",
        "Line: {text}\n\nCount the animals in the line. Answer with a number:",
        "{text}\n\nSome of these words may be animals. Write in digits how many, or 0 if there is "
        "none.",
        "Input: {text}\nCount: animals\nOutput:",
        "Please count the animals in / {text} / and give me only the number.",
        "Do not write the names of the animals in this line. Just say how many there are.\n"
        "> {text}",
        "Not every word counts here, only a word for an animal. How many of these count? {text}",
        "I build one house for each animal in a line, and the line is this: {text}. How many "
        "houses do I build?",
        "How many animals do you find among the words below? Birds, fish and insects are animals "
        "too.\n> {text}",
        "Number of animals: {text} ->",
    ),
    new_wordings=ask(
        "How many animals do you name when you read / {text} / aloud?",
        "Look at each word of this line and ask: is it an animal? How many times is the answer "
        "yes?\n> {text}",
        "{text}\n\nI do not want to know how many words there are in all, nor how many foods. How "
        "many of them are animals?",
    ),
    examples=(
        Example(
            {"text": "river tiger lemon button owl"},
            "2",
            "tiger and owl are animals; the other three words are not.",
        ),
        Example(
            {"text": "cheese summer bread farmer needle walk"},
            "0",
            "No word names an animal: cheese and bread are foods, and a farmer is a person.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river tiger lemon button owl"},
            "5",
            "All words of the line were counted, but only tiger and owl are animals.",
        ),
    ),
)


def _make_count_foods(dice: Dice, label: str) -> Fields:
    count = dice.between(0, _MOST)
    text = _kinds_line(dice, FOODS, _UNEATEN, count, dice.between(5, 7))
    return {"text": text, "answer": str(count)}


def _rule_count_foods(fields: Mapping[str, str]) -> str:
    return _count_of_kind(fields["text"], _FOOD_SET, _MAYBE_FOOD)


COUNT_FOODS = MiniTask(
    name="count_foods",
    cluster=CLUSTER,
    kind="generation",
    skills=("count", "kind"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_count_foods,
    rule=_rule_count_foods,
    definitions=(
        "You are given a line of words. Count those that name something to eat and answer with "
        "their number, in digits; if no word does, answer 0.",
        "Say how many foods the line names. Fruit, vegetables, sweet things, and what goes into a "
        "dish, such as salt, are foods; animals are not.",
        "Some words of the line, or none, stand for a food. The output is the number of these "
        "words.",
        "Go through the line, add one for each thing to eat, pass over all other words, and write "
        "the sum in digits.",
        "Count the foods.",
    ),
    avoid="Do not name the foods, and do not count words of any other kind.",
    emphasis="Sugar, salt and the like are foods too. A line without foods gets the answer 0.",
    templates=ask(
        "How many words of this line name something to eat?\n\nLine: {text}",
        "Line: {text}\n\nCount the foods in the line. Answer with a number:",
        "{text}\n\nSome of these words may be foods. Write in digits how many, or 0 if there is "
        "none.",
        "Input: {text}\nCount: foods\nOutput:",
        "Please count the things to eat in / {text} / and give me only the number.",
        "Do not write the names of the foods in this line. Just say how many there are.\n> {text}",
        "Not every word counts here, and no animal does, only a word for a food. How many of these "
        "count? {text}",
        "I need one plate for each food in a line, and the line is this: {text}. How many plates "
        "do I need?",
        "How many foods do you find among the words below? Salt, sugar and the like are foods "
        "too.\n> {text}",
        "Number of foods: {text} ->",
    ),
    examples=(
        Example(
            {"text": "river tiger lemon button salt"},
            "2",
            "lemon and salt are foods; the other three words are not.",
        ),
        Example(
            {"text": "owl summer camel baker needle walk"},
            "0",
            "No word names something to eat: owl and camel are animals, and a baker is a person.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river tiger lemon button salt"},
            "1",
            "Only lemon was counted, but salt is a food too.",
        ),
    ),
)


def _repeats_line(dice: Dice, words: list[str], counts: tuple[int, int], length: int) -> str:
    """Returns a line with two words repeated as told among others, which may repeat as well.

    One of the two comes before, and the other behind, every further copy of either, by a coin:
    else the word that opens or closes the row of them would mostly be the more frequent one.
    """
    word, other, *rest = words
    # With few words to fill up with, one of them is often the most frequent word of the line.
    rest = rest[: dice.between(1, len(rest))]
    ends = dice.shuffled([word, other])
    inner = dice.shuffled([word] * (counts[0] - 1) + [other] * (counts[1] - 1))
    row = [ends[0], *inner, ends[1]]
    text = [dice.pick(rest) for _ in range(length - len(row))]
    # Put in from left to right, each copy stands at the place that was drawn.
    places = sorted(dice.sample(range(length), len(row)))
    for place, copy in zip(places, row, strict=True):
        text.insert(place, copy)
    return " ".join(text)


def _make_count_word(dice: Dice, label: str) -> Fields:
    count, length = int(label), dice.between(6, 8)
    words = dice.sample(WORDS, 4)
    counts = (count, dice.between(1, min(_MOST, length - count)))
    return {
        "text": _repeats_line(dice, words, counts, length),
        "word": words[0],
        "answer": label,
    }


def _rule_count_word(fields: Mapping[str, str]) -> str:
    count = fields["text"].split().count(fields["word"])
    return str(count) if 1 <= count <= _MOST else ""


COUNT_WORD = MiniTask(
    name="count_word",
    cluster=CLUSTER,
    kind="classification",
    skills=("count", "match"),
    fields=LINE_WORD_FIELDS,
    layout=LINE_WORD_LAYOUT,
    make=_make_count_word,
    rule=_rule_count_word,
    labels=tuple(str(count) for count in range(1, _MOST + 1)),
    definitions=(
        "You are given a line of words and one word that occurs in it. Say how often this word "
        "occurs in the line, in digits. It occurs four times at most.",
        "Count the places of the line where the named word stands. All other words are passed "
        "over, even if they repeat.",
        "A word may come more than once in the line. The output is the number of times that the "
        "given word comes.",
        "Go through the line, add one each time you meet the named word, and answer with the sum: "
        "1, 2, 3 or 4.",
        "Count the given word.",
    ),
    avoid="Do not count other words, and do not count all the words of the line.",
    emphasis="Other words may repeat too; only the named one counts.",
    templates=ask(
        "How often does the word {word} occur in this line?\n\nLine: {text}\n{options_}",
        "Line: {text}\n\nCount how many times the line says {word}. Answer with a number.\n"
        "{options_}",
        "{text}\n\nHow many of these words are {word}?\n{options_}",
        "Input: {text}\nCount: the word {word}\n{options_}\nOutput:",
        "Please look for {word} in / {text} / and give me the number of times you find it.\n"
        "{options_}",
        "Do not count all the words of this line, only {word}. How many times is it there?\n"
        "> {text}\n{options_}",
        "Other words may repeat too, but they do not matter. How many times does {word} stand in "
        "the line below?\n> {text}\n{options_}",
        "Each word of / {text} / is a vote. How many votes does {word} get?\n{options_}",
        "I want to replace {word} wherever I find it in this line: {text}. How many words do I "
        "have to change?\n{options_}",
        "Times that {word} occurs: {text}\n{options_}",
    ),
    new_wordings=ask(
        "How many times do you say {word} when you read / {text} / aloud?\n{options_}",
        "Look at each word of this line and ask: is it {word}? How many times is the answer yes?\n"
        "> {text}\n{options_}",
        "{text}\n\nI do not want to know how many words there are, nor which one comes most often. "
        "How many times is {word} there?\n{options_}",
    ),
    examples=(
        Example(
            {"text": "river lemon river button lemon river", "word": "river"},
            "3",
            "river is the first, the third and the last word of the line.",
        ),
        Example(
            {"text": "owl owl needle summer owl bread needle", "word": "summer"},
            "1",
            "summer occurs once; that owl and needle repeat does not matter.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river lemon river button lemon river", "word": "lemon"},
            "3",
            "That is the number for river; lemon occurs 2 times.",
        ),
    ),
)


def _make_more_often(dice: Dice, label: str) -> Fields:
    words, counts = dice.sample(WORDS, 4), dice.pick(_UNEVEN)
    text = _repeats_line(dice, words, counts, dice.between(6, 8))
    word, other = dice.shuffled(words[:2])
    return {"text": text, "word": word, "other": other, "answer": words[0]}


def _counts(fields: Mapping[str, str]) -> tuple[int, int]:
    words = fields["text"].split()
    return words.count(fields["word"]), words.count(fields["other"])


def _rule_more_often(fields: Mapping[str, str]) -> str:
    count, other_count = _counts(fields)
    if not (count and other_count) or count == other_count:
        return ""
    return fields["word"] if count > other_count else fields["other"]


MORE_OFTEN = MiniTask(
    name="more_often",
    cluster=CLUSTER,
    kind="generation",
    skills=("count", "match"),
    fields=(*LINE_WORD_FIELDS, "other"),
    layout="{text} / {word} / {other}",
    make=_make_more_often,
    rule=_rule_more_often,
    definitions=(
        "You are given a line of words and two words that occur in it. Answer with the one of the "
        "two that occurs more often in the line.",
        "Count each of the two named words in the line and write the one with the higher count, "
        "not the one with the lower count. The counts are never equal.",
        "Both of the given words stand in the line, one of them fewer times than the other. The "
        "output is the one that is there more times, and not a number.",
        "Compare how many times the line says the first of the two words with how many times it "
        "says the second, and give the word it says more times.",
        "Which of the two words is more frequent?",
    ),
    avoid="Do not answer with a number, nor with a word that is not one of the two.",
    emphasis="A third word may be more frequent than both; only the two named words count.",
    templates=ask(
        "Which word occurs more often in this line, {word} or {other}?\n\nLine: {text}",
        "Line: {text}\n\nCount {word} and count {other}. The line has more of this one:",
        "{text}\n\nOf {word} and {other}, write the word that stands above more times.",
        "Input: {text}\nMore often: {word} or {other}\nOutput:",
        "Please count {word} and {other} in / {text} /. Do not give me the two numbers, only the "
        "word that comes more often.",
        "I do not want the one of {word} and {other} that comes less often. Which of the two is "
        "found more times below?\n> {text}",
        "Each word of / {text} / is a vote. Does {word} or {other} get more votes?",
        "Only {word} and {other} matter, all other words do not. Which has the higher count in "
        "this line?\n> {text}",
        "I have to replace either {word} or {other} wherever it stands in my line. Which would be "
        "more work? My line is: {text}",
        "More of {word} or more of {other}? {text} ->",
    ),
    new_wordings=ask(
        "Which do you say more times when you read / {text} / aloud, {word} or {other}?",
        "Look for {word} and for {other} in this line. One has more places than the other. Write "
        "that one.\n> {text}",
        "{text}\n\nI do not want to know how often they occur, nor which one is there less often. "
        "Tell me which is there more often, {word} or {other}.",
    ),
    examples=(
        Example(
            {"text": "river lemon river button lemon river", "word": "lemon", "other": "river"},
            "river",
            "river occurs 3 times and lemon 2 times.",
        ),
        Example(
            {
                "text": "owl needle owl summer owl bread needle",
                "word": "needle",
                "other": "bread",
            },
            "needle",
            "needle occurs 2 times and bread once; owl was not asked about.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "owl needle owl summer owl bread needle",
                "word": "needle",
                "other": "bread",
            },
            "owl",
            "owl is the most frequent word of the line, but it is not one of the two.",
        ),
    ),
)


def _make_less_often(dice: Dice, label: str) -> Fields:
    fields = _make_more_often(dice, label)
    loser = fields["other"] if fields["answer"] == fields["word"] else fields["word"]
    return {**fields, "answer": loser}


def _rule_less_often(fields: Mapping[str, str]) -> str:
    count, other_count = _counts(fields)
    if not (count and other_count) or count == other_count:
        return ""
    return fields["word"] if count < other_count else fields["other"]


LESS_OFTEN = MiniTask(
    name="less_often",
    cluster=CLUSTER,
    kind="generation",
    skills=("count", "match"),
    fields=(*LINE_WORD_FIELDS, "other"),
    layout="{text} / {word} / {other}",
    make=_make_less_often,
    rule=_rule_less_often,
    definitions=(
        "You are given a line of words and two words that occur in it. Answer with the one of the "
        "two that occurs less often in the line.",
        "Count each of the two named words in the line and write the one with the lower count. "
        "The counts are never equal.",
        "Both of the given words stand in the line, one of them fewer times than the other. The "
        "output is that word, not its number.",
        "Compare how many times the line says the first of the two words with how many times it "
        "says the second, and give the word it says fewer times.",
        "Which of the two words is less frequent?",
    ),
    avoid="Do not answer with a number, nor with a word that is not one of the two.",
    emphasis="A third word may be less frequent than both; only the two named words count.",
    templates=ask(
        "Which word occurs less often in this line, {word} or {other}?\n\nLine: {text}",
        "Line: {text}\n\nCount {word} and count {other}. The line has less of this one:",
        "{text}\n\nOf {word} and {other}, write the word that stands above fewer times.",
        "Input: {text}\nLess often: {word} or {other}\nOutput:",
        "Please count {word} and {other} in / {text} /. Do not give me the two numbers, only the "
        "word that comes less often.",
        "I do not want the more frequent one of {word} and {other}. Which of the two is found "
        "fewer times below?\n> {text}",
        "Each word of / {text} / is a vote. Does {word} or {other} get fewer votes?",
        "Only {word} and {other} matter, all other words do not. Which has the lower count in this "
        "line?\n> {text}",
        "I have to replace either {word} or {other} wherever it stands in my line. Which would be "
        "less work? My line is: {text}",
        "Less of {word} or less of {other}? {text} ->",
    ),
    examples=(
        Example(
            {"text": "river lemon river button lemon river", "word": "lemon", "other": "river"},
            "lemon",
            "lemon occurs 2 times and river 3 times.",
        ),
        Example(
            {
                "text": "owl needle owl summer owl bread needle",
                "word": "needle",
                "other": "owl",
            },
            "needle",
            "needle occurs 2 times and owl 3 times; summer and bread were not asked about.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river lemon river button lemon river", "word": "lemon", "other": "river"},
            "button",
            "button is the least frequent word of the line, but it is not one of the two.",
        ),
    ),
)

TASKS = (COUNT_WORDS, COUNT_ANIMALS, COUNT_FOODS, COUNT_WORD, MORE_OFTEN, LESS_OFTEN)
