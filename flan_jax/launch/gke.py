"""TPU slices on GKE: a JobSet (jobset.x-k8s.io/v1alpha2), or xpk for trying out.

A slice is one job of as many pods as it has hosts; slices are replicas. Any pod that fails ends its
job, and the JobSet then starts all of them again, but for bad input, which would fail again.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from typing import Any

from flan_jax import yaml_files
from flan_jax.errors import ConfigError
from flan_jax.kinds import Text, Whole, YesNo
from flan_jax.launch.programs import Programs
from flan_jax.launch.settings import NAME, WORD, Matching, Table, field
from flan_jax.launch.work import BAD_INPUT, Work

TOPOLOGY = Matching(r"[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}", "a topology like 16x16 or 4x4x4")
_KEY = Matching(r"[a-z0-9][-a-z0-9.]*/[A-Za-z0-9._-]+", "the name of a Secret and its key, a/b")
_NODE_POOL = "cloud.google.com/gke-nodepool"


@dataclasses.dataclass(frozen=True)
class Gke:
    """Settings.

    Attributes:
        name: of the JobSet.
        image: a container with flan-jax, see launch/Dockerfile.
        accelerator: GKE's name of the chips.
        topology: chips of a slice, along each axis.
        chips_per_host: chips of a node.
        slices: number of slices.
        spot: on spot nodes.
        namespace, service_account: of Kubernetes.
        queue: local queue of Kueue, where the cluster has one.
        restarts: how often all is started again.
        grace_seconds: for saving, once a pod is asked to end.
        environment: variables of the run.
        secrets: variables, and the Secret and key that is the value of each.
        cluster, project, zone, tpu_type: for xpk alone.
    """

    name: str = field(NAME)
    image: str = field(WORD)
    accelerator: str = field(WORD)
    topology: str = field(TOPOLOGY)
    chips_per_host: int = field(Whole(1, 8), 4)
    slices: int = field(Whole(), 1)
    spot: bool = field(YesNo(), False)
    namespace: str = field(NAME, "default")
    service_account: str | None = field(WORD, None)
    queue: str | None = field(NAME, None)
    restarts: int = field(Whole(0), 20)
    grace_seconds: int = field(Whole(), 300)
    environment: Mapping[str, str] = field(Table(Text()), {})
    secrets: Mapping[str, str] = field(Table(_KEY), {})
    cluster: str | None = field(WORD, None)
    project: str | None = field(WORD, None)
    zone: str | None = field(WORD, None)
    tpu_type: str | None = field(WORD, None)

    @property
    def hosts(self) -> int:
        """Number of hosts of a slice.

        Raises:
            ConfigError: its chips are not so many on each.
        """
        chips = math.prod(map(int, self.topology.split("x")))
        if chips % self.chips_per_host:
            raise ConfigError(
                f"a slice of {self.topology} has {chips} chips, which are not "
                f"{self.chips_per_host} on each host ('chips_per_host')"
            )
        return chips // self.chips_per_host


def manifest(gke: Gke, work: Work) -> dict[str, Any]:
    """Returns the JobSet as its API (jobset.x-k8s.io/v1alpha2) has it.

    Raises:
        ConfigError: the work is one process, or hosts and topology do not agree.
    """
    work.check_processes(gke.hosts * gke.slices, f"{gke.slices} slices of {gke.topology}")
    metadata: dict[str, Any] = {"name": gke.name, "namespace": gke.namespace}
    if gke.queue:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": gke.queue}
    # One slice is one node pool, which no two jobs share.
    metadata["annotations"] = {"alpha.jobset.sigs.k8s.io/exclusive-topology": _NODE_POOL}
    final = {
        "name": "badInput",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "failurePolicy": {"maxRestarts": gke.restarts, "rules": [final]},
            "replicatedJobs": [
                {
                    "name": "slice",
                    "replicas": gke.slices,
                    "template": {"spec": _job(gke, work)},
                }
            ],
        },
    }


def _job(gke: Gke, work: Work) -> dict[str, Any]:
    """Returns the spec of the job of one slice."""
    codes = {"containerName": "flan-jax", "operator": "In", "values": [BAD_INPUT]}
    return {
        "parallelism": gke.hosts,
        "completions": gke.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": codes}]},
        "template": {"spec": _pod(gke, work)},
    }


def _pod(gke: Gke, work: Work) -> dict[str, Any]:
    selector = {
        "cloud.google.com/gke-tpu-accelerator": gke.accelerator,
        "cloud.google.com/gke-tpu-topology": gke.topology,
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": gke.grace_seconds,
        "nodeSelector": selector,
    }
    if gke.spot:
        selector["cloud.google.com/gke-spot"] = "true"
        pod["tolerations"] = [
            {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true",
             "effect": "NoSchedule"}
        ]  # fmt: skip
    if gke.service_account:
        pod["serviceAccountName"] = gke.service_account
    pod["containers"] = [_container(gke, work)]
    return pod


def _container(gke: Gke, work: Work) -> dict[str, Any]:
    variables: list[dict[str, Any]] = [
        {"name": name, "value": _unexpanded(value)} for name, value in gke.environment.items()
    ]
    for name, place in gke.secrets.items():
        secret, _, key = place.partition("/")
        reference = {"secretKeyRef": {"name": secret, "key": key}}
        variables.append({"name": name, "valueFrom": reference})
    chips = {"google.com/tpu": gke.chips_per_host}
    return {
        "name": "flan-jax",
        "image": gke.image,
        "command": [_unexpanded(argument) for argument in work.command()],
        **({"env": variables} if variables else {}),
        # Of JAX's coordinator, and of the TPU runtime of other hosts.
        "ports": [{"containerPort": 8476}, {"containerPort": 8471}],
        "resources": {"requests": chips, "limits": chips},
    }


def _unexpanded(text: str) -> str:
    """Kubernetes puts variables for $(NAME) in commands and values, and one $ for $$."""
    return text.replace("$", "$$")


def run(gke: Gke, work: Work, programs: Programs, file: str, by_xpk: bool) -> int:
    """Writes the manifest and applies it, or has xpk make one of its own.

    Returns:
        0.

    Raises:
        FlanJaxError: settings do not fit the work, or a program fails.
    """
    work.check_copied()
    if by_xpk:
        programs.run(_xpk(gke, work))
        return 0
    programs.write(file, yaml_files.dumps(manifest(gke, work)))
    programs.run(["kubectl", "apply", f"--filename={file}"])
    return 0


def _xpk(gke: Gke, work: Work) -> list[str]:
    """Returns how xpk starts the work.

    Raises:
        ConfigError: xpk needs to know more, or cannot have what is set.
    """
    work.check_processes(gke.hosts * gke.slices, gke.topology)
    names = ("cluster", "project", "zone", "tpu_type")
    if missing := [name for name in names if not getattr(gke, name)]:
        raise ConfigError(f"xpk needs {missing[0]!r} in the settings")
    if gke.secrets:
        raise ConfigError("xpk has no way to a Secret ('secrets'); use the JobSet")
    variables = [f"--env={name}={value}" for name, value in gke.environment.items()]
    return ["xpk", "workload", "create", f"--workload={gke.name}", f"--cluster={gke.cluster}",
            f"--project={gke.project}", f"--zone={gke.zone}", f"--tpu-type={gke.tpu_type}",
            f"--num-slices={gke.slices}", f"--docker-image={gke.image}", *variables,
            f"--command={shlex.join(work.command())}"]  # fmt: skip


def act(gke: Gke, action: str, programs: Programs) -> None:
    """Shows the logs or the state of a JobSet, or deletes it.

    Raises:
        FlanJaxError: kubectl fails.
    """
    where = f"--namespace={gke.namespace}"
    if action == "logs":
        selector = (
            f"--selector=jobset.sigs.k8s.io/jobset-name={gke.name},"
            "jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
        )
        programs.run(["kubectl", "logs", "--follow", where, selector])
    else:
        verb = {"status": "get", "delete": "delete"}[action]
        programs.run(["kubectl", verb, "jobset", gke.name, where])
