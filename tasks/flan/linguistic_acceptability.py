"""Linguistic acceptability: is a sentence one that native speakers accept?"""

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, classes, splits

CLUSTER = "linguistic_acceptability"

_COLA_OPTIONS = ("unacceptable", "acceptable")  # TFDS: 0 is unacceptable
_COLA_TEMPLATES = (
    Template(
        "Judging by its grammar, is the following sentence acceptable English?\n\n{sentence}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Sentence: {sentence}\n\n{options_}\n\nLinguistic acceptability:",
        "{answer}",
    ),
    Template(
        'A linguist wants to know how this strikes you as a speaker of English: "{sentence}"\n'
        "What do you tell her?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "{sentence}\n\nCould somebody who speaks English fluently say that without making a "
        "mistake? Rate the sentence with one of these words.\n{options_}",
        "{answer}",
    ),
    Template(
        "Can you have a quick look at a line of mine? I only need to know whether the grammar is "
        "OK.\n\n> {sentence}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Grammarians put an asterisk in front of examples that native speakers reject. Decide "
        "whether the example below is unacceptable, and so deserves an asterisk, or acceptable."
        "\n\nExample: {sentence}\n{options_}",
        "{answer}",
    ),
    Template("Acceptable or not?\n{options_}\n\n{sentence}", "{answer}"),
    Template(
        "You teach English, and one of your students has written:\n{sentence}\nWhat is your "
        "verdict? It does not matter whether the sentence is true or well spelt, only whether it "
        "is formed as English sentences are.\n\n{options_}",
        "{answer}",
    ),
    Template(
        'Would most native speakers accept "{sentence}" as a well-formed sentence?\n{options_}',
        "{answer}",
    ),
    Template(
        "Works on English syntax are full of invented examples. Invent one that readers would "
        "find {answer}.",
        "{sentence}",
        reversed=True,
    ),
)

_cola_texts = classes(_COLA_OPTIONS, sentence="sentence")


def _read_cola(row: Row) -> Fields | None:
    fields = _cola_texts(row)
    return fields if fields and fields["sentence"] else None


DATASETS = (
    Dataset(
        name="cola",
        title="CoLA",
        cluster=CLUSTER,
        tfds="glue/cola:2.0.0",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_cola,
        fields=("sentence",),
        plain="{sentence}",
        instruction="Decide whether a sentence is acceptable English.",
        templates=_COLA_TEMPLATES,
        options=_COLA_OPTIONS,
        metrics=(metrics.matthews_metric("acceptable"), metrics.exact_match_metric),
        licence="unknown",
        notes="FLAN did not fix the version of the data; ours is 2.0.0.",
    ),
)
