"""The study of what instruction tuning does: arms that differ in what they are tuned on.

Every arm starts from the same base model and is tuned for the same number of steps. All of them,
the base itself, and a baseline that learns nothing answer the same test instances.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax import config, terminal
from flan_jax.errors import ConfigError
from flan_jax.instructions import mixtures
from flan_jax.scoring.predictions import Prediction
from flan_jax.studies import laboratory, page, runs
from flan_jax.studies.laboratory import INPUT, STRUCTURES
from flan_jax.studies.page import Arm
from flan_jax.training.trackers import read_reports
from flan_jax.training.train import TrainConfig

# What an arm is called, and is. Arms of other names are "tuned on <mixture>".
WITH, WITHOUT, BASE, NEAREST = (
    "with_instructions", "without_instructions", "base", "nearest_wording",
)  # fmt: skip
TEXTS = {
    WITH: ("With instructions", "tuned on tasks stated in words, ten wordings each"),
    WITHOUT: (
        "Without instructions",
        "tuned on the same inputs and answers with no word on what to do; asked both ways, with "
        "and without instructions, the better of the two is shown",
    ),
    "specialist": (
        "Specialist",
        "tuned with instructions, on those tasks only that share a skill with the new compositions",
    ),
    BASE: ("Base, untuned", "the pretrained model as it is"),
    NEAREST: (
        "Nearest wording",
        "learns nothing: finds the seen task whose wording shares most words, and carries that "
        "task out without a mistake",
    ),
}
Say = Callable[[str], None]


def run(setup: runs.Setup) -> dict[str, Any] | None:
    """Runs the study, or what is left of it, and writes metrics.json and report.html.

    Args:
        setup: of its macros LAB is the prefix of the mixtures, ARMS maps names of arms to the
            mixtures they are tuned on, without that prefix.

    Returns:
        The content of metrics.json; None where SIGTERM came first.

    Raises:
        FlanJaxError: `out` holds a study with other settings, or anything that training and
            evaluation refuse.
    """
    values = setup.values
    lab, names = values["LAB"], list(values["ARMS"])
    frame = runs.Frame(setup, steps=2 * len(names) + 2)
    arms = {}
    try:
        for name in names:
            arms[name] = _arm(frame, lab, name, f"{lab}_{values['ARMS'][name]}")
    except runs.StoppedError:
        return None
    frame.say("asking the base model")
    base = _ask(frame, BASE, lab, values["INITIAL_CHECKPOINT_PATH"])
    arms[BASE] = Arm(BASE, *TEXTS[BASE], laboratory.score(lab, base))
    frame.say("looking for the nearest wordings")
    nearest = _nearest_wording(f"{lab}_train", base)
    arms[NEAREST] = Arm(NEAREST, *TEXTS[NEAREST], laboratory.score(lab, nearest))

    rows = list(arms.values())
    metrics = _metrics(rows, values, frame.seconds)
    title, facts = "What instructions do", frame.facts(f"mixtures {lab}_*")
    text = page.render(rows, title, _summary(values), _commands(frame), facts)
    frame.write(metrics, text)
    _print_table(rows)
    frame.end()
    return metrics


def _arm(frame: runs.Frame, lab: str, name: str, mixture: str) -> Arm:
    """Tunes one arm and asks it everything."""
    frame.say(f"tuning {name}: {len(mixtures.member_tasks(mixture))} tasks of {mixture}")
    model_dir = frame.tune(mixture, name, "run")
    frame.say(f"asking {name}")
    scored = laboratory.score(lab, _ask(frame, name, lab, model_dir))
    by_rouge = None
    if mixture.endswith(INPUT):
        alone = laboratory.score(lab, _ask(frame, name, lab, model_dir, INPUT))
        by_rouge = laboratory.better(scored, alone, "rougeL")
        scored = laboratory.better(scored, alone)
    return Arm(name, *_texts(name, mixture), scored, _curves(model_dir), by_rouge)


def _ask(
    frame: runs.Frame, arm: str, lab: str, checkpoint: str, form: str = ""
) -> list[Prediction]:
    """Returns a checkpoint's answers to everything that is evaluated on."""
    return frame.ask(f"{lab}_evaluation{form}", checkpoint, arm, f"evaluation{form}")


def _nearest_wording(seen: str, asked: Sequence[Prediction]) -> list[Prediction]:
    """Answers what the base was asked by the rules of the laboratory's own module."""
    names = config.module_list(TrainConfig().modules)  # type: ignore[call-arg]
    modules = config.import_modules(names)
    laboratories = [module for module in modules if hasattr(module, "NearestWording")]
    if not laboratories:
        raise ConfigError(f"MIXTURE_OR_TASK_MODULE: no NearestWording in {', '.join(names)}")
    tasks = [task.name for task in mixtures.member_tasks(seen)]
    nearest = laboratories[0].NearestWording(tasks)
    return [
        dataclasses.replace(one, prediction=nearest.answer(one.task, one.template, one.id)[0])
        for one in asked
    ]


def _texts(name: str, mixture: str) -> tuple[str, str]:
    return TEXTS.get(name, (name.replace("_", " ").capitalize(), f"tuned on {mixture}"))


def _curves(model_dir: str) -> dict[str, list[tuple[float, float]]]:
    """Returns loss and accuracy by step of a finished run."""
    rows = read_reports(model_dir)
    return {
        name: [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        for name in ("loss", "accuracy")
    }


def _metrics(arms: Sequence[Arm], values: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "arms": {arm.name: arm.means for arm in arms},
        "metric": laboratory.METRIC,
        "rougeL": {arm.name: arm.rouge_means for arm in arms},
        "clusters": {arm.name: laboratory.by_cluster(arm.scored) for arm in arms},
        "examples": {name: sum(s.structure == name for s in arms[0].scored) for name in STRUCTURES},
        "laboratory": values["LAB"],
        "train_steps": values["TRAIN_STEPS"],
        "seed": values["SEED"],
        "seconds": round(seconds, 1),
    }


def _summary(values: Mapping[str, Any]) -> str:
    """The page's first sentences."""
    tasks = len(mixtures.member_tasks(f"{values['LAB']}_train"))
    return (
        f"A small language model was tuned on {tasks} tasks, once with the tasks stated in words "
        f"and once on inputs and answers alone, for {values['TRAIN_STEPS']} steps each from the "
        "same pretrained weights. Below is what either can do that it was not trained on."
    )


def _commands(frame: runs.Frame) -> list[str]:
    out, values = frame.setup.out, frame.setup.values
    given = " ".join(f"--gin_file={name}" for name in frame.setup.experiments)
    given += frame.gin_arguments
    lines = [f"flan-jax demo --out={out} {given}", ""]
    for name, mixture in values["ARMS"].items():
        lines += [
            f"flan-jax train {given} \\\n    --gin.MIXTURE_OR_TASK_NAME="
            f"{values['LAB']}_{mixture} --gin.MODEL_DIR={out}/{name}/run"
        ]
    lines += [
        f"flan-jax eval --checkpoint={out}/{next(iter(values['ARMS']))}/run "
        f"--mixture={laboratory.mixture_of(values['LAB'], name)} --out={out}/eval/{name}"
        for name in STRUCTURES
    ]
    return lines


def _print_table(arms: Sequence[Arm]) -> None:
    """Prints scores by arm and structure."""
    from rich.text import Text

    table = terminal.table("exact match, 0..100, on test instances")
    table.add_column("", no_wrap=True)
    for name in STRUCTURES:
        table.add_column(page.title_of(name), justify="right")
    best = page.best(arms)
    for arm in arms:
        cells = [
            Text(f"{arm.means[name]:.1f}", style="bold" if arm.means[name] == best[name] else "")
            for name in STRUCTURES
        ]
        table.add_row(arm.title, *cells)
    terminal.console().print(table)
