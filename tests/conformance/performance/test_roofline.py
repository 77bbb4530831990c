"""The roofline of known probes: the fastest counts, between them it is interpolated, and it says what binds a call."""

from __future__ import annotations

import pytest

from opmux.conformance.performance.roofline import Arithmetic, Roofline, Transfer, roofline_of
from opmux.core.op import Work

ROOF = roofline_of(
    1e-6,
    [Transfer(1e4, 2e-6, "copy"), Transfer(1e6, 2e-4, "copy"), Transfer(1e6, 1e-4, "add")],
    [Arithmetic("float32", 1e11, "matmul by numpy"), Arithmetic("float32", 1e9, "add")],
)


def test_the_fastest_probe_counts() -> None:
    assert ROOF.transfer_seconds(1e6) == 1e-4
    assert ROOF.flops_for("float32") == 1e11
    assert ROOF.flops_for("int8") is None


def test_traffic_between_below_and_beyond_the_probes() -> None:
    assert ROOF.transfer_seconds(1e5) == pytest.approx((2e-6 * 1e-4) ** 0.5)
    assert ROOF.transfer_seconds(0) == 1e-6
    assert ROOF.transfer_seconds(5e3) == pytest.approx(1.5e-6)
    assert ROOF.transfer_seconds(1e7) == pytest.approx(1e-3)
    assert ROOF.bandwidth_at(1e6) == pytest.approx(1e10)


@pytest.mark.parametrize(
    ("flops", "nbytes", "seconds", "bound"),
    [(10, 64, 1.0064e-6, "launch"), (1e3, 1e6, 1e-4, "memory"), (1e9, 1e6, 1e-2, "compute")],
)
def test_what_binds_a_call(flops: float, nbytes: float, seconds: float, bound: str) -> None:
    floor = ROOF.floor(Work(flops, nbytes), "float32")
    assert (floor.seconds, floor.bound) == (pytest.approx(seconds), bound)


def test_a_dtype_whose_arithmetic_is_not_known_is_bound_by_memory() -> None:
    assert ROOF.floor(Work(1e12, 1e6), "int8").bound == "memory"


def test_more_bytes_never_take_less_time() -> None:
    roof = roofline_of(1e-6, [Transfer(1e4, 9e-6, "noise"), Transfer(1e6, 5e-6, "copy")], [])
    assert roof.transfer_seconds(1e4) == 5e-6


def test_no_transfer_is_faster_than_a_launch() -> None:
    assert roofline_of(1e-6, [Transfer(16.0, 5e-7, "copy")], []).transfer_seconds(16) == 1e-6


def test_it_survives_json() -> None:
    assert Roofline.from_dict(ROOF.to_dict()) == ROOF
