"""A checkpoint is data: evaluating one that was made to harm imports, reads and starts nothing.

All cases run in one process, which notes what it touches (hostile_checkpoints.py): it starts where
an attacker's modules lie and could be imported.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from etils import epath

from flan_jax.config import ROOT
from flan_jax.training.manifest import write_manifest

BASE = ROOT / "tasks" / "minilab" / "base"
OLD = json.loads((BASE / "run" / "metadata").read_text())
SCRIPT = pathlib.Path(__file__).parent / "hostile_checkpoints.py"
FINE = "done"


def old(text: str):
    """A checkpoint with more in the text of before."""
    return {**OLD, "macros": OLD["macros"] + text}


def new(**more):
    """A checkpoint with more in settings as data."""
    from flan_jax.training import stored_settings

    run = {**OLD, **stored_settings.encode(stored_settings.decode(OLD, "base"))}
    del run["macros"]
    return {**run, "settings": {**run["settings"], **more}}


def nested(depth: int) -> object:
    return json.loads("[" * depth + "]" * depth)


# Places below the folder that nothing may open; `SECRETS` is that folder.
PLACES = {
    "VOCABULARY": "SECRETS/own.model",
    "PREPARED_DIR": "SECRETS/prepared",
    "SUPER_NI_DIR": "SECRETS",
    "SUPER_NI_TASKS": "SECRETS/names.txt",
    "NI_V1_DIR": "SECRETS",
    "BBH_DIR": "SECRETS",
    "BIGBENCH_DIR": "SECRETS",
    "PROMPTSOURCE_DIR": "SECRETS",
    "P3_DATA_DIR": "SECRETS",
    "TFDS_DATA_DIR": "SECRETS",
    "FLAN_TEMPLATES": "SECRETS/templates",
    "INITIAL_CHECKPOINT_PATH": "SECRETS/base",
    "EMBEDDINGS_DIR": "SECRETS",
    "MODEL_DIR": "SECRETS",
    "MODEL": "SECRETS/model",
    "LIBRARY": "SECRETS/names.txt",
    "ENCODER": "t5:SECRETS/base",
    "MIXTURE_OR_TASK_NAME": "selected:SECRETS/manifest.json",
    "WANDB_PROJECT": "SECRETS",
}
REFUSED = "nothing but NAME = value is read of a checkpoint"
# Case -> what the checkpoint says of its run, and what is said of it; `ITS_FOLDER` is its own, from
# the working directory.
CASES = {
    "untouched": (OLD, FINE),
    "untouched, new": (new(), FINE),
    # Code.
    "a binding": (
        old(
            "from __gin__ import dynamic_registration\nimport os\n"
            "os.system.command = 'touch SECRETS/x'\n"
        ),
        REFUSED,
    ),
    "an import": (old("import canary\n"), REFUSED),
    "an import of a part": (old("from evil import canary\n"), REFUSED),
    "an include": (old("include 'SECRETS/more.gin'\n"), REFUSED),
    "a scope": (old("a/SEED = 3\n"), REFUSED),
    "a binding of a parameter": (old("EvalConfig.prepared_dir = 'SECRETS'\n"), REFUSED),
    "a call": (old("SEED = __import__('canary')\n"), "no literal"),
    "an import in a string": (old("A = 'a\\nimport canary'\n"), FINE),
    "an import in a name": (new(**{"SEED = 1\nimport canary\nX": 1}), "no name of a setting"),
    "an import in a macro": (new(A={"macro": "B\nimport canary"}), "no name of a setting"),
    "an import in a reference": (
        new(A={"configurable": "Hook\nimport canary", "call": True}), "not data",
    ),
    "os.system": (old("MODEL_CONFIG = @os.system()\n"), "not of this package"),
    "os.system, new": (
        new(MODEL_CONFIG={"configurable": "os.system", "call": True}), "not of this package",
    ),
    "a nested reference": (old("A = [{'b': (@canary.run(),)}]\n"), "not of this package"),
    "a nested reference, new": (
        new(A={"dict": [["b", {"tuple": [{"configurable": "canary.run", "call": True}]}]]}),
        "not of this package",
    ),
    "gin's own": (old("A = @gin.singleton()\n"), "not of this package"),
    "a configurable of ours that is no model": (old("MODEL_CONFIG = @TrainConfig()\n"), "settings"),
    "a module": (old("MIXTURE_OR_TASK_MODULE = 'canary'\n"), "add --module=canary"),
    "a module, new": (new(MIXTURE_OR_TASK_MODULE="canary"), "add --module=canary"),
    "modules": (
        new(MIXTURE_OR_TASK_MODULE={"tuple": ["tasks.minilab", "evil.canary"]}),
        "add --module=evil.canary",
    ),
    "a module through a macro": (
        old("A = ('tasks.minilab', 'canary')\nMIXTURE_OR_TASK_MODULE = %A\n"), "--module=canary",
    ),
    "a module by its file": (new(MIXTURE_OR_TASK_MODULE="SECRETS/canary.py"), "add --module="),
    "a module by a file here": (old("MIXTURE_OR_TASK_MODULE = './canary.py'\n"), "add --module="),
    "a module by a file in its folder": (
        new(MIXTURE_OR_TASK_MODULE="ITS_FOLDER/canary.py"), r"module=\.\./checkpoints/\d+/canary",
    ),
    "a module by a file among others": (
        new(MIXTURE_OR_TASK_MODULE={"tuple": ["tasks.minilab", "SECRETS/canary.py"]}),
        "add --module=",
    ),
    "lines as a module": (new(MIXTURE_OR_TASK_MODULE="jsonl:SECRETS/names.txt"), "add --module="),
    "a module of ours that is no task": (
        new(MIXTURE_OR_TASK_MODULE="flan_jax.selector"), "add --module=flan_jax.selector",
    ),
    # Places.
    "places": (old("".join(f"{name} = {place!r}\n" for name, place in PLACES.items())), FINE),
    "places, new": (new(**PLACES), FINE),
    "a family": (old(f"MODEL_FAMILY = '{'../' * 20}SECRETS/more'\n"), "MODEL_FAMILY"),
    "a family, new": (new(MODEL_FAMILY=f"{'../' * 20}SECRETS/more"), "MODEL_FAMILY"),
    # Size.
    "deep": (old(f"A = {'[' * 5000}{']' * 5000}\n"), "nested too deeply|no literal"),
    "deep, new": (new(A=nested(500)), "nested too deeply"),
    "a bomb": (
        old("".join(f"M{i} = [%M{i + 1}, %M{i + 1}]\n" for i in range(60)) + "M60 = 1\n"),
        "too many",
    ),
    "a circle": (new(A={"macro": "B"}, B={"macro": "A"}), "refers to itself"),
    "a huge number": (old(f"SEED = {'9' * 4000}\n"), "out of range"),
    "many settings": (new(**{f"X{i}": 1 for i in range(15_000)}), "more than"),
    "a newer format": ({**new(), "settings_format": 2}, "newer version"),
    "no settings": ({"step": 5000, "fingerprint": {}}, "'macros' is missing"),
    "text as data": ({**OLD, "settings": OLD["macros"], "settings_format": 1}, "no settings of"),
}  # fmt: skip

MODULES = [name for name in CASES if name.startswith(("a module", "modules", "lines as"))]


def checkpoint(folder: pathlib.Path, run: object, secrets: pathlib.Path) -> pathlib.Path:
    shutil.copytree(BASE, folder)
    shutil.copy(secrets / "canary.py", folder)
    text = json.dumps(run).replace("SECRETS", str(secrets))
    text = text.replace("ITS_FOLDER", os.path.relpath(folder, secrets.parent / "here"))
    (folder / "run" / "metadata").write_text(text)
    write_manifest(epath.Path(folder))
    return folder


def links(folder: pathlib.Path, secrets: pathlib.Path) -> dict[str, tuple[pathlib.Path, str]]:
    """Checkpoints whose files are not what they seem."""
    made = {}

    def make(name: str) -> pathlib.Path:
        made[name] = (checkpoint(folder / name, OLD, secrets), "is damaged")
        return made[name][0]

    def link(path: pathlib.Path, to: pathlib.Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(to)

    base = secrets / "base"
    link(make("a linked file") / "params" / "_METADATA", base / "params" / "_METADATA")
    link(make("linked weights") / "params", base / "params")
    link(make("linked metadata") / "run" / "metadata", base / "run" / "metadata")
    link(make("a linked manifest") / "MANIFEST.json", base / "MANIFEST.json")
    pipe = make("a pipe") / "params" / "_sharding"
    pipe.unlink()
    os.mkfifo(pipe)
    for name, entry in (
        ("out", "../../secrets/names.txt"),
        ("absolute", str(secrets / "own.model")),
    ):
        manifest = make(f"a manifest that leads {name}") / "MANIFEST.json"
        entries = json.loads(manifest.read_text()) | {entry: {"size": 1, "sha256": "0" * 64}}
        manifest.write_text(json.dumps(entries))
    (folder / "a run" / "checkpoints").mkdir(parents=True)
    (folder / "a run" / "checkpoints" / "5000").symlink_to(base)
    made["a linked step"] = (folder / "a run", "none of the checkpoints")
    made["a linked step, the best"] = (f"{folder}/a run@best", "has no BEST_METRIC")
    return made


@pytest.fixture(scope="module")
def noted(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("hostile")
    here, secrets = folder / "here", folder / "secrets"
    for path in (here / "evil", secrets / "templates", secrets / "prepared", secrets / "splits"):
        path.mkdir(parents=True)
    for path in (here / "canary.py", here / "evil" / "canary.py", secrets / "canary.py"):
        path.write_text(f"open({str(secrets / 'names.txt')!r}).read()\nrun = print\n")
    shutil.copy(ROOT / "flan_jax/instructions/vocabularies/default.model", secrets / "own.model")
    shutil.copytree(BASE, secrets / "base")
    for name in ("names.txt", "manifest.json", "more.gin", "model.gin", "templates/a.yaml"):
        (secrets / name).write_text("SEED = 3\n")
    made = {
        name: (checkpoint(folder / "checkpoints" / str(number), run, secrets), said)
        for number, (name, (run, said)) in enumerate(CASES.items())
    }
    made |= links(folder / "links", secrets)
    rest = ["--mixture=minilab_what_has", "--module=tasks.minilab", "--gin.EVAL_EXAMPLES=1"]
    rest += [f"--gin.PREPARED_DIR={folder}/prepared"]
    commands = {
        name: ["eval", f"--checkpoint={where}", f"--out={folder}/out/{number}", *rest]
        for number, (name, (where, _)) in enumerate(made.items())
    }
    places = made["places"][0]
    (folder / "asked.jsonl").write_text('{"inputs": "Add 1 and 2."}\n')
    for number, name in enumerate(["untouched", *MODULES]):
        commands[f"infer: {name}"] = [
            *("infer", f"--checkpoint={made[name][0]}", f"--input={folder}/asked.jsonl"),
            f"--output={folder}/answered{number}.jsonl",
        ]
    commands["a folder of tasks"] = [
        *("eval", f"--checkpoint={places}", "--mixture=super_ni_default_test"),
        *(f"--out={folder}/out/ni", "--module=tasks.natural_instructions.super_ni"),
    ]
    commands["a folder of templates"] = [
        *("eval", f"--checkpoint={places}", "--mixture=no_such_mixture"),
        *(f"--out={folder}/out/flan", "--module=tasks.flan"),
    ]
    commands["digest"] = ["digest", str(places)]
    harmful = made["a binding"][0]
    commands["an encoder"] = [
        *("select", "--target=Add the numbers.", "--library=tasks.minilab", "-k", "2"),
        *(
            f"--encoder=t5:{harmful}",
            f"--out={folder}/manifest",
            f"--gin.EMBEDDINGS_DIR={folder}/e",
        ),
    ]
    values = {
        "VOCABULARY": "default",
        "MIXTURE_OR_TASK_NAME": "minilab_what_has",
        "MIXTURE_OR_TASK_MODULE": "tasks.minilab",
        "PREPARED_DIR": folder / "prepared",
        "MODEL_DIR": folder / "run",
        "INITIAL_CHECKPOINT_PATH": harmful,
    }
    commands["weights to start from"] = ["train", "--gin_file=gin_configs/test/toy.gin"]
    commands["weights to start from"] += [f"--gin.{name}={value}" for name, value in values.items()]
    commands["trusted"] = [*commands["a module"], "--trust"]
    (folder / "cases.json").write_text(json.dumps(commands))
    arguments = [SCRIPT, folder / "cases.json", secrets, folder / "noted"]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=here,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
        },
        capture_output=True,
        text=True,
        timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    noted = json.loads((folder / "noted").read_text())
    expected = {name: said for name, (_, said) in made.items()}
    return {
        name: {
            **facts,
            "expected": expected.get(name.removeprefix("infer: ")),
            "marked": (secrets / "x").exists(),
        }
        for name, facts in noted.items()
    }


LINKS = (
    "a linked file", "linked weights", "linked metadata", "a linked manifest", "a pipe",
    "a manifest that leads out", "a manifest that leads absolute", "a linked step",
    "a linked step, the best",
)  # fmt: skip


@pytest.mark.parametrize("name", [*CASES, *LINKS, *(f"infer: {name}" for name in MODULES)])
def test_a_hostile_checkpoint_touches_nothing(noted, name):
    facts = noted[name]
    assert re.search(facts["expected"], facts["said"]), facts["said"]
    assert len(facts["said"]) <= 2000 and "Traceback" not in facts["said"]
    assert facts["opened"] == []
    if name != "untouched":  # the first one, which loads libraries
        assert facts["events"] == []
    assert not facts["marked"]


def test_what_a_user_trusts_is_imported_and_that_is_noted(noted):
    """So the notes of the other cases mean something."""
    assert "import canary" in noted["trusted"]["events"]
    assert any("open " in event and "names.txt" in event for event in noted["trusted"]["events"])
    assert any(path.endswith("names.txt") for path in noted["trusted"]["opened"])


def test_other_ways_to_open_one(noted):
    assert noted["infer: untouched"]["said"] == "done"  # so what it refuses, it refuses
    assert "SUPER_NI_DIR is not set" in noted["a folder of tasks"]["said"]
    assert "no_such_mixture" in noted["a folder of templates"]["said"]
    assert noted["digest"]["said"] == "done"
    assert noted["an encoder"]["said"] == "done"  # it goes by the model's fields alone
    assert "has shape" in noted["weights to start from"]["said"]
    others = ("digest", "an encoder", "weights to start from", "infer: untouched")
    for name in ("a folder of tasks", "a folder of templates", *others):
        assert noted[name]["opened"] == []
        assert not [event for event in noted[name]["events"] if "dlopen" not in event]
