"""Cases of a whole device, run alone."""

from __future__ import annotations

from opmux.conformance.cases.case import ANY, DEVICE
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.results.outcome import CaseResult
from opmux.conformance.running.execute import execute
from opmux.conformance.running.isolation import Job
from opmux.conformance.target import Target, targets
from opmux.core.runtime import ensure_loaded


def target_of(backend: str) -> Target:
    """Return an installed backend on its first device."""
    ensure_loaded()
    return targets(backend)[0]


def ended(target: Target, label: str, *, quick: bool = False) -> CaseResult:
    """Return what became of the case of kind and label given, such as ``faults-late``."""
    case = next(c for c in cases(DEVICE, ANY) if c.id == f"{DEVICE}-{ANY}-{label}")
    return execute(case, target, Job(target.backend, target.device.name, DEVICE, ANY, quick, (case.id,)))
