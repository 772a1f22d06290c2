"""Baselines: rankings that a selector's own are compared with."""

from collections import Counter

import numpy as np
import pytest

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector.baselines import all_tasks, by_samples, oracle, random_tasks, ranking

NAMES = [f"task{i}" for i in range(8)]


def letters(texts):
    """A vector of letter counts, of any length."""
    return np.array([[text.count(c) for c in "abcdefgh"] for text in texts], np.float32)


def test_chance_is_fair_seeded_and_stable():
    assert random_tasks(NAMES, seed=1) == random_tasks(set(NAMES), seed=1)
    assert random_tasks(NAMES, seed=1) != random_tasks(NAMES, seed=2)
    fewer = [item for item in random_tasks(NAMES, seed=1) if item[0] != "task3"]
    assert fewer == random_tasks([n for n in NAMES if n != "task3"], seed=1)
    first = Counter(random_tasks(NAMES, 1, seed)[0][0] for seed in range(4000))
    assert all(abs(count - 500) < 100 for count in first.values())


def test_all():
    assert all_tasks(["b", "a"]) == [("a", 1.0), ("b", 1.0)]


def test_k_is_checked():
    assert ranking({"b": 1.0, "a": 1.0, "c": 2.0}, 2) == [("c", 2.0), ("a", 1.0)]
    with pytest.raises(ConfigError, match="k is 9, but there are only 8"):
        random_tasks(NAMES, 9)
    for k in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="k must be a whole number"):
            random_tasks(NAMES, k)


def test_oracle():
    transfer = {"t": {"a": 1.0, "b": 3.0, "c": 2.0}}
    assert oracle(transfer, "t", k=2) == [("b", 3.0), ("c", 2.0)]
    assert oracle(transfer, "t", ["a", "c"]) == [("c", 2.0), ("a", 1.0)]
    with pytest.raises(DataError, match="no target 'tt'; did you mean 't'"):
        oracle(transfer, "tt")
    with pytest.raises(DataError, match="no score of 'd' on 't'"):
        oracle(transfer, "t", ["d"])


def test_similar_samples():
    samples = {"ab": ["aab", "abb"], "cd": ["cd", "ccd"], "a": ["aaaa"]}
    found = by_samples(["ab", "aabb"], samples, letters)
    assert [name for name, _ in found] == ["ab", "a", "cd"]
    assert found[0][1] == pytest.approx(3 / 10**0.5)
    assert found[2][1] == 0
    assert by_samples(["ab", "cd", "ccdd"], samples, letters, "vote") == [
        ("cd", pytest.approx(2 / 3)),
        ("ab", pytest.approx(1 / 3)),
        ("a", 0.0),
    ]
    assert by_samples(["cd"], samples, letters, "vote", k=1) == [("cd", 1.0)]


def test_samples_without_text_are_named():
    for target, samples in (([], {"a": ["a"]}), (["a"], {}), (["a"], {"b": []})):
        with pytest.raises(DataError, match="no sample of"):
            by_samples(target, samples, letters)
    with pytest.raises(ConfigError, match="did you mean 'vote'"):
        by_samples(["a"], {"a": ["a"]}, letters, "votes")
    with pytest.raises(ConfigError, match="k is 2"):
        by_samples(["a"], {"a": ["a"]}, letters, "vote", k=2)
