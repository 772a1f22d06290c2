"""Token by token decoding with a cache, for any model family and any way to choose a token.

A family takes part by having the methods of `DecodingModel`; a sampler by being a function from
logits to tokens (see `decode`). `Decoding` holds the settings; beams have a module of their own,
`flan_jax.models.beam_search`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from flan_jax import macros
from flan_jax.errors import ConfigError
from flan_jax.models.framing import Framing, Sequences

# The settings that each method reads.
METHODS: dict[str, tuple[str, ...]] = {
    "greedy": (),
    "sample": ("temperature", "top_k", "top_p", "seed"),
    "beam": ("num_beams", "length_penalty"),
}
Choose = Callable[[jax.Array, jax.Array], jax.Array]
# Logits that scoring holds at once, 1 GiB of them.
_MOST_LOGITS = 1 << 28


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are chosen.

    Attributes:
        method: "greedy", "sample" or "beam".
        temperature: what logits are divided by before sampling.
        top_k: sampling keeps this many of the most probable tokens; 0 keeps all.
        top_p: of these, sampling keeps the fewest most probable that together have this
            probability; 1.0 keeps all.
        num_beams: hypotheses that beam search follows for each row.
        length_penalty: beam search ranks ended hypotheses by
            (sum of log probabilities) / (tokens, EOS included) ** length_penalty. This is
            transformers' convention: 0.0 ranks by probability, more favours longer answers.
        seed: of sampling.
    """

    method: str = "greedy"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    num_beams: int = 4
    length_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        macros.check(
            DECODING=self.method,
            TEMPERATURE=self.temperature,
            TOP_K=self.top_k,
            TOP_P=self.top_p,
            NUM_BEAMS=self.num_beams,
            LENGTH_PENALTY=self.length_penalty,
            SEED=self.seed,
        )

    def describe(self) -> dict[str, Any]:
        """Returns the method and the settings that it reads, for a record of an evaluation."""
        return {name: getattr(self, name) for name in ("method", *METHODS[self.method])}

    def chooser(self, draws_B: jax.Array) -> Choose:
        """Returns what `decode` asks for, by greedy choice or by sampling.

        Args:
            draws_B: uint32, names the random numbers of each row. A row's tokens are a function
                of this number, the seed and the row's logits, whatever other rows there are.

        Raises:
            ConfigError: beam search chooses no single token.
        """
        if self.method == "greedy":
            return lambda logits_BxV, step: jnp.argmax(logits_BxV, axis=-1)
        if self.method != "sample":
            raise ConfigError(f"method {self.method!r} is not a choice of one token at a time")
        key = jax.random.key(self.seed % 2**32)

        def sample(logits_BxV: jax.Array, step: jax.Array) -> jax.Array:
            def draw(number: jax.Array, logits_V: jax.Array) -> jax.Array:
                row_key = jax.random.fold_in(jax.random.fold_in(key, number), step)
                return jax.random.categorical(row_key, logits_V)

            # Beneath a largest logit of 0, no temperature makes two of them infinite.
            logits_BxV -= jnp.max(logits_BxV, axis=-1, keepdims=True)
            kept_BxV = keep_likely(logits_BxV / self.temperature, self.top_k, self.top_p)
            return jax.vmap(draw)(draws_B, kept_BxV)

        return sample


def keep_likely(logits_BxV: jax.Array, top_k: int, top_p: float) -> jax.Array:
    """Sets the logits of unlikely tokens to -inf (Holtzman et al., 2020, section 3.1 for top_p).

    Tokens exactly as likely as the least likely one that is kept are kept too.

    Args:
        logits_BxV: float32 logits.
        top_k: Tokens to keep; 0 for all.
        top_p: Of these, the most likely are kept until their probabilities, which add up to 1
            over the `top_k`, reach this sum; 1.0 for all.

    Returns:
        Logits [B, V].
    """
    size = min(top_k or logits_BxV.shape[-1], logits_BxV.shape[-1])
    if size == logits_BxV.shape[-1] and top_p >= 1.0:
        return logits_BxV
    best_BxK = jax.lax.top_k(logits_BxV, size)[0]
    if top_p < 1.0:  # a sum of float32 may reach 1.0 before the last token does
        probabilities_BxK = jax.nn.softmax(best_BxK, axis=-1)
        before_BxK = jnp.cumsum(probabilities_BxK, axis=-1) - probabilities_BxK
        best_BxK = jnp.where(before_BxK < top_p, best_BxK, jnp.inf)
    least_Bx1 = jnp.min(best_BxK, axis=-1, keepdims=True)
    return jnp.where(logits_BxV >= least_Bx1, logits_BxV, -jnp.inf)


class DecodingModel(Protocol):
    """What decoding asks of a model. A cache is any tree of arrays whose shapes stay the same."""

    def decoding_start_tokens(self, prompts: Sequences, framing: Framing) -> jax.Array:
        """Returns the tokens [B] fed first: a start symbol, or the last token of each prompt."""

    def start_decoding(self, prompts: Sequences, *, max_length: int) -> Any:
        """Reads the prompts and returns a cache with room for `max_length` steps."""

    def decode_step(self, cache: Any, tokens_B: jax.Array) -> tuple[jax.Array, Any]:
        """Feeds one token a row; returns logits_BxV of the next and the new cache."""

    def gather_beams(self, cache: Any, beams_BxN: jax.Array) -> Any:
        """Returns the cache whose row i * N + j is row beams_BxN[i, j] among those of example i.

        Only beam search asks for it. N may differ from the number of rows an example has had:
        `start_decoding` gives it one, and [[0, 0], [0, 0]] makes two of each. What all rows of an
        example share, such as its encoding, can stay as it is.
        """


def gather_beams(x: jax.Array, beams_BxN: jax.Array, *, axis: int = 0) -> jax.Array:
    """Does for one array of a cache, its rows along `axis`, what `DecodingModel` asks.

    Rows stay within their example, so a batch spread over devices moves nothing between them.
    """
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    x = x.reshape(*before, beams_BxN.shape[0], -1, *after)
    indices = beams_BxN.reshape(*[1] * axis, *beams_BxN.shape, *[1] * len(after))
    x = jnp.take_along_axis(x, indices, axis=axis + 1, mode="promise_in_bounds")
    return x.reshape(*before, -1, *after)


class State(NamedTuple):
    """Answers as far as they are decoded.

    Attributes:
        step: int32 [], tokens that a row has.
        last_B: the last of them, or what is fed first.
        done_B: whether a row has ended.
        tokens_BxL: int32, all of them, and padding.
        cache: the model's.
    """

    step: jax.Array
    last_B: jax.Array
    done_B: jax.Array
    tokens_BxL: jax.Array
    cache: Any


def decode(
    model: DecodingModel,
    prompts: Sequences,
    choose: Choose,
    *,
    framing: Framing,
    max_length: int,
) -> jax.Array:
    """Decodes until every row has produced EOS, at most `max_length` tokens.

    Args:
        model: Any `DecodingModel`.
        prompts: See `start`.
        choose: See `advance`.
        framing: Names the tokens that begin and end an answer, and the one that follows EOS.
        max_length: Most tokens to produce, EOS included.

    Returns:
        int32 tokens [B, max_length], the start token left out, EOS kept.
    """
    state = start(model, prompts, framing=framing, max_length=max_length)
    return advance(model, state, choose, framing=framing, steps=max_length).tokens_BxL


def start(model: DecodingModel, prompts: Sequences, *, framing: Framing, max_length: int) -> State:
    """Reads prompts, with room for answers of `max_length` tokens.

    Args:
        model: Any `DecodingModel`.
        prompts: What `layouts.Layout.prompts` makes. A row of length 0 is filler: it counts as
            ended from the start and comes back as padding.
        framing: See `decode`.
        max_length: See `decode`.
    """
    last_B = model.decoding_start_tokens(prompts, framing)
    return State(
        step=jnp.zeros((), jnp.int32),
        last_B=last_B.astype(jnp.int32),
        done_B=prompts.lengths_B == 0,
        tokens_BxL=jnp.full((last_B.shape[0], max_length), framing.pad_id, jnp.int32),
        cache=model.start_decoding(prompts, max_length=max_length),
    )


def advance(
    model: DecodingModel, state: State, choose: Choose, *, framing: Framing, steps: int
) -> State:
    """Decodes up to `steps` further tokens of each row that has not ended.

    Args:
        model: Any `DecodingModel`.
        state: What `start` or this made; a caller may end rows by `done_B`.
        choose: `choose(logits_BxV, step) -> tokens_B`, step an int32 scalar to fold into a key;
            see `Decoding.chooser`.
        framing: See `decode`.
        steps: Tokens; answers stay within the length that they began with.
    """
    pad_id = framing.pad_id
    end = jnp.minimum(state.step + steps, state.tokens_BxL.shape[1])

    def unfinished(state: State) -> jax.Array:
        return (state.step < end) & ~jnp.all(state.done_B)

    def one(state: State) -> State:
        logits_BxV, cache = model.decode_step(state.cache, state.last_B)
        chosen_B = choose(logits_BxV, state.step).astype(jnp.int32)
        chosen_B = jnp.where(state.done_B, pad_id, chosen_B)
        tokens_BxL = jax.lax.dynamic_update_slice_in_dim(
            state.tokens_BxL, chosen_B[:, None], state.step, axis=1
        )
        done_B = state.done_B | jnp.isin(chosen_B, jnp.asarray(framing.ends))
        return State(state.step + 1, chosen_B, done_B, tokens_BxL, cache)

    return jax.lax.while_loop(unfinished, one, state)


def greedy_decode(
    model: DecodingModel, prompts: Sequences, *, framing: Framing, max_length: int
) -> jax.Array:
    """Decodes with the most probable token at every step; see `decode`.

    Called plainly it compiles anew each time; in a loop over batches wrap it once:
    `jax.jit(greedy_decode, static_argnames=("framing", "max_length"))`.

    Returns:
        int32 tokens [B, max_length], padding after EOS.
    """
    choose = Decoding().chooser(jnp.zeros(()))
    return decode(model, prompts, choose, framing=framing, max_length=max_length)


class Scores(NamedTuple):
    """What a model makes of the tokens of answers.

    Attributes:
        log_probs_BxT: float32 log-probability of each token, in nats; 0 at padding.
        greedy_BxT: whether it is the token that greedy decoding would choose there; true at
            padding.
    """

    log_probs_BxT: jax.Array
    greedy_BxT: jax.Array


def score_answers(
    module: Any, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
) -> Scores:
    """Scores answers, reading each prompt once; see `families.FamilyModule.answer_states`.

    Logits of long answers are computed some positions at a time, so that they need not fit.

    Args:
        module: a `families.FamilyModule`.
        prompts: E prompts.
        prompt_B: int32, which prompt an answer follows.
        answers: B answers.
        framing: names the token that begins a decoder.
    """
    hidden_BxTxD = module.answer_states(prompts, prompt_B, answers, framing)
    head, tokens_BxT = module.output_head(), jnp.asarray(answers.tokens_BxS)
    rows, length = tokens_BxT.shape
    vocab_size = jax.eval_shape(head, hidden_BxTxD).shape[-1]
    chunk = max(1, _MOST_LOGITS // (rows * vocab_size))
    if chunk >= length:
        log_probs_BxT, greedy_BxT = _of_logits(head(hidden_BxTxD), tokens_BxT)
    else:
        parts = jax.tree.map(lambda x: _chunks(x, chunk), (hidden_BxTxD, tokens_BxT))
        found = jax.lax.map(lambda part: _of_logits(head(part[0]), part[1]), parts)
        log_probs_BxT, greedy_BxT = (_whole(x, length) for x in found)
    real_BxT = jnp.asarray(answers.real_BxS)
    return Scores(jnp.where(real_BxT, log_probs_BxT, 0.0), greedy_BxT | ~real_BxT)


def _of_logits(logits_BxTxV: jax.Array, tokens_BxT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities of tokens under float32 logits, and whether each is the likeliest."""
    log_probs_BxTxV = jax.nn.log_softmax(logits_BxTxV, axis=-1)
    chosen_BxTx1 = jnp.take_along_axis(log_probs_BxTxV, tokens_BxT[..., None], axis=-1)
    return chosen_BxTx1[..., 0], jnp.argmax(logits_BxTxV, axis=-1) == tokens_BxT


def _chunks(x: jax.Array, size: int) -> jax.Array:
    """Cuts [B, T, ...] into [ceil(T / size), B, size, ...], filled with zeros."""
    rows, length, *rest = x.shape
    x = jnp.pad(x, [(0, 0), (0, -length % size), *[(0, 0)] * len(rest)])
    return jnp.moveaxis(x.reshape(rows, -1, size, *rest), 1, 0)


def _whole(x: jax.Array, length: int) -> jax.Array:
    """Puts [N, B, size] together, [B, length]."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)[:, :length]
