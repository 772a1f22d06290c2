"""The first release's schema is read strictly: exactly what is there, or one error with a place."""

import json

import odd_objects
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import DataError
from flan_jax.natural_instructions.schema_v1 import (
    FIELDS,
    SIGNS,
    TEXTS,
    Example,
    Instance,
    is_missing,
    parse_subtask,
)

FILE = "dataset_jsons/subtask007_rhyme.json"


def valid_object():
    return {
        "Title": "Rhyming",
        "Prompt": "Name a word that rhymes. ",
        "Definition": "You are given a word; name another one that rhymes with it.",
        "Things to Avoid": "-",
        "Emphasis & Caution": "- ",
        "Instances": [
            {"input": " sun ", "output": ["run", "fun"]},
            {"input": "", "output": [""]},
        ],
        "Examples": {
            "Positive Examples": [{"input": "cat", "output": "hat", "reason": "Both end in at"}],
            "Negative Examples": [
                {"input": "cat", "output": "dog", "reason": "No rhyme", "suggestion": " "}
            ],
        },
    }


def message(text_or_obj):
    with pytest.raises(DataError) as caught:
        parse_subtask(text_or_obj, file=FILE)
    text = str(caught.value)
    assert text.startswith(FILE + ": ")
    return text.removeprefix(FILE + ": ")


def changed(path, value):
    return odd_objects.changed(valid_object(), path, value)


def without(*path):
    obj = valid_object()
    at = obj
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return obj


def test_holds_exactly_what_the_file_holds():
    task = parse_subtask(json.dumps(valid_object()), file=FILE)
    assert task.name == "subtask007_rhyme"
    assert task.texts == {key: valid_object()[key] for key in TEXTS}
    assert task.positive_examples == (Example("cat", "hat", "Both end in at"),)
    assert task.negative_examples == (Example("cat", "dog", "No rhyme", " "),)
    assert task.instances == (Instance(0, " sun ", ("run", "fun")), Instance(1, "", ("",)))
    assert task.prompt_object(9) == valid_object()
    assert task.prompt_object()["Instances"] == []


def test_missing_texts():
    task = parse_subtask(valid_object(), file=FILE)
    assert task.text("Prompt") == "Name a word that rhymes."
    assert (task.text("Things to Avoid"), task.text("Emphasis & Caution")) == (None, None)
    assert is_missing("-") and is_missing("- ") and not is_missing("--") and not is_missing("")


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("none", [["-"], ["- "], []])
def test_missing_examples(sign, none):
    task = parse_subtask(changed(("Examples", sign), none), file=FILE)
    assert task.prompt_object()["Examples"][sign] == []


def test_text_bytes_and_object_are_read_alike():
    text = json.dumps(valid_object())
    expected = parse_subtask(text, file=FILE)
    assert parse_subtask(text.encode(), file=FILE) == expected
    assert parse_subtask(b"\xef\xbb\xbf" + text.encode(), file=FILE) == expected
    assert parse_subtask(valid_object(), file=FILE) == expected


POSITIVE = ("Examples", "Positive Examples")
NEGATIVE = ("Examples", "Negative Examples")


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (changed(("Title",), 3), "Title must be a string, found a number"),
        (changed(("Prompt",), " "), "Prompt must not be blank"),
        (changed(("Definition",), ["x"]), "Definition must be a string, found a list"),
        (changed(("Emphasis & Caution",), None), "Emphasis & Caution must be a string, found null"),
        (changed(("Title",), "a\ud800"), "Title holds half a surrogate pair, which is no "
         "character"),
        (changed(("Things To Avoid",), "x"), "the task has an unknown field 'Things To Avoid'; "
         "did you mean 'Things to Avoid'?"),
        (without("Definition"), "Definition is missing"),
        (without("Instances"), "Instances is missing"),
        (without(*NEGATIVE), "Examples.Negative Examples is missing"),
        (changed(("Examples",), []), "Examples must be an object, found a list"),
        (changed(POSITIVE, {}), "Examples.Positive Examples must be a list of objects, "
         "found an object"),
        (changed((*POSITIVE, 0), "-x"), "Examples.Positive Examples[0] must be an object, "
         "found a string"),
        (changed(POSITIVE, ["-", "-"]), "Examples.Positive Examples[0] must be an object, "
         "found a string"),
        (without(*POSITIVE, 0, "reason"), "Examples.Positive Examples[0].reason is missing"),
        (changed((*POSITIVE, 0, "suggestion"), "x"), "Examples.Positive Examples[0] has an "
         "unknown field 'suggestion'"),
        (without(*NEGATIVE, 0, "suggestion"), "Examples.Negative Examples[0].suggestion is "
         "missing"),
        (changed((*NEGATIVE, 0, "reason"), 1), "Examples.Negative Examples[0].reason must be a "
         "string, found a number"),
        (changed(("Instances",), []), "Instances must not be empty"),
        (changed(("Instances",), "x"), "Instances must be a list of objects, found a string"),
        (changed(("Instances", 1), []), "Instances[1] must be an object, found a list"),
        (changed(("Instances", 1, "output"), "a"), "Instances[1].output must be a list of "
         "strings, found a string"),
        (changed(("Instances", 1, "output"), []), "Instances[1].output must not be empty"),
        (changed(("Instances", 0, "output", 1), None), "Instances[0].output[1] must be a string, "
         "found null"),
        (changed(("Instances", 0, "id"), "x"), "Instances[0] has an unknown field 'id'"),
        ([], "the task must be an object, found a list"),
        ("{", "not JSON: "),
        ('{"Title": NaN}', "not JSON: NaN is not a JSON value"),
        ('{"a": 1, "a": 2}', "not JSON: the key 'a' is there twice in one object"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "not JSON: "),
        (b"{\xff}", "not UTF-8 text (at byte 1)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(obj, expected):
    found = message(obj)
    assert found.startswith(expected) if expected.endswith(": ") else found == expected


def test_a_task_of_the_later_schema_is_refused():
    assert "unknown field 'Contributors'" in message({"Contributors": [], **valid_object()})


def test_huge_texts():
    huge = "\u00e9\U0001f600" * 500_000
    obj = changed(("Instances", 0, "input"), huge)
    assert parse_subtask(json.dumps(obj), file=FILE).instances[0].input == huge
    assert len(message({huge: 1})) < 300
    assert len(message(changed(("Examples", huge), []))) < 300


_text = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["-", "- ", " "])
_name = _text.filter(str.strip)


def check_loaded(task, obj):
    """Every value of a loaded object is in the subtask, unchanged, and nothing else is."""
    found = task.prompt_object(len(task.instances))
    assert set(obj) == set(FIELDS)
    for sign in SIGNS:
        expected = obj["Examples"][sign]
        if expected and isinstance(expected[0], str):
            assert len(expected) == 1 and expected[0].strip() == "-"
            expected = []
        assert found["Examples"].pop(sign) == expected
    assert {**found, "Examples": obj["Examples"]} == obj
    assert [instance.position for instance in task.instances] == list(range(len(obj["Instances"])))


@settings(max_examples=400, deadline=None)
@given(odd_objects.mutated(valid_object(), odd_objects.JSON | _text))
def test_fuzzed_objects_load_exactly_or_are_refused(obj):
    for form in (obj, json.dumps(obj)):
        try:
            task = parse_subtask(form, file=FILE)
        except DataError as error:
            assert str(error).startswith(FILE + ": ")
        else:
            check_loaded(task, obj)


@settings(max_examples=200, deadline=None)
@given(st.one_of(odd_objects.JSON, st.binary(max_size=40), st.text(max_size=40)))
def test_anything_else_is_refused(anything):
    with pytest.raises(DataError):
        parse_subtask(anything, file=FILE)


def _example_list(*keys):
    examples = st.lists(st.fixed_dictionaries({key: _text for key in keys}), max_size=3)
    return examples | st.sampled_from([["-"], ["- "]])


_valid = st.fixed_dictionaries(
    {
        **{key: _name for key in TEXTS},
        "Examples": st.fixed_dictionaries(
            {
                "Positive Examples": _example_list("input", "output", "reason"),
                "Negative Examples": _example_list("input", "output", "reason", "suggestion"),
            }
        ),
        "Instances": st.lists(
            st.fixed_dictionaries(
                {"input": _text, "output": st.lists(_text, min_size=1, max_size=3)}
            ),
            min_size=1,
            max_size=4,
        ),
    }
)


@settings(max_examples=150, deadline=None)
@given(_valid)
def test_every_valid_object_loads(obj):
    check_loaded(parse_subtask(json.dumps(obj), file=FILE), obj)


def test_real_subtasks_load_exactly(shared_data):
    files = sorted((shared_data / "natural_instructions_v1" / "dataset_jsons").glob("*.json"))
    assert len(files) == 7
    for file in files:
        content = file.read_bytes()
        check_loaded(parse_subtask(content, file=str(file)), json.loads(content))
