"""Score anybody's predictions, with no model and no accelerator.

flan-jax score --predictions=predicted_examples.jsonl --references=natural-instructions
flan-jax score --predictions=a.jsonl --predictions=b.jsonl --references=test_references.jsonl --json

Formats: leaderboard (JSONL of id, prediction), tk_instruct (predicted_examples.jsonl), ni_v1 (the
first release's predictions.json), bbh (outputs published for BIG-Bench Hard, or their folder),
flan_jax (predictions.jsonl of `flan-jax eval`, or its folder).
References: a Super-NaturalInstructions folder (its test split), JSONL of id, references, task_id,
task_category, track, or the first release's folder dataset_jsons. What is missing counts as empty.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common

_WORDS = {"rougeL": "ROUGE-L", "exact_match": "exact match"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "--predictions",
        required=True,
        action="append",
        type=common.path,
        metavar="FILE",
        help="may come repeatedly",
    )
    add_scoring_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, unrounded")


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what predictions of elsewhere are read and scored by."""
    parser.add_argument(
        "--references",
        type=common.path,
        metavar="FOLDER_OR_FILE",
        help="may be left out where predictions carry their own (tk_instruct, bbh, flan_jax)",
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", "leaderboard", "tk_instruct", "ni_v1", "bbh", "flan_jax"),
        help="of the predictions (default: auto)",
    )
    parser.add_argument("--track", default="default", choices=("default", "xlingual"))
    parser.add_argument(
        "--tokenizer",
        type=common.path,
        metavar="FOLDER_OR_FILE",
        help="GPT-2's tokenizer.json, or a folder with it or with vocab.json and merges.txt; the "
        "cross-lingual track needs it",
    )
    parser.add_argument(
        "--bootstrap",
        type=common.whole(0),
        default=1000,
        help="samples for intervals (default: 1000)",
    )
    parser.add_argument("--seed", type=common.SEED, default=0, help="of the samples (default: 0)")
    parser.add_argument(
        "--processes", type=common.whole(), help="default: as many as there are cores"
    )


def run(args: argparse.Namespace) -> int:
    """Scores."""
    summary, said = _score(args)
    for note in said:
        terminal.warn(note)
    if args.json:
        terminal.say_json(summary)
    else:
        from flan_jax.scoring import report

        # Of several systems, a mean over all of them says nothing.
        if len(args.predictions) > 1:
            report.print_table(summary, "by_prediction_set", total=False)
        else:
            report.print_tables(summary)
        counts = summary["ids"].items()
        terminal.say(", ".join(f"{what.replace('_', ' ')} {count:,}" for what, count in counts))
    return 0


def _score(args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Returns the summary and what is to be said beside it."""
    from flan_jax.scoring import prediction_files, summaries
    from flan_jax.scoring.references import read_references

    summaries.import_rouge_quickly()
    tokenizer, bootstrap = tokenizer_of(args), summaries.Bootstrap(args.bootstrap, args.seed)
    sets, formats = _read_all(args)
    if args.references:
        references = read_references(args.references, args.track)
    else:
        references = prediction_files.carried_references(sets)
    matched = [prediction_files.match(one, references, carried=not args.references) for one in sets]
    prediction_files.check_overlap(matched, references)
    scored = [found for one in matched for found, _ in one.pairs]
    scores = summaries.score_pairs(
        [(said, found.references) for one in matched for found, said in one.pairs],
        published=[found.published for found in scored],
        tokenizer=tokenizer,
        processes=args.processes,
    )
    wordless = summaries.wordless(scored, tokenizer)
    by_set = len(sets) > 1 or "ni_v1" in formats
    summary = summaries.summarize(references.name, matched, scores, bootstrap, by_set=by_set)
    summary |= {
        "track": args.track,
        "format": ", ".join(formats),
        "ids": prediction_files.counts(matched),
        "absent_tasks": list(references.absent_tasks),
        "normalise_to_nothing": {metric: len(texts) for metric, texts in wordless.items()},
    }
    notes = prediction_files.notes(matched)
    notes += _wordless_notes(wordless)
    if idle := len(references.by_task) - len(summary["by_task"]):
        notes.append(f"{idle} tasks of {args.references} have no prediction and are not scored")
    if references.absent_tasks:
        absent = len(references.absent_tasks)
        notes.append(f"{args.references} lacks {absent} test tasks of the track {args.track}")
    if tokenizer and (note := summaries.tokenizer_note(tokenizer)):
        notes.append(note)
    return summary, notes


def _wordless_notes(wordless: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a sentence on references of which a metric leaves nothing."""
    if not any(wordless.values()):
        return []
    counted = ", ".join(f"{len(texts):,} for {_WORDS[name]}" for name, texts in wordless.items())
    examples = dict.fromkeys(text[:20] for texts in wordless.values() for text in texts[:3])
    shown = ", ".join(repr(text) for text in examples)
    return [
        f"references that normalise to nothing, and are compared as they stand: {counted} ({shown})"
    ]


def tokenizer_of(args: argparse.Namespace) -> str | None:
    """Returns the tokenizer of the cross-lingual track, None for English.

    Raises:
        ConfigError: it is needed and not given, or given and not needed.
    """
    from flan_jax.errors import ConfigError
    from flan_jax.scoring import summaries

    if args.track == "default":
        if args.tokenizer:
            raise ConfigError("--tokenizer goes with --track=xlingual")
        return None
    if not args.tokenizer:
        raise ConfigError(summaries.HOW_TO_GET)
    summaries.load_tokenizer(args.tokenizer)
    return str(args.tokenizer)


def _read_all(args: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """Returns the prediction sets of all files, and their formats."""
    import dataclasses

    from flan_jax.errors import ConfigError
    from flan_jax.scoring import prediction_files

    if len(set(args.predictions)) != len(args.predictions):
        raise ConfigError("--predictions names a file twice")
    sets, formats = [], []
    for path in args.predictions:
        found, found_format = prediction_files.read_predictions(path, args.format)
        formats.append(found_format)
        if len(args.predictions) > 1:
            names = [path if len(found) == 1 else f"{path}: {one.name}" for one in found]
            found = [
                dataclasses.replace(one, name=name) for one, name in zip(found, names, strict=True)
            ]
        sets += found
    return sets, list(dict.fromkeys(formats))
