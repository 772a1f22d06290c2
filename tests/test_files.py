"""Files of others, and files that are written: what may go wrong is one error that says it."""

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax import files, json_files
from flan_jax.errors import (
    CheckpointError,
    DataError,
    OutputError,
    border,
    nearest,
    printable,
    quoted,
    within,
)


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfwords")
    (tmp_path / "bad").write_bytes(b"ab\xff")
    assert files.read_text(tmp_path / "file") == "words"
    for name, why in (
        ("fifo", "not a regular file"),
        ("fole", "did you mean 'file'"),
        (".", "Is a directory"),
        ("file/inner", "Not a directory"),
        ("bad", "not UTF-8 text .at byte 2"),
        ("x" * 5000, "File name too long"),
        ("nul\0", "null byte"),
    ):
        with pytest.raises(DataError, match=why):
            files.read_text(tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        files.read_bytes("/dev/zero")
    with pytest.raises(DataError, match="larger than the 7 bytes"):
        files.read_text(tmp_path / "file", most=7)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a\0", "a\\b", "gs://b/x", "link/x", 3],
)
def test_names_stay_inside_their_folder(tmp_path, name):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="inside|below|leads out"):
        files.inside(tmp_path / "inner", name)
    assert files.inside(tmp_path / "inner", "a/b.c") == tmp_path / "inner/a/b.c"


def test_several_files_are_replaced_once_there_is_room_for_all(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a", "b")]
    files.replace_texts(dict.fromkeys(paths, "old"))
    fsync, calls = os.fsync, []

    def full_at_last(handle):
        calls.append(handle)
        return _full(handle) if len(calls) == 2 else fsync(handle)

    monkeypatch.setattr(os, "fsync", full_at_last)
    with pytest.raises(OutputError, match=f"cannot write {paths[1]}: No space left on device"):
        files.replace_texts(dict.fromkeys(paths, "new"))
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_reading_makes_room_for_the_file_and_not_for_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert files.read_bytes(tmp_path / "file", most=1 << 60) == b"x" * 10
    assert files.read_text("/proc/self/status").startswith("Name:")  # its size is said to be 0


def test_the_start_of_a_file_that_may_be_larger(tmp_path):
    (tmp_path / "long").write_bytes(b"abc" * 100)
    assert files.read_bytes(tmp_path / "long", 4, whole=False) == b"abca"
    assert files.read_bytes(tmp_path / "long", 400, whole=False) == b"abc" * 100
    with pytest.raises(DataError, match="larger than the 4 bytes"):
        files.read_bytes(tmp_path / "long", 4)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    files.replace_text(path, "old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OutputError, match=f"cannot write {path}: No space left on device"):
        files.replace_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    elsewhere.write_text("kept")
    path.unlink()
    path.symlink_to(elsewhere)
    files.replace_text(path, "new")  # the link goes, not what it names
    assert (path.read_text(), elsewhere.read_text()) == ("new", "kept")
    with pytest.raises(OutputError, match="Not a directory"):
        files.replace_text(path / "inner", "text")
    with pytest.raises(OutputError, match="Is a directory"):
        files.check_out(tmp_path)
    with pytest.raises(OutputError, match="File exists|Not a directory"):
        files.check_out_folder(path)
    with pytest.raises(OutputError):
        files.check_out_folder("/proc/nowhere")


def _full(handle):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_systems_word_is_found_in_pages_of_text():
    try:
        try:
            raise ValueError("RESOURCE_EXHAUSTED: Error writing\n" + "frame\n" * 1000)
        except ValueError as error:
            raise RuntimeError("a thousand lines") from error
    except RuntimeError as error:
        assert files.cause(error) == "No space left on device"
        assert files.is_system_refusal(error)
    assert not files.is_system_refusal(ValueError("shapes differ"))


def test_a_lock_tells_who_holds_it_and_follows_no_link(tmp_path):
    program = "import sys, flan_jax.files as f\nwith f.lock_folder(sys.argv[1]):\n input(print())"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.readline()
    with (
        pytest.raises(CheckpointError, match=f"in use by process {child.pid} on"),
        files.lock_folder(tmp_path),
    ):
        pass
    child.communicate("\n")
    with files.lock_folder(tmp_path):
        pass
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(OutputError, match="symbolic links"), files.lock_folder(tmp_path):
        pass
    assert target.read_text() == "kept"
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match="regular file"), files.lock_folder(tmp_path, "fifo"):
        pass


def test_a_lock_may_be_waited_for(tmp_path):
    program = (
        "import sys, time, flan_jax.files as f\n"
        "with f.lock_folder(sys.argv[1]):\n print(flush=True); time.sleep(1); open('done', 'w')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=tmp_path
    )
    child.stdout.readline()
    with files.lock_folder(tmp_path, wait=True):
        assert (tmp_path / "done").exists()
    child.communicate()


def _hold(parent, ready, end):
    with files.scratch_folder(parent):
        ready.set()
        end.wait(60)


def test_only_what_no_process_holds_is_swept(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(str(tmp_path), ready, end))
    child.start()
    assert ready.wait(60)
    (tmp_path / ".writing-left-behind").mkdir()
    (tmp_path / "kept").mkdir()
    files.sweep(tmp_path)
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 2 and names[0].startswith(f".writing-{child.pid}-")
    child.kill()
    child.join()
    # One that was killed before it held its folder, and one that is about to hold it.
    for name, age in ((".new.writing-old", 10_000), (".new.writing-young", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / ".writing-link").symlink_to(tmp_path / "kept")
    files.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".new.writing-young", ".writing-link", "kept"]


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    with files.scratch_folder(tmp_path) as folder, files.holding(tmp_path):
        files.sweep(tmp_path)
        assert folder.is_dir()
    assert os.listdir(tmp_path) == []


def _no_locks(handle, operation):
    raise OSError(errno.EBADF, "Bad file descriptor")


def test_a_file_that_changed_has_another_stamp_although_its_time_was_put_back(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    before = files.stamp(path)
    assert before == files.stamp(path) and before.size == 3
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    after = files.stamp(path)
    assert after != before and after[:2] == before[:2]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(
    st.characters(exclude_categories=())), lambda inner: st.lists(inner) | st.dictionaries(
        st.text(), inner)))  # fmt: skip
def test_what_is_written_as_a_json_line_is_one_line_and_is_read_back(value):
    text = json_files.lines([value, 1])
    assert len(text.splitlines()) == 2
    assert text.encode("utf-8").decode() == text
    if isinstance(value, dict):
        assert [found for _, found in json_files.read_values("x", text)] == [value, 1]
    assert json_files.loads(text.split("\n")[0], "x") == value


def test_json_holds_no_number_that_json_forbids(tmp_path):
    path = tmp_path / "file"
    json_files.write_json(path, {"a": [float("nan"), float("-inf"), 1.5]})
    assert json_files.read_json(path) == {"a": [None, None, 1.5]}
    for text in ("[" * 100_000, "1" * 5000, "{", "nul"):
        with pytest.raises(DataError, match="^file: ") as caught:
            json_files.loads(text, "file")
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text, why",
    [
        (b"\xff", "not UTF-8 text .at byte 0"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice in one object"),
        (b"[NaN]", "NaN is not a JSON value"),
        ("[-Infinity]", "-Infinity is not a JSON value"),
    ],
)
def test_strict_json_is_certain_of_what_it_says(text, why):
    with pytest.raises(DataError, match=f"^file: .*{why}"):
        json_files.loads(text, "file", strict=True)
    assert json_files.loads(b'\xef\xbb\xbf{"a": {"a": 1}}', "file", strict=True) == {"a": {"a": 1}}


@given(st.text(st.characters(exclude_categories=())))
def test_messages_steer_no_terminal_and_are_short(text):
    shown = str(DataError(text))
    assert shown.encode("utf-8") is not None
    assert all(c == "\n" or c == "\t" or ord(c) >= 32 for c in shown)
    assert printable("a\x1b[31m\u202e\u2028\ud800é\u0085") == (
        "a\\x1b[31m\\u202e\\u2028\\ud800é\\x85"
    )
    assert len(str(DataError(text * 3000))) <= 2000
    assert len(quoted(text * 100)) < 80 * 10 + 10


def test_whatever_goes_wrong_at_a_border_says_where():
    for wrong in (lambda: float(10**400), lambda: b"\xff".decode(), lambda: [][0], lambda: {}[1]):
        with pytest.raises(DataError, match="^tasks.json, line 3: "), border("tasks.json, line 3"):
            wrong()
    with pytest.raises(CheckpointError), border("x", CheckpointError):
        raise ValueError("a\n" * 10_000)
    assert quoted(10**5000) == "a number of very many digits"


def test_lines_are_numbered_and_appended(tmp_path):
    path = tmp_path / "rows.jsonl"
    json_files.append_lines(path, [{"a": "x\u2028y"}])
    with path.open("a", encoding="utf-8") as file:
        file.write('\n  \n\n{"a": "x\u2028\x85y"}\r\n[1]\n')  # as others write it
    found = list(json_files.read_values(path))
    assert [where.rpartition(" ")[2] for where, _ in found] == ["1", "5", "6"]
    assert [value for _, value in found] == [{"a": "x\u2028y"}, {"a": "x\u2028\x85y"}, [1]]
    with pytest.raises(DataError, match="line 6 must be an object, found a list"):
        list(json_files.read_rows(path))
    with pytest.raises(OutputError, match=f"cannot write {tmp_path}: Is a directory"):
        json_files.append_lines(tmp_path, [1])
    # A file of line ends alone has no lines to make room for.
    assert list(json_files.read_values(path, "\n" * 10**6)) == []
    with pytest.raises(CheckpointError, match="^task a: file: x$"), within("task a"):
        raise CheckpointError("file: x")
    # As libraries written in Rust have it.
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(DataError, match="^x: index out of bounds$"), border("x"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), border("x"):
        raise KeyboardInterrupt


def test_the_nearest_of_many_names_is_soon_found():
    names = [f"super_ni_task{i:06}_{'abcdefgh' * 4}" for i in range(300_000)]
    start = time.monotonic()
    assert nearest("super_ni_task001234_abcdefgj" + "abcdefgh" * 3, names)[0] == names[1234]
    assert nearest("a", ["b" * 1_000_000, "a" * 250]) == []
    assert time.monotonic() - start < 10
