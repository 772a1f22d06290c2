"""The declarative schema is read strictly: exactly what is there, or one error that says where."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_objects import JSON, changed, mutated

from flan_jax.errors import DataError
from flan_jax.natural_instructions.schema import FIELDS, Example, Instance, parse_task

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
    assert message(changed(valid_object(), path, value)).startswith(expected)


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
        ("[" * 100_000, "nested too deeply"),
        (b"{\xff}", "not UTF-8 text (at byte 1)"),
        (b"\x00\x01", "not JSON: "),
    ],
)
def test_text_that_is_no_task(text, expected):
    assert message(text).startswith(expected)


def test_long_keys_are_not_quoted_whole():
    assert len(message({"x" * 100_000: 1})) < 200


_text = st.text(st.characters(codec="utf-8"), max_size=12)
_name = _text.filter(str.strip)


LISTS = {
    "Source": "sources",
    "Categories": "categories",
    "Input_language": "input_languages",
    "Output_language": "output_languages",
    "Instruction_language": "instruction_languages",
    "Domains": "domains",
    "Instance License": "licences",
    "Reasoning": "reasoning",
    "URL": "urls",
    "Contributors": "contributors",
}


def check_loaded(task, obj):
    """Every value of a loaded object is in the task, unchanged and of the right type."""
    as_list = lambda value: [value] if isinstance(value, str) else value  # noqa: E731
    prompt = task.prompt_object()
    assert set(obj) <= set(FIELDS)
    assert prompt["Definition"] == as_list(obj["Definition"])
    for key in ("Positive Examples", "Negative Examples"):
        assert prompt[key] == obj[key]
    for i, (instance, raw) in enumerate(zip(task.instances, obj["Instances"], strict=True)):
        expected = {"id": f"{task.name}-{i}", **raw, "output": as_list(raw["output"])}
        assert instance.to_object() == expected
    assert len({instance.id for instance in task.instances}) == len(task.instances)
    for key, attribute in LISTS.items():
        assert list(getattr(task, attribute)) == obj.get(key, [])
    # 1 == True == 1.0 in Python; all that a task holds are strings that can be written.
    for value in _leaves(dataclasses.astuple(task)):
        assert type(value) is str
        value.encode()


def _leaves(value):
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:  # an explanation that is not there
        yield value


def load_or_refuse(form, obj=None):
    """Loads exactly what JSON says, or raises one error that can be printed on one screen."""
    try:
        task = parse_task(form, file=FILE)
    except DataError as error:
        text = str(error)
        assert text.startswith(FILE + ": ")
        assert len(text) < 1000
        text.encode()
        return None
    check_loaded(task, json.loads(form) if obj is None else obj)
    return task


@settings(max_examples=300, deadline=None)
@given(mutated(valid_object()))
def test_fuzzed_objects_load_exactly_or_are_refused(obj):
    assert load_or_refuse(obj, obj) == load_or_refuse(json.dumps(obj), obj)


_VALID_TEXT = json.dumps(valid_object(), ensure_ascii=False)
_odd_text = st.sampled_from(
    ["\ud800", "\udfff\ud800", "\x00", "\u2028", "\u202e", "\ufeff", "\U0010ffff", "e\u0301",
     "\r", "\x85", "NaN", "-Infinity", "1e999", "0" * 5000, "[" * 2000, "\\ud800", "\\u0000",
     '"', "\\", ",", "{}", "[]"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(_VALID_TEXT)),
    st.integers(0, 6),
    _odd_text | st.text(max_size=4),
    st.booleans(),
)
def test_damaged_text_loads_exactly_or_is_refused(at, removed, put_in, as_bytes):
    text = _VALID_TEXT[:at] + put_in + _VALID_TEXT[at + removed :]
    load_or_refuse(text.encode("utf-8", "surrogatepass") if as_bytes else text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(_VALID_TEXT.encode()) - 1), st.integers(0, 255))
def test_a_flipped_byte_loads_exactly_or_is_refused(at, byte):
    content = bytearray(_VALID_TEXT.encode())
    content[at] = byte
    load_or_refuse(bytes(content))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_text_encodings_are_refused(encoding):
    content = json.dumps({**valid_object(), "Domains": ["caf\u00e9"]}, ensure_ascii=False)
    assert message(content.encode(encoding)).startswith("not ")


_ODD = "\x00\x85\u200b\u2028\u202e\ufeff\ufdfa\u0130\ufb03e\u0301\U0001f468\u200d"
_huge = st.builds(str.__mul__, st.sampled_from(["a", "\u00e9 ", "\u4e2d\n"]), st.just(200_000))
_odd_strings = st.text(st.characters(codec="utf-8"), max_size=20) | st.text(_ODD) | _huge


@settings(max_examples=40, deadline=None)
@given(st.lists(_odd_strings, min_size=1, max_size=4), st.booleans())
def test_odd_and_huge_strings_load_exactly(texts, escaped):
    obj = valid_object()
    obj["Positive Examples"].append({"input": texts[0], "output": texts[-1]})
    obj["Domains"] = texts
    obj["Instances"] += [{"input": text, "output": texts} for text in texts]
    text = json.dumps(obj, ensure_ascii=escaped)
    assert load_or_refuse(text, obj) is not None
    assert load_or_refuse(text.encode(), obj) is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "A", "a ", "\u00e5", "a\u030a", None]), min_size=1))
def test_ids_are_distinct_or_refused(ids):
    """Ids are compared as they are; where there is none, the position makes one."""
    rows = [{"input": "x", "output": "y"} | ({"id": id_} if id_ else {}) for id_ in ids]
    given_ids = [id_ for id_ in ids if id_]
    loaded = load_or_refuse(json.dumps({**valid_object(), "Instances": rows}))
    assert (loaded is not None) == (len(set(given_ids)) == len(given_ids))


def test_an_id_may_not_be_that_of_a_position():
    rows = [{"input": "x", "output": "y", "id": "task007_rhyme-1"}, {"input": "x", "output": "y"}]
    wrong = message({**valid_object(), "Instances": rows})
    assert wrong.startswith("Instances[1].id is 'task007_rhyme-1', which Instances[0] has already")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [None, True, 0, 1.5, {}, [None], [[]], [{}], [True], "\ud800"])
def test_no_field_takes_a_value_of_another_type(field, value):
    wrong = message({**valid_object(), field: value})
    assert wrong.startswith(field)


@pytest.mark.parametrize("file", ["tasks/task\udc80\n.json", "", ".json", "\\.json", "/ .json"])
@pytest.mark.parametrize("text", ["[]", "{", "valid"])
def test_errors_can_be_printed_whatever_the_file_is_called(file, text):
    text = json.dumps(valid_object()) if text == "valid" else text
    try:
        task = parse_task(text, file=file)
    except DataError as error:
        str(error).encode()
        assert text != "valid" or str(error).endswith("it names no task")
    else:
        task.name.encode()
        assert task.name.strip()


@settings(max_examples=200, deadline=None)
@given(st.one_of(JSON, st.binary(max_size=40), st.text(max_size=40)))
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
