"""Checkpoints: Orbax directories, with a manifest that proves them whole.

    MODEL_DIR/checkpoints/<step>/
        params/ optimizer/   arrays, in Orbax's own format
        run/metadata         JSON: step, data position and digest, fingerprint, macros, metrics
        MANIFEST.json        size and SHA-256 of every file

Orbax writes beside the final place and renames, so a step that exists is complete. The manifest
is added after that, see `manifest`. A step without one (killed between rename and manifest)
counts as whole as long as it can be restored.

People name a checkpoint as MODEL_DIR (its newest), MODEL_DIR@1200, MODEL_DIR@best or
MODEL_DIR/checkpoints/1200.
"""

import concurrent.futures
import dataclasses
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax.config import packaged
from flan_jax.errors import CheckpointError, ConfigError, did_you_mean
from flan_jax.training import retention as retention_lib
from flan_jax.training.manifest import (
    MANIFEST,
    manifest_files,
    verify,
    why_not_proven,
    write_manifest,
)
from flan_jax.training.retention import Known, Retention

FOLDER = "checkpoints"
NEWEST = "newest"
BEST = "best"
_REMOVED = "removed-"
# Macros that name places of the machine a run was made on.
_LOCAL_MACROS = ("MODEL_DIR", "PREPARED_DIR", "INITIAL_CHECKPOINT_PATH", "TFDS_DATA_DIR")
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


def find(
    directory: str,
    report: Callable[[str], None] = log.warning,
    which: str | int = NEWEST,
    weights_only: bool = False,
) -> Found | None:
    """Returns a sound checkpoint of a run, or None where there is none at all.

    Args:
        directory: a MODEL_DIR, or the directory of one checkpoint.
        report: called with what was passed over and why.
        which: NEWEST; BEST by the run's own BEST_METRIC; or a step. What is damaged is passed
            over for the next newest or next best; nothing stands in for a step.
        weights_only: do not read the optimizer's files to see whether they are sound.

    Raises:
        CheckpointError: there are checkpoints, and none of those asked for is sound.
    """
    # Orbax reads no metadata through a relative path, and says nothing of it.
    given = epath.Path(directory if "://" in directory else os.path.abspath(directory))
    if (given / "run" / "metadata").exists():
        return _open(given, weights_only)
    steps = _candidates(directory, which)
    for step in steps:
        try:
            return _open(given / FOLDER / str(step), weights_only)
        except CheckpointError as error:
            if isinstance(which, int):
                raise
            report(f"{error}: trying the {'next best' if which == BEST else 'one before'}")
    if steps:
        raise CheckpointError(f"none of the checkpoints in {given / FOLDER} is sound")
    return None


def _open(path: epath.Path, weights_only: bool) -> Found:
    try:
        if why := verify(path, weights_only=weights_only):
            raise CheckpointError(why)
        run = read_run(path)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path} is damaged ({error})") from None
    return Found(int(run["step"]), path, run)


def _candidates(directory: str, which: str | int) -> list[int]:
    """The steps to try, in order."""
    steps = list_steps(directory)
    if which == NEWEST or not steps:
        return steps
    if which == BEST:
        return _best_first(directory, steps)
    if which not in steps:
        there = ", ".join(str(step) for step in reversed(steps))
        raise CheckpointError(f"no checkpoint of step {which} in {directory}; there are {there}")
    return [int(which)]


def _best_first(directory: str, steps: list[int]) -> list[int]:
    """All steps that have the metric which the newest one names as the run's."""
    runs = {}
    for step in steps:
        try:
            runs[step] = read_run(epath.Path(directory) / FOLDER / str(step))
        except CheckpointError as error:
            log.info("step %d has no say in what is best: %s", step, error)
    note = next(iter(runs.values()), {}).get(retention_lib.NOTE) or {}
    if not note.get("best_metric"):
        raise CheckpointError(f"the run in {directory} has no BEST_METRIC to say what is best")
    rule = Retention(best_metric=note["best_metric"], best_mode=note["best_mode"])
    ranked = rule.ranked(retention_lib.read_note(step, run) for step, run in runs.items())
    if not ranked:
        raise CheckpointError(f"no checkpoint in {directory} has a value of {rule.best_metric!r}")
    return ranked


def require(
    where: str, report: Callable[[str], None] = log.warning, weights_only: bool = False
) -> Found:
    """`find`, where there has to be one, by the name a person gives it.

    Args:
        where: MODEL_DIR, MODEL_DIR@<step>, MODEL_DIR@best, MODEL_DIR@newest,
            MODEL_DIR/checkpoints/<step>, or exported weights; relative to here or to the package.
        report: see `find`, like `weights_only`.
        weights_only: for those who will not restore the optimizer.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    directory, which = _parse(packaged(where))
    found = find(directory, report, which, weights_only)
    if found is None:
        hint = "" if epath.Path(directory).exists() else " (no such directory)"
        tail = where.rpartition("@")[2]
        if not hint or "@" not in where or "/" in tail:
            raise CheckpointError(f"no checkpoint in {directory}{hint}")
        hint += f"; after @ comes a step, 'best' or 'newest'{did_you_mean(tail, [BEST, NEWEST])}"
        raise CheckpointError(f"no checkpoint in {directory}{hint}")
    return found


def _parse(where: str) -> tuple[str, str | int]:
    """Splits what a person typed into a directory and which of its checkpoints."""
    path = epath.Path(where)
    if path.exists():  # the name of a directory may have an @ in it
        return where, NEWEST
    directory, at, which = where.rpartition("@")
    if at and which.isdecimal():
        return directory, int(which)
    if at and which in (NEWEST, BEST):
        return directory, which
    if path.parent.name == FOLDER and path.name.isdecimal():
        return str(path.parent.parent), int(path.name)
    return where, NEWEST


def export_weights(found: Found, out: str) -> epath.Path:
    """Copies a checkpoint without its optimizer: to hand on, to evaluate, to start runs from.

    What it says of the run leaves out where that ran.

    Args:
        found: the checkpoint.
        out: directory to make; it can be named wherever a checkpoint can.

    Raises:
        CheckpointError: `out` exists.
    """
    target = epath.Path(out)
    if target.exists():
        raise CheckpointError(f"{out} exists already")
    scratch = target.parent / f"{target.name}.partial"
    if scratch.exists():
        scratch.rmtree()
    for file in manifest_files(found.path):
        name = str(file.relative_to(found.path))
        if name.startswith(("params/", "run/")):
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            file.copy(scratch / name)
            if name.endswith("commit_success.txt"):  # Orbax wants it to exist, and names a path
                (scratch / name).write_text("exported")
    local = re.compile(rf"^({'|'.join(_LOCAL_MACROS)}) = .*\n", re.MULTILINE)
    run = {**found.run, "macros": local.sub("", found.run["macros"])}
    (scratch / "run" / "metadata").write_text(json.dumps(run))
    write_manifest(scratch)
    scratch.rename(target)
    return target


def _restore(path: epath.Path, target: Any) -> Any:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return _explained(path, lambda: checkpointer.restore(path, target))


def _restore_some(path: epath.Path, target: dict[str, Any]) -> dict[str, jax.Array]:
    """Reads what `target` names and no other array."""
    import orbax.checkpoint as ocp

    args = ocp.args.PyTreeRestore(
        item=target,
        restore_args=ocp.checkpoint_utils.construct_restore_args(target),
        partial_restore=True,
    )
    with ocp.PyTreeCheckpointer() as checkpointer:
        return _explained(path, lambda: checkpointer.restore(path, args=args))


def _explained(path: epath.Path, restore: Callable[[], Any]) -> Any:
    try:
        return restore()
    except Exception as error:
        first = str(error).strip().splitlines()[0][:300]
        raise CheckpointError(f"{path} cannot be restored: {first}") from error


def restore_params(
    path: epath.Path, target: Mapping[str, Any], part: str | None = None
) -> dict[str, jax.Array]:
    """Returns parameters as `target` (shapes, dtypes, shardings by name) wants them.

    The mesh and the dtype they were saved with do not matter. The optimizer is not read.

    Args:
        path: directory of a checkpoint.
        target: arrays, or their shapes where all of them are restored.
        part: regular expression (INITIAL_CHECKPOINT_PART) that the whole name of a parameter
            has to match for it to be read, such as "encoder/.*"; all others stay as they are in
            `target`, and may be absent from the checkpoint or of another shape there.

    Raises:
        CheckpointError: another set of names or shapes, which are named, or damaged files.
        ConfigError: `part` is no regular expression, or matches nothing.
    """
    stored = stored_shapes(path)
    names = set(stored) | set(target)
    if part is not None:
        names = _matching(part, names)
    for name in sorted(names):
        ours = tuple(target[name].shape) if name in target else None
        theirs = stored.get(name)
        if ours != theirs:
            raise CheckpointError(
                f"{path}: parameter {name} {_shape(theirs)} there and {_shape(ours)} in this model"
            )
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        for name, leaf in target.items()
        if name in names
    }
    if part is None:
        return _restore(path / "params", wanted)
    return {**target, **_restore_some(path / "params", wanted)}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "does not exist" if shape is None else f"has shape {shape}"


def _matching(part: str, names: Iterable[str]) -> set[str]:
    """The whole name has to match: 'encoder' is also a piece of names in many decoders."""
    try:
        pattern = re.compile(part)
    except re.error as error:
        raise ConfigError(
            f"INITIAL_CHECKPOINT_PART={part!r} is no regular expression: {error}"
        ) from None
    found = {name for name in names if pattern.fullmatch(name)}
    if not found:
        groups = sorted({name.partition("/")[0] for name in names})
        raise ConfigError(
            f"INITIAL_CHECKPOINT_PART={part!r} matches no parameter{did_you_mean(part, names)}; "
            f"it has to match a whole name, such as '{groups[0]}/.*'; "
            f"names begin with {', '.join(groups)}"
        )
    return found


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
    """Writes checkpoints of one run in the background, proves them, and retires old ones.

    The order is what makes a kill harmless at any time: Orbax renames the finished directory, its
    manifest is written, and only then are older ones removed. One thread of process 0 does the
    latter two.
    """

    def __init__(
        self,
        model_dir: str,
        retention: Retention | int,
        report: Callable[[str], None] = log.warning,
    ):
        """To be made when what is in `model_dir` was restored or set aside.

        Args:
            model_dir: directory of the run.
            retention: what to keep; a number is that of newest checkpoints.
            report: called with what people should know, on process 0.
        """
        import orbax.checkpoint as ocp

        self._model_dir = str(epath.Path(model_dir).resolve())
        self._folder = epath.Path(self._model_dir) / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._retention = Retention(retention) if isinstance(retention, int) else retention
        self._report = report
        self._told: set[str] = set()
        self._notes: dict[int, Known] = {}
        self._unproved: int | None = None
        self._proof: concurrent.futures.Future[None] | None = None
        # It removes nothing of its own: it knows neither temporary nor damaged checkpoints.
        options = ocp.CheckpointManagerOptions(cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        if jax.process_index() == 0:
            self._proof = self._pool.submit(self._tidy)

    def save(
        self,
        step: int,
        params: Any,
        optimizer: Any,
        run: Mapping[str, Any],
        *,
        temporary: bool = False,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Starts to save; waits for the save before, should it still be under way.

        Args:
            step: number of finished steps.
            params: arrays by name.
            optimizer: the optimizer's state.
            run: JSON, see `read_run`.
            temporary: whether it goes once the next one is proven whole.
            metrics: of these weights, for `Retention.best_metric`.
        """
        import orbax.checkpoint as ocp

        self._finish()
        if why := self._retention.missing_metric(metrics or {}):
            self._tell("metric", why)
        note = retention_lib.write_note(self._retention, temporary, metrics or {})
        self._manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params),
                optimizer=ocp.args.StandardSave(optimizer),
                run=ocp.args.JsonSave({**run, retention_lib.NOTE: note}),
            ),
            force=True,
        )
        self._unproved = step

    def poll(self) -> None:
        """Proves a save that has ended; cheap, to be called every step."""
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
            self._proof = self._pool.submit(self._settle, step)

    def _settle(self, step: int) -> None:
        write_manifest(self._folder / str(step))
        self._retire()

    def _tidy(self) -> None:
        """Ends what a killed run had begun: a removal, and the proof of its newest checkpoint.

        The run goes on from that one, so it counts as any other.
        """
        for path in self._folder.iterdir():
            if path.name.startswith(_REMOVED):
                self._remove(path)
        for step in list_steps(self._model_dir)[:1]:
            if not (self._folder / str(step) / MANIFEST).exists():
                write_manifest(self._folder / str(step))

    def _retire(self) -> None:
        known = [self._look(step) for step in list_steps(self._model_dir)]
        for step in self._retention.removable(known):
            self._remove(self._folder / str(step))

    def _remove(self, path: epath.Path) -> None:
        """Removes a checkpoint: one rename, and `list_steps` knows it no more."""
        try:
            if not path.name.startswith(_REMOVED):
                path = path.rename(path.parent / f"{_REMOVED}{path.name}")
            path.rmtree()
        except OSError as error:  # no reason to end a run: the next start tries again
            self._tell(str(path), f"cannot remove {path}: {error}")

    def _look(self, step: int) -> Known:
        """What a checkpoint says of itself is read once; whether it is whole, every time."""
        path = self._folder / str(step)
        why = why_not_proven(path)
        try:
            if step not in self._notes:
                self._notes[step] = retention_lib.read_note(step, read_run(path))
        except CheckpointError:
            return Known(step, proven=False)
        if why and (path / MANIFEST).exists():
            self._tell(
                f"damaged {step}", f"checkpoint {path} is damaged ({why}): it counts as none"
            )
        return dataclasses.replace(self._notes[step], proven=why is None)

    def _tell(self, key: str, text: str) -> None:
        """Says something once."""
        if jax.process_index() == 0 and key not in self._told:
            self._told.add(key)
            self._report(text)

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._finish()
        if self._proof is not None:
            self._proof.result()
        self._pool.shutdown(wait=True)
        self._manager.close()
