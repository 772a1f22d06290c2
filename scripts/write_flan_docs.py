"""Writes the generated parts of docs/flan.md from the tasks themselves.

    python scripts/write_flan_docs.py            # rewrites; a test compares

A generated part stands between `<!-- NAME -->` and `<!-- end NAME -->`.
"""

import argparse
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable
from unittest import mock

from flan_jax.instructions import cards, datasets
from flan_jax.instructions.datasets import Dataset
from tasks import flan

DOCS = pathlib.Path(__file__).parent.parent / "docs/flan.md"
# One of each kind: what a classification, one with options of its own, and a generation look like.
SHOWN = ("rte", "copa", "squad_v1", "wmt16_translate_deen")


def entries() -> str:
    """Returns the table of all entries."""
    lines = ["| entry | cluster | paper's | TFDS | answers | turned | licence |"]
    lines.append("|" + "---|" * 7)
    for dataset in flan.DATASETS:
        answers = "own options" if dataset.own_options else ", ".join(dataset.options) or "text"
        paper = dataset.attributes["paper_cluster"]
        turned = sum(template.reversed for template in dataset.templates)
        cells = [
            f"`{dataset.name}`", dataset.cluster, "" if paper == dataset.cluster else paper,
            f"`{dataset.tfds}`", answers, str(turned), _short(dataset.licence),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def decisions() -> str:
    """Returns what was decided of each dataset's defects."""
    notes: dict[str, list[str]] = {}
    for dataset in flan.DATASETS:
        if dataset.notes:
            notes.setdefault(dataset.notes, []).append(f"`{dataset.name}`")
    return "\n".join(f"* {', '.join(names)}: {text}" for text, names in notes.items())


def mixtures() -> str:
    """Returns the number of members of some mixtures."""
    import seqio

    names = sorted(seqio.MixtureRegistry.names())
    found = []
    for name in names:
        if re.fullmatch(r"flan_(all|except_[a-z_]+|train_\dclusters|[a-z_]+_eval)", name) and not (
            re.search(r"_(fewshot|notemplate|name|rank)", name)
        ):
            found.append((name, len(seqio.MixtureRegistry.get(name).tasks)))
    lines = ["| mixture | tasks |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {count} |" for name, count in found)])


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _rendered(task: str, **settings: str) -> tuple[str, str]:
    with mock.patch.dict(os.environ, settings):
        _, out = datasets.render_samples(task)[0]
    return out.inputs, out.targets


def _example(task: str, **settings: str) -> str:
    inputs, targets = _rendered(task, **settings)
    return _block(f"{inputs}\n→ {targets}")


def _one(dataset: Dataset) -> str:
    """The raw row, and all that becomes of it."""
    entry = f"flan_{dataset.name}"
    made_from = datasets.find_registered(entry)
    assert made_from is not None
    parts = [f"### {dataset.title}", dataset.instruction]
    row = json.dumps(made_from.samples[0], ensure_ascii=False, indent=1)
    parts += ["A raw row (ours, in the shape of TFDS):", f"```json\n{row}\n```", "Ten templates:"]
    shown = []
    for name, template in dataset.named_templates.items():
        inputs, targets = _rendered(f"{entry}_{name}")
        mark = ", turned around" if template.reversed else ""
        shown.append(f"[{name}{mark}]\n{inputs}\n→ {targets}")
    parts.append(_block("\n\n".join(shown)))
    parts += ["The ablations, `_notemplate` and `_name`:"]
    parts += [_example(f"{entry}_notemplate"), _example(f"{entry}_name")]
    return "\n\n".join(parts)


def examples() -> str:
    """Returns the showcase."""
    by_name = {dataset.name: dataset for dataset in flan.DATASETS}
    return "\n\n".join(_one(by_name[name]) for name in SHOWN)


def forms() -> str:
    """Returns one prompt in all forms of OPTIONS."""
    parts = []
    for settings in (
        {},
        {"OPTIONS_STYLE": "letters"},
        {"OPTIONS_STYLE": "letters", "OPTIONS_TARGET": "label"},
        {"OPTIONS_STYLE": "numbers", "OPTIONS_TARGET": "label", "OPTIONS_ORDER": "shuffled"},
        {"OPTIONS_STYLE": "none"},
    ):
        said = ", ".join(f"`{name}={value}`" for name, value in settings.items())
        parts += [f"{said or 'The default'}:", _example("flan_ag_news_subset_t0", **settings)]
    return "\n\n".join(parts)


def fewshot() -> str:
    """Returns one few-shot prompt."""
    return _example("flan_copa_fewshot", FEWSHOT_EXEMPLARS="2")


PARTS: dict[str, Callable[[], str]] = {
    "entries": entries,
    "decisions": decisions,
    "mixtures": mixtures,
    "forms": forms,
    "fewshot": fewshot,
    "examples": examples,
}


def filled(text: str) -> str:
    """Returns the page with its generated parts anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- end {name} -->", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"docs/flan.md has no part {name!r}")
        start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        before, after = pattern.split(text)
        text = f"{before}{start}{make()}\n{end}{after}"
    return text


def main() -> int:
    """Rewrites, or compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it would")
    args = parser.parse_args()
    assert cards.card_names()
    old = DOCS.read_text()
    new = filled(old)
    if not args.check:
        DOCS.write_text(new)
    return int(args.check and new != old)


if __name__ == "__main__":
    sys.exit(main())
