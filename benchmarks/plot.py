"""A report as a figure: speed beside NumPy's, on a GPU beside CuPy's, and shares of the machine's limit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

from . import report
from .errors import BenchmarkError
from .peers import PROBE

_Points = list[tuple[float, int]]
_MARKERS: Final = "osD^vP*X"
#: Whom speeds are shown beside, by the peer's name: the first of these that ran.
_REFERENCES: Final = {"numpy": "NumPy", "cupy": "CuPy"}
_ROW_INCHES: Final = 0.24
#: Kinds of files that matplotlib writes without anything else.
_ENDINGS: Final = (".png", ".svg", ".pdf")


def check_target_file(path: Path) -> None:
    """Raise before a long run where no figure could be made.

    Raises:
        BenchmarkError: without matplotlib, or for a file that cannot be written or whose name has no known ending.
    """
    report.check_target_file(path)
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchmarkError("--plot needs matplotlib, which is not installed: pip install matplotlib")
    if path.suffix not in _ENDINGS:
        raise BenchmarkError(f"cannot draw into {path}: its name must end in {', '.join(_ENDINGS)}")


def _points(made: dict[str, Any], peer: str, cases: list[str], reference: str) -> tuple[_Points, _Points]:
    """Return (speed beside the reference, row) and (share of the limit, row) of a peer."""
    speeds: _Points = []
    shares: _Points = []
    for row in made["summary"]:
        if row["peer"] != peer:
            continue
        place = cases.index(row["case"])
        over = next((r["paired"] for r in row["ratios"] if r["over"] == reference), None)
        if over is not None:
            speeds.append((over, place))
        if row["share"] is not None:
            shares.append((row["share"]["paired"], place))
    return speeds, shares


def draw(made: dict[str, Any], path: Path) -> None:
    """Write a figure with one row per case and one mark per peer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cases = [case["name"] for case in made["cases"]]
    peers = [p["name"] for p in made["peers"] if p["status"] == "ran" and p["name"] != PROBE]
    reference = next((name for name in _REFERENCES if name in peers), "numpy")
    with_shares = any(row["share"] for row in made["summary"])
    figure = Figure(figsize=(13 if with_shares else 9, 1.6 + _ROW_INCHES * len(cases)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if with_shares else 1, sharey=True, squeeze=False)[0]
    for number, peer in enumerate(peers):
        colour, marker = f"C{number}", _MARKERS[number % len(_MARKERS)]
        for axis, points in zip(axes, _points(made, peer, cases, reference), strict=False):
            if points:
                xs, ys = zip(*points, strict=True)
                axis.scatter(xs, ys, s=26, marker=marker, color=colour, label=peer, zorder=3, alpha=0.85)
            elif axis is axes[0] and peer == reference:
                axis.axvline(1.0, color=colour, linewidth=1.2, label=peer, zorder=2)
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].xaxis.set_minor_formatter(lambda x, place: f"{x:g}" if f"{x:e}"[0] in "235" else "")
    axes[0].set_xlabel(f"times faster than {_REFERENCES[reference]} (log scale)")
    axes[0].set_yticks(range(len(cases)), cases, fontsize=7)
    axes[0].invert_yaxis()
    axes[0].set_ylim(len(cases) - 0.5, -0.5)
    if with_shares:
        axes[1].set_xlabel("share of the limit, measured in the same rounds")
        axes[1].set_xlim(left=0)
    for axis in axes:
        axis.grid(True, linewidth=0.4, alpha=0.5)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    quick = "" if made["quotable"] else ", quick run, not quotable"
    machine = made["machine"]
    figure.suptitle(f"{made['benchmark']}: {machine['cpu']}, {machine['cores']} cores, {made['date'][:10]}{quick}")
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror}") from error
