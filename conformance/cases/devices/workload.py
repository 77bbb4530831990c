"""Small calls with exact results, of ops that a target serves: what the cases of a whole device are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.dispatch.call import public_function
from ....core.dtypes import DType, dtype
from ....core.errors import ConformanceError
from ....core.op import OPS
from ...oracle.formats import Host
from ...target import Findings, RefusedError, Target, dense, soil_host
from ..values import generator

#: Dtypes in the order of preference; the values are so small that each holds every result exactly.
_DTYPES: Final = ("float32", "int32", "float16", "bfloat16", "float64", "int8", "int64", "int16", "uint8")


@dataclass(frozen=True)
class Call:
    """One call on host or device data.

    Attributes:
        op: its name.
        attributes: as given.
        host: the same with NumPy; exact for small integers.
        operands: how many.
    """

    op: str
    host: Callable[..., Host]
    operands: int = 2
    attributes: tuple[tuple[str, Any], ...] = ()


#: Two operands of one shape to one of it.
_BINARY: Final = (
    Call("add", np.add),
    Call("subtract", np.subtract),
    Call("maximum", np.maximum),
    Call("minimum", np.minimum),
)
_COPY: Final = Call("copy", np.array, 1)
#: Kernels that work in parallel or in blocks, and may have a workspace.
_WIDE: Final = (
    Call("sum", lambda x: np.sum(x, axis=0, dtype=x.dtype), 1, (("axis", (0,)), ("dtype", "own"))),
    Call("matmul", np.matmul),
    Call("max", lambda x: np.max(x, axis=0), 1, (("axis", (0,)),)),
)


class Workload:
    """What a target serves of the calls above, on one dtype.

    Args:
        target: the target.

    Attributes:
        dtype: the dtype.
        binary: a call of two operands: an addition where it is served.
        wide: reductions and contractions.
        copies: whether strided operands can be copied by a kernel of the target.

    Raises:
        RefusedError: it serves nothing that a case of a device could be made of.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        for name in _DTYPES:
            self.dtype: DType = dtype(name)
            found = [c for c in _BINARY if self._serves(c)]
            if found:
                self.binary = found[0]
                self.wide = tuple(c for c in _WIDE if self._serves(c))
                self.copies = self._serves(_COPY)
                return
        names = ", ".join(c.op for c in _BINARY)
        raise RefusedError(f"{target.backend} serves none of {names} on {target.device}: nothing to make a case of")

    def _serves(self, call: Call) -> bool:
        x = self.upload(np.ones((2, 2), self.dtype.numpy))
        try:
            self.target.decide(OPS[call.op], [x] * call.operands, self._attributes(call))
        except (RefusedError, ConformanceError):  # the cases of the op say whether that is right
            return False
        return True

    def _attributes(self, call: Call) -> dict[str, Any]:
        """Return a call's attributes; sums keep the dtype of their terms."""
        return {n: self.dtype if v == "own" else v for n, v in call.attributes}

    def values(self, shape: tuple[int, ...], *seed: object) -> Host:
        """Return integers of -4 to 4, or 0 to 4, as the dtype; never all equal."""
        low = 0 if self.dtype.name.startswith("u") else -4
        made = generator("workload", shape, *seed).integers(low, 5, shape)
        return np.asarray(made.astype(np.float32).astype(self.dtype.numpy))

    def upload(self, host: Host) -> Array:
        """Return host data on the device."""
        return dense(host, self.target.device)

    def call(self, call: Call, *arrays: Array, out: Array | None = None) -> Array:
        """Make a call as users do, on device data or inside of a compiled function."""
        made = _function(call.op)(*arrays, out=out, **self._attributes(call))
        return made if not isinstance(made, tuple) else made[0]

    def add(self, x: Array, y: Array, out: Array | None = None) -> Array:
        """Make the call of two operands."""
        return self.call(self.binary, x, y, out=out)


@functools.cache
def _function(op: str) -> Callable[..., Array | tuple[Array, ...]]:
    return public_function(OPS[op])


def hold(findings: Findings, found: Host, expected: Host, what: str) -> None:
    """Hold the result of calls to what it must be; zeros of either sign are equal.

    Raises:
        ConformanceError: it is another.
    """
    _hold(findings, found, expected, what, found != expected if found.shape == expected.shape else None)


def hold_bytes(findings: Findings, found: Host, expected: Host, what: str) -> None:
    """Hold what was copied to what it must be, byte for byte.

    Raises:
        ConformanceError: it is another.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        _hold(findings, found, expected, what, None)
        return
    a, b = (np.frombuffer(x.tobytes(), np.uint8).reshape(x.size, x.itemsize) for x in (found, expected))
    _hold(findings, found, expected, what, (a != b).any(axis=1))


def _hold(findings: Findings, found: Host, expected: Host, what: str, differs: Host | None) -> None:
    findings.held()
    if differs is None:
        raise ConformanceError(
            f"{what}: {found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
        )
    wrong = np.asarray(differs).reshape(-1).nonzero()[0]
    if wrong.size:
        at = int(wrong[0])
        raise ConformanceError(
            f"{what}: {wrong.size} of {expected.size} elements are wrong, the first at {at}: "
            f"{found.reshape(-1)[at]} instead of {expected.reshape(-1)[at]}"
        )


def demand(findings: Findings, condition: bool, what: str) -> None:
    """Hold a fact to be true.

    Raises:
        ConformanceError: it is not.
    """
    findings.held()
    if not condition:
        raise ConformanceError(what)


def random_bytes(count: int, *seed: object) -> Host:
    """Return bytes drawn from a seed."""
    return generator("bytes", count, *seed).integers(0, 256, count, np.uint8)


def as_bytes(x: Array) -> Host:
    """Return an array's values, read where no memory of the host has them yet."""
    soil_host(x.size * x.dtype.itemsize)
    return np.asarray(x.numpy())
