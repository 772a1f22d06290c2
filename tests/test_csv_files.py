"""CSV of elsewhere: rows, or one clear error with file and line."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flan_jax.csv_files import read_csv
from flan_jax.errors import DataError


def rows(tmp_path, content, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.where.rpartition(", ")[2], row.fields) for row in read_csv(path, ["a"], **options)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_whatever_ends_a_line(tmp_path, end):
    text = end.join(["\ufeffa, b", "1,2", "", '"x, ""y"" \n",3', "4", "5,6,,"])
    found = [{"a": "1", "b": "2"}, {"a": 'x, "y" \n', "b": "3"}, {"a": "4"}, {"a": "5", "b": "6"}]
    assert [fields for _, fields in rows(tmp_path, text)] == found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; its first line names a"),
        ("b\n1\n", "no column 'a' in its first line"),
        ("a,c\n1,2\n", "unknown column 'c'; did you mean|unknown column 'c'; there may be a, bb"),
        ("a,a\n1,2\n", "the column 'a' is there twice"),
        ("a,bb\n1,2,3\n", "line 2: 3 fields, and 2 columns in the first line"),
        ("a\n" + "x" * 140_000, "line 2: field larger than field limit"),
        ('a\n"b\nc\n', "unexpected end of data"),
        ('a\n"b"c\n', "line 2: ',' expected after '\"'"),
        (b"a\n\xff\n", "not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_wrong_is_named(tmp_path, content, says):
    with pytest.raises(DataError, match=says) as caught:
        rows(tmp_path, content, known=["a", "bb"])
    assert "t.csv" in str(caught.value)


def test_fields_of_a_row(tmp_path):
    (tmp_path / "t.csv").write_text("a,n,x\nb, 12 ,-1.5\n" + f" ,{'9' * 5000},1e999\n")
    good, bad = read_csv(tmp_path / "t.csv", ["a"])
    assert (good.name("a"), good.count("n"), good.number("x"), good.text("y")) == (
        "b",
        12,
        -1.5,
        "",
    )
    for read, says in [
        (lambda: bad.name("a"), "line 3: 'a' must not be empty"),
        (lambda: bad.count("n"), "'n' must be a whole number above 0, found '9999"),
        (lambda: bad.number("x"), "'x' must be a finite number, found '1e999'"),
    ]:
        with pytest.raises(DataError, match=says) as caught:
            read()
        assert len(str(caught.value)) < 300


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.csv")
    with pytest.raises(DataError, match="not a regular file"):
        list(read_csv(tmp_path / "fifo.csv", ["a"]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text('a,b\n\r"\0 é1').map(str.encode))
@example(b"a" + b"," * 100_000)
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    try:
        rows(tmp_path_factory.mktemp("any"), content)
    except DataError as error:
        assert "t.csv" in str(error)
