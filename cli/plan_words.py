"""A plan in words, for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..conformance.reports.words import in_bytes, in_seconds

if TYPE_CHECKING:
    from ..backends.sim.planning import OpRow, Plan

#: Heads of the table of ops.
OPS: Final = ("op", "on", "calls", "time", "share", "bound by", "utilisation", "inside of", "why the host")
#: Heads of the table of several plans.
BESIDE: Final = (
    "device", "time", "energy", "price", "peak memory", "capacity", "moved", "on the host", "dearest lack",
)  # fmt: skip

#: Shares below this are left out of a list of them.
_LEAST: Final = 0.005


def facts(made: Plan) -> list[tuple[str, str]]:
    """Return what is said of a whole plan, each with its name."""
    memory = f"{in_bytes(made.peak)} at most, of {in_bytes(made.capacity)}"
    if made.spilled:
        memory += f"; does not fit: {in_bytes(made.spilled)} are moved out and back"
    busy = ", ".join(f"{name} {share:.0%}" for name, share in _busy(made).items())
    return [
        ("time", in_seconds(made.seconds)),
        ("energy", "unknown: the description has no [power]" if made.joules is None else in_joules(made.joules)),
        ("price", "unknown: the description has no [price]" if made.price is None else in_money(made)),
        ("memory", memory),
        ("transfers", f"{in_bytes(made.uploaded)} to the device, {in_bytes(made.downloaded)} from it"),
        ("on the host", f"{made.fallbacks:,} of {made.calls:,} calls"),
        ("busy" if made.devices == 1 else "mean busy", busy),
        ("limited by", ", ".join(f"{what} {share:.0%}" for what, share in limits(made) if share >= _LEAST)),
    ]


def limits(made: Plan) -> list[tuple[str, float]]:
    """Return what the time of all calls is bound by, the largest share first: compute, memory, launch, or a place."""
    shares: dict[str, float] = {}
    for row in made.ops:
        what = row.bound or row.engine
        shares[what] = shares.get(what, 0.0) + row.share
    return sorted(shares.items(), key=lambda item: (-item[1], item[0]))


def _busy(made: Plan) -> dict[str, float]:
    """Return the share of the time during which each engine works, in the mean over devices."""
    shares: dict[str, list[float]] = {}
    for name, share in made.engines.items():
        shares.setdefault(name.partition(" ")[2] if name[0].isdigit() else name, []).append(share)
    return {name: sum(each) / (1 if name == "host" else made.devices) for name, each in shares.items()}


def beside(p: Plan) -> tuple[object, ...]:
    """Return a plan as a row beside others, one cell for each of :data:`BESIDE`."""
    dearest = f"{p.absences[0].op} ({p.absences[0].times:.3g}x)" if p.absences else None
    return (
        p.device.name, in_seconds(p.seconds), None if p.joules is None else in_joules(p.joules),
        None if p.price is None else in_money(p), in_bytes(p.peak), in_bytes(p.capacity),
        in_bytes(p.uploaded + p.downloaded + p.spilled), f"{p.fallbacks:,} of {p.calls:,}", dearest,
    )  # fmt: skip


def op_cells(r: OpRow) -> tuple[object, ...]:
    """Return an op's row as text, one cell for each of :data:`OPS`."""
    return (
        r.op, r.engine, f"{r.calls:,}", in_seconds(r.seconds), f"{r.share:.1%}", r.bound or None,
        None if r.utilisation is None else f"{100 * r.utilisation:.3g}%", ", ".join(r.inside) or None, r.reason or None,
    )  # fmt: skip


def in_joules(joules: float) -> str:
    """Return an energy with the unit that suits it.

    >>> in_joules(0.00545), in_joules(12.0), in_joules(0.0)
    ('5.45 mJ', '12 J', '0 J')
    """
    for unit, scale in (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)):
        if joules >= scale:
            return f"{joules / scale:.3g} {unit}"
    return f"{joules:.3g} J"


def in_money(made: Plan) -> str:
    """Return the price of a plan."""
    return f"{made.price:.3g} {made.currency}"
