"""Scores and selection: rules that hold for any library, and each option doing what it says."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector import scoring, vectors
from flan_jax.selector.encoders import Embedder
from flan_jax.selector.lexical import LexicalEncoder
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import Selector, Target, all_instructions

TASKS = [
    LibraryTask("add", ("Add the numbers.", "Sum all of the given numbers."), "math", ("N-1",), 10),
    LibraryTask("entail", ("Does the first sentence entail the second?",), "logic", (), 40),
    LibraryTask("ironic", ("Is this remark ironic?",), "tone", ("i",), 30),
    LibraryTask("multiply", ("Multiply the numbers.",), "math", (), 20),
    LibraryTask("reverse", ("Write the words in reverse order.",), None, (), 5),
    LibraryTask("sarcasm", ("Decide whether the remark is sarcastic.",), "tone", ("I",), 30),
    LibraryTask("sentiment", ("Is the review positive or negative?",), "tone", (), 50),
    LibraryTask("subtract", ("Subtract the numbers.", "Give the difference."), "math", (), 15),
    LibraryTask("summary", ("Summarize the article in one sentence.",), "text", (), 60),
    LibraryTask("title", ("Write a title for the article.",), "text", (), 25),
    LibraryTask("translate", ("Translate the sentence into French.",), "text", (), 70),
]
LIBRARY = Library.of(TASKS, "the test's")


def selector(library=LIBRARY):
    return Selector(library, Embedder(LexicalEncoder(all_instructions(library)), keep=False))


def names(choice):
    return [chosen.task for chosen in choice.selected]


def choose(*texts, library=LIBRARY, **parameters):
    targets = [Target.of_text(text) for text in texts]
    return selector(library).select(targets, Parameters(**parameters))


def pairs(counts=(2, 1, 3, 2), targets=3, width=5, seed=0):
    generator = np.random.default_rng(seed)
    make = lambda n: vectors.to_grid(generator.standard_normal((n, width)))  # noqa: E731
    return scoring.Pairs(make(targets), make(sum(counts)), scoring.starts_of(counts))


def test_aggregations_are_what_they_say():
    p = pairs()
    blocks = [p.of_task(i) for i in range(4)]
    assert [b.shape for b in blocks] == [(3, 2), (3, 1), (3, 3), (3, 2)]
    assert np.allclose(scoring.aggregate(p, "mean"), [b.mean() for b in blocks])
    assert (scoring.aggregate(p, "max") == [b.max() for b in blocks]).all()
    halves = [np.sort(b, axis=None)[::-1][: -(-b.size // 2)].mean() for b in blocks]
    assert np.allclose(scoring.aggregate(p, "top_p", top_p=0.5), halves)
    assert np.allclose(scoring.aggregate(p, "top_p", top_p=1), scoring.aggregate(p, "mean"))
    middle = p.targets.mean(axis=0)
    rows = [p.sources[s : s + n].mean(axis=0) for s, n in zip(p.starts, p.counts, strict=True)]
    cosine = [r @ middle / np.linalg.norm(r) / np.linalg.norm(middle) for r in rows]
    assert np.allclose(scoring.aggregate(p, "centroid"), cosine, atol=1e-5)


def test_round_robin_takes_turns():
    p = pairs()
    scores = scoring.aggregate(p, "round_robin")
    best = scoring.best_of_instructions(p)
    order = list(np.argsort(-scores))
    assert order[0] == best[0].argmax()
    left = [i for i in range(4) if i != order[0]]
    assert order[1] == max(left, key=lambda i: best[1, i])
    assert sorted(scores) == [0.25, 0.5, 0.75, 1.0]


def test_a_rank_vote_goes_by_the_nearest_instruction_first():
    p = pairs(targets=1)
    order = np.argsort(-scoring.aggregate(p, "rank_vote"))
    assert order[0] == scoring.aggregate(p, "max").argmax()
    many = pairs(counts=(1,) * 30, targets=1)
    votes = np.argsort(-scoring.aggregate(many, "rank_vote"))
    assert list(votes) == list(np.argsort(-many.cosines[0]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(scoring.AGGREGATIONS))
def test_scores_do_not_depend_on_what_else_is_scored(seed, how):
    if how in ("rank_vote", "round_robin"):  # they are about places among all
        return
    p = pairs(seed=seed)
    whole = scoring.aggregate(p, how)
    for task in range(4):
        start, count = p.starts[task], p.counts[task]
        alone = scoring.Pairs(p.targets, p.sources[start : start + count], np.array([0]))
        assert scoring.aggregate(alone, how)[0] == whole[task]


@pytest.mark.parametrize("how", scoring.AGGREGATIONS)
@pytest.mark.parametrize("transform", vectors.TRANSFORMS)
def test_every_way_finds_the_obvious_task(how, transform):
    choice = choose("Add up all the numbers.", k=3, aggregation=how, transform=transform)
    assert names(choice)[0] == "add"
    assert [c.score for c in choice.selected] == sorted(choice.scores.values())[::-1][:3]
    assert list(choice.scores.values()) == sorted(choice.scores.values(), reverse=True)
    assert len(choice.scores) == len(TASKS)


def test_ties_are_broken_by_name():
    same = [LibraryTask(name, ("Do it well.",)) for name in "cab"]
    library = Library.of([*same, LibraryTask("d", ("Other words here.",))], "ties")
    assert names(choose("Do it well.", library=library, k=3)) == ["a", "b", "c"]
    for how in scoring.AGGREGATIONS:
        assert names(choose("Do it well.", library=library, k=2, aggregation=how)) == ["a", "b"]


def test_a_choice_repeats_bit_for_bit_and_explains_itself():
    first = choose("Sum the given numbers.", k=2)
    assert first == choose("Sum the given numbers.", k=2)
    best = first.selected[0]
    assert best.instruction == "Sum all of the given numbers."
    assert best.target_instruction == "Sum the given numbers."
    assert best.percentile == pytest.approx(100 * 10 / 11)
    assert 0 < best.stability <= 1
    scores = list(first.scores.values())
    assert first.margin == scores[1] - scores[2]


def test_a_task_of_the_library_is_no_candidate_for_itself():
    target = Target.of_task(LIBRARY.get("sarcasm"))
    choice = selector().select([target], Parameters(k=3))
    assert "sarcasm" not in choice.scores
    assert choice.blocked == {
        "sarcasm": "is the target",
        "ironic": "shares the source 'i' with the target",
    }
    shared = selector().select([target], Parameters(k=3, share_sources=True))
    assert names(shared)[0] == "ironic"
    by_hand = Target.of_text("Add.", sources=["n_1"])
    assert "add" in selector().select([by_hand], Parameters(k=1)).blocked


def test_rules_other_than_k():
    everything = choose("Add the numbers.", k=11)
    limit = list(everything.scores.values())[3]
    assert len(choose("Add the numbers.", k=None, threshold=limit).selected) == 4
    assert len(choose("Add the numbers.", k=2, threshold=limit).selected) == 2
    assert len(choose("Add the numbers.", k=None, threshold=9.0).selected) == 1
    by_z = choose("Add the numbers.", k=None, z=1.0, aggregation="max")
    assert names(by_z)[0] == "add"
    assert all(chosen.z >= 1.0 for chosen in by_z.selected)
    assert choose("Add the numbers.", k=None, z=-99.0, most=4).selected[3:]
    with pytest.raises(ConfigError, match="needs 8"):
        choose("Add.", library=Library.of(TASKS[:3], "x"), k=None, z=1.0)


def test_z_is_distance_from_the_mean_of_unrelated_targets():
    null = np.array([[0.0, 1.0], [0.2, 9.0], [0.4, 3.0]])
    related = np.array([[False, False], [False, True], [False, True]])
    found = scoring.z_scores(np.array([0.6, 1.0]), null, related)
    assert found[0] == pytest.approx((0.6 - 0.2) / 0.2)
    assert np.isnan(found[1])


def test_budget_caps_and_exclusion():
    choice = choose("Add the numbers.", k=None, budget=46)
    sizes = {task.name: task.tokens for task in TASKS}
    assert sum(sizes[name] for name in names(choice)) <= 46
    assert names(choice)[:2] == ["add", "multiply"] or "subtract" in names(choice)
    with pytest.raises(DataError, match="budget is smaller than every task"):
        choose("Add the numbers.", k=None, budget=4)
    with pytest.raises(DataError, match="needs the tokens of every task"):
        bare = Library.of([dataclasses.replace(t, tokens=None) for t in TASKS], "x")
        choose("Add the numbers.", library=bare, k=None, budget=9)
    capped = choose("Add the numbers.", k=4, per_cluster=1)
    clusters = [LIBRARY.get(name).cluster for name in names(capped)]
    assert clusters.count("math") == 1
    few = choose("Add the numbers.", k=11, per_cluster=1)
    assert len(few.selected) == 5 and "no other one is allowed" in few.notes[0]
    assert "add" not in choose("Add the numbers.", k=9, exclude=("add",)).scores


def test_several_targets():
    texts = ("Add the numbers.", "Write a title.")
    turns = choose(*texts, k=2, combine="turns", aggregation="max")
    assert set(names(turns)) == {"add", "title"}
    assert {chosen.target for chosen in turns.selected} == set(texts)
    mean = choose(*texts, k=11).scores
    each = [choose(text, k=11).scores for text in texts]
    assert mean["add"] == pytest.approx((each[0]["add"] + each[1]["add"]) / 2)
    highest = choose(*texts, k=11, combine="max").scores
    assert highest["add"] == max(scores["add"] for scores in each)


@pytest.mark.parametrize("how", ["mmr", "facility"])
def test_diversity(how):
    twins = [LibraryTask(f"add{i}", ("Add the numbers.",)) for i in range(4)]
    library = Library.of([*twins, *TASKS[2:]], "twins")
    plain = choose("Add the numbers or multiply them.", library=library, k=4)
    diverse = choose(
        "Add the numbers or multiply them.",
        library=library,
        k=4,
        diversity=how,
        weight=0.3 if how == "mmr" else 0.0,
    )
    count = lambda choice: sum(name.startswith("add") for name in names(choice))  # noqa: E731
    assert count(diverse) < count(plain)
    scores = [chosen.score for chosen in diverse.selected]
    assert scores == sorted(scores, reverse=True)
    alone = choose("Add the numbers.", library=library, k=4, diversity=how, weight=1.0)
    assert names(alone) == names(choose("Add the numbers.", library=library, k=4))


def test_wrong_parameters():
    with pytest.raises(ConfigError, match="has 11 tasks to choose from; ask for at most 11"):
        choose("Add.", k=12)
    with pytest.raises(DataError, match="it is empty"):
        choose("{{x}}")
    with pytest.raises(ConfigError, match="no target"):
        selector().select([], Parameters())
    with pytest.raises(DataError, match="did you mean 'sarcasm'"):
        choose("Add.", exclude=("sarcsm",))
    for wrong in (
        {"k": 0}, {"k": None}, {"aggregation": "maen"}, {"diversity": "mrm"}, {"weight": 2},
        {"combine": "x"}, {"bootstrap": -1}, {"transform": "x"},
        {"top_p": 0, "aggregation": "top_p"},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            choose("Add.", **wrong)


def test_words_that_the_encoder_does_not_know_are_said():
    assert "says nothing" in choose("Qqqq zzzz.", k=1).notes[0].replace("say ", "says ")
