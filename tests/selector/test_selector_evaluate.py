"""Measures of a selector against brute force, and the tables of true transfer."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector import evaluate as ev
from flan_jax.selector.baselines import oracle, random_tasks
from flan_jax.selector.transfer import read_transfer

TRUE = st.lists(st.integers(-5, 5), min_size=1, max_size=5).map(lambda xs: np.array(xs, float))


def csv_of(tmp_path, text):
    path = tmp_path / "transfer.csv"
    path.write_text(text)
    return str(path)


def table(seed, targets=12, sources=15):
    rng = np.random.default_rng(seed)
    names = [f"s{i:02d}" for i in range(sources)]
    return {
        f"t{i}": dict(zip(names, (100 * rng.random(sources)).tolist(), strict=True))
        for i in range(targets)
    }


@settings(deadline=None, max_examples=40)
@given(TRUE, st.integers(1, 6))
def test_chance_is_the_mean_over_all_orders(true, k):
    orders = [np.array(order) for order in itertools.permutations(range(len(true)))]
    assert ev.random_regret(true, k) == pytest.approx(
        np.mean([ev.regret(true, order, k) for order in orders]), abs=1e-9
    )
    values = [ev.ndcg(true, order) for order in orders]
    assert ev.random_ndcg(true) == pytest.approx(np.mean(values), abs=1e-9, nan_ok=True)
    best = np.argsort(-true, kind="stable")
    assert ev.regret(true, best, 1) == 0
    assert math.isnan(values[0]) or ev.ndcg(true, best) == pytest.approx(1)


@settings(deadline=None)
@given(TRUE, st.integers(0, 99))
def test_rank_correlation_is_scipys(true, seed):
    predicted = np.random.default_rng(seed).integers(3, size=len(true)).astype(float)
    found = ev.spearman(true, predicted)
    if len(set(true)) < 2:
        assert math.isnan(found)
    elif len(set(predicted)) < 2:
        assert found == 0
    else:
        assert found == pytest.approx(stats.spearmanr(true, predicted).statistic)


def test_small_numbers_by_hand():
    result = ev.evaluate(
        {"t": {"a": 1.0, "b": 3.0, "c": 2.0}}, {"t": {"a": 2, "b": 1, "c": 0}}, (1, 2)
    )
    values = result.by_target["t"]
    assert (values["regret@1"], values["regret@2"]) == (2, 0)
    dcg, ideal = 1 / math.log2(3) + 0.5 / 2, 1 + 0.5 / math.log2(3)
    assert values["ndcg"] == pytest.approx(dcg / ideal)
    assert values["spearman"] == pytest.approx(-0.5)
    measures = {m.name: m for m in result.measures}
    assert measures["regret@1"].random.mean == pytest.approx(1)
    assert measures["regret@2"].random.mean == pytest.approx(1 / 3)
    assert measures["regret@1"].selector.low is None  # one target has no interval


def test_the_oracle_is_perfect_and_chance_is_chance():
    transfer = table(0, targets=200)
    best = ev.evaluate(transfer, lambda target: dict(oracle(transfer, target)))
    found = {m.name: m for m in best.measures}
    assert found["regret@1"].selector.mean == found["regret@10"].selector.mean == 0
    assert found["ndcg"].selector.mean == found["spearman"].selector.mean == pytest.approx(1)
    assert found["ndcg"].difference.low > 0
    drawn = ev.evaluate(
        transfer, {t: dict(random_tasks(transfer[t], seed=i)) for i, t in enumerate(transfer)}
    )
    for measure in drawn.measures:
        assert measure.difference.low < 0 < measure.difference.high, measure.name
        assert measure.targets == 200
    assert drawn == ev.evaluate(
        transfer, {t: dict(random_tasks(transfer[t], seed=i)) for i, t in enumerate(transfer)}
    )


def test_intervals_cover():
    """Of 60 sets of 20 targets, about nineteen in twenty intervals contain the expectation."""
    covered = []
    for seed in range(60):
        transfer = table(seed, targets=20, sources=8)
        scores = {
            t: dict(random_tasks(transfer[t], seed=seed * 999 + i)) for i, t in enumerate(transfer)
        }
        measure = ev.evaluate(transfer, scores, (3,), samples=300).measures[0]
        covered.append(measure.difference.low <= 0 <= measure.difference.high)
    assert 0.85 <= np.mean(covered) <= 1


def test_equal_scores_are_ordered_by_name_and_equal_targets_left_out():
    transfer = {"t": {"b": 2.0, "a": 1.0}, "flat": {"a": 1.0, "b": 1.0}}
    result = ev.evaluate(transfer, {"t": {"a": 0, "b": 0}, "flat": {"a": 1, "b": 0}}, (1,))
    assert result.by_target["t"]["regret@1"] == 1
    measures = {m.name: m for m in result.measures}
    assert (measures["regret@1"].targets, measures["ndcg"].targets) == (2, 1)
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(text)["by_target"]["flat"]["ndcg"] is None
    assert result.rows()[0][0] == "measure"
    assert len({len(row) for row in result.rows()}) == 1


def test_reading_a_table(tmp_path):
    path = csv_of(tmp_path, "\ufefftarget, score,source,note\nt,1.5,a,x\nt,2,t,self\nu,-1e1,a,\n")
    assert read_transfer(path) == {"t": {"a": 1.5}, "u": {"a": -10.0}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "transfer.csv: is empty; its first line names source,target,score"),
        ("\n", "no column 'source'"),
        ("source,targets,score\n", "no column 'target'.*did you mean 'targets'"),
        ("source,target,score\n", "no row"),
        ("source,target,score\nt,t,1\n", "no row"),
        ("source,target,score\na,t,x\n", "line 2: 'score' must be a finite number, found 'x'"),
        ("source,target,score\na,t,nan\n", "line 2: 'score' must be a finite number"),
        ("source,target,score\na,t,1e400\n", "line 2: 'score' must be a finite number"),
        ("source,target,score\na,t,1,2\n", "line 2: 4 fields, and 3 columns in the first line"),
        ("source,target,score\r\ra,t,1\ra,t,2", "line 4: 'a' on 't' is there twice"),
        (f"source,target,score\na,{'t' * 140_000},1", "line 2: field larger than field limit"),
        ('source,target,score\n"a,t,1\nb,t,2\n', "line [24]: unexpected end of data"),
        ("source,target,score,source\na,t,1,b\n", "the column 'source' is there twice"),
        ("source,target,score\na,t\n", "line 2: 'score' must be a finite number, found ''"),
        ("source,target,score\na,t,1\na,t,2\n", "line 3: 'a' on 't' is there twice"),
        ("source,target,score\n,t,1\n", "line 2: 'source' must not be empty"),
    ],
    ids=lambda value: value[:40],
)
def test_a_wrong_table(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read_transfer(csv_of(tmp_path, text))


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(alphabet='source,target\n\r"1.xé\0', max_size=60).map(str.encode)
)
def test_any_table_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    path.write_bytes(b"source,target,score\n" + content)
    try:
        read_transfer(str(path))
    except DataError as error:
        assert str(path) in str(error)


def test_what_is_missing_is_named(tmp_path):
    transfer = {"target": {"alpha": 1.0, "beta": 2.0}}
    with pytest.raises(DataError, match="no scores for target 'target'; did you mean 'targets'"):
        ev.evaluate(transfer, {"targets": {}})
    with pytest.raises(DataError, match="no score of source 'beta'.*did you mean 'betas'"):
        ev.evaluate(transfer, {"target": {"alpha": 1, "betas": 1}})
    with pytest.raises(DataError, match="not a finite number"):
        ev.evaluate(transfer, {"target": {"alpha": 1, "beta": math.nan}})
    with pytest.raises(DataError, match="none.csv does not exist"):
        ev.evaluate(str(tmp_path / "none.csv"), {})
    for wrong in ({"ks": ()}, {"ks": (0,)}, {"samples": 0}, {"level": 1.0}):
        with pytest.raises(ConfigError):
            ev.evaluate(transfer, {"target": {"alpha": 1, "beta": 1}}, **wrong)
