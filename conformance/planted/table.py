"""The kill table: every planted fault, what it stands for, what catches it; as JSON, for people, for the docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from .fault import Fault
from .judge import Verdict

_HEAD: Final = """\
# Planted faults

A suite that passes everything proves nothing. So `opmux.conformance.planted` keeps a backend that is right, the
twin, and {count} copies of it with one fault each, of the kinds that real backends have had. Every fault is caught by
the cases named beside it; `make test` shows that for each commit, and `make test-all` runs every fault against every
case in its reach, and the twin against the whole suite.

This page is made by `python -m opmux.conformance.planted --docs docs/planted-faults.md`. For one fault:
`python -m opmux.conformance.planted --only {example}`.
"""


def to_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the kill table as plain data."""
    return {
        "planted": len(verdicts),
        "killed": sum(v.killed for v in verdicts),
        "faults": [_row(v) for v in verdicts],
    }


def _row(v: Verdict) -> dict[str, Any]:
    return {
        "name": v.fault.name,
        "family": v.fault.family,
        "story": v.fault.story,
        "killers": list(v.fault.killers),
        "killed": v.killed,
        "by": list(v.by),
        "missed": list(v.missed),
        "seconds": round(v.seconds, 3),
    }


def line(v: Verdict, width: int) -> str:
    """Return what became of a fault, for a terminal, its name in so many characters."""
    return f"{'killed' if v.killed else 'SURVIVED'}  {v.fault.name:{width}}  {_caught(v)}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return what survived, and how many were killed, for a terminal."""
    lines = []
    for v in verdicts:
        if not v.killed:
            lines += ["", f"{v.fault.family}/{v.fault.name}: {v.fault.story}", *(f"  {m}" for m in v.missed)]
    lines += ["", f"{sum(v.killed for v in verdicts)} of {len(verdicts)} killed"]
    return "\n".join(lines)


def _caught(v: Verdict) -> str:
    more = f" and {len(v.by) - 2} more" if len(v.by) > 2 else ""
    return ", ".join(v.by[:2]) + more


def to_markdown(faults: Iterable[Fault]) -> str:
    """Return the page of the docs: what is planted and which cases catch it, by family."""
    listed = list(faults)
    parts = [_HEAD.format(count=len(listed), example=listed[0].name)]
    for family, mine in groupby(listed, key=lambda f: f.family):
        parts.append(f"\n## {family.replace('_', ' ').capitalize()}\n")
        parts.append("| fault | what is wrong | caught by |\n|---|---|---|")
        parts += [f"| {f.name} | {_cell(f.story)} | {'<br>'.join(f'`{_cell(k)}`' for k in f.killers)} |" for f in mine]
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
