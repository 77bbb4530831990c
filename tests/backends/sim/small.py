"""A small simulated device with round numbers, and work of a stated duration on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from opmux.backends.sim.description import Description, loads
from opmux.backends.sim.device import SimulatedDevice
from opmux.backends.sim.happens_before import Mode
from opmux.backends.sim.injection import FaultPlan, Request
from opmux.backends.sim.memory import Block, View
from opmux.backends.sim.queues import Queue, Task, Work
from opmux.backends.sim.settings import Settings
from opmux.backends.sim.simulated import Simulation
from opmux.core.plugins import manager

TEXT = """
name = "small"
clock_hz = 1e9
matrix = { rows = 4, columns = 4, dataflow = "ws", precisions.int8 = { accumulate = "int32" } }
vector = { lanes = 4, precisions = { int8 = 1, int32 = 1, uint32 = 1, float32 = 1, bool = 1 } }
on_chip = { bytes = 1024, bandwidth = 1e12 }
off_chip = { bytes = 1e6, bandwidth = 1e9 }
dma = { engines = 2, bandwidth = 1e9, host_bandwidth = 1e9 }
supports = { dtypes = ["int8", "int32", "uint32", "int64", "float32", "bool"] }
links = { topology = "ring", count = 2, bandwidth = 1e9, latency_seconds = 1e-6 }
"""
#: 1 GHz, 1 GB/s to and from the host: a byte takes a nanosecond.
SMALL = loads(TEXT)
NANOSECOND = 1000


def simulated(*devices: Description, faults: str = "", races: Mode = Mode.OFF) -> Simulation:
    """A simulation of these devices, one small device if none is given."""
    return Simulation(Settings(devices or (SMALL,), FaultPlan.parse(faults), races))


def driver(faults: str = "", races: Mode = Mode.OFF) -> SimulatedDevice:
    """The driver of one small device, with its default queue open."""
    device = simulated(faults=faults, races=races).devices[0]
    device.open_queue()
    return device


def queues(device: SimulatedDevice, count: int) -> list[Queue]:
    """The default queue and others."""
    while len(device._queues) < count:
        device.open_queue()
    return device._queues[:count]


def nothing() -> None:
    pass


def put(
    device: SimulatedDevice,
    queue: Queue,
    nanoseconds: int = 10,
    compute: Callable[[], None] = nothing,
    *,
    reads: Sequence[View] = (),
    writes: Sequence[View] = (),
    engine: str = "vector",
    op: str = "work",
    lead: int = 0,
) -> Task:
    """Put work of a stated duration on a queue."""
    duration = nanoseconds * NANOSECOND
    return device.submit(
        queue,
        Work(op, Request.LAUNCH, device.engine(engine), duration, compute, tuple(reads), tuple(writes), lead),
    )


def bytes_on(device: SimulatedDevice, queue: Queue, values: Sequence[int]) -> tuple[Block, View]:
    """Some bytes on the device."""
    block = device.alloc(len(values), queue)
    device.upload(block, 0, np.array(values, np.uint8), queue)
    return block, View.bytes_of(block, 0, len(values))


def copy_of(source: View, target: View) -> Callable[[], None]:
    """A computation that copies."""

    def compute() -> None:
        target.content()[...] = source.content()

    return compute


def read(device: SimulatedDevice, block: Block, queue: Queue) -> list[int]:
    """What a block holds."""
    host = np.zeros(block.nbytes, np.uint8)
    device.download(host, block, 0, queue)
    return host.tolist()


def host_array(x: Any) -> Any:
    """What a kernel is given, with a host's pointer."""
    return SimpleNamespace(ptr=x.ctypes.data, shape=x.shape, strides=x.strides, dtype=SimpleNamespace(numpy=x.dtype))


@contextlib.contextmanager
def registered(simulation: Simulation) -> Iterator[Simulation]:
    """The devices of a simulation as opmux's ``sim:0``, ``sim:1``, ..."""
    manager.register("simulated", simulation)
    try:
        yield simulation
    finally:
        manager.unregister("simulated")
