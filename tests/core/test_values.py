"""Arrays are values: what one handle becomes, nobody else sees."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays.array import Array, alias
from opmux.core.arrays.ownership import consume, is_sole_owner
from opmux.core.devices.status import Status
from opmux.core.errors import ConsumedError, DeviceError, KernelError
from opmux.core.graphs.trace import ConcreteValueNeededError, Tracer
from opmux.core.kernel import ArraySpec

SEERS: dict[str, Callable[[Array], Any]] = {
    "alias": alias,
    "view": lambda x: x[:],
    "transpose": lambda x: x.T,
    "reshape": lambda x: ox.reshape(x, -1),
    "broadcast": lambda x: ox.broadcast_to(x, x.shape),
    "asarray": ox.asarray,
    "to_device": lambda x: x.to_device("cpu"),
    "from_dlpack": ox.from_dlpack,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "numpy": np.asarray,
    "buffer": lambda x: memoryview(np.asarray(x)),
    "dlpack": np.from_dlpack,
}


@pytest.mark.parametrize("seer", SEERS)
def test_writing_does_not_show_elsewhere(seer: str) -> None:
    x = ox.asarray([[1, 2], [3, 4]])
    seen = SEERS[seer](x)
    before = seen.tolist()
    x[0, 0] = 9
    assert seen.tolist() == before
    assert x.tolist() == [[9, 2], [3, 4]]


@pytest.mark.parametrize("seer", ["alias", "view", "transpose", "asarray", "to_device", "from_dlpack", "copy"])
def test_writing_to_a_view_does_not_change_its_source(seer: str) -> None:
    x = ox.asarray([[1, 2], [3, 4]])
    other = SEERS[seer](x)
    other[0, 0] = 9
    assert x.tolist() == [[1, 2], [3, 4]]
    assert other[0, 0].item() == 9


def test_writing_does_not_change_imported_memory() -> None:
    values = np.arange(3)
    x = ox.asarray(values, copy=False)
    x[0] = 9
    assert (values.tolist(), x.tolist()) == ([0, 1, 2], [9, 1, 2])


def test_a_graph_keeps_the_value_it_captured() -> None:
    x = ox.asarray([1, 2])
    tracer = Tracer(x.device, [ArraySpec(x.dtype, (2,))])
    graph = tracer.freeze([ox.add(tracer.inputs()[0], x)])
    x[0] = 9
    assert graph.constants[0].tolist() == [1, 2]


def test_a_sole_owner_is_written_in_place() -> None:
    x = ox.asarray([1, 2, 3])
    address = x.ptr
    x[0] = 9
    x[1:] = [8, 7]
    x[x > 8] = 0
    assert (x.ptr, x.tolist()) == (address, [0, 8, 7])


def test_ownership_returns_with_the_last_other_handle() -> None:
    x = ox.asarray([1, 2, 3])
    others = [seer(ox.reshape(x, (1, 3))) for seer in SEERS.values()]
    assert not is_sole_owner(x)
    del others
    gc.collect()
    assert is_sole_owner(x)


def test_ownership_does_not_depend_on_who_asks() -> None:
    x = ox.asarray([1])

    def deep(n: int, y: Array) -> bool:
        return deep(n - 1, y) if n else is_sole_owner(y)

    held = [x, {"again": x}]
    assert deep(20, x)
    assert held


def test_overlapping_source_is_read_before_it_is_written() -> None:
    x = ox.asarray([1, 2, 3, 4])
    x[1:] = x[:-1]
    assert x.tolist() == [1, 1, 2, 3]
    x[::-1] = x
    assert x.tolist() == [3, 2, 1, 1]
    y = ox.asarray([2, 0, 1])
    y[y] = y
    assert y.tolist() == [0, 1, 2]


def test_writing_a_repeated_view_changes_one_element() -> None:
    x = ox.broadcast_to(ox.asarray([1, 2]), (2, 2))
    assert is_sole_owner(x)
    x[0, 0] = 9
    assert x.tolist() == [[9, 2], [1, 2]]


def test_writing_a_strided_view_that_is_alone() -> None:
    x = ox.asarray([0, 1, 2, 3, 4, 5])[::-2]
    x[0] = 9
    assert x.tolist() == [9, 3, 1]


def test_a_failed_write_changes_nothing() -> None:
    x = ox.asarray([1, 2])
    with pytest.raises(ValueError, match="broadcast"):
        x[:] = [1, 2, 3]
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("holder", ["view", "alias", "numpy", "dlpack"])
def test_an_array_that_somebody_sees_cannot_be_consumed(holder: str) -> None:
    x = ox.asarray([[1.0]])
    seen = SEERS[holder](x)
    with pytest.raises(ValueError, match="nothing else sees"):
        consume(x)
    del seen
    gc.collect()
    consume(x)


def test_an_import_cannot_be_consumed() -> None:
    with pytest.raises(ValueError, match="imported"):
        consume(ox.asarray(np.zeros(2)))


@pytest.mark.parametrize(
    "use", [lambda x: x.shape, lambda x: x[0], Array.numpy, Array.tolist, ox.asarray, np.asarray, pickle.dumps, alias]
)
def test_a_consumed_handle_is_unusable(use: Callable[[Array], Any]) -> None:
    x = ox.asarray([1.0])
    consume(x)
    with pytest.raises(ConsumedError, match="consumed"):
        use(x)
    with pytest.raises(ConsumedError, match="consumed"):
        x[0] = 1.0


def test_a_late_failure_is_raised_by_every_way_to_read() -> None:
    class Failed:
        def done(self) -> bool:
            return True

        def error(self) -> BaseException:
            return RuntimeError("boom")

    for read in (np.asarray, memoryview_of, pickle.dumps, lambda x: x.tolist(), np.from_dlpack, lambda x: x.item()):
        x = ox.asarray([1.0])
        x._buffer.status = Status(Failed(), (), "exp", "exp.fast", "acme")
        with pytest.raises(KernelError, match=r"exp failed.*acme.*boom"):
            read(x)
        with pytest.raises(KernelError, match="boom"):
            x[0] = 1.0


def memoryview_of(x: Array) -> memoryview:
    return x.__buffer__(0)


@pytest.mark.parametrize("read", [np.asarray, pickle.dumps, bool, float, Array.tolist, lambda x: x.to_device("far")])
def test_capture_has_no_values_to_read(far: object, read: Callable[[Array], Any]) -> None:
    tracer = Tracer(ox.asarray(0).device, [ArraySpec(ox.asarray(0.0).dtype, ())])
    with pytest.raises(ConcreteValueNeededError, match="value"):
        read(tracer.inputs()[0])


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "float32", "complex128", "float8_e4m3fn"])
def test_pickling_keeps_dtype_shape_and_values(dtype: str) -> None:
    x = ox.asarray([[0, 1, 1], [1, 0, 1]], dtype=dtype).T
    y = pickle.loads(pickle.dumps(x))
    assert (y.dtype, y.shape, y.tolist()) == (x.dtype, (3, 2), x.tolist())
    assert is_sole_owner(y)


def test_pickling_keeps_the_device(far: object) -> None:
    y = pickle.loads(pickle.dumps(ox.asarray([1, 2], device="far")))
    assert (y.device.name, y.tolist()) == ("far:0", [1, 2])


@pytest.mark.parametrize("key", [slice(None), (slice(None), 0), (slice(None, None, -1), slice(None, None, 3))], ids=str)
def test_strided_arrays_travel_between_devices(far: object, key: Any) -> None:
    values = np.arange(60.0).reshape(6, 10)
    there = ox.asarray(values, device="far")[key]
    back = there.to_device("cpu")
    assert back.tolist() == there.tolist() == values[key].tolist()
    assert ox.asarray(values)[key].to_device("far").tolist() == values[key].tolist()


def test_memory_comes_back_from_another_device(far: Any) -> None:
    x = ox.asarray([1, 2], device="far")
    held = len(far.driver.memory)
    del x
    assert len(far.driver.memory) == held - 1


def test_the_namespace_answers_for_versions_of_the_standard() -> None:
    x = ox.asarray(1)
    assert x.__array_namespace__(api_version="2024.12").__name__ == "opmux"
    with pytest.raises(ValueError, match=r"1999\.01"):
        x.__array_namespace__(api_version="1999.01")


def test_host_access_to_another_device_is_refused(far: object) -> None:
    with pytest.raises(DeviceError, match="cannot address"):
        ox.asarray([1], device="far").host
