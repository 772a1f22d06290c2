"""How long the exact first 70 of a million embedded instructions take, and how much memory.

python benchmarks/selector_top_k.py [--rows=1000000] [--width=384] [-k 70]

Embeddings are random, kept in a file as the selector keeps them, and searched in a process that
does nothing else; the file is in the page cache, as it is from the second search on.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from flan_jax import json_files
from flan_jax.selector.vectors import to_grid, top_k


def main() -> None:
    """Makes the file, or searches it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("-k", type=int, default=70)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.file:
        print(json_files.dumps(_search(args)))
        return
    generator = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile() as file:
        for start in range(0, args.rows, 50_000):
            rows = min(50_000, args.rows - start)
            to_grid(generator.standard_normal((rows, args.width))).tofile(file)
        file.flush()
        command = [sys.executable, __file__, *sys.argv[1:], f"--file={file.name}"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def _search(args: argparse.Namespace) -> dict[str, float]:
    matrix = np.memmap(args.file, np.float32, "r", shape=(args.rows, args.width))
    seconds = []
    for seed in range(10):
        query = to_grid(np.random.default_rng(seed).standard_normal((1, args.width)))[0]
        begun = time.perf_counter()
        top_k(matrix, query, args.k)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "rows": args.rows,
        "first_s": round(seconds[0], 3),
        "median_s": round(float(np.median(seconds)), 3),
        "worst_s": round(max(seconds), 3),
        "peak_gb": round(peak, 2),
    }


if __name__ == "__main__":
    main()
