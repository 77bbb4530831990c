"""Accelerators that do not exist: own memory, DMA, a matrix unit, vector units and a virtual clock, described by files.

``OPMUX_SIM`` says which there are; see ``docs/simulated-devices.md``. The functions here are about those devices; a
:class:`Simulation` of one's own has the same as methods.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...plugin import DeviceDriver, Kernel, hookimpl

if TYPE_CHECKING:
    from .clock import Span
    from .happens_before import Mode, Race
    from .injection import Fault, FaultPlan
    from .links import Transfer
    from .simulated import Simulation

__all__ = [
    "book_transfer",
    "detect_races",
    "elapsed",
    "faults",
    "inject",
    "races",
    "reset_timeline",
    "simulation",
    "timeline",
    "trace",
    "utilisation",
]


@functools.cache
def simulation() -> Simulation:
    """Return the simulation that the environment asks for: the devices ``sim:0``, ``sim:1``, ...

    Raises:
        ArgumentError: naming the variable that is wrong, and what is allowed.
    """
    from .settings import from_environment
    from .simulated import Simulation

    return Simulation(from_environment())


@hookimpl
def opmux_devices() -> Sequence[DeviceDriver]:
    """Return the simulated devices; none where ``OPMUX_SIM`` names none."""
    return simulation().devices


@hookimpl
def opmux_kernels() -> Sequence[Kernel]:
    """Return the kernels for every description that there is a device of."""
    return simulation().opmux_kernels()


@hookimpl
def opmux_profiles() -> Sequence[str]:
    """Return the profiles that the devices pass."""
    return simulation().opmux_profiles()


def timeline(index: int | None = None) -> tuple[Span, ...]:
    """Return the spans of a device, or of all, since the last reset; see :meth:`Simulation.timeline`."""
    return simulation().timeline(index)


def trace(index: int | None = None) -> dict[str, Any]:
    """Return the timeline of a device, or of all, as an object whose JSON text ui.perfetto.dev opens."""
    from .trace import of_spans, trace_events

    made = simulation()
    return trace_events(of_spans(made.timeline(index), [d.description.name for d in made.devices]))


def reset_timeline() -> None:
    """Wait in virtual time for all devices, forget the spans, and count from here on."""
    simulation().reset_timeline()


def elapsed(index: int | None = None) -> float:
    """Return virtual seconds since the last reset; see :meth:`Simulation.elapsed`."""
    return simulation().elapsed(index)


def utilisation(index: int) -> dict[str, float]:
    """Return the share of the time during which each engine worked; see :meth:`Simulation.utilisation`."""
    return simulation().utilisation(index)


def book_transfer(source: int, target: int, nbytes: int, *, ready: int = 0, op: str = "transfer") -> Transfer:
    """Give a transfer over links its place in virtual time; see :meth:`Simulation.book_transfer`."""
    return simulation().book_transfer(source, target, nbytes, ready=ready, op=op)


def faults(index: int | None = None) -> tuple[Fault, ...]:
    """Return what was injected; see :meth:`Simulation.faults`."""
    return simulation().faults(index)


def inject(plan: FaultPlan | str) -> None:
    """Follow another plan of faults from now on; see :meth:`Simulation.inject`."""
    simulation().inject(plan)


def races(index: int | None = None) -> tuple[Race, ...]:
    """Return the races that were found; see :meth:`Simulation.races`."""
    return simulation().races(index)


def detect_races(mode: Mode | None = None) -> None:
    """Look for races from now on; see :meth:`Simulation.detect_races`."""
    from .happens_before import Mode

    simulation().detect_races(Mode.RECORD if mode is None else mode)
