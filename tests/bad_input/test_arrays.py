"""Arrays from outside that are odd, and values that are not numbers."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import fractions
import pickle
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.dtypes import ALL
from opmux.core.errors import shown

HUGE = 10**10000
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
BACKENDS = ("numpy", "llvm")


def _frozen(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    a = a.copy()
    a.flags.writeable = False
    return a


def _unaligned(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    raw[:] = np.frombuffer(a.tobytes(), np.uint8)
    return raw.view(a.dtype).reshape(a.shape)


def _field(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements inside of records of seven bytes, so that strides are no multiple of the itemsize."""
    records = np.zeros(a.shape, np.dtype([("a", "u1", (3,)), ("x", a.dtype)]))
    records["x"] = a
    return records["x"]


LAYOUTS = {
    "transposed": BASE.T,
    "reversed": BASE[::-1, ::-1],
    "strided": BASE[1::2, ::3],
    "zero stride": np.broadcast_to(BASE[0], (5, 6)),
    "overlapping windows": np.lib.stride_tricks.sliding_window_view(np.arange(9, dtype=np.float32), 4),
    "Fortran": np.asfortranarray(BASE),
    "read-only": _frozen(BASE),
    "big-endian": BASE.astype(">f4"),
    "big-endian strided": BASE.astype(">f4")[::2, ::-1],
    "unaligned": _unaligned(BASE),
    "record field": _field(BASE),
    "subclass": BASE.view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_arrays_of_any_layout_are_read_right(layout: str, backend: str) -> None:
    given = LAYOUTS[layout]
    x = ox.asarray(given)
    with ox.policy(backends=backend):
        assert x.tolist() == given.tolist()
        assert ox.add(x, x).tolist() == (given + given).tolist()
        assert ox.sum(x, axis=0).tolist() == np.asarray(given, np.float32).sum(0).tolist()
        assert ox.negative(x[::-1]).tolist() == (-given[::-1]).tolist()


def test_imports_are_never_written() -> None:
    for given in LAYOUTS.values():
        x, before = ox.asarray(given), given.tolist()
        x[0] = 99.0
        x += 1.0
        assert given.tolist() == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_never_writes_an_import(refused: Any, layout: str) -> None:
    given = LAYOUTS[layout]
    x, before = ox.asarray(given), given.tolist()
    if given.flags.c_contiguous and given.dtype.isnative and given.flags.aligned:
        refused(lambda: ox.exp(ox.zeros(x.shape), out=x), ValueError, "imported")
    else:  # it was copied, or is no array that a result fits in
        with contextlib.suppress(ox.OpmuxError):
            ox.exp(ox.zeros(x.shape), out=x)
    assert given.tolist() == before


@pytest.mark.parametrize(
    "given",
    [
        np.array([None, 1]),
        np.array([object()]),
        np.array(["a"]),
        np.array([b"a"]),
        np.array([1, 2], "M8[s]"),
        np.array([1], "m8[s]"),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, "V3"),
        np.array([1, 2], np.longdouble),
        np.array(1, object),
        np.array([HUGE]),
        np.array([decimal.Decimal(1)]),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_elements_without_a_counterpart(refused: Any, given: Any) -> None:
    refused(lambda: ox.asarray(given), TypeError, str(given.dtype), "known dtypes")


@pytest.mark.parametrize(
    "given",
    [
        None, "abc", b"a"[:0].__class__, object(), {1}, {1: 2}, iter([1]), fractions.Fraction(1, 3), decimal.Decimal(1),
        datetime.date(2024, 1, 1), [None], ["a"], [[1], ["a"]], [decimal.Decimal(1)], [fractions.Fraction(1)], [{1}],
        [object()], [HUGE, "a"],
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_objects_that_are_no_arrays(refused: Any, given: Any) -> None:
    refused(lambda: ox.asarray(given), TypeError, "asarray")


@pytest.mark.parametrize("given", [[1, [2]], [[1, 2], [3]], [[1], 2], [[], [1]], [[[1]], [[1, 2]]]], ids=str)
def test_ragged_sequences(refused: Any, given: Any) -> None:
    refused(lambda: ox.asarray(given), ValueError, "length")


def test_a_sequence_that_holds_itself(refused: Any) -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    refused(lambda: ox.asarray(endless), ValueError, "nested")
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    refused(lambda: ox.asarray(deep), ValueError, "nested")
    while isinstance(deep, list):  # level by level: Python frees a nest of this depth recursively
        deep = deep[0]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64"])
@pytest.mark.parametrize("value", [HUGE, -HUGE, 2**64, -(2**63) - 1, float("inf"), float("nan"), 1e300], ids=shown)
def test_numbers_that_an_integer_dtype_does_not_hold(refused: Any, dtype: str, value: Any) -> None:
    refused(lambda: ox.asarray([value], dtype=dtype), ValueError, dtype)
    refused(lambda: ox.full(2, value, dtype=dtype), ValueError, dtype)


@pytest.mark.parametrize("value", [2.5, -0.5, 1e-300, float("nan"), float("-inf")])
def test_full_does_not_drop_fractions(refused: Any, value: float) -> None:
    refused(lambda: ox.full((2,), value, dtype=ox.int8), ValueError, "int8", "whole")
    assert ox.full((2,), 2.0, dtype=ox.int8).tolist() == [2, 2]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_integers_beyond_the_range_of_float64(refused: Any, dtype: str) -> None:
    x = ox.asarray([1.0], dtype=dtype)
    refused(lambda: x + HUGE, ValueError, "float64")
    refused(lambda: ox.full(2, -HUGE, dtype=dtype), ValueError, "float64")
    refused(lambda: ox.asarray([HUGE], dtype=dtype), ValueError, "float64")
    assert x.tolist() == [1.0]


@pytest.mark.parametrize(
    ("value", "dtype", "wanted"),
    [
        (2**100 + 2**76 + 1, "float32", 2.0**100 + 2.0**77),  # through float64 first it would be a tie, to 2**100
        (2**100 + 2**76, "float32", 2.0**100),
        (2**60 + 2**52 + 1, "bfloat16", 2.0**60 + 2.0**53),
        (1 + 2.0**-8 + 2.0**-40, "bfloat16", 1 + 2.0**-7),  # through float32 first it would be a tie, to 1
        (1 + 2.0**-4 + 2.0**-40, "float8_e4m3fn", 1 + 2.0**-3),
        (1 + 2.0**-11 + 2.0**-40, "float16", 1 + 2.0**-10),
        (10**40, "float32", float("inf")),
        (-(10**40), "float32", float("-inf")),
        (1e40, "float32", float("inf")),
        (2**1023, "float64", 2.0**1023),
        (65520, "float16", float("inf")),
        (65519, "float16", 65504.0),
        (2**64, "complex64", 2.0**64),
    ],
)
def test_python_scalars_are_rounded_once(value: Any, dtype: str, wanted: float) -> None:
    assert ox.full((), value, dtype=dtype).item() == wanted
    if not dtype.startswith("float8"):
        assert ox.add(ox.zeros((), dtype=dtype), value).item() == wanted


@pytest.mark.parametrize("t", ALL, ids=str)
def test_every_dtype_pickles(t: ox.DType) -> None:
    x = ox.asarray([[0, 1, 1], [1, 0, 1]], dtype=t)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps((x, x.T, t), protocol))
        assert [(y.dtype, y.shape, y.tolist()) for y in again[:2]] == [(t, y.shape, y.tolist()) for y in (x, x.T)]
        assert again[2] is t


def test_errors_pickle() -> None:
    with pytest.raises(ox.ShapeError) as caught:
        ox.add(ox.zeros(2), ox.zeros(3))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.op) == (ox.ShapeError, str(caught.value), "add")


def test_pickles_of_damaged_content_do_not_crash() -> None:
    whole = pickle.dumps(ox.asarray([1.0, 2.0]))
    with pytest.raises((ValueError, pickle.UnpicklingError, EOFError)):
        pickle.loads(whole[:-8])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nan_and_infinity_pass_through(dtype: str, backend: str) -> None:
    inf, nan = float("inf"), float("nan")
    x = ox.asarray([inf, -inf, nan], dtype=dtype)
    with ox.policy(backends=backend):
        assert str(ox.subtract(x, x).tolist()) == "[nan, nan, nan]"
        assert ox.exp(x).tolist()[:2] == [inf, 0.0]
        assert str(ox.sin(x).tolist()) == "[nan, nan, nan]"
        assert str(ox.maximum(x, 0.0).tolist()) == "[inf, 0.0, nan]"
        assert str(ox.sum(x).item()) == str(ox.max(x).item()) == str(ox.min(x).item()) == "nan"
        assert ox.isnan(x).tolist() == [False, False, True]
        assert (x == x).tolist() == [True, True, False]
    with ox.policy(backends=(backend, "numpy")):
        assert str(ox.matmul(ox.reshape(x, (1, 3)), ox.zeros((3, 1), dtype=dtype)).item()) == "nan"


def test_nan_and_infinity_in_composites() -> None:
    inf, nan = float("inf"), float("nan")
    x = ox.asarray([inf, -inf, nan, 1.0])
    assert all(v != v for v in ox.softmax(x).tolist())
    assert ox.argmax(x).item() == 2
    assert str(ox.sort(x).tolist()) == "[-inf, 1.0, inf, nan]"
    assert ox.softmax(ox.asarray([-inf, 0.0])).tolist() == [0.0, 1.0]
    assert ox.logsumexp(ox.asarray([-inf, -inf])).item() == -inf
    assert str(ox.clip(x, 0.0, 1.0).tolist()) == "[1.0, 0.0, nan, 1.0]"
