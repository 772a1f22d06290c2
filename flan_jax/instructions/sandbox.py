"""Prompt templates of others, run in Jinja's sandbox with bounds on time, memory and output.

Jinja's sandbox keeps a template from Python's internals; it does not keep it from running for
hours or from filling memory. So a template is refused when it is read where it uses a statement,
filter, function or method that is none of those below, and a rendering stops where it has done
more than `MOST_WORK`: each turn of a loop, each call, and each character and item of a value that
is made count. Macros, includes and recursive loops are none of them, so nothing else repeats.

Templates get a copy of their row for each rendering, so they may append to lists, as templates of
promptsource do; all else of Jinja's sandbox for immutable data holds. What promptsource draws
unseeded (`choice`, `random`) is drawn from the rendering's own choices. A name that is not in the
row, or a key that is not in an object, is an error and not an empty text; a position that a list
does not have is empty, since rows differ in length.
"""

import collections
import copy
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import filters as jinja_filters
from jinja2 import meta, nodes, sandbox
from jinja2.runtime import Context, Undefined, missing
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from flan_jax.errors import DataError, did_you_mean, first_line, quoted
from flan_jax.instructions.draws import Draws

# Characters and items of one value, and of all values, turns and calls of a rendering.
MOST_SIZE = 1 << 22
MOST_WORK = 1 << 23
# Characters of a template, and of what each expression puts into a prompt: as in promptsource.
MOST_TEMPLATE = 1 << 16
TRUNCATED = 2048
_MOST_RANGE = 10_000
_MOST_DIGITS = 20
_MOST_BITS = 1024
_STATE = "rendering\0"  # no template can name it
_TURNS, _MADE = "turns\0", "made\0"

_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "first", "float", "int", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select",
    "selectattr", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper",
    "wordcount",
)  # fmt: skip
_FUNCTIONS = ("range", "zip", "namespace")
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        ["capitalize", "count", "endswith", "find", "index", "isdigit", "join", "lower", "lstrip",
         "replace", "rfind", "rstrip", "split", "splitlines", "startswith", "strip", "title",
         "upper"]
    ),
    list: frozenset(["append", "count", "extend", "index", "insert", "pop"]),
    dict: frozenset(["get", "items", "keys", "pop", "update", "values"]),
}  # fmt: skip
_NAMED = frozenset(name for names in _METHODS.values() for name in names)
_STATEMENTS = (
    nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.ExprStmt, nodes.With,
    nodes.FilterBlock,
)  # fmt: skip
_PRINTED: tuple[type, ...] = (str, int, float, bool, list, tuple, dict, type(None), type({}.keys()),
            type({}.values()), type({}.items()))  # fmt: skip


class _Absent(Undefined):
    """What is not there: an error where it was asked for by a name, else empty."""

    __slots__ = ()

    def _named(self) -> bool:
        return self._undefined_obj is missing or isinstance(self._undefined_obj, Mapping)

    def _empty(self, value: Any) -> Any:
        if self._named():
            self._fail_with_undefined_error()
        return value

    def __str__(self) -> str:
        return str(self._empty(""))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._empty(()))

    def __len__(self) -> int:
        return int(self._empty(0))

    def __bool__(self) -> bool:
        return bool(self._empty(False))

    def __eq__(self, other: object) -> bool:
        return bool(self._empty(isinstance(other, Undefined)))

    def __hash__(self) -> int:
        return id(type(self))


class _Rendering:
    """One rendering: what it may still do, and what it draws."""

    def __init__(self, draws: Draws):
        self._draws, self._left, self._drawn = draws, MOST_WORK, 0

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise DataError("does more than a template may")

    def made(self, value: Any) -> Any:
        """Returns a value that was made, once its size is known to be allowed."""
        self.spend(_size(value))
        return value

    def draw(self, items: Sequence[Any]) -> Any:
        self._drawn += 1
        return self._draws.choice(f"jinja/{self._drawn}", items)


def _size(value: Any) -> int:
    """Returns the characters and items of a value.

    Raises:
        DataError: they are more than `MOST_SIZE`; then not all of them are counted.
    """
    total, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        total += len(one) if isinstance(one, str) else 1
        if isinstance(one, list | tuple):
            total += len(one)
            waiting += one if total <= MOST_SIZE else ()
        elif isinstance(one, dict):
            total += 2 * len(one)
            waiting += [*one, *one.values()] if total <= MOST_SIZE else ()
        elif isinstance(one, int) and one.bit_length() > _MOST_BITS:
            raise DataError("makes a number of too many digits")
        if total > MOST_SIZE:
            raise DataError(f"makes a value of more than {MOST_SIZE:,} characters and items")
    return total


def _rendering(context: Context) -> _Rendering:
    found = context.parent.get(_STATE)
    if not isinstance(found, _Rendering):
        raise nodes.Impossible
    return found


@pass_context
def _turns(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    """The items of a loop, each of which costs something."""
    rendering = _rendering(context)
    for item in items:
        rendering.spend(8)
        yield item


@pass_context
def _made(context: Context, value: Any) -> Any:
    return _rendering(context).made(value)


@pass_context
def _choice(context: Context, items: Any) -> Any:
    """One of the items, drawn by the example's id."""
    found = list(items)
    return _rendering(context).draw(found) if found else context.environment.undefined(obj=found)


def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    text, old, new = str(text), str(old), str(new)
    if len(text) + text.count(old) * len(new) > MOST_SIZE:
        raise DataError(f"makes a value of more than {MOST_SIZE:,} characters and items")
    return text.replace(old, new, -1 if count is None else count)


@jinja_filters.pass_environment
def _join(environment: Any, items: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        items = map(jinja_filters.make_attrgetter(environment, attribute), items)
    texts, separator = [str(item) for item in items], str(d)
    if sum(map(len, texts)) + len(separator) * len(texts) > MOST_SIZE:
        raise DataError(f"makes a value of more than {MOST_SIZE:,} characters and items")
    return separator.join(texts)


def _round(value: Any, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > _MOST_DIGITS:
        raise DataError("rounds to too many digits")
    return jinja_filters.do_round(value, precision, method)  # type: ignore[arg-type]


def _format(text: Any, *values: Any) -> str:
    if re.search(r"[0-9]{3}|\*", str(text)):
        raise DataError("formats to too many characters")
    return str(text) % values


def _most_frequent(items: Any) -> list[Any] | None:
    """The items that are there most often, in the order in which they come; promptsource's."""
    counts = collections.Counter(items)
    most = max(counts.values(), default=0)
    return [item for item, count in counts.items() if count == most] or None


def _range(*bounds: Any) -> range:
    found = range(*bounds)
    if len(found) > _MOST_RANGE:
        raise DataError(f"counts further than {_MOST_RANGE:,}")
    return found


class _Bounded(NodeTransformer):
    """Refuses what no prompt needs, and lets what makes values or repeats be counted."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, nodes.Stmt) and not isinstance(node, _STATEMENTS):
            raise DataError(f"line {node.lineno}: {type(node).__name__.lower()} is not allowed")
        visited = super().generic_visit(node, *args, **kwargs)
        made = isinstance(node, nodes.Concat | nodes.List | nodes.Dict | nodes.Call)
        if isinstance(node, nodes.Getitem):
            made = isinstance(node.arg, nodes.Slice)
        return _filtered(_MADE, visited) if made else visited

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        visited = super().generic_visit(node)
        return visited if node.ctx == "store" else _filtered(_MADE, visited)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise DataError(f"line {node.lineno}: a recursive loop is not allowed")
        visited = super().generic_visit(node)
        assert isinstance(visited, nodes.For)
        visited.iter = _filtered(_TURNS, visited.iter)
        return visited

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name not in _allowed_filters():
            hint = did_you_mean(node.name, _allowed_filters())
            raise DataError(f"line {node.lineno}: no filter {quoted(node.name)}{hint}")
        visited = super().generic_visit(node)
        assert isinstance(visited, nodes.Filter)
        if visited.node is not None:
            visited.node = _filtered(_MADE, visited.node)
        return _filtered(_MADE, visited)

    def visit_Operand(self, node: nodes.Operand) -> nodes.Node:
        visited = super().generic_visit(node)
        assert isinstance(visited, nodes.Operand)
        if node.op in ("in", "notin"):  # which looks through all of it
            visited.expr = _filtered(_MADE, visited.expr)
        return visited

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        called = node.node
        name = called.attr if isinstance(called, nodes.Getattr) else None
        if name is not None and name not in _NAMED:
            raise DataError(f"line {node.lineno}: no method {quoted(name)}")
        if isinstance(called, nodes.Name) and called.name not in _FUNCTIONS:
            hint = did_you_mean(called.name, _FUNCTIONS)
            raise DataError(f"line {node.lineno}: no function {quoted(called.name)}{hint}")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise DataError(f"line {node.lineno}: arguments are written out")
        return self.generic_visit(node)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        if node.attr.startswith("_"):
            raise DataError(f"line {node.lineno}: no attribute {quoted(node.attr)}")
        return super().generic_visit(node)


def _filtered(name: str, node: Any) -> Any:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@functools.cache
def _allowed_filters() -> frozenset[str]:
    own = ("choice", "format", "join", "most_frequent", "random", "replace", "round")
    return frozenset([*_FILTERS, *own])


class _Environment(sandbox.ImmutableSandboxedEnvironment):
    """See the module."""

    intercepted_binops = frozenset(["+", "*", "%", "**", "//", "/", "-"])

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may see an attribute."""
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        return bool(super().is_safe_attribute(obj, attr, value))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Refuses what Jinja would make an undefined value of."""
        raise DataError(f"reaches for {quoted(attribute)} of a {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes what cannot grow without bounds."""
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise DataError(f"{operator!r} is not allowed" + " of texts" * (operator == "%"))
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                repeats = isinstance(text, str | list | tuple) and isinstance(times, int)
                if repeats and _size(text) * max(times, 0) > MOST_SIZE:
                    raise DataError("repeats a value too often")
        return _rendering(context).made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a function or a method of those that are allowed."""
        rendering, owner = _rendering(context), getattr(obj, "__self__", None)
        name = getattr(obj, "__name__", "")
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        methods = next((n for kind, n in _METHODS.items() if isinstance(owner, kind)), ())
        if obj not in (_range, zip, Namespace) and name not in methods:
            raise DataError(f"calls {quoted(name or type(obj).__name__)}")
        if methods:
            rendering.made(owner)
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args)
        if isinstance(owner, str) and name == "join":
            return _join(self, args[0] if args else (), owner)
        made = super().call(context, obj, *args, **kwargs)
        if isinstance(owner, list | dict):  # it may have grown
            rendering.made(owner)
        return made


def _environment(truncate: bool) -> _Environment:
    @pass_context
    def finalize(context: Context, value: Any) -> str:
        if not isinstance(value, (*_PRINTED, Undefined)):
            raise DataError(f"writes a {type(value).__name__}, which is no text")
        text = str(_rendering(context).made(value))
        return jinja_filters.do_truncate(context.environment, text, TRUNCATED) if truncate else text

    made = _Environment(undefined=_Absent, finalize=finalize)
    own = {
        "choice": _choice, "format": _format, "join": _join, "most_frequent": _most_frequent,
        "random": _choice, "replace": _replace, "round": _round, _TURNS: _turns, _MADE: _made,
    }  # fmt: skip
    made.filters = {name: made.filters[name] for name in _FILTERS} | own
    made.globals = {"range": _range, "zip": zip, "namespace": Namespace}
    return made


_environments = functools.cache(_environment)


@functools.lru_cache(maxsize=4096)
def _compiled(text: str, truncate: bool) -> jinja2.Template:
    """Returns a template.

    Raises:
        DataError: it is none, or uses what is not allowed.
    """
    if len(text) > MOST_TEMPLATE:
        raise DataError(f"longer than {MOST_TEMPLATE:,} characters")
    environment = _environments(truncate)
    try:
        tree = _Bounded().visit(environment.parse(text))
        code = environment.compile(tree)
        return jinja2.Template.from_code(environment, code, environment.make_globals(None))
    except jinja2.TemplateSyntaxError as error:
        raise DataError(f"line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise DataError("nested too deeply") from None


def check(text: str) -> None:
    """Refuses a template that is none, or that uses what no prompt needs.

    Raises:
        DataError: says the line.
    """
    _compiled(text, False)


def render(text: str, row: Mapping[str, Any], draws: Draws, *, truncate: bool = False) -> str:
    """Returns what a template makes of a row.

    Args:
        text: the template.
        row: its fields, texts, numbers, lists and objects; templates change a copy.
        draws: choices of this rendering.
        truncate: cut what each expression writes to `TRUNCATED` characters, at a word.

    Raises:
        DataError: it cannot be run on this row, or does more than it may.
    """
    template = _compiled(text, truncate)
    pieces: list[str] = []
    length = 0
    try:
        for piece in template.generate({**copy.deepcopy(dict(row)), _STATE: _Rendering(draws)}):
            pieces.append(piece)
            length += len(piece)
            if length > MOST_SIZE:
                raise DataError(f"writes more than {MOST_SIZE:,} characters")
    except DataError:
        raise
    except Exception as error:  # of a template that is somebody else's, anything
        raise DataError(first_line(error)) from None
    return "".join(pieces)


@functools.lru_cache(maxsize=4096)
def reads(text: str) -> frozenset[str]:
    """Returns the names of a row that a template asks for.

    Raises:
        DataError: see `check`.
    """
    check(text)
    found = meta.find_undeclared_variables(_environments(False).parse(text))
    return frozenset(found) - frozenset(_FUNCTIONS)
