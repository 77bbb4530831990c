"""Running one case on one target, whatever it does."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...core.errors import ConformanceError, DeviceLostError
from ..cases.case import Case
from ..results.outcome import CaseResult, Outcome
from ..target import Findings, RefusedError, Target, UnderClaimError, only
from .isolation import Job, reproducer

#: The package that the suite is part of.
_OWN: Final = Path(__file__).resolve().parents[2]


def _origin(error: BaseException) -> str:
    """Return where an exception began, when that is not in opmux itself: what a vendor looks for."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not Path(f.filename).is_relative_to(_OWN)]
    if not theirs or frames[-1] is not theirs[-1]:
        return ""
    last = theirs[-1]
    return f" ({type(error).__name__} in {last.name}, {last.filename}:{last.lineno}: {last.line})"


def execute(case: Case, target: Target, job: Job, tell: Callable[[str], None] | None = None) -> CaseResult:
    """Return what became of a case; nothing that it raises gets out.

    Args:
        case: to run.
        target: on what.
        job: that it is part of.
        tell: takes the names that the case takes in before it runs them, as it does.
    """
    findings = Findings(tell=tell)
    start = time.perf_counter()
    outcome, message, lost = Outcome.PASS, "", False
    try:
        with only(target.backend):
            case.check(target, findings)
        if not findings.assertions:
            outcome, message = Outcome.FAIL, "the case asserted nothing, so it proves nothing: a fault of the suite"
    except RefusedError as error:
        outcome, message = Outcome.UNSUPPORTED, str(error)
        if findings.errors:
            outcome, message = Outcome.FAIL, f"it runs some of the case and refuses the rest: {error}"
    except UnderClaimError as claim:
        outcome, message = Outcome.UNDER_CLAIM, str(claim)
    except ConformanceError as error:
        outcome = Outcome.NOT_RUN if "missing" in error.culprits else Outcome.FAIL
        message = str(error)
    except DeviceLostError as error:
        outcome, message, lost = Outcome.NOT_RUN, f"the device was lost: {error}", True
    except Exception as error:  # a fault of the backend, or of the suite: in both cases nothing is proved
        outcome, message = Outcome.FAIL, f"{type(error).__name__}: {error}{_origin(error)}"
    return CaseResult(
        case.id, target.backend, case.op, case.dtype, case.kind, target.device.name, outcome, findings.errors,
        findings.unit, findings.assertions, round(time.perf_counter() - start, 6), message, reproducer(job, case.id),
        lost=lost,
    )  # fmt: skip
