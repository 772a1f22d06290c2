"""Line charts as inline SVG, for pages that need nothing from anywhere else.

Colours are left to the page: series i has the class `series-<i>`, and text and lines take the
page's own, so a chart is readable on a light and on a dark ground.
"""

import html
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 40
_TICKS = 5
# A line of so few points has a mark at each.
_MOST_MARKS = 12
_SUFFIXES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Returns round numbers that span [low, high], about `count` of them, in rising order."""
    span = high - low
    if span < 1e-100:  # below, powers of ten have no room
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns powers of ten in [low, high], with twice and five times these where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for times in ((1,), (1, 3), (1, 2, 5)):
        found = [m * 10.0**p for p in powers for m in times]
        inside = [x for x in found if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
        if len(inside) > 2:
            break
    return inside or [low, high]


def figure(value: float) -> str:
    """Returns a number as axes have it: 1500, 20K, 1.3B."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.4g}{suffix}"
    return f"{value:g}"


def _finite(points: Points) -> Points:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def line_chart(
    series: Mapping[str, Points],
    x_label: str,
    y_label: str,
    classes: Mapping[str, str],
    *,
    log_x: bool = False,
) -> str:
    """Returns an SVG element with one line a series, with a mark at each point where they are few.

    Args:
        series: points by name; those that are not finite, and series without points, are left out.
        x_label: what x is.
        y_label: what y is.
        classes: CSS class by name of series.
        log_x: whether x, which is above 0 then, is drawn by its logarithm.
    """
    finite = {name: _finite(points) for name, points in series.items()}
    drawn = {name: points for name, points in finite.items() if points}
    if not drawn:
        return ""
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    x_low, x_high, y_low, y_high = (
        min(xs) if log_x else min(0, *xs),
        max(xs),
        min(0.0, *ys),
        max(ys),
    )
    along = math.log10 if log_x else float

    def place(x: float, y: float) -> tuple[float, float]:
        across = (along(x) - along(x_low)) / ((along(x_high) - along(x_low)) or 1)
        up = (y - y_low) / ((y_high - y_low) or 1)
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(y_label)} by {html.escape(x_label)}">'
    ]
    for y in ticks(y_low, y_high):
        left, height = place(x_low, y)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{WIDTH - _RIGHT}" y1="{height}" y2="{height}"/>'
            f'<text class="tick" x="{left - 6}" y="{height + 4}" '
            f'text-anchor="end">{figure(y)}</text>'
        )
    for x in log_ticks(x_low, x_high) if log_x else ticks(x_low, x_high):
        across, _ = place(x, y_low)
        parts.append(
            f'<text class="tick" x="{across}" y="{HEIGHT - _BOTTOM + 17}" '
            f'text-anchor="middle">{figure(x)}</text>'
        )
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 5}" '
        f'text-anchor="middle">{html.escape(x_label)}</text>'
        f'<text class="axis" x="12" y="{middle}" text-anchor="middle" '
        f'transform="rotate(-90 12 {middle})">{html.escape(y_label)}</text>'
    )
    for name, points in drawn.items():
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
        parts.append(
            f'<polyline class="line {html.escape(classes[name])}" points="{path}">'
            f"<title>{html.escape(name)}</title></polyline>"
        )
        for x, y in points if len(points) <= _MOST_MARKS else ():
            across, height = place(x, y)
            parts.append(
                f'<circle class="mark {html.escape(classes[name])}" cx="{across}" cy="{height}" '
                f'r="3.2"><title>{html.escape(name)}: {figure(x)}, {y:.4g}</title></circle>'
            )
    return "".join([*parts, "</svg>"])
