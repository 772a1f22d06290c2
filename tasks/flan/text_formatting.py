"""Text formatting: restore capital letters, punctuation or spaces that a text has lost."""

import unicodedata
from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, splits

CLUSTER = "text_formatting"

_TFDS = "para_crawl/enda:1.2.0"
_TEST = "train[-3000:]"
# Punctuation in Unicode's terms, but said aloud or part of a name or code.
_SIGNS = frozenset("#%&*/@\\_§‰")

_TRUE_CASE_TEMPLATES = (
    Template(
        "The text below has lost its capital letters. Put them back.\n\n{lower}",
        "{answer}",
    ),
    Template("Lower case: {lower}\nWith correct capitals:", "{answer}"),
    Template(
        "Please fix the capitalization of the following, and nothing else: {lower}",
        "{answer}",
    ),
    Template(
        "My Shift key is broken, so all I could type was this:\n{lower}\n\nCan you send it back to "
        "me with capital letters where they belong?",
        "{answer}",
    ),
    Template(
        "{lower}\n\nHow would the line above appear in print, with capitals in names, in "
        "abbreviations and at the start of sentences?",
        "{answer}",
    ),
    Template(
        "You are a copy editor. A line for tomorrow's issue has come in without any capitals, and "
        "you restore the casing.\n\nLine as received: {lower}\nLine as printed:",
        "{answer}",
    ),
    Template('True-case this: "{lower}"', "{answer}"),
    Template(
        "A program for cleaning web pages has turned every letter of a text into lower case. Undo "
        "what it did. Words, spelling, spaces and punctuation must stay exactly as they are; only "
        "the case of letters may change.\n\nText: {lower}",
        "{answer}",
    ),
    Template(
        "hi, could you check something i wrote? i never know which letters should be big ones.\n\n"
        "{lower}\n\njust give me the corrected version, thanks!",
        "{answer}",
    ),
    Template(
        "Copy the text with every letter in lower case.\n\n{answer}",
        "{lower}",
        reversed=True,
    ),
)

_FIX_PUNCT_TEMPLATES = (
    Template(
        "The punctuation is missing from this text. Add it.\n\n{bare}",
        "{answer}",
    ),
    Template("Punctuate: {bare}", "{answer}"),
    Template("Unpunctuated text: {bare}\n\nPunctuated text:", "{answer}"),
    Template(
        'I got a message with hardly a comma or full stop in it: "{bare}" Could you write it '
        "out again with all the punctuation that it needs?",
        "{answer}",
    ),
    Template(
        "{bare}\n\nCopy what is written above, with correct punctuation. Do not add, drop or "
        "change any word.",
        "{answer}",
    ),
    Template(
        "A speech recognizer writes down words and leaves out the marks between and inside them. "
        "This is what it made of one recording:\n\n{bare}\n\nTurn its output into proper written "
        "English by supplying full stops, commas, apostrophes, hyphens and the like.",
        "{answer}",
    ),
    Template(
        "Exercise 4. Rewrite the passage, putting in all punctuation marks.\n\nPassage: {bare}\n"
        "Model answer:",
        "{answer}",
    ),
    Template(
        "Where do the commas, periods, quotation marks and so on go in the following? Reply with "
        "the whole text.\n{bare}",
        "{answer}",
    ),
    Template(
        "Take all punctuation out of the text below, but spare marks between digits, as in 3.5, "
        "and signs such as % and &.\n\n{answer}",
        "{bare}",
        reversed=True,
    ),
    Template(
        "Text that has lost its punctuation: {bare}\n\nWhich marks have been lost? List them in "
        "the order in which they stood in the text, separated by spaces.",
        "{marks}",
        reversed=True,
    ),
)

_WORD_SEGMENT_TEMPLATES = (
    Template(
        "All spaces have been deleted from the text below. Put them back.\n\n{joined}",
        "{answer}",
    ),
    Template("Split into words: {joined}", "{answer}"),
    Template(
        "{joined}\n\nThat is English whose word boundaries are gone. Make it legible again.",
        "{answer}",
    ),
    Template("Without spaces: {joined}\nWith spaces:", "{answer}"),
    Template(
        "The space bar of my keyboard is stuck! I tried to write to you and this came out: "
        '"{joined}" What would it have looked like with a working keyboard?',
        "{answer}",
    ),
    Template(
        "Segment the string into words. Keep every letter, digit and punctuation mark in its "
        "place; you may insert spaces and do nothing else.\n\nString: {joined}\n\n"
        "Segmented string:",
        "{answer}",
    ),
    Template(
        "Text that is copied out of a PDF sometimes arrives with its words run together, as "
        "here:\n{joined}\nRepair it.",
        "{answer}",
    ),
    Template(
        "A puzzle for you. The following line says something in English, if only you find out "
        "where one word ends and the next begins. What does it say?\n\n{joined}",
        "{answer}",
    ),
    Template("Remove every space from this line: {answer}", "{joined}", reversed=True),
    Template(
        "How many spaces does one need to insert into this text to part its words? Give the "
        "number.\n\n{joined}",
        "{count}",
        reversed=True,
    ),
)


def _english(row: Row) -> str:
    """Returns the English side of a row; any white space is a single blank."""
    return " ".join(row["en"].split())


def _read_true_case(row: Row) -> dict[str, Any] | None:
    answer = _english(row)
    lower = answer.lower()
    return {"lower": lower, "answer": answer} if lower != answer else None


def _is_lost(text: str, index: int) -> bool:
    """Whether a character is punctuation that can be restored from what is around it."""
    if not unicodedata.category(text[index]).startswith("P") or text[index] in _SIGNS:
        return False
    # Nobody can tell 3.5 from 35.
    return not (text[:index][-1:].isdigit() and text[index + 1 :][:1].isdigit())


def _read_fix_punct(row: Row) -> dict[str, Any] | None:
    answer = _english(row)
    lost = [_is_lost(answer, index) for index in range(len(answer))]
    kept = [character for character, gone in zip(answer, lost, strict=True) if not gone]
    bare = " ".join("".join(kept).split())
    if bare in ("", answer):
        return None
    marks = [character for character, gone in zip(answer, lost, strict=True) if gone]
    return {"bare": bare, "marks": " ".join(marks), "answer": answer}


def _read_word_segment(row: Row) -> dict[str, Any] | None:
    answer = _english(row)
    joined = answer.replace(" ", "")
    if joined == answer:
        return None
    return {"joined": joined, "count": str(answer.count(" ")), "answer": answer}


_NOTES = (
    "The English side of the data, white space folded. The test rows of true_case, fix_punct and "
    "word_segment are the same, as in FLAN; exact match ignores what the tasks are about, so a "
    "verbatim match is reported beside the edit distance."
)
_METRICS = (metrics.edit_distance_metric, metrics.verbatim_metric)

DATASETS = (
    Dataset(
        name="true_case",
        title="True Case",
        cluster=CLUSTER,
        tfds=_TFDS,
        splits=splits("train[:30000]", "train[30000:30200]", _TEST),
        read=_read_true_case,
        fields=("lower",),
        plain="{lower}",
        instruction="Restore the capital letters of a text in lower case.",
        templates=_TRUE_CASE_TEMPLATES,
        metrics=_METRICS,
        licence="CC0-1.0",
        notes=f"{_NOTES} Rows without a capital letter are dropped.",
    ),
    Dataset(
        name="fix_punct",
        title="Fix Punctuation",
        cluster=CLUSTER,
        tfds=_TFDS,
        splits=splits("train[30200:60200]", "train[60200:60400]", _TEST),
        read=_read_fix_punct,
        fields=("bare", "marks"),
        plain="{bare}",
        instruction="Restore the punctuation of a text.",
        templates=_FIX_PUNCT_TEMPLATES,
        metrics=_METRICS,
        licence="CC0-1.0",
        notes=f"{_NOTES} Marks between two digits, and signs such as % and &, are left in the "
        "input, for nothing tells where they were. Rows without other punctuation, or with "
        "nothing else, are dropped.",
    ),
    Dataset(
        name="word_segment",
        title="Word Segmentation",
        cluster=CLUSTER,
        tfds=_TFDS,
        splits=splits("train[60400:90400]", "train[90400:90600]", _TEST),
        read=_read_word_segment,
        fields=("joined", "count"),
        plain="{joined}",
        instruction="Restore the spaces between the words of a text.",
        templates=_WORD_SEGMENT_TEMPLATES,
        metrics=_METRICS,
        licence="CC0-1.0",
        notes=f"{_NOTES} Rows of one word are dropped.",
    ),
)
