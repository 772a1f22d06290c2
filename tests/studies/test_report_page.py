"""`flan-jax report`: figures are those of the runs, and what cannot be compared is said."""

import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import pytest

from flan_jax import cli
from flan_jax.errors import ConfigError, DataError, FlanJaxError
from flan_jax.pages import charts
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction
from flan_jax.scoring.references import read_references
from flan_jax.scoring.summaries import Bootstrap
from flan_jax.studies import report_page, report_places, report_runs, report_summary, report_tables
from flan_jax.training.trackers import JsonLines

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ["red", "green", "blue", "white", "black", "brown"]


def answers(task, count, right, template="def", first=0):
    """Of so many examples every right-th is answered rightly, and some others in part."""
    found = []
    for i in range(first, first + count):
        target = f"{WORDS[i % 6]} {WORDS[(i * 5 + 1) % 6]} {i}"
        said = target if i % right == 0 else WORDS[i % 6] if i % 2 else ""
        found.append(
            Prediction(task, f"{task[-7:]}-{i}", template, (), f"Say {i}.", said, (target,))
        )
    return found


def write(folder, predictions, step=0, **facts):
    """Leaves what `flan-jax eval` leaves."""
    folder.mkdir(parents=True)
    summary = report.summarize("mixture", step, predictions) | facts
    report.write(str(folder), summary, predictions, str(folder))
    return folder


def made(*asked, references=None, x=None, samples=200):
    """The report of runs, each a path or a pair of name and path."""
    named = [report_places.Asked(*one) if isinstance(one, tuple) else report_places.Asked("", one)
             for one in asked]  # fmt: skip
    found = references and read_references(str(references))
    runs = report_places.read([one._replace(path=str(one.path)) for one in named], "auto", found)
    return report_summary.make(report_tables.scored(runs, processes=1), Bootstrap(samples), x)


def run(capsys, *arguments):
    assert cli.run(["report", *map(str, arguments)]) == 0
    return capsys.readouterr()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two evaluations of eight tasks, the second of which lacks one and has another."""
    folder = tmp_path_factory.mktemp("two")
    tasks = [f"super_ni_task{number}_words" for number in range(10, 18)]
    write(folder / "a" / "eval", [p for t in tasks for p in answers(t, 9 + len(t) % 3, 3)], 10)
    other = [*tasks[:-1], "elsewhere"]
    write(folder / "b" / "eval", [p for t in other for p in answers(t, 9, 2)], 20)
    return folder


def test_means_and_intervals_are_those_of_score(two, capsys):
    found = made(two / "a" / "eval", samples=1000).overall
    predictions = two / "a" / "eval" / "predictions.jsonl"
    assert cli.run(["score", f"--predictions={predictions}", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["overall"]
    for name in ("rougeL", "exact_match"):
        cell = found["eval"][name]
        assert (
            cell["value"] == pytest.approx(expected[name], abs=1e-3) and cell["n"] == expected["n"]
        )
        assert cell["ci95"] == pytest.approx(expected[f"{name}_ci95"], abs=1e-3)


def test_only_examples_that_both_answered_are_compared(two, tmp_path):
    one = made(("first", two / "a" / "eval"), ("second", two / "b" / "eval"))
    (pair,) = one.pairs
    before, now = one.answered
    assert len(pair.shared) == 7 * 9 and pair.units == "7 datasets"
    assert pair.only_first == len(before.positions) - 63 and pair.only_this == 9
    scores = {
        run: [
            report.score(p)["exact_match"]
            for p in report.read_predictions(str(two / run / "eval"))
            if (report_runs.common_name(p.task), p.id) in set(pair.shared)
        ]
        for run in "ab"
    }
    assert pair.less["exact_match"].mean == pytest.approx(
        np.mean(scores["b"]) - np.mean(scores["a"])
    )
    pairs = list(zip(scores["a"], scores["b"], strict=True))
    assert pair.counts == {
        "both": pairs.count((100, 100)), "this": pairs.count((0, 100)),
        "first": pairs.count((100, 0)), "neither": pairs.count((0, 0)),
    }  # fmt: skip
    assert "not asked the same tasks" in one.notes[0]
    # The same names and other references: these are other examples.
    rows = [
        json.loads(line) for line in (two / "b/eval/predictions.jsonl").read_text().splitlines()
    ]
    for row in rows[:5]:
        row["targets"] = ["something else"]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = made(two / "a" / "eval", tmp_path / "c.jsonl").pairs[0]
    assert again.different == 5 and len(again.shared) == 63 - 5


def test_what_is_drawn_depends_on_nothing_but_the_seed(two):
    one = made(("a", two / "a" / "eval"), ("b", two / "b" / "eval"))
    back = made(("b", two / "b" / "eval"), ("a", two / "a" / "eval"))
    first, second = one.answered
    won = report_tables.won_and_lost(first, second, one.pairs[0], 3, 0)
    swapped = report_tables.won_and_lost(second, first, back.pairs[0], 3, 0)
    assert len(won["won"]) == 3 and won == {"won": swapped["lost"], "lost": swapped["won"]}
    assert won != report_tables.won_and_lost(first, second, one.pairs[0], 3, 1)
    for key in won["won"]:
        assert (
            report_tables.answer_of(second, key).text
            == report_tables.answer_of(second, key).targets[0]
        )
        assert (
            report_tables.answer_of(first, key).text
            != report_tables.answer_of(first, key).targets[0]
        )
    assert report_page.render(one) == report_page.render(
        made(*[("a", two / "a" / "eval"), ("b", two / "b" / "eval")])
    )


def test_published_predictions_stand_beside_a_run_of_ours(tmp_path, capsys):
    """By the number of a task, whatever it was renamed to, and with the references' categories."""
    own = answers("super_ni_task121_zest_words", 6, 2) + answers("super_ni_task2_other", 6, 3)
    write(tmp_path / "ours", own)
    lines = [{"id": p.id, "references": list(p.targets), "task_id": p.task.replace("super_ni_", "")
              .replace("zest", "atomic"), "task_category": "Words" if "121" in p.task else "Other"}
             for p in own]  # fmt: skip
    (tmp_path / "refs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = [{"id": p.id, "prediction": p.targets[0]} for p in own[1:]]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    found = run(
        capsys,
        f"ours={tmp_path / 'ours'}",
        f"theirs={tmp_path / 'theirs.jsonl'}",
        f"--references={tmp_path / 'refs.jsonl'}",
        f"--out={tmp_path / 'page.html'}",
    )
    assert "theirs less ours, 12 examples" in found.out
    assert "theirs: 1 instances without a prediction count as empty answers" in found.err
    page = (tmp_path / "page.html").read_text()
    assert ">Words</td>" in page and ">Other</td>" in page and "By category" in page
    # Prompts are those of the run that has them.
    assert "<details><summary>prompt</summary><pre>Say " in page
    with pytest.raises(DataError, match="carries no references: give the folder or file"):
        made(tmp_path / "ours", tmp_path / "theirs.jsonl")


def test_published_sets_of_the_first_release(shared_data):
    data = shared_data / "natural_instructions_v1"
    file = data / "gpt3_predictions" / "predictions.json"
    published = json.loads((data / "gpt3_predictions" / "rougeL.json").read_text())
    one = made(("plain", f"{file}@Prompt"), ("defined", f"{file}@Definition_Prompt"),
               references=data / "dataset_jsons")  # fmt: skip
    for name, setting in {
        "plain": "@_Prompt@0_100",
        "defined": "@_Definition_Prompt@0_100",
    }.items():
        expected = [value for key, value in published.items() if key.endswith(setting)]
        assert len(expected) == 7
        assert one.overall[name]["rougeL"]["value"] == pytest.approx(100 * np.mean(expected))
    assert len(one.pairs[0].shared) == 700 and one.pairs[0].units == "7 datasets"
    assert set(one.categories.values()) == {"QG", "CF", "IAG", "MM", "VF"}
    with pytest.raises(DataError, match="no set 'Promt'; did you mean 'Prompt'"):
        made(f"{file}@Promt", references=data / "dataset_jsons")


def ranked(task, template, number, scores, right="yes"):
    best = "" if scores[0] == scores[1] else ("yes", "no")[scores[0] < scores[1]]
    return Prediction(task, f"test/{number}", template, ("yes", "no"), "Is it?", best, (right,),
                      scores=scores)  # fmt: skip


@pytest.fixture(scope="module")
def templated(tmp_path_factory):
    """Ten examples in four templates, of which the last one ties in all."""
    folder = tmp_path_factory.mktemp("templated")
    for name, skill in (("60M", 2), ("1.3B", 4)):
        found = []
        for t in range(4):
            for i in range(10):
                right = i < skill + 2 * t
                scores = (-1.0, -1.0) if t == 3 else (-1.0, -2.0) if right else (-2.0, -1.0)
                found.append(ranked(f"toy_rte_t{t}_rank", f"t{t}", i, scores))
        write(folder / name, found)
    return folder


def test_spread_over_templates(templated):
    one = made(("60M", templated / "60M"), ("1.3B", templated / "1.3B"))
    small, large = one.spreads
    assert (small.dataset, small.metric, small.run) == ("toy_rte_rank", "accuracy", "60M")
    assert small.values == {"t0": 20, "t1": 40, "t3": 50, "t2": 60}  # of two equal options half
    values = sorted(large.values.values())
    assert values == [40, 50, 60, 80]
    quartiles = statistics.quantiles(values, method="inclusive")
    assert large.figures == {
        "mean": 57.5, "median": quartiles[1], "low": quartiles[0], "high": quartiles[2],
        "min": 40, "max": 80,
    }  # fmt: skip
    # One dataset is no sample of datasets: what is drawn are its examples, in all templates.
    (pair,) = one.pairs
    assert pair.units == "10 examples" and pair.less["exact_match"].mean == pytest.approx(15)
    low, high = one.overall["60M"]["accuracy"]["ci95"]
    assert 15 < low < 42.5 < high < 70
    page = report_page.render(one)
    assert "toy_<wbr>rte_<wbr>rank" in page and 'title="t3: 50.0"' in page


def test_scores_over_numbers(templated):
    one = made(("60M", templated / "60M"), ("1.3B", templated / "1.3B"))
    assert one.numbers == {"60M": 60e6, "1.3B": 1.3e9}
    page = report_page.render(one)
    scaling = page[page.index("With scale") :]
    assert "all: 60M, 42.5" in scaling and "all: 1.3B, 57.5" in scaling and ">100M<" in scaling
    assert "With scale" not in report_page.render(made(("a", templated / "60M")))
    assert made(templated / "60M", templated / "1.3B", x="step").numbers == {"60M": 0, "1.3B": 0}
    with pytest.raises(
        ConfigError, match="--x=stpe: no run says a number 'stpe' of itself; did you"
    ):
        made(templated / "60M", x="stpe")


@pytest.mark.parametrize("low, high", [(8e6, 7.7e8), (1, 3), (0.02, 40), (5, 5.5)])
def test_ticks_of_a_logarithm_lie_within(low, high):
    found = charts.log_ticks(low, high)
    assert found == sorted(found) and low <= found[0] and found[-1] <= high
    assert all(math.isfinite(x) for x in found)


def test_learning_curves_join_an_evaluation_of_the_same_name(two, tmp_path):
    lines = JsonLines(str(tmp_path), 0)
    for step in range(1, 1001):
        lines.write(step, {"loss": 5 / step, "learning_rate": 0.1})
    lines.write(1000, {"validation/a<b/loss": 0.25, "validation/a<b/accuracy": math.nan})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1001, "lo')  # as a run leaves it that is killed now
    one = made(("run", two / "a" / "eval"), ("run", tmp_path))
    (joined,) = one.runs
    assert joined.run.asked and len(joined.run.curves["loss"]) == 1000
    assert (
        joined.run.facts["trained_steps"] == 1000
        and "validation/a<b/accuracy" not in joined.run.curves
    )
    page = report_page.render(one)
    assert "While training" in page and "validation/a&lt;b/loss" in page
    points = page.partition("<polyline")[2].partition('points="')[2].partition('"')[0].split()
    assert 200 <= len(points) <= 301 and "end early" in page and "line 1002" in page


def test_a_folder_of_a_run_has_its_evaluations(two, tmp_path):
    """Mixtures that overlap count once; what is missing is said."""
    both = [p for t in ("t1", "t2") for p in answers(t, 4, 2)]
    write(tmp_path / "run" / "all", both)
    write(tmp_path / "run" / "part", both[:4])
    (one,) = made(tmp_path / "run").runs
    assert len(one.run.answers) == 8 and one.run.facts["mixture"] == "mixture"
    (tmp_path / "run" / "part" / "predictions.jsonl").unlink()
    with pytest.raises(
        DataError, match="'.*run' is two evaluations of 't1' .*run/all and .*run/part"
    ):
        made(tmp_path / "run")
    (alone,) = made(tmp_path / "run" / "part").runs
    assert alone.tasks["t1"]["n"] == 4 and "no predictions.jsonl" in alone.run.notes[0]
    (tmp_path / "run" / "all" / "metrics.json").unlink()
    (scored,) = made(tmp_path / "run" / "all").runs
    assert (
        scored.tasks["t1"]["exact_match"] == 50 and "ROUGE-L and exact match" in scored.run.notes[0]
    )


def test_what_is_no_run_is_one_error_before_anything_is_written(two, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "notes.txt").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.json").write_text('{"by_task": {"t": {"rougeL": 1}}}')
    results = {"checkpoints": [{"checkpoint": "c", "mixtures": {"m": {"out": "/x/.."}}}]}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text(json.dumps(results))
    good, out = two / "a" / "eval", tmp_path / "page.html"
    for place, message in {
        "nothing": "nothing is no run: a folder of `flan-jax eval` has .*; it has notes.txt",
        "nothin": "nothin does not exist; did you mean 'nothing'",
        "broken": "'by_task': 't': 'n' is missing",
        "out": "not inside",
        "nothing/notes.txt": "in none of the formats",
    }.items():
        with pytest.raises(FlanJaxError, match=message):
            cli.run(["report", str(good), f"x={tmp_path / place}", f"--out={out}"])
    with pytest.raises(DataError, match="'a' is two evaluations of 'super_ni_task10_words'"):
        cli.run(["report", f"a={good}", f"a={two / 'b' / 'eval'}", f"--out={out}"])
    with pytest.raises(ConfigError, match="--gin.SUPER_NI_DIR=x is a setting of a --module"):
        cli.run(["report", str(good), f"--out={out}", "--gin.SUPER_NI_DIR=x"])
    assert not out.exists()


def test_it_needs_neither_jax_nor_seqio(two, tmp_path):
    program = (
        "import sys\nfrom flan_jax import cli\n"
        f"cli.run(['report', {str(two / 'a')!r}, {str(two / 'b')!r}, '--out={tmp_path}/p.html'])\n"
        "assert not {'jax', 'tensorflow', 'seqio'} & set(sys.modules)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env, timeout=120)
    page = (tmp_path / "p.html").read_text()
    assert ">a</span>" in page and "<script" not in page and "http" not in page


def test_outputs_of_bbh_stand_beside_any_form_of_our_tasks(tmp_path):
    """A chain of thought of ours, and of theirs, by the answers that they end in."""
    targets = ["(A)", "(B)", "(A)"]
    own = [
        Prediction("bbh_snarks_cot", f"snarks/{i}", "cot", (), "Q", f"The answer is {t}.", (t,))
        for i, t in enumerate(targets)
    ]  # fmt: skip
    write(tmp_path / "ours", own)
    (tmp_path / "theirs").mkdir()
    outputs = [{"prediction": f" Hm. So the answer is {said}.", "target": t}
               for said, t in zip(["(A)", "(A)", "(B)"], targets, strict=True)]  # fmt: skip
    file = tmp_path / "theirs" / "snarks_few_shot_template_0-255.json"
    file.write_text(json.dumps({"outputs": outputs}))
    one = made(tmp_path / "ours", tmp_path / "theirs")
    (pair,) = one.pairs
    assert pair.counts == {"both": 1, "this": 0, "first": 2, "neither": 0}
    assert pair.less["exact_match"].mean == pytest.approx(-200 / 3)
    assert [a.text for a in one.asked[0].run.answers] == targets


def test_what_was_only_trained_has_curves_alone(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    found = run(capsys, tmp_path / "run", f"--out={tmp_path / 'page.html'}")
    assert found.out == f"wrote {tmp_path / 'page.html'}\n" and not found.err
    page = (tmp_path / "page.html").read_text()
    assert "<polyline" in page and "All tasks" not in page and "Won and lost" not in page
