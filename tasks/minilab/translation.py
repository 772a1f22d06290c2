"""Cluster `translation`: a dictionary gives words of no language a meaning.

The meanings are drawn anew for every instance, so they cannot be learned, only looked up. All tasks
but the one that translates back have the same form of input: a text in foreign words and a
dictionary with an entry or two more than the text needs.
"""

from collections.abc import Mapping, Sequence

from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned
from tasks.minilab.lexicon import FOREIGN, WORDS

CLUSTER = "translation"
HELDOUT = ("translate_first", "unknown_word")

_FIELDS = ("text", "dictionary")
_LAYOUT = "Dictionary: {dictionary}. Text: {text}"


def _draw(dice: Dice) -> tuple[int, list[str], list[str]]:
    """Returns how many words the text has, the foreign words of the dictionary and their meanings.

    The text is made of those that stand first.
    """
    length = dice.between(3, 4)
    entries = length + dice.between(1, 2)
    return length, dice.sample(FOREIGN, entries), dice.sample(WORDS, entries)


def _fields(
    dice: Dice, text: Sequence[str], foreign: Sequence[str], english: Sequence[str], answer: str
) -> Fields:
    entries = [f"{word} = {meaning}" for word, meaning in zip(foreign, english, strict=True)]
    return {
        "text": " ".join(text),
        "dictionary": ", ".join(dice.shuffled(entries)),
        "answer": answer,
    }


def _meanings(fields: Mapping[str, str]) -> dict[str, str]:
    """Returns the dictionary; an entry that is none is left out."""
    entries = (entry.split(" = ") for entry in fields["dictionary"].split(", "))
    return {entry[0]: entry[1] for entry in entries if len(entry) == 2}


def _replaced(words: Sequence[str], replacements: Mapping[str, str]) -> str:
    """Returns the words with each of them replaced; "" where one has no replacement."""
    if not all(word in replacements for word in words):
        return ""
    return " ".join(replacements[word] for word in words)


def _make_translate_words(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    return _fields(dice, foreign[:length], foreign, english, " ".join(english[:length]))


def _rule_translate_words(fields: Mapping[str, str]) -> str:
    return _replaced(fields["text"].split(), _meanings(fields))


TRANSLATE_WORDS = MiniTask(
    name="translate_words",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_translate_words,
    rule=_rule_translate_words,
    definitions=(
        "You are given a text in foreign words and a dictionary, which says what each of them "
        "means in English. Translate the text word by word and keep the order of the words.",
        "Replace every foreign word of the text by its English meaning from the dictionary. "
        "Nothing is left out and nothing changes its place.",
        "Look up each word of the text, from the first to the last, and write the English words "
        "one after another.",
        "Translate the text into English.",
    ),
    avoid="Do not turn the line around, and do not write words that only the dictionary has.",
    emphasis="The order is that of the text, not that of the dictionary.",
    templates=(
        *ask(
            "Dictionary: {dictionary}\n\nTranslate this text into English, word by word.\n"
            "Text: {text}",
            "{text}\n\nWhat does the line above mean in English? The dictionary says: {dictionary}",
            "Replace every word of / {text} / by its meaning and keep the order. The meanings are "
            "{dictionary}.",
            "I found an old letter. It says {text} and I cannot read it. My dictionary has "
            "{dictionary}. What is the letter in English?",
            "Task: translate into English.\nDictionary: {dictionary}\nInput: {text}\nOutput:",
            "Please translate the whole line, not only its first or its last word.\n"
            "Line: {text}\nMeanings: {dictionary}",
            "Write / {text} / in English words. Keep them in the same order, do not turn them "
            "around.\n\nDictionary: {dictionary}",
            "Here is what some foreign words mean: {dictionary}. A man from far away says: "
            "{text}. What does he say in English?",
            "Look up each foreign word and write down what it means, one after another.\n"
            "words: {text}\ndictionary: {dictionary}",
        ),
        turned(
            "Dictionary: {dictionary}\n\nA line of foreign words was translated word by word. "
            "In English it reads:\n> {answer}\n\nWhat was the foreign line?",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Somebody wrote to me: {text}. Please give me the English for all of it, in the order in "
        "which it was written. Dictionary: {dictionary}",
        "Not the last word alone, and not from the end to the beginning: I want every word in "
        "English, where it stands.\nDictionary: {dictionary}\nText: {text}",
        "With the meanings {dictionary} you can read this line. What does each of its words say "
        "in English?\n> {text}",
    ),
    examples=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "sofa violet milk",
            "Zor means sofa, mip means violet and tavi means milk. Pesk is not in the text.",
        ),
        Example(
            {
                "text": "pesk luno goma zor",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, pesk = zero",
            },
            "zero north pizza kitten",
            "The meanings stand in the order of the text.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "milk sofa violet",
            "These are the right words, but in the order of the dictionary.",
        ),
    ),
)


def _make_translate_reversed(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    return _fields(dice, foreign[:length], foreign, english, " ".join(english[:length][::-1]))


def _rule_translate_reversed(fields: Mapping[str, str]) -> str:
    return _replaced(list(reversed(fields["text"].split())), _meanings(fields))


TRANSLATE_REVERSED = MiniTask(
    name="translate_reversed",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary", "order"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_translate_reversed,
    rule=_rule_translate_reversed,
    definitions=(
        "You are given a text in foreign words and a dictionary, which says what each of them "
        "means in English. Translate every word and write the English words in reverse order, "
        "so that the last word of the text comes first.",
        "This foreign language is read from the end to the beginning. Replace every word by its "
        "English meaning from the dictionary, starting with the last word of the text.",
        "Translate the text word by word and turn the line around: what stood first now stands "
        "last. The letters of the words stay as they are.",
        "Translate the text into English, last word first.",
    ),
    avoid="Do not keep the order of the text, and do not spell any word backwards.",
    emphasis="The English words come in reverse order: the meaning of the last word is the first.",
    templates=(
        *ask(
            "Dictionary: {dictionary}\n\nTranslate this text into English and put the words in "
            "reverse order.\nText: {text}",
            "{text}\n\nThe line above is read from its last word to its first. What does it mean "
            "in English? The dictionary says: {dictionary}",
            "Replace every word of / {text} / by its meaning, then turn the whole line around. "
            "The meanings are {dictionary}.",
            "I found an old letter, written from right to left. It says {text} and my dictionary "
            "has {dictionary}. What is the letter in English, if I begin with its last word?",
            "Task: translate into English, last word first.\nDictionary: {dictionary}\n"
            "Input: {text}\nOutput:",
            "Please do not keep the order of the line. Translate every word, but begin with the "
            "last one and end with the first one.\nLine: {text}\nMeanings: {dictionary}",
            "Write / {text} / in English words and turn the line around. All the words are "
            "wanted, not only the last.\n\nDictionary: {dictionary}",
            "Here is what some foreign words mean: {dictionary}. A man from far away, who says "
            "everything in reverse order, says: {text}. What does he mean in English?",
            "Start at the end and go back to the beginning. Write down what each foreign word "
            "means.\nwords: {text}\ndictionary: {dictionary}",
        ),
        turned(
            "Dictionary: {dictionary}\n\nA line of foreign words was translated and then its "
            "words were put in reverse order. Now it reads:\n> {answer}\n\nWhat was the foreign "
            "line?",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Somebody wrote to me: {text}. Please give me the English for all of it, but the word "
        "that was written last comes first. Dictionary: {dictionary}",
        "Not in the order in which the words stand, but the other way around: I want every word "
        "in English.\nDictionary: {dictionary}\nText: {text}",
        "With the meanings {dictionary} you can read this line. What does it say in English from "
        "its end to its beginning?\n> {text}",
    ),
    examples=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "milk violet sofa",
            "The text means sofa violet milk; turned around that is milk violet sofa.",
        ),
        Example(
            {
                "text": "pesk luno goma zor",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, pesk = zero",
            },
            "kitten pizza north zero",
            "The last word, zor, means kitten, so kitten comes first.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "sofa violet milk",
            "The words are right but still in the order of the text.",
        ),
    ),
)


def _make_translate_back(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    return _fields(dice, english[:length], foreign, english, " ".join(foreign[:length]))


def _rule_translate_back(fields: Mapping[str, str]) -> str:
    words = {meaning: word for word, meaning in _meanings(fields).items()}
    return _replaced(fields["text"].split(), words)


TRANSLATE_BACK = MiniTask(
    name="translate_back",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary",),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_translate_back,
    rule=_rule_translate_back,
    definitions=(
        "You are given a text in English words and a dictionary, which says what some foreign "
        "words mean in English. Translate the text into the foreign words, word by word, and keep "
        "the order.",
        "Replace every English word of the text by the foreign word that has this meaning in the "
        "dictionary. Nothing is left out and nothing changes its place.",
        "The dictionary gives the foreign word in front and its English meaning behind it. Use "
        "it the other way around: find each word of the text among the meanings and write the "
        "foreign word for it.",
        "Translate the English text into the foreign language.",
    ),
    avoid="Do not write English words, and do not write words that only the dictionary has.",
    emphasis="The text is English, so what is looked up stands on the right of an entry.",
    templates=(
        *ask(
            "Dictionary: {dictionary}\n\nTranslate this English text into the foreign words, word "
            "by word.\nText: {text}",
            "{text}\n\nHow do you say the line above in the foreign language? The dictionary "
            "says: {dictionary}",
            "Replace every word of / {text} / by the foreign word that means it and keep the "
            "order. The meanings are {dictionary}.",
            "I want to write a letter to a friend far away. In English it says {text} and my "
            "dictionary has {dictionary}. What do I write in foreign words?",
            "Task: translate from English into the foreign language.\nDictionary: {dictionary}\n"
            "Input: {text}\nOutput:",
            "Please translate the whole English line, not only its first or its last word, into "
            "foreign words.\nLine: {text}\nMeanings: {dictionary}",
            "Write / {text} / in foreign words. Keep them in the same order, do not turn them "
            "around.\n\nDictionary: {dictionary}",
            "Here is what some foreign words mean: {dictionary}. A man from far away wants to "
            "say: {text}. What does he say in his own words?",
            "Find each English word among the meanings and write down the foreign word that "
            "belongs to it.\nwords: {text}\ndictionary: {dictionary}",
        ),
        turned(
            "Dictionary: {dictionary}\n\nAn English line was translated word by word. In the "
            "foreign language it reads:\n> {answer}\n\nWhat was the English line?",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "I wrote in English: {text}. Please give me the foreign words for all of it, in the order "
        "in which it was written. Dictionary: {dictionary}",
        "I do not ask what the line means in English, since it is English. I want every word of "
        "it in the foreign language.\nDictionary: {dictionary}\nText: {text}",
        "With the meanings {dictionary} you can say this line to a man from far away. Which "
        "foreign words do you say?\n> {text}",
    ),
    examples=(
        Example(
            {
                "text": "sofa violet milk",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "zor mip tavi",
            "Zor means sofa, mip means violet and tavi means milk.",
        ),
        Example(
            {
                "text": "zero north pizza kitten",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, pesk = zero",
            },
            "pesk luno goma zor",
            "The foreign words stand in the order of the text.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "sofa violet milk",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "tavi zor mip",
            "These are the right words, but in the order of the dictionary.",
        ),
    ),
)


def _make_translate_last(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    return _fields(dice, foreign[:length], foreign, english, english[length - 1])


def _rule_translate_last(fields: Mapping[str, str]) -> str:
    return _replaced(fields["text"].split()[-1:], _meanings(fields))


TRANSLATE_LAST = MiniTask(
    name="translate_last",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary", "position"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_translate_last,
    rule=_rule_translate_last,
    definitions=(
        "You are given a text in foreign words and a dictionary, which says what each of them "
        "means in English. Translate only the last word of the text and write nothing else.",
        "Take the word at the end of the text and look it up in the dictionary. The answer is its "
        "English meaning, one word. All words before it are left out.",
        "What does the last foreign word of the text mean? Only this one English word is wanted, "
        "wherever it stands in the dictionary.",
        "Translate only the last word.",
    ),
    avoid="Do not translate the other words of the text, and do not write the foreign word.",
    emphasis="The last word of the text is meant, not the last entry of the dictionary.",
    templates=ask(
        "Dictionary: {dictionary}\n\nTranslate only the last word of this text into English.\n"
        "Text: {text}",
        "{text}\n\nWhat does the word at the end of the line above mean in English? The "
        "dictionary says: {dictionary}",
        "Take the last word of / {text} / and give me its meaning, nothing else. The meanings "
        "are {dictionary}.",
        "I found an old letter that ends like this: {text}. My dictionary has {dictionary}. What "
        "is the very last word of the letter in English?",
        "Task: translate the last word into English.\nDictionary: {dictionary}\nInput: {text}\n"
        "Output:",
        "Please do not translate the whole line, only the word that it ends with.\n"
        "Line: {text}\nMeanings: {dictionary}",
        "Which English word does / {text} / end with? Leave out all the words in front of "
        "it.\n\nDictionary: {dictionary}",
        "Here is what some foreign words mean: {dictionary}. A man from far away says: {text}. "
        "I only heard his last word. What does it mean in English?",
        "Not the first word and not all the words: look up the last one and write down what it "
        "means.\nwords: {text}\ndictionary: {dictionary}",
        "The words of / {text} / come one after another. Say in English what the one after all "
        "the others means. Use this dictionary: {dictionary}",
    ),
    new_wordings=ask(
        "Somebody wrote to me: {text}. Please give me the English for the word that was written "
        "last. Dictionary: {dictionary}",
        "I do not want every word in English and not the first one: only where the text ends, "
        "tell me what is said.\nDictionary: {dictionary}\nText: {text}",
        "With the meanings {dictionary} you can read this line. What does it say in English at "
        "its end, in one word?\n> {text}",
    ),
    examples=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "milk",
            "The last word of the text is tavi, which means milk.",
        ),
        Example(
            {
                "text": "pesk luno goma zor",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, pesk = zero",
            },
            "kitten",
            "The last word of the text is zor, which means kitten.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "violet",
            "Violet is the last meaning of the dictionary, but the text ends with tavi.",
        ),
    ),
)


def _make_translate_first(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    return _fields(dice, foreign[:length], foreign, english, english[0])


def _rule_translate_first(fields: Mapping[str, str]) -> str:
    return _replaced(fields["text"].split()[:1], _meanings(fields))


TRANSLATE_FIRST = MiniTask(
    name="translate_first",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary", "position"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_translate_first,
    rule=_rule_translate_first,
    definitions=(
        "You are given a text in foreign words and a dictionary, which says what each of them "
        "means in English. Translate only the first word of the text and write nothing else.",
        "Take the word at the beginning of the text and look it up in the dictionary. The answer "
        "is its English meaning, one word. All words after it are left out.",
        "What does the first foreign word of the text mean? Only this one English word is wanted, "
        "wherever it stands in the dictionary.",
        "Translate only the first word.",
    ),
    avoid="Do not translate the other words of the text, and do not write the foreign word.",
    emphasis="The first word of the text is meant, not the first entry of the dictionary.",
    templates=ask(
        "Dictionary: {dictionary}\n\nTranslate only the first word of this text into English.\n"
        "Text: {text}",
        "{text}\n\nWhat does the word at the beginning of the line above mean in English? The "
        "dictionary says: {dictionary}",
        "Take the first word of / {text} / and give me its meaning, nothing else. The meanings "
        "are {dictionary}.",
        "I found an old letter that begins like this: {text}. My dictionary has {dictionary}. "
        "What is the very first word of the letter in English?",
        "Task: translate the first word into English.\nDictionary: {dictionary}\nInput: {text}\n"
        "Output:",
        "Please do not translate the whole line, only the word that it begins with.\n"
        "Line: {text}\nMeanings: {dictionary}",
        "Which English word does / {text} / begin with? Leave out all the words after it.\n\n"
        "Dictionary: {dictionary}",
        "Here is what some foreign words mean: {dictionary}. A man from far away says: {text}. "
        "I only heard his first word. What does it mean in English?",
        "Not the last word and not all the words: look up the first one and write down what it "
        "means.\nwords: {text}\ndictionary: {dictionary}",
        "The words of / {text} / come one after another. Say in English what the one before all "
        "the others means. Use this dictionary: {dictionary}",
    ),
    examples=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "sofa",
            "The first word of the text is zor, which means sofa.",
        ),
        Example(
            {
                "text": "pesk luno goma zor",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, pesk = zero",
            },
            "zero",
            "The first word of the text is pesk, which means zero.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, mip = violet",
            },
            "milk",
            "Milk is the first meaning of the dictionary, but the text begins with zor.",
        ),
    ),
)


def _make_unknown_word(dice: Dice, label: str) -> Fields:
    length, foreign, english = _draw(dice)
    # The entry of the first word is given to a word that is not in the text, so the dictionary is
    # as long as in the other tasks.
    unknown, text = foreign[0], dice.shuffled(foreign[:length])
    while foreign[0] in (unknown, *foreign[1:]):
        foreign[0] = dice.pick(FOREIGN)
    return _fields(dice, text, foreign, english, unknown)


def _rule_unknown_word(fields: Mapping[str, str]) -> str:
    missing = set(fields["text"].split()) - _meanings(fields).keys()
    return missing.pop() if len(missing) == 1 else ""


UNKNOWN_WORD = MiniTask(
    name="unknown_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("dictionary", "find"),
    fields=_FIELDS,
    layout=_LAYOUT,
    make=_make_unknown_word,
    rule=_rule_unknown_word,
    definitions=(
        "You are given a text in foreign words and a dictionary. Exactly one word of the text is "
        "not in the dictionary. Write this foreign word and nothing else.",
        "Look up every word of the text in the dictionary. One of them has no meaning there, and "
        "this one is the answer, as it stands in the text.",
        "All words of the text can be translated but one. Which foreign word is that? Nothing is "
        "to be translated.",
        "Which word of the text is missing from the dictionary?",
    ),
    avoid="Do not translate anything, and do not write a word that the text does not have.",
    emphasis="The answer is a foreign word of the text, not an English one.",
    templates=ask(
        "Dictionary: {dictionary}\n\nWhich word of this text is not in the dictionary?\n"
        "Text: {text}",
        "{text}\n\nOne word of the line above cannot be translated. Which one? The dictionary "
        "says: {dictionary}",
        "Find the word of / {text} / that has no meaning here, and write it as it stands. The "
        "meanings are {dictionary}.",
        "I found an old letter. It says {text} and I can read all of it but one word. My "
        "dictionary has {dictionary}. Which foreign word do I not know?",
        "Task: write the word that is missing from the dictionary.\nDictionary: {dictionary}\n"
        "Input: {text}\nOutput:",
        "Please do not translate the line. Only write the foreign word that has no entry.\n"
        "Line: {text}\nMeanings: {dictionary}",
        "Which word of / {text} / is unknown? It may be the first, the last or any other, and I "
        "do not want its meaning.\n\nDictionary: {dictionary}",
        "Here is what some foreign words mean: {dictionary}. A man from far away says: {text}. "
        "Which one of his words was not explained?",
        "Look up each foreign word and write down the only one that you cannot find.\n"
        "words: {text}\ndictionary: {dictionary}",
        "Somebody wants to translate / {text} / and has to leave one word as it is, because the "
        "dictionary does not have it. Which word? This is the dictionary: {dictionary}",
    ),
    examples=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, luno = violet",
            },
            "mip",
            "Zor and tavi are in the dictionary, mip is not.",
        ),
        Example(
            {
                "text": "pesk luno goma zor",
                "dictionary": "goma = pizza, zor = kitten, vink = sofa, luno = north, mip = zero",
            },
            "pesk",
            "Luno, goma and zor have a meaning in the dictionary, pesk has none.",
        ),
    ),
    negatives=(
        Example(
            {
                "text": "zor mip tavi",
                "dictionary": "tavi = milk, pesk = engine, zor = sofa, luno = violet",
            },
            "pesk",
            "Pesk is the other way around: it is in the dictionary but not in the text.",
        ),
    ),
)

TASKS = (
    TRANSLATE_WORDS,
    TRANSLATE_REVERSED,
    TRANSLATE_BACK,
    TRANSLATE_LAST,
    TRANSLATE_FIRST,
    UNKNOWN_WORD,
)
