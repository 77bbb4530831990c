"""Arrays on different devices, and host access to memory that the host cannot address."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.plugins import manager
from tests.remote import RemotePlugin

VALUES = np.array([1.0, 4.0, 9.0], np.float32)


@pytest.fixture
def there() -> Iterator[ox.Array]:
    """An array on a device with an address space of its own."""
    manager.register("remote", RemotePlugin(devices=2))
    with ox.policy(fallback="allow"):
        yield ox.asarray(VALUES).to_device("remote:0")
    manager.unregister("remote")


MIXES: list[Callable[[ox.Array, ox.Array], Any]] = [
    ox.add, ox.matmul, ox.less, ox.atan2, lambda x, y: x + y, lambda x, y: y * x, lambda x, y: ox.concat([x, y]),
    lambda x, y: ox.stack([x, y]), lambda x, y: ox.where(ox.less(x, 2.0), y, y), lambda x, y: ox.clip(x, y),
    lambda x, y: ox.fma(x, x, y), lambda x, y: x.__iadd__(y), lambda x, y: x.__setitem__(slice(None), y),
    lambda x, y: y.__setitem__(slice(None), x), lambda x, y: x[ox.asarray([0])], lambda x, y: y[ox.less(x, 2.0)],
    lambda x, y: ox.take(x, ox.asarray([0])), lambda x, y: ox.exp(x, out=ox.zeros(3)),
    lambda x, y: ox.exp(y, out=ox.zeros(3, device="remote")), lambda x, y: ox.compile(ox.add)(x, y),
    lambda x, y: ox.explain("add", x, y), lambda x, y: ox.add(x, x.to_device("remote:1")),
    lambda x, y: ox.searchsorted(x, y), lambda x, y: ox.linear(ox.reshape(x, (1, 3)), ox.reshape(y, (1, 3))),
    lambda x, y: ox.asarray([x, y]),
]  # fmt: skip


@pytest.mark.parametrize("mix", MIXES)
def test_devices_are_never_mixed(refused: Any, there: ox.Array, mix: Callable[[ox.Array, ox.Array], Any]) -> None:
    here = ox.asarray(VALUES)
    error = refused(lambda: mix(there, here), ValueError, "remote:")
    assert "to_device" in str(error) or "out=" in str(error) or "on one device" in str(error)
    assert here.tolist() == there.to_device("cpu").tolist() == VALUES.tolist()


@pytest.mark.parametrize(
    "look",
    [
        np.asarray,
        np.from_dlpack,
        lambda x: x.__buffer__(0),
        lambda x: np.array(x),
        lambda x: x.host,
        lambda x: x.host[0],
    ],
)
def test_the_host_does_not_look_into_other_memory(there: ox.Array, look: Callable[[Any], Any]) -> None:
    with pytest.raises((ox.OpmuxError, BufferError), match=r"remote|to_device|cpu"):
        look(there)


def test_numpy_operators_do_not_swallow_arrays(there: ox.Array) -> None:
    for x in (there, ox.asarray(VALUES)):
        with pytest.raises(TypeError):
            VALUES + x
        with pytest.raises(TypeError):
            np.add(VALUES, x)
        with pytest.raises(TypeError):
            x + VALUES


def test_pickles_return_to_their_device_or_say_that_it_is_gone(there: ox.Array) -> None:
    data = pickle.dumps(there)
    assert pickle.loads(data).device is there.device
    manager.unregister("remote")
    try:
        with pytest.raises(ox.DeviceError, match="remote"):
            pickle.loads(data)
    finally:
        manager.register("remote", RemotePlugin(devices=2))
