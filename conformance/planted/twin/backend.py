"""The twin as a plugin: on ``cpu``, or on a device of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ....plugin import (
    Accepts,
    CallSpec,
    Determinism,
    DeviceDriver,
    Kernel,
    Layout,
    Prepared,
    Promises,
    Reason,
    RegionCompiler,
    Rejection,
    hookimpl,
)
from .accelerator import KIND, Accelerator, put
from .call import Call, Compute
from .collectives import COLLECTIVES, ComputeMany, RanksCall
from .elementwise import ELEMENTWISE
from .formats import Host, names
from .movement import MOVEMENT
from .reductions import REDUCTIONS
from .regions import Regions

#: What runs in place of the twin's computation.
Faulty = Callable[[Call], None]
#: The same of a kernel over all ranks' memory.
FaultyMany = Callable[[RanksCall], None]

ROWS: Final = {**ELEMENTWISE, **MOVEMENT, **REDUCTIONS}
_CAST_TARGETS: Final = names("integer", "float", "bool")
#: The profiles that the twin passes and claims.
PROFILES: Final = ("core-f32", "core-f16", "core-bf16", "core-int8")


@dataclass(frozen=True)
class Ware:
    """One kernel of the twin, or of a backend with a fault.

    Attributes:
        op: the op.
        right: the twin's computation.
        accepts: what it takes.
        faulty: what runs instead; None where nothing is wrong.
        promises: what it claims.
        workspace: bytes of scratch memory that it asks for.
        prepare: what answers in place of the twin's ``prepare``, given that.
        name: of the kernel; the op's where none is given.
        honest: whether it refuses what it does not accept, when it is asked all the same.
    """

    op: str
    right: Compute
    accepts: Accepts
    faulty: Faulty | None = None
    promises: Promises = field(default_factory=Promises)
    workspace: int = 0
    prepare: Callable[[CallSpec, Callable[[CallSpec], Prepared]], Any] | None = None
    name: str = ""
    honest: bool = True


@dataclass(frozen=True)
class WareMany:
    """One kernel of the twin over the memory of several hosts, or of a backend with a fault.

    Attributes:
        op: the collective.
        right: the twin's computation, in the canonical order.
        accepts: what it takes.
        faulty: what runs instead; None where nothing is wrong.
    """

    op: str
    right: ComputeMany
    accepts: Accepts
    faulty: FaultyMany | None = None


def wares_many() -> dict[str, WareMany]:
    """Return every kernel of the unfaulted twin for a collective by op."""
    return {
        op: WareMany(op, compute, Accepts(dtypes=accepted, layout=Layout.CONTIGUOUS))
        for op, (compute, accepted) in COLLECTIVES.items()
    }


def wares() -> dict[str, Ware]:
    """Return every kernel of the unfaulted twin by op."""
    return {op: Ware(op, compute, Accepts(dtypes=accepted)) for op, (compute, accepted) in ROWS.items()}


def right(op: str) -> Compute:
    """Return the twin's computation of an op."""
    return ROWS[op][0]


@dataclass(frozen=True)
class Twin:
    """A backend: the unfaulted twin, or one with a fault.

    Attributes:
        wares: its kernels by op.
        profiles: what it claims.
        driver: makes its device; None for a backend on ``cpu``.
        collectives: its kernels for collectives by op, of a backend on ``cpu``.
        regions: makes its region compiler, of a backend on ``cpu``; None for one without.
    """

    wares: Mapping[str, Ware] = field(default_factory=wares)
    profiles: tuple[str, ...] = PROFILES
    driver: Callable[[], Accelerator] | None = None
    collectives: Mapping[str, WareMany] = field(default_factory=wares_many)
    regions: Callable[[], Regions] | None = None

    def with_collective(self, op: str, faulty: FaultyMany) -> Twin:
        """Return the same backend with something else in place of one kernel for a collective."""
        return replace(self, collectives={**self.collectives, op: replace(self.collectives[op], faulty=faulty)})

    def with_ware(self, op: str, **changes: Any) -> Twin:
        """Return the same backend with one kernel changed."""
        return replace(self, wares={**self.wares, op: replace(self.wares[op], **changes)})

    def only(self, *ops: str) -> Twin:
        """Return a backend with these kernels alone, which claims no profile."""
        return replace(self, wares={op: self.wares[op] for op in ops}, profiles=(), collectives={})

    def plugin(self) -> Plugin:
        """Return a new backend, which has kept nothing from earlier calls."""
        return Plugin(self)


class Plugin:
    """What is registered."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.device = twin.driver() if twin.driver is not None else None

    @hookimpl
    def opmux_devices(self) -> Sequence[DeviceDriver]:
        """Return the device, where the backend has one of its own."""
        return [] if self.device is None else [self.device]

    @hookimpl
    def opmux_kernels(self) -> Sequence[Kernel]:
        """Return the kernels."""
        made = [_kernel(ware, self.device) for ware in self._twin.wares.values()]
        return made if self.device is not None else made + [_many(w) for w in self._twin.collectives.values()]

    @hookimpl
    def opmux_region_compilers(self) -> Sequence[RegionCompiler]:
        """Return the region compiler, where the backend has one."""
        return [] if self._twin.regions is None else [self._twin.regions()]

    @hookimpl
    def opmux_profiles(self) -> Sequence[str]:
        """Return the profiles claimed."""
        return self._twin.profiles


def _kernel(ware: Ware, device: Accelerator | None) -> Kernel:
    memory: dict[Any, Any] = {}

    def plain(spec: CallSpec) -> Prepared:
        def compute(out: Host, ins: Sequence[Any], workspace: Host | None) -> None:
            with np.errstate(all="ignore"):
                if ware.faulty is None:
                    ware.right(spec, out, *ins)
                else:
                    ware.faulty(Call(spec, out, tuple(ins), memory, workspace, ware.right))

        def on_host(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            views = [None if x is None else x.host for x in ins]
            compute(outs[0].host, views, None if workspace is None else workspace.host)

        def on_device(outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
            return put(queue, compute, outs[0], ins, workspace)

        return Prepared(on_host if device is None else on_device, ware.workspace)

    def prepare(spec: CallSpec) -> Any:
        return plain(spec) if ware.prepare is None else ware.prepare(spec, plain)

    def honest(spec: CallSpec) -> Any:
        refusal = _refusal(ware, spec)
        return prepare(spec) if refusal is None else refusal

    accepts = ware.accepts
    if device is not None and ware.op != "copy":  # the core's own copies are part of what is tried
        accepts = replace(accepts, layout=Layout.CONTIGUOUS)
    return Kernel(
        ware.name or ware.op, ware.op, "cpu" if device is None else KIND, honest if ware.honest else prepare, accepts,
        promises=ware.promises,
    )  # fmt: skip


def _many(ware: WareMany) -> Kernel:
    memory: dict[Any, Any] = {}

    def prepare(spec: CallSpec) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            results, operands = [y.host for y in outs], [x.host for x in ins]
            with np.errstate(all="ignore"):
                if ware.faulty is None:
                    ware.right(spec, results, operands)
                else:
                    ware.faulty(RanksCall(spec, results, operands, memory, ware.right))

        return Prepared(launch)

    promises = Promises(order="canonical", determinism=Determinism.CANONICAL)
    return Kernel(ware.op, ware.op, "cpu", prepare, ware.accepts, promises=promises)


def _refusal(ware: Ware, spec: CallSpec) -> Rejection | None:
    """Refuse dtypes that the twin does not take, also where they are not asked for by way of what it accepts."""
    taken = ware.accepts.dtypes
    for i, given in enumerate(spec.inputs):
        if taken and given is not None and given.dtype.name not in taken[min(i, len(taken) - 1)]:
            return Rejection(Reason.DTYPE, f"the twin does not take {given.dtype} as operand {i}")
    if ware.op == "cast" and spec.outputs[0].dtype.name not in _CAST_TARGETS:
        return Rejection(Reason.DTYPE, f"the twin casts to {', '.join(sorted(_CAST_TARGETS))}")
    return None
