"""The twin's collectives over the memory of several hosts: sums along the canonical tree, parts by their lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec
from .elementwise import NUMBERS
from .formats import Host, is_float, larger, names, narrowed, smaller, wide

Hosts = Sequence[Host]
#: ``compute(spec, outs, ins)`` over views of every rank's memory, the axis in question first.
ComputeMany = Callable[[CallSpec, Hosts, Hosts], None]


@dataclass(frozen=True, slots=True)
class RanksCall:
    """One call of a kernel over all ranks' memory.

    Attributes:
        spec: shapes, dtypes and attributes.
        outs, ins: results and operands, one per rank.
        memory: what the kernel keeps between calls; empty when the backend is new.
        right: the twin's computation.
    """

    spec: CallSpec
    outs: Hosts
    ins: Hosts
    memory: dict[Any, Any]
    right: ComputeMany

    def __getitem__(self, name: str) -> Any:
        """Return an attribute of the call."""
        return self.spec.attributes[name]

    def finish(self, *ins: Host) -> None:
        """Compute what is right, of other operands where some are given."""
        self.right(self.spec, self.outs, ins or self.ins)


def rows_of(spec: CallSpec, ins: Hosts) -> list[Host]:
    """Return what is combined, in the order of the contributions."""
    return [row for x in ins for row in x] if spec.attributes["blocked"] else list(ins)


def combine(reduction: str, x: Host, y: Host) -> Host:
    """Return two contributions combined, rounded once in their own dtype."""
    if x.dtype == np.bool_:
        return x | y if reduction in ("sum", "max", "or") else x & y
    if reduction in ("min", "max"):
        return np.asarray((smaller if reduction == "min" else larger)(x, y))
    if reduction in ("and", "or"):
        return np.asarray(x & y if reduction == "and" else x | y)
    a, b = wide(x), wide(y)
    made = a + b if reduction == "sum" else a * b
    return narrowed(np.asarray(made), x.dtype) if is_float(x) else made


def widened(spec: CallSpec, rows: Hosts) -> list[Host]:
    """Return contributions in the dtype in which they are combined."""
    narrow = is_float(rows[0]) and rows[0].dtype.itemsize == 2 and spec.attributes["reduction"] in ("sum", "prod")
    return [x.astype(np.float32) for x in rows] if narrow else list(rows)


def tree(reduction: str, rows: Hosts) -> Host:
    """Return contributions combined along the canonical tree."""
    held, step = list(rows), 1
    while step < len(held):
        for i in range(0, len(held) - step, 2 * step):
            held[i] = combine(reduction, held[i], held[i + step])
        step *= 2
    return held[0]


def reduced(spec: CallSpec, ins: Hosts) -> Host:
    """Return the reduction of what all ranks bring."""
    rows = rows_of(spec, ins)
    made = tree(spec.attributes["reduction"], widened(spec, rows))
    return np.asarray(made.astype(rows[0].dtype))


def all_reduce(spec: CallSpec, outs: Hosts, ins: Hosts) -> None:
    """Give every rank the reduction."""
    made = reduced(spec, ins)
    for out in outs:
        out[...] = made


def reduce_scatter(spec: CallSpec, outs: Hosts, ins: Hosts) -> None:
    """Give each rank its part of the reduction."""
    joined(outs, reduced(spec, ins))


def joined(outs: Hosts, whole: Host) -> None:
    """Cut an array among the ranks along the first axis."""
    start = 0
    for out in outs:
        out[...] = whole[start : start + out.shape[0]]
        start += out.shape[0]


def all_gather(spec: CallSpec, outs: Hosts, ins: Hosts) -> None:
    """Give every rank what all ranks bring."""
    for out in outs:
        np.concatenate(list(ins), axis=0, out=out)


def broadcast(spec: CallSpec, outs: Hosts, ins: Hosts) -> None:
    """Give every rank what one brings."""
    for out in outs:
        out[...] = ins[spec.attributes["root"]]


def permute(spec: CallSpec, outs: Hosts, ins: Hosts) -> None:
    """Give each target what its source brings, and zeros to the others."""
    for out in outs:
        out[...] = 0
    for source, target in spec.attributes["pairs"]:
        outs[target][...] = ins[source]


_ALL: Final = names("integer", "float", "bool", "complex")

#: Op, its computation, and the dtypes of its operands.
COLLECTIVES: Final[dict[str, tuple[ComputeMany, tuple[frozenset[str], ...]]]] = {
    "all_reduce": (all_reduce, (NUMBERS | {"bool"},)),
    "reduce_scatter": (reduce_scatter, (NUMBERS | {"bool"},)),
    "all_gather": (all_gather, (_ALL,)),
    "broadcast": (broadcast, (_ALL,)),
    "permute": (permute, (_ALL,)),
}
