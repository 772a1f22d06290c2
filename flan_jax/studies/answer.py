"""What a declared study found: results.json, results.md, report.html and a table."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

import flan_jax
from flan_jax import files, json_files, pages, terminal
from flan_jax.errors import DataError
from flan_jax.scoring import report
from flan_jax.scoring.comparison import Estimate, Runs, difference, estimate
from flan_jax.scoring.predictions import Prediction
from flan_jax.scoring.summaries import METRICS, Bootstrap
from flan_jax.studies import declared, jobs
from flan_jax.studies.declared import Arm, Comparison, Started, Study

BOOTSTRAP = Bootstrap(samples=10_000)
_SAMPLES = 6


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is of an arm.

    Attributes:
        arm: the arm.
        seeds: those that are finished.
        answers: of each seed.
        runs: their scores.
        seconds: that training took, of each seed; none where it was not trained.
    """

    arm: Arm
    seeds: tuple[int, ...]
    answers: tuple[Sequence[Prediction], ...]
    runs: Runs
    seconds: tuple[float, ...]


def write(study: Study, started: Started) -> dict[str, Any]:
    """Writes and prints what the finished arms of a study found; returns results.json's content.

    Args:
        study: the study; the cards of what it asks are registered.
        started: how it was started.

    Raises:
        FlanJaxError: there is nothing to compare yet, or answers are damaged.
    """
    found = collect(study, started)
    results = summarize(study, found)
    folder = epath.Path(started.out)
    json_files.write_json(folder / "results.json", results)
    files.replace_text(folder / "results.md", markdown(results))
    files.replace_text(folder / "report.html", _page(study, started, found, results))
    _print(results)
    terminal.say(f"wrote results.json, results.md and report.html in {started.out}")
    return results


def collect(study: Study, started: Started) -> list[Found]:
    """Returns what is finished of each arm, in the order of the study.

    Raises:
        DataError: nothing is, or answers are damaged.
    """
    planned = declared.plan(study, started)
    found: dict[str, Found] = {}
    for arm in study.arms:
        tests = [job for job in planned if job.arm == arm.name and job.kind == "test"]
        done = [job for job in tests if jobs.is_done(started.out, job)]
        if not done:
            continue
        folders = [declared.answers_folder(arm.name, job.seed) for job in done]
        answers = tuple(_answers(arm, os.path.join(started.out, folder)) for folder in folders)
        training = [job for job in planned if job.arm == arm.name and job.kind == "train"]
        seconds = tuple(
            jobs.seconds(started.out, job) for job in training if jobs.is_done(started.out, job)
        )
        seeds = tuple(job.seed for job in done)
        found[arm.name] = Found(arm, seeds, answers, Runs.of(answers), seconds)
    if not found:
        raise DataError(f"{started.out}: no arm that a model answers is finished yet")
    asked = next(iter(found.values())).answers[0]
    for arm in study.arms:
        file = epath.Path(started.out) / declared.baseline_file(arm.name)
        if arm.baseline and file.exists():
            copied = _of_heuristic(file, asked)
            found[arm.name] = Found(arm, (0,), (copied,), Runs.of([copied]), ())
    return [found[arm.name] for arm in study.arms if arm.name in found]


def _answers(arm: Arm, folder: str) -> Sequence[Prediction]:
    """Returns the answers of one seed of an arm, as they count."""
    answers = report.read_predictions(folder)
    if not arm.first_line:
        return answers
    lines = [p.prediction.strip().partition("\n")[0] for p in answers]
    return [dataclasses.replace(p, prediction=s) for p, s in zip(answers, lines, strict=True)]


def _of_heuristic(file: epath.Path, asked: Sequence[Prediction]) -> list[Prediction]:
    """Returns a heuristic's answers to what a model was asked.

    Raises:
        DataError: the file lacks one.
    """
    rows = {
        (row.text("task"), row.text("id")): row.text("prediction")
        for row in json_files.read_rows(file)
    }
    missing = [p.id for p in asked if (p.task, p.id) not in rows]
    if missing:
        raise DataError(f"{file} has no answer to {missing[0]}")
    return [dataclasses.replace(p, prediction=rows[p.task, p.id]) for p in asked]


def summarize(study: Study, found: Sequence[Found]) -> dict[str, Any]:
    """Returns the content of results.json."""
    by_name = {one.arm.name: one for one in found}
    return {
        "study": study.name,
        "question": study.question,
        "source": study.source,
        "mixture": study.mixture,
        "instances": len(found[0].runs.instances),
        "tasks": len({task for task, _ in found[0].runs.instances}),
        "arms": [_arm(one) for one in found],
        "comparisons": [
            _comparison(comparison, by_name[comparison.arm], by_name[comparison.than])
            for comparison in study.comparisons
            if {comparison.arm, comparison.than} <= set(by_name)
        ],
        "published": list(study.published),
        "versions": {"flan-jax": flan_jax.__version__},
    }


def _arm(found: Found) -> dict[str, Any]:
    scores = estimate(found.runs, BOOTSTRAP)
    categories = _categories(found.runs)
    return {
        "name": found.arm.name,
        "title": found.arm.title,
        "text": found.arm.text,
        "parameters": found.arm.parameters,
        "seeds": list(found.seeds),
        "metrics": {name: scores[name].to_object() for name in METRICS},
        "train_seconds": list(found.seconds),
        "by_category": {
            category: {
                name: round(float(runs.scores_RxNxM[:, :, i].mean()), 4)
                for i, name in enumerate(METRICS)
            }
            | {"n": len(runs.instances)}
            for category, runs in categories.items()
        },
    }


def _categories(runs: Runs) -> dict[str, Runs]:
    """Returns the scores of each category's instances, the largest first."""
    tasks: dict[str, set[str]] = {}
    for task in sorted({task for task, _ in runs.instances}):
        tasks.setdefault(report.category(task), set()).add(task)
    return {
        name: runs.of_tasks(tasks[name]) for name in sorted(tasks, key=lambda n: -len(tasks[n]))
    }


def _comparison(comparison: Comparison, first: Found, second: Found) -> dict[str, Any]:
    """Returns a difference, and the sentence that it allows."""
    runs = first.runs
    if comparison.categories:
        tasks = {
            task for task, _ in runs.instances if report.category(task) in comparison.categories
        }
        if not tasks:
            raise DataError(f"no task that was asked is of {', '.join(comparison.categories)}")
        runs = runs.of_tasks(tasks)
    less = difference(runs, second.runs, BOOTSTRAP)
    return {
        "arm": comparison.arm,
        "than": comparison.than,
        "categories": list(comparison.categories),
        "metrics": {name: less[name].to_object() | {"shown": less[name].shown} for name in METRICS},
        "sentence": sentence(comparison.text, less),
    }


def sentence(text: str, less: Mapping[str, Estimate]) -> str:
    """Returns what a difference shows, in words that follow from its numbers alone.

    Args:
        text: what it would show, as a clause.
        less: the difference in each metric.
    """
    figures = "; ".join(
        f"{report.label(name)} {one.mean:+.1f} [{one.low:+.1f}, {one.high:+.1f}]"
        for name, one in less.items()
    )
    better = " and ".join(report.label(name) for name, one in less.items() if one.low > 0)
    worse = " and ".join(report.label(name) for name, one in less.items() if one.high < 0)
    if better and worse:
        return f"By {better} one way and by {worse} the other: {text}? {figures}."
    if worse:
        return f"The opposite of “{text}” is seen in {worse}: {figures}."
    if not better:
        return f"Not shown: that {text}: {figures}."
    if all(one.low > 0 for one in less.values()):
        return f"{text[:1].upper()}{text[1:]}: {figures}."
    return f"By {better} alone, {text}: {figures}."


def _rows(results: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yields the title and the cells of every arm."""
    for arm in results["arms"]:
        cells = []
        for name in METRICS:
            value = arm["metrics"][name]
            low, high = value["ci95"]
            cells += [f"{value['mean']:.1f}", f"{low:.1f} to {high:.1f}"]
        seconds = arm["train_seconds"]
        minutes = f"{sum(seconds) / len(seconds) / 60:.1f}" if seconds else ""
        yield arm["title"], [*cells, str(len(arm["seeds"])), minutes]


_HEADINGS = (
    *(cell for name in METRICS for cell in (report.label(name), "95 %")), "seeds", "minutes",
)  # fmt: skip


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the results as a Markdown table and sentences."""
    lines = [
        f"# {results['question']}",
        "",
        f"{results['instances']:,} instances of {results['tasks']} tasks ({results['mixture']}); "
        "95 % intervals by bootstrap over tasks and seeds; minutes of training, of one seed.",
        "",
        "| | " + " | ".join(_HEADINGS) + " |",
        "|---|" + "--:|" * len(_HEADINGS),
    ]
    lines += [f"| {title} | " + " | ".join(cells) + " |" for title, cells in _rows(results)]
    lines += ["", *(f"- {one['sentence']}" for one in results["comparisons"])]
    return "\n".join(lines) + "\n"


def _print(results: Mapping[str, Any]) -> None:
    table = terminal.table(results["question"])
    table.add_column("", overflow="fold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for title, cells in _rows(results):
        table.add_row(title, *cells)
    terminal.console().print(table)
    for one in results["comparisons"]:
        terminal.say(one["sentence"])


def _page(
    study: Study, started: Started, found: Sequence[Found], results: Mapping[str, Any]
) -> str:
    """Returns the page."""
    css = {one.arm.name: f"series-{i % 9}" for i, one in enumerate(found)}
    most = {
        name: max(arm["metrics"][name]["ci95"][1] for arm in results["arms"]) or 1.0
        for name in METRICS
    }
    return pages.render(
        "study",
        title=study.question,
        summary=f"{results['instances']:,} instances of {results['tasks']} tasks that no arm was "
        f"trained on ({study.mixture}). After {study.source}.",
        figures=[
            {
                "value": f"{one['metrics'][METRICS[0]]['mean']:+.1f}",
                "label": f"{report.label(METRICS[0])}: {_title(results, one['arm'])} over "
                f"{_title(results, one['than'])}",
            }
            for one in results["comparisons"][:3]
        ],
        metrics=[
            {"name": name, "label": report.label(name), "most": most[name]} for name in METRICS
        ],
        arms=[{**arm, "css": css[arm["name"]]} for arm in results["arms"]],
        comparisons=results["comparisons"],
        categories=_category_rows(results),
        samples=_samples(found, css),
        commands=[jobs.command(job) for job in declared.plan(study, started)],
        published=results["published"],
        facts=[f"flan-jax {flan_jax.__version__}", f"{BOOTSTRAP.samples:,} bootstrap samples"],
    )


def _title(results: Mapping[str, Any], name: str) -> str:
    return next(str(arm["title"]) for arm in results["arms"] if arm["name"] == name)


def _category_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns, by category, ROUGE-L of every arm."""
    rows = []
    for category, scores in results["arms"][0]["by_category"].items():
        values = [arm["by_category"][category][METRICS[0]] for arm in results["arms"]]
        cells = [{"value": value, "best": value == max(values)} for value in values]
        rows.append({"name": category, "n": scores["n"], "cells": cells})
    return rows


def _samples(found: Sequence[Found], css: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns one instance of each of some tasks, with what every arm said."""
    first = {one.arm.name: {(p.task, p.id): p for p in one.answers[0]} for one in found}
    shared = set.intersection(*(set(answers) for answers in first.values()))
    tasks = sorted({task for task, _ in shared})
    chosen = [
        min(key for key in shared if key[0] == task)
        for task in tasks[:: max(1, len(tasks) // _SAMPLES)]
    ]
    samples = []
    for key in chosen[:_SAMPLES]:
        asked = first[found[0].arm.name][key]
        samples.append(
            {
                "task": key[0],
                "prompt": asked.prompt,
                "expected": " / ".join(asked.targets),
                "answers": [
                    {
                        "title": one.arm.title,
                        "css": css[one.arm.name],
                        "text": first[one.arm.name][key].prediction,
                        "right": report.score(first[one.arm.name][key])["exact_match"] > 0,
                    }
                    for one in found
                ],
            }
        )
    return samples
