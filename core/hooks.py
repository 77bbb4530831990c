"""The hooks through which a plugin speaks. pluggy decides who may speak; it is never on the path of a call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pluggy

from .collectives.communicator import Communicator
from .devices.driver import DeviceDriver
from .graphs.graph import RegionCompiler
from .kernel import Kernel

#: MAJOR.MINOR of the interface in ``opmux.plugin``; provisional while MAJOR is 0.
SPI_VERSION: Final = "0.1"

#: The name under which pluggy keeps opmux's hooks apart from other projects'; every hook's name begins with it.
PROJECT: Final = "opmux"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """What a backend may implement; every hook is optional."""

    @hookspec
    def opmux_devices(self) -> Iterable[DeviceDriver]:  # type: ignore[empty-body]
        """Return one driver per device that is present, in the order of their indices; none where none is present."""

    @hookspec
    def opmux_kernels(self) -> Iterable[Kernel]:  # type: ignore[empty-body]
        """Return every kernel of this backend, for its own devices or for others'."""

    @hookspec
    def opmux_region_compilers(self) -> Iterable[RegionCompiler]:  # type: ignore[empty-body]
        """Return compilers that turn a region of a graph into one kernel."""

    @hookspec
    def opmux_communicators(self) -> Iterable[Communicator]:  # type: ignore[empty-body]
        """Return what carries messages between the processes of this job; none where it was not started as one.

        Asked once, when a mesh over processes is first wanted, and in no probe; it may join the job then.
        """

    @hookspec
    def opmux_profiles(self) -> Iterable[str]:  # type: ignore[empty-body]
        """Return the names of the profiles that this backend claims to pass whole."""
