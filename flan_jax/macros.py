"""Every macro of gin_configs, declared once: what it may be, and what it is.

A gin macro has no type: a value that makes no sense would be noticed by whatever reads it first,
if at all, hours into a run. So whatever sets a macro (a gin file, the command line, the
environment, a checkpoint) is checked against this table before work begins, and classes that
take their values from macros check their fields by the same table. Macros that are not in it are
a user's own, and may be anything.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flan_jax.kinds import (
    SEED,
    Checked,
    Either,
    Kind,
    Names,
    Number,
    OneOf,
    Pattern,
    Place,
    Table,
    Text,
    Whole,
    Wholes,
    YesNo,
    first_and_last,
    is_list_of_calls,
    require,
)

COUNT = Whole(1)
# A matrix of two such sizes has 2**40 numbers.
SIZE = Whole(1, 2**20)
NOT_NEGATIVE = Number(0)
ABOVE_ZERO = Number(0, above=True)
SHARE = Number(0, 1)
BELOW_ONE = Number(0, 1, below=True)
MODES = OneOf(("min", "max"))
LENGTHS = Table(
    COUNT,
    "a mapping of 'inputs' and 'targets', and no others, to whole numbers above 0",
    ("inputs", "targets"),
)
DEVICES = Checked(
    lambda value: value == -1 and not isinstance(value, bool) or COUNT.fits(value),
    "-1 or a whole number above 0",
)
MESH = Table(DEVICES, "a mapping such as {'fsdp': 4, 'tensor': 2}, to -1 or whole numbers above 0")
HOOKS = Checked(is_list_of_calls, "a list of hooks, such as (@Hook(),)")
# What gin makes of it is checked where it is used.
CONFIGURABLE = Checked(
    lambda value: not isinstance(value, str | int | float | list | tuple | dict),
    "the configurable of a model family, as MODEL sets it",
)
PLAIN_NAME = Checked(
    lambda value: isinstance(value, str) and re.fullmatch(r"\w+", value) is not None,
    "a name of letters, digits and underscores",
)
PATTERN = Pattern()
STEPS = Checked(
    lambda value: first_and_last(value) is not None, "first:last, such as 10:12, two steps"
)


@dataclasses.dataclass(frozen=True)
class Macro:
    """What is declared of one macro.

    Attributes:
        name: its name.
        kind: what its values are.
        none: whether None is a value like others. Where a run file's own default is None, it is
            one there whatever this says.
        path: whether it may name a file or folder; `~` at its start is somebody's home.
        setting: whether code outside gin's reach looks it up, see `flan_jax.settings`.
        local: whether it is of the machine or the person that ran it, a place, a report or a
            hook, and means nothing to whoever takes a checkpoint over.
    """

    name: str
    kind: Kind
    none: bool = False
    path: bool = False
    setting: bool = False
    local: bool = False

    @property
    def verbatim(self) -> bool:
        """Whether its value on the command line is text, whatever it looks like to gin."""
        return isinstance(self.kind, Text | Place) or self.kind is STEPS

    def check(self, value: Any, where: str = "", none: bool = False) -> None:
        """Refuses a value.

        Args:
            value: the value; what the environment says as well as what gin says.
            where: what set it, for the message.
            none: whether None will do, whatever the macro says.

        Raises:
            ConfigError: it is no such value.
        """
        if self.setting and (value == "" or self.kind.fits(self.read(value))):
            return  # an empty setting counts as not given
        none = none or self.none or self.setting
        require(f"{where}{self.name}", value, self.kind, none=none)

    def read(self, value: Any) -> Any:
        """Returns a value of gin or of the environment as what it stands for."""
        # As text, which the environment has of all: there 1 is as good as True.
        plain = isinstance(value, str | int) and self.setting
        read = self.kind.read(str(value)) if plain else value
        return _each_in_full(read) if self.path else read


def in_full(path: str) -> str:
    """Returns a path or a name with one, such as `selected:~/a.json`, with `~` replaced."""
    scheme, colon, rest = path.partition(":")
    if (
        colon
        and rest.startswith("~")
        and scheme in ("selected", "t5", "hf", "gguf", "t5x", "peft", "jsonl", "data")
    ):
        return f"{scheme}:{os.path.expanduser(rest)}"
    return os.path.expanduser(path) if path.startswith("~") else path


def _declare(kind: Kind, *names: str, **facts: bool) -> list[Macro]:
    return [Macro(name, kind, **facts) for name in names]


_RUN = [
    *_declare(Text(), "MODEL", none=True),
    *_declare(PLAIN_NAME, "MODEL_FAMILY"),
    *_declare(Place(), "MODEL_FROM", none=True, path=True, local=True),
    *_declare(CONFIGURABLE, "MODEL_CONFIG", "T5X_MODEL"),
    *_declare(Place(), "MIXTURE_OR_TASK_NAME", path=True),
    *_declare(Names(each="modules or files"), "MIXTURE_OR_TASK_MODULE", none=True, path=True),
    *_declare(Place(), "MODEL_DIR", path=True, local=True),
    *_declare(Place(), "INITIAL_CHECKPOINT_PATH", none=True, path=True, local=True),
    *_declare(Text(), "INITIAL_CHECKPOINT_PART", none=True),
    *_declare(COUNT, "TRAIN_STEPS", "BATCH_SIZE", "MICROBATCHES", "LOG_PERIOD"),
    *_declare(Place(), "EXCLUDE_EXAMPLES", none=True, path=True, local=True),
    *_declare(Whole(1, 10_000), "RENDERINGS"),  # each is records of its own
    *_declare(LENGTHS, "TASK_FEATURE_LENGTHS"),
    *_declare(YesNo(), "PACKING"),
    *_declare(SEED, "SEED", "RENDER_SEED"),
    *_declare(MESH, "MESH_SHAPE", none=True, local=True),
    *_declare(
        OneOf(
            ("data", "fsdp", "tensor", "data_fsdp", "data_tensor", "fsdp_tensor",
             "data_fsdp_tensor")
        ),
        "SHARDING",
        local=True,
    ),
    *_declare(HOOKS, "HOOKS", local=True),
    *_declare(STEPS, "PROFILE_STEPS", none=True, local=True),
    *_declare(Text(), "WANDB_PROJECT", none=True, local=True),
]  # fmt: skip
_MODEL = [
    # Of padding and the end of a sequence at least; four times what the largest ones have.
    *_declare(Whole(2, 2**20), "VOCAB_SIZE"),
    *_declare(SIZE, "EMB_DIM", "NUM_HEADS", "HEAD_DIM", "MLP_DIM"),
    *_declare(SIZE, "NUM_KV_HEADS", "ENCODER_NUM_KV_HEADS", none=True),
    *_declare(
        SIZE, "ENCODER_EMB_DIM", "ENCODER_NUM_HEADS", "ENCODER_HEAD_DIM", "ENCODER_MLP_DIM"
    ),
    *_declare(Whole(1, 2**12), "ENCODER_NUM_LAYERS"),
    *_declare(ABOVE_ZERO, "ENCODER_QUERY_SCALE", none=True),
    *_declare(COUNT, "ENCODER_WINDOW", none=True),
    *_declare(Whole(0), "ENCODER_WINDOW_AHEAD", none=True),
    *_declare(Whole(1, 2**12), "NUM_ENCODER_LAYERS", "NUM_DECODER_LAYERS", "NUM_LAYERS"),
    *_declare(OneOf(("rotary", "relative", "none")), "POSITIONS"),
    *_declare(ABOVE_ZERO, "ROPE_THETA", "ROPE_FACTOR", "ROPE_LOW_FREQUENCY", "ROPE_HIGH_FREQUENCY"),
    *_declare(OneOf(("none", "linear", "llama3")), "ROPE_SCALING"),
    *_declare(COUNT, "ROPE_ORIGINAL_LENGTH"),
    *_declare(OneOf(("rms", "layer")), "NORM"),
    *_declare(Number(1e-12, 1), "NORM_EPSILON"),
    *_declare(
        YesNo(), "NORM_OFFSET", "POST_NORMS", "QK_NORM", "ATTENTION_BIAS", "LINEAR_BIAS",
        "SCALED_EMBEDDINGS", "PREFIX_ATTENTION", "PROMPT_EOS", "MERGED_ATTENTION",
    ),
    *_declare(
        ABOVE_ZERO, "ROPE_LOCAL_THETA", "QUERY_SCALE", "ATTENTION_SOFTCAP", "FINAL_SOFTCAP",
        none=True,
    ),
    *_declare(Whole(1, 2**20), "MAX_POSITIONS"),
    *_declare(COUNT, "ATTENTION_WINDOW", "GLOBAL_EVERY", none=True),
    *_declare(Names(alone=False, each="activations"), "MLP_ACTIVATIONS"),
    *_declare(YesNo(), "LOGITS_VIA_EMBEDDING", "RELATIVE_ATTENTION_PER_LAYER"),
    *_declare(BELOW_ONE, "DROPOUT_RATE"),
    *_declare(OneOf(("float32", "bfloat16", "float16")), "COMPUTE_DTYPE", "PARAM_DTYPE"),
    *_declare(OneOf(("none", "dots", "full")), "REMAT"),
    *_declare(COUNT, "ATTENTION_CHUNK", none=True),
]  # fmt: skip
_LEARNING = [
    *_declare(OneOf(("adafactor", "adamw")), "OPTIMIZER"),
    *_declare(NOT_NEGATIVE, "LEARNING_RATE", "LEARNING_RATE_END", "WEIGHT_DECAY", "Z_LOSS"),
    *_declare(OneOf(("constant", "rsqrt", "linear", "cosine")), "LEARNING_RATE_SCHEDULE"),
    *_declare(Whole(0), "WARMUP_STEPS", "LEARNING_RATE_DECAY_STEPS"),
    *_declare(ABOVE_ZERO, "GRADIENT_CLIP_NORM", none=True),
    *_declare(BELOW_ONE, "LABEL_SMOOTHING"),
    *_declare(
        Either(
            (
                OneOf(("NUM_REAL_TARGET_TOKENS", "NUM_TOTAL_TARGET_TOKENS",
                       "AVERAGE_PER_SEQUENCE")),
                ABOVE_ZERO,
            )
        ),
        "LOSS_NORMALIZING_FACTOR",
        none=True,
    ),
    *_declare(COUNT, "LOSS_CHUNK", none=True),
]  # fmt: skip
_TRAINABLE = [
    *_declare(PATTERN, "TRAINABLE"),
    *_declare(Place(), "BASE_CHECKPOINT_PATH", none=True, path=True, local=True),
    *_declare(OneOf(("float32", "bfloat16", "int8")), "FROZEN_DTYPE"),
    *_declare(Whole(1, 2**12), "LORA_RANK", "SOFT_PROMPT_LENGTH"),
    *_declare(ABOVE_ZERO, "LORA_ALPHA"),
    *_declare(YesNo(), "LORA_RANK_STABILIZED"),
    *_declare(PATTERN, "LORA_TARGETS", none=True),
    *_declare(BELOW_ONE, "LORA_DROPOUT"),
    *_declare(OneOf(("random", "vocabulary", "labels")), "SOFT_PROMPT_INIT"),
    *_declare(Names(each="labels"), "SOFT_PROMPT_LABELS"),
]
_BETWEEN_STEPS = [
    *_declare(COUNT, "CHECKPOINT_PERIOD", "KEEP_CHECKPOINTS", "KEEP_BEST_CHECKPOINTS"),
    *_declare(COUNT, "KEEP_CHECKPOINT_PERIOD", "STOP_PATIENCE", none=True),
    *_declare(ABOVE_ZERO, "CHECKPOINT_SECONDS", none=True),
    *_declare(Text(), "BEST_METRIC", "STOP_METRIC", none=True),
    *_declare(MODES, "BEST_MODE", "STOP_MODE"),
    *_declare(Number(), "STOP_TARGET", none=True),
    *_declare(Names(each="tasks and mixtures"), "VALIDATION_MIXTURES"),
    *_declare(Text(), "VALIDATION_SPLIT"),
    *_declare(COUNT, "VALIDATION_PERIOD", "VALIDATION_BATCHES"),
]
_EVALUATION = [
    *_declare(COUNT, "EVAL_BATCH_SIZE", "EVAL_STEPS", "NUM_BEAMS", "NUM_OUTPUTS"),
    *_declare(COUNT, "EVAL_EXAMPLES", "EVAL_PERIOD", none=True),
    *_declare(Text(), "EVAL_SPLIT"),
    *_declare(OneOf(("sum", "per_token", "per_character", "unconditional")), "RANK_SCORE"),
    *_declare(OneOf(("greedy", "sample", "beam")), "DECODING"),
    *_declare(Number(1e-6), "TEMPERATURE"),
    *_declare(Whole(0), "TOP_K"),
    *_declare(Number(1e-6, 1), "TOP_P"),
    *_declare(Number(), "LENGTH_PENALTY"),
    # Of T5X.
    *_declare(Place(), "CHECKPOINT_PATH", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR", path=True),
]
_STUDIES = [
    *_declare(Text(), "LAB", "CANDIDATES", "AGGREGATION", "TRANSFORM", "DIVERSITY"),
    *_declare(Table(Text(), "a mapping of arms to the ends of mixtures' names"), "ARMS"),
    *_declare(Text(), "LIBRARY", local=True),
    *_declare(Names(alone=False, each="tasks and mixtures"), "TARGETS"),
    *_declare(COUNT, "TARGETS_EACH", none=True),
    *_declare(Wholes(1), "KS"),
    *_declare(COUNT, "RANDOM_DRAWS"),
    *_declare(Place(), "ENCODER", none=True, path=True, local=True),
]
_ALIGNMENT = [
    *_declare(Text(), "LOSS"),
    *_declare(COUNT, "EPOCHS", "NEGATIVE_REUSE"),
    *_declare(Whole(0), "HARD_NEGATIVES"),
    *_declare(SHARE, "POSITIVE_SHARE"),
    *_declare(Number(-1, 1), "NEGATIVE_BELOW"),
    *_declare(SHARE, "GUARD", "CLUSTER_LABEL", none=True),
    *_declare(Text(), "STUDENT", none=True),
    *_declare(SIZE, "STUDENT_WIDTH"),
]
_SETTINGS = [
    *_declare(
        Place(), "SUPER_NI_DIR", "NI_V1_DIR", "BBH_DIR", "BIGBENCH_DIR", "PROMPTSOURCE_DIR",
        "P3_DATA_DIR", "PREPARED_DIR", "EMBEDDINGS_DIR", "FLAN_TEMPLATES", "TFDS_DATA_DIR",
        setting=True, path=True, local=True,
    ),
    *_declare(Text(), "SUPER_NI_ENCODING", "NI_V1_ENCODING", setting=True),
    # In the byte vocabulary the query with nothing in it takes 55 tokens, and 16.
    *_declare(Whole(64), "SUPER_NI_BUDGET", "PROMPT_BUDGET", setting=True),
    *_declare(Whole(32), "NI_V1_BUDGET", setting=True),
    *_declare(OneOf(("keep_query", "original")), "SUPER_NI_OVERFLOW", setting=True),
    *_declare(
        Names(each="tasks, or a file of them"), "SUPER_NI_TASKS", setting=True, path=True,
        local=True,
    ),
    *_declare(
        Wholes(1, alone=True), "SUPER_NI_TRAIN_TASKS", "SUPER_NI_TRAIN_INSTANCES", setting=True
    ),
    *_declare(SEED, "SUPER_NI_SEED", setting=True),
    *_declare(Place(), "VOCABULARY", setting=True, path=True),
    *_declare(OneOf(("list", "letters", "numbers", "none")), "OPTIONS_STYLE", setting=True),
    *_declare(OneOf(("text", "label")), "OPTIONS_TARGET", setting=True),
    *_declare(OneOf(("fixed", "shuffled")), "OPTIONS_ORDER", setting=True),
    *_declare(Whole(1, 16), "FEWSHOT_EXEMPLARS", setting=True),
    *_declare(COUNT, "FEWSHOT_TOKENS", setting=True),
    *_declare(YesNo(), "SKIP_UNAVAILABLE", setting=True),
]  # fmt: skip
TABLE: dict[str, Macro] = {
    macro.name: macro
    for group in (
        _RUN, _MODEL, _LEARNING, _TRAINABLE, _BETWEEN_STEPS, _EVALUATION, _STUDIES, _ALIGNMENT,
        _SETTINGS,
    )
    for macro in group
}  # fmt: skip
# Macros that code outside gin's reach looks up; children see them as environment variables.
SETTINGS = tuple(macro.name for macro in _SETTINGS)
# Macros that say what trains, and mean nothing of a model in which that is merged.
TUNING = tuple(macro.name for macro in _TRAINABLE)
# Macros of the machine or the person that ran something.
LOCAL = tuple(name for name, macro in TABLE.items() if macro.local)


def choices(name: str) -> tuple[str, ...]:
    """Returns the names that a macro may be."""
    kind = TABLE[name].kind
    kind = kind.kinds[0] if isinstance(kind, Either) else kind
    assert isinstance(kind, OneOf)
    return kind.names


def check(**values: Any) -> None:
    """Refuses values that macros cannot have, where a class takes its fields from them.

    Args:
        **values: by macro.

    Raises:
        ConfigError: names the macro, the value and what is expected.
    """
    for name, value in values.items():
        TABLE[name].check(value)


def read(name: str, value: Any) -> Any:
    """Returns what gin or the environment says of a macro as what it stands for.

    Raises:
        ConfigError: it is no such value.
    """
    macro = TABLE.get(name)
    if macro is None:
        return value
    macro.check(value)
    return macro.read(value)


def check_environment(given: Iterable[str] = ()) -> None:
    """Checks the settings that come from environment variables, and puts paths there in full.

    Args:
        given: settings that something else gives; those of the environment are not looked at.

    Raises:
        ConfigError: names the variable, the value and what is expected.
    """
    given = set(given)
    for name in SETTINGS:
        value = os.environ.get(name)
        if value and name not in given:
            TABLE[name].check(value, "environment variable ")
            if TABLE[name].path:
                os.environ[name] = in_full(value)


def places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those macros whose value begins with `~`, with the path in full."""
    found = {}
    for name, value in values.items():
        if name in TABLE and TABLE[name].path:
            full = _each_in_full(value)
            if full != value:
                found[name] = full
    return found


def _each_in_full(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_each_in_full, value))
    return in_full(value) if isinstance(value, str) else value
