"""A library in two dimensions, as inline SVG: near tasks are near, colours are clusters.

Colours are left to the page where it has an opinion: text and lines take `--ink`, `--soft` and
`--rule`, a cluster's hue is its own.
"""

import html
import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 900, 600
_MARGIN = 34
_LETTER, _LINE = 6.1, 13.0  # width and height of a label's letter, in SVG units
# Above it neighbours cost too much, and the two widest directions are taken.
_MOST_BY_NEIGHBOURS = 2000
_PERPLEXITY, _STEPS = 12.0, 400
Box = tuple[float, float, float, float]


def project(vectors: np.ndarray) -> np.ndarray:
    """Returns positions, float[n, 2] in 0..1, the same ones for the same vectors.

    Up to 2,000 vectors are placed by t-SNE (van der Maaten and Hinton 2008) from their principal
    components, so that a task lies beside those that are like it; more by these components alone.

    Args:
        vectors: float[n, width]; only their directions count.
    """
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    places = _principal(unit)
    if 5 <= len(unit) <= _MOST_BY_NEIGHBOURS:
        places = _by_neighbours(unit, places)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)


def _principal(unit: np.ndarray) -> np.ndarray:
    """The two widest directions, signs fixed; equal vectors have equal places."""
    centred = unit - unit.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1, 1)
    places = centred @ axes.T
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _by_neighbours(unit: np.ndarray, start: np.ndarray) -> np.ndarray:
    wanted = _affinities(np.maximum(2 - 2 * unit @ unit.T, 0))
    # Equal vectors are told apart a little, the same way every time.
    places = start / max(start.std(), 1e-9) * 1e-2
    places = places + np.random.default_rng(0).normal(scale=1e-4, size=places.shape)
    speed, gains = np.zeros_like(places), np.ones_like(places)
    rate = max(len(unit) / 12, 20.0)
    for step in range(_STEPS):
        exaggerated = wanted * 4 if step < _STEPS // 4 else wanted
        slope = _slope(exaggerated, places)
        gains = np.where(np.sign(slope) != np.sign(speed), gains + 0.2, gains * 0.8).clip(0.01)
        speed = (0.5 if step < _STEPS // 4 else 0.8) * speed - rate * gains * slope
        places = places + speed
    return places


def _slope(wanted: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Gradient of the divergence between wanted and shown affinities, float[n, 2]."""
    squares = (places**2).sum(axis=1)
    near = 1 / (1 + np.maximum(squares[:, None] + squares - 2 * places @ places.T, 0))
    np.fill_diagonal(near, 0)
    pull = (wanted - near / max(near.sum(), 1e-12)) * near
    return 4 * (pull.sum(axis=1)[:, None] * places - pull @ places)


def _affinities(distances: np.ndarray) -> np.ndarray:
    """Symmetric shares of neighbourhood, each row of about `_PERPLEXITY` neighbours."""
    count = len(distances)
    goal = np.log(min(_PERPLEXITY, (count - 1) / 3))
    low, high = np.full(count, -20.0), np.full(count, 30.0)  # logarithms of precision
    others = distances + np.where(np.eye(count, dtype=bool), np.inf, 0.0)
    for _ in range(40):
        middle = (low + high) / 2
        shares = _shares(others, np.exp(middle))
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
        low, high = np.where(entropy > goal, middle, low), np.where(entropy > goal, high, middle)
    return (shares + shares.T) / (2 * count)


def _shares(distances: np.ndarray, precision: np.ndarray) -> np.ndarray:
    exponents = -distances * precision[:, None]
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def hues(names: Sequence[str]) -> dict[str, float]:
    """Returns a hue in degrees for each cluster, far from its neighbours' in the list."""
    return {name: round(210 + 137.508 * i, 1) % 360 for i, name in enumerate(names)}


def map_svg(
    places: np.ndarray,
    names: Sequence[str],
    clusters: Sequence[str | None],
    notes: Sequence[str],
    chosen: Collection[str] = (),
    targets: Mapping[str, np.ndarray] | None = None,
    labelled: Sequence[str] = (),
) -> str:
    """Returns the map as an SVG element.

    Args:
        places: where tasks lie, 0..1, float[n, 2].
        names: tasks.
        clusters: the cluster of each, or None.
        notes: what is shown of each under the pointer.
        chosen: tasks with a ring.
        targets: places of the targets, by label.
        labelled: tasks whose names are written, the most important first, where there is room.
    """
    at = _on_paper(places)
    colours = hues(sorted({name for name in clusters if name}))
    parts = [
        f'<svg class="chart map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="map of {len(names)} tasks">'
    ]
    order = sorted(range(len(names)), key=lambda i: names[i] in chosen)
    for i in order:
        hue = colours.get(clusters[i] or "")
        colour = "var(--soft)" if hue is None else f"hsl({hue:g} 60% 50%)"
        ring = ' class="point ring" r="7"' if names[i] in chosen else ' class="point" r="4.5"'
        parts.append(
            f'<circle{ring} cx="{at[i, 0]:.1f}" cy="{at[i, 1]:.1f}" style="fill:{colour}">'
            f"<title>{html.escape(notes[i])}</title></circle>"
        )
    marks = {name: place for name, place in zip(names, at, strict=True)}
    stars = {label: _on_paper(place[None])[0] for label, place in (targets or {}).items()}
    parts += [_star(place, label) for label, place in stars.items()]
    short = len(_common_prefix(names))
    written = [(name[short:], marks[name], name in chosen) for name in labelled]
    parts += _labels(stars, written, at)
    return "".join([*parts, "</svg>"])


def _common_prefix(names: Sequence[str]) -> str:
    """What all names begin with, up to an underscore: it tells nothing apart."""
    common = os.path.commonprefix(list(names)) if len(names) > 1 else ""
    return common[: common.rfind("_") + 1]


def _on_paper(places: np.ndarray) -> np.ndarray:
    size = np.array([WIDTH - 2 * _MARGIN, HEIGHT - 2 * _MARGIN])
    return _MARGIN + np.stack([places[:, 0], 1 - places[:, 1]], axis=1) * size


def _star(place: np.ndarray, label: str) -> str:
    x, y = place
    path = f"M{x:.1f} {y - 10:.1f}l10 10l-10 10l-10 -10z"
    return f'<path class="target" d="{path}"><title>{html.escape(label)}</title></path>'


def _labels(
    stars: Mapping[str, np.ndarray],
    names: Sequence[tuple[str, np.ndarray, bool]],
    points: np.ndarray,
) -> list[str]:
    """Names beside their points, as long as none lies on another one."""
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    parts = []
    for label, place, kind in [
        *((_cut(label), place, "label strong") for label, place in stars.items()),
        *((name, at, "label strong" if strong else "label") for name, at, strong in names),
    ]:
        box = _room(label, place, taken)
        if box is not None:
            taken.append(box)
            before = box[2] <= place[0]
            parts.append(
                f'<text class="{kind}" x="{box[2] if before else box[0]:.1f}" '
                f'y="{box[3] - 3.5:.1f}" text-anchor="{"end" if before else "start"}">'
                f"{html.escape(label)}</text>"
            )
    return parts


def _room(label: str, place: np.ndarray, taken: Sequence[Box]) -> Box | None:
    x, y = place
    width = _LETTER * len(label)
    for left, top in (
        (x + 10, y - _LINE / 2),
        (x - 10 - width, y - _LINE / 2),
        (x - width / 2, y - 11 - _LINE),
        (x - width / 2, y + 11),
    ):
        box = (left, top, left + width, top + _LINE)
        inside = left >= 2 and top >= 2 and box[2] <= WIDTH - 2 and box[3] <= HEIGHT - 2
        if inside and not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cut(label: str) -> str:
    return label if len(label) <= 48 else label[:47].rstrip() + "…"
