"""`flan-jax tasks overlap`: what a training mixture shares with the examples of a suite."""

import argparse
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common

# Training tasks and examples that a line names.
_MOST_SOURCES, _MOST_WORST = 3, 5
_REPORT, _EXAMPLES, _PARTS = "overlap.json", "overlap.jsonl", "parts"


def add_action(actions: Any) -> Any:
    """Adds the action and its options; returns its parser."""
    parser = actions.add_parser("overlap", help="what a training mixture shares with a test suite")
    for side, split, what in (("train", "train", "trained on"), ("test", "test", "tested on")):
        parser.add_argument(
            f"--{side}", required=True, metavar="NAMES", type=common.path,
            help=f"tasks or mixtures that are {what}, commas between them",
        )  # fmt: skip
        parser.add_argument(
            f"--{side}_split", default=split, help=f"their split (default: {split})"
        )
    parser.add_argument(
        "--ngram", type=common.whole(4, 64), default=13, help="words of an n-gram (default: 13)"
    )
    parser.add_argument(
        "--out", type=common.path, metavar="DIR",
        help="folder for overlap.json and overlap.jsonl, the training examples that were found; "
        "the same command goes on where it was interrupted",
    )  # fmt: skip
    parser.add_argument(
        "--layout",
        default="encoder_decoder",
        choices=("encoder_decoder", "decoder"),
        help="of the model that trains (default: encoder_decoder)",
    )
    parser.add_argument("--workers", type=common.whole(), help="processes that prepare data")
    return parser


def run(args: argparse.Namespace) -> int:
    """Compares, prints a table and writes the files."""
    from flan_jax import files

    with contextlib.ExitStack() as stack:
        if args.out:  # before hours of work
            stack.enter_context(files.lock_folder(files.check_out_folder(args.out)))
        report = _compare(args)
        if args.out:
            _write(args, report)
    _print(report)
    return 0


def _compare(args: argparse.Namespace) -> Any:
    """Prepares both sides and returns the report."""
    from etils import epath

    from flan_jax import files
    from flan_jax.data import overlap

    test = [_prepared(args, name, args.test_split, None) for name in common.names(args.test)]
    train = [
        _prepared(args, name, args.train_split, args.layout) for name in common.names(args.train)
    ]
    folder = files.make_folder(epath.Path(args.out) / _PARTS) if args.out else None
    with terminal.Progress("indexing", _count(test)) as bar:
        sides = overlap.sides(test, train, args.ngram, bar.advance)
    with terminal.Progress("comparing", _count(train)) as bar:
        return overlap.Report(sides, list(overlap.parts(sides, folder, bar.advance)))


def _count(mixtures: Sequence[Any]) -> int:
    return sum(len(units[0]) for mixture in mixtures for units in mixture.units)


def _prepared(args: argparse.Namespace, name: str, split: str, layout: str | None) -> Any:
    from flan_jax.data.prepare import prepare
    from flan_jax.data.units import Renderings

    return prepare(
        name,
        split,
        Renderings(),
        modules=args.module,
        # Other processes know no module but those that are named.
        workers=args.workers if args.module else 1,
        layout=layout,
        report=terminal.say_aside,
    )


def _write(args: argparse.Namespace, report: Any) -> None:
    """Writes the files, the summary last; parts stay, for the same command with more tasks."""
    from etils import epath

    from flan_jax import __version__, files, json_files

    out = epath.Path(args.out)
    with files.scratch_folder(out) as scratch, files.writing(out / _EXAMPLES):
        count = 0
        with (scratch / _EXAMPLES).open("w") as file:
            for row in report.training_examples():
                file.write(json_files.dumps(row) + "\n")
                count += 1
        (scratch / _EXAMPLES).replace(out / _EXAMPLES)
    sides = {
        "train": {"names": common.names(args.train), "split": args.train_split},
        "test": {"names": common.names(args.test), "split": args.test_split},
    }
    facts = {"version": __version__, **sides, "training_examples_found": count}
    json_files.write_json(out / _REPORT, {**facts, **report.to_json()})


def _print(report: Any) -> None:
    found = report.to_json()
    tasks = found["test_tasks"]
    console = terminal.console()
    concerned = {name: row for name, row in tasks.items() if row["found"]}
    if concerned:
        console.print(_table(found["ngram"], concerned))
        console.print(_worst_table(list(_worst(concerned))))
    for line in _notes(found):
        terminal.say(line)


def _table(ngram: int, tasks: Mapping[str, Any]) -> Any:
    table = terminal.table(f"What tests share with training, in runs of {ngram} words")
    table.add_column("test task", overflow="fold")
    for heading in ("examples", "found", "duplicates", "words %", "phrasing %"):
        table.add_column(heading, justify="right")
    table.add_column("training tasks", overflow="fold")
    for name, row in tasks.items():
        counts = (row["examples"], row["found"], row["duplicates"])
        shares = (row["words_found"], row["phrasing"])
        table.add_row(
            name,
            *(f"{count:,}" for count in counts),
            *(f"{100 * share:.1f}" for share in shares),
            _sources(row["training_tasks"]),
        )
    return table


def _sources(tasks: Mapping[str, int]) -> str:
    """Names the training tasks that most examples were found in."""
    named = [f"{task} {count:,}" for task, count in list(tasks.items())[:_MOST_SOURCES]]
    more = len(tasks) - len(named)
    return ", ".join(named) + (f", and {more} more" if more else "")


def _worst(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the tests that were found most of, with their task."""
    rows = [(name, row) for name, task in tasks.items() for row in task["examples_found"]]
    rows.sort(key=lambda one: (-one[1]["words_found"], not one[1]["duplicate"], one[0]))
    yield from rows[:_MOST_WORST]


def _worst_table(rows: Sequence[tuple[str, Any]]) -> Any:
    table = terminal.table("Examples of which most was found")
    for heading in ("test", "words %", "most alike in training", "the longest run they share"):
        table.add_column(heading, overflow="fold", justify="right" if "%" in heading else "left")
    for name, row in rows:
        source = row["sources"][0]
        table.add_row(
            f"{name} {row['id']}",
            f"{100 * row['words_found']:.0f}",
            f"{source['task']} {source['id']}" + (", a duplicate" if source["duplicate"] else ""),
            row.get("shared", ""),
        )
    return table


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields what has to be known to read the table."""
    tests, training = found["test_tasks"].values(), found["training_tasks"].values()
    concerned, of = sum(row["found"] for row in training), sum(row["examples"] for row in training)
    yield (
        f"{sum(row['found'] for row in tests):,} of {sum(row['examples'] for row in tests):,} "
        f"tests were found, in {concerned:,} of {of:,} training examples; "
        f"{sum(not row['found'] for row in tests):,} of {len(tests):,} test tasks share nothing"
    )
    yield (
        "phrasing: words that examples of one template have in common (instruction, template, "
        "options), which are not looked for"
    )
    if short := sum(row["too_short"] for row in tests):
        yield (
            f"{short:,} tests have no {found['shortest']} words of their own in a row, and are "
            "found as duplicates only"
        )
    if fewshot := [name for name in found["test_tasks"] if _is_fewshot(name)]:
        yield (
            f"prompts of {', '.join(fewshot[:3])} hold training examples as exemplars, and are "
            "found for these: compare the variants without exemplars"
        )
    if wordless := sum(row["wordless"] for row in tests):
        yield f"{wordless:,} tests have no words of their own, and cannot be found"


def _is_fewshot(task: str) -> bool:
    from flan_jax.instructions import datasets

    made_from = datasets.find_registered(task)
    return made_from is not None and made_from.variant.fewshot
