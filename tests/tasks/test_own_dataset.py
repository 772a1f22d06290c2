"""docs/flan.md: its generated parts are those of the tasks, and its worked example works."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import seqio
import tfds_rows

from flan_jax.cli import run
from flan_jax.instructions import cards, samples

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/flan.md").read_text()


def test_the_page_is_up_to_date():
    """Else run scripts/write_flan_docs.py."""
    done = subprocess.run(
        [sys.executable, "scripts/write_flan_docs.py", "--check"], cwd=ROOT, timeout=300
    )
    assert done.returncode == 0


def test_the_dataset_of_the_page_trains(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(# my_reviews\.py\n.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 1 and len(blocks[0].splitlines()) <= 40
    (tmp_path / "my_reviews.py").write_text(blocks[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [
        {"text": "A film<br />to remember.", "label": 1},
        {"text": "Two hours that nobody gives back.", "label": 0},
    ]
    name = "imdb_reviews/plain_text:1.0.0"
    samples.write_tfds(name, rows, {"train": 210, "test": 8}, str(tmp_path / "tfds"))
    with tfds_rows.data_dir(tmp_path / "tfds"):
        assert importlib.util.find_spec("my_reviews")
        assert run(["tasks", "show", "my_reviews", "-n", "2", "--module=my_reviews"]) == 0
        said = capsys.readouterr().out
        assert "cluster opinion" in said and "A film\nto remember." in said
        assert cards.get_card("my_reviews_t0_rank").name == "my_reviews"
        found = seqio.get_mixture_or_task("my_reviews_rank").get_dataset(None, "test")
        assert len(list(found)) == 16
        flags = {
            "MIXTURE_OR_TASK_MODULE": "my_reviews",
            "MIXTURE_OR_TASK_NAME": "my_reviews",
            "MODEL_DIR": tmp_path / "run",
            "PREPARED_DIR": tmp_path / "prepared",
            "TRAIN_STEPS": 2,
        }
        gin = [f"--gin.{key}={value}" for key, value in flags.items()]
        assert run(["train", "--gin_file=gin_configs/experiments/flan_tiny.gin", *gin]) == 0
