"""How a call of each op is drawn. Elementwise ops have theirs from the declaration, composites a row in
:mod:`.composite_strategies`, every other op a row here, beside its row of samples.
"""

from __future__ import annotations

from typing import Any, Final

from ....core.dtypes import ALL, COMPLEX, STORAGE, DType, bool_, dtype, float32, uint32
from ....core.op import Op
from ....core.signature import Shape
from ..samples.sample import operand_dtypes
from ..samples.shared import promotions
from . import composite_strategies  # noqa: F401 - its import fills STRATEGIES
from .falsify import Choices
from .fills import Fill
from .strategies import Call, Operand, broadcast_from, operand, shape
from .strategy_table import ANYTHING, STRATEGIES, TERMS, one_axis, strategy

INDEX_DTYPES: Final = tuple(dtype(name) for name in ("int32", "int64", "uint8", "int8", "int16", "uint32"))

#: The opset leaves a complex quotient by zero open.
_QUOTIENTS: Final = frozenset({"divide", "reciprocal"})
#: Dtypes that sums and products are asked for: those beside the default that no value overflows.
_ACCUMULATORS: Final = {
    "bool": ("int32", "float32"), "int8": ("int32", "int16", "float32"), "int16": ("int32",), "int32": ("int64",),
    "int64": ("int16", "int32"), "uint8": ("uint32", "int32"), "uint16": ("uint32",), "uint32": ("uint64",),
    "float16": ("float32",), "bfloat16": ("float32",), "float32": ("float64",), "complex64": ("complex128",),
}  # fmt: skip
_WIDER: Final = {"int8": "int32", "uint8": "int32", "float16": "float32", "bfloat16": "float32", "int16": "int64"}


def drawn(op: Op, t: DType, c: Choices, most: int) -> Call:
    """Return a call of an op.

    Args:
        op: the op.
        t: dtype of the leading operand.
        c: what is chosen.
        most: elements that an operand may have.

    Raises:
        LookupError: the op is not elementwise and has no row.
    """
    if op.name in STRATEGIES:
        return STRATEGIES[op.name](c, t, most)
    if "elementwise" not in op.facts:
        raise LookupError(f"{op.name} has no strategy: add a row to opmux.conformance.cases.drawn.strategy_rows")
    return _elementwise(op, c, t, most)


def _elementwise(op: Op, c: Choices, t: DType, most: int) -> Call:
    types = list(operand_dtypes(op, t))
    target = shape(c, most)
    pairs = promotions(t) if len(types) > 1 and t.kind not in (COMPLEX, STORAGE) else []
    if pairs and c.flag(12):
        pair = c.pick(pairs)
        given = iter((*pair, pair[0]))
        types = [next(given) if x is t else x for x in types]
    whole = c.below(len(types))  # one operand keeps the shape, so that the result has it
    made = []
    for i, x in enumerate(types):
        mine = target if i == whole else broadcast_from(c, target)
        quotient = x.kind == COMPLEX and op.name in _QUOTIENTS and i == len(types) - 1
        made.append(operand(c, x, mine, ("nonzero",) if quotient else ANYTHING))
    return Call(tuple(made))


def _axes(c: Choices, rank: int) -> Any:
    """Return what a reduction takes for axes: None, one, several in any order, none at all."""
    how = c.below(4)
    if how == 0 or rank == 0:
        return None if how < 3 else ()
    if how < 3:
        return one_axis(c, rank)
    chosen = tuple(a for a in range(rank) if c.flag())
    return tuple(reversed(chosen)) if c.flag() else tuple(a - rank for a in chosen)


def _reduced(c: Choices, t: DType, most: int, kinds: tuple[str, ...], *, empty: bool = True) -> Call:
    x = operand(c, t, shape(c, most, empty=empty), kinds)
    attributes: dict[str, Any] = {"axis": _axes(c, len(x.shape))}
    if c.flag():
        attributes["keepdims"] = True
    return Call((x,), attributes)


def _accumulated(c: Choices, t: DType, call: Call) -> Call:
    wider = _ACCUMULATORS.get(t.name, ())
    if wider and c.flag(5):
        return Call(call.operands, {**call.attributes, "dtype": dtype(c.pick(wider))})
    return call


@strategy("sum")
def _sum(c: Choices, t: DType, most: int) -> Call:
    return _accumulated(c, t, _reduced(c, t, most, TERMS))


@strategy("prod")
def _prod(c: Choices, t: DType, most: int) -> Call:
    return _accumulated(c, t, _reduced(c, t, most, ("gentle",)))


@strategy("all", "any")
def _truth(c: Choices, t: DType, most: int) -> Call:
    return _reduced(c, t, most, ("small", "hard", "small"))


@strategy("max", "min")
def _extreme(c: Choices, t: DType, most: int) -> Call:
    return _reduced(c, t, most, ANYTHING, empty=False)


@strategy("mean", "var", "std", "logsumexp")
def _statistic(c: Choices, t: DType, most: int) -> Call:
    return _reduced(c, t, most, ("moderate",), empty=False)


@strategy("argmax", "argmin")
def _position(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most, least_rank=1, empty=False), ANYTHING)
    attributes: dict[str, Any] = {"axis": one_axis(c, len(x.shape))}
    if c.flag():
        attributes["keepdims"] = True
    return Call((x,), attributes)


@strategy("cumulative_sum")
def _running_sum(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most, least_rank=1), TERMS)
    return _accumulated(c, t, Call((x,), {"axis": one_axis(c, len(x.shape))}))


@strategy("cumulative_prod")
def _running_product(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most, least_rank=1), ("gentle",))
    return _accumulated(c, t, Call((x,), {"axis": one_axis(c, len(x.shape))}))


@strategy("matmul")
def _matmul(c: Choices, t: DType, most: int) -> Call:
    batch = shape(c, 6, most_rank=3) if c.flag(3) else ()
    lengths = (1, 2, 3, 0, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 129, 257, 513, 1025)
    m, n = (c.pick([i for i in lengths if i * i <= most]) for _ in range(2))
    k = c.pick([i for i in lengths if i * max(m, n, 1) <= most])
    kinds = ("small", "moderate", "wide", "salted")
    x, y = operand(c, t, (*batch, m, k), kinds), operand(c, t, (*batch, k, n), kinds)
    wider = _WIDER.get(t.name)
    return Call((x, y), {"dtype": dtype(wider)} if wider is not None and c.flag(4) else {})


@strategy("linear")
def _linear(c: Choices, t: DType, most: int) -> Call:
    lead, inputs, outputs = shape(c, 12, most_rank=3), c.between(0, 17), c.between(0, 9)
    x, w = operand(c, t, (*lead, inputs)), operand(c, t, (outputs, inputs))
    return Call((x, w, operand(c, t, (outputs,)) if c.flag() else None))


@strategy("concat")
def _concat(c: Choices, t: DType, most: int) -> Call:
    first = shape(c, most // 4 + 1, least_rank=1)
    axis = one_axis(c, len(first))
    at = axis % len(first)
    parts = [operand(c, t, first, ANYTHING)]
    for _ in range(c.below(5)):
        parts.append(operand(c, t, (*first[:at], c.below(6), *first[at + 1 :]), ANYTHING))
    return Call(tuple(parts), {"axis": axis})


@strategy("pad")
def _pad(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most // 4 + 1, most_rank=4), ANYTHING)
    widths = tuple((c.below(4), c.below(4)) for _ in x.shape)
    return Call((x, operand(c, t, (), ANYTHING)), {"pad_width": widths})


def _indices(c: Choices, length: int, given: Shape, types: tuple[DType, ...] = INDEX_DTYPES) -> Operand:
    """Indices of which some lie outside."""
    t = c.pick(types)
    reach = min(length + 2, 126) if t.bits == 8 else length + 2 if not c.flag(4) else 30_000
    return operand(c, t, given, ("integers",), low=-reach, high=reach)


@strategy("gather")
def _gather(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most // 4 + 1, least_rank=1, most_rank=4, empty=False), ANYTHING)
    axis = one_axis(c, len(x.shape))
    given = _indices(c, x.shape[axis], shape(c, 8, most_rank=2))
    return Call((x, given), {"axis": axis, "mode": c.pick(("clip", "wrap", "fill"))})


@strategy("scatter")
def _scatter(c: Choices, t: DType, most: int) -> Call:
    given = shape(c, most // 4 + 1, least_rank=1, most_rank=4, empty=False)
    axis = one_axis(c, len(given))
    at = axis % len(given)
    reductions = ["set"]
    if t is not bool_ and t.kind != STORAGE:
        reductions += ["add", "multiply", *(("min", "max") if t.kind != COMPLEX else ())]
    reduction = c.pick(reductions)
    kinds = {"add": TERMS, "multiply": ("gentle",)}.get(reduction, ANYTHING)
    places = _indices(c, given[at], shape(c, 8, most_rank=2))
    updates = operand(c, t, (*given[:at], *places.shape, *given[at + 1 :]), kinds)
    attributes = {"axis": axis, "mode": c.pick(("drop", "clip", "wrap")), "reduction": reduction}
    return Call((operand(c, t, given, kinds), places, updates), attributes)


@strategy("take_along_axis")
def _take_along_axis(c: Choices, t: DType, most: int) -> Call:
    target = shape(c, most // 4 + 1, least_rank=1, most_rank=4, empty=False)
    axis = one_axis(c, len(target))
    at = axis % len(target)
    off = tuple(1 if c.flag(4) else n for n in target)
    picked = (*off[:at], c.below(6), *off[at + 1 :])
    places = _indices(c, target[at], picked, INDEX_DTYPES[:2])
    return Call((operand(c, t, target, ANYTHING), places), {"axis": axis})


@strategy("sort", "argsort")
def _sorted(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most, least_rank=1), ANYTHING)
    return Call((x,), {"axis": one_axis(c, len(x.shape)), **({"descending": True} if c.flag() else {})})


@strategy("searchsorted")
def _searchsorted(c: Choices, t: DType, most: int) -> Call:
    table = operand(c, t, shape(c, most, least_rank=1, most_rank=1), ("sorted",))
    keys = operand(c, t, shape(c, most // 4 + 1), ANYTHING)
    return Call((table, keys), {"side": c.pick(("left", "right"))})


@strategy("copy")
def _copy(c: Choices, t: DType, most: int) -> Call:
    return Call((operand(c, t, shape(c, most), ANYTHING),))


@strategy("cast")
def _cast(c: Choices, t: DType, most: int) -> Call:
    targets = [to for to in ALL if t.kind != COMPLEX or to.kind == COMPLEX or to is bool_]
    return Call((operand(c, t, shape(c, most), ANYTHING),), {"dtype": c.pick(targets)})


@strategy("bitcast")
def _bitcast(c: Choices, t: DType, most: int) -> Call:
    targets = [to for to in ALL if to.bits == t.bits and to is not bool_]
    return Call((operand(c, t, shape(c, most), ANYTHING),), {"dtype": c.pick(targets)})


@strategy("full")
def _full(c: Choices, t: DType, most: int) -> Call:
    attributes: dict[str, Any] = {"shape": shape(c, most)}
    if t.kind != COMPLEX and c.flag(4):
        attributes["dtype"] = float32
    return Call((Operand(t, (), Fill(c.pick(ANYTHING), c.seed())),), attributes)


@strategy("iota")
def _iota(c: Choices, t: DType, most: int) -> Call:
    given = shape(c, most, least_rank=1)
    return Call((), {"shape": given, "axis": one_axis(c, len(given)), "dtype": t})


@strategy("random_bits")
def _random_bits(c: Choices, t: DType, most: int) -> Call:
    key, counter = (operand(c, uint32, (n,), ("small", "hard", "stratified")) for n in (2, 4))
    return Call((key, counter), {"shape": shape(c, most)})
