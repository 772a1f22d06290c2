"""The requirement on real data: planned rows of Super-NI are full, and what is cut is counted."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# In a process of its own: importing the task module registers the folder for good.
SCRIPT = """
import dataclasses, json, sys
from flan_jax.quiet import import_tensorflow
import_tensorflow()
import numpy as np
import tasks.natural_instructions.super_ni
from flan_jax.data.plan import Plan, PlanConfig
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.instructions.vocabulary import VOCABULARY

name, root = sys.argv[1:]
VOCABULARY.use("default")
mixture = prepare(name, "train", Renderings(), root, workers=1)
plan = Plan(mixture.tables, mixture.rates, PlanConfig(1024, 256, batch_size=8))
lengths = np.concatenate([table.lengths_RxNx2[0] for table in mixture.tables])
rows = [plan.batch(step).row for step in range(20)]
print(json.dumps({
    "epochs": [dataclasses.asdict(plan.stats(epoch)) for epoch in range(2)],
    "text": str(plan.stats()),
    "tasks": len(mixture.tables),
    "examples": len(lengths),
    "mean": lengths.mean(axis=0).tolist(),
    "longer": (lengths > (1024, 256)).sum(axis=0).tolist(),
    "batches_are_full": all(sorted(set(row.tolist())) == list(range(8)) for row in rows),
}))
"""


@pytest.mark.slow
def test_rows_of_super_ni_are_full(shared_data, tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("SUPER_NI_")}
    env |= {"SUPER_NI_DIR": str(shared_data / "super_ni"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "super_ni_default_train", str(tmp_path)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\nSuper-NI, {found['tasks']} tasks, {found['examples']} examples: {found['text']}")
    print(f"mean lengths: {found['mean']}; longer than 1024/256: {found['longer']}")
    assert found["batches_are_full"]
    for stats in found["epochs"]:
        assert stats["inputs_fill"] >= 0.97
        # All tasks are drawn alike, so an epoch repeats examples of small ones.
        assert abs(stats["examples"] - found["examples"]) <= found["tasks"]
        assert (stats["truncated_inputs"] > 0) == (found["longer"][0] > 0)
        assert stats["truncated_targets"] <= stats["examples"]
    cut = sum(s["truncated_inputs"] + s["truncated_targets"] for s in found["epochs"])
    assert (cut > 0) == (sum(found["longer"]) > 0)
    assert f"truncated: {found['epochs'][0]['truncated_inputs']:,} inputs" in found["text"]
