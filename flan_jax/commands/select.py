"""Choose tasks to train on from instructions alone.

flan-jax select --target "Add the numbers." --library=tasks.minilab -k 5 --out=manifest.json
flan-jax select --target-task=minilab_first_word --library=tasks.minilab --explain=why.html
flan-jax select --target "..." --library=super_ni:DIR -k 70 --encoder=all-MiniLM-L6-v2
flan-jax train ... --gin.MIXTURE_OR_TASK_NAME="'selected:manifest.json'"

flan-jax select align --library=tasks.minilab --base=FOLDER --out=DIR    # tune an encoder
flan-jax select evaluate --transfer=FILE.csv --library=tasks.minilab     # against true transfer
flan-jax select evaluate --paraphrases --library=tasks.minilab           # without any training
flan-jax select map --library=tasks.minilab --out=map.html               # look at a library
flan-jax select samples --library=tasks.minilab --out=samples.jsonl      # for --method=samples
flan-jax select study --out=runs/selection                               # does it help to train?
"""

import argparse
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common, selecting

TAKES_GIN = True
# Options that are a path; --library, --encoder and --base may be one.
PATHS = ("out", "explain", "samples", "sizes", "transfer", "paraphrases")
ACTIONS = {
    "align": "tune an encoder on a library",
    "evaluate": "compare scores with true transfer",
    "map": "draw a library",
    "samples": "write inputs of tasks, for --method=samples",
    "study": "train on what is selected, on random tasks and on all, and compare",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    actions = parser.add_subparsers(dest="action", metavar="{" + ",".join(ACTIONS) + "}")
    made = {name: actions.add_parser(name, help=text) for name, text in ACTIONS.items()}
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
    among = _add_library(parser)
    among.add_argument("--exclude", action="append", default=[], metavar="TASK", help="repeatable")
    among.add_argument(
        "--share-sources",
        action="store_true",
        help="tasks that share a dataset with the target may be chosen",
    )
    how = _add_scoring(parser)
    _add_choice(how)
    out = parser.add_argument_group("what comes out")
    out.add_argument("--out", type=common.path, metavar="FILE", help="write the manifest here")
    out.add_argument("--json", action="store_true", help="print the manifest")
    out.add_argument(
        "--explain", type=common.path, metavar="FILE.html", help="write a page that says why"
    )
    out.add_argument(
        "--show", type=common.whole(), help="tasks of the ranking to print (those chosen)"
    )
    out.add_argument("--rates", default="uniform", help="uniform, examples or softmax")
    out.add_argument(
        "--cap", type=common.whole(), help="with examples: most examples of a task that count"
    )
    out.add_argument(
        "--temperature", type=common.number(0, above=True), default=0.1, help="with softmax (0.1)"
    )
    _add_align(made["align"])
    _add_library(made["evaluate"])
    _add_scoring(made["evaluate"])
    _add_evaluate(made["evaluate"])
    _add_library(made["map"])
    _add_scoring(made["map"])
    made["map"].add_argument("--out", type=common.path, metavar="FILE.html", required=True)
    _add_library(made["samples"])
    made["samples"].add_argument("--out", type=common.path, metavar="FILE.jsonl", required=True)
    made["samples"].add_argument(
        "-n", type=common.whole(), default=32, help="inputs of each task (32)"
    )
    _add_study(made["study"])


def _add_library(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("among what")
    group.add_argument(
        "--library",
        metavar="LIBRARY",
        help="task module, FILE.jsonl, FILE.csv, super_ni:DIR or promptsource:DIR; several with "
        "commas",
    )
    group.add_argument(
        "--among",
        action="append",
        default=[],
        metavar="NAME",
        help="only these tasks of it: a mixture, a cluster or a task; repeatable",
    )
    group.add_argument(
        "--module",
        action="append",
        default=[],
        type=common.module,
        help="task module to import too, by name or file; repeatable",
    )
    return group


def _add_scoring(parser: argparse.ArgumentParser) -> Any:
    how = parser.add_argument_group("how")
    how.add_argument(
        "--encoder",
        type=common.path,
        help="lexical, name or folder of a sentence-transformers model, or t5:CHECKPOINT",
    )
    how.add_argument(
        "--aggregation",
        default="mean",
        help="of pairs of instructions: mean, max, top_p, centroid, rank_vote or round_robin",
    )
    how.add_argument(
        "--top-p",
        type=common.number(0, 1, above=True),
        default=0.25,
        help="share of the pairs (0.25)",
    )
    how.add_argument("--transform", default="none", help="none, center, whiten or within")
    return how


def _add_choice(how: Any) -> None:
    how.add_argument(
        "--method",
        default="instructions",
        help="instructions, or a baseline: random, all, samples or oracle",
    )
    how.add_argument(
        "--samples",
        type=common.path,
        metavar="FILE.jsonl",
        help="for samples: see `select samples`",
    )
    how.add_argument(
        "--transfer", type=common.path, metavar="FILE.csv", help="for oracle: source,target,score"
    )
    how.add_argument(
        "-k", type=common.whole(), help="number of tasks (5, unless another rule is given)"
    )
    how.add_argument("--combine", default="mean", help="of several targets: mean, max or turns")
    how.add_argument("--threshold", type=common.number(), help="least score")
    how.add_argument(
        "--z", type=common.number(), help="least score in standard deviations above chance"
    )
    how.add_argument("--most", type=common.whole(), help="most tasks that such a rule may choose")
    how.add_argument("--diversity", default="none", help="none, mmr or facility")
    how.add_argument(
        "--weight", type=common.number(0, 1), default=0.7, help="of score against diversity (0.7)"
    )
    how.add_argument("--per-cluster", type=common.whole(), help="most tasks of one cluster")
    how.add_argument("--budget", type=common.whole(), help="most tokens of all tasks together")
    how.add_argument(
        "--sizes", type=common.path, metavar="CSV", help="tokens of tasks: columns task,tokens"
    )
    how.add_argument("--bootstrap", type=common.whole(0), default=100, help="resamplings (100)")
    how.add_argument("--seed", type=common.SEED, default=0)


def _add_align(parser: argparse.ArgumentParser) -> None:
    _add_library(parser)
    parser.add_argument(
        "--base", type=common.path, help="name or folder of a sentence-transformers model"
    )
    parser.add_argument(
        "--out", type=common.path, metavar="DIR", help="folder for the aligned model"
    )
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="NAME",
        help="task or cluster that must not enter; repeatable",
    )
    parser.add_argument("--device", help="torch's name of a device (the best one there is)")
    common.add_gin_arguments(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transfer", type=common.path, metavar="FILE.csv", help="columns source,target,score"
    )
    parser.add_argument(
        "--paraphrases",
        nargs="?",
        type=lambda text: text and common.path(text),
        const="",
        metavar="FILE.jsonl",
        help="how often wordings find their own task: those of the file, a library of other "
        "wordings, or each instruction in turn, its task keeping the others",
    )
    parser.add_argument(
        "-k",
        action="append",
        type=common.whole(),
        default=[],
        help="of regret@k; repeatable (1, 3, 5, 10)",
    )
    parser.add_argument(
        "--level",
        type=common.number(0, 1, above=True),
        default=0.95,
        help="of the intervals (0.95)",
    )
    parser.add_argument("--seed", type=common.SEED, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="as JSON, with every target")


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=common.path,
        metavar="DIR",
        help="folder of runs, table and page (runs/selection)",
    )
    parser.add_argument("--fast", action="store_true", help="a few steps: to see that it runs")
    common.add_gin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Chooses, or does what was asked for."""
    from flan_jax import files

    for name in PATHS:
        if path := getattr(args, name, None):
            setattr(args, name, files.user_path(path))
    if args.action:
        from flan_jax.commands import select_actions

        return int(getattr(select_actions, f"run_{args.action}")(args))
    return _choose(args)


def _choose(args: argparse.Namespace) -> int:
    from flan_jax import files
    from flan_jax.errors import ConfigError
    from flan_jax.selector import explain, manifest, sources

    if not args.target and not args.target_task:
        raise ConfigError('which target? --target "Instruction.", or --target-task=NAME')
    for path in filter(None, (args.out, args.explain)):
        files.check_out(path)
    mixing = manifest.Mixing(args.rates, args.cap, args.temperature)
    parameters = _parameters(args)
    whole, library = selecting.load_library(args)
    if args.sizes:
        library = sources.with_sizes(library, args.sizes)
    targets = _targets(args, whole)
    selector = selecting.make_selector(args, library)
    choice = selector.select(targets, parameters, _given(args, selector, targets))
    for note in choice.notes:
        terminal.warn(note)
    encoder = selector.embedder.encoder
    made = manifest.make_manifest(choice, library, encoder, mixing)
    if args.out:
        manifest.write_manifest(args.out, made)
    if args.explain:
        files.replace_text(args.explain, explain.page(selector, choice))
    if args.json:
        terminal.say_json(made)
        return 0
    _print_table(args, selector, choice)
    if args.out:
        terminal.say(
            f"wrote {args.out}; train on it with --gin.MIXTURE_OR_TASK_NAME=selected:{args.out}"
        )
    return 0


def _parameters(args: argparse.Namespace) -> Any:
    from flan_jax.selector.parameters import Parameters

    other_rule = any(rule is not None for rule in (args.threshold, args.z, args.budget))
    threshold = args.threshold
    if args.method == "all" and args.k is None and not other_rule:
        threshold, other_rule = 0.0, True  # every task has score 1
    same = (
        "method", "aggregation", "top_p", "transform", "combine", "z", "most", "diversity",
        "weight", "per_cluster", "budget", "share_sources", "bootstrap", "seed",
    )  # fmt: skip
    return Parameters(
        k=args.k if args.k is not None or other_rule else 5,
        threshold=threshold,
        exclude=tuple(args.exclude),
        **{name: getattr(args, name) for name in same},
    )


def _given(args: argparse.Namespace, selector: Any, targets: list[Any]) -> list[Any] | None:
    """Returns the scores of a baseline for each target, or None where instructions decide.

    Raises:
        FlanJaxError: what the baseline looks at is missing or wrong.
    """
    from flan_jax.errors import ConfigError
    from flan_jax.selector import baselines, transfer

    names = list(selector.library.by_name)
    for method, option in (("samples", args.samples), ("oracle", args.transfer)):
        flag = "--samples=FILE.jsonl" if method == "samples" else "--transfer=FILE.csv"
        if (args.method == method) != (option is not None):
            raise ConfigError(f"--method={method} and {flag} go together")
    if args.method == "random":
        return [dict(baselines.random_tasks(names, seed=args.seed))] * len(targets)
    if args.method == "all":
        return [dict(baselines.all_tasks(names))] * len(targets)
    if args.method == "oracle":
        table = transfer.read_transfer(args.transfer)
        return [dict(baselines.oracle(table, target.label)) for target in targets]
    if args.method == "samples":
        samples = baselines.read_samples(args.samples)
        return [
            baselines.sample_scores(samples, target.label, names, selector.embedder.embed)
            for target in targets
        ]
    return None


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


def _print_table(args: argparse.Namespace, selector: Any, choice: Any) -> None:
    """Prints the ranking: the chosen tasks, or the first `--show`."""
    from flan_jax.selector import explain

    nearest = explain.nearest_of(selector, choice)
    rows = explain.explain(choice, selector.library, nearest, args.show or 0)
    stability = {chosen.task: chosen.stability for chosen in choice.selected}
    lines = [("", "task", "score", "pct", "margin", "stable", "cluster", "nearest instruction")]
    for row in rows:
        stable = stability.get(row.task)
        lines.append(
            (
                f"{row.place}{'*' if row.chosen and args.show else ''}",
                row.task,
                f"{row.score:.3f}",
                f"{row.percentile:.0f}",
                "" if row.margin is None else f"{row.margin:.3f}",
                "" if stable is None else f"{stable:.0%}",
                row.cluster or "",
                row.instruction or row.note,
            )
        )
    table = terminal.table(box=None, pad_edge=False)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, width in zip(lines[0], widths, strict=True):
        number = name in ("", "score", "pct", "margin", "stable")
        # Where a line is too short, names lose their ends and numbers none of their digits.
        least = width if number else None
        justify = "right" if number else "left"
        table.add_column(name, justify=justify, no_wrap=True, min_width=least)
    # What is left of the line is the instruction's.
    console = terminal.console()
    left = max(console.width - sum(widths[:-1]) - 2 * len(widths), 20)
    for line in lines[1:]:
        table.add_row(*line[:-1], _short(line[-1], left))
    console.print(table)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
