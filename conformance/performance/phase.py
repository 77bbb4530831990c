"""The performance of a backend on a device: its roofline, a row per op, dtype and size class, and flags."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ...core.devices.device import Device
from .calls import default_pairs, main_dtypes
from .flags import Flag, cost_model, regressions
from .measure import Measurement, Progress, Skipped, measure
from .roofline import Roofline, measure_roofline

#: Seconds for all of it, about.
BUDGET: Final = 40.0
#: The share of it that is left for the rows, however long the roofline takes on a busy machine.
_LEAST_FOR_ROWS: Final = 0.75
#: Where other work took a CPU in more of the samples, kernels that use several threads wait for each other throughout a
#: run, and what is slower cannot be told from what waited.
MOST_INTERRUPTED: Final = 0.1


@dataclass(frozen=True)
class Performance:
    """How fast a backend is on a device, beside what the device can do.

    Attributes:
        backend, device: which.
        product: the device's name for people; times of two products are not compared.
        roofline: of the device.
        rows: the measurements.
        skipped: calls without a time, and why.
        seconds: that it took.
    """

    backend: str
    device: str
    product: str
    roofline: Roofline
    rows: tuple[Measurement, ...]
    skipped: tuple[Skipped, ...] = ()
    seconds: float = 0.0

    def flags(self, previous: Performance | None = None) -> tuple[Flag, ...]:
        """Return what a person should look at; it never fails a run.

        Args:
            previous: of an earlier certificate, to find what became slower.
        """
        found = cost_model(self.rows)
        if previous is None:
            return found
        if (previous.backend, previous.device, previous.product) != (self.backend, self.device, self.product):
            there = f"{previous.backend} on {previous.device} ({previous.product})"
            what = f"the earlier times are of {there}: nothing is compared with {self.device} ({self.product})"
            return (Flag("not-comparable", None, None, None, what, {}), *found)
        busy = [
            name for name, p in (("this run", self), ("the earlier run", previous)) if p.interrupted > MOST_INTERRUPTED
        ]
        if busy:
            shares = f"{self.interrupted:.0%} of the samples now and {previous.interrupted:.0%} before"
            what = f"the machine was busy during {' and '.join(busy)}: {shares} were interrupted; nothing is compared"
            figures = {"interrupted": self.interrupted, "interrupted_before": previous.interrupted}
            return (Flag("not-comparable", None, None, None, what, figures), *found)
        return (*regressions(self.rows, previous.rows), *found)

    @property
    def interrupted(self) -> float:
        """The mean share of samples during which other work had a CPU."""
        return sum(r.interrupted for r in self.rows) / len(self.rows) if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        return {
            "backend": self.backend,
            "device": self.device,
            "product": self.product,
            "seconds": round(self.seconds, 3),
            "roofline": self.roofline.to_dict(),
            "rows": [r.to_dict() for r in self.rows],
            "skipped": [asdict(s) for s in self.skipped],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Performance:
        """Return what :meth:`to_dict` gave."""
        return cls(
            data["backend"], data["device"], data["product"], Roofline.from_dict(data["roofline"]),
            tuple(Measurement.from_dict(r) for r in data["rows"]),
            tuple(Skipped(**s) for s in data["skipped"]), float(data["seconds"]),
        )  # fmt: skip


def performance(
    backend: str,
    device: Device,
    *,
    dtypes: Sequence[str] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    budget: float = BUDGET,
    progress: Progress | None = None,
) -> Performance:
    """Measure a backend on a device, in this process.

    Args:
        backend: whose kernels.
        device: where.
        dtypes: the first is measured with every op, the others with the core ops; those of the core profiles if None.
        pairs: names of ops and dtypes to measure instead.
        budget: about how many seconds it may take.
        progress: told, before each step, how many are done, of how many, and what comes next.

    Raises:
        UnsupportedError: when nothing on the device copies, so that it has no roofline.
    """
    begun = time.perf_counter()
    wanted = list(pairs) if pairs is not None else default_pairs(tuple(dtypes or main_dtypes()))
    arithmetic = tuple(dict.fromkeys(t for _, t in wanted))
    tell = progress or (lambda done, of, what: None)
    roofline = measure_roofline(device, arithmetic, progress=lambda what: tell(0, 1, what))
    left = max(budget - (time.perf_counter() - begun), _LEAST_FOR_ROWS * budget)
    rows, skipped = measure(backend, device, wanted, left, roofline=roofline, progress=progress)
    return Performance(backend, device.name, device.info.name, roofline, rows, skipped, time.perf_counter() - begun)
