"""Word sense: does a word mean the same in two sentences?"""

from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, classes, splits

CLUSTER = "word_sense"

_WIC_OPTIONS = ("different meanings", "the same meaning")  # TFDS: 0 is False, 1 is True
_WIC_TEMPLATES = (
    Template(
        'Do these two sentences use the word "{word}" with the same meaning, or with different '
        "meanings?\n\n1. {sentence1}\n2. {sentence2}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Word: {word}\nFirst sentence: {sentence1}\nSecond sentence: {sentence2}\n\n"
        "In these two sentences, the word has\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "{sentence1}\n{sentence2}\n\n"
        'Both lines contain "{word}", perhaps in another form. How do the two uses compare in '
        "meaning?\n{options_}",
        "{answer}",
    ),
    Template(
        "You are compiling a dictionary and have collected two quotations for the entry "
        '"{word}".\n\n- {sentence1}\n- {sentence2}\n\nQuotations that show one sense will be '
        "printed together. What do these two show?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "I'm learning English, and I've come across \"{word}\" twice today. First I read this:\n"
        "{sentence1}\nAnd then this:\n{sentence2}\n"
        "Did the word have the same meaning both times?\n{options_}",
        "{answer}",
    ),
    Template(
        'Compare what "{word}" means in A with what it means in B.\n\n{options_}\n\n'
        "A: {sentence1}\nB: {sentence2}",
        "{answer}",
    ),
    Template(
        'In each sentence below, the word "{word}" is set between asterisks. Judge from the '
        "context whether it is used in one sense or in two.\n\n{marked1}\n\n{marked2}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        '"{word}": same meaning or not?\n{sentence1} / {sentence2}\n{options_}',
        "{answer}",
    ),
    Template(
        "Vocabulary test, question 7. Read sentence (a) and sentence (b). Then choose the words "
        "that complete statement (c).\n\n(a) {sentence1}\n(b) {sentence2}\n"
        '(c) In (a) and (b), "{word}" has ...\n\n{options_}',
        "{answer}",
    ),
    Template(
        'Here is a sentence with the word "{word}".\n\n{sentence1}\n\nWrite another sentence with '
        "that word. Taken together, the two should show it with {answer}.",
        "{sentence2}",
        reversed=True,
    ),
)


def _marked(row: Row, number: str) -> str:
    """Returns a sentence with asterisks around the word, or as it is if the position is wrong."""
    sentence, start, end = row[f"sentence{number}"], row[f"start{number}"], row[f"end{number}"]
    if not 0 <= start < end <= len(sentence):
        return sentence.strip()
    return f"{sentence[:start]}*{sentence[start:end]}*{sentence[end:]}".strip()


_wic_texts = classes(_WIC_OPTIONS, word="word", sentence1="sentence1", sentence2="sentence2")


def _read_wic(row: Row) -> dict[str, Any] | None:
    fields = _wic_texts(row)
    if fields is None or not all(fields.values()):
        return None
    return {**fields, "marked1": _marked(row, "1"), "marked2": _marked(row, "2")}


DATASETS = (
    Dataset(
        name="wic",
        title="WiC",
        cluster=CLUSTER,
        tfds="super_glue/wic:1.0.2",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_wic,
        fields=("word", "sentence1", "sentence2", "marked1", "marked2"),
        plain="{word}\n{sentence1}\n{sentence2}",
        instruction="Decide whether a word has the same meaning in two sentences.",
        templates=_WIC_TEMPLATES,
        options=_WIC_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-NC-4.0",
        notes="One template marks the word, which may occur more than once, at the positions that "
        "the rows give.",
    ),
)
