"""Start train or eval in many processes: here, or on machines that others lend.

flan-jax launch local --processes=2 --devices_per_process=4 -- train --gin_file=...
flan-jax launch tpu   --settings=launch/tpu_v5e.yaml     -- train --gin_file=... --gin.MODEL_DIR=gs://...
flan-jax launch gke   --settings=launch/gke_v5e.yaml     -- train ...
flan-jax launch slurm --settings=launch/slurm_h100.yaml  -- train ...
flan-jax launch sky   --settings=launch/sky_tpu.yaml     -- train ...
flan-jax launch tpu   --settings=launch/tpu_v5e.yaml --action=logs

What follows -- is checked here as if it were to run here, before anything is started. --dry_run
prints the exact commands and files, and runs and writes nothing. See docs/launch.md.
"""

import argparse
from typing import Any

from flan_jax.commands import common
from flan_jax.errors import ConfigError

TAKES_COMMAND = True
ACTIONS = ("run", "logs", "status", "delete")
_ABOUT = {
    "local": "processes of this machine, with virtual CPU devices",
    "tpu": "TPU VMs, one or a pod, through gcloud",
    "gke": "TPU slices of a GKE cluster, by a JobSet",
    "slurm": "GPU nodes of a Slurm cluster",
    "sky": "machines that SkyPilot finds",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    targets = parser.add_subparsers(dest="target", required=True, metavar="TARGET")
    added = {}
    for name, about in _ABOUT.items():
        added[name] = targets.add_parser(name, help=about, description=about, allow_abbrev=False)
        added[name].epilog = "What follows -- is the command: train, eval, prepare or infer."
        added[name].add_argument(
            "--dry_run", action="store_true", help="print commands and files, run and write none"
        )
        if name != "local":
            _add_cluster(added[name])
    _add_local(added["local"])
    added["tpu"].add_argument(
        "--uncommitted", action="store_true", help="copy the last commit though there are changes"
    )
    added["gke"].add_argument(
        "--with_xpk", action="store_true", help="have xpk start it, which needs no manifest"
    )


def _add_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes", type=common.whole(1, 256), default=1, metavar="N", help="how many (1)"
    )
    parser.add_argument(
        "--devices_per_process",
        type=common.whole(1, 1024),
        default=1,
        metavar="N",
        help="virtual CPU devices of each (1)",
    )
    parser.add_argument(
        "--grace",
        type=common.number(0, 86400),
        default=30.0,
        metavar="SECONDS",
        help="for the others to end once one has failed, before they are killed (30)",
    )
    parser.add_argument(
        "--restarts",
        type=common.whole(0),
        default=0,
        metavar="N",
        help="how often to start all again where one fails or is killed (0)",
    )


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings", required=True, type=common.path, metavar="FILE", help="YAML, as in launch/"
    )
    parser.add_argument("--name", type=common.path, help="in place of the name in the settings")
    parser.add_argument(
        "--action", choices=ACTIONS, default="run", help="of what was started before, but for run"
    )
    parser.add_argument(
        "--file", type=common.path, help="where the manifest, script or task is written"
    )


def run(args: argparse.Namespace) -> int:
    """Launches."""
    if args.target == "local":
        return _local(args, _work(args.command))
    from flan_jax.launch import gke, settings, sky, slurm, tpu
    from flan_jax.launch.programs import Programs

    kinds: dict[str, tuple[Any, Any, str]] = {
        "tpu": (tpu, tpu.Tpu, ""),
        "gke": (gke, gke.Gke, "jobset.yaml"),
        "slurm": (slurm, slurm.Slurm, "sbatch"),
        "sky": (sky, sky.Sky, "sky.yaml"),
    }
    module, target, ending = kinds[args.target]
    found = settings.read(args.settings, target, args.name)
    programs = Programs(args.dry_run)
    if args.action != "run":
        return _act(args, module, found, programs)
    work = _work(args.command)
    file = args.file or f"{found.name}.{ending}"
    if args.target == "tpu":
        return tpu.run(found, work, programs, args.uncommitted)
    if args.target == "gke":
        return gke.run(found, work, programs, file, args.with_xpk)
    return int(module.run(found, work, programs, file))


def _act(args: argparse.Namespace, module: Any, found: Any, programs: Any) -> int:
    if args.command:
        raise ConfigError(f"--action={args.action} takes no command after --")
    if args.target == "slurm" and args.action == "logs":
        raise ConfigError(f"the logs of Slurm are files: {found.output} ('output')")
    module.act(found, args.action, programs)
    return 0


def _local(args: argparse.Namespace, work: Any) -> int:
    """Runs processes of this machine."""
    from flan_jax.launch import local
    from flan_jax.launch.programs import Programs

    asked = local.Local(args.processes, args.devices_per_process, args.grace, args.restarts)
    work.check_processes(asked.processes, f"--processes={asked.processes}")
    if not args.dry_run:
        return local.run(asked, work)
    programs = Programs(dry_run=True)
    variables = [f"{name}={value}" for name, value in local.environment(asked).items()]
    for command in local.commands(asked, work, "127.0.0.1:PORT"):
        programs.run(["env", *variables, *command])
    return 0


def _work(command: list[str]) -> Any:
    """Returns what is to be started, once it has been looked at.

    Raises:
        FlanJaxError: it would fail at once wherever it ran, or cannot be launched.
    """
    from flan_jax import cli
    from flan_jax.launch import work

    if not command:
        raise ConfigError("what is to be started follows --, such as -- train --gin_file=...")
    work.check(command[0], command[1:])
    _, options = cli.parse(command)
    places = {"--out": options.out} if getattr(options, "out", None) else {}
    if ":" not in (getattr(options, "checkpoint", None) or ":"):
        places["--checkpoint"] = options.checkpoint
    if command[0] in _LEAVES:
        places |= _place(command[0], options)
    gin_files = tuple(getattr(options, "gin_file", []))
    return work.Work(command[0], tuple(command[1:]), places, gin_files)


# Verbs whose results lie where a macro says.
_LEAVES = {"train": "MODEL_DIR", "prepare": "PREPARED_DIR"}


def _place(verb: str, options: argparse.Namespace) -> dict[str, str]:
    """Returns where results will lie, with all of the gin read and checked.

    Raises:
        ConfigError: see `config.compose_parts`.
    """
    from flan_jax import config

    macro = _LEAVES[verb]
    given = getattr(options, macro.lower(), None)
    overrides = [*options.gin_overrides, *([f"{macro}={given}"] if given else [])]
    engine = getattr(options, "engine", "flan_jax")
    parts = config.compose_parts(options.gin_file, engine, verb, overrides)
    values = config.resolved(config.macros(parts))
    if missing := [name for name, value in values.items() if value == "%gin.REQUIRED"]:
        raise ConfigError(f"{verb} needs --gin.{' and --gin.'.join(missing)}")
    place = values.get(macro)
    return {macro: place} if isinstance(place, str) else {}
