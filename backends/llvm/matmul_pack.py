"""Packing of an operand into panels: k-major, a fixed number of elements (rows of A, columns of B) per k."""

from __future__ import annotations

from .ir import Function, lane_mask, vector_type
from .matmul_plan import Plan

PACK_PARAMETERS = (
    ("ptr noalias", "%to"),
    ("ptr noalias readonly", "%from"),
    ("i64", "%across"),  # element stride from one row of A (column of B) to the next
    ("i64", "%along"),  # element stride along k
    ("i64", "%count"),  # rows of A, columns of B
    ("i64", "%kc"),
)


def pack(plan: Plan, name: str, width: int) -> Function:
    """`to[p * width * kc + k * width + r] = from[(p * width + r) * across + k * along]` for every panel p.

    The last panel is filled up with copies of its last row or column: finite where the operand is, and
    never part of a result.
    """
    f = Function(name, PACK_PARAMETERS, linkage="internal", attributes="nounwind noinline")
    rest = f.value(f"srem i64 %count, {width}")
    full = f.sub("%count", rest)

    with f.loop(0, full, width) as panels:
        to, source = _panel(f, plan, panels.index)
        with f.either(f.compare("%across", "==", 1)) as otherwise:
            _copy_rows(f, plan, width, to, source)
            otherwise()
            with f.either(f.compare("%along", "==", 1)) as otherwise_strided:
                _transpose(f, plan, width, to, source)
                otherwise_strided()
                _copy_elements(f, plan, width, to, source, "0", str(width))
    with f.when(f.compare(rest, "!=", 0)):
        to, source = _panel(f, plan, full)
        with f.either(f.compare("%across", "==", 1)) as otherwise:
            _copy_masked_rows(f, plan, width, to, source, rest)
            otherwise()
            _copy_elements(f, plan, width, to, source, "0", rest)
    f.emit("ret void")
    return f


def _panel(f: Function, plan: Plan, first: str) -> tuple[str, str]:
    to = f.address("%to", f.mul(first, "%kc"), plan.element)
    return to, f.address("%from", f.mul(first, "%across"), plan.element)


def _copy_rows(f: Function, plan: Plan, width: int, to: str, source: str) -> None:
    kind, size = vector_type(width, plan.element), plan.element_bytes
    with f.loop(0, "%kc") as loop:
        row = f.load(kind, f.address(source, f.mul(loop.index, "%along"), plan.element), size)
        f.store(kind, row, f.address(to, f.mul(loop.index, width), plan.element), size)


def _copy_masked_rows(f: Function, plan: Plan, width: int, to: str, source: str, count: str) -> None:
    kind, size = vector_type(width, plan.element), plan.element_bytes
    mask = lane_mask(f, count, width)
    with f.loop(0, "%kc") as loop:
        pointer = f.address(source, f.mul(loop.index, "%along"), plan.element)
        arguments = [(f"ptr align {size}", pointer), (f"<{width} x i1>", mask), (kind, "zeroinitializer")]
        row = f.call(kind, f"llvm.masked.load.v{width}f{8 * size}.p0", arguments)
        f.store(kind, row, f.address(to, f.mul(loop.index, width), plan.element), size)


def _copy_elements(
    f: Function, plan: Plan, width: int, to: str, source: str, first_k: str, count: str, stop: str = "%kc"
) -> None:
    size = plan.element_bytes
    last = f.sub(count, 1)
    with f.loop(first_k, stop) as along:
        start = f.address(source, f.mul(along.index, "%along"), plan.element)
        target = f.address(to, f.mul(along.index, width), plan.element)
        with f.loop(0, width) as across:
            index = f.mul(f.minimum(across.index, last), "%across")
            element = f.load(plan.element, f.address(start, index, plan.element), size)
            f.store(plan.element, element, f.address(target, across.index, plan.element), size)


def _transpose(f: Function, plan: Plan, width: int, to: str, source: str) -> None:
    """Square blocks through registers: k is contiguous in the operand, and strided in the panel."""
    side = _block_side(plan, width)
    kind, size = vector_type(side, plan.element), plan.element_bytes
    whole = f.value(f"and i64 %kc, {-side}")
    with f.loop(0, whole, side) as along:
        for group in range(0, width, side):
            vectors = []
            for row in range(side):
                start = f.address(source, f.mul("%across", group + row), plan.element)
                vectors.append(f.load(kind, f.address(start, along.index, plan.element), size))
            target = f.address(to, f.mul(along.index, width), plan.element)
            for step, vector in enumerate(transposed(f, vectors, side, plan.element)):
                f.store(kind, vector, f.address(target, step * width + group, plan.element), size)
    _copy_elements(f, plan, width, to, source, whole, str(width))


def _block_side(plan: Plan, width: int) -> int:
    """Largest power of two that divides the panel's width and is no longer than a vector."""
    side = plan.lanes
    while width % side:
        side //= 2
    return side


def transposed(f: Function, rows: list[str], side: int, element: str) -> list[str]:
    """Transpose `side` vectors by exchanging halves, quarters, … of pairs: log2(side) rounds of shuffles."""
    kind = vector_type(side, element)
    distance = side // 2
    while distance:
        # Round: element (r, c) with bit `distance` clear in r and set in c trades places with its mirror.
        low = [lane if not lane & distance else side + (lane ^ distance) for lane in range(side)]
        high = [lane | distance if not lane & distance else side + lane for lane in range(side)]
        result = list(rows)
        for row in range(side):
            if not row & distance:
                pair = f"{kind} {rows[row]}, {kind} {rows[row | distance]}"
                result[row] = f.value(f"shufflevector {pair}, {_shuffle_mask(low)}")
                result[row | distance] = f.value(f"shufflevector {pair}, {_shuffle_mask(high)}")
        rows = result
        distance //= 2
    return rows


def _shuffle_mask(lanes: list[int]) -> str:
    return f"<{len(lanes)} x i32> <" + ", ".join(f"i32 {lane}" for lane in lanes) + ">"
