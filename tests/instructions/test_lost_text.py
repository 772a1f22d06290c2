"""What a vocabulary cannot say is told, as of T5's: newlines and braces."""

import pytest

from flan_jax.cli import run
from flan_jax.instructions.lost_text import describe, lost
from flan_jax.instructions.vocabulary import load_vocabulary


@pytest.fixture(scope="module")
def like_t5s(tmp_path_factory):
    """A SentencePiece model without bytes to fall back on, whose text had no newline or brace."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("spiece")
    text = folder / "text.txt"
    text.write_text("The quick brown fox, jumps over: the lazy dog? Yes - no.\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "spiece"), vocab_size=60, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return str(folder / "spiece.model")


def test_lost_characters_are_counted_by_texts(like_t5s):
    texts = ["Yes\n{no}", "the\n\ndog", "the dog"]
    counts, total = lost(load_vocabulary(like_t5s), texts)
    assert counts == {"\n": 2, "{": 1, "}": 1} and total == 3
    said = describe("V", counts, total)
    assert said == "VOCABULARY V loses, of 3 texts: '\\n' in 2, '{' in 1, '}' in 1"
    for spec in ("default", "byte"):
        assert lost(load_vocabulary(spec), texts) == ({}, 3)


def test_tasks_check_tells(like_t5s, capsys):
    check = ["tasks", "check", "flan_rte", "--module=tasks.flan"]
    assert run([*check, f"--gin.VOCABULARY={like_t5s}"]) == 0
    said = capsys.readouterr().out
    assert f"VOCABULARY {like_t5s} loses, of " in said and "'\\n' in " in said
    assert "1 entries checked, 0 with problems" in said
