"""Scores by structure, samples, charts and the page, on predictions whose scores are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.instructions import mixtures
from flan_jax.pages import charts
from flan_jax.scoring.predictions import Prediction
from flan_jax.studies import laboratory, page
from flan_jax.studies.laboratory import STRUCTURES
from tasks import minilab
from tasks.minilab import lab, nearest, structure

LAB = "minilab_tiny"


def predictions(right, suffix=""):
    """Two predictions for every task that is evaluated on; `right(structure, index)` says which."""
    structures = laboratory.structure_of_task(LAB)
    rows = []
    for task in mixtures.member_tasks(f"{LAB}_evaluation{suffix}"):
        entry = task.name.removesuffix("_input").removesuffix("_new_wordings")
        for index in range(2):
            row = lab.instance(minilab.TASKS[entry.removeprefix("minilab_")], "test", index)
            said = row["answer"] if right(structures[task.name], index) else "elephant <b>"
            answer = (row["answer"],)
            rows.append(Prediction(task.name, row["id"], "t0", (), "a & b", said, answer))
    return rows


def test_structures_are_told_apart():
    scored = laboratory.score(LAB, predictions(lambda name, i: name == "compositions" or i == 0))
    means = laboratory.by_structure(scored)
    assert means == {name: 100.0 if name == "compositions" else 50.0 for name in STRUCTURES}
    clusters = laboratory.by_cluster(scored)
    assert clusters["heldout_clusters"] == {"correction": 50.0}
    assert set(clusters["seen"]) == {"ordering", "string_edits", "classification", "composition"}


def test_without_instructions_new_wordings_are_the_seen_tasks():
    scored = laboratory.score(LAB, predictions(lambda name, i: name == "seen", "_input"))
    means = laboratory.by_structure(scored)
    assert means["seen"] == means["new_wordings"] == 100 and means["compositions"] == 0


def test_the_better_of_two_is_chosen_by_structure():
    one = laboratory.score(LAB, predictions(lambda name, i: name == "seen"))
    other = laboratory.score(LAB, predictions(lambda name, i: name == "heldout_tasks", "_input"))
    means = laboratory.by_structure(laboratory.better(one, other))
    assert means == {
        name: 100.0 if name in ("seen", "heldout_tasks") else 0.0 for name in STRUCTURES
    }
    by_rouge = laboratory.better(one, other, "rougeL")
    arm = page.Arm("x", "X", "is x", one, by_rouge=by_rouge)
    assert arm.rouge_means["heldout_tasks"] == 100 and arm.means["heldout_tasks"] == 0


def test_samples_show_success_and_failure_of_different_tasks():
    half = laboratory.score(LAB, predictions(lambda name, i: i == 0))
    none = laboratory.score(LAB, predictions(lambda name, i: False, "_input"))
    chosen = laboratory.samples({"a": half, "b": none}, "a", per_structure=2)
    assert {one.structure for one, _ in chosen} == set(STRUCTURES)
    seen = [one for one, _ in chosen if one.structure == "seen"]
    assert [s.scores["exact_match"] for s in seen] == [100, 0]
    assert len({s.prediction.task for s in seen}) == 2
    for one, said in chosen:
        assert said["a"] is one and said["b"].prediction.id == one.prediction.id


def test_the_page_escapes_what_models_say():
    half = laboratory.score(LAB, predictions(lambda name, i: i == 0))
    none = laboratory.score(LAB, predictions(lambda name, i: False))
    curves = {"loss": [(0, 2.0), (10, 1.0)], "accuracy": [(0, 0.1), (10, 0.5)]}
    arms = [page.Arm("x", "X", "is x", half, curves), page.Arm("y", "Y", "is y", none)]
    html = page.render(arms, "A <title>", "Summary.", ["run me"], ["fact"])
    assert "elephant &lt;b&gt;" in html and "<b>elephant" not in html and "elephant <b>" not in html
    assert "A &lt;title&gt;" in html and "a &amp; b" in html and "+50.0" in html
    assert html.count("<svg") == 2


finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(finite, finite)
def test_ticks_are_round_rising_and_inside(a, b):
    low, high = min(a, b), max(a, b)
    found = charts.ticks(low, high)
    assert found == sorted(found) and 1 <= len(found) <= 13
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert all(low - slack <= tick <= high + slack for tick in found)


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 100)), max_size=20))
def test_lines_stay_on_the_chart(points):
    svg = charts.line_chart({"a": sorted(points), "b": []}, "step", "y", {"a": "s", "b": "t"})
    assert bool(svg) == bool(points)
    if points:
        drawn = svg.partition('points="')[2].partition('"')[0].split()
        assert len(drawn) == len(points)
        for pair in drawn:
            x, y = map(float, pair.split(","))
            assert 0 <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT


def test_nearest_wording_carries_out_what_it_finds():
    baseline = minilab.NearestWording([f"minilab_{name}" for name in structure.TINY_TRAIN])
    task = minilab.TASKS["drop_first"]
    row = lab.instance(task, "test", 3)
    answer, found = baseline.answer("minilab_drop_first", "t0", row["id"])
    assert (answer, found) == (row["answer"], "minilab_drop_first")
    # A task it does not know is taken for one that it knows, and that one is done.
    heldout = minilab.TASKS["drop_last"]
    row = lab.instance(heldout, "test", 3)
    answer, found = baseline.answer("minilab_drop_last", "t0", row["id"])
    assert answer != row["answer"] and found.removeprefix("minilab_") in structure.TINY_TRAIN
    assert answer == minilab.TASKS[found.removeprefix("minilab_")].rule(row)


def test_every_rule_bears_the_inputs_of_every_other_task():
    """The baseline runs them on what they were not made for."""
    rows = [lab.instance(task, "test", 0) for task in minilab.TASKS.values()]
    for task in minilab.TASKS.values():
        for row in rows:
            if set(task.fields) <= set(row):
                assert isinstance(task.rule({name: row[name] for name in task.fields}), str)


def test_similarity_is_that_of_words_that_tell_tasks_apart():
    baseline = nearest.NearestWording(["minilab_swap_ends", "minilab_drop_first"])
    template = minilab.TASKS["swap_ends"].templates[0]
    assert baseline.nearest(template) == "minilab_swap_ends"


@pytest.mark.parametrize("size", [size for size, _, _ in structure.SIZES])
def test_every_evaluated_task_has_one_structure(size):
    structures = laboratory.structure_of_task(size)
    for suffix in ("", "_input"):
        for task in mixtures.member_tasks(f"{size}_evaluation{suffix}"):
            assert structures[task.name] in STRUCTURES
