"""Files of JSON lines as tasks: forms, splits, names, and conversations in tokens."""

import json

import chat_folders
import numpy as np
import pytest
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax import config
from flan_jax.cli import run
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import chat, conversations, jsonl, mixtures, recipes
from flan_jax.instructions.tokenizer_folders import HuggingFaceVocabulary

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<turn>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim }}<end>{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] | trim }}<end>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
WORDS = ["Add 2 and 3.", "hello there, you", "in capitals", "<end> <turn>x", "\n\n", "é 你"]


def talk(*contents, first="user"):
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of one tokenizer with one template or another."""
    root = tmp_path_factory.mktemp("chat")
    count = iter(range(100))
    return lambda text: chat_folders.write(root / str(next(count)), WORDS, text)


@pytest.fixture(scope="module")
def vocabulary(folders):
    return HuggingFaceVocabulary(str(folders(TEMPLATE)))


@pytest.fixture(scope="module")
def template(vocabulary):
    return chat.ChatTemplate(vocabulary, chat.template_of(vocabulary))


@pytest.fixture(scope="module")
def theirs(vocabulary):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(vocabulary.folder)


# Conversations

CONTENT = st.text(st.sampled_from("ab 1.\n你") | st.characters(codec="utf-8"), max_size=12)
TALKS = st.lists(CONTENT, min_size=2, max_size=7).map(lambda contents: talk(*contents))


@settings(max_examples=60, deadline=None)
@given(TALKS)
def test_whole_conversations_are_those_of_transformers(template, theirs, messages):
    """Tokens and mask, by their own way to find an assistant's turns: marks in the template."""
    (found,) = conversations.whole(template, messages)
    there = messages[: len(messages) // 2 * 2]  # what follows the last answer teaches nothing
    expected = theirs.apply_chat_template(
        there, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = expected["input_ids"], expected["assistant_masks"]
    vocabulary = template.vocabulary
    end = len(ids) - ids[::-1].index(vocabulary.special["<end>"])
    # Ours begins behind BOS and ends where the last turn does, in EOS, by which decoding stops.
    assert [*found.inputs, *found.targets] == [*ids[1:end], vocabulary.eos_id]
    counted = [0] * len(found.inputs) + [*found.counted]
    assert counted == [*mask[1:end], 1]
    assert sum(found.counted) == sum(
        1 + len(vocabulary.encode(one["content"].strip())) for one in there[1::2]
    ) + 1  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(TALKS)
def test_every_turn_alone_is_what_the_whole_says(template, messages):
    (whole,), turns = (
        conversations.whole(template, messages),
        conversations.turns(template, messages),
    )
    assert conversations.last_turn(template, messages) == turns[-1:]
    said = [*whole.inputs, *whole.targets]
    for number, turn in enumerate(turns, start=1):
        assert said[: len(turn.inputs)] == [*turn.inputs]  # what infer asks a model with
        asked = chat.encode(template.vocabulary, messages[: 2 * number - 1])
        assert chat.as_prompt(template.vocabulary, asked) == [*turn.inputs]
        assert said[len(turn.inputs) :][: len(turn.targets) - 1] == [*turn.targets[:-1]]
        assert turn.targets[-1] == template.vocabulary.eos_id and turn.turn == number
    assert [turn.reference for turn in turns] == [one["content"] for one in messages[1::2]]


APPEND_ONLY = "is not append-only.*message 4"
OTHERS = [
    # A template that drops what was thought once others speak, as Qwen 3's.
    (
        "{% for m in messages %}<turn>{{ m.role }}\n{% if not loop.last %}"
        "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<end>\n"
        "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}",
        APPEND_ONLY,
    ),
    # One that says last how many there are.
    ("{{ messages | length }}{% for m in messages %}{{ m.content }}<end>{% endfor %}", "begin"),
    # One whose answers end as questions do, with nothing.
    ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no special token"),
]


@pytest.mark.parametrize("text, words", OTHERS)
def test_templates_of_which_no_sequence_can_be_made(folders, text, words):
    found = HuggingFaceVocabulary(str(folders(text)))
    template = chat.ChatTemplate(found, text)
    messages = talk("a", "<x></think>b", "c", "d")
    with pytest.raises(DataError, match=words):
        conversations.whole(template, messages)
    if "begin" in words:  # then neither
        with pytest.raises(DataError, match=words):
            conversations.turns(template, messages)
    else:
        first, last = conversations.turns(template, messages)
        assert first.targets[-1] == last.targets[-1] == found.eos_id
        assert first.reference == "<x></think>b" and "<x></think>b" in first.target


def test_an_end_that_is_eos_needs_no_other_and_stays_in_a_prompt(folders):
    text = "{% for m in messages %}{{ m.content }}<eos>{% endfor %}"
    found = HuggingFaceVocabulary(str(folders(text)))
    (whole,) = conversations.whole(chat.ChatTemplate(found, text), talk("ab", "cd", "ef", "gh"))
    eos, encode = found.eos_id, found.encode
    # Framing takes one EOS from a prompt: that of the question remains.
    assert [*whole.inputs] == [*encode("ab"), eos, eos]
    assert [*whole.targets] == [*encode("cd"), eos, *encode("ef"), eos, *encode("gh"), eos]
    uncounted = len(encode("ef")) + 1
    assert whole.counted.count(0) == uncounted and whole.targets.count(eos) == 3


# Files

FORMS = {
    "messages": lambda i: {"messages": talk(f"Add 2 and {i}", str(2 + i), "why?", "so")},
    "instruction": lambda i: {"instruction": "Add.", "input": f"2 and {i}", "output": str(2 + i)},
    "prompt": lambda i: {"prompt": f"2 and {i} are", "completion": f" {2 + i}"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_line_stays_in_its_split(tmp_path, form):
    """Whatever else is in a file, in what order; and what says the same is never apart."""
    lines = [FORMS[form](i) for i in range(400)]
    found = jsonl.read_jsonl(write(tmp_path / "a.jsonl", lines))
    assert found.form == form and list(found.rows) == ["train", "validation", "test"]
    assert sum(map(len, found.rows.values())) == 400
    assert all(8 <= len(found.rows[split]) <= 36 for split in ("validation", "test"))

    def split_of(lines):
        rows = [(row, split) for split, some in lines.rows.items() for row in some]
        return {json.dumps({k: v for k, v in row.items() if k != "id"}): s for row, s in rows}

    again = [dict(reversed(line.items()), more=1) for line in lines[200:] + lines[:200] * 2]
    other = jsonl.read_jsonl(write(tmp_path / "b.jsonl", again))
    assert split_of(other) == split_of(found) and other.digest != found.digest
    assert {s: len(rows) for s, rows in other.rows.items()} == {
        s: sum(2 if int(row["id"].removeprefix("line/")) <= 200 else 1 for row in rows)
        for s, rows in found.rows.items()
    }
    whole = jsonl.read_jsonl(write(tmp_path / "c.jsonl", lines), validation=0, test=1)
    assert list(whole.rows) == ["test"] and whole.rows["test"][7]["id"] == "line/8"


def test_texts_are_as_they_are(tmp_path):
    lines = [
        {"instruction": "Add.", "input": "2 and 3", "output": "5\n"},
        {"instruction": "Say hello.", "input": "", "output": "</s> hello", "id": 7},
        {"instruction": "Say bye.", "input": None, "output": "bye"},
    ]
    rows = jsonl.read_jsonl(write(tmp_path / "a.jsonl", lines), 0, 0).rows["train"]
    assert [(row["inputs"], row["targets"]) for row in rows] == [
        ("Add.\n\n2 and 3", "5\n"), ("Say hello.", "</s> hello"), ("Say bye.", "bye"),
    ]  # fmt: skip
    (row,) = jsonl.read_jsonl(
        write(tmp_path / "b.jsonl", [{"prompt": " 1 +", "completion": " 1 "}]), 0, 0
    ).rows["train"]
    assert (row["inputs"], row["targets"]) == (" 1 +", " 1 ")


USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "ho"}


@pytest.mark.parametrize(
    "line, words",
    [
        ('{"text": "a"}', "line 3: a line has 'messages'.*this one has 'text'"),
        ('{"mesages": []}', "line 3.*did you mean 'messages'"),
        ('{"prompt": "a", "completion": "b"}', "line 3.*'prompt', and those before.*'instruction'"),
        ('{"instruction": "a", "prompt": "b"}', "line 3: a line has"),
        ('{"instruction": "a", "outptu": "b"}', "line 3: 'output' is missing.*did you mean"),
        ('{"instruction": "a", "output": 3}', "line 3: 'output' must be a string, found a number"),
        ('{"instruction": "a", "input": [1], "output": ""}', "line 3: 'input' must be a string"),
        ('{"instruction": "\\ud800", "output": ""}', "line 3: 'instruction' holds half"),
        ("[1]", "line 3 must be an object"),
        ("{", "line 3: not JSON"),
        (json.dumps({"messages": []}), "line 3: 'messages' must be a list"),
        (json.dumps({"messages": [USER, {"role": "user"}]}), "message 2 has no text 'content'"),
        (json.dumps({"messages": [USER, {**ANSWER, "weight": 0}]}), "message 2 has no text"),
        (json.dumps({"messages": [USER, {**ANSWER, "name": "x"}]}), "message 2: 'name' is not"),
        (json.dumps({"messages": [USER]}), "line 3: no message has the role 'assistant'.*user"),
        (json.dumps({"messages": [USER, ANSWER], "tools": [{}]}), "line 3: 'tools' is not"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, words):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=words) as caught:
        jsonl.read_jsonl(str(path))
    assert str(path) in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "prompt", "completion", "instruction",
                         "output", "input"]), inner, max_size=3),
    max_leaves=8,
).map(json.dumps))  # fmt: skip
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "a.jsonl"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        found = jsonl.read_jsonl(str(path))
    except DataError as error:
        assert str(error).isprintable() or "\n" in str(error) or "\t" in str(error)
    else:
        assert found.rows and found.form in jsonl.FORMS


@pytest.mark.parametrize("shares", [(-0.1, 0), (0.6, 0.6), (0, "1"), (float("nan"), 0)])
def test_shares_that_cannot_be(tmp_path, shares):
    with pytest.raises(DataError, match="validation|test"):
        jsonl.read_jsonl(write(tmp_path / "a.jsonl", [FORMS["prompt"](1)]), *shares)


@pytest.mark.parametrize(
    "path, name",
    [
        ("a/my-chats.v2.jsonl", "my_chats_v2"), ("x.json", "x"), ("Übung 1.jsonl", "bung_1"),
        ("你.jsonl", "jsonl"), ("plain", "plain"),
    ],
)  # fmt: skip
def test_names_of_files_become_names_of_tasks(path, name):
    assert jsonl.task_name(path) == name


# Tasks


def test_a_file_is_a_module(tmp_path, monkeypatch, capsys):
    write(tmp_path / "my-notes.jsonl", [FORMS["prompt"](i) for i in range(60)])
    monkeypatch.chdir(tmp_path)
    (module,) = config.import_modules("jsonl:my-notes.jsonl")
    assert module.__name__ == f"jsonl:{tmp_path}/my-notes.jsonl"
    assert "task 'my_notes', 60 prompts (train 5" in capsys.readouterr().err
    assert config.import_modules([f"jsonl:{tmp_path}/my-notes.jsonl"]) == [module]  # once
    assert {"inputs", "targets"} <= set(next(iter(
        seqio.get_mixture_or_task("my_notes").get_dataset({"inputs": 9, "targets": 9}, "train")
    )))  # fmt: skip
    (tmp_path / "more").mkdir()
    write(tmp_path / "more/my-notes.jsonl", [FORMS["prompt"](1)])
    with pytest.raises(DataError, match="'my_notes' is registered already"):
        config.import_modules("jsonl:more/my-notes.jsonl")
    with pytest.raises(DataError, match="my-notez.jsonl.*did you mean 'my-notes.jsonl'"):
        config.import_modules("jsonl:my-notez.jsonl")
    with pytest.raises(ConfigError, match="a task module"):
        config.import_modules("jsonl:\0")


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A file of 60 conversations as task `chats`, and a mixture with another task."""
    root = tmp_path_factory.mktemp("lines")
    path = write(root / "chats.jsonl", [FORMS["messages"](i) for i in range(60)])
    config.import_modules(f"jsonl:{path}")
    other = write(root / "prompted_sums.jsonl", [FORMS["prompt"](i) for i in range(20)])
    jsonl.register_jsonl("prompted_sums", other, validation=0, test=0)
    mixtures.register_mixture("chats_and_sums", ["chats", "prompted_sums"])
    return path


@pytest.fixture
def in_use(vocabulary, monkeypatch):
    monkeypatch.setenv("VOCABULARY", vocabulary.folder)


def test_what_is_prepared_follows_the_layout(registered, in_use, tmp_path):
    """A decoder trains on whole conversations, others on turns; an evaluation asks for the last."""
    count = len(jsonl.find_registered("chats").rows["train"])

    def prepared(layout, name="chats_and_sums", split="train"):
        return prepare(name, split, Renderings(1), str(tmp_path), layout=layout)

    for layout, task, examples in (
        ("decoder", "chats_whole", count), ("encoder_decoder", "chats_turns", 2 * count),
        (None, "chats", count),
    ):  # fmt: skip
        found = prepared(layout)
        assert found.rates == {task: count, "prompted_sums": 20}
        assert [table.count for table in found.tables] == [examples, 20]
    whole, turns, last = (
        prepared(layout, "chats").units[0][0].read([0])[0]
        for layout in ("decoder", "encoder_decoder", None)
    )
    assert whole.counted.sum() < len(whole.targets) and turns.counted is last.counted is None
    assert last.references == ("so",) and turns.id == f"{last.id}#1" and whole.id == last.id
    assert last.prompt.endswith("<turn>assistant\n") and last.target == "so<end>\n"
    assert whole.prompt + whole.target == last.prompt + last.target
    np.testing.assert_array_equal(whole.inputs, turns.inputs)


def test_another_template_is_other_tokens(registered, in_use, folders, monkeypatch):
    before = recipes.get_recipe("chats_whole").fingerprint()
    assert recipes.get_recipe("chats_turns").fingerprint() != before
    monkeypatch.setenv("VOCABULARY", str(folders(TEMPLATE.replace("| trim", ""))))
    assert recipes.get_recipe("chats_whole").fingerprint() != before
    monkeypatch.setenv("VOCABULARY", str(folders(None)))
    with pytest.raises(DataError, match="brings no chat template: set VOCABULARY to"):
        recipes.get_recipe("chats_whole").fingerprint()


def test_a_template_that_will_not_do_is_named(registered, folders, tmp_path, monkeypatch):
    folder = folders(OTHERS[2][0])
    monkeypatch.setenv("VOCABULARY", str(folder))
    with pytest.raises(DataError, match=rf"{folder}.*chats.jsonl, line .*chats_turns has each"):
        prepare("chats", "train", Renderings(1), str(tmp_path), layout="decoder")
    assert prepare("chats", "train", Renderings(1), str(tmp_path), layout="encoder_decoder").units


def test_tasks_show_and_check(registered, in_use, folders, capsys, monkeypatch):
    module = f"--module=jsonl:{registered}"
    assert run(["tasks", "show", "chats_whole", "-n", "1", module]) == 0
    said = capsys.readouterr().out
    assert "Answer as the assistant" in said and "[target]\n2<end>\n<turn>user\nwhy?<end>" in said
    assert "[learnt]\n2\nso\n" in said
    assert run(["tasks", "check", module]) == 0
    assert "1 entries checked, 0 with problems" in capsys.readouterr().out
    monkeypatch.setenv("VOCABULARY", str(folders(OTHERS[2][0])))
    assert run(["tasks", "check", module]) == 1
    said = capsys.readouterr().out
    assert "chats: VOCABULARY" in said and "no special token" in said
