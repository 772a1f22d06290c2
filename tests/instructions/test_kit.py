"""The kit that tasks are made with: templates, OPTIONS, draws, cards, registration, mixtures."""

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import DataError
from flan_jax.instructions import cards, mixtures, options, recipes, registration, rendering
from flan_jax.instructions.draws import Draws, RenderingKey, rendering_context
from flan_jax.instructions.templates import (
    Template,
    check_templates,
    pattern_fields,
    substitute,
)
from tasks import minilab
from tasks.minilab import lab

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "minilab_prompts.json"

FIELD = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


def escape(text):
    return text.replace("{", "{{").replace("}", "}}")


# Templates


@given(st.text())
def test_text_without_placeholders_stands_for_itself(text):
    assert substitute(escape(text), {}) == text
    assert pattern_fields(escape(text)) == ()


@given(st.lists(st.tuples(st.text(), FIELD)), st.text(), st.data())
def test_fields_are_put_in_as_they_are(parts, tail, data):
    """Whatever the values hold, braces too, is neither parsed nor changed."""
    values = {name: data.draw(st.text(), label=name) for _, name in parts}
    pattern = "".join(f"{escape(text)}{{{name}}}" for text, name in parts) + escape(tail)
    expected = "".join(text + values[name] for text, name in parts) + tail
    assert substitute(pattern, values) == expected
    assert pattern_fields(pattern) == tuple(dict.fromkeys(name for _, name in parts))


@settings(max_examples=300)
@given(st.text(alphabet="{}ab.!:[]0 ", max_size=12))
def test_a_pattern_is_parsed_or_refused_by_name(pattern):
    try:
        fields = pattern_fields(pattern)
    except DataError as error:
        assert repr(pattern) in str(error)
    else:
        assert all(field.isidentifier() for field in fields)
        substitute(pattern, dict.fromkeys(fields, "x"))


@pytest.mark.parametrize(
    "pattern", ["{a.b}", "{a[0]}", "{a!r}", "{a:>3}", "{}", "{0}", "{a", "a}", "{a b}", "{ a }"]
)
def test_more_than_a_field_name_is_refused(pattern):
    with pytest.raises(DataError):
        Template(pattern, "{answer}")


def test_a_missing_field_is_named_with_the_nearest():
    with pytest.raises(DataError, match="no field 'premis'.*did you mean 'premise'"):
        substitute("{premis}", {"premise": "x", "answer": "y"})


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ([], "'toy' has no templates"),
        ([Template("{text}", "{anser}")], "template 0: unknown field 'anser'; did you mean"),
        ([Template("{text}", "{answer}")] * 2, "templates 0 and 1 are equal"),
        ([Template("{answer}", "{text}", reversed=True)], "every template is reversed"),
    ],
)
def test_wrong_templates_are_refused(templates, message):
    with pytest.raises(DataError, match=message):
        check_templates("toy", templates, ["text", "answer"])


def test_an_empty_target_is_refused():
    with pytest.raises(DataError, match="empty target"):
        Template("{text}", "")


# OPTIONS


def test_the_options_block():
    assert options.format_options(["yes", "it is not"]) == "OPTIONS:\n- yes\n- it is not"
    template = Template("{text}\n{options_}\nAnswer:", "{answer}")
    assert template.has_options and template.fields == ("text", "options_", "answer")
    prompt, target = template.render({"text": "Is it?", "answer": "no"}, ["yes", "no"])
    assert (prompt, target) == ("Is it?\nOPTIONS:\n- yes\n- no\nAnswer:", "no")


@pytest.mark.parametrize(
    ("choices", "message"), [([], "at least two"), (["a"], "at least two"), (["a", "a"], "repeat")]
)
def test_impossible_options_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        options.format_options(choices)


# Draws


def draws(example_id, number=0, seed=0, task="toy"):
    return Draws(RenderingKey(seed, number), task, str(example_id))


def chi_square(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


def test_draws_are_uniform():
    counts = collections.Counter(draws(i).integer("template", 10) for i in range(20_000))
    assert len(counts) == 10
    assert chi_square(counts.values(), 2000) < 27.9  # 0.1 % of uniform draws lie above


def test_permutations_are_uniform():
    counts = collections.Counter(tuple(draws(i).permutation("order", 3)) for i in range(12_000))
    assert len(counts) == 6
    assert chi_square(counts.values(), 2000) < 20.5


@given(st.integers(0, 40), st.integers())
def test_permutations_are_permutations(n, example):
    assert sorted(draws(example).permutation("order", n)) == list(range(n))


@pytest.mark.parametrize(
    "other",
    [
        lambda i: draws(i).integer("options", 5),
        lambda i: draws(i, number=1).integer("template", 5),
        lambda i: draws(i, seed=1).integer("template", 5),
        lambda i: draws(i, task="toy2").integer("template", 5),
        lambda i: draws(i + 1).integer("template", 5),
    ],
    ids=["choice", "number", "seed", "task", "example"],
)
def test_draws_that_differ_in_one_key_are_independent(other):
    pairs = collections.Counter((draws(i).integer("template", 5), other(i)) for i in range(10_000))
    assert len(pairs) == 25
    assert chi_square(pairs.values(), 400) < 51.2


def test_a_draw_does_not_depend_on_other_draws():
    one, two = draws("x"), draws("x")
    one.integer("something", 7)
    one.permutation("else", 9)
    assert one.integer("template", 1000) == two.integer("template", 1000)


def test_a_draw_from_nothing_is_refused():
    with pytest.raises(ValueError, match="cannot draw 'template' from 0"):
        draws("x").integer("template", 0)


# Cards


@pytest.fixture
def toy_card():
    """A card, and no trace of what was registered under its name afterwards."""
    card = cards.Card("kit_toy", "toys", "generation", ("Do it.",), module="kit_toys.one")
    yield card
    for name in ("kit_toy_mixture", "kit_toy", "kit_toy_input"):
        for registry in (seqio.MixtureRegistry, seqio.TaskRegistry):
            if name in registry.names():
                registry.remove(name)
    cards.remove_card("kit_toy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instructions": ()}, "at least one instruction"),
        ({"instructions": ("x", " ")}, "none of it blank"),
        ({"kind": "regression"}, "kind 'regression' is not known"),
    ],
)
def test_wrong_cards_are_refused(change, message):
    fields = {"name": "x", "cluster": "c", "kind": "generation", "instructions": ("Do it.",)}
    with pytest.raises(DataError, match=message):
        cards.Card(**(fields | change))


def test_cards_are_found_by_entry_and_variant(toy_card):
    import dataclasses

    card = cards.register_card(dataclasses.replace(toy_card, variants=("kit_toy", "kit_toy_v2")))
    assert cards.get_card("kit_toy_v2") is card is cards.get_card("kit_toy")
    assert cards.cards(["kit_toys"]) == [card] == cards.cards(["kit_toys.one"])
    assert cards.cards(["kit_toy"]) == []  # a prefix of the name of a module is not its parent
    with pytest.raises(DataError, match="registered already"):
        cards.register_card(card)
    with pytest.raises(DataError, match="belongs to 'kit_toy' already"):
        cards.register_card(dataclasses.replace(card, name="kit_other"))
    with pytest.raises(DataError, match="no task named 'kit_toyy'; did you mean 'kit_toy'"):
        cards.get_card("kit_toyy")
    cards.remove_card("kit_toy")
    assert cards.find_card("kit_toy_v2") is None


# Registration


ROWS = 400
TEMPLATES = (
    Template("Is {text} even?\n{options_}", "{answer}"),
    Template("{text}: even or odd?", "{answer}"),
    Template("Name a number that is {answer}.", "{text}", reversed=True),
)


def toy_rows(split):
    offset = {"train": 0, "test": 10_000}[split]
    return [
        {
            "id": f"toy/{split}/{i}",
            "text": f"né {offset + i}",
            "answer": ("even", "odd")[i % 2],
            "options": ["even", "odd", f"neither {i}"][: 2 + i % 2],
        }
        for i in range(ROWS)
    ]


def register_toy(card, templates=TEMPLATES, **kwargs):
    return registration.register_templated_task(
        card,
        source=registration.rows_source(
            toy_rows,
            {"text": "string", "answer": "string", "options": "strings"},
            {"train": ROWS, "test": ROWS},
        ),
        fields=("text", "answer"),
        templates=templates,
        version="1",
        **kwargs,
    )


def read(task, split, number=0, seed=0):
    """Reads (id, prompt, target, template, options, references) of a split."""
    with rendering_context(seed, number):
        dataset = seqio.get_mixture_or_task(task).get_dataset(None, split, shuffle=False)
    return [
        (
            *(
                example[column].decode()
                for column in ("id", "inputs_pretokenized", "targets_pretokenized", "template")
            ),
            [item.decode() for item in example["options"]],
            [item.decode() for item in example["references"]],
        )
        for example in dataset.as_numpy_iterator()
    ]


def test_a_templated_task_from_rows_to_tokens(toy_card):
    card = register_toy(toy_card)
    assert card is cards.get_card("kit_toy") and card.variants == ("kit_toy",)
    assert card.templates[2] == {"inputs": TEMPLATES[2].inputs, "targets": "{text}",
                                 "reversed": True}  # fmt: skip
    examples = read("kit_toy", "train")
    assert [example[0] for example in examples] == [f"toy/train/{i}" for i in range(ROWS)]
    for row, (_, prompt, target, template, shown, references) in zip(
        toy_rows("train"), examples, strict=True
    ):
        wording = TEMPLATES[int(template[1:])]
        assert (prompt, target) == wording.render(row, row["options"])
        assert shown == (row["options"] if template == "t0" else [])
        assert references == [row["text"] if template == "t2" else row["answer"]]
    counts = collections.Counter(example[3] for example in examples)
    assert all(90 < counts[f"t{i}"] < 180 for i in range(3)), counts


def test_tokens_are_those_of_the_words(toy_card):
    register_toy(toy_card)
    task = seqio.TaskRegistry.get("kit_toy")
    features = {"inputs": 6, "targets": 4}
    dataset = task.get_dataset(features, "test", shuffle=False).take(5)
    vocabulary = task.output_features["inputs"].vocabulary
    for example in dataset.as_numpy_iterator():
        words = example["inputs_pretokenized"].decode()
        ids = vocabulary.encode(words)
        expected = [*ids[:5], 1] if len(ids) > 5 else [*ids, 1]
        assert example["inputs"].tolist() == expected
        assert vocabulary.decode(vocabulary.encode(words)) == words
        assert example["targets"][-1] == 1


def test_reversed_templates_are_for_training_only(toy_card):
    register_toy(toy_card)
    assert {example[3] for example in read("kit_toy", "train")} == {"t0", "t1", "t2"}
    for number in range(3):
        counts = collections.Counter(e[3] for e in read("kit_toy", "test", number=number))
        assert set(counts) == {"t0", "t1"} and min(counts.values()) > 150


def test_reversed_templates_demand_that_the_split_is_known():
    render = rendering.templated_renderer(TEMPLATES, ("text", "answer"))
    row = toy_rows("train")[0]
    with pytest.raises(DataError, match="'toy/train/0' has no field 'split'"):
        render(row, draws(row["id"]))
    straight = rendering.templated_renderer(TEMPLATES[:2], ("text", "answer"))
    assert straight(row, draws(row["id"])).references == ("even",)


def test_renderings_differ_by_number_and_by_seed(toy_card):
    register_toy(toy_card)
    first = read("kit_toy", "train")
    assert first == read("kit_toy", "train")
    for other in (read("kit_toy", "train", number=1), read("kit_toy", "train", seed=1)):
        same = sum(a[3] == b[3] for a, b in zip(first, other, strict=True))
        assert 0.23 * ROWS < same < 0.44 * ROWS  # a third, as of independent draws


def test_the_rendering_in_force_when_a_dataset_is_built_counts(toy_card):
    register_toy(toy_card)
    expected = read("kit_toy", "train", number=1)
    with rendering_context(0, 1):
        dataset = seqio.get_mixture_or_task("kit_toy").get_dataset(None, "train", shuffle=False)
    with rendering_context(0, 2):
        templates = [e["template"].decode() for e in dataset.as_numpy_iterator()]
    assert templates == [example[3] for example in expected]


def test_a_row_is_rendered_alike_in_any_order():
    render = rendering.templated_renderer(TEMPLATES, ("text", "answer"))
    rows = [{**row, "split": "train"} for row in toy_rows("train")]
    forward = {row["id"]: render(row, draws(row["id"])) for row in rows}
    backward = {row["id"]: render(row, draws(row["id"])) for row in reversed(rows)}
    assert forward == backward


_RENDER = """
import json, seqio, tasks.minilab
from flan_jax.instructions.draws import rendering_context
out = {}
for name in ("minilab_swap_ends", "minilab_check_fact"):
    with rendering_context(3, 2):
        dataset = seqio.get_mixture_or_task(name).get_dataset(None, "validation", shuffle=True)
    for e in dataset.as_numpy_iterator():
        out[e["id"].decode()] = [e["inputs_pretokenized"].decode(), e["inputs"].tolist()]
print(json.dumps(out))
"""


def test_another_process_in_another_order_renders_alike():
    done = subprocess.run(
        [sys.executable, "-c", _RENDER],
        env={**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    there = json.loads(done.stdout.splitlines()[-1])
    assert len(there) == 100
    for name in ("minilab_swap_ends", "minilab_check_fact"):
        with rendering_context(3, 2):
            dataset = seqio.get_mixture_or_task(name).get_dataset(None, "validation", shuffle=False)
        for e in dataset.as_numpy_iterator():
            here = [e["inputs_pretokenized"].decode(), e["inputs"].tolist()]
            assert there[e["id"].decode()] == here


def test_targets_become_references_for_metrics(toy_card):
    register_toy(toy_card)
    task = seqio.TaskRegistry.get("kit_toy")
    example = {"references": [b"one", b"two"]}
    assert task.postprocess_fn("one", example=example, is_target=True) == ["one", "two"]
    assert task.postprocess_fn("three", example=example, is_target=False) == "three"
    scores = [fn([["one", "two"]], ["two"]) for fn in task.metric_fns]
    assert all(value == 100.0 for score in scores for value in score.values())


def test_a_recipe_changes_with_what_shapes_the_prompts(toy_card):
    prints = set()
    for templates, version in [(TEMPLATES, "1"), (TEMPLATES[:2], "1"), (TEMPLATES, "2")]:
        registration.register_task(
            "kit_toy", source=registration.rows_source(toy_rows, {}, {"train": 1}),
            render=rendering.templated_renderer(templates, ()),
            facts={"templates": [t.inputs for t in templates], "version": version},
        )  # fmt: skip
        prints.add(recipes.get_recipe("kit_toy").fingerprint())
        seqio.TaskRegistry.remove("kit_toy")
    assert len(prints) == 3


def test_a_name_is_taken_once(toy_card):
    register_toy(toy_card)
    with pytest.raises(DataError, match="'kit_toy' is registered already"):
        register_toy(toy_card)


def test_an_unknown_answer_field_is_named(toy_card):
    with pytest.raises(DataError, match="no field 'anwser'; did you mean 'answer'"):
        register_toy(toy_card, answer="anwser")
    assert "kit_toy" not in seqio.TaskRegistry.names()


# Mixtures


@pytest.mark.parametrize(
    ("name", "tasks", "message"),
    [
        ("minilab_train", ["minilab_swap_ends"], "'minilab_train' is registered already"),
        ("minilab_swap_ends", ["minilab_swap_ends"], "'minilab_swap_ends' is registered already"),
        ("kit_toy_mixture", [], "has no tasks"),
        ("kit_toy_mixture", ["minilab_swap_end"], "did you mean 'minilab_swap_ends'"),
        ("kit_toy_mixture", ["minilab_swap_ends"] * 2, "names a task twice"),
    ],
)
def test_wrong_mixtures_are_refused(name, tasks, message):
    with pytest.raises(DataError, match=message):
        mixtures.register_mixture(name, tasks)
    assert "kit_toy_mixture" not in seqio.MixtureRegistry.names()


def test_variants_are_further_tasks_over_the_same_examples(toy_card):
    templates = {"kit_toy": TEMPLATES[0], "kit_toy_input": Template("{text}", "{answer}")}
    said, bare = templates.values()
    card = register_toy(toy_card, [said], variants={"input": [bare]})
    assert card.variants == ("kit_toy", "kit_toy_input")
    assert cards.get_card("kit_toy_input") is card
    for name, template in templates.items():
        dataset = seqio.TaskRegistry.get(name).get_dataset(None, "train", shuffle=False)
        prompt = next(iter(dataset.as_numpy_iterator()))["inputs_pretokenized"].decode()
        row = toy_rows("train")[0]
        assert prompt == template.render(row, row["options"])[0]
    assert len({recipes.get_recipe(name).fingerprint() for name in templates}) == 2
    with pytest.raises(DataError, match="'kit_toy_input', template 0: unknown field 'txt'"):
        register_toy(
            dataclasses.replace(card, name="kit_toy"), [said],
            variants={"input": [Template("{txt}", "{answer}")]},
        )  # fmt: skip


def test_rates(toy_card):
    register_toy(toy_card)
    entries = ["kit_toy", "minilab_swap_ends"]
    for kwargs, expected in [
        ({}, [ROWS, 1000]), ({"cap": 500}, [ROWS, 500]), ({"rates": "uniform"}, [1, 1]),
    ]:  # fmt: skip
        mixtures.register_mixture("kit_toy_mixture", entries, **kwargs)
        rates = mixtures.task_rates("kit_toy_mixture")
        assert [rates[entry] for entry in entries] == expected
        seqio.MixtureRegistry.remove("kit_toy_mixture")
    assert mixtures.task_rates("kit_toy") == {"kit_toy": 1.0}


def test_names_are_resolved_or_the_nearest_is_offered():
    assert mixtures.resolve("minilab_train").name == "minilab_train"
    assert [t.name for t in mixtures.member_tasks("minilab_where_is")] == ["minilab_where_is"]
    with pytest.raises(DataError, match="'minilab_trian'; did you mean 'minilab_train'"):
        mixtures.resolve("minilab_trian")


# Golden prompts


def golden_prompts():
    """The first training row of every task in all its templates and new wordings."""
    return {
        name: [
            list(template.render(lab.instance(task, "train", 0), task.labels))
            for template in (*task.templates, *task.new_wordings)
        ]
        for name, task in minilab.TASKS.items()
    }


def test_prompts_are_the_golden_ones():
    """FLAN_JAX_UPDATE_GOLDEN=1 rewrites the file; a change is a new version of MiniLab."""
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        text = json.dumps(golden_prompts(), indent=1, ensure_ascii=False)
        GOLDEN.write_text(text + "\n", encoding="utf-8")
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == golden_prompts()
