"""Data checks: each finds what it is for, nothing else, and never refuses."""

import json
import os
import random
import time

import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.commands.check_folder import run_check
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions.budgets import Budget
from flan_jax.natural_instructions import data_checks, encodings, text_overlap
from flan_jax.natural_instructions.data_checks import check_folder
from flan_jax.natural_instructions.schema import parse_task
from flan_jax.natural_instructions.task_checks import CHECKS, Prompts, check_task, label_entropy
from flan_jax.natural_instructions.text_overlap import STRIDE, WINDOW, HeldOut

WORDS = [a + b for a in ("am", "bir", "ced", "del", "em") for b in ("ber", "tha", "ring", "ow")]


def sentence(seed, words=30):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def task_object(seed=0, count=40, **fields):
    """A task that no check objects to."""
    obj = {
        "Source": [f"source{seed}"],
        "Categories": ["Rhyming"],
        "Definition": ["Copy the text."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [
            {"input": f"p{i}", "output": f"q{i}", "explanation": "r"} for i in range(2)
        ],
        "Negative Examples": [{"input": "p0", "output": "no", "explanation": "r"}],
        "Instances": [
            {"id": f"{seed}-{i}", "input": sentence(f"{seed}/{i}"), "output": [f"out {i}"]}
            for i in range(count)
        ],
    }
    return obj | fields


def labelled(*labels):
    return [{"input": f"input {i}", "output": [label]} for i, label in enumerate(labels)]


def changed(position, **fields):
    """The instances of the usual task, one of them changed."""
    instances = task_object()["Instances"]
    instances[position] |= fields
    return instances


def found(obj, **kwargs):
    return {f.check: f for f in check_task(parse_task(obj, file="task1_x.json"), **kwargs)}


def test_nothing_odd_in_an_ordinary_task():
    assert found(task_object()) == {}
    assert found(task_object(Instances=labelled(*["yes", "no"] * 20))) == {}


@pytest.mark.parametrize(
    ("fields", "check", "count", "note"),
    [
        ({"Instances": labelled(*map(str, range(25)))}, "few_instances", 1, "25 instances"),
        ({"Instances": labelled(*map(str, range(6501)))}, "many_instances", 1, "6501 instances"),
        ({"Negative Examples": []}, "few_examples", 1, "2 positive, 0 negative"),
        ({"Instances": labelled(*["yes"] * 30)}, "single_answer", 1, "'yes' 30"),
        ({"Instances": labelled(*["yes"] * 27, *["no"] * 3)}, "label_imbalance", 1,
         "entropy 0.47 of 2 labels: 'yes' 27, 'no' 3"),
        ({"Instances": changed(7, input=" " + sentence("0/3") + "\n", output=["out 3"])},
         "duplicate_inputs", 1, "1 of them with its references too"),
        ({"Instances": changed(7, input="\tp1")}, "examples_among_instances", 1, ""),
        ({"Negative Examples": [{"input": "p1", "output": "q1 "}]}, "contradicting_examples", 1,
         ""),
        ({"Instances": changed(7, input=" \n")}, "blank_inputs", 1, ""),
        ({"Instances": changed(7, output=["a", " "])}, "blank_references", 1,
         "0 of them have no other"),
        ({"Instances": changed(7, output=[""])}, "blank_references", 1, "1 of them have no other"),
    ],
)  # fmt: skip
def test_each_check_finds_its_own_oddity_only(fields, check, count, note):
    findings = found(task_object(**fields))
    assert list(findings) == [check]
    assert (findings[check].count, findings[check].note) == (count, note)
    if findings[check].of > 1 and check != "contradicting_examples":
        assert findings[check].where == ("0-7",)


def test_conflicting_references():
    same = sentence("0/3")
    findings = found(task_object(Instances=changed(7, input=same, output=["other"])))
    assert list(findings) == ["duplicate_inputs", "conflicting_references"]
    conflict = findings["conflicting_references"]
    assert (conflict.count, conflict.of, conflict.where) == (1, 39, ("0-3",))
    partly = found(task_object(Instances=changed(7, input=same, output=["other", " out 3"])))
    assert list(partly) == ["duplicate_inputs"]


def test_held_out_inputs_among_the_rest_of_a_task():
    obj = task_object(Instances=changed(30, input=sentence("0/3")))
    assert "test_inputs_in_rest" not in found(obj)
    assert "test_inputs_in_rest" not in found(obj, held_out=31)
    leak = found(obj, held_out=30)["test_inputs_in_rest"]
    assert (leak.count, leak.of, leak.where) == (1, 30, ("0-3",))


def test_fifteen_labels_are_no_labels():
    skewed = ["x"] * 200 + [str(i) for i in range(14)]
    assert found(task_object(Instances=labelled(*skewed))) == {}
    assert list(found(task_object(Instances=labelled(*skewed[:-1])))) == ["label_imbalance"]


def test_label_entropy():
    assert label_entropy([5, 5, 5]) == pytest.approx(1.0)
    assert label_entropy([7]) == 0.0
    assert label_entropy([3, 1]) == pytest.approx(0.8112781)  # the binary entropy of 1/4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("aé中 \n", max_size=90), min_size=1, max_size=8),
    st.integers(80, 200),
    st.sampled_from(sorted(encodings.ENCODINGS)),
)
def test_prompts_are_counted_as_if_each_was_made(inputs, budget, encoding):
    obj = task_object(Instances=[{"input": text, "output": "x"} for text in inputs])
    prompts = Prompts(encoding, budget, lambda text: text.encode())
    findings = found(obj, prompts=prompts)
    task = {**obj, "Task": "task1_x"}

    def size(task, text):
        return len(whole_prompt(task, text, encoding).encode()) + 1

    bare = {**task, "Positive Examples": [], "Negative Examples": []}
    over = sum(size(task, text) > budget for text in inputs)
    cut = sum(size(bare, text) > budget for text in inputs)
    counts = {check: f.count for check, f in findings.items() if check.endswith("_prompts")}
    assert counts == {c: n for c, n in {"long_prompts": over, "cut_prompts": cut}.items() if n}
    if over:
        longest = max(size(task, text) for text in inputs)
        assert findings["long_prompts"].note == f"the longest has {longest} tokens"


def whole_prompt(task, text, encoding):
    budget = Budget(10**6, str.split, " ".join)
    return encodings.encode_prompt(task, {"input": text}, encoding, budget).text


_text = st.text(max_size=8)
_examples = st.lists(st.fixed_dictionaries({"input": _text, "output": _text}), max_size=3)
_instance = st.fixed_dictionaries({"input": _text, "output": st.lists(_text, min_size=1)})


@settings(max_examples=150, deadline=None)
@given(st.lists(_instance, min_size=1, max_size=30), _examples, _examples, st.integers(0, 100))
def test_no_valid_task_is_too_odd_to_check(instances, positive, negative, held_out):
    examples = {"Positive Examples": positive, "Negative Examples": negative}
    prompts = Prompts("def_pos2_neg2_expl", 90, lambda text: text.encode())
    findings = found(
        task_object(Instances=instances, **examples), held_out=held_out, prompts=prompts
    )
    assert set(findings) <= set(CHECKS)
    for finding in findings.values():
        assert 0 < finding.count <= finding.of
        json.dumps(finding.where)


# --- texts in common


def shared(held_out, training):
    """Number of (training, held-out) inputs with equal texts, and with passages in common."""
    texts = HeldOut()
    texts.add("test", held_out)
    overlap = texts.overlap(training)
    return [
        (found["test"].training, sorted(found["test"].held_out)) if found else None
        for found in overlap
    ]


def test_equal_inputs_whatever_their_case_and_blanks():
    assert shared(["One two", "three"], ["four", " one\nTWO "]) == [(1, [0]), None]
    assert shared(["", " "], ["", "\n"]) == [None, None]


@settings(max_examples=40, deadline=None)
@given(
    before=st.integers(0, 200),
    there=st.integers(0, 200),
    length=st.integers(0, 2 * WINDOW),
    seed=st.integers(0, 10**6),
)
def test_a_common_passage_is_found_exactly_if_it_is_long_enough(before, there, length, seed):
    draw = random.Random(seed)

    def letters(alphabet, count):
        return "".join(draw.choice(alphabet) for _ in range(count))

    passage = letters("abcé中", length)
    held_out = ["nothing", letters("xyz", before) + passage + letters("xyz", 80)]
    training = [letters("uvw", there) + passage + letters("uvw", 80)]
    passages = shared(held_out, training)[1]
    if length >= WINDOW + STRIDE - 1:
        assert passages == (1, [1])
    if length < WINDOW:
        assert passages is None


def test_what_many_inputs_of_a_task_have_in_common_is_no_leak():
    phrasing = sentence("phrasing", 20) + " "
    held_out = [phrasing + sentence(i) for i in range(20)]
    assert shared(held_out, [phrasing + "new"])[1] is None
    assert shared(held_out[:3], [phrasing + "new"])[1] == (1, [0, 1, 2])
    assert shared(held_out, [phrasing + sentence(7) + " new"])[1] == (1, [7])


def test_texts_longer_than_a_batch(monkeypatch):
    monkeypatch.setattr(text_overlap, "_BATCH", 1 << 12)
    monkeypatch.setattr(text_overlap, "_PIECE", 1 << 11)
    long, passage = sentence("long", 4000), sentence("passage", 40)
    for place in (0, 2000, 2048, 9000, len(long)):
        with_passage = long[:place] + passage + long[place:]
        assert shared([sentence(1), passage], [with_passage])[1] == (1, [1])
        assert shared([with_passage, "x"], [sentence(1), passage])[1] == (1, [0])


@pytest.mark.parametrize("text", ["-" * 200_000, "ab " * 60_000])
def test_one_window_over_and_over_takes_seconds(text):
    """Each place of the one would match each place of the other."""
    start = time.monotonic()
    assert shared(["nothing", text + "x"], ["y" + text, text])[1] == (2, [1])
    assert shared(["a"] * 20_000, ["a"] * 20_000)[0] == (20_000, list(range(20_000)))
    assert time.monotonic() - start < 20


def test_hints_are_given_where_a_name_may_be_misspelt(tmp_path):
    files = {f"task{i:04}_{'abcdefgh' * 4}": None for i in range(3000)}
    (tmp_path / "splits/default").mkdir(parents=True)
    listed = "\n".join(name.replace("a", "b") for name in files)
    (tmp_path / "splits/default/train_tasks.txt").write_text(listed)
    start = time.monotonic()
    splits = data_checks._Splits(epath.Path(tmp_path))
    assert len(list(splits.unlisted(files))) == 3000
    assert time.monotonic() - start < 10
    (finding,) = splits.unlisted({f"tbsk0001_{'bbcdefgh' * 3}": None})
    assert finding.note.startswith("no split file names it; did you mean 'tbsk0001_")


# --- folders


@pytest.fixture
def folder(tmp_path):
    """A test task, a training task that leaks into it, one that does not, and a broken file."""
    (tmp_path / "tasks").mkdir()
    test = task_object("t", count=120, Source=["SQuAD 2.0", "own"])
    leak = task_object("l", Source=["squad2.0"])
    leak["Instances"][3]["input"] = test["Instances"][5]["input"].upper()
    leak["Instances"][4]["input"] = "Read this: " + test["Instances"][6]["input"] + " Why?"
    leak["Instances"][6]["input"] = test["Instances"][110]["input"]  # not tested on
    objects = {"task1_test": test, "task2_leak": leak, "task3_fine": task_object("f")}
    for name, obj in objects.items():
        (tmp_path / "tasks" / f"{name}.json").write_text(json.dumps(obj))
    (tmp_path / "tasks" / "task4_broken.json").write_text('{"Source": 1}')
    write_split(tmp_path, "default", "train", "task2_leak", "task3_fine", "task4_broken")
    write_split(tmp_path, "default", "test", "task1_test", "task9_absent")
    return tmp_path


def write_split(folder, track, part, *names):
    file = folder / "splits" / track / f"{part}_tasks.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(names))


def test_a_folder(folder):
    report = check_folder(str(folder))
    assert (report.tasks, report.instances) == (3, 200)
    assert report.splits == {"default": {"test": (1, 2), "train": (3, 3)}}
    unreadable, source, equal, passages = report.findings
    assert (unreadable.check, unreadable.task) == ("unreadable", "task4_broken")
    assert unreadable.note.startswith("task4_broken.json: ")
    assert (source.check, source.task, source.where) == (
        "shared_source", "task2_leak", ("task1_test",)
    )  # fmt: skip
    assert source.note == "source 'squad2.0', there ['SQuAD 2.0']"
    assert (equal.check, equal.task, equal.track) == ("equal_inputs", "task1_test", "default")
    assert (equal.count, equal.of, equal.where) == (1, 100, ("t-5",))
    assert (passages.check, passages.count) == ("shared_passages", 2)
    assert passages.where == ("t-5", "t-6")
    assert passages.note == "training inputs in task2_leak (2)"


def test_some_tasks_of_a_folder(folder):
    assert check_folder(str(folder), ["task3_fine"]).findings == ()
    report = check_folder(str(folder), ["tasks/task2_leak.json"])
    assert (report.tasks, report.instances) == (1, 40)
    assert list(report.summary()) == ["shared_source", "equal_inputs", "shared_passages"]
    with pytest.raises(DataError, match="did you mean 'task3_fine'"):
        check_folder(str(folder), ["task3_fin"])


def test_a_task_may_be_tested_by_one_track_and_trained_on_by_another(folder):
    write_split(folder, "other", "train", "task1_test")
    write_split(folder, "other", "test", "task2_leak")
    found = {(f.check, f.track, f.task) for f in check_folder(str(folder)).findings}
    assert ("equal_inputs", "default", "task1_test") in found
    assert ("equal_inputs", "other", "task2_leak") in found
    assert ("shared_source", "other", "task1_test") in found
    assert not any(task == "task3_fine" for _, _, task in found)


def test_split_files_that_are_wrong(folder):
    write_split(folder, "default", "excluded", "task1_test")
    (folder / "tasks" / "task8_absent.json").write_text(json.dumps(task_object("a")))
    report = check_folder(str(folder))
    notes = {f.task: f.note for f in report.findings if f.check == "split_files"}
    assert notes == {
        "task1_test": "listed in excluded_tasks.txt, and before in test_tasks.txt",
        "task8_absent": "no split file names it; did you mean 'task9_absent'?",
    }


def test_a_folder_of_files_alone_and_folders_without(folder, tmp_path):
    assert check_folder(str(folder / "tasks")).tasks == 3
    with pytest.raises(DataError, match="is not a folder"):
        check_folder(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no task files"):
        check_folder(str(tmp_path / "empty"))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.builds(lambda o: json.dumps(o).encode(), st.none() | _text))
def test_no_file_is_too_broken_to_report(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "task1_x.json").write_bytes(content)
    write_split(folder, "default", "test", "task1_x")
    (folder / "splits" / "default" / "train_tasks.txt").write_bytes(content)
    findings = check_folder(str(folder)).findings
    assert [f.task for f in findings if f.check == "unreadable"] == ["task1_x"]


def test_what_is_no_file_and_names_that_are_no_text(folder, capsys):
    (folder / "tasks" / "task5_folder.json").mkdir()
    (folder / "tasks" / os.fsdecode(b"task6_\xff.json")).write_text("{}")
    os.mkfifo(folder / "tasks" / "task7_fifo.json")
    (folder / "tasks" / "task8_link.json").symlink_to("nowhere")
    assert run_check(str(folder), as_json=True) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    unreadable = [f["task"] for f in findings if f["check"] == "unreadable"]
    names = ["task4_broken", "task5_folder", "task6_\\udcff", "task7_fifo", "task8_link"]
    assert unreadable == names
    assert run_check(str(folder)) == 1
    capsys.readouterr().out.encode()


def test_json_and_tables(folder, capsys):
    assert run_check(str(folder), as_json=True) == 1
    obj = json.loads(capsys.readouterr().out)
    assert obj["tasks"] == 3
    assert obj["summary"]["shared_passages"] == {
        "meaning": CHECKS["shared_passages"], "tasks": 1, "count": 2
    }  # fmt: skip
    assert [f["check"] for f in obj["findings"]] == list(obj["summary"])
    assert run_check(str(folder), ["task2_leak"]) == 0
    shown = capsys.readouterr().out
    assert "shared_passages" in shown and "2 of 100" in shown
    assert "track default: test 1 of 2, train 3 of 3 tasks are there" in shown
    assert run_check(str(folder), ["task3_fine"]) == 0
    assert "nothing odd was found" in capsys.readouterr().out


def test_prompts_of_a_folder(folder, capsys, monkeypatch):
    monkeypatch.setenv("VOCABULARY", "byte")
    assert run_check(str(folder), ["task3_fine"], True, "def_pos2", 260) == 0
    obj = json.loads(capsys.readouterr().out)
    assert (obj["encoding"], obj["budget"], obj["vocabulary"]) == ("def_pos2", 260, "byte")
    assert obj["summary"]["long_prompts"]["count"] == 40
    with pytest.raises(ConfigError, match="did you mean 'def_pos2'"):
        run_check(str(folder), encoding="deff_pos2")
    with pytest.raises(ConfigError, match="a budget is"):
        run_check(str(folder), encoding="def", budget=0)


def test_real_data(shared_data):
    report = check_folder(str(shared_data / "super_ni"))
    assert (report.tasks, report.instances) == (145, 12253)
    summary = report.summary()
    # Winograd schemas are in training tasks as well as in tests of coreference.
    assert summary["shared_passages"][0] == 4
    assert "shared_source" not in summary and "unreadable" not in summary
    assert {f.task for f in report.findings if f.check == "label_imbalance"} == {
        "task1706_ljspeech_classification"
    }
