"""Folders of promptsource `templates.yaml` files, read as a library: no template is ever run."""

from etils import epath

from flan_jax.errors import quoted, within
from flan_jax.instructions.promptsource import (
    Template,
    TemplateFile,
    find_files,
    instruction_side,
    read_file,
)
from flan_jax.selector.library import Counts, Library, LibraryTask, refine_all


def read_promptsource(folder: str, only_original: bool = True) -> Library:
    """Returns the library of all `templates.yaml` files below a folder (or of one such file).

    Templates that are marked as another task than their dataset's are left out, of the others
    the instruction side is kept and refined (`library.refine`); what is dropped is counted. A
    dataset without an original task (app_reviews, quarel) is left out as a whole.

    Args:
        folder: `templates` of promptsource's checkout or package, or a part of it.
        only_original: False keeps the templates of other tasks too.

    Raises:
        DataError: there is no such file, one is not what it should be, or none has an instruction.
    """
    tasks, counts = [], Counts()
    for path in find_files(epath.Path(folder)):
        task, count = _task_of(read_file(path), path, only_original)
        counts += count
        tasks += [task] if task else []
    return Library.of(tasks, f"promptsource:{folder}", counts)


def _task_of(
    file: TemplateFile, path: epath.Path, only_original: bool
) -> tuple[LibraryTask | None, Counts]:
    """The task, None where no instruction remains, and what became of the templates."""
    own = [t for t in file.templates if not only_original or t.original_task is not False]
    inverting = len(file.templates) - len(own)
    with within(str(path)):
        instructions, counts = refine_all(map(_instruction, own))
    counts += Counts(read=inverting, inverting=inverting, tasks_without=int(not instructions))
    task = LibraryTask(file.task, instructions, None, file.sources) if instructions else None
    return task, counts


def _instruction(template: Template) -> str:
    with within(f"template {quoted(template.name)}"):
        return instruction_side(template.jinja)
