"""P3: every template at hand against plain Jinja, T0 counts, rows, hostile templates."""

import collections
import json

import jinja2
import pytest
import seqio
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st
from p3_rows import ROWS
from prepared import examples

from flan_jax import cli
from flan_jax.errors import DataError
from flan_jax.instructions import cards, promptsource, sandbox, tfds_source
from flan_jax.instructions.draws import Draws, RenderingKey
from flan_jax.instructions.mixtures import task_rates

MODULE = "tasks.p3"
FILE = """
dataset: super_glue
subset: rte
templates:
  a: !Template
    name: does it follow?
    answer_choices: Yes ||| No
    jinja: '{{ premise }} Does it follow that {{ hypothesis }}? ||| {{ answer_choices[label] }}'
    metadata: !TemplateMetadata
      original_task: true
      choices_in_prompt: false
      metrics: [Accuracy]
  b: !Template
    name: write
    answer_choices: null
    jinja: '{{ ["Write", "Say"] | choice }} what follows: {{ premise }} ||| {{ hypothesis }}'
    metadata: !TemplateMetadata
      original_task: false
      metrics: [ROUGE, BLEU, Other]
"""


def draws(example_id="x"):
    return Draws(RenderingKey(), "t", example_id)


@pytest.fixture
def folder(tmp_path):
    """A folder of templates of one dataset, whose path its `write` fills with another content."""
    folder = tmp_path / "templates/super_glue/rte"
    folder.mkdir(parents=True)
    (folder / "templates.yaml").write_text(FILE)
    return tmp_path / "templates"


@pytest.fixture
def data(tmp_path):
    """Rows of it, of which one does not tell its label."""
    folder = tmp_path / "rows/super_glue/rte"
    folder.mkdir(parents=True)
    for split, count in {"train": 12, "validation": 3}.items():
        rows = [{"premise": f"P{i}.", "hypothesis": f"H{i}", "label": i % 2} for i in range(count)]
        rows[-1]["label"] = -1
        text = "\n\n".join(json.dumps(row) for row in rows)
        (folder / f"{split}.jsonl").write_text(text + "\n")
    return tmp_path / "rows"


def templates_of(text, tmp_path):
    path = tmp_path / "templates.yaml"
    path.write_text(text)
    return promptsource.read_file(epath.Path(path)).templates


# What templates make of rows


# In promptsource's own code and in templates of multi_news.
MARK = "3ed2dface8203c4c9dfb1a5dc58e41e0"


class PlainJinja:
    """promptsource's rendering as it is described: Jinja without a sandbox, texts replaced."""

    def __init__(self, own):
        self.draws, self.count = own, 0
        self.environment = jinja2.Environment()
        self.environment.globals["zip"] = zip
        self.environment.filters["choice"] = self.choice
        self.environment.filters["most_frequent"] = lambda items: [
            item for item, count in collections.Counter(items).items()
            if count == max(collections.Counter(items).values())
        ]  # fmt: skip

    def choice(self, items):
        self.count += 1
        return self.draws.choice(f"jinja/{self.count}", items)

    def render(self, template, row):
        row = {k: v.replace("|||", MARK) if isinstance(v, str) else v for k, v in row.items()}
        options = None
        if template.answer_choices:
            text = self.environment.from_string(template.answer_choices).render(**row)
            options = [option.strip() for option in text.split("|||")]
        jinja = template.jinja.replace("}}", " | string | truncate(2048) }}")
        self.count = 0
        text = self.environment.from_string(jinja).render(**row, answer_choices=options)
        parts = [part.replace(MARK, "|||").strip() for part in text.split("|||")]
        return (*parts, tuple(options or ())) if len(parts) == 2 and all(parts) else None


def test_every_template_at_hand_renders_as_plain_jinja_does(suite, shared_data):
    p3 = suite(MODULE, PROMPTSOURCE_DIR=shared_data / "promptsource")
    entries = p3.read_folder(str(shared_data / "promptsource"), None)
    assert {entry.name for entry in entries} == set(ROWS)
    made, nothing = 0, 0
    for entry in entries:
        for template in entry.templates.values():
            row = json.loads(json.dumps(ROWS[entry.name]))
            found = promptsource.render(template, row, draws())
            assert found == PlainJinja(draws()).render(template, ROWS[entry.name]), template
            assert row == ROWS[entry.name]  # templates append to lists of a copy
            made, nothing = made + 1, nothing + (found is None)
    # Those that ask of other labels, or of causes where this row is of an effect.
    assert (made, nothing) == (524, 12)


def test_t0_counts(suite, shared_data):
    """Of shared/specs/flan_t0.md, section 5: prompts, and weights by the rule of 500,000."""
    p3 = suite(MODULE, PROMPTSOURCE_DIR=shared_data / "promptsource")
    groups = collections.Counter(known.group for known in p3.t0.DATASETS.values())
    assert (groups["base"], groups["gpt"], groups["superglue"]) == (38, 10, 6)
    rates = task_rates("t0_train")
    absent, templates = p3.t0.DATASETS["kilt_tasks_hotpotqa"].size, 5  # the one that is not at hand
    assert len(rates) + templates == 313
    assert sum(rates.values()) + templates * absent == 17_277_798
    assert rates["p3_glue_qqp_duplicate"] == 363_846
    assert {rate for name, rate in rates.items() if "amazon_polarity" in name} == {500_000 // 9}
    assert set(rates) < set(task_rates("t0_plus_train")) < set(task_rates("t0_pp_train"))
    held_out = collections.Counter(cards.get_card(name).name for name in task_rates("t0_eval"))
    assert {name.removeprefix("p3_"): count for name, count in held_out.items()} == {
        "anli_r1": 15, "anli_r2": 15, "anli_r3": 15, "hellaswag": 4, "story_cloze_2016": 5,
        "super_glue_cb": 15, "super_glue_copa": 12, "super_glue_rte": 10, "super_glue_wic": 10,
        "super_glue_wsc_fixed": 10, "winogrande_winogrande_xl": 5,
    }  # fmt: skip
    assert not set(held_out) & {cards.get_card(name).name for name in rates}
    card = cards.get_card("p3_super_glue_rte_does_this_imply")
    assert (card.kind, card.cluster) == ("classification", "super_glue_rte")
    assert card.to_json()["t0_task"] == "NLI" and len(card.instructions) == 10


def test_prompts_of_rows(suite, folder, data):
    suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR=data)
    task = "p3_super_glue_rte_does_it_follow_"
    found = examples(task)  # the validation rows, on which T0 was tested
    assert [(e.id, e.prompt, e.target, e.options) for e in found] == [
        ("test/0", "P0. Does it follow that H0?", "Yes", ("Yes", "No")),
        ("test/1", "P1. Does it follow that H1?", "No", ("Yes", "No")),
    ]
    ranked = examples(f"{task}_rank")
    assert [(e.target, e.ranked) for e in ranked] == [
        ("Yes", ("test/0", 0, True)), ("No", ("test/0", 1, False)),
        ("Yes", ("test/1", 0, False)), ("No", ("test/1", 1, True)),
    ]  # fmt: skip
    assert {e.prompt for e in ranked} == {e.prompt for e in found}
    assert len(examples(task, "train")) == 11
    written = examples("p3_super_glue_rte_write", "train")
    assert {e.prompt.split()[0] for e in written} == {"Write", "Say"}
    assert examples("p3_super_glue_rte_write", "train")[0].prompt == written[0].prompt
    mixed = examples("p3_super_glue_rte", "train")
    assert {e.template for e in mixed} == {"does_it_follow_", "write"}
    assert {e.template for e in examples("p3_super_glue_rte")} == {"does_it_follow_"}
    names = {fn.__name__ for fn in seqio.TaskRegistry.get(written and task).metric_fns}
    assert names == {"exact_match_metric"}
    names = {fn.__name__ for fn in seqio.TaskRegistry.get("p3_super_glue_rte_write").metric_fns}
    assert names == {"rouge_metric", "bleu_metric"}
    assert set(task_rates("p3_super_glue_rte_eval_rank")) == {f"{task}_rank"}


def test_rows_that_datasets_saved(suite, folder, tmp_path):
    """As `DatasetDict.save_to_disk` writes them: streams of Arrow, named by state.json."""
    pyarrow = pytest.importorskip("pyarrow")
    place = tmp_path / "rows/super_glue/rte/train"
    place.mkdir(parents=True)
    rows = [[{"premise": f"P{i}.", "hypothesis": "H", "label": i}] for i in (0, 1)]
    for number, part in enumerate(rows):
        table = pyarrow.Table.from_pylist(part)
        with pyarrow.ipc.new_stream(str(place / f"data-{number}.arrow"), table.schema) as stream:
            stream.write_table(table)
    state = {"_data_files": [{"filename": "data-0.arrow"}, {"filename": "data-1.arrow"}]}
    (place / "state.json").write_text(json.dumps(state))
    suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR=tmp_path / "rows")
    found = examples("p3_super_glue_rte_does_it_follow_", "train")
    assert [e.target for e in found] == ["Yes", "No"]
    assert found[1].prompt == "P1. Does it follow that H?"
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../x.arrow"}]}))
    with pytest.raises(DataError, match=r"state.json names '../../x.arrow', which is not inside"):
        examples("p3_super_glue_rte_write", "train")


def test_datasets_without_rows(suite, folder, tmp_path):
    p3 = suite(MODULE, PROMPTSOURCE_DIR=folder)
    source = seqio.TaskRegistry.get("p3_super_glue_rte").source
    assert isinstance(source, tfds_source.TfdsSource)
    assert (source.tfds_name, set(source.splits)) == ("super_glue/rte:1.0.2", {"train", "test"})
    other = folder / "quarel"
    other.mkdir()
    (other / "templates.yaml").write_text(FILE.replace("super_glue\nsubset: rte", "quarel"))
    p3.unregister()
    p3.register(str(folder), str(tmp_path))
    task = seqio.TaskRegistry.get("p3_quarel_write")
    with pytest.raises(DataError, match=f"quarel: no rows: put them into {tmp_path}/quarel as"):
        examples(task.name, "train")
    (missing,) = tfds_source.unavailable([task])
    assert (missing.source, missing.tasks) == ("quarel", ("p3_quarel_write",))
    assert "TFDS" not in tfds_source.explain([missing])


def test_what_separates_and_what_is_long(tmp_path):
    (template, _) = templates_of(FILE, tmp_path)
    row = {"premise": "a ||| b", "hypothesis": "word " * 1000, "label": 1}
    found = promptsource.render(template, row, draws())
    assert found.inputs.startswith("a ||| b Does it follow that word word")
    assert len(found.inputs) < 2048 + 40 and found.inputs.endswith("...?")
    assert found.targets == "No"


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        ({}, {}, "'premise' is undefined"),
        ({"hypothesis": "h"}, {"premise }}": "premse }}"}, "'premse' is undefined"),
        (
            {},
            {"Yes ||| No": "'  ||| No'"},
            "template 'does it follow\\?': answer_choices: an option",
        ),
        ({}, {"Yes ||| No": "'{{ [] | join(\"|||\") }}'"}, "an option is empty"),
        ({}, {"answer_choices[label]": "premise"}, r"is none of the options \['Yes', 'No'\]"),
        ({"answer_choices": []}, {}, "the row has a field 'answer_choices'"),
        ({"label": "x"}, {"answer_choices[label]": "answer_choices.index(label)"}, "in list"),
    ],
)
def test_rows_that_do_not_fit(suite, folder, tmp_path, row, change, said):
    text = FILE
    for old, new in change.items():
        text = text.replace(old, new)
    (folder / "super_glue/rte/templates.yaml").write_text(text)
    place = tmp_path / "rows/super_glue/rte"
    place.mkdir(parents=True)
    given_row = {"premise": "p", "hypothesis": "h", "label": 0, **row} if row or change else {}
    (place / "train.jsonl").write_text(json.dumps(given_row) + "\n")
    suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR=tmp_path / "rows")
    with pytest.raises(DataError, match=said) as caught:
        examples("p3_super_glue_rte_does_it_follow__rank", "train")
    assert "super_glue/rte, train/0: template 'does it follow?'" in str(caught.value)


def test_tasks_list_show_and_check(suite, folder, data, capsys):
    p3 = suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR=data)
    assert cli.run(["tasks", "check", f"--module={MODULE}"]) == 0
    assert "1 entries checked, 0 with problems" in capsys.readouterr().out
    assert cli.run(["tasks", "list", f"--module={MODULE}", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert card["instructions"] == ["Does it follow that ?"] and len(card["templates"]) == 2
    shown = ["tasks", "show", "p3_super_glue_rte_does_it_follow__rank", f"--module={MODULE}"]
    assert cli.run(shown) == 0
    assert "P0. Does it follow that H0?" in capsys.readouterr().out
    rows = data / "super_glue/rte/train.jsonl"
    rows.write_text('{"premise": "P", "label": 0}\n')
    with pytest.raises(DataError, match="train.jsonl has changed since it was read"):
        cli.run(["tasks", "check", f"--module={MODULE}"])
    p3.row_files._open.cache_clear()
    assert cli.run(["tasks", "check", f"--module={MODULE}"]) == 1
    assert "template 'write': 'hypothesis' is undefined" in capsys.readouterr().out


# What templates may not do

WORK = "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}"
HOSTILE = {
    "{{ ''.__class__ }}": "no attribute '__class__'",
    "{{ ''['__class__'] }}": "reaches for '__class__' of a str",
    "{{ ''['__cl' ~ 'ass__'] }}": "reaches for '__class__' of a str",
    "{{ '' | attr('__class__') }}": "no filter 'attr'",
    "{{ [''] | map('attr', '__class__') | list }}": "No filter named 'attr'",
    "{{ [''] | map(attribute='__class__') | list }}": "reaches for '__class__'",
    "{{ [row] | selectattr('__class__') | list }}": "reaches for '__class__' of a dict",
    "{{ [row] | sort(attribute='__class__') }}": "reaches for '__class__' of a dict",
    "{{ namespace.__init__.__globals__ }}": "no attribute '__",
    "{{ lipsum }}": "'lipsum' is undefined",
    "{{ cycler() }}": "no function 'cycler'",
    "{{ open('/etc/passwd').read() }}": "no method 'read'",
    "{{ self }}": "writes a TemplateReference",
    "{{ 'a'.upper }}": "writes a builtin_function_or_method",
    "{{ [1] | map('string') }}": "writes a generator",
    "{% include '/etc/passwd' %}": "include is not allowed",
    "{% import 'os' as os %}": "import is not allowed",
    "{% extends 'x' %}": "extends is not allowed",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "macro is not allowed",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}": "recursive loop",
    "{% set f = 'a'.format %}{{ f() }}": "no function 'f'",
    "{{ row.clear() }}": "no method 'clear'",
    WORK + "{% endfor %}" * 3: "does more than a template may",
    "{{ 'a' * 1000000000 }}": "repeats a value too often",
    "{{ 10 ** 10 ** 10 }}": r"'\*\*' is not allowed",
    "{% set x = 9 %}" + "{% set x = x * x %}" * 40: "too many digits",
    "{% set x = 'a' %}" + "{% set x = x ~ x %}" * 60: "more than 4,194,304 characters",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 60: "more than 4,194,304 characters",
    "{% set x = [1] %}{% set _ = x.append(x) %}{{ x }}": "more than 4,194,304 characters",
    "{% set x = 'aaaa' %}" + "{% set x = x | replace('a', x) %}" * 20: "more than 4,194,304",
    "{% set x = 'aaaa' %}" + "{% set x = x.replace('a', x) %}" * 20: "more than 4,194,304",
    "{{ 'x'.center(1000000000) }}": "no method 'center'",
    "{{ '%1000000000d' % 1 }}": "'%' is not allowed of texts",
    "{{ '%1000000000d' | format(1) }}": "formats to too many characters",
    "{{ 1.5 | round(1000000000, 'ceil') }}": "rounds to too many digits",
    "{{ range(100000000) | list }}": "counts further than 10,000",
    "{% for i in range(9999) %}{% for j in range(9999) %}{{ 'x' * 99 }}{% endfor %}{% endfor %}":
        "more than",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}": "nested too deeply",
    "x" * 70_000: "longer than 65,536 characters",
    "{{ x": "line 1: unexpected end of template",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_templates_are_refused(text):
    with pytest.raises(DataError, match=HOSTILE[text]):
        sandbox.render(text, {"row": {"a": 1}}, draws())


def test_a_hostile_template_is_refused_with_file_and_name(suite, folder):
    text = FILE.replace("{{ premise }} Does", "{{ premise.__class__ }} Does")
    (folder / "super_glue/rte/templates.yaml").write_text(text)
    with pytest.raises(DataError, match="templates.yaml: template 'does it follow.*__class__"):
        suite(MODULE, PROMPTSOURCE_DIR=folder)
    (folder / "super_glue/rte/templates.yaml").write_text(FILE.replace("super_glue", "../../etc"))
    with pytest.raises(DataError, match="names '../../etc/rte', which is not inside"):
        suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR=folder)
    (folder / "super_glue/rte/templates.yaml").write_text(FILE.replace("write", "does it follow!"))
    with pytest.raises(DataError, match="two templates are named 'does it follow!'"):
        suite(MODULE, PROMPTSOURCE_DIR=folder, P3_DATA_DIR="")


PIECES = st.sampled_from([
    "{{", "}}", "{%", "%}", "x", ".a", "[0]", "['_a']", "|", "join", "choice", "int", "for i in x",
    "endfor", "if x", "endif", "set y = x", " ", "~", "*", "9", "(", ")", "range", "'", "|||",
])  # fmt: skip


@settings(max_examples=60)
@given(st.lists(PIECES, max_size=14).map("".join), st.sampled_from([3, "ab", [1, 2], {"a": "b"}]))
def test_a_sandbox_raises_nothing_else(text, value):
    try:
        assert isinstance(sandbox.render(text, {"x": value}, draws()), str)
    except DataError as error:
        assert str(error)
