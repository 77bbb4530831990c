"""What a simulated device fails with, where opmux has no closer type."""

from __future__ import annotations

from ...plugin import DeviceError, KernelError


class InjectedFaultError(RuntimeError):
    """A failure that was injected; what depends on it is lost, as after a real one."""


class HangError(KernelError):
    """Work whose end did not come within the limit of virtual time; ``device``, ``queue`` and ``op`` say which."""


class LinkError(DeviceError):
    """A transfer over a link that is broken, or between devices that no link connects.

    ``source`` and ``device`` are where it was to go from and to, ``link`` the one that is broken.
    """


class RaceError(RuntimeError):
    """Access to memory that nothing orders against another one; only where races are asked for as errors."""
