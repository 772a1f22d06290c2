"""Reads thousands of damaged files and says where something else than a clear error comes out.

    python scripts/fuzz.py --count 100000
    python scripts/fuzz.py --reader transfer --seed 3 --only 1741     # one input again

Every reader of foreign input (fuzz_readers.py) gets well-formed seeds that were mutated: bytes
flipped, cut, doubled and nested, values of JSON exchanged for others. It has to accept an input or
raise a `FlanJaxError` with a printable message of at most 2,000 characters, each within a second
of processor time, and the process stays below 1 GiB of memory. Readers that import TensorFlow,
which alone takes most of that, run in a process of their own. A failing input is kept below --out.
"""

import argparse
import collections
import dataclasses
import faulthandler
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.errors import MOST, FlanJaxError, printable

SECONDS = 1.0
# Nothing that is read may take so long that it has to be stopped from outside.
HANGS = 60
MOST_MEMORY = 1 << 30
LARGEST = 1 << 21

NUMBERS = (
    "0", "-1", "1e999", "-1e999", "NaN", "-Infinity", "1" + "0" * 400, "9" * 5000, "1.5", "-0.0",
    "2147483648", "18446744073709551616", "1e-400",
)  # fmt: skip
TEXTS = (
    '""', '"\\u0000"', '"\\ud800"', '"\\u001b[2J"', '"[INST] [red] :smile:"', '"../../etc/passwd"',
    '"/dev/zero"', '"\u2028\u0085"', '"\\u202etxt"', '"gs://nowhere/x"', '"%MACRO"', '"@os.system"',
    '"{{7*7}}"', '"{% for"', '"' + "a" * 70_000 + '"', '"' + "é" * 4097 + '"',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, float("inf"), float("nan"), 10**400, 2**70, "", " ", "x", "-",
    "\x00", "\ud800", "\x1b[31m", "[INST]", "../x", "/dev/zero", "a" * 70_000, [], {}, [[]], [{}],
    [None], ["x", 3], {"x": {}}, {"": ""}, ["x"] * 3000, [[[[[[[[]]]]]]]],
)  # fmt: skip
PIECES = (
    b"[" * 50_000, b"{" * 50_000, b'{"a":' * 20_000, b"(" * 3000, b"- " * 30_000, b"{{" * 20_000,
    b"{%" * 20_000, b"{#" * 9000, b"*a " * 100, b"&a [*a, *a]", b"!!python/object/apply:os.system",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n" * 2000, b"\xed\xa0\x80", b'"',
    b"2020-99-99", b"2001-01-01T99:00:00", b"<<: *a", b"? [a]", b"\\", b"|||", b"\x1b]0;x\x07",
    b"," * 200_000, b"x" * 200_000, b"'''", b"%" * 300, b"@os.system()", b"import os\n",
    b"include 'x.gin'\n", b"A = %A\n", b"  : ", b"\t", b"\xe2\x80\xa8", b"#",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reader:
    """Something that reads what others wrote.

    Attributes:
        name: in reports.
        seeds: well-formed inputs.
        read: reads one; gets a folder of its own and the input's bytes.
        heavy: whether it imports TensorFlow.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[pathlib.Path, bytes], object]
    heavy: bool = False


def mutate(rng: random.Random, seed: bytes, seeds: Sequence[bytes]) -> bytes:
    """Returns a seed with one to four mutations."""
    content = seed
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        content = rng.choice(MUTATIONS)(rng, content, seeds)[:LARGEST]
    return content


def _place(rng: random.Random, content: bytes) -> int:
    return rng.randint(0, len(content))


def _slice(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = _place(rng, content)
    return start, min(len(content), start + int(rng.expovariate(1 / 30)) + 1)


def _flip(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(content)
    printable_only = rng.random() < 0.7
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(len(changed))] = (
            rng.randrange(32, 127) if printable_only else rng.randrange(256)
        )
    return bytes(changed)


def _cut(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, content)
    return content[:start] + content[end:]


def _truncate(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    return content[: _place(rng, content)]


def _double(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end = _slice(rng, content)
    return content[:end] + content[start:end] * rng.choice((1, 2, 50, 3000)) + content[end:]


def _insert(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(rng, content)
    return content[:at] + rng.choice(PIECES) + content[at:]


def _splice(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    return content[: _place(rng, content)] + other[_place(rng, other) :]


def _exchange(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """Puts another literal where a word or number stands."""
    start, end = _slice(rng, content)
    while start > 0 and content[start - 1 : start].isalnum():
        start -= 1
    while end < len(content) and content[end : end + 1].isalnum():
        end += 1
    literal = rng.choice(NUMBERS + TEXTS)
    return content[:start] + literal.encode("utf-8", "surrogatepass") + content[end:]


def _lines(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    rows = content.split(b"\n")
    match rng.randrange(4):
        case 0:
            rng.shuffle(rows)
        case 1:
            rows.insert(rng.randint(0, len(rows)), rng.choice(rows))
        case 2:
            del rows[rng.randrange(len(rows))]
        case _:
            return content.replace(b"\n", b"\r")
    return b"\n".join(rows)


def _encode(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-7")), "replace")


def _structure(rng: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """Exchanges, drops, doubles or adds a value somewhere in JSON, or in one line of JSON lines."""
    rows = content.split(b"\n")
    number = rng.randrange(len(rows))
    for text, whole in ((content, True), (rows[number], False)):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        changed = json.dumps(_changed(rng, value)).encode()
        if whole:
            return changed
        rows[number] = changed
        return b"\n".join(rows)
    return _exchange(rng, content, seeds)


def _changed(rng: random.Random, value: Any) -> Any:
    inner = isinstance(value, dict | list) and len(value) > 0
    if not inner or rng.random() < 0.1:
        return rng.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    copy = value.copy()
    match rng.randrange(8):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[rng.choice(("", "x", "id", "Instance", "\ud800", "k" * 5000))] = copy[key]
        case 1:
            copy.insert(key, copy[key])
        case 2 | 3:
            copy[key] = rng.choice(VALUES)
        case _:
            copy[key] = _changed(rng, copy[key])
    return copy


MUTATIONS = (
    _flip, _flip, _cut, _truncate, _double, _insert, _insert, _splice, _exchange, _exchange, _lines,
    _encode, _structure, _structure, _structure, _structure,
)  # fmt: skip


def judge(reader: Reader, folder: pathlib.Path, content: bytes) -> tuple[str, str]:
    """Reads one input.

    Returns:
        "read", "refused" or "failed", and what went wrong.
    """
    started = time.process_time()
    try:
        reader.read(folder, content)
        outcome, message = "read", ""
    except FlanJaxError as error:
        outcome, message = "refused", str(error)
    except BaseException:
        return "failed", traceback.format_exc(limit=-8)[-3000:]
    seconds = time.process_time() - started
    if seconds > SECONDS:
        return "failed", f"took {seconds:.1f} s"
    if (peak := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) > MOST_MEMORY:
        return "failed", f"the process has taken {peak >> 20} MiB"
    if outcome == "refused":
        if len(message) > MOST or not message.strip():
            return "failed", f"a message of {len(message)} characters"
        if printable(message) != message:
            return "failed", f"a message that steers terminals: {message!r:.300}"
    return outcome, message


def number_of(reader: Reader, seed: int, number: int) -> bytes:
    """Returns input `number` of a reader: it depends on nothing but these three."""
    rng = random.Random(f"{reader.name}/{seed}/{number}")
    seeds = reader.seeds()
    return mutate(rng, rng.choice(seeds), seeds)


def fuzz(
    readers: Sequence[Reader], count: int, seed: int, out: pathlib.Path, only: int | None = None
) -> collections.Counter[str]:
    """Reads `count` inputs, the readers in turn, and reports what fails on standard output.

    Returns:
        How many were read, refused and failed; `<reader>/read` and so on for each reader.
    """
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for reader in readers:  # a reader that refuses what is well formed tests nothing
            judge(reader, _folder(scratch, reader), reader.seeds()[0])  # imports take their time
            for position, content in enumerate(reader.seeds()):
                outcome, message = judge(reader, _folder(scratch, reader), content)
                if outcome != "read":
                    print(f"{reader.name}: seed {position} is {outcome}: {message}", flush=True)
                    counts["failed"] += 1
        for number in [only] if only is not None else range(-(-count // len(readers))):
            for reader in readers:
                content = number_of(reader, seed, number)
                faulthandler.dump_traceback_later(HANGS, exit=True)
                kept = out / f"{reader.name}-{seed}-{number}"
                kept.write_bytes(content)  # so that it is there when the process dies of it
                outcome, message = judge(reader, _folder(scratch, reader), content)
                faulthandler.cancel_dump_traceback_later()
                counts[outcome] += 1
                counts[f"{reader.name}/{outcome}"] += 1
                if outcome == "failed":
                    print(f"{reader.name} --seed {seed} --only {number}: {message}", flush=True)
                else:
                    kept.unlink()
                    if only is not None:
                        print(f"{outcome}: {message}", flush=True)
    return counts


def _folder(scratch: str, reader: Reader) -> pathlib.Path:
    folder = pathlib.Path(scratch) / reader.name
    folder.mkdir(exist_ok=True)
    return folder


def main() -> int:
    """Fuzzes in two processes, without and with TensorFlow; the status is 1 where some failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="inputs in all (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", help="only this one; may be given again")
    parser.add_argument("--only", type=int, help="number of the one input to read")
    parser.add_argument("--out", default="fuzz_failures", help="folder for failing inputs")
    parser.add_argument("--part", choices=("light", "heavy"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    from fuzz_readers import READERS

    chosen = [r for r in READERS if not args.reader or r.name in args.reader]
    if not chosen:
        parser.error(f"--reader: there are {', '.join(reader.name for reader in READERS)}")
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if args.part:
        readers = [reader for reader in chosen if reader.heavy == (args.part == "heavy")]
        counts = fuzz(readers, args.count, args.seed, out, args.only)
        print(json.dumps(counts))
        return int(counts["failed"] > 0)
    total: collections.Counter[str] = collections.Counter()
    for part in ("light", "heavy"):
        share = [reader for reader in chosen if reader.heavy == (part == "heavy")]
        if not share:
            continue
        count = args.count * len(share) // len(chosen)
        arguments = [*sys.argv[1:], "--part", part, "--count", str(count)]
        child = subprocess.run(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
        )
        *said, last = child.stdout.splitlines() or [""]
        print("\n".join(said))
        if child.returncode not in (0, 1) or not last.startswith("{"):
            print(f"{last}\nthe {part} readers' process died (status {child.returncode})")
            total["failed"] += 1
        else:
            total.update(json.loads(last))
    for reader in chosen:
        numbers = [total[f"{reader.name}/{outcome}"] for outcome in ("read", "refused", "failed")]
        print(f"{reader.name:<20} read {numbers[0]:>6} refused {numbers[1]:>6} failed {numbers[2]}")
    print(f"{total['read'] + total['refused']:,} inputs as they should be, {total['failed']} not")
    if not any(out.iterdir()):
        out.rmdir()
    return int(total["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
