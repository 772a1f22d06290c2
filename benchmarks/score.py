"""Seconds that `flan-jax score` takes for the whole English track: 11,810 predictions.

    python benchmarks/score.py --super_ni_dir=../shared/data/super_ni [--repeats=3]

Instances are those of the test tasks that are there; where tasks are missing, the same ones come
again with the words of their answers reversed, so that no text and no pair is there twice because
of that. "answers": each is predicted to be another answer of its task, as long as a model's would
be; "inputs": each is predicted to be its input, which is as long as it gets. Whole runs of the
command are timed, start of Python included, in as many processes as there are cores and in one;
the scores have to be equal.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from flan_jax import json_files

TASKS, PER_TASK, SHORT = 119, 100, (16, 74)  # two tasks have fewer: 11,810 in all


def make_files(folder: str, out: pathlib.Path) -> int:
    """Writes references.jsonl, answers.jsonl and inputs.jsonl; returns the number of lines."""
    from flan_jax.scoring.references import read_references

    tasks = list(read_references(folder).by_task.items())
    rows: dict[str, list[dict]] = {"references": [], "answers": [], "inputs": []}
    for number in range(TASKS):
        name, instances = tasks[number % len(tasks)]
        copy = number // len(tasks)
        most = PER_TASK - (SHORT[number] if number < len(SHORT) else 0)
        chosen = [instances[i % len(instances)] for i in range(most)]
        for i, instance in enumerate(chosen):
            row_id = f"{name}/{copy}/{i}"
            references = [_turned(text, copy) for text in instance.references]
            other = _turned(chosen[(i + 1) % most].references[0], copy)
            row = {"references": references, "task_id": f"{name}/{copy}"}
            rows["references"].append({"id": row_id, **row, "task_category": instance.category})
            for kind, text in (("answers", other), ("inputs", _turned(instance.input, copy))):
                rows[kind].append({"id": row_id, "prediction": text})
    for kind, made in rows.items():
        json_files.write_lines(out / f"{kind}.jsonl", made)
    return len(rows["references"])


def _turned(text: str, copy: int) -> str:
    return " ".join(reversed(text.split())) if copy else text


def measure(out: pathlib.Path, kind: str, processes: int | None) -> tuple[float, float, dict]:
    """Returns wall and processor seconds of one run, and what it printed."""
    command = [sys.executable, "-m", "flan_jax", "score", "--json"]
    command += [f"--predictions={out / kind}.jsonl", f"--references={out}/references.jsonl"]
    if processes is not None:
        command.append(f"--processes={processes}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, json_files.loads(printed, "what it printed")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--super_ni_dir", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        count = make_files(args.super_ni_dir, out)
        print(f"{count:,} predictions (best of {args.repeats})")
        print(f"{'':10s} {'processes':>10s} {'seconds':>8s} {'cpu s':>8s} {'ROUGE-L':>8s}")
        for kind in ("answers", "inputs"):
            found = []
            for processes in (None, 1):
                runs = [measure(out, kind, processes) for _ in range(args.repeats)]
                wall, cpu, summary = min(runs, key=lambda run: run[0])
                found.append(summary)
                rouge = summary["overall"]["rougeL"]
                words = "all cores" if processes is None else "one"
                print(f"{kind:10s} {words:>10s} {wall:8.2f} {cpu:8.2f} {rouge:8.2f}")
            assert found[0] == found[1], "scores depend on the number of processes"


if __name__ == "__main__":
    main()
