"""The manifest that proves a checkpoint whole: size and SHA-256 of every file.

Orbax alone restores flipped bits silently and reports a truncated file in thousands of lines.
"""

import hashlib
import json

from etils import epath

from flan_jax.files import replace_text

MANIFEST = "MANIFEST.json"


def _hash_file(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def manifest_files(folder: epath.Path) -> list[epath.Path]:
    """Returns all files below a folder but the manifest; epath has no recursive glob."""
    found = []
    for path in sorted(folder.iterdir()):
        found += manifest_files(path) if path.is_dir() else [path]
    return [path for path in found if MANIFEST not in path.name]


def write_manifest(path: epath.Path) -> None:
    """Records size and hash of every file of a finished checkpoint, atomically."""
    files = {
        str(file.relative_to(path)): {"size": file.stat().length, "sha256": _hash_file(file)}
        for file in manifest_files(path)
    }
    replace_text(path / MANIFEST, json.dumps(files, indent=1))


def verify(path: epath.PathLike, *, weights_only: bool = False, hashes: bool = True) -> str | None:
    """Returns what is wrong with a checkpoint's files, or None; None where there is no manifest.

    Args:
        path: directory of the checkpoint.
        weights_only: leave out the optimizer's state, often two thirds of the bytes.
        hashes: compare hashes, which reads every byte, beside presence and size.
    """
    path = epath.Path(path)
    manifest = path / MANIFEST
    if not manifest.exists():
        return None
    try:
        files = dict(json.loads(manifest.read_text()))
        for name, facts in files.items():
            if weights_only and name.startswith("optimizer/"):
                continue
            if why := _differs(path / name, facts, hashes):
                return f"{name} {why}"
    except FileNotFoundError as error:  # a running trainer may remove what another program reads
        return f"a file vanished while it was read: {error}"
    except (ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} is damaged: {error}"
    return None


def _differs(file: epath.Path, facts: dict[str, int | str], hashes: bool) -> str | None:
    if not file.exists():
        return "is missing"
    if (size := file.stat().length) != facts["size"]:
        return f"has {size} of {facts['size']} bytes"
    if hashes and _hash_file(file) != facts["sha256"]:
        return "does not match its hash"
    return None


def why_not_proven(path: epath.Path) -> str | None:
    """Returns why a checkpoint cannot be counted on, or None.

    Cheap: presence of a manifest and sizes of files, not a byte of an array. It decides what may
    be removed at every save, and truncated or missing files are what a full disk or a kill
    leaves. Flipped bits are found by `verify` when the checkpoint is read.
    """
    if not (path / MANIFEST).exists():
        return "it has no manifest"
    return verify(path, hashes=False)
