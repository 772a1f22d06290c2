"""SkyPilot: a task as YAML, run as a managed job, which finds machines anew when they are lost."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import yaml_files
from flan_jax.kinds import OneOf, Text, Whole, YesNo
from flan_jax.launch.programs import Programs
from flan_jax.launch.settings import NAME, WORD, Matching, Table, Variables, field
from flan_jax.launch.work import PREEMPTED, Work, extras

_INFRA = Matching(r"[a-z0-9]+(/[A-Za-z0-9*._-]+){0,2}", "cloud/region/zone, the last two optional")


@dataclasses.dataclass(frozen=True)
class Sky:
    """Settings.

    Attributes:
        name: of the job.
        accelerators: what a node has, as `sky show-gpus` names it: tpu-v5litepod-16, H100:8.
        nodes: number of nodes; a TPU pod is one.
        infra: cloud, region and zone to look in; any where absent.
        runtime_version: image of a TPU VM.
        spot: cheaper, and may be taken away.
        disk_gb: disk of a node.
        restarts: how often the job is started again after an error that is not a preemption.
        strategy: where to look first for new machines.
        environment: variables of the run.
        secrets: names of variables that are taken from here when the job is started.
    """

    name: str = field(NAME)
    accelerators: str = field(WORD)
    nodes: int = field(Whole(), 1)
    infra: str | None = field(_INFRA, None)
    runtime_version: str | None = field(WORD, None)
    spot: bool = field(YesNo(), False)
    disk_gb: int = field(Whole(50), 256)
    restarts: int = field(Whole(0), 3)
    strategy: str = field(OneOf(("EAGER_NEXT_REGION", "FAILOVER")), "EAGER_NEXT_REGION")
    environment: Mapping[str, str] = field(Table(Text()), {})
    secrets: Sequence[str] = field(Variables(), [])

    @property
    def is_tpu(self) -> bool:
        """Whether JAX finds the other hosts without being told."""
        return self.accelerators.startswith("tpu-")


def task(sky: Sky, work: Work) -> dict[str, Any]:
    """Returns the task as SkyPilot's YAML has it.

    Raises:
        ConfigError: the work is one process and there would be several.
    """
    work.check_processes(_hosts(sky), sky.accelerators)
    resources: dict[str, Any] = {"accelerators": sky.accelerators}
    if sky.infra:
        resources = {"infra": sky.infra, **resources}
    if sky.runtime_version:
        resources["accelerator_args"] = {"runtime_version": sky.runtime_version}
    resources |= {
        "use_spot": sky.spot,
        "disk_size": sky.disk_gb,
        "job_recovery": {
            "strategy": sky.strategy,
            "max_restarts_on_errors": sky.restarts,
            "recover_on_exit_codes": [PREEMPTED],
        },
    }
    found: dict[str, Any] = {"name": sky.name, "num_nodes": sky.nodes, "workdir": "."}
    found["resources"] = resources
    if sky.environment:
        found["envs"] = dict(sky.environment)
    if sky.secrets:
        found["secrets"] = {name: None for name in sky.secrets}  # filled by --secret NAME
    found["setup"] = (
        f"bash launch/install.sh {extras('tpu' if sky.is_tpu else 'gpu', sky.secrets)}\n"
    )
    found["run"] = _script(sky, work)
    return found


def _hosts(sky: Sky) -> int:
    """At least as many hosts as matter: one, or more than one."""
    size = sky.accelerators.partition(":")[0].rpartition("-")[2]
    return max(sky.nodes, 2 if sky.is_tpu and size.isdecimal() and int(size) > 8 else 1)


def _script(sky: Sky, work: Work) -> str:
    """Returns what each node runs; nodes that are no TPU pod are told who the others are."""
    program = ".venv/bin/flan-jax"
    if sky.is_tpu:
        return shlex.join(work.command(program)) + "\n"
    verb, *rest = work.own
    if sky.nodes == 1:
        return shlex.join([program, verb, *rest]) + "\n"
    first = '$(echo "$SKYPILOT_NODE_IPS" | head -n1)'
    others = (
        f'--coordinator_address="{first}:8476" '
        '--process_count="$SKYPILOT_NUM_NODES" --process_index="$SKYPILOT_NODE_RANK"'
    )
    return f"{program} {verb} {others} {shlex.join(rest)}\n"


def run(sky: Sky, work: Work, programs: Programs, file: str) -> int:
    """Writes the task and starts it as a managed job.

    Returns:
        0.

    Raises:
        FlanJaxError: settings do not fit the work, or sky fails.
    """
    work.check_copied()
    programs.write(file, yaml_files.dumps(task(sky, work)))
    secrets = [text for name in sky.secrets for text in ("--secret", name)]
    programs.run(["sky", "jobs", "launch", "--yes", "--detach-run", f"--name={sky.name}",
                  *secrets, file])  # fmt: skip
    return 0


def act(sky: Sky, action: str, programs: Programs) -> None:
    """Shows the logs or the state of a job, or cancels it.

    Raises:
        FlanJaxError: sky fails.
    """
    commands = {
        "logs": ["logs", "--name", sky.name],
        "status": ["queue"],
        "delete": ["cancel", "--yes", "--name", sky.name],
    }
    programs.run(["sky", "jobs", *commands[action]])
