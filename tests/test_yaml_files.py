"""YAML of elsewhere: values as a safe loader reads them, or one clear error, and soon."""

import json
import os
import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flan_jax import yaml_files
from flan_jax.errors import DataError

TAGS = ("!Template", "!TemplateMetadata")


def nested_aliases(levels, of="[{}]"):
    """Each level names the one before it nine times."""
    lines = ["a0: &a0 {x: 1}"]
    for i in range(levels):
        lines.append(f"a{i + 1}: &a{i + 1} " + of.format(", ".join([f"*a{i}"] * 9)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 50_000, "line 1: nested more than 50 deep"),
        ("{a: " * 50_000, "nested more than 50 deep"),
        ("- " * 50_000, "nested more than 50 deep"),
        (nested_aliases(14), "line 7: it stands for more values than are read of such a file"),
        (nested_aliases(14, "{{<<: [{}]}}"), "it stands for more values"),
        (f"a: &x {'z' * 1_000_000}\nb: [{'*x,' * 9}]", "line 2: it stands for more values"),
        ("&a [*a]", r"line 1: the alias \*a is of nothing before it"),
        ("a: 1\nb: {c: 1,\n c: 2}", "line 3: the key 'c' is there twice"),
        ("? [a]\n: b", "line 1: a key is no text"),
        ("? {a: b}\n: b", "a key is no text"),
        ("a: 2001-13-45", "line 1: not YAML: '2001-13-45' is no timestamp"),
        ("a: !!int b", "'b' is no int"),
        (f"a: {'9' * 5000}", "too many characters"),
        (f"a: {'1:' * 100_000}1", "too many characters"),
        ("a: !Template2 b", "line 1: not YAML: .*'!Template2'"),
        ("a: !!python/object/apply:os.system [true]", "python/object"),
        ("a: b: c", "line 1: not YAML: mapping values are not allowed"),
        ("--- a\n--- b", "another document"),
        ("a\0b", "control characters"),
        ("\n".join(f"%TAG !t{i}! x" for i in range(100_000)), "more than 100 directives"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_refused(text, says):
    start = time.monotonic()
    with pytest.raises(DataError, match=f"^f.yaml.*{says}") as caught:
        yaml_files.loads(text, "f.yaml", TAGS)
    assert time.monotonic() - start < 5 and len(str(caught.value)) < 300


def test_aliases_and_tags_within_bounds():
    assert yaml_files.loads(nested_aliases(3), "f.yaml")["a2"][8][8] == {"x": 1}
    text = "a: &x {b: 1}\nc: !Template {<<: *x, d: 2021-01-02}"
    assert yaml_files.loads(text, "f.yaml", TAGS)["c"].keys() == {"b", "d"}
    assert yaml_files.loads("", "f.yaml") is None


def test_real_files_are_what_they_were(shared_data):
    class Loader(yaml.SafeLoader):
        pass

    for tag in TAGS:
        Loader.add_constructor(tag, lambda loader, node: loader.construct_mapping(node, deep=True))
    files = sorted((shared_data / "promptsource").rglob("*.yaml"))
    for path in files:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506
        assert yaml_files.read_yaml(path, TAGS) == found
    assert len(files) == 58
    # The largest published file is below this size.
    many = {f"t{i}": json.loads(json.dumps(found)) for i in range(150)}
    text = yaml.safe_dump(many, sort_keys=False)
    assert len(text) > 400_000 and yaml_files.loads(text, "f.yaml") == many


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (yaml_files.MOST_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    for name, says in [
        ("fifo.yaml", "not a regular file"),
        ("large.yaml", "larger than"),
        ("latin.yaml", "not UTF-8"),
        ("lrage.yaml", "does not exist; did you mean 'large.yaml'"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(DataError, match=says):
            yaml_files.read_yaml(tmp_path / name)


TOKENS = ["- ", "? ", ": ", "!!int ", "!!timestamp ", "!!set ", "!!omap ", "&x ", "*x", "<<: "]
TOKENS += [*"{}[]~,'|>%#", '"', "\n", "\n  ", "a: ", "1:2", "---"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=30).map("".join))
@example("a: &x {b: *x}")
def test_any_text_is_what_a_safe_loader_reads_or_refused(text):
    try:
        found = yaml_files.loads(text, "f.yaml")
    except DataError as error:
        assert str(error).startswith("f.yaml")
        return
    # Not ==, which NaN is not.
    assert repr(found) == repr(yaml.load(text, yaml_files._safe_loader()))
