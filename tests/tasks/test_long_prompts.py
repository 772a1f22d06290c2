"""PROMPT_BUDGET: what long prompts of every kind of task keep, what they lose, and who is told."""

import dataclasses
import json
import re

import chat_folders
import gin
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st
from p3_rows import ROWS
from prepared import examples

from flan_jax.cli import run
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import DataError
from flan_jax.evaluation.evaluate import EvalConfig
from flan_jax.evaluation.evaluate import evaluate as evaluate_model
from flan_jax.instructions import (
    datasets,
    fewshot,
    jsonl,
    long_prompts,
    promptsource,
    recipes,
    rendering,
)
from flan_jax.instructions.budgets import Fit
from flan_jax.instructions.draws import Draws, RenderingKey
from flan_jax.instructions.options import DEFAULT_FORM
from flan_jax.instructions.templates import Template, _parse
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.t5 import T5Config
from tasks import flan

DRAWS = Draws(RenderingKey(), "t", "x")
BY_NAME = {dataset.name: dataset for dataset in flan.DATASETS}
MORE = " Some more words of it, and others."


def rows_of(dataset):
    found = map(dataset.read_fields, datasets.find_registered(f"flan_{dataset.name}").samples)
    return [fields for fields in found if fields is not None]


def rendered(dataset, template, fields):
    options = fields.get("options", ())
    return rendering.render_template(
        template, "t0", fields, DRAWS, options, form=DEFAULT_FORM, kept=dataset.kept
    )


def length(prompt):
    return len(VOCABULARY.encode(prompt)) + 1  # EOS


def fitted(out, budget):
    (found,) = rendering.within_budget(out, budget)
    return found


WORDINGS = [
    pytest.param(dataset, template, id=f"{dataset.name}_t{index}")
    for dataset in flan.DATASETS
    for index, template in enumerate(dataset.templates)
    if template.has_options
]


def lengthened(dataset, template):
    """Fields of which the longest that may be shortened is very long, and its name."""
    fields = rows_of(dataset)[0]
    free = rendered(dataset, template, fields).draft.texts()
    name = max(free, key=lambda field: len(free[field]))
    return {**fields, name: fields[name] + MORE * 300}, name


def test_all_of_flans_options_stay():
    """Of 307 templates with OPTIONS 296 lose them where the prompt is cut at its end."""
    whole = cut = 0
    for one in WORDINGS:
        dataset, template = one.values
        fields, name = lengthened(dataset, template)
        out = rendered(dataset, template, fields)
        block = DEFAULT_FORM.block(out.options)
        cut += block not in VOCABULARY.decode(VOCABULARY.encode(out.inputs)[:511])
        found = fitted(out, 512)
        assert found.fit == Fit.SHORTENED and 500 < length(found.inputs) <= 512, one.id
        others = {field for field in out.draft.texts() if field != name}
        kept = [fields[field] for field in others | {*dataset.kept} if field in template.fields]
        whole += block in found.inputs and all(text in found.inputs for text in kept)
        assert (found.targets, found.references) == (out.targets, out.references)
    assert (len(WORDINGS), whole, cut) == (307, 307, 296)


TEXT = st.text(st.sampled_from("ab 1.\n你é\u0301") | st.characters(codec="utf-8"), max_size=300)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(WORDINGS), st.integers(64, 700), st.integers(1, 20))
def test_any_row_fits_and_keeps_what_is_asked(data, wording, budget, times):
    dataset, template = wording.values
    fields = dict(rows_of(dataset)[0])
    free = rendered(dataset, template, fields).draft.texts()
    for name in free:
        if data.draw(st.booleans(), label=name):
            fields[name] = data.draw(TEXT) * times
    out = rendered(dataset, template, fields)
    found = fitted(out, budget)
    assert (found.targets, found.options) == (out.targets, out.options)
    if length(out.inputs) <= budget:
        assert found == out and found.fit == Fit.WHOLE
        return
    bare = template.render({**fields, **dict.fromkeys(out.draft.texts(), "")}, out.options)[0]
    if length(bare) > budget:
        assert (found.inputs, found.fit) == (out.inputs, Fit.TOO_LONG)
        return
    assert found.fit == Fit.SHORTENED and length(found.inputs) <= budget
    at = 0
    for literal, field in _parse(template.inputs):  # the instruction, and OPTIONS, in their order
        for text in (literal, DEFAULT_FORM.block(out.options) if field == "options_" else ""):
            at = found.inputs.index(text, at) + len(text)
    assert all(fields[name] in found.inputs for name in dataset.kept if name in template.fields)


PAIR = Template("Read.\n{one}\n{two}\n{ask}\n{options_}", "{answer}")


def paired(one, two, ask="Which?", answer="x", options=("x", "y")):
    fields = {"one": one, "two": two, "ask": ask, "answer": answer}
    return rendering.render_template(PAIR, "t0", fields, DRAWS, options)


def test_texts_give_way_by_length():
    VOCABULARY.use("byte")
    long, longer = "q" * 1000, "z" * 3000
    # The longest alone, then both to the same length, then what is short.
    alone = fitted(paired(long, longer), 2500).inputs
    assert long in alone and length(alone) == 2500
    both = fitted(paired(long, longer), 1000).inputs
    assert both.count("q") == both.count("z") and length(both) in (999, 1000)
    ask = "Which of these two? " * 9
    nearly = fitted(paired(long, longer, ask), 280)
    assert ask in nearly.inputs and nearly.inputs.count("q") == nearly.inputs.count("z") < 40
    last = fitted(paired(long, longer, ask), 150).inputs
    assert "Which of" in last and ask not in last and "q" not in last and "- x\n- y" in last
    assert fitted(paired(long, longer, ask), 64) == fitted(paired(long, longer, ask), 64)
    # What is said stays, and a row without anything else is left and counted.
    assert fitted(paired("j" * 300, longer, options=("x", "j" * 300)), 900).inputs.count("j") == 600
    stuck = paired("", "", "", options=("x", "j" * 900))
    assert fitted(stuck, 500) == dataclasses.replace(stuck, fit=Fit.TOO_LONG)
    # Words stay whole where there are blanks, and letters keep their accents where there are none.
    words = fitted(paired("", "word " * 900), 700).inputs
    assert set(words.splitlines()[2].split()) == {"word"} and length(words) > 690
    for budget in range(600, 606):
        accents = fitted(paired("", "e\u0301" * 900), budget).inputs.splitlines()[2]
        assert accents == "e\u0301" * (len(accents) // 2)


def test_exemplars_go_first_and_whole(monkeypatch):
    VOCABULARY.use("byte")
    pool = fewshot.Exemplars(lambda: [(f"row/{i}", {"text": f"{i}" * 40}) for i in range(9)])
    shots = fewshot.FewShot(pool, count=4, tokens=9000)
    make = lambda fields, own: (fields["text"], "answer")  # noqa: E731
    query = paired("a" * 100, "b" * 300)
    out = shots.prompt(query, "q", DRAWS, make)
    every = out.inputs.split(fewshot.NEXT)
    assert len(every) == 5 and every[-1] == f"{query.inputs}\nANSWER:"
    for kept in range(5):
        room = length(fewshot.NEXT.join(every[4 - kept :]))
        found = fitted(out, room + 20)
        assert found.inputs.split(fewshot.NEXT) == every[4 - kept :] and found.fit == Fit.WHOLE
    short = fitted(out, 300)
    assert short.fit == Fit.SHORTENED and fewshot.NEXT not in short.inputs
    assert "a" * 100 in short.inputs and short.inputs.endswith("- x\n- y\nANSWER:")


def test_a_field_to_keep_is_one_of_the_datasets():
    odd = dataclasses.replace(BY_NAME["rte"], name="odd", kept=("hypotheses",))
    with pytest.raises(DataError, match="'hypotheses' to keep; did you mean 'hypothesis'"):
        datasets.register_dataset(odd, prefix="kept_", module=__name__)


# Suites


def test_templates_of_promptsource_keep_options_and_targets(shared_data):
    """Of every file at hand: prompts of a row whose longest text is long."""
    VOCABULARY.use("byte")
    found = dict.fromkeys(Fit, 0)
    for path in sorted((shared_data / "promptsource").rglob("templates.yaml")):
        file = promptsource.read_file(epath.Path(path))
        name = re.sub(r"\W+", "_", "_".join(filter(None, (file.dataset, file.subset))))
        for template in file.templates:
            row = ROWS["anli_r1" if name == "anli" else name]
            prompt = promptsource.render(template, row, DRAWS)
            free = prompt and promptsource.draft(template, row, DRAWS, prompt).texts()
            if not free:
                continue
            longest = max(free, key=lambda at: len(free[at]))
            row = promptsource._with(row, {longest: free[longest] + MORE * 90})
            prompt = promptsource.render(template, row, DRAWS)
            draft = promptsource.draft(template, row, DRAWS, prompt)
            text, fit = long_prompts.fit(prompt.inputs, draft, 1000)
            found[fit] += 1
            assert length(text) <= 1000
            if fit == Fit.SHORTENED and template.choices_in_prompt:
                listed = [one for one in prompt.options if one in prompt.inputs]
                assert all(one in text for one in listed)
            for _, short in promptsource._texts(row):
                assert short in text or short not in prompt.inputs or len(short) > 200
    assert found[Fit.TOO_LONG] == 0 and found[Fit.SHORTENED] > 400


BBH_PROMPT = (
    "Answer.\n\nQ: One?\nA: Think. So the answer is (A).\n\nQ: Two?\nA: So the answer is (B)."
)


def test_bbh(suite, tmp_path, monkeypatch):
    asked = "Start." + MORE * 40 + " Which is it?\nOptions:\n(A) x\n(B) y"
    rows = [
        {"input": asked, "target": "(B)"},
        {"input": "So?\nOptions:\n(A) x\n(B) y", "target": "(A)"},
    ]
    (tmp_path / "bbh").mkdir()
    (tmp_path / "cot-prompts").mkdir()
    (tmp_path / "bbh/snarks.json").write_text(json.dumps({"examples": rows}))
    (tmp_path / "cot-prompts/snarks.txt").write_text(BBH_PROMPT)
    suite("tasks.bbh", BBH_DIR=tmp_path)
    before = recipes.get_recipe("bbh_snarks").fingerprint()
    plain = examples("bbh_snarks")
    monkeypatch.setenv("PROMPT_BUDGET", "200")
    assert recipes.get_recipe("bbh_snarks").fingerprint() != before
    found = examples("bbh_snarks")
    assert [one.fit for one in found] == [Fit.SHORTENED, 0, 0, 0]  # told by an example's first
    assert [one.ranked for one in found] == [one.ranked for one in plain]
    assert found[0].prompt == found[1].prompt and len(found[0].inputs) <= 200
    assert "Q: Start." in found[0].prompt and " ... " in found[0].prompt
    assert found[0].prompt.endswith("Which is it?\nOptions:\n(A) x\n(B) y\nA:")
    assert [one.to_bytes() for one in found[2:]] == [one.to_bytes() for one in plain[2:]]
    (long, short) = examples("bbh_snarks_cot")
    assert short.prompt.startswith(BBH_PROMPT) and short.fit == Fit.WHOLE
    assert "Q: One?" not in long.prompt and long.fit == Fit.SHORTENED
    monkeypatch.setenv("PROMPT_BUDGET", str(len(short.inputs) - 1))
    (_, fewer) = examples("bbh_snarks_cot")
    assert fewer.prompt.startswith("Answer.\n\nQ: Two?") and fewer.fit == Fit.WHOLE


def test_bigbench(suite, tmp_path, monkeypatch):
    asked = "Start." + MORE * 40 + " Which is it?"
    task = {
        "description": "d", "metrics": ["multiple_choice_grade"],
        "examples": [{"input": asked, "target_scores": {"this": 1, "that": 0}}],
    }  # fmt: skip
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/task.json").write_text(json.dumps(task))
    suite("tasks.bigbench", BIGBENCH_DIR=tmp_path)
    monkeypatch.setenv("PROMPT_BUDGET", "128")
    found = examples("bigbench_odd")
    assert [one.fit for one in found] == [Fit.SHORTENED, Fit.WHOLE]
    assert {len(one.inputs) <= 128 for one in found} == {True}
    for text in ("Q: Start.", " ... ", "Which is it?", "choice: this", "choice: that", "\nA:"):
        assert text in found[0].prompt


# JSON lines

CHAT = (
    "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
SYSTEM = {"role": "system", "content": "Be brief. " * 12}
TALK = [
    SYSTEM,
    {"role": "user", "content": "See this." + MORE * 30 + " Who wrote it?"},
    {"role": "assistant", "content": "Somebody." + MORE * 2},
    {"role": "user", "content": "And when?"},
    {"role": "assistant", "content": "Then."},
]
LONG = f"In.{MORE * 30} Why?"
LINES = {
    "talks": {"messages": TALK},
    "instructed": {"instruction": "Sum it." * 9, "input": LONG, "output": "o"},
    "prompted": {"prompt": LONG, "completion": "c"},
}
SHORT_LINES = {
    "talks": {
        "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    },
    "instructed": {"instruction": "i", "output": "o"},
    "prompted": {"prompt": "p", "completion": "c"},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Files of each form, a long line and a short one, and a vocabulary with a chat template."""
    root = tmp_path_factory.mktemp("long")
    for name, line in LINES.items():
        path = root / f"{name}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in (line, SHORT_LINES[name])))
        jsonl.register_jsonl(name, str(path), validation=0, test=1)
    return root, str(chat_folders.write(root / "vocabulary", [MORE, "Be brief."], CHAT))


@pytest.mark.parametrize("name", [*LINES, "talks_turns", "talks_whole"])
def test_lines_of_each_form(lines, name, tmp_path, monkeypatch):
    monkeypatch.setenv("VOCABULARY", lines[1])
    ask = lambda: prepare(name, "test", Renderings(), str(tmp_path), report=said.append)  # noqa: E731
    said: list[str] = []
    plain = ask()
    assert not any("PROMPT_BUDGET" in one for one in said) and not any(plain.fits[name].values())
    before = {one.id: one for one in plain.units[0][0]}
    monkeypatch.setenv("PROMPT_BUDGET", "250")
    found = ask()
    assert found.fingerprints != plain.fingerprints
    turns = 2 if name == "talks_turns" else 1
    assert found.fits[name] == {Fit.SHORTENED: turns, Fit.TOO_LONG: 0}
    assert f"PROMPT_BUDGET=250: {turns} prompts have shortened texts ({name}: {turns})" in said
    for one in found.units[0][0]:
        old = before[one.id]
        if one.fit == Fit.WHOLE:
            assert one.to_bytes() == old.to_bytes()
        assert (one.target, one.references) == (old.target, old.references)
        assert one.targets.tolist() == old.targets.tolist()
        if one.fit == Fit.SHORTENED:
            assert " ... " in one.prompt and 230 < len(one.inputs) <= 250 < len(old.inputs)
            if name.startswith("talks"):
                assert SYSTEM["content"] in one.prompt and "See this." in one.prompt
                assert "Who wrote it?" in one.prompt and one.prompt.endswith("<turn>assistant\n")
            else:
                assert one.prompt.endswith(" Why?") and "In." in one.prompt
                assert LINES[name].get("instruction", "") in one.prompt
    assert ask().fits == found.fits  # of what is there already


def test_what_is_shown_checked_prepared_and_evaluated(lines, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VOCABULARY", "byte")
    budget = "--gin.PROMPT_BUDGET=300"
    assert run(["tasks", "show", "prompted", "-n", "2", budget]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"line/1  \(template plain, \d+ \+ 2 tokens, shortened\)", shown)
    assert "line/2  (template plain, 2 + 2 tokens)" in shown
    run(["tasks", "check", "prompted", "instructed", budget])
    checked = capsys.readouterr().out
    assert "2 prompts have shortened texts (prompted: 1, instructed: 1)" in checked
    command = ["prepare", "--mixture=prompted", "--split=test", f"--prepared_dir={tmp_path}"]
    assert run([*command, budget]) == 0
    assert "prompts of more than 300 tokens" in capsys.readouterr().out

    gin.clear_config()
    monkeypatch.setenv("PROMPT_BUDGET", "300")
    config = EvalConfig(
        model=T5Config(384, 8, 2, 4, num_encoder_layers=1, num_decoder_layers=1, mlp_dim=8),
        mixture="prompted",
        feature_lengths={"inputs": 300, "targets": 4},
        prepared_dir=str(tmp_path),
    )
    said: list[str] = []
    found = evaluate_model(config, None, str(tmp_path / "out"), said.append)
    assert found["long_prompts"] == {
        "budget": 300, "by_task": {"prompted": {"shortened": 1, "too_long": 0}},
    }  # fmt: skip
    assert not any("are cut" in one for one in said)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == found
    config = dataclasses.replace(config, feature_lengths={"inputs": 200, "targets": 4}, examples=1)
    found = evaluate_model(config, None, str(tmp_path / "more"), said.append)
    assert found["long_prompts"]["by_task"]["prompted"]["shortened"] == 1
    assert any("1 prompts are longer than 200 tokens and are cut at their end" in s for s in said)


def test_samples_of_flan_are_shown_within_a_budget(monkeypatch):
    before = recipes.get_recipe("flan_rte_t0").fingerprint()
    plain = dict(datasets.render_samples("flan_rte_t0"))
    monkeypatch.setenv("PROMPT_BUDGET", "64")
    assert recipes.get_recipe("flan_rte_t0").fingerprint() != before
    found = dict(datasets.render_samples("flan_rte_t0"))
    assert any(one.fit == Fit.SHORTENED for one in found.values())
    for key, one in found.items():
        assert length(one.inputs) <= 64 and (one.fit or one == plain[key])
