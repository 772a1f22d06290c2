"""`flan-jax score`: published scores, every format, what is missing or wrong, no jax."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from flan_jax import cli, metrics, rouge
from flan_jax.errors import ConfigError, DataError, FlanJaxError
from flan_jax.natural_instructions.schema import parse_task
from flan_jax.scoring import prediction_files, references, summaries

ROOT = pathlib.Path(__file__).resolve().parents[2]


def task_object(number, outputs, category="Textual Entailment", **fields):
    obj = {
        "Source": [f"source{number}"],
        "Categories": [category],
        "Definition": [f"Definition of {number}"],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [{"input": "p", "output": f"demo {number}", "explanation": "r"}],
        "Negative Examples": [],
        "Instances": [
            {"id": f"task{number}-{i:04d}", "input": f"input {number} {i}", "output": output}
            for i, output in enumerate(outputs)
        ],
    }
    return obj | fields


@pytest.fixture
def folder(tmp_path):
    """Two English test tasks, one of 102 instances, and a cross-lingual one."""
    folder = tmp_path / "ni"
    (folder / "tasks").mkdir(parents=True)
    tasks = {
        "task121_label": task_object(121, [["yes"], ["no"], ["yes", "sure"], ["no"]]),
        "task002_long": task_object(2, [[f"a b c {i}"] for i in range(102)], "Title Generation"),
        "task003_other": task_object(3, [["ja"], ["nein"]], "Cause Effect Classification"),
    }
    for name, obj in tasks.items():
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(obj))
    for track, names in {
        "default": [*tasks][:2] + ["task900_absent"],
        "xlingual": [*tasks][2:],
    }.items():
        (folder / "splits" / track).mkdir(parents=True)
        (folder / "splits" / track / "test_tasks.txt").write_text("\n".join(names) + "\n")
    return folder


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def score(capsys):
    """Runs the verb and returns its JSON and what it said beside it."""

    def run(predictions, reference=None, *more):
        arguments = ["score", f"--predictions={predictions}", "--json", *more]
        if reference is not None:
            arguments.append(f"--references={reference}")
        assert cli.run(arguments) == 0
        captured = capsys.readouterr()
        return json.loads(captured.out), captured.err

    return run


def answers(folder, change=lambda text: text):
    """A right answer to every English test instance, as the leaderboard has it."""
    found = references.read_references(str(folder))
    return [{"id": r.id, "prediction": change(r.references[-1])} for r in found.instances]


# Published scores


def test_the_scores_of_all_published_prediction_sets(shared_data, score):
    data = shared_data / "natural_instructions_v1"
    published = json.loads((data / "gpt3_predictions" / "rougeL.json").read_text())
    predictions = data / "gpt3_predictions" / "predictions.json"
    found, said = score(predictions, data / "dataset_jsons", "--bootstrap=10")
    by_set = found["by_prediction_set"]
    assert by_set.keys() == published.keys() and len(by_set) == 130
    assert max(abs(by_set[name]["rougeL"] / 100 - v) for name, v in published.items()) < 1e-9
    assert {scores["n"] for scores in by_set.values()} == {100}
    assert (found["format"], said) == ("ni_v1", "")
    assert found["by_category"].keys() == {"QG", "CF", "IAG", "MM", "VF"}
    assert found["ids"] == {
        "predictions": 13000, "scored": 13000,
        "missing": 0, "duplicate": 0, "unknown": 0, "other_track": 0,
    }  # fmt: skip


texts = st.text(alphabet=st.sampled_from("aAb xyz.,é中 \n"), max_size=12) | st.text(max_size=8)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), max_size=6))
def test_scores_are_those_of_rouge_score_and_of_the_metrics(pairs):
    pairs = [(said, tuple(refs)) for said, refs in pairs]
    found = summaries.score_pairs(pairs, processes=1)
    expected = [[metrics.rouge_l(*pair), metrics.exact_match(*pair)] for pair in pairs]
    assert found.tolist() == expected
    library = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    for (said, refs), (rouge_l, _) in zip(pairs, found, strict=True):
        with_words = [text for text in refs if rouge.english().tokenize(text)]
        scores = [library.score(text, said)["rougeL"].fmeasure for text in with_words]
        same = any(metrics.as_it_stands(said) == metrics.as_it_stands(text) for text in refs)
        assert rouge_l == 100 * max([*scores, float(same and with_words != list(refs))])


tokens = st.lists(st.sampled_from("abcd"), max_size=20)


@given(tokens, tokens)
def test_the_longest_common_subsequence_is_that_of_the_whole_table(first, second):
    assert rouge.lcs_length(first, second) == rouge_scorer._lcs_table(first, second)[-1][-1]


def test_long_texts_need_neither_hours_nor_all_memory(tmp_path, score):
    """The table of these two has 400 million cells."""
    words = [f"w{i * i % 9973}" for i in range(20_000)]
    refs = write_lines(tmp_path / "r.jsonl", [{"id": "a", "references": [" ".join(words)]}])
    row = {"id": "a", "prediction": " ".join(reversed(words))}
    started = time.monotonic()
    found, _ = score(write_lines(tmp_path / "p.jsonl", [row]), refs)
    assert time.monotonic() - started < 5 and 0 < found["overall"]["rougeL"] < 100


def test_the_number_of_processes_does_not_matter(shared_data):
    found = references.read_references(str(shared_data / "super_ni")).instances[:600]
    pairs = [(r.input, r.references) for r in found]
    one = summaries.score_pairs(pairs, processes=1)
    assert one[:, 0].mean() > 5
    np.testing.assert_array_equal(one, summaries.score_pairs(pairs, processes=2))


def test_reading_the_library_quickly_leaves_scipy_usable():
    code = (
        "import sys\nfrom flan_jax.scoring import summaries\nsummaries.import_rouge_quickly()\n"
        "assert 'scipy.stats' not in sys.modules\nimport scipy.stats\n"
        "assert summaries.score_pairs([('cats', ('a cat',))])[0, 0] > 60\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


# Rules of the benchmark


def test_a_worked_example(folder, tmp_path, score):
    """Means over instances; each category reports its own metric."""
    rows = answers(folder)
    for row in rows[:2]:  # "yes", "no" of task121
        row["prediction"] = "Yes!"
    for row in rows[4:]:  # task002: "a b c i"
        row["prediction"] = "a b"
    found, said = score(write_lines(tmp_path / "p.jsonl", rows), folder)
    rouge = 100 * 2 * (1.0 * 0.5) / 1.5  # two of two words, two of four
    assert found["by_task"]["task121_label"] == {"rougeL": 75.0, "exact_match": 75.0, "n": 4}
    assert found["by_task"]["task002_long"]["rougeL"] == pytest.approx(rouge)
    assert found["overall"]["n"] == 104
    assert found["overall"]["rougeL"] == pytest.approx((4 * 75 + 100 * rouge) / 104)
    assert found["overall"]["exact_match"] == pytest.approx(4 * 75 / 104)
    assert found["reported"]["Textual Entailment"] == {"metric": "exact_match", "value": 75.0}
    assert found["reported"]["Title Generation"]["metric"] == "rougeL"
    assert list(found["by_category"]) == ["Textual Entailment", "Title Generation"]
    assert (found["mixture"], found["step"], found["track"]) == (
        "super_ni_default_test", None, "default",
    )  # fmt: skip
    assert found["absent_tasks"] == ["task900_absent"] and "lacks 1 test tasks" in said
    assert "by_prediction_set" not in found


def test_missing_duplicate_and_unknown_ids_are_counted(folder, tmp_path, score):
    rows = answers(folder)
    del rows[5:8]
    rows += [
        {"id": rows[0]["id"], "prediction": "no"},  # the last one counts
        {"id": "task2-0101", "prediction": "not among the first hundred"},
        {"id": "task999-0", "prediction": "x"},
        {"id": "task3-0001", "prediction": "nein"},
    ]
    found, said = score(write_lines(tmp_path / "p.jsonl", rows), folder)
    assert found["ids"] == {
        "predictions": 105, "scored": 104,
        "missing": 3, "duplicate": 1, "unknown": 2, "other_track": 1,
    }  # fmt: skip
    assert found["by_task"]["task121_label"]["exact_match"] == 75.0
    assert found["by_task"]["task002_long"]["rougeL"] == pytest.approx(97.0)
    for words in ("3 instances without", "task2-0001", "1 predictions were replaced", "task999-0",
                  "1 predictions are for another track"):  # fmt: skip
        assert words in said


def test_references_of_signs_are_compared_as_they_stand_and_counted(tmp_path, score):
    refs = write_lines(tmp_path / "r.jsonl", [{"id": "a", "references": ["...", "再见"]},
                                              {"id": "b", "references": ["x"]},
                                              {"id": "c", "references": ["] ]"]}])  # fmt: skip
    preds = write_lines(tmp_path / "p.jsonl", [{"id": "b", "prediction": "x"},
                                               {"id": "c", "prediction": "] ]"}])  # fmt: skip
    found, said = score(preds, refs)
    assert found["overall"]["rougeL"] == found["overall"]["exact_match"] == pytest.approx(200 / 3)
    assert found["normalise_to_nothing"] == {"rougeL": 3, "exact_match": 2}
    assert "as they stand: 3 for ROUGE-L, 2 for exact match ('...', '再见', '] ]')" in said


def test_no_answer_is_right_where_the_answers_are_brackets(shared_data, tmp_path, score):
    case = shared_data / "cases" / "exact_match_punctuation"
    found, said = score(case / "preds.jsonl", case / "refs.jsonl")
    assert found["overall"] == {"rougeL": 0.0, "exact_match": 0.0, "n": 5}
    assert found["reported"]["Word Analogy"]["value"] == 0.0 and "5 for exact match" in said
    rows = json.loads((shared_data / "bbh" / "dyck_languages.json").read_text())["examples"]
    refs = [{"id": str(i), "references": [row["target"]]} for i, row in enumerate(rows)]
    refs = write_lines(tmp_path / "r.jsonl", refs)
    for answer, expected in ((lambda t: "", 0), (lambda t: t, 100), (lambda t: t + " ]", 0)):
        preds = [{"id": str(i), "prediction": answer(row["target"])} for i, row in enumerate(rows)]
        found, _ = score(write_lines(tmp_path / "p.jsonl", preds), refs, "--bootstrap=0")
        assert found["overall"] == {"rougeL": expected, "exact_match": expected, "n": 250}
        assert found["normalise_to_nothing"]["exact_match"] == 250


def test_a_minus_counts_but_in_the_published_scorer(tmp_path, score):
    (tmp_path / "task5_minus.json").write_text(json.dumps(task_object(5, [["-5"]])))
    rows = [{"id": "task5-0000", "references": ["-5"], "task_id": "task5_minus"}]
    leaderboard = write_lines(tmp_path / "leaderboard.jsonl", rows)
    ours = write_lines(tmp_path / "ours.jsonl", [{"id": "task5-0000", "references": ["-5"]}])
    preds = write_lines(tmp_path / "p.jsonl", [{"id": "task5-0000", "prediction": "5"}])
    for refs, expected in {
        tmp_path / "task5_minus.json": 100.0,
        leaderboard: 100.0,
        ours: 0.0,
    }.items():
        assert score(preds, refs)[0]["overall"]["exact_match"] == expected
    row = {"id": "0", "prediction": "5", "targets": ["-5"]}
    for task, expected in {"super_ni_task5_minus": 100.0, "ni_v1_subtask001_x": 100.0,
                           "bbh_object_counting": 0.0}.items():  # fmt: skip
        found, _ = score(write_lines(tmp_path / "own.jsonl", [{"task": task} | row]))
        assert found["overall"]["exact_match"] == expected


def test_the_leaderboards_references(tmp_path, score):
    rows = [
        {"id": "a", "references": ["x", "y"], "task_id": "t1", "task_category": "Word Analogy",
         "track": "default"},
        {"id": "b", "references": ["z"], "task_id": "t2", "task_category": "Data to Text"},
        {"id": "c", "references": ["ä"], "task_id": "t3", "track": "xlingual"},
    ]  # fmt: skip
    refs = write_lines(tmp_path / "refs.jsonl", rows)
    preds = write_lines(
        tmp_path / "p.jsonl",
        [{"id": i, "prediction": p} for i, p in zip("abc", "yqä", strict=True)],
    )
    found, _ = score(preds, refs)
    assert found["by_task"] == {
        "t1": {"rougeL": 100.0, "exact_match": 100.0, "n": 1},
        "t2": {"rougeL": 0.0, "exact_match": 0.0, "n": 1},
    }
    assert found["reported"]["Word Analogy"] == {"metric": "exact_match", "value": 100.0}
    assert (found["ids"]["other_track"], found["mixture"]) == (1, "refs")


# Formats


def tk_rows(folder, **fields):
    found = references.read_references(str(folder))
    return [
        {
            "Task": r.task,
            "Categories": [r.category],
            "Instance": {"id": r.id, "input": r.input, "output": list(r.references)},
            "prediction": r.references[0],
            **fields,
        }
        for r in found.instances
    ]


def test_tk_instructs_predictions_with_and_without_references(folder, tmp_path, score):
    preds = write_lines(tmp_path / "predicted_examples.jsonl", tk_rows(folder))
    for reference in (folder, None):
        found, _ = score(preds, reference)
        assert found["format"] == "tk_instruct"
        assert found["overall"]["exact_match"] == 100.0 and found["overall"]["n"] == 104
        assert found["by_category"]["Title Generation"]["n"] == 100


def test_older_predictions_without_ids_are_found_by_their_input(folder, tmp_path, score):
    rows = tk_rows(folder)
    for row in rows:
        del row["Instance"]["id"]
        # The task was renamed since.
        row["Task"] = row["Task"].replace("121_label", "121_atomic_question_rewriting")
    rows[0]["Instance"]["input"] = "something else"
    found, said = score(write_lines(tmp_path / "p.jsonl", rows), folder)
    assert (found["ids"]["missing"], found["ids"]["unknown"]) == (1, 1)
    assert "task121_atomic_question_rewriting: 'something else'" in said
    assert found["by_task"]["task121_label"]["exact_match"] == 75.0
    assert score(tmp_path / "p.jsonl")[0]["overall"]["exact_match"] == 100.0


def test_our_own_predictions_as_file_and_as_folder(folder, tmp_path, score):
    rows = [
        {"task": "super_ni_task121_label", "id": f"task121-000{i}", "template": "def_pos2",
         "options": [], "prompt": "?", "prediction": "yes", "targets": ["yes"]}
        for i in range(4)
    ]  # fmt: skip
    out = tmp_path / "eval"
    out.mkdir()
    preds = write_lines(out / "predictions.jsonl", rows)
    found, _ = score(preds, folder)
    assert found["format"] == "flan_jax" and found["ids"]["missing"] == 100
    assert found["by_task"]["task121_label"]["exact_match"] == 50.0
    own, _ = score(out)  # their own references say "yes" throughout
    assert own["overall"] == {"rougeL": 100.0, "exact_match": 100.0, "n": 4}


def test_ids_that_several_tasks_use(tmp_path, score):
    rows = [{"task": t, "id": "0", "prediction": t, "targets": ["a"]} for t in ("a", "b")]
    assert score(write_lines(tmp_path / "p.jsonl", rows))[0]["overall"]["exact_match"] == 50.0
    refs = [{"id": "0", "references": [t], "task_id": t} for t in ("a", "b")]
    refs = write_lines(tmp_path / "r.jsonl", refs)
    assert score(tmp_path / "p.jsonl", refs)[0]["overall"]["exact_match"] == 100.0
    plain = write_lines(tmp_path / "q.jsonl", [{"id": "0", "prediction": "a"}])
    with pytest.raises(DataError, match="several tasks have an instance '0'"):
        score(plain, refs)


def v1_task(count):
    example = {"input": "i", "output": "o", "reason": "r"}
    return {
        "Title": "t", "Prompt": "p", "Definition": "d", "Things to Avoid": "-",
        "Emphasis & Caution": "-",
        "Instances": [{"input": f"i{n}", "output": [f"o{n}"]} for n in range(count)],
        "Examples": {"Positive Examples": [example], "Negative Examples": ["-"]},
    }  # fmt: skip


def test_the_first_releases_predictions(tmp_path, score):
    data = tmp_path / "dataset_jsons"
    data.mkdir()
    names = ("subtask003_a", "subtask005_b")
    for name in names:
        (data / f"{name}.json").write_text(json.dumps(v1_task(300)))
    sampled = [60 + 2 * k for k in range(100)]
    rows = [{"index": i, "output": f" o{i}"} for i in sampled]
    odd = [{"index": 0, "output": "o0"}, {"index": 300, "output": "o"}]
    sets = {
        "subtask003_a@_Prompt@2_100": rows,
        "subtask003_a@_Definition@0_100": rows[:40] + odd,
        "subtask009_c@_Prompt@0_100": rows[:1],
    }
    preds = tmp_path / "predictions.json"
    preds.write_text(json.dumps(sets))
    found, said = score(preds, tmp_path)
    by_set = found["by_prediction_set"]
    assert [s["rougeL"] for s in by_set.values()] == [100.0, pytest.approx(4100 / 101), 0.0]
    assert [s["n"] for s in by_set.values()] == [100, 101, 0]
    assert (found["ids"]["missing"], found["ids"]["unknown"]) == (60, 2)
    assert found["by_category"]["QG"]["n"] == 201
    assert "1 tasks of" in said and "have no prediction" in said
    # The scorer's other form: one set for one file.
    preds = tmp_path / "subtask003_a.json"
    preds.write_text(json.dumps({"predictions": rows}))
    found, _ = score(preds, data / "subtask003_a.json")
    assert found["overall"] == {"rougeL": 100.0, "exact_match": 100.0, "n": 100}
    # Our own predictions for some of its subtasks.
    own = [{"task": "ni_v1_subtask003_a", "id": f"subtask003_a-{i}", "prediction": f"o{i}",
            "targets": ["?"]} for i in sampled[:50]]  # fmt: skip
    found, _ = score(write_lines(tmp_path / "own.jsonl", own), data)
    assert found["overall"]["n"] == 100 and found["overall"]["exact_match"] == 50.0


def test_several_systems_stand_in_one_table(folder, tmp_path, score, capsys):
    good = write_lines(tmp_path / "good.jsonl", answers(folder))
    bad = write_lines(tmp_path / "bad.jsonl", answers(folder, lambda text: "?"))
    found, _ = score(good, folder, f"--predictions={bad}")
    assert [found["by_prediction_set"][str(p)]["exact_match"] for p in (good, bad)] == [100.0, 0.0]
    arguments = ["score", f"--predictions={good}", f"--references={folder}"]
    assert cli.run([*arguments, f"--predictions={bad}"]) == 0
    shown = capsys.readouterr().out
    assert "good.jsonl" in shown and "by task" not in shown
    assert cli.run(arguments) == 0
    shown = capsys.readouterr().out
    assert "Textual Entailment" in shown and "exact match" in shown and "100.00" in shown
    assert "predictions 104, scored 104, missing 0" in shown


@pytest.mark.parametrize(
    "content, wrong",
    [
        ("", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ('{"idd": "a", "answer": "b"}', "begins with 'idd', 'answer'"),
        ('{"id": "a", "prediction": 3}', "line 1: 'prediction' must be a string, found a number"),
        ('{"id": "a", "prediction": "x"}\n\n{"id": 7, "prediction": "y"}', "line 3: 'id' must be"),
        ('{"id": "a", "prediction": "x"}\n{"ids": "a", "prediction": "x"}', "did you mean 'ids'"),
        ('{"id": "a", "prediction": "x"}\n{"id"', "line 2: not JSON"),
        ('{"id": "\\ud800", "prediction": "x"}', "must be a name"),
        ('{"Task": "t", "Instance": 3, "prediction": "x"}', "'Instance' must be an object"),
        ('{"s@a@0_1": [{"index": "1", "output": "x"}]}', "must be a whole number, found a string"),
        ('{"s@a@0_1": [{"index": true, "output": "x"}]}', "must be a whole number, found true"),
        ('{"s@a@0_1": [{"index": 1' + "0" * 400 + ', "output": "x"}]}', "found a number of very"),
        ('{"id": "a", "prediction": "x"}\n{"id": ' + "[" * 10**5, "line 2: nested too deeply"),
        ('{"id": "a", "prediction": "x"}\n{"id": 1' + "0" * 5000 + "}", "line 2: not JSON"),
        ('{"' + "x" * 10**5 + '": [3]}', r"p.jsonl: x{80}\[0\] must be an object"),
        ('{"id": "' + "x" * 10**5 + '", "prediction": "x"}', "is for 'x{80}'..., the references"),
        ('{"s@a@0_1": [3]}', r"s@a@0_1\[0\] must be an object, found a number"),
        ('{"s@a@0_1": []}', "holds no predictions"),
        ('{"id": "unknown", "prediction": "x"}', "no prediction is for an instance"),
    ],
)
def test_wrong_predictions_are_one_clear_error(folder, tmp_path, score, content, wrong):
    file = tmp_path / "p.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=wrong):
        score(file, folder)


def test_wrong_names_are_one_clear_error(folder, tmp_path, score):
    preds = write_lines(tmp_path / "p.jsonl", answers(folder))
    with pytest.raises(DataError, match="did you mean 'p.jsonl'"):
        score(tmp_path / "p.json", folder)
    with pytest.raises(ConfigError, match="--processes: must be a whole number above 0, not '0'"):
        score(preds, folder, "--processes=0")
    with pytest.raises(ConfigError, match="names a file twice"):
        score(preds, folder, f"--predictions={preds}")
    with pytest.raises(DataError, match="holds no references"):
        score(preds, folder / "splits")
    with pytest.raises(DataError, match="carries no references.*--references"):
        score(preds)
    with pytest.raises(DataError, match="neither a JSON object"):
        score(preds, write_lines(tmp_path / "r.jsonl", [[1]]))
    with pytest.raises(DataError, match="not a file of references"):
        score(preds, preds)
    with pytest.raises(DataError, match="'a' is there 2 times"):
        score(preds, write_lines(tmp_path / "r.jsonl", [{"id": "a", "references": ["x"]}] * 2))
    with pytest.raises(DataError, match="at least one string"):
        score(preds, write_lines(tmp_path / "r.jsonl", [{"id": "a", "references": []}]))
    with pytest.raises(DataError, match=r"tasks/task121_label.json: Instances\[1\]"):
        path = folder / "tasks" / "task121_label.json"
        path.write_text(path.read_text().replace('"output": ["no"]', '"output": [3]', 1))
        score(preds, folder)


def test_only_regular_files_are_read_and_their_names_lead_nowhere_else(folder, tmp_path, score):
    preds = write_lines(tmp_path / "p.jsonl", answers(folder))
    os.mkfifo(tmp_path / "fifo")
    for path, why in {
        tmp_path / "fifo": "not a regular file",
        pathlib.Path("/dev/zero"): "not a regular file",
        tmp_path / ("x" * 5000): "a path of at most 4,096 bytes",
        tmp_path / "nul\0": "a path",
    }.items():
        for arguments in ((path, folder), (preds, path)):
            with pytest.raises(ConfigError if "a path" in why else DataError, match=why):
                score(*arguments)
    secret = tmp_path / "outside.json"
    secret.write_text(json.dumps(task_object(9, [["secret"]])))
    split = folder / "splits" / "default" / "test_tasks.txt"
    for name, why in {
        "../../outside": "not inside",
        str(tmp_path / "outside"): "not inside",
        "x" * 5000: "holds none of the 1 test tasks",
        "nul\0": "no path below",
    }.items():
        split.write_text(f"{name}\n")
        with pytest.raises(DataError, match=why):
            score(preds, folder)
    (folder / "tasks" / "task009_link.json").symlink_to(secret)
    split.write_text("task009_link\n")
    with pytest.raises(DataError, match="a link that leads out of"):
        score(preds, folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["\ud800", "\0", "\u2028", "@", 10**400, -1, "a@b@_999999"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "prediction", "task", "targets", "Task", "Instance", "output",
                         "references", "index", "predictions", "input", "Categories", "a@b@1_2",
                         "Instances", "Examples", "track", "task_id"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(json_values, min_size=1, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)))
    | st.text(max_size=30),
    st.sampled_from([*prediction_files.FORMATS, "auto"]),
)
def test_odd_files_are_read_or_refused(tmp_path, text, format):
    file = tmp_path / "odd"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (
        lambda: prediction_files.read_predictions(str(file), format)[0],
        lambda: references.read_references(str(file)),
        lambda: prediction_files.carried_references(
            prediction_files.read_predictions(str(file), format)[0]
        ),
    ):
        try:
            assert read()
        except FlanJaxError as error:
            assert str(error)


# References


def test_only_the_first_hundred_instances_are_read_and_counted(folder):
    path = folder / "tasks" / "task002_long.json"
    text = path.read_text()
    found = references.read_references(str(folder))
    assert [r.id for r in found.instances if r.task == "task002_long"][-1] == "task2-0099"
    # What comes behind is not parsed.
    assert len(references.task_head(text[: text.index("task2-0100")], 100)["Instances"]) == 100
    # Fields behind the instances make no difference.
    obj = json.loads(text)
    path.write_text(json.dumps({**{"Instances": obj.pop("Instances")}, **obj}))
    assert references.read_references(str(folder)).instances == found.instances


@given(
    st.integers(1, 7), st.permutations(list(task_object(1, [["a"]]))), st.sampled_from([None, 2])
)
def test_the_head_of_a_task_file_is_the_file_with_fewer_instances(most, order, indent):
    obj = task_object(1, [[f"o{i}"] for i in range(5)])
    text = json.dumps({key: obj[key] for key in order}, indent=indent)
    whole = parse_task(text, file="t.json")
    head = parse_task(references.task_head(text, most), file="t.json")
    assert head.instances[:most] == whole.instances[:most]
    assert head.categories == whole.categories and head.name == whole.name


def test_a_field_that_is_there_twice_is_refused(folder):
    path = folder / "tasks" / "task121_label.json"
    path.write_text(path.read_text().replace("{", '{"Categories": ["x"], ', 1))
    with pytest.raises(DataError, match="'Categories' is there twice"):
        references.read_references(str(folder))


# The cross-lingual track


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A byte-level BPE of a few hundred pieces, as files of both kinds."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import decoders, models, pre_tokenizers, trainers

    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    made.train_from_iterator(["the cat sat on the mat", "原因 结果", "кот и кот"] * 20, trainer)
    folder = tmp_path_factory.mktemp("bpe")
    made.save(str(folder / "tokenizer.json"))
    (folder / "old").mkdir()
    made.model.save(str(folder / "old"))
    return folder


def test_pieces_are_counted_without_their_blanks(tokenizer):
    loaded = summaries.load_tokenizer(str(tokenizer))

    class Pieces:
        def tokenize(self, text):
            return [piece.lstrip("Ġ") for piece in loaded.encode(text).tokens]

    plain = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Pieces())
    pairs = [
        ("The cat", ("the cat sat", "The  cat")),
        ("结果", ("原因", "结果。")),
        ("кот", ("и кот",)),
    ]
    for spec in (tokenizer, tokenizer / "tokenizer.json", tokenizer / "old"):
        found = summaries.score_pairs(pairs, tokenizer=str(spec), processes=1)
        for (said, refs), (rouge_l, _) in zip(pairs, found, strict=True):
            best = max(plain.score(ref, said)["rougeL"].fmeasure for ref in refs)
            assert rouge_l == 100 * best > 0
    assert summaries.score_pairs([("\ud800", ("x",))], tokenizer=str(tokenizer)).tolist() == [
        [0, 0]
    ]


def test_the_cross_lingual_track_has_its_own_tasks_and_needs_a_tokenizer(
    folder, tmp_path, score, tokenizer
):
    preds = write_lines(tmp_path / "p.jsonl", [{"id": "task3-0000", "prediction": "ja"}])
    for spec, wrong in {
        None: "GPT-2's tokenizer; give --tokenizer",
        tmp_path / "none": "does not exist or holds no tokenizer",
        preds: "is no tokenizer",
    }.items():
        more = [] if spec is None else [f"--tokenizer={spec}"]
        with pytest.raises(FlanJaxError, match=wrong):
            score(preds, folder, "--track=xlingual", *more)
    with pytest.raises(ConfigError, match="goes with --track=xlingual"):
        score(preds, folder, f"--tokenizer={tokenizer}")
    found, said = score(preds, folder, "--track=xlingual", f"--tokenizer={tokenizer}")
    assert found["overall"] == {"rougeL": 50.0, "exact_match": 50.0, "n": 2}
    assert found["mixture"] == "super_ni_xlingual_test" and "50,257" in said


# Intervals


def test_intervals_are_over_tasks_and_seeded():
    generator = np.random.Generator(np.random.PCG64(1))
    task_means = generator.normal(50, 10, size=40)
    tasks = [f"t{i}" for i in range(40) for _ in range(25)]
    scores = np.repeat(task_means, 25)[:, None] + np.zeros((1, 2))
    draw = lambda seed: summaries.group_scores(tasks, scores, summaries.Bootstrap(2000, seed))  # noqa: E731
    found = draw(0)
    low, high = found["rougeL_ci95"]
    assert low < found["rougeL"] < high
    # The standard error of a mean over tasks; over instances it were a fifth of that.
    expected = 2 * 1.96 * task_means.std() / np.sqrt(40)
    assert high - low == pytest.approx(expected, rel=0.1)
    assert draw(0) == found and draw(1)["rougeL_ci95"] != found["rougeL_ci95"]
    assert "rougeL_ci95" not in summaries.group_scores(
        tasks[:25], scores[:25], summaries.Bootstrap()
    )
    assert "rougeL_ci95" not in summaries.group_scores(tasks, scores, summaries.Bootstrap(0))
    for samples in (-1, 10**9):
        with pytest.raises(ConfigError, match="number of samples from 0 to 1,000,000"):
            summaries.Bootstrap(samples)
    with pytest.raises(ConfigError, match="--seed is a whole number from 0 on, not -1"):
        summaries.Bootstrap(seed=-1)


def test_intervals_weigh_tasks_by_their_instances():
    """Two tasks of 1 and 3 instances: a sample's mean is 0, 75 or 100."""
    scores = np.array([[0.0, 0.0]] + [[100.0, 100.0]] * 3)
    sums, counts = np.array([[0.0, 0.0], [300.0, 300.0]]), np.array([1, 3])
    ends = summaries.Bootstrap(400, level=0.2).intervals(sums, counts)
    assert ends.tolist() == [[75.0, 75.0], [75.0, 75.0]]
    found = summaries.group_scores(["a", "b", "b", "b"], scores, summaries.Bootstrap())
    assert found["rougeL"] == 75.0 and found["rougeL_ci95"] == [0.0, 100.0]


def test_scoring_imports_no_accelerator(folder, tmp_path):
    preds = write_lines(tmp_path / "p.jsonl", answers(folder))
    code = (
        "import sys\nfrom flan_jax import cli\n"
        f"cli.run(['score', '--predictions={preds}', '--references={folder}'])\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'seqio', 'torch', 'transformers', 'gin'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_published_outputs_of_big_bench_hard(score, tmp_path):
    """Of a chain of thought the answer is compared; a folder is one system."""
    rows = [
        {"input": "x", "target": "(A)", "prediction": "No, B. So the answer is (A)."},
        {"input": "y", "target": "(B)", "prediction": "So the answer is (A)."},
    ]
    out = tmp_path / "outputs"
    out.mkdir()
    for task in ("snarks", "navigate"):
        file = out / f"{task}_few_shot_template_0-255000.json"
        file.write_text(json.dumps({"canary": "x", "outputs": rows}))
        rows = rows[:1]
    found, _ = score(out)
    assert (found["format"], found["overall"]["n"]) == ("bbh", 3)
    assert found["by_task"]["bbh_snarks"]["exact_match"] == 50.0
    assert found["by_task"]["bbh_navigate"]["exact_match"] == 100.0
    found, _ = score(file)
    assert found["overall"]["n"] == 1
    file.write_text(json.dumps({"outputs": [{"target": "", "prediction": "x"}]}))
    with pytest.raises(DataError, match=r"navigate.*outputs\[0\]: 'target' must be a name"):
        prediction_files.read_predictions(str(file))
