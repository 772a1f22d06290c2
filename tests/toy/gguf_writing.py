"""GGUF files for tests, written by the package gguf with llama.cpp's names and conventions."""

import math

import gguf
import numpy as np

FLOAT, HALF = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16
# What Llama 3.1's frequencies are scaled by.
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=8192, rope_theta=500_000.0,
)  # fmt: skip


def write(path, architecture, tensors, kinds=None, keys=(), **writer):
    """Writes tensors, {name: array in torch's order}, of F32 but where `kinds` has another type.

    keys: name, value and the writer's method of each key, such as ("block_count", 2, "uint32").
    """
    out = gguf.GGUFWriter(path, architecture, **writer)
    for key, value, method in keys:
        getattr(out, f"add_{method}")(key, value)
    for name, value in tensors.items():
        kind = (kinds or {}).get(name, FLOAT)
        raw = gguf.quants.quantize(np.asarray(value, np.float32), kind)
        out.add_tensor(name, raw, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def of_transformers(path, model, architecture, more=(), general=(), **writer):
    """Writes a model of transformers as llama.cpp's converter would.

    more, general: further keys, see `write`; those of the architecture are given without it.
    """
    config = model.config
    names = gguf.get_tensor_name_map(
        {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture],
        config.num_hidden_layers,
    )
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = value.numpy()
        if architecture == "llama" and "q_proj" in name:
            value = _paired(value, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            value = _paired(value, config.num_key_value_heads)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            value = value + 1
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = value
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    if rope["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = _llama3_factors(config.head_dim, rope)
    sizes = {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "context_length": config.max_position_embeddings,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
    }
    if getattr(config, "sliding_window", None):
        sizes["attention.sliding_window"] = config.sliding_window
    numbers = {
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": rope["rope_theta"],
    }
    keys = [(key, value, "uint32") for key, value in sizes.items()]
    keys += [(key, value, "float32") for key, value in numbers.items()]
    keys = [(f"{architecture}.{key}", value, method) for key, value, method in [*keys, *more]]
    return write(path, architecture, tensors, keys=[*keys, *general], **writer)


def _paired(value, heads):
    halves = value.reshape(heads, 2, -1, *value.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(value.shape)


def _llama3_factors(head_dim, rope):
    factors = []
    for pair in range(0, head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (pair / head_dim)
        length = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        if wavelength < length / high:
            factors.append(1.0)
        elif wavelength > length / low:
            factors.append(rope["factor"])
        else:
            smooth = (length / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)
