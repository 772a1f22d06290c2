"""The manifest: a choice of tasks as a JSON file, and as one SeqIO mixture.

`MIXTURE_OR_TASK_NAME = 'selected:manifest.json'` trains on it, and

    flan_jax.selector.register_mixture("manifest.json", name="my_specialist")

gives anybody who uses SeqIO the same mixture.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted
from flan_jax.json_files import Fields
from flan_jax.selector.library import REFINEMENT, Library

if TYPE_CHECKING:
    import seqio

    from flan_jax.selector.encoders import Encoder
    from flan_jax.selector.selection import Choice

FORMAT = 1
SCHEME = "selected:"
Rates = Literal["uniform", "examples", "softmax"]
RATES = get_args(Rates)
TEMPERATURE = 0.1
_NOT_IN_NAMES = re.compile(r"[^\w.]+", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How often each chosen task is drawn.

    Attributes:
        rates: "uniform": all alike; "examples": in proportion to the number of training
            examples; "softmax": in proportion to exp(score / temperature).
        cap: most examples of a task that count, for "examples"; None for no bound.
        temperature: in units of the score, for "softmax".
    """

    rates: str = "uniform"
    cap: int | None = None
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        if self.rates not in RATES:
            hint = did_you_mean(str(self.rates), RATES) or f"; there are {', '.join(RATES)}"
            raise ConfigError(f"rates {quoted(self.rates)} are not known{hint}")
        if self.cap is not None and (type(self.cap) is not int or self.cap < 1):
            raise ConfigError(f"cap = {quoted(self.cap)} must be a whole number above 0")
        is_number = type(self.temperature) in (int, float)
        if not (is_number and 0 < self.temperature < 1e300):
            raise ConfigError(f"temperature = {quoted(self.temperature)} must be above 0")


def make_manifest(
    choice: "Choice", library: Library, encoder: "Encoder", mixing: Mixing | None = None
) -> dict[str, Any]:
    """Returns the manifest of a choice; equal choices have equal manifests, byte for byte."""
    labels = [target.label for target in choice.targets]
    return {
        "format": FORMAT,
        "target": labels[0] if len(labels) == 1 else labels,
        "targets": [
            {
                "label": target.label,
                "instructions": list(target.task.instructions),
                "sources": list(target.task.sources),
            }
            for target in choice.targets
        ],
        "k": len(choice.selected),
        "selected": [dataclasses.asdict(chosen) for chosen in choice.selected],
        "margin": choice.margin,
        "notes": list(choice.notes),
        "mixture": dataclasses.asdict(mixing or Mixing()),
        "encoder": encoder.describe(),
        "library": {
            "origin": library.origin,
            "hash": library.hash,
            "tasks": len(library.tasks),
            "instructions": dataclasses.asdict(library.counts),
            "refinement": REFINEMENT,
        },
        "parameters": dataclasses.asdict(choice.parameters),
        "blocked": dict(sorted(choice.blocked.items())),
        "scores": dict(choice.scores),
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Returns the text of a manifest's file."""
    return json_files.dumps(manifest, indent=1) + "\n"


def write_manifest(path: str, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest.

    Raises:
        OutputError: the file cannot be written.
    """
    file = epath.Path(path)
    files.make_folder(file.parent)
    files.replace_text(file, manifest_text(manifest))


def read_manifest(path: str) -> dict[str, Any]:
    """Returns a manifest, checked as far as a mixture needs it.

    Raises:
        DataError: the file is not there or is no manifest; names the field.
    """
    file = epath.Path(files.user_path(path))
    if not file.exists():
        raise DataError(f"manifest {path} does not exist; `flan-jax select --out` writes one")
    fields = Fields(f"manifest {path}", json_files.read_json(file))
    if "selected" not in fields.object:
        raise DataError(f"{path} is not a manifest of selected tasks: it has no 'selected'")
    if fields.object.get("format", FORMAT) != FORMAT:
        fields.fail("format", f"is {quoted(fields.object['format'])}, not {FORMAT}")
    _check_selected(fields)
    return fields.object


def _check_selected(manifest: Fields) -> None:
    selected = manifest.get("selected")
    if not isinstance(selected, list) or not selected:
        manifest.fail("selected", "must be a list of at least one task")
    seen = set()
    for i, value in enumerate(selected):
        row = Fields(f"{manifest.where}: selected[{i}]", value)
        task, _ = row.name("task"), row.number("score")
        if task in seen:
            row.fail("task", f"{quoted(task)} is there twice")
        seen.add(task)


def _mixing(path: str, manifest: Mapping[str, Any], changes: Mapping[str, Any]) -> Mixing:
    given = manifest.get("mixture", {})
    known = [field.name for field in dataclasses.fields(Mixing)]
    if not isinstance(given, dict) or set(given) - set(known):
        raise DataError(f"manifest {path}: 'mixture' must be an object of {', '.join(known)}")
    try:
        return Mixing(**(given | {k: v for k, v in changes.items() if v is not None}))
    except ConfigError as error:
        raise DataError(f"manifest {path}: {error}") from None


def mixture_rates(manifest: Mapping[str, Any], mixing: Mixing) -> dict[str, Any]:
    """Returns the rate of every chosen task: a number, or a function of the SeqIO task."""
    import functools

    scores = {row["task"]: float(row["score"]) for row in manifest["selected"]}
    if mixing.rates == "uniform":
        return dict.fromkeys(scores, 1.0)
    if mixing.rates == "softmax":
        best = max(scores.values())
        # SeqIO divides by the sum of the rates itself.
        return {task: math.exp((s - best) / mixing.temperature) for task, s in scores.items()}
    import seqio

    rate = functools.partial(seqio.mixing_rate_num_examples, maximum=mixing.cap)
    return dict.fromkeys(scores, rate)


def register_mixture(
    path: str,
    name: str | None = None,
    *,
    rates: str | None = None,
    cap: int | None = None,
    temperature: float | None = None,
) -> "seqio.Mixture":
    """Registers the tasks of a manifest as one SeqIO mixture.

    The module that registers the tasks has to be imported before.

    Args:
        path: the manifest.
        name: name in the SeqIO registry; one made of the file's name and what it chooses where
            None. The same mixture may be registered again under it.
        rates: "uniform", "examples" or "softmax"; what the manifest says where None.
        cap: see `Mixing`, likewise.
        temperature: see `Mixing`, likewise.

    Raises:
        DataError: the manifest is wrong, one of its tasks is not registered, or the name is
            that of something else.
    """
    import seqio

    from flan_jax.instructions.mixtures import check_free

    manifest = read_manifest(path)
    changes = {"rates": rates, "cap": cap, "temperature": temperature}
    mixing = _mixing(path, manifest, changes)
    choice = [[row["task"], row["score"]] for row in manifest["selected"]]
    facts = json.dumps([choice, dataclasses.asdict(mixing)])
    digest = hashlib.sha256(facts.encode()).hexdigest()
    name = name or _default_name(path, digest)
    if _registered.get(name) == digest and name in seqio.MixtureRegistry.names():
        return seqio.MixtureRegistry.get(name)
    check_free(name)
    known = seqio.TaskRegistry.names()
    members = mixture_rates(manifest, mixing)
    for task in members:
        if task not in known:
            raise DataError(_not_registered(path, manifest, task, known))
    _registered[name] = digest
    return seqio.MixtureRegistry.add(name, list(members.items()))


# What this module registered: the hash of tasks, scores and rates by name.
_registered: dict[str, str] = {}


def _default_name(path: str, digest: str) -> str:
    stem = epath.Path(path).name.removesuffix(".json")
    return f"selected_{_NOT_IN_NAMES.sub('_', stem)}_{digest[:8]}"


def _not_registered(path: str, manifest: Mapping[str, Any], task: str, known: Any) -> str:
    library = manifest.get("library")
    origin = library.get("origin") if isinstance(library, dict) else None
    hint = did_you_mean(task, known) if known else ""
    return (
        f"manifest {path}: no task {task!r} is registered{hint}; import the module of its "
        f"library ({origin or 'unknown'}) first: MIXTURE_OR_TASK_MODULE, or --module"
    )


def resolve(name: str) -> "seqio.Mixture":
    """Returns the mixture that `selected:PATH` names; see `instructions.mixtures.resolve`."""
    path = name.removeprefix(SCHEME)
    if not path:
        raise DataError(f"{name!r} names no manifest; write selected:manifest.json")
    return register_mixture(path)
