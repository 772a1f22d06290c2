"""List tasks, or show what a model sees of one.

flan-jax tasks list --module=tasks.minilab [--json]
flan-jax tasks show minilab_first_word -n 3
"""

import argparse

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show")
    listing = actions.add_parser("list", help="one line, or one JSON object, a task entry")
    listing.add_argument("--json", action="store_true", help="a JSON array of objects")
    show = actions.add_parser("show", help="examples as a model sees them")
    show.add_argument("name", help="SeqIO task")
    show.add_argument("-n", type=int, default=3, help="number of examples (default: 3)")
    show.add_argument("--split", help="split (default: the first of train, validation, test)")
    show.add_argument("--rendering", type=int, default=0, help="rendering number (default: 0)")
    show.add_argument("--seed", type=int, default=0, help="render seed (default: 0)")
    for action in (listing, show):
        action.add_argument(
            "--module",
            action="append",
            default=[],
            help="task module to import; those of the package that can be where not given",
        )


def run(args: argparse.Namespace) -> int:
    """Lists or shows."""
    from flan_jax import config
    from flan_jax.commands import common

    settings = config.Part("the command line", "".join(f"{m} = None\n" for m in common.SETTINGS))
    overrides = [config.parse_override(text) for text in args.gin_overrides]
    given = "".join(f"{name} = {value}\n" for name, value in overrides)
    config.check_overrides([settings], given)
    common.configure([settings, config.Part("the command line", given)])
    _import(args.module)
    return _list(args) if args.action == "list" else _show(args)


def _import(modules: list[str]) -> None:
    """Imports the given modules, or every one of ours that has what it needs."""
    from flan_jax import config
    from flan_jax.errors import DataError

    config.import_modules(modules)
    if modules:
        return
    for module in config.known_task_modules():
        try:
            config.import_modules(module)
        except DataError as error:
            import sys

            print(f"flan-jax: left out {module}: {error}", file=sys.stderr)


def _list(args: argparse.Namespace) -> int:
    import json

    from rich.table import Table

    from flan_jax import terminal
    from flan_jax.instructions.cards import cards

    found = cards(args.module)
    if args.json:
        print(json.dumps([card.to_json() for card in found], indent=1, ensure_ascii=False))
        return 0
    table = Table(title=f"{len(found)} task entries", title_justify="left")
    for column in ("name", "cluster", "kind", "instructions", "templates", "licence"):
        table.add_column(column, overflow="fold")
    for card in found:
        counts = (str(len(card.instructions)), str(len(card.templates)))
        table.add_row(card.name, card.cluster, card.kind, *counts, card.licence)
    terminal.console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    import itertools

    from flan_jax.data.prepare import Renderings, task_examples, unit_specs
    from flan_jax.errors import DataError
    from flan_jax.instructions import cards, mixtures
    from flan_jax.instructions.rendering import RenderingKey

    card = cards.find_card(args.name)
    task = mixtures.resolve(args.name)
    if len(mixtures.member_tasks(args.name)) > 1:
        names = ", ".join(t.name for t in mixtures.member_tasks(args.name)[:5])
        raise DataError(f"{args.name} is a mixture; show one of its tasks: {names}, ...")
    usual = [s for s in ("train", "validation", "test") if s in task.splits]
    split = args.split or (usual or sorted(task.splits))[0]
    spec = unit_specs(args.name, split, Renderings(args.rendering + 1, args.seed))[-1]
    assert spec.rendering == RenderingKey(args.seed, args.rendering)
    if card is not None:
        print(f"{card.name}: {card.kind}, cluster {card.cluster}, licence {card.licence}")
        print(f"instruction: {card.instructions[0]}\n")
    for example in itertools.islice(task_examples(spec), args.n):
        lengths = f"{len(example.inputs)} + {len(example.targets)} tokens"
        print(f"--- {example.id}  (template {example.template}, {lengths})")
        print(f"[input]\n{example.prompt}\n[target]\n{example.target}")
        if len(example.references) > 1:
            print(f"[references]\n{chr(10).join(example.references)}")
        print()
    return 0
