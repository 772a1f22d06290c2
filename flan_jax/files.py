"""Small text files that a killed program must not leave half written."""

from etils import epath


def replace_text(path: epath.Path, text: str) -> None:
    """Writes a file, replacing an older one in one move."""
    scratch = path.parent / f".{path.name}.tmp"
    scratch.write_text(text)
    scratch.replace(path)
