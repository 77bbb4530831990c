"""What computes on a host that shares a mesh with the device under test: the local calls of algorithms, by NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from ....core.dtypes import BOOL, BY_NAME
from ....core.hooks import hookimpl
from ....core.kernel import Accepts, CallSpec, Kernel, Prepared
from ...oracle.formats import Host
from .expected import COMBINE

#: What it is registered as; its kernels are for hosts alone, and only while a case of a collective runs.
NAME: Final = "conformance-hosts"

_Compute = Callable[[CallSpec, Host, Sequence[Host]], None]


def _combine(reduction: str) -> _Compute:
    def compute(spec: CallSpec, out: Host, ins: Sequence[Host]) -> None:
        out[...] = COMBINE[reduction](*ins)

    return compute


def _same(spec: CallSpec, out: Host, ins: Sequence[Host]) -> None:
    out[...] = ins[0]


def _concat(spec: CallSpec, out: Host, ins: Sequence[Host]) -> None:
    np.concatenate(list(ins), axis=spec.attributes["axis"], out=out)


_NUMBERS: Final = frozenset(name for name, t in BY_NAME.items() if t.kind != BOOL)
_TRUTHS: Final = frozenset({"bool"})
_ALL: Final = _NUMBERS | _TRUTHS

#: Op, its computation, and the dtypes that it takes.
_ROWS: Final[dict[str, tuple[_Compute, frozenset[str]]]] = {
    "add": (_combine("sum"), _NUMBERS),
    "multiply": (_combine("prod"), _NUMBERS),
    "minimum": (_combine("min"), _NUMBERS),
    "maximum": (_combine("max"), _NUMBERS),
    "bitwise_and": (_combine("and"), _ALL),
    "bitwise_or": (_combine("or"), _ALL),
    "logical_and": (_combine("and"), _TRUTHS),
    "logical_or": (_combine("or"), _TRUTHS),
    "cast": (_same, _ALL),
    "copy": (_same, _ALL),
    "full": (_same, _ALL),
    "concat": (_concat, _ALL),
}


class Hosts:
    """The plugin."""

    @hookimpl
    def opmux_kernels(self) -> Sequence[Kernel]:
        """Return a kernel of each op that algorithms are made of."""
        return [_kernel(op, compute, taken) for op, (compute, taken) in _ROWS.items()]


def _kernel(op: str, compute: _Compute, taken: frozenset[str]) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            with np.errstate(all="ignore"):
                compute(spec, outs[0].host, [x.host for x in ins])

        return Prepared(launch)

    return Kernel(op, op, "cpu", prepare, Accepts(dtypes=(taken,)))
