"""Tokenizer folders of chat models, small ones: special tokens for turns, and a chat template."""

import json
import pathlib

import tokenizers

NAMES = ("pad", "eos", "bos", "unk")


def write(folder: pathlib.Path, texts, template: str | None) -> pathlib.Path:
    """Writes a byte-level BPE of 400 tokens trained on texts; returns its folder."""
    special = [*(f"<{name}>" for name in NAMES), "<turn>", "<end>"]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator([*texts, "user model\n\n end turn"] * 5, trainer)
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    config = {f"{name}_token": f"<{name}>" for name in NAMES}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True}
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
