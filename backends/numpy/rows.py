"""Small helpers to write kernels over NumPy views as rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Accepts, Array, CallSpec, CostTerms, Kernel, Prepared, Rejection, dtypes

Host = NDArray[Any]

BOOL: Final = frozenset({"bool"})
INTEGERS: Final = frozenset(t.name for t in dtypes.INTEGERS)
FLOATS: Final = frozenset(t.name for t in dtypes.FLOATS)
NARROW: Final = frozenset({"float16", "bfloat16"})
COMPLEXES: Final = frozenset(t.name for t in dtypes.COMPLEXES)
ALL: Final = frozenset(t.name for t in dtypes.ALL)


def quiet(function: Callable[..., None]) -> Callable[..., None]:
    """Keep NumPy's floating-point warnings to itself: special values are defined results here."""

    @functools.wraps(function)
    def silenced(*args: Any) -> None:
        with np.errstate(all="ignore"):
            function(*args)

    return silenced


def launcher(compute: Callable[..., None]) -> Prepared:
    """Return a prepared kernel that calls ``compute(out, *operands)`` on NumPy views."""
    silenced = quiet(compute)

    def launch(outs: Any, ins: Any, workspace: Array | None, queue: Any) -> None:
        silenced(outs[0].host, *[None if x is None else x.host for x in ins])

    return Prepared(launch)


def kernel(
    op: str,
    bind: Callable[[CallSpec], Callable[..., None] | Rejection],
    accepts: Iterable[frozenset[str]] = (),
    *,
    name: str | None = None,
    cost: CostTerms = CostTerms(),  # noqa: B008 - frozen
) -> Kernel:
    """Return a kernel from a function that binds a call's attributes and returns ``compute(out, *operands)``."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        compute = bind(spec)
        return compute if isinstance(compute, Rejection) else launcher(compute)

    return Kernel(name or op, op, "cpu", prepare, Accepts(dtypes=tuple(accepts)), cost=cost)
