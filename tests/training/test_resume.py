"""Runs that are killed, told to stop, or continued on other devices (real processes)."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import kill_and_resume as lab
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("resume"))


def train(folder: str, name: str, devices: int, *gin: str) -> tuple[str, str]:
    """Trains to the end; returns the run's directory and what was printed."""
    model_dir = os.path.join(folder, name)
    argv = lab.command(model_dir, os.path.join(folder, "prepared"))
    out = lab.run([*argv, *(f"--gin.{text}" for text in gin)], lab.environment(devices))
    return model_dir, out


@pytest.fixture(scope="module", params=[1, 8])
def left_alone(folder, request) -> tuple[int, str]:
    devices = request.param
    return devices, train(folder, f"alone-{devices}", devices)[0]


def test_killed_run_ends_as_if_left_alone(folder, left_alone):
    devices, alone = left_alone
    rng = random.Random(devices)
    found = lab.trial(rng, folder, 40, lab.environment(devices), kills=1)
    assert found == lab.digest(alone)
    assert found.startswith("step 40 params ")


def test_resumed_on_fewer_devices(folder, left_alone):
    devices, alone = left_alone
    if devices != 8:
        pytest.skip("once is enough")
    train(folder, "moved", 8, "TRAIN_STEPS=20")
    moved, said = train(folder, "moved", 4)
    assert "resuming at step 20" in said and "data 4, fsdp 1" in said
    first, second, difference = lab.digest(alone, moved).splitlines()
    assert first.split()[-1] == second.split()[-1]
    assert float(difference.split()[-1]) < 1e-5


def test_sigterm_saves_and_exits_0(folder):
    model_dir = os.path.join(folder, "asked")
    argv = lab.command(model_dir, os.path.join(folder, "prepared"))
    argv += ["--gin.TRAIN_STEPS=100000", "--gin.CHECKPOINT_PERIOD=100000"]
    process = subprocess.Popen(
        argv, env=lab.environment(1), cwd=lab.ROOT, stdout=subprocess.PIPE, text=True
    )
    while lab.last_step(model_dir) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "SIGTERM: saving at step" in said
    step = int(lab.digest(model_dir).split()[1])
    assert step >= 3 and f"saving at step {step}" in said


def in_pairs(argv: list[str], devices: int = 1) -> list[str]:
    """Runs a command as two processes; returns what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    argv = [*argv, f"--coordinator_address={address}", "--process_count=2"]
    pair = [
        subprocess.Popen(
            [*argv, f"--process_index={index}"],
            env=lab.environment(devices),
            cwd=lab.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    return said


def test_two_processes_train_as_one(folder):
    model_dir = os.path.join(folder, "pair")
    argv = lab.command(model_dir, os.path.join(folder, "pair-prepared"))
    said = in_pairs([*argv, "--gin.TRAIN_STEPS=6"])
    assert "data 2, fsdp 1" in said[0]
    assert "step 6/6" in said[0] and "step 6/6" not in said[1]
    single, _ = train(folder, "single", 2, "TRAIN_STEPS=6")
    first, second, difference = lab.digest(single, model_dir).splitlines()
    assert first.split()[-1] == second.split()[-1]
    assert float(difference.split()[-1]) < 1e-5


@pytest.mark.parametrize("mixture", ["toy_train", "toy_choice_rank"])
def test_evaluation_is_the_same_on_any_mesh_and_in_two_processes(folder, left_alone, mixture):
    devices, alone = left_alone
    if devices != 1:
        pytest.skip("once is enough")

    def command(name: str, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "flan_jax", "eval", f"--checkpoint={alone}"),
            *(f"--mixture={mixture}", f"--out={os.path.join(folder, name, mixture)}"),
            *("--module=toy_tasks", "--module=toy_ranked", "--gin.EVAL_BATCH_SIZE=5"),
            *(f"--gin.PREPARED_DIR={os.path.join(folder, 'prepared')}", *more),
        ]

    def results(name: str) -> list[dict]:
        path = os.path.join(folder, name, mixture, "predictions.jsonl")
        return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]

    lab.run(command("one"), lab.environment(1))
    lab.run(command("mesh", "--gin.SHARDING=data_fsdp_tensor"), lab.environment(8))
    said = in_pairs(command("two", "--gin.SHARDING=fsdp"), devices=2)
    assert "wrote metrics.json" in said[0] and "wrote metrics.json" not in said[1]
    assert "answered" in said[0] and "answered" not in said[1]
    expected = results("one")
    for name in ("mesh", "two"):
        found = results(name)
        assert [row["prediction"] for row in found] == [row["prediction"] for row in expected]
        for row, other in zip(found, expected, strict=True):
            assert row.get("scores", []) == pytest.approx(other.get("scores", []), rel=1e-4)
    again = in_pairs(command("two", "--gin.SHARDING=fsdp"), devices=2)
    assert "has these results already" in again[0]


def test_second_run_on_a_locked_directory(folder):
    model_dir = os.path.join(folder, "shared")
    argv = lab.command(model_dir, os.path.join(folder, "prepared"))
    first = subprocess.Popen(
        [*argv, "--gin.TRAIN_STEPS=100000"],
        env=lab.environment(1),
        cwd=lab.ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        while lab.last_step(model_dir) < 1 and first.poll() is None:
            time.sleep(0.01)
        done = subprocess.run(
            argv, env=lab.environment(1), cwd=lab.ROOT, capture_output=True, text=True
        )
    finally:
        first.kill()
        first.wait()
    assert done.returncode == 2
    assert f"in use by process {first.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert sys.executable
