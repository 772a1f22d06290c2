"""The study of what selection brings: train on the top k by instruction, on k by chance, on all.

Every run starts from the same base model and has the same number of steps of the same size, so the
same budget of tokens, and answers test instances of its target, which it was not trained on.
"""

import dataclasses
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax import macros, terminal
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import cards, mixtures
from flan_jax.kinds import Whole
from flan_jax.scoring import report
from flan_jax.selector import baselines, manifest, sources
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.library import Library
from flan_jax.selector.parameters import INSTRUCTIONS, Parameters
from flan_jax.selector.selection import Choice, Selector, Target, all_instructions
from flan_jax.studies import runs, selection_page

SELECTED, RANDOM, ALL, BASE = "selected", "random", "all", "base"
METRICS = ("exact_match", "rougeL")
_SAMPLES = 2000  # of the bootstrap over targets


@dataclasses.dataclass(frozen=True)
class Run:
    """One model of the study.

    Attributes:
        arm: SELECTED, RANDOM, ALL or BASE.
        target: name of the task it is for; None for those that all targets share.
        k: number of tasks, 0 for the base.
        draw: which of several random choices.
        choice: of the tasks it is trained on; None for the base.
    """

    arm: str
    target: str | None
    k: int
    draw: int
    choice: Choice | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks it is trained on, in descending score."""
        return tuple(row.task for row in self.choice.selected) if self.choice else ()

    @property
    def folder(self) -> str:
        """Where it lies below the study's folder."""
        if self.target is None:
            return self.arm
        return os.path.join(
            self.target, f"{self.arm}_{self.k}" + (f"_{self.draw}" * (self.arm == RANDOM))
        )


@dataclasses.dataclass(frozen=True)
class Score:
    """What a run scores on a target, 0..100 by metric."""

    run: Run
    target: str
    scores: Mapping[str, float]


def run(setup: runs.Setup) -> dict[str, Any] | None:
    """Runs the study, or what is left of it, and writes metrics.json and report.html.

    Args:
        setup: its macros are those of gin_configs/runs/flan_jax/select_study.gin.

    Returns:
        The content of metrics.json; None where SIGTERM came first.

    Raises:
        FlanJaxError: `out` holds a study with other settings, a macro is wrong, or anything that
            selection, training and evaluation refuse.
    """
    study = Study.of(setup.out, setup.values)
    frame = runs.Frame(setup)
    planned = list(study.plan())
    frame.steps = len(planned)
    try:
        scores = [score for one in planned for score in _scores(frame, study, one)]
    except runs.StoppedError:
        return None
    metrics = summarize(scores, study, setup.values, frame.seconds)
    page = selection_page.render(metrics, _chosen(planned), _command(frame), frame.facts())
    frame.write(metrics, page)
    _print_table(metrics)
    frame.end()
    return metrics


def _scores(frame: runs.Frame, study: "Study", one: Run) -> Iterator["Score"]:
    """Trains one run of the plan, if it has something to train on, and asks it its targets."""
    what = f"{one.arm}, {len(one.tasks)} tasks" if one.tasks else "the base model, untuned"
    frame.say(f"{one.target or 'all targets'}: {what}")
    checkpoint = frame.setup.values["INITIAL_CHECKPOINT_PATH"]
    if one.choice:
        checkpoint = frame.tune(f"selected:{study.manifest_of(one)}", one.folder, "run")
    for target in [one.target] if one.target else study.targets:
        answers = frame.ask(target, checkpoint, one.folder, "evaluation", target)
        # What all targets have in common, whatever their tasks report.
        found = report.text_scores(answers)
        yield Score(one, target, {name: found[name] for name in METRICS})


@dataclasses.dataclass
class Study:
    """What is compared.

    Attributes:
        out: folder of everything.
        library: the candidates.
        selector: scores them by their instructions.
        targets: names of the tasks that are chosen for, none of them a candidate.
        ks: numbers of tasks, rising.
        draws: random choices of each target and k.
        parameters: how tasks are chosen.
        seed: of random choices.
        cards: the targets as the selector sees them, by name.
    """

    out: str
    library: Library
    selector: Selector
    targets: tuple[str, ...]
    ks: tuple[int, ...]
    draws: int
    parameters: Parameters
    seed: int
    cards: Mapping[str, Target]

    @classmethod
    def of(cls, out: str, values: Mapping[str, Any]) -> "Study":
        """Returns the study that macros describe.

        Raises:
            FlanJaxError: a macro is wrong; names it.
        """
        whole = sources.load_library(values["LIBRARY"])
        targets = _targets(values["TARGETS"], values["TARGETS_EACH"])
        candidates = {
            cards.get_card(task.name).name for task in mixtures.member_tasks(values["CANDIDATES"])
        }
        if taught := sorted(candidates & set(targets)):
            raise ConfigError(
                f"TARGETS: {taught[0]} is in CANDIDATES={values['CANDIDATES']} too; a target is "
                "not trained on"
            )
        library = whole.only(candidates, [values["CANDIDATES"]])
        ks = tuple(sorted(set(values["KS"])))
        if not ks or not all(map(Whole(1, len(library.tasks)).fits, ks)):
            raise ConfigError(
                f"KS={values['KS']}: whole numbers from 1 to {len(library.tasks)}, the tasks of "
                f"{values['CANDIDATES']}"
            )
        draws = values["RANDOM_DRAWS"]
        macros.check(RANDOM_DRAWS=draws)
        encoder = get_encoder(values["ENCODER"], all_instructions(whole))
        parameters = Parameters(
            k=ks[-1],
            aggregation=values["AGGREGATION"],
            transform=values["TRANSFORM"],
            diversity=values["DIVERSITY"],
            seed=values["SEED"],
        )
        return cls(
            out, library, Selector(library, Embedder(encoder)), targets, ks,
            draws, parameters, values["SEED"],
            {name: Target.of_task(whole.get(name)) for name in targets},
        )  # fmt: skip

    def plan(self) -> Iterator[Run]:
        """Yields every run: what all targets share, then target by target."""
        names = tuple(self.library.by_name)
        yield Run(BASE, None, 0, 0)
        everything = Target.of_text("all tasks")
        found = self._choose(everything, len(names), "all", baselines.all_tasks(names))
        yield Run(ALL, None, len(names), 0, found)
        for i, target in enumerate(self.targets):
            for k in self.ks:
                yield Run(SELECTED, target, k, 0, self._choose(self.cards[target], k))
                for draw in range(self.draws):
                    # Of one draw fewer tasks are the first of more.
                    seed = (self.seed * len(self.targets) + i) * self.draws + draw
                    ranked = baselines.random_tasks(names, seed=seed)
                    found = self._choose(self.cards[target], k, "random", ranked)
                    yield Run(RANDOM, target, k, draw, found)

    def _choose(
        self,
        target: Target,
        k: int,
        method: str = INSTRUCTIONS,
        given: baselines.Ranking | None = None,
    ) -> Choice:
        """Returns k tasks by their instructions, or by the scores that a baseline gives."""
        parameters = dataclasses.replace(self.parameters, k=k, method=method)
        if given is None:
            return self.selector.select([target], parameters)
        parameters = dataclasses.replace(parameters, diversity="none")
        return self.selector.select([target], parameters, [dict(given)])

    def manifest_of(self, one: Run) -> str:
        """Writes the manifest of a run's tasks and returns its path."""
        assert one.choice, "the base has no manifest"
        made = manifest.make_manifest(one.choice, self.library, self.selector.embedder.encoder)
        path = os.path.join(self.out, one.folder, "manifest.json")
        manifest.write_manifest(path, made)
        return path


def _targets(names: Sequence[str], each: int | None) -> tuple[str, ...]:
    """Returns the tasks of the mixtures named, of each the first `each` by name."""
    if isinstance(names, str) or not names:
        raise ConfigError(f"TARGETS={names!r}: a list of tasks and mixtures")
    macros.check(TARGETS_EACH=each)
    found: dict[str, None] = {}
    for name in names:
        tasks = sorted(task.name for task in mixtures.member_tasks(name))
        found.update(dict.fromkeys(tasks[:each]))
    for name in found:
        if cards.get_card(name).name != name:
            raise DataError(f"TARGETS: {name} is a variant of {cards.get_card(name).name}")
    return tuple(found)


def summarize(
    scores: Sequence[Score], study: Study, values: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Returns the content of metrics.json.

    Means are over targets (and draws inside a target); intervals are of 95 %, by bootstrap over
    targets.
    """
    by_target: dict[str, Any] = {}
    for target in study.targets:
        own = [score for score in scores if score.target == target]
        by_target[target] = {
            metric: {
                arm: _by_k([s for s in own if s.run.arm == arm], metric)
                for arm in (BASE, ALL, SELECTED, RANDOM)
            }
            for metric in METRICS
        }
    means = {
        metric: {
            arm: _means([by_target[target][metric][arm] for target in study.targets], study.seed)
            for arm in (BASE, ALL, SELECTED, RANDOM)
        }
        for metric in METRICS
    }
    gains = {
        metric: {
            other: _means(
                [
                    _less(by_target[t][metric][SELECTED], by_target[t][metric][other])
                    for t in study.targets
                ],
                study.seed,
            )
            for other in (RANDOM, ALL)
        }
        for metric in METRICS
    }
    return {
        "means": means,
        "selected_less": gains,
        "by_target": by_target,
        "targets": list(study.targets),
        "candidates": len(study.library.tasks),
        "ks": list(study.ks),
        "encoder": study.selector.embedder.encoder.describe(),
        "aggregation": study.parameters.aggregation,
        "transform": study.parameters.transform,
        "train_steps": values["TRAIN_STEPS"],
        "batch_size": values["BATCH_SIZE"],
        "examples_of_a_target": values["EVAL_EXAMPLES"],
        "random_draws": study.draws,
        "seed": study.seed,
        "seconds": round(seconds, 1),
    }


def _by_k(scores: Sequence[Score], metric: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for score in scores:
        found.setdefault(str(score.run.k), []).append(score.scores[metric])
    return {k: round(sum(values) / len(values), 2) for k, values in found.items()}


def _less(selected: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Differences by k; an arm of one k stands beside all."""
    only = next(iter(other.values()))
    return {k: round(value - other.get(k, only), 2) for k, value in selected.items()}


def _means(rows: Sequence[Mapping[str, float]], seed: int) -> dict[str, dict[str, float]]:
    """Means over targets by k, with their intervals."""
    generator = random.Random(seed)
    draws = [generator.choices(range(len(rows)), k=len(rows)) for _ in range(_SAMPLES)]
    found = {}
    for k in rows[0]:
        values = [row[k] for row in rows]
        sampled = sorted(sum(values[i] for i in draw) / len(values) for draw in draws)
        found[k] = {
            "mean": round(sum(values) / len(values), 2),
            "low": round(sampled[int(0.025 * _SAMPLES)], 2),
            "high": round(sampled[int(0.975 * _SAMPLES) - 1], 2),
        }
    return found


def _chosen(planned: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """The five tasks with the highest scores of every target, for the page."""
    most = {one.target: one.choice for one in planned if one.arm == SELECTED}  # k rises
    return {
        str(target): [
            {"task": row.task, "score": row.score, "instruction": row.instruction}
            for row in choice.selected[:5]
        ]
        for target, choice in most.items()
        if choice
    }


def _command(frame: runs.Frame) -> str:
    # The verb's own experiment comes by itself.
    given = "".join(f" --gin_file={name}" for name in frame.setup.experiments[1:])
    return f"flan-jax select study --out={frame.setup.out}{given}{frame.gin_arguments}"


def _print_table(metrics: Mapping[str, Any]) -> None:
    """Prints means over targets, by arm and k."""
    table = terminal.table("mean over targets, 0..100", box=None)
    table.add_column("trained on")
    for name in ("exact match", "ROUGE-L"):
        table.add_column(name, justify="right")
        table.add_column("95 %", justify="right")
    for title, arm, k in selection_page.arms(metrics):
        cells = []
        for metric in METRICS:
            one = metrics["means"][metric][arm][k]
            cells += [f"{one['mean']:.1f}", f"{one['low']:.1f} to {one['high']:.1f}"]
        table.add_row(title, *cells)
    terminal.console().print(table)
