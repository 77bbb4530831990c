"""Whether the host computes as it should: kernels and libraries must leave its arithmetic as they found it.

A library built with fast-math turns subnormals off for the thread that loads it, and a kernel may forget to restore a
rounding mode. Every other backend, and the oracle that judges this one, would then compute with that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from ..core.errors import ConformanceError

# Arrays, so that nothing is folded when this module is compiled.
_SMALL: Final = np.array([5e-324])
_SMALL_SINGLE: Final = np.array([1e-45], np.float32)
_LEAST: Final = np.array([2.2250738585072014e-308])
_ONE: Final = np.array([1.0])
_HALF_UNIT: Final = np.array([2.0**-53])
#: What NumPy answers to exceptions of its own; a kernel may change it only for its own time.
_HANDLING: Final = np.geterr()


def _flushes_operands() -> bool:
    return bool((_SMALL * _ONE)[0] == 0 or (_SMALL_SINGLE * np.float32(1))[0] == 0)


def _flushes_results() -> bool:
    return bool((_LEAST * 0.5)[0] == 0)


def _rounds_otherwise() -> bool:
    up, down = (_ONE + _HALF_UNIT)[0], (-_ONE - _HALF_UNIT)[0]
    return bool(up != 1 or down != -1 or (_ONE + 1.5 * _HALF_UNIT)[0] == 1)


_FAULTS: Final[tuple[tuple[Callable[[], bool], str], ...]] = (
    (_flushes_operands, "subnormal operands count as zero"),
    (_flushes_results, "subnormal results become zero"),
    (_rounds_otherwise, "results are not rounded to the nearest"),
    (lambda: np.geterr() != _HANDLING, "numpy.seterr was changed"),
)


def faults() -> Iterator[str]:
    """Yield what is wrong with the arithmetic of this thread."""
    with np.errstate(under="ignore"):
        found = [text for wrong, text in _FAULTS[:-1] if wrong()]
    yield from found
    yield from (text for wrong, text in _FAULTS[-1:] if wrong())


def check(kernel: str) -> None:
    """Raise where the arithmetic of this thread is not what it was.

    Args:
        kernel: what ran last.

    Raises:
        ConformanceError: naming what is wrong.
    """
    found = list(faults())
    if found:
        raise ConformanceError(
            f"{kernel}: the host's arithmetic is not as it was before the kernel ran or its library was loaded: "
            f"{', '.join(found)}; restore it, and link without fast-math start-up code",
            kernel=kernel,
        )
