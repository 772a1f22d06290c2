"""Prepared records: what is written comes back, and what is damaged is refused by name."""

import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import time

import msgpack
import numpy as np
import pytest
from etils.epath import backend, gpath
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax import files
from flan_jax.data import records
from flan_jax.data.records import INDEX, RECORDS, TABLE, Example, Unit, UnitSpec, write_unit
from flan_jax.errors import DataError, OutputError
from flan_jax.instructions.draws import RenderingKey

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = UnitSpec("task", "train", RenderingKey(0, 1), recipe="r" * 16, vocabulary="v" * 16)
OTHER = dataclasses.replace(SPEC, recipe="s" * 16)
TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=20).map(lambda t: np.array(t, np.int32))
WITHOUT_MASK = st.builds(
    Example,
    id=st.text(),
    template=st.text(),
    inputs=TOKENS,
    targets=TOKENS,
    prompt=st.text(),
    target=st.text(),
    options=st.lists(st.text(), max_size=3).map(tuple),
    references=st.lists(st.text(), max_size=3).map(tuple),
)
EXAMPLES = WITHOUT_MASK | WITHOUT_MASK.map(
    lambda example: dataclasses.replace(example, counted=example.targets % 2)
)


def some_examples(count=5):
    return [
        Example(
            id=f"train/{i}",
            template=f"t{i % 2}",
            inputs=np.arange(i + 1, dtype=np.int32),
            targets=np.array([7, 1], np.int32),
            prompt=f"prompt {i} 你",
            target="yes",
            options=("yes", "no"),
            references=("yes",),
        )
        for i in range(count)
    ]


def fields_of(example):
    """An example in a form that `==` compares."""
    fields = dataclasses.asdict(example)
    arrays = {name: fields[name] for name in ("inputs", "targets", "counted")}
    return fields | {k: None if v is None else v.tolist() for k, v in arrays.items()}


def all_fields(examples):
    return [fields_of(example) for example in examples]


@pytest.fixture
def root(tmp_path):
    """A folder with one unit of five examples."""
    write_unit(SPEC, str(tmp_path), some_examples())
    return str(tmp_path)


def flip_byte(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)


# What comes back


@given(EXAMPLES)
def test_any_example_comes_back(example):
    again = Example.from_bytes(example.to_bytes())
    assert fields_of(again) == fields_of(example)
    assert again.inputs.dtype == again.targets.dtype == np.int32


def test_only_a_record_that_needs_it_says_what_counts():
    """So that whatever was prepared before there was such a thing stays as it is."""
    plain = some_examples(1)[0]
    digest = hashlib.sha256(plain.to_bytes()).hexdigest()
    assert digest.startswith(RECORD_DIGEST)
    short = dataclasses.replace(plain, counted=np.array([1])).to_bytes()
    beyond = dataclasses.replace(plain, counted=np.array([1, 2])).to_bytes()
    for record in (short, beyond):
        with pytest.raises(ValueError, match="what counts"):
            Example.from_bytes(record)


# Of a record as it was written before there was `counted`.
RECORD_DIGEST = "81331f02e679ed7a"


@settings(max_examples=10, deadline=None)
@given(st.lists(EXAMPLES, min_size=1, max_size=5, unique_by=lambda example: example.id))
def test_any_unit_comes_back(examples):
    with tempfile.TemporaryDirectory() as root:
        assert write_unit(SPEC, root, iter(examples)) == len(examples)
        assert all_fields(Unit(SPEC, root)) == all_fields(examples)


def test_a_unit_is_read_by_position(root):
    unit, examples = Unit(SPEC, root), some_examples()
    assert len(unit) == 5
    assert unit.ids.tolist() == [e.id.encode() for e in examples]
    assert unit.lengths.tolist() == [[len(e.inputs), len(e.targets)] for e in examples]
    assert all_fields(unit.read(np.array([3, 0, 3]))) == all_fields(examples[i] for i in (3, 0, 3))
    assert all_fields(unit) == all_fields(examples)
    assert unit.read([]) == []


def test_a_large_unit_is_read_in_blocks(tmp_path):
    examples = some_examples(600)
    write_unit(SPEC, str(tmp_path), examples)
    assert all_fields(Unit(SPEC, str(tmp_path))) == all_fields(examples)


def test_equal_examples_make_equal_files(root, tmp_path):
    write_unit(SPEC, str(tmp_path / "other"), some_examples())
    for name in (RECORDS, TABLE, INDEX):
        one, two = SPEC.folder(root) / name, SPEC.folder(str(tmp_path / "other")) / name
        assert one.read_bytes() == two.read_bytes(), name


def test_a_unit_travels_to_other_processes(root):
    unit = Unit(SPEC, root)
    unit.read([0])  # opens the file
    again = pickle.loads(pickle.dumps(unit))
    assert all_fields(again) == all_fields(some_examples())
    assert again.spec == SPEC


def test_everything_that_shapes_tokens_is_in_the_fingerprint(monkeypatch):
    changes = [
        {},
        {"task": "x"},
        {"split": "x"},
        {"rendering": RenderingKey(1, 1)},
        {"rendering": RenderingKey(0, 0)},
        {"recipe": "x"},
        {"vocabulary": "x"},
    ]
    specs = [dataclasses.replace(SPEC, **change) for change in changes]
    prints = {spec.fingerprint for spec in specs}
    assert len(prints) == len(changes)
    assert len({str(spec.folder("/root")) for spec in specs}) == len(changes)
    monkeypatch.setattr(records, "FORMAT", records.FORMAT + 1)
    assert SPEC.fingerprint not in prints


# What is not written


def test_a_task_without_examples_is_an_error(tmp_path):
    with pytest.raises(DataError, match="task 'task', split 'train': no examples"):
        write_unit(SPEC, str(tmp_path), [])
    assert_nothing_left(tmp_path)


def test_an_id_that_repeats_is_an_error(tmp_path):
    examples = some_examples(1_000)
    examples.append(examples[-1])
    with pytest.raises(DataError, match="split 'train': id 'train/999' repeats"):
        write_unit(SPEC, str(tmp_path), examples)
    assert_nothing_left(tmp_path)


def test_a_failing_source_leaves_nothing(tmp_path):
    def fails():
        yield from some_examples(3)
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        write_unit(SPEC, str(tmp_path), fails())
    assert_nothing_left(tmp_path)


def assert_nothing_left(root):
    assert records.problem(SPEC, str(root)) == "missing"
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_unit_replaces_what_stands_in_its_place(root):
    (SPEC.folder(root) / "rubbish").write_text("")
    write_unit(SPEC, root, some_examples(2), fresh=True)
    assert len(Unit(SPEC, root)) == 2
    names = sorted(path.name for path in SPEC.folder(root).iterdir())
    assert names == sorted([RECORDS, TABLE, INDEX])
    assert [path.name for path in SPEC.folder(root).parent.iterdir()] == [SPEC.folder(root).name]


def test_a_sound_unit_stays_and_a_damaged_one_goes(root):
    """Another process finished the same one first, or left it as it must not be."""
    before = SPEC.folder(root).stat()
    write_unit(SPEC, root, some_examples())
    write_unit(SPEC, root, some_examples(), fresh=True)  # the same to the byte
    assert SPEC.folder(root).stat() == before
    truncate(RECORDS)(SPEC.folder(root))
    write_unit(SPEC, root, some_examples())
    assert all_fields(Unit(SPEC, root)) == all_fields(some_examples())
    for wrong in ("file", "link"):
        shutil.rmtree(SPEC.folder(root))
        place = pathlib.Path(SPEC.folder(root))
        place.write_text("") if wrong == "file" else place.symlink_to("nowhere")
        write_unit(SPEC, root, some_examples())
        assert all_fields(Unit(SPEC, root)) == all_fields(some_examples())
        assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_reader_reads_on_while_a_unit_is_written_again(root):
    unit = Unit(SPEC, root)
    unit.read([0])
    later = pickle.loads(pickle.dumps(unit))  # which opens the records when it reads
    write_unit(SPEC, root, some_examples(3), fresh=True)
    assert all_fields(unit) == all_fields(some_examples())
    with pytest.raises(DataError, match="prepared again while this process read it|cannot be read"):
        list(later)


def test_what_killed_processes_left_is_swept(root):
    place = pathlib.Path(SPEC.folder(root)).parent
    (place / ".writing-abc").mkdir()
    (place / ".writing-abc" / RECORDS).write_text("half")
    with files.scratch_folder(place) as held:
        write_unit(OTHER, root, some_examples())
        assert held.is_dir()  # somebody is writing there
    assert sorted(path.name for path in place.iterdir()) == sorted(
        spec.folder(root).name for spec in (SPEC, OTHER)
    )


# Several processes write, and read, one unit: from nothing, over a damaged one, or anew.
RACE = """
import multiprocessing as mp, pathlib, shutil, sys, tempfile
import numpy as np
from flan_jax.data.records import RECORDS, Example, Unit, UnitSpec, problem, write_unit
from flan_jax.instructions.draws import RenderingKey

SPEC = UnitSpec("t", "train", RenderingKey(0, 0), "r", "v")
TOKENS = np.arange(20, dtype=np.int32)

def examples(prompt="p"):
    return (Example(f"train/{i}", "t0", TOKENS, TOKENS, prompt, "t") for i in range(100))

def work(number, kind, root, barrier, queue):
    barrier.wait()
    try:
        if problem(SPEC, root) or kind == "anew":
            write_unit(SPEC, root, examples(str(number)), fresh=kind == "anew")
        unit = Unit(SPEC, root)
        if kind != "anew":
            unit.read(range(100))
        queue.put("ok")
    except BaseException as error:
        queue.put(f"{kind}: {type(error).__name__}: {error}"[:300])

if __name__ == "__main__":
    context = mp.get_context("fork")
    for trial in range(int(sys.argv[1])):
        kind = ("nothing", "damaged", "anew")[trial % 3]
        root = tempfile.mkdtemp()
        if kind != "nothing":  # by another process: threads of a writer survive no fork
            first = context.Process(target=write_unit, args=(SPEC, root, examples()))
            first.start()
            first.join()
        if kind == "damaged":
            path = pathlib.Path(SPEC.folder(root)) / RECORDS
            path.write_bytes(path.read_bytes()[:-1])
        barrier, queue = context.Barrier(3), context.Queue()
        arguments = (kind, root, barrier, queue)
        processes = [context.Process(target=work, args=(n, *arguments)) for n in range(3)]
        for process in processes:
            process.start()
        found = {queue.get() for _ in processes}
        for process in processes:
            process.join()
        assert found == {"ok"}, found
        left = [path.name for path in SPEC.folder(root).parent.iterdir()]
        assert left == [SPEC.folder(root).name], left
        shutil.rmtree(root)
"""


def test_processes_that_prepare_one_unit_leave_each_other_in_peace(tmp_path):
    (tmp_path / "race.py").write_text(RACE)
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "race.py", "36"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


# What cannot be written


@pytest.mark.parametrize("room", [40_000, 400_000])
def test_a_full_disk_is_one_error_and_other_records_stay(small_disk, room):
    """There is room for no record, or for the records and not for the rest."""
    root = str(small_disk)
    write_unit(OTHER, root, some_examples())
    free = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    rng = np.random.Generator(np.random.Philox(0))  # which does not compress
    tokens = [rng.integers(0, 2**31, 25_000, dtype=np.int32) for _ in range(40)]
    long = [
        dataclasses.replace(example, inputs=inputs)
        for example, inputs in zip(some_examples(40), tokens, strict=True)
    ]
    with pytest.raises(OutputError, match=f"cannot write {SPEC.folder(root)}: No space left on"):
        write_unit(SPEC, root, long)
    assert all_fields(Unit(OTHER, root)) == all_fields(some_examples())
    assert records.problem(SPEC, root) == "missing"
    (small_disk / "ballast").unlink()
    assert write_unit(SPEC, root, some_examples()) == 5


def test_a_root_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", pathlib.Path("/proc/nowhere")):
        assert records.problem(SPEC, str(root)) == "missing"
        with pytest.raises(OutputError, match=f"cannot write {root}"):
            write_unit(SPEC, str(root), some_examples())


# What is refused


def truncate(name):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-1])

    return damage


def edit_index(**changes):
    def damage(folder):
        index = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps(index | changes))

    return damage


DAMAGE = {
    "truncated records": (truncate(RECORDS), "damaged: records.array_record is not"),
    "truncated table": (truncate(TABLE), "damaged: table.npz is not"),
    "truncated index": (truncate(INDEX), "damaged: index.json: not JSON"),
    "flipped byte in the table": (
        lambda folder: flip_byte(folder / TABLE, 100),
        "damaged: table.npz does not match its hash",
    ),
    "no index": (lambda folder: (folder / INDEX).unlink(), "unfinished: .*index.json"),
    "no records": (
        lambda folder: (folder / RECORDS).unlink(),
        "unfinished: .*records.array_record",
    ),
    "no table": (lambda folder: (folder / TABLE).unlink(), "unfinished: .*table.npz"),
    "no unit": (lambda folder: shutil.rmtree(folder), "missing"),
    "another format": (edit_index(format=0), "foreign"),
    "another fingerprint": (edit_index(fingerprint="0" * 16), "foreign"),
    "an index of another shape": (
        edit_index(files=[]),
        "damaged: index.json: 'files' must be an object, found a list",
    ),
    "an index without files": (
        edit_index(files={}),
        "damaged: index.json: 'files': 'records.array_record' is missing",
    ),
    "an index that is a list": (
        lambda folder: (folder / INDEX).write_text("[]"),
        "damaged: index.json must be an object, found a list",
    ),
}


def replaced(name, make):
    """Another thing in the place of a file."""

    def damage(folder):
        (folder / name).unlink()
        make(str(folder / name))

    return damage


def leads_out(path):
    """To a sound file of another unit."""
    elsewhere = pathlib.Path(path).parents[4] / "elsewhere"
    write_unit(SPEC, str(elsewhere), some_examples())
    os.symlink(SPEC.folder(str(elsewhere)) / pathlib.Path(path).name, path)


def table_of(save=np.savez, count=5, **arrays):
    """A table under an index that says its size and its hash."""

    def damage(folder):
        usual = {
            "lengths": np.ones((5, 2), np.int32),
            "crc32": np.ones(5, np.uint32),
            "ids": np.array([b"x"] * 5),
        }
        with open(folder / TABLE, "wb") as file:
            save(file, **(usual | arrays))
        index = json.loads((folder / INDEX).read_text())
        index["files"][TABLE] = {
            "size": os.path.getsize(folder / TABLE),
            "sha256": files.file_digest(folder / TABLE),
        }
        (folder / INDEX).write_text(json.dumps(index | {"count": count}))

    return damage


# An attempt to run code when the table is read.
class Hostile:
    def __reduce__(self):
        return os.mkdir, ("/tmp/flan_jax_was_here",)


DAMAGE |= {
    "a folder as index": (replaced(INDEX, os.mkdir), "damaged: index.json is not a regular file"),
    "a FIFO as index": (replaced(INDEX, os.mkfifo), "damaged: index.json is not a regular file"),
    "a FIFO as records": (replaced(RECORDS, os.mkfifo), "damaged: .* not a regular file"),
    "a FIFO as table": (replaced(TABLE, os.mkfifo), "damaged: .* not a regular file"),
    "records that are a link": (replaced(RECORDS, leads_out), "damaged: .* link that leads out"),
    "a table that is a link": (replaced(TABLE, leads_out), "damaged: .* link that leads out"),
    "an index that is a link": (replaced(INDEX, leads_out), "damaged: .* link that leads out"),
    "a device as table": (
        replaced(TABLE, lambda path: os.symlink("/dev/zero", path)),
        "damaged: .* link that leads out",
    ),
    "a deep index": (
        lambda folder: (folder / INDEX).write_text("[" * 100_000),
        "damaged: index.json: nested too deeply",
    ),
    "an endless index": (
        lambda folder: os.truncate(folder / INDEX, 1 << 33),
        "damaged: .*larger than",
    ),
    "an index with a huge number": (
        lambda folder: (folder / INDEX).write_text('{"format": ' + "9" * 5_000 + "}"),
        "damaged: index.json: not JSON: .*limit",
    ),
    "a size that is no number": (
        edit_index(files={RECORDS: {"size": "1"}}),
        "damaged: .*'size' must be a whole number",
    ),
    "a table that runs code": (
        table_of(ids=np.array([Hostile()] * 5, object)),
        "damaged: table.npz: Object arrays cannot be loaded",
    ),
    "a table that grows": (table_of(np.savez_compressed), "damaged: table.npz is compressed"),
    "a table of other examples": (table_of(count=6), "damaged: .*not describe 6 examples"),
    "a table of another shape": (table_of(crc32=np.ones((5, 5))), "damaged: .*not describe 5"),
    "lengths below nothing": (
        table_of(lengths=np.full((5, 2), -1, np.int32)),
        "damaged: .*not describe 5",
    ),
    "a table without ids": (
        table_of(lambda file, ids, **arrays: np.savez(file, **arrays)),
        "damaged: table.npz: .*ids",
    ),
    "a table that is none": (
        table_of(lambda file, **arrays: file.write(b"PK" * 50)),
        "damaged: table.npz: .*not a zip file",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_unit_is_refused(kind, root):
    damage, said = DAMAGE[kind]
    folder = pathlib.Path(SPEC.folder(root))
    damage(folder)
    with pytest.raises(DataError, match=said) as raised:
        Unit(SPEC, root)
    assert str(folder) in str(raised.value) and len(str(raised.value)) < 1000
    assert not os.path.exists("/tmp/flan_jax_was_here")
    if folder.exists():  # and it is written again
        write_unit(SPEC, root, some_examples())
        assert all_fields(Unit(SPEC, root)) == all_fields(some_examples())


def write_raw(root, *raw):
    """Records of any bytes in a unit whose checksums and lengths are theirs."""

    class Raw:
        inputs, targets, id, fit = np.zeros(1), np.zeros(2), "", 0

        def __init__(self, record):
            self.to_bytes, self.id = lambda: record, str(len(record))

    write_unit(SPEC, root, map(Raw, raw))


GOOD = msgpack.unpackb(
    dataclasses.replace(some_examples()[0], targets=np.zeros(2, np.int32)).to_bytes()
)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        msgpack.packb([1]),
        msgpack.packb({}),
        msgpack.packb(GOOD | {"more": 1}),
        msgpack.packb(GOOD | {"inputs": b"123"}),
        msgpack.packb(GOOD | {"inputs": b"12345678"}),
        msgpack.packb(GOOD | {"prompt": 7}),
        msgpack.packb(GOOD | {"options": None}),
        msgpack.packb(GOOD | {"references": [b"x"]}),
        msgpack.packb(GOOD | {"ranked": [1, 2, 3]}),
        msgpack.packb(GOOD | {"ranked": "abc"}),
        msgpack.packb(GOOD | {"fit": 3}),
        msgpack.packb(GOOD | {"fit": "whole"}),
    ],
)
def test_a_record_of_a_strangers_making_is_refused_by_name(record, tmp_path):
    write_raw(str(tmp_path), record)
    with pytest.raises(DataError, match=f"{RECORDS}: record 0"):
        Unit(SPEC, str(tmp_path)).read([0])


def test_the_files_of_another_unit_are_refused(root):
    """Copied by hand into the place of one with another recipe."""
    shutil.copytree(SPEC.folder(root), OTHER.folder(root))
    with pytest.raises(DataError, match="foreign: its index describes other tokens"):
        Unit(OTHER, root)


def test_records_of_another_unit_under_the_right_index_are_refused(root, tmp_path):
    """Equal in size, so only their checksums tell."""
    other = [dataclasses.replace(e, prompt=e.prompt.upper()) for e in some_examples()]
    write_unit(SPEC, str(tmp_path / "other"), other)
    records_of_other = SPEC.folder(str(tmp_path / "other")) / RECORDS
    shutil.copy(records_of_other, SPEC.folder(root) / RECORDS)
    unit = Unit(SPEC, root)
    with pytest.raises(DataError, match="record 2 does not match its checksum"):
        unit.read([2])


def test_no_flipped_byte_goes_unnoticed(tmp_path):
    """Either the error names the file, or the byte was one that no record depends on."""
    rng = np.random.Generator(np.random.Philox(0))
    tokens = rng.integers(0, 2**31, (50, 300), dtype=np.int32)  # which hardly compress
    examples = [
        dataclasses.replace(example, inputs=inputs)
        for example, inputs in zip(some_examples(50), tokens, strict=True)
    ]
    write_unit(SPEC, str(tmp_path), examples)
    path = pathlib.Path(SPEC.folder(str(tmp_path))) / RECORDS
    content = path.read_bytes()
    found = 0
    for position in range(0, len(content), len(content) // 60):
        path.write_bytes(content)
        flip_byte(path, position)
        try:
            assert all_fields(Unit(SPEC, str(tmp_path))) == all_fields(examples)
        except DataError as error:
            assert str(path) in str(error)
            found += 1
    assert found > 20


def test_a_position_that_is_not_there_is_an_error(root):
    unit = Unit(SPEC, root)
    with pytest.raises(DataError, match="cannot be read"):
        unit.read([5])


# Remote storage


class Bucket(type(backend.os_backend)):
    """gs:// kept in a folder: what epath does with a path, without the network."""

    def __init__(self, folder):
        self._folder = str(folder)
        self.log = []
        self.delay = 0.0

    def _local(self, path):
        return str(path).replace("gs://", f"{self._folder}/")

    def open(self, path, mode):
        return super().open(self._local(path), mode)

    def exists(self, path):
        return super().exists(self._local(path))

    def isdir(self, path):
        return super().isdir(self._local(path))

    def listdir(self, path):
        return super().listdir(self._local(path))

    def makedirs(self, path, **kwargs):
        return super().makedirs(self._local(path), **kwargs)

    def remove(self, path):
        return super().remove(self._local(path))

    def stat(self, path):
        return super().stat(self._local(path))

    def copy(self, path, dst, overwrite):
        self.log.append((pathlib.Path(path).name, str(dst).startswith("gs://")))
        time.sleep(self.delay)
        return super().copy(self._local(path), self._local(dst), overwrite)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    found = Bucket(tmp_path / "storage")
    monkeypatch.setattr(backend, "tf_backend", found)
    monkeypatch.setattr(gpath, "_GCS_BACKENDS", frozenset({found}))
    monkeypatch.setattr(gpath, "_is_zonal_gcs_bucket", lambda name: False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return found


REMOTE = "gs://bucket/prepared"


def test_a_remote_unit_is_read_through_a_local_copy(bucket):
    assert records.problem(SPEC, REMOTE) == "missing"
    write_unit(SPEC, REMOTE, some_examples())
    # The index makes a unit valid, so it comes last.
    assert bucket.log == [(RECORDS, True), (TABLE, True), (INDEX, True)]
    assert records.problem(SPEC, REMOTE) is None
    unit = Unit(SPEC, REMOTE)
    assert all_fields(unit) == all_fields(some_examples())
    assert not files.is_remote(unit.folder)
    bucket.log.clear()
    Unit(SPEC, REMOTE)
    assert bucket.log == []  # the copy is kept
    truncate(RECORDS)(pathlib.Path(unit.folder))
    assert all_fields(Unit(SPEC, REMOTE)) == all_fields(some_examples())
    assert len(bucket.log) == 3  # and made again where it is damaged


def test_a_remote_unit_can_be_written_again(bucket):
    write_unit(SPEC, REMOTE, some_examples(3))
    write_unit(SPEC, REMOTE, some_examples(5))
    assert len(Unit(SPEC, REMOTE)) == 5


def test_a_remote_unit_that_is_damaged_is_refused(bucket, tmp_path):
    write_unit(SPEC, REMOTE, some_examples())
    [path] = (tmp_path / "storage").rglob(RECORDS)
    path.write_bytes(path.read_bytes()[:-1])
    assert records.problem(SPEC, REMOTE).startswith("damaged")
    with pytest.raises(DataError, match="damaged"):
        Unit(SPEC, REMOTE)


def test_a_remote_unit_that_is_not_there_is_named(bucket):
    with pytest.raises(DataError, match=f"prepared records {REMOTE}/.* are missing"):
        Unit(SPEC, REMOTE)


def test_a_remote_unit_that_was_written_again_is_copied_again(bucket):
    write_unit(SPEC, REMOTE, some_examples(3))
    assert len(Unit(SPEC, REMOTE)) == 3
    write_unit(SPEC, REMOTE, some_examples(5), fresh=True)
    assert all_fields(Unit(SPEC, REMOTE)) == all_fields(some_examples())


def test_copying_has_a_time_limit(bucket):
    write_unit(SPEC, REMOTE, some_examples())
    bucket.delay = 0.5
    started = time.monotonic()
    with pytest.raises(DataError, match=f"copying {REMOTE}/.* took over 0 s"):
        records._local_copy(SPEC, REMOTE, timeout_s=0.05)
    assert time.monotonic() - started < 0.4
    bucket.delay = 0.0
    assert len(Unit(SPEC, REMOTE)) == 5
