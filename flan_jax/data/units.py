"""Units of prepared records: which a mixture needs, and the examples of one as SeqIO makes them."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import seqio

from flan_jax.data.records import Example, UnitSpec, write_unit
from flan_jax.errors import DataError
from flan_jax.instructions import mixtures, pipelines
from flan_jax.instructions.draws import RenderingKey, rendering_context
from flan_jax.instructions.recipes import get_recipe
from flan_jax.instructions.rendering import COUNTED, FIT, RANKED, RENDERED
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.kinds import whole_number


@dataclasses.dataclass(frozen=True)
class Renderings:
    """How a task is rendered: `count` renderings under one seed."""

    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("renderings", self.count, error=DataError)

    @property
    def all_keys(self) -> list[RenderingKey]:
        """The key of each rendering."""
        return [RenderingKey(self.seed, number) for number in range(self.count)]


def unit_specs(
    name: str, split: str, renderings: Renderings, layout: str | None = None
) -> list[UnitSpec]:
    """Returns the units of all member tasks that have the split.

    Args:
        name: SeqIO task or mixture.
        split: the split.
        renderings: of each task.
        layout: of a model that trains on them; None where they are answered.

    Raises:
        DataError: no member has the split.
    """
    tasks = mixtures.member_tasks(name, layout)
    having = [task for task in tasks if split in task.splits]
    if not having:
        splits = sorted({s for task in tasks for s in task.splits})
        raise DataError(f"{name!r} has no split {split!r}; there are {', '.join(splits)}")
    prints = {task.name: get_recipe(task.name).fingerprint() for task in having}
    return [
        UnitSpec(task, split, key, recipe, VOCABULARY.fingerprint)
        for task, recipe in prints.items()
        for key in renderings.all_keys
    ]


# Features of an example that are kept; see `records.Example`.
_TRAVELS = (*RENDERED, *RANKED, "inputs_pretokenized", "targets_pretokenized", COUNTED, FIT)


def task_examples(spec: UnitSpec) -> Iterator[Example]:
    """Yields the examples of a unit as SeqIO makes them, untrimmed and in source order.

    Raises:
        DataError: the task's source or renderer failed; names the task.
    """
    task = seqio.TaskRegistry.get(spec.task)
    try:
        with rendering_context(spec.rendering.seed, spec.rendering.number):
            dataset = task.get_dataset(
                None, split=spec.split, shuffle=False, num_epochs=1, try_in_mem_cache=False
            )
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise DataError(f"task {spec.task!r}, split {spec.split!r}: {message}") from error
    missing = {"inputs", "targets"} - set(dataset.element_spec)
    if missing:
        raise DataError(
            f"task {spec.task!r}, split {spec.split!r}: examples have no feature "
            f"{min(missing)!r}; there are {sorted(dataset.element_spec)}"
        )
    iterator = pipelines.read_rows(dataset.map(_wanted))
    position = 0
    while True:
        try:
            raw = next(iterator)
            example = _to_example(raw, f"{spec.split}/{position}")
        except StopIteration:
            return
        except DataError as error:
            raise DataError(f"task {spec.task!r}, split {spec.split!r}: {error}") from None
        except Exception as error:
            # What TensorFlow raises holds the pipeline alive, which then never ends at exit.
            message = _innermost(error)
            del iterator, dataset
            raise DataError(f"task {spec.task!r}, split {spec.split!r}: {message}") from None
        yield example
        position += 1


def _innermost(error: Exception) -> str:
    """The line of a tf.data error that says what a Python function raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if "Error: " in line and not line.startswith("{{")]
    return raised[-1] if raised else (lines[0] if lines else type(error).__name__)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    """Texts of a column that holds one or several."""
    return tuple(_text(item) for item in np.ravel(np.asarray(value, object)))


def _wanted(example: Mapping[str, Any]) -> dict[str, Any]:
    """Only what `_to_example` reads; a task from elsewhere may have features of any kind."""
    return {name: example[name] for name in _TRAVELS if name in example}


def _to_example(raw: Mapping[str, Any], default_id: str) -> Example:
    """Takes what travels with an example; a task from elsewhere may lack most of it."""
    target = _text(raw.get("targets_pretokenized", ""))
    return Example(
        id=_text(raw["id"]) if "id" in raw else default_id,
        template=_text(raw.get("template", "")),
        inputs=np.asarray(raw["inputs"], np.int32),
        targets=np.asarray(raw["targets"], np.int32),
        prompt=_text(raw.get("inputs_pretokenized", "")),
        target=target,
        options=_texts(raw.get("options", ())),
        references=_texts(raw.get("references", ())) or (target,),
        form=_text(raw.get("form", "")),
        ranked=_ranked(raw),
        counted=np.asarray(raw[COUNTED], np.int32) if COUNTED in raw else None,
        fit=int(raw.get(FIT, 0)),
    )


def _ranked(raw: Mapping[str, Any]) -> tuple[str, int, bool] | None:
    """What `metrics.rank_classification` needs of an option; a task from elsewhere has none."""
    if not all(name in raw for name in RANKED):
        return None
    example_id, index, is_correct = (raw[name] for name in RANKED)
    return _text(example_id), int(index), bool(is_correct)


def prepare_unit(spec: UnitSpec, root: str, fresh: bool = False) -> int:
    """Prepares one unit and returns its number of examples; see `records.write_unit`."""
    return write_unit(spec, root, task_examples(spec), fresh)


def count_examples(spec: UnitSpec) -> int:
    """Returns how many examples the source of a unit says it has; 0 where it does not say."""
    return seqio.TaskRegistry.get(spec.task).num_input_examples(spec.split) or 0
