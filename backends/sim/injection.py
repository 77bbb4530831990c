"""Faults from a seed: which request of which device goes wrong, and how.

Whether a fault is injected depends on the seed, the kind of fault, the device's index and the number of the request on
that device, and on nothing else: no state, no order of drawing. So the same calls meet the same faults, and a plan with
one rate changed keeps the other faults where they were.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ...plugin import ArgumentError


class Kind(StrEnum):
    """What can be injected."""

    OOM = "oom"
    LAUNCH = "launch"
    LANE = "lane"
    HANG = "hang"
    LOST_COMPLETION = "lost-completion"
    LATE_COMPLETION = "late-completion"
    REORDER = "reorder"
    DMA = "dma"
    DMA_CORRUPT = "dma-corrupt"
    DMA_SLOW = "dma-slow"
    LINK_SLOW = "link-slow"
    LINK_BROKEN = "link-broken"
    DEVICE_LOST = "device-lost"


class Request(StrEnum):
    """What is asked of a device; each takes the next number on it."""

    ALLOC = "alloc"
    LAUNCH = "launch"
    DMA = "dma"
    LINK = "link"


#: Which faults a request may meet, in the order in which they are drawn.
MEETS: Final[Mapping[Request, tuple[Kind, ...]]] = MappingProxyType(
    {
        Request.ALLOC: (Kind.DEVICE_LOST, Kind.OOM),
        Request.LAUNCH: (
            *(Kind.DEVICE_LOST, Kind.LAUNCH, Kind.HANG, Kind.LANE),
            *(Kind.LOST_COMPLETION, Kind.LATE_COMPLETION, Kind.REORDER),
        ),
        Request.DMA: (Kind.DEVICE_LOST, Kind.DMA, Kind.DMA_CORRUPT, Kind.DMA_SLOW, Kind.REORDER),
        Request.LINK: (Kind.LINK_BROKEN, Kind.LINK_SLOW),
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One injected fault.

    Attributes:
        device: index of the device.
        number: the request of that device.
        kind: what was injected.
        op: the op, ``"alloc"``, ``"upload"``, ``"download"`` or ``"transfer"``.
        size: a number below 2**32 that the same seed always gives: which bit, which lane, how slow.
    """

    device: int
    number: int
    kind: Kind
    op: str
    size: int

    def __str__(self) -> str:
        return f"injected fault {self.kind} (sim:{self.device}, request {self.number}, {self.op})"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What is to go wrong.

    Attributes:
        seed: of all draws.
        rates: the share of the requests, of those that can meet it, that meet a fault.
        exactly: pairs (kind, number): a fault that this request meets for certain, on every device.
        limit: virtual seconds after which waiting for something that does not end is given up.

    >>> plan = FaultPlan.parse("seed=7, launch=0.5, oom@3")
    >>> plan.seed, dict(plan.rates), sorted(plan.exactly)
    (7, {<Kind.LAUNCH: 'launch'>: 0.5}, [(<Kind.OOM: 'oom'>, 3)])
    """

    seed: int = 0
    rates: Mapping[Kind, float] = field(default_factory=dict)
    exactly: frozenset[tuple[Kind, int]] = frozenset()
    limit: float = 10.0

    def __post_init__(self) -> None:
        for kind, rate in self.rates.items():
            if not 0.0 <= rate <= 1.0:
                raise ArgumentError(f"fault {kind}: a rate of {rate}; it is a share, from 0 to 1", fault=str(kind))
        for kind, number in sorted(self.exactly):
            if number < 1:
                raise ArgumentError(f"fault {kind}@{number}: requests count from 1", fault=str(kind), given=number)
        if not 0.0 < self.limit < math.inf:
            raise ArgumentError(f"faults: limit={self.limit}; it is virtual seconds, above 0", given=self.limit)

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """Return the plan that a text such as ``"seed=7,oom=0.01,launch@12,limit=5"`` describes.

        Raises:
            ArgumentError: naming the part that is wrong, and what is allowed.
        """
        seed, limit = 0, 10.0
        rates: dict[Kind, float] = {}
        exactly: set[tuple[Kind, int]] = set()
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, separator, value = part.replace("@", "=@", 1).partition("=")
            name = name.strip()
            try:
                if name == "seed":
                    seed = int(value)
                elif name == "limit":
                    limit = float(value)
                elif value.startswith("@"):
                    exactly.add((_kind(name), int(value[1:])))
                elif separator:
                    rates[_kind(name)] = float(value)
                else:
                    raise ValueError(part)
            except ArgumentError:
                raise
            except ValueError as error:
                raise ArgumentError(
                    f"faults: {part!r} is none of seed=INTEGER, limit=SECONDS, KIND=RATE, KIND@REQUEST", given=part
                ) from error
        return cls(seed, rates, frozenset(exactly), limit)

    @classmethod
    def load(cls, path: str | Path) -> FaultPlan:
        """Return the plan in a TOML file: ``seed``, ``limit``, a rate per kind, and ``at``, a table of request numbers.

        Raises:
            ArgumentError: for a file that cannot be read or holds no plan; it names the file, and what is allowed.
        """
        try:
            given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArgumentError(f"faults: {path}: {error}", given=str(path)) from error
        exactly = given.pop("at", {})
        try:
            parts = [f"{name}={value}" for name, value in given.items()]
            parts += [f"{name}@{number}" for name, numbers in exactly.items() for number in numbers]
        except (AttributeError, TypeError) as error:
            raise ArgumentError(f"faults: {path}: at is a table of lists of request numbers", given=exactly) from error
        try:
            return cls.parse(",".join(parts))
        except ArgumentError as error:
            raise ArgumentError(f"{path}: {error}", given=str(path)) from error

    def drawn(self, device: int, number: int, request: Request, op: str) -> Iterator[Fault]:
        """Yield the faults that a request meets."""
        for kind in MEETS[request]:
            rate = self.rates.get(kind, 0.0)
            certain = (kind, number) in self.exactly
            if rate <= 0.0 and not certain:
                continue
            chance, size = draw(self.seed, kind, device, number)
            if certain or chance < rate:
                yield Fault(device, number, kind, op, size)

    @property
    def empty(self) -> bool:
        """Whether nothing is to go wrong."""
        return not self.exactly and not any(self.rates.values())


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        near = difflib.get_close_matches(name, [*Kind, "seed", "limit"], n=1)
        hint = f"did you mean {str(near[0])!r}? " if near else ""
        raise ArgumentError(
            f"faults: no kind {name!r}; {hint}there are {', '.join(Kind)}, beside seed and limit", given=name
        ) from None


def draw(seed: int, kind: Kind, device: int, number: int) -> tuple[float, int]:
    """Return a number from 0 up to 1 and one below 2**32, as of no relation to those of any other arguments."""
    key = f"{seed}/{kind}/{device}/{number}".encode()
    words = hashlib.blake2b(key, digest_size=12).digest()
    return int.from_bytes(words[:8], "little") / 2**64, int.from_bytes(words[8:], "little")


class Injector:
    """Draws the faults of one device, and keeps what was injected.

    Attributes:
        plan: what is to go wrong.
        number: of the last request.
        injected: the faults so far.
    """

    def __init__(self, device: int, plan: FaultPlan) -> None:
        self.device = device
        self.plan = plan
        self.number = 0
        self.injected: list[Fault] = []

    def request(self, request: Request, op: str) -> dict[Kind, Fault]:
        """Take the next number, and return the faults that the request meets."""
        self.number += 1
        if self.plan.empty:
            return {}
        met = {fault.kind: fault for fault in self.plan.drawn(self.device, self.number, request, op)}
        self.injected += met.values()
        return met
