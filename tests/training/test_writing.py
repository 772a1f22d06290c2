"""Where nothing can be written: one error that names path and cause, and nothing is lost."""

import contextlib
import os
import pathlib
import subprocess
import sys

import kill_and_resume as lab
import pytest
from etils import epath

from flan_jax.cli import run
from flan_jax.errors import FlanJaxError, OutputError
from flan_jax.training import checkpoints, manifest
from flan_jax.training.saver import Saver


def toy(model_dir, prepared_dir, *gin: str) -> int:
    defaults = ["TRAIN_STEPS=4", "CHECKPOINT_PERIOD=2", f"PREPARED_DIR={prepared_dir}"]
    overrides = [f"--gin.{text}" for text in [f"MODEL_DIR={model_dir}", *defaults, *gin]]
    return run(["train", "--gin_file=gin_configs/test/toy.gin", *overrides])


@pytest.mark.parametrize(
    ("name", "kind", "cause"),
    [
        (".", "file", "Not a directory|File exists"),
        ("..", "file", "Not a directory"),
        ("checkpoints", "file", "Not a directory|File exists"),
        ("model-info.txt", "folder", "Is a directory"),
        ("config.gin", "folder", "Is a directory"),
        ("metrics.jsonl", "folder", "Is a directory"),
        ("first_start.json", "folder", "Is a directory"),
        ("tensorboard", "file", "Not a directory|File exists"),
        ("profile", "file", "Not a directory|File exists"),
        ("a" * 300, None, "names of at most 255 bytes"),
    ],
)
def test_another_kind_of_path(tmp_path, prepared_dir, name, kind, cause):
    folder = tmp_path / "a" / "run"
    place = folder / name if len(name) < 200 else tmp_path
    if name == "..":
        place = folder.parent
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        (place / "mine").mkdir(parents=True)
    else:
        folder = tmp_path / name
    with pytest.raises(
        FlanJaxError, match=f"(cannot (write|be read)|MODEL_DIR must).*({cause})"
    ) as raised:
        toy(folder, prepared_dir, "PROFILE_STEPS=1:2")
    message = str(raised.value)
    assert len(message) < 700 and "\n" not in message
    assert not kind or str(place if name != "." else folder).rstrip("/.") in message
    assert kind != "file" or place.read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root mounts a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def params(number: int) -> dict:
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(number)
    return {f"w{i}": jnp.asarray(rng.normal(size=(150, 150)), jnp.float32) for i in range(4)}


def save_until_full(folder: pathlib.Path) -> str:
    saver = Saver(str(folder), 100)
    try:
        with pytest.raises(OutputError) as raised:
            for step in range(1, 40):
                run = {"step": step, "fingerprint": {}, "macros": ""}
                saver.save(step, params(step), {"m": params(-step % 7)}, run)
                saver.poll()
    finally:
        saver.close()
    return str(raised.value)


def test_saves_on_a_full_disk(small_disk):
    message = save_until_full(small_disk)
    assert f"cannot write {small_disk}/checkpoints/" in message
    assert "No space left on device" in message and len(message) < 300
    found = checkpoints.find(str(small_disk), lambda text: None)
    assert found is not None and found.step >= 1
    for name, array in params(found.step).items():
        assert (checkpoints.load_params_on_host(found.path)[name] == array).all()
    # With space again the same run goes on.
    for step in checkpoints.list_steps(str(small_disk))[1:]:
        epath.Path(small_disk / "checkpoints" / str(step)).rmtree()
    saver = Saver(str(small_disk), 1)
    saver.save(50, params(50), {"m": params(3)}, {"step": 50, "fingerprint": {}, "macros": ""})
    saver.close()
    assert checkpoints.require(str(small_disk)).step == 50


def test_weights_exported_to_a_full_disk(small_disk, tmp_path):
    base = checkpoints.require("tasks/minilab/base", weights_only=True)
    with pytest.raises(OutputError, match="weights: No space left on device"):
        checkpoints.export_weights(base, str(small_disk / "weights"))
    assert list(small_disk.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: Not a directory"):
        checkpoints.export_weights(base, str(tmp_path / "file" / "weights"))


def test_a_manifest_on_a_full_disk(small_disk):
    folder = epath.Path(small_disk) / "run"
    folder.mkdir()
    (folder / "metadata").write_text("{}")
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(4 << 20))
    with pytest.raises(OutputError, match="No space left on device"):
        manifest.write_manifest(epath.Path(small_disk))
    assert not (small_disk / manifest.MANIFEST).exists()


def test_a_run_on_a_full_disk_ends_in_one_line(small_disk, prepared_dir, tmp_path):
    """As it is seen: status 2, one line, and what was saved before is whole."""
    environment = lab.environment(1, XDG_STATE_HOME=str(tmp_path / "state"))
    command = lab.command(str(small_disk / "run"), str(prepared_dir))
    gin = ["--gin.TRAIN_STEPS=200", "--gin.CHECKPOINT_PERIOD=2", "--gin.KEEP_CHECKPOINTS=100"]
    done = subprocess.run(
        [*command, *gin], env=environment, cwd=lab.ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if "flan-jax:" in line]
    assert len(lines) == 1 and "No space left on device" in lines[0], done.stderr[-2000:]
    assert f"cannot write {small_disk}/run" in lines[0]
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10
    found = checkpoints.find(str(small_disk / "run"), lambda text: None)
    assert found is not None and checkpoints.load_params_on_host(found.path)
    assert sys.executable
