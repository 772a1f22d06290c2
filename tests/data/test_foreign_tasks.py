"""Tasks that SeqIO alone knows: prepared again when what shaped them changed, and only then."""

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import time

import gin
import pytest
import seqio
import tensorflow as tf
import toy_tasks  # noqa: F401  (registered for good, before what tests remove again)

from flan_jax import cli
from flan_jax.data.prepare import prepare
from flan_jax.data.records import RECORDS
from flan_jax.data.units import Renderings
from flan_jax.errors import DataError, OutputError
from flan_jax.instructions import recipes, registration
from flan_jax.instructions.vocabulary import VOCABULARY, load_vocabulary

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAST = (
    seqio.preprocessors.tokenize,
    seqio.CacheDatasetPlaceholder(),
    seqio.preprocessors.append_eos_after_trim,
)


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """Leaves no task behind, and the byte vocabulary in force, here and in other processes."""
    monkeypatch.setenv("VOCABULARY", "byte")
    monkeypatch.setattr(VOCABULARY, "_pinned", "byte")
    before = {*seqio.TaskRegistry.names()}
    yield
    for name in {*seqio.TaskRegistry.names()} - before:
        seqio.TaskRegistry.remove(name)


def rows(dataset):
    """Prompt and target of lines with a tab between them."""

    def split(line):
        parts = tf.strings.split(line, "\t")
        return {"inputs": parts[0], "targets": parts[1]}

    return dataset.map(split)


def marked(dataset, mark):
    return dataset.map(lambda row: {**row, "inputs": row["inputs"] + mark})


def make(split, shuffle_files=False, seed=None):
    return tf.data.Dataset.from_tensor_slices({"inputs": ["a b", "c d"], "targets": ["a", "c"]})


def register(source, *steps, name="foreign", vocabulary=None):
    """Registers a task in place of one of the same name."""
    if name in seqio.TaskRegistry.names():
        seqio.TaskRegistry.remove(name)
    features = registration.OUTPUT_FEATURES
    if vocabulary is not None:
        features = {key: seqio.Feature(vocabulary) for key in features}
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[*steps, *LAST],
        output_features=features,
        metric_fns=[],
    )


def prepared(root, name="foreign", **kwargs):
    """Returns the prompts of a task, and what was said."""
    said = []
    mixture = prepare(name, "train", Renderings(), str(root), report=said.append, **kwargs)
    return [example.prompt for example in mixture.units[0][0]], said


def fingerprint(name="foreign"):
    return recipes.get_recipe(name).fingerprint()


def test_lines_that_change_are_prepared_again(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("one\t1\n")
    register(seqio.TextLineDataSource({"train": str(path)}), rows)
    assert prepared(tmp_path)[0] == ["one"]
    assert prepared(tmp_path) == (["one"], [])
    before = path.stat()
    path.write_text("two\t2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert prepared(tmp_path)[0] == ["two"]
    path.write_text("one\t1\n")
    assert prepared(tmp_path) == (["one"], [])  # what was prepared of it is there still
    moved = tmp_path / "elsewhere" / "train.tsv"
    moved.parent.mkdir()
    path.rename(moved)
    register(seqio.TextLineDataSource({"train": str(moved)}), rows)
    assert prepared(tmp_path) == (["one"], [])


def test_files_behind_a_pattern_count_and_so_does_their_order(tmp_path):
    prints = set()
    for number in range(3):
        (tmp_path / f"train-{number}").write_text(f"{number}\t1\n")
        folder = tmp_path / f"copy{number}"  # SeqIO keeps what it found for a pattern
        shutil.copytree(tmp_path, folder, ignore=lambda *_: [f"copy{i}" for i in range(3)])
        register(seqio.TextLineDataSource({"train": str(folder / "train-*")}), rows)
        prints.add(fingerprint())
    paths = [str(tmp_path / f"train-{number}") for number in (2, 1, 0)]
    for order in (paths, paths[::-1]):
        register(seqio.TextLineDataSource({"train": order}), rows)
        prints.add(fingerprint())
    assert len(prints) == 4  # the last is what the pattern found at last


def test_large_files_count_by_size_time_and_inode(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "MOST_HASHED", 10)
    path = tmp_path / "train.tsv"
    path.write_text("one\t1\ntwo\t2\n")
    register(seqio.TextLineDataSource({"train": str(path)}), rows)
    prints = [fingerprint(), fingerprint()]
    time.sleep(0.02)
    path.write_text("two\t2\none\t1\n")
    prints.append(fingerprint())
    shutil.copy2(path, tmp_path / "copy")
    os.replace(tmp_path / "copy", path)
    prints.append(fingerprint())
    assert prints[0] == prints[1] and len(set(prints)) == 3


SOURCES = {
    "header": lambda path: seqio.TextLineDataSource({"train": path}, skip_header_lines=1),
    "reader": lambda path: seqio.FileDataSource(tf.data.TextLineDataset, {"train": path}),
    "own reader": lambda path: seqio.FileDataSource(
        lambda one: tf.data.TextLineDataset(one).take(1), {"train": path}
    ),
    "own other reader": lambda path: seqio.FileDataSource(
        lambda one: tf.data.TextLineDataset(one).take(2), {"train": path}
    ),
    "examples": lambda path: seqio.TFExampleDataSource(
        {"train": path}, {"inputs": tf.io.FixedLenFeature([], tf.string)}
    ),
    "other examples": lambda path: seqio.TFExampleDataSource(
        {"train": path}, {"inputs": tf.io.FixedLenFeature([1], tf.string)}
    ),
    "protos": lambda path: seqio.ProtoDataSource({"train": path}, lambda proto: {"inputs": proto}),
    "other protos": lambda path: seqio.ProtoDataSource({"train": path}, lambda proto: {"x": proto}),
    "another split": lambda path: seqio.TextLineDataSource({"train": path, "test": path}),
    "missing": lambda path: seqio.TextLineDataSource({"train": path, "test": path + "missing"}),
    "function": lambda path: seqio.FunctionDataSource(make, splits=["train"]),
    "other function": lambda path: seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: make(split).take(1), splits=["train"]
    ),
}


def test_sources_are_told_apart_and_are_known_whole(tmp_path):
    path = tmp_path / "data"
    path.write_text("one\t1\n")
    prints = set()
    for source in SOURCES.values():
        register(source(str(path)), rows)
        prints |= {fingerprint(), fingerprint()}
        assert recipes.get_recipe("foreign").unknown == ()
    assert len(prints) == len(SOURCES)


def test_steps_and_features_are_told_apart(tmp_path):
    source = seqio.FunctionDataSource(make, splits=["train"])
    prints = []
    for steps in (
        [],
        [functools.partial(marked, mark="!")],
        [functools.partial(marked, mark="?")],
        [functools.partial(marked, mark=tf.constant("?"))],
        [functools.partial(marked, mark="!")] * 2,
    ):
        register(source, *steps)
        prints += {fingerprint(), fingerprint()}
    default = str(pathlib.Path(recipes.__file__).parent / "vocabularies/default.model")
    copy = shutil.copy(default, tmp_path)
    vocabularies = [
        load_vocabulary("byte"),
        seqio.ByteVocabulary(),
        seqio.PassThroughVocabulary(10),
        seqio.SentencePieceVocabulary(default),
        seqio.SentencePieceVocabulary(default, extra_ids=7),
    ]
    for vocabulary in vocabularies:
        register(source, vocabulary=vocabulary)
        prints += {fingerprint(), fingerprint()}
    assert len(set(prints)) == len(prints) == 10
    register(source, vocabulary=seqio.SentencePieceVocabulary(str(copy)))
    assert fingerprint() == prints[8]
    vocabularies[3].encode("words")  # which loads the model
    register(source, vocabulary=vocabularies[3])
    assert fingerprint() == prints[8]
    with open(copy, "ab") as file:
        file.write(b"\0")
    register(source, vocabulary=seqio.SentencePieceVocabulary(str(copy)))
    assert fingerprint() not in prints


def test_a_dataset_of_tfds_counts_by_its_data(tmp_path):
    import tensorflow_datasets as tfds

    class Toy(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        texts = ("one", "two")

        def _info(self):
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(
                {"inputs": tfds.features.Text(), "targets": tfds.features.Text()}))  # fmt: skip

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, text in enumerate(self.texts):
                yield number, {"inputs": text, "targets": text}

    def source(folder, split="train"):
        return seqio.TfdsDataSource(
            "toy:1.0.0", tfds_data_dir=str(tmp_path / folder), splits={"train": split}
        )

    prints = []
    for folder, texts in (("a", ("one", "two")), ("b", ("one", "two")), ("c", ("one", "owt"))):
        Toy.texts = texts
        Toy(data_dir=str(tmp_path / folder)).download_and_prepare()
        register(source(folder))
        prints += {fingerprint(), fingerprint()}
    register(source("a", "train[:1]"))
    prints.append(fingerprint())
    assert prints[0] != prints[2] and len({prints[0], *prints[2:]}) == 3
    assert recipes.get_recipe("foreign").unknown == ()
    assert prepared(tmp_path / "out")[0] == ["one"]
    register(source("nowhere"), name="foreign")
    seqio.TaskRegistry.remove("foreign")
    register(seqio.TfdsDataSource("no_such_data:1.0.0", splits=["train"]))
    with pytest.raises(DataError, match="task 'foreign': .*no_such_data.* cannot be had"):
        fingerprint()


# What cannot be known


class OwnSource(seqio.DataSource):
    """Reads from who knows where."""

    words = ("one", "two")

    def __init__(self):
        super().__init__(splits=["train"])

    @property
    def supports_arbitrary_sharding(self):
        return False

    def list_shards(self, split):
        return [split]

    def get_dataset(self, *args, **kwargs):
        return tf.data.Dataset.from_tensor_slices(
            {"inputs": list(self.words), "targets": list(self.words)}
        )


def test_what_cannot_be_known_is_said_once_and_fresh_prepares_again(tmp_path):
    hidden = tmp_path / "words"
    hidden.write_text("one")

    def reads(split, shuffle_files, seed=None):
        text = tf.io.read_file(str(hidden))
        return tf.data.Dataset.from_tensors({"inputs": text, "targets": text})

    register(seqio.FunctionDataSource(reads, splits=["train"]))
    words, said = prepared(tmp_path)
    assert words == ["one"] and len([line for line in said if "--fresh" in line]) == 1
    assert said[-1] == (
        "not all that shapes the tokens of foreign can be known: its source (reads) reads files, "
        "by 'read_file'. Where that changed, --fresh prepares again"
    )
    assert prepared(tmp_path) == (["one"], said[-1:])
    hidden.write_text("two")
    assert prepared(tmp_path)[0] == ["one"]
    first = prepare("foreign", "train", Renderings(), str(tmp_path))
    assert prepared(tmp_path, fresh=True)[0] == ["two"]
    assert prepared(tmp_path)[0] == ["two"]
    # A run that began with the others is not the same run, nor is an evaluation.
    second = prepare("foreign", "train", Renderings(), str(tmp_path))
    assert first.recipes != second.recipes and first.fingerprints != second.fingerprints
    assert first.units[0][0].spec == second.units[0][0].spec


def test_a_source_of_ones_own_may_have_a_fingerprint(tmp_path):
    register(OwnSource())
    words, said = prepared(tmp_path)
    assert words == ["one", "two"]
    assert "its source is a OwnSource, which has no attribute 'fingerprint'" in said[-1]

    class Known(OwnSource):
        fingerprint = "1"

    register(Known())
    assert recipes.get_recipe("foreign").unknown == () and prepared(tmp_path)[1][1:] == [
        "prepared 2 examples"
    ]
    before = fingerprint()
    Known.fingerprint = "2"
    assert fingerprint() != before


def test_known_records_that_are_damaged_are_prepared_again_by_fresh(tmp_path):
    """Where a byte in the middle changed, only reading it tells."""
    register(seqio.FunctionDataSource(make, splits=["train"]))
    mixture = prepare("foreign", "train", Renderings(), str(tmp_path))
    path = pathlib.Path(mixture.units[0][0].folder) / RECORDS
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes([content[200] ^ 255]) + content[201:])
    with pytest.raises(DataError, match=r"cannot be read|prepare --fresh"):
        prepared(tmp_path)
    assert prepared(tmp_path, fresh=True)[0] == ["a b", "c d"]
    assert path.read_bytes() == content
    assert mixture.recipes == prepare("foreign", "train", Renderings(), str(tmp_path)).recipes


def test_data_that_changes_while_it_is_prepared_is_said(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("one\t1\n")

    def changes(dataset):
        path.write_text("two\t2\n")
        return dataset

    register(seqio.TextLineDataSource({"train": str(path)}), rows, changes)
    _, said = prepared(tmp_path)
    assert "of foreign is not what it was before they were prepared: its data changed" in said[-1]


def test_a_declared_fact_that_cannot_be_described_is_refused_by_name():
    def declare(fact):
        return recipes.Recipe({"name": "kit", "fact": fact}).fingerprint()

    with pytest.raises(DataError, match="task 'kit': a generator among its facts is a"):
        declare(i for i in "abc")
    assert declare(functools.partial(marked, mark=rows)) == declare(
        functools.partial(marked, mark=rows)
    )
    assert declare({"b", "a"}) == declare({"a", "b"}) != declare({"a"})
    assert declare(pathlib.Path("x")) == declare("x")


# In processes of their own, which have other addresses and another order of sets

CASES = """
import pathlib
import seqio_ext, seqio_ext2
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings

def prepared(*names):
    said = []
    for name in names:
        prepare(name, "train", Renderings(), "out", report=said.append)
    print(sum(line.startswith("prepared ") for line in said))

prepared("tsv_task", "part_task", "fn_task")
lines = pathlib.Path("train.tsv")
lines.write_text(lines.read_text().replace("second", "zweite"))
prepared("tsv_task", "part_task", "fn_task")
"""


def test_the_cases_of_stale_and_of_unstable_fingerprints(tmp_path, shared_data):
    for case in ("stale_external_task", "unstable_fingerprint"):
        shutil.copytree(shared_data / "cases" / case, tmp_path, dirs_exist_ok=True)

    def run(seed):
        env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [sys.executable, "-c", CASES],
            cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split()

    assert run(1) == ["3", "1"]  # all, and then the one whose file changed
    assert run(2) == ["0", "0"]


def test_the_command_line_prepares_afresh_where_it_is_told_to(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path))  # so that it is put back
    command = [
        *("prepare", "--mixture=toy_copy", "--module=toy_tasks", f"--prepared_dir={tmp_path}"),
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 64}",
    ]
    try:
        for more, found in (([], True), ([], False), (["--fresh"], True)):
            assert cli.run([*command, *more]) == 0
            assert ("\nprepared " in capsys.readouterr().out) == found
    finally:
        gin.clear_config()


# What cannot be written

WORKERS = """
import sys
import worker_tasks
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import FlanJaxError

if __name__ == "__main__":
    try:
        prepare("w_both", "train", Renderings(), sys.argv[1],
                modules=["worker_tasks"], workers=int(sys.argv[2]))
    except FlanJaxError as error:
        print(type(error).__name__, error)
"""
TASKS = """
import numpy as np
import seqio
from flan_jax.instructions import mixtures, registration

def rows(count, split):
    text = np.random.default_rng(0).bytes(100_000).hex()
    return [{"id": str(i), "text": text} for i in range(count)]

for name, count in (("w_small", 1), ("w_large", 60)):
    registration.register_task(
        name,
        source=registration.rows_source(
            __import__("functools").partial(rows, count), {"text": "string"}, {"train": count}
        ),
        render=lambda example, draws: registration.Rendered(example["text"], "x", "t0"),
        facts={"count": count},
    )
mixtures.register_mixture("w_both", ["w_large", "w_small"])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_error_of_any_process_and_what_fits_is_kept(
    small_disk, tmp_path, workers
):
    (tmp_path / "worker_tasks.py").write_text(TASKS)
    (tmp_path / "script.py").write_text(WORKERS)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "script.py", str(small_disk), str(workers)],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = done.stdout.splitlines()
    assert line.startswith(f"OutputError cannot write {small_disk}/records/w_large/train/r0-s0-")
    assert line.endswith("No space left on device")
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert not [name for name in left if "writing" in name]
    if workers == 2:  # in one process the large one comes first
        assert (small_disk / "records/w_small/train").is_dir()
    assert [path for path in small_disk.glob("records/*/*/.*")] == []


def test_a_root_that_is_a_file_is_one_error_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("kept")

    def fails(split, shuffle_files, seed=None):
        raise AssertionError("nothing is to be read")

    register(seqio.FunctionDataSource(fails, splits=["train"]))
    for root, why in ((tmp_path / "file", "File exists|Not a dir"), ("/proc/nowhere", "No such")):
        with pytest.raises(OutputError, match=f"cannot write {root}.*: ({why})"):
            prepared(root)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "--prepared_dir=file", "--gin.TASK_FEATURE_LENGTHS={'inputs':8,'targets':8}"],
        ["baseline", "copy_input", "--out=file/x"],
        ["vocab", "--size=300", "--out=file/x.model"],
    ],
)
def test_commands_that_cannot_write_say_so_and_leave_what_is_there(
    tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREPARED_DIR", "")  # so that it is put back
    (tmp_path / "file").write_text("kept")
    try:
        with pytest.raises(OutputError, match="cannot write file.*: (Not a dir|File exists)"):
            cli.run([*arguments, "--mixture=toy_copy", "--module=toy_tasks"])
    finally:
        gin.clear_config()
    assert (tmp_path / "file").read_text() == "kept"
