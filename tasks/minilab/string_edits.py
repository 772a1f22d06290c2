"""Cluster `string_edits`: a line of words is changed as told. A training cluster."""

from collections.abc import Mapping

from flan_jax.instructions.templates import Template
from tasks.minilab.lab import Dice, Example, Fields, MiniTask
from tasks.minilab.lexicon import WORDS

CLUSTER = "string_edits"


def _make_swap_ends(dice: Dice, label: str) -> Fields:
    first, *inner, last = dice.sample(WORDS, dice.between(4, 6))
    text, answer = [first, *inner, last], [last, *inner, first]
    return {"text": " ".join(text), "answer": " ".join(answer)}


def _rule_swap_ends(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    words[0], words[-1] = words[-1], words[0]
    return " ".join(words)


SWAP_ENDS = MiniTask(
    name="swap_ends",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_swap_ends,
    rule=_rule_swap_ends,
    definitions=(
        "You are given a line of words. Write the line again with its first and its last word "
        "swapped and all words between them left in place.",
        "Exchange the two outermost words of the line: what stood at the end comes to the "
        "beginning and what stood at the beginning goes to the end. The middle stays as it is.",
        "The task is to let the first word and the last word of a line trade places. Nothing "
        "else about the line may change.",
        "Given several words, output the same words, but with the opening word where the closing "
        "word was and the closing word where the opening word was.",
        "Swap first and last word.",
    ),
    templates=(
        Template("Swap the first word and the last word of this line.\n\nLine: {text}", "{answer}"),
        Template(
            "Line: {text}\n\nLet the first and the last word trade places and keep the middle as "
            "it is. New line:",
            "{answer}",
        ),
        Template(
            "{text}\n\nWrite this again, but the last word should come first and the first word "
            "should come last.",
            "{answer}",
        ),
        Template(
            "Here are some words: {text}. Please exchange the two outermost words and give me "
            "the result.",
            "{answer}",
        ),
        Template("Input: {text}\nEdit: swap first and last word\nOutput:", "{answer}"),
        Template(
            "I wrote the words / {text} / but mixed up the two ends. Can you put the last word at "
            "the beginning and the first word at the end for me?",
            "{answer}",
        ),
        Template(
            "What do you get when the first word and the last word of the line below change "
            "places?\n> {text}",
            "{answer}",
        ),
        Template("Swap both ends. {text} ->", "{answer}"),
        Template(
            "After the first and the last word had been swapped, a line read:\n> {answer}\n\nWhat "
            "was the line before?",
            "{text}",
            reversed=True,
        ),
        Template(
            "/ {answer} / is a line whose two outermost words were exchanged by mistake. Undo "
            "that and write the original.",
            "{text}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet sofa engine milk",
            "milk and violet are the outermost words; sofa and engine stay between them.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "kitten pizza cabin zero north",
            "The first word, north, and the last word, kitten, trade places.",
        ),
    ),
)


def _make_repeat_first(dice: Dice, label: str) -> Fields:
    words = dice.sample(WORDS, dice.between(4, 5))
    return {"text": " ".join(words), "answer": " ".join([*words, words[0]])}


def _rule_repeat_first(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return f"{text} {text.partition(' ')[0]}"


REPEAT_FIRST = MiniTask(
    name="repeat_first",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_repeat_first,
    rule=_rule_repeat_first,
    definitions=(
        "You are given a line of words. Copy the line and then write its first word once more at "
        "the very end.",
        "Extend the line by one word: the word it starts with is added again behind the last one.",
        "In this task a line of words is to end as it began. Keep all words in order and append a "
        "copy of the opening word.",
        "Output the given words unchanged, followed by a repetition of the first of them.",
        "Repeat the first word at the end.",
    ),
    templates=(
        Template(
            "Copy this line and repeat its first word at the end.\n\nLine: {text}", "{answer}"
        ),
        Template(
            "{text}\n\nAdd the first word of the line above once more behind the last word.",
            "{answer}",
        ),
        Template(
            "Make the line end with the same word that it starts with, by adding one word.\n"
            "Line: {text}\nResult:",
            "{answer}",
        ),
        Template("Input: {text}\nEdit: append the first word\nOutput:", "{answer}"),
        Template(
            "Please write down / {text} / and then say the opening word a second time.",
            "{answer}",
        ),
        Template(
            "How does this line read when its first word is also put at the end?\n> {text}",
            "{answer}",
        ),
        Template(
            "Words: {text}\n\nKeep them all in order, and close with a copy of the first one:",
            "{answer}",
        ),
        Template("First word again at the end, please. {text} ->", "{answer}"),
        Template(
            "Somebody repeated the first word at the end of a line and got this:\n> {answer}\n\n"
            "Write the line as it was before.",
            "{text}",
            reversed=True,
        ),
        Template(
            "In / {answer} / the last word is only a repetition of the first. Leave the "
            "repetition out.",
            "{text}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk sofa engine violet milk",
            "The line begins with milk, so milk is added at the end.",
        ),
        Example(
            {"text": "cabin zero kitten pizza north"},
            "cabin zero kitten pizza north cabin",
            "All five words are copied and the first, cabin, is written once more.",
        ),
    ),
)


def _make_delete_word(dice: Dice, label: str) -> Fields:
    words = dice.sample(WORDS, dice.between(4, 6))
    position = dice.below(len(words))
    kept = words[:position] + words[position + 1 :]
    return {"text": " ".join(words), "word": words[position], "answer": " ".join(kept)}


def _rule_delete_word(fields: Mapping[str, str]) -> str:
    return " ".join(word for word in fields["text"].split() if word != fields["word"])


DELETE_WORD = MiniTask(
    name="delete_word",
    cluster=CLUSTER,
    kind="generation",
    fields=("text", "word"),
    layout="Line: {text}\nWord: {word}",
    make=_make_delete_word,
    rule=_rule_delete_word,
    definitions=(
        "You are given a line of words and one word that occurs in it. Write the line without "
        "that word.",
        "Delete the named word from the line and keep every other word in its order.",
        "One word of the line is not wanted; the input says which. Your output is what remains of "
        "the line when this word is taken out.",
        "Take a word out of a line. The line and the word to be taken out are given; answer with "
        "the remaining words as they stand.",
        "Remove the given word from the line.",
    ),
    templates=(
        Template("Delete the word {word} from this line.\n\nLine: {text}", "{answer}"),
        Template("Line: {text}\n\nWrite the line without {word}:", "{answer}"),
        Template(
            "{text}\n\nThe word {word} does not belong here. Take it out and leave the other "
            "words as they are.",
            "{answer}",
        ),
        Template(
            "What remains of the words below when {word} is removed?\n> {text}",
            "{answer}",
        ),
        Template("Input: {text}\nEdit: delete {word}\nOutput:", "{answer}"),
        Template(
            "Please copy / {text} /, but skip the word {word} when you come to it.",
            "{answer}",
        ),
        Template(
            "I do not want {word} in my line any more. My line is: {text}. What should it be now?",
            "{answer}",
        ),
        Template("Without {word}: {text} ->", "{answer}"),
        Template(
            "A line read / {text} /. One word was deleted, and it now reads / {answer} /. Which "
            "word was deleted?",
            "{word}",
            reversed=True,
        ),
        Template(
            "Before: {text}\nAfter: {answer}\n\nName the word that is missing after the edit.",
            "{word}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa"},
            "milk engine violet",
            "Only sofa is taken out; the other three words keep their order.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "word": "kitten"},
            "north pizza cabin zero",
            "kitten stands at the end, so the line simply stops before it.",
        ),
    ),
)


def _make_last_to_front(dice: Dice, label: str) -> Fields:
    *others, last = dice.sample(WORDS, dice.between(4, 6))
    return {"text": " ".join([*others, last]), "answer": " ".join([last, *others])}


def _rule_last_to_front(fields: Mapping[str, str]) -> str:
    others, _, last = fields["text"].rpartition(" ")
    return f"{last} {others}"


LAST_TO_FRONT = MiniTask(
    name="last_to_front",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_last_to_front,
    rule=_rule_last_to_front,
    definitions=(
        "You are given a line of words. Move its last word to the front, before all the others.",
        "Take the word at the end of the line and write it first; the remaining words follow in "
        "the order they had.",
        "The task is to turn the line by one word, so that the closing word becomes the opening "
        "word and every other word moves one place back.",
        "Rewrite the line so that it begins with the word it used to end with. The order of the "
        "other words does not change.",
        "Put the last word in front.",
    ),
    templates=(
        Template("Move the last word of this line to the front.\n\nLine: {text}", "{answer}"),
        Template(
            "Line: {text}\n\nStart with the final word, then write the others in the same order "
            "as before:",
            "{answer}",
        ),
        Template(
            "{text}\n\nTake the word at the end of this line and put it before all the others.",
            "{answer}",
        ),
        Template("Input: {text}\nEdit: last word to the front\nOutput:", "{answer}"),
        Template(
            "The last word of / {text} / should really come first. Please correct the line.",
            "{answer}",
        ),
        Template(
            "How does the line read once its final word has jumped to the beginning?\n> {text}",
            "{answer}",
        ),
        Template(
            "Turn these words by one place, so that the line begins with the word that was "
            "last: {text}",
            "{answer}",
        ),
        Template("Last word first, then the rest. {text} ->", "{answer}"),
        Template(
            "Someone moved the last word of a line to the front. Now it reads:\n> {answer}\n\n"
            "Move that word back to the end.",
            "{text}",
            reversed=True,
        ),
        Template(
            "/ {answer} / begins with a word that should stand at the end. Write the line in its "
            "proper order.",
            "{text}",
            reversed=True,
        ),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet milk sofa engine",
            "violet was the last word and now opens the line.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "kitten north pizza cabin zero",
            "kitten jumps to the front; the other four words follow as they were.",
        ),
    ),
)


def _make_keep_ends(dice: Dice, label: str) -> Fields:
    first, *inner, last = dice.sample(WORDS, dice.between(4, 6))
    return {"text": " ".join([first, *inner, last]), "answer": f"{first} {last}"}


def _rule_keep_ends(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return text[: text.index(" ")] + text[text.rindex(" ") :]


KEEP_ENDS = MiniTask(
    name="keep_ends",
    cluster=CLUSTER,
    kind="generation",
    fields=("text",),
    layout="{text}",
    make=_make_keep_ends,
    rule=_rule_keep_ends,
    definitions=(
        "You are given a line of words. Keep only its first and its last word and leave out all "
        "the words between them.",
        "Shorten the line to two words: the one it begins with and the one it ends with.",
        "In this task the middle of a line is thrown away. Answer with the opening word followed "
        "by the closing word.",
        "Write the first word of the line and then the last word of the line, nothing else.",
        "Drop everything between the first and the last word.",
    ),
    templates=(
        Template("Keep only the first and the last word of this line.\n\nLine: {text}", "{answer}"),
        Template(
            "Line: {text}\n\nThrow away the middle. Which two words are left, the one at the "
            "beginning and the one at the end?",
            "{answer}",
        ),
        Template(
            "{text}\n\nShorten this to two words: the first word and the last word.",
            "{answer}",
        ),
        Template("Input: {text}\nEdit: keep first and last word\nOutput:", "{answer}"),
        Template(
            "Please drop every word of / {text} / that stands between the first word and the "
            "last word.",
            "{answer}",
        ),
        Template(
            "Write the first word of the line, then its last word.\nThe line: {text}",
            "{answer}",
        ),
        Template(
            "My label has room for two words only, so I take the first and the last of these: "
            "{text}. What does the label say?",
            "{answer}",
        ),
        Template(
            "Which word begins this line, and which word ends it? Answer with the two words.\n\n"
            "> {text}",
            "{answer}",
        ),
        Template(
            "Cut out the inside of the line so that just both outermost words remain: {text}",
            "{answer}",
        ),
        Template("Both ends only. {text} ->", "{answer}"),
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk violet",
            "sofa and engine stand between the ends and are left out.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north kitten",
            "The line begins with north and ends with kitten.",
        ),
    ),
)

TASKS = (SWAP_ENDS, REPEAT_FIRST, DELETE_WORD, LAST_TO_FRONT, KEEP_ENDS)
