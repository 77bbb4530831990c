"""What a described device does for a call: kernels of its own, in the pieces that the call decomposes into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from ....plugin import ArgumentError, CallStep, Op, Signature, decomposed, with_casts
from ..clock import picoseconds
from ..costs import in_pieces
from ..hardware import Description
from ..kernels import kernels, rows
from ..timing.op_time import OpTime, Tensor, time_of

Pairs = tuple[tuple[str, Any], ...]


class Missing(StrEnum):
    """Why a call does not run on the device."""

    OP = "op"
    DTYPE = "dtype"
    CAPACITY = "capacity"


class Origin(NamedTuple):
    """Where a value comes from: an operand of the call, or a piece of it, by index."""

    operand: int | None = None
    piece: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One kernel of the device.

    Attributes:
        op: what it does.
        dtype: of its first operand, or of its result where it has none.
        time: what it costs.
        lead: picoseconds to issue it.
        duration: picoseconds on its engine.
        joules: of the work itself, without idling; None where the description has no power.
        sources: where its operands come from.
        nbytes: of its results.
    """

    op: str
    dtype: str
    time: OpTime
    lead: int
    duration: int
    joules: float | None
    sources: tuple[Origin, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Lowered:
    """A call on the device.

    Attributes:
        pieces: its kernels, in an order that respects their dependences.
        results: where each result comes from.
        scratch: bytes that live between pieces, at most.
    """

    pieces: tuple[Piece, ...]
    results: tuple[Origin, ...]
    scratch: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that the device cannot do; it runs on the host.

    Attributes:
        why: what is missing.
        detail: which op or dtype.
    """

    why: Missing
    detail: str


class _Refusal(Exception):
    """Ends the lowering of a call: one piece on the host means all of it, as when the dispatcher decides."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused


class Lowering:
    """Finds what a device does for each signature.

    Args:
        description: the device.
        without: ops that it shall have no kernel for.
    """

    def __init__(self, description: Description, without: frozenset[str] = frozenset()) -> None:
        self.description = description
        self.without = without
        self._held = frozenset(description.supports.dtypes)
        self._accepted: dict[str, list[tuple[frozenset[str], ...]]] = {}
        for row in rows(description):
            self._accepted.setdefault(row.op, [])  # stays empty where the device has none of its dtypes
        for kernel in kernels(description):
            self._accepted[kernel.op].append(kernel.accepts.dtypes)

    def lower(self, op: Op, inputs: tuple[Signature | None, ...], attributes: Pairs) -> Lowered | Refused:
        """Return what the device does for a call, or why it cannot."""
        try:
            return _Builder(self).build(op, inputs, attributes)
        except _Refusal as refusal:
            return refusal.refused

    def has(self, call: CallStep) -> Missing | None:
        """Return what is missing for a kernel of this call, or None where the device has one."""
        given = [None if v is None else v.sig.dtype.name for v in call.inputs]
        present = {t for t in given if t is not None} | {v.sig.dtype.name for v in call.outputs}
        if not present <= self._held:
            return Missing.DTYPE
        rows = self._accepted.get(call.op.name)
        if rows is None or call.op.name in self.without:
            return Missing.OP
        return None if any(_takes(row, given) for row in rows) else Missing.DTYPE

    def time(self, call: CallStep) -> OpTime:
        """Return what a kernel costs, on its operands as it gets them.

        Raises:
            ArgumentError: the timing model does not know the op, or no unit has the dtype.
        """
        device, name = self.description, call.op.name
        products = frozenset() if device.matrix is None else frozenset(device.matrix.precisions)

        def tensor(sig: Signature, shape: tuple[int, ...] | None) -> Tensor:
            given = Tensor(sig.dtype.name, sig.shape if shape is None else shape)
            return given if name == "matmul" and given.dtype in products else in_pieces(device.vector, given)

        inputs = [None if v is None else tensor(v.sig, call.repeated) for v in call.inputs]
        return time_of(device, name, inputs, [tensor(v.sig, None) for v in call.outputs], dict(call.attributes))


def _takes(row: tuple[frozenset[str], ...], given: Sequence[str | None]) -> bool:
    return not row or all(t is None or t in row[min(i, len(row) - 1)] for i, t in enumerate(given))


class _Builder:
    """Collects the pieces of one call."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.pieces: list[Piece] = []

    def build(self, op: Op, inputs: tuple[Signature | None, ...], attributes: Pairs) -> Lowered:
        """Return the whole call."""
        origins = [None if s is None else Origin(operand=i) for i, s in enumerate(inputs)]
        results = tuple(self._expand(op, inputs, origins, attributes))
        return Lowered(tuple(self.pieces), results, self._scratch(results))

    def _expand(
        self, op: Op, inputs: Sequence[Signature | None], origins: Sequence[Origin | None], attributes: Pairs
    ) -> list[Origin]:
        steps = with_casts(op, inputs, attributes)
        known: dict[int, Origin] = {i: o for i, o in enumerate(origins) if o is not None}
        for call in steps.calls:
            missing = self.lowering.has(call)
            made = (
                [self._piece(call, known)] * len(call.outputs) if missing is None else self._parts(call, known, missing)
            )
            known.update((v.number, origin) for v, origin in zip(call.outputs, made, strict=True))
        return [known[v.number] for v in steps.outputs]

    def _parts(self, call: CallStep, known: dict[int, Origin], missing: Missing) -> list[Origin]:
        """Return the results of an op that the device has no kernel for, by its decomposition."""
        signatures = [None if v is None else v.sig for v in call.inputs]
        dtypes = ", ".join(dict.fromkeys(s.dtype.name for s in (*signatures, *(v.sig for v in call.outputs)) if s))
        refused = Refused(missing, f"{call.op.name} on {dtypes}" if missing is Missing.DTYPE else call.op.name)
        steps = decomposed(call.op, signatures, call.attributes)
        if steps is None:
            raise _Refusal(refused)
        inner: dict[int, Origin] = {i: known[v.number] for i, v in enumerate(call.inputs) if v is not None}
        for step in steps.calls:
            sigs = [None if v is None else v.sig for v in step.inputs]
            # A constant of the decomposition is none of the call's operands: it comes with the program.
            origins = [None if v is None else inner.get(v.number, Origin()) for v in step.inputs]
            try:
                made = self._expand(step.op, sigs, origins, step.attributes)
            except _Refusal as refusal:
                # Where the op itself lacks only the dtype, that says more than which of its parts lacks it.
                raise _Refusal(refused if missing is Missing.DTYPE else refusal.refused) from None
            inner.update((v.number, origin) for v, origin in zip(step.outputs, made, strict=True))
        return [inner.get(v.number, Origin()) for v in steps.outputs]

    def _piece(self, call: CallStep, known: dict[int, Origin]) -> Origin:
        try:
            time = self.lowering.time(call)
        except ArgumentError as error:
            raise _Refusal(Refused(Missing.DTYPE, str(error))) from None
        device = self.lowering.description
        first = next((v for v in call.inputs if v is not None), call.outputs[0])
        joules = None
        if time.energy_joules is not None and device.power is not None:
            joules = time.energy_joules - device.power.idle * time.seconds
        sources = tuple(dict.fromkeys(known[v.number] for v in call.inputs if v is not None))
        self.pieces.append(
            Piece(
                call.op.name,
                first.sig.dtype.name,
                time,
                picoseconds(device.launch),
                picoseconds(max(0.0, time.seconds - device.launch)),
                joules,
                sources,
                sum(v.sig.nbytes for v in call.outputs),
            )
        )
        return Origin(piece=len(self.pieces) - 1)

    def _scratch(self, results: Sequence[Origin]) -> int:
        """Return the most bytes that intermediate results take together."""
        last = {o.piece: i for i, p in enumerate(self.pieces) for o in p.sources if o.piece is not None}
        kept = {o.piece for o in results}
        live: dict[int, int] = {}
        most = 0
        for i, piece in enumerate(self.pieces):
            if i not in kept:
                live[i] = piece.nbytes
            most = max(most, sum(live.values()))
            live = {j: n for j, n in live.items() if last.get(j, -1) > i}
        return most
