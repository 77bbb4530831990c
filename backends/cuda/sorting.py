"""Sorting along an axis, and places among sorted values.

An element becomes an entry: an unsigned key in the order of the values, above its position in the line. Entries are all
different, so tiles and merges keep equal elements in order without taking care of it, and the result depends on
nothing but the operand. Lines up to a tile take one launch, longer ones one more for every doubling.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import CANONICAL, Accepts, CallSpec, CostTerms, Kernel, Nest, Prepared, Reason, Rejection, dtypes, merge
from .device.driver import KIND, driver_of
from .device.launching import MOST_BLOCKS, Arguments, Pointer, Step, blocks_for, launcher
from .nest import MOST_INDEXED, packed, parts

THREADS: Final = 256
#: Entries that a thread sorts in registers.
ITEMS: Final = 8
TILE: Final = THREADS * ITEMS
PARTS: Final = ("elementwise", "sorting")
_REAL: Final = frozenset(t.name for t in (*dtypes.INTEGERS, *dtypes.FLOATS))
#: Bits of infinity: what is larger without its sign is NaN.
_INFINITY: Final = {
    "float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF0000000000000
}  # fmt: skip
#: Declared, not measured: a launch reads and writes an entry of 8 or 16 bytes for each element, and lines of a million
#: take ten of them, where the op counts one reading and one writing.
_COST: Final = CostTerms(memory=0.05)
#: Declared, not measured: a search is a chain of dependent loads, which the op counts as one.
_SEARCH: Final = CostTerms(memory=0.1)

Parameter = tuple[str, bytes | Pointer]


@dataclass(frozen=True, slots=True)
class Functor:
    """A struct of device code that is called for each entry, and the kernel's parameters that it is made of.

    Attributes:
        text: its definition.
        parameters: declarations, in the order of its members, and what is passed.
        parts: shared files that it uses beside those of this module.
    """

    text: str
    parameters: tuple[Parameter, ...]
    parts: tuple[str, ...] = ()

    @property
    def members(self) -> str:
        """Names of the parameters."""
        return ", ".join(declaration.split()[-1].lstrip("*") for declaration, _ in self.parameters)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Launches that sort, where their result is, and the bytes of workspace that they use."""

    steps: list[Step]
    result: Pointer
    workspace: int


def _kind(dtype: dtypes.DType) -> str:
    return "FLOATING" if dtype in dtypes.FLOATS else "SIGNED" if dtype in dtypes.SIGNED_INTEGERS else "UNSIGNED"


def _word(dtype: dtypes.DType) -> str:
    return f"u{dtype.itemsize * 8}"


def key(dtype: dtypes.DType, value: str, descending: bool) -> str:
    """Return the C++ for the key of an element's bits."""
    word, flag = _word(dtype), "true" if descending else "false"
    infinity = f"({word}){_INFINITY.get(dtype.name, 0):#x}ull"
    return f"ordered<Kind::{_kind(dtype)}, {flag}>({value}, {infinity})"


def _kept(entry: str, n: int, to: Pointer) -> Functor:
    """Return what writes entries line by line."""
    text = f"""\
struct Store {{
    u32 size;
    {entry}* entries;
    __device__ __forceinline__ void operator()(u32 line, u32 i, {entry} x) const {{
        entries[(u64)line * size + i] = x;
    }}
}};"""
    return Functor(text, (("u32 size", struct.pack("<I", n)), (f"{entry}* entries", to)))


def entries(spec: CallSpec, load: Functor, n: int, workspace: Pointer) -> Sorted:
    """Return the launches that sort entries of 8 bytes, and leave them in the workspace."""
    size = -(-n * 8 // 256) * 256
    buffers = [Pointer(workspace.index, workspace.offset + k * size) for k in range(2)]
    passes = _passes(n)
    result = buffers[passes % 2]
    steps = _steps(spec, load, "u64", 1, n, buffers, _kept("u64", n, result))
    return Sorted(steps, result, size * (1 + (passes > 0)))


def _passes(n: int) -> int:
    """Return how often tiles of a line are merged.

    >>> [_passes(n) for n in (1, TILE, TILE + 1, 4 * TILE, 4 * TILE + 1)]
    [0, 0, 1, 2, 3]
    """
    return (-(-n // TILE) - 1).bit_length()


def _steps(
    spec: CallSpec,
    load: Functor,
    entry: str,
    lines: int,
    n: int,
    buffers: Sequence[Pointer],
    store: Functor,
    *,
    across: bool = False,
) -> list[Step]:
    """Return a launch that sorts tiles, and one for each time that they are merged; the last one stores.

    Args:
        spec: the call.
        load: makes an entry of a line and a position.
        entry: the type of entries.
        lines: how many lines there are.
        n: elements of each.
        buffers: two places for entries of all lines, of which merging tiles once uses the first.
        store: takes a line, a position and the entry that belongs there.
        across: whether it is the lines that lie side by side in memory.
    """
    passes, tiles = _passes(n), -(-n // TILE)
    bits = max((n - 1).bit_length(), ITEMS.bit_length() - 1) if tiles == 1 else TILE.bit_length() - 1
    blocks = -(-lines // (TILE >> bits)) * tiles
    first = _kept(entry, n, buffers[0]) if passes else store
    numbers: list[Parameter] = [("u32 lines", struct.pack("<I", lines)), ("u32 n", struct.pack("<I", n))]
    made = [
        _launch(
            spec, "sort_tiles", f"sort_block<{entry}, {THREADS}, {ITEMS}>(lines, n, bits, tiles, across, ",
            (load, first), blocks,
            [*numbers, ("u32 bits", struct.pack("<I", bits)), ("u32 tiles", struct.pack("<I", tiles)),
             ("u32 across", struct.pack("<I", across))],
        )
    ]  # fmt: skip
    for turn in range(passes):
        last = store if turn == passes - 1 else _kept(entry, n, buffers[1 - turn % 2])
        parameters: list[Parameter] = [
            ("u32 n", struct.pack("<I", n)),
            ("u32 run", struct.pack("<I", TILE << turn)),
            ("u32 tiles", struct.pack("<I", tiles)),
            (f"const {entry}* sorted", buffers[turn % 2]),
        ]
        call = f"merge_block<{entry}, {THREADS}, {ITEMS}>(n, run, tiles, sorted, "
        made.append(_launch(spec, "merge_tiles", call, (last,), lines * tiles, parameters))
    return made


def _launch(
    spec: CallSpec, name: str, call: str, functors: Sequence[Functor], blocks: int, own: Sequence[Parameter]
) -> Step:
    parameters = dict(own)
    for functor in functors:
        parameters |= dict(functor.parameters)
    text = _text(name, call, tuple((f.text, f.members) for f in functors), tuple(parameters))
    parts = dict.fromkeys((*(p for f in functors for p in f.parts), *PARTS))
    function = driver_of(spec).loader.function(text, sorted(parts, key=_ORDER.index), name)
    return Step(function, (blocks, 1, 1), (THREADS, 1, 1), tuple(parameters.values()))


#: Shared files in the order in which they use each other.
_ORDER: Final = ("elementwise", "movement", "indexed", "sorting")


@functools.lru_cache(maxsize=256)
def _text(name: str, call: str, functors: tuple[tuple[str, str], ...], parameters: tuple[str, ...]) -> str:
    made = ", ".join(f"{text.split()[1]}{{{members}}}" for text, members in functors)
    return "\n\n".join(
        [
            *(text for text, _ in functors),
            f"""\
extern "C" __global__ void __launch_bounds__({THREADS}) {name}({", ".join(parameters)}) {{
    {call}{made});
}}
OPMUX_ENTRY({name})
""",
        ]
    )


def _sort(spec: CallSpec) -> Prepared | Rejection:
    """Sort lines; what is stored is their elements, or the positions of them."""
    (x,), (out,) = spec.arrays, spec.outputs
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]
    n, others = out.shape[axis], [d for d in range(len(out.shape)) if d != axis]
    lines = math.prod(out.shape[d] for d in others)
    if not out.size:
        return Prepared(launcher(driver_of(spec).runtime, []))
    if n >= MOST_INDEXED or lines * -(-n // TILE) > MOST_BLOCKS:
        return Rejection(Reason.SIZE, f"it counts positions and tiles of {TILE} below {MOST_INDEXED}")
    nest = merge([out.shape[d] for d in others], [[s.strides[d] for d in others] for s in (x, out)])
    nest = nest if nest.shape else Nest((1,), ((0,), (0,)))
    word, entry = _word(x.dtype), "Entry" if x.dtype.itemsize == 8 else "u64"
    rank = len(nest.shape)
    walk: tuple[Parameter, ...] = (
        (f"const __grid_constant__ Nest<{rank}, 2> walk", packed(nest)),
        ("i64 stride", struct.pack("<q", x.strides[axis])),
        (f"const {word}* x", Pointer(0)),
    )
    load = f"""\
struct Load {{
    Nest<{rank}, 2> walk;
    i64 stride;
    const {word}* x;
    __device__ __forceinline__ {entry} operator()(u32 line, u32 i) const {{
        i64 at[2];
        offsets(walk, line, at);
        return entry_of({key(x.dtype, "x[at[0] + i * stride]", descending)}, i);
    }}
}};"""
    target, value = (
        (word, "x[at[0] + position_of(entry) * stride]") if spec.op == "sort" else ("i64", "position_of(entry)")
    )
    store = f"""\
struct Store {{
    Nest<{rank}, 2> walk;
    i64 stride;
    const {word}* x;
    i64 step;
    {target}* out;
    __device__ __forceinline__ void operator()(u32 line, u32 i, {entry} entry) const {{
        i64 at[2];
        offsets(walk, line, at);
        out[at[1] + i * step] = {value};
    }}
}};"""
    results: tuple[Parameter, ...] = (
        ("i64 step", struct.pack("<q", out.strides[axis])),
        (f"{target}* out", Pointer(1)),
    )
    size = -(-lines * n * (16 if entry == "Entry" else 8) // 256) * 256
    across = x.strides[axis] != 1 and nest.strides[0][-1] == 1
    buffers = Pointer(2), Pointer(2, size)
    steps = _steps(
        spec, Functor(load, walk), entry, lines, n, buffers, Functor(store, (*walk, *results)), across=across
    )
    return Prepared(launcher(driver_of(spec).runtime, steps), size * min(_passes(n), 2))


def _searchsorted(spec: CallSpec) -> Prepared:
    (line, values), (out,) = spec.arrays, spec.outputs
    nest = merge(out.shape, (out.strides, values.strides))
    nest = nest if nest.shape else Nest((1,), ((0,), (0,)))
    steps = []
    for part, (to, source) in parts(nest) if out.size else ():
        n, rank, size = math.prod(part.shape), len(part.shape), values.dtype.itemsize
        text = _searching(line.dtype.name, spec.attributes["side"] == "right", rank)
        arguments: Arguments = [
            struct.pack("<I", n), packed(Nest(part.shape, part.strides[1:])),
            struct.pack("<q", line.shape[0]), struct.pack("<q", line.strides[0]),
            Pointer(0), Pointer(1, source * size), Pointer(2, to * 8),
        ]  # fmt: skip
        function = driver_of(spec).loader.function(text, PARTS, "searchsorted")
        steps.append(Step(function, blocks_for(n, THREADS), (THREADS, 1, 1), arguments))
    return Prepared(launcher(driver_of(spec).runtime, steps))


@functools.lru_cache(maxsize=64)
def _searching(name: str, after: bool, rank: int) -> str:
    dtype = dtypes.BY_NAME[name]
    word = _word(dtype)
    return f"""\
struct Key {{
    const {word}* line;
    i64 stride;
    __device__ __forceinline__ {word} operator()(i64 i) const {{ return {key(dtype, "line[i * stride]", False)}; }}
}};

extern "C" __global__ void __launch_bounds__({THREADS}) searchsorted(
    u32 n, const __grid_constant__ Nest<{rank}, 1> nest, i64 length, i64 stride, const {word}* line,
    const {word}* values, i64* out
) {{
    u32 i = blockIdx.x * {THREADS} + threadIdx.x;
    if (i >= n) return;
    i64 at[1];
    offsets(nest, i, at);
    {word} wanted = {key(dtype, "values[at[0]]", False)};
    out[i] = place_among<{"true" if after else "false"}>(length, Key{{line, stride}}, wanted);
}}
OPMUX_ENTRY(searchsorted)
"""


KERNELS: Final = (
    Kernel("sort", "sort", KIND, _sort, Accepts(dtypes=(_REAL,)), CANONICAL, _COST),
    Kernel("argsort", "argsort", KIND, _sort, Accepts(dtypes=(_REAL,)), CANONICAL, _COST),
    Kernel("searchsorted", "searchsorted", KIND, _searchsorted, Accepts(dtypes=(_REAL,)), CANONICAL, _SEARCH),
)
