"""The card of an aligned encoder: what it was trained on, and what never entered."""

import json
import os
from collections.abc import Mapping
from typing import Any

_LOSSES = {
    "cosine": "squared error of the cosine of labelled pairs",
    "ranking": "multiple-negatives ranking with a guard against false negatives",
}


def render(record: Mapping[str, Any]) -> str:
    """Returns the README.md of an aligned encoder.

    Args:
        record: what `align` writes to `alignment.json`.
    """
    parameters = record["parameters"]
    return "\n".join(
        [
            *_front(record),
            "# An encoder of task instructions",
            "",
            f"{_what(record)}, aligned so that instructions of one task lie together and those "
            "of different tasks apart (the task selector of Lee et al. 2024, arXiv 2404.16418), by "
            "flan-jax. No instance of any task was used.",
            "",
            "    from sentence_transformers import SentenceTransformer",
            '    SentenceTransformer("THIS FOLDER").encode(["Decide whether ... is sarcastic."])',
            "",
            "## Training",
            "",
            f"- Library: {record['library']}, {len(record['tasks'])} tasks with "
            f"{record['instructions']} instructions; SHA-256 {record['library_hash']}.",
            f"- Held out: {_list(record['held_out'])}. "
            f"{record['instructions_shared_with_held_out']} instructions of other tasks that "
            "equal one of these, but for case and a full stop, were left out too.",
            f"- Loss: {_LOSSES[parameters['loss']]}, {parameters['epochs']} epochs; means "
            f"{', '.join(f'{loss:.4f}' for loss in record['losses'])}.",
            f"- Pairs: {', '.join(f'{n} {name}' for name, n in record['pairs'].items())}.",
            f"- Weights: {record['weights']:,} numbers; those of the base: SHA-256 "
            f"{record['base_hash']}.",
            f"- Parameters: `{json.dumps(parameters)}`",
            "",
            "## Result",
            "",
            "Share of these instructions whose nearest other one is of their task, measured on "
            f"what it was trained on: {_share(record['found_before'])} by the base"
            f"{_untrained(record)}, {_share(record['found_after'])} after alignment.",
            "",
            "## Tasks trained on",
            "",
            _list(record["tasks"]),
            "",
        ]
    )


def _front(record: Mapping[str, Any]) -> list[str]:
    base = (
        []
        if os.path.isdir(os.path.expanduser(record["base"]))
        else [f"base_model: {json.dumps(record['base'])}"]
    )
    return [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        *base,
        "tags: [sentence-transformers, sentence-similarity, feature-extraction, task-selection]",
        "---",
        "",
    ]


def _what(record: Mapping[str, Any]) -> str:
    student = record["parameters"]["student"]
    if student is None:
        return f"`{record['base']}`"
    return (
        f"A {student} student of `{record['base']}` (a vector a token, the mean of which is a "
        "text's; see flan_jax/selector/student.py)"
    )


def _untrained(record: Mapping[str, Any]) -> str:
    if record["parameters"]["student"] is None:
        return ""
    return f", {_share(record['found_by_student_before'])} by the student before alignment"


def _list(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing"


def _share(value: float | None) -> str:
    return "not defined" if value is None else f"{100 * value:.1f} %"
