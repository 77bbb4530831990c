"""Conversion, promotion, kinds and limits of dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import opmux as ox


def test_astype_converts_and_copies() -> None:
    x = ox.asarray([1.7, -1.7])
    assert ox.astype(x, "int32").tolist() == [1, -1]
    assert ox.astype(x, x.dtype, copy=False) is x
    assert ox.astype(x, x.dtype) is not x


def test_astype_refuses_what_is_no_array() -> None:
    with pytest.raises(ox.ArgumentTypeError, match="asarray"):
        ox.astype([1.0], ox.int32)  # type: ignore[arg-type]


def test_can_cast_follows_the_promotion_table() -> None:
    assert ox.can_cast(ox.int8, ox.int16)
    assert ox.can_cast(ox.bfloat16, ox.float32)
    assert not ox.can_cast(ox.bfloat16, ox.float16)
    assert not ox.can_cast(ox.int8, ox.float64)
    assert not ox.can_cast(ox.uint64, ox.int64)
    assert ox.can_cast(ox.asarray([1], dtype=ox.uint8), "int16")


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_finfo_agrees_with_numpy(name: str) -> None:
    found, wanted = ox.finfo(name), np.finfo(name)
    assert (found.bits, found.dtype.name) == (wanted.bits, name)
    assert (found.eps, found.max, found.min) == (float(wanted.eps), float(wanted.max), float(wanted.min))
    assert found.smallest_normal == float(wanted.smallest_normal)


def test_finfo_of_bfloat16_and_of_complex() -> None:
    assert ox.finfo(ox.bfloat16).eps == float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps) == 2.0**-7
    assert ox.finfo(ox.complex64) == ox.finfo(ox.float32)
    with pytest.raises(ox.DTypeError, match="iinfo"):
        ox.finfo(ox.int8)


def test_iinfo() -> None:
    found = ox.iinfo(ox.asarray([1], dtype=ox.uint16))
    assert (found.bits, found.min, found.max, found.dtype) == (16, 0, 65535, ox.uint16)
    with pytest.raises(ox.DTypeError, match="finfo"):
        ox.iinfo(ox.float32)


def test_isdtype_by_kind_dtype_and_tuple() -> None:
    assert ox.isdtype(ox.uint8, "unsigned integer")
    assert ox.isdtype(ox.uint8, ("bool", "integral"))
    assert ox.isdtype(ox.float32, (ox.float64, ox.float32))
    assert not ox.isdtype(ox.bool, "numeric")
    with pytest.raises(ox.ArgumentError, match="signed integer"):
        ox.isdtype(ox.int8, "integer")


def test_result_type_takes_scalars_as_weak() -> None:
    assert ox.result_type(ox.float16, 3.0) is ox.float16
    assert ox.result_type(ox.asarray([1], dtype=ox.uint8), ox.int8) is ox.int16
    assert ox.result_type(ox.float32, 1j) is ox.complex64
    with pytest.raises(ox.DTypeError, match="do not promote"):
        ox.result_type(ox.int32, ox.float32)
    with pytest.raises(ox.ArgumentTypeError, match="at least one"):
        ox.result_type(1, 2.0)
