"""Kills training at random steps and checks that it ends as if nothing had happened.

    python scripts/kill_and_resume.py --trials 20 --devices 1
    python scripts/kill_and_resume.py --trials 20 --devices 8

Each trial starts a run, sends SIGKILL at a drawn step after the first checkpoint, starts the
same command again (and kills that one too, every third time), and compares `flan-jax digest`
with that of a run that was left alone.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOY = ("--gin_file=gin_configs/test/toy.gin",)


def environment(devices: int, **extra: str) -> dict[str, str]:
    """Returns an environment with virtual CPU devices and the toy tasks importable."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toy")])
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": path, **extra}


def command(model_dir: str, prepared_dir: str, arguments: tuple[str, ...] = TOY) -> list[str]:
    """Returns the command that trains in `model_dir`."""
    return [
        *(sys.executable, "-m", "flan_jax", "train", *arguments),
        f"--gin.MODEL_DIR={model_dir}",
        f"--gin.PREPARED_DIR={prepared_dir}",
    ]


def run(argv: list[str], env: dict[str, str], timeout: float = 600) -> str:
    """Runs a command to its end and returns what it printed.

    Raises:
        RuntimeError: it failed; carries its output.
    """
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{argv}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def digest(*model_dirs: str) -> str:
    """Returns what `flan-jax digest` prints."""
    return run([sys.executable, "-m", "flan_jax", "digest", *model_dirs], environment(1)).strip()


def last_step(model_dir: str) -> int:
    """Returns the newest step in metrics.jsonl, 0 where there is none."""
    try:
        lines = (pathlib.Path(model_dir) / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):
        return 0


def has_checkpoint(model_dir: str) -> bool:
    """Whether a checkpoint was finished."""
    folder = pathlib.Path(model_dir) / "checkpoints"
    return folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir())


def kill_at(argv: list[str], env: dict[str, str], model_dir: str, step: int) -> int:
    """Starts a run, kills it once it has a checkpoint and reached `step`.

    Returns:
        The step it had reported when it was killed, or -1 if it ended first.
    """
    process = subprocess.Popen(
        argv, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if has_checkpoint(model_dir) and last_step(model_dir) >= step:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return last_step(model_dir)
        time.sleep(0.005)
    return -1


def trial(rng: random.Random, folder: str, steps: int, env: dict[str, str], kills: int) -> str:
    """Kills a run `kills` times, lets it end, and returns its digest."""
    model_dir = os.path.join(folder, f"trial-{rng.random()}")
    argv = command(model_dir, os.path.join(folder, "prepared"))
    low = 1
    for _ in range(kills):
        killed = kill_at(argv, env, model_dir, rng.randrange(low, steps - 2))
        print(f"killed at step {killed}", flush=True)
        low = max(killed, 1) if 0 < killed < steps - 3 else 1
    run(argv, env)
    return digest(model_dir)


def main() -> int:
    """Runs the trials; the exit status is the number of those that differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, env = random.Random(args.seed), environment(args.devices)
    with tempfile.TemporaryDirectory() as folder:
        alone = os.path.join(folder, "alone")
        run(command(alone, os.path.join(folder, "prepared")), env)
        expected = digest(alone)
        print(f"left alone: {expected}", flush=True)
        different = 0
        for number in range(1, args.trials + 1):
            found = trial(rng, folder, 40, env, kills=2 if number % 3 == 0 else 1)
            different += found != expected
            verdict = "equal" if found == expected else f"DIFFERENT: {found}"
            print(f"trial {number} of {args.trials}: {verdict}", flush=True)
    print(f"{args.trials - different} of {args.trials} trials equal on {args.devices} device(s)")
    return different


if __name__ == "__main__":
    sys.exit(main())
