"""What a checkpoint holds, in one line; and how far two are apart."""

import hashlib
from collections.abc import Mapping

import numpy as np

from flan_jax.errors import CheckpointError
from flan_jax.training import checkpoints, run_metadata

DATA_START = hashlib.sha256(b"").hexdigest()


def chain(digest: str, batch_digest: bytes) -> str:
    """Returns the data digest after one more batch: SHA-256 of the old one and the batch's."""
    return hashlib.sha256(bytes.fromhex(digest) + batch_digest).hexdigest()


def params_digest(params: Mapping[str, np.ndarray]) -> str:
    """Returns SHA-256 over names, dtypes, shapes and bytes of all parameters, by name."""
    digest = hashlib.sha256()
    for name in sorted(params):
        array = np.ascontiguousarray(params[name])
        digest.update(f"{name}\x1f{array.dtype}\x1f{array.shape}\x1e".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def line(found: checkpoints.Found) -> str:
    """Returns `step <n> params <sha256> data <sha256>`."""
    data = run_metadata.data_of(found.run, found.path)["digest"]
    params = checkpoints.load_params_on_host(found.path)
    return f"step {found.step} params {params_digest(params)} data {data}"


def relative_difference(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """Returns the largest over parameters of |a - b| / |a| (Euclidean norms).

    Raises:
        CheckpointError: the parameters differ in name or shape.
    """
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        different = sorted(k for k in {*a, *b} if k not in a or k not in b)
        different = different or sorted(k for k in a if a[k].shape != b[k].shape)
        raise CheckpointError(f"the two are different models: see {different[0]}")
    largest = 0.0
    for name in a:
        left: np.ndarray = a[name].astype(np.float64)
        distance, size = np.linalg.norm(left - b[name]), np.linalg.norm(left)
        if distance:
            largest = max(largest, float(distance / size) if size else float("inf"))
    return largest
