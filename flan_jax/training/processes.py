"""Several processes as one program: what one of them does for all, and what all then know."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is process 0, which alone writes and prints."""
    return jax.process_index() == 0


def first_then_all(first: Callable[[], T], then: Callable[[], T], what: str) -> T:
    """Lets process 0 do something while the others wait, who then do the other thing.

    Args:
        first: what process 0 does.
        then: what all others do, once it has.
        what: name of the wait, the same in all processes.
    """
    made = first() if is_first() else None
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
    return made if is_first() else then()  # type: ignore[return-value]


def from_first(value: Any) -> Any:
    """Returns what process 0 passes, a value of JSON, in all processes."""
    if jax.process_count() == 1:
        return value
    told = np.frombuffer(json.dumps(value).encode() if is_first() else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(told))))
    padded: np.ndarray = np.zeros(size, np.uint8)
    padded[: len(told)] = told
    return json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded))))
