"""Polynomial hashes modulo 2**64, of all windows of a text at once.

The hash of items c[i .. i + w) is the sum of c[i + j] * BASE**j. Sums over all c[i] * BASE**i up to
each place give it by one subtraction and one multiplication.
"""

import functools
from typing import Any

import numpy as np

# Odd, so that it has an inverse modulo 2**64; otherwise arbitrary.
BASE = 0x9E3779B97F4A7C15


@functools.lru_cache(maxsize=2)
def powers(length: int) -> tuple[Any, Any]:
    """Returns powers of the base and of its inverse, modulo 2**64: uint64 [length]."""
    columns = []
    for base in (BASE, pow(BASE, -1, 1 << 64)):
        factors: Any = np.full(length, base, np.uint64)
        factors[0] = 1
        columns.append(np.cumprod(factors, dtype=np.uint64))
    return columns[0], columns[1]
