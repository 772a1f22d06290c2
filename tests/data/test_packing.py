"""Packing on two sides at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.data.packing import first_fit_decreasing, pack, subset_sums

PACKERS = pytest.mark.parametrize("packer", [first_fit_decreasing, subset_sums, pack])
CAPACITY = (40, 12)
SIZES = st.lists(st.tuples(st.integers(0, CAPACITY[0]), st.integers(0, CAPACITY[1])), max_size=60)


def as_array(sizes):
    return np.array(sizes, np.int64).reshape(-1, 2)


def loads(sizes, rows):
    """Tokens in every row, [rows, 2]."""
    total = np.zeros((int(rows.max(initial=-1)) + 1, 2), np.int64)
    np.add.at(total, rows, sizes)
    return total


def naive(sizes, capacity):
    """The same without any shortcut."""
    share = [max(size / room for size, room in zip(pair, capacity, strict=True)) for pair in sizes]
    order = sorted(range(len(sizes)), key=lambda i: -share[i])
    room, row_of = [], [0] * len(sizes)
    for i in order:
        row = 0
        while row < len(room) and any(np.array(sizes[i]) > room[row]):
            row += 1
        if row == len(room):
            room.append(list(capacity))
        room[row] = [free - size for size, free in zip(sizes[i], room[row], strict=True)]
        row_of[i] = row
    return row_of


def next_fit(sizes, capacity):
    """What a stream packer does: one open row, closed when the next example does not fit."""
    rows, used = 0, np.array(capacity)
    for size in sizes:
        used = used + size
        if (used > capacity).any():
            rows, used = rows + 1, size
    return rows


def like_super_ni(n, seed=0):
    """Lognormal lengths with Super-NI's means, 283 and 11 tokens, cut at 1024 / 256."""
    rng = np.random.Generator(np.random.Philox(seed))
    inputs = rng.lognormal(np.log(283) - 0.6**2 / 2, 0.6, n)
    targets = rng.lognormal(np.log(11) - 1.2**2 / 2, 1.2, n)
    return np.stack([np.clip(inputs, 8, 1024), np.clip(targets, 2, 256)], axis=1).astype(np.int64)


@settings(max_examples=300)
@given(SIZES)
def test_it_is_first_fit_decreasing(sizes):
    assert first_fit_decreasing(as_array(sizes), CAPACITY).tolist() == naive(sizes, CAPACITY)


@PACKERS
@settings(max_examples=300)
@given(sizes=SIZES)
def test_every_example_has_one_row_and_no_row_overflows(packer, sizes):
    rows = packer(as_array(sizes), CAPACITY)
    assert rows.shape == (len(sizes),) and rows.dtype == np.int64
    total = loads(as_array(sizes), rows)
    assert (total <= CAPACITY).all()
    # Rows are numbered from 0 without gaps.
    assert set(rows.tolist()) == set(range(len(total)))


@given(SIZES)
def test_no_two_rows_could_be_one(sizes):
    """Which next-fit does not promise; it bounds the rows by twice the tokens of both sides."""
    rows = first_fit_decreasing(as_array(sizes), CAPACITY)
    total = loads(as_array(sizes), rows)
    for i in range(len(total)):
        for j in range(i):
            assert (total[i] + total[j] > CAPACITY).any()
    shares = as_array(sizes).sum(axis=0) / CAPACITY
    assert len(total) <= 2 * shares.sum() + 1
    assert len(total) >= np.ceil(shares.max(initial=0) - 1e-9)


@PACKERS
@given(sizes=SIZES)
def test_equal_sizes_give_equal_rows(packer, sizes):
    array = as_array(sizes)
    assert np.array_equal(packer(array, CAPACITY), packer(array.astype(np.int32), CAPACITY))


@settings(max_examples=300)
@given(SIZES)
def test_packing_is_at_least_as_good_as_first_fit_decreasing(sizes):
    array = as_array(sizes)
    assert pack(array, CAPACITY).max(initial=-1) <= first_fit_decreasing(array, CAPACITY).max(
        initial=-1
    )


def test_long_prompts_are_paired_by_what_fits_best():
    """Thirds and halves that first-fit-decreasing puts beside the wrong neighbours."""
    sizes = np.array([[n, 1] for n in (51, 27, 26, 23, 21, 20, 19, 13)])
    assert int(first_fit_decreasing(sizes, (100, 50)).max()) + 1 == 3
    assert int(pack(sizes, (100, 50)).max()) + 1 == 2
    # Where targets forbid the best sum, a lower one is taken.
    sizes = np.array([[60, 10], [40, 45], [39, 5], [38, 3]])
    rows = subset_sums(sizes, (100, 50))
    assert rows.tolist() == [1, 0, 0, 1]


@given(SIZES, st.integers(0, 2**32))
def test_no_order_of_arrival_is_costly(sizes, seed):
    """As it is for next-fit."""
    array = as_array(sizes)
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(array)
    shares = array.sum(axis=0) / CAPACITY
    assert first_fit_decreasing(shuffled, CAPACITY).max(initial=-1) + 1 <= 2 * shares.sum() + 1


@PACKERS
def test_an_example_larger_than_a_row_is_an_error(packer):
    with pytest.raises(ValueError, match="larger than a row"):
        packer(np.array([[5, 13]]), CAPACITY)


@PACKERS
def test_nothing_needs_no_row(packer):
    assert packer(np.zeros((0, 2), np.int64), CAPACITY).shape == (0,)


@PACKERS
@pytest.mark.parametrize("seed", range(4))
def test_a_window_of_super_ni_lengths_is_full(packer, seed):
    """Windows of 4,096 and of the 512 that a small mixture may have; against next-fit."""
    for n, least in ((4096, 0.98), (512, 0.97)):
        sizes = like_super_ni(n, seed)
        rows = int(packer(sizes, (1024, 256)).max()) + 1
        fill = sizes[:, 0].sum() / (rows * 1024)
        assert fill >= least
        assert rows < 0.9 * next_fit(sizes, (1024, 256))


def test_where_targets_are_what_fills_rows():
    sizes = like_super_ni(4096)[:, ::-1]
    rows = pack(sizes, (256, 1024))
    assert sizes[:, 1].sum() / ((int(rows.max()) + 1) * 1024) >= 0.97
