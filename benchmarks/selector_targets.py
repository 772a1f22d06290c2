"""How long it takes to embed a library and to select for every task of it.

python benchmarks/selector_targets.py --library=promptsource:DIR [--encoder=lexical --encoder=NAME]
    [-k 5] [--pairs]

Every task is the target once, and is chosen for from the others; nothing is read from a cache. With
--pairs, texts are also encoded as a selector would that keeps nothing: both texts of each pair of a
source's and a target's instruction, of which a sample is timed.
"""

import argparse
import random
import time

from flan_jax import json_files
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import Selector, Target, all_instructions
from flan_jax.selector.sources import load_library


def main() -> None:
    """Measures each encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--encoder", action="append", default=[])
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--pairs", action="store_true")
    args = parser.parse_args()
    library = load_library(args.library)
    for name in args.encoder or ["lexical"]:
        print(json_files.dumps(_measure(library, name, args)), flush=True)


def _measure(library, name: str, args: argparse.Namespace) -> dict[str, object]:
    texts = all_instructions(library)
    encoder = get_encoder(name, texts)
    encoder.encode(texts[:1])  # loads or learns its weights
    begun = time.perf_counter()
    embedder = Embedder(encoder, keep=False)
    selector = Selector(library, embedder)
    embedded = time.perf_counter()
    for task in library.tasks:
        parameters = Parameters(k=args.k, bootstrap=0)
        selector.select([Target.of_task(task)], parameters)
    chosen = time.perf_counter()
    found = {
        "encoder": name,
        "tasks": len(library.tasks),
        "instructions": len(texts),
        "encoded": embedder.encoded,
        "embed_s": round(embedded - begun, 2),
        "select_all_s": round(chosen - embedded, 2),
    }
    if args.pairs:
        count = sum(
            len(a.instructions) * len(b.instructions)
            for a in library.tasks
            for b in library.tasks
            if a.name != b.name
        )
        sample = random.Random(0).choices(texts, k=200)
        begun = time.perf_counter()
        for text in sample:
            encoder.encode([text])
        each = (time.perf_counter() - begun) / len(sample)
        found |= {"pairs": count, "pair_by_pair_s": round(2 * count * each, 1)}
    return found


if __name__ == "__main__":
    main()
