"""Prepared records: the tokens of one rendering of one split of one task, on disk.

A *unit* is a folder

    <root>/records/<task>/<split>/r<rendering>-s<seed>-<fingerprint>/
        records.array_record   one msgpack map an example, see `Example`
        table.npz              lengths, CRC-32 of each record, and example ids, by position
        index.json             what shaped the unit, and size and hash of the files above

The fingerprint hashes what shaped the tokens (templates or schema, source version, vocabulary,
render seed and number, format numbers), so anything that changes them leads to another folder.
A unit is written beside its place and renamed into it, `index.json` being the last file to be
written, so a folder without a valid index is one that was never finished.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any

import msgpack
import numpy as np
from etils import epath

from flan_jax.errors import DataError
from flan_jax.instructions.rendering import RenderingKey

FORMAT = 2
RECORDS, TABLE, INDEX = "records.array_record", "table.npz", "index.json"
COPY_TIMEOUT_S = 600.0


@dataclasses.dataclass(frozen=True)
class Example:
    """One prepared example.

    Attributes:
        id: example id that the source wrote.
        template: id of the template or encoding.
        inputs: token ids of the prompt, with EOS, untrimmed.
        targets: token ids of the answer, with EOS, untrimmed.
        prompt: the prompt in words.
        target: the answer in words.
        options: answers shown in the prompt, in order.
        references: all acceptable answers.
        form: form of the OPTIONS block; empty where there is none.
        ranked: of an option to be scored: id of its example, index, and whether it is right.
    """

    id: str
    template: str
    inputs: np.ndarray
    targets: np.ndarray
    prompt: str
    target: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    form: str = ""
    ranked: tuple[str, int, bool] | None = None

    def to_bytes(self) -> bytes:
        """Returns the record; tokens as little-endian int32."""
        fields = dataclasses.asdict(self)
        for name in ("inputs", "targets"):
            fields[name] = np.asarray(fields[name], "<i4").tobytes()
        return msgpack.packb(fields)

    @classmethod
    def from_bytes(cls, record: bytes) -> "Example":
        """Inverse of `to_bytes`."""
        fields = msgpack.unpackb(record, use_list=False)
        for name in ("inputs", "targets"):
            fields[name] = np.frombuffer(fields[name], "<i4")
        return cls(**fields)


@dataclasses.dataclass(frozen=True)
class UnitSpec:
    """Which tokens a unit holds.

    Attributes:
        task: SeqIO task.
        split: its split.
        rendering: render seed and rendering number.
        recipe: fingerprint of the templates, schema and source (`registration.get_recipe`).
        vocabulary: fingerprint of the vocabulary.
    """

    task: str
    split: str
    rendering: RenderingKey
    recipe: str
    vocabulary: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all that shapes the tokens."""
        text = json.dumps([FORMAT, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def folder(self, root: str) -> epath.Path:
        """Returns where the unit lies below `root`."""
        name = f"r{self.rendering.number}-s{self.rendering.seed}-{self.fingerprint}"
        return epath.Path(root) / "records" / self.task / self.split / name


def is_remote(path: epath.PathLike) -> bool:
    """Whether array_record, which knows local files only, cannot open a path."""
    return "://" in os.fspath(path)


def write_unit(spec: UnitSpec, root: str, examples: Iterable[Example]) -> int:
    """Writes a unit, replacing whatever stands in its place; returns the number of examples.

    Raises:
        DataError: there are no examples, or two have the same id.
    """
    target = spec.folder(root)
    if not is_remote(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    near = None if is_remote(target) else target.parent
    scratch = epath.Path(tempfile.mkdtemp(prefix=".writing-", dir=near))
    try:
        table = _write_records(scratch / RECORDS, examples, spec)
        with (scratch / TABLE).open("wb") as file:
            np.savez(file, **table)  # type: ignore[arg-type]
        files = {name: _describe_file(scratch / name) for name in (RECORDS, TABLE)}
        count = len(table["crc32"])
        index = {
            "format": FORMAT,
            "fingerprint": spec.fingerprint,
            "spec": dataclasses.asdict(spec),
            "count": count,
            "files": files,
        }
        (scratch / INDEX).write_text(json.dumps(index, indent=1))
        _move_into_place(scratch, target)
        return count
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_records(
    path: epath.Path, examples: Iterable[Example], spec: UnitSpec
) -> dict[str, np.ndarray]:
    from array_record.python import array_record_module

    # One record a chunk: records are read one by one, in planned order.
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")
    lengths, checksums, ids = [], [], []
    try:
        for example in examples:
            record = example.to_bytes()
            writer.write(record)
            lengths.append((len(example.inputs), len(example.targets)))
            checksums.append(zlib.crc32(record))
            ids.append(example.id.encode("utf-8"))
    finally:
        writer.close()
    if not ids:
        raise DataError(f"task {spec.task!r}, split {spec.split!r}: no examples")
    if len(set(ids)) != len(ids):
        repeated = collections.Counter(ids).most_common(1)[0][0].decode()
        raise DataError(f"task {spec.task!r}, split {spec.split!r}: id {repeated!r} repeats")
    return {
        "lengths": np.array(lengths, np.int32),
        "crc32": np.array(checksums, np.uint32),
        "ids": np.array(ids, dtype=np.bytes_),
    }


def _describe_file(path: epath.Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"size": path.stat().length, "sha256": digest.hexdigest()}


def _move_into_place(scratch: epath.Path, target: epath.Path) -> None:
    """Renames locally; on remote storage copies, the index last, since it makes a unit valid."""
    if is_remote(target):
        (target / INDEX).unlink(missing_ok=True)
        target.mkdir(parents=True, exist_ok=True)
        for name in (RECORDS, TABLE, INDEX):
            (scratch / name).copy(target / name, overwrite=True)
        return
    os.chmod(scratch, 0o755)
    if target.exists():
        shutil.rmtree(target)
    try:
        os.rename(scratch, target)
    except OSError:
        # Another process finished the same unit in between; its bytes are equal to ours.
        if not target.exists():
            raise


def problem(spec: UnitSpec, root: str) -> str | None:
    """Returns why a unit cannot be used, or None where it can.

    Looks at the index, at sizes and at the table's hash; records are checked as they are read.
    """
    folder = spec.folder(root)
    if not folder.exists():
        return "missing"
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["format"] != FORMAT or index["fingerprint"] != spec.fingerprint:
            return "foreign: its index describes other tokens"
        for name, facts in index["files"].items():
            if (folder / name).stat().length != facts["size"]:
                return f"damaged: {name} is not {facts['size']} bytes long"
        if _describe_file(folder / TABLE)["sha256"] != index["files"][TABLE]["sha256"]:
            return f"damaged: {TABLE} does not match its hash"
    except FileNotFoundError as error:
        return f"unfinished: {error.filename or INDEX} is missing"
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"damaged: {type(error).__name__}: {error}"
    return None


class Unit:
    """A unit opened for reading: random access by position, every record checked."""

    def __init__(self, spec: UnitSpec, root: str):
        """Opens a unit, by way of a host-local copy where `root` is remote.

        Raises:
            DataError: it is missing, unfinished, damaged or foreign.
        """
        if is_remote(root):
            root = _local_copy(spec, root)
        if what := problem(spec, root):
            raise DataError(f"prepared records {spec.folder(root)} are {what}")
        self.spec = spec
        self.folder = spec.folder(root)
        with (self.folder / TABLE).open("rb") as file, np.load(file) as table:
            self.lengths: np.ndarray = table["lengths"]
            self.ids: np.ndarray = table["ids"]
            self._crc32: np.ndarray = table["crc32"]

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def _source(self) -> Any:
        from array_record.python import array_record_data_source

        return array_record_data_source.ArrayRecordDataSource([os.fspath(self.folder / RECORDS)])

    def read(self, positions: Sequence[int]) -> list[Example]:
        """Returns the examples at `positions`, in that order.

        Raises:
            DataError: a record is not what was written.
        """
        if not len(positions):  # which array_record refuses
            return []
        try:
            raw = self._source.__getitems__([int(p) for p in positions])
        except Exception as error:
            raise DataError(f"{self.folder / RECORDS} cannot be read: {error}") from error
        for position, record in zip(positions, raw, strict=True):
            if zlib.crc32(record) != self._crc32[position]:
                raise DataError(
                    f"{self.folder / RECORDS}: record {position} does not match its checksum; "
                    "delete the folder and prepare it again"
                )
        return [Example.from_bytes(record) for record in raw]

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, len(self), 256):
            yield from self.read(range(start, min(start + 256, len(self))))

    def __getstate__(self) -> dict[str, Any]:
        # File handles do not travel to other processes.
        return {k: v for k, v in self.__dict__.items() if k != "_source"}


def _local_copy(spec: UnitSpec, root: str, timeout_s: float = COPY_TIMEOUT_S) -> str:
    """Copies a remote unit below the host's temporary folder and returns the local root.

    Raises:
        DataError: the copy took longer than `timeout_s`.
    """
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    local_root = os.path.join(tempfile.gettempdir(), f"flan_jax_records_{os.getuid()}", name)
    if problem(spec, local_root) is None:
        return local_root
    target = spec.folder(local_root)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = epath.Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    pool = futures.ThreadPoolExecutor(3)
    started = time.monotonic()
    try:
        remote = spec.folder(root)
        copies = [
            pool.submit((remote / name).copy, scratch / name) for name in (RECORDS, TABLE, INDEX)
        ]
        for copy in copies:
            copy.result(timeout=max(0.0, timeout_s - (time.monotonic() - started)))
        _move_into_place(scratch, target)
    except futures.TimeoutError:
        raise DataError(f"copying {spec.folder(root)} took over {timeout_s:.0f} s") from None
    except FileNotFoundError:
        raise DataError(f"prepared records {spec.folder(root)} are missing") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return local_root
