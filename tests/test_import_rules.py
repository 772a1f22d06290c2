"""Which part may import which: docs' arrows, checked on the source."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
ACCELERATED = ("jax", "jaxlib", "flax", "optax", "orbax")
LIGHT = (
    "flan_jax.errors",
    "flan_jax.commands",
    "flan_jax.config",
    "flan_jax.gin_text",
    "flan_jax.kinds",
    "flan_jax.macros",
    "flan_jax.modules",
    "flan_jax.quiet",
    "flan_jax.terminal",
    "flan_jax.__version__",
)


def files(*patterns):
    found = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in found]


def imports(path, top_level_only=False):
    """The dotted names that a file imports; `from a import b` gives a and a.b."""
    tree = ast.parse(path.read_text())
    nodes = _outside_functions(tree) if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names.update(arg.value for arg in node.args if isinstance(arg, ast.Constant))
    return names


def _outside_functions(node):
    """Nodes that run on import."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def below(names, *packages):
    return sorted(
        name for name in names if any(name == p or name.startswith(f"{p}.") for p in packages)
    )


def test_the_rules_look_at_something():
    for pattern in ("tasks/**/*.py", "flan_jax/instructions/*.py", "flan_jax/commands/*.py"):
        assert len(files(pattern)) > 3
    assert below(imports(ROOT / "flan_jax/training/train.py"), "jax")
    assert "importlib" in imports(ROOT / "flan_jax/cli.py", top_level_only=True)
    assert "gin" not in imports(ROOT / "flan_jax/config.py", top_level_only=True)
    assert "gin" in imports(ROOT / "flan_jax/config.py")


@pytest.mark.parametrize("path", files("tasks/**/*.py"))
def test_tasks_never_import_jax(path):
    assert below(imports(path), *ACCELERATED, "flan_jax.training", "flan_jax.models") == []


@pytest.mark.parametrize(
    "path",
    files(
        "flan_jax/instructions/**/*.py",
        *(f"flan_jax/data/{name}.py" for name in ("plan", "packing", "records", "loader")),
    ),
)
def test_instructions_and_data_never_import_jax(path):
    assert below(imports(path), *ACCELERATED, "flan_jax.training", "flan_jax.models") == []


@pytest.mark.parametrize("path", files("flan_jax/selector/**/*.py"))
def test_the_selector_reads_no_instance_and_needs_no_model(path):
    """It sees cards; of what could read a row or run a model it imports nothing."""
    rooms = [f"flan_jax.{room}" for room in ("data", "training", "evaluation", "models", "studies")]
    readers = ("tensorflow_datasets", "array_record", "flan_jax.instructions.tfds_source")
    assert below(imports(path), *ACCELERATED, *rooms, *readers) == []


@pytest.mark.parametrize("path", files("flan_jax/evaluation/**/*.py"))
def test_evaluation_never_imports_the_training_loop(path):
    assert below(imports(path), "flan_jax.training.train") == []


@pytest.mark.parametrize("path", files("flan_jax/**/*.py"))
def test_the_package_never_imports_tasks(path):
    """Task modules are named in gin or on the command line; the demo names its own there too."""
    assert below(imports(path), "tasks") == []


@pytest.mark.parametrize("path", files("flan_jax/commands/*.py", "flan_jax/cli.py"))
def test_the_command_line_imports_nothing_heavy(path):
    """At module level: the standard library, and what is as light."""
    found = imports(path, top_level_only=True)
    known = {name for name in found if name.split(".")[0] in sys.stdlib_module_names}
    known |= set(below(found, *LIGHT)) | (found & {"flan_jax"})
    assert sorted(found - known) == []


@pytest.mark.parametrize(
    "path",
    files(
        *(
            f"flan_jax/{name}.py"
            for name in ("config", "errors", "gin_text", "kinds", "macros", "modules", "quiet")
        )
    ),
)
def test_what_the_command_line_imports_is_light_itself(path):
    found = imports(path, top_level_only=True)
    heavy = {n for n in found if n.split(".")[0] not in sys.stdlib_module_names}
    assert sorted(heavy - set(below(found, *LIGHT)) - {"flan_jax"}) == []


@pytest.mark.parametrize("path", files("flan_jax/**/*.py"))
def test_all_output_goes_through_the_terminal_module(path):
    """It alone knows how to print what somebody else wrote."""
    if path == ROOT / "flan_jax/terminal.py":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert "print" not in {ast.unparse(call.func) for call in calls}
    assert not below(imports(path), "rich.console", "rich.table", "rich.markup")


@pytest.mark.parametrize("path", files("flan_jax/**/*.py", "tasks/**/*.py"))
@pytest.mark.parametrize("library", ["yaml", "csv"])
def test_one_module_reads_each_format_of_elsewhere(path, library):
    """What it may do to a process is bounded there."""
    if path.name != f"{library}_files.py":
        assert below(imports(path), library) == []
