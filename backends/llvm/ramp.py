"""Index ramps: an array whose elements are their index along one axis.

The entry is `int f(void **buffers, const void *params, void *queue)`: `buffers` is the contiguous output. `params` are
int64: elements before the axis, the axis, elements after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...plugin import programs
from .ir import Function, module_text
from .jit import CompileOptions
from .lower import Lowering, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code depends on; `last` says that nothing comes after the axis."""

    dtype: str
    last: bool

    def options(self) -> CompileOptions:
        """The loops are plain ones for LLVM to vectorise; conversions to 16-bit floats stay as they are written."""
        return CompileOptions(speed_level=2, vectorize=self.dtype not in programs.STORAGE_FLOATS, unroll=False)


def generate(variant: Variant, target: Target) -> str:
    """The IR module of a variant; its entry is `f`."""
    tables = Tables()
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    before, length, after = (f.load("i64", f.address("%params", i, "i64"), 8) for i in range(3))
    out = f.load("ptr", "%buffers", 8)
    low, kind = Lowering(tables, f, 1, target), memory(variant.dtype)
    with f.loop(0, before) as outer:
        line = f.mul(outer.index, length)
        with f.loop(0, length) as loop:
            value = low.convert(loop.index, "int64", variant.dtype)
            place = f.add(line, loop.index)
            if variant.last:
                low.store(variant.dtype, value, f.address(out, place, kind))
            else:
                first = f.address(out, f.mul(place, after), kind)
                with f.loop(0, after) as inner:
                    low.store(variant.dtype, value, f.address(first, inner.index, kind))
    f.emit("ret i32 0")
    return module_text([f], tables.definitions())
