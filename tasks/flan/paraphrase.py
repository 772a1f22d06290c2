"""Paraphrase: do two texts say the same?"""

import re

from flan_jax import metrics
from tasks.flan.common import Dataset, Fields, Row, Template, splits, texts

CLUSTER = "paraphrase"

_OPTIONS = ("no", "yes")  # TFDS: 1 is a paraphrase or a duplicate, in all three
_SCORES = tuple("012345")


def _judged(row: Row, pair: Fields, relations: tuple[str, str]) -> Fields | None:
    """Fields of a labelled pair; `relations` is what "relation" says of labels 0 and 1."""
    label = int(row["label"])
    if label < 0 or not all(pair.values()):
        return None
    return {**pair, "relation": relations[label], "answer": _OPTIONS[label]}


def _read_mrpc(row: Row) -> Fields | None:
    pair = texts(row, sentence1="sentence1", sentence2="sentence2")
    return _judged(row, pair, ("not a paraphrase of", "a paraphrase of"))


def _read_qqp(row: Row) -> Fields | None:
    pair = texts(row, question1="question1", question2="question2")
    for name, text in pair.items():  # CSV's quotes: around a question, and doubled within
        if re.fullmatch(r'"(?:[^"]|"")*""(?:[^"]|"")*"', text):
            text = text[1:-1]
        pair[name] = text.replace('""', '"').strip()
    return _judged(row, pair, ("asks something other than", "asks the same thing as"))


def _read_paws(row: Row) -> Fields | None:
    pair = texts(row, sentence1="sentence1", sentence2="sentence2")
    return _judged(row, pair, ("differ in meaning", "mean the same"))


def _read_stsb(row: Row) -> Fields | None:
    pair = texts(row, sentence1="sentence1", sentence2="sentence2")
    score = float(row["label"])
    if score < 0 or not all(pair.values()):
        return None
    return {**pair, "answer": _SCORES[round(score)]}


_MRPC_TEMPLATES = (
    Template(
        "{sentence1}\n\n{sentence2}\n\nDo these two sentences mean the same thing?\n{options_}",
        "{answer}",
    ),
    Template(
        "First sentence: {sentence1}\nSecond sentence: {sentence2}\n\n"
        "Is the second a paraphrase of the first?\n{options_}",
        "{answer}",
    ),
    Template(
        "Two news agencies report as follows.\n\nAgency A: {sentence1}\nAgency B: {sentence2}\n\n"
        "Are they telling us the same in different words?\n\n{options_}",
        "{answer}",
    ),
    Template(
        'Would it be right to call "{sentence1}" and "{sentence2}" equivalent?\n{options_}',
        "{answer}",
    ),
    Template(
        "Compare the sentences and decide whether one could replace the other in an article "
        "without changing what readers learn from it.\n\n1. {sentence1}\n2. {sentence2}\n\n"
        "{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "An editor cuts sentences that merely repeat what has been said. The article already has "
        "this one:\n{sentence1}\n\nA reporter adds another:\n{sentence2}\n\n"
        "Does it merely repeat the first?\n{options_}",
        "{answer}",
    ),
    Template(
        "Same content? Answer yes or no.\n(a) {sentence2}\n(b) {sentence1}\n{options_}", "{answer}"
    ),
    Template(
        "{sentence1}\nIn other words: {sentence2}\n\n"
        'Is it fair to say "in other words" here?\n{options_}',
        "{answer}",
    ),
    Template(
        "Write a sentence on the same piece of news as the given one, equivalent to it in meaning "
        "or not, as stated.\n\nGiven: {sentence1}\nEquivalent: {answer}\nYours:",
        "{sentence2}",
        reversed=True,
    ),
    Template(
        "This is the second of two sentences from the news, and it is {relation} the first:\n"
        "{sentence2}\n\nWhat may the first one have been?",
        "{sentence1}",
        reversed=True,
    ),
)

_QQP_TEMPLATES = (
    Template(
        "{question1}\n{question2}\n\nDo these two questions ask the same thing?\n{options_}",
        "{answer}",
    ),
    Template(
        "Question 1: {question1}\nQuestion 2: {question2}\n\n"
        "Are the questions duplicates of each other?\n{options_}",
        "{answer}",
    ),
    Template(
        'Someone wants to post "{question1}" on Quora. Has it been asked before, as '
        '"{question2}"?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "You moderate a forum where posts that ask what others have asked already are merged with "
        "the older ones.\n\nOlder post: {question1}\nNew post: {question2}\n\n"
        "Should the new post be merged?\n{options_}",
        "{answer}",
    ),
    Template(
        "Two people each have a question.\n\nJo: {question1}\nSam: {question2}\n\n"
        "Do Jo and Sam want to know the same?\n{options_}",
        "{answer}",
    ),
    Template(
        'quick check: is "{question2}" just another way of asking "{question1}"?\n{options_}',
        "{answer}",
    ),
    Template(
        "Duplicate detection: reply yes where both questions have the same intent, no where "
        "their intents differ.\n\nA: {question1}\nB: {question2}\n\n{options_}\nDuplicate:",
        "{answer}",
    ),
    Template(
        "Would any full answer to question (1) be a full answer to question (2), and vice versa?"
        "\n\n(1) {question1}\n(2) {question2}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Think of a question that {relation} this one:\n{question1}", "{question2}", reversed=True
    ),
    Template(
        "To test a search engine we collect pairs of questions.\n\nDuplicates: {answer}\n"
        "Second question: {question2}\n\nSupply the first question of the pair.",
        "{question1}",
        reversed=True,
    ),
)

_PAWS_TEMPLATES = (
    Template(
        "Sentence A: {sentence1}\nSentence B: {sentence2}\n\n"
        "Do A and B have the same meaning?\n{options_}",
        "{answer}",
    ),
    Template(
        "{sentence1}\n{sentence2}\n\nThe two sentences above share most of their words. Do they "
        "also state the same facts?\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Watch closely who does what, and in which order: is the second sentence a true "
        "paraphrase of the first?\n\n1) {sentence1}\n2) {sentence2}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "In an online encyclopedia somebody has replaced\n\n{sentence1}\n\nby\n\n{sentence2}\n\n"
        "Does the article still say the same?\n{options_}",
        "{answer}",
    ),
    Template(
        "I'll tell you something: {sentence1}\nAnd something else: {sentence2}\n"
        "Or have I just told you the same thing twice?\n\n{options_}",
        "{answer}",
    ),
    Template("Paraphrases, yes or no?\n{sentence2}\n{sentence1}\n{options_}", "{answer}"),
    Template(
        "A pupil was told to reword a sentence without altering its sense.\n\n"
        "Original: {sentence1}\nPupil's version: {sentence2}\n\n"
        "Has the sense been kept?\n{options_}",
        "{answer}",
    ),
    Template(
        'Can "{sentence2}" stand in for "{sentence1}" with nothing lost or changed?\n\n{options_}',
        "{answer}",
    ),
    Template(
        "Rewrite the sentence below, keeping most of its words.\n\nSentence: {sentence1}\n"
        "Should the new sentence mean the same? {answer}\nNew sentence:",
        "{sentence2}",
        reversed=True,
    ),
    Template(
        "{sentence2}\n\nThis was made out of another sentence with much the same words, and the "
        "two {relation}. Write down the other sentence.",
        "{sentence1}",
        reversed=True,
    ),
)

_STSB_TEMPLATES = (
    Template(
        "{sentence1}\n{sentence2}\n\nOn a scale from 0 (nothing in common) to 5 (the same "
        "meaning), how similar are these two sentences?\n{options_}",
        "{answer}",
    ),
    Template(
        "Rate how close two texts are in meaning. Use a whole number from 0 to 5, where 5 stands "
        "for equivalent texts and 0 for unrelated ones.\n\nText 1: {sentence1}\n"
        "Text 2: {sentence2}\n\n{options_}\nRating:",
        "{answer}",
    ),
    Template(
        'How alike are "{sentence1}" and "{sentence2}" in what they say? Give a mark out of 5.\n\n'
        "{options_}",
        "{answer}",
    ),
    Template(
        "You sit on a panel that scores pairs of sentences. A pair gets 0 points when the two are "
        "about different things, 5 when they say exactly the same, and something in between when "
        "they share a part of their content.\n\nLeft: {sentence1}\nRight: {sentence2}\n\n"
        "How many points do you give?\n{options_}",
        "{answer}",
    ),
    Template(
        "Similarity score from 0 to 5?\n\n* {sentence1}\n* {sentence2}\n\n{options_}", "{answer}"
    ),
    Template(
        "Pick a number between 0 and 5. The more the first sentence agrees in content with the "
        "second, the higher your number should be.\n\n(i) {sentence2}\n(ii) {sentence1}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "One witness said: {sentence1}\nAnother witness said: {sentence2}\n\nHow far do they "
        "report the same thing? 5 means entirely, 0 means not at all; reply with a number."
        "\n{options_}",
        "{answer}",
    ),
    Template(
        "Task: semantic textual similarity\nScale: 0 (unrelated) to 5 (equivalent)\n"
        "First: {sentence1}\nSecond: {sentence2}\n\n{options_}\nScore:",
        "{answer}",
    ),
    Template(
        "Write a sentence whose likeness in meaning to the one below would be put at {answer} out "
        "of 5.\n\n{sentence1}",
        "{sentence2}",
        reversed=True,
    ),
    Template(
        "Two sentences were compared. For similarity of meaning they got the score {answer}, on a "
        "scale from 0 (unrelated) to 5 (equivalent). One of them is:\n{sentence2}\n\n"
        "Give the other.",
        "{sentence1}",
        reversed=True,
    ),
)

DATASETS = (
    Dataset(
        name="glue_mrpc",
        title="MRPC",
        cluster=CLUSTER,
        tfds="glue/mrpc:2.0.0",
        splits=splits("train[:-200]", "train[-200:]", "validation"),
        read=_read_mrpc,
        fields=("sentence1", "sentence2", "relation"),
        plain="{sentence1}\n{sentence2}",
        instruction="Decide whether two sentences from the news mean the same.",
        templates=_MRPC_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric, metrics.f1_metric("yes")),
    ),
    Dataset(
        name="glue_qqp",
        title="QQP",
        cluster=CLUSTER,
        tfds="glue/qqp:2.0.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_qqp,
        fields=("question1", "question2", "relation"),
        plain="{question1}\n{question2}",
        instruction="Decide whether two questions ask the same.",
        templates=_QQP_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric, metrics.f1_metric("yes")),
        notes="TFDS leaves the quoting of the CSV in the questions: doubled quotes become one, "
        "and quotes around such a question go. Pairs with an empty question are dropped.",
    ),
    Dataset(
        name="paws_wiki",
        title="PAWS-Wiki",
        cluster=CLUSTER,
        tfds="paws_wiki/labeled_final_tokenized:1.1.0",
        splits=splits("train[:30000]", "validation[:200]", "test"),
        read=_read_paws,
        fields=("sentence1", "sentence2", "relation"),
        plain="{sentence1}\n{sentence2}",
        instruction="Decide whether two sentences with many words in common mean the same.",
        templates=_PAWS_TEMPLATES,
        options=_OPTIONS,
        metrics=(metrics.exact_match_metric,),
        licence="The dataset may be freely used for any purpose, although acknowledgement of "
        'Google LLC ("Google") as the data source would be appreciated.',
        notes="The default config is named, so the sentences stay in tokens.",
    ),
    Dataset(
        name="stsb",
        title="STS-B",
        cluster=CLUSTER,
        tfds="glue/stsb:2.0.0",
        splits=splits("train[:-100]", "train[-100:]", "validation"),
        read=_read_stsb,
        fields=("sentence1", "sentence2"),
        plain="{sentence1}\n{sentence2}",
        instruction="Rate from 0 to 5 how similar two sentences are in meaning.",
        templates=_STSB_TEMPLATES,
        options=_SCORES,
        metrics=(metrics.correlation_metric,),
        notes="A score is rounded to a whole number, halves to the even one, and the answer is "
        "the text of that option, in rank classification too. Correlations are with the rounded "
        "scores, so they are not quite GLUE's.",
    ),
)
