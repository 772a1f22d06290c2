"""Commonsense: which of several continuations, causes or methods is the plausible one?"""

import re
from typing import Any

from flan_jax import metrics
from tasks.flan.common import Dataset, Row, Template, choose, splits, tidy

CLUSTER = "commonsense"


# By COPA's `question`: how to ask for it, what it is, and the word that links the sentences.
_COPA_WORDS = {
    "cause": ("What was the cause of this?", "why it happened", "because"),
    "effect": ("What happened as a result?", "what came of it", "so"),
}


def _read_copa(row: Row) -> dict[str, Any] | None:
    chosen = choose([tidy(row["choice1"]), tidy(row["choice2"])], int(row["label"]))
    premise, relation = tidy(row["premise"]), str(row["question"])
    if chosen is None or not premise:
        return None
    question, asked, link = _COPA_WORDS[relation]
    opening = f"{premise.rstrip('.!?')} {link}"
    fields = {"premise": premise, "relation": relation, "question": question}
    return {**fields, "asked": asked, "opening": opening, **chosen}


_COPA_TEMPLATES = (
    Template("{premise} {question}\n\n{options_}", "{answer}"),
    Template(
        "Here is something that happened: {premise}\n\n"
        "Which of the sentences below is its more plausible {relation}?\n{options_}",
        "{answer}",
    ),
    Template(
        "Finish the thought with the alternative that makes better sense.\n\n"
        "{opening} ...\n\n{options_}",
        "{answer}",
    ),
    Template(
        "I'll tell you about an event, and you tell me {asked}.\n\n{premise}\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Event: {premise}\nWanted: the {relation} of the event\n\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "This is a test of common sense. Read the statement, then pick the likelier {relation} "
        'from the two on offer.\n\nStatement: "{premise}"\n{options_}',
        "{answer}",
    ),
    Template(
        "{options_}\n\nOne of these two goes with the following sentence as its {relation}. Copy "
        "out the right one.\n\n{premise}",
        "{answer}",
    ),
    Template(
        'A child hears you say "{premise}" and wants to know: "{question}" Choose the answer '
        "that you would give.\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Something happened, and this was its {relation}: {answer}\n\n"
        "Write one sentence that says what happened.",
        "{premise}",
        reversed=True,
    ),
    Template(
        "First sentence: {premise}\nSecond sentence: {answer}\n\nIs the second sentence the cause "
        "or the effect of the first? Reply with one word.",
        "{relation}",
        reversed=True,
    ),
)

_HELLASWAG_MARKER = re.compile(r"\[ ?(?:header|title|step|substeps?) ?\]")


def _without_markers(text: str) -> str:
    """Returns text without WikiHow's markers; a heading gets the full stop it lacks."""
    parts = [tidy(part) for part in _HELLASWAG_MARKER.split(text)]
    parts = [part for part in parts if part]
    closed = [p if re.search(r"[.!?:;,\"')]$", p) else f"{p}." for p in parts[:-1]]
    return " ".join(closed + parts[-1:])


def _read_hellaswag(row: Row) -> dict[str, Any] | None:
    chosen = choose([_without_markers(ending) for ending in row["endings"]], int(row["label"]))
    # Where the first clip of a video is described, the text before it is a lone full stop.
    context = _without_markers(row["context"]).removeprefix(".").lstrip()
    activity = tidy(row["activity_label"])
    if chosen is None or not context or not activity:
        return None
    return {"context": context, "activity": activity, **chosen}


_HELLASWAG_TEMPLATES = (
    Template("{context}\n\nHow does this text most likely go on?\n{options_}", "{answer}"),
    Template(
        "Topic: {activity}\n\n{context} ...\n\nChoose the continuation that makes sense.\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "The passage below breaks off. Which of the endings belongs to it?\n\n{context}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        'You are editing captions and how-to articles on the subject "{activity}". The end of one '
        "of them has gone missing:\n\n{context}\n\nPut back the part that was lost.\n{options_}",
        "{answer}",
    ),
    Template("What comes next?\n\n{context}\n{options_}", "{answer}"),
    Template(
        "Read this beginning: {context}\n\nAll but one of the endings listed here would be absurd "
        "in the circumstances. Give the one that would not.\n\n{options_}",
        "{answer}",
    ),
    Template(
        "Using what you know of everyday life, complete the description.\n\n"
        "Subject: {activity}\nSo far: {context}\n\n{options_}\nEnding:",
        "{answer}",
    ),
    Template(
        '"{context}"\n\nThat is where I had to stop reading. Which of these do you think the '
        "author wrote next?\n{options_}",
        "{answer}",
    ),
    Template(
        "{context} {answer}\n\nUnder what heading would you file this text? Name the activity or "
        "subject in a few words.",
        "{activity}",
        reversed=True,
    ),
    Template(
        'Write the beginning of a text about "{activity}" that could be continued like this:\n\n'
        "{answer}",
        "{context}",
        reversed=True,
    ),
)


def _read_story_cloze(row: Row) -> dict[str, Any] | None:
    index = int(row["label"]) - 1
    chosen = choose([tidy(ending) for ending in row["endings"]], index)
    context = tidy(row["context"])
    if chosen is None or not context:
        return None
    wrong = next(option for option in chosen["options"] if option != chosen["answer"])
    return {"context": context, "wrong": wrong, **chosen}


_STORY_CLOZE_TEMPLATES = (
    Template(
        "Read the story and choose the ending that fits.\n\n{context}\n\n{options_}", "{answer}"
    ),
    Template("{context}\n\nHow does the story end?\n{options_}", "{answer}"),
    Template(
        "Four sentences of a five-sentence story are given. Which sentence should be the fifth?"
        "\n\n{context}\n\n{options_}",
        "{answer}",
    ),
    Template(
        'A friend is telling you what happened: "{context}"\n\n'
        "What is your friend most likely to say next?\n{options_}",
        "{answer}",
    ),
    Template(
        "Story: {context}\n\nOnly one of the two endings below agrees with what has happened so "
        "far. Write down that ending.\n{options_}",
        "{answer}",
    ),
    Template(
        "As the editor of a magazine for young readers, you have been sent two last lines for the "
        "same short story. Print the one that makes sense.\n\n{context}\n\n{options_}",
        "{answer}",
    ),
    Template("{context}\n\nNow finish it sensibly.\n\n{options_}", "{answer}"),
    Template(
        "Question 1. Which closing sentence gives the text a coherent ending? Quote the sentence "
        "in full.\n\nText: {context}\n\n{options_}\nAnswer:",
        "{answer}",
    ),
    Template(
        "This is the last sentence of a short story:\n\n{answer}\n\n"
        "Write the four sentences that come before it.",
        "{context}",
        reversed=True,
    ),
    Template(
        "{context}\n\nGive this story a last sentence that leaves the reader puzzled, because it "
        "does not follow from the rest.",
        "{wrong}",
        reversed=True,
    ),
)


def _read_piqa(row: Row) -> dict[str, Any] | None:
    chosen = choose([tidy(row["sol1"]), tidy(row["sol2"])], int(row["label"]))
    goal = tidy(row["goal"])
    return {"goal": goal, **chosen} if chosen and goal else None


# A goal may be a question, a purpose ("To dry boots,"), or just a thing ("sofa").
_PIQA_TEMPLATES = (
    Template("{goal}\n\nWhich of these makes more sense in practice?\n{options_}", "{answer}"),
    Template("Goal: {goal}\n\nWhat is the better way to go about it?\n\n{options_}", "{answer}"),
    Template(
        "The line below is the beginning of a practical tip, or the question that the tip answers. "
        "Of the two ways to go on, pick the one that would hold up in real life.\n\n{goal}\n\n"
        "{options_}",
        "{answer}",
    ),
    Template(
        "Think of how ordinary objects and materials behave. Then answer.\n\n{goal}\n{options_}",
        "{answer}",
    ),
    Template(
        "Somebody typed this into the search box of a do-it-yourself forum:\n\n{goal}\n\n"
        "Two replies came up. Which of them is right?\n{options_}",
        "{answer}",
    ),
    Template(
        "One of the two solutions below is physically sensible, and the other is not.\n\n"
        "Problem: {goal}\n\n{options_}\nSensible solution:",
        "{answer}",
    ),
    Template("Which of the two matches the first line better?\n\n{goal}\n{options_}", "{answer}"),
    Template(
        "{options_}\n\nBoth lines above were offered as an answer to the one below. My "
        "grandmother, who knew how things work, would have chosen only one. Copy that one.\n\n"
        "{goal}",
        "{answer}",
    ),
    Template(
        "A handyman gives you this tip:\n\n{answer}\n\nWhat is it good for? State the aim, or the "
        "question that it answers.",
        "{goal}",
        reversed=True,
    ),
    Template(
        'The second half of an entry in a household handbook reads: "{answer}" Write the first '
        "half, which says what the entry is about.",
        "{goal}",
        reversed=True,
    ),
)

DATASETS = (
    Dataset(
        name="copa",
        title="COPA",
        cluster=CLUSTER,
        tfds="super_glue/copa:1.0.2",
        splits=splits("train[:-50]", "train[-50:]", "validation"),
        read=_read_copa,
        fields=("premise", "relation", "question", "asked", "opening"),
        plain="{opening}",
        instruction="Choose the more plausible cause or effect of an event.",
        templates=_COPA_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="BSD-2-Clause",
    ),
    Dataset(
        name="hellaswag",
        title="HellaSwag",
        cluster=CLUSTER,
        tfds="hellaswag:1.1.0",
        splits=splits("train[:30000]", "train[-200:]", "validation"),
        read=_read_hellaswag,
        fields=("context", "activity"),
        plain="{context}",
        instruction="Choose the continuation of a text that makes sense.",
        templates=_HELLASWAG_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        licence="MIT",
        notes=(
            "WikiHow's markers such as [header] and [step] are removed, and a heading before one "
            "gets a full stop, so that headings do not run into the text; the lone full stop that "
            "opens some descriptions of videos is removed. Rows whose endings are equal after "
            "that are dropped. Endings may begin with a comma: they continue a clause."
        ),
    ),
    Dataset(
        name="story_cloze",
        title="Story Cloze Test",
        cluster=CLUSTER,
        tfds="story_cloze/2016:1.0.0",
        splits=splits("validation[:-200]", "validation[-200:]", "test"),
        read=_read_story_cloze,
        fields=("context", "wrong"),
        plain="{context}",
        instruction="Choose the sentence that ends a short story.",
        templates=_STORY_CLOZE_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        notes=(
            "Labels count from 1 in the source. The data is a manual download (a form at the "
            "University of Rochester); it has no training split, so most of its validation split "
            "is trained on."
        ),
    ),
    Dataset(
        name="piqa",
        title="PIQA",
        cluster=CLUSTER,
        tfds="piqa:1.0.0",
        splits=splits("train[:-100]", "train[-100:]", "validation"),
        read=_read_piqa,
        fields=("goal",),
        plain="{goal}",
        instruction="Choose the solution that would work in the physical world.",
        templates=_PIQA_TEMPLATES,
        own_options=True,
        metrics=(metrics.exact_match_metric,),
        notes="Runs of white space inside goals and solutions are folded.",
    ),
)
