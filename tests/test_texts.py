"""Unicode normalization that takes linear time."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax import texts
from flan_jax.errors import DataError

MARKED = st.lists(st.sampled_from(["a", "e\u0301", "\u0323", "\u0301", "한", "\ufdfa", "ß", " x"]))


@given(MARKED.map("".join) | st.text())
def test_normalization_is_unicodes(text):
    assert texts.nfc(text) == unicodedata.normalize("NFC", text)
    folded = unicodedata.normalize("NFKD", text.casefold()).encode()
    assert texts.most_bytes(text) == max(len(text.encode()), len(folded))


def test_long_texts_too():
    text = "e\u0323\u0301ſ\ufb03한" * 1001
    assert texts.nfc(text) == unicodedata.normalize("NFC", text)
    folded = unicodedata.normalize("NFKD", text.casefold()).encode()
    assert texts.most_bytes(text) == max(len(text.encode()), len(folded))


def test_marks_without_end_are_refused_soon():
    text = "a" + "\u0301\u0323" * 500_000
    start = time.monotonic()
    with pytest.raises(DataError, match="more than 200 combining marks"):
        texts.nfc(text)
    assert texts.most_bytes(text) == len(text.encode())
    assert time.monotonic() - start < 10
