"""GGUF files: tensors, what models they hold, and files that are not what they say."""

import os
import struct
import sys

import gguf_writing
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan_jax.errors import CheckpointError, FlanJaxError
from flan_jax.interop import gguf_decoders, tables
from flan_jax.interop.gguf_files import GGUFTensors
from flan_jax.interop.gguf_models import open_file

gguf = pytest.importorskip("gguf")
TYPES = [
    gguf.GGMLQuantizationType[name]
    for name in ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
]
KEYS = [
    ("llama.block_count", 2, "uint32"),
    ("llama.rope.freq_base", 1e-5, "float32"),
    ("general.name", "é\n", "string"),
    ("general.tags", ["a", "", "ü"], "array"),
    ("tokenizer.ggml.scores", [0.5, -1.0], "array"),
    ("x.flag", True, "bool"),
    ("x.long", 2**40, "uint64"),
]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A file with a tensor of each type, and one of one dimension."""
    rng = np.random.default_rng(0)
    tensors = {kind.name: rng.normal(size=(6, 64)).astype(np.float32) for kind in TYPES}
    kinds = {kind.name: kind for kind in TYPES}
    tensors |= {"line": rng.normal(size=5), "cube": rng.normal(size=(2, 3, 32))}
    path = tmp_path_factory.mktemp("gguf") / "mixed.gguf"
    return gguf_writing.write(path, "llama", tensors, kinds | {"cube": kinds["Q8_0"]}, KEYS)


def test_tensors_and_metadata_are_what_the_package_reads(mixed):
    theirs, ours = gguf.GGUFReader(mixed), GGUFTensors(mixed)
    assert set(ours.shapes) == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        whole = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert ours.shapes[tensor.name] == whole.shape
        for index in (slice(0, size) for size in (whole.shape[0], 1, 2)), (slice(1, 2),) * 3:
            for one in index:
                cut = (one, *(slice(1, size) for size in whole.shape[1:]))
                found = ours.read(tensor.name, cut)
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, whole[cut])
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            value = ours.metadata[key]
            assert list(value) == field.contents() if isinstance(value, np.ndarray) else True
    assert ours.metadata["general.name"] == "é\n" and ours.metadata["general.tags"][1:] == ["", "ü"]
    assert ours.metadata["llama.rope.freq_base"] == 1e-5 and ours.metadata["x.flag"] is True
    assert ours.metadata["x.long"] == 2**40


MODELS = {
    "llama": (
        "LlamaConfig",
        dict(rope_parameters=gguf_writing.LLAMA3, tie_word_embeddings=False, head_dim=64),
    ),
    "llama, tied": ("LlamaConfig", dict(tie_word_embeddings=True)),
    "llama, biased": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True)),
    "qwen2": ("Qwen2Config", dict(head_dim=8)),
    "qwen3": ("Qwen3Config", dict(tie_word_embeddings=True)),
    "gemma2": ("Gemma2Config", dict(sliding_window=8, query_pre_attn_scalar=16)),
    "gemma3": (
        "Gemma3TextConfig",
        dict(
            sliding_window=8,
            query_pre_attn_scalar=16,
            num_hidden_layers=7,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        ),
    ),
}
# What converters write for one architecture alone.
MORE = {
    "gemma2": [
        ("attn_logit_softcapping", 50.0, "float32"),
        ("final_logit_softcapping", 30.0, "float32"),
    ],
    "gemma3": [
        ("rope.scaling.type", "linear", "string"),
        ("rope.scaling.factor", 4.0, "float32"),
        ("attention.sliding_window_pattern", [True] * 5 + [False, True], "array"),
    ],
}
SIZES = dict(
    vocab_size=70, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=256,
)  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_logits_equal_transformers(kind, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    make, more = MODELS[kind]
    config = getattr(transformers, make)(**SIZES | more, attn_implementation="eager")
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            lively = 0.3 if "norm" in name or "bias" in name else 0.2
            parameter += torch.randn_like(parameter) * lively
    architecture = kind.partition(",")[0]
    path = tmp_path / "model.gguf"
    gguf_writing.of_transformers(path, theirs, architecture, MORE.get(architecture, ()))
    published = open_file(str(path))
    assert published.config.tied_head == config.tie_word_embeddings
    assert published.vocabularies == ()
    tokens = np.random.default_rng(0).integers(0, 70, (2, 40))
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    assert np.std(expected) > 0.3
    np.testing.assert_allclose(logits(published, tokens), expected, atol=1e-4)


def params_of(published):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return published.params(
        {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
            for name, leaf in published.model.shapes.items()
        }
    )


def logits(published, tokens):
    module = published.model.bind(params_of(published))
    forward = jax.jit(lambda batch: module.output_head()(module.hidden_states(batch)))
    return forward({"decoder_input_tokens": jnp.asarray(tokens)})


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A folder with a tiny Llama in one file, and in four; the first of them without tensors."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**SIZES | {"num_hidden_layers": 1})
    model = transformers.AutoModelForCausalLM.from_config(config)
    folder = tmp_path_factory.mktemp("split")
    several = dict(split_max_tensors=4, small_first_shard=True)
    gguf_writing.of_transformers(folder / "whole.gguf", model, "llama")
    gguf_writing.of_transformers(folder / "m.x.gguf", model, "llama", **several)
    gguf_writing.of_transformers(folder / "other.gguf", model, "llama", split_max_tensors=6)
    return folder


def test_a_model_in_several_files(split):
    first = split / "m.x-00001-of-00004.gguf"
    whole, parts = open_file(str(split / "whole.gguf")), open_file(str(first))
    assert not GGUFTensors(split / "other-00001-of-00002.gguf").metadata.get("split.no")
    assert parts.config == whole.config
    assert sorted(parts.content) == [f"m.x-0000{n}-of-00004.gguf" for n in (1, 2, 3, 4)]
    theirs = [gguf.GGUFReader(split / name) for name in parts.content]
    assert [len(reader.tensors) for reader in theirs] == [0, 4, 4, 4]
    jax.tree.map(np.testing.assert_array_equal, params_of(parts), params_of(whole))


def test_files_that_are_not_one_model(split, tmp_path):
    names = [f"m.x-0000{n}-of-00004.gguf" for n in (1, 2, 3, 4)]
    paths = [tmp_path / name for name in names]
    whole = [(split / name).read_bytes() for name in names]
    other = (split / "other-00002-of-00002.gguf").read_bytes()
    count = whole[1].replace(b"split.tensors.count\5\0\0\0\x0c", b"split.tensors.count\5\0\0\0\x0d")
    assert count != whole[1]
    for contents, message in {
        (*whole[:2], None, whole[3]): f"{paths[2]} is missing: {names[0]} is the first of 4 files",
        (
            whole[0],
            whole[2],
            whole[1],
            whole[3],
        ): f"{paths[1]}: it says .* 3 of 4, its name .* 2 of 4",
        (*whole[:3], other): f"{paths[3]}: it says that it is file 2 of 2, its name .* 4 of 4",
        (whole[0], count, *whole[2:]): f"{paths[1]} is of another model than .* is 13 and 12",
        (whole[0], whole[1], whole[2][:200], whole[3]): f"{paths[2]}: .*was not copied whole",
        (*whole[:3], b"GGML"): f"{paths[3]} is no GGUF file",
    }.items():
        for path, content in zip(paths, contents, strict=True):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            GGUFTensors(paths[0])
    for path, content in zip(paths, whole, strict=True):
        path.write_bytes(content)
    GGUFTensors(paths[0])
    with pytest.raises(
        CheckpointError, match=f"is file 3 of the 4 .*: name the first one, {names[0]}"
    ):
        GGUFTensors(paths[2])
    with pytest.raises(CheckpointError, match=r"must be called \*-00001-of-00004.gguf"):
        GGUFTensors(paths[0].rename(tmp_path / "first.gguf"))


def test_tensors_of_files_that_do_not_add_up(tmp_path):
    """One that is in two of them; fewer than all of them should have."""
    for number, name in enumerate(("a", "a")):
        keys = [("split.no", number, "uint16"), ("split.count", 2, "uint16")]
        path = tmp_path / f"twice-0000{number + 1}-of-00002.gguf"
        gguf_writing.write(path, "llama", {name: np.zeros(2)}, keys=keys)
    with pytest.raises(CheckpointError, match="00002-of-00002.gguf: tensor 'a' is in .*00001-of"):
        GGUFTensors(tmp_path / "twice-00001-of-00002.gguf")
    for number in (0, 1):
        keys = [("split.no", number, "uint16"), ("split.count", 2, "uint16")]
        keys += [("split.tensors.count", 3, "int32")]
        path = tmp_path / f"few-0000{number + 1}-of-00002.gguf"
        gguf_writing.write(path, "llama", {f"t{number}": np.zeros(2)}, keys=keys)
    with pytest.raises(CheckpointError, match="its 2 files have 2 tensors, and .* is 3"):
        GGUFTensors(tmp_path / "few-00001-of-00002.gguf")


@pytest.mark.parametrize(
    ("key", "value", "method"),
    [
        ("split.count", 0, "uint16"),
        ("split.count", [2], "array"),
        ("split.count", True, "bool"),
        ("split.no", 5, "uint16"),
        ("split.tensors.count", -1, "int32"),
    ],
)
def test_numbers_of_files_that_cannot_be(key, value, method, tmp_path):
    path = gguf_writing.write(tmp_path / "x-00001-of-00002.gguf", "llama", {"t": np.zeros(2)},
                              keys=[(key, value, method)])  # fmt: skip
    with pytest.raises(CheckpointError, match=f"{path}: '{key}' must be a whole number from"):
        GGUFTensors(path)


def valid(path, drop=(), tensors=None, architecture="llama", **keys):
    """Writes what would be a tiny Llama, but for some keys."""
    usual = {
        "block_count": 1, "embedding_length": 32, "feed_forward_length": 32,
        "attention.head_count": 2, "attention.layer_norm_rms_epsilon": 1e-5,
    }  # fmt: skip
    methods = {int: "uint32", float: "float32", str: "string", bool: "bool", list: "array"}
    named = {key: value for key, value in {**usual, **keys}.items() if key not in drop}
    listed = [(f"{architecture}.{k}", v, methods[type(v)]) for k, v in named.items()]
    tensors = {"token_embd.weight": np.zeros((8, 32))} if tensors is None else tensors
    return GGUFTensors(gguf_writing.write(path, architecture, tensors, keys=listed))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "lama"}, "'lama'.*did you mean 'llama'"),
        ({"architecture": "bert"}, "general.architecture.*'bert'.*not supported.*gemma3"),
        ({"drop": ["embedding_length"]}, "llama has no 'embedding_length'"),
        ({"attention.head_count": [2, 4]}, "'attention.head_count' must be .* not \\[2, 4\\]"),
        ({"attention.head_count": 0}, "'attention.head_count' must be"),
        ({"attention.head_count_kv": 7}, "llama: NUM_KV_HEADS 7 does not divide"),
        ({"block_count": 2**31 - 1}, "llama: NUM_LAYERS must be"),
        ({"expert_count": 8}, "'expert_count' is 8"),
        ({"rope.dimension_count": 4}, "'rope.dimension_count' is 4; supported is 16"),
        ({"rope.scaling.type": "yarn"}, "'rope.scaling.type' is 'yarn'.*not supported"),
        ({"tensors": {"x": np.zeros(3)}}, "no table 'token_embd.weight'"),
        (
            {"tensors": {"token_embd.weight": np.zeros((8, 32)),
                         "rope_freqs.weight": np.array([1, 2, 3, 4, 5, 6, 7, 8])}},
            "rope_freqs.weight.*not Llama 3.1's",
        ),
        (
            {"architecture": "gemma3", "rope.freq_base": 1e6, "attention.sliding_window": 4,
             "attention.sliding_window_pattern": [False, True], "block_count": 2},
            "sliding_window_pattern' is not 2 layers",
        ),
    ],
)  # fmt: skip
def test_models_that_are_not_ours(options, message, tmp_path):
    files = valid(tmp_path / "x.gguf", **options)
    with pytest.raises(CheckpointError, match=message) as raised:
        gguf_decoders.read_config(files.metadata, files)
    assert str(tmp_path) in str(raised.value)


def test_tensors_that_do_not_fit(tmp_path):
    extra = {"token_embd.weight": np.zeros((8, 32)), "blk.0.attn_qq.weight": np.zeros((2, 32))}
    valid(tmp_path / "x.gguf", tensors=extra)
    with pytest.raises(CheckpointError, match="attn_qq.weight.; did you mean .blk.0.attn_q.weight"):
        open_file(str(tmp_path / "x.gguf"))


def test_files_that_cannot_be_opened(tmp_path, monkeypatch, mixed):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    for name, message in {
        "fifo": "not a regular file", "empty": "is empty", ".": "cannot be read: Is a directory",
        "none": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(CheckpointError, match=message):
            GGUFTensors(tmp_path / name)
    with pytest.raises(CheckpointError, match="gs://x.gguf: .*copy it here"):
        GGUFTensors("gs://x.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match="pip install gguf"):
        GGUFTensors(mixed)


def header(tensors=0, pairs=0, *parts, magic=b"GGUF", version=3):
    return magic + struct.pack("<IQQ", version, tensors, pairs) + b"".join(parts)


def text(value):
    return struct.pack("<Q", len(value)) + value


def tensor(dims, kind, offset, name=b"t"):
    sizes = struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
    return text(name) + sizes + struct.pack("<IQ", kind, offset)


BAD = {
    "other magic": (header(magic=b"GGML"), "begins with b'GGML'"),
    "old": (header(version=1), "of version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "many keys": (header(0, 2**63), "header does not end"),
    "many tensors": (header(2**63), "header does not end"),
    "long text": (header(0, 1, struct.pack("<Q", 2**63)), "header does not end"),
    "long array": (
        header(0, 1, text(b"k"), struct.pack("<IIQ", 9, 12, 2**61)), "header does not end",
    ),
    "long texts": (
        header(0, 1, text(b"k"), struct.pack("<IIQ", 9, 8, 2**61)), "header does not end",
    ),
    "nested": (header(0, 1, text(b"k"), struct.pack("<IIQ", 9, 9, 1)), "'k' is of type 9"),
    "no type": (header(0, 1, text(b"k"), struct.pack("<I", 77)), "'k' is of type 77"),
    "no text": (header(0, 1, text(b"\xff"), struct.pack("<I", 7)), "not UTF-8"),
    "twice": (header(0, 2, (text(b"k") + struct.pack("<IB", 0, 1)) * 2), "'k' is there twice"),
    "alignment": (
        header(0, 1, text(b"general.alignment"), struct.pack("<II", 4, 0)), "alignment' is 0",
    ),
    "dimensions": (header(1, 0, tensor((1,) * 5, 0, 0)), "has 5 dimensions"),
    "size": (header(1, 0, tensor((2**40, 2**40), 0, 0)), "has the shape"),
    "nothing": (header(1, 0, tensor((0, 4), 0, 0)), "has the shape"),
    "beyond": (header(1, 0, tensor((8,), 0, 2**62)), "lies at bytes"),
    "cut off": (header(1, 0, tensor((8,), 0, 0), b"\0" * 30), "not copied whole"),
    "quants": (header(1, 0, tensor((32,), 999, 0), b"\0" * 200), "of type 999"),
    "integers": (header(1, 0, tensor((32,), 26, 0), b"\0" * 200), "cannot turn into numbers"),
    "part of a block": (header(1, 0, tensor((31,), 8, 0), b"\0" * 200), "'t'.*is of type 8"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_damaged_files(kind, tmp_path):
    content, message = BAD[kind]
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        GGUFTensors(path)
    assert str(path) in str(raised.value)


def read_all(path):
    """Whether all of a file can be read; if not, that is said as for people."""
    try:
        files = GGUFTensors(path)
        for name, shape in files.shapes.items():
            files.read(name, tuple(slice(0, size) for size in shape))
        gguf_decoders.read_config(files.metadata, files)
    except FlanJaxError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return False
    return True


def test_every_cut(mixed, tmp_path):
    content, path = mixed.read_bytes(), tmp_path / "cut.gguf"
    for length in [*range(1, 1500, 7), *range(1500, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        assert not read_all(path)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=8)), max_size=4))
def test_bytes_of_the_header_are_anything(mixed, tmp_path_factory, changes):
    content = bytearray(mixed.read_bytes())
    for at, new in changes:
        content[at : at + len(new)] = new
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(content)
    read_all(path)


def test_tables_check_what_llama_keeps_otherwise(tmp_path):
    """Queries keep their place by pairs, in whatever part of them is asked for."""
    ours = np.arange(2 * 16 * 32, dtype=np.float32).reshape(32, 32)
    halves = ours.reshape(2, 2, 8, 32).swapaxes(1, 2).reshape(32, 32)
    tensors = {"token_embd.weight": np.zeros((8, 32)), "blk.0.attn_q.weight": halves}
    files = valid(tmp_path / "x.gguf", tensors=tensors)
    config = gguf_decoders.read_config(files.metadata, files)
    entries: tables.Table = gguf_decoders.table(config, "llama")
    entry = next(e for e in entries.entries if e.ours == "layers/attention/query/kernel")
    part = entry.read(files, (1, 32, 32), (slice(0, 1), slice(4, 9), slice(3, 30)))
    np.testing.assert_array_equal(part[0], ours.T[4:9, 3:30])
