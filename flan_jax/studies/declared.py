"""A study as a file declares it: a question, arms that differ in what is asked, and comparisons.

`gin_configs/studies/<name>.yaml`, or a file of the user's own. It says of each arm which macros
differ from the experiment that all arms share; what follows from that (`plan`) are ordinary
commands, which may be started anywhere.
"""

import ast
import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax import config, macros, yaml_files
from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted
from flan_jax.json_files import Fields

FOLDER = "gin_configs/studies"
BASELINES = ("copy_demo", "copy_input")
METRICS = ("rougeL", "exact_match")
# What an arm's own texts may refer to.
_PLACES = re.compile(r"\{(seed|SUPER_NI_DIR)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One thing that is compared.

    Attributes:
        name: key in results.json.
        title: how people read it.
        text: what it is, in a sentence.
        train: macros of its training that differ from the experiment's; None where it is not
            trained.
        weights: the arm whose checkpoints it is, where it is another one asked in another way.
        test: macros of its evaluation that differ.
        select: arguments of `flan-jax select`, which chooses the tasks it is trained on.
        baseline: a heuristic that answers in place of a model.
        first_line: whether of each answer its first line alone counts, for models that were never
            taught to stop.
        seeds: number of seeds; None for the study's.
    """

    name: str
    title: str
    text: str
    train: Mapping[str, Any] | None = None
    weights: str | None = None
    test: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    select: tuple[str, ...] = ()
    baseline: str | None = None
    first_line: bool = False
    seeds: int | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What is varied."""
        fields = ("train", "weights", "test", "select", "baseline", "first_line")
        return {name: getattr(self, name) for name in fields if getattr(self, name)}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two arms whose difference the study states.

    Attributes:
        arm: what is expected to be better.
        than: the other one.
        text: what it would show, as a clause: "tuning with instructions beats ...".
        categories: of the tasks that count; all where empty.
    """

    arm: str
    than: str
    text: str
    categories: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: of its file.
        question: what it asks.
        source: paper, section, table.
        experiment: gin file of what all arms share.
        mixture: what every arm answers.
        seeds: number of seeds of each arm that is trained.
        train: macros that all training shares, beyond the experiment's.
        test: macros that all evaluation shares.
        arms: in the order of the table.
        comparisons: what is stated.
        published: figures of the papers, as they stand in results.json.
    """

    name: str
    question: str
    source: str
    experiment: str
    mixture: str
    seeds: int
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[Mapping[str, Any], ...]

    def arm(self, name: str) -> Arm:
        """Returns the arm of that name.

        Raises:
            ConfigError: there is none; the nearest is offered.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        names = [arm.name for arm in self.arms]
        hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
        raise ConfigError(f"study {self.name} has no arm {quoted(name)}{hint}")

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """Returns the seeds of an arm; an arm that nothing is drawn for has one."""
        if arm.weights:
            return self.seeds_of(self.arm(arm.weights))
        return tuple(range((arm.seeds or self.seeds) if arm.train is not None else 1))


def known() -> dict[str, str]:
    """Returns name and file of every study of the package."""
    folder = config.ROOT / FOLDER
    return {path.stem: str(path) for path in sorted(folder.glob("*.yaml"))}


def read(name: str) -> Study:
    """Returns a study.

    Args:
        name: of a study of the package, or a file.

    Raises:
        ConfigError: there is none of that name; the nearest is offered.
        DataError: the file is not as it should be; names file and field.
    """
    file = known().get(name)
    if file is None and not name.endswith((".yaml", ".yml")):
        hint = did_you_mean(name, known()) or f"; there are {', '.join(known())}, or a file .yaml"
        raise ConfigError(f"no study {quoted(name)}{hint}")
    path = file or name
    return _study(epath.Path(path).stem, Fields(path, yaml_files.read_yaml(path)))


def _study(name: str, fields: Fields) -> Study:
    _check_known(fields, Study, but=("name",))
    arms = tuple(_arm(key, fields.inner("arms").inner(key)) for key in fields.inner("arms").object)
    study = Study(
        name=name,
        question=fields.name("question"),
        source=fields.name("source"),
        experiment=fields.name("experiment"),
        mixture=fields.name("mixture"),
        seeds=fields.count("seeds", 1),
        train=_values(fields.optional_inner("train")),
        test=_values(fields.optional_inner("test")),
        arms=arms,
        comparisons=tuple(_each(fields, "comparisons", _comparison)),
        published=tuple(_each(fields, "published", lambda row: row.object)),
    )
    if not arms:
        fields.fail("arms", "is empty")
    trained = {arm.name: arm for arm in arms if arm.train is not None}
    for arm in arms:
        where = fields.inner("arms").inner(arm.name)
        if arm.weights is not None and arm.weights not in trained:
            hint = did_you_mean(arm.weights, trained)
            where.fail("weights", f"names no arm that is trained: {quoted(arm.weights)}{hint}")
    try:
        for comparison in study.comparisons:
            study.arm(comparison.arm), study.arm(comparison.than)
    except ConfigError as error:
        raise DataError(f"{fields.where}: 'comparisons': {error}") from None
    return study


def _check_known(fields: Fields, kind: type, but: Sequence[str] = ()) -> None:
    """Refuses fields that nobody reads."""
    names = [field.name for field in dataclasses.fields(kind) if field.name not in but]
    for field in fields.object:
        if field not in names:
            fields.fail(str(field), f"is not known{did_you_mean(str(field), names)}")


def _each(fields: Fields, field: str, make: Callable[[Fields], Any]) -> Iterator[Any]:
    if field in fields.object:
        for i, row in enumerate(fields.items(field)):
            yield make(Fields(f"{fields.where}: {field}[{i}]", row))


def _arm(name: str, fields: Fields) -> Arm:
    _check_known(fields, Arm, but=("name",))
    if not _NAME.fullmatch(name):
        fields.fail("name", f"must be lower-case letters, digits and _, found {quoted(name)}")
    train = _values(fields.optional_inner("train")) if "train" in fields.object else None
    baseline = fields.optional_name("baseline")
    if baseline is not None and baseline not in BASELINES:
        fields.fail(
            "baseline", f"is none of {', '.join(BASELINES)}{did_you_mean(baseline, BASELINES)}"
        )
    weights = fields.optional_name("weights")
    if sum(given is not None for given in (train, weights, baseline)) > 1:
        fields.fail("train", "goes without 'weights' and 'baseline': an arm is one of the three")
    select = fields.texts("select") if "select" in fields.object else ()
    if select and train is None:
        fields.fail("select", "chooses tasks to train on, and needs 'train'")
    return Arm(
        name=name,
        title=fields.name("title"),
        text=fields.name("text"),
        train=train,
        weights=weights,
        test=_values(fields.optional_inner("test")),
        select=select,
        baseline=baseline,
        first_line=bool(fields.flag("first_line", False)),
        seeds=fields.count("seeds", 1) if "seeds" in fields.object else None,
    )


def _comparison(fields: Fields) -> Comparison:
    _check_known(fields, Comparison)
    categories = fields.texts("categories") if "categories" in fields.object else ()
    return Comparison(fields.name("arm"), fields.name("than"), fields.name("text"), categories)


def _values(fields: Fields) -> dict[str, Any]:
    """Returns macros and their values, each of them one that may be set."""
    for name, value in fields.object.items():
        macro = macros.TABLE.get(name)
        if macro is None:
            fields.fail(str(name), f"is no macro{did_you_mean(str(name), macros.TABLE)}")
        try:
            macro.check(value, none=True)
        except ConfigError as error:
            raise DataError(f"{fields.where}: {error}") from None
    return dict(fields.object)


# What it takes


@dataclasses.dataclass(frozen=True)
class Job:
    """One command of a study.

    Attributes:
        kind: "select", "train", "test" or "baseline".
        arm: whose.
        seed: of its arm.
        arguments: what stands after `flan-jax`.
        folder: where what it makes lies, below the study's folder.
    """

    kind: str
    arm: str
    seed: int
    arguments: tuple[str, ...]
    folder: str

    def __str__(self) -> str:
        return f"{self.kind} {self.arm}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class Started:
    """What a study is started with.

    Attributes:
        out: its folder.
        experiments: further gin files, which override the study's.
        overrides: `NAME=value` of the command line, which override all but what an arm varies.
        seeds: number of seeds, in place of the study's.
    """

    out: str
    experiments: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    seeds: int | None = None


def plan(study: Study, started: Started) -> list[Job]:
    """Returns the commands of a study, in the order in which they are run.

    Seed by seed, so that what is done first can be compared first.
    """
    if started.seeds is not None:
        study = dataclasses.replace(study, seeds=started.seeds)
    jobs: list[Job] = []
    for seed in range(max(len(study.seeds_of(arm)) for arm in study.arms)):
        for arm in study.arms:
            if seed in study.seeds_of(arm):
                jobs += _jobs(study, started, arm, seed)
    return jobs


def answers_folder(arm: str, seed: int) -> str:
    """Returns where an arm's answers lie, below the study's folder."""
    return os.path.join(arm, f"seed{seed}", "answers")


def baseline_file(arm: str) -> str:
    """Returns the file of a heuristic's answers, below the study's folder."""
    return os.path.join(arm, "predictions.jsonl")


def _jobs(study: Study, started: Started, arm: Arm, seed: int) -> Iterator[Job]:
    """Yields what one seed of an arm takes."""
    files = [f"--gin_file={name}" for name in (study.experiment, *started.experiments)]
    overrides = [text for text in started.overrides if _name_of(text) != "ENCODER"]
    given = [f"--gin.{text}" for text in overrides]
    # ENCODER is what chooses tasks. Commands that do nothing else know settings of the data alone.
    data = [f"--gin.{text}" for text in started.overrides if _name_of(text) in macros.SETTINGS]
    folder = os.path.join(arm.name, f"seed{seed}")
    below = os.path.join(started.out, folder)
    if arm.baseline:
        out = os.path.join(started.out, baseline_file(arm.name))
        arguments = ("baseline", arm.baseline, f"--mixture={study.mixture}", f"--out={out}", *data)
        yield Job("baseline", arm.name, seed, arguments, arm.name)
        return
    mixture = {}
    if arm.select:
        manifest = os.path.join(below, "manifest.json")
        chosen = [_fill(text, seed, started.overrides) for text in arm.select]
        chosen += [f"--encoder={_plain(o)}" for o in started.overrides if _name_of(o) == "ENCODER"]
        arguments = ("select", *chosen, f"--out={manifest}", *data)
        yield Job("select", arm.name, seed, arguments, folder)
        mixture = {"MIXTURE_OR_TASK_NAME": f"selected:{manifest}"}
    if arm.train is not None:
        checkpoint = os.path.join(below, "run")
        own = {**arm.train, **mixture, "SEED": seed, "MODEL_DIR": checkpoint}
        yield Job(
            "train",
            arm.name,
            seed,
            ("train", *files, *_gin(study.train), *given, *_gin(own)),
            folder,
        )
    elif arm.weights:
        checkpoint = os.path.join(started.out, arm.weights, f"seed{seed}", "run")
    else:
        checkpoint = _initial(study, started)
    answers = answers_folder(arm.name, seed)
    where = [f"--checkpoint={checkpoint}", f"--mixture={study.mixture}"]
    where.append(f"--out={os.path.join(started.out, answers)}")
    yield Job(
        "test",
        arm.name,
        seed,
        ("eval", *where, *files, *_gin(study.test), *given, *_gin(arm.test)),
        folder,
    )


def _name_of(override: str) -> str:
    return override.partition("=")[0].strip()


def _initial(study: Study, started: Started) -> str:
    """Returns the checkpoint that arms start from.

    Raises:
        ConfigError: nothing names one.
    """
    overrides = [*_texts(study.train), *started.overrides]
    files = [study.experiment, *started.experiments]
    found = config.given(files, overrides).get("INITIAL_CHECKPOINT_PATH")
    if not found:
        raise ConfigError(
            f"study {study.name}: nothing names the weights that it starts from; give "
            "--gin.INITIAL_CHECKPOINT_PATH=..."
        )
    return str(found)


def _plain(override: str) -> str:
    """Returns the value of a path-like `NAME=value` as it stands without gin's quotes."""
    return str(ast.literal_eval(config.parse_override(override)[1]))


def _fill(text: str, seed: int, overrides: Sequence[str]) -> str:
    """Returns an argument of `select` with the seed and the folder of tasks put in place.

    Raises:
        ConfigError: the folder is needed and not set.
    """
    places = {"seed": str(seed)}
    if folder := os.environ.get("SUPER_NI_DIR"):
        places["SUPER_NI_DIR"] = folder
    for override in overrides:
        if _name_of(override) == "SUPER_NI_DIR":
            places["SUPER_NI_DIR"] = _plain(override)
    for name in _PLACES.findall(text):
        if name not in places:
            raise ConfigError(f"the study needs --gin.{name}=FOLDER, or {name} in the environment")
    return _PLACES.sub(lambda found: places[found[1]], text)


def _texts(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        verbatim = isinstance(value, str) and macros.TABLE[name].verbatim
        yield f"{name}={value if verbatim else repr(value)}"


def _gin(values: Mapping[str, Any]) -> list[str]:
    return [f"--gin.{text}" for text in _texts(values)]
