"""A report as tables for people."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .peers import PROBE

_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
#: Characters shown of a list of kernels, and of a note.
_DETAIL: Final = 60
_NOTE: Final = 200
_MARKS: Final = {"wrong": "WRONG", "failed": "failed", "unsupported": "-"}


def seconds(value: float) -> str:
    """Return a time with three digits.

    >>> seconds(1.234e-5)
    '12.3 us'
    """
    scale, unit = next(((s, u) for s, u in _UNITS if value >= s), _UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def show(report: dict[str, Any]) -> None:
    """Print a report on standard output."""
    # Off a terminal nothing wraps: lines go to files and other programs.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    for table in (probe_table(report), case_table(report), target_table(report)):
        if table.row_count:
            console.print(table)
            console.print()
    for line in notes(report):
        console.print(Text(line))
    if not report["quotable"]:
        console.print(Text("Quick run: tiny sizes and few samples. Not quotable."))


def _table(title: str, *columns: str) -> Table:
    heading = Text(title, no_wrap=True, overflow="ignore")
    made = Table(title=heading, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return made


def probe_table(report: dict[str, Any]) -> Table:
    """Return the limits of the machine, before and after."""
    title = "Limits of this machine, best burst before / after"
    made = _table(title, "probe", "level", "1 thread", "all threads", "unit")
    rows: dict[tuple[str, str], dict[int, list[str]]] = {}
    units: dict[tuple[str, str], str] = {}
    for p in report["probes"]:
        key = p["name"], p["level"] or ""
        rows.setdefault(key, {}).setdefault(p["threads"], []).append(f"{p['value']:.3g}")
        units[key] = p["unit"]
    for key, by_threads in rows.items():
        made.add_row(*key, *(" / ".join(by_threads[t]) for t in (min(by_threads), max(by_threads))), units[key])
    return made


def case_table(report: dict[str, Any]) -> Table:
    """Return one row per case: the first peer's time, rate and share, and how it relates to the others."""
    peers = [p["name"] for p in report["peers"] if p["status"] == "ran"]
    subject, others = peers[0], peers[1:]
    by_rate = report["unit"] != "s"
    head = [subject, "±"] + ([report["unit"], "of limit"] if by_rate else [])
    relation = "how many times faster it is than each peer" if by_rate else "each peer's time"
    title = f"{report['benchmark']}: {subject}, and {relation}"
    made = _table(title, "case", *head, *(f"x {o}" if by_rate else o for o in others), "ran")
    made.columns[-1].justify = "left"
    rows = {(r["case"], r["peer"]): r for r in report["summary"]}
    for case in report["cases"]:
        mine = rows[case["name"], subject]
        cells = [case["name"], *_own(mine, by_rate)]
        cells += [_relation(mine, rows[case["name"], other], by_rate) for other in others]
        cells.append(_cut(mine["detail"], _DETAIL))
        made.add_row(*(Text(cell) for cell in cells))
    return made


def _own(row: dict[str, Any], by_rate: bool) -> list[str]:
    if row["seconds"] is None:
        return [_MARKS[row["status"]], "", *(["", ""] if by_rate else [])]
    s = row["seconds"]
    cells = [seconds(s["median"]), f"{(s['q3'] - s['q1']) / 2 / s['median']:.0%}"]
    if by_rate:
        cells.append("" if row["rate"] is None else f"{row['rate']:.3g}")
        cells.append(f"{row['share']['paired']:.0%}" if row["share"] else "")
    return cells


def _relation(mine: dict[str, Any], other: dict[str, Any], as_ratio: bool) -> str:
    if other["seconds"] is None:
        return _MARKS[other["status"]]
    if not as_ratio:
        return seconds(other["seconds"]["median"])
    found = next((r["paired"] for r in mine["ratios"] if r["over"] == other["peer"]), None)
    return seconds(other["seconds"]["median"]) if found is None else f"{found:.2f}"


def target_table(report: dict[str, Any]) -> Table:
    """Return the targets."""
    made = _table("Targets", "target", "value", "at least", "met")
    for t in report["targets"]:
        value = "not measured" if t["value"] is None else f"{t['value']:.2f}"
        made.add_row(t["name"], value, f"{t['target']:.2f}", "yes" if t["met"] else "no")
    return made


def notes(report: dict[str, Any]) -> list[str]:
    """Return what a reader must know: peers left out, and every wrong or failed result; what a peer does not offer is
    told once per peer. The whole text is in the JSON.
    """
    made = [f"{p['name']}: {p['status']}: {_cut(p['note'], _NOTE)}" for p in report["peers"] if p["status"] != "ran"]
    if report["left_out"]:
        made.append(f"not begun, for want of time: {', '.join(report['left_out'])}")
    unsupported: dict[str, list[str]] = {}
    for row in report["summary"]:
        if row["status"] in ("wrong", "failed"):
            made.append(f"{row['peer']}: {row['status']} on {row['case']}: {_cut(row['note'], _NOTE)}")
        elif row["status"] == "unsupported" and row["peer"] != PROBE:
            unsupported.setdefault(row["peer"], []).append(row["note"])
    for peer, reasons in unsupported.items():
        made.append(f"{peer}: left out of {len(reasons)} of {len(report['cases'])} cases; {_cut(reasons[0], _NOTE)}")
    return made


def _cut(text: str, length: int) -> str:
    """Return a text of at most so many characters.

    >>> _cut("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"
