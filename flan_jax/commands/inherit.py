"""Settings that come with a checkpoint, for verbs that use it as it was trained.

A checkpoint may be anybody's. What it says of its model and prompts is taken over; what it says of
places is not, and a task module that it names, which is code, is imported only where it ships with
the package or where the person at the keyboard named it, or said `--trust`. docs/security.md has
the rule.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import config, macros, terminal
from flan_jax.commands import common
from flan_jax.errors import CheckpointError, quoted

_MODULE = "MIXTURE_OR_TASK_MODULE"


def add_checkpoint_argument(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Adds --checkpoint; `more` ends what --help says of it."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=common.path,
        help="MODEL_DIR (its newest), MODEL_DIR@best, MODEL_DIR@1200; hf:FOLDER_OR_NAME, "
        "gguf:FILE, t5x:FOLDER, peft:FOLDER" + more,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --module and --trust."""
    common.add_module_argument(parser)
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import the task modules that the checkpoint names, and read the places it names: "
        "for checkpoints of your own",
    )


def configure(
    args: argparse.Namespace, run: str, modules: Sequence[str], overrides: Sequence[str]
) -> Any:
    """Opens the checkpoint that a verb was given, and configures the verb by it.

    Args:
        args: what was asked for: `checkpoint`, `gin_file`, `module` and `trust`.
        run: name of the run file.
        modules: those that define what it binds; registered already.
        overrides: `NAME=value` of the command line.

    Returns:
        The checkpoint, a `flan_jax.training.checkpoints.Found`.

    Raises:
        FlanJaxError: there is no such checkpoint, or see `check` and `common.configure`.
    """
    from flan_jax.training import restore

    base = config.given(args.gin_file, overrides).get("BASE_CHECKPOINT_PATH")
    found = restore.require(args.checkpoint, terminal.warn, base)
    config.run_imports(args.gin_file)
    inherited = part(found, args.trust)
    parts = config.compose_parts(args.gin_file, "flan_jax", run, overrides, inherited)
    parts.append(_trained(inherited))
    check(found, parts, inherited, args)
    common.configure(parts, modules)
    config.import_modules(args.module)
    return found


def part(found: Any, trust: bool = False) -> config.Part:
    """Returns the settings of a checkpoint as a part of a configuration.

    Args:
        found: a `flan_jax.training.checkpoints.Found`.
        trust: whether places that it names count, too.

    Raises:
        CheckpointError: they are not data, or refer to what is not of this package.
    """
    from flan_jax.models import families
    from flan_jax.training import own_runs, stored_settings

    where = f"checkpoint {found.path}"
    kept, local = stored_settings.split(stored_settings.decode(found.run, where))
    settings = {**kept, **(local if trust else {})}
    settings |= own_runs.recall(found.run, found.path) or {}
    if found.vocabulary is not None:
        settings["VOCABULARY"] = found.vocabulary
    if not {"MODEL_CONFIG", "MODEL_FAMILY"} & set(settings):
        settings["MODEL_FAMILY"] = config.OF_CHECKPOINT
    settings["MODEL_FROM"] = str(found.path)
    stored_settings.check_configurables(settings, where, families.names())
    return config.Part(str(found.path), stored_settings.as_gin(settings))


def _trained(inherited: config.Part) -> config.Part:
    """Returns what trained, as the checkpoint says.

    An experiment says what it would train; asked of its base, or of what another trained, that
    would be another model.
    """
    settings = config.macros([inherited])
    # Where the rest lies, and how it is held, is for whoever asks to say.
    shaping = [n for n in macros.TUNING if n not in ("BASE_CHECKPOINT_PATH", "FROZEN_DTYPE")]
    kept = {name: settings[name] for name in shaping if name in settings}
    text = "".join(f"{name} = {value!r}\n" for name, value in {"TRAINABLE": "all", **kept}.items())
    return config.Part("what the checkpoint trained", text)


def check(
    found: Any, parts: Sequence[config.Part], inherited: config.Part, args: argparse.Namespace
) -> None:
    """Refuses modules, and says which settings are missing, that only a checkpoint names.

    Args:
        found: the checkpoint.
        parts: the composed configuration.
        inherited: the one of them that came with the checkpoint.
        args: what was asked for: `module` and `trust`.

    Raises:
        CheckpointError: names the module, and what would let it in.
    """
    _check_modules(parts, inherited, args)
    from flan_jax.training import stored_settings

    where = f"checkpoint {found.path}"
    _, local = stored_settings.split(stored_settings.decode(found.run, where))
    values = config.macros(parts)
    shaping = {*local} & stored_settings.SHAPING | {*found.run.get("left_out", ())}
    missing = sorted(name for name in shaping if not (values.get(name) or os.environ.get(name)))
    if not missing:
        return
    shown = [name[:99] + (f" ({quoted(local[name])})" if name in local else "") for name in missing]
    terminal.warn(
        f"{where} was trained with settings that it does not hand on: {', '.join(shown[:9])}. Give "
        f"--gin.{missing[0][:99]}=... where they matter{', or --trust' if local else ''}"
    )


def _check_modules(
    parts: Sequence[config.Part], inherited: config.Part, args: argparse.Namespace
) -> None:
    """Refuses a task module that nobody but a checkpoint names.

    Raises:
        CheckpointError: names the module, and what would let it in.
    """
    later = parts[parts.index(inherited) + 1 :]
    given = config.macros([part for part in later if part.origin != config.IN_FULL])
    if args.trust or _MODULE in given:
        return
    named = {*args.module, *map(config.as_named, args.module)}
    for name in _stored_modules(config.macros([inherited]), inherited.origin):
        if name not in named and not config.ships_with_package(name):
            raise CheckpointError(
                f"checkpoint {inherited.origin} wants the task module {quoted(name)}, which is "
                f"code and does not ship with flan-jax: add --module={name} if you know it, "
                f"--gin.{_MODULE}=None to do without, or --trust if the checkpoint is your own"
            )


def _stored_modules(settings: Mapping[str, Any], where: str) -> list[str]:
    from flan_jax.training import stored_settings

    return stored_settings.modules_of(config.resolved(settings), f"checkpoint {where}")
