"""Claims for the time of a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opmux.core.dispatch.claims import CLAIMS, ClaimKey, Verdict


@contextlib.contextmanager
def claimed(verdicts: dict[ClaimKey, Verdict]) -> Iterator[None]:
    """Return a context in which some claims are known and no others; what is recorded in it does not outlive it."""
    with CLAIMS.set_aside():
        CLAIMS.record(verdicts)
        try:
            yield
        finally:
            CLAIMS.clear()
