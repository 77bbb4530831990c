"""The calls that are timed: for every op one call per size class, of shapes in which it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...core.dtypes import BY_NAME, COMPLEX, DType, bool_, float32, int32, int64, uint32
from ...core.kernel import ArraySpec
from ...core.op import OPS, Op
from ...opset.declare import declaration_of
from ...opset.profiles import PROFILES
from ..cases.samples.sample import operand_dtypes, samples
from ..oracle.formats import Host

Specs = tuple[ArraySpec | None, ...]
Described = tuple[Specs, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Size:
    """A size class.

    Attributes:
        name: ``"small"``, bound by the launch; ``"medium"``, within a second-level cache; ``"large"``, mostly beyond.
        elements, nbytes: of the leading operand, whichever is given.
        side: of the matrices in a product.
    """

    name: str
    side: int
    elements: int = 0
    nbytes: int = 0

    def count(self, t: DType) -> int:
        """Return the elements of a leading operand."""
        return self.elements or self.nbytes * 8 // t.bits


SIZES: Final = (Size("small", 8, elements=8), Size("medium", 128, nbytes=1 << 16), Size("large", 512, nbytes=1 << 23))


@dataclass(frozen=True)
class Call:
    """One call to time.

    Attributes:
        op: what.
        dtype: of the leading operand, by name.
        size: its size class.
        operands: dtype and shape of each; None for an optional one left out.
        attributes: as given by a caller.
        values: the operands' values, where they are not to be drawn.
    """

    op: Op
    dtype: str
    size: str
    operands: Specs
    attributes: Mapping[str, Any]
    values: tuple[Host | None, ...] | None = None

    @property
    def name(self) -> str:
        """What progress shows."""
        return f"{self.op.name} {self.dtype} {self.size}"

    @property
    def words(self) -> tuple[str, ...]:
        """The operands and the attributes, as words for the command line."""
        shown = ["none" if s is None else str(s) for s in self.operands]
        return (*shown, *(f"{k}={v}".replace(" ", "") for k, v in self.attributes.items()))


def _grid(n: int) -> tuple[int, int]:
    """Return rows and columns of so many elements, about as many of the one as of the other."""
    columns = 1 << (math.ceil(math.log2(n) / 2))
    return n // columns, columns


def _elementwise(op: Op, t: DType, size: Size) -> Described:
    return tuple(ArraySpec(x, (size.count(t),)) for x in operand_dtypes(op, t)), {}


def _rows(**attributes: Any) -> Describe:
    """A grid, along its rows."""
    return lambda op, t, size: ((ArraySpec(t, _grid(size.count(t))),), attributes)


def _normalised(operands: int) -> Describe:
    """A grid, and vectors for its columns."""

    def described(op: Op, t: DType, size: Size) -> Described:
        rows, columns = _grid(size.count(t))
        return (ArraySpec(t, (rows, columns)), *[ArraySpec(t, (columns,))] * operands), {}

    return described


def _square(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(t, (size.side, size.side)),) * 2, {}


def _linear(op: Op, t: DType, size: Size) -> Described:
    return (*_square(op, t, size)[0], ArraySpec(t, (size.side,))), {}


def _attention(op: Op, t: DType, size: Size) -> Described:
    """Heads of 64 and as many positions as a matrix has rows; four heads but in the small one."""
    heads, width = (1, 8) if size.name == "small" else (4, 64)
    return (*(ArraySpec(t, (1, heads, size.side, width)),) * 3, None), {}


#: Channels and side of an image.
_IMAGES: Final = {"small": (1, 4), "medium": (8, 32), "large": (32, 64)}


def _conv(op: Op, t: DType, size: Size) -> Described:
    channels, side = _IMAGES[size.name]
    image, kernel = ArraySpec(t, (1, channels, side, side)), ArraySpec(t, (channels, channels, 3, 3))
    return (image, kernel, None), {"padding": 1}


def _pool(op: Op, t: DType, size: Size) -> Described:
    channels, side = _IMAGES[size.name]
    return (ArraySpec(t, (1, channels, side, side)),), {"kernel": 2}


def _concat(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(t, (size.count(t) // 2,)),) * 2, {"axis": 0}


def _pad(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(t, (size.count(t),)), ArraySpec(t, ())), {"pad_width": ((4, 4),)}


def _gather(op: Op, t: DType, size: Size) -> Described:
    rows, columns = _grid(size.count(t))
    return (ArraySpec(t, (rows, columns)), ArraySpec(int64, (rows,))), {"axis": 0}


def _scatter(op: Op, t: DType, size: Size) -> Described:
    (x, indices), attributes = _gather(op, t, size)
    return (x, indices, x), attributes


def _take(op: Op, t: DType, size: Size) -> Described:
    grid = _grid(size.count(t))
    return (ArraySpec(t, grid), ArraySpec(int64, grid)), {"axis": -1}


def _vectors(count: int) -> Describe:
    return lambda op, t, size: ((ArraySpec(t, (size.count(t),)),) * count, {})


def _one_hot(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(t, (max(size.count(t) // 8, 1),)),), {"classes": 8}


def _cast(op: Op, t: DType, size: Size) -> Described:
    to = t if t.kind == COMPLEX else int32 if t is float32 else float32
    return (ArraySpec(t, (size.count(t),)),), {"dtype": to}


def _bitcast(op: Op, t: DType, size: Size) -> Described:
    to = BY_NAME.get(f"int{t.bits}", t)
    return (ArraySpec(t, (size.count(t),)),), {"dtype": t if t is bool_ else to}


def _full(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(t, ()),), {"shape": (size.count(t),)}


def _iota(op: Op, t: DType, size: Size) -> Described:
    return (), {"shape": (size.count(t),), "dtype": t}


def _random_bits(op: Op, t: DType, size: Size) -> Described:
    return (ArraySpec(uint32, (2,)), ArraySpec(uint32, (4,))), {"shape": (size.count(t),)}


Describe = Callable[[Op, DType, Size], Described]
_ALONG_ROWS: Final = (
    "sum", "prod", "max", "min", "all", "any", "argmax", "argmin", "cumulative_sum", "cumulative_prod", "softmax",
    "log_softmax", "mean", "var", "std", "logsumexp", "sort", "argsort",
)  # fmt: skip
_TABLE: Final[dict[str, Describe]] = {
    **{name: _rows(axis=1) for name in _ALONG_ROWS},
    "layer_norm": _normalised(2),
    "rms_norm": _normalised(1),
    "matmul": _square,
    "linear": _linear,
    "attention": _attention,
    "conv": _conv,
    "max_pool": _pool,
    "avg_pool": _pool,
    "concat": _concat,
    "pad": _pad,
    "gather": _gather,
    "scatter": _scatter,
    "take_along_axis": _take,
    "searchsorted": _vectors(2),
    "copy": _vectors(1),
    "one_hot": _one_hot,
    "cast": _cast,
    "bitcast": _bitcast,
    "full": _full,
    "iota": _iota,
    "random_bits": _random_bits,
}


def calls(op: Op, t: DType) -> list[Call]:
    """Return the calls of an op with a leading operand of a dtype, by size.

    An op that is neither elementwise nor described here is timed on the first of its conformance samples that stands
    for the others: one call, small.
    """
    describe = _TABLE.get(op.name, _elementwise if "elementwise" in op.facts else None)
    if describe is not None:
        return [Call(op, t.name, size.name, *describe(op, t, size)) for size in SIZES]
    given = samples(op, t, quick=True)
    base = next((s for s in given if s.base), given[0])
    specs = tuple(None if x is None else ArraySpec(_dtype_of(x), x.shape) for x in base.operands)
    return [Call(op, t.name, SIZES[0].name, specs, base.attributes, base.operands)]


def _dtype_of(x: Host) -> DType:
    from ...core.dtypes import dtype

    return dtype(x.dtype)


def main_dtypes() -> tuple[str, ...]:
    """Return the dtype of each core profile, float32 first."""
    return tuple(p.dtypes[0].name for p in PROFILES.values() if p.name.startswith("core-"))


def default_pairs(dtypes: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    """Return the (op, dtype) that are timed: every op on the first dtype, the core ops on the others too.

    An op that does not take the first dtype is timed on the one that it takes and names first.
    """
    first, *others = dtypes or main_dtypes()
    found = []
    for op in OPS:
        declared = declaration_of(op)
        allowed = [t.name for t in declared.dtypes]
        found.append((op.name, first if first in allowed else allowed[0]))
        if declared.core:
            found += [(op.name, t) for t in others if t in allowed and (op.name, t) != found[-1]]
    return found
