"""What a call costs when there is next to nothing to compute: eight elements."""

from __future__ import annotations

from typing import Final

from ..case import Case
from ..kinds import make_case
from .base import Suite

_N: Final = 8


def cases(quick: bool) -> list[Case]:
    """Return the cases; they are as small in a quick run."""
    dtypes = ("float32",) if quick else ("float32", "float64")
    made = []
    for t in dtypes:
        made += [
            make_case("add", t, (_N,), (_N,)),
            make_case("add", t, (_N,), (_N,), out=True),
            make_case("exp", t, (_N,)),
            make_case("exp", t, (_N,), out=True),
            make_case("sum", t, (_N,), axis=None),
            make_case("matmul", t, (_N, _N), (_N, _N)),
            make_case("matmul", t, (_N, _N), (_N, _N), out=True),
            make_case("chain", t, (_N,), (_N,), (_N,)),
            make_case("chain", t, (_N,), (_N,), (_N,), style="compiled"),
        ]
    return made


SUITE: Final = Suite("call_cost", "Cost of a call on 8 elements", "s", cases)
