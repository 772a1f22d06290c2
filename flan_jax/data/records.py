"""Prepared records: the tokens of one rendering of one split of one task, on disk.

A *unit* is a folder

    <root>/records/<task>/<split>/r<rendering>-s<seed>-<fingerprint>/
        records.array_record   one msgpack map an example, see `Example`
        table.npz              lengths, CRC-32 of each record, example ids, and what became
                               of prompts where some were too long, by position
        index.json             what shaped the unit, and size and hash of the files above

The fingerprint hashes what shaped the tokens (templates or schema, source version, vocabulary,
render seed and number, format numbers), so anything that changes them leads to another folder.
A unit is written beside its place and renamed into it, `index.json` being the last file to be
written, so a folder without a valid index is one that was never finished.
"""

import collections
import contextlib
import copy
import dataclasses
import errno
import filecmp
import functools
import hashlib
import io
import json
import os
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any

import msgpack
import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import DataError, OutputError, border
from flan_jax.instructions.budgets import Fit
from flan_jax.instructions.draws import RenderingKey

FORMAT = 2
RECORDS, TABLE, INDEX = "records.array_record", "table.npz", "index.json"
COPY_TIMEOUT_S = 600.0
_COPYING = ".copying-"


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
        counted: of each target 1 where a loss counts it, else 0; None where it counts all, and a
            record says nothing then.
        fit: what became of the prompt, a `budgets.Fit`; a record says nothing where it is
            whole.
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
    counted: np.ndarray | None = None
    fit: int = Fit.WHOLE

    def to_bytes(self) -> bytes:
        """Returns the record; tokens as little-endian int32."""
        fields = dataclasses.asdict(self)
        counted, fit = fields.pop("counted"), int(fields.pop("fit"))
        if fit:
            fields["fit"] = fit
        if counted is not None:
            fields["counted"] = np.asarray(counted, np.uint8).tobytes()
        for name in ("inputs", "targets"):
            fields[name] = np.asarray(fields[name], "<i4").tobytes()
        return msgpack.packb(fields)

    @classmethod
    def from_bytes(cls, record: bytes) -> "Example":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: it is none. So are exceptions of other kinds.
        """
        fields = msgpack.unpackb(record, use_list=False)
        for name in ("inputs", "targets"):
            fields[name] = np.frombuffer(fields[name], "<i4")
        if "counted" in fields:
            fields["counted"] = np.frombuffer(fields["counted"], np.uint8).astype(np.int32)
        example = cls(**fields)
        texts = (example.id, example.template, example.prompt, example.target, example.form)
        if not all(
            isinstance(text, str) for text in (*texts, *example.options, *example.references)
        ):
            raise ValueError("a text is none")
        if example.ranked is not None and [*map(type, example.ranked)] != [str, int, bool]:
            raise ValueError("an option to rank is none")
        counted = example.counted
        if counted is not None and (len(counted) != len(example.targets) or (counted > 1).any()):
            raise ValueError("what counts of the targets is not said of each")
        Fit(example.fit)
        return example


@dataclasses.dataclass(frozen=True)
class UnitSpec:
    """Which tokens a unit holds.

    Attributes:
        task: SeqIO task.
        split: its split.
        rendering: render seed and rendering number.
        recipe: fingerprint of the templates, schema and source (`recipes.get_recipe`).
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


def write_unit(spec: UnitSpec, root: str, examples: Iterable[Example], fresh: bool = False) -> int:
    """Writes a unit, aside and then into its place; returns the number of examples.

    What stands there is replaced where it cannot be used. Where another process finished the
    same unit first, its one stays: the same was to be written.

    Args:
        spec: the unit.
        root: see `UnitSpec.folder`.
        examples: what is in it.
        fresh: replace a sound unit as well, unless it is the same to the byte.

    Raises:
        DataError: there are no examples, or two have the same id.
        OutputError: it cannot be written; what was there is as it was.
    """
    target = spec.folder(root)
    remote = files.is_remote(target)
    near = epath.Path(tempfile.gettempdir()) if remote else target.parent
    prefix = ".flan_jax-writing-" if remote else files.WRITING
    files.sweep(near, prefix)
    with files.scratch_folder(near, prefix) as scratch, files.writing(target):
        made = scratch / "unit"
        made.mkdir()
        count = _write_files(made, examples, spec)
        if remote:
            _upload(made, target)
        else:
            _move_into_place(spec, root, made, scratch / "old", fresh)
        return count


def _write_files(folder: epath.Path, examples: Iterable[Example], spec: UnitSpec) -> int:
    table = _write_records(folder / RECORDS, examples, spec)
    content = io.BytesIO()
    np.savez(content, **table)  # type: ignore[arg-type]
    (folder / TABLE).write_bytes(content.getvalue())
    index = {
        "format": FORMAT,
        "fingerprint": spec.fingerprint,
        "spec": dataclasses.asdict(spec),
        "count": len(table["crc32"]),
        "files": {name: _describe_file(folder / name) for name in (RECORDS, TABLE)},
    }
    (folder / INDEX).write_text(json_files.dumps(index, indent=1))
    return len(table["crc32"])


def _write_records(
    path: epath.Path, examples: Iterable[Example], spec: UnitSpec
) -> dict[str, np.ndarray]:
    from array_record.python import array_record_module

    # One record a chunk: records are read one by one, in planned order.
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")
    lengths, checksums, ids, fits = [], [], [], []
    try:
        for example in examples:
            record = example.to_bytes()
            _write_to(writer.write, record)
            lengths.append((len(example.inputs), len(example.targets)))
            checksums.append(zlib.crc32(record))
            ids.append(example.id.encode("utf-8"))
            fits.append(example.fit)
    except BaseException:
        with contextlib.suppress(RuntimeError):  # of a full disk, which was said already
            writer.close()
        raise
    _write_to(writer.close)
    if not ids:
        raise DataError(f"task {spec.task!r}, split {spec.split!r}: no examples")
    if len(set(ids)) != len(ids):
        repeated = collections.Counter(ids).most_common(1)[0][0].decode()
        raise DataError(f"task {spec.task!r}, split {spec.split!r}: id {repeated!r} repeats")
    return {
        "lengths": np.array(lengths, np.int32),
        "crc32": np.array(checksums, np.uint32),
        "ids": np.array(ids, dtype=np.bytes_),
        **({"fits": np.array(fits, np.uint8)} if any(fits) else {}),
    }


def _write_to(write: Callable[..., None], *values: bytes) -> None:
    """Calls ArrayRecord's writer, whose errors are RuntimeErrors of whatever the system said."""
    try:
        write(*values)
    except RuntimeError as error:
        raise OSError(errno.EIO, files.cause(error)) from error


def _describe_file(path: epath.Path) -> dict[str, Any]:
    return {"size": path.stat().length, "sha256": files.file_digest(path)}


def _upload(made: epath.Path, target: epath.Path) -> None:
    """Copies to remote storage, the index last, since it makes a unit valid."""
    (target / INDEX).unlink(missing_ok=True)
    target.mkdir(parents=True, exist_ok=True)
    for name in (RECORDS, TABLE, INDEX):
        (made / name).copy(target / name, overwrite=True)


def _move_into_place(
    spec: UnitSpec, root: str, made: epath.Path, old: epath.Path, replace: bool
) -> None:
    """Renames a finished unit into its place, and what cannot stay there to `old`.

    Whoever has the old files open reads on.
    """
    target = spec.folder(root)
    with files.holding(target.parent):
        if os.path.lexists(target):
            if _same(made, target) if replace else problem(spec, root) is None:
                return
            with contextlib.suppress(FileNotFoundError):
                os.rename(target, old)
        try:
            os.rename(made, target)
        except OSError:  # another process was faster, where nothing can be held
            if problem(spec, root) is not None:
                raise


def _same(one: epath.Path, other: epath.Path) -> bool:
    try:
        return all(filecmp.cmp(one / name, other / name, False) for name in (INDEX, TABLE, RECORDS))
    except OSError:
        return False


def problem(spec: UnitSpec, root: str) -> str | None:
    """Returns why a unit cannot be used, or None where it can.

    Looks at the index, at sizes and at the table; records are checked as they are read.
    """
    return _look(spec, root)[0]


def _look(spec: UnitSpec, root: str) -> tuple[str | None, dict[str, np.ndarray]]:
    """Returns what is wrong with a unit, and its table where nothing is."""
    folder = spec.folder(root)
    if not folder.exists():
        return "missing", {}
    try:
        with border(INDEX):
            text = files.read_text(_inside(folder, INDEX), 1 << 20)
            index = json_files.Fields(INDEX, json_files.loads(text, INDEX))
            if (index.get("format"), index.get("fingerprint")) != (FORMAT, spec.fingerprint):
                return "foreign: its index describes other tokens", {}
            sizes = {name: _check_size(folder, name, index) for name in (RECORDS, TABLE)}
        with border(TABLE):
            content = files.read_bytes(folder / TABLE, sizes[TABLE])
            digest = hashlib.sha256(content).hexdigest()
            if digest != index.inner("files").inner(TABLE).text("sha256"):
                raise DataError(f"{TABLE} does not match its hash")
            return None, _read_table(content, index.count("count", 1))
    except DataError as error:
        gone = [name for name in (INDEX, RECORDS, TABLE) if not (folder / name).exists()]
        return f"unfinished: {gone[0]} is missing" if gone else f"damaged: {error}", {}


def _inside(folder: epath.Path, name: str) -> epath.Path:
    """Returns the path of a file of a unit.

    Raises:
        DataError: it is no regular file, or a link that leads elsewhere.
    """
    path = files.inside(folder, name, "a unit")
    if not files.is_remote(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise DataError(f"{name} is not a regular file")
    return path


def _check_size(folder: epath.Path, name: str, index: json_files.Fields) -> int:
    """Returns the size of a file of a unit.

    Raises:
        DataError: it is not the one that the index says.
    """
    size = index.inner("files").inner(name).count("size")
    if _inside(folder, name).stat().length != size:
        raise DataError(f"{name} is not {size} bytes long")
    return size


def _read_table(content: bytes, count: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a table, which take no more memory than its file.

    Raises:
        DataError: they are not what is written of so many examples.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise DataError(f"{TABLE} is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as table:
        arrays = {name: table[name] for name in ("lengths", "crc32", "ids")}
        arrays["fits"] = table["fits"] if "fits" in table else np.zeros(count, np.uint8)
    lengths, checksums, ids, fits = arrays.values()
    if (
        (lengths.dtype, lengths.shape) != (np.int32, (count, 2))
        or (checksums.dtype, checksums.shape) != (np.uint32, (count,))
        or (ids.dtype.kind, ids.shape) != ("S", (count,))
        or (fits.dtype, fits.shape) != (np.uint8, (count,))
        or lengths.min() < 0
    ):
        raise DataError(f"{TABLE} does not describe {count} examples")
    return arrays


# A folder that another process prepares again is not there for an instant.
_PAUSES = (0.02, 0.2)


class Unit:
    """A unit opened for reading: random access by position, every record checked."""

    def __init__(self, spec: UnitSpec, root: str):
        """Opens a unit, by way of a host-local copy where `root` is remote.

        Raises:
            DataError: it is missing, unfinished, damaged or foreign.
        """
        if files.is_remote(root):
            root = _local_copy(spec, root)
        what, table = _look(spec, root)
        for pause in _PAUSES if what else ():
            time.sleep(pause)
            what, table = _look(spec, root)
        if what:
            raise DataError(f"prepared records {spec.folder(root)} are {what}")
        self.spec = spec
        self.folder = spec.folder(root)
        self.lengths: np.ndarray = table["lengths"]
        self.ids: np.ndarray = table["ids"]
        self.fits: np.ndarray = table["fits"]
        self._crc32: np.ndarray = table["crc32"]
        self._places: np.ndarray = np.arange(len(self.ids))

    def only(self, kept: np.ndarray) -> "Unit":
        """Returns a unit of some of the examples, by position; the files are the same."""
        unit = copy.copy(self)
        unit.lengths, unit.ids = self.lengths[kept], self.ids[kept]
        unit._crc32, unit._places = self._crc32[kept], self._places[kept]
        return unit

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def content(self) -> str:
        """16 hex digits over what the records are, not over what shaped them."""
        digest = hashlib.sha256(self.lengths.tobytes() + self._crc32.tobytes())
        return digest.hexdigest()[:16]

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
        with border(f"{self.folder / RECORDS} cannot be read"):
            raw = self._source.__getitems__([int(self._places[p]) for p in positions])
        return [self._example(int(p), record) for p, record in zip(positions, raw, strict=True)]

    def _example(self, position: int, record: bytes) -> Example:
        where = f"{self.folder / RECORDS}: record {self._places[position]}"
        if zlib.crc32(record) != self._crc32[position]:
            raise DataError(
                f"{where} does not match its checksum: it is damaged, or was prepared again while "
                "this process read it; `flan-jax prepare --fresh` writes it again"
            )
        with border(where):
            example = Example.from_bytes(record)
            if (len(example.inputs), len(example.targets)) != tuple(self.lengths[position]):
                raise DataError(f"{where} has another length than {TABLE} says")
        return example

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
    remote, target = spec.folder(root), spec.folder(local_root)
    if problem(spec, local_root) is None and _same_index(remote, target):
        return local_root
    files.sweep(target.parent, _COPYING)
    pool = futures.ThreadPoolExecutor(3)
    started = time.monotonic()
    try:
        with files.scratch_folder(target.parent, _COPYING) as scratch:
            made = scratch / "unit"
            made.mkdir()
            copies = [
                pool.submit((remote / name).copy, made / name) for name in (RECORDS, TABLE, INDEX)
            ]
            for copy in copies:
                copy.result(timeout=max(0.0, timeout_s - (time.monotonic() - started)))
            with files.writing(target):
                _move_into_place(spec, local_root, made, scratch / "old", replace=True)
    except futures.TimeoutError:
        raise DataError(f"copying {remote} took over {timeout_s:.0f} s") from None
    except FileNotFoundError:
        raise DataError(f"prepared records {remote} are missing") from None
    except OSError as error:
        raise OutputError(f"cannot copy {remote} to {target}: {files.cause(error)}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return local_root


def _same_index(one: epath.Path, other: epath.Path) -> bool:
    """Whether two units hold the same; one may have been prepared again since it was copied."""
    try:
        return (one / INDEX).read_bytes() == (other / INDEX).read_bytes()
    except OSError:
        return False
