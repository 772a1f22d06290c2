"""A library in two dimensions, as inline SVG: near tasks are near, colours are clusters.

Colours are left to the page where it has an opinion: text and lines take `--ink`, `--soft` and
`--card`, a cluster's colour is its own.
"""

import html
import os
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

WIDTH, HEIGHT = 900, 600
_MARGIN = 34
# Width of a label's letter, plain and bold, and height, in SVG units.
_LETTER, _BOLD_LETTER, _LINE = 6.9, 7.7, 13.0
_POINT, _RING = 4.5, 7.0  # radii
# Fewer have no neighbourhoods; above it they cost too much, and the widest directions are taken.
_NEIGHBOURS_FROM, _NEIGHBOURS_TO = 5, 5000
_PERPLEXITY, _STEPS = 12.0, 500


def project(vectors: np.ndarray) -> np.ndarray:
    """Returns positions, float[n, 2] in 0..1, the same ones for the same vectors.

    Up to 5,000 vectors are placed by t-SNE (van der Maaten and Hinton 2008) from their principal
    components, so that a task lies beside those that are like it; more by these components alone.

    Args:
        vectors: float[n, width]; only their directions count.
    """
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    # Sums over threads are added up in any order, and a step of t-SNE follows from the one before.
    with threadpool_limits(1):
        unit = normalize(np.asarray(vectors, np.float64))
        places = _principal(unit)
        if _NEIGHBOURS_FROM <= len(unit) <= _NEIGHBOURS_TO:
            places = _by_neighbours(unit, places)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)


def _principal(unit: np.ndarray) -> np.ndarray:
    """The two widest directions; equal vectors have equal places."""
    from sklearn.decomposition import PCA

    if len(unit) < 2:
        return np.zeros((len(unit), 2))
    # Where all vectors are equal, the share of the variance, which nothing asks for, is 0 / 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        places = PCA(min(2, unit.shape[1]), svd_solver="full").fit_transform(unit)
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _by_neighbours(unit: np.ndarray, start: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE

    # As `init="pca"` scales it; equal vectors, which nothing would part, are told apart a little.
    start = start / max(start[:, 0].std(), 1e-9) * 1e-4
    start = start + np.random.default_rng(0).normal(scale=1e-6, size=start.shape)
    perplexity = min(_PERPLEXITY, (len(unit) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, max_iter=_STEPS, init=start, random_state=0)
    return tsne.fit_transform(unit).astype(np.float64)


def colours(names: Iterable[str | None]) -> dict[str | None, str]:
    """Returns a CSS colour for each cluster, far from those of clusters with like names.

    Args:
        names: clusters, in any order and any number of times; None is no cluster.
    """
    known = sorted({name for name in names if name})
    # Steps of the golden section leave no two close; their ranks are even.
    ranks = (np.arange(len(known)) * 0.618034 % 1).argsort().argsort()
    found: dict[str | None, str] = {
        name: f"oklch({0.56 + 0.14 * (rank % 2):.2f} 0.15 {25 + 360 * rank / len(known):.0f})"
        for name, rank in zip(known, ranks.tolist(), strict=True)
    }
    return found | {None: "var(--soft)", "": "var(--soft)"}


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
    fills = colours(clusters)
    parts = [
        f'<svg class="chart map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="map of {len(names)} tasks">'
    ]
    radii = np.array([_RING if name in chosen else _POINT for name in names])
    for i in np.argsort(radii, kind="stable"):
        ring = " ring" if names[i] in chosen else ""
        parts.append(
            f'<circle class="point{ring}" r="{radii[i]:g}" cx="{at[i, 0]:.1f}" '
            f'cy="{at[i, 1]:.1f}" style="fill:{fills[clusters[i]]}">'
            f"<title>{html.escape(notes[i])}</title></circle>"
        )
    marks = {name: place for name, place in zip(names, at, strict=True)}
    stars = {label: _on_paper(place[None])[0] for label, place in (targets or {}).items()}
    parts += [_star(place, label) for label, place in stars.items()]
    short = len(_common_prefix(names))
    written = [(name[short:], marks[name], name in chosen) for name in labelled]
    points = np.concatenate([at, np.reshape(list(stars.values()), (-1, 2))])
    radii = np.append(radii, np.full(len(stars), 10.0))
    parts += _labels(stars, written, np.hstack([points - radii[:, None], points + radii[:, None]]))
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
    """Names beside their points, as long as none lies on another one or on a point.

    Args:
        stars: places of the targets by label; they come first.
        names: label and place of tasks, and whether it is a chosen one; names of these and of
            targets may lie on points where there is no other room.
        points: boxes of all points: left, top, right, bottom.
    """
    wanted = [(_cut(label), place, True) for label, place in stars.items()] + list(names)
    taken = np.concatenate([points, np.zeros((len(wanted), 4))])
    parts: list[str] = []
    for label, place, strong in wanted:
        filled = len(points) + len(parts)
        width = len(label) * (_BOLD_LETTER if strong else _LETTER)
        radius = _RING if strong else _POINT
        found = _room(width, place, radius, taken[:filled])
        if found is None and strong:
            found = _room(width, place, radius, taken[len(points) : filled])
        if found is not None:
            box, anchor, x = found
            taken[filled] = box
            parts.append(
                f'<text class="label{" strong" if strong else ""}" x="{x:.1f}" '
                f'y="{box[3] - 3.5:.1f}" text-anchor="{anchor}">{html.escape(label)}</text>'
            )
    return parts


def _room(
    width: float, place: np.ndarray, radius: float, taken: np.ndarray
) -> tuple[np.ndarray, str, float] | None:
    """The first free box beside a point, and where in it text is anchored; None without one."""
    x, y = place
    gap, side = radius + 3, radius + 1
    for anchor, at, top in (
        ("start", x + gap, y - _LINE / 2),
        ("end", x - gap, y - _LINE / 2),
        ("middle", x, y - gap - _LINE),
        ("middle", x, y + gap),
        ("start", x + side, y - side - _LINE),
        ("start", x + side, y + side),
        ("end", x - side, y - side - _LINE),
        ("end", x - side, y + side),
    ):
        left = at - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        box = np.array([left, top, left + width, top + _LINE])
        inside = (box[:2] >= 2).all() and box[2] <= WIDTH - 2 and box[3] <= HEIGHT - 2
        if inside and not ((box[:2] < taken[:, 2:]) & (taken[:, :2] < box[2:])).all(axis=1).any():
            return box, anchor, at
    return None


def _cut(label: str) -> str:
    return label if len(label) <= 40 else label[:39].rstrip() + "…"
