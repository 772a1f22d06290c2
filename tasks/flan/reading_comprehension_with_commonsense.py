"""Reading comprehension whose answers take common sense beside the passage."""

import re

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits, texts

CLUSTER = "reading_comprehension_with_commonsense"

_RECORD_TEMPLATES = (
    Template(
        "{passage}\n\nA name is missing from this sentence about the news story above:\n{query}\n\n"
        "Which of these is the sentence from the gap to its end?\n{options_}",
        "{answer}",
    ),
    Template(
        "Article:\n{passage}\n\nSentence: {start}\n\nWhich words have to stand in place of the "
        "dots if the sentence is to agree with the article?\n{options_}",
        "{answer}",
    ),
    Template(
        "Fill the blank with somebody or something that the report names, and give the sentence "
        "from there on.\n\nReport: {passage}\n\nSentence: {query}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "A drop of coffee has made a name in this line of a newspaper illegible:\n{query}\n\n"
        "This much of the article can still be read:\n{passage}\n\nWhat did the line say from the "
        "stain onwards?\n{options_}",
        "{answer}",
    ),
    Template("{passage}\n\nComplete a sentence about this: {start}\n{options_}", "{answer}"),
    Template(
        "Reading test. Study the passage, then complete the sentence in the one way that is "
        "consistent with the passage and sensible.\n\nPassage:\n{passage}\n\nIncomplete sentence: "
        "{start}\n\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "You are an editor. A reporter wants to add a line to the piece below, but one of the "
        "names got lost on the way.\n\nLine: {query}\n\nPiece: {passage}\n\nWhich wording of the "
        "line's end, beginning with the lost name, is the correct one?\n{options_}",
        "{answer}",
    ),
    Template(
        "Going by common sense and by the story, what belongs where the blank is? Answer with the "
        "blank filled in and the words that come after it.\n\n{query}\n\n{passage}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "{passage}\n\nWrite one further sentence that this article might contain.",
        "{sentence}",
        reversed=True,
    ),
    Template(
        "You set reading tests. Write a sentence about the article below in which one name is "
        "replaced by a blank (_____), for readers to fill in.\n\n{passage}",
        "{query}",
        reversed=True,
    ),
)
_PLACEHOLDER = "@placeholder"
_HIGHLIGHT = re.compile(r"\s*@highlight\s*")


def _read_record(row: Row) -> Fields | None:
    # The article, and the editor's highlights, which become a list below it.
    article, *highlights = _HIGHLIGHT.split(row["passage"])
    highlights = [f"* {highlight.strip()}" for highlight in highlights if highlight.strip()]
    passage = "\n\n".join(part for part in (article.strip(), "\n".join(highlights)) if part)
    query = " ".join(row["query"].split())
    if not passage or query.count(_PLACEHOLDER) != 1:
        return None
    before, rest = query.split(_PLACEHOLDER)
    entities = [" ".join(entity.split()) for entity in row["entities"]]
    right = list(dict.fromkeys(" ".join(answer.split()) for answer in row["answers"]))
    right = [answer for answer in right if answer in entities]
    if not right or len(set(entities)) < max(2, len(entities)) or "" in entities:
        return None
    return {
        "passage": passage,
        "query": f"{before}_____{rest}",
        "start": f"{before}...",
        "sentence": f"{before}{right[0]}{rest}",
        "options": [entity + rest for entity in entities],
        "answer": right[0] + rest,
        "references": [answer + rest for answer in right],
    }


_COSMOS_TEMPLATES = (
    Template(
        "Read the story and answer the question about it.\n\nStory: {context}\n\nQuestion: "
        "{question}\n\n{options_}",
        "{answer}",
    ),
    Template("{context}\n\nReading between the lines: {question}\n{options_}", "{answer}"),
    Template(
        "{question} Judge by the lines below and by what you know of everyday life.\n\n"
        "{context}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'Somebody wrote this in a blog:\n"{context}"\n\nA reader of the blog wonders: {question}\n'
        "What is the most likely answer?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Comprehension exercise\n\nText: {context}\n\nThe text does not answer the following "
        "question outright, so you will have to infer the answer: {question}\n{options_}\n"
        "Your answer:",
        "{answer}",
    ),
    Template("Q: {question}\nBased on: {context}\nPick the best answer.\n{options_}", "{answer}"),
    Template(
        'A friend tells you: "{context}"\n\nIf I then asked you "{question}", what would you say?\n'
        "{options_}",
        "{answer}",
    ),
    Template(
        "Use common sense. In the situation that is described first, which of the statements at "
        "the end is the answer to the question?\n\nSituation: {context}\n\nQuestion: {question}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "{context}\n\nAsk a question about this that can only be answered by reading between the "
        "lines.",
        "{question}",
        reversed=True,
    ),
    Template(
        "You are writing a multiple-choice test. Text and question are ready, but an answer that "
        "sounds plausible and is wrong is still needed. Write it.\n\nText: {context}\nQuestion: "
        "{question}",
        "{wrong}",
        reversed=True,
    ),
)


def _read_cosmos(row: Row) -> Fields | None:
    fields = texts(row, context="context", question="question")
    options = list(texts(row, **{f"{i}": f"answer{i}" for i in range(4)}).values())
    label = int(row["label"])
    if label < 0 or len(set(options)) < 4 or not all((*fields.values(), *options)):
        return None
    wrong = [option for option in options if option != options[label]]
    wrong = [option for option in wrong if "none of the above" not in option.lower()]
    if not wrong:
        return None
    return {**fields, "options": options, "answer": options[label], "wrong": wrong[0]}


DATASETS = (
    Dataset(
        name="record",
        title="ReCoRD",
        cluster=CLUSTER,
        tfds="super_glue/record:1.0.2",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_record,
        fields=("passage", "query", "start", "sentence"),
        kept=("query", "start"),
        plain="{passage}\n\n{query}",
        instruction="Choose the end of a sentence about a news story, beginning with a name.",
        templates=_RECORD_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        sources=("super_glue/record", "cnn_dailymail"),
        notes="An option is a name and the rest of the sentence, and every right name counts. The "
        "highlights keep their text, without the marker @highlight, as a list below the article: "
        "the names may occur only there. The articles are of CNN and the Daily Mail. SuperGLUE's "
        "F1 over names is not computed, since all options share the rest of the sentence.",
    ),
    Dataset(
        name="cosmos_qa",
        title="Cosmos QA",
        cluster=CLUSTER,
        tfds="cosmos_qa:1.0.0",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_cosmos,
        fields=("context", "question", "wrong"),
        kept=("question",),
        plain="{context}\n{question}",
        instruction="Answer a question about a story by reading between the lines.",
        templates=_COSMOS_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-4.0",
        notes='Rows without a label or with equal answers are dropped. "None of the above '
        'choices" can be an option anywhere in the list, as in the data; a wrong answer that a '
        "reversed template asks for is never that one.",
    ),
)
