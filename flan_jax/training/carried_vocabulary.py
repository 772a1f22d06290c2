"""The vocabulary that a checkpoint carries, so that it is whole without a file of elsewhere.

`default` and `byte` ship with the package, so their name is enough, and nothing is carried.
"""

from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import DataError
from flan_jax.instructions import tokenizer_folders
from flan_jax.training.stored_settings import VOCABULARY_NAMES

FOLDER = "vocabulary"
_MODEL = "sentencepiece.model"
_TOKENIZER, _SPECIAL = "tokenizer.json", "tokenizer_config.json"
_CHAT = "chat_template.jinja"


def content(spec: str) -> dict[str, bytes]:
    """Returns the files of a vocabulary by their names in a checkpoint.

    Args:
        spec: see `flan_jax.instructions.vocabulary`.

    Raises:
        DataError: they cannot be read.
    """
    if spec in VOCABULARY_NAMES:
        return {}
    path = epath.Path(spec)
    if not path.is_dir():
        return {f"{FOLDER}/{_MODEL}": files.read_bytes(path)}
    names = [name for name in (_TOKENIZER, _SPECIAL, _CHAT) if (path / name).exists()]
    if _TOKENIZER not in names:
        raise DataError(f"vocabulary folder {spec!r} holds no {_TOKENIZER}")
    content = {f"{FOLDER}/{name}": files.read_bytes(path / name) for name in names}
    # Whatever file says it, and whatever else that file says.
    if ends := tokenizer_folders.read_ends(path):
        said = json_files.dumps({"eos_token_id": ends}) + "\n"
        content[f"{FOLDER}/{tokenizer_folders.GENERATION}"] = said.encode()
    return content


def spec_in(checkpoint: epath.Path) -> str | None:
    """Returns the specification of the vocabulary that a checkpoint carries, None where it is none.

    Args:
        checkpoint: directory of one that was found to be sound.
    """
    folder = checkpoint / FOLDER
    if (folder / _MODEL).exists():
        return str(folder / _MODEL)
    return str(folder) if (folder / _TOKENIZER).exists() else None
