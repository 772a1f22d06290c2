"""Fields of a published `config.json`: somebody else's data, read with one clear error each."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import CheckpointError, ConfigError, did_you_mean, quoted
from flan_jax.kinds import Kind, Number, Whole, YesNo

_ABSENT: Any = object()
_SIZE = Whole(1, 2**31 - 1)


class Fields:
    """The fields of an object of a `config.json`.

    A field that is null counts as absent, as in transformers. Errors are `CheckpointError`s that
    name the file, the field and its value.
    """

    def __init__(self, content: Mapping[str, Any], where: str):
        """Args:
        content: the parsed object.
        where: the file, and within it the object, for errors.
        """
        self._content, self.where = content, where

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def _get(self, name: str, kind: Kind, default: Any) -> Any:
        value = self._content.get(name)
        if value is None:
            if default is not _ABSENT:
                return default
            near = did_you_mean(name, list(self._content))
            raise CheckpointError(f"{self.where} has no {name!r}{near}")
        if not kind.fits(value):
            words = kind.words(value)
            raise CheckpointError(f"{self.where}: {name!r} must be {words}, not {quoted(value)}")
        return value

    def whole(self, name: str, default: Any = _ABSENT) -> Any:
        """Returns a whole number from 1."""
        return self._get(name, _SIZE, default)

    def number(self, name: str, default: Any = _ABSENT) -> Any:
        """Returns a number as a float."""
        value = self._get(name, Number(), default)
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def flag(self, name: str, default: Any = _ABSENT) -> Any:
        """Returns true or false."""
        return self._get(name, YesNo(), default)

    def text(self, name: str, choices: Sequence[str] | None = None, default: Any = _ABSENT) -> Any:
        """Returns a text, one of `choices` where they are given."""
        value = self._content.get(name)
        if value is None and default is not _ABSENT:
            return default
        if not isinstance(value, str) or (choices is not None and value not in choices):
            known = f" (one of {', '.join(choices)})" if choices else ""
            near = did_you_mean(str(value), choices or ())
            raise CheckpointError(
                f"{self.where}: {name!r} is {quoted(value)}, which is not supported{near}{known}"
            )
        return value

    def texts(self, name: str, default: Any = _ABSENT) -> Any:
        """Returns a list of texts as a tuple."""
        value = self._content.get(name)
        if value is None and default is not _ABSENT:
            return default
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise CheckpointError(f"{self.where}: {name!r} must be a list of texts")
        return tuple(value)

    def object(self, name: str, default: Any = _ABSENT) -> Any:
        """Returns an object within this one, as `Fields`."""
        value = self._content.get(name)
        if value is None and default is not _ABSENT:
            return default
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{self.where}: {name!r} must be an object")
        return Fields(value, f"{self.where}: {name}")

    def refuse(self, name: str, *supported: Any) -> None:
        """Refuses a field with any other value than those supported; it may be absent."""
        value = self._content.get(name)
        if value is not None and value not in supported:
            allowed = " or ".join(quoted(one) for one in supported)
            raise CheckpointError(
                f"{self.where}: {name!r} is {quoted(value)}; supported is {allowed}"
            )

    @contextlib.contextmanager
    def border(self) -> Iterator[None]:
        """Turns what a configuration of ours refuses into an error about this file.

        Raises:
            CheckpointError: instead of a ConfigError.
        """
        try:
            yield
        except ConfigError as error:
            raise CheckpointError(f"{self.where}: {error}") from None
