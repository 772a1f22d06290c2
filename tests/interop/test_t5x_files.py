"""Checkpoints of T5X: those that the test writes as T5X does, and, where it is there, T5X's own."""

import json
import os
import pathlib
import shutil

import jax
import msgpack
import numpy as np
import optax
import pytest
import t5x_batch as oracle
import tensorstore
from flax import serialization, traverse_util
from t5x_processes import needs_t5x, run_python

from flan_jax import registry
from flan_jax.errors import CheckpointError, ConfigError, OutputError
from flan_jax.interop import convert, t5x, t5x_export, t5x_files, t5x_optimizer, tables
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.families import Model
from flan_jax.models.t5 import T5Config
from flan_jax.training.optimizers import Optimizer
from flan_jax.training.schedules import Schedule

V, D, H, K, M, BUCKETS = 48, 16, 2, 4, 24, 32
LAYERS = {"encoder": 2, "decoder": 3}
ATTENTIONS = {
    "encoder": {"attention": "pre_attention_layer_norm"},
    "decoder": {
        "self_attention": "pre_self_attention_layer_norm",
        "encoder_decoder_attention": "pre_cross_attention_layer_norm",
    },
}


def layer_shapes(stack, gated):
    """Shapes of a layer of T5X's T5, by name."""
    found = {"pre_mlp_layer_norm/scale": (D,), "mlp/wo/kernel": (M, D)}
    found |= {f"mlp/{wi}/kernel": (D, M) for wi in (("wi_0", "wi_1") if gated else ("wi",))}
    for attention, norm in ATTENTIONS[stack].items():
        found[f"{norm}/scale"] = (D,)
        found[f"{attention}/out/kernel"] = (H * K, D)
        found |= {f"{attention}/{one}/kernel": (D, H * K) for one in ("query", "key", "value")}
    return found


def unrolled_shapes(gated=True, tied=False):
    found = {"token_embedder/embedding": (V, D)}
    found |= {} if tied else {"decoder/logits_dense/kernel": (D, V)}
    for stack, count in LAYERS.items():
        found[f"{stack}/{stack}_norm/scale"] = (D,)
        found[f"{stack}/relpos_bias/rel_embedding"] = (H, BUCKETS)
        for i in range(count):
            layer = layer_shapes(stack, gated)
            found |= {f"{stack}/layers_{i}/{name}": shape for name, shape in layer.items()}
    return found


def with_heads(name, shape):
    """In scanned networks heads have an axis of their own."""
    if "attention/" not in name:
        return shape
    return (H, K, D) if name.endswith("out/kernel") else (D, H, K)


def scanned_shapes():
    found = {"token_embedder/embedding": (V, D), "decoder/logits_dense/kernel": (D, V)}
    for stack, count in LAYERS.items():
        found[f"{stack}/{stack}_norm/scale"] = (D,)
        layer = layer_shapes(stack, gated=True) | {"relpos_bias/rel_embedding": (H, BUCKETS)}
        for name, shape in layer.items():
            first, *rest = with_heads(name, shape)
            found[f"{stack}/{stack}/{name}"] = (first, count, *rest)
    return found


def values(shapes, dtype="float32"):
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def spec_of(name, value, rows=None):
    """As T5X has it in the list of a checkpoint, relative to the folder."""
    chunks = [min(rows or value.shape[0], value.shape[0]), *value.shape[1:]]
    return {
        "driver": "zarr",
        "dtype": value.dtype.name,
        "kvstore": {"driver": "file", "path": f"target.{name.replace('/', '.')}/"},
        "metadata": {"compressor": {"id": "gzip"}, "shape": list(value.shape), "chunks": chunks},
    }


def write(folder, arrays, step=7, listed=(), rows=None):
    """Writes a native checkpoint of T5X; arrays named in `listed` go into its list."""
    made = folder / f"checkpoint_{step}"
    made.mkdir(parents=True)
    leaves = {}
    for name, value in arrays.items():
        if name in listed:
            leaves[name] = value
            continue
        spec = spec_of(name, value, rows)
        leaves[name] = tensorstore.Spec(spec).to_json()
        spec["kvstore"]["path"] = f"{made}/{spec['kvstore']['path']}"
        tensorstore.open(spec, create=True).result().write(value).result()
    pack(made, leaves, step)
    return made


def pack(made, leaves, step=7, **more):
    target = traverse_util.unflatten_dict(leaves, sep="/")
    state = {"step": np.int32(step)}
    optimizer = {"target": target, "state": state}
    content = serialization.msgpack_serialize({"version": 3, "optimizer": optimizer, **more})
    (made / "checkpoint").write_bytes(content)


def loaded(path, config=None):
    """Our configuration and parameters of a checkpoint."""
    files = t5x_files.open_folder(path)
    config = config or t5x.config_of(files)
    table, shapes = t5x.table(config, files.shapes), Model(config).shapes
    tables.check(table, files, shapes)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
        for name, leaf in shapes.items()
    }
    return config, tables.load(table, files, target)


def export(config, params, folder, step=0, optimizer=None):
    read = lambda name: np.asarray(params[name])  # noqa: E731
    shapes = Model(config).shapes
    return t5x_export.export_t5x(t5x.table(config), shapes, read, folder, step, optimizer)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound checkpoint of T5 1.1, the embedding in chunks of 16 rows."""
    return write(tmp_path_factory.mktemp("sound"), values(unrolled_shapes()), rows=16)


@pytest.fixture
def damaged(sound, tmp_path):
    """A copy to do harm to."""
    return pathlib.Path(shutil.copytree(sound, tmp_path / "checkpoint_7"))


@pytest.mark.parametrize("listed", [False, True], ids=["folders", "listed"])
def test_unrolled_checkpoints_are_read_by_name(tmp_path, listed):
    arrays = values(unrolled_shapes(gated=False, tied=True))
    config, ours = loaded(write(tmp_path, arrays, listed=list(arrays)[::2] if listed else ()))
    assert config == T5Config(
        V, D, H, K, LAYERS["encoder"], LAYERS["decoder"], M, ("relu",), logits_via_embedding=True
    )
    for name, theirs in {
        "embed/embedding": arrays["token_embedder/embedding"],
        "encoder/relative_position_bias/embedding": arrays["encoder/relpos_bias/rel_embedding"].T,
        "decoder/norm/scale": arrays["decoder/decoder_norm/scale"],
    }.items():
        np.testing.assert_array_equal(ours[name], theirs)
    for ours_name, theirs_name in {
        "encoder/layers/mlp/wi_0/kernel": "encoder/layers_{}/mlp/wi/kernel",
        "decoder/layers/cross_attention/out/kernel": (
            "decoder/layers_{}/encoder_decoder_attention/out/kernel"
        ),
        "decoder/layers/cross_attention_norm/scale": (
            "decoder/layers_{}/pre_cross_attention_layer_norm/scale"
        ),
    }.items():
        for i, layer in enumerate(ours[ours_name]):
            np.testing.assert_array_equal(layer, arrays[theirs_name.format(i)])


def test_scanned_checkpoints_have_layers_along_their_second_axis(tmp_path):
    arrays = values(scanned_shapes(), "bfloat16")
    path = write(tmp_path, arrays)
    assert t5x_files.open_folder(tmp_path).step == 7
    config, ours = loaded(path)
    assert config.relative_attention_per_layer and not config.logits_via_embedding
    assert (config.num_encoder_layers, config.num_decoder_layers) == (2, 3)
    kernel = arrays["decoder/decoder/self_attention/query/kernel"]
    bias = arrays["encoder/encoder/relpos_bias/rel_embedding"]
    query = ours["decoder/layers/self_attention/query/kernel"]
    for i in range(3):
        theirs = kernel[:, i].reshape(D, H * K).astype(np.float32)
        np.testing.assert_array_equal(query[i], theirs)
    for i in range(2):
        own = ours["encoder/layers/relative_position_bias/embedding"][i]
        np.testing.assert_array_equal(own, bias[:, i].T.astype(np.float32))
    # A piece that begins and ends within a head, as devices may hold it.
    files = t5x_files.open_folder(path)
    (entry,) = (e for e in t5x.table(config, files.shapes).entries if e.theirs.endswith(QUERIES))
    piece = (slice(1, 3), slice(2, 5), slice(3, 6))
    np.testing.assert_array_equal(entry.read(files, query.shape, piece), query[piece])


def test_what_is_exported_is_what_was_imported(sound, tmp_path):
    config, params = loaded(sound)
    made = export(config, params, tmp_path, step=7)
    assert made.name == "checkpoint_7"
    first, second = t5x_files.open_folder(sound), t5x_files.open_folder(made)
    assert second.step == 7 and dict(first.shapes) == dict(second.shapes)
    for name, shape in first.shapes.items():
        whole = tuple(slice(0, size) for size in shape)
        assert first.read(name, whole).tobytes() == second.read(name, whole).tobytes()
    _, again = loaded(made)
    assert {n: np.asarray(v).tobytes() for n, v in again.items()} == {
        n: np.asarray(v).tobytes() for n, v in params.items()
    }
    with pytest.raises(OutputError, match="checkpoint_7: it is there already"):
        export(config, params, tmp_path, step=7)


def test_an_export_that_fails_leaves_nothing(sound, tmp_path):
    config, params = loaded(sound)
    del params["decoder/norm/scale"]
    with pytest.raises(KeyError):
        export(config, params, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_slice_is_read(damaged):
    embedding = damaged / "target.token_embedder.embedding"
    (embedding / "1.0").write_bytes(b"no gzip")
    files = t5x_files.open_folder(damaged)
    name = "target/token_embedder/embedding"
    assert files.read(name, (slice(3, 9), slice(2, 4))).shape == (6, 2)
    with pytest.raises(CheckpointError, match="target/token_embedder/embedding"):
        files.read(name, (slice(15, 17), slice(0, D)))


QUERIES = "decoder/decoder/self_attention/query/kernel"
QUERY = "target.encoder.layers_1.attention.query.kernel"


def described(folder, **changes):
    path = folder / QUERY / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def relisted(folder, change):
    path = folder / "checkpoint"
    tree = serialization.msgpack_restore(path.read_bytes())
    layer = tree["optimizer"]["target"]["encoder"]["layers_1"]
    change(tree, layer["attention"]["query"])
    path.write_bytes(serialization.msgpack_serialize(tree))


def elsewhere(folder):
    """A folder with a sound array of other values, beside the checkpoint."""
    other = folder.parent / "secret"
    shutil.copytree(folder / QUERY, other)
    return other


def linked_folder(folder):
    shutil.move(folder / QUERY, folder.parent / "secret")
    (folder / QUERY).symlink_to(folder.parent / "secret")


def linked_chunk(folder):
    chunk = folder / QUERY / "0.0"
    shutil.move(chunk, folder.parent / "secret")
    chunk.symlink_to(folder.parent / "secret")


def fifo(folder):
    (folder / QUERY / "0.0").unlink()
    os.mkfifo(folder / QUERY / "0.0")


def truncated(folder):
    chunk = folder / QUERY / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:30])


def extension(folder, code, data):
    content = msgpack.packb({"optimizer": {"target": {"a": msgpack.ExtType(code, data)}}})
    (folder / "checkpoint").write_bytes(content)


HARM = {
    "linked folder": (linked_folder, "is a link"),
    "linked chunk": (linked_chunk, "0.0 is no regular file"),
    "fifo": (fifo, "0.0 is no regular file"),
    "truncated chunk": (truncated, "encoder/layers_1/attention/query/kernel: "),
    "missing chunk": (lambda f: (f / QUERY / "0.0").unlink(), "chunk 0.0 is missing"),
    "missing folder": (lambda f: shutil.rmtree(f / QUERY), "its folder is missing"),
    "missing .zarray": (lambda f: (f / QUERY / ".zarray").unlink(), "is missing"),
    "chunk of memory": (
        lambda f: described(f, chunks=[1 << 36, 8]),
        r"chunks of \(68719476736, 8\) for shape",
    ),
    "another shape": (
        lambda f: described(f, shape=[1 << 36, 8], chunks=[1, 1]),
        r"has shape \(68719476736, 8\), and \(16, 8\) by",
    ),
    "objects": (lambda f: described(f, dtype="|O"), r"stored as '\|O'"),
    "filters": (lambda f: described(f, filters=[{"id": "pickle"}]), "has filters"),
    "missing name": (
        lambda f: relisted(f, lambda tree, query: query.clear()),
        "missing: 'target/encoder/layers_1/attention/query/kernel'",
    ),
    "another name": (
        lambda f: relisted(f, lambda tree, query: query.update({"bias": np.zeros(8)})),
        "of no such model: 'target/encoder/layers_1/attention/query/bias'",
    ),
    "path as name": (
        lambda f: relisted(f, lambda tree, query: query.update({"../../x": query["kernel"]})),
        r"query/../../x' is no name",
    ),
    "no numbers": (
        lambda f: relisted(f, lambda tree, query: query.update(kernel="weights")),
        "query/kernel is 'weights'",
    ),
    "version 1": (lambda f: relisted(f, lambda tree, _: tree.update(version=1)), "version 1"),
    "no msgpack": (lambda f: (f / "checkpoint").write_bytes(b"\xc1"), "checkpoint: "),
    "deep": (lambda f: (f / "checkpoint").write_bytes(b"\x81\xa1a" * 10**5), "checkpoint: "),
    "pickle": (lambda f: extension(f, 1, msgpack.packb([[1], "object", b"8bytes!!"])), "'object'"),
    "short array": (
        lambda f: extension(f, 1, msgpack.packb([[1 << 39], "float32", b"1234"])),
        "with 4 bytes",
    ),
    "unknown extension": (lambda f: extension(f, 2, b""), "extension type 2"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_damaged_and_hostile_checkpoints_are_refused_by_name(damaged, harm):
    do, said = HARM[harm]
    do(damaged)
    with pytest.raises(CheckpointError, match=said) as refused:
        loaded(damaged)
    assert str(damaged) in str(refused.value)


def test_paths_and_drivers_of_a_list_are_not_followed(damaged):
    other = elsewhere(damaged)
    (other / "0.0").write_bytes(b"secret")

    def lead_out(_, query):
        query["kernel"]["kvstore"] = {"driver": "file", "path": f"{other}/"}
        query["kernel"]["driver"] = "json"

    relisted(damaged, lead_out)
    _, params = loaded(damaged)
    kernel = values(unrolled_shapes())["encoder/layers_1/attention/query/kernel"]
    np.testing.assert_array_equal(params["encoder/layers/attention/query/kernel"][1], kernel)


def test_other_models_are_refused(tmp_path):
    other = write(tmp_path, {"model/wte/embedding": np.ones((4, 4), np.float32)})
    with pytest.raises(CheckpointError, match="is of no T5X model .*token_embedder/embedding"):
        loaded(other)
    with pytest.raises(CheckpointError, match="empty is no checkpoint of T5X"):
        (tmp_path / "empty").mkdir()
        t5x_files.open_folder(tmp_path / "empty")
    with pytest.raises(ConfigError, match="this DecoderConfig is none of them"):
        t5x.table(DecoderConfig(V))


def test_converted_there_and_back(sound, tmp_path, monkeypatch):
    """From T5X to a checkpoint of ours, and from that to T5X: the same arrays."""
    monkeypatch.setitem(registry.PUBLISHED, "t5x", ("flan_jax.interop.t5x", "open_folder"))
    lines = []
    convert.convert(str(sound), str(tmp_path / "ours"), say=lines.append)
    convert.convert(str(tmp_path / "ours"), str(tmp_path / "theirs"), to="t5x", say=lines.append)
    first, second = t5x_files.open_folder(sound), t5x_files.open_folder(tmp_path / "theirs")
    for name, shape in first.shapes.items():
        whole = tuple(slice(0, size) for size in shape)
        assert first.read(name, whole).tobytes() == second.read(name, whole).tobytes()


def run_oracle(verb, folder):
    run_python(pathlib.Path(oracle.__file__).with_name("t5x_oracle.py"), verb, folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What T5X writes and computes."""
    return run_oracle("make", tmp_path_factory.mktemp("t5x"))


def logits(config, params):
    batch = oracle.batch()
    real = batch["decoder_target_tokens"] > 0
    batch["decoder_segment_ids"] = real.astype(np.int32)
    batch["encoder_segment_ids"] = (batch["encoder_input_tokens"] > 0).astype(np.int32)
    if isinstance(config, DecoderConfig):
        batch = {name: batch[name] for name in ("decoder_input_tokens", "decoder_segment_ids")}
    module = Model(config).bind(params)
    return np.asarray(module.output_head()(module.hidden_states(batch)))[real], real


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
@pytest.mark.parametrize("name", ["unrolled", "old", "scanned", "own_biases", "decoder", "orbax"])
def test_logits_are_those_of_t5x(made, name):
    config, params = loaded(made / name)
    ours, real = logits(config, params)
    theirs = np.load(made / f"{'unrolled' if name == 'orbax' else name}.npy")[real]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def next_step(path, optimizer="adafactor"):
    """Parameters and state one step after a checkpoint, along the gradients of the oracle."""
    config, params = loaded(path)
    model, files = Model(config), t5x_files.open_folder(path)
    schedule = Schedule("constant", oracle.LEARNING_RATE)
    ours = Optimizer(optimizer, schedule).build(model.axes)
    table = t5x.table(config, files.shapes)
    state, fresh = t5x_optimizer.load(files, table, model.shapes, ours.init(params))
    gradients = jax.tree.map(lambda value: np.sin(100 * value), params)
    updates, state = jax.jit(ours.update)(gradients, state, params)
    return config, optax.apply_updates(params, updates), state, fresh


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
@pytest.mark.parametrize("name", ["unrolled", "old", "scanned", "own_biases", "decoder", "adamw"])
def test_optimizers_go_on_as_in_t5x(made, name):
    optimizer = "adamw" if name == "adamw" else "adafactor"
    _, ours, _, fresh = next_step(made / name, optimizer)
    assert fresh == []
    _, before = loaded(made / name)
    _, theirs = loaded(made / f"{name}_next")
    for parameter, value in theirs.items():
        moved, expected = ours[parameter] - before[parameter], value - before[parameter]
        np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-6, err_msg=parameter)


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
def test_t5x_restores_what_is_exported_and_goes_on(made, tmp_path):
    """Parameters and optimizer after a step here, and one step more by each."""
    exported = {}
    for name in ("unrolled", "old", "own_biases", "decoder"):
        config, params, state, _ = next_step(made / name)
        exported[name] = config, params
        export(config, params, tmp_path / name, step=3, optimizer=state)
    run_oracle("restore", tmp_path)
    for name, (config, params) in exported.items():
        ours, real = logits(config, params)
        theirs = np.load(tmp_path / f"{name}.npy")[real]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        after = np.load(tmp_path / f"{name}_next.npz")
        assert after["step"] == 4
        _, ours_after, _, fresh = next_step(tmp_path / name)
        assert fresh == []
        for entry in t5x.table(config).entries:
            for theirs_name, value in entry.write(np.asarray(ours_after[entry.ours])):
                expected = after[theirs_name.removeprefix("target/")]
                np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.t5x
@pytest.mark.slow
@needs_t5x
def test_the_moments_of_another_optimizer_are_left(made):
    _, _, _, fresh = next_step(made / "adamw", "adafactor")
    assert any("Adafactor's moments of embed/embedding start fresh" in why for why in fresh)
    _, _, _, fresh = next_step(made / "unrolled", "adamw")
    assert fresh == ["AdamW starts fresh: the checkpoint has no moments of Adam"]
