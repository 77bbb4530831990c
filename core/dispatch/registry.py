"""What every healthy backend brought: kernels by op, region compilers, versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..collectives.communicator import Communicator
from ..errors import PluginError
from ..graphs.graph import RegionCompiler
from ..kernel import FAMILY_PREFIX, Kernel
from ..locks import Order, held_across_fork
from ..op import COLLECTIVES, OPS, OpTable
from . import tables


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Contribution:
    """All that one backend brings besides devices.

    Attributes:
        backend: its name.
        version: its version, part of what a claim is about.
        kernels: its kernels.
        compilers: its region compilers.
        profiles: the profiles that it claims, by name.
        communicators: returns what it carries messages between processes with; asked when that is first wanted.
    """

    backend: str
    version: str
    kernels: tuple[Kernel, ...] = ()
    compilers: tuple[RegionCompiler, ...] = ()
    profiles: tuple[str, ...] = ()
    communicators: Callable[[], tuple[Communicator, ...]] = tuple


class Registry:
    """Backends whose contribution was accepted as a whole.

    Attributes:
        opset_version: MAJOR.MINOR of the opset that declared the ops; None where nobody has said.
    """

    def __init__(self, ops: OpTable) -> None:
        self.opset_version: str | None = None
        self._ops = ops
        self._lock = held_across_fork(Order.TABLE)
        self._contributions: dict[str, Contribution] = {}
        self._by_op: dict[tuple[str, str], tuple[tuple[str, Kernel], ...]] = {}

    def add(self, contribution: Contribution) -> None:
        """Validate a contribution whole, then register it.

        Raises:
            PluginError: naming every fault found; nothing of it is registered then.
        """
        faults = self.faults(contribution)
        if faults:
            raise PluginError(
                f"backend {contribution.backend}: {len(faults)} fault(s) in what it registers: {'; '.join(faults[:8])}",
                backend=contribution.backend,
                faults=tuple(faults),
            )
        with self._lock:
            self._contributions = {**self._contributions, contribution.backend: contribution}
            self._index()
        tables.forget_decisions()

    def drop(self, backend: str) -> None:
        """Forget a backend; arrays on its devices stay as they are."""
        with self._lock:
            self._contributions = {n: c for n, c in self._contributions.items() if n != backend}
            self._index()
        tables.forget_decisions()

    def faults(self, contribution: Contribution) -> list[str]:
        """Return every reason why a contribution cannot be registered; none where it can."""
        return list(self._faults(contribution))

    def _faults(self, contribution: Contribution) -> Iterable[str]:
        if contribution.backend in self._contributions:
            yield f"a backend named {contribution.backend!r} is registered already"
        seen: set[str] = set()
        for kernel in contribution.kernels:
            if kernel.op not in self._ops and kernel.op not in COLLECTIVES:
                yield f"kernel {kernel.name!r} implements {kernel.op!r}, which is not an op"
            if kernel.name in seen:
                yield f"kernel name {kernel.name!r} is given twice"
            if kernel.family is not None or kernel.name.startswith(FAMILY_PREFIX):
                yield f"kernel {kernel.name!r} of an op has the family of a region, or a name that begins like one"
            seen.add(kernel.name)

    def _index(self) -> None:
        table: dict[tuple[str, str], list[tuple[str, Kernel]]] = {}
        for name in sorted(self._contributions):
            for kernel in self._contributions[name].kernels:
                table.setdefault((kernel.op, kernel.device), []).append((name, kernel))
        self._by_op = {k: tuple(v) for k, v in table.items()}

    def kernels(self, op: str, device_kind: str) -> tuple[tuple[str, Kernel], ...]:
        """Return (backend, kernel) pairs for an op on a kind of device."""
        return self._by_op.get((op, device_kind), ())

    def compilers(self, device_kind: str) -> tuple[tuple[str, RegionCompiler], ...]:
        """Return (backend, region compiler) pairs for a kind of device."""
        return tuple(
            (name, compiler)
            for name, contribution in sorted(self._contributions.items())
            for compiler in contribution.compilers
            if compiler.device == device_kind
        )

    def communicators(self) -> tuple[Communicator, ...]:
        """Return what carries messages between the processes of this job, in the order of the backends' names."""
        return tuple(c for _, made in sorted(self._contributions.items()) for c in made.communicators())

    def device_kinds(self, op: str) -> tuple[str, ...]:
        """Return the kinds of device for which somebody brought a kernel of this op."""
        return tuple(sorted({kind for name, kind in self._by_op if name == op}))

    def version(self, backend: str) -> str:
        """Return a backend's version; empty for one that another thread has dropped since its kernels were listed."""
        found = self._contributions.get(backend)
        return "" if found is None else found.version

    @property
    def contributions(self) -> dict[str, Contribution]:
        """Every registered backend."""
        return dict(self._contributions)


REGISTRY = Registry(OPS)
