"""YAML as others wrote it: the one place that reads it, and that writes what others read.

A few hundred bytes of YAML can stand for more than any memory holds, and a few thousand brackets
end the process, since the library that builds values calls itself once a level. So a file is first
read as a stream of events, which builds nothing, and refused by size, depth and by what its aliases
stand for. Then a safe loader builds it. Keys are texts or numbers, and none is there twice.
"""

import functools
from collections.abc import Collection
from typing import Any, NoReturn

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, border, first_line, quoted

# Bytes of a file; the largest of promptsource has 200 KB.
MOST_BYTES = 1 << 22
DEPTH = 50
# What a file may stand for once aliases are followed: characters, and so many for each value.
_MOST_WEIGHT = 1 << 23
_VALUE = 20
# Each is compared with all before it.
_MOST_DIRECTIVES = 100
# Numbers and dates; making a number of text takes quadratic time.
_LONGEST_NUMBER = 100


def read_yaml(path: epath.PathLike, tags: Collection[str] = ()) -> Any:
    """Returns the value of a YAML file of one document; None where it is empty.

    Args:
        path: the file.
        tags: tags of the format, such as `!Template`, whose mappings are read as mappings.

    Raises:
        DataError: the file cannot be read, is too large or nested, or no such YAML; names file and
            line.
    """
    return loads(files.read_text(path, MOST_BYTES), path, tags)


def loads(text: str, where: object, tags: Collection[str] = ()) -> Any:
    """Returns the value of a YAML text, see `read_yaml`.

    Args:
        text: of one document.
        where: the file, for messages.
        tags: see `read_yaml`.

    Raises:
        DataError: see `read_yaml`.
    """
    import yaml

    with border(str(where)):
        try:
            _Walk(where).check(text)
            return yaml.load(text, Loader=_loader(frozenset(tags)))  # a subclass of the safe one
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = f": {error.context}" if error.context else ""
            line = f", line {mark.line + 1}" if mark else ""
            raise DataError(f"{where}{line}: not YAML{said}: {error.problem}") from None
        except yaml.YAMLError as error:
            raise DataError(f"{where}: not YAML: {first_line(error)}") from None


def dumps(value: Any) -> str:
    """Returns a value as YAML in the order it has; texts of several lines stand as blocks."""
    import yaml

    return str(yaml.dump(value, Dumper=_dumper(), sort_keys=False, width=100))


@functools.cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes no aliases."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = "|" if "\n" in data else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, text)
    return Dumper


class _Walk:
    """One walk over the events of a text.

    Attributes:
        weight: of all values so far, with what aliases stand for.
        open: of each collection that has not ended: weight before it, its anchor, and the keys
            of a mapping, None for a list.
        anchors: weight of what each anchor is of.
    """

    def __init__(self, where: object):
        self.where = where
        self.weight = 0
        self.open: list[tuple[int, str | None, set[str] | None]] = []
        self.anchors: dict[str, int] = {}
        self.at_key = [False]

    def check(self, text: str) -> None:
        """Refuses what should not be built."""
        import yaml

        if text.count("\n%") > _MOST_DIRECTIVES:
            raise DataError(f"{self.where}: not YAML: more than {_MOST_DIRECTIVES} directives")
        for event in yaml.parse(text, Loader=_safe_loader()):
            self._take(event)

    def _take(self, event: Any) -> None:
        import yaml

        if isinstance(event, yaml.CollectionEndEvent):
            before, anchor, _ = self.open.pop()
            self.at_key.pop()
            self._name(anchor, self.weight - before)
        elif isinstance(event, yaml.NodeEvent):
            self._key(event)
            if isinstance(event, yaml.CollectionStartEvent):
                self._begin(event, isinstance(event, yaml.MappingStartEvent))
            else:
                self._leaf(event)

    def _begin(self, event: Any, is_mapping: bool) -> None:
        self.open.append((self.weight, event.anchor, set() if is_mapping else None))
        self.at_key.append(is_mapping)
        if len(self.open) > DEPTH:
            self._refuse(event, f"nested more than {DEPTH} deep")
        self._grow(event, _VALUE)

    def _leaf(self, event: Any) -> None:
        value = getattr(event, "value", None)
        if value is not None:
            self._grow(event, _VALUE + len(value))
            self._name(event.anchor, _VALUE + len(value))
        elif event.anchor in self.anchors:
            self._grow(event, self.anchors[event.anchor])
        else:
            self._refuse(event, f"the alias *{event.anchor} is of nothing before it")

    def _key(self, event: Any) -> None:
        """Notes a key; every other node of a mapping is one."""
        is_key, keys = self.at_key[-1], self.open[-1][2] if self.open else None
        if keys is None:
            return
        self.at_key[-1] = not is_key
        if not is_key:
            return
        value: str | None = getattr(event, "value", None)
        if value is None:
            self._refuse(event, "a key is no text")
        if value in keys:
            self._refuse(event, f"the key {quoted(value)} is there twice")
        keys.add(value)

    def _name(self, anchor: str | None, weight: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = weight

    def _grow(self, event: Any, weight: int) -> None:
        self.weight += weight
        if self.weight > _MOST_WEIGHT:
            self._refuse(event, "it stands for more values than are read of such a file")

    def _refuse(self, event: Any, wrong: str) -> NoReturn:
        raise DataError(f"{self.where}, line {event.start_mark.line + 1}: {wrong}")


def _safe_loader() -> Any:
    """The compiled safe loader where there is one."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _loader(tags: frozenset[str]) -> Any:
    """A safe loader that reads tagged mappings as mappings, and says at which line it fails."""
    import yaml

    class Loader(_safe_loader()):  # type: ignore[misc]
        """Raises nothing but YAMLError."""

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                    raise ValueError("a number or date of too many characters")
                return super().construct_object(node, deep)
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
                # A date that is none, `!!int` before what is no number.
                said = f"{quoted(node.value)} is no {node.tag.rpartition(':')[2]}"
                wrong = f"{said} ({first_line(error)})"
                at = node.start_mark
                raise yaml.constructor.ConstructorError(None, None, wrong, at) from None

    for tag in tags:
        Loader.add_constructor(tag, lambda loader, node: loader.construct_mapping(node, deep=True))
    return Loader


_NUMBERS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
