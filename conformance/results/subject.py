"""Whom a run is about: one implementation on one device, in one environment."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from ...core.dispatch.registry import REGISTRY
from ...core.plugins import manager
from ..identity import implementation_of
from ..target import Target

#: Installed packages whose versions may change a result.
_PACKAGES: Final = ("opmux", "numpy", "ml_dtypes", "mpmath", "hypothesis")
#: Switches that change what runs; where caches lie does not.
_SWITCHES: Final = ("OPMUX_NUM_THREADS", "OPMUX_SYNC", "OPMUX_CHECK", "OPMUX_CPU_MEMORY", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Subject:
    """One implementation on one device.

    Attributes:
        backend, version, distribution: the backend, its version, and the installed package that it comes from.
        implementation: a digest of its files, or ``"unidentified"``.
        claims: the profiles that it claims.
        device, kind, model: the device's name here, its kind, and the product's name.
        memory: bytes.
        flushes_subnormals: whether its results below the smallest normal number become zero.
        features: as its driver says.
    """

    backend: str
    version: str
    distribution: str
    implementation: str
    claims: tuple[str, ...]
    device: str
    kind: str
    model: str
    memory: int
    flushes_subnormals: bool
    features: tuple[str, ...]

    @classmethod
    def of(cls, target: Target) -> Subject:
        """Return what a target is."""
        given, info = REGISTRY.contributions[target.backend], target.device.info
        source = next((s.distribution for s in manager.status() if s.name == target.backend), "")
        return cls(
            given.backend, given.version, source, implementation_of(given.backend), given.profiles,
            target.device.name, target.device.kind, info.name, info.memory, info.flushes_subnormals,
            tuple(sorted(info.features)),
        )  # fmt: skip

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Subject:
        """Return the subject that :meth:`to_dict` gave."""
        return cls(**{**given, "claims": tuple(given["claims"]), "features": tuple(given["features"])})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)


def environment() -> dict[str, str]:
    """Return what a result may depend on besides the implementation: versions, the machine, switches."""
    found = {name: _version(name) for name in _PACKAGES}
    found["python"] = platform.python_version()
    found["system"] = platform.platform(terse=True)
    found["machine"] = platform.machine()
    found["cpus"] = str(os.cpu_count())
    return {**found, **{name: os.environ[name] for name in _SWITCHES if name in os.environ}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
