"""What a value does: the same in every process, and another when any part of it changes."""

import functools
import importlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading

import gin
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.instructions.descriptions import describe

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A user's own program: two modules, and in the first a dictionary of what is described.
HELPERS = '''
import re

TABLE = {"a": 1}
PATTERN = re.compile("[a-z]+")

def deep(text):
    return text.lower()

def clean(text):
    """Uses another one."""
    return deep(text).strip()

class Base:
    mark = "!"

    def __call__(self, text):
        return text + self.mark

def unused(text):
    return text
'''
LAZY = """
SUFFIX = "lazy"

def late(text):
    return text + SUFFIX
"""
PROGRAM = """
import collections
import dataclasses
import enum
import functools
import logging
import pathlib
import re
import threading

import numpy as np
import seqio
import tensorflow as tf

import helpers
from helpers import clean as tidy

LIMIT = 10
WORDS = frozenset(["one", "two", "three", "four"])
LOG = logging.getLogger(__name__)
LOCK = threading.Lock()

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

Pair = collections.namedtuple("Pair", ["left", "right"], defaults=["r"])

@dataclasses.dataclass
class Setting:
    name: str = "setting"
    parts: list = dataclasses.field(default_factory=lambda: [1, 2])

    def call(self, text):
        return text + self.name

class Child(helpers.Base):
    limit = 3

    def __init__(self, words):
        self.words = words
        self.lock = threading.Lock()

    @property
    def first(self):
        return self.words[0]

    @functools.cached_property
    def last(self):
        return self.words[-1]

    @staticmethod
    def still(text):
        return text + "still"

    def method(self, text):
        return text + self.first + self.last

class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a = 1

def plain(text):
    return text[:5]

def constant(text):
    return text[:LIMIT] + ("x" if text in WORDS else "")

def by_name(text):
    return tidy(text)

def by_module(text):
    return helpers.clean(text)

def by_pattern(text):
    return helpers.PATTERN.sub("", text)

def by_import(text):
    from lazy import late
    return late(text)

def inner(text):
    def again(other):
        return other + tidy(text)
    return [again(word) for word in text]

def defaults(text, mark="d", *, more=("m",)):
    return text + mark

def logs(text):
    with LOCK:
        LOG.info(text)
    return text

def recursive(text):
    return recursive(text[1:]) if text else other_half(text)

def other_half(text):
    return recursive(text) + "half"

def made(table):
    def of(text):
        return table.get(text)
    return of

def apply(dataset, fn):
    return dataset.map(fn)

def decorated(function):
    @functools.wraps(function)
    def wrapper(text):
        return function(text) + "wrapped"
    return wrapper

@decorated
def in_a_wrapper(text):
    return text + "inside"

@functools.lru_cache
def cached(text):
    return text + "cached"

@seqio.map_over_dataset
def mapped(example):
    return {**example, "mark": "mapped"}

@tf.function
def compiled(text):
    return text + "compiled"

LAMBDAS = [lambda text: text + "one", lambda text: text + "two"]

VALUES = {
    "plain": plain,
    "constant": constant,
    "by_name": by_name,
    "by_module": by_module,
    "by_pattern": by_pattern,
    "by_import": by_import,
    "inner": inner,
    "defaults": defaults,
    "logs": logs,
    "recursive": recursive,
    "closure": made({"key": "value"}),
    "closure of a function": made({"get": tidy}),
    "partial": functools.partial(apply, fn=plain),
    "partial of partial": functools.partial(functools.partial(apply, fn=[tidy]), {"k": plain}),
    "wrapped": in_a_wrapper,
    "cached": cached,
    "mapped": mapped,
    "compiled": compiled,
    "first lambda": LAMBDAS[0],
    "second lambda": LAMBDAS[1],
    "class": Child,
    "object": Child(["w1", "w2"]),
    "method": Child(["w1"]).method,
    "static": Child.still,
    "slotted": Slotted(),
    "setting": Setting(),
    "setting's method": Setting("own").call,
    "pair": Pair("l"),
    "colour": Colour.RED,
    "array": np.arange(3),
    "array of objects": np.array([plain, "x"], object),
    "tensor": tf.constant([1.5, 2.5]),
    "ragged": tf.ragged.constant([[1], [2, 3]]),
    "dtype": tf.string,
    "features": {"x": tf.io.FixedLenFeature([], tf.int64, default_value=0)},
    "pattern": re.compile("x+", re.IGNORECASE),
    "bound in C": re.compile("y+").sub,
    "bound to a text": "text".join,
    "C": str.lower,
    "builtin": len,
    "library": seqio.preprocessors.tokenize,
    "path": pathlib.Path("a/b"),
    "set": {"a", "b", "c", ("d", frozenset("ef"))},
    "set of functions": {plain, tidy},
    "dict": {plain: {"x": (tidy, 1.5, None)}},
    "counter": collections.Counter("abca"),
    "ordered": collections.OrderedDict(a=1),
    "own words": collections.defaultdict(list, {"a": [1]}),
}
VALUES["itself"] = VALUES["cycle"] = [1, VALUES["plain"]]
VALUES["cycle"].append(VALUES["cycle"])
"""
FILES = {"helpers.py": HELPERS, "program.py": PROGRAM, "lazy.py": LAZY}
# Describes the values of the program in the working directory, and data beside it.
SCRIPT = """
import ast, json, pathlib
from flan_jax.instructions.descriptions import describe
import program
found = {name: describe(value) for name, value in program.VALUES.items()}
named = {name: [one.digest, one.unknown] for name, one in found.items()}
data = ast.literal_eval(pathlib.Path("data").read_text())
print(json.dumps([named, [describe(value).digest for value in data]]))
"""


def write(folder, **changes):
    """Writes the program, with one text of a file replaced by another."""
    folder.mkdir()
    for name, text in FILES.items():
        for old, new in changes.get(name.removesuffix(".py"), ()):
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder


def load(folder, monkeypatch):
    """Imports the program of a folder, in this process, and describes its values."""
    monkeypatch.syspath_prepend(str(folder))
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)
    importlib.invalidate_caches()
    values = importlib.import_module("program").VALUES
    return {name: describe(value) for name, value in values.items()}


@pytest.fixture(autouse=True)
def no_program():
    yield
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def in_a_fresh_process(folder, seed):
    env = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": f"{folder}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env=env, capture_output=True, timeout=150
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout)


def random_data(rng, depth=4):
    """The text of nested sets and dictionaries, whose order is each process's own."""
    kind = rng.choice(["set", "dict", "list", "atom"]) if depth else "atom"
    if kind == "set":
        return "{" + ", ".join(f"{rng.random()}, {str(rng.random())!r}" for _ in range(5)) + "}"
    if kind == "dict":
        pairs = (f"{str(rng.random())!r}: {random_data(rng, depth - 1)}" for _ in range(2))
        return "{" + ", ".join(pairs) + "}"
    if kind == "list":
        return "[" + ", ".join(random_data(rng, depth - 1) for _ in range(4)) + "]"
    return repr(rng.choice([rng.random(), str(rng.random()), rng.getrandbits(80), None]))


def test_processes_agree_on_what_every_value_is(tmp_path, monkeypatch):
    folder = write(tmp_path / "program")
    rng = random.Random(0)
    (folder / "data").write_text(f"[{', '.join(random_data(rng) for _ in range(100))}]")
    first, second = (in_a_fresh_process(folder, seed) for seed in (1, 2))
    assert first == second
    named, data = first
    assert len(set(data)) > 50
    assert {name: one.digest for name, one in load(folder, monkeypatch).items()} == {
        name: digest for name, (digest, _) in named.items()
    }
    assert [name for name, (_, unknown) in named.items() if unknown] == []
    # All are told apart, but for two names of one.
    assert len({digest for digest, _ in named.values()}) == len(named) - 1


def test_where_the_program_lies_and_what_it_does_not_use_changes_nothing(tmp_path, monkeypatch):
    before = load(write(tmp_path / "one"), monkeypatch)
    changes = {"helpers": [("return text\n", "return text * 2\n")]}
    assert load(write(tmp_path / "two", **changes), monkeypatch) == before


# What changes, and the values that it changes.
CHANGES = [
    ("program", "text[:5]", "text[:6]", "plain"),
    ("program", "LIMIT = 10", "LIMIT = 11", "constant"),
    ("program", '"two", "three"', '"two", "thrice"', "constant"),
    ("helpers", "deep(text).strip()", "deep(text).rstrip()", "by_name/by_module/inner"),
    ("helpers", "text.lower()", "text.upper()", "by_name/by_module/inner"),
    ("helpers", '"[a-z]+"', '"[a-y]+"', "by_pattern"),
    ("lazy", '"lazy"', '"lazier"', "by_import"),
    ("lazy", "text + SUFFIX", "SUFFIX + text", "by_import"),
    ("program", "other + tidy(text)", "tidy(text) + other", "inner"),
    ("program", 'mark="d"', 'mark="e"', "defaults"),
    ("program", 'more=("m",)', 'more=("n",)', "defaults"),
    ("program", '"half"', '"whole"', "recursive"),
    ("program", '{"key": "value"}', '{"key": "values"}', "closure"),
    ("program", '{"get": tidy}', '{"get": plain}', "closure of a function"),
    ("program", "(apply, fn=plain)", "(apply, fn=tidy)", "partial"),
    ("program", "dataset.map(fn)", "dataset.map(fn).take(1)", "partial"),
    ("program", "fn=[tidy]", "fn=[tidy, tidy]", "partial of partial"),
    ("program", '{"k": plain}', '{"k": tidy}', "partial of partial"),
    ("program", '+ "inside"', '+ "outside"', "wrapped"),
    ("program", '+ "wrapped"', '+ "packed"', "wrapped"),
    ("program", '+ "cached"', '+ "kept"', "cached"),
    ("program", '"mapped"}', '"drawn"}', "mapped"),
    ("program", '+ "compiled"', '+ "built"', "compiled"),
    ("program", '+ "one"', '+ "uno"', "first lambda"),
    ("program", '+ "two"]', '+ "duo"]', "second lambda"),
    ("program", "limit = 3", "limit = 4", "class/object/method"),
    ("helpers", 'mark = "!"', 'mark = "?"', "class/object/method"),
    ("program", "self.words[-1]", "self.words[-2]", "class/object/method"),
    ("program", "self.words[0]", "self.words[1]", "class/object/method"),
    ("program", '["w1", "w2"]', '["w1", "w3"]', "object"),
    ("program", '+ "still"', '+ "calm"', "static/class"),
    ("program", "self.a = 1", "self.a = 2", "slotted"),
    ("program", 'name: str = "setting"', 'name: str = "other"', "setting"),
    ("program", "[1, 2])", "[1, 3])", "setting"),
    ("program", 'Setting("own")', 'Setting("owner")', "setting's method"),
    ("program", 'Pair("l")', 'Pair("l", "q")', "pair"),
    ("program", "Colour.RED,", "Colour.BLUE,", "colour"),
    ("program", 'RED = "red"', 'RED = "dark"', "colour"),
    ("program", "np.arange(3)", "np.arange(3.0)", "array"),
    ("program", '[plain, "x"]', '[tidy, "x"]', "array of objects"),
    ("program", "[1.5, 2.5]", "[1.5, 2.6]", "tensor"),
    ("program", "[[1], [2, 3]]", "[[1, 2], [3]]", "ragged"),
    ("program", "tf.string", "tf.int64", "dtype"),
    ("program", "default_value=0", "default_value=1", "features"),
    ("program", '"x+", re.IGNORECASE', '"x+"', "pattern"),
    ("program", '"y+"', '"z+"', "bound in C"),
    ("program", '"text".join', '"tent".join', "bound to a text"),
    ("program", 'frozenset("ef")', 'frozenset("eg")', "set"),
    ("program", "{plain, tidy}", "{plain, inner}", "set of functions"),
    ("program", "(tidy, 1.5, None)", "(tidy, 1.5, False)", "dict"),
    ("program", "(tidy, 1.5, None)", "(plain, 1.5, None)", "dict"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return load(write(tmp_path_factory.mktemp("base") / "program"), patch)


@pytest.mark.parametrize("file, old, new, names", CHANGES)
def test_a_change_is_seen_in_whatever_uses_it(file, old, new, names, base, tmp_path, monkeypatch):
    after = load(write(tmp_path / "program", **{file: [(old, new)]}), monkeypatch)
    changed = {name for name in base if base[name].digest != after[name].digest}
    assert changed >= set(names.split("/"))
    assert "builtin" not in changed and "library" not in changed and len(changed) < 20


def test_what_runs_is_described_and_not_what_the_file_says_by_now(tmp_path, monkeypatch):
    folder = write(tmp_path / "program")
    before = load(folder, monkeypatch)
    plain = sys.modules["program"].plain
    text = (folder / "program.py").read_text()
    (folder / "program.py").write_text(text.replace("text[:5]", "text[:6]"))
    edited = describe(plain)
    assert edited == describe(plain)
    after = load(folder, monkeypatch)["plain"]
    assert len({before["plain"].digest, edited.digest, after.digest}) == 3


def test_what_is_used_stays_what_it_was(tmp_path, monkeypatch):
    before = load(write(tmp_path / "program"), monkeypatch)
    values = sys.modules["program"].VALUES
    dataset = tf.data.Dataset.from_tensor_slices({"a": [1]})
    assert len(list(values["mapped"](dataset))) == 1
    assert values["object"].last == "w2" and values["cached"]("x") == "xcached"
    values["compiled"](tf.constant("x"))
    values["by_import"]("x")
    assert {name: describe(value) for name, value in values.items()} == before


def test_what_gin_binds_is_part_of_a_function():
    @gin.configurable("bound_by_a_test")
    def mark(text, sign="x"):
        return text + sign

    @gin.configurable("made_by_a_test")
    class Mark:
        def __init__(self, sign="x"):
            self.sign = sign

    before = describe([mark, Mark])
    for binding in ("bound_by_a_test.sign", "made_by_a_test.sign"):
        try:
            gin.bind_parameter(binding, "y")
            assert describe([mark, Mark]) != before and describe([mark, Mark]).unknown == ()
        finally:
            gin.clear_config()
    assert describe([mark, Mark]) == before


def test_no_text_brings_an_address_along():
    assert (
        describe(f"{object()!r}") == describe(f"{object()!r}") == describe("<object object at 0xa>")
    )
    assert describe("at 0") != describe("at 1")


# What no description can hold is said, and where it is


class Opaque:
    """Pickles to nothing that says what it is."""

    def __reduce__(self):
        raise TypeError("cannot pickle")

    def __call__(self, text):
        return text


def reads(text):
    return pathlib.Path("words.txt").read_text() + text


def reads_by_another(text):
    return reads(text)


TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1])), 0
)


def looks_up(text):
    return TABLE.lookup(text)


OPAQUE = {
    "object": (Opaque(), r"value is a \S*Opaque"),
    "argument": (
        functools.partial(reads_by_another, fn=[{"k": Opaque()}]),
        r"value\.keywords\['fn'\]\[0\]\['k'\] is a \S*Opaque",
    ),
    "generator": ((i for i in [1]), "value is a builtins.generator"),
    "file": (open(os.devnull), r"value is a _io\.TextIOWrapper"),  # noqa: SIM115
    "random numbers": (random.Random(0).random, "draws random numbers"),
    "numpy's": (np.random.default_rng(), "draws random numbers"),
    "table": (looks_up, r"value \(looks_up\): TABLE is a \S*StaticHashTable"),
    "dataset": (tf.data.Dataset.range(3), r"value is a \S*RangeDataset"),
    "files": (reads_by_another, r"\(reads_by_another\): reads \(reads\) reads files"),
    "in a set": ({Opaque(), 1}, "an item of value is a"),
    "deep": (functools.reduce(lambda inner, _: [inner], range(5000), []), "nested too deeply"),
}


@pytest.mark.parametrize("kind", OPAQUE)
def test_what_cannot_be_described_is_named(kind):
    value, said = OPAQUE[kind]
    found = describe(value)
    assert re.search(said, "; ".join(found.unknown))
    assert found == describe(value)
    assert " at 0x" not in str(found)


def test_locks_and_loggers_change_nothing():
    assert describe([threading.Lock(), threading.RLock()]).unknown == ()


# Data of any shape

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.sampled_from([len, str.lower, describe, tf.string])
)  # fmt: skip
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=5
)
DATA = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=10,
)


def canonical(value):
    """A text of a value that tells it from all that are not the same."""
    if isinstance(value, frozenset):
        return f"set({sorted(map(canonical, value))})"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({[canonical(item) for item in value]})"
    if isinstance(value, dict):
        return f"dict({[(canonical(key), canonical(item)) for key, item in value.items()]})"
    return f"{type(value).__name__}({value!r})"


@settings(deadline=None)
@given(DATA, DATA)
def test_data_that_differs_is_described_differently(one, other):
    same = canonical(one) == canonical(other)
    assert (describe(one).digest == describe(other).digest) == same
    assert describe([one, 1]).digest != describe([one, 2]).digest
