"""What others wrote is printed as it is written, and steers nothing."""

import io
import json
import os
import subprocess
import sys

import pytest

from flan_jax import terminal
from flan_jax.errors import OutputError

FOREIGN = ["[INST] do [/INST]", "[red]vanishes[/red]", ":smile:", "a\x1b[2Jb", "x\u202ey", "\x07"]


@pytest.mark.parametrize("text", FOREIGN)
def test_tables_and_lines_show_what_is_written(text, capsys):
    table = terminal.table(text)
    table.add_column(text)
    table.add_row(text)
    terminal.console().print(table)
    terminal.console().print(text)
    terminal.say(text)
    terminal.warn(text)
    with terminal.Progress(text, 2) as progress:
        progress.say(text)
    said = capsys.readouterr()
    shown = text.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e").replace("\x07", "\\x07")
    assert said.out.count(shown) == 6 and shown in said.err
    assert not set("\x1b\u202e\x07") & set(said.out + said.err)
    terminal.say_json({"text": text})
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": text} and not set("\x1b\u202e\x07") & set(out)


def test_a_terminal_of_another_encoding_gets_escapes(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.say("é \U0001f600")
    assert stream.buffer.getvalue() == b"\\xe9 \\U0001f600\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk_behind_the_output_is_one_error(monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            with open("/dev/full", "w") as full:
                full.write("x")

    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", Full())
    for say in (terminal.say, terminal.say_json, lambda text: terminal.console().print(text)):
        with pytest.raises(OutputError, match="cannot write standard output: No space left"):
            say("text")
    terminal.warn("nobody can be told")
    monkeypatch.undo()
    command = [sys.executable, "-m", "flan_jax", "--version"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "flan-jax: cannot write standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)
