"""Choose tasks to train on from instructions alone.

flan-jax select --target "Add the numbers." --library=tasks.minilab -k 5 --out=manifest.json
flan-jax select --target-task=minilab_first_word --library=tasks.minilab --diversity=mmr
flan-jax select --target "..." --library=super_ni:DIR -k 70 --encoder=all-MiniLM-L6-v2
flan-jax train ... --gin.MIXTURE_OR_TASK_NAME="'selected:manifest.json'"
"""

import argparse
from typing import Any

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    what = parser.add_argument_group("what for")
    what.add_argument("--target", action="append", default=[], help="an instruction; repeatable")
    what.add_argument(
        "--target-task",
        action="append",
        default=[],
        metavar="NAME",
        help="a registered task, or one of the library, which it is left out of; repeatable",
    )
    what.add_argument("--one-target", action="store_true", help="several --target state one target")
    what.add_argument(
        "--target-source",
        action="append",
        default=[],
        metavar="NAME",
        help="a dataset of the target; tasks that share it are left out; repeatable",
    )
    among = parser.add_argument_group("among what")
    among.add_argument(
        "--library",
        metavar="LIBRARY",
        help="task module, FILE.jsonl, super_ni:DIR or promptsource:DIR; several with commas",
    )
    among.add_argument("--module", action="append", default=[], help="task module to import too")
    among.add_argument("--exclude", action="append", default=[], metavar="TASK")
    among.add_argument("--share-sources", action="store_true", help="do not leave those out")
    _add_choice_arguments(parser.add_argument_group("how"))
    out = parser.add_argument_group("what comes out")
    out.add_argument("--out", metavar="FILE", help="write the manifest here")
    out.add_argument("--json", action="store_true", help="print the manifest")
    out.add_argument("--rates", default="uniform", help="uniform, examples or softmax")
    out.add_argument("--cap", type=int, help="with examples: most examples of a task that count")
    out.add_argument("--temperature", type=float, default=0.1, help="with softmax (0.1)")


def _add_choice_arguments(how: Any) -> None:
    how.add_argument("-k", type=int, help="number of tasks (5, unless another rule is given)")
    how.add_argument(
        "--encoder", help="lexical, or name or folder of a sentence-transformers model"
    )
    how.add_argument(
        "--aggregation",
        default="mean",
        help="of pairs of instructions: mean, max, top_p, centroid, rank_vote or round_robin",
    )
    how.add_argument("--top-p", type=float, default=0.25, help="share of the pairs (0.25)")
    how.add_argument("--transform", default="none", help="none, center or whiten")
    how.add_argument("--combine", default="mean", help="of several targets: mean, max or turns")
    how.add_argument("--threshold", type=float, help="least score")
    how.add_argument("--z", type=float, help="least score in standard deviations above chance")
    how.add_argument("--most", type=int, help="most tasks that such a rule may choose")
    how.add_argument("--diversity", default="none", help="none, mmr or facility")
    how.add_argument("--weight", type=float, default=0.7, help="of score against diversity (0.7)")
    how.add_argument("--per-cluster", type=int, help="most tasks of one cluster")
    how.add_argument("--budget", type=int, help="most tokens of all tasks together")
    how.add_argument("--sizes", metavar="CSV", help="tokens of tasks: columns task,tokens")
    how.add_argument("--bootstrap", type=int, default=100, help="resamplings (100)")
    how.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Chooses."""
    import sys

    from flan_jax.errors import ConfigError
    from flan_jax.selector import manifest, sources
    from flan_jax.selector.encoders import Embedder, get_encoder
    from flan_jax.selector.selection import Selector, all_instructions

    if not args.library:
        raise ConfigError("which library? --library=tasks.minilab, say, or FILE.jsonl")
    if not args.target and not args.target_task:
        raise ConfigError('which target? --target "Instruction.", or --target-task=NAME')
    mixing = manifest.Mixing(args.rates, args.cap, args.temperature)
    parameters = _parameters(args)
    _apply_settings(args.gin_overrides)
    _import(args.module)
    library = sources.load_library(args.library)
    if args.sizes:
        library = sources.with_sizes(library, args.sizes)
    targets = _targets(args, library)
    encoder = get_encoder(args.encoder, all_instructions(library))
    if args.encoder is None:
        print(f"flan-jax: encoder: {encoder.name} (--encoder names another)", file=sys.stderr)
    choice = Selector(library, Embedder(encoder)).select(targets, parameters)
    for note in choice.notes:
        print(f"flan-jax: {note}", file=sys.stderr)
    made = manifest.make_manifest(choice, library, encoder, mixing)
    if args.out:
        manifest.write_manifest(args.out, made)
    if args.json:
        sys.stdout.write(manifest.manifest_text(made))
        return 0
    _print_table(choice)
    if args.out:
        print(f"wrote {args.out}; train on it with --gin.MIXTURE_OR_TASK_NAME=selected:{args.out}")
    return 0


def _parameters(args: argparse.Namespace) -> Any:
    from flan_jax.selector.selection import Parameters

    other_rule = any(rule is not None for rule in (args.threshold, args.z, args.budget))
    same = (
        "aggregation", "top_p", "transform", "combine", "threshold", "z", "most", "diversity",
        "weight", "per_cluster", "budget", "share_sources", "bootstrap", "seed",
    )  # fmt: skip
    return Parameters(
        k=args.k if args.k is not None or other_rule else 5,
        exclude=tuple(args.exclude),
        **{name: getattr(args, name) for name in same},
    )


def _apply_settings(overrides: list[str]) -> None:
    """Puts settings such as SUPER_NI_DIR where task modules look for them."""
    import ast
    import os

    from flan_jax import config
    from flan_jax.commands import common
    from flan_jax.errors import ConfigError, did_you_mean

    for argument in overrides:
        name, value = config.parse_override(argument)
        if name not in common.SETTINGS:
            hint = did_you_mean(name, common.SETTINGS)
            raise ConfigError(f"--gin.{name}: select takes settings of task modules only{hint}")
        os.environ[name] = str(ast.literal_eval(value))


def _import(modules: list[str]) -> None:
    if modules:
        from flan_jax import config
        from flan_jax.quiet import import_tensorflow

        import_tensorflow()
        config.import_modules(modules)


def _targets(args: argparse.Namespace, library: Any) -> list[Any]:
    from flan_jax.selector.selection import Target

    sources = tuple(args.target_source)
    groups = [tuple(args.target)] if args.one_target else [(text,) for text in args.target]
    texts = [Target.of_text(*group, sources=sources) for group in groups if group]
    return [*texts, *(_task_target(name, library, sources) for name in args.target_task)]


def _task_target(name: str, library: Any, sources: tuple[str, ...]) -> Any:
    """Returns a task of the library, or of a card, as a target.

    Raises:
        DataError: there is no such task.
    """
    from flan_jax.instructions.cards import find_card
    from flan_jax.selector.library import LibraryTask, refine_all
    from flan_jax.selector.selection import Target

    card = find_card(name)
    for candidate in (name, card.name if card else name, f"super_ni_{name}"):
        if candidate in library.by_name:
            return Target.of_task(library.by_name[candidate], sources)
    if card is None:
        library.get(name)  # raises, with the nearest names
    assert card is not None
    kept, _ = refine_all(card.instructions)
    return Target.of_task(LibraryTask(card.name, kept, card.cluster, card.sources), sources)


def _print_table(choice: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("task", "score", "cluster", "stable", "its instruction", "the target's"):
        table.add_column(column, justify="right" if column in ("score", "stable") else "left")
    for row in choice.selected:
        stable = "" if row.stability is None else f"{row.stability:.0%}"
        texts = (row.instruction, row.target_instruction)
        short = [text if len(text) < 60 else text[:57] + "..." for text in texts]
        table.add_row(row.task, f"{row.score:.3f}", row.cluster or "", stable, *short)
    Console(markup=False).print(table)
