"""A set of simulated devices, with one host and the links between them; also what is registered as a backend."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from weakref import WeakSet

from ...plugin import ArgumentError, Kernel, hookimpl
from .clock import SECOND, Engine, Span
from .device import SLOWER, SimulatedDevice, World
from .errors import LinkError
from .happens_before import Mode, Race
from .hardware import Description
from .injection import Fault, FaultPlan, Injector, Kind, Request
from .kernels import kernels
from .links import Fabric, Transfer
from .peers import LinkedDevice
from .settings import Settings
from .watch import Watch


class Simulation:
    """Devices of one process that share virtual time.

    Args:
        settings: which devices, which faults, and whether races are looked for.

    Attributes:
        devices: the drivers, in the order of their indices.
        world: what they share.
        fabric: the links between them.
    """

    def __init__(self, settings: Settings) -> None:
        self.world = World.new()
        self.fabric = Fabric(settings.devices)
        self.devices = tuple(self._made(i, description, settings) for i, description in enumerate(settings.devices))
        self._origin = 0
        _alive.add(self)

    def _made(self, index: int, description: Description, settings: Settings) -> SimulatedDevice:
        given = (description, index, self.world, settings.faults, settings.races)
        alone = len(settings.devices) == 1 and description.links is None
        return SimulatedDevice(*given) if alone else LinkedDevice(*given, fabric=self.fabric)

    # The hooks of a backend.

    @hookimpl
    def opmux_devices(self) -> Sequence[SimulatedDevice]:
        """Return the devices."""
        return self.devices

    @hookimpl
    def opmux_kernels(self) -> Sequence[Kernel]:
        """Return the kernels for every description that there is a device of."""
        described = {device.description.name: device.description for device in self.devices}
        several = len(described) > 1
        return [
            kernel
            for name, description in described.items()
            for kernel in kernels(description, f"@{re.sub('[^a-z0-9]+', '-', name.lower())}" if several else "")
        ]

    @hookimpl
    def opmux_profiles(self) -> Sequence[str]:
        """Return the profiles that all devices pass: a backend claims for its kind, not for a single device."""
        claimed = [device.description.supports.profiles for device in self.devices]
        return [p for p in claimed[0] if all(p in other for other in claimed)] if claimed else []

    # Virtual time.

    def device(self, index: int) -> SimulatedDevice:
        """Return a device.

        Raises:
            ArgumentError: where there is none of this index.
        """
        if not 0 <= index < len(self.devices):
            raise ArgumentError(f"no device sim:{index}; there are {len(self.devices)} simulated devices", given=index)
        return self.devices[index]

    def timeline(self, index: int | None = None) -> tuple[Span, ...]:
        """Return the spans since the last reset, in order of submission.

        Args:
            index: of one device; None for all, one device after the other.

        Raises:
            ArgumentError: where there is no such device.
        """
        chosen = self.devices if index is None else (self.device(index),)
        with self.world.lock:
            spans = [span for device in chosen for span in device.spans]
        return tuple(replace(s, start=s.start - self._origin, end=s.end - self._origin) for s in spans)

    def reset_timeline(self) -> None:
        """Wait in virtual time for all devices, forget the spans, and count from here on."""
        with self.world.lock:
            self.world.host.reach(self._end())
            self._origin = self.world.host.now
            for device in self.devices:
                device.spans.clear()
            for engine in self._engines():
                engine.busy = 0

    def elapsed(self, index: int | None = None) -> float:
        """Return virtual seconds from the last reset to the end of the last work of a device, or of all.

        Raises:
            ArgumentError: where there is no such device.
        """
        return max((span.end for span in self.timeline(index)), default=0) / SECOND

    def utilisation(self, index: int) -> dict[str, float]:
        """Return the share of the elapsed time of a device during which each of its engines worked, by name.

        Raises:
            ArgumentError: where there is no such device.
        """
        elapsed = self.elapsed(index) * SECOND
        return {engine.name: engine.busy / elapsed if elapsed else 0.0 for engine in self.device(index).engines}

    def _engines(self) -> list[Engine]:
        return [engine for device in self.devices for engine in device.engines] + list(self.fabric.engines())

    def _end(self) -> int:
        ends = [engine.end for engine in self._engines()]
        return max([self.world.host.now, *ends])

    # Links.

    def book_transfer(self, source: int, target: int, nbytes: int, *, ready: int = 0, op: str = "transfer") -> Transfer:
        """Give a transfer over links its place in virtual time, and its spans on the source's timeline.

        No data moves. What has to come before it is given as a time: ``device.time(queue)``, or the end of another
        transfer; what has to come after it is put there by ``device.hold(queue, transfer.end)``.

        Args:
            source, target: indices of devices.
            nbytes: bytes to carry.
            ready: virtual picoseconds before which it does not start.
            op: for the spans.

        Raises:
            ArgumentError: where there is no such device, or fewer than no bytes.
            LinkError: where no link connects them, or one on the way is broken.
        """
        one, _ = self.device(source), self.device(target)
        if nbytes < 0:
            raise ArgumentError(f"a transfer of {nbytes} bytes; it is 0 or more", given=nbytes)
        with self.world.lock:
            self.fabric.links_of(source, target)
            met = one.injector.request(Request.LINK, op)
            if Kind.LINK_BROKEN in met:
                self.fabric.break_link(source, target)
            low, high = SLOWER
            slower = low + met[Kind.LINK_SLOW].size % (high - low) if Kind.LINK_SLOW in met else 1
            begin = max(ready, self.world.host.now)
            try:
                transfer, route = self.fabric.book(source, target, nbytes, begin, slower=slower)
            except LinkError as error:
                raise LinkError(f"{op}: {error}", **error.culprits) from None
            power = one.description.power
            energy = 0.0 if power is None else nbytes * power.link
            one.spans.extend(
                Span(source, e.name, -1, op, one.injector.number, transfer.start, transfer.end, nbytes, 0, energy)
                for e in route
            )
            return transfer

    # Faults and races.

    def faults(self, index: int | None = None) -> tuple[Fault, ...]:
        """Return what was injected into a device, or into all, in order.

        Raises:
            ArgumentError: where there is no such device.
        """
        chosen = self.devices if index is None else (self.device(index),)
        return tuple(fault for device in chosen for fault in device.injector.injected)

    def inject(self, plan: FaultPlan | str) -> None:
        """Follow another plan from now on; requests count from 0 again, and the record of faults is empty.

        Raises:
            ArgumentError: for a text that is no plan.
        """
        chosen = FaultPlan.parse(plan) if isinstance(plan, str) else plan
        with self.world.lock:
            for device in self.devices:
                device.injector = Injector(device.index, chosen)

    def races(self, index: int | None = None) -> tuple[Race, ...]:
        """Return the races that were found on a device, or on all, in order.

        Raises:
            ArgumentError: where there is no such device.
        """
        chosen = self.devices if index is None else (self.device(index),)
        return tuple(race for device in chosen for race in device.detector.found)

    def detect_races(self, mode: Mode = Mode.RECORD) -> None:
        """Look for races from now on, or no longer; those found before are forgotten."""
        with self.world.lock:
            for device in self.devices:
                device.detector = Watch(device.index, mode, self.world.clock)


_alive: Final[WeakSet[Simulation]] = WeakSet()


def _after_fork_in_child() -> None:
    for simulation in tuple(_alive):
        simulation.world.lock = threading.RLock()  # its holder may be a thread that the child does not have


os.register_at_fork(after_in_child=_after_fork_in_child)
