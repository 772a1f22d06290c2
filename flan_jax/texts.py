"""Unicode normalization of texts that somebody else wrote, in linear time.

Marks that combine with one letter are put in order by insertion, so a long run of them takes
quadratic time: a megabyte, half an hour. Nobody writes such runs.
"""

import itertools
import unicodedata

from flan_jax.errors import DataError

# UAX #15 calls text of at most 30 marks on a letter stream-safe.
MOST_MARKS = 200
# Shorter texts are soon normalized, whatever is in them.
_SHORT = 2000
_PIECE = 1000


def nfc(text: str) -> str:
    """Returns a text in Unicode's form C.

    Raises:
        DataError: more marks follow one letter than anybody writes.
    """
    if text.isascii():
        return text
    if len(text) > _SHORT:
        runs = itertools.groupby(map(unicodedata.combining, text), bool)
        if any(sum(1 for _ in run) > MOST_MARKS for marks, run in runs if marks):
            raise DataError(f"a text has more than {MOST_MARKS} combining marks on one letter")
    return unicodedata.normalize("NFC", text)


def most_bytes(text: str) -> int:
    """Returns a bound on the UTF-8 bytes of a text after any usual Unicode normalization.

    Tokenizers normalize before they cut, and NFKD or case folding make some texts longer.
    """
    if text.isascii():
        return len(text)
    folded = text.casefold()
    # The order of marks is nothing to their number, so pieces do.
    pieces = (folded[start : start + _PIECE] for start in range(0, len(folded), _PIECE))
    longest = sum(len(_bytes(unicodedata.normalize("NFKD", piece))) for piece in pieces)
    return max(len(_bytes(text)), longest)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
