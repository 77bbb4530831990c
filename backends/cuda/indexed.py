"""Slices of an axis chosen by indices: gather, and scatter in the order of the indices.

A scatter is written as a gather: for every place of the axis a table says which update stays (``set``), or where its
updates begin among those sorted by place. So each element of the result is written once, by one thread, and updates of
one element meet it in the opset's order, however the blocks of a grid come.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import (
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Nest,
    Prepared,
    Promises,
    Reason,
    Rejection,
    dtypes,
    merge,
    recipe,
)
from . import emit, sorting
from .device.driver import KIND, driver_of
from .device.launching import Arguments, Pointer, Step, blocks_for, launcher
from .movement import THREADS, TURNS, WORD, in_words, unit, widest
from .nest import MOST_INDEXED, packed, parts

PARTS: Final = ("elementwise", "movement", "indexed")
_ALL: Final = frozenset(t.name for t in dtypes.ALL)
_INDICES: Final = {"int32": "i32", "int64": "i64"}
_OUTSIDE: Final = {"clip": "CLIP", "wrap": "WRAP", "fill": "NOWHERE", "drop": "NOWHERE"}
_COMBINE: Final = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}
#: What accumulates wider than it is stored.
_NARROW: Final = frozenset({"float16", "bfloat16"})
_PART: Final = {"complex64": "f32", "complex128": "f64"}
#: Rows of any length from anywhere: at least what plain kernels reach (47 % and more: BabelStream).
_GATHER: Final = CostTerms(memory=0.5)
#: Declared, not measured: the table of places is written twice and read once, beside what the op counts.
_SCATTER: Final = CostTerms(memory=0.3)


def _fused(shape: Sequence[int], *strides: Sequence[int]) -> Nest:
    """Return a nest in the order given, with at least one dimension; of nothing, one that a kernel can divide by."""
    nest = merge(shape, strides)
    return nest if nest.shape and 0 not in shape else Nest((1,), tuple((0,) for _ in strides))


def _units(strides: Sequence[int], halved: bool) -> tuple[int, ...]:
    """Return strides in units; what is moved in two units has one more dimension."""
    return (*(2 * s for s in strides), 1) if halved else tuple(strides)


def _gather(spec: CallSpec) -> Prepared:
    (x, indices), (out,) = spec.arrays, spec.outputs
    axis, small = spec.attributes["axis"], unit(x.dtype.itemsize)
    halved = small < x.dtype.itemsize
    still = (0,) * (len(x.shape) - axis - 1 + halved)
    nest = _fused(
        (*out.shape, 2) if halved else out.shape,
        _units(out.strides, halved),
        _units((*x.strides[:axis], *(0,) * len(indices.shape), *x.strides[axis + 1 :]), halved),
        (*(0,) * axis, *indices.strides, *still),
    )
    stride = x.strides[axis] * (2 if halved else 1)
    width = widest(nest, small, (stride,), 2) if x.aligned and out.aligned else small
    count = width // small
    name = f"gather_{WORD[width]}"
    made = []
    for part, (to, source, index) in parts(in_words(nest, count, 2)) if out.size else ():
        n = math.prod(part.shape)
        text = _gathering(name, width, indices.dtype.name, spec.attributes["mode"], len(part.shape))
        arguments: Arguments = [
            struct.pack("<I", n), packed(Nest(part.shape, part.strides[1:])),
            struct.pack("<q", x.shape[axis]), struct.pack("<q", stride // count),
            Pointer(0, source * width), Pointer(1, index * indices.dtype.itemsize), Pointer(2, to * width),
        ]  # fmt: skip
        function = driver_of(spec).loader.function(text, PARTS, name)
        made.append(Step(function, blocks_for(n, THREADS * TURNS[width]), (THREADS, 1, 1), arguments))
    return Prepared(launcher(driver_of(spec).runtime, made))


@functools.lru_cache(maxsize=256)
def _gathering(name: str, width: int, index: str, mode: str, rank: int) -> str:
    word, index = WORD[width], _INDICES[index]
    return f"""\
extern "C" __global__ void __launch_bounds__({THREADS}) {name}(
    u32 n, const __grid_constant__ Nest<{rank}, 2> nest, i64 length, i64 stride, const {word}* table,
    const {index}* indices, {word}* out
) {{
    gather_block<Outside::{_OUTSIDE[mode]}, {THREADS}, {TURNS[width]}>(n, nest, length, stride, table, indices, out);
}}
OPMUX_ENTRY({name})
"""


@dataclass(frozen=True, slots=True)
class _Rule:
    """How an update meets an element, and what of an element is moved at once.

    Attributes:
        text: the C++ of ``struct Combine``.
        size: bytes of the units that are combined.
    """

    text: str
    size: int


def _rule(reduction: str, dtype: dtypes.DType) -> _Rule | Rejection:
    """Return how to combine, from the recipe of the op of like meaning."""
    op, name, size = _COMBINE[reduction], dtype.name, dtype.itemsize
    if name in _PART:
        if op == "multiply":
            return Rejection(Reason.ATTRIBUTE, "no recipe fixes the bits of complex products, and it promises them")
        name, size = {"f32": "float32", "f64": "float64"}[_PART[name]], size // 2
    wide = "float32" if name in _NARROW and op in ("add", "multiply") else name
    program = recipe(op, (wide, wide), None)
    if program is None:
        return Rejection(Reason.DTYPE, f"there is no recipe to {reduction} {dtype}")
    kind, register = emit.MEMORY[name], emit.REGISTER[wide]
    text = f"""\
{emit.function("meet", program)}

struct Combine {{
    typedef {kind} T;
    static __device__ __forceinline__ {register} widened(T x) {{ return {emit.converted("x", name, wide)}; }}
    static __device__ __forceinline__ {register} combined({register} x, {register} y) {{ return meet(x, y); }}
    static __device__ __forceinline__ T narrowed({register} x) {{ return {emit.converted("x", wide, name)}; }}
}};"""
    return _Rule(text, size)


#: Products and sums of the parts, each rounded.
_PRODUCT: Final = """\
struct Number {{ {part} re, im; }};
struct Combine {{
    typedef Number T;
    static __device__ __forceinline__ T widened(T x) {{ return x; }}
    static __device__ __forceinline__ T combined(T x, T y) {{
        return {{x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re}};
    }}
    static __device__ __forceinline__ T narrowed(T x) {{ return x; }}
}};"""


class _Scatter:
    """The launches of one call. The workspace begins with the table of places."""

    def __init__(self, spec: CallSpec) -> None:
        self.spec = spec
        self.x, self.indices, self.updates = spec.arrays
        (self.out,) = spec.outputs
        self.axis = spec.attributes["axis"]
        self.length, self.count = self.x.shape[self.axis], self.indices.size
        self.index = _INDICES[self.indices.dtype.name]
        self.outside = f"Outside::{_OUTSIDE[spec.attributes['mode']]}"
        self.walk = _fused(self.indices.shape, self.indices.strides)
        self.table = Pointer(4)
        self.workspace = -(-4 * max(self.length, 1) // 256) * 256
        self.steps: list[Step] = []

    def prepared(self) -> Prepared:
        """Return what carries out the launches."""
        return Prepared(launcher(driver_of(self.spec).runtime, self.steps), self.workspace)

    def replace(self) -> Prepared:
        """Let the last update of a place stay."""
        self._fill(0)
        if self.count:
            self._claim()
        size = unit(self.x.dtype.itemsize)
        aligned = all(s.aligned for s in (self.x, self.updates, self.out))
        for at in self._places(size, widen=aligned):
            word, turns = WORD[at.width], TURNS[at.width]
            self._launch(
                f"u32 n, {at.nests}, const {word}* array, const {word}* updates, const u32* last, {word}* out",
                f"replace_block<{THREADS}, {turns}>(n, nest, steps, array, updates, last, out);",
                f"scatter_{word}", at.n, THREADS * turns, [*at.head, *at.moved, at.table, at.out],
            )  # fmt: skip
        return self.prepared()

    def _claim(self) -> None:
        """Find which update stays at each place."""
        rank = len(self.walk.shape)
        self._launch(
            f"u32 n, const __grid_constant__ Nest<{rank}, 1> walk, i64 length, const {self.index}* indices, u32* last",
            f"claim<{self.outside}, {THREADS}>(n, walk, length, indices, last);",
            "scatter_claim", self.count, THREADS,
            [struct.pack("<I", self.count), packed(self.walk), struct.pack("<q", self.length), Pointer(1), self.table],
        )  # fmt: skip

    def combine(self, rule: _Rule) -> Prepared:
        """Let every update of a place meet its element, in the order of the indices."""
        entries = self._sorted()
        self._fill(0xFF)
        self._launch(
            "u32 n, const u64* sorted, u32* first", f"find_firsts<{THREADS}>(n, sorted, first);",
            "scatter_firsts", self.count, THREADS, [struct.pack("<I", self.count), entries, self.table],
        )  # fmt: skip
        for at in self._places(rule.size, widen=False):
            self._launch(
                f"u32 n, u32 count, {at.nests}, const Combine::T* array, const Combine::T* updates, "
                "const u64* sorted, const u32* first, Combine::T* out",
                f"combine_block<{THREADS}, Combine>(n, count, nest, steps, array, updates, sorted, first, out);",
                "scatter_combine", at.n, THREADS,
                [at.head[0], struct.pack("<I", self.count), *at.head[1:], *at.moved, entries, at.table, at.out],
                before=rule.text,
            )  # fmt: skip
        return self.prepared()

    def _launch(
        self, parameters: str, call: str, name: str, n: int, each: int, arguments: Arguments, before: str = ""
    ) -> None:
        text = f"""\
{before}
extern "C" __global__ void __launch_bounds__({THREADS}) {name}({parameters}) {{
    {call}
}}
OPMUX_ENTRY({name})
"""
        function = driver_of(self.spec).loader.function(text, PARTS, name)
        self.steps.append(Step(function, blocks_for(n, each), (THREADS, 1, 1), arguments))

    def _fill(self, byte: int) -> None:
        """Let the table of places say that no update comes."""
        n = max(self.length, 1)
        self._launch(
            "u32 n, u32 word, u32* table", f"fill<{THREADS}>(n, word, table);", "scatter_fill", n, THREADS,
            [struct.pack("<I", n), bytes([byte] * 4), self.table],
        )  # fmt: skip

    def _sorted(self) -> Pointer:
        """Sort the updates by place, and those of one place by position."""
        rank = len(self.walk.shape)
        load = f"""\
struct Load {{
    Nest<{rank}, 1> walk;
    i64 length;
    const {self.index}* indices;
    __device__ __forceinline__ u64 operator()(u32, u32 i) const {{
        i64 at[1];
        offsets(walk, i, at);
        return (u64)(u32)place_of<{self.outside}>(indices[at[0]], length) << 32 | i;
    }}
}};"""
        loader = sorting.Functor(
            load,
            ((f"const __grid_constant__ Nest<{rank}, 1> walk", packed(self.walk)),
             ("i64 length", struct.pack("<q", self.length)), (f"const {self.index}* indices", Pointer(1))),
            PARTS,
        )  # fmt: skip
        made = sorting.entries(self.spec, loader, self.count, Pointer(4, self.workspace))
        self.steps += made.steps
        self.workspace += made.workspace
        return made.result

    def _places(self, size: int, *, widen: bool) -> Iterator[_Places]:
        """Yield the parts of the output, counted in units of a size or, where they may be wider, in words."""
        x, updates, out, axis = self.x, self.updates, self.out, self.axis
        halved, after, inner = size < x.dtype.itemsize, axis + len(self.indices.shape), len(x.shape) - axis - 1
        steps = _fused(self.indices.shape, [s * (1 + halved) for s in updates.strides[axis:after]])
        nest = _fused(
            (*out.shape, 2) if halved else out.shape,
            _units(out.strides, halved),
            _units(x.strides, halved),
            _units((*updates.strides[:axis], 0, *updates.strides[after:]), halved),
            (*(0,) * axis, 1, *(0,) * (inner + halved)),
        )
        width = widest(nest, size, steps.strides[0], 3) if widen else size
        count = width // size
        steps = Nest(steps.shape, (tuple(s // count for s in steps.strides[0]),))
        for part, (to, source, given, place) in parts(in_words(nest, count, 3)) if out.size else ():
            n, rank = math.prod(part.shape), len(part.shape)
            yield _Places(
                width,
                n,
                f"const __grid_constant__ Nest<{rank}, 3> nest, "
                f"const __grid_constant__ Nest<{len(steps.shape)}, 1> steps",
                (struct.pack("<I", n), packed(Nest(part.shape, part.strides[1:])), packed(steps)),
                (Pointer(0, source * width), Pointer(2, given * width)),
                Pointer(self.table.index, self.table.offset + place * 4),
                Pointer(3, to * width),
            )


@dataclass(frozen=True, slots=True)
class _Places:
    """One part of the output, ready for a launch.

    Attributes:
        width: bytes of its words.
        n: how many.
        nests: the parameters that walk it.
        head: how many, and those parameters' bytes.
        moved: the array and the updates.
        table: the table of places.
        out: the output.
    """

    width: int
    n: int
    nests: str
    head: tuple[bytes, ...]
    moved: tuple[Pointer, Pointer]
    table: Pointer
    out: Pointer


def _scatter(spec: CallSpec) -> Prepared | Rejection:
    scatter, reduction = _Scatter(spec), spec.attributes["reduction"]
    if max(scatter.length, scatter.count) >= MOST_INDEXED:
        return Rejection(Reason.SIZE, f"it counts places and indices below {MOST_INDEXED}")
    if reduction == "set" or not scatter.count:
        return scatter.replace()
    rule = _rule(reduction, scatter.x.dtype)
    return rule if isinstance(rule, Rejection) else scatter.combine(rule)


def _scatter_products(spec: CallSpec) -> Prepared | Rejection:
    scatter, dtype = _Scatter(spec), spec.outputs[0].dtype
    if max(scatter.length, scatter.count) >= MOST_INDEXED:
        return Rejection(Reason.SIZE, f"it counts places and indices below {MOST_INDEXED}")
    if not scatter.count:
        return scatter.replace()
    return scatter.combine(_Rule(_PRODUCT.format(part=_PART[dtype.name]), dtype.itemsize))


KERNELS: Final = (
    Kernel("gather", "gather", KIND, _gather, Accepts(dtypes=(_ALL, frozenset(_INDICES))), CANONICAL, _GATHER),
    Kernel(
        "scatter", "scatter", KIND, _scatter, Accepts(dtypes=(_ALL, frozenset(_INDICES), _ALL)), CANONICAL, _SCATTER
    ),
    Kernel(
        "scatter.products",
        "scatter",
        KIND,
        _scatter_products,
        Accepts(
            dtypes=(frozenset(_PART), frozenset(_INDICES), frozenset(_PART)),
            attributes={"reduction": frozenset({"multiply"})},
        ),
        Promises(determinism=Determinism.RUN),
        _SCATTER,
    ),
)
