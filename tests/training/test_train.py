"""The train loop in one process: what is written, refused, fallen back to."""

import json
import math
import os
import pathlib
import re
import shutil
import sys

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from etils import epath

from flan_jax.cli import run
from flan_jax.errors import CheckpointError, ConfigError, FlanJaxError
from flan_jax.training import checkpoints
from flan_jax.training.manifest import write_manifest


def toy(model_dir, prepared_dir, *gin: str) -> int:
    defaults = ["TRAIN_STEPS=4", "CHECKPOINT_PERIOD=2", f"PREPARED_DIR={prepared_dir}"]
    overrides = [f"--gin.{text}" for text in [f"MODEL_DIR={model_dir}", *defaults, *gin]]
    return run(["train", "--gin_file=gin_configs/test/toy.gin", *overrides])


def digest_of(capsys, *folders) -> str:
    capsys.readouterr()
    run(["digest", *map(str, folders)])
    return capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory, prepared_dir) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("train") / "run"
    toy(folder, prepared_dir)
    return folder


@pytest.fixture
def trained(four_steps, tmp_path) -> pathlib.Path:
    """A run of four steps, to be gone on with or damaged."""
    return shutil.copytree(four_steps, tmp_path / "run")


def test_a_run_leaves_checkpoints_metrics_and_configuration(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert math.isfinite(line["loss"]) and 0 <= line["accuracy"] <= 1
    assert {"tokens_per_second", "data_wait_share", "fill", "z_loss", "gradient_norm"} <= set(
        lines[-1]
    )
    assert checkpoints.list_steps(str(trained)) == [4, 2]
    assert "TRAIN_STEPS = 4" in (trained / "config.gin").read_text()
    assert any((trained / "tensorboard").iterdir())
    for step in (2, 4):
        path = trained / "checkpoints" / str(step)
        assert (path / checkpoints.MANIFEST).exists() and checkpoints.verify(path) is None


def test_loss_falls(tmp_path, prepared_dir):
    toy(tmp_path / "run", prepared_dir, "TRAIN_STEPS=60", "LEARNING_RATE=0.05", "DROPOUT_RATE=0.0")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    first = sum(line["loss"] for line in lines[:5]) / 5
    last = sum(line["loss"] for line in lines[-5:]) / 5
    assert last < 0.6 * first


def test_interrupted_and_resumed_equals_uninterrupted(trained, tmp_path, prepared_dir, capsys):
    toy(tmp_path / "two", prepared_dir, "TRAIN_STEPS=2")
    two = digest_of(capsys, tmp_path / "two")
    toy(tmp_path / "two", prepared_dir)
    assert "resuming at step 2" in capsys.readouterr().out
    assert two != digest_of(capsys, trained)
    assert digest_of(capsys, tmp_path / "two") == digest_of(capsys, trained)
    assert "max relative difference 0" in digest_of(capsys, trained, tmp_path / "two")


def test_fresh_prepares_again_but_not_for_a_run_that_is_resumed(tmp_path, capsys):
    def start(*options, steps=2):
        gin = (f"MODEL_DIR={tmp_path / 'fresh'}", f"TRAIN_STEPS={steps}", "CHECKPOINT_PERIOD=2",
               f"PREPARED_DIR={tmp_path / 'records'}")  # fmt: skip
        overrides = [f"--gin.{text}" for text in gin]
        run(["train", "--gin_file=gin_configs/test/toy.gin", *overrides, *options])
        return "\nprepared " in capsys.readouterr().out

    assert start()
    shutil.rmtree(tmp_path / "fresh")
    assert not start()
    shutil.rmtree(tmp_path / "fresh")
    assert start("--fresh")
    assert not start("--fresh", steps=4)


def test_data_digest_is_of_the_ids_trained_on(trained, tmp_path, prepared_dir, capsys):
    toy(tmp_path / "other", prepared_dir, "SEED=1")
    this, other = digest_of(capsys, trained).split(), digest_of(capsys, tmp_path / "other").split()
    assert this[:2] == other[:2] == ["step", "4"]
    assert this[3] != other[3] and this[5] != other[5]


def test_nothing_to_do(trained, prepared_dir, capsys):
    toy(trained, prepared_dir)
    assert "nothing to do: step 4 of 4" in capsys.readouterr().out


def damage(path: pathlib.Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def largest_file(folder: pathlib.Path) -> pathlib.Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_damaged_newest_checkpoint_falls_back(trained, prepared_dir, capsys, how):
    expected = digest_of(capsys, trained)
    damage(largest_file(trained / "checkpoints" / "4" / "params"), how)
    assert digest_of(capsys, trained).startswith("step 2 ")
    toy(trained, prepared_dir)
    said = capsys.readouterr().out
    assert "is damaged" in said and "resuming at step 2" in said and "set aside" in said
    assert digest_of(capsys, trained) == expected


def test_every_truncated_file_is_noticed(trained):
    newest = trained / "checkpoints" / "4"
    for file in [p for p in newest.rglob("*") if p.is_file() and p.stat().st_size > 1]:
        kept = file.read_bytes()
        file.write_bytes(kept[: len(kept) // 2])
        found = checkpoints.find(str(trained), lambda text: None)
        assert found is not None and found.step == 2, file
        file.write_bytes(kept)


@pytest.mark.parametrize("manifest", [None, "{}", "[]", "an entry", "zeros"])
def test_what_is_not_proven_falls_back_and_stays_unproven(trained, prepared_dir, capsys, manifest):
    expected = digest_of(capsys, trained)
    newest = trained / "checkpoints" / "4"
    file, weights = newest / checkpoints.MANIFEST, largest_file(newest / "params")
    if manifest == "an entry":
        entries = json.loads(file.read_text())
        del entries[str(weights.relative_to(newest))]
        file.write_text(json.dumps(entries))
    elif manifest == "zeros":  # what a power cut makes of files that nobody synced
        weights.write_bytes(b"")
        file.unlink()
    elif manifest is None:
        file.unlink()
    else:
        file.write_text(manifest)
    damage(weights, "flipped") if manifest != "zeros" else None
    assert digest_of(capsys, trained).startswith("step 2 ")
    toy(trained, prepared_dir)
    said = capsys.readouterr().out
    assert "is damaged" in said and "resuming at step 2" in said
    assert f"set aside {newest} as damaged-4-" in said
    assert digest_of(capsys, trained) == expected
    (aside,) = (trained / "checkpoints").glob("damaged-4-*")
    assert checkpoints.verify(aside) is not None


def test_a_run_whose_first_save_was_killed_starts_anew(trained, tmp_path, prepared_dir, capsys):
    for step in (2, 4):
        (trained / "checkpoints" / str(step) / checkpoints.MANIFEST).unlink()
    toy(trained, prepared_dir)
    said = capsys.readouterr().out
    assert "starting at step 0" in said and said.count("set aside") == 2
    assert checkpoints.list_steps(str(trained)) == [4, 2]


def test_a_state_that_cannot_be_restored_falls_back(trained, prepared_dir, capsys):
    """Its manifest is right, and Orbax cannot read it."""
    expected = digest_of(capsys, trained)
    newest = trained / "checkpoints" / "4"
    file = newest / "optimizer" / "_METADATA"
    text = file.read_text()
    assert '"key": "embed/embedding"' in text
    file.write_text(text.replace('"key": "embed/embedding"', '"key": "embed/embeddings"'))
    write_manifest(epath.Path(newest))
    toy(trained, prepared_dir)
    said = capsys.readouterr().out
    assert "4 cannot be used (" in said and "resuming at step 2" in said
    assert digest_of(capsys, trained) == expected


def test_a_state_that_is_not_finite_falls_back(trained, prepared_dir, capsys):
    expected = digest_of(capsys, trained)
    newest = epath.Path(trained) / "checkpoints" / "4"
    params = {name: jnp.asarray(a) for name, a in checkpoints.load_params_on_host(newest).items()}
    params["embed/embedding"] = params["embed/embedding"].at[3, 3].set(jnp.nan)
    newest.joinpath("params").rmtree()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(newest / "params", params)
    write_manifest(newest)
    toy(trained, prepared_dir)
    said = capsys.readouterr().out
    assert "not finite of embed/embedding" in said and "resuming at step 2" in said
    assert digest_of(capsys, trained) == expected


def test_all_damaged_is_refused(trained, prepared_dir):
    for step in (2, 4):
        damage(trained / "checkpoints" / str(step) / "run" / "metadata", "truncated")
    with pytest.raises(CheckpointError, match="none of the checkpoints"):
        toy(trained, prepared_dir)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("EMB_DIM=32", r"model emb_dim \(16 -> 32\)"),
        ("VOCABULARY=default", "vocabulary"),
        ("BATCH_SIZE=4", r"batch_size \(8 -> 4\)"),
        ("SEED=3", "seed"),
        ("OPTIMIZER=adamw", r"optimizer \(adafactor -> adamw\)"),
        ("MIXTURE_OR_TASK_NAME=toy_copy", r"toy_upper \(gone\)"),
    ],
)
def test_other_settings_are_refused_before_a_tensor_is_read(
    trained, prepared_dir, monkeypatch, override, named
):
    def never(*args: object) -> None:
        raise AssertionError("read a tensor")

    monkeypatch.setattr(checkpoints, "_restore", never)
    with pytest.raises(CheckpointError, match=named):
        toy(trained, prepared_dir, "TRAIN_STEPS=6", override)


def test_changed_template_is_refused_and_named(trained, prepared_dir, monkeypatch):
    import seqio

    from flan_jax.instructions import cards

    def forget() -> None:
        seqio.MixtureRegistry.remove("toy_train")
        for name in ("toy_copy", "toy_upper"):
            seqio.TaskRegistry.remove(name)
            cards.remove_card(name)
        sys.modules.pop("toy_tasks")

    forget()
    monkeypatch.setenv("TOY_VERB", "Repeat")
    try:
        with pytest.raises(CheckpointError, match="templates or data of task toy_copy") as error:
            toy(trained, prepared_dir, "TRAIN_STEPS=6")
        assert "toy_upper" not in str(error.value)
    finally:
        forget()


def test_a_locked_directory_is_refused(trained, prepared_dir):
    from flan_jax.files import lock_folder

    with (
        lock_folder(str(trained)),
        pytest.raises(CheckpointError, match=f"in use by process {os.getpid()}"),
    ):
        toy(trained, prepared_dir, "TRAIN_STEPS=6")
    toy(trained, prepared_dir)


def test_nan_stops_and_names_the_window(tmp_path, prepared_dir):
    with pytest.raises(FlanJaxError, match=r"became (nan|inf) in steps \d+ to \d+"):
        toy(tmp_path / "run", prepared_dir, "LEARNING_RATE=1e30", "LOG_PERIOD=3", "TRAIN_STEPS=9")
    assert checkpoints.list_steps(str(tmp_path / "run")) == []


@pytest.mark.parametrize("more", [[], ["OPTIMIZER=adamw", "GRADIENT_CLIP_NORM=1.0"]])
def test_a_gradient_that_overflows_is_never_saved(tmp_path, prepared_dir, more):
    """Loss and weights stay finite, and every later update would be 0."""
    with pytest.raises(FlanJaxError) as raised:
        toy(tmp_path / "run", prepared_dir, "Z_LOSS=1e30", *more)
    message = str(raised.value)
    assert re.match(r"the gradient of \S+, .* became (inf|nan) in step 1;", message), message
    assert "Lower Z_LOSS=1e+30, which makes 100 % of the loss" in message
    assert checkpoints.list_steps(str(tmp_path / "run")) == []


def test_initial_checkpoint_gives_weights_only(trained, tmp_path, prepared_dir, capsys):
    toy(
        tmp_path / "next",
        prepared_dir,
        f"INITIAL_CHECKPOINT_PATH={trained}",
        "TRAIN_STEPS=1",
        "LEARNING_RATE=1e-9",
    )
    said = capsys.readouterr().out
    assert "with the weights of" in said
    difference = digest_of(capsys, trained, tmp_path / "next").splitlines()[-1]
    assert float(difference.split()[-1]) < 1e-6


def test_initial_checkpoint_of_another_vocabulary(trained, tmp_path, prepared_dir):
    with pytest.raises(CheckpointError, match="another vocabulary"):
        toy(
            tmp_path / "next",
            prepared_dir,
            f"INITIAL_CHECKPOINT_PATH={trained}",
            "VOCABULARY=default",
        )


def test_initial_checkpoint_of_another_shape_names_a_parameter(trained, tmp_path, prepared_dir):
    with pytest.raises(CheckpointError, match="has shape"):
        toy(tmp_path / "next", prepared_dir, f"INITIAL_CHECKPOINT_PATH={trained}", "MLP_DIM=8")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("TRAIN_STEPS=0", "TRAIN_STEPS must be"),
        ("OPTIMIZER=adamv", "did you mean 'adamw'"),
        ("MIXTURE_OR_TASK_NAME=toy_trian", "did you mean 'toy_train'"),
        ("MIXTURE_OR_TASK_MODULE=toy_task", "no task module 'toy_task'"),
        ("MODEL=t5_1_1/tinny", "did you mean 't5_1_1/tiny'"),
        (
            "TASK_FEATURE_LENGTHS={'inputs': 8}",
            "TASK_FEATURE_LENGTHS must be a mapping",
        ),
        ("VOCABULARY=nowhere.model", "does not exist"),
    ],
)
def test_bad_input_gets_one_clear_error(tmp_path, prepared_dir, override, message):
    with pytest.raises(FlanJaxError, match=message):
        toy(tmp_path / "run", prepared_dir, override)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_batch_that_devices_cannot_share(monkeypatch):
    import types

    from flan_jax.training import mesh

    eight = types.SimpleNamespace(shape={"data": 8, "fsdp": 1, "tensor": 1})
    mesh.check_batch_size(16, eight)
    with pytest.raises(ConfigError, match="not divisible by 8 devices; 8 or 16 would do"):
        mesh.check_batch_size(12, eight)


def test_digest_of_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        run(["digest", str(tmp_path)])
