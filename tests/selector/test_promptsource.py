"""Folders of promptsource files: what is read of them, what is refused, and no surprise else."""

import time

import pytest
from etils import epath
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flan_jax.errors import DataError
from flan_jax.instructions import promptsource
from flan_jax.instructions.promptsource import instruction_side
from flan_jax.selector.promptsource import read_promptsource

FILE = """
dataset: glue
subset: mrpc
templates:
  a: !Template
    answer_choices: no ||| yes
    id: a
    jinja: 'Do {{sentence1}} and "{{sentence2}}" mean the same? ||| {{answer_choices[label]}}'
    metadata: !TemplateMetadata
      original_task: true
      languages: [en]
    name: same
  b: !Template
    jinja: 'Paraphrase {{sentence1}} ||| {{sentence2}}'
    metadata: !TemplateMetadata {original_task: false}
    name: generate
  c: !Template
    jinja: '{{sentence1}} {{sentence2}} ||| {{label}}'
    metadata: !TemplateMetadata {original_task: true}
    name: bare
"""


def written(folder, text, name="glue/mrpc"):
    path = folder / name / "templates.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_real_files(shared_data):
    folder = str(shared_data / "promptsource")
    start = time.monotonic()
    library = read_promptsource(folder)
    assert time.monotonic() - start < 2
    counts = library.counts
    assert (counts.read, counts.inverting, counts.tasks_without) == (494, 119, 2)
    assert counts.read == counts.kept + counts.inverting + counts.empty + counts.repeated
    assert counts.kept == sum(len(task.instructions) for task in library.tasks)
    texts = {text for task in library.tasks for text in task.instructions}
    assert not [text for text in texts if any(mark in text for mark in ("{", "}", "%", "|||"))]
    assert "Did the reviewer enjoy the movie?" in library.get("imdb").instructions
    assert library.get("super_glue_rte").sources == ("super_glue/rte",)
    assert library.get("adversarial_qa_dbert").sources == ("adversarial_qa",)
    missing = {"app_reviews", "quarel"}
    assert not missing & set(library.by_name)
    assert missing <= set(read_promptsource(folder, only_original=False).by_name)


def test_a_file(tmp_path):
    path = written(tmp_path, FILE)
    library = read_promptsource(str(tmp_path))
    (task,) = library.tasks
    assert (task.name, task.sources) == ("glue_mrpc", ("glue/mrpc",))
    assert task.instructions == ("Do and mean the same?",)
    assert (library.counts.inverting, library.counts.empty) == (1, 1)
    read = promptsource.read_file(epath.Path(path)).templates[0]
    assert (read.name, read.original_task) == ("same", True)


@pytest.mark.parametrize(
    ("jinja", "words"),
    [
        ("Is it so? ||| {{answer}}", "Is it so?"),
        ("{# a ||| b #}Is it {{ 'so' }}? ||| x", "Is it so?"),
        ("Choose {{ xs | join('|||') }} now ||| x", "Choose now"),
        ("{% if a == '%}' %}One ||| x{% else %}Two ||| y{% endif %}", "One Two"),
        ("{% if a %}One{% endif %} ||| {% if b %}x{% else %}y{% endif %}", "One"),
        ("{% if a %}One ||| x{% endif %} y {% if b %}z{% endif %}", "One"),
        ("{% if a %}{% if b %}One ||| x{% endif %} y {% else %}Two ||| z{% endif %}", "One Two"),
        ("Choices:\n- {{a}}\n- {{b}}\n||| x", "Choices:"),
        ("{% raw %}Say {{so}}{% endraw %} ||| x", "Say {{so}}"),
    ],
)
def test_the_instruction_side(jinja, words):
    assert " ".join(instruction_side(jinja).split()) == words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("templates: {}", "'dataset' is missing"),
        ("dataset: ''\ntemplates: {}", "'dataset' must be a name"),
        ("dataset: a\nsubset: 3\ntemplates: {}", "'subset' must be a string, found a number"),
        ("dataset: a\nsubset: 2001-01-01\ntemplates: {}", "'subset' .* found a Python date"),
        ("dataset: [a]\ntemplates: {}", "'dataset' must be a string, found a list"),
        ("dataset: a", "'templates' is missing"),
        ("- a", "must be an object, found a list"),
        ("", "must be an object, found null"),
        ("dataset: a\ntemplates: [1]", "'templates' must be an object"),
        ("dataset: a\ntemplates: {b: 3}", "template 'b' must be an object, found a number"),
        ("dataset: a\ntemplates: {b: {name: c}}", "template 'b': 'jinja' is missing"),
        ("dataset: a\ntemplates: {b: {jinja: [1]}}", "'jinja' must be a string, found a list"),
        ("dataset: a\ntemplates: {b: {jinja: 1}}", "'jinja' must be a string, found a number"),
        ("dataset: a\ntemplates: {b: {jinja: c, name: [d]}}", "'name' must be a string"),
        ("dataset: a\ntemplates: {b: {jinja: c, metadata: [d]}}", "'metadata' must be an object"),
        ("dataset: a\ntemplates: {b: {jinja: 'c {{ d'}}", "template 'b': .*not closed"),
        ("dataset: a\ntemplates: {b: {jinja: 'c {# d'}}", "template 'b': jinja says"),
        (
            "dataset: a\ntemplates: {b: {jinja: c, metadata: {original_task: 3}}}",
            "'original_task' must be true or false",
        ),
        ("dataset: !!python/object/apply:os.system [true]", "python/object"),
        ("dataset: 2001-99-99", "line 1: not YAML: '2001-99-99' is no timestamp"),
        ("dataset: [", "not YAML"),
        ("[" * 50_000, "nested more than 50 deep"),
        ("dataset: a\ndataset: b", "line 2: the key 'dataset' is there twice"),
        ("dataset: a\ntemplates: {}", "no task with an instruction"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_wrong_is_named(tmp_path, text, says):
    written(tmp_path, text)
    with pytest.raises(DataError, match=says) as caught:
        read_promptsource(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_links_lead_to_each_folder_once(tmp_path):
    written(tmp_path, FILE)
    for i in range(30):
        (tmp_path / "glue" / f"again{i}").symlink_to(tmp_path)
    assert len(read_promptsource(str(tmp_path)).tasks) == 1


def test_folders_without_files(tmp_path):
    with pytest.raises(DataError, match="no such file below it"):
        read_promptsource(str(tmp_path))
    with pytest.raises(DataError, match="is not a folder"):
        read_promptsource(str(tmp_path / "nowhere"))


PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "|||", "'", '"', " if a ", " else ", " endif ", "Words. "]
    + ["{% if a %}", "{% else %}", "{% endif %}", "{% raw %}", "{% endraw %}", "\n", "-", "\\"]
)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
@example("{{" * 500)
@example("{% if a %}" * 500)
def test_any_text_is_read_or_refused(jinja):
    try:
        side = instruction_side(jinja)
    except DataError:
        return
    assert isinstance(side, str)


@settings(deadline=None)
@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from(["dataset: a\n", "templates:\n", "  b: !Template\n", "    jinja: c\n"])
        | st.sampled_from(
            ["- ", "? ", "!!int ", "!!timestamp ", "&x ", "*x", "<<: ", "{", "[", "~"]
        )
        | st.text(max_size=6),
        max_size=15,
    ).map(lambda parts: "".join(parts).encode("utf-8", "replace"))
)
@example(b"[" * 5000)
@example(b"dataset: !!int ''")
@example(b"dataset: !!timestamp ''")
@example(b"a: &x [*x]\ndataset: *x")
@example(b"dataset: a\ntemplates: &t {b: *t}")
@example(b"dataset: a\ntemplates: {b: {jinja: c}}")
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "templates.yaml"
    path.write_bytes(content)
    try:
        read_promptsource(str(path))
    except DataError as error:
        assert str(path) in str(error)
