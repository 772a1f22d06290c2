"""Answers of cluster `string_edits`, by regular expressions."""

import re


def _sub(fields, replacement):
    return re.sub(rf"\b{fields['word']}\b", replacement, fields["text"])


CHECKERS = {
    "delete_word": lambda f: _sub(f, "").replace("  ", " ").strip(),
    "double_word": lambda f: _sub(f, r"\g<0> \g<0>"),
    "replace_word": lambda f: _sub(f, f["new"]),
    "repeat_first": lambda f: re.sub(r"^(\w+)(.*)$", r"\1\2 \1", f["text"]),
    "keep_ends": lambda f: re.sub(r"^(\w+) .* (\w+)$", r"\1 \2", f["text"]),
    "drop_first": lambda f: re.sub(r"^\w+ ", "", f["text"]),
    "drop_last": lambda f: re.sub(r" \w+$", "", f["text"]),
    "keep_until": lambda f: re.match(rf"(?:\w+ )*?{f['word']}\b", f["text"])[0],
}
