"""List tasks, show what a model sees of one, check how they are worded, or what they share.

flan-jax tasks list --module=tasks.minilab [--json]
flan-jax tasks show minilab_first_word -n 3
flan-jax tasks show flan_rte --template=all
flan-jax tasks show super_ni_task828_copa_commonsense_cause_effect --encoding=def_pos2 -n 1 --raw
flan-jax tasks check --module=tasks.flan
flan-jax tasks check --module=jsonl:chats.jsonl --gin.VOCABULARY=models/chat
flan-jax tasks overlap --train=flan_train --test=bbh --out=overlap --gin.BBH_DIR=BIG-Bench-Hard
"""

import argparse
from collections.abc import Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common, overlap

TAKES_GIN = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|overlap")
    listing = actions.add_parser("list", help="one line, or one JSON object, a task entry")
    listing.add_argument("--json", action="store_true", help="a JSON array of objects")
    show = actions.add_parser("show", help="examples as a model sees them")
    show.add_argument("name", type=common.path, help="SeqIO task")
    show.add_argument("-n", type=common.whole(), default=3, help="number of examples (default: 3)")
    show.add_argument("--split", help="split (default: the first of train, validation, test)")
    show.add_argument(
        "--rendering", type=common.whole(0), default=0, help="rendering number (default: 0)"
    )
    show.add_argument("--seed", type=common.SEED, default=0, help="render seed (default: 0)")
    show.add_argument(
        "--template", help="all, or ids such as t0,t3: one example in each of these templates"
    )
    show.add_argument(
        "--encoding",
        help="how Natural Instructions become prompts: def_pos2, meta, name_def_pos3, ...",
    )
    show.add_argument("--raw", action="store_true", help="the prompts, and nothing else")
    check = actions.add_parser("check", help="find what is wrong with templates or rows")
    check.add_argument("names", nargs="*", metavar="NAME", help="task entries (default: all)")
    check.add_argument(
        "--folder", type=common.path, metavar="DIR", help="check a folder of Super-NI tasks instead"
    )
    check.add_argument("--json", action="store_true", help="with --folder: the report as JSON")
    check.add_argument(
        "--encoding", dest="count_encoding", help="with --folder: count prompts in it"
    )
    check.add_argument(
        "--budget",
        type=common.whole(),
        default=1024,
        help="with --encoding: tokens of a prompt (1024)",
    )
    for action in (listing, show, check, overlap.add_action(actions)):
        action.add_argument(
            "--module",
            action="append",
            default=[],
            type=common.module,
            help="task module to import; those of the package that can be where not given",
        )


def run(args: argparse.Namespace) -> int:
    """Lists, shows, checks or compares."""
    encoding = getattr(args, "encoding", None)
    more = [f"{_encoding_setting(args.name)}={encoding}"] if encoding else []
    common.apply_settings([*args.gin_overrides, *more])
    common.import_tensorflow()
    if args.action == "check" and args.folder:
        from flan_jax.commands import check_folder

        return check_folder.run_check(
            args.folder, args.names, args.json, args.count_encoding, args.budget
        )
    args.module = [module.__name__ for module in _import(args.module)]
    actions = {"list": _list, "show": _show, "check": _check, "overlap": overlap.run}
    return actions[args.action](args)


# Settings that say how tasks become prompts, by what names of such tasks begin with.
_ENCODING_SETTINGS = {"super_ni_": "SUPER_NI_ENCODING", "ni_v1_": "NI_V1_ENCODING"}


def _encoding_setting(task: str) -> str:
    """Returns the setting that names the encoding of a task.

    Raises:
        ConfigError: the task has none.
    """
    from flan_jax.errors import ConfigError

    for prefix, name in _ENCODING_SETTINGS.items():
        if task.startswith(prefix):
            return name
    begins = " or ".join(_ENCODING_SETTINGS)
    raise ConfigError(f"--encoding is for tasks whose names begin with {begins}, not {task!r}")


def _import(modules: list[str]) -> list[Any]:
    """Imports the given modules and returns them, or every one of ours that has what it needs."""
    from flan_jax import config
    from flan_jax.errors import DataError

    if modules:
        return config.import_modules(modules)
    for module in config.known_task_modules():
        try:
            config.import_modules(module)
        except DataError as error:
            terminal.warn(f"left out {module}: {error}")
    return []


def _list(args: argparse.Namespace) -> int:
    from flan_jax.instructions.cards import cards

    found = cards(args.module)
    if args.json:
        terminal.say_json([card.to_json() for card in found])
        return 0
    table = terminal.table(f"{len(found)} task entries")
    for column in ("name", "cluster", "kind", "instructions", "templates"):
        table.add_column(column, overflow="fold")
    table.add_column("licence", no_wrap=True, overflow="ellipsis", max_width=24)
    for card in found:
        counts = (str(len(card.instructions)), str(len(card.templates)))
        table.add_row(card.name, card.cluster, card.kind, *counts, card.licence)
    terminal.console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    from flan_jax.errors import DataError
    from flan_jax.instructions import cards, mixtures

    card = cards.find_card(args.name)
    task = mixtures.resolve(args.name)
    if len(mixtures.member_tasks(args.name)) > 1:
        names = ", ".join(t.name for t in mixtures.member_tasks(args.name)[:5])
        raise DataError(f"{args.name} is a mixture; show one of its tasks: {names}, ...")
    usual = [s for s in ("train", "validation", "test") if s in task.splits]
    split = args.split or (usual or sorted(task.splits))[0]
    if card is not None and not args.raw:
        terminal.say(f"{card.name}: {card.kind}, cluster {card.cluster}, licence {card.licence}")
        terminal.say(f"instruction: {card.instructions[0]}\n")
    if args.template:
        for name in _template_tasks(args.name, args.template):
            _show_examples(args, name, split, 1)
    else:
        _show_examples(args, args.name, split, args.n)
    return 0


def _template_tasks(name: str, wanted: str) -> list[str]:
    """The tasks of single templates of a task.

    Raises:
        DataError: it has none, or not this one.
    """
    from flan_jax.errors import DataError, did_you_mean
    from flan_jax.instructions import datasets

    made_from = datasets.find_registered(name)
    if made_from is None:
        raise DataError(f"{name} has no tasks of single templates; leave out --template")
    known = list(made_from.variant.templates)
    ids = known if wanted == "all" else wanted.split(",")
    for template_id in ids:
        if template_id not in known:
            hint = did_you_mean(template_id, known)
            raise DataError(f"{name} has no template {template_id!r}{hint}")
    return [f"{made_from.entry}_{template_id}" for template_id in ids]


def _show_examples(args: argparse.Namespace, name: str, split: str, count: int) -> None:
    import itertools

    from flan_jax.data.units import Renderings, task_examples, unit_specs
    from flan_jax.instructions import datasets, mixtures
    from flan_jax.instructions.draws import RenderingKey, rendering_context
    from flan_jax.instructions.tfds_source import TfdsSource

    task = mixtures.resolve(name)
    if isinstance(task.source, TfdsSource) and not task.source.is_there:
        if not args.raw:
            terminal.say(
                f"({task.source.tfds_name} is not on this machine; these are sample rows of ours)"
            )
        with rendering_context(args.seed, args.rendering):
            rendered = datasets.render_samples(name)
        for example_id, out in rendered[:count]:
            if args.raw:
                _print_raw(out.inputs, args.n)
            else:
                texts = out.inputs, out.targets, out.references
                _print(example_id, out.template, _said_of(out.fit), *texts)
        return
    if split not in task.splits:  # a reversed template is for training
        split = sorted(task.splits)[0]
    spec = unit_specs(name, split, Renderings(args.rendering + 1, args.seed))[-1]
    assert spec.rendering == RenderingKey(args.seed, args.rendering)
    for example in itertools.islice(task_examples(spec), count):
        _check_encoding(args.encoding, example.template)
        if args.raw:
            _print_raw(example.prompt, args.n)
            continue
        lengths = f", {len(example.inputs)} + {len(example.targets)} tokens"
        lengths += _said_of(example.fit)
        texts = example.prompt, example.target, example.references
        _print(example.id, example.template, lengths, *texts)
        if example.counted is not None:
            _print_learnt(example)


def _said_of(fit: int) -> str:
    """Returns what is to be known of a prompt that was longer than PROMPT_BUDGET."""
    from flan_jax.instructions.budgets import Fit
    from flan_jax.instructions.long_prompts import SETTING

    return {Fit.SHORTENED: ", shortened", Fit.TOO_LONG: f", longer than {SETTING}"}.get(
        Fit(fit), ""
    )


def _check_encoding(wanted: str | None, found: str) -> None:
    """Refuses to show what was registered earlier in this process with another encoding.

    Raises:
        DataError: that is so; a meta-encoding may stand for any other.
    """
    from flan_jax.errors import DataError

    if wanted not in (None, found, "meta"):
        raise DataError(
            f"the task was registered with the encoding {found!r} in this process, so "
            f"--encoding={wanted} comes too late"
        )


def _print_raw(prompt: str, count: int) -> None:
    """Prints a prompt byte for byte; a line break ends each one where several are asked for."""
    import sys

    sys.stdout.write(prompt if count == 1 else prompt + "\n")


def _print(
    example_id: str,
    template: str,
    lengths: str,
    prompt: str,
    target: str,
    references: Sequence[str],
) -> None:
    terminal.say(f"--- {example_id}  (template {template}{lengths})")
    terminal.say(f"[input]\n{prompt}\n[target]\n{target}")
    if len(references) > 1:
        terminal.say(f"[references]\n{chr(10).join(references)}")
    terminal.say()


def _print_learnt(example: Any) -> None:
    """Prints the turns of a conversation that a loss counts, as their tokens say them."""
    import itertools

    from flan_jax.instructions.vocabulary import VOCABULARY

    terminal.say("[learnt]")
    pairs = zip(example.targets, example.counted, strict=True)
    for counted, turn in itertools.groupby(pairs, key=lambda pair: pair[1]):
        if counted:
            terminal.say(VOCABULARY.decode([int(token) for token, _ in turn]))
    terminal.say()


def _check(args: argparse.Namespace) -> int:
    from flan_jax.errors import DataError, did_you_mean
    from flan_jax.instructions import cards, checks, long_prompts, lost_text
    from flan_jax.instructions.vocabulary import VOCABULARY

    entries = {
        card.name: entry
        for card in cards.cards(args.module)
        if (entry := checks.find(card.name)) is not None
    }
    for name in args.names:
        if name not in entries:
            hint = did_you_mean(name, entries)
            raise DataError(f"no entry {name!r} with templates or rows to check{hint}")
    if not entries:
        raise DataError("none of the imported modules has templates or rows to check")
    wrong = 0
    for name in args.names or entries:
        problems = entries[name].problems()
        for problem in problems:
            terminal.say(f"{name}: {problem}")
        wrong += bool(problems)
    if long_prompts.prompt_budget():
        names = args.names or entries
        counts_of = {name: long_prompts.count(entries[name].fits()) for name in names}
        for sentence in long_prompts.describe(counts_of):
            terminal.say(sentence)
    texts = (text for name in args.names or entries for text in entries[name].texts())
    counts, total = lost_text.lost(VOCABULARY.resolved, texts)
    if counts:
        terminal.say(lost_text.describe(VOCABULARY.spec, counts, total))
    checked = len(args.names or entries)
    terminal.say(f"{checked} entries checked, {wrong} with problems")
    return 1 if wrong else 0
