"""Matrix product in the canonical order, generated as LLVM IR: blocked, packed, register-tiled.

The canonical order (`opmux.opset.orders`): k is cut into fixed blocks, the last one as short as it comes.
Within a block, s = +0, then s = fma(A[i, k], B[k, j], s) for increasing k. C[i, j] is the first block's s
exactly, then C[i, j] + s, rounded once, for each later block in turn; +0 where there is no k at all.
Neither the tile, the cache blocks, the packing, nor the split over threads changes any bit of it.
"""

from __future__ import annotations

from .ir import Function, module_text
from .matmul_kernel import block, micro_kernel, row_counts, strip
from .matmul_pack import pack
from .matmul_plan import Plan
from .matmul_vector import open_entry, vector_product


def matmul_ir(plan: Plan) -> str:
    """The module that exports `plan.symbol` and `plan.vector_symbol`.

    Both are `int f(void **buffers, const void *params, void *queue)`; the second takes vector products only.

    `buffers` are {A, B, C, workspace}, `params` the block of `pack_parameters`; the workspace may be null
    where nothing is packed. C must not overlap the others. Returns 0.
    """
    functions = [pack(plan, "pack_a", plan.rows), pack(plan, "pack_b", plan.width)]
    for rows in row_counts(plan):
        functions += [micro_kernel(plan, rows, vectors) for vectors in range(1, plan.vectors + 1)]
        functions.append(strip(plan, rows))
    functions += [block(plan), _entry(plan), vector_product(plan)]
    return module_text(functions)


def _entry(plan: Plan) -> Function:
    f, p, (a_all, b_all, c_all, workspace) = open_entry(plan.symbol)
    panel = f.address(workspace, p["panel_offset_bytes"], "i8")
    pack_a = f.compare(p["pack_a"], "!=", 0)
    pack_b = f.compare(p["pack_b"], "!=", 0)
    rows = f.sub(p["m_end"], p["m_begin"])
    columns = f.sub(p["n_end"], p["n_begin"])
    b_k = f.value(f"select i1 {pack_b}, i64 {plan.width}, i64 {p['b_k']}")

    def at(base: str, *terms: tuple[str, str | int]) -> str:
        for index, stride in terms:
            base = f.address(base, f.mul(index, stride), plan.element)
        return base

    with f.loop(p["batch_begin"], p["batch_end"]) as batch:
        a = at(a_all, (batch.index, p["a_batch"]), (p["m_begin"], p["a_row"]))
        b = at(b_all, (batch.index, p["b_batch"]), (p["n_begin"], p["b_column"]))
        c = at(c_all, (batch.index, p["c_batch"]), (p["m_begin"], p["c_row"]), (p["n_begin"], 1))
        with f.when(f.compare(p["k"], "==", 0)):
            _clear(f, plan, c, p["c_row"], rows, columns)
        with f.loop(0, p["k"], plan.block_k) as ks, f.loop(0, columns, plan.block_n) as ns:
            kc = f.minimum(f.sub(p["k"], ks.index), plan.block_k)
            nc = f.minimum(f.sub(columns, ns.index), plan.block_n)
            source = at(b, (ks.index, p["b_k"]), (ns.index, p["b_column"]))
            with f.when(pack_b):
                strides = [("i64", p["b_column"]), ("i64", p["b_k"])]
                f.call("void", "pack_b", [("ptr", workspace), ("ptr", source), *strides, ("i64", nc), ("i64", kc)])
            arguments: list[tuple[str, str | int]] = [
                ("ptr", at(a, (ks.index, p["a_k"]))),
                ("ptr", f.value(f"select i1 {pack_b}, ptr {workspace}, ptr {source}")),
                ("ptr", at(c, (ns.index, 1))),
                ("i64", p["a_row"]),
                ("i64", p["a_k"]),
                ("i64", b_k),
                ("i64", p["c_row"]),
                ("i64", kc),
                ("i1", f.compare(ks.index, "==", 0)),
                ("i64", nc),
                ("i64", f.value(f"select i1 {pack_b}, i64 {kc}, i64 1")),
                ("i64", rows),
                ("i1", pack_a),
                ("ptr", panel),
            ]
            f.call("void", "block", arguments)
    f.emit("ret i32 0")
    return f


def _clear(f: Function, plan: Plan, c: str, c_row: str, rows: str, columns: str) -> None:
    """An empty sum is +0: no block of k comes along to write it."""
    size = f.mul(columns, plan.element_bytes)
    with f.loop(0, rows) as row:
        start = f.address(c, f.mul(row.index, c_row), plan.element)
        f.call("void", "llvm.memset.p0.i64", [("ptr", start), ("i8", 0), ("i64", size), ("i1", "false")])
