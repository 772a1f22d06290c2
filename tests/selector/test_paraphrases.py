"""Whether wordings of one task find each other, over all of MiniLab and Super-NI.

Figures are printed (`pytest -s`), as by `flan-jax select evaluate --paraphrases`. `reword` says
the same in other words, and turns sentences: such a text has to find its task. MiniLab's own
wordings of a task are another thing: they share no phrase, while tasks of one cluster share their
frames. What is asked of an encoder there is what it had when this was written, less a little.
"""

import re

import pytest

from flan_jax.errors import DataError
from flan_jax.selector import paraphrases
from flan_jax.selector.encoders import LEXICAL, Embedder, get_encoder
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import Selector, Target, all_instructions
from flan_jax.selector.sentence_models import default_folder
from flan_jax.selector.sources import load_library

REWORDED = {
    "in this task": "here", "you are given": "you get", "you're given": "you get",
    "you will be given": "you are going to see", "your task is to": "what is wanted is to",
    "your job is to": "what is wanted is to", "you need to": "you have to",
    "you should": "you have to", "you must": "you have to", "make sure": "take care",
    "note that": "mind that", "based on": "going by", "for example": "say", "such as": "like",
    "given": "shown", "provided": "supplied", "following": "next", "generate": "write",
    "create": "make up", "construct": "make up", "produce": "write", "output": "write",
    "classify": "sort", "determine": "decide", "identify": "find", "find": "look for",
    "indicate": "say", "return": "give back", "provide": "give", "choose": "pick",
    "select": "pick", "detect": "notice", "convert": "turn", "describes": "tells of",
    "describe": "tell of", "answer": "reply", "answers": "replies", "question": "query",
    "questions": "queries", "sentence": "line of text", "sentences": "lines of text",
    "passage": "text", "paragraph": "text", "article": "report", "review": "opinion",
    "reviews": "opinions", "word": "term", "words": "terms", "statement": "claim",
    "label": "mark", "correct": "right", "incorrect": "wrong", "whether": "if",
    "otherwise": "else", "contains": "has", "containing": "with", "contain": "have",
    "two": "a pair of", "short": "brief", "also": "too", "only": "nothing but",
    "about": "on", "between": "among", "related": "connected", "context": "background",
    "same": "identical", "different": "unlike", "list": "row", "number": "figure",
    "conversation": "talk", "dialogue": "talk", "story": "tale", "person": "human",
    "positive": "good", "negative": "bad", "language": "tongue", "summary": "digest",
    "title": "headline", "please": "kindly",
}  # fmt: skip
_LONGEST_FIRST = sorted(REWORDED, key=len, reverse=True)
_PATTERN = re.compile(rf"\b({'|'.join(map(re.escape, _LONGEST_FIRST))})\b", re.IGNORECASE)


def reword(text):
    first, *others = re.split(r"(?<=[.?!])\s+", text)
    return _PATTERN.sub(lambda match: REWORDED[match[0].lower()], " ".join([*others, first]))


def embedder(name, library):
    return Embedder(get_encoder(name, all_instructions(library)), keep=False)


ENCODERS = [
    pytest.param(LEXICAL, 0.15, 0.38, id="lexical"),
    pytest.param(None, 0.20, 0.47, id="installed", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("encoder", "first", "among_five"), ENCODERS)
def test_wordings_of_minilab(encoder, first, among_five):
    if encoder is None and default_folder() is None:
        pytest.skip("no sentence-transformers model on this machine")
    library = load_library("tasks.minilab")
    made = embedder(encoder, library)
    plain = paraphrases.find(library, made, Parameters())
    within = paraphrases.find(library, made, Parameters(transform="within"))
    for found in (plain, within):
        print(f"\n{encoder}: {found.first:.1%}, {found.among_five:.1%}, {found.cluster:.1%}")
        assert found.asked == len(all_instructions(library))
        assert found.first >= first and found.among_five >= among_five and found.cluster >= 0.75
    assert within.among_five > plain.among_five


@pytest.mark.parametrize(
    ("name", "encoder", "first", "among_five"),
    [
        ("minilab", LEXICAL, 0.95, 0.98),
        ("super_ni", LEXICAL, 0.95, 0.98),
        pytest.param("minilab", None, 0.80, 0.93, marks=pytest.mark.slow),
        pytest.param("super_ni", None, 0.93, 0.98, marks=pytest.mark.slow),
    ],
)
def test_reworded_instructions(shared_data, name, encoder, first, among_five):
    if encoder is None and default_folder() is None:
        pytest.skip("no sentence-transformers model on this machine")
    library = load_library({"minilab": "tasks.minilab"}.get(name, f"super_ni:{shared_data}/{name}"))
    own = set(all_instructions(library))
    other = Library.of(
        (
            LibraryTask(task.name, kept)
            for task in library.tasks
            if (
                kept := tuple(
                    dict.fromkeys(t for t in map(reword, task.instructions) if t not in own)
                )
            )
        ),
        "other",
    )
    asked = len(all_instructions(other))
    assert asked > 0.95 * len(own) and len(other.tasks) > 0.95 * len(library.tasks)
    found = paraphrases.find(
        library, embedder(encoder, library), Parameters(aggregation="max"), other
    )
    print(f"\n{name}, {encoder}: {found.first:.1%}, {found.among_five:.1%} of {asked}")
    for missed in found.missed[:5]:
        print("  ", *missed, sep=" | ")
    assert found.asked == asked
    assert found.first >= first and found.among_five >= among_five


def tiny(**instructions):
    return Library.of((LibraryTask(name, tuple(v)) for name, v in instructions.items()), "tiny")


def test_a_wording_is_not_found_by_itself():
    library = tiny(
        add=["Add the two numbers.", "Give the sum of both numbers."],
        sort=["Sort all words.", "Order these words by the alphabet."],
        one=["Translate into French."],
    )
    found = paraphrases.find(library, embedder(LEXICAL, library), Parameters())
    assert found.asked == 4 and found.tasks == 3 and found.first == 1.0 and not found.missed
    assert found.chance == pytest.approx(1 / 3)
    swapped = tiny(
        add=["Add the two numbers.", "Order all words by the alphabet."],
        sort=["Sort all words.", "Give the sum of the two numbers."],
    )
    found = paraphrases.find(swapped, embedder(LEXICAL, swapped), Parameters())
    assert found.first == 0 and len(found.missed) == 4


def test_equal_instructions_of_two_tasks_count_for_either():
    library = tiny(a=["Write a title."], b=["Write a title."], c=["Count the letters."])
    asked = tiny(a=["Write a good title."], b=["Write one title."])
    found = paraphrases.find(library, embedder(LEXICAL, library), Parameters(), asked)
    assert found.asked == 2 and found.first == 1.0


def test_what_cannot_be_asked_is_refused():
    library = tiny(add=["Add the numbers."], sort=["Sort the words."])
    with pytest.raises(DataError, match="no task has two instructions"):
        paraphrases.find(library, embedder(LEXICAL, library), Parameters())
    with pytest.raises(DataError, match="'addd'.*did you mean 'add'"):
        paraphrases.find(library, embedder(LEXICAL, library), Parameters(), tiny(addd=["x"]))


def test_all_p3_targets_embed_every_instruction_once(shared_data, tmp_path):
    library = load_library(f"promptsource:{shared_data}/promptsource")
    made = Embedder(get_encoder(LEXICAL, all_instructions(library)), root=str(tmp_path))
    selector = Selector(library, made)
    for task in library.tasks:
        selector.select([Target.of_task(task)], Parameters(k=5, bootstrap=0))
    assert made.encoded == len(set(all_instructions(library)))
    again = Embedder(get_encoder(LEXICAL, all_instructions(library)), root=str(tmp_path))
    assert (again.embed(all_instructions(library)) == selector._raw).all()
    assert again.encoded == 0


def test_some_tasks_are_asked_among_all():
    library = tiny(
        add=["Add the two numbers.", "Give the sum of both numbers."],
        sort=["Sort all words.", "Order these words by the alphabet."],
    )
    made = embedder(LEXICAL, library)
    found = paraphrases.find(library, made, Parameters(), asked_tasks=["sort"])
    assert found.asked == 2 and found.tasks == 2
    with pytest.raises(DataError, match="none can be asked"):
        paraphrases.find(library, made, Parameters(), asked_tasks=[])
