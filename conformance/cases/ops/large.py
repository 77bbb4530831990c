"""Large operands: lengths, rows, batches and positions beyond 16 bits, 65,535 blocks, or float32's integers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from ....core.dtypes import COMPLEX, REAL, DType, bfloat16, bool_, float16, float32, int8, int32
from ....core.errors import ConformanceError
from ....core.op import Op, Role
from ....opset.declare import declaration_of
from ...oracle.expect import expect
from ...oracle.formats import Host
from ...target import Findings, Target
from .. import layouts, values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample, operand_dtypes
from . import checks

#: More than 2**20, odd, and no multiple of a vector or a block.
LONG: Final = (1 << 20) + 3
#: More rows, batches or positions than a grid of 65,535 blocks or an index of 16 bits has.
MANY: Final = 70_001
#: Between what one block takes and what every thread takes a part of: a size is often a kernel of its own. The last one
#: is also beyond 16 bits.
_BETWEEN: Final = (5_003, 12_289, 40_003, 140_001)
#: A prime: no index that wraps at a power of two meets the same values again.
_PERIOD: Final = 1009
#: Beyond it float32 does not hold every integer.
_BEYOND_FLOAT: Final = (1 << 24) + 9
#: Ops of one operand that are not elementwise by their facts, and work so all the same, with what they are asked for.
_PLAIN: Final = ("copy", "cast")
_DTYPES: Final = (float32, int32, bool_)
#: For which products are often written apart.
_NARROW: Final = (float16, bfloat16, int8)


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """The large calls of an op, on float32, int32 and bool, or on its first dtype where it takes none of them."""
    if not context.quick and _by_element(op) and op.operand_count == len(operand_dtypes(op, t)):
        for n in _BETWEEN if t in _DTYPES else _BETWEEN[-1:]:
            yield "large", f"n{n}", _tiled(op, t, (_PERIOD,), n)
    tried = [x for x in declaration_of(op).dtypes if x in _DTYPES] or [declaration_of(op).dtypes[0]]
    if not context.quick and op.name == "matmul" and t in _NARROW:
        s = next(_multiplied(t))
        yield "large", s.label, checks.sample(s, context.once(s))
    if context.quick or t not in tried:
        return
    if _by_element(op) and op.operand_count == len(operand_dtypes(op, t)):
        yield "large", "line", _tiled(op, t, (_PERIOD,), LONG)
        yield "large", "even-line", _tiled(op, t, (_PERIOD,), 1 << 18)
        yield "large", "rows", _tiled(op, t, (_PERIOD, 3), MANY, layout="offset")
        yield "large", "columns", _tiled(op, t, (_PERIOD, 3), MANY, layout="transposed")
        if len(operand_dtypes(op, t)) > 1:
            yield "large", "broadcast", _tiled(op, t, (_PERIOD, 1), MANY, row=(3,))
    for s in _ROWS.get(op.name, _nothing)(t):
        yield "large", s.label, checks.sample(s, context.once(s))


def _by_element(op: Op) -> bool:
    every = all(p.role is Role.ARRAY for p in op.parameters if p.required and p.role is not Role.ATTRIBUTE)
    needed = [p for p in op.parameters if p.required and p.role is Role.ATTRIBUTE]
    return op.name in _PLAIN or ("elementwise" in op.facts and every and not needed)


def _tiled(
    op: Op, t: DType, shape: tuple[int, ...], count: int, layout: str = "", row: tuple[int, ...] = ()
) -> OpCheck:
    """The same rows again and again: the oracle runs over the first ones, and where others differ, over those too.

    With *row* every operand but the first has that shape, and repeats.
    """

    def check(target: Target, op: Op, findings: Findings) -> None:
        # To dtypes of every core profile: what a backend claims is all that it has to have. Complex goes to bool alone.
        to = bool_ if t is int32 or t.kind == COMPLEX else int32
        attributes = {"dtype": to} if op.name == "cast" else {}
        types = operand_dtypes(op, t)
        shapes = [row if row and i else shape for i in range(len(types))]
        drawn = tuple(values.moderate(x, s, op.name, i) for i, (x, s) in enumerate(zip(types, shapes, strict=True)))
        expected = expect(op, drawn, attributes)
        whole = tuple(np.resize(x, (count, *shape[1:])) if x.shape == shape else x for x in drawn)
        arrays = [layouts.LAYOUTS[layout](x, target.device) for x in whole] if layout else target.upload(whole)
        decision = target.decide(op, arrays, attributes)
        got = np.asarray(target.launch(decision, arrays).numpy())
        for start, part in _different(got):
            try:
                target.compare(decision.chosen, part, expected, findings)
            except ConformanceError as error:
                text = f"{got.shape} elements, those from {start} on: {error}"
                raise ConformanceError(text, **error.culprits) from error

    return check


def _different(got: Host) -> Iterator[tuple[int, Host]]:
    """Return every period of a result that differs from those before it, and where it starts; the tail made whole."""
    whole = len(got) // _PERIOD * _PERIOD
    periods = [(i, got[i : i + _PERIOD]) for i in range(0, whole, _PERIOD)]
    if whole < len(got):
        periods.append((whole, np.concatenate([got[whole:], got[: _PERIOD - (len(got) - whole)]])))
        periods[-1][1][len(got) - whole :] = got[len(got) - whole : _PERIOD]
    seen: set[bytes] = set()
    for start, part in periods:
        key = part.tobytes()
        if key not in seen:
            seen.add(key)
            yield start, part


#: Elements of a line that no single block takes.
_MIDDLE: Final = 5_003
Row = Callable[[DType], Iterator[Sample]]


def _nothing(t: DType) -> Iterator[Sample]:
    return iter(())


def _sparse(t: DType, *shape: int) -> Host:
    """Zeros, but for a one at both ends of each line and one just beyond 2**16."""
    x = np.zeros(shape, t.numpy)
    x[..., 0] = x[..., -1] = 1
    x[..., min((1 << 16) + 1, shape[-1] - 2)] = 1
    return x


def _reduced(t: DType) -> Iterator[Sample]:
    yield Sample("inner", (_sparse(t, 3, MANY),), {"axis": 0})
    yield Sample("middle", (values.small(t, (MANY, 2, 2), "middle"),), {"axis": 1})
    yield Sample("middle-line", (_sparse(t, 5, _MIDDLE),), {"axis": 1})
    yield Sample("line", (_sparse(t, LONG),), {"axis": 0})
    yield Sample("rows", (values.small(t, (MANY, 3), "rows"),), {"axis": 1})
    yield Sample("columns", (np.ascontiguousarray(_sparse(t, 3, MANY).T),), {"axis": 0})
    yield Sample("wide", (_sparse(t, 2, MANY),), {"axis": 1})


def _decided(t: DType, *, last: int) -> Iterator[Sample]:
    """Lines whose last element alone decides."""
    for label, shape, axis in (("line", (LONG,), 0), ("wide", (2, MANY), 1), ("columns", (MANY, 3), 0)):
        x = np.full(shape, 1 - last).astype(t.numpy)
        x[(..., -1) if axis == len(shape) - 1 else -1] = last
        yield Sample(label, (x,), {"axis": axis})
    yield Sample("inner", (values.small(t, (3, MANY), "inner"),), {"axis": 0})
    yield Sample("middle", (values.small(t, (MANY, 2, 2), "middle"),), {"axis": 1})
    yield Sample("rows", (values.small(t, (MANY, 3), "rows"),), {"axis": 1})


def _scanned(t: DType) -> Iterator[Sample]:
    yield Sample("middle", (values.small(t, (MANY, 2, 2), "middle"),), {"axis": 1})
    yield Sample("middle-line", (values.small(t, (3, _MIDDLE), "middle"),), {"axis": 1})
    yield Sample("middle-columns", (values.small(t, (_MIDDLE, 3), "middle"),), {"axis": 0})
    yield Sample("line", (_sparse(t, MANY),), {"axis": 0})
    yield Sample("rows", (values.small(t, (MANY, 3), "rows"),), {"axis": 1})


def _sorted(t: DType) -> Iterator[Sample]:
    yield Sample("middle-line", (np.stack([_ranked(t, _MIDDLE)] * 3),), {"axis": 1})
    yield Sample("middle-columns", (np.stack([_ranked(t, _MIDDLE)] * 3, 1),), {"axis": 0, "descending": True})
    yield Sample("line", (_ranked(t, MANY),), {"axis": 0})
    yield Sample("rows", (values.moderate(t, (MANY, 3), "rows"),), {"axis": 1})


def _ranked(t: DType, n: int) -> Host:
    """Numbers with many ties."""
    return np.asarray(values.generator("ranked", t.name).integers(-500, 500, n).astype(t.numpy))


def _gathered(t: DType) -> Iterator[Sample]:
    far = values.generator("far").integers(-MANY, MANY, 3000).astype(np.int32)
    far[:3] = MANY - 1, (1 << 16) + 1, -1
    yield Sample("line", (values.moderate(t, (MANY,), "line"), far), {"axis": 0})
    yield Sample("rows", (values.moderate(t, (MANY, 2), "rows"), far), {"axis": 0})
    yield Sample("indices", (values.moderate(t, (5, 3), "few"), np.resize([4, 0, -2, 3, 1, 2, -5], MANY)), {"axis": 0})


def _scattered(t: DType) -> Iterator[Sample]:
    far = values.generator("far").permutation(MANY)[:3000].astype(np.int32)
    far[:2] = MANY - 1, (1 << 16) + 1
    yield Sample("line", (values.moderate(t, (MANY,), "line"), far, values.moderate(t, (3000,), "u")), {"axis": 0})
    few = np.resize([4, 0, 2, 3, 1, 2, 5], 5003)
    if t is not bool_:
        adding: Mapping[str, Any] = {"axis": 0, "reduction": "add"}
        yield Sample("add", (values.small(t, (6,)), few, values.small(t, (5003,), "u")), adding)


def _joined(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (MANY,), "line")
    yield Sample("line", (x, x[:7], x), {"axis": 0})
    yield Sample("rows", (values.moderate(t, (MANY, 2), "rows"), values.moderate(t, (MANY, 1), "column")), {"axis": 1})


def _padded(t: DType) -> Iterator[Sample]:
    value = values.moderate(t, (), "pad")
    yield Sample("line", (values.moderate(t, (MANY,), "line"), value), {"pad_width": ((3, 4),)})
    yield Sample("widths", (values.moderate(t, (2,), "line"), value), {"pad_width": ((MANY, MANY + 1),)})
    yield Sample("rows", (values.moderate(t, (MANY, 2), "rows"), value), {"pad_width": ((0, 1), (1, 0))})


def _multiplied(t: DType) -> Iterator[Sample]:
    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "matmul")

    yield Sample("blocks", (make(150, 290), make(290, 170)))
    yield Sample("one-row", (make(1, 1301), make(1301, 37)))
    yield Sample("one-column", (make(37, 1301), make(1301, 1)))
    yield Sample("batch-blocks", (make(3, 70, 45), make(3, 45, 66)))

    yield Sample("rows", (make(MANY, 3), make(3, 2)))
    yield Sample("columns", (make(2, 3), make(3, MANY)))
    yield Sample("batches", (make(MANY, 1, 2), make(MANY, 2, 1)))
    yield Sample("terms", (_sparse(t, 2, MANY), np.ones((MANY, 1), t.numpy)))


def _filled(t: DType) -> Iterator[Sample]:
    yield Sample("rows", (values.moderate(t, ()),), {"shape": (MANY, 3)})


def _ramped(t: DType) -> Iterator[Sample]:
    yield Sample("rows", (), {"shape": (MANY, 3), "axis": 0, "dtype": t})
    yield Sample("middle-line", (), {"shape": (_MIDDLE,), "axis": 0, "dtype": t})
    yield Sample("columns", (), {"shape": (3, MANY), "axis": 1, "dtype": t})
    if t is float32:
        yield Sample("beyond-2**24", (), {"shape": (_BEYOND_FLOAT,), "axis": 0, "dtype": t})


def _random(t: DType) -> Iterator[Sample]:
    key = np.array([0x01234567, 0x89ABCDEF], np.uint32)
    carry = np.array([0xFFFF0000, 5, 0xFFFFFFFF, 0], np.uint32)
    yield Sample("line", (key, carry), {"shape": (4 * MANY + 1,)})
    yield Sample("rows", (key, carry), {"shape": (MANY, 3)})


def _searched(t: DType) -> Iterator[Sample]:
    yield Sample("line", (np.sort(_ranked(t, MANY)), np.arange(-502, 503).astype(t.numpy)), {"side": "right"})


def _positions(t: DType) -> Iterator[Sample]:
    yield Sample("line", (_sparse(t, LONG),), {"axis": 0})
    last = np.zeros((2, MANY), t.numpy)
    last[:, -1] = 1
    yield Sample("last", (last,), {"axis": 1})
    yield Sample("last-smallest", (1 - last if t.kind == REAL else 3 - last,), {"axis": 1})
    yield Sample("rows", (values.small(t, (MANY, 3), "rows"),), {"axis": 1})


def _normed(t: DType) -> Iterator[Sample]:
    """Lines of several blocks, more rows than a grid has, more columns than a tile."""
    yield Sample("wide", (values.moderate(t, (3, 3_001), "wide"),), {"axis": 1})
    yield Sample("rows", (values.moderate(t, (MANY, 3), "rows"),), {"axis": 1})
    yield Sample("columns", (values.moderate(t, (33, 130), "columns"),), {"axis": 0})


def _convolved(t: DType) -> Iterator[Sample]:
    """Windows for which convolutions have code of their own, beyond one block of channels and of positions."""

    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "conv", low=-2, high=2)

    yield Sample("one-by-one", (make(2, 5, 6, 7), make(4, 5, 1, 1), None), {"stride": 2, "padding": ((1, 0), (0, 1))})
    yield Sample("three-by-three", (make(2, 5, 9, 11), make(4, 5, 3, 3), make(4)), {"padding": 1})
    yield Sample("channels", (make(2, 37, 5, 6), make(35, 37, 3, 3), make(35)))
    yield Sample("wide", (make(1, 3, 3, 140), make(2, 3, 2, 3), None))
    yield Sample("long", (make(2, 3, 700), make(5, 3, 7), make(5)), {"stride": 3, "padding": 3})
    yield Sample("by-channel", (make(2, 6, 9, 70), make(6, 1, 3, 3), make(6)), {"groups": 6, "padding": 1})
    yield Sample("by-channel-twice", (make(2, 5, 7, 6), make(10, 1, 2, 3), None), {"groups": 5, "dilation": (1, 2)})
    yield Sample("far-steps", (make(1, 3, 17, 19), make(2, 3, 2, 2), None), {"stride": (5, 3)})


def _attended(t: DType) -> Iterator[Sample]:
    """Sequences of several blocks, and masks that repeat."""

    def make(n: int, *seed: object, width: int = 8) -> Host:
        return values.moderate(t, (2, 2, n, width), *seed, low=-2, high=2)

    q, k, v = make(70, "q"), make(133, "k"), make(133, "v", width=5)
    keys = values.generator("keys").integers(0, 3, (2, 1, 1, 133)) > 0
    yield Sample("blocks", (q, k, v, None))
    yield Sample("causal", (q, k, v, None), {"causal": True})
    yield Sample("causal-square", (make(133, "square"), k, v, None), {"causal": True})
    yield Sample("keys", (q, k, v, keys))
    yield Sample("queries", (q, k, v, np.arange(70)[:, None] % 3 > 0), {"causal": True})
    yield Sample("last-key-alone", (q, k, v, np.arange(133) == 132))


def _pooled(t: DType) -> Iterator[Sample]:
    yield Sample("wide", (values.moderate(t, (2, 3, 5, 300), "wide"),), {"kernel": (2, 3), "stride": (3, 1)})
    yield Sample("uneven", (values.moderate(t, (2, 37, 8, 9), "uneven"),), {"kernel": 3, "padding": ((1, 0), (0, 1))})


def _affine(t: DType) -> Iterator[Sample]:
    x, w = values.moderate(t, (33, 130), "x"), values.moderate(t, (67, 130), "w")
    yield Sample("wide", (x, w, values.moderate(t, (67,), "b")))
    yield Sample("one-row", (x[:1], w, values.moderate(t, (67,), "b")))


def _classes(t: DType) -> Iterator[Sample]:
    yield Sample("wide", (values.generator("classes").integers(-1, 140, (37, 5)).astype(t.numpy),), {"classes": 139})


_ROWS: Final[dict[str, Row]] = {
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm", "mean", "var", "std"), _normed),
    "conv": _convolved, "attention": _attended, "linear": _affine, "one_hot": _classes,
    **dict.fromkeys(("max_pool", "avg_pool"), _pooled),
    "sum": _reduced,
    **dict.fromkeys(("max", "any"), functools.partial(_decided, last=1)),
    **dict.fromkeys(("min", "all"), functools.partial(_decided, last=0)),
    **dict.fromkeys(("argmax", "argmin"), _positions),
    **dict.fromkeys(("sort", "argsort"), _sorted),
    "cumulative_sum": _scanned, "gather": _gathered, "scatter": _scattered, "concat": _joined, "pad": _padded,
    "matmul": _multiplied, "full": _filled, "iota": _ramped, "random_bits": _random, "searchsorted": _searched,
}  # fmt: skip
