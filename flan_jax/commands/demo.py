"""Train a tiny model on tasks made by code and score it before and after.

Trains a T5 of about a million parameters, from scratch, on MiniLab's training clusters with
instructions in ten wordings each, and scores it on test instances of tasks that it was trained on
and of clusters that it never saw. Interrupted and started again, it goes on where it was.
"""

import argparse

from flan_jax.commands import common

TAKES_GIN = True
EXPERIMENT = "gin_configs/experiments/minilab_demo.gin"
FAST_STEPS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("--out", default="runs/demo", help="folder (default: runs/demo)")
    parser.add_argument(
        "--fast", action="store_true", help=f"{FAST_STEPS} steps: to see that it runs"
    )
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo."""
    import json
    import os
    import time

    from flan_jax import config

    started = time.perf_counter()
    model_dir = os.path.join(args.out, "run")
    overrides = [f"MODEL_DIR={model_dir}"]
    overrides += [f"PREPARED_DIR={os.path.join(args.out, 'prepared')}"]
    overrides += [f"TRAIN_STEPS={FAST_STEPS}"] if args.fast else []
    experiments = [EXPERIMENT, *args.gin_file]
    parts = config.compose_parts(experiments, "flan_jax", "demo", overrides + args.gin_overrides)
    print("importing SeqIO, TensorFlow and JAX ...", flush=True)
    values = common.configure(parts, ["flan_jax.training.train", "flan_jax.evaluation.evaluate"])

    import dataclasses

    from flan_jax.evaluation.evaluate import EvalConfig, evaluate
    from flan_jax.training.train import TrainConfig, train

    def score(stage: str, checkpoint: str | None) -> dict[str, dict]:
        found = {}
        for part, mixture in (("seen", values["SEEN_MIXTURE"]), ("unseen", values["HELDOUT"])):
            folder = os.path.join(args.out, stage, part)
            chosen = dataclasses.replace(EvalConfig(), mixture=mixture)  # type: ignore[call-arg]
            found[part] = evaluate(chosen, checkpoint, folder, say=lambda text: None)
        return found

    print("1/3  scoring the untrained model", flush=True)
    before = score("before", None)
    print("2/3  training", flush=True)
    text = config.join_parts(parts)
    train(TrainConfig(), parts_text=text, macros_text=config.macros_text(parts))  # type: ignore[call-arg]
    print("3/3  scoring the trained model", flush=True)
    after = score("after", model_dir)

    print_table(before, after)
    metrics = os.path.join(args.out, "metrics.json")
    with open(metrics, "w") as file:
        json.dump({"before": before, "after": after}, file, indent=1)
    print(f"{time.perf_counter() - started:.0f} s in all. What the model said, example by example:")
    print(f"  {os.path.join(args.out, 'after', 'unseen', 'predictions.jsonl')}")
    print(f"scores: {metrics}")
    return 0


def print_table(before: dict[str, dict], after: dict[str, dict]) -> None:
    """Prints scores by task, seen and unseen, before and after."""
    from rich.table import Table

    from flan_jax import terminal
    from flan_jax.evaluation.report import category

    table = Table(title="MiniLab, test instances: before → after training", title_justify="left")
    for column in ("task", "cluster"):
        table.add_column(column, no_wrap=True)
    for column in ("ROUGE-L", "exact match", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for part, title in (("seen", "tasks trained on"), ("unseen", "clusters never seen")):
        table.add_section()
        for task, scores in before[part]["by_task"].items():
            later = after[part]["by_task"][task]
            table.add_row(task.removeprefix("minilab_"), category(task), *_cells(scores, later))
        overall = _cells(before[part]["overall"], after[part]["overall"])
        table.add_row(f"[bold]{title}[/bold]", "", *(f"[bold]{cell}[/bold]" for cell in overall))
    terminal.console().print(table)


def _cells(before: dict[str, float], after: dict[str, float]) -> tuple[str, ...]:
    scores = [f"{before[name]:.1f} → {after[name]:.1f}" for name in ("rougeL", "exact_match")]
    return (*scores, f"{before['n']}")
