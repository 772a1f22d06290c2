"""Thousands of damaged inputs: each is read, or refused with a clear error (scripts/fuzz.py)."""

import pathlib
import random
import re
import subprocess
import sys

import fuzz
import pytest

from flan_jax.errors import DataError

SCRIPTS = pathlib.Path(fuzz.__file__).parent


def test_two_thousand_damaged_inputs(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "fuzz.py", "--count=2000", f"--out={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert re.search(r"^2,0\d\d inputs as they should be, 0 not$", done.stdout, re.MULTILINE)
    rows = [line.split() for line in done.stdout.splitlines() if " refused " in line]
    assert len(rows) > 20
    # Of what is refused alone, or accepted alone, nothing would be learned.
    assert all(int(row[2]) + int(row[4]) >= 60 for row in rows)
    assert sum(int(row[2]) > 0 for row in rows) > 20
    assert sum(int(row[4]) > 0 for row in rows) > 20


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda: _raise(ValueError("bad")), "ValueError: bad"),
        (lambda: _raise(SystemExit(1)), "SystemExit"),
        (lambda: _raise(DataError("")), "a message of 0 characters"),
        (lambda: _raise(DataError("x" * 3000, most=5000)), "a message of 3000 characters"),
    ],
)
def test_the_fuzzer_sees_what_is_wrong(tmp_path, monkeypatch, read, why):
    monkeypatch.setattr(fuzz, "MOST_MEMORY", 1 << 50)  # other tests of this process take more
    reader = fuzz.Reader("bad", lambda: [b"seed"], lambda folder, content: read())
    outcome, message = fuzz.judge(reader, tmp_path, b"x")
    assert outcome == "failed" and why in message


@pytest.mark.parametrize(("limit", "why"), [("SECONDS", "took"), ("MOST_MEMORY", "MiB")])
def test_the_fuzzer_sees_what_takes_too_much(tmp_path, monkeypatch, limit, why):
    monkeypatch.setattr(fuzz, limit, -1)
    reader = fuzz.Reader("dear", lambda: [b"seed"], lambda folder, content: None)
    outcome, message = fuzz.judge(reader, tmp_path, b"x")
    assert outcome == "failed" and why in message


def test_an_input_can_be_made_again(tmp_path):
    reader = fuzz.Reader("some", lambda: [b'{"a": [1, "b"]}', b"a: 1\n"], lambda *a: None)
    inputs = [fuzz.number_of(reader, 7, number) for number in range(300)]
    assert inputs == [fuzz.number_of(reader, 7, number) for number in range(300)]
    assert len(set(inputs)) > 200 and max(map(len, inputs)) <= fuzz.LARGEST
    seeds = [b"abc", b"1 2 3\n"]
    text = b'["x", 12]\n'
    for change in set(fuzz.MUTATIONS):
        assert any(change(random.Random(i), text, seeds) != text for i in range(9))
