"""How far each kernel's claims are proved: declared by its backend, shown or refuted by conformance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..locks import Order, held_across_fork
from . import tables
from .decision import Claim


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """What a verdict is about: one implementation, one dtype, one device.

    Attributes:
        backend, version: whose.
        kernel: what the kernel is judged as: its name, or its family of regions.
        dtype: of the leading operand.
        device: the product's name.
    """

    backend: str
    version: str
    kernel: str
    dtype: str
    device: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What conformance found.

    Attributes:
        level: shown or refuted.
        max_ulp: the worst error seen, where the op is bounded in ULP.
        evidence: the certificate or run that found it.
    """

    level: Claim
    max_ulp: float | None = None
    evidence: str = ""


class ClaimTable:
    """Verdicts of conformance runs; what is not in it is declared."""

    def __init__(self) -> None:
        self._verdicts: dict[ClaimKey, Verdict] = {}
        self._lock = held_across_fork(Order.TABLE)

    def record(self, verdicts: dict[ClaimKey, Verdict]) -> None:
        """Take in verdicts; later ones replace earlier ones, and decisions are made anew."""
        with self._lock:
            self._verdicts = {**self._verdicts, **verdicts}
        tables.forget_decisions()

    def clear(self) -> None:
        """Forget every verdict."""
        with self._lock:
            self._verdicts = {}
        tables.forget_decisions()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Return a context in which only what is found inside is known.

        What earlier runs of conformance refuted is out of every decision: a second run would call its ops unsupported,
        or pass their decompositions, and a wrong backend would be conformant.
        """
        known = self._verdicts
        self.clear()
        try:
            yield
        finally:
            self.record(known | self._verdicts)

    def verdict(self, key: ClaimKey) -> Verdict:
        """Return what is known of a claim."""
        return self._verdicts.get(key, Verdict(Claim.DECLARED))


CLAIMS = ClaimTable()
