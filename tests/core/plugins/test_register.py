"""Backends that a program registers itself, and what is checked of every backend before it is registered."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from opmux.core import runtime
from opmux.core.devices.device import DEVICES, DeviceTable
from opmux.core.dispatch.registry import REGISTRY, Registry
from opmux.core.errors import DeviceError, PluginError
from opmux.core.op import Op, OpTable
from opmux.core.plugins import manager, validate
from opmux.core.plugins.examine import Offer
from opmux.core.plugins.status import State
from opmux.plugin import DeviceInfo, Kernel, hookimpl

KERNEL = Kernel("double", "twice", "cpu", lambda spec: None)


class Driver:
    """The smallest device."""

    def __init__(self, kind="toy"):
        self.info = DeviceInfo(kind, "toy", 1024)

    def open_queue(self):
        return object()

    def alloc(self, nbytes, queue):
        return np.zeros(nbytes, np.uint8)

    def free(self, handle, last_uses):
        pass

    def pointer(self, handle, offset):
        return handle

    def upload(self, handle, offset, source, queue):
        pass

    def download(self, target, handle, offset, queue):
        pass

    def record(self, queue):
        return None

    def wait(self, queue, event):
        pass

    def synchronize(self, queue):
        pass


class Toy:
    """A backend with two devices."""

    @hookimpl
    def opmux_devices(self):
        return [Driver(), Driver()]

    @hookimpl
    def opmux_profiles(self):
        return ["core-f32"]


@pytest.fixture
def clean(monkeypatch):
    """A process whose backends are loaded, without the toy before and after."""
    monkeypatch.setattr(runtime, "_loaded", True)
    yield
    if "toy" in {s.name for s in manager.status()}:
        manager.unregister("toy")


def faults(offer, claimed=("toy",)):
    """The faults of an offer, against a table with the one op ``twice`` and no devices."""
    ops = OpTable()
    ops.add(Op("twice", (), None, None))
    with pytest.raises(PluginError) as error:
        validate.check("acme", offer, claimed, registry=Registry(ops), devices=DeviceTable())
    assert error.value.reason == "invalid"
    return error.value.faults


@pytest.mark.usefixtures("clean")
class TestRegister:
    def test_devices_and_profiles_are_there_then_gone(self):
        status = manager.register("toy", Toy(), version="3")
        assert (status.state, status.devices, status.profiles) == (State.READY, ("toy:0", "toy:1"), ("core-f32",))
        assert DEVICES.find("toy:1").owner == "toy"
        assert REGISTRY.contributions["toy"].version == "3"
        manager.unregister("toy")
        assert "toy" not in REGISTRY.contributions
        with pytest.raises(DeviceError):
            DEVICES.find("toy:1")

    def test_taken_name(self):
        manager.register("toy", Toy())
        with pytest.raises(PluginError, match="'toy' is taken by a backend registered by this program"):
            manager.register("toy", Toy())
        assert DEVICES.find("toy:1").owner == "toy"

    def test_name_that_is_no_word(self):
        with pytest.raises(PluginError, match="lower-case"):
            manager.register("My Toy", Toy())

    def test_nothing_stays_of_a_backend_with_a_fault(self):
        class Faulty(Toy):
            @hookimpl
            def opmux_kernels(self):
                return [replace(KERNEL, op="no_such_op")]

        with pytest.raises(PluginError, match="no_such_op"):
            manager.register("toy", Faulty())
        assert "toy" not in {d.kind for d in DEVICES}
        assert "toy" not in {s.name for s in manager.status()}

    def test_nothing_stays_when_registering_fails_half_way(self, monkeypatch):
        def fail(contribution):
            raise RuntimeError("half way")

        monkeypatch.setattr(REGISTRY, "add", fail)
        with pytest.raises(PluginError, match="half way"):
            manager.register("toy", Toy())
        assert "toy" not in {d.kind for d in DEVICES}

    def test_device_kind_of_another_backend(self):
        manager.register("toy", Toy())
        with pytest.raises(PluginError, match="kind 'toy' is owned by toy already"):
            manager.register("toy-two", Toy())

    def test_cpu_belongs_to_opmux(self):
        thief = SimpleNamespace(opmux_devices=hookimpl(lambda: [Driver("cpu")]))
        with pytest.raises(PluginError, match="kind 'cpu' is owned by opmux already"):
            manager.register("thief", thief)

    def test_error_has_the_vendors_own_signature(self):
        class Wrong:
            @hookimpl
            def opmux_devices(self, config, verbose=False):
                return []

        with pytest.raises(PluginError, match=r"opmux_devices\(config, verbose=False\) is called without arguments"):
            manager.register("toy", Wrong())

    def test_endless_hook(self):
        def endless():
            while True:
                yield Driver()

        with pytest.raises(PluginError, match="looks endless"):
            manager.register("toy", SimpleNamespace(opmux_devices=hookimpl(endless)))

    def test_unregister_of_an_unknown_name_suggests_one(self):
        manager.register("toy", Toy())
        with pytest.raises(PluginError, match="no backend 'toyy'; did you mean 'toy'"):
            manager.unregister("toyy")

    def test_load_one_of_an_unknown_name_says_what_there_is(self):
        with pytest.raises(PluginError, match=r"no backend 'numpi'; did you mean 'numpy'\? there are .*llvm"):
            manager.load_one("numpi")


class TestCheck:
    def test_good_offer_has_no_fault(self):
        ops = OpTable()
        ops.add(Op("twice", (), None, None))
        compiler = SimpleNamespace(device="cpu", compile=lambda graph, device: None)
        offer = Offer((Driver(),), (KERNEL,), (compiler,), ("p",))
        validate.check("acme", offer, ("toy",), registry=Registry(ops), devices=DeviceTable())

    @pytest.mark.parametrize(
        ("kernels", "said"),
        [
            ((7,), "kernel 0 is 7, not a Kernel"),
            ((replace(KERNEL, op="none"),), "implements 'none', which is not an op"),
            ((replace(KERNEL, op=["twice"]),), "op is ['twice'], not str"),
            ((replace(KERNEL, prepare=None),), "it has no method prepare"),
            ((replace(KERNEL, prepare=lambda spec, device: None),), "cannot be called with 1 argument(s)"),
            ((replace(KERNEL, accepts={}),), "accepts is {}, not Accepts"),
            ((KERNEL, KERNEL), "kernel name 'double' is given twice"),
        ],
    )
    def test_kernels(self, kernels, said):
        (fault,) = faults(Offer(kernels=kernels))
        assert said in fault

    def test_driver_without_a_method_and_with_a_wrong_one(self):
        class Half(Driver):
            record = None

            def alloc(self, nbytes):
                return None

        assert faults(Offer(devices=(Half(),))) == (
            "device 0 (Half): alloc(nbytes) cannot be called with 2 argument(s)",
            "device 0 (Half): it has no method record",
        )

    @pytest.mark.parametrize("kind", ["Toy", "", 3, "to:y"])
    def test_device_kind_that_is_no_word(self, kind):
        assert "is not a lower-case word" in faults(Offer(devices=(Driver(kind),)))[0]

    def test_device_kind_that_the_manifest_does_not_claim(self):
        assert "not among the manifest's devices (none)" in faults(Offer(devices=(Driver(),)), ())[0]

    def test_region_compiler(self):
        found = faults(Offer(compilers=(SimpleNamespace(device=None),)))
        assert [fault.split(": ", 1)[1] for fault in found] == [
            "device is not the name of a device kind",
            "it has no method compile",
        ]

    def test_profile(self):
        assert faults(Offer(profiles=(3,))) == ("profile 3 is not a string",)

    def test_property_that_fails_keeps_its_traceback(self):
        class Broken(Driver):
            info = property(lambda self: 1 / 0)

            def __init__(self):
                pass

        with pytest.raises(PluginError, match="ZeroDivisionError") as error:
            validate.check("acme", Offer(devices=(Broken(),)), ())
        assert "in <lambda>" in error.value.detail

    def test_message_is_short_and_the_detail_whole(self):
        with pytest.raises(PluginError, match="and 16 more") as error:
            validate.check("acme", Offer(profiles=tuple(range(20))), ())
        assert len(error.value.detail.splitlines()) == 20


@pytest.mark.parametrize(
    ("offer", "claimed", "idle"),
    [
        (Offer(kernels=(replace(KERNEL, device="toy"),)), ("toy",), True),
        (Offer(), ("toy",), True),
        (Offer(kernels=(KERNEL,)), ("toy",), False),
        (Offer(devices=(Driver(),)), ("toy",), False),
        (Offer(), (), False),
    ],
)
def test_backend_without_its_devices_is_idle_unless_it_serves_others(offer, claimed, idle):
    assert validate.is_idle(offer, claimed) is idle
