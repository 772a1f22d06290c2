"""Slurm: a batch script that starts one task a GPU or a node and queues itself again.

JAX reads from Slurm's variables who the others are (SLURM_STEP_NODELIST, SLURM_NTASKS,
SLURM_PROCID, SLURM_LOCALID), and gives a task the one GPU of its local number unless
JAX_LOCAL_DEVICE_IDS names more.
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from flan_jax.kinds import OneOf, Text, Whole
from flan_jax.launch.programs import Programs, exports
from flan_jax.launch.settings import NAME, WORD, Matching, Table, Variables, field
from flan_jax.launch.work import PREEMPTED, Work

TIME = Matching(r"([0-9]+-)?[0-9]+(:[0-9]+){0,2}", 'a time in quotes, such as "24:00:00"')


@dataclasses.dataclass(frozen=True)
class Slurm:
    """Settings.

    Attributes:
        name: of the job.
        nodes: number of nodes.
        gpus_per_node: GPUs of each.
        tasks: one process a `gpu` or a `node`.
        time: limit; the run saves and is queued again before it is reached.
        save_seconds: how long before the limit it is asked to save.
        partition, account, qos, constraint: of the job, where the cluster asks for them.
        cpus_per_task, memory: of the job, where not the default.
        program: flan-jax of an environment that all nodes see.
        output: file of what is printed; %x is the name, %j the number of the job.
        requeues: how often it is queued again.
        environment: variables of the run.
        secrets: names of variables that are taken from where the job is submitted.
    """

    name: str = field(NAME)
    nodes: int = field(Whole(), 1)
    gpus_per_node: int = field(Whole(), 8)
    tasks: str = field(OneOf(("gpu", "node")), "gpu")
    time: str = field(TIME, "24:00:00")
    save_seconds: int = field(Whole(60, 3600), 300)
    partition: str | None = field(WORD, None)
    account: str | None = field(WORD, None)
    qos: str | None = field(WORD, None)
    constraint: str | None = field(WORD, None)
    cpus_per_task: int | None = field(Whole(), None)
    memory: str | None = field(WORD, None)
    program: str = field(WORD, ".venv/bin/flan-jax")
    output: str = field(Matching(r"[A-Za-z0-9./%_-]+", "a path of letters and ./%_-"), "%x-%j.log")
    requeues: int = field(Whole(0), 20)
    environment: Mapping[str, str] = field(Table(Text()), {})
    secrets: Sequence[str] = field(Variables(), [])

    @property
    def tasks_per_node(self) -> int:
        """Processes of a node."""
        return self.gpus_per_node if self.tasks == "gpu" else 1


def script(slurm: Slurm, work: Work) -> str:
    """Returns the text of the batch script.

    Raises:
        ConfigError: the work is one process and there would be several.
    """
    work.check_processes(slurm.nodes * slurm.tasks_per_node, f"'tasks: {slurm.tasks}'")
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in _options(slurm)), ""]
    lines += exports(dict(slurm.environment))
    if slurm.tasks == "node":
        every = ",".join(map(str, range(slurm.gpus_per_node)))
        lines.append(f"export JAX_LOCAL_DEVICE_IDS={every}")
    lines += [
        "# One task that fails ends the others, which would wait for it.",
        f"srun --export=ALL --kill-on-bad-exit=1 {shlex.join(work.command(slurm.program))}",
        "status=$?",
        f"# {PREEMPTED}: asked to stop, and saved.",
        f'if [ "$status" -eq {PREEMPTED} ] && '
        f'[ "${{SLURM_RESTART_COUNT:-0}}" -lt {slurm.requeues} ]; then',
        '  scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"


def _options(slurm: Slurm) -> list[str]:
    found = [
        f"--job-name={slurm.name}",
        f"--nodes={slurm.nodes}",
        f"--gpus-per-node={slurm.gpus_per_node}",
        f"--ntasks-per-node={slurm.tasks_per_node}",
        f"--time={slurm.time}",
        # To the tasks, not to this script, which waits for them.
        f"--signal=TERM@{slurm.save_seconds}",
        "--requeue",
        "--open-mode=append",
        f"--output={slurm.output}",
    ]
    for option in ("partition", "account", "qos", "constraint", "cpus_per_task", "memory"):
        if (value := getattr(slurm, option)) is not None:
            name = {"memory": "mem"}.get(option, option.replace("_", "-"))
            found.append(f"--{name}={value}")
    return found


def run(slurm: Slurm, work: Work, programs: Programs, file: str) -> int:
    """Writes the script and submits it.

    Returns:
        0.

    Raises:
        FlanJaxError: settings do not fit the work, or sbatch fails.
    """
    programs.write(file, script(slurm, work))
    # By name: Slurm takes the values from the environment of this process.
    kept = ",".join(("HOME", "PATH", "USER", "LANG", *slurm.secrets))
    programs.run(["sbatch", f"--export={kept}", file])
    return 0


def act(slurm: Slurm, action: str, programs: Programs) -> None:
    """Shows the state of the jobs of this name, or deletes them; logs are files.

    Raises:
        FlanJaxError: Slurm fails.
    """
    program = {"status": "squeue", "delete": "scancel"}[action]
    programs.run([program, "--me", f"--name={slurm.name}"])
