"""Decisions as data: what was considered for a call, what it costs, what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..arrays.array import Array
from ..devices.device import Buffer, Device
from ..kernel import CallSpec, Kernel, Prepared, Rejection
from ..op import Op
from ..signature import Signature

if TYPE_CHECKING:
    from ..graphs.graph import Graph


class Claim(StrEnum):
    """How far a kernel's claims are proved."""

    DECLARED = "declared"
    SHOWN = "shown"
    REFUTED = "refuted"


class Kind(StrEnum):
    """What a candidate is."""

    KERNEL = "kernel"
    DECOMPOSITION = "decomposition"
    FALLBACK = "fallback"
    SCHEDULE = "schedule"  # an algorithm of a collective


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """Predicted seconds of a call, split into terms.

    Attributes:
        launch: of all launches.
        compute: arithmetic at the kernel's rate, tile quantisation included.
        memory: traffic at the level where the working set lives; the larger of compute and memory counts.
        copies: dense copies and casts put before the kernel.
        transfers: moves between devices.
        source: ``"model"`` or ``"measured"``.
        steps: of calls one after the other, the sum of what counts of each; None for one call.
    """

    launch: float
    compute: float
    memory: float
    copies: float = 0.0
    transfers: float = 0.0
    source: str = "model"
    steps: float | None = None

    @property
    def work(self) -> float:
        """Seconds of arithmetic and traffic: of each call the larger."""
        return max(self.compute, self.memory) if self.steps is None else self.steps

    @property
    def total(self) -> float:
        """Seconds in all."""
        return self.launch + self.work + self.copies + self.transfers


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidate:
    """One way to do a call.

    Attributes:
        name: ``backend/kernel``, ``decomposition``, ``fallback to cpu:0``, or a collective's algorithm.
        kind: what it is.
        backend: the backend of a kernel, else None.
        kernel, prepared, spec: of a kernel.
        rejection: why it was not eligible, or None.
        cost: its predicted time, where it is eligible.
        claim: how far its claims are proved.
        copies: operands (by index) that are made contiguous first, each with the decision that does it.
        parts: of a decomposition, the decisions of its nodes.
        prepare: makes it ready to run, where something is left to do for that: ``prepare(candidate)`` returns it with
            ``run``, or with its rejection. See :func:`~opmux.core.dispatch.candidates.ready`.
        run: does the call; None where it is not eligible, or not prepared.
        begin: begins a collective over several processes: ``begin(operands)`` returns a handle of its results.
        outputs: signatures of its results where they are not contiguous: a decomposition may end in a view.
        graph: of a compiled function, what it does.
    """

    name: str
    kind: Kind
    backend: str | None = None
    kernel: Kernel | None = None
    prepared: Prepared | None = None
    spec: CallSpec | None = None
    rejection: Rejection | None = None
    cost: Cost | None = None
    claim: Claim = Claim.DECLARED
    copies: tuple[tuple[int, Decision], ...] = ()
    parts: tuple[Decision, ...] = ()
    prepare: Callable[[Candidate], Candidate] | None = None
    run: Run | None = None
    begin: Callable[[Operands], Any] | None = None
    outputs: tuple[Signature, ...] | None = None
    graph: Graph | None = None


Operands = Sequence["Array | None"]
#: ``run(operands, into)``: does a call and returns its results; *into* is a buffer for the only result, or None.
Run = Callable[[Operands, "Buffer | None"], "tuple[Array, ...]"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Decision:
    """What the dispatcher chose for one signature.

    Attributes:
        op: the op.
        device: where the call's arrays are.
        inputs: signatures of the operands as given.
        attributes: normalised attributes.
        outputs: signatures of the results.
        candidates: everything considered; the eligible ones first, cheapest first.
        chosen: the first of them.
        run: does the call.
        many: whether the public function returns a tuple.
    """

    op: Op
    device: Device
    inputs: tuple[Signature | None, ...]
    attributes: tuple[tuple[str, Any], ...]
    outputs: tuple[Signature, ...]
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    run: Run
    many: bool = False

    @property
    def cost(self) -> Cost:
        """Predicted time of the chosen candidate."""
        cost = self.chosen.cost
        assert cost is not None  # the chosen candidate is eligible, and eligible ones are priced
        return cost

    @property
    def runner_up(self) -> Candidate | None:
        """The second cheapest eligible candidate."""
        eligible = [c for c in self.candidates if c.rejection is None]
        return eligible[1] if len(eligible) > 1 else None

    @property
    def margin(self) -> float | None:
        """How many times dearer the runner-up is; None without one."""
        second = self.runner_up
        if second is None or second.cost is None or self.cost.total == 0:
            return None
        return second.cost.total / self.cost.total
