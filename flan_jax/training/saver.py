"""Writes the checkpoints of one run; see `checkpoints` for what they are."""

import concurrent.futures
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath

from flan_jax import files
from flan_jax.errors import CheckpointError
from flan_jax.quiet import quiet_saves
from flan_jax.training import holds
from flan_jax.training import retention as retention_lib
from flan_jax.training.checkpoints import FOLDER, list_steps
from flan_jax.training.manifest import MANIFEST, verify, write_manifest
from flan_jax.training.retention import Known, Retention
from flan_jax.training.run_metadata import read_run

_REMOVED = "removed-"
log = logging.getLogger(__name__)


class Saver:
    """Writes checkpoints of one run in the background, proves them, and retires old ones.

    The order is what makes a kill harmless at any time: Orbax renames the finished directory, its
    manifest is written, and only then are older ones removed. One thread of process 0 does the
    latter two. Nothing is proven but what this object has saved itself.
    """

    def __init__(
        self,
        model_dir: str,
        retention: Retention | int,
        report: Callable[[str], None] = log.warning,
        more: Mapping[str, bytes] | None = None,
    ):
        """To be made when what is in `model_dir` was restored or set aside.

        Args:
            model_dir: directory of the run.
            retention: what to keep; a number is that of newest checkpoints.
            report: called with what people should know, on process 0.
            more: content of further files of each checkpoint, by name.

        Raises:
            OutputError: nothing can be written there.
        """
        import orbax.checkpoint as ocp

        quiet_saves()
        self._model_dir = str(epath.Path(model_dir).resolve())
        self._folder = files.make_folder(epath.Path(self._model_dir) / FOLDER)
        self._retention = Retention(retention) if isinstance(retention, int) else retention
        self._report = report
        self._more = more or {}
        self._told: set[str] = set()
        self._notes: dict[int, Known] = {}
        self._unproved: int | None = None
        self._proof: concurrent.futures.Future[None] | None = None
        # It removes nothing of its own: it knows neither temporary nor damaged checkpoints.
        options = ocp.CheckpointManagerOptions(cleanup_tmp_directories=True)
        with files.writing(self._folder):
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
            run: JSON, see `run_metadata`.
            temporary: whether it goes once the next one is proven whole.
            metrics: of these weights, for `Retention.best_metric`.

        Raises:
            OutputError: this one, or the one before, cannot be written.
        """
        import orbax.checkpoint as ocp

        self._finish()
        if why := self._retention.missing_metric(metrics or {}):
            self._tell("metric", why)
        note = retention_lib.write_note(self._retention, temporary, metrics or {})
        with files.writing(self._folder / str(step)):
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
        step, self._unproved = self._unproved, None
        with files.writing(self._folder / str(step)):
            self._manager.wait_until_finished()
        self._end_proof()
        if jax.process_index() == 0:
            self._proof = self._pool.submit(self._settle, step)

    def _end_proof(self) -> None:
        """Waits for the proof that is under way; what it raises is raised once."""
        proof, self._proof = self._proof, None
        if proof is not None:
            proof.result()

    def _settle(self, step: int) -> None:
        path = self._folder / str(step)
        with files.writing(path):
            for name, content in self._more.items():
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_bytes(content)
        write_manifest(path)
        self._retire()

    def _tidy(self) -> None:
        """Ends the removals that a killed run had begun."""
        for path in self._folder.iterdir():
            if path.name.startswith(_REMOVED):
                self._remove(path)

    def _retire(self) -> None:
        known = [self._look(step) for step in list_steps(self._model_dir)]
        for step in self._retention.removable(known):
            self._remove(self._folder / str(step))

    def _remove(self, path: epath.Path) -> None:
        """Removes a checkpoint: one rename, and `list_steps` knows it no more.

        One that somebody reads stays until a later save.
        """
        try:
            with holds.alone(path) as free:
                if free and not path.name.startswith(_REMOVED):
                    path = path.rename(path.parent / f"{_REMOVED}{path.name}")
                if free:
                    path.rmtree()
        except OSError as error:  # no reason to end a run: the next start tries again
            self._tell(str(path), f"cannot remove {path}: {error}")

    def _look(self, step: int) -> Known:
        """What a checkpoint says of itself is read once; whether it is whole, every time."""
        path = self._folder / str(step)
        try:
            if why := verify(path, hashes=False):
                raise CheckpointError(why)
            if step not in self._notes:
                self._notes[step] = retention_lib.read_note(step, read_run(path))
        except (CheckpointError, FileNotFoundError) as error:
            if (path / MANIFEST).exists():
                self._tell(
                    f"damaged {step}", f"checkpoint {path} is damaged ({error}): it counts as none"
                )
            return Known(step, proven=False)
        return dataclasses.replace(self._notes[step], proven=True)

    def _tell(self, key: str, text: str) -> None:
        """Says something once."""
        if jax.process_index() == 0 and key not in self._told:
            self._told.add(key)
            self._report(text)

    def close(self) -> None:
        """Waits until everything is on disk.

        Raises:
            OutputError: the last save could not be written.
        """
        with files.writing(self._folder), contextlib.ExitStack() as stack:
            stack.callback(self._manager.close)
            stack.callback(self._pool.shutdown, wait=True)
            self._finish()
            self._end_proof()
