"""Large messages: what kernels and algorithms cut into pieces, share among threads, or write past the caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ....core.dtypes import BOOL, COMPLEX, DType, float32
from ....core.errors import ConformanceError
from ....core.op import Op
from ....opset.declare import declaration_of
from ...oracle.compare import Where, check_layout
from ...oracle.formats import Host
from ...target import Findings, Target
from . import calls, checks, expected, into
from .calls import Call
from .ranks import Ranks

#: The dtype on which messages beyond the caches are tried: pieces and shares are counted in bytes.
STREAMED: Final = float32
#: The numbers of ranks and the reductions that they are tried with: kernels for pairs are often apart.
RANKS: Final = (2, 3)
REDUCTIONS: Final = ("sum", "max")
#: The collectives whose results may be in the memory of the operands.
_IN_PLACE: Final = frozenset({"all_reduce", "broadcast"})


def pieces(t: DType, turn: int | None) -> Callable[..., None]:
    """Return the case of operands of several pieces, on any dtype."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        given = calls.large(op, t, 3)
        wanted = _exactly(op, t, given)
        for made in checks.runs(target, op, given, ranks, turn=turn):
            checks.hold(made, wanted, findings)

    return body


def _exactly(op: Op, t: DType, given: Call) -> list[expected.Expected]:
    """Return what small integers give, which every dtype holds."""
    attributes = checks.completed(op, given.attributes)
    if not calls.is_reduction(op) or t.kind == BOOL:
        return expected.expected(op, given.operands, attributes)
    wide = [x.astype(np.complex128 if t.kind == COMPLEX else np.float64) for x in given.operands]
    whole = np.sum(wide, axis=0).astype(t.numpy)
    return expected.exactly(op, t, whole, given.ranks, attributes)


def beyond_caches(n: int, reduction: str, turn: int) -> Callable[..., None]:
    """Return the case of results of millions of elements; by kernels also into memory between guards, in place where
    that may be.
    """

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        given = calls.streamed(op, n, reduction)
        wanted = [_words(op, x) for x in _results(op, given)]
        for made in checks.runs(target, op, given, ranks, turn=turn):
            checks.hold(made, wanted, findings)
        if target.device.is_host:
            own = range(n) if op.name in _IN_PLACE else ()
            into.each(target, op, given, ranks, turn, into.kernels_alone(into.in_own(given, wanted, own, findings)))

    return body


def _results(op: Op, given: Call) -> list[Host]:
    """Return every rank's result; sums of these operands are exact in any order."""
    attributes = checks.completed(op, given.attributes)
    if not calls.is_reduction(op):
        return [np.asarray(x) for x in declaration_of(op).body(np, list(given.operands), None, **attributes)]
    whole = given.operands[0].astype(np.float64)
    for x in given.operands[1:]:
        whole = whole + x if attributes["reduction"] == "sum" else np.where(x > whole, x, whole)
    made = expected.exactly(op, STREAMED, whole.astype(STREAMED.numpy), given.ranks, attributes)
    return [e.want for e in made]


def _words(op: Op, want: Host) -> expected.Expected:
    """Return the demand of the same bits, compared a word at a time: byte by byte takes seconds for millions."""
    words = np.ascontiguousarray(want).view(np.uint32)

    def check(got: Host) -> float:
        check_layout(got, want.shape, Where(op.name, STREAMED))
        wrong = (np.ascontiguousarray(got).view(np.uint32) != words).nonzero()[0]
        if wrong.size:
            at = int(wrong[0])
            raise ConformanceError(
                f"{wrong.size} of {want.size} elements are wrong, the first at {at}: {got[at]} instead of {want[at]}",
                op=op.name,
            )
        return 0.0

    return expected.Expected(want, check, "exact")
