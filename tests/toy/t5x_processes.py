"""T5X in processes of its own, for tests that compare it with what is here."""

import subprocess
import sys

import pytest

from flan_jax.engines import t5x as engine

missing = engine.missing_modules()
needs_t5x = pytest.mark.skipif(
    bool(missing), reason=f"{', '.join(missing)} cannot be imported; see requirements-t5x.txt"
)


def run_python(*arguments, cwd=None):
    """Runs Python on a CPU, where T5X can be imported; returns the process, which ended well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=engine.environment() | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done
