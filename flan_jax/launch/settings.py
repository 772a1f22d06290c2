"""Settings of a target: a small YAML file, read strictly.

A target is a frozen dataclass whose fields are made by `field`. What a file says ends up in command
lines, scripts and manifests, so names are of characters that mean nothing anywhere.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from flan_jax import yaml_files
from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted
from flan_jax.json_files import Fields
from flan_jax.kinds import Kind, is_text, require

Target = TypeVar("Target")
# What is in an environment, a manifest or a command can be read by others; a secret is named.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Matching:
    """Text that a pattern matches as a whole.

    Attributes:
        pattern: a regular expression.
        said: what it asks for.
    """

    pattern: str
    said: str

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return is_text(value) and re.fullmatch(self.pattern, value) is not None

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return self.said

    def read(self, text: str) -> Any:
        """See `Kind`."""
        return text


# Of pods, jobs and folders: GKE adds to it and allows 63 characters in all.
NAME = Matching(
    r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", "a name of up to 40 small letters, digits and inner dashes"
)
WORD = Matching(
    r"[A-Za-z0-9./][A-Za-z0-9._:/@+-]*", "one word of letters, digits and ._:/@+-, no dash first"
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Names of environment variables, with what each is to be.

    Attributes:
        of: kind of what each is to be.
    """

    of: Kind

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, dict) and all(
            is_text(name) and _VARIABLE.fullmatch(name) and self.of.fits(item)
            for name, item in value.items()
        )

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return f"NAME: value pairs, each value {self.of.words(None)}"

    def read(self, text: str) -> Any:
        """See `Kind`."""
        return text


@dataclasses.dataclass(frozen=True)
class Variables:
    """A list of names of environment variables."""

    def fits(self, value: Any) -> bool:
        """See `Kind`."""
        return isinstance(value, list) and all(
            is_text(name) and _VARIABLE.fullmatch(name) for name in value
        )

    def words(self, value: Any) -> str:
        """See `Kind`."""
        return "a list of names of environment variables"

    def read(self, text: str) -> Any:
        """See `Kind`."""
        return text


def field(kind: Kind, *default: Any) -> Any:
    """Returns a field of a target; it has to be given where there is no default."""
    made: dict[str, Any] = {"metadata": {"kind": kind}}
    if default and isinstance(default[0], dict | list):
        made["default_factory"] = type(default[0])
    elif default:
        made["default"] = default[0]
    return dataclasses.field(**made)


def read(path: str, target: type[Target], name: str | None = None) -> Target:
    """Returns the settings of a target.

    Args:
        path: YAML file.
        target: dataclass of its settings.
        name: takes the place of `name` in the file.

    Raises:
        FlanJaxError: the file cannot be read, a key is unknown, missing or of another kind, or a
            secret stands in `environment`; names file and key.
    """
    content = dict(Fields(path, yaml_files.read_yaml(path)).object)
    fields = {one.name: one for one in dataclasses.fields(target)}  # type: ignore[arg-type]
    if name is not None:
        content["name"] = name
    for key in content:
        if key not in fields:
            raise DataError(f"{path}: no setting {quoted(key)}{did_you_mean(str(key), fields)}")
    for key, one in fields.items():
        required = one.default is one.default_factory is dataclasses.MISSING
        if key not in content and required:
            raise DataError(f"{path}: {key!r} is missing")
        if key in content:
            where = f"{path}: {key!r}"
            require(where, content[key], one.metadata["kind"], none=one.default is None,
                    error=DataError)  # fmt: skip
    _refuse_secrets(path, content.get("environment", {}))
    return target(**content)


def _refuse_secrets(path: str, environment: Mapping[str, str]) -> None:
    for key in environment:
        if _SECRET.search(key):
            raise ConfigError(
                f"{path}: {key} in 'environment' would stand in commands and logs; 'secrets' says "
                "where it is to be found"
            )
