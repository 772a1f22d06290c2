"""TPU VMs, one or a pod, through gcloud: made, filled, run on all workers, made again when lost.

The machine that launches stays: it holds the connection, and starts again what was preempted.
"""

import dataclasses
import os
import shlex
import tempfile
import time
from collections.abc import Mapping

from flan_jax import terminal
from flan_jax.errors import ConfigError, FlanJaxError
from flan_jax.kinds import Text, Whole, YesNo
from flan_jax.launch.programs import Programs, exports
from flan_jax.launch.settings import NAME, WORD, Matching, Table, field
from flan_jax.launch.work import PREEMPTED, Work, extras

TYPE = Matching(r"(v2|v3|v4|v5p|v5litepod|v6e)-[1-9][0-9]{0,4}", "a type like v5litepod-256")
# Of `ssh` where the connection was lost.
_LOST_CONNECTION = 255
_READY = ("ACTIVE", "READY")
# States of a queued resource and of a node from which neither comes back.
_GONE = "GONE"
_LOST = (
    _GONE,
    "FAILED",
    "SUSPENDED",
    "SUSPENDING",
    "PREEMPTED",
    "TERMINATED",
    "STOPPED",
    "DELETING",
)


@dataclasses.dataclass(frozen=True)
class Tpu:
    """Settings.

    Attributes:
        name: of the machine.
        project: of Google Cloud.
        zone: where there are such chips.
        accelerator_type: chips, as Google counts them.
        runtime_version: image of the machine.
        queued: whether to wait in a queue (queued resources).
        spot: cheaper, and may be taken away.
        reserved: of a reservation of the project.
        network, subnetwork, service_account: of the machine, where not the default.
        keep: whether the machine stays when the run has ended.
        recreations: how often it is made again once lost, or the run started again.
        poll_seconds: between two looks at its state.
        environment: variables of the run.
        secrets: variables, and the secret of Secret Manager that is the value of each.
    """

    name: str = field(NAME)
    project: str = field(WORD)
    zone: str = field(WORD)
    accelerator_type: str = field(TYPE)
    runtime_version: str = field(WORD)
    queued: bool = field(YesNo(), True)
    spot: bool = field(YesNo(), False)
    reserved: bool = field(YesNo(), False)
    network: str | None = field(WORD, None)
    subnetwork: str | None = field(WORD, None)
    service_account: str | None = field(WORD, None)
    keep: bool = field(YesNo(), False)
    recreations: int = field(Whole(0), 20)
    poll_seconds: int = field(Whole(0), 30)
    environment: Mapping[str, str] = field(Table(Text()), {})
    secrets: Mapping[str, str] = field(Table(WORD), {})

    @property
    def is_pod(self) -> bool:
        """Whether it has several workers; of each kind, one holds types of up to 8."""
        return int(self.accelerator_type.rpartition("-")[2]) > 8


class _NotMadeError(FlanJaxError):
    """Nothing of ours is there that could be deleted."""


def run(tpu: Tpu, work: Work, programs: Programs, uncommitted: bool) -> int:
    """Runs the work, on new machines as long as old ones are lost.

    Returns:
        0.

    Raises:
        FlanJaxError: the work failed, or too many machines were lost.
    """
    work.check_processes(2 if tpu.is_pod else 1, tpu.accelerator_type)
    work.check_copied()
    _check_checkout(programs, uncommitted)
    with tempfile.TemporaryDirectory() as folder:
        code = "code.tar.gz" if programs.dry_run else os.path.join(folder, "code.tar.gz")
        programs.run(["git", "archive", "--format=tar.gz", f"--output={code}", "HEAD"])
        try:
            _keep_going(tpu, work, programs, code)
        except _NotMadeError:
            raise
        except KeyboardInterrupt:
            terminal.warn(f"{tpu.name} is still there; --action=delete deletes it")
            raise
        except FlanJaxError:
            _clean(tpu, programs)
            raise
    _clean(tpu, programs)
    return 0


def _keep_going(tpu: Tpu, work: Work, programs: Programs, code: str) -> None:
    """Makes a machine and runs, until the work has ended well."""
    filled = False
    for _ in range(tpu.recreations + 1):
        if not filled:
            filled = _make(tpu, programs) and _fill(tpu, programs, code)
        status = programs.status(_ssh(tpu, _start(tpu, work))) if filled else _LOST_CONNECTION
        if status == 0:
            return
        if state := _lost(tpu, programs):
            terminal.warn(f"{tpu.name} is {state}: making it again")
            programs.status(_delete(tpu))
            filled = False
        elif status not in (PREEMPTED, _LOST_CONNECTION):
            raise FlanJaxError(f"{work.verb} ended with status {status} on {tpu.name}")
        time.sleep(tpu.poll_seconds)
    raise FlanJaxError(
        f"{tpu.name} was lost or interrupted {tpu.recreations + 1} times ('recreations')"
    )


def _make(tpu: Tpu, programs: Programs) -> bool:
    """Makes the machine, where it is not there, and waits for it; False where it came to nothing.

    Raises:
        FlanJaxError: it cannot be asked for.
    """
    try:
        if _look(_describe(tpu), programs) in ("", _GONE):
            programs.run(_create(tpu))
    except FlanJaxError as error:
        raise _NotMadeError(str(error)) from None
    while not programs.dry_run:
        state = _look(_describe(tpu), programs)
        if state in _READY or state in _LOST:
            return state in _READY
        terminal.say_aside(f"{tpu.name}: {state}")
        time.sleep(tpu.poll_seconds)
    return True


def _look(command: list[str], programs: Programs) -> str:
    """Returns what a command says of a state, `_GONE` where there is no such machine."""
    try:
        return programs.output(command)
    except FlanJaxError as error:
        if "NOT_FOUND" in str(error):
            return _GONE
        raise


def _fill(tpu: Tpu, programs: Programs, code: str) -> bool:
    """Copies code and installs it; False where the machine was lost meanwhile."""
    commands = [
        _tpu_vm(tpu, "scp", code, f"{tpu.name}:{tpu.name}.tar.gz", "--worker=all"),
        _ssh(tpu, f"mkdir -p {tpu.name} && tar -xzf {tpu.name}.tar.gz -C {tpu.name} "
                  f"&& bash {tpu.name}/launch/install.sh {extras('tpu', tpu.secrets)}"),
    ]  # fmt: skip
    for command in commands:
        if status := programs.status(command):
            if _lost(tpu, programs):
                return False
            raise FlanJaxError(f"status {status} while {tpu.name} was filled; see above")
    return True


def _lost(tpu: Tpu, programs: Programs) -> str:
    """Returns the state of a machine that is no more, an empty text where it may be there.

    Where Google cannot be asked, this machine may be what has no network.
    """
    for command in (_describe(tpu), _tpu_vm(tpu, "describe", tpu.name, "--format=value(state)")):
        try:
            state = _look(command, programs)
        except FlanJaxError as error:
            terminal.warn(str(error))
            return ""
        if state in _LOST:
            return state
    return ""


def _start(tpu: Tpu, work: Work) -> str:
    """Returns the script of every worker.

    One that lost its connection may still run; the lock has its successor wait for it.
    """
    lines = ["set -eo pipefail", f'cd "$HOME/{tpu.name}"', *exports(dict(tpu.environment))]
    for name, secret in tpu.secrets.items():
        access = ["gcloud", "secrets", "versions", "access", "latest",
                  f"--secret={secret}", f"--project={tpu.project}"]  # fmt: skip
        lines += [f'{name}="$({shlex.join(access)})"', f"export {name}"]
    command = shlex.join(work.command(".venv/bin/flan-jax"))
    lines.append(f"flock run.lock {command} 2>&1 | tee -a run.log")
    return f"bash -c {shlex.quote(chr(10).join(lines))}"


def act(tpu: Tpu, action: str, programs: Programs) -> None:
    """Shows the logs or the state of a machine, or deletes it.

    Raises:
        FlanJaxError: gcloud fails.
    """
    if action == "delete":
        programs.run(_delete(tpu))
    elif action == "status":
        programs.run(_describe(tpu))
    else:
        programs.run(_ssh(tpu, f"tail -n 100 -F {tpu.name}/run.log", worker="0"))


def _clean(tpu: Tpu, programs: Programs) -> None:
    if tpu.keep:
        terminal.warn(f"{tpu.name} is still there and costs money; --action=delete deletes it")
    elif programs.status(_delete(tpu)):
        terminal.warn(f"{tpu.name} could not be deleted and may still cost money")


def _create(tpu: Tpu) -> list[str]:
    how = [f"--accelerator-type={tpu.accelerator_type}", f"--runtime-version={tpu.runtime_version}"]
    if tpu.queued:
        how.insert(0, f"--node-id={tpu.name}")
    for flag in ("spot", "reserved"):
        if getattr(tpu, flag):
            how.append(f"--{flag}")
    for option in ("network", "subnetwork", "service_account"):
        if value := getattr(tpu, option):
            how.append(f"--{option.replace('_', '-')}={value}")
    if tpu.secrets:  # Secret Manager asks for it
        how.append("--scopes=https://www.googleapis.com/auth/cloud-platform")
    return _resource(tpu, "create", *how)


def _describe(tpu: Tpu) -> list[str]:
    state = "state.state" if tpu.queued else "state"
    return _resource(tpu, "describe", f"--format=value({state})")


def _delete(tpu: Tpu) -> list[str]:
    return _resource(tpu, "delete", *(["--force"] if tpu.queued else []), "--quiet")


def _resource(tpu: Tpu, verb: str, *options: str) -> list[str]:
    """What is made and deleted: the request in the queue, with its machine, or the machine."""
    group = "queued-resources" if tpu.queued else "tpu-vm"
    return ["gcloud", "compute", "tpus", group, verb, tpu.name, *_where(tpu), *options]


def _tpu_vm(tpu: Tpu, *arguments: str) -> list[str]:
    return ["gcloud", "compute", "tpus", "tpu-vm", *arguments, *_where(tpu)]


def _ssh(tpu: Tpu, command: str, worker: str = "all") -> list[str]:
    return _tpu_vm(tpu, "ssh", tpu.name, f"--worker={worker}", f"--command={command}")


def _where(tpu: Tpu) -> list[str]:
    return [f"--project={tpu.project}", f"--zone={tpu.zone}"]


def _check_checkout(programs: Programs, uncommitted: bool) -> None:
    """Refuses to copy what is not what was looked at.

    Raises:
        ConfigError: this is not the top of a checkout, or it has changes that are not committed.
    """
    asking = Programs(dry_run=False)
    try:
        top = asking.output(["git", "rev-parse", "--show-toplevel"])
        changed = asking.output(["git", "status", "--porcelain"]).splitlines()
    except FlanJaxError as error:
        raise ConfigError(f"what is copied is a git checkout of flan-jax: {error}") from None
    if not os.path.samefile(top, os.getcwd()):
        raise ConfigError(f"what is copied is a git checkout of flan-jax; run this in {top}")
    if not os.path.exists("launch/install.sh"):
        raise ConfigError("launch/install.sh is missing: this is no checkout of flan-jax")
    if changed and not uncommitted and not programs.dry_run:
        raise ConfigError(
            f"{len(changed)} changes are not committed and would not be copied, such as "
            f"{changed[0].strip()!r}; commit them, or say --uncommitted"
        )
