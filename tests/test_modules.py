"""Task modules by name and by file, whatever lies in the working directory."""

import os
import pathlib
import subprocess
import sys

import pytest

from flan_jax import config
from flan_jax.errors import ConfigError, DataError

ROOT = config.ROOT


@pytest.fixture(autouse=True)
def imports():
    """Forgets what a test imported, and where from."""
    path, before = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if not file.startswith((sys.prefix, sys.base_prefix, str(ROOT / "flan_jax"))):
            del sys.modules[name]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory, and a way to put files there."""
    monkeypatch.chdir(tmp_path)

    def write(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def imported(name):
    (module,) = config.import_modules(name)
    return module


# What is meant by a name


def test_what_ships_is_found_beside_a_users_tasks_py(here):
    here("tasks.py", "raise RuntimeError('not this one')")
    module = imported("tasks.minilab")
    assert module.__name__ == "tasks.minilab"
    assert pathlib.Path(module.__file__).is_relative_to(ROOT)
    assert sys.path.index(str(ROOT)) < sys.path.index(os.getcwd()) if str(ROOT) in sys.path else 1


@pytest.mark.parametrize("name", ["./tasks.py", "tasks.py", "{here}/tasks.py", "~/tasks.py"])
def test_a_users_tasks_py_is_named_by_its_file(name, here, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    here("tasks.py", "MINE = True")
    module = imported(name.format(here=tmp_path))
    assert module.MINE and module.__name__ == "user_tasks"
    assert pathlib.Path(imported("tasks.minilab").__file__).is_relative_to(ROOT)
    # Once, whatever it is called.
    assert imported("./tasks.py") is module and imported(str(tmp_path / "tasks.py")) is module


def test_the_bare_name_tasks_is_the_users(here, capfd):
    """The package's own has no tasks in itself."""
    here("tasks.py", "MINE = True")
    module = imported("tasks")
    assert module.MINE and imported("./tasks.py") is module
    assert "module tasks is taken from ./tasks.py" in capfd.readouterr().err
    assert imported("tasks.minilab").__name__ == "tasks.minilab"


def test_where_both_could_be_meant_it_is_said_which_was_taken(here, capfd):
    here("tasks/minilab.py", "MINE = True")
    assert pathlib.Path(imported("tasks.minilab").__file__).is_relative_to(ROOT)
    said = capfd.readouterr().err
    assert "tasks.minilab is this package's own, not ./tasks/minilab.py; --module=./tasks" in said
    assert imported("./tasks/minilab.py").MINE


@pytest.mark.parametrize("package", [True, False])
def test_a_module_in_a_users_folder_tasks(package, here):
    if package:
        here("tasks/__init__.py", "A = 1")
        here("tasks/mine.py", "from . import A, other\nB = other.B")
        here("tasks/other.py", "B = 2")
    else:
        here("tasks/mine.py", "B = 2")
    module = imported("tasks.mine")
    assert module.B == 2 and module.__name__ == "user_tasks.mine"
    assert imported("tasks.minilab").__name__ == "tasks.minilab"


def test_modules_that_are_called_like_others_take_nobodys_place(here):
    import json

    here("json.py", "MINE = True")
    here("msgpack.py", "MINE = True")
    here("seqio.py", "MINE = True")
    for name in ("json", "msgpack", "seqio"):
        module = imported(name)
        assert module.MINE and module.__name__ == f"user_{name}"
    assert sys.modules["json"] is json
    import seqio

    assert seqio.TaskRegistry


def test_a_plain_module_keeps_its_name(here, tmp_path):
    here("my_tasks_a.py", "import my_helper_a\nA = my_helper_a.A")
    here("my_helper_a.py", "A = 1")
    module = imported("my_tasks_a")
    assert module.__name__ == "my_tasks_a" and module.A == 1
    assert imported("my_tasks_a.py") is module and imported(f"{tmp_path}/my_tasks_a.py") is module
    here("elsewhere/my_tasks_b.py", "import my_helper_b\nA = my_helper_b.A")
    here("elsewhere/my_helper_b.py", "A = 2")
    module = imported("elsewhere/my_tasks_b.py")
    assert module.__name__ == "my_tasks_b" and module.A == 2
    import my_tasks_b

    assert my_tasks_b is module


def test_two_files_of_one_name_are_two_modules(here):
    for folder in ("a", "b", "c"):
        here(f"{folder}/my_tasks_c.py", f"WHERE = {folder!r}")
    found = config.import_modules([f"{folder}/my_tasks_c.py" for folder in ("a", "b", "c")])
    assert [module.WHERE for module in found] == ["a", "b", "c"]
    assert [m.__name__ for m in found] == ["my_tasks_c", "user_my_tasks_c", "user_my_tasks_c_2"]
    assert imported("b/my_tasks_c.py") is found[1]


def test_a_file_in_a_package_is_part_of_it(here):
    here("my_package_d/__init__.py")
    here("my_package_d/deep/__init__.py")
    here(
        "my_package_d/deep/mine.py", "from my_package_d.deep.helper import A\nfrom .helper import B"
    )
    here("my_package_d/deep/helper.py", "A = B = 1")
    module = imported("my_package_d/deep/mine.py")
    assert module.__name__ == "my_package_d.deep.mine"
    assert imported("my_package_d.deep.mine") is module
    assert imported("./my_package_d/deep").__name__ == "my_package_d.deep"


@pytest.mark.parametrize("name", ["my-tasks.py", "1st.py", "a.b.py", "my tasks.py"])
def test_files_whose_name_is_none_of_a_module(name, here):
    here(name, "MINE = True")
    module = imported(f"./{name}")
    assert module.MINE and module.__name__.startswith("user_")
    assert imported(f"./{name}") is module


def test_a_module_may_be_taken_by_another_program(here, monkeypatch):
    """Such as a notebook that imported its own `tasks`."""
    other = here("elsewhere/tasks.py")
    foreign = type(sys)("tasks")
    foreign.__file__ = str(other)
    monkeypatch.setitem(sys.modules, "tasks", foreign)
    with pytest.raises(ConfigError, match=r"elsewhere/tasks.py was imported as 'tasks'"):
        config.import_modules("tasks.minilab")


def test_an_empty_module_is_in_nobodys_way(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "tasks", type(sys)("tasks"))
    assert pathlib.Path(imported("tasks.minilab").__file__).is_relative_to(ROOT)


def test_names_in_settings_mean_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert config.as_named("tasks.minilab") == "tasks.minilab"
    assert config.as_named("tasks.py") == f"{tmp_path}/tasks.py"
    assert config.as_named("./a/../tasks.py") == f"{tmp_path}/tasks.py"
    assert config.as_named("~/tasks.py") == "/home/me/tasks.py"
    assert config.as_named("a/b") == f"{tmp_path}/a/b"
    for name in ("a\0.py", "a" * 5000 + ".py", ""):
        with pytest.raises(ConfigError, match="a task module must be a path"):
            config.as_named(name)


# What goes wrong


def failure(name):
    with pytest.raises(ConfigError) as raised:
        config.import_modules(name)
    return str(raised.value)


@pytest.mark.parametrize(
    "name, said",
    [
        ("nowhere.py", "no task module '{here}/nowhere.py': there is no such file; did you mean"),
        ("./folder", "a folder without an __init__.py"),
        ("tasks.minilb", "no task module 'tasks.minilb'; did you mean 'tasks.minilab'"),
        ("now_here", "no task module 'now_here'; did you mean 'now_here_e'"),
        ("no_such_package.x", "no task module 'no_such_package.x'"),
        (".relative", "cannot be imported: TypeError"),
        ("a..b", "no task module"),
        ("tasks.", "tasks."),
    ],
)
def test_modules_that_are_not_there(name, said, here, tmp_path):
    here("now_here_e.py")
    here("nowhere_e.py")
    here("folder/x.txt")
    assert said.format(here=tmp_path) in failure(name)


@pytest.mark.parametrize(
    "text, said",
    [
        ("\nimport not_installed", "No module named 'not_installed' ({file}, line 2)"),
        ("from json import nothing", "cannot import name 'nothing' from 'json'"),
        ("X = 1\ndef f(:\n", "SyntaxError: invalid syntax ({file}, line 2)"),
        ("open('/nowhere/at/all')", "FileNotFoundError: [Errno 2] No such file or directory"),
        ("import sys\nsys.exit('bye')", "SystemExit: bye ({file}, line 2)"),
        ("import pathlib\n\npathlib.Path('/no/x').read_text()", "({file}, line 3)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("by_file", [True, False])
def test_what_stops_a_module_is_told_in_one_line(text, said, by_file, here):
    file = here("my_tasks_f.py", text)
    message = failure(str(file) if by_file else "my_tasks_f")
    assert "\n" not in message and said.format(file=file) in message
    assert "my_tasks_f" not in sys.modules


def test_a_bug_of_a_module_shows_the_way_there(here):
    here("my_helper_g.py", "def third(values):\n    return values[2]\n")
    file = here("my_tasks_g.py", "import my_helper_g\n\nX = my_helper_g.third([])\n")
    message = failure("my_tasks_g.py")
    first, *rest = message.splitlines()
    assert "my_tasks_g.py' cannot be imported: IndexError: list index out of range" in first
    assert first.endswith("my_helper_g.py, line 2)")
    assert f'  File "{file}", line 3, in <module>' in rest
    assert "importlib" not in message and "modules.py" not in message


def test_what_a_module_says_to_people_passes(here):
    here(
        "my_tasks_h.py",
        "from flan_jax.errors import DataError\nraise DataError('set SUPER_NI_DIR')",
    )
    with pytest.raises(DataError, match="^set SUPER_NI_DIR$"):
        config.import_modules("my_tasks_h")


def test_a_gin_file_whose_import_fails_is_one_line(here):
    file = here("my_module_i.py", "x = 1\nraise KeyError('oh')")
    here("a.gin", "import my_module_i\n")
    with pytest.raises(ConfigError) as raised:
        config.parse([config.Part("a.gin", "import my_module_i\n")])
    message = str(raised.value)
    assert message.startswith("a.gin: ") and "oh" in message and "\n" not in message
    assert message.endswith(f"({file}, line 2)")


# Programs of their own


TOY = (ROOT / "tests" / "toy" / "toy_tasks.py").read_text()


def run(here, arguments, script):
    """Runs the command line as the console script does, or as `python -m flan_jax`."""
    console = here(
        "bin/flan-jax", "import flan_jax.cli\nif __name__ == '__main__':\n    flan_jax.cli.main()\n"
    )
    start = [str(console)] if script else ["-m", "flan_jax"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *start, *arguments],
        env={**env, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(console.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("script", [True, False])
def test_files_here_stand_in_for_nothing(script, here):
    for name in ("json", "random", "argparse", "logging", "datasets", "tasks", "gin", "seqio"):
        here(f"{name}.py", "raise RuntimeError('taken from the working directory')")
    here("gin_configs/runs/flan_jax/train.gin", "not gin")
    here("gin_configs/models/t5_1_1/tiny.gin", "not gin")
    done = run(here, ["tasks", "list", "--module=tasks.minilab", "--json"], script)
    assert (done.returncode, done.stderr) == (0, "") and '"minilab_' in done.stdout
    done = run(here, ["gin", "gin_configs/test/toy.gin"], script)
    assert done.returncode == 0 and "TrainConfig.model = " in done.stdout, done.stderr


def test_tasks_of_a_file_are_prepared_by_worker_processes(here, tmp_path):
    """The usual name for such a file, beside files that children must not import."""
    here("tasks.py", TOY)
    for name in ("json", "random", "tempfile"):
        here(f"{name}.py", "raise RuntimeError('taken from the working directory')")
    options = ["--mixture=toy_train", "--prepared_dir=prepared", "--workers=2"]
    done = run(here, ["prepare", *options, "--module=./tasks.py"], script=True)
    assert done.returncode == 0 and "toy_train (train)" in done.stdout, done.stderr
    assert len(list((tmp_path / "prepared" / "records").iterdir())) >= 2
