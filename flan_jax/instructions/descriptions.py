"""What a Python value is and does, as a hash on which all processes agree.

A function is described by its source, by what it is made with (defaults, closed-over values, the
arguments of a functools.partial) and by what it uses: globals, functions, classes and modules of
its own program, and what these use. Functions of libraries count by name and by the library's
version. No address enters a hash, nor the order of a set.

Where a value keeps what cannot be told (a table of TensorFlow's, a generator, random numbers), and
where a function reads files, its description says so instead of guessing.
"""

import contextlib
import copyreg
import dataclasses
import dis
import functools
import hashlib
import inspect
import linecache
import logging
import random
import re
import sys
import threading
import tokenize
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from flan_jax.errors import quoted
from flan_jax.instructions.origins import is_own, library, own_module

# Bump by hand whenever the code below describes the same thing in another way.
FORMAT = 1

# A function that names one of these reads what no description can hold.
_READERS = frozenset([
    "open", "read_text", "read_bytes", "read_file", "GFile", "FastGFile", "listdir", "iterdir",
    "scandir", "glob", "rglob", "iglob", "TextLineDataset", "TFRecordDataset",
    "FixedLengthRecordDataset", "CsvDataset", "make_csv_dataset", "loadtxt", "genfromtxt",
    "read_csv", "read_json", "read_parquet", "read_table", "load_dataset", "load_from_disk",
    "urlopen", "urlretrieve",
])  # fmt: skip
# Parts of a class that say nothing, or that are made of the other parts.
_OF_EVERY_CLASS = frozenset([
    "__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__abstractmethods__",
    "_abc_impl", "__parameters__", "__orig_bases__", "__dataclass_params__", "__match_args__",
    "__static_attributes__", "__firstlineno__", "__qualname__", "__slots__", "__slotnames__",
])  # fmt: skip
# Values that change nothing in what is computed.
_SILENT = (
    logging.Logger, type(threading.Lock()), type(threading.RLock()), threading.local,
    weakref.WeakKeyDictionary, weakref.WeakValueDictionary,
)  # fmt: skip
_RANDOM = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator,
           tf.random.Generator)  # fmt: skip
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
_PLAIN = (type(None), bool, int, float, complex, bytes, type(Ellipsis), type(NotImplemented))
_C_METHODS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType,
              types.ClassMethodDescriptorType, types.MemberDescriptorType)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Description:
    """What describes a value.

    Attributes:
        digest: 16 hex digits; equal wherever the value is and does the same.
        unknown: what about it cannot be known, one phrase each, with where it is.
    """

    digest: str
    unknown: tuple[str, ...] = ()


def describe(value: Any, where: str = "value") -> Description:
    """Returns the description of a value, see the module."""
    walker = Walker()
    walker.add(value, where)
    return walker.description()


class Walker:
    """Goes through values, one after the other, and everything they hold or use."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"%d" % FORMAT)
        # What may hold itself is numbered as it is met, and kept so that ids stay its own.
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []
        self._unknown: dict[str, None] = {}
        # Whether functions that read files are to be named.
        self.names_readers = True

    def description(self) -> Description:
        """Returns the description of all that was added."""
        return Description(self._hash.hexdigest()[:16], tuple(self._unknown))

    def say(self, *words: Any) -> None:
        """Takes words into the hash."""
        for word in words:
            content = (
                word if isinstance(word, bytes) else str(word).encode("utf-8", "backslashreplace")
            )
            self._hash.update(b"%d:" % len(content) + content)

    def cannot_know(self, what: str) -> None:
        """Remembers, once, something that the hash does not hold."""
        self._unknown[what] = None

    def add(self, value: Any, where: str) -> None:
        """Takes a value into the hash.

        Args:
            value: any object.
            where: how somebody would find it, for what is said of it.
        """
        try:
            self._add(value, where)
        except RecursionError:
            self.say("deep")
            self.cannot_know(f"{where} is nested too deeply")

    def _add(self, value: Any, where: str) -> None:
        kind = type(value)
        if kind is str:  # in which somebody may have put the repr of a function
            self.say("str", _ADDRESS.sub("at 0x", value))
        elif kind in _PLAIN:
            self.say(kind.__name__, hex(value) if kind is int else repr(value))
        elif kind is tuple:  # equal ones may or may not be one, so they have no number
            self._items("tuple", value, where)
        elif isinstance(value, set | frozenset):
            self._set(value, where)
        elif isinstance(value, types.ModuleType):
            self.say("module", *library(value.__name__))
        elif isinstance(value, types.CodeType):
            self._bytecode(value, where)
        elif (number := self._numbers.get(id(value))) is not None:
            self.say("again", number)
        else:
            self._numbers[id(value)] = len(self._numbers)
            self._kept.append(value)
            self._add_new(value, where)

    def _add_new(self, value: Any, where: str) -> None:
        """Takes a value that may hold itself."""
        if self.special(value, where):
            return
        if type(value) is list:
            self._items("list", value, where)
        elif type(value) in (dict, types.MappingProxyType):
            self._dict(value, where)
        elif isinstance(value, types.FunctionType):
            self._function(value, where)
        elif isinstance(value, type):
            self._class(value, where)
        elif isinstance(value, functools.partial):
            parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
            self._parts("partial", parts, where)
        elif isinstance(value, types.MethodType):
            self._parts("method", {"": value.__func__, "self": value.__self__}, where)
        elif isinstance(value, staticmethod | classmethod):
            self._parts(type(value).__name__, {"": value.__func__}, where)
        elif isinstance(value, property):
            functions = {"get": value.fget, "set": value.fset, "del": value.fdel}
            self._parts("property", functions, where)
        elif isinstance(value, functools.cached_property):
            self._parts("cached_property", {"": value.func}, where)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            self._builtin(value, where)
        elif isinstance(value, _C_METHODS):
            self.say("descriptor", value.__objclass__.__qualname__, value.__name__)
        elif (inner := _wrapped(value)) is not None:
            self._parts(_name(type(value)), {"": inner}, where)
        else:
            self._object(value, where)

    def special(self, value: Any, where: str) -> bool:
        """Takes a value of a kind that only a subclass knows; returns whether it did."""
        del value, where
        return False

    def _items(self, kind: str, items: Any, where: str) -> None:
        self.say(kind, len(items))
        for number, item in enumerate(items):
            self._add(item, f"{where}[{number}]")

    def _dict(self, items: Mapping[Any, Any], where: str) -> None:
        """In their order, which a function that goes through them depends on."""
        self.say("dict", len(items))
        for key, item in items.items():
            self._add(key, f"a key of {where}")
            self._add(item, f"{where}[{quoted(key, 40)}]")

    def _parts(self, kind: str, parts: Mapping[str, Any], where: str) -> None:
        self.say(kind, len(parts))
        for name, part in parts.items():
            self.say(name)
            self._add(part, f"{where}.{name}" if name else where)

    def _set(self, items: Any, where: str) -> None:
        """Each item by itself: their order differs from process to process."""
        digests = []
        for item in items:
            walker = type(self)()
            walker.names_readers = self.names_readers
            walker._add(item, f"an item of {where}")
            digests.append(walker.description().digest)
            self._unknown |= walker._unknown
        self.say("set", len(digests), *sorted(digests))
        self._add(type(items), where)

    # Functions

    def _function(self, function: types.FunctionType, where: str) -> None:
        where = f"{where} ({function.__name__})"
        code, module = function.__code__, function.__globals__.get("__name__")
        closed = dict(_closed(function))
        if module == "gin.config" and "selector" in closed:
            self._configurable(function, closed["selector"], where)
            return
        own = is_own(module, code.co_filename)
        if own:
            self.say("function")
            self._code(code, where)
        else:
            self.say("library", *library(module), function.__qualname__)
        self._parts("defaults", {"": function.__defaults__}, where)
        self._parts("defaults", {"": function.__kwdefaults__}, where)
        self._parts("closed", closed, where)
        if own:
            self._parts("attributes", dict(sorted(vars(function).items())), where)
            self._used(function, where)

    def _configurable(self, function: Any, selector: str, where: str) -> None:
        """A function that gin gives arguments to: itself, and what they are."""
        import gin

        self._parts("gin", {"": function.__wrapped__}, where)
        try:
            self._parts("bound", dict(sorted(gin.get_bindings(selector).items())), where)
        except Exception:  # of whatever a reference calls
            self.cannot_know(f"{where} has bindings in gin that cannot be resolved")

    def _code(self, code: types.CodeType, where: str) -> None:
        """By the source where that is what runs: bytecode differs from one Python to the next."""
        linecache.checkcache(code.co_filename)
        lines = linecache.getlines(code.co_filename)
        same = [one for one in _codes("".join(lines), code.co_filename)
                if one.co_firstlineno == code.co_firstlineno]  # fmt: skip
        if code not in same:
            self._bytecode(code, where)
            return
        # Several lambdas may stand in one line.
        self.say("source", same.index(code), *_block(lines[code.co_firstlineno - 1 :]))

    def _bytecode(self, code: types.CodeType, where: str) -> None:
        self.say("bytecode", *sys.version_info[:2], code.co_code, code.co_flags, code.co_argcount)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._items("code", (code.co_consts, *names), where)

    def _used(self, function: types.FunctionType, where: str) -> None:
        """Takes what a function finds by name, in its own module and in others of its program."""
        names, imported, attributes = _names(function.__code__)
        if self.names_readers and (readers := sorted(_READERS & (names | attributes))):
            self.cannot_know(f"{where} reads files, by {readers[0]!r}")
        for name in sorted(names):
            if name in function.__globals__:
                self.say("global", name)
                self._named(function.__globals__[name], attributes, f"{where}: {name}")
        package = function.__globals__.get("__package__") or ""
        for name in sorted(imported):
            self.say("import", name)
            if (module := own_module(name, package)) is not None:
                self._named(module, attributes, f"{where}: {name}")
            else:
                self.say(*library(name))

    def _named(self, value: Any, attributes: frozenset[str], where: str) -> None:
        """Takes a global; of a module of the same program what is asked of it."""
        if not isinstance(value, types.ModuleType) or not is_own(value.__name__):
            self._add(value, where)
            return
        self.say("module", value.__name__)
        for name in sorted(attributes & vars(value).keys()):
            inner = vars(value)[name]
            self.say("attribute", name)
            if isinstance(inner, types.ModuleType) and inner.__name__.startswith(value.__name__):
                self._named(inner, attributes, f"{where}.{name}")
            else:
                self._add(inner, f"{where}.{name}")

    def _builtin(self, value: Any, where: str) -> None:
        """A function written in C; one that is bound to an object does what that makes it do."""
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            self.say("library", *library(value.__module__), value.__qualname__)
        else:
            self._parts("bound", {value.__name__: owner}, where)

    # Classes and objects

    def _class(self, cls: type, where: str) -> None:
        if not is_own(cls.__module__):
            self.say("library", *library(cls.__module__), cls.__qualname__)
            return
        self.say("class", cls.__qualname__)
        self._items("bases", (type(cls), *cls.__bases__), where)
        for name, value in sorted(vars(cls).items()):
            if name == "__dataclass_fields__":
                for field in value.values():
                    self.say(field.name, field.init, field.kw_only)
                    self._items("field", (field.default, field.default_factory), where)
            elif name not in _OF_EVERY_CLASS and not _is_generated(cls, value):
                self.say(name)
                self._add(value, f"{where}.{name}")

    def _object(self, value: Any, where: str) -> None:
        """By what it takes to make an equal one."""
        kind = type(value)
        # The module of a script has another name where it is imported.
        self.say("object", kind.__qualname__ if is_own(kind.__module__) else _name(kind))
        if isinstance(value, _SILENT):
            return
        if isinstance(value, _RANDOM):
            self.cannot_know(f"{where} draws random numbers ({_name(kind)})")
        elif (array := _array(value)) is not None:
            self._parts("array", {"dtype": array.dtype.str, "shape": array.shape}, where)
            self._add(array.tolist() if array.dtype.hasobject else array.tobytes(), where)
        elif isinstance(value, tf.RaggedTensor | tf.SparseTensor):
            self._items("parts", tf.nest.flatten(value, expand_composites=True), where)
        elif isinstance(value, tf.__internal__.tracking.Trackable):  # tables, layers, datasets
            self.cannot_know(f"{where} is a {_name(kind)}")
        else:
            self._reduced(value, where)

    def _reduced(self, value: Any, where: str) -> None:
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # whatever a library says of what it cannot pickle
            self.cannot_know(f"{where} is a {_name(type(value))}")
            return
        if isinstance(reduced, str):
            self.say("named", *library(type(value).__module__), reduced)
            return
        make, arguments, state, *more = (*reduced, None, None, None)[:5]
        lazy = _lazy(type(value))
        if type(state) is dict:
            # By name: some attributes are set later than others.
            state = {name: state[name] for name in sorted(state, key=str) if name not in lazy}
            parts = {str(name): part for name, part in state.items()}
            self._parts("state", parts, where)
            state = None
        lists = [None if items is None else list(items) for items in more]
        self._parts("made", {"by": make, "of": arguments, "state": state}, where)
        self._parts("made", {"items": lists}, where)


def _closed(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yields the variables that a function closes over."""
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # an empty one
            yield name, cell.cell_contents


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _wrapped(value: Any) -> Any:
    """Returns the function in a wrapper that is no function itself, None for anything else."""
    if isinstance(value, functools._lru_cache_wrapper):
        return value.__wrapped__
    compiled = hasattr(value, "get_concrete_function")
    return getattr(value, "python_function", None) if compiled else None


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if isinstance(value, tf.Tensor | tf.Variable):
        with contextlib.suppress(Exception):  # one of a graph has no value
            return np.asarray(value.numpy())
    return None


def _lazy(kind: type) -> set[str]:
    """Attributes that hold what was computed when it was first asked for."""
    found = (vars(base).items() for base in kind.__mro__)
    cached = functools.cached_property
    return {name for items in found for name, value in items if isinstance(value, cached)}


def _is_generated(cls: type, value: Any) -> bool:
    """Whether a method was written by dataclasses or collections, from what is described anyway."""
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    made = hasattr(cls, "__dataclass_fields__") or hasattr(cls, "_fields")
    return made and code is not None and code.co_filename == "<string>"


def _block(lines: list[str]) -> list[str]:
    """Returns the lines of the function that begins with the first one."""
    try:
        return inspect.getblock(lines)
    except (SyntaxError, tokenize.TokenError):  # a part of an expression
        return lines[:1]


@functools.lru_cache(maxsize=64)
def _codes(text: str, filename: str) -> tuple[types.CodeType, ...]:
    """Returns all code objects that a file is compiled to, in order."""
    try:
        return tuple(_within(compile(text, filename, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return ()


def _within(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _within(constant)


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Returns the globals, the modules and the attributes that code names, inner code included."""
    names, imported, attributes = set(), set(), set()
    for one in (code, *_within(code)):
        instructions = list(dis.get_instructions(one))
        for place, step in enumerate(instructions):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                names.add(step.argval)
            elif step.opname == "IMPORT_NAME":
                level = instructions[place - 2].argval
                imported.add("." * (level if isinstance(level, int) else 0) + step.argval)
            elif step.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")):
                attributes.add(step.argval)
    return frozenset(names), frozenset(imported), frozenset(attributes)
