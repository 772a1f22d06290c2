"""Cluster `classification`: one of a few stated labels is the answer.

Nearly all tasks read the same kind of line, and several of them answer yes or no, so the line
alone does not tell what is asked: the same line may have a word twice (`repeats`: yes), though not
at its ends (`same_ends`: no), and may have an animal in it (`has_animal`) besides.
"""

from collections.abc import Mapping, Sequence

from tasks.minilab import forms
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import ANIMALS, FOODS, JOBS, OTHERS, WORDS

CLUSTER = "classification"
HELDOUT = ("has_food", "longer_line")

_YES_NO = ("yes", "no")
_KINDS = {"animals": ANIMALS, "foods": FOODS, "jobs": JOBS}

# Lines are drawn without the words that one may take for an animal or for a food as well.
_CLEAR_ANIMALS = tuple(word for word in ANIMALS if word not in ("fish", "chicken", "duck"))
_CLEAR_OTHERS = tuple(word for word in OTHERS if word not in ("oil", "ice", "seed"))
_CLEAR_KINDS = {**_KINDS, "animals": _CLEAR_ANIMALS}

_KIND_OF_WORD = {word: kind for kind, words in _KINDS.items() for word in words}
_ANIMALS_SET = frozenset(ANIMALS)
_FOODS_SET = frozenset(FOODS)


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
    skills=("match", "find"),
    fields=("items", "word"),
    layout="List: {items}\nWord: {word}",
    make=_make_in_list,
    rule=_rule_in_list,
    labels=_YES_NO,
    definitions=(
        "You are given a list of words and one more word. Answer yes if the word is in the list "
        "and no if it is not.",
        "Look the word up in the list. Found means yes, not found means no.",
        "Decide whether the given word is one of the listed words. The answer is yes or no.",
        "Say yes where the list contains exactly this word, and no where it does not.",
        "Is the word in the list?",
    ),
    avoid="Do not answer yes because of a word that is only similar, and do not copy the list.",
    emphasis="Where in the list the word stands makes no difference.",
    templates=ask(
        "List: {items}\n\nIs {word} in the list?\n{options_}",
        "Does the following list contain the word {word}?\nList: {items}\n{options_}",
        "{items}\n\nLook for {word} among these words. Is it there?\n\n{options_}",
        "I wrote down {items}. Somebody asks whether {word} is one of them. What do I say?\n"
        "{options_}",
        "Task: say whether the word is in the list.\nWord: {word}\nList: {items}\n{options_}\n"
        "Output:",
        "{options_}\nAnswer this: is {word} one of the words {items}?",
        "Please check the list / {items} / and say whether it has {word} in it.\n{options_}",
        "Can {word} be found in the list below? Where it stands does not matter.\n\n"
        "List: {items}\n\n{options_}",
        "Do not tell me what comes before or after {word}, only whether it is in this list at "
        "all.\n> {items}\n{options_}",
        "Here is what we have: {items}. Do we have {word}? Another word, however similar, does "
        "not count.\n{options_}",
    ),
    new_wordings=ask(
        "Of the words {items}, is any one the same as {word}?\n{options_}",
        "Never mind the order of these words, and how many there are: {items}. I only ask if one "
        "of them is {word}.\n{options_}",
        "Say no if {word} is missing from the list and yes if you find it there.\nList: {items}\n"
        "{options_}",
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
    negatives=(
        Example(
            {"items": "milk, sofa, engine, violet", "word": "milk"},
            "milk",
            "The word is in the list, so the answer is yes; the word itself is not asked for.",
        ),
        Example(
            {"items": "butterfly, sofa, engine", "word": "butter"},
            "yes",
            "butterfly begins like butter but is another word, so the answer is no.",
        ),
    ),
)


def _make_same_ends(dice: Dice, label: str) -> Fields:
    first, *inner = dice.sample(WORDS, dice.between(3, 5))
    # Either way one word occurs twice, so that only its place tells the labels apart.
    words = [first, *inner, first]
    if label == "no":
        swap = 1 + dice.below(len(words) - 2)
        words[swap], words[-1] = words[-1], words[swap]
        words = words[::-1] if dice.below(2) else words
    return {"text": " ".join(words), "answer": label}


def _rule_same_ends(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return "yes" if text.partition(" ")[0] == text.rpartition(" ")[2] else "no"


SAME_ENDS = MiniTask(
    name="same_ends",
    cluster=CLUSTER,
    kind="classification",
    skills=("match", "position"),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_same_ends,
    rule=_rule_same_ends,
    labels=_YES_NO,
    definitions=(
        "You are given a line of words. Answer yes if it ends with the same word that it begins "
        "with, and no otherwise.",
        "Compare the first word of the line with the last one. Equal means yes, different means "
        "no.",
        "Decide whether the two outermost words of a line are the same word. Words between them "
        "do not matter. The answer is yes or no.",
        "Say yes where the opening word comes back as the closing word, and no where the line "
        "closes with some other word.",
        "Are the first and the last word the same?",
    ),
    avoid="Do not answer yes because a word comes twice somewhere else in the line.",
    emphasis="Only the first and the last word are compared.",
    templates=ask(
        "{text}\n\nAre the first and the last word the same?\n{options_}",
        "Does this line end with the word it begins with?\n> {text}\n{options_}",
        "Task: say whether the same word is at both ends of the input.\nInput: {text}\n"
        "{options_}\nOutput:",
        "Compare the first word with the last word. Are they equal?\n\nLine: {text}\n\n{options_}",
        "I have read / {text} / and think that I finished with the very word I started with. "
        "Am I right?\n{options_}",
        "{options_}\nFirst word and last word alike? {text}",
        "Please check both ends of the line and say whether the same word stands there.\n"
        "The line: {text}\n{options_}",
        "Look at these words: {text}. Is the closing word a repetition of the opening word?\n"
        "{options_}",
        "A word may well come twice in this line. I only ask whether it does so as the first and "
        "the last word.\n> {text}\n{options_}",
        "Pay no attention to the words in the middle. Do the two outermost words of / {text} / "
        "match?\n{options_}",
    ),
    new_wordings=ask(
        "Not whether some word is repeated, but whether the line closes with the word that opens "
        "it: that is the question.\nLine: {text}\n{options_}",
        "Take the word at the beginning of / {text} / and the word at its end. Do you have the "
        "same word twice?\n{options_}",
        "{text}\n\nSay no if the line above begins with one word and ends with another, and yes "
        "if it does not.\n{options_}",
    ),
    examples=(
        Example({"text": "milk sofa engine milk"}, "yes", "The line begins and ends with milk."),
        Example(
            {"text": "milk sofa milk engine"},
            "no",
            "The line begins with milk but ends with engine; that milk comes twice is not enough.",
        ),
    ),
    negatives=(
        Example(
            {"text": "violet kitten sofa kitten"},
            "yes",
            "kitten comes twice, but the line begins with violet, so the answer is no.",
        ),
    ),
)


def _make_kind_of_line(dice: Dice, label: str) -> Fields:
    count = dice.between(4, 6)
    strangers = 1 if count == 4 else dice.between(1, 2)
    words = [
        *dice.sample(_CLEAR_KINDS[label], count - strangers),
        *dice.sample(_CLEAR_OTHERS, strangers),
    ]
    return {"text": " ".join(dice.shuffled(words)), "answer": label}


def _rule_kind_of_line(fields: Mapping[str, str]) -> str:
    words = fields["text"].split(" ")
    kinds = [_KIND_OF_WORD.get(word, "") for word in words]
    # Whatever more than half of the words have in common stands in the middle once sorted.
    middle = sorted(kinds)[len(kinds) // 2]
    return middle if 2 * kinds.count(middle) > len(kinds) else ""


KIND_OF_LINE = MiniTask(
    name="kind_of_line",
    cluster=CLUSTER,
    kind="classification",
    skills=("kind",),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_kind_of_line,
    rule=_rule_kind_of_line,
    labels=tuple(_KINDS),
    definitions=(
        "You are given a line of words. Most of them are of one kind: they name animals, foods "
        "or jobs. Answer with that kind. The one or two other words do not matter.",
        "Answer animals if most words of the line name animals, foods if most of them name "
        "something to eat, and jobs if most of them say what people work as.",
        "One heading fits most words of the line: animals, foods or jobs. Choose it, and ignore "
        "the words that it does not fit.",
        "Animals, foods or jobs: what are most of the words?",
    ),
    avoid="Do not answer with a word of the line or with a kind that is not among the three.",
    emphasis="A word or two of the line are of none of the three kinds; most words decide.",
    templates=ask(
        "What do most of the words in this line name?\n\nLine: {text}\n\n{options_}",
        "{text}\n\nAre these words mostly animals, foods or jobs?\n{options_}",
        "Task: name the kind that most words of the input belong to.\nInput: {text}\n{options_}\n"
        "Output:",
        "Please choose the heading that fits most of these words: {text}.\n{options_}",
        "I wrote down / {text} / and added a word or two by mistake. Was it to be a list of "
        "animals, of foods or of jobs?\n{options_}",
        "{options_}\nOne of these is right for nearly all the words below. Which one?\n> {text}",
        "Do not go by the first word or the last word alone. Which kind do most words of "
        "/ {text} / belong to?\n{options_}",
        "There are three boxes, one for each kind of word. Into which box does this line go, if "
        "most of its words decide?\nLine: {text}\n{options_}",
        "Words of no kind are mixed in here, so leave them out: {text}. What are all the others?\n"
        "{options_}",
        "How many words there are is not the question. Tell me what most of them are, animals, "
        "foods or jobs.\n> {text}\n{options_}",
    ),
    new_wordings=ask(
        "If only one kind is to be named for all of / {text} /, which kind is right most often?\n"
        "{options_}",
        "I do not ask whether there is an animal or a food in the line. I ask for the kind that "
        "more than half of the words are.\nLine: {text}\n{options_}",
        "Look at the words {text} and take away those that do not belong. Say what is left.\n"
        "{options_}",
    ),
    examples=(
        Example(
            {"text": "tiger goat river penguin"},
            "animals",
            "tiger, goat and penguin are animals; only river is not.",
        ),
        Example(
            {"text": "hammer lemon bread cheese sudden soup"},
            "foods",
            "lemon, bread, cheese and soup can be eaten; hammer and sudden are of no kind.",
        ),
        Example(
            {"text": "pilot doctor mirror teacher singer"},
            "jobs",
            "Four words say what people work as; mirror does not matter.",
        ),
    ),
    negatives=(
        Example(
            {"text": "saddle farmer wagon sailor tailor"},
            "animals",
            "A saddle is for a horse, but farmer, sailor and tailor are jobs, and they are most.",
        ),
    ),
)


def _make_even_count(dice: Dice, label: str) -> Fields:
    count = 2 * dice.between(2, 4) - (label == "odd")
    return {"text": " ".join(forms.line(dice, count, count)), "answer": label}


def _rule_even_count(fields: Mapping[str, str]) -> str:
    # One space fewer than words.
    return "even" if fields["text"].count(" ") % 2 else "odd"


EVEN_COUNT = MiniTask(
    name="even_count",
    cluster=CLUSTER,
    kind="classification",
    skills=("count",),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_even_count,
    rule=_rule_even_count,
    labels=("even", "odd"),
    definitions=(
        "You are given a line of words. Count its words. Answer even if their number is even, "
        "that is 4, 6 or 8, and odd if it is odd, that is 3, 5 or 7.",
        "Count the words of the line and say whether you get an even or an odd number.",
        "Put the words of the line into pairs. If no word is left over the answer is even, and if "
        "one is left over it is odd.",
        "Is the number of words even or odd?",
    ),
    avoid="Do not count letters, and do not answer with the number itself.",
    emphasis="Only how many words there are matters, not what they mean.",
    templates=ask(
        "Count the words of this line. Is their number even or odd?\n\nLine: {text}\n\n{options_}",
        "{text}\n\nDoes the line above have an even or an odd number of words?\n{options_}",
        "Task: say whether the number of words is even or odd.\nInput: {text}\n{options_}\nOutput:",
        "I want to put the words / {text} / into pairs. If that works, say even; if one word is "
        "left over, say odd.\n{options_}",
        "Please count these words for me: {text}. I do not need the number, only whether it is "
        "even or odd.\n{options_}",
        "{options_}\nWhich of the two is the number of words in this line?\n> {text}",
        "Not the letters but the words are to be counted. Do you get an even or an odd number?\n"
        "Line: {text}\n{options_}",
        "With 4, 6 or 8 words a line is even, with 3, 5 or 7 words it is odd. What is this one?\n"
        "> {text}\n{options_}",
        "How many words stand here, an even number or an odd one? {text}\n{options_}",
        "Take two words away from / {text} / again and again. If nothing is left in the end, the "
        "answer is even; if one word is left, it is odd.\n{options_}",
    ),
    new_wordings=ask(
        "What kind of words these are is not the question. Count them all and tell me if their "
        "number is even or odd.\n> {text}\n{options_}",
        "Take half of the words to one side and half to the other. If that works, answer even, "
        "otherwise odd.\nLine: {text}\n{options_}",
        "Even or odd: which one is right for the number of words in / {text} /?\n{options_}",
    ),
    examples=(
        Example({"text": "milk sofa engine violet"}, "even", "There are 4 words, and 4 is even."),
        Example(
            {"text": "north pizza cabin zero kitten"}, "odd", "There are 5 words, and 5 is odd."
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine"},
            "3",
            "3 is the number of words; the answer says that this number is odd.",
        ),
        Example(
            {"text": "milk sofa violet"},
            "even",
            "The line has 14 letters, but it is the words that are counted, and 3 is odd.",
        ),
    ),
)


def _line_with(dice: Dice, decisive: Sequence[str], besides: Sequence[str]) -> str:
    """Returns a line with a word of `decisive`, and often one of `besides`, among others.

    The second word keeps "a word of the other kind is there" from telling the answer.
    """
    words = [dice.pick(decisive)]
    if dice.below(2):
        extra = dice.pick(besides)
        while extra in words:
            extra = dice.pick(besides)
        words.append(extra)
    others = dice.sample(_CLEAR_OTHERS, dice.between(4, 6) - len(words))
    return " ".join(dice.shuffled(words + others))


def _make_has_animal(dice: Dice, label: str) -> Fields:
    decisive = _CLEAR_ANIMALS if label == "yes" else FOODS
    return {"text": _line_with(dice, decisive, FOODS), "answer": label}


def _rule_has_animal(fields: Mapping[str, str]) -> str:
    return "no" if _ANIMALS_SET.isdisjoint(fields["text"].split(" ")) else "yes"


HAS_ANIMAL = MiniTask(
    name="has_animal",
    cluster=CLUSTER,
    kind="classification",
    skills=("kind",),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_has_animal,
    rule=_rule_has_animal,
    labels=_YES_NO,
    definitions=(
        "You are given a line of words. Answer yes if at least one of its words names an animal, "
        "and no if none does. Birds and insects are animals too.",
        "Look for an animal in the line. Found means yes, not found means no.",
        "Decide whether any word of the line is the name of an animal, large or small. Foods and "
        "other things are not animals. The answer is yes or no.",
        "Is there an animal in the line?",
    ),
    avoid="Do not take a food or any other thing for an animal, and do not name the animal.",
    emphasis="One animal is enough for yes, wherever in the line it stands.",
    templates=ask(
        "Line: {text}\n\nIs there an animal in the line?\n{options_}",
        "Does any of these words name an animal?\n> {text}\n{options_}",
        "{text}\n\nLook through the words above. Is an animal among them?\n\n{options_}",
        "Task: answer yes if the input has an animal in it, otherwise no.\nInput: {text}\n"
        "{options_}\nOutput:",
        "I am looking for animals of any kind, birds and insects too. Will I find one in "
        "/ {text} /?\n{options_}",
        "{options_}\nPlease tell me whether this line has the name of an animal in it: {text}.",
        "Something to eat does not count, I ask for animals only. Is there one here?\n"
        "Line: {text}\n{options_}",
        "Here are the words {text}. Is at least one of them an animal?\n{options_}",
        "Say yes if you see an animal in this line, wherever it stands, and no if you see none.\n"
        "> {text}\n{options_}",
        "It is not important what most of the words are. One animal is enough for yes, none means "
        "no: {text}.\n{options_}",
    ),
    new_wordings=ask(
        "Count the animals in this line. If there are none the answer is no, otherwise yes.\n"
        "Line: {text}\n{options_}",
        "There may be a food in the line or not, it does not matter. The question is whether there "
        "is an animal.\n> {text}\n{options_}",
        "{text}\n\nIf all the words above name other things than animals, say no. If not, say "
        "yes.\n{options_}",
    ),
    examples=(
        Example(
            {"text": "river tiger candle sudden"},
            "yes",
            "tiger is an animal; the other three words are not.",
        ),
        Example(
            {"text": "carrot window brave hammer rocket"},
            "no",
            "A carrot is something to eat, and no other word names an animal either.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river honey candle mirror"},
            "yes",
            "honey comes from bees but is a food; there is no animal, so the answer is no.",
        ),
    ),
)


# The places of a repeated word, for each length of the line; never side by side.
_APART = {count: tuple((i, j) for j in range(count) for i in range(j - 1)) for count in range(4, 7)}


def _make_repeats(dice: Dice, label: str) -> Fields:
    words = forms.line(dice)
    if label == "yes":
        source, copy = dice.pick(_APART[len(words)])
        words[copy] = words[source]
    return {"text": " ".join(words), "answer": label}


def _rule_repeats(fields: Mapping[str, str]) -> str:
    words = fields["text"].split(" ")
    return "yes" if len(set(words)) < len(words) else "no"


REPEATS = MiniTask(
    name="repeats",
    cluster=CLUSTER,
    kind="classification",
    skills=("match",),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_repeats,
    rule=_rule_repeats,
    labels=_YES_NO,
    definitions=(
        "You are given a line of words. Answer yes if some word comes twice in it, at whatever "
        "places, and no if all its words are different.",
        "Look for a word that the line has two times. Found means yes, not found means no.",
        "Say no where no two words of the line are the same, and yes where a word comes back "
        "later in the line.",
        "Does a word occur twice?",
    ),
    avoid="Do not look at the ends of the line only, and do not name the word that is repeated.",
    emphasis="The two places may be anywhere in the line, with other words between them.",
    templates=ask(
        "Line: {text}\n\nDoes any word come twice in this line?\n{options_}",
        "Are two of these words the same?\n> {text}\n{options_}",
        "{text}\n\nIs one of the words above repeated?\n\n{options_}",
        "Task: find out whether some word occurs two times in the input.\nInput: {text}\n"
        "{options_}\nOutput:",
        "Somebody read / {text} / to me, and I think I heard one word twice. Am I right?\n"
        "{options_}",
        "{options_}\nPlease look for a repeated word in this line: {text}. Is there one?",
        "Not only the first and the last word count: if any word at all comes back, say yes, "
        "otherwise no.\nLine: {text}\n{options_}",
        "Say no if all the words of / {text} / are different, and yes if they are not.\n{options_}",
        "Compare every word with every other word. Do you find two that are equal?\n> {text}\n"
        "{options_}",
        "It does not matter what the words mean or where they stand. Does one of the words "
        "{text} occur more than once?\n{options_}",
    ),
    new_wordings=ask(
        "The two ends of the line need not be alike. I ask whether the same word stands at any two "
        "places.\nLine: {text}\n{options_}",
        "If every word may be written only once, is there a word too many here?\n> {text}\n"
        "{options_}",
        "Read / {text} / from the beginning to the end. Do you find a word that you have already "
        "read?\n{options_}",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine sofa violet"},
            "yes",
            "sofa is the second word and comes back as the fourth.",
        ),
        Example({"text": "north pizza cabin zero"}, "no", "All four words are different."),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine sofa violet"},
            "no",
            "The ends of the line differ, but sofa comes twice, so the answer is yes.",
        ),
    ),
)


def _make_has_food(dice: Dice, label: str) -> Fields:
    decisive = FOODS if label == "yes" else _CLEAR_ANIMALS
    return {"text": _line_with(dice, decisive, _CLEAR_ANIMALS), "answer": label}


def _rule_has_food(fields: Mapping[str, str]) -> str:
    return "no" if _FOODS_SET.isdisjoint(fields["text"].split(" ")) else "yes"


HAS_FOOD = MiniTask(
    name="has_food",
    cluster=CLUSTER,
    kind="classification",
    skills=("kind",),
    fields=forms.LINE_FIELDS,
    layout=forms.LINE_LAYOUT,
    make=_make_has_food,
    rule=_rule_has_food,
    labels=_YES_NO,
    definitions=(
        "You are given a line of words. Answer yes if at least one of its words names a food, "
        "that is something to eat, and no if none does. Living animals are not foods.",
        "Look for something to eat in the line. Found means yes, not found means no.",
        "Decide whether any word of the line is the name of a food, like bread or salt. Animals "
        "and other things are not foods. The answer is yes or no.",
        "Is there a food in the line?",
    ),
    avoid="Do not take an animal or any other thing for a food, and do not name the food.",
    emphasis="One food is enough for yes, wherever in the line it stands.",
    templates=ask(
        "Line: {text}\n\nIs there a food in the line?\n{options_}",
        "Does any of these words name something to eat?\n> {text}\n{options_}",
        "{text}\n\nLook through the words above. Is a food among them?\n\n{options_}",
        "Task: answer yes if the input has a food in it, otherwise no.\nInput: {text}\n"
        "{options_}\nOutput:",
        "I am hungry and look for foods of any kind. Will I find one in / {text} /?\n{options_}",
        "{options_}\nPlease tell me whether this line has the name of a food in it: {text}.",
        "Animals do not count here, I ask for foods only. Is there one?\nLine: {text}\n{options_}",
        "Here are the words {text}. Is at least one of them a food?\n{options_}",
        "Say yes if you see something to eat in this line, wherever it stands, and no if you see "
        "nothing of that kind.\n> {text}\n{options_}",
        "It is not important what most of the words are. One food is enough for yes, none means "
        "no: {text}.\n{options_}",
    ),
    examples=(
        Example(
            {"text": "river carrot candle sudden"},
            "yes",
            "carrot is a food; the other three words are not.",
        ),
        Example(
            {"text": "tiger window brave hammer rocket"},
            "no",
            "A tiger is an animal, and no other word names a food either.",
        ),
    ),
    negatives=(
        Example(
            {"text": "river zebra kettle mirror"},
            "yes",
            "A kettle stands in a kitchen, but one does not eat it; the answer is no.",
        ),
    ),
)


def _make_longer_line(dice: Dice, label: str) -> Fields:
    count = dice.between(3, 6)
    words = dice.sample(WORDS, 2 * count + dice.between(1, 2))
    lines = [" ".join(words[:count]), " ".join(words[count:])]
    text, other = lines if label == "second" else lines[::-1]
    return {"text": text, "other": other, "answer": label}


def _rule_longer_line(fields: Mapping[str, str]) -> str:
    difference = fields["text"].count(" ") - fields["other"].count(" ")
    return ("first" if difference > 0 else "second") if difference else ""


LONGER_LINE = MiniTask(
    name="longer_line",
    cluster=CLUSTER,
    kind="classification",
    skills=("count",),
    fields=forms.TWO_LINES_FIELDS,
    layout=forms.TWO_LINES_LAYOUT,
    make=_make_longer_line,
    rule=_rule_longer_line,
    labels=("first", "second"),
    definitions=(
        "You are given two lines of words. Count the words of each line. Answer first if the "
        "first line has more words, and second if the second line has more.",
        "Say which of the two lines has more words, the first or the second.",
        "Compare the number of words in two lines; they are never equal. The answer, first or "
        "second, is the line with the greater number.",
        "Which line has more words?",
    ),
    avoid="Do not go by the number of letters, and do not answer with a number or with the line.",
    emphasis="Only the number of words counts; long words do not make a line longer.",
    templates=ask(
        "First line: {text}\nSecond line: {other}\n\nWhich line has more words?\n{options_}",
        "Count the words of both lines. In which line do you find more of them?\n1. {text}\n"
        "2. {other}\n{options_}",
        "The first line is / {text} / and the second is / {other} /. Which of them has the greater "
        "number of words?\n{options_}",
        "Task: say which line has more words.\nFirst: {text}\nSecond: {other}\n{options_}\nOutput:",
        "> {text}\n> {other}\n\nDoes the first or the second line have more words in it?\n"
        "{options_}",
        "{options_}\nWhere do you count more words, in the first line or in the second?\n"
        "> {text}\n> {other}",
        "It does not matter how long the words are, only how many there are. Which line has more?\n"
        "First: {text}\nSecond: {other}\n{options_}",
        "Anna says / {text} / and after her Ben says / {other} /. If she says more words than he "
        "does, answer first, otherwise second.\n{options_}",
        "Please choose the line with more words. The number of letters does not count.\n"
        "First line: {text}\nSecond line: {other}\n{options_}",
        "A word is taken from each of two lines, again and again. Which line will be empty last?\n"
        "First: {text}\nSecond: {other}\n{options_}",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "other": "north pizza cabin"},
            "first",
            "The first line has 4 words, the second only 3.",
        ),
        Example(
            {"text": "milk sofa engine", "other": "north pizza cabin zero kitten"},
            "second",
            "The second line has 5 words, the first only 3.",
        ),
    ),
    negatives=(
        Example(
            {"text": "umbrella telescope newspaper", "other": "red sun sky sea"},
            "first",
            "The first line has more letters, but the second has more words: 4 against 3.",
        ),
    ),
)

TASKS = (
    IN_LIST,
    SAME_ENDS,
    KIND_OF_LINE,
    EVEN_COUNT,
    HAS_ANIMAL,
    REPEATS,
    HAS_FOOD,
    LONGER_LINE,
)
