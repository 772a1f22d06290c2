"""The command line: help, misspelt words, exit statuses, and how little it imports."""

import argparse
import importlib
import os
import subprocess
import sys

import pytest

import flan_jax
from flan_jax import cli
from flan_jax.commands import common
from flan_jax.errors import ConfigError, FlanJaxError

HEAVY = ["jax", "flax", "tensorflow", "seqio", "numpy", "gin", "transformers", "torch", "rich"]
GIN_VERBS = ("train", "eval", "prepare", "gin", "tasks")
PLAIN_VERBS = ("digest", "vocab")


def in_a_process(*command, **env):
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def exits(arguments):
    """Runs the command line in this process and returns the status argparse exits with."""
    with pytest.raises(SystemExit) as raised:
        cli.run(arguments)
    return raised.value.code


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_names_every_verb(arguments, capsys):
    assert cli.run(arguments) == 0
    out = capsys.readouterr().out
    for verb, what in cli.VERBS.items():
        assert f"  {verb} " in out and what in out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb, capsys):
    assert exits([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: flan-jax {verb}")
    assert len(out.split("\n\n")[1]) > 20, "no description"


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag, capsys):
    assert cli.run([flag]) == 0
    assert capsys.readouterr().out == f"flan-jax {flan_jax.__version__}\n"


def test_nothing_heavy_is_imported_before_a_verb_runs():
    """Also the parser of every verb is built without; `--help` has to answer within a second."""
    done = in_a_process(
        "-c",
        "import sys\n"
        "from flan_jax import cli\n"
        "for verb in cli.VERBS:\n"
        "    try:\n"
        "        cli.run([verb, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, verb\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_a_misspelt_verb_is_answered_with_the_nearest():
    with pytest.raises(FlanJaxError, match="no verb 'trian'; did you mean 'train'"):
        cli.run(["trian"])


@pytest.mark.parametrize(
    "arguments, offered",
    [
        (["prepare", "--mixtur=x"], "--mixture"),
        (["train", "--gin_file=x", "--gin_fil=y"], "--gin_file"),
        (["tasks", "list", "--jsn"], "--json"),
        (["eval", "--checkpoint=a", "--mixture=b", "--out=c", "--modul", "d"], "--module"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(arguments, offered, capsys):
    assert exits(arguments) == 2
    assert f"did you mean '{offered}'" in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    """`--mix` would change its meaning with the next option that begins like it."""
    assert exits(["prepare", "--mix=x"]) == 2
    assert "unrecognized arguments: --mix=x" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, rest, overrides",
    [
        ([], [], []),
        (["--gin.X=v"], [], ["X=v"]),
        (["--gin.X", "v"], [], ["X=v"]),
        (["--gin.X", "-1"], [], ["X=-1"]),
        (["a", "--gin.X=", "b"], ["a", "b"], ["X="]),
        (["--gin.X=a=b", "--gin.X=c"], [], ["X=a=b", "X=c"]),
        (["--gin.scope/f.x", "1", "c"], ["c"], ["scope/f.x=1"]),
        # Without a value; `config.parse_override` says so, and no option is swallowed.
        (["--gin.X"], [], ["X"]),
        (["--gin.X", "--gin.Y=1"], [], ["X", "Y=1"]),
        (["--gin.X", "--workers=1"], ["--workers=1"], ["X"]),
    ],
)
def test_gin_arguments_are_taken_out(arguments, rest, overrides):
    assert cli.split_gin_arguments(arguments) == (rest, overrides)


@pytest.mark.parametrize("form", [["--gin.TRAIN_STEPS=7"], ["--gin.TRAIN_STEPS", "7"]])
def test_both_forms_of_a_gin_argument_arrive(form, capsys):
    assert cli.run(["gin", "gin_configs/test/toy.gin", *form]) == 0
    out = capsys.readouterr().out
    assert out.endswith("# --- the command line\nTRAIN_STEPS = 7\n")


@pytest.mark.parametrize("verb", PLAIN_VERBS)
def test_a_verb_without_gin_says_so(verb):
    with pytest.raises(FlanJaxError, match=f"{verb} takes no --gin. options: --gin.X=1"):
        cli.run([verb, "--gin.X=1"])


@pytest.mark.parametrize("verb", GIN_VERBS)
def test_other_verbs_take_gin(verb):
    """Help comes from the parser, so the overrides before it were accepted."""
    assert exits([verb, "--gin.X=1", "--help"]) == 0


# Options and arguments that are words; a new one that is a path has to say so.
WORDS = {
    "--aggregation", "--among", "--arms", "--combine", "--coordinator_address", "--count_encoding",
    "--diversity", "--encoding", "--engine", "--exclude", "--held-out", "--library", "--method",
    "--profile_steps", "--rates", "--run", "--split", "--x", "--target", "--target-source",
    "--target-task", "--template", "--transform", "--device", "names", "--beam", "--train_split",
    "--test_split",
}  # fmt: skip


def options_of(parser):
    """The options and arguments of a parser and of those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)
        elif action.nargs != 0 and not action.choices:
            yield action.option_strings[-1] if action.option_strings else action.dest, action


def parser_of(verb):
    parser = cli._Parser(prog=f"flan-jax {verb}", allow_abbrev=False)
    module = importlib.import_module(f"flan_jax.commands.{verb.replace('-', '_')}")
    module.add_arguments(parser)
    return parser


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_says_what_it_is(verb, tmp_path, monkeypatch):
    """Numbers are checked, and `~`, which the shell leaves alone after `=`, is somebody's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, action in options_of(parser_of(verb)):
        if action.type is None:
            assert name in WORDS, f"{verb} {name}"
            continue
        for wrong in ("9" * 5000, "a\0b", "a" * 5000):
            with pytest.raises((argparse.ArgumentTypeError, ConfigError)) as raised:
                action.type(wrong)
            assert len(str(raised.value)) < 300
        if name in ("--out", "--checkpoint", "--gin_file", "--module", "--predictions"):
            assert action.type("~/a.py") == f"{tmp_path}/a.py"
        if action.type is common.path:
            assert action.type("~/x@best") == f"{tmp_path}/x@best"
            assert action.type("a/~") == "a/~"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["eval", "--out=a\0b"], "--out: must be a path without NUL, not 'a\\x00b'"),
        (["prepare", "--workers=0"], "--workers: must be a whole number above 0, not '0'"),
        (["prepare", "--workers=1e3"], "--workers: must be a whole number above 0, not '1e3'"),
        (["model-info", "--devices=" + "9" * 5000], "--devices: must be a whole number above 0"),
        (["select", "--level=nan"], "unrecognized"),
        (["select", "evaluate", "--level=nan"], "--level: must be a finite number"),
        (["select", "evaluate", "--seed=1180591620717411303424"], "from 0 to 4,294,967,295"),
        (["select", "--temperature=inf"], "--temperature: must be a finite number above 0, not"),
        (["score", "--track=x"], "--track: invalid choice"),
    ],
)  # fmt: skip
def test_a_value_that_an_option_cannot_have_is_one_error(arguments, said, capsys):
    if said == "unrecognized":
        assert exits(arguments) == 2 and said in capsys.readouterr().err
        return
    with pytest.raises(ConfigError) as raised:
        cli.run(arguments)
    assert said in str(raised.value) and len(str(raised.value)) < 300


def test_an_argument_with_control_characters_reaches_no_terminal(capsys):
    assert exits(["train", "--gin_file=x", "--no\x1b[31m"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_gin_argument_without_a_value_is_an_error():
    with pytest.raises(FlanJaxError, match="--gin.TRAIN_STEPS: expected --gin.NAME=value"):
        cli.run(["gin", "gin_configs/test/toy.gin", "--gin.TRAIN_STEPS"])


@pytest.mark.parametrize("entry", [["-m", "flan_jax"], ["-m", "flan_jax.cli"]])
def test_an_error_for_people_has_status_2_and_no_traceback(entry):
    done = in_a_process(*entry, "gin", "gin_configs/test/toi.gin")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("flan-jax: no gin file 'gin_configs/test/toi.gin'")
    assert "did you mean 'gin_configs/test/toy.gin'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_traceback():
    """As in `flan-jax gin ... | head -1`."""
    script = (
        f"{sys.executable} -m flan_jax gin gin_configs/test/toy.gin | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
