"""Answer a question with runs side by side: arms that differ in what is asked, several seeds each.

flan-jax study list
flan-jax study real --out=runs/real --gin.SUPER_NI_DIR=natural-instructions
flan-jax study real --out=runs/real --dry_run              # the commands, to be run anywhere
flan-jax study real --out=runs/real --arms=base,with_instructions --seeds=1
flan-jax study mine.yaml --out=runs/mine                   # one of your own

Every arm is ordinary `select`, `train` and `eval` runs. What has ended well is not run again, and
what was interrupted goes on where it was: the same command continues. Leaves results.json,
results.md and report.html in --out.
"""

import argparse
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common
from flan_jax.macros import SETTINGS
from flan_jax.quiet import import_tensorflow

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "study", metavar="NAME", type=common.path, help="a study, a file of one, or `list`"
    )
    parser.add_argument("--out", type=common.path, help="folder of everything (runs/NAME)")
    parser.add_argument("--seeds", type=common.whole(), help="seeds of each arm that is trained")
    parser.add_argument(
        "--arms", help="only these, with commas between; those done stay in the table"
    )
    parser.add_argument("--dry_run", action="store_true", help="print the commands, run none")
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs a study."""
    from flan_jax.studies import declared

    if args.study == "list":
        _print_list()
        return 0
    study = declared.read(args.study)
    out = args.out or f"runs/{study.name}"
    started = declared.Started(out, tuple(args.gin_file), tuple(args.gin_overrides), args.seeds)
    jobs = declared.plan(study, started)
    if args.arms:
        chosen = {study.arm(name.strip()).name for name in args.arms.split(",")}
        jobs = [job for job in jobs if job.arm in chosen]
    if args.dry_run:
        from flan_jax.studies import jobs as running

        for job in jobs:
            terminal.say(f"# {job}\n{running.command(job)}")
        return 0
    with common.study(out):
        return _answer(study, started, jobs)


def _answer(study: Any, started: Any, chosen: list[Any]) -> int:
    """Runs what is left, and says what was found."""
    from flan_jax import config
    from flan_jax.studies import jobs

    try:
        jobs.run(started.out, chosen, terminal.say)
    except jobs.StoppedError:
        terminal.say("stopped; the same command goes on from here")
        return 0
    # Cards, which say the category of each task.
    values = config.given([study.experiment, *started.experiments], started.overrides)
    common.apply_settings(
        [text for text in started.overrides if text.partition("=")[0] in SETTINGS]
    )
    import_tensorflow()
    config.import_modules(values.get("MIXTURE_OR_TASK_MODULE"))

    from flan_jax.studies import answer

    answer.write(study, started)
    return 0


def _print_list() -> None:
    from flan_jax.studies import declared

    table = terminal.table("studies")
    for heading in ("study", "question", "arms", "seeds"):
        table.add_column(heading)
    for name in declared.known():
        study = declared.read(name)
        table.add_row(name, study.question, str(len(study.arms)), str(study.seeds))
    terminal.console().print(table)
