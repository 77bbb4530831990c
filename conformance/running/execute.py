"""Running one case on one target, whatever it does."""

from __future__ import annotations

import time

from ...core.errors import ConformanceError, OpmuxError
from ..cases.enumerate import Case
from ..results.outcome import CaseResult, Outcome
from ..target import Findings, RefusedError, Target, only
from .isolation import reproducer


def execute(case: Case, target: Target) -> CaseResult:
    """Return what became of a case; nothing that it raises gets out."""
    findings = Findings()
    start = time.perf_counter()
    outcome, message = Outcome.PASS, ""
    try:
        with only(target.backend):
            case.check(target, case.op, findings)
    except RefusedError as error:
        outcome, message = Outcome.UNSUPPORTED, str(error)
        if findings.kernels:
            outcome, message = Outcome.FAIL, f"it runs some of the case and refuses the rest: {error}"
    except ConformanceError as error:
        outcome = Outcome.NOT_RUN if "missing" in error.culprits else Outcome.FAIL
        message = str(error)
    except OpmuxError as error:
        outcome, message = Outcome.FAIL, f"{type(error).__name__}: {error}"
    except Exception as error:  # a fault of the backend, or of the suite: in both cases nothing is proved
        outcome, message = Outcome.FAIL, f"{type(error).__name__}: {error}"
    return CaseResult(
        case.id, target.backend, case.op.name, case.dtype.name, case.kind, target.device.name, outcome,
        ", ".join(findings.kernels), findings.worst, findings.unit, round(time.perf_counter() - start, 6), message,
        reproducer(target.backend, case.op.name, case.dtype.name, case.id),
    )  # fmt: skip
