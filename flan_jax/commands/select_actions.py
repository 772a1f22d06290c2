"""What `flan-jax select` does beside choosing: align, evaluate, map, samples, study."""

import argparse
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common, selecting
from flan_jax.errors import ConfigError, DataError

ALIGN = "gin_configs/experiments/selector_align.gin"
STUDY = "gin_configs/experiments/minilab_select.gin"
STUDY_FAST = "gin_configs/experiments/minilab_select_tiny.gin"


def run_align(args: argparse.Namespace) -> int:
    """Tunes an encoder on a library."""
    if not args.base or not args.out:
        raise ConfigError("align needs --base (name or folder of a model) and --out (a folder)")
    from flan_jax import config

    experiments = args.gin_file or [config.read_own(ALIGN)]
    parts = config.compose_parts(experiments, "flan_jax", "select_align", args.gin_overrides)
    common.configure(parts, ["flan_jax.selector.pairs"])
    _, library = selecting.load_library(args, configured=True)

    from flan_jax.selector import align

    done = align.align(library, args.base, args.out, args.held_out, device=args.device)
    before, after = done.found_before, done.found_after
    terminal.say(f"losses by epoch: {', '.join(f'{loss:.4f}' for loss in done.losses)}")
    terminal.say(
        "instructions whose nearest other one is of their task, on what was trained on: "
        f"{before:.1%} before, {after:.1%} after"
    )
    terminal.say(f"wrote {done.folder}; choose with it: flan-jax select --encoder={done.folder}")
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Compares scores with true transfer, or asks whether wordings find their task."""
    if (args.transfer is None) == (args.paraphrases is None):
        raise ConfigError(
            "evaluate by what? --transfer=FILE.csv (columns source,target,score), or --paraphrases"
        )
    _, library = selecting.load_library(args)
    return _paraphrases(args, library) if args.transfer is None else _transfer(args, library)


def _scoring(args: argparse.Namespace) -> Any:
    from flan_jax.selector.parameters import Parameters

    return Parameters(aggregation=args.aggregation, top_p=args.top_p, transform=args.transform)


def _paraphrases(args: argparse.Namespace, library: Any) -> int:
    import dataclasses

    from flan_jax.selector import paraphrases, sources

    wordings = sources.read_file(args.paraphrases) if args.paraphrases else None
    embedder = selecting.make_selector(args, library).embedder
    found = paraphrases.find(library, embedder, _scoring(args), wordings)
    if args.json:
        terminal.say_json(dataclasses.asdict(found))
        return 0
    clustered = any(task.cluster for task in library.tasks)
    terminal.say(
        f"{found.asked} wordings among {found.tasks} tasks: their own task first "
        f"{found.first:.1%} (by chance {found.chance:.1%}), among five {found.among_five:.1%}"
        + f", its cluster first {found.cluster:.1%}"
        * clustered
    )
    for text, name, first in found.missed[:5]:
        terminal.say(f"  {first} instead of {name}: {text[:90]}")
    return 0


def _transfer(args: argparse.Namespace, library: Any) -> int:
    from flan_jax.selector import evaluate, transfer
    from flan_jax.selector.selection import Target

    table = transfer.read_transfer(args.transfer)
    for target in table:
        library.get(target)
    selector = selecting.make_selector(args, library)
    found = evaluate.evaluate(
        table,
        lambda target: selector.scores(Target.of_task(library.get(target)), _scoring(args)),
        ks=args.k or evaluate.KS,
        level=args.level,
        seed=args.seed,
    )
    if args.json:
        terminal.say_json(found.to_json())
        return 0
    heading, *rows = found.rows()
    printed = terminal.table(box=None, pad_edge=False)
    for name in heading:
        printed.add_column(name, justify="left" if name == heading[0] else "right")
    for row in rows:
        printed.add_row(*row)
    terminal.console().print(printed)
    terminal.say(
        f"means over {len(found.by_target)} targets; {args.level:.0%} intervals by bootstrap"
    )
    return 0


def run_map(args: argparse.Namespace) -> int:
    """Draws a library."""
    from flan_jax import files
    from flan_jax.selector import explain

    files.check_out(args.out)
    _, library = selecting.load_library(args)
    files.replace_text(args.out, explain.map_page(selecting.make_selector(args, library)))
    terminal.say(f"wrote {args.out}")
    return 0


def run_samples(args: argparse.Namespace) -> int:
    """Writes inputs of the library's tasks, which no selector by instructions ever looks at."""
    import itertools

    from flan_jax import files, json_files
    from flan_jax.data.units import Renderings, task_examples, unit_specs
    from flan_jax.instructions import mixtures
    from flan_jax.terminal import Progress

    files.check_out(args.out)
    _, library = selecting.load_library(args)
    rows = []
    with Progress("reading", len(library.tasks)) as progress:
        for task in library.tasks:
            splits = mixtures.resolve(task.name).splits
            split = "train" if "train" in splits else sorted(splits)[0]
            spec = unit_specs(task.name, split, Renderings(1, 0))[0]
            examples = itertools.islice(task_examples(spec), args.n)
            inputs = [one.prompt for one in examples if one.prompt.strip()]
            if not inputs:
                raise DataError(f"task {task.name!r} has no inputs in its split {split}")
            rows.append({"task": task.name, "inputs": inputs})
            progress.advance(1)
    json_files.write_lines(args.out, rows)
    terminal.say(f"wrote {args.n} inputs of each of {len(rows)} tasks to {args.out}")
    return 0


def run_study(args: argparse.Namespace) -> int:
    """Trains on what is selected, on random tasks and on all."""
    out = args.out or ("runs/selection_fast" if args.fast else "runs/selection")
    own = [STUDY, *([STUDY_FAST] if args.fast else [])]
    with common.study(out):
        setup = common.start_study("select_study", out, own, args.gin_file, args.gin_overrides)

        from flan_jax.studies import selection

        selection.run(setup)
    return 0
