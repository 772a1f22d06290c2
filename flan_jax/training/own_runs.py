"""What runs of this machine were given that a checkpoint does not hold: folders of data.

Whoever trains on `--gin.SUPER_NI_DIR=...` evaluates that run without naming the folder again. It
cannot come from the checkpoint, which may be somebody else's and would choose what is read here.
So a run leaves a note among the user's own files, under an unguessable name that its checkpoints
hold, and the note counts for the MODEL_DIR that it was written for alone.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from flan_jax import files, json_files, settings
from flan_jax.errors import FlanJaxError

# Settings that are remembered; all name places.
REMEMBERED = (
    "SUPER_NI_DIR", "SUPER_NI_TASKS", "NI_V1_DIR", "BBH_DIR", "BIGBENCH_DIR", "PROMPTSOURCE_DIR",
    "P3_DATA_DIR", "FLAN_TEMPLATES", "TFDS_DATA_DIR", "PREPARED_DIR",
)  # fmt: skip
# ... and what the frozen weights of a tuned model were read from.
BASE = "BASE_CHECKPOINT_PATH"
_ID = re.compile(r"[0-9a-f]{32}")
_MOST = 1000


def folder() -> Path:
    """Returns the folder of notes: `flan_jax/runs` in XDG_STATE_HOME, or in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "flan_jax" / "runs"


def remember(
    model_dir: str, before: Mapping[str, Any] | None = None, base: str | None = None
) -> str:
    """Notes what the run in `model_dir` was given, and returns the name of the note.

    Args:
        model_dir: directory of the run.
        before: what the checkpoint says of the run that this one continues.
        base: what its frozen weights are read from, where it has any.

    Raises:
        OutputError: nothing can be written there.
    """
    known = str((before or {}).get("run_id", ""))
    name = known if recall({"run_id": known}, model_dir) is not None else secrets.token_hex(16)
    given = {**{key: settings.setting(key) for key in REMEMBERED}, BASE: base}
    note = {
        "model_dir": _real(model_dir),
        "settings": {key: _place(str(value)) for key, value in given.items() if value},
    }
    _forget_oldest(files.make_folder(folder()))
    json_files.write_json(folder() / f"{name}.json", note)
    return name


def recall(run: Mapping[str, Any], checkpoint: epath.PathLike) -> dict[str, str] | None:
    """Returns what a run was given on this machine; None where it is not known to be from here.

    Args:
        run: what a checkpoint says of its run.
        checkpoint: where that lies.
    """
    name = run.get("run_id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        return None
    try:
        note = json_files.Fields(name, json_files.read_json(folder() / f"{name}.json"))
        place, given = note.text("model_dir"), note.inner("settings")
        if os.path.commonpath([place, _real(checkpoint)]) != place:
            return None
        return {key: given.text(key) for key in (*REMEMBERED, BASE) if key in given.object}
    except (FlanJaxError, ValueError):
        return None


def _real(path: epath.PathLike) -> str:
    return os.fspath(path) if files.is_remote(path) else os.path.realpath(path)


def _place(value: str) -> str:
    """A path that means the same wherever one stands.

    It may be a name instead (SUPER_NI_TASKS), have a prefix (hf:FOLDER) or end in a step (RUN@9).
    """
    prefix, colon, rest = value.partition(":")
    if colon and prefix.isalnum() and not rest.startswith("//"):
        return f"{prefix}:{_place(rest)}"
    folder, at, step = value.rpartition("@") if "@" in value else (value, "", "")
    if files.is_remote(value) or not (os.path.exists(folder) or os.path.exists(value)):
        return value
    return (
        os.path.abspath(value) if os.path.exists(value) else f"{os.path.abspath(folder)}{at}{step}"
    )


def _forget_oldest(notes: epath.Path) -> None:
    """Keeps the folder small: runs come and go, and nobody would tidy up after them."""
    with contextlib.suppress(OSError):
        by_age = sorted(Path(notes).glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in by_age[:-_MOST]:
            path.unlink()
