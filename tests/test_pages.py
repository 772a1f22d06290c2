"""Pages are made of foreign names and texts, and of none of their markup."""

import html.parser
import math

import pytest

from flan_jax.pages import charts
from flan_jax.scoring.predictions import Prediction
from flan_jax.scoring.summaries import Bootstrap
from flan_jax.selector import explain
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.selection import Selector, Target, all_instructions
from flan_jax.studies import page, report_page, report_summary, report_tables, selection_page
from flan_jax.studies.laboratory import STRUCTURES, Scored
from flan_jax.studies.report_runs import Answer, Run

# Each ends another context: text, both kinds of quotes, style, title, comment, CDATA, Jinja.
HOSTILE = (
    "</title></style></svg><script>alert(1)</script>"
    "\"' onload=alert(1) x=\"' javascript:alert(1) <img src=x onerror=alert(1)>"
    "<!-- ]]> {{ 7*'7' }} {% raw %} &lt;b&gt; \0 \x1b[31m \ud800 \u2028 ;background:url(//evil)"
)
TAGS = """html head meta title style body main h1 h2 h3 h4 p b br wbr div span small table thead
    tbody tr th td dl dt dd pre figure details summary svg line text polyline circle path"""
ATTRIBUTES = """lang charset name content class style viewbox role aria-label open r cx cy d points
    title x y x1 x2 y1 y2 text-anchor transform"""


class Page(html.parser.HTMLParser):
    """Refuses whatever our templates do not write themselves."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.words = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self._check(tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self._check(tag, attributes)

    def _check(self, tag, attributes):
        assert tag in TAGS.split()
        for name, value in attributes:
            assert name in ATTRIBUTES.split()
            if name != "aria-label":
                assert "alert" not in (value or "") and "url" not in (value or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        raise AssertionError(data)

    def handle_data(self, data):
        assert self.open[-1:] != ["style"] or "alert" not in data
        self.words.append(data)


def checked(text):
    found = Page(text)
    assert "77" not in "".join(found.words).replace("{{ 7*'7' }}", "")
    # It is written, as the text it is.
    assert "alert(1)</script>" in "".join(found.words)
    text.encode("utf-8", "replace")
    return found


def test_the_page_of_a_study():
    def scored(structure, right):
        prediction = Prediction(HOSTILE, HOSTILE, "t0", (HOSTILE,), HOSTILE, HOSTILE, (HOSTILE,))
        return Scored(structure, HOSTILE, prediction, {"exact_match": 100.0 * right, "rougeL": 0.0})

    curves = {"loss": [(0, 2.0), (10, math.nan), (20, 1.0)], "accuracy": [(0, 0.5)]}
    arms = [
        page.Arm(
            HOSTILE + name, HOSTILE, HOSTILE,
            [scored(structure, name == "a") for structure in STRUCTURES], curves,
        )
        for name in "ab"
    ]  # fmt: skip
    checked(page.render(arms, HOSTILE, HOSTILE, [HOSTILE], [HOSTILE, HOSTILE]))


def test_the_page_of_a_selection():
    spread = {"mean": 1.0, "low": 0.0, "high": 2.0}
    by_arm = {"base": {"0": spread}, "all": {"3": spread}, "random": {"1": spread},
              "selected": {"1": spread}}  # fmt: skip
    values = {arm: {k: 1.0 for k in by_k} for arm, by_k in by_arm.items()}
    metrics = {
        "means": {"exact_match": by_arm, "rougeL": by_arm},
        "selected_less": {"rougeL": {"random": {"1": spread}, "all": {"1": spread}}},
        "by_target": {HOSTILE: {"exact_match": values, "rougeL": values}},
        "targets": [HOSTILE], "candidates": 3, "ks": [1], "encoder": {"name": HOSTILE},
        "aggregation": HOSTILE, "transform": HOSTILE, "train_steps": 1, "batch_size": 1,
        "examples_of_a_target": 1,
    }  # fmt: skip
    chosen = {HOSTILE: [{"task": HOSTILE, "score": 1.0, "instruction": HOSTILE}]}
    checked(selection_page.render(metrics, chosen, HOSTILE, [HOSTILE]))


def test_the_page_of_a_report():
    def run(name, right):
        answers = [
            Answer(f"{HOSTILE}_{t}", f"{i}{HOSTILE}", HOSTILE * (right == i % 2), (HOSTILE,),
                   HOSTILE, f"{t}")
            for t in range(3) for i in range(4)
        ]  # fmt: skip
        scores = {one.task: {HOSTILE: 1.0, "ties": 2, "n": 4} for one in answers}
        curves = {"loss": [(0.0, 2.0), (10.0, 1.0)], f"{HOSTILE}/loss": [(1.0, math.nan)]}
        facts = {HOSTILE: HOSTILE, "x": right + 1}
        return Run(HOSTILE + name, (HOSTILE,), scores, {HOSTILE: {HOSTILE: 2.0, "n": 12}},
                   tuple(answers), {}, curves, facts, (HOSTILE,))  # fmt: skip

    runs = report_tables.scored([run("a", 0), run("b", 1)])
    made = report_summary.make(runs, Bootstrap(50), "x")
    found = " ".join(checked(report_page.render(made)).words)
    for heading in ("same examples", "category", "templates", "scale", "training", "Won", "are"):
        assert heading in found


@pytest.fixture(scope="module")
def selector():
    text = HOSTILE.replace("\ud800", "")  # which no library holds
    tasks = [
        LibraryTask(f"{number}_{text}", (f"{number} words {text}",), cluster, (f"{text} {number}",))
        for number, cluster in enumerate([text, text, "other", None, None, "x"])
    ]
    library = Library.of(tasks, text)
    return Selector(
        library, Embedder(get_encoder("lexical", all_instructions(library)), keep=False)
    )


def test_the_pages_of_the_selector(selector):
    targets = [Target.of_text(selector.library.origin), Target.of_task(selector.library.tasks[0])]
    checked(explain.page(selector, selector.select(targets, Parameters(k=2))))
    checked(explain.map_page(selector))


def test_a_chart_escapes_its_words_and_leaves_out_what_is_not_finite():
    points = [(0.0, 1.0), (1.0, math.nan), (2.0, math.inf), (3.0, 2.0)]
    svg = charts.line_chart({HOSTILE: points}, HOSTILE, HOSTILE, {HOSTILE: "series-0"})
    checked(svg)
    assert "nan" not in svg.partition('points="')[2].partition('"')[0]
    assert charts.line_chart({"a": [(0.0, math.nan)]}, "x", "y", {"a": "b"}) == ""
