"""T5 1.0 and 1.1 (Raffel et al., 2020; Shazeer, 2020), mT5, umT5 and ByT5: an encoder-decoder.

    model = T5(T5Config(vocab_size=32128), nnx.Rngs(0))
    logits_BxTxV = model(batch)

Batches are those of `layouts.EncoderDecoder`, under T5X's keys: `encoder_input_tokens` [B, S] and
`decoder_input_tokens` [B, T] (shifted right, each target beginning with the padding token), and
where rows are packed or padded `encoder_segment_ids` and `decoder_segment_ids`, 0 at padding.
Numerics are pinned to transformers' implementation by tests. Shape suffixes are those of
`flan_jax.models.layers`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros
from flan_jax.kinds import Whole, require
from flan_jax.models import attention, decoding, layers
from flan_jax.models.attention import Attention, KeysValues, segment_mask
from flan_jax.models.framing import Framing, Sequences, SpecialTokens
from flan_jax.models.layers import dropout, fold
from flan_jax.models.layouts import EncoderDecoder
from flan_jax.models.sharding import constrain

_STATES = ("batch", "length", "activation_embed")


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes and numerics of a T5.

    Attributes:
        vocab_size: Rows of the embedding table.
        emb_dim: Width of the hidden states.
        num_heads: Attention heads of every layer.
        head_dim: Width of a head; num_heads * head_dim need not equal emb_dim.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        mlp_dim: Hidden width of the feed-forward blocks.
        mlp_activations: ("relu",) for 1.0, ("gelu", "linear") for 1.1; "gelu" is the tanh form.
        logits_via_embedding: Whether the output head is the embedding table (1.0), on hidden
            states scaled by emb_dim**-0.5, rather than a kernel of its own (1.1).
        dropout_rate: Used where a call is given a dropout key.
        relative_attention_num_buckets: Rows of a relative position table.
        relative_attention_max_distance: Distance from which on all share the last bucket.
        relative_attention_per_layer: Whether each layer has a relative position table of its own
            (umT5) rather than one that all layers of its stack share.
        layer_norm_epsilon: Added to the mean square.
        dtype: Dtype of the computation, "bfloat16" on accelerators. Softmax, norm statistics and
            logits are float32 in any case.
        param_dtype: Dtype of the parameters.
        remat: Name in `layers.REMAT`: what training computes again to save memory.
        attention_chunk: Queries whose attention scores are held at once; None holds all.
    """

    vocab_size: int
    emb_dim: int = 512
    num_heads: int = 6
    head_dim: int = 64
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp_dim: int = 1024
    mlp_activations: tuple[str, ...] = ("gelu", "linear")
    logits_via_embedding: bool = False
    dropout_rate: float = 0.0
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    # Checkpoints of before umT5 do not state it.
    relative_attention_per_layer: bool = dataclasses.field(
        default=False, metadata={"unstated": True}
    )
    layer_norm_epsilon: float = 1e-6
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: str = "none"
    attention_chunk: int | None = None

    numerics: ClassVar[tuple[str, ...]] = ("dtype", "dropout_rate", "remat", "attention_chunk")
    row_layout: ClassVar[type[EncoderDecoder]] = EncoderDecoder
    prompt_parameters: ClassVar[str] = r"(?!decoder/|head/).*"

    def __post_init__(self):
        macros.check(
            VOCAB_SIZE=self.vocab_size,
            EMB_DIM=self.emb_dim,
            NUM_HEADS=self.num_heads,
            HEAD_DIM=self.head_dim,
            NUM_ENCODER_LAYERS=self.num_encoder_layers,
            NUM_DECODER_LAYERS=self.num_decoder_layers,
            MLP_DIM=self.mlp_dim,
            MLP_ACTIVATIONS=self.mlp_activations,
            LOGITS_VIA_EMBEDDING=self.logits_via_embedding,
            RELATIVE_ATTENTION_PER_LAYER=self.relative_attention_per_layer,
            DROPOUT_RATE=self.dropout_rate,
            COMPUTE_DTYPE=self.dtype,
            REMAT=self.remat,
            ATTENTION_CHUNK=self.attention_chunk,
        )
        # A list (from JSON) would make the config unhashable, and so unfit as a static argument.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        layers.check_activations(self.mlp_activations)
        buckets, distance = "relative_attention_num_buckets", "relative_attention_max_distance"
        # Of each direction of the encoder there is one bucket of one distance, and one of more.
        require(buckets, self.relative_attention_num_buckets, Whole(4, macros.SIZE.most))
        least = self.relative_attention_num_buckets // 2 + 1
        require(distance, self.relative_attention_max_distance, Whole(least, macros.SIZE.most))

    def build(self, rngs: nnx.Rngs) -> "T5":
        """Returns a T5 of this configuration with fresh parameters."""
        return T5(self, rngs)

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns T5's: its decoder begins with the padding token."""
        return Framing(pad_id=special.pad_id, eos_id=special.eos_id, start_id=special.pad_id)

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row.

        Products alone, two operations a multiply-add, over all positions and whole attention
        squares, as MFU is counted (Chowdhery et al., 2022, appendix B); a training step is three
        forward passes.
        """
        s, t, d, v = inputs_length, targets_length, self.emb_dim, self.vocab_size
        inner = self.num_heads * self.head_dim
        mlp = (len(self.mlp_activations) + 1) * d * self.mlp_dim
        encoder = s * (4 * d * inner + mlp) + 2 * s * s * inner
        decoder = t * (6 * d * inner + mlp) + 2 * s * d * inner + 2 * t * (t + s) * inner
        layers = self.num_encoder_layers * encoder + self.num_decoder_layers * decoder
        return 2.0 * (layers + t * d * v)


def _dtypes(config: T5Config) -> dict[str, Any]:
    return dict(dtype=jnp.dtype(config.dtype), param_dtype=jnp.dtype(config.param_dtype))


def _norm(config: T5Config) -> layers.RMSNorm:
    return layers.RMSNorm(config.emb_dim, epsilon=config.layer_norm_epsilon, **_dtypes(config))


def _attention(config: T5Config, rngs: nnx.Rngs) -> Attention:
    # T5 does not divide scores by sqrt(head_dim); the query kernel starts smaller by that instead.
    return Attention(
        config.emb_dim,
        config.num_heads,
        config.head_dim,
        dropout_rate=config.dropout_rate,
        query_init=nnx.initializers.normal((config.emb_dim * config.head_dim) ** -0.5),
        chunk=config.attention_chunk,
        rngs=rngs,
        **_dtypes(config),
    )


def _mlp(config: T5Config, rngs: nnx.Rngs) -> layers.MLP:
    return layers.MLP(
        config.emb_dim,
        config.mlp_dim,
        activations=config.mlp_activations,
        dropout_rate=config.dropout_rate,
        rngs=rngs,
        **_dtypes(config),
    )


def _position_bias(
    config: T5Config, rngs: nnx.Rngs, *, bidirectional: bool, of_layer: bool
) -> layers.RelativePositionBias | None:
    """The table of a layer or of a stack, whichever of them has one."""
    if of_layer != config.relative_attention_per_layer:
        return None
    return layers.RelativePositionBias(
        num_buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
        num_heads=config.num_heads,
        bidirectional=bidirectional,
        param_dtype=jnp.dtype(config.param_dtype),
        rngs=rngs,
    )


def _biases(
    shared: layers.RelativePositionBias | None, query_positions_T: Any, key_positions_S: jax.Array
) -> Callable[[Any], jax.Array]:
    """Returns what gives a layer its bias_1xHxTxS: of the table that all share, or of its own."""
    if shared is None:
        return lambda layer: layer.relative_position_bias(query_positions_T, key_positions_S)
    bias_1xHxTxS = shared(query_positions_T, key_positions_S)
    return lambda layer: bias_1xHxTxS


class EncoderLayer(nnx.Module):
    """Self attention and feed-forward, each on normed input and added to its input."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.attention_norm = _norm(config)
        self.attention = _attention(config, rngs)
        self.mlp_norm = _norm(config)
        self.mlp = _mlp(config, rngs)
        self.relative_position_bias = _position_bias(
            config, rngs, bidirectional=True, of_layer=True
        )

    def __call__(
        self, x_BxSxD: jax.Array, *, mask: jax.Array, bias: jax.Array, dropout_key: jax.Array | None
    ) -> jax.Array:
        """Returns the layer's hidden states [B, S, D]."""
        key, rate = dropout_key, self.dropout_rate
        normed = self.attention_norm(x_BxSxD)
        kv = self.attention.keys_values(normed)
        y = self.attention(normed, kv, mask=mask, bias=bias, dropout_key=fold(key, 0))
        x_BxSxD += dropout(y, rate, fold(key, 1))
        y = self.mlp(self.mlp_norm(x_BxSxD), dropout_key=fold(key, 2))
        return x_BxSxD + dropout(y, rate, fold(key, 3))


class DecoderLayer(nnx.Module):
    """Self attention, cross attention and feed-forward."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.self_attention_norm = _norm(config)
        self.self_attention = _attention(config, rngs)
        self.cross_attention_norm = _norm(config)
        self.cross_attention = _attention(config, rngs)
        self.mlp_norm = _norm(config)
        self.mlp = _mlp(config, rngs)
        self.relative_position_bias = _position_bias(
            config, rngs, bidirectional=False, of_layer=True
        )

    def __call__(
        self,
        x_BxTxD: jax.Array,
        cross_kv: KeysValues,
        *,
        self_mask: jax.Array,
        self_bias: jax.Array,
        cross_mask: jax.Array,
        cached: tuple[KeysValues, jax.Array] | None = None,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Runs the layer.

        Args:
            x_BxTxD: Hidden states.
            cross_kv: `self.cross_attention.keys_values` of the encoder's output, [B, H, S, K]; x
                may have several rows (beams, T = 1) for each of these.
            self_mask: Of self attention, boolean, broadcastable to [B, H, T, keys].
            self_bias: Of self attention, broadcastable to [B, H, T, keys].
            cross_mask: Boolean, broadcastable to [B, H, T, S].
            cached: Earlier keys and values [B, H, max_length, K], and the position at which x_BxTxD
                stands among them; None attends within x_BxTxD alone.
            dropout_key: Random key; None drops nothing.

        Returns:
            Hidden states [B, T, D], and the keys and values of x_BxTxD alone [B, H, T, K].
        """
        key, rate = dropout_key, self.dropout_rate
        normed = self.self_attention_norm(x_BxTxD)
        new_kv = self.self_attention.keys_values(normed)
        kv = new_kv if cached is None else cached[0].insert(new_kv, cached[1])
        y = self.self_attention(
            normed, kv, mask=self_mask, bias=self_bias, dropout_key=fold(key, 0)
        )
        x_BxTxD += dropout(y, rate, fold(key, 1))
        # Beams, rows of their own in self attention, are here positions of one row: they look at
        # the same input, whose keys and values are then held and read once for all of them.
        normed = self.cross_attention_norm(x_BxTxD)
        normed = normed.reshape(cross_kv.keys.shape[0], -1, normed.shape[-1])
        y = self.cross_attention(normed, cross_kv, mask=cross_mask, dropout_key=fold(key, 2))
        x_BxTxD += dropout(y.reshape(x_BxTxD.shape), rate, fold(key, 3))
        y = self.mlp(self.mlp_norm(x_BxTxD), dropout_key=fold(key, 4))
        return x_BxTxD + dropout(y, rate, fold(key, 5)), new_kv


class EncoderStack(nnx.Module):
    """Stack of encoder layers over embedded tokens."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.remat = config.remat
        self.layers = layers.stack_layers(
            lambda layer_rngs: EncoderLayer(config, layer_rngs), config.num_encoder_layers, rngs
        )
        self.relative_position_bias = _position_bias(
            config, rngs, bidirectional=True, of_layer=False
        )
        self.norm = _norm(config)

    def __call__(
        self, x_BxSxD: jax.Array, *, mask: jax.Array, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns encoded_BxSxD for embedded tokens under mask [B, 1, S, S]."""
        positions_S = jnp.arange(x_BxSxD.shape[1])
        bias_of = _biases(self.relative_position_bias, positions_S, positions_S)
        mask = attention.additive(mask)
        layers_key = fold(dropout_key, 2)

        def body(layer: EncoderLayer, index: jax.Array, x: jax.Array, _: None):
            key = fold(layers_key, index)
            x = layer(x, mask=mask, bias=bias_of(layer), dropout_key=key)
            return constrain(x, *_STATES), None

        x_BxSxD = dropout(x_BxSxD, self.dropout_rate, fold(dropout_key, 0))
        x_BxSxD = constrain(x_BxSxD, *_STATES)
        x_BxSxD, _ = layers.scan_layers(body, self.layers, x_BxSxD, remat=self.remat)
        return dropout(self.norm(x_BxSxD), self.dropout_rate, fold(dropout_key, 1))


class DecoderStack(nnx.Module):
    """Stack of decoder layers over embedded tokens, whole or one position at a time."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.dropout_rate = config.dropout_rate
        self.remat = config.remat
        self.layers = layers.stack_layers(
            lambda layer_rngs: DecoderLayer(config, layer_rngs), config.num_decoder_layers, rngs
        )
        self.relative_position_bias = _position_bias(
            config, rngs, bidirectional=False, of_layer=False
        )
        self.norm = _norm(config)

    def __call__(
        self,
        x_BxTxD: jax.Array,
        encoded_BxSxD: jax.Array,
        *,
        self_mask: jax.Array,
        cross_mask: jax.Array,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns hidden states [B, T, D] for masks [B, 1, T, T] and [B, 1, T, S]."""
        positions_T = jnp.arange(x_BxTxD.shape[1])
        bias_of = _biases(self.relative_position_bias, positions_T, positions_T)
        masks = dict(
            self_mask=attention.additive(self_mask), cross_mask=attention.additive(cross_mask)
        )
        layers_key = fold(dropout_key, 2)

        def body(layer: DecoderLayer, index: jax.Array, x: jax.Array, _: None):
            cross_kv = layer.cross_attention.keys_values(encoded_BxSxD)
            key = fold(layers_key, index)
            x = layer(x, cross_kv, self_bias=bias_of(layer), dropout_key=key, **masks)[0]
            return constrain(x, *_STATES), None

        x_BxTxD = dropout(x_BxTxD, self.dropout_rate, fold(dropout_key, 0))
        x_BxTxD = constrain(x_BxTxD, *_STATES)
        x_BxTxD, _ = layers.scan_layers(body, self.layers, x_BxTxD, remat=self.remat)
        return dropout(self.norm(x_BxTxD), self.dropout_rate, fold(dropout_key, 1))

    def cross_keys_values(self, encoded_BxSxD: jax.Array) -> KeysValues:
        """Projects the encoder's output for every layer: [L, B, H, S, K]."""

        def body(layer: DecoderLayer, index: jax.Array, carry: None, _: None):
            return carry, layer.cross_attention.keys_values(encoded_BxSxD)

        return layers.scan_layers(body, self.layers, None)[1]

    def step(self, x_Bx1xD: jax.Array, cache: "T5Cache") -> tuple[jax.Array, "T5Cache"]:
        """Runs one position; returns its hidden states [B, 1, D] and the cache with it inserted."""
        key_positions = jnp.arange(cache.self_kv.keys.shape[3])
        bias_of = _biases(self.relative_position_bias, cache.position[None], key_positions)
        mask_1x1x1xM = (key_positions <= cache.position)[None, None, None]
        masks = dict(self_mask=mask_1x1x1xM, cross_mask=cache.encoder_mask_Bx1x1xS)

        def body(layer: DecoderLayer, index: jax.Array, x: jax.Array, layer_cache: Any):
            self_kv, cross_kv = layer_cache
            cached = (self_kv, cache.position)
            return layer(x, cross_kv, self_bias=bias_of(layer), cached=cached, **masks)

        per_layer = (cache.self_kv, cache.cross_kv)
        x_Bx1xD, new_kv = layers.scan_layers(body, self.layers, x_Bx1xD, per_layer)
        # The scan only reads the cache; all layers' new entries are written in one go afterwards,
        # which XLA does in place inside a loop instead of copying the cache every step.
        self_kv = cache.self_kv.insert(new_kv, cache.position, axis=3)
        return self.norm(x_Bx1xD), cache._replace(position=cache.position + 1, self_kv=self_kv)


class T5Cache(NamedTuple):
    """State of decoding a batch; a tree of arrays, fit for `lax.while_loop`.

    Attributes:
        position: int32 [], tokens fed so far.
        self_kv: Keys and values of the fed tokens, [L, B, H, max_length, K]; in beam search B
            times the number of beams.
        cross_kv: Keys and values of the encoder's output, [L, B, H, S, K].
        encoder_mask_Bx1x1xS: True at input tokens.
    """

    position: jax.Array
    self_kv: KeysValues
    cross_kv: KeysValues
    encoder_mask_Bx1x1xS: jax.Array


class T5(nnx.Module):
    """T5 encoder-decoder; see the module docstring for the batch."""

    def __init__(self, config: T5Config, rngs: nnx.Rngs):
        self.config = config
        dtypes = _dtypes(config)
        self.embed = layers.Embed(config.vocab_size, config.emb_dim, rngs=rngs, **dtypes)
        self.encoder = EncoderStack(config, rngs)
        self.decoder = DecoderStack(config, rngs)
        if not config.logits_via_embedding:
            self.head = layers.Linear(
                config.emb_dim, config.vocab_size, axes=("embed", "vocab"), rngs=rngs, **dtypes
            )

    def __call__(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns logits_BxTxV in float32; without a dropout key the call is deterministic."""
        return self.output_head()(self.hidden_states(batch, dropout_key=dropout_key))

    def hidden_states(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what the output head reads, [B, T, D] in the compute dtype."""
        encoded_BxSxD = self.encode(
            batch["encoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            dropout_key=fold(dropout_key, 0),
        )
        return self._decoded(encoded_BxSxD, batch, dropout_key=fold(dropout_key, 1))

    def output_head(self) -> nnx.Module:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V].

        Apart from the rest, so that a loss need not hold the logits of all positions at once.
        """
        if self.config.logits_via_embedding:
            return layers.TiedHead(self.embed, self.config.emb_dim**-0.5)
        return layers.OutputHead(self.head)

    def encode(
        self,
        encoder_input_tokens_BxS: jax.Array,
        encoder_segment_ids_BxS: jax.Array | None = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns encoded_BxSxD in the compute dtype; values at padding are meaningless."""
        segments_BxS = attention.row_segments(encoder_input_tokens_BxS, encoder_segment_ids_BxS)
        return self.encoder(
            self.embed(encoder_input_tokens_BxS),
            mask=segment_mask(segments_BxS, segments_BxS),
            dropout_key=dropout_key,
        )

    def decode(
        self,
        encoded_BxSxD: jax.Array,
        batch: Mapping[str, jax.Array],
        *,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns logits_BxTxV in float32 for encoder output of the same batch.

        Apart from `encode` so that one encoding serves several targets, as ranking options needs.
        """
        return self.output_head()(self._decoded(encoded_BxSxD, batch, dropout_key=dropout_key))

    def _decoded(
        self, encoded_BxSxD: jax.Array, batch: Mapping[str, jax.Array], dropout_key: Any
    ) -> jax.Array:
        encoder_segments_BxS, segments_BxT = attention.batch_segments(batch)
        tokens_BxT = batch["decoder_input_tokens"]
        causal_1x1xTxT = attention.causal_mask(tokens_BxT.shape[1])
        return self.decoder(
            self.embed(tokens_BxT),
            encoded_BxSxD,
            self_mask=segment_mask(segments_BxT, segments_BxT) & causal_1x1xTxT,
            cross_mask=segment_mask(segments_BxT, encoder_segments_BxS),
            dropout_key=dropout_key,
        )

    def prompt_states(self, prompts: Sequences) -> jax.Array:
        """Returns the encoder's output [B, S, D]; values at padding are meaningless."""
        return self.encode(prompts.tokens_BxS, prompts.real_BxS.astype(jnp.int32))

    def answer_states(
        self, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
    ) -> jax.Array:
        """Returns what the head reads at answers, [B, T, D]; see `families.FamilyModule`."""
        encoded_BxSxD = self.prompt_states(prompts)[prompt_B]
        start_Bx1 = jnp.full_like(answers.tokens_BxS[:, :1], framing.start_id)
        batch = {
            "encoder_input_tokens": prompts.tokens_BxS[prompt_B],
            "encoder_segment_ids": prompts.real_BxS[prompt_B].astype(jnp.int32),
            "decoder_input_tokens": jnp.concatenate(
                [start_Bx1, answers.tokens_BxS[:, :-1]], axis=1
            ),
            # Padding comes last, and no earlier position sees it.
            "decoder_segment_ids": jnp.ones_like(answers.tokens_BxS),
        }
        return self._decoded(encoded_BxSxD, batch, dropout_key=None)

    def decoding_start_tokens(self, prompts: Sequences, framing: Framing) -> jax.Array:
        """Returns the tokens [B] to feed to the first `decode_step`: the start token."""
        return jnp.full(prompts.lengths_B.shape, framing.start_id, jnp.int32)

    def start_decoding(self, prompts: Sequences, *, max_length: int) -> T5Cache:
        """Encodes prompts and makes room for `max_length` decoding steps."""
        encoded_BxSxD = self.prompt_states(prompts)
        cross_kv = self.decoder.cross_keys_values(encoded_BxSxD)
        (*outer, _, head_dim), dtype = cross_kv.keys.shape, cross_kv.keys.dtype
        shape = (*outer, max_length, head_dim)
        return T5Cache(
            position=jnp.zeros((), jnp.int32),
            self_kv=KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)),
            cross_kv=cross_kv,
            encoder_mask_Bx1x1xS=prompts.real_BxS[:, None, None],
        )

    def decode_step(self, cache: T5Cache, tokens_B: jax.Array) -> tuple[jax.Array, T5Cache]:
        """Feeds one token a row; returns float32 logits_BxV of the next, and the new cache.

        At most `max_length` steps fit a cache; a further one overwrites its last entry.
        """
        hidden_Bx1xD, cache = self.decoder.step(self.embed(tokens_B[:, None]), cache)
        return self.output_head()(hidden_Bx1xD)[:, 0], cache

    def gather_beams(self, cache: T5Cache, beams_BxN: jax.Array) -> T5Cache:
        """Rearranges the rows of each example; see `DecodingModel.gather_beams`."""
        self_kv = KeysValues(*(decoding.gather_beams(x, beams_BxN, axis=1) for x in cache.self_kv))
        return cache._replace(self_kv=self_kv)
