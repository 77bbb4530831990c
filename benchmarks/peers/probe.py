"""The machine's limit as a peer: in every round of a case it runs what bounds that case, on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opmux.backends.llvm.target import host_target
from opmux.core.devices.host import usable_cpus

from ..case import Case
from ..errors import UnsupportedCaseError
from ..probes import FlopsProbe, TrafficProbe
from .base import AsGiven, Program
from .gpu import device_copy


class Limit:
    """A probe as a program; it computes nothing that could be checked."""

    def __init__(self, probe: FlopsProbe | TrafficProbe, detail: str) -> None:
        self._probe = probe
        self.work: float | None = probe.work
        self.detail = detail

    def seconds(self, repetitions: int) -> float:
        """Run it so often and return the seconds that took."""
        return self._probe.seconds(repetitions)

    def result(self) -> NDArray[Any]:
        """Return nothing of interest."""
        return np.empty(0)


class ProbePeer:
    """Picks the probe by what bounds the case."""

    def versions(self) -> dict[str, str]:
        """Return what the loops were compiled with, and for."""
        target = host_target()
        return {"LLVM": target.llvm_version, "llvmlite": target.llvmlite_version, "LLVM CPU": target.cpu}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return the probe for a case."""
        threads = usable_cpus()
        if case.limit is None:
            raise UnsupportedCaseError("no limit of the machine bounds this case")
        if case.limit == "device flops":
            raise UnsupportedCaseError("what a GPU can compute at best is not measured")
        if case.limit == "device copy":
            return device_copy(case.bytes)
        if case.limit == "flops":
            return Limit(FlopsProbe(case.dtype, threads), f"fma {case.dtype}, {threads} threads")
        made = TrafficProbe(case.limit, case.bytes, threads)
        stores = f", {made.stores} stores" if made.stores else ""
        return Limit(made, f"{case.limit} of {case.bytes:.3g} bytes, {threads} threads{stores}")


def peer(backend: str | None) -> ProbePeer:
    """Return the peer."""
    return ProbePeer()
