"""Models of ours as models of lm-evaluation-harness: `--model flan_jax`.

`python -m flan_jax.harness` is its command line with this module imported; a program imports it and
asks for the model "flan_jax" as for any other.
"""

# ruff: noqa: E402  (TensorFlow is to be imported quietly, before what imports it)
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax.quiet import import_tensorflow

import_tensorflow()

from flan_jax import __version__, modules, terminal
from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.harness.respondent import Respondent, asked_for, render_chat, template_in_use
from flan_jax.instructions.vocabulary import VOCABULARY

try:
    # Also so that the registry has the harness's own models beside this one.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
except ImportError as error:
    raise ConfigError(
        f"lm-evaluation-harness is missing ({error}): pip install 'flan-jax[lm_eval]'"
    ) from None

NAME = "flan_jax"
_AUTO_BATCH = 16
_ARGUMENTS = (
    "checkpoint", "batch_size", "max_length", "module", "base", "dtype", "sharding", "seed",
)  # fmt: skip
# What the harness's command line hands to every model; JAX_PLATFORMS chooses the device of ours.
_OF_TORCH = ("device", "max_batch_size")


@register_model(NAME)
class FlanJaxLM(LM):
    """A checkpoint as lm-evaluation-harness asks it.

    Attributes:
        respondent: the model.
    """

    def __init__(self, checkpoint: str = "", **arguments: Any):
        """Opens a checkpoint.

        Args:
            checkpoint: what `--checkpoint` takes: a run, hf:, gguf:, t5x:, peft:.
            **arguments: batch_size: contexts read together, "auto" for 16; max_length, base,
                dtype, sharding: see `Respondent`; module: a Python module that registers the
                model's family; seed: of sampling; device and max_batch_size: without effect.

        Raises:
            FlanJaxError: there is no such checkpoint, or an argument is wrong.
        """
        super().__init__()
        for name in arguments:
            if name not in (*_ARGUMENTS, *_OF_TORCH):
                raise ConfigError(
                    f"model_args: {NAME} has no argument {name!r}{did_you_mean(name, _ARGUMENTS)}; "
                    f"there are {', '.join(_ARGUMENTS)}"
                )
        if not checkpoint:
            raise ConfigError("model_args: checkpoint=... is missing, such as checkpoint=hf:FOLDER")
        for name in _OF_TORCH:
            arguments.pop(name, None)
        self._seed = arguments.pop("seed", 0)
        modules.import_modules(arguments.pop("module", None))
        batch_size = arguments.pop("batch_size", 1)
        if str(batch_size).startswith("auto"):
            batch_size = _AUTO_BATCH
        elif str(batch_size).isdecimal():
            batch_size = int(batch_size)
        self.respondent = Respondent(str(checkpoint), batch_size=batch_size, **arguments)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> "FlanJaxLM":
        """Returns a model; what model_args say goes before what the command line has by default."""
        more = {k: v for k, v in (additional_config or {}).items() if v is not None}
        return cls(**{**more, **arg_dict})

    @property
    def batch_size(self) -> int:
        """Contexts read together."""
        return self.respondent.batch_size

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence."""
        return self.respondent.texts.max_length

    @property
    def tokenizer_name(self) -> str:
        """Names tokenizer and chat template in names of caches."""
        self.respondent.use_vocabulary()
        text = self.chat_template(True) or ""
        return f"{VOCABULARY.fingerprint}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def get_model_info(self) -> dict[str, Any]:
        """Returns what tells the model from others; stands in results."""
        self.respondent.use_vocabulary()
        return {"flan_jax_version": __version__, **self.respondent.facts()}

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Returns the log-likelihood of each continuation, and whether it is the greedy one.

        Args:
            requests: instances with a context and a continuation each.
            disable_tqdm: whether nothing tells how far it is.
        """
        self.respondent.use_vocabulary()
        texts = self.respondent.texts
        pairs = [texts.pair(*request.args) for request in requests]
        scores = self._shown("scoring", len(pairs), disable_tqdm, self.respondent.score(pairs))
        return self._kept("loglikelihood", requests, scores)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Returns the log-likelihood of each text, all of it predicted.

        Args:
            requests: instances with a text each.
            disable_tqdm: whether nothing tells how far it is.

        Raises:
            ConfigError: the model is an encoder-decoder.
        """
        self.respondent.use_vocabulary()
        texts = self.respondent.texts
        if not texts.is_decoder:
            raise ConfigError(
                "loglikelihood_rolling is of decoder-only models: an encoder-decoder predicts an "
                "answer to a prompt, and a text alone has none. Leave out the tasks that ask for "
                "perplexity"
            )
        windows = [texts.windows(request.args[0]) for request in requests]
        owners = [number for number, some in enumerate(windows) for _ in some]
        found = self.respondent.score([pair for some in windows for pair in some])
        totals = [0.0] * len(requests)
        for position, (score, _) in self._shown("scoring", len(owners), disable_tqdm, found):
            totals[owners[position]] += score
        return self._kept("loglikelihood_rolling", requests, enumerate(totals))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Returns an answer to each context.

        Args:
            requests: instances with a context and generation options each.
            disable_tqdm: whether nothing tells how far it is.

        Raises:
            FlanJaxError: an option is not known, or answers may be longer than what fits.
        """
        self.respondent.use_vocabulary()
        alike: dict[Any, list[int]] = {}
        for number, request in enumerate(requests):
            # Its names for one option are many; it also settles what temperature 0 means.
            asked = asked_for(normalize_gen_kwargs(request.args[1]), self._seed)
            alike.setdefault(asked, []).append(number)

        def answers() -> Iterator[tuple[int, str]]:
            for asked, numbers in alike.items():
                contexts = [requests[number].args[0] for number in numbers]
                for position, text in self.respondent.answer(contexts, asked):
                    yield numbers[position], text

        shown = self._shown("answering", len(requests), disable_tqdm, answers())
        return self._kept("generate_until", requests, shown)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Returns a conversation as the tokenizer's chat template writes it."""
        self.respondent.use_vocabulary()
        return render_chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the tokenizer's chat template.

        Raises:
            FlanJaxError: one is asked for by name, or the tokenizer brings none.
        """
        self.respondent.use_vocabulary()
        if isinstance(chat_template, str):
            raise ConfigError(f"--apply_chat_template takes no name here, not {chat_template!r}")
        return template_in_use().text if chat_template else None

    @staticmethod
    def _shown(
        what: str, total: int, disabled: bool, found: Iterator[tuple[int, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Passes on what comes, and shows how far it is."""
        progress = None if disabled else terminal.Progress(what, total)
        for one in found:
            yield one
            if progress is not None:
                progress.advance(1)
        if progress is not None:
            progress.close()

    def _kept(self, kind: str, requests: Sequence[Any], found: Any) -> list[Any]:
        """Returns results in the order of requests; the harness's cache is told of each."""
        results: list[Any] = [None] * len(requests)
        for position, result in found:
            results[position] = result
            self.cache_hook.add_partial(kind, requests[position].args, result)
        return results
