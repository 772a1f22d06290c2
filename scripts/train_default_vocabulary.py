"""Trains the vocabulary that ships with the package, on text of this project alone.

    python scripts/train_default_vocabulary.py [--out=FILE] [--size=4096]

The texts are MiniLab's prompts and answers in several renderings, the definitions on MiniLab's
cards, the prose of this repository (README, docs, docstrings, comments) and the word lists beside
this script: frequent English words in rough order of frequency, and how words begin and end. So
the vocabulary spells MiniLab in whole words and other English in few pieces. What is trained
depends on the repository's text, so a later run gives another file: the one that is checked in is
what counts, and its SHA-256 is printed.
"""

import argparse
import ast
import hashlib
import io
import pathlib
import sys
import tokenize
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(__file__).resolve().parent / "data"
OUT = ROOT / "flan_jax" / "instructions" / "vocabularies" / "default.model"
SIZE = 4096

# MiniLab examples a task and how often each is rendered.
EXAMPLES, RENDERINGS = 40, 2
# Documents of untasked text.
DOCUMENTS = 5000
# How often the most and the least frequent word of the list occur in the text.
MOST, LEAST = 1000, 60
# So many words also occur capitalised, and so many of these at the beginning of a line; each time
# once where the word itself occurs so many times.
CAPITALISED, AT_LINE_START, ONCE_IN = 800, 200, 6
# How often each ending and beginning occurs, so that words not in the list fall into few pieces.
FRAGMENT_COUNT = 40


def minilab_texts() -> Iterator[str]:
    """Yields definitions, prompts and answers of MiniLab's training split; untasked text."""
    from flan_jax.instructions import cards, draws, train_vocabulary
    from tasks import minilab
    from tasks.minilab import text

    for card in cards.cards([minilab.__name__]):
        yield from card.instructions
    for number in range(RENDERINGS):
        with draws.rendering_context(seed=0, number=number):
            for task in minilab.TASKS.values():
                yield from train_vocabulary.mixture_texts(task.entry, max_examples=EXAMPLES)
    yield from (text.document("train", index) for index in range(DOCUMENTS))


def prose(source: str) -> Iterator[str]:
    """Yields the docstrings and comments of a Python file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def project_texts() -> Iterator[str]:
    """Yields the prose of the repository, file by file."""
    for folder in ("flan_jax", "tasks", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from prose(path.read_text(encoding="utf-8"))
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        yield path.read_text(encoding="utf-8")


def word_list(name: str) -> list[str]:
    """Returns the words of a file beside this script, each once."""
    return list(dict.fromkeys((DATA / name).read_text(encoding="utf-8").split()))


def english_texts() -> Iterator[str]:
    """Yields the words, as often as their rank suggests, and the fragments of words.

    After a newline no space comes before a word, which makes it another piece; that is also how
    endings are fed, which continue a word.
    """
    for rank, word in enumerate(word_list("english_words.txt")):
        count = max(LEAST, int(MOST / (1 + rank / 20)))
        yield " ".join([word] * count)
        upper = word[:1].upper() + word[1:]
        if rank < CAPITALISED:
            yield " ".join([upper] * (count // ONCE_IN))
        if rank < AT_LINE_START:
            yield "\n".join([upper] * (count // ONCE_IN))
    yield from (" ".join([x] * FRAGMENT_COUNT) for x in word_list("english_beginnings.txt"))
    for ending in word_list("english_endings.txt"):
        yield "".join([f"\n{ending}"] * FRAGMENT_COUNT)


def main() -> None:
    """Trains, writes and prints the digest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=str(OUT))
    parser.add_argument("--size", type=int, default=SIZE)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from flan_jax.instructions.train_vocabulary import train_vocabulary

    texts = [*minilab_texts(), *project_texts(), *english_texts()]
    train_vocabulary(texts, args.out, size=args.size)
    digest = hashlib.sha256(pathlib.Path(args.out).read_bytes()).hexdigest()
    print(f"{args.out}: {args.size} pieces from {sum(map(len, texts)):,} characters\n{digest}")


if __name__ == "__main__":
    main()
