"""Register-tiled micro-kernels: a few rows of C in vector registers, one chain of fused multiply-adds each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from .ir import Function, lane_mask, splat, vector_type
from .matmul_plan import Plan

# Of the full tile only: the others run at edges, and unrolling them would double the time to compile.
_UNROLL: Final = 4
# Inlined copies would multiply the time to compile, and gain nothing at these sizes.
_ONCE: Final = "nounwind noinline"

# `%tail` is how many lanes of the last vector are inside C; strides count elements.
_Typed: TypeAlias = tuple[tuple[str, str], ...]
_OPERANDS: Final[_Typed] = (("ptr noalias", "%a"), ("ptr noalias", "%b"), ("ptr noalias", "%c"))
_STRIDES: Final[_Typed] = (("i64", "%a_row"), ("i64", "%a_k"), ("i64", "%b_k"), ("i64", "%c_row"))
_EXTENT: Final[_Typed] = (("i64", "%kc"), ("i1", "%first"))


def micro_kernel(plan: Plan, rows: int, vectors: int) -> Function:
    """One tile of C over one block of k, operands in place or in panels (only their strides differ).

    B has unit stride along columns. The accumulators start from +0; the first block is stored, later ones
    are added to what C holds.
    """
    kind, size = vector_type(plan.lanes, plan.element), plan.element_bytes
    f = Function(
        f"kernel_{rows}x{vectors}",
        [*_OPERANDS, *_STRIDES, *_EXTENT, ("i64", "%tail")],
        linkage="internal",
        attributes=_ONCE,
    )
    mask = lane_mask(f, "%tail", plan.lanes)
    a_rows = [f.address("%a", f.mul("%a_row", row), plan.element) for row in range(rows)]
    tile = [
        f.address(f.address("%c", f.mul("%c_row", row), plan.element), vector * plan.lanes, plan.element)
        for row in range(rows)
        for vector in range(vectors)
    ]
    for pointer in tile:
        # The tile is needed only after the loop over k: by then it has come from the outer caches.
        f.call("void", "llvm.prefetch.p0", [("ptr", pointer), ("i32", 1), ("i32", 3), ("i32", 1)])

    def step(k: str, sums: Sequence[str]) -> list[str]:
        b_row = f.address("%b", f.mul(k, "%b_k"), plan.element)
        pointers = [f.address(b_row, vector * plan.lanes, plan.element) for vector in range(vectors)]
        columns = [f.load(kind, pointer, size) for pointer in pointers[:-1]]
        columns.append(_masked_load(f, plan, pointers[-1], mask))
        a_index = f.mul(k, "%a_k")
        result: list[str] = []
        for row in range(rows):
            scalar = f.load(plan.element, f.address(a_rows[row], a_index, plan.element), size)
            broadcast = splat(f, scalar, plan.lanes, plan.element)
            for column, total in zip(columns, sums[row * vectors : (row + 1) * vectors], strict=True):
                arguments = [(kind, broadcast), (kind, column), (kind, total)]
                result.append(f.call(kind, f"llvm.fma.v{plan.lanes}f{8 * size}", arguments))
        return result

    sums = ["zeroinitializer"] * (rows * vectors)
    start = "0"
    if (rows, vectors) == (plan.rows, plan.vectors):
        start = f.value(f"and i64 %kc, {-_UNROLL}")
        with f.loop(0, start, _UNROLL, [(kind, total) for total in sums]) as loop:
            sums = loop.carried
            for ahead in range(_UNROLL):
                sums = step(f.add(loop.index, ahead), sums)
            loop.hand_on(*sums)
        sums = loop.results
    with f.loop(start, "%kc", 1, [(kind, total) for total in sums]) as loop:
        loop.hand_on(*step(loop.index, loop.carried))
    _write_tile(f, plan, vectors, tile, loop.results, mask)
    f.emit("ret void")
    return f


def _write_tile(f: Function, plan: Plan, vectors: int, pointers: Sequence[str], sums: Sequence[str], mask: str) -> None:
    kind, size = vector_type(plan.lanes, plan.element), plan.element_bytes

    def store(position: int, value: str) -> None:
        if position % vectors == vectors - 1:
            arguments = [(kind, value), (f"ptr align {size}", pointers[position]), (f"<{plan.lanes} x i1>", mask)]
            f.call("void", f"llvm.masked.store.v{plan.lanes}f{8 * size}.p0", arguments)
        else:
            f.store(kind, value, pointers[position], size)

    with f.either("%first") as otherwise:
        for position, value in enumerate(sums):
            store(position, value)
        otherwise()
        for position, value in enumerate(sums):
            if position % vectors == vectors - 1:
                before = _masked_load(f, plan, pointers[position], mask)
            else:
                before = f.load(kind, pointers[position], size)
            store(position, f.value(f"fadd {kind} {before}, {value}"))


def _masked_load(f: Function, plan: Plan, pointer: str, mask: str) -> str:
    kind = vector_type(plan.lanes, plan.element)
    arguments = [
        (f"ptr align {plan.element_bytes}", pointer),
        (f"<{plan.lanes} x i1>", mask),
        (kind, "zeroinitializer"),
    ]
    return f.call(kind, f"llvm.masked.load.v{plan.lanes}f{8 * plan.element_bytes}.p0", arguments)


def row_counts(plan: Plan) -> list[int]:
    """Row counts that there are kernels for: the full tile, and powers of two that add up to any edge."""
    below = [1 << bit for bit in range(plan.rows.bit_length()) if 1 << bit < plan.rows]
    return [plan.rows, *reversed(below)]


def strip(plan: Plan, rows: int) -> Function:
    """All tiles of `rows` rows of C: full tiles first, then one narrower tile.

    `%b_step` is how many elements B advances per column: 1 in place, kc in panels.
    """
    parameters = [*_OPERANDS, *_STRIDES, *_EXTENT, ("i64", "%n"), ("i64", "%b_step")]
    f = Function(f"strip_{rows}", parameters, linkage="internal", attributes=_ONCE)

    def run(vectors: int, column: str, tail: str | int) -> None:
        b = f.address("%b", f.mul(column, "%b_step"), plan.element)
        c = f.address("%c", column, plan.element)
        operands = [("ptr", "%a"), ("ptr", b), ("ptr", c)]
        f.call("void", f"kernel_{rows}x{vectors}", [*operands, *_STRIDES, *_EXTENT, ("i64", tail)])

    rest = f.value(f"srem i64 %n, {plan.width}")
    full = f.sub("%n", rest)
    with f.loop(0, full, plan.width) as loop:
        run(plan.vectors, loop.index, plan.lanes)
    for vectors in range(1, plan.vectors + 1):
        tail = f.sub(rest, (vectors - 1) * plan.lanes)
        # Unsigned, so that a tail of 0 is out of range too.
        with f.when(f.compare(f.sub(tail, 1), "u<", plan.lanes)):
            run(vectors, full, tail)
    f.emit("ret void")
    return f


def block(plan: Plan) -> Function:
    """An m x n block of C over one block of k: full strips, then strips of 2^i rows for what is left.

    With `%pack_a`, each strip's rows of A first go to the panel at `%panel`, which stays in L1.
    """
    extra = [("i64", "%n"), ("i64", "%b_step"), ("i64", "%m"), ("i1", "%pack_a"), ("ptr", "%panel")]
    f = Function("block", [*_OPERANDS, *_STRIDES, *_EXTENT, *extra], linkage="internal", attributes=_ONCE)
    rest = f.value(f"srem i64 %m, {plan.rows}")
    full = f.sub("%m", rest)
    row_stride = f.value("select i1 %pack_a, i64 1, i64 %a_row")
    k_stride = f.value(f"select i1 %pack_a, i64 {plan.rows}, i64 %a_k")
    strides = [("i64", row_stride), ("i64", k_stride), *_STRIDES[2:]]

    def run(rows: int, first_row: str) -> None:
        source = f.address("%a", f.mul(first_row, "%a_row"), plan.element)
        with f.when("%pack_a"):
            strided = [("ptr", "%panel"), ("ptr", source), ("i64", "%a_row"), ("i64", "%a_k")]
            f.call("void", "pack_a", [*strided, ("i64", str(rows)), ("i64", "%kc")])
        a = f.value(f"select i1 %pack_a, ptr %panel, ptr {source}")
        c = f.address("%c", f.mul(first_row, "%c_row"), plan.element)
        operands = [("ptr", a), ("ptr", "%b"), ("ptr", c)]
        f.call("void", f"strip_{rows}", [*operands, *strides, *_EXTENT, *extra[:2]])

    with f.loop(0, full, plan.rows) as loop:
        run(plan.rows, loop.index)
    for rows in row_counts(plan)[1:]:
        with f.when(f.compare(f.value(f"and i64 {rest}, {rows}"), "!=", 0)):
            # Larger strips have done as many rows of the rest as its bits above this one say.
            run(rows, f.add(full, f.value(f"and i64 {rest}, {-2 * rows}")))
    f.emit("ret void")
    return f
