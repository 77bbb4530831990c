"""The demo's chart: accuracy and time per backend, and who ran what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .demo import Run

_COLOURS = {"numpy": "#4c72b0", "llvm": "#dd8452", "dispatcher": "#55a868"}


def draw(runs: Sequence[Run], path: Path) -> None:
    """Write the chart as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    networks = list(dict.fromkeys(r.network for r in runs))
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    _bars(axes[0], runs, networks, "accuracy", "held-out accuracy (axis starts at 0.9)")
    for i, network in enumerate(networks):
        target = next(r.target for r in runs if r.network == network)
        axes[0].hlines(target, i - 0.45, i + 0.45, colors="black", linestyles="dashed", linewidth=1)
    axes[0].set_ylim(0.9, 1.0)
    _bars(axes[1], runs, networks, "seconds", "training time, seconds")
    _shares(axes[2], [r for r in runs if r.backend == "dispatcher"])
    axes[0].legend(loc="lower right")
    figure.suptitle("opmux demo: 1,797 handwritten digits, dashed lines are the targets")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Any, runs: Sequence[Run], networks: Sequence[str], field: str, title: str) -> None:
    backends = list(dict.fromkeys(r.backend for r in runs))
    width = 0.8 / len(backends)
    for k, backend in enumerate(backends):
        values = [getattr(r, field) for n in networks for r in runs if r.network == n and r.backend == backend]
        places = [i + (k - (len(backends) - 1) / 2) * width for i in range(len(networks))]
        drawn = axis.bar(places, values, width, label=backend, color=_COLOURS.get(backend))
        axis.bar_label(drawn, [f"{v:.3f}" if field == "accuracy" else f"{v:.1f}" for v in values], fontsize=8)
    axis.set_xticks(range(len(networks)), networks)
    axis.set_title(title)


def _shares(axis: Any, runs: Sequence[Run]) -> None:
    names = [n for r in runs for n in list(r.shares())[:6]]
    shown = list(dict.fromkeys(names))
    height = 0.8 / max(len(runs), 1)
    for k, run in enumerate(runs):
        places = [i + k * height for i in range(len(shown))]
        axis.barh(places, [run.shares().get(n, 0.0) for n in shown], height, label=run.network)
    axis.set_yticks([i + height / 2 for i in range(len(shown))], shown)
    axis.invert_yaxis()
    axis.legend()
    axis.set_title("dispatcher's mix: share of call time by kernel")
