"""The OPTIONS suffix of classification prompts.

FLAN (Wei et al. 2022, section 2.3) appends the possible answers to the prompt of a
classification task, so that a generating model knows which strings are answers. The fixed words
are the header `OPTIONS:` and one line an option, each opened by a hyphen and a space.
"""

from collections.abc import Sequence

HEADER = "OPTIONS:"


def format_options(options: Sequence[str]) -> str:
    """Returns the OPTIONS block, without a leading or trailing newline.

    Raises:
        ValueError: there are fewer than two options, or two are equal.
    """
    if len(options) < 2:
        raise ValueError(f"a classification needs at least two options, got {list(options)}")
    if len(set(options)) != len(options):
        raise ValueError(f"options repeat: {list(options)}")
    return "\n".join([HEADER, *(f"- {option}" for option in options)])
