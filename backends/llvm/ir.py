"""Writing LLVM IR text: functions with structured loops and branches.

Values and types are strings in LLVM's own syntax (`%v3`, `<16 x float>`); nothing here knows an operation.
A generator writes one instruction with `Function.value` or `Function.emit`, control flow with the context
managers, and joins functions, declarations and constants with `module_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_ICMP: Final = {"<": "slt", "<=": "sle", ">": "sgt", ">=": "sge", "==": "eq", "!=": "ne", "u<": "ult", "u<=": "ule"}


@dataclass(slots=True)
class Loop:
    """A counted loop being written: its index, the values carried into this iteration, and those handed on."""

    index: str
    carried: list[str]
    handed_on: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def hand_on(self, *values: str) -> None:
        """State the values that the next iteration (or the code after the loop) sees, once, in order."""
        self.handed_on = list(values)


class Function:
    """One function definition under construction.

    `parameters` are (type, name) pairs, names with their `%`; `attributes` is text after the parameter
    list; a type may carry parameter attributes (`ptr noalias`).

    >>> f = Function("twice", [("i64", "%x")], "i64")
    >>> f.emit(f"ret i64 {f.add('%x', '%x')}")
    >>> print(f)
    define i64 @twice(i64 %x) nounwind {
    entry:
      %v0 = add nsw i64 %x, %x
      ret i64 %v0
    }
    """

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        result: str = "void",
        *,
        linkage: str = "",
        attributes: str = "nounwind",
    ) -> None:
        signature = ", ".join(f"{kind} {parameter}" for kind, parameter in parameters)
        self.name = name
        self.declarations: set[str] = set()
        self._head = f"define {linkage + ' ' if linkage else ''}{result} @{name}({signature}) {attributes} {{"
        self._lines: list[str] = ["entry:"]
        self._block = "entry"
        self._values = 0
        self._blocks = 0

    def __str__(self) -> str:
        return "\n".join([self._head, *self._lines, "}"])

    def emit(self, instruction: str) -> None:
        """Write an instruction without a result."""
        self._lines.append("  " + instruction)

    def value(self, instruction: str) -> str:
        """Write an instruction and return the new name of its result."""
        name = f"%v{self._values}"
        self._values += 1
        self.emit(f"{name} = {instruction}")
        return name

    def add(self, a: str | int, b: str | int, kind: str = "i64") -> str:
        """The sum of a and b, which must not overflow."""
        return self.value(f"add nsw {kind} {a}, {b}")

    def sub(self, a: str | int, b: str | int, kind: str = "i64") -> str:
        """The difference a - b, which must not overflow."""
        return self.value(f"sub nsw {kind} {a}, {b}")

    def mul(self, a: str | int, b: str | int, kind: str = "i64") -> str:
        """The product of a and b, which must not overflow."""
        return self.value(f"mul nsw {kind} {a}, {b}")

    def minimum(self, a: str | int, b: str | int) -> str:
        """The smaller of two i64 values."""
        return self.call("i64", "llvm.smin.i64", [("i64", a), ("i64", b)])

    def compare(self, a: str | int, relation: str, b: str | int, kind: str = "i64") -> str:
        """An i1: integers compared by `relation` (`<`, `==`, …; `u<` for unsigned)."""
        return self.value(f"icmp {_ICMP[relation]} {kind} {a}, {b}")

    def address(self, base: str, index: str | int, element: str) -> str:
        """Pointer to element number `index` counted from `base`."""
        return self.value(f"getelementptr inbounds {element}, ptr {base}, i64 {index}")

    def load(self, kind: str, pointer: str, align: int) -> str:
        """The value of type `kind` at `pointer`, which is aligned to `align` bytes."""
        return self.value(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: str, pointer: str, align: int) -> None:
        """Write `value` to `pointer`, which is aligned to `align` bytes."""
        self.emit(f"store {kind} {value}, ptr {pointer}, align {align}")

    def call(self, result: str, function: str, arguments: Sequence[tuple[str, str | int]]) -> str:
        """Call a function, an intrinsic being declared on the way; `result` may be `void` (the answer is then '')."""
        text = f"call {result} @{function}({', '.join(f'{kind} {value}' for kind, value in arguments)})"
        if function.startswith("llvm."):
            kinds = ", ".join(kind for kind, _ in arguments)
            self.declarations.add(f"declare {result} @{function}({kinds})")
        if result == "void":
            self.emit(text)
            return ""
        return self.value(text)

    @contextmanager
    def loop(
        self, start: str | int, stop: str | int, step: str | int = 1, carried: Sequence[tuple[str, str]] = ()
    ) -> Iterator[Loop]:
        """A loop over i64 `start, start + step, … < stop`; `step` is positive.

        `carried` are (type, initial value) pairs; the body reads `loop.carried`, says `loop.hand_on(…)`,
        and after the loop `loop.results` are the last values handed on (the initial ones if none were).
        """
        number = self._new_block_number()
        head, body, end = (f"{part}{number}" for part in ("loop", "body", "done"))
        before = self._block
        self.emit(f"br label %{head}")
        self._open(head)
        phis = len(self._lines)
        names = [f"%c{number}.{position}" for position in range(len(carried))]
        loop = Loop(index=f"%i{number}", carried=names)
        self.emit(f"%t{number} = icmp slt i64 {loop.index}, {stop}")
        self.emit(f"br i1 %t{number}, label %{body}, label %{end}")
        self._open(body)
        yield loop
        self.emit(f"%n{number} = add nsw i64 {loop.index}, {step}")
        latch = self._block
        self.emit(f"br label %{head}")
        if len(loop.handed_on) != len(carried):
            raise ValueError(f"loop in @{self.name}: {len(carried)} values carried, {len(loop.handed_on)} handed on")
        self._lines[phis:phis] = [f"  {loop.index} = phi i64 [ {start}, %{before} ], [ %n{number}, %{latch} ]"] + [
            f"  {name} = phi {kind} [ {initial}, %{before} ], [ {following}, %{latch} ]"
            for name, (kind, initial), following in zip(names, carried, loop.handed_on, strict=True)
        ]
        loop.results = names
        self._open(end)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Code that runs only where the i1 `condition` holds; it hands no value on."""
        number = self._new_block_number()
        self.emit(f"br i1 {condition}, label %then{number}, label %after{number}")
        self._open(f"then{number}")
        yield
        self.emit(f"br label %after{number}")
        self._open(f"after{number}")

    @contextmanager
    def either(self, condition: str) -> Iterator[Otherwise]:
        """Two alternatives that hand no value on: the body, and after `otherwise()` the rest of the body."""
        number = self._new_block_number()
        self.emit(f"br i1 {condition}, label %then{number}, label %else{number}")
        self._open(f"then{number}")
        yield Otherwise(self, number)
        self.emit(f"br label %after{number}")
        self._open(f"after{number}")

    def return_if(self, condition: str, instruction: str) -> None:
        """Leave the function by `instruction` (a `ret`) where the i1 `condition` holds."""
        number = self._new_block_number()
        self.emit(f"br i1 {condition}, label %leave{number}, label %stay{number}")
        self._open(f"leave{number}")
        self.emit(instruction)
        self._open(f"stay{number}")

    def _new_block_number(self) -> int:
        self._blocks += 1
        return self._blocks

    def _open(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label


@dataclass(slots=True)
class Otherwise:
    """Switches an `either` from its first alternative to its second."""

    function: Function
    number: int

    def __call__(self) -> None:
        self.function.emit(f"br label %after{self.number}")
        self.function._open(f"else{self.number}")


def module_text(functions: Iterable[Function], globals_: Iterable[str] = ()) -> str:
    """The whole module: global definitions, functions, and the declarations that they need, each once.

    >>> f = Function("smaller", [("i64", "%x")], "i64")
    >>> f.emit(f"ret i64 {f.minimum('%x', 7)}")
    >>> module_text([f]).splitlines()[-1]
    'declare i64 @llvm.smin.i64(i64, i64)'
    """
    written = list(functions)
    declarations = sorted(set().union(*(function.declarations for function in written)))
    return "\n".join([*globals_, *(str(function) for function in written), *declarations]) + "\n"


def vector_type(lanes: int, element: str) -> str:
    """`<lanes x element>`."""
    return f"<{lanes} x {element}>"


def lane_indices(lanes: int) -> str:
    """The constant <lanes x i64> 0, 1, 2, …"""
    return "<" + ", ".join(f"i64 {lane}" for lane in range(lanes)) + ">"


def splat(function: Function, value: str, lanes: int, element: str) -> str:
    """A vector with `value` in every lane."""
    kind = vector_type(lanes, element)
    first = function.value(f"insertelement {kind} poison, {element} {value}, i64 0")
    return function.value(f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer")


def lane_mask(function: Function, count: str, lanes: int) -> str:
    """<lanes x i1>: true in the first `count` (an i64) lanes."""
    counts = splat(function, count, lanes, "i64")
    return function.value(f"icmp slt <{lanes} x i64> {lane_indices(lanes)}, {counts}")
