"""What the kernels of this backend accept and promise, and where they find their GPU."""

from __future__ import annotations

from typing import Final, cast

from ...plugin import CallSpec, Determinism, Promises, dtypes
from .driver import CudaDriver

#: Dtypes with arithmetic of their own.
ARITHMETIC: Final = frozenset(t.name for t in (dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS))
#: Dtypes that can be moved as words of their width.
WORDS: Final = frozenset(t.name for t in dtypes.ALL if t.itemsize <= 8)
CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)


def word(dtype: dtypes.DType) -> str:
    """Return the unsigned integer dtype as wide as a dtype.

    >>> word(dtypes.float32)
    'uint32'
    """
    return f"uint{dtype.itemsize * 8}"


def driver_of(spec: CallSpec) -> CudaDriver:
    """Return the GPU that a call runs on."""
    return cast(CudaDriver, spec.outputs[0].device.driver)
