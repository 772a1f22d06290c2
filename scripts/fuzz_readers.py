"""The readers of foreign input that `fuzz.py` tries, each with small well-formed seeds."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath
from fuzz import Reader


def _seeds(*values: Any, indent: int | None = 1) -> Callable[[], Sequence[bytes]]:
    """JSON of values, texts as they are."""
    made = [
        value.encode() if isinstance(value, str) else json.dumps(value, indent=indent).encode()
        for value in values
    ]
    return lambda: made


def _lines(*files: Sequence[Any]) -> Callable[[], Sequence[bytes]]:
    return _seeds(*("".join(json.dumps(row) + "\n" for row in rows) for rows in files))


def _put(path: pathlib.Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


# Task files of both releases

EXAMPLE = {"input": "2 3", "output": "5", "explanation": "they are added"}
TASK = {
    "Contributors": ["somebody"],
    "Source": ["made_up"],
    "URL": ["https://example.org"],
    "Categories": ["Sum"],
    "Reasoning": ["Numerical"],
    "Definition": ["Add the numbers.", "Give the sum."],
    "Input_language": ["English"],
    "Output_language": ["English"],
    "Instruction_language": ["English"],
    "Domains": ["Mathematics"],
    "Positive Examples": [EXAMPLE],
    "Negative Examples": [{"input": "1 1", "output": "3", "explanation": "wrong"}],
    "Instances": [
        {"id": f"task1-{i}", "input": f"{i} 1", "output": [str(i + 1)]} for i in range(3)
    ],
    "Instance License": ["MIT"],
}
SUBTASK = {
    "Title": "Adding",
    "Prompt": "Add.",
    "Definition": "Add the numbers.",
    "Things to Avoid": "-",
    "Emphasis & Caution": "-",
    "Examples": {
        "Positive Examples": [{"input": "1 1", "output": "2", "reason": "sum"}],
        "Negative Examples": [
            {"input": "1 1", "output": "3", "reason": "not the sum", "suggestion": "2"}
        ],
    },
    "Instances": [{"input": f"{i} 1", "output": [str(i + 1)]} for i in range(3)],
}


def _super_ni(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.instructions import budgets
    from flan_jax.natural_instructions import encodings, schema

    task = schema.parse_task(content, file="task001_sum.json")
    instance = task.instances[0].to_object()
    budget = budgets.Budget(100, str.split, " ".join)
    for name in ("def", "def_pos2", "def_pos1_neg1_expl"):
        encodings.encode_prompt(task.prompt_object(), instance, name, budget)


def _subtask(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.natural_instructions import schema_v1

    schema_v1.parse_subtask(content, file="subtask001_sum.json").prompt_object(2)


def _folder_of_tasks(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.natural_instructions import data_checks

    root = folder / "folder"
    _put(root / "tasks" / "task001_sum.json", content)
    _put(root / "splits" / "default" / "train_tasks.txt", b"")
    _put(root / "splits" / "default" / "test_tasks.txt", b"task001_sum\n")
    data_checks.check_folder(str(root)).to_json()


def _split(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.scoring import references

    _put(folder / "split" / "tasks" / "task001_sum.json", json.dumps(TASK).encode())
    _put(folder / "split" / "splits" / "default" / "test_tasks.txt", content)
    references.read_references(str(folder / "split"))


# Libraries of instructions and tables about them

ROWS = [
    {"task": "a", "instructions": ["Add.", "Sum up."], "cluster": "math", "sources": ["x"]},
    {"task": "b", "instructions": ["Translate {{x}}."], "sources": [], "tokens": 30},
]
PROMPTSOURCE = """dataset: glue
subset: rte
templates:
  5e-1: !Template
    answer_choices: yes ||| no
    id: 5e-1
    jinja: 'Does "{{premise}}" {% if x %}follow{% endif %}? {% for w in words %}{{ w | upper }}
      {{ loop.index * 2 }}{% endfor %} ||| {{answer_choices[label]}}'
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages: [en]
      metrics: [Accuracy]
      original_task: true
    name: same
    reference: ''
"""
TEMPLATES = """mode: extend
templates:
- inputs: |-
    {text}
    Is this good or bad?
    {options_}
  targets: '{answer}'
- {inputs: 'Write something {answer}.', targets: '{text}', reversed: true}
"""
MANIFEST = {
    "format": 1,
    "targets": [{"name": "x", "instructions": ["Add."]}],
    "library": {"origin": "tasks.minilab", "hash": "ab"},
    "encoder": {"name": "lexical"},
    "selected": [{"task": "a", "score": 0.5}, {"task": "b", "score": 0.25}],
    "mixture": {"rates": "softmax", "cap": 100, "temperature": 0.5},
}


def _library(name: str) -> Callable[[pathlib.Path, bytes], None]:
    def read(folder: pathlib.Path, content: bytes) -> None:
        from flan_jax.selector import sources

        prefix, _, place = name.rpartition(":")
        path = folder / name.replace(":", "_") / place
        _put(path, content)
        root = {"super_ni": path.parent.parent, "promptsource": path.parent.parent.parent}
        sources.load_library(f"{prefix}:{root[prefix]}" if prefix else str(path))

    return read


def _prompt(folder: pathlib.Path, content: bytes) -> None:
    """Reads templates, and runs each on one row."""
    from flan_jax.instructions import promptsource
    from flan_jax.instructions.draws import Draws, RenderingKey

    row = {"premise": "It rains.", "label": 0, "words": ["a", "b"], "x": True}
    for template in promptsource.read_file(epath.Path(_put(folder / "p.yaml", content))).templates:
        promptsource.render(template, row, Draws(RenderingKey(), "task", "id"))


def _sizes(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.selector import sources

    library = sources.read_jsonl(_put(folder / "library.jsonl", _lines(ROWS)()[0]))
    sources.with_sizes(library, _put(folder / "sizes.csv", content))


def _transfer(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.selector import transfer

    transfer.read_transfer(_put(folder / "transfer.csv", content))


def _manifest(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.selector import manifest

    found = manifest.read_manifest(_put(folder / "manifest.json", content))
    manifest.mixture_rates(found, manifest._mixing("manifest", found, {}))


def _templates(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.instructions import template_files

    template_files.read_template_file(_put(folder / "templates.yaml", content))


# Predictions and what they are scored against

ANSWERS = {
    "leaderboard": [{"id": "task1-0", "prediction": "1"}, {"id": "task1-1", "prediction": ""}],
    "tk_instruct": [
        {
            "Task": "task001_sum",
            "Categories": ["Sum"],
            "Instance": {"id": "task1-0", "input": "0 1", "output": ["1"]},
            "prediction": "1",
        }
    ],
    "flan_jax": [
        {
            "task": "t",
            "id": "1",
            "template": "t0",
            "options": ["yes", "no"],
            "prompt": "?",
            "prediction": "yes",
            "targets": ["yes"],
            "scores": [-0.5, -1.5],
        }
    ],
}
V1_SET = {
    "subtask001_sum@prompt@2_100": [{"index": 0, "output": "1"}, {"index": 1, "output": "3"}],
    "subtask001_sum@definition@0_100": [{"index": 0, "output": ""}],
}
REFERENCES = [
    {"id": "task1-0", "references": ["1"], "task_id": "task001_sum", "task_category": "Sum"},
    {"id": "task1-1", "references": ["2", "two"], "track": "default"},
]


def _predictions(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.scoring import prediction_files

    prediction_files.read_predictions(_put(folder / "predictions.jsonl", content))


def _references(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.scoring import references

    references.read_references(_put(folder / "references.json", content))


# What runs leave behind

RUN = {
    "step": 10,
    "data": {"plan": "ab12", "next_batch": 10, "digest": "00" * 32, "rows_before": [0, 3]},
    "fingerprint": {"model": {"family": "t5", "vocab_size": 512}, "vocabulary": "abcd"},
    "macros": "TRAIN_STEPS = 10\nMODEL_FAMILY = 't5'\nMODEL_CONFIG = @T5Config()\n"
    "X = %TRAIN_STEPS\nTASK_FEATURE_LENGTHS = {'inputs': 32, 'targets': 8}\n",
    "kept_seconds": 1.5,
    "stop_rule": None,
    "metrics": {"loss": 1.0},
    "temporary": False,
}
# What is written now: settings as data.
SETTINGS = {
    **{name: value for name, value in RUN.items() if name != "macros"},
    "settings_format": 1,
    "settings": {
        "TRAIN_STEPS": 10,
        "MODEL_FAMILY": "t5",
        "MODEL_CONFIG": {"configurable": "models.T5Config", "call": True},
        "LEARNING_RATE_DECAY_STEPS": {"macro": "TRAIN_STEPS"},
        "TASK_FEATURE_LENGTHS": {"dict": [["inputs", 8], ["targets", 4]]},
        "X": {"tuple": [None, True, 1.5, "a", ["b"]]},
    },
    "left_out": ["SUPER_NI_DIR"],
    "run_id": "0" * 32,
}
WEIGHTS = b"weights"
# As Orbax writes it, of one array.
ROOT = pathlib.Path(__file__).resolve().parent.parent
METADATA = (ROOT / "tasks/minilab/base/params/_METADATA").read_bytes()


def _files_of(run: bytes) -> dict[str, bytes]:
    """A checkpoint's files, but for the manifest."""
    arrays = {"_METADATA": METADATA, "manifest.ocdbt": WEIGHTS, "d/weights": WEIGHTS}
    params = {f"params/{name}": data for name, data in arrays.items()}
    return {**params, "run/metadata": run}


def _manifest_of(files: dict[str, bytes]) -> bytes:
    described = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return json.dumps(described).encode()


def _checkpoint(folder: pathlib.Path, run: bytes, manifest: bytes) -> None:
    from flan_jax.commands import inherit
    from flan_jax.models import families
    from flan_jax.training import checkpoints

    families.register_families()
    path = folder / "checkpoints" / "10"
    for name, data in _files_of(run).items():
        _put(path / name, data)
    _put(path / "MANIFEST.json", manifest)
    found = checkpoints.require(str(folder), lambda text: None, weights_only=True)
    inherit.part(found)
    found.release()


def _run(folder: pathlib.Path, content: bytes) -> None:
    _checkpoint(folder, content, _manifest_of(_files_of(content)))


def _checkpoint_manifest(folder: pathlib.Path, content: bytes) -> None:
    _checkpoint(folder, json.dumps(RUN).encode(), content)


GIN = """include 'gin_configs/experiments/minilab_tiny.gin'
TRAIN_STEPS = 3
LEARNING_RATE = 0.1
TASK_FEATURE_LENGTHS = {'inputs': 64, "targets": 16}
MIXTURE_OR_TASK_NAME = 'minilab_train'
HOOKS = ()
DROPOUT_RATE = 0.0  # none
SEED = %TRAIN_STEPS
"""
OVERRIDES = (
    "SEED=1", "TRAIN_STEPS=20", "DROPOUT_RATE=0.1", "Z_LOSS=1e-4", "MESH_SHAPE={'data': 2}",
    "HOOKS=()", "MODEL=t5_1_1/small", "VOCAB_SIZE=512", "ATTENTION_CHUNK=None", "SHARDING='fsdp'",
    "TASK_FEATURE_LENGTHS={'inputs': 8, 'targets': 4}", "BEST_METRIC=validation/x/loss",
)  # fmt: skip


def _gin_file(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax import config

    parts = config.compose_parts([_put(folder / "experiment.gin", content)], "flan_jax", "train")
    config.resolved(config.macros(parts))


def _override(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax import config

    text = content.decode("utf-8", "surrogateescape")
    parts = config.compose_parts(
        ["gin_configs/experiments/minilab_tiny.gin"], "flan_jax", "train", [text]
    )
    config.resolved(config.macros(parts))


# Prepared records


@functools.lru_cache(maxsize=1)
def _spec() -> Any:
    from flan_jax.data.records import UnitSpec
    from flan_jax.instructions.draws import RenderingKey

    return UnitSpec("task", "train", RenderingKey(0, 0), "recipe", "vocabulary")


@functools.lru_cache(maxsize=1)
def _unit() -> dict[str, bytes]:
    """The files of a small prepared unit."""
    import tempfile

    import numpy as np

    from flan_jax.data.records import Example, write_unit

    with tempfile.TemporaryDirectory() as root:
        tokens = np.arange(5, dtype=np.int32)
        examples = (Example(f"train/{i}", "t0", tokens, tokens, "p", "t") for i in range(3))
        write_unit(_spec(), root, examples)
        folder = _spec().folder(root)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _unit_with(name: str) -> Callable[[pathlib.Path, bytes], None]:
    def read(folder: pathlib.Path, content: bytes) -> None:
        from flan_jax.data.records import Unit

        target = _spec().folder(str(folder))
        for file, found in _unit().items():
            _put(pathlib.Path(target) / file, content if file == name else found)
        list(Unit(_spec(), str(folder)))

    return read


def _tokenizer_seeds() -> Sequence[bytes]:
    import tokenizers

    model = tokenizers.models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3}, "<unk>")
    made = tokenizers.Tokenizer(model)
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return [made.to_str().encode()]


def _tokenizer(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.instructions import vocabulary

    _put(folder / "tokenizer" / "tokenizer.json", content)
    vocabulary.load_vocabulary.cache_clear()
    vocabulary.load_vocabulary(str(folder / "tokenizer")).encode("a b </s>")


def _tokenizer_config(folder: pathlib.Path, content: bytes) -> None:
    _put(folder / "tokenizer" / "tokenizer_config.json", content)
    _tokenizer(folder, _tokenizer_seeds()[0])


def _sentencepiece(folder: pathlib.Path, content: bytes) -> None:
    from flan_jax.instructions import vocabulary

    # SeqIO keeps models by their path.
    path = _put(folder / f"{hashlib.sha256(content).hexdigest()}.model", content)
    vocabulary.load_vocabulary.cache_clear()
    vocabulary.load_vocabulary(path).encode("a b")


def _default_model() -> Sequence[bytes]:
    from flan_jax.instructions import vocabulary

    return [epath.Path(vocabulary.DEFAULT_MODEL).read_bytes()]


READERS = (
    Reader("super_ni", _seeds(TASK), _super_ni),
    Reader("ni_v1", _seeds(SUBTASK), _subtask),
    Reader("task_folder", _seeds(TASK), _folder_of_tasks),
    Reader("split", _seeds("task001_sum\ntask002_other\n"), _split),
    Reader("library_jsonl", _lines(ROWS), _library("library.jsonl")),
    Reader("library_super_ni", _seeds(TASK), _library("super_ni:tasks/task001_sum.json")),
    Reader("promptsource", _seeds(PROMPTSOURCE), _library("promptsource:glue/rte/templates.yaml")),
    Reader("prompts", _seeds(PROMPTSOURCE), _prompt),
    Reader("templates", _seeds(TEMPLATES), _templates, heavy=True),
    Reader(
        "library_csv",
        _seeds("task,instruction,cluster,source,tokens\na,Add.,math,x,3\na,Sum up.,math,x,3\n"),
        _library("library.csv"),
    ),
    Reader("sizes", _seeds("task,tokens\na,10\nb,20\n"), _sizes),
    Reader("transfer", _seeds('source,target,score\na,b,0.5\n"b",a,1e-2\nc,b,-3\n'), _transfer),
    Reader("manifest", _seeds(MANIFEST), _manifest),
    Reader("predictions", _lines(*ANSWERS.values()), _predictions),
    Reader("predictions_v1", _seeds(V1_SET), _predictions),
    Reader("references", _lines(REFERENCES), _references),
    Reader("references_task", _seeds(TASK, SUBTASK), _references),
    Reader("checkpoint_run", _seeds(RUN, SETTINGS, SETTINGS, indent=None), _run),
    Reader(
        "checkpoint_manifest",
        lambda: [_manifest_of(_files_of(json.dumps(RUN).encode()))],
        _checkpoint_manifest,
    ),
    Reader("gin_file", _seeds(GIN), _gin_file),
    Reader("gin_value", _seeds(*OVERRIDES), _override),
    Reader("records_index", lambda: [_unit()["index.json"]], _unit_with("index.json")),
    Reader("records_table", lambda: [_unit()["table.npz"]], _unit_with("table.npz")),
    Reader(
        "records", lambda: [_unit()["records.array_record"]], _unit_with("records.array_record")
    ),
    Reader("tokenizer", _tokenizer_seeds, _tokenizer, heavy=True),
    Reader(
        "tokenizer_config",
        _seeds({"eos_token": "</s>", "pad_token": {"content": "<pad>"}}),
        _tokenizer_config,
        heavy=True,
    ),  # fmt: skip
    Reader("sentencepiece", _default_model, _sentencepiece, heavy=True),
)
