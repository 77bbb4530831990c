"""Ill-conditioned calls: arguments where functions are hard, sums that cancel, grow, stall, overflow or vanish.

The contract stays what it is; these are the operands on which plausible faults leave it: a poor range reduction, an
accumulator that is too narrow, a term left out, subnormals lost.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....core.dtypes import REAL, DType
from ....core.op import Op
from ...oracle.compare import Where, check_exact
from ...oracle.expect import Expected, expect, infer
from ...oracle.formats import FORMATS, Host
from ...target import Findings, Target
from .. import values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample
from . import checks
from .hard_arguments import ARGUMENTS

Reals = NDArray[np.float64]
#: Yields samples for a real floating dtype.
Maker = Callable[[DType], Iterator[Sample]]

#: Where each row of a matrix has its only term, or its infinity: ends of vectors, lanes, blocks and chains.
_POSITIONS: Final = (0, 1, 7, 15, 16, 63, 64, 127, 511, 512, 513, 1023, 1024, 1029)
_WIDTH: Final = 1030
#: A length at which the rounding errors of a narrow accumulator cannot be missed.
_LONG: Final = 100_003
_NARROW: Final = ("float16", "bfloat16")


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Yield the ill-conditioned calls of an op and dtype; they are made when they run."""
    if t.kind == REAL and op.name in ARGUMENTS:
        yield "values", "ill-arguments", _made(lambda: Sample("", ARGUMENTS[op.name](t)))
    if t.kind == REAL and op.name in MAKERS:
        for label in LABELS[op.name]:
            yield "values", f"ill-{label}", _made(functools.partial(_labelled, op.name, t, label))
    if op.name == "sum" and t.kind == REAL:
        yield "values", "ill-zeros", _zeros(t)
    if t.kind.endswith("integer") and op.name in _INTEGERS:
        yield "values", "ill-extremes", _made(lambda: _INTEGERS[op.name](t))


def _labelled(op: str, t: DType, label: str) -> Sample:
    return next(s for s in MAKERS[op](t) if s.label == label)


def _made(make: Callable[[], Sample]) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        s = make()
        checks.sample(s, lambda: expect(op, s.operands, s.attributes))(target, op, findings)

    return check


def _scale(t: DType) -> float:
    """Return a size at which thousands of terms stay far below the largest number."""
    return FORMATS[t.name].largest ** 0.25 if t.name != "float16" else 8.0


def _shuffled(x: Sequence[float] | Reals, *seed: object) -> Reals:
    return values.generator("shuffled", *seed).permutation(np.asarray(x, np.float64))


def cancelling(t: DType, n: int = 4096) -> Host:
    """Return terms whose sum is a small remainder of theirs: each large one has its opposite somewhere."""
    x = values.moderate(t, (n // 2,), "cancelling", low=-1, high=1).astype(np.float64) * _scale(t)
    x = values.rounded(x, t).astype(np.float64)
    rest = values.moderate(t, (17,), "rest", low=0.25, high=1).astype(np.float64)
    return values.rounded(_shuffled(np.concatenate([x, -x, rest]), t.name), t)


def wide_range(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return values of both signs over half of the exponents on each side of 1."""
    form = FORMATS[t.name]
    rng = values.generator("wide range", t.name, shape, *seed)
    exponents = rng.uniform(form.lowest / 2, (form.highest - 15 if form.highest > 15 else 2) / 2, shape)
    signs = rng.choice(np.array([-1.0, 1.0]), shape)
    return values.rounded(np.asarray(signs * np.exp2(exponents), np.float64), t)


def subnormal(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Return subnormal values of one sign."""
    form = FORMATS[t.name]
    rng = values.generator("subnormal", t.name, shape, *seed)
    steps = rng.integers(1 << (form.precision - 2), 1 << (form.precision - 1), shape)
    return values.rounded(np.asarray(steps * form.smallest, np.float64), t)


def single_terms(t: DType) -> Host:
    """Return rows of zeros with one other value each."""
    x = np.zeros((len(_POSITIONS), _WIDTH))
    x[range(len(_POSITIONS)), _POSITIONS] = values.moderate(t, (len(_POSITIONS),), "single").astype(np.float64)
    return values.rounded(x, t)


def few_terms(t: DType, n: int) -> Host:
    """Return zeros with a few values among them, at the far end too: nothing but these may be rounded."""
    x = np.zeros(n)
    at = np.array([0, n // 7, n // 3, n // 2 + 1, n - 2, n - 1])
    x[at] = values.moderate(t, at.shape, "few").astype(np.float64)
    return values.rounded(x, t)


def infinite(t: DType) -> Host:
    """Return rows with an infinity, with opposite ones, and with NaN, each at another place."""
    x = values.moderate(t, (3 * len(_POSITIONS), _WIDTH), "infinite").astype(np.float64)
    for i, at in enumerate(_POSITIONS):
        x[3 * i, at] = np.inf if i % 2 else -np.inf
        x[3 * i + 1, [at, _WIDTH - 1 - at]] = np.inf, -np.inf
        x[3 * i + 2, at] = np.nan
    return values.rounded(x, t)


def beyond_narrow(t: DType, n: int = 4096) -> Host:
    """Return terms whose partial sums exceed float16's range, in whatever order, and whose sum does not."""
    first = np.concatenate([np.full(n, 100.0), np.full(n - 1, -100.0)])
    return values.rounded(first, t)


def _sums(t: DType) -> Iterator[Sample]:
    form = FORMATS[t.name]
    yield Sample("cancelling", (cancelling(t),))
    yield Sample("wide-range", (wide_range(t, (3, 2050)),), {"axis": 1})
    yield Sample("subnormal", (subnormal(t, (1000,)),))
    yield Sample("beyond-narrow", (beyond_narrow(t),))
    yield Sample("long", (values.moderate(t, (_LONG,), "long", low=0.2, high=0.4),))
    yield Sample("long-columns", (values.moderate(t, (20_011, 5), "long", low=0.5, high=1.5),), {"axis": 0})
    yield Sample("single-terms", (single_terms(t),), {"axis": 1})
    yield Sample("single-columns", (np.ascontiguousarray(single_terms(t).T),), {"axis": 0})
    yield Sample("few-terms", (few_terms(t, _LONG),))
    yield Sample("infinite", (infinite(t),), {"axis": 1})
    part = form.largest / (1500 if t.name != "float16" else 1001)
    yield Sample("near-overflow", (values.rounded(np.full(1000, part * 0.99), t),))


def _products(t: DType) -> Iterator[Sample]:
    form = FORMATS[t.name]
    n = 60
    signs = values.generator("signs").choice([-1.0, 1.0], (5, n))
    up = math.exp(math.log(form.largest) * 0.98 / n)
    down = math.exp(math.log(2.0**form.lowest) * 0.98 / n)
    gone = 2.0 ** ((form.lowest - 4) / n)
    yield Sample("near-overflow", (values.rounded(signs * up, t),), {"axis": 1})
    yield Sample("near-underflow", (values.rounded(signs * down, t),), {"axis": 1})
    yield Sample("into-subnormals", (values.rounded(signs * gone, t),), {"axis": 1})
    line = values.moderate(t, (_WIDTH,), "near one", low=0.99, high=1.01)
    yield Sample("long", (line,))
    zeros = np.ones((len(_POSITIONS), _WIDTH))
    zeros[range(len(_POSITIONS)), _POSITIONS] = 0.0
    yield Sample("zero-among-ones", (values.rounded(zeros, t),), {"axis": 1})


def _scans(t: DType) -> Iterator[Sample]:
    yield Sample("cancelling", (cancelling(t),), {"axis": 0})
    yield Sample("long", (values.moderate(t, (20_011,), "long", low=0.2, high=0.4),), {"axis": 0})
    yield Sample("long-columns", (values.moderate(t, (5003, 3), "long", low=0.2, high=0.4),), {"axis": 0})
    yield Sample("few-terms", (few_terms(t, 20_011),), {"axis": 0})
    yield Sample("single-terms", (single_terms(t),), {"axis": 1})
    yield Sample("subnormal", (subnormal(t, (1000,)),), {"axis": 0})
    yield Sample("beyond-narrow", (beyond_narrow(t, 300),), {"axis": 0})
    yield Sample("infinite", (infinite(t),), {"axis": 1})


def _running_products(t: DType) -> Iterator[Sample]:
    n = 5003
    yield Sample("swinging", (values.rounded(np.where(np.arange(n) % 2, 0.5, -2.0), t),), {"axis": 0})
    late = np.ones(n)
    late[[17, 1024, 4000, n - 1]] = 1.5, -0.75, 3.0, 1.25
    yield Sample("few-terms", (values.rounded(late, t),), {"axis": 0})


def _matrices(t: DType) -> Iterator[Sample]:
    form, rng = FORMATS[t.name], values.generator("matrices", t.name)
    x, y = values.moderate(t, (5, 300), "x").astype(np.float64), values.moderate(t, (300, 4), "y").astype(np.float64)
    tail = np.full((5, 1), 0.25), np.full((1, 4), 0.5)
    order = rng.permutation(601)
    yield Sample(
        "cancelling",
        (
            values.rounded(np.concatenate([x, x, tail[0]], axis=1)[:, order], t),
            values.rounded(np.concatenate([y, -y, tail[1]], axis=0)[order], t),
        ),
    )
    yield Sample("single-terms", (single_terms(t), values.moderate(t, (_WIDTH, 19), "y")))
    sparse = values.moderate(t, (_WIDTH, 19), "y").astype(np.float64)
    sparse[rng.random(sparse.shape) > 0.003] = 0
    yield Sample("few-terms", (values.moderate(t, (9, _WIDTH), "x"), values.rounded(sparse, t)))
    root = 2.0 ** (form.highest // 4)
    scaled = rng.choice([1 / root, 1.0, root], (7, 40)) if t.name != "float16" else rng.choice([2.0**-6, 1.0], (7, 40))
    yield Sample(
        "wide-range",
        (
            values.rounded(values.moderate(t, (7, 40), "x").astype(np.float64) * scaled, t),
            values.rounded(values.moderate(t, (40, 6), "y").astype(np.float64), t),
        ),
    )
    one = np.ones(_LONG // 5)
    yield Sample(
        "long",
        (values.moderate(t, (2, one.size), "long", low=0.5, high=1.5), values.rounded(np.stack([one, one], 1), t)),
    )
    yield Sample("subnormal", (subnormal(t, (4, 30)), values.moderate(t, (30, 5), "y", low=1, high=4)))
    tiny = values.rounded(np.full((30, 5), 2.0 ** (-(form.precision // 2))), t)
    least = values.rounded(values.moderate(t, (4, 30), "x", low=1, high=4).astype(np.float64) * 2.0**form.lowest, t)
    yield Sample("into-subnormals", (least, tiny))
    rows = infinite(t)[:12]
    zeros = np.ones((_WIDTH, 3))
    zeros[:, 1], zeros[::2, 2] = 0.0, 0.0  # infinity times zero is NaN, wherever it stands
    yield Sample("infinite", (rows, values.rounded(zeros, t)))
    narrow = beyond_narrow(t, 2048).reshape(1, -1)
    yield Sample("beyond-narrow", (narrow, values.rounded(np.full((narrow.shape[1], 2), 0.5), t)))


def _means(t: DType) -> Iterator[Sample]:
    yield Sample("long", (values.moderate(t, (_LONG,), "long", low=0.5, high=1.5),))
    yield Sample("cancelling", (cancelling(t),))
    yield Sample("beyond-narrow", (beyond_narrow(t),))
    yield Sample("infinite", (infinite(t),), {"axis": 1})


def _spreads(t: DType) -> Iterator[Sample]:
    offset = 1e3 if t.name != "bfloat16" else 100.0
    x = values.moderate(t, (5, 700), "offset").astype(np.float64)
    yield Sample("offset", (values.rounded(x + offset, t),), {"axis": 1})
    constants = offset * (1 + np.arange(24).reshape(-1, 1) / 7)  # the textbook formula goes below zero for some
    yield Sample("equal", (values.rounded(np.repeat(constants, 999, axis=1), t),), {"axis": 1})
    yield Sample("long", (values.moderate(t, (_LONG,), "long"),))
    yield Sample("beyond-narrow", (values.rounded(np.resize([200.0, -200.0, 0.0], (9001,)), t),))


def _spread_rows(t: DType) -> Reals:
    """Rows whose exponentials overflow, vanish, tie or stand alone."""
    large = 1e4
    rows = [
        np.full(64, large), np.full(64, -large), np.linspace(-large, large, 64), np.zeros(64),
        np.where(np.arange(64) == 63, 80.0, 0.0), np.where(np.arange(64) == 0, 0.0, -90.0),
        np.where(np.arange(64) % 2, -np.inf, 1.0), np.where(np.arange(64) == 40, 5.0, -np.inf),
    ]  # fmt: skip
    return np.stack(rows)


def _exponentials(t: DType) -> Iterator[Sample]:
    yield Sample("spread", (values.rounded(_spread_rows(t), t),), {"axis": 1})
    yield Sample("long", (values.moderate(t, (2, 5003), "long", low=-20, high=0),), {"axis": 1})
    special = np.zeros((4, 9))
    special[0, 3], special[1, 8], special[2] = np.inf, np.nan, -np.inf
    special[3, [0, 5]] = np.inf, -np.inf
    yield Sample("infinite", (values.rounded(special, t),), {"axis": 1})


def _norms(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (5, 700), "offset").astype(np.float64)
    yield Sample("offset", (values.rounded(x + 100.0, t),))
    yield Sample("equal", (values.rounded(np.full((3, 999), 0.7), t),))
    yield Sample("small", (values.rounded(x * 2.0**-10, t),))


def _attentions(t: DType) -> Iterator[Sample]:
    q, k = (values.moderate(t, (1, 2, n, 8), name, low=-8, high=8) for n, name in ((5, "q"), (67, "k")))
    yield Sample("sharp", (q, k, values.moderate(t, (1, 2, 67, 8), "v", low=-1, high=1), None))


#: The ill-conditioned calls of each op that combines terms.
MAKERS: Final[dict[str, Maker]] = {
    "sum": _sums,
    "prod": _products,
    "cumulative_sum": _scans,
    "cumulative_prod": _running_products,
    "matmul": _matrices,
    "mean": _means,
    "var": _spreads,
    "std": _spreads,
    "softmax": _exponentials,
    "log_softmax": _exponentials,
    "logsumexp": _exponentials,
    "layer_norm": _norms,
    "rms_norm": _norms,
    "attention": _attentions,
}

_TERMS: Final = (
    "cancelling", "wide-range", "subnormal", "beyond-narrow", "long", "long-columns", "single-terms", "single-columns",
    "few-terms", "infinite", "near-overflow",
)  # fmt: skip
#: Their labels, so that nothing has to be made to know the cases.
LABELS: Final[dict[str, tuple[str, ...]]] = {
    "sum": _TERMS,
    "prod": ("near-overflow", "near-underflow", "into-subnormals", "long", "zero-among-ones"),
    "cumulative_sum": (
        "cancelling", "long", "long-columns", "few-terms", "single-terms", "subnormal", "beyond-narrow", "infinite",
    ),
    "cumulative_prod": ("swinging", "few-terms"),
    "matmul": (
        "cancelling", "single-terms", "few-terms", "wide-range", "long", "subnormal", "into-subnormals", "infinite",
        "beyond-narrow",
    ),
    "mean": ("long", "cancelling", "beyond-narrow", "infinite"),
    **dict.fromkeys(("var", "std"), ("offset", "equal", "long", "beyond-narrow")),
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp"), ("spread", "long", "infinite")),
    **dict.fromkeys(("layer_norm", "rms_norm"), ("offset", "equal", "small")),
    "attention": ("sharp",),
}  # fmt: skip


def _zeros(t: DType) -> OpCheck:
    """A sum of zeros that are not all negative is +0 in every order; so is what cancels."""
    rows = np.array([[0.0, 0.0, 0.0], [-0.0, 0.0, -0.0], [0.0, -0.0, -0.0], [1.5, -1.5, -0.0], [-2.0, -0.0, 2.0]])
    operands = (values.rounded(rows, t),)

    def check(target: Target, op: Op, findings: Findings) -> None:
        spec = infer(op, operands, {"axis": 1}).outputs[0]
        want, where = np.zeros(spec.shape, spec.dtype.numpy), Where(op.name, spec.dtype)
        expected = Expected(spec, lambda got: check_exact(got, want, where), "exact")
        target.run(op, target.upload(operands), {"axis": 1}, expected, findings)

    return check


def _integer_matrices(t: DType) -> Sample:
    """Products of the ends of the range: partial sums leave narrower accumulators and the integers of float32."""
    info = np.iinfo(t.numpy)
    x = np.full((4, 2051), info.max, t.numpy)
    x[1], x[2, ::2] = info.min, info.min
    y = np.full((2051, 3), info.max, t.numpy)
    y[:, 1], y[1::2, 2] = info.min, info.min
    return Sample("extremes", (x, y))


def _integer_sums(t: DType) -> Sample:
    info = np.iinfo(t.numpy)
    x = np.full((3, 70_001), info.max, t.numpy)
    x[1], x[2, ::2] = info.min, info.min
    return Sample("extremes", (x,), {"axis": 1})


_INTEGERS: Final[dict[str, Callable[[DType], Sample]]] = {
    "matmul": _integer_matrices,
    "sum": _integer_sums,
    "cumulative_sum": _integer_sums,
}
