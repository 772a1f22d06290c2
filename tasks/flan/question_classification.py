"""Question classification: what sort of answer does a question ask for?"""

from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, classes, splits

CLUSTER = "question_classification"

# TFDS's order of "label-coarse": DESC, ENTY, ABBR, HUM, NUM, LOC; the taxonomy's own words.
_TREC_OPTIONS = (
    "description",
    "entity",
    "abbreviation",
    "human",
    "numeric value",
    "location",
)
# TFDS's order of "label-fine".
_TREC_TOPICS = {
    "manner": "how something is done",
    "cremat": "an invention, book or other creative work",
    "animal": "an animal",
    "exp": "what a short form stands for",
    "ind": "an individual",
    "gr": "a group or an organisation",
    "title": "the title of a person",
    "def": "a definition",
    "date": "a date",
    "reason": "a reason",
    "event": "an event",
    "state": "a state",
    "desc": "a description",
    "count": "how many there are",
    "other": "none of the usual kinds",
    "letter": "a letter of the alphabet",
    "religion": "a religion",
    "food": "something to eat or drink",
    "country": "a country",
    "color": "a colour",
    "termeq": "another term for the same thing",
    "city": "a city",
    "body": "a part of the body",
    "dismed": "a disease or a medicine",
    "mount": "a mountain",
    "money": "a sum of money",
    "product": "a product",
    "period": "a length of time",
    "substance": "a substance",
    "sport": "a sport",
    "plant": "a plant",
    "techmeth": "a technique or method",
    "volsize": "a size, area or volume",
    "instru": "a musical instrument",
    "abb": "a short form",
    "speed": "a speed",
    "word": "a word with a certain property",
    "lang": "a language",
    "perc": "a percentage or fraction",
    "code": "a postcode, phone number or other code",
    "dist": "a distance or length",
    "temp": "a temperature",
    "symbol": "a symbol or sign",
    "ord": "a rank",
    "veh": "a vehicle",
    "weight": "a weight",
    "currency": "a currency",
}
_TREC_TEMPLATES = (
    Template(
        "What kind of thing does this question ask for?\n\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Question: {question}\n\n{options_}\n\nType of the expected answer:",
        "{answer}",
    ),
    Template(
        "Before a search engine can find an answer, it has to know what sort of answer to look "
        "for. Which of these sorts suits the query at the end?\n\n{options_}\n\nQuery: {question}",
        "{answer}",
    ),
    Template(
        "The cards of a quiz are to be sorted into six boxes by the kind of answer they call for."
        "\n\n{options_}\n\nThis card says: {question}\nWhich box is it for?",
        "{answer}",
    ),
    Template(
        "{question}\n\nNo need to answer that! Just tell me what category the answer would belong "
        "to.\n{options_}",
        "{answer}",
    ),
    Template(
        "You work at the enquiry desk of a library. Somebody comes in and asks:\n{question}\n"
        "Requests are filed by the kind of answer they need. Under which heading does this "
        "one go?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Suppose you knew the answer to the question below. Would it be a place, a person, a "
        "number, or something else? Choose the label that fits best.\n\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Assign a question type. Questions about short forms, as well as about what they stand "
        'for, count as "abbreviation".\n\nQ: {question}\n{options_}\nQuestion type:',
        "{answer}",
    ),
    Template("Classify by answer type: {question}\n{options_}", "{answer}"),
    Template(
        "I'm preparing a quiz and still need a question that fits this description.\n"
        "Type of answer: {answer}\nMore exactly: {topic}\n\nPlease write one.",
        "{question}",
        reversed=True,
    ),
)

_trec_texts = classes(_TREC_OPTIONS, "label-coarse", question="text")
_TOPIC_NAMES = tuple(_TREC_TOPICS.values())


def _read_trec(row: Row) -> dict[str, Any] | None:
    fields = _trec_texts(row)
    if fields is None or not fields["question"] or row["label-fine"] < 0:
        return None
    # TFDS puts a blank in place of a byte that it cannot read.
    question = " ".join(fields["question"].split())
    return {**fields, "question": question, "topic": _TOPIC_NAMES[row["label-fine"]]}


DATASETS = (
    Dataset(
        name="trec",
        title="TREC",
        cluster=CLUSTER,
        tfds="trec:1.0.0",
        splits=splits("train[:-200]", "train[-200:]", "test"),
        read=_read_trec,
        fields=("question", "topic"),
        plain="{question}",
        instruction="Decide what type of answer a question asks for.",
        templates=_TREC_TEMPLATES,
        options=_TREC_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="unknown",
        notes="The labels are the six coarse ones. The fine ones serve a reversed template alone. "
        "Questions keep the blanks between their tokens.",
    ),
)
