"""Reading comprehension: questions about a passage that is shown."""

import re
from collections.abc import Iterable

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits, texts

CLUSTER = "reading_comprehension"


def _distinct(found: Iterable[str]) -> list[str]:
    """Returns the texts that say something, stripped, each once."""
    return list(dict.fromkeys(filter(None, (str(text).strip() for text in found))))


def _squad_texts(row: Row) -> dict[str, str]:
    fields = texts(row, title="title", context="context", question="question")
    return {**fields, "title": fields["title"].replace("_", " ")}


def _read_squad_v1(row: Row) -> Fields | None:
    fields, answers = _squad_texts(row), _distinct(row["answers"]["text"])
    if not answers or not all(fields.values()):
        return None
    return {**fields, "answer": answers[0], "references": answers}


_SQUAD_V1_TEMPLATES = (
    Template(
        "{context}\n\nAnswer the question with words taken from the passage above.\n{question}",
        "{answer}",
    ),
    Template(
        'Read this part of the article "{title}", then quote the shortest span of it that answers '
        "the question.\n\n{context}\n\nQuestion: {question}",
        "{answer}",
    ),
    Template(
        "Question: {question}\n\nThe answer stands somewhere in this text. Copy it out "
        "exactly.\n\n{context}",
        "{answer}",
    ),
    Template("{title}\n\n{context}\n\nQ: {question}\nA:", "{answer}"),
    Template(
        "{question} Find out from the following paragraph, and give nothing but the phrase "
        "itself.\n\n{context}",
        "{answer}",
    ),
    Template(
        "You are writing the answer key of a reading test. Every answer must be a phrase that "
        "occurs word for word in the text.\n\nText:\n{context}\n\nItem 1: {question}\n\nKey:",
        "{answer}",
    ),
    Template(
        'Here is what my encyclopedia has under "{title}":\n{context}\n\nI must have read it too '
        "quickly. {question} Just point me to the words, please.",
        "{answer}",
    ),
    Template(
        "Extract the answer from the paragraph.\nParagraph: {context}\nQuestion: {question}\n"
        "Extracted words:",
        "{answer}",
    ),
    Template(
        '{context}\n\nWrite a question about this paragraph to which the answer is "{answer}".',
        "{question}",
        reversed=True,
    ),
    Template(
        "Write a paragraph of the kind found in encyclopedias. A reader of it should be able to "
        'answer the question "{question}" with the words "{answer}", which the paragraph '
        "contains.",
        "{context}",
        reversed=True,
    ),
)

_UNANSWERABLE = "unanswerable"


def _read_squad_v2(row: Row) -> Fields | None:
    """`demand` says what kind of question this is, for templates that ask for the question."""
    fields, answers = _squad_texts(row), _distinct(row["answers"]["text"])
    if row["is_impossible"]:
        answers = [_UNANSWERABLE]
    if not answers or not all(fields.values()):
        return None
    demand = f'that the passage answers with "{answers[0]}"'
    if row["is_impossible"]:
        demand = "that seems to fit the passage although the passage does not answer it"
    return {**fields, "demand": demand, "answer": answers[0], "references": answers}


_SQUAD_V2_TEMPLATES = (
    Template(
        "{context}\n\n{question}\nAnswer with a phrase from the text above, or with "
        '"unanswerable" if the text does not say.',
        "{answer}",
    ),
    Template(
        "Some questions of this exam cannot be answered from the passage. For those the correct "
        'reply is "unanswerable"; for all others, copy the answer from the passage.\n\n'
        "Passage: {context}\n\nQuestion: {question}\n\nReply:",
        "{answer}",
    ),
    Template(
        "Question: {question}\nArticle: {title}\n\n{context}\n\nDoes this extract hold the answer? "
        "If it does, quote it; otherwise say: unanswerable",
        "{answer}",
    ),
    Template(
        'I need a fact from the article "{title}": {question}\n\nHere is all I have of it. Quote '
        'the words I want; if they aren\'t there, write "unanswerable".\n\n{context}',
        "{answer}",
    ),
    Template(
        '{context}\n\nQ: {question} (exact words of the text, or "unanswerable")\nA:', "{answer}"
    ),
    Template(
        "You check quotations for a magazine, and you never guess. A writer asks you: {question}\n"
        "Your only source is this:\n\n{context}\n\nSend back the exact wording, or the single word "
        "unanswerable where the source is silent.",
        "{answer}",
    ),
    Template(
        "Careful, this may be a trick question!\n{question}\n\nEither pick the answer out of the "
        'text or reply "unanswerable".\n\n{context}',
        "{answer}",
    ),
    Template(
        'From "{title}":\n---\n{context}\n---\nUsing nothing but these lines, reply to the '
        "question below with a span of them. Where they leave it open, the reply is "
        '"unanswerable".\n{question}',
        "{answer}",
    ),
    Template("{context}\n\nWrite a question {demand}.", "{question}", reversed=True),
    Template(
        'For a reading test about "{title}", an examiner wants a question {demand}. Supply one.\n\n'
        "The passage:\n{context}",
        "{question}",
        reversed=True,
    ),
)


def _written_date(answer: str) -> str:
    """Returns TFDS's `year-month-day`, some of which may be empty, as `day month year`."""
    found = re.fullmatch(r"(\d*)-([A-Za-z]*)-(\d+)", answer.strip())
    if not found or (found[1] and not found[2]):  # no date, or one that cannot be put so
        return answer
    return " ".join(filter(None, (found[3], found[2], found[1])))


def _read_drop(row: Row) -> Fields | None:
    fields = texts(row, passage="passage", question="question")
    answers = _distinct(map(_written_date, [row["answer"], *row["validated_answers"]]))
    if not str(row["answer"]).strip() or not all(fields.values()):
        return None
    return {**fields, "answer": answers[0], "references": answers}


_DROP_TEMPLATES = (
    Template(
        "{passage}\n\n{question}\nAnswer with a number, a date or a few words of the passage.",
        "{answer}",
    ),
    Template(
        "Read the report and work out the answer. You may have to count, add, subtract or "
        "compare.\n\nReport: {passage}\n\nQuestion: {question}",
        "{answer}",
    ),
    Template(
        "Question: {question}\n\nPassage: {passage}\n\nAnswer (figures or a short phrase, no "
        "working):",
        "{answer}",
    ),
    Template(
        "You look things up for an almanac of sports and history. A reader has sent in a query "
        "that the text below settles, if you read it closely and do the sums.\n\n{passage}\n\n"
        "Query: {question}\nWhat do you write back? Keep it to the bare result.",
        "{answer}",
    ),
    Template(
        "{question} All that you need is in the passage, though perhaps not in one place. State "
        "only the result.\n\n{passage}",
        "{answer}",
    ),
    Template("Here's a bit of reading: {passage}\n\nAnd now, in short: {question}", "{answer}"),
    Template(
        'A pupil had to read the following text and was then asked "{question}" What is the '
        "correct short answer?\n\n{passage}",
        "{answer}",
    ),
    Template("{passage}\n\nQ: {question}\nA:", "{answer}"),
    Template(
        "{passage}\n\nWrite a question about this passage that takes some thought, such as "
        "counting, calculating or putting events in order. Its answer must be: {answer}",
        "{question}",
        reversed=True,
    ),
    Template(
        'The answer was "{answer}". Judging from the passage below, what was the question?\n\n'
        "{passage}",
        "{question}",
        reversed=True,
    ),
)

_MULTIRC_OPTIONS = ("no", "yes")


def _read_multirc(row: Row) -> Fields | None:
    """`verdict` says what a candidate answer is, for templates that ask for one."""
    fields = texts(row, paragraph="paragraph", question="question", candidate="answer")
    label = int(row["label"])
    if label < 0 or not all(fields.values()):
        return None
    return {
        **fields,
        "verdict": ("wrong", "correct")[label],
        "answer": _MULTIRC_OPTIONS[label],
    }


_MULTIRC_TEMPLATES = (
    Template(
        "{paragraph}\n\nQuestion: {question}\nProposed answer: {candidate}\n\n"
        "Is the proposed answer correct?\n{options_}",
        "{answer}",
    ),
    Template(
        "After reading the text below, a student was asked: {question}\n"
        "The student replied: {candidate}\n\nText: {paragraph}\n\n"
        "Does the reply earn a mark?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "A question can have several right answers. Going by the paragraph, is the one given here "
        "among them?\n\nParagraph: {paragraph}\nQuestion: {question}\nAnswer given: {candidate}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Is the answer at the end right? You may have to put several sentences of the passage "
        "together to tell.\n\n"
        "{paragraph}\n\nQ: {question}\nA: {candidate}\n\n{options_}\nVerdict:",
        "{answer}",
    ),
    Template(
        "{question} My friend thinks the answer is this: {candidate}\n\nWe have both just read the "
        "following:\n\n{paragraph}\n\nIs my friend right?\n{options_}",
        "{answer}",
    ),
    Template(
        "You are the editor of a book of reading exercises. Below each story stands a question "
        "with suggested answers; mark a suggestion with yes if the story bears it out, and with no "
        "if it does not.\n\nSTORY\n{paragraph}\n\nQUESTION\n{question}\n\nSUGGESTION\n{candidate}"
        "\n\n{options_}",
        "{answer}",
    ),
    Template(
        '{paragraph}\n\nAsked "{question}" somebody said "{candidate}"\nCan that be accepted?\n'
        "{options_}",
        "{answer}",
    ),
    Template(
        "Statement: {candidate}\n\nIs that a valid reply to the question below if all you know is "
        "the passage under it?\n\n{question}\n\n{paragraph}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "{paragraph}\n\n{question}\nGive one answer to this question, and let it be a {verdict} "
        "one.",
        "{candidate}",
        reversed=True,
    ),
    Template(
        'Think of a question about the text to which "{candidate}" is a {verdict} answer.\n\n'
        "Text: {paragraph}",
        "{question}",
        reversed=True,
    ),
)


def _read_openbookqa(row: Row) -> Fields | None:
    asked = row["question"]
    choices = [str(asked[f"choice_{letter}"]).strip() for letter in "ABCD"]
    fields = {"fact": str(row["fact1"]).strip(), "question": str(asked["stem"]).strip()}
    key = int(row["answerKey"])
    if key < 0 or len(_distinct(choices)) != len(choices) or not all(fields.values()):
        return None
    return {**fields, "answer": choices[key], "options": choices}


_OPENBOOKQA_TEMPLATES = (
    Template(
        "Use the fact to answer the question or to complete the sentence.\n\nFact: {fact}\n"
        "Question: {question}\n\n{options_}",
        "{answer}",
    ),
    Template("Knowing that {fact}, pick what fits best.\n{question}\n{options_}", "{answer}"),
    Template("{question}\n\n{options_}\n\nHint: {fact}\nYour choice:", "{answer}"),
    Template(
        'A science book for beginners says: "{fact}"\nWith that in mind, which of the options is '
        "right here?\n\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "You have taught a class of ten-year-olds one thing today: {fact}\n\nTo see whether they "
        "can apply it, you put this to them:\n{question}\n\nWhich reply do you hope to hear?\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Open-book exam\nYou may consult this line of your notes: {fact}\n\n1. {question}\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "The question below takes one fact of science and a little common sense. Choose the right "
        "option and write it down in full.\n\n{question}\n\nThe fact: {fact}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "OK, so {fact}, right? Then help me out with this one: {question}\n{options_}", "{answer}"
    ),
    Template(
        "Question: {question}\nAnswer: {answer}\n\nState the scientific fact that lies behind this "
        "answer.",
        "{fact}",
        reversed=True,
    ),
    Template(
        "A teacher wants to test whether pupils can apply this fact: {fact}\nWrite a question, or "
        'the beginning of a sentence, to which the right reply is "{answer}".',
        "{question}",
        reversed=True,
    ),
)

_BOOL_Q_OPTIONS = ("no", "yes")


def _read_bool_q(row: Row) -> Fields | None:
    """Questions are search queries; each gets one question mark."""
    fields = texts(row, title="title", passage="passage", question="question")
    fields["question"] = fields["question"].rstrip("? ")
    if not all(fields.values()):
        return None
    answer = _BOOL_Q_OPTIONS[int(row["answer"])]
    return {**fields, "question": f"{fields['question']}?", "answer": answer}


_BOOL_Q_TEMPLATES = (
    Template("{passage}\n\nAccording to the passage above, {question}\n\n{options_}", "{answer}"),
    Template(
        "Answer the question about the passage with yes or no.\n\nTitle: {title}\n"
        "Passage: {passage}\nQuestion: {question}\n{options_}",
        "{answer}",
    ),
    Template(
        'Someone asked a search engine "{question}" and was sent to a page about "{title}":\n\n'
        "{passage}\n\nWhich answer does the page give?\n{options_}",
        "{answer}",
    ),
    Template(
        "{question}\nThe text below will tell you.\n\n{passage}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "You are a contestant in a yes-or-no quiz. Before you press a button, you may read one "
        "paragraph.\n\nThe question: {question}\nThe paragraph: {passage}\n\nWhich button is it?\n"
        "{options_}",
        "{answer}",
    ),
    Template("I just read this: {passage}\n\nSo tell me, {question}\n{options_}", "{answer}"),
    Template(
        "Article: {title}\n\n{passage}\n\nThe editors want to add a list of frequently asked "
        "questions to this article. What should they put beside the following one?\n{question}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Q: {question}\nSource: {title}. {passage}\n{options_}\nA:",
        "{answer}",
    ),
    Template(
        "{passage}\n\nWrite a question about this text that can be answered with yes or no. The "
        "answer should be {answer}.",
        "{question}",
        reversed=True,
    ),
    Template(
        'Write a short text under the heading "{title}" from which a reader can tell that the '
        "answer to the question below is {answer}.\n\n{question}",
        "{passage}",
        reversed=True,
    ),
)

DATASETS = (
    Dataset(
        name="squad_v1",
        title="SQuAD 1.1",
        cluster=CLUSTER,
        tfds="squad/v1.1:3.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_squad_v1,
        fields=("title", "context", "question"),
        kept=("question",),
        plain="{context}\n{question}",
        instruction="Answer a question with a span of a passage.",
        templates=_SQUAD_V1_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="CC-BY-SA-4.0",
    ),
    Dataset(
        name="squad_v2",
        title="SQuAD 2.0",
        cluster=CLUSTER,
        tfds="squad/v2.0:3.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_squad_v2,
        fields=("title", "context", "question", "demand"),
        kept=("question",),
        plain="{context}\n{question}",
        instruction="Answer a question with a span of a passage, or say that it is unanswerable.",
        templates=_SQUAD_V2_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="CC-BY-SA-4.0",
        notes="A template that asks for a question has the question as its target (one of FLAN's "
        "had the answer); it also says whether the question is to be answerable.",
    ),
    Dataset(
        name="drop",
        title="DROP",
        cluster=CLUSTER,
        tfds="drop:2.0.0",
        splits=splits("train[:30000]", "train[-200:]", "dev"),
        read=_read_drop,
        fields=("passage", "question"),
        kept=("question",),
        plain="{passage}\n{question}",
        instruction="Answer a question that takes counting, arithmetic or comparison over a "
        "passage.",
        templates=_DROP_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="CC-BY-SA-4.0",
        notes="The answers of further annotators are references too, where there are any (dev). "
        'What TFDS writes as "1861-April-12" or "-April-12" is put as "12 April 1861" or '
        '"12 April". Of several spans TFDS keeps the first one only, and of '
        "a date without a day nothing; the latter rows are dropped.",
    ),
    Dataset(
        name="multirc",
        title="MultiRC",
        cluster=CLUSTER,
        tfds="super_glue/multirc:1.0.2",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_multirc,
        fields=("paragraph", "question", "candidate", "verdict"),
        kept=("question", "candidate"),
        plain="{paragraph}\n{question}\n{candidate}",
        instruction="Decide whether a candidate answer to a question about a paragraph is correct.",
        templates=_MULTIRC_TEMPLATES,
        options=_MULTIRC_OPTIONS,
        metrics=(metrics.exact_match_metric, metrics.f1_metric("yes")),
        licence="unknown",
        notes="Each candidate answer is an example of its own, known by its id in TFDS; FLAN took "
        "an answer's index from its question's. F1 is over all candidates (F1a).",
    ),
    Dataset(
        name="openbookqa",
        title="OpenBookQA",
        cluster=CLUSTER,
        tfds="openbookqa:0.1.0",
        splits=splits("train", "validation[:200]", "test"),
        read=_read_openbookqa,
        fields=("fact", "question"),
        kept=("question",),
        plain="{fact}\n{question}",
        instruction="Use a science fact to answer a question by picking one of four choices.",
        templates=_OPENBOOKQA_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="unknown",
        notes="The fact from which a question was written is shown. Questions with two equal "
        "choices are dropped.",
    ),
    Dataset(
        name="bool_q",
        title="BoolQ",
        cluster=CLUSTER,
        tfds="bool_q:1.0.0",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_bool_q,
        fields=("title", "passage", "question"),
        kept=("question",),
        plain="{passage}\n{question}",
        instruction="Answer a yes-or-no question about a passage.",
        templates=_BOOL_Q_TEMPLATES,
        options=_BOOL_Q_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-SA-3.0",
        notes="The reader ends every question in one question mark, and no template adds another.",
    ),
)
