"""The plan: batch(step) is pure, and an epoch holds what rates say it holds."""

import collections
import dataclasses
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.data import packing
from flan_jax.data.plan import FORMATS, Plan, PlanConfig, TaskTable, stable_permutation
from flan_jax.errors import DataError

CONFIG = PlanConfig(inputs_length=64, targets_length=24, batch_size=4, seed=3, window=32)


def make_table(name, count, renderings=1, longest=(40, 16)):
    rng = np.random.Generator(np.random.Philox(sum(name.encode()) + count))
    lengths = [rng.integers(1, top, (renderings, count), endpoint=True) for top in longest]
    ids = np.array([f"{name}/{i}".encode() for i in range(count)], np.bytes_)
    return TaskTable(name, np.stack(lengths, axis=-1).astype(np.int32), ids, f"of {name}")


def make_plan(counts, rates=None, renderings=1, config=CONFIG, **changes):
    """A plan over tasks a, b, ... of these sizes, examples-proportional where not told."""
    names = "abcdefgh"[: len(counts)]
    tables = [make_table(n, c, renderings) for n, c in zip(names, counts, strict=True)]
    rates = dict(zip(names, rates or counts, strict=True))
    return Plan(tables, rates, dataclasses.replace(config, **changes))


def drawn(placement):
    """How often each (task, example) occurs."""
    return collections.Counter(
        zip(placement.task.tolist(), placement.example.tolist(), strict=True)
    )


def as_lists(placement):
    return [getattr(placement, field.name).tolist() for field in dataclasses.fields(placement)]


def trimmed(plan, placement):
    """Tokens of every row, [rows, 2]."""
    room = (plan.config.inputs_length, plan.config.targets_length)
    total = np.zeros((int(placement.row.max()) + 1, 2), np.int64)
    for row, task, example, rendering in zip(*as_lists(placement), strict=True):
        total[row] += np.minimum(plan.tables[task].lengths_RxNx2[rendering, example], room)
    return total


# What an epoch holds


@pytest.mark.parametrize("counts", [(1,), (7,), (10, 100), (1, 1, 1), (1, 50, 3, 200)])
def test_examples_proportional_means_each_example_once_an_epoch(counts):
    plan = make_plan(counts)
    for epoch in range(4):
        found = drawn(plan.epoch(epoch))
        assert found == {(t, e): 1 for t, count in enumerate(counts) for e in range(count)}


def test_a_single_task_is_drawn_once_an_epoch_whatever_its_rate():
    for rate in (1, 0.001, 3, 1e9):
        plan = make_plan((30,), [rate])
        assert drawn(plan.epoch(2)) == {(0, e): 1 for e in range(30)}


def test_capped_rates():
    """A task above the cap shows other examples in the next epoch, none twice too often."""
    plan = make_plan((10, 100), rates=(10, 30))
    total = collections.Counter()
    for epoch in range(10):
        found = drawn(plan.epoch(epoch))
        tasks = collections.Counter(task for task, _ in found.elements())
        assert tasks == {0: 10, 1: 30}
        assert max(found.values()) <= 2  # where a pass ends within the epoch
        total += found
    assert {n for (task, _), n in total.items() if task == 1} == {3}


def test_uniform_rates_give_every_task_the_same():
    counts = (5, 50, 500)
    plan = make_plan(counts, rates=(1, 1, 1))
    total = collections.Counter()
    for epochs in range(1, 6):
        found = drawn(plan.epoch(epochs - 1))
        assert abs(sum(found.values()) - sum(counts)) <= len(counts)
        total += found
        tasks = collections.Counter(task for task, _ in total.elements())
        # Fractions are carried over: quotas are never off by more than one draw.
        assert all(abs(n - epochs * sum(counts) / 3) < 1 for n in tasks.values())
        for task, count in enumerate(counts):
            times = [total[task, example] for example in range(count)]
            assert max(times) - min(times) <= 1  # without replacement


@pytest.mark.parametrize("rates", [(1, 2), (2, 2), (0.25, 0.5), (1e-6, 2e-6), (1e12, 2e12)])
def test_weights_are_not_taken_for_counts(rates):
    """An epoch of three draws would pack badly."""
    plan = make_plan((40, 80), rates)
    for epoch in range(3):
        found = collections.Counter(plan.epoch(epoch).task.tolist())
        assert abs(sum(found.values()) - 120) <= 1
        share = rates[1] / sum(rates)
        assert found[1] == pytest.approx(120 * share, abs=1)


def test_a_rare_task_comes_once_in_many_epochs():
    plan = make_plan((10, 10), rates=(1, 99))
    rare = [int((plan.epoch(epoch).task == 0).sum()) for epoch in range(50)]
    assert set(rare) == {0, 1} and sum(rare) == 10
    seen = [plan.epoch(epoch).example[plan.epoch(epoch).task == 0].tolist() for epoch in range(50)]
    assert sorted(sum(seen, [])) == list(range(10))


def test_rates_of_another_split_are_weights():
    """SeqIO's rates count training examples, whatever split is planned."""
    plan = make_plan((5, 10), rates=(500, 1000))
    assert drawn(plan.epoch(0)) == {(t, e): 1 for t, n in ((0, 5), (1, 10)) for e in range(n)}


def test_epoch_e_trains_on_rendering_e_mod_r():
    plan = make_plan((6, 20), renderings=3)
    for epoch in range(7):
        assert set(plan.epoch(epoch).rendering.tolist()) == {epoch % 3}


def test_a_pass_has_one_rendering_though_it_spans_epochs():
    plan = make_plan((10, 100), rates=(10, 30), renderings=2)
    placed = [plan.epoch(epoch) for epoch in range(10)]
    found = collections.Counter()
    for p in placed:
        found.update(zip(p.task.tolist(), p.example.tolist(), p.rendering.tolist(), strict=True))
    assert all(found[1, e, 0] == 2 and found[1, e, 1] == 1 for e in range(100))


# Rows and batches


@pytest.mark.parametrize("changes", [{}, {"packing": False}, {"batch_size": 1}, {"window": 1}])
@pytest.mark.parametrize("counts", [(1,), (3, 5), (40, 80)])
def test_batches_are_the_rows_of_all_epochs_without_a_gap(counts, changes):
    plan = make_plan(counts, renderings=2, **changes)
    expected, rows = [], 0
    for epoch in range(4):
        assert plan.rows_before(epoch) == rows
        placed = plan.epoch(epoch)
        assert set(placed.row.tolist()) == set(range(int(placed.row[-1]) + 1))
        assert (np.diff(placed.row) >= 0).all()
        expected += zip((placed.row + rows).tolist(), *as_lists(placed)[1:], strict=True)
        rows += int(placed.row[-1]) + 1
    size = plan.config.batch_size
    found = []
    for step in range(rows // size):
        placed = plan.batch(step)
        assert set(placed.row.tolist()) == set(range(size))
        found += zip((placed.row + step * size).tolist(), *as_lists(placed)[1:], strict=True)
    assert found == expected[: len(found)]
    assert len(expected) - len(found) == sum(row >= rows // size * size for row, *_ in expected)


def test_batch_is_a_function_of_plan_and_step():
    counts, rates = (10, 40, 3), (1, 1, 1)
    plan = make_plan(counts, rates, renderings=2)
    in_order = [as_lists(plan.batch(step)) for step in range(40)]
    backwards = [as_lists(plan.batch(step)) for step in reversed(range(40))]
    assert backwards[::-1] == in_order
    for step in (0, 7, 39):
        assert as_lists(make_plan(counts, rates, renderings=2).batch(step)) == in_order[step]
    # Nor does the order in which tables are given matter.
    tables = [make_table(n, c, 2) for n, c in zip("abc", counts, strict=True)]
    other = Plan(tables[::-1], dict.fromkeys("abc", 1.0), CONFIG)
    assert as_lists(other.batch(25)) == in_order[25]


def test_what_is_given_back_can_be_written_on():
    plan = make_plan((10,))
    before = as_lists(plan.batch(0))
    plan.batch(0).example[:] = 0
    assert as_lists(plan.batch(0)) == before


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    rates=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    renderings=st.integers(1, 3),
    lengths=st.tuples(st.integers(1, 50), st.integers(1, 20)),
    batch_size=st.integers(1, 50),
    window=st.integers(1, 50),
    packs=st.booleans(),
    step=st.integers(0, 20),
)
def test_any_plan(counts, rates, renderings, lengths, batch_size, window, packs, step):
    """No row is too long after trimming, none is empty, and a fresh plan says the same."""
    plans = [
        make_plan(
            counts,
            rates[: len(counts)],
            renderings,
            inputs_length=lengths[0],
            targets_length=lengths[1],
            batch_size=batch_size,
            window=window,
            packing=packs,
        )
        for _ in range(2)
    ]
    placed = plans[0].batch(step)
    assert set(placed.row.tolist()) == set(range(batch_size))
    assert packs or len(placed) == batch_size
    assert (trimmed(plans[0], placed) <= lengths).all()
    assert as_lists(plans[1].batch(step)) == as_lists(placed)
    assert plans[0].batch_digest(step) == plans[1].batch_digest(step)


def test_a_batch_may_span_many_epochs():
    plan = make_plan((2,), packing=False, batch_size=9)
    for step in range(4):
        assert sorted(drawn(plan.batch(step)).values()) == [4, 5]
    assert drawn(plan.batch(0)) + drawn(plan.batch(1)) == {(0, 0): 9, (0, 1): 9}


def test_steps_far_out():
    """A long way costs a walk over its epochs once, and leads where walking does."""
    config = {"inputs_length": 64, "targets_length": 24, "batch_size": 7}
    plan, walked = make_plan((1, 2), (1, 1), **config), make_plan((1, 2), (1, 1), **config)
    far = 300
    for step in range(far):
        walked.batch(step)
    assert as_lists(plan.batch(far)) == as_lists(walked.batch(far))
    epoch = plan.epoch_of(far)
    assert plan.rows_before(epoch) <= far * 7 < plan.rows_before(epoch + 1)
    assert plan.epoch_of(0) == 0


def test_threads_may_share_a_plan():
    """The prefetch thread and the main thread ask one plan at once."""

    def fresh():
        return make_plan((5, 19), (1, 1), renderings=3, window=8)

    expected = [as_lists(fresh().batch(step)) for step in range(60)]
    epochs = [fresh().rows_before(epoch + 1) - fresh().rows_before(epoch) for epoch in range(9)]
    assert len(set(epochs)) > 1, "counting an epoch twice would not be seen"
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            plan, right = fresh(), []

            def ask(offset, plan=plan, right=right):
                for step in [(offset + 7 * k) % 60 for k in range(60)]:
                    right.append(as_lists(plan.batch(step)) == expected[step])

            threads = [threading.Thread(target=ask, args=(13 * i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert right == [True] * 240
    finally:
        sys.setswitchinterval(interval)


def test_two_plans_do_not_push_out_each_others_epochs(monkeypatch):
    """As those of training and of an evaluation; packing an epoch again would cost seconds."""
    packed = []

    def count(sizes, capacity):
        packed.append(len(sizes))
        return original(sizes, capacity)

    original = packing.pack
    monkeypatch.setattr(packing, "pack", count)
    plans = [make_plan((20, 30), window=100, seed=seed) for seed in range(3)]
    for step in range(4):
        for plan in plans:
            plan.batch(step)
            plan.batch_digest(step)
    epochs = sum(plan.epoch_of(3) + 1 for plan in plans)
    assert len(packed) <= epochs + len(plans)


def test_small_batches_do_not_see_the_order_of_packing():
    """Packing makes rows of long examples first; a batch has rows of all kinds."""
    plan = make_plan((2000,), batch_size=1, window=4096)
    placed = plan.epoch(0)
    per_row = np.bincount(placed.row)
    halves = per_row[: len(per_row) // 2].mean(), per_row[len(per_row) // 2 :].mean()
    assert halves[0] == pytest.approx(halves[1], rel=0.1)


# Figures and fingerprints


def test_stats_count_what_is_cut_apart():
    lengths = np.array([[[10, 2], [20, 30], [5, 5], [16, 8]]], np.int32)
    ids = np.array([b"0", b"1", b"2", b"3"])
    config = PlanConfig(inputs_length=16, targets_length=8, batch_size=1)
    stats = Plan([TaskTable("a", lengths, ids, "")], {"a": 4}, config).stats()
    # Rows: [16 of 20, 8 of 30], [16, 8], [10 + 5, 2 + 5].
    assert (stats.examples, stats.rows) == (4, 3)
    assert stats.inputs_fill == pytest.approx((16 + 16 + 15) / 48)
    assert stats.targets_fill == pytest.approx((8 + 8 + 7) / 24)
    assert (stats.truncated_inputs, stats.truncated_targets) == (1, 1)
    assert str(stats) == (
        "4 examples in 3 rows, inputs 97.9 % and targets 95.8 % full; "
        "truncated: 1 inputs, 1 targets"
    )


def test_stats_equal_what_batches_hold():
    plan = make_plan((100, 50), inputs_length=48, batch_size=1)
    stats = plan.stats()
    tokens = sum(trimmed(plan, plan.batch(step)).sum(axis=0) for step in range(stats.rows))
    assert stats.inputs_fill == pytest.approx(tokens[0] / (stats.rows * 48))
    assert stats.targets_fill == pytest.approx(tokens[1] / (stats.rows * 24))


def test_the_fingerprint_covers_everything_a_plan_depends_on():
    def fingerprint(**changes):
        counts = changes.pop("counts", (10, 20))
        return make_plan(counts, **changes).fingerprint

    changes = [
        {},
        {"inputs_length": 65},
        {"targets_length": 25},
        {"batch_size": 5},
        {"packing": False},
        {"seed": 4},
        {"window": 33},
        {"layout": "decoder"},
        {"rates": (1, 1)},
        {"rates": (1, 2)},
        {"renderings": 2},
        {"counts": (10, 20, 30)},
    ]
    assert {f.name for f in dataclasses.fields(PlanConfig)} <= {k for c in changes for k in c}
    found = [fingerprint(**change) for change in changes]
    assert len(set(found)) == len(changes)
    assert fingerprint() == found[0]
    tables = [make_table("a", 10), dataclasses.replace(make_table("b", 20), fingerprint="other")]
    assert Plan(tables, {"a": 10, "b": 20}, CONFIG).fingerprint not in found


def test_batch_digests_tell_plans_apart():
    def digests(**changes):
        return [make_plan((10, 20), **changes).batch_digest(step) for step in range(6)]

    assert digests() == digests()
    assert len(set(digests())) == 6
    for change in ({"seed": 4}, {"batch_size": 5}, {"inputs_length": 65}, {"rates": (1, 1)}):
        assert digests(**change) != digests()
    # Equal examples in another rendering, once that is reached.
    one, two = make_plan((10, 20)), make_plan((10, 20), renderings=2)
    last = one.rows_before(2) // 4 - 1
    assert one.batch_digest(last) != two.batch_digest(last)


def test_the_order_of_data_never_changes_by_accident():
    """Pinned: a run that is resumed with a newer version has to see the same examples."""
    assert stable_permutation(10, "a", 1).tolist() == GOLDEN_PERMUTATION
    plan = make_plan((10, 20), (1, 1), renderings=2)
    assert [plan.batch_digest(step).hex()[:16] for step in (0, 5, 50)] == GOLDEN_DIGESTS


GOLDEN_PERMUTATION = [2, 9, 5, 0, 6, 4, 1, 7, 8, 3]
GOLDEN_DIGESTS = ["f185d96a8946e493", "8a537560cb1e20c0", "2156bb1d6adc6fad"]


def test_another_format_is_another_plan(monkeypatch):
    before = make_plan((10,)).fingerprint
    monkeypatch.setitem(FORMATS, "encoder_decoder", 0)
    assert make_plan((10,)).fingerprint != before


def test_permutations_are_permutations_and_depend_on_every_key():
    for n in (0, 1, 2, 1000):
        assert sorted(stable_permutation(n, "x").tolist()) == list(range(n))
    orders = {tuple(stable_permutation(20, *key)) for key in [(1, 2), (2, 1), (12,), ("1", "")]}
    assert len(orders) == 4


# What cannot be planned


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_draws_nothing_is_an_error(rate):
    with pytest.raises(DataError, match="task 'b' has mixing rate"):
        make_plan((3, 4), (1, rate))


def test_nothing_to_plan_is_an_error():
    with pytest.raises(DataError, match="at least one task"):
        Plan([], {}, CONFIG)
    with pytest.raises(DataError, match="task 'a' has no examples"):
        make_plan((0,), (1,))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs_length": 0},
        {"targets_length": -1},
        {"batch_size": 2.0},
        {"window": 0},
        {"inputs_length": "64"},
        {"packing": "false"},
    ],
)
def test_a_wrong_layout_is_an_error_that_names_the_field(change):
    with pytest.raises(DataError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change)


def test_a_resumed_plan_need_not_pack_what_is_behind_it(monkeypatch):
    first = make_plan([30, 20])
    expected = first.batch_digest(40)
    resumed = make_plan([30, 20])
    resumed.recall_rows(first.known_rows)
    packed = []
    epoch = Plan.epoch

    def counted(self, number):
        packed.append(number)
        return epoch(self, number)

    monkeypatch.setattr(Plan, "epoch", counted)
    assert resumed.batch_digest(40) == expected
    assert min(packed) >= resumed.epoch_of(40) > 0
