"""MiniLab: answers, balance, splits, wordings, held-out structure, the same bytes everywhere."""

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
from minilab_checkers import CHECKERS

from flan_jax.errors import DataError
from flan_jax.instructions import cards, mixtures
from flan_jax.instructions.vocabulary import load_vocabulary
from tasks import minilab
from tasks.minilab import composition, lab, lexicon, structure, text

NAMES = sorted(minilab.TASKS)
DRAWN = 1000


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
        lexicon.FOREIGN,
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
            assert row["answer"].strip() == row["answer"] and 1 <= len(row["answer"].split()) <= 14


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_disjoint_by_content(name, rows):
    train = {main_text(name, row) for row in rows[name, "train"]}
    for split in ("validation", "test"):
        texts = {main_text(name, row) for row in rows[name, split]}
        assert not train & texts
        assert all(lab.split_of(text) == split for text in texts)
    tested = {row["answer"] + main_text(name, row) for row in rows[name, "test"]}
    reseeded = lab.Instances(minilab.TASKS[name], "train", seed=lab.SEED + 1, count=DRAWN)
    assert not tested & {row["answer"] + main_text(name, row) for row in reseeded}


def test_no_text_of_any_training_instance_is_evaluated_on(rows):
    """Across tasks as well: what one task trains on, no other is tested on."""
    trained = {main_text(name, row) for name in NAMES for row in rows[name, "train"]}
    evaluated = {
        main_text(name, row)
        for name in NAMES for split in ("validation", "test") for row in rows[name, split]
    }  # fmt: skip
    assert len(trained) > 50_000 and len(evaluated) > 100_000 and not trained & evaluated


@pytest.mark.parametrize("name", [n for n in NAMES if minilab.TASKS[n].labels])
@pytest.mark.parametrize("seed", [lab.SEED, 7])
def test_labels_are_balanced(name, seed):
    """Two labels within 45 to 55 %, more of them likewise within a tenth of an equal share."""
    labels = minilab.TASKS[name].labels
    for split in lab.COUNTS:
        drawn = [
            row["answer"]
            for row in lab.Instances(minilab.TASKS[name], split, seed=seed, count=DRAWN)
        ]
        shares = {label: drawn.count(label) * len(labels) / DRAWN for label in set(drawn)}
        assert set(shares) == set(labels)
        assert all(0.9 <= share <= 1.1 for share in shares.values())
        # Balance comes from runs of instances; within a run the order is drawn.
        firsts = collections.Counter(drawn[:: len(labels)])
        equal = DRAWN / len(labels) ** 2
        assert all(0.7 * equal <= count <= 1.3 * equal for count in firsts.values())


@pytest.mark.parametrize("name", NAMES)
def test_wordings(name, rows):
    task = minilab.TASKS[name]
    assert len(task.templates) == 10
    assert sum(template.reversed for template in task.templates) <= 3
    assert len(set(task.definitions)) == len(task.definitions) >= 4
    assert len(task.new_wordings) == (3 if name in structure.TRAIN else 0)
    wordings = (*task.templates, *task.new_wordings)
    for template in wordings:
        if not template.reversed:
            assert template.targets == "{answer}"
            assert set(task.fields) <= set(template.fields)
            assert template.has_options == bool(task.labels)
    assert not any(template.reversed for template in task.new_wordings)
    for row in rows[name, "train"][:20]:
        prompts = [template.render(row, task.labels)[0] for template in wordings]
        assert len(set(prompts)) == len(wordings)
        assert all(5 <= len(prompt.split()) <= 72 for prompt in prompts)


@pytest.mark.parametrize("name", NAMES)
def test_fields_begin_with_a_space_or_the_prompt(name):
    """So that their first word is the piece that it is within a line and in an answer."""
    task = minilab.TASKS[name]
    for template in (*task.templates, *task.new_wordings):
        glued = re.findall(r"\S\{(?!options_)\w+\}|\n\{(?!options_)\w+\}", template.inputs)
        assert not glued, template


def test_no_wording_stands_for_two_tasks():
    """A prompt that two tasks share would have two answers, and a new wording is nowhere else."""
    owners = collections.defaultdict(set)
    for name, task in minilab.TASKS.items():
        for template in (*task.templates, *task.new_wordings):
            owners[template.inputs, template.targets].add(name)
    assert {pair: names for pair, names in owners.items() if len(names) > 1} == {}
    trained = {t.inputs for name in structure.TRAIN for t in minilab.TASKS[name].templates}
    new = [t.inputs for name in structure.TRAIN for t in minilab.TASKS[name].new_wordings]
    assert len(set(new)) == len(new) and not set(new) & trained


@pytest.mark.parametrize("name", NAMES)
def test_worked_examples(name):
    task = minilab.TASKS[name]
    assert len(task.examples) >= 2 and task.negatives
    for example in (*task.examples, *task.negatives):
        assert set(example.fields) == set(task.fields)
        assert example.explanation
    for example in task.examples:
        assert task.rule(example.fields) == example.output == CHECKERS[name](example.fields)
    for example in task.negatives:
        assert task.rule(example.fields) != example.output


@pytest.mark.parametrize("name", NAMES)
def test_cards(name):
    task, card = minilab.TASKS[name], cards.get_card(f"minilab_{name}")
    assert (card.cluster, card.kind, card.options) == (task.cluster, task.kind, task.labels)
    assert card.licence == "Apache-2.0" and card.sources == (card.name,)
    assert card.module == "tasks.minilab"
    assert card.instructions == task.definitions
    assert cards.get_card(f"minilab_{name}_input") is card
    assert task.skills and set(task.skills) <= set(lab.SKILLS)
    printed = json.loads(json.dumps(card.to_json()))
    for kind in ("positive_examples", "negative_examples"):
        assert printed[kind][0].keys() == {"input", "output", "explanation"}
    assert printed["things_to_avoid"] and printed["emphasis"]


def test_sizes_and_held_out_structure():
    assert len(minilab.TASKS) >= 60 and len(structure.CLUSTERS) >= 12
    held = [*structure.HELDOUT_CLUSTERS, *structure.HELDOUT_TASKS, *structure.COMPOSITIONS]
    assert len(held) == len(set(held)) and not set(held) & set(structure.TRAIN)
    assert {*held, *structure.TRAIN} == set(NAMES)
    cluster_of = {name: task.cluster for name, task in minilab.TASKS.items()}
    trained = {cluster_of[name] for name in structure.TRAIN}
    assert not trained & {cluster_of[name] for name in structure.HELDOUT_CLUSTERS}
    assert {cluster_of[name] for name in structure.HELDOUT_TASKS} <= trained
    assert all(
        set(structure.DEMO_STRUCTURES[kind]) <= set(names)
        for kind, names in structure.STRUCTURES.items()
    )
    assert set(structure.DEMO_TRAIN) <= set(structure.TRAIN)
    assert 12 <= len(structure.DEMO_TRAIN) <= 16


def test_steps_of_held_out_compositions_are_trained_on():
    """Alone and, in the same place, within other pairs; in the slice of the demo as well."""
    for train, pairs in (
        (structure.TRAIN, structure.COMPOSITIONS),
        (structure.DEMO_TRAIN, structure.DEMO_STRUCTURES["compositions"]),
    ):
        firsts, seconds = zip(
            *(name.split("_then_") for name in train if "_then_" in name), strict=True
        )
        for first, second in (name.split("_then_") for name in pairs):
            assert composition.STEPS[first].task in train
            assert composition.STEPS[second].task in train
            if train is structure.TRAIN:
                assert first in firsts and second in seconds


def test_no_two_line_tasks_do_the_same(rows):
    """What looks alike differs in its rule: without the instruction the answer is undetermined."""
    lines = [row["text"] for row in rows["reverse_words", "test"][:100]]
    alike = [
        name for name, task in minilab.TASKS.items()
        if (task.fields, task.layout) == (("text",), "{text}") and not task.labels
    ]  # fmt: skip
    assert len(alike) > 40
    answers = {name: [minilab.TASKS[name].rule({"text": x}) for x in lines] for name in alike}
    for name in alike:
        for other in alike:
            if name < other and any(answers[name]) and any(answers[other]):
                same = sum(a == b != "" for a, b in zip(answers[name], answers[other], strict=True))
                assert same <= 60, (name, other)


def test_most_trained_tasks_conflict_with_another_and_have_related_and_unrelated_ones():
    conflicts = {name: structure.conflicting(name) for name in structure.TRAIN}
    assert sum(bool(others) for others in conflicts.values()) >= 0.7 * len(structure.TRAIN)
    for name in NAMES:
        related = structure.related([name])
        assert related and len(related) < len(structure.TRAIN) - 1
        assert name not in related and not set(related) - set(structure.TRAIN)


def test_mixtures():
    def members(name):
        return {task.name for task in mixtures.member_tasks(name)}

    train = members("minilab_train")
    worded = {f"minilab_{name}" for name in structure.TRAIN}
    assert train == worded | {f"{name}_defined" for name in worded}
    for structure_name, names in structure.STRUCTURES.items():
        suffix = "_new_wordings" if structure_name == "new_wordings" else ""
        for prefix, own in (
            ("minilab", names), ("minilab_demo", structure.DEMO_STRUCTURES[structure_name])
        ):  # fmt: skip
            assert members(f"{prefix}_{structure_name}") == {f"minilab_{n}{suffix}" for n in own}
            assert not members(f"{prefix}_{structure_name}") & train
    nested = [members(f"minilab_train_{n}tasks") for n in structure.NUMBERS_OF_TASKS]
    assert [len(names) for names in nested] == [16, 32, 64, 2 * len(structure.TRAIN)]
    assert all(small < large for small, large in zip(nested, nested[1:], strict=False))
    assert nested[-1] == train
    assert {f"{n}_input" for n in worded} == members("minilab_train_input")
    assert members("minilab_demo_specialist") < members("minilab_demo_train")
    assert set(mixtures.task_rates("minilab_train").values()) == {float(lab.COUNTS["train"])}


def test_the_laboratory_is_the_frozen_one():
    """Published figures refer to it. A change on purpose bumps lab.VERSION and FINGERPRINT, and
    makes the base model, the figures in the docs and the curves anew."""
    assert structure.fingerprint() == structure.frozen_fingerprint()


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
    assert table[-1]["id"] == f"minilab_where_is/train/{lab.COUNTS['train'] - 1}"
    with pytest.raises(IndexError):
        table[lab.COUNTS["train"]]
    assert lab.instance(task, "train", 10**9)["id"] == "minilab_where_is/train/1000000000"
    assert lab.instance(task, "train", 0) != lab.instance(task, "train", 0, seed=1)


def test_dice_draw_uniformly():
    dice = lab.Dice("test", 1)
    counts = collections.Counter(tuple(dice.sample("abc", 2)) for _ in range(6000))
    assert len(counts) == 6 and all(880 < count < 1120 for count in counts.values())
    with pytest.raises(ValueError, match="cannot draw 4 of 3"):
        dice.sample("abc", 4)


@pytest.mark.parametrize(
    "mixture", ["minilab_train", *(f"minilab_{name}" for name in structure.STRUCTURES)]
)
def test_reading_through_seqio(mixture):
    """Rows arrive whole, evaluation prompts are never reversed, and lengths are small."""
    provider = seqio.get_mixture_or_task(mixture)
    # A pipeline of tf.data takes a second to make; tasks of a cluster differ in their rows alone,
    # which other tests read.
    by_cluster = {cards.get_card(task.name).cluster: task for task in reversed(provider.tasks)}
    defined = [task for task in provider.tasks if task.name.endswith("_defined")]
    for task in [*by_cluster.values(), *defined]:
        if task.name.endswith("_defined"):
            assert set(task.splits) == {"train"}
            continue
        templates = cards.get_card(task.name).templates
        turned = {f"t{i}" for i, one in enumerate(templates) if one["reversed"]}
        if task.name.endswith("_new_wordings"):
            turned = set()
        examples = list(task.get_dataset(None, "test", shuffle=False).as_numpy_iterator())
        assert len(examples) == lab.COUNTS["test"]
        for example in examples:
            assert example["template"].decode() not in turned
            assert example["targets_pretokenized"] == example["references"].tolist()[0]
            assert len(example["inputs"]) <= 112 and len(example["targets"]) <= 24


def test_definitions_are_trained_on_too():
    for name in ("keep_ends", "has_animal"):
        task = structure.TASKS[name]
        dataset = seqio.get_mixture_or_task(f"minilab_{name}_defined").get_dataset(None, "train")
        prompts = [x["inputs_pretokenized"].decode() for x in dataset.as_numpy_iterator()]
        assert len(prompts) == lab.COUNTS["train"]
        for said in (*task.definitions, task.emphasis, task.avoid):
            assert sum(said in prompt for prompt in prompts) > 100
        assert all(("OPTIONS:" in prompt) == bool(task.labels) for prompt in prompts)
        wordings = {template.inputs for template in lab.definition_templates(task)}
        assert len(wordings) == len(task.definitions) + 2
        assert not wordings & {t.inputs for t in (*task.templates, *task.new_wordings)}


def test_reversed_templates_are_trained_on():
    task = seqio.get_mixture_or_task("minilab_reverse_words")
    dataset = task.get_dataset(None, "train", shuffle=False).take(1000)
    drawn = collections.Counter(x["template"].decode() for x in dataset.as_numpy_iterator())
    assert set(drawn) == {f"t{i}" for i in range(10)} and min(drawn.values()) > 60


def test_every_word_is_one_piece_of_the_default_vocabulary():
    """So a small model can copy words, and longest-word stays a question of letters."""
    vocabulary = load_vocabulary("default")
    words = (
        *lexicon.WORDS, *lexicon.NAMES, *lexicon.OBJECTS, *lexicon.COLOURS, *lexicon.PLACES,
        *lexicon.FOREIGN,
    )  # fmt: skip
    assert [word for word in words if len(vocabulary.encode(word)) > 1] == []


DOCUMENTS = 5000


@pytest.fixture(scope="module")
def documents():
    return [text.document("train", index) for index in range(DOCUMENTS)]


def test_untasked_text_asks_for_nothing(documents):
    """No question, no options, no answer slot, and nothing as long as a prompt's own words."""
    joined = "\n".join(documents)
    assert not re.search(r"\?|OPTIONS|Answer|Output|Input|answer|please|Please", joined)
    literals = {
        piece.strip()
        for task in minilab.TASKS.values()
        for template in (*task.templates, *task.new_wordings)
        for piece in re.split(r"\{\w+\}|\n", template.inputs)
        if len(piece.split()) >= 5
    }
    assert len(literals) > 500
    assert [piece for piece in literals if piece in joined] == []


def test_untasked_text_shows_no_line_of_words_of_an_evaluation_split(documents, rows):
    """Nor what can be made of one; short lines of made-up words may coincide."""
    evaluated = {
        main_text(name, row)
        for name in NAMES for split in ("validation", "test") for row in rows[name, split]
        if len(main_text(name, row).split()) >= 4
    }  # fmt: skip
    evaluated = {x for x in evaluated if not set(x.split()) <= set(lexicon.FOREIGN)}
    shown = {part.strip() for x in documents for part in re.split(r"[:.]|The line ", x)}
    assert sum(set(x.split()) <= set(lexicon.WORDS) for x in shown) > DOCUMENTS
    assert not shown & evaluated


def test_untasked_text_is_varied_and_repeatable(documents):
    assert len(set(documents)) > 0.99 * DOCUMENTS
    assert documents[:50] == [text.document("train", index) for index in range(50)]
    held = {text.document("validation", index) for index in range(500)}
    assert not held & set(documents)


_DIGESTS = """
import hashlib, json
from tasks import minilab
from tasks.minilab import lab, structure
def digest(task):
    rows = [row for split in lab.COUNTS for row in lab.Instances(task, split, count=100)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
digests = {name: digest(minilab.TASKS[name]) for name in sorted(minilab.TASKS)[::-1]}
print(json.dumps([digests, structure.fingerprint()]))
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
    assert json.loads(done.stdout.splitlines()[-1]) == [here, structure.fingerprint()]
