"""Pretrains MiniLab's base model on its untasked text, and exports it.

    python scripts/pretrain_minilab.py --work=runs/minilab_pretrain --out=tasks/minilab/base

Trains as gin_configs/experiments/minilab_pretrain.gin says (`--gin.NAME=value` overrides it), goes
on where it was interrupted, and writes the weights alone with a README that says what they are:
command, time, digest. What is checked in was made this way.
"""

import argparse
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXPERIMENT = "gin_configs/experiments/minilab_pretrain.gin"

README = """\
# MiniLab's base model

The weights that the demo tunes: a T5 1.1 of {parameters:,} parameters, pretrained on the untasked
text of MiniLab (`tasks/minilab/text.py`) and on nothing else: on no instruction, no held-out skill
and no line of words of an evaluation split.

* made by: `python scripts/pretrain_minilab.py{arguments}`
* {steps:,} steps, {tokens:,.0f} tokens of inputs and targets, {minutes:.0f} minutes on {machine}
* loss {loss:.3f}, {accuracy:.1f} % of the target tokens right, over the last {window} steps
* vocabulary: {vocabulary}
* parameters: SHA-256 {digest} (`flan-jax digest tasks/minilab/base`)
* licence: Apache-2.0, as all of the project

It is an ordinary checkpoint without an optimizer: `--gin.INITIAL_CHECKPOINT_PATH` and
`flan-jax eval --checkpoint` take it.
"""


def main() -> None:
    """Trains what is left to train, and exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default="runs/minilab_pretrain", help="folder of the run")
    parser.add_argument("--out", default=str(ROOT / "tasks" / "minilab" / "base"))
    parser.add_argument("--machine", default=f"{platform.machine()}, CPU", help="for the README")
    args, overrides = parser.parse_known_args()
    if pathlib.Path(args.out).exists():
        parser.error(f"{args.out} exists already")
    command = [sys.executable, "-m", "flan_jax", "train", f"--gin_file={EXPERIMENT}"]
    subprocess.run([*command, f"--gin.MODEL_DIR={args.work}", *overrides], cwd=ROOT, check=True)

    sys.path.insert(0, str(ROOT))
    from flan_jax.training import checkpoints, digest, trackers

    found = checkpoints.require(str(ROOT / args.work), print, weights_only=True)
    checkpoints.export_weights(found, args.out)
    params = checkpoints.load_params_on_host(found.path)
    rows = [row for row in trackers.read_reports(str(ROOT / args.work)) if "loss" in row]
    window = rows[-1]["step"] - rows[-2]["step"]
    facts = {
        "parameters": sum(array.size for array in params.values()),
        "arguments": "".join(f" {text}" for text in overrides),
        "steps": found.step,
        "tokens": window * sum(row["tokens_per_second"] * row["step_seconds"] for row in rows),
        "minutes": found.run["kept_seconds"] / 60,
        "machine": args.machine,
        "loss": rows[-1]["loss"],
        "accuracy": 100 * rows[-1]["accuracy"],
        "window": window,
        "vocabulary": found.run["fingerprint"]["vocabulary"],
        "digest": digest.params_digest(params),
    }
    (pathlib.Path(args.out) / "README.md").write_text(README.format(**facts))
    files = [path for path in pathlib.Path(args.out).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{args.out}: {size / 1e6:.1f} MB, parameters SHA-256 {facts['digest']}")


if __name__ == "__main__":
    main()
