"""Natural language inference: does one text follow from another?"""

import functools
import re
from collections.abc import Sequence

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, classes, splits, texts

CLUSTER = "nli"

_LINE_BREAK = re.compile(r"\s*<br\s*/?>\s*")
# Words that a sentence begins with and that are written small inside one.
_SMALL_WORDS = {
    "a", "after", "all", "an", "another", "as", "at", "because", "before", "both", "boys", "by",
    "children", "dogs", "during", "each", "every", "everybody", "everyone", "few", "from", "girls",
    "half", "he", "her", "here", "his", "if", "in", "it", "its", "kids", "many", "men", "more",
    "most", "my", "neither", "no", "nobody", "none", "nothing", "on", "one", "only", "our",
    "people", "several", "she", "since", "some", "somebody", "someone", "something", "that", "the",
    "their", "there", "these", "they", "this", "those", "three", "to", "two", "under", "we",
    "what", "when", "while", "with", "women", "you", "your",
}  # fmt: skip


def _clause(sentence: str) -> str:
    """Returns a sentence as it stands after "that": no final full stop, no initial capital."""
    clause = re.sub(r"(?<!\.[A-Z])\.$", "", sentence)  # "in the U.S." keeps its own
    small = clause[:1].lower() + clause[1:]
    return small if re.split(r"[^A-Za-z]", small, maxsplit=1)[0] in _SMALL_WORDS else clause


def _read_pair(
    row: Row,
    *,
    answers: Sequence[str],
    standings: Sequence[str],
    premise: str = "premise",
    hypothesis: str = "hypothesis",
) -> Fields | None:
    """Reads a pair of texts; drops what has no label, or "n/a" or nothing for a text.

    Args:
        row: the row.
        answers: the answer of each class, by number.
        standings: what reversed templates say of the hypothesis in each class.
        premise: feature with the premise.
        hypothesis: feature with the hypothesis.
    """
    label = int(row["label"])
    pair = texts(row, premise=premise, hypothesis=hypothesis)
    pair = {field: _LINE_BREAK.sub("\n", text).strip() for field, text in pair.items()}
    if label < 0 or any(text.lower() in ("", "n/a") for text in pair.values()):
        return None
    claim = _clause(pair["hypothesis"])
    return {**pair, "claim": claim, "standing": standings[label], "answer": answers[label]}


_PAIR_FIELDS = ("premise", "hypothesis", "claim", "standing")
_PAIR_PLAIN = "{premise}\n{hypothesis}"
_ENTAILED, _OPEN, _CONTRADICTED = "confirmed", "neither confirmed nor ruled out", "ruled out"
_NO_STRAY_LETTER = (
    "The original's templates 5 to 7 have a stray letter before the options; ours have none."
)

_ANLI_OPTIONS = ("Yes", "It's impossible to say", "No")  # TFDS: e, n, c
_ANLI_TEMPLATES = (
    Template(
        "{premise}\n\nJudging only by the paragraph above, is the following statement correct?\n\n"
        "{hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Read this and decide whether the claim is right.\n\n{premise}\n\nClaim: {hypothesis}\n"
        "{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "Claim: {hypothesis}\n\nEvidence: {premise}\n\nDoes the evidence prove the claim? Choose "
        "No only if the evidence contradicts it.\n{options_}",
        "{answer}",
    ),
    Template(
        "Somebody told me that {claim}. This is all I could find about it:\n\n{premise}\n\n"
        "Was I told the truth?\n{options_}",
        "{answer}",
    ),
    Template(
        "Reading exam, part B. Study the text, then mark the statement below it using nothing "
        "but the text.\n\nText:\n{premise}\n\nStatement:\n{hypothesis}\n\nIs the statement "
        "true?\n\n{options_}",
        "{answer}",
    ),
    Template("{premise}\n\n{hypothesis} True?\n\n{options_}", "{answer}"),
    Template(
        "You are an editor who trusts nothing but the source. A writer wants to print the "
        "sentence below; tell her whether the source bears it out.\n\nSentence: {hypothesis}\n"
        "Source: {premise}\n{options_}",
        "{answer}",
    ),
    Template(
        "Does it follow from the text that {claim}? Say Yes if it does, No if the text rules it "
        "out, and that it is impossible to say if the text leaves it open.\n\n{premise}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "{premise}\n\nWrite one sentence that is {standing} by the passage above.",
        "{hypothesis}",
        reversed=True,
    ),
    Template(
        'Readers of a paragraph were asked: "Is it true that {claim}?" The right answer was '
        '"{answer}". Write a paragraph for which that is so.',
        "{premise}",
        reversed=True,
    ),
)


def _anli(round_: int, train: str) -> Dataset:
    return Dataset(
        name=f"anli_r{round_}",
        title=f"ANLI round {round_}",
        cluster=CLUSTER,
        tfds=f"anli/r{round_}:0.1.0",
        splits=splits(train, "validation[:200]", "test"),
        read=functools.partial(
            _read_pair,
            answers=_ANLI_OPTIONS,
            standings=(_ENTAILED, _OPEN, _CONTRADICTED),
            premise="context",
        ),
        fields=_PAIR_FIELDS,
        kept=("hypothesis", "claim"),
        plain=_PAIR_PLAIN,
        instruction="Decide whether a passage makes a statement true, false, or neither.",
        templates=_ANLI_TEMPLATES,
        options=_ANLI_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-NC-4.0",
        notes=f"{_NO_STRAY_LETTER} The markup <br> in a text becomes a line break.",
    )


_CB_OPTIONS = ("Yes", "No", "It's impossible to say")  # TFDS: entailment, contradiction, neutral
_CB_TEMPLATES = (
    Template(
        "{premise}\n\nDoes the passage tell you that {claim}?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "The following lines come from a newspaper, a novel or a conversation.\n\n{premise}\n\n"
        "Going by them, is it the case that {claim}?\n{options_}",
        "{answer}",
    ),
    Template(
        "Passage: {premise}\nStatement: {hypothesis}\n\nIf everything in the passage is true, is "
        "the statement true?\n{options_}",
        "{answer}",
    ),
    Template(
        "Is it true that {claim}? Find out from these words, and from nothing else:\n\n"
        '"{premise}"\n\n{options_}',
        "{answer}",
    ),
    Template("{premise}\n\nSo {claim}, right?\n{options_}", "{answer}"),
    Template(
        "You are a detective, and this is in your notebook:\n\n{premise}\n\nYour partner concludes "
        "that {claim}. Does your partner have it right?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Hypothesis: {hypothesis}\nDiscourse: {premise}\n\nIs the hypothesis entailed by the "
        "discourse (Yes), contradicted by it (No), or neither of these (It's impossible to "
        "say)?\n{options_}",
        "{answer}",
    ),
    Template(
        "Writers often mention a thing without claiming that it is so. Read the excerpt with that "
        "in mind, and say whether it lets us believe the sentence after it.\n\n"
        "Excerpt: {premise}\n\nSentence: {hypothesis}\n\n{options_}\nYour answer:",
        "{answer}",
    ),
    Template(
        'What do the lines below imply about the statement "{hypothesis}"? Pick Yes if they make '
        "it true and No if they make it false.\n\n{premise}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'After reading an excerpt, somebody asked, "Is it true that {claim}?" The correct reply '
        'was "{answer}". What might the excerpt have said?',
        "{premise}",
        reversed=True,
    ),
)


_RTE_OPTIONS = ("yes", "no")  # TFDS: 0 is entailment
_RTE_TEMPLATES = (
    Template(
        "{premise}\n\nGoing by the passage above, is this sentence true?\n"
        "{hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Text: {premise}\n\nClaim: {hypothesis}\n\nDoes the claim follow from the "
        "text?\n{options_}",
        "{answer}",
    ),
    Template(
        "Suppose somebody tells you the following.\n{premise}\n"
        'Can you then conclude "{hypothesis}"?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "Sentence to check: {hypothesis}\n\nThe only source you may use: {premise}\n\n"
        "Is the sentence backed by the source?\n{options_}",
        "{answer}",
    ),
    Template(
        "You are checking facts for a newspaper. The report reads:\n{premise}\n\nA colleague sums "
        "it up as:\n{hypothesis}\n\nIs the summary warranted by the report?\n{options_}",
        "{answer}",
    ),
    Template(
        "First statement: {premise}\nSecond statement: {hypothesis}\n\nIs the second statement a "
        "valid inference from the first?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Can the statement at the end be inferred from what comes before it?\n\n{premise}\n\n"
        "Statement: {hypothesis}\n{options_}",
        "{answer}",
    ),
    Template("{premise} Therefore: {hypothesis} Right?\n{options_}", "{answer}"),
    Template(
        'A reader knows nothing but this: "{premise}"\nShould the reader believe that '
        '"{hypothesis}"? Reply with one of the options.\n{options_}',
        "{answer}",
    ),
    Template(
        "Passage: {premise}\n\nQuestion: does the sentence follow from the passage?\n"
        "Answer: {answer}\n\nWrite a sentence for which this answer is right.",
        "{hypothesis}",
        reversed=True,
    ),
)

_MNLI_OPTIONS = ("yes", "it is not possible to tell", "no")  # TFDS: entailment, neutral, ...
_MNLI_TEMPLATES = (
    Template(
        "Premise: {premise}\nHypothesis: {hypothesis}\n\nIf the premise is true, is the "
        "hypothesis true as well?\n{options_}",
        "{answer}",
    ),
    Template(
        "{premise}\n\nIf that is so, is it also true that {claim}?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Is it true that {claim}? All we have to go on is this:\n\n{premise}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Someone wrote or said this:\n{premise}\n\nA student puts it in other words:\n"
        "{hypothesis}\n\nHas the student got it right? If the original leaves that open, say "
        "that it is not possible to tell.\n{options_}",
        "{answer}",
    ),
    Template(
        "Assume that sentence A is true. Is sentence B?\n\nA: {premise}\nB: {hypothesis}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Logic drill. Answer yes where the second sentence must be true given the first, no where "
        "it cannot be true, and otherwise that it is not possible to tell.\n\n1. {premise}\n"
        "2. {hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'Quick check: they told me "{premise}", and I took it to mean that {claim}. Did I get '
        "that right?\n{options_}",
        "{answer}",
    ),
    Template(
        "You keep the minutes of a meeting.\n\nSaid at the meeting: {premise}\n\nWritten in the "
        "minutes: {hypothesis}\n\nAre the minutes correct on this point?\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template("{hypothesis}\n\nTrue, given the following?\n\n{premise}\n{options_}", "{answer}"),
    Template(
        "Question: if the first sentence is true, is the second?\nAnswer: {answer}\n"
        "First sentence: {premise}\n\nWrite a second sentence that goes with this answer.",
        "{hypothesis}",
        reversed=True,
    ),
)


def _mnli(kind: str, train: str, note: str) -> Dataset:
    return Dataset(
        name=f"mnli_{kind}",
        title=f"MultiNLI {kind}",
        cluster=CLUSTER,
        tfds="glue/mnli:2.0.0",
        splits=splits(train, "train[-200:]", f"validation_{kind}"),
        read=functools.partial(
            _read_pair, answers=_MNLI_OPTIONS, standings=(_ENTAILED, _OPEN, _CONTRADICTED)
        ),
        fields=_PAIR_FIELDS,
        kept=("hypothesis", "claim"),
        plain=_PAIR_PLAIN,
        instruction="Decide whether a sentence is true, given that another one is.",
        templates=_MNLI_TEMPLATES,
        options=_MNLI_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        notes=f'{note} Rows with the hypothesis "n/a" are dropped.',
    )


_QNLI_OPTIONS = ("yes", "no")  # TFDS: 0 is entailment
_QNLI_TEMPLATES = (
    Template(
        "Question: {question}\nSentence: {sentence}\n\nDoes the sentence contain the answer to the "
        "question?\n{options_}",
        "{answer}",
    ),
    Template(
        "{sentence}\n\nCan this be answered from the text above?\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Here is what I want to know: {question}\nAnd here is what my encyclopedia says: "
        "{sentence}\n\nDoes that tell me what I want to know?\n{options_}",
        "{answer}",
    ),
    Template(
        "A search engine was asked a question and came back with a snippet. Decide whether the "
        "snippet answers the question.\n\nUser: {question}\nSnippet: {sentence}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Asked: {question}\nGiven: {sentence}\nIs what was asked for given?\n{options_}",
        "{answer}",
    ),
    Template(
        'A teacher asks, "{question}" A pupil replies by reading one line from the textbook: '
        '"{sentence}" Has the teacher\'s question been answered?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "You have a highlighter, and you may only use it on this sentence:\n\n{sentence}\n\n"
        "Could you mark an answer to the following question?\n{question}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Judge how useful a passage is. Choose yes if somebody who has read it knows the answer to "
        "the question, and no otherwise.\n\nPassage: {sentence}\n\nQuestion: {question}\n\n"
        "{options_}\nVerdict:",
        "{answer}",
    ),
    Template(
        "{sentence}\n\nWrite a question on the same topic that {standing} by this sentence.",
        "{question}",
        reversed=True,
    ),
    Template(
        "Question: {question}\nDoes a certain sentence answer it? {answer}\n\nWrite such a "
        "sentence, in the style of an encyclopedia.",
        "{sentence}",
        reversed=True,
    ),
)


def _read_qnli(row: Row) -> Fields | None:
    fields = texts(row, question="question", sentence="sentence")
    label = int(row["label"])
    if label < 0 or not all(fields.values()):
        return None
    standing = ("is answered", "is not answered")[label]
    return {**fields, "standing": standing, "answer": _QNLI_OPTIONS[label]}


_WNLI_OPTIONS = ("no", "yes")  # TFDS: 1 is entailment
_WNLI_TEMPLATES = (
    Template(
        "{premise}\n\nDoes it follow that this is true?\n{hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "If the first text is true, is the second one true too?\n\n1) {premise}\n"
        "2) {hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "In the second line, a pronoun from the first has been replaced by what somebody thinks it "
        "stands for.\n\nOriginal: {premise}\nPronoun replaced: {hypothesis}\n\nIs the replacement "
        "the right one?\n{options_}",
        "{answer}",
    ),
    Template("Text: {premise}\nReading: {hypothesis}\nRight reading?\n{options_}", "{answer}"),
    Template(
        'Someone takes "{premise}" to mean that {claim}. Is that the sensible way to understand '
        "it?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Use your common sense: work out who or what every word refers to, and then answer.\n\n"
        "{premise}\n\nIs it the case that {claim}?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Question: is it true that {claim}?\nThe facts: {premise}\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "A learner of English has come across the text below and is not sure what it says.\n\n"
        "{premise}\n\nThe learner wonders if it means this:\n\n{hypothesis}\n\nWhat do you "
        "reply?\n{options_}",
        "{answer}",
    ),
    Template(
        "Conclusion: {hypothesis}\n\nMay one draw this conclusion from the words "
        '"{premise}"?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "{premise}\n\nRepeat a part of this text as a sentence of its own, with a noun or name in "
        "place of a pronoun. Your sentence should be one that {standing} from the text.",
        "{hypothesis}",
        reversed=True,
    ),
)

_SNLI_OPTIONS = ("yes", "it is not possible to tell", "no")  # TFDS: entailment, neutral, ...
_SNLI_TEMPLATES = (
    Template(
        "A photo has this caption: {premise}\n\nIs the following true of the photo?\n"
        "{hypothesis}\n\n{options_}",
        "{answer}",
    ),
    Template("{premise}\n\nDoes this mean that {claim}?\n{options_}", "{answer}"),
    Template(
        "Imagine the following scene, and do not add anything to it.\n\n{premise}\n\n"
        "Is it true that {claim}?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Two people describe one and the same picture.\nAnn: {premise}\nBen: {hypothesis}\n\n"
        "If Ann is right, is Ben right as well?\n{options_}",
        "{answer}",
    ),
    Template(
        "Can you tell whether {claim}? You cannot see the picture, only what the photographer "
        "noted on the back: {premise}\n\nChoose yes if it is true and no if it is not.\n{options_}",
        "{answer}",
    ),
    Template(
        "You catalogue photographs for an archive, and no photograph may get a title that is wrong "
        "or that says more than is known.\n\nWhat is known: {premise}\nSuggested title: "
        "{hypothesis}\n\nIs the title true?\n{options_}",
        "{answer}",
    ),
    Template(
        "{premise}\n{hypothesis}\n\nGiven the first line, is the second one true?\n{options_}",
        "{answer}",
    ),
    Template(
        "Check a description against a scene.\n\nDescription: {hypothesis}\nScene: {premise}\n\n"
        "Is the description accurate?\n\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "Scene: {premise}\n\nWrite a short sentence about the same scene that is {standing} by "
        "what you have just read.",
        "{hypothesis}",
        reversed=True,
    ),
    Template(
        "Asked whether it is true of a photo that {claim}, somebody who knew only the caption "
        'replied: "{answer}". Write such a caption.',
        "{premise}",
        reversed=True,
    ),
)

DATASETS = (
    _anli(1, "train"),
    _anli(2, "train[:30000]"),
    _anli(3, "train[:30000]"),
    Dataset(
        name="cb",
        title="CommitmentBank",
        cluster=CLUSTER,
        tfds="super_glue/cb:1.0.2",
        splits=splits("train[:-50]", "train[-50:]", "validation"),
        read=functools.partial(
            _read_pair, answers=_CB_OPTIONS, standings=(_ENTAILED, _CONTRADICTED, _OPEN)
        ),
        fields=_PAIR_FIELDS,
        kept=("hypothesis", "claim"),
        plain=_PAIR_PLAIN,
        instruction="Decide whether a passage says that a statement is true, false, or neither.",
        templates=_CB_TEMPLATES,
        options=_CB_OPTIONS,
        metrics=(metrics.exact_match_metric, metrics.macro_f1_metric(_CB_OPTIONS)),
        notes=f"{_NO_STRAY_LETTER} Options are in the order of the labels everywhere, which the "
        "original's baseline is not.",
    ),
    Dataset(
        name="rte",
        title="RTE",
        cluster=CLUSTER,
        tfds="super_glue/rte:1.0.2",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=classes(_RTE_OPTIONS, premise="premise", hypothesis="hypothesis"),
        fields=("premise", "hypothesis"),
        plain="{premise}\n{hypothesis}",
        instruction="Decide whether a sentence follows from a passage.",
        templates=_RTE_TEMPLATES,
        options=_RTE_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="unknown",
        notes=_NO_STRAY_LETTER,
    ),
    _mnli(
        "matched",
        "train[:30000]",
        "The original trains this and mnli_mismatched on the same rows; ours differ.",
    ),
    _mnli(
        "mismatched",
        "train[30000:60000]",
        "The original trains this on the rows of mnli_matched, train[:30000], which doubles their "
        "weight; ours are the next 30,000.",
    ),
    Dataset(
        name="qnli",
        title="QNLI",
        cluster=CLUSTER,
        tfds="glue/qnli:2.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_qnli,
        fields=("question", "sentence", "standing"),
        kept=("question",),
        plain="{question}\n{sentence}",
        instruction="Decide whether a sentence contains the answer to a question.",
        templates=_QNLI_TEMPLATES,
        options=_QNLI_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        sources=("glue/qnli", "squad/v1.1"),
        licence="CC-BY-SA-4.0",
    ),
    Dataset(
        name="wnli",
        title="WNLI",
        cluster=CLUSTER,
        tfds="glue/wnli:2.0.0",
        splits=splits("train[:-30]", "train[-30:]", "validation"),
        read=functools.partial(
            _read_pair,
            answers=_WNLI_OPTIONS,
            standings=("does not follow", "follows"),
            premise="sentence1",
            hypothesis="sentence2",
        ),
        fields=_PAIR_FIELDS,
        kept=("hypothesis", "claim"),
        plain=_PAIR_PLAIN,
        instruction="Decide whether a sentence follows from a text with an ambiguous pronoun.",
        templates=_WNLI_TEMPLATES,
        options=_WNLI_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        sources=("glue/wnli", "super_glue/wsc"),
        notes="Made from Winograd schemas, as wsc of the coreference cluster is.",
    ),
    Dataset(
        name="snli",
        title="SNLI",
        cluster=CLUSTER,
        tfds="snli:1.1.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=functools.partial(
            _read_pair, answers=_SNLI_OPTIONS, standings=(_ENTAILED, _OPEN, _CONTRADICTED)
        ),
        fields=_PAIR_FIELDS,
        kept=("hypothesis", "claim"),
        plain=_PAIR_PLAIN,
        instruction="Decide whether a sentence is true of a scene that another one describes.",
        templates=_SNLI_TEMPLATES,
        options=_SNLI_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="CC-BY-SA-4.0",
        notes="Rows on whose label annotators did not agree (-1) and rows with the hypothesis "
        '"n/a" are dropped.',
    ),
)
