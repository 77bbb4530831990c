"""Conversions between dtypes as LLVM IR, each rounded once, whatever the machine has instructions for."""

from __future__ import annotations

from typing import Final

from ...plugin import programs
from .ir import Function
from .vectors import every, vector

_FLOAT: Final = {"float32": "float", "float64": "double"}


class Converter:
    """Converts register values of `width` elements; see `lower` for what registers hold."""

    def __init__(self, function: Function, width: int, *, half: bool) -> None:
        self._function = function
        self._width = width
        self._half = half

    def __call__(self, value: str, source: str, to: str) -> str:
        """Convert by the rules at `Code.CONVERT`."""
        if source == to:
            return value
        if to == "bool":
            return self._nonzero(value, source)
        if to in programs.STORAGE_FLOATS:
            single = self._to_single(value, source, to)
            return self._single_to_half(single) if to == "float16" else self._single_to_bfloat(single)
        if source in programs.STORAGE_FLOATS:
            value = self._half_to_single(value) if source == "float16" else self._bfloat_to_single(value)
            source = "float32"
            if to == "float32":
                return value
        if source in _FLOAT:
            if to in _FLOAT:
                return self._cast("fpext" if to == "float64" else "fptrunc", value, _FLOAT[source], _FLOAT[to])
            return self._float_to_integer(value, source, to)
        kind = f"i{programs.WIDTH[source]}"
        if to in _FLOAT:
            return self._cast("sitofp" if source in programs.SIGNED else "uitofp", value, kind, _FLOAT[to])
        if programs.WIDTH[to] == programs.WIDTH[source]:
            return value
        widen = "sext" if source in programs.SIGNED else "zext"
        return self._cast(
            widen if programs.WIDTH[to] > programs.WIDTH[source] else "trunc", value, kind, f"i{programs.WIDTH[to]}"
        )

    def _cast(self, which: str, value: str, source: str, to: str) -> str:
        w = self._width
        return self._function.value(f"{which} {vector(source, w)} {value} to {vector(to, w)}")

    def _op(self, which: str, kind: str, a: str, b: str | int) -> str:
        """A binary instruction; an int is a constant in every lane."""
        right = every(kind, str(b), self._width) if isinstance(b, int) else b
        return self._function.value(f"{which} {vector(kind, self._width)} {a}, {right}")

    def _compare(self, which: str, kind: str, a: str, constant: str) -> str:
        return self._function.value(f"{which} {vector(kind, self._width)} {a}, {every(kind, constant, self._width)}")

    def _select(self, condition: str, kind: str, a: str | int, b: str | int) -> str:
        w, both = self._width, [every(kind, str(v), self._width) if isinstance(v, int) else v for v in (a, b)]
        return self._function.value(
            f"select {vector('i1', w)} {condition}, {vector(kind, w)} {both[0]}, {vector(kind, w)} {both[1]}"
        )

    def _nonzero(self, value: str, source: str) -> str:
        if source in programs.STORAGE_FLOATS:
            return self._compare("icmp ne", "i16", self._op("and", "i16", value, 0x7FFF), "0")
        if source in _FLOAT:
            return self._compare("fcmp une", _FLOAT[source], value, "0.0")
        return self._compare("icmp ne", f"i{programs.WIDTH[source]}", value, "0")

    def _float_to_integer(self, value: str, source: str, to: str) -> str:
        # `llvm.fptosi.sat` becomes one scalar conversion per lane; comparisons and selects stay in vectors.
        kind, signed, bits = _FLOAT[source], to in programs.SIGNED, programs.WIDTH[to]
        out, via = f"i{bits}", f"i{max(bits, 32)}"
        inside = self._cast("fptosi" if signed or bits < 32 else "fptoui", value, kind, via)
        if via != out:
            inside = self._cast("trunc", inside, via, out)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        number = self._select(self._op("fcmp uno", kind, value, value), out, 0, inside)
        number = self._select(self._compare("fcmp oge", kind, value, f"{float(high + 1):.1f}"), out, high, number)
        return self._select(self._compare("fcmp ole", kind, value, f"{float(low):.1f}"), out, low, number)

    def _to_single(self, value: str, source: str, to: str) -> str:
        """Narrow to float32 so that rounding that to `to` rounds only once."""
        if source in programs.STORAGE_FLOATS:
            return self._half_to_single(value) if source == "float16" else self._bfloat_to_single(value)
        if source == "float32":
            return value
        if source == "float64":
            return self._double_to_odd_single(value)
        convert = "sitofp" if source in programs.SIGNED else "uitofp"
        # An integer that float32 rounds is beyond float16's range, before and after.
        if programs.WIDTH[source] <= 16 or to == "float16":
            return self._cast(convert, value, f"i{programs.WIDTH[source]}", "float")
        if programs.WIDTH[source] == 32:
            return self._double_to_odd_single(self._cast(convert, value, "i32", "double"))
        return self._double_to_odd_single(self._word_to_double(value, source))

    def _word_to_double(self, value: str, source: str) -> str:
        """A 64-bit integer as float64, its low bits rounded to odd where float64 has no room for them."""
        shift = "ashr" if source in programs.SIGNED else "lshr"
        low = self._op("and", "i64", value, 0xFFFF)
        sticky = self._cast("zext", self._compare("icmp ne", "i64", low, "0"), "i1", "i64")
        jammed = self._op("shl", "i64", self._op("or", "i64", self._op(shift, "i64", value, 16), sticky), 16)
        size = value
        if source in programs.SIGNED:
            negated = self._op("add", "i64", self._op("xor", "i64", value, -1), 1)
            size = self._select(self._compare("icmp slt", "i64", value, "0"), "i64", negated, value)
        short = self._select(self._compare("icmp ult", "i64", size, str(1 << 48)), "i64", value, jammed)
        return self._cast("sitofp" if source in programs.SIGNED else "uitofp", short, "i64", "double")

    def _double_to_odd_single(self, value: str) -> str:
        # Rounding to odd, as in Boldo and Melquiond, IEEE Transactions on Computers 57 (4), 2008.
        near = self._cast("fptrunc", value, "double", "float")
        back = self._cast("fpext", near, "float", "double")
        bits = self._cast("bitcast", near, "float", "i32")
        inexact = self._op("fcmp one", "double", value, back)
        even = self._compare("icmp eq", "i32", self._op("and", "i32", bits, 1), "0")
        size, near_size = (self._magnitude(v) for v in (value, back))
        step = self._select(self._op("icmp ugt", "i64", size, near_size), "i32", 1, -1)
        odd = self._op("add", "i32", bits, step)
        chosen = self._select(self._op("and", "i1", inexact, even), "i32", odd, bits)
        return self._cast("bitcast", chosen, "i32", "float")

    def _magnitude(self, double: str) -> str:
        return self._op("and", "i64", self._cast("bitcast", double, "double", "i64"), (1 << 63) - 1)

    def _bfloat_to_single(self, value: str) -> str:
        wide = self._op("shl", "i32", self._cast("zext", value, "i16", "i32"), 16)
        return self._cast("bitcast", wide, "i32", "float")

    def _single_to_bfloat(self, value: str) -> str:
        # LLVM's own truncation to bfloat flushes subnormals on CPUs that have an instruction for it.
        bits = self._cast("bitcast", value, "float", "i32")
        odd = self._op("and", "i32", self._op("lshr", "i32", bits, 16), 1)
        rounded = self._op("add", "i32", self._op("add", "i32", bits, 0x7FFF), odd)
        nan = self._op("fcmp uno", "float", value, value)
        quiet = self._op("or", "i32", bits, 1 << 22)
        return self._cast("trunc", self._op("lshr", "i32", self._select(nan, "i32", quiet, rounded), 16), "i32", "i16")

    def _half_to_single(self, value: str) -> str:
        if self._half:
            return self._cast("fpext", self._cast("bitcast", value, "i16", "half"), "half", "float")
        wide = self._cast("zext", value, "i16", "i32")
        sign = self._op("shl", "i32", self._op("and", "i32", wide, 0x8000), 16)
        size = self._op("and", "i32", wide, 0x7FFF)
        shifted = self._op("shl", "i32", size, 13)
        normal = self._op("add", "i32", shifted, (127 - 15) << 23)
        special = self._op("or", "i32", shifted, 0xFF << 23)
        # A subnormal is its fraction, an integer, times 2**-24.
        unit = every("float", "0x3E70000000000000", self._width)
        scaled = self._op("fmul", "float", self._cast("uitofp", size, "i32", "float"), unit)
        small = self._cast("bitcast", scaled, "float", "i32")
        found = self._select(self._compare("icmp ult", "i32", size, str(0x400)), "i32", small, normal)
        found = self._select(self._compare("icmp uge", "i32", size, str(0x7C00)), "i32", special, found)
        return self._cast("bitcast", self._op("or", "i32", found, sign), "i32", "float")

    def _single_to_half(self, value: str) -> str:
        if self._half:
            return self._cast("bitcast", self._cast("fptrunc", value, "float", "half"), "half", "i16")
        bits = self._cast("bitcast", value, "float", "i32")
        sign = self._op("and", "i32", self._op("lshr", "i32", bits, 16), 0x8000)
        size = self._op("and", "i32", bits, 0x7FFFFFFF)
        odd = self._op("and", "i32", self._op("lshr", "i32", size, 13), 1)
        carried = self._op("add", "i32", self._op("add", "i32", size, 0xFFF), odd)
        normal = self._op("lshr", "i32", self._op("sub", "i32", carried, (127 - 15) << 23), 13)
        # Beside 0.5 the last bit of float32 is worth 2**-24, float16's smallest subnormal: the sum rounds for us.
        magic = every("float", "5.0e-01", self._width)
        lifted = self._op("fadd", "float", self._cast("bitcast", size, "i32", "float"), magic)
        small = self._op("sub", "i32", self._cast("bitcast", lifted, "float", "i32"), 126 << 23)
        found = self._select(self._compare("icmp ult", "i32", size, str(113 << 23)), "i32", small, normal)
        found = self._select(self._compare("icmp uge", "i32", size, str(143 << 23)), "i32", 0x7C00, found)
        found = self._select(self._compare("icmp ugt", "i32", size, str(255 << 23)), "i32", 0x7E00, found)
        return self._cast("trunc", self._op("or", "i32", found, sign), "i32", "i16")


def native_half(features: str) -> bool:
    """Whether a CPU with these LLVM features converts float16 by instruction (aarch64 always does).

    >>> native_half("+avx2,+f16c")
    True
    """
    return "+f16c" in features.split(",") or "+neon" in features.split(",")
