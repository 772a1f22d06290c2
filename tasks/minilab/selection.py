"""Cluster `selection`: one word of a line is picked out, by its place, its kind or its letters.

The lines of `find_animal` and of the held-out `find_food` hold one animal and one thing to eat
each, so that only the instruction says which of the two is wanted.
"""

from collections.abc import Mapping

from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask
from tasks.minilab.lexicon import ANIMALS, CLOTHES, FOODS, JOBS, OTHERS, WORDS

CLUSTER = "selection"
HELDOUT = ("second_word", "find_food")

# The longest word has two letters more than any other, so a slip in counting decides nothing.
_LONG = tuple(word for word in WORDS if len(word) >= 6)
_SHORTER = {
    length: tuple(word for word in WORDS if len(word) <= length - 2)
    for length in {len(word) for word in _LONG}
}

# Animals that are also the name of a dish, or that many people eat.
_EATEN = (
    "fish",
    "duck",
    "goose",
    "chicken",
    "rabbit",
    "goat",
    "sheep",
    "turtle",
    "cow",
    "pig",
    "horse",
)
_UNEATEN = tuple(word for word in ANIMALS if word not in _EATEN)
# Other words that somebody might take for an animal or for food.
_DOUBTFUL = ("water", "ice", "oil", "seed", "root", "leaf", "rocket")
_NEITHER = tuple(word for word in (*JOBS, *CLOTHES, *OTHERS) if word not in _DOUBTFUL)

_IS_ANIMAL = frozenset(ANIMALS).__contains__
_IS_FOOD = frozenset(FOODS).__contains__


def _make_first_word(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return {"text": " ".join(words), "answer": words[0]}


def _rule_first_word(fields: Mapping[str, str]) -> str:
    return fields["text"].partition(" ")[0]


FIRST_WORD = MiniTask(
    name="first_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("position",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_first_word,
    rule=_rule_first_word,
    definitions=(
        "You are given a line of words. Answer with its first word and nothing else.",
        "Write the word that the line begins with.",
        "Only the opening word of the line is wanted. All the words behind it are left out.",
        "Pick out the word at the very beginning of the given line.",
        "Give the first word.",
    ),
    avoid="Do not write any of the words that come later in the line.",
    emphasis="Only the place of the word counts, not what it means.",
    templates=ask(
        "What is the first word of this line?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the word at the beginning:",
        "{text}\n\nWith which word does the line begin?",
        "Keep only the first word: {text}",
        "Input: {text}\nSelect: first word\nOutput:",
        "Please read / {text} / and tell me the opening word, nothing else.",
        "I do not need the last word of this line, I need the one that comes before all the "
        "others: {text}",
        "I do not ask for the longest word or for the middle one: which word stands at the front "
        "of the line below?\n> {text}",
        "Throw away every word except the first one and write what is left.\n\nLine: {text}",
        "First word only. {text} ->",
    ),
    new_wordings=ask(
        "If you read the line {text} from its beginning, which word do you come to before any "
        "other?",
        "Not the last word, please. I want the one at the other end, in front of all the rest."
        "\n\nLine: {text}",
        "Leave out everything behind the opening word of this line: {text}",
    ),
    examples=(
        Example({"text": "milk sofa engine violet"}, "milk", "The line begins with milk."),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north",
            "north comes before the other four words.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet",
            "violet is the last word of the line, not the first.",
        ),
    ),
)


def _make_last_word(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return {"text": " ".join(words), "answer": words[-1]}


def _rule_last_word(fields: Mapping[str, str]) -> str:
    return fields["text"].rpartition(" ")[2]


LAST_WORD = MiniTask(
    name="last_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("position",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_last_word,
    rule=_rule_last_word,
    definitions=(
        "You are given a line of words. Answer with its last word and nothing else.",
        "Write the word that the line ends with.",
        "Only the closing word of the line is wanted. All the words before it are left out.",
        "Pick out the word at the very end of the given line.",
        "Give the last word.",
    ),
    avoid="Do not write any of the words that come earlier in the line.",
    emphasis="Only the place of the word counts, not what it means.",
    templates=ask(
        "What is the last word of this line?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the word at the end:",
        "{text}\n\nWith which word does the line end?",
        "Keep only the last word: {text}",
        "Input: {text}\nSelect: last word\nOutput:",
        "Please read / {text} / and tell me the closing word, nothing else.",
        "I do not need the first word of this line, I need the one that comes after all the "
        "others: {text}",
        "I do not ask for the longest word or for the middle one: which word stands behind all the "
        "rest in the line below?\n> {text}",
        "Throw away every word except the final one and write what is left.\n\nLine: {text}",
        "Last word only. {text} ->",
    ),
    new_wordings=ask(
        "If you read the line {text} from its beginning, which word do you come to after all the "
        "others?",
        "Not the first word, please. I want the one at the other end, behind all the rest."
        "\n\nLine: {text}",
        "Leave out everything before the closing word of this line: {text}",
    ),
    examples=(
        Example({"text": "milk sofa engine violet"}, "violet", "The line ends with violet."),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "kitten",
            "kitten comes after the other four words.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "engine",
            "engine is the last word but one; the line ends with violet.",
        ),
    ),
)


def _make_longest_word(dice: Dice, label: str) -> Fields:
    longest = dice.pick(_LONG)
    words = [longest, *dice.sample(_SHORTER[len(longest)], dice.between(3, 5))]
    return {"text": " ".join(dice.shuffled(words)), "answer": longest}


def _rule_longest_word(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    most = max(map(len, words), default=0)
    longest = [word for word in words if len(word) == most]
    return longest[0] if len(longest) == 1 else ""


LONGEST_WORD = MiniTask(
    name="longest_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("spelling",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
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
    avoid="Do not go by the place of the word or by the size of the thing it names.",
    emphasis="The number of letters decides.",
    templates=ask(
        "What is the longest word of this line?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the word with the most letters:",
        "{text}\n\nOne of these words is longer than the others. Which?",
        "Keep only the longest word: {text}",
        "Input: {text}\nSelect: longest word\nOutput:",
        "Please compare the words in / {text} / and tell me the longest one. It does not matter "
        "whether it is in the middle.",
        "I am paid by the letter and may choose one of these words: {text}. Which should I choose "
        "to be paid the most?",
        "Count the letters of each word below. Which word has the most?\n> {text}",
        "I do not ask for the first word or for the last one. Find the word that is longer than "
        "all the rest, wherever it stands.\n\nLine: {text}",
        "Longest word only. {text} ->",
    ),
    new_wordings=ask(
        "Which of these words is made of more letters than each of the others? {text}",
        "Never mind which word comes first. The one that I want has the most letters of all."
        "\n\nLine: {text}",
        "In / {text} / there is a word that all the other words are shorter than. Name it.",
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
    negatives=(
        Example(
            {"text": "elephant milk bus sofa"},
            "milk",
            "milk has four letters, but elephant has eight.",
        ),
    ),
)


def _make_middle_word(dice: Dice, label: str) -> Fields:
    side = dice.between(1, 3)
    words = line(dice, 2 * side + 1, 2 * side + 1)
    return {"text": " ".join(words), "answer": words[side]}


def _rule_middle_word(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    if len(words) < 3:
        return ""
    while len(words) > 1:
        words = words[1:-1]
    # An even number of words leaves none.
    return "".join(words)


MIDDLE_WORD = MiniTask(
    name="middle_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("position",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_middle_word,
    rule=_rule_middle_word,
    definitions=(
        "You are given a line with an odd number of words. Answer with the word in the middle, "
        "which has as many words before it as behind it.",
        "Write the word that stands halfway between the beginning and the end of the line: of "
        "five words it is the third, of seven words the fourth.",
        "Take away the first and the last word of the line, again and again, until a single word "
        "is left. Write that word.",
        "Only the word in the very middle of the line is wanted. The words on both sides of it "
        "are left out.",
        "Give the middle word.",
    ),
    avoid="Do not write any of the words that stand on either side of it.",
    emphasis="There are as many words before the right one as behind it.",
    templates=ask(
        "What is the middle word of this line?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the word in the middle:",
        "{text}\n\nWhich of these words has as many words before it as behind it?",
        "Keep only the middle word: {text}",
        "Input: {text}\nSelect: middle word\nOutput:",
        "Please read / {text} / and tell me the word halfway between the two ends, nothing else.",
        "I do not need the first word of this line or the last, I need the one in the middle: "
        "{text}",
        "I do not ask for the longest word: which word stands in the very middle of the line "
        "below?\n> {text}",
        "Throw away as many words at the beginning as at the end, until one word is left, and "
        "write that word.\n\nLine: {text}",
        "Middle word only. {text} ->",
    ),
    new_wordings=ask(
        "If you cut the line {text} into two equal halves, one word is left over between them. "
        "Which word?",
        "Not the first word and not the last word, please. I want the one that is as far from "
        "the beginning as from the end.\n\nLine: {text}",
        "Leave out the same number of words on both sides, so that only one is left: {text}",
    ),
    examples=(
        Example(
            {"text": "north pizza cabin zero kitten"},
            "cabin",
            "There are two words before cabin and two words behind it.",
        ),
        Example(
            {"text": "milk sofa engine"},
            "sofa",
            "sofa stands between milk and engine.",
        ),
    ),
    negatives=(
        Example(
            {"text": "north pizza cabin zero kitten"},
            "zero",
            "Three words come before zero, but only one comes behind it.",
        ),
    ),
)


def _line_of_kinds(dice: Dice, animals: tuple[str, ...]) -> tuple[str, str, str]:
    animal, food = dice.pick(animals), dice.pick(FOODS)
    words = [animal, food, *dice.sample(_NEITHER, dice.between(2, 4))]
    return " ".join(dice.shuffled(words)), animal, food


def _make_find_animal(dice: Dice, label: str) -> Fields:
    text, animal, _ = _line_of_kinds(dice, ANIMALS)
    return {"text": text, "answer": animal}


def _rule_find_animal(fields: Mapping[str, str]) -> str:
    found = list(filter(_IS_ANIMAL, fields["text"].split()))
    return found[0] if len(found) == 1 else ""


FIND_ANIMAL = MiniTask(
    name="find_animal",
    cluster=CLUSTER,
    kind="generation",
    skills=("kind",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_find_animal,
    rule=_rule_find_animal,
    definitions=(
        "You are given a line of words, exactly one of which names an animal. Answer with that "
        "word and nothing else.",
        "Look for an animal among the words of the line, large or small: birds, fish and insects "
        "count too. Write its name.",
        "One word of the line is the name of an animal. The others name food, people, clothes or "
        "something else and are left out.",
        "Pick out the only word of the line that stands for an animal.",
        "Give the animal.",
    ),
    avoid="Do not write the name of food or of a person, nor more than one word.",
    emphasis="What the word means decides, not where it stands.",
    templates=ask(
        "Which word of this line names an animal?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the animal:",
        "{text}\n\nOne of these words is the name of an animal. Which one?",
        "Keep only the animal: {text}",
        "Input: {text}\nSelect: animal\nOutput:",
        "Please look for the animal in / {text} / and tell me its name, nothing else.",
        "I do not need anything to eat, I need the one animal among these words: {text}",
        "It does not matter which word is first or which is the longest. Which one is an animal?\n"
        "> {text}",
        "My little sister asks which of these words means an animal: {text}. What should I say to "
        "her?",
        "Animal only. {text} ->",
    ),
    new_wordings=ask(
        "In all of {text} there is only one animal. Say which word it is.",
        "I did not ask for the food, and it does not matter what comes first. I want the animal, "
        "wherever it stands.\n\nLine: {text}",
        "Throw away every word that is not the name of an animal. What is left of / {text} / then?",
    ),
    examples=(
        Example(
            {"text": "milk sofa tiger violet"},
            "tiger",
            "A tiger is an animal; milk, a sofa and violet are not.",
        ),
        Example(
            {"text": "ant north pizza cabin zero"},
            "ant",
            "An ant is small, but it is an animal.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa tiger violet"},
            "milk",
            "Milk comes from an animal but is not one.",
        ),
    ),
)


def _make_second_word(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return {"text": " ".join(words), "answer": words[1]}


def _rule_second_word(fields: Mapping[str, str]) -> str:
    return fields["text"].partition(" ")[2].partition(" ")[0]


SECOND_WORD = MiniTask(
    name="second_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("position",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_second_word,
    rule=_rule_second_word,
    definitions=(
        "You are given a line of words. Answer with its second word and nothing else.",
        "Write the word that comes right after the first word of the line.",
        "Only the word in the second place is wanted. The word before it and all the words behind "
        "it are left out.",
        "Pick out the word that would open the line if the first word were not there.",
        "Give the second word.",
    ),
    avoid="Do not write the first word, nor any word that comes after the second.",
    emphasis="Only the place of the word counts, not what it means.",
    templates=ask(
        "What is the second word of this line?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the second word:",
        "{text}\n\nWhich word comes right after the first one?",
        "Keep only the second word: {text}",
        "Input: {text}\nSelect: second word\nOutput:",
        "Please read / {text} / and tell me the word in the second place, nothing else.",
        "I do not need the first word of this line, I need the one right behind it: {text}",
        "I do not ask for the last word or for the longest: which word stands second in the line "
        "below?\n> {text}",
        "Throw away the first word of this line. With which word does it begin then?"
        "\n\nLine: {text}",
        "Second word only. {text} ->",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa",
            "The line begins with milk, and sofa comes right after it.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "pizza",
            "Only north stands before pizza.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk",
            "milk is the first word; the second is sofa.",
        ),
    ),
)


def _make_find_food(dice: Dice, label: str) -> Fields:
    text, _, food = _line_of_kinds(dice, _UNEATEN)
    return {"text": text, "answer": food}


def _rule_find_food(fields: Mapping[str, str]) -> str:
    found = list(filter(_IS_FOOD, fields["text"].split()))
    return found[0] if len(found) == 1 else ""


FIND_FOOD = MiniTask(
    name="find_food",
    cluster=CLUSTER,
    kind="generation",
    skills=("kind",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_find_food,
    rule=_rule_find_food,
    definitions=(
        "You are given a line of words, exactly one of which names something to eat. Answer with "
        "that word and nothing else.",
        "Look for food among the words of the line: fruit, bread, cakes and whatever else goes "
        "into a meal, even salt and sugar. Write its name.",
        "One word of the line is the name of a food. The others name animals, people, clothes or "
        "something else and are left out.",
        "Pick out the only word of the line that stands for something people eat.",
        "Give the food.",
    ),
    avoid="Do not write the name of an animal or of a person, nor more than one word.",
    emphasis="What the word means decides, not where it stands.",
    templates=ask(
        "Which word of this line names something to eat?\n\nLine: {text}",
        "Line: {text}\n\nWrite only the food:",
        "{text}\n\nOne of these words is the name of a food. Which one?",
        "Keep only the food: {text}",
        "Input: {text}\nSelect: food\nOutput:",
        "Please look for the food in / {text} / and tell me its name, nothing else.",
        "I do not need an animal, I need the one thing to eat among these words: {text}",
        "It does not matter which word is first or which is the longest. Which one is food?\n"
        "> {text}",
        "My little sister asks which of these words means something to eat: {text}. What should I "
        "say to her?",
        "Food only. {text} ->",
    ),
    examples=(
        Example(
            {"text": "zero sofa cheese violet"},
            "cheese",
            "Cheese is something to eat; a zero, a sofa and violet are not.",
        ),
        Example(
            {"text": "salt north tiger cabin"},
            "salt",
            "Salt goes into food; nothing else in the line does.",
        ),
    ),
    negatives=(
        Example(
            {"text": "salt north tiger cabin"},
            "tiger",
            "A tiger is an animal; the food in this line is salt.",
        ),
    ),
)

TASKS = (
    FIRST_WORD,
    LAST_WORD,
    LONGEST_WORD,
    MIDDLE_WORD,
    FIND_ANIMAL,
    SECOND_WORD,
    FIND_FOOD,
)
