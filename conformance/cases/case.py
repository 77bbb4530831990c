"""What a case is, and what the families of cases are given to make theirs from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ...core.dtypes import DType
from ...core.op import Op
from ..oracle.expect import Expected
from ..target import Findings, Target
from .samples.sample import Sample

#: What a case does with a target: it notes what it asserts, and raises for what is wrong.
Check = Callable[[Target, Findings], None]
#: The same for checks that are about one op.
OpCheck = Callable[[Target, Op, Findings], None]

#: In place of an op, for the cases of a whole device.
DEVICE: Final = "device"
#: In place of an op, for the cases of region compilers.
REGIONS: Final = "regions"
#: In place of a dtype, for the cases of a device that are about none.
ANY: Final = "any"

#: The kinds of case, in the order in which they run; their meaning is told by ``docs/conformance.md``.
KINDS: Final = (
    "values", "special", "exhaustive", "shapes", "large", "strides", "aliasing", "out", "promotion", "property",
    "determinism", "errors", "refusal", "claims",
    "memory", "queues", "interop", "faults", "programs", "model", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One check of one op with a leading operand of one dtype, or of a device.

    Attributes:
        op, dtype: names, ``"device"``, ``"regions"`` and ``"any"`` among them.
        kind: one of :data:`KINDS`.
        label: which of its kind; may be empty.
        check: what it does with a target.
    """

    op: str
    dtype: str
    kind: str
    label: str
    check: Check

    @property
    def id(self) -> str:
        """The exact id: ``exp-float32-special-exp(-inf) -> +0``."""
        return "-".join(part for part in (self.op, self.dtype, self.kind, self.label) if part)


@dataclass(frozen=True)
class OpContext:
    """What the families of cases of an op and dtype have in common.

    Attributes:
        quick: whether few values are asked for; not sufficient for a claim.
        seed: of what is drawn at random.
        samples: the op's samples.
        once: the oracle of a sample, computed at most once.
        base: the sample on which strides, ``out=`` and aliasing are tried, where there is one.
    """

    quick: bool
    seed: int
    samples: tuple[Sample, ...]
    once: Callable[[Sample], Callable[[], Expected]]
    base: Sample | None


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """What the families of cases of a device have in common.

    Attributes:
        quick: whether few rounds are asked for; not sufficient for a claim.
        seed: of what is drawn at random.
    """

    quick: bool
    seed: int


#: Yields kind, label and check.
OpFamily = Callable[[Op, DType, OpContext], Iterator[tuple[str, str, OpCheck]]]
#: Yields kind, label and check for a dtype's name, :data:`ANY` among them.
DeviceFamily = Callable[[str, DeviceContext], Iterator[tuple[str, str, Check]]]
