"""`flan-jax select` and what it does beside choosing, as a person would type it."""

import json

import pytest

from flan_jax import cli
from flan_jax.errors import ConfigError, DataError, FlanJaxError, OutputError
from flan_jax.selector.sentence_models import default_folder

MINILAB = ["--library=tasks.minilab", "--encoder=lexical"]
TARGET = ["--target", "Write the words from last to first."]


def manifest(select, *arguments):
    return json.loads(select(*arguments, "--json").out)


@pytest.fixture
def library(tmp_path):
    rows = [
        {"task": "add", "instructions": ["Add the numbers.", "Give their sum."], "cluster": "sums"},
        {"task": "subtract", "instructions": ["Subtract the numbers."], "cluster": "sums"},
        {"task": "sort", "instructions": ["Sort the words.", "Order the words."]},
        {"task": "reverse", "instructions": ["Write the words backwards."], "sources": ["x"]},
    ]
    path = tmp_path / "library.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_among_takes_mixtures_clusters_and_tasks(select):
    held_out = "minilab_reverse_then_and"
    command = [*MINILAB, f"--target-task={held_out}", "-k", "3"]
    found = manifest(select, *command, "--among=minilab_train", "--among=minilab_fix_double")
    assert len(found["scores"]) == found["library"]["tasks"] == 108
    assert held_out not in found["scores"] and "minilab_fix_double" in found["scores"]
    assert "among minilab_train, minilab_fix_double" in found["library"]["origin"]
    found = manifest(select, *command, "--among=lookup")
    assert set(found["scores"]) < set(manifest(select, *command)["scores"])
    with pytest.raises(DataError, match="--among=minilab_trian: .*did you mean 'minilab_train'"):
        cli.run(["select", *command, "--among=minilab_trian"])


def test_random_and_all_are_chosen_in_the_same_way(select, library):
    command = [f"--library={library}", "--encoder=lexical", *TARGET]
    first = manifest(select, *command, "--method=random", "-k", "2", "--seed=1")
    assert len(first["selected"]) == 2 and first["parameters"]["method"] == "random"
    assert {"instruction", "target_instruction"} <= set(first["selected"][0])
    drawn = {
        tuple(
            row["task"]
            for row in manifest(select, *command, "--method=random", "-k", "2", f"--seed={seed}")[
                "selected"
            ]
        )
        for seed in range(8)
    }
    assert len(drawn) > 2
    everything = manifest(select, *command, "--method=all")
    assert [row["task"] for row in everything["selected"]] == ["add", "reverse", "sort", "subtract"]
    guarded = manifest(select, *command, "--method=all", "--target-source=X")
    assert guarded["blocked"]["reverse"] == "shares the source 'x' with the target"
    with pytest.raises(ConfigError, match="z is for scores of instructions"):
        cli.run(["select", *command, "--method=random", "--z=1"])
    with pytest.raises(ConfigError, match="method 'randon'.*did you mean 'random'"):
        cli.run(["select", *command, "--method=randon"])


def test_the_oracle_takes_a_table(select, library, tmp_path):
    table = tmp_path / "transfer.csv"
    table.write_text("source,target,score\nadd,reverse,1\nsort,reverse,9\n")
    command = [f"--library={library}", "--encoder=lexical", "--target-task=reverse"]
    command += ["--method=oracle", f"--transfer={table}"]
    found = manifest(select, *command, "-k", "1")
    assert [row["task"] for row in found["selected"]] == ["sort"]
    assert found["blocked"]["subtract"] == "has no score by method oracle"
    with pytest.raises(ConfigError, match=r"--transfer=FILE.csv go together"):
        cli.run(["select", *command[:-1]])


def test_samples_are_written_and_compared(select, tmp_path):
    path = tmp_path / "samples.jsonl"
    command = ["--library=tasks.minilab", "--among=sentiment"]
    select("samples", *command, "-n", "4", f"--out={path}")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(len(row["inputs"]) == 4 for row in rows) and len(rows) > 2
    target = rows[0]["task"]
    command += ["--encoder=lexical", f"--target-task={target}", "--method=samples", "-k", "2"]
    found = manifest(select, *command, f"--samples={path}")
    assert len(found["selected"]) == 2 and target not in found["scores"]
    path.write_text('{"task": "x", "inputs": []}\n')
    with pytest.raises(DataError, match="line 1: 'inputs' must be a list of at least one string"):
        cli.run(["select", *command, f"--samples={path}"])


def test_why_and_the_map_are_pages(select, library, tmp_path):
    command = [f"--library={library}", "--encoder=lexical"]
    page = tmp_path / "deep" / "why.html"
    said = select(*command, *TARGET, "-k", "1", "--show=3", f"--explain={page}").out
    assert "1*" in said and "reverse" in said and "3 " in said
    assert "<svg" in page.read_text() and "Write the words backwards." in page.read_text()
    select("map", *command, f"--out={tmp_path / 'map.html'}")
    assert "subtract" in (tmp_path / "map.html").read_text()
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "map.html", tmp_path):
        for action in (["map"], ["samples"]):
            with pytest.raises(OutputError, match=r"cannot write .*(Not a|Is a) directory"):
                cli.run(["select", *action, f"--library={library}", f"--out={out}"])
        for option in ("--explain", "--out"):
            with pytest.raises(OutputError, match="cannot write"):
                cli.run(["select", *command, *TARGET, f"{option}={out}"])
    with pytest.raises((ConfigError, OutputError), match="cannot write"):
        cli.run(["select", "map", *command, f"--out={tmp_path / 'file' / 'map.html'}"])


def test_evaluate_stands_beside_chance(select, library, tmp_path):
    table = tmp_path / "transfer.csv"
    rows = ["add,subtract,5", "sort,subtract,1", "reverse,subtract,0", "sort,reverse,4"]
    table.write_text("\n".join(["source,target,score", *rows, "add,reverse,1"]) + "\n")
    command = ["evaluate", f"--library={library}", "--encoder=lexical", f"--transfer={table}"]
    said = select(*command, "-k", "1").out
    for text in ("regret@1", "ndcg", "spearman", "random", "2 targets"):
        assert text in said
    found = json.loads(select(*command, "--json").out)
    by_name = {measure["name"]: measure for measure in found["measures"]}
    assert by_name["regret@1"]["selector"]["mean"] == 0.0
    assert by_name["regret@1"]["random"]["mean"] > 1
    table.write_text("source,target,score\nadd,subtrct,5\n")
    with pytest.raises(DataError, match="'subtrct'.*did you mean 'subtract'"):
        cli.run(["select", *command])
    with pytest.raises(ConfigError, match="--transfer=FILE.csv .*, or --paraphrases"):
        cli.run(["select", *command[:-1]])


def test_evaluate_asks_for_paraphrases(select, library, tmp_path):
    command = ["evaluate", f"--library={library}", "--encoder=lexical"]
    said = select(*command, "--paraphrases").out
    assert "4 wordings among 4 tasks" in said
    other = tmp_path / "other.jsonl"
    other.write_text('{"task": "sort", "instructions": ["Sort all of the words."]}\n')
    found = json.loads(select(*command, f"--paraphrases={other}", "--json").out)
    assert found["asked"] == 1 and found["first"] == 1.0


def test_align_says_what_is_missing(library):
    with pytest.raises(ConfigError, match="align needs --base .* and --out"):
        cli.run(["select", "align", f"--library={library}"])
    with pytest.raises(ConfigError, match="did you mean 'EPOCHS'"):
        cli.run(["select", "align", f"--library={library}", "--base=x", "--out=y", "--gin.EPOCH=1"])


@pytest.mark.slow
def test_align_with_a_real_model(select, library, tmp_path):
    base = default_folder()
    if base is None:
        pytest.skip("no sentence-transformers model on this machine")
    out = tmp_path / "aligned"
    command = ["align", f"--library={library}", f"--base={base}", f"--out={out}", "--held-out=add"]
    said = select(*command, "--gin.EPOCHS=1", "--gin.BATCH_SIZE=2").out
    assert "before" in said and f"--encoder={out}" in said
    assert json.loads((out / "alignment.json").read_text())["held_out"] == ["add"]
    found = manifest(select, f"--library={library}", f"--encoder={out}", *TARGET, "-k", "1")
    assert found["selected"][0]["task"] == "reverse"


def test_settings_are_taken_and_others_refused(library):
    with pytest.raises(ConfigError, match="did you mean 'EMBEDDINGS_DIR'"):
        cli.run(["select", f"--library={library}", *TARGET, "--gin.EMBEDDING_DIR=x"])


@pytest.mark.parametrize(
    "option",
    ["--bootstrap=1000000000000", "--seed=-1", "-k=0", "-k=1" + "0" * 400, "--threshold=inf"]
    + ["--z=nan", "--weight=nan", "--temperature=1e400", "--cap=0", "--top-p=nan", "--most=-1"],
    ids=lambda option: option[:20],
)
def test_numbers_out_of_range_are_one_clear_error(library, option):
    command = ["select", f"--library={library}", "--encoder=lexical", *TARGET, option]
    command += ["--aggregation=top_p"] if "top" in option else []
    name = option.strip("-").partition("=")[0].replace("-", "[-_]")
    with pytest.raises(ConfigError, match=f"{name}.* (must|is a share)") as caught:
        cli.run(command)
    assert len(str(caught.value)) < 200


def test_every_path_may_begin_at_home(select, library, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    name = str(library).removeprefix(str(tmp_path))
    (tmp_path / "t.csv").write_text("source,target,score\nadd,reverse,1\nsort,reverse,9\n")
    (tmp_path / "sizes.csv").write_text("task,tokens\nadd,12\n")
    command = [f"--library=~{name}", "--encoder=lexical", "--target-task=reverse", "-k", "1"]
    command += ["--method=oracle", "--transfer=~/t.csv", "--sizes=~/sizes.csv"]
    select(*command, "--out=~/out/m.json", "--explain=~/why.html")
    assert (tmp_path / "out/m.json").exists() and (tmp_path / "why.html").exists()
    evaluate = ["evaluate", f"--library=~{name}", "--encoder=lexical"]
    assert select(*evaluate, "--transfer=~/t.csv").out
    assert select(*evaluate, f"--paraphrases=~{name}").out
    select("map", f"--library=~{name}", "--encoder=lexical", "--out=~/map.html")
    assert (tmp_path / "map.html").exists()
    with pytest.raises(DataError, match=f"{tmp_path}/none.jsonl does not exist"):
        cli.run(["select", *command[:3], "--method=samples", "--samples=~/none.jsonl"])
    with pytest.raises(FlanJaxError, match=f"{tmp_path}/none"):
        cli.run(["select", "--encoder=t5:~/none", f"--library=~{name}", *TARGET, "-k", "1"])
