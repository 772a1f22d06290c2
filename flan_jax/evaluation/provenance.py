"""What made the results of an evaluation: so that a table can be made again, or told from another.

Nothing of it depends on when or where an evaluation ran, so that one that was killed and started
again leaves the same file.
"""

import functools
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import flan_jax
from flan_jax import json_files
from flan_jax.data.prepare import PreparedMixture
from flan_jax.instructions.vocabulary import VOCABULARY, vocabulary_fingerprint
from flan_jax.modules import ROOT
from flan_jax.scoring import report

_LIBRARIES = ("jax", "flax", "seqio", "tensorflow", "transformers")


def of_evaluation(
    weights: Any, asked: Mapping[str, Any], mixture: PreparedMixture
) -> dict[str, Any]:
    """Returns what shaped the results of a checkpoint on a mixture.

    Args:
        weights: what tells the weights from others; None of an untrained model.
        asked: settings of the prompts, such as the split.
        mixture: what was asked.

    Returns:
        "weights": digest of them; "vocabulary": its name and fingerprint; `asked`; "tasks": by
        task the fingerprint of what shaped its examples; "versions" of this package, Python and
        libraries; "commit" of a checkout of this package; "scores_format", which changes whenever
        the same answers get other scores.
    """
    return {
        "weights": None if weights is None else _digest(weights),
        "vocabulary": [VOCABULARY.spec, vocabulary_fingerprint(VOCABULARY.spec)],
        **asked,
        "tasks": mixture.recipes,
        "versions": versions(),
        "commit": commit(),
        "scores_format": report.SCORES_FORMAT,
    }


def _digest(facts: Any) -> str:
    return hashlib.sha256(json_files.dumps(facts).encode()).hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of this package, of Python, and of the libraries that are there."""
    found = {"flan-jax": flan_jax.__version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """Returns the commit of the checkout that runs, "+" behind it where files differ from it.

    None where the package is no checkout of its own, or git is missing.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout.strip()
