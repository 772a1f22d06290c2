"""T5, mT5, ByT5 and umT5 as T5X keeps them: a layer at a time, or scanned.

T5X has two networks (Roberts et al., 2022, section 2.2): t5x/examples/t5, whose layers share one
table of relative positions, and t5x/examples/scalable_t5, each of whose layers has its own, as in
umT5, and whose layers may be scanned: one array for all of them, with the layers along axis 1.
Kernels of attention are matrices in the first; in the second heads have an axis of their own.
"""

import re
from collections.abc import Iterator

from flan_jax.errors import CheckpointError, border, did_you_mean
from flan_jax.interop.tables import LAYER, Entry, Shapes, Table, TensorFiles
from flan_jax.models.t5 import T5Config

# Ours on the left.
_SUBLAYERS = {
    "encoder": {
        "attention": "attention",
        "attention_norm": "pre_attention_layer_norm",
        "mlp": "mlp",
        "mlp_norm": "pre_mlp_layer_norm",
    },
    "decoder": {
        "self_attention": "self_attention",
        "self_attention_norm": "pre_self_attention_layer_norm",
        "cross_attention": "encoder_decoder_attention",
        "cross_attention_norm": "pre_cross_attention_layer_norm",
        "mlp": "mlp",
        "mlp_norm": "pre_mlp_layer_norm",
    },
}
PROJECTIONS = ("query", "key", "value", "out")
PREFIX = "target/"
_EMBEDDING, _HEAD = "target/token_embedder/embedding", "target/decoder/logits_dense/kernel"
_BIAS = "relpos_bias/rel_embedding"
SCAN_AXIS = 1


def table(config: T5Config, *, scanned: bool = False) -> Table:
    """Returns the table of its arrays.

    Args:
        config: of the model.
        scanned: whether layers are kept as one array rather than one each.
    """
    entries = [Entry("embed/embedding", _EMBEDDING)]
    if not config.logits_via_embedding:
        entries.append(Entry("head/kernel", _HEAD))
    for stack in _SUBLAYERS:
        entries += _stack(stack, config, scanned)
    return Table(tuple(entries))


def _stack(stack: str, config: T5Config, scanned: bool) -> Iterator[Entry]:
    """The parameters of the encoder or the decoder."""
    axis = SCAN_AXIS if scanned else None
    layers = f"target/{stack}/{stack if scanned else f'layers_{LAYER}'}"
    yield Entry(f"{stack}/norm/scale", f"target/{stack}/{stack}_norm/scale")
    # Theirs has a row a head, ours one a bucket.
    if config.relative_attention_per_layer:
        yield Entry(
            f"{stack}/layers/relative_position_bias/embedding",
            f"{layers}/{_BIAS}",
            transposed=True,
            layer_axis=axis,
        )
    else:
        ours = f"{stack}/relative_position_bias/embedding"
        yield Entry(ours, f"target/{stack}/{_BIAS}", transposed=True)
    for ours, theirs in layer_names(_SUBLAYERS[stack], len(config.mlp_activations)):
        split = _heads(theirs, config) if config.relative_attention_per_layer else None
        yield Entry(f"{stack}/layers/{ours}", f"{layers}/{theirs}", layer_axis=axis, split=split)


def _heads(theirs: str, config: T5Config) -> tuple[int, int] | None:
    """The axis of a kernel of attention that is heads, and their width."""
    if "attention/" not in theirs:
        return None
    return (0 if theirs.endswith("out/kernel") else 1), config.head_dim


def layer_names(sublayers: dict[str, str], num_wi: int) -> Iterator[tuple[str, str]]:
    """Pairs of our name and theirs for each parameter of one layer but the position bias."""
    for ours, theirs in sublayers.items():
        if ours.endswith("norm"):
            yield f"{ours}/scale", f"{theirs}/scale"
        elif ours.endswith("attention"):
            for one in PROJECTIONS:
                yield f"{ours}/{one}/kernel", f"{theirs}/{one}/kernel"
        else:
            yield f"{ours}/wo/kernel", f"{theirs}/wo/kernel"
            for i in range(num_wi):
                one = "wi" if num_wi == 1 else f"wi_{i}"
                yield f"{ours}/wi_{i}/kernel", f"{theirs}/{one}/kernel"


def is_scanned(shapes: Shapes) -> bool:
    """Whether the layers of a checkpoint are kept as one array, by its names."""
    return any(name.startswith("target/encoder/encoder/") for name in shapes)


def config_of(files: TensorFiles) -> T5Config:
    """Returns the configuration that the arrays of a checkpoint are of.

    A checkpoint does not say its model. What arrays do not show is as in T5X's own models: one
    activation is ReLU (T5 1.0), two are the gated GELU (1.1), and the largest distance of relative
    positions is 128.

    Raises:
        CheckpointError: they are of no T5; names the first array that is missing or misshapen.
    """
    shapes = files.shapes
    scanned = is_scanned(shapes)
    own = _first("encoder", scanned, _BIAS) in shapes
    bias = _first("encoder", scanned, _BIAS) if own else f"{PREFIX}encoder/{_BIAS}"
    wi = "wi" if _first("encoder", scanned, "mlp/wi/kernel") in shapes else "wi_0"

    vocab_size, emb_dim = sizes(files, _EMBEDDING, 2)
    heads, *_, buckets = sizes(files, bias, 2 + (own and scanned))
    query = _first("encoder", scanned, "attention/query/kernel")
    *_, width = sizes(files, query, 2 + own + scanned)
    *_, mlp_dim = sizes(files, _first("encoder", scanned, f"mlp/{wi}/kernel"), 2 + scanned)
    if not own and width % heads:
        raise CheckpointError(
            f"{files.name}: {query} is {width} wide, not a multiple of the {heads} heads of {bias}"
        )
    with border(files.name, CheckpointError):
        return T5Config(
            vocab_size=vocab_size,
            emb_dim=emb_dim,
            num_heads=heads,
            head_dim=width if own else width // heads,
            num_encoder_layers=_layers(files, "encoder", scanned),
            num_decoder_layers=_layers(files, "decoder", scanned),
            mlp_dim=mlp_dim,
            mlp_activations=("relu",) if wi == "wi" else ("gelu", "linear"),
            logits_via_embedding=_HEAD not in shapes,
            relative_attention_num_buckets=buckets,
            relative_attention_per_layer=own,
        )


def _layers(files: TensorFiles, stack: str, scanned: bool) -> int:
    if not scanned:
        return count_layers(files.shapes, stack)
    return sizes(files, _first(stack, scanned, "pre_mlp_layer_norm/scale"), 2)[SCAN_AXIS]


def _first(stack: str, scanned: bool, name: str) -> str:
    """The array of the first layer, or of all."""
    return f"target/{stack}/{stack if scanned else 'layers_0'}/{name}"


def sizes(files: TensorFiles, name: str, axes: int) -> tuple[int, ...]:
    """Returns the shape of an array that has to be there.

    Raises:
        CheckpointError: it is not, or has another number of axes.
    """
    if name not in files.shapes:
        near = did_you_mean(name, files.shapes)
        raise CheckpointError(
            f"{files.name} is of no T5X model known here: there is no {name}{near}"
        )
    shape = tuple(files.shapes[name])
    if len(shape) != axes or 0 in shape:
        raise CheckpointError(f"{files.name}: {name} has shape {shape}, and needs {axes} axes")
    return shape


def count_layers(shapes: Shapes, stack: str) -> int:
    """Returns how many layers a stack has by the names of its arrays."""
    name = re.compile(rf"target/{stack}/layers_(\d{{1,6}})/")
    numbers = {int(found[1]) for one in shapes if (found := name.match(one))}
    # Where one between them is missing, the table says which.
    return min(max(numbers, default=0) + 1, len(shapes))
