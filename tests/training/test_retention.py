"""When checkpoints are due and which of them stay, as pure functions."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError
from flan_jax.training.retention import Known, Retention
from flan_jax.training.save_schedule import STEP, TEMPORARY, SaveSchedule, SaveTimer

# When to save.


def test_the_timer_knows_steps_ends_and_the_clock():
    now = [0.0]
    timer = SaveTimer(SaveSchedule(10, period_seconds=60, stride=2), clock=lambda: now[0])
    assert [timer.due(step) for step in range(1, 11)] == [None] * 9 + [STEP]
    now[0] = 60
    assert timer.due(11) is None  # between looks at the clock
    assert timer.due(12) == TEMPORARY
    now[0] = 119
    assert timer.due(14) is None
    assert timer.due(15, stopped=True) == TEMPORARY
    now[0] = 178  # 59 s since the save for the stop
    assert timer.due(16) is None
    assert timer.due(17, last=True) == STEP
    assert timer.due(20, stopped=True) == STEP


def test_without_seconds_the_clock_is_no_reason():
    now = [0.0]
    timer = SaveTimer(SaveSchedule(10), clock=lambda: now[0])
    now[0] = 1e9
    assert timer.due(3) is None


@pytest.mark.parametrize(
    ("make", "macro"),
    [
        (lambda: Retention(0), "KEEP_CHECKPOINTS must be .*, not 0"),
        (lambda: Retention(True), "KEEP_CHECKPOINTS must be .*, not True"),
        (lambda: Retention(keep_period=-5), "KEEP_CHECKPOINT_PERIOD must be .*, not -5"),
        (lambda: Retention(keep_period=30).check_period(20), "KEEP_CHECKPOINT_PERIOD=30 is no mu"),
        (lambda: Retention(keep_best=0), "KEEP_BEST_CHECKPOINTS must be .*, not 0"),
        (lambda: Retention(best_metric=""), "BEST_METRIC"),
        (
            lambda: Retention(best_mode="maxx"),
            "BEST_MODE must be .*; did you mean 'max'",
        ),
        (lambda: SaveSchedule(0), "CHECKPOINT_PERIOD must be .*, not 0"),
        (lambda: SaveSchedule(5, period_seconds=0), "CHECKPOINT_SECONDS must be .*, not 0"),
        (
            lambda: SaveSchedule(5, period_seconds=math.inf),
            "CHECKPOINT_SECONDS .*, not inf",
        ),
        (lambda: SaveSchedule(5, period_seconds="60"), "CHECKPOINT_SECONDS must be .*, not '60'"),
        (lambda: SaveSchedule(5, stride=0), "LOG_PERIOD must be .*, not 0"),
    ],
)
def test_bad_values_name_their_macro(make, macro):
    with pytest.raises(ConfigError, match=macro):
        make()


# What to keep.

METRIC = "loss"
policies = st.builds(
    Retention,
    keep=st.integers(1, 4),
    keep_period=st.none() | st.integers(1, 6),
    best_metric=st.none() | st.just(METRIC),
    best_mode=st.sampled_from(["min", "max"]),
    keep_best=st.integers(1, 3),
)
metrics = st.none() | st.sampled_from([-1.0, 0.0, 1.0, 2.0, math.nan, math.inf])
saves = st.lists(
    st.tuples(st.integers(1, 4), st.booleans(), metrics, st.none() | st.integers(0, 9)),
    min_size=1,
    max_size=15,
)


def best_of(policy: Retention, history: list[Known]) -> list[int]:
    """The best steps, the slow way."""
    found = [k for k in history if math.isfinite(k.metrics.get(policy.best_metric, math.nan))]
    best = min if policy.best_mode == "min" else max
    steps = []
    while found and len(steps) < policy.keep_best:
        value = best(k.metrics[METRIC] for k in found)
        chosen = max((k for k in found if k.metrics[METRIC] == value), key=lambda k: k.step)
        steps.append(chosen.step)
        found.remove(chosen)
    return steps


def permanent(policy: Retention, known: Known) -> bool:
    return policy.keep_period is not None and known.step % policy.keep_period == 0


def play(policy: Retention, events, damage: bool):
    """Yields (history, what is there, what goes) after each save."""
    history: list[Known] = []
    there: list[Known] = []
    step = 0
    for gap, temporary, value, victim in events:
        step += gap
        new = Known(step, True, temporary, {} if value is None else {METRIC: value})
        history.append(new)
        there.append(new)
        if damage and victim is not None and victim < len(there):
            old = there[victim]
            there[victim] = Known(old.step, False, old.temporary, old.metrics)
        gone = policy.removable(there)
        yield history, there, gone
        there = [known for known in there if known.step not in gone]


@settings(max_examples=300, deadline=None)
@given(policies, saves)
def test_the_only_good_the_best_and_the_permanent_survive(policy, events):
    for _, there, gone in play(policy, events, damage=True):
        proven = [known for known in there if known.proven]
        assert gone == sorted(gone)  # oldest first
        if not proven:
            assert gone == []
            continue
        newest = proven[-1]
        assert all(step < newest.step for step in gone)
        assert not set(gone) & set(best_of(policy, proven))
        assert not any(permanent(policy, k) for k in there if k.step in gone)
        left = [known for known in proven if known.step not in gone]
        permanents = sum(permanent(policy, known) for known in left)
        most = policy.keep + permanents + 1
        assert len(left) <= most + (policy.keep_best if policy.best_metric else 0)
        by_step = [known.step for known in proven if not known.temporary]
        assert set(by_step[-policy.keep :]) <= {known.step for known in left}
        older = [k for k in there if k.step < newest.step and k.step not in gone]
        assert all(known.proven or permanent(policy, known) for known in older)
        assert policy.removable([k for k in there if k.step not in gone]) == []


@settings(max_examples=200, deadline=None)
@given(policies, saves)
def test_deciding_save_by_save_is_deciding_at_the_end(policy, events):
    """So it does not matter where a run was interrupted."""
    for history, there, gone in play(policy, events, damage=False):
        left = {known.step for known in there} - set(gone)
        assert left == {k.step for k in history} - set(policy.removable(history))
