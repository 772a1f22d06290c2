"""The OPTIONS block of classification prompts, in one of several forms.

FLAN (Wei et al. 2022, section 2.3) appends the possible answers to the prompt of a
classification task, so that a generating model knows which strings are answers. The fixed words
are the header `OPTIONS:` and one line an option, each opened by a hyphen and a space. That form,
options in the order of the dataset, is the default; the settings OPTIONS_STYLE, OPTIONS_TARGET
and OPTIONS_ORDER (gin macro or environment variable) choose others.
"""

import dataclasses
import string
from collections.abc import Callable, Mapping, Sequence

from flan_jax import macros, settings
from flan_jax.errors import ConfigError, DataError

HEADER = "OPTIONS:"
_LABELS: dict[str, Callable[[int], str]] = {
    "letters": lambda index: string.ascii_uppercase[index],
    "numbers": lambda index: str(index + 1),
}
assert set(_LABELS) < set(macros.choices("OPTIONS_STYLE"))


def format_options(options: Sequence[str], labels: Sequence[str] = ()) -> str:
    """Returns the OPTIONS block, without a leading or trailing newline.

    Args:
        options: the answers, in the order to show.
        labels: what stands before each, as `(A)`; a hyphen where empty.

    Raises:
        ValueError: there are fewer than two options, or two are equal.
    """
    if len(options) < 2:
        raise ValueError(f"a classification needs at least two options, got {list(options)}")
    if len(set(options)) != len(options):
        raise ValueError(f"options repeat: {list(options)}")
    bullets = [f"({label})" for label in labels] or ["-"] * len(options)
    lines = [f"{bullet} {option}" for bullet, option in zip(bullets, options, strict=True)]
    return "\n".join([HEADER, *lines])


@dataclasses.dataclass(frozen=True)
class OptionsForm:
    """How options are shown, and what is asked for.

    Attributes:
        style: "list" (hyphens), "letters" or "numbers" (labels in brackets), or "none" (no block).
        target: "text" asks for the option's own words, "label" for its letter or number.
        order: "fixed" is the dataset's order, "shuffled" one drawn for each example.
    """

    style: str = "list"
    target: str = "text"
    order: str = "fixed"

    def __post_init__(self) -> None:
        macros.check(OPTIONS_STYLE=self.style, OPTIONS_TARGET=self.target, OPTIONS_ORDER=self.order)
        if self.target == "label" and self.style not in _LABELS:
            raise ConfigError(
                f"OPTIONS_TARGET=label needs OPTIONS_STYLE=letters or numbers, not {self.style}"
            )

    @classmethod
    def from_settings(cls) -> "OptionsForm":
        """Returns what the settings say.

        Raises:
            ConfigError: one of them has a value that is not known.
        """
        names = ("OPTIONS_STYLE", "OPTIONS_TARGET", "OPTIONS_ORDER")
        fields = dataclasses.fields(cls)
        values = [
            settings.setting(name, field.default) for name, field in zip(names, fields, strict=True)
        ]
        return cls(*map(str, values))

    @property
    def name(self) -> str:
        """A short name that travels with examples: "list", "letters", "numbers/label/shuffled"."""
        parts = [self.style, "label" if self.target == "label" else ""]
        parts.append("shuffled" if self.order == "shuffled" else "")
        return "/".join(filter(None, parts))

    def facts(self) -> Mapping[str, str]:
        """Returns what a recipe says of this form; nothing of the default one."""
        return {} if self == DEFAULT_FORM else dataclasses.asdict(self)

    def labels(self, count: int) -> list[str]:
        """Returns the labels of so many options; none in the styles that have no labels.

        Raises:
            DataError: there are more options than letters.
        """
        if self.style not in _LABELS:
            return []
        if self.style == "letters" and count > len(string.ascii_uppercase):
            raise DataError(f"{count} options are more than there are letters; use numbers")
        return [_LABELS[self.style](index) for index in range(count)]

    def block(self, options: Sequence[str]) -> str:
        """Returns the OPTIONS block; empty in the style "none".

        Raises:
            ValueError: see `format_options`.
        """
        return "" if self.style == "none" else format_options(options, self.labels(len(options)))

    def answers(self, options: Sequence[str]) -> list[str]:
        """Returns what a model is to say for each option: its words or its label."""
        return self.labels(len(options)) if self.target == "label" else list(options)


# FLAN's own form.
DEFAULT_FORM = OptionsForm()
