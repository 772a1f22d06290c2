"""How full rows get: the next-fit of a stream packer beside our window packer, in one run.

    python benchmarks/packing.py --super_ni_dir=../shared/data/super_ni

Prints, for one epoch of `super_ni_default_train` (default vocabulary; prepared on first use) and
for lognormal lengths, the rows, the share of input and target positions that hold a token, and
the seconds that packing took. `next-fit` keeps one row open and closes it when the next example
does not fit, as packing a stream without a buffer does; `first-fit` and `subset sums` are the two
that `pack`, which the plan uses, has to choose from. `bound` is the fewest rows that the tokens
of the tighter side need.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from flan_jax.data import packing
from flan_jax.data.plan import stable_permutation

Packer = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def next_fit(sizes_Nx2: np.ndarray, capacity_2: tuple[int, int]) -> np.ndarray:
    """Returns the row of each example, examples taken as they come."""
    row_of, row, used = [], 0, np.zeros(2, np.int64)
    for size in sizes_Nx2:
        if ((used + size) > capacity_2).any():
            row, used = row + 1, np.zeros(2, np.int64)
        used = used + size
        row_of.append(row)
    return np.array(row_of)


PACKERS: dict[str, Packer] = {
    "next-fit": next_fit,
    "first-fit": packing.first_fit_decreasing,
    "subset sums": packing.subset_sums,
    "pack (ours)": packing.pack,
}


def lognormal_lengths(count: int, means: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Returns lengths [count, 2] with these means, of spread 0.6 (inputs) and 1.2 (targets)."""
    rng = np.random.Generator(np.random.Philox(seed))
    columns = [
        rng.lognormal(np.log(mean) - spread**2 / 2, spread, count)
        for mean, spread in zip(means, (0.6, 1.2), strict=True)
    ]
    return np.maximum(np.stack(columns, axis=1), 2).astype(np.int64)


def super_ni_lengths(folder: str) -> np.ndarray:
    """Returns the untrimmed lengths of one epoch of super_ni_default_train, in drawn order."""
    os.environ["SUPER_NI_DIR"] = folder
    from flan_jax.quiet import import_tensorflow

    import_tensorflow()
    from flan_jax.config import import_modules
    from flan_jax.data.plan import Plan, PlanConfig
    from flan_jax.data.prepare import prepare
    from flan_jax.data.units import Renderings

    import_modules("tasks.natural_instructions.super_ni")
    mixture = prepare("super_ni_default_train", "train", Renderings(), report=print)
    plan = Plan(mixture.tables, mixture.rates, PlanConfig(1024, 256, 1, packing=False))
    drawn = plan.epoch(0)
    lengths = np.empty((len(drawn), 2), np.int64)
    for index in range(len(drawn)):
        table = plan.tables[drawn.task[index]].lengths_RxNx2
        lengths[index] = table[drawn.rendering[index], drawn.example[index]]
    return lengths


def measure(name: str, lengths: np.ndarray, capacity: tuple[int, int], window: int) -> None:
    """Prints a table: every packer on the same lengths in the same order and windows."""
    sizes = np.minimum(lengths, capacity)
    longer = (lengths > capacity).sum(axis=0)
    bound = int(np.ceil((sizes.sum(axis=0) / capacity).max()))
    print(
        f"\n{name}: {len(sizes):,} examples, mean {lengths.mean(axis=0).round(1).tolist()} tokens,"
    )
    print(f"  at {capacity[0]}/{capacity[1]}, truncated {longer.tolist()}, bound {bound:,} rows")
    print(f"  {'':<12} {'rows':>7} {'inputs':>8} {'targets':>8} {'seconds':>8}")
    for packer, function in PACKERS.items():
        started = time.perf_counter()
        rows = _rows(function, sizes, capacity, window)
        seconds = time.perf_counter() - started
        fill = 100 * sizes.sum(axis=0) / (rows * np.array(capacity))
        print(f"  {packer:<12} {rows:>7,} {fill[0]:>6.1f} % {fill[1]:>6.1f} % {seconds:>8.3f}")


def _rows(function: Packer, sizes: np.ndarray, capacity: tuple[int, int], window: int) -> int:
    """Rows of all windows; a stream packer knows no windows."""
    step = len(sizes) if function is next_fit else window
    windows = [sizes[start : start + step] for start in range(0, len(sizes), step)]
    return sum(int(function(w, capacity).max()) + 1 for w in windows)


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--super_ni_dir", help="Super-NaturalInstructions folder; left out if not given"
    )
    parser.add_argument("--examples", type=int, default=50_000, help="of made-up lengths")
    parser.add_argument("--window", type=int, default=4096, help="examples packed together")
    options = parser.parse_args(arguments)
    if options.super_ni_dir:
        lengths = super_ni_lengths(os.path.abspath(options.super_ni_dir))
        measure("Super-NI, default train", lengths, (1024, 256), options.window)
    for name, means, capacity in (
        ("lognormal, Super-NI's means", (283, 11), (1024, 256)),
        ("lognormal, short prompts", (80, 6), (2048, 512)),
        ("lognormal, long prompts", (500, 20), (1024, 256)),
        ("lognormal, long answers", (120, 120), (512, 512)),
    ):
        lengths = lognormal_lengths(options.examples, means)
        lengths = lengths[stable_permutation(len(lengths), "benchmark")]
        measure(name, lengths, capacity, options.window)


if __name__ == "__main__":
    main(sys.argv[1:])
