"""Processes of this machine that end together, and real training in two of them."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import kill_and_resume as lab

from flan_jax.launch import local


def python(text):
    return [sys.executable, "-c", text]


def ended(commands, grace=30.0):
    with local.Group(commands, {"EXTRA": "1"}) as group:
        return group.wait(grace)


def test_what_processes_say_is_told_apart(capfd):
    said = "import os; print('I am {}', os.environ['EXTRA']); print('\\x1b[31m red')"
    assert ended([python(said.format(index)) for index in range(2)]) == 0
    lines = capfd.readouterr().out.splitlines()
    red = "\\x1b[31m red"
    assert sorted(lines) == sorted(f"[{i}] {t}" for i in (0, 1) for t in (f"I am {i} 1", red))


def test_one_that_fails_ends_the_others(capfd):
    """The other is asked first; its status is not the one that counts."""
    tidy = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('tidied')))\n"
    tidy += "print('ready', flush=True); time.sleep(600)"
    fails = "import time; time.sleep(1); raise SystemExit(3)"
    assert ended([python(tidy), python(fails)]) == 3
    said = capfd.readouterr()
    assert "[0] tidied" in said.out and "process 1 ended with status 3" in said.err


def test_one_that_is_killed_ends_those_that_do_not_listen(tmp_path):
    """Also what they started; nothing is left that writes on."""
    file = tmp_path / "alive"
    child = f"import time\nwhile True: open({str(file)!r}, 'a').write('.'); time.sleep(0.05)"
    deaf = "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN)\n"
    deaf += f"subprocess.run([sys.executable, '-c', {child!r}])"
    dies = f"import os, time\nwhile not os.path.exists({str(file)!r}): time.sleep(0.05)\n"
    dies += "os.kill(os.getpid(), 9)"
    assert ended([python(deaf), python(dies)], grace=0.5) == 128 + signal.SIGKILL
    size = file.stat().st_size
    time.sleep(0.3)
    assert file.stat().st_size == size


def test_a_process_that_finds_no_cluster_says_so(tmp_path):
    argv = [*lab.command(str(tmp_path / "run"), str(tmp_path / "prepared")), "--distributed"]
    done = subprocess.run(
        argv, env=lab.environment(1), cwd=lab.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "--distributed: no TPU pod, GKE job or Slurm step is here" in done.stderr


def test_two_processes_train_stop_together_and_say_so(tmp_path):
    """The whole way: `flan-jax launch local`, SIGTERM, one step saved by both, status 75."""
    _, _, *train = lab.command(str(tmp_path / "run"), str(tmp_path / "prepared"))
    launch = ["launch", "local", "--processes=2", "--devices_per_process=2", "--", *train[1:]]
    long = ["--gin.TRAIN_STEPS=100000", "--gin.CHECKPOINT_PERIOD=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "flan_jax", *launch, *long],
        env=lab.environment(1), cwd=lab.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    try:
        while process.poll() is None and not any("] step 2/" in line for line in lines):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=120)
    finally:
        process.kill()
        reader.join()
    said = "".join(lines)
    assert status == 75, said
    assert "4 devices" in said and "[1] step" not in said
    step = re.search(r"\[0\] SIGTERM: saving at step (\d+)", said)[1]
    assert f"saved step {step} in" in said
    assert "status 75, the same command goes on from there" in said
    assert os.path.isdir(tmp_path / "run")
