"""BIG-bench (Srivastava et al. 2022): its JSON tasks, ranked or generated as they say themselves.

Importing this module registers the folder that BIGBENCH_DIR names (gin macro or environment
variable): a clone, its `bigbench/benchmark_tasks`, or a folder with a part of these. A task is a
folder with a `task.json`, or one whose subtasks are such folders; tasks that are programs are none
of these and are left out.

With T the names of its folders, all of them in the split "test", there are

* `bigbench_T`, by the task's preferred score: where that is `multiple_choice_grade` the options
  are ranked, else an answer is generated;
* `bigbench_T_generate`, `bigbench_T_rank`: the other of the two, where the task is judged by it
  too.

A prompt is made of the prefixes that the task gives, or BIG-bench's own. Tasks tend to list the
right option first, so options are shown in an order that is drawn for each example, by its id. An
option is right that has the highest score of its example; so of several right ones each counts, and
there are no grades between. Generated answers are judged by exact match, ROUGE and BLEU, whichever
the task names; BLEURT, calibration and the like are not among them.

Mixtures: `bigbench` has all tasks, and `bigbench_insta` those 14 that T0 and INSTA are tested on
(Lee et al. 2024). Subtasks share the rate 1 of their task.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax import files, json_files, metrics, settings
from flan_jax.errors import DataError, quoted
from flan_jax.instructions import cards, long_prompts, registration, rendering
from flan_jax.instructions.draws import Draws, current_rendering
from flan_jax.instructions.file_index import FileIndex, KnownFile
from flan_jax.instructions.long_prompts import Draft
from flan_jax.instructions.rendering import AtBuild, Rendered, RenderFn
from flan_jax.instructions.suite import Suite

PREFIX = "bigbench_"
FILE = "task.json"
# Names of the folders of the tasks that INSTA is tested on.
INSTA = (
    "code_line_description", "conceptual_combinations", "formal_fallacies_syllogisms_negation",
    "hindu_knowledge", "known_unknowns", "language_identification", "logic_grid_puzzle",
    "logical_deduction", "misconceptions", "movie_dialog_same_or_different", "novel_concepts",
    "strategyqa", "vitaminc_fact_verification", "winowhy",
)  # fmt: skip
RANKED = "multiple_choice_grade"
# How generated answers are judged, by BIG-bench's names.
METRICS: Mapping[str, Callable[..., dict[str, float]]] = {
    "exact_str_match": metrics.exact_match_metric,
    "rouge": metrics.rouge_metric,
    "bleu": metrics.bleu_metric,
}
# What a prompt is made of, where a task does not say.
_PREFIXES = {
    "task_prefix": "",
    "example_input_prefix": "\nQ: ",
    "example_output_prefix": "\nA: ",
    "choice_prefix": "\n  choice: ",
}
_CLONE = "bigbench/benchmark_tasks"
_DEPTH = 3
_KEPT_FILES = 8
# Bumped by hand when the same files give other prompts, or something else is kept of them.
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Example:
    """One question.

    Attributes:
        input: the question.
        targets: generated answers that count as right.
        options: what may be answered, in the order of the file; nothing where that is any text.
        right: options that count as right.
    """

    input: str
    targets: tuple[str, ...]
    options: tuple[str, ...]
    right: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class JsonTask:
    """A task file.

    Attributes:
        description: what it is about.
        metrics: BIG-bench's names of what it is judged by, the preferred one first.
        prefixes: what a prompt is made of, by the names of the fields (`_PREFIXES`).
        shows_options: whether a prompt lists the options.
        examples: its questions.
    """

    description: str
    metrics: tuple[str, ...]
    prefixes: Mapping[str, str]
    shows_options: bool
    examples: tuple[Example, ...]

    @property
    def has_options(self) -> bool:
        """Whether every question has options."""
        return all(example.options for example in self.examples)

    @property
    def judged(self) -> list[str]:
        """The metrics that are computed here, the preferred one first."""
        return [name for name in self.metrics if name in METRICS or name == RANKED]


def parse_task(content: bytes, where: str) -> JsonTask:
    """Returns the content of a task file.

    Args:
        content: JSON, an object with "examples", "metrics" and "description".
        where: the file, for messages.

    Raises:
        DataError: it is no such file; names field and example.
    """
    fields = json_files.Fields(where, json_files.loads(content, where))
    rows = fields.items("examples")
    if not rows:
        raise DataError(f"{where}: 'examples' is empty")
    preferred = fields.optional_name("preferred_score")
    named = [*([preferred] if preferred else []), *fields.texts("metrics")]
    task = JsonTask(
        description=fields.name("description"),
        metrics=tuple(dict.fromkeys(named)),
        prefixes={
            name: fields.text(name) if fields.object.get(name) is not None else own
            for name, own in _PREFIXES.items()
        },
        shows_options=fields.flag("append_choices_to_input", True) is not False,
        examples=tuple(_example(f"{where}: examples[{i}]", row) for i, row in enumerate(rows)),
    )
    if not task.judged:
        known = ", ".join([RANKED, *METRICS])
        raise DataError(f"{where}: 'metrics' has none of {known}: {quoted(list(task.metrics))}")
    if RANKED in task.metrics and not task.has_options:
        number = next(i for i, example in enumerate(task.examples) if not example.options)
        raise DataError(
            f"{where}: examples[{number}]: 'target_scores' is missing, and {RANKED} is a metric"
        )
    return task


def _example(where: str, row: Any) -> Example:
    fields = json_files.Fields(where, row)
    scores: dict[str, float] = {}
    if fields.object.get("target_scores") is not None:
        inner = fields.inner("target_scores")
        scores = {option: inner.number(option) for option in inner.object}
        if not scores:
            fields.fail("target_scores", "is empty: there is nothing to choose from")
        if blank := [option for option in scores if not option.strip()]:
            fields.fail("target_scores", f"has the blank option {quoted(blank[0])}")
    best = max(scores.values(), default=0.0)
    right = tuple(option for option, score in scores.items() if score == best)
    told = fields.object.get("target") is not None or not right
    targets = fields.texts("target") if told else right
    return Example(fields.text("input"), targets, tuple(scores), right)


# The folder


def _read_entry(path: epath.Path) -> dict[str, Any]:
    """Returns what the index keeps of a task file."""
    content = files.read_bytes(path)
    task = parse_task(content, f"{path.parent.name}/{path.name}")
    answers = {option for example in task.examples for option in example.options}
    same = all(set(example.options) == answers for example in task.examples)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "count": len(task.examples),
        "judged": task.judged,
        "instructions": [task.prefixes["task_prefix"].strip(), task.description.strip()],
        "options": list(task.examples[0].options) if same else [],
    }


_INDEX = FileIndex("bigbench", _FORMAT, _read_entry)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A task file of the folder.

    Attributes:
        parts: names of its folders: the task, and maybe a subtask.
        file: the file.
        count: number of its examples.
        judged: see `JsonTask`.
        instructions: what states the task.
        options: the answers where they are the same for all examples, else nothing.
    """

    parts: tuple[str, ...]
    file: KnownFile
    count: int
    judged: tuple[str, ...]
    instructions: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the SeqIO task."""
        return PREFIX + re.sub(r"\W+", "_", "_".join(self.parts))

    @property
    def generated(self) -> list[str]:
        """The metrics of generated answers."""
        return [name for name in self.judged if name != RANKED]


@functools.lru_cache(maxsize=_KEPT_FILES)
def _task(file: KnownFile) -> JsonTask:
    return parse_task(file.read(), file.path)


def _rows(entry: Entry, split: str) -> list[dict[str, Any]]:
    del split  # there is one
    return [
        {"id": f"{'/'.join(entry.parts)}/{position}", **dataclasses.asdict(example)}
        for position, example in enumerate(_task(entry.file).examples)
    ]


def read_folder(folder: str) -> list[Entry]:
    """Returns the entries of all task files of a folder, sorted.

    Raises:
        DataError: there are none, or files are wrong.
    """
    root = epath.Path(folder)
    root = root / _CLONE if (root / _CLONE).is_dir() else root
    paths = {"/".join(parts): root.joinpath(*parts, FILE) for parts in _find(root, ())}
    if not paths:
        raise DataError(f"{folder} holds no <task>/{FILE}, nor does {_CLONE} in it")
    kept = _INDEX.build(folder, paths)
    return [
        Entry(
            parts=tuple(name.split("/")),
            file=KnownFile(str(path), kept[name]["sha256"]),
            count=kept[name]["count"],
            judged=tuple(kept[name]["judged"]),
            instructions=tuple(dict.fromkeys(filter(None, kept[name]["instructions"]))),
            options=tuple(kept[name]["options"]),
        )
        for name, path in paths.items()
    ]


def _find(root: epath.Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yields the names of the folders that lead to each task file."""
    here = root.joinpath(*parts) if parts else root
    if parts and (here / FILE).exists():
        yield parts
    if len(parts) < _DEPTH:
        for path in sorted(here.iterdir()):
            if path.is_dir() and not path.name.startswith((".", "_")):
                yield from _find(root, (*parts, path.name))


# Registering

_SUITE = Suite("BIG-bench")
unregister = _SUITE.unregister


def register(folder: str) -> Suite:
    """Registers the tasks and mixtures of a folder; a second time it does nothing.

    Raises:
        DataError: the folder is not as it should be, or another is registered in this process.
    """
    return _SUITE.register(_fill, folder)


def _fill(folder: str) -> None:
    entries = read_folder(folder)
    subtasks: dict[str, list[Entry]] = {}
    for entry in entries:
        subtasks.setdefault(entry.parts[0], []).append(entry)
        _register_entry(entry)
    rates = {
        task: {entry.name: 1 / len(members) for entry in members}
        for task, members in subtasks.items()
    }
    for mixture, tasks in ((PREFIX.strip("_"), list(rates)), (f"{PREFIX}insta", INSTA)):
        own = [rates[task] for task in tasks if task in rates]
        _SUITE.add_mixture(mixture, {name: rate for part in own for name, rate in part.items()})


def _register_entry(entry: Entry) -> None:
    source = registration.rows_source(
        functools.partial(_rows, entry),
        {"input": "string", "targets": "strings", "options": "strings", "right": "strings"},
        {"test": entry.count},
    )
    preferred = entry.judged[0] == RANKED
    variants = {entry.name: preferred}
    if RANKED in entry.judged and entry.generated:
        variants[f"{entry.name}_{'generate' if preferred else 'rank'}"] = not preferred
    for name, ranked in variants.items():
        _SUITE.add_task(
            name,
            source=source,
            render=AtBuild(functools.partial(_renderer, entry, ranked)),
            facts={"sha256": entry.file.sha256, "ranked": ranked, "format": _FORMAT},
            metric_fns=None if ranked else [METRICS[metric] for metric in entry.generated],
            ranked=ranked,
        )
    _SUITE.add_card(
        _card(entry, tuple(variants)),
        functools.partial(_problems, entry),
        functools.partial(_texts, entry),
        functools.partial(_fits, entry),
    )


def _card(entry: Entry, variants: tuple[str, ...]) -> cards.Card:
    return cards.Card(
        name=entry.name,
        cluster=re.sub(r"\W+", "_", entry.parts[0]),
        kind="classification" if entry.judged[0] == RANKED else "generation",
        instructions=entry.instructions,
        sources=(f"bigbench/{entry.parts[0]}",),
        licence="Apache-2.0",
        version=entry.file.sha256[:16],
        options=entry.options,
        variants=variants,
        module=__name__,
        attributes={"suite": "bigbench", "task": "/".join(entry.parts)},
    )


def _renderer(entry: Entry, ranked: bool) -> RenderFn:
    key = current_rendering()

    def render(example: Mapping[str, Any], draws: Draws) -> Rendered | Sequence[Rendered]:
        del draws  # keyed by the task, that of ranks another one
        options = example["options"]
        order = Draws(key, entry.name, example["id"]).permutation("options", len(options))
        shown = [options[index] for index in order]
        task, asked, targets = _task(entry.file), example["input"], example["targets"]
        draft = Draft(
            lambda: {} if asked in (*options, *targets) else {"input": asked},
            lambda texts, _: _prompt(task, texts.get("input", asked), shown),
            cut=long_prompts.both_ends,
        )
        prompt = _prompt(task, asked, shown)
        rendered = Rendered(prompt, targets[0], "json", tuple(shown), tuple(targets), draft=draft)
        return rendering.rank_answers(rendered, options, example["right"]) if ranked else rendered

    return render


def _prompt(task: JsonTask, asked: str, options: Sequence[str]) -> str:
    parts = [task.prefixes["task_prefix"], task.prefixes["example_input_prefix"], asked]
    if task.shows_options:
        parts += [f"{task.prefixes['choice_prefix']}{option}" for option in options]
    return "".join([*parts, task.prefixes["example_output_prefix"]]).strip()


# What `flan-jax tasks check` asks


def _problems(entry: Entry) -> list[str]:
    examples = _task(entry.file).examples
    alike = sum(1 < len(one.options) == len(one.right) for one in examples)
    single = sum(len(one.options) == 1 for one in examples)
    repeated = len(examples) - len({(one.input, one.options) for one in examples})
    found = {
        f"{alike} examples have options that all have the same score": alike,
        f"{single} examples have one option": single,
        f"{repeated} examples repeat others": repeated,
    }
    return [problem for problem, count in found.items() if count]


def _texts(entry: Entry) -> Iterator[str]:
    task = _task(entry.file)
    for example in task.examples:
        yield _prompt(task, example.input, example.options)
        yield from example.targets


def _fits(entry: Entry) -> Iterator[int]:
    render, draws = _renderer(entry, False), Draws(current_rendering(), "", "")
    return rendering.fits(render(row, draws) for row in _rows(entry, "test"))


register(
    settings.folder_setting(
        "BIGBENCH_DIR", f"a clone of BIG-bench, or a folder of its tasks (<task>/{FILE})"
    )
)
