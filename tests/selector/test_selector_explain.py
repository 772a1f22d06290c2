"""The explanation of a choice, and the map of a library: complete, self-contained, harmless."""

import html.parser
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.selector import explain as ex
from flan_jax.selector import library_map
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import Selector, Target, all_instructions

EVIL = '<script>alert("x")</script> & "sort"'


def library():
    topics = {"sort": "numbers", "count": "numbers", "rhyme": "verse", "translate": "verse"}
    tasks = [
        LibraryTask(
            name, (f"Please {name} the list of words.", f"{name} what follows"), cluster, (name,)
        )
        for name, cluster in topics.items()
    ]
    return Library.of([*tasks, LibraryTask("evil", (EVIL,), None, ())], "five")


@pytest.fixture(scope="module")
def selector():
    tasks = library()
    encoder = get_encoder("lexical", all_instructions(tasks))
    return Selector(tasks, Embedder(encoder, keep=False))


class Page(html.parser.HTMLParser):
    """Tags, what they refer to, and whether they are closed."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.references, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(text):
    page = Page(text)
    assert page.open == [] and page.references == []
    assert "script" not in page.tags and "http" not in text
    return page


def test_the_ranking_is_explained(selector):
    target = Target.of_text("Sort the words of the list.")
    choice = selector.select([target], Parameters(k=2))
    rows = ex.explain(choice, selector.library, ex.nearest_of(selector, choice))
    assert [row.place for row in rows] == [1, 2, 3, 4, 5]
    assert [row.chosen for row in rows] == [True, True, False, False, False]
    assert (rows[0].task, rows[0].cluster, rows[0].percentile) == ("sort", "numbers", 80)
    assert rows[0].instruction in selector.library.get("sort").instructions
    for row, after in zip(rows, rows[1:], strict=False):
        assert row.margin == pytest.approx(row.score - after.score) and row.margin >= 0
    assert rows[-1].margin is None
    assert all(row.target_instruction == target.label for row in rows)
    few = ex.explain(choice, selector.library, count=1)
    assert [row.task for row in few] == [row.task for row in rows[:2]]  # all chosen ones are there
    table = ex.table(rows)
    assert len(table) == 6 and {len(line) for line in table} == {7} and table[1][0] == "1*"


def test_the_page_needs_and_runs_nothing(selector):
    choice = selector.select(
        [Target.of_text(EVIL), Target.of_task(selector.library.get("rhyme"))], Parameters(k=2)
    )
    page = checked(ex.page(selector, choice))
    words = " ".join(page.words)
    for task in selector.library.tasks:
        assert task.name in words
    assert 'alert("x")' in words and "is the target" in words
    # Five tasks on the map, and the two that were chosen on the curve of scores.
    assert page.tags.count("circle") == 5 + 2 and page.tags.count("path") == 2


def test_the_map_alone(selector):
    page = checked(ex.map_page(selector))
    assert page.tags.count("circle") == 5 and "path" not in page.tags
    assert "The library" in page.words


@pytest.mark.filterwarnings("error")
@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_places_are_finite_and_repeatable(count, width, seed, equal):
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    if equal:
        vectors[:] = vectors[0]
    places = library_map.project(vectors)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all() and places.min() >= 0 and places.max() <= 1
    assert np.array_equal(places, library_map.project(vectors.copy()))


def test_like_tasks_lie_together():
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(6, 20)), 15, axis=0)
    places = library_map.project(centres + 0.3 * rng.normal(size=centres.shape))
    distances = ((places[:, None] - places) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    groups = np.arange(90) // 15
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.95


def test_equal_tasks_and_many_tasks_have_their_places():
    rng = np.random.default_rng(0)
    twice = np.repeat(rng.normal(size=(30, 8)), 2, axis=0)
    places = library_map.project(twice)
    assert len(np.unique(places, axis=0)) == 60  # told apart, so that each can be pointed at
    near = ((places[:, None] - places) ** 2).sum(-1)
    np.fill_diagonal(near, np.inf)
    assert (near.argmin(axis=1) // 2 == np.arange(60) // 2).mean() > 0.95
    start = time.monotonic()
    many = library_map.project(rng.normal(size=(6000, 30)))
    assert many.shape == (6000, 2) and time.monotonic() - start < 5
    several = rng.normal(size=(300, 30))
    assert np.array_equal(library_map.project(several), library_map.project(several))


def test_zero_vectors_and_labels():
    assert np.isfinite(library_map.project(np.zeros((7, 3)))).all()
    svg = library_map.map_svg(
        np.full((40, 2), 0.5),
        [f"task{i}" for i in range(40)],
        ["a", None] * 20,
        ["note"] * 40,
        {"task3"},
        {EVIL: np.array([0.1, 0.1])},
        [f"task{i}" for i in range(40)],
    )
    page = checked(svg)
    assert page.tags.count("text") <= 9  # names that would lie on each other are left out
    assert page.tags.count("circle") == 40


def test_labels_lie_on_nothing_and_clusters_differ():
    rng = np.random.default_rng(0)
    names = [f"task{i}" for i in range(60)]
    places = rng.random((60, 2))
    stars = {"What is it for?": rng.random(2)}
    written = library_map.map_svg(
        places, names, [f"c{i % 20}" for i in range(60)], names, (), stars, names
    )
    at = library_map._on_paper(places)
    boxes = []
    for x, y, anchor, name in re.findall(
        r'<text class="label[^"]*" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]+)', written
    ):
        left = float(x) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * 6.9 * len(name)
        boxes.append((left, float(y) - 9, left + 6.9 * len(name), float(y) + 3))
    assert len(boxes) > 35 and "What is it for?" in written
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert i == 0 or not ((at > (left, top)) & (at < (right, bottom))).all(axis=1).any()
        for other in boxes[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    colours = library_map.colours([f"c{i % 20}" for i in range(60)] + [None])
    assert len(set(colours.values())) == 21 and colours[None] == colours[""]


@pytest.mark.parametrize("scores", [[], [1.0], [0.5, 0.5], [-1.0, -2.0, 3.0]])
def test_the_curve_of_scores(scores):
    svg = ex.ranking_svg({f"task{i}": score for i, score in enumerate(scores)}, {"task1"})
    assert bool(svg) == (len(scores) > 1) and "nan" not in svg
    assert checked(svg).tags.count("circle") == bool(svg)
