r"""Writes FLAN's sample rows as datasets that TFDS reads: to try everything without a network.

    python scripts/write_flan_samples.py /tmp/tfds             # all, or names: rte squad_v1 ...
    flan-jax train --gin_file=gin_configs/experiments/flan_tiny.gin --gin.MODEL_DIR=/tmp/run \
        --gin.TFDS_DATA_DIR=/tmp/tfds

The rows are a few of our own, repeated until every split that a task reads has some. Do not point
TFDS_DATA_DIR at this folder in earnest.
"""

import argparse

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions import datasets
from flan_jax.instructions.samples import needed_counts, write_tfds


def main() -> None:
    """Writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", metavar="DATASET", help="such as rte (default: all)")
    args = parser.parse_args()
    from tasks import flan

    known = [dataset.name for dataset in flan.DATASETS]
    for name in args.names:
        if name not in known:
            raise DataError(f"no dataset {name!r}{did_you_mean(name, known)}")
    wanted = {d.tfds for d in flan.DATASETS if not args.names or d.name in args.names}
    for number, tfds_name in enumerate(sorted(wanted), start=1):
        same = [d for d in flan.DATASETS if d.tfds == tfds_name]
        made_from = [datasets.find_registered(f"flan_{d.name}") for d in same]
        rows = [row for one in made_from if one is not None for row in one.samples]
        slices = [text for d in same for text in d.splits.values()]
        counts = needed_counts(slices, 2 * len(rows))
        write_tfds(tfds_name, rows, counts, args.folder)
        print(f"{number} of {len(wanted)}: {tfds_name}, {sum(counts.values()):,} rows")


if __name__ == "__main__":
    main()
