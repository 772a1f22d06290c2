"""Cluster `ordering`: the words of a line are put in another order.

All tasks get the same kind of line, so only the instruction says which order is wanted. No prompt
of a trained task asks for what the held-out `first_to_end` does, not even turned around: that is
why `last_to_front` has no turned templates.
"""

from collections.abc import Mapping
from string import ascii_lowercase

from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask, turned
from tasks.minilab.lexicon import WORDS

CLUSTER = "ordering"
HELDOUT = ("first_to_end",)


def _make_reverse_words(dice: Dice, label: str) -> Fields:
    words = line(dice)
    return {"text": " ".join(words), "answer": " ".join(words[::-1])}


def _rule_reverse_words(fields: Mapping[str, str]) -> str:
    answer = ""
    for word in fields["text"].split():
        answer = f"{word} {answer}"
    return answer.rstrip()


REVERSE_WORDS = MiniTask(
    name="reverse_words",
    cluster=CLUSTER,
    kind="generation",
    skills=("order",),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_reverse_words,
    rule=_rule_reverse_words,
    definitions=(
        "You are given a line of words. Write the same words in the opposite order, so that the "
        "last word comes first and the first word comes last.",
        "Read the line from its end to its beginning and write down every word as you come to it.",
        "The task is to turn a line of words around. What stood at the end now stands at the "
        "beginning, the word before it becomes the second, and so on for all the words.",
        "Output all the words of the line backwards, word by word, not letter by letter.",
        "Write the words backwards.",
    ),
    avoid="Do not sort the words, do not leave any out, and do not turn the letters around.",
    emphasis="All the words change their order, not only the first and the last one.",
    templates=(
        *ask(
            "Write the words of this line in the opposite order.\n\nLine: {text}",
            "Line: {text}\n\nNow the same line backwards, from the last word to the first:",
            "{text}\n\nTurn the order of these words around: the last one comes first, then the "
            "one before it, and so on.",
            "Input: {text}\nEdit: reverse the order of the words\nOutput:",
            "Please read / {text} / from the end to the beginning and write down each word as "
            "you come to it.",
            "I do not want only the two ends swapped. Write all of these words in reverse order: "
            "{text}",
            "How does this line read backwards? Turn around the order of the words, not their "
            "letters.\n> {text}",
            "Words backwards. {text} ->",
        ),
        turned(
            "The words of a line were put in the opposite order, and now it reads:\n"
            "> {answer}\n\nWhat was the line before?",
            "{text}",
        ),
        turned(
            "I copied a line from its last word to its first and got / {answer} /. Write the "
            "line as it really was.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Start with the last word of {text} and go back, one word at a time, until you come to "
        "the first. Write down all the words.",
        "Do not sort these words, and do not just swap the outermost two. I want every word, in "
        "the order from the end to the beginning.\n\nLine: {text}",
        "My friend began at the wrong end of the line / {text} / and read each word until he "
        "stood at the front. What did he read?",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet engine sofa milk",
            "The line ends with violet, before it come engine, sofa and milk.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "kitten zero cabin pizza north",
            "The five words are written from the last one to the first one.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet sofa engine milk",
            "Only the two ends were swapped; sofa and engine must change their order too.",
        ),
    ),
)


def _make_sort_words(dice: Dice, label: str) -> Fields:
    # A word for each letter, since words that begin with the same letter are harder to sort.
    count = dice.between(4, 6)
    words: dict[str, str] = {}
    while len(words) < count:
        word = dice.pick(WORDS)
        words.setdefault(word[0], word)
    return {"text": " ".join(words.values()), "answer": " ".join(sorted(words.values()))}


def _rule_sort_words(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    by_letter = {word[0]: word for word in words}
    answer = [by_letter[letter] for letter in ascii_lowercase if letter in by_letter]
    # Shorter where two words begin with the same letter, or one begins with no letter.
    return " ".join(answer) if len(answer) == len(words) else ""


SORT_WORDS = MiniTask(
    name="sort_words",
    cluster=CLUSTER,
    kind="generation",
    skills=("order", "spelling"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_sort_words,
    rule=_rule_sort_words,
    definitions=(
        "You are given a line of words. Write the same words in alphabetical order.",
        "Sort the words from a to z. All of them begin with different letters, so the first "
        "letter of each word decides where it goes.",
        "Put the words of the line in the order that they would have in a dictionary. No word is "
        "left out and none is added.",
        "The word whose first letter comes first in the alphabet opens the line, the word with "
        "the next letter follows it, and so on to the end.",
        "Sort the words by the alphabet.",
    ),
    avoid="Do not sort by the length of the words and do not leave any word out.",
    emphasis="The alphabet alone decides; the order in which the words are given does not matter.",
    templates=ask(
        "Put the words of this line in alphabetical order.\n\nLine: {text}",
        "Line: {text}\n\nThe same words, sorted from a to z:",
        "{text}\n\nWrite these words in the order that they would have in a dictionary.",
        "Input: {text}\nEdit: sort the words by the alphabet\nOutput:",
        "Please sort / {text} / by the first letter of each word and give me the whole line.",
        "I am making a small dictionary out of these words: {text}. In which order do they "
        "belong there?",
        "Do not turn the line around. Sort its words by the alphabet instead.\n\nLine: {text}",
        "How does this line read when the alphabet decides the order of its words, and not their "
        "length?\n> {text}",
        "Begin with the word whose first letter is nearest to a, end with the word whose first "
        "letter is nearest to z, and write all the words in this way: {text}",
        "Alphabetical order, please. {text} ->",
    ),
    new_wordings=ask(
        "A comes before b, b comes before c, and so on. Let the first letters decide and write "
        "{text} in that order.",
        "Neither backwards nor from short to long: it is the alphabet that says in which order I "
        "want these words.\n\nLine: {text}",
        "The words / {text} / are out of order. How would they stand if someone had sorted them, "
        "from a at the beginning to z at the end?",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "engine milk sofa violet",
            "In the alphabet e comes before m, m before s, and s before v.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "cabin kitten north pizza zero",
            "The first letters are now in the order c, k, n, p, z.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "milk sofa violet engine",
            "engine begins with e, which comes before m, s and v, so it must open the line.",
        ),
    ),
)


def _make_swap_ends(dice: Dice, label: str) -> Fields:
    first, *inner, last = line(dice)
    text, answer = [first, *inner, last], [last, *inner, first]
    return {"text": " ".join(text), "answer": " ".join(answer)}


def _rule_swap_ends(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    if len(words) < 2:
        return ""
    words[0], words[-1] = words[-1], words[0]
    return " ".join(words)


SWAP_ENDS = MiniTask(
    name="swap_ends",
    cluster=CLUSTER,
    kind="generation",
    skills=("order", "position"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_swap_ends,
    rule=_rule_swap_ends,
    definitions=(
        "You are given a line of words. Write the line again with its first and its last word "
        "swapped and all the words between them left in place.",
        "Exchange the two outermost words of the line: what stood at the end comes to the "
        "beginning and what stood at the beginning goes to the end. The middle stays as it is.",
        "The task is to let the first word and the last word of a line trade places. Nothing "
        "else about the line may change.",
        "Given several words, output the same words, but with the opening word where the closing "
        "word was and the closing word where the opening word was.",
        "Swap the first and the last word.",
    ),
    avoid="Do not turn the whole line around and do not leave any word out.",
    emphasis="Only the two outermost words move; the middle stays exactly as it is.",
    templates=(
        *ask(
            "Swap the first word and the last word of this line.\n\nLine: {text}",
            "Line: {text}\n\nLet the first and the last word trade places and keep the middle as "
            "it is. New line:",
            "{text}\n\nDo not turn the whole line around. Only its first and its last word change "
            "places; the second word, for example, stays second.",
            "Here are some words: {text}. Please exchange the two outermost words and give me "
            "the result.",
            "Input: {text}\nEdit: swap first and last word\nOutput:",
            "I wrote the words / {text} / but mixed up the two ends. Can you put the last word at "
            "the beginning and the first word at the end for me?",
            "I do not want the last word just moved to the front: it should trade places with "
            "the first word. How does the line read then?\n> {text}",
            "Swap both ends. {text} ->",
        ),
        turned(
            "After the first and the last word had been swapped, a line read:\n> {answer}\n\n"
            "What was the line before?",
            "{text}",
        ),
        turned(
            "/ {answer} / is a line whose two outermost words were exchanged by mistake. Undo "
            "that and write the original.",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "Let {text} begin with the word it ends with, and end with the word it begins with. "
        "Everything between the two stays where it is.",
        "Not backwards, please: the words in the middle keep their places, only the one at the "
        "front and the one at the end are exchanged.\n\nLine: {text}",
        "In / {text} / the first word would like to stand where the last one stands, and the last "
        "one where the first one stands. Write the line that makes both happy.",
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
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet engine sofa milk",
            "The whole line was turned around; sofa and engine should have stayed in place.",
        ),
    ),
)


def _make_last_to_front(dice: Dice, label: str) -> Fields:
    *others, last = line(dice)
    return {"text": " ".join([*others, last]), "answer": " ".join([last, *others])}


def _rule_last_to_front(fields: Mapping[str, str]) -> str:
    others, _, last = fields["text"].rpartition(" ")
    return f"{last} {others}" if others else ""


LAST_TO_FRONT = MiniTask(
    name="last_to_front",
    cluster=CLUSTER,
    kind="generation",
    skills=("order", "position"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
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
    avoid="Do not swap the last word with the first one and do not write it twice.",
    emphasis="All the words but the last keep the order they had.",
    templates=ask(
        "Move the last word of this line to the front.\n\nLine: {text}",
        "Line: {text}\n\nStart with the final word, then write the others in the same order as "
        "before:",
        "{text}\n\nTake the word at the end of this line and put it before all the others.",
        "Input: {text}\nEdit: last word to the front\nOutput:",
        "The last word of / {text} / should really come first, with the others behind it as they "
        "are. Please correct the line.",
        "How does the line read once its final word has jumped to the beginning and the rest "
        "have moved one place back?\n> {text}",
        "Turn these words by one place, so that the line begins with the word that was last: "
        "{text}",
        "Do not swap the two ends. Only the last word moves: put it before all the others, so "
        "that the first word becomes the second.\n\nLine: {text}",
        "I do not want the whole line backwards. Just take the word it ends with and put it in "
        "front: {text}",
        "Last word first, then the rest. {text} ->",
    ),
    new_wordings=ask(
        "Line: {text}\n\nThe word at the end is in the wrong place: it belongs at the beginning. "
        "Nothing else is wrong. Write the line as it should be.",
        "No swapping, please. The closing word of {text} goes before the opening word, and all "
        "the others keep their order.",
        "Say the last of these words, and after it all the rest in the order in which they "
        "stand: {text}",
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
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet sofa engine milk",
            "milk should follow right behind violet; here the two were swapped.",
        ),
    ),
)


def _make_swap_halves(dice: Dice, label: str) -> Fields:
    words = line(dice)
    half = len(words) // 2
    rest = len(words) - half
    answer = [*words[rest:], *words[half:rest], *words[:half]]
    return {"text": " ".join(words), "answer": " ".join(answer)}


def _rule_swap_halves(fields: Mapping[str, str]) -> str:
    words = fields["text"].split()
    # How far it is from a place in one half to the same place in the other.
    step = (len(words) + 1) // 2
    placed = list(words)
    for place in range(len(words) - step):
        placed[place], placed[place + step] = words[place + step], words[place]
    return " ".join(placed) if len(words) > 1 else ""


SWAP_HALVES = MiniTask(
    name="swap_halves",
    cluster=CLUSTER,
    kind="generation",
    skills=("order", "position"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_swap_halves,
    rule=_rule_swap_halves,
    definitions=(
        "You are given a line of words. Write its second half first and then its first half; in "
        "each half the words keep their order. Where the number of words is odd, the middle word "
        "stays in the middle.",
        "Cut the line into two halves of the same length and exchange them. A word in the very "
        "middle, if there is one, belongs to neither half and stays where it is.",
        "The two halves of the line trade places, and neither of them is turned around. Of four "
        "words the last two come first, of six words the last three; of five words the third "
        "stays and the two pairs beside it trade places.",
        "Everything behind the middle of the line comes to the front and everything before the "
        "middle goes to the back, each part in its own order. A middle word stays.",
        "Swap the two halves; a middle word stays.",
    ),
    avoid="Do not turn the halves around and do not put a middle word into one of them.",
    emphasis="With five words the third one does not move.",
    templates=(
        *ask(
            "Swap the two halves of this line. If there is a middle word, it stays in the "
            "middle.\n\nLine: {text}",
            "Line: {text}\n\nWrite the second half first and then the first half. A word in the "
            "very middle does not move:",
            "{text}\n\nLet the two halves of this line trade places. In each half the words keep "
            "their order, and a middle word stays where it is.",
            "Input: {text}\nEdit: swap the halves, keep a middle word in place\nOutput:",
            "Please exchange the first half and the second half of / {text} / for me. If the "
            "number of words is odd, leave the middle one where it is.",
            "I do not want the words backwards. Each half stays as it is, only the halves change "
            "places, on both sides of the middle word if there is one: {text}",
            "Do not swap just the two ends, swap the whole halves. A word in the middle, if "
            "there is one, stays there.\n> {text}",
            "I cut the line {text} into two equal halves and put the back half in front. If a "
            "word was left over in the middle, it stayed there. What does my line say now?",
            "Halves swapped, a middle word stays. {text} ->",
        ),
        turned(
            "After its two halves had been swapped, with a middle word left in place, a line "
            "read:\n> {answer}\n\nWhat was the line before?",
            "{text}",
        ),
    ),
    new_wordings=ask(
        "The back half of this line should come before the front half. Is there a word left over "
        "in the middle? Then it stays between them.\n\nLine: {text}",
        "Not only the first and the last word are exchanged here, but all of the first half and "
        "all of the second half. A middle word keeps its place. The line is {text}.",
        "Cut {text} into two equal parts. Start with the second part and end with the first. If "
        "one word is left in the middle, write it between them.",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "engine violet milk sofa",
            "The halves are milk sofa and engine violet; the second one now comes first.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "zero kitten cabin north pizza",
            "cabin is the middle of five words and stays; the pairs beside it trade places.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet engine sofa milk",
            "The halves were turned around as well; each half must keep its own order.",
        ),
    ),
)


def _make_first_to_end(dice: Dice, label: str) -> Fields:
    first, *others = line(dice)
    return {"text": " ".join([first, *others]), "answer": " ".join([*others, first])}


def _rule_first_to_end(fields: Mapping[str, str]) -> str:
    first, _, others = fields["text"].partition(" ")
    return f"{others} {first}" if others else ""


FIRST_TO_END = MiniTask(
    name="first_to_end",
    cluster=CLUSTER,
    kind="generation",
    skills=("order", "position"),
    fields=LINE_FIELDS,
    layout=LINE_LAYOUT,
    make=_make_first_to_end,
    rule=_rule_first_to_end,
    definitions=(
        "You are given a line of words. Move its first word to the end, behind all the others.",
        "Take the word at the beginning of the line and write it last; the remaining words come "
        "before it in the order they had.",
        "The task is to turn the line by one word, so that the opening word becomes the closing "
        "word and every other word moves one place to the front.",
        "Rewrite the line so that it ends with the word it used to begin with. The order of the "
        "other words does not change.",
        "Put the first word at the end.",
    ),
    avoid="Do not swap the first word with the last one and do not write it twice.",
    emphasis="All the words but the first keep the order they had.",
    templates=ask(
        "Move the first word of this line to the end.\n\nLine: {text}",
        "Line: {text}\n\nStart with the second word, write the others in the same order as "
        "before, and close with the first word:",
        "{text}\n\nTake the word at the beginning of this line and put it behind all the others.",
        "Input: {text}\nEdit: first word to the end\nOutput:",
        "The first word of / {text} / should really come last, with the others before it as they "
        "are. Please correct the line.",
        "How does the line read once its opening word has jumped to the end and the rest have "
        "moved one place to the front?\n> {text}",
        "Turn these words by one place, so that the line ends with the word that was first: {text}",
        "Do not swap the two ends. Only the first word moves: put it behind all the others, so "
        "that the second word becomes the first.\n\nLine: {text}",
        "I do not want the last word in front. Just take the word that the line begins with and "
        "put it at the end: {text}",
        "First the rest, then the first word. {text} ->",
    ),
    examples=(
        Example(
            {"text": "milk sofa engine violet"},
            "sofa engine violet milk",
            "milk was the first word and now closes the line.",
        ),
        Example(
            {"text": "north pizza cabin zero kitten"},
            "pizza cabin zero kitten north",
            "north goes to the end; the other four words stay in the order they had.",
        ),
    ),
    negatives=(
        Example(
            {"text": "milk sofa engine violet"},
            "violet milk sofa engine",
            "Here the last word came to the front; the first word should have gone to the end.",
        ),
    ),
)

TASKS = (REVERSE_WORDS, SORT_WORDS, SWAP_ENDS, LAST_TO_FRONT, SWAP_HALVES, FIRST_TO_END)
