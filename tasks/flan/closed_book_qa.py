"""Closed-book question answering: questions about the world, and no text to consult."""

from collections.abc import Iterable

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits

CLUSTER = "closed_book_qa"


def _distinct(found: Iterable[str]) -> list[str]:
    """Returns the texts that say something, stripped, each once."""
    return list(dict.fromkeys(filter(None, (str(text).strip() for text in found))))


def _read_trivia_qa(row: Row) -> Fields | None:
    """The documents are left out; TFDS writes "<unk>" where the answer is hidden."""
    question, answer = str(row["question"]).strip(), row["answer"]
    values = _distinct([answer["normalized_value"], *answer["normalized_aliases"]])
    if not question or not values or values[0] == "<unk>":
        return None
    return {"question": question, "answer": values[0], "references": values}


_TRIVIA_QA_TEMPLATES = (
    Template("Answer this trivia question in a few words.\n\n{question}", "{answer}"),
    Template("{question}\nGive only the answer; no explanation is needed.", "{answer}"),
    Template(
        'It is quiz night, and the host reads out: "{question}"\n\n'
        "What do you write on your answer sheet?",
        "{answer}",
    ),
    Template("Q: {question}\nA:", "{answer}"),
    Template(
        "Without looking anything up, name the person, place, thing or number that is asked for.\n"
        "{question}",
        "{answer}",
    ),
    Template(
        "This one came up at the pub last night, and nobody at our table knew.\n{question}\n"
        "Do you? A word or two will do.",
        "{answer}",
    ),
    Template(
        "You work at the enquiry desk of an encyclopedia. Readers send in questions on cards, and "
        "you return each card with a single name, date or phrase on it. Today's first card "
        "says:\n\n{question}",
        "{answer}",
    ),
    Template("General knowledge\n\nQuestion: {question}\n\nShort answer:", "{answer}"),
    Template(
        "Make up a quiz question. The answer to it has to be: {answer}", "{question}", reversed=True
    ),
    Template(
        'A contestant won the final point by saying "{answer}".\n\n'
        "What might the question have been?",
        "{question}",
        reversed=True,
    ),
)


def _read_natural_questions(row: Row) -> Fields | None:
    """`query` is what was typed, `question` the same with one question mark."""
    query = str(row["question"]).strip().rstrip("? ")
    answers = _distinct(row["answer"])
    if not query or not answers:
        return None
    return {
        "query": query,
        "question": f"{query}?",
        "answer": answers[0],
        "references": answers,
    }


_NATURAL_QUESTIONS_TEMPLATES = (
    Template("{question}\n\nAnswer in as few words as you can.", "{answer}"),
    Template(
        "Someone types this into a search engine: {query}\n\n"
        "Which short answer should appear above the results?",
        "{answer}",
    ),
    Template("Question: {question}\nAnswer:", "{answer}"),
    Template("Could you please tell me: {question} Just the bare fact is enough.", "{answer}"),
    Template(
        "You are a reference librarian, and the telephone rings. The caller would like to know:\n\n"
        "{question}\n\nReply with the name, date, number or phrase that settles it.",
        "{answer}",
    ),
    Template(
        "From memory, and without giving reasons, answer the following.\n{question}", "{answer}"
    ),
    Template("Query: {query}\nWhat the person wants to know, in brief:", "{answer}"),
    Template(
        "The answer to the question below can be found in Wikipedia. If you have read the right "
        "article, you can give it in a word, a name or a short phrase.\n\n{question}",
        "{answer}",
    ),
    Template(
        'Somebody searched the web and found what they were looking for: "{answer}".\n'
        "Write the question they may have had in mind.",
        "{question}",
        reversed=True,
    ),
    Template(
        "Answer: {answer}\n\nNow write a question that this answers.", "{question}", reversed=True
    ),
)


def _read_arc(row: Row) -> Fields | None:
    """Questions with four different choices, one of which is keyed as right."""
    question = str(row["question"]).strip()
    choices = [str(text).strip() for text in row["choices"]["text"]]
    labels = [int(label) for label in row["choices"]["label"]]
    key = int(row["answerKey"])
    if not question or len(_distinct(choices)) != 4 or len(choices) != 4 or key not in labels:
        return None
    answer = choices[labels.index(key)]
    wrong = [choice for choice in choices if choice != answer]
    return {
        "question": question,
        "distractors": "\n".join(wrong),
        "answer": answer,
        "options": choices,
    }


_ARC_TEMPLATES = (
    Template(
        "Answer this science question by choosing one of the options.\n\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template("{question}\n\n{options_}\n\nThe right choice is:", "{answer}"),
    Template(
        "Science test. Write out the choice that answers the question or completes the "
        "sentence.\n\nItem 1: {question}\n{options_}",
        "{answer}",
    ),
    Template(
        "You are putting together the answer key of an exam for schoolchildren. What does the key "
        "say for this item?\n\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "My daughter brought this home from her science class, and we can't agree on it:\n"
        '"{question}"\nWhich one would you pick?\n{options_}',
        "{answer}",
    ),
    Template(
        "{options_}\n\nOne of the options above, and only one, is right for what follows. "
        "Say which.\n{question}",
        "{answer}",
    ),
    Template("{question} Choose one and copy it.\n{options_}", "{answer}"),
    Template(
        "Three of the listed statements or terms are wrong here, and the fourth is correct. Think "
        "back to what you learnt about nature at school, and find the correct one.\n\n"
        "Question: {question}\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "Write the stem of a multiple-choice science question for schoolchildren. The right choice "
        "is to be: {answer}",
        "{question}",
        reversed=True,
    ),
    Template(
        "A science teacher needs three wrong choices to set beside the right one. They should "
        "sound plausible to somebody who has not studied. Write one per line.\n\n"
        "Question: {question}\nRight choice: {answer}",
        "{distractors}",
        reversed=True,
    ),
)


def _arc(name: str, config: str, title: str) -> Dataset:
    """Returns one of the two sets of ARC; they share their templates."""
    return Dataset(
        name=name,
        title=title,
        cluster=CLUSTER,
        tfds=f"ai2_arc/{config}:1.0.0",
        splits=splits("train[:-200]", "train[-200:]", "test"),
        read=_read_arc,
        fields=("question", "distractors"),
        plain="{question}",
        instruction="Answer a grade-school science question by picking one of four choices.",
        templates=_ARC_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-SA-4.0",
        notes="Questions with more or fewer than four choices are dropped, as are those with two "
        "equal choices.",
    )


DATASETS = (
    Dataset(
        name="trivia_qa",
        title="TriviaQA",
        cluster=CLUSTER,
        # The questions of "rc", without gigabytes of documents.
        tfds="trivia_qa/rc.nocontext:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_trivia_qa,
        fields=("question",),
        plain="{question}",
        instruction="Answer a trivia question from memory.",
        templates=_TRIVIA_QA_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="unknown",
        notes="The documents are not shown. Answers are the normalised ones: lower case, without "
        "punctuation and articles. TFDS lists a question once for each domain (web, Wikipedia) "
        "that has documents for it, and lists the verified part of the validation split again, "
        "so some questions occur twice, and may be in both train and validation slices.",
    ),
    Dataset(
        name="natural_questions",
        title="Natural Questions",
        cluster=CLUSTER,
        tfds="natural_questions_open:1.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_natural_questions,
        fields=("question", "query"),
        plain="{question}",
        instruction="Answer a question that somebody asked a search engine, in a few words.",
        templates=_NATURAL_QUESTIONS_TEMPLATES,
        metrics=(metrics.squad_metric,),
        licence="CC-BY-SA-3.0",
        notes="Queries have no question mark; the reader adds one, and no template adds another "
        "(FLAN's had two in places).",
    ),
    _arc("arc_challenge", "ARC-Challenge", "ARC Challenge"),
    _arc("arc_easy", "ARC-Easy", "ARC Easy"),
)
