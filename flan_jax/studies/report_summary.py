"""A report: runs and what they say together, and its short form for a terminal."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.scoring import report
from flan_jax.scoring.summaries import Bootstrap
from flan_jax.studies import report_tables as tables
from flan_jax.studies.report_tables import Pair, Scored, Spread

COLOURS = 9


@dataclasses.dataclass(frozen=True)
class Report:
    """All that is on the page.

    Attributes:
        runs: the runs, the first of which the others are compared with.
        bootstrap: how intervals are made.
        x: field that a scaling curve is drawn over; None where names may be numbers.
        numbers: of each run that is drawn in it, see `report_tables.scale`.
        examples: how many examples won, and how many lost, are shown of each run.
    """

    runs: Sequence[Scored]
    bootstrap: Bootstrap
    x: str | None
    numbers: Mapping[str, float]
    examples: int

    @property
    def asked(self) -> list[Scored]:
        """The runs that were evaluated."""
        return [one for one in self.runs if one.run.asked]

    @property
    def answered(self) -> list[Scored]:
        """The runs whose answers are there."""
        return [one for one in self.runs if one.run.answers]

    @functools.cached_property
    def reported(self) -> list[str]:
        """All metrics that any run reports."""
        return list(dict.fromkeys(name for one in self.asked for name in one.reported))

    @functools.cached_property
    def overall(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By run and metric, the mean over all tasks that have it, see `report_tables.overall`."""
        return {
            one.name: {
                name: cell
                for name in self.reported
                if (cell := tables.overall(one, name, self.bootstrap)) is not None
            }
            for one in self.asked
        }

    @functools.cached_property
    def pairs(self) -> list[Pair]:
        """Each run whose answers are there beside the first of them."""
        return [tables.pair(self.answered[0], one, self.bootstrap) for one in self.answered[1:]]

    @functools.cached_property
    def spreads(self) -> list[Spread]:
        """Of each dataset that was asked in several templates."""
        return tables.spreads(self.asked)

    @functools.cached_property
    def categories(self) -> dict[str, str]:
        """Category of each task, as far as it is known."""
        return tables.category_of(self.asked)

    @functools.cached_property
    def notes(self) -> list[str]:
        """What a reader has to know, of all runs and of each."""
        found = []
        if len({frozenset(one.tasks) for one in self.asked}) > 1:
            shared = set.intersection(*(set(one.tasks) for one in self.asked))
            found.append(
                f"The runs were not asked the same tasks ({len(shared):,} are common to all), so "
                "their means over all tasks are of different things: compare them on the same "
                "examples."
            )
        if len(self.answered) == 1 < len(self.asked):
            found.append("Only one run has its answers, so single examples are not compared.")
        return found + [f"{one.name}: {note}" for one in self.runs for note in one.run.notes]

    def css(self, name: str) -> str:
        """Returns the colour of a run."""
        return f"series-{[one.name for one in self.runs].index(name) % COLOURS}"


def make(
    runs: Sequence[Scored], bootstrap: Bootstrap, x: str | None = None, examples: int = 4
) -> Report:
    """Returns a report; see `Report`.

    Raises:
        ConfigError: no run has a number for `x`.
    """
    return Report(runs, bootstrap, x, tables.scale(runs, x), examples)


def print_tables(made: Report) -> None:
    """Prints means, differences and spreads in short, and what has to be known."""
    if made.asked:
        rows = {name: _flat(cells) for name, cells in made.overall.items()}
        table = report.score_table("overall", "run", rows, total=False)
        terminal.console().print(table)
    for found in made.pairs:
        terminal.say(found.sentence(made.answered[0].name))
    if made.spreads:
        terminal.console().print(_spread_table(made.spreads))
    for note in made.notes:
        terminal.warn(note)


def _flat(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the cells of a row as `report.score_table` takes them."""
    found: dict[str, Any] = {}
    for name, cell in cells.items():
        found[name] = cell["value"]
        if "ci95" in cell:
            found[f"{name}_ci95"] = cell["ci95"]
    return found | {"n": max((cell["n"] for cell in cells.values()), default=0)}


def _spread_table(spreads: Sequence[Spread]) -> Any:
    table = terminal.table("over templates")
    for heading in ("dataset", "run", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("templates", "mean", "median", "quartiles", "least and most"):
        table.add_column(heading, justify="right")
    for cells in _spread_cells(spreads):
        table.add_row(*cells)
    return table


def _spread_cells(spreads: Iterable[Spread]) -> Iterator[list[str]]:
    for one in spreads:
        f = one.figures
        yield [
            one.dataset, one.run, report.label(one.metric), str(len(one.values)),
            f"{f['mean']:.1f}", f"{f['median']:.1f}", f"{f['low']:.1f} to {f['high']:.1f}",
            f"{f['min']:.1f} to {f['max']:.1f}",
        ]  # fmt: skip
