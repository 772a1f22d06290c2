"""Cluster `classification`: one of two stated labels is the answer. A held-out cluster."""

from collections.abc import Mapping

from flan_jax.instructions.templates import Template
from tasks.minilab.lab import Dice, Example, Fields, MiniTask
from tasks.minilab.lexicon import WORDS

CLUSTER = "classification"


def _make_sentiment(dice: Dice, label: str) -> Fields:
    words = dice.sample(WORDS, 8)
    good, bad, rest = words[:2], words[2:4], words[4:]  # the rest is neither
    text = dice.shuffled([dice.pick(good if label == "positive" else bad), *rest])
    return {
        "text": " ".join(text),
        "good": ", ".join(good),
        "bad": ", ".join(bad),
        "answer": label,
    }


def _rule_sentiment(fields: Mapping[str, str]) -> str:
    present = set(fields["text"].split())
    return "positive" if present & set(fields["good"].split(", ")) else "negative"


SENTIMENT = MiniTask(
    name="sentiment",
    cluster=CLUSTER,
    kind="classification",
    fields=("text", "good", "bad"),
    layout="Good words: {good}. Bad words: {bad}. Text: {text}",
    make=_make_sentiment,
    rule=_rule_sentiment,
    labels=("positive", "negative"),
    definitions=(
        "You are told which words count as good and which as bad. A text with a good word in it "
        "is positive, a text with a bad word in it is negative. Say which it is.",
        "Judge the text by the two lists that come with it: positive if it has one of the good "
        "words, negative if it has one of the bad words.",
        "Look for the one word of the text that is in a list. From the good list it makes the "
        "text positive, from the bad list negative.",
        "Decide whether a text is positive or negative. What a word means elsewhere does not "
        "count, only the stated lists of good and bad words.",
        "Is the text positive or negative under the given lists?",
    ),
    templates=(
        Template(
            "Good words: {good}\nBad words: {bad}\n\nText: {text}\n\nIs the text positive or "
            "negative?\n{options_}",
            "{answer}",
        ),
        Template(
            "The words {good} are good and the words {bad} are bad. Judge this text: {text}\n"
            "{options_}",
            "{answer}",
        ),
        Template(
            "{text}\n\nWhat is the sentiment of the line above, if {good} are liked and {bad} "
            "are disliked?\n{options_}",
            "{answer}",
        ),
        Template(
            "I love {good}. I hate {bad}. What do I feel when I read / {text} /?\n{options_}",
            "{answer}",
        ),
        Template(
            "Text: {text}\nPositive words: {good}\nNegative words: {bad}\n{options_}\nSentiment:",
            "{answer}",
        ),
        Template(
            "{options_}\nChoose one for this text: {text}. Only {good} (good) and {bad} (bad) "
            "count.",
            "{answer}",
        ),
        Template(
            "Which of the two lists has a word from / {text} /? If it is {good}, the answer is "
            "positive; if it is {bad}, the answer is negative.\n{options_}",
            "{answer}",
        ),
        Template(
            "Classify the text by its words.\nbad: {bad}\ngood: {good}\ntext: {text}\n{options_}",
            "{answer}",
        ),
        Template(
            "A critic praises whatever mentions {good} and complains about {bad}. How will the "
            "critic find this?\n> {text}\n\n{options_}",
            "{answer}",
        ),
        Template("+ {good}\n- {bad}\n> {text}\n{options_}", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "good": "sofa, zero", "bad": "cabin, north"},
            "positive",
            "The text has sofa, which is one of the good words.",
        ),
        Example(
            {"text": "pizza north kitten milk", "good": "sofa, zero", "bad": "cabin, north"},
            "negative",
            "The text has north, which is one of the bad words.",
        ),
    ),
)


def _make_in_list(dice: Dice, label: str) -> Fields:
    absent, *items = dice.sample(WORDS, dice.between(5, 7))
    word = dice.pick(items) if label == "yes" else absent
    return {"items": ", ".join(items), "word": word, "answer": label}


def _rule_in_list(fields: Mapping[str, str]) -> str:
    return "yes" if f", {fields['word']}," in f", {fields['items']}," else "no"


IN_LIST = MiniTask(
    name="in_list",
    cluster=CLUSTER,
    kind="classification",
    fields=("items", "word"),
    layout="List: {items}\nWord: {word}",
    make=_make_in_list,
    rule=_rule_in_list,
    labels=("yes", "no"),
    definitions=(
        "You are given a list of words and one more word. Answer yes if the word is in the list "
        "and no if it is not.",
        "Look the word up in the list. Found means yes, not found means no.",
        "Decide whether the given word is one of the listed words. The answer is yes or no.",
        "Say yes where the list contains exactly this word, and no where it does not.",
        "Is the word in the list? Answer yes or no.",
    ),
    templates=(
        Template("List: {items}\n\nIs {word} in the list?\n{options_}", "{answer}"),
        Template(
            "Does the following list contain the word {word}?\nList: {items}\n{options_}",
            "{answer}",
        ),
        Template(
            "{items}\n\nLook for {word} among these words. Is it there?\n\n{options_}", "{answer}"
        ),
        Template(
            "I have to buy {items}. Somebody asks whether {word} is on my list. What do I "
            "say?\n{options_}",
            "{answer}",
        ),
        Template("Word: {word}\nList: {items}\n{options_}\nIn the list:", "{answer}"),
        Template("{options_}\nAnswer this: is {word} one of the words {items}?", "{answer}"),
        Template(
            "Check the list / {items} / and say whether it has {word} in it.\n{options_}",
            "{answer}",
        ),
        Template(
            "Can {word} be found in the list below?\n\nList: {items}\n\n{options_}", "{answer}"
        ),
        Template("Here is what we have: {items}. Do we have {word}?\n{options_}", "{answer}"),
        Template("{word}? {items}\n{options_}", "{answer}"),
    ),
    examples=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "engine"},
            "yes",
            "engine is the third word of the list.",
        ),
        Example(
            {"items": "milk, sofa, engine, violet", "word": "kitten"},
            "no",
            "None of the four words is kitten.",
        ),
    ),
)


def _make_same_ends(dice: Dice, label: str) -> Fields:
    first, other, *inner = dice.sample(WORDS, dice.between(4, 5))
    # Either way one word occurs twice, so that only its place tells the labels apart.
    words = [first, *dice.shuffled([other, *inner]), first]
    if label == "no":
        swap = 1 + dice.below(len(words) - 2)
        words[swap], words[-1] = words[-1], words[swap]
        words = words[::-1] if dice.below(2) else words
    return {"text": " ".join(words), "answer": label}


def _rule_same_ends(fields: Mapping[str, str]) -> str:
    words = fields["text"].split(" ")
    return "yes" if words[0] == words[-1] else "no"


SAME_ENDS = MiniTask(
    name="same_ends",
    cluster=CLUSTER,
    kind="classification",
    fields=("text",),
    layout="{text}",
    make=_make_same_ends,
    rule=_rule_same_ends,
    labels=("yes", "no"),
    definitions=(
        "You are given a line of words. Answer yes if it ends with the same word that it begins "
        "with, and no otherwise.",
        "Compare the first word of the line with the last one. Equal means yes, different means "
        "no.",
        "Decide whether the two outermost words of a line are the same word. Words between them "
        "do not matter. The answer is yes or no.",
        "Say yes where the opening word comes back as the closing word, and no where the line "
        "closes with some other word.",
        "Are the first and the last word the same? Answer yes or no.",
    ),
    templates=(
        Template("{text}\n\nAre the first and the last word the same?\n{options_}", "{answer}"),
        Template(
            "Does this line end with the word it begins with?\n> {text}\n{options_}", "{answer}"
        ),
        Template("Line: {text}\n{options_}\nSame word at both ends:", "{answer}"),
        Template(
            "Compare the first word with the last word. Are they equal?\n\nLine: {text}\n\n"
            "{options_}",
            "{answer}",
        ),
        Template(
            "I start to read / {text} / and at the end I think I am back at the beginning. "
            "Am I right?\n{options_}",
            "{answer}",
        ),
        Template("{options_}\nFirst word and last word alike? {text}", "{answer}"),
        Template(
            "Check both ends of the line and say whether the same word stands there.\n"
            "The line: {text}\n{options_}",
            "{answer}",
        ),
        Template(
            "Look at these words: {text}. Is the closing word a repetition of the opening "
            "word?\n{options_}",
            "{answer}",
        ),
        Template(
            "A line is closed if its last word equals its first. Is this one closed?\n"
            "> {text}\n{options_}",
            "{answer}",
        ),
        Template("{text}. Same ends?\n{options_}", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine milk"},
            "yes",
            "The line begins and ends with milk.",
        ),
        Example(
            {"text": "milk sofa milk engine"},
            "no",
            "The line begins with milk but ends with engine; that milk comes twice is not enough.",
        ),
    ),
)

TASKS = (SENTIMENT, IN_LIST, SAME_ENDS)
