"""MiniLab: answers, balance, splits, wordings, and the same bytes everywhere."""

import collections
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys

import pytest
import seqio

from flan_jax.errors import DataError
from flan_jax.instructions import cards, mixtures
from flan_jax.instructions.vocabulary import load_vocabulary
from tasks import minilab
from tasks.minilab import lab, lexicon

NAMES = sorted(minilab.TASKS)
DRAWN = 1000

# What the definitions say, computed from the shown text by other means than the tasks' own.
CHECKERS = {
    "swap_ends": lambda f: re.sub(r"^(\w+) (.*) (\w+)$", r"\3 \2 \1", f["text"]),
    "repeat_first": lambda f: re.sub(r"^(\w+)(.*)$", r"\1\2 \1", f["text"]),
    "delete_word": lambda f: re.sub(rf"\b{f['word']}\b", "", f["text"]).replace("  ", " ").strip(),
    "last_to_front": lambda f: re.sub(r"^(.*) (\w+)$", r"\2 \1", f["text"]),
    "keep_ends": lambda f: re.sub(r"^(\w+) .* (\w+)$", r"\1 \2", f["text"]),
    "who_has": lambda f: re.search(rf"(\w+) has the {f['thing']}\.", f["passage"])[1],
    "what_has": lambda f: re.search(rf"{f['name']} has the (\w+ \w+)\.", f["passage"])[1],
    "where_is": lambda f: re.search(rf"The {f['thing']} is in the (\w+)\.", f["passage"])[1],
    "next_item": lambda f: re.search(rf"\b{f['word']}, (\w+)", f["items"])[1],
    "check_fact": lambda f: "yes" if f"{f['claim']}." in f["passage"] else "no",
    "first_word": lambda f: re.match(r"\w+", f["text"])[0],
    "last_word": lambda f: re.search(r"\w+$", f["text"])[0],
    "longest_word": lambda f: sorted((len(w), w) for w in f["text"].split())[-1][1],
    "sentiment": lambda f: (
        "negative" if any(w in f["bad"].split(", ") for w in f["text"].split()) else "positive"
    ),
    "in_list": lambda f: "yes" if re.search(rf"\b{f['word']}\b", f["items"]) else "no",
    "same_ends": lambda f: "yes" if re.match(r"^(\w+) .*(?<=\s)\1$", f["text"]) else "no",
}


@pytest.fixture(scope="module")
def rows():
    """Instances by task and split."""
    return {
        (name, split): list(lab.Instances(task, split, count=DRAWN))
        for name, task in minilab.TASKS.items()
        for split in lab.COUNTS
    }


def main_text(name, row):
    return row[minilab.TASKS[name].fields[0]]


def test_the_lexicon_has_no_word_twice():
    tables = (
        lexicon.WORDS, lexicon.NAMES, lexicon.OBJECTS, lexicon.COLOURS, lexicon.PLACES,
    )  # fmt: skip
    counts = collections.Counter(word for table in tables for word in table)
    assert [word for word, count in counts.items() if count > 1] == []


def test_every_task_has_a_checker():
    assert set(CHECKERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_what_the_definition_says(name, rows):
    task = minilab.TASKS[name]
    for split in lab.COUNTS:
        for row in rows[name, split]:
            shown = {field: row[field] for field in task.fields}
            assert row["answer"] == task.rule(shown) == CHECKERS[name](shown)
            assert set(row) == {"id", *task.fields, "answer"}
            assert row["answer"].strip() == row["answer"] and 1 <= len(row["answer"].split()) <= 6


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_disjoint_by_content(name, rows):
    train = {main_text(name, row) for row in rows[name, "train"]}
    for split in ("validation", "test"):
        texts = {main_text(name, row) for row in rows[name, split]}
        assert not train & texts
        assert all(lab.split_of(text) == split for text in texts)
        declared = [main_text(name, row) for row in rows[name, split][: lab.COUNTS[split]]]
        joined = "\n".join(declared)
        assert not [text for text in train if text in joined]
    other_seed = {row["answer"] + main_text(name, row) for row in rows[name, "test"]}
    reseeded = lab.Instances(minilab.TASKS[name], "train", seed=lab.SEED + 1, count=DRAWN)
    assert not other_seed & {row["answer"] + main_text(name, row) for row in reseeded}


@pytest.mark.parametrize("name", [n for n in NAMES if minilab.TASKS[n].labels])
@pytest.mark.parametrize("seed", [lab.SEED, 7])
def test_labels_are_balanced(name, seed):
    task = minilab.TASKS[name]
    for split in lab.COUNTS:
        drawn = [row["answer"] for row in lab.Instances(task, split, seed=seed, count=DRAWN)]
        counts = collections.Counter(drawn)
        assert set(counts) == set(task.labels)
        assert all(0.45 * DRAWN <= count <= 0.55 * DRAWN for count in counts.values())
        # Balance comes from pairs of instances; within a pair the order is drawn.
        firsts = collections.Counter(drawn[::2])
        assert all(0.4 * DRAWN / 2 <= count <= 0.6 * DRAWN / 2 for count in firsts.values())


@pytest.mark.parametrize(
    ("name", "parts"), [("who_has", r"\w+ has"), ("what_has", r"has the \w+ \w+"),
                        ("where_is", r"in the \w+")]
)  # fmt: skip
def test_the_fact_asked_for_stands_anywhere(name, parts, rows):
    places = collections.Counter()
    for row in rows[name, "train"]:
        facts = re.findall(parts, row["passage"])
        places[[row["answer"] in fact.split(" ", 2)[-1] or row["answer"] in fact
                for fact in facts].index(True)] += 1  # fmt: skip
    assert all(DRAWN * 0.28 < places[i] < DRAWN * 0.39 for i in range(3)), places


@pytest.mark.parametrize("name", NAMES)
def test_wordings(name, rows):
    task = minilab.TASKS[name]
    assert len(task.templates) == 10
    assert sum(template.reversed for template in task.templates) <= 3
    assert len(set(task.definitions)) == len(task.definitions) >= 4
    for template in task.templates:
        if not template.reversed:
            assert template.targets == "{answer}"
            assert set(task.fields) <= set(template.fields)
            assert template.has_options == bool(task.labels)
    for row in rows[name, "train"][:20]:
        prompts = [template.render(row, task.labels)[0] for template in task.templates]
        assert len(set(prompts)) == 10
        assert all(5 <= len(prompt.split()) <= 50 for prompt in prompts)


@pytest.mark.parametrize("name", NAMES)
def test_fields_begin_with_a_space_or_the_prompt(name):
    """So that their first word is the piece that it is within a line and in an answer."""
    for template in minilab.TASKS[name].templates:
        glued = re.findall(r"\S\{(?!options_)\w+\}|\n\{(?!options_)\w+\}", template.inputs)
        assert not glued, template


@pytest.mark.parametrize("name", NAMES)
def test_worked_examples(name):
    task = minilab.TASKS[name]
    assert len(task.examples) >= 2
    for example in task.examples:
        assert set(example.fields) == set(task.fields)
        assert task.rule(example.fields) == example.output == CHECKERS[name](example.fields)
        assert example.explanation


@pytest.mark.parametrize("name", NAMES)
def test_cards(name):
    task, card = minilab.TASKS[name], cards.get_card(f"minilab_{name}")
    assert (card.cluster, card.kind, card.options) == (task.cluster, task.kind, task.labels)
    assert card.licence == "Apache-2.0" and card.sources == ("minilab",)
    assert card.module == "tasks.minilab"
    assert card.instructions == task.definitions
    printed = json.loads(json.dumps(card.to_json()))
    assert printed["positive_examples"][0].keys() == {"input", "output", "explanation"}


def test_clusters_and_mixtures():
    clusters = collections.defaultdict(set)
    for task in minilab.TASKS.values():
        clusters[task.cluster].add(task.entry)
    assert len(minilab.TASKS) >= 12 and len(clusters) == 4
    train = {task.name for task in mixtures.member_tasks("minilab_train")}
    heldout = {task.name for task in mixtures.member_tasks("minilab_heldout_clusters")}
    assert train == clusters["string_edits"] | clusters["lookup"]
    assert heldout == clusters["selection"] | clusters["classification"]
    assert set(mixtures.task_rates("minilab_train").values()) == {float(lab.COUNTS["train"])}


def test_a_second_import_changes_nothing():
    before = seqio.TaskRegistry.names()
    importlib.reload(minilab)
    assert seqio.TaskRegistry.names() == before


def test_an_unknown_split_is_named():
    with pytest.raises(DataError, match="no split 'tests'; did you mean 'test'"):
        lab.instance(minilab.TASKS["swap_ends"], "tests", 0)


def test_instances_are_a_sequence_without_limit():
    task = minilab.TASKS["where_is"]
    table = lab.Instances(task, "train")
    assert len(table) == lab.COUNTS["train"]
    assert table[5] == table[3:7][2] == list(table)[5]
    assert table[-1]["id"] == "minilab_where_is/train/999"
    with pytest.raises(IndexError):
        table[1000]
    assert lab.instance(task, "train", 10**9)["id"] == "minilab_where_is/train/1000000000"
    assert lab.instance(task, "train", 0) != lab.instance(task, "train", 0, seed=1)


def test_dice_draw_uniformly():
    dice = lab.Dice("test", 1)
    counts = collections.Counter(tuple(dice.sample("abc", 2)) for _ in range(6000))
    assert len(counts) == 6 and all(880 < count < 1120 for count in counts.values())
    with pytest.raises(ValueError, match="cannot draw 4 of 3"):
        dice.sample("abc", 4)


@pytest.mark.parametrize("mixture", minilab.MIXTURES)
def test_reading_through_seqio(mixture):
    """Rows arrive whole, evaluation prompts are never reversed, and lengths are small."""
    provider = seqio.get_mixture_or_task(mixture)
    reversed_ids = {
        f"minilab_{name}": {f"t{i}" for i, t in enumerate(task.templates) if t.reversed}
        for name, task in minilab.TASKS.items()
    }
    for split in ("validation", "test"):
        seen = 0
        for task in provider.tasks:
            examples = list(task.get_dataset(None, split, shuffle=False).as_numpy_iterator())
            seen += len(examples)
            for example in examples:
                assert example["template"].decode() not in reversed_ids[task.name]
                reference = example["references"].tolist()[0]
                assert example["targets_pretokenized"] == reference
                assert len(example["inputs"]) <= 96 and len(example["targets"]) <= 12
        assert seen == 50 * len(provider.tasks)


def test_reversed_templates_are_trained_on():
    task = seqio.get_mixture_or_task("minilab_delete_word")
    drawn = collections.Counter(
        example["template"].decode()
        for example in task.get_dataset(None, "train", shuffle=False).as_numpy_iterator()
    )
    assert set(drawn) == {f"t{i}" for i in range(10)} and min(drawn.values()) > 60


def test_every_word_is_one_piece_of_the_default_vocabulary():
    """So a small model can copy words, and longest-word stays a question of letters."""
    vocabulary = load_vocabulary("default")
    words = (*lexicon.WORDS, *lexicon.NAMES, *lexicon.OBJECTS, *lexicon.COLOURS, *lexicon.PLACES)
    assert [word for word in words if len(vocabulary.encode(word)) > 1] == []


_DIGESTS = """
import hashlib, json
from tasks import minilab
from tasks.minilab import lab
def digest(task):
    rows = [row for split in lab.COUNTS for row in lab.Instances(task, split, count=100)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
print(json.dumps({name: digest(minilab.TASKS[name]) for name in sorted(minilab.TASKS)[::-1]}))
"""


def test_another_process_makes_the_same_bytes(rows):
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", _DIGESTS],
        env={**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    here = {
        name: hashlib.sha256(
            json.dumps([row for s in lab.COUNTS for row in rows[name, s][:100]]).encode()
        ).hexdigest()
        for name in NAMES
    }
    assert json.loads(done.stdout.splitlines()[-1]) == here
