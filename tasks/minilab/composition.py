"""Cluster `composition`: two steps, each a task of another cluster, are done one after the other.

Which pairs are trained on and which are held out is listed below. Every step of a held-out pair is
trained on alone, and, in the same place of the two, within other pairs; so what is new is the pair.
No pair does what a single step does. Steps are worded in several ways and pairs in several frames,
from which a pair's prompts are put together.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from flan_jax.instructions.templates import Template
from tasks.minilab.forms import LINE_FIELDS, LINE_LAYOUT, line
from tasks.minilab.lab import Dice, Example, Fields, MiniTask, ask

CLUSTER = "composition"

# (first step, second step)
TRAINED = (
    ("sort", "first_word"),
    ("reverse", "commas"),
    ("reverse", "repeat_first"),
    ("drop_first", "sort"),
    ("swap_ends", "drop_first"),
    ("last_to_front", "and"),
    ("last_to_front", "swap_ends"),
    ("reverse", "drop_first"),
    ("swap_ends", "numbers"),
    ("sort", "keep_ends"),
    ("swap_ends", "reverse"),
    ("drop_first", "commas"),
    ("repeat_first", "reverse"),
    ("last_to_front", "last_word"),
    ("reverse", "double"),
    ("reverse", "last_to_front"),
    ("sort", "drop_first"),
    ("drop_first", "keep_ends"),
    ("repeat_first", "numbers"),
    ("last_to_front", "repeat_first"),
    ("sort", "reverse"),
    ("sort", "and"),
    ("swap_ends", "repeat_first"),
    ("keep_ends", "repeat_first"),
    ("reverse", "keep_ends"),
    ("repeat_first", "and"),
    ("swap_ends", "double"),
    ("last_to_front", "numbers"),
    ("keep_ends", "commas"),
    ("drop_first", "double"),
    ("reverse", "numbers"),
    ("sort", "swap_ends"),
    ("sort", "last_to_front"),
    ("sort", "numbers"),
    ("sort", "double"),
    ("swap_ends", "and"),
    ("last_to_front", "keep_ends"),
    ("last_to_front", "commas"),
    ("drop_first", "and"),
    ("keep_ends", "numbers"),
    ("keep_ends", "double"),
    ("repeat_first", "sort"),
    ("repeat_first", "last_to_front"),
    ("repeat_first", "keep_ends"),
    ("repeat_first", "commas"),
    ("repeat_first", "double"),
)
HELDOUT_PAIRS = (
    ("sort", "commas"),
    ("reverse", "and"),
    ("drop_first", "numbers"),
    ("swap_ends", "commas"),
    ("last_to_front", "double"),
    ("keep_ends", "and"),
    ("sort", "repeat_first"),
    ("sort", "last_word"),
    ("drop_first", "reverse"),
    ("drop_first", "repeat_first"),
    ("drop_first", "last_to_front"),
    ("last_to_front", "reverse"),
    ("swap_ends", "last_to_front"),
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a pair.

    Attributes:
        task: name of the task that is this step alone.
        skills: as in `MiniTask`.
        do: what becomes of the words; a step that writes them in another form comes last.
        wordings: what to do, so that it can follow "please" or "then".
        new_wording: one more, for prompts that are never trained on.
    """

    task: str
    skills: tuple[str, ...]
    do: Callable[[Sequence[str]], Sequence[str]]
    wordings: tuple[str, ...]
    new_wording: str


STEPS = {
    "reverse": Step(
        "reverse_words",
        ("order",),
        lambda words: words[::-1],
        (
            "reverse the order of the words",
            "turn the line around, last word first",
            "write the words backwards, from the last to the first",
            "put all words in the opposite order",
        ),
        "let the words come in the reverse order",
    ),
    "sort": Step(
        "sort_words",
        ("order", "spelling"),
        sorted,
        (
            "sort the words by the alphabet",
            "put the words in alphabetical order",
            "order the words from a to z",
            "arrange all words alphabetically",
        ),
        "bring the words into the order of the alphabet",
    ),
    "swap_ends": Step(
        "swap_ends",
        ("order", "position"),
        lambda words: [words[-1], *words[1:-1], words[0]],
        (
            "swap the first and the last word",
            "let the first word and the last word trade places",
            "exchange the two outermost words",
            "put the last word where the first one is and the first where the last one is",
        ),
        "let the two outermost words change places",
    ),
    "last_to_front": Step(
        "last_to_front",
        ("order", "position"),
        lambda words: [words[-1], *words[:-1]],
        (
            "move the last word to the front",
            "take the last word and put it before all others",
            "let the line begin with its last word, the others following as they are",
            "bring the word at the end to the beginning",
        ),
        "take the word at the end to the front",
    ),
    "drop_first": Step(
        "drop_first",
        ("edit", "position"),
        lambda words: words[1:],
        (
            "leave out the first word",
            "drop the first word",
            "delete the word at the beginning",
            "remove the first word and keep the rest",
        ),
        "take away the word at the beginning",
    ),
    "keep_ends": Step(
        "keep_ends",
        ("position",),
        lambda words: [words[0], words[-1]],
        (
            "keep only the first and the last word",
            "leave out everything between the first and the last word",
            "keep the two outermost words and nothing else",
            "delete all words but the first and the last",
        ),
        "leave only the two outermost words",
    ),
    "repeat_first": Step(
        "repeat_first",
        ("edit", "position"),
        lambda words: [*words, words[0]],
        (
            "repeat the first word at the end",
            "write the first word once more behind the last one",
            "add the first word again at the end",
            "put a second copy of the first word at the end of the line",
        ),
        "write the first word again after all the others",
    ),
    "first_word": Step(
        "first_word",
        ("position",),
        lambda words: words[:1],
        (
            "write only the first word",
            "pick out the first word and nothing else",
            "keep just the word at the beginning",
            "answer with the first word alone",
        ),
        "give just the first word",
    ),
    "last_word": Step(
        "last_word",
        ("position",),
        lambda words: words[-1:],
        (
            "write only the last word",
            "pick out the last word and nothing else",
            "keep just the word at the end",
            "answer with the last word alone",
        ),
        "give just the last word",
    ),
    "commas": Step(
        "separate_by_commas",
        ("format",),
        lambda words: [*(f"{word}," for word in words[:-1]), words[-1]],
        (
            "separate the words by commas",
            "put a comma behind every word but the last",
            "write the words with commas between them",
            "set a comma after each word, except the last one",
        ),
        "let a comma stand between any two words",
    ),
    "and": Step(
        "join_with_and",
        ("format",),
        lambda words: " and ".join(words).split(),
        (
            "join the words with and",
            "put the word and between every two words",
            "write the words with and between them",
            "connect all words by and",
        ),
        "let the word and stand between any two words",
    ),
    "numbers": Step(
        "number_words",
        ("format", "count"),
        lambda words: [part for i, word in enumerate(words) for part in (str(i + 1), word)],
        (
            "number the words, each number before its word",
            "write 1 before the first word, 2 before the second, and so on",
            "put its number in front of every word",
            "count the words through, beginning at 1, and write each number before its word",
        ),
        "let every word follow its number, from 1 on",
    ),
    "double": Step(
        "double_each",
        ("format",),
        lambda words: [copy for word in words for copy in (word, word)],
        (
            "write every word twice in a row",
            "double each word where it stands",
            "repeat each word right behind itself",
            "say every single word two times, one after the other",
        ),
        "let each word stand there twice, side by side",
    ),
}

# `<a>` and `<b>` are the steps' wordings, `<A>` and `<B>` the same as the beginning of a sentence.
FRAMES = (
    "First <a>, then <b>.\n\nLine: {text}",
    "Line: {text}\n\nIn two steps: <a>; after that, <b>. Write only the final line:",
    "{text}\n\n<A> in the line above. Then <b> in what you get.",
    "Input: {text}\nStep 1: <a>\nStep 2: <b>\nOutput:",
    "Please <a> and, with what comes out, go on: <b>. The words are: {text}",
    "Before you <b>, <a>. The line: {text}",
    "I have this line: {text}\nI want you to <a>. After that, <b> and tell me the result.",
    "What do you get if you <a> and then <b>?\n> {text}",
    "Two things are to be done to the words below, one after the other. To begin with, <a>. Once "
    "that is done, <b>.\n\nWords: {text}",
    "Not only one step, but both: <a>; then <b>. {text} ->",
)
NEW_FRAMES = (
    "There are two changes to make, and the second begins where the first ends: <a>, next <b>. "
    "Begin with: {text}",
    "{text}\n\nI do not want the line as it is after one step. You should <a>, and only after that "
    "<b>.",
    "<B>, but not before this is done: <a>. Line: {text}",
)
DEFINITIONS = (
    "You are given a line of words. First <a>. With the line that you have then, go on and <b>. "
    "Answer with the result of the second step only.",
    "Two steps lead from the line to the answer. Step one: <a>. Step two, done to the outcome of "
    "step one: <b>.",
    "Before you <b>, you have to <a>; the order of the two steps matters.",
    "<A>; then <b>.",
)
EXAMPLE_LINES = ("milk sofa engine violet", "north pizza cabin zero kitten")


def _rule_of_step(step: str, text: str) -> str:
    """What a step makes of a text, found without `Step.do`."""
    first, _, rest = text.partition(" ")
    start, _, last = text.rpartition(" ")
    inner = rest.rpartition(" ")[0]
    return {
        "reverse": lambda: " ".join(reversed(text.split())),
        "sort": lambda: " ".join(sorted(text.split(), key=str.lower)),
        "swap_ends": lambda: " ".join(filter(None, (last, inner, first))),
        "last_to_front": lambda: f"{last} {start}",
        "drop_first": lambda: rest,
        "keep_ends": lambda: f"{first} {last}",
        "repeat_first": lambda: f"{text} {first}",
        "first_word": lambda: first,
        "last_word": lambda: last,
        "commas": lambda: text.replace(" ", ", "),
        "and": lambda: text.replace(" ", " and "),
        "numbers": lambda: " ".join(f"{i} {word}" for i, word in enumerate(text.split(), start=1)),
        "double": lambda: " ".join(f"{word} {word}" for word in text.split()),
    }[step]()


def _fill(frame: str, first: str, second: str) -> str:
    upper = {"<A>": first, "<B>": second}
    for mark, wording in upper.items():
        frame = frame.replace(mark, wording[0].upper() + wording[1:])
    return frame.replace("<a>", first).replace("<b>", second)


def _prompts(first: Step, second: Step) -> tuple[Template, ...]:
    """Ten prompts; the wordings of the two steps go round at different paces."""
    return ask(
        *(
            _fill(frame, first.wordings[i % 4], second.wordings[(i + i // 4) % 4])
            for i, frame in enumerate(FRAMES)
        )
    )


def _new_prompts(first: Step, second: Step) -> tuple[Template, ...]:
    return ask(*(_fill(frame, first.new_wording, second.new_wording) for frame in NEW_FRAMES))


def _task(first: str, second: str) -> MiniTask:
    steps = STEPS[first], STEPS[second]

    def make(dice: Dice, label: str) -> Fields:
        del label
        words = line(dice)
        return {"text": " ".join(words), "answer": " ".join(steps[1].do(steps[0].do(words)))}

    def rule(fields: Mapping[str, str]) -> str:
        text = fields["text"]
        return _rule_of_step(second, _rule_of_step(first, text)) if " " in text else ""

    halves = [(text, _rule_of_step(first, text)) for text in EXAMPLE_LINES]
    text, half = halves[0]
    return MiniTask(
        name=f"{first}_then_{second}",
        cluster=CLUSTER,
        kind="generation",
        skills=tuple(dict.fromkeys(steps[0].skills + steps[1].skills)),
        fields=LINE_FIELDS,
        layout=LINE_LAYOUT,
        make=make,
        rule=rule,
        definitions=tuple(
            _fill(frame, steps[0].wordings[i], steps[1].wordings[i])
            for i, frame in enumerate(DEFINITIONS)
        ),
        avoid="Do not stop after the first step, and do not change the order of the steps.",
        emphasis="The second step is done to the outcome of the first, not to the given line.",
        templates=_prompts(*steps),
        new_wordings=_new_prompts(*steps) if (first, second) in TRAINED else (),
        examples=tuple(
            Example(
                {"text": text},
                _rule_of_step(second, half),
                f"The first step gives: {half}. The second step is done to that.",
            )
            for text, half in halves
        ),
        negatives=(Example({"text": text}, half, "This is the outcome of the first step only."),),
    )


TASKS = tuple(_task(*pair) for pair in (*TRAINED, *HELDOUT_PAIRS))
HELDOUT = tuple(f"{first}_then_{second}" for first, second in HELDOUT_PAIRS)
