"""What all tests share: quiet CPU-only libraries, and where the real data lies."""

import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Toy tasks are a task module like any other; scripts are tested as well, and checkers imported.
sys.path[:0] = [str(ROOT / part) for part in ("tests/toy", "tests/tasks", "scripts")]

# Before anything imports TensorFlow or JAX.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests, workers and the processes they start compile the same few steps over and over.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "flan_jax_test_compilations")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# What they compile runs for moments, so LLVM need not make it fast; what tests compare is the same
# to a few units in the last place. Tests that are about the last place ask for users' code.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Where several test processes share the cores, the threads of torch spin while they wait for each
# other, which takes fifty times as long as these small models take one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# Runs leave notes among the user's own files; those of tests are nobody's.
os.environ.setdefault("XDG_STATE_HOME", os.path.join(tempfile.gettempdir(), "flan_jax_test_state"))


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data: FLAN_JAX_SHARED_DATA, else shared/data beside the repository."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("FLAN_JAX_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (FLAN_JAX_SHARED_DATA names its folder)")
    return folder


@pytest.fixture(scope="module")
def compiled_as_users_have_it() -> Iterator[None]:
    """For tests about the last place, and for models that are large."""
    import jax

    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, False)
    yield
    jax.config.update(name, before)


@pytest.fixture(autouse=True)
def no_settings_from_elsewhere() -> Iterator[None]:
    """Settings that a run, or a fixture of a module, leaves behind do not reach the next test."""
    _forget_settings()
    yield
    _forget_settings()


def _forget_settings() -> None:
    from flan_jax.macros import SETTINGS

    gin = sys.modules.get("gin")
    for name in SETTINGS:
        os.environ.pop(name, None)
        if gin is not None:
            _forget_macro(gin, f"{name}/gin.macro.value")
    vocabulary = sys.modules.get("flan_jax.instructions.vocabulary")
    if vocabulary is not None:
        vocabulary.VOCABULARY.use(None)


def _forget_macro(gin: Any, parameter: str) -> None:
    try:
        gin.query_parameter(parameter)
    except ValueError:  # it has no value
        return
    with gin.unlock_config():
        gin.bind_parameter(parameter, None)


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A cache of prepared records that tests of one process share."""
    return tmp_path_factory.mktemp("prepared")
