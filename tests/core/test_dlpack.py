"""DLPack and the buffer protocol, both ways."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays import dlpack
from opmux.core.dtypes import ALL, DType
from opmux.core.errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError

VERSIONED = (1, 0)


def capsule_name(capsule: Any) -> str:
    get = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    return get(capsule).decode()


class Exporter:
    """An object that exports what it is told to, as an old exporter does if *legacy*."""

    def __init__(self, source: Any, *, legacy: bool = False, device: tuple[int, int] = (1, 0)) -> None:
        self.source, self.legacy, self.device = source, legacy, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **asked: Any) -> Any:
        if self.legacy and asked:
            raise TypeError("unexpected keyword")
        return self.source.__dlpack__(**asked)


@pytest.mark.parametrize("t", ALL, ids=str)
@pytest.mark.parametrize("legacy", [False, True], ids=["versioned", "legacy"])
def test_every_dtype_goes_out_and_comes_back(t: DType, legacy: bool) -> None:
    x = ox.asarray([[0, 1], [1, 0]], dtype=t)
    y = ox.from_dlpack(Exporter(x, legacy=legacy))
    assert (y.dtype, y.shape, y.tolist()) == (t, (2, 2), x.tolist())


def test_numpy_sees_the_memory_read_only() -> None:
    x = ox.asarray(np.arange(6.0).reshape(2, 3))[:, ::-1]
    seen = np.from_dlpack(x)
    assert np.shares_memory(seen, x.numpy())
    assert not seen.flags.writeable
    assert seen.tolist() == [[2, 1, 0], [5, 4, 3]]


def test_a_consumer_that_cannot_be_told_gets_its_own_copy() -> None:
    x = ox.asarray([1.0, 2.0])
    capsule = x.__dlpack__()
    assert capsule_name(capsule) == "dltensor"
    del capsule
    theirs = ox.from_dlpack(Exporter(x, legacy=True))
    assert not np.shares_memory(theirs.numpy(), x.numpy())
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__(copy=False)


def test_a_copy_asked_for_is_writable_and_private() -> None:
    x = ox.asarray([1.0, 2.0])
    theirs = np.from_dlpack(x, copy=True)
    theirs[0] = 9
    assert x.tolist() == [1, 2]


def test_a_library_that_writes_read_only_memory_gets_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    x = ox.asarray([1.0, 2.0])
    monkeypatch.setattr(dlpack, "_CARELESS", ("sys",))
    assert not np.shares_memory(np.from_dlpack(x), x.numpy())
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.numpy())


def test_an_export_that_nobody_takes_is_released() -> None:
    before = len(dlpack._exports)
    capsule = ox.asarray([1.0]).__dlpack__(max_version=VERSIONED)
    assert len(dlpack._exports) == before + 1
    del capsule
    assert len(dlpack._exports) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the consumer's reason, printed
def test_a_consumer_that_refuses_the_dtype_leaves_nothing_behind() -> None:
    before = len(dlpack._exports)
    with pytest.raises((SystemError, RuntimeError, BufferError)):  # NumPy drops the capsule with its own error set
        np.from_dlpack(ox.ones((4,), dtype="bfloat16"))
    assert len(dlpack._exports) == before


def test_an_export_is_released_with_its_consumer() -> None:
    before = len(dlpack._exports)
    seen = np.from_dlpack(ox.asarray([1.0, 2.0]))
    gc.collect()
    assert seen.tolist() == [1, 2]
    assert len(dlpack._exports) == before + 1
    del seen
    assert len(dlpack._exports) == before


def test_an_import_calls_the_deleter_once_its_last_view_is_gone() -> None:
    class Owner:
        values = np.arange(4.0)
        __array_interface__ = values.__array_interface__

    owner = Owner()
    gone = weakref.ref(owner)
    part = ox.from_dlpack(np.array(owner, copy=False))[2:]
    del owner
    gc.collect()
    assert gone() is not None
    assert part.tolist() == [2, 3]
    del part
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "values",
    [np.arange(6).reshape(2, 3).T, np.zeros((0, 3)), np.arange(2)[::-1], np.array(3), np.broadcast_to(1.5, (2, 2))],
    ids=["transposed", "empty", "backwards", "no axes", "repeated"],
)
def test_numpy_memory_of_any_shape_comes_in(values: np.ndarray) -> None:
    x = ox.from_dlpack(values)
    assert (x.shape, x.tolist()) == (values.shape, values.tolist())


def test_a_snapshot_shares_nothing() -> None:
    values = np.arange(3.0)
    x = ox.from_dlpack(values, copy=True)
    values[0] = 9
    assert x.tolist() == [0, 1, 2]


def test_unaligned_memory_is_copied() -> None:
    values = np.frombuffer(bytes(range(9)), np.uint8)[1:].view("<i4")
    with pytest.raises(ArgumentError, match="copy"):
        ox.from_dlpack(values, copy=False)
    assert ox.from_dlpack(values).tolist() == values.tolist()


def test_what_exports_nothing_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="__dlpack__"):
        ox.from_dlpack([1, 2])


def test_foreign_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="device type 2"):
        ox.from_dlpack(Exporter(np.zeros(2), device=(2, 0)))


def test_an_exporters_refusal_is_typed() -> None:
    class Refuses(Exporter):
        def __dlpack__(self, **asked: Any) -> Any:
            raise BufferError("not today")

    with pytest.raises(ArgumentError, match="not today"):
        ox.from_dlpack(Refuses(None))


def test_a_capsule_is_consumed_once() -> None:
    class Same(Exporter):
        def __dlpack__(self, **asked: Any) -> Any:
            return self.source

    once = Same(np.zeros(2).__dlpack__(max_version=VERSIONED))
    ox.from_dlpack(once)
    with pytest.raises(ArgumentTypeError, match="once"):
        ox.from_dlpack(once)


def test_unknown_type_codes_are_refused() -> None:
    capsule = ox.asarray([1.0]).__dlpack__(max_version=VERSIONED)
    (address, (managed, *_)) = list(dlpack._exports.items())[-1]
    managed.tensor.lanes = 4

    class Vectors(Exporter):
        def __dlpack__(self, **asked: Any) -> Any:
            return capsule

    with pytest.raises(DTypeError, match="4 lanes"):
        ox.from_dlpack(Vectors(None))
    gc.collect()
    assert address not in dlpack._exports


def test_a_stream_or_another_device_is_refused() -> None:
    x = ox.asarray([1.0])
    with pytest.raises(BufferError, match="stream"):
        x.__dlpack__(stream=1)
    with pytest.raises(BufferError, match="dl_device"):
        x.__dlpack__(dl_device=(2, 0))


def test_off_cpu_nothing_is_exported_unless_the_host_is_asked_for(far: object) -> None:
    x = ox.asarray([1.0, 2.0], device="far")
    for export in (x.__dlpack_device__, x.__dlpack__, lambda: np.from_dlpack(x), lambda: memoryview(np.asarray(x))):
        with pytest.raises(DeviceError, match="to_device"):
            export()
    capsule = x.__dlpack__(dl_device=(1, 0), max_version=VERSIONED)
    assert capsule_name(capsule) == "dltensor_versioned"


def test_asarray_of_numpy_is_a_read_only_view() -> None:
    x = ox.asarray([[1.0, 2.0]])
    seen = np.asarray(x)
    assert np.shares_memory(seen, x.numpy())
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0] = 9
    with pytest.raises(ValueError, match="WRITEABLE"):
        seen.flags.writeable = True


def test_numpy_copies_and_converts_by_its_rules() -> None:
    x = ox.asarray([1.5, 2.5])
    copied = np.array(x, copy=True)
    copied[0] = 9
    assert x.tolist() == [1.5, 2.5]
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)


def test_numpy_of_an_array_off_cpu_says_what_to_do(far: object) -> None:
    with pytest.raises(DeviceError, match=r"to_device\('cpu'\)"):
        np.asarray(ox.asarray([1.0], device="far"))


def test_the_buffer_protocol_is_read_only() -> None:
    x = ox.asarray([1, 2, 3])
    shown = x.__buffer__(0)
    assert (shown.readonly, shown.tolist()) == (True, [1, 2, 3])
    with pytest.raises(BufferError, match="read-only"):
        x.__buffer__(1)
    with pytest.raises(BufferError, match="bfloat16"):
        ox.asarray([1.0], dtype="bfloat16").__buffer__(0)


class TestTorch:
    """With PyTorch, where it is installed."""

    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")

    @pytest.mark.parametrize("name", ["bfloat16", "float32", "bool", "complex64", "uint8", "float8_e5m2"])
    def test_both_ways(self, torch: Any, name: str) -> None:
        theirs = torch.tensor([[0, 1], [1, 1]]).to(getattr(torch, name)).T
        ours = ox.asarray(theirs, copy=False)
        assert (ours.dtype.name, ours.ptr, ours.strides) == (name, theirs.data_ptr(), (1, 2))
        back = torch.from_dlpack(ours)
        assert torch.equal(back.to(torch.complex128), theirs.to(torch.complex128))

    def test_writing_to_the_tensor_does_not_change_the_array(self, torch: Any) -> None:
        x = ox.asarray([1.0, 2.0])
        torch.from_dlpack(x)[0] = 9
        assert x.tolist() == [1, 2]

    def test_a_tensor_with_gradients_is_refused(self, torch: Any) -> None:
        with pytest.raises(ArgumentError, match="grad"):
            ox.from_dlpack(torch.zeros(2, requires_grad=True))
