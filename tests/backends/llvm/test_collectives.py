"""Collectives in one native call: bit for bit the canonical tree, and nothing written beside the results."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import opmux as ox
from opmux.backends.llvm import collective_code, collectives
from opmux.core.runtime import several_hosts
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES
from opmux.opset.recipes.registry import program

OPS = {
    "sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum", "and": "bitwise_and", "or": "bitwise_or",
}  # fmt: skip
LENGTHS = (1, 7, 16, 63, 64, 65, 300)


def tree(terms, combine):
    """The canonical order, written apart from the code under test."""
    while len(terms) > 1:
        pairs = [combine(terms[i], terms[i + 1]) for i in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


def combined(reduction, terms):
    """Each combination by its op's recipe, narrow sums and products in float32 and rounded once."""
    name = terms[0].dtype.name
    wide = "float32" if name in ("float16", "bfloat16") and reduction in ("sum", "prod") else name
    recipe = program(OPS[reduction], (wide, wide))
    found = tree([t.astype(NUMPY_TYPES[wide]) for t in terms], lambda a, b: evaluate(recipe, a, b))
    with np.errstate(all="ignore"):
        return found.astype(NUMPY_TYPES[name])


def drawn(dtype, n, size):
    rng = np.random.default_rng(n)
    raw = rng.standard_normal((n, size)) * 10.0 ** rng.integers(-3, 3, (n, size))
    return [x.astype(np.int64).astype(NUMPY_TYPES[dtype]) if dtype in INTEGERS else x.astype(NUMPY_TYPES[dtype])
            for x in raw]  # fmt: skip


def room(dtype, size):
    """Memory that begins at a multiple of 64 bytes, full of 77."""
    raw = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    made = raw[start : start + size * dtype.itemsize].view(dtype)
    made[:] = 77
    return made


def reduced(tools, target, reduction, terms, blocks=None, scatter=None, streams=False):
    """Run the generated code; guards around every result must survive."""
    name, ranks = terms[0].dtype.name, len(blocks or terms)
    wide = "float32" if name in ("float16", "bfloat16") and reduction in ("sum", "prod") else name
    recipe = program(OPS[reduction], (wide, wide))
    variant = collective_code.Variant(recipe, name, blocks or (1,) * ranks, scatter is not None, streams)
    size = terms[0].size
    ends = np.cumsum([0, *(scatter or ())])
    words = [w for a, b in itertools.pairwise(ends) for w in (a, a, b)] if scatter else [size, 0, size]
    guard = 64 if streams else 1
    rooms = [room(NUMPY_TYPES[name], 2 * guard + (scatter[r] if scatter else size)) for r in range(ranks)]
    cuts = np.cumsum(blocks or (1,) * ranks)[:-1]
    given = [np.ascontiguousarray(x) for x in np.split(np.stack(terms), cuts)]
    tools.call(
        collective_code.reduction_code(variant, target), [*given, *(r[guard:-guard] for r in rooms)], np.array(words)
    )
    for whole in rooms:
        np.testing.assert_array_equal(whole[[*range(guard), *range(-guard, 0)]], np.array(77, whole.dtype))
    return [whole[guard:-guard] for whole in rooms]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
def test_order_is_the_canonical_tree(tools, target, ranks):
    for size in LENGTHS:
        terms = drawn("float32", ranks, size)
        for y in reduced(tools, target, "sum", terms):
            tools.same_bits(y, combined("sum", terms))


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("reduction", ["sum", "prod", "min", "max", "and", "or"])
def test_dtypes(tools, target, reduction, dtype):
    if reduction in ("and", "or") and dtype in FLOATS:
        with pytest.raises(ox.DTypeError):
            ox.all_reduce([ox.zeros(1, dtype=dtype)], ox.Mesh(["cpu:0"]), reduction=reduction)
        return
    terms = drawn(dtype, 3, 83)
    for y in reduced(tools, target, reduction, terms):
        tools.same_bits(y, combined(reduction, terms))


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float32", "float64", "int64"])
def test_streamed_results_are_the_same(tools, target, dtype):
    for size in (1, 63, 64, 65, 300):
        terms = drawn(dtype, 3, size)
        for y in reduced(tools, target, "sum", terms, streams=True):
            tools.same_bits(y, combined("sum", terms))


@pytest.mark.parametrize("reduction", ["sum", "prod", "min", "max"])
def test_hard_values(tools, target, reduction):
    terms = tools.hard_tuples("float32", "float32")
    for y in reduced(tools, target, reduction, terms):
        tools.same_bits(y, combined(reduction, terms))


def test_blocks_of_uneven_number(tools, target):
    terms = drawn("float64", 6, 37)
    for y in reduced(tools, target, "sum", terms, blocks=(3, 0, 1, 2)):
        tools.same_bits(y, combined("sum", terms))


def test_each_rank_gets_its_part(tools, target):
    terms, parts = drawn("float32", 4, 150), (70, 0, 16, 64)
    whole = combined("sum", terms)
    for y, wanted in zip(
        reduced(tools, target, "sum", terms, scatter=parts), np.split(whole, np.cumsum(parts)[:-1]), strict=True
    ):
        tools.same_bits(y, wanted)


@pytest.fixture(scope="module")
def hosts():
    ox.devices()
    with several_hosts(4) as devices:
        yield devices


@pytest.mark.parametrize("dtype", ["bool", "uint8", "bfloat16", "complex64", "float64"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_calls_give_what_they_mean(hosts, ranks, dtype):
    mesh = ox.Mesh(hosts[:ranks])
    rows = np.random.default_rng(3).integers(0, 2, (ranks, 6, 5)).astype(ox.zeros(1, dtype=dtype).numpy().dtype)
    arrays = [ox.asarray(x, device=d) for x, d in zip(rows, hosts, strict=False)]
    total = rows.any(0) if dtype == "bool" else rows.sum(0, dtype=rows.dtype)
    wanted = {
        "all_gather": [np.concatenate(rows)] * ranks,
        "broadcast": [rows[-1]] * ranks,
        "permute": [rows[ranks - 1], *[np.zeros_like(rows[0])] * (ranks - 1)],
    }
    given = {"broadcast": {"root": ranks - 1}, "permute": {"pairs": ((ranks - 1, 0),)}}
    if dtype != "complex64":
        wanted |= {"all_reduce": [total] * ranks, "reduce_scatter": np.array_split(total, ranks)}
    with ox.policy(backends="llvm", pins=dict.fromkeys(wanted, "llvm")):
        for name, results in wanted.items():
            for y, w in zip(getattr(ox, name)(arrays, mesh, **given.get(name, {})), results, strict=True):
                np.testing.assert_array_equal(y.numpy(), w, err_msg=name)


@pytest.mark.parametrize(("sizes", "threads"), [((1000,), 3), ((64, 1, 700), 2), ((5,), 4), ((0, 9), 2), ((0,), 2)])
def test_every_element_is_in_one_share(sizes, threads):
    shares = collectives._shares(sizes, threads)
    for i, size in enumerate(sizes):
        assert [k for share in shares for k in range(*share[i])] == list(range(size))
        assert all(share[i][0] % 64 == 0 or share[i][0] == size for share in shares)


@pytest.fixture
def shared(monkeypatch):
    """Three threads for anything, with streaming stores."""
    monkeypatch.setenv("OPMUX_NUM_THREADS", "3")
    monkeypatch.setattr(collectives, "_SHARE", 64)
    monkeypatch.setattr(collectives, "_TURN", 64)
    monkeypatch.setattr(collectives, "_streams", lambda spec, nbytes, threads: True)


@pytest.mark.parametrize("dtype", [ox.bool, ox.float32, ox.bfloat16, ox.int64])
@pytest.mark.parametrize("size", [65, 70_001])
def test_threads_that_stream_give_what_one_gives(hosts, shared, size, dtype):
    mesh = ox.Mesh(hosts[:3])
    brought = [np.random.default_rng(r).integers(0, 2, size) for r in range(3)]
    arrays = [ox.asarray(x, dtype=dtype, device=d) for x, d in zip(brought, mesh.local_devices, strict=True)]
    total = np.max(brought, axis=0)
    with ox.policy(backends="llvm"):
        found = {
            "all_reduce": (ox.all_reduce(arrays, mesh, reduction="max"), [total] * 3),
            "reduce_scatter": (ox.reduce_scatter(arrays, mesh, reduction="max"), np.array_split(total, 3)),
            "all_gather": (ox.all_gather(arrays, mesh), [np.concatenate(brought)] * 3),
            "broadcast": (ox.broadcast(arrays, mesh, root=2), [brought[2]] * 3),
            "permute": (ox.permute(arrays, mesh, pairs=[(0, 2)]), [brought[0] * 0, brought[0] * 0, brought[0]]),
        }
    for name, (made, wanted) in found.items():
        for y, w in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(y.numpy().astype(np.int64), w, err_msg=name)
