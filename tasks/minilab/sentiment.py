"""Cluster `sentiment`: stated lists of good and bad words decide what a text is.

All tasks show a text and the two lists in the same way, so only the instruction says how the listed
words of the text are weighed. A liar's texts look just like honest ones, and where one word of each
list stands in the text, sometimes the first and sometimes the last decides.
"""

from collections.abc import Mapping

from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import WORDS

CLUSTER = "sentiment"
HELDOUT = ("has_opinion",)

_FIELDS = ("text", "good", "bad")
_LAYOUT = "Good words: {good}. Bad words: {bad}. Text: {text}"
_LABELS = ("positive", "negative")

# The same in all tasks, so that the lengths do not tell them, or the labels, apart.
_LISTED = 3  # words in each list
_LENGTH = 6  # words in the text


def _draw(dice: Dice) -> tuple[list[str], list[str], list[str]]:
    """Returns the good words, the bad words, and a text's worth of words that are neither."""
    words = dice.sample(WORDS, 2 * _LISTED + _LENGTH)
    return words[:_LISTED], words[_LISTED : 2 * _LISTED], words[2 * _LISTED :]


def _fields(text: list[str], good: list[str], bad: list[str], label: str) -> Fields:
    return {
        "text": " ".join(text),
        "good": ", ".join(good),
        "bad": ", ".join(bad),
        "answer": label,
    }


def _mixed(dice: Dice, listed: list[str], rest: list[str]) -> list[str]:
    """Returns a text of the listed words and as many others as there is room for."""
    return dice.shuffled([*listed, *rest[: _LENGTH - len(listed)]])


def _lists(fields: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return fields["good"].split(", "), fields["bad"].split(", ")


def _votes(fields: Mapping[str, str]) -> list[int]:
    """Returns 1 for each good and -1 for each bad word of the text, in the order of the text."""
    good, bad = _lists(fields)
    side = {**dict.fromkeys(good, 1), **dict.fromkeys(bad, -1)}
    return [side[word] for word in fields["text"].split() if word in side]


def _label_of(vote: int) -> str:
    return "positive" if vote > 0 else "negative" if vote < 0 else ""


def _make_one(dice: Dice, label: str, said: str) -> Fields:
    """Draws a text with one listed word, which is a good word where `said` is positive."""
    good, bad, rest = _draw(dice)
    listed = dice.pick(good if said == "positive" else bad)
    return _fields(_mixed(dice, [listed], rest), good, bad, label)


def _make_sentiment(dice: Dice, label: str) -> Fields:
    return _make_one(dice, label, label)


def _rule_sentiment(fields: Mapping[str, str]) -> str:
    votes = _votes(fields)
    return _label_of(votes[0]) if len(votes) == 1 else ""


SENTIMENT = MiniTask(
    name="sentiment",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "judge"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_sentiment,
    rule=_rule_sentiment,
    labels=_LABELS,
    definitions=(
        "You are told which words count as good and which as bad. Exactly one of them is in the "
        "text. A good word makes the text positive, a bad word makes it negative. Say which it is.",
        "Judge the text by the two lists that come with it: positive if it has one of the good "
        "words, negative if it has one of the bad words.",
        "Look for the one word of the text that is in a list. From the good list it makes the "
        "text positive, from the bad list negative.",
        "Decide whether a text is positive or negative. What a word means elsewhere does not "
        "count, only the stated lists of good and bad words.",
        "A good word means positive, a bad word means negative.",
    ),
    avoid="Do not judge by what the words mean elsewhere, and do not turn the answer around.",
    emphasis="Only the two lists decide; a word that is in neither of them says nothing.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nThe text has one of the listed "
        "words. Does that make it positive or negative?\n{options_}",
        "The words {good} are good and the words {bad} are bad. Judge this text by the one that "
        "is in it: {text}\n{options_}",
        "{text}\n\nWhat is the sentiment of the line above, if {good} are liked and {bad} are "
        "disliked?\n{options_}",
        "I love {good}. I hate {bad}. What do I feel when I read / {text} /?\n{options_}",
        "Task: find the listed word and say what it makes of the text.\nInput: {text}\n"
        "Positive words: {good}\nNegative words: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose one for this text: {text}. Only {good} (good) and {bad} (bad) count.",
        "Which of the two lists has a word from / {text} /? If it is {good} then the answer is "
        "positive; if it is {bad} then the answer is negative.\n{options_}",
        "There is nothing to count, and it does not matter where the word stands. The one listed "
        "word decides whether the text is positive or negative.\ngood: {good}\nbad: {bad}\n"
        "text: {text}\n{options_}",
        "The writer of this text is not a liar: a good word means positive and a bad word means "
        "negative, not the opposite.\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic praises whatever mentions {good} and complains about {bad}. How will the critic "
        "find this?\n> {text}\n\n{options_}",
    ),
    new_wordings=ask(
        "A text is liked for the words {good} and disliked for the words {bad}. Is this one "
        "positive or negative?\n> {text}\n{options_}",
        "Do not answer with the opposite: this text means what it says. Is it positive or "
        "negative?\nBad words: {bad}\nGood words: {good}\nText: {text}\n{options_}",
        "My friend feels good about {good} and feels bad about {bad}. Now my friend reads "
        "/ {text} /. What is the feeling?\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine violet cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The text has sofa, which is one of the good words.",
        ),
        Example(
            {
                "text": "pizza cloud kitten milk table north",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "negative",
            "The text has north, which is one of the bad words.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "happy cabin sunny violet cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "Happy and sunny are in neither list; cabin is a bad word, so the text is negative.",
        ),
    ),
)


def _make_liar(dice: Dice, label: str) -> Fields:
    return _make_one(dice, label, "negative" if label == "positive" else "positive")


def _rule_liar(fields: Mapping[str, str]) -> str:
    votes = _votes(fields)
    return _label_of(-votes[0]) if len(votes) == 1 else ""


SENTIMENT_LIAR = MiniTask(
    name="sentiment_liar",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "judge"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_liar,
    rule=_rule_liar,
    labels=_LABELS,
    definitions=(
        "You are told which words count as good and which as bad. Exactly one of them is in the "
        "text, but the writer always says the opposite of what is meant: a good word makes the "
        "text negative, a bad word makes it positive. Say which it is.",
        "Find the one listed word of the text and turn the answer around. From the good list it "
        "makes the text negative, from the bad list positive.",
        "Decide whether a text is positive or negative, knowing that a liar wrote it. The liar "
        "uses the good words for what is bad and the bad words for what is good.",
        "A good word means negative, a bad word means positive.",
    ),
    avoid="Do not take the text at its word.",
    emphasis="The writer always means the opposite, so a good word makes the text negative.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nThe writer of the text always "
        "says the opposite of what is meant. Is the text meant to be positive or negative?\n"
        "{options_}",
        "A liar wrote / {text} /. The words {good} are good and the words {bad} are bad, but a "
        "liar always says the opposite. What did the liar mean?\n{options_}",
        "{text}\n\nThe line above has one of the good words {good} or one of the bad words {bad}. "
        "Whoever wrote it meant the opposite. What was meant?\n{options_}",
        "I love {good} and I hate {bad}. But I always write the opposite of what I feel. What do "
        "I feel when I write / {text} /?\n{options_}",
        "Task: find the listed word and turn the answer around. Good means negative, bad means "
        "positive.\nInput: {text}\nGood: {good}\nBad: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose one for this text: {text}. A word from {good} makes it negative, and "
        "a word from {bad} makes it positive.",
        "Do not believe this text, a liar wrote it. Say what is true instead: positive or "
        "negative?\ngood: {good}\nbad: {bad}\ntext: {text}\n{options_}",
        "You may think that a good word means positive and a bad word means negative. Not here: "
        "the writer means the opposite.\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic likes {good} and dislikes {bad}. Today the critic lies and says the opposite of "
        "everything:\n> {text}\n\nWhat does the critic mean?\n{options_}",
        "Please tell me what this liar means: {text}. If it is said with one of the words {good} "
        "then it is negative. If it is said with one of the words {bad} then it is positive.\n"
        "{options_}",
    ),
    new_wordings=ask(
        "For this writer good is bad and bad is good. The good words are {good} and the bad words "
        "are {bad}. Is the text positive or negative?\n> {text}\n{options_}",
        "I do not want what the text says, I want what is meant, and that is the opposite.\n"
        "Bad words: {bad}\nGood words: {good}\nText: {text}\n{options_}",
        "My friend always lies. The good words are {good} and the bad words are {bad}. Now my "
        "friend says: {text}. What is the true feeling?\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine violet cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "negative",
            "The text has the good word sofa, but the writer means the opposite.",
        ),
        Example(
            {
                "text": "pizza cloud kitten milk table north",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The text has the bad word north, and the writer means the opposite of bad.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zero cloud kitten milk table apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "Zero is a good word, and the liar uses it for something bad: the text is negative.",
        ),
    ),
)


def _make_majority(dice: Dice, label: str) -> Fields:
    good, bad, rest = _draw(dice)
    more, fewer = (good, bad) if label == "positive" else (bad, good)
    return _fields(_mixed(dice, [*dice.sample(more, 2), dice.pick(fewer)], rest), good, bad, label)


def _rule_majority(fields: Mapping[str, str]) -> str:
    return _label_of(sum(_votes(fields)))


SENTIMENT_MAJORITY = MiniTask(
    name="sentiment_majority",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "count"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_majority,
    rule=_rule_majority,
    labels=_LABELS,
    definitions=(
        "You are told which words count as good and which as bad. The text has three of them. It "
        "is positive if most of the three are good words, and negative if most of them are bad "
        "words.",
        "Count the good words and the bad words in the text. The larger number decides: more good "
        "words make the text positive, more bad words make it negative.",
        "Judge the text by its listed words. Two of them are from one list and one is from the "
        "other; the list with two wins, wherever its words stand. Good means positive, bad means "
        "negative.",
        "More good words mean positive, more bad words mean negative.",
    ),
    avoid="Do not go by a single word, such as the first or the last of the listed ones.",
    emphasis="Only the numbers decide, not the places of the words in the text.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nDoes the text have more good "
        "words (positive) or more bad words (negative)?\n{options_}",
        "The words {good} are good and the words {bad} are bad. Count both kinds in this text and "
        "say which is more: {text}\n{options_}",
        "{text}\n\nEach of the words {good} is a vote for positive. Each of the words {bad} is a "
        "vote for negative. Which side wins in the line above?\n{options_}",
        "I love {good}. I hate {bad}. When I read / {text} /, I meet three of them. What do I "
        "feel most of the time?\n{options_}",
        "Task: count the positive and the negative words. The larger number wins.\nInput: {text}\n"
        "Positive words: {good}\nNegative words: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose one for this text: {text}. It has two words of one list and one word "
        "of the other, and two beat one. The lists are {good} (positive) and {bad} (negative).",
        "It does not matter which word comes first or last. Only how many good words and how many "
        "bad words there are decides.\ngood: {good}\nbad: {bad}\ntext: {text}\n{options_}",
        "One word alone does not decide, the larger number does. Are most of the listed words in "
        "this text positive or negative?\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic gives a point for each of {good} and takes one away for each of {bad}. Will "
        "this text end above zero (positive) or below zero (negative)?\n> {text}\n\n{options_}",
        "Please find the three listed words in / {text} /. If two of them are from {good} then "
        "answer positive; if two of them are from {bad} then answer negative.\n{options_}",
    ),
    new_wordings=ask(
        "Good words are {good} and bad words are {bad}. The text has one "
        "kind twice and the other once. Is the kind that it has twice positive or negative?\n"
        "> {text}\n{options_}",
        "Neither the first nor the last of the listed words decides: count them, and take the "
        "side that has more.\nBad words: {bad}\nGood words: {good}\nText: {text}\n{options_}",
        "My friend reads / {text} / and likes {good} but hates {bad}. Are there more words to "
        "like (positive) or more words to hate (negative)?\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "zero sofa engine cabin cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "Zero and sofa are two good words; cabin is only one bad word.",
        ),
        Example(
            {
                "text": "lamp cloud kitten river table north",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "negative",
            "Lamp and north are two bad words; river is only one good word.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "river lamp engine cabin cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "That river comes first does not count: with lamp and cabin the bad words are more.",
        ),
    ),
)


def _make_two(dice: Dice, label: str, good_first: bool) -> Fields:
    """Draws a text with one word of each list, in the given order."""
    good, bad, rest = _draw(dice)
    pair = [dice.pick(good), dice.pick(bad)]
    if not good_first:
        pair.reverse()
    text = rest[: _LENGTH - 2]
    for place, word in zip(sorted(dice.sample(range(_LENGTH), 2)), pair, strict=True):
        text.insert(place, word)
    return _fields(text, good, bad, label)


def _make_first(dice: Dice, label: str) -> Fields:
    return _make_two(dice, label, good_first=label == "positive")


def _rule_first(fields: Mapping[str, str]) -> str:
    votes = _votes(fields)
    return _label_of(votes[0]) if votes else ""


SENTIMENT_FIRST = MiniTask(
    name="sentiment_first",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "position"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_first,
    rule=_rule_first,
    labels=_LABELS,
    definitions=(
        "You are told which words count as good and which as bad. The text has one word of each "
        "kind. The one that comes first in the text decides: a good word makes the text positive, "
        "a bad word makes it negative.",
        "Read the text from the beginning and stop at the first word that is in a list. If it is "
        "a good word, the text is positive. If it is a bad word, the text is negative.",
        "Of the two listed words in the text only the earlier one counts. Say positive if it is "
        "from the good list, and negative if it is from the bad list.",
        "The first listed word decides: good means positive, bad means negative.",
    ),
    avoid="Do not judge by the listed word that comes later.",
    emphasis="The first listed word decides, which need not be the first word of the text.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nThe text has a good word and a "
        "bad word. The one that comes first makes it positive or negative. Which is it?\n"
        "{options_}",
        "The words {good} are good and the words {bad} are bad. Judge this text by the first of "
        "them that is in it: {text}\n{options_}",
        "{text}\n\nThe line above has a good word (one of {good}) and a bad word (one of {bad}). "
        "The earlier one decides. Is the line positive or negative?\n{options_}",
        "I love {good}. I hate {bad}. As soon as I meet one of these words I stop reading. What "
        "do I feel when I read / {text} /?\n{options_}",
        "Task: judge the text by the listed word nearest to the beginning.\nInput: {text}\n"
        "Good: {good}\nBad: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose one for this text: {text}. The words {good} are positive and the "
        "words {bad} are negative, and an earlier word beats a later one.",
        "Do not wait for the last of the listed words. The first one already decides whether the "
        "text is positive or negative.\ngood: {good}\nbad: {bad}\ntext: {text}\n{options_}",
        "There is nothing to count here, and the later listed word does not matter. Only the one "
        "that comes before it does.\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic praises {good} and complains about {bad}. What does the critic do first with "
        "this text, praise (positive) or complain (negative)?\n> {text}\n\n{options_}",
        "Please find the two listed words in / {text} /. If the one in front is from {good} then "
        "answer positive; if it is from {bad} then answer negative.\n{options_}",
    ),
    new_wordings=ask(
        "Good words are {good} and bad words are {bad}. Both kinds are in this text, but the "
        "first one wins.\n> {text}\n{options_}",
        "Not the last of the listed words: I want to know whether the one in front of it is good "
        "(positive) or bad (negative).\nBad words: {bad}\nGood words: {good}\nText: {text}\n"
        "{options_}",
        "My friend likes {good} but hates {bad}. Which feeling comes first when my friend reads "
        "/ {text} / from the beginning?\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine cabin cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The good word sofa comes before the bad word cabin.",
        ),
        Example(
            {
                "text": "lamp cloud kitten milk table river",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "negative",
            "The bad word lamp comes before the good word river.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "milk north engine violet zero apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The good word zero comes too late: north comes first, so the text is negative.",
        ),
    ),
)


def _make_last(dice: Dice, label: str) -> Fields:
    return _make_two(dice, label, good_first=label == "negative")


def _rule_last(fields: Mapping[str, str]) -> str:
    votes = _votes(fields)
    return _label_of(votes[-1]) if votes else ""


SENTIMENT_LAST = MiniTask(
    name="sentiment_last",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "position"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_last,
    rule=_rule_last,
    labels=_LABELS,
    definitions=(
        "You are told which words count as good and which as bad. The text has one word of each "
        "kind. The one that comes last in the text decides: a good word makes the text positive, "
        "a bad word makes it negative.",
        "Read the text from the end and stop at the first listed word that you meet on the way "
        "back. If it is a good word, the text is positive. If it is a bad word, the text is "
        "negative.",
        "Of the two listed words in the text only the later one counts. Say positive if it is "
        "from the good list, and negative if it is from the bad list.",
        "The last listed word decides: good means positive, bad means negative.",
    ),
    avoid="Do not judge by the listed word that comes earlier.",
    emphasis="The last listed word decides, which need not be the last word of the text.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nThe text has a good word and a "
        "bad word. The one that comes last makes it positive or negative. Which is it?\n"
        "{options_}",
        "The words {good} are good and the words {bad} are bad. Judge this text by the last of "
        "them that is in it: {text}\n{options_}",
        "{text}\n\nThe line above has a good word (one of {good}) and a bad word (one of {bad}). "
        "The later one decides. Is the line positive or negative?\n{options_}",
        "I love {good}. I hate {bad}. Of all these words I only remember the last one that I "
        "read. What do I feel after I read / {text} /?\n{options_}",
        "Task: judge the text by the listed word nearest to the end.\nInput: {text}\n"
        "Good: {good}\nBad: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose one for this text: {text}. The words {good} are positive and the "
        "words {bad} are negative, and a later word beats an earlier one.",
        "Do not stop at the first of the listed words. The last one decides whether the text is "
        "positive or negative.\ngood: {good}\nbad: {bad}\ntext: {text}\n{options_}",
        "There is nothing to count here, and the earlier listed word does not matter. Only the "
        "one that comes after it does.\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic praises {good} and complains about {bad}. What does the critic do last with "
        "this text, praise (positive) or complain (negative)?\n> {text}\n\n{options_}",
        "Please find the two listed words in / {text} /. If the second one is from {good} then "
        "answer positive; if it is from {bad} then answer negative.\n{options_}",
    ),
    new_wordings=ask(
        "Good words are {good} and bad words are {bad}. Both kinds are in this text, but the "
        "last one wins.\n> {text}\n{options_}",
        "Not the first of the listed words: I want to know whether the one that comes after it "
        "is good (positive) or bad (negative).\nBad words: {bad}\nGood words: {good}\n"
        "Text: {text}\n{options_}",
        "My friend likes {good} but hates {bad}. Which feeling comes last when my friend reads "
        "/ {text} / to the end?\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk cabin engine sofa cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The good word sofa comes after the bad word cabin.",
        ),
        Example(
            {
                "text": "river cloud kitten milk table lamp",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "negative",
            "The bad word lamp comes after the good word river.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "milk zero engine violet north apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "positive",
            "The good word zero comes too early: north comes last, so the text is negative.",
        ),
    ),
)


def _make_has_opinion(dice: Dice, label: str) -> Fields:
    good, bad, rest = _draw(dice)
    # One to three listed words of any list, since the other tasks have texts of all such kinds.
    listed = dice.sample([*good, *bad], dice.between(1, 3)) if label == "yes" else []
    return _fields(_mixed(dice, listed, rest), good, bad, label)


def _rule_has_opinion(fields: Mapping[str, str]) -> str:
    good, bad = _lists(fields)
    return "no" if set(fields["text"].split()).isdisjoint((*good, *bad)) else "yes"


HAS_OPINION = MiniTask(
    name="has_opinion",
    cluster=CLUSTER,
    kind="classification",
    skills=("lexicon", "match"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_has_opinion,
    rule=_rule_has_opinion,
    labels=("yes", "no"),
    definitions=(
        "You are told which words count as good and which as bad. Answer yes if the text has at "
        "least one of them, good or bad, and no if it has none of them.",
        "A text has an opinion if any of its words is in one of the two lists. Say yes if it has "
        "an opinion, and no if it has not.",
        "Look for the listed words in the text. It does not matter which list they are from or "
        "how many there are: one is enough for yes, and without any the answer is no.",
        "Does the text have any good or bad word? Answer yes or no.",
    ),
    avoid="Do not say whether the text is positive or negative.",
    emphasis="Words of both lists count alike, and one of them is enough.",
    templates=ask(
        "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nDoes the text have any of the "
        "listed words?\n{options_}",
        "The words {good} are good and the words {bad} are bad. Is any of them, good or bad, in "
        "this text?\n> {text}\n{options_}",
        "{text}\n\nDoes the line above have at least one of the good words {good} or the bad "
        "words {bad} in it?\n{options_}",
        "I love {good}. I hate {bad}. About all other words I feel nothing. Do I feel anything "
        "when I read / {text} /?\n{options_}",
        "Task: say whether there is a listed word, good or bad, in the text.\nInput: {text}\n"
        "Good: {good}\nBad: {bad}\n{options_}\nOutput:",
        "{options_}\nChoose yes if this text has a word of either list and no if it has none: "
        "{text}. The good list is {good} and the bad list is {bad}.",
        "Do not say whether the text is positive or negative. Only say whether it has any word "
        "of the two lists.\ngood: {good}\nbad: {bad}\ntext: {text}\n{options_}",
        "It does not matter whether the word is good or bad, or whether it comes first or last. "
        "Is any listed word in the text?\nText: {text}\nGood words: {good}\nBad words: {bad}\n"
        "{options_}",
        "A critic praises {good} and complains about {bad}. The critic says nothing about other "
        "words. Will the critic say anything about this?\n> {text}\n\n{options_}",
        "A text has an opinion if one of its words is good (one of {good}) or bad (one of {bad}). "
        "Please tell me whether / {text} / has an opinion.\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine violet cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "yes",
            "The text has sofa, which is one of the good words.",
        ),
        Example(
            {
                "text": "lamp cloud kitten cabin table zero",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "yes",
            "The text has lamp and cabin from the bad list and zero from the good list.",
        ),
        Example(
            {
                "text": "pizza cloud kitten milk table apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "no",
            "None of the six words is in a list.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "milk north engine violet cloud apple",
                "good": "river, sofa, zero",
                "bad": "cabin, north, lamp",
            },
            "no",
            "North is a bad word, and bad words count as well as good ones: the answer is yes.",
        ),
    ),
)

TASKS = (
    SENTIMENT,
    SENTIMENT_LIAR,
    SENTIMENT_MAJORITY,
    SENTIMENT_FIRST,
    SENTIMENT_LAST,
    HAS_OPINION,
)
