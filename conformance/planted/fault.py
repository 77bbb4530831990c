"""A planted fault as data: what it stands for, what is planted where, and the cases that must catch it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ...core.errors import ArgumentError
from ...core.kernel import Promises
from ..cases.case import REGIONS
from ..results.outcome import Outcome
from .twin.accelerator import Accelerator
from .twin.backend import Faulty, FaultyMany, Twin
from .twin.regions import FaultyRegion, Regions

Pair = tuple[str, str]
#: Bytes of a device with a faulty driver: enough for every case, and soon filled by those that fill a device.
_MEMORY: Final = 1 << 26
#: Ops on which a faulty driver is tried, where all cases in its reach are asked for.
_REACHED_BY_DRIVERS: Final = "copy add exp"


@dataclass(frozen=True)
class Fault:
    """A backend with one fault.

    Attributes:
        name: unique; the backend is registered as ``planted-`` and this.
        family: the module that it is in.
        story: the real fault that it stands for, in one sentence.
        make: returns the backend, which has kept nothing from earlier calls.
        ops: those whose kernels the fault can reach, ``device`` among them.
        killers: ids of the cases that must catch it.
        outcome: how they end.
        says: a word of their messages, where another failure could be mistaken for the right one.
        isolate: whether it takes its process down, so that it runs in worker processes.
        claims: whether it shows only when results are held to the profiles claimed.
        limit: seconds that one case may take, where it is isolated.
    """

    name: str
    family: str
    story: str
    make: Callable[[], Twin]
    ops: tuple[str, ...]
    killers: tuple[str, ...]
    outcome: Outcome = Outcome.FAIL
    says: str = ""
    isolate: bool = False
    claims: bool = False
    limit: float = 60.0

    @property
    def backend(self) -> str:
        """The name that the backend is registered under."""
        return f"planted-{self.name}"

    @property
    def reach(self) -> tuple[Pair, ...]:
        """Pairs of op and dtype whose cases the fault is tried on, where all are asked for."""
        named = dict.fromkeys(map(pair_of, self.killers))
        types = dict.fromkeys(t for op, t in named if op != "device")
        every = {(op, t): None for op in self.ops for t in types if op != "device"}
        return tuple(named | every)


def pair_of(case: str) -> Pair:
    """Return op and dtype of a case's id.

    >>> pair_of("sum-float32-special-sum([]) -> +0")
    ('sum', 'float32')
    """
    op, t, _ = case.split("-", 2)
    return op, t


class Family:
    """The faults of one module, in order.

    Args:
        name: of the family; the module's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []

    def plant(
        self,
        name: str,
        ops: str,
        *killers: str,
        workspace: int = 0,
        driver: Callable[[], Accelerator] | None = None,
        **more: Any,
    ) -> Callable[[Faulty], Faulty]:
        """Enter a function as a fault: it runs in place of the twin's computation, and its docstring is the story.

        Args:
            name: of the fault.
            ops: whose kernels it replaces, separated by blanks.
            *killers: ids of the cases that must catch it.
            workspace: bytes of scratch memory that its kernels ask for.
            driver: of the device that it runs on; None for ``cpu``.
            **more: further fields of :class:`Fault`.
        """
        planted = tuple(ops.split())

        def enter(faulty: Faulty) -> Faulty:
            def make() -> Twin:
                made = Twin(driver=driver)
                for op in planted:
                    made = made.with_ware(op, faulty=faulty, workspace=workspace)
                return made

            self.faults.append(Fault(name, self.name, _story(faulty), make, planted, killers, **more))
            return faulty

        return enter

    def collective(self, name: str, ops: str, *killers: str, **more: Any) -> Callable[[FaultyMany], FaultyMany]:
        """Enter a function as a fault of the kernels for some collectives; its docstring is the story."""
        planted = tuple(ops.split())

        def enter(faulty: FaultyMany) -> FaultyMany:
            def make() -> Twin:
                made = Twin()
                for op in planted:
                    made = made.with_collective(op, faulty)
                return made

            self.faults.append(Fault(name, self.name, _story(faulty), make, planted, killers, **more))
            return faulty

        return enter

    def region(
        self, name: str, *killers: str, promises: Promises | None = None, **more: Any
    ) -> Callable[[FaultyRegion], FaultyRegion]:
        """Enter a function as a fault of a region compiler, which promises so much; its docstring is the story."""

        def enter(faulty: FaultyRegion) -> FaultyRegion:
            def make() -> Twin:
                return Twin(regions=partial(Regions, faulty, promises))

            self.faults.append(Fault(name, self.name, _story(faulty), make, (REGIONS,), killers, **more))
            return faulty

        return enter

    def backend(self, name: str, ops: str, *killers: str, **more: Any) -> Callable[[Callable[[], Twin]], None]:
        """Enter a function that returns a whole backend with a fault; its docstring is the story."""

        def enter(make: Callable[[], Twin]) -> None:
            self.faults.append(Fault(name, self.name, _story(make), make, tuple(ops.split()), killers, **more))

        return enter

    def driver(
        self, name: str, *killers: str, memory: int = _MEMORY, **more: Any
    ) -> Callable[[type[Accelerator]], type[Accelerator]]:
        """Enter a driver with a fault, of a device with so much memory; its docstring is the story."""

        def enter(driver: type[Accelerator]) -> type[Accelerator]:
            def make() -> Twin:
                return Twin(driver=partial(driver, memory))

            make.__doc__ = driver.__doc__
            self.backend(name, _REACHED_BY_DRIVERS, *killers, **more)(make)
            return driver

        return enter


def _story(function: Callable[..., Any]) -> str:
    told = inspect.getdoc(function)
    if not told:
        raise ArgumentError(f"the planted fault {function.__name__} has no docstring to tell its story")
    return " ".join(told.split())
