"""Kills the programs at random moments and checks that they end as if nothing had happened.

    python scripts/kill_and_resume.py --trials 20 --devices 1
    python scripts/kill_and_resume.py --trials 20 --devices 8
    python scripts/kill_and_resume.py --what all --trials 5

What is killed: `train` at a drawn step after the first checkpoint; `save`, training while a
checkpoint is being written; `prepare`, `eval` and `align` at a drawn point of their way. Each trial
starts the program, sends SIGKILL to it and its children, starts the same command again (and kills
that one too, every third time), and compares what it leaves with what a program leaves that was
left alone: `flan-jax digest`, or the bytes of all files, with nothing half written beside them.

`disk` runs them on file systems that are too small (a tmpfs, where root may mount one): each has to
end with status 2 and one error that names path and cause, and, given room, as if it had had it
always.
"""

import argparse
import contextlib
import dataclasses
import fnmatch
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

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
    """Returns what `flan-jax digest` prints; it reads alone, and needs no process of its own."""
    from flan_jax import cli

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cli.run(["digest", *model_dirs])
    return printed.getvalue().strip()


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


def kill_when(argv: list[str], env: dict[str, str], due: Callable[[], bool]) -> bool:
    """Starts a program and kills it, with its children, once `due` says so.

    Returns:
        Whether it was killed; else it ended first.
    """
    process = subprocess.Popen(
        argv, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None:
        if due():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


def kill_at(argv: list[str], env: dict[str, str], model_dir: str, step: int) -> int:
    """Starts a run, kills it once it has a checkpoint and reached `step`.

    Returns:
        The step it had reported when it was killed, or -1 if it ended first.
    """
    due = lambda: has_checkpoint(model_dir) and last_step(model_dir) >= step  # noqa: E731
    return last_step(model_dir) if kill_when(argv, env, due) else -1


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


# Other programs than training, and other moments


def tree_digest(folder: str) -> str:
    """Returns a hash over names and contents of all files below a folder but locks."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and path.name not in (".lock", "lock"):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def count_files(folder: str, pattern: str) -> int:
    """Returns how many files below a folder have a name like `pattern`."""
    # os.walk passes over folders that go while it looks.
    return sum(len(fnmatch.filter(names, pattern)) for _, _, names in os.walk(folder))


def count_lines(file: str) -> int:
    """Returns the number of lines of a file, 0 where it is not there."""
    with contextlib.suppress(OSError):
        return pathlib.Path(file).read_bytes().count(b"\n")
    return 0


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A program that is killed.

    Attributes:
        argv: its command, where it writes into the given folder.
        due: when to kill it, drawn anew for each start: of the generator and that folder.
        result: what it leaves in the folder; equal for equal work.
    """

    argv: Callable[[str], list[str]]
    due: Callable[[random.Random, str], Callable[[], bool]]
    result: Callable[[str], str]


def _flan_jax(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flan_jax", *arguments]


def _passed(count: Callable[[], int], least: int, delay: float) -> Callable[[], bool]:
    """Due `delay` seconds after something has been counted `least` times."""
    since: list[float] = []

    def due() -> bool:
        if not since and count() >= least:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= delay

    return due


def saving(shared: str) -> Scenario:
    """Training that saves at every step, killed while it does."""

    def due(rng: random.Random, folder: str) -> Callable[[], bool]:
        step, delay = rng.randrange(1, 30), rng.uniform(0, 0.05)

        def half_saved() -> int:
            steps = pathlib.Path(folder) / "checkpoints"
            if not steps.is_dir() or last_step(folder) < step:
                return 0
            return sum(not (path / "MANIFEST.json").exists() for path in steps.iterdir())

        return _passed(half_saved, 1, delay)

    argv = lambda folder: [  # noqa: E731
        *command(folder, os.path.join(shared, "prepared")), "--gin.CHECKPOINT_PERIOD=1"
    ]  # fmt: skip
    return Scenario(argv, due, digest)


def preparing(shared: str) -> Scenario:
    """Preparation of a mixture by two processes."""
    arguments = ("--mixture=minilab_train", "--module=tasks.minilab", "--split=test")

    def due(rng: random.Random, folder: str) -> Callable[[], bool]:
        units = count_files(folder, "index.json")
        least = units + rng.randrange(1, 40)
        return _passed(lambda: count_files(folder, "index.json"), least, rng.uniform(0, 0.03))

    return Scenario(
        lambda folder: _flan_jax("prepare", *arguments, "--workers=2", f"--prepared_dir={folder}"),
        due,
        tree_digest,
    )


def evaluating(shared: str) -> Scenario:
    """Evaluation by generation."""
    checkpoint, prepared = os.path.join(shared, "alone"), os.path.join(shared, "evaluated")
    modules = ("--module=tasks.minilab", "--module=toy_tasks")
    arguments = (f"--checkpoint={checkpoint}", "--mixture=minilab_train", *modules,
                 "--gin.EVAL_EXAMPLES=4", f"--gin.PREPARED_DIR={prepared}")  # fmt: skip

    def due(rng: random.Random, folder: str) -> Callable[[], bool]:
        partial = os.path.join(folder, "predictions.partial.jsonl")
        least = count_lines(partial) + rng.randrange(1, 200)
        return _passed(lambda: count_lines(partial), least, rng.uniform(0, 0.03))

    return Scenario(
        lambda folder: _flan_jax("eval", *arguments, f"--out={folder}"), due, tree_digest
    )


def aligning(shared: str) -> Scenario:
    """Alignment of a tiny random encoder."""
    base = _tiny_encoder(os.path.join(shared, "encoder"))
    arguments = ("select", "align", "--library=tasks.minilab", f"--base={base}",
                 "--gin.EPOCHS=4", "--device=cpu")  # fmt: skip

    def due(rng: random.Random, folder: str) -> Callable[[], bool]:
        least = rng.randrange(1, 4)
        saved: set[int] = set()

        def states() -> int:
            for path in pathlib.Path(folder).rglob("*.safetensors"):
                with contextlib.suppress(OSError):
                    saved.add(path.stat().st_mtime_ns)
            return len(saved)

        return _passed(states, least, rng.uniform(0, 0.2))

    return Scenario(
        lambda folder: _flan_jax(*arguments, f"--out={folder}"),
        due,
        lambda folder: hashlib.sha256(
            (pathlib.Path(folder) / "model.safetensors").read_bytes()
        ).hexdigest(),
    )


def _tiny_encoder(folder: str) -> str:
    """Writes a random BERT of two layers as a transformers folder."""
    import torch
    import transformers

    os.makedirs(folder, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(c) for c in range(97, 123))]
    words += [f"##{chr(c)}" for c in range(97, 123)]
    file = pathlib.Path(folder) / "vocab.txt"
    file.write_text("\n".join(words))
    transformers.BertTokenizer(str(file)).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


SCENARIOS = {"save": saving, "prepare": preparing, "eval": evaluating, "align": aligning}


def try_scenario(
    name: str, rng: random.Random, shared: str, trials: int, env: dict[str, str]
) -> int:
    """Kills a program again and again; returns the number of trials that ended otherwise."""
    scenario = SCENARIOS[name](shared)
    alone = os.path.join(shared, f"{name}-alone")
    run(scenario.argv(alone), env)
    expected, different = scenario.result(alone), 0
    for number in range(1, trials + 1):
        folder = os.path.join(shared, f"{name}-{number}")
        kills = 0
        for _ in range(2 if number % 3 == 0 else 1):
            kills += kill_when(scenario.argv(folder), env, scenario.due(rng, folder))
        run(scenario.argv(folder), env)
        found = scenario.result(folder)
        different += found != expected
        verdict = "equal" if found == expected else f"DIFFERENT: {found}, not {expected}"
        print(f"{name}: trial {number} of {trials}, killed {kills} times: {verdict}", flush=True)
    print(f"{name}: {trials - different} of {trials} trials equal", flush=True)
    return different


# Full disks


@contextlib.contextmanager
def small_disk(folder: str, size: str) -> Iterator[bool]:
    """Mounts a tmpfs of some size; yields whether that could be done."""
    os.makedirs(folder, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], capture_output=True)


def full_disk(name: str, shared: str, size: str, env: dict[str, str]) -> str:
    """Runs a program on a disk of some size, then with room.

    Returns:
        What was wrong; empty if nothing was.
    """
    scenario = SCENARIOS[name](shared)
    alone = os.path.join(shared, f"{name}-alone")
    if not os.path.isdir(alone):
        run(scenario.argv(alone), env)
    with small_disk(os.path.join(shared, f"{name}-disk-{size}"), size) as mounted:
        if not mounted:
            return "no tmpfs can be mounted here: not tried"
        disk = os.path.join(shared, f"{name}-disk-{size}")
        folder = os.path.join(disk, "out")
        done = subprocess.run(
            scenario.argv(folder), env=env, capture_output=True, text=True, cwd=ROOT
        )
        said = [line for line in done.stderr.splitlines() if line.startswith("flan-jax: ")]
        if done.returncode != 2 or "Traceback" in done.stderr:
            return f"status {done.returncode}: {done.stderr[-2000:]}"
        if not said or "No space left" not in said[-1] or disk not in said[-1]:
            return f"the error does not name path and cause: {done.stderr[-1000:]}"
        print(f"{name} on {size}: {said[-1]}", flush=True)
        subprocess.run(["mount", "-o", "remount,size=500m", disk], check=True)
        run(scenario.argv(folder), env)
        found, expected = scenario.result(folder), scenario.result(alone)
        return "" if found == expected else f"with room: {found}, not {expected}"


DISKS = {"save": ("64k", "300k", "1m"), "prepare": ("16k", "400k", "1m"), "eval": ("8k", "40k")}


def try_disks(shared: str, env: dict[str, str]) -> int:
    """Runs the programs on small disks; returns how many did something else than they should."""
    wrong = 0
    for name, sizes in DISKS.items():
        for size in sizes:
            why = full_disk(name, shared, size, env)
            wrong += bool(why)
            print(f"{name} on a disk of {size}: {why or 'as it should be'}", flush=True)
    return wrong


def try_training(rng: random.Random, folder: str, args: argparse.Namespace) -> int:
    """Kills training at drawn steps; returns the number of trials that ended otherwise."""
    env = environment(args.devices)
    expected, different = digest(os.path.join(folder, "alone")), 0
    print(f"left alone: {expected}", flush=True)
    for number in range(1, args.trials + 1):
        found = trial(rng, folder, 40, env, kills=2 if number % 3 == 0 else 1)
        different += found != expected
        verdict = "equal" if found == expected else f"DIFFERENT: {found}"
        print(f"trial {number} of {args.trials}: {verdict}", flush=True)
    print(f"{args.trials - different} of {args.trials} trials equal on {args.devices} device(s)")
    return different


def main() -> int:
    """Runs the trials; the exit status is the number of those that differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = ("train", *SCENARIOS, "disk")
    parser.add_argument("--what", choices=(*known, "all"), action="append", help="default: train")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    what = args.what or ["train"]
    rng, env, different = random.Random(args.seed), environment(args.devices), 0
    with tempfile.TemporaryDirectory() as folder:
        run(command(os.path.join(folder, "alone"), os.path.join(folder, "prepared")), env)
        for name in known if "all" in what else what:
            if name == "align" and not importlib.util.find_spec("sentence_transformers"):
                print("align: not tried, for want of sentence-transformers")
            elif name == "train":
                different += try_training(rng, folder, args)
            elif name == "disk":
                different += try_disks(folder, env)
            else:
                different += try_scenario(name, rng, folder, args.trials, env)
    return different


if __name__ == "__main__":
    sys.exit(main())
