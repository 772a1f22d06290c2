"""Cluster `string_edits`: a word of a line is taken out, added or exchanged.

All tasks draw their line alike, and those that name a word draw it alike too, so that only the
instruction says what becomes of the line.
"""

from collections.abc import Mapping

from tasks.minilab.forms import (
    LINE_FIELDS,
    LINE_LAYOUT,
    LINE_WORD_FIELDS,
    LINE_WORD_LAYOUT,
    line,
)
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned

CLUSTER = "string_edits"
HELDOUT = ("drop_last", "keep_until")


def _row(words: list[str], answer: list[str], **more: str) -> Fields:
    return {"text": " ".join(words), **more, "answer": " ".join(answer)}


def _has_once(fields: Mapping[str, str]) -> bool:
    # A word that stands in the line twice leaves open which of the two is meant.
    return fields["text"].split().count(fields["word"]) == 1


def _make_delete_word(dice: Dice, label: str) -> Fields:
    words = line(dice)
    at = dice.below(len(words))
    return _row(words, words[:at] + words[at + 1 :], word=words[at])


def _rule_delete_word(fields: Mapping[str, str]) -> str:
    if not _has_once(fields):
        return ""
    return " ".join(word for word in fields["text"].split() if word != fields["word"])


DELETE_WORD = MiniTask(
    name="delete_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit",),
    fields=LINE_WORD_FIELDS,
    layout=LINE_WORD_LAYOUT,
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
    avoid="Do not put anything in the place of the deleted word, and delete no other word.",
    emphasis="The words after the deleted one are kept too; the line does not end there.",
    templates=(
        *ask(
            "Delete the word {word} from this line.\n\nLine: {text}",
            "Line: {text}\n\nWrite the line without {word}:",
            "{text}\n\nDo not stop at the word {word}: leave out only this one word and write all "
            "the others.",
            "What remains of the words below when {word} is removed?\n> {text}",
            "Input: {text}\nEdit: delete {word}\nOutput:",
            "Please copy / {text} /, but skip the word {word} when you come to it. Do not write "
            "another word in its place.",
            "I do not want {word} in my line any more. My line is: {text}. What should it be now?",
            "Without {word}: {text} ->",
        ),
        turned(
            "A line read / {text} /. One word was deleted, and it now reads / {answer} /. Which "
            "word was deleted?",
            "{word}",
        ),
        turned(
            "Before: {text}\nAfter: {answer}\n\nName the word that is missing after the edit.",
            "{word}",
        ),
    ),
    new_wordings=ask(
        "Which words are left once {word} has gone from this line? Write them in order.\n> {text}",
        "I need all the words of the line but one. The one I do not need is {word}.\nLine: {text}",
        "{text}\n\nDo not write {word} twice and do not keep it: it is the only word to throw "
        "away. What is the new line?",
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
    negatives=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa"},
            "milk",
            "engine and violet stand after the deleted word, but they belong to the line.",
        ),
    ),
)


def _make_double_word(dice: Dice, label: str) -> Fields:
    words = line(dice)
    at = dice.below(len(words))
    return _row(words, words[: at + 1] + words[at:], word=words[at])


def _rule_double_word(fields: Mapping[str, str]) -> str:
    if not _has_once(fields):
        return ""
    named = fields["word"]
    return " ".join(f"{word} {word}" if word == named else word for word in fields["text"].split())


DOUBLE_WORD = MiniTask(
    name="double_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit",),
    fields=LINE_WORD_FIELDS,
    layout=LINE_WORD_LAYOUT,
    make=_make_double_word,
    rule=_rule_double_word,
    definitions=(
        "You are given a line of words and one word that occurs in it. Write the line again, with "
        "this word twice in a row where it stands and every other word once.",
        "Copy the line, but when you come to the named word, write it two times, one right after "
        "the other.",
        "One word of the line is to be doubled; the input says which. The second copy goes "
        "directly behind the first, and nothing else changes.",
        "The output is one word longer than the line: the given word is repeated at its own place.",
        "Double the given word.",
    ),
    avoid="Do not put the second copy at the end of the line, and double no other word.",
    emphasis="Both copies stand side by side, at the place where the word stood.",
    templates=(
        *ask(
            "Copy this line, but write the word {word} twice in a row.\n\nLine: {text}",
            "Line: {text}\n\nDouble the word {word} and leave the others as they are. New line:",
            "{text}\n\nRepeat the word {word} directly behind itself and change nothing else.",
            "Input: {text}\nEdit: double {word}\nOutput:",
            "When I come to {word} I always say it two times, one right after the other. How do I "
            "read this line aloud?\n> {text}",
            "Do not take {word} out of / {text} /. Instead, let it stand there two times in a row.",
            "The word {word} should come twice in the line below, not once more at the end but "
            "side by side.\nLine: {text}",
            "Please put a second {word} right behind the one that is already in / {text} /.",
            "{word} two times, every other word once: {text} ->",
        ),
        turned(
            "Somebody doubled the word {word} in a line and got this:\n> {answer}\n\nWrite the "
            "line as it was before.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "How does the line read when {word} stands in it two times, side by side?\n> {text}",
        "Make the line one word longer: add {word} again, next to the place where it is now.\n"
        "Line: {text}",
        "{text}\n\nI do not want {word} deleted. I want it once more, right behind itself, and no "
        "other word is to be repeated.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa"},
            "milk sofa sofa engine violet",
            "sofa is written twice where it stands; the other three words are copied.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "word": "kitten"},
            "north pizza cabin zero kitten kitten",
            "kitten stands at the end, so its second copy closes the line.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa"},
            "milk sofa engine violet sofa",
            "The second sofa is at the end of the line and not directly behind the first.",
        ),
    ),
)


def _make_replace_word(dice: Dice, label: str) -> Fields:
    new, *words = line(dice, 5, 7)
    at = dice.below(len(words))
    return _row(words, [*words[:at], new, *words[at + 1 :]], word=words[at], new=new)


def _rule_replace_word(fields: Mapping[str, str]) -> str:
    if not _has_once(fields):
        return ""
    before, _, after = f" {fields['text']} ".partition(f" {fields['word']} ")
    return f"{before} {fields['new']} {after}".strip()


REPLACE_WORD = MiniTask(
    name="replace_word",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit",),
    fields=(*LINE_WORD_FIELDS, "new"),
    layout="{text} / {word} / {new}",
    make=_make_replace_word,
    rule=_rule_replace_word,
    definitions=(
        "You are given a line of words, one word that occurs in it and a new word. Write the line "
        "with the new word in the place of the old one.",
        "Replace the first of the two named words by the second. Every other word of the line is "
        "copied as it stands.",
        "One word of the line is exchanged for another that is not in it. The input gives the "
        "line, the word that goes and the word that comes; answer with the new line.",
        "The output is as long as the line and differs from it in one place: there stands the new "
        "word where the old one was.",
        "Put the new word where the old one was.",
    ),
    avoid="Do not keep the old word, and do not write the new word anywhere else.",
    emphasis="The new word stands exactly where the old one stood.",
    templates=(
        *ask(
            "Replace the word {word} with {new} in this line.\n\nLine: {text}",
            "Line: {text}\n\nWrite {new} where the line says {word}, and copy all the other words:",
            "{text}\n\nPut {new} in the place of {word}. The other words stay as they are.",
            "Input: {text}\nEdit: replace {word} with {new}\nOutput:",
            "I wrote / {text} /, but where I wrote {word} I meant {new}. What should the line have "
            "been?",
            "Do not just take {word} out of this line: let {new} stand in its place.\nLine: {text}",
            "Please copy / {text} / with one change: it must say {new}, not {word}.",
            "What does the line below become when {word} is exchanged for {new}?\n> {text}",
            "{new} for {word}: {text} ->",
        ),
        turned(
            "The word {word} was replaced with {new}, and now a line reads:\n> {answer}\n\nWrite "
            "the line as it was before.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Here {word} is wrong and {new} is right: {text}. Please correct the line.",
        "Read this line aloud, but say {new} when you come to {word}. What do you say?\n> {text}",
        "{text}\n\nTake {word} out, but do not leave its place empty and do not go to the end of "
        "the line: {new} goes where it was.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa", "new": "pizza"},
            "milk pizza engine violet",
            "pizza takes the place of sofa; the other three words are copied.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "word": "kitten", "new": "milk"},
            "north pizza cabin zero milk",
            "The line ended with kitten and now ends with milk.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa", "new": "pizza"},
            "milk engine violet pizza",
            "pizza was added at the end, though it belongs where sofa stood.",
        ),
    ),
)


def _make_repeat_first(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, [*words, words[0]])


def _rule_repeat_first(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return f"{text} {text.partition(' ')[0]}".strip()


REPEAT_FIRST = MiniTask(
    name="repeat_first",
    cluster=CLUSTER,
    kind="generation",
    skills=("position", "edit"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
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
    avoid="Do not move the first word away from the beginning, and do not repeat any other word.",
    emphasis="The first word stands in the answer twice: where it was, and again at the end.",
    templates=(
        *ask(
            "Copy this line and repeat its first word at the end.\n\nLine: {text}",
            "{text}\n\nAdd the first word of the line above once more behind the last word.",
            "Make the line end with the same word that it starts with, by adding one word.\n"
            "Line: {text}\nResult:",
            "Input: {text}\nEdit: append the first word\nOutput:",
            "Please write down / {text} / and do not stop there: after the last word, write "
            "the opening word a second time.",
            "How does this line read when its first word is also put at the end?\n> {text}",
            "Do not move the first word of this line. Leave it where it is and write it again at "
            "the end.\nLine: {text}",
            "First word again at the end, please. {text} ->",
        ),
        turned(
            "Somebody repeated the first word at the end of a line and got this:\n> {answer}\n\n"
            "Write the line as it was before.",
            "{text}",
        ),
        turned(
            "In / {answer} / the last word is only a repetition of the first. Leave the "
            "repetition out.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Read this line aloud, then say once more the word you began with: {text}. What do you "
        "say in all?",
        "Line: {text}\n\nThe word in front should also be the last one. Write all the words and "
        "add it:",
        "{text}\n\nNothing is to be deleted or moved here, and it is not the last word that comes "
        "again: behind it, repeat the first.",
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
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa engine violet milk",
            "milk was moved to the end; it should also have stayed at the beginning.",
        ),
    ),
)


def _make_keep_ends(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, [words[0], words[-1]])


def _rule_keep_ends(fields: Mapping[str, str]) -> str:
    text = fields["text"]
    return text[: text.index(" ")] + text[text.rindex(" ") :] if " " in text else ""


KEEP_ENDS = MiniTask(
    name="keep_ends",
    cluster=CLUSTER,
    kind="generation",
    skills=("position",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
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
    avoid="Do not write the last word before the first, and keep no word of the middle.",
    emphasis="The answer is always two words, however long the line is.",
    templates=ask(
        "Keep only the first and the last word of this line.\n\nLine: {text}",
        "Line: {text}\n\nThrow away the middle. Which two words are left, the one at the "
        "beginning and the one at the end?",
        "{text}\n\nNeither the first word nor the last word of this line is to go. Drop all the "
        "others.",
        "Input: {text}\nEdit: keep first and last word\nOutput:",
        "Please drop every word of / {text} / that stands between the first word and the last "
        "word.",
        "I do not need the whole line. Write its first word, then its last word.\nThe line: {text}",
        "My label has room for two words only, so I take the first and the last of these: "
        "{text}. What does the label say?",
        "Which word begins this line, and which word ends it? Answer with the two words.\n> {text}",
        "Cut out the inside of the line so that just both outermost words remain: {text}",
        "Both ends only. {text} ->",
    ),
    new_wordings=ask(
        "What is left of this line when all its inner words are deleted?\n> {text}",
        "Start with the word that comes before all the others, add the word that comes after all "
        "the others, and stop.\nLine: {text}",
        "{text}\n\nNot the first word alone and not the last word alone: write these two, and "
        "none of the words in the middle.",
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
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa engine",
            "These are the words of the middle, which should have been left out.",
        ),
    ),
)


def _make_drop_first(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, words[1:])


def _rule_drop_first(fields: Mapping[str, str]) -> str:
    return fields["text"].partition(" ")[2]


DROP_FIRST = MiniTask(
    name="drop_first",
    cluster=CLUSTER,
    kind="generation",
    skills=("position", "edit"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_drop_first,
    rule=_rule_drop_first,
    definitions=(
        "You are given a line of words. Write the line without its first word; all the other "
        "words follow in the order they have.",
        "Make the line shorter by one word: the one it begins with is left out.",
        "The opening word of the line is not wanted. Your output begins with the second word and "
        "goes on to the end of the line.",
        "Copy everything that comes after the first word.",
        "Drop the first word.",
    ),
    avoid="Do not move the first word to another place, and do not leave out any other word.",
    emphasis="Only one word goes; the last word stays.",
    templates=ask(
        "Leave out the first word of this line and copy the rest.\n\nLine: {text}",
        "Line: {text}\n\nWrite everything that comes after the first word:",
        "{text}\n\nThe word at the beginning is not wanted. What does the line say without it?",
        "Input: {text}\nEdit: delete first word\nOutput:",
        "Please copy / {text} /, but begin with the second word.",
        "I do not want the last word of this line to go. I want you to drop the first one.\n"
        "Line: {text}",
        "Do not give me the first word of this line: give me all the words that follow it.\n"
        "> {text}",
        "Which words are left when the opening word of / {text} / is taken out?",
        "Somebody read a line to me, but I came too late to hear its first word. The line was: "
        "{text}. What did I hear?",
        "All but the first. {text} ->",
    ),
    new_wordings=ask(
        "How does this line go on after the word it begins with? Write all of it.\n> {text}",
        "Make the line one word shorter, at the front.\nLine: {text}",
        "{text}\n\nKeep the last word and all the words in the middle. Only the one in front of "
        "them is to be thrown away.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa engine violet",
            "The line begins with milk, which is left out.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "pizza cabin zero kitten",
            "Only north, the first of the five words, is dropped.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk sofa engine",
            "The last word was dropped and not the first.",
        ),
    ),
)


def _make_drop_last(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return _row(words, words[:-1])


def _rule_drop_last(fields: Mapping[str, str]) -> str:
    return fields["text"].rpartition(" ")[0]


DROP_LAST = MiniTask(
    name="drop_last",
    cluster=CLUSTER,
    kind="generation",
    skills=("position", "edit"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_drop_last,
    rule=_rule_drop_last,
    definitions=(
        "You are given a line of words. Write the line without its last word; all the other "
        "words stay in the order they have.",
        "Make the line shorter by one word: the one it ends with is left out.",
        "The closing word of the line is not wanted. Your output begins as the line does and "
        "stops before that word.",
        "Copy everything that comes before the last word.",
        "Drop the last word.",
    ),
    avoid="Do not move the last word to another place, and do not leave out any other word.",
    emphasis="Only one word goes; the first word stays.",
    templates=ask(
        "Leave out the last word of this line and copy the rest.\n\nLine: {text}",
        "Line: {text}\n\nWrite everything that comes before the last word:",
        "{text}\n\nThe word at the end is not wanted. What does the line say without it?",
        "Input: {text}\nEdit: delete last word\nOutput:",
        "Please copy / {text} /, but stop before the final word.",
        "I do not want the first word of this line to go. I want you to drop the last one.\n"
        "Line: {text}",
        "Do not give me the last word of this line: give me all the words in front of it.\n"
        "> {text}",
        "Which words are left when the closing word of / {text} / is taken out?",
        "I wrote one word too many at the end of my line. I wrote: {text}. What should it have "
        "been?",
        "All but the last. {text} ->",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk sofa engine",
            "The line ends with violet, which is left out.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "north pizza cabin zero",
            "Only kitten, the last of the five words, is dropped.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa engine violet",
            "The first word was dropped and not the last.",
        ),
    ),
)


def _make_keep_until(dice: Dice, label: str) -> Fields:
    words = line(dice)
    at = dice.below(len(words) - 1)  # up to the last word nothing would change
    return _row(words, words[: at + 1], word=words[at])


def _rule_keep_until(fields: Mapping[str, str]) -> str:
    if not _has_once(fields):
        return ""
    before = f" {fields['text']} ".partition(f" {fields['word']} ")[0]
    return f"{before} {fields['word']}".strip()


KEEP_UNTIL = MiniTask(
    name="keep_until",
    cluster=CLUSTER,
    kind="generation",
    skills=("edit", "position"),
    fields=LINE_WORD_FIELDS,
    layout=LINE_WORD_LAYOUT,
    make=_make_keep_until,
    rule=_rule_keep_until,
    definitions=(
        "You are given a line of words and one word that occurs in it. Write the line from its "
        "beginning up to this word, which is the last one you write.",
        "Keep the named word and everything that stands before it. All the words after it are "
        "left out.",
        "Cut the line off directly behind the given word. Your output is the part in front of the "
        "cut, so it ends with that word.",
        "Copy the words of the line in order and stop as soon as you have written the named one.",
        "Keep the line up to and including the given word.",
    ),
    avoid="Do not leave out the named word itself, and write nothing that follows it.",
    emphasis="The answer ends with the named word; where that is the first one, it stands alone.",
    templates=ask(
        "Write this line up to and including the word {word}.\n\nLine: {text}",
        "Line: {text}\n\nCopy the line from its beginning and stop after the word {word}:",
        "{text}\n\nKeep {word} and everything before it. Leave out all the words after it.",
        "Input: {text}\nEdit: delete everything after {word}\nOutput:",
        "Please read / {text} / to me, but only as far as {word}. That is the last word I want to "
        "hear.",
        "What is left of the line below when all the words behind {word} are taken out?\n> {text}",
        "Do not delete {word} from this line: delete the words that follow it, and only those.\n"
        "Line: {text}",
        "The line / {text} / is too long. Shorten it so that {word} becomes its last word.",
        "I do not want {word} to go, nor any word in front of it. Throw away just what comes after "
        "it: {text}",
        "Up to {word}, and this word too: {text} ->",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet", "word": "sofa"},
            "milk sofa",
            "The line is cut off behind sofa, so engine and violet are left out.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten", "word": "north"},
            "north",
            "north is the first word, so nothing else is kept.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet", "word": "engine"},
            "milk sofa",
            "engine itself is kept too; only the words after it are left out.",
        ),
    ),
)

TASKS = (
    DELETE_WORD,
    DOUBLE_WORD,
    REPLACE_WORD,
    REPEAT_FIRST,
    KEEP_ENDS,
    DROP_FIRST,
    DROP_LAST,
    KEEP_UNTIL,
)
