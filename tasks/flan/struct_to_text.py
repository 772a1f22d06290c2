"""Structure to text: sentences that say what triples, attributes or key words say."""

import re
from collections.abc import Sequence

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits, tidy

CLUSTER = "struct_to_text"

_METRICS = (metrics.rouge_l_metric, metrics.bleu_metric)
# GEM's English sets have a row for each text of an input in training, and TFDS shuffles them.
_SHARED_INPUTS = (
    "The validation slice is cut from the training rows, which have one row for each text of an "
    "input, so its inputs can recur in training with other texts."
)


def _with_texts(row: Row, fields: Fields) -> Fields | None:
    """Adds the answer and all references; None where there is no text or a field is empty."""
    texts = [tidy(text) for text in (row["target"], *row["references"])]
    references = list(dict.fromkeys(text for text in texts if text))
    if not references or not all(fields.values()):
        return None
    return {**fields, "answer": references[0], "references": references}


_WEB_NLG_TEMPLATES = (
    Template(
        "Write a short text that states all of the following facts. Each line has a subject, a "
        "relation and an object.\n\n{lines}\n\nText:",
        "{answer}",
    ),
    Template(
        "{triples}\n\nThe triples above are separated by semicolons. Put them into fluent English.",
        "{answer}",
    ),
    Template(
        "Entries of a knowledge base:\n{lines}\n\nTurn these entries into natural sentences. "
        "Leave nothing out and add nothing.",
        "{answer}",
    ),
    Template(
        "You edit an online encyclopedia, whose database holds this:\n\n{lines}\n\nDraft the "
        "passage of an article that passes this on to readers.",
        "{answer}",
    ),
    Template("Verbalise these triples: {triples}", "{answer}"),
    Template(
        "How would you explain the following to somebody who has never seen a database?\n{triples}",
        "{answer}",
    ),
    Template(
        "Data to text, please. Full sentences, no lists.\nInput: {triples}\nOutput:",
        "{answer}",
    ),
    Template(
        "Below is a small piece of a graph: every line is an edge that leads from the first item "
        "to the last.\n\n{lines}\n\nDescribe this piece of the graph in words.",
        "{answer}",
    ),
    Template(
        '{answer}\n\nList the facts that this text states, each as "subject, relation, object", '
        "with semicolons between them.",
        "{triples}",
        reversed=True,
    ),
    Template(
        "Read the text and fill the database: one fact a line, in the form subject | relation | "
        "object.\n\nText: {answer}",
        "{lines}",
        reversed=True,
    ),
)


def _read_web_nlg(row: Row) -> Fields | None:
    triples = [
        [part for part in map(tidy, triple.replace("_", " ").split(" | ")) if part]
        for triple in row["input"]
    ]
    triples = [parts for parts in triples if parts]
    fields = {
        "triples": "; ".join(", ".join(parts) for parts in triples),
        "lines": "\n".join(" | ".join(parts) for parts in triples),
    }
    return _with_texts(row, fields)


_COMMON_GEN_TEMPLATES = (
    Template(
        "Write one sentence about an everyday scene that uses all of these words: {concepts}.",
        "{answer}",
    ),
    Template(
        "{lines}\n\nMake a sentence out of the words above. You may inflect them and put them in "
        "any order.",
        "{answer}",
    ),
    Template("Can you use the words {concepts} together in a single sentence?", "{answer}"),
    Template(
        "Compose a sentence that makes sense from the keywords.\nKeywords: {concepts}\nSentence:",
        "{answer}",
    ),
    Template(
        "A language teacher writes these words on the board:\n{lines}\n\nEvery pupil has to make "
        "up a sentence in which all of them occur. Give the sentence of a good pupil.",
        "{answer}",
    ),
    Template(
        "Imagine a photograph that is tagged with: {concepts}. Caption it in one sentence, and "
        "work every tag into the caption.",
        "{answer}",
    ),
    Template(
        "What might be going on where these come together: {concepts}? Reply with one plausible "
        "sentence that has all of the words in it.",
        "{answer}",
    ),
    Template(
        "Required words (any form, any order):\n{lines}\n\nYour task is to write a short, natural "
        "sentence with all required words.",
        "{answer}",
    ),
    Template(
        "Sentence: {answer}\n\nWhich basic concepts is the sentence built from? Give its key words "
        "in their dictionary form, separated by commas.",
        "{concepts}",
        reversed=True,
    ),
    Template(
        "I am making a word game. Players see a few words and have to come up with a sentence like "
        "this one:\n{answer}\n\nWhich words should they see? Put each on a line of its own.",
        "{lines}",
        reversed=True,
    ),
)


def _read_common_gen(row: Row) -> Fields | None:
    concepts = [tidy(concept) for concept in row["concepts"] if concept.strip()]
    return _with_texts(row, {"concepts": ", ".join(concepts), "lines": "\n".join(concepts)})


_E2E_TEMPLATES = (
    Template(
        "Describe the following place to eat or drink in a sentence or two. Mention every "
        "detail.\n\n{lines}",
        "{answer}",
    ),
    Template(
        "Data about a venue: {attributes}\n\nWrite this up as a short description in natural "
        "English.",
        "{answer}",
    ),
    Template(
        "{attributes}\n\nTell visitors to the town what these attributes say about the place.",
        "{answer}",
    ),
    Template(
        "You are the author of a guidebook, and all you know about a venue is this:\n{lines}\n\n"
        "Write its entry. Two or three sentences are plenty.",
        "{answer}",
    ),
    Template("Say this in words: {attributes}", "{answer}"),
    Template(
        "A customer on the phone wants to know about a venue. This is what your screen shows:\n\n"
        "{lines}\n\nWhat do you tell the customer?",
        "{answer}",
    ),
    Template(
        "Realise the meaning representation as an English utterance.\nMeaning representation: "
        "{attributes}\nUtterance:",
        "{answer}",
    ),
    Template(
        "Please write a brief and truthful text on the venue with these properties "
        "({attributes}), one that could stand on its website.",
        "{answer}",
    ),
    Template(
        "What can be said about a venue for which the following holds? Use full sentences, not "
        "keywords.\n{lines}\n\nDescription:",
        "{answer}",
    ),
    Template(
        "{answer}\n\nWhat does this text say about the venue? Write it as attribute = value, "
        "separated by commas. Possible attributes are name, eatType, food, priceRange, customer "
        "rating, area, familyFriendly and near.",
        "{attributes}",
        reversed=True,
    ),
)
_SLOT = re.compile(r"([^,\[\]]+)\[([^\[\]]*)\]")  # name[value]


def _read_e2e(row: Row) -> Fields | None:
    slots = _SLOT.findall(row["meaning_representation"])
    slots = [(tidy(name), tidy(value)) for name, value in slots]
    slots = [(name, value) for name, value in slots if name and value]
    labels = [re.sub(r"(?<=[a-z])[A-Z]", lambda m: f" {m[0].lower()}", name) for name, _ in slots]
    lines = [f"{label}: {value}" for label, (_, value) in zip(labels, slots, strict=True)]
    fields = {
        "attributes": ", ".join(f"{name} = {value}" for name, value in slots),
        "lines": "\n".join(lines),
    }
    return _with_texts(row, fields)


_DART_TEMPLATES = (
    Template(
        "Here are some facts that were taken from a table:\n{lines}\n\nWrite a text that expresses "
        "all of them.",
        "{answer}",
    ),
    Template(
        "Facts: {facts}\n\nCombine the facts into grammatical English.",
        "{answer}",
    ),
    Template(
        "Most items below name a thing, a property of it, and the value of that property. Rewrite "
        "the items, which are separated by semicolons, as running text.\n\n{facts}",
        "{answer}",
    ),
    Template(
        "Somebody read a spreadsheet aloud, and this was noted down:\n{lines}\n\nWhat does the "
        "spreadsheet say, in proper sentences?",
        "{answer}",
    ),
    Template("Rewrite as prose: {facts}", "{answer}"),
    Template(
        "You write short news items from data feeds. Make an item of today's feed.\n\n{lines}\n\n"
        "Item:",
        "{answer}",
    ),
    Template("{facts}\n\nState the same in a complete sentence or two.", "{answer}"),
    Template(
        "This record is hard to read for people who do not know the notation. What would you write "
        "next to it so that they understand it?\n\nRecord: {facts}",
        "{answer}",
    ),
    Template(
        "Summarise the record in plain English without dropping a value.\n{lines}\nSummary:",
        "{answer}",
    ),
    Template(
        "Text: {answer}\n\nBreak the text down into simple facts, each of them a thing, a property "
        "and a value. Separate the facts by semicolons.",
        "{facts}",
        reversed=True,
    ),
)
_MARKER = re.compile(r"\[[A-Z]+\]")  # [TABLECONTEXT], [TITLE]


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _read_dart(row: Row) -> Fields | None:
    facts = [tidy(_MARKER.sub(" ", fact)) for fact in row["tripleset"]]
    facts = list(dict.fromkeys(fact for fact in facts if fact))
    return _with_texts(row, {"facts": "; ".join(facts), "lines": _bullets(facts)})


DATASETS = (
    Dataset(
        name="web_nlg_en",
        title="WebNLG (English)",
        cluster=CLUSTER,
        tfds="gem/web_nlg_en:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_web_nlg,
        fields=("triples", "lines"),
        plain="{triples}",
        instruction="Write a text that states the facts of a set of triples.",
        templates=_WEB_NLG_TEMPLATES,
        metrics=_METRICS,
        notes="Names of relations (cityServed) and quotation marks stay as they are. "
        + _SHARED_INPUTS,
    ),
    Dataset(
        name="common_gen",
        title="CommonGen",
        cluster=CLUSTER,
        tfds="gem/common_gen:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_common_gen,
        fields=("concepts", "lines"),
        plain="{concepts}",
        instruction="Write a sentence about an everyday scene that uses all the given concepts.",
        templates=_COMMON_GEN_TEMPLATES,
        metrics=_METRICS,
        licence="MIT",
        notes="The original turned four templates around; here it is two. " + _SHARED_INPUTS,
    ),
    Dataset(
        name="e2e_nlg",
        title="E2E NLG",
        cluster=CLUSTER,
        tfds="gem/e2e_nlg:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_e2e,
        fields=("attributes", "lines"),
        plain="{attributes}",
        instruction="Describe a place to eat or drink that has the given attributes.",
        templates=_E2E_TEMPLATES,
        metrics=_METRICS,
        licence="CC-BY-SA-4.0",
        notes="TFDS has a row for each text in every split, so an example has one reference "
        "though others describe the same place. " + _SHARED_INPUTS,
    ),
    Dataset(
        name="dart",
        title="DART",
        cluster=CLUSTER,
        tfds="gem/dart:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_dart,
        fields=("facts", "lines"),
        plain="{facts}",
        instruction="Write a text that states all given facts.",
        templates=_DART_TEMPLATES,
        metrics=_METRICS,
        sources=("gem/dart", "gem/web_nlg_en", "gem/e2e_nlg"),
        notes="The markers [TABLECONTEXT] and [TITLE] are removed in both forms of the facts "
        "(originally in one), and what is then equal is said once. TFDS joins subject, relation "
        "and object by spaces, so underscores stay: they show what is a relation. DART contains "
        "rows of WebNLG and E2E. " + _SHARED_INPUTS,
    ),
)
