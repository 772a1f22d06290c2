"""Models of ours behind lm-evaluation-harness, beside its own backend on the same folders."""

import json
import sys

import pytest
import tokenizers
import yaml
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from flan_jax import cli
from flan_jax.errors import CheckpointError, ConfigError, DataError
from flan_jax.scoring import report

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")
pytest.importorskip("accelerate")

SPECIAL = ("<pad>", "</s>", "<s>", "<unk>", "<turn>", "<end>")
WORDS = (
    "the cat sat on the mat and a dog unhappy with happily red green Which colour: question answer"
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('no system') }}{% endif %}<turn>{{ m['role'] }}\n{{ m['content'] }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# Two windows of the text that is rolled over, and less than the longest context.
MAX_LENGTH = 40
LONG = "a dog and a cat sat on the mat with a red and a green question " * 3
PAIRS = [
    ("the cat sat", " on the mat"),
    ("the cat sat", " on"),
    ("the cat sat", "isfied unhappily"),
    ("the cat sat ", "on the mat"),  # the space is the continuation's
    ("the cat sat\n\n", "a dog"),
    ("un", "happy and a dog"),  # their letters are parted otherwise than each alone
    ("", "the cat"),
    ("", " red"),
    ("   ", "green"),
    (LONG, " red"),  # cut from the left
    (LONG, " green and a dog"),
    ("<s>the cat", " sat</s>"),  # special tokens, and no second BOS
    ("Which colour: red", " red"),
    ("Which colour: red", " green"),
]


def write_tokenizer(folder, byte_level: bool, single: str):
    """A BPE of some words: byte-level as Llama 3's, or with blanks in words as T5's."""
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    if byte_level:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        made.decoder = decoders.Metaspace(prepend_scheme="always")
    letters = [chr(code) for code in range(33, 127)] + ["\n", "Ġ" if byte_level else "▁", "Ċ"]
    trainer = trainers.BpeTrainer(
        vocab_size=190, special_tokens=list(SPECIAL), show_progress=False, initial_alphabet=letters
    )
    made.train_from_iterator([WORDS] * 9, trainer)
    special = [(name, made.token_to_id(name)) for name in ("<s>", "</s>")]
    made.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    made.save(str(folder / "tokenizer.json"))
    config = dict(zip(("pad_token", "eos_token", "bos_token", "unk_token"), SPECIAL, strict=False))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if "<s>" not in single:
        del config["bos_token"]
    else:
        config["chat_template"] = TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_model(folder, kind):
    """Random weights, livelier than fresh ones."""
    torch.manual_seed(2)
    ids = dict(pad_token_id=0, eos_token_id=1)
    sizes = dict(
        vocab_size=192, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, bos_token_id=2, **ids,
    )  # fmt: skip
    if kind == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    elif kind == "gemma":
        kinds = ["sliding_attention", "full_attention"]
        config = transformers.Gemma3TextConfig(**sizes, sliding_window=8, layer_types=kinds)
        model = transformers.AutoModelForCausalLM.from_config(config)
    else:
        config = transformers.T5Config(
            vocab_size=192, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
            decoder_start_token_id=0, **ids,
        )  # fmt: skip
        model = transformers.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += torch.randn_like(parameter) * (0.1 if "norm" in name else 0.2)
    model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    write_tokenizer(folder, kind == "llama", "$A </s>" if kind == "t5" else "<s> $A")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {kind: tmp_path_factory.mktemp(kind) for kind in ("llama", "gemma", "t5")}
    for kind, folder in found.items():
        write_model(folder, kind)
    return found


@pytest.fixture(scope="module")
def harness():
    from flan_jax.harness import lm_eval

    return lm_eval


@pytest.fixture(scope="module")
def both(folders, harness):
    """Ours and theirs, of a kind of model."""
    from lm_eval.models.huggingface import HFLM

    made = {}

    def of(kind):
        if kind not in made:
            options = dict(batch_size=4, max_length=MAX_LENGTH)
            ours = harness.FlanJaxLM(checkpoint=f"hf:{folders[kind]}", **options)
            # Its cache of logits mistakes a context that ends as another's continuation does.
            options |= dict(device="cpu", dtype="float32", logits_cache=False)
            theirs = HFLM(str(folders[kind]), **options)
            made[kind] = ours, theirs
        return made[kind]

    return of


def instances(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


@pytest.mark.parametrize("kind", ["llama", "gemma", "t5"])
def test_log_likelihoods_are_theirs(both, kind):
    ours, theirs = both(kind)
    words = WORDS.split()[:9]
    asked = instances("generate_until", [(word, {"max_gen_toks": 1}) for word in words])
    said = theirs.generate_until(asked, disable_tqdm=True)
    greedy = [(word, text) for word, text in zip(words, said, strict=True) if text]
    asked = instances("loglikelihood", [*PAIRS, *greedy])
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    found = ours.loglikelihood(asked)
    for one, other, request in zip(found, expected, asked, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-4), request.args
        assert one[1] is other[1], request.args
    assert {greedy for _, greedy in found} == {True, False}
    assert len({round(score, 3) for score, _ in found}) > 10


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_whole_texts_are_rolled_over_as_theirs_are(both, kind):
    ours, theirs = both(kind)
    asked = instances("loglikelihood_rolling", [(LONG,), ("the cat",), (LONG[:50],), (LONG * 2,)])
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert len(theirs.tok_encode(LONG)) > MAX_LENGTH
    assert ours.loglikelihood_rolling(asked) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma", "t5"])
def test_answers_are_theirs(both, kind):
    """Whatever ends them; of too long a context the end is read."""
    ours, theirs = both(kind)
    contexts = ["the cat sat", "Which colour: red", LONG, "a"]
    plain = {"until": ["</s>"], "max_gen_toks": 20, "do_sample": False}
    asked = instances("generate_until", [(text, dict(plain)) for text in contexts])
    expected = theirs.generate_until(asked, disable_tqdm=True)
    found = ours.generate_until(asked)
    # Theirs lets an encoder-decoder say as many tokens more as its context has.
    assert [text[: len(one)] if kind == "t5" else text for text, one in zip(
        expected, found, strict=True)] == found  # fmt: skip
    assert max(map(len, found)) > 20 and len(set(found)) == 4
    stop = found[0][6:9]
    short = {**plain, "until": ["\x00", stop], "temperature": 0.0}
    asked = instances("generate_until", [(text, dict(short)) for text in contexts])
    stopped = ours.generate_until(asked)
    assert stopped == theirs.generate_until(asked, disable_tqdm=True) or kind == "t5"
    assert stopped[0] == found[0][: found[0].index(stop)]


def test_sampling_is_a_function_of_seed_and_context(both, folders, harness):
    ours, _ = both("llama")
    options = {"do_sample": True, "temperature": 1.5, "top_k": 50, "max_gen_toks": 8}
    contexts = ["the cat", "a dog", "the cat", "red"]
    asked = instances("generate_until", [(text, options) for text in contexts])
    found = ours.generate_until(asked)
    assert found[0] != found[2]  # asked twice, answered twice
    assert ours.generate_until([asked[3], asked[0]]) == [found[3], found[0]]
    other = instances("generate_until", [(text, {**options, "seed": 1}) for text in contexts])
    assert ours.generate_until(other) != found
    greedy = instances("generate_until", [("the cat", {"max_gen_toks": 8, "top_k": 50})])
    assert ours.generate_until(greedy) == ours.generate_until(greedy)


def test_conversations_are_in_the_words_of_the_template(both):
    """A system message that it refuses is left out; tokens of turns are single ones."""
    ours, theirs = both("llama")
    turns = [{"role": "user", "content": "the cat"}, {"role": "model", "content": "a dog"}]
    for history, answering in ((turns[:1], True), (turns, False)):
        text = ours.apply_chat_template(history, answering)
        assert text == theirs.apply_chat_template(history, answering)
        assert ours.respondent.texts.context(text) == theirs.tok_encode(text)
    system = [{"role": "system", "content": "x"}, *turns[:1]]
    assert ours.apply_chat_template(system) == theirs.apply_chat_template(system)
    assert ours.chat_template(True) == TEMPLATE
    t5, _ = both("t5")
    with pytest.raises(DataError, match="no chat template"):
        t5.apply_chat_template(turns)


ROWS = [
    {"id": f"test/{i}", "text": f"{word} {i}", "label": i % 2}
    for i, word in enumerate(("red", "green") * 3)
]


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    """A task of theirs that is `toy_choice_rank` to the token: EOS is scored, too."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "rows.jsonl").write_text(rows)
    task = {
        "task": "toy_choice",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(folder / "rows.jsonl")}, "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Which colour: {{text}}",
        "doc_to_choice": ["red</s>", "green</s>"],
        "doc_to_target": "label",
        "target_delimiter": " ",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    (folder / "toy_choice.yaml").write_text(yaml.safe_dump(task))
    return folder


def test_three_harnesses_agree_on_one_task(
    both, folders, task_folder, prepared_dir, tmp_path, monkeypatch, capsys
):
    """Theirs with both models, and `flan-jax eval`: the same scores of options, and accuracy."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from flan_jax.harness.__main__ import main

    manager = TaskManager(include_path=str(task_folder), include_defaults=False)
    runs = [
        lm_eval.simple_evaluate(model, tasks=["toy_choice"], task_manager=manager,
                                bootstrap_iters=0)
        for model in both("gemma")
    ]  # fmt: skip
    accuracies = [run["results"]["toy_choice"]["acc,none"] for run in runs]
    scores = [
        {sample["doc"]["id"]: [score for score, _ in sample["filtered_resps"]]
         for sample in run["samples"]["toy_choice"]} for run in runs
    ]  # fmt: skip
    checkpoint = f"hf:{folders['gemma']}"
    out = tmp_path / "ours"
    command = ["eval", f"--checkpoint={checkpoint}", "--mixture=toy_choice_rank", f"--out={out}"]
    command += ["--module=toy_ranked", f"--gin.PREPARED_DIR={prepared_dir}"]
    assert cli.run([*command, "--gin.TASK_FEATURE_LENGTHS={'inputs': 40, 'targets': 40}"]) == 0
    summary = json.loads((out / report.METRICS_FILE).read_text())
    lines = (out / report.PREDICTIONS_FILE).read_text().splitlines()
    own = {row["id"]: row["scores"] for row in map(json.loads, lines)}
    assert list(own) == list(scores[0]) and len(own) == 6
    for row, expected in own.items():
        assert scores[0][row] == pytest.approx(expected, abs=1e-4)
        assert scores[1][row] == pytest.approx(expected, abs=1e-4)
    assert summary["overall"]["accuracy"] == pytest.approx(100 * accuracies[0])
    assert accuracies[0] == accuracies[1]

    options = [f"--include_path={task_folder}", "--tasks=toy_choice", f"--output_path={tmp_path}"]
    arguments = ["lm_eval", f"--model_args=checkpoint={checkpoint},batch_size=3", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 0
    assert "flan_jax" in capsys.readouterr().out
    (written,) = tmp_path.rglob("results_*.json")
    results = json.loads(written.read_text())
    assert results["results"]["toy_choice"]["acc,none"] == accuracies[0]
    assert results["config"]["model_family"] == "DecoderConfig"


def test_a_checkpoint_of_ours_is_asked_as_its_source_is(both, folders, harness, tmp_path):
    assert cli.run(["convert", f"hf:{folders['llama']}", str(tmp_path / "ours")]) == 0
    copied = harness.FlanJaxLM(checkpoint=str(tmp_path / "ours"), batch_size="4", max_length=40)
    asked = instances("loglikelihood", PAIRS[:6])
    scores = both("llama")[0].loglikelihood(asked)
    for one, other in zip(copied.loglikelihood(asked), scores, strict=True):
        assert one == (pytest.approx(other[0], abs=1e-5), other[1])


def test_what_cannot_be_asked(both, folders, harness):
    where = f"hf:{folders['llama']}"
    with pytest.raises(ConfigError, match="no argument 'pretrained'.*there are checkpoint"):
        harness.FlanJaxLM(checkpoint=where, pretrained="x")
    with pytest.raises(ConfigError, match="checkpoint=... is missing"):
        harness.FlanJaxLM()
    with pytest.raises(ConfigError, match="batch_size must be a whole number"):
        harness.FlanJaxLM(checkpoint=where, batch_size="many")
    with pytest.raises(CheckpointError):
        harness.FlanJaxLM(checkpoint="hf:/nowhere")
    ours, _ = both("llama")
    with pytest.raises(DataError, match="continuation 'happy' adds no token"):
        ours.loglikelihood(instances("loglikelihood", [("un", "happy")]))
    with pytest.raises(DataError, match="tokens, and max_length is 40"):
        ours.loglikelihood(instances("loglikelihood", [("the cat", LONG)]))
    for options, words in (
        ({"repetition_penalty": 1.1}, "'repetition_penalty' is not known"),
        ({"max_gen_toks": 40}, "max_gen_toks 40 leaves no room for a context"),
        ({"do_sample": True, "temperature": -1.0}, "TEMPERATURE must be"),
    ):
        with pytest.raises((ConfigError, DataError), match=words):
            ours.generate_until(instances("generate_until", [("the cat", options)]))
    with pytest.raises(ConfigError, match="decoder-only"):
        both("t5")[0].loglikelihood_rolling(instances("loglikelihood_rolling", [(LONG,)]))


def test_errors_of_the_command_line_are_a_line(harness, monkeypatch, capsys):
    """Their program reads all of its tasks first, which takes long; here it makes the model."""
    import lm_eval.__main__

    from flan_jax.harness.__main__ import main

    monkeypatch.setattr(sys, "argv", ["lm_eval", "--tasks=x"])
    make = lambda: harness.FlanJaxLM.create_from_arg_obj({"checkpont": "a"}, {"device": "cpu"})  # noqa: E731
    monkeypatch.setattr(lm_eval.__main__, "cli_evaluate", make)
    assert main() == 2 and sys.argv[-2:] == ["--model", "flan_jax"]
    assert "did you mean 'checkpoint'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["lm_eval", "--help"])
    assert main() == 0
    assert "checkpoint  what --checkpoint" in capsys.readouterr().out
