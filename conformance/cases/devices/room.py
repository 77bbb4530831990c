"""Room on a device: requests that do not fit, filling it to the brim, leaks."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from ....core.devices.device import Buffer, Device
from ....core.errors import ConformanceError, OutOfMemoryError
from ...target import Findings, Target, dense
from ..case import DeviceContext
from .workload import as_bytes, demand, hold_bytes, random_bytes

#: Devices of at most so many bytes are filled to the brim, with at most so many buffers.
FILLABLE: Final = 1 << 31
_MOST_BUFFERS: Final = 1000
#: No larger than a value of the programs that run on a full device.
_SMALLEST_CHUNK: Final = 128
#: More than an address can count, less than a shape may have.
_NEVER: Final = 1 << 62
#: Seconds that looking for a slow leak may take where a device is too large to be filled.
_LEAK_SECONDS: Final = 0.5
#: Bytes that are left at least on a device that is nearly full.
_LEAST_ROOM: Final = 256
#: Sizes that are allocated and freed there, each with how often: an empty array has a byte.
_AGAIN: Final = ((1, 5000), (100, 500), (4096, 500), (1 << 16, 500))


def ballast(device: Device, smallest: int = _SMALLEST_CHUNK) -> list[Buffer]:
    """Return buffers that fill a device until it has no room for another of the smallest size."""
    held: list[Buffer] = []
    chunk = device.info.memory // 4
    while len(held) < _MOST_BUFFERS:
        try:
            held.append(device.alloc(chunk))
        except OutOfMemoryError:
            if chunk == smallest:
                break
            chunk = max(chunk // 2, smallest)
    return held


def _demand_out_of_memory(findings: Findings, device: Device, nbytes: int) -> bool:
    """Ask for memory; return whether it was refused, which only the typed error may do."""
    findings.held()
    try:
        device.alloc(nbytes)
    except OutOfMemoryError:
        return True
    except Exception as error:
        raise ConformanceError(
            f"a request of {nbytes:,} bytes must be refused with MemoryError; alloc raised {error!r}"
        ) from error
    return False


def out_of_memory(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A request that does not fit gives the typed error; what is there stays, and the next call works."""
    device, host = target.device, random_bytes(4097, context.seed)
    x = dense(host, device)
    for _ in range(20):  # a refused request that is counted all the same uses the memory up
        demand(findings, _demand_out_of_memory(findings, device, _NEVER), f"alloc handed out {_NEVER:,} bytes")
        _demand_out_of_memory(findings, device, device.info.memory + 1)
        hold_bytes(findings, as_bytes(dense(host, device)), host, "an array made after a refused request")
    hold_bytes(findings, as_bytes(x), host, "an array made before the refused requests")


def to_the_brim(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A device filled until it refuses, again and again: it holds as much each time; a large one is not filled."""
    device = target.device
    if device.is_host or device.info.memory > FILLABLE:
        x = dense(np.arange(7), device)
        hold_bytes(findings, as_bytes(x), np.arange(7), "an array on a device that is not filled")
        return
    chunk, counts = device.info.memory // 16, []
    for _ in range(3):
        counts.append(_filled(findings, device, chunk))
        device.synchronize()
    demand(findings, counts[0] > 0, f"{device} has {device.info.memory:,} bytes and does not hold {chunk:,}")
    demand(findings, counts[0] == counts[-1], f"chunks of {chunk:,} bytes that it held in turn: {counts}: a leak")


def _filled(findings: Findings, device: Device, chunk: int) -> int:
    """Return how many chunks a device holds, each with contents of its own."""
    held: list[Buffer] = []
    driver, queue = device.driver, device.default_queue.handle
    while len(held) < 17:
        try:
            held.append(device.alloc(chunk))
        except OutOfMemoryError:
            break
        driver.upload(held[-1].handle, 0, np.full(64, len(held), np.uint8), queue)
    for i, buffer in enumerate(held, 1):
        found = np.zeros(64, np.uint8)
        driver.download(found, buffer.handle, 0, queue)
        hold_bytes(findings, found, np.full(64, i, np.uint8), f"chunk {i} of a full device")
    return len(held)


def leaks(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A device that is nearly full takes back every buffer, of every size, however often; a large one is not filled."""
    device = target.device
    if device.is_host or device.info.memory > FILLABLE:
        _slow_leak(findings, device)
        return
    for nbytes, times in _AGAIN:
        room = device.alloc(max(2 * nbytes, _LEAST_ROOM))
        held = ballast(device, nbytes + _LEAST_ROOM // 2)
        del room
        device.synchronize()  # memory may come back when the queue gets there
        for i in range(times // 10 if context.quick else times):
            if not _fits(device, nbytes):
                device.synchronize()
                what = f"{nbytes} bytes were allocated and freed {i} times, and are refused then: a leak"
                demand(findings, _fits(device, nbytes), what)
            findings.held()
        held.clear()
        device.synchronize()


def _fits(device: Device, nbytes: int) -> bool:
    """Allocate and free; return whether it was granted."""
    try:
        device.alloc(nbytes)
    except OutOfMemoryError:
        return False
    return True


def _slow_leak(findings: Findings, device: Device) -> None:
    """Allocate and free as much as the device has, as far as the time goes."""
    chunk, total = min(device.info.memory // 16, 1 << 28), 0
    end = time.monotonic() + _LEAK_SECONDS
    while total < 2 * device.info.memory and time.monotonic() < end:
        device.alloc(chunk)
        total += chunk
        findings.held()
    device.synchronize()
