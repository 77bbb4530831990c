"""What the demo found, as tables and as plain data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

import typer

from ..core.devices.device import DEVICES
from ..core.dispatch.explanation import explanation_of
from ..core.dispatch.observe import CallCount
from .demo import MIX, Digits, Run
from .output import table, text_width

#: How many kernels the table shows for each network; the JSON holds all.
_KERNELS_SHOWN: Final = 8
#: How many ops are explained.
_EXPLAINED: Final = 2


def dearest(runs: Sequence[Run]) -> list[CallCount]:
    """Return, of the ops on which the dispatcher's mix spent most time, each one's dearest call."""
    calls = [c for r in runs if r.backend == MIX for c in r.calls]
    spent: dict[str, float] = {}
    for c in calls:
        spent[c.decision.op.name] = spent.get(c.decision.op.name, 0.0) + c.seconds
    ops = sorted(spent, key=lambda name: -spent[name])[:_EXPLAINED]
    return [max((c for c in calls if c.decision.op.name == name), key=lambda c: c.seconds) for name in ops]


def missed_targets(runs: Sequence[Run]) -> str:
    """Return one sentence on the targets that were missed; an empty one where all were met."""
    missed = [r for r in runs if r.accuracy < r.target]
    if not missed:
        return ""
    said = "; ".join(f"{r.network} by {r.backend} reached {r.accuracy:.2%}, not {r.target:.0%}" for r in missed)
    return f"{len(missed)} of {len(runs)} trainings missed the accuracy target: {said}"


def show(runs: Sequence[Run]) -> None:
    """Print accuracy and time, who ran what, and why the dearest calls of the two dearest ops ran where they did."""
    table(
        "Handwritten digits: accuracy on the held-out quarter, and training time",
        ("network", "run by", "accuracy", "target", "seconds", "calls"),
        [
            (
                r.network, r.backend, f"{r.accuracy:.2%}", f"{r.target:.0%}", f"{r.seconds:.2f}",
                f"{sum(c.calls for c in r.calls):,}",
            )
            for r in runs
        ],
        numbers=("accuracy", "target", "seconds", "calls"),
    )  # fmt: skip
    for run in runs:
        if run.backend == MIX:
            typer.echo("")
            _show_shares(run)
    for count in dearest(runs):
        made = f"its dearest call, made {count.calls:,} times, {count.seconds:.2f} s in all"
        typer.echo(f"\nWhy {count.decision.op.name} runs where it runs: {made}")
        typer.echo(explanation_of(count.decision).to_text(text_width()))
    typer.echo("")


def _show_shares(run: Run) -> None:
    rows = [
        (s.op, s.kernel, f"{s.calls:,}", f"{s.seconds:.2f}", f"{s.seconds / run.seconds:.1%}", ", ".join(s.inside))
        for s in run.shares[:_KERNELS_SHOWN]
    ]
    others = run.shares[_KERNELS_SHOWN:]
    if others:
        seconds = sum(s.seconds for s in others)
        calls = sum(s.calls for s in others)
        rows.append((f"{len(others)} more", "", f"{calls:,}", f"{seconds:.2f}", f"{seconds / run.seconds:.1%}", ""))
    rest = run.seconds - sum(s.seconds for s in run.shares)
    rows.append(("between kernels", "", "", f"{rest:.2f}", f"{rest / run.seconds:.1%}", ""))
    table(
        f"Who ran what for {run.backend}, {run.network} network",
        ("op", "kernel", "calls", "seconds", "share", "called inside of"),
        rows,
        numbers=("calls", "seconds", "share"),
    )


def describe(digits: Digits, runs: Sequence[Run]) -> dict[str, Any]:
    """Return everything as plain data."""
    host = DEVICES.find("cpu:0")
    return {
        "opmux": metadata.version("opmux"),
        "machine": {"processor": host.info.name, "python": platform.python_version(), "system": platform.system()},
        "data": {"name": "digits", "train": digits.train_x.shape[0], "held_out": digits.test_x.shape[0]},
        "runs": [
            {
                "network": r.network,
                "backend": r.backend,
                "accuracy": r.accuracy,
                "target": r.target,
                "met": r.accuracy >= r.target,
                "seconds": r.seconds,
                "calls": sum(c.calls for c in r.calls),
                "kernels": [
                    {
                        "op": s.op,
                        "kernel": s.kernel,
                        "calls": s.calls,
                        "seconds": s.seconds,
                        "share": s.seconds / r.seconds,
                        "inside": list(s.inside),
                    }
                    for s in r.shares
                ],
            }
            for r in runs
        ],
        "dearest": [
            {"calls": c.calls, "seconds": c.seconds, "explanation": explanation_of(c.decision).to_dict()}
            for c in dearest(runs)
        ],
    }
