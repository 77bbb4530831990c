"""The generated matrix product gives the canonical order's bits, whatever the tile, path, split and strides."""

import ctypes

import numpy as np
import pytest

import opmux as ox
from opmux.backends.llvm import matmul_call, matmul_plan
from opmux.backends.llvm.jit import compile_ir
from opmux.backends.llvm.matmul import matmul_ir
from opmux.backends.llvm.matmul_call import MatmulCall
from opmux.backends.llvm.matmul_plan import Packing, Part, Problem, plan_for, split, whole
from opmux.backends.llvm.target import host_target
from opmux.opset.orders import canonical_matmul

ELEMENTS = {"float": np.float32, "double": np.float64}
PACKINGS = [Packing(a, b) for a in (False, True) for b in (False, True)]


@pytest.fixture(scope="module", params=ELEMENTS)
def element(request):
    return request.param


@pytest.fixture(scope="module", params=["host", "32 bytes, 16 registers", "16 bytes, 16 registers"])
def native(request, element):
    """The plan and the entry of one vector width; all run on this host."""
    width = request.param.split()
    host = host_target()
    target = host if width == ["host"] else host.with_vectors(int(width[0]), int(width[2]))
    plan = plan_for(target, element)
    module = compile_ir(matmul_ir(plan), [plan.symbol, plan.vector_symbol], matmul_call.OPTIONS, cache=None)
    entry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    functions = [entry(module.address(symbol)) for symbol in (plan.symbol, plan.vector_symbol)]
    # The attribute keeps the code in memory.
    functions[0].module = module
    return plan, functions


def _problem(a, b, c):
    def strides(array):
        return [s // array.itemsize for s in array.strides]

    batch = a.shape[0] if a.ndim == 3 else 1
    lead = [array.strides[0] // array.itemsize if array.ndim == 3 else 0 for array in (a, b, c)]
    (a_row, a_k), (b_k, b_column) = strides(a)[-2:], strides(b)[-2:]
    m, n, k = a.shape[-2], b.shape[-1], a.shape[-1]
    return Problem(m, n, k, a_row, a_k, b_k, b_column, strides(c)[-2], batch, *lead)


def _aligned(size):
    """Workspace with a guard behind it, full of NaN so that reading what was not packed shows."""
    raw = np.full(size + 128, 0xFF, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size + 64]


def _multiply(native, a, b, packing, parts=None, *, vector=False):
    plan, functions = native
    # Columns beyond n belong to somebody else.
    padded = np.full((*a.shape[:-1], b.shape[-1] + 3), 7, a.dtype)
    c = padded[..., : b.shape[-1]]
    problem = _problem(a, b, padded)
    size = matmul_plan.workspace_size(plan, problem, packing)
    workspace = _aligned(size)
    for part in parts or [whole(problem)]:
        parameters = matmul_plan.pack_parameters(plan, problem, part, packing)
        buffers = (ctypes.c_void_p * 4)(*(x.ctypes.data for x in (a, b, padded, workspace)))
        assert functions[vector](buffers, parameters, None) == 0
    assert (workspace[size:] == 0xFF).all()
    assert (padded[..., b.shape[-1] :] == 7).all()
    return c


def _operands(element, m, n, k, batch=()):
    rng = np.random.default_rng(m * 1009 + n * 31 + k)
    shapes = (*batch, m, k), (*batch, k, n)
    return [rng.standard_normal(shape).astype(ELEMENTS[element]) for shape in shapes]


def _layouts(array):
    """The same values in row-major, column-major, reversed and widely strided memory."""
    wide = np.full((array.shape[0] * 2, array.shape[1] * 3), np.nan, array.dtype)
    wide[::2, ::3] = array
    turned = np.ascontiguousarray(array[::-1, ::-1])
    return {
        "rows": array,
        "columns": np.asfortranarray(array),
        "reversed": turned[::-1, ::-1],
        "strided": wide[::2, ::3],
    }


def _allowed(b, packing):
    return packing.b or b.strides[-1] == b.itemsize


EDGES = [
    (1, 1, 1),
    (1, 49, 5),
    (9, 1, 17),
    (3, 5, 2),
    (7, 23, 16),
    (8, 24, 8),
    (8, 48, 15),
    (9, 49, 33),
    (15, 47, 31),
    (17, 97, 20),
    (23, 25, 64),
    (2, 3, 511),
    (2, 3, 512),
    (3, 2, 513),
    (5, 7, 1024),
    (4, 9, 1537),
    (3, 700, 9),
]


@pytest.mark.parametrize(("m", "n", "k"), EDGES)
def test_bits_at_the_edges_of_tiles_and_blocks(native, element, tools, m, n, k):
    a, b = _operands(element, m, n, k)
    expected = canonical_matmul(a, b)
    for packing in PACKINGS:
        tools.same_bits(_multiply(native, a, b, packing), expected)


def test_bits_do_not_depend_on_strides(native, element, tools):
    a, b = _operands(element, 11, 53, 70)
    expected = canonical_matmul(a, b)
    pairs = [(x, y) for x in _layouts(a).values() for y in _layouts(b).values()]
    for x, y in pairs:
        for packing in PACKINGS:
            if _allowed(y, packing):
                tools.same_bits(_multiply(native, x, y, packing), expected)


def test_zero_strides_broadcast(native, element, tools):
    a, b = _operands(element, 10, 60, 21)
    for x in (np.broadcast_to(a[:1], a.shape), np.broadcast_to(a[:, :1], a.shape)):
        for y in (np.broadcast_to(b[:1], b.shape), np.broadcast_to(b[:, :1], b.shape)):
            for packing in PACKINGS:
                if _allowed(y, packing):
                    tools.same_bits(_multiply(native, x, y, packing), canonical_matmul(x, y))


@pytest.mark.parametrize(("m", "n", "k"), [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 50, 0), (1, 1, 0)])
def test_empty_extents(native, element, tools, m, n, k):
    a, b = _operands(element, m, n, k)
    for packing in PACKINGS:
        tools.same_bits(_multiply(native, a, b, packing), np.zeros((m, n), a.dtype))


def test_special_values_reach_only_their_row_or_column(native, element, tools):
    a, b = _operands(element, 13, 55, 40)
    a[2, 3], a[4, 0], a[12, 39] = np.inf, np.nan, -np.inf
    b[7, 54], b[3, 0], b[9, 20] = np.nan, 0, -np.inf
    a[5], b[:, 30] = -0.0, 0.0
    expected = canonical_matmul(a, b)
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()
    assert (expected[5] == 0).any()
    for packing in PACKINGS:
        tools.same_bits(_multiply(native, a, b, packing), expected)


@pytest.mark.parametrize("k", [1, 513])
def test_the_sign_of_zero_is_that_of_the_chains(native, element, tools, k):
    """-0 can only come out of a product that underflows; padding with zeros would turn it into +0."""
    tiny = np.finfo(ELEMENTS[element]).smallest_subnormal
    a = np.full((9, k), -0.0, ELEMENTS[element])
    a[:, -1] = -tiny
    b = np.full((k, 50), 0.25, a.dtype)
    expected = canonical_matmul(a, b)
    assert np.signbit(expected).all() == (k == 1)
    for packing in PACKINGS:
        tools.same_bits(_multiply(native, a, b, packing), expected)


def test_a_batch_with_a_shared_operand(native, element, tools):
    a, b = _operands(element, 9, 50, 30, (3,))
    shared = np.broadcast_to(b[1], b.shape)
    for x, y in ((a, b), (a, shared), (a[::-1], b)):
        for packing in PACKINGS:
            tools.same_bits(_multiply(native, x, y, packing), canonical_matmul(x, y))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_bits_do_not_depend_on_the_split(native, element, tools, parts):
    for m, n, batch in ((100, 20, ()), (20, 230, ()), (9, 10, (5,))):
        a, b = _operands(element, m, n, 31, batch)
        c = np.empty((*batch, m, n), a.dtype)
        cuts = split(native[0], _problem(a, b, c), parts)
        for packing in (Packing(False, False), Packing(True, True)):
            tools.same_bits(_multiply(native, a, b, packing, cuts), canonical_matmul(a, b))


def test_blocks_of_n_beyond_one_cache_block(element, tools):
    """More columns than one packed block of B holds."""
    plan = plan_for(host_target(), element)
    a, b = _operands(element, 5, plan.block_n + plan.width + 1, 3)
    call, c = _call(element, a, b, threads=1)
    assert _run(call, a, b, c) is c
    tools.same_bits(c, canonical_matmul(a, b))


def _call(element, a, b, threads):
    c = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    strides = [[s // array.itemsize for s in array.strides] for array in (a, b, c)]
    return MatmulCall(element, (*c.shape, a.shape[-1]), *strides, threads), c


def _run(call, a, b, c):
    workspace = _aligned(call.workspace_bytes)
    call(a.ctypes.data, b.ctypes.data, c.ctypes.data, workspace.ctypes.data)
    return c


def test_a_large_product_has_the_same_bits_on_any_number_of_threads(element, tools):
    a, b = _operands(element, 300, 310, 520)
    results = []
    for threads in (1, 2, 5):
        call, c = _call(element, a, b, threads)
        results.append(_run(call, a, b, c))
    np.testing.assert_allclose(results[0], a.astype(np.float64) @ b, rtol=0, atol=2e-4)
    tools.same_bits(results[1], results[0])
    tools.same_bits(results[2], results[0])
    tools.same_bits(results[0][::60, ::50], canonical_matmul(a[::60], b[:, ::50]))


@pytest.mark.parametrize("layout", ["rows", "columns", "reversed", "strided"])
@pytest.mark.parametrize(("n", "k"), [(70, 1029), (5, 3), (16, 16), (33, 530), (1, 40), (7, 0)])
def test_matrix_times_vector_and_vector_times_matrix(element, tools, layout, n, k):
    a, b = _operands(element, n, 1, k)
    matrix = _layouts(a)[layout]
    for x, y in ((matrix, b), (b.T, matrix.T), (matrix, np.repeat(b, 3, axis=1)[:, 1:2])):
        call, c = _call(element, x, y, threads=1)
        tools.same_bits(_run(call, x, y, c), canonical_matmul(x, y))


def test_a_vector_product_keeps_the_sign_of_zero(native, element, tools):
    tiny = np.finfo(ELEMENTS[element]).smallest_subnormal
    for k in (1, 513):
        a, b = np.full((1, k), 0.25, ELEMENTS[element]), np.full((9, k), -0.0, ELEMENTS[element]).T
        b[-1] = -tiny
        expected = canonical_matmul(a, b)
        assert np.signbit(expected).all() == (k == 1)
        tools.same_bits(_multiply(native, a, b, Packing(False, False), vector=True), expected)


def test_a_batch_of_vector_products_in_parts(native, element, tools):
    a, b = _operands(element, 1, 50, 30, (5,))
    b = np.ascontiguousarray(b.transpose(0, 2, 1)).transpose(0, 2, 1)
    for parts in (1, 2, 7):
        cuts = split(native[0], _problem(a, b, np.empty((5, 1, 50), a.dtype)), parts)
        tools.same_bits(_multiply(native, a, b, Packing(False, False), cuts, vector=True), canonical_matmul(a, b))


@pytest.mark.parametrize("threads", [1, 3])
def test_batch_axes_in_any_strides(element, tools, threads):
    a, b = _operands(element, 5, 20, 9, (2, 3, 4))
    shared = np.broadcast_to(b[0, 0, 0], b.shape)
    turned = np.ascontiguousarray(a.transpose(1, 0, 2, 4, 3)).transpose(1, 0, 2, 4, 3)
    for x, y in ((a, b), (a, shared), (turned, b), (a[:, ::-1], b[:, :, :1]), (a[:0], b[:0]), (a[..., :1, :], shared)):
        y = np.broadcast_to(y, (*x.shape[:-2], *y.shape[-2:]))
        call, c = _call(element, x, y, threads)
        tools.same_bits(_run(call, x, y, c), canonical_matmul(x, y))


def test_a_batch_with_one_b_becomes_more_rows(element):
    a, b = _operands(element, 5, 20, 9, (2, 3))
    call, _ = _call(element, a, np.broadcast_to(b[0, 0], b.shape), threads=1)
    assert (call.problem.m, call.problem.batch) == (30, 1)
    assert call.native is not None


def test_parts_cover_the_result_once():
    plan = plan_for(host_target(), "float")
    for m, n, batch in ((1, 1, 1), (1000, 3, 1), (3, 1000, 1), (500, 500, 2), (4, 4, 9), (0, 5, 1)):
        problem = Problem(m, n, 4, 1, 1, 1, 1, n, batch)
        for count in (1, 2, 5, 64):
            seen = np.zeros((batch, m, n), int)
            for part in split(plan, problem, count):
                assert isinstance(part, Part)
                seen[part.batch_begin : part.batch_end, part.m_begin : part.m_end, part.n_begin : part.n_end] += 1
            assert (seen == 1).all()


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_kernel_serves_the_op_on_views_and_batches(tools, name):
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(shape).astype(name) for shape in ((2, 3, 9, 40), (50, 40)))
    x, y = ox.asarray(a), ox.permute_dims(ox.asarray(b), (1, 0))
    with ox.policy(backends="llvm"):
        assert ox.explain("matmul", x[0, 0], y).chosen == "llvm/matmul"
        result = np.asarray(ox.matmul(x, y))
    tools.same_bits(result, canonical_matmul(a, b.T))
