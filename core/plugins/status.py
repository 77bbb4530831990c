"""What became of each backend, for `opmux backends` and `opmux doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from .quarantine import QuarantineRecord


class State(StrEnum):
    """What became of a backend. The values are stable; programs may compare them."""

    READY = "ready"
    QUARANTINED = "quarantined"
    DISABLED = "disabled"
    ABSENT_HARDWARE = "absent-hardware"


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend and what became of it.

    Attributes:
        name: the backend.
        distribution: where it comes from; empty for one registered by the program itself.
        version: its version.
        state: what became of it.
        devices: the names of its devices.
        kernels: how many kernels it brought.
        profiles: the profiles that it claims.
        reason: why it is not ready, for people; empty where it is.
        remedy: what to do about it; empty where nothing can be done.
        quarantine: all that is known of its failure, where it failed.
    """

    name: str
    distribution: str
    version: str
    state: State
    devices: tuple[str, ...] = ()
    kernels: int = 0
    profiles: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""
    quarantine: QuarantineRecord | None = None

    @classmethod
    def quarantined(cls, record: QuarantineRecord) -> BackendStatus:
        """Return the status of a backend that is kept out."""
        return cls(
            record.name,
            record.distribution,
            record.version,
            State.QUARANTINED,
            reason=record.message,
            remedy=record.remedy,
            quarantine=record,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them.

        >>> BackendStatus("acme", "", "1", State.READY).as_json()["state"]
        'ready'
        """
        return {**asdict(self), "state": str(self.state)}
