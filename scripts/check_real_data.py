r"""Builds one dataset end to end from its real source: downloads, reads, renders, tokenizes.

    python scripts/check_real_data.py flan_rte            # needs a network the first time

Prints, for each split, how many rows there are and how many of the first rows are kept, lengths in
tokens, how often each template and answer was drawn, and two renderings. Nothing is written but
what TFDS keeps. Not part of the tests: those use rows of our own, this uses the data itself.
"""

import argparse
import collections
import itertools
import statistics

from flan_jax.errors import DataError
from flan_jax.instructions import datasets, pipelines


def main() -> None:
    """Builds and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="SeqIO task of tasks.flan, such as flan_rte")
    parser.add_argument("--rows", type=int, default=500, help="rows of each split to look at")
    args = parser.parse_args()
    import seqio

    import tasks.flan  # noqa: F401  registers

    made_from = datasets.find_registered(args.task)
    if made_from is None:
        raise DataError(f"{args.task} is no task of tasks.flan")
    task = seqio.TaskRegistry.get(args.task)
    for split in task.splits:
        raw = task.source.get_dataset(split, shuffle=False).take(args.rows)
        rows = [pipelines.to_python_tree(row)["row"] for row in pipelines.read_rows(raw)]
        kept = [f for row in rows if (f := made_from.dataset.read_fields(row)) is not None]
        total = task.source.num_input_examples(split)
        print(f"\n{args.task}, {split}: {total:,} rows; of {len(rows)}, {len(kept)} are kept")
        problems = datasets.check_dataset(made_from.dataset, rows[:100])
        for problem in problems:
            print(f"  PROBLEM {problem}")
        dataset = task.get_dataset(None, split, shuffle=False).take(args.rows)
        found = list(dataset.as_numpy_iterator())
        for feature in ("inputs", "targets"):
            lengths = sorted(len(example[feature]) for example in found)
            middle, longest = statistics.median(lengths), lengths[-1]
            print(f"  {feature}: median {middle:.0f} tokens, longest {longest}")
        for column in ("template", "targets_pretokenized"):
            counts = collections.Counter(example[column].decode() for example in found)
            common = ", ".join(f"{name!r} {n}" for name, n in counts.most_common(10))
            print(f"  {column}: {common[:300]}")
        for example in itertools.islice(found, 2):
            print(f"--- {example['id'].decode()}\n{example['inputs_pretokenized'].decode()}")
            print(f"[target] {example['targets_pretokenized'].decode()}")


if __name__ == "__main__":
    main()
