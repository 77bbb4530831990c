"""Operands have the signatures asked for, and values on which kernels do not stumble."""

from __future__ import annotations

import numpy as np
import pytest

from opmux.conformance.performance.operands import Operands
from opmux.core.devices.device import find_device
from opmux.core.dtypes import ALL, bfloat16, float32, int64
from opmux.core.errors import OutOfMemoryError
from opmux.core.op import OPS
from opmux.core.signature import signature

CPU = find_device("cpu")


@pytest.mark.parametrize("t", ALL, ids=str)
def test_every_dtype_can_be_drawn(t: object) -> None:
    (x,) = Operands(CPU).of(OPS["copy"], [signature(CPU, t, (3, 100))], {})  # type: ignore[arg-type]
    assert x is not None
    assert (x.dtype, x.shape) == (t, (3, 100))


@pytest.mark.parametrize("strides", [(1, 3), (-4, 1), (0, 1), (5, -2)])
def test_strides_are_those_asked_for(strides: tuple[int, int]) -> None:
    (x,) = Operands(CPU).of(OPS["copy"], [signature(CPU, float32, (3, 3), strides)], {})
    assert x is not None
    assert x._sig.strides == strides
    assert ((x.numpy() > 0) & (x.numpy() < 1)).all()


def test_indices_are_within_their_axis() -> None:
    sigs = [signature(CPU, float32, (5, 7)), signature(CPU, int64, (100_000,))]
    _, indices = Operands(CPU).of(OPS["gather"], sigs, {"axis": 1})
    assert indices is not None
    assert set(np.unique(indices.numpy())) == set(range(7))


def test_a_table_to_search_is_sorted_also_where_values_repeat() -> None:
    table, _ = Operands(CPU).of(OPS["searchsorted"], [signature(CPU, bfloat16, (100_000,))] * 2, {})
    assert table is not None
    assert (np.diff(table.numpy().astype(np.float32)) >= 0).all()


def test_products_of_many_stay_in_range() -> None:
    (x,) = Operands(CPU).of(OPS["cumulative_prod"], [signature(CPU, float32, (4000,))], {"axis": 0})
    assert x is not None
    assert np.cumprod(x.numpy(), dtype=np.float64).min() > 1e-30


def test_equal_operands_are_made_once_and_the_oldest_dropped() -> None:
    kept = Operands(CPU, most_bytes=100)
    first, second = signature(CPU, float32, (20,)), signature(CPU, float32, (21,))
    (x,), (y,) = kept.of(OPS["copy"], [first], {}), kept.of(OPS["copy"], [first], {})
    assert x is y
    kept.of(OPS["copy"], [second], {})
    assert kept.of(OPS["copy"], [first], {})[0] is not x


def test_operands_larger_than_memory_are_a_typed_error() -> None:
    with pytest.raises(OutOfMemoryError, match="GiB"):
        Operands(CPU).of(OPS["copy"], [signature(CPU, float32, (1 << 40,))], {})
