"""Writes classifications of Super-NaturalInstructions as a test set for `flan-jax eval --data`.

    python scripts/super_ni_test_set.py natural-instructions/tasks/task1388_cb_entailment.json \
        --out=cb.jsonl

Published as texts to generate, tasks with few different answers can as well be ranked: an instance
becomes a line with the definition as instruction, and all answers of the task as options.
"""

import argparse
import pathlib

from flan_jax import json_files
from flan_jax.errors import DataError

MOST_OPTIONS = 10


def lines_of(path: str) -> list[dict[str, object]]:
    """Returns the lines of a task file.

    Raises:
        DataError: it is none, or has more than `MOST_OPTIONS` different answers.
    """
    task = json_files.Fields(path, json_files.read_json(path))
    (definition, *_) = task.texts("Definition")
    instances = [
        json_files.Fields(f"{path}: instance {number}", one)
        for number, one in enumerate(task.items("Instances"))
    ]
    options = sorted({answer for one in instances for answer in one.texts("output")})
    if len(options) > MOST_OPTIONS:
        raise DataError(f"{path}: {len(options):,} different answers are no classification")
    stem = pathlib.Path(path).stem
    return [
        {
            "id": f"{stem}/{number}",
            "instruction": definition,
            "input": one.text("input"),
            "targets": list(one.texts("output")),
            "options": options,
        }
        for number, one in enumerate(instances)
    ]


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("task", nargs="+", help="task files")
    parser.add_argument("--out", required=True, help="file of JSON lines to write")
    arguments = parser.parse_args()
    lines = [line for path in arguments.task for line in lines_of(path)]
    json_files.write_lines(pathlib.Path(arguments.out), lines)
    print(f"wrote {len(lines):,} lines to {arguments.out}")


if __name__ == "__main__":
    main()
