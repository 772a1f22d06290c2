"""A training mixture and a test task that share what tests plant, and templates."""

import random

import seqio

from flan_jax.instructions import cards, mixtures
from flan_jax.instructions.registration import register_templated_task, rows_source
from flan_jax.instructions.templates import Template

SYLLABLES = ["ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "ra", "so", "ti", "vu"]
ASK = "Read what follows with care and then say in a single word of your own what it is about: "
LETTERS = "Options are letters, and the right one of them has to be given: a, b, c or d."
SHORT = "how many moons has mars"


def words(seed: str, count: int) -> str:
    """Words that no other seed has in this order."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices(SYLLABLES, k=3)) for _ in range(count))


def story(i: int) -> str:
    """Text of a training example."""
    return words(f"story {i}", 30)


def test_text(i: int) -> str:
    """Text of a test, which is planted for some."""
    if i == 3:
        return story(5)
    if i == 7:  # a run of 16 words of a training example, and others around it
        return f"{words('a', 8)} {' '.join(story(9).split()[4:20])} {words('b', 8)}"
    return SHORT if i == 10 else words(f"test {i}", 30)


def fact(i: int) -> str:
    """Text of the other training task."""
    return SHORT if i == 2 else words(f"fact {i}", 7)


TEXTS = {"stories": ("train", 24, story), "facts": ("train", 12, fact),
         "tests": ("test", 16, test_text)}  # fmt: skip
TEMPLATES = [Template(f"{ASK}{{text}}\n{LETTERS}", "{answer}"),
             Template(f"{{text}}\n{ASK}\n{LETTERS}", "{answer}")]  # fmt: skip


def _register(name: str) -> None:
    split, count, text = TEXTS[name]
    rows = [{"id": f"{split}/{i}", "text": text(i), "answer": "abcd"[i % 4]} for i in range(count)]
    register_templated_task(
        cards.Card(
            name=f"overlap_{name}",
            cluster="toys",
            kind="generation",
            instructions=(ASK,),
            module=__name__,
        ),
        source=rows_source(lambda _: rows, {"text": "string", "answer": "string"}, {split: count}),
        fields=["text", "answer"],
        templates=TEMPLATES,
        version="1",
    )


if "overlap_tests" not in seqio.TaskRegistry.names():
    for one in TEXTS:
        _register(one)
    mixtures.register_mixture("overlap_train", ["overlap_stories", "overlap_facts"])
