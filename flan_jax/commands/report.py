"""Set runs and published predictions side by side, on one page.

flan-jax report runs/a/eval runs/b/eval --out=report.html
flan-jax report ours=runs/a/eval davinci=code-davinci-002-cot --out=report.html
flan-jax report 60M=runs/s/eval 220M=runs/m/eval 770M=runs/l/eval --out=scale.html

A RUN is a folder of `flan-jax eval` (of several mixtures or checkpoints, too), a folder of
`flan-jax train` for its learning curves, or predictions as `flan-jax score` reads them: a file, a
folder, or FILE@SET for one set of a file. NAME=RUN names it; what has one name is one run. The
others are compared with the first, on the examples that both answered. Nothing is run, and no
accelerator is needed.
"""

import argparse
import os
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common, score

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", type=_run)
    parser.add_argument(
        "--out", required=True, type=common.path, metavar="FILE", help="HTML page to write"
    )
    parser.add_argument(
        "--x",
        metavar="KEY",
        help="draw scores over this number, which runs say of themselves, such as step; where not "
        "given, over names that are numbers, such as 60M",
    )
    parser.add_argument(
        "--examples",
        type=common.whole(0),
        default=4,
        help="examples won, and lost, that are shown of each run (default: 4)",
    )
    score.add_scoring_arguments(parser)
    common.add_module_argument(
        parser, "task module to import, by name or file: it says the categories of its tasks"
    )
    parser.epilog = "Settings of modules, such as SUPER_NI_DIR, are given as --gin.NAME=value."


def _run(text: str) -> tuple[str, str]:
    """Returns the name of a run, empty where it has none, and its path, as a type of an option."""
    name, equals, place = text.partition("=")
    if not equals or "/" in name or os.path.exists(text):
        return "", common.path(text)
    if not name.strip() or len(name) > 100:
        raise argparse.ArgumentTypeError("NAME=RUN needs a name of at most 100 characters")
    return name.strip(), common.path(place)


def run(args: argparse.Namespace) -> int:
    """Reads, compares and writes."""
    from flan_jax import files

    files.check_out(args.out)
    made = _made(args)
    from flan_jax.studies import report_page, report_summary

    files.replace_text(args.out, report_page.render(made))
    report_summary.print_tables(made)
    terminal.say(f"wrote {args.out}")
    return 0


def _made(args: argparse.Namespace) -> Any:
    """Returns the report."""
    from flan_jax.errors import ConfigError
    from flan_jax.scoring import summaries

    if args.gin_overrides and not args.module:
        raise ConfigError(
            f"--gin.{args.gin_overrides[0]} is a setting of a --module; none is named"
        )
    if args.module:
        from flan_jax import config
        from flan_jax.quiet import import_tensorflow

        common.apply_settings(args.gin_overrides)
        import_tensorflow()
        config.import_modules(args.module)
    else:
        summaries.import_rouge_quickly()
    from flan_jax.scoring.references import read_references
    from flan_jax.studies import report_places, report_summary, report_tables

    tokenizer, bootstrap = score.tokenizer_of(args), summaries.Bootstrap(args.bootstrap, args.seed)
    references = read_references(args.references, args.track) if args.references else None
    asked = [report_places.Asked(*one) for one in args.runs]
    runs = report_places.read(asked, args.format, references)
    scored = report_tables.scored(runs, tokenizer, args.processes)
    return report_summary.make(scored, bootstrap, args.x, args.examples)
