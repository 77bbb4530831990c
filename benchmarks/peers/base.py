"""What a peer offers the harness, and the timed loop that all libraries share."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from time import perf_counter
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError

AsGiven = Callable[[Case, tuple[Any, ...]], tuple[Any, ...]]
Function = Callable[..., Any]
#: From a case to the function that is timed.
Build = Callable[[Case], Function]


class Program(Protocol):
    """A case made ready by a peer.

    Attributes:
        detail: which kernels run, where the peer can say.
        work: flops or bytes of one repetition, for a probe.
    """

    detail: str
    work: float | None

    def seconds(self, repetitions: int) -> float:
        """Run it so often, wait for the last, and return the seconds that took."""

    def result(self) -> NDArray[Any]:
        """Return what the last repetition computed."""


class Peer(Protocol):
    """One library, or one way to use it."""

    def versions(self) -> dict[str, str]:
        """Return versions of everything that decides its speed."""

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready.

        Args:
            case: what to compute.
            stored: its operands, as they lie in memory.
            as_given: turns stored operands of any library into those that the op sees.

        Raises:
            UnsupportedCaseError: for a case that the peer does not offer.
        """


def _one(f: Function, count: int, a: Any) -> tuple[float, Any]:
    y = None
    start = perf_counter()
    for _ in repeat(None, count):
        y = f(a)
    return perf_counter() - start, y


def _two(f: Function, count: int, a: Any, b: Any) -> tuple[float, Any]:
    y = None
    start = perf_counter()
    for _ in repeat(None, count):
        y = f(a, b)
    return perf_counter() - start, y


def _three(f: Function, count: int, a: Any, b: Any, c: Any) -> tuple[float, Any]:
    y = None
    start = perf_counter()
    for _ in repeat(None, count):
        y = f(a, b, c)
    return perf_counter() - start, y


def _one_into(f: Function, count: int, a: Any) -> tuple[float, Any]:
    y = f(a)
    start = perf_counter()
    for _ in repeat(None, count):
        y = f(a, out=y)
    return perf_counter() - start, y


def _two_into(f: Function, count: int, a: Any, b: Any) -> tuple[float, Any]:
    y = f(a, b)
    start = perf_counter()
    for _ in repeat(None, count):
        y = f(a, b, out=y)
    return perf_counter() - start, y


# One loop per number of operands: unpacking a tuple in each turn would cost as much as a small op.
_LOOPS: Final[dict[tuple[int, bool], Callable[..., tuple[float, Any]]]] = {
    (1, False): _one,
    (2, False): _two,
    (3, False): _three,
    (1, True): _one_into,
    (2, True): _two_into,
}


class Calls:
    """A function called on operands in a loop.

    Args:
        function: what to call.
        operands: of the peer's own type.
        to_numpy: turns a result into a NumPy array.
        reuse: whether each call writes into the result of the one before, through ``out=``.
        detail: which kernels run.
    """

    def __init__(
        self,
        function: Function,
        operands: Sequence[Any],
        to_numpy: Callable[[Any], NDArray[Any]] = np.asarray,
        *,
        reuse: bool = False,
        detail: str = "",
    ) -> None:
        self.detail = detail
        self.work: float | None = None
        self._function = function
        self._operands = tuple(operands)
        self._loop = _LOOPS[len(self._operands), reuse]
        self._to_numpy = to_numpy
        self._last: Any = None

    def seconds(self, repetitions: int) -> float:
        """Run it so often and return the seconds that took."""
        taken, self._last = self._loop(self._function, repetitions, *self._operands)
        return taken

    def result(self) -> NDArray[Any]:
        """Return what the last call computed."""
        return self._to_numpy(self._last)


def build(table: Mapping[str, Build], case: Case, peer: str) -> Function:
    """Return the function for a case from a peer's table.

    Raises:
        UnsupportedCaseError: where the table has none.
    """
    if case.kind not in table:
        raise UnsupportedCaseError(f"{peer} has no {case.kind} here")
    return table[case.kind](case)


def same(function: Function) -> Build:
    """Return a builder that needs nothing of the case."""
    return lambda case: function


def chain(multiply: Function, add: Function, pairs: int) -> Function:
    """Return the chain of products and sums, in a library's own calls."""

    def run(x: Any, a: Any, b: Any) -> Any:
        for _ in range(pairs):
            x = add(multiply(x, a), b)
        return x

    return run


def versions_of(*distributions: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
