"""Explanations: why a call runs where it runs, as data and as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .call import decide_call
from .decision import Candidate, Decision, Kind
from .errors import ArgumentError
from .op import OPS, Op


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate of an explanation.

    Attributes:
        candidate: its name, ``backend/kernel``.
        eligible: whether it could have been chosen.
        reason: the reason code where it is not eligible.
        detail: the reason in words, or what it does.
        claim: how far its claims are proved.
        seconds: predicted time.
        terms: the same, split into launch, compute, memory, copies, transfers.
        source: where the prediction comes from.
    """

    candidate: str
    eligible: bool
    reason: str | None
    detail: str
    claim: str | None
    seconds: float | None
    terms: dict[str, float]
    source: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call runs where it runs; prints as a table.

    Attributes:
        op: its name.
        call: the op with the signatures of its operands.
        device: where it runs.
        chosen: the candidate that runs it.
        margin: how many times dearer the runner-up is; None without one.
        rows: every candidate, the chosen one first.
        notes: what else is to say: casts and copies before the kernel, what would change the choice.
    """

    op: str
    call: str
    device: str
    chosen: str
    margin: float | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain data, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        head = ("", "candidate", "predicted", "launch", "compute", "memory", "copies", "claim", "why")
        table = [head, *(_cells(r, r.candidate == self.chosen and r.eligible) for r in self.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        margin = "" if self.margin is None else f", {self.margin:.2f}x cheaper than the next"
        return "\n".join([f"{self.call} on {self.device}: {self.chosen}{margin}", *lines, *self.notes])


def _cells(row: Row, chosen: bool) -> tuple[str, ...]:
    def shown(name: str) -> str:
        return _seconds(row.terms[name]) if name in row.terms else ""

    return (
        "*" if chosen else "",
        row.candidate,
        "" if row.seconds is None else _seconds(row.seconds),
        shown("launch"),
        shown("compute"),
        shown("memory"),
        shown("copies"),
        row.claim or "",
        row.detail if row.eligible else f"{row.reason}: {row.detail}",
    )


def _seconds(value: float) -> str:
    if value == 0:
        return "0"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def _row(candidate: Candidate) -> Row:
    cost = candidate.cost
    terms = {} if cost is None else {k: v for k, v in asdict(cost).items() if k != "source"}
    rejection = candidate.rejection
    return Row(
        candidate.name,
        rejection is None,
        None if rejection is None else str(rejection.reason),
        _describe(candidate) if rejection is None else rejection.detail,
        None if rejection is not None else str(candidate.claim),
        None if cost is None else cost.total,
        terms,
        None if cost is None else cost.source,
    )


def _describe(candidate: Candidate) -> str:
    if candidate.kind is Kind.DECOMPOSITION:
        return "; ".join(f"{p.op.name} by {p.chosen.name}" for p in candidate.parts[:6]) + (
            f"; {len(candidate.parts) - 6} more" if len(candidate.parts) > 6 else ""
        )
    if candidate.kind is Kind.FALLBACK:
        return "no kernel on the operands' device"
    if candidate.copies:
        return f"after a dense copy of operand {', '.join(str(i) for i, _ in candidate.copies)}"
    return ""


def explanation_of(decision: Decision) -> Explanation:
    """Return the explanation of a decision."""
    shown = ", ".join(
        "none" if s is None else f"{s.dtype}[{','.join(map(str, s.shape))}]" + ("" if s.contiguous else " strided")
        for s in decision.inputs
    )
    attributes = "".join(f", {k}={v}" for k, v in decision.attributes)
    notes = []
    if decision.chosen.parts and decision.chosen.kind is Kind.KERNEL:
        before = [p for p in decision.chosen.parts if p.op is not decision.op]
        notes.append(f"before the kernel: {', '.join(f'{p.op.name} by {p.chosen.name}' for p in before)}")
    second = decision.runner_up
    if second is not None and decision.margin is not None:
        notes.append(
            f"{second.name} would be chosen if its predicted time fell by more than {1 - 1 / decision.margin:.0%}, or with "
            f"policy(pins={{{decision.op.name!r}: {second.backend!r}}})"
            if second.backend
            else f"{second.name} would be chosen if its predicted time fell by more than {1 - 1 / decision.margin:.0%}"
        )
    return Explanation(
        decision.op.name,
        f"{decision.op.name}({shown}{attributes})",
        decision.device.name,
        decision.chosen.name,
        decision.margin,
        tuple(_row(c) for c in decision.candidates),
        tuple(notes),
    )


def explain(op: str | Op | Any, /, *args: Any, **attributes: Any) -> Explanation:
    """Return why a call would run where it would run, without running it.

    Args:
        op: an op's public function, or its name.
        args: as the call takes them.
        attributes: likewise.

    Raises:
        ArgumentError: for an unknown op.
        UnsupportedError: when nothing can do the call.

    >>> import opmux as ox
    >>> x = ox.asarray([1.0, 2.0])
    >>> ox.explain("exp", x).op
    'exp'
    """
    if isinstance(op, str):
        found = OPS.get(op)
        if found is None:
            raise ArgumentError(f"no op named {op!r}; `opmux ops` lists them", op=op)
    else:
        found = op if isinstance(op, Op) else getattr(op, "op", None)
        if not isinstance(found, Op):
            raise ArgumentError(f"{op!r} is not an op; pass an op's name or its public function", op=op)
    return explanation_of(decide_call(found, args, attributes))

