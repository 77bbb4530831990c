"""A vector times a matrix whose unit stride is along k: one lane per result, transposed in registers.

The canonical order is a chain along k for every result, so lanes must lie across results; what is
contiguous in memory lies along k. Packing first would write and read the whole matrix once more.
"""

from __future__ import annotations

from .ir import Function, lane_mask, splat, vector_type
from .matmul_pack import transposed
from .matmul_plan import PARAMETERS, Plan


def open_entry(symbol: str) -> tuple[Function, dict[str, str], list[str]]:
    """An exported function with its parameter block loaded by name, and its buffers {A, B, C, workspace}."""
    f = Function(symbol, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    parameters = {name: f.load("i64", f.address("%params", i, "i64"), 8) for i, name in enumerate(PARAMETERS)}
    return f, parameters, [f.load("ptr", f.address("%buffers", i, "ptr"), 8) for i in range(4)]


def vector_product(plan: Plan) -> Function:
    """C[j] = sum over k of A[k] * B[j * b_column + k], for one row of A; any number of columns."""
    kind, size, lanes = vector_type(plan.lanes, plan.element), plan.element_bytes, plan.lanes
    f, p, (a_all, b_all, c_all, _) = open_entry(plan.vector_symbol)

    def at(base: str, index: str, stride: str | int) -> str:
        return f.address(base, f.mul(index, stride), plan.element)

    columns = f.sub(p["n_end"], p["n_begin"])
    last = f.sub(columns, 1)
    with f.loop(p["batch_begin"], p["batch_end"]) as batch, f.loop(0, columns, lanes) as first:
        a = at(a_all, batch.index, p["a_batch"])
        b = at(at(b_all, batch.index, p["b_batch"]), p["n_begin"], p["b_column"])
        c = at(at(c_all, batch.index, p["c_batch"]), f.add(p["n_begin"], first.index), 1)
        # Lanes beyond the last column repeat it; they are never stored.
        chosen = [f.minimum(f.add(first.index, lane), last) for lane in range(lanes)]
        rows = [at(b, column, p["b_column"]) for column in chosen]

        def multiply(vector: str, k: str, total: str) -> str:
            scalar = f.load(plan.element, at(a, k, p["a_k"]), size)
            factors = [(kind, splat(f, scalar, lanes, plan.element)), (kind, vector), (kind, total)]
            return f.call(kind, f"llvm.fma.v{lanes}f{8 * size}", factors)

        with f.loop(0, p["k"], plan.block_k, [(kind, "zeroinitializer")]) as ks:
            end = f.minimum(f.add(ks.index, plan.block_k), p["k"])
            rest = f.value(f"srem i64 {f.sub(end, ks.index)}, {lanes}")
            whole = f.sub(end, rest)
            with f.loop(ks.index, whole, lanes, [(kind, "zeroinitializer")]) as steps:
                loaded = [f.load(kind, f.address(row, steps.index, plan.element), size) for row in rows]
                total = steps.carried[0]
                for ahead, vector in enumerate(transposed(f, loaded, lanes, plan.element)):
                    total = multiply(vector, f.add(steps.index, ahead), total)
                steps.hand_on(total)
            with f.loop(whole, end, 1, [(kind, steps.results[0])]) as single:
                vector = "poison"
                for lane, row in enumerate(rows):
                    element = f.load(plan.element, f.address(row, single.index, plan.element), size)
                    vector = f.value(f"insertelement {kind} {vector}, {plan.element} {element}, i64 {lane}")
                single.hand_on(multiply(vector, single.index, single.carried[0]))
            chain = single.results[0]
            added = f.value(f"fadd {kind} {ks.carried[0]}, {chain}")
            is_first = f.compare(ks.index, "==", 0)
            ks.hand_on(f.value(f"select i1 {is_first}, {kind} {chain}, {kind} {added}"))
        mask = lane_mask(f, f.sub(columns, first.index), lanes)
        stored = [(kind, ks.results[0]), (f"ptr align {size}", c), (f"<{lanes} x i1>", mask)]
        f.call("void", f"llvm.masked.store.v{lanes}f{8 * size}.p0", stored)
    f.emit("ret i32 0")
    return f
