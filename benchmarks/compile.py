"""How long the train step takes to trace and compile, and what it then moves and holds.

    python benchmarks/compile.py depth           # 4 to 48 layers on this machine's backend
    python benchmarks/compile.py tpu             # T5 base for 16 TPU v5e chips that are not there

`tpu` compiles ahead of time with libtpu (pip install libtpu), which needs no TPU: batch 128,
1024 / 256, packed, Adafactor, bfloat16. Bytes moved are those that instructions read and write in
one step in the main memory of one device, bodies of loops times their trips: XLA's own count takes
a body once. An instruction reads its operands and writes its result; slices count as what they
take out or put in, also inside fusions.
"""

import argparse
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from model_sizes import t5_of_size

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4}
SIZES |= {"s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
# The last group tells memory other than HBM, such as S(1), the vector memory of a TPU.
_ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
# Names for what is somewhere already.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while"}
FREE |= {"conditional", "call", "partition-id", "replica-id", "opt-barrier", "iota"}
SLICES = {"dynamic-slice", "slice", "gather"}


class Instruction:
    """One line of HLO text."""

    def __init__(self, match: re.Match[str]):
        self.is_root = bool(match[1])
        self.name, self.opcode, self.rest = match[2], match[4], match[5]
        self.bytes = array_bytes(match[3])
        inside = self.rest.split("), ")[0]
        self.operands = re.findall(r"%([\w.\-]+)", inside)

    def called(self, *keys: str) -> list[str]:
        """Returns the computations it names under `keys`, such as body=."""
        return [name for key in keys for name in re.findall(rf"{key}=%?([\w.\-]+)", self.rest)]


def array_bytes(text: str) -> int:
    """Returns the bytes of all arrays in an HLO type that lie in main memory."""
    total = 0
    for kind, dims, layout in _ARRAY.findall(text):
        if kind in SIZES and "S(" not in layout:
            total += SIZES[kind] * int(np.prod([int(d) for d in dims.split(",") if d] or [1]))
    return total


class Program:
    """Computations of a compiled program, by name."""

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        name = ""
        for line in text.splitlines():
            if header := re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
                name = header[2]
                self.computations[name] = []
                self.entry = name if header[1] else self.entry
            elif name and (match := _INSTRUCTION.match(line)):
                self.computations[name].append(Instruction(match))

    def bytes_moved(self, name: str = "") -> float:
        """Returns what a computation reads and writes, loops included."""
        body = self.computations[name or self.entry]
        known = {one.name: one for one in body}
        return sum(self._cost(one, known) for one in body)

    def _cost(self, one: Instruction, known: Mapping[str, Instruction]) -> float:
        if one.opcode == "while":
            return self._trips(one) * sum(self.bytes_moved(name) for name in one.called("body"))
        if one.opcode in ("call", "conditional", "async-start"):
            names = one.called("to_apply", "calls", "branch_computations")
            return sum(self.bytes_moved(name) for name in names if name in self.computations)
        if one.opcode in FREE or one.opcode.endswith("-done"):
            return 0
        reads = [known[name].bytes for name in one.operands if name in known]
        if one.opcode in SLICES:
            return 2 * one.bytes
        if one.opcode == "dynamic-update-slice":
            return 2 * reads[1]
        if one.opcode.endswith("-start"):  # its result repeats its operand
            return one.bytes
        if one.opcode == "fusion":
            return self._fusion(one, reads)
        return one.bytes + sum(reads)

    def _trips(self, loop: Instruction) -> int:
        """Reads the number of trips of a scan off its line, or off `i < constant`."""
        if known := re.search(r"known_trip_count[^0-9]*(\d+)", loop.rest):
            return int(known[1])
        condition = {one.name: one for one in self.computations[loop.called("condition")[0]]}
        compare = next(one for one in condition.values() if one.is_root)
        bounds = [condition[name] for name in compare.operands if name in condition]
        constants = [one.rest for one in bounds if one.opcode == "constant"]
        if compare.opcode != "compare" or "direction=LT" not in compare.rest or not constants:
            raise ValueError(f"loop {loop.name}: number of trips unknown")
        return int(constants[0].split(")")[0])

    def _fusion(self, one: Instruction, reads: list[int]) -> float:
        """Operands that a fusion only slices, or only updates in place, count as the slice."""
        inner = self.computations[one.called("calls")[0]]
        known = {item.name: item for item in inner}
        users: dict[str, list[Instruction]] = {}
        for item in inner:
            for operand in item.operands:
                users.setdefault(operand, []).append(item)
        total, written = 0.0, float(one.bytes)
        for item in inner:
            if item.opcode != "parameter":
                continue
            using = list(_through_bitcasts(item.name, users))
            if using and all(user.opcode in SLICES for user in using):
                total += sum(user.bytes for user in using)
            elif using and all(_updates(user, item, known) for user in using):
                written -= item.bytes
                total += 2 * sum(known[user.operands[1]].bytes for user in using)
            else:
                total += item.bytes
        return total + max(written, 0.0)


def _through_bitcasts(name: str, users: Mapping[str, list[Instruction]]) -> Iterator[Instruction]:
    for user in users.get(name, []):
        if user.opcode in ("bitcast", "reshape"):
            yield from _through_bitcasts(user.name, users)
        else:
            yield user


def _updates(user: Instruction, item: Instruction, known: Mapping[str, Instruction]) -> bool:
    """Whether `user` writes a slice into `item`, or a bitcast of it."""
    if user.opcode != "dynamic-update-slice":
        return False
    target = user.operands[0]
    while target in known and known[target].opcode in ("bitcast", "reshape"):
        target = known[target].operands[0]
    return target == item.name


def abstract_step(config: Any, mesh: Any, rows: int, loss_chunk: int, lengths: tuple[int, int]):
    """Returns the jitted step and its abstract arguments: nothing is allocated."""
    import jax
    import jax.numpy as jnp

    from flan_jax.models.families import Model
    from flan_jax.training import mesh as mesh_lib
    from flan_jax.training import state as state_lib
    from flan_jax.training.losses import Loss
    from flan_jax.training.optimizers import Optimizer

    model = Model(config)
    recipe = state_lib.StepRecipe(
        model, Optimizer().build(model.axes), Loss(chunk=loss_chunk or None)
    )
    shardings = state_lib.state_shardings(recipe, mesh)
    state = state_lib.abstract_state(recipe, shardings)
    batch = {
        f"{side}_{name}": jax.ShapeDtypeStruct(
            (rows, length), jnp.int32, sharding=mesh_lib.batch_sharding(mesh)
        )
        for side, length, names in (
            ("encoder", lengths[0], ("input_tokens", "segment_ids", "positions")),
            (
                "decoder",
                lengths[1],
                ("input_tokens", "segment_ids", "positions", "target_tokens", "loss_weights"),
            ),
        )
        for name in names
    }
    step = jax.ShapeDtypeStruct((), jnp.int32, sharding=mesh_lib.replicated(mesh))
    return state_lib.compile_train_step(recipe, shardings, mesh), (state, batch, step)


def timed(config: Any, mesh: Any, rows: int, loss_chunk: int, lengths: tuple[int, int]) -> Any:
    """Returns seconds to trace and lower, seconds to compile, and the compiled step."""
    jitted, arguments = abstract_step(config, mesh, rows, loss_chunk, lengths)
    before = time.perf_counter()
    lowered = jitted.lower(*arguments)
    middle = time.perf_counter()
    compiled = lowered.compile()
    return middle - before, time.perf_counter() - middle, compiled


def depth(args: argparse.Namespace) -> None:
    """Prints times for several depths."""
    from flan_jax.models.t5 import T5Config
    from flan_jax.training import mesh as mesh_lib

    mesh = mesh_lib.make_mesh(args.sharding)
    print("layers (encoder + decoder)   trace   compile")
    for layers in args.layers:
        config = T5Config(
            vocab_size=4096,
            emb_dim=128,
            num_heads=4,
            head_dim=32,
            mlp_dim=256,
            num_encoder_layers=layers,
            num_decoder_layers=layers,
            remat=args.remat,
        )
        trace, compile_, _ = timed(config, mesh, 8, args.loss_chunk, (256, 64))
        print(f"{layers:>11} + {layers:<11} {trace:>8.1f} s {compile_:>7.1f} s", flush=True)


def tpu(args: argparse.Namespace) -> None:
    """Prints compile time, bytes moved and memory of T5 base on TPUs that are not there."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    from jax.experimental import topologies

    from flan_jax.training import mesh as mesh_lib

    numerics = dict(dtype="bfloat16", remat=args.remat, attention_chunk=args.attention_chunk)
    model = t5_of_size(args.size, **numerics)
    topology = topologies.get_topology_desc(args.topology, "tpu")
    mesh = mesh_lib.make_mesh(args.sharding, devices=topology.devices)
    trace, compile_, compiled = timed(model, mesh, args.rows, args.loss_chunk, (1024, 256))
    text = compiled.as_text()
    if args.dump:
        with open(args.dump, "w") as file:
            file.write(text)
    memory = compiled.memory_analysis()
    counted = compiled.cost_analysis().get("bytes accessed", float("nan"))
    print(f"{args.size} on {args.topology}, batch {args.rows}, 1024 / 256, remat {args.remat}:")
    print(f"  trace {trace:.1f} s, compile {compile_:.1f} s")
    print(f"  bytes moved a step on a device {Program(text).bytes_moved() / 1e9:.1f} GB")
    print(f"  (XLA's count, loop bodies once: {counted / 1e9:.1f} GB)")
    print(f"  peak temporary memory {memory.temp_size_in_bytes / 2**30:.2f} GiB")
    print(f"  state and batch {memory.argument_size_in_bytes / 2**30:.2f} GiB")


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["depth", "tpu"])
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 12, 24, 48])
    parser.add_argument("--size", default="t5_1_1/base")
    parser.add_argument("--topology", default="v5e:4x4")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--remat", default="none", choices=["none", "dots", "full"])
    parser.add_argument("--attention_chunk", type=int)
    parser.add_argument("--sharding", default="data")
    parser.add_argument("--loss_chunk", type=int, default=128, help="0 for all positions at once")
    parser.add_argument("--dump", help="file for the compiled program as text (tpu)")
    args = parser.parse_args()
    {"depth": depth, "tpu": tpu}[args.what](args)


if __name__ == "__main__":
    main()
