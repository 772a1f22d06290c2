"""Prepared records: what is written comes back, and what is damaged is refused by name."""

import dataclasses
import json
import pathlib
import pickle
import shutil
import tempfile
import time

import numpy as np
import pytest
from etils.epath import backend, gpath
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.data import records
from flan_jax.data.records import INDEX, RECORDS, TABLE, Example, Unit, UnitSpec, write_unit
from flan_jax.errors import DataError
from flan_jax.instructions.rendering import RenderingKey

SPEC = UnitSpec("task", "train", RenderingKey(0, 1), recipe="r" * 16, vocabulary="v" * 16)
OTHER = dataclasses.replace(SPEC, recipe="s" * 16)
TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=20).map(lambda t: np.array(t, np.int32))
EXAMPLES = st.builds(
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
    return fields | {name: fields[name].tolist() for name in ("inputs", "targets")}


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
    write_unit(SPEC, root, some_examples(2))
    assert len(Unit(SPEC, root)) == 2
    names = sorted(path.name for path in SPEC.folder(root).iterdir())
    assert names == sorted([RECORDS, TABLE, INDEX])
    assert [path.name for path in SPEC.folder(root).parent.iterdir()] == [SPEC.folder(root).name]


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
    "truncated index": (truncate(INDEX), "damaged: JSONDecodeError"),
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
    "an index of another shape": (edit_index(files=[]), "damaged: AttributeError"),
    "an index without files": (edit_index(files={}), "damaged: KeyError"),
    "an index that is a list": (
        lambda folder: (folder / INDEX).write_text("[]"),
        "damaged: TypeError",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_unit_is_refused(kind, root):
    damage, said = DAMAGE[kind]
    folder = pathlib.Path(SPEC.folder(root))
    damage(folder)
    with pytest.raises(DataError, match=said) as raised:
        Unit(SPEC, root)
    assert str(folder) in str(raised.value)


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


@pytest.mark.parametrize(
    "path, remote", [("gs://b/x", True), ("s3://b", True), ("/tmp/x", False), ("runs/x", False)]
)
def test_remote_paths_are_told_apart(path, remote):
    assert records.is_remote(path) == remote


def test_a_remote_unit_is_read_through_a_local_copy(bucket):
    assert records.problem(SPEC, REMOTE) == "missing"
    write_unit(SPEC, REMOTE, some_examples())
    # The index makes a unit valid, so it comes last.
    assert bucket.log == [(RECORDS, True), (TABLE, True), (INDEX, True)]
    assert records.problem(SPEC, REMOTE) is None
    unit = Unit(SPEC, REMOTE)
    assert all_fields(unit) == all_fields(some_examples())
    assert not records.is_remote(unit.folder)
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


def test_copying_has_a_time_limit(bucket):
    write_unit(SPEC, REMOTE, some_examples())
    bucket.delay = 0.5
    started = time.monotonic()
    with pytest.raises(DataError, match=f"copying {REMOTE}/.* took over 0 s"):
        records._local_copy(SPEC, REMOTE, timeout_s=0.05)
    assert time.monotonic() - started < 0.4
    bucket.delay = 0.0
    assert len(Unit(SPEC, REMOTE)) == 5
