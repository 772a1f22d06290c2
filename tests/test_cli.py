"""The command line: help, misspelt words, exit statuses, and how little it imports."""

import os
import subprocess
import sys

import pytest

import flan_jax
from flan_jax import cli
from flan_jax.errors import FlanJaxError

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
