"""What alignment does for tasks, or wordings, that it never saw.

python benchmarks/selector_alignment.py --library=promptsource:DIR --base=all-MiniLM-L6-v2
    --out=DIR [--experiment=gin_configs/experiments/selector_align.gin ...] [--every=4]
python benchmarks/selector_alignment.py --library=tasks.minilab --wording=1 --gin=GUARD=None ...

Of the library's tasks, by name, every n-th is held out, or of every task the wording of that
number. An encoder is aligned on the rest by each experiment; then each wording that was held out
looks for its own task among all wordings of the library but itself, before and after. Finished
alignments are not made again.
"""

import argparse
import dataclasses
import os
import time

import gin

from flan_jax import config, json_files
from flan_jax.selector import align, paraphrases
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.library import Library
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.sources import load_library

EXPERIMENTS = [
    f"gin_configs/experiments/{name}.gin"
    for name in ("selector_align", "selector_align_ranking", "selector_static")
]


def main() -> None:
    """Aligns and asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    parser.add_argument("--out", required=True)
    parser.add_argument("--experiment", action="append", default=[])
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--wording", type=int, help="hold out this wording of every task, from 0")
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    library = load_library(args.library)
    held_out = [] if args.wording is not None else sorted(library.by_name)[:: args.every]
    seen = library if args.wording is None else _without(library, args.wording)

    def say(name: str, encoder: str, facts: dict) -> None:
        embedder = Embedder(get_encoder(encoder), keep=False)
        for transform in ("none", "within"):
            found = paraphrases.find(
                library,
                embedder,
                Parameters(transform=transform),
                asked_tasks=held_out or None,
                fold=args.wording,
            )
            row = {
                "encoder": name,
                "transform": transform,
                "asked": found.asked,
                "first": round(found.first, 3),
                "among_five": round(found.among_five, 3),
                "cluster": round(found.cluster, 3),
            }
            print(json_files.dumps(row | facts), flush=True)

    say("base", args.base, {})
    for experiment in args.experiment or EXPERIMENTS:
        gin.clear_config()
        config.parse(config.compose_parts([experiment], "flan_jax", "select_align", args.gin))
        name = os.path.basename(experiment).removesuffix(".gin")
        begun = time.perf_counter()
        done = align.align(seen, args.base, os.path.join(args.out, name), held_out)
        say(name, done.folder, {"align_s": round(time.perf_counter() - begun, 1)})


def _without(library: Library, wording: int) -> Library:
    """Returns the library without one wording of each task that has two."""
    tasks = []
    for task in library.tasks:
        kept = task.instructions[:wording] + task.instructions[wording + 1 :]
        tasks.append(dataclasses.replace(task, instructions=kept or task.instructions))
    return Library.of(tasks, f"{library.origin} without wording {wording}")


if __name__ == "__main__":
    main()
