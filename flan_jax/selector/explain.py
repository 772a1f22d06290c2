"""Why these tasks: the ranking as a table and a page, and the whole library on a map."""

import dataclasses
import html
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flan_jax import pages
from flan_jax.selector import library_map, scoring
from flan_jax.selector.library import Library

if TYPE_CHECKING:
    from flan_jax.selector.selection import Choice, Selector

# The nearest pair of a task: its instruction, the target's, and their cosine.
Nearest = Callable[[str], tuple[str, str, float]]
_MOST_LABELS = 2000


@dataclasses.dataclass(frozen=True)
class Row:
    """One task of a ranking.

    Attributes:
        place: from 1.
        task: its name.
        cluster: its cluster, where one is known.
        score: its score.
        percentile: share of the candidates that score lower, in percent.
        margin: score less that of the next task in the ranking; None for the last one.
        chosen: whether it was chosen.
        instruction: its instruction in the nearest pair.
        target_instruction: the target's.
        cosine: of that pair; None where it is not known.
        note: why it was passed over, where a rule did that.
    """

    place: int
    task: str
    cluster: str | None
    score: float
    percentile: float
    margin: float | None
    chosen: bool
    instruction: str = ""
    target_instruction: str = ""
    cosine: float | None = None
    note: str = ""


def nearest_of(selector: "Selector", choice: "Choice") -> Nearest:
    """Returns what gives the nearest instruction pair of any task of the library."""
    index = {task.name: i for i, task in enumerate(selector.library.tasks)}

    def nearest(name: str) -> tuple[str, str, float]:
        found = []
        for target in choice.targets:
            pairs = selector.pairs(target.task, choice.parameters.transform, [index[name]])
            row, column, cosine = pairs.nearest(0)
            task = selector.library.tasks[index[name]]
            found.append((task.instructions[column], target.task.instructions[row], cosine))
        return max(found, key=lambda one: one[2])

    return nearest


def explain(
    choice: "Choice", library: Library, nearest: Nearest | None = None, count: int | None = 30
) -> list[Row]:
    """Returns the ranking of a choice: its first tasks, and all that were chosen.

    Args:
        choice: what was chosen.
        library: what from.
        nearest: gives the nearest pairs of tasks that were not chosen; they stay empty if None.
        count: number of tasks; None for all.
    """
    ranked = sorted(choice.scores.items(), key=lambda item: (-item[1], item[0]))
    scores = np.array([score for _, score in ranked])
    pairs = {c.task: (c.instruction, c.target_instruction, c.cosine) for c in choice.selected}
    rows = []
    for i, (name, score) in enumerate(ranked):
        if count is not None and i >= count and name not in pairs:
            continue
        pair = pairs.get(name) or (nearest(name) if nearest else None)
        instruction, target_instruction, cosine = pair or ("", "", None)
        rows.append(
            Row(
                i + 1,
                name,
                library.get(name).cluster,
                score,
                100 * float((scores < score).mean()),
                score - ranked[i + 1][1] if i + 1 < len(ranked) else None,
                name in {chosen.task for chosen in choice.selected},
                instruction,
                target_instruction,
                cosine,
                choice.blocked.get(name, ""),
            )
        )
    return rows


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Returns the ranking as text, a heading first."""
    heading = ("", "task", "cluster", "score", "percentile", "margin", "nearest instructions")
    return [heading, *(_line(row) for row in rows)]


def _line(row: Row) -> tuple[str, ...]:
    return (
        f"{row.place}{'*' if row.chosen else ''}",
        row.task,
        row.cluster or "",
        f"{row.score:.4f}",
        f"{row.percentile:.0f}",
        "" if row.margin is None else f"{row.margin:.4f}",
        f"{row.instruction} | {row.target_instruction}" if row.instruction else row.note,
    )


def page(selector: "Selector", choice: "Choice", count: int = 30) -> str:
    """Returns an HTML page that explains a choice, with nothing from elsewhere.

    Args:
        selector: what chose.
        choice: what it chose.
        count: tasks of the table, besides those that were chosen.
    """
    library = selector.library
    rows = explain(choice, library, nearest_of(selector, choice), count)
    chosen = {one.task for one in choice.selected}
    labels = [target.label for target in choice.targets]
    facts = [
        f"encoder {selector.embedder.encoder.name}",
        f"aggregation {choice.parameters.aggregation}",
        f"library {library.origin}, SHA-256 {library.hash[:12]}",
    ]
    return pages.render(
        "explain",
        title="Why these tasks",
        summary="What is chosen for: " + "; ".join(labels),
        figures=_figures(choice),
        rows=rows,
        widest=max((abs(row.score) for row in rows), default=1) or 1,
        ranking=ranking_svg(choice.scores, chosen),
        notes=choice.notes,
        blocked=sorted(choice.blocked.items()),
        map=_map(selector, choice, [row.task for row in rows], chosen),
        **_tasks_of(library, chosen),
        facts=facts,
    )


def map_page(selector: "Selector") -> str:
    """Returns an HTML page with the map of a library, with nothing from elsewhere."""
    library = selector.library
    number = sum(len(task.instructions) for task in library.tasks)
    return pages.render(
        "explain",
        title="The library",
        summary=f"{len(library.tasks)} tasks with {number} instructions: {library.origin}.",
        figures=[],
        rows=[],
        widest=1,
        ranking="",
        notes=(),
        blocked=[],
        map=_map(selector, None, [], set()),
        **_tasks_of(library, set()),
        facts=[f"encoder {selector.embedder.encoder.name}", f"SHA-256 {library.hash[:12]}"],
    )


def ranking_svg(scores: Mapping[str, float], chosen: Collection[str]) -> str:
    """Returns the scores of all candidates by place as a line, with a dot for those chosen.

    Args:
        scores: of all candidates, by name.
        chosen: names of the tasks chosen.
    """
    if len(scores) < 2:
        return ""
    width, height, left, low_edge = 460.0, 200.0, 46.0, 34.0
    names = sorted(scores, key=lambda name: (-scores[name], name))
    falling = np.array([scores[name] for name in names])
    low, high = min(0.0, falling[-1]), max(falling[0], falling[-1] + 1e-9)
    xs = left + np.arange(len(names)) * (width - left - 12) / (len(names) - 1)
    ys = 12 + (high - falling) / (high - low) * (height - 12 - low_edge)
    points = [f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)]
    dots = [
        f'<circle class="taken" r="4" cx="{x:.1f}" cy="{y:.1f}">'
        f"<title>{html.escape(name)}</title></circle>"
        for name, x, y in zip(names, xs, ys, strict=True)
        if name in chosen
    ]
    label = f"scores of {len(names)} candidates by place, {len(chosen)} chosen"
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(label)}">'
        f'<polyline class="line series-3" points="{" ".join(points)}"/>{"".join(dots)}'
        f'<text class="tick" x="{left - 8:g}" y="16" text-anchor="end">{high:.2f}</text>'
        f'<text class="tick" x="{left - 8:g}" y="{height - low_edge:g}" '
        f'text-anchor="end">{low:.2f}</text>'
        f'<text class="axis" x="{(width + left) / 2:g}" y="{height - 8:g}" '
        f'text-anchor="middle">score by place, 1 to {len(names)}; dots are chosen</text></svg>'
    )


def _map(
    selector: "Selector", choice: "Choice | None", first: Sequence[str], chosen: set[str]
) -> str:
    """The map of all tasks; those of `first` have their names written before others."""
    library = selector.library
    how = choice.parameters.transform if choice else "none"
    everything = range(len(library.tasks))
    pairs = selector.pairs(library.tasks[0], how, everything)
    vectors = scoring.centroids(pairs.sources, pairs.starts)
    targets = {
        target.label: scoring.centroids(
            selector.pairs(target.task, how, everything).targets, np.array([0])
        )[0]
        for target in (choice.targets if choice else ())
        if target.own is None
    }
    places = library_map.project(np.stack([*vectors, *targets.values()]))
    names = [task.name for task in library.tasks]
    own = [target.own for target in (choice.targets if choice else ()) if target.own in names]
    stars = dict(zip(targets, places[len(names) :], strict=True))
    stars |= {str(name): places[names.index(str(name))] for name in own}
    ordered = [*sorted(chosen), *(n for n in first if n not in chosen)]
    rest = [name for name in names if name not in set(ordered) | set(stars)]
    return library_map.map_svg(
        places[: len(names)],
        names,
        [task.cluster for task in library.tasks],
        [
            f"{t.name}{f' ({t.cluster})' if t.cluster else ''}: {t.instructions[0]}"
            for t in library.tasks
        ],
        chosen,
        stars,
        [*ordered, *rest][:_MOST_LABELS],
    )


def _figures(choice: "Choice") -> list[dict[str, str]]:
    best = max(choice.scores.values(), default=0.0)
    figures = [
        {"value": str(len(choice.selected)), "label": f"chosen of {len(choice.scores)} candidates"},
        {"value": f"{best:.3f}", "label": "score of the best task"},
    ]
    if choice.margin is not None:
        label = "margin: last chosen task over the best one that was not"
        figures.append({"value": f"{choice.margin:+.3f}", "label": label})
    return figures


def _tasks_of(library: Library, chosen: set[str]) -> dict[str, Any]:
    """Tasks by cluster, for the list under the map."""
    colours = library_map.colours(task.cluster for task in library.tasks)
    groups: dict[str, list[Any]] = {}
    for task in library.tasks:
        groups.setdefault(task.cluster or "", []).append(task)
    return {
        "groups": [
            {
                "name": name.replace("_", " ") or "no cluster",
                "colour": colours[name],
                "tasks": [
                    {"name": t.name, "text": t.instructions[0], "chosen": t.name in chosen}
                    for t in groups[name]
                ],
            }
            for name in sorted(groups)
        ]
    }
