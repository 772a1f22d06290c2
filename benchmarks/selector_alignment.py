"""What alignment does for tasks that it never saw.

python benchmarks/selector_alignment.py --library=promptsource:DIR --base=all-MiniLM-L6-v2
    --out=DIR [--experiment=gin_configs/experiments/selector_align.gin ...] [--every=4]

Of the library's tasks, by name, every n-th is held out. An encoder is aligned on the others by each
experiment; then every wording of the held-out tasks looks for its own task among all, before and
after. Finished alignments are not made again.
"""

import argparse
import json
import os
import time

import gin

from flan_jax import config
from flan_jax.selector import align, paraphrases
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.selection import Parameters
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
    parser.add_argument("--gin", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    library = load_library(args.library)
    held_out = sorted(library.by_name)[:: args.every]
    _say("base", args.base, library, held_out, {})
    for experiment in args.experiment or EXPERIMENTS:
        gin.clear_config()
        config.parse(config.compose_parts([experiment], "flan_jax", "select_align", args.gin))
        name = os.path.basename(experiment).removesuffix(".gin")
        begun = time.perf_counter()
        done = align.align(library, args.base, os.path.join(args.out, name), held_out)
        facts = {"align_s": round(time.perf_counter() - begun, 1), "losses": done.losses}
        _say(name, done.folder, library, held_out, facts)


def _say(name: str, encoder: str, library, held_out: list[str], facts: dict) -> None:
    embedder = Embedder(get_encoder(encoder), keep=False)
    for transform in ("none", "within"):
        parameters = Parameters(transform=transform)
        found = paraphrases.find(library, embedder, parameters, asked_tasks=held_out)
        row = {
            "encoder": name,
            "transform": transform,
            "held_out_tasks": len(held_out),
            "asked": found.asked,
            "first": round(found.first, 3),
            "among_five": round(found.among_five, 3),
            "cluster": round(found.cluster, 3),
        }
        print(json.dumps(row | facts), flush=True)


if __name__ == "__main__":
    main()
