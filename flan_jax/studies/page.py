"""The page that a laboratory study leaves: one HTML file that needs nothing from anywhere else."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import pages
from flan_jax.pages import charts
from flan_jax.studies import laboratory
from flan_jax.studies.laboratory import NEW_WORDINGS, SEEN, STRUCTURES, Scored


@dataclasses.dataclass(frozen=True)
class Arm:
    """One row of the study.

    Attributes:
        name: key in metrics.json.
        title: how people read it.
        text: what it is, in a sentence.
        scored: its predictions.
        curves: by metric, (step, value) while it was trained; empty where it was not.
        by_rouge: its predictions chosen by ROUGE-L, where it was asked in two ways and `scored` is
            what was better by exact match; None where it was asked in one way.
    """

    name: str
    title: str
    text: str
    scored: Sequence[Scored]
    curves: Mapping[str, charts.Points] = dataclasses.field(default_factory=dict)
    by_rouge: Sequence[Scored] | None = None

    @functools.cached_property
    def means(self) -> dict[str, float]:
        """Mean score by structure."""
        return laboratory.by_structure(self.scored)

    @functools.cached_property
    def rouge_means(self) -> dict[str, float]:
        """Mean ROUGE-L by structure."""
        return laboratory.by_structure(self.by_rouge or self.scored, "rougeL")


_TITLES = {
    SEEN: "Seen tasks",
    NEW_WORDINGS: "New wordings",
    "compositions": "New compositions",
    "heldout_tasks": "New tasks",
    "heldout_clusters": "New clusters",
}
# Label and factor of what is reported while training.
_CURVES = {"loss": ("loss, nats a token", 1), "accuracy": ("target tokens right, %", 100)}


def title_of(structure: str) -> str:
    """Returns the heading of a structure's column."""
    return _TITLES.get(structure, structure.replace("_", " "))


def best(arms: Sequence[Arm]) -> dict[str, float | None]:
    """Returns the highest mean of every structure; None where no arm scores."""
    return {name: max(arm.means[name] for arm in arms) or None for name in STRUCTURES}


def render(
    arms: Sequence[Arm], title: str, summary: str, commands: Sequence[str], facts: Sequence[str]
) -> str:
    """Returns the page.

    Args:
        arms: the rows; the first is what the study is about.
        title: its heading.
        summary: what was done, in a few sentences.
        commands: shell commands that reproduce the parts.
        facts: versions, seeds, times.
    """
    css = {arm.name: f"series-{i}" for i, arm in enumerate(arms)}
    trained = [arm for arm in arms if arm.curves]
    return pages.render(
        "tuning",
        title=title,
        summary=summary,
        metric="Exact match",
        figures=_figures(arms),
        structures=_structures(arms[0]),
        arms=_rows(arms, css),
        trained=_legend(trained, css),
        compared=_legend(arms, css),
        charts=[
            charts.line_chart(
                {arm.title: _scaled(arm.curves.get(name, ()), scale) for arm in trained},
                "step",
                label,
                {arm.title: css[arm.name] for arm in trained},
            )
            for name, (label, scale) in _CURVES.items()
        ],
        clusters=_clusters(arms, css),
        samples=_samples(arms, css),
        commands=commands,
        facts=facts,
    )


def _scaled(points: charts.Points, factor: float) -> charts.Points:
    return [(x, factor * y) for x, y in points]


def _legend(arms: Sequence[Arm], css: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"title": arm.title, "css": css[arm.name]} for arm in arms]


def _figures(arms: Sequence[Arm]) -> list[dict[str, str]]:
    """What the first row gains over the second, where something is held out."""
    first, second = arms[:2]
    return [
        {
            "value": f"{first.means[name] - second.means[name]:+.1f}",
            "label": f"points on {title_of(name).lower()}: {first.title.lower()} over "
            f"{second.title.lower()}",
        }
        for name in STRUCTURES
        if name != SEEN
    ]


def _structures(arm: Arm) -> list[dict[str, Any]]:
    counts = laboratory.counts(arm.scored)
    return [
        {
            "title": title_of(name),
            "text": text,
            "count": counts[name],
        }
        for name, text in STRUCTURES.items()
    ]


def _rows(arms: Sequence[Arm], css: Mapping[str, str]) -> list[dict[str, Any]]:
    highest = best(arms)
    return [
        {
            "title": arm.title,
            "text": arm.text,
            "css": css[arm.name],
            "cells": [
                {"value": arm.means[name], "best": arm.means[name] == highest[name]}
                for name in STRUCTURES
            ],
        }
        for arm in arms
    ]


def _clusters(arms: Sequence[Arm], css: Mapping[str, str]) -> list[dict[str, Any]]:
    tables = {arm.name: laboratory.by_cluster(arm.scored) for arm in arms}
    parts = []
    for name in STRUCTURES:
        clusters = [
            {
                "name": cluster.replace("_", " "),
                "bars": [
                    {"value": tables[arm.name][name].get(cluster, 0.0), "css": css[arm.name]}
                    for arm in arms
                ],
            }
            for cluster in tables[arms[0].name][name]
        ]
        parts.append({"title": title_of(name), "clusters": clusters})
    return parts


def _samples(arms: Sequence[Arm], css: Mapping[str, str]) -> list[dict[str, Any]]:
    chosen = laboratory.samples({arm.name: arm.scored for arm in arms}, arms[0].name)
    return [
        {
            "structure": title_of(one.structure),
            "cluster": one.cluster.replace("_", " "),
            "task": one.prediction.task,
            "prompt": one.prediction.prompt,
            "expected": one.prediction.targets[0],
            "answers": [
                {
                    "title": arm.title,
                    "css": css[arm.name],
                    "text": said[arm.name].prediction.prediction,
                    "right": said[arm.name].scores[laboratory.METRIC] > 0,
                }
                for arm in arms
            ],
        }
        for one, said in chosen
    ]
