"""Which part may import which: docs' arrows, checked on the source."""

import ast
import os
import pathlib
import subprocess
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


# The rooms, and those that each builds on: docs/architecture.md has them in words. What lies in
# flan_jax itself (errors, files, metrics, ...) serves all of them and builds on none.
ROOMS = {
    "instructions": (),
    "models": (),
    "pages": (),
    "launch": (),
    "natural_instructions": ("instructions",),
    "scoring": ("instructions", "natural_instructions"),
    "selector": ("instructions", "pages"),
    "data": ("instructions",),
    "adapters": ("models",),
    "training": ("instructions", "data", "models", "adapters"),
    "interop": ("instructions", "models", "adapters", "training"),
    "engines": ("training",),
    "evaluation": ("instructions", "data", "models", "training", "scoring"),
    "harness": ("instructions", "models", "training", "evaluation"),
    "studies": ("instructions", "training", "evaluation", "scoring", "selector", "pages"),
    "tasks": ("instructions", "natural_instructions", "scoring"),
}
# Rooms that compute; no other imports jax or what is built on it.
COMPUTING = (
    "models",
    "adapters",
    "interop",
    "training",
    "engines",
    "evaluation",
    "harness",
    "studies",
    "commands",
)
# Where modules are imported by a name that is not written there: verbs of the command line, what a
# user names, the module that a user's function is of, what a verb registers, and the one table.
BY_NAME = {
    "cli.py", "modules.py", "registry.py", "commands/common.py", "instructions/origins.py",
}  # fmt: skip


def room_of(path):
    first, second = path.relative_to(ROOT).parts[:2]
    return "tasks" if first == "tasks" else ("" if second.endswith(".py") else second)


def rooms_imported(path):
    """Rooms that a file imports, tables of modules included."""
    names = below(imports(path), *(f"flan_jax.{room}" for room in [*ROOMS, "commands"]))
    return {name.split(".")[1] for name in names}


def test_the_rooms_are_those_that_are_there():
    there = {path.name for path in (ROOT / "flan_jax").iterdir() if (path / "__init__.py").exists()}
    assert there | {"tasks"} == {*ROOMS, "commands"}
    waiting = dict(ROOMS)
    while waiting:  # no circle: some room always builds on nothing that is left
        free = [room for room, below in waiting.items() if not set(below) & set(waiting)]
        assert free, waiting
        for room in free:
            del waiting[room]


@pytest.mark.parametrize("path", files("flan_jax/**/*.py", "tasks/**/*.py"))
def test_a_room_builds_on_those_below_it(path):
    room = room_of(path)
    if room != "commands":
        assert rooms_imported(path) - {room} <= set(ROOMS.get(room, ())), path
    if room not in COMPUTING:
        assert below(imports(path), *ACCELERATED) == []


@pytest.mark.parametrize("path", files("flan_jax/**/*.py"))
def test_nothing_is_imported_by_a_name_in_a_table_but_where_it_is_declared(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    hidden = [
        call
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")
        and not (call.args and isinstance(call.args[0], ast.Constant))
    ]
    assert not hidden or path.relative_to(ROOT / "flan_jax").as_posix() in BY_NAME


def test_what_is_declared_is_there():
    from flan_jax import registry

    for table in (registry.MIXTURES, registry.ENCODERS, registry.FAMILIES):
        for module, made in table.values():
            tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
            assert made in {getattr(node, "name", None) for node in tree.body}


def test_no_two_modules_of_a_room_import_each_other():
    """Also not by way of others, nor within functions."""
    paths = {".".join(p.values[0].relative_to(ROOT).with_suffix("").parts): p.values[0]
             for p in files("flan_jax/**/*.py") if p.values[0].name != "__init__.py"}  # fmt: skip
    waiting = {name: set(below(imports(path), *paths)) & set(paths) for name, path in paths.items()}
    while waiting:
        free = [name for name, needs in waiting.items() if not (needs - {name}) & set(waiting)]
        assert free, sorted(waiting)
        for name in free:
            del waiting[name]


def _modules_after(program):
    """Top-level packages that a program has imported."""
    program += "\nimport sys; print(*sorted(sys.modules), sep='\\n')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_model_needs_neither_tensorflow_nor_seqio():
    found = _modules_after("import flan_jax.models.t5")
    assert {"jax", "flan_jax.models.t5"} <= found and not {"tensorflow", "seqio"} & found


def test_tasks_bring_no_jax_with_them():
    """SeqIO itself imports jax; tasks and the kit add nothing to what it has."""
    seqio = _modules_after("import seqio, tensorflow_text")
    found = _modules_after("import seqio, tensorflow_text, tasks.flan, tasks.natural_instructions")
    assert "tasks.flan" in found
    assert below(found - seqio, *ACCELERATED) == []
    assert below(found, *(f"flan_jax.{room}" for room in COMPUTING)) == []


def test_scores_need_neither_jax_nor_tensorflow():
    found = _modules_after("import flan_jax.scoring.summaries, flan_jax.scoring.prediction_files")
    assert not {"jax", "tensorflow", "seqio"} & found


@pytest.mark.parametrize("verb", ["eval", "prepare", "model_info"])
def test_only_training_imports_the_training_loop(verb):
    source = (ROOT / f"flan_jax/commands/{verb}.py").read_text()
    assert "flan_jax.training.train" not in source
    for path in files("flan_jax/evaluation/**/*.py", "flan_jax/data/**/*.py"):
        assert below(imports(path.values[0]), "flan_jax.training.train") == []


FAMILY_WORDS = (
    "T5Config", "encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens",
    "decoder_loss_weights", "encoder_segment_ids", "decoder_segment_ids", "encoder_positions",
    "decoder_positions", "decoder_causal_attention",
)  # fmt: skip


@pytest.mark.parametrize("path", files("flan_jax/**/*.py", "tasks/**/*.py"))
def test_only_models_name_a_family_or_a_key_of_its_batch(path):
    """The registry declares families; T5X as an engine speaks of its own."""
    if room_of(path) in ("models", "interop", "engines") or path.name == "registry.py":
        return
    tree = ast.parse(path.read_text())
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
            and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    said = {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and id(node) not in docs}  # fmt: skip
    said |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert [word for word in FAMILY_WORDS if any(word in text for text in said)] == []


@pytest.mark.parametrize("path", files("flan_jax/selector/**/*.py"))
def test_the_selector_reads_no_instance(path):
    """It sees cards; of what could read a row it imports nothing."""
    readers = ("tensorflow_datasets", "array_record", "flan_jax.instructions.tfds_source")
    assert below(imports(path), *readers) == []


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
