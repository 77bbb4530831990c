"""The benchmarks: which cases, and which targets. One module each; a new benchmark is a new module and one row here."""

from __future__ import annotations

from typing import Final

from ..errors import UnknownNameError
from . import call_cost, elementwise, gemm, gpu, reductions
from .base import Suite, Target

__all__ = ["SUITES", "Suite", "Target", "suite"]

_ALL: Final = (gemm.SUITE, elementwise.SUITE, reductions.SUITE, call_cost.SUITE, gpu.SUITE)
SUITES: Final[dict[str, Suite]] = {suite.name: suite for suite in _ALL}


def suite(name: str) -> Suite:
    """Return a benchmark.

    Raises:
        UnknownNameError: for one that does not exist.
    """
    if name not in SUITES:
        raise UnknownNameError(f"no benchmark {name!r}; `python -m benchmarks --help` names them all")
    return SUITES[name]
