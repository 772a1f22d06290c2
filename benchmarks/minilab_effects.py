r"""What instructions do in MiniLab, over several seeds: mean and spread of finished demos.

    for seed in 0 1 2; do
        flan-jax demo --gin_file=gin_configs/experiments/minilab_full.gin --gin.SEED=$seed \
            --out=runs/full_$seed
    done
    python benchmarks/minilab_effects.py runs/full_0 runs/full_1 runs/full_2

Prints a table of arms and structures, and what is above what: with instructions over without, and
over the nearest wording; then the score by number of training tasks, where such arms were run.
"""

import argparse
import pathlib
import re
import statistics

from flan_jax import json_files

WITH = "with_instructions"
SEEN = "seen"


def spread(values: list[float]) -> str:
    """Returns mean, and standard deviation where there are several values."""
    mean = statistics.mean(values)
    return f"{mean:6.1f} ± {statistics.stdev(values):4.1f}" if len(values) > 1 else f"{mean:6.1f}"


def main() -> None:
    """Reads and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="+", help="--out of a finished flan-jax demo")
    parser.add_argument("--metric", choices=("exact_match", "rougeL"), default="exact_match")
    args = parser.parse_args()
    runs = [json_files.read_json(pathlib.Path(x) / "metrics.json") for x in args.folder]
    tables = [run["arms" if args.metric == "exact_match" else "rougeL"] for run in runs]
    arms, structures = list(tables[0]), list(tables[0][WITH])

    def scores(arm: str, structure: str) -> list[float]:
        return [table[arm][structure] for table in tables]

    print(f"{args.metric}, {len(runs)} seeds, {runs[0]['train_steps']} steps")
    print(f"{'':22s}" + "".join(f"{name:>18s}" for name in structures))
    for arm in arms:
        print(f"{arm:22s}" + "".join(f"{spread(scores(arm, s)):>18s}" for s in structures))
    for other in ("without_instructions", "nearest_wording", "base", "specialist"):
        if other in arms:
            gains = [
                [a - b for a, b in zip(scores(WITH, s), scores(other, s), strict=True)]
                for s in structures
            ]
            cells = "".join(f"{spread(gain):>18s}" for gain in gains)
            print(f"{'over ' + other.replace('_', ' '):22s}" + cells)
    numbered = {int(found[1]): arm for arm in arms if (found := re.match(r"(\d+)_tasks$", arm))}
    if numbered:
        print("\nheld out, by number of training tasks (mean over structures held out)")
        for number, arm in [*sorted(numbered.items()), (0, WITH)]:
            held = [
                statistics.mean(table[arm][s] for s in structures if s != SEEN) for table in tables
            ]
            print(f"{number or 'all':>6} {spread(held)}")


if __name__ == "__main__":
    main()
