"""Charts as SVG that takes its colours from the page, so that it is readable in the dark and on paper.

A series has a shape and a colour: the shape alone tells it apart. The output depends on the input alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

#: Paths within a square of side 2 around the origin, by index of the series.
_SHAPES: Final = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z",  # circle
    "M-.85-.85H.85V.85H-.85Z",  # square
    "M0-1.2 1.2 0 0 1.2-1.2 0Z",  # diamond
    "M0-1.1 1.05.8H-1.05Z",  # triangle
    "M0 1.1 1.05-.8H-1.05Z",  # triangle on its head
    "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",  # cross
)
_ROW: Final = 17
_RADIUS: Final = 4.0
#: The least distance between two lines of text.
_LINE: Final = 13.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A value in a row of a dot plot, or a point between two axes.

    Attributes:
        x, y: where; a dot plot needs no y.
        series: which one, by its place in the legend.
        title: what a pointer over it shows.
    """

    x: float
    series: int
    title: str
    y: float = 0.0


def legend(series: Sequence[str]) -> str:
    """Return the names of series, each with its mark."""
    items = [
        f'<li><svg viewBox="-6 -6 12 12" width="13" height="13" aria-hidden="true">{_mark(0, 0, i)}/></svg> '
        f"{escape(name)}</li>"
        for i, name in enumerate(series)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def dot_plot(rows: Sequence[tuple[str, Sequence[Dot]]], *, label: str) -> str:
    """Return rows of dots between 0 and 1, with a line at 1.

    Args:
        rows: name and dots; what lies beyond 1 is drawn at the edge.
        label: what the chart shows, for those who cannot see it.
    """
    left, width, right, top = 126, 230, 20, 22
    height = top + _ROW * len(rows) + 4
    made = [_opening(left + width + right, height, label)]
    for i in range(5):
        x = left + width * i / 4
        made.append(f'<path class="{"limit" if i == 4 else "grid"}" d="M{_n(x)} {top - 5}V{height}"/>')
        made.append(_text(x, 11, f"{25 * i}%", "middle", "tick"))
    for i, (name, dots) in enumerate(rows):
        y = top + _ROW * (i + 0.5)
        made.append(f'<path class="grid" d="M{left} {_n(y)}H{left + width}"/>')
        made.append(_text(left - 9, y + 4, name, "end"))
        made += [_dot(left + width * min(max(d.x, 0.0), 1.04), y, d) for d in dots]
    return "".join([*made, "</svg>"])


def roofline(
    dots: Sequence[Dot], *, slopes: Sequence[tuple[str, float]], levels: Sequence[tuple[str, float]], label: str
) -> str:
    """Return points over logarithmic axes, operations per byte and per second, under the lines that bound them.

    Args:
        dots: operations per byte, and operations per second.
        slopes: bytes per second, each with a name.
        levels: operations per second, each with a name.
        label: what the chart shows, for those who cannot see it.
    """
    axes = _LogAxes(
        _decades([d.x for d in dots]), _decades([*(d.y for d in dots), *(rate for _, rate in levels)]), 66, 14, 640, 340
    )
    made = [_opening(axes.left + axes.width + 150, axes.top + axes.height + 46, label), *axes.drawn()]
    ceiling = max((rate for _, rate in levels), default=10.0 ** axes.ys[1])
    for name, bandwidth in slopes:
        # From where it enters the plot, on the left or from below, to where the highest level ends it.
        first = max(10.0 ** axes.xs[0], 10.0 ** axes.ys[0] / bandwidth)
        last = min(10.0 ** axes.xs[1], ceiling / bandwidth)
        if first < last:
            ends = [f"{_n(axes.x(x))} {_n(axes.y(x * bandwidth))}" for x in (first, last)]
            made.append(f'<path class="roof" d="M{"L".join(ends)}"><title>{escape(name)}</title></path>')
            at = (axes.x(first) + 6, axes.y(first * bandwidth) - 8)
            turn = math.degrees(math.atan2(axes.height / axes.decades_y, axes.width / axes.decades_x))
            made.append(
                f'<text class="tick" transform="translate({_n(at[0])} {_n(at[1])}) rotate({_n(-turn)})">'
                f"{escape(name)}</text>"
            )
    below = -math.inf
    for name, rate in sorted(levels, key=lambda level: -level[1]):
        y = axes.y(rate)
        made.append(f'<path class="roof" d="M{axes.left} {_n(y)}H{axes.left + axes.width}"/>')
        below = max(y + 4, below + _LINE)
        made.append(_text(axes.left + axes.width + 6, below, name, "start", "tick"))
    made += [_dot(axes.x(d.x), axes.y(d.y), d) for d in dots]
    return "".join([*made, "</svg>"])


@dataclass(frozen=True)
class _LogAxes:
    """A plot between powers of ten.

    Attributes:
        xs, ys: exponents of the first and the last.
        left, top, width, height: where it is drawn.
    """

    xs: tuple[int, int]
    ys: tuple[int, int]
    left: int
    top: int
    width: int
    height: int

    @property
    def decades_x(self) -> int:
        return self.xs[1] - self.xs[0]

    @property
    def decades_y(self) -> int:
        return self.ys[1] - self.ys[0]

    def x(self, value: float) -> float:
        return self.left + self.width * (math.log10(value) - self.xs[0]) / self.decades_x

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - (math.log10(value) - self.ys[0]) / self.decades_y)

    def drawn(self) -> list[str]:
        bottom, right = self.top + self.height, self.left + self.width
        made = []
        for power in range(self.xs[0], self.xs[1] + 1):
            x = self.x(10.0**power)
            made.append(f'<path class="grid" d="M{_n(x)} {self.top}V{bottom}"/>')
            made.append(_text(x, bottom + 17, _power(power), "middle", "tick"))
        for power in range(self.ys[0], self.ys[1] + 1):
            y = self.y(10.0**power)
            made.append(f'<path class="grid" d="M{self.left} {_n(y)}H{right}"/>')
            made.append(_text(self.left - 8, y + 4, _power(power - 9), "end", "tick"))
        middle = _n(self.top + self.height / 2)
        made.append(_text(self.left + self.width / 2, bottom + 39, "operations per byte", "middle", "tick"))
        made.append(
            f'<text class="tick" text-anchor="middle" transform="translate(13 {middle}) rotate(-90)">GFLOP/s</text>'
        )
        return made


def _decades(values: Iterable[float]) -> tuple[int, int]:
    """Return the powers of ten around values, at least one apart."""
    logs = [math.log10(v) for v in values]
    first = math.floor(min(logs))
    return first, max(math.ceil(max(logs)), first + 1)


def _power(exponent: int) -> str:
    """Return a power of ten as axes show it."""
    if -3 <= exponent <= 4:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _opening(width: float, height: float, label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_n(width)} {_n(height)}" style="max-width:{_n(width)}px" role="img" '
        f'aria-label="{escape(label)}">'
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float, dot: Dot) -> str:
    return f"{_mark(x, y, dot.series)}><title>{escape(dot.title)}</title></path>"


def _mark(x: float, y: float, series: int) -> str:
    """Return the beginning of a mark's path."""
    i = series % len(_SHAPES)
    return f'<path class="c{i}" transform="translate({_n(x)} {_n(y)}) scale({_RADIUS:g})" d="{_SHAPES[i]}"'


def _n(value: float) -> str:
    """Return a coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
