"""What proves a checkpoint whole, and what it says of its run: as others may have made them."""

import json
import os
import pathlib
import shutil

import pytest
import tensorstore as ts
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan_jax.config import ROOT
from flan_jax.errors import CheckpointError
from flan_jax.training import checkpoints, manifest, run_metadata
from flan_jax.training.retention import read_note

BASE = ROOT / "tasks" / "minilab" / "base"
RUN = json.loads((BASE / "run" / "metadata").read_text())


@pytest.fixture
def base(tmp_path) -> epath.Path:
    shutil.copytree(BASE, tmp_path / "base")
    return epath.Path(tmp_path / "base")


def rewrite(path: epath.Path, change) -> None:
    file = path / manifest.MANIFEST
    entries = json.loads(file.read_text())
    changed = change(entries)
    file.write_text(json.dumps(entries if changed is None else changed))


def test_a_manifest_that_is_written_proves(base):
    (base / manifest.MANIFEST).unlink()
    assert "has no MANIFEST.json" in manifest.verify(base)
    manifest.write_manifest(base)
    assert manifest.verify(base) is None
    # It lists all there is, and writes the same again.
    listed = set(json.loads((base / manifest.MANIFEST).read_text()))
    there = {str(path.relative_to(base)) for path in pathlib.Path(base).rglob("*")}
    folders = {str(path.relative_to(base)) for path in pathlib.Path(base).rglob("*/")}
    assert listed == there - folders - {manifest.MANIFEST}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda all: {}, "params/_METADATA is not in MANIFEST.json"),
        (lambda all: [], "MANIFEST.json is no object"),
        (lambda all: 3, "MANIFEST.json is no object"),
        (lambda all: all.pop("params/_sharding") and None, "params/_sharding is not in MANIFEST"),
        (lambda all: all.pop("run/metadata") and None, "run/metadata is not in MANIFEST"),
        (lambda all: {n: 1 for n in all}, "no size and SHA-256 of 'params/_METADATA'"),
        (lambda all: all["run/metadata"].pop("size") and None, "no size and SHA-256"),
        (lambda all: all["run/metadata"].update(size=3006.0), "no size and SHA-256"),
        (lambda all: all["run/metadata"].update(size=True), "no size and SHA-256"),
        (lambda all: all["run/metadata"].update(size=-1), "no size and SHA-256"),
        (lambda all: all["run/metadata"].update(sha256=None), "no size and SHA-256"),
        (lambda all: all["run/metadata"].update(sha256="0" * 64), "run/metadata does not match"),
        (lambda all: all["run/metadata"].update(size=10**400), "run/metadata has 3006 of"),
        (lambda all: all.update({"params/more": all["run/metadata"]}), "params/more is missing"),
        (lambda all: all.update({"../base/x": all["run/metadata"]}), "../base/x is missing"),
        (lambda all: all.update({"/etc/passwd": all["run/metadata"]}), "/etc/passwd is missing"),
        (lambda all: all.update({"/dev/zero": all["run/metadata"]}), "/dev/zero is missing"),
        (lambda all: all.update({"a\0\x1b": all["run/metadata"]}), r"a\x00\x1b is missing"),
    ],
)
def test_a_manifest_that_proves_nothing(base, change, why):
    rewrite(base, change)
    found = manifest.verify(base)
    assert why in found and len(found) < 5000
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.require(str(base), weights_only=True)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1', "\xff"])
def test_a_manifest_that_is_no_json(base, text):
    (base / manifest.MANIFEST).write_bytes(text.encode("latin1"))
    assert "MANIFEST.json" in manifest.verify(base)


def test_files_that_nobody_lists(base):
    (base / "NOTES.txt").write_text("beside the folders there may be notes")
    assert manifest.verify(base) is None
    (base / "params" / "d" / "more").write_text("")
    assert manifest.verify(base) == "params/d/more is not in MANIFEST.json"


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "device", "socket"])
def test_what_is_no_regular_file_is_never_opened(base, tmp_path, kind):
    place = pathlib.Path(base) / "params" / "_sharding"
    place.unlink()
    if kind == "link":
        place.symlink_to(BASE / "params" / "_sharding")
    elif kind == "folder link":
        place.symlink_to(BASE)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        import socket

        before = os.getcwd()
        os.chdir(place.parent)  # names of sockets are short
        try:
            socket.socket(socket.AF_UNIX).bind("_sharding")
        finally:
            os.chdir(before)
    elif os.geteuid():
        pytest.skip("only root makes devices")
    else:
        os.mknod(place, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    why = "a link, and a checkpoint's files" if "link" in kind else "not a regular file"
    assert f"params/_sharding is {why}" in manifest.verify(base)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.require(str(base))


def test_a_linked_manifest(base):
    (base / manifest.MANIFEST).unlink()
    pathlib.Path(base / manifest.MANIFEST).symlink_to(BASE / manifest.MANIFEST)
    assert "MANIFEST.json is a link" in manifest.verify(base)


def test_a_folder_that_a_user_links_is_followed(base, tmp_path):
    (tmp_path / "mine").symlink_to(base)
    assert checkpoints.require(str(tmp_path / "mine"), weights_only=True).step == 5000


# What Orbax is told.


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('"use_ocdbt": true', '"use_ocdbt": false'), "not kept in one store"),
        (('"use_ocdbt": true, ', ""), "not kept in one store"),
        (('"tree_metadata"', '"tree"'), "'tree_metadata' is missing"),
        (('"key_metadata": [', '"key_metadata": 3, "a": ['), "'key_metadata' must be a list"),
        (('"key": "embed/embedding"', '"key": "../../secret"'), "'../../secret' is no name"),
        (('"key": "embed/embedding"', '"key": "/etc/passwd"'), "'/etc/passwd' is no name"),
        (('"key": "embed/embedding"', '"key": ""'), "'' is no name"),
        (('"key": "embed/embedding"', '"k": ""'), "'key' is missing"),
        (('{"tree_metadata"', "[" * 100_000), "nested too deeply"),
    ],
)
def test_arrays_lie_in_one_store(base, change, why):
    file = base / "params" / "_METADATA"
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    manifest.write_manifest(base)
    with pytest.raises(CheckpointError, match="is damaged .*params/_METADATA: ") as raised:
        checkpoints.require(str(base), weights_only=True)
    assert why in str(raised.value)


def store(folder: epath.Path, **more) -> ts.KvStore:
    base = f"file://{folder}/"
    return ts.KvStore.open({"driver": "ocdbt", "base": base, **more}).result()


def test_arrays_larger_than_memory(base):
    arrays = store(base / "params")
    shape = json.loads(arrays.read(b"embed/embedding/.zarray").result().value)
    shape |= {"shape": [4224_000_000, 128_000], "chunks": [4224_000_000, 128_000]}
    arrays.write(b"embed/embedding/.zarray", json.dumps(shape).encode()).result()
    manifest.write_manifest(base)
    found = checkpoints.require(str(base), weights_only=True)
    with pytest.raises(CheckpointError, match="bytes of weights: too many here"):
        checkpoints.load_params_on_host(found.path)


@pytest.mark.parametrize("prefix", ["../../outside/", "/outside/", "file:///outside/"])
def test_a_store_reaches_nothing_outside(base, tmp_path, prefix):
    """TensorStore itself refuses keys that lead out, so a manifest of such keys is no use."""
    with pytest.raises(ValueError, match="Invalid key"):
        arrays = store(base / "params", value_data_prefix=prefix)
        arrays.write(b"embed/embedding/0.0", os.urandom(5000)).result()


# What a checkpoint says of its run.


def read(base, run) -> dict:
    text = run if isinstance(run, str) else json.dumps(run)
    (base / "run" / "metadata").write_text(text)
    return run_metadata.read_run(base)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"step": None}, "'step' must be a whole number"),
        ({"step": "7"}, "'step' must be a whole number"),
        ({"step": -1}, "'step' must be a whole number"),
        ({"step": True}, "'step' must be a whole number"),
        ({"step": 10**400}, "which no run reaches"),
        ({"step": 1e3}, "'step' must be a whole number"),
        ({"fingerprint": []}, "'fingerprint' must be an object"),
        ({"fingerprint": {"vocabulary": 3}}, "'vocabulary' must not be a number"),
        ({"fingerprint": {"model": "T5"}}, "'model' must not be a string"),
        ({"macros": {}}, "'macros' must be a string"),
        ({"data": 3}, "'data' must be an object"),
        ({"data": {"digest": "zz", "rows_before": [0]}}, "'digest' must be 64 hexadecimal"),
        ({"data": {"digest": "0" * 64}}, "'rows_before' is missing"),
        ({"data": {"digest": "0" * 64, "rows_before": []}}, "'rows_before' must rise from 0"),
        ({"data": {"digest": "0" * 64, "rows_before": [0, 0]}}, "'rows_before' must rise"),
        ({"data": {"digest": "0" * 64, "rows_before": [0, 1e9]}}, "list of whole numbers"),
        ({"kept_seconds": "1"}, "'kept_seconds' must be a finite number"),
        ({"kept_seconds": -1}, "'kept_seconds' must not be below 0"),
        ({"kept_seconds": 10**400}, "'kept_seconds' must be a finite number"),
        ({"stop_rule": {"best": 1.0}}, "'waited' are the fields"),
        ({"stop_rule": {"best": "x", "waited": 1}}, "'best' must be a finite number"),
        ({"stop_rule": {"best": None, "waited": 0, "rule": 1}}, "are the fields"),
        ({"retention": [1]}, "'retention' must be an object"),
        ({"retention": {"temporary": 1}}, "'temporary' must be true or false"),
        ({"retention": {"metrics": {"loss": "low"}}}, "no number for 'loss'"),
        ({"retention": {"metrics": {"loss": 10**400}}}, "no number for 'loss'"),
        ({"retention": {"best_metric": 3}}, "'best_metric' must be a string"),
        ({"retention": {"best_mode": ["min"]}}, "'best_mode' must be 'min' or 'max'"),
        ({"run_id": "../../x"}, "'run_id' must be 32 hexadecimal digits"),
        ({"left_out": [3]}, "'left_out' must be a list of strings"),
    ],
)
def test_fields_of_other_types(base, fields, why):
    with pytest.raises(CheckpointError, match="^run/metadata") as raised:
        read(base, {**RUN, **fields})
    assert why in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"step": ' + "9" * 5000])
def test_metadata_that_is_no_object(base, text):
    with pytest.raises(CheckpointError, match="run/metadata"):
        read(base, text)


def test_metrics_that_are_not_finite_say_nothing(base):
    run = {**RUN, "retention": {"metrics": {"a": float("nan"), "b": float("inf"), "c": None}}}
    note = read_note(1, read(base, run))
    assert sorted(note.metrics) == ["a", "b"] and not note.temporary


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([*RUN, "settings", "run_id", "left_out"]), ANY)
def test_whatever_a_field_is(tmp_path_factory, field, value):
    folder = epath.Path(tmp_path_factory.getbasetemp()) / "any"
    (folder / "run").mkdir(parents=True, exist_ok=True)
    try:
        run = read(folder, {**RUN, field: value})
    except CheckpointError as error:
        assert len(str(error)) <= 2000
    else:
        assert run["step"] >= 0
        read_note(1, run)
