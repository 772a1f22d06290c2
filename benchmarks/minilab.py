"""Instances per second that MiniLab draws on one core, task by task.

    python benchmarks/minilab.py [--count 2000] [--slowest 10]

Prints the slowest tasks of each split, and the median over all tasks. The test and validation
splits are a quarter of all texts each, so their instances are drawn more often until one fits.
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="instances of each task and split")
    parser.add_argument("--slowest", type=int, default=5, help="tasks to name")
    args = parser.parse_args()
    from tasks import minilab
    from tasks.minilab import lab

    for split in lab.COUNTS:
        rates = {}
        for name, task in minilab.TASKS.items():
            rows = lab.Instances(task, split, count=args.count)
            before = time.perf_counter()
            for _ in rows:
                pass
            rates[name] = args.count / (time.perf_counter() - before)
        ranked = sorted(rates, key=lambda name: rates[name])
        slowest = ", ".join(f"{name} {rates[name]:,.0f}" for name in ranked[: args.slowest])
        print(f"{split}: median {statistics.median(rates.values()):,.0f}/s; slowest: {slowest}")


if __name__ == "__main__":
    main()
