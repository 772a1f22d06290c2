"""Checkpoints: Orbax directories, with a manifest that proves them whole.

    MODEL_DIR/checkpoints/<step>/
        params/ optimizer/   arrays, in Orbax's own format
        run/metadata         JSON: step, data position and digest, fingerprint, macros
        MANIFEST.json        size and SHA-256 of every file

Orbax writes beside the final place and renames, so a step that exists is complete. The manifest
is added after that: Orbax alone restores flipped bits silently and reports a truncated file in
thousands of lines. A step without a manifest (killed between rename and manifest) counts as
whole as long as it can be restored.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax.errors import CheckpointError

FOLDER = "checkpoints"
MANIFEST = "MANIFEST.json"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Found:
    """A checkpoint on disk.

    Attributes:
        step: number of finished steps.
        path: its directory.
        run: what it says of the run, see `read_run`.
    """

    step: int
    path: epath.Path
    run: dict[str, Any]


def list_steps(model_dir: str) -> list[int]:
    """Returns the steps of all checkpoints of a run, newest first."""
    folder = epath.Path(model_dir) / FOLDER
    if not folder.exists():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def read_run(path: epath.Path) -> dict[str, Any]:
    """Returns the JSON part of a checkpoint, without reading a tensor.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        run = json.loads((path / "run" / "metadata").read_text())
        run["step"], run["fingerprint"], run["macros"]  # noqa: B018
        return run
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"run/metadata: {type(error).__name__}: {error}") from None


def _hash_file(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: epath.Path) -> list[epath.Path]:
    """All files below a folder but the manifest; epath has no recursive glob."""
    found = []
    for path in sorted(folder.iterdir()):
        found += _files(path) if path.is_dir() else [path]
    return [path for path in found if MANIFEST not in path.name]


def write_manifest(path: epath.Path) -> None:
    """Records size and hash of every file of a finished checkpoint, atomically."""
    files = {
        str(file.relative_to(path)): {"size": file.stat().length, "sha256": _hash_file(file)}
        for file in _files(path)
    }
    scratch = path / f".{MANIFEST}.tmp"
    scratch.write_text(json.dumps(files, indent=1))
    scratch.rename(path / MANIFEST)


def verify(path: epath.PathLike) -> str | None:
    """Returns what is wrong with a checkpoint's files, or None."""
    path = epath.Path(path)
    manifest = path / MANIFEST
    if not manifest.exists():
        return None
    try:
        files = dict(json.loads(manifest.read_text()))
        for name, facts in files.items():
            file = path / name
            if not file.exists():
                return f"{name} is missing"
            if file.stat().length != facts["size"]:
                return f"{name} has {file.stat().length} of {facts['size']} bytes"
            if _hash_file(file) != facts["sha256"]:
                return f"{name} does not match its hash"
    except (ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} is damaged: {error}"
    return None


def find(directory: str, report: Callable[[str], None] = log.warning) -> Found | None:
    """Returns the newest sound checkpoint of a run, or None where there is none at all.

    Args:
        directory: a MODEL_DIR, or the directory of one checkpoint.
        report: called with what was passed over and why.

    Raises:
        CheckpointError: there are checkpoints and none of them is sound.
    """
    given = epath.Path(directory)
    if (given / "run" / "metadata").exists():
        if why := verify(given):
            raise CheckpointError(f"checkpoint {given} is damaged: {why}")
        run = read_run(given)
        return Found(int(run["step"]), given, run)
    steps = list_steps(directory)
    for step in steps:
        path = given / FOLDER / str(step)
        why = verify(path)
        if why is None:
            try:
                return Found(step, path, read_run(path))
            except CheckpointError as error:
                why = str(error)
        report(f"checkpoint {path} is damaged ({why}): trying the one before")
    if steps:
        raise CheckpointError(f"none of the checkpoints in {given / FOLDER} is sound")
    return None


def require(directory: str, report: Callable[[str], None] = log.warning) -> Found:
    """`find`, where there has to be one.

    Raises:
        CheckpointError: there is none.
    """
    found = find(directory, report)
    if found is None:
        hint = "" if epath.Path(directory).exists() else " (no such directory)"
        raise CheckpointError(f"no checkpoint in {directory}{hint}")
    return found


def _restore(path: epath.Path, target: Any) -> Any:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        try:
            return checkpointer.restore(path, target)
        except Exception as error:
            first = str(error).strip().splitlines()[0][:300]
            raise CheckpointError(f"{path} cannot be restored: {first}") from error


def restore_params(path: epath.Path, target: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Returns parameters as `target` (shapes, dtypes, shardings by name) wants them.

    Raises:
        CheckpointError: another set of names or shapes, which are named, or damaged files.
    """
    stored = stored_shapes(path)
    for name in sorted(set(stored) | set(target)):
        ours = tuple(target[name].shape) if name in target else None
        theirs = stored.get(name)
        if ours != theirs:
            raise CheckpointError(
                f"{path}: parameter {name} has shape {theirs} there and {ours} in this model"
            )
    return _restore(path / "params", dict(target))


def stored_shapes(path: epath.Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every stored parameter.

    Raises:
        CheckpointError: the directory is damaged.
    """
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        try:
            metadata = checkpointer.metadata(path / "params")
            tree = getattr(metadata, "item_metadata", metadata)
            return {name: tuple(leaf.shape) for name, leaf in dict(tree).items()}
        except Exception as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error


def restore_optimizer(path: epath.Path, target: Any) -> Any:
    """Returns the optimizer's state as `target` wants it.

    Raises:
        CheckpointError: it does not fit, or is damaged.
    """
    return _restore(path / "optimizer", target)


def load_params_on_host(path: epath.Path) -> dict[str, np.ndarray]:
    """Returns all parameters as NumPy arrays, whatever mesh they were saved from."""
    import orbax.checkpoint as ocp

    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    with ocp.StandardCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(path / "params")
    tree = dict(getattr(metadata, "item_metadata", metadata))
    target = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in tree.items()
    }
    return {k: np.asarray(v) for k, v in _restore(path / "params", target).items()}


def set_aside(model_dir: str, newer_than: int, report: Callable[[str], None]) -> None:
    """Renames checkpoints that were passed over, so that their steps can be saved again."""
    for step in list_steps(model_dir):
        if step > newer_than:
            path = epath.Path(model_dir) / FOLDER / str(step)
            aside = path.parent / f"damaged-{step}-{int(time.time())}"
            path.rename(aside)
            report(f"set aside {path} as {aside.name}")


class Saver:
    """Writes checkpoints of one run in the background and keeps the newest few."""

    def __init__(self, model_dir: str, keep: int):
        """Args:
        model_dir: directory of the run.
        keep: number of checkpoints to keep.
        """
        import orbax.checkpoint as ocp

        self._folder = epath.Path(model_dir).resolve() / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=max(keep, 1), cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._unproved: int | None = None
        self._proof: concurrent.futures.Future[None] | None = None

    def save(self, step: int, params: Any, optimizer: Any, run: Mapping[str, Any]) -> None:
        """Starts to save; waits for the save before, should it still be under way."""
        import orbax.checkpoint as ocp

        self._finish()
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                optimizer=ocp.args.StandardSave(optimizer),
                run=ocp.args.JsonSave(dict(run)),
            ),
            force=True,
        )
        self._unproved = step

    def poll(self) -> None:
        """Adds the manifest of a save that has ended; cheap, to be called every step."""
        if self._unproved is not None and not self._manager.is_saving_in_progress():
            self._finish()

    def _finish(self) -> None:
        if self._unproved is None:
            return
        self._manager.wait_until_finished()
        step, self._unproved = self._unproved, None
        if self._proof is not None:
            self._proof.result()
        if jax.process_index() == 0:
            self._proof = self._pool.submit(self._prove, self._folder / str(step))

    @staticmethod
    def _prove(path: epath.Path) -> None:
        try:
            write_manifest(path)
        except FileNotFoundError as error:  # retention has removed it meanwhile
            log.info("no manifest for %s: %s", path, error)

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._finish()
        if self._proof is not None:
            self._proof.result()
        self._pool.shutdown(wait=True)
        self._manager.close()
