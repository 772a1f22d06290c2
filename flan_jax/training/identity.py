"""What a run is: the facts that must not change between a checkpoint and its continuation."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import MOST_QUOTED, CheckpointError, quoted

# What to do about each kind of change, for the message.
_NAMES = {
    "model": "model",
    "base": "frozen weight",
    "vocabulary": "vocabulary",
    "tasks": "templates or data of task",
    "excluded": "left-out examples of task",
    "rates": "mixing rate of task",
    "plan": "data layout",
    "optimizer": "optimizer",
    "seed": "seed",
}

# What is there only where there is some.
_NONE: Mapping[str, Mapping[str, Any]] = {"excluded": {}}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns one phrase for each fact that differs, such as `model emb_dim (64 -> 128)`."""
    found = []
    for kind, name in _NAMES.items():
        old, new = (facts.get(kind, _NONE.get(kind)) for facts in (then, now))
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in sorted({*old, *new}):
                if old.get(key) != new.get(key):
                    found.append(f"{name} {key}{_change(old.get(key), new.get(key))}")
        else:
            found.append(f"{name}{_change(old, new)}")
    return found


def _change(old: Any, new: Any) -> str:
    if old is None:
        return " (new)"
    if new is None:
        return " (gone)"
    return f" ({_shown(old)} -> {_shown(new)})"


def _shown(value: Any) -> str:
    """What a checkpoint says may be anything."""
    return value[:MOST_QUOTED] if isinstance(value, str) else quoted(value)


def check_vocabulary(then: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuses weights whose embeddings stand for other tokens.

    Raises:
        CheckpointError: the vocabulary differs.
    """
    if then.get("vocabulary") != now["vocabulary"]:
        raise CheckpointError(
            f"{where} was trained with another vocabulary"
            f"{_change(then.get('vocabulary'), now['vocabulary'])}; set VOCABULARY to that one"
        )


def check_unchanged(then: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Refuses to continue a run as another one.

    Raises:
        CheckpointError: names what changed, at most six facts.
    """
    found = differences(then, now)
    if not found:
        return
    shown = "; ".join(found[:6]) + (f"; and {len(found) - 6} more" if len(found) > 6 else "")
    raise CheckpointError(
        f"{where} was trained with other settings: {shown}. Choose another MODEL_DIR (and give "
        f"INITIAL_CHECKPOINT_PATH to start from its weights), or undo the change"
    )
