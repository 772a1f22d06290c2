"""Alignment: an encoder learns that instructions of one task belong together.

The paper's recipe (Lee et al. 2024, section 3.3) and stronger choices, see `pairs.AlignConfig`.
Any sentence-transformers model is trained in a loop of our own, so that a run goes on after the
last finished epoch with the very numbers it would have had (on one machine without a GPU, whose
sums have no fixed order), and nothing is pickled.
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

from flan_jax import files, json_files
from flan_jax.errors import ConfigError, border, quoted
from flan_jax.json_files import Fields, loads
from flan_jax.selector import align_card, pairs, sentence_models, student
from flan_jax.selector.encoders import LEXICAL
from flan_jax.selector.library import Library
from flan_jax.selector.pairs import AlignConfig, Corpus
from flan_jax.terminal import Progress

RECORD = "alignment.json"
STATE = "alignment_state.safetensors"
SCRATCH = f".{STATE}.tmp"
_ENCODE_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Alignment:
    """What an alignment has left.

    Attributes:
        folder: a sentence-transformers model.
        losses: mean loss of each epoch.
        found_before: share of instructions whose nearest other one was of their task, by the
            base; what a student found before alignment is in the record.
        found_after: the same share by the aligned model.
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
        ConfigError: `base` cannot be loaded or made a student of, there is no such device, `out`
            holds something else, or the loss is not finite.
        DataError: something held out is not in the library, or too little remains.
        FlanJaxError: `out` cannot be written, or another alignment is at work in it.
    """
    config = config or AlignConfig()
    corpus = Corpus.of(library, held_out)
    folder = pathlib.Path(os.path.expanduser(out))
    _look_into(folder)  # before anything is written into a folder of something else
    with files.lock_folder(files.check_out_folder(folder)):
        model = (load or load_model)(base)
        _move(model, device)
        facts = _facts(library, corpus, base, model, config)
        if finished := _look_into(folder):
            return _earlier(folder, finished, facts)
        return _align(model, corpus, config, folder, facts)


def _align(
    model: Any, corpus: Corpus, config: AlignConfig, folder: pathlib.Path, facts: dict[str, Any]
) -> Alignment:
    vectors = embed(model, corpus.texts)
    before = {"found_before": pairs.found_share(corpus, vectors)}
    if config.student:
        model = student.static_student(model, corpus.texts, config.student_width)
        found = pairs.found_share(corpus, embed(model, corpus.texts))
        before["found_by_student_before"] = found
    run = _Run(model, corpus, vectors, config)
    return _finish(run, folder, facts | before, *_train(run, folder / STATE, facts["fingerprint"]))


def _finish(
    run: "_Run",
    folder: pathlib.Path,
    facts: Mapping[str, Any],
    losses: list[float],
    counts: Mapping[str, int],
) -> Alignment:
    """Saves a trained model; its record comes last but for what is no longer needed."""
    after = pairs.found_share(run.corpus, embed(run.model, run.corpus.texts))
    weights = sum(parameter.numel() for parameter in run.model.parameters())
    result = {"weights": weights, "pairs": counts, "losses": losses, "found_after": after}
    with files.writing(folder):
        run.model.save_pretrained(str(folder), create_model_card=False)
    record = _null({**facts, **result})
    files.replace_text(folder / "README.md", align_card.render(record))
    json_files.write_json(folder / RECORD, record, indent=2)
    _forget(folder)
    return Alignment(str(folder), tuple(losses), facts["found_before"], after, record)


def load_model(base: str) -> Any:
    """Returns a sentence-transformers model.

    Raises:
        ConfigError: the package or the model is not reachable.
    """
    if base == LEXICAL:
        raise ConfigError(
            "base 'lexical' has no weights to align; name a sentence-transformers one"
        )
    # Steps as small as ours are lost in weights that were saved in half precision.
    return sentence_models.load(sentence_models.find(base)).float()


def _move(model: Any, device: str | None) -> None:
    try:
        if device:
            model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {error}") from error


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
    with torch.no_grad(), Progress("embedding", len(texts)) as progress:
        for start in range(0, len(order), _ENCODE_BATCH):
            batch = [texts[i] for i in order[start : start + _ENCODE_BATCH]]
            parts.append(_forward(model, batch).float().cpu().numpy())
            progress.advance(len(batch))
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


@dataclasses.dataclass(frozen=True)
class _Run:
    """What every step needs.

    Attributes:
        model: what is trained.
        corpus: the instructions.
        vectors: their embeddings by the base, float32[texts, width].
        config: parameters.
    """

    model: Any
    corpus: Corpus
    vectors: np.ndarray
    config: AlignConfig

    @property
    def device(self) -> Any:
        return next(self.model.parameters()).device

    def rows(self, epoch: int) -> pairs.Labelled | pairs.Ranked:
        """The pairs of an epoch; with the cosine loss they are the same in each."""
        if self.config.loss == "cosine":
            return pairs.labelled_pairs(self.corpus, self.vectors, self.config)
        return pairs.ranked_rows(self.corpus, self.vectors, self.config, epoch)


def _train(run: _Run, state: pathlib.Path, fingerprint: str) -> tuple[list[float], dict[str, int]]:
    """Trains all epochs that are left; returns their mean losses and the numbers of pairs."""
    import torch

    epochs, optimizer = run.config.epochs, _optimizer(run)
    losses = _restore(state, run.model, optimizer, fingerprint)
    first = run.rows(0)
    steps = math.ceil(len(first) / run.config.batch_size)
    with (
        torch.random.fork_rng([run.device] if run.device.type == "cuda" else []),
        Progress("aligning", epochs * steps, len(losses) * steps) as progress,
    ):
        for epoch in range(len(losses), epochs):
            losses.append(_epoch(run, optimizer, epoch, steps, progress))
            _save(state, run.model, optimizer, fingerprint, losses)
    return losses, first.counts()


def _epoch(run: _Run, optimizer: Any, epoch: int, steps: int, progress: Progress) -> float:
    """One pass over an epoch's pairs, all of whose chance is in seed and epoch; its mean loss."""
    import torch

    rows = run.rows(epoch)
    order = np.random.default_rng([run.config.seed, 2, epoch]).permutation(len(rows))
    torch.manual_seed(run.config.seed * 1_000_003 + epoch)
    run.model.train()
    total = 0.0
    for step, batch in enumerate(np.array_split(order, steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch * steps + step, steps, run.config)
        loss = _loss(run, rows.of(batch))
        total += _update(run, optimizer, loss, f"epoch {epoch + 1}, step {step + 1}") * len(batch)
        progress.advance(1)
    return total / len(order)


def learning_rate(step: int, steps: int, config: AlignConfig) -> float:
    """Returns the rate of a step: a linear rise, then a linear fall to 0 after the last epoch.

    Args:
        step: from 0, over all epochs.
        steps: of one epoch.
        config: peak, warm-up and epochs.
    """
    warmup, total = math.ceil(config.warmup * steps), config.epochs * steps
    if step < warmup:
        return config.rate * (step + 1) / (warmup + 1)
    return config.rate * (total - step) / max(total - warmup, 1)


def _loss(run: _Run, part: pairs.Labelled | pairs.Ranked) -> Any:
    return _cosine_loss(run, part) if isinstance(part, pairs.Labelled) else _ranking_loss(run, part)


def _cosine_loss(run: _Run, part: pairs.Labelled) -> Any:
    """Mean squared error of the cosine, over the pairs of a batch."""
    import torch

    first = _forward(run.model, [run.corpus.texts[i] for i in part.first])
    second = _forward(run.model, [run.corpus.texts[i] for i in part.second])
    labels = torch.as_tensor(part.label, device=first.device)
    return ((first * second).sum(dim=-1) - labels).square().mean()


def _ranking_loss(run: _Run, part: pairs.Ranked) -> Any:
    """Mean negative log-probability, in nats, of each row's positive among what may be chosen."""
    import torch

    hard = part.hard[part.hard >= 0]
    others = np.concatenate([part.positive, hard]).astype(np.int64)
    anchors = _forward(run.model, [run.corpus.texts[i] for i in part.anchor])
    found = _forward(run.model, [run.corpus.texts[i] for i in others])
    allowed = pairs.may_be_negatives(run.corpus, run.vectors, run.config, part, others)
    allowed[np.arange(len(part)), np.arange(len(part))] = True
    mask = torch.as_tensor(~allowed, device=anchors.device)
    logits = (run.config.scale * anchors @ found.T).masked_fill(mask, float("-inf"))
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(part), device=mask.device))


def _optimizer(run: _Run) -> Any:
    import torch

    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    decay = run.config.weight_decay
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def _update(run: _Run, optimizer: Any, loss: Any, where: str) -> float:
    """One step; returns the loss."""
    import torch

    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.config.max_grad_norm)
    for what, value in (("loss", float(loss.detach())), ("norm of the gradient", float(norm))):
        if not math.isfinite(value):
            raise ConfigError(
                f"alignment: the {what} is {value} in {where}; AlignConfig.learning_rate "
                f"({run.config.rate:g}) may be too high"
            )
    optimizer.step()
    return float(loss.detach())


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
    scratch = path.with_name(SCRATCH)
    with files.writing(path):
        save_file(copies, scratch, {"fingerprint": fingerprint, "losses": json.dumps(list(losses))})
        scratch.replace(path)


def _restore(path: pathlib.Path, model: Any, optimizer: Any, fingerprint: str) -> list[float]:
    """Takes up what `_save` has kept; returns the losses of the epochs that are done."""
    from safetensors import safe_open

    if not path.exists():
        return []
    with border(f"{path} is corrupt (delete it to begin anew)"):
        if not path.is_file():  # a FIFO would be waited for
            raise OSError("not a regular file")
        with safe_open(path, "pt") as file:
            found = file.metadata() or {}
            _check_same(path.parent, found.get("fingerprint"), fingerprint)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _take_up(tensors, model, optimizer)
        return _losses(Fields("it", {"losses": loads(found["losses"], "losses")}))


def _take_up(tensors: Mapping[str, Any], model: Any, optimizer: Any) -> None:
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


def _losses(fields: Fields) -> list[float]:
    values = fields.get("losses")
    if not isinstance(values, list):
        fields.fail("losses", f"must be a list of numbers, found {quoted(values)}")
    numbers = {str(i): value for i, value in enumerate(values)}
    return [Fields(f"{fields.where}: 'losses'", numbers).number(place) for place in numbers]


def _look_into(folder: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished alignment, or None for a folder that one may be written to."""
    if (folder / RECORD).exists():
        return json_files.Fields(str(folder / RECORD), json_files.read_json(folder / RECORD)).object
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder for the aligned model")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there - {SCRATCH, files.LOCK} and STATE not in there:
        raise ConfigError(f"{folder} is not empty and holds no alignment; give another folder")
    return None


def _earlier(
    folder: pathlib.Path, record: Mapping[str, Any], facts: Mapping[str, Any]
) -> Alignment:
    _check_same(folder, record.get("fingerprint"), facts["fingerprint"])
    _forget(folder)
    fields = Fields(str(folder / RECORD), dict(record))
    before, after = (
        math.nan if record.get(key, 0) is None else fields.number(key)
        for key in ("found_before", "found_after")
    )
    return Alignment(str(folder), tuple(_losses(fields)), before, after, record)


def _forget(folder: pathlib.Path) -> None:
    """Deletes what only an unfinished alignment needs."""
    for name in (STATE, SCRATCH):
        (folder / name).unlink(missing_ok=True)


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
        "parameters": dataclasses.asdict(config) | {"learning_rate": config.rate},
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
