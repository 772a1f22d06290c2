"""What all tests share: quiet CPU-only libraries, and where the real data lies."""

import os
import pathlib

import pytest

# Before anything imports TensorFlow or JAX.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data: FLAN_JAX_SHARED_DATA, else shared/data beside the repository."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("FLAN_JAX_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (FLAN_JAX_SHARED_DATA names its folder)")
    return folder
