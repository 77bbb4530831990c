"""What arrays look like."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays.ownership import consume
from opmux.core.devices.status import Status
from opmux.core.errors import DeviceLostError
from opmux.core.graphs.trace import Tracer
from opmux.core.kernel import ArraySpec


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([[1.0, 2.0]], None, "Array([[1., 2.]], dtype=float32, device=cpu:0)"),
        (5, None, "Array(5, dtype=int64, device=cpu:0)"),
        ([True], None, "Array([ True], dtype=bool, device=cpu:0)"),
        ([1j], None, "Array([0.+1.j], dtype=complex64, device=cpu:0)"),
        ([], None, "Array([], shape=(0,), dtype=float32, device=cpu:0)"),
        (
            [0.1, 448, -0.5, 1e30, float("inf"), float("nan")],
            "bfloat16",
            "Array([0.1, 448., -0.5, 1e+30, inf, nan], dtype=bfloat16, device=cpu:0)",
        ),
        ([0.1, 448], "float8_e4m3fn", "Array([0.1, 448.], dtype=float8_e4m3fn, device=cpu:0)"),
    ],
)
def test_repr_shows_values_dtype_and_device(values: object, dtype: str | None, expected: str) -> None:
    assert repr(ox.asarray(values, dtype=dtype)) == expected


def test_every_narrow_float_is_read_back_from_what_is_shown() -> None:
    x = ox.asarray(np.arange(0, 0x7F80, 37, dtype=np.uint16).view(ox.asarray(0, dtype="bfloat16").numpy().dtype))
    for shown, value in zip((str(x[i]) for i in range(x.shape[0])), x.tolist(), strict=True):
        assert ox.asarray(float(shown), dtype="bfloat16").item() == value


def test_large_arrays_are_summarised() -> None:
    shown = repr(ox.asarray(np.zeros((100, 100))))
    assert "..." in shown
    assert shown.endswith("shape=(100, 100), dtype=float64, device=cpu:0)")
    assert len(shown) < 600


def test_str_is_like_numpys() -> None:
    values = np.arange(6.0).reshape(2, 3)
    assert str(ox.asarray(values)) == str(values)
    assert str(ox.asarray(2.5)) == "2.5"


def test_arrays_off_cpu_are_shown(far: object) -> None:
    assert repr(ox.asarray([[1, 2], [3, 4]], device="far").T) == (
        "Array([[1, 3],\n       [2, 4]], dtype=int64, device=far:0)"
    )


def test_a_consumed_handle_is_shown() -> None:
    x = ox.asarray([1.0])
    consume(x)
    assert (repr(x), str(x)) == ("<consumed array>", "<consumed array>")


def test_a_failed_array_says_why_and_nobody_counts_as_told() -> None:
    class Failed:
        def done(self) -> bool:
            return True

        def error(self) -> BaseException:
            return RuntimeError("boom")

    x = ox.asarray([1.0])
    x._buffer.status = Status(Failed(), (), "exp", "exp.fast", "acme")
    assert "boom" in repr(x)
    assert "boom" in str(x)
    assert not x._buffer.status.seen()


def test_an_array_on_a_lost_device_says_so(far: object) -> None:
    x = ox.asarray([1.0], device="far")
    x.device.lose(DeviceLostError("far:0 is gone", device="far:0"))
    assert "far:0 is gone" in repr(x)


def test_a_stand_in_shows_no_values() -> None:
    tracer = Tracer(ox.asarray(0).device, [ArraySpec(ox.asarray(0.0).dtype, (2, 3))])
    assert repr(tracer.inputs()[0]) == str(tracer.inputs()[0]) == "Traced(%0, float32[2, 3])"
