"""`flan-jax tasks check --folder=DIR`: what is odd in a folder of Super-NI tasks.

A report and not a refusal: the status is 1 only where files are no tasks at all.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax import terminal

# Findings of one check that are printed one by one; --json has all.
_MOST_ROWS = 10


def run_check(
    folder: str,
    names: Sequence[str] = (),
    as_json: bool = False,
    encoding: str | None = None,
    budget: int = 1024,
) -> int:
    """Checks a folder, or some of its tasks, and prints what was found.

    Args:
        folder: holds `tasks/*.json` and `splits/`, or task files.
        names: tasks to check; all where empty.
        as_json: whether to print the report as JSON and nothing else.
        encoding: encoding of the prompts to count; none are counted where it is None or empty.
        budget: largest number of tokens of a prompt, with its end-of-sequence token, in the
            vocabulary that VOCABULARY names.

    Returns:
        1 where files are no tasks, else 0.

    Raises:
        DataError: there is no such folder or task.
        ConfigError: no such encoding, or the budget is not a positive number.
    """
    from flan_jax.natural_instructions import data_checks

    prompts = _prompts(encoding, budget) if encoding else None
    report = data_checks.check_folder(folder, names, prompts=prompts, watch=_watched)
    if as_json:
        terminal.say_json(report.to_json())
    else:
        _print(report)
    return 1 if "unreadable" in report.summary() else 0


def _watched(visits: Sequence[Any]) -> Iterator[Any]:
    """Passes on what is to do and shows how much of it is done."""
    from flan_jax.terminal import Progress

    with Progress("checking", len(visits)) as bar:
        for visit in visits:
            yield visit
            bar.advance(1)


def _prompts(encoding: str, budget: int) -> Any:
    """Returns the `task_checks.Prompts` that say how prompts are made and counted.

    Raises:
        ConfigError: no such encoding, or the budget is not a positive number.
    """
    from flan_jax.errors import ConfigError
    from flan_jax.natural_instructions import encodings
    from flan_jax.natural_instructions.task_checks import Prompts

    encodings.get_encoding(encoding)
    if budget < 1:
        raise ConfigError(f"a budget is a positive number of tokens, not {budget}")
    from flan_jax.quiet import import_tensorflow

    import_tensorflow()
    from flan_jax.instructions.vocabulary import VOCABULARY

    return Prompts(encoding, budget, VOCABULARY.encode, VOCABULARY.spec)


def _print(report: Any) -> None:
    """Prints a `data_checks.Report`: what was read, a table of the checks and one of findings."""
    console = terminal.console()
    for line in _opening(report):
        console.print(line, soft_wrap=True)
    if not report.findings:
        return
    console.print(_summary_table(report))
    console.print(_findings_table(report.findings))


def _opening(report: Any) -> Iterator[str]:
    """Yields the lines that say what was looked at."""
    counted = "prompts not counted"
    if report.encoding:
        counted = (
            f"prompts in {report.encoding} with at most {report.budget} tokens of "
            f"{report.vocabulary}"
        )
    yield (
        f"{report.folder}: {report.tasks} tasks, {report.instances} instances, {counted}, "
        f"{report.seconds:.1f} s"
    )
    for track, parts in report.splits.items():
        found = ", ".join(f"{part} {there} of {listed}" for part, (there, listed) in parts.items())
        yield f"track {track}: {found} tasks are there"
    if not report.findings:
        yield "nothing odd was found"


def _summary_table(report: Any) -> Any:
    from flan_jax.natural_instructions.task_checks import CHECKS

    table = terminal.table("What was found")
    table.add_column("check", no_wrap=True)
    table.add_column("tasks", justify="right")
    table.add_column("count", justify="right")
    table.add_column("what is counted")
    for check, (tasks, count) in report.summary().items():
        table.add_row(check, str(tasks), str(count), CHECKS[check])
    return table


def _findings_table(findings: Sequence[Any]) -> Any:
    """Returns a table of the most frequent findings of each check."""
    table = terminal.table("Where", show_lines=False)
    for column in ("check", "task", "count", "note"):
        table.add_column(column, overflow="fold", justify="right" if column == "count" else "left")
    for check, of_check in itertools.groupby(findings, key=lambda finding: finding.check):
        found = sorted(of_check, key=lambda finding: -finding.count)
        for finding in found[:_MOST_ROWS]:
            count = f"{finding.count} of {finding.of}" if finding.of > 1 else str(finding.count)
            table.add_row(check, _task(finding), count, _note(finding))
        if len(found) > _MOST_ROWS:
            table.add_row(check, f"... {len(found) - _MOST_ROWS} more (--json has all)", "", "")
        table.add_section()
    return table


def _task(finding: Any) -> str:
    return f"{finding.task} ({finding.track})" if finding.track else finding.task


def _note(finding: Any) -> str:
    """Returns a finding's words, or where there are none the first places to look at."""
    return finding.note or ", ".join(finding.where[:2])
