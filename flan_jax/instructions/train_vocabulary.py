"""Training of a SentencePiece vocabulary, for the default one and for `flan-jax vocab`.

The model is a unigram one (Kudo 2018) laid out as T5's: 0 pads, 1 ends a sequence, 2 is unknown,
no piece begins one. Unlike T5's it keeps text as it is: no Unicode normalisation, white space and
newlines kept, and bytes for characters without a piece, so that decoding an encoded text gives
the text back exactly. (The one exception is U+2581, SentencePiece's own mark for a space.
TensorFlow's detokenizer, which nothing here uses, also drops leading spaces.)

As in T5 a text is encoded as if a space came before it, so that a word is the same piece at the
beginning of a text as within it. A word right after a newline has no space before it and is
another piece.
"""

import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError

# SentencePiece skips longer sentences silently (it counts bytes), so texts are cut below that.
_LONGEST = 4000
_WORDS_AT_MOST = re.compile(rf"(?s).{{1,{_LONGEST // 4}}}(?=\s|$)|.{{1,{_LONGEST // 4}}}")

# The one rule of normalisation says of U+2581 what is so in any case. Without any rule,
# TensorFlow's tokenizer logs on standard error that there is none, once a dataset.
_RULES = "2581\t20\n"


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Cuts long texts, where it can be done at white space."""
    for text in texts:
        # The trainer reads NUL as the end of a text; it is covered by bytes anyway.
        for piece in _WORDS_AT_MOST.findall(text.replace("\0", "")):
            # The space at which a text was cut comes back as the one put before every text.
            yield piece.removeprefix(" ")


def _reason(error: RuntimeError, size: int) -> str:
    """Says in our words what the trainer found wrong with the size."""
    text = str(error)
    if match := re.search(r"set it to a value <= (\d+)", text):
        return f"the texts give at most {match[1]} pieces, not {size}: add texts or lower the size"
    if match := re.search(r"required_chars\. \d+ vs (\d+)", text):
        return f"the characters of the texts alone take {match[1]} pieces: raise the size"
    if "sentences_.empty()" in text:
        return "there are no texts"
    return text


def train_vocabulary(
    texts: Iterable[str],
    out: str,
    *,
    size: int,
    coverage: float = 0.9998,
    split_digits: bool = True,
) -> None:
    """Trains a SentencePiece model; equal texts in equal order give an equal file.

    Args:
        texts: what the vocabulary is to be good at; repetitions count.
        out: file to write (`*.model`), also on gs://.
        size: number of pieces, 260 of them fixed (pad, end, unknown, newline, 256 bytes).
            Sentinels are not among them: SeqIO adds those when it loads the file.
        coverage: share of the characters of the texts that get a piece of their own; the rarest
            others are spelt in bytes.
        split_digits: whether every digit is a piece of its own.

    Raises:
        DataError: the texts are too few for the size, or the size too small for the texts.
        OutputError: the model cannot be written.

    Source: Kudo 2018, "Subword Regularization", section 3.2; layout of ids from Raffel et al.
    2020, "Exploring the Limits of Transfer Learning", section 2.2 (T5).
    """
    import sentencepiece

    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write(_RULES)
        rules.flush()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=_sentences(texts),
                model_writer=model,
                model_type="unigram",
                vocab_size=size,
                character_coverage=coverage,
                pad_id=0,
                eos_id=1,
                unk_id=2,
                bos_id=-1,
                byte_fallback=True,
                normalization_rule_tsv=rules.name,
                remove_extra_whitespaces=False,
                user_defined_symbols=["\n"],
                split_digits=split_digits,
                num_threads=1,  # with more, sums of floats depend on scheduling
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(f"no vocabulary for {out!r}: {_reason(error, size)}") from None
    files.make_folder(epath.Path(out).parent)
    files.replace_bytes(out, _without_paths(model.getvalue()))


def _without_paths(model: bytes) -> bytes:
    """Takes the name of the file of rules out of a model: equal texts give equal bytes."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString(deterministic=True)


def mixture_texts(name: str, *, split: str = "train", max_examples: int = 0) -> Iterator[str]:
    """Yields prompt and target of the examples of a task or mixture, task by task.

    The examples are those of rendering 0, or of the `draws.rendering_context` in force when
    a task's turn comes. No vocabulary is needed.

    Args:
        name: a registered task or mixture.
        split: the split to read; tasks without it are left out.
        max_examples: at most this many examples, spread evenly over the tasks; 0 for all.

    Raises:
        DataError: there is no such task or mixture, or no task of it has the split, or a task
            does not tokenize by `seqio.preprocessors.tokenize`.
    """
    from flan_jax.instructions import mixtures

    tasks = [task for task in mixtures.member_tasks(name) if split in task.splits]
    if not tasks:
        raise DataError(f"no task of {name!r} has a split {split!r}")
    tasks.sort(key=lambda task: task.name)
    for position, task in enumerate(tasks):
        share = max_examples // len(tasks) + (position < max_examples % len(tasks))
        dataset = _untokenized(task, split).take(share if max_examples else -1)
        for example in dataset.as_numpy_iterator():
            yield from (example[column].decode("utf-8") for column in ("inputs", "targets"))


def _untokenized(task: Any, split: str) -> Any:
    """Returns the tf.data.Dataset of a SeqIO task as it is before tokenization."""
    import seqio

    steps = list(task.preprocessors)
    if seqio.preprocessors.tokenize not in steps:
        raise DataError(f"task {task.name!r} has no step seqio.preprocessors.tokenize")
    dataset = task.source.get_dataset(split=split, shuffle=False)
    for step in steps[: steps.index(seqio.preprocessors.tokenize)]:
        step = seqio.utils.add_kwargs_to_transform(
            step, sequence_length=None, output_features=task.output_features
        )
        dataset = step(dataset)
    return dataset
