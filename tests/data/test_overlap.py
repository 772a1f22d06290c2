"""What training shares with tests is found, told, written, and left out of a run."""

import json
import pathlib
import shutil

import pytest

from flan_jax import json_files
from flan_jax.cli import run
from flan_jax.data import exclusion
from flan_jax.data.plan import Plan, PlanConfig
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import DataError, FlanJaxError

STORIES, FACTS, TESTS = "overlap_stories", "overlap_facts", "overlap_tests"


def overlap(prepared_dir, *options, test=TESTS, module="toy_overlap", train="overlap_train"):
    arguments = ["tasks", "overlap", f"--module={module}", f"--train={train}", f"--test={test}"]
    settings = (f"PREPARED_DIR={prepared_dir}", "VOCABULARY=byte")
    return run([*arguments, *options, *(f"--gin.{setting}" for setting in settings)])


@pytest.fixture(scope="module")
def out(tmp_path_factory, prepared_dir) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("overlap") / "out"
    assert overlap(prepared_dir, f"--out={folder}") == 0
    return folder


def test_what_was_planted_is_found_and_nothing_else(out):
    """The templates, longer than an n-gram and the same on both sides, are not."""
    report = json_files.read_json(out / "overlap.json")
    assert (report["ngram"], report["shortest"], report["training_examples_found"]) == (13, 8, 3)
    task = report["test_tasks"][TESTS]
    assert (task["examples"], task["found"], task["duplicates"]) == (16, 3, 2)
    assert (task["too_short"], task["wordless"]) == (1, 0)
    assert task["training_tasks"] == {STORIES: 2, FACTS: 1}
    assert 0.4 < task["phrasing"] < 0.7
    by_id = {row["id"]: row for row in task["examples_found"]}
    whole, part, short = by_id["test/3"], by_id["test/7"], by_id["test/10"]
    assert whole["words_found"] == 1.0 and whole["duplicate"]
    assert whole["sources"] == [{"task": STORIES, "id": "train/5", "ngrams": 18, "duplicate": True}]
    assert part["words_found"] == 16 / 32 and not part["duplicate"]
    assert part["sources"] == [{"task": STORIES, "id": "train/9", "ngrams": 4, "duplicate": False}]
    import toy_overlap as toy

    assert part["shared"] == " ".join(toy.story(9).split()[4:20])
    assert short["sources"] == [{"task": FACTS, "id": "train/2", "ngrams": 0, "duplicate": True}]
    # 15 tests have words that are looked for: all of one is found, and half of another.
    assert task["words_found"] == pytest.approx((1 + 16 / 32) / 15)
    assert report["training_tasks"][STORIES] == {"split": "train", "examples": 24, "found": 2}
    rows = [row.object for row in json_files.read_rows(out / "overlap.jsonl")]
    assert [(row["task"], row["id"], row["tests"]) for row in rows] == [
        (FACTS, "train/2", 1), (STORIES, "train/5", 1), (STORIES, "train/9", 1)]  # fmt: skip
    assert rows[1]["most_alike"] == [
        {"task": TESTS, "id": "test/3", "ngrams": 18, "duplicate": True}]  # fmt: skip


def test_a_table_says_it(prepared_dir, capsys):
    assert overlap(prepared_dir, "--ngram=20", test=f"{TESTS},{TESTS}") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 16 tests were found, in 2 of 36 training examples" in said  # 16 words are no 20
    assert "overlap_stories 1" in said and "phrasing" in said
    assert "1 tests have no 8 words of their own in a row" in said


def test_it_goes_on_where_it_was_interrupted(out, prepared_dir):
    """Parts that are sound stay as they are; what is damaged or missing is made again."""
    before = {name: (out / name).read_bytes() for name in ("overlap.json", "overlap.jsonl")}
    damaged, sound = sorted((out / "parts").iterdir())
    stamp = sound.stat()
    damaged.write_bytes(damaged.read_bytes()[:-40])
    (out / "overlap.json").unlink()
    assert overlap(prepared_dir, f"--out={out}") == 0
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sound.stat().st_ino == stamp.st_ino and sound.stat().st_mtime_ns == stamp.st_mtime_ns
    assert {path.name for path in out.iterdir()} == {*before, "parts", ".lock"}


def test_options_of_a_ranked_test_are_one_example(tmp_path, prepared_dir):
    """Its prompts are those of the generated task: all of it is duplicates."""
    sides = {"module": "toy_ranked", "train": "toy_choice_rank", "test": "toy_choice_rank"}
    splits = ("--train_split=test", "--test_split=test")
    assert overlap(prepared_dir, f"--out={tmp_path}", *splits, **sides) == 0
    task = json_files.read_json(tmp_path / "overlap.json")["test_tasks"]["toy_choice_rank"]
    lines = list(json_files.read_rows(tmp_path / "overlap.jsonl"))
    assert task["examples"] < len(lines)  # training examples are left out with all options
    assert task["found"] == task["duplicates"] == task["examples"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"test": "overlap_test"},
            "no task or mixture named 'overlap_test'; did you mean 'overlap",
        ),
        ({"test": f"{TESTS},"}, "nothing between two commas"),
        ({"test": STORIES}, "has no split 'test'; there are train"),
    ],
)
def test_wrong_names_are_told(options, message, tmp_path, prepared_dir):
    with pytest.raises(FlanJaxError, match=message):
        overlap(prepared_dir, f"--out={tmp_path}", **options)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


def test_two_tasks_that_are_known_to_share_sentences(shared_data, tmp_path, monkeypatch):
    """Winograd schemas are in a training task and in a test task of Super-NaturalInstructions."""
    import releases

    tasks = ["task492_mwsc_incorrect_answer_generation", "task1390_wscfixed_coreference"]
    folder = tmp_path / "super_ni"
    for name in (*(f"tasks/{task}.json" for task in tasks), "splits/default/train_tasks.txt",
                 "splits/default/test_tasks.txt"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / "super_ni" / name, folder / name)
    module, caches = "tasks.natural_instructions.super_ni", tmp_path / "caches"
    with releases.imported(module, "SUPER_NI_DIR", folder, caches, monkeypatch) as super_ni:
        super_ni.register(str(folder))
        names = dict(train=f"super_ni_{tasks[0]}", test=f"super_ni_{tasks[1]}")
        assert overlap(caches, f"--out={tmp_path / 'out'}", module=module, **names) == 0
    task = json_files.read_json(tmp_path / "out" / "overlap.json")["test_tasks"][names["test"]]
    assert (task["examples"], task["found"]) == (100, 5)
    # The definition and the examples of every prompt are phrasing.
    assert 0.75 < task["phrasing"] < 0.85
    assert "joe paid the detective after he received" in task["examples_found"][0]["shared"]


# Left out


@pytest.fixture(scope="module")
def mixture(prepared_dir):
    import toy_overlap  # noqa: F401

    from flan_jax.instructions.vocabulary import VOCABULARY

    VOCABULARY.use("byte")
    return prepare("overlap_train", "train", Renderings(2), str(prepared_dir))


def excluded(mixture, path, rows, said=None):
    path.write_text(json_files.lines(rows))
    report = [].append if said is None else said.append
    return exclusion.leave_out(mixture, exclusion.read(path), report)


def test_examples_are_left_out_of_every_rendering(mixture, tmp_path):
    rows = [{"task": STORIES, "id": f"train/{i}", "split": "train"} for i in (0, 5, 5)]
    rows += [{"task": FACTS, "id": "train/11"}, {"task": "elsewhere", "id": "1"}]
    rows += [{"task": STORIES, "id": "train/1", "split": "validation"}]
    said: list[str] = []
    less = excluded(mixture, tmp_path / "x.jsonl", rows, said)
    assert "3 of 36 examples, of 2 of 2 tasks" in said[0]
    assert "2 examples of" in said[1] and "none of 'overlap_train'" in said[1]
    facts, stories = less.units
    assert [len(unit) for unit in (*facts, *stories)] == [11, 11, 22, 22]
    for unit, whole in zip(stories, mixture.units[1], strict=True):
        everything = {example.id: example.prompt for example in whole}
        left = {example.id: example.prompt for example in unit}
        assert left == {k: v for k, v in everything.items() if k not in ("train/0", "train/5")}
        assert [example.id.encode() for example in unit.read([3, 0])] == [unit.ids[3], unit.ids[0]]
    assert less.rates == {FACTS: 11.0, STORIES: 22.0}  # numbers of examples, as before
    assert less.excluded[STORIES].startswith("2 of 24 ")
    plans = [Plan(one.tables, one.rates, PlanConfig(64, 8, 4)) for one in (mixture, less)]
    assert plans[0].fingerprint != plans[1].fingerprint
    assert [plan.stats().examples for plan in plans] == [36, 33]
    assert exclusion.leave_out(mixture, None, said.append) is mixture


def test_a_task_of_which_nothing_is_left_goes(mixture, tmp_path):
    rows = [{"task": FACTS, "id": f"train/{i}"} for i in range(12)]
    said: list[str] = []
    less = excluded(mixture, tmp_path / "x.jsonl", rows, said)
    assert [table.name for table in less.tables] == [STORIES] and list(less.rates) == [STORIES]
    assert "nothing is left of 1 of these" in said[0] and "12 of 12" in less.excluded[FACTS]
    rows += [{"task": STORIES, "id": f"train/{i}"} for i in range(24)]
    with pytest.raises(DataError, match="leaves nothing of 'overlap_train'"):
        excluded(mixture, tmp_path / "x.jsonl", rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": STORIES, "id": "train/77"}, "has no example 'train/77'; did you mean 'train/7'"),
        ({"task": "overlap_story", "id": "1"}, "task 'overlap_story'; did you mean 'overlap_stor"),
        ({"task": STORIES, "id": "train/1", "split": "test"}, "such as those of split 'test'"),
        ({"task": STORIES, "idd": "1"}, r"line 1: 'id' is missing, .*did you mean 'idd'"),
        ({"task": 3, "id": "1"}, "line 1: 'task' must be a string"),
    ],
)
def test_a_wrong_file_of_examples_is_told(row, message, mixture, tmp_path):
    with pytest.raises(DataError, match=message):
        excluded(mixture, tmp_path / "x.jsonl", [row])


def test_a_file_that_names_nothing_leaves_nothing_out(mixture, tmp_path):
    assert excluded(mixture, tmp_path / "x.jsonl", []).excluded == {}


def test_a_run_trains_without_what_was_found(out, tmp_path, prepared_dir, mixture, capsys):
    """Its data digest is that of batches without these examples, which it has without the file."""
    from flan_jax.training import checkpoints, digest

    settings = (
        "MIXTURE_OR_TASK_NAME=overlap_train", "MIXTURE_OR_TASK_MODULE=toy_overlap",
        "TRAIN_STEPS=5", "RENDERINGS=2",
        f"PREPARED_DIR={prepared_dir}", f"MODEL_DIR={tmp_path / 'run'}",
    )  # fmt: skip
    train = ["train", "--gin_file=gin_configs/test/toy.gin", *(f"--gin.{s}" for s in settings)]
    without = f"--gin.EXCLUDE_EXAMPLES={out / 'overlap.jsonl'}"
    assert run([*train, without]) == 0
    assert "3 of 36 examples, of 2 of 2 tasks" in capsys.readouterr().out
    found = checkpoints.require(str(tmp_path / "run"))
    stories = found.run["fingerprint"]["excluded"][STORIES]
    assert stories.startswith("2 of 24 ") and str(out) not in json.dumps(found.run)

    def batches(prepared):
        plan = Plan(prepared.tables, prepared.rates, PlanConfig(64, 16, 8))
        placed = [plan.batch(step) for step in range(5)]
        names = set()
        for one in placed:
            tables = [plan.tables[task] for task in one.task]
            pairs = zip(tables, one.example, strict=True)
            names |= {(table.name, table.ids[example].decode()) for table, example in pairs}
        chained = digest.DATA_START
        for step in range(5):
            chained = digest.chain(chained, plan.batch_digest(step))
        return names, chained

    unwanted = {(FACTS, "train/2"), (STORIES, "train/5"), (STORIES, "train/9")}
    less = exclusion.leave_out(mixture, exclusion.read(out / "overlap.jsonl"), lambda _: None)
    everything, digest_of_all = batches(mixture)
    left, digest_of_left = batches(less)
    assert unwanted < everything and len(everything) == 36
    assert left == everything - unwanted
    assert found.run["data"]["digest"] == digest_of_left != digest_of_all
    with pytest.raises(FlanJaxError, match=r"left-out examples of task overlap_facts \(gone\)"):
        run([*train, "--gin.TRAIN_STEPS=6"])
