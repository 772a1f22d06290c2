"""What a checkpoint says of its run: a JSON object, checked field by field as it is read.

    {"step": 1200, "fingerprint": {...}, "settings_format": 1, "settings": {...}, "data": ...}

Whatever is used of it has its type here, so that nobody who uses it has to look again. Fields
that are not known are left alone.
"""

import re
from typing import Any

from etils import epath

from flan_jax import json_files
from flan_jax.errors import CheckpointError, DataError, quoted
from flan_jax.json_files import Fields
from flan_jax.macros import MODES
from flan_jax.training.retention import NOTE

FILE = "run/metadata"
_MOST_BYTES = 1 << 24
_MOST_STEPS = 2**53
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RUN_ID = re.compile(r"[0-9a-f]{32}")


def read_run(path: epath.Path) -> dict[str, Any]:
    """Returns the JSON part of a checkpoint, without reading a tensor.

    Raises:
        CheckpointError: it is missing or damaged, or a field is not of its type.
    """
    try:
        run = Fields(FILE, json_files.read_json(path / FILE, _MOST_BYTES, CheckpointError))
        _check(run)
    except DataError as error:
        raise CheckpointError(str(error)) from None
    return run.object


def data_of(run: dict[str, Any], where: object) -> dict[str, Any]:
    """Returns what a checkpoint says of the data it was trained on.

    Raises:
        CheckpointError: nothing.
    """
    if not run.get("data"):
        raise CheckpointError(f"{where} does not say what data it was trained on")
    return run["data"]


def _check(run: Fields) -> None:
    _count(run, "step")
    fingerprint = run.inner("fingerprint")
    for field, kind in (("model", dict), ("vocabulary", str), ("tasks", dict), ("rates", dict)):
        value = fingerprint.object.get(field)
        if value is not None and not isinstance(value, kind):
            fingerprint.fail(field, f"must not be {json_files.kind(value)}")
    if "settings" not in run.object:
        run.text("macros")  # of before there were settings
    optional = {
        "data": _check_data, "stop_rule": _check_stop_rule, NOTE: _check_note, "base": _check_base
    }  # fmt: skip
    for field, check in optional.items():
        if run.object.get(field) is not None:
            check(run.inner(field))
    if run.object.get("kept_seconds") is not None and run.number("kept_seconds") < 0:
        run.fail("kept_seconds", "must not be below 0")
    if "left_out" in run.object:
        _check_names(run, "left_out")
    if "run_id" in run.object and not _RUN_ID.fullmatch(run.text("run_id")):
        run.fail("run_id", "must be 32 hexadecimal digits")


def _count(fields: Fields, field: str) -> int:
    count = fields.count(field)
    if count > _MOST_STEPS:
        fields.fail(field, f"is {quoted(count)}, which no run reaches")
    return count


def _check_names(fields: Fields, field: str) -> None:
    names = fields.get(field)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        fields.fail(field, "must be a list of strings")


def _check_data(data: Fields) -> None:
    if not _DIGEST.fullmatch(data.text("digest")):
        data.fail("digest", "must be 64 hexadecimal digits")
    rows = data.get("rows_before")
    if not isinstance(rows, list) or not all(type(row) is int for row in rows):
        data.fail("rows_before", "must be a list of whole numbers")
    pairs = zip(rows, rows[1:], strict=False)
    if rows[:1] != [0] or any(not before < after < _MOST_STEPS for before, after in pairs):
        data.fail("rows_before", "must rise from 0")


def _check_stop_rule(rule: Fields) -> None:
    if set(rule.object) != {"best", "waited"}:
        rule.fail("best", "and 'waited' are the fields")
    if rule.get("best") is not None:
        rule.number("best")
    _count(rule, "waited")


def _check_base(base: Fields) -> None:
    base.text("named")
    checksums = base.inner("checksums").object
    if not all(type(value) is int and 0 <= value < 2**32 for value in checksums.values()):
        base.fail("checksums", "must be whole numbers of 32 bits")


def _check_note(note: Fields) -> None:
    if type(note.object.get("temporary", False)) is not bool:
        note.fail("temporary", "must be true or false")
    metrics = note.object.get("metrics", {})
    if not isinstance(metrics, dict):
        note.fail("metrics", "must be an object")
    for name, value in metrics.items():
        huge = type(value) is int and abs(value) > _MOST_STEPS
        if value is not None and (type(value) not in (int, float) or huge):
            note.fail("metrics", f"has no number for {quoted(name)}")
    if note.object.get("best_metric") is not None:
        note.name("best_metric")
    if not MODES.fits(note.object.get("best_mode", "min")):
        note.fail("best_mode", f"must be {MODES.words('')}")
