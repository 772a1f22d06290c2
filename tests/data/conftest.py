"""What tests of prepared data share."""

import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A disk of 4 MB of its own, where root may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only, where that is allowed")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
