"""What a trial is, and the GPU that it is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import opmux as ox
from opmux.conformance.performance.candidates import runnable
from opmux.conformance.target import targets
from opmux.core.arrays.array import Array
from opmux.core.devices.device import Device
from opmux.core.dispatch.decision import Candidate
from opmux.core.op import OPS


class NotHereError(Exception):
    """The machine has not what a trial needs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trial runs.

    Attributes:
        device: the first GPU.
        pretended: whether that is none.
    """

    device: Device
    pretended: bool = False

    def put(self, x: Any) -> Array:
        """Return host data on the GPU."""
        return ox.asarray(x, device=self.device)

    def size(self, real: int, pretended: int) -> int:
        """Return a size for a GPU, or a small one for the host, which carries threads out one by one."""
        return pretended if self.pretended else real

    def candidate(self, op: str, kernel: str, *arrays: Array, **attributes: Any) -> Candidate:
        """Return a kernel made ready for a call, whichever the dispatcher would choose; it may have a rejection."""
        decision = targets("cuda")[0].decide(OPS[op], arrays, attributes)
        return next(c for c in runnable(decision) if c.name == f"cuda/{kernel}")

    def by(self, op: str, kernel: str, *arrays: Array, **attributes: Any) -> Array:
        """Return what one kernel gives.

        Raises:
            NotHereError: it does not take the call.
        """
        found = self.candidate(op, kernel, *arrays, **attributes)
        if found.run is None:
            raise NotHereError(f"cuda/{kernel}: {found.rejection}")
        return found.run(list(arrays), None)[0]

    @property
    def runtime(self) -> Any:
        """What the backend asks of CUDA."""
        return self.device.driver.runtime  # type: ignore[attr-defined]


#: What a trial does: it raises where something is wrong, and may return what it saw.
Run = Callable[[Place], str | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that is tried.

    Attributes:
        name: of the trial.
        run: does it.
        seconds: that it may take, the start of its process and compiling included.
        alone: whether nothing else may use the GPU meanwhile.
        pretended: whether it can be carried out on the host.
    """

    name: str
    run: Run
    seconds: float
    alone: bool
    pretended: bool


#: By name, in the order in which they run.
TRIALS: Final[dict[str, Trial]] = {}


def trial(
    *, name: str | None = None, seconds: float = 60.0, alone: bool = False, pretended: bool = True
) -> Callable[[Run], Run]:
    """Return a decorator that makes a function a trial, whose name is the function's where none is given."""

    def add(run: Run) -> Run:
        called = name or re.sub("_", " ", run.__name__)  # type: ignore[attr-defined]
        if called in TRIALS:
            raise ValueError(f"two trials are called {called!r}")
        TRIALS[called] = Trial(called, run, seconds, alone, pretended)
        return run

    return add


def same(found: Any, expected: Any, what: str = "") -> None:
    """Raise unless two arrays have the same bits; all NaNs are one."""
    found, expected = (np.asarray(x.numpy() if isinstance(x, Array) else x) for x in (found, expected))
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        raise AssertionError(f"{what}: {found.dtype} {found.shape} in place of {expected.dtype} {expected.shape}")
    words = f"V{found.dtype.itemsize}"
    wrong = np.ascontiguousarray(found).view(words) != np.ascontiguousarray(expected).view(words)
    with np.errstate(invalid="ignore"):
        wrong &= ~((found != found) & (expected != expected))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {found.size} differ, the first at {at}: {found[at]!r} in place of "
            f"{expected[at]!r}"
        )


def whole(shape: tuple[int, ...], dtype: Any, seed: int, least: int = -3, most: int = 3) -> np.ndarray[Any, Any]:
    """Return whole numbers, whose products and sums are exact in any order."""
    return np.random.default_rng(seed).integers(least, most + 1, shape).astype(dtype)


def ran(calls: Any) -> str:
    """Return the names of the kernels that ran within ``ox.count_calls()``."""
    found = [c.decision.chosen.name for c in (*calls.most_expensive(), *calls.steps())]
    return ", ".join(dict.fromkeys(found))
