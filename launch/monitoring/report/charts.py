"""Line charts and bars as inline SVG: numbers in, text out, colours from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 36


def lines(series: Mapping[str, Points], x_label: str, y_label: str, log: bool = False) -> str:
    """A chart of named series; "" when there is nothing finite to draw.

    Args:
      series: name -> (x, y); points that are not finite, or not positive where `log`, are left out.
      x_label, y_label: what the axes are. log: logarithmic y.
    """
    drawn = {name: _finite(points, log) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return ""
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    x_range, y_range = _range(min(xs), max(xs)), _range(min(ys), max(ys))
    marks = [*_grid(x_range, y_range, log), *_labels(x_label, y_label)]
    for k, (name, points) in enumerate(drawn.items()):
        at = " ".join(f"{_x(x, x_range):.1f},{_y(y, y_range):.1f}" for x, y in points)
        kind = f'class="line s{k % 4}"'
        marks.append(f'<polyline {kind} points="{at}"/>')
        if len(points) <= 30:
            marks += [
                f'<circle class="dot s{k % 4}" cx="{_x(x, x_range):.1f}" '
                f'cy="{_y(y, y_range):.1f}" r="3"><title>{html.escape(name)}: '
                f"{_text(10**y if log else y)} at {_text(x)}</title></circle>"
                for x, y in points
            ]
    legend = ""
    if len(drawn) > 1:
        names = (
            f'<span class="key s{k % 4}">{html.escape(name)}</span>' for k, name in enumerate(drawn)
        )
        legend = f'<p class="legend">{" ".join(names)}</p>'
    title = html.escape(f"{y_label} against {x_label}")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f"{''.join(marks)}</svg>{legend}"
    )


def smooth(points: Points, width: int = 15) -> list[tuple[float, float]]:
    """Centred running mean over `width` points, shorter at the ends."""
    half = width // 2
    found = []
    for k, (x, _) in enumerate(points):
        near = [y for _, y in points[max(0, k - half) : k + half + 1] if math.isfinite(y)]
        if near:
            found.append((x, sum(near) / len(near)))
    return found


def bars(shares: Mapping[str, float]) -> str:
    """Shares in 0 ... 1 as bars, one below the other."""
    rows = []
    for name, share in shares.items():
        width = max(0.0, min(1.0, share))
        rows.append(
            f"<tr><th>{html.escape(name)}</th><td class='bar'><i style='width:{width:.1%}'></i>"
            f"</td><td class='n'>{share:.0%}</td></tr>"
        )
    return f"<table class='bars'>{''.join(rows)}</table>" if rows else ""


def _finite(points: Points, log: bool) -> list[tuple[float, float]]:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return [(x, math.log10(y)) for x, y in kept if y > 0] if log else kept


def _range(low: float, high: float) -> tuple[float, float]:
    if high > low:
        return low, high
    pad = abs(low) * 0.1 or 1.0
    return low - pad, high + pad


def _x(value: float, span: tuple[float, float]) -> float:
    return _LEFT + (value - span[0]) / (span[1] - span[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, span: tuple[float, float]) -> float:
    return _HEIGHT - _BOTTOM - (value - span[0]) / (span[1] - span[0]) * (_HEIGHT - _TOP - _BOTTOM)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers within a range, about `wanted` of them."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _grid(x_range: tuple[float, float], y_range: tuple[float, float], log: bool) -> list[str]:
    marks = []
    for value in ticks(*y_range):
        y = _y(value, y_range)
        label = _text(10**value) if log else _text(value)
        marks.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/><text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    for value in ticks(*x_range, wanted=7):
        x = _x(value, x_range)
        marks.append(
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="middle">{_text(value)}</text>'
        )
    return marks


def _labels(x_label: str, y_label: str) -> list[str]:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    return [
        f'<text class="label" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}" '
        f'text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text class="label" transform="translate(12 {middle}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(y_label)}</text>',
    ]


def _text(value: float) -> str:
    text = f"{value:.4g}"
    return "0" if text in ("-0", "0") else text
