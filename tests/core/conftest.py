"""A device that the host cannot address, for what arrays do off ``cpu``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from opmux.core.devices.device import DEVICES, Device
from opmux.core.devices.driver import DeviceInfo, HostBytes
from opmux.core.dispatch.policy import policy


class FarDriver:
    """Memory behind handles that are plain numbers; work is done at once."""

    def __init__(self) -> None:
        self.info = DeviceInfo("far", "memory far away", 1 << 20)
        self.memory: dict[int, HostBytes] = {}
        self._handles = itertools.count(1)

    def open_queue(self) -> Any:
        return None

    def alloc(self, nbytes: int, queue: Any) -> int:
        handle = next(self._handles)
        self.memory[handle] = np.zeros(nbytes, np.uint8)
        return handle

    def free(self, handle: int, last_uses: Sequence[Any]) -> None:
        del self.memory[handle]

    def pointer(self, handle: int, offset: int) -> tuple[int, int]:
        return handle, offset

    def upload(self, handle: int, offset: int, source: HostBytes, queue: Any) -> None:
        self.memory[handle][offset : offset + source.size] = source

    def download(self, target: HostBytes, handle: int, offset: int, queue: Any) -> None:
        target[:] = self.memory[handle][offset : offset + target.size]

    def record(self, queue: Any) -> Any:
        return None

    def wait(self, queue: Any, event: Any) -> None:
        return None

    def synchronize(self, queue: Any) -> None:
        return None


@pytest.fixture
def far() -> Iterator[Device]:
    """A device without kernels, whose ops fall back to the host without a word."""
    device = Device(FarDriver(), 0, "test")
    DEVICES.add(device)
    with policy(fallback="allow"):
        yield device
    DEVICES.drop("test")
