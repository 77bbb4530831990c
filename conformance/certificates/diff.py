"""What changed from one certificate to the next, and which of it breaks users.

The rules, which ``docs/certificates.md`` tells too. A change is breaking where the new certificate

- lost a profile, or an op or dtype: it passed whole (something passed, nothing failed), and no longer does;
- is less accurate: the worst error of an op and dtype, or a promised bound, is larger in half ULPs rounded up (the
  bound 0.5 of a correctly rounded result is the first step); of errors that are shares of a bound, it has more than
  doubled and is above a tenth of the bound; what was exact is not;
- lost a determinism class: a case about determinism passed and no longer does, or a kernel promises less;
- lost a claim: an op and dtype had a kernel whose claims are shown, and now has none;
- is about a device that flushes subnormals, and the old one was not.

The same the other way round is a gain. Cases that came or went are told and break nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ...core.kernel import Determinism
from ..results.outcome import BAD, Outcome
from .errors import CertificateError
from .model import Certificate, OpRow
from .reconcile import summary_of

#: Below this share of a bound an error says more about the samples than about the kernel.
_SMALL_SHARE: Final = 0.1
_ULP: Final = "ULP"
_SHARE: Final = "of the bound"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was.

    Attributes:
        kind: ``"profile"``, ``"op"``, ``"dtype"``, ``"accuracy"``, ``"determinism"``, ``"claim"`` or ``"subnormals"``.
        what: of which profile, op and dtype, or kernel.
        text: what changed, in words.
    """

    kind: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.text}"


@dataclass(frozen=True)
class Diff:
    """What changed from one certificate to another.

    Attributes:
        old, new: whom they are about.
        breaking: what users lose.
        gains: what they win.
        notes: what to know when reading it: another suite, another device.
        appeared, disappeared: ids of cases that one of them does not have.
    """

    old: str
    new: str
    breaking: tuple[Change, ...]
    gains: tuple[Change, ...]
    notes: tuple[str, ...]
    appeared: tuple[str, ...]
    disappeared: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {"is_breaking": bool(self.breaking), **asdict(self)}


def diff(old: Certificate, new: Certificate) -> Diff:
    """Return what changed.

    Raises:
        CertificateError: they are of different backends or kinds of device, or one is not complete: what was not run
            would look like a loss.
    """
    for name, c in (("old", old), ("new", new)):
        if not c.complete:
            told = summary_of(c.incomplete)
            raise CertificateError(f"the {name} certificate is not complete ({told}): what was not run is no loss")
    if (old.backend.name, old.device.kind) != (new.backend.name, new.device.kind):
        raise CertificateError(
            f"they are of different subjects: {old.backend.name} on {old.device.kind}, "
            f"{new.backend.name} on {new.device.kind}; `opmux report` puts several side by side"
        )
    was, now = dict(old.outcomes()), dict(new.outcomes())
    return Diff(
        old.subject, new.subject, tuple(_losses(old, new, lost=True)), tuple(_losses(new, old, lost=False)),
        tuple(_notes(old, new)), tuple(sorted(now.keys() - was.keys())), tuple(sorted(was.keys() - now.keys())),
    )  # fmt: skip


def _notes(old: Certificate, new: Certificate) -> Iterator[str]:
    if old.suite.digest != new.suite.digest:
        yield (
            f"the suite differs ({old.suite.version}, {new.suite.version}; opset {old.suite.opset}, "
            f"{new.suite.opset}): a change may lie in what was asked"
        )
    if old.device.model != new.device.model:
        yield f"the device differs: {old.device.model}, then {new.device.model}"
    if old.run.seed != new.run.seed:
        yield f"the seed differs: {old.run.seed}, then {new.run.seed}"


def _losses(more: Certificate, less: Certificate, *, lost: bool) -> Iterator[Change]:
    """Yield what one has and the other has not; the words say in which direction of time that is."""
    for rule in (_profiles, _subnormals, _ops, _accuracy, _promises, _determinism, _claims):
        yield from rule(more, less, lost)


def _profiles(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    for name in more.conformant:
        if name not in less.conformant:
            yield Change("profile", name, "no longer conformant" if lost else "now conformant")


def _subnormals(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    if less.device.flushes_subnormals and not more.device.flushes_subnormals:
        yield Change("subnormals", less.device.kind, "now flushed to zero" if lost else "now kept")


def _rows(c: Certificate) -> dict[str, OpRow]:
    return {row.pair: row for row in c.ops}


def _works(row: OpRow | None) -> bool:
    """Return whether an op serves a dtype: something passed and nothing failed."""
    return row is not None and bool(row.counts.get(Outcome.PASS)) and not any(row.counts.get(o) for o in BAD)


def _ops(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    here, there = _rows(more), _rows(less)
    left = {row.op for row in there.values() if _works(row)}
    gone: dict[str, list[str]] = {}
    for pair, row in here.items():
        if _works(row) and not _works(there.get(pair)):
            gone.setdefault(row.op, []).append(row.dtype)
    for op, dtypes in gone.items():
        why = _state(there.get(f"{op}-{dtypes[0]}")) if lost else "works now"
        if op in left:
            for t in dtypes:
                yield Change("dtype", f"{op} on {t}", _state(there.get(f"{op}-{t}")) if lost else why)
        else:
            yield Change("op", op, f"{why}, on {', '.join(dtypes)}")


def _state(row: OpRow | None) -> str:
    if row is None:
        return "gone"
    failed = sum(row.counts.get(o, 0) for o in BAD)
    return f"{failed} cases fail" if failed else "refused"


def _step(error: float) -> float:
    """Return an error in half ULPs, rounded up; 0 for exact.

    >>> [_step(e) for e in (0.0, 0.37, 0.5, 0.51, 1.0, 3.2)]
    [0.0, 0.5, 0.5, 1.0, 1.0, 3.5]
    """
    return math.ceil(error * 2) / 2


def _coarser(unit: str, before: float, after: float) -> bool:
    if unit == _ULP:
        return _step(after) > _step(before)
    return after > max(2 * before, _SMALL_SHARE)


def _accuracy(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    there = _rows(less)
    for pair, row in _rows(more).items():
        other = there.get(pair)
        if other is None or not (_works(row) and _works(other)):
            continue  # that is a loss of its own
        before = {w.unit: w.error for w in row.worst}
        for w in other.worst:
            # Without an error of its own unit, what it was before was exact.
            known = before.get(w.unit, 0.0)
            if _coarser(w.unit, known, w.error):
                a, b = (known, w.error) if lost else (w.error, known)
                yield Change("accuracy", f"{row.op} on {row.dtype}", f"worst error {a:g}, now {b:g} {w.unit}")


def _kept(c: Certificate) -> dict[tuple[str, str], tuple[float | None, Determinism]]:
    """Return per op and dtype the tightest bound and the strongest class of the kernels whose claims are shown."""
    made: dict[tuple[str, str], tuple[float | None, Determinism]] = {}
    for row in c.claims:
        if row.level == "shown":
            bound, strongest = made.get((row.op, row.dtype), (None, Determinism.NONE))
            mine = Determinism[row.determinism.upper()]
            bounds = [b for b in (bound, row.promised_ulp) if b is not None]
            made[row.op, row.dtype] = min(bounds, default=None), max(strongest, mine, key=lambda d: d.value)
    return made


def _promises(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    there = _kept(less)
    for (op, dtype), (bound, strongest) in _kept(more).items():
        if (op, dtype) not in there:
            continue
        other, weaker = there[op, dtype]
        if bound is not None and (other is None or _step(other) > _step(bound)):
            told = [f"{b:g} ULP" if b is not None else "nothing" for b in ((bound, other) if lost else (other, bound))]
            yield Change("accuracy", f"{op} on {dtype}", f"{told[0]} was promised, now {told[1]}")
        if weaker.value < strongest.value:
            a, b = (strongest, weaker) if lost else (weaker, strongest)
            yield Change("determinism", f"{op} on {dtype}", f"{a.name.lower()} was kept, now {b.name.lower()}")


def _determinism(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    there = _rows(less)
    for pair, row in _rows(more).items():
        other: Mapping[str, str] = there[pair].determinism if pair in there else {}
        for label, outcome in row.determinism.items():
            if outcome == Outcome.PASS and other.get(label, outcome) != Outcome.PASS:
                found = other[label] if lost else "passes"
                yield Change("determinism", f"{row.op} on {row.dtype}", f"{label}: {found}")


def _claims(more: Certificate, less: Certificate, lost: bool) -> Iterator[Change]:
    shown: Callable[[Certificate], set[tuple[str, str]]] = lambda c: {  # noqa: E731 - used twice, right here
        (row.op, row.dtype) for row in c.claims if row.level == "shown"
    }
    for op, dtype in sorted(shown(more) - shown(less)):
        yield Change("claim", f"{op} on {dtype}", "no kernel is shown any more" if lost else "a kernel is shown now")


def text_of(d: Diff) -> str:
    """Return a diff for people; the first line says whether it breaks users."""
    count = len(d.breaking)
    first = f"BREAKING: {count} change{'s' * (count != 1)}" if count else "nothing is lost"
    lines = [f"{first}: {d.old} -> {d.new}", *(f"note: {note}" for note in d.notes)]
    lines += [f"- {change}" for change in d.breaking] + [f"+ {change}" for change in d.gains]
    for word, ids in (("appeared", d.appeared), ("disappeared", d.disappeared)):
        if ids:
            more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
            lines.append(f"{len(ids)} cases {word}: {', '.join(ids[:5])}{more}")
    return "\n".join(lines)
