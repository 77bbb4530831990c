"""Shapes that are too large, negative, empty or of very many axes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.dtypes import ALL
from opmux.core.errors import shown
from opmux.core.op import OPS, Role
from opmux.opset.declare import declaration_of

BACKENDS = ("numpy", "llvm")
HUGE = 10**10000
ONE = ox.asarray([1.0])


def _many(shape: tuple[int, ...], dtype: str = "float32") -> ox.Array:
    return ox.broadcast_to(ox.asarray([1], dtype=dtype), shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ox.zeros((1 << 40,)),
        lambda: ox.ones((1 << 20, 1 << 20)),
        lambda: ox.empty((1 << 50,)),
        lambda: ox.full((1 << 45,), 1),
        lambda: ox.zeros((1 << 62, 1 << 10)),
        lambda: ox.zeros((1 << 61,)),
        lambda: ox.zeros((1 << 63,)),
        lambda: ox.zeros((1 << 70,)),
        lambda: ox.zeros((HUGE,)),
        lambda: ox.zeros((1 << 32,) * 64),
        lambda: ox.iota((1 << 45,), 0),
        lambda: ox.arange(1 << 45),
        lambda: ox.arange(0, 1e18, 1.0),
        lambda: ox.arange(0, 1, 1e-300),
        lambda: ox.linspace(0, 1, 1 << 50),
        lambda: ox.eye(1 << 30),
        lambda: ox.repeat(ONE, 1 << 45),
        lambda: ox.tile(ONE, (1 << 45,)),
        lambda: ox.pad(ONE, 1 << 45),
        lambda: ox.one_hot(ox.asarray([1]), 1 << 45),
        lambda: ox.Generator(0).uniform((1 << 45,)),
        lambda: ox.matmul(_many((1 << 25, 1)), _many((1, 1 << 25))),
        lambda: ox.conv(ox.zeros((1, 1, 8)), ox.zeros((1, 1, 3)), padding=1 << 58),
        lambda: ox.copy(_many((10**6, 10**6))),
        lambda: ox.exp(_many((10**12,))),
        lambda: ox.astype(_many((10**12,)), "float64"),
        lambda: _many((10**6, 10**6)) + 1.0,
        lambda: _many((10**12,)) == 1.0,
        lambda: ox.concat([_many((10**12,))] * 2),
        lambda: ox.sort(_many((10**12,))),
        lambda: ox.cumulative_sum(_many((10**12,))),
        lambda: ox.gather(ONE, ox.broadcast_to(ox.asarray([0]), (1 << 45,))),
        lambda: ox.broadcast_to(ONE, (10**10, 10**10)),
    ],
)
def test_more_than_memory_holds(refused: Any, call: Callable[[], Any]) -> None:
    refused(call, MemoryError)
    assert ox.add(ONE, 1.0).tolist() == [2.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ox.sum(x),
        lambda x: ox.sum(x, axis=0),
        lambda x: ox.max(x),
        lambda x: ox.any(ox.broadcast_to(ox.asarray([True]), (10**7, 10**6))),
        lambda x: ox.argmax(x),
        lambda x: ox.mean(x),
        lambda x: ox.var(x, axis=1),
        lambda x: ox.softmax(x),
        lambda x: ox.logsumexp(x),
        lambda x: ox.unique_values(x),
        lambda x: ox.nonzero(x),
        lambda x: ox.matmul(_many((1, 10**12)), _many((10**12, 1))),
        lambda x: x.tolist(),
        lambda x: pickle.dumps(x),
        lambda x: x[ox.broadcast_to(ox.asarray([True]), (10**6, 10**6))],
        lambda x: x.__setitem__((0, 0), 2.0),
    ],
)
def test_repeated_views_are_not_read_a_million_million_times(refused: Any, call: Callable[[Any], Any]) -> None:
    refused(lambda: call(_many((10**6, 10**6))), MemoryError)


def test_repeated_views_can_be_looked_at() -> None:
    x = _many((10**6, 10**6))
    assert x[5, 999_999].item() == 1.0
    assert x.T.shape == ox.reshape(x, (10**6, 10**6)).shape
    assert repr(x).count("1.") > 10
    assert float(next(iter(x))[3]) == 1.0
    assert ox.gather(x[0], ox.asarray([7, 8]), axis=0).tolist() == [1.0, 1.0]
    assert ox.sum(x[:1000, :1000]).item() == 1e6


@pytest.mark.parametrize("shape", [(-1,), (2, -3), -1, (-HUGE,), (0, -1)], ids=["-1", "2,-3", "int", "huge", "0,-1"])
@pytest.mark.parametrize("make", [ox.zeros, ox.empty, lambda s: ox.full(s, 1), lambda s: ox.broadcast_to(ONE, s)])
def test_negative_lengths(refused: Any, make: Any, shape: Any) -> None:
    refused(lambda: make(shape), ValueError, "negative")


@pytest.mark.parametrize("shape", [2.0, "2", (2, 2.5), None, [[2]], (None,), np.ones(2), {2}], ids=repr)
def test_lengths_that_are_no_integers(refused: Any, shape: Any) -> None:
    refused(lambda: ox.zeros(shape), TypeError, "shape")


def test_counts_that_are_negative(refused: Any) -> None:
    for call in (
        lambda: ox.linspace(0, 1, -1), lambda: ox.repeat(ONE, -1), lambda: ox.tile(ONE, (-1,)),
        lambda: ox.one_hot(ox.asarray([0]), -1), lambda: ox.eye(-1), lambda: ox.pad(ONE, -1),
    ):  # fmt: skip
        refused(call, ValueError, "-1")
    assert ox.arange(5, 0).shape == (0,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), HUGE, None, "a", 1j, [1]], ids=shown)
def test_ends_that_are_no_finite_numbers(refused: Any, value: Any) -> None:
    kind = ValueError if isinstance(value, float | int) else TypeError
    for place in (0, 2) if value is None else (0, 1, 2):
        refused(lambda p=place: ox.arange(*[value if i == p else 1 for i in range(3)]), kind, "arange")  # type: ignore[misc]
    if not isinstance(value, complex):
        refused(lambda: ox.linspace(0, value, 3), kind, "linspace", "stop")


def test_an_empty_axis_does_not_hide_an_impossible_one(refused: Any) -> None:
    refused(lambda: ox.zeros((0, 1 << 62, 1 << 10)), ValueError, "2**63")
    refused(lambda: ox.reshape(ox.zeros((0,)), (0, 1 << 62, 1 << 10)), ValueError, "2**63")
    assert ox.zeros((0, 1 << 40)).shape == (0, 1 << 40)


@pytest.mark.parametrize("rank", [65, 66, 1000])
def test_more_axes_than_there_can_be(refused: Any, rank: int) -> None:
    for call in (
        lambda: ox.zeros((1,) * rank), lambda: ox.reshape(ONE, (1,) * rank), lambda: ox.broadcast_to(ONE, (1,) * rank),
        lambda: ox.zeros((1,) * 64)[(None,) * (rank - 64)], lambda: ox.expand_dims(ox.zeros((1,) * 64), axis=0),
        lambda: ox.stack([ox.zeros((1,) * 64)] * 2), lambda: ox.tile(ONE, (1,) * rank),
    ):  # fmt: skip
        refused(call, ValueError, "64")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rank", [33, 40, 64])
def test_many_axes(rank: int, backend: str) -> None:
    shape = (2,) * 8 + (1,) * (rank - 8)
    x = ox.reshape(ox.arange(256.0), shape)
    turned = ox.permute_dims(x, tuple(range(rank - 1, -1, -1)))
    with ox.policy(backends=backend):
        wanted = np.arange(256, dtype=np.float32).reshape((2,) * 8).transpose().reshape(-1)
        assert ox.reshape(ox.negative(turned), -1).tolist() == (-wanted).tolist()
        assert ox.add(turned, x.T if rank == 2 else turned).tolist() is not None
        assert ox.sum(turned).item() == 255 * 128
        assert ox.sum(turned, axis=rank - 1).shape == turned.shape[:-1]
        assert ox.max(turned, axis=tuple(range(rank - 8))).shape == (2,) * 8
    assert repr(ox.zeros((1,) * rank)).count("[") == rank


EMPTY = ((0,), (3, 0), (0, 3), (2, 0, 3))


def _outcome(op: Any, t: ox.DType, shape: tuple[int, ...], backend: str) -> object:
    operands = [ox.zeros(shape, dtype=t) for p in op.parameters if p.role is Role.ARRAY]
    try:
        with ox.policy(backends=(backend, "numpy")):
            made = getattr(ox, op.name)(*operands)
    except ox.KernelError:
        raise
    except ox.OpmuxError as error:
        return type(error)
    return made.shape, made.dtype, repr(made.tolist())


@pytest.mark.parametrize("shape", [*EMPTY, (), (1, 1, 1)], ids=str)
def test_every_op_on_empty_and_tiny_arrays_is_the_same_everywhere(shape: tuple[int, ...]) -> None:
    for op in OPS:
        attributes = [p for p in op.parameters if p.role is Role.ATTRIBUTE and p.required]
        if attributes or op.parameters[0].role is not Role.ARRAY:
            continue
        for t in declaration_of(op).dtypes[::4]:
            found = [_outcome(op, t, shape, backend) for backend in BACKENDS]
            assert found[0] == found[1], f"{op.name} of {t}{list(shape)}"


@pytest.mark.parametrize("t", ALL, ids=str)
def test_empty_arrays_of_every_dtype(t: ox.DType) -> None:
    for shape in EMPTY:
        x = ox.zeros(shape, dtype=t)
        assert (ox.copy(x).shape, x.tolist(), x.nbytes) == (shape, np.zeros(shape).tolist(), 0)
        assert np.asarray(x.T if x.ndim == 2 else x).size == 0
        assert pickle.loads(pickle.dumps(x)).shape == shape
        assert ox.concat([x, x], axis=0).shape == (2 * shape[0], *shape[1:])
        assert repr(x).startswith("Array([")


def test_reductions_of_nothing_have_their_identities() -> None:
    x = ox.zeros((2, 0))
    assert ox.sum(x, axis=1).tolist() == [0.0, 0.0]
    assert ox.prod(x, axis=1).tolist() == [1.0, 1.0]
    assert ox.all(x, axis=1).tolist() == [True, True]
    assert ox.any(x, axis=1).tolist() == [False, False]
    assert ox.matmul(ox.zeros((2, 0)), ox.zeros((0, 3))).tolist() == [[0.0] * 3] * 2
    assert all(v != v for v in ox.mean(x, axis=1).tolist())


def test_a_limit_of_memory_is_kept_and_given_back(run: Any) -> None:
    code = """
import opmux as ox
kept = ox.zeros(100_000)
for _ in range(3):
    try:
        ox.zeros(300_000)
    except MemoryError as error:
        assert isinstance(error, ox.OutOfMemoryError) and "OPMUX_CPU_MEMORY" in str(error), error
    else:
        raise SystemExit("no error")
x = ox.zeros(100_000); y = ox.add(kept, 1.0); del x, y
print(float(ox.sum(ox.add(kept, 1.0))))
"""
    found = run(code, OPMUX_CPU_MEMORY="1500000")
    assert (found.returncode, found.stdout.strip()) == (0, "100000.0"), found.stderr


def test_memory_that_the_system_refuses(run: Any) -> None:
    code = """
import resource, opmux as ox
x = ox.exp(ox.zeros(1000))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for make in (lambda: ox.zeros(2 << 30, dtype="uint8"), lambda: ox.eye(60_000), lambda: ox.arange(3e8)):
    try:
        held = [make(), make()]
    except ox.OutOfMemoryError as error:
        print("typed")
print(float(ox.sum(ox.exp(ox.zeros(1000)))))
"""
    found = run(code, OPMUX_CPU_MEMORY=str(1 << 40))
    assert (found.returncode, found.stdout.split()) == (0, ["typed"] * 3 + ["1000.0"]), found.stdout + found.stderr
