"""Packing: which examples share a row.

A row holds several examples side by side, on the input and the target side alike, each within
the row's lengths. First-fit-decreasing over a window of examples wastes a few percent where the
next-fit of a stream packer wastes a fifth; where prompts are long, so that a row holds two or
three, choosing what goes together by subset sums wastes less still (measured in
benchmarks/packing.py).
"""

import numpy as np

# First-fit-decreasing that fills this much needs no improvement.
GOOD_FILL = 0.985
# Sums to try for a row until the other side fits too.
_TRIES = 8


def pack(sizes_Nx2: np.ndarray, capacity_2: tuple[int, int]) -> np.ndarray:
    """Packs examples into few rows.

    Args:
        sizes_Nx2: input and target length of each example, in tokens.
        capacity_2: input and target length of a row.

    Returns:
        The row of each example, int64 [N]; rows are numbered from 0.

    Raises:
        ValueError: an example is larger than a row.
    """
    row_of = first_fit_decreasing(sizes_Nx2, capacity_2)
    rows = int(row_of.max(initial=-1)) + 1
    needed = (np.asarray(sizes_Nx2, np.int64).sum(axis=0) / capacity_2).max()
    if needed >= GOOD_FILL * rows:
        return row_of
    by_sums = subset_sums(sizes_Nx2, capacity_2)
    return by_sums if int(by_sums.max()) + 1 < rows else row_of


def first_fit_decreasing(sizes_Nx2: np.ndarray, capacity_2: tuple[int, int]) -> np.ndarray:
    """Packs examples into rows.

    Examples are placed in order of the larger of their two shares of the capacity, each into the
    first row that has room on both sides. Arguments and result are those of `pack`.

    Raises:
        ValueError: an example is larger than a row.
    """
    n = len(sizes_Nx2)
    capacity = np.asarray(capacity_2, np.int64)
    sizes = np.asarray(sizes_Nx2, np.int64)
    order = _by_share(sizes, capacity)
    room_inputs: np.ndarray = np.zeros(n, np.int64)
    room_targets: np.ndarray = np.zeros(n, np.int64)
    row_of: np.ndarray = np.empty(n, np.int64)
    rows = 0
    # No example left to place fits a row with less room than the smallest one: rows before
    # `first` are full and need not be looked at again.
    first = 0
    smallest = int(sizes[:, 0].min()) if n else 0
    for example in order:
        inputs, targets = sizes[example]
        fits = (room_inputs[first:rows] >= inputs) & (room_targets[first:rows] >= targets)
        row = first + int(fits.argmax()) if fits.any() else rows
        if row == rows:
            room_inputs[row], room_targets[row] = capacity
            rows += 1
        room_inputs[row] -= inputs
        room_targets[row] -= targets
        row_of[example] = row
        while first < rows and room_inputs[first] < smallest:
            first += 1
    return row_of


def _by_share(sizes: np.ndarray, capacity: np.ndarray) -> list[int]:
    """Examples in descending order of the larger of their shares of the capacity.

    Raises:
        ValueError: an example is larger than a row.
    """
    if (sizes > capacity).any():
        raise ValueError("an example is larger than a row; truncate lengths first")
    return np.argsort(-(sizes / capacity).max(axis=1, initial=0), kind="stable").tolist()


def subset_sums(sizes_Nx2: np.ndarray, capacity_2: tuple[int, int]) -> np.ndarray:
    """Packs examples row by row: the largest one left, and with it what fills the row best.

    That is a subset sum over the lengths left, on the side that needs more rows (the minimum bin
    slack of Gupta and Ho 1999). Arguments and result are those of `pack`.

    Raises:
        ValueError: an example is larger than a row.
    """
    capacity = np.asarray(capacity_2, np.int64)
    sizes = np.asarray(sizes_Nx2, np.int64)
    order = _by_share(sizes, capacity)
    side = int((sizes.sum(axis=0) / capacity).argmax())
    main, other = sizes[:, side].tolist(), sizes[:, 1 - side].tolist()
    waiting: dict[int, list[int]] = {}
    for example in sorted(order, key=lambda e: (-main[e], -other[e])):
        waiting.setdefault(main[example], []).append(example)
    least = min(other, default=0)
    row_of: np.ndarray = np.full(len(sizes), -1, np.int64)
    rows = 0
    for largest in order:
        if row_of[largest] >= 0:
            continue
        waiting[main[largest]].remove(largest)
        members = [largest]
        room, room_other = int(capacity[side]) - main[largest], capacity[1 - side] - other[largest]
        if room_other >= least:
            members += _take(waiting, room, room_other, other)
        row_of[members] = rows
        rows += 1
    return row_of


def _take(waiting: dict[int, list[int]], room: int, room_other: int, other: list[int]) -> list[int]:
    """Takes the examples that fill `room` best, and have room on the other side, out of `waiting`.

    Args:
        waiting: examples by length, lengths descending; of each length the last is taken first.
        room: tokens left in the row.
        room_other: tokens left on the other side.
        other: length of each example on the other side.
    """
    # Bit s of `sums` is set where some of the examples looked at add up to s.
    sums, steps = 1, []
    for length, examples in waiting.items():
        if not length or not examples or other[examples[-1]] > room_other:
            continue
        for _ in range(min(len(examples), room // length)):
            grown = (sums | sums << length) & ((2 << room) - 1)
            if grown == sums:
                break
            steps.append((length, sums))
            sums = grown
        if sums >> room:  # the row is full
            break
    for _ in range(_TRIES):
        total = sums.bit_length() - 1
        chosen, left = [], total
        for length, before in reversed(steps):
            if not before >> left & 1:
                chosen.append(length)
                left -= length
        # Equal lengths follow each other in `chosen`.
        taken = [waiting[n][-1 - chosen[:i].count(n)] for i, n in enumerate(chosen)]
        if sum(other[example] for example in taken) <= room_other:
            for length in chosen:
                waiting[length].pop()
            return taken
        sums ^= 1 << total
    return []
