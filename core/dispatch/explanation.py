"""Explanations as data: every candidate of a call, what it would cost, and what would change the choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .decision import Candidate, Decision, Kind
from .explain_text import as_text, normal


@dataclass(frozen=True, slots=True)
class Part:
    """Equal steps of a decomposition.

    Attributes:
        op: what they do.
        candidate: what runs them.
        calls: how many there are.
        seconds: predicted, for all of them.
        claim: how far the claims are proved of what runs them; of a region those of its family.
    """

    op: str
    candidate: str
    calls: int
    seconds: float
    claim: str


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
        terms: the same, split into launch, compute, memory, copies, transfers. Of compute and memory the larger counts,
            in a decomposition that of each step.
        source: where the prediction comes from.
        parts: what a decomposition consists of, the dearest first.
    """

    candidate: str
    eligible: bool
    reason: str | None
    detail: str
    claim: str | None
    seconds: float | None
    terms: dict[str, float]
    source: str | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call runs where it runs; prints as a table.

    Attributes:
        op: its name.
        call: the op with the signatures of its operands and the attributes that are not the defaults.
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

    def to_text(self, width: int = 100) -> str:
        """Return the explanation as a table, its sentences wrapped to a width in characters."""
        return as_text(self, width)

    def __str__(self) -> str:
        return self.to_text()


def steps_of(decision: Decision) -> Iterator[Decision]:
    """Yield the decisions that a decision comes down to: itself, or those of its parts, of their parts and so on."""
    if decision.chosen.kind is Kind.DECOMPOSITION:
        for part in decision.chosen.parts:
            yield from steps_of(part)
    else:
        yield decision


def _parts(candidate: Candidate) -> tuple[Part, ...]:
    if candidate.kind is not Kind.DECOMPOSITION:
        return ()
    found: dict[tuple[str, str], Part] = {}
    for step in (s for p in candidate.parts for s in steps_of(p)):
        key = (step.op.name, step.chosen.name)
        known = found.get(key, Part(*key, 0, 0.0, str(step.chosen.claim)))
        found[key] = replace(known, calls=known.calls + 1, seconds=known.seconds + step.cost.total)
    return tuple(sorted(found.values(), key=lambda p: -p.seconds))


def _row(candidate: Candidate) -> Row:
    cost = candidate.cost
    terms = {} if cost is None else {k: v for k, v in asdict(cost).items() if k not in ("source", "steps")}
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
        _parts(candidate),
    )


def _describe(candidate: Candidate) -> str:
    if candidate.kind is Kind.FALLBACK:
        return "no kernel on the operands' device"
    if candidate.copies:
        return f"after a dense copy of operand {', '.join(f'{i} by {d.chosen.name}' for i, d in candidate.copies)}"
    return ""


def _call(decision: Decision) -> str:
    given = list(decision.inputs)
    while given and given[-1] is None:  # optional operands that were left out
        given.pop()
    shown = [
        "none" if s is None else f"{s.dtype}[{','.join(map(str, s.shape))}]" + ("" if s.contiguous else " strided")
        for s in given
    ]
    defaults = {p.name: p.default for p in decision.op.parameters if not p.required}
    dtypes = {s.dtype for s in decision.inputs if s is not None}
    for name, value in decision.attributes:
        implied = defaults.get(name) is None and dtypes == {value}  # a dtype that the operands have already
        if name not in defaults or not (implied or normal(value, defaults[name])):
            shown.append(f"{name}={value}".replace(", ", ","))  # no spaces, so that no line ends inside of it
    return f"{decision.op.name}({', '.join(shown)})"


def _what_would_change(decision: Decision) -> Iterator[str]:
    second = decision.runner_up
    if second is None or decision.margin is None:
        return
    if decision.margin == 1.0:
        yield f"{second.name} is predicted to take as long; ties go to the higher priority, then to the first name"
    else:
        less = 100 * (1 - 1 / decision.margin)
        yield f"{second.name} would be chosen if its predicted time fell by more than {less:.2g} %"
    if second.backend and second.backend != decision.chosen.backend:
        yield f"policy(pins={{{decision.op.name!r}: {second.backend!r}}}) chooses {second.backend} in any case"


def explanation_of(decision: Decision, others: Sequence[Decision] = ()) -> Explanation:
    """Return the explanation of a decision, and of what its call runs besides."""
    notes = [f"the call also runs {_named(others)}"] if others else []
    if decision.chosen.parts and decision.chosen.kind is Kind.KERNEL:
        before = [p for p in decision.chosen.parts if p.op is not decision.op]
        notes.append(f"before the kernel: {_named(before)}")
    return Explanation(
        decision.op.name,
        _call(decision),
        decision.device.name,
        decision.chosen.name,
        decision.margin,
        tuple(_row(c) for c in decision.candidates),
        (*notes, *_what_would_change(decision)),
    )


def _named(decisions: Sequence[Decision]) -> str:
    return ", ".join(f"{d.op.name} by {d.chosen.name}" for d in decisions)
