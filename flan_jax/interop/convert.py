"""From one format of models to another, with the result compared before it appears."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from flan_jax import files, json_files, registry
from flan_jax.errors import CheckpointError, ConfigError, quoted
from flan_jax.instructions.vocabulary import VOCABULARY, vocabulary_fingerprint
from flan_jax.interop import hf_files, peft_files, t5x, t5x_export, t5x_files, tokenizer_files
from flan_jax.models import families
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Framing
from flan_jax.training import carried_vocabulary, own_runs, restore, run_metadata, tuned_weights
from flan_jax.training import stored_settings as settings_lib
from flan_jax.training.checkpoints import Found
from flan_jax.training.manifest import write_manifest
from flan_jax.training.tuned_weights import Merged, OnBase

OURS = "flan_jax"
# What two formats may differ by: sums in another order. Values are the same to the bit.
_TOLERANCE = 1e-5
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class _Tokens:
    """Special tokens of a model whose vocabulary is not known, for a batch to compare with."""

    pad_id: int = 0
    bos_id: int | None = None
    eos_id: int = 1


@dataclasses.dataclass(frozen=True)
class _Example:
    """See `layouts.Tokenized`."""

    inputs: np.ndarray
    targets: np.ndarray
    counted: None = None


def convert(
    src: str,
    dst: str,
    source: str | None = None,
    to: str | None = None,
    dtype: str | None = None,
    *,
    say: Say,
    base: str | None = None,
    merge: bool = False,
    shard_bytes: int = hf_files.SHARD_BYTES,
) -> str:
    """Converts a model.

    Args:
        src: as `restore.require` takes it; with `source`, the prefix may be left out.
        dst: folder to make.
        source: format of `src`: "hf", "gguf", "t5x", "peft" or "flan_jax"; None where the name or
            the files say it.
        to: format of `dst`: "hf", "t5x", "peft" or "flan_jax"; None for the usual one. Adapters are
            merged for the first two and kept for the others.
        dtype: of the weights; None keeps theirs, float32 for what is published.
        say: called with what happens.
        base: what the frozen weights of a tuned model are read from, see `restore.require`.
        merge: whether to merge adapters for a checkpoint of ours, too.
        shard_bytes: most bytes of a file of tensors.

    Returns:
        What was done, in a line.

    Raises:
        CheckpointError: there is no such model, it is damaged, or what was written is another one.
        ConfigError: the format has no such model.
        OutputError: `dst` is there, or cannot be written.
    """
    where = _named(src, source)
    found = restore.require(where, say, base)
    to = to or (OURS if isinstance(found, restore.Released) or where.startswith("peft:") else "hf")
    if isinstance(found, OnBase) and (merge or to not in (OURS, "peft")):
        say(f"merging what trained into {found.run[tuned_weights.FIELD][tuned_weights.NAMED]}")
        found = Merged.of(found)
    elif merge:
        raise ConfigError(f"{where} has nothing to merge: all of it trained")
    model = restore.model_of(found)
    if dtype is not None:
        model = Model(families.with_param_dtype(model.config, dtype))
    spec = restore.vocabulary_of(found)
    if spec is not None:
        VOCABULARY.use(spec)
    tokens: Any = _Tokens() if spec is None else VOCABULARY
    framing = model.layout(tokens).framing
    say(f"{where}: {type(model.config).__name__}, {_count(model)} parameters")
    target = epath.Path(dst)
    files.sweep(target.parent)
    with files.scratch_folder(target.parent) as scratch:
        made = scratch / "model"
        made.mkdir()
        written = _write(to, made, found, model, framing, spec, shard_bytes, target)
        say("comparing what was written with what was read")
        source = found.source if isinstance(found, OnBase) else None
        off = _compare(found, restore.require(written, say, source), model, framing)
        with files.writing(target):
            made.rename(target)
    return f"wrote {dst} ({to}); largest difference of logits {off:.1e}"


def _named(src: str, source: str | None) -> str:
    """Returns what `restore.require` takes for a source."""
    prefix = src.partition(":")[0]
    if prefix in (*registry.PUBLISHED, *registry.ADAPTERS):
        if source not in (None, prefix):
            raise ConfigError(f"{quoted(src)} says that it is {prefix}, and --from={source}")
        return src
    source = source or _looks_like(epath.Path(src))
    return src if source == OURS else f"{source}:{src}"


def _looks_like(path: epath.Path) -> str:
    """Returns the format of files by their names."""
    if path.suffix == ".gguf":
        return "gguf"
    if (path / hf_files.CONFIG).exists():
        return "hf"
    if (path / peft_files.CONFIG).exists():
        return "peft"
    return "t5x" if t5x_files.is_checkpoint(path) else OURS


def _count(model: Model) -> str:
    return f"{sum(int(np.prod(leaf.shape)) for leaf in model.shapes.values()):,}"


def _on_host(found: Found, model: Model, names: Any) -> Params:
    """Reads parameters into this machine's memory."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
        for name, leaf in model.shapes.items()
        if name in names
    }
    return found.read(wanted, whole=len(wanted) == len(model.shapes))


def _write(
    to: str,
    folder: epath.Path,
    found: Found,
    model: Model,
    framing: Framing,
    spec: str | None,
    shard_bytes: int,
    target: epath.Path,
) -> str:
    """Fills a folder that will be `target`, and returns what `restore.require` calls it."""

    def read(name: str) -> np.ndarray:
        return np.asarray(_on_host(found, model, {name})[name])

    if to == "hf":
        tokenizer = tokenizer_files.content(spec, framing) if spec else {}
        hf_files.write_folder(
            folder, model.config, read, framing, tokenizer=tokenizer, shard_bytes=shard_bytes
        )
        return f"hf:{folder}"
    if to == "peft":
        if not isinstance(found, OnBase):
            raise ConfigError(f"{found.path} has no adapters, which are all that PEFT keeps")
        named = found.run[tuned_weights.FIELD][tuned_weights.NAMED].removeprefix("hf:")
        peft_files.write_folder(folder, model.config, read, named)
        return f"peft:{folder}"
    if to == "t5x":
        t5x_export.export_t5x(t5x.table(model.config), model.shapes, read, folder, found.step)
        return f"t5x:{folder}"
    if to == OURS:
        run = {
            "step": found.step,
            "fingerprint": {
                "model": json.loads(json.dumps(model.describe())),
                "vocabulary": vocabulary_fingerprint(spec) if spec else None,
            },
            **_settings(found, spec),
        }
        params = _on_host(found, model, set(model.shapes))
        if isinstance(found, OnBase):
            kept = {name: value for name, value in params.items() if name not in model.trained}
            sums = tuned_weights.checksums(kept)
            run[tuned_weights.FIELD] = {**found.run[tuned_weights.FIELD], "checksums": sums}
            params = {name: params[name] for name in model.trained}
            run["run_id"] = own_runs.remember(str(target), base=found.source)
        write_checkpoint(folder, params, run, carried_vocabulary.content(spec) if spec else {})
        return str(folder)
    raise ConfigError(f"no model can be written as {to!r}")


def _settings(found: Found, spec: str | None) -> dict[str, Any]:
    """Returns the settings of a checkpoint: those of a run of ours, or the vocabulary's name."""
    settings = settings_lib.decode(found.run, str(found.path))
    settings[settings_lib.VOCABULARY] = spec if spec in settings_lib.VOCABULARY_NAMES else None
    return settings_lib.encode(settings)


def write_checkpoint(
    folder: epath.Path, params: Params, run: Mapping[str, Any], vocabulary: Mapping[str, bytes]
) -> None:
    """Writes weights as a checkpoint of ours without an optimizer, see `checkpoints`.

    Args:
        folder: of the checkpoint; there, and empty.
        params: arrays by name.
        run: see `run_metadata`.
        vocabulary: files by name.

    Raises:
        OutputError: it cannot be written.
    """
    import orbax.checkpoint as ocp

    with files.writing(folder):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(os.path.abspath(folder / "params"), params)
        for name, content in vocabulary.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / run_metadata.FILE).parent.mkdir()
        json_files.write_json(folder / run_metadata.FILE, dict(run), indent=None)
        write_manifest(folder)


def _compare(before: Found, after: Found, model: Model, framing: Framing) -> float:
    """Returns the largest difference of logits on random tokens, before and after.

    Raises:
        CheckpointError: it is more than sums in another order would make it.
    """
    rng = np.random.default_rng(0)
    most = min(model.config.vocab_size, 2**15)

    def row(length: int) -> np.ndarray:
        return rng.integers(0, most, length).astype(np.int32)

    examples = [[_Example(row(24), row(8))], [_Example(row(9), row(3))]]
    batch = jax.tree.map(jnp.asarray, model.config.row_layout(framing).rows(examples, 24, 8, False))
    found = []
    for one in (before, after):
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            params = _on_host(one, model, set(model.shapes))
            found.append(np.asarray(jax.jit(model.apply)(params, batch), np.float32))
            del params
    off = float(np.max(np.abs(found[0] - found[1])))
    size = max(1.0, float(np.max(np.abs(found[0]))))
    if not off <= _TOLERANCE * size:
        raise CheckpointError(
            f"what was written of {before.path} is another model: its logits differ by {off:.2g}; "
            "nothing was kept"
        )
    return off
