"""Low-rank adapters in the format of PEFT, both ways.

A folder has `adapter_config.json` and `adapter_model.safetensors`, whose tensors are called
`base_model.model.<linear layer>.lora_A.weight` [rank, in] and `...lora_B.weight` [out, rank].
The linear layers are those of transformers' class of the base, so one table of names serves both.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.adapters import lora
from flan_jax.adapters.lora import LoRA
from flan_jax.adapters.tuned import LORA, TunedConfig
from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.interop import hf_files, tables
from flan_jax.interop.fields import Fields
from flan_jax.interop.published import Published
from flan_jax.interop.tables import LAYER, Entry, Table
from flan_jax.models.families import Model
from flan_jax.models.layouts import EncoderDecoder

PREFIX = "peft:"
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_THEIRS = "base_model.model."
_KERNEL, _WEIGHT = "/kernel", ".weight"
_MOST_BYTES = 1 << 24
# What makes of an adapter something else than W + scale * A B.
_OTHERWISE = (
    "alora_invocation_tokens", "alpha_pattern", "fan_in_fan_out", "layer_replication", "lora_bias",
    "modules_to_save", "rank_pattern", "target_parameters", "trainable_token_indices",
    "use_bdlora", "use_dora", "use_qalora",
)  # fmt: skip


def _linear_entries(base: Any) -> dict[str, Entry]:
    """Returns the entries of a model's kernels, as transformers' class names them, by our names."""
    table = hf_files.family_for(base).table(base)
    return {
        entry.ours.removesuffix(_KERNEL): dataclasses.replace(
            entry, theirs=table.in_class(entry.theirs)
        )
        for entry in table.entries
        if entry.ours.endswith(_KERNEL)
    }


def _table(linears: dict[str, Entry]) -> Table:
    """Returns the tensors of the adapters of linear layers."""
    found = []
    for ours, entry in linears.items():
        theirs = f"{_THEIRS}{entry.theirs.removesuffix(_WEIGHT)}"
        for name, part in ((lora.A, "lora_A"), (lora.B, "lora_B")):
            found.append(Entry(f"{ours}/{name}", f"{theirs}.{part}{_WEIGHT}", transposed=True))
    return Table(tuple(found))


def open_folder(where: str, base: Any, vocabularies: Sequence[str]) -> Published:
    """Opens a folder of PEFT.

    Args:
        where: the folder.
        base: config of the model that it adapts.
        vocabularies: of that model.

    Raises:
        CheckpointError: there is none, it is no LoRA, or is of another model; names file and field.
    """
    folder = epath.Path(files.user_path(where))
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} has no {CONFIG}: it is no adapter of PEFT")
    content = json_files.read_json(folder / CONFIG, _MOST_BYTES, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{folder / CONFIG} is no object")
    fields = Fields(content, str(folder / CONFIG))
    tensors = hf_files.SafetensorsFolder(folder, TENSORS)
    linears = _linear_entries(base)
    adapted = {ours: entry for ours, entry in linears.items() if _is_adapted(entry, tensors.shapes)}
    config = TunedConfig(base, LORA, _read_lora(fields, adapted, linears))
    stamps = {name: list(files.stamp(folder / name)) for name in (CONFIG, TENSORS)}
    return Published(
        f"{PREFIX}{where}", config, _table(adapted), tensors, tuple(vocabularies), stamps
    )


def _is_adapted(entry: Entry, names: Any) -> bool:
    """Whether there are tensors of an adapter of a linear layer, or of one of a stack."""
    module = re.escape(f"{_THEIRS}{entry.theirs.removesuffix(_WEIGHT)}")
    pattern = re.compile(module.replace(re.escape(LAYER), r"\d+") + r"\.lora_[AB]\.weight")
    return any(pattern.fullmatch(name) for name in names)


def _read_lora(fields: Fields, adapted: dict[str, Entry], linears: dict[str, Entry]) -> LoRA:
    fields.text("peft_type", ("LORA",))
    fields.refuse("bias", "none")
    for name in _OTHERWISE:
        fields.refuse(name, False, {}, [])
    if not adapted:
        raise CheckpointError(f"{fields.where}: {TENSORS} has no adapter of a layer of this model")
    with fields.border():
        return LoRA(
            rank=fields.whole("r"),
            alpha=fields.number("lora_alpha"),
            rank_stabilized=fields.flag("use_rslora", False),
            targets=_targets(adapted, linears),
            dropout=fields.number("lora_dropout", 0.0),
        )


def _targets(adapted: dict[str, Entry], linears: dict[str, Entry]) -> str | None:
    """Returns LORA_TARGETS of so many of a model's linear layers."""
    usual = {name for name in linears if name != "head"}
    return None if set(adapted) == usual else "|".join(map(re.escape, adapted))


def write_folder(
    folder: epath.Path, config: TunedConfig, read: Callable[[str], np.ndarray], base: str
) -> None:
    """Writes the adapters of a tuned model as PEFT loads them.

    Args:
        folder: to fill; there, and empty.
        config: of the tuned model.
        read: returns one of our parameters by name.
        base: what to call the base, such as "google/gemma-3-270m".

    Raises:
        ConfigError: it has no low-rank adapters, or transformers has no such model.
        OutputError: the folder cannot be written.
    """
    from safetensors.numpy import save_file

    if config.lora is None:
        raise ConfigError("only low-rank adapters (TRAINABLE='lora') are written for PEFT")
    model = Model(config)
    linears = _linear_entries(config.base)
    adapted = {ours: e for ours, e in linears.items() if f"{ours}/{lora.A}" in model.shapes}
    content = {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM" if config.row_layout is EncoderDecoder else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.lora.rank,
        "lora_alpha": _whole(config.lora.alpha),
        "use_rslora": config.lora.rank_stabilized,
        "lora_dropout": config.lora.dropout,
        "target_modules": _target_modules(adapted, linears, model),
        "bias": "none",
        "inference_mode": True,
    }
    tensors = dict(tables.unload(_table(adapted), read))
    with files.writing(folder):
        save_file(tensors, str(folder / TENSORS), metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n")


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _target_modules(
    adapted: dict[str, Entry], linears: dict[str, Entry], model: Model
) -> list[str]:
    """Returns the fewest names that PEFT finds these layers, and no others, by."""

    def modules(chosen: dict[str, Entry]) -> set[str]:
        return {
            name.removesuffix(_WEIGHT)
            for ours, entry in chosen.items()
            for name in entry.names(model.shapes[f"{ours}{_KERNEL}"].shape[0])
        }

    wanted, others = modules(adapted), modules(linears) - modules(adapted)
    excluded = {name.rpartition(".")[2] for name in others}
    last = {name: name.rpartition(".")[2] for name in wanted}
    return sorted({name if short in excluded else short for name, short in last.items()})
