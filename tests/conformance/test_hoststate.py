"""A kernel that leaves the host's arithmetic changed fails, whatever its results are."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from opmux.conformance import hoststate
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from tests.conformance.zoo import Zoo, exp, kernel, registered

LIBM = ctypes.CDLL(None)
UPWARD, NEAREST = 0x800, 0x0  # of x86-64's fenv.h


@contextmanager
def _rounding(mode: int) -> Iterator[None]:
    LIBM.fesetround(mode)
    try:
        yield
    finally:
        LIBM.fesetround(NEAREST)


def test_the_host_is_as_it_should_be() -> None:
    assert list(hoststate.faults()) == []


def test_numpy_error_handling_left_changed_is_a_fault() -> None:
    with np.errstate(over="raise"):
        assert list(hoststate.faults()) == ["numpy.seterr was changed"]


@pytest.mark.skipif(__import__("platform").machine() != "x86_64", reason="the constants are of x86-64's fenv.h")
def test_another_rounding_mode_is_a_fault() -> None:
    with _rounding(UPWARD):
        found = list(hoststate.faults())
    assert found == ["results are not rounded to the nearest"]


@pytest.mark.skipif(__import__("platform").machine() != "x86_64", reason="the constants are of x86-64's fenv.h")
def test_a_kernel_that_leaves_the_rounding_mode_changed_fails() -> None:
    def compute(spec: Any, out: Any, x: Any) -> None:
        exp(spec, out, x)
        LIBM.fesetround(UPWARD)

    with registered("zoo-rounding", Zoo([kernel("exp", compute)])) as name, _rounding(NEAREST):
        selection = Selection((name,), ops=("exp",), dtypes=("float32",), cases=("exp-float32-values",), isolate=False)
        (result,) = run(selection).cases
    assert result.outcome.value == "fail"
    assert "the host's arithmetic" in result.message
