"""What a training run is configured by; gin binds it from macros."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from flan_jax import macros
from flan_jax.errors import ConfigError, quoted
from flan_jax.kinds import first_and_last
from flan_jax.training.hooks import Hook, StopRule
from flan_jax.training.losses import Loss
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.retention import Retention
from flan_jax.training.save_schedule import SaveSchedule


@gin.configurable
@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """Loss and accuracy on held-out examples while training.

    Attributes:
        mixtures: SeqIO tasks or mixtures; none means no validation.
        period: steps between validations; also at the last step.
        batches: batches of each mixture, the same ones every time.
        split: split of their tasks; tasks without it are left out.
    """

    mixtures: str | Sequence[str] = ()
    period: int = 1000
    batches: int = 10
    split: str = "validation"

    def __post_init__(self) -> None:
        if isinstance(self.mixtures, str):
            object.__setattr__(self, "mixtures", (self.mixtures,))
        macros.check(
            VALIDATION_MIXTURES=self.mixtures,
            VALIDATION_PERIOD=self.period,
            VALIDATION_BATCHES=self.batches,
            VALIDATION_SPLIT=self.split,
        )


@gin.configurable
@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on (gin_configs/runs/flan_jax/train.gin).

    Attributes:
        model: config of a model family, such as `T5Config`.
        mixture: SeqIO task or mixture.
        model_dir: where checkpoints, metrics and configuration go; an earlier run there is
            continued.
        train_steps: number of steps, those of earlier runs in `model_dir` included.
        feature_lengths: tokens of a row, {"inputs": ..., "targets": ...}.
        batch_size: rows of a step over all devices.
        optimizer: see `optimizers.Optimizer`.
        loss: see `losses.Loss`.
        microbatches: parts that a batch is computed in, one after another.
        packing: whether rows hold several examples.
        split: split of the tasks to train on.
        renderings: renderings of each task; epoch e trains on rendering e mod this.
        render_seed: of templates and other draws.
        seed: of initial weights, dropout and the order of data.
        modules: task modules, for worker processes that prepare data.
        prepared_dir: where prepared records are; see `settings.cache_root`.
        exclude_examples: file of training examples to leave out, see `data.exclusion`.
        initial_checkpoint_path: run or checkpoint whose weights a new run starts from.
        initial_checkpoint_part: regular expression of the names of the parameters to take from
            there; None takes all.
        base_checkpoint_path: what the frozen weights are read from, where not all trains and that
            is another one than `initial_checkpoint_path`, from which what trains starts.
        save: when to save.
        retention: which checkpoints to keep.
        log_period: steps between reports.
        sharding: preset in `mesh.PRESETS`.
        mesh_shape: overrides the preset's devices by mesh axis.
        validation: see `ValidationConfig`.
        stop: when to end before `train_steps`; None never does.
        hooks: further calls during training.
        profile_steps: "a:b" writes a trace of steps a to b.
        wandb_project: Weights & Biases project to report to; None reports to files alone.
    """

    model: Any
    mixture: str
    model_dir: str
    train_steps: int
    feature_lengths: Mapping[str, int]
    batch_size: int
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    loss: Loss = dataclasses.field(default_factory=Loss)
    microbatches: int = 1
    packing: bool = True
    split: str = "train"
    renderings: int = 1
    render_seed: int = 0
    seed: int = 0
    modules: Any = ()
    prepared_dir: str | None = None
    exclude_examples: str | None = None
    initial_checkpoint_path: str | None = None
    initial_checkpoint_part: str | None = None
    base_checkpoint_path: str | None = None
    save: SaveSchedule = dataclasses.field(default_factory=lambda: SaveSchedule(1000, stride=10))
    retention: Retention = dataclasses.field(default_factory=Retention)
    log_period: int = 10
    sharding: str = "data"
    mesh_shape: Mapping[str, int] | None = None
    validation: ValidationConfig = dataclasses.field(default_factory=ValidationConfig)
    stop: StopRule | None = None
    hooks: Sequence[Hook] = ()
    profile_steps: str | None = None
    wandb_project: str | None = None

    def __post_init__(self) -> None:
        macros.check(
            MIXTURE_OR_TASK_NAME=self.mixture,
            MODEL_DIR=self.model_dir,
            TRAIN_STEPS=self.train_steps,
            TASK_FEATURE_LENGTHS=self.feature_lengths,
            BATCH_SIZE=self.batch_size,
            MICROBATCHES=self.microbatches,
            PACKING=self.packing,
            RENDERINGS=self.renderings,
            SEED=self.seed,
            LOG_PERIOD=self.log_period,
            MESH_SHAPE=self.mesh_shape,
            HOOKS=self.hooks,
            PROFILE_STEPS=self.profile_steps,
        )
        for hook in self.hooks:
            if not isinstance(hook, Hook):
                raise ConfigError(f"HOOKS must be a list of hooks, and has {quoted(hook)} in it")
        self.retention.check_period(self.save.step_period)

    @property
    def profiled(self) -> tuple[int, int] | None:
        """First and last step to trace."""
        return first_and_last(self.profile_steps)
