"""Calls of collectives as data: operands of every rank, and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....core.dtypes import BOOL, REAL, DType, bool_, float32, int32
from ....core.op import Op
from ...oracle.formats import FORMATS, Host
from .. import values

#: Numbers of ranks: one, powers of two, and what is none.
RANKS: Final = (8, 5, 4, 3, 2, 1)
#: Those tried on every dtype, and the dtypes that all are tried on: kernels differ by width and by kind.
_FEW: Final = (8, 3, 1)
#: Those on which every algorithm is tried; on others, and with other reductions, one of them has its turn.
THOROUGH: Final = (float32, int32, bool_)
_FULL: Final = frozenset({"float32", "float64", "float16", "bfloat16", "int32", "int8", "bool"})
#: Elements of a large operand: more than a piece of 2**14 or 2**15, and odd.
_LARGE: Final = (1 << 15) + 4099
#: Elements of a result of several MiB on each rank, which threads share and kernels write past the caches; odd.
_STREAMED: Final = (1 << 21) + 3
#: What each rank's operand repeats after: primes, so that no piece, share or other rank's operand is like another.
_PERIODS: Final = (65_537, 65_539, 65_543)
#: Of its values, whose sums float32 holds.
_LIMIT: Final = 1 << 20
#: What minima and maxima must order: zeros, and NaN, each beside its opposite on the next rank.
_PAIRS: Final = (0.0, np.nan, 1.0, 2.0, 3.0, -0.0)
#: How much each rank brings to be joined: none is as much as another makes it look.
_LENGTHS: Final = (3, 1, 0, 2, 2, 1, 0, 3)
#: Shapes of operands: without axes, without elements, with one.
SHAPES: Final = ((), (0,), (2, 0, 3), (1,), (1, 1))


@dataclass(frozen=True)
class Call:
    """One call of a collective.

    Attributes:
        operands: one per rank.
        attributes: as given; those left out have their defaults.
    """

    operands: tuple[Host, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> int:
        """How many ranks take part."""
        return len(self.operands)


def ranks_for(t: DType) -> tuple[int, ...]:
    """Return the numbers of ranks that a dtype is tried with, the largest first."""
    return RANKS if t.name in _FULL else _FEW


def is_reduction(op: Op) -> bool:
    """Return whether a collective combines what ranks bring."""
    return any(p.name == "reduction" for p in op.parameters)


def tame(t: DType, shape: tuple[int, ...], reduction: str, *seed: object) -> Host:
    """Return finite values whose sums and products over sixteen ranks are finite too; any bits for integers."""
    if t.kind == REAL and reduction == "prod":
        return values.moderate(t, shape, *seed, low=-1.5, high=1.5)
    return values.moderate(t, shape, *seed)


def wild(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return hard values but none that a device may flush to zero: NaN, infinities, zeros of both signs."""
    table = values.hard(t)
    if t.kind == REAL:
        form = FORMATS[t.name]
        with np.errstate(invalid="ignore"):
            sizes = np.abs(table.astype(np.float64))
            table = table[~((sizes > 0) & (sizes < 2.0**form.lowest))]
    return np.asarray(values.generator("wild", t.name, shape, *seed).choice(table, shape)).astype(t.numpy)


def bits(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return any bits, NaN payloads among them; truth values are 0 or 1."""
    rng = values.generator("collective bits", t.name, shape, *seed)
    if t.kind == BOOL:
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    raw = rng.integers(0, 256, (*shape, t.itemsize), np.uint8)
    return np.ascontiguousarray(raw).view(t.numpy).reshape(shape)


def _content(op: Op, t: DType, reduction: str) -> Callable[..., Host]:
    if not is_reduction(op):
        return lambda shape, *seed: bits(t, shape, op.name, *seed)
    if reduction in ("min", "max"):
        return lambda shape, *seed: _paired(t, wild(t, shape, op.name, *seed), seed[1])
    return lambda shape, *seed: tame(t, shape, reduction, op.name, *seed)


def _paired(t: DType, x: Host, rank: object) -> Host:
    """Return values that begin with zeros of both signs and NaN, the other way round on the next rank."""
    if t.kind == REAL and x.size >= len(_PAIRS):
        odd = isinstance(rank, int) and rank % 2 == 1
        x.reshape(-1)[: len(_PAIRS)] = np.array(_PAIRS[::-1] if odd else _PAIRS).astype(t.numpy)
    return x


def _all_reduce(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    yield Call(tuple(make((7, 3), r) for r in range(n)))
    yield Call(tuple(make(((r + 1) % 3, 5), r) for r in range(n)), {"axis": 0})


def _reduce_scatter(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    yield Call(tuple(make((7, 3), r) for r in range(n)))
    sizes = tuple((r + 1) % 3 for r in range(n))
    yield Call(tuple(make((2, sum(sizes)), r) for r in range(n)), {"axis": -1, "sizes": sizes})


def _all_gather(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    yield Call(tuple(make((_LENGTHS[r], 5), r) for r in range(n)))
    yield Call(tuple(make((2, 3, 2), r) for r in range(n)), {"axis": 1})


def _all_to_all(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    yield Call(tuple(make((7, 2), r) for r in range(n)))
    yield Call(tuple(make((2 * n, 2), r) for r in range(n)))
    sizes = tuple(tuple((i + 2 * j) % 3 for j in range(n)) for i in range(n))
    yield Call(tuple(make((2, sum(row)), r) for r, row in enumerate(sizes)), {"axis": 1, "sizes": sizes})


def _broadcast(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    for root in dict.fromkeys((n - 1, 0, n // 2)):
        yield Call(tuple(make((7, 3), r) for r in range(n)), {"root": root})


def _permute(n: int, make: Callable[..., Host]) -> Iterator[Call]:
    given = tuple(make((7, 3), r) for r in range(n))
    yield Call(given, {"pairs": tuple((r, (r + 1) % n) for r in range(n))})
    yield Call(given, {"pairs": ((0, n - 1),)})
    yield Call(given, {"pairs": tuple((n - 1, r) for r in range(n - 1))})


#: For each collective the calls that are made on so many ranks.
_CALLS: Final[dict[str, Callable[[int, Callable[..., Host]], Iterator[Call]]]] = {
    "all_reduce": _all_reduce,
    "reduce_scatter": _reduce_scatter,
    "all_gather": _all_gather,
    "all_to_all": _all_to_all,
    "broadcast": _broadcast,
    "permute": _permute,
}
#: The collectives that have cases.
COVERED: Final = frozenset(_CALLS)


def of(op: Op, t: DType, ranks: int, reduction: str = "", *seed: object) -> list[Call]:
    """Return the calls of a collective on so many ranks."""
    more = {"reduction": reduction} if reduction else {}
    make = _content(op, t, reduction)
    made = _CALLS[op.name](ranks, lambda shape, *more_seed: make(shape, ranks, *more_seed, *seed))
    return [Call(c.operands, {**c.attributes, **more}) for c in made]


def shaped(op: Op, t: DType, shape: tuple[int, ...], ranks: int) -> Call | None:
    """Return a call on operands of a shape; None where the collective needs an axis to cut."""
    if not shape and op.name not in ("all_reduce", "broadcast", "permute"):
        return None
    more: dict[str, Any] = {"reduction": "sum"} if is_reduction(op) else {}
    if op.name == "permute":
        more["pairs"] = ((0, ranks - 1),)
    make = _content(op, t, "sum")
    return Call(tuple(make(shape, "shaped", r) for r in range(ranks)), more)


def large(op: Op, t: DType, ranks: int) -> Call:
    """Return a call on large operands of small integers, whose sums are exact in every dtype."""
    rng = values.generator("large", op.name, t.name)
    low = 0 if t.name.startswith("u") or t.kind == BOOL else -2
    more: dict[str, Any] = {"reduction": "sum"} if is_reduction(op) else {}
    if op.name == "permute":
        more["pairs"] = tuple((r, (r + 1) % ranks) for r in range(ranks))
    drawn = [rng.integers(low, 2 if t.kind == BOOL else 3, _LARGE).astype(np.float32) for _ in range(ranks)]
    return Call(tuple(x.astype(t.numpy) for x in drawn), more)


def streamed(op: Op, ranks: int, reduction: str = "") -> Call:
    """Return a float32 call whose results have millions of elements: integers whose sums over the ranks are exact."""
    more: dict[str, Any] = {"reduction": reduction} if reduction else {}
    if op.name == "permute":
        more["pairs"] = tuple((r, (r + 1) % ranks) for r in range(ranks))
    if op.name == "broadcast":
        more["root"] = ranks - 1
    length = _STREAMED // ranks if op.name == "all_gather" else _STREAMED
    rng = values.generator("streamed", op.name)
    drawn = [rng.integers(-_LIMIT, _LIMIT, period).astype(np.float32) for period in _PERIODS[:ranks]]
    return Call(tuple(np.resize(x, length) for x in drawn), more)


def spread(t: DType, reduction: str, counts: tuple[int, ...]) -> Call:
    """Return an all_reduce over the same contributions, so many of them on each rank."""
    whole = np.stack([tame(t, (13,), reduction, "spread", i) for i in range(sum(counts))])
    cuts = np.cumsum(counts)[:-1]
    return Call(tuple(np.ascontiguousarray(x) for x in np.split(whole, cuts)), {"axis": 0, "reduction": reduction})
