"""Write the tokens of a mixture ahead of training.

Training prepares what is missing by itself; this verb does it on another machine, or for a large
collection on Beam (`--beam --runner=DataflowRunner ...`: what is not an option here goes to Beam).
"""

import argparse
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "--mixture", type=common.path, help="SeqIO task or mixture (or MIXTURE_OR_TASK_NAME)"
    )
    common.add_module_argument(parser)
    parser.add_argument(
        "--prepared_dir", type=common.path, help="where records go (or PREPARED_DIR)"
    )
    parser.add_argument("--split", default="train", help="split (default: train)")
    parser.add_argument(
        "--renderings", type=common.whole(), help="renderings of each task (RENDERINGS)"
    )
    parser.add_argument(
        "--workers", type=common.whole(), help="processes; chosen by size where not given"
    )
    common.add_fresh_argument(parser)
    parser.add_argument(
        "--layout",
        default="encoder_decoder",
        choices=("encoder_decoder", "decoder"),
        help="of the model that trains on them (default: encoder_decoder)",
    )
    parser.add_argument("--beam", nargs=argparse.REMAINDER, help="prepare on Beam; its options")
    common.add_gin_arguments(parser)


def _print_fits(prepared: Any) -> None:
    """Prints of which tasks PROMPT_BUDGET shortened prompts, in all renderings together."""
    from flan_jax.instructions.budgets import Fit
    from flan_jax.instructions.long_prompts import prompt_budget

    rows = {task: counts for task, counts in prepared.fits.items() if any(counts.values())}
    if not rows:
        return
    table = terminal.table(f"prompts of more than {prompt_budget()} tokens")
    table.add_column("task", overflow="fold")
    for name in ("shortened", "still too long"):
        table.add_column(name, justify="right")
    for task, counts in sorted(rows.items()):
        table.add_row(task, f"{counts[Fit.SHORTENED]:,}", f"{counts[Fit.TOO_LONG]:,}")
    terminal.console().print(table)


def run(args: argparse.Namespace) -> int:
    """Prepares, and prints how full planned rows would be."""
    from flan_jax import config

    overrides = list(args.gin_overrides)
    for macro, value in (
        ("MIXTURE_OR_TASK_NAME", args.mixture),
        ("PREPARED_DIR", args.prepared_dir),
        ("RENDERINGS", args.renderings),
    ):
        if value is not None:
            overrides.append(f"{macro}={value}")
    parts = config.compose_parts(args.gin_file, "flan_jax", "prepare", overrides)
    # What training is configured by may ride along in an experiment's macros; its loop does not.
    values = common.configure(parts, ["flan_jax.training.config"])
    config.import_modules(args.module)

    from flan_jax import settings
    from flan_jax.data import exclusion, units
    from flan_jax.data import prepare as lib
    from flan_jax.data.plan import Plan, PlanConfig
    from flan_jax.errors import ConfigError
    from flan_jax.instructions.vocabulary import check_vocabulary

    name = values["MIXTURE_OR_TASK_NAME"]
    if not name:
        raise ConfigError("which mixture? Give --mixture=NAME, or a --gin_file that sets one")
    if isinstance(rows := values.get("VOCAB_SIZE"), int):  # by default it follows the vocabulary
        check_vocabulary(rows)
    unwanted = exclusion.read(values.get("EXCLUDE_EXAMPLES"))
    lengths = values["TASK_FEATURE_LENGTHS"]
    layout = PlanConfig(
        lengths["inputs"],
        lengths["targets"],
        batch_size=1,
        packing=values["PACKING"],
        seed=values["SEED"],
        layout=args.layout,
    )
    modules = [*config.module_list(values["MIXTURE_OR_TASK_MODULE"]), *args.module]
    renderings = units.Renderings(values["RENDERINGS"], values["RENDER_SEED"])
    if args.beam is not None:
        specs = units.unit_specs(name, args.split, renderings, args.layout)
        lib.prepare_on_beam(specs, settings.cache_root(), modules, args.beam, args.fresh)
    prepared = lib.prepare(
        name,
        args.split,
        renderings,
        modules=modules,
        workers=args.workers,
        fresh=args.fresh and args.beam is None,
        layout=args.layout,
        report=terminal.say,
    )
    _print_fits(prepared)
    prepared = exclusion.leave_out(prepared, unwanted, terminal.say)
    stats = Plan(prepared.tables, prepared.rates, layout).stats()
    terminal.say(
        f"{name} ({args.split}): {len(prepared.units)} tasks below {settings.cache_root()}"
    )
    terminal.say(f"an epoch at {lengths['inputs']}/{lengths['targets']} tokens: {stats}")
    return 0
