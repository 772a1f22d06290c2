"""What is started on every machine, and what its exit status means."""

import dataclasses
import os
from collections.abc import Collection, Sequence

from flan_jax.errors import ConfigError, did_you_mean

# Of a run that SIGTERM ended after it saved: start it again. EX_TEMPFAIL of sysexits.h, which
# neither Python, a shell nor a signal makes of anything else.
PREEMPTED = 75
# Of bad input: the same command will fail again.
BAD_INPUT = 2
# Verbs that work in many processes, and those that are one process.
MANY = ("train", "eval")
ONE = ("prepare", "infer")
_WANDB = "WANDB_API_KEY"
# What commands need and nobody else may read.
SECRETS = (_WANDB, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_OURS = ("--distributed", "--coordinator_address", "--process_count", "--process_index",
         "--preempted_status")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Work:
    """A command of flan-jax.

    Attributes:
        verb: one of `MANY` or `ONE`.
        arguments: as they were typed.
        places: where it leaves what it makes, and the checkpoint it reads, by option or macro.
        files: gin files and the like that it reads.
    """

    verb: str
    arguments: tuple[str, ...]
    places: dict[str, str] = dataclasses.field(default_factory=dict)
    files: tuple[str, ...] = ()

    @property
    def own(self) -> list[str]:
        """Returns verb and arguments, asked for a status by which a preempted run is known."""
        status = [f"--preempted_status={PREEMPTED}"] if self.verb == "train" else []
        return [self.verb, *status, *self.arguments]

    def command(self, program: str = "flan-jax") -> list[str]:
        """Returns the arguments of a process that finds the others by what its cluster says."""
        verb, *rest = self.own
        return [program, verb, *(["--distributed"] if verb in MANY else []), *rest]

    def check_processes(self, count: int, where: str) -> None:
        """Refuses more processes than the verb can have.

        Raises:
            ConfigError: it is one process.
        """
        if self.verb in ONE and count > 1:
            raise ConfigError(f"{self.verb} is one process, and {where} would start {count}")

    def check_copied(self) -> None:
        """Refuses what another machine would not have, or would lose.

        Raises:
            ConfigError: results would lie on a machine that is deleted, or a file is named by a
                path of this machine.
        """
        for name, place in self.places.items():
            if "://" not in place and not os.path.isabs(place):
                raise ConfigError(
                    f"{name} is {place!r}, on this machine or one that goes with the run; name a "
                    "bucket (gs://...), or a mounted disk in full"
                )
        for file in self.files:
            if os.path.isabs(file):
                raise ConfigError(
                    f"{file}: a path of this machine; what is copied is the checkout, so name it "
                    "from there"
                )


def extras(accelerator: str, secrets: Collection[str]) -> str:
    """Returns what launch/install.sh is asked for: of the accelerator, and of who has a secret."""
    return f"{accelerator},wandb" if _WANDB in secrets else accelerator


def check(verb: str, arguments: Sequence[str]) -> None:
    """Refuses a command that cannot be launched.

    Raises:
        ConfigError: another verb, an option that the launcher sets, or a secret in an argument.
    """
    if verb not in (*MANY, *ONE):
        known = ", ".join((*MANY, *ONE))
        hint = did_you_mean(verb, (*MANY, *ONE))
        raise ConfigError(f"after -- comes one of {known}, not {verb!r}{hint}")
    for argument in arguments:
        if argument.partition("=")[0] in _OURS:
            raise ConfigError(f"{argument.partition('=')[0]} is set by the launcher")
        for name in SECRETS:
            if (value := os.environ.get(name)) and value in argument:
                raise ConfigError(
                    f"an argument holds the value of {name}, which would be seen in commands and "
                    "logs; name it under 'secrets' of the settings instead"
                )
