"""Line charts and bars as inline SVG: numbers in, markup out, colours from the page's style."""

import math
from collections.abc import Mapping, Sequence

from launch.monitoring.report.templates import Html, fill, join

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 36


def lines(series: Mapping[str, Points], x_label: str, y_label: str, log: bool = False) -> Html:
    """A chart of named series; "" when there is nothing finite to draw.

    Args:
      series: name -> (x, y); points that are not finite, or not positive where `log`, are left out.
      x_label, y_label: what the axes are. log: logarithmic y.
    """
    drawn = {name: _finite(points, log) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return Html("")
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    x_range, y_range = _range(min(xs), max(xs)), _range(min(ys), max(ys))
    marks = _grid(x_range, y_range, log)
    marks.append(fill("x_label", x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 4, text=x_label))
    marks.append(fill("y_label", y=(_TOP + _HEIGHT - _BOTTOM) / 2, text=y_label))
    for k, (name, points) in enumerate(drawn.items()):
        at = [(f"{_x(x, x_range):.1f}", f"{_y(y, y_range):.1f}") for x, y in points]
        marks.append(fill("line", k=k % 4, points=" ".join(map(",".join, at))))
        for (left, top), (x, y) in zip(at, points) if len(points) <= 30 else ():
            value = _text(10**y if log else y)
            words = {"name": name, "value": value, "where": _text(x)}
            marks.append(fill("dot", k=k % 4, x=left, y=top, **words))
    keys = join((fill("key", k=k % 4, name=name) for k, name in enumerate(drawn)), " ")
    legend = fill("legend", keys=keys) if len(drawn) > 1 else ""
    title, size = f"{y_label} against {x_label}", f"{_WIDTH} {_HEIGHT}"
    return fill("chart", size=size, title=title, marks=join(marks), legend=legend)


def smooth(points: Points, width: int = 15) -> list[tuple[float, float]]:
    """Centred running mean over `width` points, shorter at the ends."""
    half = width // 2
    found = []
    for k, (x, _) in enumerate(points):
        near = [y for _, y in points[max(0, k - half) : k + half + 1] if math.isfinite(y)]
        if near:
            found.append((x, sum(near) / len(near)))
    return found


def bars(shares: Mapping[str, float]) -> Html:
    """Shares in 0 ... 1 as bars, one below the other."""
    rows = join(
        fill("bar", name=name, width=f"{max(0.0, min(1.0, share)):.1%}", share=f"{share:.0%}")
        for name, share in shares.items()
    )
    return fill("bars", rows=rows) if rows else Html("")


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


def _grid(x_range: tuple[float, float], y_range: tuple[float, float], log: bool) -> list[Html]:
    marks = []
    ends = {"left": _LEFT, "right": _WIDTH - _RIGHT, "x": _LEFT - 7}
    for value in ticks(*y_range):
        y, text = _y(value, y_range), _text(10**value if log else value)
        marks.append(fill("y_tick", **ends, y=f"{y:.1f}", below=f"{y + 4:.1f}", text=text))
    y = _HEIGHT - _BOTTOM + 16
    for value in ticks(*x_range, wanted=7):
        marks.append(fill("x_tick", x=f"{_x(value, x_range):.1f}", y=y, text=_text(value)))
    return marks


def _text(value: float) -> str:
    text = f"{value:.4g}"
    return "0" if text in ("-0", "0") else text
