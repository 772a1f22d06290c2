"""Alignment: an encoder learns that instructions of one task belong together.

The paper's recipe (Lee et al. 2024, section 3.3) and stronger choices, see `pairs.AlignConfig`.
Any sentence-transformers model is trained in a loop of our own, so that a run goes on after the
last finished epoch with the very numbers it would have had, and nothing is pickled.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax.errors import ConfigError, DataError
from flan_jax.files import replace_text
from flan_jax.selector import align_card, pairs
from flan_jax.selector.library import Library
from flan_jax.selector.pairs import AlignConfig, Corpus
from flan_jax.terminal import Progress

RECORD = "alignment.json"
STATE = "alignment_state.safetensors"
_ENCODE_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Alignment:
    """What an alignment has left.

    Attributes:
        folder: a sentence-transformers model.
        losses: mean loss of each epoch.
        found_before: share of instructions whose nearest other one was of their task.
        found_after: the same share after alignment.
        record: what `alignment.json` says.
    """

    folder: str
    losses: tuple[float, ...]
    found_before: float
    found_after: float
    record: Mapping[str, Any]


def align(
    library: Library,
    base: str,
    out: str,
    held_out: Collection[str] = (),
    config: AlignConfig | None = None,
    device: str | None = None,
    load: Callable[[str], Any] | None = None,
) -> Alignment:
    """Aligns an encoder with a library, and saves it as a sentence-transformers folder.

    The same call goes on where an earlier one stopped, after its last whole epoch, and does nothing
    where one has finished.

    Args:
        library: the tasks whose instructions are learnt from.
        base: name or folder of a sentence-transformers model.
        out: folder on this machine for the aligned model.
        held_out: tasks or clusters of the library that must not enter, nor any text they have.
        config: parameters; gin's where None.
        device: torch's name of a device; None leaves the choice to sentence-transformers.
        load: gives the model of a name; sentence-transformers if None.

    Raises:
        ConfigError: `base` cannot be loaded, `out` holds something else, or the loss is not finite.
        DataError: something held out is not in the library, or too little remains.
    """
    config = config or AlignConfig()
    corpus = Corpus.of(library, held_out)
    folder = pathlib.Path(os.path.expanduser(out))
    finished = _look_into(folder)
    model = (load or load_model)(base)
    if device:
        model.to(device)
    facts = _facts(library, corpus, base, model, config)
    if finished:
        return _earlier(folder, finished, facts)
    folder.mkdir(parents=True, exist_ok=True)
    vectors = embed(model, corpus.texts)
    before = pairs.found_share(corpus, vectors)
    losses, counts = _train(model, corpus, vectors, config, folder, facts["fingerprint"])
    after = pairs.found_share(corpus, embed(model, corpus.texts))
    result = {"pairs": counts, "losses": losses, "found_before": before, "found_after": after}
    model.save_pretrained(str(folder), create_model_card=False)
    record = _null(facts | result)
    replace_text(epath.Path(folder / "README.md"), align_card.render(record))
    replace_text(epath.Path(folder / RECORD), json.dumps(record, indent=2, ensure_ascii=False))
    (folder / STATE).unlink(missing_ok=True)
    return Alignment(str(folder), tuple(losses), before, after, record)


def load_model(base: str) -> Any:
    """Returns a sentence-transformers model.

    Raises:
        ConfigError: the package or the model is not reachable.
    """
    try:
        import sentence_transformers
    except ImportError as error:
        raise ConfigError(
            "alignment needs sentence-transformers: pip install flan-jax[selector]"
        ) from error
    local = os.path.isdir(os.path.expanduser(base))
    if not local and (base.startswith((".", "/", "~")) or base.count("/") > 1):
        raise ConfigError(f"base {base!r}: there is no such folder")
    where = os.path.expanduser(base) if local else base
    try:
        return sentence_transformers.SentenceTransformer(where, local_files_only=local)
    except Exception as error:  # of the hub, transformers, torch, safetensors, JSON
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ConfigError(
            f"base {base!r} cannot be loaded: {first[0]}; give the folder of a "
            "sentence-transformers model"
        ) from error


def embed(model: Any, texts: Sequence[str]) -> np.ndarray:
    """Returns unit vectors of texts, float32[texts, width], without dropout.

    Args:
        model: a sentence-transformers model.
        texts: in any order; texts of like length are encoded together.
    """
    import torch

    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    with torch.no_grad():
        for start in range(0, len(order), _ENCODE_BATCH):
            batch = [texts[i] for i in order[start : start + _ENCODE_BATCH]]
            parts.append(_forward(model, batch).float().cpu().numpy())
    found = np.concatenate(parts)
    return found[np.argsort(order)]


def _forward(model: Any, texts: Sequence[str]) -> Any:
    """Unit vectors of a batch, with gradients where those are on."""
    import torch

    prompt = (getattr(model, "prompts", None) or {}).get(
        getattr(model, "default_prompt_name", None), ""
    )
    # sentence-transformers 6 calls `preprocess` what was `tokenize` before.
    tokenize = getattr(model, "preprocess", None) or model.tokenize
    features = tokenize([f"{prompt}{text}" for text in texts])
    device = next(model.parameters()).device
    moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in features.items()}
    return torch.nn.functional.normalize(model(moved)["sentence_embedding"], dim=-1)


def _train(
    model: Any,
    corpus: Corpus,
    vectors: np.ndarray,
    config: AlignConfig,
    folder: pathlib.Path,
    fingerprint: str,
) -> tuple[list[float], dict[str, int]]:
    """Trains all epochs that are left; returns their mean losses and the numbers of pairs."""
    import torch

    optimizer = _optimizer(model, config)
    losses = _restore(folder / STATE, model, optimizer, fingerprint)
    labelled = pairs.labelled_pairs(corpus, vectors, config) if config.loss == "cosine" else None
    first = labelled or pairs.ranked_rows(corpus, vectors, config, 0)
    steps = math.ceil(_rows(first) / config.batch_size)
    with Progress("aligning", config.epochs * steps, len(losses) * steps) as progress:
        for epoch in range(len(losses), config.epochs):
            rows = labelled or pairs.ranked_rows(corpus, vectors, config, epoch)
            order = np.random.default_rng([config.seed, 2, epoch]).permutation(_rows(rows))
            torch.manual_seed(config.seed * 1_000_003 + epoch)
            model.train()
            total = 0.0
            for step, batch in enumerate(np.array_split(order, steps)):
                rate = learning_rate(epoch * steps + step, steps, config)
                loss = _loss(model, corpus, vectors, config, rows, batch)
                total += _update(model, optimizer, loss, rate, config, (epoch, step)) * len(batch)
                progress.advance(1)
            losses.append(total / len(order))
            _save(folder / STATE, model, optimizer, fingerprint, losses)
    return losses, first.counts()


def learning_rate(step: int, steps: int, config: AlignConfig) -> float:
    """Returns the rate of a step: a linear rise, then a linear fall to 0 after the last epoch.

    Args:
        step: from 0, over all epochs.
        steps: of one epoch.
        config: peak, warm-up and epochs.
    """
    warmup, total = math.ceil(config.warmup * steps), config.epochs * steps
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    return config.learning_rate * (total - step) / max(total - warmup, 1)


def _rows(rows: pairs.Labelled | pairs.Ranked) -> int:
    return len(rows.first) if isinstance(rows, pairs.Labelled) else len(rows.anchor)


def _loss(
    model: Any,
    corpus: Corpus,
    vectors: np.ndarray,
    config: AlignConfig,
    rows: pairs.Labelled | pairs.Ranked,
    batch: np.ndarray,
) -> Any:
    if isinstance(rows, pairs.Labelled):
        return _cosine_loss(model, corpus, rows, batch)
    part = pairs.Ranked(rows.anchor[batch], rows.positive[batch], rows.hard[batch])
    return _ranking_loss(model, corpus, vectors, config, part)


def _cosine_loss(model: Any, corpus: Corpus, rows: pairs.Labelled, batch: np.ndarray) -> Any:
    """Mean squared error of the cosine, over the pairs of a batch."""
    import torch

    first = _forward(model, [corpus.texts[i] for i in rows.first[batch]])
    second = _forward(model, [corpus.texts[i] for i in rows.second[batch]])
    labels = torch.as_tensor(rows.label[batch], device=first.device)
    return ((first * second).sum(dim=-1) - labels).square().mean()


def _ranking_loss(
    model: Any, corpus: Corpus, vectors: np.ndarray, config: AlignConfig, part: pairs.Ranked
) -> Any:
    """Mean negative log-probability, in nats, of each row's positive among what may be chosen."""
    import torch

    hard = part.hard[part.hard >= 0]
    others = np.concatenate([part.positive, hard]).astype(np.int64)
    anchors = _forward(model, [corpus.texts[i] for i in part.anchor])
    found = _forward(model, [corpus.texts[i] for i in others])
    allowed = pairs.may_be_negatives(corpus, vectors, config, part, others)
    allowed[np.arange(len(part.anchor)), np.arange(len(part.anchor))] = True
    mask = torch.as_tensor(~allowed, device=anchors.device)
    logits = (config.scale * anchors @ found.T).masked_fill(mask, float("-inf"))
    return torch.nn.functional.cross_entropy(
        logits, torch.arange(len(part.anchor), device=anchors.device)
    )


def _optimizer(model: Any, config: AlignConfig) -> Any:
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def _update(
    model: Any,
    optimizer: Any,
    loss: Any,
    rate: float,
    config: AlignConfig,
    where: tuple[int, int],
) -> float:
    """One step; returns the loss."""
    import torch

    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError(
            f"alignment: the loss is {value} in epoch {where[0] + 1}, step {where[1] + 1}; "
            f"AlignConfig.learning_rate ({config.learning_rate:g}) may be too high"
        )
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return value


def _slots(optimizer: Any) -> dict[str, Any]:
    """The optimizer's state by name, in the order of its parameters."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"optimizer.{i}.{name}": value
        for i, parameter in enumerate(parameters)
        for name, value in optimizer.state[parameter].items()
    }


def _save(
    path: pathlib.Path, model: Any, optimizer: Any, fingerprint: str, losses: Sequence[float]
) -> None:
    """Keeps weights and the optimizer's state, in one move."""
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= _slots(optimizer)
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    scratch = path.with_name(f".{path.name}.tmp")
    save_file(copies, scratch, {"fingerprint": fingerprint, "losses": json.dumps(list(losses))})
    scratch.replace(path)


def _restore(path: pathlib.Path, model: Any, optimizer: Any, fingerprint: str) -> list[float]:
    """Takes up what `_save` has kept; returns the losses of the epochs that are done."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
            _check_same(path.parent, found.get("fingerprint"), fingerprint)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is corrupt ({error}); delete it to begin anew") from error
    prefix = "model."
    model.load_state_dict(
        {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
    )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".", 2)
            parameter = parameters[int(index)]
            moved = value if slot == "step" else value.to(parameter.device)
            optimizer.state[parameter][slot] = moved
    return list(json.loads(found["losses"]))


def _look_into(folder: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished alignment, or None for a folder that one may be written to."""
    if (folder / RECORD).exists():
        try:
            record = json.loads((folder / RECORD).read_text())
        except ValueError as error:
            raise DataError(f"{folder / RECORD} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{folder / RECORD} is not a JSON object")
        return record
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder for the aligned model")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STATE).exists():
        scratch = {f".{STATE}.tmp"}
        if {path.name for path in folder.iterdir()} - scratch:
            raise ConfigError(f"{folder} is not empty and holds no alignment; give another folder")
    return None


def _earlier(
    folder: pathlib.Path, record: Mapping[str, Any], facts: Mapping[str, Any]
) -> Alignment:
    _check_same(folder, record.get("fingerprint"), facts["fingerprint"])
    before, after = (
        math.nan if record[key] is None else record[key] for key in ("found_before", "found_after")
    )
    return Alignment(str(folder), tuple(record["losses"]), before, after, record)


def _check_same(folder: pathlib.Path, found: str | None, fingerprint: str) -> None:
    if found != fingerprint:
        raise ConfigError(
            f"{folder} holds an alignment of another library, base, held-out list or AlignConfig; "
            "give another folder"
        )


def _facts(
    library: Library, corpus: Corpus, base: str, model: Any, config: AlignConfig
) -> dict[str, Any]:
    """What an alignment depends on; the fingerprint is over all but names of places."""
    depends = {
        "base_hash": weights_hash(model),
        "texts": hashlib.sha256(json.dumps(corpus.texts).encode()).hexdigest(),
        "library_hash": library.hash,
        "held_out": list(corpus.held_out),
        "parameters": dataclasses.asdict(config),
    }
    fingerprint = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
    return depends | {
        "fingerprint": fingerprint,
        "base": base,
        "library": library.origin,
        "tasks": list(corpus.names),
        "instructions": len(corpus.texts),
        "instructions_shared_with_held_out": corpus.shared,
    }


def weights_hash(model: Any) -> str:
    """Returns the SHA-256 of a torch module's weights and buffers, with names and shapes."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(array.shape)} {array.dtype}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _null(record: dict[str, Any]) -> dict[str, Any]:
    """NaN is no JSON."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }
