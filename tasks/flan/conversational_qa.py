"""Conversational question answering: questions that people ask one another about a text."""

from collections.abc import Sequence
from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, splits, texts

CLUSTER = "conversational_qa"

# What QuAC says in place of an answer, and what we say.
_QUAC_NO_ANSWER, _NO_ANSWER = "CANNOTANSWER", "unanswerable"


def _quac_references(answers: Sequence[str]) -> list[str]:
    """Returns the acceptable answers among those of several people, in QuAC's way.

    Either most of them found one, and theirs count, or at least half did not, and "unanswerable"
    is the only answer.
    """
    found = [answer for answer in answers if answer != _QUAC_NO_ANSWER]
    if 2 * len(found) <= len(answers):
        return [_NO_ANSWER]
    return list(dict.fromkeys(found))


def _read_quac(row: Row) -> dict[str, Any] | None:
    """Reads one question of a conversation."""
    fields = texts(row, passage="context", question="question", title="title")
    fields["section"] = str(row["section_title"]).strip()
    # The passages end in the words that say that there is no answer.
    fields["passage"] = fields["passage"].removesuffix(_QUAC_NO_ANSWER).strip()
    original = row["orig_answer"]["text"].strip()
    answers = [text.strip() for text in row["answers"]["text"]] or [original]
    if not all(fields.values()) or not all(answers):
        return None
    references = _quac_references(answers)
    # The answer that the conversation went on with comes first.
    references.sort(key=lambda answer: answer != original)
    parts = (fields["title"], row["background"].strip(), fields["section"], fields["passage"])
    fields["article"] = "\n\n".join(part for part in parts if part)
    return {**fields, "answer": references[0], "references": references}


_QUAC_TEMPLATES = (
    Template(
        'The following is the section "{section}" of an encyclopedia article about {title}.\n\n'
        "{passage}\n\nA student asks: {question}\n\nAnswer in words taken from the passage. If it "
        'gives no answer, write "unanswerable".',
        "{answer}",
    ),
    Template(
        "Article: {title}\nSection: {section}\nText: {passage}\n\nQ: {question}\n(Quote the text, "
        'or write "unanswerable".)\nA:',
        "{answer}",
    ),
    Template(
        "In the course of a conversation about {title}, this question comes up:\n{question}\n\n"
        "Find the part of the text below that answers it, and copy that part. Should there be "
        'none, reply "unanswerable".\n\n{passage}',
        "{answer}",
    ),
    Template(
        "You are a teacher, and you have a page in front of you that your student cannot see. The "
        'student wants to learn about {title} and asks: "{question}"\nReply with an excerpt of '
        'the page, or with "unanswerable" if the page does not say.\n\nThe page:\n{passage}',
        "{answer}",
    ),
    Template(
        "{passage}\n\nSomeone who has not read this passage asks a question about {title} and is "
        'told: "{answer}"\n\nWrite a question that fits the reply. (To be told "unanswerable" '
        "means that the passage has no answer.)",
        "{question}",
        reversed=True,
    ),
    Template(
        "{article}\n\n{question}\nReply with an extract of the article. A question that it leaves "
        'open gets the reply "unanswerable".',
        "{answer}",
    ),
    Template(
        "Someone is curious about {title} and would like to know:\n{question}\n\nAn encyclopedia "
        'has this under "{section}":\n{passage}\n\nWhich words of it would you give as the answer? '
        'If it is of no help, just say "unanswerable".',
        "{answer}",
    ),
    Template(
        "Reading test. Copy the answer to the question from the passage. If the passage does not "
        'contain it, the right answer is "unanswerable".\n\nQuestion: {question}\n\n'
        "Passage ({title}, {section}): {passage}\n\nAnswer:",
        "{answer}",
    ),
    Template(
        "Can you help me out? I'm reading up on {title}, and here's what I'd like to know:\n"
        "{question}\n\nIt ought to be somewhere in the text below, so just quote it. If it isn't "
        'there, say "unanswerable".\n\n{passage}',
        "{answer}",
    ),
    Template(
        "{passage}\n\nInvent one exchange of a conversation about {title}. On the first line goes "
        "a question by someone who has not read the passage; on the second goes the reply, which "
        'is either quoted from the passage or the word "unanswerable".',
        "{question}\n{answer}",
        reversed=True,
    ),
)

# What the sources of CoQA's texts are.
_GENRES = {
    "cnn": "a news report",
    "gutenberg": "an excerpt from a book",
    "mctest": "a short story for children",
    "race": "a text from an English exam",
    "wikipedia": "an encyclopedia article",
}


def _numbered(lines: Sequence[str], separator: str = "\n") -> str:
    return separator.join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _read_coqa(row: Row) -> dict[str, Any] | None:
    """Reads a whole conversation: its questions and its answers as two lists."""
    story = row["story"].strip()
    # White space is folded: what has a number stands on one line.
    questions = [" ".join(text.split()) for text in row["questions"]]
    answers = [" ".join(text.split()) for text in row["answers"]["input_text"]]
    if not story or not questions or len(questions) != len(answers):
        return None
    if not all(questions + answers):
        return None
    turns = zip(questions, answers, strict=True)
    return {
        "story": story,
        "genre": _GENRES.get(row["source"].strip().lower(), "a text"),
        "questions": _numbered(questions),
        "questions_inline": _numbered(questions, " "),
        "dialogue": "\n".join(f"Q: {question}\nA: {answer}" for question, answer in turns),
        "answer": _numbered(answers),
    }


_COQA_TEMPLATES = (
    Template(
        "{story}\n\nAnswer these questions about the text in order. Number your answers.\n\n"
        "{questions}",
        "{answer}",
    ),
    Template(
        "Read the text and reply to everything that is asked about it. A question may refer back "
        "to those before it. Give each answer in a few words, on a line of its own, after the "
        'number of its question; what the text does not tell is "unknown".\n\nText:\n{story}\n\n'
        "Questions:\n{questions}\n\nAnswers:",
        "{answer}",
    ),
    Template(
        "These questions were asked, one after the other, in a conversation about {genre}.\n"
        "{questions}\n\nHere is what the conversation was about.\n\n{story}\n\nList the answers as "
        '"1. ...", "2. ..." and so on.',
        "{answer}",
    ),
    Template(
        "{questions}\n\nGoing by the passage below, answer the above as briefly as you can. Keep "
        'the numbers. Where the passage does not say, write "unknown".\n\n{story}',
        "{answer}",
    ),
    Template(
        "{story}\n\nA conversation about this text had the following answers.\n{answer}\n\nWrite "
        "down what was asked each time: one question a line, with the same numbers.",
        "{questions}",
        reversed=True,
    ),
    Template(
        "You have just read this aloud to a friend:\n\n{story}\n\nNow your friend wants to know: "
        "{questions_inline}\n\nAnswer with a numbered list, and keep it short.",
        "{answer}",
    ),
    Template(
        "QUIZ\nThe material: {genre}\n\n{story}\n\nThe quizmaster asks:\n{questions}\n\nFill in "
        "your answer sheet. Each line has a number and a short answer.",
        "{answer}",
    ),
    Template(
        "{story}\n\nTwo people talk about the text above. One of them asks short questions, each "
        "following up on the last, and the other answers them in a word or two. Write their "
        'conversation, with "Q:" before each question and "A:" before each answer.',
        "{dialogue}",
        reversed=True,
    ),
    Template("Story: {story}\nQuestions: {questions_inline}\nNumbered answers:", "{answer}"),
    Template(
        "For homework, pupils were given the text at the end and this list of questions:\n\n"
        "{questions}\n\nPrepare the key for their teacher. It should have the shortest correct "
        "answer to every question, numbered in the same way.\n\nText: {story}",
        "{answer}",
    ),
)

DATASETS = (
    Dataset(
        name="quac",
        title="QuAC",
        cluster=CLUSTER,
        tfds="quac:1.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_quac,
        fields=("passage", "question", "title", "section", "article"),
        kept=("question",),
        plain="{title}\n{section}\n\n{passage}\n\n{question}",
        instruction=(
            "Answer a question from a conversation with an excerpt of a passage, or say that it is "
            "unanswerable."
        ),
        templates=_QUAC_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="CC-BY-SA-4.0",
        notes=(
            'Where the data says "CANNOTANSWER" the answer is "unanswerable", and that word is cut '
            "from the end of the passages. The original answer comes first, all answers are "
            "references; where at least half of them are CANNOTANSWER that is the only one, else "
            "it is none of them (QuAC's own rule). TFDS has no earlier turns of the conversation, "
            "so some questions cannot be understood in full. The test split is QuAC's public "
            "validation set. Training and validation rows may share a passage."
        ),
    ),
    Dataset(
        name="coqa",
        title="CoQA",
        cluster=CLUSTER,
        tfds="coqa:1.0.0",
        splits=splits("train[:-100]", "train[-100:]", "test"),
        read=_read_coqa,
        fields=("story", "genre", "questions", "questions_inline", "dialogue"),
        kept=("questions", "questions_inline"),
        plain="{story}\n\n{questions}",
        instruction="Answer all questions of a conversation about a text, in a numbered list.",
        templates=_COQA_TEMPLATES,
        metrics=(metrics.squad_metric, metrics.rouge_l_metric),
        licence=(
            "Literature and Wikipedia passages CC-BY-SA-4.0; children's stories (MCTest) MSR-LA; "
            "exam passages (RACE) and news passages (CNN) under the licences of their sources"
        ),
        notes=(
            "One example is a whole conversation: all questions, and all answers, as numbered "
            "lists, so the metrics are not CoQA's own, which score turn by turn. TFDS's test split "
            "is CoQA's public development set, with one answer a question. Conversations in which "
            "a question or an answer is empty, or their numbers differ, are dropped."
        ),
    ),
)
