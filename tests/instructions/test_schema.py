"""The declarative schema is read strictly: exactly what is there, or one error that says where."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import DataError
from flan_jax.instructions.schema import FIELDS, Example, Instance, parse_task

FILE = "tasks/task007_rhyme.json"


def valid_object():
    return {
        "Contributors": ["A. Writer"],
        "Source": ["rhymes"],
        "URL": ["https://example.org"],
        "Categories": ["Text Completion"],
        "Reasoning": [],
        "Definition": ["Name a word that rhymes with the input."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": ["Linguistics"],
        "Positive Examples": [{"input": "cat", "output": "hat", "explanation": "Both end in at."}],
        "Negative Examples": [{"input": "cat", "output": "dog", "explanation": "No rhyme."}],
        "Instances": [
            {"id": "task007-a", "input": " sun ", "output": ["run", "fun"]},
            {"id": "task007-b", "input": "", "output": [""]},
        ],
        "Instance License": ["CC BY 4.0"],
    }


def parse(obj):
    return parse_task(json.dumps(obj), file=FILE)


def message(text_or_obj):
    with pytest.raises(DataError) as caught:
        parse_task(text_or_obj, file=FILE)
    text = str(caught.value)
    assert text.startswith(FILE + ": ")
    return text.removeprefix(FILE + ": ")


def test_holds_exactly_what_the_file_holds():
    task = parse(valid_object())
    assert task.name == "task007_rhyme"
    assert task.definition == "Name a word that rhymes with the input."
    assert task.positive_examples == (Example("cat", "hat", "Both end in at."),)
    assert task.negative_examples == (Example("cat", "dog", "No rhyme."),)
    assert task.instances == (
        Instance("task007-a", " sun ", ("run", "fun")),
        Instance("task007-b", "", ("",)),
    )
    assert (task.categories, task.sources) == (("Text Completion",), ("rhymes",))
    assert (task.input_languages, task.output_languages) == (("English",), ("English",))
    assert (task.domains, task.licences, task.reasoning) == (("Linguistics",), ("CC BY 4.0",), ())
    assert (task.urls, task.contributors) == (("https://example.org",), ("A. Writer",))
    for instance, obj in zip(task.instances, valid_object()["Instances"], strict=True):
        assert instance.to_object() == obj


def test_text_bytes_and_object_are_read_alike():
    text = json.dumps(valid_object())
    expected = parse_task(text, file=FILE)
    assert parse_task(text.encode(), file=FILE) == expected
    assert parse_task(b"\xef\xbb\xbf" + text.encode(), file=FILE) == expected
    assert parse_task(valid_object(), file=FILE) == expected


def test_older_snapshots():
    obj = valid_object()
    obj["Definition"] = "Rhyme."
    del obj["Instance License"]
    obj["Instances"] = [{"input": "x", "output": "y"}, {"input": "z", "output": ["w"]}]
    task = parse(obj)
    assert task.definitions == ("Rhyme.",)
    assert task.licences == ()
    assert task.instances == (
        Instance("task007_rhyme-0", "x", ("y",)),
        Instance("task007_rhyme-1", "z", ("w",)),
    )


def test_example_without_explanation():
    obj = valid_object()
    del obj["Positive Examples"][0]["explanation"]
    assert parse(obj).positive_examples == (Example("cat", "hat", None),)


def changed(path, value):
    obj = valid_object()
    at = obj
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return obj


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("Instances", 1, "output"), 3, "Instances[1].output must be a list of strings, "
         "found a number"),
        (("Instances", 1, "output"), [], "Instances[1].output must not be empty"),
        (("Instances", 0, "output"), ["a", None], "Instances[0].output[1] must be a string, "
         "found null"),
        (("Instances", 0, "input"), True, "Instances[0].input must be a string, "
         "found true or false"),
        (("Instances", 0, "id"), 17, "Instances[0].id must be a string, found a number"),
        (("Instances", 0, "id"), " ", "Instances[0].id must not be blank"),
        (("Instances", 1, "id"), "task007-a", "Instances[1].id is 'task007-a', which "
         "Instances[0] has already"),
        (("Instances", 0), [], "Instances[0] must be an object, found a list"),
        (("Instances",), [], "Instances must not be empty"),
        (("Instances",), {}, "Instances must be a list of objects, found an object"),
        (("Definition",), [], "Definition must not be empty"),
        (("Definition",), " ", "Definition must not be blank"),
        (("Definition",), 1.5, "Definition must be a list of strings, found a number"),
        (("Definition",), ["x", {}], "Definition[1] must be a string, found an object"),
        (("Categories",), "QA", "Categories must be a list of strings, found a string"),
        (("Categories",), [""], "Categories[0] must not be blank"),
        (("Positive Examples",), None, "Positive Examples must be a list of objects, found null"),
        (("Negative Examples", 0), "x", "Negative Examples[0] must be an object, found a string"),
        (("Positive Examples", 0, "output"), ["x"], "Positive Examples[0].output must be a "
         "string, found a list"),
        (("Instance License",), "MIT", "Instance License must be a list of strings, "
         "found a string"),
        (("Instances", 0, "inptu"), "x", "Instances[0] has an unknown field 'inptu'; "
         "did you mean 'input'?"),
        (("Postive Examples",), [], "the task has an unknown field 'Postive Examples'; "
         "did you mean 'Positive Examples'"),
        (("Instances", 0, "input"), "\ud800", "Instances[0].input holds half a surrogate pair, "
         "which is no character"),
    ],
)  # fmt: skip
def test_one_error_names_file_and_field(path, value, expected):
    assert message(changed(path, value)).startswith(expected)


@pytest.mark.parametrize("field", ["Definition", "Instances", "Categories", "Source"])
def test_missing_field(field):
    obj = valid_object()
    del obj[field]
    assert message(obj) == f"{field} is missing"


@pytest.mark.parametrize("field", ["input", "output"])
def test_instance_without_input_or_output(field):
    obj = valid_object()
    del obj["Instances"][1][field]
    assert message(obj) == f"Instances[1].{field} is missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON: "),
        ("{", "not JSON: "),
        ("[]", "the task must be an object, found a list"),
        ("null", "the task must be an object, found null"),
        ('{"Instances": NaN}', "not JSON: NaN is not a JSON value"),
        ('{"a": 1, "a": 2}', "not JSON: the key 'a' is there twice in one object"),
        ("9" * 5000, "not JSON: "),
        ("[" * 100_000, "not a task: nested too deeply"),
        (b"{\xff}", "not UTF-8 text (at byte 1)"),
        (b"\x00\x01", "not JSON: "),
    ],
)
def test_text_that_is_no_task(text, expected):
    assert message(text).startswith(expected)


def test_long_keys_are_not_quoted_whole():
    assert len(message({"x" * 100_000: 1})) < 200


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_text = st.text(st.characters(codec="utf-8"), max_size=12)
_name = _text.filter(str.strip)


@st.composite
def _mutated(draw):
    """A valid object with up to three places replaced, removed, doubled or renamed."""
    obj = valid_object()
    for _ in range(draw(st.integers(1, 3))):
        at = obj
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and draw(st.booleans()):
                at = at[key]
                continue
            action = draw(st.sampled_from(["replace", "remove", "rename", "wrap"]))
            if action == "replace":
                at[key] = draw(_json)
            elif action == "wrap":
                at[key] = [copy.deepcopy(at[key])]
            elif action == "remove" or not isinstance(at, dict):
                del at[key]
            else:
                at[draw(st.text(max_size=12))] = at.pop(key)
            break
    return obj


def check_loaded(task, obj):
    """Every value of a loaded object is in the task, unchanged."""
    as_list = lambda value: [value] if isinstance(value, str) else value  # noqa: E731
    prompt = task.prompt_object()
    assert set(obj) <= set(FIELDS)
    assert prompt["Definition"] == as_list(obj["Definition"])
    for key in ("Positive Examples", "Negative Examples"):
        assert prompt[key] == obj[key]
    for i, (instance, raw) in enumerate(zip(task.instances, obj["Instances"], strict=True)):
        expected = {"id": f"{task.name}-{i}", **raw, "output": as_list(raw["output"])}
        assert instance.to_object() == expected
    assert list(task.categories) == obj["Categories"]
    assert list(task.domains) == obj.get("Domains", [])
    assert list(task.licences) == obj.get("Instance License", [])


@settings(max_examples=300, deadline=None)
@given(_mutated())
def test_fuzzed_objects_load_exactly_or_are_refused(obj):
    for form in (obj, json.dumps(obj)):
        try:
            task = parse_task(form, file=FILE)
        except DataError as error:
            assert str(error).startswith(FILE + ": ")
        else:
            check_loaded(task, obj)


@settings(max_examples=200, deadline=None)
@given(st.one_of(_json, st.binary(max_size=40), st.text(max_size=40)))
def test_anything_else_is_refused(anything):
    with pytest.raises(DataError):
        parse_task(anything, file=FILE)


_examples = st.lists(
    st.fixed_dictionaries({"input": _text, "output": _text}, optional={"explanation": _text}),
    max_size=3,
)
_valid = st.fixed_dictionaries(
    {
        "Source": st.lists(_text, max_size=2),
        "Categories": st.lists(_name, min_size=1, max_size=2),
        "Definition": _name | st.lists(_name, min_size=1, max_size=2),
        "Input_language": st.just(["English"]),
        "Output_language": st.just(["English"]),
        "Positive Examples": _examples,
        "Negative Examples": _examples,
        "Instances": st.lists(
            st.fixed_dictionaries(
                {"input": _text, "output": _text | st.lists(_text, min_size=1, max_size=3)},
                optional={"id": _name},
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda row: row.get("id", id(row)),
        ),
    },
    optional={"Domains": st.lists(_text, max_size=2), "URL": st.lists(_text, max_size=1)},
)


@settings(max_examples=150, deadline=None)
@given(_valid)
def test_every_valid_object_loads(obj):
    check_loaded(parse_task(json.dumps(obj), file=FILE), obj)


def test_real_tasks_load_exactly(shared_data):
    files = sorted((shared_data / "super_ni" / "tasks").glob("*.json"))
    assert len(files) == 145
    for file in files:
        content = file.read_bytes()
        check_loaded(parse_task(content, file=str(file)), json.loads(content))
