"""Decoder-only models: FLAN's own, Llama 3, Qwen 2.5 and 3, SmolLM2, Gemma 2 and 3.

    model = Decoder(DecoderConfig(vocab_size=32128), nnx.Rngs(0))
    hidden_BxTxD = model.hidden_states(batch)

What tells these models apart is a matter of configuration: positions (rotary, relative or none),
norms, shared key heads, windows of attention, soft caps. Batches are those of
`layouts.OneSequence`: `decoder_input_tokens` [B, T], and where rows are packed or padded
`decoder_segment_ids`, 0 at padding, with `decoder_positions`, which restart in each example.
`decoder_causal_attention` marks the prompts that a prefix language model reads in both directions
(Raffel et al., 2020, section 3.2.1). Numerics are pinned to transformers' implementations by tests.
Shape suffixes are those of `flan_jax.models.layers`, and G heads of keys and values.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax import macros
from flan_jax.errors import ConfigError
from flan_jax.kinds import whole_number
from flan_jax.models import attention, decoding, layers
from flan_jax.models.attention import Attention, KeysValues, Rotation, Seen
from flan_jax.models.framing import Framing, Sequences, SpecialTokens
from flan_jax.models.layers import dropout, fold
from flan_jax.models.layouts import OneSequence
from flan_jax.models.sharding import constrain

_STATES = ("batch", "length", "activation_embed")


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Sizes and numerics of a decoder-only model.

    Attributes:
        vocab_size: rows of the embedding table.
        emb_dim: width of the hidden states.
        num_layers: layers.
        num_heads: heads of queries.
        num_kv_heads: heads of keys and values (Ainslie et al., 2023); None for one a query head.
        head_dim: width of a head; num_heads * head_dim need not equal emb_dim.
        mlp_dim: hidden width of the feed-forward blocks.
        mlp_activations: ("silu", "linear") is SwiGLU, ("gelu",) plain; "gelu" is the tanh form.
        positions: "rotary" (Su et al., 2021), "relative" (T5's buckets, shared by all layers) or
            "none".
        rope_theta: base of the rotary frequencies, of global layers where there are others.
        rope_local_theta: of layers with a window; None for the same.
        rope_scaling: of the frequencies of global layers: "none"; "linear", divided by
            `rope_factor`; or "llama3", by parts (Llama 3.1's way to longer sequences).
        rope_factor: see `rope_scaling`.
        rope_low_frequency: wavelengths above rope_original_length / this are divided ("llama3").
        rope_high_frequency: those below rope_original_length / this stay as they are ("llama3").
        rope_original_length: positions that the model was first trained with ("llama3").
        norm: "rms" or "layer".
        norm_offset: whether scales of norms are kept as what they are more than 1 (Gemma).
        post_norms: whether each block's output is normed as well as its input (Gemma 2).
        norm_epsilon: added to the mean square or variance.
        qk_norm: whether queries and keys are normed, a head at a time (Qwen 3, Gemma 3).
        attention_bias: whether queries, keys and values have biases (Qwen 2.5).
        bias: whether every linear layer has a bias.
        query_scale: what scores are divided by the root of; None for head_dim.
        attention_softcap: bound of attention scores (Gemma 2); None for none.
        final_softcap: bound of logits (Gemma 2); None for none.
        window: positions that a layer with a window sees, its own among them; None for no windows.
        window_ahead: positions after its own that such a layer sees, where it sees any; None for as
            many as before it.
        global_every: every so manieth layer sees all positions despite `window`; None for none.
        tied_head: whether the output head is the embedding table.
        scaled_embeddings: whether embedded tokens are multiplied by the root of emb_dim (Gemma).
        prefix_attention: whether prompts are read in both directions.
        prompt_eos: whether EOS parts prompt and answer (FLAN, Wei et al. 2022, section 2.4).
        relative_attention_num_buckets: rows of the relative position table.
        relative_attention_max_distance: distance from which on all share the last bucket.
        dropout_rate: used where a call is given a dropout key.
        dtype: of the computation, "bfloat16" on accelerators. Softmax, norm statistics, rotations
            and logits are float32 in any case.
        param_dtype: of the parameters.
        remat: name in `layers.REMAT`: what training computes again to save memory.
        attention_chunk: queries whose attention scores are held at once; None holds all.
    """

    vocab_size: int
    emb_dim: int = 512
    num_layers: int = 8
    num_heads: int = 8
    num_kv_heads: int | None = None
    head_dim: int = 64
    mlp_dim: int = 1024
    mlp_activations: tuple[str, ...] = ("silu", "linear")
    positions: str = "rotary"
    rope_theta: float = 10_000.0
    rope_local_theta: float | None = None
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_frequency: float = 1.0
    rope_high_frequency: float = 4.0
    rope_original_length: int = 8192
    norm: str = "rms"
    norm_offset: bool = False
    post_norms: bool = False
    norm_epsilon: float = 1e-6
    qk_norm: bool = False
    attention_bias: bool = False
    bias: bool = False
    query_scale: float | None = None
    attention_softcap: float | None = None
    final_softcap: float | None = None
    window: int | None = None
    window_ahead: int | None = dataclasses.field(default=None, metadata={"unstated": True})
    global_every: int | None = None
    tied_head: bool = True
    scaled_embeddings: bool = False
    prefix_attention: bool = False
    prompt_eos: bool = False
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: str = "none"
    attention_chunk: int | None = None

    numerics: ClassVar[tuple[str, ...]] = (
        "dtype",
        "param_dtype",
        "dropout_rate",
        "remat",
        "attention_chunk",
    )
    row_layout: ClassVar[type[OneSequence]] = OneSequence
    prompt_parameters: ClassVar[str] = r"(?!head/).*"

    def __post_init__(self) -> None:
        # A list (from JSON) would make the config unhashable, and so unfit as a static argument.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        macros.check(
            VOCAB_SIZE=self.vocab_size,
            EMB_DIM=self.emb_dim,
            NUM_LAYERS=self.num_layers,
            NUM_HEADS=self.num_heads,
            NUM_KV_HEADS=self.num_kv_heads,
            HEAD_DIM=self.head_dim,
            MLP_DIM=self.mlp_dim,
            MLP_ACTIVATIONS=self.mlp_activations,
            POSITIONS=self.positions,
            ROPE_THETA=self.rope_theta,
            ROPE_LOCAL_THETA=self.rope_local_theta,
            ROPE_SCALING=self.rope_scaling,
            ROPE_FACTOR=self.rope_factor,
            ROPE_LOW_FREQUENCY=self.rope_low_frequency,
            ROPE_HIGH_FREQUENCY=self.rope_high_frequency,
            ROPE_ORIGINAL_LENGTH=self.rope_original_length,
            NORM=self.norm,
            NORM_OFFSET=self.norm_offset,
            POST_NORMS=self.post_norms,
            NORM_EPSILON=self.norm_epsilon,
            QK_NORM=self.qk_norm,
            ATTENTION_BIAS=self.attention_bias,
            LINEAR_BIAS=self.bias,
            QUERY_SCALE=self.query_scale,
            ATTENTION_SOFTCAP=self.attention_softcap,
            FINAL_SOFTCAP=self.final_softcap,
            ATTENTION_WINDOW=self.window,
            ENCODER_WINDOW_AHEAD=self.window_ahead,
            GLOBAL_EVERY=self.global_every,
            LOGITS_VIA_EMBEDDING=self.tied_head,
            SCALED_EMBEDDINGS=self.scaled_embeddings,
            PREFIX_ATTENTION=self.prefix_attention,
            PROMPT_EOS=self.prompt_eos,
            DROPOUT_RATE=self.dropout_rate,
            COMPUTE_DTYPE=self.dtype,
            PARAM_DTYPE=self.param_dtype,
            REMAT=self.remat,
            ATTENTION_CHUNK=self.attention_chunk,
        )
        layers.check_activations(self.mlp_activations)
        whole_number("relative_attention_num_buckets", self.relative_attention_num_buckets)
        whole_number("relative_attention_max_distance", self.relative_attention_max_distance)
        if self.num_heads % self.kv_heads:
            raise ConfigError(
                f"NUM_KV_HEADS {self.kv_heads} does not divide NUM_HEADS {self.num_heads}"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ConfigError(f"HEAD_DIM {self.head_dim} is odd, and rotary positions turn pairs")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    def is_global(self, layer: int) -> bool:
        """Whether a layer, from 0 on, sees all positions."""
        if self.window is None:
            return True
        return bool(self.global_every) and (layer + 1) % (self.global_every or 1) == 0

    def build(self, rngs: nnx.Rngs) -> "Decoder":
        """Returns a model of this configuration with fresh parameters."""
        return Decoder(self, rngs)

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns prompts that begin with BOS, where the vocabulary has one, or else a start token.

        Only a family of its own vocabulary parts prompt and answer by EOS.
        """
        start = special.pad_id if self.prompt_eos and special.bos_id is None else None
        return Framing(
            special.pad_id,
            special.eos_id,
            start_id=start,
            bos_id=special.bos_id,
            prompt_eos=self.prompt_eos,
        )

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row; see `T5Config`.

        Logits are computed for targets alone.
        """
        n, d = inputs_length + targets_length, self.emb_dim
        inner, kv_inner = self.num_heads * self.head_dim, self.kv_heads * self.head_dim
        mlp = (len(self.mlp_activations) + 1) * d * self.mlp_dim
        one_layer = n * (2 * d * inner + 2 * d * kv_inner + mlp) + 2 * n * n * inner
        return 2.0 * (self.num_layers * one_layer + targets_length * d * self.vocab_size)


def dtypes(config: DecoderConfig) -> dict[str, Any]:
    """Returns the dtypes of the computation and the parameters, as layers take them."""
    return dict(dtype=jnp.dtype(config.dtype), param_dtype=jnp.dtype(config.param_dtype))


def norm(config: DecoderConfig, dim: int | None = None, axis: str = "embed") -> nnx.Module:
    """Returns a norm over `dim` (None: emb_dim) units of a logical axis."""
    options = dict(epsilon=config.norm_epsilon, **dtypes(config))
    if config.norm == "layer" and axis == "embed":
        return layers.LayerNorm(dim or config.emb_dim, **options)
    return layers.RMSNorm(dim or config.emb_dim, offset=config.norm_offset, axis=axis, **options)


def rope_frequencies(config: DecoderConfig, is_global: bool) -> np.ndarray:
    """Returns float32 [head_dim / 2], radians by which a position turns each pair of a head.

    Computed on the host, so that they are the same on every backend.
    """
    theta = config.rope_theta if is_global else (config.rope_local_theta or config.rope_theta)
    pairs = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = (1.0 / np.float32(theta) ** pairs).astype(np.float32)
    if not is_global and config.rope_local_theta is not None:
        return frequencies
    if config.rope_scaling == "linear":
        return (frequencies / config.rope_factor).astype(np.float32)
    if config.rope_scaling == "llama3":
        return _llama3_frequencies(config, frequencies)
    return frequencies


def _llama3_frequencies(config: DecoderConfig, frequencies: np.ndarray) -> np.ndarray:
    """Long wavelengths are stretched, short ones kept, those between mixed smoothly."""
    turns = config.rope_original_length * frequencies / (2 * math.pi)
    low, high = config.rope_low_frequency, config.rope_high_frequency
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (kept * frequencies + (1 - kept) * frequencies / config.rope_factor).astype(np.float32)


class DecoderLayer(nnx.Module):
    """Self attention and feed-forward."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.post_norms = config.post_norms
        head_norm = functools.partial(norm, config, config.head_dim, "head_dim")
        self.attention_norm = norm(config)
        self.attention = Attention(
            config.emb_dim,
            config.num_heads,
            config.head_dim,
            num_kv_heads=config.num_kv_heads,
            dropout_rate=config.dropout_rate,
            bias=config.attention_bias or config.bias,
            out_bias=config.bias,
            scale=(config.query_scale or config.head_dim) ** -0.5,
            softcap=config.attention_softcap,
            head_norm=head_norm if config.qk_norm else None,
            chunk=config.attention_chunk,
            rngs=rngs,
            **dtypes(config),
        )
        self.mlp_norm = norm(config)
        self.mlp = layers.MLP(
            config.emb_dim,
            config.mlp_dim,
            activations=config.mlp_activations,
            dropout_rate=config.dropout_rate,
            bias=config.bias,
            rngs=rngs,
            **dtypes(config),
        )
        if config.post_norms:
            self.post_attention_norm = norm(config)
            self.post_mlp_norm = norm(config)

    def __call__(
        self,
        x_BxTxD: jax.Array,
        see: Callable[[KeysValues], tuple[Seen, ...]],
        *,
        rotation: Rotation | None,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Runs the layer.

        Args:
            x_BxTxD: hidden states.
            see: given the keys and values of x_BxTxD, returns all that is looked at.
            rotation: of x_BxTxD's positions.
            dropout_key: random key; None drops nothing.

        Returns:
            Hidden states [B, T, D], and the keys and values of x_BxTxD [B, G, T, K].
        """
        x_BxTxD, kv = self.attended(x_BxTxD, see, rotation, dropout_key)
        return self.fed(x_BxTxD, dropout_key), kv

    def attended(
        self,
        x_BxTxD: jax.Array,
        see: Callable[[KeysValues], tuple[Seen, ...]],
        rotation: Rotation | None,
        key: jax.Array | None,
    ) -> tuple[jax.Array, KeysValues]:
        """Self attention alone; see `__call__`."""
        normed = self.attention_norm(x_BxTxD)
        queries = self.attention.queries(normed, rotation)
        kv = self.attention.keys_values(normed, rotation)
        y = self.attention.look(queries, *see(kv), dropout_key=fold(key, 0))
        y = self.post_attention_norm(y) if self.post_norms else y
        return x_BxTxD + dropout(y, self.dropout_rate, fold(key, 1)), kv

    def fed(self, x_BxTxD: jax.Array, key: jax.Array | None) -> jax.Array:
        """Feed-forward alone; see `__call__`."""
        y = self.mlp(self.mlp_norm(x_BxTxD), dropout_key=fold(key, 2))
        y = self.post_mlp_norm(y) if self.post_norms else y
        return x_BxTxD + dropout(y, self.dropout_rate, fold(key, 3))


class _ByKind(NamedTuple):
    """What differs between layers with a window and global ones: a leading axis of both kinds.

    Where all layers are of one kind the axis has length 1. Trees of arrays, None where there is
    nothing.
    """

    masks: Any
    rotations: Any

    def of(self, kind: jax.Array) -> "_ByKind":
        """Returns those of a layer's kind, as a number along the leading axis."""
        return jax.tree.map(lambda x: x[0] if x.shape[0] == 1 else x[kind], self)


def _call(
    layer: DecoderLayer, x_BxTxD: jax.Array, see: Any, inputs: Any, **options: Any
) -> tuple[jax.Array, KeysValues]:
    """Runs a layer that looks at nothing but what `see` gives."""
    return layer(x_BxTxD, see, **options)


class DecoderCache(NamedTuple):
    """State of decoding a batch; a tree of arrays, fit for `lax.while_loop`.

    A row's prompt, but for its last token, and what follows lie apart: prompts are of different
    lengths, and what follows begins at the same place in all rows; beams share their prompt.

    Attributes:
        step: int32 [], tokens fed so far.
        lengths_B: int32 tokens of each prompt that are in `prompt_kv`.
        prompt_kv: keys and values of prompts, [L, B, G, S, K].
        kv: those of the fed tokens, [L, B, G, max_length, K]; in beam search B times the beams.
    """

    step: jax.Array
    lengths_B: jax.Array
    prompt_kv: KeysValues
    kv: KeysValues


class Decoder(nnx.Module):
    """A decoder-only model; see the module docstring for the batch."""

    def __init__(
        self,
        config: DecoderConfig,
        rngs: nnx.Rngs,
        make_layer: Callable[[DecoderConfig, nnx.Rngs], nnx.Module] = DecoderLayer,
        has_table: bool = True,
    ):
        """Args:
        config: of the model.
        rngs: of initial values.
        make_layer: makes a layer.
        has_table: whether it has an embedding table, which tied heads need.
        """
        self.config = config
        kinds = dtypes(config)
        if has_table:
            # So that embedded tokens begin at the size of 1 where they are scaled.
            stddev = config.emb_dim**-0.5 if config.scaled_embeddings else 0.02
            self.embed = layers.Embed(
                config.vocab_size, config.emb_dim, rngs=rngs, stddev=stddev, **kinds
            )
        self.layers = layers.stack_layers(
            lambda layer_rngs: make_layer(config, layer_rngs), config.num_layers, rngs
        )
        self.norm = norm(config)
        if config.positions == "relative":
            self.relative_position_bias = layers.RelativePositionBias(
                num_buckets=config.relative_attention_num_buckets,
                max_distance=config.relative_attention_max_distance,
                num_heads=config.num_heads,
                bidirectional=False,
                param_dtype=jnp.dtype(config.param_dtype),
                rngs=rngs,
            )
        if not config.tied_head:
            self.head = layers.Linear(
                config.emb_dim, config.vocab_size, axes=("embed", "vocab"), rngs=rngs, **kinds
            )

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""
        softcap = self.config.final_softcap
        if self.config.tied_head:
            return layers.TiedHead(self.embed, softcap=softcap)
        return layers.OutputHead(self.head, softcap)

    def embedded(self, tokens_BxT: jax.Array) -> jax.Array:
        """Returns embedded tokens [B, T, D]."""
        x_BxTxD = self.embed(tokens_BxT)
        if self.config.scaled_embeddings:
            # Rounded to the dtype first, as published models are trained.
            x_BxTxD = x_BxTxD * jnp.asarray(self.config.emb_dim**0.5, x_BxTxD.dtype)
        return constrain(x_BxTxD, *_STATES)

    @property
    def _kinds(self) -> list[bool]:
        """Kinds of layers that there are: whether they see all positions."""
        return sorted({self.config.is_global(i) for i in range(self.config.num_layers)})

    @property
    def _kind_L(self) -> jax.Array:
        """Of each layer, its place in `_kinds`."""
        numbers = range(self.config.num_layers)
        return jnp.asarray([self._kinds.index(self.config.is_global(i)) for i in numbers])

    def _rotations(self, positions_BxT: jax.Array) -> Any:
        """Rotations of each kind of layer, stacked; None without rotary positions."""
        if self.config.positions != "rotary":
            return None
        each = [
            attention.rotation(positions_BxT, rope_frequencies(self.config, kind))
            for kind in self._kinds
        ]
        return jax.tree.map(lambda *x: jnp.stack(x), *each)

    def masks(self, seen: jax.Array, query: jax.Array, key: jax.Array) -> jax.Array:
        """Additive masks [kinds, B, 1, T, S] of each kind of layer.

        Args:
            seen: boolean, broadcastable to [B, 1, T, S]: what a global layer sees.
            query: int32 positions [T] or [B, T].
            key: int32 positions [S] or [B, S].
        """
        masks = []
        for is_global in self._kinds:
            mask = seen
            if not is_global:
                window, ahead = self.config.window or 0, self.config.window_ahead
                near = attention.window_mask(query, key, window, ahead)
                mask = seen & (near[:, None] if near.ndim == 3 else near)
            masks.append(attention.additive(mask))
        return jnp.stack(jnp.broadcast_arrays(*masks))

    def _bias(self, query_BxT: jax.Array, key_BxS: jax.Array) -> jax.Array | None:
        """Bias [B, H, T, S] of relative positions; None without them."""
        if self.config.positions != "relative":
            return None
        return self.relative_position_bias.of_rows(query_BxT, key_BxS)

    def run(
        self,
        x_BxTxD: jax.Array,
        positions_BxT: jax.Array,
        masks: Any,
        see: Callable[[KeysValues, Any, Any], tuple[Seen, ...]],
        per_layer: Any = None,
        *,
        dropout_key: jax.Array | None = None,
        keep_kv: bool = False,
        call: Callable[..., tuple[jax.Array, KeysValues]] = _call,
    ) -> tuple[jax.Array, Any]:
        """Runs all layers and the last norm.

        Args:
            x_BxTxD: embedded tokens.
            positions_BxT: int32 positions [B, T] or [1, T], for rotations.
            masks: tree with a leading axis of the kinds of layers.
            see: `see(kv, masks, inputs)`: what a layer looks at, given its own keys and values, the
                masks of its kind and its slice of `per_layer`.
            per_layer: tree of arrays [L, ...].
            dropout_key: random key; None drops nothing.
            keep_kv: whether to return the keys and values of all layers.
            call: runs a layer: `call(layer, x, see, inputs, rotation=..., dropout_key=...)`.

        Returns:
            What the head reads, [B, T, D], and keys and values [L, B, G, T, K] or None.
        """
        by_kind = _ByKind(masks, self._rotations(positions_BxT))
        layers_key = fold(dropout_key, 1)

        def body(layer: DecoderLayer, index: jax.Array, x: jax.Array, inputs: Any):
            kind, layer_inputs = inputs
            own = by_kind.of(kind)
            x, kv = call(
                layer,
                x,
                lambda kv: see(kv, own.masks, layer_inputs),
                layer_inputs,
                rotation=own.rotations,
                dropout_key=fold(layers_key, index),
            )
            return constrain(x, *_STATES), kv if keep_kv else None

        x_BxTxD = dropout(x_BxTxD, self.config.dropout_rate, fold(dropout_key, 0))
        x_BxTxD, kv = layers.scan_layers(
            body, self.layers, x_BxTxD, (self._kind_L, per_layer), remat=self.config.remat
        )
        return self.norm(x_BxTxD), kv

    def hidden_states(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what the output head reads, [B, T, D] in the compute dtype."""
        return self.forward(
            batch["decoder_input_tokens"],
            batch.get("decoder_segment_ids"),
            batch.get("decoder_positions"),
            batch.get("decoder_causal_attention"),
            dropout_key=dropout_key,
        )[0]

    def forward(
        self,
        tokens_BxT: jax.Array,
        segments_BxT: jax.Array | None = None,
        positions_BxT: jax.Array | None = None,
        prefix_BxT: jax.Array | None = None,
        *,
        dropout_key: jax.Array | None = None,
        keep_kv: bool = False,
    ) -> tuple[jax.Array, Any]:
        """Runs whole rows; see `run`."""
        length = tokens_BxT.shape[1]
        segments_BxT = attention.row_segments(tokens_BxT, segments_BxT)
        place_T = jnp.arange(length)
        positions_BxT = place_T[None] if positions_BxT is None else positions_BxT
        visible = attention.causal_mask(length)
        if self.config.prefix_attention and prefix_BxT is not None:
            prefix = prefix_BxT.astype(bool)
            visible = visible | (prefix[:, :, None] & prefix[:, None, :])[:, None]
        seen = attention.segment_mask(segments_BxT, segments_BxT) & visible
        # Offsets in the row tell distances in packed rows too: an example lies in one piece.
        masks = self.masks(seen, place_T, place_T)
        bias = None
        if self.config.positions == "relative":
            bias = self.relative_position_bias(place_T, place_T)
        return self.run(
            self.embedded(tokens_BxT),
            positions_BxT,
            masks,
            lambda kv, mask, _: (Seen(kv, mask, bias),),
            dropout_key=dropout_key,
            keep_kv=keep_kv,
        )

    def _read(self, prompts: Sequences, keep_kv: bool = False) -> tuple[jax.Array, Any]:
        """Runs prompts; what stands beyond their lengths sees them, and they do not see it."""
        segments_BxS = prompts.real_BxS.astype(jnp.int32)
        return self.forward(
            prompts.tokens_BxS, segments_BxS, prefix_BxT=segments_BxS, keep_kv=keep_kv
        )

    def prompt_states(self, prompts: Sequences) -> jax.Array:
        """Returns what the head reads at each position of prompts, [B, S, D]."""
        return self._read(prompts)[0]

    def _after_prompts(
        self,
        tokens_BxT: jax.Array,
        lengths_B: jax.Array,
        prompt_kv: KeysValues,
        own_mask: jax.Array,
        see_own: Callable[[KeysValues, Any], KeysValues],
        per_layer: Any = None,
        *,
        step: int | jax.Array = 0,
        prompt_B: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Runs tokens that follow prompts.

        Args:
            tokens_BxT: int32 tokens.
            lengths_B: int32 lengths of the prompts that they follow.
            prompt_kv: keys and values of prompts [L, R, G, S, K], R dividing B: rows side by side
                follow the same prompt.
            own_mask: boolean, broadcastable to [B, 1, T, M]: which of the tokens after the prompt
                are seen.
            see_own: `see_own(kv, inputs)`: keys and values of tokens after the prompt
                [B, G, M, K], given those of tokens_BxT.
            per_layer: tree of arrays [L, ...], of which a layer's `inputs` are a slice.
            step: tokens between the prompts and tokens_BxT.
            prompt_B: int32, which of R prompts a row follows, where not side by side.

        Returns:
            See `run`; the keys and values are those of tokens_BxT.
        """
        rows, length = tokens_BxT.shape
        positions_BxT = lengths_B[:, None] + step + jnp.arange(length)
        own_BxM = lengths_B[:, None] + jnp.arange(own_mask.shape[-1])
        room = prompt_kv.keys.shape[3]
        prompt_BxS = jnp.broadcast_to(jnp.arange(room), (rows, room))
        real_Bx1x1xS = (prompt_BxS < lengths_B[:, None])[:, None, None]
        masks = (
            self.masks(real_Bx1x1xS, positions_BxT, prompt_BxS),
            self.masks(own_mask, positions_BxT, own_BxM),
        )
        biases = self._bias(positions_BxT, prompt_BxS), self._bias(positions_BxT, own_BxM)

        def see(kv: KeysValues, mask: Any, inputs: Any) -> tuple[Seen, ...]:
            theirs, own = inputs
            if prompt_B is not None:  # a layer at a time: all of them may not fit
                theirs = KeysValues(*(x[prompt_B] for x in theirs))
            return Seen(theirs, mask[0], biases[0]), Seen(see_own(kv, own), mask[1], biases[1])

        return self.run(
            self.embedded(tokens_BxT),
            positions_BxT,
            masks,
            see,
            (prompt_kv, per_layer),
            keep_kv=True,
        )

    def answer_states(
        self, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
    ) -> jax.Array:
        """Returns what the head reads at answers, [B, T, D]; see `families.FamilyModule`."""
        hidden_ExSxD, prompt_kv = self._read(prompts, keep_kv=True)
        last_E = jnp.maximum(prompts.lengths_B - 1, 0)
        first_Ex1xD = jnp.take_along_axis(hidden_ExSxD, last_E[:, None, None], axis=1)
        tokens_BxT = answers.tokens_BxS[:, :-1]
        hidden_BxTxD = first_Ex1xD[prompt_B]
        if tokens_BxT.shape[1]:
            more_BxTxD, _ = self._after_prompts(
                tokens_BxT,
                prompts.lengths_B[prompt_B],
                prompt_kv,
                attention.causal_mask(tokens_BxT.shape[1]),
                lambda kv, _: kv,
                prompt_B=prompt_B,
            )
            hidden_BxTxD = jnp.concatenate([hidden_BxTxD, more_BxTxD], axis=1)
        return hidden_BxTxD

    def decoding_start_tokens(self, prompts: Sequences, framing: Framing) -> jax.Array:
        """Returns the tokens [B] to feed to the first `decode_step`: the last of each prompt."""
        last_Bx1 = jnp.maximum(prompts.lengths_B - 1, 0)[:, None]
        return jnp.take_along_axis(prompts.tokens_BxS, last_Bx1, axis=1)[:, 0]

    def start_decoding(self, prompts: Sequences, *, max_length: int) -> DecoderCache:
        """Reads prompts but for their last tokens, and makes room for `max_length` steps.

        A prefix language model reads the last token with the others, as it was trained to.
        """
        _, prompt_kv = self._read(prompts, keep_kv=True)
        (*outer, _, head_dim), dtype = prompt_kv.keys.shape, prompt_kv.keys.dtype
        room = jnp.zeros((*outer, max_length, head_dim), dtype)
        return DecoderCache(
            step=jnp.zeros((), jnp.int32),
            lengths_B=jnp.maximum(prompts.lengths_B - 1, 0),
            prompt_kv=prompt_kv,
            kv=KeysValues(room, room),
        )

    def decode_step(
        self, cache: DecoderCache, tokens_B: jax.Array
    ) -> tuple[jax.Array, DecoderCache]:
        """Feeds one token a row; returns float32 logits_BxV of the next, and the new cache.

        At most `max_length` steps fit a cache; a further one overwrites its last entry.
        """
        beams = tokens_B.shape[0] // cache.lengths_B.shape[0]
        hidden_Bx1xD, new_kv = self._after_prompts(
            tokens_B[:, None],
            jnp.repeat(cache.lengths_B, beams, total_repeat_length=tokens_B.shape[0]),
            cache.prompt_kv,
            (jnp.arange(cache.kv.keys.shape[3]) <= cache.step)[None, None, None],
            lambda kv, old: old.insert(kv, cache.step),
            cache.kv,
            step=cache.step,
        )
        # The layers only read the cache; all new entries are written in one go afterwards, which
        # XLA does in place inside a loop instead of copying the cache every step.
        kv = cache.kv.insert(new_kv, cache.step, axis=3)
        logits_BxV = self.output_head()(hidden_Bx1xD)[:, 0]
        return logits_BxV, cache._replace(step=cache.step + 1, kv=kv)

    def gather_beams(self, cache: DecoderCache, beams_BxN: jax.Array) -> DecoderCache:
        """Rearranges the rows of each example; see `DecodingModel.gather_beams`."""
        return cache._replace(
            kv=KeysValues(*(decoding.gather_beams(x, beams_BxN, axis=1) for x in cache.kv))
        )
