"""The demo's chart: accuracy and time per backend, and who ran what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from .demo import MIX, Run, Share

_COLOURS: Final = {"numpy": "#4c72b0", "llvm": "#dd8452", MIX: "#55a868"}
#: For backends of which nothing is known here.
_OTHERS: Final = ("#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd")
_KERNELS_SHOWN: Final = 8


def draw(runs: Sequence[Run], path: Path) -> None:
    """Write the chart as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    networks = list(dict.fromkeys(r.network for r in runs))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.1))[:, 0]
    left, right = above.subplots(1, 2)
    _accuracy(left, runs, networks)
    _bars(right, runs, networks, lambda r: r.seconds, "{:.1f} s")
    right.set_title("training time, seconds")
    mixed = [r for r in runs if r.backend == MIX]
    for axis, run in zip(below.subplots(1, len(mixed), squeeze=False)[0], mixed, strict=True):
        _shares(axis, run)
    below.suptitle("who ran what for the dispatcher's mix: share of the time")
    figure.suptitle("opmux demo: 1,797 real handwritten digits, a quarter of them held out")
    figure.savefig(path, dpi=110)


def _colours(runs: Sequence[Run]) -> dict[str, str]:
    """Return a colour for every backend that runs or whose kernels the dispatcher chose."""
    named = [r.backend for r in runs] + [_backend(s) for r in runs for s in r.shares]
    unknown = [n for n in dict.fromkeys(named) if n not in _COLOURS]
    return {**_COLOURS, **{n: _OTHERS[i % len(_OTHERS)] for i, n in enumerate(unknown)}}


def _backend(share: Share) -> str:
    return share.kernel.partition("/")[0]


def _accuracy(axis: Any, runs: Sequence[Run], networks: Sequence[str]) -> None:
    floor = min(0.95, *(r.accuracy - 0.02 for r in runs))
    _bars(axis, runs, networks, lambda r: r.accuracy, "{:.1%}")
    for i, network in enumerate(networks):
        target = next(r.target for r in runs if r.network == network)
        label = "target" if i == 0 else None
        axis.hlines(target, i - 0.45, i + 0.45, colors="black", linestyles="dashed", linewidth=1, label=label)
    axis.set_ylim(floor, 1.0)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_title(f"accuracy on the held-out quarter (axis starts at {floor:.0%})")
    axis.legend(loc="lower center", ncols=4, framealpha=0.95)


def _bars(axis: Any, runs: Sequence[Run], networks: Sequence[str], value: Callable[[Run], float], label: str) -> None:
    backends = list(dict.fromkeys(r.backend for r in runs))
    colours = _colours(runs)
    width = 0.8 / len(backends)
    for k, backend in enumerate(backends):
        values = [value(r) for n in networks for r in runs if r.network == n and r.backend == backend]
        places = [i + (k - (len(backends) - 1) / 2) * width for i in range(len(networks))]
        drawn = axis.bar(places, values, 0.94 * width, label=backend, color=colours[backend])
        axis.bar_label(drawn, [label.format(v) for v in values], fontsize=9)
    axis.set_xticks(range(len(networks)), networks)
    axis.spines[["top", "right"]].set_visible(False)


def _shares(axis: Any, run: Run) -> None:
    colours = _colours([run])
    shown = run.shares[:_KERNELS_SHOWN]
    others = sum(s.seconds for s in run.shares[_KERNELS_SHOWN:])
    between = run.seconds - sum(s.seconds for s in run.shares)
    names = [*(f"{s.op} by {s.kernel}" for s in shown), "other kernels", "between kernels"]
    values = [seconds / run.seconds for seconds in (*(s.seconds for s in shown), others, between)]
    drawn = axis.barh(range(len(names)), values, color=[*(colours[_backend(s)] for s in shown), "#999999", "#cccccc"])
    axis.bar_label(drawn, [f"{v:.0%}" for v in values], fontsize=9, padding=2)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_xlim(0, 1.12 * max(values))  # room for the last label
    axis.set_title(run.network)
