"""Asynchronous devices with their own memory: order, late errors, poison, loss, release."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import opmux as ox
from opmux.core.dispatch.fallback import reset_fallback_counts
from opmux.core.plugins import manager
from tests.remote import RemotePlugin
from tests.remote.driver import RemoteDriver

V = np.array([1.0, 4.0, 9.0], np.float32)


@pytest.fixture
def driver() -> Iterator[RemoteDriver]:
    plugin = RemotePlugin()
    manager.register("remote", plugin)
    reset_fallback_counts()
    yield plugin.drivers[0]
    manager.unregister("remote")


def on_remote(values: np.ndarray = V) -> ox.Array:
    return ox.asarray(values).to_device("remote")


def test_values_go_there_and_back(driver: RemoteDriver) -> None:
    x = on_remote()
    assert str(x.device) == "remote:0"
    assert ox.sqrt(x).to_device("cpu").tolist() == [1.0, 2.0, 3.0]


def test_the_host_cannot_look_into_its_memory(driver: RemoteDriver) -> None:
    x = on_remote()
    with pytest.raises(ox.DeviceError, match=r"to_device\('cpu'\)"):
        np.asarray(x)
    with pytest.raises(ox.DeviceError, match="remote:0"):
        _ = x.host


def test_a_launch_returns_before_its_work_is_done(driver: RemoteDriver) -> None:
    x = on_remote()
    x.device.synchronize()
    driver.queues[0].gate.clear()
    y = ox.sqrt(x)
    assert y._buffer.status is not None
    assert not y._buffer.status.settled_well()
    driver.queues[0].gate.set()
    assert y.numpy().tolist() == [1.0, 2.0, 3.0]


def test_a_late_error_is_raised_where_the_result_is_read_and_names_the_op(driver: RemoteDriver) -> None:
    bad = ox.sqrt(on_remote(-V))
    with pytest.raises(ox.KernelError, match="sqrt failed in kernel sqrt of backend remote") as e:
        bad.numpy()
    assert e.value.op == "sqrt"
    assert "negative number" in str(e.value)


def test_what_depends_on_a_failed_op_is_poisoned_and_the_rest_is_not(driver: RemoteDriver) -> None:
    x = on_remote()
    driver.queues[0].gate.clear()
    bad = ox.sqrt(ox.negative(x))
    worse = ox.add(ox.exp(bad), x)
    good = ox.add(x, x)
    driver.queues[0].gate.set()
    with pytest.raises(ox.KernelError) as e:
        worse.numpy()
    assert e.value.op == "sqrt"
    assert good.numpy().tolist() == (V + V).tolist()
    with pytest.raises(ox.KernelError, match="sqrt"):
        ox.multiply(worse, x).numpy()


def test_synchronize_raises_the_first_error_that_nobody_saw(driver: RemoteDriver) -> None:
    x = on_remote(-V)
    keep = [ox.sqrt(x), ox.add(x, x)]
    with pytest.raises(ox.KernelError, match="sqrt"):
        x.device.synchronize()
    x.device.synchronize()
    assert keep[1].numpy().tolist() == (-2 * V).tolist()


def test_strided_operands_are_copied_by_its_own_kernel(driver: RemoteDriver) -> None:
    x = on_remote(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    turned = ox.permute_dims(x, (1, 0))
    decision = ox.explain("exp", turned)
    assert decision.chosen == "remote/exp"
    assert "dense copy of operand 0" in str(decision)
    assert np.array_equal(ox.negative(turned).numpy(), -np.arange(6.0).reshape(2, 3).T)


def test_a_missing_kernel_is_decomposed_before_anything_falls_back(driver: RemoteDriver) -> None:
    x = on_remote()
    assert ox.explain("square", x).chosen == "decomposition"
    assert ox.square(x).numpy().tolist() == (V * V).tolist()


def test_a_fallback_is_warned_of_once_and_counted(driver: RemoteDriver) -> None:
    x = on_remote()
    with pytest.warns(ox.FallbackWarning, match="argsort runs on cpu:0 .* opmux.explain says"):
        result = ox.argsort(x)
    assert result.numpy().tolist() == [0, 1, 2]
    ox.argsort(x)
    assert ox.fallback_counts()["argsort", "remote:0", "cpu:0"] == 2
    assert result.device == x.device


def test_a_policy_forbids_or_limits_fallbacks(driver: RemoteDriver) -> None:
    x = on_remote()
    with ox.policy(fallback="forbid"), pytest.raises(ox.UnsupportedError, match="forbids fallbacks"):
        ox.argsort(x)
    with ox.policy(fallback="allow", fallback_budget=1):
        ox.argsort(x)
        with pytest.raises(ox.FallbackError, match="allows 1"):
            ox.argsort(x)


def test_memory_is_free_only_after_the_last_queued_use(driver: RemoteDriver) -> None:
    x = on_remote()
    x.device.synchronize()
    driver.queues[0].gate.clear()
    y = ox.exp(ox.add(x, x))  # the sum dies here, while its reader is still queued
    del x
    gc.collect()
    driver.queues[0].gate.set()
    assert np.allclose(y.numpy(), np.exp(V + V))


def test_every_block_comes_back(driver: RemoteDriver) -> None:
    before = len(driver.live)
    for _ in range(20):
        ox.sqrt(ox.add(on_remote(), on_remote())).numpy()
    gc.collect()
    assert len(driver.live) == before


def test_out_of_memory_is_typed_and_the_next_call_works(driver: RemoteDriver) -> None:
    x = on_remote()
    kept, driver.left = driver.left, 4
    with pytest.raises(ox.OutOfMemoryError, match="remote:0 could not allocate 12 bytes") as e:
        ox.add(x, x)
    assert isinstance(e.value, MemoryError)
    driver.left = kept
    assert ox.add(x, x).numpy().tolist() == (V + V).tolist()


def test_a_lost_device_raises_the_same_error_ever_after(driver: RemoteDriver) -> None:
    x = on_remote()
    driver.lost = True
    for _ in range(2):
        with pytest.raises(ox.DeviceLostError, match="gone"):
            ox.add(x, x)
    driver.lost = False
    with pytest.raises(ox.DeviceLostError, match="gone"):
        x.device.synchronize()


def test_another_queue_waits_for_what_it_reads(driver: RemoteDriver) -> None:
    x = on_remote()
    other = x.device.queue()
    driver.queues[0].gate.clear()
    y = ox.add(x, x)
    with ox.use_queue(other):
        z = ox.multiply(y, y)
    driver.queues[0].gate.set()
    assert z.numpy().tolist() == (4 * V * V).tolist()


def test_mixed_devices_are_refused_by_name(driver: RemoteDriver) -> None:
    with pytest.raises(ox.DeviceError, match=r"remote:0 and cpu:0"):
        ox.add(on_remote(), ox.asarray(V))


def test_an_unknown_device_names_the_present_ones(driver: RemoteDriver) -> None:
    with pytest.raises(ox.DeviceError, match=r"cpu:0, remote:0"):
        ox.asarray(V).to_device("tpu")


def test_a_backend_that_goes_gets_back_the_constants_on_its_device() -> None:
    plugin = RemotePlugin()
    manager.register("remote", plugin)
    assert (on_remote() + 7.0).tolist() == [8.0, 11.0, 16.0]
    manager.unregister("remote")
    gc.collect()
    assert plugin.drivers[0].live == set()
