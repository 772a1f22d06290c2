"""Checkpoints on disk: kept, removed, killed in between, found and read again."""

import json
import math
import pathlib
import shutil
import socket
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import kill_and_resume as lab
import numpy as np
import pytest
from etils import epath

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.training import checkpoints, holds, manifest
from flan_jax.training import saver as saver_lib
from flan_jax.training.checkpoints import FOLDER, MANIFEST
from flan_jax.training.retention import Retention
from flan_jax.training.save_schedule import STEP, TEMPORARY
from flan_jax.training.saver import Saver

RUN = {"fingerprint": {}, "macros": ""}
ENCODER, BIAS, HEAD = "encoder/kernel", "encoder/bias", "head/kernel"


def values(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {ENCODER: (16, 8), BIAS: (8,), HEAD: (8, 24)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def save(saver: Saver, step: int, **how) -> None:
    params = jax.tree.map(jnp.asarray, values(step))
    saver.save(step, params, {"mean": params[HEAD]}, {**RUN, "step": step}, **how)


def saved(folder, *steps: int, retention: Retention | int = 100, **how) -> pathlib.Path:
    """A run with these steps; returns its MODEL_DIR."""
    saver = Saver(str(folder), retention)
    for step in steps:
        save(saver, step, **how)
    saver.close()
    return folder


def target(dtype=jnp.float32) -> dict[str, jax.Array]:
    return {name: jnp.zeros(array.shape, dtype) for name, array in values().items()}


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


# What is kept.


def test_a_saver_keeps_the_newest_the_best_and_the_permanent(tmp_path):
    policy = Retention(2, keep_period=30, best_metric="eval/loss")
    saver = Saver(str(tmp_path), policy)
    for step, loss in [(10, 3.0), (20, 1.0), (30, 2.0), (40, 2.0)]:
        save(saver, step, metrics={"eval/loss": loss})
    saver.close()
    assert checkpoints.list_steps(str(tmp_path)) == [40, 30, 20]
    saver = Saver(str(tmp_path), policy)  # what it decides by is in the checkpoints
    for step, loss in [(50, 2.5), (60, 2.0), (70, math.nan)]:
        save(saver, step, metrics={"eval/loss": loss})
    saver.close()
    assert checkpoints.list_steps(str(tmp_path)) == [70, 60, 30, 20]
    assert checkpoints.require(f"{tmp_path}@best").step == 20


def test_a_temporary_one_goes_when_the_next_is_proven(tmp_path):
    saver = Saver(str(tmp_path), 2)
    save(saver, 1)
    save(saver, 2, temporary=True)
    saver._finish()
    saver._proof.result()
    assert checkpoints.list_steps(str(tmp_path)) == [2, 1]
    saver.close()
    saver = Saver(str(tmp_path), 2)
    save(saver, 3, temporary=True)
    saver.close()
    assert checkpoints.list_steps(str(tmp_path)) == [3, 1]
    saved(tmp_path, 4, retention=2)
    assert checkpoints.list_steps(str(tmp_path)) == [4, 1]


def test_a_damaged_one_takes_no_place(tmp_path):
    saved(tmp_path, 1, 2, 3, retention=3)
    truncate(tmp_path / FOLDER / "3" / "params" / "_METADATA")
    (tmp_path / FOLDER / "2" / "run" / "metadata").unlink()
    told: list[str] = []
    saver = Saver(str(tmp_path), 2, told.append)
    save(saver, 4)
    saver.close()
    assert checkpoints.list_steps(str(tmp_path)) == [4, 1]
    assert len(told) == 2 and "3 is damaged (params/_METADATA has" in told[0]
    assert "2 is damaged (run/metadata is missing): it counts as none" in told[1]


def test_a_metric_that_never_comes_is_told_once(tmp_path):
    told: list[str] = []
    saver = Saver(str(tmp_path), Retention(best_metric="eval/los"), told.append)
    save(saver, 1)
    assert told == []
    for step in (2, 3):
        save(saver, step, metrics={"eval/loss": 1.0, "accuracy": 0.5})
    saver.close()
    assert len(told) == 1
    assert "BEST_METRIC='eval/los'" in told[0] and "did you mean 'eval/loss'" in told[0]
    with pytest.raises(CheckpointError, match="no checkpoint in .* has a value of 'eval/los'"):
        checkpoints.require(f"{tmp_path}@best")


def test_what_cannot_be_removed_ends_no_run(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError("not yours")

    told: list[str] = []
    saver = Saver(str(tmp_path), 1, told.append)
    save(saver, 1)
    saver._finish()
    saver._proof.result()
    monkeypatch.setattr(type(saver._folder), "rmtree", refuse)
    save(saver, 2)
    saver.close()
    assert "cannot remove" in told[0] and "not yours" in told[0]
    assert checkpoints.list_steps(str(tmp_path)) == [2]


# Kills. Orbax's part, before the directory is renamed into place, is in test_resume.py.


class Killed(BaseException):
    pass


def die(*args: object) -> None:
    raise Killed


def saved_until(monkeypatch, folder, owner, name: str) -> None:
    """Saves step 2 and dies at the call of `owner.name`; nothing after that has happened."""
    saver = Saver(str(folder), 1)
    saver._proof.result()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        save(saver, 2)
        saver._finish()
        with pytest.raises(Killed):
            saver._proof.result()
    saver._pool.shutdown()
    saver._manager.close()


@pytest.mark.parametrize(
    ("owner", "name", "there", "sound"),
    [
        (saver_lib, "write_manifest", [2, 1], 1),
        (Saver, "_retire", [2, 1], 2),
        (Saver, "_remove", [2, 1], 2),
        (type(epath.Path("/")), "rmtree", [2], 2),
    ],
    ids=["before the proof", "after it", "before a removal", "within the removal"],
)
def test_a_kill_leaves_a_sound_checkpoint(tmp_path, monkeypatch, owner, name, there, sound):
    saved(tmp_path, 1)
    saved_until(monkeypatch, tmp_path, owner, name)
    assert checkpoints.list_steps(str(tmp_path)) == there
    assert checkpoints.find(str(tmp_path), lambda text: None).step == sound
    saved(tmp_path, 3, retention=1)
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["3"]


def test_what_another_process_left_unproven_is_never_proven_afterwards(tmp_path, monkeypatch):
    saved(tmp_path, 1)
    saved_until(monkeypatch, tmp_path, saver_lib, "write_manifest")
    told: list[str] = []
    assert checkpoints.find(str(tmp_path), told.append).step == 1
    assert "2 is damaged (it has no MANIFEST.json" in told[0] and "trying the one before" in told[0]
    Saver(str(tmp_path), 9).close()
    assert not (tmp_path / FOLDER / "2" / MANIFEST).exists()
    saved(tmp_path, 3, retention=9)
    assert checkpoints.list_steps(str(tmp_path)) == [3, 1]  # it counts for nothing, and goes


def test_a_first_save_that_was_killed_counts_as_none(tmp_path, monkeypatch):
    saved_until(monkeypatch, tmp_path, saver_lib, "write_manifest")
    told: list[str] = []
    assert checkpoints.find(str(tmp_path), told.append) is None and len(told) == 1
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoints.require(str(tmp_path), lambda text: None)


KILLED = """
    import sys
    import jax.numpy as jnp
    from flan_jax.training.checkpoints import list_steps
    from flan_jax.training.saver import Saver
    from flan_jax.training.retention import Retention

    saver = Saver(sys.argv[1], Retention(1, keep_period=50, best_metric="loss"))
    params = {"w": jnp.arange(1000.0)}
    step = max(list_steps(sys.argv[1]), default=0)
    while True:
        step += 1
        run = {"step": step, "fingerprint": {}, "macros": ""}
        saver.save(
            step, params, params, run, temporary=step % 3 == 0, metrics={"loss": step * 7 % 11}
        )
        saver.poll()
"""


def child(text: str, devices: int, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        env=lab.environment(devices),
        cwd=lab.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Before the save of 3 begins, 1 is proven; a save that follows may overtake the proof of the last.
@pytest.mark.parametrize(("after", "milliseconds"), [(3, 0), (15, 20), (30, 45)])
def test_sigkill_among_saves_and_removals(tmp_path, after, milliseconds):
    process = child(KILLED, 1, str(tmp_path))
    while max(checkpoints.list_steps(str(tmp_path)), default=0) < after:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)
    time.sleep(milliseconds / 1000)
    process.kill()
    process.communicate()
    found = checkpoints.find(str(tmp_path))
    params = checkpoints.load_params_on_host(found.path)
    np.testing.assert_array_equal(params["w"], np.arange(1000.0))
    best = checkpoints.require(f"{tmp_path}@best").run["retention"]["metrics"]["loss"]
    assert best == min(step * 7 % 11 for step in range(1, found.step + 1))
    saver = Saver(str(tmp_path), 1)
    saver.close()
    assert not list((tmp_path / FOLDER).glob("removed-*"))


# Finding.


def test_ways_to_name_a_checkpoint(tmp_path):
    run = saved(tmp_path / "run", 100, 200, 300)
    assert checkpoints.require(str(run)).step == 300
    assert checkpoints.require(f"{run}@newest").step == 300
    assert checkpoints.require(f"{run}@200").step == 200
    assert checkpoints.require(f"{run}/{FOLDER}/100").step == 100
    shutil.copytree(run, tmp_path / "odd@100")  # a directory's own name comes first
    assert checkpoints.require(str(tmp_path / "odd@100")).step == 300
    assert checkpoints.find(f"{run}@200") is None  # where a run is to be written, @ means itself


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run@150", "no checkpoint of step 150 in .*run; there are 100, 200"),
        (f"run/{FOLDER}/150", "no checkpoint of step 150 in .*run; there are 100, 200"),
        ("run@best", "has no BEST_METRIC"),
        ("run@bset", "after @ comes a step, 'best' or 'newest'; did you mean 'best'"),
        ("nowhere@best", "no checkpoint in .*nowhere .no such directory"),
        ("nowhere", r"no checkpoint in .*nowhere \(no such directory\)$"),
    ],
)
def test_a_checkpoint_that_is_not_there(tmp_path, name, message):
    saved(tmp_path / "run", 100, 200)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.require(str(tmp_path / name))


def test_a_damaged_best_gives_way_and_a_damaged_step_does_not(tmp_path):
    saver = Saver(str(tmp_path), Retention(best_metric="score", best_mode="max"))
    for step, score in [(1, 0.5), (2, 0.9), (3, 0.1)]:
        save(saver, step, metrics={"score": score})
    saver.close()
    assert checkpoints.require(f"{tmp_path}@best").step == 2
    truncate(tmp_path / FOLDER / "2" / "params" / "_METADATA")
    told: list[str] = []
    assert checkpoints.require(f"{tmp_path}@best", told.append).step == 1
    assert "is damaged" in told[0] and "trying the next best" in told[0]
    with pytest.raises(CheckpointError, match="checkpoint .*2 is damaged .params/_METADATA has"):
        checkpoints.require(f"{tmp_path}@2")


def test_a_checkpoint_that_its_run_removes_while_it_is_read(tmp_path, monkeypatch):
    saved(tmp_path, 1, 2)
    real = manifest._hash_file
    rival = tmp_path / FOLDER / "2"

    def slow(path):
        if rival.exists() and rival in pathlib.Path(path).parents:
            rival.rename(rival.parent / "removed-2")
        return real(path)

    monkeypatch.setattr(manifest, "_hash_file", slow)
    told: list[str] = []
    assert checkpoints.find(str(tmp_path), told.append).step == 1
    assert "vanished while it was looked at: looking again" in told[0]


def test_a_checkpoint_that_its_run_finishes_while_it_is_looked_at(tmp_path, monkeypatch):
    """It counts as a save that is not finished yet, not as a damaged one."""
    proof = saved(tmp_path, 1) / FOLDER / "1" / manifest.MANIFEST
    text = proof.read_text()
    proof.unlink()
    real = checkpoints.verify

    def late(*args, **kwargs):
        why = real(*args, **kwargs)
        proof.write_text(text)
        return why

    monkeypatch.setattr(checkpoints, "verify", late)
    assert checkpoints.find(str(tmp_path), lambda text: None) is None
    assert checkpoints.find(str(tmp_path)).step == 1


def test_what_is_read_is_not_removed(tmp_path):
    saved(tmp_path, 1)
    found = checkpoints.require(str(tmp_path))
    saved(tmp_path, 2, retention=1)
    assert checkpoints.list_steps(str(tmp_path)) == [2, 1]
    jax.tree.map(
        np.testing.assert_array_equal, checkpoints.restore_params(found, target()), values(1)
    )
    found.release()
    saved(tmp_path, 3, retention=1)
    assert checkpoints.list_steps(str(tmp_path)) == [3]


def test_what_is_being_removed_is_not_read(tmp_path):
    saved(tmp_path, 1, 2)
    with holds.alone(tmp_path / FOLDER / "2") as free:
        assert free
        with pytest.raises(FileNotFoundError, match="is being removed"):
            holds.Hold(tmp_path / FOLDER / "2")
        with pytest.raises(CheckpointError, match="vanish before they can be read"):
            checkpoints.find(str(tmp_path), lambda text: None)
    assert checkpoints.find(str(tmp_path)).step == 2


def test_a_reader_beside_a_run_that_keeps_one(tmp_path):
    process = child(KILLED.replace("1, keep_period=50", "1"), 1, str(tmp_path))
    try:
        while not checkpoints.list_steps(str(tmp_path)):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.001)
        steps = set()
        while len(steps) < 8:
            assert process.poll() is None, process.communicate()[1]
            found = checkpoints.find(str(tmp_path), lambda text: None)
            if found is None:  # the first one is not proven yet
                continue
            params = checkpoints.load_params_on_host(found.path)
            np.testing.assert_array_equal(params["w"], np.arange(1000.0))
            steps.add(found.step)
    finally:
        process.kill()
        process.communicate()


# Reading.


def test_weights_alone_do_not_touch_the_optimizer(tmp_path):
    saved(tmp_path, 1)
    shutil.rmtree(tmp_path / FOLDER / "1" / "optimizer")
    with pytest.raises(CheckpointError, match="none of the checkpoints"):
        checkpoints.find(str(tmp_path), lambda text: None)
    found = checkpoints.require(str(tmp_path), weights_only=True)
    restored = checkpoints.restore_params(found, target())
    jax.tree.map(np.testing.assert_array_equal, restored, values(1))


def test_into_another_dtype_is_a_cast(tmp_path):
    found = checkpoints.find(str(saved(tmp_path, 1)))
    half = checkpoints.restore_params(found, target(jnp.bfloat16))
    expected = {name: array.astype(jnp.bfloat16) for name, array in values(1).items()}
    assert {array.dtype for array in half.values()} == {jnp.dtype(jnp.bfloat16)}
    jax.tree.map(np.testing.assert_array_equal, half, expected)

    saver = Saver(str(tmp_path / "half"), 1)
    saver.save(1, half, half, {**RUN, "step": 1})
    saver.close()
    full = checkpoints.restore_params(checkpoints.find(str(tmp_path / "half")), target())
    assert {array.dtype for array in full.values()} == {jnp.dtype(jnp.float32)}
    jax.tree.map(
        np.testing.assert_array_equal, full, {k: v.astype(np.float32) for k, v in expected.items()}
    )


def test_a_part_comes_from_another_model(tmp_path):
    found = checkpoints.find(str(saved(tmp_path, 1)))
    fresh = {
        **jax.tree.map(jnp.ones_like, target(jnp.bfloat16)),
        HEAD: jnp.ones((8, 50)),  # another vocabulary
        "adapter/kernel": jnp.ones((2, 2)),
    }
    restored = checkpoints.restore_params(found, fresh, part="encoder/.*")
    assert set(restored) == set(fresh)
    for name in (ENCODER, BIAS):
        np.testing.assert_array_equal(restored[name], values(1)[name].astype(jnp.bfloat16))
    for name in (HEAD, "adapter/kernel"):
        assert restored[name] is fresh[name]


def test_nothing_of_other_parts_is_read(tmp_path, monkeypatch):
    asked: list[set[str]] = []
    real = checkpoints._restore_some
    monkeypatch.setattr(
        checkpoints, "_restore_some", lambda path, some: asked.append(set(some)) or real(path, some)
    )
    found = checkpoints.find(str(saved(tmp_path, 1)))
    restored = checkpoints.restore_params(found, target(), part=".*/bias")
    assert asked == [{BIAS}]
    assert not np.any(restored[ENCODER])


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ("encoder", ConfigError, "'encoder/.\\*'; names begin with encoder, head"),
        ("encoder/kernle", ConfigError, "did you mean 'encoder/kernel'"),
        ("encoder/(", ConfigError, "INITIAL_CHECKPOINT_PART='encoder/\\(' is no regular"),
        ("head/.*", CheckpointError, r"head/kernel has shape \(8, 24\) there and has shape \(8, 5"),
        ("new/.*", CheckpointError, "new/kernel does not exist there and has shape"),
        (None, CheckpointError, "head/kernel has shape"),
    ],
)
def test_parts_that_cannot_be_had(tmp_path, part, error, message):
    found = checkpoints.find(str(saved(tmp_path, 1)))
    fresh = {**target(), HEAD: jnp.ones((8, 50))}
    if part is not None:
        fresh["new/kernel"] = jnp.ones(3)
        message = message.replace("encoder, head", "encoder, head, new")
    with pytest.raises(error, match=message):
        checkpoints.restore_params(found, fresh, part)


MESHES = """
    import sys
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    from flan_jax.training import checkpoints
    from flan_jax.training.saver import Saver

    def place(devices, shape, axes, specs):
        mesh = Mesh(np.array(jax.devices()[:devices]).reshape(shape), axes)
        return {name: NamedSharding(mesh, P(*spec)) for name, spec in specs.items()}

    values = {"a": np.arange(128.0, dtype=np.float32).reshape(16, 8) / 3,
              "b": np.arange(8.0, dtype=np.float32)}
    eight = place(8, (8,), ("data",), {"a": ("data", None), "b": ()})
    saver = Saver(sys.argv[1], 1)
    saver.save(1, jax.device_put(values, eight), {"m": jnp.zeros(3)},
               {"step": 1, "fingerprint": {}, "macros": ""})
    saver.close()
    found = checkpoints.find(sys.argv[1])
    for other in (
        place(4, (4,), ("data",), {"a": (), "b": ()}),
        place(4, (2, 2), ("data", "tensor"), {"a": ("tensor", "data"), "b": ("tensor",)}),
        place(8, (2, 4), ("data", "fsdp"), {"a": (None, "fsdp"), "b": ("data",)}),
        place(1, (1,), ("data",), {"a": (), "b": ()}),
    ):
        for dtype in (jnp.float32, jnp.bfloat16):
            target = {name: jax.ShapeDtypeStruct(value.shape, dtype, sharding=other[name])
                      for name, value in values.items()}
            fresh = {name: jax.device_put(jnp.zeros(value.shape, dtype), other[name])
                     for name, value in values.items()}
            whole = checkpoints.restore_params(found, target)
            part = checkpoints.restore_params(found, fresh, "a")
            for name, array in (*whole.items(), ("a", part["a"])):
                assert array.sharding == other[name] and array.dtype == dtype
                np.testing.assert_array_equal(array, values[name].astype(dtype))
            assert part["b"] is fresh["b"]
    print("restored")
"""


def test_into_other_meshes(tmp_path):
    process = child(MESHES, 8, str(tmp_path))
    said, complaints = process.communicate(timeout=120)
    assert said == "restored\n", complaints
    here = checkpoints.load_params_on_host(checkpoints.find(str(tmp_path)).path)  # one device
    np.testing.assert_array_equal(here["b"], np.arange(8.0))


PAIR = """
    import json, sys
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    address, index, folder = sys.argv[1:]
    jax.distributed.initialize(address, 2, int(index))
    from flan_jax.training.retention import Retention
    from flan_jax.training.save_schedule import TEMPORARY, SaveSchedule, SaveTimer
    from flan_jax.training.saver import Saver

    now = 0.0  # process 1's clock runs wild
    timer = SaveTimer(SaveSchedule(7, period_seconds=4, stride=2), clock=lambda: now)
    told = []
    saver = Saver(folder, Retention(2, best_metric="x"), told.append)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    params = jax.jit(lambda: {"w": jnp.arange(8.0)},
                     out_shardings=NamedSharding(mesh, P("data")))()
    decisions = []
    for step in range(1, 21):
        now += 1.0 if index == "0" else 1000.0
        due = timer.due(step, last=step == 20)
        decisions.append(due)
        saver.poll()
        if due:
            run = {"step": step, "fingerprint": {}, "macros": ""}
            saver.save(step, params, params, run, temporary=due == TEMPORARY, metrics={"y": 1.0})
    saver.close()
    print(json.dumps([decisions, len(told)]))
"""


def test_process_0_decides_for_all(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [child(PAIR, 1, address, str(index), str(tmp_path)) for index in range(2)]
    said = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    (decisions, told), (same, untold) = (json.loads(out.splitlines()[-1]) for out, _ in said)
    expected = {4: TEMPORARY, 7: STEP, 12: TEMPORARY, 14: STEP, 18: TEMPORARY, 20: STEP}
    assert decisions == same == [expected.get(step) for step in range(1, 21)]
    assert (told, untold) == (1, 0)
    assert checkpoints.list_steps(str(tmp_path)) == [20, 14]
    found = checkpoints.require(str(tmp_path))
    params = checkpoints.load_params_on_host(found.path)
    np.testing.assert_array_equal(params["w"], np.arange(8.0))


# Weights handed on.


def test_exported_weights_are_a_checkpoint_without_an_optimizer(tmp_path):
    found = checkpoints.require(str(saved(tmp_path / "run", 3)))
    found.run["macros"] = "MODEL_DIR = '/somewhere'\nSEED = 0\n"
    found.run["run_id"] = "0" * 32
    out = checkpoints.export_weights(found, str(tmp_path / "weights"))
    assert sorted(p.name for p in out.iterdir()) == [MANIFEST, "params", "run"]
    exported = checkpoints.require(str(out), weights_only=True)
    del found.run["macros"], found.run["run_id"]
    settings = {"settings_format": 1, "settings": {"SEED": 0}, "left_out": []}
    assert exported.step == 3 and exported.run == {**found.run, **settings}
    restored = checkpoints.restore_params(exported, target())
    for name, array in values(3).items():
        np.testing.assert_array_equal(restored[name], array)
    with pytest.raises(CheckpointError, match="exists already"):
        checkpoints.export_weights(found, str(out))
    truncate(max((p for p in (tmp_path / "weights" / "params").rglob("*") if p.is_file()),
                 key=lambda p: p.stat().st_size))  # fmt: skip
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.require(str(out), weights_only=True)


def test_what_ships_with_the_package_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = checkpoints.require("tasks/minilab/base", weights_only=True)
    assert found.run["fingerprint"]["model"]["emb_dim"] == 128
    saved(tmp_path / "tasks" / "minilab" / "base", 7)  # what is here comes first
    assert checkpoints.require("tasks/minilab/base").step == 7


def test_a_relative_path_is_as_good_as_an_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(saved(tmp_path / "run", 3).parent)
    for where in ("run", "run@3", "run/checkpoints/3", "../" + tmp_path.name + "/run"):
        found = checkpoints.require(where)
        assert set(checkpoints.restore_params(found, target())) == {ENCODER, BIAS, HEAD}
