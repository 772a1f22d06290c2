"""What each target is asked, recorded by stand-ins for gcloud, kubectl, xpk, sbatch and sky.

No cloud is asked: these prove argument lists, files, and what is done when a program fails.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from flan_jax.cli import run
from flan_jax.errors import ConfigError, DataError, FlanJaxError

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAIN = ("train", "--gin_file=gin_configs/test/toy.gin", "--gin.MODEL_DIR=gs://b/run")
SENT = ("train", "--distributed", "--preempted_status=75", *TRAIN[1:])
# Ends what it is in where a shell, YAML or Kubernetes reads it as more than text.
HOSTILE = "--gin.MIXTURE_OR_TASK_NAME='a b\"; $(touch x) $$(y) `z`\\\n#SBATCH --nodes=9'"
STAND_IN = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
plan = folder / "plan"
answers = json.loads(plan.read_text()) if plan.exists() else []
for index, (words, status, out, err) in enumerate(answers):
    if all(word in sys.argv for word in words):
        plan.write_text(json.dumps(answers[:index] + answers[index + 1 :]))
        print(out)
        print(err, file=sys.stderr)
        sys.exit(status)
"""


class StandIns:
    """Programs that record their arguments; each answer is given once, and else all is well."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("gcloud", "kubectl", "xpk", "sbatch", "squeue", "sky"):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)

    def answer(self, *answers):
        (self.folder / "plan").write_text(json.dumps(answers))

    @property
    def calls(self):
        file = self.folder / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def programs(tmp_path_factory, monkeypatch):
    """The PATH has nothing else, so that no test reaches a real kubectl or gcloud."""
    found = StandIns(tmp_path_factory.mktemp("stand_ins"))
    for name in ("git", "bash", "head"):
        os.symlink(shutil.which(name), found.folder / "bin" / name)
    monkeypatch.setenv("PATH", str(found.folder / "bin"))
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that is a checkout of the part that is copied."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/install.sh").write_text("echo\n")
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return tmp_path


def settings(name, /, **changes):
    """The example settings of a target, changed, as a file outside the checkout."""
    content = yaml.safe_load((ROOT / "launch" / name).read_text()) | changes
    file = pathlib.Path(os.environ["PATH"]).parent / name
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value != ...}))
    return f"--settings={file}"


def launch(target, file, /, *more, command=TRAIN, **changes):
    return run(["launch", target, settings(file, **changes), *more, "--", *command])


def test_a_dry_run_runs_and_writes_nothing(programs, here, capsys):
    before = sorted(here.rglob("*"))
    for target, file in (
        ("tpu", "tpu_v5e.yaml"),
        ("gke", "gke_v5e.yaml"),
        ("slurm", "slurm_h100.yaml"),
        ("sky", "sky_tpu.yaml"),
    ):
        assert launch(target, file, "--dry_run") == 0
    assert run(["launch", "local", "--processes=2", "--dry_run", "--", *TRAIN]) == 0
    assert programs.calls == [] and sorted(here.rglob("*")) == before
    said = capsys.readouterr().out
    for text in ("$ gcloud compute tpus queued-resources create flan ", "kind: JobSet",
                 "#SBATCH --nodes=2", "$ sky jobs launch --yes", "--process_index=1"):  # fmt: skip
        assert text in said


TPU = ["--project=my-project", "--zone=us-west4-a"]
QUEUE = ["gcloud", "compute", "tpus", "queued-resources"]
VM = ["gcloud", "compute", "tpus", "tpu-vm"]
ABSENT = (["queued-resources", "describe"], 1, "", "ERROR: NOT_FOUND: no such resource")
ACTIVE = (["queued-resources", "describe"], 0, "ACTIVE", "")


def words(calls):
    """The verb of each call to gcloud."""
    return [" ".join(call[3:5]) for call in calls if call[0] == "gcloud"]


def test_a_tpu_is_made_filled_run_and_deleted(programs, here):
    programs.answer(ABSENT, (["describe"], 0, "WAITING_FOR_RESOURCES", ""), ACTIVE)
    secrets, hostile = {"HF_TOKEN": "hf-token", "WANDB_API_KEY": "w"}, [*TRAIN, HOSTILE]
    assert launch("tpu", "tpu_v5e.yaml", poll_seconds=0, secrets=secrets, command=hostile) == 0
    describe = [*QUEUE, "describe", "flan", *TPU, "--format=value(state.state)"]
    calls = programs.calls
    assert calls[0] == calls[2] == calls[3] == describe
    assert calls[1] == [
        *QUEUE, "create", "flan", *TPU, "--node-id=flan", "--accelerator-type=v5litepod-256",
        "--runtime-version=v2-alpha-tpuv5-lite", "--spot",
        "--scopes=https://www.googleapis.com/auth/cloud-platform",
    ]  # fmt: skip
    assert calls[4][:5] == [*VM, "scp"] and calls[4][6:] == ["flan:flan.tar.gz", "--worker=all",
                                                             *TPU]  # fmt: skip
    install, start = (call[7].removeprefix("--command=") for call in calls[5:7])
    assert calls[6][:7] == [*VM, "ssh", "flan", "--worker=all"] and calls[6][8:] == TPU
    assert install.endswith("&& bash flan/launch/install.sh tpu,wandb")
    assert calls[7:] == [[*QUEUE, "delete", "flan", *TPU, "--force", "--quiet"]]
    # The remote shell reads one script, and in it every argument as it was typed.
    bash, option, script = shlex.split(start)
    assert (bash, option) == ("bash", "-c")
    assert 'HF_TOKEN="$(gcloud secrets versions access latest --secret=hf-token' in script
    last = script[script.index("flock run.lock ") :]
    assert shlex.split(last)[2:-5] == [".venv/bin/flan-jax", *SENT, HOSTILE]
    assert shlex.split(last)[-5:] == ["2>&1", "|", "tee", "-a", "run.log"]


def test_what_is_preempted_is_made_again_and_what_stopped_is_started_again(programs, here):
    start, preempted = ["ssh", "flan"], (["tpu-vm", "describe"], 0, "PREEMPTED", "")
    installed, lost, stopped = (start, 0, "", ""), (start, 255, "", ""), (start, 75, "", "")
    programs.answer(ABSENT, ACTIVE, installed, lost, ACTIVE, preempted,
                    ABSENT, ACTIVE, installed, stopped)  # fmt: skip
    assert launch("tpu", "tpu_v5e.yaml", poll_seconds=0) == 0
    made = [word for word in words(programs.calls) if "describe" not in word]
    filled = ["tpu-vm scp", "tpu-vm ssh"]
    assert made == [
        "queued-resources create", *filled, "tpu-vm ssh", "queued-resources delete",
        "queued-resources create", *filled, "tpu-vm ssh", "tpu-vm ssh", "queued-resources delete",
    ]  # fmt: skip


def test_a_machine_that_is_never_there_ends_in_an_error(programs, here):
    failed = (["queued-resources", "describe"], 0, "FAILED", "")
    programs.answer(*[ABSENT, failed, failed] * 2)
    with pytest.raises(FlanJaxError, match=r"lost or interrupted 2 times \('recreations'\)"):
        launch("tpu", "tpu_v5e.yaml", poll_seconds=0, recreations=1)
    assert words(programs.calls).count("queued-resources delete") == 3
    assert "tpu-vm ssh" not in words(programs.calls)


def test_a_run_that_fails_is_one_error_and_leaves_no_machine(programs, here):
    programs.answer(ABSENT, ACTIVE, (["ssh"], 0, "", ""), (["ssh"], 2, "", ""))
    with pytest.raises(FlanJaxError, match="^train ended with status 2 on flan$"):
        launch("tpu", "tpu_v5e.yaml")
    assert words(programs.calls)[-1] == "queued-resources delete"


def test_what_could_not_be_made_is_not_deleted(programs, here):
    """It may be somebody else's that has the name."""
    programs.answer(ABSENT, (["create"], 1, "", "ALREADY_EXISTS"))
    with pytest.raises(FlanJaxError, match="^status 1 of 'gcloud compute tpus queued-res.* create"):
        launch("tpu", "tpu_v5e.yaml")
    programs.answer((["describe"], 1, "", "you are not logged in"))
    with pytest.raises(FlanJaxError, match="status 1 of .* describe .*: you are not logged in"):
        launch("tpu", "tpu_v5e.yaml")
    assert not any("delete" in word for word in words(programs.calls))


def test_what_is_not_committed_is_not_copied_silently(programs, here):
    (here / "new.gin").write_text("")
    with pytest.raises(ConfigError, match="1 changes are not committed .* 'new.gin'|new.gin"):
        launch("tpu", "tpu_v5e.yaml")
    assert programs.calls == []
    programs.answer(ACTIVE, ACTIVE)
    assert launch("tpu", "tpu_v5e.yaml", "--uncommitted", keep=True) == 0
    assert "queued-resources create" not in words(programs.calls)
    assert "queued-resources delete" not in words(programs.calls)


# What the published API (jobset.x-k8s.io/v1alpha2, batch/v1, v1) knows of what is written: fields,
# and for each what it holds. A key that is not here would be refused, or worse, ignored.
FREE = {"*": str}
CONTAINER = {
    "name": str, "image": str, "command": [str], "ports": [{"containerPort": int}],
    "env": [{"name": str, "value": str,
             "valueFrom": {"secretKeyRef": {"name": str, "key": str}}}],
    "resources": {"requests": {"google.com/tpu": int}, "limits": {"google.com/tpu": int}},
}  # fmt: skip
POD = {
    "restartPolicy": str, "terminationGracePeriodSeconds": int, "nodeSelector": FREE,
    "serviceAccountName": str, "containers": [CONTAINER],
    "tolerations": [{"key": str, "operator": str, "value": str, "effect": str}],
}  # fmt: skip
JOB = {
    "parallelism": int, "completions": int, "completionMode": str, "backoffLimit": int,
    "podFailurePolicy": {"rules": [{"action": str, "onExitCodes": {
        "containerName": str, "operator": str, "values": [int]}}]},
    "template": {"spec": POD},
}  # fmt: skip
JOBSET = {
    "apiVersion": str, "kind": str,
    "metadata": {"name": str, "namespace": str, "labels": FREE, "annotations": FREE},
    "spec": {
        "failurePolicy": {"maxRestarts": int, "rules": [
            {"name": str, "action": str, "onJobFailureReasons": [str]}]},
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB}}],
    },
}  # fmt: skip


def check(value, known, where="JobSet"):
    if isinstance(known, dict):
        assert isinstance(value, dict), where
        for key, item in value.items():
            assert key in known or "*" in known, f"{where}.{key}"
            check(item, known.get(key, known.get("*")), f"{where}.{key}")
    elif isinstance(known, list):
        assert isinstance(value, list) and value, where
        for item in value:
            check(item, known[0], f"{where}[]")
    else:
        assert type(value) is known, where


def test_a_jobset_is_as_its_api_has_it(programs, here):
    assert launch(
        "gke", "gke_v5e.yaml", command=[*TRAIN, HOSTILE], slices=2, queue="local-queue",
        service_account="trainer", environment={"A": "$(HOME)"},
        secrets={"WANDB_API_KEY": "flan-secrets/wandb"},
    ) == 0  # fmt: skip
    assert programs.calls == [["kubectl", "apply", "--filename=flan.jobset.yaml"]]
    found = yaml.safe_load((here / "flan.jobset.yaml").read_text())
    check(found, JOBSET)
    assert (found["apiVersion"], found["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert found["spec"]["failurePolicy"] == {"maxRestarts": 20, "rules": [
        {"name": "badInput", "action": "FailJobSet",
         "onJobFailureReasons": ["PodFailurePolicy"]}]}  # fmt: skip
    (slices,) = found["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    assert slices["replicas"] == 2 and job["parallelism"] == job["completions"] == 64
    assert job["backoffLimit"] == 0 and job["completionMode"] == "Indexed"
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
        "cloud.google.com/gke-spot": "true",
    }
    (container,) = pod["containers"]
    # Every $ is doubled, so that Kubernetes puts no variable for $(NAME).
    assert container["command"] == ["flan-jax", *SENT, HOSTILE.replace("$", "$$")]
    assert container["env"] == [
        {"name": "A", "value": "$$(HOME)"},
        {"name": "WANDB_API_KEY",
         "valueFrom": {"secretKeyRef": {"name": "flan-secrets", "key": "wandb"}}},
    ]  # fmt: skip


def test_xpk_is_told_the_same(programs, here):
    place = dict(cluster="c", project="p", zone="z", tpu_type="v5litepod-256")
    assert launch("gke", "gke_v5e.yaml", "--with_xpk", command=[*TRAIN, HOSTILE], **place) == 0
    (call,) = programs.calls
    assert call[:3] == ["xpk", "workload", "create"] and not list(here.glob("*.yaml"))
    assert call[3:-1] == [
        "--workload=flan", "--cluster=c", "--project=p", "--zone=z", "--tpu-type=v5litepod-256",
        "--num-slices=1", "--docker-image=us-docker.pkg.dev/my-project/my-repository/flan-jax:1",
    ]  # fmt: skip
    assert shlex.split(call[-1].removeprefix("--command=")) == ["flan-jax", *SENT, HOSTILE]
    with pytest.raises(ConfigError, match="xpk needs 'cluster'"):
        launch("gke", "gke_v5e.yaml", "--with_xpk")


@pytest.mark.parametrize("tasks", ["gpu", "node"])
def test_a_batch_script_runs_what_was_typed(programs, here, tasks):
    """By bash, with stand-ins for srun and scontrol; the directives are all before any command."""
    more = dict(tasks=tasks, secrets=["HF_TOKEN"], environment={"B": "it's $HOME\nx"}, requeues=2)
    assert launch("slurm", "slurm_h100.yaml", command=[*TRAIN, HOSTILE], **more) == 0
    assert programs.calls == [["sbatch", "--export=HOME,PATH,USER,LANG,HF_TOKEN", "flan.sbatch"]]
    lines = (here / "flan.sbatch").read_text().splitlines()
    head = lines[: lines.index("")]
    assert f"#SBATCH --ntasks-per-node={8 if tasks == 'gpu' else 1}" in head
    assert {"#SBATCH --nodes=2", "#SBATCH --signal=TERM@300", "#SBATCH --requeue"} <= set(head)
    for name in ("srun", "scontrol"):
        os.symlink(programs.folder / "bin" / "sky", programs.folder / "bin" / name)
    environment = {**os.environ, "SLURM_JOB_ID": "7"}

    def submitted(status, restarts):
        programs.answer((["train"], status, "", ""))
        before = len(programs.calls)
        again = {**environment, "SLURM_RESTART_COUNT": str(restarts)}
        done = subprocess.run(["bash", "flan.sbatch"], env=again, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return programs.calls[before:]

    srun = ["srun", "--export=ALL", "--kill-on-bad-exit=1", ".venv/bin/flan-jax", *SENT, HOSTILE]
    assert submitted(75, 1) == [srun, ["scontrol", "requeue", "7"]]
    assert submitted(75, 2) == submitted(1, 0) == submitted(0, 0) == [srun]
    assert not (here / "x").exists()
    devices = [line for line in lines if "JAX_LOCAL_DEVICE_IDS" in line]
    assert devices == ([] if tasks == "gpu" else ["export JAX_LOCAL_DEVICE_IDS=0,1,2,3,4,5,6,7"])


# Of https://docs.skypilot.co/en/latest/reference/yaml-spec.html, what is written.
SKY = {
    "name": str, "num_nodes": int, "workdir": str, "setup": str, "run": str,
    "envs": FREE, "secrets": {"*": type(None)},
    "resources": {
        "infra": str, "accelerators": str, "use_spot": bool, "disk_size": int,
        "accelerator_args": {"runtime_version": str},
        "job_recovery": {"strategy": str, "max_restarts_on_errors": int,
                         "recover_on_exit_codes": [int]},
    },
}  # fmt: skip


def test_a_sky_task_is_as_its_format_has_it(programs, here):
    assert launch("sky", "sky_tpu.yaml", command=[*TRAIN, HOSTILE], secrets=["HF_TOKEN"]) == 0
    assert programs.calls == [["sky", "jobs", "launch", "--yes", "--detach-run", "--name=flan",
                               "--secret", "HF_TOKEN", "flan.sky.yaml"]]  # fmt: skip
    found = yaml.safe_load((here / "flan.sky.yaml").read_text())
    check(found, SKY, "task")
    assert found["resources"]["job_recovery"]["recover_on_exit_codes"] == [75]
    assert shlex.split(found["run"]) == [".venv/bin/flan-jax", *SENT, HOSTILE]
    assert found["setup"] == "bash launch/install.sh tpu\n"

    gpus = dict(accelerators="H100:8", nodes=2, runtime_version=...)
    assert launch("sky", "sky_tpu.yaml", command=[*TRAIN, HOSTILE], **gpus) == 0
    found = yaml.safe_load((here / "flan.sky.yaml").read_text())
    check(found, SKY, "task")
    node = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2",
            "SKYPILOT_NODE_RANK": "1"}  # fmt: skip
    (here / ".venv/bin").mkdir(parents=True)
    os.symlink(programs.folder / "bin" / "sky", here / ".venv/bin/flan-jax")
    subprocess.run(["bash", "-c", found["run"]], env={**os.environ, **node}, check=True)
    assert programs.calls[-1] == [
        "flan-jax", "train", "--coordinator_address=10.0.0.1:8476", "--process_count=2",
        "--process_index=1", "--preempted_status=75", *TRAIN[1:], HOSTILE,
    ]  # fmt: skip


def test_what_was_started_is_looked_at_and_ended(programs, here):
    def act(target, file, action):
        assert run(["launch", target, settings(file), f"--action={action}"]) == 0
        return programs.calls[-1]

    assert act("tpu", "tpu_v5e.yaml", "logs")[3:8] == [
        "tpu-vm", "ssh", "flan", "--worker=0", "--command=tail -n 100 -F flan/run.log"]  # fmt: skip
    assert act("tpu", "tpu_v5e.yaml", "delete")[3:6] == ["queued-resources", "delete", "flan"]
    get = ["kubectl", "get", "jobset", "flan", "--namespace=default"]
    assert act("gke", "gke_v5e.yaml", "status") == get
    assert act("gke", "gke_v5e.yaml", "logs")[:3] == ["kubectl", "logs", "--follow"]
    assert act("slurm", "slurm_h100.yaml", "status") == ["squeue", "--me", "--name=flan"]
    assert act("sky", "sky_tpu.yaml", "delete") == ["sky", "jobs", "cancel", "--yes", "--name",
                                                    "flan"]  # fmt: skip
    with pytest.raises(ConfigError, match="logs of Slurm are files: %x-%j.log"):
        act("slurm", "slurm_h100.yaml", "logs")


@pytest.mark.parametrize(
    ("target", "file", "program"),
    [
        ("gke", "gke_v5e.yaml", "kubectl"),
        ("slurm", "slurm_h100.yaml", "sbatch"),
        ("sky", "sky_tpu.yaml", "sky"),
    ],
)
def test_a_program_that_fails_or_is_not_there_is_one_error(programs, here, target, file, program):
    programs.answer(([], 3, "", "no quota"))
    with pytest.raises(FlanJaxError, match=f"^status 3 of '{program} "):
        launch(target, file)
    (programs.folder / "bin" / program).unlink()
    with pytest.raises(FlanJaxError, match=f"^no program '{program}' on the PATH: it comes with"):
        launch(target, file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(nmae="x"), "no setting 'nmae'; did you mean 'name'"),
        (dict(zone=...), "'zone' is missing"),
        (dict(name="a; rm -rf /"), "'name' must be a name of up to 40 small letters"),
        (dict(zone="us\n#x"), r"'zone' must be one word of letters, digits .* 'us\\n#x'"),
        (dict(zone="--quiet"), "'zone' must be one word"),
        (dict(accelerator_type="v5e-256"), "'accelerator_type' must be a type like v5litepod-256"),
        (dict(spot="yes"), "'spot' must be"),
        (dict(recreations=-1), "'recreations' must be"),
        (dict(environment={"A B": "x"}), "'environment' must be NAME: value pairs"),
        (dict(environment={"HF_TOKEN": "hf_x"}), "HF_TOKEN in 'environment' would stand in"),
        (dict(secrets={"HF_TOKEN": "hf x"}), "'secrets' must be NAME: value pairs"),
    ],
)
def test_settings_are_read_strictly(programs, here, changes, said):
    with pytest.raises((DataError, ConfigError), match=said):
        launch("tpu", "tpu_v5e.yaml", **changes)
    assert programs.calls == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["trian"], "after -- comes one of train, eval, prepare, infer, not 'trian'; did you mean"),
        (["report"], "after -- comes one of"),
        ([], "what is to be started follows --"),
        ([*TRAIN, "--process_index=1"], "--process_index is set by the launcher"),
        ([*TRAIN, "--gin.TRIAN_STEPS=2"], "did you mean 'TRAIN_STEPS'"),
        (["train", "--gin_file=gin_configs/test/toi.gin"], "did you mean 'gin_configs/test/toy"),
        (TRAIN[:2], "train needs --gin.MODEL_DIR"),
        ([*TRAIN[:2], "--gin.MODEL_DIR=runs/x"], "MODEL_DIR is 'runs/x', on this machine or one"),
        ([*TRAIN, "--gin.WANDB_PROJECT=s3cret"], "holds the value of WANDB_API_KEY"),
        (["infer", "--checkpoint=gs://b/run"], "infer is one process"),
        (
            ["eval", "--checkpoint=runs/x", "--mixture=m", "--out=gs://b/e"],
            "--checkpoint is 'runs/x'",
        ),
    ],
)
def test_a_command_is_checked_before_anything_is_started(
    programs, here, command, said, monkeypatch
):
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    with pytest.raises(FlanJaxError, match=said):
        launch("tpu", "tpu_v5e.yaml", command=command)
    assert programs.calls == []
