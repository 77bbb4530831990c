"""The kernel interface: what a backend declares, what it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from .dtypes import DType
from .signature import Shape, Signature

if TYPE_CHECKING:
    from .arrays.array import Array
    from .devices.device import Device
    from .devices.status import Completion


class Reason(StrEnum):
    """Why a candidate was not eligible. The values are stable; programs may compare them."""

    DEVICE_ABSENT = "device-absent"
    DEVICE_KIND = "device-kind"
    DTYPE = "dtype"
    RANK = "rank"
    LAYOUT = "layout"
    ALIGNMENT = "alignment"
    SIZE = "size"
    ATTRIBUTE = "attribute"
    FEATURE = "feature"
    ACCURACY = "accuracy"
    DETERMINISM = "determinism"
    CLAIM_NOT_SHOWN = "claim-not-shown"
    CLAIM_REFUTED = "claim-refuted"
    POLICY_PIN = "policy-pin"
    POLICY_FALLBACK = "policy-fallback"
    DECLINED = "declined"
    PREPARE_FAILED = "prepare-failed"
    NO_DECOMPOSITION = "no-decomposition"
    PART_UNSUPPORTED = "part-unsupported"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal: the code for programs, the detail for people."""

    reason: Reason
    detail: str


class Layout(StrEnum):
    """Which strides a kernel's operands may have.

    The core copies an operand that does not fit into a contiguous one first, prices that, and shows it.
    """

    CONTIGUOUS = "contiguous"
    STRIDED = "strided"  # any strides: zero, negative, overlapping


class Determinism(Enum):
    """How far the bits of a result are promised, weakest first."""

    NONE = 0
    RUN = 1
    THREADS = 2
    BATCH = 3
    CANONICAL = 4


#: The id of an op's canonical order, in :attr:`Promises.order`.
CANONICAL_ORDER: Final = "canonical"

#: What the names begin with under which families of regions are judged; no kernel of an op has such a name.
FAMILY_PREFIX: Final = "region:"


@dataclass(frozen=True, slots=True)
class Contract:
    """What the caller demands of a result beyond the op's default contract.

    Attributes:
        determinism: the weakest class that will do.
        max_ulp: the largest error in units in the last place, or None for the op's own bound.
    """

    determinism: Determinism = Determinism.NONE
    max_ulp: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether declared claims suffice."""
        return self.determinism is Determinism.NONE and self.max_ulp is None


@dataclass(frozen=True, slots=True, eq=False)
class Accepts:
    """What a kernel takes, as data; the reasons for its rejections follow from it.

    Attributes:
        dtypes: for each operand the dtype names allowed; the last entry serves all further operands. Empty means any.
        ranks: smallest and largest rank of an operand.
        layout: which strides the operands may have.
        aligned: whether every operand must start at a multiple of 64 bytes.
        max_elements: the largest operand or output, in elements.
        attributes: for an attribute the values allowed.
        features: device features that must be present.
        missing: returns what a device lacks beside, and how to get it, or None. It is for what is dear to find out, as
            whether a library loads: it is asked only about calls within the other limits.
    """

    dtypes: tuple[frozenset[str], ...] = ()
    ranks: tuple[int, int] = (0, 64)
    layout: Layout = Layout.STRIDED
    aligned: bool = False
    max_elements: int | None = None
    attributes: Mapping[str, frozenset[Any]] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    missing: Callable[[Device], str | None] | None = None

    def leads_with(self, dtype: str) -> bool:
        """Return whether the leading operand may have a dtype, by name."""
        return not self.dtypes or dtype in self.dtypes[0]


@dataclass(frozen=True, slots=True, eq=False)
class Promises:
    """What a kernel claims beyond the op's default contract.

    Attributes:
        max_ulp: its largest error by dtype name, where it claims one.
        order: the id of the order in which it combines terms; ``"canonical"`` for the op's canonical order, None
            for an order that it does not promise.
        determinism: the strongest class that it claims.
    """

    max_ulp: Mapping[str, float] = field(default_factory=dict)
    order: str | None = None
    determinism: Determinism = Determinism.NONE


@dataclass(frozen=True, slots=True, eq=False)
class CostTerms:
    """How a kernel's time relates to its device's best rates.

    Attributes:
        launch: seconds per launch on top of the device's own.
        compute: share of the device's arithmetic rate that it reaches.
        memory: share of the device's bandwidth that it reaches.
        tile: for a tiled contraction, the tile (rows, columns); partial tiles cost whole ones.
        compute_for, memory_for: the same shares by the dtype name of the first operand, where they differ.
    """

    launch: float = 0.0
    compute: float = 1.0
    memory: float = 1.0
    tile: tuple[int, int] | None = None
    compute_for: Mapping[str, float] = field(default_factory=dict)
    memory_for: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CallSpec:
    """One call, without its data.

    Attributes:
        op: the op's name.
        inputs: signatures of the operands, cast and broadcast as the op's rules say; None for an optional one left out.
        outputs: signatures of the results, contiguous.
        attributes: normalised attributes (axes ascending and non-negative, dtypes as objects).
        contract: what the caller demands.
    """

    op: str
    inputs: tuple[Signature | None, ...]
    outputs: tuple[Signature, ...]
    attributes: Mapping[str, Any]
    contract: Contract = Contract()

    @property
    def arrays(self) -> tuple[Signature, ...]:
        """The operands that are there."""
        return tuple(s for s in self.inputs if s is not None)


#: ``launch(outs, ins, workspace, queue)``: arrays to write, arrays to read (None for an optional one left out), the
#: workspace as an array of uint8 or None, and the queue that the device's driver opened; see :attr:`Prepared.launch`.
Launch = Callable[[Sequence["Array"], Sequence["Array"], "Array | None", Any], "Completion | None"]


@dataclass(frozen=True, slots=True, eq=False)
class NativeEntry:
    """A C entry ``int f(void **buffers, const void *params, void *queue)``: outputs last, then the workspace if any.

    Attributes:
        address: the function's address.
        params: the bytes that ``params`` points to, or None.
        owner: whatever keeps the code alive.
    """

    address: int
    params: bytes | None
    owner: object


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A kernel made ready for one signature.

    Attributes:
        launch: puts the work on the queue and returns a ``Completion``, or None where the work cannot fail any more. It
            may be called by several threads at once, and is never called where every result is empty; an operand, or
            one of several results, may be. opmux has put the queue after whatever wrote the operands and used the
            memory of the results, and gives memory back, the workspace too, after the work: launch keeps pointers,
            never the arrays. On ``cpu``, which has no queues, None says that the work is complete, and a
            ``Completion`` is waited for at once. An exception is reported as a ``KernelError`` that names the kernel.
        workspace: bytes of scratch memory that launch wants.
        native: the same work as a C function, where there is one.
    """

    launch: Launch
    workspace: int = 0
    native: NativeEntry | None = None


class Prepare(Protocol):
    """A backend's function that makes a kernel ready, or says why it cannot."""

    def __call__(self, spec: CallSpec, /) -> Prepared | Rejection: ...


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """One implementation of one op, for one kind of device, by one backend.

    Attributes:
        name: unique within the backend, e.g. ``"exp"`` or ``"matmul.blocked"``.
        op: the op that it implements.
        device: the kind of device that it runs on.
        prepare: makes it ready for a call.
        accepts: what it takes.
        promises: what it claims.
        cost: how fast it is, relative to the device.
        priority: breaks ties of equal cost; higher goes first, then the name decides.
        family: of a region's kernel, the kind of region: its regions are made in one way, and conformance judges them
            together. None for the kernel of an op, and for a region that conformance does not judge.
    """

    name: str
    op: str
    device: str
    prepare: Prepare
    accepts: Accepts = Accepts()
    promises: Promises = Promises()
    cost: CostTerms = CostTerms()
    priority: int = 0
    family: str | None = None

    @property
    def judged_as(self) -> str:
        """The name under which claims are kept: its own, or that of its family with the class that it promises.

        What was shown of regions that promise less says nothing of one that promises more, so each class has its own.
        """
        if self.family is None:
            return self.name
        return f"{FAMILY_PREFIX}{self.family}:{self.promises.determinism.name.lower()}"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Dtype and shape of an array that need not exist yet."""

    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"
