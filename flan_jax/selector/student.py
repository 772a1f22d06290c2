"""A static student of an encoder: one vector a token, and a text is the mean of its tokens' ones.

It is an ordinary sentence-transformers model whose only module is `StaticEmbedding`, many times as
fast as its teacher. Each token's vector is what the teacher makes of that token alone, reduced by
principal components (as in model2vec, Tulkens and van Dongen 2024) and scaled by smooth inverse
frequency (Arora et al. 2017, section 3). Their second step, to take out what all texts share, and
a distillation of the teacher's cosines before alignment were measured too: neither found more
wordings of held-out folds after it, on MiniLab or on the P3 templates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_jax.errors import ConfigError
from flan_jax.terminal import Progress

KINDS = ("static",)
# A token of probability p counts a / (a + p). Arora et al. take a = 0.001 or less, for texts of all
# kinds. Instructions are made of few words, each more frequent than that: on MiniLab and on the P3
# templates 0.01 found more wordings than 0.001, and that more than 0.0001.
SMOOTHING = 0.01
_BATCH = 512


def static_student(teacher: Any, texts: Sequence[str], width: int) -> Any:
    """Returns the student of an encoder, a sentence-transformers model on its teacher's device.

    Args:
        teacher: a sentence-transformers model with a fast tokenizer.
        texts: what frequencies are counted in.
        width: components of its vectors; fewer where the teacher or its vocabulary has fewer.

    Raises:
        ConfigError: the teacher has no fast tokenizer.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = _tokenizer(teacher)
    table = _table(teacher, tokenizer, width)
    counts: np.ndarray = np.zeros(len(table), np.float32)
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        np.add.at(counts, encoding.ids, 1)
    module = StaticEmbedding(tokenizer, embedding_weights=table * rarity(counts)[:, None])
    return SentenceTransformer(modules=[module], device=str(teacher.device))


def _tokenizer(teacher: Any) -> Any:
    """A copy of a teacher's tokenizer, which itself is told to pad and to truncate."""
    import tokenizers

    fast = getattr(getattr(teacher, "tokenizer", None), "backend_tokenizer", None)
    if fast is None:
        raise ConfigError(
            "AlignConfig.student: a student needs a base with a fast tokenizer; give another base "
            "or leave AlignConfig.student at None"
        )
    tokenizer = tokenizers.Tokenizer.from_str(fast.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _table(teacher: Any, tokenizer: Any, width: int) -> np.ndarray:
    """Vectors of all tokens, not yet scaled; zeros for those that stand for no text."""
    numbers = set(tokenizer.get_vocab().values())
    tokens = np.array(sorted(numbers - set(teacher.tokenizer.all_special_ids)))
    reduced = _principal(token_vectors(teacher, tokenizer, tokens), width)
    table = np.zeros((max(numbers) + 1, reduced.shape[1]), np.float32)
    table[tokens] = reduced
    return table


def token_vectors(teacher: Any, tokenizer: Any, tokens: np.ndarray) -> np.ndarray:
    """Returns what a teacher makes of each token alone, float32[tokens, width].

    Tokens are passed by number, not as texts, which may be split into others.

    Args:
        teacher: a sentence-transformers model.
        tokenizer: its tokenizer, of the package tokenizers.
        tokens: numbers of tokens.
    """
    import torch

    features, place = _probe(teacher, tokenizer)
    parts = []
    teacher.eval()
    with torch.no_grad(), Progress("token vectors", len(tokens)) as progress:
        for batch in np.array_split(tokens, -(-len(tokens) // _BATCH)):
            rows = {
                name: value.expand(len(batch), -1).clone().to(teacher.device)
                if hasattr(value, "expand")
                else value
                for name, value in features.items()
            }
            rows["input_ids"][:, place] = torch.as_tensor(batch, device=teacher.device)
            parts.append(teacher(rows)["sentence_embedding"].float().cpu().numpy())
            progress.advance(len(batch))
    return np.concatenate(parts)


def _probe(teacher: Any, tokenizer: Any) -> tuple[dict[str, Any], int]:
    """What a teacher is given of a text of one token, and where that token is in it."""
    for text in sorted(tokenizer.get_vocab()):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) == 1:
            # sentence-transformers 6 calls `preprocess` what was `tokenize` before.
            make = getattr(teacher, "preprocess", None) or teacher.tokenize
            features = make([text])
            return features, features["input_ids"][0].tolist().index(ids[0])
    raise ConfigError("AlignConfig.student: the base's tokenizer has no token that is a text")


def _principal(vectors: np.ndarray, width: int) -> np.ndarray:
    """Centred vectors in the directions of their greatest variance, float32[n, width]."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    kept = directions[:, ::-1][:, : min(width, len(vectors))]
    # Which of its two ways a direction points is up to the linear algebra library.
    signs = np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    return centred @ (kept * signs).astype(np.float32)


def rarity(counts: np.ndarray) -> np.ndarray:
    """Returns what tokens count, by how often each was seen: 1 for those never seen."""
    frequency = counts / max(counts.sum(), 1)
    return SMOOTHING / (SMOOTHING + frequency)
