"""Checkpoints: Orbax directories, with a manifest that proves them whole.

    MODEL_DIR/checkpoints/<step>/
        params/ optimizer/   arrays, in Orbax's own format
        run/metadata         JSON: step, data position and digest, fingerprint, settings, metrics
        vocabulary/          the file of a vocabulary that does not ship with the package
        MANIFEST.json        size and SHA-256 of every file

Orbax writes beside the final place and renames; the manifest is added after that, see `manifest`.
A step without one was not finished (killed between rename and manifest) and is passed over, like
one that does not match it. What is read is regular files in a checkpoint's own folder: it is
somebody else's data, and may have been made to harm.

People name a checkpoint as MODEL_DIR (its newest), MODEL_DIR@1200, MODEL_DIR@best or
MODEL_DIR/checkpoints/1200.
"""

import dataclasses
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.config import packaged
from flan_jax.errors import (
    CheckpointError,
    ConfigError,
    border,
    did_you_mean,
    first_line,
    quoted,
)
from flan_jax.training import carried_vocabulary, orbax_format, run_metadata, stored_settings
from flan_jax.training import retention as retention_lib
from flan_jax.training.holds import Hold
from flan_jax.training.manifest import (
    MANIFEST,
    manifest_files,
    read_manifest,
    verify,
    write_manifest,
)
from flan_jax.training.retention import Retention
from flan_jax.training.run_metadata import read_run

FOLDER = "checkpoints"
NEWEST = "newest"
BEST = "best"
_STEP = re.compile(r"0|[1-9][0-9]{0,15}")
# How often to look again where a running trainer retires what is being read.
_TRIES = 10
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Found:
    """A checkpoint on disk.

    Attributes:
        step: number of finished steps.
        path: its directory.
        run: what it says of the run, see `run_metadata`.
        hold: keeps a running trainer from removing it, as long as this object lives.
    """

    step: int
    path: epath.Path
    run: dict[str, Any]
    hold: Hold | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def vocabulary(self) -> str | None:
        """Specification of the vocabulary that it carries, None where it carries none."""
        return carried_vocabulary.spec_in(self.path)

    @property
    def weights_hash(self) -> dict[str, Any]:
        """What tells its weights from others: the checksum of each file of them."""
        # What commit_success.txt holds is a place, not weights.
        return {
            name: facts["sha256"]
            for name, facts in read_manifest(self.path).items()
            if name.startswith("params/") and not name.endswith("commit_success.txt")
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every parameter.

        Raises:
            CheckpointError: it is damaged.
        """
        return stored_shapes(self.path)

    def read(self, wanted: dict[str, Any], whole: bool) -> dict[str, jax.Array]:
        """Reads parameters of the shapes that are there.

        Args:
            wanted: shapes, dtypes and shardings by name.
            whole: whether these are all that are there.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self.path / "params"
        return _restore(path, wanted) if whole else _restore_some(path, wanted)

    def release(self) -> None:
        """Lets it be removed; what is to be read has been."""
        if self.hold is not None:
            self.hold.release()


class _VanishedError(CheckpointError):
    """A running trainer removed what was about to be read."""


def list_steps(model_dir: str) -> list[int]:
    """Returns the steps of all checkpoints of a run, newest first."""
    folder = epath.Path(model_dir) / FOLDER
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted((int(name) for name in names if _STEP.fullmatch(name)), reverse=True)


def find(
    directory: str,
    report: Callable[[str], None] = log.warning,
    which: str | int = NEWEST,
    weights_only: bool = False,
    before: int | None = None,
) -> Found | None:
    """Returns a sound checkpoint of a run, or None where there is none at all.

    Args:
        directory: a MODEL_DIR, or the directory of one checkpoint.
        report: called with what was passed over and why.
        which: NEWEST; BEST by the run's own BEST_METRIC; or a step. What is not proven whole is
            passed over for the next newest or next best; nothing stands in for a step.
        weights_only: do not read the optimizer's files to see whether they are sound.
        before: only look at checkpoints of earlier steps.

    Raises:
        CheckpointError: there are checkpoints, and none of those asked for is sound. Saves that
            were never finished count as none, as if they had been killed a moment before.
    """
    # Orbax reads no metadata through a relative path, and says nothing of it.
    given = epath.Path(directory if "://" in directory else os.path.abspath(directory))
    with border(f"checkpoint {directory}", CheckpointError):
        if (given / run_metadata.FILE).exists():
            return _open(given, weights_only)
        for _ in range(_TRIES):
            try:
                return _first_sound(given, report, which, weights_only, before)
            except _VanishedError as error:  # its run has saved a newer one
                report(f"{error}: looking again")
    raise CheckpointError(f"checkpoints in {given / FOLDER} vanish before they can be read")


def _first_sound(
    given: epath.Path,
    report: Callable[[str], None],
    which: str | int,
    weights_only: bool,
    before: int | None,
) -> Found | None:
    steps = _candidates(str(given), which)
    finished = False
    for step in [step for step in steps if before is None or step < before]:
        path = given / FOLDER / str(step)
        # Asked first: its run may finish it while it is looked at.
        was_finished = (path / MANIFEST).exists()
        try:
            return _open(path, weights_only, step)
        except _VanishedError:
            raise
        except CheckpointError as error:
            if isinstance(which, int):
                raise
            report(f"{error}: trying the {'next best' if which == BEST else 'one before'}")
            finished = finished or was_finished
    if finished or (steps and which == BEST):
        raise CheckpointError(f"none of the checkpoints in {given / FOLDER} is sound")
    return None


def _open(path: epath.Path, weights_only: bool, step: int | None = None) -> Found:
    """Opens a checkpoint, that of `step` in a run where it is not None."""
    try:
        if step is not None:
            _check_is_here(path)
        hold = Hold(path)
        if why := verify(path, weights_only=weights_only):
            raise CheckpointError(why)
        for part in ("params",) if weights_only else ("params", "optimizer"):
            if (path / part).exists():
                orbax_format.check(path / part)
        run = read_run(path)
        if step not in (None, run["step"]):
            raise CheckpointError(f"{run_metadata.FILE} says that it is of step {run['step']}")
    except FileNotFoundError:
        raise _VanishedError(f"checkpoint {path} vanished while it was looked at") from None
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path} is damaged ({error})") from None
    return Found(run["step"], path, run, hold)


def _check_is_here(path: epath.Path) -> None:
    """Refuses a step of a run that is a link: it would lead out of the run."""
    if not files.is_remote(path) and os.path.islink(path):
        raise CheckpointError("it is a link")


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
        path = epath.Path(directory) / FOLDER / str(step)
        try:
            _check_is_here(path)
            manifest_files(path)  # refuses links, too
            runs[step] = read_run(path)
        except (CheckpointError, FileNotFoundError) as error:
            log.info("step %d has no say in what is best: %s", step, error)
    note = next(iter(runs.values()), {}).get(retention_lib.NOTE) or {}
    if not note.get("best_metric"):
        raise CheckpointError(f"the run in {directory} has no BEST_METRIC to say what is best")
    mode = note.get("best_mode") or "min"
    rule = Retention(best_metric=note["best_metric"], best_mode=mode)
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
    with border(f"checkpoint {quoted(where)}", CheckpointError):
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
    if at and _STEP.fullmatch(which):
        return directory, int(which)
    if at and which in (NEWEST, BEST):
        return directory, which
    if path.parent.name == FOLDER and _STEP.fullmatch(path.name):
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
        OutputError: it cannot be written.
    """
    target = epath.Path(out)
    if target.exists():
        raise CheckpointError(f"{out} exists already")
    files.sweep(target.parent)
    with files.scratch_folder(target.parent) as scratch, files.writing(target):
        weights = scratch / "weights"
        for file in manifest_files(found.path):
            name = str(file.relative_to(found.path))
            if name.startswith(("params/", "run/", "vocabulary/")):
                (weights / name).parent.mkdir(parents=True, exist_ok=True)
                file.copy(weights / name)
                if name.endswith("commit_success.txt"):  # Orbax wants it, and names a path in it
                    (weights / name).write_text("exported")
        json_files.write_json(weights / run_metadata.FILE, _without_places(found), indent=None)
        write_manifest(weights)
        weights.rename(target)
    return target


def _without_places(found: Found) -> dict[str, Any]:
    """Returns what a checkpoint says of its run, its settings in the present format."""
    settings = stored_settings.decode(found.run, str(found.path))
    run = {**found.run, **stored_settings.encode(settings)}
    for field in (stored_settings.OLD_FIELD, "run_id"):
        run.pop(field, None)
    return run


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
        raise CheckpointError(f"{path} cannot be restored: {first_line(error)}") from error


def restore_params(
    found: Found, target: Mapping[str, Any], part: str | None = None
) -> dict[str, jax.Array]:
    """Returns parameters as `target` (shapes, dtypes, shardings by name) wants them.

    The mesh and the dtype they were saved with do not matter. The optimizer is not read.

    Args:
        found: a checkpoint.
        target: arrays, or their shapes where all of them are restored.
        part: regular expression (INITIAL_CHECKPOINT_PART) that the whole name of a parameter
            has to match for it to be read, such as "encoder/.*"; all others stay as they are in
            `target`, and may be absent from the checkpoint or of another shape there.

    Raises:
        CheckpointError: another set of names or shapes, which are named, or damaged files.
        ConfigError: `part` is no regular expression, or matches nothing.
    """
    stored = found.shapes()
    names = set(stored) | set(target)
    if part is not None:
        names = _matching(part, names)
    for name in sorted(names):
        ours = tuple(target[name].shape) if name in target else None
        theirs = stored.get(name)
        if ours != theirs:
            raise CheckpointError(
                f"{found.path}: parameter {name} {shape_words(theirs)} there and "
                f"{shape_words(ours)} in this model"
            )
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        for name, leaf in target.items()
        if name in names
    }
    read = found.read(wanted, whole=part is None)
    return read if part is None else {**target, **read}


def shape_words(shape: tuple[int, ...] | None) -> str:
    """Says of which shape a parameter is, None being none."""
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
    return {name: tuple(leaf.shape) for name, leaf in _stored(path).items()}


def _stored(path: epath.Path) -> dict[str, Any]:
    """What Orbax says of the stored parameters: shape and dtype by name."""
    import orbax.checkpoint as ocp

    with (
        ocp.StandardCheckpointer() as checkpointer,
        border(f"{path} cannot be read", CheckpointError),
    ):
        metadata = checkpointer.metadata(path / "params")
        tree = dict(getattr(metadata, "item_metadata", metadata))
        for name, leaf in tree.items():
            if any(type(size) is not int or size < 0 for size in leaf.shape):
                raise CheckpointError(f"{path} cannot be read: {name} has no shape")
    return tree


def restore_optimizer(path: epath.Path, target: Any) -> Any:
    """Returns the optimizer's state as `target` wants it.

    Raises:
        CheckpointError: it does not fit, or is damaged.
    """
    return _restore(path / "optimizer", target)


def load_params_on_host(path: epath.Path) -> dict[str, np.ndarray]:
    """Returns all parameters as NumPy arrays, whatever mesh they were saved from.

    Raises:
        CheckpointError: it is damaged, or says that it is larger than this machine's memory.
    """
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    stored = _stored(path)
    # Arrays that are not there are read as zeros, so a few bytes can stand for any number.
    size = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in stored.values())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise CheckpointError(f"{path} says that it has {size:,} bytes of weights: too many here")
    target = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for name, leaf in stored.items()
    }
    return {k: np.asarray(v) for k, v in _restore(path / "params", target).items()}


def set_aside(model_dir: str, newer_than: int, report: Callable[[str], None]) -> None:
    """Renames checkpoints that were passed over, so that their steps can be saved again."""
    for step in list_steps(model_dir):
        if step > newer_than:
            path = epath.Path(model_dir) / FOLDER / str(step)
            aside = path.parent / f"damaged-{step}-{int(time.time())}"
            with files.writing(path.parent):
                path.rename(aside)
            report(f"set aside {path} as {aside.name}")
