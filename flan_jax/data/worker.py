"""What a worker process runs; apart from `units` so that the child starts quietly."""

import traceback
from collections.abc import Sequence

from flan_jax.data.records import UnitSpec
from flan_jax.errors import DataError, FlanJaxError
from flan_jax.quiet import import_tensorflow


def prepare_in_child(spec: UnitSpec, root: str, modules: Sequence[str], fresh: bool = False) -> int:
    """Prepares a unit in a fresh process, where tasks have to be registered first.

    Settings arrive as environment variables. A child that sees other tasks or another
    vocabulary than its parent would write other tokens, so it compares.

    Returns:
        The number of examples.

    Raises:
        FlanJaxError: the task is not the same here, its source or renderer fails, or its records
            cannot be written.
        RuntimeError: anything else, in words: exceptions of libraries may not survive the way to
            the parent, which would be told that this process was killed.
    """
    try:
        return _prepare(spec, root, modules, fresh)
    except FlanJaxError:
        raise
    except Exception:
        raise RuntimeError(traceback.format_exc()) from None


def _prepare(spec: UnitSpec, root: str, modules: Sequence[str], fresh: bool) -> int:
    import_tensorflow()
    from flan_jax.config import import_modules
    from flan_jax.data.units import prepare_unit
    from flan_jax.instructions.recipes import get_recipe
    from flan_jax.instructions.vocabulary import VOCABULARY

    import_modules(modules)
    here = (get_recipe(spec.task).fingerprint(), VOCABULARY.fingerprint)
    if here != (spec.recipe, spec.vocabulary):
        raise DataError(
            f"task {spec.task!r} is not the same in a worker process, which reads no gin file; "
            "--workers=1 prepares it in this one"
        )
    return prepare_unit(spec, root, fresh)
