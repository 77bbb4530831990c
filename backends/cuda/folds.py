"""What a reduction does to terms: their conversion, how two are combined, and what is written, as a C++ struct."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ...plugin import dtypes, programs
from . import emit
from .formulas import COMPLEX

KINDS: Final = ("sum", "prod", "max", "min", "all", "any", "argmax", "argmin")
_LEAST: Final = ("min", "argmin")
_PLACES: Final = ("argmax", "argmin")
_EXTREMES: Final = ("max", "min", *_PLACES)
#: Terms that one thread takes alone, where neighbouring threads' terms lie side by side.
FEW: Final = 32
#: How the names of values end of which a thread has registers for half as many: with 32, NVRTC 13.5 spills.
_SIXTEEN_BYTES: Final = ("c128", "64>")
_VECTOR_BYTES: Final = 16
#: What accumulators of a thread take in registers, where more would make the compiler spill.
_VALUE_BYTES: Final = 32
_PLACE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction of one kind from one dtype to another, names as in the opset.

    Attributes:
        kind: one of :data:`KINDS`.
        source: dtype of the terms.
        result: dtype of the result, to which terms of sums and products are cast first.
    """

    kind: str
    source: str
    result: str

    @property
    def ordered(self) -> bool:
        """Whether another order would give other bits."""
        return self.kind in _PLACES or (self.kind in ("sum", "prod") and self.result in (*programs.FLOATS, *COMPLEX))

    @property
    def value(self) -> str:
        """The C++ type that terms are combined in: integers of 32 bits or more, floats of 32 or more, or a place."""
        if self.result in COMPLEX:
            return emit.REGISTER[self.result]
        key = self._integer(self.source)
        if self.kind in _PLACES:
            return f"reduction::Place<{key}>"
        if self.kind in ("all", "any"):
            return "u32"
        if self.kind in _EXTREMES:
            return key
        if self.result in programs.FLOATS:
            return "f64" if self.result == "float64" else "f32"
        return "u64" if programs.WIDTH[self.result] == 64 else "u32"

    @property
    def value_bytes(self) -> int:
        """Bytes of a value."""
        return {"u32": 4, "i32": 4, "f32": 4, "c128": 16}.get(self.value, 16 if self.kind in _PLACES else 8)

    @property
    def width(self) -> int:
        """Neighbouring lanes of a thread: 16 bytes of terms, or as many as leave it a quarter of its registers.

        Two at least, so that a warp has all lanes of a block.
        """
        most = _PLACE_BYTES if self.kind in _PLACES else _VALUE_BYTES
        return max(min(_VECTOR_BYTES // self.widest, most // self.value_bytes), 2)

    @property
    def widest(self) -> int:
        """Bytes of the widest element that is read for a term."""
        return dtypes.dtype(self.source).itemsize

    @property
    def bytes_of_term(self) -> int:
        """Bytes that are read for a term."""
        return dtypes.dtype(self.source).itemsize

    @property
    def most_few(self) -> int:
        """Terms that one thread takes alone at most."""
        return self._few_values

    @property
    def _few_values(self) -> int:
        """Values that a thread has registers for."""
        return FEW // 2 if self.value.endswith(_SIXTEEN_BYTES) else FEW

    @staticmethod
    def _integer(dtype: str) -> str:
        width = 64 if programs.WIDTH[dtype] == 64 else 32
        return f"{'i' if dtype in programs.SIGNED or dtype in programs.FLOATS else 'u'}{width}"

    def lying(self, moving: tuple[bool, ...]) -> Fold:
        """Return the fold of inputs that have strides of their own, of which these move along what is side by side."""
        return self

    def operands(self) -> tuple[str, ...]:
        """Return the C++ types of what is read for a term."""
        return (emit.MEMORY[self.source],)

    def targets(self) -> tuple[tuple[str, ...], str]:
        """Return parameters that say where results go and what else is needed for them, and what is made of those."""
        return ("void* out",), "Results<Fold>{out}"

    def source_text(self, name: str = "Fold") -> str:
        """Return the C++ struct of this fold."""
        return f"""\
struct {name} {{
    typedef {emit.MEMORY[self.source]} Memory;
    typedef const Memory* In;
    typedef {self.value} Value;
    typedef {emit.MEMORY[self.result]} Result;
    static constexpr int WIDTH = {self.width};
    static __device__ __forceinline__ Value identity() {{
        Value none = {self._identity()};
        return none;
    }}
    static __device__ __forceinline__ Value term(Memory x, u64 i) {{
        {self._term()}
    }}
    static __device__ __forceinline__ Value combine(Value a, Value b) {{ return {self._combined()}; }}
    static __device__ __forceinline__ Result finish(Value v) {{ return {self._finished()}; }}
}};
"""

    def _identity(self) -> str:
        if self.kind not in _EXTREMES:
            number = "1" if self.kind in ("prod", "all") else "0"
            return f"{{{number}, 0}}" if self.result in COMPLEX else number
        key = self._integer(self.source)
        lowest = f"({key})({1 << programs.WIDTH[key_dtype(key)] - 1:#x}{'ull' if key.endswith('64') else 'u'})"
        lowest = lowest if key.startswith("i") else f"({key})0"
        return f"{{{lowest}, ~0ull}}" if self.kind in _PLACES else lowest

    def _term(self) -> str:
        x = emit.from_memory(self.source, "x")
        if self.kind in _EXTREMES:
            key = self._key()
            return f"Value place = {{{key}, i}}; return place;" if self.kind in _PLACES else f"return {key};"
        if self.kind in ("all", "any"):
            return f"return {emit.converted(x, self.source, 'bool')};"
        cast = emit.converted(x, self.source, self.result)
        return f"return (Value){self._widened(cast)};"

    def _widened(self, value: str) -> str:
        return emit.converted(value, self.result, "float32") if self.result in programs.STORAGE_FLOATS else value

    def _key(self) -> str:
        """The integer that orders as the term does; descending where the least wins."""
        integer = self._integer(self.source)
        if self.source not in programs.FLOATS:
            return f"{'~' if self.kind in _LEAST else ''}({integer})x"
        width = programs.WIDTH[self.source]
        bits = f"({integer})(i{width})x" if width == 16 else f"bits_as<{integer}>(x)"
        flags = [str(width), str(self.kind in _LEAST).lower(), str(self.kind in _PLACES).lower()]
        infinity = f"{programs.pattern(math.inf, self.source):#x}"
        return f"reduction::key<{', '.join(flags)}>({bits}, ({integer}){infinity}{'ull' if width == 64 else 'u'})"

    def _combined(self) -> str:
        if self.kind in _PLACES:
            return "reduction::better(a, b)"
        if self.kind in _EXTREMES:
            return "b > a ? b : a"
        return f"a {({'sum': '+', 'prod': '*', 'all': '&', 'any': '|'})[self.kind]} b"

    def _finished(self) -> str:
        if self.kind in _PLACES:
            return "(Result)v.index"
        if self.kind in _EXTREMES:
            key = "~v" if self.kind in _LEAST else "v"
            if self.source not in programs.FLOATS:
                return f"(Result)({key})"
            bits = f"reduction::flipped<{programs.WIDTH[self.source]}>({key})"
            return f"(Result){bits}" if self.source in programs.STORAGE_FLOATS else f"bits_as<Result>({bits})"
        if self.result in programs.STORAGE_FLOATS:
            return emit.converted("v", "float32", self.result)
        return "(Result)v"


def key_dtype(key: str) -> str:
    """Return the dtype of a C++ integer type.

    >>> key_dtype("u32")
    'uint32'
    """
    return f"{'int' if key[0] == 'i' else 'uint'}{key[1:]}"
