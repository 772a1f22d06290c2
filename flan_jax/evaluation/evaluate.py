"""Scores a checkpoint on a mixture."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gin
from etils import epath

from flan_jax import files, macros, terminal
from flan_jax.data.prepare import PreparedMixture, prepare
from flan_jax.data.records import Example
from flan_jax.data.units import Renderings
from flan_jax.evaluation import generation, provenance, ranking
from flan_jax.instructions import long_prompts
from flan_jax.instructions.vocabulary import VOCABULARY, check_vocabulary
from flan_jax.models.decoding import Decoding
from flan_jax.models.families import Model, Params
from flan_jax.modules import module_list
from flan_jax.scoring import report, template_spread
from flan_jax.scoring.predictions import Prediction
from flan_jax.training import mesh as mesh_lib
from flan_jax.training import processes, restore


@gin.configurable
@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """What to evaluate; gin binds it from macros (gin_configs/runs/flan_jax/eval.gin).

    Attributes:
        model: config of a model family.
        mixture: SeqIO task or mixture.
        feature_lengths: tokens that prompts are cut to, and most tokens to generate.
        batch_size: prompts decoded together.
        split: split of the tasks.
        examples: of each task, so many from the first; None for all.
        render_seed: of templates and other draws.
        modules: task modules, for worker processes that prepare data.
        prepared_dir: where prepared records are.
        seed: of the weights, where there is no checkpoint.
        decoding: how answers are chosen.
        sharding: preset in `mesh.PRESETS`.
        mesh_shape: overrides the preset's devices by mesh axis.
        base_checkpoint_path: what the frozen weights of a tuned model are read from; None where
            this machine remembers it.
        rank_score: what options are ranked by, see `ranking`.
    """

    model: Any
    mixture: str
    feature_lengths: Mapping[str, int]
    batch_size: int = 32
    split: str = "test"
    examples: int | None = None
    render_seed: int = 0
    modules: Any = ()
    prepared_dir: str | None = None
    seed: int = 0
    decoding: Decoding = Decoding()
    sharding: str = "data"
    mesh_shape: Mapping[str, int] | None = None
    base_checkpoint_path: str | None = None
    rank_score: str = "sum"

    def asked(self) -> dict[str, Any]:
        """Returns the settings that shape what is asked."""
        return {
            "split": self.split,
            "examples": self.examples,
            "feature_lengths": dict(self.feature_lengths),
            "render_seed": self.render_seed,
        }

    def __post_init__(self) -> None:
        macros.check(
            TASK_FEATURE_LENGTHS=self.feature_lengths,
            EVAL_BATCH_SIZE=self.batch_size,
            EVAL_SPLIT=self.split,
            EVAL_EXAMPLES=self.examples,
            RENDER_SEED=self.render_seed,
            SEED=self.seed,
            RANK_SCORE=self.rank_score,
        )


def _progress(say: Callable[[str], None], total: int) -> Callable[[int], None]:
    """A line at every tenth of the way."""
    done, told = 0, -1

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            say(f"answered {done:,} of {total:,} examples")

    return tell


class Examinee:
    """A checkpoint, opened once for all mixtures that it is asked; its weights are read if needed.

    Attributes:
        mesh: where it lies.
        model: the model.
        found: the checkpoint; None for the untrained model.
    """

    def __init__(
        self,
        config: EvalConfig,
        checkpoint: str | None,
        say: Callable[[str], None] = terminal.say_aside,
    ):
        """Opens a checkpoint.

        Args:
            config: says the model, how it is sharded, and where frozen weights are; its mixture
                does not matter.
            checkpoint: see `evaluate`.
            say: see `evaluate`.

        Raises:
            FlanJaxError: it is damaged, or does not fit.
        """
        self._seed = config.seed
        self.mesh = mesh_lib.make_mesh(config.sharding, config.mesh_shape)
        self.model = Model(config.model)
        check_vocabulary(config.model.vocab_size)
        base = config.base_checkpoint_path
        self.found = restore.open_as(checkpoint, self.model, say, base) if checkpoint else None

    @functools.cached_property
    def params(self) -> Params:
        """Its weights, on the mesh."""
        params = restore.weights(self.found, self.model, self.mesh, seed=self._seed)
        if self.found is not None:
            self.found.release()
        return params


def evaluate(
    config: EvalConfig,
    checkpoint: str | Examinee | None,
    out: str,
    say: Callable[[str], None] = terminal.say_aside,
    fresh: bool = False,
    protocol: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Scores a checkpoint (or, where None, the untrained model) and writes the results.

    Where `out` holds the results of the same checkpoint on the same examples, they stand.

    Args:
        config: what to evaluate.
        checkpoint: MODEL_DIR (its newest sound checkpoint) or directory of one checkpoint; or one
            that was opened, where it is asked several mixtures.
        out: folder for metrics.json and predictions.jsonl.
        say: called with what happens, a line at a time.
        fresh: prepare the examples again, also where they are prepared.
        protocol: what metrics.json is to say of how the mixture was chosen.

    Returns:
        The content of metrics.json.

    Raises:
        FlanJaxError: unknown mixture or split, a damaged or unfitting checkpoint, or `out` cannot
            be written or is in use by another evaluation.
    """
    if not processes.is_first():
        return _evaluate(config, checkpoint, out, lambda text: None, fresh, protocol or {})
    with files.lock_folder(files.check_out_folder(out)):
        summary = _evaluate(config, checkpoint, out, say, fresh, protocol or {})
    for note in report.notes(summary):
        terminal.warn(note)
    return summary


def _evaluate(
    config: EvalConfig,
    checkpoint: str | Examinee | None,
    out: str,
    say: Callable[[str], None],
    fresh: bool,
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    if not isinstance(checkpoint, Examinee):
        checkpoint = Examinee(config, checkpoint, say)
    examinee = checkpoint
    mesh, model, found = examinee.mesh, examinee.model, examinee.found

    def examined(fresh: bool) -> PreparedMixture:
        return prepare(
            config.mixture,
            config.split,
            Renderings(1, config.render_seed),
            config.prepared_dir,
            modules=module_list(config.modules),
            fresh=fresh,
            report=say,
        )

    mixture = processes.first_then_all(
        lambda: examined(fresh), lambda: examined(False), f"prepared {config.mixture}"
    )
    folder = epath.Path(out)
    facts = [
        str(found.path) if found else "untrained",
        found.run if found else config.seed,
        mixture.fingerprints,
        dict(config.feature_lengths),
        config.decoding.describe(),
        config.examples,
        *([VOCABULARY.end_ids] if VOCABULARY.end_ids else []),
        *([config.rank_score] if config.rank_score != "sum" else []),
        *([protocol] if protocol else []),
    ]
    # Of all that the answers depend on: neither finished nor partial ones of another are used.
    identity_hash = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def finish(predictions: Sequence[Prediction]) -> dict[str, Any]:
        summary = report.summarize(config.mixture, found.step if found else 0, predictions)
        if spreads := template_spread.spreads(summary["by_task"]):
            summary["by_templates"] = spreads
        summary |= protocol
        summary["decoding"] = config.decoding.describe()
        if any(prediction.scores for prediction in predictions):
            summary["rank_score"] = config.rank_score
        if mixture.left_out:
            summary["left_out"] = list(mixture.left_out)
        if long_prompts.prompt_budget():
            summary["long_prompts"] = _long_prompts(mixture, config.examples)
        weights = found.weights_hash if found else None
        summary["made_by"] = provenance.of_evaluation(weights, config.asked(), mixture)
        if processes.is_first():
            report.write(out, summary, predictions, identity_hash)
        return summary

    there = report.read(out, identity_hash) if processes.is_first() else None
    if there:
        say(f"{out} has these results already")
    if summary := processes.from_first(there and (there.summary or finish(there.predictions))):
        return summary

    shards = mesh_lib.row_shards(mesh)
    batch_size = -(-config.batch_size // shards) * shards
    params = examinee.params
    lengths = config.feature_lengths["inputs"], config.feature_lengths["targets"]
    examples = generation.examples_of(mixture, config.examples)
    asked = [(task, example) for task, example in examples if example.ranked is None]
    ranked = [(task, example) for task, example in examples if example.ranked is not None]
    _warn_of_cuts(examples, lengths, say)

    path = folder / "predictions.partial.jsonl"
    partial = generation.Partial(path, identity_hash)
    progress = _progress(say, len(examples))
    predictions = []
    if asked:
        generator = generation.Generator(model, params, *lengths, batch_size, mesh, config.decoding)
        predictions += generation.predict(generator, asked, partial, progress)
    if ranked:
        scorer = ranking.Scorer(model, params, *lengths, batch_size, mesh)
        predictions += ranking.rank(scorer, ranked, partial, progress, config.rank_score)
    summary = finish(predictions)
    if processes.is_first():
        path.unlink(missing_ok=True)
    return summary


def _long_prompts(mixture: PreparedMixture, most: int | None) -> dict[str, Any]:
    """Returns what PROMPT_BUDGET made of the prompts of each task, for metrics.json."""
    counts = mixture.fits
    if most is not None:
        fits: dict[str, list[int]] = {task: [] for task in counts}
        for task, example in generation.examples_of(mixture, most):
            fits[task].append(example.fit)
        counts = {task: long_prompts.count(found) for task, found in fits.items()}
    by_task = {
        task: {fit.name.lower(): number for fit, number in found.items()}
        for task, found in counts.items()
    }
    return {"budget": long_prompts.prompt_budget(), "by_task": by_task}


def _warn_of_cuts(
    examples: Sequence[tuple[str, Example]], lengths: tuple[int, int], say: Callable[[str], None]
) -> None:
    """Says what does not fit: a cut prompt loses words, a cut option is not told from others."""
    prompts = sum(len(example.inputs) > lengths[0] for _, example in examples)
    if prompts:
        say(
            f"{prompts:,} prompts are longer than {lengths[0]} tokens and are cut at their end; "
            f"PROMPT_BUDGET={lengths[0]} shortens their longest field instead"
        )
    options = sum(e.ranked is not None and len(e.targets) > lengths[1] for _, e in examples)
    if options:
        say(f"{options:,} options to rank are longer than {lengths[1]} tokens and are cut")
