"""What a reduction does to its terms: into which dtype they are widened, from what it starts, how two combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...opset.recipes.program import ARITHMETIC_FLOATS, FLOATS, SIGNED, STORAGE_FLOATS, WIDTH, pattern
from .ir import Function
from .lower import Lowering, register
from .vectors import suffix, vector

KINDS: Final = ("sum", "prod", "max", "min", "all", "any", "argmax", "argmin")
_EXTREMES: Final = {"max": "max", "min": "min", "argmax": "max", "argmin": "min"}


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction of one kind from one dtype to another, names as in the opset."""

    kind: str
    source: str
    result: str

    @property
    def accumulator(self) -> str:
        """The dtype that terms are combined in."""
        if self.kind in ("all", "any"):
            return "bool"
        carried = self.source if self.kind in _EXTREMES else self.result
        if carried == "bool":
            return "uint8"
        return "float32" if carried in STORAGE_FLOATS else carried

    def identity(self, dtype: str) -> int:
        """Bit pattern, in the source or accumulator dtype, of what changes nothing when combined."""
        if self.kind in _EXTREMES:
            return _lowest(dtype) if _EXTREMES[self.kind] == "max" else _highest(dtype)
        return pattern(1 if self.kind in ("prod", "all") else 0, dtype)

    def combine(self, low: Lowering, a: str, b: str) -> str:
        """Append the combination of two accumulators."""
        kind, dtype = low.type(self.accumulator), self.accumulator
        if self.kind in _EXTREMES:
            # llvm.maximum: NaN wins, and +0 is above -0.
            signed = "imum" if dtype in FLOATS else ""
            prefix = "" if dtype in FLOATS else "s" if dtype in SIGNED else "u"
            name = f"@llvm.{prefix}{_EXTREMES[self.kind]}{signed}.{suffix(register(dtype), low.width)}"
            return low.function.value(f"call {kind} {name}({kind} {a}, {kind} {b})")
        which = {"sum": "add", "prod": "mul", "all": "and", "any": "or"}[self.kind]
        if dtype in ARITHMETIC_FLOATS:
            which = f"f{which}"
        return low.function.value(f"{which} {kind} {a}, {b}")

    def better(self, low: Lowering, new: str, old: str) -> str:
        """Append the mask of lanes where `new` displaces `old`, an earlier value, as argmax or argmin has it."""
        f, dtype, most = low.function, self.accumulator, _EXTREMES[self.kind] == "max"
        kind = low.type(dtype)
        if dtype not in FLOATS:
            sign = "s" if dtype in SIGNED else "u"
            return f.value(f"icmp {sign}{'gt' if most else 'lt'} {kind} {new}, {old}")
        beyond = f.value(f"fcmp {'ugt' if most else 'ult'} {kind} {new}, {old}")
        number = f.value(f"fcmp ord {kind} {old}, {old}")
        return f.value(f"and {vector('i1', low.width)} {beyond}, {number}")

    def matches(self, low: Lowering, value: str, best: str) -> str:
        """Append the mask of lanes that hold the best value: equal to it, or NaN like it."""
        f, kind = low.function, low.type(self.accumulator)
        if self.accumulator not in FLOATS:
            return f.value(f"icmp eq {kind} {value}, {best}")
        equal = f.value(f"fcmp oeq {kind} {value}, {best}")
        # Only NaN is unordered with itself; where the best is NaN, so is every match.
        unordered = f.value(f"fcmp uno {kind} {value}, {value}")
        return f.value(f"or {vector('i1', low.width)} {equal}, {unordered}")

    def load(self, low: Lowering, address: str) -> str:
        """Append the load of `low.width` terms, widened."""
        return low.convert(low.load(self.source, address), self.source, self.accumulator)

    def load_masked(self, low: Lowering, address: str, mask: str) -> str:
        """Append the load of terms where the mask holds, the identity elsewhere, widened."""
        loaded = low.load_masked(self.source, address, mask, self.identity(self.source))
        return low.convert(loaded, self.source, self.accumulator)

    def start(self, low: Lowering) -> str:
        """The identity in every lane, without its type."""
        return low.constant(self.accumulator, self.identity(self.accumulator))


def _lowest(dtype: str) -> int:
    if dtype in FLOATS:
        return pattern(float("-inf"), dtype)
    return 1 << WIDTH[dtype] - 1 if dtype in SIGNED else 0


def _highest(dtype: str) -> int:
    if dtype in FLOATS:
        return pattern(float("inf"), dtype)
    return (1 << (WIDTH[dtype] - 1 if dtype in SIGNED else WIDTH[dtype])) - 1


class Tree:
    """The fixed binary tree over block numbers, filled block by block.

    Level l of the stack holds the value of 2**l blocks whose neighbour is still to come; the bits of
    the number of blocks say which levels are in use.
    """

    #: Enough for any array: BLOCK * 2**LEVELS elements.
    LEVELS: Final = 48

    def __init__(self, fold: Fold, low: Lowering, vectors: int) -> None:
        self._fold = fold
        self._low = low
        self._vectors = vectors
        f = low.function
        self._type = f"[{vectors} x {low.type(fold.accumulator)}]"
        if fold.accumulator == "bool":
            self._type = f"[{vectors} x {vector('i8', low.width)}]"
        self._stack = f.value(f"alloca [{self.LEVELS} x {self._type}], align 64")

    def _slot(self, level: str, part: int) -> str:
        return self._low.function.value(
            f"getelementptr inbounds {self._type}, ptr {self._stack}, i64 {level}, i64 {part}"
        )

    def _level(self, level: str) -> list[str]:
        return [self._low.load(self._fold.accumulator, self._slot(level, part)) for part in range(self._vectors)]

    def _carried(self, values: list[str]) -> list[tuple[str, str]]:
        return [(self._low.type(self._fold.accumulator), v) for v in values]

    def push(self, number: str, values: list[str]) -> None:
        """Append: block `number` (from 0, in turn) has these values."""
        f, fold, low = self._low.function, self._fold, self._low
        full = _trailing_ones(f, number)
        with f.loop(0, full, carried=self._carried(values)) as loop:
            left = self._level(loop.index)
            loop.hand_on(*(fold.combine(low, a, b) for a, b in zip(left, loop.carried, strict=True)))
        for part, value in enumerate(loop.results):
            low.store(fold.accumulator, value, self._slot(full, part))

    def value(self, blocks: str) -> list[str]:
        """Append: the value of all blocks, whose number is at least 1."""
        f, fold, low = self._low.function, self._fold, self._low
        first = f.call("i64", "llvm.cttz.i64", [("i64", blocks), ("i1", "true")])
        unused = f.call("i64", "llvm.ctlz.i64", [("i64", blocks), ("i1", "true")])
        last = f.sub(64, unused)
        with f.loop(f.add(first, 1), last, carried=self._carried(self._level(first))) as loop:
            bit = f.value(f"trunc i64 {f.value(f'lshr i64 {blocks}, {loop.index}')} to i1")
            left = self._level(loop.index)
            kind = low.type(fold.accumulator)
            loop.hand_on(
                *(
                    f.value(f"select i1 {bit}, {kind} {fold.combine(low, a, b)}, {kind} {b}")
                    for a, b in zip(left, loop.carried, strict=True)
                )
            )
        return loop.results


def _trailing_ones(f: Function, number: str) -> str:
    return f.call("i64", "llvm.cttz.i64", [("i64", f.value(f"xor i64 {number}, -1")), ("i1", "true")])
