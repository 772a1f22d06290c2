"""The batch of the oracle, which T5X and this package are both given."""

import numpy as np

ROWS = (2, 12)
LEARNING_RATE = 1e-2


def batch():
    """Padded rows under the keys of both packages."""
    random = np.random.default_rng(0)
    tokens = random.integers(3, 160, (2, *ROWS)).astype(np.int32)
    tokens[:, 1, 9:] = 0
    return {
        "encoder_input_tokens": tokens[0],
        "decoder_input_tokens": np.pad(tokens[1], ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": tokens[1],
    }
