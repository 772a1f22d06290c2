"""Cluster `paraphrase`: whether two texts are the same, in one sense or another.

A held-out cluster. Two lines with the same words in another order are the same to one task and not
to the next, so only the instruction tells in which sense they are to be compared.
"""

from collections.abc import Mapping

from tasks.minilab.forms import TWO_LINES_FIELDS, TWO_LINES_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import COLOURS, FOREIGN, NAMES, OBJECTS, WORDS

CLUSTER = "paraphrase"
HELDOUT_CLUSTER = True

_SKILLS = ("match", "judge")
_LABELS = ("yes", "no")


def _swapped(dice: Dice, words: list[str]) -> list[str]:
    """Returns the words with two neighbours exchanged."""
    i = dice.below(len(words) - 1)
    return [*words[:i], words[i + 1], words[i], *words[i + 2 :]]


def _yes_no(same: bool) -> str:
    return "yes" if same else "no"


def _make_same_words(dice: Dice, label: str) -> Fields:
    words = line(dice)
    other = list(words)
    if label == "no":
        new = dice.pick(WORDS)
        while new in words:
            new = dice.pick(WORDS)
        other[dice.below(len(other))] = new
    # Half of the lines are reordered as little as those of same_line, to be told apart by nothing.
    other = _swapped(dice, other) if dice.below(2) else dice.shuffled(other)
    return {"text": " ".join(words), "other": " ".join(other), "answer": label}


def _rule_same_words(fields: Mapping[str, str]) -> str:
    return _yes_no(sorted(fields["text"].split()) == sorted(fields["other"].split()))


SAME_WORDS = MiniTask(
    name="same_words",
    cluster=CLUSTER,
    kind="classification",
    skills=_SKILLS,
    fields=TWO_LINES_FIELDS,
    layout=TWO_LINES_LAYOUT,
    make=_make_same_words,
    rule=_rule_same_words,
    definitions=(
        "You are given two lines of words. Answer yes if both hold exactly the same words, in "
        "whatever order, and no if one line has a word that the other line does not have.",
        "Compare the words of two lines. Where they stand does not matter. If every word of each "
        "line is also in the other, the answer is yes, otherwise it is no.",
        "Could one line be made from the other only by moving its words around? Say yes or no.",
        "Say yes if the two lines have the same words in any order, and no if a word differs.",
        "Same words in any order?",
    ),
    avoid="Do not answer no only because the words stand in another order.",
    emphasis="The order of the words does not matter. A single different word makes it no.",
    templates=ask(
        "Do these two lines hold exactly the same words? Their order does not matter.\n\n"
        "Line 1: {text}\nLine 2: {other}\n\n{options_}",
        "First line: {text}\nSecond line: {other}\n\nAnswer yes if no word is different, in "
        "whatever order the words stand, and no otherwise.\n{options_}",
        "{text}\n> {other}\n\nIs every word of each line also in the other line?\n{options_}",
        "Task: same words, any order?\nA: {text}\nB: {other}\n{options_}\nOutput:",
        "Please tell me if I can get / {other} / from / {text} / just by moving the words "
        "around.\n{options_}",
        "I wrote / {text} / on cards, one word on each. My friend laid the cards in a new order "
        "and read / {other} / to me. Can that be true?\n{options_}",
        "{options_}\nChoose one: are the words of / {text} / and the words of / {other} / the "
        "same, when the order is left out of account?",
        "Line 1: {text}\nLine 2: {other}\n\nI do not ask if the lines are equal, only if they "
        "have the same words.\n{options_}",
        "Look for a word that is in only one of the two lines. If there is none, say yes. If "
        "there is one, say no.\n> {text}\n> {other}\n{options_}",
        "Same words, in any order? {text} / {other}\n{options_}",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "other": "sofa violet milk engine"},
            "yes",
            "Both lines hold milk, sofa, engine and violet. The order does not matter.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "other": "north cabin pizza zero paper"},
            "no",
            "kitten is only in the first line, and paper only in the second.",
        ),
    ),
    negatives=(
        Example(
            {"text": "north pizza cabin zero", "other": "north cabin pizza zero"},
            "no",
            "Two words stand in another order, but all the words are the same, so it is yes.",
        ),
    ),
    labels=_LABELS,
)


def _make_same_line(dice: Dice, label: str) -> Fields:
    words = line(dice)
    other = words if label == "yes" else _swapped(dice, words)
    return {"text": " ".join(words), "other": " ".join(other), "answer": label}


def _rule_same_line(fields: Mapping[str, str]) -> str:
    return _yes_no(fields["text"] == fields["other"])


SAME_LINE = MiniTask(
    name="same_line",
    cluster=CLUSTER,
    kind="classification",
    skills=_SKILLS,
    fields=TWO_LINES_FIELDS,
    layout=TWO_LINES_LAYOUT,
    make=_make_same_line,
    rule=_rule_same_line,
    definitions=(
        "You are given two lines of words. Answer yes if they are equal word for word, in the "
        "same order, and no if they differ in any place.",
        "Compare the first word of one line with the first word of the other, then the second "
        "words, and so on. If all pairs are equal, the answer is yes, otherwise it is no.",
        "Is the second line an exact copy of the first? Two words that have changed places make "
        "it wrong. Say yes or no.",
        "Say yes if the two lines have the same words in the same order, and no if not.",
        "Are the two lines equal?",
    ),
    avoid="Do not answer yes only because the same words are in both lines.",
    emphasis="The order matters. If two words have changed places, the answer is no.",
    templates=ask(
        "Are these two lines equal, word for word and in the same order?\n\n"
        "Line 1: {text}\nLine 2: {other}\n\n{options_}",
        "First line: {text}\nSecond line: {other}\n\nAnswer yes if both lines are the same in "
        "every place, and no if any word stands elsewhere.\n{options_}",
        "{text}\n> {other}\n\nDoes the second line repeat the first line exactly?\n{options_}",
        "Task: same words, same order?\nA: {text}\nB: {other}\n{options_}\nOutput:",
        "Please tell me if / {other} / is an exact copy of / {text} / with each word in its old "
        "place.\n{options_}",
        "I had to copy / {text} / without a mistake, keeping the order, and I wrote / {other} / "
        "on my paper. Did I do it right?\n{options_}",
        "{options_}\nChoose one: is / {text} / the same line as / {other} / when the order counts "
        "as well?",
        "Line 1: {text}\nLine 2: {other}\n\nIt is not enough that the lines have the same words. "
        "Are the words in the same order, too?\n{options_}",
        "Look for a place where the two lines have different words. If there is none, say yes. "
        "If there is one, say no.\n> {text}\n> {other}\n{options_}",
        "Equal, with the order? {text} / {other}\n{options_}",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "other": "milk sofa engine violet"},
            "yes",
            "All four words are equal and in the same order.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "other": "north pizza zero cabin kitten"},
            "no",
            "cabin and zero have changed places.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet", "other": "sofa milk engine violet"},
            "yes",
            "The words are the same, but the first two have changed places, so it is no.",
        ),
    ),
    labels=_LABELS,
)

# Ways to say who has what. The two sentences of an instance say it in two different ways.
_FACT_FORMS = (
    "{name} has the {colour} {thing}.",
    "The {colour} {thing} belongs to {name}.",
    "{name} is the owner of the {colour} {thing}.",
)


def _make_same_fact(dice: Dice, label: str) -> Fields:
    name, other_name = dice.sample(NAMES, 2)
    colour, other_colour = dice.sample(COLOURS, 2)
    thing, other_thing = dice.sample(OBJECTS, 2)
    first, second = dice.sample(_FACT_FORMS, 2)
    text = first.format(name=name, colour=colour, thing=thing)
    if label == "no":
        # A name, a colour or a thing: each is as good a reason for no as the others.
        changed = dice.below(3)
        if changed == 0:
            name = other_name
        elif changed == 1:
            colour = other_colour
        else:
            thing = other_thing
    other = second.format(name=name, colour=colour, thing=thing)
    return {"text": text, "other": other, "answer": label}


def _fact(sentence: str) -> tuple[str, str] | None:
    """Returns (name, thing with its colour), or None where the sentence says no such fact."""
    body = sentence.removesuffix(".")
    for between in (" has the ", " is the owner of the "):
        name, found, thing = body.partition(between)
        if found:
            return name, thing
    thing, found, name = body.partition(" belongs to ")
    return (name, thing.removeprefix("The ")) if found else None


def _rule_same_fact(fields: Mapping[str, str]) -> str:
    facts = _fact(fields["text"]), _fact(fields["other"])
    return _yes_no(facts[0] == facts[1]) if None not in facts else ""


SAME_FACT = MiniTask(
    name="same_fact",
    cluster=CLUSTER,
    kind="classification",
    skills=_SKILLS,
    fields=TWO_LINES_FIELDS,
    layout=TWO_LINES_LAYOUT,
    make=_make_same_fact,
    rule=_rule_same_fact,
    definitions=(
        "You are given two sentences about who has what, in different words. Answer yes if they "
        "say the same, and no if the person, the thing or its colour is another one.",
        "Tom has the green hat, the green hat belongs to Tom and Tom is the owner of the green "
        "hat all state one fact. Do two sentences state one fact in this way? Say yes or no.",
        "Compare two sentences by what they say and not by how they say it: yes for the same "
        "person with the same thing in the same colour, no for anything else.",
        "Say yes if both sentences give the same thing, colour included, to the same person.",
        "Do the two sentences say the same?",
    ),
    avoid="Do not answer no only because the two sentences are built in different ways.",
    emphasis="The name, the colour and the thing must all be the same.",
    templates=ask(
        "Do these two sentences say the same?\n\n"
        "Sentence 1: {text}\nSentence 2: {other}\n\n{options_}",
        "First sentence: {text}\nSecond sentence: {other}\n\nAnswer yes if the same person has "
        "the same thing in the same colour in both, and no otherwise.\n{options_}",
        "{text}\n> {other}\n\nIs this one fact in two forms?\n{options_}",
        "Task: same fact?\nA: {text}\nB: {other}\n{options_}\nOutput:",
        "I know this: {text} Please tell me if this says the same again: {other}\n{options_}",
        "My brother told me: {text} My sister told me: {other} Both told the truth, each in "
        "different words. Did they tell me the same thing?\n{options_}",
        "{options_}\nChoose one for the question if both sentences have the same meaning.\n> "
        "{text}\n> {other}",
        "Sentence 1: {text}\nSentence 2: {other}\n\nI do not ask if the words are the same, but "
        "if the owner and the thing, with its colour, are the same.\n{options_}",
        "Look at the person, the colour and the thing. If one of them is different, say no. If "
        "only the form of the sentence is different, say yes.\n> {text}\n> {other}\n{options_}",
        "Same meaning? {text} / {other}\n{options_}",
    ),
    examples=(
        Example(
            {"text": "Tom has the green hat.", "other": "The green hat belongs to Tom."},
            "yes",
            "Both sentences say that Tom is the one with the green hat.",
        ),
        Example(
            {
                "text": "The white coat belongs to Sue.",
                "other": "Tom is the owner of the white coat.",
            },
            "no",
            "The first sentence gives the coat to Sue, the second one to Tom.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "Sue has the white coat.",
                "other": "Sue is the owner of the green coat.",
            },
            "yes",
            "The colour of the coat is not the same, so the answer is no.",
        ),
    ),
    labels=_LABELS,
)

_PAIRS = 3


def _make_same_meaning(dice: Dice, label: str) -> Fields:
    # Two of the listed words are in the line, and the third pair of the list is not needed.
    words = dice.sample(WORDS, dice.between(5, 7))
    foreign = dice.sample(FOREIGN, _PAIRS)
    spare = words.pop()
    places = dice.sample(range(len(words)), 2)
    listed = zip([words[places[0]], words[places[1]], spare], foreign, strict=True)
    pairs = [f"{word} = {new}" for word, new in listed]
    used = foreign[:2]
    if label == "no":
        # Either the two words are given for one another, or the third is given for one of them,
        # so that it cannot be told without the list.
        if dice.below(2):
            used.reverse()
        else:
            used[dice.below(2)] = foreign[2]
    lines = (list(words), list(words))
    for place, word in zip(places, used, strict=True):
        lines[dice.below(2)][place] = word
    text, other = (" ".join(words) for words in lines)
    return {"text": text, "other": other, "pairs": ", ".join(dice.shuffled(pairs)), "answer": label}


def _rule_same_meaning(fields: Mapping[str, str]) -> str:
    pairs = [pair.partition(" = ") for pair in fields["pairs"].split(", ")]
    if not all(equals for _, equals, _ in pairs):
        return ""
    known = {foreign: word for word, _, foreign in pairs}
    lines = [[known.get(word, word) for word in fields[key].split()] for key in TWO_LINES_FIELDS]
    return _yes_no(lines[0] == lines[1])


SAME_MEANING = MiniTask(
    name="same_meaning",
    cluster=CLUSTER,
    kind="classification",
    skills=(*_SKILLS, "lexicon"),
    fields=(*TWO_LINES_FIELDS, "pairs"),
    layout="{text} / {other} / {pairs}",
    make=_make_same_meaning,
    rule=_rule_same_meaning,
    definitions=(
        "You are given two lines of words and a list of words that mean the same. Answer yes if "
        "the lines are equal once words that the list equates are exchanged, and no otherwise.",
        "Compare two lines place by place. In each place there must be the same word, or two "
        "words that are a pair in the list. If so, the answer is yes, otherwise it is no.",
        "A list says which word means the same as which. Going by the list alone, do two lines "
        "mean the same, word for word? Say yes or no.",
        "Say yes if the lines differ only in words that the list puts an equals sign between.",
        "Same meaning by the list?",
    ),
    avoid="Do not answer no only because the lines have different words.",
    emphasis="Each word may stand only for the word that the list pairs it with.",
    templates=ask(
        "Words that mean the same: {pairs}\n\nLine 1: {text}\nLine 2: {other}\n\nDo the two lines "
        "mean the same, word for word?\n{options_}",
        "First line: {text}\nSecond line: {other}\nList: {pairs}\n\nAnswer yes if the lines are "
        "equal once the words of the list are exchanged, and no otherwise.\n{options_}",
        "{text}\n> {other}\n\nIs this the same line, word for word, given that {pairs}?\n"
        "{options_}",
        "Task: same meaning, word for word?\nList: {pairs}\nA: {text}\nB: {other}\n{options_}\n"
        "Output:",
        "Please tell me if / {text} / and / {other} / mean the same in every place. You need to "
        "know that {pairs}.\n{options_}",
        "In my language {pairs}. I said / {text} / and a friend said / {other} / after me. Did "
        "every word of my friend mean the same as mine?\n{options_}",
        "{options_}\nChoose one: does / {text} / mean the same, word for word, as / {other} / by "
        "the list {pairs}?",
        "List: {pairs}\nLine 1: {text}\nLine 2: {other}\n\nI do not ask if the words look the "
        "same, but if they mean the same, place by place.\n{options_}",
        "Is there a place where the words are neither the same nor a pair of the list? If so, say "
        "no. If not, say yes.\n> {text}\n> {other}\nList: {pairs}\n{options_}",
        "With {pairs}: is every word the same? {text} / {other}\n{options_}",
    ),
    examples=(
        Example(
            {
                "text": "milk sofa engine violet",
                "other": "milk zor engine mip",
                "pairs": "violet = mip, sofa = zor, cabin = luno",
            },
            "yes",
            "zor means sofa and mip means violet. The other words are equal.",
        ),
        Example(
            {
                "text": "north mip cabin zero kitten",
                "other": "north pizza cabin zero luno",
                "pairs": "kitten = mip, pizza = luno, sofa = zor",
            },
            "no",
            "mip means kitten and not pizza, and luno means pizza and not kitten.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "milk zor engine violet",
                "other": "milk sofa engine luno",
                "pairs": "violet = mip, sofa = zor, cabin = luno",
            },
            "yes",
            "luno means cabin and not violet, so the last words do not mean the same.",
        ),
    ),
    labels=_LABELS,
)

TASKS = (SAME_WORDS, SAME_LINE, SAME_FACT, SAME_MEANING)
