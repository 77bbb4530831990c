"""What a reduction does to its terms: into which dtype they are widened, from what it starts, how two combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...plugin import programs
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
        """The dtype that terms are combined in; the largest or smallest float is found among integer keys."""
        if self.kind in ("all", "any"):
            return "bool"
        carried = self.source if self.kind in _EXTREMES else self.result
        if carried == "bool":
            return "uint8"
        if self._keyed:
            return f"int{programs.WIDTH[carried]}"
        return "float32" if carried in programs.STORAGE_FLOATS else carried

    @property
    def _keyed(self) -> bool:
        return self.kind in _EXTREMES and self.source in programs.FLOATS

    def identity(self, dtype: str) -> int:
        """Bit pattern, in the source or accumulator dtype, of what changes nothing when combined."""
        if self.kind in _EXTREMES:
            return _lowest(dtype) if _EXTREMES[self.kind] == "max" else _highest(dtype)
        return programs.pattern(1 if self.kind in ("prod", "all") else 0, dtype)

    def combine(self, low: Lowering, a: str, b: str) -> str:
        """Append the combination of two accumulators."""
        kind, dtype = low.type(self.accumulator), self.accumulator
        if self.kind in _EXTREMES:
            sign = "s" if dtype in programs.SIGNED else "u"
            name = f"@llvm.{sign}{_EXTREMES[self.kind]}.{suffix(register(dtype), low.width)}"
            return low.function.value(f"call {kind} {name}({kind} {a}, {kind} {b})")
        which = {"sum": "add", "prod": "mul", "all": "and", "any": "or"}[self.kind]
        if dtype in programs.ARITHMETIC_FLOATS:
            which = f"f{which}"
        return low.function.value(f"{which} {kind} {a}, {b}")

    def better(self, low: Lowering, new: str, old: str) -> str:
        """Append the mask of lanes where `new` displaces `old`, an earlier value, as argmax or argmin has it."""
        sign, most = "s" if self.accumulator in programs.SIGNED else "u", _EXTREMES[self.kind] == "max"
        return low.function.value(f"icmp {sign}{'gt' if most else 'lt'} {low.type(self.accumulator)} {new}, {old}")

    def load(self, low: Lowering, address: str) -> str:
        """Append the load of `low.width` terms, as accumulators."""
        return self._term(low, low.load(self.source, address))

    def load_masked(self, low: Lowering, address: str, mask: str) -> str:
        """Append the load of terms where the mask holds, as accumulators; the identity elsewhere."""
        return self._term(low, low.load_masked(self.source, address, mask, self.identity(self.source)))

    def start(self, low: Lowering) -> str:
        """The identity in every lane, without its type."""
        return low.constant(self.accumulator, self.identity(self.accumulator))

    def finish(self, low: Lowering, value: str) -> str:
        """Append the conversion of an accumulator to the result's dtype."""
        if not self._keyed:
            return low.convert(value, self.accumulator, self.result)
        bits = self._flip(low, value)
        if self.source in programs.STORAGE_FLOATS:
            return bits
        return low.function.value(f"bitcast {low.type(self.accumulator)} {bits} to {low.type(self.source)}")

    def _term(self, low: Lowering, value: str) -> str:
        return self._key(low, value) if self._keyed else low.convert(value, self.source, self.accumulator)

    def _key(self, low: Lowering, value: str) -> str:
        """An integer that orders as the floats do, -0 below +0, and puts NaN beyond them all."""
        f, width, kind = low.function, programs.WIDTH[self.source], low.type(self.accumulator)
        infinity = programs.pattern(float("inf"), self.source)
        if self.source in programs.ARITHMETIC_FLOATS:
            value = f.value(f"bitcast {low.type(self.source)} {value} to {kind}")
        size = f.value(f"and {kind} {value}, {low.constant(self.accumulator, (1 << width - 1) - 1)}")
        zero = low.constant(self.accumulator, 0)
        if self.kind.startswith("arg"):  # the places of -0 and +0 are equally good
            equal = f.value(f"icmp eq {kind} {size}, {zero}")
            value = f.value(f"select {vector('i1', low.width)} {equal}, {kind} {zero}, {kind} {value}")
        number = f.value(f"icmp sle {kind} {size}, {low.constant(self.accumulator, infinity)}")
        most = _EXTREMES[self.kind] == "max"
        beyond = low.constant(self.accumulator, (_highest if most else _lowest)(self.accumulator))
        key = low.fenced(self.accumulator, self._flip(low, value))
        return f.value(f"select {vector('i1', low.width)} {number}, {kind} {key}, {kind} {beyond}")

    def _flip(self, low: Lowering, bits: str) -> str:
        """Turn the negative numbers of sign and magnitude into two's complement's order, or back."""
        f, width, kind = low.function, programs.WIDTH[self.accumulator], low.type(self.accumulator)
        sign = f.value(f"ashr {kind} {bits}, {low.constant(self.accumulator, width - 1)}")
        flipped = f.value(f"and {kind} {sign}, {low.constant(self.accumulator, (1 << width - 1) - 1)}")
        return f.value(f"xor {kind} {bits}, {flipped}")


def _lowest(dtype: str) -> int:
    if dtype in programs.FLOATS:
        return programs.pattern(float("-inf"), dtype)
    return 1 << programs.WIDTH[dtype] - 1 if dtype in programs.SIGNED else 0


def _highest(dtype: str) -> int:
    if dtype in programs.FLOATS:
        return programs.pattern(float("inf"), dtype)
    return (1 << (programs.WIDTH[dtype] - 1 if dtype in programs.SIGNED else programs.WIDTH[dtype])) - 1


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
