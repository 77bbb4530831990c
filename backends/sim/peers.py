"""Simulated devices beside others: copies from device to device, on the timelines of links or of the buses."""

from __future__ import annotations

from ...plugin import Link
from .clock import SECOND, Span, picoseconds
from .device import SimulatedDevice, World
from .errors import LinkError
from .happens_before import Mode
from .hardware import Description
from .injection import Fault, FaultPlan, Kind, Request
from .links import Fabric, Way
from .memory import Block, View
from .queues import Queue, Task, Work


class LinkedDevice(SimulatedDevice):
    """The driver of a simulated device that has links, or others beside it; see ``PeerDriver``.

    Args:
        description, index, world, plan, races: as for :class:`SimulatedDevice`.
        fabric: the links of the simulation.
    """

    def __init__(
        self,
        description: Description,
        index: int,
        world: World,
        plan: FaultPlan,
        races: Mode = Mode.OFF,
        *,
        fabric: Fabric,
    ) -> None:
        super().__init__(description, index, world, plan, races)
        self._fabric = fabric
        self._by_host: dict[int, Way] = {}

    def copy_peer(
        self,
        handle: Block,
        offset: int,
        source: SimulatedDevice,
        source_handle: Block,
        source_offset: int,
        nbytes: int,
        queue: Queue,
    ) -> None:
        """Copy over the links from the source; by way of the host where none connects it.

        The copy is a request of this device. Where it fails, whatever reads the memory fails with the same error.
        """
        read, written = View.bytes_of(source_handle, source_offset, nbytes), View.bytes_of(handle, offset, nbytes)
        with self.world.lock:
            way = self._way(source)

            def copy() -> None:
                if source.lost is not None:
                    raise LinkError(
                        f"copy from {source.name} to {self.name}: {source.name} is gone: {source.lost}",
                        source=source.name,
                        device=self.name,
                    )
                way.check()
                written.content()[:] = read.content()

            by_host = way in self._by_host.values()
            request = Request.DMA if by_host else Request.LINK
            work = Work(
                *("copy_peer", request, way, way.carrying(nbytes), copy, (read,), (written,)),
                nbytes=nbytes,
                reads_of=source.detector,
            )
            way.last = []
            self.submit(queue, work)
            power = self.description.power
            energy = 0.0 if power is None or by_host else nbytes * power.link
            used = way.links[:1] if by_host else way.links  # this device's bus is busy for the copy's own span
            source.spans.extend(
                Span(source.index, engine.name, -1, work.op, 0, start, end, nbytes, 0, energy)
                for engine, (start, end) in zip(used, way.last, strict=False)  # nothing behind a hang
            )

    def link(self, source: SimulatedDevice) -> Link:
        """Return what a copy from another simulated device costs where nothing else is on the way."""
        with self.world.lock:
            way = self._way(source)
            by_host = way in self._by_host.values()
        return Link(way.hop * len(way.links) / SECOND, way.bandwidth, "model", is_shared=by_host)

    def _way(self, source: SimulatedDevice) -> Way:
        """Return the links from a device, or the buses to the host and from it."""
        if self._fabric.connects(source.index, self.index):
            return self._fabric.way(source.index, self.index)
        if source.index not in self._by_host:
            there, here = source.description.dma, self.description.dma
            self._by_host[source.index] = Way(
                *(source.index, self.index, (source.bus, self.bus)),
                hop=picoseconds((there.latency + here.latency) / 2),
                bandwidth=min(there.host_bandwidth, here.host_bandwidth),
                broken=set(),
            )
        return self._by_host[source.index]

    def _book(self, task: Task, work: Work, met: dict[Kind, Fault]) -> None:
        """Find work its place; what breaks a link breaks it before the copy."""
        if isinstance(work.engine, Way) and Kind.LINK_BROKEN in met:
            work.engine.sever()
        super()._book(task, work, met)
