"""Libraries: refinement, cards, JSONL, Super-NI folders; no instance is read."""

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector.library import Counts, Library, LibraryTask, refine, refine_all
from flan_jax.selector.sources import load_library, with_sizes


@pytest.mark.parametrize(
    ("text", "refined"),
    [
        ("Add  the\n numbers.", "Add the numbers."),
        ('{{premise}} Is "{{h}}" right? ||| {{ choices[label] }}', "Is right?"),
        ("{# note #}{% if a %}Say yes{% else %}no{% endif %} .", "Say yes no."),
        ("Given {premise}, say {the other} ( {x} )", "Given, say"),
        ("{{ a }}", ""),
        ("... ? !", ""),
        ("|||", ""),
        ("The cats' and dogs' food, {as JSON: 1}", "The cats' and dogs' food, {as JSON: 1}"),
        ("{{{a}}} ok", "ok"),
        ("unclosed {{ brace", "unclosed brace"),
        ("Übersetze ins Französische: {{ satz }}", "Übersetze ins Französische:"),
    ],
)
def test_refinement(text, refined):
    assert refine(text) == refined


@given(st.text(st.sampled_from("a b{}%#|\"'()\n.,_é1")))
def test_refining_twice_changes_nothing(text):
    once = refine(text)
    assert refine(once) == once
    assert "{{" not in once and "{%" not in once and "|||" not in once
    assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("text", "refined"),
    [
        ("Add. " + "{{" * 500_000, "Add."),
        ("Add. " + "{%" * 500_000, "Add."),
        ("Add. " + "{#" * 500_000, "Add."),
        ("Add. " + "{{{#{%" * 160_000, "Add."),
        ("Add. " + "{{a}}" * 200_000, "Add."),
        ("Add. " + " ," * 500_000, "Add." + "," * 500_000),
        ("Add. " + "(" * 500_000 + ")" * 500_000, None),
        ("Add. " + "([" * 250_000 + "])" * 250_000, None),
        ("Add. " + "{a " * 160_000 + "} " * 160_000, None),
        ("Add. " + "\"'" * 250_000 + "'\"" * 250_000, None),
        ("Add. a" + "\u0301\u0323" * 500_000, None),
    ],
    ids=lambda value: str(value)[:14],
)
def test_a_megabyte_on_one_line_takes_seconds(text, refined):
    start = time.monotonic()
    if refined is None:
        with pytest.raises(DataError, match="nested more than 12 deep|more than 200 combining"):
            refine(text)
    else:
        assert refine(text) == refined
    assert time.monotonic() - start < 10


def test_what_is_dropped_is_counted():
    kept, counts = refine_all(["Add {{x}}.", "Add {{y}}.", "{{z}}", "Sum."])
    assert kept == ("Add.", "Sum.")
    assert counts == Counts(read=4, kept=2, empty=1, repeated=1)


def jsonl(tmp_path, *rows):
    path = tmp_path / "lib.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return str(path)


def test_a_jsonl_library(tmp_path):
    path = jsonl(
        tmp_path,
        {"task": "b", "instructions": ["Do {{b}} b.", "{{only}}"], "cluster": "c", "tokens": 7},
        "",
        {"task": "a", "instructions": ["Do a."], "sources": ["s"]},
        {"task": "nothing", "instructions": ["{{x}}"]},
    )
    library = load_library(path)
    assert library.tasks == (
        LibraryTask("a", ("Do a.",), None, ("s",)),
        LibraryTask("b", ("Do b.",), "c", (), 7),
    )
    assert library.counts == Counts(read=4, kept=2, empty=2, tasks_without=1)
    again = load_library(jsonl(tmp_path, {"task": "a", "instructions": ["Do a."]}))
    assert again.hash != library.hash
    assert Library.of(reversed(library.tasks), "x").hash == library.hash


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1 must be an object, found a list"),
        ("[" * 100_000, "line 1: nested too deeply"),
        ({"instructions": ["a"]}, "'task' is missing"),
        ({"task": ["a"], "instructions": ["a"]}, "'task' must be a string, found a list"),
        ({"task": " ", "instructions": ["a"]}, "'task' must be a name"),
        ({"task": "a", "instructions": 3}, "'instructions' must be a list"),
        ({"task": "a", "instructions": []}, "'instructions' must be a list of at least one string"),
        ({"task": "a", "instructions": ["a"], "cluster": 3}, "'cluster' must be a string"),
        ({"task": "a", "instructions": ["a"], "sources": [3]}, "'sources' must be a list of"),
        ({"task": "a", "instructions": ["a"], "tokens": 10**400}, "'tokens' must be at most"),
        ({"task": "a", "instructions": ["a"], "tokens": True}, "'tokens' must be a whole number"),
        ({"task": "a", "instructions": ["(" * 40 + ")" * 40]}, "task 'a': an instruction has"),
        ({"task": "a", "instructions": [" "]}, "none of it blank"),
        ({"task": "a", "instructions": ["a", 1]}, "'instructions' must be a list of strings"),
        ({"task": "a", "instruction": ["a"]}, "did you mean 'instructions'"),
        ({"task": "a", "instructions": ["a"], "tokens": 0}, "'tokens'"),
        ('{"task": "a", "instructions": ["\\ud800"]}', "surrogate"),
        ({"task": "a", "instructions": ["{{x}}"]}, "no task with an instruction"),
        ("", "no task with an instruction"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_jsonl(tmp_path, row, message):
    with pytest.raises(DataError) as error:
        load_library(jsonl(tmp_path, row))
    assert message in str(error.value)
    assert "lib.jsonl" in str(error.value)


def test_wrong_libraries(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_library(str(tmp_path / "nothing.jsonl"))
    os.mkfifo(tmp_path / "fifo.jsonl")
    for name in ("fifo.jsonl", "fifo.csv"):
        (tmp_path / "fifo.csv").unlink(missing_ok=True)
        os.mkfifo(tmp_path / "fifo.csv")
        with pytest.raises(DataError, match="not a regular file"):
            load_library(str(tmp_path / name))
    for name, message in [("a\0b.jsonl", "null"), ("x" * 300 + ".jsonl", "too long")]:
        with pytest.raises(DataError, match=message):
            load_library(str(tmp_path / name))
    with pytest.raises(ConfigError, match=f"is a folder: write super_ni:{tmp_path} or"):
        load_library(str(tmp_path))
    with pytest.raises(ConfigError, match="write promptsource:.*templates.yaml"):
        load_library(str(tmp_path / "templates.yaml"))
    with pytest.raises(ConfigError, match="did you mean 'super_ni'"):
        load_library("superni:/x")
    with pytest.raises(ConfigError, match="neither a task module"):
        load_library("what is this")
    with pytest.raises(ConfigError, match="no task module 'foo.bar'"):
        load_library("foo.bar")
    with pytest.raises(DataError, match="no such folder"):
        load_library(f"super_ni:{tmp_path}/x")
    with pytest.raises(DataError, match="no task files"):
        load_library(f"super_ni:{tmp_path}")
    with pytest.raises(DataError, match="two tasks named 'a'"):
        load_library(jsonl(tmp_path, *[{"task": "a", "instructions": ["A."]}] * 2))


def test_a_path_may_have_commas_colons_and_a_home(tmp_path, monkeypatch):
    (tmp_path / "a,b:c,d").mkdir()
    path = jsonl(tmp_path / "a,b:c,d", {"task": "a", "instructions": ["A."]})
    (tmp_path / "other.jsonl").write_text('{"task": "b", "instructions": ["B."]}')
    assert list(load_library(path).by_name) == ["a"]
    both = f"{path}, {tmp_path}/other.jsonl,"
    assert list(load_library(both).by_name) == ["a", "b"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(load_library("~/a,b:c,d/lib.jsonl,~/other.jsonl").by_name) == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x:y").write_text('{"task": "c", "instructions": ["C."]}')
    assert list(load_library("x:y").by_name) == ["c"]
    tasks = tmp_path / "a,b:c,d" / "tasks"
    tasks.mkdir()
    (tasks / "task1.json").write_text(json.dumps(task_object()))
    assert list(load_library("super_ni:~/a,b:c,d").by_name) == ["super_ni_task1"]
    assert len(load_library("super_ni:~/a,b:c,d,other.jsonl").tasks) == 2
    with pytest.raises(ConfigError, match="no kind of library is named 'z'"):
        load_library("z:y")


def test_a_table_of_instructions(tmp_path):
    path = tmp_path / "lib.csv"
    path.write_text(
        "task,instruction,cluster,source,tokens\r\n"
        'b,"Do b, please.",,s,\r\n'
        "a,Do a.\r\n"
        'b,"Also\nb.",c,t,7\n'
    )
    library = load_library(str(path))
    assert library.tasks == (
        LibraryTask("a", ("Do a.",)),
        LibraryTask("b", ("Do b, please.", "Also b."), "c", ("s", "t"), 7),
    )
    for text, message in [
        ("task,text\na,b\n", "no column 'instruction'"),
        ("task,instruction,clutser\na,b,c\n", "unknown column 'clutser'; did you mean 'cluster'"),
        ("task,instruction\na,\n", "line 2: 'instruction' must not be empty"),
        ("task,instruction,tokens\na,b,1e3\n", "line 2: 'tokens' must be a whole number"),
        (f"task,instruction,tokens\na,b,{'9' * 5000}\n", "'tokens' must be a whole number"),
        ("task,instruction,cluster\na,b,c\na,d,e\n", "line 3: 'cluster' of task 'a' is another"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=f"lib.csv.*{message}"):
            load_library(str(path))


def test_sizes(tmp_path):
    library = load_library(jsonl(tmp_path, {"task": "a", "instructions": ["A."]}))
    csv = tmp_path / "sizes.csv"
    csv.write_text("task,tokens\na,12\nother,3\n")
    assert with_sizes(library, str(csv)).get("a").tokens == 12
    for text, message in [
        ("task\na\n", "no column"),
        ("task,tokens\na,-1\n", "line 2"),
        (f"task,tokens\na,{'9' * 5000}\n", "line 2: 'tokens' must be a whole number"),
    ]:
        csv.write_text(text)
        with pytest.raises(DataError, match=message):
            with_sizes(library, str(csv))


def task_object(**fields):
    return {
        "Source": ["squad"],
        "Categories": ["Question Answering"],
        "Definition": ["Answer {the question}.", "Answer it."],
        "Instances": [{"id": "1", "input": "SECRET", "output": ["SECRET"]}],
    } | fields


def test_super_ni_files_are_read_without_their_instances(tmp_path):
    folder = tmp_path / "tasks"
    folder.mkdir()
    whole = json.dumps(task_object())
    # What follows "Instances" is never parsed: here it is not even JSON.
    (folder / "task1-a.json").write_text(whole.replace('"SECRET"', "NOT JSON"))
    first = load_library(f"super_ni:{tmp_path}")
    task = first.get("super_ni_task1_a")
    assert task.instructions == ("Answer.", "Answer it.")
    assert (task.cluster, task.sources) == ("Question Answering", ("squad",))
    # The same with the instances removed, and with the fields behind them.
    (folder / "task1-a.json").write_text(json.dumps(task_object(Instances=[])))
    assert load_library(f"super_ni:{tmp_path}").hash == first.hash
    backwards = dict(reversed(task_object().items()))
    (folder / "task1-a.json").write_text(json.dumps(backwards, indent=1))
    assert load_library(f"super_ni:{tmp_path}").hash == first.hash
    for text, message in [("[]", "must be an object"), ("{", "not JSON"), ("{}", "Definition")]:
        (folder / "task1-a.json").write_text(text)
        with pytest.raises(DataError, match=message):
            load_library(f"super_ni:{tmp_path}")


def test_the_super_ni_library_has_the_cards_names(shared_data):
    library = load_library(f"super_ni:{shared_data}/super_ni")
    assert len(library.tasks) == 145
    manifest = json.loads((shared_data / "super_ni/manifest.json").read_text())
    assert manifest
    for task in library.tasks:
        assert task.name.startswith("super_ni_task")


def test_cards_of_a_module():
    library = load_library("tasks.minilab")
    task = library.get("minilab_first_word")
    assert task.cluster == "selection"
    assert len(task.instructions) >= 4
    with pytest.raises(DataError, match="did you mean 'minilab_first_word'"):
        library.get("minilab_frist_word")


def test_cards_are_read_where_every_instance_is_out_of_reach(monkeypatch):
    from flan_jax.selector.encoders import LEXICAL, Embedder, get_encoder
    from flan_jax.selector.parameters import Parameters
    from flan_jax.selector.selection import Selector, Target, all_instructions
    from tasks.minilab import lab

    def choose():
        library = load_library("tasks.minilab")
        made = Embedder(get_encoder(LEXICAL, all_instructions(library)), keep=False)
        target = Target.of_task(library.get("minilab_first_word"))
        return Selector(library, made).select([target], Parameters()).scores

    def refuse(*args, **kwargs):
        raise AssertionError("an instance was read")

    before = choose()
    monkeypatch.setattr(lab, "instance", refuse)
    monkeypatch.setattr(lab, "Instances", refuse)
    assert choose() == before
