"""FLAN's data side: seconds to import, examples/s to render and tokenize.

    python benchmarks/flan.py [--examples=2000] [--processes=2]

Importing is timed in fresh processes, beyond `import seqio`. Rendering runs over sample rows that
are written as TFDS datasets, so lengths are those of the samples (reported), not of the real data;
it goes through SeqIO to token ids, as preparing does. "bare" reads the same rows and renders
nothing, for comparison.
"""

import argparse
import concurrent.futures
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time

# One of each kind: few fields, long text, own options, several references, two languages.
DATASETS = ("rte", "ag_news_subset", "cosmos_qa", "squad_v1", "gigaword", "wmt14_enfr")
IMPORT = (
    "import time, seqio; t = time.perf_counter(); import tasks.flan; print(time.perf_counter() - t)"
)


def measure(folder: str, name: str, examples: int) -> tuple[str, float, float, float, float]:
    """Returns dataset, rows/s read, examples/s rendered, few-shot examples/s, tokens an example."""
    import seqio

    import tasks.flan  # noqa: F401

    seqio.set_tfds_data_dir_override(folder)

    def speed(dataset) -> tuple[float, list]:  # type: ignore[no-untyped-def]
        rows = iter(dataset.as_numpy_iterator())
        first = [next(rows)]
        started = time.perf_counter()
        found = first + list(rows)
        return len(found) / (time.perf_counter() - started), found

    task = seqio.TaskRegistry.get(f"flan_{name}")
    bare, _ = speed(task.source.get_dataset("train", shuffle=False).take(examples))
    rendered, found = speed(task.get_dataset(None, "train", shuffle=False).take(examples))
    few = seqio.TaskRegistry.get(f"flan_{name}_fewshot")
    fewshot, _ = speed(few.get_dataset(None, "train", shuffle=False).take(examples // 4))
    tokens = statistics.mean(len(e["inputs"]) + len(e["targets"]) for e in found)
    return name, bare, rendered, fewshot, tokens


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    run = [sys.executable, "-c", IMPORT]
    seconds = [
        float(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(3)
    ]
    print(f"import tasks.flan beyond seqio: {min(seconds):.2f} s (best of 3)")
    with tempfile.TemporaryDirectory() as folder:
        _fill(folder, args.examples)
        print(f"{'examples/s of one process':26s} {'bare':>9s} {'rendered':>9s} {'few-shot':>9s}")
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            for name in DATASETS:
                _, bare, rendered, fewshot, tokens = pool.submit(
                    measure, folder, name, args.examples
                ).result()
                what = f"{name} ({tokens:.0f} tokens)"
                print(f"{what:26s} {bare:9,.0f} {rendered:9,.0f} {fewshot:9,.0f}")
        with concurrent.futures.ProcessPoolExecutor(args.processes, context) as pool:
            name, count = DATASETS[0], args.processes
            jobs = [pool.submit(measure, folder, name, args.examples) for _ in range(count)]
            total = sum(job.result()[2] for job in jobs)
            print(f"{count} processes at once, {name}: {total:,.0f} examples/s rendered")


def _fill(folder: str, examples: int) -> None:
    """Writes the datasets again with enough training rows."""
    from flan_jax.instructions import datasets
    from flan_jax.instructions.samples import needed_counts, write_tfds
    from tasks import flan

    for dataset in flan.DATASETS:
        if dataset.name in DATASETS:
            made_from = datasets.find_registered(f"flan_{dataset.name}")
            assert made_from is not None
            counts = needed_counts(list(dataset.splits.values()), 2 * examples)
            write_tfds(dataset.tfds, made_from.samples, counts, folder)


if __name__ == "__main__":
    main()
