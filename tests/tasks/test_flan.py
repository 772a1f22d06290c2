"""FLAN's entries, mixtures and renderings, on rows that TFDS itself reads."""

import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

import pytest
import seqio
import tensorflow_datasets as tfds
import tfds_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.cli import run
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings, task_examples, unit_specs
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import (
    cards,
    datasets,
    fewshot,
    mixtures,
    recipes,
    rendering,
    tfds_source,
)
from flan_jax.instructions import samples as sample_lib
from flan_jax.instructions.draws import Draws, RenderingKey, rendering_context
from flan_jax.instructions.vocabulary import VOCABULARY
from tasks import flan
from tasks.flan import common
from tasks.flan import mixtures as flan_mixtures

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/flan_prompts.json"
BY_NAME = {dataset.name: dataset for dataset in flan.DATASETS}
NAMES = sorted(BY_NAME)
# Their training slices hold 30,000 rows even here.
LONG = ("true_case", "fix_punct", "word_segment", "mnli_matched", "mnli_mismatched")
CLUSTER_SIZES = {
    "summarization": 11, "struct_to_text": 4, "reading_comprehension": 6, "closed_book_qa": 4,
    "paraphrase": 4, "sentiment": 4, "text_formatting": 3, "commonsense": 4, "translation": 8,
    "coreference": 4, "nli": 10, "math": 1, "conversational_qa": 2, "word_sense": 1,
    "linguistic_acceptability": 1, "question_classification": 1,
    "reading_comprehension_with_commonsense": 2,
}  # fmt: skip


def samples(name: str) -> list[dict]:
    return datasets.find_registered(f"flan_{name}").samples


def rows_of_builder(name: str) -> list[dict]:
    """Sample rows of all datasets that read the same data."""
    same = [d.name for d in flan.DATASETS if d.tfds == BY_NAME[name].tfds]
    return [row for other in same for row in samples(other)]


def kept(name: str, rows: list[dict] | None = None) -> list[dict]:
    found = [BY_NAME[name].read_fields(row) for row in rows or samples(name)]
    return [fields for fields in found if fields is not None]


# What there is


def test_seventy_entries_in_the_clusters_of_the_paper():
    assert len(flan.DATASETS) == 70 and len(BY_NAME) == 70
    assert set(flan.CLUSTERS) == set(CLUSTER_SIZES) and len(flan.CLUSTERS) == 17
    for cluster, size in CLUSTER_SIZES.items():
        assert sum(d.cluster == cluster for d in flan.DATASETS) == size, cluster
    trained = [d for d in flan.DATASETS if d.name != "wsc273"]
    assert len({d.attributes["family"] for d in trained}) == 62
    papers = {d.attributes["paper_cluster"] for d in flan.DATASETS}
    assert len(papers) == 12
    misc = {d.attributes["family"] for d in trained if d.attributes["paper_cluster"] == "misc"}
    assert len(misc) == 7
    assert set(sum(common.FAMILIES.values(), ())) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_worded_in_ten_sound_ways(name):
    dataset = BY_NAME[name]
    assert datasets.check_dataset(dataset, samples(name)) == []
    assert len(dataset.templates) == 10
    assert len(kept(name)) >= 2
    assert len(kept(name)) < len(samples(name)) or len(samples(name)) >= 3
    assert dataset.metrics


def test_no_two_datasets_share_a_wording_unless_they_are_one_family():
    owners: dict[str, set[str]] = {}
    for dataset in flan.DATASETS:
        for template in dataset.templates:
            owners.setdefault(template.inputs, set()).add(dataset.attributes["family"])
    shared = {text: names for text, names in owners.items() if len(names) > 1}
    wmt16 = {f"wmt16_translate_{pair}" for pair in ("deen", "tren", "csen", "fien", "roen", "ruen")}
    assert all(names <= wmt16 for names in shared.values()), shared


def test_the_prompts_are_those_of_the_golden_file():
    """Rewritten with FLAN_JAX_UPDATE_GOLDEN=1, when templates or samples change on purpose."""
    found = {}
    for name in NAMES:
        dataset, fields = BY_NAME[name], kept(name)[0]
        draws = Draws(RenderingKey(), name, "golden")
        found[name] = {
            template_id: [rendered.inputs, rendered.targets]
            for template_id, template in (dataset.named_templates | dataset.ablations).items()
            for rendered in [
                rendering.render_template(
                    template, template_id, fields, draws, fields.get("options", ())
                )
            ]
        }
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_what_the_command_line_lists(capsys):
    assert run(["tasks", "list", "--module=tasks.flan", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 70
    rte = next(entry for entry in listed if entry["name"] == "flan_rte")
    wanted = {
        "cluster": "nli", "paper_cluster": "nli", "kind": "classification",
        "options": ["yes", "no"], "source": ["super_glue/rte"],
    }  # fmt: skip
    assert {key: rte[key] for key in wanted} == wanted
    assert len(rte["templates"]) == 10 and rte["licence"]
    for variant in ("", "_t0", "_t0_rank", "_rank", "_notemplate", "_name", "_4templates"):
        for form in ("", "_fewshot"):
            assert f"flan_rte{variant}{form}" in rte["variants"]
    known = set(seqio.TaskRegistry.names())
    assert all(variant in known for entry in listed for variant in entry["variants"])


# Mixtures


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(CLUSTER_SIZES)), st.sampled_from(flan_mixtures.FORMS))
def test_what_is_held_out_is_nowhere_in_training(cluster, form):
    trained = {task.name for task in mixtures.member_tasks(f"flan_except_{cluster}{form}")}
    entries = {cards.get_card(name).name for name in trained}
    clusters = {cards.get_card(name).cluster for name in entries}
    jointly = {
        "reading_comprehension": {"reading_comprehension_with_commonsense"},
        "commonsense": {"reading_comprehension_with_commonsense"},
        "reading_comprehension_with_commonsense": {"reading_comprehension", "commonsense"},
        "paraphrase": {"nli"},
        "nli": {"paraphrase"},
    }.get(cluster, set())
    assert clusters == set(CLUSTER_SIZES) - {cluster} - jointly
    tested = {task.name for task in mixtures.member_tasks(f"flan_{cluster}_eval{form}")}
    assert {cards.get_card(name).cluster for name in tested} == {cluster}
    assert not {cards.get_card(name).name for name in tested} & entries
    # 69 entries, less those of what is held out: the counts of the original's splits.
    held = sum(CLUSTER_SIZES[c] for c in {cluster} | jointly)
    assert len(trained) == 70 - held - (cluster != "coreference")


def test_the_studies_of_the_paper():
    def names(mixture):
        return {task.name.removeprefix("flan_") for task in mixtures.member_tasks(mixture)}

    counts = [len(names(f"flan_train_{n}clusters")) for n in range(1, 8)]
    assert counts == [11, 19, 25, 29, 33, 36, 38]  # the repository's; spec section 4
    clusters = {BY_NAME[name].cluster for name in names("flan_train_7clusters")}
    assert not clusters & {"nli", "commonsense", "closed_book_qa"}
    for n in range(1, 5):
        chosen = names(f"flan_train_{n}per_cluster_10templates")
        for cluster in flan_mixtures.ADDED_CLUSTERS:
            here = [name for name in chosen if BY_NAME[name].cluster == cluster]
            trained = [d for d in flan.DATASETS if d.cluster == cluster and "train" in d.splits]
            assert len(here) == min(n, len(trained))
    assert names("flan_all_4templates") == {f"{n}_4templates" for n in NAMES if n != "wsc273"}
    superglue = {"bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"}
    assert names("flan_superglue_eval") == superglue
    assert names("flan_except_superglue") == set(NAMES) - superglue - {"wsc273"}
    for draw in range(10):
        train, held = (names(f"flan_one_per_cluster_{draw}_{part}") for part in ("train", "eval"))
        assert not train & held and train | held == set(NAMES) - {"wsc273"}
        families = {BY_NAME[name].attributes["family"] for name in held}
        assert len(families) == 17
        assert not families & {BY_NAME[name].attributes["family"] for name in train}
    templates = names("flan_nli_eval_templates")
    straight = [t for d in flan.DATASETS if d.cluster == "nli" for t in d.templates]
    assert len(templates) == sum(not template.reversed for template in straight)
    ranked = names("flan_commonsense_eval_rank")
    assert ranked == {"copa_rank", "hellaswag_rank", "story_cloze_rank", "piqa_rank"}


def test_importing_touches_no_network_and_no_data(tmp_path):
    code = (
        "import socket, builtins\n"
        "import seqio, tensorflow_datasets as tfds\n"
        "def refuse(*args, **kwargs): raise AssertionError('touched')\n"
        "socket.socket = refuse; tfds.builder = refuse; tfds.load = refuse\n"
        "import tasks.flan\n"
        "mixture = seqio.get_mixture_or_task('flan_except_nli')\n"
        "print(len(mixture.tasks))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "55"


# Every dataset, from rows on disk to tokens and metrics


def writer(root: pathlib.Path):
    """Returns a function that writes the rows of datasets below `root`, each builder's once."""
    written = set()

    def write(*names: str) -> pathlib.Path:
        for name in names:
            dataset = BY_NAME[name]
            same = [d for d in flan.DATASETS if d.tfds == dataset.tfds]
            if dataset.tfds not in written:
                slices = [text for d in same for text in d.splits.values()]
                rows = rows_of_builder(name)
                counts = sample_lib.needed_counts(slices, 2 * len(rows))
                sample_lib.write_tfds(dataset.tfds, rows, counts, str(root))
                written.add(dataset.tfds)
        tfds_rows.forget()
        return root

    return write


@pytest.fixture(scope="module")
def all_rows(tmp_path_factory):
    return writer(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def rows_of(all_rows):
    """Writes a builder's rows when the first test asks for them."""
    with tfds_rows.data_dir(all_rows()):
        yield all_rows


@pytest.fixture
def own_rows(tmp_path):
    """Writes rows for one test, which has no others."""
    write = writer(tmp_path / "tfds")
    with tfds_rows.data_dir(write()):
        yield write


def examples(task: str, split: str) -> list[dict]:
    dataset = seqio.get_mixture_or_task(task).get_dataset(None, split, shuffle=False)
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("name", NAMES)
def test_from_rows_to_tokens_and_metrics(name, rows_of):
    dataset = BY_NAME[name]
    rows_of(name)
    expected = {fields["answer"] for fields in kept(name, rows_of_builder(name))}
    turned = {f"t{i}" for i, template in enumerate(dataset.templates) if template.reversed}
    for split in dataset.splits:
        if name in LONG and split == "train":
            continue
        found = examples(f"flan_{name}", split)
        assert found and len({example["id"] for example in found}) == len(found)
        straight = [e for e in found if e["template"].decode() not in turned]
        assert split == "train" or len(straight) == len(found)
        for example in found:
            assert example["inputs"][-1] == VOCABULARY.eos_id and len(example["inputs"]) > 1
            assert example["targets"][-1] == VOCABULARY.eos_id and len(example["targets"]) > 1
        assert {example["targets_pretokenized"].decode() for example in straight} <= expected
    references = [[text.decode() for text in example["references"]] for example in straight]
    answers = [example["targets_pretokenized"].decode() for example in straight]
    perfect: dict[str, float] = {}
    for metric_fn in seqio.TaskRegistry.get(f"flan_{name}").predict_metric_fns:
        perfect |= metric_fn(references, answers)
    wanted = {"edit_distance": 0.0}
    # Sentences too short for 4-grams have less, and one class alone has no correlation.
    free = {"bleu", "matthews", "f1", "pearson", "spearman", "rouge2"}
    for metric, value in perfect.items():
        if metric not in free:
            assert value == pytest.approx(wanted.get(metric, 100.0)), metric
    assert perfect


@pytest.mark.parametrize("name", [name for name in NAMES if BY_NAME[name].classification])
def test_rank_classification_has_one_record_an_option(name, rows_of):
    rows_of(name)
    split = list(BY_NAME[name].splits)[-1]
    task = seqio.TaskRegistry.get(f"flan_{name}_rank")
    found = examples(task.name, split)
    by_example: dict[bytes, list[dict]] = {}
    for record in found:
        by_example.setdefault(record["example_id"], []).append(record)
    assert len(by_example) == len(examples(f"flan_{name}", split))
    for example_id, records in by_example.items():
        assert [record["option_index"] for record in records] == list(range(len(records)))
        assert len(records) >= 2 and sum(record["is_correct"] for record in records) >= 1
        assert len({record["inputs_pretokenized"] for record in records}) == 1
        assert len({record["targets_pretokenized"] for record in records}) == len(records)
        assert records[0]["id"].decode() == example_id.decode() + "#0"
    targets = [task.postprocess_fn("", example=record, is_target=True) for record in found]
    assert not task.predict_metric_fns and task.score_metric_fns
    right = [1.0 if is_correct else 0.0 for _, _, is_correct in targets]
    wrong = [-score for score in right]
    for metric_fn in task.score_metric_fns:
        assert max(metric_fn(targets, right).values()) == pytest.approx(100.0)
        assert metric_fn(targets, wrong)["accuracy"] < 100.0


def test_mock_data_of_tfds_is_read(tmp_path, monkeypatch):
    """Random features, without files: what TFDS offers to test pipelines with."""
    tfds_rows.forget()
    monkeypatch.setattr(tfds_source, "_online", lambda: True)
    with tfds.testing.mock_data(num_examples=3, data_dir=str(tmp_path)):
        for name in ("rte", "squad_v1", "coqa", "wmt16_translate_deen", "record", "drop"):
            source = seqio.TaskRegistry.get(f"flan_{name}").source
            for example in source.get_dataset("train", shuffle=False).take(2):
                assert set(example) == {"id", "split", "row"}
        found = examples("flan_rte_t0", "train")
        assert [e["targets_pretokenized"] in (b"yes", b"no") for e in found] == [True] * 3
    tfds_rows.forget()


# OPTIONS


@pytest.mark.parametrize(
    "macros, shown, target",
    [
        ({}, "OPTIONS:\n- yes\n- no", "yes"),
        ({"OPTIONS_STYLE": "letters"}, "OPTIONS:\n(A) yes\n(B) no", "yes"),
        ({"OPTIONS_STYLE": "letters", "OPTIONS_TARGET": "label"}, "(A) yes\n(B) no", "A"),
        ({"OPTIONS_STYLE": "numbers", "OPTIONS_TARGET": "label"}, "(1) yes\n(2) no", "1"),
        ({"OPTIONS_STYLE": "none"}, None, "yes"),
    ],
)
def test_forms_of_options(macros, shown, target, rows_of, monkeypatch):
    rows_of("rte")
    plain = recipes.get_recipe("flan_rte_t0").fingerprint()
    for name, value in macros.items():
        monkeypatch.setenv(name, value)
    assert (recipes.get_recipe("flan_rte_t0").fingerprint() == plain) == (not macros)
    example = examples("flan_rte_t0", "test")[0]
    prompt = example["inputs_pretokenized"].decode()
    assert (shown in prompt) if shown else ("OPTIONS" not in prompt and prompt == prompt.strip())
    assert example["targets_pretokenized"].decode() == target
    assert [text.decode() for text in example["references"]] == [target]
    assert [text.decode() for text in example["options"]] == (["yes", "no"] if shown else [])
    form = "/".join(macros.values()) or "list"
    assert example["form"].decode() == form.replace("label", "label")
    ranked = examples("flan_rte_t0_rank", "test")[:2]
    assert ranked[0]["targets_pretokenized"].decode() == target and ranked[0]["is_correct"]


def test_shuffled_options_travel_with_their_example(rows_of, monkeypatch):
    rows_of("ag_news_subset")
    monkeypatch.setenv("OPTIONS_ORDER", "shuffled")
    monkeypatch.setenv("OPTIONS_STYLE", "letters")
    monkeypatch.setenv("OPTIONS_TARGET", "label")
    found = examples("flan_ag_news_subset_t0", "train")
    orders = {tuple(example["options"]) for example in found}
    assert len(orders) > 3 and len({frozenset(order) for order in orders}) == 1
    assert examples("flan_ag_news_subset_t0", "train")[5]["options"].tolist() == (
        found[5]["options"].tolist()
    )
    answers = {row["answer"] for row in kept("ag_news_subset")}
    for example in found:
        prompt, options = example["inputs_pretokenized"].decode(), example["options"]
        index = "ABCD".index(example["targets_pretokenized"].decode())
        assert options[index].decode() in answers
        assert f"({'ABCD'[index]}) {options[index].decode()}" in prompt
        assert example["form"] == b"letters/label/shuffled"
    ranked = examples("flan_ag_news_subset_t0_rank", "train")
    for record in ranked:
        label = record["targets_pretokenized"].decode()
        said = record["options"]["ABCD".index(label)].decode()
        assert said == BY_NAME["ag_news_subset"].options[record["option_index"]]


def test_a_form_that_is_not_there(rows_of, monkeypatch):
    rows_of("rte")
    monkeypatch.setenv("OPTIONS_STYLE", "leters")
    with pytest.raises(ConfigError, match="OPTIONS_STYLE.*did you mean 'letters'"):
        examples("flan_rte", "test")
    monkeypatch.setenv("OPTIONS_STYLE", "list")
    monkeypatch.setenv("OPTIONS_TARGET", "label")
    with pytest.raises(ConfigError, match="needs OPTIONS_STYLE"):
        examples("flan_rte", "test")


# Ablations and few-shot


def test_the_two_ablations(rows_of):
    rows_of("rte")
    row = kept("rte")[0]
    plain = examples("flan_rte_notemplate", "test")[0]["inputs_pretokenized"].decode()
    assert plain == f"{row['premise']}\n{row['hypothesis']}"
    assert examples("flan_rte_name", "test")[0]["inputs_pretokenized"].decode() == f"[RTE] {plain}"


@pytest.mark.parametrize("suffix", ["", "_t1", "_rank", "_notemplate", "_name"])
def test_exemplars(suffix, rows_of):
    rows_of("rte")
    task = f"flan_rte{suffix}_fewshot"
    found = examples(task, "test")
    assert [e["inputs_pretokenized"] for e in examples(task, "test")] == [
        e["inputs_pretokenized"] for e in found
    ]
    for example in found:
        prompt = example["inputs_pretokenized"].decode()
        *shots, query = prompt.split(fewshot.NEXT)
        assert 1 <= len(shots) <= 16 and query.endswith("\nANSWER:")
        assert all(shot.count("\nANSWER: ") == 1 for shot in shots)
        assert len(VOCABULARY.encode(prompt)) <= 960
    if suffix == "":
        texts = "".join(example["inputs_pretokenized"].decode() for example in found)
        wordings = [t.inputs.split("{")[0].strip() for t in BY_NAME["rte"].templates]
        assert sum(bool(words) and words in texts for words in wordings) > 2


def test_an_example_is_never_its_own_exemplar_and_settings_count(rows_of, monkeypatch):
    rows_of("rte")
    monkeypatch.setenv("FEWSHOT_EXEMPLARS", "2")
    made = []
    original = fewshot.FewShot.prompt

    def spy(self, query, example_id, draws, make):
        rows = {id(fields): key for key, fields in self.pool.rows}

        def watched(fields, own):
            made.append((example_id, rows[id(fields)]))
            return make(fields, own)

        return original(self, query, example_id, draws, watched)

    monkeypatch.setattr(fewshot.FewShot, "prompt", spy)
    found = examples("flan_rte_fewshot", "train")
    assert made and all(query != exemplar for query, exemplar in made)
    assert {e["inputs_pretokenized"].decode().count(fewshot.NEXT) for e in found} == {2}
    monkeypatch.setenv("FEWSHOT_EXEMPLARS", "17")
    with pytest.raises(ConfigError, match="from 1 to 16"):
        examples("flan_rte_fewshot", "train")


def test_a_rendering_depends_on_its_keys_alone(rows_of):
    """In one process after the other, and in any order."""
    rows_of("rte")
    made = datasets.find_registered("flan_rte")
    render = datasets.make_renderer(made.dataset, made.variant)
    rows = [{"id": f"x/{i}", "split": "train", "row": row} for i, row in enumerate(samples("rte"))]

    def rendered(order):
        return {
            row["id"]: [
                r.inputs for r in render(row, Draws(RenderingKey(3, 1), "flan_rte", row["id"]))
            ]
            for row in order
        }

    assert rendered(rows) == rendered(rows[::-1])
    specs = unit_specs("flan_rte", "train", Renderings(2, 3))
    alone = [example.prompt for example in task_examples(specs[1])]
    with rendering_context(3, 1):
        inside = [e["inputs_pretokenized"].decode() for e in examples("flan_rte", "train")]
    assert alone == inside
    assert alone != [example.prompt for example in task_examples(specs[0])]


# What cannot be had


@pytest.fixture
def no_network(monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    monkeypatch.setattr(tfds_source, "_online", lambda: True)


def test_all_that_cannot_be_had_is_named_at_once(own_rows, tmp_path, no_network, monkeypatch):
    own_rows("rte", "cb")
    with pytest.raises(DataError) as caught:
        prepare("flan_summarization_eval", "test", Renderings(), str(tmp_path))
    said = str(caught.value)
    for text in ("newsroom:1.0.0", "samsum:1.0.0", "xsum:1.1.0", "by hand", "SKIP_UNAVAILABLE"):
        assert text in said
    assert "gigaword" not in said  # may yet be downloaded, but not before these are there
    with pytest.raises(DataError) as caught:
        prepare("flan_nli_eval", "test", Renderings(), str(tmp_path))
    said = str(caught.value)
    assert "7 of the datasets" in said and "no network in tests" in said and "snli:1.1.0" in said
    assert "rte" not in said.replace("flan_nli_eval", "")

    monkeypatch.setenv("SKIP_UNAVAILABLE", "True")
    lines = []
    found = prepare("flan_nli_eval", "test", Renderings(), str(tmp_path), report=lines.append)
    assert [units[0].spec.task for units in found.units] == ["flan_cb", "flan_rte"]
    assert len(found.left_out) == 8 and "flan_snli" in found.left_out
    assert any("left out" in line and "snli" in line for line in lines)
    with pytest.raises(DataError, match="no member whose data can be had"):
        prepare("flan_math_eval", "test", Renderings(), str(tmp_path))


def test_prepared_records_need_no_data(own_rows, tmp_path, monkeypatch):
    own_rows("rte")
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "prepared"))
    root = str(tmp_path / "prepared")
    first = prepare("flan_rte", "train", Renderings(), root)
    rates = mixtures.task_rates("flan_all", {"flan_rte"})
    with tfds_rows.data_dir(tmp_path / "nothing"):
        again = prepare("flan_rte", "train", Renderings(), root)
        assert len(again.units[0][0]) == len(first.units[0][0])
        assert mixtures.task_rates("flan_all", {"flan_rte"}) == rates
        with pytest.raises(DataError, match="number of rows"):
            mixtures.task_rates("flan_all", {"flan_cb"})


def test_without_a_network_nothing_is_tried(own_rows, tmp_path, monkeypatch):
    """TFDS would try again and again, for minutes a dataset."""

    def unreachable(address, timeout):
        raise OSError("unreachable")

    monkeypatch.setattr(tfds_source.socket, "create_connection", unreachable)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    tfds_source._online.cache_clear()
    own_rows("rte")
    with pytest.raises(DataError, match="(?s)there is no network.*can be copied into"):
        prepare("flan_snli", "test", Renderings(), str(tmp_path))
    assert prepare("flan_rte", "test", Renderings(), str(tmp_path)).units
    tfds_source._online.cache_clear()


def test_a_version_that_tfds_does_not_have():
    source = datasets.TfdsSource("super_glue/rte:9.9.9", {"train": "train"})
    assert "no such dataset" in source.problem()
    source = datasets.TfdsSource("super_gleu/rte:1.0.2", {"train": "train"})
    assert "no such dataset" in source.problem()


# Templates of one's own


def write_templates(folder, text, name="rte.yaml"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder)


def run_with(folder, code):
    env = {**os.environ, "FLAN_TEMPLATES": folder}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=env
    )


def test_a_folder_of_templates_replaces_or_extends(tmp_path):
    text = "templates:\n- inputs: |-\n    {premise} => {hypothesis}?\n    {options_}\n"
    text += '  targets: "{answer}"\n'
    folder = write_templates(tmp_path / "own", text)
    write_templates(tmp_path / "own", "mode: extend\n" + text, "cb.yaml")
    code = (
        "import tasks.flan, seqio\n"
        "by = {d.name: d for d in tasks.flan.DATASETS}\n"
        "print(len(by['rte'].templates), len(by['cb'].templates), len(by['snli'].templates))\n"
        "print('flan_rte_t1' in seqio.TaskRegistry.names())\n"
    )
    done = run_with(folder, code)
    assert done.stdout.split() == ["1", "11", "10", "False"], done.stderr


@pytest.mark.parametrize(
    "text, message",
    [
        ("templates: []", "at least one template"),
        ("- a", "must be an object, found a list"),
        ("templates: [a]", "template 0 must be an object, found a string"),
        ("templates: [{inputs: [a], targets: b}]", "'inputs' must be a string, found a list"),
        ("templates: [{inputs: a, targets: 3}]", "'targets' must be a string, found a number"),
        ("mode: [a]\ntemplates: [{inputs: a, targets: b}]", "'mode' must be a string"),
        ("templates: [{inputs: a, inputs: b}]", "line 1: the key 'inputs' is there twice"),
        ("templats: [1]", "unknown key 'templats'.*did you mean 'templates'"),
        ("mode: add\ntemplates: [{inputs: a, targets: b}]", "'mode' is one of"),
        ("templates: [{inputs: a}]", "template 0: 'targets' is missing"),
        ("templates: [{inputs: '{premis}', targets: '{answer}'}]", "'premis'.*'premise'"),
        ("templates: [{inputs: '{a', targets: '{answer}'}]", "template 0"),
        ("templates: [{inputs: a, targets: b, reversed: 1}]", "true or false"),
        ("templates: [{inputs: a, targets: '{answer}', reversed: true}]", "reversed"),
        (": : :", "rte.yaml"),
    ],
)
def test_templates_that_are_wrong(tmp_path, text, message):
    from flan_jax.instructions.template_files import with_template_files

    folder = write_templates(tmp_path / "own", text)
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        with_template_files(flan.DATASETS, folder)
    assert "rte" in str(caught.value)


def test_templates_for_no_dataset(tmp_path):
    from flan_jax.instructions.template_files import with_template_files

    folder = write_templates(tmp_path / "own", "templates: []", "rtee.yaml")
    with pytest.raises(DataError, match="no dataset 'rtee'.*did you mean 'rte'"):
        with_template_files(flan.DATASETS, folder)
    with pytest.raises(DataError, match="no folder"):
        with_template_files(flan.DATASETS, str(tmp_path / "none"))
    (tmp_path / "own" / "rtee.yaml").rename(tmp_path / "own" / "rte.yaml")
    write_templates(tmp_path / "own", "templates: []", "rte.yml")
    with pytest.raises(DataError, match="rte.yml: rte.yaml is there for that dataset already"):
        with_template_files(flan.DATASETS, folder)


# The lint finds what it says it finds


def wrong(**changes):
    import dataclasses

    rte = BY_NAME["rte"]
    at = changes.pop("at", None)
    if at is not None:
        templates = list(rte.templates)
        templates[at] = common.Template(**changes)
        changes = {"templates": tuple(templates)}
    return datasets.check_dataset(dataclasses.replace(rte, **changes), samples("rte"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"at": 1, "inputs": "{premise}", "targets": "{answer}"}, "without {options_}"),
        ({"at": 1, "inputs": "{nothing}\n{options_}", "targets": "{answer}"}, "'nothing'"),
        ({"at": 1, "inputs": "{premise} {options_}", "targets": "{answer}"}, "line of its own"),
        ({"at": 1, "inputs": "{premise}{answer}\n{options_}", "targets": "{answer}"}, "asks for"),
        ({"at": 1, "inputs": "{premise}\n{options_}", "targets": "yes"}, "same for every"),
        ({"at": 1, "inputs": "{premise}\n{options_}\n", "targets": "{answer}"}, "white space"),
        ({"at": 0, "inputs": "{premise}", "targets": "{hypothesis}", "reversed": True}, "t0 is"),
        ({"at": 1, "inputs": "{premise}\n{options_}", "targets": "{hypothesis}"}, "reversed?"),
        ({"options": ()}, "has none"),
        ({"read": lambda row: None}, "none of the sample rows"),
    ],
)
def test_the_lint(changes, message):
    try:
        found = wrong(**changes)
    except DataError as error:
        found = [str(error)]
    assert any(message in line for line in found), found


def test_the_lint_counts_and_compares():
    rte = BY_NAME["rte"]
    assert any("9 templates" in line for line in wrong(templates=rte.templates[:9]))
    shouted = rte.templates[0].inputs.upper()
    for field in ("premise", "hypothesis", "options_"):
        shouted = shouted.replace(field.upper(), field)
    same = common.Template(shouted, "{answer}")
    assert any("renders as t0" in line for line in wrong(templates=(*rte.templates[:9], same)))


def test_check_and_show_on_the_command_line(capsys, tmp_path):
    with tfds_rows.data_dir(tmp_path):
        assert run(["tasks", "check", "flan_rte", "flan_snli", "--module=tasks.flan"]) == 0
        assert "2 entries checked, 0 with problems" in capsys.readouterr().out
        with pytest.raises(DataError, match="flan_rtee.*did you mean 'flan_rte'"):
            run(["tasks", "check", "flan_rtee", "--module=tasks.flan"])
        assert run(["tasks", "show", "flan_rte", "--template=all", "--module=tasks.flan"]) == 0
        said = capsys.readouterr().out
        assert "sample rows" in said and all(f"(template t{i}" in said for i in range(10))
        with pytest.raises(DataError, match="no template 't12'"):
            run(["tasks", "show", "flan_rte", "--template=t12", "--module=tasks.flan"])


# Training and evaluation


def test_train_and_evaluate_on_a_held_out_cluster(own_rows, tmp_path, no_network):
    root = own_rows("rte", "cb", "sst2", "trec", "copa")
    flags = {
        "MIXTURE_OR_TASK_MODULE": "tasks.flan",
        "MIXTURE_OR_TASK_NAME": "flan_except_nli",
        "SKIP_UNAVAILABLE": True,
        "PREPARED_DIR": tmp_path / "prepared",
        "MODEL_DIR": tmp_path / "run",
        "TRAIN_STEPS": 2,
        "TASK_FEATURE_LENGTHS": "{'inputs': 128, 'targets': 32}",
    }
    with mock.patch.dict(os.environ, {"TFDS_DATA_DIR": str(root)}):
        gin = [f"--gin.{name}={value}" for name, value in flags.items()]
        assert run(["train", "--gin_file=gin_configs/test/toy.gin", *gin]) == 0
        for mixture in ("flan_nli_eval", "flan_nli_eval_rank", "flan_nli_eval_fewshot"):
            out = tmp_path / mixture
            gin = ["--gin.SKIP_UNAVAILABLE=True", f"--gin.PREPARED_DIR={tmp_path / 'prepared'}"]
            gin += ["--gin.EVAL_EXAMPLES=4", "--gin.EVAL_BATCH_SIZE=8"]
            command = ["eval", f"--checkpoint={tmp_path / 'run'}", f"--mixture={mixture}"]
            assert run([*command, f"--out={out}", *gin]) == 0
            metrics = json.loads((out / "metrics.json").read_text())
            assert len(metrics["left_out"]) == 8 and set(metrics["by_category"]) == {"nli"}
            lines = [json.loads(x) for x in (out / "predictions.jsonl").read_text().splitlines()]
            assert all(line["form"] == "list" for line in lines)
            if "rank" in mixture:
                assert "accuracy" in metrics["by_task"]["flan_rte_rank"]
                best = [line["options"][max(range(len(line["scores"])),
                        key=lambda i, line=line: line["scores"][i])] for line in lines]  # fmt: skip
                assert [line["prediction"] for line in lines] == best
    saved = next((tmp_path / "run").rglob("run.json"), None)
    if saved is not None:
        assert "flan_squad_v1" in saved.read_text()


# What was prepared stays in use. Whoever changes one of these tasks, or a rendering format number,
# writes down the new ones.
FINGERPRINTS = {
    "flan_anli_r1_t0": "0b6e9315624ab87f",
    "flan_rte": "01dee77630e37516",
    "flan_rte_fewshot": "35525b69c2f97be3",
    "flan_squad_v1_t0": "0b2f1e42efb23533",
}


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_recipes_are_what_they_were(name):
    assert recipes.get_recipe(name).fingerprint() == FINGERPRINTS[name]
