"""Published sizes of T5 for benchmarks, read from the project's own model files."""

from typing import Any


def t5_of_size(size: str, **changes: Any) -> Any:
    """Returns the `T5Config` of a file below gin_configs/models, with T5's 32,128 tokens.

    Args:
        size: such as "t5_1_1/base".
        changes: further fields, such as numerics.
    """
    from flan_jax import config
    from flan_jax.models.t5 import T5Config

    macros = config.macros([config.Part(size, config.read_gin_file(f"models/{size}.gin"))])
    shape = {f: macros[f.upper()] for f in T5Config.__dataclass_fields__ if f.upper() in macros}
    return T5Config(**shape, vocab_size=32128, **changes)
